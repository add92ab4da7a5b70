#include "server/core.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/chunk.h"
#include "server/admit.h"
#include "server/cart.h"
#include "server/events.h"
#include "server/item_watch.h"
#include "server/lanes.h"
#include "server/life.h"
#include "server/pages.h"
#include "server/server.h"
#include "server/waits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors that are not connections: files, rings, event counters. */
#define DESCRIPTORS_KEPT 256
/* How long a core sleeps at most when nothing happens; timeouts and sweeps are that coarse. */
#define IDLE_WAIT_NS     (100 * TG_NS_PER_MS)
#define SWEEP_EVERY_NS   (50 * TG_NS_PER_MS)
/* Requests of one other core that are decided in one turn, so that no core starves another. */
#define REQUESTS_A_TURN  1024
/* A request beyond plain orders counts for so many of them. */
#define CONTROL_COST     16

/* --- what the shard loads from: the core's snapshot --- */

static enum eng_load loaded(enum tg_error error, const char *what, uint64_t id,
                            const struct tg_fault *fault)
{
    if (error == TG_ERR_OK)
        return ENG_LOADED;
    if (error == TG_ERR_NOTFOUND)
        return ENG_ABSENT;
    tg_log_error("%s %" PRIu64 " cannot be read: %s", what, id, fault->text);
    return ENG_UNREADABLE;
}

static enum eng_load load_order(void *context, uint64_t order_id, struct tg_order_row *row,
                                struct tg_life *life, bool *has_life)
{
    struct srv_core *core = context;
    struct tg_fault fault;
    enum tg_error error = sto_read_order(core->reader, order_id, row, life, has_life, &fault);
    if (error == TG_ERR_OK && !*has_life)
        eng_life_initial(&core->shard->engine->catalog.items[row->item], row, life);
    return loaded(error, "order", order_id, &fault);
}

static enum eng_load load_team(void *context, uint64_t team_id, struct tg_team *team)
{
    struct srv_core *core = context;
    struct tg_fault fault;
    return loaded(sto_read_team(core->reader, team_id, team, &fault), "team", team_id, &fault);
}

static enum eng_load load_ingested(void *context, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                   uint64_t *order_id)
{
    struct srv_core *core = context;
    struct tg_fault fault;
    *order_id = 0;
    return loaded(sto_read_ingested(core->reader, request_id, order_id, &fault), "ingested order",
                  *order_id, &fault);
}

enum tg_error srv_core_init(struct srv_core *core, struct srv_server *server, uint32_t number,
                            struct tg_fault *fault)
{
    core->server = server;
    core->core = number;
    core->shard = &server->engine.shards[number];
    core->conn_waits = tg_mem_map(srv_waits_bytes(&server->config));
    core->pending = tg_mem_map(TG_JOURNAL_RECORDS * sizeof(*core->pending));
    core->batches = tg_mem_map(SRV_BATCHES_MAX * sizeof(*core->batches));
    core->scratch = tg_mem_map(SRV_SCRATCH_BYTES);
    core->attempts = tg_mem_map(server->config.sales_max * sizeof(*core->attempts));
    void *arena = tg_mem_map(SRV_ARENA_BYTES);
    struct tg_record *records = tg_mem_map(TG_JOURNAL_RECORDS * sizeof(*records));
    if (!core->conn_waits || !core->pending || !core->batches || !core->scratch ||
        !core->attempts || !arena || !records)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for core %u", number);
    tg_arena_init(&core->arena, arena, SRV_ARENA_BYTES);
    tg_journal_init(&core->journal, records);
    core->shard->loader = (struct eng_loader){
        .context = core, .order = load_order, .team = load_team, .ingested = load_ingested};
    enum tg_error error;
    if ((error = tg_waker_init(&core->waker, fault)) != TG_ERR_OK ||
        (error = sto_reader_open(server->storage, &core->reader, fault)) != TG_ERR_OK ||
        (error = srv_lanes_create(core, fault)) != TG_ERR_OK ||
        (error = srv_item_watches_create(core, fault)) != TG_ERR_OK ||
        (error = srv_pages_create(core, fault)) != TG_ERR_OK ||
        (error = srv_admit_create(core, fault)) != TG_ERR_OK)
        return error;
    return srv_events_create(core, fault);
}

/* --- rings --- */

static struct tg_ring *towards(struct tg_ring *rings, const struct srv_core *core, uint32_t to)
{
    return &rings[core->core * core->server->config.threads + to];
}

