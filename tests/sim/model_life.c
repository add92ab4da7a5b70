/* The states of an order and its changes: docs/order-life.md. */
#include "tests/sim/model_inner.h"

#include <stddef.h>
#include <string.h>

#define EXTEND_MS_MAX (30ll * 24 * 3600 * 1000)

/* --- events and states --- */

void m_order_event(struct m_order *order, int type)
{
    order->events[type]++;
    order->event_count++;
}

void m_team_event(struct m_team *team, int type)
{
    team->events[type]++;
    team->event_count++;
}

/* Times of steps never go back. */
static int64_t step_ms(const struct m_order *order, int64_t now_ms)
{
    const int64_t taken[] = {order->accepted_at_ms, order->paid_at_ms,      order->confirmed_at_ms,
                             order->shipped_at_ms,  order->delivered_at_ms, order->ended_at_ms,
                             order->refunded_at_ms};
    for (int i = 0; i < 7; i++)
        if (taken[i] > now_ms)
            now_ms = taken[i];
    return now_ms;
}

void m_go_to(struct m_order *order, int state, int64_t now_ms)
{
    int64_t at_ms = step_ms(order, now_ms);
    order->state = state;
    switch (state) {
    case TG_ORDER_PAID:
        order->paid_at_ms = at_ms;
        order->deadline_ms = 0;
        m_order_event(order, TG_EVENT_ORDER_PAID);
        break;
    case TG_ORDER_AWAITING_TEAM:
        m_order_event(order, TG_EVENT_ORDER_AWAITING_TEAM);
        break;
    case TG_ORDER_CONFIRMED:
        order->confirmed_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_CONFIRMED);
        break;
    case TG_ORDER_SHIPPED:
        order->shipped_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_SHIPPED);
        break;
    case TG_ORDER_DELIVERED:
        order->delivered_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_DELIVERED);
        break;
    case TG_ORDER_COMPLETED:
        order->completed_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_COMPLETED);
        break;
    case TG_ORDER_EXPIRED:
        order->ended_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_EXPIRED);
        break;
    case TG_ORDER_CANCELLED:
        order->ended_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_CANCELLED);
        break;
    case TG_ORDER_TEAM_FAILED:
        order->ended_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_TEAM_FAILED);
        break;
    case TG_ORDER_REFUND_DUE:
        m_order_event(order, TG_EVENT_ORDER_REFUND_DUE);
        break;
    case TG_ORDER_REFUNDED:
        order->refunded_at_ms = at_ms;
        m_order_event(order, TG_EVENT_ORDER_REFUNDED);
        break;
    }
}

static int state_verdict(int state)
{
    switch (state) {
    case TG_ORDER_RESERVED:
        return TG_NOT_PAID;
    case TG_ORDER_PAID:
    case TG_ORDER_CONFIRMED:
        return TG_ALREADY_PAID;
    case TG_ORDER_AWAITING_TEAM:
        return TG_AWAITING_TEAM;
    case TG_ORDER_SHIPPED:
        return TG_ALREADY_SHIPPED;
    case TG_ORDER_DELIVERED:
        return TG_ALREADY_DELIVERED;
    case TG_ORDER_COMPLETED:
        return TG_ALREADY_COMPLETED;
    case TG_ORDER_EXPIRED:
        return TG_EXPIRED;
    case TG_ORDER_CANCELLED:
        return TG_ALREADY_CANCELLED;
    case TG_ORDER_TEAM_FAILED:
        return TG_TEAM_FAILED;
    case TG_ORDER_REFUND_DUE:
        return TG_REFUND_DUE;
    default:
        return TG_ALREADY_REFUNDED;
    }
}

/* --- the other changes --- */

static struct m_answer done(void)
{
    return (struct m_answer){.step = M_RECORDED, .verdict = TG_OK};
}

static struct m_answer cancel(struct draft *d, int place, const struct m_command *command)
{
    struct m_order *order = m_draft_order(d, place);
    if (order->state != TG_ORDER_RESERVED && order->state != TG_ORDER_AWAITING_TEAM)
        return m_final(state_verdict(order->state));
    struct m_answer answer = done();
    order->cancelled_by = command->by;
    answer.refund = m_order_ends(order, TG_ORDER_CANCELLED, TG_REFUND_CANCELLED, d->now_ms);
    if (order->team != M_NONE)
        m_team_is_left(d, place);
    return answer;
}

