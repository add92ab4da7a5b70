#include "server/show.h"

#include "base/log.h"
#include "engine/life.h"
#include "server/control.h"
#include "server/server.h"

#include <string.h>

static const struct eng_item *item_of(const struct srv_core *core, uint32_t item)
{
    /* It is always there: recovery refuses a database where it is not. */
    return &core->shard->engine->catalog.items[item];
}

/* A copy in the arena, which must have room for it: `*room` is what is left of a block. */
static ProtobufCBinaryData copy_bytes(uint8_t **room, const void *bytes, size_t size)
{
    ProtobufCBinaryData copy = {.len = size, .data = *room};
    memcpy(copy.data, bytes, size);
    *room += size;
    return copy;
}

static char *copy_text(uint8_t **room, const void *text, size_t size)
{
    char *copy = (char *)copy_bytes(room, text, size).data;
    *(*room)++ = '\0';
    return copy;
}

/* A list of `count` messages of `bytes` each and the array that points to them, as protobuf-c wants
 * it; NULL when the arena is used up. */
static void *list(struct srv_core *core, size_t count, size_t bytes, void *pointers)
{
    uint8_t *messages = srv_message_alloc(core, count * bytes);
    void **array = srv_message_alloc(core, count * sizeof(*array));
    for (size_t i = 0; messages && array && i < count; i++)
        array[i] = messages + i * bytes;
    memcpy(pointers, &array, sizeof(array));
    return array ? messages : NULL;
}

static bool show_lines(struct srv_core *core, Tidegate__V1__Order *message,
                       const struct tg_order_row *row)
{
    Tidegate__V1__OrderLine *lines = list(core, row->line_count, sizeof(*lines), &message->lines);
    if (!lines)
        return false;
    message->n_lines = row->line_count;
    for (uint32_t i = 0; i < row->line_count; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = (char *)item_of(core, row->lines[i].item)->sku;
        lines[i].quantity = row->lines[i].quantity;
        lines[i].unit_price_minor = row->lines[i].unit_price_minor;
    }
    return true;
}

static bool show_payments(struct srv_core *core, Tidegate__V1__Order *message,
                          const struct tg_life *life)
{
    Tidegate__V1__Payment *payments =
        list(core, life->payment_count, sizeof(*payments), &message->payments);
    uint8_t *room = srv_message_alloc(core, (size_t)life->payment_count *
                                                (TG_PAYMENT_ID_BYTES_MAX + TG_CURRENCY_BYTES + 1));
    if (!payments || !room)
        return false;
    message->n_payments = life->payment_count;
    for (uint32_t i = 0; i < life->payment_count; i++) {
        const struct tg_payment *payment = &life->payments[i];
        tidegate__v1__payment__init(&payments[i]);
        payments[i].payment_id = copy_bytes(&room, payment->id, payment->id_bytes);
        payments[i].amount_minor = payment->amount_minor;
        payments[i].currency = copy_text(&room, payment->currency, TG_CURRENCY_BYTES);
        payments[i].channel = payment->channel;
        payments[i].paid_at_ms = payment->paid_at_ms;
        payments[i].status = (Tidegate__V1__PaymentStatus)payment->status;
        payments[i].recorded_at_ms = payment->recorded_at_ms;
    }
    return true;
}

static bool show_refunds(struct srv_core *core, Tidegate__V1__Order *message,
                         const struct tg_life *life)
{
    Tidegate__V1__Refund *refunds =
        list(core, life->refund_count, sizeof(*refunds), &message->refunds);
    uint8_t *room =
        srv_message_alloc(core, (size_t)life->refund_count *
                                    (TG_REFUND_REASON_BYTES_MAX + TG_REFUND_REF_BYTES_MAX + 1));
    if (!refunds || !room)
        return false;
    message->n_refunds = life->refund_count;
    for (uint32_t i = 0; i < life->refund_count; i++) {
        const struct tg_refund *refund = &life->refunds[i];
        tidegate__v1__refund__init(&refunds[i]);
        refunds[i].number = i + 1;
        refunds[i].amount_minor = refund->amount_minor;
        refunds[i].cause = (Tidegate__V1__RefundCause)refund->cause;
        refunds[i].status = (Tidegate__V1__RefundStatus)refund->status;
        refunds[i].restock = refund->restock;
        refunds[i].reason = copy_text(&room, refund->reason, refund->reason_bytes);
        refunds[i].reference = copy_bytes(&room, refund->reference, refund->reference_bytes);
        refunds[i].requested_at_ms = refund->requested_at_ms;
        refunds[i].decided_at_ms = refund->decided_at_ms;
        refunds[i].refunded_at_ms = refund->refunded_at_ms;
    }
    return true;
}