struct srv_request *srv_core_request_slot(struct srv_core *core, uint32_t to)
{
    return tg_ring_reserve(towards(core->server->requests, core, to));
}

void srv_core_push_request(struct srv_core *core, uint32_t to)
{
    tg_ring_push(towards(core->server->requests, core, to));
    core->notify |= 1ull << to;
}

struct srv_reply *srv_core_reply_slot(struct srv_core *core, uint32_t to)
{
    return tg_ring_reserve(towards(core->server->replies, core, to));
}

void srv_core_push_reply(struct srv_core *core, uint32_t to)
{
    tg_ring_push(towards(core->server->replies, core, to));
    core->notify |= 1ull << to;
}

static struct tg_ring *from(struct tg_ring *rings, const struct srv_core *core, uint32_t sender)
{
    return &rings[sender * core->server->config.threads + core->core];
}

void srv_core_append(struct srv_core *core, const struct srv_address *address,
                     struct srv_control *control)
{
    uint64_t sequence = tg_journal_append(&core->journal);
    core->pending[sequence & (TG_JOURNAL_RECORDS - 1)] =
        (struct srv_pending){.address = *address, .control = control};
    core->appended = true;
}

void srv_core_append_unit(struct srv_core *core, const struct eng_unit *unit,
                          struct srv_control *control)
{
    tg_assert(unit->count > 0 && unit->count <= TG_UNIT_RECORDS_MAX);
    uint64_t sequence = tg_journal_append_unit(&core->journal, unit->count);
    for (uint32_t i = 0; i < unit->count; i++)
        core->pending[(sequence + i) & (TG_JOURNAL_RECORDS - 1)] =
            (struct srv_pending){.address = {.core = (uint16_t)core->core},
                                 .control = i + 1 == unit->count ? control : NULL};
    core->appended = true;
}

/* --- what a turn does --- */

static void begin_turn(struct srv_core *core)
{
    tg_count(&core->stats.turns, 1);
    core->work_left = SRV_WORK_A_TURN;
    core->served = 0;
    if (core->principals)
        srv_admit_begin(core);
}

/* It is too much for what is under way. */
static bool must_wait(const struct srv_core *core, const struct net_conn *conn, uint32_t kind)
{
    return srv_pages_must_wait(core, conn, kind) ||
           (kind == TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS &&
            core->ingested_count >= SRV_INGESTED_MAX);
}

/* Whoever sends an order and then a pause means just that: what is staged goes first. */
static void on_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope)
{
    if (must_wait(core, conn, envelope->kind)) {
        net_conn_put_back(core->net, conn, NET_LINE_PLACE);
        return;
    }
    if (!srv_core_has_work_left(core)) {
        net_conn_put_back(core->net, conn, NET_LINE_WORK);
        return;
    }
    if (core->served != net_conn_name(conn)) {
        core->served = net_conn_name(conn);
        core->served_from = core->work_left;
    }
    srv_core_spend(core, SRV_WORK_OF_REQUEST);
    srv_orders_decide_staged(core);
    srv_control_request(core, conn, envelope);
    if (core->served_from - core->work_left >= SRV_WORK_OF_CONN)
        net_conn_yield(core->net, conn);
}

static void handle(struct srv_core *core, struct net_conn *conn, const struct tg_envelope *envelope)
{
    if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER)
        srv_orders_place(core, conn, envelope);
    else if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS)
        srv_orders_place_batch(core, conn, envelope);
    else
        on_request(core, conn, envelope);
}

static void on_frame(void *context, struct net_conn *conn, struct tg_bytes body)
{
    struct srv_core *core = context;
    struct tg_envelope envelope = {0};
    if (tg_request_decode(body, &envelope) != TG_DECODE_OK) {
        net_conn_fail(core->net, conn, envelope.correlation_id,
                      TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE,
                      "the frame holds no tidegate.v1.Request");
        return;
    }
    if (srv_core_is_late(core, net_conn_deadline_ns(conn))) {
        srv_message_fail_late(core, conn, envelope.correlation_id);
        return;
    }
    bool asks_who = __builtin_expect(core->principals != NULL, 0);
    if (asks_who && !srv_admit_frame(core, conn, &envelope))
        return;
    handle(core, conn, &envelope);
    if (asks_who)
        srv_admit_end(core, conn);
}

/* A call was cancelled, or its deadline came. */
static void on_cancel(void *context, struct net_conn *conn, uint64_t correlation_id)
{
    srv_events_cancel(context, conn, correlation_id);
    srv_item_watch_cancel(context, conn, correlation_id);
}

