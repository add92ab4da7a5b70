/* The search for the highest rate that meets an objective: an open loop at one rate after another,
 * each step a run with a sale and an audit of its own. The rate doubles until a step fails, or
 * halves until one passes; then the middle (of logarithms) between the highest that passed and the
 * lowest that failed is tried, until they are LG_SEARCH_PRECISION apart.
 *
 * A step passes when its latency meets the objective, what was due was sent (no backlog at the end,
 * nor late by more than the objective allows), and the audit held. The search itself is pure;
 * lg_saturate_run makes the runs. One thread.
 */
#ifndef LG_SATURATE_H
#define LG_SATURATE_H

#include "loadgen/values.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_SEARCH_STEPS_MAX 14u
#define LG_SEARCH_PRECISION 0.05 /* of the rate */
#define LG_SEARCH_RATE_MIN  1.0

enum lg_step_end {
    LG_STEP_OK,
    LG_STEP_LATENCY,    /* above the objective */
    LG_STEP_BACKLOG,    /* orders that were due were not sent at the end */
    LG_STEP_SLIP,       /* orders were sent too late */
    LG_STEP_FEW,        /* fewer orders than the rate asks for */
    LG_STEP_NOT_PASSED, /* the run failed or its audit did: the search ends */
};

struct lg_step {
    double rate_per_s;
    enum lg_step_end end;
    double answered_per_s;
    uint64_t latency_ns; /* at the objective's percentile */
    uint64_t slip_p99_ns;
    uint64_t backlog_end;
};

struct lg_search {
    struct lg_objective objective;
    double rate;         /* to be tried next */
    double passed_per_s; /* the highest that did; 0: none so far */
    double failed_per_s; /* the lowest that did; 0: none so far */
    uint32_t step_count;
    struct lg_step steps[LG_SEARCH_STEPS_MAX];
};

void lg_search_init(struct lg_search *search, const struct lg_objective *objective, double rate);
/* Notes a step at search->rate; sets the next one. False when the search is over. */
bool lg_search_note(struct lg_search *search, const struct lg_step *step);

/* How a step ended, by its figures. */
enum lg_step_end lg_step_judge(const struct lg_objective *objective, const struct lg_step *step);
const char *lg_step_end_text(enum lg_step_end end);

/* Runs the search that options->saturate asks for. The result is that of the best step (or of the
 * last, when none passed) with the search in it. NULL without memory. */
struct lg_result;
struct lg_options;
struct lg_result *lg_saturate_run(const struct lg_options *options);

#endif
