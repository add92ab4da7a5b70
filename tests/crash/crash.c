/* Power cuts on a real LMDB: records every write and every sync of a daemon under load, then makes
 * files as a power cut at any moment may have left them, and looks at each with the recovery that
 * ships. docs/power-cuts.md tells what is tried and what is not.
 *
 *   record   load.c drives a daemon that record.c is preloaded into -> log, facts
 *   plan     which cuts, and how many images of each
 *   look     two or more workers, each with a disk (disk.c) and a look (check.c)
 *
 * Usage: crash [--images N] [--seed S] [--answers N] [--workers N]
 *        crash --replay DIR --seed S --cut N --variant N
 *
 * Exit status: 0 every image holds what was acknowledged; 1 a promise is broken; 2 usage, or
 * something that is no promise went wrong. */
#include "base/clock.h"
#include "tests/crash/check.h"
#include "tests/crash/disk.h"
#include "tests/crash/load.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGES_DEFAULT    15000
#define ANSWERS_DEFAULT   900 /* of each workload */
#define SELF_CHECK_IMAGES 300
#define WORKERS_MAX       16
#define FINDINGS_MAX      4 /* that are told, of each worker */
#define DAEMON_EVERY      250
#define PHASES_MAX        16
#define PENDING_BUCKETS   8
#define FIRST_CUTS        24u
#define FIRST_IMAGES      24u

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2
};

struct options {
    uint64_t images, seed, answers, workers;
    const char *replay;
    uint64_t cut, variant;
};

/* How the truth is bent, to see that the look would notice. */
enum bend {
    BEND_NOT,
    BEND_SYNC,  /* a sync covers what the one before it should have covered */
    BEND_EARLY, /* answers are said to have come before the commit that they waited for */
};

struct finding {
    uint32_t cut, variant;
    enum disk_way way;
    char text[CHECK_TEXT_BYTES];
};

/* What one worker has seen; shared with the parent. */
struct tally {
    _Atomic uint64_t images;
    uint64_t ways[DISK_WAY_COUNT];
    uint64_t moments[DISK_MOMENT_COUNT];
    uint64_t phases[PHASES_MAX];
    uint64_t pending[PENDING_BUCKETS]; /* cuts with so many writes pending */
    uint64_t cuts, facts, orders, starts;
    uint64_t findings;
    struct finding told[FINDINGS_MAX];
};

struct run {
    const struct options *options;
    const char *dir;
    struct facts facts;
    struct disk_tape tape;
    uint32_t *images; /* of each cut */
    enum bend bend;
    struct tally *tallies; /* of each worker */
};

static void fail(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(EXIT_USAGE);
}

/* A path in the directory of this run, in one of a few static buffers. */
static const char *path_of(const struct run *run, const char *name)
{
    static char paths[4][300];
    static uint32_t turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", run->dir, name);
    return path;
}

/* --- record ------------------------------------------------------------------------------------
 */

static struct crash_log *log_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, CRASH_LOG_BYTES))
        fail(path);
    struct crash_log *log = mmap(NULL, CRASH_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (log == MAP_FAILED)
        fail("cannot map the log");
    log->magic = CRASH_LOG_MAGIC;
    return log;
}

/* False when two answers contradict each other. */
static bool record(struct run *run)
{
    char log_path[300], data_dir[300], messages[300];
    snprintf(log_path, sizeof(log_path), "%s/log", run->dir);
    snprintf(data_dir, sizeof(data_dir), "%s/data", run->dir);
    snprintf(messages, sizeof(messages), "%s/daemon", run->dir);
    struct crash_log *log = log_create(log_path);
    struct host host = {.data_dir = data_dir, .messages = messages, .log = log_path};
    load_run(&host, log, run->options->seed, (uint32_t)run->options->answers, &run->facts);
    uint64_t bytes = CRASH_LOG_HEAD + crash_log_at(log);
    munmap(log, CRASH_LOG_BYTES);
    if (truncate(log_path, (off_t)bytes))
        fail(log_path);
    bool settled = facts_settle(&run->facts);
    if (!facts_save(&run->facts, path_of(run, "facts")))
        fail("cannot save the facts");
    return settled;
}

