/* tidegatectl end to end: what an operator types, against a real daemon. */
#include "storage/rows.h"
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_DONE        0
#define EXIT_REFUSED     1
#define EXIT_USAGE       2
#define EXIT_UNREACHABLE 3

/* Runs tidegatectl against the daemon; fails the test when it does not exit with `status`. */
#define ctl(run, daemon, status_, ...)                                                             \
    do {                                                                                           \
        run_start((run), "tidegatectl", "--server", (daemon)->address, __VA_ARGS__, NULL);         \
        run_wait(run);                                                                             \
        cr_assert_eq((run)->status, (status_), "exit %d: %s%s", (run)->status, (run)->out,         \
                     (run)->err);                                                                  \
    } while (0)

static void expect_out(struct run *run, const char *text)
{
    cr_assert(strstr(run->out, text), "no '%s' in:\n%s", text, run->out);
    run_free(run);
}

static void expect_err(struct run *run, const char *text)
{
    cr_assert(strstr(run->err, text), "no '%s' in:\n%s", text, run->err);
    run_free(run);
}

/* The number or numeric text at `path` ("items.0.available_units") of the JSON that it printed. */
static long long number_of(const struct run *run, const char *path)
{
    json_error_t error;
    json_t *root = json_loads(run->out, JSON_DISABLE_EOF_CHECK, &error), *at = root;
    cr_assert(root, "no JSON (%s): %s", error.text, run->out);
    char copy[128], *rest = copy, *part;
    strncpy(copy, path, sizeof(copy) - 1);
    copy[sizeof(copy) - 1] = '\0';
    while ((part = strsep(&rest, ".")))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    cr_assert(at, "no %s in: %s", path, run->out);
    long long value = json_is_string(at) ? atoll(json_string_value(at)) : json_integer_value(at);
    json_decref(root);
    return value;
}

static long long take_number(struct run *run, const char *path)
{
    long long value = number_of(run, path);
    run_free(run);
    return value;
}

#define EXAMPLE "docs/examples/seckill.json"
#define SKU     "A01-001-M-BL"

Test(ctl, a_sale_from_the_example_goes_its_whole_way)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    ctl(&run, &daemon, EXIT_DONE, "sale", "create", EXAMPLE);
    expect_out(&run, "created sale 1");
    ctl(&run, &daemon, EXIT_DONE, "sale", "list");
    expect_out(&run, "Singles Day, ten o'clock");
    ctl(&run, &daemon, EXIT_DONE, "sale", "show", "1", "--json");
    cr_assert_eq(take_number(&run, "items.0.available_units"), 10000);

    struct tgc_client *client = sale_client(&daemon);
    struct tg_order order = sale_order(1, SKU, 7, 1);
    struct tg_answer answer = sale_place(client, &order);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    char id[24];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)answer.order_id);
    ctl(&run, &daemon, EXIT_DONE, "order", "get", id, "--json");
    cr_assert_eq(number_of(&run, "user_id"), 7);
    cr_assert_eq(take_number(&run, "order_id"), (long long)answer.order_id);
    ctl(&run, &daemon, EXIT_DONE, "order", "list", "--sale", "1");
    expect_out(&run, SKU);

    ctl(&run, &daemon, EXIT_DONE, "sale", "pause", "1");
    run_free(&run);
    sale_assert_verdict(sale_buy(client, 1, SKU, 8, 1), TG_PAUSED);
    ctl(&run, &daemon, EXIT_DONE, "sale", "resume", "1");
    run_free(&run);
    sale_assert_verdict(sale_buy(client, 1, SKU, 8, 1), TG_ACCEPTED);
    ctl(&run, &daemon, EXIT_DONE, "sale", "close", "1");
    run_free(&run);
    sale_assert_verdict(sale_buy(client, 1, SKU, 9, 1), TG_ENDED);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(ctl, stock_is_adjusted_both_ways)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "2", NULL);
    ctl(&run, &daemon, EXIT_DONE, "sale", "create", EXAMPLE);
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "stock", "adjust", "1", SKU, "--delta", "500", "--reason",
        "second delivery");
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "stock", "adjust", "1", SKU, "--delta", "-3", "--reason",
        "damaged");
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "stock", "adjust", "1", SKU, "--expect", "1", "--set", "2",
        "--reason", "count");
    expect_err(&run, "STOCK_CHANGED");
    ctl(&run, &daemon, EXIT_DONE, "stock", "adjust", "1", SKU, "--expect", "10497", "--set", "7",
        "--reason", "count");
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "stock", "adjust", "1", SKU, "--delta", "-8", "--reason",
        "too much");
    expect_err(&run, "INSUFFICIENT_STOCK");
    ctl(&run, &daemon, EXIT_DONE, "stock", "show", "1", SKU, "--json");
    cr_assert_eq(take_number(&run, "available_units"), 7);
    daemon_end(&daemon);
}

