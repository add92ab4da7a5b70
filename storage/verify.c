/* The offline check: every promise over the whole database, on one snapshot.
 *
 *   pages -> items -> stock with its log -> sales -> orders, with lives and events in step
 *     -> teams -> ingested -> groups -> adjustments -> judgement of every item
 *
 * Here: opening to look, the catalogue and the judgement. 20 million orders take about 1 GiB, most
 * of the time in cache misses of the two hash tables (check.h). */
#include "storage/check.h"

#include "base/clock.h"
#include "base/mem.h"
#include "proto/verdict.h"
#include "storage/pages.h"
#include "storage/rows.h"
#include "storage/stock_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#define FINDINGS_MAX 100

/* --- findings --- */

void sto_check_find(struct sto_check *c, uint64_t *counter, const char *format, ...)
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

void sto_check_find_damage(struct sto_check *c, const char *table, unsigned long long key,
                           const char *problem)
{
    sto_check_find(c, &c->report->crc_errors, "table %s, row %llu: %s", table, key, problem);
}

void sto_check_find_key(struct sto_check *c, const char *table)
{
    sto_check_find(c, &c->report->crc_errors, "table %s: a key has the wrong size", table);
}

/* --- reading --- */

bool sto_check_feed_next(struct sto_check *c, struct sto_check_feed *feed)
{
    MDB_val key;
    int rc =
        feed->cursor ? mdb_cursor_get(feed->cursor, &key, &feed->value, MDB_NEXT) : MDB_NOTFOUND;
    while (rc == 0 && !sto_key_read(&key, &feed->key, sizeof(feed->key))) {
        sto_check_find_key(c, feed->table);
        rc = mdb_cursor_get(feed->cursor, &key, &feed->value, MDB_NEXT);
    }
    if (rc == MDB_NOTFOUND)
        feed->key = UINT64_MAX;
    else if (rc)
        c->error = sto_fault_lmdb(c->fault, rc, "cannot read the database");
    return c->error == TG_ERR_OK;
}

bool sto_check_feed_open(struct sto_check *c, struct sto_check_feed *feed, const char *name,
                         MDB_dbi table)
{
    *feed = (struct sto_check_feed){.table = name};
    int rc = table == STO_NO_TABLE ? 0 : mdb_cursor_open(c->txn, table, &feed->cursor);
    if (rc) {
        c->error = sto_fault_lmdb(c->fault, rc, "cannot read the database");
        return false;
    }
    return sto_check_feed_next(c, feed);
}

void sto_check_feed_close(struct sto_check_feed *feed)
{
    if (feed->cursor)
        mdb_cursor_close(feed->cursor);
    feed->cursor = NULL;
}

bool sto_check_find_row(struct sto_check *c, MDB_dbi table, const void *key, size_t key_bytes,
                        MDB_val *value)
{
    MDB_val key_value = {key_bytes, (void *)(uintptr_t)key};
    return table != STO_NO_TABLE && mdb_get(c->txn, table, &key_value, value) == 0;
}

bool sto_check_get(struct sto_check *c, MDB_dbi table, uint64_t key, MDB_val *value)
{
    return sto_check_find_row(c, table, &key, sizeof(key), value);
}

bool sto_check_order(struct sto_check *c, uint64_t order_id, struct tg_order_row *row)
{
    MDB_val value;
    return sto_check_get(c, c->tables.orders, order_id, &value) &&
           sto_row_order_decode(value.mv_data, value.mv_size, order_id, row) == NULL;
}

/* --- items, stock, sales --- */

/* Only undamaged rows count: a damaged number must not size an array. */
static bool sizes_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint32_t number, sale;
    struct tg_item_def item;
    if (!sto_key_read(key, &number, sizeof(number)) ||
        sto_row_item_decode(value->mv_data, value->mv_size, number, &sale, &item))
        return true;
    if (number >= STO_CHECK_ITEMS_MAX || sale >= STO_CHECK_SALES_MAX)
        return true;
    if (number >= c->items_size)
        c->items_size = (uint64_t)number + 1;
    if (sale >= c->sales_size)
        c->sales_size = (uint64_t)sale + 1;
    return true;
}

