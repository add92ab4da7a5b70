/* What becomes of orders, over real sockets: payments, cancellations, expiry, refunds, carts over
 * two shards, teams, orders of other channels, retries and crashes. Each scene ends with the
 * offline check of every promise over what it left in the database. */
#include "base/clock.h"
#include "storage/storage.h"
#include "tests/lib/life.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scene {
    struct daemon daemon;
    struct tgc_client *client;
};

static void open_scene(struct scene *scene, const char *threads)
{
    *scene = (struct scene){0};
    daemon_start(&scene->daemon, "--threads", threads, NULL);
    scene->client = sale_client(&scene->daemon);
}

static void print_finding(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static void close_scene(struct scene *scene)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    tgc_close(scene->client);
    daemon_stop(&scene->daemon);
    cr_assert_eq(sto_verify(scene->daemon.data_dir, print_finding, NULL, NULL, &report, &fault),
                 TG_ERR_OK, "%s", fault.text);
    daemon_end(&scene->daemon);
}

static void crash(struct scene *scene)
{
    tgc_close(scene->client);
    daemon_kill(&scene->daemon);
    daemon_restart(&scene->daemon);
    scene->client = sale_client(&scene->daemon);
}

/* Sale 1 with item "A". */
static void create_sale(struct scene *scene, uint64_t stock_units, uint32_t payment_window_s)
{
    Tidegate__V1__CreateSaleRequest *message = sale_message(1, "A", stock_units);
    message->sale->payment_window_s = payment_window_s;
    message->sale->refund_auto_max_minor = SALE_PRICE;
    sale_assert_verdict(sale_create_message(scene->client, message, ""), TG_OK);
}

static uint64_t place(struct scene *scene, const char *sku, uint64_t user_id, uint32_t quantity)
{
    struct tg_order order = sale_order(1, sku, user_id, quantity);
    struct tg_answer answer = sale_place(scene->client, &order);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    return answer.order_id;
}

static void expect_stock(struct scene *scene, const char *sku, uint32_t available,
                         uint32_t reserved, uint32_t sold)
{
    struct tg_stock stock = sale_stock(scene->client, 1, sku);
    cr_assert(stock.available_units == available && stock.reserved_units == reserved &&
                  stock.sold_units == sold,
              "%s: %u available, %u reserved, %u sold; not %u, %u, %u", sku, stock.available_units,
              stock.reserved_units, stock.sold_units, available, reserved, sold);
}

/* For what no answer tells of: an order is seen to be over a moment before its units are back. */
static void await_available(struct scene *scene, const char *sku, uint64_t available)
{
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    while (sale_available(scene->client, 1, sku) != available && tg_clock_mono_ns() < deadline_ns)
        ;
}

/* --- payments and what follows --- */

Test(life, an_order_is_paid_shipped_delivered_and_completed)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_sale(&scene, 10, 0);
    uint64_t order = place(&scene, "A", 7, 3);
    expect_stock(&scene, "A", 7, 3, 0);
    struct life_answer answer = life_pay(scene.client, order, "P1", 3 * SALE_PRICE);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.state, TG_ORDER_CONFIRMED);
    expect_stock(&scene, "A", 7, 0, 3);
    sale_assert_verdict(life_advance(scene.client, order, TG_ORDER_DELIVERED).verdict,
                        TG_NOT_SHIPPED);
    for (int to = TG_ORDER_SHIPPED; to <= TG_ORDER_COMPLETED; to++) {
        answer = life_advance(scene.client, order, to);
        sale_assert_verdict(answer.verdict, TG_OK);
        cr_assert_eq(answer.state, to);
    }
    close_scene(&scene);
}

Test(life, a_stored_order_shows_its_payments_and_refunds)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_sale(&scene, 10, 0);
    uint64_t id = place(&scene, "A", 7, 1);
    sale_assert_verdict(life_pay(scene.client, id, "wrong", 5).verdict, TG_AMOUNT_MISMATCH);
    sale_assert_verdict(life_pay(scene.client, id, "P1", SALE_PRICE).verdict, TG_OK);
    struct life_answer refund = life_request_refund(scene.client, id, 100, false);
    sale_assert_verdict(refund.verdict, TG_OK);
    cr_assert_eq(refund.refund_number, 1);
    sale_assert_verdict(life_record_refund(scene.client, id, 1).verdict, TG_OK);

    Tidegate__V1__Response *response = life_get(scene.client, id);
    const Tidegate__V1__Order *order = response->get_order->order;
    cr_assert_eq(order->amount_minor, SALE_PRICE);
    cr_assert_eq(order->received_minor, SALE_PRICE);
    cr_assert_eq(order->refunded_minor, 100);
    cr_assert_eq(order->version, 4);
    cr_assert_eq(order->n_payments, 2);
    cr_assert_eq(order->payments[0]->status,
                 TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_REFUSED_AMOUNT);
    cr_assert_eq(order->payments[1]->payment_id.len, 2);
    cr_assert_arr_eq(order->payments[1]->payment_id.data, "P1", 2);
    cr_assert_str_eq(order->payments[1]->currency, "CNY");
    cr_assert_eq(order->n_refunds, 1);
    cr_assert_eq(order->refunds[0]->status, TIDEGATE__V1__REFUND_STATUS__REFUND_STATUS_REFUNDED);
    cr_assert_str_eq(order->refunds[0]->reason, "does not fit");
    cr_assert_eq(order->refunds[0]->reference.len, 4);
    cr_assert_arr_eq(order->refunds[0]->reference.data, "R\0ef", 4);
    tgc_response_free(response);
    close_scene(&scene);
}

Test(life, a_cancelled_order_gives_its_units_back_and_a_late_payment_goes_back)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_sale(&scene, 5, 0);
    uint64_t order = place(&scene, "A", 7, 5);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 8, 1), TG_SOLD_OUT);
    struct life_answer answer = life_cancel(scene.client, order);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.state, TG_ORDER_CANCELLED);
    expect_stock(&scene, "A", 5, 0, 0);
    sale_assert_verdict(life_cancel(scene.client, order).verdict, TG_ALREADY_CANCELLED);
    answer = life_pay(scene.client, order, "P1", 5 * SALE_PRICE);
    sale_assert_verdict(answer.verdict, TG_REFUND_DUE);
    cr_assert_eq(answer.state, TG_ORDER_REFUND_DUE);
    answer = life_record_refund(scene.client, order, answer.refund_number);
    cr_assert_eq(answer.state, TG_ORDER_REFUNDED);
    expect_stock(&scene, "A", 5, 0, 0);
    close_scene(&scene);
}

