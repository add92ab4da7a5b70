#include "tests/crash/wish.h"

#include "base/clock.h"
#include "tests/crash/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYMENT_WINDOW_S 2
#define SHARED_CHANNEL   2u

/* Texts in messages are not const, and nobody writes to them. */
static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

/* One of sixty-four texts that take turns. */
static __attribute__((format(printf, 1, 2))) char *format(const char *pattern, ...)
{
    static char texts[64][24];
    static uint32_t turn;
    char *to = texts[turn++ % 64];
    va_list numbers;
    va_start(numbers, pattern);
    vsnprintf(to, sizeof(texts[0]), pattern, numbers);
    va_end(numbers);
    return to;
}

int64_t wish_price(uint32_t sku)
{
    return 1000 + 100 * (int64_t)sku;
}

int64_t wish_captain_price(uint32_t sku)
{
    return wish_price(sku) - 200;
}

char *wish_sku(uint32_t sku)
{
    return format("S%" PRIu32, sku);
}

static uint64_t external_number(const struct wish *wish, uint32_t i)
{
    return wish->number * 100 + i;
}

static uint32_t channel_of(const struct wish *wish)
{
    return wish->sale->has_shares ? SHARED_CHANNEL : 0;
}

static void request_id_of(const struct wish *wish, uint8_t id[TG_REQUEST_ID_BYTES])
{
    memcpy(id, "powercut", 8);
    memcpy(id + 8, &wish->number, 8);
}

static int64_t price_of(const struct wish *wish, uint32_t i)
{
    return wish->kind == WISH_OPEN ? wish_captain_price(wish->skus[i]) : wish_price(wish->skus[i]);
}

static uint64_t line_of(const struct wish *wish, uint32_t i)
{
    const char *sku = wish_sku(wish->skus[i]);
    return facts_line(facts_item(wish->sale->sale_id, sku, strlen(sku)), wish->quantities[i],
                      price_of(wish, i));
}

/* Ingested orders take turns among the lines. */
static uint32_t line_of_ingest(const struct wish *wish, uint32_t i)
{
    return i % wish->line_count;
}

struct facts_asked wish_asked(const struct wish *wish, uint32_t i)
{
    struct facts_asked asked = {.user_id = wish->user_id, .team_id = wish->team_id};
    if (wish->kind == WISH_INGEST) {
        const char *external = format("x%" PRIu64, external_number(wish, i));
        asked.ingested = true;
        asked.user_id += i;
        asked.channel = (uint16_t)channel_of(wish);
        asked.external_bytes = (uint8_t)strlen(external);
        memcpy(asked.external_id, external, asked.external_bytes);
        asked.lines = line_of(wish, line_of_ingest(wish, i));
        return asked;
    }
    request_id_of(wish, asked.request_id);
    asked.channel = (uint16_t)channel_of(wish);
    for (uint32_t line = 0; line < wish->line_count; line++)
        asked.lines += line_of(wish, line);
    return asked;
}

int64_t wish_amount(const struct wish *wish, uint32_t i)
{
    int64_t amount_minor = 0;
    uint32_t only = line_of_ingest(wish, i);
    for (uint32_t line = 0; line < wish->line_count; line++)
        if (wish->kind != WISH_INGEST || line == only)
            amount_minor += price_of(wish, line) * wish->quantities[line];
    return amount_minor;
}

/* --- messages of buyers --- */

static void fill_order(const struct wish *wish, Tidegate__V1__PlaceOrderRequest *order)
{
    static uint8_t id[TG_REQUEST_ID_BYTES];
    request_id_of(wish, id);
    tidegate__v1__place_order_request__init(order);
    order->request_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    order->sale_id = wish->sale->sale_id;
    order->user_id = wish->user_id;
    order->channel = channel_of(wish);
    order->lane = (Tidegate__V1__Lane)(wish->number % 4);
    if (wish->kind == WISH_CART)
        return;
    order->sku = wish_sku(wish->skus[0]);
    order->quantity = wish->quantities[0];
    order->unit_price_minor = price_of(wish, 0);
}

static void fill_cart(const struct wish *wish, Tidegate__V1__PlaceOrderRequest *order)
{
    static Tidegate__V1__OrderLine lines[WISH_LINES_MAX];
    static Tidegate__V1__OrderLine *pointers[WISH_LINES_MAX];
    for (uint32_t i = 0; i < wish->line_count; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = wish_sku(wish->skus[i]);
        lines[i].quantity = wish->quantities[i];
        lines[i].unit_price_minor = price_of(wish, i);
        pointers[i] = &lines[i];
    }
    order->n_lines = wish->line_count;
    order->lines = pointers;
}

