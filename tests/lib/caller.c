#include "tests/lib/caller.h"

#include "tests/lib/sale.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- what comes --- */

static void keep_text(char *out, size_t room, const uint8_t *value, size_t bytes)
{
    snprintf(out, room, "%.*s", (int)bytes, (const char *)value);
}

static bool is(const uint8_t *name, size_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(name, word, bytes) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *context)
{
    (void)flags;
    (void)context;
    struct caller_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (is(name, name_bytes, ":status"))
        call->http_status = atoi((const char *)value);
    else if (is(name, name_bytes, "grpc-status"))
        call->status = atoi((const char *)value);
    else if (is(name, name_bytes, "grpc-message"))
        keep_text(call->message, sizeof(call->message), value, value_bytes);
    else if (is(name, name_bytes, "grpc-status-details-bin"))
        keep_text(call->details, sizeof(call->details), value, value_bytes);
    else if (is(name, name_bytes, "grpc-accept-encoding"))
        keep_text(call->accepts, sizeof(call->accepts), value, value_bytes);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t bytes, void *context)
{
    (void)flags;
    (void)context;
    struct caller_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    size_t room = sizeof(call->answer);
    if (call->answer_bytes < room) {
        size_t piece = bytes < room - call->answer_bytes ? bytes : room - call->answer_bytes;
        memcpy(call->answer + call->answer_bytes, data, piece);
    }
    call->answer_bytes += bytes;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)session;
    struct caller *caller = context;
    if (frame->hd.type != NGHTTP2_GOAWAY)
        return 0;
    caller->heard_goaway = true;
    caller->goaway_code = frame->goaway.error_code;
    keep_text(caller->goaway_text, sizeof(caller->goaway_text), frame->goaway.opaque_data,
              frame->goaway.opaque_data_len);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *context)
{
    (void)context;
    struct caller_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    call->is_closed = true;
    call->reset = error_code;
    return 0;
}

/* --- the connection --- */

static int connect_to(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect: %s",
              strerror(errno));
    return fd;
}

