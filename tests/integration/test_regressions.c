/* Faults that somebody found in the daemon once, one test for each. */
#include "base/clock.h"
#include "server/core.h"
#include "tests/lib/life.h"
#include "tests/lib/peer.h"

#include <criterion/criterion.h>
#include <string.h>

/* --- a crowd about one order --- */

/* More changes of one order than a backlog of the shard is, from so many connections. */
#define CROWD_CONNECTIONS 2
#define CROWD_CHANGES     12000 /* of each */
#define BUYERS            20
#define BUYER_WAIT_MS     30000

/* The crowd's changes all are good: each extends the time to pay by a millisecond. */
static size_t put_extensions(uint8_t *at, uint64_t order_id, uint32_t first, int64_t deadline_ms)
{
    const uint8_t *begin = at;
    for (uint32_t i = first; i < first + CROWD_CHANGES; i++) {
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
        Tidegate__V1__ExtendPayment extend = TIDEGATE__V1__EXTEND_PAYMENT__INIT;
        uint8_t id[TG_REQUEST_ID_BYTES] = "crowd";
        memcpy(id + 8, &i, sizeof(i));
        extend.payment_deadline_ms = deadline_ms + i;
        change.order_id = order_id;
        change.request_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
        change.extend_payment = &extend;
        request.correlation_id = i;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
        request.change_order = &change;
        at += tg_frame_prefix(at, (uint32_t)tidegate__v1__request__get_packed_size(&request));
        at += tidegate__v1__request__pack(&request, at);
    }
    return (size_t)(at - begin);
}

/* Each change waited behind a fence of its own, and was decided again with every commit: the fences
 * were a backlog that no commit made smaller, so plain orders waited in their lanes for minutes. */
Test(regressions, a_crowd_about_one_order_keeps_no_other_buyer_waiting)
{
    static uint8_t frames[CROWD_CHANGES * 80];
    struct daemon daemon = {0};
    struct peer crowd[CROWD_CONNECTIONS];
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 100000, 0);
    struct tg_order order = sale_order(1, "A", 1, 1);
    struct tg_answer placed = sale_place(client, &order);
    sale_assert_verdict(placed.verdict, TG_ACCEPTED);
    int64_t deadline_ms = tg_clock_wall_ns() / TG_NS_PER_MS + 3600 * 1000;
    for (uint32_t i = 0; i < CROWD_CONNECTIONS; i++) {
        size_t size = put_extensions(frames, placed.order_id, i * CROWD_CHANGES, deadline_ms);
        cr_assert_leq(size, sizeof(frames));
        peer_open(&crowd[i], &daemon);
        peer_send(&crowd[i], frames, size);
    }
    for (uint64_t user = 2; user < 2 + BUYERS; user++) {
        int64_t begun_ns = tg_clock_mono_ns();
        sale_assert_verdict(sale_buy(client, 1, "A", user, 1), TG_ACCEPTED);
        cr_assert_lt(tg_clock_mono_ns() - begun_ns, BUYER_WAIT_MS * TG_NS_PER_MS);
    }
    for (uint32_t i = 0; i < CROWD_CONNECTIONS; i++)
        peer_close(&crowd[i]);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- events --- */

/* "Behind the last number there is" was taken for "before the first event kept". */
Test(regressions, nothing_was_dropped_behind_the_largest_sequence)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ConsumeEventsRequest body = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    body.after_sequence = UINT64_MAX;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &body;
    Tidegate__V1__Response *response = sale_call(client, &request);
    sale_assert_verdict(response->consume_events->verdict, TG_OK);
    cr_assert_eq(response->consume_events->n_events, 0);
    tgc_response_free(response);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- carts --- */

/* Sends a cart of units of A and, unless it is NULL, of `other` under one request id. */
static struct tg_answer place_cart(struct tgc_client *client, const char *other,
                                   int64_t other_price)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    struct tg_order order = sale_order(1, "", 7, 0);
    Tidegate__V1__PlaceOrderRequest body = sale_order_message(&order);
    Tidegate__V1__OrderLine lines[2] = {TIDEGATE__V1__ORDER_LINE__INIT,
                                        TIDEGATE__V1__ORDER_LINE__INIT};
    Tidegate__V1__OrderLine *pointers[2] = {&lines[0], &lines[1]};
    uint8_t id[TG_REQUEST_ID_BYTES] = "one and the same";
    body.request_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    body.unit_price_minor = 0;
    lines[0].sku = (char *)(uintptr_t) "A";
    lines[0].quantity = other ? 1 : 2;
    lines[0].unit_price_minor = SALE_PRICE;
    lines[1].sku = (char *)(uintptr_t)other;
    lines[1].quantity = 1;
    lines[1].unit_price_minor = other_price;
    body.lines = pointers;
    body.n_lines = other ? 2 : 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &body;
    Tidegate__V1__Response *response = sale_call(client, &request);
    struct tg_answer answer = {.verdict = (uint8_t)response->place_order->verdict,
                               .replayed = (uint8_t)response->place_order->replayed};
    tgc_response_free(response);
    return answer;
}

/* Lines of unknown items, and of an item under a second price, were not looked at in a retry: the
 * buyer was told that all of another cart was accepted. */
Test(regressions, a_cart_with_more_lines_is_no_retry)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 10, 0);
    sale_assert_verdict(place_cart(client, NULL, 0).verdict, TG_ACCEPTED);
    cr_assert(place_cart(client, NULL, 0).replayed);
    cr_assert(place_cart(client, "A", SALE_PRICE).replayed, "the same units in two lines");
    sale_assert_verdict(place_cart(client, "A", SALE_PRICE - 1).verdict, TG_REQUEST_ID_CONFLICT);
    sale_assert_verdict(place_cart(client, "B", SALE_PRICE).verdict, TG_REQUEST_ID_CONFLICT);
    cr_assert_eq(sale_available(client, 1, "A"), 8);
    tgc_close(client);
    daemon_end(&daemon);
}
