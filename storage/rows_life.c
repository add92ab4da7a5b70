/* Rows of what becomes of orders: lives, events, teams, and who follows them. */
#include "base/assert.h"
#include "proto/verdict.h"
#include "storage/rowbytes.h"
#include "storage/rows.h"

/* --- lives --- */

static bool payment_fits(const struct tg_payment *payment)
{
    return sto_amount_fits(payment->amount_minor) && sto_time_fits(payment->paid_at_ms) &&
           sto_time_fits(payment->recorded_at_ms) && sto_currency_fits(payment->currency) &&
           payment->status >= TG_PAYMENT_APPLIED &&
           payment->status <= TG_PAYMENT_REFUSED_CURRENCY && payment->id_bytes >= 1 &&
           payment->id_bytes <= TG_PAYMENT_ID_BYTES_MAX;
}

static bool refund_fits(const struct tg_refund *refund)
{
    return refund->amount_minor > 0 && sto_amount_fits(refund->amount_minor) &&
           sto_time_fits(refund->requested_at_ms) && sto_time_fits(refund->decided_at_ms) &&
           sto_time_fits(refund->refunded_at_ms) && refund->cause >= TG_REFUND_REQUESTED &&
           refund->cause <= TG_REFUND_LADDER && refund->status >= TG_REFUND_WAITING &&
           refund->status <= TG_REFUND_REFUNDED &&
           refund->reason_bytes <= TG_REFUND_REASON_BYTES_MAX &&
           refund->reference_bytes <= TG_REFUND_REF_BYTES_MAX;
}

static bool life_times_fit(const struct tg_life *life)
{
    return sto_time_fits(life->payment_deadline_ms) && sto_time_fits(life->paid_at_ms) &&
           sto_time_fits(life->confirmed_at_ms) && sto_time_fits(life->shipped_at_ms) &&
           sto_time_fits(life->delivered_at_ms) && sto_time_fits(life->completed_at_ms) &&
           sto_time_fits(life->ended_at_ms) && sto_time_fits(life->refunded_at_ms);
}

static bool life_parts_fit(const struct tg_life *life)
{
    for (uint8_t i = 0; i < life->command_count; i++) {
        const struct tg_command_seen *command = &life->commands[i];
        if (command->verdict == TG_UNSPECIFIED || command->verdict >= TG_VERDICT_COUNT ||
            command->refund_number > TG_ORDER_REFUNDS_MAX)
            return false;
    }
    for (uint8_t i = 0; i < life->payment_count; i++) {
        if (!payment_fits(&life->payments[i]))
            return false;
    }
    for (uint8_t i = 0; i < life->refund_count; i++) {
        if (!refund_fits(&life->refunds[i]))
            return false;
    }
    return true;
}

static bool life_counts_fit(const struct tg_life *life)
{
    return life->command_count <= TG_ORDER_COMMANDS_MAX &&
           life->payment_count <= TG_ORDER_PAYMENTS_MAX &&
           life->refund_count <= TG_ORDER_REFUNDS_MAX;
}

static bool life_fits(const struct tg_life *life)
{
    return life->state >= TG_ORDER_RESERVED && life->state < TG_ORDER_STATE_COUNT &&
           life->units <= TG_UNITS_SOLD && life->cancelled_by <= TG_CANCELLED_BY_TEAM &&
           life->last_event >= 1 && sto_amount_fits(life->amount_minor) &&
           sto_amount_fits(life->received_minor) && sto_amount_fits(life->refund_due_minor) &&
           sto_amount_fits(life->refunded_minor) && life_counts_fit(life) && life_times_fit(life) &&
           life_parts_fit(life);
}

size_t sto_row_life_bytes(const struct tg_life *life)
{
    size_t bytes = STO_LIFE_ROW_BYTES + STO_LIFE_COMMAND_BYTES * (size_t)life->command_count +
                   STO_LIFE_PAYMENT_BYTES * (size_t)life->payment_count +
                   STO_LIFE_REFUND_BYTES * (size_t)life->refund_count;
    for (uint8_t i = 0; i < life->payment_count; i++)
        bytes += life->payments[i].id_bytes;
    for (uint8_t i = 0; i < life->refund_count; i++)
        bytes += (size_t)life->refunds[i].reason_bytes + life->refunds[i].reference_bytes;
    return bytes;
}

