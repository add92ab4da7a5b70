/* What the files of the gRPC layer share; for net/grpc*.c alone. Owned by the loop's thread.
 *
 * The life of a call (grpc_call.c moves it, and nothing else):
 *
 *   HEADERS --> MESSAGE --> READY --> RISEN --> ENDED --> free, when its stream is closed
 *      |           |          |         |         ^
 *      |           |          |         |         |
 *      +-----------+----------+---------+---------+   a status other than OK, at any time
 *                  |                    |
 *                  +--> SERVED ---------+             health and reflection: answered in net/
 *
 *   HEADERS  its header block is not whole
 *   MESSAGE  its message is not whole, or the peer may send more
 *   READY    in the queue of those whose frame may rise
 *   RISEN    the handler has it
 *   ENDED    its status is set; what was said before it may still have to go out
 *
 * A stream that the peer resets goes to free from everywhere; the handler is told of it when the
 * call has risen.
 *
 * Rules for nghttp2: no send and no receive from within a callback; whatever a callback wants to
 * say it submits. Frames rise when the receive is over. */
#ifndef TG_NET_GRPC_CONN_H
#define TG_NET_GRPC_CONN_H

#include "net/conn.h"
#include "net/grpc.h"

#include <nghttp2/nghttp2.h>

/* In front of a message: room for what makes a native frame of it. */
#define NET_GRPC_ROOM_BEFORE 32
/* A message of at most so many bytes lies in its call; nearly every order does. */
#define NET_GRPC_SMALL_BYTES 224
/* What stands before a message on the wire. */
#define NET_GRPC_HEAD_BYTES  5
/* Of `authorization`. */
#define NET_GRPC_TOKEN_MAX   1024
/* Answers of one stream that wait for its peer. */
#define NET_GRPC_OUTS_MAX    8
/* The correlation id of frames that are no call's: the token of those that follow. */
#define NET_GRPC_NO_CALL     1

struct net_grpc_call;
struct net_grpc_conn;

/* What a method of a service is. */
struct net_grpc_method {
    const char *path;
    size_t path_bytes;
    uint32_t kind;        /* TIDEGATE__V1__REQUEST__KIND_*, or 0: served in net/ */
    uint32_t message_max; /* bytes of a request message */
    bool is_streamed;     /* answered again and again */
    bool can_wait;        /* the handler may park it: it is told when the call is cancelled */
    bool takes_many;      /* messages of the peer, too */
    /* of those that are served in net/: a whole message came; more may follow when takes_many */
    void (*serve)(struct net_grpc_call *call, const uint8_t *message, size_t bytes);
};

struct net_grpc_status {
    enum net_grpc_code code;
    const char *reason;  /* of google.rpc.ErrorInfo; NULL: no details */
    const char *message; /* for people */
    uint32_t retry_ms;   /* of google.rpc.RetryInfo; 0: none */
};

/* One message on its way out. */
struct net_grpc_out {
    struct net_grpc_out *next;
    const uint8_t *data;
    uint8_t *owned; /* NULL: `data` is borrowed until the end of the flush */
    uint32_t size;
    uint32_t sent; /* of the head and the message */
    uint32_t held; /* counted in the loop's memory */
};

enum net_grpc_call_state {
    NET_GRPC_FREE,
    NET_GRPC_HEADERS,
    NET_GRPC_MESSAGE,
    NET_GRPC_READY,
    NET_GRPC_RISEN,
    NET_GRPC_SERVED,
    NET_GRPC_ENDED,
};

