#include "server/quota.h"

#include "base/assert.h"
#include "base/clock.h"

#define BURST_NS TG_NS_PER_S

/* A lease, or the largest frame. */
#define UNITS_MAX ((uint64_t)TG_RATE_PER_S_MAX)

_Static_assert(SRV_UNITS_MAX <= UNITS_MAX, "a frame of the most units");
_Static_assert(UNITS_MAX <= INT64_MAX / TG_NS_PER_S / 2, "units times a second, rounded up, fit");

/* What `units` take at this rate, rounded up so that no lease is cheaper than it should be. */
static int64_t cost_ns(uint64_t units, uint64_t rate_per_s)
{
    return (int64_t)((units * (uint64_t)TG_NS_PER_S + rate_per_s - 1) / rate_per_s);
}

bool srv_bucket_take(struct srv_bucket *bucket, uint64_t rate_per_s, uint64_t units, uint64_t least,
                     int64_t now_ns, int64_t *wait_ns)
{
    tg_assert(least <= rate_per_s && rate_per_s <= TG_RATE_PER_S_MAX && units <= UNITS_MAX);
    int64_t least_ns = cost_ns(least, rate_per_s), units_ns = cost_ns(units, rate_per_s);
    /* Relaxed: the word stands for itself, nothing else is published with it. */
    int64_t spent_until_ns = atomic_load_explicit(&bucket->spent_until_ns, memory_order_relaxed);
    int64_t from_ns;
    do {
        from_ns = spent_until_ns > now_ns - BURST_NS ? spent_until_ns : now_ns - BURST_NS;
        if (from_ns + least_ns > now_ns) {
            *wait_ns = from_ns + least_ns - now_ns;
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&bucket->spent_until_ns, &spent_until_ns,
                                                    from_ns + units_ns, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static bool refuse(int64_t wait_ns, uint32_t *retry_after_ms)
{
    int64_t wait_ms = (wait_ns + TG_NS_PER_MS - 1) / TG_NS_PER_MS;
    *retry_after_ms = wait_ms > UINT32_MAX ? UINT32_MAX : wait_ms > 1 ? (uint32_t)wait_ms : 1;
    return false;
}

/* Another lease, or as much as the frame needs. */
static bool renew(struct srv_lease *lease, struct srv_bucket *bucket, uint64_t units,
                  int64_t now_ns, int64_t *wait_ns)
{
    uint64_t share = lease->rate_per_s / SRV_LEASES_A_SECOND, missing = units - lease->left;
    uint64_t taken = missing > share ? missing : share;
    if (!srv_bucket_take(bucket, lease->rate_per_s, taken, share > 1 ? share : 1, now_ns,
                         wait_ns)) {
        lease->empty_until_ns = now_ns + *wait_ns;
        return false;
    }
    lease->left += taken;
    return true;
}

bool srv_lease_take(struct srv_lease *lease, struct srv_bucket *bucket, uint64_t rate_per_s,
                    uint64_t units, int64_t now_ns, uint32_t *retry_after_ms)
{
    if (rate_per_s == 0)
        return true;
    if (lease->rate_per_s != rate_per_s)
        *lease = (struct srv_lease){.rate_per_s = rate_per_s};
    int64_t wait_ns = lease->empty_until_ns - now_ns;
    if (lease->left < units && (wait_ns > 0 || !renew(lease, bucket, units, now_ns, &wait_ns)))
        return refuse(wait_ns, retry_after_ms);
    lease->left -= units;
    return true;
}
