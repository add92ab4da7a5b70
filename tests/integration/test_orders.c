/* Orders over the wire: every verdict of the contract, and what a retry gets. */
#include "base/clock.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* A daemon with one client, and sale 1 with item "A". */
struct scene {
    struct daemon daemon;
    struct tgc_client *client;
};

static void open_scene(struct scene *scene, uint64_t stock_units, uint32_t per_user_limit)
{
    *scene = (struct scene){0};
    daemon_start(&scene->daemon, NULL);
    scene->client = sale_client(&scene->daemon);
    sale_create(scene->client, 1, "A", stock_units, per_user_limit);
}

static void close_scene(struct scene *scene)
{
    tgc_close(scene->client);
    daemon_end(&scene->daemon);
}

static void restart(struct scene *scene)
{
    tgc_close(scene->client);
    daemon_stop(&scene->daemon);
    daemon_restart(&scene->daemon);
    scene->client = sale_client(&scene->daemon);
}

static void crash(struct scene *scene)
{
    tgc_close(scene->client);
    daemon_kill(&scene->daemon);
    daemon_restart(&scene->daemon);
    scene->client = sale_client(&scene->daemon);
}

/* --- verdicts --- */

Test(orders, an_accepted_order_takes_stock_and_is_listed)
{
    struct scene scene;
    open_scene(&scene, 10, 0);
    struct tg_order order = sale_order(1, "A", 7, 3);
    int64_t before_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    struct tg_answer answer = sale_place(scene.client, &order);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(answer.replayed, 0);
    cr_assert_eq(answer.unit_price_minor, SALE_PRICE);
    cr_assert(answer.accepted_at_ms >= before_ms - 1000);
    struct tg_stock stock = sale_stock(scene.client, 1, "A");
    cr_assert_eq(stock.available_units, 7);
    cr_assert_eq(stock.reserved_units, 3);
    cr_assert_eq(sale_list(scene.client, 1, NULL, NULL), 1);
    close_scene(&scene);
}

Test(orders, what_is_gone_is_sold_out_and_too_much_is_insufficient)
{
    struct scene scene;
    open_scene(&scene, 5, 0);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 6), TG_INSUFFICIENT_STOCK);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 3), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 2, 3), TG_INSUFFICIENT_STOCK);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 2, 2), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 3, 1), TG_SOLD_OUT);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 0);
    close_scene(&scene);
}

Test(orders, a_user_never_holds_more_than_the_limit)
{
    struct scene scene;
    open_scene(&scene, 100, 3);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 4), TG_LIMIT_REACHED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 2), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 2), TG_LIMIT_REACHED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 1), TG_LIMIT_REACHED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 8, 3), TG_ACCEPTED);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 94);
    close_scene(&scene);
}

Test(orders, a_limit_holds_within_one_batch_and_across_a_restart_and_a_crash)
{
    struct scene scene;
    open_scene(&scene, 100, 3);
    struct tg_order orders[4];
    struct tg_answer answers[4];
    for (int i = 0; i < 4; i++)
        orders[i] = sale_order(1, "A", 7, 1);
    sale_place_batch(scene.client, orders, 4, answers);
    for (int i = 0; i < 4; i++)
        sale_assert_verdict(answers[i].verdict, i < 3 ? TG_ACCEPTED : TG_LIMIT_REACHED);
    restart(&scene);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 1), TG_LIMIT_REACHED);
    crash(&scene);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 7, 1), TG_LIMIT_REACHED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 8, 3), TG_ACCEPTED);
    close_scene(&scene);
}

Test(orders, are_refused_outside_the_window)
{
    struct scene scene;
    open_scene(&scene, 1, 0);
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    Tidegate__V1__CreateSaleRequest *message = sale_message(2, "A", 10);
    message->sale->starts_at_ms = now_ms + 3600 * 1000;
    message->sale->ends_at_ms = now_ms + 7200 * 1000;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    message = sale_message(3, "A", 10);
    message->sale->starts_at_ms = now_ms - 7200 * 1000;
    message->sale->ends_at_ms = now_ms - 3600 * 1000;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    sale_assert_verdict(sale_buy(scene.client, 2, "A", 1, 1), TG_NOT_STARTED);
    sale_assert_verdict(sale_buy(scene.client, 3, "A", 1, 1), TG_ENDED);
    cr_assert_eq(sale_available(scene.client, 2, "A"), 10);
    cr_assert_eq(sale_available(scene.client, 3, "A"), 10);
    close_scene(&scene);
}

