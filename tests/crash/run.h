/* What the parts of the tool share: options, one recorded session and the looks at its images.
 *
 *   session.c  records: the first load, loads that go on behind a power cut, the upgrade of an old
 *              database; each a directory with log, facts and the file that it began with
 *   look.c     plans the images of a session and looks at them in several processes
 *   report.c   what was seen, for people and as JSON
 *   crash.c    the whole
 */
#ifndef TG_TESTS_CRASH_RUN_H
#define TG_TESTS_CRASH_RUN_H

#include "tests/crash/check.h"
#include "tests/crash/disk.h"
#include "tests/crash/load.h"

#define RUN_WORKERS_MAX  16
#define RUN_FINDINGS_MAX 4 /* that are told, of each worker */
#define RUN_PHASES_MAX   16
#define RUN_BUCKETS      8

struct run_options {
    uint64_t images, seed, answers, workers;
    const char *json;   /* file; NULL: none */
    const char *replay; /* directory of a session; NULL: all is done */
    uint64_t cut, variant;
};

/* --- sessions --- */

struct session {
    char name[32];
    char dir[128];
    const struct run_options *options; /* borrowed */
    struct facts facts;
    struct disk_tape tape;
    struct load *load; /* NULL: not recorded here */
};

/* A path in the directory of the session, in one of a few static buffers. */
const char *session_path(const struct session *session, const char *name);

/* Records it; its directory must not be there. False when two answers contradict each other. */
bool session_record(struct session *session, const struct run_options *options, const char *parent,
                    const char *name);
/* Records what goes on behind a power cut in `past`: which, the options' seed and `number` say. */
bool session_record_behind(struct session *session, const struct session *past, const char *parent,
                           uint32_t number);
/* Records how a database of format 1 becomes one of today. */
bool session_record_upgrade(struct session *session, const struct run_options *options,
                            const char *parent);
/* One that was recorded by an earlier run. */
void session_open(struct session *session, const struct run_options *options, const char *dir);
void session_close(struct session *session);
/* Begins a walk through its log. */
void session_disk(const struct session *session, struct disk *disk, const char *image,
                  enum disk_bend bend);

/* --- looks --- */

/* How the truth is bent, to see that the look would notice: by the disk, or as follows.
 * X(name, text) */
#define LOOK_BENDS(X)                                                                              \
    X(NOT, "nothing is")                                                                           \
    X(EARLY, "answers leave before the commit that they wait for")                                 \
    X(OTHER, "an order is kept that is not quite the one that was asked for")

enum look_bend {
#define LOOK_BEND_ENUM(name, text) LOOK_##name,
    LOOK_BENDS(LOOK_BEND_ENUM)
#undef LOOK_BEND_ENUM
};

struct finding {
    uint32_t cut, variant;
    enum disk_way way;
    char text[CHECK_TEXT_BYTES];
};

/* What was seen; of a worker, shared with its parent. */
struct tally {
    _Atomic uint64_t images;
    uint64_t ways[DISK_WAY_COUNT];
    uint64_t moments[DISK_MOMENT_COUNT];
    uint64_t phases[RUN_PHASES_MAX];
    uint64_t pending[RUN_BUCKETS]; /* cuts with so many writes pending: bucket_of in look.c */
    uint64_t cuts, facts, orders, starts;
    _Atomic uint64_t findings;
    uint32_t told_count;
    struct finding told[RUN_FINDINGS_MAX];
    double seconds;
};

/* Looks at so many images of the session, more closely at its beginning when `closely`, and adds
 * what is seen to `sum`. Progress goes to stderr, under `what`; NULL: none. */
void look_session(const struct session *session, uint64_t images, bool closely,
                  enum disk_bend disk_bend, enum look_bend look_bend, const char *what,
                  struct tally *sum);
/* Makes this one image. */
enum disk_way look_make(const struct session *session, struct disk *disk, uint32_t cut,
                        uint32_t variant);

/* --- reports --- */

struct report_check {
    const char *text;
    uint64_t images, findings;
    char example[CHECK_TEXT_BYTES];
};

/* `sessions`, with a tally each. */
struct report {
    const struct run_options *options;
    const struct session *sessions;
    const struct tally *tallies;
    uint32_t session_count;
    const struct report_check *checks;
    uint32_t check_count;
    double seconds; /* of the looks */
};

void report_print(const struct report *report);
/* Findings with the command that repeats each. */
void report_findings(const struct report *report);
/* False, with a line on stderr, when it cannot be written. */
bool report_json(const struct report *report, const char *path);
/* One line: the very last. */
void report_verdict(const struct report *report);

#endif
