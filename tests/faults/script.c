#include "tests/faults/script.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/order.h"
#include "tests/faults/work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So many items that nobody buys make the creation of sale 1 a frame of several receive buffers. */
#define FILLERS 220

#define SHIPPED   TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED
#define CONFIRMED TIDEGATE__V1__ORDER_STATE__ORDER_STATE_CONFIRMED
#define CANCELLED TIDEGATE__V1__ORDER_STATE__ORDER_STATE_CANCELLED
#define RESERVED  TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED

static const struct {
    uint64_t sale;
    const char *sku;
    uint64_t units;
    int policy;
} items[] = {
    {1, "A", 200, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_RESERVE},
    {1, "B", 100, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_RESERVE},
    {1, "C", 50, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_RESERVE},
    {1, "D", 20, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_RESERVE},
    {1, "L", 1, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_RESERVE},
    {2, "T", 40, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_RESERVE},
    {3, "P", 10, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_ON_PLACE},
    {3, "Q", 10, TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_ON_PAYMENT},
};

#define ITEM_COUNT (sizeof(items) / sizeof(items[0]))

/* Step numbers that later steps speak of. */
enum {
    ORDER_A = 4,
    ORDER_B = 5,
    BATCH = 8,
    CART = 9,
    TEAM = 14,
    INGEST = 18,
    LAST_UNIT = 22,
    ORDER_P = 32,
    ORDER_Q = 33,
    TEAM_TWO = 36,
    CART_TWO = 40,
};

#define HALF 30

const struct step script[] = {
    [0] = {STEP_CREATE_SALE, .sale = 1},
    {STEP_CREATE_SALE, .sale = 2},
    {STEP_CREATE_SALE, .sale = 3},
    {STEP_CREATE_GROUP},
    [ORDER_A] = {STEP_PLACE, .sale = 1, .sku = "A", .user = 1, .quantity = 2},
    [ORDER_B] = {STEP_PLACE, .sale = 1, .sku = "B", .user = 2, .quantity = 1},
    {STEP_PLACE, .sale = 1, .sku = "A", .user = 3, .quantity = 1},
    {STEP_GET_ITEM, .sale = 1, .sku = "A"},
    [BATCH] = {STEP_BATCH, .sale = 1, .sku = "A", .user = 10, .quantity = 1},
    [CART] = {STEP_CART, .sale = 1, .sku = "A", .user = 4, .quantity = 2},
    {STEP_PAY, .of = ORDER_A},
    {STEP_GET_ORDER, .of = ORDER_A, .state = CONFIRMED},
    {STEP_PAY, .of = CART},
    {STEP_CANCEL, .of = ORDER_B},
    [TEAM] = {STEP_OPEN_TEAM, .sale = 2, .sku = "T", .user = 20, .quantity = 1},
    {STEP_PAY, .of = TEAM},
    {STEP_JOIN_TEAM, .sale = 2, .sku = "T", .user = 21, .quantity = 1, .of = TEAM},
    {STEP_GET_TEAM, .of = TEAM},
    [INGEST] = {STEP_INGEST, .sale = 1, .sku = "B", .user = 30, .quantity = 1},
    {STEP_CONSUME},
    {STEP_ACK},
    {STEP_ADVANCE, .of = ORDER_A, .state = SHIPPED},
    [LAST_UNIT] = {STEP_PLACE, .sale = 1, .sku = "L", .user = 40, .quantity = 1},
    {STEP_PLACE, TG_SOLD_OUT, .sale = 1, .sku = "L", .user = 41, .quantity = 1},
    {STEP_CANCEL, .of = LAST_UNIT},
    {STEP_PLACE, .sale = 1, .sku = "L", .user = 42, .quantity = 1},
    {STEP_PAUSE, .sale = 1},
    {STEP_PLACE, TG_PAUSED, .sale = 1, .sku = "A", .user = 43, .quantity = 1},
    {STEP_RESUME, .sale = 1},
    {STEP_LIST_ORDERS, .sale = 1},
    [HALF] = {STEP_RECONNECT},
    {STEP_TIME},
    [ORDER_P] = {STEP_PLACE, .sale = 3, .sku = "P", .user = 50, .quantity = 3},
    [ORDER_Q] = {STEP_PLACE, .sale = 3, .sku = "Q", .user = 51, .quantity = 2},
    {STEP_PAY, .of = ORDER_Q},
    {STEP_ADJUST, .sale = 1, .sku = "D"},
    [TEAM_TWO] = {STEP_OPEN_TEAM, .sale = 2, .sku = "T", .user = 60, .quantity = 2},
    {STEP_PAY, .of = TEAM_TWO},
    {STEP_LIST_TEAMS, .sale = 2},
    {STEP_JOIN_TEAM, .sale = 2, .sku = "T", .user = 61, .quantity = 1, .of = TEAM_TWO},
    [CART_TWO] = {STEP_CART, .sale = 1, .sku = "B", .user = 62, .quantity = 1},
    {STEP_PAY, .of = 39},
    {STEP_CANCEL, .of = CART_TWO},
    {STEP_GET_ORDER, .of = CART_TWO, .state = CANCELLED},
    {STEP_PAY, .of = BATCH},
    {STEP_REFUND, .of = BATCH},
    {STEP_EXTEND, .of = 6},
    {STEP_GET_ORDER, .of = 6, .state = RESERVED},
    {STEP_BATCH, .sale = 1, .sku = "C", .user = 70, .quantity = 1},
    {STEP_GET_SALE, .sale = 1},
    {STEP_LIST_SALES},
    {STEP_RECONNECT},
    {STEP_INGEST, .sale = 1, .sku = "A", .user = 80, .quantity = 1},
    {STEP_CONSUME},
    {STEP_ACK},
    {STEP_LIST_GROUPS},
    {STEP_PLACE, .sale = 1, .sku = "B", .user = 90, .quantity = 1},
    {STEP_GET_ITEM, .sale = 1, .sku = "B"},
};

