/* Recovery: one pass over each table, small ones first.
 *
 *   items -> stock -> sales (handed on with both) -> groups (handed on)
 *     -> orders, lives in step (handed on) -> teams (handed on) -> events, ingested, adjustments
 *     -> sums
 *
 * Orders and their lives, nearly all that there is, are read in recover_orders.c.
 *
 * It keeps the shadow stock and one sum per item, nothing per order; what the engine builds of the
 * orders is its own. The first thing that does not hold ends it. */
#include "storage/recover.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/verdict.h"
#include "storage/rows.h"
#include "storage/stock_log.h"

#include <stdlib.h>
#include <string.h>

/* --- visitors: one row each, false stops with r->error --- */

static bool item_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint32_t number;
    if (!sto_key_read(key, &number, sizeof(number)))
        return sto_recover_stop_key(r, "items");
    struct sto_recovering_item *found = &r->items[r->item_count];
    const char *problem =
        sto_row_item_decode(value->mv_data, value->mv_size, number, &found->sale, &found->def);
    if (problem)
        return sto_recover_stop_damaged(r, "items", number, problem);
    if (number >= r->env->options.items_max)
        return STO_RECOVER_STOP(
            r, TG_ERR_FULL,
            "table items, row %u: the largest number of items is configured as %u; raise "
            "the limit",
            number, r->env->options.items_max);
    r->env->items[number].known = true;
    r->item_count++;
    return true;
}

static bool stock_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint32_t number;
    if (!sto_key_read(key, &number, sizeof(number)))
        return sto_recover_stop_key(r, "stock");
    struct tg_stock stock;
    const char *problem = sto_row_stock_decode(value->mv_data, value->mv_size, number, &stock);
    if (problem)
        return sto_recover_stop_damaged(r, "stock", number, problem);
    if (number >= r->env->options.items_max || !r->env->items[number].known)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN, "table stock, row %u: there is no such item",
                                number);
    if (!tg_stock_holds(&stock))
        return STO_RECOVER_STOP(
            r, TG_ERR_BROKEN,
            "table stock, row %u: initial %u + restocked %lld is not available %u + "
            "reserved %u + sold %u",
            number, stock.initial_units, (long long)stock.restocked_units, stock.available_units,
            stock.reserved_units, stock.sold_units);
    r->env->items[number].stock = stock;
    r->sums[number].has_stock = true;
    return true;
}

/* What a commit made of the stock later than its row says. */
static bool log_entry(void *context, uint64_t number, uint32_t item, const struct tg_stock *stock)
{
    struct sto_recovering *r = context;
    struct sto_env *env = r->env;
    if (item >= env->options.items_max || !r->sums[item].has_stock)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                                "table stock_log, row %llu: its item %u has no stock row",
                                (unsigned long long)number, item);
    uint32_t initial_units = env->items[item].stock.initial_units;
    env->items[item].stock = *stock;
    env->items[item].stock.initial_units = initial_units;
    env->logged_bits[item / 64] |= 1ull << item % 64;
    if (tg_stock_holds(&env->items[item].stock))
        return true;
    return STO_RECOVER_STOP(
        r, TG_ERR_BROKEN,
        "table stock_log, row %llu: initial %u of item %u + restocked %lld is not available %u + "
        "reserved %u + sold %u",
        (unsigned long long)number, initial_units, item, (long long)stock->restocked_units,
        stock->available_units, stock->reserved_units, stock->sold_units);
}

static bool log_damage(void *context, uint64_t number, const char *problem)
{
    return sto_recover_stop_damaged(context, "stock_log", number, problem);
}

/* --- teams, events, groups --- */

/* A seat of a team that is not over is an order that names the team: the engine will change it as
 * a member. Of teams that are over only the ids are looked at; verify looks at all of them. */
static bool seat_check(struct sto_recovering *r, const struct tg_team *team,
                       const struct tg_seat *seat)
{
    if (seat->order_id % TG_PARTITIONS != r->env->items[team->item].partition)
        return STO_RECOVER_STOP(
            r, TG_ERR_BROKEN,
            "table teams, row %llu: the id of its seat %llu names another partition",
            (unsigned long long)team->team_id, (unsigned long long)seat->order_id);
    if (team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN)
        return true;
    uint64_t order_id = seat->order_id;
    MDB_val key = {sizeof(order_id), &order_id};
    MDB_val value;
    struct tg_order_row row;
    int rc = mdb_get(r->txn, r->env->tables.orders, &key, &value);
    if (rc == 0 && sto_row_order_decode(value.mv_data, value.mv_size, order_id, &row) == NULL &&
        row.team_id == team->team_id && row.user_id == seat->user_id && row.item == team->item)
        return true;
    return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                            "table teams, row %llu: its seat %llu is no order of it",
                            (unsigned long long)team->team_id, (unsigned long long)order_id);
}

