/* The offline check: every promise over the whole database, on one snapshot.
 *
 *   items -> stock -> sales -> orders -> adjustments -> judgement of every item
 *
 * It shares no state with the daemon and no code with recovery but the row formats: two looks at
 * the same promises. What it holds: 64 bytes for each item, and two open-addressing tables with
 * 24 bytes for each order, sized by the number of orders before the first is read:
 *
 *   requests   hash of a request id -> order id; the ids themselves are compared in the database
 *   holdings   (item, user) -> units, for items with a per-user limit
 *
 * 20 million orders take about 1 GiB, most of the time in cache misses of those two tables. */
#include "storage/env.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "storage/rows.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define FINDINGS_MAX        100
#define ORDERS_PER_PROGRESS (1u << 16)

struct seen_item {
    struct tg_stock stock;
    uint64_t reserved_units; /* of its orders */
    int64_t restocked_units; /* of its adjustments */
    uint32_t sale;
    uint32_t per_user_limit;
    bool known;
    bool has_stock;
};

struct request {
    uint64_t hash;
    uint64_t order_id; /* 0: empty */
};

struct holding {
    uint64_t user_id;
    uint32_t item;
    uint32_t units; /* 0: empty; stays at the largest value rather than wrap */
};

struct check {
    int64_t request_ttl_ms; /* an id owns no second order within this time */
    const char *data_dir;
    void (*finding)(void *context, const char *line);
    void (*progress)(void *context, uint64_t orders);
    void *context;
    struct sto_verify_report *report;
    struct tg_fault *fault;
    enum tg_error error; /* set by a visitor that cannot go on */
    uint32_t findings;
    MDB_env *lmdb;
    MDB_txn *txn;
    struct sto_tables tables;
    uint64_t seed; /* strangers choose request ids and users */

    struct seen_item *items; /* by item number */
    uint64_t items_size;     /* one above the largest number */
    uint32_t *sale_items;    /* by sale number: items that name it, until its row is met */
    uint64_t sales_size;
    uint64_t orders_max; /* as the table's head counts them */
    uint64_t slots;      /* of each hash table */
    struct request *requests;
    struct holding *holdings;
};

__attribute__((format(printf, 3, 4))) static void find(struct check *c, uint64_t *counter,
                                                       const char *format, ...)
{
    (*counter)++;
    if (!c->finding || c->findings == FINDINGS_MAX)
        return;
    c->findings++;
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    c->finding(c->context, line);
}

static void find_damage(struct check *c, const char *table, unsigned long long key,
                        const char *problem)
{
    find(c, &c->report->crc_errors, "table %s, row %llu: %s", table, key, problem);
}

static void find_key(struct check *c, const char *table)
{
    find(c, &c->report->crc_errors, "table %s: a key has the wrong size", table);
}

/* --- items, stock, sales --- */

/* Only undamaged rows count: a damaged number must not size an array. */
static bool sizes_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct check *c = context;
    uint32_t number, sale;
    struct tg_item_def item;
    if (!sto_key_read(key, &number, sizeof(number)) ||
        sto_row_item_decode(value->mv_data, value->mv_size, number, &sale, &item))
        return true;
    if (number >= c->items_size)
        c->items_size = (uint64_t)number + 1;
    if (sale >= c->sales_size)
        c->sales_size = (uint64_t)sale + 1;
    return true;
}

static bool item_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct check *c = context;
    uint32_t number, sale;
    struct tg_item_def item;
    if (!sto_key_read(key, &number, sizeof(number))) {
        find_key(c, "items");
        return true;
    }
    const char *problem = sto_row_item_decode(value->mv_data, value->mv_size, number, &sale, &item);
    if (problem) {
        find_damage(c, "items", number, problem);
        return true;
    }
    c->items[number] =
        (struct seen_item){.sale = sale, .per_user_limit = item.per_user_limit, .known = true};
    c->sale_items[sale]++;
    c->report->items++;
    return true;
}

/* NULL when there is no such (undamaged) item. */
static struct seen_item *item_of(struct check *c, uint32_t number)
{
    return number < c->items_size && c->items[number].known ? &c->items[number] : NULL;
}

static bool stock_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct check *c = context;
    uint32_t number;
    struct tg_stock stock;
    if (!sto_key_read(key, &number, sizeof(number))) {
        find_key(c, "stock");
        return true;
    }
    struct seen_item *item = item_of(c, number);
    const char *problem = sto_row_stock_decode(value->mv_data, value->mv_size, number, &stock);
    if (problem) {
        find_damage(c, "stock", number, problem);
    } else if (!item) {
        find(c, &c->report->mismatched_items, "table stock, row %u: there is no such item", number);
    } else {
        item->stock = stock;
        item->has_stock = true;
        c->report->units_sold += stock.sold_units;
    }
    return true;
}

