/* Consumer groups on the wire: made, moved on and removed by core 0, listed by any. */
#include "base/assert.h"
#include "base/log.h"
#include "server/control.h"
#include "server/server.h"

#include <string.h>

static struct eng_groups *groups_of(const struct srv_core *core)
{
    return core->shard->engine->groups;
}

/* The newest durable event: pairs with the store in server/writer.c. */
static uint64_t newest(const struct srv_core *core)
{
    return atomic_load_explicit(&core->server->sequence, memory_order_acquire);
}

/* --- reading --- */

static void read_name(struct srv_control *control, const char *text)
{
    struct tg_bytes name = srv_message_text(text);
    if (!eng_group_name_is_valid(name.data, name.size)) {
        srv_control_refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_EVENT_GROUP);
        return;
    }
    control->group.name_bytes = (uint8_t)name.size;
    memcpy(control->group.name, name.data, name.size);
}

void srv_groups_read(struct srv_control *control, const void *message)
{
    struct srv_group_ask *ask = &control->group;
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP) {
        const Tidegate__V1__CreateGroupRequest *create = message;
        read_name(control, create->group);
        ask->sequence = create->after_sequence;
        ask->from_now = create->from_now;
    } else if (control->kind == TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS) {
        const Tidegate__V1__AckEventsRequest *ack = message;
        read_name(control, ack->group);
        ask->sequence = ack->sequence;
    } else {
        const Tidegate__V1__DeleteGroupRequest *removal = message;
        read_name(control, removal->group);
    }
}

/* --- deciding, at core 0 --- */

/* The newest event that anybody can have read. A reader of a snapshot can be ahead of what the
 * writer has published: looks for itself when `sequence` says so. */
static uint64_t newest_known(struct srv_core *core, uint64_t sequence)
{
    uint64_t last = newest(core);
    if (sequence <= last)
        return last;
    struct tg_event event;
    uint32_t filled;
    uint64_t next, first;
    struct tg_fault fault;
    if (sto_read_events(core->reader, last, 0, 1, 1, &event, &filled, &next, &first, &last,
                        &fault) != TG_ERR_OK)
        tg_log_error("reading the newest event: %s", fault.text);
    return last;
}

static enum tg_verdict decide_create(struct srv_core *core, struct srv_control *control)
{
    struct srv_group_ask *ask = &control->group;
    uint64_t last = newest_known(core, ask->from_now ? 0 : ask->sequence);
    if (!ask->from_now && ask->sequence > last)
        return TG_INVALID_ARGUMENT;
    return eng_groups_create(groups_of(core), ask->name, ask->name_bytes,
                             ask->from_now ? last : ask->sequence, core->now_ms, &ask->place);
}

static enum tg_verdict decide(struct srv_core *core, struct srv_control *control)
{
    struct srv_group_ask *ask = &control->group;
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP)
        return decide_create(core, control);
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS)
        return eng_groups_ack(groups_of(core), ask->name, ask->name_bytes, ask->sequence,
                              newest_known(core, ask->sequence), core->now_ms, &ask->place);
    ask->removes = true;
    return eng_groups_delete(groups_of(core), ask->name, ask->name_bytes, &ask->place);
}

/* Where the group stands; 0 for one that does not. */
static uint64_t offset_of(const struct srv_core *core, const struct srv_group_ask *ask)
{
    struct tg_group group;
    int place = eng_groups_find(groups_of(core), ask->name, ask->name_bytes);
    return place >= 0 && eng_groups_get(groups_of(core), place, &group) ? group.offset : 0;
}

bool srv_groups_decide(struct srv_core *core, struct srv_control *control, struct tg_record *record)
{
    struct srv_group_ask *ask = &control->group;
    control->verdict = decide(core, control);
    if (control->verdict == TG_INVALID_ARGUMENT)
        control->field = TG_FIELD_EVENT_SEQUENCE;
    if (control->verdict != TG_OK || ask->place < 0) {
        ask->offset = offset_of(core, ask);
        return true;
    }
    record->kind = TG_RECORD_GROUP;
    record->group.group = &groups_of(core)->groups[ask->place].next;
    record->group.group->from_now = ask->from_now;
    record->group.removed = ask->removes;
    return false;
}

