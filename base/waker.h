/* Sleep without losing a wake-up, and wake without a system call when nobody sleeps.
 *
 * The sleeper says that it is going to sleep, looks once more for work, and then waits on the
 * eventfd; whoever makes work first publishes it, then looks whether the sleeper sleeps.
 *
 *   sleeper                            waker
 *   exchange asleep <- 1               publish work
 *   work there? rise, go on            exchange asleep <- 0; was it 1? write the eventfd
 *   wait on the eventfd
 *
 * Safety: both sides exchange the one word `asleep`, so one exchange comes first. If it is the
 * sleeper's, the waker reads 1 and writes the eventfd. If it is the waker's, the sleeper's exchange
 * reads what the waker's wrote (acquire from release), so its look for work sees the work. Rising
 * is an exchange as well: a plain store would stand between a second waker's exchange, which wrote
 * no wake-up because the first one did, and the sleeper's next. A stale wake-up costs one empty
 * turn of the loop.
 */
#ifndef TG_BASE_WAKER_H
#define TG_BASE_WAKER_H

#include "base/error.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tg_waker {
    alignas(128) _Atomic uint32_t asleep;
    int event_fd; /* readable when there is a wake-up to take; blocking, for io_uring's sake */
};

enum tg_error tg_waker_init(struct tg_waker *waker, struct tg_fault *fault);
void tg_waker_fini(struct tg_waker *waker);

/* Sleeper: call, then look for work, then wait, then call tg_waker_rise. */
static inline void tg_waker_doze(struct tg_waker *waker)
{
    atomic_exchange_explicit(&waker->asleep, 1, memory_order_acq_rel);
}

/* Sleeper: awake again, by a wake-up or by itself. */
static inline void tg_waker_rise(struct tg_waker *waker)
{
    atomic_exchange_explicit(&waker->asleep, 0, memory_order_acquire);
}

/* Sleeper without a loop of its own: waits until woken or `timeout_ms` is over. */
void tg_waker_wait(struct tg_waker *waker, int timeout_ms);

/* Any thread, after publishing work. */
void tg_waker_wake(struct tg_waker *waker);

#endif
