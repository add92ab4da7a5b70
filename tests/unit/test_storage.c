/* Storage on real LMDB: what was durable comes back, what was refused never happened, and what is
 * damaged is named. Faults of the disk are injected under LMDB, by way of its system calls. */
#include "proto/verdict.h"
#include "storage/env.h"
#include "storage/rowbytes.h"
#include "storage/rows.h"
#include "storage/storage.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- a disk that fails on demand: these stand before libc's for every library --- */

static struct {
    int page_write; /* errno for the next writes of pages, 0: none */
    int meta_write; /* for the next writes of a meta page */
    int data_sync;  /* for the next fdatasync */
    unsigned syncs; /* fdatasync calls so far */
} disk;

static const off_t meta_end = 2 * 4096;

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pwrite");
    int failure = offset < meta_end ? disk.meta_write : disk.page_write;
    if (!failure)
        return next(fd, data, size, offset);
    errno = failure;
    return -1;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*next)(int, const struct iovec *, int);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "writev");
    if (!disk.page_write)
        return next(fd, parts, count);
    errno = disk.page_write;
    return -1;
}

int fdatasync(int fd)
{
    static int (*next)(int);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
    disk.syncs++;
    if (!disk.data_sync)
        return next(fd);
    errno = disk.data_sync;
    return -1;
}

/* --- tampering: changes a row behind storage's back, between two opens --- */

enum table {
    META,
    SALES,
    ITEMS,
    STOCK,
    ORDERS,
    ADJUSTMENTS,
};

/* Puts `row` at `key`; with `row` NULL removes it; `flip` >= 0 instead inverts that byte of it. */
static void tamper(struct depot *f, enum table table, void *key_data, size_t key_bytes, void *row,
                   size_t row_bytes, int flip)
{
    if (f->env)
        sto_env_close(f->env);
    f->env = NULL;
    MDB_env *lmdb;
    MDB_txn *txn;
    struct sto_tables tables;
    cr_assert_eq(mdb_env_create(&lmdb), 0);
    cr_assert_eq(mdb_env_set_maxdbs(lmdb, STO_TABLES), 0);
    cr_assert_eq(mdb_env_open(lmdb, f->dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(lmdb, NULL, 0, &txn), 0);
    cr_assert_eq(sto_tables_open(txn, 0, &tables), 0);
    const MDB_dbi tables_by_name[] = {tables.meta,  tables.sales,  tables.items,
                                      tables.stock, tables.orders, tables.adjustments};
    MDB_dbi dbi = tables_by_name[table];
    MDB_val key = {key_bytes, key_data}, value = {row_bytes, row};
    uint8_t copy[256];
    if (flip >= 0) {
        cr_assert_eq(mdb_get(txn, dbi, &key, &value), 0);
        memcpy(copy, value.mv_data, value.mv_size);
        copy[flip] ^= 0xff;
        value.mv_data = copy;
    }
    cr_assert_eq(value.mv_data ? mdb_put(txn, dbi, &key, &value, 0) : mdb_del(txn, dbi, &key, NULL),
                 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(lmdb);
}

static void tamper_stock(struct depot *f, uint32_t item, struct tg_stock stock)
{
    uint8_t row[STO_STOCK_ROW_BYTES];
    sto_row_stock_encode(row, item, &stock);
    tamper(f, STOCK, &item, sizeof(item), row, sizeof(row), -1);
}

/* Puts an order row; its id is `order->order_id`. */
static void tamper_order(struct depot *f, struct tg_record *order)
{
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    sto_row_plain_encode(row, order);
    tamper(f, ORDERS, &order->order_id, sizeof(order->order_id), row, sto_row_plain_bytes(order),
           -1);
}

struct found {
    char lines[32 * 1024];
    unsigned count;
};

static void finding_note(void *context, const char *line)
{
    struct found *found = context;
    size_t used = strlen(found->lines);
    found->count++;
    snprintf(found->lines + used, sizeof(found->lines) - used, "%s\n", line);
}

/* Closes the environment: LMDB allows one open of it in a process. */
static enum tg_error verify(struct depot *f, struct sto_verify_report *report, struct found *found)
{
    if (f->env)
        sto_env_close(f->env);
    f->env = NULL;
    *found = (struct found){0};
    return sto_verify(f->dir, finding_note, NULL, found, report, &f->fault);
}

/* Recovery must refuse with `error`, and with all of `words` in its text. */
static void recovery_refuses(struct depot *f, enum tg_error error, const char *const words[])
{
    struct depot_found r;
    if (!f->env)
        depot_open(f);
    cr_assert_eq(depot_recover(f, &r, 100000), error, "%s", f->fault.text);
    cr_assert_eq(f->fault.error, error);
    for (int i = 0; words[i]; i++)
        cr_assert_not_null(strstr(f->fault.text, words[i]), "\"%s\" is not in \"%s\"", words[i],
                           f->fault.text);
    depot_found_free(&r);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* --- what was durable comes back --- */

Test(storage, a_new_database_recovers_to_nothing)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct depot_found r;
    cr_assert_eq(depot_recover(f, &r, 0), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.sale_count + r.order_count, 0);
    depot_found_free(&r);
    depot_free(f);
}

Test(storage, a_directory_is_created_for_its_owner_only)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    sto_env_close(f->env);
    char inner[96];
    struct stat stat_of;
    snprintf(inner, sizeof(inner), "%s/data", f->dir);
    f->options.data_dir = inner;
    depot_open(f);
    cr_assert_eq(stat(inner, &stat_of), 0);
    cr_assert_eq(stat_of.st_mode & 0777, 0700);
    sto_env_close(f->env);
    cr_assert_eq(system(strcat(strcpy(inner, "rm -r "), f->dir)), 0);
    free(f);
}

Test(storage, what_was_committed_comes_back_after_a_restart)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 10, 3, 1000);
    depot_commit_sale(f, 2, 13, 2, 5);
    struct tg_record records[] = {
        depot_order(f, 10, 1, 2),
        depot_order(f, 12, 2, 1),
        depot_adjust(12, -9),
        depot_adjust(14, 20),
        {.kind = TG_RECORD_FENCE},
        depot_order(f, 10, 3, 7),
        {.kind = TG_RECORD_SALE_STATE, .sale_state = {.sale = 2, .state = TG_SALE_PAUSED}}};
    cr_assert_eq(depot_commit(f, records, 7), STO_DURABLE, "%s", f->fault.text);
    for (int i = 0; i < 7; i++)
        cr_assert_eq(records[i].outcome, TG_OUTCOME_DURABLE);
    depot_reopen(f);

    struct depot_found *r = malloc(sizeof(*r));
    cr_assert_eq(depot_recover(f, r, 10), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r->sale_count, 2);
    cr_assert_eq(r->sales[0]->sale_id, 1001);
    cr_assert_eq(r->sales[0]->item_count, 3);
    cr_assert_eq(r->sales[0]->items[2].item, 12);
    cr_assert_eq(r->sales[0]->items[2].stock_units, 1000);
    cr_assert_eq(r->sales[0]->state, TG_SALE_ACTIVE);
    cr_assert_eq(r->sales[1]->state, TG_SALE_PAUSED);
    struct tg_stock ten = {1000, 991, 9, 0, 0}, twelve = {1000, 990, 1, 0, -9},
                    fourteen = {5, 25, 0, 0, 20};
    cr_assert_arr_eq(&r->stocks[10], &ten, sizeof(ten));
    cr_assert_arr_eq(&r->stocks[12], &twelve, sizeof(twelve));
    cr_assert_arr_eq(&r->stocks[14], &fourteen, sizeof(fourteen));
    cr_assert_eq(r->order_count, 3);
    const int of_record[] = {0, 1, 5};
    for (int i = 0; i < 3; i++) {
        const struct tg_record *in = &records[of_record[i]];
        cr_assert_eq(r->orders[i].order_id, in->order_id);
        cr_assert_eq(r->orders[i].quantity, in->order.quantity);
        cr_assert_eq(r->orders[i].user_id, in->order.user_id);
        cr_assert_arr_eq(r->orders[i].request_id, in->order.request_id, TG_REQUEST_ID_BYTES);
    }
    cr_assert_eq(r->stats.sales, 2);
    cr_assert_eq(r->stats.items, 5);
    cr_assert_eq(r->stats.orders, 3);
    depot_found_free(r);
    free(r);
    depot_free(f);
}

