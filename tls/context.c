#include "base/clock.h"
#include "base/log.h"
#include "tls/internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Forward secrecy and authenticated encryption alone. AES of 128 bits first: it is the fastest
 * where the processor has it, and OpenSSL prefers ChaCha20 for a client that does. */
#define SUITES_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SUITES_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS     "X25519:P-256:P-384"

/* What a peer may send us as its certificates, and how long their chain may be. */
#define CHAIN_BYTES_MAX (32 * 1024l)
#define CHAIN_LENGTH    5

/* A certificate that ends so soon is told in the log. */
#define EXPIRES_SOON_S (14l * 24 * 3600)

void tls_reason(char *text, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
    snprintf(text, size, "%s", reason ? reason : "no reason given");
    ERR_clear_error();
}

/* --- files --- */

static enum tg_error open_pem(const char *path, const char *what, FILE **file,
                              struct tg_fault *fault)
{
    *file = fopen(path, "re");
    if (!*file)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot read the %s %s", what,
                                  path);
    return TG_ERR_OK;
}

static enum tg_error bad_pem(const char *path, const char *what, struct tg_fault *fault)
{
    char reason[160];
    tls_reason(reason, sizeof(reason));
    return tg_fault_set(fault, TG_ERR_INVALID, "%s holds no %s in PEM form that can be used: %s",
                        path, what, reason);
}

/* OpenSSL asks for a passphrase: nobody is there to say it. `asked` may be NULL. */
static int no_passphrase(char *into, int size, int is_written, void *asked)
{
    (void)into, (void)size, (void)is_written;
    if (asked)
        *(bool *)asked = true;
    return -1;
}

static void warn_of_readers(FILE *file, const char *path)
{
    struct stat status;
    if (fstat(fileno(file), &status) == 0 && (status.st_mode & S_IRWXO) != 0)
        tg_log_warn(
            "everybody on this machine may open the private key %s (mode %03o): chmod 640 it", path,
            (unsigned)status.st_mode & 0777);
}

static enum tg_error use_key(SSL_CTX *ctx, const char *path, const char *certificate,
                             struct tg_fault *fault)
{
    FILE *file;
    enum tg_error error = open_pem(path, "private key", &file, fault);
    if (error != TG_ERR_OK)
        return error;
    warn_of_readers(file, path);
    bool asked = false;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_passphrase, &asked);
    fclose(file);
    if (!key && asked) {
        ERR_clear_error();
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the private key %s has a passphrase: store it without one, in a file "
                            "that the daemon's user alone can read",
                            path);
    }
    if (!key)
        return bad_pem(path, "private key", fault);
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        char reason[160];
        tls_reason(reason, sizeof(reason));
        error = tg_fault_set(fault, TG_ERR_INVALID,
                             "the private key %.200s does not belong to the certificate %.200s: %s",
                             path, certificate, reason);
    }
    EVP_PKEY_free(key);
    return error;
}

/* Unix seconds; 0 when it is no time. */
static int64_t unix_s(const ASN1_TIME *time)
{
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static void warn_of_dates(const X509 *certificate, const char *path)
{
    int64_t now_s = tg_clock_wall_ns() / TG_NS_PER_S;
    int64_t begins_s = unix_s(X509_get0_notBefore(certificate));
    int64_t ends_s = unix_s(X509_get0_notAfter(certificate));
    char date[32];
    struct tm parts;
    time_t told = (time_t)(begins_s > now_s ? begins_s : ends_s);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime_r(&told, &parts));
    if (begins_s > now_s)
        tg_log_warn("the certificate %s is valid only from %s on: clients refuse it until then",
                    path, date);
    else if (ends_s <= now_s)
        tg_log_warn("the certificate %s expired at %s: clients refuse it. Put a new one there and "
                    "reload",
                    path, date);
    else if (ends_s - now_s < EXPIRES_SOON_S)
        tg_log_warn("the certificate %s expires at %s: put a new one there and reload", path, date);
}

