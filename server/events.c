/* Who reads the outbox: answered at once, or parked until there is something to read.
 *
 * A waiter is looked at when the newest sequence moved, a group changed, a connection ended, time
 * is over, or the last turn left work; a core where nobody waits pays one branch a turn. Each look
 * at one that lags behind reads a page; a turn reads a few pages and goes on where it stopped, so
 * that many readers share a core with its orders. One connection has a part of the places only. */
#include "server/events.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "server/admit.h"
#include "server/control.h"
#include "server/event_page.h"
#include "server/server.h"

#include <stdlib.h>

/* What one turn reads for those who wait, in the units of SRV_WORK_A_TURN. */
#define WORK_A_TURN 200

/* Events that a filter may hide from a subscriber before it is told how far it has come, so that it
 * can ack them. */
#define UNTOLD_EVENTS_MAX 1024

struct srv_waiter {
    net_conn_ref conn;
    uint64_t correlation_id;
    uint64_t after; /* read up to here; 0: nothing yet, and from the first event kept */
    uint64_t types;
    uint32_t principal;   /* who asked */
    uint32_t group_state; /* eng_group.state when it began: one that is made anew is another */
    int16_t place;        /* of its group, -1: none */
    bool is_subscription;
    bool without_orders;
    /* of a poll */
    uint32_t max;
    int64_t deadline_ns;
    /* of a subscription */
    uint32_t unacked_max;
    uint64_t sent;  /* the last event that went out */
    uint64_t acked; /* nothing that went out up to here waits for an ack */
    uint64_t told;  /* the last next_sequence that went out */
};

struct srv_events {
    struct srv_waiter *waiters; /* SRV_WAITERS_MAX */
    uint32_t count;
    uint32_t cursor; /* who is looked at first in the next turn */
    uint64_t work;   /* of reading pages, ever */
    bool busy;       /* the last turn left work that nothing but a turn waits for */
    bool is_backed;  /* somebody waits for output to go */
    int64_t deadline_ns;
    /* as of the last look */
    uint64_t sequence_seen;
    uint64_t ended_seen;
    uint32_t changes_seen;
    _Atomic uint32_t wanted;  /* `count`, for the writer */
    _Atomic uint32_t changes; /* of groups, counted by core 0 */
};

enum tg_error srv_events_create(struct srv_core *core, struct tg_fault *fault)
{
    struct srv_events *events = calloc(1, sizeof(*events));
    if (events)
        events->waiters = tg_mem_map(SRV_WAITERS_MAX * sizeof(*events->waiters));
    if (!events || !events->waiters) {
        free(events);
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the consumers of core %u",
                            core->core);
    }
    events->deadline_ns = INT64_MAX;
    core->events = events;
    return TG_ERR_OK;
}

void srv_events_destroy(struct srv_core *core)
{
    if (!core->events)
        return;
    tg_mem_unmap(core->events->waiters, SRV_WAITERS_MAX * sizeof(*core->events->waiters));
    free(core->events);
    core->events = NULL;
}

/* --- what others tell --- */

bool srv_events_wanted(const struct srv_core *core)
{
    /* pairs with the store in set_count: see events.h */
    return atomic_load_explicit(&core->events->wanted, memory_order_seq_cst) > 0;
}

static void set_count(struct srv_events *events, uint32_t count)
{
    events->count = count;
    /* pairs with the load in srv_events_wanted */
    atomic_store_explicit(&events->wanted, count, memory_order_seq_cst);
}

/* The newest durable event: pairs with the store in server/writer.c; see events.h. */
static uint64_t newest(const struct srv_core *core)
{
    return atomic_load_explicit(&core->server->sequence, memory_order_seq_cst);
}

/* Pairs with the addition in srv_events_group_changed. */
static uint32_t changes(const struct srv_events *events)
{
    return atomic_load_explicit(&events->changes, memory_order_seq_cst);
}

void srv_events_group_changed(struct srv_core *core)
{
    for (uint64_t i = 0; i < core->server->config.threads; i++) {
        struct srv_core *other = &core->server->cores[i];
        /* Pairs with the load in `changes`; stored before `wanted` is looked at, as the writer
         * does with the sequence. */
        atomic_fetch_add_explicit(&other->events->changes, 1, memory_order_seq_cst);
        if (other != core && srv_events_wanted(other))
            tg_waker_wake(&other->waker);
    }
}

