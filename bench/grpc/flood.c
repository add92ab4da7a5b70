/* Orders over gRPC as fast as they are answered: `connections` of them, `streams` calls at a time
 * on each, one thread. Every answer is looked at: its grpc-status, and the verdict of its message.
 *
 *   flood HOST:PORT SALE_ID SKU PRICE CONNECTIONS STREAMS SECONDS
 *
 * Prints one line, orders per second and how many were of which kind; exits 1 when a call failed.
 * The HTTP/2 side is nghttp2's, as the server's: the two cost about the same. */
#include "net/listener.h"
#include "proto/codec.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define STREAMS_MAX     1024
#define HEAD_BYTES      5
#define OUT_BYTES       65536

/* One call under way. */
struct call {
    uint8_t request[HEAD_BYTES + TG_ORDER_FRAME_BYTES_MAX];
    size_t request_bytes, request_sent;
    uint8_t answer[HEAD_BYTES + 256];
    size_t answer_bytes;
    int64_t began_ns;
    bool is_ok; /* grpc-status 0 */
};

struct connection {
    int fd;
    nghttp2_session *session;
    struct call *calls;
    uint8_t out[OUT_BYTES]; /* what the socket did not take */
    size_t out_begin, out_end;
};

static struct {
    uint64_t sale_id;
    const char *sku;
    int64_t price_minor;
    uint32_t connections, streams;
    struct connection *all;
    struct tg_rng rng;
    uint64_t users;
    uint64_t verdicts[TG_VERDICT_COUNT];
    uint64_t failed, answered;
    bool is_over; /* no new calls */
    uint32_t open;
    uint64_t latency_us_sum, latency_us_max;
} flood;

static void die(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* --- calls --- */

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *context)
{
    (void)session;
    (void)stream_id;
    (void)context;
    struct call *call = source->ptr;
    size_t rest = call->request_bytes - call->request_sent;
    size_t piece = rest < room ? rest : room;
    memcpy(out, call->request + call->request_sent, piece);
    call->request_sent += piece;
    if (piece == rest)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)piece;
}

/* An order of a user of its own: the element of a batch without its tag and length. */
static void make_request(struct call *call)
{
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    for (size_t i = 0; i < sizeof(request_id); i += 8) {
        uint64_t word = tg_rng_next(&flood.rng);
        memcpy(request_id + i, &word, 8);
    }
    struct tg_order order = {
        .sale_id = flood.sale_id,
        .sku = (const uint8_t *)flood.sku,
        .sku_bytes = (uint8_t)strlen(flood.sku),
        .user_id = ++flood.users,
        .quantity = 1,
        .unit_price_minor = flood.price_minor,
    };
    memcpy(order.request_id, request_id, sizeof(request_id));
    uint8_t element[TG_ORDER_FRAME_BYTES_MAX];
    size_t bytes = tg_orders_element(element, &order);
    struct tg_bytes body = {.data = element, .size = bytes}, message;
    bool malformed;
    tg_orders_next(&body, &message, &malformed);
    call->request[0] = call->request[1] = call->request[2] = 0;
    call->request[3] = (uint8_t)(message.size >> 8);
    call->request[4] = (uint8_t)message.size;
    memcpy(call->request + HEAD_BYTES, message.data, message.size);
    call->request_bytes = HEAD_BYTES + message.size;
    call->request_sent = 0;
}

#define FIELD(name_, value_)                                                                       \
    {                                                                                              \
        .name = (uint8_t *)(name_), .value = (uint8_t *)(value_), .namelen = sizeof(name_) - 1,    \
        .valuelen = sizeof(value_) - 1,                                                            \
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                      \
    }

/* What a usual client sends with each call. */
static const nghttp2_nv request_fields[] = {
    FIELD(":method", "POST"),
    FIELD(":scheme", "http"),
    FIELD(":path", "/tidegate.v1.TidegateService/PlaceOrder"),
    FIELD(":authority", "127.0.0.1"),
    FIELD("te", "trailers"),
    FIELD("content-type", "application/grpc"),
    FIELD("user-agent", "tidegate-flood/1"),
};

static void begin_call(struct connection *connection, struct call *call)
{
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_request};
    make_request(call);
    call->answer_bytes = 0;
    call->is_ok = false;
    call->began_ns = tg_clock_mono_ns();
    if (nghttp2_submit_request(connection->session, NULL, request_fields,
                               sizeof(request_fields) / sizeof(request_fields[0]), &provider,
                               call) < 0)
        die("nghttp2_submit_request");
    flood.open++;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *context)
{
    (void)flags;
    (void)context;
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call && name_bytes == 11 && memcmp(name, "grpc-status", 11) == 0)
        call->is_ok = value_bytes == 1 && value[0] == '0';
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t bytes, void *context)
{
    (void)flags;
    (void)context;
    struct call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (!call || call->answer_bytes + bytes > sizeof(call->answer))
        return 0;
    memcpy(call->answer + call->answer_bytes, data, bytes);
    call->answer_bytes += bytes;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *context)
{
    (void)error_code;
    struct call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    struct tg_answer answer;
    struct tg_bytes message = {.data = call->answer + HEAD_BYTES,
                               .size = call->answer_bytes - HEAD_BYTES};
    bool is_read = call->is_ok && call->answer_bytes >= HEAD_BYTES &&
                   tg_answer_decode(message, &answer) == TG_DECODE_OK;
    uint64_t us = (uint64_t)(tg_clock_mono_ns() - call->began_ns) / 1000;
    flood.latency_us_sum += us;
    flood.latency_us_max = us > flood.latency_us_max ? us : flood.latency_us_max;
    flood.answered++;
    flood.open--;
    if (is_read)
        flood.verdicts[answer.verdict]++;
    else
        flood.failed++;
    if (!flood.is_over)
        begin_call(context, call);
    return 0;
}

