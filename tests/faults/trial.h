/* One run: a daemon with one fault plays the workload, and what it leaves is looked at.
 *
 *   start --ready--> play --(onward: stuck, probe, lift, go on)--> settle --> SIGTERM --+
 *     |               +--- ends by itself: documented, and it says why ----------------+--> verify
 *     +-- refuses: status 1, and it says why ------------------------------------------+
 *   then, without a fault: start, replay, play on, settle, count, SIGTERM, verify
 *
 * One thread; one trial at a time in a process. */
#ifndef TG_TESTS_FAULTS_TRIAL_H
#define TG_TESTS_FAULTS_TRIAL_H

#include "tests/faults/plan.h"
#include "tests/faults/work.h"

struct trial {
    enum plan_class class; /* PLAN_NONE: nothing fails */
    int error;             /* an errno, or PLAN_SHORT */
    uint64_t number;       /* of the call, from 1 */
    bool existing;         /* starts on a database with half of the workload in it */
    bool onward;           /* all calls from `number` on */
};

enum trial_outcome {
    TRIAL_SERVED,      /* it went on, and drained */
    TRIAL_REFUSED,     /* it refused to start, and said why */
    TRIAL_STOPPED,     /* it stopped, and said why */
    TRIAL_NOT_REACHED, /* it made fewer calls this time */
    TRIAL_BROKEN,      /* `text` says what */
    TRIAL_OUTCOMES,
};

struct trial_result {
    enum trial_outcome outcome;
    char text[1600];
    char call[96]; /* that failed first */
    uint64_t calls[PLAN_CLASS_COUNT];
};

/* Where trials of this process run: a directory of its own, made by trial_bench_init. */
struct trial_bench {
    char root[160];
    char data_dir[176];
    char messages[176];
    char plan_path[176];
    struct plan *plan;
    /* borrowed: of an existing database, the file and what was answered */
    const char *template_path;
    const struct work *template_work;
};

/* Makes the directory and the plan; ends the program (3) when it cannot. */
void trial_bench_init(struct trial_bench *bench, const char *root);
/* Removes the directory. */
void trial_bench_fini(struct trial_bench *bench);

/* Plays half of the workload on a fresh database; `work` keeps the answers. False, with the reason
 * in `text`, when that does not work even without a fault. */
bool trial_make_template(struct trial_bench *bench, struct work *work, char text[1600]);

void trial_run(struct trial_bench *bench, const struct trial *trial, struct trial_result *result);

/* "EIO", "SHORT"; "alloc". Static. */
const char *trial_error_name(int error);
const char *trial_class_name(enum plan_class class);
/* The errors of a class; returns how many. */
uint32_t trial_errors(enum plan_class class, int errors[PLAN_ERRORS_MAX]);

#endif