void srv_events_look(struct srv_core *core)
{
    core->events->busy = true;
}

bool srv_events_ready(const struct srv_core *core)
{
    const struct srv_events *events = core->events;
    return events->count > 0 && (events->busy || newest(core) != events->sequence_seen ||
                                 changes(events) != events->changes_seen ||
                                 net_loop_stats(core->net)->ended != events->ended_seen);
}

/* --- groups --- */

static const struct eng_group *group_at(const struct srv_core *core, int place)
{
    return &core->shard->engine->groups->groups[place];
}

static uint32_t group_state(const struct srv_core *core, int place)
{
    return atomic_load_explicit(&group_at(core, place)->state, memory_order_acquire);
}

static uint64_t group_offset(const struct srv_core *core, const struct srv_waiter *waiter)
{
    return waiter->place < 0
               ? 0
               : atomic_load_explicit(&group_at(core, waiter->place)->offset, memory_order_acquire);
}

static bool group_stands(const struct srv_core *core, const struct srv_waiter *waiter)
{
    return waiter->place < 0 || group_state(core, waiter->place) == waiter->group_state;
}

/* --- answering --- */

static void answer_poll(struct srv_core *core, struct net_conn *conn,
                        const struct srv_waiter *waiter, enum tg_verdict verdict,
                        enum tg_field field, const struct srv_page *page)
{
    Tidegate__V1__ConsumeEventsResponse answer = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)verdict;
    answer.field = (char *)tg_field_name(field);
    answer.message = (char *)tg_field_advice(field);
    answer.offset = group_offset(core, waiter);
    if (page) {
        answer.events = page->events;
        answer.n_events = page->count;
        answer.next_sequence = page->next_sequence;
        answer.first_sequence = page->first_sequence;
        answer.last_sequence = page->last_sequence;
    }
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = waiter->correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS;
    response.consume_events = &answer;
    srv_core_respond(core, conn, &response);
}

static void answer_subscription(struct srv_core *core, struct net_conn *conn,
                                const struct srv_waiter *waiter, enum tg_verdict verdict,
                                enum tg_field field, const struct srv_page *page)
{
    Tidegate__V1__SubscribeEventsResponse answer = TIDEGATE__V1__SUBSCRIBE_EVENTS_RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)verdict;
    answer.field = (char *)tg_field_name(field);
    answer.message = (char *)tg_field_advice(field);
    if (page) {
        answer.events = page->events;
        answer.n_events = page->count;
        answer.next_sequence = page->next_sequence;
        answer.last_sequence = page->last_sequence;
    }
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = waiter->correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_SUBSCRIBE_EVENTS;
    response.subscribe_events = &answer;
    srv_core_respond(core, conn, &response);
}

static void answer(struct srv_core *core, struct net_conn *conn, const struct srv_waiter *waiter,
                   enum tg_verdict verdict, enum tg_field field, const struct srv_page *page)
{
    (waiter->is_subscription ? answer_subscription : answer_poll)(core, conn, waiter, verdict,
                                                                  field, page);
}

/* --- serving: each true when the waiter is done --- */

/* Reads the next page of at most `max` events and moves on behind it. True: it was the end, and is
 * answered. */
static bool read_page(struct srv_core *core, struct net_conn *conn, struct srv_waiter *waiter,
                      uint32_t max, struct srv_page *page)
{
    struct srv_page_ask ask = {
        .after = waiter->after,
        .types = waiter->types,
        .max = max,
        .without_orders = waiter->without_orders,
    };
    bool is_read = srv_page_read(core, &ask, page);
    core->events->work += page->work;
    srv_core_spend(core, page->work);
    if (!is_read) {
        srv_message_fail_read(core, conn, waiter->correlation_id);
        return true;
    }
    if (page->dropped) {
        answer(core, conn, waiter, TG_EVENTS_DROPPED, TG_FIELD_NONE, page);
        return true;
    }
    waiter->after = page->next_sequence;
    if (page->next_sequence < page->last_sequence)
        core->events->busy = true;
    return false;
}

