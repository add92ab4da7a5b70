#include "loadgen/options.h"

#include "base/limits.h"
#include "loadgen/help.h"
#include "loadgen/plan.h"
#include "loadgen/teller.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ZIPF_EXPONENT     0.99
#define ZIPF_EXPONENT_MAX 10.0
#define DURATION_NS       10000000000ll
#define RECONNECT_NS      30000000000ll
#define DURATION_NS_MAX   (30ll * 86400 * 1000000000)

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

enum option_id {
    OPT_SERVER = 256,
    OPT_SCENARIO,
    OPT_SALE,
    OPT_CONNECTIONS,
    OPT_PIPELINE,
    OPT_BATCH,
    OPT_RATE,
    OPT_DURATION,
    OPT_WARMUP,
    OPT_ATTEMPTS,
    OPT_THREADS,
    OPT_STOCK,
    OPT_USERS,
    OPT_SKUS,
    OPT_SKU_DIST,
    OPT_LIMIT,
    OPT_QUANTITY,
    OPT_RETRY_SHARE,
    OPT_GREEDY_SHARE,
    OPT_GREEDY_USERS,
    OPT_SEED,
    OPT_RECONNECT,
    OPT_JSON,
    OPT_PROGRESS,
    OPT_QUIET,
    OPT_AUDIT_LOG,
    OPT_AUDIT,
    OPT_MIN_ACCEPTED,
    OPT_MIN_RESPONSES,
    OPT_MAX_P50,
    OPT_MAX_P99,
    OPT_MAX_P999,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"server", required_argument, NULL, OPT_SERVER},
    {"scenario", required_argument, NULL, OPT_SCENARIO},
    {"sale", required_argument, NULL, OPT_SALE},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"pipeline", required_argument, NULL, OPT_PIPELINE},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"rate", required_argument, NULL, OPT_RATE},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"attempts", required_argument, NULL, OPT_ATTEMPTS},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"stock", required_argument, NULL, OPT_STOCK},
    {"users", required_argument, NULL, OPT_USERS},
    {"skus", required_argument, NULL, OPT_SKUS},
    {"sku-dist", required_argument, NULL, OPT_SKU_DIST},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"quantity", required_argument, NULL, OPT_QUANTITY},
    {"retry-share", required_argument, NULL, OPT_RETRY_SHARE},
    {"greedy-share", required_argument, NULL, OPT_GREEDY_SHARE},
    {"greedy-users", required_argument, NULL, OPT_GREEDY_USERS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"reconnect", required_argument, NULL, OPT_RECONNECT},
    {"json", required_argument, NULL, OPT_JSON},
    {"progress", no_argument, NULL, OPT_PROGRESS},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"audit-log", required_argument, NULL, OPT_AUDIT_LOG},
    {"audit", required_argument, NULL, OPT_AUDIT},
    {"min-accepted-per-s", required_argument, NULL, OPT_MIN_ACCEPTED},
    {"min-responses-per-s", required_argument, NULL, OPT_MIN_RESPONSES},
    {"max-p50", required_argument, NULL, OPT_MAX_P50},
    {"max-p99", required_argument, NULL, OPT_MAX_P99},
    {"max-p999", required_argument, NULL, OPT_MAX_P999},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* --- values ------------------------------------------------------------------------------------
 */

/* A finite number, not negative, and what stands behind it. */
static bool parse_number(const char *text, double *value, const char **rest)
{
    char *end;
    /* strtod would take spaces, signs, hexadecimal and "inf", too. */
    if ((text[0] < '0' || text[0] > '9') || text[0] == '\0' || text[1] == 'x' || text[1] == 'X')
        return false;
    errno = 0;
    *value = strtod(text, &end);
    *rest = end;
    return errno == 0 && isfinite(*value);
}

bool lg_parse_duration(const char *text, int64_t *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    double value;
    const char *rest;
    if (!parse_number(text, &value, &rest))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(rest, units[i].unit) != 0)
            continue;
        if (value * units[i].ns > (double)DURATION_NS_MAX)
            return false;
        *ns = (int64_t)(value * units[i].ns);
        return true;
    }
    return strcmp(text, "0") == 0 ? (*ns = 0, true) : false;
}

bool lg_parse_count(const char *text, uint64_t max, uint64_t *count)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long whole = strtoull(text, &end, 10);
    if (*end == '\0') {
        *count = whole;
        return errno == 0 && whole <= max;
    }
    double value, scale;
    const char *rest;
    if (!parse_number(text, &value, &rest) || rest[0] == '\0' || rest[1] != '\0')
        return false;
    switch (rest[0]) {
    case 'k':
        scale = 1e3;
        break;
    case 'M':
        scale = 1e6;
        break;
    case 'G':
        scale = 1e9;
        break;
    default:
        return false;
    }
    if (value * scale > (double)max || value * scale >= 0x1p63)
        return false;
    *count = (uint64_t)llround(value * scale);
    return true;
}

