/* Storage on real LMDB: what was durable comes back, what was refused never happened, and what is
 * damaged is named. Faults of the disk are injected under LMDB, by way of its system calls. */
#include "proto/verdict.h"
#include "storage/env.h"
#include "storage/rows.h"
#include "storage/storage.h"

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

/* --- fixture --- */

#define MIB       (1024ull * 1024)
#define ITEMS_MAX 4096

struct fixture {
    char dir[64];
    struct sto_options options;
    struct sto_env *env;
    struct tg_fault fault;
    uint64_t requests; /* request ids given out */
};

static void fixture_open(struct fixture *f)
{
    enum tg_error error = sto_env_open(&f->options, &f->env, &f->fault);
    cr_assert_eq(error, TG_ERR_OK, "%s", f->fault.text);
}

static struct fixture *fixture_make(uint64_t map_bytes)
{
    struct fixture *f = calloc(1, sizeof(*f));
    cr_assert_not_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/tidegate-test-storage-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    f->options = (struct sto_options){
        .data_dir = f->dir, .map_bytes = map_bytes, .items_max = ITEMS_MAX, .readers_max = 4};
    fixture_open(f);
    return f;
}

/* Also for tests that end in an abort: the open environment lives on without its names. */
static void fixture_unlink(const struct fixture *f)
{
    char path[128];
    const char *names[] = {"data.mdb", "lock.mdb", "lock"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    rmdir(f->dir);
}

static void fixture_free(struct fixture *f)
{
    if (f->env)
        sto_env_close(f->env);
    fixture_unlink(f);
    free(f);
}

static struct tg_record order_of(struct fixture *f, uint32_t item, uint64_t user, uint32_t quantity)
{
    struct tg_record record = {
        .kind = TG_RECORD_ORDER,
        .channel = 3,
        .item = item,
        .at_ms = 1763800000000,
        .order = {.user_id = user, .unit_price_minor = 1999, .quantity = quantity}};
    f->requests++;
    memcpy(record.order.request_id, &f->requests, sizeof(f->requests));
    record.order.external_bytes = (uint8_t)(f->requests % (TG_EXTERNAL_BYTES_MAX + 1));
    memset(record.order.external_id, 'x', record.order.external_bytes);
    return record;
}

static struct tg_record adjust_of(uint32_t item, int64_t delta_units)
{
    return (struct tg_record){
        .kind = TG_RECORD_ADJUST,
        .item = item,
        .at_ms = 1763800000000,
        .adjust = {.delta_units = delta_units, .reason_bytes = 5, .reason = "count"}};
}

/* A sale of `count` items from number `first` on, `stock_units` each, two units to a user. */
static struct tg_sale_def *sale_of(uint32_t sale, uint32_t first, uint32_t count,
                                   uint32_t stock_units)
{
    struct tg_sale_def *def = tg_sale_def_create(count);
    cr_assert_not_null(def);
    def->sale_id = sale + 1000;
    def->sale = sale;
    def->kind = TG_SALE_SECKILL;
    def->state = TG_SALE_ACTIVE;
    def->name_bytes = 4;
    memcpy(def->name, "Sale", 4);
    memcpy(def->currency, "EUR", 3);
    def->starts_at_ms = 1;
    def->ends_at_ms = 2;
    for (uint32_t i = 0; i < count; i++) {
        def->items[i] = (struct tg_item_def){.item = first + i,
                                             .list_price_minor = 2999,
                                             .sale_price_minor = 1999,
                                             .stock_units = stock_units,
                                             .per_user_limit = 2};
        def->items[i].sku_bytes =
            (uint8_t)snprintf((char *)def->items[i].sku, TG_SKU_BYTES_MAX, "SKU-%u", first + i);
    }
    return def;
}

static enum sto_result commit(struct fixture *f, struct tg_record *records, uint32_t count)
{
    struct sto_batch batch = {.spans = {{records, count}}, .span_count = 1};
    return sto_commit(f->env, &batch, &f->fault);
}

static void commit_sale(struct fixture *f, uint32_t sale, uint32_t first, uint32_t count,
                        uint32_t stock_units)
{
    struct tg_sale_def *def = sale_of(sale, first, count, stock_units);
    struct tg_record record = {.kind = TG_RECORD_SALE, .sale = def};
    enum sto_result result = commit(f, &record, 1);
    cr_assert_eq(result, STO_DURABLE, "%s", f->fault.text);
    free(def);
}

/* Commits `count` orders for `item`, one unit for each of as many users; returns the last id. */
static uint64_t commit_orders(struct fixture *f, uint32_t item, uint32_t count)
{
    struct tg_record *records = calloc(count, sizeof(*records));
    for (uint32_t i = 0; i < count; i++)
        records[i] = order_of(f, item, i, 1);
    cr_assert_eq(commit(f, records, count), STO_DURABLE, "%s", f->fault.text);
    uint64_t last = records[count - 1].order_id;
    free(records);
    return last;
}

/* --- recovery into memory --- */

struct recovered {
    struct tg_sale_def *sales[8];
    struct tg_stock stocks[ITEMS_MAX];
    struct tg_order_row *orders;
    uint32_t sale_count;
    uint32_t order_count;
    uint32_t orders_max;
    struct sto_recovery_stats stats;
};

static bool sale_recovered(void *context, const struct tg_sale_def *def,
                           const struct tg_stock *stocks, struct tg_fault *fault)
{
    struct recovered *r = context;
    (void)fault;
    size_t bytes = sizeof(*def) + def->item_count * sizeof(struct tg_item_def);
    cr_assert_eq(r->order_count, 0, "sales come before orders");
    r->sales[r->sale_count] = malloc(bytes);
    memcpy(r->sales[r->sale_count++], def, bytes);
    for (uint32_t i = 0; i < def->item_count; i++)
        r->stocks[def->items[i].item] = stocks[i];
    return true;
}

static bool order_recovered(void *context, const struct tg_order_row *row, struct tg_fault *fault)
{
    struct recovered *r = context;
    if (r->order_count == r->orders_max) {
        tg_fault_set(fault, TG_ERR_FULL, "raise orders_max");
        return false;
    }
    r->orders[r->order_count++] = *row;
    return true;
}

static enum tg_error try_recover(struct fixture *f, struct recovered *r, uint32_t orders_max)
{
    *r = (struct recovered){.orders = calloc(orders_max + 1, sizeof(*r->orders)),
                            .orders_max = orders_max};
    struct sto_recovery recovery = {.context = r, .sale = sale_recovered, .order = order_recovered};
    return sto_recover(f->env, &recovery, &r->stats, &f->fault);
}

static void recovered_free(struct recovered *r)
{
    for (uint32_t i = 0; i < r->sale_count; i++)
        free(r->sales[i]);
    free(r->orders);
}

static void reopen(struct fixture *f)
{
    sto_env_close(f->env);
    fixture_open(f);
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
static void tamper(struct fixture *f, enum table table, void *key_data, size_t key_bytes, void *row,
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

static void tamper_stock(struct fixture *f, uint32_t item, struct tg_stock stock)
{
    uint8_t row[STO_STOCK_ROW_BYTES];
    sto_row_stock_encode(row, item, &stock);
    tamper(f, STOCK, &item, sizeof(item), row, sizeof(row), -1);
}

/* Puts an order row; its id is `order->order_id`. */
static void tamper_order(struct fixture *f, struct tg_record *order)
{
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    sto_row_order_encode(row, order);
    tamper(f, ORDERS, &order->order_id, sizeof(order->order_id), row, sto_row_order_bytes(order),
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
static enum tg_error verify(struct fixture *f, struct sto_verify_report *report,
                            struct found *found)
{
    if (f->env)
        sto_env_close(f->env);
    f->env = NULL;
    *found = (struct found){0};
    return sto_verify(f->dir, finding_note, NULL, found, report, &f->fault);
}

/* Recovery must refuse with `error`, and with all of `words` in its text. */
static void recovery_refuses(struct fixture *f, enum tg_error error, const char *const words[])
{
    struct recovered r;
    if (!f->env)
        fixture_open(f);
    cr_assert_eq(try_recover(f, &r, 100000), error, "%s", f->fault.text);
    cr_assert_eq(f->fault.error, error);
    for (int i = 0; words[i]; i++)
        cr_assert_not_null(strstr(f->fault.text, words[i]), "\"%s\" is not in \"%s\"", words[i],
                           f->fault.text);
    recovered_free(&r);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* --- what was durable comes back --- */

Test(storage, a_new_database_recovers_to_nothing)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct recovered r;
    cr_assert_eq(try_recover(f, &r, 0), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.sale_count + r.order_count, 0);
    recovered_free(&r);
    fixture_free(f);
}

Test(storage, a_directory_is_created_for_its_owner_only)
{
    struct fixture *f = fixture_make(16 * MIB);
    sto_env_close(f->env);
    char inner[96];
    struct stat stat_of;
    snprintf(inner, sizeof(inner), "%s/data", f->dir);
    f->options.data_dir = inner;
    fixture_open(f);
    cr_assert_eq(stat(inner, &stat_of), 0);
    cr_assert_eq(stat_of.st_mode & 0777, 0700);
    sto_env_close(f->env);
    cr_assert_eq(system(strcat(strcpy(inner, "rm -r "), f->dir)), 0);
    free(f);
}

Test(storage, what_was_committed_comes_back_after_a_restart)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 10, 3, 1000);
    commit_sale(f, 2, 13, 2, 5);
    struct tg_record records[] = {
        order_of(f, 10, 1, 2),
        order_of(f, 12, 2, 1),
        adjust_of(12, -9),
        adjust_of(14, 20),
        {.kind = TG_RECORD_FENCE},
        order_of(f, 10, 3, 7),
        {.kind = TG_RECORD_SALE_STATE, .sale_state = {.sale = 2, .state = TG_SALE_PAUSED}}};
    cr_assert_eq(commit(f, records, 7), STO_DURABLE, "%s", f->fault.text);
    for (int i = 0; i < 7; i++)
        cr_assert_eq(records[i].outcome, TG_OUTCOME_DURABLE);
    reopen(f);

    struct recovered *r = malloc(sizeof(*r));
    cr_assert_eq(try_recover(f, r, 10), TG_ERR_OK, "%s", f->fault.text);
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
    recovered_free(r);
    free(r);
    fixture_free(f);
}

Test(storage, order_ids_grow_over_restarts_and_carry_the_partition)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1020, 10, 1000);
    uint64_t last = 0;
    for (uint32_t round = 0; round < 3; round++) {
        struct tg_record records[10];
        for (uint32_t i = 0; i < 10; i++)
            records[i] = order_of(f, 1029 - i, i, 1);
        cr_assert_eq(commit(f, records, 10), STO_DURABLE);
        for (uint32_t i = 0; i < 10; i++) {
            cr_assert_gt(records[i].order_id, last);
            cr_assert_eq(records[i].order_id % TG_PARTITIONS, (1029 - i) % TG_PARTITIONS);
            last = records[i].order_id;
        }
        cr_assert_eq(sto_commit_stats(f->env)->order_sequence, last >> TG_PARTITION_BITS);
        reopen(f);
        struct recovered r;
        cr_assert_eq(try_recover(f, &r, 100), TG_ERR_OK, "%s", f->fault.text);
        cr_assert_eq(sto_commit_stats(f->env)->order_sequence, last >> TG_PARTITION_BITS);
        recovered_free(&r);
    }
    fixture_free(f);
}

Test(storage, a_batch_of_fences_touches_no_disk)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct tg_record fences[2] = {{.kind = TG_RECORD_FENCE}, {.kind = TG_RECORD_FENCE}};
    unsigned syncs = disk.syncs;
    cr_assert_eq(commit(f, fences, 2), STO_DURABLE);
    cr_assert_eq(disk.syncs, syncs);
    cr_assert_eq(fences[1].outcome, TG_OUTCOME_DURABLE);
    cr_assert_eq(sto_commit_stats(f->env)->commits, 0);
    commit_sale(f, 1, 1, 1, 1);
    cr_assert_gt(disk.syncs, syncs, "a batch with a change is synced");
    fixture_free(f);
}

