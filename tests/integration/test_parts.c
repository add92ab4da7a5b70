/* Runs of several parts against a real daemon: each part has its sale and its audit, the whole adds
 * up, samples add up to counts, a part that cannot start leaves nobody waiting, the wall meets the
 * opening second, orders lie in the database before, and what is asked of latency is searched for.
 */
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- scenario files and reports --- */

static char file_path[64];

static void write_file(const char *text)
{
    snprintf(file_path, sizeof(file_path), "/tmp/tidegate-parts-%d.ini", (int)getpid());
    FILE *file = fopen(file_path, "we");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static json_t *run_file(struct daemon *daemon, const char *text, int status, char **err)
{
    struct run run;
    json_error_t error;
    write_file(text);
    run_start(&run, "tidegate-load", "--server", daemon->address, "--scenario", file_path, "--json",
              "-", "--quiet", NULL);
    run_wait(&run);
    unlink(file_path);
    cr_assert_eq(run.status, status, "exit %d: %s%s", run.status, run.out, run.err);
    json_t *report = json_loads(run.out, 0, &error);
    cr_assert(report, "no JSON (%s): %s", error.text, run.out);
    if (err)
        *err = strdup(run.err);
    run_free(&run);
    return report;
}

/* What stands at a path such as "audit.orders_read". */
static const json_t *at(const json_t *report, const char *path)
{
    char copy[128], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", path);
    for (const char *name; (name = strsep(&rest, ".")) && report;)
        report = json_object_get(report, name);
    return report;
}

static long long count_at(const json_t *report, const char *path)
{
    cr_assert(json_is_integer(at(report, path)), "no count %s", path);
    return json_integer_value(at(report, path));
}

static double number_at(const json_t *report, const char *path)
{
    cr_assert(json_is_number(at(report, path)), "no number %s", path);
    return json_number_value(at(report, path));
}

static const json_t *part(const json_t *report, size_t i)
{
    return json_array_get(at(report, "parts"), i);
}

static long long sum(const json_t *list)
{
    long long total = 0;
    cr_assert(json_is_array(list));
    for (size_t i = 0; i < json_array_size(list); i++)
        total += json_integer_value(json_array_get(list, i));
    return total;
}

/* Samples of a run, or of one of its parts, are its counts over time. */
static void expect_samples_add_up(const json_t *report)
{
    static const char *const names[] = {"offered", "responses", "accepted"};
    static const char *const columns[] = {"offered",   "responses", "accepted", "backlog",
                                          "in_flight", "p50_us",    "p99_us",   "max_us"};
    const json_t *samples = at(report, "samples"), *times = at(samples, "t_s");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert_eq(sum(at(samples, names[i])), count_at(report, names[i]), "%s", names[i]);
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        cr_assert_eq(json_array_size(at(samples, columns[i])), json_array_size(times), "%s",
                     columns[i]);
    for (size_t i = 1; i < json_array_size(times); i++)
        cr_assert_gt(json_real_value(json_array_get(times, i)),
                     json_real_value(json_array_get(times, i - 1)));
    const char *verdict;
    json_t *count;
    cr_assert_eq(json_object_size(at(samples, "verdicts")),
                 json_object_size(at(report, "rejected")));
    json_object_foreach((json_t *)(uintptr_t)at(report, "rejected"), verdict, count)
        cr_assert_eq(sum(json_object_get(at(samples, "verdicts"), verdict)),
                     json_integer_value(count), "%s", verdict);
}

static void expect_audit(const json_t *report)
{
    cr_assert(json_is_true(at(report, "audit.ok")) && json_is_true(at(report, "audit.done")));
    cr_assert_eq(count_at(report, "audit.orders_read"),
                 count_at(report, "accepted") + count_at(report, "accepted_on_retry"));
    cr_assert_eq(count_at(report, "unknown_outcomes"), 0);
}

/* --- parts --- */

#define THREE_PARTS                                                                                \
    "[scenario]\nabout = Three at a time.\n"                                                       \
    "[part orders]\nscenario = durable\nconnections = 4\n"                                         \
    "stage = warm-up 300ms 2k\nstage = hold 700ms 3k\nstage = drain 300ms 100\n"                   \
    "[part refusals]\nscenario = sold-out\nconnections = 4\nduration = 1s\n"                       \
    "[part stories]\nscenario = lifecycle\nconnections = 2\npipeline = 64\n"                       \
    "stage = warm-up 300ms 50\nstage = day 700ms 100\n"

Test(parts, each_has_its_sale_and_its_audit_and_the_whole_adds_up)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--threads", "2", NULL);
    json_t *report = run_file(&daemon, THREE_PARTS "[thresholds]\nmax_errors = 0\n", 0, NULL);
    static const char *const sums[] = {"offered",           "accepted",         "responses",
                                       "audit.orders_read", "latency_us.count", "retries_checked"};
    cr_assert_eq(json_array_size(at(report, "parts")), 3);
    for (size_t s = 0; s < sizeof(sums) / sizeof(sums[0]); s++) {
        long long of_parts = 0;
        for (size_t i = 0; i < 3; i++)
            of_parts += count_at(part(report, i), sums[s]);
        cr_assert_eq(count_at(report, sums[s]), of_parts, "%s", sums[s]);
    }
    for (size_t i = 0; i < 3; i++) {
        expect_audit(part(report, i));
        expect_samples_add_up(part(report, i));
        for (size_t other = 0; other < i; other++)
            cr_assert_neq(count_at(part(report, i), "sale_id"),
                          count_at(part(report, other), "sale_id"));
    }
    expect_samples_add_up(report);
    cr_assert(json_is_true(at(report, "audit.ok")));
    cr_assert_str_eq(json_string_value(at(report, "about")), "Three at a time.");
    cr_assert_str_eq(json_string_value(at(part(report, 2), "part")), "stories");
    cr_assert_eq(count_at(part(report, 1), "accepted"), 0);
    cr_assert_gt(count_at(part(report, 2), "stories.begun"), 50);
    cr_assert_eq(count_at(part(report, 2), "stories.begun"),
                 count_at(part(report, 2), "stories.ended"));
    json_decref(report);
    daemon_end(&daemon);
}

