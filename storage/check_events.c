/* The offline check of the outbox: one sequence over orders and events, without a gap; each event
 * of an order that is there, and none behind the newest one that its life names; groups within. */
#include "storage/check.h"

#include "proto/verdict.h"
#include "storage/rows.h"

/* --- the sequence --- */

void sto_check_sequence(struct sto_check *c, uint64_t sequence)
{
    c->sequence_last = sequence;
    if (sequence < c->event_first)
        return;
    if (sequence < c->event_next)
        sto_check_find(c, &c->report->broken_events, "sequence %llu stands twice",
                       (unsigned long long)sequence);
    if (sequence > c->event_next)
        sto_check_find(c, &c->report->broken_events,
                       "sequences %llu to %llu are missing: no order and no event has them",
                       (unsigned long long)c->event_next, (unsigned long long)sequence - 1);
    if (sequence >= c->event_next)
        c->event_next = sequence + 1;
}

/* --- events --- */

enum subject {
    OF_NONE,
    OF_ORDER,
    OF_TEAM,
    OF_SALE,
};

static enum subject subject_of(uint8_t type)
{
    switch ((enum tg_event_type)type) {
    case TG_EVENT_ORDER_PAID:
    case TG_EVENT_ORDER_AWAITING_TEAM:
    case TG_EVENT_ORDER_CONFIRMED:
    case TG_EVENT_ORDER_SHIPPED:
    case TG_EVENT_ORDER_DELIVERED:
    case TG_EVENT_ORDER_COMPLETED:
    case TG_EVENT_ORDER_EXPIRED:
    case TG_EVENT_ORDER_CANCELLED:
    case TG_EVENT_ORDER_TEAM_FAILED:
    case TG_EVENT_ORDER_REFUND_DUE:
    case TG_EVENT_ORDER_REFUNDED:
    case TG_EVENT_PAYMENT_REFUSED:
    case TG_EVENT_PAYMENT_EXTENDED:
    case TG_EVENT_REFUND_REQUESTED:
    case TG_EVENT_REFUND_DUE:
    case TG_EVENT_REFUND_REJECTED:
    case TG_EVENT_REFUND_RECORDED:
        return OF_ORDER;
    case TG_EVENT_TEAM_OPENED:
    case TG_EVENT_TEAM_FORMED:
    case TG_EVENT_TEAM_FAILED:
    case TG_EVENT_TEAM_DISSOLVED:
    case TG_EVENT_TEAM_CAPTAIN_CHANGED:
        return OF_TEAM;
    case TG_EVENT_SALE_STARTED:
    case TG_EVENT_SALE_ENDED:
        return OF_SALE;
    case TG_EVENT_ORDER_PLACED: /* the order's row is this event */
    case TG_EVENT_TYPE_COUNT:
        break;
    }
    return OF_NONE;
}

/* NULL when the order has no life (so far: an event comes behind its order). */
static struct sto_check_mark *mark_of(struct sto_check *c, uint64_t order_id)
{
    uint64_t low = 0, high = c->mark_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (c->marks[middle].order_id < order_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->mark_count && c->marks[low].order_id == order_id ? &c->marks[low] : NULL;
}

static void order_event_judge(struct sto_check *c, const struct tg_event *event)
{
    struct sto_check_mark *mark = mark_of(c, event->order_id);
    MDB_val unread;
    if (mark && mark->last_event == event->sequence)
        mark->last_event = 0;
    else if (mark && mark->last_event < event->sequence)
        sto_check_find(c, &c->report->broken_events,
                       "table events, row %llu: it is behind the newest event that the life of its "
                       "order %llu names",
                       (unsigned long long)event->sequence, (unsigned long long)event->order_id);
    else if (!mark && sto_check_get(c, c->tables.orders, event->order_id, &unread))
        sto_check_find(c, &c->report->broken_events,
                       "table events, row %llu: its order %llu has no life",
                       (unsigned long long)event->sequence, (unsigned long long)event->order_id);
    else if (!mark)
        sto_check_find(c, &c->report->orphan_orders,
                       "table events, row %llu: its order %llu does not exist",
                       (unsigned long long)event->sequence, (unsigned long long)event->order_id);
}

static void team_event_judge(struct sto_check *c, const struct tg_event *event)
{
    MDB_val unread;
    if (!sto_check_get(c, c->tables.teams, event->team_id, &unread))
        sto_check_find(c, &c->report->orphan_orders,
                       "table events, row %llu: its team %llu does not exist",
                       (unsigned long long)event->sequence, (unsigned long long)event->team_id);
}

static void event_judge(struct sto_check *c, uint64_t sequence, const MDB_val *value)
{
    struct tg_event event;
    const char *problem = sto_row_event_decode(value->mv_data, value->mv_size, sequence, &event);
    if (problem) {
        sto_check_find_damage(c, "events", sequence, problem);
        return;
    }
    switch (subject_of(event.type)) {
    case OF_ORDER:
        order_event_judge(c, &event);
        break;
    case OF_TEAM:
        team_event_judge(c, &event);
        break;
    case OF_SALE:
        break;
    case OF_NONE:
        sto_check_find(c, &c->report->broken_events,
                       "table events, row %llu: it says %s, and no row of events does",
                       (unsigned long long)sequence, tg_event_type_name(event.type));
        break;
    }
}

bool sto_check_events_until(struct sto_check *c, uint64_t sequence)
{
    while (c->events.key < sequence) {
        c->report->events++;
        if (c->events.key < c->event_first)
            sto_check_find(c, &c->report->broken_events,
                           "table events, row %llu: the first event kept is %llu",
                           (unsigned long long)c->events.key, (unsigned long long)c->event_first);
        sto_check_sequence(c, c->events.key);
        event_judge(c, c->events.key, &c->events.value);
        if (!sto_check_feed_next(c, &c->events))
            return false;
    }
    return true;
}

void sto_check_events_end(struct sto_check *c)
{
    if (c->event_first > c->sequence_last + 1)
        sto_check_find(c, &c->report->broken_events,
                       "table meta: the outbox begins at %llu, and the newest sequence is %llu",
                       (unsigned long long)c->event_first, (unsigned long long)c->sequence_last);
    for (uint64_t i = 0; i < c->mark_count; i++) {
        const struct sto_check_mark *mark = &c->marks[i];
        if (mark->last_event >= c->event_first && mark->last_event != STO_CHECK_UNKNOWN)
            sto_check_find(c, &c->report->broken_events,
                           "table lives, row %llu: its newest event %llu is not there, or is not "
                           "of this order",
                           (unsigned long long)mark->order_id,
                           (unsigned long long)mark->last_event);
    }
}

/* --- groups --- */

static bool group_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    struct tg_group group;
    int name_bytes =
        key->mv_size < TG_GROUP_NAME_BYTES_MAX ? (int)key->mv_size : TG_GROUP_NAME_BYTES_MAX;
    const char *name = key->mv_data;
    const char *problem =
        sto_row_group_decode(value->mv_data, value->mv_size, name, key->mv_size, &group);
    if (problem)
        sto_check_find(c, &c->report->crc_errors, "table groups, row %.*s: %s", name_bytes, name,
                       problem);
    else if (group.offset > c->sequence_last)
        sto_check_find(c, &c->report->broken_events,
                       "table groups, row %.*s: its offset is %llu, and the newest sequence %llu",
                       name_bytes, name, (unsigned long long)group.offset,
                       (unsigned long long)c->sequence_last);
    return true;
}

enum tg_error sto_check_groups(struct sto_check *c)
{
    return sto_check_walk(c, c->tables.groups, group_visit);
}
