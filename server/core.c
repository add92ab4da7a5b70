#include "server/core.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/chunk.h"
#include "server/control.h"
#include "server/server.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* How long a core sleeps when nothing happens; timeouts and sweeps are that coarse. */
#define IDLE_WAIT_NS    (100 * TG_NS_PER_MS)
#define SWEEP_EVERY_NS  (50 * TG_NS_PER_MS)
/* Requests of one other core that are decided in one turn, so that no core starves another. */
#define REQUESTS_A_TURN 1024

enum tg_error srv_core_init(struct srv_core *core, struct srv_server *server, uint32_t number,
                            struct tg_fault *fault)
{
    core->server = server;
    core->core = number;
    core->shard = &server->engine.shards[number];
    core->pending = tg_mem_map(TG_JOURNAL_RECORDS * sizeof(*core->pending));
    core->batches = tg_mem_map(SRV_BATCHES_MAX * sizeof(*core->batches));
    core->scratch = tg_mem_map(SRV_SCRATCH_BYTES);
    core->rows = tg_mem_map(TG_ORDERS_PAGE_MAX * sizeof(*core->rows));
    void *arena = tg_mem_map(SRV_ARENA_BYTES);
    struct tg_record *records = tg_mem_map(TG_JOURNAL_RECORDS * sizeof(*records));
    if (!core->pending || !core->batches || !core->scratch || !core->rows || !arena || !records)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for core %u", number);
    tg_arena_init(&core->arena, arena, SRV_ARENA_BYTES);
    tg_journal_init(&core->journal, records);
    enum tg_error error = tg_waker_init(&core->waker, fault);
    if (error != TG_ERR_OK)
        return error;
    return sto_reader_open(server->storage, &core->reader, fault);
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

/* --- what a turn does --- */

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
    if (envelope.kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER)
        srv_orders_place(core, conn, &envelope);
    else if (envelope.kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS)
        srv_orders_place_batch(core, conn, &envelope);
    else {
        srv_orders_decide_staged(
            core); /* whoever sends an order and then a pause means just that */
        srv_control_request(core, conn, &envelope);
    }
}

static void on_frames_end(void *context)
{
    srv_orders_decide_staged(context);
}

/* A control request arrived from the core of its connection; false when its answer has no way
 * back now. */
static bool control_forwarded(struct srv_core *core, struct srv_control *control)
{
    struct srv_reply *reply = srv_core_reply_slot(core, control->address.core);
    if (!reply)
        return false;
    if (srv_control_decide(core, control)) {
        *reply = (struct srv_reply){.address = control->address, .control = control};
        srv_core_push_reply(core, control->address.core);
    }
    return true;
}

static bool take_requests(struct srv_core *core)
{
    bool more = false;
    for (uint32_t sender = 0; sender < core->server->config.threads; sender++) {
        struct tg_ring *ring = from(core->server->requests, core, sender);
        struct srv_request *request = NULL;
        for (uint32_t taken = 0; taken < REQUESTS_A_TURN; taken++) {
            request = tg_ring_front(ring);
            if (!request || !(request->control ? control_forwarded(core, request->control)
                                               : srv_orders_forwarded(core, request)))
                break;
            tg_ring_pop(ring);
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
            else
                srv_orders_deliver(core, &reply->address, &reply->answer);
            tg_ring_pop(ring);
        }
    }
}

/* Settles one completed order record with the engine; the answer follows from it. */
static struct tg_answer settle(struct srv_core *core, const struct tg_record *record)
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

