/* What context.c and session.c share. */
#ifndef TG_TLS_INTERNAL_H
#define TG_TLS_INTERNAL_H

#include "tls/context.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#define TLS_PATH_BYTES 1024
#define TLS_WHY_BYTES  256

struct tls_context {
    bool is_server;
    bool only_1_3;
    char certificate[TLS_PATH_BYTES];
    char key[TLS_PATH_BYTES];
    char client_ca[TLS_PATH_BYTES];
    pthread_mutex_t lock; /* of `ctx` alone */
    SSL_CTX *ctx;         /* in force; each session holds the one that it began with */
    _Atomic int64_t expires_at_ms;
    /* any thread, relaxed: figures */
    _Atomic uint64_t handshakes;
    _Atomic uint64_t resumed;
    _Atomic uint64_t failed;
    _Atomic uint64_t open;
    /* sessions, and one for whoever opened it; pairs with itself: who takes it to 0 has seen all */
    _Atomic uint64_t references;
};

/* The SSL_CTX in force; the caller frees it. */
SSL_CTX *tls_context_take(struct tls_context *context);
/* One reference less. */
void tls_context_release(struct tls_context *context);

/* The newest reason in OpenSSL's queue of errors, which is then empty. */
void tls_reason(char *text, size_t size);

/* For the SSL_CTX of a server: picks the protocol that its session speaks. Session.c. */
int tls_session_select(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                       const unsigned char *in, unsigned int in_bytes, void *arg);

#endif
