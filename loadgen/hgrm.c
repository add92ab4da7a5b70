#include "loadgen/hgrm.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define TICKS_PER_HALF 5

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* The value of a bucket, which for the last one is known exactly. */
static uint64_t value_of(const struct tg_histogram *h, uint32_t bucket)
{
    uint64_t value = tg_histogram_bucket_max(bucket);
    return value < h->max ? value : h->max;
}

/* The step of PercentileIterator: the distance to 100% is halved again and again, and each half has
 * as many ticks. */
static double step_at(double percentile)
{
    double half = floor(log2(100 / (100 - percentile))) + 1;
    return 100 / (TICKS_PER_HALF * exp2(half));
}

static void write_lines(const struct tg_histogram *h, FILE *out)
{
    double level = 0;
    uint64_t upto = 0;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS && upto < h->count; i++) {
        if (!h->buckets[i])
            continue;
        upto += h->buckets[i];
        double reached = 100 * (double)upto / (double)h->count;
        while (level <= reached && level < 100) {
            fprintf(out, "%12.6f %2.12f %10" PRIu64 " %14.2f\n", ms(value_of(h, i)), level / 100,
                    upto, 1 / (1 - level / 100));
            /* At the last value there is no end to ever smaller steps. */
            if (upto == h->count)
                break;
            level += step_at(level);
        }
    }
    if (h->count)
        fprintf(out, "%12.6f %2.12f %10" PRIu64 "\n", ms(h->max), 1.0, h->count);
}

static void write_end(const struct tg_histogram *h, FILE *out)
{
    double sum = 0, squares = 0, count = h->count ? (double)h->count : 1;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        if (h->buckets[i])
            sum += (double)h->buckets[i] * ms(value_of(h, i));
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        if (h->buckets[i]) {
            double off = ms(value_of(h, i)) - sum / count;
            squares += (double)h->buckets[i] * off * off;
        }
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", sum / count,
            sqrt(squares / count));
    fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", ms(h->max), h->count);
    fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n",
            TG_HISTOGRAM_VALUE_BITS - TG_HISTOGRAM_SUB_BITS, 2 << TG_HISTOGRAM_SUB_BITS);
}

void lg_hgrm_render(const struct tg_histogram *histogram, FILE *out)
{
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    write_lines(histogram, out);
    write_end(histogram, out);
}

enum tg_error lg_hgrm_write(const struct tg_histogram *histogram, const char *path,
                            struct tg_fault *fault)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    if (!out)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
    lg_hgrm_render(histogram, out);
    bool ok = !ferror(out);
    ok = (to_stdout ? fflush(out) : fclose(out)) == 0 && ok;
    return ok ? TG_ERR_OK : tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
}
