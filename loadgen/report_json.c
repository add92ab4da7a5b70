/* The report as JSON, version 2: docs/scenarios.md tells its fields. */
#include "loadgen/report.h"
#include "loadgen/report_series.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define REPORT_VERSION 2

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

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

static void set_count(json_t *object, const char *name, uint64_t value)
{
    set(object, name, json_integer((json_int_t)value));
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
        lg_profile_duration_ns(&o->profile) >= LG_STAGE_ENDLESS_NS
            ? json_null()
            : json_real((double)lg_profile_duration_ns(&o->profile) / 1e9));
    set(object, "warmup_s", json_real((double)o->warmup_ns / 1e9));
    set(object, "opens_s", json_real((double)o->opens_ns / 1e9));
    set_count(object, "prefill", o->prefill);
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

static uint64_t threads_of(const struct lg_result *r)
{
    uint64_t threads = r->part_count ? 0 : r->options->threads;
    for (uint32_t i = 0; i < r->part_count; i++)
        threads += r->parts[i]->options->threads;
    return threads;
}

static json_t *json_generator(const struct lg_result *r)
{
    json_t *object = json_object();
    set_count(object, "threads", threads_of(r));
    set(object, "cpu_share", json_real(r->run_s > 0 ? (double)r->cpu_ns / r->run_s / 1e9 : 0));
    set(object, "busiest_thread_share", json_real(r->busiest_share));
    set(object, "cpu_ns_per_answer",
        json_real(r->total.answers ? (double)r->cpu_ns / (double)r->total.answers : 0));
    return object;
}

static json_t *json_schedule(const struct lg_result *r)
{
    json_t *object = json_object();
    set(object, "slip_us", lg_json_latency(&r->slip));
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
            set(object, lg_ask_name(kind), lg_json_latency(&r->told.by_request[kind]));
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
    set(object, "latency_us", ok ? lg_json_latency(&r->latency) : json_null());
    set(object, "latency_accepted_us", ok ? lg_json_latency(&r->latency_accepted) : json_null());
    set(object, "sell_through_s",
        ok && r->sell_through_s > 0 ? json_real(r->sell_through_s) : json_null());
}