static bool sale_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct check *c = context;
    uint32_t number;
    struct tg_sale_def sale;
    if (!sto_key_read(key, &number, sizeof(number))) {
        find_key(c, "sales");
        return true;
    }
    const char *problem = sto_row_sale_decode(value->mv_data, value->mv_size, number, &sale);
    if (problem) {
        find_damage(c, "sales", number, problem);
        return true;
    }
    c->report->sales++;
    uint32_t has = number < c->sales_size ? c->sale_items[number] : 0;
    if (has != sale.item_count)
        find(c, &c->report->mismatched_items, "table sales, row %u: it counts %u items and has %u",
             number, sale.item_count, has);
    if (has)
        c->sale_items[number] = 0;
    return true;
}

/* --- orders --- */

static uint64_t slot_of(const struct check *c, uint64_t hash)
{
    return (uint64_t)(((unsigned __int128)hash * c->slots) >> 64);
}

/* Equal hashes are not yet equal ids. Fills in when that order was accepted. */
static bool is_same_request(struct check *c, uint64_t order_id, const struct tg_order_row *row,
                            int64_t *accepted_at_ms)
{
    MDB_val key = {sizeof(order_id), &order_id};
    MDB_val value;
    struct tg_order_row other;
    if (mdb_get(c->txn, c->tables.orders, &key, &value) != 0 ||
        sto_row_order_decode(value.mv_data, value.mv_size, order_id, &other) != NULL)
        return false;
    *accepted_at_ms = other.accepted_at_ms;
    return memcmp(other.request_id, row->request_id, sizeof(other.request_id)) == 0;
}

static void request_note(struct check *c, const struct tg_order_row *row)
{
    uint64_t hash = tg_hash(row->request_id, sizeof(row->request_id), c->seed);
    uint64_t slot = slot_of(c, hash);
    while (c->requests[slot].order_id != 0) {
        uint64_t other = c->requests[slot].order_id;
        int64_t accepted_at_ms;
        if (c->requests[slot].hash == hash && is_same_request(c, other, row, &accepted_at_ms)) {
            c->requests[slot].order_id = row->order_id;
            if (row->accepted_at_ms - accepted_at_ms >= c->request_ttl_ms)
                return; /* the first was forgotten: the id was free again */
            find(c, &c->report->duplicate_requests,
                 "table orders, row %llu: its request id also owns order %llu",
                 (unsigned long long)row->order_id, (unsigned long long)other);
            return;
        }
        if (++slot == c->slots)
            slot = 0;
    }
    c->requests[slot] = (struct request){hash, row->order_id};
}

/* Adds the order to what its user holds of the item; a breach is found once, when it happens. */
static void holding_note(struct check *c, const struct tg_order_row *row, uint32_t limit)
{
    uint64_t slot = slot_of(c, tg_hash_words(row->user_id, row->item, c->seed));
    struct holding *holding = &c->holdings[slot];
    while (holding->units != 0 && (holding->user_id != row->user_id || holding->item != row->item))
        holding = ++slot == c->slots ? &c->holdings[slot = 0] : holding + 1;
    uint32_t before = holding->units;
    uint32_t after = before > UINT32_MAX - row->quantity ? UINT32_MAX : before + row->quantity;
    *holding = (struct holding){row->user_id, row->item, after};
    if (before <= limit && after > limit)
        find(c, &c->report->limit_breaches,
             "table orders, row %llu: with it user %llu holds %u units of item %u, whose limit is "
             "%u",
             (unsigned long long)row->order_id, (unsigned long long)row->user_id, after, row->item,
             limit);
}

static bool order_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct check *c = context;
    /* More rows than counted would fill the hash tables, and their loops would not end. */
    if (c->report->orders == c->orders_max) {
        c->error = tg_fault_set(c->fault, TG_ERR_CORRUPT,
                                "table orders: its head counts %llu rows and there are more",
                                (unsigned long long)c->orders_max);
        return false;
    }
    c->report->orders++;
    if (c->progress && c->report->orders % ORDERS_PER_PROGRESS == 0)
        c->progress(c->context, c->report->orders);
    uint64_t order_id;
    if (!sto_key_read(key, &order_id, sizeof(order_id))) {
        find_key(c, "orders");
        return true;
    }
    struct tg_order_row row;
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, &row);
    if (problem) {
        find_damage(c, "orders", order_id, problem);
        return true;
    }
    c->report->units_reserved += row.quantity;
    request_note(c, &row);
    struct seen_item *item = item_of(c, row.item);
    if (!item) {
        find(c, &c->report->orphan_orders, "table orders, row %llu: its item %u does not exist",
             (unsigned long long)order_id, row.item);
        return true;
    }
    item->reserved_units += row.quantity;
    if (item->per_user_limit)
        holding_note(c, &row, item->per_user_limit);
    return true;
}

