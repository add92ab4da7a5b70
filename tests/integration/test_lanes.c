/* Lanes under a backlog: the disk stands still until every lane is full of orders, then goes on.
 *
 * What went first is told by order ids, which are given in the order of decisions, never by clocks.
 */
#include "base/clock.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 64
#define WAITING 2000 /* orders of each lane */
#define ROUND   (8 + 4 + 1)

/* What was asked and answered. */
struct asked {
    enum tg_lane lane;
    enum tg_verdict verdict;
    uint64_t order_id;
    bool replayed;
};

static void on_answer(void *context, const Tidegate__V1__Response *response)
{
    struct asked *asked = context;
    const Tidegate__V1__PlaceOrderResponse *answer = response->place_order;
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS) {
        cr_assert_eq(response->ingest_orders->n_results, 1);
        answer = response->ingest_orders->results[0];
    } else {
        cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER);
    }
    cr_assert_eq((int)asked->verdict, 0, "answered twice");
    asked->verdict = (enum tg_verdict)answer->verdict;
    asked->order_id = answer->order_id;
    asked->replayed = answer->replayed;
}

static void send_order(struct tgc_client *client, const struct tg_order *order, struct asked *asked)
{
    struct tg_fault fault;
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    message.lane = (Tidegate__V1__Lane)order->lane;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    *asked = (struct asked){.lane = (enum tg_lane)order->lane};
    cr_assert_eq(tgc_send(client, &request, on_answer, asked, &fault), TG_ERR_OK, "%s", fault.text);
}

static void ask(struct tgc_client *client, enum tg_lane lane, struct asked *asked)
{
    struct tg_order order = sale_order(1, "A", 1, 1);
    order.lane = (uint8_t)lane;
    send_order(client, &order, asked);
}

/* Every order that was sent on the connection has been looked at. */
static void settle(struct tgc_client *client)
{
    Tidegate__V1__GetServerTimeRequest message = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &message;
    tgc_response_free(sale_call(client, &request));
}

