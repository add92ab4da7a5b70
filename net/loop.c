#include "net/conn.h"

#include "base/assert.h"
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
/* Connections that go on with held input in one turn, so that a turn stays short. */
#define RESUMES_A_TURN  16
#define SWEEP_EVERY_NS  (250 * 1000000ll)

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

enum tg_error net_loop_create(const struct net_options *options, int listen_fd, int wake_fd,
                              const struct net_handler *handler, struct net_loop **created,
                              struct tg_fault *fault)
{
    tg_assert(options->connections_max > 0);
    struct net_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a network loop");
    loop->options = *options;
    loop->handler = *handler;
    loop->listen_fd = listen_fd;
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

static void arm_accept(struct net_loop *loop)
{
    if (loop->accept_armed || loop->draining)
        return;
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_multishot_accept(entry, loop->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(entry, tag(OP_ACCEPT, 0));
    loop->accept_armed = true;
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

void net_loop_arm_receive(struct net_loop *loop, struct net_conn *conn)
{
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_recv_multishot(entry, conn->fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = BUFFER_GROUP;
    io_uring_sqe_set_data64(entry, tag(OP_RECEIVE, conn->index));
    conn->receive_armed = true;
}

void net_loop_cancel_receive(struct net_loop *loop, struct net_conn *conn)
{
    struct io_uring_sqe *entry = next_entry(loop);
    io_uring_prep_cancel64(entry, tag(OP_RECEIVE, conn->index), 0);
    io_uring_sqe_set_data64(entry, tag(OP_CANCEL, conn->index));
    conn->receive_cancelling = true;
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

void net_loop_wait(struct net_loop *loop, int64_t timeout_ns)
{
    arm_wake(loop);
    int code;
    if (timeout_ns > 0 && !loop->ready) {
        struct __kernel_timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                                            .tv_nsec = timeout_ns % 1000000000};
        struct io_uring_cqe *first;
        code = io_uring_submit_and_wait_timeout(&loop->ring, &first, 1, &timeout, NULL);
    } else {
        code = io_uring_submit_and_get_events(&loop->ring);
    }
    check_enter(code);
}

static void on_accept(struct net_loop *loop, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        loop->accept_armed = false; /* the next sweep arms it again */
    if (cqe->res >= 0)
        net_conn_open(loop, cqe->res);
    else if (cqe->res != -ECANCELED)
        tg_log_warn("cannot accept a connection: %s", strerror(-cqe->res));
}

static void on_receive(struct net_loop *loop, struct net_conn *conn, const struct io_uring_cqe *cqe,
                       int *returned)
{
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0)
            net_input_take(loop, conn, loop->buffer_memory + (size_t)id * RECEIVE_BYTES,
                           (size_t)cqe->res);
        provide_buffer(loop, id, (*returned)++);
    }
    net_conn_received(loop, conn, cqe->res, cqe->flags & IORING_CQE_F_MORE);
}

static void on_completion(struct net_loop *loop, const struct io_uring_cqe *cqe, int *returned)
{
    uint64_t data = io_uring_cqe_get_data64(cqe);
    struct net_conn *conn = &loop->conns[(uint32_t)data];
    switch ((enum operation)(data >> 32)) {
    case OP_ACCEPT:
        on_accept(loop, cqe);
        break;
    case OP_WAKE:
        loop->wake_armed = false;
        break;
    case OP_RECEIVE:
        on_receive(loop, conn, cqe, returned);
        break;
    case OP_SEND:
        net_conn_sent(loop, conn, cqe->res);
        break;
    case OP_CANCEL: /* the cancelled receive tells by itself */
        break;
    }
}

static void sweep(struct net_loop *loop)
{
    if (loop->now_ns - loop->sweep_ns < SWEEP_EVERY_NS)
        return;
    loop->sweep_ns = loop->now_ns;
    arm_accept(loop);
    uint32_t used = loop->options.connections_max;
    for (uint32_t i = 0, seen = 0; seen < loop->stats.open && i < used; i++) {
        struct net_conn *conn = &loop->conns[i];
        if (conn->state == NET_CONN_FREE)
            continue;
        seen++;
        net_conn_check_times(loop, conn);
    }
}

/* A few in each turn; who has more goes to the end of the queue. */
static void resume_ready(struct net_loop *loop)
{
    for (int i = 0; i < RESUMES_A_TURN && loop->ready; i++) {
        struct net_conn *conn = loop->ready;
        loop->ready = conn->ready_next;
        if (!loop->ready)
            loop->ready_tail = NULL;
        conn->ready = false;
        net_conn_resume(loop, conn);
    }
}

void net_loop_handle(struct net_loop *loop, int64_t now_ns)
{
    loop->now_ns = now_ns;
    resume_ready(loop);
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
    sweep(loop);
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
}

/* --- the end --- */

void net_loop_drain(struct net_loop *loop)
{
    if (loop->draining)
        return;
    loop->draining = true;
    if (loop->accept_armed) {
        struct io_uring_sqe *entry = next_entry(loop);
        io_uring_prep_cancel64(entry, tag(OP_ACCEPT, 0), 0);
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
