/* The layer of TLS: ciphertext below, clear bytes above (net/layer.h, tls/session.h).
 *
 *   first bytes --- TLS ---> session ---> handshake ---> open ---> the peer's goodbye
 *        |                                    |
 *        +--- anything else: a refusal in     +--- too late, or bad: closed, by an alert if there
 *             what it speaks, then closed          is one
 *
 * A session is made when the first bytes came: a connection that says nothing costs the layer
 * alone. Handshakes are the one thing on a connection that takes long, up to a millisecond:
 * so a turn of the loop does them for NET_TLS_HANDSHAKE_NS, one at least, and the others wait
 * for the next in the order in which they came. What they sent meanwhile is held, NET_TLS_HELD_MAX
 * at most, and counts as held input of the loop.
 */
#ifndef TG_NET_TLS_H
#define TG_NET_TLS_H

#include "net/layer.h"
#include "tls/session.h"

#define NET_TLS_HANDSHAKE_NS (500 * 1000ll)
/* A peer that waits for its handshake has nothing to say but its hello, or its certificates. */
#define NET_TLS_HELD_MAX     (64 * 1024ul)
/* What the layer above says before the handshake is over: the settings of HTTP/2. */
#define NET_TLS_EARLY_MAX    1024
/* Clear bytes are handed up in pieces of so much, so that what one receive brought goes up at once:
 * one that is full, and the rest of a record that an earlier one began. */
#define NET_TLS_CLEAR_BYTES  (32 * 1024ul)

/* What all connections of one endpoint share; one for each loop and endpoint, on its thread. */
struct net_tls {
    struct tls_context *context; /* borrowed */
    const char *protocol;        /* TLS_PROTOCOL_...; constant */
    int64_t handshake_timeout_ns;
    /* the layer's: */
    uint32_t turn;    /* of the loop, ... */
    int64_t spent_ns; /* ... and what its handshakes have taken in that */
    uint8_t clear[NET_TLS_CLEAR_BYTES];
};

/* `context` of its struct net_layer_spec is a struct net_tls. */
extern const struct net_layer_kind net_tls_kind;

#endif
