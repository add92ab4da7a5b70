/* One connection of the generator: its socket, its buffers, and the frames that it has in flight.
 *
 *   +------+  time   +------------+  connected  +----+
 *   | DOWN | ------> | CONNECTING | ----------> | UP |
 *   +------+         +------------+             +----+
 *      ^                   | failed                | error, end of stream, dropped
 *      |   nothing pending v                       v
 *      +------------- CLOSING <--------------------+
 *
 * A frame in flight occupies a slot, whose number is its correlation id (plus one); it leaves the
 * slot with its answer and in no other way. When the connection goes, every occupied slot is
 * queued for resending: the same orders with the same request ids, so that nothing is ordered
 * twice and nothing is left open.
 *
 * With TLS the same session as the server's (tls/session.h) lies between these buffers and the
 * socket.
 *
 * At most one send and one receive are under way in the ring. The output buffer is filled only
 * while no send is, so it is filled, sent and emptied as a whole. Belongs to one worker.
 */
#ifndef LG_CONN_H
#define LG_CONN_H

#include "base/error.h"
#include "tls/session.h"

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum lg_conn_state {
    LG_CONN_DOWN,
    LG_CONN_CONNECTING,
    LG_CONN_UP,
    LG_CONN_CLOSING,
};

enum lg_conn_op {
    LG_OP_CONNECT,
    LG_OP_SEND,
    LG_OP_RECEIVE,
};

#define LG_OP_BITS 2

/* The order of a slot: which attempt, and what is known of it. */
struct lg_entry {
    uint64_t tag;        /* attempt number and LG_ENTRY_* */
    uint64_t expect;     /* with RETRY: the order id of the first answer, 0 when it was a refusal */
    int64_t intended_ns; /* when it was, or should have been, sent: latency counts from here */
};

#define LG_ENTRY_RETRY                                                                             \
    ((uint64_t)1 << 63) /* was answered before: sent again to see that answer again */
#define LG_ENTRY_RESENT ((uint64_t)1 << 62) /* was sent before without a final answer */
#define LG_ENTRY_DOUBT  ((uint64_t)1 << 61) /* of those: its connection went, so it may stand */
#define LG_ENTRY_NUMBER (LG_ENTRY_DOUBT - 1)

struct lg_conn_shape {
    uint32_t frames;         /* slots */
    uint32_t batch;          /* entries in a slot */
    uint32_t in_room;        /* bytes of the input buffer: more than the largest answer */
    uint32_t out_room;       /* bytes of the output buffer: at least the largest frame */
    struct tls_context *tls; /* borrowed; NULL: plain */
    char tls_name[256];      /* whom the server's certificate must name */
};

struct lg_conn {
    enum lg_conn_state state;
    int fd;
    uint32_t index;
    bool send_pending, receive_pending, connect_pending;
    bool dirty;     /* has output, listed for sending */
    bool connected; /* was UP at least once */
    uint32_t in_bytes;
    uint32_t out_bytes, out_sent;
    uint32_t free_count;
    uint32_t resend_first, resend_count;
    uint32_t *free_slots;     /* owned: a stack of shape.frames */
    uint32_t *resend;         /* owned: a ring of shape.frames */
    uint32_t *slot_orders;    /* owned: orders in flight in each slot, 0 when it is free */
    struct lg_entry *entries; /* owned: shape.batch for each slot */
    uint8_t *in, *out;        /* owned */
    /* With TLS `in` and `out` are clear, and these are what the socket has. A session is NULL until
     * the socket is connected; a connection is CONNECTING until it has shaken hands. */
    struct tls_session *session;
    uint8_t *cipher_in, *cipher_out; /* owned; of CIPHER_IN_ROOM, and out_room and more */
    uint32_t cipher_bytes, cipher_room, cipher_sent; /* of cipher_out */
    int64_t retry_at_ns;                             /* DOWN: when to connect */
    int64_t up_at_ns;
    int64_t down_since_ns; /* 0: not in trouble */
    int64_t backoff_ns;
};

/* False without memory. */
bool lg_conn_init(struct lg_conn *conn, uint32_t index, const struct lg_conn_shape *shape);
/* Closes and frees. No operation may be pending: the ring is gone before. */
void lg_conn_fini(struct lg_conn *conn, const struct lg_conn_shape *shape);

/* The next entry of the submission queue; submits when it is full. NULL never comes from a ring
 * that works. */
struct io_uring_sqe *lg_ring_sqe(struct io_uring *ring);

/* DOWN: opens a socket and starts to connect. `address` lives until the answer. False: no socket
 * (errno); still DOWN. */
bool lg_conn_connect(struct lg_conn *conn, struct io_uring *ring, const struct sockaddr *address,
                     socklen_t address_bytes);
/* CONNECTING, with TLS: the socket is connected, shakes hands. False: the fault says why it cannot.
 */
bool lg_conn_secure(struct lg_conn *conn, const struct lg_conn_shape *shape,
                    struct tg_fault *fault);
/* With TLS: goes on with what came, `bytes` of it, or 0 behind an earlier call. Returns how many
 * clear bytes there are more of in `in`; 0: all of it is read, look at the session's state. */
uint32_t lg_conn_decrypt(struct lg_conn *conn, const struct lg_conn_shape *shape, uint32_t bytes);
/* Starts to receive behind in_bytes. */
void lg_conn_receive(struct lg_conn *conn, struct io_uring *ring,
                     const struct lg_conn_shape *shape);
/* Starts to send what out holds, or goes on with what was not sent. */
void lg_conn_send(struct lg_conn *conn, struct io_uring *ring);
/* UP or CONNECTING: ends the connection; pending operations come back soon. */
void lg_conn_drop(struct lg_conn *conn);
/* CLOSING and nothing pending: closes the socket, becomes DOWN, queues the slots in flight for
 * resending and marks their entries. */
void lg_conn_close(struct lg_conn *conn, const struct lg_conn_shape *shape);

/* The TLS session has something to say, and no send is under way. */
static inline bool lg_conn_must_speak(const struct lg_conn *conn)
{
    return conn->session && !conn->send_pending && conn->cipher_sent < conn->cipher_bytes;
}

static inline bool lg_conn_pending(const struct lg_conn *conn)
{
    return conn->send_pending || conn->receive_pending || conn->connect_pending;
}

#endif
