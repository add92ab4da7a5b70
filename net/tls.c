#include "net/tls.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"
#include "net/speech.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tls_layer {
    struct net_layer base;
    struct net_tls *shared;
    struct tls_session *session; /* NULL before the first bytes */
    int64_t began_ns;
    bool is_deaf; /* nothing more is taken: it has ended, or was refused */
    bool is_mute; /* nothing more is given: what is above speaks to nobody */
    uint8_t first[NET_SPEECH_TELLING_BYTES];
    uint32_t first_bytes;
    uint8_t *held; /* waits for its handshake */
    uint32_t held_bytes;
    uint8_t *early; /* given before the handshake was over */
    uint32_t early_bytes;
};

static struct tls_layer *of(struct net_layer *layer)
{
    return (struct tls_layer *)layer;
}

static struct net_layer *create(void *context)
{
    struct tls_layer *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return NULL;
    tls->shared = context;
    return &tls->base;
}

static void begin(struct net_layer *layer)
{
    of(layer)->began_ns = layer->loop->now_ns;
}

static void let_go(struct tls_layer *tls)
{
    if (tls->held_bytes > 0)
        net_layer_hold(&tls->base, -(int64_t)tls->held_bytes);
    free(tls->held);
    tls->held = NULL;
    tls->held_bytes = 0;
}

static void destroy(struct net_layer *layer)
{
    struct tls_layer *tls = of(layer);
    let_go(tls);
    tls_session_close(tls->session);
    free(tls->early);
    free(tls);
}

static bool on_out(void *context, const void *data, size_t bytes)
{
    return net_layer_down(context, data, bytes);
}

/* --- refusals --- */

static void tell(const struct tls_layer *tls, const char *what, const char *why)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
    } peer = {.storage = {0}};
    socklen_t size = sizeof(peer);
    char host[64] = "somewhere", port[8] = "";
    if (getpeername(tls->base.conn->fd, &peer.any, &size) == 0)
        getnameinfo(&peer.any, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV);
    tg_log_warn("%s, from %s:%s: %s", what, host, port, why);
}

static const char words[] = "this port speaks TLS: connect with TLS (tidegatectl: --tls)";

/* In what the peer speaks, as far as there is such a thing. False, as `take` has it. */
static bool refuse(struct tls_layer *tls, enum net_speech speech)
{
    uint8_t out[NET_SPEECH_ANSWER_BYTES];
    size_t bytes = net_speech_answer(speech, NET_SPEECH_INADEQUATE_SECURITY, out, words);
    if (bytes == 0 && strcmp(tls->shared->protocol, TLS_PROTOCOL_NATIVE) == 0)
        bytes = net_conn_refusal(out, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME, words);
    tg_assert(bytes <= sizeof(out));
    tell(tls, "plain bytes on a port that speaks TLS", "refused");
    tls->is_deaf = tls->is_mute = true;
    net_layer_down(&tls->base, out, bytes);
    return false;
}

/* The session has failed; its alert went down already. False, as `take` has it. */
static bool give_up(struct tls_layer *tls, bool was_open)
{
    tls->is_deaf = tls->is_mute = true;
    tell(tls, was_open ? "a TLS connection broke" : "a TLS handshake failed",
         tls_session_why(tls->session));
    return false;
}

/* --- turns --- */

/* Whether this turn does one more handshake. */
static bool may_shake_hands(struct tls_layer *tls)
{
    struct net_tls *shared = tls->shared;
    if (shared->turn != tls->base.loop->turn) {
        shared->turn = tls->base.loop->turn;
        shared->spent_ns = 0;
    }
    return shared->spent_ns < NET_TLS_HANDSHAKE_NS;
}

/* Keeps what came until its turn. False when there is no room for it. */
static bool wait_for_turn(struct tls_layer *tls, const uint8_t *data, size_t bytes)
{
    struct net_conn *conn = tls->base.conn;
    if (tls->held_bytes + bytes > NET_TLS_HELD_MAX || !net_layer_hold(&tls->base, (int64_t)bytes))
        return false;
    uint8_t *held = realloc(tls->held, tls->held_bytes + bytes);
    if (!held) {
        net_layer_hold(&tls->base, -(int64_t)bytes);
        return false;
    }
    memcpy(held + tls->held_bytes, data, bytes);
    tls->held = held;
    tls->held_bytes += (uint32_t)bytes;
    net_layer_waits(&tls->base, true);
    conn->paused = true;
    net_input_queue(&tls->base.loop->ready, conn);
    return true;
}

/* --- bytes --- */

static bool open_session(struct tls_layer *tls)
{
    struct tls_session_options options = {
        .protocol = tls->shared->protocol, .out = on_out, .out_context = &tls->base};
    return tls_session_open(tls->shared->context, &options, &tls->session, NULL) == TG_ERR_OK;
}

/* The handshake is over: what was given meanwhile goes out, before anything else. */
static void send_early(struct tls_layer *tls)
{
    tls_session_write(tls->session, tls->early, tls->early_bytes);
    free(tls->early);
    tls->early = NULL;
    tls->early_bytes = 0;
}

/* Decrypts what was fed and hands it up, in pieces as large as there is room for. False when above
 * nothing more is wanted. */
static bool hand_up(struct tls_layer *tls)
{
    uint8_t *clear = tls->shared->clear;
    size_t used = 0, got;
    do {
        got = tls_session_read(tls->session, clear + used, NET_TLS_CLEAR_BYTES - used);
        used += got;
        if (used > 0 && (got == 0 || used == NET_TLS_CLEAR_BYTES)) {
            if (!net_layer_up(&tls->base, clear, used))
                return false;
            used = 0;
        }
    } while (got > 0);
    return true;
}

