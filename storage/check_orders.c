/* The offline check of the orders, with their lives and the outbox in step: ids, units, money,
 * request ids, per-user limits. */
#include "storage/check.h"

#include "base/hash.h"
#include "base/mem.h"
#include "proto/verdict.h"
#include "storage/rows.h"

#include <string.h>

#define ORDERS_PER_PROGRESS (1u << 16)

/* What became of an order, as far as its rows tell. */
struct seen {
    const struct tg_life *life; /* NULL: as it was accepted */
    bool damaged;               /* nobody knows */
    uint8_t state;
};

/* An order that counts for limits, and that a team must have a seat for. */
static bool stands(uint8_t state)
{
    return state != TG_ORDER_EXPIRED && state != TG_ORDER_CANCELLED &&
           state != TG_ORDER_TEAM_FAILED && state != TG_ORDER_REFUND_DUE &&
           state != TG_ORDER_REFUNDED;
}

/* --- money --- */

static __int128 payments_sum(const struct tg_life *life)
{
    __int128 sum = 0;
    for (uint8_t i = 0; i < life->payment_count; i++) {
        switch ((enum tg_payment_status)life->payments[i].status) {
        case TG_PAYMENT_APPLIED:
        case TG_PAYMENT_LATE:
        case TG_PAYMENT_REFUND_DUE:
            sum += life->payments[i].amount_minor;
            break;
        case TG_PAYMENT_REFUSED_AMOUNT:
        case TG_PAYMENT_REFUSED_CURRENCY:
            break;
        }
    }
    return sum;
}

static __int128 refunds_sum(const struct tg_life *life, enum tg_refund_status status)
{
    __int128 sum = 0;
    for (uint8_t i = 0; i < life->refund_count; i++) {
        if (life->refunds[i].status == status)
            sum += life->refunds[i].amount_minor;
    }
    return sum;
}

static void sum_judge(struct sto_check *c, uint64_t order_id, const char *what, int64_t said,
                      __int128 sum)
{
    if (said != sum)
        sto_check_find(c, &c->report->broken_money,
                       "table lives, row %llu: it says %s %lld, its rows add up to %lld",
                       (unsigned long long)order_id, what, (long long)said, (long long)sum);
}

static void money_judge(struct sto_check *c, uint64_t order_id, const struct tg_life *life)
{
    __int128 waiting = refunds_sum(life, TG_REFUND_WAITING);
    __int128 owed = waiting + life->refund_due_minor + life->refunded_minor;
    sum_judge(c, order_id, "received", life->received_minor, payments_sum(life));
    sum_judge(c, order_id, "refund due", life->refund_due_minor,
              refunds_sum(life, TG_REFUND_DUE_STATUS));
    sum_judge(c, order_id, "refunded", life->refunded_minor, refunds_sum(life, TG_REFUND_REFUNDED));
    if (life->received_minor < 0 || life->refund_due_minor < 0 || life->refunded_minor < 0 ||
        owed > life->received_minor)
        sto_check_find(c, &c->report->broken_money,
                       "table lives, row %llu: refunds waiting %lld, due %lld and done %lld are "
                       "more than %lld received",
                       (unsigned long long)order_id, (long long)waiting,
                       (long long)life->refund_due_minor, (long long)life->refunded_minor,
                       (long long)life->received_minor);
    if (life->state == TG_ORDER_REFUNDED && life->refund_due_minor != 0)
        sto_check_find(c, &c->report->broken_money,
                       "table lives, row %llu: it is REFUNDED, and %lld are due",
                       (unsigned long long)order_id, (long long)life->refund_due_minor);
}

/* --- steps --- */

static void steps_judge(struct sto_check *c, const struct tg_order_row *row,
                        const struct tg_life *life)
{
    const int64_t steps[] = {life->paid_at_ms, life->confirmed_at_ms, life->shipped_at_ms,
                             life->delivered_at_ms, life->completed_at_ms};
    int64_t before_ms = row->accepted_at_ms;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i] == 0)
            continue;
        if (steps[i] < before_ms) {
            sto_check_find(c, &c->report->broken_events,
                           "table lives, row %llu: a step at %lld follows one at %lld",
                           (unsigned long long)row->order_id, (long long)steps[i],
                           (long long)before_ms);
            return;
        }
        before_ms = steps[i];
    }
}

