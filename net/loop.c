#include "net/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBMISSIONS     4096
#define COMPLETIONS     (SUBMISSIONS * 8)
/* A power of two. Few and small, so that they stay in the cache from the kernel's copy to our read:
 * sixteen MiB of them halved the rate of refusals. When they run out, receives are armed again. */
#define RECEIVE_BUFFERS 128
#define RECEIVE_BYTES   8192
#define BUFFER_GROUP    0
/* Plain orders, or as much work, that one turn does: about half a millisecond. */
#define FRAMES_A_TURN   2048
/* For how many turns receives wait in a queue when the buffers ran out, and how many of them go on
 * in each. The buffers beyond are for those who are armed and sent nothing for a while. */
#define SHORT_TURNS     8
#define ARMS_A_TURN     (RECEIVE_BUFFERS * 3 / 4)
/* Connections of each queue that go on with held input in one turn. */
#define RESUMES_A_TURN  64
/* Every connection's times are looked at once in SWEEPS slices. */
#define SWEEP_EVERY_NS  (8 * 1000000ll)
#define SWEEPS          32
/* The log tells of connections that cannot be accepted once in this time. */
#define ACCEPT_TOLD_NS  (10 * 1000000000ll)

/* How long a lone caller is waited for without sleeping. When the last one took longer, the next
 * will: then it is not done. */
#define LONE_SPIN_NS (60 * 1000ll)

enum operation {
    OP_ACCEPT,
    OP_WAKE,
    OP_RECEIVE,
    OP_SEND,
    OP_CANCEL,
};

static uint64_t tag(enum operation operation, uint32_t index)
{
    return (uint64_t)operation << 32 | index;
}

/* --- set-up --- */

static const unsigned ring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                   IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                                   IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP;

static enum tg_error ring_refused(int code, struct tg_fault *fault)
{
    if (code == -EPERM || code == -EACCES)
        return tg_fault_set(
            fault, TG_ERR_UNSUPPORTED,
            "io_uring is forbidden here (%s): set the sysctl "
            "kernel.io_uring_disabled to 0, and in a container allow io_uring_setup, "
            "io_uring_enter and io_uring_register in its seccomp profile",
            strerror(-code));
    if (code == -ENOSYS || code == -EINVAL)
        return tg_fault_set(fault, TG_ERR_UNSUPPORTED,
                            "this kernel has no io_uring as Tidegate needs it (%s): Linux 6.1 or "
                            "newer is needed; if it is, a seccomp profile hides io_uring_setup, or "
                            "the sysctl kernel.io_uring_disabled forbids it",
                            strerror(-code));
    return tg_fault_set_errno(fault, TG_ERR_SYSTEM, -code, "io_uring_setup");
}

enum tg_error net_loop_supported(struct tg_fault *fault)
{
    struct io_uring ring;
    struct io_uring_params params = {.flags = ring_flags, .cq_entries = 64};
    int code = io_uring_queue_init_params(8, &ring, &params);
    if (code < 0)
        return ring_refused(code, fault);
    io_uring_queue_exit(&ring);
    return TG_ERR_OK;
}

static void provide_buffer(struct net_loop *loop, uint16_t id, int offset)
{
    io_uring_buf_ring_add(loop->buffers, loop->buffer_memory + (size_t)id * RECEIVE_BYTES,
                          RECEIVE_BYTES, id, io_uring_buf_ring_mask(RECEIVE_BUFFERS), offset);
}

static enum tg_error create_buffers(struct net_loop *loop, struct tg_fault *fault)
{
    loop->buffers = tg_mem_map(RECEIVE_BUFFERS * sizeof(struct io_uring_buf));
    loop->buffer_memory = tg_mem_map((size_t)RECEIVE_BUFFERS * RECEIVE_BYTES);
    if (!loop->buffers || !loop->buffer_memory)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for receive buffers");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)loop->buffers,
        .ring_entries = RECEIVE_BUFFERS,
        .bgid = BUFFER_GROUP,
    };
    int code = io_uring_register_buf_ring(&loop->ring, &registration, 0);
    if (code < 0)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, -code, "io_uring_register_buf_ring");
    io_uring_buf_ring_init(loop->buffers);
    for (uint16_t id = 0; id < RECEIVE_BUFFERS; id++)
        provide_buffer(loop, id, id);
    io_uring_buf_ring_advance(loop->buffers, RECEIVE_BUFFERS);
    return TG_ERR_OK;
}