const uint32_t script_count = sizeof(script) / sizeof(script[0]);

_Static_assert(sizeof(script) / sizeof(script[0]) + WORK_PROBES <= WORK_STEPS_MAX,
               "the ledger holds the script and the probes");

uint32_t work_half(void)
{
    return HALF;
}

bool script_item(uint64_t sale, uint32_t i, const char **sku, uint64_t *units)
{
    for (size_t at = 0; at < ITEM_COUNT; at++) {
        if (items[at].sale != sale || i-- > 0)
            continue;
        *sku = items[at].sku;
        *units = items[at].units;
        return true;
    }
    return false;
}

const char *script_name(enum step_kind kind)
{
    static const char *const names[] = {
        [STEP_CREATE_SALE] = "CreateSale",   [STEP_CREATE_GROUP] = "CreateGroup",
        [STEP_PLACE] = "PlaceOrder",         [STEP_BATCH] = "PlaceOrders",
        [STEP_CART] = "PlaceOrder (a cart)", [STEP_OPEN_TEAM] = "OpenTeam",
        [STEP_JOIN_TEAM] = "JoinTeam",       [STEP_INGEST] = "IngestOrders",
        [STEP_PAY] = "RecordPayment",        [STEP_CANCEL] = "CancelOrder",
        [STEP_ADVANCE] = "AdvanceOrder",     [STEP_REFUND] = "RequestRefund",
        [STEP_EXTEND] = "ExtendPayment",     [STEP_ADJUST] = "AdjustStock",
        [STEP_PAUSE] = "PauseSale",          [STEP_RESUME] = "ResumeSale",
        [STEP_CONSUME] = "ConsumeEvents",    [STEP_ACK] = "AckEvents",
        [STEP_GET_ORDER] = "GetOrder",       [STEP_GET_ITEM] = "GetItem",
        [STEP_GET_SALE] = "GetSale",         [STEP_LIST_SALES] = "ListSales",
        [STEP_LIST_ORDERS] = "ListOrders",   [STEP_GET_TEAM] = "GetTeam",
        [STEP_LIST_TEAMS] = "ListTeams",     [STEP_LIST_GROUPS] = "ListGroups",
        [STEP_TIME] = "GetServerTime",       [STEP_RECONNECT] = "connect",
    };
    return names[kind];
}

/* --- messages --- */

/* Texts in messages are not const, and nobody writes to them. */
static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

