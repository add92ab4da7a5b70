/* Payments and refunds: docs/order-life.md. */
#include "tests/sim/model_inner.h"

#include <stddef.h>
#include <string.h>

/* --- money --- */

int64_t m_money_left(const struct m_order *order)
{
    int64_t left = order->received - order->due - order->refunded;
    for (int i = 0; i < order->refund_count; i++)
        if (order->refunds[i].status == TG_REFUND_WAITING)
            left -= order->refunds[i].amount;
    return left;
}

/* Returns the refund's number. */
int m_refund_add(struct m_order *order, int64_t amount, int cause, int status)
{
    order->refunds[order->refund_count++] =
        (struct m_money_out){.amount = amount, .cause = cause, .status = status};
    return order->refund_count;
}

void m_refund_becomes_due(struct m_order *order, int number)
{
    order->refunds[number - 1].status = TG_REFUND_DUE_STATUS;
    order->due += order->refunds[number - 1].amount;
    m_order_event(order, TG_EVENT_REFUND_DUE);
}

int m_refund_owed(struct m_order *order, int64_t amount, int cause)
{
    int number = m_refund_add(order, amount, cause, TG_REFUND_WAITING);
    m_refund_becomes_due(order, number);
    return number;
}

void m_payment_add(struct m_order *order, const struct m_payment *payment, int status, int verdict,
                   int refund)
{
    order->payments[order->payment_count++] = (struct m_money_in){
        .what = *payment, .status = status, .verdict = verdict, .refund = refund};
    if (status != TG_PAYMENT_REFUSED_AMOUNT && status != TG_PAYMENT_REFUSED_CURRENCY)
        order->received += payment->amount;
}

/* EXPIRED, CANCELLED or TEAM_FAILED: units return, what was paid is due. */
int m_order_ends(struct m_order *order, int state, int cause, int64_t now_ms)
{
    m_go_to(order, state, now_ms);
    order->units = M_FREE;
    int64_t left = m_money_left(order);
    if (left == 0)
        return 0;
    int number = m_refund_owed(order, left, cause);
    m_go_to(order, TG_ORDER_REFUND_DUE, now_ms);
    return number;
}

/* All that was paid is due or has gone back. */
void m_end_when_whole(struct m_order *order, int64_t now_ms)
{
    bool may = order->state == TG_ORDER_CONFIRMED || order->state == TG_ORDER_SHIPPED ||
               order->state == TG_ORDER_DELIVERED;
    if (!may || order->due + order->refunded != order->received)
        return;
    for (int i = 0; i < order->refund_count; i++)
        if (order->refunds[i].restock && order->refunds[i].status != TG_REFUND_REJECTED)
            order->units = M_FREE;
    m_go_to(order, TG_ORDER_REFUND_DUE, now_ms);
}

/* --- payments --- */

/* The order has no use for the money. */
static struct m_answer pay_surplus(struct m_order *order, const struct m_payment *payment,
                                   int64_t now_ms)
{
    int cause = order->received > 0 ? TG_REFUND_SECOND_PAYMENT : TG_REFUND_LATE_PAYMENT;
    if (order->refund_count == M_REFUNDS)
        return m_final(TG_ORDER_FULL);
    struct m_answer answer = {.step = M_RECORDED, .verdict = TG_REFUND_DUE};
    if (payment->amount == 0) {
        m_payment_add(order, payment, TG_PAYMENT_REFUND_DUE, TG_REFUND_DUE, 0);
        m_order_event(order, TG_EVENT_PAYMENT_REFUSED);
        return answer;
    }
    answer.refund = m_refund_owed(order, payment->amount, cause);
    m_payment_add(order, payment, TG_PAYMENT_REFUND_DUE, TG_REFUND_DUE, answer.refund);
    if (!m_stands(order->state) && order->state != TG_ORDER_REFUND_DUE)
        m_go_to(order, TG_ORDER_REFUND_DUE, now_ms);
    return answer;
}

static struct m_answer pay_refused(struct m_order *order, const struct m_payment *payment,
                                   int status, int verdict)
{
    m_payment_add(order, payment, status, verdict, 0);
    m_order_event(order, TG_EVENT_PAYMENT_REFUSED);
    return (struct m_answer){.step = M_RECORDED, .verdict = verdict};
}

static struct m_answer pay_kept(struct draft *d, int place, const struct m_payment *payment,
                                int status)
{
    struct m_order *order = m_draft_order(d, place);
    m_payment_add(order, payment, status, TG_OK, 0);
    order->units = M_SOLD;
    m_go_to(order, TG_ORDER_PAID, d->now_ms);
    if (order->team != M_NONE)
        m_seat_is_paid(d, place);
    else
        m_go_to(order, TG_ORDER_CONFIRMED, d->now_ms);
    return (struct m_answer){.step = M_RECORDED, .verdict = TG_OK};
}

