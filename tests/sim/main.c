/* sim: plays worlds from seeds until time is up or a promise is broken. Each run is a child
 * process, so that a broken assertion of the product is found like any other fault; the world lies
 * in memory that both share.
 *
 * A failing world is played again (it must fail at the same step with the same hash), shrunk to the
 * fewest steps that were found, and told step by step.
 *
 * Usage: sim [--seed N] [--seconds N] [--ops N] [--fault NUMBER|all]
 *            [--shrink SECONDS]
 * --fault needs a build with -DTG_PLANTED_FAULT; then the fault must be found.
 * Exits 0, 1 when a promise is broken (or a planted fault is not found), 2 on usage. */
#include "tests/sim/run.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"

#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORLD_SECONDS_MAX = 20, /* one world takes some ten milliseconds */
    SHRINK_SECONDS = 40,    /* of processor time, as the next */
    SHRINK_PLANTED_SECONDS = 5,
    FAULT_SECONDS = 60,
};

struct shared {
    struct world world;
    struct figures figures;
    bool failed;
    char what[SIM_STORY_BYTES];
    char place[SIM_PLACE_BYTES]; /* the same for the same broken promise */
};

/* What a child plays. */
struct run {
    uint64_t seed;
    const uint8_t *steps; /* of one world */
    bool one_world, traces, quiet;
    double seconds;
    uint64_t ops;
    uint32_t last_step; /* of one world; 0: to its end */
};

static struct shared *shared;
static double shrink_seconds; /* 0: as usual */

#ifdef TG_PLANTED_FAULT
int tg_planted_fault;
#endif

_Noreturn void sim_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(shared->what, sizeof(shared->what), format, arguments);
    va_end(arguments);
    snprintf(shared->place, sizeof(shared->place), "%s:%d", file, line);
    shared->failed = true;
    _exit(1);
}

static double now_s(void)
{
    return (double)tg_clock_mono_ns() / 1e9;
}

/* --- a child --- */

static void play_worlds(const struct run *run)
{
    double end_s = now_s() + run->seconds;
    uint64_t seed = run->seed;
    shared->world.traces = run->traces;
    do {
        alarm(WORLD_SECONDS_MAX);
        sim_world_play(&shared->world, seed++, run->steps,
                       run->last_step ? run->last_step : UINT32_MAX);
    } while (!run->one_world && now_s() < end_s &&
             (run->ops == 0 || shared->figures.steps < run->ops));
}

static void tell_progress(const struct run *run, double begun_s)
{
    double spent_s = now_s() - begun_s;
    if (!run->quiet)
        fprintf(stderr, "  %.0f s: %" PRIu64 " worlds, %" PRIu64 " steps, %" PRIu64 " crashes\n",
                spent_s, shared->figures.worlds, shared->figures.steps, shared->figures.crashes);
}

static int wait_for(pid_t child, const struct run *run)
{
    double begun_s = now_s(), told_s = begun_s;
    int status;
    while (waitpid(child, &status, run->one_world ? 0 : WNOHANG) == 0) {
        usleep(5000);
        if (now_s() - told_s < 5)
            continue;
        told_s = now_s();
        tell_progress(run, begun_s);
    }
    return status;
}

/* What the product said when it gave up: the last line. */
static void read_last_words(int words, struct end *end)
{
    char text[SIM_STORY_BYTES];
    ssize_t size = pread(words, text, sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    snprintf(end->what, sizeof(end->what), "%s", text[0] ? text : "the process died");
    snprintf(end->place, sizeof(end->place), "%.100s", end->what);
}

static struct end play(const struct run *run)
{
    struct end end = {.seed = run->seed};
    int words = memfd_create("words", 0);
    shared->failed = false;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!run->traces)
            dup2(words, STDERR_FILENO);
        play_worlds(run);
        _exit(0);
    }
    int status = wait_for(child, run);
    end.failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    end.seed = shared->world.seed;
    end.step = shared->world.step;
    end.hash = shared->world.hash;
    if (shared->failed) {
        memcpy(end.what, shared->what, sizeof(end.what));
        memcpy(end.place, shared->place, sizeof(end.place));
    } else if (end.failed && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        snprintf(end.what, sizeof(end.what), "a world does not come to its end");
        memcpy(end.place, end.what, sizeof(end.place));
    } else if (end.failed) {
        read_last_words(words, &end);
    }
    close(words);
    return end;
}