static bool team_check(struct sto_recovering *r, const struct tg_team *team)
{
    if (team->item >= r->env->options.items_max || !r->env->items[team->item].known)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                                "table teams, row %llu: its item %u does not exist",
                                (unsigned long long)team->team_id, team->item);
    if (team->seat_count > team->size)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                                "table teams, row %llu: %u of its %u seats are taken",
                                (unsigned long long)team->team_id, team->seat_count, team->size);
    for (uint8_t i = 0; i < team->seat_count; i++) {
        if (!seat_check(r, team, &team->seats[i]))
            return false;
    }
    return true;
}

static bool team_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint64_t team_id;
    if (!sto_key_read(key, &team_id, sizeof(team_id)))
        return sto_recover_stop_key(r, "teams");
    struct tg_team team;
    const char *problem = sto_row_team_decode(value->mv_data, value->mv_size, team_id, &team);
    if (problem)
        return sto_recover_stop_damaged(r, "teams", team_id, problem);
    if (!team_check(r, &team))
        return false;
    r->stats->teams++;
    if (team.state != TG_TEAM_PENDING && team.state != TG_TEAM_OPEN)
        return true;
    if (r->to->team && !r->to->team(r->to->context, &team, r->fault)) {
        r->error = r->fault->error;
        return false;
    }
    return true;
}

static bool event_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint64_t sequence;
    if (!sto_key_read(key, &sequence, sizeof(sequence)))
        return sto_recover_stop_key(r, "events");
    struct tg_event event;
    const char *problem = sto_row_event_decode(value->mv_data, value->mv_size, sequence, &event);
    if (problem)
        return sto_recover_stop_damaged(r, "events", sequence, problem);
    r->stats->events++;
    r->sequences += sequence >= r->env->stats.event_first;
    return true;
}

static bool ingested_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t order_id;
    if (!sto_key_read(key, request_id, sizeof(request_id)))
        return sto_recover_stop_key(r, "ingested");
    const char *problem =
        sto_row_ingested_decode(value->mv_data, value->mv_size, request_id, &order_id);
    if (!problem)
        return true;
    uint64_t number;
    memcpy(&number, request_id, sizeof(number));
    return STO_RECOVER_STOP(r, TG_ERR_CORRUPT, "table ingested, row of request %016llx...: %s",
                            (unsigned long long)__builtin_bswap64(number), problem);
}

static bool group_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    struct tg_group group;
    int name_bytes =
        key->mv_size < TG_GROUP_NAME_BYTES_MAX ? (int)key->mv_size : TG_GROUP_NAME_BYTES_MAX;
    const char *name = key->mv_data;
    const char *problem =
        sto_row_group_decode(value->mv_data, value->mv_size, name, key->mv_size, &group);
    if (problem)
        return STO_RECOVER_STOP(r, TG_ERR_CORRUPT, "table groups, row %.*s: %s", name_bytes, name,
                                problem);
    if (group.offset > r->sequence_last)
        return STO_RECOVER_STOP(
            r, TG_ERR_BROKEN,
            "table groups, row %.*s: its offset is %llu, and the newest sequence %llu", name_bytes,
            name, (unsigned long long)group.offset, (unsigned long long)r->sequence_last);
    r->stats->groups++;
    if (r->to->group && !r->to->group(r->to->context, &group, r->fault)) {
        r->error = r->fault->error;
        return false;
    }
    return true;
}

/* --- adjustments --- */

static bool adjustment_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint64_t number;
    if (!sto_key_read(key, &number, sizeof(number)))
        return sto_recover_stop_key(r, "adjustments");
    struct sto_adjustment adjustment;
    const char *problem =
        sto_row_adjustment_decode(value->mv_data, value->mv_size, number, &adjustment);
    if (problem)
        return sto_recover_stop_damaged(r, "adjustments", number, problem);
    if (adjustment.item >= r->env->options.items_max || !r->env->items[adjustment.item].known)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                                "table adjustments, row %llu: its item %u does not exist",
                                (unsigned long long)number, adjustment.item);
    r->sums[adjustment.item].restocked_units += adjustment.delta_units;
    r->env->adjustment_last = number;
    return true;
}

