/* Verdicts over pairs of measurements: each of them where it belongs, and by the book. */
#include "loadgen/pairs.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <math.h>

static struct lg_pairs pairs;

#define COMPARE(a, b, more_is_better)                                                              \
    lg_pairs_compare(&pairs, a, b, sizeof(a) / sizeof((a)[0]), more_is_better, 0.05)

/* What slows both of a pair leaves no trace: five measurements of which the slowest is a third of
 * the fastest. */
static const double shaky[] = {100, 300, 150, 250, 200};

Test(pairs, a_clear_gain_is_better_and_its_mirror_image_worse)
{
    static const double gain[] = {121, 359, 178, 304, 239};
    COMPARE(shaky, gain, true);
    cr_assert_eq(pairs.verdict, LG_PAIRS_BETTER);
    cr_assert_float_eq(pairs.ratio, 1.2, 0.01);
    /* Of five pairs the interval goes from the smallest ratio to the largest. */
    cr_assert_float_eq(pairs.low, 178.0 / 150, 1e-9);
    cr_assert_float_eq(pairs.high, 304.0 / 250, 1e-9);
    cr_assert_float_eq(pairs.confidence, 1 - 2.0 / 32, 1e-12);
    COMPARE(gain, shaky, true);
    cr_assert_eq(pairs.verdict, LG_PAIRS_WORSE);
    cr_assert_float_eq(pairs.ratio, 1 / 1.2, 0.01);
    /* Of latencies the smaller is the better. */
    COMPARE(shaky, gain, false);
    cr_assert_eq(pairs.verdict, LG_PAIRS_WORSE);
    COMPARE(gain, shaky, false);
    cr_assert_eq(pairs.verdict, LG_PAIRS_BETTER);
}

Test(pairs, small_changes_are_the_same_even_when_they_are_certain)
{
    static const double level[] = {101, 298, 151, 249, 199};
    static const double two_percent[] = {102, 306.1, 153, 255.1, 204};
    COMPARE(shaky, level, true);
    cr_assert_eq(pairs.verdict, LG_PAIRS_SAME);
    COMPARE(shaky, two_percent, true);
    cr_assert_gt(pairs.low, 1);
    cr_assert_eq(pairs.verdict, LG_PAIRS_SAME);
    /* Without a margin they are what they are. */
    lg_pairs_compare(&pairs, shaky, two_percent, 5, true, 0);
    cr_assert_eq(pairs.verdict, LG_PAIRS_BETTER);
}

Test(pairs, wide_noise_and_few_pairs_leave_it_open)
{
    static const double noisy[] = {140, 240, 200, 200, 230};
    static const double gain[] = {200, 600, 300, 500};
    COMPARE(shaky, noisy, true);
    cr_assert_eq(pairs.verdict, LG_PAIRS_UNCLEAR);
    lg_pairs_compare(&pairs, shaky, gain, 4, true, 0.05);
    cr_assert_eq(pairs.verdict, LG_PAIRS_UNCLEAR);
    cr_assert_float_eq(pairs.ratio, 2, 1e-9);
    cr_assert(isnan(pairs.low) && isnan(pairs.confidence));
}

Test(pairs, one_wild_pair_moves_neither_estimate_nor_medians_far)
{
    static const double a[] = {100, 101, 99, 100, 102, 98, 100, 101};
    static const double b[] = {110, 111, 109, 110, 1, 108, 110, 111};
    COMPARE(a, b, true);
    cr_assert_float_eq(pairs.ratio, 1.1, 0.01);
    cr_assert_float_eq(pairs.b_median, 110, 0.01);
    cr_assert_lt(pairs.b_spread, 0.02);
}

/* Critical values of the signed-rank test, one-sided 5%: Hollander, Wolfe and Chicken, table A.4.
 */
Test(pairs, ranks_are_those_of_the_tables)
{
    static const struct {
        uint32_t count, least; /* T <= least is rare */
    } table[] = {{5, 0}, {6, 2}, {7, 3}, {8, 5}, {9, 8}, {10, 10}, {15, 30}, {20, 60}, {25, 100}};
    double tail;
    for (uint32_t count = 1; count < LG_PAIRS_MIN; count++)
        cr_assert_eq(lg_pairs_rank(count, &tail), 0, "%u", count);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cr_assert_eq(lg_pairs_rank(table[i].count, &tail), table[i].least + 1, "%u",
                     table[i].count);
        cr_assert(tail > 0.02 && tail <= LG_PAIRS_TAIL);
    }
    lg_pairs_rank(5, &tail);
    cr_assert_float_eq(tail, 1.0 / 32, 1e-12);
    cr_assert_gt(lg_pairs_rank(LG_PAIRS_MAX, &tail), 1000);
}

/* Of two equal things no more than 5% of all comparisons may be called worse, nor better. */
Test(pairs, equal_things_are_seldom_called_different)
{
    struct tg_rng rng;
    uint32_t worse = 0, better = 0, same = 0;
    tg_rng_init(&rng, 7);
    for (int trial = 0; trial < 4000; trial++) {
        double a[8], b[8];
        for (int i = 0; i < 8; i++) {
            a[i] = 100 + (double)tg_rng_below(&rng, 40);
            b[i] = 100 + (double)tg_rng_below(&rng, 40);
        }
        lg_pairs_compare(&pairs, a, b, 8, true, 0.01);
        worse += pairs.verdict == LG_PAIRS_WORSE;
        better += pairs.verdict == LG_PAIRS_BETTER;
        same += pairs.verdict == LG_PAIRS_SAME;
    }
    cr_assert_leq(worse, 4000 / 20 + 40, "%u", worse);
    cr_assert_leq(better, 4000 / 20 + 40, "%u", better);
    /* Noise as large as this tells nothing within 1%. */
    cr_assert_lt(same, 40);
}
