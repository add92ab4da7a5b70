/* The gRPC layer on a real loop with a real socket in one thread: the test plays a peer that sends
 * HTTP/2 byte by byte as it is told, and turns the loop by hand. For moments that a test from
 * outside cannot hit. Every wait is for something that must come; many turns without it are a
 * failure. */
#include "net/conn.h"
#include "net/grpc.h"
#include "net/listener.h"

#include "base/clock.h"
#include "base/waker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX  20000
#define HEARD_MAX  65536
#define FRAMES_MAX 64
#define HELD_MAX   (32 * 1024)

/* Of HTTP/2. */
enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    GOAWAY = 7
};
enum {
    END_STREAM = 1,
    END_HEADERS = 4
};

/* A frame that the handler took. */
struct taken {
    uint32_t kind;
    uint64_t correlation_id;
    int64_t deadline_ns;
};

static struct scene {
    struct net_grpc *grpc;
    struct net_loop *loop;
    struct tg_waker waker;
    int listen_fd;
    int peer;
    bool is_putting_back; /* whatever comes ... */
    uint32_t put_backs;
    struct taken taken[FRAMES_MAX]; /* ... or takes it, and never answers */
    uint32_t taken_count;
    uint8_t heard[HEARD_MAX];
    size_t heard_bytes;
    bool has_ended; /* the peer heard the end */
} scene;

static void on_frame(void *context, struct net_conn *conn, struct tg_bytes body)
{
    (void)context;
    struct tg_envelope envelope;
    cr_assert_eq(tg_request_decode(body, &envelope), TG_DECODE_OK);
    if (scene.is_putting_back) {
        scene.put_backs++;
        net_conn_put_back(scene.loop, conn, NET_LINE_WORK);
        return;
    }
    cr_assert_lt(scene.taken_count, FRAMES_MAX);
    scene.taken[scene.taken_count++] = (struct taken){.kind = envelope.kind,
                                                      .correlation_id = envelope.correlation_id,
                                                      .deadline_ns = net_conn_deadline_ns(conn)};
}

static void on_frames_end(void *context)
{
    (void)context;
}

