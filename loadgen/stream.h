/* A blocking socket whose bytes may be under TLS: for whoever reads a lot through one connection
 * and does not want to wait for anything else meanwhile. One thread. */
#ifndef LG_STREAM_H
#define LG_STREAM_H

#include "base/error.h"
#include "tls/session.h"

#include <stdint.h>
#include <sys/types.h>

struct lg_stream {
    int fd;                      /* owned; -1: none */
    struct tls_session *session; /* owned; NULL: plain */
    uint8_t *cipher;             /* owned, with TLS */
};

/* Takes over a connected socket, and shakes hands when the run has TLS (loadgen/target.h). On any
 * error the stream is closed. */
enum tg_error lg_stream_open(struct lg_stream *stream, int fd, const char *server,
                             struct tg_fault *fault);
void lg_stream_close(struct lg_stream *stream);

/* All of it, or false with errno. */
bool lg_stream_send(struct lg_stream *stream, const void *data, size_t bytes);
/* As recv. */
ssize_t lg_stream_receive(struct lg_stream *stream, void *into, size_t room);

#endif