static struct m_answer extend(struct draft *d, int place, int64_t wanted_ms)
{
    struct m_order *order = m_draft_order(d, place);
    int64_t latest_ms = d->now_ms + EXTEND_MS_MAX;
    if (order->state != TG_ORDER_RESERVED)
        return m_final(state_verdict(order->state));
    if (order->team != M_NONE && d->m->teams[order->team].deadline_ms < latest_ms)
        latest_ms = d->m->teams[order->team].deadline_ms;
    if (order->deadline_ms == 0 || wanted_ms <= order->deadline_ms || wanted_ms <= d->now_ms ||
        wanted_ms > latest_ms)
        return m_final(TG_INVALID_ARGUMENT);
    order->deadline_ms = wanted_ms;
    m_order_event(order, TG_EVENT_PAYMENT_EXTENDED);
    return done();
}

static struct m_answer request_refund(struct draft *d, int place, const struct m_command *command)
{
    struct m_order *order = m_draft_order(d, place);
    int64_t left = m_money_left(order);
    int64_t amount = command->amount ? command->amount : left;
    if (order->state != TG_ORDER_CONFIRMED && order->state != TG_ORDER_SHIPPED &&
        order->state != TG_ORDER_DELIVERED)
        return m_final(state_verdict(order->state));
    if (left == 0 || amount > left)
        return m_final(TG_REFUND_EXCEEDS_PAID);
    if (command->restock && amount != left)
        return m_final(TG_INVALID_ARGUMENT);
    if (order->refund_count >= M_REFUNDS - 1)
        return m_final(TG_ORDER_FULL);
    struct m_answer answer = done();
    answer.refund = m_refund_add(order, amount, TG_REFUND_REQUESTED, TG_REFUND_WAITING);
    order->refunds[answer.refund - 1].restock = command->restock;
    m_order_event(order, TG_EVENT_REFUND_REQUESTED);
    if (amount <= d->m->sales[d->m->items[order->body.lines[0].item].sale].refund_auto_max) {
        m_refund_becomes_due(order, answer.refund);
        m_end_when_whole(order, d->now_ms);
    }
    return answer;
}

static struct m_answer decide_refund(struct draft *d, int place, const struct m_command *command)
{
    struct m_order *order = m_draft_order(d, place);
    bool is_repaid = command->kind == M_REPAID;
    if (command->number < 1 || command->number > order->refund_count)
        return m_final(TG_UNKNOWN_REFUND);
    struct m_money_out *refund = &order->refunds[command->number - 1];
    if (refund->status != (is_repaid ? TG_REFUND_DUE_STATUS : TG_REFUND_WAITING))
        return m_final(TG_REFUND_STATUS);
    if (command->kind == M_APPROVE) {
        m_refund_becomes_due(order, command->number);
        m_end_when_whole(order, d->now_ms);
    } else if (command->kind == M_REJECT) {
        refund->status = TG_REFUND_REJECTED;
        m_order_event(order, TG_EVENT_REFUND_REJECTED);
    } else {
        refund->status = TG_REFUND_REFUNDED;
        order->due -= refund->amount;
        order->refunded += refund->amount;
        m_order_event(order, TG_EVENT_REFUND_RECORDED);
        if (order->state == TG_ORDER_REFUND_DUE && order->due == 0)
            m_go_to(order, TG_ORDER_REFUNDED, d->now_ms);
    }
    struct m_answer answer = done();
    answer.refund = command->number;
    return answer;
}

static struct m_answer advance(struct draft *d, int place, int to)
{
    struct m_order *order = m_draft_order(d, place);
    int from = to == TG_ORDER_SHIPPED     ? TG_ORDER_CONFIRMED
               : to == TG_ORDER_DELIVERED ? TG_ORDER_SHIPPED
                                          : TG_ORDER_DELIVERED;
    if (order->state != from) {
        if (order->state == TG_ORDER_CONFIRMED)
            return m_final(TG_NOT_SHIPPED);
        if (order->state == TG_ORDER_SHIPPED && to == TG_ORDER_COMPLETED)
            return m_final(TG_NOT_DELIVERED);
        return m_final(state_verdict(order->state));
    }
    for (int i = 0; to == TG_ORDER_COMPLETED && i < order->refund_count; i++)
        if (order->refunds[i].status == TG_REFUND_WAITING ||
            order->refunds[i].status == TG_REFUND_DUE_STATUS)
            return m_final(TG_REFUND_PENDING);
    m_go_to(order, to, d->now_ms);
    return done();
}

