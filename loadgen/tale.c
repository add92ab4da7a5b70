#include "loadgen/tale.h"

#include "base/clock.h"
#include "loadgen/control.h"
#include "loadgen/live.h"
#include "loadgen/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_US 200

struct tale {
    const struct lg_options *options;
    struct lg_gate *gate;
    struct lg_result *result;
    const struct lg_story_kind *kind;
    struct lg_item *items; /* owned, as the tables of the sale */
    char (*skus)[TG_SKU_BYTES_MAX + 1];
    int64_t *prices, *captain_prices;
    struct lg_ask_sale sale;
    struct lg_ledger ledger;
    struct lg_account account;
    struct lg_teller teller;
    struct lg_watch watch;
    int64_t start_ns, stop_ns, end_ns; /* stories begin until `stop`, and end until `end` */
    int64_t measure_ns, drain_ns;      /* what is measured lies between */
    bool measured;                     /* it has begun */
    struct lg_stats at_measure;        /* counts when it began */
    int64_t begin_ns;                  /* when it did */
    int64_t cpu_ns;
    struct lg_tally tally; /* of the samples */
    int64_t sample_ns;     /* when the next one is taken, from the start */
    int64_t line_ns;       /* of the last line of progress */
    uint64_t line_answers, line_ended;
};

/* --- preparing --- */

static bool make_tables(struct tale *tale)
{
    const struct lg_options *o = tale->options;
    tale->items = lg_plan_items(o->skus, o->stock, o->limit);
    tale->skus = calloc(o->skus, sizeof(*tale->skus));
    tale->prices = calloc(o->skus, sizeof(*tale->prices));
    tale->captain_prices = calloc(o->skus, sizeof(*tale->captain_prices));
    return tale->items && tale->skus && tale->prices && tale->captain_prices;
}

static void fill_tables(struct tale *tale, const struct lg_sale_rules *rules)
{
    const struct lg_options *o = tale->options;
    for (uint32_t i = 0; i < o->skus; i++) {
        memcpy(tale->skus[i], tale->items[i].sku, tale->items[i].sku_bytes);
        tale->prices[i] = tale->items[i].price_minor;
        tale->captain_prices[i] = lg_control_captain_price(&tale->items[i], rules);
    }
    tale->sale = (struct lg_ask_sale){
        .sale_id = tale->result->settings.sale_id,
        .item_count = o->skus,
        .skus = (const char(*)[TG_SKU_BYTES_MAX + 1]) tale->skus,
        .price_minor = tale->prices,
        .captain_price_minor = tale->captain_prices,
        .refusals = lg_verdict_bit(TG_SOLD_OUT) | lg_verdict_bit(TG_INSUFFICIENT_STOCK) |
                    (o->limit ? lg_verdict_bit(TG_LIMIT_REACHED) : 0) |
                    (rules->shares ? lg_verdict_bit(TG_CHANNEL_SHARE_REACHED) : 0),
    };
}

static enum tg_error prepare_sale(struct tale *tale, struct tg_fault *fault)
{
    const struct lg_options *o = tale->options;
    struct lg_plan_settings *settings = &tale->result->settings;
    struct lg_sale_rules rules = {
        .payment_window_s = LG_STORY_PAYMENT_WINDOW_S,
        .team_size = tale->kind->group_buy ? LG_STORY_TEAM_SIZE : 0,
        .team_lifetime_s = LG_STORY_TEAM_LIFETIME_S,
        .shares = tale->kind->shares,
    };
    settings->seed = o->seed;
    settings->nonce = lg_run_nonce();
    settings->users = o->users;
    settings->item_count = o->skus;
    settings->own_sale = 1;
    strncpy(settings->scenario, o->scenario, sizeof(settings->scenario) - 1);
    if (!make_tables(tale))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", o->skus);
    enum tg_error error =
        lg_control_create_sale_of(o->server, settings, tale->items, &rules, fault);
    if (!error)
        fill_tables(tale, &rules);
    return error;
}

