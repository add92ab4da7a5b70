/* Samples over time: they add up to the totals, whatever is folded or merged. */
#include "base/rng.h"
#include "loadgen/profile.h"
#include "loadgen/samples.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define STEP   LG_SAMPLE_SHORT_NS
#define SECOND 1000000000ll

static struct tg_rng rng;

/* Something happens: `orders` of them are answered, each after `latency_ns`. */
static void happen(struct lg_tally *tally, uint64_t orders, uint64_t latency_ns)
{
    tally->offered += orders;
    tally->responses += orders;
    tally->accepted += orders / 2;
    tally->verdicts[TG_ACCEPTED] += orders / 2;
    tally->verdicts[TG_SOLD_OUT] += orders - orders / 2;
    tally->in_flight = orders;
    tally->backlog = latency_ns;
    if (orders)
        tg_histogram_record(&tally->latency, latency_ns, orders);
}

static void expect_sums(const struct lg_samples *samples, const struct lg_tally *tally)
{
    uint64_t offered = 0, responses = 0, accepted = 0, sold_out = 0, values = 0;
    int64_t end_ns = 0;
    cr_assert_not(samples->no_memory);
    for (uint32_t i = 0; i < samples->count; i++) {
        const struct lg_sample *s = &samples->list[i];
        cr_assert(i == 0 || s->end_ns > end_ns);
        end_ns = s->end_ns;
        offered += s->offered;
        responses += s->responses;
        accepted += s->accepted;
        sold_out += s->verdicts[TG_SOLD_OUT];
        for (uint32_t b = 0; b < s->latency.count; b++)
            values += s->latency.at[b].values;
    }
    cr_assert_eq(offered, tally->offered);
    cr_assert_eq(responses, tally->responses);
    cr_assert_eq(accepted, tally->accepted);
    cr_assert_eq(sold_out, tally->verdicts[TG_SOLD_OUT]);
    cr_assert_eq(values, tally->latency.count);
}

static struct lg_tally *new_tally(void)
{
    struct lg_tally *tally = calloc(1, sizeof(*tally));
    cr_assert(tally);
    return tally;
}

Test(samples, the_interval_follows_the_length_of_load)
{
    struct lg_samples samples;
    cr_assert(lg_samples_init(&samples, 60 * SECOND));
    cr_assert_eq(samples.interval_ns, LG_SAMPLE_SHORT_NS);
    lg_samples_fini(&samples);
    cr_assert(lg_samples_init(&samples, 60 * SECOND + 1));
    cr_assert_eq(samples.interval_ns, LG_SAMPLE_LONG_NS);
    cr_assert_eq(lg_samples_next_ns(&samples, 0), SECOND);
    cr_assert_eq(lg_samples_next_ns(&samples, SECOND - 1), SECOND);
    cr_assert_eq(lg_samples_next_ns(&samples, SECOND), 2 * SECOND);
    lg_samples_fini(&samples);
}

Test(samples, they_are_differences_and_what_holds_at_their_end)
{
    struct lg_samples samples;
    struct lg_tally *tally = new_tally();
    cr_assert(lg_samples_init(&samples, SECOND));
    happen(tally, 10, 100);
    lg_samples_add(&samples, tally, STEP);
    happen(tally, 0, 0);
    lg_samples_add(&samples, tally, 2 * STEP);
    happen(tally, 99, 200);
    happen(tally, 1, 5000);
    lg_samples_add(&samples, tally, 3 * STEP);
    cr_assert_eq(samples.count, 3);
    cr_assert(samples.list[0].offered == 10 && samples.list[0].backlog == 100);
    cr_assert(samples.list[1].offered == 0 && samples.list[1].in_flight == 0);
    cr_assert(samples.list[2].offered == 100 && samples.list[2].in_flight == 1);
    cr_assert_eq(lg_sample_percentile(&samples.list[0], 0.99), 100);
    cr_assert_eq(lg_sample_percentile(&samples.list[1], 0.5), UINT64_MAX, "nobody was answered");
    cr_assert_eq(lg_sample_percentile(&samples.list[2], 0.5), 200);
    cr_assert_eq(lg_sample_percentile(&samples.list[2], 0.99), 200);
    cr_assert_geq(lg_sample_percentile(&samples.list[2], 1), 5000);
    expect_sums(&samples, tally);
    lg_samples_fini(&samples);
    free(tally);
}

