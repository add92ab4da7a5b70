/* What follows when a record is durable or refused, and what a timer sets going. */
#include "base/assert.h"
#include "base/planted.h"
#include "engine/work.h"

/* How soon a timer comes again: whose order was locked; after a refusal by the storage. */
#define TIMER_SOON_MS  ENG_TICK_MS
#define TIMER_RETRY_MS 1000

/* --- a change --- */

static void settle_units(struct eng_shard *shard, const struct tg_change *change, bool durable,
                         struct eng_take *spread)
{
    struct eng_take take;
    eng_take_of_change(&take, change);
    if (take.units_before == take.units_after && take.stands_before == take.stands_after)
        return;
    uint64_t shards = eng_take_shards(shard->engine, &take);
    bool is_spread = shards != 1ull << shard->shard;
    take.held = is_spread; /* what lies on several shards was held on each of them */
    take.durable = durable;
    eng_take_settle(shard, &take);
    if (is_spread)
        *spread = take;
}

static void settle_change_timer(struct eng_shard *shard, const struct tg_change *change,
                                int64_t at_ms, bool durable)
{
    uint64_t id = eng_timer_id(ENG_TIMER_ORDER, change->row.order_id);
    if (eng_change_sets_timer(change) && durable)
        eng_timer_set(shard, change->life.payment_deadline_ms, id);
    else if (eng_change_from_timer(change) && !durable)
        eng_timer_set(shard, at_ms + TIMER_RETRY_MS, id);
    else if (eng_change_sets_timer(change) || eng_change_from_timer(change))
        eng_timers_return(shard, 1);
}

static void settle_change(struct eng_shard *shard, const struct tg_record *record, bool durable,
                          struct eng_take *spread)
{
    struct tg_change *change = record->change;
    settle_units(shard, change, durable, spread);
    if (TG_PLANTED(STOCK_RETURNED_TWICE) && change->life.state == TG_ORDER_CANCELLED)
        settle_units(shard, change, durable, spread);
    if (change->slot != ENG_SLOT_NONE)
        eng_request_settle(shard, change->slot, durable ? record->order_id : 0);
    settle_change_timer(shard, change, record->at_ms, durable);
    if (change->unlocks)
        eng_locks_release(&shard->locks, change->lock_id);
    eng_change_free(shard, change);
}

/* --- a team --- */

static void settle_opened(struct eng_shard *shard, const struct tg_team *team, bool durable)
{
    if (durable) {
        eng_timer_set(shard, team->deadline_ms, eng_timer_id(ENG_TIMER_TEAM, team->team_id));
        return;
    }
    eng_timers_return(shard, 1);
    eng_uncount_team(shard, team);
}

static void settle_changed(struct eng_shard *shard, const struct tg_team *team, int64_t at_ms,
                           bool durable)
{
    if (durable && team->state != TG_TEAM_OPEN)
        eng_uncount_team(shard, team);
    if (team->ended_by_timer) {
        if (durable)
            eng_timers_return(shard, 1);
        else
            eng_timer_set(shard, at_ms + TIMER_RETRY_MS,
                          eng_timer_id(ENG_TIMER_TEAM, team->team_id));
    }
    eng_locks_release(&shard->locks, team->team_id);
}

static void settle_team(struct eng_shard *shard, const struct tg_record *record, bool durable)
{
    struct tg_team *team = record->team.team;
    /* Only its opening leaves a team PENDING. No lock was taken for it: it had no id yet. */
    if (team->state == TG_TEAM_PENDING)
        settle_opened(shard, team, durable);
    else
        settle_changed(shard, team, record->at_ms, durable);
    eng_change_team_free(shard, team);
}

/* --- a sale --- */

static enum eng_timer_kind sale_timer(uint8_t announced)
{
    return announced == TG_ANNOUNCED_START ? ENG_TIMER_SALE_START : ENG_TIMER_SALE_END;
}

static void settle_sale_event(struct eng_shard *shard, const struct tg_record *record, bool durable)
{
    uint8_t announced = record->sale_event.announced;
    if (durable) {
        shard->engine->catalog.sales[record->sale_event.sale].announced |= announced;
        eng_timers_return(shard, 1);
        return;
    }
    eng_timer_set(shard, record->at_ms + TIMER_RETRY_MS,
                  eng_timer_id(sale_timer(announced), record->sale_event.sale));
}

void eng_life_settle(struct eng_shard *shard, const struct tg_record *record,
                     struct eng_take *spread)
{
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    tg_assert(record->outcome != 0);
    spread->line_count = 0;
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_CHANGE:
        settle_change(shard, record, durable, spread);
        break;
    case TG_RECORD_TEAM:
        settle_team(shard, record, durable);
        break;
    case TG_RECORD_SALE_EVENT:
        settle_sale_event(shard, record, durable);
        break;
    case TG_RECORD_ORDER:
    case TG_RECORD_ADJUST:
    case TG_RECORD_SALE:
    case TG_RECORD_SALE_STATE:
    case TG_RECORD_FENCE:
    case TG_RECORD_GROUP:
        tg_assert(!"a record of a life");
    }
}

/* --- timers --- */

/* Room is there: the timer has just left the wheel, or another has been promised for it. */
static void set_again(struct eng_shard *shard, uint64_t id, int64_t due_ms)
{
    bool promised = eng_timers_promise(shard, 1);
    tg_assert(promised);
    eng_timer_set(shard, due_ms, id);
}