/* What lies outside the measured stages is counted and audited, and not in the figures. */
Test(parts, only_measured_stages_are_in_the_figures)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    json_t *report = run_file(&daemon, THREE_PARTS, 0, NULL);
    const json_t *orders = part(report, 0), *stages = at(orders, "stages");
    cr_assert_eq(json_array_size(stages), 3);
    cr_assert(json_is_false(json_object_get(json_array_get(stages, 0), "measured")));
    cr_assert(json_is_true(json_object_get(json_array_get(stages, 1), "measured")));
    /* 600 in the warm-up, 2,100 in the hold and 30 in the drain are due. */
    cr_assert_gt(count_at(orders, "offered"), 2500);
    cr_assert_lt(count_at(orders, "latency_us.count"), count_at(orders, "offered") - 300);
    cr_assert_lt(number_at(orders, "elapsed_s"), 1.2);
    json_decref(report);
    daemon_end(&daemon);
}

Test(parts, the_daemon_tells_its_side)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    json_t *report = run_file(&daemon, THREE_PARTS, 0, NULL);
    const json_t *samples = at(report, "samples");
    cr_assert_eq(count_at(report, "daemon.threads"), 1);
    cr_assert_eq(count_at(report, "daemon.restarts"), 0);
    cr_assert_gt(count_at(report, "daemon.commits"), 0);
    /* Every order was a record of some commit; those before the first answer are not told of. */
    cr_assert_gt(count_at(report, "daemon.commit_records"), count_at(report, "accepted") / 2);
    cr_assert_gt(sum(at(samples, "commits")), 0);
    cr_assert_leq(sum(at(samples, "commits")), count_at(report, "daemon.commits"));
    cr_assert_eq(json_array_size(at(samples, "commits")), json_array_size(at(samples, "t_s")));
    cr_assert_gt(count_at(report, "machine.cores"), 0);
    cr_assert_eq(count_at(report, "report_version"), 2);
    json_decref(report);
    daemon_end(&daemon);
}

Test(parts, a_part_that_cannot_start_keeps_nobody_waiting)
{
    struct daemon daemon = {0};
    char *err;
    daemon_start(&daemon, NULL);
    json_t *report = run_file(&daemon,
                              "[part fine]\nscenario = durable\nduration = 30s\n"
                              "[part lost]\nscenario = durable\nduration = 30s\nsale = 12345\n",
                              4, &err);
    cr_assert_not_null(strstr(err, "part lost: sale 12345"), "%s", err);
    cr_assert_eq(count_at(report, "offered"), 0);
    cr_assert(json_is_null(at(report, "accepted_per_s")));
    cr_assert(json_is_null(at(report, "samples.accepted")));
    free(err);
    json_decref(report);
    daemon_end(&daemon);
}

Test(parts, a_missed_threshold_of_one_part_or_of_all_is_told)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    json_t *report = run_file(&daemon,
                              "[part a]\nscenario = durable\nduration = 300ms\nrate = 500\n"
                              "[part b]\nscenario = durable\nduration = 300ms\nrate = 500\n"
                              "[thresholds b]\nmin_accepted_per_s = 1M\n"
                              "[thresholds]\nmin_responses_per_s = 2M\n",
                              3, NULL);
    const json_t *missed = at(report, "missed");
    cr_assert_eq(json_array_size(missed), 2);
    cr_assert_eq(strncmp(json_string_value(json_array_get(missed, 0)), "b: accepted_per_s", 17), 0);
    cr_assert_eq(json_array_size(at(part(report, 0), "missed")), 0);
    cr_assert_gt(number_at(report, "accepted_per_s"), 0, "missed, and true all the same");
    json_decref(report);
    daemon_end(&daemon);
}