/* --- sales --- */

static int by_sale_and_item(const void *a, const void *b)
{
    const struct sto_recovering_item *x = a, *y = b;
    if (x->sale != y->sale)
        return x->sale < y->sale ? -1 : 1;
    return x->def.item < y->def.item ? -1 : x->def.item > y->def.item;
}

/* The first item whose sale is not below `sale`. */
static uint32_t items_from(const struct sto_recovering *r, uint32_t sale)
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

/* Puts the items of a sale and their stock behind its head, and hands it on. Only now is it known
 * what partition and policy each item has. */
static bool sale_give(struct sto_recovering *r, const struct tg_sale_def *head, uint32_t first)
{
    struct tg_sale_def *def = tg_sale_def_create(head->item_count);
    struct tg_stock *stocks = calloc(head->item_count + 1ul, sizeof(*stocks)); /* never of none */
    bool given = false;
    if (!def || !stocks) {
        given = STO_RECOVER_STOP(r, TG_ERR_NOMEM, "no memory for the %u items of sale number %u",
                                 head->item_count, head->sale);
        goto done;
    }
    *def = *head;
    for (uint32_t i = 0; i < head->item_count; i++) {
        def->items[i] = r->items[first + i].def;
        stocks[i] = r->env->items[def->items[i].item].stock;
        def->items[i].stock_units = stocks[i].initial_units;
    }
    for (uint32_t i = 0; i < head->item_count; i++)
        sto_item_rules_set(&r->env->items[def->items[i].item], def, &def->items[i]);
    given = !r->to->sale || r->to->sale(r->to->context, def, stocks, r->fault);
    if (!given)
        r->error = r->fault->error;
done:
    free(stocks);
    free(def);
    return given;
}

static bool sale_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_recovering *r = context;
    uint32_t sale;
    if (!sto_key_read(key, &sale, sizeof(sale)))
        return sto_recover_stop_key(r, "sales");
    struct tg_sale_def head;
    const char *problem = sto_row_sale_decode(value->mv_data, value->mv_size, sale, &head);
    if (problem)
        return sto_recover_stop_damaged(r, "sales", sale, problem);
    uint32_t first = items_from(r, sale);
    uint32_t count = 0;
    while (first + count < r->item_count && r->items[first + count].sale == sale)
        count++;
    if (count != head.item_count)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                                "table sales, row %u: it counts %u items and has %u", sale,
                                head.item_count, count);
    if (count && r->items[first + count - 1].def.item - r->items[first].def.item != count - 1)
        return STO_RECOVER_STOP(
            r, TG_ERR_BROKEN,
            "table sales, row %u: its %u items have the numbers %u to %u, with gaps", sale, count,
            r->items[first].def.item, r->items[first + count - 1].def.item);
    r->items_given += count;
    r->stats->sales++;
    r->stats->items += count;
    return sale_give(r, &head, first);
}

/* --- the passes --- */

static enum tg_error walk(struct sto_recovering *r, MDB_dbi table,
                          bool (*visit)(void *, const MDB_val *, const MDB_val *))
{
    int rc = sto_table_walk(r->txn, table, visit, r);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    return r->error;
}

static enum tg_error load_stock_log(struct sto_recovering *r)
{
    struct sto_stock_log_look look = {.context = r, .entry = log_entry, .damage = log_damage};
    int rc = sto_stock_log_look(r->txn, r->env->tables.stock_log, &look);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    r->env->log_last = look.last;
    r->env->log_rows = look.count;
    return r->error;
}

/* Items and stock, and that every item has a row of each. */
static enum tg_error load_items(struct sto_recovering *r)
{
    enum tg_error error = walk(r, r->env->tables.items, item_visit);
    if (!error)
        error = walk(r, r->env->tables.stock, stock_visit);
    if (!error)
        error = load_stock_log(r);
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
static enum tg_error give_sales(struct sto_recovering *r)
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

/* The sequence of the last row of a table whose keys are sequences shifted by `shift`. */
static enum tg_error last_sequence(struct sto_recovering *r, MDB_dbi table, unsigned shift,
                                   uint64_t *sequence)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(r->txn, table, &cursor);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    mdb_cursor_close(cursor);
    *sequence = 0;
    if (rc == MDB_NOTFOUND)
        return TG_ERR_OK;
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    if (!sto_key_read(&key, sequence, sizeof(*sequence)))
        return tg_fault_set(r->fault, TG_ERR_CORRUPT, "the last key of a table has the wrong size");
    *sequence >>= shift;
    return TG_ERR_OK;
}

