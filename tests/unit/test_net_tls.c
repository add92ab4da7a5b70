/* The layer of TLS on a real loop with real sockets, in one thread: the test plays all peers and
 * turns the loop by hand. Every wait is for something that must come. */
#include "net/tls.h"

#include "base/clock.h"
#include "base/waker.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/loop.h"
#include "tests/lib/certs.h"
#include "tests/lib/tree.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX 20000
#define PEERS_MAX 64

struct peer {
    int fd;
    struct tls_session *session;
    uint8_t clear[65536];
    size_t clear_bytes;
    bool has_heard; /* anything at all */
    bool has_ended; /* the socket */
};

static struct {
    char dir[64];
    struct net_loop *loop;
    struct tg_waker waker;
    struct net_address address;
    int listen_fd;
    struct net_tls tls;
    struct tls_context *client;
    struct peer peers[PEERS_MAX];
    uint32_t handled;
    uint32_t put_backs_left; /* frames that are put back */
} scene;

/* --- the server --- */

static void on_frame(void *context, struct net_conn *conn, struct tg_bytes body)
{
    (void)context;
    struct tg_envelope envelope;
    struct tg_answer says = {.verdict = TG_SOLD_OUT};
    cr_assert_eq(tg_request_decode(body, &envelope), TG_DECODE_OK);
    if (scene.put_backs_left > 0) {
        scene.put_backs_left--;
        net_conn_put_back(scene.loop, conn, NET_LINE_WORK);
        return;
    }
    scene.handled++;
    uint8_t *room = net_conn_room(scene.loop, conn, TG_ANSWER_FRAME_BYTES_MAX);
    cr_assert(room);
    net_conn_filled(scene.loop, conn,
                    (uint32_t)tg_answer_frame(room, envelope.correlation_id, &says));
}

static void on_frames_end(void *context)
{
    (void)context;
}

/* A layer above that speaks first, as HTTP/2 does, and hands everything else through. */
static struct net_layer *greeter_create(void *context)
{
    (void)context;
    return calloc(1, sizeof(struct net_layer));
}

static void greeter_begin(struct net_layer *layer)
{
    net_layer_down(layer, "settings!", 9);
}

static bool greeter_take(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    net_layer_down(layer, "taken!", 6); /* at once, not at the flush */
    return net_layer_up(layer, data, bytes);
}

static bool greeter_give(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    return net_layer_down(layer, data, bytes);
}

static void greeter_destroy(struct net_layer *layer)
{
    free(layer);
}

static const struct net_layer_kind greeter_kind = {.name = "greeter",
                                                   .create = greeter_create,
                                                   .begin = greeter_begin,
                                                   .take = greeter_take,
                                                   .give = greeter_give,
                                                   .destroy = greeter_destroy};

static struct tls_context *open_server(void)
{
    struct tls_server_options options = {.certificate = certs_path(scene.dir, "server", "pem"),
                                         .key = certs_path(scene.dir, "server", "key")};
    struct tls_context *context;
    struct tg_fault fault;
    cr_assert_eq(tls_server_open(&options, &context, &fault), TG_ERR_OK, "%s", fault.text);
    return context;
}