static uint8_t *command_put(uint8_t *at, const struct tg_command_seen *command)
{
    PUT(at, 0, command->request_id);
    PUT(at, 16, command->fingerprint);
    PUT(at, 24, command->verdict);
    PUT(at, 25, command->refund_number);
    return at + STO_LIFE_COMMAND_BYTES;
}

static uint8_t *payment_put(uint8_t *at, const struct tg_payment *payment)
{
    PUT(at, 0, payment->amount_minor);
    PUT(at, 8, payment->paid_at_ms);
    PUT(at, 16, payment->recorded_at_ms);
    PUT(at, 24, payment->channel);
    PUT(at, 26, payment->currency);
    PUT(at, 29, payment->status);
    PUT(at, 30, payment->id_bytes);
    memcpy(at + STO_LIFE_PAYMENT_BYTES, payment->id, payment->id_bytes);
    return at + STO_LIFE_PAYMENT_BYTES + payment->id_bytes;
}

static uint8_t *refund_put(uint8_t *at, const struct tg_refund *refund)
{
    PUT(at, 0, refund->amount_minor);
    PUT(at, 8, refund->requested_at_ms);
    PUT(at, 16, refund->decided_at_ms);
    PUT(at, 24, refund->refunded_at_ms);
    PUT(at, 32, refund->cause);
    PUT(at, 33, refund->status);
    at[34] = refund->restock;
    PUT(at, 35, refund->reason_bytes);
    PUT(at, 36, refund->reference_bytes);
    at += STO_LIFE_REFUND_BYTES;
    memcpy(at, refund->reason, refund->reason_bytes);
    memcpy(at + refund->reason_bytes, refund->reference, refund->reference_bytes);
    return at + refund->reason_bytes + refund->reference_bytes;
}

static void life_head_put(uint8_t *bytes, const struct tg_life *life)
{
    bytes[4] = 1;
    bytes[5] = life->state;
    bytes[6] = life->units;
    bytes[7] = life->cancelled_by;
    bytes[8] = life->payment_count;
    bytes[9] = life->refund_count;
    bytes[10] = life->command_count;
    bytes[11] = 0;
    PUT(bytes, 12, life->version);
    PUT(bytes, 16, life->last_event);
    PUT(bytes, 24, life->amount_minor);
    PUT(bytes, 32, life->received_minor);
    PUT(bytes, 40, life->refund_due_minor);
    PUT(bytes, 48, life->refunded_minor);
    PUT(bytes, 56, life->payment_deadline_ms);
    PUT(bytes, 64, life->paid_at_ms);
    PUT(bytes, 72, life->confirmed_at_ms);
    PUT(bytes, 80, life->shipped_at_ms);
    PUT(bytes, 88, life->delivered_at_ms);
    PUT(bytes, 96, life->completed_at_ms);
    PUT(bytes, 104, life->ended_at_ms);
    PUT(bytes, 112, life->refunded_at_ms);
}

void sto_row_life_encode(void *row, uint64_t order_id, const struct tg_life *life)
{
    tg_assert(life_fits(life));
    life_head_put(row, life);
    uint8_t *at = (uint8_t *)row + STO_LIFE_ROW_BYTES;
    for (uint8_t i = 0; i < life->command_count; i++)
        at = command_put(at, &life->commands[i]);
    for (uint8_t i = 0; i < life->payment_count; i++)
        at = payment_put(at, &life->payments[i]);
    for (uint8_t i = 0; i < life->refund_count; i++)
        at = refund_put(at, &life->refunds[i]);
    sto_row_seal(row, (size_t)(at - (uint8_t *)row), &order_id, sizeof(order_id));
}

static bool command_get(struct sto_row_part *part, struct tg_command_seen *command)
{
    uint8_t fixed[STO_LIFE_COMMAND_BYTES];
    if (!sto_row_take(part, fixed, sizeof(fixed)))
        return false;
    GET(fixed, 0, command->request_id);
    GET(fixed, 16, command->fingerprint);
    GET(fixed, 24, command->verdict);
    GET(fixed, 25, command->refund_number);
    return true;
}

