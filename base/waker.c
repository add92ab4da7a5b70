#include "base/waker.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum tg_error tg_waker_init(struct tg_waker *waker, struct tg_fault *fault)
{
    atomic_store_explicit(&waker->asleep, 0, memory_order_relaxed);
    waker->event_fd = eventfd(0, EFD_CLOEXEC);
    if (waker->event_fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "eventfd");
    return TG_ERR_OK;
}

void tg_waker_fini(struct tg_waker *waker)
{
    close(waker->event_fd);
}

void tg_waker_wait(struct tg_waker *waker, int timeout_ms)
{
    struct pollfd event = {.fd = waker->event_fd, .events = POLLIN};
    uint64_t count;
    /* When the time runs out, or a signal comes, the caller looks for work all the same. */
    if (poll(&event, 1, timeout_ms) == 1 && read(waker->event_fd, &count, sizeof(count)) < 0)
        return;
}

void tg_waker_wake(struct tg_waker *waker)
{
    if (atomic_exchange_explicit(&waker->asleep, 0, memory_order_acq_rel) == 0)
        return;
    uint64_t one = 1;
    /* Only a full counter could refuse, and then it is awake. */
    while (write(waker->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}
