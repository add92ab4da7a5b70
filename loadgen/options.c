#include "loadgen/options.h"

#include "base/limits.h"
#include "base/text.h"
#include "loadgen/help.h"
#include "loadgen/plan.h"
#include "loadgen/teller.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ZIPF_EXPONENT  0.99
#define DURATION_NS    10000000000ll
#define RECONNECT_NS   30000000000ll
#define SATURATE_RATE  10000.0
#define DURATION_MUST  "a time such as 500ms, 10s or 1.5m"
#define NAME_BYTES_MAX 40

struct scenario {
    const char *name;
    uint64_t stock;
    uint64_t users;
    uint32_t skus, limit;
    double zipf_exponent, retry_share, greedy_share;
};

/* name, stock, users, items, limit, zipf, retries, greedy */
static const struct scenario scenarios[] = {
    {"seckill", 10000, 200000, 1, 1, 0, 0.01, 0.05},
    {"durable", TG_STOCK_UNITS_MAX, 200000, 1, 1000000, 0, 0.01, 0},
    {"sold-out", 0, 200000, 1, 1, 0, 0, 0},
    {"many-skus", 1000000, 200000, 10000, 1000, ZIPF_EXPONENT, 0.01, 0},
    /* these tell stories: loadgen/story.h */
    {"lifecycle", 20000, 200000, 20, 0, 0, 0, 0},
    {"groupbuy", 20000, 200000, 20, 0, 0, 0, 0},
    {"cart", 2000, 200000, 50, 0, 0, 0, 0},
    {"ingest", 20000, 200000, 20, 0, 0, 0, 0},
};

/* --- the table ---------------------------------------------------------------------------------
 */

/* What a value is, and so how it is read and kept. */
enum kind {
    KIND_TEXT,     /* const char *, not empty */
    KIND_FLAG,     /* bool, no value */
    KIND_COUNT,    /* uint64_t, min .. max */
    KIND_COUNT32,  /* uint32_t, min .. max */
    KIND_DURATION, /* int64_t, ns, min .. 30 days */
    KIND_SHARE,    /* double, 0 .. 1 */
    KIND_RATE,     /* double, 0 for "max" */
    KIND_FLOOR,    /* double, a count a second */
    /* these are kept where their readers say */
    KIND_SCENARIO,
    KIND_SEED,
    KIND_DISTRIBUTION,
    KIND_QUANTITY,
    KIND_STAGE,
    KIND_OBJECTIVE,
    KIND_HELP,
    KIND_VERSION,
};

struct row {
    const char *name;
    enum kind kind;
    uint32_t places;
    size_t offset;
    uint64_t min, max; /* of counts; the least of durations */
};

#define AT(field) offsetof(struct lg_options, field)

