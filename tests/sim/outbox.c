/* The outbox: its readers, consumer groups, and what retention may drop. */
#include "tests/sim/node.h"

#include <string.h>

/* --- reading --- */

/* The state that an event of an order brings it to; 0: none. `from` is where it may come from. */
static int state_after(int type, uint64_t *from)
{
#define FROM(state) (1ull << TG_ORDER_##state)
    switch (type) {
    case TG_EVENT_ORDER_PLACED:
        *from = 1;
        return TG_ORDER_RESERVED;
    case TG_EVENT_ORDER_PAID:
        *from = FROM(RESERVED) | FROM(EXPIRED);
        return TG_ORDER_PAID;
    case TG_EVENT_ORDER_AWAITING_TEAM:
        *from = FROM(PAID);
        return TG_ORDER_AWAITING_TEAM;
    case TG_EVENT_ORDER_CONFIRMED:
        *from = FROM(PAID) | FROM(AWAITING_TEAM);
        return TG_ORDER_CONFIRMED;
    case TG_EVENT_ORDER_SHIPPED:
        *from = FROM(CONFIRMED);
        return TG_ORDER_SHIPPED;
    case TG_EVENT_ORDER_DELIVERED:
        *from = FROM(SHIPPED);
        return TG_ORDER_DELIVERED;
    case TG_EVENT_ORDER_COMPLETED:
        *from = FROM(DELIVERED);
        return TG_ORDER_COMPLETED;
    case TG_EVENT_ORDER_EXPIRED:
        *from = FROM(RESERVED);
        return TG_ORDER_EXPIRED;
    case TG_EVENT_ORDER_CANCELLED:
        *from = FROM(RESERVED) | FROM(AWAITING_TEAM);
        return TG_ORDER_CANCELLED;
    case TG_EVENT_ORDER_TEAM_FAILED:
        *from = FROM(AWAITING_TEAM);
        return TG_ORDER_TEAM_FAILED;
    case TG_EVENT_ORDER_REFUND_DUE:
        *from = FROM(CONFIRMED) | FROM(SHIPPED) | FROM(DELIVERED) | FROM(EXPIRED) |
                FROM(CANCELLED) | FROM(TEAM_FAILED) | FROM(REFUNDED);
        return TG_ORDER_REFUND_DUE;
    case TG_EVENT_ORDER_REFUNDED:
        *from = FROM(REFUND_DUE);
        return TG_ORDER_REFUNDED;
    default:
        return 0;
    }
#undef FROM
}

static void read_order_event(struct world *world, const struct tg_event *event)
{
    int place = m_find(&world->model, event->order_id);
    uint64_t from;
    promise(place != M_NONE, "event %lu tells of order %lu, which is nowhere",
            (unsigned long)event->sequence, (unsigned long)event->order_id);
    world->seen_events[place][event->type]++;
    int state = state_after(event->type, &from);
    if (state == 0)
        return;
    promise(from >> world->seen_states[place] & 1, "order %lu goes from %s to %s",
            (unsigned long)event->order_id, tg_order_state_name(world->seen_states[place]),
            tg_order_state_name(state));
    world->seen_states[place] = (uint8_t)state;
}

static void read_event(struct world *world, const struct tg_event *event)
{
    world->events_read++;
    world->figures->events++;
    promise(event->sequence == world->events_read, "event %lu comes as number %lu",
            (unsigned long)event->sequence, (unsigned long)world->events_read);
    if (event->type >= TG_EVENT_TEAM_OPENED && event->type <= TG_EVENT_TEAM_CAPTAIN_CHANGED) {
        int team = m_find_team(&world->model, event->team_id);
        promise(team != M_NONE, "an event of team %lu, which is nowhere",
                (unsigned long)event->team_id);
        world->seen_team_events[team][event->type]++;
    } else if (event->order_id != 0) {
        read_order_event(world, event);
    }
}

void sim_outbox_check_retained(struct world *world)
{
    const char *broken = m_retained(&world->model, sto_commit_stats(world->storage)->event_first);
    promise(!broken, "%s", broken);
}