Test(orders, a_window_opens_and_closes_by_itself)
{
    struct scene scene;
    open_scene(&scene, 1, 0);
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    Tidegate__V1__CreateSaleRequest *message = sale_message(2, "A", 1000000);
    message->sale->starts_at_ms = now_ms + 300;
    message->sale->ends_at_ms = now_ms + 600;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    /* However slow this machine is, the verdicts can only follow each other in this order. */
    enum tg_verdict verdict = TG_NOT_STARTED, next;
    bool accepted = false;
    while (verdict != TG_ENDED) {
        next = sale_buy(scene.client, 2, "A", 1, 1);
        cr_assert(next == verdict || (verdict == TG_NOT_STARTED && next == TG_ACCEPTED) ||
                      next == TG_ENDED,
                  "%s after %s", tg_verdict_name(next), tg_verdict_name(verdict));
        int64_t seen_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
        cr_assert(next == TG_NOT_STARTED || seen_ms >= now_ms + 300, "open before its time");
        cr_assert(next != TG_ENDED || seen_ms >= now_ms + 600, "closed before its time");
        accepted = accepted || next == TG_ACCEPTED;
        verdict = next;
    }
    cr_assert(accepted || tg_clock_wall_ns() / TG_NS_PER_MS > now_ms + 1200,
              "the window never opened");
    close_scene(&scene);
}

Test(orders, are_refused_while_paused_and_after_the_close)
{
    struct scene scene;
    open_scene(&scene, 10, 0);
    sale_assert_verdict(sale_pause(scene.client, 1), TG_OK);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_PAUSED);
    sale_assert_verdict(sale_pause(scene.client, 1), TG_OK);
    sale_assert_verdict(sale_resume(scene.client, 1), TG_OK);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_close(scene.client, 1), TG_OK);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_ENDED);
    sale_assert_verdict(sale_resume(scene.client, 1), TG_ENDED);
    sale_assert_verdict(sale_pause(scene.client, 1), TG_ENDED);
    close_scene(&scene);
}

Test(orders, pause_resume_and_close_survive_a_restart_and_a_crash)
{
    struct scene scene;
    open_scene(&scene, 10, 0);
    sale_assert_verdict(sale_pause(scene.client, 1), TG_OK);
    restart(&scene);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_PAUSED);
    sale_assert_verdict(sale_resume(scene.client, 1), TG_OK);
    crash(&scene);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_close(scene.client, 1), TG_OK);
    crash(&scene);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_ENDED);
    close_scene(&scene);
}

Test(orders, name_what_is_unknown_and_what_changed)
{
    struct scene scene;
    open_scene(&scene, 10, 0);
    sale_assert_verdict(sale_buy(scene.client, 2, "A", 1, 1), TG_UNKNOWN_SALE);
    sale_assert_verdict(sale_buy(scene.client, 1, "B", 1, 1), TG_UNKNOWN_ITEM);
    struct tg_order order = sale_order(1, "A", 1, 1);
    order.unit_price_minor = SALE_PRICE - 1;
    sale_assert_verdict(sale_place(scene.client, &order).verdict, TG_PRICE_CHANGED);
    order = sale_order(1, "A", 1, 1);
    order.unit_price_minor = SALE_PRICE + 1;
    sale_assert_verdict(sale_place(scene.client, &order).verdict, TG_PRICE_CHANGED);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 10);
    close_scene(&scene);
}

/* --- retries --- */

static void expect_replay(struct scene *scene, const struct tg_order *order,
                          const struct tg_answer *first)
{
    struct tg_answer again = sale_place(scene->client, order);
    sale_assert_verdict(again.verdict, TG_ACCEPTED);
    cr_assert_eq(again.replayed, 1);
    cr_assert_eq(again.order_id, first->order_id);
    cr_assert_eq(again.unit_price_minor, first->unit_price_minor);
    cr_assert_eq(again.accepted_at_ms, first->accepted_at_ms);
}

Test(orders, a_retry_gets_the_first_answer_whatever_happened_since)
{
    struct scene scene;
    open_scene(&scene, 2, 1);
    struct tg_order order = sale_order(1, "A", 7, 1);
    struct tg_answer first = sale_place(scene.client, &order);
    sale_assert_verdict(first.verdict, TG_ACCEPTED);
    expect_replay(&scene, &order, &first); /* the user's limit is reached */
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 8, 1), TG_ACCEPTED);
    expect_replay(&scene, &order, &first); /* sold out */
    restart(&scene);
    expect_replay(&scene, &order, &first);
    crash(&scene);
    expect_replay(&scene, &order, &first);
    sale_assert_verdict(sale_pause(scene.client, 1), TG_OK);
    expect_replay(&scene, &order, &first);
    sale_assert_verdict(sale_close(scene.client, 1), TG_OK);
    expect_replay(&scene, &order, &first);
    crash(&scene);
    expect_replay(&scene, &order, &first);
    cr_assert_eq(sale_list(scene.client, 1, NULL, NULL), 2);
    close_scene(&scene);
}