struct net_grpc_call {
    struct net_grpc_conn *conn;
    struct net_grpc_call *next; /* of those that are free, or ready */
    struct net_grpc_call *next_borrowed;
    int32_t stream_id;
    uint32_t slot;
    uint32_t generation; /* grows when it becomes free */
    uint8_t state;       /* enum net_grpc_call_state */
    /* of its headers */
    bool is_post, is_grpc, has_path, is_encoded, has_bad_timeout, has_long_token;
    uint32_t header_bytes;
    const struct net_grpc_method *method; /* NULL: none of that path */
    int64_t timeout_ns;                   /* 0: none */
    char *token;                          /* of `authorization: Bearer`; owned */
    uint32_t token_bytes;
    /* times, monotonic */
    int64_t began_ns;
    int64_t deadline_ns; /* 0: none */
    int64_t moved_ns;    /* output moved, or began to wait */
    /* the request */
    bool peer_is_done; /* it sends no more */
    uint8_t head[NET_GRPC_HEAD_BYTES];
    uint32_t head_bytes;
    uint32_t size; /* of its message, as its head says */
    uint32_t have;
    uint32_t held;     /* counted in the loop's memory */
    uint8_t *message;  /* NET_GRPC_ROOM_BEFORE bytes in: `small`, or owned */
    uint32_t messages; /* whole ones */
    /* the answer */
    bool has_answered; /* HEADERS are submitted */
    bool is_deferred;  /* nghttp2 waits to be told of more */
    bool is_borrowing; /* in the connection's list of those */
    uint32_t outs;
    struct net_grpc_out *first_out;
    struct net_grpc_out *last_out;
    struct net_grpc_out own_out; /* the first of them, mostly */
    bool own_out_used;
    struct net_grpc_status status; /* ENDED, and it waits for what goes before; message owned */
    char *status_message;
    uint8_t small[NET_GRPC_ROOM_BEFORE + NET_GRPC_SMALL_BYTES];
};

struct net_grpc_conn {
    struct net_layer layer;
    struct net_grpc *grpc;
    nghttp2_session *session; /* NULL before the client's preface is whole, and of no HTTP/2 */
    int64_t began_ns;
    uint32_t preface_bytes;
    bool is_foreign;  /* it does not speak HTTP/2, and was told so */
    bool is_broken;   /* it spoke it wrong: nothing of it counts any more */
    bool is_draining; /* GOAWAY is said */
    int64_t drain_ns;
    bool is_pinged; /* since it was last heard */
    int64_t pinged_ns;
    /* calls */
    struct net_grpc_call **calls; /* by slot */
    uint32_t slots;               /* of `calls`, that have one */
    uint32_t open;                /* that are not free */
    struct net_grpc_call *free_call;
    struct net_grpc_call *ready_first;
    struct net_grpc_call *ready_last;
    struct net_grpc_call *borrowed; /* whose output points into what is being given */
    uint64_t rising;                /* the correlation id of the newest frame that rose */
    uint64_t unconsumed;            /* DATA that the connection's window does not know of yet */
    char *token;                    /* that the handler was told last; owned */
    uint32_t token_bytes;
    bool is_token_stale; /* it was refused: it may be in force when it is told again */
    /* a native frame that comes in pieces */
    uint8_t piece_head[24];
    uint32_t piece_head_bytes;
    uint8_t *piece; /* owned; NULL: its size is not known */
    uint32_t piece_size;
    uint32_t piece_have;
};

struct net_grpc {
    struct net_grpc_options options;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct net_grpc_stats stats;
};

/* --- net/grpc_http2.c: the session --- */

enum tg_error net_grpc_http2_init(struct net_grpc *grpc, struct tg_fault *fault);
void net_grpc_http2_fini(struct net_grpc *grpc);
/* Begins a session and queues our settings; false without memory. */
bool net_grpc_http2_begin(struct net_grpc_conn *conn);
/* What came; false when the peer broke the rules beyond what HTTP/2 has an answer to. */
bool net_grpc_http2_receive(struct net_grpc_conn *conn, const uint8_t *data, size_t bytes);
/* Lets out what may go; false when the layer below is broken. */
bool net_grpc_http2_send(struct net_grpc_conn *conn);
/* HEADERS of the answer, its messages follow. */
void net_grpc_http2_answer(struct net_grpc_call *call);
/* A whole answer of these header fields; the values are copied. */
void net_grpc_http2_headers(struct net_grpc_call *call, const nghttp2_nv *fields, size_t count);
/* More of it can go. */
void net_grpc_http2_more(struct net_grpc_call *call);
void net_grpc_http2_reset(struct net_grpc_call *call, uint32_t error_code);
void net_grpc_http2_goaway(struct net_grpc_conn *conn, uint32_t error_code, const char *message);

