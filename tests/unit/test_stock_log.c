/* The stock log on real LMDB: which commits go to it, what comes back from it, and that it is
 * folded. Rows are looked at behind storage's back; after each start recovery holds the stock
 * against its orders, and so does verify. */
#include "storage/env.h"
#include "storage/stock_log.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Few, so that a batch can touch more. */
#define LOG_ITEMS_MIN 4
#define ITEMS         200
#define STOCK_UNITS   100000

static struct depot *make(void)
{
    struct depot *depot = depot_make(64 * DEPOT_MIB);
    depot_close(depot);
    depot->options.log_items_min = LOG_ITEMS_MIN;
    depot_open(depot);
    depot_commit_sale(depot, 0, 0, ITEMS, STOCK_UNITS);
    return depot;
}

/* One order of one unit, each of another user, for each of `count` items from `first` on. */
static enum sto_result commit_to_items(struct depot *depot, uint32_t first, uint32_t count)
{
    struct tg_record *records = calloc(count, sizeof(*records));
    for (uint32_t i = 0; i < count; i++)
        records[i] = depot_order(depot, first + i, depot->requests, 1);
    enum sto_result result = depot_commit(depot, records, count);
    free(records);
    return result;
}

struct rows {
    uint64_t log_rows;
    struct tg_stock stock; /* of the item, as its stock row says */
};

static struct rows rows_of(const struct depot *depot, uint32_t item)
{
    struct rows rows;
    MDB_txn *txn;
    MDB_stat stat;
    MDB_val key = {sizeof(item), &item}, value;
    cr_assert_eq(mdb_txn_begin(depot->env->lmdb, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_stat(txn, depot->env->tables.stock_log, &stat), 0);
    cr_assert_eq(mdb_get(txn, depot->env->tables.stock, &key, &value), 0);
    cr_assert_null(sto_row_stock_decode(value.mv_data, value.mv_size, item, &rows.stock));
    rows.log_rows = stat.ms_entries;
    mdb_txn_abort(txn);
    return rows;
}

static uint32_t reserved_of(const struct depot *depot, uint32_t item)
{
    return depot->env->items[item].stock.reserved_units;
}

Test(stock_log, a_commit_of_few_items_is_written_in_place)
{
    struct depot *depot = make();
    cr_assert_eq(commit_to_items(depot, 0, LOG_ITEMS_MIN - 1), STO_DURABLE);
    struct rows rows = rows_of(depot, 0);
    cr_assert_eq(rows.log_rows, 0);
    cr_assert_eq(rows.stock.reserved_units, 1);
    depot_expect_sound(depot);
    depot_free(depot);
}

Test(stock_log, a_commit_of_many_items_is_logged_and_comes_back)
{
    struct depot *depot = make();
    cr_assert_eq(commit_to_items(depot, 10, 2 * STO_LOG_ENTRIES_MAX + 1), STO_DURABLE);
    struct rows rows = rows_of(depot, 10);
    cr_assert_eq(rows.log_rows, 3, "%u entries to a row", STO_LOG_ENTRIES_MAX);
    cr_assert_eq(rows.stock.reserved_units, 0, "its own row is as it was");
    depot_expect_sound(depot);
    for (uint32_t item = 0; item < ITEMS; item++)
        cr_assert_eq(reserved_of(depot, item), item >= 10 && item < 171, "item %u", item);
    depot_free(depot);
}

Test(stock_log, what_comes_behind_a_logged_commit_goes_to_the_log_too)
{
    struct depot *depot = make();
    cr_assert_eq(commit_to_items(depot, 0, LOG_ITEMS_MIN), STO_DURABLE);
    cr_assert_eq(commit_to_items(depot, 1, 1), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 1).log_rows, 2);
    cr_assert_eq(rows_of(depot, 1).stock.reserved_units, 0);
    depot_expect_sound(depot);
    cr_assert_eq(reserved_of(depot, 1), 2, "the last entry counts");
    /* It also goes on behind a start. */
    cr_assert_eq(commit_to_items(depot, 1, 1), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 1).log_rows, 3);
    depot_expect_sound(depot);
    cr_assert_eq(reserved_of(depot, 1), 3);
    depot_free(depot);
}

