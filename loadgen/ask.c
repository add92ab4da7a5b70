#include "loadgen/ask.h"

#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char currency[] = "CNY";

/* --- building: each fills the request from the ask; memory is the caller's frame --- */

struct built {
    Tidegate__V1__Request request;
    Tidegate__V1__PlaceOrderRequest order;
    Tidegate__V1__OpenTeamRequest open;
    Tidegate__V1__JoinTeamRequest join;
    Tidegate__V1__OrderLine lines[LG_ASK_LINES_MAX];
    Tidegate__V1__OrderLine *line_pointers[LG_ASK_LINES_MAX];
    Tidegate__V1__ChangeOrderRequest change;
    Tidegate__V1__Payment payment;
    Tidegate__V1__CancelOrder cancel;
    Tidegate__V1__ExtendPayment extend;
    Tidegate__V1__RequestRefund refund;
    Tidegate__V1__ApproveRefund approve;
    Tidegate__V1__RejectRefund reject;
    Tidegate__V1__RecordRefund record;
    Tidegate__V1__AdvanceOrder advance;
    Tidegate__V1__IngestOrdersRequest ingest;
    Tidegate__V1__IngestOrder ingested[LG_ASK_INGEST_MAX];
    Tidegate__V1__IngestOrder *ingest_pointers[LG_ASK_INGEST_MAX];
    Tidegate__V1__Payment ingest_payments[LG_ASK_INGEST_MAX];
    struct lg_ingest_order ingest_facts[LG_ASK_INGEST_MAX];
    char payment_id[TG_PAYMENT_ID_BYTES_MAX + 1];
};

static ProtobufCBinaryData text(char *bytes)
{
    return (ProtobufCBinaryData){.len = strlen(bytes), .data = (uint8_t *)bytes};
}

static void build_payment(struct built *b, Tidegate__V1__Payment *payment, const struct lg_ask *ask)
{
    tidegate__v1__payment__init(payment);
    snprintf(b->payment_id, sizeof(b->payment_id), "pay-%u", ask->payment);
    payment->payment_id = text(b->payment_id);
    payment->amount_minor = ask->amount_minor;
    payment->currency = currency;
    payment->channel = 1;
    payment->paid_at_ms = ask->at_ms;
}

static void build_order(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    Tidegate__V1__PlaceOrderRequest *order = &b->order;
    tidegate__v1__place_order_request__init(order);
    order->request_id =
        (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = (uint8_t *)ask->request_id};
    order->sale_id = sale->sale_id;
    order->user_id = ask->user_id;
    order->channel = ask->channel;
    if (ask->kind == LG_ASK_CART) {
        for (uint32_t i = 0; i < ask->line_count; i++) {
            Tidegate__V1__OrderLine *line = &b->lines[i];
            tidegate__v1__order_line__init(line);
            line->sku = (char *)sale->skus[ask->lines[i].item];
            line->quantity = ask->lines[i].quantity;
            line->unit_price_minor = sale->price_minor[ask->lines[i].item];
            b->line_pointers[i] = line;
        }
        order->n_lines = ask->line_count;
        order->lines = b->line_pointers;
        return;
    }
    order->sku = (char *)sale->skus[ask->item];
    order->quantity = ask->quantity;
    order->unit_price_minor = ask->kind == LG_ASK_OPEN_TEAM ? sale->captain_price_minor[ask->item]
                                                            : sale->price_minor[ask->item];
}

void lg_ask_ingest_order(const struct lg_ask *ask, uint32_t i, uint32_t item_count,
                         struct lg_ingest_order *order)
{
    /* Every eighth is the one before it again. */
    order->twice = i % 8 == 7;
    uint32_t own = order->twice ? i - 1 : i;
    uint64_t draw = tg_mix64((ask->ingest_number << 8 | own) * TG_RNG_GOLDEN);
    /* The numbers of two runs differ by their nonce, so their external ids do. */
    snprintf(order->external_id, sizeof(order->external_id), "I%" PRIx64 "-%u", ask->ingest_number,
             own);
    order->channel = 1 + (uint32_t)(draw % 3);
    order->item = (uint32_t)((draw >> 8) % item_count);
    order->quantity = 1 + (uint32_t)((draw >> 40) % 2);
    order->user_id = 20000000 + (draw >> 44);
    order->paid = (draw >> 3) & 1;
}