static void on_frames_end(void *context)
{
    srv_orders_decide_staged(context);
}

/* What another core sent; false when it cannot be taken now. */
static bool take_request(struct srv_core *core, struct srv_request *request)
{
    if (request->hold)
        return srv_cart_take(core, request->hold);
    if (!request->control)
        return srv_orders_forwarded(core, request);
    srv_control_decide(core, request->control);
    return true;
}

static bool take_requests(struct srv_core *core)
{
    bool more = false;
    for (uint32_t sender = 0; sender < core->server->config.threads; sender++) {
        struct tg_ring *ring = from(core->server->requests, core, sender);
        struct srv_request *request = NULL;
        for (uint32_t cost = 0; cost < REQUESTS_A_TURN;) {
            request = tg_ring_front(ring);
            uint32_t its_cost = request && request->control ? CONTROL_COST : 1;
            if (!request || !take_request(core, request))
                break;
            tg_ring_pop(ring);
            net_loop_has_company(core->net);
            cost += its_cost;
        }
        more = more || request;
    }
    return more;
}

static void take_replies(struct srv_core *core)
{
    for (uint32_t sender = 0; sender < core->server->config.threads; sender++) {
        struct tg_ring *ring = from(core->server->replies, core, sender);
        const struct srv_reply *reply;
        while ((reply = tg_ring_front(ring))) {
            if (reply->control)
                srv_control_deliver(core, reply->control);
            else if (reply->hold)
                srv_cart_answered(core, reply->hold);
            else
                srv_orders_deliver(core, &reply->address, &reply->answer);
            tg_ring_pop(ring);
        }
    }
}

/* Settles a completed order, or the fence of a retry, with the engine; the answer follows. */
static struct tg_answer settle_order(struct srv_core *core, const struct tg_record *record)
{
    if (record->kind == TG_RECORD_FENCE) {
        struct tg_answer answer =
            eng_shard_answer(core->shard, record->fence.slot, record->fence.generation);
        answer.replayed = answer.verdict == TG_ACCEPTED;
        return answer;
    }
    tg_assert(record->kind == TG_RECORD_ORDER);
    if (record->outcome != TG_OUTCOME_DURABLE) {
        eng_shard_order_refused(core->shard, record);
        return (struct tg_answer){.verdict = TG_STORAGE_FULL};
    }
    eng_shard_order_durable(core->shard, record);
    return (struct tg_answer){
        .verdict = TG_ACCEPTED,
        .order_id = record->order_id,
        .unit_price_minor = record->order.unit_price_minor,
        .accepted_at_ms = record->at_ms,
    };
}

/* False when the answer has no way back now: the order stays in the journal for the next turn. */
static bool complete_order(struct srv_core *core, const struct srv_address *address,
                           const struct tg_record *record)
{
    uint32_t to = address->core;
    if (to == core->core) {
        struct tg_answer answer = settle_order(core, record);
        srv_orders_deliver(core, address, &answer);
        return true;
    }
    struct srv_reply *reply = srv_core_reply_slot(core, to);
    if (!reply)
        return false;
    *reply = (struct srv_reply){.address = *address, .answer = settle_order(core, record)};
    srv_core_push_reply(core, to);
    return true;
}

/* Settles a completed record and answers who waits for it. False when the answer has no way back
 * now: the record is left for the next turn. */
static bool complete(struct srv_core *core, const struct srv_pending *pending,
                     const struct tg_record *record)
{
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        return complete_order(core, &pending->address, record);
    case TG_RECORD_FENCE: /* a control request goes on by itself, behind it */
        return pending->control || complete_order(core, &pending->address, record);
    case TG_RECORD_CHANGE:
    case TG_RECORD_TEAM:
    case TG_RECORD_SALE_EVENT:
        srv_life_settle_record(core, record, pending->control);
        break;
    case TG_RECORD_ADJUST:
    case TG_RECORD_SALE:
    case TG_RECORD_SALE_STATE:
    case TG_RECORD_GROUP:
        break;
    }
    if (pending->control)
        srv_control_settle(core, pending->control, record);
    return true;
}

/* How far ahead of its completion the memory is asked for that settling an order needs; and its
 * record itself, which names that memory, and which the writer's core has changed last. */
#define COMPLETIONS_AHEAD 8
#define RECORDS_AHEAD     32

