/* make faults: every call of every class fails once, with every error, and from then on. See
 * docs/failing-calls.md.
 *
 * A first run counts the calls that the workload makes; the trials are made from that, spread over
 * a few processes, and reported by the one that started them. */
#include "tests/faults/trial.h"

#include "base/clock.h"
#include "base/rng.h"

#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_BROKEN  1
#define EXIT_USAGE   2
#define EXIT_NOT_RUN 3

#define PER_SITE_DEFAULT 6
#define WORKERS_MAX      16
#define BROKEN_SHOWN_MAX 40

struct options {
    enum plan_class class; /* PLAN_NONE: all */
    int error;             /* 0: all */
    int existing;          /* -1: both */
    int onward;            /* -1: both */
    uint64_t number;       /* 0: as the count says */
    uint64_t seed;
    uint32_t per_site;
    uint32_t workers;
};

/* Shared by all processes. */
struct tally {
    _Atomic uint64_t done;
    _Atomic uint64_t outcomes[TRIAL_OUTCOMES];
    _Atomic uint64_t by_class[PLAN_CLASS_COUNT][TRIAL_OUTCOMES];
    _Atomic uint32_t next; /* trial to take */
};

static struct trial *trials;
static uint32_t trial_count, trial_room;
static struct tally *tally;
static struct options options;
static char root[96];

/* --- options --- */

static void print_help(void)
{
    printf("faults - make one call of a daemon fail, and see whether its promises hold\n\n"
           "Usage: faults [OPTION]...\n\n"
           "  --fault CLASS[:ERROR[:START[:HOW]]]\n"
           "                    these trials alone. START is fresh or existing, HOW is once or\n"
           "                    onward (all from the N-th on)\n"
           "  --n N             the N-th call alone\n"
           "  --per-site N      trials for each class, error, start and way (default %d; 0: all)\n"
           "  --seed N          picks the N of a class that has more (default 1)\n"
           "  --workers N       processes (default: processors)\n"
           "  --help\n\n"
           "Exit status: 0 passed, 1 a promise is broken, 2 usage, 3 cannot be run here.\n\n"
           "Classes:\n",
           PER_SITE_DEFAULT);
    static const char *const calls[] = {
#define PLAN_CALLS(name, text, calls, ...) calls,
        PLAN_CLASSES(PLAN_CALLS)
#undef PLAN_CALLS
    };
    for (int class = 0; class < PLAN_CLASS_COUNT; class ++) {
        int errors[PLAN_ERRORS_MAX];
        uint32_t count = trial_errors((enum plan_class) class, errors);
        printf("  %-10s %s:", trial_class_name((enum plan_class) class), calls[class]);
        for (uint32_t i = 0; i < count; i++)
            printf(" %s", trial_error_name(errors[i]));
        printf("\n");
    }
}

static bool read_error(const char *word)
{
    int errors[PLAN_ERRORS_MAX];
    uint32_t count = trial_errors(options.class, errors);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(word, trial_error_name(errors[i])) == 0)
            options.error = errors[i];
    return options.error != 0;
}

static bool read_fault(const char *text)
{
    char words[4][16] = {"", "", "", ""};
    int count =
        sscanf(text, "%15[^:]:%15[^:]:%15[^:]:%15[^:]", words[0], words[1], words[2], words[3]);
    int class = 0;
    while (class < PLAN_CLASS_COUNT &&
           strcmp(words[0], trial_class_name((enum plan_class) class)) != 0)
        class ++;
    options.class = (enum plan_class) class;
    if (count < 1 || class == PLAN_CLASS_COUNT || (count > 1 && !read_error(words[1])))
        return false;
    if (count > 2)
        options.existing = strcmp(words[2], "existing") == 0;
    if (count > 3)
        options.onward = strcmp(words[3], "onward") == 0;
    return (count <= 2 || options.existing || strcmp(words[2], "fresh") == 0) &&
           (count <= 3 || options.onward || strcmp(words[3], "once") == 0);
}

static bool read_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > max)
        return false;
    *number = value;
    return true;
}

