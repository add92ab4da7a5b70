#include "loadgen/ask.h"

#include "base/hash.h"
#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INGEST_TWICE_EVERY   8
#define INGEST_CHANNELS      3
#define INGEST_USER_ID_FIRST 20000000ull

static char currency[] = "CNY";

const char *lg_ask_name(int kind)
{
    static const char *const names[LG_ASK_KINDS] = {
#define LG_ASK_NAME(name, text) [LG_ASK_##name] = (text),
        LG_ASKS(LG_ASK_NAME)
#undef LG_ASK_NAME
    };
    return kind >= 0 && kind < LG_ASK_KINDS ? names[kind] : "?";
}

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

static ProtobufCBinaryData request_id_of(const struct lg_ask *ask)
{
    return (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = (uint8_t *)ask->request_id};
}

static void build_payment(struct built *b, Tidegate__V1__Payment *payment, uint32_t number,
                          int64_t amount_minor, int64_t paid_at_ms)
{
    tidegate__v1__payment__init(payment);
    snprintf(b->payment_id, sizeof(b->payment_id), "pay-%u", number);
    payment->payment_id = text(b->payment_id);
    payment->amount_minor = amount_minor;
    payment->currency = currency;
    payment->channel = 1;
    payment->paid_at_ms = paid_at_ms;
}

static int64_t price_of(const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    return ask->kind == LG_ASK_OPEN_TEAM ? sale->captain_price_minor[ask->item]
                                         : sale->price_minor[ask->item];
}

static void build_lines(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    for (uint32_t i = 0; i < ask->line_count; i++) {
        Tidegate__V1__OrderLine *line = &b->lines[i];
        tidegate__v1__order_line__init(line);
        line->sku = (char *)sale->skus[ask->lines[i].item];
        line->quantity = ask->lines[i].quantity;
        line->unit_price_minor = sale->price_minor[ask->lines[i].item];
        b->line_pointers[i] = line;
    }
    b->order.n_lines = ask->line_count;
    b->order.lines = b->line_pointers;
}

static void build_order(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    Tidegate__V1__PlaceOrderRequest *order = &b->order;
    tidegate__v1__place_order_request__init(order);
    order->request_id = request_id_of(ask);
    order->sale_id = sale->sale_id;
    order->user_id = ask->user_id;
    order->channel = ask->channel;
    if (ask->kind == LG_ASK_CART) {
        build_lines(b, ask, sale);
        return;
    }
    order->sku = (char *)sale->skus[ask->item];
    order->quantity = ask->quantity;
    order->unit_price_minor = price_of(ask, sale);
}

static void build_ingest(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    tidegate__v1__ingest_orders_request__init(&b->ingest);
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
            build_payment(b, &b->ingest_payments[i], LG_PAYMENT_FIRST,
                          order->unit_price_minor * facts->quantity, ask->at_ms);
            order->payment = &b->ingest_payments[i];
        }
        b->ingest_pointers[i] = order;
    }
    b->ingest.n_orders = ask->ingest_count;
    b->ingest.orders = b->ingest_pointers;
    b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    b->request.ingest_orders = &b->ingest;
}

#define CHANGE_CASE(name) TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_##name

static void build_refund(struct built *b, const struct lg_ask *ask)
{
    tidegate__v1__request_refund__init(&b->refund);
    b->refund.amount_minor = ask->amount_minor;
    b->refund.reason = (char *)(uintptr_t) "changed their mind";
    b->refund.restock = ask->restock;
    b->change.change_case = CHANGE_CASE(REQUEST_REFUND);
    b->change.request_refund = &b->refund;
}

static void build_refund_decision(struct built *b, const struct lg_ask *ask)
{
    if (ask->kind == LG_ASK_APPROVE_REFUND) {
        tidegate__v1__approve_refund__init(&b->approve);
        b->approve.number = ask->refund_number;
        b->change.change_case = CHANGE_CASE(APPROVE_REFUND);
        b->change.approve_refund = &b->approve;
    } else {
        tidegate__v1__reject_refund__init(&b->reject);
        b->reject.number = ask->refund_number;
        b->change.change_case = CHANGE_CASE(REJECT_REFUND);
        b->change.reject_refund = &b->reject;
    }
}

