/* Teams: opening, joining, paying a seat, leaving, and the deadline (docs/group-buy.md).
 *
 *   PENDING --captain pays--> OPEN --every seat paid, or enough at the deadline--> FORMED
 *      |                       |  +--deadline--> FAILED
 *      +--nobody paid is left--+--> DISSOLVED
 *
 * Each change of a team is one unit with those of its members, under the lock of the team, so a
 * team that is not PENDING or OPEN never changes again.
 */
#include "base/assert.h"
#include "base/planted.h"
#include "engine/work.h"

#include <string.h>

static const struct tg_team_rules *rules_of(const struct eng_work *work)
{
    return &work->shard->engine->catalog.items[work->team->item].sale->team;
}

/* --- seats --- */

static uint32_t paid_count(const struct tg_team *team)
{
    uint32_t paid = 0;
    for (uint32_t i = 0; i < team->seat_count; i++)
        paid += team->seats[i].paid_at_ms != 0;
    return paid;
}

static struct tg_seat *seat_of(struct tg_team *team, uint64_t order_id)
{
    for (uint32_t i = 0; i < team->seat_count; i++)
        if (team->seats[i].order_id == order_id)
            return &team->seats[i];
    return NULL;
}

static bool has_user(const struct tg_team *team, uint64_t user_id)
{
    for (uint32_t i = 0; i < team->seat_count; i++)
        if (team->seats[i].user_id == user_id)
            return true;
    return false;
}

static void seat_add(struct tg_team *team, uint64_t order_id, uint64_t user_id, int64_t now_ms)
{
    tg_assert(team->seat_count < team->size && !has_user(team, user_id));
    team->seats[team->seat_count++] =
        (struct tg_seat){.order_id = order_id, .user_id = user_id, .joined_at_ms = now_ms};
}

static void seat_remove(struct tg_team *team, uint64_t order_id)
{
    struct tg_seat *seat = seat_of(team, order_id);
    tg_assert(seat);
    struct tg_seat *end = team->seats + team->seat_count;
    memmove(seat, seat + 1, (size_t)(end - (seat + 1)) * sizeof(*seat));
    team->seat_count--;
}

static void remove_unpaid(struct tg_team *team)
{
    uint8_t left = 0;
    for (uint32_t i = 0; i < team->seat_count; i++)
        if (team->seats[i].paid_at_ms != 0)
            team->seats[left++] = team->seats[i];
    team->seat_count = left;
}

/* --- the end of a team --- */

static void end_team(struct eng_work *work, enum tg_team_state state, enum tg_event_type event)
{
    struct tg_team *team = work->team;
    tg_assert(team->state == TG_TEAM_PENDING || team->state == TG_TEAM_OPEN);
    team->state = (uint8_t)state;
    team->ended_at_ms = work->now_ms;
    work->team_event = event;
}

/* The change of a seat's order: the one that the decision is about, or one more. */
static enum eng_step member_of(struct eng_work *work, const struct tg_seat *seat,
                               struct tg_change **member)
{
    if (!work->change || work->change->row.order_id != seat->order_id)
        return eng_work_load_member(work, seat->order_id, member);
    *member = work->change;
    return ENG_RECORDED;
}

static void cancel_member(struct tg_change *member, int64_t now_ms)
{
    member->life.cancelled_by = TG_CANCELLED_BY_TEAM;
    eng_order_end(member, ENG_MOVE_CANCEL, TG_REFUND_CANCELLED, now_ms);
}

/* What a unit costs when so many seats are paid. */
static int64_t price_of(const struct eng_item *item, uint32_t paid)
{
    int64_t price = item->sale_price_minor;
    for (uint32_t i = 0; i < item->ladder_steps && item->ladder[i].size <= paid; i++)
        price = item->ladder[i].unit_price_minor;
    return price;
}

static void confirm_member(struct tg_change *member, int64_t price, int64_t now_ms)
{
    eng_move_make(member, ENG_MOVE_CONFIRM, now_ms);
    if (member->row.unit_price_minor > price)
        eng_refund_owe(member, (member->row.unit_price_minor - price) * member->row.quantity,
                       TG_REFUND_LADDER, now_ms);
}