static void fill_payment(const struct wish *wish, Tidegate__V1__Payment *payment, char *id,
                         int64_t amount_minor)
{
    tidegate__v1__payment__init(payment);
    payment->payment_id = (ProtobufCBinaryData){.len = strlen(id), .data = (uint8_t *)id};
    payment->amount_minor = amount_minor;
    payment->currency = text("CNY");
    payment->paid_at_ms = wish->at_ms;
}

static void fill_ingest(const struct wish *wish, Tidegate__V1__IngestOrdersRequest *request)
{
    static Tidegate__V1__IngestOrder orders[WISH_INGEST_MAX];
    static Tidegate__V1__IngestOrder *pointers[WISH_INGEST_MAX];
    static Tidegate__V1__Payment payments[WISH_INGEST_MAX];
    for (uint32_t i = 0; i < wish->ingest_count; i++) {
        Tidegate__V1__IngestOrder *order = pointers[i] = &orders[i];
        uint32_t line = line_of_ingest(wish, i);
        char *external = format("x%" PRIu64, external_number(wish, i));
        tidegate__v1__ingest_order__init(order);
        order->channel = channel_of(wish);
        order->external_id =
            (ProtobufCBinaryData){.len = strlen(external), .data = (uint8_t *)external};
        order->sale_id = wish->sale->sale_id;
        order->sku = wish_sku(wish->skus[line]);
        order->user_id = wish->user_id + i;
        order->quantity = wish->quantities[line];
        order->unit_price_minor = price_of(wish, line);
        order->ordered_at_ms = wish->at_ms;
        if (i % 2) {
            fill_payment(wish, &payments[i], external, wish_amount(wish, i));
            order->payment = &payments[i];
        }
    }
    tidegate__v1__ingest_orders_request__init(request);
    request->n_orders = wish->ingest_count;
    request->orders = pointers;
}

/* --- messages of changes --- */

static void fill_refund_change(const struct wish *wish, Tidegate__V1__ChangeOrderRequest *change)
{
    static Tidegate__V1__RequestRefund ask;
    static Tidegate__V1__ApproveRefund approve;
    static Tidegate__V1__RejectRefund reject;
    static Tidegate__V1__RecordRefund record;
    tidegate__v1__request_refund__init(&ask);
    tidegate__v1__approve_refund__init(&approve);
    tidegate__v1__reject_refund__init(&reject);
    tidegate__v1__record_refund__init(&record);
    ask.amount_minor = wish->amount_minor;
    ask.restock = wish->amount_minor == 0 && wish->number % 2;
    ask.reason = text("does not fit");
    approve.number = reject.number = record.number = wish->refund_number;
    record.reference = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)text("R\0ef")};
    if (wish->change == WISH_REFUND) {
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND;
        change->request_refund = &ask;
    } else if (wish->change == WISH_APPROVE) {
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_APPROVE_REFUND;
        change->approve_refund = &approve;
    } else if (wish->change == WISH_REJECT) {
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REJECT_REFUND;
        change->reject_refund = &reject;
    } else {
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_REFUND;
        change->record_refund = &record;
    }
}

static void fill_change(const struct wish *wish, Tidegate__V1__ChangeOrderRequest *change)
{
    static uint8_t id[TG_REQUEST_ID_BYTES];
    static Tidegate__V1__Payment payment;
    static Tidegate__V1__CancelOrder cancel;
    static Tidegate__V1__ExtendPayment extend;
    static Tidegate__V1__AdvanceOrder advance;
    request_id_of(wish, id);
    tidegate__v1__change_order_request__init(change);
    change->order_id = wish->order_id;
    change->request_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    switch (wish->change) {
    case WISH_PAY:
        fill_payment(wish, &payment, format("p%" PRIu64, wish->number), wish->amount_minor);
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
        change->record_payment = &payment;
        break;
    case WISH_CANCEL:
        tidegate__v1__cancel_order__init(&cancel);
        cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER;
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
        change->cancel = &cancel;
        break;
    case WISH_EXTEND:
        tidegate__v1__extend_payment__init(&extend);
        extend.payment_deadline_ms = wish->at_ms + 1000 * PAYMENT_WINDOW_S + 500;
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
        change->extend_payment = &extend;
        break;
    case WISH_ADVANCE:
        tidegate__v1__advance_order__init(&advance);
        advance.to = (Tidegate__V1__OrderState)wish->advance_to;
        change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
        change->advance = &advance;
        break;
    case WISH_REFUND:
    case WISH_APPROVE:
    case WISH_REJECT:
    case WISH_RECORD:
        fill_refund_change(wish, change);
        break;
    case WISH_CHANGES:
        abort();
    }
}

