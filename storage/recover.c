/* Recovery: one pass over each table, small ones first, orders last but for the sums.
 *
 *   items -> stock -> sales (handed on with both) -> orders (handed on) -> adjustments -> sums
 *
 * It keeps the shadow stock and one sum per item, nothing per order; what the engine builds of the
 * orders is its own. The first thing that does not hold ends it. */
#include "storage/env.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "storage/rows.h"

#include <stdlib.h>

struct found_item {
    uint32_t sale;
    struct tg_item_def def;
};

/* What the other tables say about an item, to hold against its stock row. */
struct sums {
    uint64_t reserved_units; /* of its orders */
    int64_t restocked_units; /* of its adjustments */
    bool has_stock;
};

struct recovery {
    struct sto_env *env;
    const struct sto_recovery *to;
    struct sto_recovery_stats *stats;
    struct tg_fault *fault;
    enum tg_error error; /* set by the visitor that stopped a walk */
    MDB_txn *txn;
    struct found_item *items; /* sorted by sale, then item */
    uint32_t item_count;
    uint32_t items_given;
    struct sums *sums; /* by item number */
    uint64_t last_order_id;
};

/* --- visitors: one row each, false stops with r->error --- */

#define STOP(r, code, ...) ((r)->error = tg_fault_set((r)->fault, (code), __VA_ARGS__), false)

static bool stop_damaged(struct recovery *r, const char *table, unsigned long long key,
                         const char *problem)
{
    return STOP(r, TG_ERR_CORRUPT, "table %s, row %llu: %s", table, key, problem);
}

static bool stop_key(struct recovery *r, const char *table)
{
    return STOP(r, TG_ERR_CORRUPT, "table %s: a key has the wrong size", table);
}

static bool item_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint32_t number;
    if (!sto_key_read(key, &number, sizeof(number)))
        return stop_key(r, "items");
    struct found_item *found = &r->items[r->item_count];
    const char *problem =
        sto_row_item_decode(value->mv_data, value->mv_size, number, &found->sale, &found->def);
    if (problem)
        return stop_damaged(r, "items", number, problem);
    if (number >= r->env->options.items_max)
        return STOP(r, TG_ERR_FULL,
                    "table items, row %u: the largest number of items is configured as %u; raise "
                    "the limit",
                    number, r->env->options.items_max);
    r->env->items[number].known = true;
    r->item_count++;
    return true;
}

static bool stock_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint32_t number;
    if (!sto_key_read(key, &number, sizeof(number)))
        return stop_key(r, "stock");
    struct tg_stock stock;
    const char *problem = sto_row_stock_decode(value->mv_data, value->mv_size, number, &stock);
    if (problem)
        return stop_damaged(r, "stock", number, problem);
    if (number >= r->env->options.items_max || !r->env->items[number].known)
        return STOP(r, TG_ERR_BROKEN, "table stock, row %u: there is no such item", number);
    if (!tg_stock_holds(&stock))
        return STOP(r, TG_ERR_BROKEN,
                    "table stock, row %u: initial %u + restocked %lld is not available %u + "
                    "reserved %u + sold %u",
                    number, stock.initial_units, (long long)stock.restocked_units,
                    stock.available_units, stock.reserved_units, stock.sold_units);
    r->env->items[number].stock = stock;
    r->sums[number].has_stock = true;
    return true;
}

static bool order_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint64_t order_id;
    if (!sto_key_read(key, &order_id, sizeof(order_id)))
        return stop_key(r, "orders");
    struct tg_order_row row;
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, &row);
    if (problem)
        return stop_damaged(r, "orders", order_id, problem);
    if (order_id <= r->last_order_id)
        return stop_damaged(r, "orders", order_id, "its id is not above the one before it");
    if (row.item >= r->env->options.items_max || !r->env->items[row.item].known)
        return STOP(r, TG_ERR_BROKEN, "table orders, row %llu: its item %u does not exist",
                    (unsigned long long)order_id, row.item);
    r->last_order_id = order_id;
    r->sums[row.item].reserved_units += row.quantity;
    r->stats->orders++;
    if (!r->to->order(r->to->context, &row, r->fault)) {
        r->error = r->fault->error;
        return false;
    }
    return true;
}

