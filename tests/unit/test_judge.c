/* What a run comes to: thresholds, the worst of its parts, and what parts add up to. */
#include "loadgen/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ll

/* A part that went well: 100 orders a second for 10 s, one tenth of them accepted after 1 ms, the
 * others refused after 0.1 ms. */
static struct lg_result *part(struct lg_options *options, const char *name)
{
    struct lg_result *r = lg_result_create();
    cr_assert(r);
    lg_options_init(options);
    options->part = name;
    r->options = options;
    r->ran = r->audited = r->findings.finished = true;
    r->start_ns = 5 * SECOND;
    r->begin_ns = 6 * SECOND;
    r->end_ns = 16 * SECOND;
    r->settle_ns = 17 * SECOND;
    r->elapsed_s = 10;
    r->total.offered = r->window.offered = 1000;
    r->total.answers = r->window.answers = 1000;
    r->total.verdicts[TG_ACCEPTED] = r->window.verdicts[TG_ACCEPTED] = 100;
    r->total.verdicts[TG_SOLD_OUT] = r->window.verdicts[TG_SOLD_OUT] = 900;
    r->findings.orders = r->findings.accepts = 100;
    tg_histogram_record(&r->latency, 100000, 900);
    tg_histogram_record(&r->latency, 1000000, 100);
    tg_histogram_record(&r->slip, 50000, 1000);
    r->backlog_max = 30;
    cr_assert(lg_samples_init(&r->samples, 10 * SECOND));
    return r;
}

static struct lg_result *whole_of(struct lg_options *options, struct lg_result *a,
                                  struct lg_result *b)
{
    struct lg_result *whole = lg_result_create();
    lg_options_init(options);
    whole->options = options;
    whole->parts = calloc(2, sizeof(*whole->parts));
    whole->parts[whole->part_count++] = a;
    whole->parts[whole->part_count++] = b;
    cr_assert(lg_samples_init(&whole->samples, 10 * SECOND));
    return whole;
}

/* --- thresholds --- */

struct threshold {
    const char *name, *met, *missed, *says;
};

static const struct threshold thresholds[] = {
    {"min-accepted-per-s", "10", "11", "accepted_per_s is 10"},
    {"min-responses-per-s", "100", "101", "responses_per_s is 100"},
    {"max-p50", "101us", "99us", "p50"},
    {"max-p99", "1ms", "999us", "p99 "},
    {"max-p999", "1ms", "999us", "p99.9 "},
    {"max-p9999", "1ms", "999us", "p99.99 "},
    {"max-slip-p99", "51us", "49us", "slip p99"},
    {"max-backlog", "30", "29", "backlog is 30"},
    {"max-errors", "3", "2", "errors is 3"},
};

Test(judge, each_threshold_is_met_at_its_value_and_missed_beyond)
{
    for (size_t i = 0; i < sizeof(thresholds) / sizeof(thresholds[0]); i++) {
        const struct threshold *t = &thresholds[i];
        for (int missed = 0; missed < 2; missed++) {
            struct lg_options o;
            struct tg_fault fault;
            struct lg_result *r = part(&o, "a");
            r->total.verdicts[TG_BUSY] = 1;
            r->total.verdicts[TG_STORAGE_FULL] = 2;
            cr_assert_eq(lg_options_set(&o, t->name, missed ? t->missed : t->met,
                                        LG_PLACE_THRESHOLD, &fault),
                         TG_ERR_OK, "%s", fault.text);
            cr_assert_eq(lg_result_judge(r), missed ? LG_MISSED : LG_PASSED, "%s", t->name);
            cr_assert_eq(r->missed_count, (uint32_t)missed);
            if (missed)
                cr_assert_not_null(strstr(r->missed[0], t->says), "%s", r->missed[0]);
            lg_result_free(r);
        }
    }
}

Test(judge, a_broken_promise_is_worse_than_a_missed_threshold)
{
    struct lg_options o;
    struct lg_result *r = part(&o, "a");
    o.thresholds.max_p99_ns = 1;
    r->findings.oversold = 1;
    cr_assert_eq(lg_result_judge(r), LG_BROKEN);
    cr_assert_eq(r->missed_count, 0, "its figures mean nothing");
    r->findings.oversold = 0;
    r->unknown_outcomes = 1;
    cr_assert_eq(lg_result_judge(r), LG_FAILED);
    r->unknown_outcomes = 0;
    r->audited = false;
    cr_assert_eq(lg_result_judge(r), LG_FAILED);
    lg_result_free(r);
}

/* --- the whole --- */

