#include "loadgen/report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static const char *status_text(enum lg_status status)
{
    switch (status) {
    case LG_PASSED:
        return "passed";
    case LG_BROKEN:
        return "broken";
    case LG_USAGE:
        return "usage";
    case LG_MISSED:
        return "threshold missed";
    case LG_FAILED:
        return "failed";
    }
    return "failed";
}

static double per_second(const struct lg_result *r, uint64_t count)
{
    return r->elapsed_s > 0 ? (double)count / r->elapsed_s : 0;
}

/* --- text --------------------------------------------------------------------------------------
 */

/* "12,345,678" in one of a few static buffers; one thread. */
static const char *grouped(uint64_t value)
{
    static char buffers[8][32];
    static unsigned next;
    char digits[24], *out = buffers[next++ % 8], *p = out;
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

/* "850 ns", "12.3 us", "4.56 ms", "1.20 s". */
static const char *duration(uint64_t ns)
{
    static char buffers[8][32];
    static unsigned next;
    char *out = buffers[next++ % 8];
    double value = (double)ns;
    if (value < 1e3)
        snprintf(out, 32, "%.0f ns", value);
    else if (value < 1e6)
        snprintf(out, 32, "%.3g us", value / 1e3);
    else if (value < 1e9)
        snprintf(out, 32, "%.3g ms", value / 1e6);
    else
        snprintf(out, 32, "%.3g s", value / 1e9);
    return out;
}

static void text_head(const struct lg_result *r, FILE *out)
{
    const struct lg_options *o = r->options;
    fprintf(out, "tidegate-load " TG_VERSION "  %s on %s, sale %" PRIu64 "%s, seed %" PRIu64 "\n",
            r->settings.scenario, o->server, r->settings.sale_id,
            r->settings.own_sale ? "" : " (shared)", r->settings.seed);
    if (o->audit)
        return;
    if (r->is_tale)
        fprintf(out, "  %u connections x %u stories, ", o->connections, o->pipeline);
    else
        fprintf(out, "  %u connections x %u frames x %u orders, ", o->connections, o->pipeline,
                o->batch);
    if (o->rate_per_s > 0)
        fprintf(out, "open loop at %s %s/s", grouped((uint64_t)o->rate_per_s),
                r->is_tale ? "stories" : "orders");
    else
        fputs("closed loop", out);
    fprintf(out, ", %u thread%s\n", o->threads, o->threads == 1 ? "" : "s");
}

static void text_latency(const char *what, const struct tg_histogram *h, FILE *out)
{
    if (!h->count)
        return;
    fprintf(out, "  %-12s p50 %s, p90 %s, p99 %s, p99.9 %s, max %s\n", what,
            duration(tg_histogram_percentile(h, 0.5)), duration(tg_histogram_percentile(h, 0.9)),
            duration(tg_histogram_percentile(h, 0.99)), duration(tg_histogram_percentile(h, 0.999)),
            duration(h->max));
}

/* Each kind of request of a tale, and what it was answered. */
static void text_requests(const struct lg_result *r, FILE *out)
{
    fprintf(out, "  %-12s %s begun, %s told to their end\n", "stories", grouped(r->told.begun),
            grouped(r->told.ended));
    for (int kind = 0; kind < LG_ASK_KINDS; kind++) {
        const char *between = "";
        if (!r->told.by_request[kind].count)
            continue;
        fprintf(out, "    %-14s ", lg_ask_name(kind));
        for (int i = 0; i < TG_VERDICT_COUNT; i++) {
            if (!r->requests[kind][i])
                continue;
            fprintf(out, "%s%s %s", between, grouped(r->requests[kind][i]), tg_verdict_name(i));
            between = ", ";
        }
        fputc('\n', out);
    }
}

static void text_counts(const struct lg_result *r, bool ok, FILE *out)
{
    const struct lg_stats *t = &r->total;
    uint64_t accepted = t->verdicts[TG_ACCEPTED];
    if (r->is_tale)
        text_requests(r, out);
    fprintf(out, "  %-12s %s orders in %.2f s%s\n", "offered", grouped(t->offered), r->run_s,
            r->interrupted ? " (interrupted)" : "");
    fprintf(out, "  %-12s %s", "accepted", grouped(accepted));
    if (ok && r->sell_through_s > 0)
        fprintf(out, ", the last after %.3f s", r->sell_through_s);
    fputc('\n', out);
    for (int i = 0; i < TG_VERDICT_COUNT; i++)
        if (i != TG_ACCEPTED && t->verdicts[i])
            fprintf(out, "  %-12s %s %s\n", "rejected", grouped(t->verdicts[i]),
                    tg_verdict_name(i));
    if (t->busy)
        fprintf(out, "  %-12s %s answers, each sent again after its hint\n", "busy",
                grouped(t->busy));
    if (t->reconnects)
        fprintf(out, "  %-12s %s, with %s %s sent again\n", "reconnects", grouped(t->reconnects),
                grouped(t->resent), r->is_tale ? "requests" : "orders");
    if (t->retries_checked)
        fprintf(out, "  %-12s %s checked, %s wrong\n", "retries", grouped(t->retries_checked),
                grouped(t->retries_wrong));
    if (t->accepted_on_retry)
        fprintf(out, "  %-12s %s orders that were refused at first\n", "accepted on retry",
                grouped(t->accepted_on_retry));
}

static const char too_slow[] =
    "               The server did not keep up: orders that were never sent have no latency,\n"
    "               so the latency above is too good.\n";
static const char too_few_slots[] =
    "               Stories wait for a free place: try more --connections or --pipeline, for each\n"
    "               keeps its place to its end, seconds of waiting included.\n";

static void text_rates(const struct lg_result *r, FILE *out)
{
    fprintf(out, "  %-12s %s accepted/s, %s answers/s over %.2f s\n", "throughput",
            grouped((uint64_t)per_second(r, r->window.verdicts[TG_ACCEPTED])),
            grouped((uint64_t)per_second(r, r->window.answers)), r->elapsed_s);
    text_latency("latency", &r->latency, out);
    if (r->latency_accepted.count && r->latency_accepted.count != r->latency.count)
        text_latency("  accepted", &r->latency_accepted, out);
    if (r->options->rate_per_s > 0) {
        text_latency("slip", &r->slip, out);
        if (r->backlog_max)
            fprintf(out, "  %-12s at most %s %s, %s at the end\n", "backlog",
                    grouped(r->backlog_max), r->is_tale ? "stories" : "orders",
                    grouped(r->backlog_end));
        /* A few are always due in the very moment of the end; a tenth of a second's worth is a
         * server that lags. */
        if ((double)r->backlog_end > r->options->rate_per_s / 10)
            fputs(r->is_tale ? too_few_slots : too_slow, out);
    }
    fprintf(out, "  %-12s %.0f%% of a core, %.0f ns for each answer\n", "generator",
            r->run_s > 0 ? (double)r->cpu_ns / r->run_s / 1e7 : 0,
            r->total.answers ? (double)r->cpu_ns / (double)r->total.answers : 0);
    if (r->busiest_share > 0.95)
        fputs("               A generator thread was busy all the time: it may be the limit. Try "
              "--threads.\n",
              out);
}

static void text_broken(const struct lg_result *r, FILE *out)
{
    const struct lg_findings *f = &r->findings;
    const struct {
        uint64_t count;
        const char *what;
    } lines[] = {
        {f->lost, "accepted orders lost or altered"},
        {f->duplicated, "orders or answers twice"},
        {f->unknown, "orders that nobody was told of"},
        {f->oversold, "units oversold"},
        {f->books_broken, "items with initial + restocked != available + reserved + sold"},
        {f->books_differ, "items whose books do not match their orders"},
        {f->over_limit_users, "users above their limit"},
        {f->disordered, "orders listed out of order"},
        {r->total.retries_wrong, "retries not answered like the first time"},
        {r->total.wrong_answers, r->is_tale ? "wrong answers" : "wrong accepted answers"},
        {r->unknown_outcomes,
         r->is_tale ? "requests without an answer" : "orders without an answer"},
        {r->world.over_share, "channels above their share of an item"},
        {r->world.money_broken, "orders whose money does not add up"},
        {r->world.order_broken, "orders that contradict themselves or their deadline"},
        {r->world.team_broken, "teams, or members of them, in a state that cannot be"},
        {r->world.history_broken, "orders or teams whose events lead elsewhere"},
        {r->feed.missing, "gaps in the outbox"},
        {r->feed.altered, "events that came again altered"},
        {r->feed.impossible, "events that what was before does not allow"},
        {r->feed.regressions, "offsets, or newest events, that went back"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (lines[i].count)
            fprintf(out, "               %s %s\n", grouped(lines[i].count), lines[i].what);
    for (uint32_t i = 0; i < f->example_count; i++)
        fprintf(out, "               - %s\n", f->examples[i]);
    if (r->complaint[0])
        fprintf(out, "               - %s\n", r->complaint);
}

static void text_tale_audit(const struct lg_result *r, FILE *out)
{
    const struct lg_world_findings *w = &r->world;
    fprintf(out, "               %s teams, %s events, each once; books right at %s looks\n",
            grouped(w->teams), grouped(r->feed.events), grouped(w->samples));
    fprintf(out, "  %-12s in %s = kept %s + refund due %s + refunded %s (minor units)\n", "money",
            grouped((uint64_t)w->money_in), grouped((uint64_t)w->money_kept),
            grouped((uint64_t)w->money_due), grouped((uint64_t)w->money_refunded));
}

static void text_audit(const struct lg_result *r, bool ok, FILE *out)
{
    const struct lg_findings *f = &r->findings;
    if (!r->audited) {
        fputs("  audit        not done\n", out);
    } else if (ok) {
        fprintf(out, "  audit        passed in %.2f s: %s accepted answers, %s orders read back",
                r->audit_s, grouped(f->accepts), grouped(f->orders));
        if (f->foreign)
            fprintf(out, ", %s of others", grouped(f->foreign));
        if (f->unlogged)
            fprintf(out, ", %s whose answers did not reach the log", grouped(f->unlogged));
        fputc('\n', out);
        if (r->is_tale)
            text_tale_audit(r, out);
        return;
    } else {
        fputs("  AUDIT        FAILED. Throughput and latency of this run mean nothing.\n", out);
    }
    text_broken(r, out);
}

void lg_report_text(const struct lg_result *r, enum lg_status status, FILE *out)
{
    bool ok = lg_result_ok(r) && status != LG_FAILED;
    text_head(r, out);
    if (r->ran) {
        text_counts(r, ok, out);
        if (ok)
            text_rates(r, out);
    }
    if (r->ran || r->audited)
        text_audit(r, ok, out);
    for (uint32_t i = 0; i < r->missed_count; i++)
        fprintf(out, "  missed       %s\n", r->missed[i]);
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

static void set_count(json_t *object, const char *name, uint64_t value)
{
    set(object, name, json_integer((json_int_t)value));
}

static json_t *json_latency(const struct tg_histogram *h)
{
    static const struct {
        const char *name;
        double fraction;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        set(object, points[i].name,
            json_real((double)tg_histogram_percentile(h, points[i].fraction) / 1e3));
    set(object, "max", json_real((double)h->max / 1e3));
    set_count(object, "count", h->count);
    return object;
}

static json_t *json_settings(const struct lg_result *r)
{
    const struct lg_options *o = r->options;
    json_t *object = json_object();
    set_count(object, "connections", o->connections);
    set_count(object, "pipeline", o->pipeline);
    set_count(object, "batch", o->batch);
    set_count(object, "threads", o->threads);
    set(object, "rate_per_s", o->rate_per_s > 0 ? json_real(o->rate_per_s) : json_null());
    set(object, "duration_s",
        o->duration_ns == INT64_MAX ? json_null() : json_real((double)o->duration_ns / 1e9));
    set(object, "warmup_s", json_real((double)o->warmup_ns / 1e9));
    set_count(object, "stock", o->stock);
    set_count(object, "users", r->settings.users);
    set_count(object, "skus", r->settings.item_count);
    set(object, "zipf_exponent", json_real(r->settings.zipf_exponent));
    set_count(object, "limit", o->limit);
    set_count(object, "quantity_min", r->settings.quantity_min);
    set_count(object, "quantity_max", r->settings.quantity_max);
    set(object, "retry_share", json_real(o->retry_share));
    set(object, "greedy_share", json_real(o->greedy_share));
    set_count(object, "greedy_users", r->settings.greedy_users);
    return object;
}

static json_t *json_order_states(const struct lg_world_findings *world)
{
    json_t *object = json_object();
    for (int i = 1; i < TG_ORDER_STATE_COUNT; i++)
        set_count(object, tg_order_state_name(i), world->states[i]);
    return object;
}

static json_t *json_team_states(const struct lg_world_findings *world)
{
    static const char *const names[] = {
        [TG_TEAM_PENDING] = "PENDING",     [TG_TEAM_OPEN] = "OPEN",
        [TG_TEAM_STATE_FORMED] = "FORMED", [TG_TEAM_STATE_FAILED] = "FAILED",
        [TG_TEAM_DISSOLVED] = "DISSOLVED",
    };
    json_t *object = json_object();
    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        set_count(object, names[i], world->team_states[i]);
    return object;
}

/* What the audit of a tale adds. */
static void json_tale_audit(json_t *object, const struct lg_world_findings *world,
                            const struct lg_feed_findings *feed)
{
    set(object, "orders_by_state", json_order_states(world));
    set(object, "teams_by_state", json_team_states(world));
    set_count(object, "teams_read", world->teams);
    set_count(object, "samples", world->samples);
    set_count(object, "over_share_channels", world->over_share);
    set_count(object, "money_broken", world->money_broken);
    set_count(object, "orders_broken", world->order_broken);
    set_count(object, "teams_broken", world->team_broken);
    set_count(object, "histories_broken", world->history_broken);
    set(object, "money_in_minor", json_integer(world->money_in));
    set(object, "money_kept_minor", json_integer(world->money_kept));
    set(object, "money_refund_due_minor", json_integer(world->money_due));
    set(object, "money_refunded_minor", json_integer(world->money_refunded));
    set_count(object, "events_read", feed->events);
    set_count(object, "events_repeated", feed->repeated);
    set_count(object, "events_missing", feed->missing);
    set_count(object, "events_altered", feed->altered);
    set_count(object, "events_impossible", feed->impossible);
    set_count(object, "offset_regressions", feed->regressions);
}

static json_t *json_audit(const struct lg_result *r)
{
    const struct lg_findings *f = &r->findings;
    json_t *object = json_object(), *examples = json_array();
    set(object, "ok", json_boolean(lg_result_ok(r)));
    set(object, "done", json_boolean(r->audited));
    set_count(object, "oversold", f->oversold);
    set_count(object, "lost", f->lost);
    set_count(object, "altered", f->altered);
    set_count(object, "duplicated", f->duplicated);
    set_count(object, "unknown_orders", f->unknown);
    set_count(object, "over_limit_users", f->over_limit_users);
    set_count(object, "books_broken", f->books_broken);
    set_count(object, "books_differ", f->books_differ);
    set_count(object, "disordered", f->disordered);
    set_count(object, "retries_wrong", r->total.retries_wrong);
    set_count(object, "wrong_answers", r->total.wrong_answers);
    set_count(object, "accepted_answers", f->accepts);
    set_count(object, "orders_read", f->orders);
    set_count(object, "foreign_orders", f->foreign);
    set_count(object, "unlogged_orders", f->unlogged);
    set(object, "seconds", json_real(r->audit_s));
    if (r->is_tale)
        json_tale_audit(object, &r->world, &r->feed);
    for (uint32_t i = 0; i < f->example_count; i++)
        json_array_append_new(examples, json_string(f->examples[i]));
    if (r->complaint[0])
        json_array_append_new(examples, json_string(r->complaint));
    set(object, "examples", examples);
    return object;
}

static json_t *json_rejected(const struct lg_result *r)
{
    json_t *object = json_object();
    for (int i = 0; i < TG_VERDICT_COUNT; i++)
        if (i != TG_ACCEPTED && r->total.verdicts[i])
            set_count(object, tg_verdict_name(i), r->total.verdicts[i]);
    return object;
}

static json_t *json_generator(const struct lg_result *r)
{
    json_t *object = json_object();
    set_count(object, "threads", r->options->threads);
    set(object, "cpu_share", json_real(r->run_s > 0 ? (double)r->cpu_ns / r->run_s / 1e9 : 0));
    set(object, "busiest_thread_share", json_real(r->busiest_share));
    set(object, "cpu_ns_per_answer",
        json_real(r->total.answers ? (double)r->cpu_ns / (double)r->total.answers : 0));
    return object;
}

static json_t *json_schedule(const struct lg_result *r)
{
    json_t *object = json_object();
    set(object, "slip_us", json_latency(&r->slip));
    set_count(object, "backlog_max", r->backlog_max);
    set_count(object, "backlog_end", r->backlog_end);
    return object;
}

/* --- of a tale --- */

static json_t *json_stories(const struct lg_result *r)
{
    json_t *object = json_object(), *paths = json_object();
    const struct lg_story_kind *kind = lg_story_kind_of(r->settings.scenario);
    set_count(object, "begun", r->told.begun);
    set_count(object, "ended", r->told.ended);
    for (uint32_t i = 0; kind && i < kind->path_count; i++)
        set_count(paths, kind->paths[i].name, r->told.paths[i]);
    set(object, "paths", paths);
    return object;
}

static json_t *json_requests(const struct lg_result *r)
{
    json_t *object = json_object();
    for (int kind = 0; kind < LG_ASK_KINDS; kind++) {
        json_t *verdicts = json_object();
        for (int i = 0; i < TG_VERDICT_COUNT; i++)
            if (r->requests[kind][i])
                set_count(verdicts, tg_verdict_name(i), r->requests[kind][i]);
        if (json_object_size(verdicts))
            set(object, lg_ask_name(kind), verdicts);
        else
            json_decref(verdicts);
    }
    return object;
}

static json_t *json_latency_by_request(const struct lg_result *r)
{
    json_t *object = json_object();
    for (int kind = 0; kind < LG_ASK_KINDS; kind++)
        if (r->told.by_request[kind].count)
            set(object, lg_ask_name(kind), json_latency(&r->told.by_request[kind]));
    return object;
}

static void json_tale(json_t *root, const struct lg_result *r, bool ok)
{
    set(root, "stories", json_stories(r));
    set(root, "requests", json_requests(r));
    set(root, "latency_by_request_us", ok ? json_latency_by_request(r) : json_null());
}

/* Figures that mean something only when the audit passed; null otherwise. */
static void json_results(json_t *object, const struct lg_result *r, bool ok)
{
    set(object, "accepted_per_s",
        ok ? json_real(per_second(r, r->window.verdicts[TG_ACCEPTED])) : json_null());
    set(object, "responses_per_s", ok ? json_real(per_second(r, r->window.answers)) : json_null());
    set(object, "latency_us", ok ? json_latency(&r->latency) : json_null());
    set(object, "latency_accepted_us", ok ? json_latency(&r->latency_accepted) : json_null());
    set(object, "sell_through_s",
        ok && r->sell_through_s > 0 ? json_real(r->sell_through_s) : json_null());
}

static json_t *build_json(const struct lg_result *r, enum lg_status status)
{
    const struct lg_stats *t = &r->total;
    const struct lg_options *o = r->options;
    const bool ok = lg_result_ok(r) && status != LG_FAILED;
    json_t *root = json_object(), *missed = json_array();
    set(root, "tool", json_string("tidegate-load " TG_VERSION));
    set(root, "status", json_string(status_text(status)));
    set_count(root, "exit", (uint64_t)status);
    set(root, "error", r->fault.error ? json_string(r->fault.text) : json_null());
    set(root, "scenario", json_string(r->settings.scenario));
    set(root, "server", json_string(o->server));
    set_count(root, "sale_id", r->settings.sale_id);
    set(root, "own_sale", json_boolean(r->settings.own_sale != 0));
    set_count(root, "seed", r->settings.seed);
    set(root, "loop", json_string(o->rate_per_s > 0 ? "open" : "closed"));
    set(root, "settings", json_settings(r));
    set(root, "interrupted", json_boolean(r->interrupted));
    set(root, "elapsed_s", json_real(r->elapsed_s));
    set(root, "run_s", json_real(r->run_s));
    set_count(root, "offered", t->offered);
    set_count(root, "accepted", t->verdicts[TG_ACCEPTED]);
    set_count(root, "accepted_on_retry", t->accepted_on_retry);
    set(root, "rejected", json_rejected(r));
    set_count(root, "errors", t->errors);
    set_count(root, "unknown_outcomes", r->unknown_outcomes);
    json_results(root, r, ok);
    if (r->is_tale)
        json_tale(root, r, ok);
    set_count(root, "responses", t->answers);
    set_count(root, "busy_answers", t->busy);
    set_count(root, "reconnects", t->reconnects);
    set_count(root, "resent", t->resent);
    set_count(root, "retries_checked", t->retries_checked);
    set_count(root, "retries_wrong", t->retries_wrong);
    set_count(root, "over_limit_users", r->findings.over_limit_users);
    set(root, "schedule", o->rate_per_s > 0 ? json_schedule(r) : json_null());
    set(root, "loadgen", json_generator(r));
    set(root, "audit", json_audit(r));
    for (uint32_t i = 0; i < r->missed_count; i++)
        json_array_append_new(missed, json_string(r->missed[i]));
    set(root, "missed", missed);
    return root;
}

enum tg_error lg_report_json(const struct lg_result *result, enum lg_status status,
                             const char *path, struct tg_fault *fault)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    if (!out)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
    json_t *root = build_json(result, status);
    bool ok = root && json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 &&
              fputc('\n', out) != EOF;
    json_decref(root);
    ok = (to_stdout ? fflush(out) : fclose(out)) == 0 && ok;
    return ok ? TG_ERR_OK : tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
}