/* There are no units for an order that was to take them when it is paid. */
static struct m_answer pay_unserved(struct draft *d, int place, const struct m_payment *payment)
{
    struct m_order *order = m_draft_order(d, place);
    order->cancelled_by = TG_CANCELLED_BY_MERCHANT;
    order->received += payment->amount;
    struct m_answer answer = {.step = M_RECORDED, .verdict = TG_REFUND_DUE};
    answer.refund = m_order_ends(order, TG_ORDER_CANCELLED, TG_REFUND_LATE_PAYMENT, d->now_ms);
    order->received -= payment->amount;
    m_payment_add(order, payment, TG_PAYMENT_REFUND_DUE, TG_REFUND_DUE, answer.refund);
    if (order->team != M_NONE)
        m_team_is_left(d, place);
    return answer;
}

/* OK, SOLD_OUT (for whatever reason), BUSY, or UNSPECIFIED: other shards are to be asked. */
static int take_when_paid(const struct model *m, const struct m_take *take,
                          enum m_acquired acquired, int64_t now_ms)
{
    int verdicts[M_LINES];
    if (acquired == M_TAKEN)
        return TG_OK;
    if (acquired != M_NOT_ASKED)
        return acquired == M_TAKE_BUSY ? TG_BUSY : TG_SOLD_OUT;
    if (m_is_spread(m, take))
        return TG_UNSPECIFIED;
    if (m_check_take(m, take, M_NONE, now_ms, verdicts))
        return TG_OK;
    return m_first_refusal(verdicts, take->line_count) == TG_BUSY ? TG_BUSY : TG_SOLD_OUT;
}

static bool is_admitted_again(const struct model *m, const struct m_order *order)
{
    if (order->team == M_NONE)
        return true;
    const struct m_team *team = &m->teams[order->team];
    int sale = m->items[team->item].sale;
    return team->state == TG_TEAM_OPEN && team->seat_count < team->size &&
           !m_has_user(team, order->body.user) &&
           (!m->sales[sale].new_buyers_only || m_is_new_buyer(m, sale, order->body.user));
}

static struct m_answer pay_with_units(struct draft *d, int place, const struct m_payment *payment,
                                      enum m_acquired acquired, struct m_take *take)
{
    struct m_order *order = m_draft_order(d, place);
    bool is_late = order->state == TG_ORDER_EXPIRED;
    struct m_take own = m_take_of(&order->body, M_FREE, M_SOLD, is_late);
    int verdict = TG_OK;
    bool is_gone = acquired != M_TAKEN && m_take_is_not_counted(d->m, &own, d->now_ms);
    if (is_late && (is_gone || !is_admitted_again(d->m, order)))
        verdict = TG_SOLD_OUT;
    else if (order->units == M_FREE)
        verdict = take_when_paid(d->m, &own, acquired, d->now_ms);
    if (verdict == TG_UNSPECIFIED) {
        *take = own;
        return m_step_of(M_ACQUIRE);
    }
    if (verdict == TG_BUSY)
        return m_final(TG_BUSY);
    if (verdict == TG_SOLD_OUT)
        return is_late ? pay_surplus(order, payment, d->now_ms) : pay_unserved(d, place, payment);
    d->change.was_held = acquired == M_TAKEN;
    for (int s = 0; d->change.was_held && s < d->m->shards; s++)
        m_drop_hold(d->m, &own, s);
    if (is_late && order->team != M_NONE) {
        struct m_team *team = m_draft_team(d, order->team);
        team->seats[team->seat_count++] =
            (struct m_seat){.order = place, .user = order->body.user, .joined_at_ms = d->now_ms};
    }
    return pay_kept(d, place, payment, is_late ? TG_PAYMENT_LATE : TG_PAYMENT_APPLIED);
}

struct m_answer m_pay(struct draft *d, int place, const struct m_payment *payment,
                      enum m_acquired acquired, struct m_take *take)
{
    struct m_order *order = m_draft_order(d, place);
    for (int i = 0; i < order->payment_count; i++) {
        const struct m_money_in *known = &order->payments[i];
        if (known->what.id != payment->id)
            continue;
        struct m_answer answer = m_final(TG_PAYMENT_CONFLICT);
        if (m_same_payment(&known->what, payment)) {
            answer.verdict = known->verdict;
            answer.refund = known->refund;
            answer.replayed = true;
        }
        return answer;
    }
    if (order->payment_count == M_PAYMENTS)
        return m_final(TG_ORDER_FULL);
    if (payment->is_foreign)
        return pay_refused(order, payment, TG_PAYMENT_REFUSED_CURRENCY, TG_CURRENCY_MISMATCH);
    if (payment->amount != order->amount)
        return pay_refused(order, payment, TG_PAYMENT_REFUSED_AMOUNT, TG_AMOUNT_MISMATCH);
    if (order->state == TG_ORDER_RESERVED || order->state == TG_ORDER_EXPIRED)
        return pay_with_units(d, place, payment, acquired, take);
    return pay_surplus(order, payment, d->now_ms);
}