/* The log must lead to the very bytes that the daemon left, or it is not the whole story. */
static void compare_end(const struct run *run, struct disk *disk)
{
    struct stat stat;
    disk_settle(disk);
    int fd = open(path_of(run, "data/data.mdb"), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat))
        fail("cannot look at the data file");
    uint8_t *bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        fail("cannot map the data file");
    bool same = (uint64_t)stat.st_size == disk->base_bytes &&
                memcmp(bytes, disk->base, disk->base_bytes) == 0;
    munmap(bytes, (size_t)stat.st_size);
    if (!same) {
        fprintf(stderr, "crash: the log does not lead to the daemon's data file; see %s\n",
                run->dir);
        exit(EXIT_USAGE);
    }
}

/* --- plan --------------------------------------------------------------------------------------
 */

/* Of each cut, how many of its images differ. */
static uint32_t *count_variants(const struct run *run)
{
    struct disk disk;
    uint32_t *variants = calloc(run->tape.count, sizeof(*variants));
    if (!variants)
        fail("no memory for a plan");
    disk_init(&disk, &run->tape, path_of(run, "end"), false);
    for (uint32_t cut = 0; cut < run->tape.count; cut++) {
        disk_step(&disk);
        variants[cut] = disk_variants(&disk);
    }
    compare_end(run, &disk);
    disk_fini(&disk);
    unlink(path_of(run, "end"));
    return variants;
}

/* Spreads images evenly over the log; what a cut cannot use goes to the others. `closely`: a
 * database that is only being made comes once in a log, and has many images of its own. */
static void plan(struct run *run, uint64_t images, bool closely)
{
    uint32_t count = run->tape.count;
    uint32_t *variants = count_variants(run);
    struct tg_rng rng;
    tg_rng_init(&rng, run->options->seed);
    free(run->images);
    run->images = calloc(count, sizeof(*run->images));
    if (!run->images)
        fail("no memory for a plan");
    for (uint32_t cut = 0; closely && cut < count && cut < FIRST_CUTS; cut++)
        run->images[cut] = variants[cut] < FIRST_IMAGES ? variants[cut] : FIRST_IMAGES;
    for (uint64_t left = images, idle = 0; left && idle < 64; idle++) {
        uint64_t round = left;
        for (uint64_t i = 0; i < round; i++) {
            uint64_t cut = (i * count + tg_rng_below(&rng, count)) / round;
            if (run->images[cut] < variants[cut]) {
                run->images[cut]++;
                left--;
            }
        }
    }
    free(variants);
}

/* --- look --------------------------------------------------------------------------------------
 */

static uint32_t bucket_of(uint32_t pending)
{
    uint32_t bucket = 0;
    while (bucket < PENDING_BUCKETS - 1 && pending >= 1u << bucket)
        bucket++;
    return bucket;
}

static uint32_t phase_of(const struct run *run, uint64_t position)
{
    const struct facts_list *list = &run->facts.phases;
    uint32_t phase = 0;
    while (phase + 1 < list->count && FACTS_AT(fact_phase, *list, phase + 1)->begins <= position)
        phase++;
    return phase;
}

/* Facts answered up to here must be in an image of this cut. */
static uint64_t facts_position(const struct run *run, uint32_t cut)
{
    uint32_t commits = run->bend == BEND_EARLY ? 2 : 0;
    uint32_t at = cut;
    while (commits && at + 1 < run->tape.count)
        commits -= run->tape.ops[++at].entry->kind == CRASH_WRITTEN;
    return run->tape.ops[at].position;
}

static enum disk_way make(const struct run *run, struct disk *disk, uint32_t cut, uint32_t variant)
{
    struct tg_rng rng;
    tg_rng_init(&rng, tg_mix64(run->options->seed ^ tg_mix64((uint64_t)cut << 32 | variant)));
    return disk_make(disk, variant, &rng);
}

static void note_finding(struct tally *tally, uint32_t cut, uint32_t variant, enum disk_way way,
                         const char *text)
{
    if (tally->findings < FINDINGS_MAX) {
        struct finding *finding = &tally->told[tally->findings];
        *finding = (struct finding){.cut = cut, .variant = variant, .way = way};
        snprintf(finding->text, sizeof(finding->text), "%s", text);
    }
    tally->findings++;
}