static enum tg_error create_conns(struct net_loop *loop, struct tg_fault *fault)
{
    uint32_t count = loop->options.connections_max;
    loop->conns = tg_mem_map(count * sizeof(*loop->conns));
    loop->free_conns = tg_mem_map(count * sizeof(*loop->free_conns));
    if (!loop->conns || !loop->free_conns)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u connections", count);
    for (uint32_t i = 0; i < count; i++)
        loop->free_conns[loop->free_count++] = count - 1 - i; /* the lowest is taken first */
    return TG_ERR_OK;
}

enum tg_error net_loop_create(const struct net_options *options,
                              const struct net_endpoint *endpoints, uint32_t endpoint_count,
                              int wake_fd, const struct net_handler *handler,
                              struct net_loop **created, struct tg_fault *fault)
{
    tg_assert(options->connections_max > 0 && endpoint_count <= NET_ENDPOINTS_MAX);
    struct net_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a network loop");
    loop->options = *options;
    loop->handler = *handler;
    memcpy(loop->endpoints, endpoints, endpoint_count * sizeof(*endpoints));
    loop->endpoint_count = endpoint_count;
    loop->wake_fd = wake_fd;

    struct io_uring_params params = {.flags = ring_flags, .cq_entries = COMPLETIONS};
    int code = io_uring_queue_init_params(SUBMISSIONS, &loop->ring, &params);
    enum tg_error error = TG_ERR_OK;
    if (code < 0) {
        error = ring_refused(code, fault);
        goto err_after_alloc;
    }
    if ((error = create_buffers(loop, fault)) != TG_ERR_OK ||
        (error = create_conns(loop, fault)) != TG_ERR_OK ||
        (error = net_chunk_pool_init(&loop->chunks, options->output_chunks, fault)) != TG_ERR_OK)
        goto err_after_ring;
    for (uint32_t i = 0; i < options->connections_max; i++)
        loop->conns[i].index = i;
    *created = loop;
    return TG_ERR_OK;

err_after_ring:
    io_uring_queue_exit(&loop->ring);
err_after_alloc:
    free(loop);
    return error;
}

void net_loop_destroy(struct net_loop *loop)
{
    for (uint32_t i = 0; i < loop->options.connections_max; i++) {
        struct net_conn *conn = &loop->conns[i];
        if (conn->state != NET_CONN_FREE)
            close(conn->fd);
        net_layers_destroy(conn);
        free(conn->held);
    }
    /* Ends every operation before the memory that it writes to goes away. */
    io_uring_queue_exit(&loop->ring);
    net_chunk_pool_fini(&loop->chunks);
    tg_mem_unmap(loop->conns, loop->options.connections_max * sizeof(*loop->conns));
    tg_mem_unmap(loop->free_conns, loop->options.connections_max * sizeof(*loop->free_conns));
    tg_mem_unmap(loop->buffers, RECEIVE_BUFFERS * sizeof(struct io_uring_buf));
    tg_mem_unmap(loop->buffer_memory, (size_t)RECEIVE_BUFFERS * RECEIVE_BYTES);
    free(loop);
}

/* --- what the kernel is asked --- */

/* Most failures of io_uring_enter mean: look at what completed, and come back. Without the others
 * there is no way to answer anybody; what is durable is found at the next start. */
static void check_enter(int code)
{
    if (code >= 0 || code == -ETIME || code == -EBUSY || code == -EINTR || code == -EAGAIN ||
        code == -ENOMEM)
        return;
    tg_log_error("io_uring_enter: %s: stopping", strerror(-code));
    _exit(EXIT_FAILURE);
}

/* A free submission entry; makes room by submitting when there is none. */
static struct io_uring_sqe *next_entry(struct net_loop *loop)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&loop->ring);
    while (!entry) {
        check_enter(io_uring_submit(&loop->ring));
        entry = io_uring_get_sqe(&loop->ring);
    }
    return entry;
}

/* A few single accepts, not one for all that come: a multishot one takes as many as the backlog
 * has, and the requests of those who are served already would wait for all of them. */
