/* What a run comes to: did every promise hold, was every threshold met; and the whole of several
 * parts. */
#include "loadgen/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lg_result *lg_result_create(void)
{
    return calloc(1, sizeof(struct lg_result));
}

void lg_result_free(struct lg_result *result)
{
    if (!result)
        return;
    for (uint32_t i = 0; i < result->part_count; i++)
        lg_result_free(result->parts[i]);
    free(result->parts);
    lg_samples_fini(&result->samples);
    lg_vitals_fini(&result->vitals);
    free(result);
}

/* --- promises --- */

bool lg_result_promises_held(const struct lg_result *r)
{
    for (uint32_t i = 0; i < r->part_count; i++)
        if (!lg_result_promises_held(r->parts[i]))
            return false;
    if (r->part_count)
        return true;
    bool audit =
        r->is_tale ? lg_world_ok(&r->world) && lg_feed_ok(&r->feed) : lg_findings_ok(&r->findings);
    return audit && !r->total.retries_wrong && !r->total.wrong_answers;
}

bool lg_result_ok(const struct lg_result *result)
{
    return result->audited && lg_result_promises_held(result) && !result->unknown_outcomes;
}

uint64_t lg_result_errors(const struct lg_result *r)
{
    return r->total.errors + r->total.verdicts[TG_BUSY] + r->total.verdicts[TG_STORAGE_FULL] +
           r->unknown_outcomes;
}

/* --- thresholds --- */

/* Notes one that was asked for; in words, too, when it was missed by a run whose figures mean
 * something. */
static void note(struct lg_result *r, const char *what, double value, bool at_least, double wanted,
                 const char *unit)
{
    bool ok = at_least ? value >= wanted : value <= wanted;
    if (r->check_count < LG_MISSED_MAX)
        r->checks[r->check_count++] = (struct lg_check){.name = what,
                                                        .unit = unit,
                                                        .value = value,
                                                        .wanted = wanted,
                                                        .at_least = at_least,
                                                        .ok = ok};
    bool counts = r->status == LG_PASSED || r->status == LG_MISSED;
    if (!ok && counts && r->missed_count < LG_MISSED_MAX)
        snprintf(r->missed[r->missed_count++], sizeof(r->missed[0]),
                 "%s is %.0f%s%s, %s %.0f%s%s wanted", what, value, *unit ? " " : "", unit,
                 at_least ? "at least" : "at most", wanted, *unit ? " " : "", unit);
}

static void check_rate(struct lg_result *r, const char *what, uint64_t count, double wanted)
{
    if (wanted > 0)
        note(r, what, (double)count / (r->elapsed_s > 0 ? r->elapsed_s : 1), true, wanted, "");
}

static void check_latency(struct lg_result *r, const char *what, const struct tg_histogram *h,
                          double fraction, int64_t wanted_ns)
{
    if (wanted_ns > 0)
        note(r, what, (double)tg_histogram_percentile(h, fraction) / 1e3, false,
             (double)wanted_ns / 1e3, "us");
}

static void check_count(struct lg_result *r, const char *what, uint64_t value, uint64_t wanted)
{
    if (wanted != LG_NO_LIMIT)
        note(r, what, (double)value, false, (double)wanted, "");
}

bool lg_result_check(struct lg_result *r, const struct lg_thresholds *t)
{
    uint32_t before = r->missed_count;
    check_rate(r, "accepted_per_s", r->window.verdicts[TG_ACCEPTED], t->min_accepted_per_s);
    check_rate(r, "responses_per_s", r->window.answers, t->min_responses_per_s);
    check_latency(r, "p50", &r->latency, 0.5, t->max_p50_ns);
    check_latency(r, "p99", &r->latency, 0.99, t->max_p99_ns);
    check_latency(r, "p99.9", &r->latency, 0.999, t->max_p999_ns);
    check_latency(r, "p99.99", &r->latency, 0.9999, t->max_p9999_ns);
    check_latency(r, "slip p99", &r->slip, 0.99, t->max_slip_p99_ns);
    check_count(r, "backlog", r->backlog_max, t->max_backlog);
    check_count(r, "errors", lg_result_errors(r), t->max_errors);
    return r->missed_count == before;
}

enum lg_status lg_result_judge(struct lg_result *r)
{
    /* Of stories, what was seen while they went on is proof enough without the audit at the end. */
    if ((r->audited || r->is_tale) && !lg_result_promises_held(r))
        r->status = LG_BROKEN;
    else if (r->fault.error || !r->audited || r->unknown_outcomes)
        r->status = LG_FAILED;
    else
        r->status = LG_PASSED;
    /* Thresholds of a run without correctness are listed, and not held against it. */
    if (r->ran && !lg_result_check(r, &r->options->thresholds))
        r->status = LG_MISSED;
    return r->status;
}