Test(ctl, refusals_and_mistakes_have_their_exit_codes)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    ctl(&run, &daemon, EXIT_REFUSED, "sale", "show", "1");
    expect_err(&run, "UNKNOWN_SALE");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "get", "12345");
    expect_err(&run, "UNKNOWN_ORDER");
    ctl(&run, &daemon, EXIT_USAGE, "sale", "create", "Makefile");
    run_free(&run);
    ctl(&run, &daemon, EXIT_USAGE, "sale", "shout", "1");
    run_free(&run);
    struct daemon nobody = daemon;
    daemon_end(&daemon);
    ctl(&run, &nobody, EXIT_UNREACHABLE, "--timeout", "1s", "time");
    expect_err(&run, nobody.address);
}

/* --- the life of an order --- */

#define SHOP      "docs/examples/shop.json"
#define GROUP_BUY "docs/examples/group-buy.json"

/* A daemon with a sale of one example file. */
static void start_with(struct daemon *daemon, const char *file)
{
    struct run run;
    *daemon = (struct daemon){0};
    daemon_start(daemon, NULL);
    ctl(&run, daemon, EXIT_DONE, "sale", "create", file);
    run_free(&run);
}

/* The order id, or team id, of what was placed, as text. */
static void take_id(struct run *run, char id[24])
{
    snprintf(id, 24, "%lld", take_number(run, "order_id"));
}

/* Places an order of one cup in the shop; 29.00. */
static void place_cup(const struct daemon *daemon, const char *user, char id[24])
{
    struct run run;
    ctl(&run, daemon, EXIT_DONE, "order", "place", "3", "CUP-WHITE", "--user", user, "--json");
    take_id(&run, id);
}

Test(ctl, an_order_goes_its_whole_life)
{
    struct daemon daemon;
    struct run run;
    char id[24];
    start_with(&daemon, SHOP);
    place_cup(&daemon, "7", id);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "advance", id, "shipped");
    expect_err(&run, "NOT_PAID");
    ctl(&run, &daemon, EXIT_DONE, "order", "extend", id, "--until", "+20m");
    expect_out(&run, "is reserved");
    ctl(&run, &daemon, EXIT_DONE, "order", "pay", id, "--payment-id", "wx-1", "--amount", "2900");
    expect_out(&run, "is confirmed: amount 2900, received 2900, kept 2900");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "cancel", id, "--by", "buyer");
    expect_err(&run, "ALREADY_PAID");
    ctl(&run, &daemon, EXIT_DONE, "order", "refund", id, "--amount", "500", "--reason", "late");
    expect_out(&run, "refund 1 is due"); /* the shop refunds up to 200.00 by itself */
    ctl(&run, &daemon, EXIT_DONE, "order", "advance", id, "shipped");
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "order", "advance", id, "delivered");
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "advance", id, "completed");
    expect_err(&run, "REFUND_PENDING");
    ctl(&run, &daemon, EXIT_DONE, "order", "refunded", id, "1", "--reference", "r-9");
    expect_out(&run, "refund 1 is refunded");
    ctl(&run, &daemon, EXIT_DONE, "order", "advance", id, "completed");
    expect_out(&run, "is completed");
    ctl(&run, &daemon, EXIT_DONE, "order", "show", id);
    cr_assert(strstr(run.out, "wx-1") && strstr(run.out, "r-9") && strstr(run.out, "29.00 CNY"),
              "%s", run.out);
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "order", "show", id, "--json");
    cr_assert_eq(number_of(&run, "kept_minor"), 2400);
    cr_assert_eq(number_of(&run, "payments.0.amount_minor"), 2900);
    cr_assert_eq(take_number(&run, "refunds.0.amount_minor"), 500);
    daemon_end(&daemon);
}