Test(storage, order_ids_grow_over_restarts_and_carry_the_partition)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1020, 10, 1000);
    uint64_t last = 0;
    for (uint32_t round = 0; round < 3; round++) {
        struct tg_record records[10];
        for (uint32_t i = 0; i < 10; i++)
            records[i] = depot_order(f, 1029 - i, i, 1);
        cr_assert_eq(depot_commit(f, records, 10), STO_DURABLE);
        for (uint32_t i = 0; i < 10; i++) {
            cr_assert_gt(records[i].order_id, last);
            cr_assert_eq(records[i].order_id % TG_PARTITIONS, (1029 - i) % TG_PARTITIONS);
            last = records[i].order_id;
        }
        cr_assert_eq(sto_commit_stats(f->env)->sequence, last >> TG_PARTITION_BITS);
        depot_reopen(f);
        struct depot_found r;
        cr_assert_eq(depot_recover(f, &r, 100), TG_ERR_OK, "%s", f->fault.text);
        cr_assert_eq(sto_commit_stats(f->env)->sequence, last >> TG_PARTITION_BITS);
        depot_found_free(&r);
    }
    depot_free(f);
}

Test(storage, a_batch_of_fences_touches_no_disk)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct tg_record fences[2] = {{.kind = TG_RECORD_FENCE}, {.kind = TG_RECORD_FENCE}};
    unsigned syncs = disk.syncs;
    cr_assert_eq(depot_commit(f, fences, 2), STO_DURABLE);
    cr_assert_eq(disk.syncs, syncs);
    cr_assert_eq(fences[1].outcome, TG_OUTCOME_DURABLE);
    cr_assert_eq(sto_commit_stats(f->env)->commits, 0);
    depot_commit_sale(f, 1, 1, 1, 1);
    cr_assert_gt(disk.syncs, syncs, "a batch with a change is synced");
    depot_free(f);
}

Test(storage, commit_stats_count_what_happened)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 1, 100);
    depot_commit_orders(f, 1, 40);
    const struct sto_commit_stats *stats = sto_commit_stats(f->env);
    cr_assert_eq(stats->commits, 2);
    cr_assert_eq(stats->records, 41);
    cr_assert_eq(stats->sequence, 40);
    cr_assert_eq(stats->refused_batches, 0);
    cr_assert_gt(stats->commit_ns_last, 0);
    cr_assert_geq(stats->commit_ns_max, stats->commit_ns_last);
    f->env->options.free_bytes_min = UINT64_MAX / 2;
    struct tg_record order = depot_order(f, 1, 1, 1);
    cr_assert_eq(depot_commit(f, &order, 1), STO_REFUSED);
    cr_assert_eq(stats->refused_batches, 1);
    cr_assert_eq(stats->commits, 2);
    cr_assert_eq(stats->records, 41);
    depot_free(f);
}