/* Ends what a timer began. What could not be decided now comes again. */
static enum eng_step end_fire(struct eng_work *work, uint64_t id, enum eng_step step)
{
    if (step == ENG_RECORDED) /* room to come again, should the storage refuse */
        step = eng_work_timers(work, 1);
    if (step == ENG_RECORDED)
        return eng_work_record(work);
    eng_work_drop(work, false);
    if (step == ENG_FINAL && work->verdict == TG_BUSY)
        step = ENG_WAIT;
    if (step == ENG_WAIT)
        set_again(work->shard, id, work->now_ms + TIMER_SOON_MS);
    if (step == ENG_LOAD_FAILED)
        set_again(work->shard, id, work->now_ms + TIMER_RETRY_MS);
    return step;
}

/* Every deadline that an order is given sets a timer of its own, also an extended one: so a timer
 * that was due before the deadline of today is of an older one, and means nothing any more. */
static enum eng_step expire(struct eng_work *work, const struct eng_timer *timer, uint64_t order_id)
{
    enum eng_step step = eng_work_open(work, order_id, false);
    if (step != ENG_RECORDED)
        return step;
    struct tg_change *change = work->change;
    int64_t deadline_ms = change->life.payment_deadline_ms;
    if (change->life.state != TG_ORDER_RESERVED || deadline_ms == 0)
        return ENG_FINAL;
    if (deadline_ms > work->now_ms && !TG_PLANTED(EXTENSION_IGNORED)) {
        if (timer->due_ms >= deadline_ms)
            set_again(work->shard, timer->id, deadline_ms);
        return ENG_FINAL;
    }
    eng_order_end(change, ENG_MOVE_EXPIRE, TG_REFUND_LATE_PAYMENT, work->now_ms);
    return eng_row_in_team(&change->row) ? eng_team_leave(work) : ENG_RECORDED;
}

static enum eng_step end_team(struct eng_work *work, uint64_t team_id)
{
    enum eng_step step = eng_work_lock(work, team_id);
    if (step == ENG_RECORDED)
        step = eng_work_load_team(work, team_id);
    if (step != ENG_RECORDED)
        return step;
    const struct tg_team *team = work->team;
    if (team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN)
        return ENG_FINAL;
    if (team->deadline_ms > work->now_ms) {
        set_again(work->shard, eng_timer_id(ENG_TIMER_TEAM, team_id), team->deadline_ms);
        return ENG_FINAL;
    }
    return eng_team_deadline(work);
}

static void fill_sale_event(struct tg_record *record, const struct eng_sale *sale,
                            uint8_t announced, int64_t now_ms)
{
    tg_assert(record); /* there was room a moment ago */
    *record = (struct tg_record){.kind = TG_RECORD_SALE_EVENT, .at_ms = now_ms};
    record->sale_event.sale_id = sale->sale_id;
    record->sale_event.sale = sale->sale;
    record->sale_event.announced = announced;
}

static enum eng_step announce(struct eng_shard *shard, uint64_t number, uint8_t announced,
                              int64_t now_ms, struct eng_unit *unit)
{
    const struct eng_sale *sale = &shard->engine->catalog.sales[number];
    int64_t due_ms = announced == TG_ANNOUNCED_START ? sale->starts_at_ms : sale->ends_at_ms;
    uint64_t id = eng_timer_id(sale_timer(announced), number);
    if (sale->announced & announced)
        return ENG_FINAL;
    if (now_ms < due_ms) {
        set_again(shard, id, due_ms);
        return ENG_FINAL;
    }
    if (!eng_change_room(shard, unit, 1, 0, 0) || !eng_timers_promise(shard, 1)) {
        set_again(shard, id, now_ms + TIMER_SOON_MS);
        return ENG_WAIT;
    }
    fill_sale_event(tg_journal_reserve_ahead(unit->journal, unit->count), sale, announced, now_ms);
    unit->count++;
    return ENG_RECORDED;
}

enum eng_step eng_timer_fire(struct eng_shard *shard, const struct eng_timer *timer, int64_t now_ms,
                             struct eng_unit *unit)
{
    uint64_t number = timer->id & ((1ull << 62) - 1);
    struct eng_work work;
    eng_work_begin(&work, shard, unit, now_ms);
    switch ((enum eng_timer_kind)(timer->id >> 62)) {
    case ENG_TIMER_ORDER:
        return end_fire(&work, timer->id, expire(&work, timer, number));
    case ENG_TIMER_TEAM:
        return end_fire(&work, timer->id, end_team(&work, number));
    case ENG_TIMER_SALE_START:
        return announce(shard, number, TG_ANNOUNCED_START, now_ms, unit);
    case ENG_TIMER_SALE_END:
        return announce(shard, number, TG_ANNOUNCED_END, now_ms, unit);
    }
    tg_assert(!"a timer is of one of four kinds");
    return ENG_FINAL;
}

/* --- restoring --- */

enum tg_error eng_engine_restore_team(struct eng_engine *engine, const struct tg_team *team,
                                      struct tg_fault *fault)
{
    struct eng_shard *shard = &engine->shards[engine->catalog.items[team->item].shard];
    if (team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN)
        return TG_ERR_OK;
    /* What is counted for a sale that is over is dropped by the sweep, and not asked for. */
    bool is_over = eng_item_is_over(&engine->catalog.items[team->item], engine->config.now_ms);
    if (!is_over && !eng_count_team(shard, team))
        return tg_fault_set(fault, TG_ERR_FULL,
                            "more than %u users hold limited items: raise engine.holdings_max",
                            shard->holdings.count_max);
    if (!eng_timers_promise(shard, 1))
        return tg_fault_set(fault, TG_ERR_FULL,
                            "more timers than one shard can hold: raise engine.timers_max");
    eng_timer_set(shard, team->deadline_ms, eng_timer_id(ENG_TIMER_TEAM, team->team_id));
    return TG_ERR_OK;
}
