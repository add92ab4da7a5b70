/* What a loop keeps of a connection; for net/ alone. Owned by the loop's thread. */
#ifndef TG_NET_CONN_H
#define TG_NET_CONN_H

#include "net/chunk.h"
#include "net/loop.h"

#include <liburing.h>
#include <sys/uio.h>

/* Chunks that one send carries at most. */
#define NET_SEND_CHUNKS 8

/* Input of one connection that is looked at in one turn: some thousand orders. What it sent beyond
 * is held for the next turn, so that the others of this turn do not wait for it. */
#define NET_SHARE_BYTES       ((size_t)64 * 1024)
/* The same in a turn that has done its work: everybody has a little of each. */
#define NET_SHARE_BYTES_SMALL 1024

/* A connection that waits for its turn is received from until it holds so much. */
#define NET_READ_AHEAD_BYTES (64 * 1024)

/* Answers unsent on one connection before it is not read, while more than half of the output memory
 * is in use: so each of many connections that do not read keeps two chunks, not all there is. */
#define NET_OUTPUT_BYTES_SHORT (2 * NET_CHUNK_BYTES)

/* Receives from one connection, one behind the other, with which it is a lone one. */
#define NET_LONE_RECEIVES 64

/* Accepts that are armed: no turn takes more connections than these. */
#define NET_ACCEPTS 16

enum net_conn_state {
    NET_CONN_FREE,
    NET_CONN_OPEN,
    NET_CONN_FINISHING,
    NET_CONN_LINGERING,
    NET_CONN_CLOSING,
};

struct net_conn {
    int fd;
    uint32_t index;
    uint32_t generation; /* grows when the slot is freed */
    uint32_t principal;  /* the handler's: net_conn_principal */
    uint8_t state;       /* enum net_conn_state */
    bool paused;         /* over a bound, or waiting for its turn: nothing is handed on */
    bool put_back;       /* the handler did not take the frame that it was handed */
    bool has_spoken;     /* a whole frame came */
    int64_t deadline_ns; /* of the frame that is handled, or was put back; 0: none */
    /* what the kernel holds */
    bool receive_armed;
    bool receive_cancelling;
    bool receive_waits; /* in the loop's queue: not armed before it is its turn */
    struct net_conn *receive_next;
    bool send_in_flight;
    bool peer_closed;
    bool peer_ended; /* it said that it sends no more, and its wire is open */
    /* output */
    bool dirty; /* on the loop's list of connections to flush */
    struct net_conn *dirty_next;
    bool ending; /* in the loop's queue of connections whose socket is to be shut */
    struct net_conn *ending_next;
    struct net_chunk_queue sending; /* owned by the send in flight, or the rest of a short one */
    struct net_chunk_queue waiting; /* filled since */
    uint32_t output_bytes;          /* in both, and in `wire` */
    uint32_t in_flight;
    uint32_t uses[NET_USE_COUNT]; /* the handler's: net_conn_uses */
    /* layers, net/layer.h; both NULL when there are none */
    struct net_layer *top;
    struct net_layer *bottom;
    bool is_multiplexed;         /* the top layer is */
    bool layer_waits;            /* it holds frames that may not rise yet */
    bool has_said_goodbye;       /* its layers have finished */
    struct net_chunk_queue wire; /* what came out of the layers; `waiting` are frames for them */
    /* input that is held: the start of a frame, or, while paused, all that came */
    uint8_t *held;
    uint32_t held_capacity;
    uint32_t held_start; /* where the held bytes begin */
    uint32_t held_bytes;
    uint32_t turn;       /* of the loop, in which it was last received from */
    uint32_t turn_bytes; /* received in that */
    bool ready;          /* in one of the loop's queues */
    struct net_conn *ready_next;
    /* times, monotonic */
    int64_t received_ns;   /* the last byte */
    int64_t held_since_ns; /* the first byte that is held */
    int64_t progress_ns;   /* output moved, or began to wait */
    struct net_peer peer;
    uint64_t address; /* its net_peer_key, while the census counts it; else 0 */
    struct msghdr message;
    struct iovec pieces[NET_SEND_CHUNKS];
};

