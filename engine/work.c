#include "engine/work.h"

#include "base/assert.h"

#include <string.h>

void eng_work_begin(struct eng_work *work, struct eng_shard *shard, struct eng_unit *unit,
                    int64_t now_ms)
{
    tg_assert(unit->count == 0);
    work->shard = shard;
    work->unit = unit;
    work->now_ms = now_ms;
    work->change = NULL;
    work->team = NULL;
    work->team_event = (enum tg_event_type)0;
    work->member_count = 0;
    work->lock_id = 0;
    work->took = false;
    work->counted_team = false;
    work->timers = 0;
    work->take.line_count = 0;
    work->verdict = TG_UNSPECIFIED;
}

static enum eng_step busy(struct eng_work *work)
{
    work->verdict = TG_BUSY;
    return ENG_FINAL;
}

/* --- opening --- */

struct eng_item *eng_row_item(const struct eng_shard *shard, const struct tg_order_row *row)
{
    tg_assert(row->item < shard->engine->catalog.items_max);
    return &shard->engine->catalog.items[row->item];
}

bool eng_row_in_team(const struct tg_order_row *row)
{
    return row->flags & (TG_ORDER_CAPTAIN | TG_ORDER_JOINER);
}

enum eng_step eng_work_lock(struct eng_work *work, uint64_t lock_id)
{
    struct eng_locks *locks = &work->shard->locks;
    if (eng_locks_held(locks, lock_id))
        return ENG_WAIT;
    if (!eng_locks_take(locks, lock_id))
        return busy(work);
    work->lock_id = lock_id;
    return ENG_RECORDED;
}

/* Loads an order into a block of its own; the caller made sure of the room. */
static enum eng_load load_change(struct eng_work *work, uint64_t order_id,
                                 struct tg_change **loaded)
{
    struct eng_loader *loader = &work->shard->loader;
    struct tg_change *change = eng_change_take(work->shard);
    bool has_life;
    enum eng_load load =
        loader->order(loader->context, order_id, &change->row, &change->life, &has_life);
    if (load != ENG_LOADED) {
        eng_change_free(work->shard, change);
        return load;
    }
    change->stores_life = true;
    change->units_before = change->life.units;
    change->stands_before = eng_state_stands(change->life.state);
    *loaded = change;
    return ENG_LOADED;
}

enum eng_step eng_work_open(struct eng_work *work, uint64_t order_id, bool resumed)
{
    const struct eng_shard *shard = work->shard;
    tg_assert((order_id & (TG_PARTITIONS - 1)) % shard->engine->config.shards == shard->shard);
    if (resumed)
        work->lock_id = order_id; /* what is held elsewhere belongs to a cart, never to a team */
    else if (eng_locks_held(&shard->locks, order_id))
        return ENG_WAIT;
    if (!eng_change_room(shard, work->unit, 2, 1, 1))
        return busy(work);
    switch (load_change(work, order_id, &work->change)) {
    case ENG_LOADED:
        break;
    case ENG_ABSENT:
        work->verdict = TG_UNKNOWN_ORDER;
        return ENG_FINAL;
    case ENG_UNREADABLE:
        return ENG_LOAD_FAILED;
    }
    const struct tg_order_row *row = &work->change->row;
    tg_assert(eng_row_item(shard, row)->shard == shard->shard);
    return resumed ? ENG_RECORDED
                   : eng_work_lock(work, eng_row_in_team(row) ? row->team_id : order_id);
}

enum eng_step eng_work_load_team(struct eng_work *work, uint64_t team_id)
{
    struct eng_loader *loader = &work->shard->loader;
    tg_assert(!work->team);
    if (!eng_change_room(work->shard, work->unit, 2, 1, 1))
        return busy(work);
    work->team = eng_change_team_take(work->shard);
    switch (loader->team(loader->context, team_id, work->team)) {
    case ENG_LOADED:
        break;
    case ENG_ABSENT:
        eng_work_forget_team(work);
        work->verdict = TG_UNKNOWN_TEAM;
        return ENG_FINAL;
    case ENG_UNREADABLE:
        return ENG_LOAD_FAILED;
    }
    uint32_t members = work->team->seat_count + 1u; /* one may join */
    return eng_change_room(work->shard, work->unit, members + 1, members, 0) ? ENG_RECORDED
                                                                             : busy(work);
}