/* --- lives, in step --- */

/* Notes what the outbox must say of a life, and goes on to the next. */
static bool life_pass(struct sto_check *c, uint64_t last_event)
{
    if (c->mark_count == c->lives_max) {
        c->error = tg_fault_set(c->fault, TG_ERR_CORRUPT,
                                "table lives: its head counts %llu rows and there are more",
                                (unsigned long long)c->lives_max);
        return false;
    }
    c->marks[c->mark_count++] = (struct sto_check_mark){c->lives.key, last_event};
    c->report->lives++;
    return sto_check_feed_next(c, &c->lives);
}

/* Lives before this order belong to none. */
static bool lives_until(struct sto_check *c, uint64_t order_id)
{
    while (c->lives.key < order_id) {
        sto_check_find(c, &c->report->orphan_orders,
                       "table lives, row %llu: there is no such order",
                       (unsigned long long)c->lives.key);
        if (!life_pass(c, STO_CHECK_UNKNOWN))
            return false;
    }
    return true;
}

/* Takes the life of an order into `life`, if it has one, and judges what stands in it alone. */
static bool life_take(struct sto_check *c, uint64_t order_id, struct tg_life *life,
                      struct seen *seen)
{
    *seen = (struct seen){.state = TG_ORDER_RESERVED};
    if (!lives_until(c, order_id))
        return false;
    if (c->lives.key != order_id)
        return true;
    const char *problem =
        sto_row_life_decode(c->lives.value.mv_data, c->lives.value.mv_size, order_id, life);
    if (problem) {
        sto_check_find_damage(c, "lives", order_id, problem);
        seen->damaged = true;
        return life_pass(c, STO_CHECK_UNKNOWN);
    }
    seen->life = life;
    seen->state = life->state;
    money_judge(c, order_id, life);
    uint64_t sequence = order_id >> TG_PARTITION_BITS;
    if (life->last_event < sequence)
        sto_check_find(c, &c->report->broken_events,
                       "table lives, row %llu: its newest event %llu is older than the order",
                       (unsigned long long)order_id, (unsigned long long)life->last_event);
    /* The order's row is its first event. */
    return life_pass(c, life->last_event > sequence ? life->last_event : 0);
}

/* --- request ids --- */

static uint64_t slot_of(uint64_t hash, uint64_t slots)
{
    return (uint64_t)(((unsigned __int128)hash * slots) >> 64);
}

/* Whether these are two acceptances of one request, and not an id that was free again: the id of an
 * ingested order is never. */
static bool is_duplicate(const struct sto_check *c, const struct tg_order_row *first,
                         const struct tg_order_row *second)
{
    return (first->flags & second->flags & TG_ORDER_INGESTED) ||
           second->accepted_at_ms - first->accepted_at_ms < c->request_ttl_ms;
}

static void request_note(struct sto_check *c, const struct tg_order_row *row)
{
    uint64_t hash = tg_hash(row->request_id, sizeof(row->request_id), c->seed);
    uint64_t slot = slot_of(hash, c->request_slots);
    while (c->requests[slot].order_id != 0) {
        struct tg_order_row other;
        struct sto_check_request *request = &c->requests[slot];
        /* Equal hashes are not yet equal ids. */
        if (request->hash == hash && sto_check_order(c, request->order_id, &other) &&
            memcmp(other.request_id, row->request_id, sizeof(other.request_id)) == 0) {
            request->order_id = row->order_id;
            if (is_duplicate(c, &other, row))
                sto_check_find(c, &c->report->duplicate_requests,
                               "table orders, row %llu: its request id also owns order %llu",
                               (unsigned long long)row->order_id,
                               (unsigned long long)other.order_id);
            return;
        }
        if (++slot == c->request_slots)
            slot = 0;
    }
    c->requests[slot] = (struct sto_check_request){hash, row->order_id};
}

/* --- per-user limits --- */

