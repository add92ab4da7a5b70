/* What a loop keeps of a connection; for net/ alone. Owned by the loop's thread. */
#ifndef TG_NET_CONN_H
#define TG_NET_CONN_H

#include "net/chunk.h"
#include "net/loop.h"

#include <liburing.h>
#include <sys/uio.h>

/* Chunks that one send carries at most. */
#define NET_SEND_CHUNKS 8

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
    uint8_t state;       /* enum net_conn_state */
    bool paused;         /* over a bound: not read until well below it */
    /* what the kernel holds */
    bool receive_armed;
    bool receive_cancelling;
    bool send_in_flight;
    bool peer_closed;
    /* output */
    bool dirty; /* on the loop's list of connections to flush */
    struct net_conn *dirty_next;
    struct net_chunk_queue sending; /* owned by the send in flight, or the rest of a short one */
    struct net_chunk_queue waiting; /* filled since */
    uint32_t output_bytes;          /* in both */
    uint32_t in_flight;
    /* input that is held: the start of a frame, or, while paused, all that came */
    uint8_t *held;
    uint32_t held_capacity;
    uint32_t held_bytes;
    bool ready; /* on the loop's list of connections that may go on with what they hold */
    struct net_conn *ready_next;
    /* times, monotonic */
    int64_t received_ns;   /* the last byte */
    int64_t held_since_ns; /* the first byte that is held */
    int64_t progress_ns;   /* output moved, or began to wait */
    struct msghdr message;
    struct iovec pieces[NET_SEND_CHUNKS];
};

struct net_loop {
    struct io_uring ring;
    struct net_options options;
    struct net_handler handler;
    struct net_stats stats;
    int64_t now_ns;
    int listen_fd;
    int wake_fd;
    uint64_t wake_count; /* where the eventfd read goes */
    bool accept_armed;
    bool wake_armed;
    bool draining;
    /* provided receive buffers */
    struct io_uring_buf_ring *buffers;
    uint8_t *buffer_memory;
    /* connections */
    struct net_conn *conns;
    uint32_t *free_conns; /* a stack of indexes */
    uint32_t free_count;
    struct net_conn *dirty;
    int64_t sweep_ns;
    uint32_t held_bytes;    /* capacity handed out for input that is held */
    struct net_conn *ready; /* a queue: resumed in turn */
    struct net_conn *ready_tail;
    struct net_chunk_pool chunks;
};

/* --- net/conn.c: the life of a connection --- */

/* A new connection on `fd`; closes it when there is no room. */
void net_conn_open(struct net_loop *loop, int fd);
/* Reads on, pauses or closes, as the state asks; call after anything changed. */
void net_conn_update(struct net_loop *loop, struct net_conn *conn);
/* Well below its bounds again: goes on with what it holds, then reads. */
void net_conn_resume(struct net_loop *loop, struct net_conn *conn);
/* The kernel gave up or the peer is gone: no more output, free when the kernel lets go. */
void net_conn_abort(struct net_loop *loop, struct net_conn *conn);
/* No more input; answers what is in flight. */
void net_conn_finish(struct net_loop *loop, struct net_conn *conn);
void net_conn_received(struct net_loop *loop, struct net_conn *conn, int result, bool more);
void net_conn_sent(struct net_loop *loop, struct net_conn *conn, int result);
/* Closes what is too slow or idle. */
void net_conn_check_times(struct net_loop *loop, struct net_conn *conn);
/* Starts a send when there is output and none is in flight. */
void net_conn_flush(struct net_loop *loop, struct net_conn *conn);

/* As many orders unanswered, or as much output unsent, as one connection may have. */
static inline bool net_conn_is_over(const struct net_loop *loop, const struct net_conn *conn)
{
    return conn->in_flight >= loop->options.in_flight_max ||
           conn->output_bytes >= loop->options.output_bytes_max;
}

/* --- net/input.c: bytes to frames --- */

/* Cuts received bytes into frames and hands them on, until the connection is over its bounds; the
 * rest is held. */
void net_input_take(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                    size_t bytes);
/* Goes on with what is held. */
void net_input_resume(struct net_loop *loop, struct net_conn *conn);
void net_input_free(struct net_loop *loop, struct net_conn *conn);

/* --- net/loop.c: what the kernel is asked --- */

void net_loop_arm_receive(struct net_loop *loop, struct net_conn *conn);
void net_loop_cancel_receive(struct net_loop *loop, struct net_conn *conn);
void net_loop_send(struct net_loop *loop, struct net_conn *conn, uint32_t pieces);

#endif
