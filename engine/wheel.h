/* Timers of one shard: a hierarchical timing wheel.
 *
 * After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987: three rings of
 * buckets, each a list of chunks; a timer lies in the finest ring that reaches it and moves to
 * finer ones as its time comes. All work is bounded by the call: a bucket of millions is moved
 * down, and handed out, a piece at a time, so that no turn of a core stalls on it.
 *
 * A timer is 16 bytes and is never taken out: who set it looks, when it fires, whether it still
 * means anything. Memory is reserved at start and becomes resident as it is used. Owned by one
 * shard; time is passed in, in Unix milliseconds, and may jump ahead by any amount.
 *
 * Time goes in ticks. A timer is due at the first tick that is not before its `due_ms`, so less
 * than ENG_TICK_MS after it; one whose time is past already when it is set is due at once, at the
 * tick that is being handed out.
 *
 * Always: a timer is handed out exactly once, never before its time; in one call and from call to
 * call timers come in the order of their ticks (within a tick: of no order).
 */
#ifndef TG_ENGINE_WHEEL_H
#define TG_ENGINE_WHEEL_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

#define ENG_TICK_MS 16

struct eng_timer {
    int64_t due_ms;
    uint64_t id; /* the caller's */
};

struct eng_wheel; /* opaque; lives in memory of its own */

/* Room for `timers_max` timers, whatever their times. TG_ERR_NOMEM. */
enum tg_error eng_wheel_create(struct eng_wheel **wheel, uint32_t timers_max, int64_t now_ms,
                               struct tg_fault *fault);
/* NULL is nothing. */
void eng_wheel_destroy(struct eng_wheel *wheel);

/* Timers that can still be added. */
uint32_t eng_wheel_room(const struct eng_wheel *wheel);
uint32_t eng_wheel_count(const struct eng_wheel *wheel);

/* How far its memory has grown. */
struct tg_extent eng_wheel_extent(struct eng_wheel *wheel);

/* Sets a timer; one in the past is due at once. False when full. A few nanoseconds: timers of one
 * tick lie side by side. */
bool eng_wheel_add(struct eng_wheel *wheel, int64_t due_ms, uint64_t id);

/* Turns the wheel to `now_ms` (a time before the last one counts as the last one) and hands out up
 * to `max` due timers. Moves down no more than some thousands of others, starting ahead of their
 * time so that they are not late. Returns how many were handed out; `max` means that there may be
 * more. Fewer can mean so as well, when the time jumped and much is to be moved: eng_wheel_next_ms
 * is not ahead then. */
uint32_t eng_wheel_due(struct eng_wheel *wheel, int64_t now_ms, struct eng_timer *timers,
                       uint32_t max);

/* eng_wheel_due has nothing to do before this (INT64_MAX: there is no timer); how long a core may
 * sleep. Never later than the tick of the earliest timer, and earlier when timers are to be moved
 * ahead of their time: a lower bound, cheap. */
int64_t eng_wheel_next_ms(const struct eng_wheel *wheel);

#endif