static bool parse_count32(const char *text, uint32_t min, uint32_t max, uint32_t *count)
{
    uint64_t value;
    if (!lg_parse_count(text, max, &value) || value < min)
        return false;
    *count = (uint32_t)value;
    return true;
}

static bool parse_share(const char *text, double *share)
{
    const char *rest;
    return parse_number(text, share, &rest) && *rest == '\0' && *share <= 1;
}

static bool parse_rate(const char *text, double *rate)
{
    uint64_t value;
    if (strcmp(text, "max") == 0) {
        *rate = 0;
        return true;
    }
    const char *rest;
    if (parse_number(text, rate, &rest) && *rest == '\0')
        return *rate > 0 && *rate <= 1e9;
    if (!lg_parse_count(text, 1000000000, &value) || value == 0)
        return false;
    *rate = (double)value;
    return true;
}

static bool parse_distribution(const char *text, double *exponent)
{
    const char *rest;
    if (strcmp(text, "uniform") == 0)
        *exponent = 0;
    else if (strcmp(text, "zipf") == 0)
        *exponent = ZIPF_EXPONENT;
    else
        return strncmp(text, "zipf:", 5) == 0 && parse_number(text + 5, exponent, &rest) &&
               *rest == '\0' && *exponent <= ZIPF_EXPONENT_MAX;
    return true;
}

static bool parse_quantity(const char *text, struct lg_options *o)
{
    char low[24];
    const char *dash = strchr(text, '-');
    if (!dash) {
        if (!parse_count32(text, 1, TG_QUANTITY_MAX, &o->quantity_min))
            return false;
        o->quantity_max = o->quantity_min;
        return true;
    }
    if ((size_t)(dash - text) >= sizeof(low))
        return false;
    memcpy(low, text, (size_t)(dash - text));
    low[dash - text] = '\0';
    return parse_count32(low, 1, TG_QUANTITY_MAX, &o->quantity_min) &&
           parse_count32(dash + 1, o->quantity_min, TG_QUANTITY_MAX, &o->quantity_max);
}

static bool parse_rate_floor(const char *text, double *floor)
{
    uint64_t value;
    if (!lg_parse_count(text, 1000000000, &value))
        return false;
    *floor = (double)value;
    return true;
}

/* --- the line ----------------------------------------------------------------------------------
 */

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

static bool find_scenario(struct lg_options *o, const char *name)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(name, scenarios[i].name) == 0) {
            take_scenario(o, &scenarios[i]);
            return true;
        }
    }
    return false;
}

/* One option; false when its value is not what it must be. A flat table would only hide the
 * types, so this is long. */
static bool take_option(struct lg_options *o, enum option_id id, const char *value)
{
    switch (id) {
    case OPT_SERVER:
        o->server = value;
        return *value != '\0';
    case OPT_SCENARIO:
        return true; /* taken before all others, which override it */
    case OPT_SALE:
        return lg_parse_count(value, UINT64_MAX, &o->sale_id) && o->sale_id != 0;
    case OPT_CONNECTIONS:
        return parse_count32(value, 1, LG_CONNECTIONS_MAX, &o->connections);
    case OPT_PIPELINE:
        return parse_count32(value, 1, LG_FRAMES_MAX, &o->pipeline);
    case OPT_BATCH:
        return parse_count32(value, 1, TG_BATCH_ORDERS_MAX, &o->batch);
    case OPT_RATE:
        return parse_rate(value, &o->rate_per_s);
    case OPT_DURATION:
        return lg_parse_duration(value, &o->duration_ns) && o->duration_ns > 0;
    case OPT_WARMUP:
        return lg_parse_duration(value, &o->warmup_ns);
    case OPT_ATTEMPTS:
        return lg_parse_count(value, LG_ATTEMPTS_MAX, &o->attempts) && o->attempts > 0;
    case OPT_THREADS:
        return parse_count32(value, 1, LG_THREADS_MAX, &o->threads);
    case OPT_STOCK:
        return lg_parse_count(value, TG_STOCK_UNITS_MAX, &o->stock);
    case OPT_USERS:
        return lg_parse_count(value, LG_USERS_MAX, &o->users) && o->users > 0;
    case OPT_SKUS:
        return parse_count32(value, 1, TG_SALE_ITEMS_MAX, &o->skus);
    case OPT_SKU_DIST:
        return parse_distribution(value, &o->zipf_exponent);
    case OPT_LIMIT:
        return parse_count32(value, 0, UINT32_MAX, &o->limit);
    case OPT_QUANTITY:
        return parse_quantity(value, o);
    case OPT_RETRY_SHARE:
        return parse_share(value, &o->retry_share);
    case OPT_GREEDY_SHARE:
        return parse_share(value, &o->greedy_share);
    case OPT_GREEDY_USERS:
        return lg_parse_count(value, LG_USERS_MAX, &o->greedy_users) && o->greedy_users > 0;
    case OPT_SEED:
        return lg_parse_count(value, UINT64_MAX, &o->seed);
    case OPT_RECONNECT:
        return lg_parse_duration(value, &o->reconnect_ns);
    case OPT_JSON:
        o->json = value;
        return *value != '\0';
    case OPT_PROGRESS:
        o->progress = true;
        return true;
    case OPT_QUIET:
        o->quiet = true;
        return true;
    case OPT_AUDIT_LOG:
        o->audit_log = value;
        return *value != '\0';
    case OPT_AUDIT:
        o->audit = value;
        return *value != '\0';
    case OPT_MIN_ACCEPTED:
        return parse_rate_floor(value, &o->min_accepted_per_s);
    case OPT_MIN_RESPONSES:
        return parse_rate_floor(value, &o->min_responses_per_s);
    case OPT_MAX_P50:
        return lg_parse_duration(value, &o->max_p50_ns) && o->max_p50_ns > 0;
    case OPT_MAX_P99:
        return lg_parse_duration(value, &o->max_p99_ns) && o->max_p99_ns > 0;
    case OPT_MAX_P999:
        return lg_parse_duration(value, &o->max_p999_ns) && o->max_p999_ns > 0;
    case OPT_HELP:
    case OPT_VERSION:
        return true;
    }
    return false;
}

