/* What is made of a JSON report: the page, the CI file, and comparisons. */
#include "loadgen/compare.h"
#include "loadgen/html.h"
#include "loadgen/junit.h"
#include "loadgen/series.h"
#include "loadgen/tree.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVIL     "<script>alert('x')</script>&\"\x01"
#define EVIL_TAG "<script>alert"

/* Numbers that stand nowhere else, so that a page that shows one of them is found out. */
#define RATE "812345"
#define P99  "77.7"

static json_t *list(double first, double step, size_t count)
{
    json_t *values = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(values, json_real(first + step * (double)i));
    return values;
}

static json_t *samples(size_t count)
{
    return json_pack("{s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o}, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "interval_s", 0.25, "t_s", list(0.25, 0.25, count), "offered",
                     list(100, 1, count), "responses", list(100, 1, count), "accepted",
                     list(50, 0, count), "backlog", list(0, 0, count), "in_flight",
                     list(64, 0, count), "verdicts", EVIL, list(50, 1, count), "p50_us",
                     list(80, 0, count), "p99_us", list(900, 0, count), "max_us",
                     list(2000, 1, count), "commits", list(10, 0, count), "commit_records",
                     list(500, 0, count), "commit_us_p99", list(300, 0, count));
}

static json_t *report(bool ok, size_t sample_count)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:{s:i, s:i, s:i}, s:f, s:f, s:f, s:{s:f, s:f, s:f, "
        "s:i, s:[[f, f], [f, f]]}, s:{s:b, s:b, s:i, s:i, s:f, s:[s]}, s:o, s:[s], s:[{s:s, s:f, "
        "s:f, s:b}], s:i, s:i, s:{s:i}}",
        "tool", "tidegate-load 0.2.0", "status", ok ? "threshold missed" : "broken", "scenario",
        EVIL, "server", "127.0.0.1:7411", "started_at", "2026-11-22T10:00:00Z", "loop", "open",
        "about", EVIL, "settings", "connections", 64, "pipeline", 16, "batch", 1, "elapsed_s", 10.0,
        "accepted_per_s", strtod(RATE, NULL), "responses_per_s", strtod(RATE, NULL), "latency_us",
        "p50", 80.0, "p99", strtod(P99, NULL), "max", 9000.0, "count", 1000, "percentiles", 50.0,
        80.0, 99.0, strtod(P99, NULL), "audit", "ok", ok, "done", 1, "lost", ok ? 0 : 3,
        "accepted_answers", 10000, "seconds", 0.5, "examples", EVIL, "samples",
        samples(sample_count), "missed", "p99 is too high " EVIL, "thresholds", "name", "p99",
        "wanted", 50.0, "value", strtod(P99, NULL), "ok", 0, "offered", 20000, "accepted", 10000,
        "rejected", "SOLD_OUT", 10000);
}

static char *page_of(const json_t *tree)
{
    char *text;
    size_t bytes;
    struct tg_fault fault;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_eq(lg_html_render(tree, out, &fault), TG_ERR_OK);
    fclose(out);
    return text;
}