Test(life, a_refund_of_the_whole_order_waits_for_approval_and_restocks)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_sale(&scene, 10, 0);
    uint64_t order = place(&scene, "A", 7, 2);
    sale_assert_verdict(life_pay(scene.client, order, "P1", 2 * SALE_PRICE).verdict, TG_OK);
    struct life_answer answer = life_request_refund(scene.client, order, 0, true);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.state, TG_ORDER_CONFIRMED);
    expect_stock(&scene, "A", 8, 0, 2);

    Tidegate__V1__ChangeOrderRequest message = life_change_message(order);
    Tidegate__V1__ApproveRefund approve = TIDEGATE__V1__APPROVE_REFUND__INIT;
    approve.number = answer.refund_number;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_APPROVE_REFUND;
    message.approve_refund = &approve;
    answer = life_change(scene.client, &message);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.state, TG_ORDER_REFUND_DUE);
    expect_stock(&scene, "A", 10, 0, 0);
    close_scene(&scene);
}

/* --- what is refused before it is decided --- */

static void expect_field(struct scene *scene, Tidegate__V1__ChangeOrderRequest *message,
                         const char *field)
{
    struct life_answer answer = life_change(scene->client, message);
    sale_assert_verdict(answer.verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(answer.field, field);
    cr_assert_eq(answer.state, 0);
}

Test(life, changes_out_of_range_name_their_field)
{
    struct scene scene;
    open_scene(&scene, "2");
    create_sale(&scene, 10, 0);
    Tidegate__V1__ChangeOrderRequest message = life_change_message(1024);
    expect_field(&scene, &message, "change");
    Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
    message.cancel = &cancel;
    expect_field(&scene, &message, "by");
    cancel.by = (Tidegate__V1__CancelledBy)(256 + TG_CANCELLED_BY_BUYER);
    expect_field(&scene, &message, "by");
    cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER;
    message.order_id = 0;
    expect_field(&scene, &message, "order_id");
    message.request_id.len--;
    expect_field(&scene, &message, "request_id");

    message = life_change_message(1024);
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    uint8_t id[TG_PAYMENT_ID_BYTES_MAX + 1] = {0};
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    message.record_payment = &payment;
    payment.payment_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    payment.currency = (char *)(uintptr_t) "CNY";
    expect_field(&scene, &message, "payment_id");
    payment.payment_id.len--;
    payment.channel = TG_CHANNEL_MAX + 1;
    expect_field(&scene, &message, "channel");
    payment.channel = 0;
    payment.currency = (char *)(uintptr_t) "CNYX";
    expect_field(&scene, &message, "currency");
    payment.currency = (char *)(uintptr_t) "CNY";
    payment.amount_minor = -1;
    expect_field(&scene, &message, "amount_minor");
    close_scene(&scene);
}

Test(life, an_order_that_is_not_there_is_unknown_on_every_shard)
{
    struct scene scene;
    open_scene(&scene, "2");
    create_sale(&scene, 10, 0);
    const uint64_t ids[] = {1, 1024, 1025, UINT64_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        sale_assert_verdict(life_pay(scene.client, ids[i], "P1", 1).verdict, TG_UNKNOWN_ORDER);
    close_scene(&scene);
}

Test(life, the_rules_of_a_sale_are_shown_with_their_defaults)
{
    struct scene scene;
    open_scene(&scene, "1");
    Tidegate__V1__CreateSaleRequest *message = sale_message(1, "T", 10);
    Tidegate__V1__GroupBuyRules rules = TIDEGATE__V1__GROUP_BUY_RULES__INIT;
    Tidegate__V1__LadderStep step = TIDEGATE__V1__LADDER_STEP__INIT;
    Tidegate__V1__LadderStep *steps[] = {&step};
    Tidegate__V1__ChannelShare share = TIDEGATE__V1__CHANNEL_SHARE__INIT;
    Tidegate__V1__ChannelShare *shares[] = {&share};
    rules.team_size = 3;
    step.size = 2;
    step.unit_price_minor = SALE_PRICE - 100;
    share.channel = TG_CHANNEL_MAX;
    share.percent = 40;
    message->sale->kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY;
    sale_assert_verdict(sale_create_message(scene.client, message, "sale.group_buy"),
                        TG_INVALID_ARGUMENT);
    message->sale->group_buy = &rules;
    message->sale->channel_shares = shares;
    message->sale->n_channel_shares = 1;
    message->items[0]->ladder = steps;
    message->items[0]->n_ladder = 1;
    share.channel++;
    sale_assert_verdict(sale_create_message(scene.client, message, "sale.channel_shares"),
                        TG_INVALID_ARGUMENT);
    share.channel--;
    rules.team_size = 256 + 3;
    sale_assert_verdict(sale_create_message(scene.client, message, "sale.group_buy.team_size"),
                        TG_INVALID_ARGUMENT);
    rules.team_size = 3;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);

    Tidegate__V1__GetItemRequest get = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.sale_id = 1;
    get.sku = (char *)(uintptr_t) "T";
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &get;
    Tidegate__V1__Response *response = sale_call(scene.client, &request);
    const Tidegate__V1__Sale *sale = response->get_item->sale;
    const Tidegate__V1__SaleItem *item = response->get_item->status->item;
    cr_assert_eq(sale->payment_window_s, TG_PAYMENT_WINDOW_S_DEFAULT);
    cr_assert_eq(sale->group_buy->team_size, 3);
    cr_assert_eq(sale->group_buy->team_lifetime_s, TG_TEAM_LIFETIME_S_DEFAULT);
    cr_assert_eq((int)sale->group_buy->at_deadline, TG_DEADLINE_FAIL);
    cr_assert_eq(sale->n_channel_shares, 1);
    cr_assert_eq(sale->channel_shares[0]->channel, TG_CHANNEL_MAX);
    cr_assert_eq(sale->channel_shares[0]->percent, 40);
    cr_assert_eq((int)item->stock_policy, TG_POLICY_RESERVE);
    cr_assert_eq(item->n_ladder, 1);
    cr_assert_eq(item->ladder[0]->unit_price_minor, SALE_PRICE - 100);
    tgc_response_free(response);
    close_scene(&scene);
}

/* --- time --- */

Test(life, an_unpaid_order_expires_and_a_late_payment_is_honoured_while_there_are_units)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_sale(&scene, 2, 1);
    uint64_t first = place(&scene, "A", 7, 1), second = place(&scene, "A", 8, 1);
    life_wait(scene.client, first, TG_ORDER_EXPIRED);
    life_wait(scene.client, second, TG_ORDER_EXPIRED);
    await_available(&scene, "A", 2);
    expect_stock(&scene, "A", 2, 0, 0);
    struct life_answer answer = life_pay(scene.client, first, "P1", SALE_PRICE);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.state, TG_ORDER_CONFIRMED);
    place(&scene, "A", 9, 1);
    answer = life_pay(scene.client, second, "P2", SALE_PRICE);
    sale_assert_verdict(answer.verdict, TG_REFUND_DUE);
    cr_assert_eq(answer.state, TG_ORDER_REFUND_DUE);
    close_scene(&scene);
}

