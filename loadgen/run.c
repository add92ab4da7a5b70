#include "loadgen/run.h"

#include "base/clock.h"
#include "base/count.h"
#include "loadgen/audit_log.h"
#include "loadgen/auditor.h"
#include "loadgen/control.h"
#include "loadgen/live.h"
#include "loadgen/progress.h"
#include "loadgen/target.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WATCH_NS         (50 * TG_NS_PER_MS) /* the audit log is at most this far behind */
#define PREFILL_STALL_NS (20 * TG_NS_PER_S)  /* without an accepted order: there will be none */

struct run {
    const struct lg_options *options;
    struct lg_gate *gate;
    struct lg_result *result;
    struct lg_plan plan;
    struct lg_wire wire;
    struct lg_shared shared;
    struct lg_worker *workers; /* owned, options->threads */
    uint32_t started;          /* of them */
    bool connected;            /* workers stand between `ready` and `go` */
    struct lg_log log;
    uint64_t logged[LG_THREADS_MAX]; /* accepted answers in the log, of each worker */
    struct lg_progress progress;
    struct lg_tally *tally; /* owned */
    int64_t sample_ns;      /* when the next one is taken, from the start */
    int64_t moved_ns;       /* prefill: when the last accepted order was seen */
    uint64_t moved_count;
};

/* --- before ------------------------------------------------------------------------------------
 */

uint64_t lg_run_nonce(void)
{
    uint64_t state = (uint64_t)tg_clock_wall_ns() ^ (uint64_t)getpid() << 48;
    return tg_splitmix64(&state);
}

static void settings_of(const struct lg_options *o, struct lg_plan_settings *settings)
{
    memset(settings, 0, sizeof(*settings));
    settings->seed = o->seed;
    settings->nonce = lg_run_nonce();
    settings->sale_id = o->sale_id;
    settings->users = o->users;
    settings->greedy_users = o->greedy_users;
    settings->greedy_share = (uint64_t)llround(o->greedy_share * (double)LG_SHARE_ONE);
    settings->retry_share = (uint64_t)llround(o->retry_share * (double)LG_SHARE_ONE);
    settings->item_count = o->skus;
    settings->quantity_min = o->quantity_min;
    settings->quantity_max = o->quantity_max;
    settings->own_sale = o->sale_id == 0;
    settings->zipf_exponent = o->zipf_exponent;
    strncpy(settings->scenario, o->scenario, sizeof(settings->scenario) - 1);
}

static enum tg_error make_sale(struct run *run, struct lg_plan_settings *settings,
                               struct lg_item **items, struct tg_fault *fault)
{
    const struct lg_options *o = run->options;
    struct lg_sale_rules rules = {.payment_window_s = o->is_prefill ? TG_PAYMENT_WINDOW_S_MAX : 0};
    if (!settings->own_sale)
        return lg_control_load_sale(o->server, o->sale_id, items, &settings->item_count, fault);
    if (o->opens_ns)
        rules.starts_at_ms =
            (lg_gate_start_ns(run->gate) + run->gate->clock_offset_ns + o->opens_ns) / TG_NS_PER_MS;
    *items = lg_plan_items(o->skus, o->stock, o->limit);
    if (!*items)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", o->skus);
    return lg_control_create_sale_of(o->server, settings, *items, &rules, fault);
}

/* The sale, new or found, and the plan of orders in it. */
static enum tg_error prepare_plan(struct run *run, struct tg_fault *fault)
{
    struct lg_plan_settings settings;
    struct lg_item *items = NULL;
    settings_of(run->options, &settings);
    enum tg_error error = make_sale(run, &settings, &items, fault);
    if (error) {
        free(items);
        return error;
    }
    run->result->settings = settings;
    if (!lg_plan_init(&run->plan, &settings, items) || !lg_wire_init(&run->wire, &run->plan))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", settings.item_count);
    if (!run->options->audit_log)
        return TG_ERR_OK;
    return lg_log_create(&run->log, run->options->audit_log, &run->plan.settings,
                         tg_clock_wall_ns() / TG_NS_PER_MS, fault);
}