static enum tg_error prepare(struct tale *tale, struct tg_fault *fault)
{
    const struct lg_options *o = tale->options;
    int64_t server_ms = 0;
    if (!lg_ledger_init(&tale->ledger))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory to remember orders");
    enum tg_error error = prepare_sale(tale, fault);
    if (error)
        return error;
    tale->account = (struct lg_account){
        .ledger = &tale->ledger, .sale = &tale->sale, .stats = &tale->result->total};
    tale->teller = (struct lg_teller){.options = o,
                                      .kind = tale->kind,
                                      .sale = &tale->sale,
                                      .account = &tale->account,
                                      .told = &tale->result->told,
                                      .nonce = tale->result->settings.nonce};
    error = lg_watch_open(&tale->watch, o->server, tale->sale.sale_id, o->skus, o->reconnect_ns,
                          &tale->ledger, fault);
    if (!error)
        error = lg_teller_init(&tale->teller, fault);
    if (!error)
        error = lg_control_server_time(tale->watch.client, &server_ms, fault);
    tale->teller.clock_offset_ms = server_ms - tg_clock_wall_ns() / TG_NS_PER_MS;
    return error;
}

static void release(struct tale *tale)
{
    lg_teller_fini(&tale->teller);
    lg_watch_close(&tale->watch);
    lg_ledger_fini(&tale->ledger);
    free(tale->items);
    free(tale->skus);
    free(tale->prices);
    free(tale->captain_prices);
    free(tale);
}

/* --- the run --- */

/* A line each second for who looks on. */
static void show_progress(struct tale *tale, int64_t now_ns)
{
    const struct lg_told *told = &tale->result->told;
    uint64_t answers = tale->result->total.answers;
    if (!tale->options->progress || now_ns - tale->line_ns < TG_NS_PER_S)
        return;
    double seconds = (double)(now_ns - tale->line_ns) / 1e9;
    flockfile(stderr);
    if (tale->options->part)
        fprintf(stderr, "%-12s ", tale->options->part);
    fprintf(stderr, "%6.1f s  %10.0f answers/s  %8.0f stories/s  going %u",
            (double)(now_ns - tale->start_ns) / 1e9,
            (double)(answers - tale->line_answers) / seconds,
            (double)(told->ended - tale->line_ended) / seconds, tale->teller.slots_used);
    if (told->backlog_end)
        fprintf(stderr, "  backlog %" PRIu64, told->backlog_end);
    fputc('\n', stderr);
    funlockfile(stderr);
    tale->line_ns = now_ns;
    tale->line_answers = answers;
    tale->line_ended = told->ended;
}

static bool time_to_stop(const struct tale *tale, int64_t now_ns)
{
    const struct lg_options *o = tale->options;
    return lg_interrupted() || lg_gate_stopped(tale->gate) ||
           now_ns - tale->start_ns >= lg_profile_duration_ns(&o->profile) ||
           tale->result->told.begun >= o->attempts;
}

static int64_t thread_cpu_ns(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return cpu.tv_sec * TG_NS_PER_S + cpu.tv_nsec;
}

static void subtract(struct lg_stats *from, const struct lg_stats *what)
{
    uint64_t *target = (uint64_t *)from;
    const uint64_t *source = (const uint64_t *)what;
    for (size_t i = 0; i < offsetof(struct lg_stats, at_ns) / sizeof(uint64_t); i++)
        target[i] -= source[i];
}

/* What is measured begins behind the warm-up and ends before the drain, or with the last story that
 * begins. */