Test(life, a_deadline_that_passed_while_the_server_was_down_ends_the_order_at_its_start)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_sale(&scene, 5, 1);
    uint64_t unpaid = place(&scene, "A", 7, 2), paid = place(&scene, "A", 8, 1);
    sale_assert_verdict(life_pay(scene.client, paid, "P1", SALE_PRICE).verdict, TG_OK);
    crash(&scene);
    life_wait(scene.client, unpaid, TG_ORDER_EXPIRED);
    await_available(&scene, "A", 4);
    cr_assert_eq(life_state(scene.client, paid), TG_ORDER_CONFIRMED);
    expect_stock(&scene, "A", 4, 0, 1);
    close_scene(&scene);
}

Test(life, thousands_of_reservations_end_in_one_second_while_orders_go_on)
{
    enum {
        ORDERS = 20000,
        BATCH = 4000
    };
    struct scene scene;
    open_scene(&scene, "2");
    create_sale(&scene, ORDERS, 1);
    struct tg_order *orders = calloc(BATCH, sizeof(*orders));
    struct tg_answer *answers = calloc(BATCH, sizeof(*answers));
    cr_assert(orders && answers);
    for (uint64_t user = 0; user < ORDERS; user += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++)
            orders[i] = sale_order(1, "A", user + i, 1);
        sale_place_batch(scene.client, orders, BATCH, answers);
        sale_assert_verdict(answers[BATCH - 1].verdict, TG_ACCEPTED);
    }
    life_wait(scene.client, answers[BATCH - 1].order_id, TG_ORDER_EXPIRED);
    await_available(&scene, "A", ORDERS);
    expect_stock(&scene, "A", ORDERS, 0, 0);
    free(answers);
    free(orders);
    close_scene(&scene);
}

/* --- retries --- */

Test(life, a_change_is_done_once_however_often_it_is_sent)
{
    struct scene scene;
    open_scene(&scene, "2");
    sale_create_many(scene.client, 1, 2, 10);
    const char *skus[] = {"S0", "S1"};
    for (int i = 0; i < 2; i++) {
        uint64_t order = place(&scene, skus[i], 7, 1);
        Tidegate__V1__ChangeOrderRequest message = life_change_message(order);
        Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
        cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_MERCHANT;
        message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
        message.cancel = &cancel;
        cr_assert(!life_change(scene.client, &message).replayed);
        crash(&scene);
        struct life_answer answer = life_change(scene.client, &message);
        sale_assert_verdict(answer.verdict, TG_OK);
        cr_assert(answer.replayed);
        cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER;
        sale_assert_verdict(life_change(scene.client, &message).verdict, TG_REQUEST_ID_CONFLICT);
        expect_stock(&scene, skus[i], 10, 0, 0);
    }
    close_scene(&scene);
}

/* Counts the verdicts of changes that are in flight together. */
struct tally {
    uint32_t answered;
    uint32_t ok;
    uint32_t full; /* STORAGE_FULL */
    uint32_t replayed;
};

static void count_change(void *context, const Tidegate__V1__Response *response)
{
    struct tally *tally = context;
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER);
    tally->answered++;
    tally->ok += response->change_order->verdict == TIDEGATE__V1__VERDICT__VERDICT_OK;
    tally->full += response->change_order->verdict == TIDEGATE__V1__VERDICT__VERDICT_STORAGE_FULL;
    tally->replayed += response->change_order->replayed ? 1 : 0;
}

static void send_change(struct scene *scene, Tidegate__V1__ChangeOrderRequest *message,
                        struct tally *tally)
{
    struct tg_fault fault;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = message;
    cr_assert_eq(tgc_send(scene->client, &request, count_change, tally, &fault), TG_ERR_OK, "%s",
                 fault.text);
}

static void await(struct scene *scene, const uint32_t *answered, uint32_t count)
{
    struct tg_fault fault;
    while (*answered < count)
        cr_assert_eq(tgc_poll(scene->client, DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s", fault.text);
}

/* Retries that arrive while the first is on its way wait for it; steps behind each other too. */
Test(life, changes_of_one_order_in_flight_together_are_decided_one_after_the_other)
{
    struct scene scene;
    open_scene(&scene, "2");
    sale_create_many(scene.client, 1, 2, 10);
    uint64_t order = place(&scene, "S1", 7, 1);
    struct tally pays = {0}, steps = {0};
    Tidegate__V1__ChangeOrderRequest pay = life_change_message(order);
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    payment.payment_id = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) "P"};
    payment.amount_minor = SALE_PRICE;
    payment.currency = (char *)(uintptr_t) "CNY";
    pay.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    pay.record_payment = &payment;
    for (int i = 0; i < 20; i++)
        send_change(&scene, &pay, &pays);
    for (int to = TG_ORDER_SHIPPED; to <= TG_ORDER_COMPLETED; to++) {
        Tidegate__V1__ChangeOrderRequest step = life_change_message(order);
        Tidegate__V1__AdvanceOrder advance = TIDEGATE__V1__ADVANCE_ORDER__INIT;
        advance.to = (Tidegate__V1__OrderState)to;
        step.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
        step.advance = &advance;
        send_change(&scene, &step, &steps);
    }
    await(&scene, &pays.answered, 20);
    await(&scene, &steps.answered, 3);
    cr_assert_eq(pays.ok, 20);
    cr_assert_eq(pays.replayed, 19);
    cr_assert_eq(steps.ok, 3);
    cr_assert_eq(life_state(scene.client, order), TG_ORDER_COMPLETED);
    close_scene(&scene);
}

/* --- carts --- */

static uint64_t place_cart(struct scene *scene, uint64_t user_id, const struct life_line *lines,
                           uint32_t count)
{
    Tidegate__V1__Response *response = life_place_cart(scene->client, 1, user_id, lines, count);
    sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
    uint64_t order_id = response->place_order->order_id;
    cr_assert_neq(order_id, 0);
    tgc_response_free(response);
    return order_id;
}

