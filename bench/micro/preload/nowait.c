/* The wait of a ring, as valgrind can follow it; preloaded into a daemon that is counted.
 *
 * Valgrind runs one thread at a time, and holds its lock through each system call that it believes
 * not to block; io_uring_enter is one of those. A core that waits in it would stop the writer, for
 * ever. So the ring is entered without waiting, and the waiting is done in ppoll on the ring's
 * descriptor, which valgrind knows to block. Nothing polls: an idle daemon counts next to no
 * instructions, so what is counted is the work of the orders, however long they took to come. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe_ptr,
                                     unsigned wait_nr, struct __kernel_timespec *ts,
                                     sigset_t *sigmask)
{
    int submitted = io_uring_submit_and_get_events(ring);
    if (submitted >= 0 && io_uring_cq_ready(ring) < wait_nr) {
        struct timespec wait = {.tv_sec = ts->tv_sec, .tv_nsec = ts->tv_nsec};
        struct pollfd event = {.fd = ring->ring_fd, .events = POLLIN};
        int ready = ppoll(&event, 1, &wait, sigmask);
        int entered = io_uring_submit_and_get_events(ring);
        if (ready < 0)
            return -errno;
        if (entered < 0)
            return entered;
        if (ready == 0)
            return -ETIME;
    }
    io_uring_peek_cqe(ring, cqe_ptr);
    return submitted;
}