/* When the first message was made: the same for whoever asks again, in this process and in those
 * that it forks. */
static int64_t begun_ms(void)
{
    static int64_t at_ms;
    if (at_ms == 0)
        at_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    return at_ms;
}

/* 16 bytes, in one of thirty-two places that take turns. */
static ProtobufCBinaryData id_of(const char prefix[8], uint64_t number)
{
    static uint8_t ids[32][TG_REQUEST_ID_BYTES];
    static uint32_t turn;
    uint8_t *id = ids[turn++ % 32];
    memcpy(id, prefix, 8);
    memcpy(id + 8, &number, sizeof(number));
    return (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = id};
}

static void fill_item(uint64_t sale, const char *sku, uint64_t units, int policy,
                      Tidegate__V1__SaleItem *item)
{
    tidegate__v1__sale_item__init(item);
    item->sku = text(sku);
    item->list_price_minor = 2 * SCRIPT_PRICE;
    item->sale_price_minor = SCRIPT_PRICE;
    item->stock_units = units;
    item->stock_policy = (Tidegate__V1__StockPolicy)policy;
    if (sale == SCRIPT_TEAM_SALE)
        item->captain_price_minor = SCRIPT_PRICE;
}

static void fill_sale_items(uint64_t sale, Tidegate__V1__CreateSaleRequest *create)
{
    static Tidegate__V1__SaleItem all[ITEM_COUNT + FILLERS];
    static Tidegate__V1__SaleItem *pointers[ITEM_COUNT + FILLERS];
    static char skus[FILLERS][TG_SKU_BYTES_MAX + 1];
    uint32_t count = 0;
    for (size_t i = 0; i < ITEM_COUNT; i++)
        if (items[i].sale == sale)
            fill_item(sale, items[i].sku, items[i].units, items[i].policy, &all[count++]);
    for (uint32_t i = 0; sale == 1 && i < FILLERS; i++) {
        snprintf(skus[i], sizeof(skus[i]), "FILLER-OF-MANY-BYTES-IN-ONE-%u", i);
        fill_item(sale, skus[i], 1, 0, &all[count++]);
    }
    for (uint32_t i = 0; i < count; i++)
        pointers[i] = &all[i];
    create->n_items = count;
    create->items = pointers;
}

static void fill_create_sale(const struct step *step, Tidegate__V1__Request *request)
{
    static Tidegate__V1__CreateSaleRequest create;
    static Tidegate__V1__Sale sale;
    static Tidegate__V1__GroupBuyRules rules;
    int64_t now_ms = begun_ms();
    tidegate__v1__create_sale_request__init(&create);
    tidegate__v1__sale__init(&sale);
    tidegate__v1__group_buy_rules__init(&rules);
    sale.sale_id = step->sale;
    sale.name = text("Faults");
    sale.currency = text("CNY");
    sale.starts_at_ms = now_ms - 12 * 3600 * 1000;
    sale.ends_at_ms = now_ms + 24 * 3600 * 1000;
    sale.payment_window_s = 24 * 3600;
    sale.refund_auto_max_minor = 1000000;
    sale.kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_SECKILL;
    if (step->sale == SCRIPT_TEAM_SALE) {
        sale.kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY;
        rules.team_size = 2;
        rules.team_lifetime_s = 12 * 3600;
        sale.group_buy = &rules;
    }
    create.sale = &sale;
    fill_sale_items(step->sale, &create);
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    request->create_sale = &create;
}

static void fill_order(const struct step *step, uint64_t number,
                       Tidegate__V1__PlaceOrderRequest *order)
{
    tidegate__v1__place_order_request__init(order);
    order->request_id = id_of("faultrun", number);
    order->sale_id = step->sale;
    order->user_id = step->user;
    order->sku = text(step->sku);
    order->quantity = step->quantity;
    order->unit_price_minor = SCRIPT_PRICE;
}