/* With one thread a cart is decided in one place, with two its units are held on both first. */
static void live_with_carts(const char *threads)
{
    const struct life_line lines[] = {{"S0", 2}, {"S1", 3}, {"S0", 1}};
    struct scene scene;
    open_scene(&scene, threads);
    sale_create_many(scene.client, 1, 2, 10);
    uint64_t first = place_cart(&scene, 7, lines, 3);
    expect_stock(&scene, "S0", 7, 3, 0);
    expect_stock(&scene, "S1", 7, 3, 0);
    Tidegate__V1__Response *response = life_get(scene.client, first);
    const Tidegate__V1__Order *order = response->get_order->order;
    cr_assert_eq(order->quantity, 6);
    cr_assert_eq(order->amount_minor, 6 * SALE_PRICE);
    cr_assert_str_eq(order->sku, "");
    cr_assert_eq(order->n_lines, 2);
    cr_assert_str_eq(order->lines[1]->sku, "S1");
    cr_assert_eq(order->lines[0]->quantity, 3);
    tgc_response_free(response);

    cr_assert_eq(life_pay(scene.client, first, "P1", 6 * SALE_PRICE).state, TG_ORDER_CONFIRMED);
    expect_stock(&scene, "S0", 7, 0, 3);
    expect_stock(&scene, "S1", 7, 0, 3);
    uint64_t second = place_cart(&scene, 8, lines, 2);
    cr_assert_eq(life_cancel(scene.client, second).state, TG_ORDER_CANCELLED);
    crash(&scene);
    expect_stock(&scene, "S0", 7, 0, 3);
    expect_stock(&scene, "S1", 7, 0, 3);
    close_scene(&scene);
}

Test(life, a_cart_lives_as_one_order)
{
    live_with_carts("1");
}

Test(life, a_cart_over_two_shards_lives_as_one_order)
{
    live_with_carts("2");
}

static void refuse_carts(const char *threads)
{
    const struct life_line lines[] = {{"S0", 1}, {"S1", 6}, {"none", 1}};
    struct scene scene;
    open_scene(&scene, threads);
    sale_create_many(scene.client, 1, 2, 10);
    Tidegate__V1__Response *response = life_place_cart(scene.client, 1, 7, lines, 2);
    sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
    tgc_response_free(response);

    const struct life_line few[] = {{"S0", 1}, {"S1", 2}, {"S1", 3}};
    response = life_place_cart(scene.client, 1, 7, few, 3);
    const Tidegate__V1__PlaceOrderResponse *answer = response->place_order;
    sale_assert_verdict(answer->verdict, TG_INSUFFICIENT_STOCK);
    cr_assert_eq(answer->n_line_refusals, 2);
    cr_assert_eq(answer->line_refusals[0]->line, 1);
    cr_assert_eq(answer->line_refusals[1]->line, 2);
    sale_assert_verdict(answer->line_refusals[1]->verdict, TG_INSUFFICIENT_STOCK);
    tgc_response_free(response);

    response = life_place_cart(scene.client, 1, 7, lines, 3);
    answer = response->place_order;
    sale_assert_verdict(answer->verdict, TG_INSUFFICIENT_STOCK);
    cr_assert_eq(answer->n_line_refusals, 2);
    cr_assert_eq(answer->line_refusals[1]->line, 2);
    sale_assert_verdict(answer->line_refusals[1]->verdict, TG_UNKNOWN_ITEM);
    tgc_response_free(response);

    struct life_line many[TG_ORDER_LINES_MAX + 1];
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++)
        many[i] = (struct life_line){"S0", 1};
    response = life_place_cart(scene.client, 1, 7, many, TG_ORDER_LINES_MAX + 1);
    sale_assert_verdict(response->place_order->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->place_order->field, "lines");
    cr_assert_eq(response->place_order->n_line_refusals, 0);
    tgc_response_free(response);
    expect_stock(&scene, "S0", 9, 1, 0);
    expect_stock(&scene, "S1", 4, 6, 0);
    close_scene(&scene);
}

Test(life, a_refused_cart_names_its_lines_and_moves_nothing)
{
    refuse_carts("1");
}

Test(life, a_refused_cart_over_two_shards_names_its_lines_and_moves_nothing)
{
    refuse_carts("2");
}

Test(life, an_unpaid_cart_over_two_shards_expires_and_is_paid_late_when_all_its_units_are_there)
{
    const struct life_line lines[] = {{"S1", 1}, {"S0", 1}};
    struct scene scene;
    open_scene(&scene, "2");
    Tidegate__V1__CreateSaleRequest *message = sale_message(1, "S0", 2);
    Tidegate__V1__SaleItem second = *message->items[0];
    Tidegate__V1__SaleItem *items[] = {message->items[0], &second};
    second.sku = (char *)(uintptr_t) "S1";
    message->items = items;
    message->n_items = 2;
    message->sale->payment_window_s = 1;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    uint64_t honoured = place_cart(&scene, 7, lines, 2), refunded = place_cart(&scene, 8, lines, 2);
    expect_stock(&scene, "S0", 0, 2, 0);
    life_wait(scene.client, honoured, TG_ORDER_EXPIRED);
    life_wait(scene.client, refunded, TG_ORDER_EXPIRED);
    await_available(&scene, "S0", 2);
    await_available(&scene, "S1", 2);
    cr_assert_eq(life_pay(scene.client, honoured, "P1", 2 * SALE_PRICE).state, TG_ORDER_CONFIRMED);
    expect_stock(&scene, "S0", 1, 0, 1);
    expect_stock(&scene, "S1", 1, 0, 1);
    place(&scene, "S0", 9, 1);
    struct life_answer answer = life_pay(scene.client, refunded, "P2", 2 * SALE_PRICE);
    sale_assert_verdict(answer.verdict, TG_REFUND_DUE);
    cr_assert_eq(answer.state, TG_ORDER_REFUND_DUE);
    expect_stock(&scene, "S1", 1, 0, 1);
    close_scene(&scene);
}

Test(life, a_cart_is_retried_with_its_request_id)
{
    struct scene scene;
    open_scene(&scene, "2");
    sale_create_many(scene.client, 1, 2, 10);
    struct tg_order order = sale_order(1, "", 7, 0);
    order.unit_price_minor = 0;
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
    Tidegate__V1__OrderLine lines[2];
    Tidegate__V1__OrderLine *pointers[] = {&lines[0], &lines[1]};
    for (int i = 0; i < 2; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = (char *)(uintptr_t)(i ? "S1" : "S0");
        lines[i].quantity = 4;
        lines[i].unit_price_minor = SALE_PRICE;
    }
    message.lines = pointers;
    message.n_lines = 2;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    Tidegate__V1__Response *first = sale_call(scene.client, &request);
    sale_assert_verdict(first->place_order->verdict, TG_ACCEPTED);
    crash(&scene);
    Tidegate__V1__Response *again = sale_call(scene.client, &request);
    sale_assert_verdict(again->place_order->verdict, TG_ACCEPTED);
    cr_assert(again->place_order->replayed);
    cr_assert_eq(again->place_order->order_id, first->place_order->order_id);
    cr_assert_eq(again->place_order->accepted_at_ms, first->place_order->accepted_at_ms);
    lines[1].quantity = 5;
    Tidegate__V1__Response *other = sale_call(scene.client, &request);
    sale_assert_verdict(other->place_order->verdict, TG_REQUEST_ID_CONFLICT);
    cr_assert_eq(other->place_order->n_line_refusals, 0);
    tgc_response_free(first);
    tgc_response_free(again);
    tgc_response_free(other);
    expect_stock(&scene, "S0", 6, 4, 0);
    close_scene(&scene);
}