Test(storage, commit_stats_count_what_happened)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 1, 100);
    commit_orders(f, 1, 40);
    const struct sto_commit_stats *stats = sto_commit_stats(f->env);
    cr_assert_eq(stats->commits, 2);
    cr_assert_eq(stats->records, 41);
    cr_assert_eq(stats->order_sequence, 40);
    cr_assert_eq(stats->refused_batches, 0);
    cr_assert_gt(stats->commit_ns_last, 0);
    cr_assert_geq(stats->commit_ns_max, stats->commit_ns_last);
    f->env->options.free_bytes_min = UINT64_MAX / 2;
    struct tg_record order = order_of(f, 1, 1, 1);
    cr_assert_eq(commit(f, &order, 1), STO_REFUSED);
    cr_assert_eq(stats->refused_batches, 1);
    cr_assert_eq(stats->commits, 2);
    cr_assert_eq(stats->records, 41);
    fixture_free(f);
}

Test(storage, a_reservation_beyond_the_stock_stops_the_process, .signal = SIGABRT)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 1, 10);
    struct tg_record order = order_of(f, 1, 1, 11);
    fixture_unlink(f);
    commit(f, &order, 1);
}

/* --- opening --- */

Test(storage, a_second_open_is_refused_and_names_the_process)
{
    struct fixture *f = fixture_make(16 * MIB);
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
    reopen(f);
    fixture_free(f);
}

