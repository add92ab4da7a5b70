/* Layers between the wire and the frames, on a real loop with real sockets in one thread: the test
 * plays the peer and turns the loop by hand. Every wait is for something that must come; TURNS_MAX
 * turns without it are a failure. */
#include "net/conn.h"
#include "net/listener.h"
#include "net/loop.h"

#include "base/clock.h"
#include "base/waker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX 20000
#define HEARD_MAX (1 << 20)

/* --- a layer that turns bits: what passes twice is as it was --- */

struct turning {
    struct net_layer base;
    uint8_t mask;
    bool has_finished;
};

static uint32_t layers_alive;
static char finished[8]; /* the masks of those that have finished, in their order */

static struct net_layer *turning_create(void *context)
{
    struct turning *turning = calloc(1, sizeof(*turning));
    turning->mask = *(const uint8_t *)context;
    layers_alive++;
    return &turning->base;
}

static bool pass(struct turning *turning, const uint8_t *data, size_t bytes,
                 bool (*on)(struct net_layer *, const uint8_t *, size_t))
{
    uint8_t turned[512];
    while (bytes > 0) {
        size_t piece = bytes < sizeof(turned) ? bytes : sizeof(turned);
        for (size_t i = 0; i < piece; i++)
            turned[i] = data[i] ^ turning->mask;
        if (!on(&turning->base, turned, piece))
            return false;
        data += piece;
        bytes -= piece;
    }
    return true;
}

static bool down(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    return net_layer_down(layer, data, bytes);
}

static bool turning_take(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    return pass((struct turning *)layer, data, bytes, net_layer_up);
}

static bool turning_give(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    cr_assert(!((struct turning *)layer)->has_finished);
    return pass((struct turning *)layer, data, bytes, down);
}

static void turning_finish(struct net_layer *layer)
{
    struct turning *turning = (struct turning *)layer;
    cr_assert(!turning->has_finished);
    turning->has_finished = true;
    finished[strlen(finished)] = (char)turning->mask;
    net_layer_down(layer, &turning->mask, 1);
}

static void turning_destroy(struct net_layer *layer)
{
    layers_alive--;
    free(layer);
}

static const struct net_layer_kind turning_kind = {
    .name = "turning",
    .create = turning_create,
    .take = turning_take,
    .give = turning_give,
    .finish = turning_finish,
    .destroy = turning_destroy,
};

/* --- a layer that is multiplexed: each frame comes in one piece of the wire behind a byte 'F'; a
 * byte 'p' is a ping of its own, answered at once by 'q' --- */

#define KEPT_MAX 64

struct muxed {
    struct net_layer base;
    uint8_t kept[KEPT_MAX][64]; /* frames, their sizes in front */
    uint32_t first, count;
    bool is_draining;
};

static struct net_layer *muxed_create(void *context)
{
    (void)context;
    layers_alive++;
    return calloc(1, sizeof(struct muxed));
}

static void muxed_resume(struct net_layer *layer)
{
    struct muxed *muxed = (struct muxed *)layer;
    while (muxed->first < muxed->count && net_layer_may_rise(layer)) {
        const uint8_t *kept = muxed->kept[muxed->first++];
        net_layer_rise(layer, kept + 1, kept[0]);
    }
    net_layer_settle(layer);
    net_layer_waits(layer, muxed->first < muxed->count);
}

static bool muxed_take(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    struct muxed *muxed = (struct muxed *)layer;
    for (size_t at = 0; at < bytes;) {
        if (data[at] == 'p') {
            net_layer_down(layer, "q", 1);
            at++;
            continue;
        }
        cr_assert(data[at] == 'F' && muxed->count < KEPT_MAX);
        struct tg_bytes body;
        size_t used;
        enum tg_frame frame =
            tg_frame_next((struct tg_bytes){data + at + 1, bytes - at - 1}, &body, &used);
        cr_assert_eq(frame, TG_FRAME_WHOLE);
        uint8_t *kept = muxed->kept[muxed->count++];
        kept[0] = (uint8_t)used;
        memcpy(kept + 1, data + at + 1, used);
        at += 1 + used;
    }
    muxed_resume(layer);
    return true;
}