/* --- replay --- */

struct end sim_run_one(uint64_t seed, const uint8_t *steps, uint32_t last_step, bool traces)
{
    struct run run = {
        .seed = seed, .steps = steps, .one_world = true, .traces = traces, .last_step = last_step};
    return play(&run);
}

/* The world alone fails as it did among others. */
static bool repeats(const struct end *first)
{
    struct end again = sim_run_one(first->seed, NULL, 0, false);
    return again.failed && again.step == first->step && again.hash == first->hash &&
           strcmp(again.what, first->what) == 0;
}

/* --- telling --- */

static void print_verdicts(const char *what, const uint64_t *verdicts)
{
    printf("  %s:", what);
    for (int v = 1; v < TG_VERDICT_COUNT; v++)
        if (verdicts[v])
            printf(" %s %" PRIu64, tg_verdict_name(v), verdicts[v]);
    printf("\n");
}

/* Of the children: the machine may have been busy with something else. */
double sim_run_processor_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print_figures(double seconds)
{
    const struct figures *f = &shared->figures;
    double busy_s = sim_run_processor_s();
    printf("  %" PRIu64 " worlds, %" PRIu64 " steps, %" PRIu64 " decisions in %.1f s: %.0f steps/s "
           "(%.0f in each second of processor time)\n",
           f->worlds, f->steps, f->decisions, seconds, (double)f->steps / seconds,
           (double)f->steps / busy_s);
    printf("  %" PRIu64 " commits, %" PRIu64 " refused, %" PRIu64 " unknown; %" PRIu64
           " crashes, %" PRIu64 " orders recovered; %" PRIu64 " databases verified\n",
           f->commits, f->refused, f->unknown, f->crashes, f->recovered, f->verified);
    printf("  %" PRIu64 " orders, %" PRIu64 " events read, %" PRIu64 " replays, %" PRIu64
           " waits, %" PRIu64 " holds, %" PRIu64 " timers; %" PRIu64 " letters lost, %" PRIu64
           " doubled\n",
           f->orders, f->events, f->replays, f->waits, f->holds, f->timers, f->lost, f->doubled);
    printf("  %" PRIu64 " ids forgotten, %" PRIu64 " changes of groups, %" PRIu64
           " events dropped, %" PRIu64 " tables raised\n",
           f->forgotten, f->acks, f->dropped, f->raised);
    print_verdicts("orders", f->orders_verdicts);
    print_verdicts("others", f->commands_verdicts);
}

static void tell_failure(const char *program, const struct end *first)
{
    uint8_t steps[SIM_STEP_BYTES];
    bool same = repeats(first);
    printf("sim: broken promise in world %#" PRIx64 ", step %u: %s (%s)\n", first->seed,
           first->step, first->what, first->place);
    printf("  played again: %s (hash %#" PRIx64 ")\n",
           same ? "the same step, the same hash" : "NOT the same", first->hash);
    fflush(stdout);
    uint32_t count = sim_shrink(first, &shared->world,
                                shrink_seconds > 0 ? shrink_seconds : SHRINK_SECONDS, steps);
    printf("  %u steps are left of it; what they do:\n", count);
    fflush(stdout);
    struct end last = sim_run_one(first->seed, steps, 0, true);
    printf("  %s\n  again: %s --seed %#" PRIx64 " --ops 1\n", last.what, program, first->seed);
}

/* --- the two ways to run --- */

static int run_honest(const char *program, const struct run *run)
{
    double begun_s = now_s();
    struct end end = play(run);
    print_figures(now_s() - begun_s);
    if (!end.failed)
        return 0;
    tell_failure(program, &end);
    return 1;
}

#ifdef TG_PLANTED_FAULT