Test(storage, a_newer_format_is_refused_with_both_versions)
{
    struct fixture *f = fixture_make(16 * MIB);
    uint8_t row[STO_FORMAT_ROW_BYTES];
    char key[] = STO_FORMAT_KEY;
    sto_row_format_encode(row, 41);
    tamper(f, META, key, sizeof(key) - 1, row, sizeof(row), -1);
    struct tg_fault fault;
    cr_assert_eq(sto_env_open(&f->options, &f->env, &fault), TG_ERR_VERSION);
    cr_assert_not_null(strstr(fault.text, "version 41"), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, "knows version 1"), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, "upgrade"), "%s", fault.text);
    struct sto_verify_report report;
    struct found found;
    f->env = NULL;
    cr_assert_eq(verify(f, &report, &found), TG_ERR_VERSION);
    fixture_free(f);
}

Test(storage, a_damaged_format_record_is_refused)
{
    struct fixture *f = fixture_make(16 * MIB);
    char key[] = STO_FORMAT_KEY;
    tamper(f, META, key, sizeof(key) - 1, NULL, 0, 4);
    cr_assert_eq(sto_env_open(&f->options, &f->env, &f->fault), TG_ERR_CORRUPT);
    f->env = NULL;
    fixture_free(f);
}

Test(storage, a_file_that_was_cut_off_is_refused)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 100, 10);
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
    cr_assert_eq(verify(f, &report, &found), TG_ERR_CORRUPT);
    fixture_free(f);
}