static bool item_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint32_t number, sale;
    struct tg_item_def item;
    if (!sto_key_read(key, &number, sizeof(number))) {
        sto_check_find_key(c, "items");
        return true;
    }
    const char *problem = sto_row_item_decode(value->mv_data, value->mv_size, number, &sale, &item);
    if (!problem && number >= STO_CHECK_ITEMS_MAX)
        problem = "its number is above any that can be configured";
    if (!problem && sale >= STO_CHECK_SALES_MAX)
        problem = "its sale's number is above any that can be configured";
    if (problem) {
        sto_check_find_damage(c, "items", number, problem);
        return true;
    }
    c->items[number] = (struct sto_check_item){.sale = sale,
                                               .per_user_limit = item.per_user_limit,
                                               .stock_policy = item.stock_policy,
                                               .known = true};
    /* The table is walked in the order of numbers. */
    if (c->sales[sale].items++ == 0)
        c->sales[sale].first_item = number;
    c->sales[sale].last_item = number;
    c->report->items++;
    return true;
}

struct sto_check_item *sto_check_item(struct sto_check *c, uint32_t number)
{
    return number < c->items_size && c->items[number].known ? &c->items[number] : NULL;
}

static bool stock_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint32_t number;
    struct tg_stock stock;
    if (!sto_key_read(key, &number, sizeof(number))) {
        sto_check_find_key(c, "stock");
        return true;
    }
    struct sto_check_item *item = sto_check_item(c, number);
    const char *problem = sto_row_stock_decode(value->mv_data, value->mv_size, number, &stock);
    if (problem) {
        sto_check_find_damage(c, "stock", number, problem);
    } else if (!item) {
        sto_check_find(c, &c->report->mismatched_items,
                       "table stock, row %u: there is no such item", number);
    } else {
        item->stock = stock;
        item->has_stock = true;
    }
    return true;
}

static bool log_entry(void *context, uint64_t number, uint32_t item_number,
                      const struct tg_stock *stock)
{
    struct sto_check *c = context;
    struct sto_check_item *item = sto_check_item(c, item_number);
    if (!item || !item->has_stock) {
        sto_check_find(c, &c->report->mismatched_items,
                       "table stock_log, row %llu: its item %u has no stock row",
                       (unsigned long long)number, item_number);
        return true;
    }
    uint32_t initial_units = item->stock.initial_units;
    item->stock = *stock;
    item->stock.initial_units = initial_units;
    return true;
}

static bool log_damage(void *context, uint64_t number, const char *problem)
{
    sto_check_find_damage(context, "stock_log", number, problem);
    return true;
}

static enum tg_error check_stock_log(struct sto_check *c)
{
    struct sto_stock_log_look look = {.context = c, .entry = log_entry, .damage = log_damage};
    int rc = sto_stock_log_look(c->txn, c->tables.stock_log, &look);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot read the database");
    return c->error;
}

static bool sale_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint32_t number;
    struct tg_sale_def sale;
    if (!sto_key_read(key, &number, sizeof(number))) {
        sto_check_find_key(c, "sales");
        return true;
    }
    const char *problem = sto_row_sale_decode(value->mv_data, value->mv_size, number, &sale);
    if (problem) {
        sto_check_find_damage(c, "sales", number, problem);
        return true;
    }
    c->report->sales++;
    uint32_t has = number < c->sales_size ? c->sales[number].items : 0;
    if (has != sale.item_count)
        sto_check_find(c, &c->report->mismatched_items,
                       "table sales, row %u: it counts %u items and has %u", number,
                       sale.item_count, has);
    else if (has && c->sales[number].last_item - c->sales[number].first_item + 1 != has)
        sto_check_find(c, &c->report->mismatched_items,
                       "table sales, row %u: its %u items have the numbers %u to %u, with gaps",
                       number, has, c->sales[number].first_item, c->sales[number].last_item);
    if (has) {
        c->sales[number].known = true;
        c->sales[number].is_group_buy = sale.kind == TG_SALE_GROUP_BUY;
    }
    return true;
}

/* --- adjustments --- */

static bool adjustment_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint64_t number;
    struct sto_adjustment adjustment;
    if (!sto_key_read(key, &number, sizeof(number))) {
        sto_check_find_key(c, "adjustments");
        return true;
    }
    c->report->adjustments++;
    const char *problem =
        sto_row_adjustment_decode(value->mv_data, value->mv_size, number, &adjustment);
    if (problem) {
        sto_check_find_damage(c, "adjustments", number, problem);
        return true;
    }
    struct sto_check_item *item = sto_check_item(c, adjustment.item);
    if (item)
        item->restocked_units += adjustment.delta_units;
    else
        sto_check_find(c, &c->report->mismatched_items,
                       "table adjustments, row %llu: its item %u does not exist",
                       (unsigned long long)number, adjustment.item);
    return true;
}

