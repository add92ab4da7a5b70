/* The open loop: when each frame is due, whatever the server does.
 *
 * Frame k of thread t out of T carries the orders from (k * T + t) * batch on, and is due when the
 * first of them is (loadgen/profile.h). Times come from the frame's number, never from the last
 * send, so nothing that happens to one frame moves another: a late send is latency of that order,
 * not a pardon for the next ("coordinated omission" is the name of the mistake). One thread owns
 * it. Pure: time is handed in.
 */
#ifndef LG_SCHEDULE_H
#define LG_SCHEDULE_H

#include "loadgen/profile.h"

struct lg_schedule {
    const struct lg_profile *profile; /* borrowed */
    int64_t start_ns;                 /* monotonic */
    uint32_t batch, thread, threads;
    uint64_t frames_taken; /* frames handed out so far */
};

/* `batch` orders in a frame, `threads` that take turns. In a closed profile every frame is due at
 * once. */
void lg_schedule_init(struct lg_schedule *schedule, const struct lg_profile *profile,
                      uint32_t batch, uint32_t thread, uint32_t threads, int64_t start_ns);

/* When frame `frame` is due; far ahead when the profile has no such frame. Open loop. */
int64_t lg_schedule_due_ns(const struct lg_schedule *schedule, uint64_t frame);

/* Frames that are due before or at `now_ns`, in all. */
uint64_t lg_schedule_frames_due(const struct lg_schedule *schedule, int64_t now_ns);

/* Frames that are due and not yet taken: the backlog. */
static inline uint64_t lg_schedule_backlog(const struct lg_schedule *schedule, int64_t now_ns)
{
    uint64_t due = lg_schedule_frames_due(schedule, now_ns);
    return due > schedule->frames_taken ? due - schedule->frames_taken : 0;
}

#endif
