/* The search for the highest rate: it ends, near the truth, whatever the truth is. */
#include "loadgen/saturate.h"

#include <criterion/criterion.h>

static const struct lg_objective p99 = {.name = "p99", .fraction = 0.99, .at_most_ns = 4000000};

/* A step of a server that holds `capacity` orders a second. */
static struct lg_step step_at(double rate, double capacity)
{
    return (struct lg_step){.rate_per_s = rate,
                            .end = rate <= capacity ? LG_STEP_OK : LG_STEP_LATENCY};
}

static struct lg_search search_for(double capacity, double rate)
{
    struct lg_search search;
    struct lg_step step;
    lg_search_init(&search, &p99, rate);
    do {
        step = step_at(search.rate, capacity);
    } while (lg_search_note(&search, &step));
    return search;
}

Test(saturate, it_finds_the_capacity_as_precisely_as_it_says)
{
    static const double capacities[] = {3000, 9999, 10000, 10001, 47000, 123456, 800000, 1.6e6};
    for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
        struct lg_search s = search_for(capacities[i], 10000);
        cr_assert_leq(s.step_count, LG_SEARCH_STEPS_MAX);
        cr_assert_leq(s.passed_per_s, capacities[i]);
        cr_assert_gt(s.failed_per_s, capacities[i]);
        cr_assert_leq(s.failed_per_s - s.passed_per_s, s.passed_per_s * LG_SEARCH_PRECISION,
                      "capacity %.0f: %.0f to %.0f in %u steps", capacities[i], s.passed_per_s,
                      s.failed_per_s, s.step_count);
    }
}

Test(saturate, it_ends_where_nothing_passes_or_everything_does)
{
    struct lg_search none = search_for(0, 10000), all = search_for(1e12, 10000);
    cr_assert_float_eq(none.passed_per_s, 0, 1e-9);
    cr_assert_leq(none.step_count, LG_SEARCH_STEPS_MAX);
    cr_assert_float_eq(all.failed_per_s, 0, 1e-9);
    cr_assert_eq(all.step_count, LG_SEARCH_STEPS_MAX);
    struct lg_search tiny = search_for(0, 1.5);
    cr_assert_eq(tiny.step_count, 1, "half of it is no rate any more");
}

Test(saturate, a_run_that_fails_ends_it)
{
    struct lg_search search;
    struct lg_step step = {.rate_per_s = 10000, .end = LG_STEP_NOT_PASSED};
    lg_search_init(&search, &p99, 10000);
    cr_assert_not(lg_search_note(&search, &step));
    cr_assert_float_eq(search.passed_per_s + search.failed_per_s, 0, 1e-9);
}

Test(saturate, a_step_is_judged_by_all_its_figures)
{
    const struct lg_step good = {.rate_per_s = 1000,
                                 .answered_per_s = 990,
                                 .latency_ns = 4000000,
                                 .slip_p99_ns = 4000000,
                                 .backlog_end = 100};
    struct lg_step step = good;
    cr_assert_eq(lg_step_judge(&p99, &step), LG_STEP_OK);
    step.latency_ns++;
    cr_assert_eq(lg_step_judge(&p99, &step), LG_STEP_LATENCY);
    step = good;
    step.slip_p99_ns++;
    cr_assert_eq(lg_step_judge(&p99, &step), LG_STEP_SLIP);
    step = good;
    step.backlog_end++;
    cr_assert_eq(lg_step_judge(&p99, &step), LG_STEP_BACKLOG);
    step = good;
    step.answered_per_s = 949;
    cr_assert_eq(lg_step_judge(&p99, &step), LG_STEP_FEW);
}
