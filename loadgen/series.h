/* The samples of a report as plain arrays for drawing: rates a second and latencies at the end of
 * each interval. More points than a picture has room for are made fewer: neighbours become one,
 * whose rate is that of both, whose p50 is their mean by answers, and whose p99 and largest are the
 * worse of them, so that no spike is lost. One thread. */
#ifndef LG_SERIES_H
#define LG_SERIES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define LG_SERIES_POINTS   400u
#define LG_SERIES_VERDICTS 6u /* drawn apart, by their counts; the last may be all others */

/* A value is NAN where there is none. Arrays have `count` values. */
struct lg_series {
    uint32_t count;
    uint32_t folded; /* samples in each point; 1: all there are */
    double *begin_s; /* owned, as all below; from the start of load */
    double *end_s;
    double *offered, *responses, *accepted; /* a second */
    double *backlog, *in_flight;            /* at the end; the most */
    double *p50_us, *p99_us, *max_us;
    double *commits; /* a second */
    double *batch;   /* records in a commit, on average */
    double *commit_us_p99;
    uint32_t verdict_count; /* refusals */
    struct lg_verdict_series {
        const char *name; /* borrowed from the report, or static for what is left */
        double *per_s;    /* owned */
        double total;     /* orders */
    } verdicts[LG_SERIES_VERDICTS];
};

/* Reads report's "samples". False without memory. A report without samples has count 0. Names are
 * the report's: it outlives the series. */
bool lg_series_init(struct lg_series *series, const json_t *report);
void lg_series_fini(struct lg_series *series);

/* Something is known of it, at one point at least. */
bool lg_series_has(const struct lg_series *series, const double *values);

#endif