static void arm_accepts(struct net_loop *loop)
{
    for (uint32_t i = 0; i < loop->endpoint_count; i++)
        while (loop->accepts_armed[i] < NET_ACCEPTS && !loop->draining) {
            struct io_uring_sqe *entry = next_entry(loop);
            io_uring_prep_accept(entry, loop->endpoints[i].fd, NULL, NULL, SOCK_CLOEXEC);
            io_uring_sqe_set_data64(entry, tag(OP_ACCEPT, i));
            loop->accepts_armed[i]++;
        }
}

static void arm_wake(struct net_loop *loop)
{
    if (loop->wake_armed)
        return;
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_read(entry, loop->wake_fd, &loop->wake_count, sizeof(loop->wake_count), 0);
    io_uring_sqe_set_data64(entry, tag(OP_WAKE, 0));
    loop->wake_armed = true;
}

static bool is_short(const struct net_loop *loop)
{
    return loop->turn < loop->short_until;
}

static void arm_receive(struct net_loop *loop, struct net_conn *conn)
{
    struct io_uring_sqe *entry = next_entry(loop);
    /* Who is read while its frames wait has one buffer a turn, or its share would be all there is.
     */
    if (is_short(loop) || conn->is_multiplexed)
        io_uring_prep_recv(entry, conn->fd, NULL, RECEIVE_BYTES, 0);
    else
        io_uring_prep_recv_multishot(entry, conn->fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = BUFFER_GROUP;
    io_uring_sqe_set_data64(entry, tag(OP_RECEIVE, conn->index));
    conn->receive_armed = true;
}

/* A multishot receive takes as many buffers as its socket has bytes for, and who asks first is
 * served first. So when there were not enough buffers for all, each takes one and goes to the end
 * of a queue: or who sends little would wait until those who send much have been served many times.
 */
void net_loop_arm_receive(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->receive_waits)
        return;
    if (!is_short(loop)) {
        arm_receive(loop, conn);
        return;
    }
    conn->receive_waits = true;
    conn->receive_next = NULL;
    if (loop->thirsty)
        loop->thirsty_last->receive_next = conn;
    else
        loop->thirsty = conn;
    loop->thirsty_last = conn;
}

static void arm_thirsty(struct net_loop *loop)
{
    for (int i = 0; loop->thirsty && (i < ARMS_A_TURN || !is_short(loop)); i++) {
        struct net_conn *conn = loop->thirsty;
        loop->thirsty = conn->receive_next;
        conn->receive_waits = false;
        if (net_conn_wants_receive(loop, conn))
            arm_receive(loop, conn);
        else
            net_conn_update(loop, conn);
    }
}

void net_loop_cancel_receive(struct net_loop *loop, struct net_conn *conn)
{
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_cancel64(entry, tag(OP_RECEIVE, conn->index), 0);
    io_uring_sqe_set_data64(entry, tag(OP_CANCEL, conn->index));
    conn->receive_cancelling = true;
}

void net_loop_cancel_send(struct net_loop *loop, struct net_conn *conn)
{
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_cancel64(entry, tag(OP_SEND, conn->index), 0);
    io_uring_sqe_set_data64(entry, tag(OP_CANCEL, conn->index));
}

void net_loop_send(struct net_loop *loop, struct net_conn *conn, uint32_t pieces)
{
    conn->message = (struct msghdr){.msg_iov = conn->pieces, .msg_iovlen = pieces};
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_sendmsg(entry, conn->fd, &conn->message, MSG_NOSIGNAL);
    io_uring_sqe_set_data64(entry, tag(OP_SEND, conn->index));
    conn->send_in_flight = true;
}

/* --- a turn --- */

bool net_loop_is_lone(const struct net_loop *loop)
{
    return loop->lone_receives >= NET_LONE_RECEIVES;
}

void net_loop_has_company(struct net_loop *loop)
{
    loop->lone_receives = 0;
}

static void count_receive(struct net_loop *loop, const struct net_conn *conn)
{
    if (conn->index != loop->received_from)
        loop->lone_receives = 0;
    loop->received_from = conn->index;
    loop->lone_receives++;
}

/* The kernel has something for this ring: completed, or to be completed by entering it. */
static bool has_news(const struct net_loop *loop)
{
    const struct io_uring *ring = &loop->ring;
    return io_uring_cq_ready(ring) > 0 ||
           (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_TASKRUN);
}

