#include "base/assert.h"
#include "client/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Ciphertext that one receive brings, and that waits for the socket before more is encrypted. */
#define CIPHER_IN_BYTES  ((size_t)16 * 1024)
#define CIPHER_OUT_BYTES ((size_t)64 * 1024)
/* Clear bytes that are encrypted at a time: a record. */
#define RECORD_BYTES     ((size_t)16 * 1024)

void tgc_wire_init(struct tgc_wire *wire)
{
    *wire = (struct tgc_wire){.fd = -1};
}

static void forget_session(struct tgc_wire *wire)
{
    tls_session_close(wire->session);
    wire->session = NULL;
    wire->out_start = wire->out_end = 0;
}

void tgc_wire_close(struct tgc_wire *wire)
{
    if (wire->session) {
        tls_session_finish(wire->session);
        tgc_wire_push(wire); /* what the socket takes at once: nobody waits for a goodbye */
    }
    forget_session(wire);
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

void tgc_wire_fini(struct tgc_wire *wire)
{
    tgc_wire_close(wire);
    tls_context_close(wire->tls);
    free(wire->in);
    free(wire->out);
    tgc_wire_init(wire);
}

/* --- ciphertext --- */

/* Handshakes and alerts come as well, so there is room for a record beyond the bound. */
static bool on_out(void *context, const void *data, size_t bytes)
{
    struct tgc_wire *wire = context;
    size_t waiting = wire->out_end - wire->out_start;
    if (wire->out_room - wire->out_end < bytes && wire->out_start > 0) {
        memmove(wire->out, wire->out + wire->out_start, waiting);
        wire->out_start = 0;
        wire->out_end = waiting;
    }
    if (wire->out_room - wire->out_end < bytes) {
        size_t room = wire->out_end + bytes + RECORD_BYTES;
        uint8_t *out = realloc(wire->out, room);
        if (!out)
            return false;
        wire->out = out;
        wire->out_room = room;
    }
    memcpy(wire->out + wire->out_end, data, bytes);
    wire->out_end += bytes;
    return true;
}

ssize_t tgc_wire_push(struct tgc_wire *wire)
{
    while (wire->out_start < wire->out_end) {
        ssize_t sent = send(wire->fd, wire->out + wire->out_start, wire->out_end - wire->out_start,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -1;
        wire->out_start += (size_t)sent;
    }
    wire->out_start = wire->out_end = 0;
    return 0;
}

ssize_t tgc_wire_send(struct tgc_wire *wire, const void *data, size_t bytes)
{
    if (!wire->session)
        return send(wire->fd, data, bytes, MSG_NOSIGNAL);
    if (wire->out_end - wire->out_start >= CIPHER_OUT_BYTES && tgc_wire_push(wire) != 0)
        return -1;
    size_t piece = bytes < RECORD_BYTES ? bytes : RECORD_BYTES;
    if (!tls_session_write(wire->session, data, piece)) {
        errno = EPIPE;
        return -1;
    }
    return (ssize_t)piece;
}

/* As much as there is room for, of what was received. */
static size_t decrypt(struct tgc_wire *wire, uint8_t *into, size_t room)
{
    size_t used = 0, got;
    do {
        got = tls_session_read(wire->session, into + used, room - used);
        used += got;
    } while (got > 0 && used < room);
    return used;
}

ssize_t tgc_wire_receive(struct tgc_wire *wire, void *into, size_t room)
{
    if (!wire->session)
        return recv(wire->fd, into, room, 0);
    for (;;) {
        size_t got = decrypt(wire, into, room);
        if (got > 0)
            return (ssize_t)got;
        if (tls_session_state(wire->session) == TLS_ENDED)
            return 0;
        if (tls_session_state(wire->session) == TLS_FAILED) {
            tgc_wire_push(wire); /* the alert */
            errno = EPROTO;
            return -1;
        }
        ssize_t came = recv(wire->fd, wire->in, CIPHER_IN_BYTES, 0);
        if (came <= 0)
            return came;
        tls_session_feed(wire->session, wire->in, (size_t)came);
    }
}

bool tgc_wire_has_more(const struct tgc_wire *wire)
{
    return wire->session && tls_session_has_more(wire->session);
}

bool tgc_wire_waits(const struct tgc_wire *wire)
{
    return wire->out_start < wire->out_end;
}

const char *tgc_wire_why(const struct tgc_wire *wire)
{
    return wire->session ? tls_session_why(wire->session) : "";
}

/* --- the handshake --- */

enum tg_error tgc_wire_secure(struct tgc_wire *wire, const struct tgc_tls *tls,
                              struct tg_fault *fault)
{
    struct tls_client_options options = {
        .ca = tls->ca, .certificate = tls->certificate, .key = tls->key};
    wire->in = malloc(CIPHER_IN_BYTES);
    if (!wire->in)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a client");
    return tls_client_open(&options, &wire->tls, fault);
}

static enum tg_error handshake_fault(struct tgc_wire *wire, const char *server, ssize_t came,
                                     struct tg_fault *fault)
{
    if (tls_session_state(wire->session) == TLS_FAILED) {
        tgc_wire_push(wire);
        return tg_fault_set(fault, TG_ERR_PROTOCOL, "no TLS with %s: %s", server,
                            tls_session_why(wire->session));
    }
    if (came == 0)
        return tg_fault_set(fault, TG_ERR_SYSTEM, "%s closed the connection in the TLS handshake",
                            server);
    return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno,
                              "the connection to %s broke in the TLS handshake", server);
}

/* Receives and sends once, waiting if need be. False when there is nothing more to wait for. */
static bool exchange(struct tgc_wire *wire, int64_t deadline_ns, ssize_t *came)
{
    uint32_t left_ms = tgc_left_ms(deadline_ns);
    struct pollfd wait = {.fd = wire->fd,
                          .events = (short)(POLLIN | (tgc_wire_waits(wire) ? POLLOUT : 0))};
    if (poll(&wait, 1, (int)left_ms) < 0 && errno != EINTR) {
        *came = -1;
        return false;
    }
    if (tgc_wire_push(wire) != 0 && errno != EAGAIN) {
        *came = -1;
        return false;
    }
    *came = recv(wire->fd, wire->in, CIPHER_IN_BYTES, 0);
    if (*came > 0)
        tls_session_feed(wire->session, wire->in, (size_t)*came);
    return *came > 0 || (*came < 0 && (errno == EAGAIN || errno == EINTR));
}

enum tg_error tgc_wire_shake_hands(struct tgc_wire *wire, const char *name, const char *server,
                                   int64_t deadline_ns, struct tg_fault *fault)
{
    struct tls_session_options options = {
        .protocol = TLS_PROTOCOL_NATIVE, .name = name, .out = on_out, .out_context = wire};
    forget_session(wire);
    enum tg_error error = tls_session_open(wire->tls, &options, &wire->session, fault);
    if (error != TG_ERR_OK)
        return error;
    ssize_t came = 1;
    bool goes_on = true;
    for (;;) {
        tls_session_read(wire->session, NULL, 0);
        if (tls_session_state(wire->session) == TLS_OPEN) {
            tgc_wire_push(wire); /* or later, with the first request */
            return TG_ERR_OK;
        }
        if (!goes_on || tls_session_state(wire->session) == TLS_FAILED)
            return handshake_fault(wire, server, came, fault);
        if (tgc_left_ms(deadline_ns) == 0)
            return tg_fault_set(fault, TG_ERR_TIMEOUT,
                                "no TLS with %s in time: it does not answer the handshake", server);
        goes_on = exchange(wire, deadline_ns, &came);
    }
}
