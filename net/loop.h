/* The network front of one core thread: one io_uring, its listener, its connections.
 *
 * Bytes come in by multishot receive into a ring of provided buffers, are cut into frames where
 * they lie, and each frame is handed to `on_frame`. Answers are written into output chunks and sent
 * by at most one send per connection at a time, so everything that became ready meanwhile goes out
 * together. One thread owns a loop and all in it; nothing here locks or waits but net_loop_wait.
 *
 * The life of a connection (net/conn.c moves it, and nothing else):
 *
 *   OPEN --- peer closed its side ------------------> FINISHING --- all answered and sent -+
 *    |                                                                                     |
 *    +------ bad frame, drain -----------------------> FINISHING                           v
 *    |                                                     |       +---------------- LINGERING
 *    +------ reset, write timeout, idle ----> CLOSING <----+-------+  (write side shut; reads and
 *                                                |                     drops, so that the peer can
 *                                                v                     read our last words)
 *                                              FREE (when the kernel holds nothing of it)
 *
 * Bounds, each named in struct net_options, below, or in net/conn.h: connections, frame size, time
 * for one frame, idle time, requests in flight on a connection (then it is not read), output
 * waiting (the same; a connection whose output does not move is closed). Bounds are looked at
 * between frames: a connection overshoots them by the answers of one frame or of a group of staged
 * orders, and what the kernel had received for it before the pause is held until it is low again.
 * Should the peer close its side meanwhile, the connection finishes when what is held has been
 * handled.
 *
 * Layers: what a connection speaks on the wire need not be native frames (net/layer.h). Its
 * endpoint says what lies between.
 *
 * Fairness: a turn takes NET_ACCEPTS new connections, and of one connection no more than
 * NET_SHARE_BYTES of input, a few orders' worth when the turn is long already; who sent more waits
 * in a queue for the next turn. Requests that the handler puts back wait in lines of their own.
 * When nearly all places are taken, connections that have never said anything make room.
 */
#ifndef TG_NET_LOOP_H
#define TG_NET_LOOP_H

#include "base/error.h"
#include "net/layer.h"
#include "net/peer.h"
#include "proto/codec.h"

#include <stdbool.h>
#include <stdint.h>

struct net_options {
    uint32_t connections_max;  /* on this core */
    uint32_t in_flight_max;    /* orders unanswered on one connection before it is not read */
    uint32_t output_bytes_max; /* answers unsent on one connection before it is not read */
    uint32_t output_chunks;    /* of NET_CHUNK_BYTES, for all connections together */
    uint32_t held_bytes_max;   /* input of all connections together that is not handled yet, less
                                * 512 bytes for each, which are always there */
    int64_t idle_timeout_ns;   /* nothing received and nothing in flight: closed */
    int64_t frame_timeout_ns;  /* a frame that is not complete in this time: closed */
    int64_t write_timeout_ns;  /* output that does not move in this time: closed */
    /* Connections of one address, in all loops that share a census; NULL: they are not counted.
     * Whoever has the census may write another number to `per_address_max` at any time: it is read
     * with tg_count_read, and 0 is no limit. */
    struct net_census *census;
    const uint64_t *per_address_max;
};

/* Listening sockets that one loop has at most. */
#define NET_ENDPOINTS_MAX 4

/* A listening socket, and what lies between its connections' wires and their frames. */
struct net_endpoint {
    int fd; /* borrowed */
    uint32_t layer_count;
    struct net_layer_spec layers[NET_LAYERS_MAX]; /* the lowest first */
};

struct net_census;
struct net_loop;
struct net_conn;

/* A connection by value: stays valid as a name after the connection is gone. Never 0. */
typedef uint64_t net_conn_ref;

struct net_handler {
    void *context;
    /* A whole frame came; `body` is valid until on_frames_end. Answer with net_conn_write now or
     * later, or put the frame back (net_conn_put_back). The frame counts as `in flight` only
     * through net_conn_begin. */
    void (*on_frame)(void *context, struct net_conn *conn, struct tg_bytes body);
    /* The bytes of all frames handed out so far are about to go. Lets the handler take frames in
     * groups: what on_frame only looked at must be done with now. */
    void (*on_frames_end)(void *context);
    /* Optional: the request of that correlation id, which may wait or be answered again and again,
     * is not wanted any more. Answers to it go nowhere. Must not write to the connection. */
    void (*on_cancel)(void *context, struct net_conn *conn, uint64_t correlation_id);
};

/* What the frames of a connection wait for that the handler puts back. Within a line nobody
 * overtakes: it moves in each turn until its first is put back again. */
enum net_line {
    NET_LINE_WORK,  /* the turn has no work left */
    NET_LINE_PLACE, /* something of which there is one, or a few, is in use */
    NET_LINE_COUNT,
};

/* What a connection uses of things that all connections of a core share. */
enum net_use {
    NET_USE_WAITS,   /* long polls and subscriptions */
    NET_USE_BATCHES, /* frames of many orders */
    NET_USE_LATES,   /* answers that wait for their time */
    NET_USE_COUNT,
};

struct net_stats {
    uint64_t accepted; /* connections */
    uint64_t refused;  /* connections over the limit */
    uint64_t closed;
    uint64_t ended; /* connections that send no more: finishing or closed */
    uint64_t frames;
    uint64_t bad_frames;
    uint64_t timeouts;                   /* connections closed for slowness or idleness */
    uint64_t overflows;                  /* connections closed for want of output memory */
    uint64_t displaced;                  /* silent connections closed to make room for others */
    uint64_t bytes_received, bytes_sent; /* on the wire */
    uint32_t open;                       /* connections now */
};

