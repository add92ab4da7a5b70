/* Limits of tenants, by a clock that the tests turn. */
#include "server/quota.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <string.h>

#define START_NS (1000 * TG_NS_PER_S)

static struct srv_bucket bucket;
static struct srv_lease leases[4];
static uint32_t retry_after_ms;

static bool take(int core, uint64_t rate_per_s, uint64_t units, int64_t now_ns)
{
    return srv_lease_take(&leases[core], &bucket, rate_per_s, units, now_ns, &retry_after_ms);
}

/* Takes single units until it is refused; how many that were. */
static uint64_t drain(int core, uint64_t rate_per_s, int64_t now_ns)
{
    uint64_t taken = 0;
    while (take(core, rate_per_s, 1, now_ns))
        taken++;
    return taken;
}

Test(quota, a_rate_of_0_is_no_limit)
{
    for (int i = 0; i < 100; i++)
        cr_assert(take(0, 0, 1000000, START_NS));
}

Test(quota, a_second_of_quiet_is_worth_a_second_at_once_and_longer_ones_no_more)
{
    cr_assert_eq(drain(0, 1024, START_NS), 1024);
    cr_assert_eq(drain(0, 1024, START_NS + TG_NS_PER_S / 2), 512);
    cr_assert_eq(drain(0, 1024, START_NS + 3600 * TG_NS_PER_S), 1024);
}

Test(quota, the_hint_is_when_the_next_is_let_in)
{
    const uint64_t rates[] = {1, 3, 7, 100, 255, 256, 1000, 999999, 1000000000};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        memset(leases, 0, sizeof(leases));
        atomic_store(&bucket.spent_until_ns, START_NS); /* empty */
        cr_assert_not(take(0, rates[i], 1, START_NS));
        cr_assert_geq(retry_after_ms, 1);
        int64_t then_ns = START_NS + retry_after_ms * TG_NS_PER_MS;
        cr_assert_not(take(0, rates[i], 1, then_ns - TG_NS_PER_MS), "rate %lu", rates[i]);
        cr_assert(take(0, rates[i], 1, then_ns), "rate %lu, %u ms", rates[i], retry_after_ms);
    }
}

Test(quota, in_the_long_run_the_rate_is_met_by_one_core)
{
    const uint64_t rates[] = {1, 3, 100, 300, 1000, 3000000};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        memset(leases, 0, sizeof(leases));
        atomic_store(&bucket.spent_until_ns, 0);
        uint64_t taken = 0;
        for (int64_t ms = 0; ms <= 10000; ms++)
            taken += drain(0, rates[i], START_NS + ms * TG_NS_PER_MS);
        uint64_t due = 11 * rates[i]; /* ten seconds and what was there at first */
        cr_assert_leq(taken, due, "rate %lu", rates[i]);
        cr_assert_geq(taken + rates[i] / SRV_LEASES_A_SECOND + due / 100000 + 1, due,
                      "rate %lu: %lu", rates[i], taken);
    }
}

Test(quota, cores_together_get_no_more_than_one_and_one_alone_no_less)
{
    uint64_t rate = 25600, lease = rate / SRV_LEASES_A_SECOND, taken = 0, alone = 0;
    for (int64_t ms = 0; ms <= 4000; ms++)
        for (int core = 0; core < 4; core++)
            taken += drain(core, rate, START_NS + ms * TG_NS_PER_MS);
    cr_assert_leq(taken, 5 * rate);
    cr_assert_geq(taken + 4 * lease, 5 * rate);
    /* What the other three hold unused is all that this one can miss. */
    int64_t later_ns = START_NS + 100 * TG_NS_PER_S;
    for (int core = 1; core < 4; core++)
        cr_assert(take(core, rate, 1, later_ns));
    alone = drain(0, rate, later_ns);
    cr_assert_eq(alone, rate - 3 * lease);
}

/* The bound that server/quota.h states, where leases lie about. */
Test(quota, leases_that_wait_are_all_that_a_moment_can_have_too_much)
{
    uint64_t rate = 25600, lease = rate / SRV_LEASES_A_SECOND;
    for (int core = 0; core < 4; core++)
        cr_assert(take(core, rate, 1, START_NS));
    int64_t later_ns = START_NS + 10 * TG_NS_PER_S;
    uint64_t taken = 0;
    for (int core = 0; core < 4; core++)
        taken += drain(core, rate, later_ns);
    cr_assert_eq(taken, rate + 4 * (lease - 1));
}

Test(quota, a_frame_of_many_is_let_in_whole_and_paid_for_before_the_next)
{
    atomic_store(&bucket.spent_until_ns, START_NS - TG_NS_PER_S / 10); /* ten are left */
    cr_assert(take(0, 100, 250, START_NS));
    /* 240 are owed, and one more is needed: 2.41 s; another core is no way around it. */
    cr_assert_not(take(0, 100, 1, START_NS));
    cr_assert_eq(retry_after_ms, 2410);
    cr_assert_not(take(1, 100, 250, START_NS + 2409 * TG_NS_PER_MS));
    cr_assert(take(1, 100, 1, START_NS + 2410 * TG_NS_PER_MS));
    cr_assert_not(take(0, 100, 1, START_NS + 2410 * TG_NS_PER_MS));
}

Test(quota, the_largest_frame_at_the_lowest_rate_is_paid_for_in_its_time)
{
    cr_assert(take(0, 1, SRV_UNITS_MAX, START_NS));
    cr_assert_not(take(0, 1, 1, START_NS));
    cr_assert_eq(retry_after_ms, SRV_UNITS_MAX * 1000u);
}

Test(quota, what_was_not_used_is_given_back)
{
    uint64_t taken = 0;
    for (; take(0, 512, 1, START_NS); taken++) {
        srv_lease_give_back(&leases[0], 1);
        cr_assert(take(0, 512, 1, START_NS));
    }
    cr_assert_eq(taken, 512);
}

Test(quota, another_rate_holds_from_the_next_frame_on)
{
    cr_assert_eq(drain(0, 1024, START_NS), 1024);
    cr_assert_not(take(0, 1024, 1, START_NS));
    cr_assert(take(0, 0, 1, START_NS), "no limit any more");
    int64_t now_ns = START_NS + TG_NS_PER_S / 16;
    cr_assert_eq(drain(0, 10240, now_ns), 640, "the time since then at the new rate");
    cr_assert_eq(drain(0, 16, now_ns + TG_NS_PER_S), 16);
}

Test(quota, buckets_do_not_share_a_cache_line)
{
    cr_assert_geq(sizeof(struct srv_bucket), 64);
    cr_assert_eq(sizeof(struct srv_bucket) % 64, 0);
}