static bool adjustment_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct check *c = context;
    uint64_t number;
    struct sto_adjustment adjustment;
    if (!sto_key_read(key, &number, sizeof(number))) {
        find_key(c, "adjustments");
        return true;
    }
    c->report->adjustments++;
    const char *problem =
        sto_row_adjustment_decode(value->mv_data, value->mv_size, number, &adjustment);
    if (problem) {
        find_damage(c, "adjustments", number, problem);
        return true;
    }
    struct seen_item *item = item_of(c, adjustment.item);
    if (item)
        item->restocked_units += adjustment.delta_units;
    else
        find(c, &c->report->mismatched_items,
             "table adjustments, row %llu: its item %u does not exist", (unsigned long long)number,
             adjustment.item);
    return true;
}

/* --- judgement --- */

static void item_judge(struct check *c, uint32_t number)
{
    const struct seen_item *item = &c->items[number];
    const struct tg_stock *stock = &item->stock;
    if (!item->has_stock) {
        find(c, &c->report->mismatched_items, "table stock, row %u: missing or damaged", number);
        return;
    }
    if (!tg_stock_holds(stock))
        find(c, &c->report->oversold_items,
             "table stock, row %u: initial %u + restocked %lld is not available %u + reserved %u + "
             "sold %u",
             number, stock->initial_units, (long long)stock->restocked_units,
             stock->available_units, stock->reserved_units, stock->sold_units);
    if (stock->reserved_units != item->reserved_units || stock->sold_units != 0)
        find(c, &c->report->mismatched_items,
             "table stock, row %u: it says reserved %u and sold %u, its orders add up to reserved "
             "%llu and sold 0",
             number, stock->reserved_units, stock->sold_units,
             (unsigned long long)item->reserved_units);
    else if (stock->restocked_units != item->restocked_units)
        find(c, &c->report->mismatched_items,
             "table stock, row %u: it says restocked %lld, its adjustments add up to %lld", number,
             (long long)stock->restocked_units, (long long)item->restocked_units);
}

static void judge(struct check *c)
{
    for (uint64_t number = 0; number < c->items_size; number++) {
        if (c->items[number].known)
            item_judge(c, (uint32_t)number);
    }
    /* What the rows of the sales have not claimed belongs to none. */
    for (uint64_t sale = 0; sale < c->sales_size; sale++) {
        if (c->sale_items[sale])
            find(c, &c->report->mismatched_items,
                 "table sales, row %llu: missing or damaged, and %u items name it",
                 (unsigned long long)sale, c->sale_items[sale]);
    }
}

static enum tg_error verdict(const struct check *c)
{
    const struct sto_verify_report *report = c->report;
    uint64_t total = report->crc_errors + report->oversold_items + report->mismatched_items +
                     report->duplicate_requests + report->limit_breaches + report->orphan_orders;
    if (total == 0)
        return TG_ERR_OK;
    return tg_fault_set(c->fault, TG_ERR_BROKEN, "%s: %llu promises are broken", c->data_dir,
                        (unsigned long long)total);
}

/* --- the passes --- */

static enum tg_error walk(struct check *c, MDB_dbi table,
                          bool (*visit)(void *, const MDB_val *, const MDB_val *))
{
    int rc = sto_table_walk(c->txn, table, visit, c);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot read the database");
    return c->error;
}

static enum tg_error passes(struct check *c)
{
    enum tg_error error = walk(c, c->tables.items, item_visit);
    if (!error)
        error = walk(c, c->tables.stock, stock_visit);
    if (!error)
        error = walk(c, c->tables.sales, sale_visit);
    if (!error)
        error = walk(c, c->tables.orders, order_visit);
    if (!error)
        error = walk(c, c->tables.adjustments, adjustment_visit);
    if (error)
        return error;
    if (c->progress)
        c->progress(c->context, c->report->orders);
    judge(c);
    return verdict(c);
}