/* The answer to a cart of two lines. */
static Tidegate__V1__Response *place_pair(struct scene *scene, uint64_t sale_id,
                                          const Tidegate__V1__OrderLine lines[2])
{
    struct tg_order order = sale_order(sale_id, "", 7, 0);
    order.unit_price_minor = 0;
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
    Tidegate__V1__OrderLine *pointers[] = {(Tidegate__V1__OrderLine *)(uintptr_t)&lines[0],
                                           (Tidegate__V1__OrderLine *)(uintptr_t)&lines[1]};
    message.lines = pointers;
    message.n_lines = 2;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    return sale_call(scene->client, &request);
}

static void expect_pair_refused(struct scene *scene, uint64_t sale_id,
                                const Tidegate__V1__OrderLine lines[2], enum tg_verdict verdict,
                                const char *field, size_t named)
{
    Tidegate__V1__Response *response = place_pair(scene, sale_id, lines);
    sale_assert_verdict(response->place_order->verdict, verdict);
    cr_assert_str_eq(response->place_order->field, field);
    cr_assert_eq(response->place_order->n_line_refusals, named);
    tgc_response_free(response);
}

Test(life, lines_that_do_not_go_together_are_refused)
{
    struct scene scene;
    open_scene(&scene, "2");
    Tidegate__V1__CreateSaleRequest *message = sale_message(1, "A", 3000000);
    Tidegate__V1__SaleItem other = *message->items[0];
    Tidegate__V1__SaleItem *items[] = {message->items[0], &other};
    other.sku = (char *)(uintptr_t) "P";
    other.stock_policy = TIDEGATE__V1__STOCK_POLICY__STOCK_POLICY_ON_PLACE;
    message->items = items;
    message->n_items = 2;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);

    Tidegate__V1__OrderLine lines[2];
    for (int i = 0; i < 2; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = (char *)(uintptr_t) "A";
        lines[i].quantity = 1;
        lines[i].unit_price_minor = SALE_PRICE;
    }
    expect_pair_refused(&scene, 2, lines, TG_UNKNOWN_SALE, "", 0);
    lines[1].unit_price_minor = SALE_PRICE - 1;
    expect_pair_refused(&scene, 1, lines, TG_PRICE_CHANGED, "", 1);
    lines[1].unit_price_minor = -1;
    expect_pair_refused(&scene, 1, lines, TG_INVALID_ARGUMENT, "lines.unit_price_minor", 0);
    lines[1].unit_price_minor = SALE_PRICE;
    lines[0].quantity = lines[1].quantity = TG_QUANTITY_MAX / 2 + 1;
    expect_pair_refused(&scene, 1, lines, TG_INVALID_ARGUMENT, "lines.quantity", 0);
    lines[0].quantity = lines[1].quantity = 1;
    lines[1].sku = (char *)(uintptr_t) "P";
    expect_pair_refused(&scene, 1, lines, TG_INVALID_ARGUMENT, "lines", 0);
    lines[1].sku = (char *)(uintptr_t) "a b";
    expect_pair_refused(&scene, 1, lines, TG_INVALID_ARGUMENT, "lines.sku", 0);
    expect_stock(&scene, "A", 3000000, 0, 0);
    close_scene(&scene);
}

static void count_placed(void *context, const Tidegate__V1__Response *response)
{
    uint32_t *placed = context;
    sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
    (*placed)++;
}

/* Long orders end a page by their bytes before it has as many as were asked for. */
Test(life, pages_of_long_orders_are_cut_to_the_size_of_a_frame)
{
    enum {
        CARTS = 1200
    };
    struct scene scene;
    char skus[TG_ORDER_LINES_MAX][TG_SKU_BYTES_MAX + 1];
    Tidegate__V1__SaleItem items[TG_ORDER_LINES_MAX];
    Tidegate__V1__SaleItem *item_pointers[TG_ORDER_LINES_MAX];
    Tidegate__V1__OrderLine lines[TG_ORDER_LINES_MAX];
    Tidegate__V1__OrderLine *line_pointers[TG_ORDER_LINES_MAX];
    open_scene(&scene, "1");
    Tidegate__V1__CreateSaleRequest *sale = sale_message(1, "A", CARTS);
    for (int i = 0; i < TG_ORDER_LINES_MAX; i++) {
        snprintf(skus[i], sizeof(skus[i]), "a-name-of-thirty-two-bytes----%02d", i);
        items[i] = *sale->items[0];
        items[i].sku = skus[i];
        item_pointers[i] = &items[i];
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = skus[i];
        lines[i].quantity = 1;
        lines[i].unit_price_minor = SALE_PRICE;
        line_pointers[i] = &lines[i];
    }
    sale->items = item_pointers;
    sale->n_items = TG_ORDER_LINES_MAX;
    sale_assert_verdict(sale_create_message(scene.client, sale, ""), TG_OK);
    uint32_t placed = 0;
    for (uint64_t user = 0; user < CARTS; user++) {
        struct tg_fault fault;
        struct tg_order order = sale_order(1, "", user, 0);
        order.unit_price_minor = 0;
        Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        message.lines = line_pointers;
        message.n_lines = TG_ORDER_LINES_MAX;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        request.place_order = &message;
        cr_assert_eq(tgc_send(scene.client, &request, count_placed, &placed, &fault), TG_ERR_OK,
                     "%s", fault.text);
        if (user % 256 == 255)
            await(&scene, &placed, (uint32_t)user + 1);
    }
    await(&scene, &placed, CARTS);
    cr_assert_eq(sale_list(scene.client, 1, NULL, NULL), CARTS);
    close_scene(&scene);
}

/* A cart that is sent again while it has no answer but BUSY. */
struct racer {
    struct scene *scene;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t user_id;
    int verdict; /* 0: none yet, or BUSY */
    uint32_t *accepted;
    uint32_t *answered;
};

