/* What each kind of record writes, and the shadow of the stock that goes with it.
 *
 * Orders and events append to their tables, so their rows are encoded straight into the page. The
 * stock is written once per item and batch, however many of its orders the batch holds:
 * stock_log.c. */
#include "storage/step.h"

#include "base/assert.h"
#include "base/planted.h"
#include "proto/verdict.h"
#include "storage/rows.h"

#include <string.h>

/* --- the shadow --- */

/* The item's slot, its image saved when this is the batch's first touch of it. */
static struct sto_item *touch(struct sto_env *env, uint32_t item)
{
    tg_assert(item < env->options.items_max);
    struct sto_item *slot = &env->items[item];
    uint64_t *word = &env->touched_bits[item / 64];
    uint64_t bit = 1ull << item % 64;
    if (!(*word & bit)) {
        *word |= bit;
        env->touched[env->touched_count++] = (struct sto_touched){item, *slot};
    }
    return slot;
}

void sto_step_shadow_keep(struct sto_env *env)
{
    for (uint32_t i = 0; i < env->touched_count; i++)
        env->touched_bits[env->touched[i].item / 64] = 0;
    env->touched_count = 0;
}

void sto_step_shadow_restore(struct sto_env *env)
{
    for (uint32_t i = 0; i < env->touched_count && !TG_PLANTED(SHADOW_KEPT_ON_REFUSAL); i++)
        env->items[env->touched[i].item] = env->touched[i].before;
    sto_step_shadow_keep(env);
}

static uint32_t *units_at(struct tg_stock *stock, enum tg_units units)
{
    switch (units) {
    case TG_UNITS_NONE:
        return &stock->available_units;
    case TG_UNITS_RESERVED:
        return &stock->reserved_units;
    case TG_UNITS_SOLD:
        return &stock->sold_units;
    }
    tg_assert(!"units in an unknown place");
    return NULL;
}

static void stock_move(struct tg_stock *stock, uint32_t quantity, enum tg_units before,
                       enum tg_units after)
{
    /* Who takes nothing needs nothing: units that were there when the order was decided may be gone
     * by a record that lies before it in the batch. */
    if (before == after)
        return;
    uint32_t *from = units_at(stock, before), *to = units_at(stock, after);
    tg_assert(quantity <= *from);
    *from -= quantity;
    *to += quantity;
    tg_assert(tg_stock_holds(stock));
}

static void stock_adjust(struct tg_stock *stock, int64_t delta_units)
{
    int64_t available = (int64_t)stock->available_units + delta_units;
    tg_assert(available >= 0 && available <= TG_STOCK_UNITS_MAX);
    stock->available_units = (uint32_t)available;
    stock->restocked_units += delta_units;
    tg_assert(tg_stock_holds(stock));
}

static void change_units_move(struct sto_env *env, const struct tg_change *change)
{
    const struct tg_order_row *row = &change->row;
    enum tg_units before = change->units_before, after = change->life.units;
    if (before == after)
        return;
    if (row->line_count == 0)
        stock_move(&touch(env, row->item)->stock, row->quantity, before, after);
    for (uint8_t i = 0; i < row->line_count; i++)
        stock_move(&touch(env, row->lines[i].item)->stock, row->lines[i].quantity, before, after);
}

/* --- rows --- */

/* Room of `size` bytes in the page, or NULL with LMDB's error in `rc`. */
static void *row_reserve(struct sto_step *step, MDB_dbi table, const void *key, size_t key_bytes,
                         size_t size, unsigned flags, int *rc)
{
    MDB_val key_value = {key_bytes, (void *)key};
    MDB_val value = {size, NULL};
    *rc = mdb_put(step->txn, table, &key_value, &value, flags | MDB_RESERVE);
    step->row_bytes += size;
    return *rc ? NULL : value.mv_data;
}

/* The same by a cursor, which finds its place at once when it is near. */
static void *row_reserve_at(struct sto_step *step, MDB_cursor *cursor, const uint64_t *key,
                            size_t size, unsigned flags, int *rc)
{
    MDB_val key_value = {sizeof(*key), (void *)key};
    MDB_val value = {size, NULL};
    *rc = mdb_cursor_put(cursor, &key_value, &value, flags | MDB_RESERVE);
    step->row_bytes += size;
    return *rc ? NULL : value.mv_data;
}