static bool payment_get(struct sto_row_part *part, struct tg_payment *payment)
{
    uint8_t fixed[STO_LIFE_PAYMENT_BYTES];
    if (!sto_row_take(part, fixed, sizeof(fixed)))
        return false;
    GET(fixed, 0, payment->amount_minor);
    GET(fixed, 8, payment->paid_at_ms);
    GET(fixed, 16, payment->recorded_at_ms);
    GET(fixed, 24, payment->channel);
    GET(fixed, 26, payment->currency);
    GET(fixed, 29, payment->status);
    GET(fixed, 30, payment->id_bytes);
    return payment->id_bytes <= sizeof(payment->id) &&
           sto_row_take(part, payment->id, payment->id_bytes);
}

static bool refund_get(struct sto_row_part *part, struct tg_refund *refund)
{
    uint8_t fixed[STO_LIFE_REFUND_BYTES];
    if (!sto_row_take(part, fixed, sizeof(fixed)) || fixed[34] > 1)
        return false;
    GET(fixed, 0, refund->amount_minor);
    GET(fixed, 8, refund->requested_at_ms);
    GET(fixed, 16, refund->decided_at_ms);
    GET(fixed, 24, refund->refunded_at_ms);
    GET(fixed, 32, refund->cause);
    GET(fixed, 33, refund->status);
    refund->restock = fixed[34];
    GET(fixed, 35, refund->reason_bytes);
    GET(fixed, 36, refund->reference_bytes);
    return refund->reason_bytes <= sizeof(refund->reason) &&
           sto_row_take(part, refund->reason, refund->reason_bytes) &&
           refund->reference_bytes <= sizeof(refund->reference) &&
           sto_row_take(part, refund->reference, refund->reference_bytes);
}

static bool life_parts_get(struct sto_row_part *part, struct tg_life *life)
{
    for (uint8_t i = 0; i < life->command_count; i++) {
        if (!command_get(part, &life->commands[i]))
            return false;
    }
    for (uint8_t i = 0; i < life->payment_count; i++) {
        if (!payment_get(part, &life->payments[i]))
            return false;
    }
    for (uint8_t i = 0; i < life->refund_count; i++) {
        if (!refund_get(part, &life->refunds[i]))
            return false;
    }
    return part->left == 0;
}

static void life_head_get(const uint8_t *bytes, struct tg_life *life)
{
    life->state = bytes[5];
    life->units = bytes[6];
    life->cancelled_by = bytes[7];
    life->payment_count = bytes[8];
    life->refund_count = bytes[9];
    life->command_count = bytes[10];
    GET(bytes, 12, life->version);
    GET(bytes, 16, life->last_event);
    GET(bytes, 24, life->amount_minor);
    GET(bytes, 32, life->received_minor);
    GET(bytes, 40, life->refund_due_minor);
    GET(bytes, 48, life->refunded_minor);
    GET(bytes, 56, life->payment_deadline_ms);
    GET(bytes, 64, life->paid_at_ms);
    GET(bytes, 72, life->confirmed_at_ms);
    GET(bytes, 80, life->shipped_at_ms);
    GET(bytes, 88, life->delivered_at_ms);
    GET(bytes, 96, life->completed_at_ms);
    GET(bytes, 104, life->ended_at_ms);
    GET(bytes, 112, life->refunded_at_ms);
}

const char *sto_row_life_decode(const void *row, size_t size, uint64_t order_id,
                                struct tg_life *life)
{
    const char *problem = sto_row_check(row, size, STO_LIFE_ROW_BYTES, STO_LIFE_ROW_BYTES_MAX, 1,
                                        &order_id, sizeof(order_id));
    if (problem)
        return problem;
    life_head_get(row, life);
    struct sto_row_part part = {(const uint8_t *)row + STO_LIFE_ROW_BYTES,
                                size - STO_LIFE_ROW_BYTES};
    if (!life_counts_fit(life) || !life_parts_get(&part, life))
        return STO_WRONG_SIZE;
    return life_fits(life) ? NULL : STO_WRONG_RANGE;
}

/* --- events --- */

static bool is_of_sale(uint8_t type)
{
    return type == TG_EVENT_SALE_STARTED || type == TG_EVENT_SALE_ENDED;
}