enum eng_step eng_work_load_member(struct eng_work *work, uint64_t order_id,
                                   struct tg_change **member)
{
    tg_assert(work->member_count < TG_TEAM_SIZE_MAX);
    if (load_change(work, order_id, member) != ENG_LOADED)
        return ENG_LOAD_FAILED; /* a seat's order is there */
    work->members[work->member_count++] = *member;
    return ENG_RECORDED;
}

enum eng_step eng_work_timers(struct eng_work *work, uint32_t timers)
{
    if (!eng_timers_promise(work->shard, timers))
        return busy(work);
    work->timers += timers;
    return ENG_RECORDED;
}

void eng_work_forget_team(struct eng_work *work)
{
    eng_change_team_free(work->shard, work->team);
    work->team = NULL;
}

/* --- taking units --- */

void eng_work_take_fill(struct eng_work *work, enum tg_units units_after)
{
    eng_take_of_change(&work->take, work->change);
    work->take.units_after = (uint8_t)units_after;
    work->take.stands_after = true;
}

bool eng_work_take_is_own(const struct eng_work *work)
{
    return eng_take_shards(work->shard->engine, &work->take) == 1ull << work->shard->shard;
}

bool eng_work_counts_are_gone(const struct eng_work *work)
{
    const struct eng_item *items = work->shard->engine->catalog.items;
    for (uint32_t i = 0; i < work->take.line_count; i++) {
        const struct eng_item *item = &items[work->take.lines[i].item];
        if (item->is_counted && eng_item_counts_are_gone(item, work->now_ms))
            return true;
    }
    return false;
}

enum tg_verdict eng_refusal_of(const enum tg_verdict *refusals, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (refusals[i] != TG_ACCEPTED)
            return refusals[i];
    return TG_ACCEPTED;
}

enum tg_verdict eng_work_take(struct eng_work *work, int64_t gate_ms,
                              enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    work->took = eng_take_now(work->shard, &work->take, gate_ms, refusals);
    return work->took ? TG_ACCEPTED : eng_refusal_of(refusals, work->take.line_count);
}

static void give_back(struct eng_work *work)
{
    work->take.held = false;
    work->take.durable = false;
    eng_take_settle(work->shard, &work->take);
}

/* --- new orders --- */

enum eng_step eng_refuse(struct eng_decision *decision, enum tg_verdict verdict)
{
    eng_decide(decision, verdict,
               verdict == TG_INVALID_ARGUMENT ? TG_FIELD_PER_ORDER : TG_FIELD_NONE);
    return ENG_FINAL;
}

enum eng_step eng_refuse_field(struct eng_decision *decision, enum tg_field field)
{
    eng_refuse(decision, TG_INVALID_ARGUMENT);
    decision->field = field;
    return ENG_FINAL;
}

void eng_row_of_order(struct tg_order_row *row, const struct eng_item *item,
                      const struct tg_order *order, uint8_t flags, uint64_t team_id, int64_t now_ms)
{
    *row = (struct tg_order_row){
        .user_id = order->user_id,
        .unit_price_minor = order->unit_price_minor,
        .accepted_at_ms = now_ms,
        .team_id = team_id,
        .item = item->item,
        .quantity = order->quantity,
        .channel = order->channel,
        .flags = flags,
        .external_bytes = order->external_bytes,
    };
    memcpy(row->request_id, order->request_id, TG_REQUEST_ID_BYTES);
    if (order->external_bytes != 0)
        memcpy(row->external_id, order->external_id, order->external_bytes);
}

static struct eng_request_key key_of(const struct eng_shard *shard, const struct tg_order_row *row)
{
    return eng_request_key(row->request_id, shard->engine->config.hash_seed);
}

enum eng_step eng_row_known(const struct eng_shard *shard, const struct tg_order_row *row,
                            struct eng_decision *decision)
{
    struct eng_request_key key = key_of(shard, row);
    struct eng_body body = eng_body_of_row(shard->engine, row);
    switch (eng_request_known(shard, &key, &body, decision)) {
    case ENG_ABSENT:
        return ENG_RECORDED;
    case ENG_LOADED:
        return ENG_FINAL;
    case ENG_UNREADABLE:
        break;
    }
    return ENG_LOAD_FAILED;
}