/* --- messages of operators --- */

static void fill_item(const struct wish_sale *sale, uint32_t sku, Tidegate__V1__SaleItem *item)
{
    static Tidegate__V1__LadderStep steps[WISH_LINES_MAX * 8];
    static Tidegate__V1__LadderStep *pointers[WISH_LINES_MAX * 8];
    tidegate__v1__sale_item__init(item);
    item->sku = wish_sku(sku);
    item->list_price_minor = 2 * wish_price(sku);
    item->sale_price_minor = wish_price(sku);
    item->stock_units = sale->stock_units;
    item->per_user_limit = sale->per_user_limit;
    item->stock_policy = (Tidegate__V1__StockPolicy)sale->policy;
    if (!sale->is_group_buy)
        return;
    tidegate__v1__ladder_step__init(&steps[sku]);
    steps[sku].size = 3;
    steps[sku].unit_price_minor = wish_price(sku) - 300;
    pointers[sku] = &steps[sku];
    item->captain_price_minor = wish_captain_price(sku);
    item->n_ladder = 1;
    item->ladder = &pointers[sku];
}

static void fill_sale(const struct wish_sale *sale, Tidegate__V1__Sale *message)
{
    static Tidegate__V1__GroupBuyRules rules;
    static Tidegate__V1__ChannelShare share;
    static Tidegate__V1__ChannelShare *shares[1] = {&share};
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    tidegate__v1__sale__init(message);
    message->sale_id = sale->sale_id;
    message->kind = sale->is_group_buy ? TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY
                                       : TIDEGATE__V1__SALE_KIND__SALE_KIND_SECKILL;
    message->name = text("Power cut");
    message->currency = text("CNY");
    message->starts_at_ms = now_ms - 1000;
    message->ends_at_ms = now_ms + 3600 * 1000;
    message->payment_window_s = PAYMENT_WINDOW_S;
    message->refund_auto_max_minor = 1500;
    if (sale->is_group_buy) {
        tidegate__v1__group_buy_rules__init(&rules);
        rules.team_size = 3;
        rules.team_lifetime_s = 60;
        message->group_buy = &rules;
    }
    if (sale->has_shares) {
        tidegate__v1__channel_share__init(&share);
        share.channel = SHARED_CHANNEL;
        share.percent = 50;
        message->n_channel_shares = 1;
        message->channel_shares = shares;
    }
}

static void fill_create_sale(const struct wish *wish, Tidegate__V1__CreateSaleRequest *request)
{
    static Tidegate__V1__Sale sale;
    static Tidegate__V1__SaleItem items[WISH_LINES_MAX * 8];
    static Tidegate__V1__SaleItem *pointers[WISH_LINES_MAX * 8];
    fill_sale(wish->sale, &sale);
    for (uint32_t i = 0; i < wish->sale->items; i++) {
        fill_item(wish->sale, i, &items[i]);
        pointers[i] = &items[i];
    }
    tidegate__v1__create_sale_request__init(request);
    request->sale = &sale;
    request->n_items = wish->sale->items;
    request->items = pointers;
}

/* --- sending --- */

/* Room for the message of any request. */
union body {
    Tidegate__V1__PlaceOrderRequest place;
    Tidegate__V1__IngestOrdersRequest ingest;
    Tidegate__V1__ChangeOrderRequest change;
    Tidegate__V1__CreateSaleRequest create_sale;
    Tidegate__V1__PauseSaleRequest pause;
    Tidegate__V1__ResumeSaleRequest resume;
    Tidegate__V1__CloseSaleRequest close;
    Tidegate__V1__AdjustStockRequest adjust;
    Tidegate__V1__CreateGroupRequest create_group;
    Tidegate__V1__AckEventsRequest ack;
    Tidegate__V1__DeleteGroupRequest delete_group;
    Tidegate__V1__ConsumeEventsRequest consume;
    Tidegate__V1__GetOrderRequest get_order;
    struct {
        Tidegate__V1__PlaceOrderRequest order;
        Tidegate__V1__OpenTeamRequest open;
        Tidegate__V1__JoinTeamRequest join;
    } seat;
};