Test(ctl, a_refund_above_the_limit_waits_for_its_approval)
{
    struct daemon daemon;
    struct run run;
    char id[24];
    start_with(&daemon, EXAMPLE);
    ctl(&run, &daemon, EXIT_DONE, "order", "place", "1", SKU ":1:9900", "--user", "7", "--json");
    take_id(&run, id);
    ctl(&run, &daemon, EXIT_DONE, "order", "pay", id, "--payment-id", "1", "--amount", "9900");
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "order", "refund", id, "--restock");
    expect_out(&run, "refund 1 is waiting");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "refunded", id, "1");
    expect_err(&run, "REFUND_STATUS");
    ctl(&run, &daemon, EXIT_DONE, "order", "reject", id, "1");
    expect_out(&run, "refund 1 is rejected");
    ctl(&run, &daemon, EXIT_DONE, "order", "refund", id, "--restock");
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "order", "approve", id, "2");
    expect_out(&run, "is refund_due");
    ctl(&run, &daemon, EXIT_DONE, "order", "refunded", id, "2");
    expect_out(&run, "is refunded");
    ctl(&run, &daemon, EXIT_DONE, "stock", "show", "1", SKU, "--json");
    cr_assert_eq(take_number(&run, "available_units"), 10000);
    daemon_end(&daemon);
}

Test(ctl, a_command_is_done_once_however_often_its_request_id_is_sent)
{
    static const char request[] = "000102030405060708090a0b0c0d0e0f";
    struct daemon daemon;
    struct run run;
    char id[24];
    start_with(&daemon, SHOP);
    ctl(&run, &daemon, EXIT_DONE, "order", "place", "3", "CUP-WHITE", "--user", "7", "--request-id",
        request, "--json");
    take_id(&run, id);
    ctl(&run, &daemon, EXIT_DONE, "order", "place", "3", "CUP-WHITE", "--user", "7", "--request-id",
        request);
    cr_assert(strstr(run.out, "replayed") && strstr(run.out, id), "%s", run.out);
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "place", "3", "CUP-WHITE", "--user", "8",
        "--request-id", request);
    expect_err(&run, "REQUEST_ID_CONFLICT");
    ctl(&run, &daemon, EXIT_DONE, "order", "cancel", id, "--request-id", request);
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "order", "cancel", id, "--request-id", request);
    expect_out(&run, "replayed");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "cancel", id);
    expect_err(&run, "ALREADY_CANCELLED");
    daemon_end(&daemon);
}

Test(ctl, an_unknown_outcome_tells_how_to_repeat_the_command)
{
    static const char option[] = "repeat it with --request-id ";
    struct daemon daemon;
    struct run run;
    char id[24], request[33];
    start_with(&daemon, SHOP);
    place_cup(&daemon, "7", id);
    cr_assert_eq(kill(daemon.pid, SIGSTOP), 0); /* the kernel still connects for it */
    ctl(&run, &daemon, EXIT_UNREACHABLE, "--timeout", "300ms", "order", "cancel", id);
    const char *at = strstr(run.err, option);
    cr_assert(at, "%s", run.err);
    snprintf(request, sizeof(request), "%s", at + strlen(option));
    run_free(&run);
    cr_assert_eq(kill(daemon.pid, SIGCONT), 0);
    ctl(&run, &daemon, EXIT_DONE, "order", "cancel", id, "--request-id", request);
    expect_out(&run, "is cancelled");
    daemon_end(&daemon);
}

Test(ctl, a_payment_that_is_wrong_or_comes_twice_is_recorded_and_told)
{
    struct daemon daemon;
    struct run run;
    char id[24];
    start_with(&daemon, SHOP);
    place_cup(&daemon, "7", id);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "pay", id, "--payment-id", "a", "--amount", "1");
    expect_err(&run, "AMOUNT_MISMATCH");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "pay", id, "--payment-id", "b", "--amount", "2900",
        "--currency", "EUR");
    expect_err(&run, "CURRENCY_MISMATCH");
    ctl(&run, &daemon, EXIT_DONE, "order", "pay", id, "--payment-id", "c", "--amount", "2900");
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "pay", id, "--payment-id", "d", "--amount", "2900");
    expect_err(&run, "the payment is recorded");
    ctl(&run, &daemon, EXIT_DONE, "order", "show", id);
    cr_assert(strstr(run.out, "refused_amount") && strstr(run.out, "refused_currency") &&
                  strstr(run.out, "second_payment"),
              "%s", run.out);
    run_free(&run);
    daemon_end(&daemon);
}

