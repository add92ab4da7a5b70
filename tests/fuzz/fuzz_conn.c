/* The life of connections, net/loop.c with net/conn.c and net/input.c, on an io_uring that the
 * input plays: in what pieces bytes come, which send is short, when a cancellation takes hold, when
 * buffers run out, who resets and who never reads. liburing's functions that enter the kernel are
 * defined here, the rings are real; the files are included, so that close, shutdown and send meet
 * sockets that are made up.
 *
 * input: steps, of one byte and what they take
 *
 *   step % 8: 0 a peer connects          4 the handler answers what it had put off
 *             1 a peer sends or ends     5 cancellations take hold
 *             2 a receive completes      6 time goes by
 *             3 a send completes         7 a turn of the loop
 *
 * What must hold: frames come in order, each once, as tg_frame_next has the stream; a peer hears
 * whole answers in the order of their writing; no operation is started twice, or left when its
 * socket is closed; when all goes on for a while, a connection that is open has had all of its
 * frames handled and has heard every answer; and a drain ends, and gives back all memory.
 */
#include <sys/socket.h>
#include <unistd.h>

/* What the included files call; made up below. */
static int kernel_close(int fd);
static int kernel_shutdown(int fd, int how);
static ssize_t kernel_send(int fd, const void *data, size_t bytes, int flags);

#define close    kernel_close
#define shutdown kernel_shutdown
#define send     kernel_send
#include "net/conn.c"
#include "net/loop.c"
#undef close
#undef shutdown
#undef send

#include "tests/fuzz/fuzz.h"

enum {
    SOCKETS = 20,
    FD_FIRST = 1000,
    STREAM_MAX = 200000,
    HEARD_MAX = 1 << 20,
    PUT_OFF_MAX = 256,
    SAID_MAX = 4096,
    GO_ON_TURNS = 20000,
    QUIET_TURNS = 64, /* then nothing more happens by itself */
    DRAIN_TURNS = 64,
};

/* A connection as its peer and the kernel see it. */
struct socket {
    bool is_open;
    bool is_shut;                 /* by shutdown in both directions */
    bool has_ended, has_reset;    /* its peer */
    uint8_t stream[STREAM_MAX];   /* what the peer sends */
    size_t sent, received, cut;   /* of it: by the peer, by the loop, handed on as frames */
    bool receiving, is_cancelled; /* a receive is armed, and is to end */
    bool is_multishot;
    uint64_t receive_tag;
    const struct msghdr *message; /* of the send in flight */
    uint64_t send_tag;
    uint8_t heard[HEARD_MAX]; /* by the peer */
    size_t heard_bytes;
    uint32_t said[SAID_MAX]; /* numbers of answers, in the order of their writing */
    uint32_t said_count;
};

static struct socket sockets[SOCKETS];
static uint32_t socket_count;

static struct {
    struct io_uring_sqe sqes[SUBMISSIONS];
    struct io_uring_cqe cqes[COMPLETIONS];
    unsigned sq_head, sq_tail, cq_head, cq_tail;
    uint32_t accepting;
    bool accept_cancelled, waking;
    struct io_uring_buf_ring *buffers;
    uint16_t buffers_head;
} kernel;

static struct net_loop *loop;
static struct fuzz_bytes script;
static int64_t now_ns;

/* What the handler has put off. */
static struct {
    net_conn_ref conn;
    uint32_t number;
} put_off[PUT_OFF_MAX];
static uint32_t put_off_first, put_off_count;
static uint32_t answers; /* ever written */

static struct socket *socket_of(int fd)
{
    FUZZ_MUST(fd >= FD_FIRST && fd < FD_FIRST + (int)socket_count);
    return &sockets[fd - FD_FIRST];
}

/* --- the kernel --- */

static int kernel_close(int fd)
{
    struct socket *socket = socket_of(fd);
    FUZZ_MUST(socket->is_open && !socket->receiving && !socket->message);
    socket->is_open = false;
    return 0;
}