static void take_answers(struct tgc_client *client)
{
    struct tg_fault fault;
    while (tgc_in_flight(client) > 0)
        cr_assert_eq(tgc_poll(client, DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s", fault.text);
}

/* The record that tells of the sale's start counts as any other while it is on its way: waits until
 * it is durable. */
static void wait_for_sale_start(struct tgc_client *client)
{
    Tidegate__V1__EventType type = TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_SALE_STARTED;
    Tidegate__V1__ConsumeEventsRequest poll = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    poll.types = &type;
    poll.n_types = 1;
    poll.wait_ms = 30000;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &poll;
    cr_assert_eq(tgc_call(client, &request, DAEMON_WAIT_MS, &response, &fault), TG_ERR_OK, "%s",
                 fault.text);
    cr_assert_eq(response->consume_events->n_events, 1);
    tgc_response_free(response);
}

static struct tgc_client *start(struct daemon *daemon, const char *threads)
{
    daemon->with_faults = true;
    daemon_start(daemon, "--set", "server.lane_backlog=64", "--set", threads, NULL);
    struct tgc_client *client = sale_client(daemon);
    sale_create(client, 1, "A", 1000000, 0);
    wait_for_sale_start(client);
    return client;
}

static int by_order_id(const void *a, const void *b)
{
    uint64_t left = ((const struct asked *)a)->order_id;
    uint64_t right = ((const struct asked *)b)->order_id;
    return left < right ? -1 : left > right;
}

/* The lanes of the orders that waited, in the order of their decisions, as long as every lane had
 * orders to give. Those before them found no backlog. */
static const struct asked *while_saturated(struct asked *asked, uint32_t count, uint32_t *decisions)
{
    uint32_t left[TG_LANES] = {0};
    qsort(asked, count, sizeof(*asked), by_order_id);
    for (uint32_t i = BACKLOG; i < count; i++)
        left[asked[i].lane]++;
    *decisions = 0;
    while (left[TG_LANE_VIP] > 0 && left[TG_LANE_PREPAID] > 0 && left[TG_LANE_FLASH] > 0)
        left[asked[BACKLOG + (*decisions)++].lane]--;
    return &asked[BACKLOG];
}

static void expect_all_accepted(const struct asked *asked, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        sale_assert_verdict(asked[i].verdict, TG_ACCEPTED);
        cr_assert_not(asked[i].replayed);
    }
}

/* Fills three lanes from `connections`, each of which mixes them. */
static struct asked *fill_lanes(struct daemon *daemon, struct tgc_client **clients,
                                uint32_t connections)
{
    struct asked *asked = calloc(3 * WAITING, sizeof(*asked));
    cr_assert(asked);
    for (uint32_t i = 0; i < connections; i++)
        clients[i] = sale_client(daemon);
    daemon_fault(daemon, "sync WAIT");
    for (uint32_t i = 0; i < 3 * WAITING; i++)
        ask(clients[i % connections], (enum tg_lane)(i % 3), &asked[i]);
    for (uint32_t i = 0; i < connections; i++)
        settle(clients[i]);
    for (uint32_t i = 0; i < 3 * WAITING; i++)
        cr_assert_eq((int)asked[i].verdict, 0, "answered while the disk stands still");
    return asked;
}

static void expect_shares(uint32_t connections)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct tgc_client *clients[4];
    struct asked *asked = fill_lanes(&daemon, clients, connections);
    daemon_fault(&daemon, NULL);
    for (uint32_t i = 0; i < connections; i++)
        take_answers(clients[i]);
    expect_all_accepted(asked, 3 * WAITING);

    uint32_t decisions, total[TG_LANES] = {0}, since[TG_LANES] = {0}, longest[TG_LANES] = {0};
    const struct asked *order = while_saturated(asked, 3 * WAITING, &decisions);
    cr_assert_gt(decisions, 200 * ROUND, "only %u decisions under a backlog", decisions);
    for (uint32_t i = 0; i < decisions; i++) {
        for (int lane = 0; lane < TG_LANES; lane++)
            longest[lane] = ++since[lane] > longest[lane] ? since[lane] : longest[lane];
        since[order[i].lane] = 0;
        total[order[i].lane]++;
    }
    uint32_t rounds = decisions / ROUND;
    cr_assert(total[TG_LANE_VIP] + ROUND >= 8 * rounds && total[TG_LANE_VIP] <= 8 * (rounds + 1),
              "VIP had %u of %u", total[TG_LANE_VIP], decisions);
    cr_assert(total[TG_LANE_PREPAID] + ROUND >= 4 * rounds &&
                  total[TG_LANE_PREPAID] <= 4 * (rounds + 1),
              "PREPAID had %u of %u", total[TG_LANE_PREPAID], decisions);
    cr_assert(total[TG_LANE_FLASH] + 1 >= rounds && total[TG_LANE_FLASH] <= rounds + 1,
              "FLASH had %u of %u", total[TG_LANE_FLASH], decisions);
    for (int lane = 0; lane < TG_LANES; lane++)
        cr_assert_leq(longest[lane], ROUND, "lane %d waited for %u others", lane, longest[lane]);
    for (uint32_t i = 0; i < connections; i++)
        tgc_close(clients[i]);
    tgc_close(client);
    free(asked);
    daemon_end(&daemon);
}

Test(lanes, one_connection_that_fills_every_lane_is_served_by_weight)
{
    expect_shares(1);
}

Test(lanes, several_connections_share_by_weight_and_no_lane_starves)
{
    expect_shares(4);
}

Test(lanes, within_a_lane_orders_stand_in_the_order_of_their_coming)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct tgc_client *other;
    struct asked *asked = fill_lanes(&daemon, &other, 1);
    daemon_fault(&daemon, NULL);
    take_answers(other);
    uint64_t newest[TG_LANES] = {0};
    for (uint32_t i = 0; i < 3 * WAITING; i++) {
        cr_assert_gt(asked[i].order_id, newest[asked[i].lane]);
        newest[asked[i].lane] = asked[i].order_id;
    }
    tgc_close(other);
    tgc_close(client);
    free(asked);
    daemon_end(&daemon);
}