/* --- the opening second --- */

Test(parts, the_wall_meets_the_opening_second)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    json_t *report = run_file(&daemon,
                              "[part early]\nscenario = durable\nopens = 1s\n"
                              "stage = quiet 1s 400\nstage = wall 500ms 4k\n"
                              "[part late]\nscenario = durable\nopens = 500ms\n"
                              "stage = quiet 1s 400\n",
                              0, NULL);
    /* 400 orders of the first are due before its sale opens and 200 of the second, with retries a
     * few more. A machine that stands still just then sends some of them later, and they are
     * accepted. */
    long long early = count_at(part(report, 0), "rejected.NOT_STARTED");
    long long late = count_at(part(report, 1), "rejected.NOT_STARTED");
    cr_assert(early > 200 && early <= 415, "%lld", early);
    cr_assert(late > 60 && late <= 210, "%lld", late);
    cr_assert_gt(count_at(part(report, 0), "accepted"), 1800);
    expect_audit(part(report, 0));
    json_decref(report);
    daemon_end(&daemon);
}

/* --- orders that are there before --- */

Test(parts, prefilled_orders_are_there_and_not_in_the_figures)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    json_t *report = run_file(&daemon,
                              "[part orders]\nscenario = durable\nprefill = 50001\nrate = 1k\n"
                              "duration = 500ms\n",
                              0, NULL);
    cr_assert_eq(count_at(report, "prefilled"), 50001);
    cr_assert_lt(count_at(report, "offered"), 600);
    expect_audit(report);
    expect_samples_add_up(report);
    cr_assert_eq(json_array_size(at(report, "parts")), 0, "one part alone is the run");
    struct tgc_client *client = sale_client(&daemon);
    cr_assert_eq(sale_list(client, 0, NULL, NULL),
                 50001 + (uint64_t)count_at(report, "audit.orders_read"));
    tgc_close(client);
    json_decref(report);
    daemon_end(&daemon);
}

/* --- the search --- */

Test(parts, a_search_steps_up_and_closes_in)
{
    struct daemon daemon = {0};
    struct run run;
    json_error_t error;
    daemon_start(&daemon, NULL);
    /* No machine is this slow, and none this fast: both ends are found. */
    run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "sold-out",
              "--saturate", "p50<=2s", "--rate", "50k", "--duration", "200ms", "--connections", "8",
              "--json", "-", "--quiet", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 0, "exit %d: %s%s", run.status, run.out, run.err);
    json_t *report = json_loads(run.out, 0, &error);
    cr_assert(report, "%s", run.out);
    const json_t *steps = at(report, "saturation.steps");
    double rate = number_at(report, "saturation.rate_per_s");
    cr_assert_geq(json_array_size(steps), 2);
    cr_assert_gt(rate, 0);
    cr_assert_float_eq(number_at(report, "settings.rate_per_s"), rate, 1,
                       "the report is of the best step");
    cr_assert(json_is_true(at(report, "audit.ok")));
    json_decref(report);
    run_free(&run);
    run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "sold-out",
              "--saturate", "p50<=1ns", "--rate", "2", "--duration", "1s", "--connections", "1",
              "--json", "-", "--quiet", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 3, "exit %d: %s%s", run.status, run.out, run.err);
    report = json_loads(run.out, 0, &error);
    cr_assert(json_is_null(at(report, "saturation.rate_per_s")));
    json_decref(report);
    run_free(&run);
    daemon_end(&daemon);
}

/* --- a daemon that is killed --- */

Test(parts, a_daemon_that_is_killed_and_comes_back_leaves_gaps_and_no_harm)
{
    struct daemon daemon = {0};
    struct run run;
    json_error_t error;
    daemon_start(&daemon, NULL);
    run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "durable", "--rate",
              "2k", "--duration", "3s", "--json", "-", "--quiet", NULL);
    usleep(1000000);
    daemon_kill(&daemon);
    usleep(300000);
    daemon_restart(&daemon);
    run_wait(&run);
    cr_assert_eq(run.status, 0, "exit %d: %s%s", run.status, run.out, run.err);
    json_t *report = json_loads(run.out, 0, &error);
    cr_assert(report, "%s", run.out);
    expect_audit(report);
    expect_samples_add_up(report);
    cr_assert_eq(count_at(report, "daemon.restarts"), 1);
    cr_assert_gt(count_at(report, "reconnects"), 0);
    json_decref(report);
    run_free(&run);
    daemon_end(&daemon);
}
