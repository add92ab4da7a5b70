#include "loadgen/schedule.h"

#include "base/assert.h"

void lg_schedule_init(struct lg_schedule *schedule, double rate_per_s, uint32_t batch,
                      uint32_t thread, uint32_t threads, int64_t start_ns)
{
    tg_assert(thread < threads && batch > 0);
    schedule->start_ns = start_ns;
    schedule->frames_taken = 0;
    schedule->frame_ns = 0;
    schedule->offset_ns = 0;
    if (rate_per_s > 0) {
        double interval_ns = 1e9 * (double)batch / rate_per_s;
        schedule->frame_ns = interval_ns * (double)threads;
        schedule->offset_ns = interval_ns * (double)thread;
    }
}

uint64_t lg_schedule_frames_due(const struct lg_schedule *schedule, int64_t now_ns)
{
    if (now_ns < schedule->start_ns)
        return 0;
    if (schedule->frame_ns <= 0)
        return UINT64_MAX;
    double since_ns = (double)(now_ns - schedule->start_ns) - schedule->offset_ns;
    if (since_ns < 0)
        return 0;
    uint64_t due = (uint64_t)(since_ns / schedule->frame_ns) + 1;
    /* The division may round; the due time is the definition. */
    while (due > 0 && lg_schedule_due_ns(schedule, due - 1) > now_ns)
        due--;
    while (lg_schedule_due_ns(schedule, due) <= now_ns)
        due++;
    return due;
}
