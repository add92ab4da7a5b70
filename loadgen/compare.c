#include "loadgen/compare.h"

#include "loadgen/markup.h"
#include "loadgen/run.h"
#include "loadgen/tree.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct figure {
    const char *name;
    const char *path;
    enum lg_unit unit;
    bool more_is_better;
};

static const struct figure figures[] = {
    {"accepted_per_s", "accepted_per_s", LG_UNIT_RATE, true},
    {"responses_per_s", "responses_per_s", LG_UNIT_RATE, true},
    {"saturation_per_s", "saturation.rate_per_s", LG_UNIT_RATE, true},
    {"p50", "latency_us.p50", LG_UNIT_US, false},
    {"p99", "latency_us.p99", LG_UNIT_US, false},
    {"p999", "latency_us.p999", LG_UNIT_US, false},
    {"commit_p99", "daemon.commit_us.p99", LG_UNIT_US, false},
};

#define FIGURE_COUNT (sizeof(figures) / sizeof(figures[0]))

struct comparison {
    const char *json; /* NULL: not asked for */
    double margin;
    bool chosen[FIGURE_COUNT];
    char **paths;
    json_t *runs[2 * LG_PAIRS_MAX]; /* owned: A B A B ... */
    uint32_t pair_count;
    struct {
        bool there; /* in every run, and above 0 */
        struct lg_pairs pairs;
        double a[LG_PAIRS_MAX], b[LG_PAIRS_MAX];
    } results[FIGURE_COUNT];
    char order[160]; /* what is wrong with the order of the runs; "" for nothing */
    char machine[160];
};

/* --- what makes runs comparable ----------------------------------------------------------------
 */

static bool are_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if ((!a || json_is_null(a)) && (!b || json_is_null(b)))
        return true;
    return json_equal(a, b);
}

static void put_value(char *out, size_t bytes, const json_t *value)
{
    char *text =
        value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    snprintf(out, bytes, "%.60s", text ? text : "nothing");
    free(text);
}

static bool tell_difference(const char *where, const char *name, const json_t *a, const json_t *b,
                            char *words, size_t bytes)
{
    char left[64], right[64];
    if (are_equal(a, b))
        return false;
    put_value(left, sizeof(left), a);
    put_value(right, sizeof(right), b);
    snprintf(words, bytes, "%s%s is %s and %s", where, name, left, right);
    return true;
}

/* Every key of either. */
static bool objects_differ(const char *where, json_t *a, json_t *b, char *words, size_t bytes)
{
    const char *name;
    json_t *value;
    json_object_foreach(a, name, value)
    {
        if (tell_difference(where, name, value, json_object_get(b, name), words, bytes))
            return true;
    }
    json_object_foreach(b, name, value)
    {
        if (tell_difference(where, name, json_object_get(a, name), value, words, bytes))
            return true;
    }
    return false;
}

/* The end of an endless stage is when the run ended, and the rate of a search's best step its
 * result: neither was asked for. */
static json_t *stage_of(const json_t *run, size_t i)
{
    json_t *stage = json_copy(json_array_get(json_object_get(run, "stages"), i));
    if (stage && isnan(lg_tree_number(run, "settings.duration_s")))
        json_object_del(stage, "end_s");
    if (stage && lg_tree_at(run, "saturation")) {
        json_object_del(stage, "rate_from");
        json_object_del(stage, "rate_to");
    }
    return stage;
}

static json_t *settings_of(const json_t *run)
{
    json_t *settings = json_copy(json_object_get(run, "settings"));
    if (settings && lg_tree_at(run, "saturation"))
        json_object_del(settings, "rate_per_s");
    return settings;
}

static bool settings_differ(const char *where, const json_t *a, const json_t *b, char *words,
                            size_t bytes)
{
    json_t *left = settings_of(a), *right = settings_of(b);
    bool differ = objects_differ(where, left, right, words, bytes);
    json_decref(left);
    json_decref(right);
    return differ;
}

