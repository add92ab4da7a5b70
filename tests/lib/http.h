/* The admin listener as a client that sends what it likes: raw bytes, whole answers, streams.
 *
 * Functions that cannot do what they say fail the test, also when an answer does not come in
 * DAEMON_WAIT_MS. One thread.
 */
#ifndef TG_TESTS_HTTP_H
#define TG_TESTS_HTTP_H

#include "tests/lib/daemon.h"

#include <jansson.h>

struct http_answer {
    int status;      /* 0: the connection was closed without an answer */
    char head[4096]; /* status line and headers */
    char *body;      /* ends with a 0 beside its bytes */
    size_t body_bytes;
};

int http_connect(const struct daemon *daemon);
void http_send(int fd, const char *text);
/* The same for bytes; false when the peer has closed. */
bool http_send_bytes(int fd, const void *bytes, size_t count);
/* Reads until the connection closes: the request said so, or was refused. Closes it. */
struct http_answer http_read(int fd);
void http_free(struct http_answer *answer);

/* GET, on a connection of its own. */
struct http_answer http_get(const struct daemon *daemon, const char *path);
/* The same, sent to this name. */
struct http_answer http_get_by_name(const struct daemon *daemon, const char *host,
                                    const char *path);
/* The same; the status must be 200, and the body JSON. Free with json_decref. */
json_t *http_get_json(const struct daemon *daemon, const char *path);

/* The value of a header, in static memory; NULL without it. */
const char *http_header(const struct http_answer *answer, const char *name);

/* A number of a JSON object, by a path such as "funnel.paid". */
json_int_t http_number(const json_t *object, const char *path);

/* --- a stream of snapshots --- */

struct http_stream {
    int fd;
    char *text; /* what came and was not taken */
    size_t bytes;
    size_t room;
};

void http_stream_open(struct http_stream *stream, const struct daemon *daemon, const char *path);
/* The next snapshot; NULL when the stream has ended. Free with json_decref. */
json_t *http_stream_next(struct http_stream *stream);
void http_stream_close(struct http_stream *stream);

/* --- metrics --- */

/* The value of a sample in the text of /metrics, by its whole name, such as
 * `tidegate_orders_total{verdict="ACCEPTED"}`; fails the test without it. */
double http_metric(const char *text, const char *sample);

#endif
