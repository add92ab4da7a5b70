/* Promise 2 and what belongs to it: what was answered stands after any crash, what is accepted is
 * answered before a stop, and a directory that cannot be trusted is refused with its reason. */
#include "base/clock.h"
#include "base/rng.h"
#include "storage/rows.h"
#include "tests/lib/crowd.h"
#include "tests/lib/pending.h"

#include <criterion/criterion.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- crashes --- */

/* What a crash finds on its way. */
#define IN_FLIGHT 8192

/* Runs the crowd until `answers` more have come and a moment of up to a millisecond is over. */
static void run_until(struct crowd *crowd, uint32_t answers, unsigned moment_us)
{
    uint32_t goal = crowd->answered + answers;
    while (crowd->answered < goal) {
        if (crowd_in_flight(crowd) < IN_FLIGHT)
            crowd_ask(crowd, 64);
        cr_assert(crowd_take(crowd), "the connection was lost before the crash");
    }
    usleep(moment_us);
}

static void crash_again_and_again(uint64_t seed, const char *threads)
{
    struct daemon daemon = {0};
    struct crowd crowd;
    struct tg_rng rng;
    tg_rng_init(&rng, seed);
    daemon_start(&daemon, "--threads", threads, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 100000000, 0);
    tgc_close(client);
    crowd_open(&crowd, &daemon, 1, "A", seed);
    for (int round = 0; round < 10; round++) {
        run_until(&crowd, (uint32_t)tg_rng_below(&rng, 8000), (unsigned)tg_rng_below(&rng, 1000));
        daemon_kill(&daemon);
        crowd_take_to_the_end(&crowd);
        daemon_restart(&daemon);
        crowd_reconnect(&crowd, &daemon);
        uint64_t standing = crowd_audit(&crowd);
        cr_assert_eq(daemon.recovered_orders, standing, "seed %llu", (unsigned long long)seed);
        crowd_ask_lost(&crowd);
    }
    crowd_finish(&crowd);
    cr_assert_eq(crowd_audit(&crowd), crowd.asked, "each asked order stands once (seed %llu)",
                 (unsigned long long)seed);
    crowd_close(&crowd);
    daemon_end(&daemon);
}

Test(durability, every_accepted_answer_outlives_ten_crashes_under_load)
{
    crash_again_and_again(20261122, "1");
}

Test(durability, the_same_with_four_shards)
{
    crash_again_and_again(7, "4");
}

Test(durability, an_operators_answer_outlives_a_crash_too)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    for (uint64_t round = 1; round <= 5; round++) {
        struct tgc_client *client = sale_client(&daemon);
        sale_create(client, round, "A", 10, 0);
        sale_assert_verdict(sale_adjust(client, round, "A", (int64_t)round), TG_OK);
        daemon_kill(&daemon);
        tgc_close(client);
        daemon_restart(&daemon);
        client = sale_client(&daemon);
        for (uint64_t sale = 1; sale <= round; sale++)
            cr_assert_eq(sale_available(client, sale, "A"), 10 + sale);
        tgc_close(client);
    }
    daemon_end(&daemon);
}

/* --- stops --- */

Test(durability, a_stop_answers_everything_that_it_accepted)
{
    struct daemon daemon = {0};
    struct crowd crowd;
    daemon_start(&daemon, "--threads", "2", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 100000000, 0);
    tgc_close(client);
    crowd_open(&crowd, &daemon, 1, "A", 3);
    run_until(&crowd, 5000, 0);
    crowd_ask(&crowd, 20000);
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    crowd_take_to_the_end(&crowd);
    /* It lingers for clients that have not hung up; the status counts, not the time. */
    cr_assert_eq(daemon_wait(&daemon), 0, "%s", daemon_log_tail(&daemon));
    daemon_restart(&daemon);
    crowd_reconnect(&crowd, &daemon);
    uint64_t standing = crowd_audit(&crowd);
    cr_assert_eq(standing, crowd.accepted, "%llu orders stand, %u were answered",
                 (unsigned long long)standing, crowd.accepted);
    crowd_close(&crowd);
    daemon_end(&daemon);
}

