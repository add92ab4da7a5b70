/* The wait of a ring, as valgrind 3.19 can follow it: for `make memcheck` (ring.c, linked in) and
 * `make bench-micro` (bench/micro/preload, preloaded).
 *
 * Valgrind runs one thread at a time and holds its lock through each system call that it believes
 * not to block; io_uring_enter is one of those. A core that waits in it would stop every other
 * thread of the process. So here the ring is entered without waiting, and the waiting is done in
 * ppoll on the ring's descriptor, which valgrind knows to block. Nothing spins. */
#ifndef TG_TESTS_MEMCHECK_WAIT_H
#define TG_TESTS_MEMCHECK_WAIT_H

#include <errno.h>
#include <liburing.h>
#include <poll.h>

/* As io_uring_submit_and_wait_timeout; `enter` and `enter_again` submit and get events, without
 * waiting. */
static inline int wait_outside(struct io_uring *ring, struct io_uring_cqe **first,
                               unsigned wait_count, const struct __kernel_timespec *timeout,
                               const sigset_t *signals, int (*enter)(struct io_uring *ring),
                               int (*enter_again)(struct io_uring *ring))
{
    int submitted = enter(ring);
    if (submitted < 0)
        return submitted;
    if (io_uring_cq_ready(ring) < wait_count) {
        struct timespec wait = {.tv_sec = timeout->tv_sec, .tv_nsec = timeout->tv_nsec};
        struct pollfd event = {.fd = ring->ring_fd, .events = POLLIN};
        int ready = ppoll(&event, 1, &wait, signals);
        int entered = enter_again(ring);
        if (ready < 0)
            return -errno;
        if (entered < 0)
            return entered;
        if (ready == 0)
            return -ETIME;
    }
    io_uring_peek_cqe(ring, first);
    return submitted;
}

#endif
