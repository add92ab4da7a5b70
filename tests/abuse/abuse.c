/* Abusers beside honest clients, on loopback, bounded in number and time: what do fifty honest
 * clients notice of one abuser, and does the daemon keep its memory bound? docs/abuse.md tells what
 * stands against each of them, and what does not yet.
 *
 * For each kind of abuser (kinds.c) a daemon of its own:
 *
 *   before -- abuse -- behind      ROUNDS times
 *                        |
 *                        +- recovery: until the worst of a tenth of a second is what it was before
 *
 * Broken promises, exit status 1: an honest request failed, an honest connection was closed, the
 * daemon ended, its memory passed the bound, it did not recover in RECOVERY_MS_MAX, it did not
 * drain, or its database is not as it must be. The ratio of p99 with and without the abuser (the
 * medians of the rounds) is a figure: two cores that others share make it wobble; --strict judges
 * it as well.
 *
 * Usage: abuse [--only NAME] [--seconds S] [--seed N] [--strict] [--json FILE]
 * Exit status: 0 all promises hold; 1 one is broken; 2 usage; 3 it could not be run here. */
#include "base/clock.h"
#include "tests/abuse/honest.h"
#include "tests/abuse/storm.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS          3
#define SECONDS_DEFAULT 1.8 /* of abuse by each kind, in all rounds together */
#define SECONDS_MAX     3600
#define CALM_NS         (400 * TG_NS_PER_MS)
/* A hard bound, generous: the figure that matters is the one that is printed. */
#define RECOVERY_MS_MAX 10000
/* The judgement of --strict: at most twice the p99, and differences below this are ignored. */
#define RATIO_MAX       2.0
#define FLOOR_NS        (2 * TG_NS_PER_MS)

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2,
};

struct options {
    const char *only;
    const char *json;
    double seconds;
    uint64_t seed;
    bool strict;
};

/* Of each round. */
enum stretch {
    BEFORE,
    DURING,
    BEHIND,
    STRETCHES,
};
#define PHASES (ROUNDS * STRETCHES)

/* p50 and p99 are medians of the rounds, max is the highest of all. */
struct latency {
    uint64_t p50_ns, p99_ns, max_ns;
};

/* What one abuser came to. */
struct result {
    const struct storm_kind *kind;
    struct latency latency[STRETCHES];
    uint64_t recovery_ms; /* the longest of the rounds */
    uint64_t anon_bytes_peak;
    uint64_t anon_bytes_max;
    double abuse_seconds;
    double abuser_cpu; /* of one core, while it was there */
    double daemon_cpu; /* of one core, all the time */
    struct honest_tally honest;
    uint64_t connected, ended, open_max, sent, received;
    const char *broken; /* the first promise that is; NULL: none */
    bool is_slow;       /* the ratio is above what --strict allows */
};

struct run {
    const struct options *options;
    struct scene scene;
    struct honest *honest;
    struct storm storm;
    struct result *result;
    struct honest_phase phases[PHASES];
    uint64_t windows[PHASES][1024];
};

/* --- one abuser --- */

static void look(void *context)
{
    struct run *run = context;
    uint64_t bytes = scene_anon_bytes(&run->scene);
    if (bytes > run->result->anon_bytes_peak)
        run->result->anon_bytes_peak = bytes;
}

static void phase_run(struct run *run, int number, int64_t duration_ns)
{
    struct honest_phase *phase = &run->phases[number];
    phase->worst_ns = run->windows[number];
    phase->worst_count = sizeof(run->windows[0]) / sizeof(run->windows[0][0]);
    honest_run(run->honest, phase, duration_ns, look, run);
}

static bool is_as_before(uint64_t value_ns, uint64_t before_ns)
{
    return value_ns <= (uint64_t)(RATIO_MAX * (double)before_ns) ||
           value_ns - before_ns <= FLOOR_NS;
}

/* When the last tenth of a second ended that was worse than the worst one before the abuse; 0: none
 * was. */
static uint64_t recovery_ms(const struct run *run, int round)
{
    uint64_t before_ns = run->phases[round * STRETCHES + BEFORE].latency.max, last = 0;
    const struct honest_phase *behind = &run->phases[round * STRETCHES + BEHIND];
    for (uint64_t i = 0; i < behind->worst_count; i++)
        if (!is_as_before(behind->worst_ns[i], before_ns))
            last = i + 1;
    return last * HONEST_WINDOW_NS / TG_NS_PER_MS;
}