/* Looks for the next request of a lone caller, for as long as it is likely to come. */
static void spin(struct net_loop *loop)
{
    check_enter(io_uring_submit(&loop->ring));
    int64_t begin_ns = tg_clock_mono_ns(), now_ns = begin_ns;
    while (!has_news(loop) && now_ns - begin_ns < LONE_SPIN_NS) {
        __builtin_ia32_pause();
        now_ns = tg_clock_mono_ns();
    }
}

void net_loop_wait(struct net_loop *loop, int64_t timeout_ns)
{
    arm_wake(loop);
    bool has_work = loop->ready.first || loop->lines[NET_LINE_WORK].first ||
                    loop->lines[NET_LINE_PLACE].first || loop->ending || loop->thirsty;
    int code;
    bool is_lone = timeout_ns > 0 && !has_work && net_loop_is_lone(loop);
    int64_t begin_ns = is_lone ? tg_clock_mono_ns() : 0;
    if (is_lone && loop->lone_wait_ns < LONE_SPIN_NS)
        spin(loop);
    if (timeout_ns > 0 && !has_work) {
        struct __kernel_timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                                            .tv_nsec = timeout_ns % 1000000000};
        struct io_uring_cqe *first;
        code = io_uring_submit_and_wait_timeout(&loop->ring, &first, 1, &timeout, NULL);
    } else {
        code = io_uring_submit_and_get_events(&loop->ring);
    }
    check_enter(code);
    if (is_lone)
        loop->lone_wait_ns = tg_clock_mono_ns() - begin_ns;
}

/* Not at every one: whoever uses up the descriptors would fill the disk as well. */
static void tell_failed_accept(struct net_loop *loop, int code)
{
    loop->accepts_failed++;
    if (loop->accept_told_ns != 0 && loop->now_ns - loop->accept_told_ns < ACCEPT_TOLD_NS)
        return;
    tg_log_warn("cannot accept a connection: %s (%u since this was told last)", strerror(-code),
                loop->accepts_failed);
    loop->accept_told_ns = loop->now_ns;
    loop->accepts_failed = 0;
}

static void on_accept(struct net_loop *loop, uint32_t endpoint, const struct io_uring_cqe *cqe)
{
    loop->accepts_armed[endpoint]--;
    if (cqe->res >= 0) {
        net_conn_open(loop, cqe->res, &loop->endpoints[endpoint]);
        loop->accept_soon = true;
    } else if (cqe->res != -ECANCELED) {
        tell_failed_accept(loop, cqe->res); /* the next sweep arms it again */
    }
}

static void on_receive(struct net_loop *loop, struct net_conn *conn, const struct io_uring_cqe *cqe,
                       int *returned)
{
    if (cqe->res == -ENOBUFS)
        loop->short_until = loop->turn + SHORT_TURNS;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        const uint8_t *data = loop->buffer_memory + (size_t)id * RECEIVE_BYTES;
        count_receive(loop, conn);
        if (cqe->res > 0 && __builtin_expect(conn->bottom != NULL, 0))
            net_layers_take(loop, conn, data, (size_t)cqe->res);
        else if (cqe->res > 0)
            net_input_take(loop, conn, data, (size_t)cqe->res);
        provide_buffer(loop, id, (*returned)++);
    }
    loop->stats.bytes_received += cqe->res > 0 ? (uint64_t)cqe->res : 0;
    net_conn_received(loop, conn, cqe->res, cqe->flags & IORING_CQE_F_MORE);
}

static void on_completion(struct net_loop *loop, const struct io_uring_cqe *cqe, int *returned)
{
    uint64_t data = io_uring_cqe_get_data64(cqe);
    struct net_conn *conn = &loop->conns[(uint32_t)data];
    switch ((enum operation)(data >> 32)) {
    case OP_ACCEPT:
        on_accept(loop, (uint32_t)data, cqe);
        break;
    case OP_WAKE:
        loop->wake_armed = false;
        break;
    case OP_RECEIVE:
        on_receive(loop, conn, cqe, returned);
        break;
    case OP_SEND:
        loop->stats.bytes_sent += cqe->res > 0 ? (uint64_t)cqe->res : 0;
        net_conn_sent(loop, conn, cqe->res);
        break;
    case OP_CANCEL: /* the cancelled receive tells by itself */
        break;
    }
}