static bool adjustment_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint64_t number;
    if (!sto_key_read(key, &number, sizeof(number)))
        return stop_key(r, "adjustments");
    struct sto_adjustment adjustment;
    const char *problem =
        sto_row_adjustment_decode(value->mv_data, value->mv_size, number, &adjustment);
    if (problem)
        return stop_damaged(r, "adjustments", number, problem);
    if (adjustment.item >= r->env->options.items_max || !r->env->items[adjustment.item].known)
        return STOP(r, TG_ERR_BROKEN, "table adjustments, row %llu: its item %u does not exist",
                    (unsigned long long)number, adjustment.item);
    r->sums[adjustment.item].restocked_units += adjustment.delta_units;
    r->env->adjustment_last = number;
    return true;
}

/* --- sales --- */

static int by_sale_and_item(const void *a, const void *b)
{
    const struct found_item *x = a, *y = b;
    if (x->sale != y->sale)
        return x->sale < y->sale ? -1 : 1;
    return x->def.item < y->def.item ? -1 : x->def.item > y->def.item;
}

/* The first item whose sale is not below `sale`. */
static uint32_t items_from(const struct recovery *r, uint32_t sale)
{
    uint32_t low = 0, high = r->item_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (r->items[middle].sale < sale)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Puts the items of a sale and their stock behind its head, and hands it on. */
static bool sale_give(struct recovery *r, const struct tg_sale_def *head, uint32_t first)
{
    struct tg_sale_def *def = tg_sale_def_create(head->item_count);
    struct tg_stock *stocks = calloc(head->item_count, sizeof(*stocks));
    bool given = false;
    if (!def || !stocks) {
        given = STOP(r, TG_ERR_NOMEM, "no memory for the %u items of sale number %u",
                     head->item_count, head->sale);
        goto done;
    }
    *def = *head;
    for (uint32_t i = 0; i < head->item_count; i++) {
        def->items[i] = r->items[first + i].def;
        stocks[i] = r->env->items[def->items[i].item].stock;
        def->items[i].stock_units = stocks[i].initial_units;
    }
    given = r->to->sale(r->to->context, def, stocks, r->fault);
    if (!given)
        r->error = r->fault->error;
done:
    free(stocks);
    free(def);
    return given;
}

static bool sale_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint32_t sale;
    if (!sto_key_read(key, &sale, sizeof(sale)))
        return stop_key(r, "sales");
    struct tg_sale_def head;
    const char *problem = sto_row_sale_decode(value->mv_data, value->mv_size, sale, &head);
    if (problem)
        return stop_damaged(r, "sales", sale, problem);
    uint32_t first = items_from(r, sale);
    uint32_t count = 0;
    while (first + count < r->item_count && r->items[first + count].sale == sale)
        count++;
    if (count != head.item_count)
        return STOP(r, TG_ERR_BROKEN, "table sales, row %u: it counts %u items and has %u", sale,
                    head.item_count, count);
    r->items_given += count;
    r->stats->sales++;
    r->stats->items += count;
    return sale_give(r, &head, first);
}

/* --- the passes --- */

static enum tg_error walk(struct recovery *r, MDB_dbi table,
                          bool (*visit)(void *, const MDB_val *, const MDB_val *))
{
    int rc = sto_table_walk(r->txn, table, visit, r);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    return r->error;
}

/* Items and stock, and that every item has a row of each. */
static enum tg_error load_items(struct recovery *r)
{
    enum tg_error error = walk(r, r->env->tables.items, item_visit);
    if (!error)
        error = walk(r, r->env->tables.stock, stock_visit);
    if (error)
        return error;
    for (uint32_t i = 0; i < r->item_count; i++) {
        uint32_t item = r->items[i].def.item;
        if (!r->sums[item].has_stock)
            return tg_fault_set(r->fault, TG_ERR_BROKEN,
                                "table stock, row %u: missing, and the item exists", item);
    }
    qsort(r->items, r->item_count, sizeof(*r->items), by_sale_and_item);
    return TG_ERR_OK;
}