/* --- what a version 2 adds --- */

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *json_time(int64_t unix_ms)
{
    char text[32];
    struct tm utc;
    time_t seconds = (time_t)(unix_ms / 1000);
    if (unix_ms == 0 || !gmtime_r(&seconds, &utc))
        return json_null();
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

static json_t *json_machine(const struct lg_machine *m)
{
    json_t *object = json_object();
    set(object, "cpu", text_or_null(m->cpu));
    set_count(object, "cores", m->cores);
    set_count(object, "memory_bytes", m->memory_bytes);
    set(object, "kernel", text_or_null(m->kernel));
    set(object, "clock", text_or_null(m->clock));
    set(object, "governor", text_or_null(m->governor));
    set(object, "filesystem", text_or_null(m->filesystem));
    set(object, "libc", text_or_null(m->libc));
    json_t *probe = m->probed ? json_object() : json_null();
    if (m->probed) {
        const struct tg_histogram *h = &m->fdatasync_ns;
        set(probe, "p50", json_real((double)tg_histogram_percentile(h, 0.5) / 1e3));
        set(probe, "p99", json_real((double)tg_histogram_percentile(h, 0.99) / 1e3));
        set(probe, "max", json_real((double)h->max / 1e3));
        set_count(probe, "count", h->count);
    }
    set(object, "fdatasync_us", probe);
    return object;
}

/* Values that are told as they are, without a fraction. */
static json_t *json_spread(const struct tg_histogram *h)
{
    json_t *object = json_object();
    set_count(object, "p50", tg_histogram_percentile(h, 0.5));
    set_count(object, "p90", tg_histogram_percentile(h, 0.9));
    set_count(object, "p99", tg_histogram_percentile(h, 0.99));
    set_count(object, "max", h->max);
    return object;
}

static json_t *json_daemon(const struct lg_vitals *v)
{
    if (!v->known)
        return json_null();
    json_t *object = json_object();
    set(object, "version", json_string(v->version));
    set_count(object, "threads", v->threads);
    set_count(object, "restarts", v->restarts);
    set(object, "uptime_s", json_real((double)v->uptime_ms / 1e3));
    set(object, "cpu_s", json_real((double)v->cpu_ns / 1e9));
    set_count(object, "resident_bytes", v->resident_bytes);
    set_count(object, "data_file_bytes", v->data_file_bytes);
    set_count(object, "commits", v->commits);
    set_count(object, "commit_records", v->records);
    set(object, "commit_us", json_spread(&v->commit_us));
    set(object, "commit_batch", json_spread(&v->commit_batch));
    return object;
}

static void append_stages(json_t *stages, const struct lg_result *r, const char *part)
{
    const struct lg_profile *profile = &r->options->profile;
    for (uint32_t i = 0; i < profile->stage_count; i++) {
        const struct lg_stage *stage = &profile->stages[i];
        char name[64];
        double begin_s = (double)stage->begin_ns / 1e9;
        double end_s = (double)(stage->begin_ns + stage->duration_ns) / 1e9;
        json_t *object = json_object();
        snprintf(name, sizeof(name), "%s%s%s", part ? part : "", part ? " " : "", stage->name);
        set(object, "name", json_string(name));
        set(object, "begin_s", json_real(begin_s));
        /* One without end went on until the attempts were used up. */
        set(object, "end_s",
            json_real(stage->duration_ns == LG_STAGE_ENDLESS_NS ? r->run_s : end_s));
        set(object, "rate_from", profile->closed ? json_null() : json_real(stage->rate_from));
        set(object, "rate_to", profile->closed ? json_null() : json_real(stage->rate_to));
        set(object, "measured", json_boolean(stage->measured));
        json_array_append_new(stages, object);
    }
}

static json_t *json_stages(const struct lg_result *r)
{
    json_t *stages = json_array();
    if (r->part_count == 0)
        append_stages(stages, r, NULL);
    for (uint32_t i = 0; i < r->part_count; i++)
        append_stages(stages, r->parts[i], r->parts[i]->options->part);
    return stages;
}

static json_t *json_search(const struct lg_search *s)
{
    char text[64], field[16];
    if (s->step_count == 0)
        return json_null();
    json_t *object = json_object(), *steps = json_array();
    snprintf(text, sizeof(text), "%s <= %gms", s->objective.name,
             (double)s->objective.at_most_ns / 1e6);
    snprintf(field, sizeof(field), "%s_us", s->objective.name);
    set(object, "objective", json_string(text));
    set(object, "rate_per_s", s->passed_per_s > 0 ? json_real(s->passed_per_s) : json_null());
    set(object, "missed_per_s", s->failed_per_s > 0 ? json_real(s->failed_per_s) : json_null());
    for (uint32_t i = 0; i < s->step_count; i++) {
        const struct lg_step *from = &s->steps[i];
        bool told = from->end != LG_STEP_NOT_PASSED;
        json_t *step = json_object();
        set(step, "rate_per_s", json_real(from->rate_per_s));
        set(step, "responses_per_s", told ? json_real(from->answered_per_s) : json_null());
        set(step, field, told ? json_real((double)from->latency_ns / 1e3) : json_null());
        set(step, "slip_p99_us", told ? json_real((double)from->slip_p99_ns / 1e3) : json_null());
        set_count(step, "backlog_end", from->backlog_end);
        set(step, "ok", json_boolean(from->end == LG_STEP_OK));
        set(step, "why", json_string(lg_step_end_text(from->end)));
        json_array_append_new(steps, step);
    }
    set(object, "steps", steps);
    return object;
}

/* --- a run --- */

/* "mixed" when parts differ. */
static const char *loop_of(const struct lg_result *r)
{
    const char *loop = r->options->profile.closed ? "closed" : "open";
    for (uint32_t i = 0; i < r->part_count; i++) {
        const char *of_part = loop_of(r->parts[i]);
        if (i > 0 && strcmp(of_part, loop) != 0)
            return "mixed";
        loop = of_part;
    }
    return loop;
}

/* What was asked for. Of several parts, each says it itself. */
static void json_asked(json_t *root, const struct lg_result *r)
{
    const struct lg_options *o = r->options;
    bool single = r->part_count == 0;
    set(root, "part", o->part ? json_string(o->part) : json_null());
    set(root, "scenario", json_string(single ? r->settings.scenario : "parts"));
    set(root, "server", json_string(o->server));
    set(root, "sale_id", single ? json_integer((json_int_t)r->settings.sale_id) : json_null());
    set(root, "own_sale", single ? json_boolean(r->settings.own_sale != 0) : json_null());
    set_count(root, "seed", single ? r->settings.seed : o->seed);
    set(root, "loop", json_string(loop_of(r)));
    set(root, "settings", single ? json_settings(r) : json_null());
    set(root, "stages", json_stages(r));
}

static void json_counts(json_t *root, const struct lg_result *r)
{
    const struct lg_stats *t = &r->total;
    set_count(root, "offered", t->offered);
    set_count(root, "accepted", t->verdicts[TG_ACCEPTED]);
    set_count(root, "accepted_on_retry", t->accepted_on_retry);
    set(root, "rejected", json_rejected(r));
    set_count(root, "errors", t->errors);
    set_count(root, "unknown_outcomes", r->unknown_outcomes);
    set_count(root, "responses", t->answers);
    set_count(root, "busy_answers", t->busy);
    set_count(root, "reconnects", t->reconnects);
    set_count(root, "resent", t->resent);
    set_count(root, "retries_checked", t->retries_checked);
    set_count(root, "retries_wrong", t->retries_wrong);
    set_count(root, "over_limit_users", r->findings.over_limit_users);
    set_count(root, "prefilled", r->prefilled);
    set(root, "prefill_s", json_real(r->prefill_s));
}

/* All that were asked for; those of a run without correctness have no value. */
static json_t *json_thresholds(const struct lg_result *r, bool ok)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->check_count; i++) {
        const struct lg_check *check = &r->checks[i];
        json_t *object = json_object();
        set(object, "name", json_string(check->name));
        set(object, "wanted", json_real(check->wanted));
        set(object, "at_least", json_boolean(check->at_least));
        set(object, "unit", json_string(check->unit));
        set(object, "value", ok ? json_real(check->value) : json_null());
        set(object, "ok", ok ? json_boolean(check->ok) : json_null());
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *json_run(const struct lg_result *r)
{
    const bool ok = lg_result_ok(r) && r->status != LG_FAILED;
    json_t *root = json_object(), *missed = json_array();
    set(root, "status", json_string(status_text(r->status)));
    set_count(root, "exit", (uint64_t)r->status);
    set(root, "error", r->fault.error ? json_string(r->fault.text) : json_null());
    json_asked(root, r);
    set(root, "started_at", json_time(r->started_at_ms));
    set(root, "interrupted", json_boolean(r->interrupted));
    set(root, "elapsed_s", json_real(r->elapsed_s));
    set(root, "run_s", json_real(r->run_s));
    json_counts(root, r);
    json_results(root, r, ok);
    if (r->is_tale)
        json_tale(root, r, ok);
    set(root, "schedule", strcmp(loop_of(r), "closed") != 0 ? json_schedule(r) : json_null());
    set(root, "loadgen", json_generator(r));
    set(root, "audit", json_audit(r));
    set(root, "samples", lg_json_samples(&r->samples, &r->vitals, ok));
    for (uint32_t i = 0; i < r->missed_count; i++)
        json_array_append_new(missed, json_string(r->missed[i]));
    set(root, "missed", missed);
    set(root, "thresholds", json_thresholds(r, ok));
    return root;
}

json_t *lg_report_tree(const struct lg_result *r)
{
    json_t *root = json_run(r), *parts = json_array();
    set(root, "tool", json_string("tidegate-load " TG_VERSION));
    set(root, "report_version", json_integer(REPORT_VERSION));
    set(root, "file", r->options->file ? json_string(r->options->file) : json_null());
    set(root, "about", r->about ? json_string(r->about) : json_null());
    set(root, "machine", json_machine(&r->machine));
    set(root, "daemon", json_daemon(&r->vitals));
    for (uint32_t i = 0; i < r->part_count; i++)
        json_array_append_new(parts, json_run(r->parts[i]));
    set(root, "parts", parts);
    set(root, "limits", json_null());
    set(root, "peers", json_null());
    set(root, "saturation", json_search(&r->search));
    return root;
}

enum tg_error lg_report_json(const struct lg_result *result, const char *path,
                             struct tg_fault *fault)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    if (!out)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
    json_t *root = lg_report_tree(result);
    bool ok = root && json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 &&
              fputc('\n', out) != EOF;
    json_decref(root);
    ok = (to_stdout ? fflush(out) : fclose(out)) == 0 && ok;
    return ok ? TG_ERR_OK : tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
}
