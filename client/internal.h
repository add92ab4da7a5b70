/* What the files of client/ share: connecting, the wire, and time that is left. */
#ifndef TG_CLIENT_INTERNAL_H
#define TG_CLIENT_INTERNAL_H

#include "base/clock.h"
#include "base/error.h"
#include "client/tidegate.h"
#include "tls/session.h"

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

/* "[v6 of 255 bytes]:port" and its end. */
#define TGC_ADDRESS_BYTES 272

/* Connects to one of the addresses of `host` before `deadline_ns` (monotonic); each address gets
 * its share of the time. `name` is what faults call the server. The socket is non-blocking, with
 * TCP_NODELAY, and gives up on a silent peer after about `silence_ms`. Resolving blocks for as
 * long as the resolver does. TG_ERR_SYSTEM or TG_ERR_TIMEOUT. */
enum tg_error tgc_connect(const char *host, const char *port, const char *name, int64_t deadline_ns,
                          uint32_t silence_ms, int *fd, struct tg_fault *fault);

/* --- client/wire.c: a socket, with TLS over it or without --- */

struct tgc_wire {
    int fd;                      /* -1: none */
    struct tls_context *tls;     /* owned; NULL: plain */
    struct tls_session *session; /* owned; of this connection, NULL: plain, or none */
    uint8_t *in;  /* owned, with TLS: ciphertext that came, as the session reads it */
    uint8_t *out; /* owned: ciphertext that the socket has not taken, start..end */
    size_t out_room, out_start, out_end;
};

void tgc_wire_init(struct tgc_wire *wire);
/* Ends the connection, with a goodbye if the socket takes it. */
void tgc_wire_close(struct tgc_wire *wire);
void tgc_wire_fini(struct tgc_wire *wire);

/* From now on its connections speak TLS, which tgc_wire_shake_hands begins on each. */
enum tg_error tgc_wire_secure(struct tgc_wire *wire, const struct tgc_tls *tls,
                              struct tg_fault *fault);
/* `name` is whom the certificate must name, `server` what faults call it. TG_ERR_PROTOCOL when
 * there can be no TLS, TG_ERR_SYSTEM when the connection broke, TG_ERR_TIMEOUT. */
enum tg_error tgc_wire_shake_hands(struct tgc_wire *wire, const char *name, const char *server,
                                   int64_t deadline_ns, struct tg_fault *fault);

/* As recv and send. With TLS, EPROTO when it has failed (tgc_wire_why), and what is sent may wait
 * in the wire for tgc_wire_push, whose 0 says that the socket has all. */
ssize_t tgc_wire_receive(struct tgc_wire *wire, void *into, size_t room);
ssize_t tgc_wire_send(struct tgc_wire *wire, const void *data, size_t bytes);
ssize_t tgc_wire_push(struct tgc_wire *wire);

/* Something was received that nobody has read: the socket need not be waited for. */
bool tgc_wire_has_more(const struct tgc_wire *wire);
/* Something waits for the socket to take it. */
bool tgc_wire_waits(const struct tgc_wire *wire);
const char *tgc_wire_why(const struct tgc_wire *wire);

static inline int64_t tgc_deadline_ns(uint32_t timeout_ms)
{
    return tg_clock_mono_ns() + (int64_t)timeout_ms * TG_NS_PER_MS;
}

/* Milliseconds until `deadline_ns`, rounded up so that a wait does not spin; 0 when it is over. */
static inline uint32_t tgc_left_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - tg_clock_mono_ns();
    if (left_ns <= 0)
        return 0;
    int64_t left_ms = (left_ns + TG_NS_PER_MS - 1) / TG_NS_PER_MS;
    return left_ms > INT_MAX ? (uint32_t)INT_MAX : (uint32_t)left_ms;
}

#endif