/* All paid seats are confirmed; what is not paid at the deadline is let go. */
static enum eng_step form(struct eng_work *work)
{
    struct tg_team *team = work->team;
    const struct eng_item *item = &work->shard->engine->catalog.items[team->item];
    end_team(work, TG_TEAM_STATE_FORMED, TG_EVENT_TEAM_FORMED);
    team->unit_price_minor = price_of(item, paid_count(team));
    for (uint32_t i = 0; i < team->seat_count; i++) {
        struct tg_change *member;
        enum eng_step step = member_of(work, &team->seats[i], &member);
        if (step != ENG_RECORDED)
            return step;
        if (team->seats[i].paid_at_ms != 0)
            confirm_member(member, team->unit_price_minor, work->now_ms);
        else
            cancel_member(member, work->now_ms);
    }
    remove_unpaid(team);
    return ENG_RECORDED;
}

/* Nobody is confirmed: who paid gets the money back, the others' seats are gone. */
static enum eng_step break_up(struct eng_work *work, enum tg_team_state state,
                              enum tg_event_type event)
{
    struct tg_team *team = work->team;
    end_team(work, state, event);
    for (uint32_t i = 0; i < team->seat_count; i++) {
        struct tg_change *member;
        enum eng_step step = member_of(work, &team->seats[i], &member);
        if (step != ENG_RECORDED)
            return step;
        if (team->seats[i].paid_at_ms != 0)
            eng_order_end(member, ENG_MOVE_FAIL_TEAM, TG_REFUND_TEAM_FAILED, work->now_ms);
        else
            cancel_member(member, work->now_ms);
    }
    remove_unpaid(team);
    return ENG_RECORDED;
}