Test(judge, parts_add_up)
{
    struct lg_options oa, ob, o;
    struct lg_result *a = part(&oa, "a"), *b = part(&ob, "b");
    b->start_ns += SECOND / 1000;
    b->end_ns += 2 * SECOND;
    b->backlog_max = 12;
    b->unknown_outcomes = 0;
    struct lg_result *whole = whole_of(&o, a, b);
    lg_result_judge(a);
    lg_result_judge(b);
    lg_result_merge(whole);
    cr_assert_eq(whole->status, LG_PASSED);
    cr_assert_eq(whole->total.offered, 2000);
    cr_assert_eq(whole->window.verdicts[TG_ACCEPTED], 200);
    cr_assert_eq(whole->latency.count, 2000);
    cr_assert_eq(whole->slip.count, 2000);
    cr_assert_eq(whole->backlog_max, 42);
    cr_assert_eq(whole->findings.orders, 200);
    cr_assert_eq(whole->start_ns, a->start_ns);
    cr_assert_float_eq(whole->elapsed_s, 12, 1e-9, "from the first to the last");
    cr_assert(whole->audited && lg_result_ok(whole));
    lg_result_free(whole);
}

Test(judge, the_worst_part_is_the_whole)
{
    static const enum lg_status worst_of[][3] = {{LG_PASSED, LG_PASSED, LG_PASSED},
                                                 {LG_PASSED, LG_MISSED, LG_MISSED},
                                                 {LG_FAILED, LG_MISSED, LG_FAILED},
                                                 {LG_BROKEN, LG_FAILED, LG_BROKEN},
                                                 {LG_PASSED, LG_BROKEN, LG_BROKEN}};
    for (size_t i = 0; i < sizeof(worst_of) / sizeof(worst_of[0]); i++) {
        struct lg_options options[2], o;
        struct lg_result *parts[2];
        for (int p = 0; p < 2; p++) {
            parts[p] = part(&options[p], p ? "b" : "a");
            if (worst_of[i][p] == LG_BROKEN)
                parts[p]->findings.lost = 1;
            if (worst_of[i][p] == LG_FAILED)
                parts[p]->audited = false;
            if (worst_of[i][p] == LG_MISSED)
                options[p].thresholds.max_p99_ns = 1;
            cr_assert_eq(lg_result_judge(parts[p]), worst_of[i][p]);
        }
        struct lg_result *whole = whole_of(&o, parts[0], parts[1]);
        lg_result_merge(whole);
        cr_assert_eq(whole->status, worst_of[i][2], "case %zu", i);
        cr_assert_eq(lg_result_ok(whole),
                     worst_of[i][2] == LG_PASSED || worst_of[i][2] == LG_MISSED);
        lg_result_free(whole);
    }
}

/* Of stories more is judged than the whole adds up. */
Test(judge, a_broken_story_breaks_the_whole)
{
    struct lg_options oa, ob, o;
    struct lg_result *tale = part(&oa, "a");
    tale->is_tale = true;
    tale->world.money_broken = 1;
    struct lg_result *whole = whole_of(&o, tale, part(&ob, "b"));
    lg_result_merge(whole);
    cr_assert_not(lg_result_ok(whole));
    cr_assert_eq(whole->status, LG_BROKEN);
    lg_result_free(whole);
}

Test(judge, what_parts_say_is_said_with_their_names)
{
    struct lg_options oa, ob, o;
    struct lg_result *a = part(&oa, "buyers"), *b = part(&ob, "tellers");
    oa.thresholds.max_p99_ns = 1;
    tg_fault_set(&b->fault, TG_ERR_CLOSED, "gone");
    snprintf(b->findings.examples[b->findings.example_count++], LG_AUDIT_EXAMPLE_BYTES, "lost it");
    struct lg_result *whole = whole_of(&o, a, b);
    o.thresholds.max_backlog = 1;
    lg_result_judge(a);
    lg_result_judge(b);
    lg_result_merge(whole);
    cr_assert_str_eq(whole->fault.text, "part tellers: gone");
    cr_assert_str_eq(whole->findings.examples[0], "tellers: lost it");
    cr_assert_eq(strncmp(whole->missed[0], "buyers: p99", 11), 0, "%s", whole->missed[0]);
    lg_result_free(whole);
}

Test(judge, thresholds_of_all_parts_are_of_their_sum)
{
    struct lg_options oa, ob, o;
    struct lg_result *whole = whole_of(&o, part(&oa, "a"), part(&ob, "b"));
    o.thresholds.min_accepted_per_s = 20;
    o.thresholds.max_backlog = 60;
    lg_result_merge(whole);
    cr_assert_eq(whole->status, LG_PASSED);
    lg_result_free(whole);
    whole = whole_of(&o, part(&oa, "a"), part(&ob, "b"));
    o.thresholds.max_backlog = 59;
    lg_result_merge(whole);
    cr_assert_eq(whole->status, LG_MISSED);
    cr_assert_not_null(strstr(whole->missed[0], "backlog is 60"), "%s", whole->missed[0]);
    lg_result_free(whole);
}
