#include "tls/session.h"

#include "base/assert.h"
#include "tls/internal.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_session {
    SSL *ssl;
    struct tls_context *context; /* a reference */
    enum tls_state state;
    bool is_drained;    /* the last read came to the end of what was fed */
    const uint8_t *fed; /* borrowed */
    size_t fed_bytes;
    const char *protocol; /* borrowed, constant */
    tls_out *out;
    void *out_context;
    char *why; /* owned; NULL: it has not failed */
};

/* --- bytes from and to the wire: a BIO over `fed` and `out` --- */

static int bio_read(BIO *bio, char *into, size_t room, size_t *got)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *got = session->fed_bytes < room ? session->fed_bytes : room;
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(into, session->fed, *got);
    session->fed += *got;
    session->fed_bytes -= *got;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t bytes, size_t *written)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *written = bytes;
    return session->out(session->out_context, data, bytes) ? 1 : 0;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0; /* nothing is kept back */
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method; /* NULL without memory; lives as long as the process */

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tidegate memory");
    if (!method)
        return;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
}

static bool attach(struct tls_session *session)
{
    pthread_once(&method_once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio)
        return false;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio);
    return true;
}

/* --- what is spoken inside --- */

/* A protocol's name as ALPN lists it: its length, then its bytes. */
static size_t listed(const char *protocol, uint8_t list[64])
{
    size_t bytes = strlen(protocol);
    tg_assert(bytes < 63);
    list[0] = (uint8_t)bytes;
    memcpy(list + 1, protocol, bytes);
    return bytes + 1;
}

int tls_session_select(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                       const unsigned char *in, unsigned int in_bytes, void *arg)
{
    (void)arg;
    const struct tls_session *session = SSL_get_app_data(ssl);
    size_t bytes = strlen(session->protocol);
    for (unsigned int at = 0; at < in_bytes; at += in[at] + 1u)
        if (in[at] == bytes && memcmp(in + at + 1, session->protocol, bytes) == 0) {
            *out = in + at + 1;
            *out_bytes = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static enum tg_error set_peer(struct tls_session *session, const char *name, struct tg_fault *fault)
{
    uint8_t list[64];
    X509_VERIFY_PARAM *rules = SSL_get0_param(session->ssl);
    bool is_address = X509_VERIFY_PARAM_set1_ip_asc(rules, name) == 1;
    ERR_clear_error();
    if (!is_address && (SSL_set1_host(session->ssl, name) != 1 ||
                        SSL_set_tlsext_host_name(session->ssl, name) != 1)) {
        ERR_clear_error();
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "'%.80s' is neither a host name nor an IP address that a certificate "
                            "could name",
                            name);
    }
    /* Here, and nowhere else, 0 is success. */
    if (SSL_set_alpn_protos(session->ssl, list, (unsigned)listed(session->protocol, list)) != 0)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a TLS session");
    return TG_ERR_OK;
}

/* --- life --- */

enum tg_error tls_session_open(struct tls_context *context,
                               const struct tls_session_options *options,
                               struct tls_session **opened, struct tg_fault *fault)
{
    *opened = NULL;
    struct tls_session *session = calloc(1, sizeof(*session));
    if (!session)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a TLS session");
    session->context = context;
    session->is_drained = true;
    session->protocol = options->protocol;
    session->out = options->out;
    session->out_context = options->out_context;
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&context->open, 1, memory_order_relaxed);
    SSL_CTX *ctx = tls_context_take(context);
    session->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    enum tg_error error = TG_ERR_OK;
    if (!session->ssl || !attach(session)) {
        ERR_clear_error();
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a TLS session");
        goto err_after_alloc;
    }
    SSL_set_app_data(session->ssl, session);
    if (context->is_server) {
        SSL_set_accept_state(session->ssl);
    } else {
        SSL_set_connect_state(session->ssl);
        error = set_peer(session, options->name, fault);
    }
    if (error != TG_ERR_OK)
        goto err_after_alloc;
    *opened = session;
    return TG_ERR_OK;

err_after_alloc:
    tls_session_close(session);
    return error;
}

void tls_session_close(struct tls_session *session)
{
    if (!session)
        return;
    SSL_free(session->ssl);
    atomic_fetch_sub_explicit(&session->context->open, 1, memory_order_relaxed);
    tls_context_release(session->context);
    free(session->why);
    free(session);
}

/* --- why it failed --- */

/* The peer's alert is no error of ours: it says what the peer thinks. */
static void tell_alert(char text[TLS_WHY_BYTES], int reason)
{
    bool is_required =
        reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED; /* it has no words for it */
    /* A port that speaks plain has no other words for one that begins TLS on it. */
    bool is_plain = reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION;
    snprintf(text, TLS_WHY_BYTES, "the peer says: %s%s",
             is_required ? "certificate required"
                         : SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET),
             is_plain ? ", as a port does that does not speak TLS" : "");
}

