/* Scenario files: parts, what each takes, and every mistake told with its line and a nearer word.
 */
#include "loadgen/scenario.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct lg_scenario scenario;
static struct tg_fault fault;

/* Reads `text` as a file, beside the given command line. */
static enum tg_error read_beside(struct lg_options *line, const char *text)
{
    char path[] = "/tmp/tidegate-scenario-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    line->file = path;
    memset(&fault, 0, sizeof(fault));
    enum tg_error error = lg_scenario_read(&scenario, line, &fault);
    unlink(path);
    return error;
}

static enum tg_error read_text(const char *text)
{
    struct lg_options line;
    lg_options_init(&line);
    return read_beside(&line, text);
}

#define TWO_PARTS                                                                                  \
    "# a comment\n"                                                                                \
    "[scenario]\n"                                                                                 \
    "about = Two at a time.\n"                                                                     \
    "\n"                                                                                           \
    "[thresholds]\n"                                                                               \
    "max_errors = 0\n"                                                                             \
    "max_p99 = 20ms\n"                                                                             \
    "[part buyers]\n"                                                                              \
    "stock       = 77\n"                                                                           \
    "scenario    = many-skus ; whose stock is overridden above\n"                                  \
    "opens       = 10s\n"                                                                          \
    "stage       = warm-up 3s 500\n"                                                               \
    "stage       = wall 2s 400k\n"                                                                 \
    "prefill     = 2k\n"                                                                           \
    "retry_share = 0.5\n"                                                                          \
    "\n"                                                                                           \
    "[part tellers]\n"                                                                             \
    "scenario = cart\n"                                                                            \
    "rate     = 50\n"                                                                              \
    "duration = 3s\n"                                                                              \
    "[thresholds buyers]\n"                                                                        \
    "min_accepted_per_s = 100k\n"

Test(scenario, parts_take_their_scenario_and_override_it_in_any_order)
{
    cr_assert_eq(read_text(TWO_PARTS), TG_ERR_OK, "%s", fault.text);
    cr_assert_str_eq(scenario.about, "Two at a time.");
    cr_assert_eq(scenario.part_count, 2);
    const struct lg_options *buyers = &scenario.parts[0], *tellers = &scenario.parts[1];
    cr_assert_str_eq(buyers->part, "buyers");
    cr_assert_str_eq(buyers->scenario, "many-skus");
    cr_assert_eq(buyers->stock, 77);
    cr_assert_eq(buyers->skus, 10000);
    cr_assert_eq(buyers->opens_ns, 10000000000);
    cr_assert_eq(buyers->prefill, 2000);
    cr_assert_float_eq(buyers->retry_share, 0.5, 1e-9);
    cr_assert_eq(buyers->profile.stage_count, 2);
    cr_assert_float_eq(buyers->profile.stages[1].rate_to, 400000, 1e-9);
    cr_assert_str_eq(tellers->part, "tellers");
    cr_assert_str_eq(tellers->scenario, "cart");
    cr_assert_eq(tellers->skus, 50);
    cr_assert_eq(lg_profile_duration_ns(&tellers->profile), 3000000000);
}

