#include "loadgen/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static double per_second(const struct lg_result *r, uint64_t count)
{
    return r->elapsed_s > 0 ? (double)count / r->elapsed_s : 0;
}

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

static void text_loop(const struct lg_result *r, FILE *out)
{
    const struct lg_profile *profile = &r->options->profile;
    const char *what = r->is_tale ? "stories" : "orders";
    if (profile->closed)
        fputs("closed loop", out);
    else if (r->options->stage_count)
        fprintf(out, "open loop in %u stages, at most %s %s/s", profile->stage_count,
                grouped((uint64_t)lg_profile_rate_max(profile)), what);
    else
        fprintf(out, "open loop at %s %s/s", grouped((uint64_t)r->options->rate_per_s), what);
}

static void text_head(const struct lg_result *r, FILE *out)
{
    const struct lg_options *o = r->options;
    if (o->part)
        fprintf(out, "part %s: ", o->part);
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
    text_loop(r, out);
    fprintf(out, ", %u thread%s\n", o->threads, o->threads == 1 ? "" : "s");
    if (r->prefilled)
        fprintf(out, "  %-12s %s orders in %.1f s, before\n", "prefill", grouped(r->prefilled),
                r->prefill_s);
}

static void text_latency(const char *what, const struct tg_histogram *h, FILE *out)
{
    if (!h->count)
        return;
    fprintf(out, "  %-12s p50 %s, p90 %s, p99 %s, p99.9 %s, p99.99 %s, max %s\n", what,
            duration(tg_histogram_percentile(h, 0.5)), duration(tg_histogram_percentile(h, 0.9)),
            duration(tg_histogram_percentile(h, 0.99)), duration(tg_histogram_percentile(h, 0.999)),
            duration(tg_histogram_percentile(h, 0.9999)), duration(h->max));
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
    if (r->slip.count) {
        text_latency("slip", &r->slip, out);
        if (r->backlog_max)
            fprintf(out, "  %-12s at most %s %s, %s at the end\n", "backlog",
                    grouped(r->backlog_max), r->is_tale ? "stories" : "orders",
                    grouped(r->backlog_end));
        /* A few are always due in the very moment of the end; a tenth of a second's worth is a
         * server that lags. Of several parts, each says so itself. */
        if (r->part_count == 0 &&
            (double)r->backlog_end > lg_profile_rate_max(&r->options->profile) / 10)
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

/* The whole of several parts, behind them. */
static void text_whole_head(const struct lg_result *r, FILE *out)
{
    fprintf(out, "all parts: tidegate-load " TG_VERSION "  %s on %s\n", r->options->file,
            r->options->server);
}

static void text_daemon(const struct lg_result *r, FILE *out)
{
    const struct lg_vitals *v = &r->vitals;
    if (!v->known || !v->commits)
        return;
    fprintf(out, "  %-12s %s commits of %.1f records, p50 %s, p99 %s, max %s%s\n", "daemon",
            grouped(v->commits), (double)v->records / (double)v->commits,
            duration(tg_histogram_percentile(&v->commit_us, 0.5) * 1000),
            duration(tg_histogram_percentile(&v->commit_us, 0.99) * 1000),
            duration(v->commit_us.max * 1000), v->restarts ? "; it was started anew" : "");
}

static void text_search(const struct lg_result *r, FILE *out)
{
    const struct lg_search *s = &r->search;
    const char *limit = duration((uint64_t)s->objective.at_most_ns);
    if (s->step_count == 0)
        return;
    fprintf(out, "  %-12s ", "saturation");
    if (s->passed_per_s > 0)
        fprintf(out, "%s/s meet %s <= %s", grouped((uint64_t)s->passed_per_s), s->objective.name,
                limit);
    else
        fprintf(out, "no rate met %s <= %s", s->objective.name, limit);
    if (s->failed_per_s > 0)
        fprintf(out, ", %s/s do not", grouped((uint64_t)s->failed_per_s));
    fprintf(out, " (%u steps)\n", s->step_count);
}

void lg_report_text(const struct lg_result *r, FILE *out)
{
    bool ok = lg_result_ok(r) && r->status != LG_FAILED;
    for (uint32_t i = 0; i < r->part_count; i++) {
        if (!r->parts[i]->ran)
            continue;
        lg_report_text(r->parts[i], out);
        fputc('\n', out);
    }
    if (r->part_count)
        text_whole_head(r, out);
    else
        text_head(r, out);
    if (r->ran) {
        text_counts(r, ok, out);
        if (ok)
            text_rates(r, out);
        if (ok)
            text_daemon(r, out);
    }
    if (r->ran || r->audited)
        text_audit(r, ok, out);
    text_search(r, out);
    for (uint32_t i = 0; i < r->missed_count; i++)
        fprintf(out, "  missed       %s\n", r->missed[i]);
}