static void measure(struct tale *tale, int64_t now_ns)
{
    struct lg_result *r = tale->result;
    if (!tale->measured && (now_ns >= tale->measure_ns || tale->stop_ns != 0)) {
        tale->measured = tale->teller.measures = true;
        tale->at_measure = r->total;
        tale->begin_ns = now_ns;
    }
    bool is_over = now_ns >= tale->drain_ns || tale->stop_ns != 0;
    if (!tale->measured || r->end_ns != 0 || !is_over)
        return;
    r->window = r->total;
    subtract(&r->window, &tale->at_measure);
    r->begin_ns = tale->begin_ns;
    r->end_ns = now_ns;
    /* Requests of stories that began in the measured time are measured to their end, unless there
     * is a drain for them. */
    bool drains = now_ns >= tale->drain_ns &&
                  tale->drain_ns - tale->start_ns < lg_profile_duration_ns(&tale->options->profile);
    tale->teller.measures = !drains;
}

static void take_tally(struct tale *tale, bool last)
{
    struct lg_tally *tally = &tale->tally;
    const struct lg_stats *total = &tale->result->total;
    tally->offered = total->offered;
    tally->responses = total->answers;
    tally->accepted = total->verdicts[TG_ACCEPTED];
    memcpy(tally->verdicts, total->verdicts, sizeof(tally->verdicts));
    tally->in_flight = tale->teller.open_requests;
    tally->backlog = last || tale->stop_ns != 0 ? 0 : tale->result->told.backlog_end;
    tally->latency = tale->result->told.latency;
    tg_histogram_merge(&tally->latency, &tale->result->told.latency_aside);
}

static void take_sample(struct tale *tale, int64_t now_ns, bool last)
{
    struct lg_tally *tally = &tale->tally;
    int64_t since_ns = now_ns - tale->start_ns;
    if (!last && since_ns < tale->sample_ns)
        return;
    take_tally(tale, last);
    if (last)
        lg_samples_end(&tale->result->samples, tally, since_ns);
    else
        lg_samples_add(&tale->result->samples, tally, since_ns);
    tale->sample_ns = lg_samples_next_ns(&tale->result->samples, since_ns);
}

/* The three meetings. False when there will be no load. */
static bool come_to_start(struct tale *tale, struct tg_fault *fault)
{
    struct lg_gate *gate = tale->gate;
    if (!lg_run_prefill(tale->options, tale->result) || !lg_gate_meet(gate) ||
        !lg_gate_meet(gate) || prepare(tale, fault) || !lg_gate_meet(gate))
        return false;
    lg_run_sleep_until(lg_gate_start_ns(gate));
    return true;
}

static void begin(struct tale *tale)
{
    struct lg_result *r = tale->result;
    const struct lg_profile *profile = &tale->options->profile;
    int64_t now_ns = tg_clock_mono_ns();
    tale->start_ns = tale->line_ns = r->start_ns = now_ns;
    r->started_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    lg_profile_measured_ns(profile, &tale->measure_ns, &tale->drain_ns);
    tale->measure_ns += now_ns;
    tale->drain_ns += now_ns;
    tale->sample_ns = r->samples.interval_ns;
    tale->cpu_ns = thread_cpu_ns();
    lg_schedule_init(&tale->teller.schedule, profile, 1, 0, 1, now_ns);
}

static void tell(struct tale *tale)
{
    struct lg_teller *teller = &tale->teller;
    struct lg_watch *watch = &tale->watch;
    begin(tale);
    int64_t now_ns = tale->start_ns;
    while (!teller->fault.error && !watch->fault.error) {
        if (tale->stop_ns == 0 && time_to_stop(tale, now_ns))
            tale->stop_ns = now_ns;
        measure(tale, now_ns);
        if (tale->stop_ns != 0 && teller->slots_used == 0)
            break;
        lg_teller_turn(teller, now_ns, tale->stop_ns != 0);
        lg_watch_turn(watch, now_ns);
        take_sample(tale, now_ns, false);
        if (lg_live_is_due(tale->options)) {
            take_tally(tale, false);
            lg_live_post(tale->options, &tale->tally);
        }
        show_progress(tale, now_ns);
        if (!teller->moved)
            usleep(IDLE_US);
        now_ns = tg_clock_mono_ns();
    }
    tale->end_ns = now_ns;
    if (tale->stop_ns == 0)
        tale->stop_ns = now_ns;
    measure(tale, now_ns);
    take_sample(tale, now_ns, true);
    tale->cpu_ns = thread_cpu_ns() - tale->cpu_ns;
}