static bool serve_poll(struct srv_core *core, struct net_conn *conn, struct srv_waiter *waiter)
{
    bool is_over = core->now_mono_ns >= waiter->deadline_ns || !net_conn_is_open(conn);
    if (!is_over && waiter->after != 0 && waiter->after >= newest(core))
        return false;
    if (net_loop_is_short(core->net)) {
        core->events->is_backed = true;
        if (is_over)
            answer(core, conn, waiter, TG_BUSY, TG_FIELD_NONE, NULL);
        return is_over;
    }
    struct srv_page page;
    if (read_page(core, conn, waiter, waiter->max, &page))
        return true;
    if (page.count == 0 && !is_over)
        return false;
    answer(core, conn, waiter, TG_OK, TG_FIELD_NONE, &page);
    return true;
}

/* How many events may go out now. The window is counted in sequence numbers, from the first event
 * that is not acked: what a filter hides behind that counts like what went out, what it hides
 * before does not, so that it never brings the stream to a stand. */
static uint32_t room_of(struct srv_waiter *waiter, uint64_t offset)
{
    if (waiter->sent <= offset)
        waiter->acked = waiter->after;
    else if (waiter->acked < offset)
        waiter->acked = offset;
    uint64_t unacked = waiter->after - waiter->acked;
    uint64_t room = unacked < waiter->unacked_max ? waiter->unacked_max - unacked : 0;
    return room < TG_EVENTS_PAGE_DEFAULT ? (uint32_t)room : TG_EVENTS_PAGE_DEFAULT;
}

static bool serve_subscription(struct srv_core *core, struct net_conn *conn,
                               struct srv_waiter *waiter)
{
    if (!net_conn_is_open(conn))
        return true; /* it cannot ack any more */
    uint64_t offset = group_offset(core, waiter);
    if (waiter->after < offset)
        waiter->after = offset; /* done, whoever did it */
    if (waiter->after != 0 && waiter->after >= newest(core))
        return false;
    uint32_t room = room_of(waiter, offset);
    if (room == 0)
        return false;
    if (!net_conn_takes_output(core->net, conn, waiter->correlation_id) ||
        net_loop_is_short(core->net)) {
        core->events->is_backed = true;
        return false;
    }
    struct srv_page page;
    if (read_page(core, conn, waiter, room, &page))
        return true;
    if (page.count == 0 && page.next_sequence < waiter->told + UNTOLD_EVENTS_MAX)
        return false;
    waiter->told = page.next_sequence;
    if (page.count > 0)
        waiter->sent = page.events[page.count - 1]->sequence;
    answer(core, conn, waiter, TG_OK, TG_FIELD_NONE, &page);
    return false;
}

static bool serve(struct srv_core *core, struct net_conn *conn, struct srv_waiter *waiter)
{
    if (!srv_admit_waiter(core, waiter->principal, TG_ROLE_CONSUME)) {
        srv_admit_refuse_waiter(core, conn, waiter->correlation_id);
        return true;
    }
    if (!group_stands(core, waiter)) {
        answer(core, conn, waiter, TG_UNKNOWN_GROUP, TG_FIELD_NONE, NULL);
        return true;
    }
    return waiter->is_subscription ? serve_subscription(core, conn, waiter)
                                   : serve_poll(core, conn, waiter);
}

/* --- those who are parked --- */

static void remove_at(struct srv_core *core, uint32_t at)
{
    struct srv_events *events = core->events;
    struct net_conn *conn = net_conn_find(core->net, events->waiters[at].conn);
    if (conn)
        --*net_conn_uses(conn, NET_USE_WAITS);
    events->waiters[at] = events->waiters[events->count - 1];
    set_count(events, events->count - 1);
}

/* Looks at one; false when it is done and another stands in its place. */
static bool look_at(struct srv_core *core, uint32_t at)
{
    struct srv_events *events = core->events;
    struct srv_waiter *waiter = &events->waiters[at];
    struct net_conn *conn = net_conn_find(core->net, waiter->conn);
    bool is_poll = !waiter->is_subscription;
    if (conn && !serve(core, conn, waiter)) {
        if (is_poll && waiter->deadline_ns < events->deadline_ns)
            events->deadline_ns = waiter->deadline_ns;
        return true;
    }
    if (conn && is_poll)
        net_conn_end(core->net, conn, 1);
    remove_at(core, at);
    return false;
}

/* Each once, as far as the work of one turn goes. */
static void look_at_all(struct srv_core *core)
{
    struct srv_events *events = core->events;
    uint64_t work_max = events->work + WORK_A_TURN;
    for (uint32_t left = events->count; left > 0; left--) {
        if (events->work >= work_max) {
            events->busy = true;
            return;
        }
        if (events->cursor >= events->count)
            events->cursor = 0;
        if (look_at(core, events->cursor))
            events->cursor++;
    }
}