static bool has_recovered(const struct run *run, int round)
{
    int64_t begun_ns = run->phases[round * STRETCHES + BEHIND].begun_ns;
    uint64_t now_ms = (uint64_t)((tg_clock_mono_ns() - begun_ns) / TG_NS_PER_MS);
    return recovery_ms(run, round) + 2 * HONEST_WINDOW_NS / TG_NS_PER_MS <= now_ms;
}

/* A calm stretch behind an abuser: longer until things are as they were. */
static void calm_down(struct run *run, int round)
{
    int number = round * STRETCHES + BEHIND;
    phase_run(run, number, CALM_NS);
    while (!has_recovered(run, round) &&
           tg_clock_mono_ns() - run->phases[number].begun_ns < RECOVERY_MS_MAX * TG_NS_PER_MS)
        phase_run(run, number, HONEST_WINDOW_NS);
}

static void play(struct run *run)
{
    int64_t abuse_ns = (int64_t)(run->options->seconds * 1e9) / ROUNDS;
    phase_run(run, 0, CALM_NS / 2); /* warm up: not looked at */
    honest_finish(run->honest);
    memset(&run->phases[0], 0, sizeof(run->phases[0]));
    memset(run->windows[0], 0, sizeof(run->windows[0]));
    for (int round = 0; round < ROUNDS; round++) {
        phase_run(run, round * STRETCHES + BEFORE, CALM_NS);
        int64_t begun_ns = tg_clock_mono_ns();
        storm_begin(&run->storm, run->result->kind, &run->scene);
        phase_run(run, round * STRETCHES + DURING, abuse_ns);
        if (!storm_goes_on(&run->storm))
            scene_fail("an abuser ended by itself");
        run->result->abuse_seconds += (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
        storm_kill(&run->storm);
        calm_down(run, round);
        storm_reap(&run->storm);
    }
    honest_finish(run->honest);
}

/* --- figures --- */

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The median over the rounds. */
static uint64_t median(const struct run *run, enum stretch stretch, double fraction)
{
    uint64_t values[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++)
        values[i] =
            tg_histogram_percentile(&run->phases[i * STRETCHES + stretch].latency, fraction);
    qsort(values, ROUNDS, sizeof(values[0]), compare);
    return values[ROUNDS / 2];
}

static struct latency latency_of(const struct run *run, enum stretch stretch)
{
    struct latency latency = {.p50_ns = median(run, stretch, 0.5),
                              .p99_ns = median(run, stretch, 0.99)};
    for (uint32_t i = 0; i < ROUNDS; i++)
        if (run->phases[i * STRETCHES + stretch].latency.max > latency.max_ns)
            latency.max_ns = run->phases[i * STRETCHES + stretch].latency.max;
    return latency;
}

static void take_figures(struct run *run)
{
    struct result *result = run->result;
    const struct storm_tally *tally = run->storm.tally;
    for (uint32_t stretch = 0; stretch < STRETCHES; stretch++)
        result->latency[stretch] = latency_of(run, (enum stretch)stretch);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t ms = recovery_ms(run, round);
        result->recovery_ms = ms > result->recovery_ms ? ms : result->recovery_ms;
    }
    result->is_slow = !is_as_before(result->latency[DURING].p99_ns, result->latency[BEFORE].p99_ns);
    result->abuser_cpu = run->storm.cpu_seconds / result->abuse_seconds;
    result->honest = *honest_tally(run->honest);
    result->connected = atomic_load(&tally->connected);
    result->ended = atomic_load(&tally->ended);
    result->open_max = atomic_load(&tally->open_max);
    result->sent = atomic_load(&tally->sent);
    result->received = atomic_load(&tally->received);
    result->anon_bytes_max = scene_anon_bytes_max(&run->scene, result->honest.accepted);
}

/* The first promise that is broken, or NULL. */
static const char *judge(const struct run *run, bool is_clean)
{
    const struct result *result = run->result;
    if (result->honest.closed > 0)
        return "an honest connection was closed";
    if (result->honest.failures > 0)
        return "an honest request failed";
    if (!is_clean)
        return "the daemon or its database is not as it must be";
    if (result->anon_bytes_peak > result->anon_bytes_max)
        return "the memory bound was not kept";
    if (result->recovery_ms >= RECOVERY_MS_MAX)
        return "it did not recover";
    if (result->connected == 0)
        return "the abuser never came through: nothing was tested";
    return run->options->strict && result->is_slow ? "p99 is more than twice what it was" : NULL;
}

