#include "tests/lib/life.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Texts in messages are not const, and nobody writes to them. */
static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

/* --- changes --- */

Tidegate__V1__ChangeOrderRequest life_change_message(uint64_t order_id)
{
    static uint8_t ids[64][TG_REQUEST_ID_BYTES];
    static uint64_t changes;
    uint8_t *id = ids[changes % 64];
    changes++;
    memcpy(id, "changing", 8);
    memcpy(id + 8, &changes, sizeof(changes));
    Tidegate__V1__ChangeOrderRequest message = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
    message.order_id = order_id;
    message.request_id = (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = id};
    return message;
}

struct life_answer life_change(struct tgc_client *client, Tidegate__V1__ChangeOrderRequest *message)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = message;
    Tidegate__V1__Response *response = sale_call(client, &request);
    const Tidegate__V1__ChangeOrderResponse *change = response->change_order;
    struct life_answer answer = {
        .verdict = (enum tg_verdict)change->verdict,
        .state = change->order ? (int)change->order->state : 0,
        .replayed = change->replayed,
        .refund_number = change->refund_number,
    };
    snprintf(answer.field, sizeof(answer.field), "%s", change->field);
    if (change->order)
        cr_assert_eq(change->order->order_id, message->order_id);
    tgc_response_free(response);
    return answer;
}

struct life_answer life_pay(struct tgc_client *client, uint64_t order_id, const char *payment_id,
                            int64_t amount_minor)
{
    Tidegate__V1__ChangeOrderRequest message = life_change_message(order_id);
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    payment.payment_id =
        (ProtobufCBinaryData){.len = strlen(payment_id), .data = (uint8_t *)text(payment_id)};
    payment.amount_minor = amount_minor;
    payment.currency = text("CNY");
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    message.record_payment = &payment;
    return life_change(client, &message);
}

struct life_answer life_cancel(struct tgc_client *client, uint64_t order_id)
{
    Tidegate__V1__ChangeOrderRequest message = life_change_message(order_id);
    Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
    cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
    message.cancel = &cancel;
    return life_change(client, &message);
}

struct life_answer life_request_refund(struct tgc_client *client, uint64_t order_id,
                                       int64_t amount_minor, bool restock)
{
    Tidegate__V1__ChangeOrderRequest message = life_change_message(order_id);
    Tidegate__V1__RequestRefund refund = TIDEGATE__V1__REQUEST_REFUND__INIT;
    refund.amount_minor = amount_minor;
    refund.restock = restock;
    refund.reason = text("does not fit");
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND;
    message.request_refund = &refund;
    return life_change(client, &message);
}

struct life_answer life_record_refund(struct tgc_client *client, uint64_t order_id, uint32_t number)
{
    Tidegate__V1__ChangeOrderRequest message = life_change_message(order_id);
    Tidegate__V1__RecordRefund record = TIDEGATE__V1__RECORD_REFUND__INIT;
    record.number = number;
    record.reference = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)text("R\0ef")};
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_REFUND;
    message.record_refund = &record;
    return life_change(client, &message);
}

struct life_answer life_advance(struct tgc_client *client, uint64_t order_id, int to)
{
    Tidegate__V1__ChangeOrderRequest message = life_change_message(order_id);
    Tidegate__V1__AdvanceOrder advance = TIDEGATE__V1__ADVANCE_ORDER__INIT;
    advance.to = (Tidegate__V1__OrderState)to;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
    message.advance = &advance;
    return life_change(client, &message);
}

/* --- reading --- */

Tidegate__V1__Response *life_get(struct tgc_client *client, uint64_t order_id)
{
    Tidegate__V1__GetOrderRequest get = TIDEGATE__V1__GET_ORDER_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.order_id = order_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
    request.get_order = &get;
    Tidegate__V1__Response *response = sale_call(client, &request);
    sale_assert_verdict(response->get_order->verdict, TG_OK);
    return response;
}

int life_state(struct tgc_client *client, uint64_t order_id)
{
    Tidegate__V1__Response *response = life_get(client, order_id);
    const Tidegate__V1__Order *order = response->get_order->order;
    int64_t received = 0;
    for (size_t i = 0; i < order->n_payments; i++)
        if (order->payments[i]->status <
            TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_REFUSED_AMOUNT)
            received += order->payments[i]->amount_minor;
    cr_assert_eq(received, order->received_minor);
    cr_assert(order->refund_due_minor + order->refunded_minor <= order->received_minor);
    int state = (int)order->state;
    tgc_response_free(response);
    return state;
}

