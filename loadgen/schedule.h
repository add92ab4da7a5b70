/* The open loop: when each frame is due, whatever the server does.
 *
 * Frame k of thread t out of T is due at start + (k * T + t) * interval. Times come from the
 * frame's number, never from the last send, so nothing that happens to one frame moves another: a
 * late send is latency of that order, not a pardon for the next ("coordinated omission" is the name
 * of the mistake). One thread owns it. Pure: time is handed in.
 */
#ifndef LG_SCHEDULE_H
#define LG_SCHEDULE_H

#include <stdint.h>

struct lg_schedule {
    int64_t start_ns;      /* monotonic */
    double frame_ns;       /* between two frames of this thread; 0: closed loop */
    double offset_ns;      /* of this thread's first frame */
    uint64_t frames_taken; /* frames handed out so far */
};

/* `rate_per_s` orders over all `threads`, `batch` orders in a frame. Rate 0: a closed loop, for
 * which every frame is due at once. */
void lg_schedule_init(struct lg_schedule *schedule, double rate_per_s, uint32_t batch,
                      uint32_t thread, uint32_t threads, int64_t start_ns);

/* When frame `frame` is due. */
static inline int64_t lg_schedule_due_ns(const struct lg_schedule *schedule, uint64_t frame)
{
    return schedule->start_ns + (int64_t)(schedule->offset_ns + schedule->frame_ns * (double)frame);
}

/* Frames that are due before or at `now_ns`, in all. */
uint64_t lg_schedule_frames_due(const struct lg_schedule *schedule, int64_t now_ns);

/* Frames that are due and not yet taken: the backlog. */
static inline uint64_t lg_schedule_backlog(const struct lg_schedule *schedule, int64_t now_ns)
{
    uint64_t due = lg_schedule_frames_due(schedule, now_ns);
    return due > schedule->frames_taken ? due - schedule->frames_taken : 0;
}

#endif