static bool stages_differ(const char *where, const json_t *a, const json_t *b, char *words,
                          size_t bytes)
{
    size_t a_count = json_array_size(json_object_get(a, "stages"));
    size_t b_count = json_array_size(json_object_get(b, "stages"));
    if (a_count != b_count) {
        snprintf(words, bytes, "%sthe number of stages is %zu and %zu", where, a_count, b_count);
        return true;
    }
    bool differ = false;
    for (size_t i = 0; !differ && i < a_count; i++) {
        char name[120];
        json_t *left = stage_of(a, i), *right = stage_of(b, i);
        snprintf(name, sizeof(name), "%.80sof stage %zu ", where, i + 1);
        differ = objects_differ(name, left, right, words, bytes);
        json_decref(left);
        json_decref(right);
    }
    return differ;
}

static bool runs_differ(const char *where, const json_t *a, const json_t *b, char *words,
                        size_t bytes)
{
    static const char *const names[] = {"scenario", "part", "loop"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (tell_difference(where, names[i], json_object_get(a, names[i]),
                            json_object_get(b, names[i]), words, bytes))
            return true;
    return settings_differ(where, a, b, words, bytes) || stages_differ(where, a, b, words, bytes) ||
           tell_difference(where, "the objective", lg_tree_at(a, "saturation.objective"),
                           lg_tree_at(b, "saturation.objective"), words, bytes);
}

bool lg_compare_differ(const json_t *a, const json_t *b, char *words, size_t bytes)
{
    const json_t *a_parts = lg_tree_at(a, "parts"), *b_parts = lg_tree_at(b, "parts");
    if (runs_differ("", a, b, words, bytes))
        return true;
    if (json_array_size(a_parts) != json_array_size(b_parts)) {
        snprintf(words, bytes, "the number of parts is %zu and %zu", json_array_size(a_parts),
                 json_array_size(b_parts));
        return true;
    }
    for (size_t i = 0; i < json_array_size(a_parts); i++) {
        char where[80];
        const json_t *part = json_array_get(a_parts, i);
        snprintf(where, sizeof(where), "of part %.40s ", lg_tree_text(part, "part", "?"));
        if (runs_differ(where, part, json_array_get(b_parts, i), words, bytes))
            return true;
    }
    return false;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static enum lg_status fail(enum lg_status status, const char *text)
{
    fprintf(stderr, "tidegate-load compare: %s\n", text);
    return status;
}

static enum lg_status load(struct comparison *c)
{
    char text[512], words[256];
    struct tg_fault fault;
    for (uint32_t i = 0; i < 2 * c->pair_count; i++) {
        c->runs[i] = lg_tree_load(c->paths[i], &fault);
        if (!c->runs[i])
            return fail(LG_FAILED, fault.text);
        if (!lg_tree_is_sound(c->runs[i])) {
            snprintf(text, sizeof(text),
                     "%.200s: the audit of this run did not pass: its figures mean nothing, and "
                     "there is nothing to compare",
                     c->paths[i]);
            return fail(LG_USAGE, text);
        }
        if (i && lg_compare_differ(c->runs[0], c->runs[i], words, sizeof(words))) {
            snprintf(text, sizeof(text), "%.100s and %.100s were not asked for the same: %.250s",
                     c->paths[0], c->paths[i], words);
            return fail(LG_USAGE, text);
        }
    }
    return LG_PASSED;
}

static void look_at_machines(struct comparison *c)
{
    static const char *const paths[] = {
        "machine.cpu",      "machine.cores",      "machine.memory_bytes", "machine.kernel",
        "machine.governor", "machine.filesystem", "daemon.threads"};
    for (uint32_t i = 1; i < 2 * c->pair_count; i++)
        for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++)
            if (!c->machine[0] &&
                !are_equal(lg_tree_at(c->runs[0], paths[p]), lg_tree_at(c->runs[i], paths[p])))
                snprintf(c->machine, sizeof(c->machine),
                         "%s differs: the machine may be what is compared", paths[p]);
}

/* Times of RFC 3339 in UTC are in the order of their letters. */
static void look_at_order(struct comparison *c)
{
    const char *last_a = "", *first_b = NULL;
    for (uint32_t i = 0; i < 2 * c->pair_count; i++) {
        const char *at = lg_tree_text(c->runs[i], "started_at", NULL);
        if (!at) {
            snprintf(c->order, sizeof(c->order),
                     "not every report says when it began: whether runs took turns is not known");
            return;
        }
        if (i % 2 == 0 && strcmp(at, last_a) > 0)
            last_a = at;
        if (i % 2 && (!first_b || strcmp(at, first_b) < 0))
            first_b = at;
    }
    if (c->pair_count > 1 && first_b && strcmp(last_a, first_b) < 0)
        snprintf(c->order, sizeof(c->order),
                 "all runs of A were before all of B: whatever changed meanwhile counts as a "
                 "difference; let them take turns");
}

static void judge(struct comparison *c)
{
    for (size_t f = 0; f < FIGURE_COUNT; f++) {
        bool there = c->chosen[f];
        for (uint32_t i = 0; i < c->pair_count; i++) {
            c->results[f].a[i] = lg_tree_number(c->runs[2ul * i], figures[f].path);
            c->results[f].b[i] = lg_tree_number(c->runs[2ul * i + 1], figures[f].path);
            there = there && c->results[f].a[i] > 0 && c->results[f].b[i] > 0;
        }
        c->results[f].there = there;
        if (there)
            lg_pairs_compare(&c->results[f].pairs, c->results[f].a, c->results[f].b, c->pair_count,
                             figures[f].more_is_better, c->margin);
    }
}

static bool is_any(const struct comparison *c, enum lg_pairs_verdict verdict)
{
    for (size_t f = 0; f < FIGURE_COUNT; f++)
        if (c->results[f].there && c->results[f].pairs.verdict == verdict)
            return true;
    return false;
}

/* --- telling -----------------------------------------------------------------------------------
 */

static const char *verdict_text(const struct lg_pairs *pairs)
{
    switch (pairs->verdict) {
    case LG_PAIRS_SAME:
        return "same within noise";
    case LG_PAIRS_BETTER:
        return "faster";
    case LG_PAIRS_WORSE:
        return "SLOWER";
    case LG_PAIRS_UNCLEAR:
        return pairs->count < LG_PAIRS_MIN ? "too few pairs to tell" : "too noisy to tell";
    }
    return "";
}

static void write_figure(const struct comparison *c, size_t f, FILE *out)
{
    const struct lg_pairs *p = &c->results[f].pairs;
    char a[LG_FIGURE_BYTES], b[LG_FIGURE_BYTES], interval[48];
    snprintf(interval, sizeof(interval), "%.3f .. %.3f", p->low, p->high);
    /* Figures may have a Greek letter, of two bytes: the columns count letters. */
    lg_figure(p->a_median, figures[f].unit, a);
    lg_figure(p->b_median, figures[f].unit, b);
    int a_width = 14 + (strchr(a, '\xc2') != NULL), b_width = 14 + (strchr(b, '\xc2') != NULL);
    fprintf(out, "  %-17s %*s \u00b1%4.1f%% %*s \u00b1%4.1f%%   %6.3f  %-16s  %s\n",
            figures[f].name, a_width, a, 100 * p->a_spread, b_width, b, 100 * p->b_spread, p->ratio,
            isnan(p->low) ? "" : interval, verdict_text(p));
}

static void write_text(const struct comparison *c, FILE *out)
{
    double tail = 0;
    uint32_t k = lg_pairs_rank(c->pair_count, &tail);
    fprintf(out, "tidegate-load compare: %u pair%s of %s, B against A\n", c->pair_count,
            c->pair_count == 1 ? "" : "s",
            lg_tree_text(c->runs[0], "file", lg_tree_text(c->runs[0], "scenario", "a run")));
    fprintf(out, "  A: tidegated %s, %s first\n  B: tidegated %s, %s first\n",
            lg_tree_text(c->runs[0], "daemon.version", "of unknown version"), c->paths[0],
            lg_tree_text(c->runs[1], "daemon.version", "of unknown version"), c->paths[1]);
    if (c->order[0])
        fprintf(out, "  NOTE: %s.\n", c->order);
    if (c->machine[0])
        fprintf(out, "  NOTE: %s.\n", c->machine);
    fprintf(out, "\n  %-17s %21s %21s   %6s  %-16s  %s\n", "figure", "A median, spread",
            "B median, spread", "B/A", k ? "interval" : "", "verdict");
    for (size_t f = 0; f < FIGURE_COUNT; f++)
        if (c->results[f].there)
            write_figure(c, f, out);
    if (k)
        fprintf(
            out,
            "\n  B/A is the Hodges-Lehmann estimate of the pairs' ratios, the interval (%.1f%%) "
            "that of\n  Wilcoxon's signed-rank test. Changes within %.3g%% count as the same.\n",
            100 * (1 - 2 * tail), 100 * c->margin);
    else
        fprintf(out, "\n  A verdict takes %u pairs or more.\n", LG_PAIRS_MIN);
}

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

static json_t *number(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *json_figure(const struct comparison *c, size_t f)
{
    static const char *const names[] = {[LG_PAIRS_SAME] = "same",
                                        [LG_PAIRS_BETTER] = "faster",
                                        [LG_PAIRS_WORSE] = "slower",
                                        [LG_PAIRS_UNCLEAR] = "unclear"};
    const struct lg_pairs *p = &c->results[f].pairs;
    json_t *object = json_object(), *ratios = json_array();
    set(object, "figure", json_string(figures[f].name));
    set(object, "verdict", json_string(names[p->verdict]));
    set(object, "ratio", number(p->ratio));
    set(object, "low", number(p->low));
    set(object, "high", number(p->high));
    set(object, "confidence", number(p->confidence));
    set(object, "more_is_better", json_boolean(figures[f].more_is_better));
    set(object, "a_median", number(p->a_median));
    set(object, "a_spread", number(p->a_spread));
    set(object, "b_median", number(p->b_median));
    set(object, "b_spread", number(p->b_spread));
    for (uint32_t i = 0; i < c->pair_count; i++)
        json_array_append_new(ratios, number(c->results[f].b[i] / c->results[f].a[i]));
    set(object, "ratios", ratios);
    return object;
}

static json_t *build_json(const struct comparison *c)
{
    json_t *root = json_object(), *list = json_array();
    set(root, "tool", json_string("tidegate-load compare " TG_VERSION));
    set(root, "method",
        json_string("Hodges-Lehmann estimate and Wilcoxon signed-rank interval of "
                    "the logarithms of the pairs' ratios B/A"));
    set(root, "pairs", json_integer(c->pair_count));
    set(root, "margin", json_real(c->margin));
    set(root, "order", c->order[0] ? json_string(c->order) : json_null());
    set(root, "machine", c->machine[0] ? json_string(c->machine) : json_null());
    set(root, "worse", json_boolean(is_any(c, LG_PAIRS_WORSE)));
    for (size_t f = 0; f < FIGURE_COUNT; f++)
        if (c->results[f].there)
            json_array_append_new(list, json_figure(c, f));
    set(root, "figures", list);
    return root;
}

static enum lg_status write_json(const struct comparison *c)
{
    bool to_stdout = strcmp(c->json, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(c->json, "we");
    if (!out)
        return fail(LG_FAILED, "cannot write the answer");
    json_t *root = build_json(c);
    bool ok = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 &&
              fputc('\n', out) != EOF;
    json_decref(root);
    ok = (to_stdout ? fflush(out) : fclose(out)) == 0 && ok;
    return ok ? LG_PASSED : fail(LG_FAILED, "cannot write the answer");
}

/* --- the command -------------------------------------------------------------------------------
 */

static const char help[] =
    "tidegate-load compare - is B faster than A, and how sure is that\n"
    "\n"
    "USAGE\n"
    "  tidegate-load compare [option]... A.json B.json [A2.json B2.json]...\n"
    "\n"
    "  Takes reports (--json of a run) in pairs: of A, of B, of A, of B. Make them in\n"
    "  turns, five pairs or more. Refuses runs whose audit failed, and runs that were\n"
    "  not asked for the same.\n"
    "\n"
    "OPTIONS\n"
    "  --margin P%       A change up to P counts as none. Default 5%.\n"
    "  --figure NAME     Judges this one alone; may be given again. accepted_per_s,\n"
    "                    responses_per_s, saturation_per_s, p50, p99, p999,\n"
    "                    commit_p99. Default: all that every report has.\n"
    "  --json FILE       The answer as JSON; - for standard output, without text.\n"
    "\n"
    "EXIT STATUS\n"
    "  0  faster, the same, or unclear\n"
    "  2  usage, or runs that cannot be compared\n"
    "  3  slower beyond noise, in one figure at least\n"
    "  4  a report cannot be read, or the answer not written\n";

static bool choose(struct comparison *c, const char *name)
{
    for (size_t f = 0; f < FIGURE_COUNT; f++)
        if (strcmp(figures[f].name, name) == 0)
            return c->chosen[f] = true;
    return false;
}

/* "5%" or "0.05". */
static bool parse_margin(const char *text, double *margin)
{
    char digits[32];
    size_t length = strlen(text);
    bool percent = length && text[length - 1] == '%';
    if (length >= sizeof(digits))
        return false;
    memcpy(digits, text, length + 1);
    if (percent)
        digits[length - 1] = '\0';
    char *end;
    *margin = strtod(digits, &end) / (percent ? 100 : 1);
    return end != digits && *end == '\0' && *margin >= 0 && *margin <= 1;
}

static enum lg_status parse_options(struct comparison *c, int argc, char **argv)
{
    static const struct option options[] = {{"margin", required_argument, NULL, 'm'},
                                            {"figure", required_argument, NULL, 'f'},
                                            {"json", required_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    int found;
    bool any = false;
    c->margin = LG_COMPARE_MARGIN;
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == 'm' && parse_margin(optarg, &c->margin))
            continue;
        if (found == 'f' && choose(c, optarg)) {
            any = true;
            continue;
        }
        if (found != 'j')
            return fail(LG_USAGE, "wrong option, or wrong value of one; see compare --help");
        c->json = optarg;
    }
    for (size_t f = 0; !any && f < FIGURE_COUNT; f++)
        c->chosen[f] = true;
    c->paths = argv + optind;
    uint32_t count = (uint32_t)(argc - optind);
    if (count == 0 || count % 2 || count > 2 * LG_PAIRS_MAX)
        return fail(LG_USAGE, "reports come in 1 to 100 pairs, of A and of B in turn; see compare "
                              "--help");
    c->pair_count = count / 2;
    return LG_PASSED;
}

static enum lg_status compare(struct comparison *c)
{
    enum lg_status status = load(c);
    if (status)
        return status;
    look_at_order(c);
    look_at_machines(c);
    judge(c);
    if (!c->json || strcmp(c->json, "-") != 0)
        write_text(c, stdout);
    if (c->json)
        status = write_json(c);
    return status ? status : is_any(c, LG_PAIRS_WORSE) ? LG_MISSED : LG_PASSED;
}

int lg_compare_main(int argc, char **argv)
{
    static struct comparison c; /* 13 KiB */
    memset(&c, 0, sizeof(c));
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return LG_PASSED;
    }
    enum lg_status status = parse_options(&c, argc, argv);
    if (!status)
        status = compare(&c);
    for (uint32_t i = 0; i < 2 * c.pair_count; i++)
        json_decref(c.runs[i]);
    return (int)status;
}