Test(ctl, a_cart_is_placed_whole_or_tells_the_lines_that_failed)
{
    struct daemon daemon;
    struct run run;
    start_with(&daemon, SHOP);
    ctl(&run, &daemon, EXIT_DONE, "order", "place", "3", "CUP-WHITE:2", "POT-CLAY:1:15900",
        "--user", "7", "--lane", "prepaid");
    expect_out(&run, "amount 21700");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "place", "3", "CUP-WHITE:2", "POT-CLAY:1:1", "--user",
        "7");
    expect_err(&run, "POT-CLAY: PRICE_CHANGED");
    ctl(&run, &daemon, EXIT_DONE, "order", "list", "--json");
    cr_assert_eq(number_of(&run, "quantity"), 3);
    cr_assert_eq(take_number(&run, "lines.1.unit_price_minor"), 15900);
    ctl(&run, &daemon, EXIT_DONE, "stock", "show", "3", "CUP-WHITE", "--json");
    cr_assert_eq(take_number(&run, "available_units"), 998);
    daemon_end(&daemon);
}

/* --- teams --- */

static void join_and_pay(const struct daemon *daemon, const char *team, const char *user,
                         const char *amount)
{
    struct run run;
    char id[24];
    ctl(&run, daemon, EXIT_DONE, "team", "join", team, "--user", user, "--json");
    take_id(&run, id);
    ctl(&run, daemon, EXIT_DONE, "order", "pay", id, "--payment-id", "p", "--amount", amount);
    run_free(&run);
}

Test(ctl, a_team_forms_when_its_seats_are_paid)
{
    struct daemon daemon;
    struct run run;
    char team[24];
    start_with(&daemon, GROUP_BUY);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "place", "2", "TEA-100G", "--user", "1");
    expect_err(&run, "TEAM_REQUIRED");
    ctl(&run, &daemon, EXIT_DONE, "team", "open", "2", "TEA-100G", "--user", "1", "--json");
    cr_assert_eq(number_of(&run, "team_id"), number_of(&run, "order_id"));
    take_id(&run, team);
    ctl(&run, &daemon, EXIT_REFUSED, "team", "join", team, "--user", "2");
    expect_err(&run, "TEAM_NOT_OPEN");
    ctl(&run, &daemon, EXIT_DONE, "order", "pay", team, "--payment-id", "p", "--amount", "3900");
    expect_out(&run, "is awaiting_team");
    ctl(&run, &daemon, EXIT_DONE, "team", "list", "2");
    expect_out(&run, team);
    join_and_pay(&daemon, team, "2", "4900");
    join_and_pay(&daemon, team, "3", "4900");
    ctl(&run, &daemon, EXIT_DONE, "team", "show", team);
    cr_assert(strstr(run.out, "formed") && strstr(run.out, "39.00 CNY"), "%s", run.out);
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "team", "show", team, "--json");
    cr_assert_eq(number_of(&run, "paid"), 3);
    cr_assert_eq(take_number(&run, "members.2.user_id"), 3);
    ctl(&run, &daemon, EXIT_REFUSED, "team", "join", team, "--user", "4");
    expect_err(&run, "TEAM_FORMED");
    daemon_end(&daemon);
}

/* --- orders of other channels --- */

#define INGESTED                                                                                   \
    "{\"channel\":2,\"external_id\":\"%s\",\"sale_id\":3,\"sku\":\"%s\",\"user_id\":5,"            \
    "\"quantity\":1,\"unit_price_minor\":2800,\"ordered_at\":%lld%s}\n"

