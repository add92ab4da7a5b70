#include "tests/crash/run.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *const bucket_names[RUN_BUCKETS] = {"0",    "1",     "2-3",   "4-7",
                                                      "8-15", "16-31", "32-63", "64-"};

/* Of all sessions. */
static struct tally total_of(const struct report *report)
{
    struct tally total = {.images = 0};
    for (uint32_t s = 0; s < report->session_count; s++) {
        const struct tally *tally = &report->tallies[s];
        total.images += tally->images;
        total.cuts += tally->cuts;
        total.facts += tally->facts;
        total.orders += tally->orders;
        total.starts += tally->starts;
        total.findings += tally->findings;
        for (uint32_t i = 0; i < DISK_WAY_COUNT; i++)
            total.ways[i] += tally->ways[i];
        for (uint32_t i = 0; i < DISK_MOMENT_COUNT; i++)
            total.moments[i] += tally->moments[i];
        for (uint32_t i = 0; i < RUN_BUCKETS; i++)
            total.pending[i] += tally->pending[i];
    }
    return total;
}

static double log_mib(const struct report *report)
{
    uint64_t bytes = 0;
    for (uint32_t s = 0; s < report->session_count; s++)
        bytes += crash_log_at(report->sessions[s].tape.log);
    return (double)bytes / (1 << 20);
}

static const char *phase_name(const struct session *session, uint32_t phase)
{
    return FACTS_AT(fact_phase, session->facts.phases, phase)->name;
}

/* --- for people --- */

static void print_workloads(const struct report *report)
{
    printf("\nimages  workload\n");
    for (uint32_t s = 0; s < report->session_count; s++) {
        const struct session *session = &report->sessions[s];
        for (uint32_t i = 0; i < session->facts.phases.count; i++)
            printf("%6" PRIu64 "  %s: %s\n", report->tallies[s].phases[i], session->name,
                   phase_name(session, i));
    }
}

static void print_kinds(const struct tally *total)
{
    printf("\nimages  the power went\n");
    for (uint32_t i = 0; i < DISK_MOMENT_COUNT; i++)
        printf("%6" PRIu64 "  %s\n", total->moments[i], disk_moment_text(i));
    printf("\nimages  of what was pending there is\n");
    for (uint32_t i = 0; i < DISK_WAY_COUNT; i++)
        printf("%6" PRIu64 "  %s\n", total->ways[i], disk_way_text(i));
    printf("\n  cuts  writes pending\n");
    for (uint32_t i = 0; i < RUN_BUCKETS; i++)
        printf("%6" PRIu64 "  %s\n", total->pending[i], bucket_names[i]);
}

static void print_checks(const struct report *report)
{
    printf("\nfindings  of images  self-check, which must have some\n");
    for (uint32_t i = 0; i < report->check_count; i++) {
        const struct report_check *check = &report->checks[i];
        printf("%8" PRIu64 "  %9" PRIu64 "  %s%s%s\n", check->findings, check->images, check->text,
               check->findings ? "\n                       for example: " : "", check->example);
    }
}

void report_print(const struct report *report)
{
    struct tally total = total_of(report);
    print_workloads(report);
    print_kinds(&total);
    print_checks(report);
    printf("\n%" PRIu64 " facts and %" PRIu64 " orders checked, %" PRIu64 " daemons started, "
           "%.0f MiB of logs\n",
           total.facts, total.orders, total.starts, log_mib(report));
}

static void print_finding(const struct session *session, const struct finding *finding)
{
    printf("\n%s, cut %u, there is %s:\n  %s\n", session->name, finding->cut,
           disk_way_text(finding->way), finding->text);
    printf("  again: " TG_BUILD "/tests/crash/crash --replay %s --seed %" PRIu64
           " --cut %u --variant %u\n",
           session->dir, session->options->seed, finding->cut, finding->variant);
}

void report_findings(const struct report *report)
{
    for (uint32_t s = 0; s < report->session_count; s++)
        for (uint32_t i = 0; i < report->tallies[s].told_count; i++)
            print_finding(&report->sessions[s], &report->tallies[s].told[i]);
}

void report_verdict(const struct report *report)
{
    struct tally total = total_of(report);
    printf("crash: %" PRIu64 " images of %" PRIu64 " cuts in %.1f s (%.0f/s), seed %" PRIu64
           ": %" PRIu64 " findings\n",
           total.images, total.cuts, report->seconds, (double)total.images / report->seconds,
           report->options->seed, total.findings);
}

/* --- for programs --- */

static void put(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *workloads_json(const struct report *report)
{
    json_t *all = json_object();
    for (uint32_t s = 0; s < report->session_count; s++) {
        const struct session *session = &report->sessions[s];
        json_t *one = json_object();
        for (uint32_t i = 0; i < session->facts.phases.count; i++)
            put(one, phase_name(session, i), report->tallies[s].phases[i]);
        json_object_set_new(all, session->name, one);
    }
    return all;
}

static json_t *checks_json(const struct report *report)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < report->check_count; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "planted", json_string(report->checks[i].text));
        put(one, "images", report->checks[i].images);
        put(one, "findings", report->checks[i].findings);
        json_array_append_new(all, one);
    }
    return all;
}

static json_t *findings_json(const struct report *report)
{
    json_t *all = json_array();
    for (uint32_t s = 0; s < report->session_count; s++) {
        for (uint32_t i = 0; i < report->tallies[s].told_count; i++) {
            const struct finding *finding = &report->tallies[s].told[i];
            json_t *one = json_object();
            json_object_set_new(one, "session", json_string(report->sessions[s].dir));
            put(one, "cut", finding->cut);
            put(one, "variant", finding->variant);
            json_object_set_new(one, "text", json_string(finding->text));
            json_array_append_new(all, one);
        }
    }
    return all;
}

bool report_json(const struct report *report, const char *path)
{
    struct tally total = total_of(report);
    json_t *root = json_object(), *moments = json_object(), *ways = json_object();
    put(root, "seed", report->options->seed);
    put(root, "images", total.images);
    put(root, "cuts", total.cuts);
    put(root, "facts", total.facts);
    put(root, "orders", total.orders);
    put(root, "daemons", total.starts);
    put(root, "findings", total.findings);
    json_object_set_new(root, "seconds", json_real(report->seconds));
    json_object_set_new(root, "images_per_second",
                        json_real((double)total.images / report->seconds));
    for (uint32_t i = 0; i < DISK_MOMENT_COUNT; i++)
        put(moments, disk_moment_text(i), total.moments[i]);
    for (uint32_t i = 0; i < DISK_WAY_COUNT; i++)
        put(ways, disk_way_text(i), total.ways[i]);
    json_object_set_new(root, "workloads", workloads_json(report));
    json_object_set_new(root, "moments", moments);
    json_object_set_new(root, "there_is", ways);
    json_object_set_new(root, "self_checks", checks_json(report));
    json_object_set_new(root, "told", findings_json(report));
    int rc = json_dump_file(root, path, JSON_INDENT(2));
    json_decref(root);
    if (rc)
        fprintf(stderr, "crash: cannot write %s\n", path);
    return rc == 0;
}