Test(storage, a_reservation_beyond_the_stock_stops_the_process, .signal = SIGABRT)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 1, 10);
    struct tg_record order = depot_order(f, 1, 1, 11);
    depot_unlink(f);
    depot_commit(f, &order, 1);
}

/* --- opening --- */

Test(storage, a_second_open_is_refused_and_names_the_process)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_env *second;
    struct tg_fault fault;
    char pid[24];
    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    cr_assert_eq(sto_env_open(&f->options, &second, &fault), TG_ERR_LOCKED);
    cr_assert_not_null(strstr(fault.text, pid), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, f->dir), "%s", fault.text);
    pid_t child = fork();
    if (child == 0)
        _exit(sto_env_open(&f->options, &second, &fault) == TG_ERR_LOCKED ? 0 : 1);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    depot_reopen(f);
    depot_free(f);
}

Test(storage, a_newer_format_is_refused_with_both_versions)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    uint8_t row[STO_FORMAT_ROW_BYTES];
    char key[] = STO_FORMAT_KEY;
    sto_row_format_encode(row, 41);
    tamper(f, META, key, sizeof(key) - 1, row, sizeof(row), -1);
    struct tg_fault fault;
    cr_assert_eq(sto_env_open(&f->options, &f->env, &fault), TG_ERR_VERSION);
    cr_assert_not_null(strstr(fault.text, "version 41"), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, "knows version 4"), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, "upgrade"), "%s", fault.text);
    struct sto_verify_report report;
    struct found found;
    f->env = NULL;
    cr_assert_eq(verify(f, &report, &found), TG_ERR_VERSION);
    depot_free(f);
}

Test(storage, a_damaged_format_record_is_refused)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    char key[] = STO_FORMAT_KEY;
    tamper(f, META, key, sizeof(key) - 1, NULL, 0, 4);
    cr_assert_eq(sto_env_open(&f->options, &f->env, &f->fault), TG_ERR_CORRUPT);
    f->env = NULL;
    struct sto_verify_report report;
    struct found found;
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.crc_errors, 1);
    cr_assert_not_null(strstr(found.lines, "table meta, row format"), "%s", found.lines);
    depot_free(f);
}

/* As a turned bit in the record's key leaves it. */
Test(storage, verify_tells_of_a_database_without_its_format_record)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    char key[] = "normat";
    uint8_t row[STO_FORMAT_ROW_BYTES];
    sto_row_format_encode(row, STO_FORMAT_VERSION);
    tamper(f, META, key, sizeof(key) - 1, row, sizeof(row), -1);
    cr_assert_eq(sto_env_open(&f->options, &f->env, &f->fault), TG_ERR_CORRUPT);
    cr_assert_not_null(strstr(f->fault.text, "table meta, row normat"), "%s", f->fault.text);
    f->env = NULL;
    struct sto_verify_report report;
    struct found found;
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_not_null(strstr(found.lines, "table meta, row normat"), "%s", found.lines);
    depot_free(f);
}

Test(storage, a_file_that_was_cut_off_is_refused)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 100, 10);
    sto_env_close(f->env);
    f->env = NULL;
    char path[96];
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    cr_assert_eq(truncate(path, 5 * 4096), 0);
    cr_assert_eq(sto_env_open(&f->options, &f->env, &f->fault), TG_ERR_CORRUPT);
    cr_assert_not_null(strstr(f->fault.text, "cut off"), "%s", f->fault.text);
    f->env = NULL;
    struct sto_verify_report report;
    struct found found;
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_gt(report.page_errors, 0);
    cr_assert_not_null(strstr(found.lines, "cut off"), "%s", found.lines);
    depot_free(f);
}

Test(storage, options_that_cannot_be_are_refused)
{
    struct sto_options options = {
        .data_dir = "/tmp/never", .map_bytes = 4097, .items_max = 1, .readers_max = 1};
    struct sto_env *env;
    struct tg_fault fault;
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_INVALID);
    options.map_bytes = 1 * DEPOT_MIB;
    options.items_max = 0;
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_INVALID);
    options.items_max = 1;
    options.data_dir = "/proc/no/such";
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_SYSTEM);
    cr_assert_not_null(strstr(fault.text, "/proc/no/such"), "%s", fault.text);
}

/* --- a database of format 1 --- */