/* --- net/grpc_call.c: calls --- */

/* A call for a new stream; NULL when there are as many as may be. */
struct net_grpc_call *net_grpc_call_open(struct net_grpc_conn *conn, int32_t stream_id);
void net_grpc_call_header(struct net_grpc_call *call, const uint8_t *name, size_t name_bytes,
                          const uint8_t *value, size_t value_bytes);
/* Its headers are whole. */
void net_grpc_call_begin(struct net_grpc_call *call);
void net_grpc_call_data(struct net_grpc_call *call, const uint8_t *data, size_t bytes);
/* The peer sends no more. */
void net_grpc_call_done(struct net_grpc_call *call);
/* The stream is gone. */
void net_grpc_call_close(struct net_grpc_call *call, bool by_peer);
/* The call of a correlation id, or NULL when it is gone. */
struct net_grpc_call *net_grpc_call_find(const struct net_grpc_conn *conn, uint64_t correlation_id);
uint64_t net_grpc_call_name(const struct net_grpc_call *call);
/* Hands up what is ready, as far as it may rise. */
void net_grpc_calls_rise(struct net_grpc_conn *conn);
/* A message for the peer. `owned` is NULL, or the memory in which it lies, which is the call's from
 * here on and counts for `held`. */
void net_grpc_call_say(struct net_grpc_call *call, const uint8_t *data, size_t bytes,
                       uint8_t *owned, uint32_t held);
/* The same with a copy. */
void net_grpc_call_say_copy(struct net_grpc_call *call, const uint8_t *data, size_t bytes);
/* Nothing follows; OK, or why. Without effect on one that has ended. */
void net_grpc_call_end(struct net_grpc_call *call, const struct net_grpc_status *status);
/* Takes up to `room` bytes of what is to go out. */
size_t net_grpc_call_read(struct net_grpc_call *call, uint8_t *out, size_t room);
/* The flush is over: what was borrowed and did not go out is copied. */
void net_grpc_calls_keep(struct net_grpc_conn *conn);
/* Deadlines, and peers that are too slow. */
void net_grpc_calls_check(struct net_grpc_conn *conn, int64_t now_ns);
/* Ends those that can wait for ever, or have not begun. */
void net_grpc_calls_drain(struct net_grpc_conn *conn);
void net_grpc_calls_free(struct net_grpc_conn *conn);

/* --- net/grpc_answer.c: native answers --- */

/* A whole Response of the handler's. `owned` as in net_grpc_call_say. */
void net_grpc_answer(struct net_grpc_conn *conn, struct tg_bytes message, uint8_t *owned,
                     uint32_t held);

/* --- net/grpc_status.c --- */

/* The most that the header fields of a status have. */
#define NET_GRPC_FIELDS_MAX 5

/* The text of a status, as header fields. */
struct net_grpc_trailer {
    nghttp2_nv fields[NET_GRPC_FIELDS_MAX];
    size_t count;
    char code[4];
    char message[512];  /* percent-encoded */
    char details[1024]; /* base64 */
};
/* Adds the fields of the status. */
void net_grpc_trailer_fill(struct net_grpc_trailer *trailer, const struct net_grpc_status *status);
nghttp2_nv net_grpc_field(const char *name, const char *value);

/* --- net/grpc_method.c --- */

/* The method of that path, or NULL. */
const struct net_grpc_method *net_grpc_method_find(const uint8_t *path, size_t bytes);
/* By its place in the table, NULL behind the last: for tests. */
const struct net_grpc_method *net_grpc_method_at(size_t place);

/* --- net/grpc_health.c, net/grpc_reflection.c --- */

void net_grpc_health_check(struct net_grpc_call *call, const uint8_t *message, size_t bytes);
void net_grpc_health_watch(struct net_grpc_call *call, const uint8_t *message, size_t bytes);
/* Tells a watch that the server drains. */
void net_grpc_health_drain(struct net_grpc_call *call);
void net_grpc_reflect(struct net_grpc_call *call, const uint8_t *message, size_t bytes);

#endif