Test(storage, options_that_cannot_be_are_refused)
{
    struct sto_options options = {
        .data_dir = "/tmp/never", .map_bytes = 4097, .items_max = 1, .readers_max = 1};
    struct sto_env *env;
    struct tg_fault fault;
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_INVALID);
    options.map_bytes = 1 * MIB;
    options.items_max = 0;
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_INVALID);
    options.items_max = 1;
    options.data_dir = "/proc/no/such";
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_SYSTEM);
    cr_assert_not_null(strstr(fault.text, "/proc/no/such"), "%s", fault.text);
}

/* --- full, and worse --- */

/* The image of all that a refused batch must leave alone. */
struct image {
    struct tg_stock stocks[ITEMS_MAX];
    bool known[ITEMS_MAX];
    uint64_t order_sequence;
    uint64_t adjustment_last;
};

static struct image *image_take(const struct fixture *f)
{
    struct image *image = calloc(1, sizeof(*image));
    for (uint32_t i = 0; i < ITEMS_MAX; i++) {
        image->stocks[i] = f->env->items[i].stock;
        image->known[i] = f->env->items[i].known;
    }
    image->order_sequence = f->env->stats.order_sequence;
    image->adjustment_last = f->env->adjustment_last;
    return image;
}

/* Commits one record of each kind, which must be refused and leave no trace. */
static void refused_without_trace(struct fixture *f)
{
    struct image *before = image_take(f);
    struct tg_sale_def *def = sale_of(9, 2000, 2, 10);
    struct tg_record records[] = {order_of(f, 1, 1, 1),      {.kind = TG_RECORD_SALE, .sale = def},
                                  adjust_of(1, 5),           order_of(f, 1, 2, 2),
                                  {.kind = TG_RECORD_FENCE}, order_of(f, 2, 1, 1)};
    cr_assert_eq(commit(f, records, 6), STO_REFUSED, "%s", f->fault.text);
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
static void stands_with_orders(struct fixture *f, uint64_t order_id, uint32_t orders)
{
    struct sto_reader *reader;
    struct tg_order_row row;
    cr_assert_eq(sto_reader_open(f->env, &reader, &f->fault), TG_ERR_OK);
    cr_assert_eq(sto_read_order(reader, order_id, &row, &f->fault), TG_ERR_OK, "%s", f->fault.text);
    sto_reader_close(reader);
    reopen(f);
    struct recovered r;
    cr_assert_eq(try_recover(f, &r, 100000), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.order_count, orders);
    recovered_free(&r);
}

Test(storage, a_full_filesystem_refuses_and_rolls_back)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 3, 1000);
    uint64_t last = commit_orders(f, 1, 10);
    f->env->options.free_bytes_min = UINT64_MAX / 2;
    refused_without_trace(f);
    cr_assert_not_null(strstr(f->fault.text, f->dir), "%s", f->fault.text);
    f->env->options.free_bytes_min = 0;
    cr_assert_gt(commit_orders(f, 1, 10), last);
    stands_with_orders(f, last, 20);
    fixture_free(f);
}

Test(storage, a_write_without_space_refuses_and_rolls_back)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 3, 1000);
    uint64_t last = commit_orders(f, 1, 10);
    disk.page_write = ENOSPC;
    refused_without_trace(f);
    disk.page_write = EDQUOT;
    refused_without_trace(f);
    disk.page_write = 0;
    uint64_t next = commit_orders(f, 1, 10);
    cr_assert_eq(next >> TG_PARTITION_BITS, (last >> TG_PARTITION_BITS) + 10);
    stands_with_orders(f, last, 20);
    fixture_free(f);
}

