#include "loadgen/stream.h"

#include "loadgen/target.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CIPHER_BYTES ((size_t)32 * 1024)

static bool send_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        data += sent > 0 ? sent : 0;
        bytes -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

static bool on_out(void *context, const void *data, size_t bytes)
{
    const struct lg_stream *stream = context;
    return send_all(stream->fd, data, bytes);
}

/* More ciphertext; false, with errno, when there is none. */
static bool receive_cipher(struct lg_stream *stream)
{
    ssize_t came;
    do {
        came = recv(stream->fd, stream->cipher, CIPHER_BYTES, 0);
    } while (came < 0 && errno == EINTR);
    if (came == 0)
        errno = ECONNRESET;
    if (came <= 0)
        return false;
    tls_session_feed(stream->session, stream->cipher, (size_t)came);
    return true;
}

static enum tg_error shake_hands(struct lg_stream *stream, const char *server,
                                 struct tg_fault *fault)
{
    char name[256];
    lg_target_tls_name(server, name);
    struct tls_session_options options = {
        .protocol = TLS_PROTOCOL_NATIVE, .name = name, .out = on_out, .out_context = stream};
    enum tg_error error = tls_session_open(lg_target_tls(), &options, &stream->session, fault);
    if (error != TG_ERR_OK)
        return error;
    for (;;) {
        tls_session_read(stream->session, NULL, 0);
        if (tls_session_state(stream->session) == TLS_OPEN)
            return TG_ERR_OK;
        if (tls_session_state(stream->session) == TLS_FAILED)
            return tg_fault_set(fault, TG_ERR_PROTOCOL, "no TLS with %s: %s", server,
                                tls_session_why(stream->session));
        if (!receive_cipher(stream))
            return tg_fault_set_errno(fault, TG_ERR_CLOSED, errno,
                                      "the connection to %s broke in the TLS handshake", server);
    }
}

enum tg_error lg_stream_open(struct lg_stream *stream, int fd, const char *server,
                             struct tg_fault *fault)
{
    *stream = (struct lg_stream){.fd = fd};
    if (!lg_target_tls())
        return TG_ERR_OK;
    stream->cipher = malloc(CIPHER_BYTES);
    enum tg_error error = stream->cipher
                              ? shake_hands(stream, server, fault)
                              : tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a TLS connection");
    if (error != TG_ERR_OK)
        lg_stream_close(stream);
    return error;
}

void lg_stream_close(struct lg_stream *stream)
{
    if (stream->session)
        tls_session_finish(stream->session);
    tls_session_close(stream->session);
    free(stream->cipher);
    if (stream->fd >= 0)
        close(stream->fd);
    *stream = (struct lg_stream){.fd = -1};
}

bool lg_stream_send(struct lg_stream *stream, const void *data, size_t bytes)
{
    if (!stream->session)
        return send_all(stream->fd, data, bytes);
    errno = EPROTO; /* unless the socket has something to say */
    return tls_session_write(stream->session, data, bytes);
}

ssize_t lg_stream_receive(struct lg_stream *stream, void *into, size_t room)
{
    if (!stream->session)
        return recv(stream->fd, into, room, 0);
    for (;;) {
        size_t got = tls_session_read(stream->session, into, room);
        if (got > 0)
            return (ssize_t)got;
        if (tls_session_state(stream->session) == TLS_ENDED)
            return 0;
        errno = EPROTO;
        if (tls_session_state(stream->session) == TLS_FAILED || !receive_cipher(stream))
            return -1;
    }
}