Test(lanes, without_a_backlog_no_lane_goes_before_another)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct asked asked[300];
    for (uint32_t i = 0; i < 300; i++) {
        ask(client, (enum tg_lane)(i % 3), &asked[i]);
        take_answers(client);
        cr_assert(i == 0 || asked[i].order_id > asked[i - 1].order_id);
    }
    expect_all_accepted(asked, 300);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(lanes, a_full_lane_is_busy_and_the_others_are_not)
{
    enum {
        FULL = 16384
    };
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct tgc_client *clients[2] = {sale_client(&daemon), sale_client(&daemon)};
    struct asked *asked = calloc(FULL + BACKLOG + 100, sizeof(*asked)), vip;
    cr_assert(asked);
    daemon_fault(&daemon, "sync WAIT");
    for (uint32_t i = 0; i < FULL + BACKLOG + 100; i++) {
        struct tg_fault fault;
        ask(clients[i % 2], TG_LANE_FLASH, &asked[i]);
        if (i % 1000 == 0)
            tgc_poll(clients[i % 2], 0, &fault); /* lets go what it holds back */
    }
    settle(clients[0]);
    settle(clients[1]);
    uint32_t busy = 0;
    for (uint32_t i = 0; i < FULL + BACKLOG + 100; i++)
        busy += asked[i].verdict == TG_BUSY;
    cr_assert_eq(busy, 100, "%u were told BUSY", busy);
    ask(clients[0], TG_LANE_VIP, &vip);
    settle(clients[0]);
    cr_assert_eq((int)vip.verdict, 0, "it waits in a lane of its own");
    daemon_fault(&daemon, NULL);
    take_answers(clients[0]);
    take_answers(clients[1]);
    sale_assert_verdict(vip.verdict, TG_ACCEPTED);
    cr_assert_eq(sale_list(client, 1, NULL, NULL), FULL + BACKLOG + 1);
    tgc_close(clients[0]);
    tgc_close(clients[1]);
    tgc_close(client);
    free(asked);
    daemon_end(&daemon);
}

/* A cart of one line, or the same as an order of another channel. */
static void ask_otherwise(struct tgc_client *client, bool ingest, struct asked *asked)
{
    struct tg_fault fault;
    struct tg_order order = sale_order(1, "A", 1, 1);
    order.quantity = 0;
    order.unit_price_minor = 0;
    Tidegate__V1__PlaceOrderRequest cart = sale_order_message(&order);
    cart.sku = (char *)"";
    Tidegate__V1__OrderLine line = TIDEGATE__V1__ORDER_LINE__INIT, *lines = &line;
    line.sku = (char *)"A";
    line.quantity = 1;
    line.unit_price_minor = SALE_PRICE;
    cart.n_lines = 1;
    cart.lines = &lines;
    cart.lane = (Tidegate__V1__Lane)TG_LANE_VIP;
    Tidegate__V1__IngestOrder taken = TIDEGATE__V1__INGEST_ORDER__INIT, *all = &taken;
    taken.external_id = (ProtobufCBinaryData){.len = 2, .data = (uint8_t *)"x1"};
    taken.sale_id = 1;
    taken.sku = (char *)"A";
    taken.quantity = 1;
    taken.unit_price_minor = SALE_PRICE;
    taken.ordered_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    taken.lane = (Tidegate__V1__Lane)TG_LANE_VIP;
    Tidegate__V1__IngestOrdersRequest batch = TIDEGATE__V1__INGEST_ORDERS_REQUEST__INIT;
    batch.n_orders = 1;
    batch.orders = &all;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    if (ingest) {
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
        request.ingest_orders = &batch;
    } else {
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        request.place_order = &cart;
    }
    *asked = (struct asked){.lane = TG_LANE_VIP};
    cr_assert_eq(tgc_send(client, &request, on_answer, asked, &fault), TG_ERR_OK, "%s", fault.text);
}