void lg_run_raise_file_limit(uint32_t connections)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= connections + 64ull)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void prepare_shared(struct run *run)
{
    const struct lg_options *o = run->options;
    struct lg_shared *s = &run->shared;
    uint32_t order_room = o->batch * LG_ORDER_ROOM + 64;
    s->plan = &run->plan;
    s->wire = &run->wire;
    s->server = o->server;
    s->threads = o->threads;
    s->profile = &o->profile;
    s->attempts_max = o->attempts;
    s->reconnect_ns = o->reconnect_ns;
    s->count_only = o->is_prefill;
    s->shape = (struct lg_conn_shape){
        .frames = o->pipeline,
        .batch = o->batch,
        .in_room = 64 * 1024 + (o->batch > 1 ? o->batch * 192 : 0),
        .out_room = (order_room > 64 * 1024 ? order_room : 64 * 1024) + LG_GREETING_BYTES,
    };
    s->shape.tls = lg_target_tls();
    if (s->shape.tls)
        lg_target_tls_name(o->server, s->shape.tls_name);
    pthread_barrier_init(&s->ready, NULL, o->threads + 1);
    pthread_barrier_init(&s->go, NULL, o->threads + 1);
}

/* --- while it runs -----------------------------------------------------------------------------
 */

static uint64_t attempts_begun(const struct run *run)
{
    uint64_t begun = 0;
    for (uint32_t i = 0; i < run->options->threads; i++)
        begun += atomic_load_explicit(&run->workers[i].published.offered, memory_order_relaxed);
    return begun;
}

/* Workers hand over by their counts, so the sender never waits for this file. */
static void write_log(struct run *run, bool end)
{
    struct tg_fault fault;
    enum tg_error error = TG_ERR_OK;
    uint64_t before = 0, after = 0;
    if (run->log.fd < 0)
        return;
    for (uint32_t i = 0; !error && i < run->options->threads; i++) {
        before += run->logged[i];
        error = lg_log_append(&run->log, &run->workers[i].accepted, &run->logged[i], &fault);
        after += run->logged[i];
    }
    if (!error && (end || after != before))
        error = lg_log_mark(&run->log, attempts_begun(run), end, &fault);
    if (error && !run->result->fault.error) {
        run->result->fault = fault;
        atomic_store_explicit(&run->shared.stop, true, memory_order_relaxed);
    }
}

/* Everything that all workers have counted so far. */
static void take_tally(const struct run *run, struct lg_tally *tally)
{
    memset(tally, 0, sizeof(*tally));
    for (uint32_t i = 0; i < run->options->threads; i++) {
        const struct lg_worker *w = &run->workers[i];
        tally->offered += tg_count_read(&w->stats.offered);
        tally->responses += tg_count_read(&w->stats.answers);
        for (uint32_t v = 0; v < TG_VERDICT_COUNT; v++)
            tally->verdicts[v] += tg_count_read(&w->stats.verdicts[v]);
        tally->in_flight += atomic_load_explicit(&w->published.in_flight, memory_order_relaxed);
        tally->backlog += atomic_load_explicit(&w->published.backlog, memory_order_relaxed);
        tg_histogram_merge(&tally->latency, &w->latency);
        tg_histogram_merge(&tally->latency, &w->latency_aside);
    }
    tally->accepted = tally->verdicts[TG_ACCEPTED];
}

static void take_sample(struct run *run, bool last)
{
    struct lg_samples *samples = &run->result->samples;
    int64_t since_ns = tg_clock_mono_ns() - run->shared.start_ns;
    if (!last && since_ns < run->sample_ns)
        return;
    take_tally(run, run->tally);
    if (last)
        lg_samples_end(samples, run->tally, since_ns);
    else
        lg_samples_add(samples, run->tally, since_ns);
    run->sample_ns = lg_samples_next_ns(samples, since_ns);
}

static void stop_workers(struct run *run)
{
    atomic_store_explicit(&run->shared.stop, true, memory_order_relaxed);
}

/* A server that is full answers BUSY for ever: then a prefill ends. */
static void watch_prefill(struct run *run)
{
    uint64_t accepted = 0;
    int64_t now_ns = tg_clock_mono_ns();
    for (uint32_t i = 0; i < run->options->threads; i++)
        accepted += tg_count_read(&run->workers[i].stats.verdicts[TG_ACCEPTED]);
    if (accepted != run->moved_count || run->moved_ns == 0)
        run->moved_ns = now_ns;
    run->moved_count = accepted;
    if (now_ns - run->moved_ns > PREFILL_STALL_NS)
        stop_workers(run);
}

static void watch_turn(struct run *run)
{
    if (lg_interrupted())
        run->result->interrupted = true;
    if (atomic_load_explicit(&run->shared.failed, memory_order_relaxed))
        lg_gate_stop_all(run->gate);
    if (run->result->interrupted || lg_gate_stopped(run->gate))
        stop_workers(run);
    if (run->options->is_prefill)
        watch_prefill(run);
    write_log(run, false);
    take_sample(run, false);
    if (lg_live_is_due(run->options)) {
        take_tally(run, run->tally);
        lg_live_post(run->options, run->tally);
    }
    if (run->options->progress)
        lg_progress_tick(&run->progress, run->workers, run->options->threads);
}