/* Connections that wait for their turn, the first to come first. */
struct net_conn_queue {
    struct net_conn *first;
    struct net_conn *last;
};

struct net_loop {
    struct io_uring ring;
    struct net_options options;
    struct net_handler handler;
    struct net_stats stats;
    int64_t now_ns;
    struct net_endpoint endpoints[NET_ENDPOINTS_MAX];
    uint32_t endpoint_count;
    int wake_fd;
    uint64_t wake_count;                       /* where the eventfd read goes */
    uint32_t accepts_armed[NET_ENDPOINTS_MAX]; /* of NET_ACCEPTS each */
    bool accept_soon;                          /* one of them has taken a connection in this turn */
    uint32_t accepts_failed;
    int64_t accept_told_ns; /* when the log last told of one that failed */
    bool wake_armed;
    bool draining;
    /* provided receive buffers */
    struct io_uring_buf_ring *buffers;
    uint8_t *buffer_memory;
    /* connections */
    struct net_conn *conns;
    uint32_t *free_conns; /* a stack of indexes */
    uint32_t free_count;
    uint32_t conns_used; /* indexes below this were ever taken */
    struct net_conn *dirty;
    struct net_conn *ending; /* a queue */
    struct net_conn *ending_last;
    int64_t sweep_ns;
    uint32_t sweep_at;   /* the next index that is looked at */
    uint32_t silent_at;  /* the same, for those that have never said anything */
    uint32_t held_bytes; /* capacity handed out for input that is held, but the smallest pieces */
    /* who was received from last, how often without another between, and how long the last wait for
     * a lone one took */
    uint32_t received_from;
    uint32_t lone_receives;
    int64_t lone_wait_ns;
    /* the turn */
    uint32_t turn;
    uint32_t short_until;     /* before this turn receives wait for buffers, in a queue: ... */
    struct net_conn *thirsty; /* ... see net_loop_arm_receive */
    struct net_conn *thirsty_last;
    uint64_t turn_end;           /* frames handled by then are its work; see net_loop_spend */
    struct net_conn_queue ready; /* may go on with what they hold */
    struct net_conn_queue lines[NET_LINE_COUNT]; /* the same, when their frame may be taken */
    const struct net_conn *resumed;              /* goes on just now ... */
    uint64_t resumed_frames;                     /* ... and nothing of it was handled if still so */
    bool is_stopped;                             /* its frame was put back again */
    struct net_chunk_pool chunks;
};

/* --- net/conn.c: the life of a connection --- */

/* A new connection on `fd`; closes it when there is no room. */
void net_conn_open(struct net_loop *loop, int fd, const struct net_endpoint *endpoint);
/* Reads on, pauses or closes, as the state asks; call after anything changed. */
void net_conn_update(struct net_loop *loop, struct net_conn *conn);
/* Well below its bounds again: goes on with what it holds, then reads. */
void net_conn_resume(struct net_loop *loop, struct net_conn *conn);
/* The kernel gave up or the peer is gone: no more output, free when the kernel lets go. */
void net_conn_abort(struct net_loop *loop, struct net_conn *conn);
/* It would be received from now, if nothing were armed. */
bool net_conn_wants_receive(const struct net_loop *loop, const struct net_conn *conn);
/* Shuts the sockets of some that were aborted, and frees those of which the kernel holds nothing.
 */
void net_conn_end_some(struct net_loop *loop);
/* The peer sends no more: finishes, at once or when what is held was handled. */
void net_conn_peer_ended(struct net_loop *loop, struct net_conn *conn);
/* One ErrorResponse as bytes for the wire, into 512 bytes; the message is 400 long at most. */
size_t net_conn_refusal(uint8_t *frame, int error_code, const char *message);
/* No more input; answers what is in flight. */
void net_conn_finish(struct net_loop *loop, struct net_conn *conn);
/* Nothing has come of it but these bytes. True: they are of another protocol, and were answered in
 * its words; the connection finishes. */