/* The newest sequence, and the first that the outbox still has. */
static enum tg_error find_sequences(struct sto_recovering *r)
{
    uint64_t of_order = 0, of_event = 0, first;
    enum tg_error error = last_sequence(r, r->env->tables.orders, TG_PARTITION_BITS, &of_order);
    if (!error)
        error = last_sequence(r, r->env->tables.events, 0, &of_event);
    if (error)
        return error;
    r->sequence_last = of_order > of_event ? of_order : of_event;
    int rc = sto_event_first_read(r->txn, r->env->tables.meta, &first);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the first sequence of the outbox");
    if (first == 0 || first > r->sequence_last + 1)
        return tg_fault_set(r->fault, TG_ERR_BROKEN,
                            "table meta: the outbox begins at %llu, and the newest sequence is "
                            "%llu",
                            (unsigned long long)first, (unsigned long long)r->sequence_last);
    r->env->stats.sequence = r->sequence_last;
    r->env->stats.event_first = first;
    return TG_ERR_OK;
}

static enum tg_error check_sums(struct sto_recovering *r)
{
    for (uint32_t i = 0; i < r->item_count; i++) {
        uint32_t item = r->items[i].def.item;
        const struct tg_stock *stock = &r->env->items[item].stock;
        const struct sto_recovering_sums *sums = &r->sums[item];
        if (stock->reserved_units != sums->reserved_units || stock->sold_units != sums->sold_units)
            return tg_fault_set(r->fault, TG_ERR_BROKEN,
                                "table stock, row %u: it says reserved %u and sold %u, its orders "
                                "add up to reserved %llu and sold %llu",
                                item, stock->reserved_units, stock->sold_units,
                                (unsigned long long)sums->reserved_units,
                                (unsigned long long)sums->sold_units);
        if (stock->restocked_units != sums->restocked_units)
            return tg_fault_set(r->fault, TG_ERR_BROKEN,
                                "table stock, row %u: it says restocked %lld, its adjustments add "
                                "up to %lld",
                                item, (long long)stock->restocked_units,
                                (long long)sums->restocked_units);
    }
    return TG_ERR_OK;
}

/* Groups, orders and teams are handed on, in this order. */
static enum tg_error walk_the_rest(struct sto_recovering *r)
{
    const struct sto_tables *tables = &r->env->tables;
    enum tg_error error = walk(r, tables->groups, group_visit);
    if (!error)
        error = sto_recover_orders(r);
    if (!error)
        error = walk(r, tables->teams, team_visit);
    if (!error)
        error = walk(r, tables->events, event_visit);
    if (!error)
        error = walk(r, tables->ingested, ingested_visit);
    if (!error)
        error = walk(r, tables->adjustments, adjustment_visit);
    return error;
}

/* Orders and events share one sequence without a gap; who reads the outbox would be told of one
 * much later. Which one is missing, verify tells. */
static enum tg_error check_sequences(struct sto_recovering *r)
{
    uint64_t first = r->env->stats.event_first, last = r->sequence_last;
    if (r->sequences == last + 1 - first)
        return TG_ERR_OK;
    return tg_fault_set(r->fault, TG_ERR_BROKEN,
                        "tables orders and events: %llu rows have the sequences %llu to %llu",
                        (unsigned long long)r->sequences, (unsigned long long)first,
                        (unsigned long long)last);
}

static enum tg_error passes(struct sto_recovering *r)
{
    enum tg_error error = load_items(r);
    if (!error)
        error = give_sales(r);
    if (!error)
        error = find_sequences(r);
    if (!error)
        error = walk_the_rest(r);
    if (!error)
        error = check_sums(r);
    return error ? error : check_sequences(r);
}

/* Memory for the passes, all of it given back before recovery returns. */
static enum tg_error recover_in(struct sto_recovering *r)
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
    struct sto_recovering r = {
        .env = env, .to = recovery, .stats = stats, .fault = fault ? fault : &unheard};
    *stats = (struct sto_recovery_stats){0};
    int rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &r.txn);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot begin to recover");
    enum tg_error error = recover_in(&r);
    mdb_txn_abort(r.txn);
    stats->elapsed_ns = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    env->ready = error == TG_ERR_OK;
    return error;
}