void eng_work_create(struct eng_work *work, const struct eng_item *item,
                     const struct tg_order_row *row)
{
    struct tg_change *change = eng_change_take(work->shard);
    eng_row_copy(&change->row, row);
    eng_life_initial(item, row, &change->life);
    change->creates = true;
    change->units_before = TG_UNITS_NONE;
    work->change = change;
}

enum eng_step eng_work_bind(struct eng_work *work, struct eng_decision *decision)
{
    struct tg_change *change = work->change;
    if (eng_change_sets_timer(change) && eng_work_timers(work, 1) != ENG_RECORDED)
        return eng_refuse(decision, TG_BUSY);
    struct eng_request_key key = key_of(work->shard, &change->row);
    struct eng_body body = eng_body_of_row(work->shard->engine, &change->row);
    change->slot = eng_request_bind(work->shard, &key, &body, work->now_ms, decision);
    return change->slot == ENG_SLOT_NONE ? ENG_FINAL : ENG_RECORDED;
}

/* --- counting teams --- */

static uint32_t team_key(const struct eng_shard *shard, const struct tg_team *team)
{
    return ENG_HELD_TEAMS | shard->engine->catalog.items[team->item].sale->sale;
}

static bool is_bounded(const struct eng_shard *shard, const struct tg_team *team)
{
    return shard->engine->catalog.items[team->item].sale->team.teams_per_user_max != 0;
}

bool eng_count_team(struct eng_shard *shard, const struct tg_team *team)
{
    return !is_bounded(shard, team) ||
           eng_holdings_add(&shard->holdings, team->opener_user_id, team_key(shard, team), 1);
}

void eng_uncount_team(struct eng_shard *shard, const struct tg_team *team)
{
    if (is_bounded(shard, team))
        eng_holdings_subtract(&shard->holdings, team->opener_user_id, team_key(shard, team), 1);
}

/* --- timers --- */

/* What a change was made for is seen from its first event when its record completes; a new order,
 * which has none, says that it `creates`. */
bool eng_change_sets_timer(const struct tg_change *change)
{
    return change->life.state == TG_ORDER_RESERVED && change->life.payment_deadline_ms != 0 &&
           (change->creates ||
            (change->event_count > 0 && change->events[0].type == TG_EVENT_PAYMENT_EXTENDED));
}

bool eng_change_from_timer(const struct tg_change *change)
{
    return change->event_count > 0 && change->events[0].type == TG_EVENT_ORDER_EXPIRED;
}

/* --- the end --- */

static void record_change(struct eng_work *work, struct tg_change *change)
{
    change->stands_after = eng_state_stands(change->life.state);
    if (!change->creates)
        change->life.version++;
    tg_assert(tg_life_money_holds(&change->life));
    tg_assert(change->creates || change->event_count > 0);
    eng_unit_change(work->unit, change, work->now_ms);
}

/* The team's record is the last of its unit, and lets go of the lock; without one the change does.
 */
enum eng_step eng_work_record(struct eng_work *work)
{
    if (work->change && !work->team) {
        work->change->unlocks = work->lock_id != 0;
        work->change->lock_id = work->lock_id;
    }
    if (work->change)
        record_change(work, work->change);
    for (uint32_t i = 0; i < work->member_count; i++)
        record_change(work, work->members[i]);
    if (work->team)
        eng_unit_team(work->unit, work->team, work->team_event, work->now_ms);
    return ENG_RECORDED;
}

void eng_work_drop(struct eng_work *work, bool keep_lock)
{
    struct eng_shard *shard = work->shard;
    eng_timers_return(shard, work->timers);
    if (work->counted_team)
        eng_uncount_team(shard, work->team);
    if (work->took)
        give_back(work);
    for (uint32_t i = 0; i < work->member_count; i++)
        eng_change_free(shard, work->members[i]);
    if (work->team)
        eng_work_forget_team(work);
    if (work->change)
        eng_change_free(shard, work->change);
    if (work->lock_id != 0 && !keep_lock)
        eng_locks_release(&shard->locks, work->lock_id);
}