/* --- judgement --- */

static void item_judge(struct sto_check *c, uint32_t number)
{
    const struct sto_check_item *item = &c->items[number];
    const struct tg_stock *stock = &item->stock;
    if (!item->has_stock) {
        sto_check_find(c, &c->report->mismatched_items, "table stock, row %u: missing or damaged",
                       number);
        return;
    }
    if (!tg_stock_holds(stock))
        sto_check_find(
            c, &c->report->oversold_items,
            "table stock, row %u: initial %u + restocked %lld is not available %u + reserved %u + "
            "sold %u",
            number, stock->initial_units, (long long)stock->restocked_units, stock->available_units,
            stock->reserved_units, stock->sold_units);
    if (stock->reserved_units != item->reserved_units || stock->sold_units != item->sold_units)
        sto_check_find(
            c, &c->report->mismatched_items,
            "table stock, row %u: it says reserved %u and sold %u, its orders add up to reserved "
            "%llu and sold %llu",
            number, stock->reserved_units, stock->sold_units,
            (unsigned long long)item->reserved_units, (unsigned long long)item->sold_units);
    else if (stock->restocked_units != item->restocked_units)
        sto_check_find(
            c, &c->report->mismatched_items,
            "table stock, row %u: it says restocked %lld, its adjustments add up to %lld", number,
            (long long)stock->restocked_units, (long long)item->restocked_units);
}

/* By the rows, not by the arrays: numbers may be large and far between. */
static bool judge_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint32_t number;
    (void)value;
    if (!sto_key_read(key, &number, sizeof(number)) || !sto_check_item(c, number))
        return true;
    item_judge(c, number);
    uint32_t number_of_sale = c->items[number].sale;
    const struct sto_check_sale *sale = &c->sales[number_of_sale];
    if (sale->first_item == number && !sale->known)
        sto_check_find(c, &c->report->mismatched_items,
                       "table sales, row %u: missing or damaged, and %u items name it",
                       number_of_sale, sale->items);
    return true;
}

static enum tg_error verdict(const struct sto_check *c)
{
    const struct sto_verify_report *report = c->report;
    uint64_t total = report->page_errors + report->crc_errors + report->oversold_items +
                     report->mismatched_items + report->duplicate_requests +
                     report->limit_breaches + report->orphan_orders + report->broken_money +
                     report->broken_teams + report->broken_events;
    if (total == 0)
        return TG_ERR_OK;
    return tg_fault_set(c->fault, TG_ERR_BROKEN, "%s: %llu promises are broken", c->data_dir,
                        (unsigned long long)total);
}

/* --- the passes --- */

enum tg_error sto_check_walk(struct sto_check *c, MDB_dbi table,
                             bool (*visit)(void *, const MDB_val *, const MDB_val *))
{
    int rc = sto_table_walk(c->txn, table, visit, c);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot read the database");
    return c->error;
}

static enum tg_error passes(struct sto_check *c)
{
    enum tg_error error = sto_check_walk(c, c->tables.items, item_visit);
    if (!error)
        error = sto_check_walk(c, c->tables.stock, stock_visit);
    if (!error)
        error = check_stock_log(c);
    if (!error)
        error = sto_check_walk(c, c->tables.sales, sale_visit);
    if (!error)
        error = sto_check_orders(c);
    if (!error)
        error = sto_check_teams(c);
    if (!error)
        error = sto_check_ingested(c);
    if (!error)
        error = sto_check_groups(c);
    if (!error)
        error = sto_check_walk(c, c->tables.adjustments, adjustment_visit);
    if (error)
        return error;
    if (c->progress)
        c->progress(c->context, c->report->orders);
    error = sto_check_walk(c, c->tables.items, judge_visit);
    return error ? error : verdict(c);
}

/* Rows of a table as its head counts them; a database of format 1 has no lives. */
static int rows_of(struct sto_check *c, MDB_dbi table, uint64_t *rows)
{
    MDB_stat stat = {0};
    int rc = table == STO_NO_TABLE ? 0 : mdb_stat(c->txn, table, &stat);
    *rows = stat.ms_entries;
    return rc;
}