/* Looks at the times of a slice of the connections, or of several when the last turn is long ago.
 */
static void sweep(struct net_loop *loop)
{
    int64_t due = loop->sweep_ns == 0 ? 1 : (loop->now_ns - loop->sweep_ns) / SWEEP_EVERY_NS;
    if (due <= 0)
        return;
    loop->sweep_ns = loop->now_ns;
    arm_accepts(loop);
    uint32_t slice = loop->conns_used / SWEEPS + 1;
    uint32_t looks = due < SWEEPS ? slice * (uint32_t)due : loop->conns_used;
    for (; looks > 0 && loop->stats.open > 0; looks--) {
        loop->sweep_at = loop->sweep_at + 1 < loop->conns_used ? loop->sweep_at + 1 : 0;
        net_conn_check_times(loop, &loop->conns[loop->sweep_at]);
    }
}

void net_loop_spend(struct net_loop *loop, uint32_t frames)
{
    loop->turn_end -= frames;
}

/* The first in the queue when the turn begins, each once; who has more goes to the end. */
static void resume(struct net_loop *loop, struct net_conn_queue *queue)
{
    const struct net_conn *last = queue->last;
    loop->is_stopped = false;
    for (int i = 0; i < RESUMES_A_TURN && queue->first && !net_loop_turn_is_over(loop); i++) {
        struct net_conn *conn = queue->first;
        queue->first = conn->ready_next;
        if (!queue->first)
            queue->last = NULL;
        conn->ready = false;
        loop->resumed = conn;
        loop->resumed_frames = loop->stats.frames;
        net_conn_resume(loop, conn);
        if (conn == last || loop->is_stopped)
            break;
    }
    loop->resumed = NULL;
}

static void take_completions(struct net_loop *loop)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    int returned = 0;
    io_uring_for_each_cqe(&loop->ring, head, cqe)
    {
        on_completion(loop, cqe, &returned);
        seen++;
    }
    io_uring_cq_advance(&loop->ring, seen);
    if (returned > 0)
        io_uring_buf_ring_advance(loop->buffers, returned);
}

void net_loop_handle(struct net_loop *loop, int64_t now_ns)
{
    loop->now_ns = now_ns;
    loop->turn++;
    loop->turn_end = loop->stats.frames + FRAMES_A_TURN;
    for (int line = 0; line < NET_LINE_COUNT; line++)
        resume(loop, &loop->lines[line]);
    /* Not all of the turn is for those who have sent much: newcomers come behind them. */
    loop->turn_end -= FRAMES_A_TURN / 2;
    resume(loop, &loop->ready);
    loop->turn_end += FRAMES_A_TURN / 2;
    take_completions(loop);
    arm_thirsty(loop);
    sweep(loop);
    if (loop->accept_soon)
        arm_accepts(loop);
    loop->accept_soon = false;
}

bool net_loop_is_short(const struct net_loop *loop)
{
    return loop->chunks.used > loop->chunks.count - loop->chunks.count / 4;
}

void net_loop_flush(struct net_loop *loop)
{
    while (loop->dirty) {
        struct net_conn *conn = loop->dirty;
        loop->dirty = conn->dirty_next;
        conn->dirty = false;
        net_conn_flush(loop, conn);
        if (conn->state == NET_CONN_CLOSING)
            net_conn_update(loop, conn);
    }
    net_conn_end_some(loop);
}

/* --- the end --- */

void net_loop_drain(struct net_loop *loop)
{
    if (loop->draining)
        return;
    loop->draining = true;
    for (uint32_t i = 0; i < loop->endpoint_count; i++) {
        if (loop->accepts_armed[i] == 0)
            continue;
        struct io_uring_sqe *entry = next_entry(loop);
        io_uring_prep_cancel64(entry, tag(OP_ACCEPT, i), IORING_ASYNC_CANCEL_ALL);
        io_uring_sqe_set_data64(entry, tag(OP_CANCEL, 0));
    }
    for (uint32_t i = 0; i < loop->options.connections_max; i++)
        net_conn_finish(loop, &loop->conns[i]);
}

bool net_loop_drained(const struct net_loop *loop)
{
    return loop->draining && loop->stats.open == 0;
}

const struct net_stats *net_loop_stats(const struct net_loop *loop)
{
    return &loop->stats;
}