/* --- connections --- */

static int connect_to(const char *address)
{
    struct net_address parsed;
    struct tg_fault fault;
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    if (net_address_parse(address, &parsed, &fault) != TG_ERR_OK) {
        fprintf(stderr, "flood: %s\n", fault.text);
        exit(2);
    }
    snprintf(port, sizeof(port), "%u", parsed.port);
    if (getaddrinfo(parsed.host, port, &hints, &found) != 0)
        die(address);
    int one = 1, fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        die(address);
    freeaddrinfo(found);
    return fd;
}

static void open_connection(struct connection *connection, const char *address,
                            const nghttp2_session_callbacks *callbacks)
{
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
    connection->fd = connect_to(address);
    connection->calls = calloc(flood.streams, sizeof(*connection->calls));
    if (!connection->calls ||
        nghttp2_session_client_new(&connection->session, callbacks, connection) != 0)
        die("a session");
    nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 1);
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
    for (uint32_t i = 0; i < flood.streams; i++)
        begin_call(connection, &connection->calls[i]);
}

static void send_out(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->out + connection->out_begin,
                        connection->out_end - connection->out_begin, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        die("send");
    connection->out_begin += sent > 0 ? (size_t)sent : 0;
    if (connection->out_begin == connection->out_end)
        connection->out_begin = connection->out_end = 0;
}

static void speak(struct connection *connection)
{
    const uint8_t *data;
    ssize_t bytes;
    while (connection->out_end + 17000 < OUT_BYTES &&
           (bytes = nghttp2_session_mem_send(connection->session, &data)) > 0) {
        memcpy(connection->out + connection->out_end, data, (size_t)bytes);
        connection->out_end += (size_t)bytes;
    }
    if (connection->out_end > connection->out_begin)
        send_out(connection);
}

static void listen_to(struct connection *connection)
{
    static uint8_t in[65536];
    ssize_t got = recv(connection->fd, in, sizeof(in), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        die("the server closed a connection");
    if (got > 0 && nghttp2_session_mem_recv(connection->session, in, (size_t)got) < 0)
        die("HTTP/2");
}

static void report(double seconds)
{
    printf("%.0f orders/s, %" PRIu64 " in %.2f s, %u connections x %u streams; mean %" PRIu64
           " us, max %" PRIu64 " us;",
           (double)flood.answered / seconds, flood.answered, seconds, flood.connections,
           flood.streams, flood.latency_us_sum / (flood.answered ? flood.answered : 1),
           flood.latency_us_max);
    for (int verdict = 0; verdict < TG_VERDICT_COUNT; verdict++)
        if (flood.verdicts[verdict] > 0)
            printf(" %s %" PRIu64, tg_verdict_name(verdict), flood.verdicts[verdict]);
    printf(" failed %" PRIu64 "\n", flood.failed);
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "flood HOST:PORT SALE_ID SKU PRICE CONNECTIONS STREAMS SECONDS\n");
        return 2;
    }
    flood.sale_id = strtoull(argv[2], NULL, 10);
    flood.sku = argv[3];
    flood.price_minor = strtoll(argv[4], NULL, 10);
    flood.connections = (uint32_t)strtoul(argv[5], NULL, 10);
    flood.streams = (uint32_t)strtoul(argv[6], NULL, 10);
    double seconds = strtod(argv[7], NULL);
    if (flood.connections == 0 || flood.connections > CONNECTIONS_MAX || flood.streams == 0 ||
        flood.streams > STREAMS_MAX)
        return 2;
    tg_rng_init(&flood.rng, (uint64_t)tg_clock_wall_ns());

    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        die("callbacks");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);

    int epoll = epoll_create1(0);
    flood.all = calloc(flood.connections, sizeof(*flood.all));
    if (epoll < 0 || !flood.all)
        die("memory");
    for (uint32_t i = 0; i < flood.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        open_connection(&flood.all[i], argv[1], callbacks);
        epoll_ctl(epoll, EPOLL_CTL_ADD, flood.all[i].fd, &event);
        speak(&flood.all[i]);
    }
    int64_t began_ns = tg_clock_mono_ns();
    int64_t end_ns = began_ns + (int64_t)(seconds * 1e9);
    int64_t now_ns = began_ns;
    while (flood.open > 0 && now_ns < end_ns + 10 * TG_NS_PER_S) {
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, 100);
        for (int i = 0; i < count; i++)
            listen_to(&flood.all[events[i].data.u32]);
        for (int i = 0; i < count; i++)
            speak(&flood.all[events[i].data.u32]);
        now_ns = tg_clock_mono_ns();
        flood.is_over = now_ns >= end_ns;
    }
    report((double)(now_ns - began_ns) / 1e9);
    return flood.failed == 0 && flood.open == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