static void format_is(const struct depot *f, uint32_t wanted)
{
    MDB_env *lmdb;
    MDB_txn *txn;
    MDB_dbi meta;
    MDB_val key = {sizeof(STO_FORMAT_KEY) - 1, (void *)(uintptr_t)STO_FORMAT_KEY}, value;
    uint32_t version;
    cr_assert_eq(mdb_env_create(&lmdb), 0);
    cr_assert_eq(mdb_env_set_maxdbs(lmdb, 1), 0);
    cr_assert_eq(mdb_env_open(lmdb, f->dir, MDB_RDONLY, 0600), 0);
    cr_assert_eq(mdb_txn_begin(lmdb, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", 0, &meta), 0);
    cr_assert_eq(mdb_get(txn, meta, &key, &value), 0);
    cr_assert_null(sto_row_format_decode(value.mv_data, value.mv_size, &version));
    cr_assert_eq(version, wanted);
    mdb_txn_abort(txn);
    mdb_env_close(lmdb);
}

/* What format 1 put into a table, by LMDB alone. */
static void old_put(MDB_txn *txn, const char *table, const void *key, size_t key_bytes, void *row,
                    size_t size)
{
    MDB_dbi dbi;
    unsigned flags = strcmp(table, "meta") == 0 ? 0 : MDB_INTEGERKEY;
    MDB_val key_value = {key_bytes, (void *)(uintptr_t)key}, value = {size, row};
    cr_assert_eq(mdb_dbi_open(txn, table, MDB_CREATE | flags, &dbi), 0);
    if (!row)
        return;
    sto_row_seal(row, size, key, key_bytes);
    cr_assert_eq(mdb_put(txn, dbi, &key_value, &value, 0), 0);
}

/* Sale 1 with item 1: 100 units, two of them reserved by two orders. */
static void old_rows_put(MDB_txn *txn)
{
    const uint32_t one = 1;
    uint8_t format[8] = {0, 0, 0, 0, 1};
    uint8_t sale[44] = {0, 0, 0, 0, 1, TG_SALE_SECKILL, TG_SALE_ACTIVE, 4, 0xe9, 3};
    uint8_t item[39] = {0, 0, 0, 0, 1, 3, 0, 0, 1, 0, 0, 0, 2};
    uint8_t stock[32] = {0, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0, 98, 0, 0, 0, 2};
    sale[16] = 1; /* starts */
    sale[24] = 2; /* ends */
    sale[32] = 1; /* items */
    memcpy(sale + 36, "EUR", 3);
    memcpy(sale + 40, "Sale", 4);
    memcpy(item + 36, "SKU", 3);
    old_put(txn, "meta", STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1, format, sizeof(format));
    old_put(txn, "sales", &one, sizeof(one), sale, sizeof(sale));
    old_put(txn, "items", &one, sizeof(one), item, sizeof(item));
    old_put(txn, "stock", &one, sizeof(one), stock, sizeof(stock));
    old_put(txn, "adjustments", NULL, 0, NULL, 0);
    for (uint64_t i = 1; i <= 2; i++) {
        uint64_t order_id = i << TG_PARTITION_BITS | 1;
        uint8_t order[59] = {0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, (uint8_t)i};
        order[32] = (uint8_t)i; /* user */
        order[40] = 100;        /* price */
        order[48] = 9;          /* accepted */
        memcpy(order + 56, "ext", 3);
        old_put(txn, "orders", &order_id, sizeof(order_id), order, sizeof(order));
    }
}

/* A depot whose database, not open yet, is one of format 1. */
static struct depot *depot_of_format_1(void)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    MDB_env *lmdb;
    MDB_txn *txn;
    depot_close(f);
    depot_unlink(f);
    cr_assert_eq(mkdir(f->dir, 0700), 0);
    cr_assert_eq(mdb_env_create(&lmdb), 0);
    cr_assert_eq(mdb_env_set_maxdbs(lmdb, 6), 0);
    cr_assert_eq(mdb_env_set_mapsize(lmdb, 16 * DEPOT_MIB), 0);
    cr_assert_eq(mdb_env_open(lmdb, f->dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(lmdb, NULL, 0, &txn), 0);
    old_rows_put(txn);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(lmdb);
    return f;
}

Test(storage, a_database_of_format_1_is_verified_as_it_is)
{
    struct depot *f = depot_of_format_1();
    struct sto_verify_report report;
    struct found found;
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "%s: %s", f->fault.text, found.lines);
    cr_assert_eq(report.orders, 2);
    cr_assert_eq(report.units_reserved, 2);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "looking at it has changed nothing");
    format_is(f, 1);
    depot_free(f);
}

Test(storage, a_database_of_format_1_is_taken_over_and_goes_on)
{
    struct depot *f = depot_of_format_1();
    struct sto_verify_report report;
    struct found found;
    depot_open(f);
    struct depot_found r;
    cr_assert_eq(depot_recover(f, &r, 10), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.order_count, 2);
    cr_assert_eq(r.orders[1].user_id, 2);
    cr_assert_arr_eq(r.orders[1].external_id, "ext", 3);
    cr_assert_eq(r.sales[0]->sale_id, 1001);
    cr_assert_eq(r.sales[0]->payment_window_s, TG_PAYMENT_WINDOW_S_MAX);
    cr_assert_eq(r.sales[0]->announced, TG_ANNOUNCED_START | TG_ANNOUNCED_END);
    cr_assert_eq(r.sales[0]->items[0].stock_policy, TG_POLICY_RESERVE);

    /* An order of before is paid, a new one comes, the sale is paused. */
    struct tg_change *change = depot_change(f, 1, 1, 1);
    change->row = r.orders[0];
    change->life.amount_minor = 100;
    depot_change_again(change);
    depot_change_pay(change);
    struct tg_record records[3] = {
        depot_change_record(change),
        depot_order(f, 1, 3, 1),
        {.kind = TG_RECORD_SALE_STATE, .sale_state = {.sale = 1, .state = TG_SALE_PAUSED}}};
    memset(records[1].order.request_id, 9, TG_REQUEST_ID_BYTES);
    depot_commit_all(f, records, 3);
    cr_assert_eq(change->life.last_event, 4);
    cr_assert_eq(records[1].order_id >> TG_PARTITION_BITS, 5);
    free(change);
    depot_found_free(&r);
    depot_restart(f);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "%s", found.lines);
    cr_assert_eq(report.orders, 3);
    format_is(f, STO_FORMAT_VERSION);
    depot_free(f);
}

/* --- full, and worse --- */

/* The image of all that a refused batch must leave alone. */
struct image {
    struct tg_stock stocks[DEPOT_ITEMS_MAX];
    bool known[DEPOT_ITEMS_MAX];
    uint64_t sequence;
    uint64_t adjustment_last;
};

static struct image *image_take(const struct depot *f)
{
    struct image *image = calloc(1, sizeof(*image));
    for (uint32_t i = 0; i < DEPOT_ITEMS_MAX; i++) {
        image->stocks[i] = f->env->items[i].stock;
        image->known[i] = f->env->items[i].known;
    }
    image->sequence = f->env->stats.sequence;
    image->adjustment_last = f->env->adjustment_last;
    return image;
}

