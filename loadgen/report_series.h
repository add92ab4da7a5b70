/* The parts of a report that are made of histograms: latencies, and samples over time. */
#ifndef LG_REPORT_SERIES_H
#define LG_REPORT_SERIES_H

#include "loadgen/vitals.h"

#include <jansson.h>

/* Percentiles, mean and largest, in microseconds, of nanoseconds. The caller owns it. */
json_t *lg_json_latency(const struct tg_histogram *histogram);

/* Samples, each value an array. Commits are those of the daemon in the same intervals, null where
 * it was not heard of, and altogether when it was never. Not `ok`: everything that is a rate or a
 * latency is null. The caller owns it. */
json_t *lg_json_samples(const struct lg_samples *samples, const struct lg_vitals *vitals, bool ok);

#endif