static int kernel_shutdown(int fd, int how)
{
    FUZZ_MUST(socket_of(fd)->is_open);
    socket_of(fd)->is_shut |= how == SHUT_RDWR;
    return 0;
}

static ssize_t kernel_send(int fd, const void *data, size_t bytes, int flags)
{
    (void)data;
    (void)flags;
    FUZZ_MUST(socket_of(fd)->is_open);
    return (ssize_t)bytes;
}

static void complete_entry(uint64_t tag_of, int result, uint32_t flags)
{
    FUZZ_MUST(kernel.cq_tail - kernel.cq_head < COMPLETIONS);
    kernel.cqes[kernel.cq_tail++ % COMPLETIONS] =
        (struct io_uring_cqe){.user_data = tag_of, .res = result, .flags = flags};
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    FUZZ_MUST(entries == SUBMISSIONS && p->cq_entries == COMPLETIONS);
    memset(ring, 0, sizeof(*ring));
    kernel.sq_head = kernel.sq_tail = kernel.cq_head = kernel.cq_tail = 0;
    kernel.accepting = 0;
    kernel.accept_cancelled = kernel.waking = false;
    ring->sq.khead = &kernel.sq_head;
    ring->sq.ktail = &kernel.sq_tail;
    ring->sq.sqes = kernel.sqes;
    ring->sq.ring_entries = SUBMISSIONS;
    ring->sq.ring_mask = SUBMISSIONS - 1;
    ring->cq.khead = &kernel.cq_head;
    ring->cq.ktail = &kernel.cq_tail;
    ring->cq.cqes = kernel.cqes;
    ring->cq.ring_entries = COMPLETIONS;
    ring->cq.ring_mask = COMPLETIONS - 1;
    return 0;
}

void io_uring_queue_exit(struct io_uring *ring)
{
    (void)ring;
}

int io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg, unsigned flags)
{
    (void)ring;
    (void)flags;
    FUZZ_MUST(reg->ring_entries == RECEIVE_BUFFERS);
    kernel.buffers = (struct io_uring_buf_ring *)(uintptr_t)reg->ring_addr;
    kernel.buffers_head = 0;
    return 0;
}

static void cancel(const struct io_uring_sqe *entry)
{
    int result = -ENOENT;
    if (entry->addr == tag(OP_ACCEPT, 0) && kernel.accepting) {
        kernel.accept_cancelled = true;
        result = 0;
    }
    for (uint32_t i = 0; i < socket_count; i++) {
        if (sockets[i].receiving && sockets[i].receive_tag == entry->addr) {
            sockets[i].is_cancelled = true;
            result = 0;
        }
    }
    complete_entry(entry->user_data, result, 0);
}

static void start(const struct io_uring_sqe *entry)
{
    struct socket *socket;
    switch (entry->opcode) {
    case IORING_OP_ACCEPT:
        FUZZ_MUST((entry->ioprio & IORING_ACCEPT_MULTISHOT) == 0 && !loop->draining);
        kernel.accepting++;
        break;
    case IORING_OP_READ:
        FUZZ_MUST(!kernel.waking);
        kernel.waking = true;
        break;
    case IORING_OP_RECV:
        socket = socket_of(entry->fd);
        FUZZ_MUST(socket->is_open && !socket->receiving);
        socket->receiving = true;
        socket->is_cancelled = false;
        socket->is_multishot = entry->ioprio & IORING_RECV_MULTISHOT;
        socket->receive_tag = entry->user_data;
        break;
    case IORING_OP_SENDMSG:
        socket = socket_of(entry->fd);
        FUZZ_MUST(socket->is_open && !socket->message);
        socket->message = (const struct msghdr *)(uintptr_t)entry->addr;
        socket->send_tag = entry->user_data;
        break;
    case IORING_OP_ASYNC_CANCEL:
        cancel(entry);
        break;
    default:
        fuzz_fail(__FILE__, __LINE__, "an operation", "%u is not known", entry->opcode);
    }
}