static void listen_and_connect(const struct net_options *options)
{
    struct tg_fault fault;
    struct net_address address = {.host = "127.0.0.1"};
    struct net_handler handler = {.on_frame = on_frame, .on_frames_end = on_frames_end};
    cr_assert_eq(net_listen(&address, &scene.listen_fd, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(tg_waker_init(&scene.waker, &fault), TG_ERR_OK, "%s", fault.text);
    struct net_endpoint endpoint = {
        .fd = scene.listen_fd, .layer_count = 1, .layers = {{&net_grpc_kind, scene.grpc}}};
    cr_assert_eq(
        net_loop_create(options, &endpoint, 1, scene.waker.event_fd, &handler, &scene.loop, &fault),
        TG_ERR_OK, "%s", fault.text);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(address.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    scene.peer = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(scene.peer, (const struct sockaddr *)&to, sizeof(to)), 0);
    cr_assert_eq(fcntl(scene.peer, F_SETFL, O_NONBLOCK), 0);
}

static void turn(void)
{
    net_loop_wait(scene.loop, TG_NS_PER_MS);
    net_loop_handle(scene.loop, tg_clock_mono_ns());
    net_loop_flush(scene.loop);
    ssize_t got;
    while ((got = recv(scene.peer, scene.heard + scene.heard_bytes, HEARD_MAX - scene.heard_bytes,
                       0)) > 0)
        scene.heard_bytes += (size_t)got;
    scene.has_ended = scene.has_ended || got == 0;
}

#define TURN_UNTIL(condition)                                                                      \
    for (uint32_t turns_ = 0; !(condition); turn())                                                \
    cr_assert(turns_++ < TURNS_MAX, "waited in vain for " #condition)

/* --- what the peer says --- */

static void say(const void *data, size_t bytes)
{
    cr_assert_eq(send(scene.peer, data, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

static void say_frame(uint8_t type, uint8_t flags, uint8_t stream, const void *payload,
                      size_t bytes)
{
    const uint8_t header[] = {0,     (uint8_t)(bytes >> 8), (uint8_t)bytes, type, flags, 0, 0, 0,
                              stream};
    say(header, sizeof(header));
    if (bytes > 0)
        say(payload, bytes);
}

/* A literal header field, not indexed, not compressed. */
static size_t put_field(uint8_t *out, const char *name, const char *value)
{
    size_t name_bytes = strlen(name), value_bytes = strlen(value);
    cr_assert(name_bytes < 127 && value_bytes < 127);
    *out++ = 0;
    *out++ = (uint8_t)name_bytes;
    memcpy(out, name, name_bytes);
    out += name_bytes;
    *out++ = (uint8_t)value_bytes;
    memcpy(out, value, value_bytes);
    return 3 + name_bytes + value_bytes;
}

static void say_headers(uint8_t stream, const char *path, const char *name, const char *value)
{
    uint8_t block[512];
    size_t bytes = put_field(block, ":method", "POST");
    bytes += put_field(block + bytes, ":scheme", "http");
    bytes += put_field(block + bytes, ":authority", "here");
    bytes += put_field(block + bytes, ":path", path);
    bytes += put_field(block + bytes, "content-type", "application/grpc");
    if (value)
        bytes += put_field(block + bytes, name, value);
    say_frame(HEADERS, END_HEADERS, stream, block, bytes);
}

static const uint8_t empty_message[5];

/* A whole call of GetServerTime. */
static void say_call(uint8_t stream, const char *authorization)
{
    say_headers(stream, "/tidegate.v1.TidegateService/GetServerTime", "authorization",
                authorization);
    say_frame(DATA, END_STREAM, stream, empty_message, sizeof(empty_message));
}

/* --- what it hears --- */

static uint32_t number(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* Frames of that type and stream, with at least these flags. */
static uint32_t heard(uint8_t type, uint8_t flags, uint32_t stream)
{
    uint32_t count = 0;
    size_t at = 0;
    while (scene.heard_bytes - at >= 9) {
        const uint8_t *frame = scene.heard + at;
        size_t whole = 9 + number(frame, 3);
        if (scene.heard_bytes - at < whole)
            break;
        count += frame[3] == type && (frame[4] & flags) == flags && number(frame + 5, 4) == stream;
        at += whole;
    }
    return count;
}

/* --- the scene --- */

/* `write_ns`: how long an answer may stand still. */
static void begin_with(int64_t write_ns, const void *settings, size_t settings_bytes)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct tg_fault fault;
    const int64_t long_ns = 600 * TG_NS_PER_S;
    struct net_grpc_options grpc = {.streams_max = 8,
                                    .request_timeout_ns = long_ns,
                                    .write_timeout_ns = write_ns,
                                    .idle_timeout_ns = long_ns};
    struct net_options options = {.connections_max = 4,
                                  .in_flight_max = 64,
                                  .output_bytes_max = 65536,
                                  .output_chunks = 256,
                                  .held_bytes_max = HELD_MAX,
                                  .idle_timeout_ns = long_ns,
                                  .frame_timeout_ns = long_ns,
                                  .write_timeout_ns = long_ns};
    cr_assert_eq(net_grpc_create(&grpc, &scene.grpc, &fault), TG_ERR_OK, "%s", fault.text);
    listen_and_connect(&options);
    say(preface, sizeof(preface) - 1);
    say_frame(SETTINGS, 0, 0, settings, settings_bytes);
    TURN_UNTIL(heard(SETTINGS, 0, 0) == 2); /* its own, and that it has seen ours */
}

static void begin(void)
{
    begin_with(600 * TG_NS_PER_S, NULL, 0);
}

static void end(void)
{
    close(scene.peer);
    net_loop_drain(scene.loop);
    for (uint32_t turns = 0; !net_loop_drained(scene.loop); turns++) {
        cr_assert_lt(turns, TURNS_MAX);
        net_loop_wait(scene.loop, TG_NS_PER_MS);
        net_loop_handle(scene.loop, tg_clock_mono_ns());
        net_loop_flush(scene.loop);
    }
    net_loop_destroy(scene.loop);
    net_grpc_destroy(scene.grpc);
    close(scene.listen_fd);
    tg_waker_fini(&scene.waker);
}

/* --- what is promised --- */

Test(grpc_layer, says_goaway_to_a_connection_without_calls_before_it_ends)
{
    begin();
    net_loop_drain(scene.loop);
    TURN_UNTIL(scene.has_ended);
    cr_assert_eq(heard(GOAWAY, 0, 0), 1);
    end();
}

Test(grpc_layer, says_goaway_to_one_that_breaks_the_rules_before_it_ends)
{
    begin();
    say_frame(DATA, END_STREAM, 0, "x", 1);
    TURN_UNTIL(scene.has_ended);
    cr_assert_eq(heard(GOAWAY, 0, 0), 1);
    end();
}

/* Its frame would never come again: the drain waited until its time was over. */
Test(grpc_layer, ends_a_call_whose_frame_was_put_back_when_it_drains)
{
    begin();
    scene.is_putting_back = true;
    say_call(1, NULL);
    TURN_UNTIL(scene.put_backs > 0);
    net_loop_drain(scene.loop);
    TURN_UNTIL(scene.has_ended);
    cr_assert_eq(heard(HEADERS, END_STREAM, 1), 1, "it has its status");
    cr_assert_eq(scene.taken_count, 0, "nothing was done");
    end();
}

/* Whose deadline it got, it would have been refused as late: and what came behind it would have
 * been done in the name of the token before. */
Test(grpc_layer, hands_up_a_token_that_waited_although_another_call_was_cancelled)
{
    static const uint8_t cancel[] = {0, 0, 0, 8};
    begin();
    say_call(1, "Bearer first");
    TURN_UNTIL(scene.taken_count == 2);
    cr_assert_eq(scene.taken[0].kind, TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE);
    scene.is_putting_back = true;
    say_call(3, "Bearer second");
    TURN_UNTIL(scene.put_backs > 0);
    say_frame(RST_STREAM, 0, 1, cancel, sizeof(cancel));
    TURN_UNTIL(net_grpc_stats(scene.grpc)->cancelled == 1);
    scene.is_putting_back = false;
    TURN_UNTIL(scene.taken_count == 4);
    cr_assert_eq(scene.taken[2].kind, TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE);
    cr_assert_eq(scene.taken[2].deadline_ns, 0);
    cr_assert_eq(scene.taken[3].kind, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME);
    end();
}

Test(grpc_layer, puts_the_status_behind_what_was_answered_before_a_compressed_message)
{
    static const uint8_t list[] = {0, 0, 0, 0, 2, 0x3a, 0}, is_compressed[] = {1, 0, 0, 0, 0};
    begin();
    say_headers(1, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", NULL, NULL);
    say_frame(DATA, 0, 1, list, sizeof(list));
    say_frame(DATA, 0, 1, is_compressed, sizeof(is_compressed));
    TURN_UNTIL(heard(HEADERS, END_STREAM, 1) == 1);
    cr_assert_eq(heard(HEADERS, 0, 1), 2, "the answer's own, and the status");
    cr_assert_eq(heard(DATA, 0, 1), 1, "the first message is answered");
    end();
}

/* A stream waits for its peer for as long as it lives, and no longer. */
Test(grpc_layer, resets_a_stream_whose_deadline_came_and_whose_peer_takes_nothing)
{
    static const uint8_t no_window[] = {0, 4, 0, 0, 0, 0};
    begin_with(TG_NS_PER_MS, no_window, sizeof(no_window));
    say_headers(1, "/grpc.health.v1.Health/Watch", "grpc-timeout", "1m");
    say_frame(DATA, END_STREAM, 1, empty_message, sizeof(empty_message));
    TURN_UNTIL(heard(RST_STREAM, 0, 1) == 1);
    cr_assert_eq(net_grpc_stats(scene.grpc)->ended[NET_GRPC_DEADLINE_EXCEEDED], 1);
    cr_assert_eq(net_grpc_stats(scene.grpc)->ended[NET_GRPC_RESOURCE_EXHAUSTED], 0);
    end();
}

/* The memory for what waits has room for the message, and none for its frame beside it. */
Test(grpc_layer, ends_a_call_alone_when_there_is_no_memory_to_let_its_frame_wait)
{
    static const uint8_t message[5 + 1000] = {0, 0, 0, 1000 >> 8, 1000 & 0xff};
    begin();
    scene.is_putting_back = true;
    say_headers(1, "/tidegate.v1.TidegateService/GetServerTime", NULL, NULL);
    say_frame(DATA, END_STREAM, 1, message, sizeof(message));
    TURN_UNTIL(heard(HEADERS, END_STREAM, 1) == 1);
    cr_assert_eq(net_grpc_stats(scene.grpc)->ended[NET_GRPC_RESOURCE_EXHAUSTED], 1);
    scene.is_putting_back = false;
    say_call(3, NULL);
    TURN_UNTIL(scene.taken_count == 1);
    cr_assert_eq(heard(GOAWAY, 0, 0), 0);
    end();
}