enum eng_step eng_team_deadline(struct eng_work *work)
{
    const struct tg_team_rules *rules = rules_of(work);
    work->team->ended_by_timer = true;
    if (work->team->state == TG_TEAM_PENDING) /* nobody but the captain knew of it */
        return break_up(work, TG_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    if (rules->at_deadline != TG_DEADLINE_AUTO_COMPLETE ||
        paid_count(work->team) < rules->team_size_min)
        return break_up(work, TG_TEAM_STATE_FAILED, TG_EVENT_TEAM_FAILED);
    work->team->auto_completed = true;
    return form(work);
}

/* --- leaving --- */

/* Who paid first, and of those who joined first. */
static const struct tg_seat *next_captain(const struct tg_team *team)
{
    const struct tg_seat *first = NULL;
    for (uint32_t i = 0; i < team->seat_count; i++) {
        const struct tg_seat *seat = &team->seats[i];
        if ((seat->paid_at_ms != 0 || TG_PLANTED(CAPTAIN_UNPAID)) &&
            (!first || seat->paid_at_ms < first->paid_at_ms))
            first = seat;
    }
    return first;
}

enum eng_step eng_team_leave(struct eng_work *work)
{
    uint64_t order_id = work->change->row.order_id;
    enum eng_step step = eng_work_load_team(work, work->change->row.team_id);
    if (step != ENG_RECORDED)
        return step;
    struct tg_team *team = work->team;
    seat_remove(team, order_id);
    const struct tg_seat *captain = next_captain(team);
    if (!captain)
        return break_up(work, TG_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    if (team->captain_order_id == order_id) {
        team->captain_order_id = captain->order_id;
        work->team_event = TG_EVENT_TEAM_CAPTAIN_CHANGED;
    }
    return ENG_RECORDED;
}

/* --- paying --- */

static bool is_new_buyer(const struct eng_shard *shard, const struct eng_item *item,
                         uint64_t user_id)
{
    return eng_holdings_units(&shard->holdings, user_id, ENG_HELD_ORDERS | item->sale->sale) == 0;
}

enum eng_step eng_team_readmit(struct eng_work *work, bool *admitted)
{
    const struct tg_order_row *row = &work->change->row;
    enum eng_step step = eng_work_load_team(work, row->team_id);
    if (step != ENG_RECORDED)
        return step;
    struct tg_team *team = work->team;
    *admitted = team->state == TG_TEAM_OPEN &&
                (team->seat_count < team->size || TG_PLANTED(TEAM_OVERFULL)) &&
                !has_user(team, row->user_id) &&
                (!rules_of(work)->new_buyers_only ||
                 is_new_buyer(work->shard, eng_row_item(work->shard, row), row->user_id));
    if (*admitted)
        seat_add(team, row->order_id, row->user_id, work->now_ms);
    return ENG_RECORDED;
}

enum eng_step eng_team_seat_paid(struct eng_work *work)
{
    if (!work->team) {
        enum eng_step step = eng_work_load_team(work, work->change->row.team_id);
        if (step != ENG_RECORDED)
            return step;
    }
    struct tg_team *team = work->team;
    struct tg_seat *seat = seat_of(team, work->change->row.order_id);
    tg_assert(seat && seat->paid_at_ms == 0);
    seat->paid_at_ms = work->now_ms;
    eng_move_make(work->change, ENG_MOVE_SEAT, work->now_ms);
    if (paid_count(team) == team->size)
        return form(work);
    if (team->state == TG_TEAM_PENDING) { /* its one seat is the captain's */
        team->state = TG_TEAM_OPEN;
        work->team_event = TG_EVENT_TEAM_OPENED;
    }
    return ENG_RECORDED;
}

/* --- opening and joining --- */

/* The new order's time to pay ends with the team's. */
static void bound_deadline(struct tg_change *change, const struct tg_team *team)
{
    struct tg_life *life = &change->life;
    if (life->payment_deadline_ms <= team->deadline_ms) /* 0: it has none */
        return;
    life->payment_deadline_ms = team->deadline_ms;
    change->stores_life = true;
}

/* Takes the units of the new order at its own price, which was checked, and binds its id. */
static enum eng_step seat_order(struct eng_work *work, const struct eng_item *item,
                                struct eng_decision *decision)
{
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    bound_deadline(work->change, work->team);
    eng_work_take_fill(work, (enum tg_units)work->change->life.units);
    work->take.gated = true;
    work->take.lines[0].unit_price_minor = item->sale_price_minor;
    enum tg_verdict verdict = eng_work_take(work, work->now_ms, refusals);
    return verdict == TG_ACCEPTED ? eng_work_bind(work, decision) : eng_refuse(decision, verdict);
}

/* Whether anybody may order the item at this price now; what every kind of order is asked first. */
static enum tg_verdict check_sale(const struct eng_item *item, int64_t price, int64_t wanted_price,
                                  int64_t now_ms)
{
    if (!item->is_team_only)
        return TG_NOT_A_GROUP_BUY;
    enum tg_verdict verdict = eng_item_gate_window(item, now_ms);
    if (verdict != TG_ACCEPTED)
        return verdict;
    return price == wanted_price ? TG_ACCEPTED : TG_PRICE_CHANGED;
}

static enum tg_verdict check_open(const struct eng_shard *shard, const struct eng_item *item,
                                  const struct tg_order *order, int64_t now_ms)
{
    const struct eng_sale *sale = item->sale;
    uint32_t teams_max = sale->team.teams_per_user_max;
    enum tg_verdict verdict =
        check_sale(item, item->captain_price_minor, order->unit_price_minor, now_ms);
    if (verdict != TG_ACCEPTED || teams_max == 0)
        return verdict;
    uint32_t teams =
        eng_holdings_units(&shard->holdings, order->user_id, ENG_HELD_TEAMS | sale->sale);
    return teams < teams_max ? TG_ACCEPTED : TG_TEAM_LIMIT_REACHED;
}

static void team_fill(struct tg_team *team, const struct eng_item *item, uint64_t user_id,
                      int64_t now_ms)
{
    int64_t deadline_ms = now_ms + 1000ll * item->sale->team.team_lifetime_s;
    team->opener_user_id = user_id;
    team->item = item->item;
    team->state = TG_TEAM_PENDING;
    team->size = item->sale->team.team_size;
    team->opened_at_ms = now_ms;
    team->deadline_ms = deadline_ms < item->ends_at_ms ? deadline_ms : item->ends_at_ms;
    seat_add(team, 0, user_id, now_ms);
}

enum eng_step eng_team_open(struct eng_shard *shard, struct eng_item *item,
                            const struct tg_order *order, int64_t now_ms, struct eng_unit *unit,
                            struct eng_decision *decision)
{
    struct tg_order_row row;
    struct eng_work work;
    tg_assert(item->shard == shard->shard);
    eng_row_of_order(&row, item, order, TG_ORDER_CAPTAIN, 0, now_ms);
    enum eng_step step = eng_row_known(shard, &row, decision);
    if (step != ENG_RECORDED)
        return step;
    enum tg_verdict verdict = check_open(shard, item, order, now_ms);
    if (verdict != TG_ACCEPTED)
        return eng_refuse(decision, verdict);
    eng_work_begin(&work, shard, unit, now_ms);
    if (!eng_change_room(shard, unit, 2, 1, 1))
        return eng_refuse(decision, TG_BUSY);