static char *junit_of(const json_t *tree)
{
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    lg_junit_render(tree, out);
    fclose(out);
    return text;
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

/* --- the page --- */

Test(reports, a_page_shows_the_run_and_escapes_every_name)
{
    json_t *tree = report(true, 40);
    cr_assert(tree);
    /* An interval without answers. */
    json_array_set_new(json_object_get(json_object_get(tree, "samples"), "p99_us"), 7, json_null());
    char *page = page_of(tree);
    cr_assert(strstr(page, "The audit passed"));
    cr_assert(strstr(page, "812,345/s"));
    cr_assert(strstr(page, "1 threshold was missed"));
    cr_assert(strstr(page, "Throughput over time") && strstr(page, "Latency by percentile"));
    cr_assert_eq(count_of(page, EVIL_TAG), 0);
    cr_assert_gt(count_of(page, "&lt;script&gt;alert"), 8);
    /* Its own script, and nothing from elsewhere. */
    cr_assert_eq(count_of(page, "<script"), 1);
    cr_assert_eq(count_of(page, "http:") + count_of(page, "https:") + count_of(page, "src="), 0);
    cr_assert_eq(count_of(page, "nan"), 0);
    free(page);
    json_decref(tree);
}

Test(reports, a_failed_audit_shows_no_throughput_latency_or_chart)
{
    json_t *tree = report(false, 40);
    char *page = page_of(tree);
    cr_assert(strstr(page, "The audit failed"));
    cr_assert(strstr(page, "lost: 3"));
    cr_assert_eq(count_of(page, "812") + count_of(page, P99) + count_of(page, "role=\"img\""), 0);
    cr_assert_eq(count_of(page, "<figure") + count_of(page, "/s<"), 0);
    free(page);
    /* A part that failed fails the whole, whatever the whole says. */
    json_t *whole = report(true, 40), *parts = json_array();
    json_array_append_new(parts, report(true, 4));
    json_array_append(parts, tree);
    json_object_set_new(whole, "parts", parts);
    page = page_of(whole);
    cr_assert(strstr(page, "The audit failed"));
    cr_assert_eq(count_of(page, "812"), 0);
    free(page);
    json_decref(whole);
    json_decref(tree);
}

Test(reports, what_is_not_there_is_not_drawn)
{
    json_t *tree = report(true, 0);
    char *page = page_of(tree);
    cr_assert(strstr(page, "There is nothing to draw"));
    cr_assert_eq(count_of(page, "nan"), 0);
    free(page);
    json_decref(tree);
    /* Nothing but its name. */
    tree = json_pack("{s:s}", "tool", "tidegate-load 0.1.0");
    page = page_of(tree);
    cr_assert(strstr(page, "The audit was not done"));
    free(page);
    json_decref(tree);
}

/* --- series --- */

Test(reports, samples_that_do_not_fit_are_folded_and_no_spike_is_lost)
{
    struct lg_series s;
    json_t *tree = report(true, 1001);
    json_t *slowest = json_object_get(json_object_get(tree, "samples"), "max_us");
    json_array_set_new(slowest, 499, json_real(1e6));
    json_array_set_new(slowest, 501, json_null());
    cr_assert(lg_series_init(&s, tree));
    cr_assert_eq(s.folded, 3);
    cr_assert_eq(s.count, 334);
    cr_assert_float_eq(s.max_us[166], 1e6, 1e-6);
    /* Rates are those of three intervals together. */
    cr_assert_float_eq(s.offered[0], (100 + 101 + 102) / 0.75, 1e-6);
    cr_assert_float_eq(s.end_s[333], 250.25, 1e-9);
    cr_assert_float_eq(s.batch[7], 50, 1e-9);
    cr_assert_eq(s.verdict_count, 1);
    lg_series_fini(&s);
    json_decref(tree);
}

Test(reports, more_verdicts_than_colours_become_one)
{
    struct lg_series s;
    char name[8];
    json_t *tree = report(true, 4), *verdicts = json_object();
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "V%d", i);
        json_object_set_new(verdicts, name, list(i, 0, 4));
    }
    json_object_set_new(json_object_get(tree, "samples"), "verdicts", verdicts);
    cr_assert(lg_series_init(&s, tree));
    cr_assert_eq(s.verdict_count, LG_SERIES_VERDICTS);
    cr_assert_str_eq(s.verdicts[0].name, "V11");
    cr_assert_str_eq(s.verdicts[LG_SERIES_VERDICTS - 1].name, "all others");
    /* 6 + 5 + 4 + 3 + 2 + 1, four times a second. */
    cr_assert_float_eq(s.verdicts[LG_SERIES_VERDICTS - 1].per_s[2], 84, 1e-9);
    lg_series_fini(&s);
    json_decref(tree);
}

/* --- the CI file --- */