static void begin(bool greets)
{
    struct tg_fault fault;
    struct net_options options = {.connections_max = PEERS_MAX,
                                  .in_flight_max = 1000,
                                  .output_bytes_max = 4096,
                                  .output_chunks = 1024,
                                  .held_bytes_max = 1 << 20,
                                  .idle_timeout_ns = 60 * TG_NS_PER_S,
                                  .frame_timeout_ns = 60 * TG_NS_PER_S,
                                  .write_timeout_ns = 60 * TG_NS_PER_S};
    struct net_handler handler = {.on_frame = on_frame, .on_frames_end = on_frames_end};
    strcpy(scene.dir, "/tmp/tidegate-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(scene.dir));
    certs_make_usual(scene.dir);
    scene.tls.context = open_server();
    scene.tls.protocol = TLS_PROTOCOL_NATIVE;
    scene.tls.handshake_timeout_ns = 60 * TG_NS_PER_S;
    struct tls_client_options client = {.ca = certs_path(scene.dir, "ca", "pem")};
    cr_assert_eq(tls_client_open(&client, &scene.client, &fault), TG_ERR_OK, "%s", fault.text);
    strcpy(scene.address.host, "127.0.0.1");
    cr_assert_eq(net_listen(&scene.address, &scene.listen_fd, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(tg_waker_init(&scene.waker, &fault), TG_ERR_OK, "%s", fault.text);
    struct net_endpoint endpoint = {
        .fd = scene.listen_fd,
        .layer_count = greets ? 2 : 1,
        .layers = {{.kind = &net_tls_kind, .context = &scene.tls}, {.kind = &greeter_kind}}};
    cr_assert_eq(net_loop_create(&options, &endpoint, 1, scene.waker.event_fd, &handler,
                                 &scene.loop, &fault),
                 TG_ERR_OK, "%s", fault.text);
}

static void turn(void)
{
    net_loop_wait(scene.loop, TG_NS_PER_MS);
    net_loop_handle(scene.loop, tg_clock_mono_ns());
    net_loop_flush(scene.loop);
}

/* --- peers --- */

static bool on_out(void *context, const void *data, size_t bytes)
{
    const struct peer *peer = context;
    const uint8_t *from = data;
    while (bytes > 0) {
        ssize_t sent = send(peer->fd, from, bytes, MSG_NOSIGNAL);
        cr_assert(sent >= 0 || errno == EAGAIN);
        if (sent < 0)
            turn();
        from += sent > 0 ? sent : 0;
        bytes -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

static void peer_connect(struct peer *peer)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(scene.address.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct tls_session_options options = {
        .protocol = TLS_PROTOCOL_NATIVE, .name = "127.0.0.1", .out = on_out, .out_context = peer};
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(peer->fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    cr_assert_eq(fcntl(peer->fd, F_SETFL, O_NONBLOCK), 0);
    cr_assert_eq(tls_session_open(scene.client, &options, &peer->session, NULL), TG_ERR_OK);
}

static void hear(struct peer *peer)
{
    uint8_t bytes[16384];
    ssize_t got;
    while ((got = recv(peer->fd, bytes, sizeof(bytes), 0)) > 0) {
        size_t clear;
        peer->has_heard = true;
        tls_session_feed(peer->session, bytes, (size_t)got);
        while ((clear = tls_session_read(peer->session, peer->clear + peer->clear_bytes,
                                         sizeof(peer->clear) - peer->clear_bytes)) > 0)
            peer->clear_bytes += clear;
    }
    peer->has_ended = peer->has_ended || got == 0;
}

static bool is_open(const struct peer *peer)
{
    return tls_session_state(peer->session) == TLS_OPEN;
}

#define TURN_UNTIL(peer, condition)                                                                \
    do {                                                                                           \
        uint32_t turns_ = 0;                                                                       \
        while (!(condition)) {                                                                     \
            cr_assert(turns_++ < TURNS_MAX, "waited in vain for " #condition);                     \
            turn();                                                                                \
            hear(peer);                                                                            \
        }                                                                                          \
    } while (0)

static void shake_hands(struct peer *peer)
{
    peer_connect(peer);
    tls_session_read(peer->session, NULL, 0);
    TURN_UNTIL(peer, is_open(peer));
}

static void end(uint32_t peers)
{
    for (uint32_t i = 0; i < peers; i++) {
        tls_session_close(scene.peers[i].session);
        close(scene.peers[i].fd);
    }
    net_loop_destroy(scene.loop);
    tls_context_close(scene.tls.context);
    tls_context_close(scene.client);
    close(scene.listen_fd);
    tree_remove(scene.dir);
}

/* `count` requests in one piece. */
static void ask(struct peer *peer, uint32_t count)
{
    static uint8_t frames[65536];
    size_t used = 0;
    for (uint32_t i = 1; i <= count; i++) {
        Tidegate__V1__GetServerTimeRequest time = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        request.correlation_id = i;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
        request.get_server_time = &time;
        used += tg_frame_prefix(frames + used,
                                (uint32_t)protobuf_c_message_get_packed_size(&request.base));
        used += protobuf_c_message_pack(&request.base, frames + used);
        cr_assert_lt(used, sizeof(frames) - 64);
    }
    cr_assert(tls_session_write(peer->session, frames, used));
}

/* Whole answers heard, which must come from 1 on, in their order. */
static uint32_t answers(const struct peer *peer)
{
    uint32_t count = 0;
    size_t at = 0, used;
    struct tg_bytes body;
    struct tg_envelope envelope;
    while (at < peer->clear_bytes &&
           tg_frame_next_response((struct tg_bytes){peer->clear + at, peer->clear_bytes - at},
                                  &body, &used) == TG_FRAME_WHOLE) {
        cr_assert_eq(tg_response_decode(body, &envelope), TG_DECODE_OK);
        cr_assert_eq(envelope.correlation_id, ++count);
        at += used;
    }
    return count;
}

/* --- */

/* Sixty-four hellos lie there when a turn begins. No machine answers them in half a millisecond, so
 * they take several turns, and each of them some. */
Test(net_tls, a_turn_shakes_few_hands)
{
    begin(false);
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        peer_connect(&scene.peers[i]);
    TURN_UNTIL(&scene.peers[0], net_loop_stats(scene.loop)->open == PEERS_MAX);
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        tls_session_read(scene.peers[i].session, NULL, 0);
    uint32_t answered = 0, most = 0, before;
    for (uint32_t turns = 0; answered < PEERS_MAX; turns++) {
        cr_assert_lt(turns, TURNS_MAX);
        turn();
        before = answered;
        answered = 0;
        for (uint32_t i = 0; i < PEERS_MAX; i++) {
            uint8_t byte;
            answered += recv(scene.peers[i].fd, &byte, 1, MSG_PEEK) == 1;
        }
        most = answered - before > most ? answered - before : most;
    }
    cr_assert_lt(most, PEERS_MAX / 2, "%u in one turn", most);
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        TURN_UNTIL(&scene.peers[i], is_open(&scene.peers[i]));
    end(PEERS_MAX);
}

/* A byte at a time, whatever it is that is cut. */
Test(net_tls, a_hello_in_pieces_is_the_same_hello)
{
    begin(false);
    struct peer *peer = &scene.peers[0];
    uint8_t hello[1024];
    peer_connect(peer);
    int fd = peer->fd, ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer->fd = ends[0]; /* to see what it says before the server does */
    tls_session_read(peer->session, NULL, 0);
    ssize_t bytes = recv(ends[1], hello, sizeof(hello), 0);
    peer->fd = fd;
    for (ssize_t i = 0; i < bytes; i++) {
        cr_assert_eq(send(fd, hello + i, 1, 0), 1);
        turn();
    }
    TURN_UNTIL(peer, is_open(peer));
    ask(peer, 3);
    TURN_UNTIL(peer, answers(peer) == 3);
    close(ends[0]);
    close(ends[1]);
    end(1);
}

/* More in one record than its output may hold, and then a goodbye on a socket that stays open: all
 * of it is answered before ours comes. */
Test(net_tls, what_came_before_a_goodbye_is_answered)
{
    begin(false);
    struct peer *peer = &scene.peers[0];
    shake_hands(peer);
    scene.put_backs_left = 3;
    ask(peer, 1000);
    tls_session_finish(peer->session);
    TURN_UNTIL(peer, tls_session_state(peer->session) == TLS_ENDED);
    cr_assert_eq(answers(peer), 1000);
    TURN_UNTIL(peer, peer->has_ended);
    end(1);
}

/* What lies above speaks before the handshake is over: it is kept, and comes first. */
Test(net_tls, what_is_said_too_early_comes_first)
{
    begin(true);
    struct peer *peer = &scene.peers[0];
    shake_hands(peer);
    ask(peer, 1);
    TURN_UNTIL(peer, scene.handled == 1 && peer->clear_bytes > 15);
    cr_assert_arr_eq(peer->clear, "settings!taken!", 15);
    end(1);
}