/* When the watcher looks again, on the clock of pthread_timedjoin_np: when a sample is due, at the
 * latest. */
static struct timespec next_look(const struct run *run)
{
    int64_t wait_ns = run->shared.start_ns + run->sample_ns - tg_clock_mono_ns();
    wait_ns = wait_ns < 0 ? 0 : wait_ns < WATCH_NS ? wait_ns : WATCH_NS;
    int64_t until_ns = tg_clock_wall_ns() + wait_ns;
    return (struct timespec){.tv_sec = until_ns / TG_NS_PER_S, .tv_nsec = until_ns % TG_NS_PER_S};
}

static void watch(struct run *run)
{
    run->sample_ns = run->result->samples.interval_ns;
    for (uint32_t i = 0; i < run->options->threads;) {
        struct timespec until = next_look(run);
        if (pthread_timedjoin_np(run->workers[i].thread, NULL, &until) == 0)
            i++;
        watch_turn(run);
    }
    run->result->settle_ns = tg_clock_mono_ns();
    take_sample(run, true);
}

static enum tg_error start_workers(struct run *run, struct tg_fault *fault)
{
    const struct lg_options *o = run->options;
    uint32_t share = o->connections / o->threads, rest = o->connections % o->threads;
    for (; run->started < o->threads; run->started++) {
        uint32_t i = run->started;
        enum tg_error error =
            lg_worker_start(&run->workers[i], &run->shared, i, share + (i < rest), fault);
        if (error)
            return error;
    }
    pthread_barrier_wait(&run->shared.ready);
    run->connected = true;
    if (atomic_load_explicit(&run->shared.failed, memory_order_relaxed))
        for (uint32_t i = 0; i < o->threads; i++)
            if (run->workers[i].fault.error)
                return *fault = run->workers[i].fault, fault->error;
    return TG_ERR_OK;
}

/* Lets workers that stand before `go` end without load. */
static void abandon_workers(struct run *run)
{
    if (!run->connected)
        return;
    stop_workers(run);
    atomic_store_explicit(&run->shared.failed, true, memory_order_relaxed);
    pthread_barrier_wait(&run->shared.go);
    for (uint32_t i = 0; i < run->started; i++)
        lg_worker_join(&run->workers[i]);
}

void lg_run_sleep_until(int64_t until_ns)
{
    for (int64_t now_ns; (now_ns = tg_clock_mono_ns()) < until_ns && !lg_interrupted();) {
        int64_t wait_ns = until_ns - now_ns < WATCH_NS ? until_ns - now_ns : WATCH_NS;
        struct timespec wait = {.tv_nsec = wait_ns};
        nanosleep(&wait, NULL);
    }
}

static enum tg_error too_late(int64_t late_ns, struct tg_fault *fault)
{
    return tg_fault_set(fault, TG_ERR_TIMEOUT,
                        "the sales were made %.3f s too late for load to start when they say: the "
                        "server or this machine is too busy; try again",
                        (double)late_ns / 1e9);
}

/* The three meetings, and what lies between them. False when there will be no load: the fault says
 * why, unless it is another part's. */
static bool come_to_start(struct run *run, struct tg_fault *fault)
{
    struct lg_gate *gate = run->gate;
    if (!lg_run_prefill(run->options, run->result) || !lg_gate_meet(gate) ||
        start_workers(run, fault) || !lg_gate_meet(gate) || prepare_plan(run, fault) ||
        !lg_gate_meet(gate))
        return false;
    run->shared.start_ns = lg_gate_start_ns(gate);
    int64_t late_ns = tg_clock_mono_ns() - run->shared.start_ns;
    if (late_ns > 0 && run->options->opens_ns)
        return too_late(late_ns, fault), false;
    /* Nobody waits for the others' late starts: then it starts now. */
    if (late_ns > 0)
        run->shared.start_ns += late_ns;
    lg_run_sleep_until(run->shared.start_ns);
    return true;
}

static bool make_load(struct run *run)
{
    struct lg_result *r = run->result;
    if (!come_to_start(run, &r->fault)) {
        lg_gate_fail(run->gate);
        abandon_workers(run);
        return false;
    }
    r->start_ns = run->shared.start_ns;
    r->started_at_ms =
        (tg_clock_wall_ns() - tg_clock_mono_ns() + run->shared.start_ns) / TG_NS_PER_MS;
    lg_progress_init(&run->progress, run->shared.start_ns, run->options->part);
    pthread_barrier_wait(&run->shared.go);
    watch(run);
    return true;
}

