/* The payments and refunds of one order. Always received == kept + due + refunded; what waits for
 * approval is part of what is kept. */
#include "base/assert.h"
#include "base/planted.h"
#include "engine/work.h"

#include <string.h>

/* --- payments --- */

const struct tg_payment *eng_payment_find(const struct tg_life *life,
                                          const struct tg_payment *payment)
{
    for (uint32_t i = 0; i < life->payment_count; i++) {
        const struct tg_payment *known = &life->payments[i];
        if (known->id_bytes == payment->id_bytes &&
            memcmp(known->id, payment->id, known->id_bytes) == 0)
            return known;
    }
    return NULL;
}

bool eng_payment_same(const struct tg_payment *a, const struct tg_payment *b)
{
    return a->amount_minor == b->amount_minor && a->paid_at_ms == b->paid_at_ms &&
           a->channel == b->channel && memcmp(a->currency, b->currency, TG_CURRENCY_BYTES) == 0;
}

/* The number of the refund of a payment that has to go back, by counting: each such payment made
 * one, in their order. One of no amount made none. */
static uint8_t refund_of(const struct tg_life *life, const struct tg_payment *payment)
{
    uint32_t before = 0;
    for (const struct tg_payment *p = life->payments; p < payment; p++)
        before += p->status == TG_PAYMENT_REFUND_DUE && p->amount_minor != 0;
    for (uint32_t i = 0; payment->amount_minor != 0 && i < life->refund_count; i++) {
        uint8_t cause = life->refunds[i].cause;
        if (cause != TG_REFUND_SECOND_PAYMENT && cause != TG_REFUND_LATE_PAYMENT)
            continue;
        if (before-- == 0)
            return (uint8_t)(i + 1);
    }
    return 0;
}

enum tg_verdict eng_payment_verdict(const struct tg_life *life, const struct tg_payment *payment,
                                    uint8_t *refund_number)
{
    *refund_number = 0;
    switch ((enum tg_payment_status)payment->status) {
    case TG_PAYMENT_APPLIED:
    case TG_PAYMENT_LATE:
        return TG_OK;
    case TG_PAYMENT_REFUND_DUE:
        *refund_number = refund_of(life, payment);
        return TG_REFUND_DUE;
    case TG_PAYMENT_REFUSED_AMOUNT:
        return TG_AMOUNT_MISMATCH;
    case TG_PAYMENT_REFUSED_CURRENCY:
        return TG_CURRENCY_MISMATCH;
    }
    tg_assert(!"a payment has a status");
    return TG_UNSPECIFIED;
}

void eng_payment_add(struct tg_life *life, const struct tg_payment *payment,
                     enum tg_payment_status status, int64_t now_ms)
{
    tg_assert(life->payment_count < TG_ORDER_PAYMENTS_MAX);
    struct tg_payment *added = &life->payments[life->payment_count++];
    *added = *payment;
    added->status = (uint8_t)status;
    added->recorded_at_ms = now_ms;
    if (status != TG_PAYMENT_REFUSED_AMOUNT && status != TG_PAYMENT_REFUSED_CURRENCY)
        life->received_minor += payment->amount_minor;
}

/* --- refunds --- */

static int64_t waiting_minor(const struct tg_life *life)
{
    int64_t waiting = 0;
    for (uint32_t i = 0; i < life->refund_count; i++)
        if (life->refunds[i].status == TG_REFUND_WAITING)
            waiting += life->refunds[i].amount_minor;
    return waiting;
}

int64_t eng_money_left(const struct tg_life *life)
{
    return life->received_minor - life->refund_due_minor - life->refunded_minor -
           waiting_minor(life);
}

bool eng_refund_room(const struct tg_life *life, uint32_t more)
{
    return life->refund_count + more <= TG_ORDER_REFUNDS_MAX;
}

/* An order that waits for its team was asked for no refunds: each of its refunds is of a payment
 * after the first. So there is always one left for the end of its team, or its ladder. */
_Static_assert(TG_ORDER_PAYMENTS_MAX <= TG_ORDER_REFUNDS_MAX, "a refund for each payment");

static struct tg_refund *refund_add(struct tg_life *life, int64_t amount_minor,
                                    enum tg_refund_cause cause, enum tg_refund_status status,
                                    int64_t now_ms)
{
    tg_assert(life->refund_count < TG_ORDER_REFUNDS_MAX && amount_minor > 0);
    struct tg_refund *refund = &life->refunds[life->refund_count++];
    *refund = (struct tg_refund){
        .amount_minor = amount_minor,
        .requested_at_ms = now_ms,
        .cause = (uint8_t)cause,
        .status = (uint8_t)status,
    };
    return refund;
}

static void become_due(struct tg_change *change, struct tg_refund *refund, int64_t now_ms)
{
    struct tg_life *life = &change->life;
    refund->status = TG_REFUND_DUE_STATUS;
    refund->decided_at_ms = now_ms;
    life->refund_due_minor += refund->amount_minor;
    eng_change_event(change, TG_EVENT_REFUND_DUE, refund->amount_minor,
                     (uint8_t)(refund - life->refunds + 1));
}

uint8_t eng_refund_owe(struct tg_change *change, int64_t amount_minor, enum tg_refund_cause cause,
                       int64_t now_ms)
{
    struct tg_refund *refund =
        refund_add(&change->life, amount_minor, cause, TG_REFUND_DUE_STATUS, now_ms);
    become_due(change, refund, now_ms);
    return change->life.refund_count;
}

