#include "loadgen/junit.h"

#include "loadgen/markup.h"
#include "loadgen/tree.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct tally {
    unsigned tests, failures, errors, skipped;
};

/* A run or a part of one. */
struct suite {
    const json_t *run;
    const char *name;
    bool sound; /* its audit, and that of each other part, passed */
    struct tally tally;
};

/* --- what there is to tell --- */

static bool is_done(const json_t *run)
{
    return lg_tree_is_true(run, "audit.done");
}

static bool has_failed(const json_t *run)
{
    return !lg_tree_is_true(run, "audit.ok") ||
           strcmp(lg_tree_text(run, "status", "failed"), "failed") == 0;
}

/* Reports of before there were "thresholds" name those alone that were missed. */
static const json_t *checks_of(const json_t *run)
{
    const json_t *thresholds = lg_tree_at(run, "thresholds");
    return thresholds ? thresholds : lg_tree_at(run, "missed");
}

static bool is_met(const json_t *check)
{
    return lg_tree_is_true(check, "ok");
}

static void count(struct suite *suite)
{
    const json_t *checks = checks_of(suite->run), *check;
    size_t i;
    struct tally *t = &suite->tally;
    t->tests = 1;
    if (has_failed(suite->run)) {
        t->failures += is_done(suite->run);
        t->errors += !is_done(suite->run);
    }
    json_array_foreach(checks, i, check)
    {
        t->tests++;
        t->skipped += !suite->sound;
        t->failures += suite->sound && !is_met(check);
    }
}

/* --- XML --- */

static void write_attribute(const char *name, const char *value, FILE *out)
{
    fprintf(out, " %s=\"", name);
    lg_markup_text(value, out);
    fputc('"', out);
}

static void open_case(const struct suite *suite, const char *name, double seconds, FILE *out)
{
    fputs("    <testcase classname=\"tidegate-load.", out);
    lg_markup_text(suite->name, out);
    fputc('"', out);
    write_attribute("name", name, out);
    fprintf(out, " time=\"%.3f\"", isnan(seconds) ? 0 : seconds);
}

static void write_numbers(const struct suite *suite, FILE *out)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(suite->run, "audit"), name, value)
    {
        if (!json_is_number(value) || json_number_value(value) == 0)
            continue;
        lg_markup_text(name, out);
        fprintf(out, ": %.0f\n", json_number_value(value));
    }
}

static void write_audit(const struct suite *suite, FILE *out)
{
    const json_t *examples = lg_tree_at(suite->run, "audit.examples"), *example;
    size_t i;
    const char *error = lg_tree_text(suite->run, "error", NULL);
    open_case(suite, "audit", lg_tree_number(suite->run, "audit.seconds"), out);
    if (!has_failed(suite->run)) {
        fputs("/>\n", out);
        return;
    }
    const char *element = is_done(suite->run) ? "failure" : "error";
    fprintf(out, ">\n      <%s type=\"audit\"", element);
    write_attribute("message",
                    error                 ? error
                    : is_done(suite->run) ? "a promise was broken"
                                          : "the audit was not done",
                    out);
    fputc('>', out);
    write_numbers(suite, out);
    json_array_foreach(examples, i, example)
    {
        lg_markup_text(json_string_value(example), out);
        fputc('\n', out);
    }
    fprintf(out, "</%s>\n    </testcase>\n", element);
}

static const char *figure_of(const json_t *check, const char *name, char out[LG_FIGURE_BYTES])
{
    bool is_time = strcmp(lg_tree_text(check, "unit", ""), "us") == 0;
    return lg_figure(lg_tree_number(check, name), is_time ? LG_UNIT_US : LG_UNIT_COUNT, out);
}

/* "p99 at most 20.0 ms" */
static void name_of(const json_t *check, char *name, size_t bytes)
{
    char wanted[LG_FIGURE_BYTES];
    if (json_is_string(check))
        snprintf(name, bytes, "%s", json_string_value(check));
    else
        snprintf(name, bytes, "%s %s %s", lg_tree_text(check, "name", "threshold"),
                 lg_tree_is_true(check, "at_least") ? "at least" : "at most",
                 figure_of(check, "wanted", wanted));
}

static void write_check(const struct suite *suite, const json_t *check, FILE *out)
{
    char name[200], message[240], value[LG_FIGURE_BYTES];
    name_of(check, name, sizeof(name));
    open_case(suite, name, NAN, out);
    if (!suite->sound) {
        fputs(">\n      <skipped message=\"the audit did not pass: there is no figure\"/>\n"
              "    </testcase>\n",
              out);
        return;
    }
    if (is_met(check)) {
        fputs("/>\n", out);
        return;
    }
    if (json_is_string(check))
        snprintf(message, sizeof(message), "%s", name);
    else
        snprintf(message, sizeof(message), "is %s", figure_of(check, "value", value));
    fputs(">\n      <failure type=\"threshold\"", out);
    write_attribute("message", message, out);
    fputs("/>\n    </testcase>\n", out);
}

static void write_counts(const struct tally *t, double seconds, FILE *out)
{
    fprintf(out, " tests=\"%u\" failures=\"%u\" errors=\"%u\" skipped=\"%u\" time=\"%.3f\"",
            t->tests, t->failures, t->errors, t->skipped, isnan(seconds) ? 0 : seconds);
}

static void write_suite(const struct suite *suite, FILE *out)
{
    const json_t *checks = checks_of(suite->run), *check;
    size_t i;
    const char *started_at = lg_tree_text(suite->run, "started_at", NULL);
    fputs("  <testsuite", out);
    write_attribute("name", suite->name, out);
    write_counts(&suite->tally, lg_tree_number(suite->run, "run_s"), out);
    if (started_at)
        write_attribute("timestamp", started_at, out);
    fputs(">\n", out);
    write_audit(suite, out);
    json_array_foreach(checks, i, check)
    {
        write_check(suite, check, out);
    }
    fputs("  </testsuite>\n", out);
}

/* The whole, or one of its parts. */
static struct suite suite_of(const json_t *report, size_t number, bool sound)
{
    const json_t *part = number ? json_array_get(lg_tree_at(report, "parts"), number - 1) : NULL;
    struct suite suite = {.run = part ? part : report, .sound = sound};
    const char *file = lg_tree_text(report, "file", NULL);
    const char *slash = file ? strrchr(file, '/') : NULL;
    suite.name = part    ? lg_tree_text(part, "part", "part")
                 : slash ? slash + 1
                 : file  ? file
                         : lg_tree_text(report, "scenario", "run");
    count(&suite);
    return suite;
}

void lg_junit_render(const json_t *report, FILE *out)
{
    size_t parts = json_array_size(lg_tree_at(report, "parts"));
    bool sound = lg_tree_is_sound(report);
    struct tally all = {0};
    for (size_t i = 0; i <= parts; i++) {
        struct tally one = suite_of(report, i, sound).tally;
        all.tests += one.tests;
        all.failures += one.failures;
        all.errors += one.errors;
        all.skipped += one.skipped;
    }
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate-load\"", out);
    write_counts(&all, lg_tree_number(report, "run_s"), out);
    fputs(">\n", out);
    for (size_t i = 0; i <= parts; i++) {
        struct suite suite = suite_of(report, i, sound);
        write_suite(&suite, out);
    }
    fputs("</testsuites>\n", out);
}

enum tg_error lg_junit_write(const json_t *report, const char *path, struct tg_fault *fault)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    if (!out)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
    lg_junit_render(report, out);
    bool ok = !ferror(out);
    ok = (to_stdout ? fflush(out) : fclose(out)) == 0 && ok;
    return ok ? TG_ERR_OK : tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
}