static bool muxed_give(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    return net_layer_down(layer, data, bytes);
}

static void muxed_drain(struct net_layer *layer)
{
    struct muxed *muxed = (struct muxed *)layer;
    muxed->is_draining = true;
    net_layer_down(layer, "d", 1);
}

static const struct net_layer_kind muxed_kind = {
    .name = "muxed",
    .create = muxed_create,
    .take = muxed_take,
    .give = muxed_give,
    .resume = muxed_resume,
    .drain = muxed_drain,
    .destroy = turning_destroy,
    .is_multiplexed = true,
};

/* --- the scene: one loop, a handler that answers at once or when told, one peer --- */

struct scene {
    struct net_loop *loop;
    struct tg_waker waker;
    int listen_fd;
    int peer;
    uint64_t handled[4096]; /* correlation ids in the order of their coming */
    uint32_t handled_count;
    uint32_t answer_bytes; /* of padding frames behind each answer */
    bool is_putting_off;
    struct net_conn *conn;   /* of the newest frame */
    uint32_t put_off;        /* frames that are not answered */
    uint32_t put_backs_left; /* frames that are put back */
    uint8_t heard[HEARD_MAX];
    size_t heard_bytes;
    bool has_ended; /* the peer heard the end */
};

static struct scene scene;

static void answer(struct net_conn *conn, uint64_t correlation_id)
{
    struct tg_answer says = {.verdict = TG_SOLD_OUT};
    uint8_t *room = net_conn_room(scene.loop, conn, TG_ANSWER_FRAME_BYTES_MAX);
    cr_assert(room);
    size_t size = tg_answer_frame(room, correlation_id, &says);
    net_conn_filled(scene.loop, conn, (uint32_t)size);
}

static void on_frame(void *context, struct net_conn *conn, struct tg_bytes body)
{
    (void)context;
    struct tg_envelope envelope;
    cr_assert_eq(tg_request_decode(body, &envelope), TG_DECODE_OK);
    if (scene.put_backs_left > 0) {
        scene.put_backs_left--;
        net_conn_put_back(scene.loop, conn, NET_LINE_WORK);
        return;
    }
    scene.conn = conn;
    scene.handled[scene.handled_count++] = envelope.correlation_id;
    if (scene.is_putting_off) {
        net_conn_begin(conn, 1);
        scene.put_off++;
        return;
    }
    answer(conn, envelope.correlation_id);
}

static void on_frames_end(void *context)
{
    (void)context;
}

