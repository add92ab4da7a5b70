/* Recovery: one pass over each table, small ones first.
 *
 *   items -> stock -> sales (handed on with both) -> groups (handed on)
 *     -> orders, lives in step (handed on) -> teams (handed on) -> events, ingested, adjustments
 *     -> sums
 *
 * Orders and lives are sorted by the same ids, so two cursors side by side join them; an order that
 * was never changed has no life, and costs one comparison for it.
 *
 * It keeps the shadow stock and one sum per item, nothing per order; what the engine builds of the
 * orders is its own. The first thing that does not hold ends it. */
#include "storage/env.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/verdict.h"
#include "storage/rows.h"

#include <stdlib.h>
#include <string.h>

struct found_item {
    uint32_t sale;
    struct tg_item_def def;
};

/* What the other tables say about an item, to hold against its stock row. */
struct sums {
    uint64_t reserved_units; /* of its orders, and so the next */
    uint64_t sold_units;
    int64_t restocked_units; /* of its adjustments */
    bool has_stock;
};

#define NO_LIFE UINT64_MAX /* above every order id */

/* The lives, read in step with the orders. */
struct lives {
    MDB_cursor *cursor;
    uint64_t order_id; /* of the row that it stands on; NO_LIFE behind the last */
    MDB_val value;
    struct tg_life life; /* the last one that was asked for */
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
    struct lives lives;
    uint64_t last_order_id;
    uint64_t sequence_last; /* of the newest order or event */
    uint64_t sequences;     /* orders and events from the first that the outbox has */
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

/* --- orders and their lives --- */

/* Steps to the next life. */
static bool life_next(struct recovery *r)
{
    MDB_val key;
    int rc = mdb_cursor_get(r->lives.cursor, &key, &r->lives.value, MDB_NEXT);
    if (rc == MDB_NOTFOUND) {
        r->lives.order_id = NO_LIFE;
        return true;
    }
    if (rc) {
        r->error = sto_fault_lmdb(r->fault, rc, "cannot read the database");
        return false;
    }
    if (!sto_key_read(&key, &r->lives.order_id, sizeof(r->lives.order_id)))
        return stop_key(r, "lives");
    return true;
}

/* Promise 2 for one order: what was received is what its payments say, and so on. Sums of 16
 * amounts of at most 10^18 fit 64 bits. */
static bool money_check(struct recovery *r, uint64_t order_id, const struct tg_life *life)
{
    uint64_t received = 0, due = 0, refunded = 0;
    for (uint8_t i = 0; i < life->payment_count; i++) {
        const struct tg_payment *payment = &life->payments[i];
        if (payment->status != TG_PAYMENT_REFUSED_AMOUNT &&
            payment->status != TG_PAYMENT_REFUSED_CURRENCY)
            received += (uint64_t)payment->amount_minor;
    }
    for (uint8_t i = 0; i < life->refund_count; i++) {
        const struct tg_refund *refund = &life->refunds[i];
        if (refund->status == TG_REFUND_DUE_STATUS)
            due += (uint64_t)refund->amount_minor;
        if (refund->status == TG_REFUND_REFUNDED)
            refunded += (uint64_t)refund->amount_minor;
    }
    if (tg_life_money_holds(life) && (uint64_t)life->received_minor == received &&
        (uint64_t)life->refund_due_minor == due && (uint64_t)life->refunded_minor == refunded)
        return true;
    return STOP(r, TG_ERR_BROKEN,
                "table lives, row %llu: it says received %lld, due %lld and refunded %lld, its "
                "payments and refunds add up to %llu, %llu and %llu",
                (unsigned long long)order_id, (long long)life->received_minor,
                (long long)life->refund_due_minor, (long long)life->refunded_minor,
                (unsigned long long)received, (unsigned long long)due,
                (unsigned long long)refunded);
}

/* The life of an order, checked; NULL in `*life` when it is as it was accepted. */
static bool life_of(struct recovery *r, uint64_t order_id, const struct tg_life **life)
{
    struct lives *lives = &r->lives;
    *life = NULL;
    if (lives->order_id > order_id)
        return true;
    if (lives->order_id < order_id)
        return STOP(r, TG_ERR_BROKEN, "table lives, row %llu: there is no such order",
                    (unsigned long long)lives->order_id);
    const char *problem =
        sto_row_life_decode(lives->value.mv_data, lives->value.mv_size, order_id, &lives->life);
    if (problem)
        return stop_damaged(r, "lives", order_id, problem);
    if (lives->life.last_event > r->sequence_last)
        return STOP(r, TG_ERR_BROKEN,
                    "table lives, row %llu: its last event is %llu, and the newest of all is %llu",
                    (unsigned long long)order_id, (unsigned long long)lives->life.last_event,
                    (unsigned long long)r->sequence_last);
    *life = &lives->life;
    r->stats->lives++;
    return money_check(r, order_id, &lives->life) && life_next(r);
}

/* Adds `quantity` units of one line to its item's sums. */
static bool units_add(struct recovery *r, uint64_t order_id, uint32_t item, uint32_t quantity,
                      const struct tg_life *life)
{
    if (item >= r->env->options.items_max || !r->env->items[item].known)
        return STOP(r, TG_ERR_BROKEN, "table orders, row %llu: its item %u does not exist",
                    (unsigned long long)order_id, item);
    enum tg_units units =
        life ? (enum tg_units)life->units : tg_policy_units(r->env->items[item].stock_policy);
    if (units == TG_UNITS_RESERVED)
        r->sums[item].reserved_units += quantity;
    else if (units == TG_UNITS_SOLD)
        r->sums[item].sold_units += quantity;
    return true;
}

static bool order_units_add(struct recovery *r, const struct tg_order_row *row,
                            const struct tg_life *life)
{
    if (row->line_count == 0)
        return units_add(r, row->order_id, row->item, row->quantity, life);
    for (uint8_t i = 0; i < row->line_count; i++) {
        if (!units_add(r, row->order_id, row->lines[i].item, row->lines[i].quantity, life))
            return false;
    }
    return true;
}

/* What holds of an order's row among the others. */
static bool order_place_check(struct recovery *r, const struct tg_order_row *row)
{
    if (row->order_id <= r->last_order_id)
        return stop_damaged(r, "orders", row->order_id, "its id is not above the one before it");
    r->last_order_id = row->order_id;
    if (row->item < r->env->options.items_max && r->env->items[row->item].known &&
        row->order_id % TG_PARTITIONS != r->env->items[row->item].partition)
        return STOP(r, TG_ERR_BROKEN,
                    "table orders, row %llu: its id names partition %llu, its item %u belongs to "
                    "%u",
                    (unsigned long long)row->order_id,
                    (unsigned long long)row->order_id % TG_PARTITIONS, row->item,
                    r->env->items[row->item].partition);
    return true;
}

static bool order_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint64_t order_id;
    if (!sto_key_read(key, &order_id, sizeof(order_id)))
        return stop_key(r, "orders");
    struct tg_order_row row;
    const struct tg_life *life;
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, &row);
    if (problem)
        return stop_damaged(r, "orders", order_id, problem);
    if (!order_place_check(r, &row) || !life_of(r, order_id, &life) ||
        !order_units_add(r, &row, life))
        return false;
    r->stats->orders++;
    r->sequences += order_id >> TG_PARTITION_BITS >= r->env->stats.event_first;
    if (r->to->order && !r->to->order(r->to->context, &row, life, r->fault)) {
        r->error = r->fault->error;
        return false;
    }
    return true;
}