int io_uring_submit(struct io_uring *ring)
{
    unsigned count = ring->sq.sqe_tail - ring->sq.sqe_head;
    while (ring->sq.sqe_head != ring->sq.sqe_tail)
        start(&kernel.sqes[ring->sq.sqe_head++ % SUBMISSIONS]);
    kernel.sq_head = kernel.sq_tail = ring->sq.sqe_tail;
    return (int)count;
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
    return io_uring_submit(ring);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
                                     unsigned count, struct __kernel_timespec *timeout,
                                     sigset_t *mask)
{
    (void)first;
    (void)count;
    (void)timeout;
    (void)mask;
    return io_uring_submit(ring);
}

/* --- what the kernel completes --- */

static void end_receive(struct socket *socket, int result)
{
    socket->receiving = false;
    complete_entry(socket->receive_tag, result, 0);
}

/* Up to `most` bytes into the next buffer; the last words of a peer, when there are no more. */
static void receive_some(struct socket *socket, size_t most, bool more)
{
    struct io_uring_buf_ring *ring = kernel.buffers;
    size_t there = socket->sent - socket->received;
    if (!socket->receiving)
        return;
    if (socket->has_reset || socket->is_shut || (there == 0 && socket->has_ended)) {
        end_receive(socket, socket->has_reset ? -ECONNRESET : 0);
        return;
    }
    if (there == 0)
        return;
    uint16_t free_buffers = (uint16_t)(ring->tail - kernel.buffers_head);
    FUZZ_MUST(free_buffers <= RECEIVE_BUFFERS);
    if (free_buffers == 0) {
        end_receive(socket, -ENOBUFS);
        return;
    }
    const struct io_uring_buf *buffer = &ring->bufs[kernel.buffers_head++ % RECEIVE_BUFFERS];
    size_t size = there < most ? there : most;
    size = size < buffer->len ? size : buffer->len;
    memcpy((void *)(uintptr_t)buffer->addr, socket->stream + socket->received, size);
    socket->received += size;
    more = more && socket->is_multishot;
    socket->receiving = more;
    complete_entry(socket->receive_tag, (int)size,
                   IORING_CQE_F_BUFFER | (uint32_t)buffer->bid << IORING_CQE_BUFFER_SHIFT |
                       (more ? IORING_CQE_F_MORE : 0));
}

static void cancel_now(struct socket *socket)
{
    if (socket->receiving && socket->is_cancelled)
        end_receive(socket, -ECANCELED);
}

/* The peer hears up to `most` bytes of the send in flight. */
static void send_some(struct socket *socket, size_t most)
{
    const struct msghdr *message = socket->message;
    size_t took = 0;
    if (!message)
        return;
    socket->message = NULL;
    if (socket->has_reset || socket->is_shut || most == 0) {
        bool is_over = socket->has_reset || socket->is_shut;
        complete_entry(socket->send_tag, is_over ? -EPIPE : -EINTR, 0);
        return;
    }
    for (size_t i = 0; i < message->msg_iovlen && took < most; i++) {
        const struct iovec *piece = &message->msg_iov[i];
        size_t size = piece->iov_len < most - took ? piece->iov_len : most - took;
        FUZZ_MUST(size > 0 && socket->heard_bytes + size <= HEARD_MAX);
        memcpy(socket->heard + socket->heard_bytes, piece->iov_base, size);
        socket->heard_bytes += size;
        took += size;
    }
    FUZZ_MUST(took > 0);
    complete_entry(socket->send_tag, (int)took, 0);
}

static void connect_peer(void)
{
    if (kernel.accepting == 0 || socket_count == SOCKETS)
        return;
    struct socket *socket = &sockets[socket_count];
    /* The large arrays are written before they are read. */
    socket->is_open = true;
    socket->is_shut = socket->has_ended = socket->has_reset = socket->receiving = false;
    socket->sent = socket->received = socket->cut = socket->heard_bytes = 0;
    socket->message = NULL;
    socket->said_count = 0;
    kernel.accepting--;
    complete_entry(tag(OP_ACCEPT, 0), FD_FIRST + (int)socket_count++, 0);
}

/* --- the peers --- */