static bool read_option(int option)
{
    uint64_t number;
    switch (option) {
    case 'f':
        return read_fault(optarg);
    case 'n':
        return read_number(optarg, UINT32_MAX, &options.number);
    case 's':
        return read_number(optarg, UINT64_MAX, &options.seed);
    case 'p':
        if (!read_number(optarg, UINT32_MAX, &number))
            return false;
        options.per_site = number ? (uint32_t)number : UINT32_MAX;
        return true;
    case 'w':
        if (!read_number(optarg, WORKERS_MAX, &number) || number == 0)
            return false;
        options.workers = (uint32_t)number;
        return true;
    default:
        return false;
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"fault", required_argument, NULL, 'f'},
        {"n", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"per-site", required_argument, NULL, 'p'},
        {"workers", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    options = (struct options){
        .class = PLAN_NONE,
        .existing = -1,
        .onward = -1,
        .seed = 1,
        .per_site = PER_SITE_DEFAULT,
        .workers = processors < 1             ? 1
                   : processors > WORKERS_MAX ? WORKERS_MAX
                                              : (uint32_t)processors,
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            exit(0);
        }
        if (!read_option(option)) {
            fprintf(stderr, "faults: see --help\n");
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "faults: what is '%s'? see --help\n", argv[optind]);
        exit(EXIT_USAGE);
    }
}

/* --- the trials --- */

static void add_trial(struct trial trial)
{
    if (trial_count == trial_room) {
        trial_room = trial_room ? 2 * trial_room : 1024;
        trials = realloc(trials, trial_room * sizeof(*trials));
        if (!trials)
            exit(EXIT_NOT_RUN);
    }
    trials[trial_count++] = trial;
}

/* All N when there are few. Else the first half of what is allowed are the first calls of all,
 * which are those of the start, and the rest is drawn, one from each of as many equal parts. */
static void add_site(struct trial trial, uint64_t calls, struct tg_rng *rng)
{
    uint64_t allowed = options.per_site;
    if (options.number != 0) {
        trial.number = options.number;
        add_trial(trial);
        return;
    }
    uint64_t first = calls <= allowed ? calls : allowed / 2;
    for (trial.number = 1; trial.number <= first; trial.number++)
        add_trial(trial);
    if (first == calls)
        return;
    uint64_t parts = allowed - first, rest = calls - first;
    for (uint64_t part = 0; part < parts; part++) {
        uint64_t from = first + rest * part / parts, to = first + rest * (part + 1) / parts;
        trial.number = from + 1 + tg_rng_below(rng, to > from ? to - from : 1);
        add_trial(trial);
    }
}

static void add_class(enum plan_class class, bool existing, uint64_t calls, struct tg_rng *rng)
{
    int errors[PLAN_ERRORS_MAX];
    uint32_t count = trial_errors(class, errors);
    for (uint32_t i = 0; i < count; i++) {
        if (options.error != 0 && options.error != errors[i])
            continue;
        for (int onward = 0; onward <= 1; onward++)
            if (options.onward < 0 || options.onward == onward)
                add_site(
                    (struct trial){
                        .class = class, .error = errors[i], .existing = existing, .onward = onward},
                    calls, rng);
    }
}

/* Plays the workload without a fault and returns the calls that it made. Accepts and receives are
 * counted in a run of their own, in which each is a submission. */
static void count_calls(struct trial_bench *bench, bool existing, uint64_t calls[PLAN_CLASS_COUNT])
{
    static const enum plan_class runs[] = {PLAN_NONE, PLAN_ACCEPT, PLAN_RECEIVE};
    struct trial_result result;
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        struct trial trial = {.class = runs[i], .number = UINT64_MAX, .existing = existing};
        trial_run(bench, &trial, &result);
        if (result.outcome == TRIAL_BROKEN) {
            fprintf(stderr, "faults: the workload fails without a fault: %s\n", result.text);
            exit(EXIT_BROKEN);
        }
        if (i == 0)
            memcpy(calls, result.calls, sizeof(result.calls));
        else
            calls[runs[i]] = result.calls[runs[i]];
    }
}

