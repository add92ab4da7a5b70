/* A caller of gRPC that says what it is told to, well-behaved or not: an nghttp2 session on a
 * blocking socket with a deadline for everything. For what the clients of tests/interop would not
 * do. Functions that cannot do what they say fail the test. One thread. */
#ifndef TG_TESTS_CALLER_H
#define TG_TESTS_CALLER_H

#include "proto/codec.h"
#include "tests/lib/daemon.h"

#include <nghttp2/nghttp2.h>

#define CALLER_CALLS_MAX 1024

/* One call, and what has come of it. */
struct caller_call {
    int32_t stream_id;
    const uint8_t *body; /* borrowed until the call is closed */
    size_t body_bytes, body_sent;
    uint8_t *said;   /* what caller_say made of its message, or NULL; owned */
    bool stays_open; /* the request does not end behind its body */
    bool is_closed;
    uint32_t reset;  /* the error code of its stream */
    int http_status; /* 0: no headers came */
    int status;      /* grpc-status; -1: none came */
    char message[512];
    char details[1024];
    char accepts[64]; /* grpc-accept-encoding */
    uint8_t answer[4096];
    size_t answer_bytes;
};

struct caller {
    int fd;
    nghttp2_session *session;
    struct caller_call calls[CALLER_CALLS_MAX];
    uint32_t call_count;
    bool has_ended; /* the server closed the connection */
    bool heard_goaway;
    uint32_t goaway_code;
    char goaway_text[256];
};

/* `window_bytes`: what each stream may be sent before it asks for more. */
struct caller *caller_open(const struct daemon *daemon, uint32_t window_bytes);
void caller_close(struct caller *caller);

/* Begins a call with these header fields besides those that each call has; a name that starts with
 * ':' or is "content-type" takes the place of the usual one. */
struct caller_call *caller_begin(struct caller *caller, const char *path, const char *name,
                                 const char *value, const void *body, size_t bytes,
                                 bool stays_open);
/* The same with the message in front of which the five bytes are missing; of at most 4,000 bytes.
 */
struct caller_call *caller_say(struct caller *caller, const char *method, const char *name,
                               const char *value, const void *message, size_t bytes);

/* Sends what is queued, and reads what there is, until the call is closed. */
void caller_wait(struct caller *caller, const struct caller_call *call);
/* The same until its answer has at least so many bytes. */
void caller_wait_bytes(struct caller *caller, const struct caller_call *call, size_t bytes);
/* Until the connection has ended. */
void caller_wait_end(struct caller *caller);
/* Sends what is queued, and reads what comes within `quiet_ms` of silence. */
void caller_turn(struct caller *caller, int quiet_ms);

/* Waits for it, and holds its status against `status`. */
void caller_expect(struct caller *caller, const struct caller_call *call, int status);

/* A PlaceOrderRequest of one unit; returns its size, at most 200 bytes. */
size_t caller_order(uint8_t *out, uint64_t sale_id, const char *sku, uint64_t user_id);

/* A connection to a port that is sent these bytes: reads what comes until the end; returns how much
 * of it is in `out`, a NUL behind it. */
size_t caller_raw(uint16_t port, const void *bytes, size_t size, char *out, size_t room);

#endif