/* What the order is since it was accepted. */
static bool show_row(struct srv_core *core, Tidegate__V1__Order *message,
                     const struct tg_order_row *row)
{
    const struct eng_item *item = item_of(core, row->item);
    uint8_t *room = srv_message_alloc(core, TG_REQUEST_ID_BYTES + TG_EXTERNAL_BYTES_MAX);
    if (!room)
        return false;
    message->order_id = row->order_id;
    message->request_id = copy_bytes(&room, row->request_id, TG_REQUEST_ID_BYTES);
    message->sale_id = item->sale->sale_id;
    if (row->line_count == 0)
        message->sku = (char *)item->sku;
    message->user_id = row->user_id;
    message->quantity = row->quantity;
    message->unit_price_minor = row->unit_price_minor;
    message->channel = row->channel;
    message->external_id = copy_bytes(&room, row->external_id, row->external_bytes);
    message->accepted_at_ms = row->accepted_at_ms;
    message->team_id = row->team_id;
    message->ingested = (row->flags & TG_ORDER_INGESTED) != 0;
    return row->line_count == 0 || show_lines(core, message, row);
}

/* What became of it. */
static bool show_life(struct srv_core *core, Tidegate__V1__Order *message,
                      const struct tg_life *life)
{
    message->state = (Tidegate__V1__OrderState)life->state;
    message->amount_minor = life->amount_minor;
    message->received_minor = life->received_minor;
    message->refund_due_minor = life->refund_due_minor;
    message->refunded_minor = life->refunded_minor;
    message->payment_deadline_ms = life->payment_deadline_ms;
    message->paid_at_ms = life->paid_at_ms;
    message->confirmed_at_ms = life->confirmed_at_ms;
    message->shipped_at_ms = life->shipped_at_ms;
    message->delivered_at_ms = life->delivered_at_ms;
    message->completed_at_ms = life->completed_at_ms;
    message->ended_at_ms = life->ended_at_ms;
    message->refunded_at_ms = life->refunded_at_ms;
    message->cancelled_by = (Tidegate__V1__CancelledBy)life->cancelled_by;
    message->version = life->version;
    /* An order is the event of its placing: docs/outbox.md. */
    message->last_sequence =
        life->last_event ? life->last_event : message->order_id >> TG_PARTITION_BITS;
    return (life->payment_count == 0 || show_payments(core, message, life)) &&
           (life->refund_count == 0 || show_refunds(core, message, life));
}

bool srv_show_order(struct srv_core *core, Tidegate__V1__Order *message,
                    const struct tg_order_row *row, const struct tg_life *life)
{
    struct tg_life initial;
    if (!life) {
        eng_life_initial(item_of(core, row->item), row, &initial);
        life = &initial;
    }
    tidegate__v1__order__init(message);
    return show_row(core, message, row) && show_life(core, message, life);
}

enum tg_error srv_show_stored_order(struct srv_core *core, Tidegate__V1__Order *message,
                                    uint64_t order_id)
{
    struct tg_order_row row;
    struct tg_life life;
    bool has_life;
    struct tg_fault fault;
    enum tg_error error = sto_read_order(core->reader, order_id, &row, &life, &has_life, &fault);
    if (error != TG_ERR_OK && error != TG_ERR_NOTFOUND)
        tg_log_error("order %llu cannot be read: %s", (unsigned long long)order_id, fault.text);
    if (error != TG_ERR_OK)
        return error;
    return srv_show_order(core, message, &row, has_life ? &life : NULL) ? TG_ERR_OK : TG_ERR_NOMEM;
}

static bool show_members(struct srv_core *core, Tidegate__V1__Team *message,
                         const struct tg_team *team)
{
    Tidegate__V1__TeamMember *members =
        list(core, team->seat_count, sizeof(*members), &message->members);
    if (!members)
        return false;
    message->n_members = team->seat_count;
    for (uint32_t i = 0; i < team->seat_count; i++) {
        const struct tg_seat *seat = &team->seats[i];
        tidegate__v1__team_member__init(&members[i]);
        members[i].order_id = seat->order_id;
        members[i].user_id = seat->user_id;
        members[i].paid = seat->paid_at_ms != 0;
        members[i].captain = seat->order_id == team->captain_order_id;
        members[i].joined_at_ms = seat->joined_at_ms;
    }
    return true;
}

bool srv_show_team(struct srv_core *core, Tidegate__V1__Team *message, const struct tg_team *team,
                   bool with_members)
{
    const struct eng_item *item = item_of(core, team->item);
    tidegate__v1__team__init(message);
    message->team_id = team->team_id;
    message->sale_id = item->sale->sale_id;
    message->sku = (char *)item->sku;
    message->state = (Tidegate__V1__TeamState)team->state;
    message->size = team->size;
    message->claimed = team->seat_count;
    for (uint32_t i = 0; i < team->seat_count; i++)
        message->paid += team->seats[i].paid_at_ms != 0;
    message->opened_at_ms = team->opened_at_ms;
    message->deadline_ms = team->deadline_ms;
    message->ended_at_ms = team->ended_at_ms;
    message->auto_completed = team->auto_completed;
    message->unit_price_minor = team->unit_price_minor;
    return !with_members || team->seat_count == 0 || show_members(core, message, team);
}
