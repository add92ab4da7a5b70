/* The whole sale: 200,000 orders for 10,000 units on 64 connections, by the load generator, whose
 * audit reads every order back. */
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SALE_UNITS 10000
/* Of a server that has few: two for orders, one for the daemon's own account, one for the audit. */
#define PLACES     6

static json_t *report_of(const struct run *run)
{
    json_error_t error;
    cr_assert_eq(run->status, 0, "exit %d: %s%s", run->status, run->out, run->err);
    json_t *report = json_loads(run->out, 0, &error);
    cr_assert(report, "no JSON (%s): %s", error.text, run->out);
    return report;
}

static long long count_of(json_t *report, const char *name)
{
    json_t *count = json_object_get(report, name);
    cr_assert(json_is_integer(count), "no %s in the report", name);
    return json_integer_value(count);
}

/* Exactly the units there were were sold, and the generator's audit found nothing. */
static void expect_sold_exactly(const struct run *run, long long orders)
{
    json_t *report = report_of(run), *audit = json_object_get(report, "audit");
    cr_assert_eq(count_of(report, "offered"), 200000);
    cr_assert_eq(count_of(report, "accepted"), orders);
    cr_assert_eq(count_of(report, "errors"), 0);
    cr_assert_eq(count_of(report, "unknown_outcomes"), 0);
    cr_assert(json_is_true(json_object_get(audit, "ok")));
    cr_assert(json_is_true(json_object_get(audit, "done")));
    cr_assert_eq(count_of(audit, "orders_read"), orders);
    cr_assert_eq(count_of(audit, "retries_wrong"), 0);
    json_decref(report);
}

/* What the daemon itself says of the sale afterwards, and again after a crash. */
static void expect_books(struct daemon *daemon, uint64_t orders)
{
    for (int life = 0; life < 2; life++) {
        struct tgc_client *client = sale_client(daemon);
        cr_assert_eq(sale_list(client, 0, NULL, NULL), orders);
        tgc_close(client);
        if (life == 0) {
            daemon_kill(daemon);
            daemon_restart(daemon);
        }
    }
    cr_assert_eq(daemon->recovered_orders, orders);
}

#define load(run, daemon, ...)                                                                     \
    do {                                                                                           \
        run_start((run), "tidegate-load", "--server", (daemon)->address, "--scenario", "seckill",  \
                  "--attempts", "200000", "--users", "200000", "--stock", "10000",                 \
                  "--connections", "64", "--json", "-", "--quiet", __VA_ARGS__, NULL);             \
        run_wait(run);                                                                             \
    } while (0)

Test(load, ten_thousand_units_are_sold_to_200000_orders)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    load(&run, &daemon, "--pipeline", "16");
    expect_sold_exactly(&run, SALE_UNITS);
    expect_books(&daemon, SALE_UNITS);
    run_free(&run);
    daemon_end(&daemon);
}

Test(load, the_same_on_four_shards)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "4", NULL);
    load(&run, &daemon, "--pipeline", "64");
    expect_sold_exactly(&run, SALE_UNITS);
    expect_books(&daemon, SALE_UNITS);
    run_free(&run);
    daemon_end(&daemon);
}

Test(load, the_same_in_batches)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "4", NULL);
    load(&run, &daemon, "--batch", "200", "--pipeline", "4");
    expect_sold_exactly(&run, SALE_UNITS);
    expect_books(&daemon, SALE_UNITS);
    run_free(&run);
    daemon_end(&daemon);
}

Test(load, the_same_with_every_third_order_asked_twice)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "2", NULL);
    load(&run, &daemon, "--retry-share", "0.33", "--greedy-share", "0.5");
    expect_sold_exactly(&run, SALE_UNITS);
    json_t *report = report_of(&run);
    cr_assert(count_of(report, "retries_checked") > 1000);
    json_decref(report);
    expect_books(&daemon, SALE_UNITS);
    run_free(&run);
    daemon_end(&daemon);
}

Test(load, a_hundred_items_on_four_shards_are_sold_to_the_last_unit)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "4", NULL);
    run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "seckill",
              "--attempts", "200000", "--skus", "100", "--stock", "100", "--limit", "0",
              "--greedy-share", "0", "--batch", "10", "--json", "-", "--quiet", NULL);
    run_wait(&run);
    expect_sold_exactly(&run, SALE_UNITS);
    expect_books(&daemon, SALE_UNITS);
    run_free(&run);
    daemon_end(&daemon);
}

/* A server that drains, or has no place, says so and closes: the generator comes again, as it does
 * when a connection breaks. */
Test(load, a_server_without_a_place_is_asked_again)
{
    struct daemon daemon = {0};
    struct tgc_client *others[PLACES];
    struct run run;
    daemon_start(&daemon, "--set", "server.connections_max=6", NULL);
    run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "durable",
              "--connections", "2", "--rate", "500", "--duration", "2s", "--json", "-", "--quiet",
              NULL);
    struct tgc_client *onlooker = sale_client(&daemon);
    while (sale_list(onlooker, 0, NULL, NULL) == 0)
        usleep(10000);
    tgc_close(onlooker);
    /* While it stands still, its places go to others. */
    kill(run.pid, SIGSTOP);
    daemon_kill(&daemon);
    daemon_restart(&daemon);
    for (int i = 0; i < PLACES; i++) {
        others[i] = sale_client(&daemon);
        sale_list(others[i], 0, NULL, NULL);
    }
    kill(run.pid, SIGCONT);
    usleep(300000);
    for (int i = 0; i < PLACES; i++)
        tgc_close(others[i]);
    run_wait(&run);
    json_t *report = report_of(&run);
    cr_assert_eq(count_of(report, "errors"), 0);
    cr_assert_gt(count_of(report, "reconnects"), 0);
    json_decref(report);
    run_free(&run);
    daemon_end(&daemon);
}