Test(reports, ci_gets_the_audit_and_each_threshold)
{
    json_t *tree = report(true, 4);
    char *text = junit_of(tree);
    cr_assert(strstr(text, "tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""), "%s", text);
    cr_assert(strstr(text, "name=\"p99 at most 50\""), "%s", text);
    cr_assert(strstr(text, "message=\"is 77.7\""));
    cr_assert_eq(count_of(text, EVIL_TAG), 0);
    free(text);
    /* Of an older report the words of what was missed. */
    json_object_del(tree, "thresholds");
    text = junit_of(tree);
    cr_assert(strstr(text, "name=\"p99 is too high &lt;script&gt;"), "%s", text);
    free(text);
    json_decref(tree);
}

Test(reports, ci_skips_thresholds_of_a_broken_run)
{
    json_t *tree = report(false, 4);
    char *text = junit_of(tree);
    cr_assert(strstr(text, "tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"1\""), "%s", text);
    cr_assert(strstr(text, "<failure type=\"audit\""));
    cr_assert_null(strstr(text, P99));
    free(text);
    json_object_set_new(json_object_get(tree, "audit"), "done", json_false());
    text = junit_of(tree);
    cr_assert(strstr(text, "failures=\"0\" errors=\"1\" skipped=\"1\""), "%s", text);
    free(text);
    json_decref(tree);
}

/* --- comparing --- */

static const char *difference(const json_t *a, const json_t *b)
{
    static char words[256];
    words[0] = '\0';
    cr_assert_eq(lg_compare_differ(a, b, words, sizeof(words)),
                 lg_compare_differ(b, a, words, sizeof(words)));
    return lg_compare_differ(a, b, words, sizeof(words)) ? words : "";
}

Test(reports, runs_that_were_not_asked_for_the_same_are_told_apart)
{
    json_t *a = report(true, 4), *b = report(true, 8);
    json_t *settings = json_object_get(b, "settings");
    cr_assert_str_eq(difference(a, b), "");
    json_object_set_new(b, "seed", json_integer(7));
    cr_assert_str_eq(difference(a, b), "");
    json_object_set_new(settings, "pipeline", json_real(16));
    cr_assert_str_eq(difference(a, b), "");
    json_object_set_new(settings, "pipeline", json_integer(64));
    cr_assert_str_eq(difference(a, b), "pipeline is 16 and 64");
    json_object_set_new(settings, "pipeline", json_integer(16));
    json_object_set_new(settings, "new_option", json_integer(1));
    cr_assert_str_eq(difference(a, b), "new_option is nothing and 1");
    json_object_del(settings, "new_option");
    json_object_set_new(b, "stages", json_pack("[{s:s, s:f}]", "name", "wall", "end_s", 2.0));
    cr_assert_str_eq(difference(a, b), "the number of stages is 0 and 1");
    json_decref(a);
    json_decref(b);
}

/* --- the commands --- */

static int run(int (*command)(int, char **), const char *const *words)
{
    char *argv[32] = {0};
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = strdup(words[argc]);
    int status = command(argc, argv);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return status;
}

#define COMPARE(...)                                                                               \
    run(lg_compare_main, (const char *[]){"compare", "--json", answer, __VA_ARGS__, NULL})

static char directory[] = "/tmp/tidegate-reports-XXXXXX";
static char paths[10][64], answer[64];

/* Five pairs, of which each has these rates; all else is the same. */
static void write_pairs(const double *a, const double *b)
{
    if (!mkdtemp(directory))
        cr_assert_fail("no directory");
    snprintf(answer, sizeof(answer), "%s/answer.json", directory);
    for (int i = 0; i < 10; i++) {
        char at[24];
        json_t *tree = report(true, 4);
        json_object_set_new(tree, "accepted_per_s", json_real(i % 2 ? b[i / 2] : a[i / 2]));
        snprintf(at, sizeof(at), "2026-11-22T10:0%d:00Z", i);
        json_object_set_new(tree, "started_at", json_string(at));
        snprintf(paths[i], sizeof(paths[i]), "%s/%d.json", directory, i);
        cr_assert_eq(json_dump_file(tree, paths[i], 0), 0);
        json_decref(tree);
    }
}

static void remove_pairs(void)
{
    for (int i = 0; i < 10; i++)
        unlink(paths[i]);
    unlink(answer);
    rmdir(directory);
}

#define ALL_PAIRS                                                                                  \
    paths[0], paths[1], paths[2], paths[3], paths[4], paths[5], paths[6], paths[7], paths[8],      \
        paths[9]

static const char *verdict_of(const char *figure)
{
    static char verdict[32];
    json_t *root = json_load_file(answer, 0, NULL), *list_of = json_object_get(root, "figures"),
           *item;
    size_t i;
    snprintf(verdict, sizeof(verdict), "none");
    json_array_foreach(list_of, i, item)
    {
        if (strcmp(lg_tree_text(item, "figure", ""), figure) == 0)
            snprintf(verdict, sizeof(verdict), "%s", lg_tree_text(item, "verdict", ""));
    }
    json_decref(root);
    return verdict;
}

static const double level[] = {100, 300, 150, 250, 200};

Test(compare, a_gain_is_faster_and_what_did_not_change_the_same)
{
    static const double gain[] = {121, 359, 178, 304, 239};
    write_pairs(level, gain);
    cr_assert_eq(COMPARE(ALL_PAIRS), 0);
    cr_assert_str_eq(verdict_of("accepted_per_s"), "faster");
    cr_assert_str_eq(verdict_of("p99"), "same");
    cr_assert_str_eq(verdict_of("commit_p99"), "none");
    cr_assert_eq(COMPARE("--margin", "25%", ALL_PAIRS), 0);
    cr_assert_str_eq(verdict_of("accepted_per_s"), "same");
    remove_pairs();
}

Test(compare, a_loss_exits_3_unless_nobody_asked_for_it)
{
    static const double loss[] = {80, 241, 119, 202, 161};
    write_pairs(level, loss);
    cr_assert_eq(COMPARE(ALL_PAIRS), 3);
    cr_assert_str_eq(verdict_of("accepted_per_s"), "slower");
    cr_assert_eq(COMPARE("--figure", "p99", ALL_PAIRS), 0);
    cr_assert_str_eq(verdict_of("accepted_per_s"), "none");
    remove_pairs();
}

Test(compare, noise_and_a_single_pair_leave_it_open)
{
    static const double noisy[] = {140, 240, 200, 200, 230};
    write_pairs(level, noisy);
    cr_assert_eq(COMPARE(ALL_PAIRS), 0);
    cr_assert_str_eq(verdict_of("accepted_per_s"), "unclear");
    cr_assert_eq(COMPARE(paths[0], paths[1]), 0);
    cr_assert_str_eq(verdict_of("p99"), "unclear");
    remove_pairs();
}

Test(compare, what_cannot_be_compared_is_refused)
{
    static const double same[] = {1, 1, 1, 1, 1};
    write_pairs(same, same);
    json_t *broken = report(false, 4);
    json_dump_file(broken, paths[3], 0);
    json_decref(broken);
    cr_assert_eq(COMPARE(paths[0], paths[1]), 0);
    cr_assert_eq(COMPARE(paths[0], paths[1], paths[2], paths[3]), 2);
    json_t *other = report(true, 4);
    json_object_set_new(json_object_get(other, "settings"), "batch", json_integer(100));
    json_dump_file(other, paths[1], 0);
    json_decref(other);
    cr_assert_eq(COMPARE(paths[0], paths[1]), 2);
    cr_assert_eq(COMPARE(paths[0]), 2);
    cr_assert_eq(COMPARE("--margin", "5%%", paths[0], paths[2]), 2);
    cr_assert_eq(COMPARE("--figure", "speed", paths[0], paths[2]), 2);
    cr_assert_eq(COMPARE(paths[0], "/nowhere.json"), 4);
    remove_pairs();
}