static void prefetch_completion(const struct srv_core *core)
{
    const struct tg_record *far = tg_journal_completion_ahead(&core->journal, RECORDS_AHEAD);
    if (far)
        __builtin_prefetch(far);
    const struct tg_record *record = tg_journal_completion_ahead(&core->journal, COMPLETIONS_AHEAD);
    if (record && record->kind == TG_RECORD_ORDER)
        eng_shard_settle_prefetch(core->shard, record);
}

static void take_completions(struct srv_core *core)
{
    /* What is appended meanwhile, such as the next fence of a request that waits on, is for the
     * next turn, or waiting for another core would keep this one from hearing it. */
    uint64_t left = tg_journal_in_flight(&core->journal), sequence;
    struct tg_record *record;
    for (; left > 0 && (record = tg_journal_completion(&core->journal, &sequence)); left--) {
        struct srv_pending pending = core->pending[sequence & (TG_JOURNAL_RECORDS - 1)];
        prefetch_completion(core);
        bool is_fence = record->kind == TG_RECORD_FENCE;
        if (!complete(core, &pending, record))
            return;
        if (is_fence && !pending.control)
            eng_shard_fence_settle(core->shard, record);
        tg_journal_release(&core->journal);
        if (is_fence && pending.control) {
            core->fenced--;
            core->fences_over_count++;
            srv_control_list_put(&core->fences_over, pending.control);
        }
    }
}

/* The order that it is a retry of, if it is one, was remembered for this. */
static void decide_behind_fence(struct srv_core *core)
{
    struct srv_control *control = srv_control_list_take(&core->fences_over);
    uint32_t slot = control->wait.slot, generation = control->wait.generation;
    core->fences_over_count--;
    --*srv_waits_of_conn(core, control);
    srv_control_decide(core, control);
    if (slot != ENG_SLOT_NONE)
        eng_requests_let_go(&core->shard->requests, slot, generation);
}

/* A crowd about one order comes out from behind its fences all at once, and all but one of it has
 * to wait again. A few of each list in a turn, so that nobody else waits for the crowd. */
static void decide_deferred(struct srv_core *core)
{
    for (int i = 0; i < SRV_DEFERRED_A_TURN && core->fences_over.first; i++)
        decide_behind_fence(core);
    for (int i = 0; i < SRV_DEFERRED_A_TURN && core->ingested.first; i++) {
        core->ingested_count--;
        srv_control_decide(core, srv_control_list_take(&core->ingested));
    }
}

static bool has_deferred(const struct srv_core *core)
{
    return core->fences_over.first || core->ingested.first;
}

/* For a lone caller the commit is made here: two wake-ups of threads would take it longer. */
static void commit_here(struct srv_core *core)
{
    if (!core->appended || !net_loop_is_lone(core->net) ||
        !srv_writer_step_here(&core->server->writer))
        return;
    core->appended = false;
    take_completions(core);
}

static void wake_others(struct srv_core *core)
{
    if (core->appended)
        tg_waker_wake(&core->server->writer.waker);
    core->appended = false;
    for (; core->notify != 0; core->notify &= core->notify - 1)
        tg_waker_wake(&core->server->cores[__builtin_ctzll(core->notify)].waker);
}

static void sweep(struct srv_core *core)
{
    if (core->now_mono_ns - core->sweep_ns < SWEEP_EVERY_NS)
        return;
    core->sweep_ns = core->now_mono_ns;
    eng_shard_sweep(core->shard, core->now_ms);
}

static void read_clocks(struct srv_core *core)
{
    int64_t wall_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    if (wall_ms > core->now_ms)
        core->now_ms = wall_ms;
    core->now_mono_ns = tg_clock_mono_ns();
}

/* Something waits for room in a ring; whoever makes room does not wake us. */
static bool must_send(const struct srv_core *core)
{
    return srv_cart_is_busy(core) || srv_control_is_busy(core);
}

/* Something arrived from another thread since the last look, or was left by the last turn. */
static bool has_work(struct srv_core *core)
{
    if (tg_journal_has_completions(&core->journal) || srv_lanes_ready(core) ||
        srv_events_ready(core) || must_send(core) || has_deferred(core) || srv_pages_busy(core))
        return true;
    for (uint32_t sender = 0; sender < core->server->config.threads; sender++)
        if (tg_ring_front(from(core->server->requests, core, sender)) ||
            tg_ring_front(from(core->server->replies, core, sender)))
            return true;
    return false;
}

static void wait(struct srv_core *core, bool busy)
{
    if (busy) {
        net_loop_wait(core->net, 0);
        return;
    }
    tg_waker_doze(&core->waker);
    int64_t longest_ns = srv_item_watches_wait_ns(core, IDLE_WAIT_NS);
    net_loop_wait(core->net, has_work(core) ? 0 : srv_timers_wait_ns(core, longest_ns));
    tg_waker_rise(&core->waker);
}

