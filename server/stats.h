/* What the daemon has done since it started, as GetStats tells it. Every counter has one writing
 * thread and is read by any (base/count.h, base/histogram.h), so nobody is stopped to be counted.
 */
#ifndef TG_SERVER_STATS_H
#define TG_SERVER_STATS_H

#include "base/histogram.h"
#include "proto/codec.h"

struct srv_core;

/* Of the writer; its thread counts. */
struct srv_commit_stats {
    uint64_t commits; /* that touched the disk and are durable */
    uint64_t records; /* in them */
    uint64_t refused; /* batches for which there was no room */
    uint64_t commit_us_sum;
    struct tg_histogram commit_us;
    struct tg_histogram batch; /* records */
};

/* The answer, its parts from the core's arena. Reads /proc/self and the size of the data file: some
 * 20 us. Core thread. */
void srv_stats_fill(struct srv_core *core, Tidegate__V1__GetStatsResponse *answer);

#endif