static struct m_answer decide(struct draft *d, int place, const struct m_command *command,
                              enum m_acquired acquired, struct m_take *take)
{
    switch (command->kind) {
    case M_PAY:
        return m_pay(d, place, &command->payment, acquired, take);
    case M_CANCEL:
        return cancel(d, place, command);
    case M_EXTEND:
        return extend(d, place, command->deadline_ms);
    case M_REFUND:
        return request_refund(d, place, command);
    case M_APPROVE:
    case M_REJECT:
    case M_REPAID:
        return decide_refund(d, place, command);
    case M_ADVANCE:
        return advance(d, place, command->to);
    }
    return m_final(TG_UNSPECIFIED);
}

static bool same_command(const struct m_command *a, const struct m_command *b)
{
    return a->kind == b->kind && a->by == b->by && a->to == b->to && a->number == b->number &&
           a->deadline_ms == b->deadline_ms && a->amount == b->amount && a->restock == b->restock &&
           m_same_payment(&a->payment, &b->payment);
}

/* The order has seen the command's request id. */
static bool is_seen(const struct m_order *order, const struct m_command *command,
                    struct m_answer *answer)
{
    for (int i = 0; i < order->seen_count; i++) {
        const struct m_seen *seen = &order->seen[i];
        if (seen->what.id[0] != command->id[0] || seen->what.id[1] != command->id[1])
            continue;
        *answer = m_final(TG_REQUEST_ID_CONFLICT);
        if (same_command(&seen->what, command)) {
            answer->verdict = seen->verdict;
            answer->refund = seen->refund;
            answer->replayed = true;
        }
        return true;
    }
    return false;
}

static void remember(struct m_order *order, const struct m_command *command,
                     const struct m_answer *answer)
{
    if (order->seen_count == M_COMMANDS)
        memmove(order->seen, order->seen + 1, (size_t)--order->seen_count * sizeof(order->seen[0]));
    order->seen[order->seen_count++] =
        (struct m_seen){.what = *command, .verdict = answer->verdict, .refund = answer->refund};
}

static bool is_locked(const struct model *m, int place)
{
    int team = m->orders[place].team;
    return team == M_NONE ? m->locked[place] : m->team_locked[team];
}

struct m_answer m_change(struct model *m, const struct m_command *command, enum m_acquired acquired,
                         int64_t now_ms, struct m_take *take)
{
    struct m_answer answer;
    int place = m_find(m, command->order_id);
    if (place == M_NONE)
        return m_final(TG_UNKNOWN_ORDER);
    if (acquired == M_NOT_ASKED && is_locked(m, place))
        return m_step_of(M_WAIT);
    if (is_seen(&m->orders[place], command, &answer))
        return answer;
    struct draft d = m_draft_begin(m, m->orders[place].home, now_ms);
    m_draft_order(&d, place);
    answer = decide(&d, place, command, acquired, take);
    answer.order = place;
    if (answer.step == M_RECORDED && m->is_full)
        answer = m_final(TG_BUSY);
    m->locked[place] = answer.step == M_ACQUIRE;
    if (answer.step != M_RECORDED)
        return answer;
    remember(&m->next_orders[place], command, &answer);
    return m_record(&d, answer);
}

struct m_answer m_expire(struct model *m, uint64_t order_id, int64_t now_ms)
{
    int place = m_find(m, order_id);
    if (place == M_NONE)
        return m_final(TG_UNKNOWN_ORDER);
    if (is_locked(m, place))
        return m_step_of(M_WAIT);
    const struct m_order *order = &m->orders[place];
    if (order->state != TG_ORDER_RESERVED || order->deadline_ms == 0 || order->deadline_ms > now_ms)
        return m_final(TG_OK);
    struct draft d = m_draft_begin(m, order->home, now_ms);
    m_order_ends(m_draft_order(&d, place), TG_ORDER_EXPIRED, TG_REFUND_LATE_PAYMENT, now_ms);
    if (order->team != M_NONE)
        m_team_is_left(&d, place);
    return m_record(&d, (struct m_answer){.verdict = TG_OK, .order = place});
}
