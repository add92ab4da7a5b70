#include "tests/crash/run.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAEMON_EVERY 250
#define FIRST_CUTS   16u
#define FIRST_IMAGES 12u
#define OTHER_EVERY  16 /* orders */
#define PROGRESS_NS  (TG_NS_PER_S / 2)
#define PROGRESS_FAR 10 /* of them between two lines that stay */

struct work {
    const struct session *session;
    uint32_t *images; /* of each cut */
    enum disk_bend disk_bend;
    enum look_bend look_bend;
    struct tally *tallies; /* of each worker */
};

static void fail(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(CRASH_EXIT_UNABLE);
}

/* --- plan --------------------------------------------------------------------------------------
 */

/* The log must lead to the very bytes that the daemon left, or it is not the whole story. */
static void compare_end(const struct session *session, struct disk *disk)
{
    struct stat stat;
    disk_settle(disk);
    int fd = open(session_path(session, "data/data.mdb"), O_RDONLY | O_CLOEXEC);
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
                session->dir);
        exit(CRASH_EXIT_UNABLE);
    }
}

/* Of each cut, how many of its images differ. */
static uint32_t *count_variants(const struct session *session)
{
    struct disk disk;
    uint32_t *variants = calloc(session->tape.count, sizeof(*variants));
    if (!variants)
        fail("no memory for a plan");
    session_disk(session, &disk, session_path(session, "end"), DISK_STRAIGHT);
    for (uint32_t cut = 0; cut < session->tape.count; cut++) {
        disk_step(&disk);
        variants[cut] = disk_variants(&disk);
    }
    compare_end(session, &disk);
    disk_fini(&disk);
    unlink(session_path(session, "end"));
    return variants;
}

/* Spreads images evenly over the log; what a cut cannot use goes to the others. `closely`: what
 * happens at a start comes once in a log, and has many images of its own. */
static uint32_t *plan(const struct session *session, uint64_t images, bool closely, uint64_t *total)
{
    uint32_t count = session->tape.count;
    uint32_t *variants = count_variants(session);
    uint32_t *planned = calloc(count, sizeof(*planned));
    struct tg_rng rng;
    tg_rng_init(&rng, session->options->seed);
    if (!planned)
        fail("no memory for a plan");
    for (uint32_t cut = 0; closely && cut < count && cut < FIRST_CUTS; cut++)
        planned[cut] = variants[cut] < FIRST_IMAGES ? variants[cut] : FIRST_IMAGES;
    for (uint64_t left = images, idle = 0; left && idle < 64; idle++) {
        uint64_t round = left;
        for (uint64_t i = 0; i < round; i++) {
            uint64_t cut = (i * count + tg_rng_below(&rng, count)) / round;
            if (planned[cut] < variants[cut]) {
                planned[cut]++;
                left--;
            }
        }
    }
    *total = 0;
    for (uint32_t cut = 0; cut < count; cut++)
        *total += planned[cut];
    free(variants);
    return planned;
}

/* --- a worker ----------------------------------------------------------------------------------
 */

static uint32_t bucket_of(uint32_t pending)
{
    uint32_t bucket = 0;
    while (bucket < RUN_BUCKETS - 1 && pending >= 1u << bucket)
        bucket++;
    return bucket;
}

static uint32_t phase_of(const struct session *session, uint64_t position)
{
    const struct facts_list *list = &session->facts.phases;
    uint32_t phase = 0;
    while (phase + 1 < list->count && FACTS_AT(fact_phase, *list, phase + 1)->begins <= position)
        phase++;
    return phase;
}

/* Facts answered up to here must be in an image of this cut. */
static uint64_t facts_position(const struct work *work, uint32_t cut)
{
    const struct disk_tape *tape = &work->session->tape;
    uint32_t commits = work->look_bend == LOOK_EARLY ? 2 : 0;
    uint32_t at = cut;
    while (commits && at + 1 < tape->count)
        commits -= tape->ops[++at].entry->kind == CRASH_WRITTEN;
    return tape->ops[at].position;
}

enum disk_way look_make(const struct session *session, struct disk *disk, uint32_t cut,
                        uint32_t variant)
{
    struct tg_rng rng;
    tg_rng_init(&rng, tg_mix64(session->options->seed ^ tg_mix64((uint64_t)cut << 32 | variant)));
    return disk_make(disk, variant, &rng);
}

static void note_finding(struct tally *tally, uint32_t cut, uint32_t variant, enum disk_way way,
                         const char *text)
{
    if (tally->told_count < RUN_FINDINGS_MAX) {
        struct finding *finding = &tally->told[tally->told_count++];
        *finding = (struct finding){.cut = cut, .variant = variant, .way = way};
        snprintf(finding->text, sizeof(finding->text), "%s", text);
    }
    tally->findings++;
}

static void look_at(const struct work *work, struct disk *disk, uint32_t cut, uint32_t variant,
                    struct tally *tally)
{
    const struct session *session = work->session;
    struct check_result result;
    bool is_straight = work->disk_bend == DISK_STRAIGHT && work->look_bend == LOOK_NOT;
    bool with_daemon = is_straight && tally->images % DAEMON_EVERY == 0;
    enum disk_way way = look_make(session, disk, cut, variant);
    check_image(facts_position(work, cut), with_daemon, &result);
    disk_restore(disk);
    tally->ways[way]++;
    tally->moments[disk_moment(disk)]++;
    tally->phases[phase_of(session, session->tape.ops[cut].position)]++;
    tally->facts += result.facts;
    tally->orders += result.orders;
    tally->starts += with_daemon;
    if (result.text[0])
        note_finding(tally, cut, variant, way, result.text);
    tally->images++;
}