/* Item 150 is only in the log; the commit that folds does not touch it. */
static void fill_log(struct depot *depot)
{
    cr_assert_eq(commit_to_items(depot, 147, LOG_ITEMS_MIN), STO_DURABLE);
    while (rows_of(depot, 0).log_rows < STO_LOG_ROWS_MAX)
        cr_assert_eq(commit_to_items(depot, 5, 1), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 150).stock.reserved_units, 0);
}

Test(stock_log, a_full_log_is_folded)
{
    struct depot *depot = make();
    fill_log(depot);
    cr_assert_eq(commit_to_items(depot, 6, 1), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 150).log_rows, 0);
    cr_assert_eq(rows_of(depot, 150).stock.reserved_units, 1);
    cr_assert_eq(rows_of(depot, 6).stock.reserved_units, 1);
    depot_expect_sound(depot);
    cr_assert_eq(commit_to_items(depot, 6, 1), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 6).log_rows, 0, "few items, in place again");
    cr_assert_eq(commit_to_items(depot, 0, LOG_ITEMS_MIN), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 6).log_rows, 1);
    depot_expect_sound(depot);
    cr_assert_eq(reserved_of(depot, 5), STO_LOG_ROWS_MAX - 1);
    cr_assert_eq(reserved_of(depot, 6), 2);
    depot_free(depot);
}

Test(stock_log, a_new_sale_folds_and_has_rows_of_its_own)
{
    struct depot *depot = make();
    cr_assert_eq(commit_to_items(depot, 0, LOG_ITEMS_MIN), STO_DURABLE);
    depot_commit_sale(depot, 1, ITEMS, 3 * LOG_ITEMS_MIN, 50);
    struct rows rows = rows_of(depot, ITEMS);
    cr_assert_eq(rows.log_rows, 0);
    cr_assert_eq(rows.stock.initial_units, 50);
    cr_assert_eq(rows_of(depot, 0).stock.reserved_units, 1);
    depot_expect_sound(depot);
    depot_free(depot);
}

Test(stock_log, a_refused_batch_leaves_it_as_it_was)
{
    struct depot *depot = make();
    fill_log(depot);
    depot_close(depot);
    depot->options.free_bytes_min = 1ull << 60;
    depot_restart(depot);
    cr_assert_eq(commit_to_items(depot, 6, 1), STO_REFUSED, "folding would have been next");
    cr_assert_eq(rows_of(depot, 6).log_rows, STO_LOG_ROWS_MAX);
    cr_assert_eq(reserved_of(depot, 6), 0);
    depot->options.free_bytes_min = 0;
    depot_restart(depot);
    cr_assert_eq(commit_to_items(depot, 6, 1), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 6).log_rows, 0);
    depot_expect_sound(depot);
    depot_free(depot);
}

/* --- damage --- */

/* Does something to row `number` of the log behind storage's back, and expects verify and recovery
 * to say these words. */
static void expect_found(struct depot *depot, uint64_t number,
                         void (*harm)(MDB_txn *, MDB_dbi, MDB_val *), const char *words)
{
    MDB_txn *txn;
    MDB_val key = {sizeof(number), &number};
    cr_assert_eq(mdb_txn_begin(depot->env->lmdb, NULL, 0, &txn), 0);
    harm(txn, depot->env->tables.stock_log, &key);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    depot_reopen(depot);
    struct depot_found *found = malloc(sizeof(*found));
    cr_assert_neq(depot_recover(depot, found, 1000), TG_ERR_OK);
    cr_assert_not_null(strstr(depot->fault.text, words), "%s", depot->fault.text);
    depot_found_free(found);
    free(found);
    depot_close(depot);
    struct sto_verify_report report;
    cr_assert_eq(sto_verify(depot->dir, NULL, NULL, NULL, &report, &depot->fault), TG_ERR_BROKEN);
    depot_free(depot);
}