/* Certificate and key, together as they belong. */
static enum tg_error use_identity(SSL_CTX *ctx, const char *certificate, const char *key,
                                  struct tg_fault *fault)
{
    FILE *file;
    enum tg_error error = open_pem(certificate, "certificate", &file, fault);
    if (error != TG_ERR_OK)
        return error;
    fclose(file);
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
        return bad_pem(certificate, "certificate", fault);
    return use_key(ctx, key, certificate, fault);
}

static enum tg_error use_authorities(SSL_CTX *ctx, const char *path, struct tg_fault *fault)
{
    FILE *file;
    enum tg_error error = open_pem(path, "authorities", &file, fault);
    if (error != TG_ERR_OK)
        return error;
    fclose(file);
    return SSL_CTX_load_verify_file(ctx, path) == 1 ? TG_ERR_OK
                                                    : bad_pem(path, "certificate", fault);
}

/* --- what may be spoken --- */

static enum tg_error set_rules(SSL_CTX *ctx, bool only_1_3, struct tg_fault *fault)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets are kept by clients */
    SSL_CTX_set_max_cert_list(ctx, CHAIN_BYTES_MAX);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_verify_depth(ctx, CHAIN_LENGTH);
    if (SSL_CTX_set_min_proto_version(ctx, only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(ctx, SUITES_1_2) == 1 &&
        SSL_CTX_set_ciphersuites(ctx, SUITES_1_3) == 1 &&
        SSL_CTX_set1_groups_list(ctx, GROUPS) == 1)
        return TG_ERR_OK;
    char reason[160];
    tls_reason(reason, sizeof(reason));
    return tg_fault_set(fault, TG_ERR_UNSUPPORTED,
                        "this OpenSSL cannot speak TLS as Tidegate needs it: %s", reason);
}

static enum tg_error ask_clients(SSL_CTX *ctx, const char *client_ca, struct tg_fault *fault)
{
    enum tg_error error = use_authorities(ctx, client_ca, fault);
    if (error != TG_ERR_OK)
        return error;
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(client_ca));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    return TG_ERR_OK;
}

static enum tg_error set_server(const struct tls_context *context, SSL_CTX *ctx,
                                struct tg_fault *fault)
{
    static const unsigned char name[] = "tidegate";
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_session_id_context(ctx, name, sizeof(name) - 1);
    SSL_CTX_set_alpn_select_cb(ctx, tls_session_select, NULL);
    enum tg_error error = use_identity(ctx, context->certificate, context->key, fault);
    if (error == TG_ERR_OK && context->client_ca[0] != '\0')
        error = ask_clients(ctx, context->client_ca, fault);
    if (error == TG_ERR_OK)
        warn_of_dates(SSL_CTX_get0_certificate(ctx), context->certificate);
    return error;
}

static enum tg_error set_client(const struct tls_context *context, SSL_CTX *ctx,
                                struct tg_fault *fault)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (context->certificate[0] != '\0') {
        enum tg_error error = use_identity(ctx, context->certificate, context->key, fault);
        if (error != TG_ERR_OK)
            return error;
    }
    if (context->client_ca[0] != '\0')
        return use_authorities(ctx, context->client_ca, fault);
    if (SSL_CTX_set_default_verify_paths(ctx) != 1)
        return bad_pem("the system's store", "authorities", fault);
    return TG_ERR_OK;
}

