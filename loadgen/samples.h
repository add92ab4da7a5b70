/* What happened in each interval of a run: counters and latency over time.
 *
 * Whoever carries load keeps totals that only grow (struct lg_tally); a sample is the difference of
 * two of them, so the samples of a run add up to its totals exactly. Each sample keeps the filled
 * buckets of its interval's latencies, so that samples of several parts can be merged, and several
 * intervals be made one, with exact percentiles. Pure: times are handed in. One thread.
 */
#ifndef LG_SAMPLES_H
#define LG_SAMPLES_H

#include "base/histogram.h"
#include "proto/verdict.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_SAMPLES_MAX      8192u         /* then two become one */
#define LG_SAMPLE_SHORT_NS  250000000ll   /* the interval, for load of up to: */
#define LG_SAMPLE_SHORT_MAX 60000000000ll /* 60 s; beyond: */
#define LG_SAMPLE_LONG_NS   1000000000ll

/* Totals since the start of load. Large: not for a stack. */
struct lg_tally {
    uint64_t offered, responses, accepted;
    uint64_t backlog, in_flight; /* at this moment */
    uint64_t verdicts[TG_VERDICT_COUNT];
    struct tg_histogram latency; /* ns, of all answers, measured or not */
};

/* A histogram without its empty buckets. */
struct lg_buckets {
    uint32_t count;
    struct lg_bucket {
        uint32_t bucket;
        uint64_t values;
    } * at; /* owned; NULL when there are none */
};

struct lg_sample {
    int64_t end_ns; /* from the start of load */
    uint64_t offered, responses, accepted;
    uint64_t backlog, in_flight; /* at its end */
    uint64_t verdicts[TG_VERDICT_COUNT];
    struct lg_buckets latency;
};

struct lg_samples {
    int64_t interval_ns;
    struct lg_sample *list; /* owned */
    uint32_t count, room;
    bool is_endless;         /* the length of load is not known: the interval grows with it */
    bool no_memory;          /* what came later is not here */
    struct lg_tally *before; /* owned: at the end of the last sample */
    struct tg_histogram *between;
};

/* `load_ns`: how long load goes on; LG_STAGE_ENDLESS_NS or more when nobody knows. False without
 * memory. */
bool lg_samples_init(struct lg_samples *samples, int64_t load_ns);
void lg_samples_fini(struct lg_samples *samples);

/* The end of the interval that `at_ns` (from the start of load) lies in. */
int64_t lg_samples_next_ns(const struct lg_samples *samples, int64_t at_ns);

/* Adds what happened since the last one. `at_ns` from the start of load, never before the last. */
void lg_samples_add(struct lg_samples *samples, const struct lg_tally *now, int64_t at_ns);

/* The same at the end: what is left of an interval is part of the last sample when it is less than
 * half of one, so that nobody takes a moment for a rate. */
void lg_samples_end(struct lg_samples *samples, const struct lg_tally *now, int64_t at_ns);

/* Adds the samples of a part to those of the whole: each to the interval that it ends in, give or
 * take half of one. The part's interval is the whole's, or divides it. */
void lg_samples_merge(struct lg_samples *into, const struct lg_samples *from);

/* The number of the interval that ends at, or nearest to, `end_ns`. */
int64_t lg_samples_slot(const struct lg_samples *samples, int64_t end_ns);

/* A percentile (0..1) of a sample's latencies, and the largest, in ns; UINT64_MAX for none. */
uint64_t lg_sample_percentile(const struct lg_sample *sample, double fraction);

#endif