/* --- teams, events, groups --- */

/* A seat of a team that is not over is an order that names the team: the engine will change it as
 * a member. Of teams that are over only the ids are looked at; verify looks at all of them. */
static bool seat_check(struct recovery *r, const struct tg_team *team, const struct tg_seat *seat)
{
    if (seat->order_id % TG_PARTITIONS != r->env->items[team->item].partition)
        return STOP(r, TG_ERR_BROKEN,
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
    return STOP(r, TG_ERR_BROKEN, "table teams, row %llu: its seat %llu is no order of it",
                (unsigned long long)team->team_id, (unsigned long long)order_id);
}

static bool team_check(struct recovery *r, const struct tg_team *team)
{
    if (team->item >= r->env->options.items_max || !r->env->items[team->item].known)
        return STOP(r, TG_ERR_BROKEN, "table teams, row %llu: its item %u does not exist",
                    (unsigned long long)team->team_id, team->item);
    if (team->seat_count > team->size)
        return STOP(r, TG_ERR_BROKEN, "table teams, row %llu: %u of its %u seats are taken",
                    (unsigned long long)team->team_id, team->seat_count, team->size);
    for (uint8_t i = 0; i < team->seat_count; i++) {
        if (!seat_check(r, team, &team->seats[i]))
            return false;
    }
    return true;
}

static bool team_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint64_t team_id;
    if (!sto_key_read(key, &team_id, sizeof(team_id)))
        return stop_key(r, "teams");
    struct tg_team team;
    const char *problem = sto_row_team_decode(value->mv_data, value->mv_size, team_id, &team);
    if (problem)
        return stop_damaged(r, "teams", team_id, problem);
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
    struct recovery *r = context;
    uint64_t sequence;
    if (!sto_key_read(key, &sequence, sizeof(sequence)))
        return stop_key(r, "events");
    struct tg_event event;
    const char *problem = sto_row_event_decode(value->mv_data, value->mv_size, sequence, &event);
    if (problem)
        return stop_damaged(r, "events", sequence, problem);
    r->stats->events++;
    r->sequences += sequence >= r->env->stats.event_first;
    return true;
}