Test(samples, what_is_left_at_the_end_is_a_sample_only_when_it_is_long)
{
    struct lg_samples samples;
    struct lg_tally *tally = new_tally();
    cr_assert(lg_samples_init(&samples, SECOND));
    happen(tally, 10, 100);
    lg_samples_add(&samples, tally, STEP);
    happen(tally, 3, 300);
    lg_samples_end(&samples, tally, STEP + STEP / 2 - 1);
    cr_assert_eq(samples.count, 1);
    cr_assert_eq(samples.list[0].end_ns, STEP + STEP / 2 - 1);
    cr_assert_eq(samples.list[0].in_flight, 3);
    expect_sums(&samples, tally);
    happen(tally, 3, 300);
    lg_samples_end(&samples, tally, 2 * STEP);
    cr_assert_eq(samples.count, 2);
    expect_sums(&samples, tally);
    lg_samples_fini(&samples);
    free(tally);
}

Test(samples, load_without_an_end_gets_longer_intervals)
{
    struct lg_samples samples;
    struct lg_tally *tally = new_tally();
    cr_assert(lg_samples_init(&samples, LG_STAGE_ENDLESS_NS));
    for (int64_t at = STEP; at <= LG_SAMPLE_SHORT_MAX; at += STEP) {
        happen(tally, 7, (uint64_t)at);
        lg_samples_add(&samples, tally, at);
    }
    cr_assert_eq(samples.count, 240);
    happen(tally, 7, 77);
    lg_samples_add(&samples, tally, 61 * SECOND);
    cr_assert_eq(samples.interval_ns, LG_SAMPLE_LONG_NS);
    cr_assert_eq(samples.count, 61);
    cr_assert_eq(samples.list[0].offered, 28);
    cr_assert_eq(samples.list[0].end_ns, SECOND);
    expect_sums(&samples, tally);
    lg_samples_fini(&samples);
    free(tally);
}

Test(samples, their_number_is_bounded)
{
    struct lg_samples samples;
    struct lg_tally *tally = new_tally();
    cr_assert(lg_samples_init(&samples, 1000000 * SECOND));
    for (int64_t i = 1; i <= 2 * (int64_t)LG_SAMPLES_MAX; i++) {
        happen(tally, 1, 1000);
        lg_samples_add(&samples, tally, i * SECOND);
        cr_assert_leq(samples.count, LG_SAMPLES_MAX);
    }
    cr_assert_gt(samples.interval_ns, SECOND);
    expect_sums(&samples, tally);
    lg_samples_fini(&samples);
    free(tally);
}

/* --- parts --- */

/* A part of `seconds`, sampled a little late each time, as threads do. */
static void play(struct lg_samples *samples, struct lg_tally *tally, struct lg_tally *all,
                 int64_t from, int64_t steps)
{
    for (int64_t i = from + 1; i <= from + steps; i++) {
        uint64_t orders = tg_rng_below(&rng, 50), latency = tg_rng_below(&rng, 100000);
        happen(tally, orders, latency);
        all->offered += orders;
        all->responses += orders;
        all->accepted += orders / 2;
        all->verdicts[TG_SOLD_OUT] += orders - orders / 2;
        if (orders)
            tg_histogram_record(&all->latency, latency, orders);
        lg_samples_add(samples, tally, i * STEP + (int64_t)tg_rng_below(&rng, STEP / 4));
    }
}

Test(samples, of_parts_add_up_interval_by_interval)
{
    struct lg_samples whole, part;
    struct lg_tally *all = new_tally();
    cr_assert(lg_samples_init(&whole, 10 * SECOND));
    tg_rng_init(&rng, 4711);
    for (int64_t p = 0; p < 3; p++) {
        struct lg_tally *tally = new_tally();
        cr_assert(lg_samples_init(&part, 10 * SECOND));
        /* the second begins late, the third ends late */
        play(&part, tally, all, p == 1 ? 8 : 0, p == 2 ? 30 : 16);
        lg_samples_merge(&whole, &part);
        lg_samples_fini(&part);
        free(tally);
    }
    cr_assert_eq(whole.count, 30, "each interval once, not %u", whole.count);
    expect_sums(&whole, all);
    lg_samples_fini(&whole);
    free(all);
}

Test(samples, of_parts_are_one_histogram)
{
    struct lg_samples whole, part;
    cr_assert(lg_samples_init(&whole, SECOND));
    for (uint64_t p = 0; p < 2; p++) {
        struct lg_tally *tally = new_tally();
        cr_assert(lg_samples_init(&part, SECOND));
        happen(tally, p ? 97 : 3, p ? 100 : 9000);
        lg_samples_add(&part, tally, STEP + (int64_t)p);
        lg_samples_merge(&whole, &part);
        lg_samples_fini(&part);
        free(tally);
    }
    cr_assert_eq(whole.count, 1);
    cr_assert_eq(lg_sample_percentile(&whole.list[0], 0.97), 100);
    cr_assert_geq(lg_sample_percentile(&whole.list[0], 0.98), 9000);
    cr_assert_eq(whole.list[0].in_flight, 100);
    cr_assert_eq(whole.list[0].end_ns, STEP + 1);
    lg_samples_fini(&whole);
}
