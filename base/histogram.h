/* A log-linear histogram of durations: nanoseconds to an hour in 36 KiB, each off by less than 1%.
 *
 * One thread writes; others may read or merge at any time and see some recent state (each counter
 * is a relaxed atomic word, so there is nothing to tear). Values below 256 are exact; above, each
 * power of two is cut into 128 buckets, and a value is told as the largest of its bucket, so a
 * percentile is never understated and at most 1/128 too high.
 *
 *   bucket   0 .. 255      256 .. 383       384 .. 511     ...
 *   value    0 .. 255    256, 258 .. 510   512, 516 ..     ...
 */
#ifndef TG_BASE_HISTOGRAM_H
#define TG_BASE_HISTOGRAM_H

#include <stdint.h>

#define TG_HISTOGRAM_SUB_BITS   7 /* 128 buckets for each power of two */
#define TG_HISTOGRAM_VALUE_BITS 42
#define TG_HISTOGRAM_VALUE_MAX  ((1ull << TG_HISTOGRAM_VALUE_BITS) - 1) /* 73 minutes in ns */
#define TG_HISTOGRAM_BUCKETS                                                                       \
    ((TG_HISTOGRAM_VALUE_BITS - TG_HISTOGRAM_SUB_BITS + 1) << TG_HISTOGRAM_SUB_BITS)

_Static_assert((1 << TG_HISTOGRAM_SUB_BITS) > 100, "at most 1% error");

struct tg_histogram {
    uint64_t count; /* values recorded */
    uint64_t max;   /* the largest, exact */
    uint64_t buckets[TG_HISTOGRAM_BUCKETS];
};

/* Forgets everything. Writer. */
void tg_histogram_reset(struct tg_histogram *histogram);

/* Adds what `from` holds to `into`, whose writer calls. */
void tg_histogram_merge(struct tg_histogram *into, const struct tg_histogram *from);

/* into = later - earlier: what was recorded between two copies of one histogram. The maximum is the
 * largest value of the highest bucket that grew. */
void tg_histogram_between(struct tg_histogram *into, const struct tg_histogram *earlier,
                          const struct tg_histogram *later);

/* The smallest recorded value (at bucket precision) that `fraction` (0..1) of all do not exceed;
 * 0 when there are none. O(buckets). */
uint64_t tg_histogram_percentile(const struct tg_histogram *histogram, double fraction);

/* The bucket of a value, and the largest value of a bucket. Pure. */
static inline uint32_t tg_histogram_bucket(uint64_t value)
{
    if (value < (2u << TG_HISTOGRAM_SUB_BITS))
        return (uint32_t)value;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - TG_HISTOGRAM_SUB_BITS;
    return (shift << TG_HISTOGRAM_SUB_BITS) + (uint32_t)(value >> shift);
}

static inline uint64_t tg_histogram_bucket_max(uint32_t bucket)
{
    if (bucket < (2u << TG_HISTOGRAM_SUB_BITS))
        return bucket;
    uint32_t shift = (bucket >> TG_HISTOGRAM_SUB_BITS) - 1;
    uint64_t top = bucket - (shift << TG_HISTOGRAM_SUB_BITS);
    return ((top + 1) << shift) - 1;
}

/* Records `value` `times` times; values beyond TG_HISTOGRAM_VALUE_MAX count as that. Writer; about
 * 2 ns. */
static inline void tg_histogram_record(struct tg_histogram *histogram, uint64_t value,
                                       uint64_t times)
{
    if (value > TG_HISTOGRAM_VALUE_MAX)
        value = TG_HISTOGRAM_VALUE_MAX;
    uint64_t *bucket = &histogram->buckets[tg_histogram_bucket(value)];
    __atomic_store_n(bucket, *bucket + times, __ATOMIC_RELAXED);
    __atomic_store_n(&histogram->count, histogram->count + times, __ATOMIC_RELAXED);
    if (value > histogram->max)
        __atomic_store_n(&histogram->max, value, __ATOMIC_RELAXED);
}

#endif
