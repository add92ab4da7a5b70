/* How much a tenant may send: one bucket for its orders and one for all its other requests.
 *
 * A bucket fills with the tenant's rate up to what it lets through in a second, so a tenant that
 * was quiet may send that much at once. Buckets are shared by all cores; so that they do not share
 * a cache line for each order, a core takes a lease of 1/256 of a second's worth and spends it by
 * itself.
 *
 * How exact that is: in any time T no tenant is let do more than rate * (T + 1 s), plus a lease of
 * each core, plus one frame of many orders, which is let in whole when a lease is left and paid for
 * behind it. In the long run the rate is met to a nanosecond in each lease. A tenant whose
 * connections lie on few cores has all of its rate there, but for what others hold of a lease.
 *
 * A bucket is one word: the time until which what was taken is paid for.
 *
 *        now - 1 s        spent_until            now
 *   --------|------------------|------------------|---->      left = (now - spent_until) * rate
 *
 * It lies behind now when a large frame is being paid for.
 *
 * The clock is handed in. Buckets: any thread. Leases: their core's thread.
 */
#ifndef TG_SERVER_QUOTA_H
#define TG_SERVER_QUOTA_H

#include "base/token.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SRV_LEASES_A_SECOND 256
/* What one frame can carry: TG_BATCH_ORDERS_MAX orders, and more in a frame that is refused. */
#define SRV_UNITS_MAX       (1u << 20)

enum srv_quota_kind {
    SRV_QUOTA_REQUESTS,
    SRV_QUOTA_ORDERS,
    SRV_QUOTA_KINDS,
};

/* Zero is full. */
struct srv_bucket {
    alignas(64) _Atomic int64_t spent_until_ns; /* monotonic */
};

/* What a core has taken out of a bucket. Zero is nothing. */
struct srv_lease {
    uint64_t left;
    int64_t empty_until_ns; /* the bucket is not looked at before */
    uint64_t rate_per_s;    /* that it was taken at */
};

/* Takes `units` when `least` of them (at most a second's worth) are there, or nothing; then
 * `*wait_ns` is when they will be. */
bool srv_bucket_take(struct srv_bucket *bucket, uint64_t rate_per_s, uint64_t units, uint64_t least,
                     int64_t now_ns, int64_t *wait_ns);

/* Takes `units` (at least 1, at most SRV_UNITS_MAX) by way of the lease, or nothing; then
 * `*retry_after_ms` is when to come again, at least 1. A rate of 0 is no limit. */
bool srv_lease_take(struct srv_lease *lease, struct srv_bucket *bucket, uint64_t rate_per_s,
                    uint64_t units, int64_t now_ns, uint32_t *retry_after_ms);

/* The same units were not used after all. */
static inline void srv_lease_give_back(struct srv_lease *lease, uint64_t units)
{
    lease->left += units;
}

#endif