/* The disk stands still, so the drain can never end: the daemon gives up after its time, and has
 * answered nothing that it could not keep. */
Test(durability, a_drain_that_cannot_end_is_given_up_in_time)
{
    struct daemon daemon = {.with_faults = true};
    struct peer peer;
    daemon_start(&daemon, "--set", "server.drain_timeout_s=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    pending_create_sale(client, sale_message(1, "A", 10));
    tgc_close(client);
    struct tg_order order = sale_order(1, "A", 1, 1);
    peer_open(&peer, &daemon);
    daemon_disk_hold(&daemon);
    pending_order(&peer, 1, &order);
    daemon_disk_wait(&daemon);
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    cr_assert_eq(daemon_wait(&daemon), 1);
    cr_assert(daemon_log_has(&daemon, "not drained in 1 s: exiting"));
    peer_expect_end(&peer);
    peer_close(&peer);
    daemon_disk_release(&daemon);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 0);
    daemon_end(&daemon);
}

Test(durability, a_second_signal_ends_a_drain_that_hangs)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.write_timeout_s=86400", "--set",
                 "server.drain_timeout_s=86400", "--set", "server.output_bytes_max=1073741824",
                 NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create_many(client, 1, 1000, 10);
    /* A peer that asks for more than the sockets hold, and does not read: the drain waits. */
    struct peer peer;
    peer_open(&peer, &daemon);
    Tidegate__V1__GetSaleRequest get = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.sale_id = 1;
    get.item_limit = 1000;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &get;
    for (int i = 0; i < 400; i++)
        peer_request(&peer, &request);
    sale_assert_verdict(sale_buy(client, 1, "S0", 1, 1), TG_ACCEPTED);
    tgc_close(client);
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    daemon_log_wait(&daemon, "draining");
    usleep(300 * 1000);
    cr_assert(daemon_runs(&daemon), "the drain did not hang, so this shows nothing");
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    cr_assert_eq(daemon_wait(&daemon), 1);
    cr_assert(daemon_log_has(&daemon, "second signal"));
    peer_close(&peer);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 1);
    daemon_end(&daemon);
}

/* --- starts that are refused --- */

Test(durability, a_second_daemon_on_the_same_directory_is_refused)
{
    struct daemon first = {0}, second = {0};
    char pid[64];
    daemon_start(&first, NULL);
    memcpy(second.data_dir, first.data_dir, sizeof(first.data_dir));
    cr_assert_eq(daemon_start_refused(&second), 1);
    snprintf(pid, sizeof(pid), "in use by process %d", (int)first.pid);
    cr_assert(daemon_log_has(&second, pid), "%s", daemon_log_tail(&second));
    struct tgc_client *client = sale_client(&first);
    sale_create(client, 1, "A", 10, 0);
    tgc_close(client);
    daemon_end(&second);
    daemon_end(&first);
}

/* Opens the database of a daemon that does not run, changes it with `change`, and commits. */
static void tamper(const struct daemon *daemon, const char *table_name, unsigned flags,
                   void (*change)(MDB_txn *txn, MDB_dbi table))
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 8), 0);
    cr_assert_eq(mdb_env_open(env, daemon->data_dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, table_name, flags, &table), 0);
    change(txn, table);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void make_newer(MDB_txn *txn, MDB_dbi meta)
{
    uint8_t row[STO_FORMAT_ROW_BYTES];
    sto_row_format_encode(row, 1000);
    MDB_val key = {sizeof(STO_FORMAT_KEY) - 1, (void *)(uintptr_t)STO_FORMAT_KEY};
    MDB_val value = {sizeof(row), row};
    cr_assert_eq(mdb_put(txn, meta, &key, &value, 0), 0);
}

