/* The injector's half that stands before liburing.
 *
 * An operation that fails must really not happen, or the kernel and the daemon would no longer
 * agree on what is armed. So nothing is done to completions: an operation that is to fail is
 * replaced in the submission queue, before the kernel sees it, by a no-op that completes with the
 * error (IORING_NOP_INJECT_RESULT, Linux 6.10), and a short one is asked for with a smaller length.
 * In runs that fail accepts or receives, multishot operations become single ones, so that each of
 * them is a submission and has a number; in all other runs they are what the daemon asked for.
 */
#include "tests/faults/inject.h"

#include <liburing.h>
#include <string.h>

/* Messages of short sends: read by the kernel when they are submitted. More than are ever submitted
 * at once by the few connections of a run. */
#define SHORT_SENDS 64

/* Submission entries that were looked at already, of this thread's ring. */
static _Thread_local struct io_uring *ring_seen;
static _Thread_local unsigned tail_seen;

static bool class_of(const struct io_uring_sqe *entry, enum plan_class *class)
{
    switch (entry->opcode) {
    case IORING_OP_ACCEPT:
        *class = PLAN_ACCEPT;
        return true;
    case IORING_OP_RECV:
        *class = PLAN_RECEIVE;
        return true;
    case IORING_OP_SENDMSG:
        *class = PLAN_SEND;
        return true;
    case IORING_OP_READ:
        *class = PLAN_EVENT_READ;
        return true;
    default:
        return false;
    }
}

static void make_single(struct io_uring_sqe *entry, enum plan_class class)
{
    if (!inject_wanted(class))
        return;
    if (class == PLAN_ACCEPT)
        entry->ioprio &= (uint16_t)~IORING_ACCEPT_MULTISHOT;
    if (class == PLAN_RECEIVE)
        entry->ioprio &= (uint16_t)~IORING_RECV_MULTISHOT;
}

static void make_failed(struct io_uring_sqe *entry, int error)
{
    uint64_t data = entry->user_data;
    memset(entry, 0, sizeof(*entry));
    entry->opcode = IORING_OP_NOP;
    entry->rw_flags = PLAN_NOP_INJECT_RESULT;
    entry->len = (uint32_t)-error;
    entry->user_data = data;
}

static void make_short_send(struct io_uring_sqe *entry)
{
    static _Thread_local struct msghdr messages[SHORT_SENDS];
    static _Thread_local struct iovec pieces[SHORT_SENDS];
    static _Thread_local unsigned turn;
    unsigned at = turn++ % SHORT_SENDS;
    const struct msghdr *whole = (const struct msghdr *)(uintptr_t)entry->addr;
    messages[at] = *whole;
    pieces[at] = whole->msg_iov[0];
    pieces[at].iov_len = inject_part(pieces[at].iov_len);
    messages[at].msg_iov = &pieces[at];
    messages[at].msg_iovlen = 1;
    entry->addr = (uint64_t)(uintptr_t)&messages[at];
}

static void make_short(struct io_uring_sqe *entry, enum plan_class class)
{
    if (class == PLAN_SEND)
        make_short_send(entry);
    if (class == PLAN_RECEIVE)
        entry->len = (uint32_t)inject_part(8);
}

/* Looks at what is about to be submitted. */
static void look(struct io_uring *ring, const char *name, const void *from)
{
    if (ring_seen != ring) {
        ring_seen = ring;
        tail_seen = ring->sq.sqe_head;
    }
    for (; tail_seen != ring->sq.sqe_tail; tail_seen++) {
        struct io_uring_sqe *entry = &ring->sq.sqes[tail_seen & ring->sq.ring_mask];
        enum plan_class class;
        if (!class_of(entry, &class))
            continue;
        make_single(entry, class);
        int error = inject(class, name, from);
        if (error == PLAN_SHORT)
            make_short(entry, class);
        else if (error)
            make_failed(entry, error);
    }
}

/* Submits one entry of several, or none of one, as the kernel does when it lacks memory for the
 * others: they stay in the queue. Does not wait. */
static int submit_part(struct io_uring *ring, int (*submit)(struct io_uring *ring))
{
    unsigned tail = ring->sq.sqe_tail;
    if (ring->sq.sqe_head != tail)
        ring->sq.sqe_tail = ring->sq.sqe_head + (tail - ring->sq.sqe_head > 1);
    int result = submit(ring);
    ring->sq.sqe_tail = tail;
    return result;
}

int io_uring_submit(struct io_uring *ring)
{
    INJECT_REAL(int, struct io_uring *);
    look(ring, __func__, __builtin_return_address(0));
    int error = INJECT(PLAN_SUBMIT);
    if (error == PLAN_SHORT)
        return submit_part(ring, real);
    return error ? -error : real(ring);
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
    INJECT_REAL(int, struct io_uring *);
    look(ring, __func__, __builtin_return_address(0));
    int error = INJECT(PLAN_SUBMIT);
    if (error == PLAN_SHORT)
        return submit_part(ring, real);
    return error ? -error : real(ring);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
                                     unsigned wait, struct __kernel_timespec *timeout,
                                     sigset_t *signals)
{
    INJECT_REAL(int, struct io_uring *, struct io_uring_cqe **, unsigned,
                struct __kernel_timespec *, sigset_t *);
    look(ring, __func__, __builtin_return_address(0));
    int error = INJECT(PLAN_SUBMIT);
    if (error == PLAN_SHORT) {
        int (*submit)(struct io_uring *);
        *(void **)&submit = inject_next("io_uring_submit");
        return submit_part(ring, submit);
    }
    return error ? -error : real(ring, first, wait, timeout, signals);
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                               struct io_uring_params *params)
{
    INJECT_REAL(int, unsigned, struct io_uring *, struct io_uring_params *);
    int error = INJECT(PLAN_RING);
    return error ? -error : real(entries, ring, params);
}

int io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *registration,
                               unsigned flags)
{
    INJECT_REAL(int, struct io_uring *, struct io_uring_buf_reg *, unsigned);
    int error = INJECT(PLAN_RING);
    return error ? -error : real(ring, registration, flags);
}