static void look_at(const struct run *run, struct disk *disk, uint32_t cut, uint32_t variant,
                    const char *image_dir, struct tally *tally)
{
    struct check_result result;
    bool with_daemon = run->bend == BEND_NOT && tally->images % DAEMON_EVERY == 0;
    enum disk_way way = make(run, disk, cut, variant);
    check_image(image_dir, &run->facts, facts_position(run, cut),
                with_daemon ? path_of(run, "daemons") : NULL, &result);
    disk_restore(disk);
    tally->ways[way]++;
    tally->moments[disk_moment(disk)]++;
    tally->phases[phase_of(run, run->tape.ops[cut].position)]++;
    tally->facts += result.facts;
    tally->orders += result.orders;
    tally->starts += with_daemon;
    if (result.text[0])
        note_finding(tally, cut, variant, way, result.text);
    tally->images++;
}

/* Walks through the whole log and looks at every `workers`th cut. */
static void work(const struct run *run, uint32_t worker, uint32_t workers)
{
    struct disk disk;
    struct tally *tally = &run->tallies[worker];
    char image_dir[300], image[310];
    snprintf(image_dir, sizeof(image_dir), "%s/worker%u", run->dir, worker);
    snprintf(image, sizeof(image), "%s/data.mdb", image_dir);
    if (mkdir(image_dir, 0700) && errno != EEXIST)
        fail(image_dir);
    check_init(path_of(run, "looks"));
    disk_init(&disk, &run->tape, image, run->bend == BEND_SYNC);
    for (uint32_t cut = 0; cut < run->tape.count; cut++) {
        disk_step(&disk);
        if (cut % workers != worker || run->images[cut] == 0)
            continue;
        tally->cuts++;
        tally->pending[bucket_of(disk.pending_count)]++;
        for (uint32_t variant = 0; variant < run->images[cut]; variant++)
            look_at(run, &disk, cut, variant, image_dir, tally);
    }
    disk_fini(&disk);
}

static void show_progress(const struct run *run, uint64_t images, int64_t begun_ns)
{
    uint64_t done = 0, findings = 0;
    for (uint64_t i = 0; i < run->options->workers; i++) {
        done += run->tallies[i].images;
        findings += run->tallies[i].findings;
    }
    double seconds = (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
    fprintf(stderr,
            "crash: %6.0f s  %" PRIu64 " of %" PRIu64 " images  %.0f/s  %" PRIu64 " findings\n",
            seconds, done, images, (double)done / seconds, findings);
}

static pid_t start_worker(const struct run *run, uint32_t worker)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_USAGE);
    work(run, worker, (uint32_t)run->options->workers);
    _exit(0);
}

