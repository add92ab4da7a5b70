/* The last seconds: how many orders a second, how long commits took, how long what is decided waits
 * for the disk. Counters only grow; here are copies of them as they were a little earlier.
 *
 * Owned by the admin thread, which calls srv_recent_tick a few times a second. Reads nothing but
 * what other threads publish.
 */
#ifndef TG_SERVER_RECENT_H
#define TG_SERVER_RECENT_H

#include "base/limits.h"
#include "server/server.h"

#define SRV_TICK_NS    500000000ll /* half a second */
/* Rates are over this many ticks: a second and a half, so that a number can be read before it
 * changes. */
#define SRV_RATE_TICKS 3
/* Percentiles are over one to two of these spans. */
#define SRV_WINDOW_NS  5000000000ll

/* All verdicts of all cores at one moment. */
struct srv_point {
    int64_t at_ns;
    uint64_t verdicts[TG_VERDICT_COUNT];
};

struct srv_percentiles {
    uint64_t p50;
    uint64_t p99;
    uint64_t max;
};

struct srv_recent {
    const struct srv_server *server; /* borrowed */
    uint64_t ticks;
    struct srv_point points[SRV_RATE_TICKS + 1]; /* a ring: that of tick n is n % (all) */
    struct {
        int64_t began_ns;
        struct tg_histogram commit_us[2]; /* as of the last and of the last but one turn of it */
        struct tg_histogram batch[2];
        struct srv_percentiles commits, batches;
    } window;
    struct tg_histogram scratch;
    struct {
        uint64_t tail; /* of its journal, when the mark was set */
        int64_t at_ns;
        int64_t lag_ns;
    } marks[TG_SHARDS_MAX];
};

/* `recent` is zeroed memory. */
void srv_recent_init(struct srv_recent *recent, const struct srv_server *server);
void srv_recent_tick(struct srv_recent *recent, int64_t now_ns);

/* Answers of this verdict in a second; 0 until two ticks have been. */
uint64_t srv_recent_rate(const struct srv_recent *recent, uint32_t verdict);
/* All of this verdict so far. */
uint64_t srv_recent_total(const struct srv_recent *recent, uint32_t verdict);

/* How long, at least, the oldest record of any shard waits for its commit. Seen at ticks: less than
 * two of them show as 0. */
int64_t srv_recent_lag_ns(const struct srv_recent *recent);

#endif