/* --- the whole --- */

static void add_stats(struct lg_stats *into, const struct lg_stats *from)
{
    const uint64_t *source = (const uint64_t *)from;
    uint64_t *target = (uint64_t *)into;
    for (size_t i = 0; i < offsetof(struct lg_stats, at_ns) / sizeof(uint64_t); i++)
        target[i] += source[i];
}

static void add_findings(struct lg_findings *into, const struct lg_findings *from, const char *part)
{
    into->accepts += from->accepts;
    into->orders += from->orders;
    into->foreign += from->foreign;
    into->unlogged += from->unlogged;
    into->lost += from->lost;
    into->altered += from->altered;
    into->duplicated += from->duplicated;
    into->unknown += from->unknown;
    into->oversold += from->oversold;
    into->books_broken += from->books_broken;
    into->books_differ += from->books_differ;
    into->over_limit_users += from->over_limit_users;
    into->disordered += from->disordered;
    for (uint32_t i = 0; i < from->example_count && into->example_count < LG_AUDIT_EXAMPLES_MAX;
         i++)
        snprintf(into->examples[into->example_count++], LG_AUDIT_EXAMPLE_BYTES, "%.20s: %.160s",
                 part, from->examples[i]);
}

/* What one part has in words, with its name in front. */
static void add_words(struct lg_result *whole, const struct lg_result *part, const char *name)
{
    if (!whole->complaint[0] && part->complaint[0])
        snprintf(whole->complaint, sizeof(whole->complaint), "%.20s: %.200s", name,
                 part->complaint);
    if (!whole->fault.error && part->fault.error)
        tg_fault_set(&whole->fault, part->fault.error, "part %.20s: %.450s", name,
                     part->fault.text);
    for (uint32_t i = 0; i < part->missed_count && whole->missed_count < LG_MISSED_MAX; i++)
        snprintf(whole->missed[whole->missed_count++], sizeof(whole->missed[0]), "%.20s: %.100s",
                 name, part->missed[i]);
}

static void add_times(struct lg_result *whole, const struct lg_result *part)
{
    bool first = !whole->ran;
    whole->ran = true;
    if (first || part->begin_ns < whole->begin_ns)
        whole->begin_ns = part->begin_ns;
    if (first || part->start_ns < whole->start_ns) {
        whole->start_ns = part->start_ns;
        whole->started_at_ms = part->started_at_ms;
    }
    whole->end_ns = part->end_ns > whole->end_ns ? part->end_ns : whole->end_ns;
    whole->settle_ns = part->settle_ns > whole->settle_ns ? part->settle_ns : whole->settle_ns;
    whole->elapsed_s = (double)(whole->end_ns - whole->begin_ns) / 1e9;
    whole->run_s = (double)(whole->settle_ns - whole->start_ns) / 1e9;
}

static void add_part(struct lg_result *whole, const struct lg_result *part)
{
    add_stats(&whole->total, &part->total);
    add_stats(&whole->window, &part->window);
    if (part->ran)
        add_times(whole, part);
    tg_histogram_merge(&whole->latency, &part->latency);
    tg_histogram_merge(&whole->latency_accepted, &part->latency_accepted);
    tg_histogram_merge(&whole->slip, &part->slip);
    lg_samples_merge(&whole->samples, &part->samples);
    whole->unknown_outcomes += part->unknown_outcomes;
    whole->backlog_max += part->backlog_max;
    whole->backlog_end += part->backlog_end;
    whole->cpu_ns += part->cpu_ns;
    if (part->busiest_share > whole->busiest_share)
        whole->busiest_share = part->busiest_share;
    whole->prefilled += part->prefilled;
    whole->prefill_s += part->prefill_s;
    whole->audit_s = part->audit_s > whole->audit_s ? part->audit_s : whole->audit_s;
    whole->audited = whole->audited && part->audited;
    whole->interrupted = whole->interrupted || part->interrupted;
    add_findings(&whole->findings, &part->findings, part->options->part);
    add_words(whole, part, part->options->part);
}

/* Broken is worse than failed, which is worse than missed. */
static enum lg_status worse(enum lg_status a, enum lg_status b)
{
    static const int badness[] = {
        [LG_PASSED] = 0, [LG_MISSED] = 1, [LG_USAGE] = 2, [LG_FAILED] = 3, [LG_BROKEN] = 4};
    return badness[a] > badness[b] ? a : b;
}

void lg_result_merge(struct lg_result *whole)
{
    enum lg_status status = LG_PASSED;
    whole->audited = true;
    for (uint32_t i = 0; i < whole->part_count; i++) {
        add_part(whole, whole->parts[i]);
        status = worse(status, whole->parts[i]->status);
    }
    whole->findings.finished = whole->audited;
    whole->status = worse(status, lg_result_judge(whole));
}
