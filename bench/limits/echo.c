/* What sockets and two cores can carry: a server thread that answers frames of an order's size with
 * frames of an answer's size, and a client thread that keeps as many in flight as it is told.
 *
 * Both do it as net/ does: one io_uring each, multishot receive into 128 provided buffers of 8 KiB,
 * one send in flight on a connection, everything that became ready meanwhile in the next one.
 * Frames are cut by their length prefix. It leaves out all else: decoding, deciding, encoding (the
 * frame is copied), the writer and the disk, bounds, timeouts and fairness; and the client checks
 * nothing but lengths.
 *
 * Threads: each end belongs to one thread, with all of its connections; `stopping` alone is shared.
 *
 * usage: echo [--connections 64] [--in-flight 64] [--seconds 5] [--answer accepted|sold-out]
 * [--json]
 */
#include "base/clock.h"
#include "base/mem.h"
#include "bench/limits/limits.h"
#include "proto/codec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SUBMISSIONS      4096
#define COMPLETIONS      (SUBMISSIONS * 8)
#define RECEIVE_BUFFERS  128 /* a power of two */
#define RECEIVE_BYTES    8192
#define CONNECTIONS_MOST 4096
#define IN_FLIGHT_MOST   4096
#define WARMUP_NS        TG_NS_PER_S
/* A frame's length prefix has one byte: checked at start. */
#define BODY_BYTES_MOST  127

enum operation {
    OP_RECEIVE,
    OP_SEND,
};

struct frame {
    uint8_t bytes[TG_ORDER_FRAME_BYTES_MAX];
    uint32_t size;
};

/* One connection, as one end has it. */
struct line {
    int fd;
    bool send_in_flight;
    uint8_t left;  /* bytes of the frame that is being received; 0: a prefix comes next */
    uint8_t *fill; /* frames to send, for the next send ... */
    uint8_t *sent; /* ... and those that the kernel sends now */
    uint32_t fill_bytes;
    uint32_t sent_bytes;
    uint32_t sent_from; /* of `sent`, after a short send */
    /* client: when the frames in flight were written, a ring of `in_flight` */
    int64_t *begun_ns;
    uint32_t begun_at;
};

struct end {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    uint8_t *memory;
    struct line *lines;
    uint32_t line_count;
    uint32_t in_flight;
    struct frame frame; /* what it sends, one for each that it receives */
    bool is_client;
    int64_t now_ns;
    uint64_t frames; /* received */
    struct tg_histogram latency;
};

static _Atomic bool stopping;

static void check_ring(int code, const char *what)
{
    if (code < 0 && code != -ETIME && code != -EINTR && code != -EBUSY && code != -EAGAIN)
        limits_die("%s: %s", what, strerror(-code));
}

/* --- one end --- */

static void provide(struct end *end, uint16_t id, int offset)
{
    io_uring_buf_ring_add(end->buffers, end->memory + (size_t)id * RECEIVE_BYTES, RECEIVE_BYTES, id,
                          io_uring_buf_ring_mask(RECEIVE_BUFFERS), offset);
}

/* In the thread that uses it. */
static void ring_open(struct end *end)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP,
        .cq_entries = COMPLETIONS};
    check_ring(io_uring_queue_init_params(SUBMISSIONS, &end->ring, &params), "io_uring_setup");
    end->buffers = tg_mem_map(RECEIVE_BUFFERS * sizeof(struct io_uring_buf));
    end->memory = tg_mem_map((size_t)RECEIVE_BUFFERS * RECEIVE_BYTES);
    if (!end->buffers || !end->memory)
        limits_die("no memory for receive buffers");
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)end->buffers,
                                            .ring_entries = RECEIVE_BUFFERS};
    check_ring(io_uring_register_buf_ring(&end->ring, &registration, 0), "register_buf_ring");
    io_uring_buf_ring_init(end->buffers);
    for (uint16_t id = 0; id < RECEIVE_BUFFERS; id++)
        provide(end, id, id);
    io_uring_buf_ring_advance(end->buffers, RECEIVE_BUFFERS);
}

static struct io_uring_sqe *entry_for(struct end *end, enum operation operation, uint32_t line)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&end->ring);
    while (!entry) {
        check_ring(io_uring_submit(&end->ring), "io_uring_enter");
        entry = io_uring_get_sqe(&end->ring);
    }
    entry->user_data = (uint64_t)operation << 32 | line;
    return entry;
}

static void receive(struct end *end, uint32_t line)
{
    struct io_uring_sqe *entry = entry_for(end, OP_RECEIVE, line);
    uint64_t user_data = entry->user_data;
    io_uring_prep_recv_multishot(entry, end->lines[line].fd, NULL, 0, 0);
    entry->user_data = user_data;
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = 0;
}