static void gather(struct tale *tale)
{
    struct lg_result *r = tale->result;
    r->cpu_ns = tale->cpu_ns;
    r->ran = true;
    r->interrupted = lg_interrupted();
    r->settle_ns = tale->end_ns;
    r->elapsed_s = (double)(r->end_ns - r->begin_ns) / 1e9;
    r->run_s = (double)(tale->end_ns - tale->start_ns) / 1e9;
    r->busiest_share = r->run_s > 0 ? (double)r->cpu_ns / 1e9 / r->run_s : 0;
    r->unknown_outcomes = lg_teller_unanswered(&tale->teller);
    r->latency = r->told.latency;
    r->latency_accepted = r->told.latency_accepted;
    r->slip = r->told.slip;
    r->backlog_max = r->told.backlog_max;
    r->backlog_end = r->told.backlog_end;
    memcpy(r->requests, tale->account.requests, sizeof(r->requests));
    memcpy(r->complaint, tale->account.complaint, sizeof(r->complaint));
    r->fault = tale->teller.fault.error ? tale->teller.fault : tale->watch.fault;
}

/* --- the audit --- */

/* Puts what was found into the words of the report. */
static void judge_findings(struct tale *tale)
{
    struct lg_findings *f = &tale->result->findings;
    const struct lg_world_findings *w = &tale->watch.world;
    const struct lg_feed_findings *feed = &tale->watch.feed.findings;
    const struct lg_stats *total = &tale->result->total;
    f->finished = true;
    f->orders = w->orders;
    f->accepts = total->verdicts[TG_ACCEPTED] + total->accepted_on_retry;
    f->lost = w->lost;
    f->altered = w->altered;
    f->unknown = w->unknown;
    f->disordered = w->disordered;
    f->oversold = w->oversold;
    f->books_broken = w->books_broken;
    f->books_differ = w->books_differ;
    f->over_limit_users = w->over_limit;
    tale->result->world = *w;
    tale->result->feed = *feed;
    const char *examples[] = {w->example, feed->example};
    for (int i = 0; i < 2; i++)
        if (examples[i][0])
            snprintf(f->examples[f->example_count++], LG_AUDIT_EXAMPLE_BYTES, "%s", examples[i]);
}

static void audit(struct tale *tale)
{
    struct lg_result *r = tale->result;
    struct tg_fault fault = {TG_ERR_OK, ""};
    int64_t begun_ns = tg_clock_mono_ns();
    enum tg_error error = lg_watch_audit(&tale->watch, tale->account.storage_was_full, &fault);
    if (error)
        r->fault = fault;
    r->audited = !error;
    r->audit_s = (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
}

enum lg_status lg_tale_run(const struct lg_options *options, struct lg_gate *gate, int64_t load_ns,
                           struct lg_result *result)
{
    result->options = options;
    result->is_tale = true;
    struct tale *tale = calloc(1, sizeof(*tale));
    if (!tale || !lg_samples_init(&result->samples, load_ns)) {
        tg_fault_set(&result->fault, TG_ERR_NOMEM, "no memory for a run");
        lg_gate_fail(gate);
        free(tale);
        return lg_result_judge(result);
    }
    tale->options = options;
    tale->gate = gate;
    tale->result = result;
    tale->kind = lg_story_kind_of(options->scenario);
    lg_run_raise_file_limit(options->connections);
    if (come_to_start(tale, &result->fault)) {
        tell(tale);
        gather(tale);
        if (!result->fault.error)
            audit(tale);
        judge_findings(tale);
    } else {
        lg_gate_fail(gate);
    }
    release(tale);
    return lg_result_judge(result);
}