static void race(void *context, const Tidegate__V1__Response *response)
{
    struct racer *racer = context;
    racer->verdict = (int)response->place_order->verdict;
    (*racer->answered)++;
    *racer->accepted += racer->verdict == TG_ACCEPTED;
    if (racer->verdict == TG_BUSY)
        racer->verdict = 0;
}

static void send_cart(struct racer *racer)
{
    const char *skus[] = {"S0", "S1"};
    struct tg_order order = sale_order(1, "", racer->user_id, 0);
    memcpy(order.request_id, racer->request_id, TG_REQUEST_ID_BYTES);
    order.unit_price_minor = 0;
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
    Tidegate__V1__OrderLine lines[2];
    Tidegate__V1__OrderLine *pointers[] = {&lines[0], &lines[1]};
    for (uint32_t i = 0; i < 2; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = (char *)(uintptr_t)skus[(racer->user_id + i) % 2];
        lines[i].quantity = 1;
        lines[i].unit_price_minor = SALE_PRICE;
    }
    message.lines = pointers;
    message.n_lines = 2;
    struct tg_fault fault;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    cr_assert_eq(tgc_send(racer->scene->client, &request, race, racer, &fault), TG_ERR_OK, "%s",
                 fault.text);
}

/* Each shard is home to half of them and holds units for the other half. Nothing may be sold twice,
 * and nothing that was held may be lost. */
Test(life, carts_that_meet_on_two_shards_sell_every_unit_once)
{
    enum {
        RACERS = 600,
        UNITS = 400
    };
    struct scene scene;
    struct racer *racers = calloc(RACERS, sizeof(*racers));
    cr_assert(racers);
    open_scene(&scene, "2");
    sale_create_many(scene.client, 1, 2, UNITS);
    uint32_t accepted = 0;
    for (uint64_t i = 0; i < RACERS; i++) {
        struct tg_order order = sale_order(1, "", i, 0);
        racers[i] = (struct racer){.scene = &scene, .user_id = i, .accepted = &accepted};
        memcpy(racers[i].request_id, order.request_id, TG_REQUEST_ID_BYTES);
    }
    for (bool all = false; !all;) {
        uint32_t sent = 0, answered = 0;
        for (uint32_t i = 0; i < RACERS; i++) {
            if (racers[i].verdict != 0)
                continue;
            racers[i].answered = &answered;
            send_cart(&racers[i]);
            sent++;
        }
        await(&scene, &answered, sent);
        all = sent == 0;
    }
    cr_assert_eq(accepted, UNITS);
    expect_stock(&scene, "S0", 0, UNITS, 0);
    expect_stock(&scene, "S1", 0, UNITS, 0);
    free(racers);
    close_scene(&scene);
}

/* A drain waits for carts whose units are still being held; what it answered stands. */
Test(life, a_drain_in_the_middle_of_carts_leaves_nothing_held)
{
    enum {
        CARTS = 1500
    };
    struct scene scene;
    static struct racer racers[CARTS];
    uint32_t accepted = 0, answered = 0;
    open_scene(&scene, "2");
    sale_create_many(scene.client, 1, 2, CARTS);
    for (uint64_t i = 0; i < CARTS; i++) {
        struct tg_order order = sale_order(1, "", i, 0);
        racers[i] = (struct racer){
            .scene = &scene, .user_id = i, .accepted = &accepted, .answered = &answered};
        memcpy(racers[i].request_id, order.request_id, TG_REQUEST_ID_BYTES);
        send_cart(&racers[i]);
    }
    await(&scene, &answered, 1);
    daemon_stop(&scene.daemon);
    struct tg_fault fault;
    while (tgc_is_connected(scene.client) &&
           tgc_poll(scene.client, DAEMON_WAIT_MS, &fault) == TG_ERR_OK)
        ;
    tgc_close(scene.client);
    daemon_restart(&scene.daemon);
    scene.client = sale_client(&scene.daemon);
    struct tg_stock first = sale_stock(scene.client, 1, "S0");
    struct tg_stock second = sale_stock(scene.client, 1, "S1");
    cr_assert_geq(first.reserved_units, accepted);
    cr_assert_eq(first.reserved_units, second.reserved_units);
    close_scene(&scene);
}

/* --- teams --- */

static void create_team_sale(struct scene *scene, uint32_t team_size, int64_t length_ms)
{
    static Tidegate__V1__GroupBuyRules rules;
    Tidegate__V1__CreateSaleRequest *message = sale_message(1, "T", 10);
    tidegate__v1__group_buy_rules__init(&rules);
    rules.team_size = team_size;
    message->sale->kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY;
    message->sale->group_buy = &rules;
    message->sale->ends_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS + length_ms;
    sale_assert_verdict(sale_create_message(scene->client, message, ""), TG_OK);
}

static uint64_t open_team(struct scene *scene, uint64_t user_id)
{
    struct tg_order order = sale_order(1, "T", user_id, 1);
    struct tg_answer answer = life_open_team(scene->client, &order);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(answer.unit_price_minor, SALE_PRICE);
    return answer.order_id;
}

static struct tg_answer join(struct scene *scene, uint64_t team_id, uint64_t user_id)
{
    struct tg_order order = sale_order(1, "T", user_id, 1);
    return life_join_team(scene->client, team_id, true, &order);
}

static uint32_t joinable_teams(struct scene *scene)
{
    Tidegate__V1__ListTeamsRequest list = TIDEGATE__V1__LIST_TEAMS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    list.sale_id = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
    request.list_teams = &list;
    Tidegate__V1__Response *response = sale_call(scene->client, &request);
    sale_assert_verdict(response->list_teams->verdict, TG_OK);
    cr_assert(response->list_teams->end);
    uint32_t teams = (uint32_t)response->list_teams->n_teams;
    tgc_response_free(response);
    return teams;
}

