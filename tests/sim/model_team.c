/* Teams: docs/group-buy.md. */
#include "tests/sim/model_inner.h"

#include <stddef.h>
#include <string.h>

/* --- teams --- */

static int paid_seats(const struct m_team *team)
{
    int paid = 0;
    for (int i = 0; i < team->seat_count; i++)
        paid += team->seats[i].paid_at_ms != 0;
    return paid;
}

bool m_has_user(const struct m_team *team, int user)
{
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].user == user)
            return true;
    return false;
}

static void drop_seat(struct m_team *team, int seat)
{
    for (int i = seat; i + 1 < team->seat_count; i++)
        team->seats[i] = team->seats[i + 1];
    team->seat_count--;
}

static void team_ends(struct draft *d, int state, int event)
{
    d->team->state = state;
    d->team->ended_at_ms = d->now_ms;
    m_team_event(d->team, event);
}

static void drop_unpaid(struct draft *d)
{
    for (int i = d->team->seat_count - 1; i >= 0; i--) {
        if (d->team->seats[i].paid_at_ms != 0)
            continue;
        struct m_order *member = m_draft_order(d, d->team->seats[i].order);
        member->cancelled_by = TG_CANCELLED_BY_TEAM;
        m_order_ends(member, TG_ORDER_CANCELLED, TG_REFUND_CANCELLED, d->now_ms);
        drop_seat(d->team, i);
    }
}

static void team_forms(struct draft *d)
{
    const struct m_item *item = &d->m->items[d->team->item];
    int paid = paid_seats(d->team);
    int64_t price = item->price;
    for (int i = 0; i < item->ladder_steps; i++)
        if (item->ladder_size[i] <= paid)
            price = item->ladder_price[i];
    d->team->price = price;
    team_ends(d, TG_TEAM_STATE_FORMED, TG_EVENT_TEAM_FORMED);
    drop_unpaid(d);
    for (int i = 0; i < d->team->seat_count; i++) {
        struct m_order *member = m_draft_order(d, d->team->seats[i].order);
        const struct m_line *line = &member->body.lines[0];
        m_go_to(member, TG_ORDER_CONFIRMED, d->now_ms);
        if (line->price > price)
            m_refund_owed(member, (line->price - price) * line->quantity, TG_REFUND_LADDER);
    }
}

static void team_breaks_up(struct draft *d, int state, int event)
{
    team_ends(d, state, event);
    drop_unpaid(d);
    for (int i = 0; i < d->team->seat_count; i++)
        m_order_ends(m_draft_order(d, d->team->seats[i].order), TG_ORDER_TEAM_FAILED,
                     TG_REFUND_TEAM_FAILED, d->now_ms);
}

/* The order has ended and leaves; who paid first becomes captain. */
void m_team_is_left(struct draft *d, int place)
{
    struct m_team *team = m_draft_team(d, d->m->orders[place].team);
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].order == place)
            drop_seat(team, i--);
    const struct m_seat *first = NULL;
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].paid_at_ms != 0 &&
            (!first || team->seats[i].paid_at_ms < first->paid_at_ms))
            first = &team->seats[i];
    if (!first) {
        team_breaks_up(d, TG_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    } else if (team->captain == place) {
        team->captain = first->order;
        m_team_event(team, TG_EVENT_TEAM_CAPTAIN_CHANGED);
    }
}

void m_seat_is_paid(struct draft *d, int place)
{
    struct m_team *team = m_draft_team(d, d->m->orders[place].team);
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].order == place)
            team->seats[i].paid_at_ms = d->now_ms;
    m_go_to(m_draft_order(d, place), TG_ORDER_AWAITING_TEAM, d->now_ms);
    if (paid_seats(team) == team->size) {
        team_forms(d);
    } else if (team->state == TG_TEAM_PENDING) {
        team->state = TG_TEAM_OPEN;
        m_team_event(team, TG_EVENT_TEAM_OPENED);
    }
}

static void bound_deadline(struct m_order *order, const struct m_team *team)
{
    if (order->deadline_ms > team->deadline_ms)
        order->deadline_ms = team->deadline_ms;
}

