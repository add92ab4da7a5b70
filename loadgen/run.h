/* A run from start to judgement: make the sale, start the workers, watch them, gather, audit.
 *
 * Each part of a run is carried by a thread of its own (loadgen/parts.h) and meets the others at a
 * gate; nothing is shared between parts but that.
 */
#ifndef LG_RUN_H
#define LG_RUN_H

#include "loadgen/audit.h"
#include "loadgen/feed.h"
#include "loadgen/gate.h"
#include "loadgen/machine.h"
#include "loadgen/options.h"
#include "loadgen/samples.h"
#include "loadgen/saturate.h"
#include "loadgen/teller.h"
#include "loadgen/vitals.h"
#include "loadgen/worker.h"
#include "loadgen/world.h"

#define LG_MISSED_MAX 24u /* thresholds of a part and of the whole */

/* The exit status of the program. */
enum lg_status {
    LG_PASSED = 0,
    LG_BROKEN = 1,
    LG_USAGE = 2,
    LG_MISSED = 3,
    LG_FAILED = 4,
};

/* A threshold that was asked for. */
struct lg_check {
    const char *name, *unit; /* static; the unit "us" or "" */
    double value, wanted;
    bool at_least; /* or at most */
    bool ok;
};

/* Everything there is to report, of a part or of the whole. Large, so not on a stack: made by
 * lg_result_create. */
struct lg_result {
    const struct lg_options *options; /* borrowed, or `own_options` */
    struct lg_options own_options;    /* of a step of a search */
    enum lg_status status;
    struct lg_plan_settings settings;
    bool ran;     /* there was load */
    bool audited; /* findings hold */
    bool interrupted;
    int64_t started_at_ms;       /* Unix time of the start of load */
    struct lg_stats total;       /* the whole run */
    struct lg_stats window;      /* what fell into the measured time */
    int64_t begin_ns, end_ns;    /* of the measured time, monotonic */
    int64_t start_ns, settle_ns; /* of load, and when its last answer was there */
    double elapsed_s;            /* the measured time */
    double run_s;                /* with warm-up and settling */
    double sell_through_s;       /* from the opening until the last unit was sold; 0: it was not */
    struct tg_histogram latency, latency_accepted, slip; /* ns */
    struct lg_samples samples;
    uint64_t unknown_outcomes;
    uint64_t backlog_max, backlog_end;
    int64_t cpu_ns;       /* of all generator threads */
    double busiest_share; /* of one core, by the busiest of them */
    uint64_t prefilled;   /* orders placed before load began */
    double prefill_s;
    struct lg_findings findings;
    double audit_s;
    char complaint[256];   /* the first wrong answer in words, "" for none */
    struct tg_fault fault; /* why it could not be done; TG_ERR_OK for none */
    uint32_t missed_count; /* thresholds */
    char missed[LG_MISSED_MAX][128];
    uint32_t check_count;
    struct lg_check checks[LG_MISSED_MAX]; /* all thresholds, also those that were met */
    /* of a run that told stories (loadgen/tale.h) */
    bool is_tale;
    struct lg_told told;
    uint64_t requests[LG_ASK_KINDS][TG_VERDICT_COUNT]; /* first answers */
    struct lg_world_findings world;
    struct lg_feed_findings feed;
    /* of the whole */
    const char *about;        /* of a scenario file; borrowed, NULL: none */
    struct lg_result **parts; /* owned; none when there is one part alone */
    uint32_t part_count;
    struct lg_machine machine;
    struct lg_vitals vitals;
    struct lg_search search; /* step_count 0: nothing was searched for */
};

_Static_assert(LG_COMPLAINT_BYTES == sizeof(((struct lg_result *)0)->complaint), "copied whole");

/* An empty one, or NULL without memory; and its end, with its parts. NULL is fine. */
struct lg_result *lg_result_create(void);
void lg_result_free(struct lg_result *result);

/* Makes load and audits it. Comes to three meetings at the gate, or fails it. Blocking; any thread.
 * `load_ns`: how long the longest part's load goes on. */
enum lg_status lg_run(const struct lg_options *options, struct lg_gate *gate, int64_t load_ns,
                      struct lg_result *result);
/* Audits the run that wrote options->audit. */
enum lg_status lg_run_audit(const struct lg_options *options, struct lg_result *result);

/* --- what every kind of run needs --- */

/* A number that no other run has. */
uint64_t lg_run_nonce(void);
/* As far as it may. */
void lg_run_raise_file_limit(uint32_t connections);
/* The orders that are to be there before: options->prefill of them. False: the fault is set. */
bool lg_run_prefill(const struct lg_options *options, struct lg_result *result);
/* Sleeps until `until_ns`, monotonic, or an interrupt. */
void lg_run_sleep_until(int64_t until_ns);

/* --- judging (loadgen/judge.c) --- */

/* The exit status that the result deserves. Checks the thresholds of its options. */
enum lg_status lg_result_judge(struct lg_result *result);
/* Checks and lists others; false when one was missed by a run whose figures mean something. What
 * was missed is added in words. */
bool lg_result_check(struct lg_result *result, const struct lg_thresholds *thresholds);
/* The audit, and what was seen while orders came: every promise held. */
bool lg_result_ok(const struct lg_result *result);
/* Nothing that was seen breaks a promise. */
bool lg_result_promises_held(const struct lg_result *result);
/* Orders that ended in trouble: BUSY or STORAGE_FULL to the end, no answer, an answer that no
 * correct server gives. */
uint64_t lg_result_errors(const struct lg_result *result);
/* Makes the whole of its parts: counts and histograms add up, samples are merged, the worst status
 * is the whole's. */
void lg_result_merge(struct lg_result *whole);

#endif