static void begin(const struct net_endpoint *layers, uint32_t in_flight_max)
{
    struct tg_fault fault;
    struct net_address address = {.host = "127.0.0.1"};
    struct net_options options = {.connections_max = 4,
                                  .in_flight_max = in_flight_max,
                                  .output_bytes_max = 65536,
                                  .output_chunks = 256,
                                  .held_bytes_max = 1 << 20,
                                  .idle_timeout_ns = 60 * TG_NS_PER_S,
                                  .frame_timeout_ns = 60 * TG_NS_PER_S,
                                  .write_timeout_ns = 60 * TG_NS_PER_S};
    struct net_handler handler = {.on_frame = on_frame, .on_frames_end = on_frames_end};
    cr_assert_eq(net_listen(&address, &scene.listen_fd, &fault), TG_ERR_OK, "%s", fault.text);
    int small = 8192; /* inherited: sends come out short */
    cr_assert_eq(setsockopt(scene.listen_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    cr_assert_eq(tg_waker_init(&scene.waker, &fault), TG_ERR_OK, "%s", fault.text);
    struct net_endpoint endpoint = *layers;
    endpoint.fd = scene.listen_fd;
    cr_assert_eq(net_loop_create(&options, &endpoint, 1, scene.waker.event_fd, &handler,
                                 &scene.loop, &fault),
                 TG_ERR_OK, "%s", fault.text);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(address.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    scene.peer = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(setsockopt(scene.peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    cr_assert_eq(connect(scene.peer, (const struct sockaddr *)&to, sizeof(to)), 0);
    cr_assert_eq(fcntl(scene.peer, F_SETFL, O_NONBLOCK), 0);
}

static void turn(void)
{
    net_loop_wait(scene.loop, TG_NS_PER_MS);
    net_loop_handle(scene.loop, tg_clock_mono_ns());
    net_loop_flush(scene.loop);
}

static void hear(void)
{
    ssize_t got;
    while ((got = recv(scene.peer, scene.heard + scene.heard_bytes, HEARD_MAX - scene.heard_bytes,
                       0)) > 0)
        scene.heard_bytes += (size_t)got;
    scene.has_ended = scene.has_ended || got == 0;
}

/* Turns until `condition`; the peer reads, unless `in_silence`. */
#define TURN_UNTIL(condition, in_silence)                                                          \
    do {                                                                                           \
        uint32_t turns_ = 0;                                                                       \
        while (!(condition)) {                                                                     \
            cr_assert(turns_++ < TURNS_MAX, "waited in vain for " #condition);                     \
            turn();                                                                                \
            if (!(in_silence))                                                                     \
                hear();                                                                            \
        }                                                                                          \
    } while (0)

static void say(const void *data, size_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        ssize_t sent = send(scene.peer, from, bytes, MSG_NOSIGNAL);
        if (sent < 0) {
            cr_assert(errno == EAGAIN);
            turn();
            continue;
        }
        from += sent;
        bytes -= (size_t)sent;
    }
}

/* GetServerTime under that correlation id; returns its size. */
static size_t request(uint8_t *out, uint64_t correlation_id)
{
    Tidegate__V1__GetServerTimeRequest time = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &time;
    size_t size = tg_frame_prefix(out, (uint32_t)protobuf_c_message_get_packed_size(&request.base));
    return size + protobuf_c_message_pack(&request.base, out + size);
}

/* Says the requests from 1 to `count`, each bit turned. */
static void say_requests(uint32_t count, uint8_t mask)
{
    for (uint32_t i = 1; i <= count; i++) {
        uint8_t frame[64];
        size_t size = request(frame, i);
        for (size_t at = 0; at < size; at++)
            frame[at] ^= mask;
        say(frame, size);
    }
}

/* Whole answers that the peer has heard; they must come from 1 on, in their order. `*rest` is what
 * lies behind them. */
static uint32_t answers_heard(uint8_t mask, size_t *rest)
{
    static uint8_t plain[HEARD_MAX];
    for (size_t i = 0; i < scene.heard_bytes; i++)
        plain[i] = scene.heard[i] ^ mask;
    uint32_t count = 0;
    size_t at = 0, used;
    struct tg_bytes body;
    struct tg_envelope envelope;
    while (tg_frame_next_response((struct tg_bytes){plain + at, scene.heard_bytes - at}, &body,
                                  &used) == TG_FRAME_WHOLE &&
           tg_response_decode(body, &envelope) == TG_DECODE_OK && envelope.kind != 0) {
        cr_assert_eq(envelope.correlation_id, ++count);
        at += used;
    }
    if (rest)
        *rest = scene.heard_bytes - at;
    return count;
}

static void end(void)
{
    close(scene.peer);
    net_loop_drain(scene.loop);
    TURN_UNTIL(net_loop_drained(scene.loop), true);
    net_loop_destroy(scene.loop);
    close(scene.listen_fd);
    tg_waker_fini(&scene.waker);
    cr_assert_eq(layers_alive, 0);
}

static uint8_t mask_a = 0x5a, mask_b = 0x0f;

static struct net_endpoint one_layer(void)
{
    return (struct net_endpoint){.layer_count = 1, .layers = {{&turning_kind, &mask_a}}};
}

static struct net_endpoint muxed_layer(void)
{
    return (struct net_endpoint){.layer_count = 1, .layers = {{&muxed_kind, NULL}}};
}

/* --- what is promised --- */

Test(layer, changes_bytes_in_both_directions)
{
    struct net_endpoint layers = one_layer();
    begin(&layers, 64);
    say_requests(100, mask_a);
    TURN_UNTIL(answers_heard(mask_a, NULL) == 100, false);
    end();
}

Test(layer, of_two_the_lower_one_meets_the_wire)
{
    struct net_endpoint layers = {.layer_count = 2,
                                  .layers = {{&turning_kind, &mask_a}, {&turning_kind, &mask_b}}};
    begin(&layers, 64);
    say_requests(10, mask_a ^ mask_b);
    TURN_UNTIL(answers_heard(mask_a ^ mask_b, NULL) == 10, false);
    end();
}

Test(layer, is_fed_whatever_pieces_the_wire_makes)
{
    struct net_endpoint layers = one_layer();
    begin(&layers, 64);
    uint8_t frame[64];
    size_t size = request(frame, 1);
    for (size_t i = 0; i < size; i++) {
        uint8_t turned = frame[i] ^ mask_a;
        say(&turned, 1);
        turn();
    }
    TURN_UNTIL(answers_heard(mask_a, NULL) == 1, false);
    end();
}

Test(layer, holds_back_what_comes_beyond_the_requests_in_flight)
{
    struct net_endpoint layers = one_layer();
    begin(&layers, 4);
    scene.is_putting_off = true;
    say_requests(50, mask_a);
    uint64_t answered = 0;
    while (answered < 50) {
        TURN_UNTIL(scene.put_off > 0, false);
        cr_assert_leq(scene.put_off, 4);
        answer(scene.conn, scene.handled[answered++]);
        scene.put_off--;
        net_conn_end(scene.loop, scene.conn, 1);
    }
    TURN_UNTIL(answers_heard(mask_a, NULL) == 50, false);
    end();
}

Test(layer, loses_nothing_when_sends_are_short)
{
    struct net_endpoint layers = one_layer();
    begin(&layers, 64);
    say_requests(1, mask_a);
    TURN_UNTIL(scene.handled_count == 1, true);
    /* Far more than both sockets hold, and the peer does not read yet. */
    for (uint64_t i = 2; i <= 20000; i++)
        answer(scene.conn, i);
    for (int i = 0; i < 20; i++)
        turn();
    cr_assert(scene.conn->output_bytes > 0);
    TURN_UNTIL(answers_heard(mask_a, NULL) == 20000, false);
    cr_assert_eq(scene.conn->output_bytes, 0);
    end();
}

Test(layer, is_not_read_while_its_output_is_over_its_bound)
{
    struct net_endpoint layers = one_layer();
    begin(&layers, 64);
    say_requests(1, mask_a);
    TURN_UNTIL(scene.handled_count == 1, true);
    for (uint64_t i = 2; i <= 20000; i++)
        answer(scene.conn, i);
    turn();
    uint8_t frame[64];
    size_t size = request(frame, 20001);
    for (size_t i = 0; i < size; i++)
        frame[i] ^= mask_a;
    say(frame, size);
    for (int i = 0; i < 50; i++)
        turn();
    cr_assert_eq(scene.handled_count, 1);
    TURN_UNTIL(answers_heard(mask_a, NULL) == 20001, false);
    end();
}

Test(layer, says_goodbye_behind_the_last_answer_the_topmost_first)
{
    struct net_endpoint layers = {.layer_count = 2,
                                  .layers = {{&turning_kind, &mask_a}, {&turning_kind, &mask_b}}};
    begin(&layers, 64);
    scene.is_putting_off = true;
    say_requests(3, mask_a ^ mask_b);
    TURN_UNTIL(scene.put_off == 3, false);
    net_loop_drain(scene.loop);
    for (int i = 0; i < 5; i++)
        turn();
    cr_assert_str_empty(finished, "it still has requests to answer");
    for (uint64_t i = 1; i <= 3; i++)
        answer(scene.conn, i);
    net_conn_end(scene.loop, scene.conn, 3);
    TURN_UNTIL(scene.has_ended, false);
    size_t rest;
    cr_assert_eq(answers_heard(mask_a ^ mask_b, &rest), 3);
    cr_assert_eq(rest, 2, "a byte of each layer");
    cr_assert_eq(finished[0], (char)mask_b);
    cr_assert_eq(finished[1], (char)mask_a);
    end();
}

Test(layer, that_is_multiplexed_is_read_while_frames_wait)
{
    struct net_endpoint layers = muxed_layer();
    begin(&layers, 1);
    scene.is_putting_off = true;
    for (uint64_t i = 1; i <= 5; i++) {
        uint8_t frame[64] = {'F'};
        say(frame, 1 + request(frame + 1, i));
        TURN_UNTIL(scene.handled_count == 1, false);
        turn();
    }
    say("p", 1);
    TURN_UNTIL(scene.heard_bytes == 1 && scene.heard[0] == 'q', false);
    cr_assert_eq(scene.handled_count, 1);
    scene.heard_bytes = 0;
    for (uint64_t i = 0; i < 5; i++) {
        TURN_UNTIL(scene.put_off == 1, false);
        answer(scene.conn, scene.handled[i]);
        scene.put_off--;
        net_conn_end(scene.loop, scene.conn, 1);
    }
    TURN_UNTIL(answers_heard(0, NULL) == 5, false);
    end();
}

Test(layer, that_is_multiplexed_keeps_the_order_of_frames_that_are_put_back)
{
    struct net_endpoint layers = muxed_layer();
    begin(&layers, 64);
    scene.put_backs_left = 3;
    uint8_t frames[512];
    size_t size = 0;
    for (uint64_t i = 1; i <= 6; i++) {
        frames[size++] = 'F';
        size += request(frames + size, i);
    }
    say(frames, size);
    TURN_UNTIL(answers_heard(0, NULL) == 6, false);
    end();
}

Test(layer, that_is_multiplexed_outlives_a_request_that_fails)
{
    struct net_endpoint layers = muxed_layer();
    begin(&layers, 64);
    uint8_t frame[64] = {'F'};
    say(frame, 1 + request(frame + 1, 1));
    TURN_UNTIL(answers_heard(0, NULL) == 1, false);
    net_conn_fail(scene.loop, scene.conn, 2, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE,
                  "no such thing");
    TURN_UNTIL(answers_heard(0, NULL) == 2, false);
    cr_assert(net_conn_is_open(scene.conn));
    end();
}

Test(layer, that_is_multiplexed_is_told_of_a_drain_at_once)
{
    struct net_endpoint layers = muxed_layer();
    begin(&layers, 64);
    scene.is_putting_off = true;
    uint8_t frame[64] = {'F'};
    say(frame, 1 + request(frame + 1, 1));
    TURN_UNTIL(scene.put_off == 1, false);
    net_loop_drain(scene.loop);
    TURN_UNTIL(scene.heard_bytes == 1 && scene.heard[0] == 'd', false);
    say("p", 1); /* still heard: it may have to make room for what is not answered yet */
    TURN_UNTIL(scene.heard_bytes == 2 && scene.heard[1] == 'q', false);
    scene.heard_bytes = 0;
    answer(scene.conn, 1);
    net_conn_end(scene.loop, scene.conn, 1);
    TURN_UNTIL(scene.has_ended, false);
    cr_assert_eq(answers_heard(0, NULL), 1);
    end();
}
