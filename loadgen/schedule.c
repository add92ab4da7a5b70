#include "loadgen/schedule.h"

#include "base/assert.h"

void lg_schedule_init(struct lg_schedule *schedule, const struct lg_profile *profile,
                      uint32_t batch, uint32_t thread, uint32_t threads, int64_t start_ns)
{
    tg_assert(thread < threads && batch > 0 && profile->stage_count > 0);
    *schedule = (struct lg_schedule){.profile = profile,
                                     .start_ns = start_ns,
                                     .batch = batch,
                                     .thread = thread,
                                     .threads = threads};
}

int64_t lg_schedule_due_ns(const struct lg_schedule *schedule, uint64_t frame)
{
    uint64_t order = (frame * schedule->threads + schedule->thread) * schedule->batch;
    return schedule->start_ns + (int64_t)lg_profile_due_ns(schedule->profile, (double)order);
}

uint64_t lg_schedule_frames_due(const struct lg_schedule *schedule, int64_t now_ns)
{
    if (now_ns < schedule->start_ns)
        return 0;
    if (schedule->profile->closed)
        return UINT64_MAX;
    double orders = lg_profile_orders_by(schedule->profile, now_ns - schedule->start_ns);
    double turns = orders / schedule->batch - schedule->thread;
    uint64_t due = turns > 0 ? (uint64_t)(turns / schedule->threads) : 0;
    /* The sum may round; the due time is the definition. */
    while (due > 0 && lg_schedule_due_ns(schedule, due - 1) > now_ns)
        due--;
    while (lg_schedule_due_ns(schedule, due) <= now_ns)
        due++;
    return due;
}
