/* Promise 3 while the disk stands still: a retry that comes before the first has its answer gets
 * that answer, whatever happens to both in between. The disk is held in the middle of commits, so
 * nothing here depends on who is faster. */
#include "tests/lib/life.h"
#include "tests/lib/pending.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

enum {
    STOCK = 3
};

static void start(struct daemon *daemon)
{
    daemon->with_faults = true;
    daemon_start(daemon, "--set", "engine.request_ttl_s=1", NULL);
}

static void sleep_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* --- requests that are not waited for --- */

static void send_open(struct peer *peer, uint64_t correlation_id, const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__OpenTeamRequest open = TIDEGATE__V1__OPEN_TEAM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    open.order = &message;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
    request.open_team = &open;
    peer_request(peer, &request);
}

static void send_join(struct peer *peer, uint64_t correlation_id, uint64_t team_id,
                      const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__JoinTeamRequest join = TIDEGATE__V1__JOIN_TEAM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    join.order = &message;
    join.team_id = team_id;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
    request.join_team = &join;
    peer_request(peer, &request);
}

static void send_cancel(struct peer *peer, uint64_t correlation_id, uint64_t order_id)
{
    Tidegate__V1__ChangeOrderRequest message = life_change_message(order_id);
    Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    cancel.by = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
    message.cancel = &cancel;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = &message;
    peer_request(peer, &request);
}

/* --- answers --- */

static void expect_first_and_retry(struct tg_answer first, struct tg_answer retry)
{
    sale_assert_verdict(first.verdict, TG_ACCEPTED);
    cr_assert_eq(first.replayed, 0);
    sale_assert_verdict(retry.verdict, TG_ACCEPTED);
    cr_assert_eq(retry.replayed, 1);
    cr_assert_eq(retry.order_id, first.order_id);
}

/* --- a retry does not overtake --- */

/* A group-buy of three units; its captain's payment is on the way to the disk by then. */
static Tidegate__V1__CreateSaleRequest *group_buy(uint64_t sale_id)
{
    static Tidegate__V1__GroupBuyRules rules;
    Tidegate__V1__CreateSaleRequest *message = sale_message(sale_id, "A", STOCK);
    tidegate__v1__group_buy_rules__init(&rules);
    rules.team_size = STOCK;
    message->sale->kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY;
    message->sale->group_buy = &rules;
    return message;
}

/* The first waits for a team that has a change in flight, and with it in the journal lies what
 * frees the last unit. A retry that was decided meanwhile found the team free and nothing left: it
 * was told SOLD_OUT, and then the first was accepted. */
Test(retries, a_retry_does_not_overtake_a_join_that_waits)
{
    struct daemon daemon = {0};
    struct peer first, second, third;
    start(&daemon);
    struct tgc_client *client = sale_client(&daemon);
    pending_create_sale(client, group_buy(1));
    struct tg_order captain = sale_order(1, "A", 1, 1), other = sale_order(1, "A", 2, 1);
    struct tg_order joiner = sale_order(1, "A", 3, 1), waits = sale_order(1, "A", 4, 1);
    uint64_t team = life_open_team(client, &captain).order_id;
    sale_assert_verdict(life_pay(client, team, "one", SALE_PRICE).verdict, TG_OK);
    uint64_t leaving = life_open_team(client, &other).order_id;
    peer_open(&first, &daemon);
    peer_open(&second, &daemon);
    peer_open(&third, &daemon);

    daemon_disk_hold(&daemon);
    send_join(&first, 1, team, &joiner);
    daemon_disk_wait(&daemon);
    send_cancel(&first, 2, leaving);
    send_join(&first, 3, team, &waits);
    pending_expect(&first);
    daemon_disk_step(&daemon);
    sale_assert_verdict(pending_answer(&first, 1).verdict, TG_ACCEPTED);
    send_join(&second, 1, team, &waits);
    pending_expect(&second);
    send_join(&third, 1, team, &waits);
    pending_expect(&third);
    daemon_disk_release(&daemon);

    pending_answer(&first, 2);
    struct tg_answer accepted = pending_answer(&first, 3);
    expect_first_and_retry(accepted, pending_answer(&second, 1));
    expect_first_and_retry(accepted, pending_answer(&third, 1));
    peer_close(&first);
    peer_close(&second);
    peer_close(&third);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- a retry is not forgotten --- */

/* Sends an order and its retry by `send`; the retry still waits when the first has been durable for
 * longer than a request id is remembered. */
static void expect_remembered(void (*send)(struct peer *, uint64_t, const struct tg_order *),
                              Tidegate__V1__CreateSaleRequest *sale, uint64_t orders)
{
    struct daemon daemon = {0};
    struct peer first, second, third;
    start(&daemon);
    struct tgc_client *client = sale_client(&daemon);
    pending_create_sale(client, sale);
    struct tg_order order = sale_order(1, "A", 1, 1), another = sale_order(1, "A", 2, 1);
    peer_open(&first, &daemon);
    peer_open(&second, &daemon);
    peer_open(&third, &daemon);

    daemon_disk_hold(&daemon);
    send(&first, 1, &order);
    daemon_disk_wait(&daemon);
    send(&second, 1, &order);
    pending_expect(&second);
    send(&third, 1, &another); /* holds the commit that the retry waits for */
    pending_expect(&third);
    sleep_ms(1100);
    daemon_disk_step(&daemon);
    struct tg_answer accepted = pending_answer(&first, 1);
    sleep_ms(400); /* every id is looked at several times */
    pending_expect(&second);
    daemon_disk_release(&daemon);

    expect_first_and_retry(accepted, pending_answer(&second, 1));
    sale_assert_verdict(pending_answer(&third, 1).verdict, TG_ACCEPTED);
    cr_assert_eq(sale_list(client, 1, NULL, NULL), orders);
    peer_close(&first);
    peer_close(&second);
    peer_close(&third);
    tgc_close(client);
    daemon_end(&daemon);
}

/* It was answered STORAGE_FULL. */
Test(retries, an_id_that_a_retry_waits_for_is_not_forgotten)
{
    expect_remembered(pending_order, sale_message(1, "A", STOCK), 2);
}

/* It was decided anew: a second order. */
Test(retries, nor_is_that_of_a_request_that_is_decided_again)
{
    expect_remembered(send_open, group_buy(1), 2);
}