Test(lanes, carts_and_ingested_orders_wait_in_their_lanes_as_well)
{
    enum {
        FLASH = 500
    };
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct asked flash[FLASH], cart, ingested;
    daemon_fault(&daemon, "sync WAIT");
    for (uint32_t i = 0; i < FLASH; i++)
        ask(client, TG_LANE_FLASH, &flash[i]);
    ask_otherwise(client, false, &cart);
    ask_otherwise(client, true, &ingested);
    settle(client);
    cr_assert((int)cart.verdict == 0 && (int)ingested.verdict == 0, "answered %s and %s",
              tg_verdict_name(cart.verdict), tg_verdict_name(ingested.verdict));
    daemon_fault(&daemon, NULL);
    take_answers(client);
    expect_all_accepted(flash, FLASH);
    sale_assert_verdict(cart.verdict, TG_ACCEPTED);
    sale_assert_verdict(ingested.verdict, TG_ACCEPTED);
    /* Before them went those that found no backlog, and at most one round. */
    cr_assert_lt(cart.order_id, flash[BACKLOG + ROUND].order_id);
    cr_assert_lt(ingested.order_id, flash[BACKLOG + ROUND].order_id);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(lanes, a_refusal_need_not_wait_and_a_retry_gets_the_first_answer)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct tgc_client *other;
    struct asked *asked = fill_lanes(&daemon, &other, 1);
    struct tg_order dear = sale_order(1, "A", 1, 1);
    dear.unit_price_minor = SALE_PRICE + 1;
    struct asked refused, first, again;
    send_order(client, &dear, &refused);
    settle(client);
    sale_assert_verdict(refused.verdict, TG_PRICE_CHANGED);

    struct tg_order order = sale_order(1, "A", 1, 1);
    send_order(client, &order, &first);
    send_order(client, &order, &again);
    settle(client);
    cr_assert_eq((int)first.verdict, 0);
    cr_assert_eq((int)again.verdict, 0);
    daemon_fault(&daemon, NULL);
    take_answers(other);
    take_answers(client);
    sale_assert_verdict(first.verdict, TG_ACCEPTED);
    sale_assert_verdict(again.verdict, TG_ACCEPTED);
    cr_assert_not(first.replayed);
    cr_assert(again.replayed);
    cr_assert_eq(again.order_id, first.order_id);
    tgc_close(other);
    tgc_close(client);
    free(asked);
    daemon_end(&daemon);
}

/* What came of a batch. */
struct batch {
    uint32_t answers;
    uint32_t accepted;
    bool in_order;
};

static void on_batch(void *context, const Tidegate__V1__Response *response)
{
    struct batch *batch = context;
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS);
    batch->answers++;
    batch->in_order = true;
    uint64_t newest = 0;
    for (size_t i = 0; i < response->place_orders->n_results; i++) {
        const Tidegate__V1__PlaceOrderResponse *result = response->place_orders->results[i];
        batch->accepted += (int)result->verdict == TG_ACCEPTED;
        batch->in_order = batch->in_order && result->order_id > newest;
        newest = result->order_id;
    }
}

static void send_batch(struct tgc_client *client, uint32_t count, struct batch *batch)
{
    static struct tg_order orders[TG_BATCH_ORDERS_MAX];
    static Tidegate__V1__PlaceOrderRequest messages[TG_BATCH_ORDERS_MAX];
    static Tidegate__V1__PlaceOrderRequest *list[TG_BATCH_ORDERS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        orders[i] = sale_order(1, "A", i, 1);
        messages[i] = sale_order_message(&orders[i]);
        list[i] = &messages[i];
    }
    struct tg_fault fault;
    Tidegate__V1__PlaceOrdersRequest message = TIDEGATE__V1__PLACE_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    message.n_orders = count;
    message.orders = list;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
    request.place_orders = &message;
    *batch = (struct batch){0};
    cr_assert_eq(tgc_send(client, &request, on_batch, batch, &fault), TG_ERR_OK, "%s", fault.text);
}

Test(lanes, a_batch_is_answered_when_the_last_of_its_orders_has_left_its_lane)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct tgc_client *other;
    struct asked *asked = fill_lanes(&daemon, &other, 1);
    struct batch batch;
    send_batch(client, TG_BATCH_ORDERS_MAX, &batch);
    settle(client);
    cr_assert_eq(batch.answers, 0);
    daemon_fault(&daemon, NULL);
    take_answers(other);
    take_answers(client);
    cr_assert_eq(batch.answers, 1);
    cr_assert_eq(batch.accepted, TG_BATCH_ORDERS_MAX);
    cr_assert(batch.in_order);
    tgc_close(other);
    tgc_close(client);
    free(asked);
    daemon_end(&daemon);
}

Test(lanes, a_drain_answers_everybody_who_waits_on_every_core)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=4");
    struct tgc_client *clients[4];
    struct asked *asked = fill_lanes(&daemon, clients, 4);
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    daemon_log_wait(&daemon, "draining");
    daemon_fault(&daemon, NULL);
    for (uint32_t i = 0; i < 4; i++)
        take_answers(clients[i]);
    expect_all_accepted(asked, 3 * WAITING);
    for (uint32_t i = 0; i < 4; i++)
        tgc_close(clients[i]);
    tgc_close(client);
    cr_assert_eq(daemon_wait(&daemon), 0);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 3 * WAITING);
    free(asked);
    daemon_end(&daemon);
}