/* A row of this size goes somewhere into its table: its page is copied, and a large one has pages
 * of its own. */
static void scattered_count(struct sto_step *step, size_t size)
{
    step->scattered_pages += 1 + size / (step->env->page_bytes / 2);
}

static uint64_t order_id_next(struct sto_step *step, uint16_t partition)
{
    return (++step->sequence << TG_PARTITION_BITS) | partition;
}

static int put_order(struct sto_step *step, struct tg_record *record)
{
    struct sto_item *slot = touch(step->env, record->item);
    stock_move(&slot->stock, record->order.quantity, TG_UNITS_NONE,
               tg_policy_units(slot->stock_policy));
    tg_assert(slot->partition == record->item % TG_PARTITIONS);
    record->order_id = order_id_next(step, slot->partition);
    int rc;
    void *row = row_reserve_at(step, step->orders, &record->order_id, sto_row_plain_bytes(record),
                               MDB_APPEND, &rc);
    if (row)
        sto_row_plain_encode(row, record);
    return rc;
}

static int put_adjustment(struct sto_step *step, const struct tg_record *record)
{
    struct sto_item *slot = touch(step->env, record->item);
    tg_assert(slot->known);
    stock_adjust(&slot->stock, record->adjust.delta_units);
    step->adjustment_last++;
    int rc;
    void *row = row_reserve(step, step->env->tables.adjustments, &step->adjustment_last,
                            sizeof(step->adjustment_last), sto_row_adjustment_bytes(record),
                            MDB_APPEND, &rc);
    if (row)
        sto_row_adjustment_encode(row, step->adjustment_last, record);
    return rc;
}

/* --- sales --- */

static int put_item(struct sto_step *step, const struct tg_sale_def *def,
                    const struct tg_item_def *item)
{
    struct sto_item *slot = touch(step->env, item->item);
    tg_assert(!slot->known && item->stock_units <= TG_STOCK_UNITS_MAX);
    sto_item_rules_set(slot, def, item);
    slot->stock =
        (struct tg_stock){.initial_units = item->stock_units, .available_units = item->stock_units};
    int rc;
    void *row = row_reserve(step, step->env->tables.items, &item->item, sizeof(item->item),
                            sto_row_item_bytes(item), MDB_NOOVERWRITE, &rc);
    if (row)
        sto_row_item_encode(row, def->sale, item);
    return rc;
}

static int put_sale(struct sto_step *step, const struct tg_sale_def *def)
{
    int rc;
    step->makes_items = true;
    void *row = row_reserve(step, step->env->tables.sales, &def->sale, sizeof(def->sale),
                            sto_row_sale_bytes(def), MDB_NOOVERWRITE, &rc);
    if (row)
        sto_row_sale_encode(row, def);
    for (uint32_t i = 0; rc == 0 && i < def->item_count; i++)
        rc = put_item(step, def, &def->items[i]);
    return rc;
}

/* Rewrites a sale's row with `state` (0: as it is) and more of it announced. */
static int sale_rewrite(struct sto_step *step, uint32_t sale, uint8_t state, uint8_t announced)
{
    MDB_val key = {sizeof(sale), &sale};
    MDB_val value;
    int rc = mdb_get(step->txn, step->env->tables.sales, &key, &value);
    if (rc)
        return rc;
    struct tg_sale_def def;
    if (sto_row_sale_decode(value.mv_data, value.mv_size, sale, &def))
        return MDB_CORRUPTED;
    if (state)
        def.state = state;
    def.announced |= announced;
    scattered_count(step, sto_row_sale_bytes(&def));
    void *row = row_reserve(step, step->env->tables.sales, &sale, sizeof(sale),
                            sto_row_sale_bytes(&def), 0, &rc);
    if (row)
        sto_row_sale_encode(row, &def);
    return rc;
}

/* --- events --- */

/* Gives the event the next sequence number, and writes it. */
static int put_event(struct sto_step *step, struct tg_event *event)
{
    event->sequence = ++step->sequence;
    int rc = sto_step_cursor(step, step->env->tables.events, &step->events);
    if (rc)
        return rc;
    void *row =
        row_reserve_at(step, step->events, &event->sequence, STO_EVENT_ROW_BYTES, MDB_APPEND, &rc);
    if (row)
        sto_row_event_encode(row, event);
    return rc;
}