/* Two lines: the step's SKU, and C, which lies on the other shard than A and B do in turn. */
static void fill_cart(const struct step *step, Tidegate__V1__PlaceOrderRequest *order)
{
    static Tidegate__V1__OrderLine lines[3];
    static Tidegate__V1__OrderLine *pointers[3] = {&lines[0], &lines[1], &lines[2]};
    const char *const skus[3] = {step->sku, "C", "D"};
    for (int i = 0; i < 3; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = text(skus[i]);
        lines[i].quantity = step->quantity;
        lines[i].unit_price_minor = SCRIPT_PRICE;
    }
    order->sku = text("");
    order->quantity = 0;
    order->unit_price_minor = 0;
    order->n_lines = 3;
    order->lines = pointers;
}

static void fill_placing(const struct step *step, uint32_t number, uint64_t order_id,
                         Tidegate__V1__Request *request)
{
    static Tidegate__V1__PlaceOrderRequest order;
    static Tidegate__V1__OpenTeamRequest open;
    static Tidegate__V1__JoinTeamRequest join;
    fill_order(step, number * 100ull, &order);
    if (step->kind == STEP_CART)
        fill_cart(step, &order);
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request->place_order = &order;
    if (step->kind == STEP_OPEN_TEAM) {
        tidegate__v1__open_team_request__init(&open);
        open.order = &order;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
        request->open_team = &open;
    }
    if (step->kind == STEP_JOIN_TEAM) {
        tidegate__v1__join_team_request__init(&join);
        join.order = &order;
        join.team_id = order_id;
        join.new_buyer = true;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
        request->join_team = &join;
    }
}

static void fill_batch(const struct step *step, uint32_t number, Tidegate__V1__Request *request)
{
    static Tidegate__V1__PlaceOrderRequest orders[WORK_BATCH];
    static Tidegate__V1__PlaceOrderRequest *pointers[WORK_BATCH];
    static Tidegate__V1__PlaceOrdersRequest batch;
    tidegate__v1__place_orders_request__init(&batch);
    for (uint32_t i = 0; i < WORK_BATCH; i++) {
        fill_order(step, number * 100ull + i, &orders[i]);
        if (i % 2)
            orders[i].sku = text("B");
        pointers[i] = &orders[i];
    }
    batch.n_orders = WORK_BATCH;
    batch.orders = pointers;
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
    request->place_orders = &batch;
}

/* The external ids of the orders that are ingested last. */
static char external_ids[WORK_BATCH][24];

static void fill_payment(const char *payment_id, int64_t amount_minor,
                         Tidegate__V1__Payment *payment)
{
    tidegate__v1__payment__init(payment);
    payment->payment_id =
        (ProtobufCBinaryData){.len = strlen(payment_id), .data = (uint8_t *)text(payment_id)};
    payment->amount_minor = amount_minor;
    payment->currency = text("CNY");
}

static void fill_ingest(const struct step *step, uint32_t number, Tidegate__V1__Request *request)
{
    static Tidegate__V1__IngestOrder orders[WORK_BATCH];
    static Tidegate__V1__IngestOrder *pointers[WORK_BATCH];
    static Tidegate__V1__Payment payments[WORK_BATCH];
    static Tidegate__V1__IngestOrdersRequest ingest;
    tidegate__v1__ingest_orders_request__init(&ingest);
    for (uint32_t i = 0; i < WORK_BATCH; i++) {
        tidegate__v1__ingest_order__init(&orders[i]);
        snprintf(external_ids[i], sizeof(external_ids[i]), "x%u-%u", number, i);
        orders[i].channel = 7;
        orders[i].external_id = (ProtobufCBinaryData){.len = strlen(external_ids[i]),
                                                      .data = (uint8_t *)external_ids[i]};
        orders[i].sale_id = step->sale;
        orders[i].sku = text(i % 2 ? "C" : step->sku);
        orders[i].user_id = step->user + i;
        orders[i].quantity = step->quantity;
        orders[i].unit_price_minor = SCRIPT_PRICE;
        orders[i].ordered_at_ms = begun_ms();
        if (i % 3 == 0) {
            fill_payment(external_ids[i], SCRIPT_PRICE * (int64_t)step->quantity, &payments[i]);
            orders[i].payment = &payments[i];
        }
        pointers[i] = &orders[i];
    }
    ingest.n_orders = WORK_BATCH;
    ingest.orders = pointers;
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    request->ingest_orders = &ingest;
}