Test(scenario, thresholds_are_of_all_parts_or_of_one)
{
    cr_assert_eq(read_text(TWO_PARTS), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(scenario.whole.thresholds.max_errors, 0);
    cr_assert_eq(scenario.whole.thresholds.max_p99_ns, 20000000);
    cr_assert_float_eq(scenario.whole.thresholds.min_accepted_per_s, 0, 1e-9);
    cr_assert_float_eq(scenario.parts[0].thresholds.min_accepted_per_s, 100000, 1e-9);
    cr_assert_eq(scenario.parts[0].thresholds.max_errors, LG_NO_LIMIT);
    cr_assert_eq(scenario.parts[1].thresholds.max_p99_ns, 0);
}

Test(scenario, the_command_line_is_over_the_file)
{
    struct lg_options line;
    lg_options_init(&line);
    line.server = "elsewhere:1";
    line.progress = true;
    line.thresholds.max_p99_ns = 7;
    cr_assert_eq(read_beside(&line, TWO_PARTS), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(scenario.whole.thresholds.max_p99_ns, 7);
    cr_assert_eq(scenario.whole.thresholds.max_errors, 0, "the file's, where the line has none");
    cr_assert_str_eq(scenario.parts[1].server, "elsewhere:1");
    cr_assert(scenario.parts[1].progress);
}

Test(scenario, each_part_has_a_seed_of_its_own)
{
    struct lg_options line;
    static const char text[] = "[part a]\nrate = 5\n[part b]\nseed = 40\n[part c]\nrate = 5\n";
    cr_assert_eq(read_text(text), TG_ERR_OK, "%s", fault.text);
    cr_assert(scenario.parts[0].seed == 1 && scenario.parts[1].seed == 40 &&
              scenario.parts[2].seed == 3);
    lg_options_init(&line);
    line.seed = 100;
    line.seed_given = true;
    cr_assert_eq(read_beside(&line, text), TG_ERR_OK, "%s", fault.text);
    cr_assert(scenario.parts[0].seed == 100 && scenario.parts[1].seed == 101);
}

/* --- mistakes --- */

struct mistake {
    const char *text;
    int line;
    const char *says;
};

static const struct mistake mistakes[] = {
    {"[part a]\nstok = 5\n", 2, "\"stock\""},
    {"[part a]\nstock = many\n", 2, "a number from 0 to 1000000000"},
    {"[part a]\nscenario = seckil\n", 2, "\"seckill\""},
    {"[part a]\nscenario = other.ini\n", 2, "must be"},
    {"[part a]\nstage = quiet\n", 2, "NAME DURATION RATE"},
    {"[part a]\nopens = 5\n", 2, "a time such as"},
    {"[part a]\nretry-share = 2\n", 2, "a share from 0 to 1"},
    {"[part a]\nserver = h:1\n", 2, "unknown \"server\""},
    {"[part a]\njson = x\n", 2, "unknown \"json\""},
    {"[part a]\nmax_p99 = 1s\n", 2, "unknown \"max_p99\""},
    {"[part a]\nrate = 5\n\n[thresholds]\nmax_p98 = 1s\n", 5, "\"max-p99\""},
    {"[part a]\nrate = 5\n[thresholds]\nstock = 1\n", 4, "unknown \"stock\""},
    {"[part a]\nrate = 5\n[thresholds b]\nmax_p99 = 1s\n", 3, "unknown part \"b\""},
    {"[part buyers]\nrate = 5\n[thresholds buyer]\nmax_p99 = 1s\n", 3, "\"buyers\""},
    {"[scenario]\nabotu = x\n[part a]\nrate = 5\n", 2, "\"about\""},
    {"[parts a]\nrate = 5\n", 1, "\"part\""},
    {"[part]\nrate = 5\n", 1, "[part buyers]"},
    {"[part Big]\nrate = 5\n", 1, "[part buyers]"},
    {"[part a-name-of-twenty-chs]\nrate = 5\n", 1, "[part buyers]"},
    {"[part a]\nrate = 5\n[part a]\nrate = 6\n", 3, "stands twice"},
    {"[part a]\nrate = 5\nrate = 6\n", 3, "rate stands twice"},
    {"[part a]\nrate = 5\n[thresholds]\nmax_p99 = 1s\n[thresholds]\nmax_p50 = 1s\n", 5, "twice"},
    {"rate = 5\n", 1, "before the first section"},
    {"[part a]\nrate = 5\n  batch = 6\n", 3, "begins with a space"},
    {"[part a]\nrate\n", 2, "not a 'key = value' line"},
    {"[part a\nrate = 5\n", 1, "a section must be"},
    {"[scenario]\nabout = nothing else\n", 2, "there is no part"},
    {"", 1, "there is no part"},
    /* what does not go together is told where the part begins */
    {"\n[part a]\nstage = a 1s 5\nrate = 5\n", 2, "do not go with stage"},
    {"\n[part a]\nstage = a 1s 5\nstage = warm-up 1s 5\n", 2, "before all others"},
    {"\n[part a]\nstage = drain 1s 5\nstage = a 1s 5\n", 2, "behind all others"},
    {"\n[part a]\nscenario = cart\nbatch = 5\n", 2, "stories"},
};

Test(scenario, every_mistake_is_told_with_its_line)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        char where[40];
        const struct mistake *m = &mistakes[i];
        snprintf(where, sizeof(where), "line %d: ", m->line);
        cr_assert_eq(read_text(m->text), TG_ERR_INVALID, "%s", m->text);
        cr_assert_not_null(strstr(fault.text, where), "%s: %s", m->text, fault.text);
        cr_assert_not_null(strstr(fault.text, m->says), "%s: %s", m->text, fault.text);
        cr_assert_not_null(strstr(fault.text, "/tmp/tidegate-scenario-"), "%s", fault.text);
    }
}

Test(scenario, there_are_as_many_parts_as_there_may_be)
{
    char text[2048] = "";
    for (unsigned i = 0; i < LG_PARTS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "[part p%u]\nrate = 5\n", i);
    cr_assert_eq(read_text(text), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(scenario.part_count, LG_PARTS_MAX);
    snprintf(text + strlen(text), sizeof(text) - strlen(text), "[part more]\nrate = 5\n");
    cr_assert_eq(read_text(text), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "16 parts"), "%s", fault.text);
}

Test(scenario, a_file_that_cannot_be_read_is_named)
{
    struct lg_options line;
    lg_options_init(&line);
    line.file = "/nowhere/x.ini";
    cr_assert_eq(lg_scenario_read(&scenario, &line, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "/nowhere/x.ini"));
    line.file = "/tmp";
    cr_assert_eq(lg_scenario_read(&scenario, &line, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "is it a file?"), "%s", fault.text);
}

Test(scenario, the_shipped_files_can_be_read)
{
    static const char *const files[] = {"seckill-peak", "sold-out-storm", "many-skus", "grown",
                                        "mixed-day"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct lg_options line;
        char path[80];
        snprintf(path, sizeof(path), "bench/scenarios/%s.ini", files[i]);
        lg_options_init(&line);
        line.file = path;
        cr_assert_eq(lg_scenario_read(&scenario, &line, &fault), TG_ERR_OK, "%s", fault.text);
        cr_assert_neq(scenario.about[0], '\0');
    }
}