/* Writes a file of two good orders, one of them paid, and one of an item that is not there. */
static void write_orders(const struct daemon *daemon, char path[128])
{
    static const char payment[] =
        ",\"payment\":{\"payment_id\":\"z\",\"amount_minor\":2800,\"currency\":\"CNY\"}";
    struct tgc_client *client = sale_client(daemon);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    Tidegate__V1__Response *response = sale_call(client, &request);
    long long now_ms = response->get_server_time->server_time_ms;
    tgc_response_free(response);
    tgc_close(client);
    snprintf(path, 128, "%s/orders.jsonl", daemon->root);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fprintf(file, INGESTED, "x-1", "CUP-WHITE", now_ms, "");
    fprintf(file, INGESTED, "x-2", "CUP-WHITE", now_ms, payment);
    fprintf(file, INGESTED, "x-3", "NOTHING", now_ms, "");
    fclose(file);
}

Test(ctl, orders_of_other_channels_are_taken_once)
{
    struct daemon daemon;
    struct run run;
    char path[128];
    start_with(&daemon, SHOP);
    write_orders(&daemon, path);
    ctl(&run, &daemon, EXIT_REFUSED, "order", "ingest", path);
    cr_assert(strstr(run.out, "UNKNOWN_ITEM"), "%s", run.out);
    expect_err(&run, "2 accepted (0 of them before), 1 refused");
    ctl(&run, &daemon, EXIT_REFUSED, "order", "ingest", path, "--json");
    cr_assert(strstr(run.out, "\"external_id\":\"x-2\""), "%s", run.out);
    expect_err(&run, "2 accepted (2 of them before), 1 refused");
    ctl(&run, &daemon, EXIT_DONE, "order", "list", "--json");
    cr_assert(strstr(run.out, "reserved") && strstr(run.out, "confirmed"), "%s", run.out);
    cr_assert_eq(take_number(&run, "unit_price_minor"), 2800);
    ctl(&run, &daemon, EXIT_USAGE, "order", "ingest", "Makefile");
    expect_err(&run, "behind order 0");
    ctl(&run, &daemon, EXIT_UNREACHABLE, "order", "ingest", "/nonexistent/orders");
    expect_err(&run, "/nonexistent/orders");
    daemon_end(&daemon);
}

/* --- the outbox --- */

Test(ctl, a_group_reads_each_event_and_goes_on_where_it_was)
{
    struct daemon daemon;
    struct run run;
    char id[24];
    start_with(&daemon, SHOP);
    place_cup(&daemon, "7", id);
    ctl(&run, &daemon, EXIT_DONE, "events", "group-create", "erp");
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "events", "group-create", "erp");
    expect_err(&run, "GROUP_EXISTS");
    ctl(&run, &daemon, EXIT_DONE, "events", "tail", "--group", "erp", "--ack");
    expect_out(&run, "order_placed");
    ctl(&run, &daemon, EXIT_DONE, "events", "groups", "--json");
    cr_assert_eq(take_number(&run, "lag"), 0);
    ctl(&run, &daemon, EXIT_DONE, "order", "cancel", id);
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "events", "tail", "--group", "erp", "--json");
    cr_assert_null(strstr(run.out, "order_placed"), "%s", run.out);
    cr_assert(strstr(run.out, "order_cancelled"), "%s", run.out);
    cr_assert_eq(number_of(&run, "order.order_id"), atoll(id));
    run_free(&run);
    ctl(&run, &daemon, EXIT_DONE, "events", "tail", "--types", "order_cancelled", "--json");
    cr_assert_null(strstr(run.out, "order_placed"), "%s", run.out);
    cr_assert_eq(take_number(&run, "order_id"), atoll(id));
    ctl(&run, &daemon, EXIT_DONE, "events", "groups");
    expect_out(&run, "erp");
    ctl(&run, &daemon, EXIT_DONE, "events", "group-delete", "erp");
    run_free(&run);
    ctl(&run, &daemon, EXIT_REFUSED, "events", "ack", "erp", "1");
    expect_err(&run, "UNKNOWN_GROUP");
    daemon_end(&daemon);
}

/* Asks until the group has acked all there is. */
static void await_no_lag(const struct daemon *daemon, long long offset)
{
    struct run run;
    long long at;
    do {
        ctl(&run, daemon, EXIT_DONE, "events", "groups", "--json");
        at = take_number(&run, "offset");
    } while (at < offset);
}