static void fill_operation(const struct wish *wish, Tidegate__V1__Request *request,
                           union body *body)
{
    switch (wish->operation) {
    case WISH_CREATE_SALE:
        fill_create_sale(wish, &body->create_sale);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
        request->create_sale = &body->create_sale;
        break;
    case WISH_PAUSE:
        tidegate__v1__pause_sale_request__init(&body->pause);
        body->pause.sale_id = wish->sale->sale_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE;
        request->pause_sale = &body->pause;
        break;
    case WISH_RESUME:
        tidegate__v1__resume_sale_request__init(&body->resume);
        body->resume.sale_id = wish->sale->sale_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_RESUME_SALE;
        request->resume_sale = &body->resume;
        break;
    case WISH_CLOSE:
        tidegate__v1__close_sale_request__init(&body->close);
        body->close.sale_id = wish->sale->sale_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE;
        request->close_sale = &body->close;
        break;
    case WISH_ADJUST:
        tidegate__v1__adjust_stock_request__init(&body->adjust);
        body->adjust.sale_id = wish->sale->sale_id;
        body->adjust.sku = wish_sku(wish->skus[0]);
        body->adjust.reason = text("counted");
        body->adjust.change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_DELTA_UNITS;
        body->adjust.delta_units = wish->delta_units;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK;
        request->adjust_stock = &body->adjust;
        break;
    case WISH_CREATE_GROUP:
        tidegate__v1__create_group_request__init(&body->create_group);
        body->create_group.group = text(wish->group);
        body->create_group.from_now = true;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
        request->create_group = &body->create_group;
        break;
    case WISH_ACK:
        tidegate__v1__ack_events_request__init(&body->ack);
        body->ack.group = text(wish->group);
        body->ack.sequence = wish->sequence;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
        request->ack_events = &body->ack;
        break;
    case WISH_DELETE_GROUP:
        tidegate__v1__delete_group_request__init(&body->delete_group);
        body->delete_group.group = text(wish->group);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP;
        request->delete_group = &body->delete_group;
        break;
    }
}

static void fill_seat(const struct wish *wish, Tidegate__V1__Request *request, union body *body)
{
    fill_order(wish, &body->seat.order);
    if (wish->kind == WISH_OPEN) {
        tidegate__v1__open_team_request__init(&body->seat.open);
        body->seat.open.order = &body->seat.order;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
        request->open_team = &body->seat.open;
    } else {
        tidegate__v1__join_team_request__init(&body->seat.join);
        body->seat.join.order = &body->seat.order;
        body->seat.join.team_id = wish->team_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
        request->join_team = &body->seat.join;
    }
}

static void fill_read(const struct wish *wish, Tidegate__V1__Request *request, union body *body)
{
    if (wish->order_id) {
        tidegate__v1__get_order_request__init(&body->get_order);
        body->get_order.order_id = wish->order_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
        request->get_order = &body->get_order;
        return;
    }
    tidegate__v1__consume_events_request__init(&body->consume);
    body->consume.group = text(wish->group);
    body->consume.max = 64;
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request->consume_events = &body->consume;
}

static void fill(const struct wish *wish, Tidegate__V1__Request *request, union body *body)
{
    switch (wish->kind) {
    case WISH_PLACE:
    case WISH_CART:
        fill_order(wish, &body->place);
        if (wish->kind == WISH_CART)
            fill_cart(wish, &body->place);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        request->place_order = &body->place;
        break;
    case WISH_OPEN:
    case WISH_JOIN:
        fill_seat(wish, request, body);
        break;
    case WISH_INGEST:
        fill_ingest(wish, &body->ingest);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
        request->ingest_orders = &body->ingest;
        break;
    case WISH_CHANGE:
        fill_change(wish, &body->change);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
        request->change_order = &body->change;
        break;
    case WISH_OPERATE:
    case WISH_GROUP:
        fill_operation(wish, request, body);
        break;
    case WISH_READ:
        fill_read(wish, request, body);
        break;
    case WISH_KINDS:
        abort();
    }
}

void wish_send(struct tgc_client *client, const struct wish *wish, tgc_on_response *on_response,
               void *context)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    union body body;
    struct tg_fault fault;
    fill(wish, &request, &body);
    if (tgc_send(client, &request, on_response, context, &fault) != TG_ERR_OK) {
        fprintf(stderr, "crash: %s\n", fault.text);
        exit(CRASH_EXIT_UNABLE);
    }
}