/* Goes on with the handshake alone, and says how long that took. */
static void shake(struct tls_layer *tls)
{
    int64_t began_ns = tg_clock_mono_ns();
    tls_session_read(tls->session, NULL, 0);
    tls->shared->spent_ns += tg_clock_mono_ns() - began_ns;
    if (tls->early && tls_session_state(tls->session) == TLS_OPEN)
        send_early(tls);
}

/* Feeds the session. */
static bool decrypt(struct tls_layer *tls, const uint8_t *data, size_t bytes)
{
    bool was_open = tls_session_state(tls->session) == TLS_OPEN;
    tls_session_feed(tls->session, data, bytes);
    if (!was_open)
        shake(tls);
    if (!hand_up(tls)) {
        tls->is_deaf = true;
        return false;
    }
    enum tls_state state = tls_session_state(tls->session);
    if (state == TLS_FAILED)
        return give_up(tls, was_open);
    if (state == TLS_ENDED) {
        tls->is_deaf = true;
        net_layer_end(&tls->base);
    }
    return true;
}

/* Bytes of a handshake, in this turn or in a later one. */
static bool shake_hands(struct tls_layer *tls, const uint8_t *data, size_t bytes)
{
    if (tls->held_bytes == 0 && may_shake_hands(tls))
        return decrypt(tls, data, bytes);
    if (wait_for_turn(tls, data, bytes))
        return true;
    tls->is_deaf = tls->is_mute = true;
    tell(tls, "a TLS handshake failed", "no memory to let it wait for its turn");
    return false;
}

/* The first bytes of all, until it is known what the peer speaks. */
static bool look(struct tls_layer *tls, const uint8_t *data, size_t bytes)
{
    size_t room = NET_SPEECH_TELLING_BYTES - tls->first_bytes;
    uint32_t more = (uint32_t)(bytes < room ? bytes : room);
    memcpy(tls->first + tls->first_bytes, data, more);
    tls->first_bytes += more;
    enum net_speech speech = net_speech_of(tls->first, tls->first_bytes);
    if (speech == NET_SPEECH_UNKNOWN)
        return true;
    if (speech != NET_SPEECH_TLS)
        return refuse(tls, speech);
    if (!open_session(tls)) {
        tls->is_deaf = tls->is_mute = true;
        return false;
    }
    return shake_hands(tls, tls->first, tls->first_bytes) &&
           (bytes == more || tls->is_deaf || shake_hands(tls, data + more, bytes - more));
}

static bool take(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    struct tls_layer *tls = of(layer);
    if (tls->is_deaf)
        return true; /* it finishes already */
    if (!tls->session)
        return look(tls, data, bytes);
    if (tls_session_state(tls->session) == TLS_HANDSHAKE)
        return shake_hands(tls, data, bytes);
    return decrypt(tls, data, bytes);
}

/* Its turn has come. */
static void resume(struct net_layer *layer)
{
    struct tls_layer *tls = of(layer);
    if (tls->held_bytes == 0)
        return;
    if (!may_shake_hands(tls)) {
        layer->conn->paused = true;
        net_input_queue(&layer->loop->ready, layer->conn);
        return;
    }
    uint8_t *held = tls->held;
    uint32_t bytes = tls->held_bytes;
    net_layer_hold(layer, -(int64_t)bytes);
    tls->held = NULL;
    tls->held_bytes = 0;
    net_layer_waits(layer, false);
    bool goes_on = decrypt(tls, held, bytes);
    free(held);
    if (!goes_on)
        net_conn_finish(layer->loop, layer->conn);
}

/* What is said to nobody is lost; what is said too early waits. */
static bool give(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    struct tls_layer *tls = of(layer);
    if (tls->is_mute)
        return true;
    if (tls->session && tls_session_state(tls->session) != TLS_HANDSHAKE)
        return tls_session_write(tls->session, data, bytes);
    if (tls->early_bytes + bytes > NET_TLS_EARLY_MAX)
        return false;
    if (!tls->early && !(tls->early = malloc(NET_TLS_EARLY_MAX)))
        return false;
    memcpy(tls->early + tls->early_bytes, data, bytes);
    tls->early_bytes += (uint32_t)bytes;
    return true;
}

static void finish(struct net_layer *layer)
{
    struct tls_layer *tls = of(layer);
    if (tls->session && !tls->is_mute)
        tls_session_finish(tls->session);
    tls->is_mute = true;
}

static bool is_in_time(struct net_layer *layer, int64_t now_ns)
{
    struct tls_layer *tls = of(layer);
    bool is_over =
        tls->is_deaf || (tls->session && tls_session_state(tls->session) != TLS_HANDSHAKE);
    return is_over || now_ns - tls->began_ns <= tls->shared->handshake_timeout_ns;
}

/* An alert of the kind that has no handshake before it: "internal error", for want of a better. */
static size_t turn_away(uint8_t *out, size_t room, const char *message)
{
    static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 80};
    (void)message;
    tg_assert(room >= sizeof(alert));
    memcpy(out, alert, sizeof(alert));
    return sizeof(alert);
}

const struct net_layer_kind net_tls_kind = {
    .name = "tls",
    .create = create,
    .begin = begin,
    .take = take,
    .give = give,
    .resume = resume,
    .finish = finish,
    .is_in_time = is_in_time,
    .turn_away = turn_away,
    .destroy = destroy,
};