static const struct row rows[] = {
    {"server", KIND_TEXT, LG_PLACE_ANY_LINE, AT(server), 0, 0},
    {"tls", KIND_FLAG, LG_PLACE_ANY_LINE, AT(tls), 0, 0},
    {"tls-ca", KIND_TEXT, LG_PLACE_ANY_LINE, AT(tls_ca), 0, 0},
    {"tls-cert", KIND_TEXT, LG_PLACE_ANY_LINE, AT(tls_cert), 0, 0},
    {"tls-key", KIND_TEXT, LG_PLACE_ANY_LINE, AT(tls_key), 0, 0},
    {"tls-name", KIND_TEXT, LG_PLACE_ANY_LINE, AT(tls_name), 0, 0},
    {"token-file", KIND_TEXT, LG_PLACE_ANY_LINE, AT(token_file), 0, 0},
    {"scenario", KIND_SCENARIO, LG_PLACE_PART | LG_PLACE_ANY_LINE, 0, 0, 0},
    {"sale", KIND_COUNT, LG_PLACE_PART, AT(sale_id), 1, UINT64_MAX},
    {"connections", KIND_COUNT32, LG_PLACE_PART, AT(connections), 1, LG_CONNECTIONS_MAX},
    {"pipeline", KIND_COUNT32, LG_PLACE_PART, AT(pipeline), 1, LG_FRAMES_MAX},
    {"batch", KIND_COUNT32, LG_PLACE_PART, AT(batch), 1, TG_BATCH_ORDERS_MAX},
    {"rate", KIND_RATE, LG_PLACE_PART, AT(rate_per_s), 0, 0},
    {"duration", KIND_DURATION, LG_PLACE_PART, AT(duration_ns), 1, 0},
    {"warmup", KIND_DURATION, LG_PLACE_PART, AT(warmup_ns), 0, 0},
    {"stage", KIND_STAGE, LG_PLACE_PART, 0, 0, 0},
    {"opens", KIND_DURATION, LG_PLACE_PART, AT(opens_ns), 0, 0},
    {"prefill", KIND_COUNT, LG_PLACE_PART, AT(prefill), 0, LG_PREFILL_MAX},
    {"attempts", KIND_COUNT, LG_PLACE_PART, AT(attempts), 1, LG_ATTEMPTS_MAX},
    {"threads", KIND_COUNT32, LG_PLACE_PART, AT(threads), 1, LG_THREADS_MAX},
    {"stock", KIND_COUNT, LG_PLACE_PART, AT(stock), 0, TG_STOCK_UNITS_MAX},
    {"users", KIND_COUNT, LG_PLACE_PART, AT(users), 1, LG_USERS_MAX},
    {"skus", KIND_COUNT32, LG_PLACE_PART, AT(skus), 1, TG_SALE_ITEMS_MAX},
    {"sku-dist", KIND_DISTRIBUTION, LG_PLACE_PART, 0, 0, 0},
    {"limit", KIND_COUNT32, LG_PLACE_PART, AT(limit), 0, UINT32_MAX},
    {"quantity", KIND_QUANTITY, LG_PLACE_PART, 0, 0, 0},
    {"retry-share", KIND_SHARE, LG_PLACE_PART, AT(retry_share), 0, 0},
    {"greedy-share", KIND_SHARE, LG_PLACE_PART, AT(greedy_share), 0, 0},
    {"greedy-users", KIND_COUNT, LG_PLACE_PART, AT(greedy_users), 1, LG_USERS_MAX},
    {"seed", KIND_SEED, LG_PLACE_PART | LG_PLACE_ANY_LINE, AT(seed), 0, UINT64_MAX},
    {"reconnect", KIND_DURATION, LG_PLACE_PART, AT(reconnect_ns), 0, 0},
    {"json", KIND_TEXT, LG_PLACE_ANY_LINE, AT(json), 0, 0},
    {"html", KIND_TEXT, LG_PLACE_ANY_LINE, AT(html), 0, 0},
    {"junit", KIND_TEXT, LG_PLACE_ANY_LINE, AT(junit), 0, 0},
    {"hgrm", KIND_TEXT, LG_PLACE_ANY_LINE, AT(hgrm), 0, 0},
    {"live", KIND_FLAG, LG_PLACE_ANY_LINE, AT(live), 0, 0},
    {"progress", KIND_FLAG, LG_PLACE_ANY_LINE, AT(progress), 0, 0},
    {"quiet", KIND_FLAG, LG_PLACE_ANY_LINE, AT(quiet), 0, 0},
    {"probe", KIND_TEXT, LG_PLACE_ANY_LINE, AT(probe), 0, 0},
    {"audit-log", KIND_TEXT, LG_PLACE_LINE, AT(audit_log), 0, 0},
    {"audit", KIND_TEXT, LG_PLACE_LINE, AT(audit), 0, 0},
    {"saturate", KIND_OBJECTIVE, LG_PLACE_LINE, 0, 0, 0},
    {"min-accepted-per-s", KIND_FLOOR, LG_PLACE_THRESHOLD, AT(thresholds.min_accepted_per_s), 0, 0},
    {"min-responses-per-s", KIND_FLOOR, LG_PLACE_THRESHOLD, AT(thresholds.min_responses_per_s), 0,
     0},
    {"max-p50", KIND_DURATION, LG_PLACE_THRESHOLD, AT(thresholds.max_p50_ns), 1, 0},
    {"max-p99", KIND_DURATION, LG_PLACE_THRESHOLD, AT(thresholds.max_p99_ns), 1, 0},
    {"max-p999", KIND_DURATION, LG_PLACE_THRESHOLD, AT(thresholds.max_p999_ns), 1, 0},
    {"max-p9999", KIND_DURATION, LG_PLACE_THRESHOLD, AT(thresholds.max_p9999_ns), 1, 0},
    {"max-slip-p99", KIND_DURATION, LG_PLACE_THRESHOLD, AT(thresholds.max_slip_p99_ns), 1, 0},
    {"max-backlog", KIND_COUNT, LG_PLACE_THRESHOLD, AT(thresholds.max_backlog), 0, LG_NO_LIMIT - 1},
    {"max-errors", KIND_COUNT, LG_PLACE_THRESHOLD, AT(thresholds.max_errors), 0, LG_NO_LIMIT - 1},
    {"help", KIND_HELP, LG_PLACE_ANY_LINE, 0, 0, 0},
    {"version", KIND_VERSION, LG_PLACE_ANY_LINE, 0, 0, 0},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct row *row_of(const char *name, uint32_t places)
{
    char dashed[NAME_BYTES_MAX];
    snprintf(dashed, sizeof(dashed), "%s", name);
    for (char *c = dashed; *c; c++)
        *c = *c == '_' ? '-' : *c;
    for (size_t i = 0; i < ROW_COUNT; i++)
        if ((rows[i].places & places) && strcmp(rows[i].name, dashed) == 0)
            return &rows[i];
    return NULL;
}

static enum tg_error unknown(const char *name, uint32_t places, struct tg_fault *fault)
{
    const char *names[ROW_COUNT] = {NULL};
    for (size_t i = 0; i < ROW_COUNT; i++)
        names[i] = rows[i].places & places ? rows[i].name : NULL;
    const char *nearest = tg_text_nearest(name, names, ROW_COUNT);
    if (nearest)
        return tg_fault_set(fault, TG_ERR_NOTFOUND, "unknown \"%.40s\"; did you mean \"%s\"?", name,
                            nearest);
    return tg_fault_set(fault, TG_ERR_NOTFOUND, "unknown \"%.40s\"", name);
}

/* --- values ------------------------------------------------------------------------------------
 */

static enum tg_error must_be(const struct row *row, const char *value, struct tg_fault *fault,
                             const char *what)
{
    return tg_fault_set(fault, TG_ERR_INVALID, "%s \"%.100s\" must be %s", row->name, value, what);
}

static enum tg_error wrong_count(const struct row *row, const char *value, struct tg_fault *fault)
{
    char what[80];
    snprintf(what, sizeof(what), "a number from %llu to %llu", (unsigned long long)row->min,
             (unsigned long long)row->max);
    return must_be(row, value, fault, what);
}

static void take_scenario(struct lg_options *o, const struct scenario *scenario)
{
    o->scenario = scenario->name;
    o->stock = scenario->stock;
    o->users = scenario->users;
    o->skus = scenario->skus;
    o->limit = scenario->limit;
    o->zipf_exponent = scenario->zipf_exponent;
    o->retry_share = scenario->retry_share;
    o->greedy_share = scenario->greedy_share;
}

static bool is_file(const char *name)
{
    size_t bytes = strlen(name);
    return strchr(name, '/') || (bytes > 4 && strcmp(name + bytes - 4, ".ini") == 0);
}

static enum tg_error set_scenario(struct lg_options *o, const char *name, struct tg_fault *fault)
{
    const char *names[sizeof(scenarios) / sizeof(scenarios[0])];
    uint32_t count = 0;
    for (; count < sizeof(scenarios) / sizeof(scenarios[0]); count++) {
        names[count] = scenarios[count].name;
        if (strcmp(name, names[count]) != 0)
            continue;
        take_scenario(o, &scenarios[count]);
        return TG_ERR_OK;
    }
    const char *nearest = tg_text_nearest(name, names, count);
    return tg_fault_set(fault, TG_ERR_INVALID,
                        "scenario \"%.40s\" must be seckill, durable, sold-out, many-skus, "
                        "lifecycle, groupbuy, cart, ingest or a file (with a / or ending in .ini)"
                        "%s%s%s",
                        name, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                        nearest ? "\"?" : "");
}

static enum tg_error add_stage(struct lg_options *o, const struct row *row, const char *value,
                               struct tg_fault *fault)
{
    if (o->stage_count == LG_STAGES_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "there can be %u stages at most", LG_STAGES_MAX);
    if (!lg_parse_stage(value, &o->stages[o->stage_count]))
        return must_be(row, value, fault,
                       "NAME DURATION RATE, such as \"hold 10s 200k\", with FROM..TO for a ramp or "
                       "max for a closed loop; a name has at most 15 small letters, digits and "
                       "dashes");
    o->stage_count++;
    return TG_ERR_OK;
}

/* The values that are kept in one field, by its type. False when it is not what it must be. */
static bool set_field(struct lg_options *o, const struct row *row, const char *value)
{
    void *field = (char *)o + row->offset;
    uint64_t count;
    switch (row->kind) {
    case KIND_TEXT:
        *(const char **)field = value;
        return *value != '\0';
    case KIND_FLAG:
        *(bool *)field = true;
        return true;
    case KIND_COUNT:
    case KIND_SEED:
        return lg_parse_count(value, row->max, field) && *(uint64_t *)field >= row->min;
    case KIND_COUNT32:
        return lg_parse_count32(value, (uint32_t)row->min, (uint32_t)row->max, field);
    case KIND_DURATION:
        return lg_parse_duration(value, field) && *(int64_t *)field >= (int64_t)row->min;
    case KIND_SHARE:
        return lg_parse_share(value, field);
    case KIND_RATE:
        return lg_parse_rate(value, field);
    case KIND_FLOOR:
        if (!lg_parse_count(value, (uint64_t)LG_RATE_MAX, &count))
            return false;
        *(double *)field = (double)count;
        return true;
    case KIND_DISTRIBUTION:
        return lg_parse_distribution(value, &o->zipf_exponent);
    case KIND_QUANTITY:
        return lg_parse_quantity(value, &o->quantity_min, &o->quantity_max);
    case KIND_OBJECTIVE:
        return lg_parse_objective(value, &o->saturate);
    case KIND_SCENARIO:
    case KIND_STAGE:
    case KIND_HELP:
    case KIND_VERSION:
        return true; /* not kept in a field */
    }
    return false;
}

static const char *wanted(const struct row *row)
{
    switch (row->kind) {
    case KIND_TEXT:
        return "a name";
    case KIND_DURATION:
        return row->min ? DURATION_MUST " above 0" : DURATION_MUST;
    case KIND_SHARE:
        return "a share from 0 to 1";
    case KIND_RATE:
        return "max, or a rate above 0 and up to 1G a second";
    case KIND_FLOOR:
        return "a rate up to 1G a second";
    case KIND_DISTRIBUTION:
        return "uniform, zipf or zipf:S with S up to 10";
    case KIND_QUANTITY:
        return "a number of units, or MIN-MAX";
    case KIND_OBJECTIVE:
        return "a percentile and its limit, such as \"p99<=4ms\": p50, p90, p99, p999 or p9999";
    case KIND_FLAG:
    case KIND_COUNT:
    case KIND_COUNT32:
    case KIND_SEED:
    case KIND_SCENARIO:
    case KIND_STAGE:
    case KIND_HELP:
    case KIND_VERSION:
        break; /* told elsewhere, or never wrong */
    }
    return "something else";
}

static enum tg_error set_row(struct lg_options *o, const struct row *row, const char *value,
                             struct tg_fault *fault)
{
    if (row->kind == KIND_SCENARIO)
        return set_scenario(o, value, fault);
    if (row->kind == KIND_STAGE)
        return add_stage(o, row, value, fault);
    if (!set_field(o, row, value))
        return row->kind == KIND_COUNT || row->kind == KIND_COUNT32 || row->kind == KIND_SEED
                   ? wrong_count(row, value, fault)
                   : must_be(row, value, fault, wanted(row));
    if (row->kind == KIND_SEED)
        o->seed_given = true;
    return TG_ERR_OK;
}

enum tg_error lg_options_set(struct lg_options *options, const char *name, const char *value,
                             uint32_t places, struct tg_fault *fault)
{
    const struct row *row = row_of(name, places);
    return row ? set_row(options, row, value, fault) : unknown(name, places, fault);
}

void lg_options_init(struct lg_options *options)
{
    memset(options, 0, sizeof(*options));
    options->server = "127.0.0.1:7411";
    options->connections = 64;
    options->pipeline = 16;
    options->batch = options->threads = 1;
    options->reconnect_ns = RECONNECT_NS;
    options->seed = 1;
    options->greedy_users = 100;
    options->quantity_min = options->quantity_max = 1;
    options->thresholds.max_backlog = options->thresholds.max_errors = LG_NO_LIMIT;
    take_scenario(options, &scenarios[0]);
}

/* --- what goes together ------------------------------------------------------------------------
 */

/* What a scenario that tells stories does not know. */
static const char *check_tale(const struct lg_options *o)
{
    if (o->sale_id || o->batch != 1 || o->threads != 1 || o->audit_log || o->opens_ns)
        return "sale, batch, threads, audit-log and opens do not go with a scenario that tells "
               "stories";
    if (o->zipf_exponent > 0 || o->quantity_max != 1 || o->retry_share > 0 || o->greedy_share > 0)
        return "sku-dist, quantity, retry-share and greedy-share do not go with a scenario that "
               "tells stories";
    if (o->pipeline > TGC_WINDOW_MAX / LG_STORY_ASKS_MAX)
        return "pipeline must not be above 32768 with a scenario that tells stories";
    if ((uint64_t)o->connections * o->pipeline > LG_STORIES_MAX)
        return "connections x pipeline must not be above 262144 with a scenario that tells stories";
    if (o->saturate.fraction > 0)
        return "saturate does not go with a scenario that tells stories";
    return NULL;
}

static bool is_named(const struct lg_stage_wish *stage, const char *name)
{
    return strcmp(stage->name, name) == 0;
}

/* Warm-up comes first and drain last, so that what is measured is one piece. */
static const char *check_stages(const struct lg_options *o)
{
    uint32_t measured = 0;
    int64_t left_ns = LG_DURATION_NS_MAX;
    bool drains = false, has_rate = false;
    for (uint32_t i = 0; i < o->stage_count; i++) {
        const struct lg_stage_wish *stage = &o->stages[i];
        bool warm_up = is_named(stage, "warm-up"), drain = is_named(stage, "drain");
        if (warm_up && (measured || drains))
            return "stages named warm-up must stand before all others";
        if (drains && !drain)
            return "stages named drain must stand behind all others";
        if (stage->closed != o->stages[0].closed)
            return "either all stages have the rate max, or none has";
        drains = drains || drain;
        measured += !warm_up && !drain;
        has_rate = has_rate || stage->closed || stage->rate_from > 0 || stage->rate_to > 0;
        left_ns -= stage->duration_ns;
        if (left_ns < 0)
            return "all stages together must not take longer than 30 days";
    }
    if (o->stage_count && !measured)
        return "one stage at least must be measured: neither warm-up nor drain";
    if (o->stage_count && !has_rate)
        return "one stage at least must have a rate above 0";
    return NULL;
}

static const char *check_search(const struct lg_options *o)
{
    if (o->saturate.fraction <= 0)
        return NULL;
    if (o->stage_count || o->opens_ns || o->audit_log || o->audit || o->attempts)
        return "stage, opens, attempts, audit-log and audit do not go with saturate, whose steps "
               "have rates of their own";
    return NULL;
}

static const char *check_files(const struct lg_options *o)
{
    const char *const files[] = {o->json, o->html, o->junit, o->hgrm};
    uint32_t to_stdout = 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        to_stdout += files[i] && strcmp(files[i], "-") == 0;
    return to_stdout > 1 ? "one of json, html, junit and hgrm alone can be -" : NULL;
}

static const char *check_together(const struct lg_options *o)
{
    if (o->audit && o->audit_log)
        return "audit and audit-log do not go together";
    if (o->threads > o->connections)
        return "threads must not be above connections";
    if ((uint64_t)o->connections * o->pipeline * o->batch > LG_IN_FLIGHT_MAX)
        return "connections x pipeline x batch must not be above 67108864";
    if (o->stage_count && (o->rate_per_s > 0 || o->duration_ns || o->warmup_ns))
        return "rate, duration and warmup do not go with stage, which says all three";
    if (o->sale_id && o->opens_ns)
        return "opens does not go with sale, which has its own window";
    const char *wrong = lg_story_kind_of(o->scenario) && !o->audit ? check_tale(o) : NULL;
    if (!wrong)
        wrong = check_search(o);
    if (!wrong)
        wrong = check_files(o);
    return wrong ? wrong : check_stages(o);
}

static void make_profile(struct lg_options *o)
{
    int64_t run_ns = o->duration_ns < LG_STAGE_ENDLESS_NS ? o->duration_ns : LG_STAGE_ENDLESS_NS;
    if (o->stage_count) {
        lg_profile_init(&o->profile, o->stages[0].closed);
        for (uint32_t i = 0; i < o->stage_count; i++)
            lg_profile_add(&o->profile, o->stages[i].name, o->stages[i].duration_ns,
                           o->stages[i].rate_from, o->stages[i].rate_to);
        return;
    }
    lg_profile_init(&o->profile, o->rate_per_s <= 0);
    if (o->warmup_ns)
        lg_profile_add(&o->profile, "warm-up", o->warmup_ns, o->rate_per_s, o->rate_per_s);
    lg_profile_add(&o->profile, "run", run_ns, o->rate_per_s, o->rate_per_s);
}

enum tg_error lg_options_finish(struct lg_options *o, struct tg_fault *fault)
{
    const char *wrong = check_together(o);
    if (wrong)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s", wrong);
    if (o->greedy_users > o->users)
        o->greedy_users = o->users;
    if (o->saturate.fraction > 0 && o->rate_per_s <= 0)
        o->rate_per_s = SATURATE_RATE;
    if (o->duration_ns == 0)
        o->duration_ns = o->attempts ? INT64_MAX : DURATION_NS;
    if (o->attempts == 0)
        o->attempts = LG_ATTEMPTS_MAX;
    make_profile(o);
    return TG_ERR_OK;
}

/* --- the command line --------------------------------------------------------------------------
 */

#define OPTION_BASE 256 /* getopt's values: OPTION_BASE + row */
#define LINE_PLACES (LG_PLACE_PART | LG_PLACE_THRESHOLD | LG_PLACE_ANY_LINE | LG_PLACE_LINE)

static enum lg_parsed usage(struct tg_fault *fault, const char *what, const char *detail)
{
    tg_fault_set(fault, TG_ERR_INVALID, "%s%s; see tidegate-load --help", what, detail);
    return LG_PARSED_USAGE;
}

static void make_getopt(struct option *options)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        bool bare =
            rows[i].kind == KIND_FLAG || rows[i].kind == KIND_HELP || rows[i].kind == KIND_VERSION;
        options[i] = (struct option){rows[i].name, bare ? no_argument : required_argument, NULL,
                                     OPTION_BASE + (int)i};
    }
    options[ROW_COUNT] = (struct option){NULL, 0, NULL, 0};
}