/* Commits one record of each kind, which must be refused and leave no trace. */
static void refused_without_trace(struct depot *f)
{
    struct image *before = image_take(f);
    struct tg_sale_def *def = depot_sale(9, 2000, 2, 10);
    struct tg_record records[] = {depot_order(f, 1, 1, 1),   {.kind = TG_RECORD_SALE, .sale = def},
                                  depot_adjust(1, 5),        depot_order(f, 1, 2, 2),
                                  {.kind = TG_RECORD_FENCE}, depot_order(f, 2, 1, 1)};
    cr_assert_eq(depot_commit(f, records, 6), STO_REFUSED, "%s", f->fault.text);
    cr_assert_eq(f->fault.error, TG_ERR_FULL);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(records[i].outcome, TG_OUTCOME_REFUSED);
        cr_assert_eq(records[i].order_id, 0);
    }
    struct image *after = image_take(f);
    cr_assert_arr_eq(before, after, sizeof(*before));
    free(def);
    free(before);
    free(after);
}

/* Reads still work, and the database holds exactly what was durable. */
static void stands_with_orders(struct depot *f, uint64_t order_id, uint32_t orders)
{
    struct sto_reader *reader;
    struct tg_order_row row;
    struct tg_life life;
    bool has_life;
    cr_assert_eq(sto_reader_open(f->env, &reader, &f->fault), TG_ERR_OK);
    cr_assert_eq(sto_read_order(reader, order_id, &row, &life, &has_life, &f->fault), TG_ERR_OK,
                 "%s", f->fault.text);
    sto_reader_close(reader);
    depot_reopen(f);
    struct depot_found r;
    cr_assert_eq(depot_recover(f, &r, 100000), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.order_count, orders);
    depot_found_free(&r);
}

Test(storage, a_full_filesystem_refuses_and_rolls_back)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 3, 1000);
    uint64_t last = depot_commit_orders(f, 1, 10);
    f->env->options.free_bytes_min = UINT64_MAX / 2;
    refused_without_trace(f);
    cr_assert_not_null(strstr(f->fault.text, f->dir), "%s", f->fault.text);
    f->env->options.free_bytes_min = 0;
    cr_assert_gt(depot_commit_orders(f, 1, 10), last);
    stands_with_orders(f, last, 20);
    depot_free(f);
}

Test(storage, a_write_without_space_refuses_and_rolls_back)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 3, 1000);
    uint64_t last = depot_commit_orders(f, 1, 10);
    disk.page_write = ENOSPC;
    refused_without_trace(f);
    disk.page_write = EDQUOT;
    refused_without_trace(f);
    disk.page_write = 0;
    uint64_t next = depot_commit_orders(f, 1, 10);
    cr_assert_eq(next >> TG_PARTITION_BITS, (last >> TG_PARTITION_BITS) + 10);
    stands_with_orders(f, last, 20);
    depot_free(f);
}

Test(storage, a_full_map_refuses_and_goes_on_with_a_larger_one)
{
    struct depot *f = depot_make(64 * 4096);
    depot_commit_sale(f, 1, 1, 3, 1000000);
    uint64_t last = depot_commit_orders(f, 1, 10);
    struct image *before = image_take(f);
    struct tg_record *records = calloc(8000, sizeof(*records));
    for (uint32_t i = 0; i < 8000; i++)
        records[i] = depot_order(f, 1 + i % 3, i, 1);
    cr_assert_eq(depot_commit(f, records, 8000), STO_REFUSED);
    cr_assert_not_null(strstr(f->fault.text, "map of 262144 bytes is full"), "%s", f->fault.text);
    struct image *after = image_take(f);
    cr_assert_arr_eq(before, after, sizeof(*before));
    cr_assert_eq(records[0].outcome, TG_OUTCOME_REFUSED);
    cr_assert_eq(records[7999].outcome, TG_OUTCOME_REFUSED);
    uint64_t next = depot_commit_orders(f, 1, 10);
    cr_assert_eq(next >> TG_PARTITION_BITS, (last >> TG_PARTITION_BITS) + 10);
    f->options.map_bytes = 16 * DEPOT_MIB;
    stands_with_orders(f, last, 20);
    cr_assert_eq(depot_commit(f, records, 8000), STO_DURABLE, "%s", f->fault.text);
    free(records);
    free(before);
    free(after);
    depot_free(f);
}

/* After `arm` fails the commit, nothing may be answered; a restart finds what was durable. */
static void unknown_then_recovered(struct depot *f, int *failure, int code)
{
    depot_commit_sale(f, 1, 1, 3, 1000);
    uint64_t last = depot_commit_orders(f, 1, 10);
    struct tg_record order = depot_order(f, 1, 1, 1);
    *failure = code;
    cr_assert_eq(depot_commit(f, &order, 1), STO_UNKNOWN);
    *failure = 0;
    cr_assert_eq(order.outcome, 0);
    cr_assert_not_null(strstr(f->fault.text, "must stop"), "%s", f->fault.text);
    depot_reopen(f);
    struct depot_found r;
    cr_assert_eq(depot_recover(f, &r, 100), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.orders[9].order_id, last);
    depot_found_free(&r);
}

Test(storage, a_failed_sync_is_an_unknown_outcome)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    unknown_then_recovered(f, &disk.data_sync, EIO);
    depot_free(f);
}

Test(storage, a_failed_write_is_an_unknown_outcome)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    unknown_then_recovered(f, &disk.page_write, EIO);
    depot_free(f);
}

Test(storage, a_meta_page_without_space_is_an_unknown_outcome)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    unknown_then_recovered(f, &disk.meta_write, ENOSPC);
    depot_free(f);
}

