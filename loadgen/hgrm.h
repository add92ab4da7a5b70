/* Latency in the text format of HdrHistogram's percentile distributions (.hgrm), which its plotter
 * (hdrhistogram.github.io/HdrHistogram/plotFiles.html) and wrk2 speak:
 *
 *          Value     Percentile TotalCount 1/(1-Percentile)
 *
 *       0.081919 0.500000000000      50123           2.00
 *       ...
 *       4.128767 1.000000000000     100000
 *   #[Mean    =        0.095, StdDeviation   =        0.041]
 *   #[Max     =        4.129, Total count    =       100000]
 *   #[Buckets =           36, SubBuckets     =          256]
 *
 * Values are milliseconds. Lines stand where HdrHistogram's PercentileIterator stops with five
 * ticks for each half of the distance to 100%: each percentile is the one that the iteration came
 * to, with the value that it lies in and the answers up to it. */
#ifndef LG_HGRM_H
#define LG_HGRM_H

#include "base/error.h"
#include "base/histogram.h"

#include <stdio.h>

/* To a stream, whose errors are its owner's to look at. The histogram holds nanoseconds. */
void lg_hgrm_render(const struct tg_histogram *histogram, FILE *out);

/* To a file, or to standard output for "-". TG_ERR_IO. */
enum tg_error lg_hgrm_write(const struct tg_histogram *histogram, const char *path,
                            struct tg_fault *fault);

#endif