static bool event_fits(const struct tg_event *event)
{
    return event->sequence >= 1 && event->type > TG_EVENT_ORDER_PLACED &&
           event->type < TG_EVENT_TYPE_COUNT && event->refund_number <= TG_ORDER_REFUNDS_MAX &&
           (is_of_sale(event->type) ? event->sale_id != 0 && event->order_id == 0
                                    : event->order_id != 0 && event->sale_id == 0) &&
           sto_time_fits(event->at_ms) && sto_amount_fits(event->amount_minor);
}

void sto_row_event_encode(void *row, const struct tg_event *event)
{
    tg_assert(event_fits(event));
    uint8_t *bytes = row;
    uint64_t subject = is_of_sale(event->type) ? event->sale_id : event->order_id;
    bytes[4] = 1;
    bytes[5] = event->type;
    bytes[6] = event->refund_number;
    bytes[7] = 0;
    PUT(row, 8, subject);
    PUT(row, 16, event->team_id);
    PUT(row, 24, event->at_ms);
    PUT(row, 32, event->amount_minor);
    sto_row_seal(row, STO_EVENT_ROW_BYTES, &event->sequence, sizeof(event->sequence));
}

const char *sto_row_event_decode(const void *row, size_t size, uint64_t sequence,
                                 struct tg_event *event)
{
    const char *problem = sto_row_check(row, size, STO_EVENT_ROW_BYTES, STO_EVENT_ROW_BYTES, 1,
                                        &sequence, sizeof(sequence));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    *event = (struct tg_event){.sequence = sequence, .type = bytes[5], .refund_number = bytes[6]};
    GET(row, 8, *(is_of_sale(event->type) ? &event->sale_id : &event->order_id));
    GET(row, 16, event->team_id);
    GET(row, 24, event->at_ms);
    GET(row, 32, event->amount_minor);
    return event_fits(event) ? NULL : STO_WRONG_RANGE;
}

/* --- teams --- */

static bool team_fits(const struct tg_team *team)
{
    if (team->seat_count > TG_TEAM_SIZE_MAX)
        return false;
    for (uint8_t i = 0; i < team->seat_count; i++) {
        const struct tg_seat *seat = &team->seats[i];
        if (seat->order_id == 0 || !sto_time_fits(seat->joined_at_ms) ||
            !sto_time_fits(seat->paid_at_ms))
            return false;
    }
    return team->team_id != 0 && team->captain_order_id != 0 && team->state >= TG_TEAM_PENDING &&
           team->state <= TG_TEAM_DISSOLVED && team->size >= 2 && team->size <= TG_TEAM_SIZE_MAX &&
           sto_time_fits(team->opened_at_ms) && sto_time_fits(team->deadline_ms) &&
           sto_time_fits(team->ended_at_ms) && sto_price_fits(team->unit_price_minor);
}

static uint8_t *seat_put(uint8_t *at, const struct tg_seat *seat)
{
    PUT(at, 0, seat->order_id);
    PUT(at, 8, seat->user_id);
    PUT(at, 16, seat->joined_at_ms);
    PUT(at, 24, seat->paid_at_ms);
    return at + STO_TEAM_SEAT_BYTES;
}

void sto_row_team_encode(void *row, const struct tg_team *team)
{
    tg_assert(team_fits(team));
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = team->state;
    bytes[6] = team->size;
    bytes[7] = team->seat_count;
    PUT(row, 8, team->item);
    bytes[12] = team->auto_completed;
    bytes[13] = bytes[14] = bytes[15] = 0;
    PUT(row, 16, team->opener_user_id);
    PUT(row, 24, team->captain_order_id);
    PUT(row, 32, team->opened_at_ms);
    PUT(row, 40, team->deadline_ms);
    PUT(row, 48, team->ended_at_ms);
    PUT(row, 56, team->unit_price_minor);
    uint8_t *at = bytes + STO_TEAM_ROW_BYTES;
    for (uint8_t i = 0; i < team->seat_count; i++)
        at = seat_put(at, &team->seats[i]);
    sto_row_seal(row, sto_row_team_bytes(team), &team->team_id, sizeof(team->team_id));
}