bool net_conn_turn_foreign(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                           size_t bytes);
void net_conn_received(struct net_loop *loop, struct net_conn *conn, int result, bool more);
void net_conn_sent(struct net_loop *loop, struct net_conn *conn, int result);
/* Closes what is too slow or idle. */
void net_conn_check_times(struct net_loop *loop, struct net_conn *conn);
/* Starts a send when there is output and none is in flight. */
void net_conn_flush(struct net_loop *loop, struct net_conn *conn);
/* It is flushed in this turn. */
void net_conn_stir(struct net_loop *loop, struct net_conn *conn);
/* Copies what goes out as it is, behind all layers; false when the output memory is used up. */
bool net_conn_wire(struct net_loop *loop, struct net_conn *conn, const void *data, size_t bytes);

/* The turn has done its work; what goes on has little of it. */
static inline bool net_loop_turn_is_over(const struct net_loop *loop)
{
    return (int64_t)(loop->stats.frames - loop->turn_end) >= 0;
}

/* Answers unsent on one connection before it is not read. */
static inline uint32_t net_loop_output_max(const struct net_loop *loop)
{
    uint32_t most = loop->options.output_bytes_max;
    bool is_short = loop->chunks.used > loop->chunks.count / 2;
    return is_short && most > NET_OUTPUT_BYTES_SHORT ? NET_OUTPUT_BYTES_SHORT : most;
}

/* As many orders unanswered, or as much output unsent, as one connection may have. */
static inline bool net_conn_is_over(const struct net_loop *loop, const struct net_conn *conn)
{
    return conn->in_flight >= loop->options.in_flight_max ||
           conn->output_bytes >= net_loop_output_max(loop);
}

/* --- net/input.c: bytes to frames --- */

/* Cuts received bytes into frames and hands them on, until the connection is over its bounds; the
 * rest is held. */
void net_input_take(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                    size_t bytes);
/* The same with one whole frame, which is not settled yet: it must stay where it is. False: it has
 * to wait, and there is no memory for that; nothing was done. */
bool net_input_rise(struct net_loop *loop, struct net_conn *conn, const uint8_t *frame,
                    size_t bytes);
/* All that was handed on is done with. */
void net_input_settle(struct net_loop *loop);
/* Memory for input that a layer holds; false when there is no more. Negative: given back. */
bool net_input_hold(struct net_loop *loop, int64_t bytes);
/* Goes on with what is held. */
void net_input_resume(struct net_loop *loop, struct net_conn *conn);
void net_input_free(struct net_loop *loop, struct net_conn *conn);
/* Puts the connection into a queue, at its end or its front, unless it is in one. */
void net_input_queue(struct net_conn_queue *queue, struct net_conn *conn);
void net_input_queue_first(struct net_conn_queue *queue, struct net_conn *conn);

/* --- net/layer.c: what lies between wire and frames --- */

/* Makes the layers of a new connection; false without memory. */
bool net_layers_create(struct net_loop *loop, struct net_conn *conn,
                       const struct net_endpoint *endpoint);
void net_layers_destroy(struct net_conn *conn);
/* Bytes came from the wire of a connection with layers. */
void net_layers_take(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                     size_t bytes);
/* What was written for it goes through its layers. */
void net_layers_flush(struct net_loop *loop, struct net_conn *conn);
void net_layers_resume(struct net_conn *conn);
void net_layers_drain(struct net_conn *conn);
bool net_layers_are_busy(const struct net_conn *conn);
void net_layers_finish(struct net_conn *conn);
bool net_layers_are_in_time(const struct net_loop *loop, const struct net_conn *conn);

/* --- net/loop.c: what the kernel is asked --- */

/* Receives, now or when there are buffers. */
void net_loop_arm_receive(struct net_loop *loop, struct net_conn *conn);
void net_loop_cancel_receive(struct net_loop *loop, struct net_conn *conn);
void net_loop_cancel_send(struct net_loop *loop, struct net_conn *conn);
void net_loop_send(struct net_loop *loop, struct net_conn *conn, uint32_t pieces);

#endif