Test(orders, a_refusal_is_not_remembered)
{
    struct scene scene;
    open_scene(&scene, 1, 0);
    struct tg_order order = sale_order(1, "A", 7, 2);
    sale_assert_verdict(sale_place(scene.client, &order).verdict, TG_INSUFFICIENT_STOCK);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", 1), TG_OK);
    struct tg_answer answer = sale_place(scene.client, &order);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(answer.replayed, 0);
    close_scene(&scene);
}

static void expect_conflict(struct scene *scene, struct tg_order order)
{
    sale_assert_verdict(sale_place(scene->client, &order).verdict, TG_REQUEST_ID_CONFLICT);
}

static void expect_conflicts(struct scene *scene, const struct tg_order *order)
{
    struct tg_order other = *order;
    other.user_id++;
    expect_conflict(scene, other);
    other = *order;
    other.quantity++;
    expect_conflict(scene, other);
    other = *order;
    other.channel++;
    expect_conflict(scene, other);
    other = *order;
    other.unit_price_minor++;
    expect_conflict(scene, other);
    other = *order;
    other.external_id = (const uint8_t *)"E-2";
    expect_conflict(scene, other);
    other = *order;
    other.external_bytes = 2;
    expect_conflict(scene, other);
    other = *order;
    other.sku = (const uint8_t *)"S1";
    expect_conflict(scene, other);
}

Test(orders, the_same_id_with_another_body_is_a_conflict)
{
    struct scene scene;
    open_scene(&scene, 1, 0);
    sale_create_many(scene.client, 2, 2, 100);
    struct tg_order order = sale_order(2, "S0", 7, 2);
    order.channel = 3;
    order.external_id = (const uint8_t *)"E-1";
    order.external_bytes = 3;
    struct tg_answer first = sale_place(scene.client, &order);
    sale_assert_verdict(first.verdict, TG_ACCEPTED);
    expect_conflicts(&scene, &order);
    crash(&scene);
    expect_conflicts(&scene, &order);
    expect_replay(&scene, &order, &first);
    cr_assert_eq(sale_available(scene.client, 2, "S0"), 98);
    cr_assert_eq(sale_available(scene.client, 2, "S1"), 100);
    close_scene(&scene);
}

Test(orders, a_conflict_is_seen_across_shards)
{
    struct scene scene = {0};
    daemon_start(&scene.daemon, "--threads", "4", NULL);
    scene.client = sale_client(&scene.daemon);
    sale_create_many(scene.client, 1, 8, 10); /* two items on each shard */
    char skus[8][4];
    for (int i = 0; i < 8; i++)
        snprintf(skus[i], sizeof(skus[i]), "S%d", i);
    struct tg_order order = sale_order(1, skus[0], 7, 1);
    struct tg_answer first = sale_place(scene.client, &order);
    sale_assert_verdict(first.verdict, TG_ACCEPTED);
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i < 8; i++) {
            struct tg_order other = order;
            other.sku = (const uint8_t *)skus[i];
            expect_conflict(&scene, other);
            cr_assert_eq(sale_available(scene.client, 1, skus[i]), 10);
        }
        expect_replay(&scene, &order, &first);
        crash(&scene);
    }
    cr_assert_eq(sale_list(scene.client, 1, NULL, NULL), 1);
    close_scene(&scene);
}

static void expect_one_order(const struct tg_answer *a, const struct tg_answer *b)
{
    sale_assert_verdict(a->verdict, TG_ACCEPTED);
    sale_assert_verdict(b->verdict, TG_ACCEPTED);
    cr_assert_eq(a->order_id, b->order_id);
    cr_assert_eq(a->replayed + b->replayed, 1);
}

Test(orders, the_same_id_twice_in_one_batch_is_one_order)
{
    struct scene scene;
    open_scene(&scene, 10, 0);
    struct tg_order orders[4];
    struct tg_answer answers[4];
    orders[0] = sale_order(1, "A", 7, 2);
    orders[1] = orders[0];
    orders[2] = orders[0];
    orders[2].quantity = 1;
    orders[3] = sale_order(1, "A", 7, 2);
    sale_place_batch(scene.client, orders, 4, answers);
    expect_one_order(&answers[0], &answers[1]);
    sale_assert_verdict(answers[2].verdict, TG_REQUEST_ID_CONFLICT);
    sale_assert_verdict(answers[3].verdict, TG_ACCEPTED);
    cr_assert_neq(answers[3].order_id, answers[0].order_id);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 6);
    cr_assert_eq(sale_list(scene.client, 1, NULL, NULL), 2);
    close_scene(&scene);
}

Test(orders, the_last_unit_of_a_batch_goes_to_one_order)
{
    struct scene scene;
    open_scene(&scene, 3, 0);
    struct tg_order orders[16];
    struct tg_answer answers[16];
    for (int i = 0; i < 16; i++)
        orders[i] = sale_order(1, "A", (uint64_t)i, 1);
    sale_place_batch(scene.client, orders, 16, answers);
    for (int i = 0; i < 16; i++)
        sale_assert_verdict(answers[i].verdict, i < 3 ? TG_ACCEPTED : TG_SOLD_OUT);
    close_scene(&scene);
}

