/* The command line of tidegate-load: units are read as they are written, nonsense is refused. */
#include "loadgen/options.h"

#include <criterion/criterion.h>

static struct lg_options options;
static struct tg_fault fault;

static enum lg_parsed parse(int argc, const char *const *argv)
{
    char *copy[32] = {0};
    for (int i = 0; i < argc; i++)
        copy[i] = (char *)(uintptr_t)argv[i];
    return lg_options_parse(&options, argc, copy, &fault);
}

#define PARSE(...)                                                                                 \
    parse((int)(sizeof((const char *[]){"tidegate-load", __VA_ARGS__}) / sizeof(char *)),          \
          (const char *[]){"tidegate-load", __VA_ARGS__})

Test(options, durations_have_units)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"10s", 10000000000}, {"500ms", 500000000}, {"2m", 120000000000},  {"250us", 250000},
        {"7ns", 7},           {"1.5s", 1500000000}, {"1h", 3600000000000}, {"0", 0}};
    static const char *const bad[] = {"",   "10",  "s",    "-1s",  "1 s", "1e400s", "0x10s",
                                      "1d", "1ss", "nans", "infs", "+1s", " 1s",    "1000h"};
    int64_t ns;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert(lg_parse_duration(good[i].text, &ns), "%s", good[i].text);
        cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(lg_parse_duration(bad[i], &ns), "%s", bad[i]);
}