/* What the order of a step costs. */
static int64_t amount_of(const struct step *placing)
{
    int64_t amount_minor = SCRIPT_PRICE * (int64_t)placing->quantity;
    return placing->kind == STEP_CART ? 3 * amount_minor : amount_minor;
}

static void fill_change(const struct step *step, uint32_t number, uint64_t order_id,
                        Tidegate__V1__Request *request)
{
    static Tidegate__V1__ChangeOrderRequest change;
    static Tidegate__V1__Payment payment;
    static Tidegate__V1__CancelOrder cancel;
    static Tidegate__V1__RequestRefund refund;
    static Tidegate__V1__AdvanceOrder advance;
    static Tidegate__V1__ExtendPayment extend;
    static char payment_id[24];
    tidegate__v1__change_order_request__init(&change);
    change.order_id = order_id;
    change.request_id = id_of("faultchg", number);
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request->change_order = &change;
    if (step->kind == STEP_PAY) {
        snprintf(payment_id, sizeof(payment_id), "pay-%u", number);
        fill_payment(payment_id, amount_of(&script[step->of]), &payment);
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
        change.record_payment = &payment;
    } else if (step->kind == STEP_CANCEL) {
        tidegate__v1__cancel_order__init(&cancel);
        cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
        change.cancel = &cancel;
    } else if (step->kind == STEP_REFUND) {
        tidegate__v1__request_refund__init(&refund);
        refund.restock = true;
        refund.reason = text("not wanted");
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND;
        change.request_refund = &refund;
    } else if (step->kind == STEP_ADVANCE) {
        tidegate__v1__advance_order__init(&advance);
        advance.to = (Tidegate__V1__OrderState)step->state;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
        change.advance = &advance;
    } else {
        tidegate__v1__extend_payment__init(&extend);
        extend.payment_deadline_ms = begun_ms() + 2 * 24 * 3600 * 1000;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
        change.extend_payment = &extend;
    }
}

static void fill_operation(const struct step *step, Tidegate__V1__Request *request)
{
    static Tidegate__V1__AdjustStockRequest adjust;
    static Tidegate__V1__StockCompareAndSet set;
    static Tidegate__V1__PauseSaleRequest pause;
    static Tidegate__V1__ResumeSaleRequest resume;
    static Tidegate__V1__CreateGroupRequest group;
    if (step->kind == STEP_ADJUST) {
        tidegate__v1__adjust_stock_request__init(&adjust);
        tidegate__v1__stock_compare_and_set__init(&set);
        set.expected_available_units = 18; /* 20, of which a cart has 2 */
        set.new_available_units = 23;
        adjust.sale_id = step->sale;
        adjust.sku = text(step->sku);
        adjust.reason = text("found some");
        adjust.change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_COMPARE_AND_SET;
        adjust.compare_and_set = &set;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK;
        request->adjust_stock = &adjust;
    } else if (step->kind == STEP_PAUSE) {
        tidegate__v1__pause_sale_request__init(&pause);
        pause.sale_id = step->sale;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE;
        request->pause_sale = &pause;
    } else if (step->kind == STEP_RESUME) {
        tidegate__v1__resume_sale_request__init(&resume);
        resume.sale_id = step->sale;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_RESUME_SALE;
        request->resume_sale = &resume;
    } else {
        tidegate__v1__create_group_request__init(&group);
        group.group = text("faults");
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
        request->create_group = &group;
    }
}

static void fill_events(const struct step *step, Tidegate__V1__Request *request)
{
    static Tidegate__V1__ConsumeEventsRequest consume;
    static Tidegate__V1__AckEventsRequest ack;
    static Tidegate__V1__ListGroupsRequest list;
    if (step->kind == STEP_CONSUME) {
        tidegate__v1__consume_events_request__init(&consume);
        consume.group = text("faults");
        consume.max = 64;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
        request->consume_events = &consume;
    } else if (step->kind == STEP_ACK) {
        tidegate__v1__ack_events_request__init(&ack);
        ack.group = text("faults");
        ack.sequence = 5;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
        request->ack_events = &ack;
    } else {
        tidegate__v1__list_groups_request__init(&list);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS;
        request->list_groups = &list;
    }
}