static void send_rest(struct end *end, uint32_t number)
{
    struct line *line = &end->lines[number];
    struct io_uring_sqe *entry = entry_for(end, OP_SEND, number);
    uint64_t user_data = entry->user_data;
    io_uring_prep_send(entry, line->fd, line->sent + line->sent_from,
                       line->sent_bytes - line->sent_from, MSG_NOSIGNAL);
    entry->user_data = user_data;
    line->send_in_flight = true;
}

/* Sends what is there, unless a send is in flight: then it goes with the next. */
static void flush(struct end *end, uint32_t number)
{
    struct line *line = &end->lines[number];
    if (line->send_in_flight || line->fill_bytes == 0)
        return;
    uint8_t *free_again = line->sent;
    line->sent = line->fill;
    line->sent_bytes = line->fill_bytes;
    line->sent_from = 0;
    line->fill = free_again;
    line->fill_bytes = 0;
    send_rest(end, number);
}

static void put_frame(const struct end *end, struct line *line)
{
    memcpy(line->fill + line->fill_bytes, end->frame.bytes, end->frame.size);
    line->fill_bytes += end->frame.size;
}

/* A whole frame came: one goes out for it. */
static void on_frame(struct end *end, struct line *line)
{
    end->frames++;
    if (end->is_client) {
        int64_t *begun_ns = &line->begun_ns[line->begun_at];
        tg_histogram_record(&end->latency, (uint64_t)(end->now_ns - *begun_ns), 1);
        *begun_ns = end->now_ns;
        line->begun_at = line->begun_at + 1 < end->in_flight ? line->begun_at + 1 : 0;
    }
    put_frame(end, line);
}

static void cut(struct end *end, struct line *line, const uint8_t *bytes, uint32_t size)
{
    while (size > 0) {
        if (line->left == 0) {
            line->left = *bytes++;
            size--;
            continue;
        }
        uint32_t taken = line->left < size ? line->left : size;
        bytes += taken;
        size -= taken;
        line->left = (uint8_t)(line->left - taken);
        if (line->left == 0)
            on_frame(end, line);
    }
}

static void on_receive(struct end *end, uint32_t number, const struct io_uring_cqe *cqe,
                       int *returned)
{
    struct line *line = &end->lines[number];
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0)
            cut(end, line, end->memory + (size_t)id * RECEIVE_BYTES, (uint32_t)cqe->res);
        provide(end, id, (*returned)++);
    }
    if (cqe->res < 0 && cqe->res != -ENOBUFS)
        limits_die("receive: %s", strerror(-cqe->res));
    if (cqe->res == 0 && !atomic_load_explicit(&stopping, memory_order_relaxed))
        limits_die("the other end closed a connection");
    if (!(cqe->flags & IORING_CQE_F_MORE))
        receive(end, number);
    flush(end, number);
}

static void on_send(struct end *end, uint32_t number, int result)
{
    struct line *line = &end->lines[number];
    if (result < 0)
        limits_die("send: %s", strerror(-result));
    line->sent_from += (uint32_t)result;
    if (line->sent_from < line->sent_bytes) {
        send_rest(end, number);
        return;
    }
    line->send_in_flight = false;
    flush(end, number);
}

/* Waits until something happened, and does what there is to do. */
static void turn(struct end *end)
{
    struct __kernel_timespec wait = {.tv_nsec = 50 * TG_NS_PER_MS};
    struct io_uring_cqe *cqe;
    check_ring(io_uring_submit_and_wait_timeout(&end->ring, &cqe, 1, &wait, NULL),
               "io_uring_enter");
    end->now_ns = tg_clock_mono_ns();
    unsigned head, seen = 0;
    int returned = 0;
    io_uring_for_each_cqe(&end->ring, head, cqe)
    {
        uint32_t number = (uint32_t)cqe->user_data;
        if (cqe->user_data >> 32 == OP_RECEIVE)
            on_receive(end, number, cqe, &returned);
        else
            on_send(end, number, cqe->res);
        seen++;
    }
    io_uring_cq_advance(&end->ring, seen);
    if (returned > 0)
        io_uring_buf_ring_advance(end->buffers, returned);
}

static void lines_make(struct end *end, uint32_t count, uint32_t in_flight)
{
    end->lines = calloc(count, sizeof(*end->lines));
    end->line_count = count;
    end->in_flight = in_flight;
    size_t bytes = (size_t)in_flight * end->frame.size;
    for (uint32_t i = 0; end->lines && i < count; i++) {
        struct line *line = &end->lines[i];
        line->fill = malloc(bytes);
        line->sent = malloc(bytes);
        line->begun_ns = calloc(in_flight, sizeof(*line->begun_ns));
        if (!line->fill || !line->sent || !line->begun_ns)
            limits_die("no memory for %u connections", count);
    }
    if (!end->lines)
        limits_die("no memory for %u connections", count);
}