Test(life, a_team_forms_when_its_last_seat_is_paid)
{
    struct scene scene;
    open_scene(&scene, "2");
    create_team_sale(&scene, 2, 3600 * 1000);
    sale_assert_verdict(sale_buy(scene.client, 1, "T", 1, 1), TG_TEAM_REQUIRED);
    uint64_t team = open_team(&scene, 1);
    sale_assert_verdict(join(&scene, team, 2).verdict, TG_TEAM_NOT_OPEN);
    cr_assert_eq(joinable_teams(&scene), 0);
    cr_assert_eq(life_pay(scene.client, team, "P1", SALE_PRICE).state, TG_ORDER_AWAITING_TEAM);
    cr_assert_eq(joinable_teams(&scene), 1);
    struct tg_answer member = join(&scene, team, 2);
    sale_assert_verdict(member.verdict, TG_ACCEPTED);
    sale_assert_verdict(join(&scene, team, 3).verdict, TG_TEAM_FULL);
    cr_assert_eq(joinable_teams(&scene), 0);
    crash(&scene);
    cr_assert_eq(life_pay(scene.client, member.order_id, "P2", SALE_PRICE).state,
                 TG_ORDER_CONFIRMED);
    cr_assert_eq(life_state(scene.client, team), TG_ORDER_CONFIRMED);
    Tidegate__V1__Response *response = life_team(scene.client, team);
    const Tidegate__V1__Team *shown = response->get_team->team;
    cr_assert_eq((int)shown->state, TG_TEAM_STATE_FORMED);
    cr_assert_eq(shown->paid, 2);
    cr_assert_eq(shown->n_members, 2);
    cr_assert(shown->members[0]->captain && !shown->members[1]->captain);
    cr_assert_eq(shown->members[1]->order_id, member.order_id);
    tgc_response_free(response);
    expect_stock(&scene, "T", 8, 0, 2);
    close_scene(&scene);
}

Test(life, a_team_that_is_not_full_at_its_deadline_fails_and_its_money_is_due)
{
    struct scene scene;
    open_scene(&scene, "1");
    create_team_sale(&scene, 3, 1500); /* a team ends with its sale */
    uint64_t team = open_team(&scene, 1);
    cr_assert_eq(life_pay(scene.client, team, "P1", SALE_PRICE).state, TG_ORDER_AWAITING_TEAM);
    struct tg_answer unpaid = join(&scene, team, 2);
    sale_assert_verdict(unpaid.verdict, TG_ACCEPTED);
    expect_stock(&scene, "T", 8, 1, 1);
    life_wait(scene.client, team, TG_ORDER_REFUND_DUE);
    await_available(&scene, "T", 10);
    cr_assert_eq(life_state(scene.client, unpaid.order_id), TG_ORDER_CANCELLED);
    cr_assert_eq(life_team_state(scene.client, team), TG_TEAM_STATE_FAILED);
    expect_stock(&scene, "T", 10, 0, 0);
    close_scene(&scene);
}

Test(life, a_team_without_anybody_paid_is_dissolved)
{
    struct scene scene;
    open_scene(&scene, "2");
    create_team_sale(&scene, 3, 3600 * 1000);
    uint64_t team = open_team(&scene, 1);
    cr_assert_eq(life_cancel(scene.client, team).state, TG_ORDER_CANCELLED);
    cr_assert_eq(life_team_state(scene.client, team), TG_TEAM_DISSOLVED);
    expect_stock(&scene, "T", 10, 0, 0);
    close_scene(&scene);
}

Test(life, a_team_is_joined_with_its_own_item_only)
{
    struct scene scene;
    open_scene(&scene, "2");
    create_team_sale(&scene, 3, 3600 * 1000);
    static Tidegate__V1__GroupBuyRules rules;
    Tidegate__V1__CreateSaleRequest *message = sale_message(2, "U", 10);
    tidegate__v1__group_buy_rules__init(&rules);
    rules.team_size = 2;
    message->sale->kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY;
    message->sale->group_buy = &rules;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    sale_create(scene.client, 3, "A", 10, 0);
    uint64_t team = open_team(&scene, 1);
    cr_assert_eq(life_pay(scene.client, team, "P1", SALE_PRICE).state, TG_ORDER_AWAITING_TEAM);
    struct tg_order order = sale_order(2, "U", 2, 1);
    sale_assert_verdict(life_join_team(scene.client, team, true, &order).verdict,
                        TG_INVALID_ARGUMENT);
    order = sale_order(3, "A", 2, 1);
    sale_assert_verdict(life_join_team(scene.client, team, true, &order).verdict,
                        TG_NOT_A_GROUP_BUY);
    sale_assert_verdict(life_open_team(scene.client, &order).verdict, TG_NOT_A_GROUP_BUY);
    sale_assert_verdict(join(&scene, team + 1, 2).verdict, TG_UNKNOWN_TEAM);
    sale_assert_verdict(join(&scene, UINT64_MAX, 2).verdict, TG_UNKNOWN_TEAM);
    sale_assert_verdict(join(&scene, 0, 2).verdict, TG_UNKNOWN_TEAM);
    sale_assert_verdict(join(&scene, team, 1).verdict, TG_ALREADY_IN_TEAM);
    expect_stock(&scene, "T", 9, 0, 1);
    close_scene(&scene);
}

Test(life, a_retried_opening_gets_its_first_answer)
{
    struct scene scene;
    open_scene(&scene, "2");
    create_team_sale(&scene, 3, 3600 * 1000);
    struct tg_order order = sale_order(1, "T", 1, 1);
    struct tg_answer first = life_open_team(scene.client, &order);
    crash(&scene);
    struct tg_answer again = life_open_team(scene.client, &order);
    sale_assert_verdict(again.verdict, TG_ACCEPTED);
    cr_assert(again.replayed);
    cr_assert_eq(again.order_id, first.order_id);
    cr_assert_eq(again.accepted_at_ms, first.accepted_at_ms);
    expect_stock(&scene, "T", 9, 1, 0);
    close_scene(&scene);
}

/* --- orders of other channels --- */

enum {
    INGESTED = 300
};

/* INGESTED orders over the items S0 and S1, every third one paid; each must be answered so. */
static void ingest(struct scene *scene, int64_t price, enum tg_verdict expected, bool replayed)
{
    Tidegate__V1__IngestOrdersRequest batch = TIDEGATE__V1__INGEST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__IngestOrder *orders = calloc(INGESTED, sizeof(*orders));
    Tidegate__V1__IngestOrder **pointers = calloc(INGESTED, sizeof(Tidegate__V1__IngestOrder *));
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    char(*ids)[8] = calloc(INGESTED, sizeof(*ids));
    cr_assert(orders && pointers && ids);
    payment.payment_id = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) "P"};
    payment.amount_minor = price;
    payment.currency = (char *)(uintptr_t) "CNY";
    for (uint32_t i = 0; i < INGESTED; i++) {
        tidegate__v1__ingest_order__init(&orders[i]);
        int bytes = snprintf(ids[i], sizeof(ids[i]), "E%u", i);
        orders[i].channel = 3;
        orders[i].external_id =
            (ProtobufCBinaryData){.len = (size_t)bytes, .data = (uint8_t *)ids[i]};
        orders[i].sale_id = 1;
        orders[i].sku = (char *)(uintptr_t)(i % 2 ? "S1" : "S0");
        orders[i].user_id = i;
        orders[i].quantity = 1;
        orders[i].unit_price_minor = price;
        orders[i].ordered_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS - 100;
        orders[i].payment = i % 3 ? NULL : &payment;
        pointers[i] = &orders[i];
    }
    batch.orders = pointers;
    batch.n_orders = INGESTED;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    request.ingest_orders = &batch;
    Tidegate__V1__Response *response = sale_call(scene->client, &request);
    sale_assert_verdict(response->ingest_orders->verdict, TG_OK);
    cr_assert_eq(response->ingest_orders->n_results, INGESTED);
    for (uint32_t i = 0; i < INGESTED; i++) {
        const Tidegate__V1__PlaceOrderResponse *result = response->ingest_orders->results[i];
        sale_assert_verdict(result->verdict, expected);
        cr_assert_eq(result->replayed, replayed);
        cr_assert_eq(result->unit_price_minor, expected == TG_ACCEPTED ? price : 0);
    }
    tgc_response_free(response);
    free(ids);
    free(pointers);
    free(orders);
}