/* Everything that became of an order is told, once. */
static void check_told(struct world *world)
{
    for (int i = 0; i < world->model.order_count; i++) {
        const struct m_order *order = &world->model.orders[i];
        if (!order->used || !order->durable)
            continue;
        promise(order->state == world->seen_states[i],
                "the events of order %lu end in %s, it is %s", (unsigned long)order->id,
                tg_order_state_name(world->seen_states[i]), tg_order_state_name(order->state));
        for (int type = 1; type < TG_EVENT_TYPE_COUNT; type++)
            promise(order->events[type] == world->seen_events[i][type],
                    "order %lu has %u events %s, not %u", (unsigned long)order->id,
                    world->seen_events[i][type], tg_event_type_name(type), order->events[type]);
    }
    for (int i = 0; i < world->model.team_count; i++)
        for (int type = 1; type < TG_EVENT_TYPE_COUNT; type++)
            promise(!world->model.teams[i].used || !world->model.teams[i].durable ||
                        world->model.teams[i].events[type] == world->seen_team_events[i][type],
                    "team %lu has %u events %s", (unsigned long)world->model.teams[i].id,
                    world->seen_team_events[i][type], tg_event_type_name(type));
}

void sim_outbox_read(struct world *world)
{
    struct tg_event events[128];
    struct tg_fault fault = {0};
    uint32_t filled;
    do {
        uint64_t next, first, last;
        promise(sto_read_events(world->reader, world->events_read, UINT64_MAX, 128, 128, events,
                                &filled, &next, &first, &last, &fault) == TG_ERR_OK,
                "%s", fault.text);
        promise(last == world->model.sequence, "the outbox ends at %lu, not at %lu",
                (unsigned long)last, (unsigned long)world->model.sequence);
        promise(first <= world->events_read + 1,
                "the outbox begins at %lu, and its group has not acked %lu", (unsigned long)first,
                (unsigned long)world->events_read + 1);
        for (uint32_t i = 0; i < filled; i++)
            read_event(world, &events[i]);
    } while (filled > 0);
    check_told(world);
}

void sim_outbox_peek(struct world *world)
{
    struct tg_event events[16];
    struct tg_fault fault = {0};
    uint32_t filled;
    uint64_t next, first, last, after = sim_below(world, (uint32_t)world->model.sequence + 1);
    promise(sto_read_events(world->reader, after, UINT64_MAX, 16, 16, events, &filled, &next,
                            &first, &last, &fault) == TG_ERR_OK,
            "%s", fault.text);
    promise(first == world->model.event_first, "the outbox begins at %lu, not at %lu",
            (unsigned long)first, (unsigned long)world->model.event_first);
    bool is_dropped = after + 1 < first;
    promise((filled == 0) == (is_dropped || after == last) && (!is_dropped || next == after),
            "behind %lu, of %lu to %lu, there are %u events", (unsigned long)after,
            (unsigned long)first, (unsigned long)last, filled);
    for (uint32_t i = 0; i < filled; i++)
        promise(events[i].sequence == after + 1 + i, "event %lu follows %lu",
                (unsigned long)events[i].sequence, (unsigned long)after + i);
}

/* What is above the first event kept lies in rows of its own, or is an order: only rows go. */
void sim_outbox_check_dropped(struct world *world)
{
    struct tg_event event;
    struct tg_fault fault = {0};
    uint32_t filled;
    uint64_t next, first, last, types = UINT64_MAX & ~(1ull << TG_EVENT_ORDER_PLACED);
    uint64_t acked = eng_groups_offset_min(world->engine.groups);
    promise(sto_read_events(world->reader, world->model.event_first - 1, types, 1, 1u << 20, &event,
                            &filled, &next, &first, &last, &fault) == TG_ERR_OK,
            "%s", fault.text);
    promise(filled == 0 || event.sequence > acked || event.sequence == last,
            "event %lu is kept though all groups have acked %lu", (unsigned long)event.sequence,
            (unsigned long)acked);
}

/* --- groups: what server/groups.c does --- */

static size_t name_of(int group, char name[8])
{
    return (size_t)snprintf(name, 8, "group%d", group);
}

static struct m_answer ask_model(struct world *world, const struct ask *ask, uint64_t behind)
{
    switch (ask->verb) {
    case GROUP_CREATE_NOW:
    case GROUP_CREATE_BEHIND:
        return m_group_create(&world->model, ask->group, ask->verb == GROUP_CREATE_NOW, behind);
    case GROUP_ACK:
        return m_group_ack(&world->model, ask->group, ask->sequence);
    case GROUP_DELETE:
        break;
    }
    return m_group_delete(&world->model, ask->group);
}

