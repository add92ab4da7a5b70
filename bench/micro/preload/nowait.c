/* Preloaded into a daemon that is counted under valgrind: tests/memcheck/wait.h says why. An idle
 * daemon counts next to no instructions, so what is counted is the work of the orders, however long
 * they took to come. */
#include "tests/memcheck/wait.h"

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe_ptr,
                                     unsigned wait_nr, struct __kernel_timespec *ts,
                                     sigset_t *sigmask)
{
    return wait_outside(ring, cqe_ptr, wait_nr, ts, sigmask, io_uring_submit_and_get_events,
                        io_uring_submit_and_get_events);
}
