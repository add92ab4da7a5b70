/* Layers of a connection: what lies between the wire and the native frames that the handler sees.
 *
 *   handler: frames in, frames out        net_conn_write and its kin
 *        ^                                       |
 *        | net_layer_up                          v  at the flush of a turn
 *   [ grpc  ]   take  ^                   give   |
 *   [ tls   ]         |                          v  net_layer_down
 *   wire: what was received               what is sent
 *
 * A plain native connection has none of them, and pays one branch for each receive and each flush.
 * A listener says which layers its connections have (struct net_endpoint, net/loop.h); they are
 * made at accept and go with their connection. All of a connection's layers run on its loop's
 * thread.
 *
 * Rules:
 *   - take and give are never called from within each other on one layer: what a layer wants to
 * send while it takes (a handshake, a ping's answer) it sends down by itself;
 *   - bytes that a layer is handed are the caller's, valid until it returns; those that are given
 *     from the top stay until `flush` returns;
 *   - a layer holds no more than it says in its own header, and counts what it holds.
 *
 * A layer that is tested without a loop is attached between two layers of the test. */
#ifndef TG_NET_LAYER_H
#define TG_NET_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* That one connection may have. */
#define NET_LAYERS_MAX 2

struct net_conn;
struct net_loop;
struct net_layer_kind;

/* First in the struct of each layer. */
struct net_layer {
    const struct net_layer_kind *kind;
    struct net_layer *above; /* NULL: frames */
    struct net_layer *below; /* NULL: the wire */
    struct net_loop *loop;   /* both NULL in a test without a loop */
    struct net_conn *conn;
};

/* What a kind of layer does. Those marked optional may be NULL. */
struct net_layer_kind {
    const char *name;

    /* A layer for a new connection; `context` is the endpoint's. NULL without memory. The caller
     * fills in `struct net_layer`, and calls `begin` (optional) when the layers are attached. */
    struct net_layer *(*create)(void *context);
    void (*begin)(struct net_layer *layer);

    /* Bytes came from below. What comes out of them goes up by net_layer_up. False: nothing more
     * is wanted, the connection finishes; a goodbye was sent down before. */
    bool (*take)(struct net_layer *layer, const uint8_t *data, size_t bytes);

    /* Bytes from above are to go out; what they become goes down by net_layer_down. Called at the
     * flush of a turn, with what was gathered in it. False: the connection is broken. */
    bool (*give)(struct net_layer *layer, const uint8_t *data, size_t bytes);

    /* Optional: all of this flush was given; what can go out goes down now. Also called when there
     * is room again, and after net_layer_stir. False: the connection is broken. */
    bool (*flush)(struct net_layer *layer);

    /* Optional, from the bottom layer to the top: what waits for the connection's turn may go on;
     * frames may be handed up again, which net_layer_may_rise denied before. */
    void (*resume)(struct net_layer *layer);

    /* Optional: no more requests are taken; what is under way is still answered (GOAWAY). */
    void (*drain)(struct net_layer *layer);

    /* Optional: something is under way that neither the handler nor the wire knows of. A connection
     * that drains waits for it. */
    bool (*is_busy)(const struct net_layer *layer);

    /* Optional: our side ends in order, everything was given before (close_notify). Called once,
     * from the top layer to the bottom. */
    void (*finish)(struct net_layer *layer);

    /* Optional, called several times a second. False: the peer is too slow, the connection is
     * closed. */
    bool (*is_in_time)(struct net_layer *layer, int64_t now_ns);

    /* Optional: the call of that correlation id takes more output. For calls that are answered
     * again and again. */
    bool (*takes_output)(const struct net_layer *layer, uint64_t correlation_id);

    /* Optional: writes, at most `room` bytes, what a connection of this layer alone is told that
     * has no place here. Returns how many they are. */
    size_t (*turn_away)(uint8_t *out, size_t room, const char *message);

    void (*destroy)(struct net_layer *layer);

    /* The wire is read while frames wait, because requests and what keeps the connection alive come
     * in one stream (HTTP/2). Such a layer is the topmost. It asks net_layer_may_rise before each
     * frame, says with net_layer_waits that it holds some, and bounds what it holds by itself. A
     * request that fails is one call's matter and leaves the connection alone. */
    bool is_multiplexed;
};

/* A layer that an endpoint's connections have, the lowest first. */
struct net_layer_spec {
    const struct net_layer_kind *kind;
    void *context; /* borrowed; for `create` */
};

/* Hands bytes to the layer above: `take`, or native frames, which are cut and handled. False: the
 * connection finishes, no more is taken. Not from within `give` or `flush`. */
bool net_layer_up(struct net_layer *layer, const uint8_t *data, size_t bytes);

/* Hands bytes to the layer below: `give`, or a copy into the output of the connection. False: there
 * is no room in the output memory, or the layer below is broken; the connection closes. */
bool net_layer_down(struct net_layer *layer, const void *data, size_t bytes);

/* The layer has something for `flush`, which is called in this turn. */
void net_layer_stir(struct net_layer *layer);

/* The wire takes more: its unsent output is below its bound. A layer that can wait asks before it
 * makes output; `flush` is called again when there is room. */
bool net_layer_has_room(const struct net_layer *layer);

/* The peer has said that it sends no more; the wire may stay open. What it sent before is answered,
 * then the connection finishes. */
void net_layer_end(struct net_layer *layer);

/* --- for a layer that is multiplexed --- */

/* A frame may be handed up now: the connection is within its bounds and its turn. */
bool net_layer_may_rise(const struct net_layer *layer);

/* Hands up one whole native frame. The bytes stay valid until net_layer_settle; the handler may put
 * it back, then it waits in memory of the connection, and no other may rise. False: there is no
 * such memory, nothing was done for the frame. */
bool net_layer_rise(struct net_layer *layer, const uint8_t *frame, size_t bytes);

/* Frames that rose are done with. */
void net_layer_settle(struct net_layer *layer);

/* It holds frames that may not rise yet, or no more: `resume` comes as long as it does. */
void net_layer_waits(struct net_layer *layer, bool waits);

/* Memory for what a layer holds of its peer's: counts in the loop's memory for held input. False
 * when there is no more; given back with a negative number. */
bool net_layer_hold(struct net_layer *layer, int64_t bytes);

#endif