void srv_events_turn(struct srv_core *core)
{
    struct srv_events *events = core->events;
    if (events->count == 0 ||
        !(srv_events_ready(core) || events->is_backed || core->now_mono_ns >= events->deadline_ns))
        return;
    events->sequence_seen = newest(core);
    events->changes_seen = changes(events);
    events->ended_seen = net_loop_stats(core->net)->ended;
    events->deadline_ns = INT64_MAX;
    events->busy = false;
    events->is_backed = false;
    look_at_all(core);
}

/* Makes room where connections have gone; only when there is none. */
static void purge(struct srv_core *core)
{
    struct srv_events *events = core->events;
    for (uint32_t at = 0; at < events->count;) {
        if (net_conn_find(core->net, events->waiters[at].conn))
            at++;
        else
            remove_at(core, at);
    }
}

void srv_events_cancel(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    struct srv_events *events = core->events;
    net_conn_ref name = net_conn_name(conn);
    for (uint32_t at = 0; at < events->count; at++) {
        const struct srv_waiter *waiter = &events->waiters[at];
        if (waiter->conn != name || waiter->correlation_id != correlation_id)
            continue;
        bool is_poll = !waiter->is_subscription;
        remove_at(core, at);
        if (is_poll)
            net_conn_end(core->net, conn, 1);
        return;
    }
}

static void park(struct srv_core *core, struct net_conn *conn, const struct srv_waiter *waiter)
{
    struct srv_events *events = core->events;
    uint32_t *uses = net_conn_uses(conn, NET_USE_WAITS);
    if (events->count == SRV_WAITERS_MAX)
        purge(core);
    if (events->count == SRV_WAITERS_MAX || *uses >= SRV_CONN_WAITERS_MAX) {
        answer(core, conn, waiter, TG_BUSY, TG_FIELD_NONE, NULL);
        return;
    }
    ++*uses;
    events->waiters[events->count] = *waiter;
    set_count(events, events->count + 1);
    if (waiter->is_subscription)
        return;
    net_conn_begin(conn, 1);
    if (waiter->deadline_ns < events->deadline_ns)
        events->deadline_ns = waiter->deadline_ns;
}

/* --- requests --- */

/* The set of types that is asked for; false when one of them is not known. */
static bool read_types(const Tidegate__V1__EventType *types, size_t count, uint64_t *set)
{
    _Static_assert(TG_EVENT_TYPE_COUNT <= 64, "a set of types fits a word");
    *set = count == 0 ? SRV_EVENT_TYPES_ALL : 0;
    for (size_t i = 0; i < count; i++) {
        if ((int)types[i] <= 0 || (int)types[i] >= TG_EVENT_TYPE_COUNT)
            return false;
        *set |= 1ull << types[i];
    }
    return true;
}

/* Finds the group that the waiter reads for. */
static enum tg_verdict find_group(const struct srv_core *core, struct tg_bytes name,
                                  struct srv_waiter *waiter)
{
    const struct eng_groups *groups = core->shard->engine->groups;
    waiter->place = (int16_t)eng_groups_find(groups, name.data, name.size);
    if (waiter->place < 0)
        return TG_UNKNOWN_GROUP;
    waiter->group_state = group_state(core, waiter->place);
    if (waiter->after == 0)
        waiter->after = group_offset(core, waiter);
    return TG_OK;
}

static enum tg_field read_consume(const struct srv_core *core,
                                  const Tidegate__V1__ConsumeEventsRequest *request,
                                  struct srv_waiter *waiter)
{
    struct tg_bytes name = srv_message_text(request->group);
    if (name.size > 0 && !eng_group_name_is_valid(name.data, name.size))
        return TG_FIELD_EVENT_GROUP;
    if (request->max > TG_EVENTS_PAGE_MAX)
        return TG_FIELD_EVENT_MAX;
    if (request->wait_ms > TG_EVENTS_WAIT_MS_MAX)
        return TG_FIELD_EVENT_WAIT;
    if (!read_types(request->types, request->n_types, &waiter->types))
        return TG_FIELD_EVENT_TYPES;
    waiter->after = request->after_sequence;
    waiter->max = request->max == 0 ? TG_EVENTS_PAGE_DEFAULT : request->max;
    waiter->deadline_ns = core->now_mono_ns + request->wait_ms * TG_NS_PER_MS;
    waiter->without_orders = request->without_orders;
    return TG_FIELD_NONE;
}