static void put_stream(struct socket *socket, const void *bytes, size_t size)
{
    if (socket->has_ended || socket->has_reset || size > STREAM_MAX - socket->sent)
        return;
    memcpy(socket->stream + socket->sent, bytes, size);
    socket->sent += size;
}

/* A frame that is in order, of a body of about `size` bytes. */
static void put_frame(struct socket *socket, uint32_t size)
{
    static uint8_t frame[TG_FRAME_PREFIX_BYTES_MAX + (1 << 17)];
    size_t prefix = tg_frame_prefix(frame, size + 4);
    memset(frame + prefix, 'x', size + 4);
    frame[prefix] = 0x08;
    frame[prefix + 1] = (uint8_t)(1 + socket->sent % 100);
    frame[prefix + 2] = size > 65000 ? 3 << 3 | 2 : 2 << 3 | 2;
    put_stream(socket, frame, prefix + size + 4);
}

static void peer_acts(struct socket *socket, uint8_t what)
{
    static const uint32_t sizes[] = {0, 1, 20, 60, 120, 130, 500, 507, 8180, 16400, 65000, 100000};
    uint8_t literal[16];
    if (what < 0xc0) {
        for (uint32_t i = 0; i <= what % 4u; i++)
            put_frame(socket, sizes[what / 4 % (sizeof(sizes) / sizeof(sizes[0]))]);
    } else if (what < 0xf0) {
        size_t size = 1 + what % 16u;
        fuzz_take(&script, literal, size);
        put_stream(socket, literal, size);
    } else if (what < 0xfc) {
        socket->has_ended = true;
    } else {
        socket->has_reset = true;
    }
}

/* --- the handler --- */

/* An answer of its own number, and of about `size` bytes. */
static void answer(struct net_conn *conn, uint32_t size)
{
    static uint8_t frame[TG_FRAME_PREFIX_BYTES_MAX + 8 + (1 << 15)];
    struct socket *socket = socket_of(conn->fd);
    uint32_t number = answers++;
    FUZZ_MUST(socket->said_count < SAID_MAX);
    size_t prefix = tg_frame_prefix(frame, size + 6);
    memset(frame + prefix, 0, size + 6);
    frame[prefix] = 0x08;
    for (uint32_t i = 0; i < 4; i++)
        frame[prefix + 1 + i] = (uint8_t)((number >> 7 * i & 0x7f) | 0x80);
    socket->said[socket->said_count++] = number;
    if (size % 2) {
        net_conn_write(loop, conn, frame, prefix + size + 6);
    } else {
        size = size < 4000 ? size : 4000;
        prefix = tg_frame_prefix(frame, size + 6);
        frame[prefix] = 0x08;
        for (uint32_t i = 0; i < 4; i++)
            frame[prefix + 1 + i] = (uint8_t)((number >> 7 * i & 0x7f) | 0x80);
        memset(frame + prefix + 5, 0, size + 1);
        uint8_t *room = net_conn_room(loop, conn, 4096);
        if (!room)
            return;
        memcpy(room, frame, prefix + size + 6);
        net_conn_filled(loop, conn, (uint32_t)(prefix + size + 6));
    }
}

static void answer_put_off(void)
{
    if (put_off_count == 0)
        return;
    net_conn_ref name = put_off[put_off_first++ % PUT_OFF_MAX].conn;
    put_off_count--;
    struct net_conn *conn = net_conn_find(loop, name);
    if (!conn)
        return;
    if (fuzz_u8(&script) % 4 != 1)
        answer(conn, 40);
    net_conn_end(loop, conn, 1);
}