/* The kinds that change an order; false for all others. */
static bool build_what_changes(struct built *b, const struct lg_ask *ask)
{
    Tidegate__V1__ChangeOrderRequest *change = &b->change;
    switch ((enum lg_ask_kind)ask->kind) {
    case LG_ASK_PAY:
        build_payment(b, &b->payment, ask->payment, ask->amount_minor, ask->at_ms);
        change->change_case = CHANGE_CASE(RECORD_PAYMENT);
        change->record_payment = &b->payment;
        return true;
    case LG_ASK_CANCEL:
        tidegate__v1__cancel_order__init(&b->cancel);
        b->cancel.by = (Tidegate__V1__CancelledBy)TG_CANCELLED_BY_BUYER;
        change->change_case = CHANGE_CASE(CANCEL);
        change->cancel = &b->cancel;
        return true;
    case LG_ASK_EXTEND:
        tidegate__v1__extend_payment__init(&b->extend);
        b->extend.payment_deadline_ms = ask->at_ms;
        change->change_case = CHANGE_CASE(EXTEND_PAYMENT);
        change->extend_payment = &b->extend;
        return true;
    case LG_ASK_REQUEST_REFUND:
        build_refund(b, ask);
        return true;
    case LG_ASK_APPROVE_REFUND:
    case LG_ASK_REJECT_REFUND:
        build_refund_decision(b, ask);
        return true;
    case LG_ASK_RECORD_REFUND:
        tidegate__v1__record_refund__init(&b->record);
        b->record.number = ask->refund_number;
        change->change_case = CHANGE_CASE(RECORD_REFUND);
        change->record_refund = &b->record;
        return true;
    case LG_ASK_ADVANCE:
        tidegate__v1__advance_order__init(&b->advance);
        b->advance.to = (Tidegate__V1__OrderState)ask->advance_to;
        change->change_case = CHANGE_CASE(ADVANCE);
        change->advance = &b->advance;
        return true;
    case LG_ASK_PLACE:
    case LG_ASK_CART:
    case LG_ASK_OPEN_TEAM:
    case LG_ASK_JOIN_TEAM:
    case LG_ASK_INGEST:
    case LG_ASK_KINDS:
        return false;
    }
    return false;
}

static void build_change(struct built *b, const struct lg_ask *ask)
{
    tidegate__v1__change_order_request__init(&b->change);
    b->change.request_id = request_id_of(ask);
    b->change.order_id = ask->order_id;
    if (!build_what_changes(b, ask))
        return; /* an ask of no kind: tgc_send refuses a request of no kind */
    b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    b->request.change_order = &b->change;
}

