#include "loadgen/run.h"

#include "base/clock.h"
#include "loadgen/audit_log.h"
#include "loadgen/auditor.h"
#include "loadgen/control.h"
#include "loadgen/progress.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WATCH_NS (50 * TG_NS_PER_MS) /* the audit log is at most this far behind */

struct run {
    const struct lg_options *options;
    struct lg_result *result;
    struct lg_plan plan;
    struct lg_wire wire;
    struct lg_shared shared;
    struct lg_worker *workers; /* owned, options->threads */
    struct lg_log log;
    uint64_t logged[LG_THREADS_MAX]; /* accepted answers in the log, of each worker */
    struct lg_progress progress;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void lg_run_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool lg_run_interrupted(void)
{
    return interrupted;
}

/* Nothing that was seen breaks a promise. */
static bool promises_held(const struct lg_result *r)
{
    bool audit =
        r->is_tale ? lg_world_ok(&r->world) && lg_feed_ok(&r->feed) : lg_findings_ok(&r->findings);
    return audit && !r->total.retries_wrong && !r->total.wrong_answers;
}

bool lg_result_ok(const struct lg_result *result)
{
    return result->audited && promises_held(result) && !result->unknown_outcomes;
}

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

/* The sale, new or found, and the plan of orders in it. */
static enum tg_error prepare_plan(struct run *run, struct tg_fault *fault)
{
    const struct lg_options *o = run->options;
    struct lg_plan_settings settings;
    struct lg_item *items = NULL;
    enum tg_error error = TG_ERR_OK;
    settings_of(o, &settings);
    if (settings.own_sale) {
        items = lg_plan_items(o->skus, o->stock, o->limit);
        if (!items)
            error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", o->skus);
        else
            error = lg_control_create_sale(o->server, &settings, items, fault);
    } else {
        error = lg_control_load_sale(o->server, o->sale_id, &items, &settings.item_count, fault);
    }
    if (error) {
        free(items);
        return error;
    }
    run->result->settings = settings;
    if (!lg_plan_init(&run->plan, &settings, items) || !lg_wire_init(&run->wire, &run->plan))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", settings.item_count);
    return TG_ERR_OK;
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
    s->rate_per_s = o->rate_per_s;
    s->attempts_max = o->attempts;
    s->duration_ns = o->duration_ns;
    s->warmup_ns = o->warmup_ns;
    s->reconnect_ns = o->reconnect_ns;
    s->shape = (struct lg_conn_shape){
        .frames = o->pipeline,
        .batch = o->batch,
        .in_room = 64 * 1024 + (o->batch > 1 ? o->batch * 192 : 0),
        .out_room = order_room > 64 * 1024 ? order_room : 64 * 1024,
    };
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

static void watch(struct run *run)
{
    for (uint32_t i = 0; i < run->options->threads;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WATCH_NS;
        if (until.tv_nsec >= TG_NS_PER_S) {
            until.tv_nsec -= TG_NS_PER_S;
            until.tv_sec++;
        }
        if (pthread_timedjoin_np(run->workers[i].thread, NULL, &until) == 0)
            i++;
        if (interrupted) {
            run->result->interrupted = true;
            atomic_store_explicit(&run->shared.stop, true, memory_order_relaxed);
        }
        write_log(run, false);
        if (run->options->progress)
            lg_progress_tick(&run->progress, run->workers, run->options->threads);
    }
}

static enum tg_error start_workers(struct run *run, struct tg_fault *fault)
{
    const struct lg_options *o = run->options;
    uint32_t share = o->connections / o->threads, rest = o->connections % o->threads;
    for (uint32_t i = 0; i < o->threads; i++) {
        enum tg_error error =
            lg_worker_start(&run->workers[i], &run->shared, i, share + (i < rest), fault);
        /* Those that started wait at a barrier that will never fill: there is nothing to wait for,
         * as the process ends with this error. */
        if (error)
            return error;
    }
    return TG_ERR_OK;
}

static enum tg_error make_load(struct run *run, struct tg_fault *fault)
{
    enum tg_error error = start_workers(run, fault);
    if (error)
        return error;
    pthread_barrier_wait(&run->shared.ready);
    run->shared.start_ns = tg_clock_mono_ns();
    lg_progress_init(&run->progress, run->shared.start_ns);
    pthread_barrier_wait(&run->shared.go);
    watch(run);
    return TG_ERR_OK;
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
    int64_t begin_ns = INT64_MAX, end_ns = 0, accept_ns = 0, run_end_ns = tg_clock_mono_ns();
    for (uint32_t i = 0; i < run->options->threads; i++) {
        const struct lg_worker *w = &run->workers[i];
        gather_worker(r, w);
        begin_ns = w->at_start.at_ns < begin_ns ? w->at_start.at_ns : begin_ns;
        end_ns = w->at_end.at_ns > end_ns ? w->at_end.at_ns : end_ns;
        accept_ns = w->accept_last_ns > accept_ns ? w->accept_last_ns : accept_ns;
        double share = (double)w->cpu_ns / (double)(run_end_ns - run->shared.start_ns);
        r->busiest_share = share > r->busiest_share ? share : r->busiest_share;
    }
    r->ran = end_ns > begin_ns;
    r->elapsed_s = r->ran ? (double)(end_ns - begin_ns) / 1e9 : 0;
    r->run_s = (double)(run_end_ns - run->shared.start_ns) / 1e9;
    if (accept_ns && (r->total.verdicts[TG_SOLD_OUT] || r->total.verdicts[TG_INSUFFICIENT_STOCK]))
        r->sell_through_s = (double)(accept_ns - run->shared.start_ns) / 1e9;
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
    if (!lg_audit_accepts(&a, accepts, count))
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory to sort %llu answers",
                             (unsigned long long)count);
    if (!error)
        error = lg_auditor_run(auditor, &a, fault);
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

static void check_threshold(struct lg_result *r, const char *what, double value, double wanted,
                            bool at_least, const char *unit)
{
    if (wanted <= 0 || (at_least ? value >= wanted : value <= wanted))
        return;
    snprintf(r->missed[r->missed_count++], sizeof(r->missed[0]), "%s is %.0f%s, %s %.0f%s wanted",
             what, value, unit, at_least ? "at least" : "at most", wanted, unit);
}

static void check_thresholds(struct lg_result *r)
{
    const struct lg_options *o = r->options;
    double seconds = r->elapsed_s > 0 ? r->elapsed_s : 1;
    double p50 = (double)tg_histogram_percentile(&r->latency, 0.5);
    double p99 = (double)tg_histogram_percentile(&r->latency, 0.99);
    double p999 = (double)tg_histogram_percentile(&r->latency, 0.999);
    check_threshold(r, "accepted_per_s", (double)r->window.verdicts[TG_ACCEPTED] / seconds,
                    o->min_accepted_per_s, true, "");
    check_threshold(r, "responses_per_s", (double)r->window.answers / seconds,
                    o->min_responses_per_s, true, "");
    check_threshold(r, "p50", p50 / 1e3, (double)o->max_p50_ns / 1e3, false, " us");
    check_threshold(r, "p99", p99 / 1e3, (double)o->max_p99_ns / 1e3, false, " us");
    check_threshold(r, "p99.9", p999 / 1e3, (double)o->max_p999_ns / 1e3, false, " us");
}

enum lg_status lg_result_judge(struct lg_result *r)
{
    /* Of stories, what was seen while they went on is proof enough without the audit at the end. */
    if ((r->audited || r->is_tale) && !promises_held(r))
        return LG_BROKEN;
    if (r->fault.error || !r->audited || r->unknown_outcomes)
        return LG_FAILED;
    if (r->ran)
        check_thresholds(r);
    return r->missed_count ? LG_MISSED : LG_PASSED;
}

static void release(struct run *run)
{
    for (uint32_t i = 0; run->workers && i < run->options->threads; i++)
        if (run->workers[i].shared)
            lg_worker_fini(&run->workers[i]);
    free(run->workers);
    lg_wire_fini(&run->wire);
    lg_plan_fini(&run->plan);
    lg_log_close(&run->log);
}

static enum tg_error prepare(struct run *run, struct tg_fault *fault)
{
    const struct lg_options *o = run->options;
    enum tg_error error =
        lg_control_resolve(o->server, &run->shared.address, &run->shared.address_bytes, fault);
    if (!error)
        error = prepare_plan(run, fault);
    if (!error && o->audit_log)
        error = lg_log_create(&run->log, o->audit_log, &run->plan.settings,
                              tg_clock_wall_ns() / TG_NS_PER_MS, fault);
    if (error)
        return error;
    lg_run_raise_file_limit(o->connections);
    prepare_shared(run);
    run->workers = calloc(o->threads, sizeof(*run->workers));
    if (!run->workers)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u threads", o->threads);
    return TG_ERR_OK;
}

/* A server that went away leaves nobody to ask. */
static bool server_is_gone(const struct lg_result *r)
{
    return r->fault.error == TG_ERR_CLOSED || r->fault.error == TG_ERR_TIMEOUT ||
           r->fault.error == TG_ERR_UNSUPPORTED;
}

enum lg_status lg_run(const struct lg_options *options, struct lg_result *result)
{
    static struct run run; /* a few MiB at most once in a process: not for a stack */
    memset(&run, 0, sizeof(run));
    run.options = options;
    run.result = result;
    run.log.fd = -1;
    result->options = options;
    lg_run_catch_interrupts();
    if (prepare(&run, &result->fault) == TG_ERR_OK &&
        make_load(&run, &result->fault) == TG_ERR_OK) {
        gather(&run);
        write_log(&run, !result->unknown_outcomes && !result->fault.error);
        if (result->ran && !server_is_gone(result))
            audit_run(&run);
        release(&run);
    }
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