static struct depot *make_with_log_of(uint32_t rows)
{
    struct depot *depot = make();
    for (uint32_t i = 0; i < rows; i++)
        cr_assert_eq(commit_to_items(depot, 0, LOG_ITEMS_MIN), STO_DURABLE);
    return depot;
}

static void flip(MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
    uint8_t copy[256];
    MDB_val value;
    cr_assert_eq(mdb_get(txn, table, key, &value), 0);
    memcpy(copy, value.mv_data, value.mv_size);
    copy[value.mv_size - 1] ^= 1;
    value.mv_data = copy;
    cr_assert_eq(mdb_put(txn, table, key, &value, 0), 0);
}

static void take_away(MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
    cr_assert_eq(mdb_del(txn, table, key, NULL), 0);
}

/* A row under a right checksum that says one unit more than there is. */
static void forge(MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
    uint8_t row[STO_LOG_ROW_BYTES + STO_LOG_ENTRY_BYTES];
    struct tg_stock stock = {.available_units = STOCK_UNITS, .reserved_units = 1};
    MDB_val value = {sizeof(row), row};
    uint64_t number;
    memcpy(&number, key->mv_data, sizeof(number));
    sto_row_log_put(row, 0, 0, &stock);
    sto_row_log_seal(row, number, 1);
    cr_assert_eq(mdb_put(txn, table, key, &value, 0), 0);
}

/* One of an item that nobody has. */
static void name_a_stranger(MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
    uint8_t row[STO_LOG_ROW_BYTES + STO_LOG_ENTRY_BYTES];
    struct tg_stock stock = {.available_units = 1};
    MDB_val value = {sizeof(row), row};
    uint64_t number;
    memcpy(&number, key->mv_data, sizeof(number));
    sto_row_log_put(row, 0, UINT32_MAX, &stock);
    sto_row_log_seal(row, number, 1);
    cr_assert_eq(mdb_put(txn, table, key, &value, 0), 0);
}

Test(stock_log, a_flipped_bit_is_found)
{
    expect_found(make_with_log_of(3), 2, flip, "table stock_log, row 2: its checksum");
}

Test(stock_log, a_missing_row_is_found)
{
    expect_found(make_with_log_of(3), 2, take_away,
                 "table stock_log, row 3: the row before it is missing");
}

Test(stock_log, a_missing_last_row_is_found_by_its_orders)
{
    expect_found(make_with_log_of(3), 3, take_away,
                 "table stock, row 0: it says reserved 2 and sold 0, its orders add up to reserved "
                 "3 and sold 0");
}

Test(stock_log, an_entry_that_breaks_promise_1_is_found)
{
    expect_found(make_with_log_of(3), 3, forge, "table stock_log, row 3: initial 100000 of item 0");
}

Test(stock_log, an_entry_of_no_item_is_found)
{
    expect_found(make_with_log_of(1), 1, name_a_stranger,
                 "table stock_log, row 1: its item 4294967295 has no stock row");
}

/* A database of format 2 has no such table: it gets one when it is opened. */
Test(stock_log, a_database_without_it_is_taken_over)
{
    struct depot *depot = make();
    MDB_txn *txn;
    uint8_t format[STO_FORMAT_ROW_BYTES];
    MDB_val key = {sizeof(STO_FORMAT_KEY) - 1, (void *)(uintptr_t)STO_FORMAT_KEY};
    MDB_val value = {sizeof(format), format};
    cr_assert_eq(commit_to_items(depot, 0, 1), STO_DURABLE);
    cr_assert_eq(mdb_txn_begin(depot->env->lmdb, NULL, 0, &txn), 0);
    sto_row_format_encode(format, 2);
    cr_assert_eq(mdb_put(txn, depot->env->tables.meta, &key, &value, 0), 0);
    cr_assert_eq(mdb_drop(txn, depot->env->tables.stock_log, 1), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    depot_expect_sound(depot);
    cr_assert_eq(commit_to_items(depot, 0, LOG_ITEMS_MIN), STO_DURABLE);
    cr_assert_eq(rows_of(depot, 0).log_rows, 1);
    depot_expect_sound(depot);
    cr_assert_eq(reserved_of(depot, 0), 2);
    depot_free(depot);
}
