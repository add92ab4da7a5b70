/* Power cuts on a real LMDB: records every write and every sync of a daemon under load, then makes
 * files as a power cut at any moment may have left them, and looks at each with the recovery that
 * ships; then lets daemons go on on some of them, and cuts again. docs/power-cuts.md tells what is
 * tried and what is not.
 *
 * Usage: crash [--images N] [--seed S] [--answers N] [--workers N] [--json FILE]
 *        crash --replay DIR --seed S --cut N --variant N
 *
 * Exit status: 0 every image holds what was acknowledged; 1 a promise is broken; 2 usage; 3 it
 * could not be run here, or its load makes no sense. */
#include "base/clock.h"
#include "tests/crash/run.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGES_DEFAULT    15000
#define ANSWERS_DEFAULT   800 /* of each workload */
#define SELF_CHECK_IMAGES 160
#define BEHIND_MIN        3     /* loads that go on behind a power cut */
#define BEHIND_IMAGES     10000 /* one more for each so many images */
#define BEHIND_MAX        16
#define BEHIND_SHARE      3 /* one of so many images is of such a load, or of the upgrade */
#define SESSIONS_MAX      (BEHIND_MAX + 2)
#define SELF_CHECKS_MAX   8

/* The first session is that of the whole load, the last is the upgrade. */
struct run {
    const struct run_options *options;
    char dir[64];
    struct session sessions[SESSIONS_MAX];
    struct tally tallies[SESSIONS_MAX];
    uint32_t session_count;
    struct report_check checks[SELF_CHECKS_MAX];
    uint32_t check_count;
};

static void fail(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(CRASH_EXIT_UNABLE);
}

/* Every other of them goes on on what goes on: the second, the third cut. */
static bool record_all(struct run *run)
{
    struct session *sessions = run->sessions;
    uint64_t behind = BEHIND_MIN + run->options->images / BEHIND_IMAGES;
    bool settled = session_record(&sessions[0], run->options, run->dir, "load");
    run->session_count = 1;
    for (uint32_t i = 1; settled && i <= behind && i <= BEHIND_MAX; i++) {
        settled = session_record_behind(&sessions[i], &sessions[i % 2 ? 0 : i - 1], run->dir, i);
        run->session_count++;
    }
    if (settled)
        settled = session_record_upgrade(&sessions[run->session_count++], run->options, run->dir);
    return settled;
}

/* --- self-checks -------------------------------------------------------------------------------
 */

static void self_check(struct run *run, enum disk_bend disk_bend, enum look_bend look_bend,
                       const char *text)
{
    struct tally tally = {.images = 0};
    struct report_check *check = &run->checks[run->check_count++];
    look_session(&run->sessions[0], SELF_CHECK_IMAGES, false, disk_bend, look_bend, NULL, &tally);
    *check =
        (struct report_check){.text = text, .images = tally.images, .findings = tally.findings};
    if (tally.told_count)
        memcpy(check->example, tally.told[0].text, sizeof(check->example));
}

/* A disk that breaks its word, answers that do not wait and an order that was swapped must be found
 * out, or the look sees nothing. */
static bool self_checks(struct run *run)
{
    static const char *const disk_texts[] = {
#define DISK_BEND_TEXT(name, text) text,
        DISK_BENDS(DISK_BEND_TEXT)
#undef DISK_BEND_TEXT
    };
    static const char *const look_texts[] = {
#define LOOK_BEND_TEXT(name, text) text,
        LOOK_BENDS(LOOK_BEND_TEXT)
#undef LOOK_BEND_TEXT
    };
    bool can_fail = true;
    for (uint32_t i = 1; i < sizeof(disk_texts) / sizeof(disk_texts[0]); i++)
        self_check(run, (enum disk_bend)i, LOOK_NOT, disk_texts[i]);
    for (uint32_t i = 1; i < sizeof(look_texts) / sizeof(look_texts[0]); i++)
        self_check(run, DISK_STRAIGHT, (enum look_bend)i, look_texts[i]);
    for (uint32_t i = 0; i < run->check_count; i++)
        can_fail &= run->checks[i].findings > 0;
    return can_fail;
}

/* --- ways to run -------------------------------------------------------------------------------
 */

static void look_all(struct run *run)
{
    uint64_t others = run->options->images / BEHIND_SHARE;
    for (uint32_t i = 0; i < run->session_count; i++) {
        uint64_t share = i == 0 ? run->options->images - others : others / (run->session_count - 1);
        look_session(&run->sessions[i], share ? share : 1, true, DISK_STRAIGHT, LOOK_NOT,
                     run->sessions[i].name, &run->tallies[i]);
    }
}

