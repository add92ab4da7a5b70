#include "server/admin.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/log.h"
#include "base/thread.h"
#include "server/exchange.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long the thread sleeps at most. */
#define SLEEP_MS_MAX 500

/* --- one request --- */

void srv_exchange_fail(struct srv_exchange *exchange, unsigned status, const char *reason,
                       const char *format, ...)
{
    char message[512];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    exchange->status = status;
    exchange->type = "application/json; charset=utf-8";
    srv_body_clear(&exchange->body);
    srv_body_add(&exchange->body, "{\"error\":{\"reason\":\"%s\",\"message\":", reason);
    srv_body_add_json(&exchange->body, message, strlen(message));
    srv_body_add(&exchange->body, "}}\n");
}

static enum MHD_Result on_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    (void)kind;
    srv_query_add(context, name, value);
    return MHD_YES;
}

/* What every answer says: nobody guesses its type, frames it or keeps it. */
static void add_headers(const struct srv_exchange *exchange, struct MHD_Response *response)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, exchange->type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    MHD_add_response_header(response, "Content-Security-Policy",
                            exchange->is_page
                                ? "default-src 'none'; script-src 'self'; style-src 'self'; "
                                  "img-src 'self' data:; font-src 'self'; connect-src 'self'; "
                                  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                                : "default-src 'none'; frame-ancestors 'none'");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                            exchange->etag ? "no-cache" : "no-store");
    if (exchange->etag)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, exchange->etag);
    if (exchange->retry)
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (exchange->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (exchange->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
}

static struct MHD_Response *make_response(struct srv_exchange *exchange)
{
    if (exchange->response)
        return exchange->response;
    if (exchange->fixed)
        return MHD_create_response_from_buffer(exchange->fixed_bytes, (void *)exchange->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    if (!srv_body_is_whole(&exchange->body))
        return NULL;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        exchange->body.bytes, exchange->body.text, MHD_RESPMEM_MUST_FREE);
    if (response)
        exchange->body = (struct srv_body){0};
    return response;
}

/* Sends the answer; MHD_NO closes the connection without one, for want of memory. */
static enum MHD_Result send_answer(struct srv_exchange *exchange)
{
    struct srv_admin *admin = exchange->admin;
    struct MHD_Response *response = make_response(exchange);
    srv_body_free(&exchange->body);
    tg_count(&admin->stats.requests, 1);
    tg_count(&admin->stats.refused, exchange->status >= 400);
    tg_count(&admin->stats.unauthorized,
             exchange->status == MHD_HTTP_UNAUTHORIZED || exchange->status == MHD_HTTP_FORBIDDEN);
    if (!response) {
        tg_log_warn("an answer of the admin listener did not fit the memory there is");
        return MHD_NO;
    }
    add_headers(exchange, response);
    enum MHD_Result queued = MHD_queue_response(exchange->connection, exchange->status, response);
    MHD_destroy_response(response);
    return queued;
}

static bool is_reading(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *bytes =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (bytes && strcmp(bytes, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                       MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/* Called when the head of a request is there, again behind it, and once more when its answer has
 * waited; `*own` tells which. Nothing here takes a body: a request that has one is refused by its
 * head, and its connection closes. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **own)
{
    static int seen, waited;
    struct srv_admin *admin = context;
    struct srv_exchange exchange = {.admin = admin,
                                    .connection = connection,
                                    .path = path,
                                    .status = MHD_HTTP_OK,
                                    .has_waited = *own == &waited};
    (void)version;
    (void)upload;
    (void)upload_bytes;
    if (!is_reading(method)) {
        srv_exchange_fail(&exchange, MHD_HTTP_METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED",
                          "%.16s is not answered here: GET and HEAD are", method);
        return send_answer(&exchange);
    }
    if (!*own && has_body(connection)) {
        srv_exchange_fail(&exchange, MHD_HTTP_CONTENT_TOO_LARGE, "NO_BODY",
                          "a request here has no body");
        return send_answer(&exchange);
    }
    if (!*own) {
        *own = &seen;
        return MHD_YES;
    }
    if (admin->https.client_ca && !srv_https_client_is_known(connection)) {
        srv_exchange_fail(&exchange, MHD_HTTP_FORBIDDEN, "CLIENT_CERTIFICATE",
                          "show a certificate that tls.client_ca has signed");
        return send_answer(&exchange);
    }
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_parameter, &exchange.query);
    if (srv_door_knows_name(&exchange))
        srv_routes_answer(&exchange);
    if (!exchange.waits)
        return send_answer(&exchange);
    srv_body_free(&exchange.body);
    *own = &waited;
    return MHD_YES;
}

/* --- the thread --- */

static void open_watch(struct srv_admin *admin)
{
    struct tg_fault fault;
    if (admin->watch.is_open || !atomic_load_explicit(&admin->serving, memory_order_acquire))
        return;
    if (srv_watch_open(&admin->watch, admin->server, &fault) != TG_ERR_OK)
        tg_log_error("the admin listener has no figures: %s", fault.text);
}

/* Figures, streams that wait for them, and refusals that wait. Returns how long nothing is due, in
 * ms. */
static int turn(struct srv_admin *admin)
{
    open_watch(admin);
    if (!admin->watch.is_open)
        return SLEEP_MS_MAX;
    int64_t idle_ns = srv_watch_turn(&admin->watch);
    if (admin->streamed_tick != admin->watch.ticks) {
        admin->streamed_tick = admin->watch.ticks;
        srv_streams_wake(admin);
    }
    int64_t now_ns = tg_clock_mono_ns(), due_ns = srv_door_turn(&admin->door, now_ns, false);
    if (due_ns - now_ns < idle_ns)
        idle_ns = due_ns - now_ns;
    int64_t idle_ms = (idle_ns + TG_NS_PER_MS - 1) / TG_NS_PER_MS;
    return idle_ms < SLEEP_MS_MAX ? (int)idle_ms : SLEEP_MS_MAX;
}

static void wait_for_work(struct srv_admin *admin, int timeout_ms)
{
    MHD_UNSIGNED_LONG_LONG http_ms;
    if (MHD_get_timeout(admin->http, &http_ms) == MHD_YES && http_ms < (unsigned)timeout_ms)
        timeout_ms = (int)http_ms;
    struct pollfd events[] = {
        {.fd = MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
         .events = POLLIN},
        {.fd = admin->waker.event_fd, .events = POLLIN},
    };
    tg_waker_doze(&admin->waker);
    if (atomic_load_explicit(&admin->stopping, memory_order_acquire))
        timeout_ms = 0;
    uint64_t count;
    if (poll(events, 2, timeout_ms) > 0 && (events[1].revents & POLLIN) &&
        read(admin->waker.event_fd, &count, sizeof(count)) < 0)
        tg_log_warn("the admin thread cannot read its wake-ups");
    tg_waker_rise(&admin->waker);
}

/* Its own log is not asked for: it tells of nothing but clients that went away. */
static enum tg_error start_http(struct srv_admin *admin, struct tg_fault *fault)
{
    const struct srv_config *config = &admin->server->config;
    struct MHD_OptionItem tls[SRV_HTTPS_OPTIONS];
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    srv_https_options(&admin->https, tls);
    admin->http = MHD_start_daemon(
        srv_https_is_on(&admin->https) ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_request,
        admin, MHD_OPTION_LISTEN_SOCKET, admin->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)config->clients_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)config->clients_per_address_max, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)SRV_ADMIN_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)SRV_ADMIN_HEAD_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    return admin->http ? TG_ERR_OK
                       : tg_fault_set(fault, TG_ERR_SYSTEM, "cannot start the admin listener");
}

/* What is awake ends by itself; what is suspended could not be closed. */
static void stop_http(struct srv_admin *admin)
{
    admin->closing = true;
    srv_streams_wake(admin);
    srv_door_turn(&admin->door, 0, true);
    MHD_run(admin->http);
    MHD_run(admin->http);
    MHD_stop_daemon(admin->http);
    admin->closing = false;
}

/* libmicrohttpd takes no other certificate while it runs: it begins anew on the same socket. */
static void reload_tls(struct srv_admin *admin)
{
    struct srv_https fresh, before = admin->https;
    struct tg_fault fault;
    if (srv_https_read(&admin->server->config, &fresh, &fault) != TG_ERR_OK) {
        tg_log_error("%s: the certificate stays as it was", fault.text);
        return;
    }
    if (srv_https_is_same(&fresh, &before)) {
        srv_https_free(&fresh);
        return;
    }
    MHD_quiesce_daemon(admin->http); /* leaves the socket open */
    stop_http(admin);
    admin->https = fresh;
    if (start_http(admin, &fault) == TG_ERR_OK) {
        srv_https_free(&before);
        return;
    }
    tg_log_error("%s with the new certificate: the old one stays", fault.text);
    srv_https_free(&fresh);
    admin->https = before;
    if (start_http(admin, &fault) == TG_ERR_OK)
        return;
    tg_log_error("%s: it is gone until the next start", fault.text);
}

static void *run(void *argument)
{
    struct srv_admin *admin = argument;
    while (!atomic_load_explicit(&admin->stopping, memory_order_acquire)) {
        wait_for_work(admin, turn(admin));
        if (atomic_exchange_explicit(&admin->reloading, false, memory_order_acquire))
            reload_tls(admin);
        if (!admin->http)
            break;
        MHD_run(admin->http);
    }
    if (admin->http)
        stop_http(admin);
    srv_https_free(&admin->https);
    srv_body_free(&admin->sales);
    srv_watch_close(&admin->watch);
    return NULL;
}

/* --- start and stop --- */

enum tg_error srv_admin_start(struct srv_server *server, const struct net_address *address,
                              struct srv_admin **result, struct tg_fault *fault)
{
    struct srv_admin *admin = aligned_alloc(128, (sizeof(*admin) + 127) / 128 * 128);
    if (!admin)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the admin listener");
    memset(admin, 0, sizeof(*admin));
    admin->server = server;
    admin->address = *address;
    enum tg_error error = net_listen_check(address, fault);
    if (!error)
        error = net_listen(&admin->address, &admin->listen_fd, fault);
    if (error)
        goto err_after_memory;
    error = tg_waker_init(&admin->waker, fault);
    if (error)
        goto err_after_listen;
    error = srv_https_read(&server->config, &admin->https, fault);
    if (error)
        goto err_after_waker;
    error = srv_door_init(&admin->door, admin, fault);
    if (error)
        goto err_after_https;
    error = start_http(admin, fault);
    if (error)
        goto err_after_https;
    error = tg_thread_start(&admin->thread, run, admin, "admin", fault);
    if (error)
        goto err_after_http; /* with which the socket goes */
    *result = admin;
    return TG_ERR_OK;

err_after_http:
    MHD_stop_daemon(admin->http);
    admin->listen_fd = -1;
err_after_https:
    srv_https_free(&admin->https);
err_after_waker:
    tg_waker_fini(&admin->waker);
err_after_listen:
    if (admin->listen_fd >= 0)
        close(admin->listen_fd);
err_after_memory:
    free(admin);
    return error;
}

const struct net_address *srv_admin_address(const struct srv_admin *admin)
{
    return &admin->address;
}

void srv_admin_serve(struct srv_admin *admin)
{
    /* pairs with the acquire in open_watch: what recovery built is there */
    atomic_store_explicit(&admin->serving, true, memory_order_release);
    tg_waker_wake(&admin->waker);
}

void srv_admin_reload(struct srv_admin *admin)
{
    if (!admin)
        return;
    atomic_store_explicit(&admin->reloading, true, memory_order_release);
    tg_waker_wake(&admin->waker);
}

void srv_admin_stop(struct srv_admin *admin)
{
    if (!admin)
        return;
    atomic_store_explicit(&admin->stopping, true, memory_order_release);
    tg_waker_wake(&admin->waker);
    pthread_join(admin->thread, NULL);
    tg_waker_fini(&admin->waker);
    free(admin);
}