/* The fault of an option or its value, as the command line says it. */
static enum lg_parsed usage_of(const struct tg_fault *wrong, struct tg_fault *fault)
{
    char text[sizeof(wrong->text)];
    snprintf(text, sizeof(text), "--%.450s", wrong->text);
    return usage(fault, text, "");
}

static enum lg_parsed unknown_option(const char *word, struct tg_fault *fault)
{
    struct tg_fault wrong;
    char name[NAME_BYTES_MAX];
    snprintf(name, sizeof(name), "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = '\0';
    unknown(name, LINE_PLACES, &wrong);
    return usage(fault, wrong.text, "");
}

/* The first pass looks for what prints and exits, for the scenario, which all others override, and
 * for unknown options. */
static enum lg_parsed first_pass(struct lg_options *o, int argc, char **argv,
                                 const struct option *options, struct tg_fault *fault)
{
    int found;
    struct tg_fault wrong;
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (found == ':')
            return usage(fault, "a value is missing behind ", argv[optind - 1]);
        if (found < OPTION_BASE)
            return unknown_option(argv[optind - 1], fault);
        switch (rows[found - OPTION_BASE].kind) {
        case KIND_HELP:
            fputs(lg_help, stdout);
            return LG_PARSED_EXIT;
        case KIND_VERSION:
            puts("tidegate-load " TG_VERSION);
            return LG_PARSED_EXIT;
        case KIND_SCENARIO:
            o->file = is_file(optarg) ? optarg : NULL;
            if (!o->file && set_scenario(o, optarg, &wrong) != TG_ERR_OK)
                return usage_of(&wrong, fault);
            break;
        default:
            break;
        }
    }
    return optind < argc ? usage(fault, "unexpected argument ", argv[optind]) : LG_PARSED_RUN;
}

