/* RecordPayment: what becomes of money that somebody says was paid for an order. */
#include "base/assert.h"
#include "base/planted.h"
#include "engine/work.h"

#include <string.h>

/* The payment was recorded before, with these facts or others. */
static enum eng_step answer_known(const struct tg_life *life, const struct tg_payment *known,
                                  const struct tg_payment *payment, struct eng_result *result)
{
    result->verdict = TG_PAYMENT_CONFLICT;
    if (eng_payment_same(known, payment)) {
        result->replayed = true;
        result->verdict = eng_payment_verdict(life, known, &result->refund_number);
    }
    return ENG_FINAL;
}

/* A payment that does not fit the order is kept on record, for the books, and counts for nothing.
 */
static enum eng_step record_refused(struct eng_work *work, const struct tg_payment *payment,
                                    enum tg_payment_status status, struct eng_result *result)
{
    eng_payment_add(&work->change->life, payment, status, work->now_ms);
    eng_change_event(work->change, TG_EVENT_PAYMENT_REFUSED, payment->amount_minor, 0);
    result->verdict =
        status == TG_PAYMENT_REFUSED_AMOUNT ? TG_AMOUNT_MISMATCH : TG_CURRENCY_MISMATCH;
    return ENG_RECORDED;
}

/* The order has no use for the money: it goes back. An order that goes on stays as it is. */
static enum eng_step record_surplus(struct eng_work *work, const struct tg_payment *payment,
                                    struct eng_result *result)
{
    struct tg_change *change = work->change;
    struct tg_life *life = &change->life;
    enum tg_refund_cause cause =
        life->received_minor > 0 ? TG_REFUND_SECOND_PAYMENT : TG_REFUND_LATE_PAYMENT;
    if (!eng_refund_room(life, 1)) {
        result->verdict = TG_ORDER_FULL;
        return ENG_FINAL;
    }
    result->verdict = TG_REFUND_DUE;
    eng_payment_add(life, payment, TG_PAYMENT_REFUND_DUE, work->now_ms);
    if (payment->amount_minor == 0) { /* there is nothing to give back */
        eng_change_event(change, TG_EVENT_PAYMENT_REFUSED, 0, 0);
        return ENG_RECORDED;
    }
    result->refund_number = eng_refund_owe(change, payment->amount_minor, cause, work->now_ms);
    if (!eng_state_stands(life->state) && eng_move_allowed(life->state, ENG_MOVE_OWE))
        eng_move_make(change, ENG_MOVE_OWE, work->now_ms);
    return ENG_RECORDED;
}

/* There is no unit left for an order that was to take its units now: it ends like one that is
 * cancelled after payment. */
static enum eng_step record_unserved(struct eng_work *work, const struct tg_payment *payment,
                                     struct eng_result *result)
{
    struct tg_change *change = work->change;
    change->life.cancelled_by = TG_CANCELLED_BY_MERCHANT;
    eng_payment_add(&change->life, payment, TG_PAYMENT_REFUND_DUE, work->now_ms);
    result->verdict = TG_REFUND_DUE;
    result->refund_number =
        eng_order_end(change, ENG_MOVE_CANCEL, TG_REFUND_LATE_PAYMENT, work->now_ms);
    return eng_row_in_team(&change->row) ? eng_team_leave(work) : ENG_RECORDED;
}

/* The money is the order's, and its units are sold. */
static enum eng_step record_paid(struct eng_work *work, const struct tg_payment *payment,
                                 enum tg_payment_status status, struct eng_result *result)
{
    struct tg_change *change = work->change;
    result->verdict = TG_OK;
    eng_payment_add(&change->life, payment, status, work->now_ms);
    change->life.units = TG_UNITS_SOLD;
    eng_move_make(change, ENG_MOVE_PAY, work->now_ms);
    if (eng_row_in_team(&change->row))
        return eng_team_seat_paid(work);
    eng_move_make(change, ENG_MOVE_CONFIRM, work->now_ms);
    return ENG_RECORDED;
}

/* Takes the units that a paid order needs. OK; SOLD_OUT for whatever reason they are not to be had;
 * BUSY; or UNSPECIFIED: other shards must be asked. */