void life_wait(struct tgc_client *client, uint64_t order_id, int state)
{
    const struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    int found;
    while ((found = life_state(client, order_id)) != state && tg_clock_mono_ns() < deadline_ns)
        nanosleep(&step, NULL);
    cr_assert_eq(found, state, "%s, not %s", tg_order_state_name(found),
                 tg_order_state_name(state));
}

/* --- placing --- */

Tidegate__V1__Response *life_place_cart(struct tgc_client *client, uint64_t sale_id,
                                        uint64_t user_id, const struct life_line *lines,
                                        uint32_t count)
{
    struct tg_order order = sale_order(sale_id, "", user_id, 0);
    order.unit_price_minor = 0;
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
    Tidegate__V1__OrderLine messages[TG_ORDER_LINES_MAX + 1];
    Tidegate__V1__OrderLine *pointers[TG_ORDER_LINES_MAX + 1];
    cr_assert(count <= TG_ORDER_LINES_MAX + 1);
    for (uint32_t i = 0; i < count; i++) {
        tidegate__v1__order_line__init(&messages[i]);
        messages[i].sku = text(lines[i].sku);
        messages[i].quantity = lines[i].quantity;
        messages[i].unit_price_minor = SALE_PRICE;
        pointers[i] = &messages[i];
    }
    message.lines = pointers;
    message.n_lines = count;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    return sale_call(client, &request);
}

static struct tg_answer answer_of(const Tidegate__V1__PlaceOrderResponse *response)
{
    cr_assert_not_null(response);
    return (struct tg_answer){
        .verdict = (uint8_t)response->verdict,
        .order_id = response->order_id,
        .replayed = (uint8_t)response->replayed,
        .unit_price_minor = response->unit_price_minor,
        .accepted_at_ms = response->accepted_at_ms,
        .retry_after_ms = response->retry_after_ms,
    };
}

struct tg_answer life_open_team(struct tgc_client *client, const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__OpenTeamRequest open = TIDEGATE__V1__OPEN_TEAM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    open.order = &message;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
    request.open_team = &open;
    Tidegate__V1__Response *response = sale_call(client, &request);
    struct tg_answer answer = answer_of(response->open_team->order);
    cr_assert_eq(response->open_team->team_id, answer.order_id);
    tgc_response_free(response);
    return answer;
}

struct tg_answer life_join_team(struct tgc_client *client, uint64_t team_id, bool new_buyer,
                                const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__JoinTeamRequest join = TIDEGATE__V1__JOIN_TEAM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    join.order = &message;
    join.team_id = team_id;
    join.new_buyer = new_buyer;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
    request.join_team = &join;
    Tidegate__V1__Response *response = sale_call(client, &request);
    struct tg_answer answer = answer_of(response->join_team->order);
    tgc_response_free(response);
    return answer;
}

Tidegate__V1__Response *life_team(struct tgc_client *client, uint64_t team_id)
{
    Tidegate__V1__GetTeamRequest get = TIDEGATE__V1__GET_TEAM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.team_id = team_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_TEAM;
    request.get_team = &get;
    Tidegate__V1__Response *response = sale_call(client, &request);
    sale_assert_verdict(response->get_team->verdict, TG_OK);
    return response;
}

int life_team_state(struct tgc_client *client, uint64_t team_id)
{
    Tidegate__V1__Response *response = life_team(client, team_id);
    int state = (int)response->get_team->team->state;
    tgc_response_free(response);
    return state;
}

/* --- consumers --- */

void life_create_group(struct tgc_client *client, const char *group)
{
    Tidegate__V1__CreateGroupRequest body = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    body.group = (char *)(uintptr_t)group;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &body;
    Tidegate__V1__Response *response = sale_call(client, &request);
    sale_assert_verdict(response->create_group->verdict, TG_OK);
    tgc_response_free(response);
}

enum tg_verdict life_ack(struct tgc_client *client, const char *group, uint64_t sequence)
{
    Tidegate__V1__AckEventsRequest body = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    body.group = (char *)(uintptr_t)group;
    body.sequence = sequence;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    request.ack_events = &body;
    Tidegate__V1__Response *response = sale_call(client, &request);
    enum tg_verdict verdict = (enum tg_verdict)response->ack_events->verdict;
    tgc_response_free(response);
    return verdict;
}