static bool find_fault(int fault, const char *name, uint64_t seed)
{
    uint8_t steps[SIM_STEP_BYTES];
    struct run run = {.seed = seed, .seconds = FAULT_SECONDS, .quiet = true};
    tg_planted_fault = fault;
    memset(&shared->figures, 0, sizeof(shared->figures));
    double begun_s = now_s();
    struct end end = play(&run);
    double spent_s = now_s() - begun_s;
    uint64_t tried = shared->figures.steps;
    if (!end.failed) {
        printf("%2d  %-23s NOT FOUND in %.0f s, %" PRIu64 " worlds, %" PRIu64 " steps\n", fault,
               name, spent_s, shared->figures.worlds, tried);
        return false;
    }
    bool same = repeats(&end);
    uint32_t count = sim_shrink(
        &end, &shared->world, shrink_seconds > 0 ? shrink_seconds : SHRINK_PLANTED_SECONDS, steps);
    printf("%2d  %-23s %#-6" PRIx64 " %8" PRIu64 " %7.2f s %6u   %s%.60s\n", fault, name, end.seed,
           tried, spent_s, count, same ? "" : "NOT REPEATED ", end.what);
    fflush(stdout);
    return same;
}

static int run_faults(const char *which, uint64_t seed)
{
    static const char *const names[] = {
#define PLANTED_NAME(name, text) #name,
        TG_PLANTED_FAULTS(PLANTED_NAME)
#undef PLANTED_NAME
    };
    int count = (int)(sizeof(names) / sizeof(names[0])), only = atoi(which), found = 0;
    double begun_s = now_s();
    printf("    %-23s %-6s %8s %9s %6s   %s\n", "planted fault", "world", "after", "found in",
           "shrunk", "what was seen");
    printf("    %-23s %-6s %8s %9s %6s\n", "", "", "steps", "", "to");
    for (int fault = 1; fault <= count; fault++)
        if (only == 0 || only == fault)
            found += find_fault(fault, names[fault - 1], seed);
    int asked = only == 0 ? count : 1;
    printf("%d of %d planted faults found in %.0f s\n", found, asked, now_s() - begun_s);
    return found == asked ? 0 : 1;
}

#endif

static void prepare(void)
{
    /* LMDB takes lists of MiB that it hardly uses: from the kernel they are clear as they come,
     * from the heap each life would clear them. */
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("sim: no memory");
        exit(1);
    }
    struct world *world = &shared->world;
    world->figures = &shared->figures;
    snprintf(world->data_dir, sizeof(world->data_dir), "/dev/shm/tidegate-sim-%d", getpid());
    for (int i = 0; i < SIM_SHARDS; i++) {
        world->records[i] = tg_mem_map(TG_JOURNAL_RECORDS * sizeof(*world->records[i]));
        world->pending[i] = tg_mem_map(TG_JOURNAL_RECORDS * sizeof(*world->pending[i]));
    }
    sim_disk_prepare(world);
}

static void clean_up(void)
{
    sim_disk_remove(&shared->world);
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: sim [--seed N] [--seconds N] [--ops N] [--fault NUMBER|all] [--shrink SECONDS]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},   {"seconds", required_argument, NULL, 't'},
        {"ops", required_argument, NULL, 'n'},    {"fault", required_argument, NULL, 'f'},
        {"shrink", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
    struct run run = {.seed = 1, .seconds = 20};
    const char *fault = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 's':
            run.seed = strtoull(optarg, NULL, 0);
            break;
        case 't':
            run.seconds = strtod(optarg, NULL);
            break;
        case 'n':
            run.ops = strtoull(optarg, NULL, 0);
            break;
        case 'k':
            shrink_seconds = strtod(optarg, NULL);
            break;
        case 'f':
            fault = optarg;
            break;
        default:
            return usage();
        }
    if (optind < argc)
        return usage();
    prepare();
    int status;
#ifdef TG_PLANTED_FAULT
    if (fault) {
        status = run_faults(fault, run.seed);
        clean_up();
        return status;
    }
#else
    if (fault)
        return usage();
#endif
    printf("sim: worlds of %d steps from seed %#" PRIx64 "\n", SIM_STEPS, run.seed);
    status = run_honest(argv[0], &run);
    clean_up();
    return status;
}
