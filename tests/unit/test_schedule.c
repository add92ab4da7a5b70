#include "loadgen/schedule.h"

#include <criterion/criterion.h>

/* cr_assert reports each pass to the runner, which is too slow for millions of checks. */
#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cr_assert(0, "line %d: %s", __LINE__, #condition);                                     \
    } while (0)

#define START_NS 5000000000ll

static struct lg_profile profile;
static struct lg_schedule schedule;

/* One endless stage at one rate; 0: a closed loop. */
static void begin(double rate_per_s, uint32_t batch, uint32_t thread, uint32_t threads)
{
    lg_profile_init(&profile, rate_per_s <= 0);
    lg_profile_add(&profile, "run", LG_STAGE_ENDLESS_NS, rate_per_s, rate_per_s);
    lg_schedule_init(&schedule, &profile, batch, thread, threads, START_NS);
}

Test(schedule, frames_are_due_at_even_distances_from_the_start)
{
    begin(1000, 1, 0, 1);
    for (uint64_t frame = 0; frame < 100000; frame++)
        check(lg_schedule_due_ns(&schedule, frame) == START_NS + (int64_t)frame * 1000000);
}

Test(schedule, a_late_frame_moves_no_other)
{
    begin(1000, 1, 0, 1);
    int64_t fifth_ns = lg_schedule_due_ns(&schedule, 5);
    schedule.frames_taken = 3; /* two of them late: nothing looks at when they went */
    cr_assert_eq(lg_schedule_due_ns(&schedule, 5), fifth_ns);
    cr_assert_eq(lg_schedule_backlog(&schedule, fifth_ns), 3);
    cr_assert_eq(lg_schedule_backlog(&schedule, START_NS), 0);
}

Test(schedule, what_is_due_and_when_it_is_due_agree)
{
    static const double rates[] = {0.5, 3, 997, 333333, 1e6, 7654321};
    for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        begin(rates[r], 7, 1, 3);
        for (int64_t now_ns = START_NS; now_ns < START_NS + 10000000; now_ns += 12345) {
            uint64_t due = lg_schedule_frames_due(&schedule, now_ns);
            check(due == 0 || lg_schedule_due_ns(&schedule, due - 1) <= now_ns);
            check(lg_schedule_due_ns(&schedule, due) > now_ns);
        }
        check(lg_schedule_frames_due(&schedule, START_NS - 1) == 0);
    }
}

Test(schedule, threads_and_batches_make_the_rate_together)
{
    enum {
        THREADS = 3,
        BATCH = 10
    };
    uint64_t orders = 0, first_due[THREADS];
    for (uint32_t t = 0; t < THREADS; t++) {
        begin(60000, BATCH, t, THREADS);
        orders += BATCH * lg_schedule_frames_due(&schedule, START_NS + 1000000000 - 1);
        first_due[t] = (uint64_t)(lg_schedule_due_ns(&schedule, 0) - START_NS);
    }
    cr_assert_eq(orders, 60000);
    /* They take turns: frames of all threads are evenly spread, not sent in one beat. */
    cr_assert_eq(first_due[0], 0);
    cr_assert_eq(first_due[1], 1000000000 / 6000);
    cr_assert_eq(first_due[2], 2000000000 / 6000);
}

Test(schedule, a_closed_loop_has_always_a_frame_due)
{
    begin(0, 1, 0, 1);
    cr_assert_eq(lg_schedule_frames_due(&schedule, START_NS), UINT64_MAX);
    cr_assert_eq(lg_schedule_frames_due(&schedule, START_NS - 1), 0);
}