/* Turns one bit of the first row. */
static void damage_first(MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint8_t copy[256];
    cr_assert_eq(mdb_cursor_open(txn, table, &cursor), 0);
    cr_assert_eq(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
    cr_assert(value.mv_size > 12 && value.mv_size <= sizeof(copy));
    memcpy(copy, value.mv_data, value.mv_size);
    copy[12] ^= 1;
    MDB_val changed = {value.mv_size, copy};
    cr_assert_eq(mdb_cursor_put(cursor, &key, &changed, MDB_CURRENT), 0);
    mdb_cursor_close(cursor);
}

static void delete_first(MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    cr_assert_eq(mdb_cursor_open(txn, table, &cursor), 0);
    cr_assert_eq(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
    cr_assert_eq(mdb_cursor_del(cursor, 0), 0);
    mdb_cursor_close(cursor);
}

/* A stopped daemon whose directory holds a sale and two orders. */
static void prepare(struct daemon *daemon)
{
    *daemon = (struct daemon){0};
    daemon_start(daemon, NULL);
    struct tgc_client *client = sale_client(daemon);
    sale_create(client, 1, "A", 10, 0);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 2), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(client, 1, "A", 2, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_adjust(client, 1, "A", 5), TG_OK);
    tgc_close(client);
    daemon_stop(daemon);
}

/* The next start must fail and say these words. */
static void expect_refused(struct daemon *daemon, const char *words)
{
    cr_assert_eq(daemon_start_refused(daemon), 1);
    cr_assert(daemon_log_has(daemon, words), "no '%s' in: %s", words, daemon_log_tail(daemon));
    daemon_end(daemon);
}

Test(durability, a_newer_format_is_refused_and_left_alone)
{
    struct daemon daemon;
    prepare(&daemon);
    tamper(&daemon, "meta", 0, make_newer);
    expect_refused(&daemon, "format version 1000 and this build knows version 4");
}

Test(durability, a_damaged_order_is_refused_by_table_and_row)
{
    struct daemon daemon;
    prepare(&daemon);
    tamper(&daemon, "orders", MDB_INTEGERKEY, damage_first);
    expect_refused(&daemon, "table orders, row "); /* which one: the sale may have started first */
}

Test(durability, a_damaged_stock_row_is_refused)
{
    struct daemon daemon;
    prepare(&daemon);
    tamper(&daemon, "stock", MDB_INTEGERKEY, damage_first);
    expect_refused(&daemon, "table stock, row 0");
}

Test(durability, a_damaged_sale_is_refused)
{
    struct daemon daemon;
    prepare(&daemon);
    tamper(&daemon, "sales", MDB_INTEGERKEY, damage_first);
    expect_refused(&daemon, "table sales, row 0");
}

Test(durability, a_lost_order_is_refused_with_both_numbers)
{
    struct daemon daemon;
    prepare(&daemon);
    tamper(&daemon, "orders", MDB_INTEGERKEY, delete_first);
    expect_refused(&daemon, "table stock, row 0: it says reserved 3 and sold 0, its orders add up "
                            "to reserved 1");
}

Test(durability, a_lost_adjustment_is_refused_with_both_numbers)
{
    struct daemon daemon;
    prepare(&daemon);
    tamper(&daemon, "adjustments", MDB_INTEGERKEY, delete_first);
    expect_refused(&daemon, "table stock, row 0: it says restocked 5, its adjustments add up to 0");
}

Test(durability, a_file_that_was_cut_off_is_refused)
{
    struct daemon daemon;
    char path[256];
    prepare(&daemon);
    snprintf(path, sizeof(path), "%s/data.mdb", daemon.data_dir);
    cr_assert_eq(truncate(path, 3 * 4096), 0);
    expect_refused(&daemon, "was cut off");
}

Test(durability, a_port_that_another_listens_on_is_refused)
{
    struct daemon first = {0}, second = {0};
    daemon_start(&first, NULL);
    second.port = first.port;
    cr_assert_eq(daemon_start_refused(&second), 1);
    cr_assert(daemon_log_has(&second, "Address already in use"), "%s", daemon_log_tail(&second));
    daemon_end(&second);
    daemon_end(&first);
}