Test(storage, no_batch_passes_after_an_unknown_outcome, .signal = SIGABRT)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 3, 1000);
    struct tg_record order = depot_order(f, 1, 1, 1);
    disk.data_sync = EIO;
    if (depot_commit(f, &order, 1) != STO_UNKNOWN)
        return;
    disk.data_sync = 0;
    depot_unlink(f);
    depot_commit(f, &order, 1);
}

/* --- against a naive model --- */

struct model {
    struct tg_stock stocks[16];
    uint64_t orders;
};

static uint64_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

/* A random batch that the model allows; `after` is the model if it becomes durable. */
static uint32_t batch_random(struct depot *f, uint64_t *seed, struct model *after,
                             struct tg_record *records)
{
    uint32_t count = 1 + (uint32_t)random_next(seed) % 200;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t item = (uint32_t)random_next(seed) % 16;
        struct tg_stock *stock = &after->stocks[item];
        uint32_t quantity = 1 + (uint32_t)random_next(seed) % 3;
        if (quantity <= stock->available_units) {
            records[i] = depot_order(f, item, f->requests, quantity);
            stock->available_units -= quantity;
            stock->reserved_units += quantity;
            after->orders++;
        } else {
            records[i] = depot_adjust(item, 50);
            stock->available_units += 50;
            stock->restocked_units += 50;
        }
    }
    return count;
}

Test(storage, random_batches_and_failures_agree_with_a_model)
{
    struct depot *f = depot_make(64 * DEPOT_MIB);
    struct model model = {0};
    struct tg_record *records = calloc(200, sizeof(*records));
    uint64_t seed = 8;
    depot_commit_sale(f, 1, 0, 16, 100);
    for (int i = 0; i < 16; i++)
        model.stocks[i] = (struct tg_stock){.initial_units = 100, .available_units = 100};
    for (int round = 0; round < 300; round++) {
        struct model after = model;
        uint32_t count = batch_random(f, &seed, &after, records);
        uint64_t fate = random_next(&seed) % 8;
        disk.page_write = fate == 0 ? ENOSPC : 0;
        f->env->options.free_bytes_min = fate == 1 ? UINT64_MAX / 2 : 0;
        enum sto_result result = depot_commit(f, records, count);
        disk.page_write = 0;
        cr_assert_eq(result, fate < 2 ? STO_REFUSED : STO_DURABLE, "%s", f->fault.text);
        if (result == STO_DURABLE)
            model = after;
        if (round % 50 == 49) {
            depot_reopen(f);
            struct depot_found *r = malloc(sizeof(*r));
            cr_assert_eq(depot_recover(f, r, 100000), TG_ERR_OK, "%s", f->fault.text);
            cr_assert_eq(r->order_count, model.orders);
            cr_assert_arr_eq(r->stocks, model.stocks, sizeof(model.stocks));
            depot_found_free(r);
            free(r);
        }
        for (uint32_t i = 0; i < 16; i++)
            cr_assert_arr_eq(&f->env->items[i].stock, &model.stocks[i], sizeof(model.stocks[i]));
        cr_assert_eq(sto_commit_stats(f->env)->sequence, model.orders);
    }
    struct sto_verify_report report;
    struct found found;
    verify(f, &report, &found);
    cr_assert_eq(report.orders, model.orders);
    cr_assert_eq(report.crc_errors + report.oversold_items + report.mismatched_items +
                     report.duplicate_requests + report.orphan_orders,
                 0, "%s", found.lines);
    free(records);
    depot_free(f);
}

/* --- damage is named --- */

Test(storage, a_damaged_order_stops_recovery_and_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    char name[64];
    depot_commit_sale(f, 1, 1, 1, 100);
    uint64_t last = depot_commit_orders(f, 1, 10);
    snprintf(name, sizeof(name), "table orders, row %llu:", (unsigned long long)last);
    tamper(f, ORDERS, &last, sizeof(last), NULL, 0, 33);
    recovery_refuses(f, TG_ERR_CORRUPT, WORDS(name, "checksum"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.crc_errors, 1);
    cr_assert_eq(report.orders, 10);
    cr_assert_not_null(strstr(found.lines, name), "%s", found.lines);
    depot_free(f);
}

static bool order_count(void *context, const struct tg_order_row *row, const struct tg_life *life)
{
    (void)row;
    (void)life;
    ++*(uint32_t *)context;
    return true;
}

Test(storage, a_damaged_order_is_not_read)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 1, 100);
    uint64_t last = depot_commit_orders(f, 1, 10);
    tamper(f, ORDERS, &last, sizeof(last), NULL, 0, 33);
    depot_open(f);
    struct sto_reader *reader;
    struct tg_order_row row;
    struct tg_life life;
    uint32_t visited = 0;
    bool has_life, end;
    cr_assert_eq(sto_reader_open(f->env, &reader, &f->fault), TG_ERR_OK);
    cr_assert_eq(sto_read_order(reader, last, &row, &life, &has_life, &f->fault), TG_ERR_CORRUPT);
    cr_assert_eq(sto_read_orders(reader, 0, 20, order_count, &visited, &last, &end, &f->fault),
                 TG_ERR_CORRUPT);
    cr_assert_eq(visited, 9, "up to the damage");
    sto_reader_close(reader);
    depot_free(f);
}

Test(storage, a_damaged_stock_row_stops_recovery_and_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 100);
    uint32_t item = 2;
    tamper(f, STOCK, &item, sizeof(item), NULL, 0, 12);
    recovery_refuses(f, TG_ERR_CORRUPT, WORDS("table stock, row 2:", "checksum"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.crc_errors, 1);
    cr_assert_not_null(strstr(found.lines, "table stock, row 2:"), "%s", found.lines);
    depot_free(f);
}