static enum lg_parsed take_line(struct lg_options *o, int argc, char **argv,
                                const struct option *options, struct tg_fault *fault)
{
    int found;
    struct tg_fault wrong;
    optind = 0;
    while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        const struct row *row = &rows[found - OPTION_BASE];
        if (row->kind == KIND_SCENARIO)
            continue;
        if (o->file && !(row->places & (LG_PLACE_ANY_LINE | LG_PLACE_THRESHOLD))) {
            char what[80];
            snprintf(what, sizeof(what), "--%s does not go with a scenario file", row->name);
            return usage(fault, what, row->places & LG_PLACE_PART ? ": a part of it says it" : "");
        }
        if (set_row(o, row, optarg, &wrong) != TG_ERR_OK)
            return usage_of(&wrong, fault);
    }
    return LG_PARSED_RUN;
}

enum lg_parsed lg_options_parse(struct lg_options *options, int argc, char **argv,
                                struct tg_fault *fault)
{
    struct option long_options[ROW_COUNT + 1];
    struct tg_fault wrong;
    lg_options_init(options);
    make_getopt(long_options);
    enum lg_parsed parsed = first_pass(options, argc, argv, long_options, fault);
    if (parsed == LG_PARSED_RUN)
        parsed = take_line(options, argc, argv, long_options, fault);
    if (parsed == LG_PARSED_RUN && lg_options_finish(options, &wrong) != TG_ERR_OK)
        return usage(fault, wrong.text, "");
    return parsed;
}