Test(options, counts_take_k_m_and_g_and_keep_to_their_limit)
{
    uint64_t count;
    cr_assert(lg_parse_count("18446744073709551615", UINT64_MAX, &count) && count == UINT64_MAX);
    cr_assert(lg_parse_count("200k", 1000000, &count) && count == 200000);
    cr_assert(lg_parse_count("1.5M", 10000000, &count) && count == 1500000);
    cr_assert(lg_parse_count("2G", UINT64_MAX, &count) && count == 2000000000);
    cr_assert(lg_parse_count("1000", 1000, &count));
    static const char *const bad[] = {
        "1001", "2k", "", "-1", "1kk", "k", "1.5", "1 k", "0x1", "1m", "18446744073709551616"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(lg_parse_count(bad[i], 1000, &count), "%s", bad[i]);
}

Test(options, a_scenario_gives_defaults_and_options_override_it_in_any_order)
{
    cr_assert_eq(PARSE("--stock", "5", "--scenario", "many-skus", "--limit=0"), LG_PARSED_RUN);
    cr_assert_eq(options.stock, 5);
    cr_assert_eq(options.skus, 10000);
    cr_assert_eq(options.limit, 0);
    cr_assert_gt(options.zipf_exponent, 0.9);
    cr_assert_eq(PARSE("--server", "a:1"), LG_PARSED_RUN);
    cr_assert_eq(options.stock, 10000);
    cr_assert_eq(options.users, 200000);
    cr_assert_eq(options.limit, 1);
    cr_assert_eq(options.duration_ns, 10000000000);
}

Test(options, attempts_without_a_duration_run_to_their_end)
{
    cr_assert_eq(PARSE("--attempts", "10k"), LG_PARSED_RUN);
    cr_assert_eq(options.attempts, 10000);
    cr_assert_eq(options.duration_ns, INT64_MAX);
    cr_assert_eq(PARSE("--attempts", "10k", "--duration", "1s"), LG_PARSED_RUN);
    cr_assert_eq(options.duration_ns, 1000000000);
}

Test(options, shapes_are_read)
{
    cr_assert_eq(PARSE("--quantity", "2-7", "--sku-dist", "zipf:1.25", "--rate", "0.5"),
                 LG_PARSED_RUN);
    cr_assert(options.quantity_min == 2 && options.quantity_max == 7);
    cr_assert_float_eq(options.zipf_exponent, 1.25, 1e-9);
    cr_assert_float_eq(options.rate_per_s, 0.5, 1e-9);
    cr_assert_eq(PARSE("--quantity", "3", "--sku-dist", "uniform", "--rate", "200k"),
                 LG_PARSED_RUN);
    cr_assert(options.quantity_min == 3 && options.quantity_max == 3);
    cr_assert_float_eq(options.zipf_exponent, 0, 1e-9);
    cr_assert_float_eq(options.rate_per_s, 200000, 1e-9);
}

Test(options, what_makes_no_sense_is_refused_and_named)
{
    static const char *const bad[][2] = {
        {"--batch", "4097"},      {"--batch", "0"},         {"--connections", "0"},
        {"--rate", "0"},          {"--rate", "fast"},       {"--quantity", "5-3"},
        {"--quantity", "0"},      {"--retry-share", "1.1"}, {"--greedy-share", "-0.1"},
        {"--duration", "10"},     {"--skus", "16385"},      {"--sku-dist", "zipf:"},
        {"--sku-dist", "pareto"}, {"--scenario", "none"},   {"--users", "0"},
        {"--stock", "2G"},        {"--sale", "0"},          {"--threads", "65"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(PARSE(bad[i][0], bad[i][1]), LG_PARSED_USAGE, "%s %s", bad[i][0], bad[i][1]);
        cr_assert_not_null(strstr(fault.text, bad[i][0]), "%s", fault.text);
    }
    cr_assert_eq(PARSE("--no-audit"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("stray"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--threads", "2", "--connections", "1"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--connections", "10000", "--pipeline", "65536"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--audit", "a", "--audit-log", "b"), LG_PARSED_USAGE);
}

Test(options, tales_refuse_what_they_do_not_know)
{
    static const char *const bad[][2] = {
        {"--sale", "5"},         {"--batch", "2"},       {"--opens", "1s"},
        {"--audit-log", "a"},    {"--threads", "2"},     {"--sku-dist", "zipf"},
        {"--quantity", "2"},     {"--retry-share", "1"}, {"--greedy-share", "0.5"},
        {"--pipeline", "32769"}, {"--pipeline", "5000"}, {"--saturate", "p99<=1ms"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(PARSE("--scenario", "cart", bad[i][0], bad[i][1]), LG_PARSED_USAGE, "%s %s",
                     bad[i][0], bad[i][1]);
        cr_assert_not_null(strstr(fault.text, bad[i][0] + 2), "%s", fault.text);
    }
    cr_assert_eq(PARSE("--scenario", "cart", "--rate", "50", "--stock", "7", "--limit", "3",
                       "--pipeline", "4096", "--progress"),
                 LG_PARSED_RUN);
    cr_assert_eq(options.skus, 50);
    cr_assert_eq(PARSE("--pipeline", "5000"), LG_PARSED_RUN, "the others have no such bound");
}

/* --- stages --- */

static const struct lg_stage *stage(uint32_t i)
{
    return &options.profile.stages[i];
}

Test(options, stages_make_the_profile)
{
    cr_assert_eq(PARSE("--stage", "warm-up 2s 0..1k", "--stage", " hold  1.5s\t1k ", "--stage",
                       "drain 500ms 1k..0"),
                 LG_PARSED_RUN, "%s", fault.text);
    cr_assert(options.profile.stage_count == 3 && !options.profile.closed);
    cr_assert_str_eq(stage(1)->name, "hold");
    cr_assert_eq(stage(1)->begin_ns, 2000000000);
    cr_assert_eq(stage(1)->duration_ns, 1500000000);
    cr_assert(!stage(0)->measured && stage(1)->measured && !stage(2)->measured);
    cr_assert_float_eq(stage(0)->rate_to, 1000, 1e-9);
    cr_assert_float_eq(stage(2)->rate_to, 0, 1e-9);
    cr_assert_eq(PARSE("--stage", "a 1s max", "--stage", "b 1s max"), LG_PARSED_RUN);
    cr_assert(options.profile.closed);
}

Test(options, stages_that_make_no_sense_are_refused)
{
    static const char *const bad[] = {"",
                                      "hold",
                                      "hold 1s",
                                      "hold 1s 5 6",
                                      "hold 0 5",
                                      "Hold 1s 5",
                                      "hold 1 5",
                                      "hold 1s 5..",
                                      "hold 1s ..5",
                                      "hold 1s -5",
                                      "hold 1s 2G",
                                      "hold 1s 5..max",
                                      "a-name-of-sixteen 1s 5"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(PARSE("--stage", bad[i]), LG_PARSED_USAGE, "%s", bad[i]);
        cr_assert_not_null(strstr(fault.text, "--stage"), "%s", fault.text);
    }
    cr_assert_eq(PARSE("--stage", "a 1s 5", "--stage", "warm-up 1s 5"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "drain 1s 5", "--stage", "a 1s 5"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "warm-up 1s 5", "--stage", "drain 1s 5"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "a 1s 5", "--stage", "b 1s max"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "a 1s 0"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "a 1s 5", "--rate", "5"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "a 1s 5", "--duration", "5s"), LG_PARSED_USAGE);
    cr_assert_eq(PARSE("--stage", "a 700h 5", "--stage", "b 100h 5"), LG_PARSED_USAGE);
}

/* --- thresholds, searches, names --- */

Test(options, thresholds_of_nothing_differ_from_none)
{
    cr_assert_eq(PARSE("--quiet"), LG_PARSED_RUN);
    cr_assert_eq(options.thresholds.max_errors, LG_NO_LIMIT);
    cr_assert_eq(options.thresholds.max_backlog, LG_NO_LIMIT);
    cr_assert_eq(PARSE("--max-errors", "0", "--max-backlog", "2k", "--max-p9999", "1s",
                       "--max-slip-p99", "5ms", "--min-accepted-per-s", "7"),
                 LG_PARSED_RUN);
    cr_assert_eq(options.thresholds.max_errors, 0);
    cr_assert_eq(options.thresholds.max_backlog, 2000);
    cr_assert_eq(options.thresholds.max_p9999_ns, 1000000000);
    cr_assert_eq(options.thresholds.max_slip_p99_ns, 5000000);
    cr_assert_float_eq(options.thresholds.min_accepted_per_s, 7, 1e-9);
}

Test(options, objectives_are_a_percentile_and_its_limit)
{
    static const struct {
        const char *text, *name;
        double fraction;
        int64_t ns;
    } good[] = {{"p99<=4ms", "p99", 0.99, 4000000},
                {"p99.9 <= 15ms", "p999", 0.999, 15000000},
                {"p50<= 250us", "p50", 0.5, 250000},
                {"p9999<=1s", "p9999", 0.9999, 1000000000}};
    static const char *const bad[] = {"",           "p99", "p99<4ms", "p98<=4ms",     "p99<=0",
                                      "p99<=4",     "4ms", "<=4ms",   "p99 x <= 4ms", "p99<=4ms x",
                                      "p99 = > 4ms"};
    struct lg_objective o;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert(lg_parse_objective(good[i].text, &o), "%s", good[i].text);
        cr_assert_str_eq(o.name, good[i].name);
        cr_assert_float_eq(o.fraction, good[i].fraction, 1e-12);
        cr_assert_eq(o.at_most_ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(lg_parse_objective(bad[i], &o), "%s", bad[i]);
    cr_assert_eq(PARSE("--saturate", "p99<=4ms"), LG_PARSED_RUN);
    cr_assert(!options.profile.closed, "an open loop, though no rate was given");
    cr_assert_eq(PARSE("--saturate", "p99<=4ms", "--attempts", "5"), LG_PARSED_USAGE);
}

Test(options, a_name_that_was_nearly_right_is_told)
{
    cr_assert_eq(PARSE("--conections", "4"), LG_PARSED_USAGE);
    cr_assert_not_null(strstr(fault.text, "\"connections\""), "%s", fault.text);
    cr_assert_eq(PARSE("--scenario", "durabel"), LG_PARSED_USAGE);
    cr_assert_not_null(strstr(fault.text, "\"durable\""), "%s", fault.text);
}

Test(options, beside_a_file_stands_only_what_is_of_all_parts)
{
    static const char *const bad[][2] = {{"--rate", "5"},       {"--connections", "5"},
                                         {"--stage", "a 1s 5"}, {"--audit-log", "a"},
                                         {"--prefill", "5"},    {"--saturate", "p99<=1ms"}};
    cr_assert_eq(PARSE("--scenario", "a/b", "--server", "h:1", "--seed", "7", "--json", "-",
                       "--progress", "--quiet", "--max-p99", "1s", "--probe", "."),
                 LG_PARSED_RUN, "%s", fault.text);
    cr_assert_str_eq(options.file, "a/b");
    cr_assert(options.seed_given);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(PARSE("--scenario", "peak.ini", bad[i][0], bad[i][1]), LG_PARSED_USAGE, "%s",
                     bad[i][0]);
        cr_assert_not_null(strstr(fault.text, bad[i][0]), "%s", fault.text);
    }
}
