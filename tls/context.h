/* What TLS connections of one kind share: certificate, key, authorities, and what may be spoken.
 *
 * TLS 1.3, or 1.2 with forward secrecy and authenticated encryption; no renegotiation, no
 * compression, no early data. A server's context can read its files again while connections are
 * open: those that are open go on as they began, new ones get what was read. What does not hold
 * together is refused as a whole, and the old stays in force.
 *
 * Any thread may open sessions of a context (tls/session.h) while another reloads it; a lock is
 * held for as long as it takes to copy one pointer. One that asks for clients' certificates gives
 * no tickets: every connection shows its certificate anew, so that one that has expired since is
 * seen.
 */
#ifndef TG_TLS_CONTEXT_H
#define TG_TLS_CONTEXT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_context;

/* All files are PEM. Texts are borrowed for the call. */
struct tls_server_options {
    const char *certificate; /* the server's, then its chain */
    const char *key;         /* its private key, without a passphrase */
    const char *client_ca;   /* clients must show a certificate signed by one of these; NULL, "":
                              * they are not asked */
    bool only_1_3;
};

struct tls_client_options {
    const char *ca;          /* authorities to believe; NULL, "": those of the system */
    const char *certificate; /* to show when the server asks, with `key`; NULL, "": none */
    const char *key;
};

/* Since the context was opened. */
struct tls_stats {
    uint64_t open;         /* sessions now, those in their handshake too */
    uint64_t handshakes;   /* that succeeded */
    uint64_t resumed;      /* of those: by a ticket */
    uint64_t failed;       /* sessions that failed before they were open */
    int64_t expires_at_ms; /* of the certificate in force, Unix; 0: a client without one */
};

/* TG_ERR_INVALID names the file and what is wrong with it: missing, not readable, no PEM, a key
 * with a passphrase, a key of another certificate. A certificate that has expired, or soon will, or
 * is not valid yet, and a key that everybody on the machine can read, are told in the log and
 * taken. */
enum tg_error tls_server_open(const struct tls_server_options *options,
                              struct tls_context **context, struct tg_fault *fault);
enum tg_error tls_client_open(const struct tls_client_options *options,
                              struct tls_context **context, struct tg_fault *fault);

/* A server's context reads its files again. When it fails, all stays as it was. */
enum tg_error tls_context_reload(struct tls_context *context, struct tg_fault *fault);

void tls_context_stats(struct tls_context *context, struct tls_stats *stats);

/* Frees it when its last session has ended. NULL is fine. */
void tls_context_close(struct tls_context *context);

#endif