static void abuse(const struct options *options, const struct storm_kind *kind,
                  struct result *result)
{
    static struct run run; /* large */
    memset(&run, 0, sizeof(run));
    run.options = options;
    run.result = result;
    result->kind = kind;
    scene_open(&run.scene, options->seed);
    run.honest = honest_open(run.scene.node.port, options->seed);
    double cpu = scene_cpu_seconds(&run.scene);
    int64_t begun_ns = tg_clock_mono_ns();
    play(&run);
    result->daemon_cpu =
        (scene_cpu_seconds(&run.scene) - cpu) * 1e9 / (double)(tg_clock_mono_ns() - begun_ns);
    take_figures(&run);
    result->broken =
        judge(&run, scene_close(&run.scene, result->honest.accepted, result->honest.unknown));
    honest_close(run.honest);
    storm_fini(&run.storm);
}

/* --- report --- */

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static void print_head(const struct options *options)
{
    printf(
        "abuse: %d honest clients, %d requests a second, against one abuser at a time; %d rounds "
        "of %.1f s; seed %" PRIu64 "\n\n",
        HONEST_CLIENTS, HONEST_CLIENTS * HONEST_RATE, ROUNDS, options->seconds / ROUNDS,
        options->seed);
    printf("%-12s %-23s %-23s %-23s %5s %5s %5s %5s %9s %6s %4s\n", "", "before: p50 p99 max ms",
           "with the abuser", "behind it", "ratio", "busy", "fails", "back", "MiB/bound", "conns",
           "cpu");
}

static double ratio_of(const struct result *result)
{
    uint64_t before_ns = result->latency[BEFORE].p99_ns;
    return before_ns ? (double)result->latency[DURING].p99_ns / (double)before_ns : 0;
}

static void print_row(const struct result *result)
{
    printf("%-12s", result->kind->name);
    for (int i = 0; i < STRETCHES; i++)
        printf(" %6.2f %6.2f %7.1f ", ms(result->latency[i].p50_ns), ms(result->latency[i].p99_ns),
               ms(result->latency[i].max_ns));
    printf("%6.2f %5" PRIu64 " %5" PRIu64 " %4.1fs %4" PRIu64 "/%-4" PRIu64 " %6" PRIu64
           " %3.0f%%%s%s\n",
           ratio_of(result), result->honest.busy, result->honest.failures,
           (double)result->recovery_ms / 1000, result->anon_bytes_peak >> 20,
           result->anon_bytes_max >> 20, result->connected, 100 * result->abuser_cpu,
           result->broken ? "  BROKEN: " : "", result->broken ? result->broken : "");
    if (result->broken && result->honest.first_failure[0])
        printf("%14sfirst failure: %s\n", "", result->honest.first_failure);
    fflush(stdout);
}

static void print_again(const struct options *options, const struct result *result)
{
    printf("%14sagain: make abuse ABUSE=%s SECONDS=%.1f SEED=%" PRIu64 "\n", "", result->kind->name,
           options->seconds, options->seed);
}

static void write_latency(FILE *file, const char *name, const struct latency *latency)
{
    fprintf(file,
            "\"%s\": {\"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64 "}, ",
            name, latency->p50_ns, latency->p99_ns, latency->max_ns);
}