static bool ingested_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t order_id;
    if (!sto_key_read(key, request_id, sizeof(request_id)))
        return stop_key(r, "ingested");
    const char *problem =
        sto_row_ingested_decode(value->mv_data, value->mv_size, request_id, &order_id);
    if (!problem)
        return true;
    uint64_t number;
    memcpy(&number, request_id, sizeof(number));
    return STOP(r, TG_ERR_CORRUPT, "table ingested, row of request %016llx...: %s",
                (unsigned long long)__builtin_bswap64(number), problem);
}

static bool group_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct recovery *r = context;
    struct tg_group group;
    int name_bytes =
        key->mv_size < TG_GROUP_NAME_BYTES_MAX ? (int)key->mv_size : TG_GROUP_NAME_BYTES_MAX;
    const char *name = key->mv_data;
    const char *problem =
        sto_row_group_decode(value->mv_data, value->mv_size, name, key->mv_size, &group);
    if (problem)
        return STOP(r, TG_ERR_CORRUPT, "table groups, row %.*s: %s", name_bytes, name, problem);
    if (group.offset > r->sequence_last)
        return STOP(r, TG_ERR_BROKEN,
                    "table groups, row %.*s: its offset is %llu, and the newest sequence %llu",
                    name_bytes, name, (unsigned long long)group.offset,
                    (unsigned long long)r->sequence_last);
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

/* Puts the items of a sale and their stock behind its head, and hands it on. Only now is it known
 * what partition and policy each item has. */
static bool sale_give(struct recovery *r, const struct tg_sale_def *head, uint32_t first)
{
    struct tg_sale_def *def = tg_sale_def_create(head->item_count);
    struct tg_stock *stocks = calloc(head->item_count + 1ul, sizeof(*stocks)); /* never of none */
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
    if (count && r->items[first + count - 1].def.item - r->items[first].def.item != count - 1)
        return STOP(r, TG_ERR_BROKEN,
                    "table sales, row %u: its %u items have the numbers %u to %u, with gaps", sale,
                    count, r->items[first].def.item, r->items[first + count - 1].def.item);
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

/* The sequence of the last row of a table whose keys are sequences shifted by `shift`. */
static enum tg_error last_sequence(struct recovery *r, MDB_dbi table, unsigned shift,
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
static enum tg_error find_sequences(struct recovery *r)
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

/* Orders with their lives, and that no life is behind the last order. */
static enum tg_error give_orders(struct recovery *r)
{
    int rc = mdb_cursor_open(r->txn, r->env->tables.lives, &r->lives.cursor);
    if (rc)
        return sto_fault_lmdb(r->fault, rc, "cannot read the database");
    enum tg_error error = life_next(r) ? walk(r, r->env->tables.orders, order_visit) : r->error;
    mdb_cursor_close(r->lives.cursor);
    if (!error && r->lives.order_id != NO_LIFE)
        error =
            tg_fault_set(r->fault, TG_ERR_BROKEN, "table lives, row %llu: there is no such order",
                         (unsigned long long)r->lives.order_id);
    return error;
}

static enum tg_error check_sums(struct recovery *r)
{
    for (uint32_t i = 0; i < r->item_count; i++) {
        uint32_t item = r->items[i].def.item;
        const struct tg_stock *stock = &r->env->items[item].stock;
        const struct sums *sums = &r->sums[item];
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
static enum tg_error walk_the_rest(struct recovery *r)
{
    const struct sto_tables *tables = &r->env->tables;
    enum tg_error error = walk(r, tables->groups, group_visit);
    if (!error)
        error = give_orders(r);
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
static enum tg_error check_sequences(struct recovery *r)
{
    uint64_t first = r->env->stats.event_first, last = r->sequence_last;
    if (r->sequences == last + 1 - first)
        return TG_ERR_OK;
    return tg_fault_set(r->fault, TG_ERR_BROKEN,
                        "tables orders and events: %llu rows have the sequences %llu to %llu",
                        (unsigned long long)r->sequences, (unsigned long long)first,
                        (unsigned long long)last);
}

static enum tg_error passes(struct recovery *r)
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
    env->ready = error == TG_ERR_OK;
    return error;
}