static void take_completions(struct srv_core *core)
{
    uint64_t sequence;
    struct tg_record *record;
    while ((record = tg_journal_completion(&core->journal, &sequence))) {
        const struct srv_pending *pending = &core->pending[sequence & (TG_JOURNAL_RECORDS - 1)];
        uint32_t to = pending->address.core;
        struct srv_reply *reply = NULL;
        if (to != core->core && !(reply = srv_core_reply_slot(core, to)))
            return; /* no way back now: the rest stays in the journal for the next turn */

        struct tg_answer answer = {0};
        if (pending->control)
            srv_control_settle(core, pending->control, record);
        else
            answer = settle(core, record);

        if (reply) {
            *reply = (struct srv_reply){
                .address = pending->address, .control = pending->control, .answer = answer};
            srv_core_push_reply(core, to);
        } else if (pending->control) {
            srv_control_deliver(core, pending->control);
        } else {
            srv_orders_deliver(core, &pending->address, &answer);
        }
        tg_journal_release(&core->journal);
    }
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

/* Something arrived from another thread since the last look. */
static bool has_work(struct srv_core *core)
{
    if (tg_journal_has_completions(&core->journal))
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
    net_loop_wait(core->net, has_work(core) ? 0 : IDLE_WAIT_NS);
    tg_waker_rise(&core->waker);
}

static bool build_net(struct srv_core *core)
{
    const struct srv_config *config = &core->server->config;
    struct net_options options = {
        .connections_max = (uint32_t)config->connections_max,
        .in_flight_max = (uint32_t)config->in_flight_max,
        .output_bytes_max = (uint32_t)config->output_bytes_max,
        .output_chunks = (uint32_t)(config->output_memory_mib * 1024 * 1024 / NET_CHUNK_BYTES),
        .held_bytes_max = (uint32_t)(config->held_memory_mib * 1024 * 1024 - 1),
        .idle_timeout_ns = (int64_t)config->idle_timeout_s * TG_NS_PER_S,
        .frame_timeout_ns = (int64_t)config->frame_timeout_s * TG_NS_PER_S,
        .write_timeout_ns = (int64_t)config->write_timeout_s * TG_NS_PER_S,
    };
    struct net_handler handler = {
        .context = core, .on_frame = on_frame, .on_frames_end = on_frames_end};
    struct tg_fault fault;
    if (net_loop_create(&options, core->listen_fd, core->waker.event_fd, &handler, &core->net,
                        &fault) == TG_ERR_OK)
        return true;
    tg_log_error("core %u: %s", core->core, fault.text);
    return false;
}

/* Nothing of this core's connections is on its way any more. */
static bool drained(const struct srv_core *core)
{
    return net_loop_drained(core->net) && tg_journal_in_flight(&core->journal) == 0;
}

static void log_figures(const struct srv_core *core)
{
    const struct net_stats *net = net_loop_stats(core->net);
    uint64_t answers = 0;
    for (int verdict = 0; verdict < TG_VERDICT_COUNT; verdict++)
        answers += core->stats.verdicts[verdict];
    tg_log_info(
        "core %u: %" PRIu64 " answers to orders, %" PRIu64 " accepted (%" PRIu64
        " of them retries); %" PRIu64 " connections, %" PRIu64 " turned away, %" PRIu64
        " closed for slowness, %" PRIu64 " for want of memory; %" PRIu64 " frames, %" PRIu64 " bad",
        core->core, answers, core->stats.verdicts[TG_ACCEPTED], core->stats.replayed, net->accepted,
        net->refused, net->timeouts, net->overflows, net->frames, net->bad_frames);
}

void *srv_core_run(void *argument)
{
    struct srv_core *core = argument;
    if (!build_net(core))
        _exit(EXIT_FAILURE);
    read_clocks(core);
    bool busy = true; /* the first turn arms the listener */
    for (;;) {
        wait(core, busy);
        read_clocks(core);
        net_loop_handle(core->net, core->now_mono_ns);
        busy = take_requests(core);
        take_replies(core);
        take_completions(core);
        sweep(core);
        wake_others(core);
        if (atomic_load_explicit(&core->server->draining, memory_order_acquire)) {
            net_loop_drain(core->net);
            /* Others may still forward to this shard: it runs on until main has seen all drained.
             */
            atomic_store_explicit(&core->drained, drained(core), memory_order_release);
            if (atomic_load_explicit(&core->server->stopping, memory_order_acquire))
                break;
        }
        net_loop_flush(core->net);
    }
    log_figures(core);
    net_loop_destroy(core->net);
    return NULL;
}
