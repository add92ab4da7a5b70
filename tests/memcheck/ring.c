/* Linked into the memcheck flavour only, by `ld --wrap`, in the place of liburing's
 * io_uring_submit_and_wait_timeout: see wait.h.
 *
 * Valgrind does not look into submissions: what a send hands to the kernel is checked here, so that
 * no uninitialised byte leaves for a client unseen. */
#include "tests/memcheck/wait.h"

#include <sys/socket.h>
#include <valgrind/memcheck.h>

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
                                            unsigned wait_count, struct __kernel_timespec *timeout,
                                            sigset_t *signals);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);

static void check_sent(const struct io_uring_sqe *entry)
{
    const void *at = (const void *)(uintptr_t)entry->addr;
    if (entry->opcode == IORING_OP_SEND)
        VALGRIND_CHECK_MEM_IS_DEFINED(at, entry->len);
    if (entry->opcode != IORING_OP_SENDMSG)
        return;
    const struct msghdr *message = at;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        VALGRIND_CHECK_MEM_IS_DEFINED(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
    const struct io_uring_sq *queue = &ring->sq;
    for (unsigned i = queue->sqe_head; i != queue->sqe_tail; i++)
        check_sent(&queue->sqes[i & queue->ring_mask]);
    return __real_io_uring_submit_and_get_events(ring);
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
                                            unsigned wait_count, struct __kernel_timespec *timeout,
                                            sigset_t *signals)
{
    return wait_outside(ring, first, wait_count, timeout, signals,
                        __wrap_io_uring_submit_and_get_events,
                        __real_io_uring_submit_and_get_events);
}