/* As many as are configured, and as the process may have descriptors for: one that cannot be
 * accepted waits without an answer, one above the limit is told so. */
static uint32_t connections_max(const struct srv_config *config)
{
    struct rlimit limit;
    uint64_t most = config->connections_max;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return (uint32_t)most;
    uint64_t spare = limit.rlim_cur > 2ul * DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT
                                                             : limit.rlim_cur / 2;
    uint64_t share = spare / config->threads > 0 ? spare / config->threads : 1;
    if (share >= most)
        return (uint32_t)most;
    tg_log_warn("%" PRIu64 " connections on one core, not %" PRIu64
                ": the limit of open files is %" PRIu64,
                share, most, (uint64_t)limit.rlim_cur);
    return (uint32_t)share;
}

/* When the server has TLS, it lies below whatever else the endpoint's connections speak. */
static void put_tls_below(struct srv_core *core, struct net_endpoint *endpoint, struct net_tls *tls,
                          const char *protocol)
{
    struct srv_server *server = core->server;
    if (!server->tls)
        return;
    tls->context = server->tls;
    tls->protocol = protocol;
    tls->handshake_timeout_ns = (int64_t)server->config.handshake_timeout_s * TG_NS_PER_S;
    tg_assert(endpoint->layer_count < NET_LAYERS_MAX);
    memmove(endpoint->layers + 1, endpoint->layers,
            endpoint->layer_count * sizeof(endpoint->layers[0]));
    endpoint->layers[0] = (struct net_layer_spec){.kind = &net_tls_kind, .context = tls};
    endpoint->layer_count++;
}

/* The gRPC listener, if there is one. */
static bool add_grpc(struct srv_core *core, const struct net_options *net,
                     struct net_endpoint *endpoints, uint32_t *count, struct tg_fault *fault)
{
    if (core->grpc_fd < 0)
        return true;
    struct net_grpc_options options = {
        .streams_max = (uint32_t)core->server->config.calls_max,
        .request_timeout_ns = net->frame_timeout_ns,
        .write_timeout_ns = net->write_timeout_ns,
        .idle_timeout_ns = net->idle_timeout_ns,
    };
    if (net_grpc_create(&options, &core->grpc, fault) != TG_ERR_OK)
        return false;
    struct net_endpoint *endpoint = &endpoints[(*count)++];
    *endpoint = (struct net_endpoint){.fd = core->grpc_fd};
    endpoint->layers[endpoint->layer_count++] =
        (struct net_layer_spec){.kind = &net_grpc_kind, .context = core->grpc};
    put_tls_below(core, endpoint, &core->grpc_tls, TLS_PROTOCOL_HTTP2);
    return true;
}

static bool build_net(struct srv_core *core)
{
    const struct srv_config *config = &core->server->config;
    struct net_options options = {
        .connections_max = connections_max(config),
        .in_flight_max = (uint32_t)config->in_flight_max,
        .output_bytes_max = (uint32_t)config->output_bytes_max,
        .output_chunks = (uint32_t)(config->output_memory_mib * 1024 * 1024 / NET_CHUNK_BYTES),
        .held_bytes_max = (uint32_t)(config->held_memory_mib * 1024 * 1024 - 1),
        .idle_timeout_ns = (int64_t)config->idle_timeout_s * TG_NS_PER_S,
        .frame_timeout_ns = (int64_t)config->frame_timeout_s * TG_NS_PER_S,
        .write_timeout_ns = (int64_t)config->write_timeout_s * TG_NS_PER_S,
        .census = &core->server->census,
        .per_address_max = &config->connections_per_address,
    };
    struct net_handler handler = {.context = core,
                                  .on_frame = on_frame,
                                  .on_frames_end = on_frames_end,
                                  .on_cancel = on_cancel};
    struct net_endpoint endpoints[NET_ENDPOINTS_MAX];
    uint32_t count = 0;
    struct tg_fault fault;
    endpoints[count++] = (struct net_endpoint){.fd = core->listen_fd};
    put_tls_below(core, &endpoints[0], &core->native_tls, TLS_PROTOCOL_NATIVE);
    if (add_grpc(core, &options, endpoints, &count, &fault) &&
        net_loop_create(&options, endpoints, count, core->waker.event_fd, &handler, &core->net,
                        &fault) == TG_ERR_OK)
        return true;
    tg_log_error("core %u: %s", core->core, fault.text);
    return false;
}