static void consume(struct srv_core *core, struct net_conn *conn, struct srv_waiter *waiter,
                    const Tidegate__V1__ConsumeEventsRequest *request)
{
    enum tg_field field = read_consume(core, request, waiter);
    struct tg_bytes name = srv_message_text(request->group);
    if (field != TG_FIELD_NONE)
        answer(core, conn, waiter, TG_INVALID_ARGUMENT, field, NULL);
    else if (name.size > 0 && find_group(core, name, waiter) != TG_OK)
        answer(core, conn, waiter, TG_UNKNOWN_GROUP, TG_FIELD_NONE, NULL);
    else if (!serve(core, conn, waiter))
        park(core, conn, waiter);
    net_conn_yield(core->net, conn); /* a page may take a millisecond */
}

static enum tg_field read_subscribe(const Tidegate__V1__SubscribeEventsRequest *request,
                                    struct srv_waiter *waiter)
{
    struct tg_bytes name = srv_message_text(request->group);
    if (!eng_group_name_is_valid(name.data, name.size))
        return TG_FIELD_EVENT_GROUP;
    if (request->max_unacked > TG_UNACKED_MAX)
        return TG_FIELD_EVENT_UNACKED;
    if (!read_types(request->types, request->n_types, &waiter->types))
        return TG_FIELD_EVENT_TYPES;
    waiter->unacked_max = request->max_unacked == 0 ? TG_UNACKED_DEFAULT : request->max_unacked;
    waiter->without_orders = request->without_orders;
    return TG_FIELD_NONE;
}

/* A subscription under the same correlation id ends: the new one goes on from the group's offset.
 */
static void replace_earlier(struct srv_core *core, const struct srv_waiter *waiter)
{
    struct srv_events *events = core->events;
    for (uint32_t at = 0; at < events->count; at++) {
        const struct srv_waiter *other = &events->waiters[at];
        if (other->is_subscription && other->conn == waiter->conn &&
            other->correlation_id == waiter->correlation_id) {
            remove_at(core, at);
            return;
        }
    }
}

static void subscribe(struct srv_core *core, struct net_conn *conn, struct srv_waiter *waiter,
                      const Tidegate__V1__SubscribeEventsRequest *request)
{
    waiter->is_subscription = true;
    enum tg_field field = read_subscribe(request, waiter);
    if (field != TG_FIELD_NONE) {
        answer(core, conn, waiter, TG_INVALID_ARGUMENT, field, NULL);
    } else if (find_group(core, srv_message_text(request->group), waiter) != TG_OK) {
        answer(core, conn, waiter, TG_UNKNOWN_GROUP, TG_FIELD_NONE, NULL);
    } else {
        waiter->told = waiter->after;
        replace_earlier(core, waiter);
        park(core, conn, waiter);
        core->events->busy = true; /* its first page goes with this turn */
    }
}

static void *unpack(struct srv_core *core, struct net_conn *conn,
                    const ProtobufCMessageDescriptor *descriptor,
                    const struct tg_envelope *envelope)
{
    void *message = srv_message_unpack(core, descriptor, envelope->body);
    if (!message)
        srv_message_fail(core, conn, envelope->correlation_id);
    return message;
}

bool srv_events_request(struct srv_core *core, struct net_conn *conn,
                        const struct tg_envelope *envelope)
{
    struct srv_waiter waiter = {
        .conn = net_conn_name(conn),
        .correlation_id = envelope->correlation_id,
        .place = -1,
        .principal = net_conn_principal(conn),
    };
    const void *message;
    switch (envelope->kind) {
    case TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS:
        message = unpack(core, conn, &tidegate__v1__consume_events_request__descriptor, envelope);
        if (message)
            consume(core, conn, &waiter, message);
        return true;
    case TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS:
        message = unpack(core, conn, &tidegate__v1__subscribe_events_request__descriptor, envelope);
        if (message)
            subscribe(core, conn, &waiter, message);
        return true;
    case TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS:
        message = unpack(core, conn, &tidegate__v1__list_groups_request__descriptor, envelope);
        if (message)
            srv_groups_list(core, conn, envelope->correlation_id);
        return true;
    default: /* a number from the wire, or a request of another file */
        return false;
    }
}
