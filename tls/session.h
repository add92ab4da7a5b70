/* One side of one TLS connection, over memory: it opens no socket and waits for nothing.
 *
 *      wire --tls_session_feed--> +---------+ --tls_session_read--> clear bytes
 *                                 | session |
 *      wire <-------- out ------- +---------+ <-tls_session_write-- clear bytes
 *
 *   HANDSHAKE --> OPEN --> ENDED   (the peer said goodbye: it sends no more)
 *        |          |
 *        +----------+----> FAILED  (bad bytes, a certificate that does not hold; an alert is out)
 *
 * Bytes are copied twice on each way, which is the least that encryption of records of up to 16 KiB
 * allows: in, from what was fed into the record buffer, and decrypted from there to where they are
 * read to; out, encrypted from where they lie into the record buffer, and handed from there to
 * `out`.
 *
 * Memory: about TLS_SESSION_BYTES while nothing is under way, TLS_SESSION_BYTES_MAX at most; record
 * buffers are held only while a record is cut. A unit test counts. A session belongs to one thread
 * at a time.
 */
#ifndef TG_TLS_SESSION_H
#define TG_TLS_SESSION_H

#include "base/error.h"
#include "tls/context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a session takes while it waits, and at most: in its handshake, or with a cut record each
 * way. */
#define TLS_SESSION_BYTES     (20 * 1024)
#define TLS_SESSION_BYTES_MAX (64 * 1024)

/* What is spoken inside, by its name in ALPN. */
#define TLS_PROTOCOL_NATIVE "tidegate/1"
#define TLS_PROTOCOL_HTTP2  "h2"

enum tls_state {
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_ENDED,
    TLS_FAILED,
};

struct tls_session;

/* Takes bytes for the wire; false when there is no room, and then the session has failed. Called
 * from tls_session_read, _write and _finish; must not call any of them. */
typedef bool tls_out(void *context, const void *data, size_t bytes);

struct tls_session_options {
    const char *protocol; /* TLS_PROTOCOL_...: a server refuses a client that offers only others;
                           * constant */
    const char *name;     /* client: whom the server's certificate must name, a host name or an IP
                           * address; borrowed for the call */
    tls_out *out;
    void *out_context;
};

/* A server's or a client's session, as its context is. TG_ERR_NOMEM, or TG_ERR_INVALID when `name`
 * is none. */
enum tg_error tls_session_open(struct tls_context *context,
                               const struct tls_session_options *options,
                               struct tls_session **opened, struct tg_fault *fault);
/* Says nothing to the peer. NULL is fine. */
void tls_session_close(struct tls_session *session);

/* Bytes that came from the wire. They stay the caller's, and where they are, until tls_session_read
 * has returned 0; only then may more be fed. */
void tls_session_feed(struct tls_session *session, const void *data, size_t bytes);

/* Goes on with the handshake, then decrypts: up to `room` bytes into `into`. 0: all that was fed is
 * consumed, or the session has ended or failed; look at its state. Without room it goes on with the
 * handshake alone. A client calls it once with nothing fed to begin. */
size_t tls_session_read(struct tls_session *session, void *into, size_t room);

/* The last tls_session_read may have left something. */
bool tls_session_has_more(const struct tls_session *session);

/* Encrypts all of it, to `out`. Only in TLS_OPEN and TLS_ENDED. False: it has failed. */
bool tls_session_write(struct tls_session *session, const void *data, size_t bytes);

/* Our last words: the peer learns that nothing was cut off. Nothing when the handshake is not over.
 */
void tls_session_finish(struct tls_session *session);

enum tls_state tls_session_state(const struct tls_session *session);

/* Why it has failed, as half a sentence; "" when it has not. Valid until it is closed. */
const char *tls_session_why(const struct tls_session *session);

/* "TLSv1.3, TLS_AES_128_GCM_SHA256" into `text`; what is spoken once the session is open. */
void tls_session_describe(const struct tls_session *session, char *text, size_t size);

#endif