/* --- afterwards --------------------------------------------------------------------------------
 */

static void add_stats(struct lg_stats *into, const struct lg_stats *from, int sign)
{
    const uint64_t *source = (const uint64_t *)from;
    uint64_t *target = (uint64_t *)into;
    for (size_t i = 0; i < offsetof(struct lg_stats, at_ns) / sizeof(uint64_t); i++)
        target[i] += sign > 0 ? source[i] : 0 - source[i];
}

_Static_assert(offsetof(struct lg_stats, at_ns) + sizeof(int64_t) == sizeof(struct lg_stats),
               "lg_stats is counters and then the time");

static void gather_worker(struct lg_result *r, const struct lg_worker *w)
{
    add_stats(&r->total, &w->stats, 1);
    add_stats(&r->window, &w->at_end, 1);
    add_stats(&r->window, &w->at_start, -1);
    tg_histogram_merge(&r->latency, &w->latency);
    tg_histogram_merge(&r->latency_accepted, &w->latency_accepted_ns);
    tg_histogram_merge(&r->slip, &w->slip);
    r->unknown_outcomes += lg_worker_open_orders(w);
    r->backlog_max += w->backlog_max;
    r->backlog_end += w->backlog_end;
    r->cpu_ns += w->cpu_ns;
    if (!r->complaint[0])
        memcpy(r->complaint, w->complaint, sizeof(r->complaint));
    if (w->fault.error && !r->fault.error)
        r->fault = w->fault;
}

static void gather(struct run *run)
{
    struct lg_result *r = run->result;
    int64_t begin_ns = INT64_MAX, end_ns = 0, accept_ns = 0, run_ns = r->settle_ns - r->start_ns;
    for (uint32_t i = 0; i < run->options->threads; i++) {
        const struct lg_worker *w = &run->workers[i];
        gather_worker(r, w);
        begin_ns = w->at_start.at_ns < begin_ns ? w->at_start.at_ns : begin_ns;
        end_ns = w->at_end.at_ns > end_ns ? w->at_end.at_ns : end_ns;
        accept_ns = w->accept_last_ns > accept_ns ? w->accept_last_ns : accept_ns;
        double share = run_ns > 0 ? (double)w->cpu_ns / (double)run_ns : 0;
        r->busiest_share = share > r->busiest_share ? share : r->busiest_share;
    }
    r->ran = end_ns > begin_ns;
    r->begin_ns = begin_ns;
    r->end_ns = end_ns;
    r->elapsed_s = r->ran ? (double)(end_ns - begin_ns) / 1e9 : 0;
    r->run_s = (double)run_ns / 1e9;
    if (accept_ns && (r->total.verdicts[TG_SOLD_OUT] || r->total.verdicts[TG_INSUFFICIENT_STOCK]))
        r->sell_through_s = (double)(accept_ns - r->start_ns - run->options->opens_ns) / 1e9;
}

static enum tg_error audit(struct lg_result *r, const struct lg_plan *plan,
                           const struct lg_auditor *auditor, struct lg_accept *accepts,
                           uint64_t count, bool complete, struct tg_fault *fault)
{
    struct lg_audit a;
    int64_t begin_ns = tg_clock_mono_ns();
    if (!lg_audit_init(&a, plan, complete)) {
        free(accepts);
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit");
    }
    enum tg_error error = TG_ERR_OK;
    if (r->options->is_prefill)
        lg_audit_count(&a, r->total.verdicts[TG_ACCEPTED]);
    else if (!lg_audit_accepts(&a, accepts, count))
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory to sort %llu answers",
                             (unsigned long long)count);
    if (!error)
        error = r->options->is_prefill ? lg_auditor_run_books(auditor, &a, fault)
                                       : lg_auditor_run(auditor, &a, fault);
    r->findings = a.findings;
    r->audited = !error;
    r->audit_s = (double)(tg_clock_mono_ns() - begin_ns) / 1e9;
    lg_audit_fini(&a);
    return error;
}

static void audit_run(struct run *run)
{
    struct lg_result *r = run->result;
    struct lg_accepted *lists[LG_THREADS_MAX];
    struct tg_fault fault = {TG_ERR_OK, ""};
    uint64_t count;
    for (uint32_t i = 0; i < run->options->threads; i++)
        lists[i] = &run->workers[i].accepted;
    struct lg_accept *accepts = lg_accepted_flatten(lists, run->options->threads, &count);
    if (count && !accepts) {
        tg_fault_set(&r->fault, TG_ERR_NOMEM, "no memory to audit %llu answers",
                     (unsigned long long)count);
        return;
    }
    struct lg_auditor auditor = {
        .server = run->options->server,
        .address = (const struct sockaddr *)&run->shared.address,
        .address_bytes = run->shared.address_bytes,
        .patience_ns = run->options->reconnect_ns,
    };
    bool complete = !r->unknown_outcomes && !r->fault.error;
    if (audit(r, &run->plan, &auditor, accepts, count, complete, &fault) && !r->fault.error)
        r->fault = fault;
}