/* A reader of a snapshot can be ahead of what the writer has published. */
static uint64_t newest_known(const struct world *world, uint64_t sequence)
{
    return sequence <= world->newest ? world->newest : world->model.sequence;
}

static enum tg_verdict ask_engine(struct world *world, const struct ask *ask, uint64_t behind,
                                  int *place)
{
    struct eng_groups *groups = world->engine.groups;
    char name[8];
    size_t bytes = name_of(ask->group, name);
    *place = -1;
    switch (ask->verb) {
    case GROUP_CREATE_NOW:
    case GROUP_CREATE_BEHIND:
        if (behind > newest_known(world, behind))
            return TG_INVALID_ARGUMENT;
        return eng_groups_create(groups, name, bytes, behind, world->now_ms, place);
    case GROUP_ACK:
        return eng_groups_ack(groups, name, bytes, ask->sequence,
                              newest_known(world, ask->sequence), world->now_ms, place);
    case GROUP_DELETE:
        break;
    }
    return eng_groups_delete(groups, name, bytes, place);
}

enum tg_verdict sim_outbox_decide(struct world *world, const struct ask *ask,
                                  struct tg_record *record, struct m_answer *answer)
{
    static const char *const names[] = {"CreateGroup", "CreateGroup", "AckEvents", "DeleteGroup"};
    uint64_t behind = ask->verb == GROUP_CREATE_NOW ? world->newest : ask->sequence;
    int place;
    *answer = ask_model(world, ask, behind);
    enum tg_verdict verdict = ask_engine(world, ask, behind, &place);
    sim_node_agree(world, names[ask->verb], place >= 0 ? M_RECORDED : M_FINAL, (int)verdict, false,
                   answer);
    sim_outbox_check_retained(world);
    if (place < 0)
        return verdict;
    *record = (struct tg_record){.kind = TG_RECORD_GROUP, .at_ms = world->now_ms};
    record->group.group = &world->engine.groups->groups[place].next;
    record->group.group->from_now = ask->verb == GROUP_CREATE_NOW;
    record->group.removed = ask->verb == GROUP_DELETE;
    return verdict;
}

void sim_outbox_settle(struct world *world, const struct tg_record *record)
{
    struct eng_groups *groups = world->engine.groups;
    int place = 0;
    while (&groups->groups[place].next != record->group.group)
        place++;
    world->figures->acks++;
    eng_groups_settle(groups, place, record->group.removed, record->outcome == TG_OUTCOME_DURABLE);
}

uint64_t sim_outbox_offset(const struct world *world, int number)
{
    char name[8];
    struct tg_group group;
    int place = eng_groups_find(world->engine.groups, name, name_of(number, name));
    bool is_there = place >= 0 && eng_groups_get(world->engine.groups, place, &group);
    const struct m_group *expected = &world->model.groups[number];
    promise(is_there == expected->exists, "group %d is %sthere", number, is_there ? "" : "not ");
    promise(!is_there || group.offset == expected->offset,
            "group %d is at %lu where the model has %lu", number, (unsigned long)group.offset,
            (unsigned long)expected->offset);
    return is_there ? group.offset : 0;
}

/* --- a start --- */

void sim_outbox_restore(struct world *world, const struct tg_group *group)
{
    promise(eng_groups_restore(world->engine.groups, group), "there is no room for a group");
}

void sim_outbox_restored(struct world *world)
{
    world->newest = world->model.sequence;
    for (int i = 0; i < M_GROUPS; i++)
        sim_outbox_offset(world, i);
    sim_outbox_check_retained(world);
}

void sim_outbox_begin(struct world *world)
{
    struct tg_fault fault = {0};
    struct tg_group group = {.created_at_ms = world->now_ms};
    char name[8];
    struct tg_record record = {
        .kind = TG_RECORD_GROUP, .at_ms = world->now_ms, .group = {.group = &group}};
    struct sto_batch batch = {.spans = {{.records = &record, .count = 1}}, .span_count = 1};
    group.name_bytes = (uint8_t)name_of(0, name);
    memcpy(group.name, name, group.name_bytes);
    promise(sto_commit(world->storage, &batch, &fault) == STO_DURABLE, "%s", fault.text);
    sim_outbox_restore(world, &group);
    world->model.groups[0] = (struct m_group){.exists = true, .is_durable = true, .first = 1};
}