static void publish_grpc_figures(struct srv_core *core)
{
    const struct net_grpc_stats *from = net_grpc_stats(core->grpc);
    struct net_grpc_stats *to = &core->stats.grpc;
    tg_count_set(&to->connections, from->connections);
    tg_count_set(&to->calls, from->calls);
    tg_count_set(&to->cancelled, from->cancelled);
    tg_count_set(&to->refused, from->refused);
    tg_count_set(&to->broken, from->broken);
    for (int code = 0; code < NET_GRPC_CODE_COUNT; code++)
        tg_count_set(&to->ended[code], from->ended[code]);
}

/* For srv_stats_fill on other cores, and the admin thread. */
static void publish_figures(struct srv_core *core)
{
    const struct net_stats *net = net_loop_stats(core->net);
    tg_count_set(&core->stats.connections_accepted, net->accepted);
    tg_count_set(&core->stats.connections_closed, net->closed);
    tg_count_set(&core->stats.frames, net->frames);
    tg_count_set(&core->stats.bad_frames, net->bad_frames);
    tg_count_set(&core->stats.connections_refused, net->refused);
    tg_count_set(&core->stats.connections_timed_out, net->timeouts);
    tg_count_set(&core->stats.connections_overflowed, net->overflows);
    tg_count_set(&core->stats.bytes_received, net->bytes_received);
    tg_count_set(&core->stats.bytes_sent, net->bytes_sent);
    tg_count_set(&core->stats.lane_orders, srv_lanes_waiting(core));
    if (core->grpc)
        publish_grpc_figures(core);
}

/* Nothing of this core's connections is on its way any more. */
static bool drained(const struct srv_core *core)
{
    return net_loop_drained(core->net) && tg_journal_in_flight(&core->journal) == 0 &&
           srv_lanes_waiting(core) == 0 && core->holding == 0 && !must_send(core) &&
           !has_deferred(core);
}

static void log_figures(const struct srv_core *core)
{
    const struct net_stats *net = net_loop_stats(core->net);
    uint64_t answers = 0;
    for (int verdict = 0; verdict < TG_VERDICT_COUNT; verdict++)
        answers += core->stats.verdicts[verdict];
    tg_log_info("core %u: %" PRIu64 " answers to orders, %" PRIu64 " accepted (%" PRIu64
                " of them retries); %" PRIu64 " connections, %" PRIu64 " turned away, %" PRIu64
                " closed for slowness, %" PRIu64 " for want of memory, %" PRIu64
                " for room; %" PRIu64 " frames, %" PRIu64 " bad",
                core->core, answers, core->stats.verdicts[TG_ACCEPTED], core->stats.replayed,
                net->accepted, net->refused, net->timeouts, net->overflows, net->displaced,
                net->frames, net->bad_frames);
}

void *srv_core_run(void *argument)
{
    struct srv_core *core = argument;
    if (!build_net(core))
        _exit(EXIT_FAILURE);
    sem_post(&core->server->threads_ready);
    read_clocks(core);
    bool busy = true; /* the first turn arms the listener */
    for (;;) {
        wait(core, busy);
        read_clocks(core);
        begin_turn(core);
        net_loop_handle(core->net, core->now_mono_ns);
        busy = take_requests(core);
        take_replies(core);
        take_completions(core);
        decide_deferred(core);
        bool draining = atomic_load_explicit(&core->server->draining, memory_order_acquire);
        srv_lanes_turn(core);
        srv_cart_turn(core);
        srv_control_turn(core);
        /* A timer that is due while the core drains is due at the next start as well. */
        busy = (!draining && srv_timers_turn(core)) || busy;
        srv_events_turn(core);
        srv_item_watches_turn(core);
        srv_pages_turn(core);
        if (core->principals)
            srv_admit_turn(core, draining);
        sweep(core);
        commit_here(core);
        wake_others(core);
        if (draining) {
            net_loop_drain(core->net);
            /* Others may still forward to this shard: it runs on until main has seen all drained.
             */
            atomic_store_explicit(&core->drained, drained(core), memory_order_release);
            if (atomic_load_explicit(&core->server->stopping, memory_order_acquire))
                break;
        }
        net_loop_flush(core->net);
        publish_figures(core);
        srv_ahead_tell(core->growth, core->shard);
    }
    log_figures(core);
    net_loop_destroy(core->net);
    if (core->grpc)
        net_grpc_destroy(core->grpc);
    return NULL;
}