/* Takes the memory, and gives it back behind the passes. */
static enum tg_error check_in_memory(struct sto_check *c)
{
    enum tg_error error = sto_check_walk(c, c->tables.items, sizes_visit);
    if (error)
        return error;
    int rc = rows_of(c, c->tables.orders, &c->orders_max);
    if (!rc)
        rc = rows_of(c, c->tables.lives, &c->lives_max);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot read the database");
    c->request_slots = c->holding_slots = c->orders_max + c->orders_max / 2 + 16;
    size_t items_bytes = (c->items_size + 1) * sizeof(*c->items);
    size_t sales_bytes = (c->sales_size + 1) * sizeof(*c->sales);
    size_t marks_bytes = (c->lives_max + 1) * sizeof(*c->marks);
    c->items = tg_mem_map(items_bytes);
    c->sales = tg_mem_map(sales_bytes);
    c->marks = tg_mem_map(marks_bytes);
    c->requests = tg_mem_map_table(c->request_slots * sizeof(*c->requests));
    c->holdings = tg_mem_map_table(c->holding_slots * sizeof(*c->holdings));
    if (c->items && c->sales && c->marks && c->requests && c->holdings)
        error = passes(c);
    else
        error = tg_fault_set(c->fault, TG_ERR_NOMEM, "no memory to check %llu orders",
                             (unsigned long long)c->orders_max);
    tg_mem_unmap(c->holdings, c->holding_slots * sizeof(*c->holdings));
    tg_mem_unmap(c->requests, c->request_slots * sizeof(*c->requests));
    tg_mem_unmap(c->marks, marks_bytes);
    tg_mem_unmap(c->sales, sales_bytes);
    tg_mem_unmap(c->items, items_bytes);
    return error;
}

/* --- opening to look --- */

static bool meta_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    const char *problem = sto_meta_row_problem(key, value);
    if (problem)
        sto_check_find(c, &c->report->crc_errors, "table meta, row %.*s: %s",
                       key->mv_size < 32 ? (int)key->mv_size : 32, (const char *)key->mv_data,
                       problem);
    return true;
}

static enum tg_error check_snapshot(struct sto_check *c)
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
    if (error && error != TG_ERR_CORRUPT)
        return error;
    if (!error && !present)
        sto_check_find(c, &c->report->crc_errors, "table meta, row " STO_FORMAT_KEY ": missing");
    error = sto_check_walk(c, meta, meta_visit);
    if (error)
        return error;
    rc = sto_tables_open(c->txn, 0, &c->tables);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot open the tables");
    uint32_t ttl_s;
    c->request_ttl_ms = sto_ttl_read(c->txn, meta, &ttl_s) ? ttl_s * 1000ll : INT64_MAX;
    rc = sto_event_first_read(c->txn, meta, &c->event_first);
    if (rc == MDB_CORRUPTED)
        c->event_first = 0;
    else if (rc)
        return sto_fault_lmdb(c->fault, rc, "cannot read the first sequence of the outbox");
    return check_in_memory(c);
}

static enum tg_error check_environment(struct sto_check *c)
{
    char what[320];
    snprintf(what, sizeof(what), "cannot open the database in %.256s", c->data_dir);
    int rc = mdb_env_set_maxdbs(c->lmdb, STO_TABLES);
    if (!rc)
        rc = mdb_env_open(c->lmdb, c->data_dir, MDB_RDONLY | MDB_NOTLS, 0600);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, what);
    rc = mdb_txn_begin(c->lmdb, NULL, MDB_RDONLY, &c->txn);
    if (rc)
        return sto_fault_lmdb(c->fault, rc, what);
    c->has_snapshot = true;
    enum tg_error error = sto_check_pages(c);
    if (error == TG_ERR_CORRUPT)
        error = verdict(c);
    else if (!error)
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
    struct sto_check c = {.data_dir = data_dir,
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
    error = sto_pages_can_open(data_dir, fault);
    if (!error)
        error = check_environment(&c);
    mdb_env_close(c.lmdb);
    /* Damage that keeps LMDB from opening the file at all is told as any other. */
    if (error && !c.has_snapshot && sto_check_closed_pages(&c) == TG_ERR_CORRUPT)
        error = verdict(&c);
    report->elapsed_ns = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    return error;
}