Test(storage, a_full_map_refuses_and_goes_on_with_a_larger_one)
{
    struct fixture *f = fixture_make(64 * 4096);
    commit_sale(f, 1, 1, 3, 1000000);
    uint64_t last = commit_orders(f, 1, 10);
    struct image *before = image_take(f);
    struct tg_record *records = calloc(8000, sizeof(*records));
    for (uint32_t i = 0; i < 8000; i++)
        records[i] = order_of(f, 1 + i % 3, i, 1);
    cr_assert_eq(commit(f, records, 8000), STO_REFUSED);
    cr_assert_not_null(strstr(f->fault.text, "map of 262144 bytes is full"), "%s", f->fault.text);
    struct image *after = image_take(f);
    cr_assert_arr_eq(before, after, sizeof(*before));
    cr_assert_eq(records[0].outcome, TG_OUTCOME_REFUSED);
    cr_assert_eq(records[7999].outcome, TG_OUTCOME_REFUSED);
    uint64_t next = commit_orders(f, 1, 10);
    cr_assert_eq(next >> TG_PARTITION_BITS, (last >> TG_PARTITION_BITS) + 10);
    f->options.map_bytes = 16 * MIB;
    stands_with_orders(f, last, 20);
    cr_assert_eq(commit(f, records, 8000), STO_DURABLE, "%s", f->fault.text);
    free(records);
    free(before);
    free(after);
    fixture_free(f);
}

/* After `arm` fails the commit, nothing may be answered; a restart finds what was durable. */
static void unknown_then_recovered(struct fixture *f, int *failure, int code)
{
    commit_sale(f, 1, 1, 3, 1000);
    uint64_t last = commit_orders(f, 1, 10);
    struct tg_record order = order_of(f, 1, 1, 1);
    *failure = code;
    cr_assert_eq(commit(f, &order, 1), STO_UNKNOWN);
    *failure = 0;
    cr_assert_eq(order.outcome, 0);
    cr_assert_not_null(strstr(f->fault.text, "must stop"), "%s", f->fault.text);
    reopen(f);
    struct recovered r;
    cr_assert_eq(try_recover(f, &r, 100), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(r.orders[9].order_id, last);
    recovered_free(&r);
}

Test(storage, a_failed_sync_is_an_unknown_outcome)
{
    struct fixture *f = fixture_make(16 * MIB);
    unknown_then_recovered(f, &disk.data_sync, EIO);
    fixture_free(f);
}

Test(storage, a_failed_write_is_an_unknown_outcome)
{
    struct fixture *f = fixture_make(16 * MIB);
    unknown_then_recovered(f, &disk.page_write, EIO);
    fixture_free(f);
}

Test(storage, a_meta_page_without_space_is_an_unknown_outcome)
{
    struct fixture *f = fixture_make(16 * MIB);
    unknown_then_recovered(f, &disk.meta_write, ENOSPC);
    fixture_free(f);
}

Test(storage, no_batch_passes_after_an_unknown_outcome, .signal = SIGABRT)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 3, 1000);
    struct tg_record order = order_of(f, 1, 1, 1);
    disk.data_sync = EIO;
    if (commit(f, &order, 1) != STO_UNKNOWN)
        return;
    disk.data_sync = 0;
    fixture_unlink(f);
    commit(f, &order, 1);
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
static uint32_t batch_random(struct fixture *f, uint64_t *seed, struct model *after,
                             struct tg_record *records)
{
    uint32_t count = 1 + (uint32_t)random_next(seed) % 200;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t item = (uint32_t)random_next(seed) % 16;
        struct tg_stock *stock = &after->stocks[item];
        uint32_t quantity = 1 + (uint32_t)random_next(seed) % 3;
        if (quantity <= stock->available_units) {
            records[i] = order_of(f, item, f->requests, quantity);
            stock->available_units -= quantity;
            stock->reserved_units += quantity;
            after->orders++;
        } else {
            records[i] = adjust_of(item, 50);
            stock->available_units += 50;
            stock->restocked_units += 50;
        }
    }
    return count;
}

Test(storage, random_batches_and_failures_agree_with_a_model)
{
    struct fixture *f = fixture_make(64 * MIB);
    struct model model = {0};
    struct tg_record *records = calloc(200, sizeof(*records));
    uint64_t seed = 8;
    commit_sale(f, 1, 0, 16, 100);
    for (int i = 0; i < 16; i++)
        model.stocks[i] = (struct tg_stock){.initial_units = 100, .available_units = 100};
    for (int round = 0; round < 300; round++) {
        struct model after = model;
        uint32_t count = batch_random(f, &seed, &after, records);
        uint64_t fate = random_next(&seed) % 8;
        disk.page_write = fate == 0 ? ENOSPC : 0;
        f->env->options.free_bytes_min = fate == 1 ? UINT64_MAX / 2 : 0;
        enum sto_result result = commit(f, records, count);
        disk.page_write = 0;
        cr_assert_eq(result, fate < 2 ? STO_REFUSED : STO_DURABLE, "%s", f->fault.text);
        if (result == STO_DURABLE)
            model = after;
        if (round % 50 == 49) {
            reopen(f);
            struct recovered *r = malloc(sizeof(*r));
            cr_assert_eq(try_recover(f, r, 100000), TG_ERR_OK, "%s", f->fault.text);
            cr_assert_eq(r->order_count, model.orders);
            cr_assert_arr_eq(r->stocks, model.stocks, sizeof(model.stocks));
            recovered_free(r);
            free(r);
        }
        for (uint32_t i = 0; i < 16; i++)
            cr_assert_arr_eq(&f->env->items[i].stock, &model.stocks[i], sizeof(model.stocks[i]));
        cr_assert_eq(sto_commit_stats(f->env)->order_sequence, model.orders);
    }
    struct sto_verify_report report;
    struct found found;
    verify(f, &report, &found);
    cr_assert_eq(report.orders, model.orders);
    cr_assert_eq(report.crc_errors + report.oversold_items + report.mismatched_items +
                     report.duplicate_requests + report.orphan_orders,
                 0, "%s", found.lines);
    free(records);
    fixture_free(f);
}