static void fill_read(const struct step *step, uint64_t order_id, Tidegate__V1__Request *request)
{
    static Tidegate__V1__GetOrderRequest get_order;
    static Tidegate__V1__GetItemRequest get_item;
    static Tidegate__V1__GetTeamRequest get_team;
    if (step->kind == STEP_GET_ORDER) {
        tidegate__v1__get_order_request__init(&get_order);
        get_order.order_id = order_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
        request->get_order = &get_order;
    } else if (step->kind == STEP_GET_ITEM) {
        tidegate__v1__get_item_request__init(&get_item);
        get_item.sale_id = step->sale;
        get_item.sku = text(step->sku);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
        request->get_item = &get_item;
    } else {
        tidegate__v1__get_team_request__init(&get_team);
        get_team.team_id = order_id;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_TEAM;
        request->get_team = &get_team;
    }
}

static void fill_list(const struct step *step, Tidegate__V1__Request *request)
{
    static Tidegate__V1__GetSaleRequest get_sale;
    static Tidegate__V1__ListSalesRequest list_sales;
    static Tidegate__V1__ListOrdersRequest list_orders;
    static Tidegate__V1__ListTeamsRequest list_teams;
    static Tidegate__V1__GetServerTimeRequest time;
    if (step->kind == STEP_GET_SALE) {
        tidegate__v1__get_sale_request__init(&get_sale);
        get_sale.sale_id = step->sale;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
        request->get_sale = &get_sale;
    } else if (step->kind == STEP_LIST_SALES) {
        tidegate__v1__list_sales_request__init(&list_sales);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_SALES;
        request->list_sales = &list_sales;
    } else if (step->kind == STEP_LIST_ORDERS) {
        tidegate__v1__list_orders_request__init(&list_orders);
        list_orders.sale_id = step->sale;
        list_orders.limit = 1000;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
        request->list_orders = &list_orders;
    } else if (step->kind == STEP_LIST_TEAMS) {
        tidegate__v1__list_teams_request__init(&list_teams);
        list_teams.sale_id = step->sale;
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
        request->list_teams = &list_teams;
    } else {
        tidegate__v1__get_server_time_request__init(&time);
        request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
        request->get_server_time = &time;
    }
}

void script_message(const struct step *step, uint32_t number, uint64_t order_id,
                    Tidegate__V1__Request *request)
{
    tidegate__v1__request__init(request);
    switch (step->kind) {
    case STEP_CREATE_SALE:
        fill_create_sale(step, request);
        break;
    case STEP_PLACE:
    case STEP_CART:
    case STEP_OPEN_TEAM:
    case STEP_JOIN_TEAM:
        fill_placing(step, number, order_id, request);
        break;
    case STEP_BATCH:
        fill_batch(step, number, request);
        break;
    case STEP_INGEST:
        fill_ingest(step, number, request);
        break;
    case STEP_PAY:
    case STEP_CANCEL:
    case STEP_ADVANCE:
    case STEP_REFUND:
    case STEP_EXTEND:
        fill_change(step, number, order_id, request);
        break;
    case STEP_CREATE_GROUP:
    case STEP_ADJUST:
    case STEP_PAUSE:
    case STEP_RESUME:
        fill_operation(step, request);
        break;
    case STEP_CONSUME:
    case STEP_ACK:
    case STEP_LIST_GROUPS:
        fill_events(step, request);
        break;
    case STEP_GET_ORDER:
    case STEP_GET_ITEM:
    case STEP_GET_TEAM:
        fill_read(step, order_id, request);
        break;
    case STEP_GET_SALE:
    case STEP_LIST_SALES:
    case STEP_LIST_ORDERS:
    case STEP_LIST_TEAMS:
    case STEP_TIME:
        fill_list(step, request);
        break;
    case STEP_RECONNECT:
        abort();
    }
}

void script_ending(enum step_kind kind, uint64_t order_id, Tidegate__V1__Request *request)
{
    const struct step ending = {.kind = kind};
    tidegate__v1__request__init(request);
    fill_change(&ending, 0, order_id, request);
    request->change_order->request_id =
        id_of(kind == STEP_CANCEL ? "endcance" : "endrefun", order_id);
}