static void make_trials(struct trial_bench *bench)
{
    struct tg_rng rng;
    tg_rng_init(&rng, options.seed);
    for (int existing = 0; existing <= 1; existing++) {
        uint64_t calls[PLAN_CLASS_COUNT];
        count_calls(bench, existing, calls);
        printf("calls on a%s database:", existing ? "n existing" : " fresh");
        for (int class = 0; class < PLAN_CLASS_COUNT; class ++)
            printf(" %s %" PRIu64, trial_class_name((enum plan_class) class), calls[class]);
        printf("\n");
        if (options.existing >= 0 && options.existing != existing)
            continue;
        for (int class = 0; class < PLAN_CLASS_COUNT; class ++)
            if (options.class == PLAN_NONE || options.class == (enum plan_class) class)
                add_class((enum plan_class) class, existing, calls[class], &rng);
    }
    fflush(stdout);
}

/* --- running them --- */

static void tell_broken(const struct trial *trial, const struct trial_result *result)
{
    if (atomic_load(&tally->outcomes[TRIAL_BROKEN]) > BROKEN_SHOWN_MAX)
        return;
    char text[2400];
    int size = snprintf(
        text, sizeof(text),
        "\nBROKEN: %s fails with %s, call %" PRIu64 "%s, %s database: %s\n"
        "    %s\n    again: make faults FAULT=%s:%s:%s:%s N=%" PRIu64 "\n",
        trial_class_name(trial->class), trial_error_name(trial->error), trial->number,
        trial->onward ? " and all from then on" : "", trial->existing ? "an existing" : "a fresh",
        result->call[0] ? result->call : "(not reached)", result->text,
        trial_class_name(trial->class), trial_error_name(trial->error),
        trial->existing ? "existing" : "fresh", trial->onward ? "onward" : "once", trial->number);
    /* One write, so that those of several processes do not mix. */
    if (write(STDERR_FILENO, text, (size_t)size) < 0)
        return;
}

static void run_one(struct trial_bench *bench, const struct trial *trial)
{
    struct trial_result result;
    trial_run(bench, trial, &result);
    atomic_fetch_add(&tally->outcomes[result.outcome], 1);
    atomic_fetch_add(&tally->by_class[trial->class][result.outcome], 1);
    atomic_fetch_add(&tally->done, 1);
    if (result.outcome == TRIAL_BROKEN)
        tell_broken(trial, &result);
    if (trial_count == 1) {
        printf("failed: %s\n", result.call[0] ? result.call : "(not reached)");
        fflush(stdout);
    }
}

static void work_off(const struct trial_bench *parent, uint32_t worker)
{
    char path[128];
    struct trial_bench bench;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof(path), "%s/w%u", root, worker);
    trial_bench_init(&bench, path);
    bench.template_path = parent->template_path;
    bench.template_work = parent->template_work;
    uint32_t at;
    while ((at = atomic_fetch_add(&tally->next, 1)) < trial_count)
        run_one(&bench, &trials[at]);
    trial_bench_fini(&bench);
    _exit(0);
}

