#include "tests/lib/pending.h"

#include <criterion/criterion.h>

#define TIME_ASKED UINT64_MAX /* a correlation id that no test gives */

void pending_create_sale(struct tgc_client *client, Tidegate__V1__CreateSaleRequest *sale)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ConsumeEventsRequest body = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    sale_assert_verdict(sale_create_message(client, sale, ""), TG_OK);
    body.wait_ms = DAEMON_WAIT_MS;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &body;
    Tidegate__V1__Response *response = sale_call(client, &request);
    cr_assert_eq(response->consume_events->n_events, 1);
    tgc_response_free(response);
}

void pending_order(struct peer *peer, uint64_t correlation_id, const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    peer_request(peer, &request);
}

static const Tidegate__V1__PlaceOrderResponse *order_in(const Tidegate__V1__Response *response)
{
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER)
        return response->place_order;
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM)
        return response->open_team->order;
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM)
        return response->join_team->order;
    return NULL;
}

struct tg_answer pending_answer(struct peer *peer, uint64_t correlation_id)
{
    struct tg_answer answer = {0};
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert_not_null(response);
    cr_assert_eq(response->correlation_id, correlation_id, "an answer to %zu, not to %zu",
                 (size_t)response->correlation_id, (size_t)correlation_id);
    const Tidegate__V1__PlaceOrderResponse *order = order_in(response);
    if (order)
        answer = (struct tg_answer){.verdict = (uint8_t)order->verdict,
                                    .order_id = order->order_id,
                                    .replayed = (uint8_t)order->replayed};
    tidegate__v1__response__free_unpacked(response, NULL);
    return answer;
}

void pending_expect(struct peer *peer)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest ask = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.correlation_id = TIME_ASKED;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &ask;
    peer_request(peer, &request);
    pending_answer(peer, TIME_ASKED);
}