static void tell_certificate(const struct tls_session *session, char text[TLS_WHY_BYTES])
{
    long result = SSL_get_verify_result(session->ssl);
    const char *peer = session->context->is_server ? "client" : "server";
    snprintf(text, TLS_WHY_BYTES, "the %s's certificate does not hold: %s", peer,
             X509_verify_cert_error_string(result));
}

static void tell_reason(const struct tls_session *session, int code, char text[TLS_WHY_BYTES])
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);
    bool is_ssl = ERR_GET_LIB(error) == ERR_LIB_SSL;
    if (code == SSL_ERROR_SYSCALL)
        snprintf(text, TLS_WHY_BYTES, "its output found no room");
    else if (is_ssl && reason >= SSL_AD_REASON_OFFSET)
        tell_alert(text, reason);
    else if (is_ssl && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        tell_certificate(session, text);
    else if (is_ssl && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        snprintf(text, TLS_WHY_BYTES, "the client shows no certificate, and must");
    else if (is_ssl && (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST))
        snprintf(text, TLS_WHY_BYTES, "the peer does not speak TLS here");
    else
        tls_reason(text, TLS_WHY_BYTES);
    ERR_clear_error();
}

static void fail(struct tls_session *session, int code)
{
    char text[TLS_WHY_BYTES];
    if (session->state == TLS_HANDSHAKE)
        atomic_fetch_add_explicit(&session->context->failed, 1, memory_order_relaxed);
    tell_reason(session, code, text);
    session->why = strdup(text);
    session->state = TLS_FAILED;
    session->fed_bytes = 0;
    session->is_drained = true;
}

/* What OpenSSL says when it does not go on. */
static void stop(struct tls_session *session, int result)
{
    int code = SSL_get_error(session->ssl, result);
    session->is_drained = true;
    if (code == SSL_ERROR_WANT_READ) {
        tg_assert(session->fed_bytes == 0);
        return;
    }
    if (code != SSL_ERROR_ZERO_RETURN) {
        fail(session, code);
        return;
    }
    session->state = TLS_ENDED;
    session->fed_bytes = 0; /* what comes behind a goodbye is nothing */
}

/* --- bytes --- */

void tls_session_feed(struct tls_session *session, const void *data, size_t bytes)
{
    tg_assert(session->fed_bytes == 0);
    if (session->state == TLS_ENDED || session->state == TLS_FAILED)
        return;
    session->fed = data;
    session->fed_bytes = bytes;
    session->is_drained = false;
}

static bool shake_hands(struct tls_session *session)
{
    ERR_clear_error();
    int result = SSL_do_handshake(session->ssl);
    if (result != 1) {
        stop(session, result);
        return false;
    }
    session->state = TLS_OPEN;
    atomic_fetch_add_explicit(&session->context->handshakes, 1, memory_order_relaxed);
    if (SSL_session_reused(session->ssl))
        atomic_fetch_add_explicit(&session->context->resumed, 1, memory_order_relaxed);
    return true;
}

size_t tls_session_read(struct tls_session *session, void *into, size_t room)
{
    if (session->state == TLS_HANDSHAKE && !shake_hands(session))
        return 0;
    if (session->state != TLS_OPEN || room == 0)
        return 0;
    size_t got = 0;
    ERR_clear_error();
    int result = SSL_read_ex(session->ssl, into, room, &got);
    if (result != 1)
        stop(session, result);
    return got;
}

bool tls_session_has_more(const struct tls_session *session)
{
    return !session->is_drained;
}

bool tls_session_write(struct tls_session *session, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        if (session->state != TLS_OPEN && session->state != TLS_ENDED)
            return false;
        size_t written = 0;
        ERR_clear_error();
        int result = SSL_write_ex(session->ssl, from, bytes, &written);
        if (result != 1) {
            fail(session, SSL_get_error(session->ssl, result));
            return false;
        }
        from += written;
        bytes -= written;
    }
    return true;
}

void tls_session_finish(struct tls_session *session)
{
    if (session->state != TLS_OPEN && session->state != TLS_ENDED)
        return;
    ERR_clear_error();
    SSL_shutdown(session->ssl);
    ERR_clear_error();
}

enum tls_state tls_session_state(const struct tls_session *session)
{
    return session->state;
}

const char *tls_session_why(const struct tls_session *session)
{
    bool failed = session->state == TLS_FAILED;
    return session->why ? session->why : failed ? "no memory to say why" : "";
}

void tls_session_describe(const struct tls_session *session, char *text, size_t size)
{
    snprintf(text, size, "%s, %s", SSL_get_version(session->ssl),
             SSL_get_cipher_name(session->ssl));
}