static void release(struct run *run)
{
    for (uint32_t i = 0; run->workers && i < run->options->threads; i++)
        if (run->workers[i].shared)
            lg_worker_fini(&run->workers[i]);
    free(run->workers);
    free(run->tally);
    lg_wire_fini(&run->wire);
    lg_plan_fini(&run->plan);
    lg_log_close(&run->log);
    free(run);
}

static enum tg_error prepare(struct run *run, int64_t load_ns, struct tg_fault *fault)
{
    const struct lg_options *o = run->options;
    enum tg_error error =
        lg_control_resolve(o->server, &run->shared.address, &run->shared.address_bytes, fault);
    if (error)
        return error;
    lg_run_raise_file_limit(o->connections);
    prepare_shared(run);
    run->workers = calloc(o->threads, sizeof(*run->workers));
    run->tally = calloc(1, sizeof(*run->tally));
    if (!run->workers || !run->tally || !lg_samples_init(&run->result->samples, load_ns))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u threads", o->threads);
    return TG_ERR_OK;
}

/* A server that went away leaves nobody to ask. */
static bool server_is_gone(const struct lg_result *r)
{
    return r->fault.error == TG_ERR_CLOSED || r->fault.error == TG_ERR_TIMEOUT ||
           r->fault.error == TG_ERR_UNSUPPORTED;
}

enum lg_status lg_run(const struct lg_options *options, struct lg_gate *gate, int64_t load_ns,
                      struct lg_result *result)
{
    struct run *run = calloc(1, sizeof(*run));
    result->options = options;
    if (!run) {
        tg_fault_set(&result->fault, TG_ERR_NOMEM, "no memory for a run");
        lg_gate_fail(gate);
        return lg_result_judge(result);
    }
    run->options = options;
    run->gate = gate;
    run->result = result;
    run->log.fd = -1;
    if (prepare(run, load_ns, &result->fault)) {
        lg_gate_fail(gate);
    } else if (make_load(run)) {
        gather(run);
        write_log(run, !result->unknown_outcomes && !result->fault.error);
        if (result->ran && !server_is_gone(result))
            audit_run(run);
    }
    /* Workers that started while another did not wait at a barrier that will never fill; what they
     * use must stay, until the process ends with this error. */
    if (run->started == 0 || run->connected)
        release(run);
    return lg_result_judge(result);
}

/* --- audit of a log ----------------------------------------------------------------------------
 */

static enum tg_error plan_of_log(const struct lg_options *o, const struct lg_log_content *content,
                                 struct lg_plan *plan, struct tg_fault *fault)
{
    struct lg_item *items;
    uint32_t count;
    enum tg_error error =
        lg_control_load_sale(o->server, content->settings.sale_id, &items, &count, fault);
    if (error)
        return error;
    if (count != content->settings.item_count) {
        free(items);
        return tg_fault_set(fault, TG_ERR_CORRUPT, "the sale has %u items, the log says %u", count,
                            content->settings.item_count);
    }
    if (!lg_plan_init(plan, &content->settings, items))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", count);
    return TG_ERR_OK;
}

enum lg_status lg_run_audit(const struct lg_options *options, struct lg_result *result)
{
    struct lg_log_content content;
    struct lg_plan plan;
    struct sockaddr_storage address;
    socklen_t address_bytes;
    result->options = options;
    if (lg_log_read(options->audit, &content, &result->fault) != TG_ERR_OK)
        return LG_FAILED;
    result->settings = content.settings;
    if (lg_control_resolve(options->server, &address, &address_bytes, &result->fault) ||
        plan_of_log(options, &content, &plan, &result->fault)) {
        free(content.accepts);
        return LG_FAILED;
    }
    struct lg_auditor auditor = {
        .server = options->server,
        .address = (const struct sockaddr *)&address,
        .address_bytes = address_bytes,
        .patience_ns = options->reconnect_ns,
    };
    result->total.offered = content.attempts_begun;
    audit(result, &plan, &auditor, content.accepts, content.accept_count, content.complete,
          &result->fault);
    lg_plan_fini(&plan);
    return lg_result_judge(result);
}