static int judge(struct run *run)
{
    bool can_fail = self_checks(run);
    look_all(run);
    struct report report = {.options = run->options,
                            .sessions = run->sessions,
                            .tallies = run->tallies,
                            .session_count = run->session_count,
                            .checks = run->checks,
                            .check_count = run->check_count};
    uint64_t findings = 0;
    for (uint32_t i = 0; i < run->session_count; i++) {
        report.seconds += run->tallies[i].seconds;
        findings += run->tallies[i].findings;
    }
    report_print(&report);
    report_findings(&report);
    if (!can_fail)
        printf("\na self-check found nothing: this tool proves nothing\n");
    if (run->options->json && !report_json(&report, run->options->json))
        exit(CRASH_EXIT_UNABLE);
    report_verdict(&report);
    return findings || !can_fail ? CRASH_EXIT_BROKEN : 0;
}

static int run_all(const struct run_options *options)
{
    static struct run run;
    run.options = options;
    snprintf(run.dir, sizeof(run.dir), "/dev/shm/tidegate-crash-XXXXXX");
    if (!mkdtemp(run.dir))
        fail("mkdtemp");
    fprintf(stderr, "crash: seed %" PRIu64 ", in %s\n", options->seed, run.dir);
    int status = record_all(&run) ? judge(&run) : CRASH_EXIT_BROKEN;
    for (uint32_t i = run.session_count; i > 0; i--)
        session_close(&run.sessions[i - 1]);
    if (status == 0)
        tree_remove(run.dir);
    else
        fprintf(stderr, "crash: logs, facts and data are kept in %s\n", run.dir);
    return status;
}

/* One image again; it stays in DIR/image. */
static int run_one(const struct run_options *options)
{
    struct session session;
    struct disk disk;
    struct check_result result;
    char image_dir[192], image[224], looks[192], daemons[192];
    session_open(&session, options, options->replay);
    if (options->cut >= session.tape.count) {
        fprintf(stderr, "crash: the log has %u entries\n", session.tape.count);
        return CRASH_EXIT_USAGE;
    }
    snprintf(image_dir, sizeof(image_dir), "%s", session_path(&session, "image"));
    snprintf(image, sizeof(image), "%s/data.mdb", image_dir);
    snprintf(looks, sizeof(looks), "%s", session_path(&session, "looks"));
    snprintf(daemons, sizeof(daemons), "%s", session_path(&session, "daemons"));
    if (mkdir(image_dir, 0700) && errno != EEXIST)
        fail(image_dir);
    session_disk(&session, &disk, image, DISK_STRAIGHT);
    while (disk.at <= options->cut)
        disk_step(&disk);
    uint32_t cut = (uint32_t)options->cut;
    enum disk_way way = look_make(&session, &disk, cut, (uint32_t)options->variant);
    printf("cut %u: %s, %u writes pending, there is %s\n", cut,
           disk_moment_text(disk_moment(&disk)), disk.pending_count, disk_way_text(way));
    check_begin(image_dir, &session.facts, looks, daemons);
    check_image(session.tape.ops[cut].position, true, &result);
    check_end();
    printf("%s\nthe image is %s\n", result.text[0] ? result.text : "nothing is wrong", image);
    disk_fini(&disk);
    session_close(&session);
    return result.text[0] ? CRASH_EXIT_BROKEN : 0;
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

static bool read_options(struct run_options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"images", required_argument, NULL, 'i'},
        {"seed", required_argument, NULL, 's'},
        {"answers", required_argument, NULL, 'a'},
        {"workers", required_argument, NULL, 'w'},
        {"replay", required_argument, NULL, 'r'},
        {"cut", required_argument, NULL, 'c'},
        {"variant", required_argument, NULL, 'v'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    bool fits = true;
    int option;
    while (fits && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'r')
            options->replay = optarg;
        else if (option == 'j')
            options->json = optarg;
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
           options->answers <= 100000 && options->workers && options->workers <= RUN_WORKERS_MAX;
}

int main(int argc, char **argv)
{
    struct run_options options = {.images = IMAGES_DEFAULT,
                                  .answers = ANSWERS_DEFAULT,
                                  .workers = 2,
                                  .seed = (uint64_t)tg_clock_wall_ns() % 1000000};
    if (!read_options(&options, argc, argv)) {
        fprintf(stderr,
                "usage: crash [--images N] [--seed S] [--answers N] [--workers N] [--json FILE]\n"
                "       crash --replay DIR --seed S --cut N --variant N\n");
        return CRASH_EXIT_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return options.replay ? run_one(&options) : run_all(&options);
}
