/* A run from start to judgement: make the sale, start the workers, watch them, gather, audit.
 *
 * Main thread. */
#ifndef LG_RUN_H
#define LG_RUN_H

#include "loadgen/audit.h"
#include "loadgen/feed.h"
#include "loadgen/options.h"
#include "loadgen/teller.h"
#include "loadgen/worker.h"
#include "loadgen/world.h"

/* The exit status of the program. */
enum lg_status {
    LG_PASSED = 0,
    LG_BROKEN = 1,
    LG_USAGE = 2,
    LG_MISSED = 3,
    LG_FAILED = 4,
};

/* Everything there is to report. Zeroed before lg_run or lg_tale_run; large, so not on a stack. */
struct lg_result {
    const struct lg_options *options; /* borrowed */
    struct lg_plan_settings settings;
    bool ran;     /* there was load */
    bool audited; /* findings hold */
    bool interrupted;
    struct lg_stats total;  /* the whole run */
    struct lg_stats window; /* what fell into the measured time */
    double elapsed_s;       /* the measured time */
    double run_s;           /* with warm-up and settling */
    double sell_through_s;  /* until the last unit was sold; 0: not sold out */
    struct tg_histogram latency, latency_accepted, slip; /* ns */
    uint64_t unknown_outcomes;
    uint64_t backlog_max, backlog_end;
    int64_t cpu_ns;       /* of all generator threads */
    double busiest_share; /* of one core, by the busiest of them */
    struct lg_findings findings;
    double audit_s;
    char complaint[256];   /* the first wrong answer in words, "" for none */
    struct tg_fault fault; /* why it could not be done; TG_ERR_OK for none */
    uint32_t missed_count; /* thresholds */
    char missed[8][96];
    /* of a run that told stories (loadgen/tale.h) */
    bool is_tale;
    struct lg_told told;
    uint64_t requests[LG_ASK_KINDS][TG_VERDICT_COUNT]; /* first answers */
    struct lg_world_findings world;
    struct lg_feed_findings feed;
};

_Static_assert(LG_COMPLAINT_BYTES == sizeof(((struct lg_result *)0)->complaint), "copied whole");

/* Makes load and audits it. */
enum lg_status lg_run(const struct lg_options *options, struct lg_result *result);
/* Audits the run that wrote options->audit. */
enum lg_status lg_run_audit(const struct lg_options *options, struct lg_result *result);

/* The exit status that the result deserves. Checks the thresholds. */
enum lg_status lg_result_judge(struct lg_result *result);

/* The audit, and what was seen while orders came: every promise held. */
bool lg_result_ok(const struct lg_result *result);

/* --- what every kind of run needs --- */

/* The first Ctrl-C (or SIGTERM) ends the run in order, the second one the process. */
void lg_run_catch_interrupts(void);
bool lg_run_interrupted(void);
/* A number that no other run has. */
uint64_t lg_run_nonce(void);
/* As far as it may. */
void lg_run_raise_file_limit(uint32_t connections);

#endif