/* --- the two threads --- */

static void *serve(void *argument)
{
    struct end *end = argument;
    ring_open(end);
    for (uint32_t i = 0; i < end->line_count; i++)
        receive(end, i);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed))
        turn(end);
    return NULL;
}

/* Runs until `end_ns`; forgets what it counted at `count_from_ns`. Returns the seconds counted. */
static double ask(struct end *end, int64_t count_from_ns, int64_t end_ns)
{
    ring_open(end);
    end->now_ns = tg_clock_mono_ns();
    for (uint32_t i = 0; i < end->line_count; i++) {
        for (uint32_t k = 0; k < end->in_flight; k++) {
            end->lines[i].begun_ns[k] = end->now_ns;
            put_frame(end, &end->lines[i]);
        }
        receive(end, i);
        flush(end, i);
    }
    while (end->now_ns < count_from_ns)
        turn(end);
    int64_t begun_ns = end->now_ns;
    end->frames = 0;
    tg_histogram_reset(&end->latency);
    while (end->now_ns < end_ns)
        turn(end);
    return (double)(end->now_ns - begun_ns) / TG_NS_PER_S;
}

static void connect_all(struct end *server, struct end *client)
{
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
        listen(listener, CONNECTIONS_MOST) < 0)
        limits_check(errno, "listen");
    for (uint32_t i = 0; i < client->line_count; i++) {
        int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (to < 0 || connect(to, (struct sockaddr *)&address, size) < 0)
            limits_check(errno, "connect");
        int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (from < 0 || setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
            setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
            limits_check(errno, "accept");
        client->lines[i].fd = to;
        server->lines[i].fd = from;
    }
    close(listener);
}

/* As tidegate-load writes it, and as it is answered. */
static void frames_make(struct frame *asked, struct frame *answered, bool is_accepted)
{
    const struct tg_order order = {.sale_id = 1ull << 44,
                                   .user_id = 123456789,
                                   .unit_price_minor = 9900,
                                   .sku = (const uint8_t *)"A01-001-M-BL",
                                   .sku_bytes = 12,
                                   .external_id = (const uint8_t *)"LG00000000",
                                   .external_bytes = LIMITS_EXTERNAL_BYTES,
                                   .quantity = 1,
                                   .channel = 1};
    const struct tg_answer accepted = {.verdict = TG_ACCEPTED,
                                       .order_id = 1000000ull << TG_PARTITION_BITS,
                                       .unit_price_minor = 9900,
                                       .accepted_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS};
    const struct tg_answer sold_out = {.verdict = TG_SOLD_OUT};
    asked->size = (uint32_t)tg_order_frame(asked->bytes, 1000000, &order);
    answered->size =
        (uint32_t)tg_answer_frame(answered->bytes, 1000000, is_accepted ? &accepted : &sold_out);
    if (asked->size > BODY_BYTES_MOST || answered->size > BODY_BYTES_MOST)
        limits_die("a frame's length no longer fits into one byte");
}

int main(int argc, char **argv)
{
    uint64_t connections = 64, in_flight = 64, seconds = 5;
    const char *answer = "accepted";
    const struct limits_option options[] = {
        {.name = "connections", .number = &connections, .most = CONNECTIONS_MOST},
        {.name = "in-flight", .number = &in_flight, .most = IN_FLIGHT_MOST},
        {.name = "seconds", .number = &seconds, .most = 3600},
        {.name = "answer", .text = &answer}};
    limits_options(argc, argv, options, 4,
                   "usage: echo [--connections N] [--in-flight N] [--seconds S] "
                   "[--answer accepted|sold-out] [--json]");
    static struct end server, client;
    client.is_client = true;
    frames_make(&client.frame, &server.frame, strcmp(answer, "accepted") == 0);
    lines_make(&server, (uint32_t)connections, (uint32_t)in_flight);
    lines_make(&client, (uint32_t)connections, (uint32_t)in_flight);
    connect_all(&server, &client);

    pthread_t thread;
    limits_check(pthread_create(&thread, NULL, serve, &server), "pthread_create");
    int64_t from_ns = tg_clock_mono_ns() + WARMUP_NS;
    double counted_s = ask(&client, from_ns, from_ns + (int64_t)seconds * TG_NS_PER_S);
    atomic_store_explicit(&stopping, true, memory_order_relaxed);
    pthread_join(thread, NULL);
    const struct limits_figure figures[] = {
        {"connections", (double)connections},         {"in_flight", (double)in_flight},
        {"order_bytes", client.frame.size},           {"answer_bytes", server.frame.size},
        {"per_s", (double)client.frames / counted_s}, {"p50_us", limits_us(&client.latency, 0.5)},
        {"p99_us", limits_us(&client.latency, 0.99)}};
    limits_tell("echo", figures, sizeof(figures) / sizeof(figures[0]));
}
