/* The waits of a ring, as valgrind 3.19 can follow them. Linked into the memcheck flavour only, by
 * `ld --wrap`, in the place of liburing's io_uring_submit_and_wait_timeout.
 *
 * Valgrind runs one thread at a time and holds its lock through each system call that it believes
 * not to block; io_uring_enter is one of those. A core that waits in it would stop every other
 * thread of the process. So here the ring is entered without waiting, and the waiting is done in
 * ppoll on the ring's descriptor, which valgrind knows to block.
 *
 * Valgrind does not look into submissions either: what a send hands to the kernel is checked here,
 * so that no uninitialised byte leaves for a client unseen. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
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
    int submitted = __wrap_io_uring_submit_and_get_events(ring);
    if (submitted < 0)
        return submitted;
    if (io_uring_cq_ready(ring) < wait_count) {
        struct timespec wait = {.tv_sec = timeout->tv_sec, .tv_nsec = timeout->tv_nsec};
        struct pollfd event = {.fd = ring->ring_fd, .events = POLLIN};
        int ready = ppoll(&event, 1, &wait, signals);
        int entered = __real_io_uring_submit_and_get_events(ring);
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