/* All planned images; returns what the workers saw, added up, and the seconds that it took. */
static double look(struct run *run, uint64_t images, struct tally *sum)
{
    uint64_t workers = run->options->workers;
    pid_t pids[WORKERS_MAX];
    int64_t begun_ns = tg_clock_mono_ns(), told_ns = begun_ns;
    memset(run->tallies, 0, workers * sizeof(*run->tallies));
    for (uint32_t i = 0; i < workers; i++)
        pids[i] = start_worker(run, i);
    for (uint64_t going = workers; going > 0;) {
        int status = 0;
        usleep(20000);
        for (uint32_t i = 0; i < workers; i++) {
            if (pids[i] && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
                if (status != 0)
                    fail("a worker ended early");
                pids[i] = 0;
                going--;
            }
        }
        if (run->bend == BEND_NOT && tg_clock_mono_ns() - told_ns > 5 * TG_NS_PER_S) {
            told_ns = tg_clock_mono_ns();
            show_progress(run, images, begun_ns);
        }
    }
    memset(sum, 0, sizeof(*sum));
    for (uint32_t i = 0; i < workers; i++) {
        const struct tally *tally = &run->tallies[i];
        sum->images += tally->images;
        sum->cuts += tally->cuts;
        sum->facts += tally->facts;
        sum->orders += tally->orders;
        sum->starts += tally->starts;
        sum->findings += tally->findings;
        for (uint32_t k = 0; k < DISK_WAY_COUNT; k++)
            sum->ways[k] += tally->ways[k];
        for (uint32_t k = 0; k < DISK_MOMENT_COUNT; k++)
            sum->moments[k] += tally->moments[k];
        for (uint32_t k = 0; k < PHASES_MAX; k++)
            sum->phases[k] += tally->phases[k];
        for (uint32_t k = 0; k < PENDING_BUCKETS; k++)
            sum->pending[k] += tally->pending[k];
    }
    return (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
}

/* --- report ------------------------------------------------------------------------------------
 */

static void report(const struct run *run, const struct tally *sum, double seconds)
{
    static const char *const buckets[PENDING_BUCKETS] = {"0",    "1",     "2-3",   "4-7",
                                                         "8-15", "16-31", "32-63", "64-"};
    printf("%" PRIu64 " images of %" PRIu64 " cuts in a log of %u entries (%.0f MiB), %.1f s, "
           "%.0f images/s, seed %" PRIu64 "\n",
           sum->images, sum->cuts, run->tape.count, (double)crash_log_at(run->tape.log) / (1 << 20),
           seconds, (double)sum->images / seconds, run->options->seed);
    printf("%" PRIu64 " facts and %" PRIu64 " orders checked in them, %" PRIu64
           " daemons started on them\n",
           sum->facts, sum->orders, sum->starts);
    printf("\nimages  workload\n");
    for (uint32_t i = 0; i < run->facts.phases.count; i++)
        printf("%6" PRIu64 "  %s\n", sum->phases[i],
               FACTS_AT(fact_phase, run->facts.phases, i)->name);
    printf("\nimages  the power went\n");
    for (uint32_t i = 0; i < DISK_MOMENT_COUNT; i++)
        printf("%6" PRIu64 "  %s\n", sum->moments[i], disk_moment_text(i));
    printf("\nimages  of what was pending there is\n");
    for (uint32_t i = 0; i < DISK_WAY_COUNT; i++)
        printf("%6" PRIu64 "  %s\n", sum->ways[i], disk_way_text(i));
    printf("\n  cuts  writes pending\n");
    for (uint32_t i = 0; i < PENDING_BUCKETS; i++)
        printf("%6" PRIu64 "  %s\n", sum->pending[i], buckets[i]);
    printf("\n%" PRIu64 " findings\n", sum->findings);
}

static void report_finding(const struct run *run, const struct finding *finding)
{
    const struct disk_op *op = &run->tape.ops[finding->cut];
    const struct fact_phase *phase =
        FACTS_AT(fact_phase, run->facts.phases, phase_of(run, op->position));
    printf("\ncut %u in %s, there is %s:\n  %s\n", finding->cut, phase->name,
           disk_way_text(finding->way), finding->text);
    printf("  again: " TG_BUILD "/tests/crash/crash --replay %s --seed %" PRIu64
           " --cut %u --variant %u\n",
           run->dir, run->options->seed, finding->cut, finding->variant);
}

static void report_findings(const struct run *run)
{
    for (uint64_t w = 0; w < run->options->workers; w++) {
        const struct tally *tally = &run->tallies[w];
        for (uint32_t i = 0; i < tally->findings && i < FINDINGS_MAX; i++)
            report_finding(run, &tally->told[i]);
    }
}

/* --- ways to run -------------------------------------------------------------------------------
 */

static void show_example(const struct run *run)
{
    uint64_t worker = 0;
    while (worker + 1 < run->options->workers && run->tallies[worker].findings == 0)
        worker++;
    printf("  for example: %s\n", run->tallies[worker].told[0].text);
}

/* A disk that lies and answers that do not wait must be found out, or the look sees nothing. */
static bool self_check(struct run *run)
{
    static const struct {
        enum bend bend;
        const char *text;
    } bends[] = {{BEND_SYNC, "syncs that come one too late"},
                 {BEND_EARLY, "answers that come one commit too early"}};
    bool can_fail = true;
    plan(run, SELF_CHECK_IMAGES, false);
    for (size_t i = 0; i < sizeof(bends) / sizeof(bends[0]); i++) {
        struct tally sum;
        run->bend = bends[i].bend;
        look(run, SELF_CHECK_IMAGES, &sum);
        printf("self-check, %s: %" PRIu64 " findings in %" PRIu64 " images\n", bends[i].text,
               sum.findings, sum.images);
        if (sum.findings)
            show_example(run);
        can_fail &= sum.findings > 0;
    }
    run->bend = BEND_NOT;
    return can_fail;
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

static void run_init(struct run *run, const struct options *options)
{
    *run = (struct run){.options = options};
    run->tallies = mmap(NULL, WORKERS_MAX * sizeof(*run->tallies), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run->tallies == MAP_FAILED)
        fail("no memory");
}

static int judge(struct run *run, uint64_t images)
{
    struct tally sum;
    if (!self_check(run)) {
        printf("the self-check found nothing: this tool proves nothing\n");
        return EXIT_BROKEN;
    }
    plan(run, images, true);
    double seconds = look(run, images, &sum);
    report(run, &sum, seconds);
    report_findings(run);
    return sum.findings ? EXIT_BROKEN : 0;
}

static int run_all(const struct options *options)
{
    struct run run;
    char dir[64] = "/dev/shm/tidegate-crash-XXXXXX";
    run_init(&run, options);
    if (!mkdtemp(dir))
        fail("mkdtemp");
    run.dir = dir;
    fprintf(stderr, "crash: seed %" PRIu64 ", in %s\n", options->seed, dir);
    int status = record(&run) ? 0 : EXIT_BROKEN;
    disk_tape_open(&run.tape, path_of(&run, "log"));
    if (status == 0)
        status = judge(&run, options->images);
    disk_tape_close(&run.tape);
    if (status == 0)
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    else
        printf("log, facts and data are kept in %s\n", dir);
    return status;
}

/* One image again; it stays in DIR/image. */
static int run_one(const struct options *options)
{
    struct run run;
    struct disk disk;
    struct check_result result;
    run_init(&run, options);
    run.dir = options->replay;
    disk_tape_open(&run.tape, path_of(&run, "log"));
    if (!facts_load(&run.facts, path_of(&run, "facts")))
        fail("cannot read the facts");
    if (options->cut >= run.tape.count) {
        fprintf(stderr, "crash: the log has %u entries\n", run.tape.count);
        return EXIT_USAGE;
    }
    char image_dir[300];
    snprintf(image_dir, sizeof(image_dir), "%s/image", run.dir);
    if (mkdir(image_dir, 0700) && errno != EEXIST)
        fail(image_dir);
    check_init(path_of(&run, "looks"));
    disk_init(&disk, &run.tape, path_of(&run, "image/data.mdb"), false);
    while (disk.at <= options->cut)
        disk_step(&disk);
    uint32_t cut = (uint32_t)options->cut;
    enum disk_way way = make(&run, &disk, cut, (uint32_t)options->variant);
    printf("cut %u: %s, %u writes pending, there is %s\n", cut,
           disk_moment_text(disk_moment(&disk)), disk.pending_count, disk_way_text(way));
    check_image(image_dir, &run.facts, facts_position(&run, cut), path_of(&run, "daemons"),
                &result);
    printf("%s\nthe image is %s\n", result.text[0] ? result.text : "nothing is wrong", disk.path);
    disk_fini(&disk);
    disk_tape_close(&run.tape);
    return result.text[0] ? EXIT_BROKEN : 0;
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

static bool read_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"images", required_argument, NULL, 'i'},  {"seed", required_argument, NULL, 's'},
        {"answers", required_argument, NULL, 'a'}, {"workers", required_argument, NULL, 'w'},
        {"replay", required_argument, NULL, 'r'},  {"cut", required_argument, NULL, 'c'},
        {"variant", required_argument, NULL, 'v'}, {NULL, 0, NULL, 0},
    };
    bool fits = true;
    int option;
    while (fits && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'r')
            options->replay = optarg;
        else if (option == 'i')
            fits = read_number(optarg, &options->images);
        else if (option == 's')
            fits = read_number(optarg, &options->seed);
        else if (option == 'a')
            fits = read_number(optarg, &options->answers);
        else if (option == 'w')
            fits = read_number(optarg, &options->workers);
        else if (option == 'c')
            fits = read_number(optarg, &options->cut);
        else
            fits = option == 'v' && read_number(optarg, &options->variant);
    }
    return fits && optind == argc && options->images && options->answers &&
           options->answers <= 100000 && options->workers && options->workers <= WORKERS_MAX;
}

int main(int argc, char **argv)
{
    struct options options = {.images = IMAGES_DEFAULT,
                              .answers = ANSWERS_DEFAULT,
                              .workers = 2,
                              .seed = (uint64_t)tg_clock_wall_ns() % 1000000};
    if (!read_options(&options, argc, argv)) {
        fprintf(stderr, "usage: crash [--images N] [--seed S] [--answers N] [--workers N]\n"
                        "       crash --replay DIR --seed S --cut N --variant N\n");
        return EXIT_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return options.replay ? run_one(&options) : run_all(&options);
}