Test(life, orders_of_a_channel_are_taken_once_for_ever)
{
    struct scene scene;
    open_scene(&scene, "2");
    daemon_arg(&scene.daemon, "--set");
    daemon_arg(&scene.daemon, "engine.request_ttl_s=1");
    sale_create_many(scene.client, 1, 2, INGESTED);
    ingest(&scene, 7000, TG_ACCEPTED, false);
    expect_stock(&scene, "S0", INGESTED / 2, INGESTED / 3, INGESTED / 6);
    ingest(&scene, 7000, TG_ACCEPTED, true);
    ingest(&scene, 7001, TG_REQUEST_ID_CONFLICT, false);
    int64_t forgotten_ns = tg_clock_mono_ns() + 1500 * TG_NS_PER_MS;
    while (tg_clock_mono_ns() < forgotten_ns)
        ;
    crash(&scene);
    ingest(&scene, 7000, TG_ACCEPTED, true);
    ingest(&scene, 7001, TG_REQUEST_ID_CONFLICT, false);
    expect_stock(&scene, "S1", INGESTED / 2, INGESTED / 3, INGESTED / 6);
    close_scene(&scene);
}

Test(life, a_frame_without_orders_is_refused_as_a_whole)
{
    struct scene scene;
    open_scene(&scene, "1");
    Tidegate__V1__IngestOrdersRequest batch = TIDEGATE__V1__INGEST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    request.ingest_orders = &batch;
    Tidegate__V1__Response *response = sale_call(scene.client, &request);
    sale_assert_verdict(response->ingest_orders->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->ingest_orders->field, "orders");
    tgc_response_free(response);
    close_scene(&scene);
}

/* --- a full disk --- */

/* What the storage refuses has not happened: the units are where they were, and what it took
 * stands. */
Test(life, changes_that_a_full_map_refuses_have_not_happened)
{
    enum {
        ORDERS = 4000,
        BATCH = 250
    };
    struct scene scene = {0};
    daemon_start(&scene.daemon, "--threads", "2", "--set", "storage.map_mib=1", NULL);
    scene.client = sale_client(&scene.daemon);
    sale_create_many(scene.client, 1, 2, ORDERS);
    static struct tg_order orders[ORDERS];
    static struct tg_answer answers[ORDERS];
    for (uint64_t i = 0; i < ORDERS; i++)
        orders[i] = sale_order(1, i % 2 ? "S1" : "S0", i, 1);
    for (uint32_t i = 0; i < ORDERS; i += BATCH)
        sale_place_batch(scene.client, orders + i, BATCH, answers + i);
    struct tally tally = {0};
    uint32_t sent = 0;
    for (uint32_t i = 0; i < ORDERS; i++) {
        if (answers[i].verdict != TG_ACCEPTED)
            continue;
        Tidegate__V1__ChangeOrderRequest message = life_change_message(answers[i].order_id);
        Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
        cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_MERCHANT;
        message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
        message.cancel = &cancel;
        send_change(&scene, &message, &tally);
        if (++sent % 100 == 0)
            await(&scene, &tally.answered, sent);
    }
    await(&scene, &tally.answered, sent);
    cr_assert(sent > 0 && tally.ok < sent, "%u of %u: the map was never full", tally.ok, sent);
    cr_assert_eq(tally.full, sent - tally.ok);
    uint64_t reserved = sale_stock(scene.client, 1, "S0").reserved_units +
                        sale_stock(scene.client, 1, "S1").reserved_units;
    cr_assert_eq(reserved, sent - tally.ok);
    daemon_arg(&scene.daemon, "--set");
    daemon_arg(&scene.daemon, "storage.map_mib=64");
    crash(&scene);
    for (uint32_t i = 0; i < ORDERS; i += 7)
        if (answers[i].verdict == TG_ACCEPTED)
            life_cancel(scene.client, answers[i].order_id);
    close_scene(&scene);
}

/* --- crashes --- */

/* Payments are in flight when the server dies: each that was answered stands, and a retry of all
 * ends with every order paid once. */
Test(life, payments_survive_a_crash_in_the_middle_of_them)
{
    enum {
        ORDERS = 2000
    };
    struct scene scene;
    open_scene(&scene, "2");
    sale_create_many(scene.client, 1, 2, ORDERS);
    uint64_t *ids = calloc(ORDERS, sizeof(*ids));
    cr_assert(ids);
    for (uint64_t i = 0; i < ORDERS; i++)
        ids[i] = place(&scene, i % 2 ? "S1" : "S0", i, 1);
    uint32_t paid = 0;
    for (int round = 0; paid < ORDERS; round++) {
        struct tally tally = {0};
        for (uint32_t i = paid; i < ORDERS; i++) {
            Tidegate__V1__ChangeOrderRequest pay = life_change_message(ids[i]);
            Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
            payment.payment_id =
                (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) "P"};
            payment.amount_minor = SALE_PRICE;
            payment.currency = (char *)(uintptr_t) "CNY";
            pay.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
            pay.record_payment = &payment;
            send_change(&scene, &pay, &tally);
        }
        await(&scene, &tally.answered, round == 0 ? ORDERS / 4 : ORDERS - paid);
        cr_assert_eq(tally.ok, tally.answered);
        paid = round == 0 ? 0 : ORDERS;
        crash(&scene);
    }
    for (uint32_t i = 0; i < ORDERS; i += 97)
        cr_assert_eq(life_state(scene.client, ids[i]), TG_ORDER_CONFIRMED);
    expect_stock(&scene, "S0", ORDERS / 2, 0, ORDERS / 2);
    expect_stock(&scene, "S1", ORDERS / 2, 0, ORDERS / 2);
    free(ids);
    close_scene(&scene);
}