static enum lg_parsed usage(struct tg_fault *fault, const char *what, const char *detail)
{
    tg_fault_set(fault, TG_ERR_INVALID, "%s%s; see tidegate-load --help", what, detail);
    return LG_PARSED_USAGE;
}

/* The first pass looks for what prints and exits, for the scenario, and for unknown options. */
static enum lg_parsed first_pass(struct lg_options *o, int argc, char **argv,
                                 struct tg_fault *fault)
{
    int found;
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        switch (found) {
        case OPT_HELP:
            fputs(lg_help, stdout);
            return LG_PARSED_EXIT;
        case OPT_VERSION:
            puts("tidegate-load " TG_VERSION);
            return LG_PARSED_EXIT;
        case OPT_SCENARIO:
            if (!find_scenario(o, optarg))
                return usage(fault,
                             "--scenario must be seckill, durable, sold-out, many-skus, "
                             "lifecycle, groupbuy, cart or ingest, not ",
                             optarg);
            break;
        case ':':
            return usage(fault, "a value is missing behind ", argv[optind - 1]);
        case '?':
            return usage(fault, "unknown option ", argv[optind - 1]);
        default:
            break;
        }
    }
    return optind < argc ? usage(fault, "unexpected argument ", argv[optind]) : LG_PARSED_RUN;
}

/* What a scenario that tells stories does not know. */
static const char *check_tale(const struct lg_options *o)
{
    if (o->sale_id || o->batch != 1 || o->threads != 1 || o->audit_log || o->warmup_ns)
        return "--sale, --batch, --threads, --audit-log and --warmup do not go with a scenario "
               "that tells stories";
    if (o->zipf_exponent > 0 || o->quantity_max != 1 || o->retry_share > 0 || o->greedy_share > 0)
        return "--sku-dist, --quantity, --retry-share and --greedy-share do not go with a scenario "
               "that tells stories";
    if (o->pipeline > TGC_WINDOW_MAX / LG_STORY_ASKS_MAX)
        return "--pipeline must not be above 32768 with a scenario that tells stories";
    if ((uint64_t)o->connections * o->pipeline > LG_STORIES_MAX)
        return "--connections x --pipeline must not be above 262144 with a scenario that tells "
               "stories";
    return NULL;
}

static const char *check_together(struct lg_options *o)
{
    if (o->audit && o->audit_log)
        return "--audit and --audit-log do not go together";
    if (o->threads > o->connections)
        return "--threads must not be above --connections";
    if ((uint64_t)o->connections * o->pipeline * o->batch > LG_IN_FLIGHT_MAX)
        return "--connections x --pipeline x --batch must not be above 67108864";
    const char *wrong = lg_story_kind_of(o->scenario) && !o->audit ? check_tale(o) : NULL;
    if (wrong)
        return wrong;
    if (o->greedy_users > o->users)
        o->greedy_users = o->users;
    if (o->duration_ns == 0)
        o->duration_ns = o->attempts ? INT64_MAX : DURATION_NS;
    if (o->attempts == 0)
        o->attempts = LG_ATTEMPTS_MAX;
    return NULL;
}

enum lg_parsed lg_options_parse(struct lg_options *options, int argc, char **argv,
                                struct tg_fault *fault)
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
    take_scenario(options, &scenarios[0]);
    enum lg_parsed parsed = first_pass(options, argc, argv, fault);
    if (parsed != LG_PARSED_RUN)
        return parsed;
    int found, index = 0;
    optind = 0;
    while ((found = getopt_long(argc, argv, ":", long_options, &index)) != -1) {
        if (!take_option(options, (enum option_id)found, optarg)) {
            tg_fault_set(fault, TG_ERR_INVALID, "--%s cannot be \"%s\"; see tidegate-load --help",
                         long_options[index].name, optarg);
            return LG_PARSED_USAGE;
        }
    }
    const char *wrong = check_together(options);
    return wrong ? usage(fault, wrong, "") : LG_PARSED_RUN;
}