void srv_groups_settle(struct srv_core *core, struct srv_control *control,
                       const struct tg_record *record)
{
    tg_assert(record->kind == TG_RECORD_GROUP);
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    struct srv_group_ask *ask = &control->group;
    eng_groups_settle(groups_of(core), ask->place, ask->removes, durable);
    if (!durable)
        control->verdict = TG_STORAGE_FULL;
    ask->offset = offset_of(core, ask);
    srv_events_group_changed(core);
}

/* --- answering --- */

#define FILL(answer)                                                                               \
    do {                                                                                           \
        (answer).verdict = (Tidegate__V1__Verdict)control->verdict;                                \
        (answer).offset = control->group.offset;                                                   \
        (answer).field = (char *)tg_field_name(control->field);                                    \
        (answer).message = (char *)tg_field_advice(control->field);                                \
        (answer).retry_after_ms = retry_after_ms;                                                  \
    } while (0)

void srv_groups_answer(struct srv_core *core, struct net_conn *conn,
                       const struct srv_control *control)
{
    uint32_t retry_after_ms = control->verdict == TG_BUSY ? TG_RETRY_AFTER_MS : 0;
    Tidegate__V1__CreateGroupResponse create = TIDEGATE__V1__CREATE_GROUP_RESPONSE__INIT;
    Tidegate__V1__AckEventsResponse ack = TIDEGATE__V1__ACK_EVENTS_RESPONSE__INIT;
    Tidegate__V1__DeleteGroupResponse removal = TIDEGATE__V1__DELETE_GROUP_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = control->address.correlation_id;
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP) {
        FILL(create);
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CREATE_GROUP;
        response.create_group = &create;
    } else if (control->kind == TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS) {
        FILL(ack);
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ACK_EVENTS;
        response.ack_events = &ack;
    } else {
        removal.verdict = (Tidegate__V1__Verdict)control->verdict;
        removal.retry_after_ms = retry_after_ms;
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_DELETE_GROUP;
        response.delete_group = &removal;
    }
    srv_core_respond(core, conn, &response);
}

/* --- listing --- */

/* A group as a message, with what it borrows. */
struct shown_group {
    Tidegate__V1__Group message;
    char name[TG_GROUP_NAME_BYTES_MAX + 1];
};

static void show_group(struct shown_group *shown, const struct tg_group *group, uint64_t first,
                       uint64_t last)
{
    tidegate__v1__group__init(&shown->message);
    memcpy(shown->name, group->name, group->name_bytes);
    shown->name[group->name_bytes] = '\0';
    shown->message.group = shown->name;
    shown->message.offset = group->offset;
    /* Events that were dropped before the group began are not behind it. */
    uint64_t from = group->offset + 1 > first ? group->offset : first - 1;
    shown->message.lag = last > from ? last - from : 0;
    shown->message.created_at_ms = group->created_at_ms;
    shown->message.acked_at_ms = group->acked_at_ms;
}

void srv_groups_list(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    Tidegate__V1__ListGroupsResponse answer = TIDEGATE__V1__LIST_GROUPS_RESPONSE__INIT;
    Tidegate__V1__Group *list[TG_GROUPS_MAX];
    struct shown_group *shown = srv_message_alloc(core, TG_GROUPS_MAX * sizeof(*shown));
    answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    answer.groups = list;
    answer.first_sequence = atomic_load_explicit(&core->server->event_first, memory_order_acquire);
    answer.last_sequence = newest(core);
    for (int place = 0; place < TG_GROUPS_MAX; place++) {
        struct tg_group group;
        if (!eng_groups_get(groups_of(core), place, &group))
            continue;
        show_group(&shown[answer.n_groups], &group, answer.first_sequence, answer.last_sequence);
        list[answer.n_groups] = &shown[answer.n_groups].message;
        answer.n_groups++;
    }
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_LIST_GROUPS;
    response.list_groups = &answer;
    srv_core_respond(core, conn, &response);
}