static void tell_progress(int64_t begun_ns)
{
    if (isatty(STDERR_FILENO) != 1)
        return;
    uint64_t done = atomic_load(&tally->done);
    double seconds = (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
    fprintf(stderr, "\r%" PRIu64 " of %u trials, %.0f a second, %" PRIu64 " broken ", done,
            trial_count, (double)done / seconds, atomic_load(&tally->outcomes[TRIAL_BROKEN]));
}

/* Waits for all workers; false when one ended badly. */
static bool run_all(const struct trial_bench *bench)
{
    int64_t begun_ns = tg_clock_mono_ns();
    uint32_t left = 0;
    for (uint32_t i = 0; i < options.workers; i++) {
        pid_t pid = fork();
        if (pid == 0)
            work_off(bench, i);
        left += pid > 0;
    }
    bool fine = left > 0;
    while (left > 0) {
        int status;
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended <= 0) {
            tell_progress(begun_ns);
            usleep(200000);
            continue;
        }
        left--;
        fine = fine && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    tell_progress(begun_ns);
    return fine;
}

static void report(int64_t begun_ns)
{
    printf("\n%-12s %10s %10s %10s %12s %10s\n", "class", "served", "refused", "stopped",
           "not reached", "broken");
    for (int class = 0; class < PLAN_CLASS_COUNT; class ++) {
        uint64_t sum = 0;
        for (int i = 0; i < TRIAL_OUTCOMES; i++)
            sum += tally->by_class[class][i];
        if (sum == 0)
            continue;
        printf("%-12s", trial_class_name((enum plan_class) class));
        for (int i = 0; i < TRIAL_OUTCOMES; i++)
            printf(" %*" PRIu64, i == TRIAL_NOT_REACHED ? 12 : 10, tally->by_class[class][i]);
        printf("\n");
    }
    printf("faults: %u trials in %.0f s, seed %" PRIu64 ": %" PRIu64 " served, %" PRIu64
           " refused to start, %" PRIu64 " stopped, %" PRIu64 " not reached, %" PRIu64 " broken\n",
           trial_count, (double)(tg_clock_mono_ns() - begun_ns) / 1e9, options.seed,
           tally->outcomes[TRIAL_SERVED], tally->outcomes[TRIAL_REFUSED],
           tally->outcomes[TRIAL_STOPPED], tally->outcomes[TRIAL_NOT_REACHED],
           tally->outcomes[TRIAL_BROKEN]);
}

/* The injector's no-ops complete with the error that they are given: an older kernel completes them
 * with 0, which would be taken for a descriptor. */
static void check_kernel(void)
{
    struct io_uring ring;
    struct io_uring_cqe *done;
    int result = 0;
    if (io_uring_queue_init(4, &ring, 0) == 0) {
        struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
        io_uring_prep_nop(entry);
        entry->rw_flags = PLAN_NOP_INJECT_RESULT;
        entry->len = (uint32_t)-EMFILE;
        if (io_uring_submit_and_wait(&ring, 1) == 1 && io_uring_peek_cqe(&ring, &done) == 0)
            result = done->res;
        io_uring_queue_exit(&ring);
    }
    if (result == -EMFILE)
        return;
    fprintf(stderr, "faults: needs io_uring with IORING_NOP_INJECT_RESULT (Linux 6.10)\n");
    exit(EXIT_NOT_RUN);
}

/* Memory files are as good as a disk here, and a hundred times as fast. */
static void make_root(void)
{
    const char *parent = getenv("TMPDIR");
    if (!parent)
        parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(root, sizeof(root), "%.60s/tidegate-faults-XXXXXX", parent);
    if (!mkdtemp(root)) {
        fprintf(stderr, "faults: cannot make %s: %m\n", root);
        exit(EXIT_NOT_RUN);
    }
}

int main(int argc, char **argv)
{
    static struct work template_work;
    char text[1600], path[128], template_path[192];
    struct trial_bench bench;
    read_options(argc, argv);
    check_kernel();
    int64_t begun_ns = tg_clock_mono_ns();
    make_root();
    snprintf(path, sizeof(path), "%s/first", root);
    trial_bench_init(&bench, path);
    if (!trial_make_template(&bench, &template_work, text)) {
        fprintf(stderr, "faults: %s\n", text);
        trial_bench_fini(&bench);
        rmdir(root);
        return EXIT_NOT_RUN;
    }
    snprintf(template_path, sizeof(template_path), "%s/template", root);
    snprintf(path, sizeof(path), "%.100s/data/data.mdb", bench.root);
    if (rename(path, template_path)) {
        fprintf(stderr, "faults: cannot keep %s: %m\n", path);
        return EXIT_NOT_RUN;
    }
    bench.template_path = template_path;
    bench.template_work = &template_work;
    make_trials(&bench);
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED)
        return EXIT_NOT_RUN;
    bool fine = run_all(&bench);
    report(begun_ns);
    trial_bench_fini(&bench);
    unlink(template_path);
    rmdir(root);
    if (!fine)
        fprintf(stderr, "faults: a worker ended badly\n");
    return tally->outcomes[TRIAL_BROKEN] || !fine ? EXIT_BROKEN : 0;
}