/* Takes the memory, and gives it back behind the passes. */
static enum tg_error check_in_memory(struct check *c)
{
    enum tg_error error = walk(c, c->tables.items, sizes_visit);
    if (error)
        return error;
    MDB_stat orders;
    int rc = mdb_stat(c->txn, c->tables.orders, &orders);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot read the database");
    c->orders_max = orders.ms_entries;
    c->slots = c->orders_max + c->orders_max / 2 + 16;
    size_t items_bytes = (c->items_size + 1) * sizeof(*c->items);
    size_t sales_bytes = (c->sales_size + 1) * sizeof(*c->sale_items);
    c->items = tg_mem_map(items_bytes);
    c->sale_items = tg_mem_map(sales_bytes);
    c->requests = tg_mem_map_table(c->slots * sizeof(*c->requests));
    c->holdings = tg_mem_map_table(c->slots * sizeof(*c->holdings));
    if (c->items && c->sale_items && c->requests && c->holdings)
        error = passes(c);
    else
        error = tg_fault_set(c->fault, TG_ERR_NOMEM, "no memory to check %llu orders",
                             (unsigned long long)c->orders_max);
    tg_mem_unmap(c->holdings, c->slots * sizeof(*c->holdings));
    tg_mem_unmap(c->requests, c->slots * sizeof(*c->requests));
    tg_mem_unmap(c->sale_items, sales_bytes);
    tg_mem_unmap(c->items, items_bytes);
    return error;
}

/* --- opening to look --- */

static enum tg_error check_snapshot(struct check *c)
{
    MDB_dbi meta;
    bool present = false;
    int rc = mdb_dbi_open(c->txn, "meta", 0, &meta);
    if (rc == MDB_NOTFOUND)
        return tg_fault_set(c->fault, TG_ERR_CORRUPT,
                            "%s/data.mdb holds no Tidegate database: it has no format record",
                            c->data_dir);
    enum tg_error error = rc ? sto_fault_lmdb(c->fault, rc, "cannot open the table meta")
                             : sto_format_check(c->txn, meta, c->data_dir, &present, c->fault);
    if (error)
        return error;
    if (!present)
        return tg_fault_set(c->fault, TG_ERR_CORRUPT, "%s has no format record", c->data_dir);
    rc = sto_tables_open(c->txn, 0, &c->tables);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot open the tables");
    uint32_t ttl_s;
    c->request_ttl_ms = sto_ttl_read(c->txn, meta, &ttl_s) ? ttl_s * 1000ll : INT64_MAX;
    return check_in_memory(c);
}

static enum tg_error check_environment(struct check *c)
{
    char what[320];
    snprintf(what, sizeof(what), "cannot open the database in %.256s", c->data_dir);
    int rc = mdb_env_set_maxdbs(c->lmdb, STO_TABLES);
    if (!rc)
        rc = mdb_env_open(c->lmdb, c->data_dir, MDB_RDONLY | MDB_NOTLS, 0600);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, what);
    enum tg_error error = sto_file_length_check(c->lmdb, c->data_dir, c->fault);
    if (error)
        return error;
    rc = mdb_txn_begin(c->lmdb, NULL, MDB_RDONLY, &c->txn);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, what);
    error = check_snapshot(c);
    mdb_txn_abort(c->txn);
    return error;
}

/* LMDB would say "no such file" of the file inside; the reader wants to know it of the directory.
 */
static enum tg_error database_exists(const char *data_dir, struct tg_fault *fault)
{
    char path[4096];
    struct stat file;
    int bytes = snprintf(path, sizeof(path), "%s/data.mdb", data_dir);
    if (bytes < 0 || (size_t)bytes >= sizeof(path))
        return tg_fault_set(fault, TG_ERR_INVALID, "the path of the data directory is too long");
    if (stat(path, &file) == 0)
        return TG_ERR_OK;
    if (errno == ENOENT || errno == ENOTDIR)
        return tg_fault_set(fault, TG_ERR_NOTFOUND,
                            "there is no database in %s (it has no data.mdb)", data_dir);
    return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "cannot look at %s", path);
}

enum tg_error sto_verify(const char *data_dir, void (*finding)(void *context, const char *line),
                         void (*progress)(void *context, uint64_t orders), void *context,
                         struct sto_verify_report *report, struct tg_fault *fault)
{
    int64_t begun_ns = tg_clock_mono_ns();
    *report = (struct sto_verify_report){0};
    struct check c = {.data_dir = data_dir,
                      .finding = finding,
                      .progress = progress,
                      .context = context,
                      .report = report,
                      .fault = fault};
    enum tg_error error = database_exists(data_dir, fault);
    if (error)
        return error;
    if (getrandom(&c.seed, sizeof(c.seed), 0) != sizeof(c.seed))
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "no random seed");
    int rc = mdb_env_create(&c.lmdb);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot create the LMDB environment");
    error = check_environment(&c);
    mdb_env_close(c.lmdb);
    report->elapsed_ns = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    return error;
}