/* --- damage is named --- */

Test(storage, a_damaged_order_stops_recovery_and_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    char name[64];
    commit_sale(f, 1, 1, 1, 100);
    uint64_t last = commit_orders(f, 1, 10);
    snprintf(name, sizeof(name), "table orders, row %llu:", (unsigned long long)last);
    tamper(f, ORDERS, &last, sizeof(last), NULL, 0, 33);
    recovery_refuses(f, TG_ERR_CORRUPT, WORDS(name, "checksum"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.crc_errors, 1);
    cr_assert_eq(report.orders, 10);
    cr_assert_not_null(strstr(found.lines, name), "%s", found.lines);
    fixture_free(f);
}

Test(storage, a_damaged_order_is_not_read)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 1, 100);
    uint64_t last = commit_orders(f, 1, 10);
    tamper(f, ORDERS, &last, sizeof(last), NULL, 0, 33);
    fixture_open(f);
    struct sto_reader *reader;
    struct tg_order_row row, rows[20];
    uint32_t filled;
    bool end;
    cr_assert_eq(sto_reader_open(f->env, &reader, &f->fault), TG_ERR_OK);
    cr_assert_eq(sto_read_order(reader, last, &row, &f->fault), TG_ERR_CORRUPT);
    cr_assert_eq(
        sto_read_orders(reader, 0, NULL, NULL, 20, 20, rows, &filled, &last, &end, &f->fault),
        TG_ERR_CORRUPT);
    sto_reader_close(reader);
    fixture_free(f);
}

Test(storage, a_damaged_stock_row_stops_recovery_and_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 100);
    uint32_t item = 2;
    tamper(f, STOCK, &item, sizeof(item), NULL, 0, 12);
    recovery_refuses(f, TG_ERR_CORRUPT, WORDS("table stock, row 2:", "checksum"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.crc_errors, 1);
    cr_assert_not_null(strstr(found.lines, "table stock, row 2:"), "%s", found.lines);
    fixture_free(f);
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
        struct fixture *f = fixture_make(16 * MIB);
        struct sto_verify_report report;
        struct found found;
        commit_sale(f, 1, 1, 3, 100);
        struct tg_record adjust = adjust_of(1, 1);
        cr_assert_eq(commit(f, &adjust, 1), STO_DURABLE);
        uint64_t key = 1;
        tamper(f, cases[i].table, &key, cases[i].key_bytes, NULL, 0, 9);
        recovery_refuses(f, TG_ERR_CORRUPT, WORDS(cases[i].name, "checksum"));
        cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
        cr_assert_eq(report.crc_errors, 1, "%s", found.lines);
        cr_assert_not_null(strstr(found.lines, cases[i].name), "%s", found.lines);
        fixture_free(f);
    }
}

Test(storage, a_stock_row_that_disagrees_with_its_orders_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 100);
    commit_orders(f, 2, 10);
    tamper_stock(f, 2, (struct tg_stock){100, 89, 11, 0, 0});
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "reserved 11", "reserved 10"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.mismatched_items, 1);
    cr_assert_eq(report.oversold_items, 0);
    cr_assert_not_null(strstr(found.lines, "reserved 10"), "%s", found.lines);
    fixture_free(f);
}

Test(storage, a_stock_row_that_disagrees_with_its_adjustments_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 100);
    struct tg_record adjust = adjust_of(2, 7);
    cr_assert_eq(commit(f, &adjust, 1), STO_DURABLE);
    tamper_stock(f, 2, (struct tg_stock){100, 108, 0, 0, 8});
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "restocked 8", "to 7"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.mismatched_items, 1);
    fixture_free(f);
}

Test(storage, an_oversold_item_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 100);
    commit_orders(f, 2, 10);
    tamper_stock(f, 2, (struct tg_stock){100, 100, 10, 0, 0});
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "initial 100", "reserved 10"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.oversold_items, 1);
    cr_assert_eq(report.mismatched_items, 0);
    fixture_free(f);
}