static void bend_orders(const struct facts *facts)
{
    for (uint64_t i = 0; i < facts->orders.count; i += OTHER_EVERY)
        FACTS_AT(fact_order, facts->orders, i)->print ^= 1;
}

/* Walks through the whole log and looks at every `workers`th cut. */
static void do_work(const struct work *work, uint32_t worker, uint32_t workers)
{
    const struct session *session = work->session;
    struct disk disk;
    struct tally *tally = &work->tallies[worker];
    char name[32], image_dir[192], image[224], looks[192], daemons[192];
    snprintf(name, sizeof(name), "worker%u", worker);
    snprintf(image_dir, sizeof(image_dir), "%s", session_path(session, name));
    snprintf(image, sizeof(image), "%s/data.mdb", image_dir);
    snprintf(looks, sizeof(looks), "%s", session_path(session, "looks"));
    snprintf(daemons, sizeof(daemons), "%s", session_path(session, "daemons"));
    if (mkdir(image_dir, 0700) && errno != EEXIST)
        fail(image_dir);
    if (work->look_bend == LOOK_OTHER)
        bend_orders(&session->facts);
    check_begin(image_dir, &session->facts, looks, daemons);
    session_disk(session, &disk, image, work->disk_bend);
    for (uint32_t cut = 0; cut < session->tape.count; cut++) {
        disk_step(&disk);
        if (cut % workers != worker || work->images[cut] == 0)
            continue;
        tally->cuts++;
        tally->pending[bucket_of(disk.pending_count)]++;
        for (uint32_t variant = 0; variant < work->images[cut]; variant++)
            look_at(work, &disk, cut, variant, tally);
    }
    disk_fini(&disk);
    check_end();
}

static pid_t start_worker(const struct work *work, uint32_t worker, uint32_t workers)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(CRASH_EXIT_UNABLE);
    do_work(work, worker, workers);
    _exit(0);
}

/* --- all workers -------------------------------------------------------------------------------
 */

static void show_progress(const struct work *work, const char *what, uint64_t images,
                          int64_t begun_ns, const char *end)
{
    uint64_t done = 0, findings = 0;
    for (uint64_t i = 0; i < work->session->options->workers; i++) {
        done += work->tallies[i].images;
        findings += work->tallies[i].findings;
    }
    double seconds = (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
    fprintf(stderr,
            "crash: %s: %.0f s  %" PRIu64 " of %" PRIu64 " images  %.0f/s  %" PRIu64 " findings%s",
            what, seconds, done, images, (double)done / seconds, findings, end);
}

/* On a terminal one line that changes, elsewhere a line now and then. */
static void tell_progress(const struct work *work, const char *what, uint64_t images,
                          int64_t begun_ns)
{
    static int64_t told_ns;
    int64_t now_ns = tg_clock_mono_ns();
    bool is_terminal = isatty(STDERR_FILENO);
    if (!what || now_ns - told_ns < (is_terminal ? 1 : PROGRESS_FAR) * PROGRESS_NS)
        return;
    told_ns = now_ns;
    show_progress(work, what, images, begun_ns, is_terminal ? "   \r" : "\n");
}

static void await_workers(const struct work *work, pid_t *pids, const char *what, uint64_t images,
                          int64_t begun_ns)
{
    uint64_t workers = work->session->options->workers;
    for (uint64_t going = workers; going > 0;) {
        int status = 0;
        usleep(5000);
        for (uint32_t i = 0; i < workers; i++) {
            if (pids[i] && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
                if (status != 0)
                    fail("a worker ended early");
                pids[i] = 0;
                going--;
            }
        }
        tell_progress(work, what, images, begun_ns);
    }
}

static void add(struct tally *sum, const struct tally *tally)
{
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
    for (uint32_t k = 0; k < RUN_PHASES_MAX; k++)
        sum->phases[k] += tally->phases[k];
    for (uint32_t k = 0; k < RUN_BUCKETS; k++)
        sum->pending[k] += tally->pending[k];
    for (uint32_t k = 0; k < tally->told_count && sum->told_count < RUN_FINDINGS_MAX; k++)
        sum->told[sum->told_count++] = tally->told[k];
}

void look_session(const struct session *session, uint64_t images, bool closely,
                  enum disk_bend disk_bend, enum look_bend look_bend, const char *what,
                  struct tally *sum)
{
    uint32_t workers = (uint32_t)session->options->workers;
    uint64_t planned;
    struct work work = {.session = session,
                        .images = plan(session, images, closely, &planned),
                        .disk_bend = disk_bend,
                        .look_bend = look_bend};
    pid_t pids[RUN_WORKERS_MAX];
    int64_t begun_ns = tg_clock_mono_ns();
    size_t bytes = workers * sizeof(*work.tallies);
    work.tallies = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (work.tallies == MAP_FAILED)
        fail("no memory");
    for (uint32_t i = 0; i < workers; i++)
        pids[i] = start_worker(&work, i, workers);
    await_workers(&work, pids, what, planned, begun_ns);
    for (uint32_t i = 0; i < workers; i++)
        add(sum, &work.tallies[i]);
    sum->seconds += (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
    munmap(work.tallies, bytes);
    free(work.images);
}