static void write_result(FILE *file, const struct result *result)
{
    fprintf(file, "    {\"abuser\": \"%s\", \"what\": \"%s\", \"defence\": \"%s\", ",
            result->kind->name, result->kind->text, result->kind->defence);
    write_latency(file, "before", &result->latency[BEFORE]);
    write_latency(file, "during", &result->latency[DURING]);
    write_latency(file, "behind", &result->latency[BEHIND]);
    fprintf(file,
            "\"recovery_ms\": %" PRIu64 ", \"honest\": {\"sent\": %" PRIu64
            ", \"answered\": %" PRIu64 ", \"busy\": %" PRIu64 ", \"failures\": %" PRIu64
            ", \"closed\": %" PRIu64 "}, ",
            result->recovery_ms, result->honest.sent, result->honest.answered, result->honest.busy,
            result->honest.failures, result->honest.closed);
    fprintf(file,
            "\"anon_bytes_peak\": %" PRIu64 ", \"anon_bytes_max\": %" PRIu64
            ", \"abuser_connections\": %" PRIu64 ", \"abuser_connections_made\": %" PRIu64
            ", \"abuser_connections_ended\": %" PRIu64 ", \"abuser_bytes_sent\": %" PRIu64
            ", \"abuser_bytes_received\": %" PRIu64
            ", \"abuser_cpu\": %.3f, \"daemon_cpu\": %.3f, \"slow\": %s, \"broken\": ",
            result->anon_bytes_peak, result->anon_bytes_max, result->open_max, result->connected,
            result->ended, result->sent, result->received, result->abuser_cpu, result->daemon_cpu,
            result->is_slow ? "true" : "false");
    if (result->broken)
        fprintf(file, "\"%s\"}", result->broken);
    else
        fprintf(file, "null}");
}

static void write_json(const struct options *options, const struct result *results, int count)
{
    FILE *file = options->json ? fopen(options->json, "we") : NULL;
    if (!options->json)
        return;
    if (!file)
        scene_fail(options->json);
    fprintf(file,
            "{\n  \"seed\": %" PRIu64 ", \"seconds\": %.2f, \"rounds\": %d, "
            "\"honest_clients\": %d, \"honest_rate\": %d,\n  \"abusers\": [\n",
            options->seed, options->seconds, ROUNDS, HONEST_CLIENTS, HONEST_CLIENTS * HONEST_RATE);
    for (int i = 0; i < count; i++) {
        write_result(file, &results[i]);
        fprintf(file, i + 1 < count ? ",\n" : "\n");
    }
    fprintf(file, "  ]\n}\n");
    if (fclose(file))
        scene_fail(options->json);
}

/* --- all of them --- */

static int play_all(const struct options *options)
{
    static struct result results[64];
    int count = 0, broken = 0, slow = 0;
    uint64_t sent = 0;
    print_head(options);
    for (const struct storm_kind *kind = storm_kinds; kind->name; kind++) {
        if (options->only && strcmp(options->only, kind->name) != 0)
            continue;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\rabuse: %s: %s\033[K\r", kind->name, kind->text);
        struct result *result = &results[count++];
        abuse(options, kind, result);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r\033[K");
        print_row(result);
        broken += result->broken != NULL;
        slow += result->is_slow;
        sent += result->honest.sent;
        if (result->broken)
            print_again(options, result);
    }
    write_json(options, results, count);
    printf("\n%d abusers, %" PRIu64 " honest requests, %d above twice the p99 (and %lld ms), %d "
           "broken promises\n",
           count, sent, slow, FLOOR_NS / TG_NS_PER_MS, broken);
    return broken > 0 ? EXIT_BROKEN : EXIT_SUCCESS;
}

static bool is_known(const char *name)
{
    for (const struct storm_kind *kind = storm_kinds; kind->name; kind++)
        if (strcmp(kind->name, name) == 0)
            return true;
    return false;
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: abuse [--only NAME] [--seconds S] [--seed N] [--strict] [--json FILE]\n\n");
    for (const struct storm_kind *kind = storm_kinds; kind->name; kind++)
        fprintf(out, "  %-12s %s\n", kind->name, kind->text);
}

static bool read_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"only", required_argument, NULL, 'o'},
        {"seconds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'e'},
        {"strict", no_argument, NULL, 't'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    char *end = NULL;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'o':
            options->only = optarg;
            break;
        case 's':
            options->seconds = strtod(optarg, &end);
            if (*end != '\0')
                return false;
            break;
        case 'e':
            options->seed = strtoull(optarg, &end, 0);
            if (*end != '\0')
                return false;
            break;
        case 't':
            options->strict = true;
            break;
        case 'j':
            options->json = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(EXIT_SUCCESS);
        default:
            return false;
        }
    }
    return optind == argc && options->seconds >= 0.3 && options->seconds <= SECONDS_MAX &&
           (!options->only || is_known(options->only));
}

int main(int argc, char **argv)
{
    struct options options = {.seconds = SECONDS_DEFAULT, .seed = 1};
    if (!read_options(&options, argc, argv)) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return play_all(&options);
}