static int put_sale_event(struct sto_step *step, const struct tg_record *record)
{
    const uint8_t announced = record->sale_event.announced;
    tg_assert(announced == TG_ANNOUNCED_START || announced == TG_ANNOUNCED_END);
    struct tg_event event = {.sale_id = record->sale_event.sale_id,
                             .at_ms = record->at_ms,
                             .type = announced == TG_ANNOUNCED_START ? TG_EVENT_SALE_STARTED
                                                                     : TG_EVENT_SALE_ENDED};
    int rc = put_event(step, &event);
    return rc ? rc : sale_rewrite(step, record->sale_event.sale, 0, announced);
}

/* --- changes of orders --- */

static int put_ingested(struct sto_step *step, const struct tg_order_row *order)
{
    scattered_count(step, STO_INGESTED_ROW_BYTES);
    int rc;
    void *row =
        row_reserve(step, step->env->tables.ingested, order->request_id, sizeof(order->request_id),
                    STO_INGESTED_ROW_BYTES, MDB_NOOVERWRITE, &rc);
    tg_assert(rc != MDB_KEYEXIST);
    if (row)
        sto_row_ingested_encode(row, order->request_id, order->order_id);
    return rc;
}

/* The order that a change creates gets its id here. */
static int put_created(struct sto_step *step, struct tg_record *record)
{
    struct tg_order_row *order = &record->change->row;
    tg_assert(order->item < step->env->options.items_max);
    order->order_id = order_id_next(step, step->env->items[order->item].partition);
    if (order->flags & TG_ORDER_CAPTAIN)
        order->team_id = order->order_id;
    record->order_id = step->created_order_id = order->order_id;
    int rc;
    void *row = row_reserve_at(step, step->orders, &order->order_id, sto_row_order_bytes(order),
                               MDB_APPEND, &rc);
    if (row)
        sto_row_order_encode(row, order);
    return rc || !(order->flags & TG_ORDER_INGESTED) ? rc : put_ingested(step, order);
}

static int put_life(struct sto_step *step, const struct tg_change *change)
{
    int rc = sto_step_cursor(step, step->env->tables.lives, &step->lives);
    if (rc)
        return rc;
    size_t size = sto_row_life_bytes(&change->life);
    scattered_count(step, size);
    void *row = row_reserve_at(step, step->lives, &change->row.order_id, size, 0, &rc);
    if (row)
        sto_row_life_encode(row, change->row.order_id, &change->life);
    return rc;
}

static int put_change_event(struct sto_step *step, const struct tg_record *record,
                            const struct tg_change_event *what)
{
    if (TG_PLANTED(EVENT_LOST) && what->type == TG_EVENT_REFUND_DUE)
        return 0;
    struct tg_event event = {.order_id = record->change->row.order_id,
                             .team_id = record->change->row.team_id,
                             .at_ms = record->at_ms,
                             .amount_minor = what->amount_minor,
                             .type = what->type,
                             .refund_number = what->refund_number};
    return put_event(step, &event);
}

static int put_change(struct sto_step *step, struct tg_record *record)
{
    struct tg_change *change = record->change;
    tg_assert(change->event_count <= TG_CHANGE_EVENTS_MAX);
    tg_assert(change->creates ? change->units_before == TG_UNITS_NONE : change->event_count > 0);
    change_units_move(step->env, change);
    int rc = change->creates ? put_created(step, record) : 0;
    for (uint8_t i = 0; rc == 0 && i < change->event_count; i++)
        rc = put_change_event(step, record, &change->events[i]);
    change->life.last_event = step->sequence;
    return rc || !change->stores_life ? rc : put_life(step, change);
}

/* --- teams --- */

/* Ids that are 0 in the record are of the order that its unit created. */
static void team_ids_fill(struct tg_team *team, uint64_t created_order_id)
{
    if (team->team_id == 0)
        team->team_id = created_order_id;
    if (team->captain_order_id == 0)
        team->captain_order_id = created_order_id;
    for (uint8_t i = 0; i < team->seat_count; i++) {
        if (team->seats[i].order_id == 0)
            team->seats[i].order_id = created_order_id;
    }
}