static bool any_restock(const struct tg_life *life)
{
    for (uint32_t i = 0; i < life->refund_count; i++)
        if (life->refunds[i].restock && life->refunds[i].status != TG_REFUND_REJECTED)
            return true;
    return false;
}

/* Nothing is kept any more: the order is refunded as a whole, and its units return if a refund said
 * so. */
static void end_if_whole(struct tg_change *change, int64_t now_ms)
{
    struct tg_life *life = &change->life;
    if (life->refund_due_minor + life->refunded_minor != life->received_minor ||
        !eng_move_allowed(life->state, ENG_MOVE_OWE))
        return;
    if (any_restock(life))
        life->units = TG_UNITS_NONE;
    eng_move_make(change, ENG_MOVE_OWE, now_ms);
}

static bool can_be_refunded(uint8_t state)
{
    return state == TG_ORDER_CONFIRMED || state == TG_ORDER_SHIPPED || state == TG_ORDER_DELIVERED;
}

/* TG_OK, or why `amount_minor` cannot be asked for. One refund is kept free, so that a payment that
 * has to go back never lacks one for want of requests alone. */
static enum tg_verdict request_refusal(const struct tg_life *life, int64_t amount_minor,
                                       bool restock, struct eng_result *result)
{
    int64_t left = eng_money_left(life);
    if (!can_be_refunded(life->state))
        return eng_state_verdict(life->state);
    if ((amount_minor > left && !TG_PLANTED(REFUND_UNCHECKED)) || left == 0)
        return TG_REFUND_EXCEEDS_PAID;
    if (restock && amount_minor != left) {
        result->field = TG_FIELD_REFUND_RESTOCK;
        return TG_INVALID_ARGUMENT;
    }
    return eng_refund_room(life, 2) ? TG_OK : TG_ORDER_FULL;
}

enum tg_verdict eng_refund_request(struct tg_change *change, const struct tg_refund *wanted,
                                   int64_t auto_max_minor, int64_t now_ms,
                                   struct eng_result *result)
{
    struct tg_life *life = &change->life;
    int64_t amount = wanted->amount_minor != 0 ? wanted->amount_minor : eng_money_left(life);
    enum tg_verdict verdict = request_refusal(life, amount, wanted->restock, result);
    if (verdict != TG_OK)
        return verdict;
    struct tg_refund *refund =
        refund_add(life, amount, TG_REFUND_REQUESTED, TG_REFUND_WAITING, now_ms);
    refund->restock = wanted->restock;
    refund->reason_bytes = wanted->reason_bytes;
    memcpy(refund->reason, wanted->reason, wanted->reason_bytes);
    result->refund_number = life->refund_count;
    eng_change_event(change, TG_EVENT_REFUND_REQUESTED, amount, life->refund_count);
    if (amount <= auto_max_minor) {
        become_due(change, refund, now_ms);
        end_if_whole(change, now_ms);
    }
    return TG_OK;
}

static struct tg_refund *refund_numbered(struct tg_life *life, uint32_t number)
{
    return number >= 1 && number <= life->refund_count ? &life->refunds[number - 1] : NULL;
}

enum tg_verdict eng_refund_approve(struct tg_change *change, uint32_t number, int64_t now_ms)
{
    struct tg_refund *refund = refund_numbered(&change->life, number);
    if (!refund)
        return TG_UNKNOWN_REFUND;
    if (refund->status != TG_REFUND_WAITING)
        return TG_REFUND_STATUS;
    become_due(change, refund, now_ms);
    end_if_whole(change, now_ms);
    return TG_OK;
}

enum tg_verdict eng_refund_reject(struct tg_change *change, uint32_t number, int64_t now_ms)
{
    struct tg_refund *refund = refund_numbered(&change->life, number);
    if (!refund)
        return TG_UNKNOWN_REFUND;
    if (refund->status != TG_REFUND_WAITING)
        return TG_REFUND_STATUS;
    refund->status = TG_REFUND_REJECTED;
    refund->decided_at_ms = now_ms;
    eng_change_event(change, TG_EVENT_REFUND_REJECTED, refund->amount_minor, (uint8_t)number);
    return TG_OK;
}

enum tg_verdict eng_refund_record(struct tg_change *change, uint32_t number,
                                  const struct tg_refund *recorded, int64_t now_ms)
{
    struct tg_life *life = &change->life;
    struct tg_refund *refund = refund_numbered(life, number);
    if (!refund)
        return TG_UNKNOWN_REFUND;
    if (refund->status != TG_REFUND_DUE_STATUS)
        return TG_REFUND_STATUS;
    refund->status = TG_REFUND_REFUNDED;
    refund->refunded_at_ms = now_ms;
    refund->reference_bytes = recorded->reference_bytes;
    memcpy(refund->reference, recorded->reference, recorded->reference_bytes);
    life->refund_due_minor -= refund->amount_minor;
    life->refunded_minor += refund->amount_minor;
    eng_change_event(change, TG_EVENT_REFUND_RECORDED, refund->amount_minor, (uint8_t)number);
    if (life->state == TG_ORDER_REFUND_DUE && life->refund_due_minor == 0)
        eng_move_make(change, ENG_MOVE_REPAY, now_ms);
    return TG_OK;
}