static enum tg_error build(const struct tls_context *context, SSL_CTX **built,
                           struct tg_fault *fault)
{
    SSL_CTX *ctx = SSL_CTX_new(context->is_server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for TLS");
    enum tg_error error = set_rules(ctx, context->only_1_3, fault);
    if (error == TG_ERR_OK)
        error =
            context->is_server ? set_server(context, ctx, fault) : set_client(context, ctx, fault);
    if (error != TG_ERR_OK) {
        SSL_CTX_free(ctx);
        return error;
    }
    *built = ctx;
    return TG_ERR_OK;
}

/* --- life --- */

static enum tg_error copy_path(char into[TLS_PATH_BYTES], const char *path, struct tg_fault *fault)
{
    int size = snprintf(into, TLS_PATH_BYTES, "%s", path ? path : "");
    if (size >= TLS_PATH_BYTES)
        return tg_fault_set(fault, TG_ERR_INVALID, "the path %.40s... is longer than %d bytes",
                            path, TLS_PATH_BYTES - 1);
    return TG_ERR_OK;
}

static void put_in_force(struct tls_context *context, SSL_CTX *ctx)
{
    const X509 *certificate = SSL_CTX_get0_certificate(ctx);
    int64_t ends_s = certificate ? unix_s(X509_get0_notAfter(certificate)) : 0;
    atomic_store_explicit(&context->expires_at_ms, ends_s * 1000, memory_order_relaxed);
    pthread_mutex_lock(&context->lock);
    SSL_CTX *before = context->ctx;
    context->ctx = ctx;
    pthread_mutex_unlock(&context->lock);
    SSL_CTX_free(before);
}

static enum tg_error open_context(const struct tls_context *with, const char *certificate,
                                  const char *key, const char *ca, struct tls_context **opened,
                                  struct tg_fault *fault)
{
    *opened = NULL;
    struct tls_context *context = malloc(sizeof(*context));
    if (!context)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for TLS");
    *context = *with;
    pthread_mutex_init(&context->lock, NULL);
    atomic_store_explicit(&context->references, 1, memory_order_relaxed);
    enum tg_error error;
    if ((error = copy_path(context->certificate, certificate, fault)) != TG_ERR_OK ||
        (error = copy_path(context->key, key, fault)) != TG_ERR_OK ||
        (error = copy_path(context->client_ca, ca, fault)) != TG_ERR_OK ||
        (error = tls_context_reload(context, fault)) != TG_ERR_OK) {
        tls_context_close(context);
        return error;
    }
    *opened = context;
    return TG_ERR_OK;
}

enum tg_error tls_server_open(const struct tls_server_options *options,
                              struct tls_context **context, struct tg_fault *fault)
{
    const struct tls_context with = {.is_server = true, .only_1_3 = options->only_1_3};
    return open_context(&with, options->certificate, options->key, options->client_ca, context,
                        fault);
}

enum tg_error tls_client_open(const struct tls_client_options *options,
                              struct tls_context **context, struct tg_fault *fault)
{
    const struct tls_context with = {0};
    bool certificate = options->certificate && options->certificate[0] != '\0';
    bool key = options->key && options->key[0] != '\0';
    *context = NULL;
    if (certificate != key)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "a client's certificate and its private key go together: %s is missing",
                            certificate ? "the key" : "the certificate");
    return open_context(&with, options->certificate, options->key, options->ca, context, fault);
}

enum tg_error tls_context_reload(struct tls_context *context, struct tg_fault *fault)
{
    SSL_CTX *ctx = NULL;
    enum tg_error error = build(context, &ctx, fault);
    if (error == TG_ERR_OK)
        put_in_force(context, ctx);
    return error;
}

SSL_CTX *tls_context_take(struct tls_context *context)
{
    pthread_mutex_lock(&context->lock);
    SSL_CTX *ctx = context->ctx;
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&context->lock);
    return ctx;
}

void tls_context_stats(struct tls_context *context, struct tls_stats *stats)
{
    *stats = (struct tls_stats){
        .open = atomic_load_explicit(&context->open, memory_order_relaxed),
        .handshakes = atomic_load_explicit(&context->handshakes, memory_order_relaxed),
        .resumed = atomic_load_explicit(&context->resumed, memory_order_relaxed),
        .failed = atomic_load_explicit(&context->failed, memory_order_relaxed),
        .expires_at_ms = atomic_load_explicit(&context->expires_at_ms, memory_order_relaxed),
    };
}

void tls_context_release(struct tls_context *context)
{
    if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1)
        return;
    SSL_CTX_free(context->ctx);
    pthread_mutex_destroy(&context->lock);
    free(context);
}

void tls_context_close(struct tls_context *context)
{
    if (context)
        tls_context_release(context);
}
