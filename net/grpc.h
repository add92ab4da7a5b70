/* gRPC over HTTP/2 as the topmost layer of a connection (net/layer.h); docs/grpc.md is its story.
 *
 *   DATA of a call   | 0 | length, 4 bytes | message |           HTTP/2 by nghttp2 (grpc_http2.c)
 *        |                                     |
 *        v       the message is, byte for byte, what stands in the oneof of a native frame
 *   native frame   | length | correlation_id, a slot of the call | tag of the kind | message |
 *
 * So the layer wraps the message of a call, and hands up a native Request like any other; of the
 * native Response that comes back it sends the body. An ErrorResponse becomes the status of the
 * call (grpc_status.c), and so does BUSY as the verdict of a whole answer. What is no request of
 * Tidegate's is answered right here: health (grpc_health.c) and reflection (grpc_reflection.c).
 *
 * Bounds, each of them of one connection unless said otherwise:
 *   - calls at a time: streams_max; header list: NET_GRPC_HEADERS_MAX;
 *   - request messages: those of native frames, less the wrapping; all of them together, and the
 *     answers that peers do not take, count in the loop's memory for held input;
 *   - while the connection is over the bounds of net/loop.h, DATA is not acknowledged to the
 *     connection's flow control, and so NET_GRPC_WINDOW_BYTES come at most;
 *   - streams that are reset, frames of one header block, and what is to be acknowledged: nghttp2
 *     ends the connection (rapid reset, CONTINUATION and PING floods);
 *   - a request that is not whole in request_timeout_ns, and an answer that does not move in
 *     write_timeout_ns, end their call; that of a stream may wait for as long as the stream lives.
 *
 * One struct net_grpc for each loop, owned by its thread. */
#ifndef TG_NET_GRPC_H
#define TG_NET_GRPC_H

#include "base/error.h"
#include "net/layer.h"

#include <stdbool.h>
#include <stdint.h>

/* Names, values and 32 bytes for each, as RFC 9113 counts. */
#define NET_GRPC_HEADERS_MAX  (16 * 1024)
/* Of the connection, and of a stream. */
#define NET_GRPC_WINDOW_BYTES (1 << 20)
#define NET_GRPC_STREAM_BYTES (256 * 1024)
#define NET_GRPC_STREAMS_MAX  1024

/* The domain of every google.rpc.ErrorInfo. */
#define NET_GRPC_DOMAIN "tidegate"

enum net_grpc_code {
    NET_GRPC_OK = 0,
    NET_GRPC_CANCELLED = 1,
    NET_GRPC_UNKNOWN = 2,
    NET_GRPC_INVALID_ARGUMENT = 3,
    NET_GRPC_DEADLINE_EXCEEDED = 4,
    NET_GRPC_NOT_FOUND = 5,
    NET_GRPC_PERMISSION_DENIED = 7,
    NET_GRPC_RESOURCE_EXHAUSTED = 8,
    NET_GRPC_UNIMPLEMENTED = 12,
    NET_GRPC_INTERNAL = 13,
    NET_GRPC_UNAVAILABLE = 14,
    NET_GRPC_UNAUTHENTICATED = 16,
    NET_GRPC_CODE_COUNT,
};

struct net_grpc_options {
    uint32_t streams_max;       /* 1 to NET_GRPC_STREAMS_MAX */
    int64_t request_timeout_ns; /* from its headers to the end of its message */
    int64_t write_timeout_ns;   /* of an answer that the peer's flow control does not let out */
    int64_t idle_timeout_ns;    /* as the loop's: half of it with calls, and the peer is pinged */
};

struct net_grpc_stats {
    uint64_t connections;
    uint64_t calls;                      /* streams that began */
    uint64_t ended[NET_GRPC_CODE_COUNT]; /* by the status that we sent */
    uint64_t cancelled;                  /* reset by the peer before that */
    uint64_t refused;                    /* other than gRPC: HTTP/1, TLS, native frames */
    uint64_t broken;                     /* connections that broke HTTP/2, or its bounds */
};

struct net_grpc;

/* What the connections of one loop share. */
enum tg_error net_grpc_create(const struct net_grpc_options *options, struct net_grpc **created,
                              struct tg_fault *fault);
/* Every connection is gone. */
void net_grpc_destroy(struct net_grpc *grpc);

const struct net_grpc_stats *net_grpc_stats(const struct net_grpc *grpc);

/* For an endpoint, with a struct net_grpc as its context. */
extern const struct net_layer_kind net_grpc_kind;

#endif