static void team_head_get(const uint8_t *bytes, struct tg_team *team)
{
    team->state = bytes[5];
    team->size = bytes[6];
    team->seat_count = bytes[7];
    GET(bytes, 8, team->item);
    team->auto_completed = bytes[12];
    GET(bytes, 16, team->opener_user_id);
    GET(bytes, 24, team->captain_order_id);
    GET(bytes, 32, team->opened_at_ms);
    GET(bytes, 40, team->deadline_ms);
    GET(bytes, 48, team->ended_at_ms);
    GET(bytes, 56, team->unit_price_minor);
}

const char *sto_row_team_decode(const void *row, size_t size, uint64_t team_id,
                                struct tg_team *team)
{
    const char *problem = sto_row_check(row, size, STO_TEAM_ROW_BYTES, STO_TEAM_ROW_BYTES_MAX, 1,
                                        &team_id, sizeof(team_id));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    if (bytes[7] > TG_TEAM_SIZE_MAX || bytes[12] > 1)
        return STO_WRONG_RANGE;
    team->team_id = team_id;
    team_head_get(bytes, team);
    if (size != sto_row_team_bytes(team))
        return STO_WRONG_SIZE;
    const uint8_t *at = bytes + STO_TEAM_ROW_BYTES;
    for (uint8_t i = 0; i < team->seat_count; i++, at += STO_TEAM_SEAT_BYTES) {
        GET(at, 0, team->seats[i].order_id);
        GET(at, 8, team->seats[i].user_id);
        GET(at, 16, team->seats[i].joined_at_ms);
        GET(at, 24, team->seats[i].paid_at_ms);
    }
    return team_fits(team) ? NULL : STO_WRONG_RANGE;
}

/* --- ingested orders --- */

void sto_row_ingested_encode(void *row, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                             uint64_t order_id)
{
    tg_assert(order_id != 0);
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = bytes[6] = bytes[7] = 0;
    PUT(row, 8, order_id);
    sto_row_seal(row, STO_INGESTED_ROW_BYTES, request_id, TG_REQUEST_ID_BYTES);
}

const char *sto_row_ingested_decode(const void *row, size_t size,
                                    const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                    uint64_t *order_id)
{
    const char *problem = sto_row_check(row, size, STO_INGESTED_ROW_BYTES, STO_INGESTED_ROW_BYTES,
                                        1, request_id, TG_REQUEST_ID_BYTES);
    if (problem)
        return problem;
    GET(row, 8, *order_id);
    return *order_id != 0 ? NULL : STO_WRONG_RANGE;
}

/* --- consumer groups --- */

static bool group_name_fits(const void *name, size_t bytes)
{
    if (bytes < 1 || bytes > TG_GROUP_NAME_BYTES_MAX)
        return false;
    const char *text = name;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool group_fits(const struct tg_group *group)
{
    return group_name_fits(group->name, group->name_bytes) && sto_time_fits(group->created_at_ms) &&
           sto_time_fits(group->acked_at_ms);
}

void sto_row_group_encode(void *row, const struct tg_group *group)
{
    tg_assert(group_fits(group));
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = bytes[6] = bytes[7] = 0;
    PUT(row, 8, group->offset);
    PUT(row, 16, group->created_at_ms);
    PUT(row, 24, group->acked_at_ms);
    sto_row_seal(row, STO_GROUP_ROW_BYTES, group->name, group->name_bytes);
}

const char *sto_row_group_decode(const void *row, size_t size, const void *name, size_t name_bytes,
                                 struct tg_group *group)
{
    const char *problem =
        sto_row_check(row, size, STO_GROUP_ROW_BYTES, STO_GROUP_ROW_BYTES, 1, name, name_bytes);
    if (problem)
        return problem;
    if (!group_name_fits(name, name_bytes))
        return STO_WRONG_RANGE;
    *group = (struct tg_group){.name_bytes = (uint8_t)name_bytes};
    memcpy(group->name, name, name_bytes);
    GET(row, 8, group->offset);
    GET(row, 16, group->created_at_ms);
    GET(row, 24, group->acked_at_ms);
    return group_fits(group) ? NULL : STO_WRONG_RANGE;
}