/* Builds the loop in the calling thread, which must be the one that runs it (SINGLE_ISSUER).
 * `wake_fd` is an eventfd that ends net_loop_wait early; the endpoints, at most NET_ENDPOINTS_MAX,
 * are copied, and what they point to stays the caller's.
 * TG_ERR_UNSUPPORTED, naming the sysctl and seccomp, where io_uring is not allowed. */
enum tg_error net_loop_create(const struct net_options *options,
                              const struct net_endpoint *endpoints, uint32_t endpoint_count,
                              int wake_fd, const struct net_handler *handler,
                              struct net_loop **created, struct tg_fault *fault);
/* Closes what is open. */
void net_loop_destroy(struct net_loop *loop);

/* Probes io_uring without a loop: the start-up check of a program. */
enum tg_error net_loop_supported(struct tg_fault *fault);

/* Submits what is queued and waits until something completed, woken by the eventfd, or
 * `timeout_ns` is over (0: does not wait). A lone caller that answers quickly is waited for without
 * sleeping, for some tens of microseconds: to be woken takes as long as the caller does. */
void net_loop_wait(struct net_loop *loop, int64_t timeout_ns);

/* For a while one connection alone has sent anything: whatever takes long for it keeps nobody
 * waiting who was there before. */
bool net_loop_is_lone(const struct net_loop *loop);
/* It is not alone: others are served by another way than their connections to this loop. */
void net_loop_has_company(struct net_loop *loop);

/* Handles all that completed: accepts, frames, sent output, timeouts. `now_ns` is monotonic. */
void net_loop_handle(struct net_loop *loop, int64_t now_ns);

/* Queues a send for every connection with new output. Call once a turn, after all answers. */
void net_loop_flush(struct net_loop *loop);

/* The handler did the work of `frames` plain orders for one frame. When a turn has done that of
 * some thousand, each connection has only the beginning of what it sent looked at; the rest is for
 * the next turns, behind the answers of this one. */
void net_loop_spend(struct net_loop *loop, uint32_t frames);

/* Little is left of the output memory: whoever could send a long answer should not make one. What
 * is left has room for small ones. */
bool net_loop_is_short(const struct net_loop *loop);

/* Stops accepting and reading; what is in flight is still answered and sent. */
void net_loop_drain(struct net_loop *loop);
/* After net_loop_drain: every connection is gone. */
bool net_loop_drained(const struct net_loop *loop);

const struct net_stats *net_loop_stats(const struct net_loop *loop);

/* --- connections --- */

net_conn_ref net_conn_name(const struct net_conn *conn);
/* Its place, below connections_max, which another connection takes when it is gone. */
static inline uint32_t net_conn_place(net_conn_ref name)
{
    return (uint32_t)name - 1;
}
/* The connection of that name, or NULL when it is gone. */
struct net_conn *net_conn_find(struct net_loop *loop, net_conn_ref name);

/* `count` orders or requests of this connection will be answered later ... */
void net_conn_begin(struct net_conn *conn, uint32_t count);
/* ... and now are. */
void net_conn_end(struct net_loop *loop, struct net_conn *conn, uint32_t count);

/* It may still send requests: neither its peer nor we have ended it. */
bool net_conn_is_open(const struct net_conn *conn);

/* Its unsent output is well below its bound: it reads what it is sent, under this correlation id
 * where that matters. For whoever sends without being asked. */
bool net_conn_takes_output(const struct net_loop *loop, const struct net_conn *conn,
                           uint64_t correlation_id);

/* For on_frame: when the caller stops waiting for the answer to this frame, monotonic; 0: never.
 * What was not decided by then is not done, and answered ERROR_CODE_DEADLINE_EXCEEDED. */
int64_t net_conn_deadline_ns(const struct net_conn *conn);

/* This connection has cost enough for one turn: what else it sent waits for the next, in the line
 * of NET_LINE_WORK. Call it after a request that takes long. */
void net_conn_yield(struct net_loop *loop, struct net_conn *conn);

/* For on_frame: the frame is not taken, nothing was done for it. It comes again in a later turn,
 * when those before it in its line have been served; what was sent behind it waits with it. */
void net_conn_put_back(struct net_loop *loop, struct net_conn *conn, enum net_line line);

/* For on_frame, behind the handling of the frame: it was put back. */
bool net_conn_is_put_back(const struct net_conn *conn);

/* A counter of the handler's own, 0 when the connection is new. */
uint32_t *net_conn_uses(struct net_conn *conn, enum net_use use);

/* Who it speaks for, a number of the handler's own; 0, nobody, when the connection is new. */
uint32_t net_conn_principal(const struct net_conn *conn);
void net_conn_set_principal(struct net_conn *conn, uint32_t principal);

/* Where it comes from, as of its beginning. */
const struct net_peer *net_conn_peer(const struct net_conn *conn);

/* Room for `bytes` (at most 4,096) of output that lie together; fill it and call net_conn_filled
 * with what was used. NULL when the output memory is used up: the connection closes, and its
 * durable orders are found by retry. */
uint8_t *net_conn_room(struct net_loop *loop, struct net_conn *conn, uint32_t bytes);
void net_conn_filled(struct net_loop *loop, struct net_conn *conn, uint32_t bytes);

/* Copies output of any size. */
void net_conn_write(struct net_loop *loop, struct net_conn *conn, const void *data, size_t bytes);

/* One ErrorResponse, then the connection finishes; of a connection whose layer is multiplexed only
 * the call with that correlation id ends, unless it is 0. */
void net_conn_fail(struct net_loop *loop, struct net_conn *conn, uint64_t correlation_id,
                   int error_code, const char *message);

/* One ErrorResponse; the connection stays. */
void net_conn_error(struct net_loop *loop, struct net_conn *conn, uint64_t correlation_id,
                    int error_code, const char *message);

#endif