Test(storage, damage_in_every_other_table_stops_recovery_and_is_found)
{
    const struct {
        enum table table;
        size_t key_bytes;
        const char *name;
    } cases[] = {{SALES, 4, "table sales, row 1:"},
                 {ITEMS, 4, "table items, row 1:"},
                 {ADJUSTMENTS, 8, "table adjustments, row 1:"}};
    for (int i = 0; i < 3; i++) {
        struct depot *f = depot_make(16 * DEPOT_MIB);
        struct sto_verify_report report;
        struct found found;
        depot_commit_sale(f, 1, 1, 3, 100);
        struct tg_record adjust = depot_adjust(1, 1);
        cr_assert_eq(depot_commit(f, &adjust, 1), STO_DURABLE);
        uint64_t key = 1;
        tamper(f, cases[i].table, &key, cases[i].key_bytes, NULL, 0, 9);
        recovery_refuses(f, TG_ERR_CORRUPT, WORDS(cases[i].name, "checksum"));
        cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
        cr_assert_eq(report.crc_errors, 1, "%s", found.lines);
        cr_assert_not_null(strstr(found.lines, cases[i].name), "%s", found.lines);
        depot_free(f);
    }
}

Test(storage, a_stock_row_that_disagrees_with_its_orders_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 100);
    depot_commit_orders(f, 2, 10);
    tamper_stock(f, 2, (struct tg_stock){100, 89, 11, 0, 0});
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "reserved 11", "reserved 10"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.mismatched_items, 1);
    cr_assert_eq(report.oversold_items, 0);
    cr_assert_not_null(strstr(found.lines, "reserved 10"), "%s", found.lines);
    depot_free(f);
}

Test(storage, a_stock_row_that_disagrees_with_its_adjustments_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 100);
    struct tg_record adjust = depot_adjust(2, 7);
    cr_assert_eq(depot_commit(f, &adjust, 1), STO_DURABLE);
    tamper_stock(f, 2, (struct tg_stock){100, 108, 0, 0, 8});
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "restocked 8", "to 7"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.mismatched_items, 1);
    depot_free(f);
}

Test(storage, an_oversold_item_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 100);
    depot_commit_orders(f, 2, 10);
    tamper_stock(f, 2, (struct tg_stock){100, 100, 10, 0, 0});
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "initial 100", "reserved 10"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.oversold_items, 1);
    cr_assert_eq(report.mismatched_items, 0);
    depot_free(f);
}

Test(storage, a_lost_order_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 100);
    uint64_t last = depot_commit_orders(f, 2, 10);
    tamper(f, ORDERS, &last, sizeof(last), NULL, 0, -1);
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "reserved 10", "reserved 9"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.mismatched_items, 1);
    depot_free(f);
}

Test(storage, an_order_without_an_item_is_found)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 100);
    struct tg_record order = depot_order(f, 77, 1, 1);
    order.order_id = (1ull << TG_PARTITION_BITS) | 77;
    tamper_order(f, &order);
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table orders, row 1101:", "item 77"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.orphan_orders, 1);
    depot_free(f);
}

Test(storage, missing_rows_of_sales_and_stock_are_found)
{
    const struct {
        enum table table;
        uint32_t key;
        const char *words;
    } cases[] = {{SALES, 1, "sale number 1 does not exist"},
                 {ITEMS, 2, "there is no such item"},
                 {STOCK, 3, "table stock, row 3: missing"}};
    for (int i = 0; i < 3; i++) {
        struct depot *f = depot_make(16 * DEPOT_MIB);
        struct sto_verify_report report;
        struct found found;
        depot_commit_sale(f, 1, 1, 3, 100);
        uint32_t key = cases[i].key;
        tamper(f, cases[i].table, &key, sizeof(key), NULL, 0, -1);
        recovery_refuses(f, TG_ERR_BROKEN, WORDS(cases[i].words));
        cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
        cr_assert_gt(report.mismatched_items, 0);
        depot_free(f);
    }
}

/* --- limits of recovery --- */

Test(storage, a_callback_that_is_full_stops_recovery_in_its_own_words)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct depot_found r;
    depot_commit_sale(f, 1, 1, 1, 100);
    depot_commit_orders(f, 1, 10);
    depot_reopen(f);
    cr_assert_eq(depot_recover(f, &r, 9), TG_ERR_FULL);
    cr_assert_str_eq(f->fault.text, "raise orders_max");
    cr_assert_eq(r.order_count, 9);
    depot_found_free(&r);
    depot_free(f);
}

Test(storage, more_items_than_configured_stop_recovery)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 10, 100);
    sto_env_close(f->env);
    f->env = NULL;
    f->options.items_max = 10;
    recovery_refuses(f, TG_ERR_FULL, WORDS("table items, row 10:", "raise"));
    depot_free(f);
}

/* --- verify --- */

Test(storage, verify_is_content_with_a_sound_database)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 1000);
    depot_commit_sale(f, 2, 4, 2, 1000);
    depot_commit_orders(f, 1, 100);
    depot_commit_orders(f, 5, 50);
    struct tg_record adjust = depot_adjust(3, 7);
    cr_assert_eq(depot_commit(f, &adjust, 1), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "%s", found.lines);
    cr_assert_eq(found.count, 0);
    cr_assert_eq(report.sales, 2);
    cr_assert_eq(report.items, 5);
    cr_assert_eq(report.orders, 150);
    cr_assert_eq(report.adjustments, 1);
    cr_assert_eq(report.units_reserved, 150);
    cr_assert_eq(report.units_sold, 0);
    depot_free(f);
}