static enum tg_verdict take_units(struct eng_work *work, enum eng_acquired acquired)
{
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    eng_work_take_fill(work, TG_UNITS_SOLD);
    if (!work->take.stands_before && acquired != ENG_TAKEN && eng_work_counts_are_gone(work))
        return TG_SOLD_OUT;
    switch (acquired) {
    case ENG_TAKEN:
        return TG_OK;
    case ENG_NOT_TAKEN:
        return TG_SOLD_OUT;
    case ENG_TAKE_BUSY:
        return TG_BUSY;
    case ENG_NOT_ASKED:
        break;
    }
    if (!eng_work_take_is_own(work))
        return TG_UNSPECIFIED;
    enum tg_verdict verdict = eng_work_take(work, work->now_ms, refusals);
    return verdict == TG_ACCEPTED ? TG_OK : verdict == TG_BUSY ? TG_BUSY : TG_SOLD_OUT;
}

static enum eng_step ask_others(const struct eng_work *work, struct eng_take *take)
{
    *take = work->take;
    return ENG_ACQUIRE;
}

static enum eng_step pay_in_time(struct eng_work *work, const struct tg_payment *payment,
                                 enum eng_acquired acquired, struct eng_take *take,
                                 struct eng_result *result)
{
    enum tg_verdict verdict =
        work->change->life.units == TG_UNITS_NONE ? take_units(work, acquired) : TG_OK;
    if (verdict == TG_UNSPECIFIED)
        return ask_others(work, take);
    if (verdict == TG_SOLD_OUT)
        return record_unserved(work, payment, result);
    if (verdict == TG_OK)
        return record_paid(work, payment, TG_PAYMENT_APPLIED, result);
    result->verdict = verdict;
    return ENG_FINAL;
}

static enum eng_step pay_late(struct eng_work *work, const struct tg_payment *payment,
                              enum eng_acquired acquired, struct eng_take *take,
                              struct eng_result *result)
{
    bool admitted = true;
    if (eng_row_in_team(&work->change->row)) {
        enum eng_step step = eng_team_readmit(work, &admitted);
        if (step != ENG_RECORDED)
            return step;
    }
    enum tg_verdict verdict = admitted ? take_units(work, acquired) : TG_SOLD_OUT;
    if (TG_PLANTED(LATE_WITHOUT_UNITS) && verdict == TG_SOLD_OUT && admitted)
        verdict = TG_OK;
    if (verdict == TG_UNSPECIFIED)
        return ask_others(work, take);
    if (verdict == TG_OK)
        return record_paid(work, payment, TG_PAYMENT_LATE, result);
    if (work->team)
        eng_work_forget_team(work);
    if (verdict == TG_SOLD_OUT)
        return record_surplus(work, payment, result);
    result->verdict = verdict;
    return ENG_FINAL;
}

enum eng_step eng_payment_decide(struct eng_work *work, const struct tg_payment *payment,
                                 enum eng_acquired acquired, struct eng_take *take,
                                 struct eng_result *result)
{
    const struct tg_life *life = &work->change->life;
    const struct tg_payment *known = eng_payment_find(life, payment);
    const char *currency = eng_row_item(work->shard, &work->change->row)->sale->currency;
    if (known && !TG_PLANTED(PAYMENT_TWICE))
        return answer_known(life, known, payment, result);
    if (life->payment_count == TG_ORDER_PAYMENTS_MAX) {
        result->verdict = TG_ORDER_FULL;
        return ENG_FINAL;
    }
    if (memcmp(payment->currency, currency, TG_CURRENCY_BYTES) != 0)
        return record_refused(work, payment, TG_PAYMENT_REFUSED_CURRENCY, result);
    if (payment->amount_minor != life->amount_minor)
        return record_refused(work, payment, TG_PAYMENT_REFUSED_AMOUNT, result);
    if (life->received_minor > TG_AMOUNT_MINOR_MAX - payment->amount_minor) {
        result->verdict = TG_ORDER_FULL; /* a bound that keeps every sum inside int64 */
        return ENG_FINAL;
    }
    if (life->state == TG_ORDER_RESERVED)
        return pay_in_time(work, payment, acquired, take, result);
    if (life->state == TG_ORDER_EXPIRED)
        return pay_late(work, payment, acquired, take, result);
    return record_surplus(work, payment, result);
}
