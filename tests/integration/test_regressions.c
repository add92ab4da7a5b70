/* Faults that somebody found in the daemon once, one test for each. */
#include "base/clock.h"
#include "tests/lib/life.h"
#include "tests/lib/pending.h"

#include <criterion/criterion.h>
#include <string.h>

/* --- a crowd about one order --- */

/* Many times as many changes of one order as are a backlog of the shard (64). */
#define CROWD_CHANGES 500

/* The crowd's changes all are good: each extends the time to pay by a millisecond. */
static void send_extensions(struct peer *crowd, uint64_t order_id)
{
    int64_t deadline_ms = tg_clock_wall_ns() / TG_NS_PER_MS + 3600 * 1000;
    for (uint32_t i = 0; i < CROWD_CHANGES; i++) {
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        Tidegate__V1__ChangeOrderRequest change = life_change_message(order_id);
        Tidegate__V1__ExtendPayment extend = TIDEGATE__V1__EXTEND_PAYMENT__INIT;
        extend.payment_deadline_ms = deadline_ms + i;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
        change.extend_payment = &extend;
        request.correlation_id = i;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
        request.change_order = &change;
        peer_request(crowd, &request);
    }
}

/* Each change waited behind a fence of its own, and was decided again with every commit: the fences
 * were a backlog that no commit made smaller, so plain orders waited in their lanes for minutes.
 * The disk is held while the crowd comes: a buyer who comes then is in the next commit. */
Test(regressions, a_crowd_about_one_order_keeps_no_other_buyer_waiting)
{
    struct daemon daemon = {.with_faults = true};
    struct peer crowd, buyer;
    daemon_start(&daemon, "--set", "server.lane_backlog=64", NULL);
    struct tgc_client *client = sale_client(&daemon);
    pending_create_sale(client, sale_message(1, "A", 10));
    struct tg_order order = sale_order(1, "A", 1, 1), another = sale_order(1, "A", 2, 1);
    struct tg_answer placed = sale_place(client, &order);
    sale_assert_verdict(placed.verdict, TG_ACCEPTED);
    peer_open(&crowd, &daemon);
    peer_open(&buyer, &daemon);

    daemon_disk_hold(&daemon);
    send_extensions(&crowd, placed.order_id);
    pending_expect(&crowd);
    daemon_disk_wait(&daemon);
    pending_order(&buyer, 1, &another);
    pending_expect(&buyer);
    daemon_disk_step(&daemon); /* the first change */
    daemon_disk_step(&daemon); /* the buyer's order; behind it the second change */
    sale_assert_verdict(pending_answer(&buyer, 1).verdict, TG_ACCEPTED);
    daemon_disk_release(&daemon);

    peer_close(&crowd);
    peer_close(&buyer);
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
