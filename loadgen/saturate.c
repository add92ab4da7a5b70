#include "loadgen/saturate.h"

#include "base/assert.h"
#include "loadgen/parts.h"
#include "loadgen/run.h"

#include <math.h>
#include <stdio.h>

#define FEW_SHARE       0.95 /* of the orders that a rate asks for */
#define BACKLOG_SECONDS 0.1  /* a few are always due in the very moment of the end */

void lg_search_init(struct lg_search *search, const struct lg_objective *objective, double rate)
{
    *search = (struct lg_search){.objective = *objective, .rate = rate};
}

enum lg_step_end lg_step_judge(const struct lg_objective *objective, const struct lg_step *step)
{
    if ((double)step->backlog_end > step->rate_per_s * BACKLOG_SECONDS)
        return LG_STEP_BACKLOG;
    if (step->answered_per_s < step->rate_per_s * FEW_SHARE)
        return LG_STEP_FEW;
    if (step->latency_ns > (uint64_t)objective->at_most_ns)
        return LG_STEP_LATENCY;
    if (step->slip_p99_ns > (uint64_t)objective->at_most_ns)
        return LG_STEP_SLIP;
    return LG_STEP_OK;
}

const char *lg_step_end_text(enum lg_step_end end)
{
    switch (end) {
    case LG_STEP_OK:
        return "ok";
    case LG_STEP_LATENCY:
        return "too slow";
    case LG_STEP_BACKLOG:
        return "backlog";
    case LG_STEP_SLIP:
        return "sent late";
    case LG_STEP_FEW:
        return "too few";
    case LG_STEP_NOT_PASSED:
        return "failed";
    }
    return "failed";
}

bool lg_search_note(struct lg_search *search, const struct lg_step *step)
{
    tg_assert(search->step_count < LG_SEARCH_STEPS_MAX);
    search->steps[search->step_count++] = *step;
    if (step->end == LG_STEP_NOT_PASSED)
        return false;
    if (step->end == LG_STEP_OK)
        search->passed_per_s = step->rate_per_s;
    else
        search->failed_per_s = step->rate_per_s;
    double passed = search->passed_per_s, failed = search->failed_per_s;
    if (failed <= 0)
        search->rate = passed * 2;
    else if (passed <= 0)
        search->rate = failed / 2;
    else
        search->rate = round(sqrt(passed * failed));
    bool precise = passed > 0 && failed > 0 && failed - passed <= passed * LG_SEARCH_PRECISION;
    return !precise && search->step_count < LG_SEARCH_STEPS_MAX &&
           search->rate >= LG_SEARCH_RATE_MIN && search->rate <= LG_RATE_MAX &&
           search->rate > passed;
}

/* --- the runs --- */

static struct lg_step step_of(const struct lg_objective *objective, double rate,
                              const struct lg_result *r)
{
    struct lg_step step = {
        .rate_per_s = rate,
        .answered_per_s = r->elapsed_s > 0 ? (double)r->window.answers / r->elapsed_s : 0,
        .latency_ns = tg_histogram_percentile(&r->latency, objective->fraction),
        .slip_p99_ns = tg_histogram_percentile(&r->slip, 0.99),
        .backlog_end = r->backlog_end,
    };
    bool passed = (r->status == LG_PASSED || r->status == LG_MISSED) && !r->interrupted;
    step.end = passed ? lg_step_judge(objective, &step) : LG_STEP_NOT_PASSED;
    return step;
}

static void tell_step(const struct lg_options *o, const struct lg_search *search)
{
    const struct lg_step *step = &search->steps[search->step_count - 1];
    if (o->quiet)
        return;
    if (search->step_count == 1)
        fprintf(stderr, "  step     orders/s    answers/s  %8s ms  slip p99 ms   backlog\n",
                search->objective.name);
    fprintf(stderr, "  %4u  %11.0f  %11.0f  %11.3f  %11.3f  %8llu  %s\n", search->step_count,
            step->rate_per_s, step->answered_per_s, (double)step->latency_ns / 1e6,
            (double)step->slip_p99_ns / 1e6, (unsigned long long)step->backlog_end,
            lg_step_end_text(step->end));
}

/* One step's options: the same with the rate. False when they cannot be. */
static bool options_at(const struct lg_options *from, double rate, struct lg_options *o)
{
    struct tg_fault fault;
    *o = *from;
    o->rate_per_s = rate;
    o->saturate = (struct lg_objective){0};
    o->thresholds = (struct lg_thresholds){.max_backlog = LG_NO_LIMIT, .max_errors = LG_NO_LIMIT};
    return lg_options_finish(o, &fault) == TG_ERR_OK;
}

/* The thresholds are those of the whole search. */
static void conclude(const struct lg_options *options, const struct lg_search *search,
                     struct lg_result *result)
{
    result->search = *search;
    result->interrupted = result->interrupted || lg_interrupted();
    if (result->status != LG_PASSED)
        return;
    if (search->passed_per_s <= 0)
        snprintf(result->missed[result->missed_count++], sizeof(result->missed[0]),
                 "no rate met %s <= %.3f ms", search->objective.name,
                 (double)search->objective.at_most_ns / 1e6);
    if (!lg_result_check(result, &options->thresholds) || search->passed_per_s <= 0)
        result->status = LG_MISSED;
}

struct lg_result *lg_saturate_run(const struct lg_options *options)
{
    struct lg_search search;
    struct lg_options step_options;
    struct lg_result *best = NULL, *last = NULL;
    bool goes_on = true;
    lg_search_init(&search, &options->saturate, options->rate_per_s);
    while (goes_on && options_at(options, search.rate, &step_options)) {
        if (last != best)
            lg_result_free(last);
        last = lg_parts_run(&step_options, 1, &step_options);
        if (!last)
            break;
        last->own_options = step_options;
        last->options = &last->own_options;
        struct lg_step step = step_of(&options->saturate, search.rate, last);
        goes_on = lg_search_note(&search, &step);
        tell_step(options, &search);
        if (step.end != LG_STEP_OK)
            continue;
        lg_result_free(best);
        best = last;
    }
    /* A step that failed is what there is to tell, unless it was interrupted. */
    bool fine = !last || last->status == LG_PASSED || lg_interrupted();
    struct lg_result *result = best && fine ? best : last;
    lg_result_free(result == best && last != best ? last : NULL);
    lg_result_free(result != best ? best : NULL);
    if (result)
        conclude(options, &search, result);
    return result;
}