static void build_ingest(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    tidegate__v1__ingest_orders_request__init(&b->ingest);
    snprintf(b->payment_id, sizeof(b->payment_id), "pay-1");
    for (uint32_t i = 0; i < ask->ingest_count; i++) {
        struct lg_ingest_order *facts = &b->ingest_facts[i];
        Tidegate__V1__IngestOrder *order = &b->ingested[i];
        lg_ask_ingest_order(ask, i, sale->item_count, facts);
        tidegate__v1__ingest_order__init(order);
        order->channel = facts->channel;
        order->external_id = text(facts->external_id);
        order->sale_id = sale->sale_id;
        order->sku = (char *)sale->skus[facts->item];
        order->user_id = facts->user_id;
        order->quantity = facts->quantity;
        order->unit_price_minor = sale->price_minor[facts->item];
        order->ordered_at_ms = ask->at_ms;
        if (facts->paid) {
            Tidegate__V1__Payment *payment = &b->ingest_payments[i];
            tidegate__v1__payment__init(payment);
            payment->payment_id = text(b->payment_id);
            payment->amount_minor = order->unit_price_minor * facts->quantity;
            payment->currency = currency;
            payment->paid_at_ms = ask->at_ms;
            order->payment = payment;
        }
        b->ingest_pointers[i] = order;
    }
    b->ingest.n_orders = ask->ingest_count;
    b->ingest.orders = b->ingest_pointers;
    b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    b->request.ingest_orders = &b->ingest;
}

#define CHANGE_CASE(name) TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_##name

static void build_refund_change(struct built *b, const struct lg_ask *ask)
{
    Tidegate__V1__ChangeOrderRequest *change = &b->change;
    switch ((enum lg_ask_kind)ask->kind) {
    case LG_ASK_REQUEST_REFUND:
        tidegate__v1__request_refund__init(&b->refund);
        b->refund.amount_minor = ask->amount_minor;
        b->refund.reason = (char *)"changed their mind";
        b->refund.restock = ask->restock;
        change->change_case = CHANGE_CASE(REQUEST_REFUND);
        change->request_refund = &b->refund;
        break;
    case LG_ASK_APPROVE_REFUND:
        tidegate__v1__approve_refund__init(&b->approve);
        b->approve.number = ask->refund_number;
        change->change_case = CHANGE_CASE(APPROVE_REFUND);
        change->approve_refund = &b->approve;
        break;
    case LG_ASK_REJECT_REFUND:
        tidegate__v1__reject_refund__init(&b->reject);
        b->reject.number = ask->refund_number;
        change->change_case = CHANGE_CASE(REJECT_REFUND);
        change->reject_refund = &b->reject;
        break;
    default: /* build_change has taken all others */
        tidegate__v1__record_refund__init(&b->record);
        b->record.number = ask->refund_number;
        change->change_case = CHANGE_CASE(RECORD_REFUND);
        change->record_refund = &b->record;
        break;
    }
}