struct m_answer m_open_team(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    const struct m_sale *sale = &m->sales[item->sale];
    if (!sale->team_size)
        return m_final(TG_NOT_A_GROUP_BUY);
    int verdict = m_check_window(sale, now_ms);
    if (verdict != TG_ACCEPTED)
        return m_final(verdict);
    if (request->lines[0].price != item->captain_price)
        return m_final(TG_PRICE_CHANGED);
    if (sale->teams_per_user && m_open_teams(m, item->sale, request->user) >= sale->teams_per_user)
        return m_final(TG_TEAM_LIMIT_REACHED);
    struct m_take take = m_take_of(request, M_FREE, m_units_when_placed(item->policy), true);
    verdict = m_take_at_own_price(m, &take, now_ms);
    if (verdict != TG_ACCEPTED || m->is_full)
        return m_final(verdict == TG_ACCEPTED ? TG_BUSY : verdict);
    struct draft d = m_draft_begin(m, item->shard, now_ms);
    int place = m_order_create(&d, request);
    int number = m_free_team(m);
    if (number == m->team_count)
        m->team_count++;
    m->teams[number] = (struct m_team){.used = true};
    m->team_locked[number] = false;
    m->team_counted[number] = true;
    struct m_team *team = m_draft_team(&d, number);
    team->opener_user = request->user;
    team->captain = place;
    team->item = request->lines[0].item;
    team->state = TG_TEAM_PENDING;
    team->size = sale->team_size;
    team->opened_at_ms = now_ms;
    team->deadline_ms = now_ms + sale->team_lifetime_ms;
    if (team->deadline_ms > sale->ends_at_ms)
        team->deadline_ms = sale->ends_at_ms;
    team->seats[team->seat_count++] =
        (struct m_seat){.order = place, .user = request->user, .joined_at_ms = now_ms};
    m->orders[place].team = m->next_orders[place].team = number;
    bound_deadline(&m->next_orders[place], team);
    return m_accepted(&d, place);
}

static int check_join(const struct model *m, const struct m_request *request,
                      const struct m_team *team, int64_t now_ms)
{
    const struct m_sale *sale = &m->sales[m->items[team->item].sale];
    if (team->item != request->lines[0].item)
        return TG_INVALID_ARGUMENT;
    if (team->state == TG_TEAM_PENDING)
        return TG_TEAM_NOT_OPEN;
    if (team->state == TG_TEAM_STATE_FORMED)
        return TG_TEAM_FORMED;
    if (team->state != TG_TEAM_OPEN || now_ms >= team->deadline_ms)
        return TG_TEAM_ENDED;
    if (m_has_user(team, request->user))
        return TG_ALREADY_IN_TEAM;
    if (team->seat_count >= team->size)
        return TG_TEAM_FULL;
    if (sale->new_buyers_only &&
        (!request->new_buyer || !m_is_new_buyer(m, m->items[team->item].sale, request->user)))
        return TG_NOT_NEW_BUYER;
    return TG_ACCEPTED;
}

struct m_answer m_join_team(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    const struct m_sale *sale = &m->sales[item->sale];
    if (!sale->team_size)
        return m_final(TG_NOT_A_GROUP_BUY);
    int verdict = m_check_window(sale, now_ms);
    if (verdict != TG_ACCEPTED)
        return m_final(verdict);
    if (request->lines[0].price != item->price)
        return m_final(TG_PRICE_CHANGED);
    int number = m_find_team(m, request->team_id);
    if (number == M_NONE)
        return m_final(TG_UNKNOWN_TEAM);
    if (m->team_locked[number])
        return m_step_of(M_WAIT);
    verdict = check_join(m, request, &m->teams[number], now_ms);
    struct m_take take = m_take_of(request, M_FREE, m_units_when_placed(item->policy), true);
    if (verdict == TG_ACCEPTED)
        verdict = m_take_at_own_price(m, &take, now_ms);
    if (verdict != TG_ACCEPTED || m->is_full)
        return m_final(verdict == TG_ACCEPTED ? TG_BUSY : verdict);
    struct draft d = m_draft_begin(m, item->shard, now_ms);
    int place = m_order_create(&d, request);
    struct m_team *team = m_draft_team(&d, number);
    team->seats[team->seat_count++] =
        (struct m_seat){.order = place, .user = request->user, .joined_at_ms = now_ms};
    m->orders[place].team = m->next_orders[place].team = number;
    bound_deadline(&m->next_orders[place], team);
    return m_accepted(&d, place);
}

struct m_answer m_team_deadline(struct model *m, uint64_t team_id, int64_t now_ms)
{
    int number = m_find_team(m, team_id);
    if (number == M_NONE)
        return m_final(TG_UNKNOWN_TEAM);
    if (m->team_locked[number])
        return m_step_of(M_WAIT);
    const struct m_team *team = &m->teams[number];
    const struct m_sale *sale = &m->sales[m->items[team->item].sale];
    if ((team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN) ||
        team->deadline_ms > now_ms)
        return m_final(TG_OK);
    struct draft d = m_draft_begin(m, m->items[team->item].shard, now_ms);
    m_draft_team(&d, number);
    if (team->state == TG_TEAM_PENDING) {
        team_breaks_up(&d, TG_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    } else if (sale->auto_complete && paid_seats(team) >= sale->team_size_min) {
        d.team->auto_completed = true;
        team_forms(&d);
    } else {
        team_breaks_up(&d, TG_TEAM_STATE_FAILED, TG_EVENT_TEAM_FAILED);
    }
    return m_record(&d, (struct m_answer){.verdict = TG_OK, .order = M_NONE});
}