static void build(struct built *b, const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    tidegate__v1__request__init(&b->request);
    if (ask->kind == LG_ASK_INGEST) {
        build_ingest(b, ask, sale);
        return;
    }
    if (ask->kind > LG_ASK_INGEST) {
        build_change(b, ask);
        return;
    }
    build_order(b, ask, sale);
    if (ask->kind == LG_ASK_OPEN_TEAM) {
        tidegate__v1__open_team_request__init(&b->open);
        b->open.order = &b->order;
        b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
        b->request.open_team = &b->open;
    } else if (ask->kind == LG_ASK_JOIN_TEAM) {
        tidegate__v1__join_team_request__init(&b->join);
        b->join.order = &b->order;
        b->join.team_id = ask->team_id;
        b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
        b->request.join_team = &b->join;
    } else {
        b->request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        b->request.place_order = &b->order;
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

static int verdict_of(int verdict)
{
    return verdict > 0 && verdict < TG_VERDICT_COUNT ? verdict : TG_UNSPECIFIED;
}

static struct lg_said said_of_order(const Tidegate__V1__PlaceOrderResponse *answer)
{
    if (!answer)
        return (struct lg_said){.verdict = TG_UNSPECIFIED};
    return (struct lg_said){.verdict = verdict_of((int)answer->verdict),
                            .replayed = answer->replayed,
                            .order_id = answer->order_id};
}

static void take_ingested(struct lg_ask *ask, const Tidegate__V1__IngestOrdersResponse *answer)
{
    ask->said = (struct lg_said){.verdict = verdict_of((int)answer->verdict)};
    for (uint32_t i = 0; i < ask->ingest_count; i++)
        ask->ingested[i] = (struct lg_said){.verdict = ask->said.verdict};
    if (ask->said.verdict != TG_OK)
        return;
    if (answer->n_results != ask->ingest_count) {
        ask->said.verdict = TG_UNSPECIFIED;
        return;
    }
    for (uint32_t i = 0; i < ask->ingest_count; i++) {
        ask->ingested[i] = said_of_order(answer->results[i]);
        if (ask->ingested[i].verdict == TG_BUSY)
            ask->said.verdict = TG_BUSY;
    }
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
        ask->said = (struct lg_said){.verdict = verdict_of((int)response->change_order->verdict),
                                     .replayed = response->change_order->replayed,
                                     .order_id = ask->order_id,
                                     .refund_number = response->change_order->refund_number};
}

/* --- what an order is asked to be --- */

void lg_ask_ingest_order(const struct lg_ask *ask, uint32_t i, uint32_t item_count,
                         struct lg_ingest_order *order)
{
    uint32_t own = i % INGEST_TWICE_EVERY == INGEST_TWICE_EVERY - 1 ? i - 1 : i;
    uint64_t draw = tg_mix64(ask->ingest_draw + own * TG_RNG_GOLDEN);
    snprintf(order->external_id, sizeof(order->external_id), "I%" PRIx64 "-%u", ask->ingest_name,
             own);
    order->own = own;
    order->channel = 1 + (uint32_t)(draw % INGEST_CHANNELS);
    order->item = (uint32_t)((draw >> 8) % item_count);
    order->quantity = 1 + (uint32_t)((draw >> 40) % 2);
    order->user_id = INGEST_USER_ID_FIRST + (draw >> 44);
    order->paid = (draw >> 3) & 1;
}

uint64_t lg_facts_line(const char *sku, uint32_t quantity, int64_t unit_price_minor)
{
    return tg_hash(sku, strlen(sku), (uint64_t)unit_price_minor) * quantity;
}

uint64_t lg_facts_print(const struct lg_facts *facts)
{
    uint64_t print = tg_hash(facts->external_id, facts->external_bytes, facts->lines);
    print = tg_hash_words(print, facts->user_id, facts->channel);
    print = tg_hash_words(print, facts->team_id, facts->request_id != NULL);
    return facts->request_id ? tg_hash(facts->request_id, TG_REQUEST_ID_BYTES, print) : print;
}

static uint64_t cart_lines(const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    uint64_t lines = 0;
    for (uint32_t i = 0; i < ask->line_count; i++)
        lines += lg_facts_line(sale->skus[ask->lines[i].item], ask->lines[i].quantity,
                               sale->price_minor[ask->lines[i].item]);
    return lines;
}

uint64_t lg_ask_facts(const struct lg_ask *ask, const struct lg_ask_sale *sale, uint64_t order_id)
{
    struct lg_facts facts = {
        .user_id = ask->user_id,
        .team_id = ask->kind == LG_ASK_OPEN_TEAM   ? order_id
                   : ask->kind == LG_ASK_JOIN_TEAM ? ask->team_id
                                                   : 0,
        .channel = ask->channel,
        .request_id = ask->request_id,
        .external_id = "",
        .lines = ask->kind == LG_ASK_CART
                     ? cart_lines(ask, sale)
                     : lg_facts_line(sale->skus[ask->item], ask->quantity, price_of(ask, sale)),
    };
    return lg_facts_print(&facts);
}

uint64_t lg_ask_ingest_facts(const struct lg_ask *ask, uint32_t i, const struct lg_ask_sale *sale)
{
    struct lg_ingest_order order;
    lg_ask_ingest_order(ask, i, sale->item_count, &order);
    struct lg_facts facts = {
        .user_id = order.user_id,
        .channel = order.channel,
        .external_id = order.external_id,
        .external_bytes = strlen(order.external_id),
        .lines =
            lg_facts_line(sale->skus[order.item], order.quantity, sale->price_minor[order.item]),
    };
    return lg_facts_print(&facts);
}

int64_t lg_ask_amount(const struct lg_ask *ask, const struct lg_ask_sale *sale)
{
    int64_t amount = 0;
    if (ask->kind != LG_ASK_CART)
        return price_of(ask, sale) * ask->quantity;
    for (uint32_t i = 0; i < ask->line_count; i++)
        amount += sale->price_minor[ask->lines[i].item] * ask->lines[i].quantity;
    return amount;
}