Test(storage, verify_looks_on_while_another_process_writes)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 1, 1, 3, 1000);
    depot_commit_orders(f, 1, 100);
    pid_t child = fork();
    if (child == 0) {
        struct sto_verify_report report;
        enum tg_error error = sto_verify(f->dir, NULL, NULL, NULL, &report, NULL);
        _exit(error == TG_ERR_OK && report.orders == 100 ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    depot_commit_orders(f, 1, 100);
    depot_free(f);
}

Test(storage, verify_finds_a_request_that_owns_two_orders)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 1000);
    struct tg_record records[3] = {depot_order(f, 1, 1, 1), depot_order(f, 1, 2, 1),
                                   depot_order(f, 2, 3, 1)};
    memcpy(records[2].order.request_id, records[0].order.request_id, TG_REQUEST_ID_BYTES);
    cr_assert_eq(depot_commit(f, records, 3), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.duplicate_requests, 1);
    cr_assert_eq(found.count, 1);
    depot_free(f);
}

/* Commits three orders of one request id, so many milliseconds apart; what verify says to it. */
static enum tg_error verify_reuse(uint32_t ttl_s, uint32_t later_ttl_s, int64_t apart_ms,
                                  int64_t apart_again_ms, uint64_t *duplicates)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    f->options.request_ttl_s = ttl_s;
    depot_reopen(f);
    f->options.request_ttl_s = later_ttl_s;
    depot_reopen(f);
    depot_commit_sale(f, 1, 1, 3, 1000);
    struct tg_record records[3] = {depot_order(f, 1, 1, 1), depot_order(f, 2, 2, 1),
                                   depot_order(f, 1, 3, 1)};
    records[1].at_ms += apart_ms;
    records[2].at_ms += apart_ms + apart_again_ms;
    for (int i = 1; i < 3; i++)
        memcpy(records[i].order.request_id, records[0].order.request_id, TG_REQUEST_ID_BYTES);
    cr_assert_eq(depot_commit(f, records, 3), STO_DURABLE);
    enum tg_error error = verify(f, &report, &found);
    cr_assert_eq(found.count, report.duplicate_requests, "%s", found.lines);
    *duplicates = report.duplicate_requests;
    depot_free(f);
    return error;
}

Test(storage, verify_knows_that_an_id_is_free_again_after_its_time_to_live)
{
    uint64_t duplicates;
    cr_assert_eq(verify_reuse(60, 60, 60001, 60001, &duplicates), TG_ERR_OK);
    cr_assert_eq(duplicates, 0);
    cr_assert_eq(verify_reuse(60, 60, 60001, 59999, &duplicates), TG_ERR_BROKEN);
    cr_assert_eq(duplicates, 1, "the third counts from the second");
    cr_assert_eq(verify_reuse(60, 60, 59999, 59999, &duplicates), TG_ERR_BROKEN);
    cr_assert_eq(duplicates, 2);
}

Test(storage, verify_goes_by_the_shortest_time_to_live_that_there_was)
{
    uint64_t duplicates;
    cr_assert_eq(verify_reuse(60, 3600, 60001, 60001, &duplicates), TG_ERR_OK);
    cr_assert_eq(verify_reuse(3600, 60, 60001, 60001, &duplicates), TG_ERR_OK);
    cr_assert_eq(verify_reuse(60, 0, 60001, 60001, &duplicates), TG_ERR_OK);
    cr_assert_eq(verify_reuse(0, 0, 1000000000, 60001, &duplicates), TG_ERR_BROKEN);
    cr_assert_eq(duplicates, 2, "without a time to live an id is never free again");
}

Test(storage, verify_finds_a_user_over_the_limit_once)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 1000);
    struct tg_record records[] = {depot_order(f, 1, 1, 1), depot_order(f, 1, 2, 2),
                                  depot_order(f, 2, 1, 2), depot_order(f, 1, 1, 1),
                                  depot_order(f, 1, 1, 1), depot_order(f, 1, 1, 1)};
    cr_assert_eq(depot_commit(f, records, 4), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "at the limit is not over it");
    depot_open(f);
    struct depot_found r;
    cr_assert_eq(depot_recover(f, &r, 10), TG_ERR_OK);
    depot_found_free(&r);
    cr_assert_eq(depot_commit(f, records + 4, 2), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.limit_breaches, 1);
    cr_assert_not_null(strstr(found.lines, "user 1 holds 3 units of item 1"), "%s", found.lines);
    depot_free(f);
}

Test(storage, verify_writes_a_hundred_lines_and_counts_on)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    struct sto_verify_report report;
    struct found found;
    depot_commit_sale(f, 1, 1, 3, 1000);
    struct tg_record *records = calloc(201, sizeof(*records));
    for (uint32_t i = 0; i < 201; i++) {
        records[i] = depot_order(f, 1, i, 1);
        memset(records[i].order.request_id, 7, TG_REQUEST_ID_BYTES);
    }
    cr_assert_eq(depot_commit(f, records, 201), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.duplicate_requests, 200);
    cr_assert_eq(found.count, 100);
    free(records);
    depot_free(f);
}

Test(storage, verify_says_when_there_is_nothing_to_look_at)
{
    struct sto_verify_report report;
    struct tg_fault fault;
    char dir[] = "/tmp/tidegate-test-storage-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(sto_verify(dir, NULL, NULL, NULL, &report, &fault), TG_ERR_NOTFOUND);
    cr_assert_not_null(strstr(fault.text, dir), "%s", fault.text);
    cr_assert_eq(rmdir(dir), 0, "it leaves nothing behind");
    cr_assert_eq(sto_verify(dir, NULL, NULL, NULL, &report, &fault), TG_ERR_NOTFOUND);
}