static void on_frame(void *context, struct net_conn *conn, struct tg_bytes body)
{
    (void)context;
    struct socket *socket = socket_of(conn->fd);
    struct tg_bytes rest = {socket->stream + socket->cut, socket->received - socket->cut}, wanted;
    size_t used;
    FUZZ_MUST(net_conn_is_open(conn));
    FUZZ_MUST(tg_frame_next(rest, &wanted, &used) == TG_FRAME_WHOLE);
    FUZZ_MUST(wanted.size == body.size && memcmp(wanted.data, body.data, body.size) == 0);
    uint8_t act = fuzz_u8(&script);
    if (act == 0xff || act == 0xfe) {
        net_conn_put_back(loop, conn, act == 0xff ? NET_LINE_WORK : NET_LINE_PLACE);
        return;
    }
    socket->cut += used;
    switch (act % 8) {
    case 0:
    case 1:
        answer(conn, 10u + act);
        break;
    case 2:
        answer(conn, 100u * act + 1);
        break;
    case 3:
        net_conn_yield(loop, conn);
        answer(conn, 10);
        break;
    case 4:
        if (act >= 0xe0)
            net_conn_fail(loop, conn, 0, 1, "as it happens");
        else
            net_conn_error(loop, conn, 0, 1, "as it happens");
        break;
    default:
        if (put_off_count == PUT_OFF_MAX)
            break;
        net_conn_begin(conn, 1);
        put_off[(put_off_first + put_off_count++) % PUT_OFF_MAX].conn = net_conn_name(conn);
    }
}

static void on_frames_end(void *context)
{
    (void)context;
}

/* --- what the peers heard --- */

/* Answers are whole, but for the last one, and come in the order of their writing; errors, which
 * have no number, between them. Returns how many answers. */
static uint32_t check_heard(const struct socket *socket)
{
    struct tg_bytes rest = {socket->heard, socket->heard_bytes}, body;
    uint32_t heard = 0;
    size_t used;
    while (rest.size > 0) {
        enum tg_frame frame = tg_frame_next_response(rest, &body, &used);
        if (frame == TG_FRAME_PARTIAL)
            break;
        FUZZ_MUST(frame == TG_FRAME_WHOLE && body.size > 0);
        if (body.data[0] == 0x08) {
            uint32_t number = 0;
            for (uint32_t i = 0; i < 4; i++)
                number |= (uint32_t)(body.data[1 + i] & 0x7f) << 7 * i;
            FUZZ_MUST(heard < socket->said_count && socket->said[heard] == number);
            heard++;
        }
        rest = (struct tg_bytes){rest.data + used, rest.size - used};
    }
    return heard;
}

/* --- steps --- */

static void turn(void)
{
    net_loop_wait(loop, 1000000);
    net_loop_handle(loop, now_ns);
    net_loop_flush(loop);
    io_uring_submit(&loop->ring);
}

static struct socket *pick(void)
{
    return socket_count ? &sockets[fuzz_u8(&script) % socket_count] : NULL;
}

static void cancel_all(void)
{
    for (uint32_t i = 0; i < socket_count; i++)
        cancel_now(&sockets[i]);
    for (; kernel.accept_cancelled && kernel.accepting > 0; kernel.accepting--)
        complete_entry(tag(OP_ACCEPT, 0), -ECANCELED, 0);
}

static void step(uint8_t what)
{
    static const int64_t pauses_ns[] = {1000,         1000000,       100000000ll,   300000000ll,
                                        2100000000ll, 11000000000ll, 61000000000ll, 1};
    struct socket *socket = what % 8 >= 1 && what % 8 <= 3 ? pick() : NULL;
    switch (what % 8) {
    case 0:
        connect_peer();
        break;
    case 1:
        if (socket)
            peer_acts(socket, fuzz_u8(&script));
        break;
    case 2:
        if (socket)
            receive_some(socket, what < 0x40 ? SIZE_MAX : 1u + fuzz_u8(&script) * 40u, what < 0xc0);
        break;
    case 3:
        if (socket)
            send_some(socket, what < 0x80 ? SIZE_MAX : fuzz_u8(&script) * 30u);
        break;
    case 4:
        for (uint32_t i = 0; i <= what / 64u; i++)
            answer_put_off();
        break;
    case 5:
        cancel_all();
        break;
    case 6:
        now_ns += pauses_ns[what / 8 % 8];
        break;
    default:
        turn();
    }
}

/* --- the end of an input --- */