static int put_team(struct sto_step *step, const struct tg_record *record)
{
    struct tg_team *team = record->team.team;
    tg_assert(team->seat_count <= team->size);
    /* Its id is the newest order's, so it is the largest of its table. */
    unsigned flags = team->team_id == 0 ? MDB_APPEND : 0;
    team_ids_fill(team, step->created_order_id);
    scattered_count(step, sto_row_team_bytes(team));
    int rc;
    void *row = row_reserve(step, step->env->tables.teams, &team->team_id, sizeof(team->team_id),
                            sto_row_team_bytes(team), flags, &rc);
    if (row)
        sto_row_team_encode(row, team);
    if (rc || !record->team.event)
        return rc;
    struct tg_event event = {.order_id = team->captain_order_id,
                             .team_id = team->team_id,
                             .at_ms = record->at_ms,
                             .type = record->team.event};
    return put_event(step, &event);
}

/* --- consumer groups --- */

static int put_group(struct sto_step *step, const struct tg_record *record)
{
    struct tg_group *group = record->group.group;
    MDB_dbi table = step->env->tables.groups;
    scattered_count(step, STO_GROUP_ROW_BYTES);
    if (record->group.removed) {
        MDB_val key = {group->name_bytes, (void *)group->name};
        return mdb_del(step->txn, table, &key, NULL);
    }
    /* What was newest when it was decided may have been dropped by a commit before this one. */
    if (group->from_now)
        group->offset = step->sequence;
    int rc;
    void *row =
        row_reserve(step, table, group->name, group->name_bytes, STO_GROUP_ROW_BYTES, 0, &rc);
    if (row)
        sto_row_group_encode(row, group);
    return rc;
}

/* --- records --- */

int sto_step_begin(struct sto_step *step)
{
    int rc = mdb_txn_begin(step->env->lmdb, NULL, 0, &step->txn);
    if (rc) {
        step->txn = NULL;
        return rc;
    }
    return mdb_cursor_open(step->txn, step->env->tables.orders, &step->orders);
}

/* Nobody waits for room who makes it. A unit begins with the order that it creates, if any. */
enum sto_need sto_record_need(const struct tg_record *record)
{
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
    case TG_RECORD_ADJUST:
    case TG_RECORD_SALE:
    case TG_RECORD_FENCE: /* needs nothing: nobody looks at its outcome */
        return STO_NEED_GROWTH;
    case TG_RECORD_CHANGE:
        return record->change->creates ? STO_NEED_GROWTH : STO_NEED_CHANGE;
    case TG_RECORD_SALE_STATE:
    case TG_RECORD_TEAM:
    case TG_RECORD_SALE_EVENT:
        return STO_NEED_CHANGE;
    case TG_RECORD_GROUP:
        return STO_NEED_LITTLE;
    }
    return STO_NEED_GROWTH;
}

/* Outcomes are filled in ahead of the commit, while the record is in the cache: nobody looks at
 * them before the batch is published, and a failure takes them back. */
static int put_record(struct sto_step *step, struct tg_record *record)
{
    if (!step->in_unit) {
        step->created_order_id = 0;
        step->leaves_out = step->need < STO_NEED_GROWTH && sto_record_need(record) > step->need;
    }
    step->in_unit = record->more;
    if (step->leaves_out) {
        record->outcome = TG_OUTCOME_REFUSED;
        record->order_id = 0;
        return 0;
    }
    record->outcome = TG_OUTCOME_DURABLE;
    step->records++;
    if (record->kind == TG_RECORD_FENCE)
        return 0;
    if (!step->txn) {
        int rc = sto_step_begin(step);
        if (rc)
            return rc;
    }
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        return put_order(step, record);
    case TG_RECORD_ADJUST:
        return put_adjustment(step, record);
    case TG_RECORD_SALE:
        return put_sale(step, record->sale);
    case TG_RECORD_SALE_STATE:
        return sale_rewrite(step, record->sale_state.sale, record->sale_state.state, 0);
    case TG_RECORD_CHANGE:
        return put_change(step, record);
    case TG_RECORD_TEAM:
        return put_team(step, record);
    case TG_RECORD_SALE_EVENT:
        return put_sale_event(step, record);
    case TG_RECORD_GROUP:
        return put_group(step, record);
    case TG_RECORD_FENCE:
        return 0;
    }
    tg_assert(!"a record of an unknown kind");
    return 0;
}

int sto_step_put(struct sto_step *step, const struct tg_span *span)
{
    for (uint32_t i = 0; i < span->count; i++) {
        int rc = put_record(step, &span->records[i]);
        if (rc)
            return rc;
    }
    return 0;
}