Test(ctl, whoever_follows_gets_events_as_they_come)
{
    struct daemon daemon;
    struct run run, follower;
    char id[24];
    start_with(&daemon, SHOP);
    ctl(&run, &daemon, EXIT_DONE, "events", "group-create", "erp", "--from-now", "--json");
    long long offset = take_number(&run, "offset");
    run_start(&follower, "tidegatectl", "--server", daemon.address, "events", "tail", "--group",
              "erp", "--follow", "--ack", NULL);
    place_cup(&daemon, "7", id);
    await_no_lag(&daemon, offset + 1);
    place_cup(&daemon, "8", id);
    await_no_lag(&daemon, offset + 2);
    cr_assert(run_goes_on(&follower));
    kill(follower.pid, SIGTERM);
    run_wait(&follower);
    cr_assert(strstr(follower.out, id), "%s", follower.out);
    run_free(&follower);
    daemon_end(&daemon);
}

/* --- verify --- */

static void prepare(struct daemon *daemon)
{
    *daemon = (struct daemon){0};
    daemon_start(daemon, NULL);
    struct tgc_client *client = sale_client(daemon);
    sale_create(client, 1, "A", 1000, 2);
    for (uint64_t user = 0; user < 100; user++)
        sale_assert_verdict(sale_buy(client, 1, "A", user, 2), TG_ACCEPTED);
    tgc_close(client);
}

static void verify(struct run *run, const struct daemon *daemon, int status)
{
    run_start(run, "tidegatectl", "verify", "--data-dir", daemon->data_dir, "--json", NULL);
    run_wait(run);
    cr_assert_eq(run->status, status, "exit %d: %s%s", run->status, run->out, run->err);
}

Test(ctl, verify_passes_a_good_database_also_under_a_running_daemon)
{
    struct daemon daemon;
    struct run run;
    prepare(&daemon);
    verify(&run, &daemon, EXIT_DONE);
    cr_assert_eq(take_number(&run, "orders"), 100);
    daemon_kill(&daemon);
    verify(&run, &daemon, EXIT_DONE);
    cr_assert_eq(number_of(&run, "units_reserved"), 200);
    cr_assert_eq(take_number(&run, "orders"), 100);
    daemon_end(&daemon);
}

/* Puts `row` in the place of the first row of a table. */
static void replace_first(const struct daemon *daemon, const char *table_name, const void *row,
                          size_t size)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    MDB_cursor *cursor;
    MDB_val key, value;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 8), 0);
    cr_assert_eq(mdb_env_open(env, daemon->data_dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, table_name, MDB_INTEGERKEY, &table), 0);
    cr_assert_eq(mdb_cursor_open(txn, table, &cursor), 0);
    cr_assert_eq(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
    value = (MDB_val){.mv_size = size, .mv_data = (void *)(uintptr_t)row};
    cr_assert_eq(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
    mdb_cursor_close(cursor);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

Test(ctl, verify_finds_a_damaged_row)
{
    struct daemon daemon;
    struct run run;
    uint8_t row[STO_ORDER_ROW_BYTES] = {0};
    prepare(&daemon);
    daemon_stop(&daemon);
    replace_first(&daemon, "orders", row, sizeof(row));
    verify(&run, &daemon, EXIT_REFUSED);
    cr_assert_eq(number_of(&run, "crc_errors"), 1);
    expect_err(&run, "orders");
    daemon_end(&daemon);
}

Test(ctl, verify_finds_books_that_do_not_balance)
{
    struct daemon daemon;
    struct run run;
    uint8_t row[STO_STOCK_ROW_BYTES];
    struct tg_stock oversold = {
        .initial_units = 1000, .available_units = 900, .reserved_units = 200};
    prepare(&daemon);
    daemon_stop(&daemon);
    sto_row_stock_encode(row, 0, &oversold);
    replace_first(&daemon, "stock", row, sizeof(row));
    verify(&run, &daemon, EXIT_REFUSED);
    cr_assert_eq(take_number(&run, "oversold_items"), 1);
    daemon_end(&daemon);
}

Test(ctl, verify_says_when_there_is_nothing_to_verify)
{
    struct run run;
    run_start(&run, "tidegatectl", "verify", "--data-dir", "/nonexistent/tidegate", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, EXIT_UNREACHABLE);
    expect_err(&run, "/nonexistent/tidegate");
}