struct caller *caller_open(const struct daemon *daemon, uint32_t window_bytes)
{
    struct caller *caller = calloc(1, sizeof(*caller));
    cr_assert(caller && daemon->grpc_port != 0);
    nghttp2_session_callbacks *callbacks;
    cr_assert_eq(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option *option; /* what a peer must not do is the test's to say */
    cr_assert_eq(nghttp2_option_new(&option), 0);
    nghttp2_option_set_peer_max_concurrent_streams(option, CALLER_CALLS_MAX);
    nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
    cr_assert_eq(nghttp2_session_client_new2(&caller->session, callbacks, caller, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_bytes}};
    cr_assert_eq(nghttp2_submit_settings(caller->session, NGHTTP2_FLAG_NONE, settings, 1), 0);
    caller->fd = connect_to(daemon->grpc_port);
    return caller;
}

void caller_close(struct caller *caller)
{
    nghttp2_session_del(caller->session);
    close(caller->fd);
    for (uint32_t i = 0; i < caller->call_count; i++)
        free(caller->calls[i].said);
    free(caller);
}

static void send_all(struct caller *caller)
{
    const uint8_t *data;
    ssize_t bytes;
    while (!caller->has_ended && (bytes = nghttp2_session_mem_send(caller->session, &data)) > 0)
        while (bytes > 0) {
            ssize_t sent = send(caller->fd, data, (size_t)bytes, MSG_NOSIGNAL);
            caller->has_ended = sent < 0;
            if (caller->has_ended)
                break;
            data += sent;
            bytes -= sent;
        }
}

/* Reads once; false when nothing came in time. */
static bool hear(struct caller *caller, int timeout_ms)
{
    uint8_t in[16384];
    struct pollfd event = {.fd = caller->fd, .events = POLLIN};
    if (caller->has_ended || poll(&event, 1, timeout_ms) != 1)
        return false;
    ssize_t got = recv(caller->fd, in, sizeof(in), 0);
    caller->has_ended = got <= 0;
    if (got > 0)
        cr_assert(nghttp2_session_mem_recv(caller->session, in, (size_t)got) >= 0);
    return true;
}

void caller_turn(struct caller *caller, int quiet_ms)
{
    do
        send_all(caller);
    while (hear(caller, quiet_ms));
}

void caller_wait(struct caller *caller, const struct caller_call *call)
{
    send_all(caller);
    while (!call->is_closed) {
        cr_assert(hear(caller, DAEMON_WAIT_MS), "no answer to a call");
        send_all(caller);
    }
}

void caller_wait_bytes(struct caller *caller, const struct caller_call *call, size_t bytes)
{
    send_all(caller);
    while (call->answer_bytes < bytes) {
        cr_assert(!call->is_closed && hear(caller, DAEMON_WAIT_MS), "no answer to a call");
        send_all(caller);
    }
}

void caller_wait_end(struct caller *caller)
{
    send_all(caller);
    while (!caller->has_ended) {
        cr_assert(hear(caller, DAEMON_WAIT_MS), "the connection does not end");
        send_all(caller);
    }
}

/* --- calls --- */

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *context)
{
    (void)session;
    (void)stream_id;
    (void)context;
    struct caller_call *call = source->ptr;
    size_t rest = call->body_bytes - call->body_sent;
    size_t piece = rest < room ? rest : room;
    if (piece > 0)
        memcpy(out, call->body + call->body_sent, piece);
    call->body_sent += piece;
    if (piece == rest && !call->stays_open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return piece == 0 && call->stays_open ? NGHTTP2_ERR_DEFERRED : (ssize_t)piece;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

struct caller_call *caller_begin(struct caller *caller, const char *path, const char *name,
                                 const char *value, const void *body, size_t bytes, bool stays_open)
{
    nghttp2_nv fields[8] = {field(":method", "POST"),
                            field(":scheme", "http"),
                            field(":path", path),
                            field(":authority", "127.0.0.1"),
                            field("content-type", "application/grpc"),
                            field("te", "trailers")};
    size_t count = 6, at = 0;
    while (name && at < count &&
           (fields[at].namelen != strlen(name) || memcmp(fields[at].name, name, strlen(name)) != 0))
        at++;
    if (name)
        fields[at] = field(name, value);
    count += name && at == count;
    cr_assert(caller->call_count < CALLER_CALLS_MAX);
    struct caller_call *call = &caller->calls[caller->call_count++];
    *call = (struct caller_call){
        .body = body, .body_bytes = bytes, .stays_open = stays_open, .status = -1};
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_body};
    call->stream_id = nghttp2_submit_request(caller->session, NULL, fields, count, &provider, call);
    cr_assert(call->stream_id > 0);
    return call;
}

struct caller_call *caller_say(struct caller *caller, const char *method, const char *name,
                               const char *value, const void *message, size_t bytes)
{
    char path[128];
    uint8_t *body = malloc(5 + bytes);
    cr_assert(body);
    snprintf(path, sizeof(path), "/tidegate.v1.TidegateService/%s", method);
    memcpy(body, (uint8_t[]){0, 0, 0, (uint8_t)(bytes >> 8), (uint8_t)bytes}, 5);
    if (bytes > 0)
        memcpy(body + 5, message, bytes);
    struct caller_call *call = caller_begin(caller, path, name, value, body, 5 + bytes, false);
    call->said = body;
    return call;
}

void caller_expect(struct caller *caller, const struct caller_call *call, int status)
{
    caller_wait(caller, call);
    cr_assert_eq(call->http_status, 200);
    cr_assert_eq(call->status, status, "grpc-status %d (%s), not %d", call->status, call->message,
                 status);
    cr_assert(status == 0 || call->message[0] != '\0', "a status without a word");
}

size_t caller_order(uint8_t *out, uint64_t sale_id, const char *sku, uint64_t user_id)
{
    struct tg_order order = sale_order(sale_id, sku, user_id, 1);
    uint8_t element[TG_ORDER_FRAME_BYTES_MAX];
    struct tg_bytes body = {.data = element, .size = tg_orders_element(element, &order)}, message;
    bool malformed;
    cr_assert(tg_orders_next(&body, &message, &malformed));
    memcpy(out, message.data, message.size);
    return message.size;
}

size_t caller_raw(uint16_t port, const void *bytes, size_t size, char *out, size_t room)
{
    int fd = connect_to(port);
    size_t have = 0;
    const uint8_t *from = bytes;
    for (size_t sent = 0; sent < size;) {
        ssize_t piece = send(fd, from + sent, size - sent, MSG_NOSIGNAL);
        if (piece < 0)
            break; /* it has heard enough */
        sent += (size_t)piece;
    }
    for (;;) {
        struct pollfd event = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&event, 1, DAEMON_WAIT_MS), 1, "the connection does not end");
        ssize_t got = recv(fd, out + have, room - 1 - have, 0);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    close(fd);
    out[have] = '\0';
    return have;
}