static void build_change(struct built *b, const struct lg_ask *ask)
{
    Tidegate__V1__ChangeOrderRequest *change = &b->change;
    tidegate__v1__change_order_request__init(change);
    change->request_id =
        (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = (uint8_t *)ask->request_id};
    change->order_id = ask->order_id;
    b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    b->request.change_order = change;
    if (ask->kind == LG_ASK_PAY) {
        build_payment(b, &b->payment, ask);
        change->change_case = CHANGE_CASE(RECORD_PAYMENT);
        change->record_payment = &b->payment;
    } else if (ask->kind == LG_ASK_CANCEL) {
        tidegate__v1__cancel_order__init(&b->cancel);
        b->cancel.by = (Tidegate__V1__CancelledBy)TG_CANCELLED_BY_BUYER;
        change->change_case = CHANGE_CASE(CANCEL);
        change->cancel = &b->cancel;
    } else if (ask->kind == LG_ASK_EXTEND) {
        tidegate__v1__extend_payment__init(&b->extend);
        b->extend.payment_deadline_ms = ask->at_ms;
        change->change_case = CHANGE_CASE(EXTEND_PAYMENT);
        change->extend_payment = &b->extend;
    } else if (ask->kind == LG_ASK_ADVANCE) {
        tidegate__v1__advance_order__init(&b->advance);
        b->advance.to = (Tidegate__V1__OrderState)ask->advance_to;
        change->change_case = CHANGE_CASE(ADVANCE);
        change->advance = &b->advance;
    } else {
        build_refund_change(b, ask);
    }
}

static void build(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    tidegate__v1__request__init(&b->request);
    switch ((enum lg_ask_kind)ask->kind) {
    case LG_ASK_PLACE:
    case LG_ASK_CART:
        build_order(b, ask, sale);
        b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        b->request.place_order = &b->order;
        return;
    case LG_ASK_OPEN_TEAM:
        build_order(b, ask, sale);
        tidegate__v1__open_team_request__init(&b->open);
        b->open.order = &b->order;
        b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
        b->request.open_team = &b->open;
        return;
    case LG_ASK_JOIN_TEAM:
        build_order(b, ask, sale);
        tidegate__v1__join_team_request__init(&b->join);
        b->join.order = &b->order;
        b->join.team_id = ask->team_id;
        b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
        b->request.join_team = &b->join;
        return;
    case LG_ASK_INGEST:
        build_ingest(b, ask, sale);
        return;
    case LG_ASK_PAY:
    case LG_ASK_CANCEL:
    case LG_ASK_EXTEND:
    case LG_ASK_REQUEST_REFUND:
    case LG_ASK_APPROVE_REFUND:
    case LG_ASK_REJECT_REFUND:
    case LG_ASK_RECORD_REFUND:
    case LG_ASK_ADVANCE:
        build_change(b, ask);
        return;
    case LG_ASK_KINDS:
        return;
    }
}

enum tg_error lg_ask_send(const struct lg_ask *ask, const struct lg_ask_sale *sale,
                          struct tgc_client *client, tgc_on_response *on_response, void *context,
                          struct tg_fault *fault)
{
    struct built b;
    build(&b, ask, sale);
    return tgc_send(client, &b.request, on_response, context, fault);
}

/* --- the answer --- */

static struct lg_said said_of_order(const Tidegate__V1__PlaceOrderResponse *answer)
{
    return (struct lg_said){.verdict = answer ? (int)answer->verdict : TG_UNSPECIFIED,
                            .replayed = answer && answer->replayed,
                            .order_id = answer ? answer->order_id : 0};
}

static void take_ingested(struct lg_ask *ask, const Tidegate__V1__IngestOrdersResponse *answer)
{
    ask->said = (struct lg_said){.verdict = (int)answer->verdict};
    if (ask->said.verdict != TG_OK)
        return;
    if (answer->n_results != ask->ingest_count) {
        ask->said.verdict = TG_UNSPECIFIED;
        return;
    }
    for (uint32_t i = 0; i < ask->ingest_count; i++)
        ask->ingested[i] = said_of_order(answer->results[i]);
}

void lg_ask_take(struct lg_ask *ask, const Tidegate__V1__Response *response)
{
    ask->said = (struct lg_said){.verdict = TG_UNSPECIFIED};
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER)
        ask->said = said_of_order(response->place_order);
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM)
        ask->said = said_of_order(response->open_team->order);
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM)
        ask->said = said_of_order(response->join_team->order);
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS)
        take_ingested(ask, response->ingest_orders);
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER)
        ask->said = (struct lg_said){.verdict = (int)response->change_order->verdict,
                                     .replayed = response->change_order->replayed,
                                     .order_id = ask->order_id,
                                     .refund_number = response->change_order->refund_number};
}
