/* What the files of the admin listener share: the listener, one request and its answer, streams.
 * All of it is the admin thread's but where it says otherwise. */
#ifndef TG_SERVER_EXCHANGE_H
#define TG_SERVER_EXCHANGE_H

#include "base/waker.h"
#include "server/admin.h"
#include "server/body.h"
#include "server/door.h"
#include "server/https.h"
#include "server/query.h"
#include "server/watch.h"

#include <microhttpd.h>

struct srv_stream;

/* Of the listener itself; any thread may read. */
struct srv_admin_stats {
    uint64_t requests;
    uint64_t refused;      /* answered 4xx or 5xx */
    uint64_t unauthorized; /* of these: without a token in force, or a certificate, or the role */
    uint64_t streams;      /* open now */
};

struct srv_admin {
    struct srv_server *server;
    struct net_address address;
    int listen_fd;
    struct tg_waker waker;
    _Atomic bool serving;   /* main sets it: recovery is over */
    _Atomic bool stopping;  /* main sets it */
    _Atomic bool reloading; /* main sets it: the files of TLS may be others */
    pthread_t thread;
    struct MHD_Daemon *http;
    struct srv_https https;
    bool closing; /* streams are to end */
    struct srv_door door;
    struct srv_watch watch;
    struct srv_admin_stats stats;
    struct srv_stream *streams; /* those that are open, in a list */
    uint64_t streamed_tick;     /* the last that streams were woken for */
    struct srv_body sales;      /* of every snapshot of one tick: server/board.h */
    uint64_t sales_tick;        /* which */
};

/* A request on its way through a route. */
struct srv_exchange {
    struct srv_admin *admin;
    struct MHD_Connection *connection;
    const char *path;
    struct srv_query query;
    unsigned status;
    const char *type; /* Content-Type */
    const char *etag; /* NULL: what is told may be another in a moment, and is not to be kept */
    struct srv_body body;
    const void *fixed; /* a body that is not to be freed, or NULL */
    size_t fixed_bytes;
    bool is_page;                  /* of the live page: with a policy for scripts and styles */
    bool retry;                    /* Retry-After: 1 */
    bool waits;                    /* it is not to be answered yet */
    bool has_waited;               /* it was not answered before */
    struct MHD_Response *response; /* a stream's; else it is made of the above */
};

/* Makes the answer an error: {"error":{"reason":"...","message":"..."}}. */
void srv_exchange_fail(struct srv_exchange *exchange, unsigned status, const char *reason,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Finds the route of exchange->path and fills in the answer. */
void srv_routes_answer(struct srv_exchange *exchange);

/* --- server/stream.c --- */

/* Opens a stream of snapshots for the exchange, of `sale` or of none; or fails it with 503 when
 * there are as many as there may be. */
void srv_stream_open(struct srv_exchange *exchange, const struct eng_sale *sale);
/* A tick has passed: all that wait for it go on. */
void srv_streams_wake(struct srv_admin *admin);

#endif