/* Sales with their items, and that no item is without a sale. */
static enum tg_error give_sales(struct recovery *r)
{
    enum tg_error error = walk(r, r->env->tables.sales, sale_visit);
    if (error || r->items_given == r->item_count)
        return error;
    for (uint32_t i = 0; i < r->item_count; i++) {
        MDB_val key = {sizeof(r->items[i].sale), &r->items[i].sale};
        MDB_val value;
        if (mdb_get(r->txn, r->env->tables.sales, &key, &value))
            return tg_fault_set(r->fault, TG_ERR_BROKEN,
                                "table items, row %u: its sale number %u does not exist",
                                r->items[i].def.item, r->items[i].sale);
    }
    return tg_fault_set(r->fault, TG_ERR_BROKEN, "table items: %u of %u items belong to sales",
                        r->items_given, r->item_count);
}

static enum tg_error check_sums(struct recovery *r)
{
    for (uint32_t i = 0; i < r->item_count; i++) {
        uint32_t item = r->items[i].def.item;
        const struct tg_stock *stock = &r->env->items[item].stock;
        const struct sums *sums = &r->sums[item];
        if (stock->reserved_units != sums->reserved_units || stock->sold_units != 0)
            return tg_fault_set(r->fault, TG_ERR_BROKEN,
                                "table stock, row %u: it says reserved %u and sold %u, its orders "
                                "add up to reserved %llu and sold 0",
                                item, stock->reserved_units, stock->sold_units,
                                (unsigned long long)sums->reserved_units);
        if (stock->restocked_units != sums->restocked_units)
            return tg_fault_set(r->fault, TG_ERR_BROKEN,
                                "table stock, row %u: it says restocked %lld, its adjustments add "
                                "up to %lld",
                                item, (long long)stock->restocked_units,
                                (long long)sums->restocked_units);
    }
    return TG_ERR_OK;
}

static enum tg_error passes(struct recovery *r)
{
    enum tg_error error = load_items(r);
    if (!error)
        error = give_sales(r);
    if (!error)
        error = walk(r, r->env->tables.orders, order_visit);
    if (!error)
        error = walk(r, r->env->tables.adjustments, adjustment_visit);
    return error ? error : check_sums(r);
}

/* Memory for the passes, all of it given back before recovery returns. */
static enum tg_error recover_in(struct recovery *r)
{
    MDB_stat stat;
    int rc = mdb_stat(r->txn, r->env->tables.items, &stat);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    size_t items_bytes = (stat.ms_entries + 1) * sizeof(*r->items);
    size_t sums_bytes = r->env->options.items_max * sizeof(*r->sums);
    r->items = tg_mem_map(items_bytes);
    r->sums = tg_mem_map(sums_bytes);
    enum tg_error error = r->items && r->sums ? passes(r)
                                              : tg_fault_set(r->fault, TG_ERR_NOMEM,
                                                             "no memory to recover %llu items",
                                                             (unsigned long long)stat.ms_entries);
    tg_mem_unmap(r->sums, sums_bytes);
    tg_mem_unmap(r->items, items_bytes);
    return error;
}

enum tg_error sto_recover(struct sto_env *env, const struct sto_recovery *recovery,
                          struct sto_recovery_stats *stats, struct tg_fault *fault)
{
    tg_assert(!env->used);
    env->used = true;
    int64_t begun_ns = tg_clock_mono_ns();
    struct tg_fault unheard = {0};
    struct recovery r = {
        .env = env, .to = recovery, .stats = stats, .fault = fault ? fault : &unheard};
    *stats = (struct sto_recovery_stats){0};
    int rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &r.txn);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot begin to recover");
    enum tg_error error = recover_in(&r);
    mdb_txn_abort(r.txn);
    stats->elapsed_ns = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    env->stats.order_sequence = r.last_order_id >> TG_PARTITION_BITS;
    env->ready = error == TG_ERR_OK;
    return error;
}
