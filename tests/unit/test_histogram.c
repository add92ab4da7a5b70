#include "base/histogram.h"
#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* cr_assert reports each pass to the runner, which is too slow for millions of checks. */
#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cr_assert(0, "line %d: %s", __LINE__, #condition);                                     \
    } while (0)

static struct tg_histogram histogram, other, difference;

Test(histogram, small_values_are_exact)
{
    for (uint64_t value = 0; value < 256; value++)
        check(tg_histogram_bucket_max(tg_histogram_bucket(value)) == value);
}

Test(histogram, every_bucket_ends_where_the_next_begins)
{
    for (uint32_t bucket = 0; bucket + 1 < TG_HISTOGRAM_BUCKETS; bucket++) {
        uint64_t max = tg_histogram_bucket_max(bucket);
        check(tg_histogram_bucket(max) == bucket);
        check(tg_histogram_bucket(max + 1) == bucket + 1);
    }
    cr_assert_eq(tg_histogram_bucket(TG_HISTOGRAM_VALUE_MAX), TG_HISTOGRAM_BUCKETS - 1);
}

Test(histogram, no_value_is_told_too_low_or_more_than_one_percent_too_high)
{
    struct tg_rng rng;
    tg_rng_init(&rng, 42);
    for (int i = 0; i < 1000000; i++) {
        uint64_t value = tg_rng_next(&rng) >> (22 + tg_rng_below(&rng, 42));
        uint64_t told = tg_histogram_bucket_max(tg_histogram_bucket(value));
        check(told >= value);
        check((double)(told - value) <= 0.01 * (double)value);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

Test(histogram, percentiles_are_those_of_the_sorted_values)
{
    enum {
        N = 10007
    };
    static uint64_t values[N];
    static const double fractions[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    struct tg_rng rng;
    tg_rng_init(&rng, 7);
    tg_histogram_reset(&histogram);
    for (int i = 0; i < N; i++) {
        values[i] = 1000 + (tg_rng_next(&rng) >> (30 + tg_rng_below(&rng, 24)));
        tg_histogram_record(&histogram, values[i], 1);
    }
    qsort(values, N, sizeof(values[0]), compare);
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
        double exact = fractions[i] * N;
        size_t rank = exact <= 1 ? 1 : (size_t)exact + ((double)(size_t)exact < exact);
        uint64_t told = tg_histogram_percentile(&histogram, fractions[i]);
        cr_assert_geq(told, values[rank - 1], "at %f", fractions[i]);
        cr_assert_leq((double)told, 1.01 * (double)values[rank - 1], "at %f", fractions[i]);
    }
    cr_assert_eq(tg_histogram_percentile(&histogram, 1), values[N - 1]);
    cr_assert_eq(histogram.max, values[N - 1]);
}

Test(histogram, an_empty_one_and_a_value_beyond_its_range)
{
    tg_histogram_reset(&histogram);
    cr_assert_eq(tg_histogram_percentile(&histogram, 0.5), 0);
    tg_histogram_record(&histogram, UINT64_MAX, 3);
    cr_assert_eq(histogram.count, 3);
    cr_assert_eq(tg_histogram_percentile(&histogram, 0.5), TG_HISTOGRAM_VALUE_MAX);
}

Test(histogram, merging_is_recording_both)
{
    struct tg_rng rng;
    tg_rng_init(&rng, 11);
    tg_histogram_reset(&histogram);
    tg_histogram_reset(&other);
    tg_histogram_reset(&difference);
    for (int i = 0; i < 5000; i++) {
        uint64_t value = tg_rng_below(&rng, 1 << 30);
        tg_histogram_record(i % 3 ? &histogram : &other, value, 1 + value % 2);
        tg_histogram_record(&difference, value, 1 + value % 2);
    }
    tg_histogram_merge(&histogram, &other);
    cr_assert_eq(histogram.count, difference.count);
    cr_assert_eq(histogram.max, difference.max);
    cr_assert_arr_eq(histogram.buckets, difference.buckets, sizeof(histogram.buckets));
}

Test(histogram, the_difference_of_two_copies_is_what_came_between)
{
    tg_histogram_reset(&histogram);
    for (uint64_t value = 1; value <= 100; value++)
        tg_histogram_record(&histogram, value * 1000, 1);
    other = histogram;
    tg_histogram_record(&histogram, 7000, 9);
    tg_histogram_record(&histogram, 9000, 1);
    tg_histogram_between(&difference, &other, &histogram);
    cr_assert_eq(difference.count, 10);
    cr_assert_leq(tg_histogram_percentile(&difference, 0.9), 7070);
    cr_assert_geq(tg_histogram_percentile(&difference, 1), 9000);
    cr_assert_leq(difference.max, 9090);
}