static struct sto_check_holding *holding_find(struct sto_check *c, uint64_t user_id, uint32_t item)
{
    uint64_t slot = slot_of(tg_hash_words(user_id, item, c->seed), c->holding_slots);
    struct sto_check_holding *holding = &c->holdings[slot];
    while (holding->units != 0 && (holding->user_id != user_id || holding->item != item))
        holding = ++slot == c->holding_slots ? &c->holdings[slot = 0] : holding + 1;
    return holding;
}

/* Carts can hold more than the one line for each order that the table was made for. */
static bool holdings_grow(struct sto_check *c)
{
    struct sto_check_holding *before = c->holdings;
    uint64_t slots_before = c->holding_slots;
    struct sto_check_holding *grown = tg_mem_map_table(2 * slots_before * sizeof(*grown));
    if (!grown) {
        c->error = tg_fault_set(c->fault, TG_ERR_NOMEM, "no memory to check %llu holdings",
                                (unsigned long long)c->holding_count);
        return false;
    }
    c->holdings = grown;
    c->holding_slots = 2 * slots_before;
    for (uint64_t i = 0; i < slots_before; i++) {
        if (before[i].units)
            *holding_find(c, before[i].user_id, before[i].item) = before[i];
    }
    tg_mem_unmap(before, slots_before * sizeof(*before));
    return true;
}

/* Adds a line to what its user holds of the item; a breach is found once, when it happens. */
static bool holding_note(struct sto_check *c, const struct tg_order_row *row,
                         const struct tg_line *line, uint32_t limit)
{
    if (c->holding_count >= c->holding_slots / 4 * 3 && !holdings_grow(c))
        return false;
    struct sto_check_holding *holding = holding_find(c, row->user_id, line->item);
    uint32_t before = holding->units;
    uint32_t after = before > UINT32_MAX - line->quantity ? UINT32_MAX : before + line->quantity;
    c->holding_count += before == 0;
    *holding = (struct sto_check_holding){row->user_id, line->item, after};
    if (before <= limit && after > limit)
        sto_check_find(
            c, &c->report->limit_breaches,
            "table orders, row %llu: with it user %llu holds %u units of item %u, whose limit is "
            "%u",
            (unsigned long long)row->order_id, (unsigned long long)row->user_id, after, line->item,
            limit);
    return true;
}

/* --- units --- */

/* Where the units of an order in this state may be, as a set of 1 << enum tg_units. */
static unsigned units_of_state(uint8_t state, enum tg_units accepted)
{
    switch ((enum tg_order_state)state) {
    case TG_ORDER_RESERVED:
        return 1u << accepted;
    case TG_ORDER_PAID:
    case TG_ORDER_AWAITING_TEAM:
    case TG_ORDER_CONFIRMED:
    case TG_ORDER_SHIPPED:
    case TG_ORDER_DELIVERED:
    case TG_ORDER_COMPLETED:
        return 1u << TG_UNITS_SOLD;
    case TG_ORDER_EXPIRED:
    case TG_ORDER_CANCELLED:
    case TG_ORDER_TEAM_FAILED:
        return 1u << TG_UNITS_NONE;
    case TG_ORDER_REFUND_DUE: /* with the buyer, or restocked */
    case TG_ORDER_REFUNDED:
        return 1u << TG_UNITS_NONE | 1u << TG_UNITS_SOLD;
    case TG_ORDER_STATE_COUNT:
        break;
    }
    return 0;
}

static const char *units_name(enum tg_units units)
{
    switch (units) {
    case TG_UNITS_NONE:
        return "available";
    case TG_UNITS_RESERVED:
        return "reserved";
    case TG_UNITS_SOLD:
        return "sold";
    }
    return "nowhere";
}

static bool line_note(struct sto_check *c, const struct tg_order_row *row, const struct seen *seen,
                      const struct tg_line *line)
{
    struct sto_check_item *item = sto_check_item(c, line->item);
    if (!item) {
        sto_check_find(c, &c->report->orphan_orders,
                       "table orders, row %llu: its item %u does not exist",
                       (unsigned long long)row->order_id, line->item);
        return true;
    }
    enum tg_units accepted = tg_policy_units(item->stock_policy);
    enum tg_units units = seen->life ? (enum tg_units)seen->life->units : accepted;
    if (!(units_of_state(seen->state, accepted) & 1u << units))
        sto_check_find(c, &c->report->mismatched_items,
                       "table lives, row %llu: it is %s, and its units of item %u are %s",
                       (unsigned long long)row->order_id, tg_order_state_name(seen->state),
                       line->item, units_name(units));
    if (units == TG_UNITS_RESERVED) {
        item->reserved_units += line->quantity;
        c->report->units_reserved += line->quantity;
    } else if (units == TG_UNITS_SOLD) {
        item->sold_units += line->quantity;
        c->report->units_sold += line->quantity;
    }
    return !item->per_user_limit || !stands(seen->state) ||
           holding_note(c, row, line, item->per_user_limit);
}