Test(storage, a_lost_order_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 100);
    uint64_t last = commit_orders(f, 2, 10);
    tamper(f, ORDERS, &last, sizeof(last), NULL, 0, -1);
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table stock, row 2:", "reserved 10", "reserved 9"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.mismatched_items, 1);
    fixture_free(f);
}

Test(storage, an_order_without_an_item_is_found)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 100);
    struct tg_record order = order_of(f, 77, 1, 1);
    order.order_id = (1ull << TG_PARTITION_BITS) | 77;
    tamper_order(f, &order);
    recovery_refuses(f, TG_ERR_BROKEN, WORDS("table orders, row 1101:", "item 77"));
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.orphan_orders, 1);
    fixture_free(f);
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
        struct fixture *f = fixture_make(16 * MIB);
        struct sto_verify_report report;
        struct found found;
        commit_sale(f, 1, 1, 3, 100);
        uint32_t key = cases[i].key;
        tamper(f, cases[i].table, &key, sizeof(key), NULL, 0, -1);
        recovery_refuses(f, TG_ERR_BROKEN, WORDS(cases[i].words));
        cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
        cr_assert_gt(report.mismatched_items, 0);
        fixture_free(f);
    }
}

/* --- limits of recovery --- */

Test(storage, a_callback_that_is_full_stops_recovery_in_its_own_words)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct recovered r;
    commit_sale(f, 1, 1, 1, 100);
    commit_orders(f, 1, 10);
    reopen(f);
    cr_assert_eq(try_recover(f, &r, 9), TG_ERR_FULL);
    cr_assert_str_eq(f->fault.text, "raise orders_max");
    cr_assert_eq(r.order_count, 9);
    recovered_free(&r);
    fixture_free(f);
}

Test(storage, more_items_than_configured_stop_recovery)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 10, 100);
    sto_env_close(f->env);
    f->env = NULL;
    f->options.items_max = 10;
    recovery_refuses(f, TG_ERR_FULL, WORDS("table items, row 10:", "raise"));
    fixture_free(f);
}

/* --- reads --- */

Test(storage, a_reader_sees_each_commit_and_knows_what_is_not_there)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_reader *reader;
    struct tg_order_row row;
    commit_sale(f, 1, 1, 1, 100);
    cr_assert_eq(sto_reader_open(f->env, &reader, &f->fault), TG_ERR_OK);
    uint64_t next = (1ull << TG_PARTITION_BITS) | 1;
    cr_assert_eq(sto_read_order(reader, next, &row, &f->fault), TG_ERR_NOTFOUND);
    cr_assert_eq(commit_orders(f, 1, 1), next);
    cr_assert_eq(sto_read_order(reader, next, &row, &f->fault), TG_ERR_OK, "%s", f->fault.text);
    cr_assert_eq(row.order_id, next);
    cr_assert_eq(row.item, 1);
    cr_assert_eq(row.unit_price_minor, 1999);
    cr_assert_eq(row.channel, 3);
    sto_reader_close(reader);
    fixture_free(f);
}

static bool item_is_two(void *context, uint32_t item)
{
    (*(int *)context)++;
    return item == 2;
}

Test(storage, orders_come_in_pages)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_reader *reader;
    struct tg_order_row rows[200];
    uint32_t filled;
    uint64_t last;
    bool end;
    commit_sale(f, 1, 1, 2, 1000);
    cr_assert_eq(sto_reader_open(f->env, &reader, &f->fault), TG_ERR_OK);
    cr_assert_eq(
        sto_read_orders(reader, 0, NULL, NULL, 200, 200, rows, &filled, &last, &end, &f->fault),
        TG_ERR_OK);
    cr_assert(filled == 0 && last == 0 && end, "none yet");
    for (int i = 0; i < 50; i++) {
        commit_orders(f, 1, 1);
        commit_orders(f, 2, 1);
    }
    sto_read_orders(reader, 0, NULL, NULL, 60, 200, rows, &filled, &last, &end, &f->fault);
    cr_assert(filled == 60 && !end && last == rows[59].order_id, "a page of 60");
    sto_read_orders(reader, last, NULL, NULL, 40, 200, rows, &filled, &last, &end, &f->fault);
    cr_assert(filled == 40 && end, "the rest fits exactly, and is the end");
    cr_assert_eq(last >> TG_PARTITION_BITS, 100);
    int asked = 0;
    sto_read_orders(reader, 0, item_is_two, &asked, 200, 31, rows, &filled, &last, &end, &f->fault);
    cr_assert(filled == 15 && asked == 31 && !end, "%u of %d", filled, asked);
    cr_assert_eq(last >> TG_PARTITION_BITS, 31, "the last looked at, wanted or not");
    cr_assert_eq(rows[14].item, 2);
    sto_read_orders(reader, UINT64_MAX, NULL, NULL, 9, 9, rows, &filled, &last, &end, &f->fault);
    cr_assert(filled == 0 && end && last == UINT64_MAX);
    sto_reader_close(reader);
    fixture_free(f);
}

