/* tidegatectl end to end: what an operator types, against a real daemon. */
#include "storage/rows.h"
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <lmdb.h>
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
