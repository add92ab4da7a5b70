#include "loadgen/pairs.h"

#include "base/assert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MEANS_MAX (LG_PAIRS_MAX * (LG_PAIRS_MAX + 1) / 2)

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median_of_sorted(const double *values, uint32_t count)
{
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void describe(const double *values, uint32_t count, double *median, double *spread)
{
    double sorted[LG_PAIRS_MAX];
    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), by_value);
    *median = median_of_sorted(sorted, count);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = fabs(values[i] - *median);
    qsort(sorted, count, sizeof(*sorted), by_value);
    *spread = median_of_sorted(sorted, count) / *median;
}

/* The distribution of the signed-rank statistic under no change: each rank 1 .. count is in the sum
 * or not, with equal chance. `share[t]` is that of the sum t. */
uint32_t lg_pairs_rank(uint32_t count, double *tail)
{
    double share[MEANS_MAX + 1] = {1}, below = 0;
    uint32_t sums = 0, k = 0;
    tg_assert(count <= LG_PAIRS_MAX);
    for (uint32_t rank = 1; rank <= count; rank++) {
        sums += rank;
        for (uint32_t t = sums; t + 1 > 0; t--)
            share[t] = (share[t] + (t >= rank ? share[t - rank] : 0)) / 2;
    }
    while (k <= sums && below + share[k] <= LG_PAIRS_TAIL)
        below += share[k++];
    *tail = below;
    return k;
}

static enum lg_pairs_verdict judge(const struct lg_pairs *p, bool more_is_better, double margin)
{
    if (p->count < LG_PAIRS_MIN)
        return LG_PAIRS_UNCLEAR;
    if (p->low >= 1 / (1 + margin) && p->high <= 1 + margin)
        return LG_PAIRS_SAME;
    if (p->low > 1)
        return more_is_better ? LG_PAIRS_BETTER : LG_PAIRS_WORSE;
    if (p->high < 1)
        return more_is_better ? LG_PAIRS_WORSE : LG_PAIRS_BETTER;
    return LG_PAIRS_UNCLEAR;
}

void lg_pairs_compare(struct lg_pairs *p, const double *a, const double *b, uint32_t count,
                      bool more_is_better, double margin)
{
    double means[MEANS_MAX] = {0}; /* 40 KiB */
    double tail;
    uint32_t mean_count = 0;
    tg_assert(count > 0 && count <= LG_PAIRS_MAX);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i; j < count; j++)
            means[mean_count++] = (log(b[i] / a[i]) + log(b[j] / a[j])) / 2;
    qsort(means, mean_count, sizeof(*means), by_value);
    *p = (struct lg_pairs){.count = count, .low = NAN, .high = NAN, .confidence = NAN};
    p->ratio = exp(median_of_sorted(means, mean_count));
    describe(a, count, &p->a_median, &p->a_spread);
    describe(b, count, &p->b_median, &p->b_spread);
    uint32_t k = lg_pairs_rank(count, &tail);
    if (k) {
        p->low = exp(means[k - 1]);
        p->high = exp(means[mean_count - k]);
        p->confidence = 1 - 2 * tail;
    }
    p->verdict = judge(p, more_is_better, margin);
}