/* --- verify --- */

Test(storage, verify_is_content_with_a_sound_database)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 1000);
    commit_sale(f, 2, 4, 2, 1000);
    commit_orders(f, 1, 100);
    commit_orders(f, 5, 50);
    struct tg_record adjust = adjust_of(3, 7);
    cr_assert_eq(commit(f, &adjust, 1), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "%s", found.lines);
    cr_assert_eq(found.count, 0);
    cr_assert_eq(report.sales, 2);
    cr_assert_eq(report.items, 5);
    cr_assert_eq(report.orders, 150);
    cr_assert_eq(report.adjustments, 1);
    cr_assert_eq(report.units_reserved, 150);
    cr_assert_eq(report.units_sold, 0);
    fixture_free(f);
}

Test(storage, verify_looks_on_while_another_process_writes)
{
    struct fixture *f = fixture_make(16 * MIB);
    commit_sale(f, 1, 1, 3, 1000);
    commit_orders(f, 1, 100);
    pid_t child = fork();
    if (child == 0) {
        struct sto_verify_report report;
        enum tg_error error = sto_verify(f->dir, NULL, NULL, NULL, &report, NULL);
        _exit(error == TG_ERR_OK && report.orders == 100 ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    commit_orders(f, 1, 100);
    fixture_free(f);
}

Test(storage, verify_finds_a_request_that_owns_two_orders)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 1000);
    struct tg_record records[3] = {order_of(f, 1, 1, 1), order_of(f, 1, 2, 1),
                                   order_of(f, 2, 3, 1)};
    memcpy(records[2].order.request_id, records[0].order.request_id, TG_REQUEST_ID_BYTES);
    cr_assert_eq(commit(f, records, 3), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.duplicate_requests, 1);
    cr_assert_eq(found.count, 1);
    fixture_free(f);
}

/* Commits three orders of one request id, so many milliseconds apart; what verify says to it. */
static enum tg_error verify_reuse(uint32_t ttl_s, uint32_t later_ttl_s, int64_t apart_ms,
                                  int64_t apart_again_ms, uint64_t *duplicates)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    f->options.request_ttl_s = ttl_s;
    reopen(f);
    f->options.request_ttl_s = later_ttl_s;
    reopen(f);
    commit_sale(f, 1, 1, 3, 1000);
    struct tg_record records[3] = {order_of(f, 1, 1, 1), order_of(f, 2, 2, 1),
                                   order_of(f, 1, 3, 1)};
    records[1].at_ms += apart_ms;
    records[2].at_ms += apart_ms + apart_again_ms;
    for (int i = 1; i < 3; i++)
        memcpy(records[i].order.request_id, records[0].order.request_id, TG_REQUEST_ID_BYTES);
    cr_assert_eq(commit(f, records, 3), STO_DURABLE);
    enum tg_error error = verify(f, &report, &found);
    cr_assert_eq(found.count, report.duplicate_requests, "%s", found.lines);
    *duplicates = report.duplicate_requests;
    fixture_free(f);
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
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 1000);
    struct tg_record records[] = {order_of(f, 1, 1, 1), order_of(f, 1, 2, 2), order_of(f, 2, 1, 2),
                                  order_of(f, 1, 1, 1), order_of(f, 1, 1, 1), order_of(f, 1, 1, 1)};
    cr_assert_eq(commit(f, records, 4), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_OK, "at the limit is not over it");
    fixture_open(f);
    struct recovered r;
    cr_assert_eq(try_recover(f, &r, 10), TG_ERR_OK);
    recovered_free(&r);
    cr_assert_eq(commit(f, records + 4, 2), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.limit_breaches, 1);
    cr_assert_not_null(strstr(found.lines, "user 1 holds 3 units of item 1"), "%s", found.lines);
    fixture_free(f);
}

Test(storage, verify_writes_a_hundred_lines_and_counts_on)
{
    struct fixture *f = fixture_make(16 * MIB);
    struct sto_verify_report report;
    struct found found;
    commit_sale(f, 1, 1, 3, 1000);
    struct tg_record *records = calloc(201, sizeof(*records));
    for (uint32_t i = 0; i < 201; i++) {
        records[i] = order_of(f, 1, i, 1);
        memset(records[i].order.request_id, 7, TG_REQUEST_ID_BYTES);
    }
    cr_assert_eq(commit(f, records, 201), STO_DURABLE);
    cr_assert_eq(verify(f, &report, &found), TG_ERR_BROKEN);
    cr_assert_eq(report.duplicate_requests, 200);
    cr_assert_eq(found.count, 100);
    free(records);
    fixture_free(f);
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