/* Sets every answer that comes apart by what stands in `context`. */
struct tally {
    uint32_t verdicts[TG_VERDICT_COUNT];
    uint64_t order_id; /* of the accepted ones, which must all be one */
};

static void on_tally(void *context, const Tidegate__V1__Response *response)
{
    struct tally *tally = context;
    const Tidegate__V1__PlaceOrderResponse *answer = response->place_order;
    cr_assert_eq((int)response->kind_case, TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER);
    tally->verdicts[answer->verdict]++;
    if (answer->verdict != TIDEGATE__V1__VERDICT__VERDICT_ACCEPTED)
        return;
    cr_assert(tally->order_id == 0 || tally->order_id == answer->order_id, "two orders of one id");
    tally->order_id = answer->order_id;
}

Test(orders, retries_that_overtake_the_commit_wait_for_it_on_every_connection)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--threads", "4", NULL);
    struct tgc_client *clients[8];
    struct tally tally = {0};
    struct tg_fault fault;
    for (int i = 0; i < 8; i++)
        clients[i] = sale_client(&daemon);
    sale_create(clients[0], 1, "A", 1000, 0);
    struct tg_order order = sale_order(1, "A", 7, 1);
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    for (int i = 0; i < 800; i++)
        cr_assert_eq(tgc_send(clients[i % 8], &request, on_tally, &tally, &fault), TG_ERR_OK);
    for (int i = 0; i < 8; i++)
        while (tgc_in_flight(clients[i]) > 0)
            cr_assert_eq(tgc_poll(clients[i], DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(tally.verdicts[TG_ACCEPTED], 800);
    cr_assert_eq(sale_available(clients[0], 1, "A"), 999);
    for (int i = 0; i < 8; i++)
        tgc_close(clients[i]);
    daemon_end(&daemon);
}

Test(orders, an_id_is_forgotten_when_its_time_is_over)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "engine.request_ttl_s=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    struct tg_order order = sale_order(1, "A", 7, 1);
    struct tg_answer first = sale_place(client, &order);
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    struct tg_answer again = first;
    while (again.order_id == first.order_id) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "remembered for ever");
        again = sale_place(client, &order);
        sale_assert_verdict(again.verdict, TG_ACCEPTED);
    }
    cr_assert(again.accepted_at_ms >= first.accepted_at_ms + 1000, "forgotten too early");
    tgc_close(client);
    daemon_end(&daemon);
}

Test(orders, a_full_table_is_busy_with_a_hint_and_takes_nothing)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "engine.orders_max=16", "--set", "engine.holdings_max=16", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000, 0);
    uint64_t accepted = 0;
    struct tg_answer answer = {0};
    while (answer.verdict != TG_BUSY) {
        struct tg_order order = sale_order(1, "A", accepted, 1);
        cr_assert(accepted < 1000, "the table is never full");
        answer = sale_place(client, &order);
        accepted += answer.verdict == TG_ACCEPTED;
    }
    cr_assert(accepted >= 16, "only %llu orders fit", (unsigned long long)accepted);
    cr_assert(answer.retry_after_ms > 0);
    cr_assert_eq(sale_available(client, 1, "A"), 1000 - accepted);
    cr_assert_eq(sale_list(client, 1, NULL, NULL), accepted);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(orders, a_cart_in_a_batch_is_refused_by_itself)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000, 0);
    struct tg_order order = sale_order(1, "A", 1, 1), other = sale_order(1, "A", 2, 1);
    Tidegate__V1__OrderLine line = TIDEGATE__V1__ORDER_LINE__INIT, *lines[1] = {&line};
    Tidegate__V1__PlaceOrderRequest plain = sale_order_message(&order);
    Tidegate__V1__PlaceOrderRequest cart = sale_order_message(&other);
    Tidegate__V1__PlaceOrderRequest *orders[2] = {&cart, &plain};
    cart.n_lines = 1;
    cart.lines = lines;
    Tidegate__V1__PlaceOrdersRequest batch = TIDEGATE__V1__PLACE_ORDERS_REQUEST__INIT;
    batch.n_orders = 2;
    batch.orders = orders;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
    request.place_orders = &batch;
    Tidegate__V1__Response *response = sale_call(client, &request);
    cr_assert_eq(response->place_orders->n_results, 2);
    sale_assert_verdict(response->place_orders->results[0]->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->place_orders->results[0]->field, "orders.lines");
    sale_assert_verdict(response->place_orders->results[1]->verdict, TG_ACCEPTED);
    tgc_response_free(response);
    tgc_close(client);
    daemon_end(&daemon);
}