    eng_work_create(&work, item, &row);
    work.team = eng_change_team_take(shard);
    team_fill(work.team, item, order->user_id, now_ms);
    work.counted_team = eng_count_team(shard, work.team);
    step = work.counted_team && eng_work_timers(&work, 1) == ENG_RECORDED
               ? seat_order(&work, item, decision)
               : eng_refuse(decision, TG_BUSY);
    if (step == ENG_RECORDED)
        return eng_work_record(&work);
    eng_work_drop(&work, false);
    return step;
}

/* Whether the user may have a seat in the team that was loaded. */
static enum tg_verdict check_team(const struct eng_work *work, const struct eng_item *item,
                                  bool new_buyer, uint64_t user_id)
{
    const struct tg_team *team = work->team;
    switch ((enum tg_team_state)team->state) {
    case TG_TEAM_PENDING:
        return TG_TEAM_NOT_OPEN;
    case TG_TEAM_STATE_FORMED:
        return TG_TEAM_FORMED;
    case TG_TEAM_STATE_FAILED:
    case TG_TEAM_DISSOLVED:
        return TG_TEAM_ENDED;
    case TG_TEAM_OPEN:
        break;
    }
    if (work->now_ms >= team->deadline_ms && !TG_PLANTED(SEAT_AFTER_DEADLINE))
        return TG_TEAM_ENDED;
    if (has_user(team, user_id))
        return TG_ALREADY_IN_TEAM;
    if (team->seat_count >= team->size)
        return TG_TEAM_FULL;
    if (item->sale->team.new_buyers_only &&
        (!new_buyer || !is_new_buyer(work->shard, item, user_id)))
        return TG_NOT_NEW_BUYER;
    return TG_ACCEPTED;
}

/* Locks and loads the team that is to be joined. */
static enum eng_step open_team(struct eng_work *work, const struct eng_item *item, uint64_t team_id,
                               struct eng_decision *decision)
{
    enum eng_step step = eng_work_lock(work, team_id);
    if (step == ENG_RECORDED)
        step = eng_work_load_team(work, team_id);
    if (step == ENG_FINAL)
        return eng_refuse(decision, work->verdict);
    if (step == ENG_RECORDED && work->team->item != item->item)
        return eng_refuse_field(decision, TG_FIELD_TEAM_ITEM);
    return step;
}

static enum eng_step join(struct eng_work *work, const struct eng_item *item,
                          const struct tg_order_row *row, bool new_buyer,
                          struct eng_decision *decision)
{
    enum eng_step step = open_team(work, item, row->team_id, decision);
    if (step != ENG_RECORDED)
        return step;
    enum tg_verdict verdict = check_team(work, item, new_buyer, row->user_id);
    if (verdict != TG_ACCEPTED)
        return eng_refuse(decision, verdict);
    eng_work_create(work, item, row); /* eng_work_load_team made sure of the room */
    seat_add(work->team, 0, row->user_id, work->now_ms);
    return seat_order(work, item, decision);
}

enum eng_step eng_team_join(struct eng_shard *shard, struct eng_item *item, uint64_t team_id,
                            bool new_buyer, const struct tg_order *order, int64_t now_ms,
                            struct eng_unit *unit, struct eng_decision *decision)
{
    struct tg_order_row row;
    struct eng_work work;
    tg_assert(item->shard == shard->shard);
    eng_row_of_order(&row, item, order, TG_ORDER_JOINER, team_id, now_ms);
    enum eng_step step = eng_row_known(shard, &row, decision);
    if (step != ENG_RECORDED)
        return step;
    enum tg_verdict verdict =
        check_sale(item, item->sale_price_minor, order->unit_price_minor, now_ms);
    if (verdict == TG_ACCEPTED && team_id == 0)
        verdict = TG_UNKNOWN_TEAM;
    if (verdict != TG_ACCEPTED)
        return eng_refuse(decision, verdict);
    eng_work_begin(&work, shard, unit, now_ms);
    step = join(&work, item, &row, new_buyer, decision);
    if (step == ENG_RECORDED)
        return eng_work_record(&work);
    eng_work_drop(&work, false);
    return step;
}
