/* The table of transitions, and the changes that need no team.
 *
 *               +--> EXPIRED --PAY--> PAID      (a late payment that is honoured)
 *               |       +----OWE----------------------------------------+
 *   RESERVED ---+--> CANCELLED ---OWE-----------------------------------+
 *               |       ^                                               |
 *               |       | CANCEL                                        v
 *               |    AWAITING_TEAM --FAIL_TEAM--> TEAM_FAILED --OWE--> REFUND_DUE --REPAY--+
 *               |     ^         | CONFIRM                               ^   ^              v
 *               +--> PAID       v                                       |   +---OWE--- REFUNDED
 *                     +--CONFIRM--> CONFIRMED --SHIP--> SHIPPED --DELIVER--> DELIVERED
 *                                       |                  |                    |
 *                                       +-------OWE--------+--------OWE---------+--COMPLETE-->
 */
#include "base/assert.h"
#include "base/hash.h"
#include "base/text.h"
#include "engine/work.h"

#include <stddef.h>
#include <string.h>

#define EXTEND_MS_MAX (30ll * 24 * 3600 * 1000)

/* Never changes: fingerprints are stored. */
#define FINGERPRINT_SEED 0x7469646567617465ull

/* 0: not allowed. */
static const uint8_t transitions[TG_ORDER_STATE_COUNT][ENG_MOVES] = {
    [TG_ORDER_RESERVED] = {[ENG_MOVE_PAY] = TG_ORDER_PAID,
                           [ENG_MOVE_EXPIRE] = TG_ORDER_EXPIRED,
                           [ENG_MOVE_CANCEL] = TG_ORDER_CANCELLED},
    [TG_ORDER_PAID] =
        {[ENG_MOVE_SEAT] = TG_ORDER_AWAITING_TEAM, [ENG_MOVE_CONFIRM] = TG_ORDER_CONFIRMED},
    [TG_ORDER_AWAITING_TEAM] = {[ENG_MOVE_CONFIRM] = TG_ORDER_CONFIRMED,
                                [ENG_MOVE_CANCEL] = TG_ORDER_CANCELLED,
                                [ENG_MOVE_FAIL_TEAM] = TG_ORDER_TEAM_FAILED},
    [TG_ORDER_CONFIRMED] =
        {[ENG_MOVE_SHIP] = TG_ORDER_SHIPPED, [ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
    [TG_ORDER_SHIPPED] =
        {[ENG_MOVE_DELIVER] = TG_ORDER_DELIVERED, [ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
    [TG_ORDER_DELIVERED] =
        {[ENG_MOVE_COMPLETE] = TG_ORDER_COMPLETED, [ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
    [TG_ORDER_EXPIRED] = {[ENG_MOVE_PAY] = TG_ORDER_PAID, [ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
    [TG_ORDER_CANCELLED] = {[ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
    [TG_ORDER_TEAM_FAILED] = {[ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
    [TG_ORDER_REFUND_DUE] = {[ENG_MOVE_REPAY] = TG_ORDER_REFUNDED},
    [TG_ORDER_REFUNDED] = {[ENG_MOVE_OWE] = TG_ORDER_REFUND_DUE},
};

/* --- states --- */

bool eng_move_allowed(uint8_t state, enum eng_move move)
{
    tg_assert(state < TG_ORDER_STATE_COUNT && move < ENG_MOVES);
    return transitions[state][move] != 0;
}

bool eng_state_stands(uint8_t state)
{
    return state >= TG_ORDER_RESERVED && state <= TG_ORDER_COMPLETED;
}

enum tg_verdict eng_state_verdict(uint8_t state)
{
    static const uint8_t verdicts[TG_ORDER_STATE_COUNT] = {
        [TG_ORDER_RESERVED] = TG_NOT_PAID,           [TG_ORDER_PAID] = TG_ALREADY_PAID,
        [TG_ORDER_AWAITING_TEAM] = TG_AWAITING_TEAM, [TG_ORDER_CONFIRMED] = TG_ALREADY_PAID,
        [TG_ORDER_SHIPPED] = TG_ALREADY_SHIPPED,     [TG_ORDER_DELIVERED] = TG_ALREADY_DELIVERED,
        [TG_ORDER_COMPLETED] = TG_ALREADY_COMPLETED, [TG_ORDER_EXPIRED] = TG_EXPIRED,
        [TG_ORDER_CANCELLED] = TG_ALREADY_CANCELLED, [TG_ORDER_TEAM_FAILED] = TG_TEAM_FAILED,
        [TG_ORDER_REFUND_DUE] = TG_REFUND_DUE,       [TG_ORDER_REFUNDED] = TG_ALREADY_REFUNDED,
    };
    tg_assert(state < TG_ORDER_STATE_COUNT);
    return (enum tg_verdict)verdicts[state];
}

static int64_t amount_of(const struct tg_order_row *row)
{
    if (row->line_count == 0)
        return row->unit_price_minor * row->quantity;
    int64_t amount = 0;
    for (uint32_t i = 0; i < row->line_count; i++)
        amount += row->lines[i].unit_price_minor * row->lines[i].quantity;
    return amount;
}

void eng_life_initial(const struct eng_item *item, const struct tg_order_row *row,
                      struct tg_life *life)
{
    memset(life, 0, offsetof(struct tg_life, commands));
    life->state = TG_ORDER_RESERVED;
    life->units = (uint8_t)tg_policy_units(item->stock_policy);
    life->amount_minor = amount_of(row);
    life->payment_deadline_ms = eng_item_payment_deadline_ms(item, row->accepted_at_ms);
}

/* --- moves --- */

void eng_change_event(struct tg_change *change, enum tg_event_type type, int64_t amount_minor,
                      uint8_t refund_number)
{
    tg_assert(change->event_count < TG_CHANGE_EVENTS_MAX);
    change->events[change->event_count++] = (struct tg_change_event){
        .type = (uint8_t)type, .refund_number = refund_number, .amount_minor = amount_minor};
}

/* A clock that was set back between two runs must not set back the steps of an order. */
static int64_t step_ms(const struct tg_change *change, int64_t now_ms)
{
    const struct tg_life *life = &change->life;
    const int64_t taken[] = {
        change->row.accepted_at_ms, life->paid_at_ms,  life->confirmed_at_ms, life->shipped_at_ms,
        life->delivered_at_ms,      life->ended_at_ms, life->refunded_at_ms,
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (taken[i] > now_ms)
            now_ms = taken[i];
    return now_ms;
}

/* The time and the event of the state that the order has come to. */
static void mark_step(struct tg_change *change, int64_t at_ms)
{
    struct tg_life *life = &change->life;
    switch ((enum tg_order_state)life->state) {
    case TG_ORDER_RESERVED:
    case TG_ORDER_STATE_COUNT:
        tg_assert(!"a move leads here");
        break;
    case TG_ORDER_PAID:
        life->paid_at_ms = at_ms;
        life->payment_deadline_ms = 0;
        eng_change_event(change, TG_EVENT_ORDER_PAID, life->amount_minor, 0);
        break;
    case TG_ORDER_AWAITING_TEAM:
        eng_change_event(change, TG_EVENT_ORDER_AWAITING_TEAM, 0, 0);
        break;
    case TG_ORDER_CONFIRMED:
        life->confirmed_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_CONFIRMED, 0, 0);
        break;
    case TG_ORDER_SHIPPED:
        life->shipped_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_SHIPPED, 0, 0);
        break;
    case TG_ORDER_DELIVERED:
        life->delivered_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_DELIVERED, 0, 0);
        break;
    case TG_ORDER_COMPLETED:
        life->completed_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_COMPLETED, 0, 0);
        break;
    case TG_ORDER_EXPIRED:
        life->ended_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_EXPIRED, 0, 0);
        break;
    case TG_ORDER_CANCELLED:
        life->ended_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_CANCELLED, 0, 0);
        break;
    case TG_ORDER_TEAM_FAILED:
        life->ended_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_TEAM_FAILED, 0, 0);
        break;
    case TG_ORDER_REFUND_DUE:
        eng_change_event(change, TG_EVENT_ORDER_REFUND_DUE, life->refund_due_minor, 0);
        break;
    case TG_ORDER_REFUNDED:
        life->refunded_at_ms = at_ms;
        eng_change_event(change, TG_EVENT_ORDER_REFUNDED, life->refunded_minor, 0);
        break;
    }
}

void eng_move_make(struct tg_change *change, enum eng_move move, int64_t now_ms)
{
    uint8_t state = change->life.state;
    tg_assert(eng_move_allowed(state, move));
    change->life.state = transitions[state][move];
    mark_step(change, step_ms(change, now_ms));
}

uint8_t eng_order_end(struct tg_change *change, enum eng_move move, enum tg_refund_cause cause,
                      int64_t now_ms)
{
    struct tg_life *life = &change->life;
    eng_move_make(change, move, now_ms);
    life->units = TG_UNITS_NONE;
    int64_t kept = eng_money_left(life);
    if (kept == 0)
        return 0;
    uint8_t number = eng_refund_owe(change, kept, cause, now_ms);
    eng_move_make(change, ENG_MOVE_OWE, now_ms);
    return number;
}

/* --- what a command says --- */

static bool is_currency(const char currency[TG_CURRENCY_BYTES])
{
    for (int i = 0; i < TG_CURRENCY_BYTES; i++)
        if (currency[i] < 'A' || currency[i] > 'Z')
            return false;
    return true;
}

static bool is_time(int64_t at_ms)
{
    return at_ms >= 0 && at_ms <= TG_TIME_MS_MAX;
}

static enum tg_field payment_check(const struct tg_payment *payment)
{
    if (payment->id_bytes == 0 || payment->id_bytes > TG_PAYMENT_ID_BYTES_MAX)
        return TG_FIELD_PAYMENT_ID;
    if (payment->amount_minor < 0 || payment->amount_minor > TG_AMOUNT_MINOR_MAX)
        return TG_FIELD_PAYMENT_AMOUNT;
    if (!is_currency(payment->currency))
        return TG_FIELD_PAYMENT_CURRENCY;
    return is_time(payment->paid_at_ms) ? TG_FIELD_NONE : TG_FIELD_PAID_AT;
}

static enum tg_field refund_check(const struct tg_refund *refund)
{
    if (refund->amount_minor < 0 || refund->amount_minor > TG_AMOUNT_MINOR_MAX)
        return TG_FIELD_REFUND_AMOUNT;
    if (refund->reason_bytes != 0 &&
        !tg_text_is_valid(refund->reason, refund->reason_bytes, TG_REFUND_REASON_BYTES_MAX))
        return TG_FIELD_REFUND_REASON;
    return TG_FIELD_NONE;
}

enum tg_field eng_command_check(const struct eng_command *command)
{
    if (command->order_id == 0)
        return TG_FIELD_ORDER_ID;
    switch ((enum eng_change_kind)command->kind) {
    case ENG_RECORD_PAYMENT:
        return payment_check(&command->payment);
    case ENG_CANCEL:
        return command->cancelled_by == TG_CANCELLED_BY_BUYER ||
                       command->cancelled_by == TG_CANCELLED_BY_MERCHANT
                   ? TG_FIELD_NONE
                   : TG_FIELD_CANCELLED_BY;
    case ENG_EXTEND_PAYMENT:
        return command->payment_deadline_ms != 0 && is_time(command->payment_deadline_ms)
                   ? TG_FIELD_NONE
                   : TG_FIELD_PAYMENT_DEADLINE;
    case ENG_REQUEST_REFUND:
        return refund_check(&command->refund);
    case ENG_APPROVE_REFUND:
    case ENG_REJECT_REFUND:
        return TG_FIELD_NONE; /* a number that is none is UNKNOWN_REFUND */
    case ENG_RECORD_REFUND:
        return command->refund.reference_bytes <= TG_REFUND_REF_BYTES_MAX
                   ? TG_FIELD_NONE
                   : TG_FIELD_REFUND_REFERENCE;
    case ENG_ADVANCE:
        return command->advance_to == TG_ORDER_SHIPPED ||
                       command->advance_to == TG_ORDER_DELIVERED ||
                       command->advance_to == TG_ORDER_COMPLETED
                   ? TG_FIELD_NONE
                   : TG_FIELD_ADVANCE_TO;
    }
    return TG_FIELD_ORDER_CHANGE;
}

/* --- retries --- */

/* A command as bytes that are the same on every machine. */
struct body {
    uint8_t bytes[160];
    size_t size;
};

static void put_number(struct body *body, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        body->bytes[body->size++] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(struct body *body, const void *bytes, uint8_t count)
{
    put_number(body, count);
    memcpy(body->bytes + body->size, bytes, count);
    body->size += count;
}

static uint64_t fingerprint(const struct eng_command *command)
{
    struct body body = {.size = 0};
    const struct tg_payment *payment = &command->payment;
    const struct tg_refund *refund = &command->refund;
    put_number(&body, command->kind);
    switch ((enum eng_change_kind)command->kind) {
    case ENG_RECORD_PAYMENT:
        put_bytes(&body, payment->id, payment->id_bytes);
        put_number(&body, (uint64_t)payment->amount_minor);
        put_bytes(&body, payment->currency, TG_CURRENCY_BYTES);
        put_number(&body, payment->channel);
        put_number(&body, (uint64_t)payment->paid_at_ms);
        break;
    case ENG_CANCEL:
        put_number(&body, command->cancelled_by);
        break;
    case ENG_EXTEND_PAYMENT:
        put_number(&body, (uint64_t)command->payment_deadline_ms);
        break;
    case ENG_REQUEST_REFUND:
        put_number(&body, (uint64_t)refund->amount_minor);
        put_number(&body, refund->restock);
        put_bytes(&body, refund->reason, refund->reason_bytes);
        break;
    case ENG_APPROVE_REFUND:
    case ENG_REJECT_REFUND:
        put_number(&body, command->refund_number);
        break;
    case ENG_RECORD_REFUND:
        put_number(&body, command->refund_number);
        put_bytes(&body, refund->reference, refund->reference_bytes);
        break;
    case ENG_ADVANCE:
        put_number(&body, command->advance_to);
        break;
    }
    tg_assert(body.size <= sizeof(body.bytes));
    return tg_hash(body.bytes, body.size, FINGERPRINT_SEED);
}

static const struct tg_command_seen *seen_find(const struct tg_life *life,
                                               const uint8_t request_id[TG_REQUEST_ID_BYTES])
{
    for (uint32_t i = 0; i < life->command_count; i++)
        if (memcmp(life->commands[i].request_id, request_id, TG_REQUEST_ID_BYTES) == 0)
            return &life->commands[i];
    return NULL;
}

/* True when the request id is known to the order: `result` is the answer. */
static bool is_retry(const struct tg_life *life, const struct eng_command *command,
                     struct eng_result *result)
{
    const struct tg_command_seen *seen = seen_find(life, command->request_id);
    if (!seen)
        return false;
    if (seen->fingerprint != fingerprint(command))
        result->verdict = TG_REQUEST_ID_CONFLICT;
    else
        *result = (struct eng_result){.verdict = (enum tg_verdict)seen->verdict,
                                      .refund_number = seen->refund_number,
                                      .replayed = true};
    return true;
}

static void remember(struct tg_life *life, const struct eng_command *command,
                     const struct eng_result *result)
{
    if (life->command_count == TG_ORDER_COMMANDS_MAX) {
        memmove(life->commands, life->commands + 1,
                (TG_ORDER_COMMANDS_MAX - 1) * sizeof(life->commands[0]));
        life->command_count--;
    }
    struct tg_command_seen *seen = &life->commands[life->command_count++];
    *seen = (struct tg_command_seen){.fingerprint = fingerprint(command),
                                     .verdict = (uint8_t)result->verdict,
                                     .refund_number = result->refund_number};
    memcpy(seen->request_id, command->request_id, TG_REQUEST_ID_BYTES);
}

/* --- the changes --- */

static enum eng_step final(struct eng_result *result, enum tg_verdict verdict)
{
    result->verdict = verdict;
    return ENG_FINAL;
}

/* OK is recorded; every other verdict is final. */
static enum eng_step recorded_if_ok(struct eng_result *result, enum tg_verdict verdict)
{
    result->verdict = verdict;
    return verdict == TG_OK ? ENG_RECORDED : ENG_FINAL;
}

static enum eng_step cancel(struct eng_work *work, const struct eng_command *command,
                            struct eng_result *result)
{
    struct tg_change *change = work->change;
    if (!eng_move_allowed(change->life.state, ENG_MOVE_CANCEL))
        return final(result, eng_state_verdict(change->life.state));
    change->life.cancelled_by = command->cancelled_by;
    result->verdict = TG_OK;
    result->refund_number =
        eng_order_end(change, ENG_MOVE_CANCEL, TG_REFUND_CANCELLED, work->now_ms);
    return eng_row_in_team(&change->row) ? eng_team_leave(work) : ENG_RECORDED;
}

/* The latest deadline that a payment can be given; `*step` is not ENG_RECORDED when the team cannot
 * be had. */
static int64_t latest_deadline(struct eng_work *work, enum eng_step *step)
{
    int64_t latest_ms = work->now_ms + EXTEND_MS_MAX;
    *step = ENG_RECORDED;
    if (!eng_row_in_team(&work->change->row))
        return latest_ms;
    *step = eng_work_load_team(work, work->change->row.team_id);
    if (*step != ENG_RECORDED)
        return 0;
    if (work->team->deadline_ms < latest_ms)
        latest_ms = work->team->deadline_ms;
    eng_work_forget_team(work);
    return latest_ms;
}

static enum eng_step extend(struct eng_work *work, const struct eng_command *command,
                            struct eng_result *result)
{
    struct tg_life *life = &work->change->life;
    int64_t wanted_ms = command->payment_deadline_ms;
    enum eng_step step;
    if (life->state != TG_ORDER_RESERVED)
        return final(result, eng_state_verdict(life->state));
    int64_t latest_ms = latest_deadline(work, &step);
    if (step != ENG_RECORDED)
        return step;
    if (life->payment_deadline_ms == 0 || wanted_ms <= life->payment_deadline_ms ||
        wanted_ms <= work->now_ms || wanted_ms > latest_ms) {
        result->field = TG_FIELD_PAYMENT_DEADLINE;
        return final(result, TG_INVALID_ARGUMENT);
    }
    step = eng_work_timers(work, 1);
    if (step != ENG_RECORDED)
        return step;
    life->payment_deadline_ms = wanted_ms;
    eng_change_event(work->change, TG_EVENT_PAYMENT_EXTENDED, 0, 0);
    result->verdict = TG_OK;
    return ENG_RECORDED;
}

static bool refund_pending(const struct tg_life *life)
{
    for (uint32_t i = 0; i < life->refund_count; i++)
        if (life->refunds[i].status == TG_REFUND_WAITING ||
            life->refunds[i].status == TG_REFUND_DUE_STATUS)
            return true;
    return false;
}

/* Why the order cannot go on to `to`: the step that is missing, or the state that is behind it. */
static enum tg_verdict advance_refusal(const struct tg_life *life, uint8_t to)
{
    if (life->state == TG_ORDER_CONFIRMED)
        return TG_NOT_SHIPPED;
    if (life->state == TG_ORDER_SHIPPED && to == TG_ORDER_COMPLETED)
        return TG_NOT_DELIVERED;
    return eng_state_verdict(life->state);
}

static enum tg_verdict advance(struct tg_change *change, uint8_t to, int64_t now_ms)
{
    const struct tg_life *life = &change->life;
    enum eng_move move = to == TG_ORDER_SHIPPED     ? ENG_MOVE_SHIP
                         : to == TG_ORDER_DELIVERED ? ENG_MOVE_DELIVER
                                                    : ENG_MOVE_COMPLETE;
    if (!eng_move_allowed(life->state, move))
        return advance_refusal(life, to);
    if (move == ENG_MOVE_COMPLETE && refund_pending(life))
        return TG_REFUND_PENDING;
    eng_move_make(change, move, now_ms);
    return TG_OK;
}

static enum eng_step decide(struct eng_work *work, const struct eng_command *command,
                            enum eng_acquired acquired, struct eng_take *take,
                            struct eng_result *result)
{
    struct tg_change *change = work->change;
    int64_t now_ms = work->now_ms;
    const struct eng_sale *sale = eng_row_item(work->shard, &change->row)->sale;
    switch ((enum eng_change_kind)command->kind) {
    case ENG_RECORD_PAYMENT:
        return eng_payment_decide(work, &command->payment, acquired, take, result);
    case ENG_CANCEL:
        return cancel(work, command, result);
    case ENG_EXTEND_PAYMENT:
        return extend(work, command, result);
    case ENG_REQUEST_REFUND:
        return recorded_if_ok(result,
                              eng_refund_request(change, &command->refund,
                                                 sale->refund_auto_max_minor, now_ms, result));
    case ENG_APPROVE_REFUND:
        return recorded_if_ok(result, eng_refund_approve(change, command->refund_number, now_ms));
    case ENG_REJECT_REFUND:
        return recorded_if_ok(result, eng_refund_reject(change, command->refund_number, now_ms));
    case ENG_RECORD_REFUND:
        return recorded_if_ok(
            result, eng_refund_record(change, command->refund_number, &command->refund, now_ms));
    case ENG_ADVANCE:
        return recorded_if_ok(result, advance(change, command->advance_to, now_ms));
    }
    result->field = TG_FIELD_ORDER_CHANGE;
    return final(result, TG_INVALID_ARGUMENT);
}

/* The refund that an answer names, for commands that name it themselves. */
static uint8_t named_refund(const struct eng_command *command, const struct eng_result *result)
{
    bool names = command->kind == ENG_APPROVE_REFUND || command->kind == ENG_REJECT_REFUND ||
                 command->kind == ENG_RECORD_REFUND;
    return names ? (uint8_t)command->refund_number : result->refund_number;
}

enum eng_step eng_life_change(struct eng_shard *shard, const struct eng_command *command,
                              enum eng_acquired acquired, int64_t now_ms, struct eng_unit *unit,
                              struct eng_take *take, struct eng_result *result)
{
    struct eng_work work;
    eng_work_begin(&work, shard, unit, now_ms);
    *result = (struct eng_result){.verdict = TG_UNSPECIFIED};
    take->line_count = 0;
    enum eng_step step = eng_work_open(&work, command->order_id, acquired != ENG_NOT_ASKED);
    if (step == ENG_RECORDED)
        step = is_retry(&work.change->life, command, result)
                   ? ENG_FINAL
                   : decide(&work, command, acquired, take, result);
    if (step == ENG_FINAL && work.verdict != TG_UNSPECIFIED) /* whatever was about to be said */
        *result = (struct eng_result){.verdict = work.verdict};
    if (step != ENG_RECORDED) {
        eng_work_drop(&work, step == ENG_ACQUIRE);
        return step;
    }
    result->refund_number = named_refund(command, result);
    remember(&work.change->life, command, result);
    return eng_work_record(&work);
}