static bool lines_note(struct sto_check *c, const struct tg_order_row *row, const struct seen *seen)
{
    if (row->line_count == 0)
        return line_note(c, row, seen, &(struct tg_line){row->item, row->quantity, 0});
    for (uint8_t i = 0; i < row->line_count; i++) {
        if (!line_note(c, row, seen, &row->lines[i]))
            return false;
    }
    return true;
}

/* --- orders --- */

/* The low bits of an order's id name the shard that decides about it. */
static void partition_judge(struct sto_check *c, const struct tg_order_row *row)
{
    const struct sto_check_item *item = sto_check_item(c, row->item);
    const struct sto_check_sale *sale =
        item && item->sale < c->sales_size ? &c->sales[item->sale] : NULL;
    if (!sale || !sale->known)
        return;
    uint32_t partition = tg_item_partition(row->item, sale->first_item, sale->is_group_buy);
    if (row->order_id % TG_PARTITIONS != partition)
        sto_check_find(c, &c->report->crc_errors,
                       "table orders, row %llu: its id names partition %llu, its item %u belongs "
                       "to %u",
                       (unsigned long long)row->order_id,
                       (unsigned long long)row->order_id % TG_PARTITIONS, row->item, partition);
}

static bool order_judge(struct sto_check *c, const struct tg_order_row *row,
                        const struct seen *seen)
{
    partition_judge(c, row);
    request_note(c, row);
    if (row->flags & TG_ORDER_INGESTED)
        sto_check_is_ingested(c, row);
    if (seen->damaged)
        return true;
    if (seen->life)
        steps_judge(c, row, seen->life);
    if (row->team_id)
        sto_check_member(c, row, seen->state);
    return lines_note(c, row, seen);
}

static bool order_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    /* More rows than counted would fill the hash tables, and their loops would not end. */
    if (c->report->orders == c->orders_max) {
        c->error = tg_fault_set(c->fault, TG_ERR_CORRUPT,
                                "table orders: its head counts %llu rows and there are more",
                                (unsigned long long)c->orders_max);
        return false;
    }
    c->report->orders++;
    if (c->progress && c->report->orders % ORDERS_PER_PROGRESS == 0)
        c->progress(c->context, c->report->orders);
    uint64_t order_id;
    if (!sto_key_read(key, &order_id, sizeof(order_id))) {
        sto_check_find_key(c, "orders");
        return true;
    }
    struct tg_order_row row;
    struct tg_life life;
    struct seen seen;
    if (!sto_check_events_until(c, order_id >> TG_PARTITION_BITS) ||
        !life_take(c, order_id, &life, &seen))
        return false;
    sto_check_sequence(c, order_id >> TG_PARTITION_BITS);
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, &row);
    if (!problem)
        return order_judge(c, &row, &seen);
    sto_check_find_damage(c, "orders", order_id, problem);
    return true;
}

enum tg_error sto_check_orders(struct sto_check *c)
{
    if (sto_check_feed_open(c, &c->lives, "lives", c->tables.lives) &&
        sto_check_feed_open(c, &c->events, "events", c->tables.events)) {
        /* When nobody knows where the outbox begins, it begins where it does. */
        if (c->event_first == 0)
            c->event_first = c->events.key == UINT64_MAX ? 1 : c->events.key;
        c->event_next = c->event_first;
        c->error = sto_check_walk(c, c->tables.orders, order_visit);
        if (!c->error && lives_until(c, UINT64_MAX) && sto_check_events_until(c, UINT64_MAX))
            sto_check_events_end(c);
    }
    sto_check_feed_close(&c->events);
    sto_check_feed_close(&c->lives);
    return c->error;
}
