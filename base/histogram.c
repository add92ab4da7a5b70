#include "base/histogram.h"

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

void tg_histogram_reset(struct tg_histogram *histogram)
{
    store(&histogram->count, 0);
    store(&histogram->max, 0);
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        store(&histogram->buckets[i], 0);
}

/* The count is summed from the buckets, not copied: a reader beside the writer may see the two
 * words at different moments, and percentiles need them to agree. */
void tg_histogram_merge(struct tg_histogram *into, const struct tg_histogram *from)
{
    uint64_t added = 0;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++) {
        uint64_t times = load(&from->buckets[i]);
        if (!times)
            continue;
        store(&into->buckets[i], into->buckets[i] + times);
        added += times;
    }
    store(&into->count, into->count + added);
    uint64_t max = load(&from->max);
    if (max > into->max)
        store(&into->max, max);
}

void tg_histogram_between(struct tg_histogram *into, const struct tg_histogram *earlier,
                          const struct tg_histogram *later)
{
    tg_histogram_reset(into);
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++) {
        uint64_t before = load(&earlier->buckets[i]);
        uint64_t after = load(&later->buckets[i]);
        if (after <= before)
            continue;
        into->buckets[i] = after - before;
        into->count += after - before;
        into->max = tg_histogram_bucket_max(i);
    }
    uint64_t max = load(&later->max);
    if (into->max > max)
        into->max = max;
}

uint64_t tg_histogram_percentile(const struct tg_histogram *histogram, double fraction)
{
    if (!histogram->count)
        return 0;
    double exact = fraction * (double)histogram->count;
    uint64_t rank = exact <= 1 ? 1 : (uint64_t)exact;
    if ((double)rank < exact)
        rank++;
    if (rank > histogram->count)
        rank = histogram->count;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            uint64_t value = tg_histogram_bucket_max(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