static bool is_going(void)
{
    bool going = put_off_count > 0 || kernel.cq_head != kernel.cq_tail;
    for (uint32_t i = 0; i < socket_count; i++) {
        const struct socket *socket = &sockets[i];
        bool has_news = socket->sent > socket->received || socket->has_ended || socket->has_reset ||
                        socket->is_shut || socket->is_cancelled;
        going = going || socket->message || (socket->receiving && has_news);
    }
    return going;
}

/* All peers read, all bytes come, everything is answered. */
static void go_on(void)
{
    uint32_t turns = 0, quiet = 0;
    do {
        for (uint32_t i = 0; i < socket_count; i++) {
            cancel_now(&sockets[i]);
            receive_some(&sockets[i], SIZE_MAX, true);
            send_some(&sockets[i], SIZE_MAX);
        }
        while (put_off_count > 0)
            answer_put_off();
        turn();
        now_ns += 100000;
        quiet = is_going() ? 0 : quiet + 1;
        FUZZ_MUST(++turns < GO_ON_TURNS);
    } while (quiet < QUIET_TURNS);
}

static void check_open(const struct net_conn *conn)
{
    const struct socket *socket = socket_of(conn->fd);
    struct tg_bytes rest = {socket->stream + socket->cut, socket->sent - socket->cut}, body;
    size_t used;
    FUZZ_MUST(!conn->paused && conn->in_flight == 0 && conn->output_bytes == 0);
    FUZZ_MUST(socket->received == socket->sent && socket->receiving);
    FUZZ_MUST(rest.size == 0 || tg_frame_next(rest, &body, &used) == TG_FRAME_PARTIAL);
    FUZZ_MUST(check_heard(socket) == socket->said_count);
}

static void drain(void)
{
    net_loop_drain(loop);
    for (uint32_t i = 0; !net_loop_drained(loop); i++) {
        FUZZ_MUST(i < DRAIN_TURNS);
        cancel_all();
        go_on();
        now_ns += 300000000ll;
    }
    uint32_t free_chunks = 0;
    for (const struct net_chunk *chunk = loop->chunks.free; chunk; chunk = chunk->next)
        free_chunks++;
    FUZZ_MUST(free_chunks == loop->chunks.high_water && loop->held_bytes == 0);
    FUZZ_MUST(loop->stats.open == 0 && loop->stats.accepted == loop->stats.closed);
    FUZZ_MUST(loop->stats.ended == loop->stats.closed);
    for (uint32_t i = 0; i < socket_count; i++)
        FUZZ_MUST(!sockets[i].is_open || sockets[i].receiving == false);
}

static void begin(void)
{
    struct net_options options = {.connections_max = 16,
                                  .in_flight_max = 4,
                                  .output_bytes_max = 16384,
                                  .output_chunks = 24,
                                  .held_bytes_max = 400000,
                                  .idle_timeout_ns = 60000000000ll,
                                  .frame_timeout_ns = 10000000000ll,
                                  .write_timeout_ns = 10000000000ll};
    struct net_handler handler = {.on_frame = on_frame, .on_frames_end = on_frames_end};
    struct tg_fault fault;
    now_ns = 1;
    socket_count = put_off_first = put_off_count = answers = 0;
    struct net_endpoint native = {.fd = 3};
    FUZZ_MUST(net_loop_create(&options, &native, 1, 4, &handler, &loop, &fault) == TG_ERR_OK);
    /* The first sweep arms the accept. */
    now_ns += SWEEP_EVERY_NS;
    turn();
    turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_BYTES_MAX)
        return 0;
    script = (struct fuzz_bytes){data, size};
    begin();
    while (script.left > 0)
        step(fuzz_u8(&script));
    go_on();
    for (uint32_t i = 0; i < loop->options.connections_max; i++)
        if (loop->conns[i].state == NET_CONN_OPEN)
            check_open(&loop->conns[i]);
    for (uint32_t i = 0; i < socket_count; i++)
        check_heard(&sockets[i]);
    drain();
    net_loop_destroy(loop);
    return 0;
}
