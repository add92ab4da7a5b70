/* Calls: their headers, their request message, their answers and their end. */
#include "net/grpc_conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/token.h"

#include <stdlib.h>
#include <string.h>

/* Slots are the low bits of a correlation id; the rest tells the calls of one slot apart. */
#define SLOT_BITS 10

_Static_assert(NET_GRPC_STREAMS_MAX <= 1 << SLOT_BITS, "a slot fits");

static bool is(const uint8_t *text, size_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(text, word, bytes) == 0;
}

static bool begins(const uint8_t *text, size_t bytes, const char *word)
{
    return bytes >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

static void end(struct net_grpc_call *call, enum net_grpc_code code, const char *reason,
                const char *message)
{
    struct net_grpc_status status = {.code = code, .reason = reason, .message = message};
    net_grpc_call_end(call, &status);
}

/* --- slots --- */

uint64_t net_grpc_call_name(const struct net_grpc_call *call)
{
    return (uint64_t)(call->generation + 1) << SLOT_BITS | call->slot;
}

struct net_grpc_call *net_grpc_call_find(const struct net_grpc_conn *conn, uint64_t correlation_id)
{
    uint64_t slot = correlation_id & ((1 << SLOT_BITS) - 1);
    struct net_grpc_call *call = slot < conn->slots ? conn->calls[slot] : NULL;
    return call && call->state != NET_GRPC_FREE && net_grpc_call_name(call) == correlation_id
               ? call
               : NULL;
}

static struct net_grpc_call *new_call(struct net_grpc_conn *conn)
{
    if (conn->slots == conn->grpc->options.streams_max)
        return NULL;
    struct net_grpc_call *call = calloc(1, sizeof(*call));
    if (!call)
        return NULL;
    call->conn = conn;
    call->slot = conn->slots;
    conn->calls[conn->slots++] = call;
    return call;
}

struct net_grpc_call *net_grpc_call_open(struct net_grpc_conn *conn, int32_t stream_id)
{
    struct net_grpc_call *call = conn->free_call;
    if (call)
        conn->free_call = call->next;
    else if (!(call = new_call(conn)))
        return NULL;
    tg_assert(call->state == NET_GRPC_FREE && !call->first_out && !call->token);
    size_t kept = offsetof(struct net_grpc_call, is_post);
    memset((uint8_t *)call + kept, 0, offsetof(struct net_grpc_call, small) - kept);
    call->next = NULL;
    call->stream_id = stream_id;
    call->state = NET_GRPC_HEADERS;
    call->began_ns = conn->layer.loop->now_ns;
    conn->open++;
    return call;
}

/* --- memory --- */

static void free_message(struct net_grpc_call *call)
{
    if (call->message != call->small)
        free(call->message);
    if (call->held > 0)
        net_layer_hold(&call->conn->layer, -(int64_t)call->held);
    call->message = NULL;
    call->held = 0;
}

static void free_first_out(struct net_grpc_call *call)
{
    struct net_grpc_out *out = call->first_out;
    call->first_out = out->next;
    if (!out->next)
        call->last_out = NULL;
    call->outs--;
    free(out->owned);
    if (out->held > 0)
        net_layer_hold(&call->conn->layer, -(int64_t)out->held);
    if (out == &call->own_out)
        call->own_out_used = false;
    else
        free(out);
}

static void unborrow(struct net_grpc_call *call)
{
    struct net_grpc_call **place = &call->conn->borrowed;
    while (*place != call)
        place = &(*place)->next_borrowed;
    *place = call->next_borrowed;
    call->is_borrowing = false;
}

static void leave_ready(struct net_grpc_call *call)
{
    struct net_grpc_conn *conn = call->conn;
    struct net_grpc_call *before = NULL;
    for (struct net_grpc_call *at = conn->ready_first; at != call; at = at->next)
        before = at;
    if (before)
        before->next = call->next;
    else
        conn->ready_first = call->next;
    if (conn->ready_last == call)
        conn->ready_last = before;
    call->next = NULL;
}

/* What it holds of both directions. */
static void let_go(struct net_grpc_call *call)
{
    while (call->first_out)
        free_first_out(call);
    free_message(call);
    free(call->token);
    call->token = NULL;
    free(call->status_message);
    call->status_message = NULL;
}

/* The handler put its frame back, which waits in the connection's memory: nothing was done. */
static bool is_put_back(const struct net_grpc_call *call)
{
    const struct net_grpc_conn *conn = call->conn;
    return conn->layer.conn->held_bytes > 0 && conn->rising == net_grpc_call_name(call);
}

/* The handler has it and would answer later, or again and again: it need not. */
static void cancel_risen(struct net_grpc_call *call)
{
    struct net_grpc_conn *conn = call->conn;
    struct net_conn *below = conn->layer.conn;
    const struct net_handler *handler = &conn->layer.loop->handler;
    if (is_put_back(call))
        below->deadline_ns = 1; /* when it comes again it is too late for it */
    if (handler->on_cancel && call->method->can_wait)
        handler->on_cancel(handler->context, below, net_grpc_call_name(call));
}

void net_grpc_call_close(struct net_grpc_call *call, bool by_peer)
{
    struct net_grpc_conn *conn = call->conn;
    enum net_grpc_call_state was = (enum net_grpc_call_state)call->state;
    tg_assert(was != NET_GRPC_FREE);
    if (by_peer && was != NET_GRPC_ENDED)
        conn->grpc->stats.cancelled++;
    if (was == NET_GRPC_READY)
        leave_ready(call);
    if (was == NET_GRPC_RISEN)
        cancel_risen(call);
    if (call->is_borrowing)
        unborrow(call);
    let_go(call);
    call->state = NET_GRPC_FREE;
    call->generation++;
    call->next = conn->free_call;
    conn->free_call = call;
    conn->open--;
}

void net_grpc_calls_free(struct net_grpc_conn *conn)
{
    for (uint32_t i = 0; i < conn->slots; i++) {
        let_go(conn->calls[i]);
        free(conn->calls[i]);
    }
    free(conn->calls);
}

/* --- the headers of a call --- */

/* "10S" and its like: up to eight digits and a unit. 0: it is none. */
static int64_t read_timeout(const uint8_t *text, size_t bytes)
{
    static const struct {
        uint8_t unit;
        int64_t ns;
    } units[] = {{'H', 3600 * TG_NS_PER_S},
                 {'M', 60 * TG_NS_PER_S},
                 {'S', TG_NS_PER_S},
                 {'m', TG_NS_PER_MS},
                 {'u', 1000},
                 {'n', 1}};
    int64_t count = 0;
    if (bytes < 2 || bytes > 9)
        return 0;
    for (size_t i = 0; i + 1 < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        count = count * 10 + (text[i] - '0');
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (text[bytes - 1] == units[i].unit)
            return count > INT64_MAX / 2 / units[i].ns ? INT64_MAX / 2
                                                       : (count == 0 ? 1 : count * units[i].ns);
    return 0;
}

static bool is_grpc_type(const uint8_t *type, size_t bytes)
{
    static const char word[] = "application/grpc";
    size_t length = sizeof(word) - 1;
    if (!begins(type, bytes, word))
        return false;
    return bytes == length || type[length] == ';' || is(type + length, bytes - length, "+proto");
}

static void keep_token(struct net_grpc_call *call, const uint8_t *value, size_t bytes)
{
    size_t length = tg_token_bearer((const char *)value, bytes);
    if (length == 0 || call->token)
        return;
    call->has_long_token = bytes - length > NET_GRPC_TOKEN_MAX;
    if (call->has_long_token || !(call->token = malloc(bytes - length + 1)))
        return;
    memcpy(call->token, value + length, bytes - length);
    call->token_bytes = (uint32_t)(bytes - length);
}

void net_grpc_call_header(struct net_grpc_call *call, const uint8_t *name, size_t name_bytes,
                          const uint8_t *value, size_t value_bytes)
{
    call->header_bytes += (uint32_t)(name_bytes + value_bytes + 32);
    if (call->header_bytes > NET_GRPC_HEADERS_MAX)
        return;
    if (is(name, name_bytes, ":path")) {
        call->has_path = true;
        call->method = net_grpc_method_find(value, value_bytes);
    } else if (is(name, name_bytes, ":method")) {
        call->is_post = is(value, value_bytes, "POST");
    } else if (is(name, name_bytes, "content-type")) {
        call->is_grpc = is_grpc_type(value, value_bytes);
    } else if (is(name, name_bytes, "grpc-timeout")) {
        call->timeout_ns = read_timeout(value, value_bytes);
        call->has_bad_timeout = call->timeout_ns == 0;
    } else if (is(name, name_bytes, "grpc-encoding")) {
        call->is_encoded = !is(value, value_bytes, "identity");
    } else if (is(name, name_bytes, "authorization")) {
        keep_token(call, value, value_bytes);
    }
}

/* Answers what is no gRPC in the words of HTTP. */
static void refuse_http(struct net_grpc_call *call, const char *status, const char *name,
                        const char *value)
{
    const nghttp2_nv fields[] = {net_grpc_field(":status", status), net_grpc_field(name, value)};
    call->state = NET_GRPC_ENDED;
    call->conn->grpc->stats.refused++;
    net_grpc_http2_headers(call, fields, 2);
}

static const struct net_grpc_status compressed = {
    .code = NET_GRPC_UNIMPLEMENTED,
    .reason = "COMPRESSION_UNSUPPORTED",
    .message = "messages must not be compressed: send grpc-encoding identity, flag 0",
};

/* Of a call that was not answered yet: what we would take stands in the same header. */
static void refuse_encoding(struct net_grpc_call *call)
{
    struct net_grpc_trailer trailer;
    trailer.count = 0;
    trailer.fields[trailer.count++] = net_grpc_field("grpc-accept-encoding", "identity");
    net_grpc_trailer_fill(&trailer, &compressed);
    nghttp2_nv fields[2 + NET_GRPC_FIELDS_MAX] = {
        net_grpc_field(":status", "200"), net_grpc_field("content-type", "application/grpc")};
    memcpy(fields + 2, trailer.fields, trailer.count * sizeof(fields[0]));
    call->state = NET_GRPC_ENDED;
    call->conn->grpc->stats.ended[compressed.code]++;
    net_grpc_http2_headers(call, fields, 2 + trailer.count);
}

void net_grpc_call_begin(struct net_grpc_call *call)
{
    call->state = NET_GRPC_MESSAGE;
    if (call->timeout_ns > 0)
        call->deadline_ns = call->began_ns + call->timeout_ns;
    if (call->header_bytes > NET_GRPC_HEADERS_MAX)
        end(call, NET_GRPC_RESOURCE_EXHAUSTED, "HEADERS_TOO_LARGE",
            "the metadata is above 16384 bytes: send less of it");
    else if (!call->is_post)
        refuse_http(call, "405", "allow", "POST");
    else if (!call->is_grpc)
        refuse_http(call, "415", "accept-post", "application/grpc");
    else if (!call->method)
        end(call, NET_GRPC_UNIMPLEMENTED, "UNKNOWN_METHOD",
            "this server has no such method: server reflection lists those that it has");
    else if (call->is_encoded)
        refuse_encoding(call);
    else if (call->has_bad_timeout)
        end(call, NET_GRPC_INVALID_ARGUMENT, "BAD_TIMEOUT",
            "grpc-timeout must be up to eight digits, not all 0, and one of H M S m u n");
    else if (call->has_long_token)
        end(call, NET_GRPC_UNAUTHENTICATED, "UNAUTHENTICATED", "no token is as long as this one");
    else if (call->conn->is_draining)
        end(call, NET_GRPC_UNAVAILABLE, "DRAINING",
            "the server is draining: go to another one, or come back later");
}

/* --- its message --- */

static void end_for_memory(struct net_grpc_call *call)
{
    struct net_grpc_status status = {
        .code = NET_GRPC_RESOURCE_EXHAUSTED,
        .reason = "OVERLOADED",
        .message = "the memory for unfinished requests is used up: come later",
        .retry_ms = TG_RETRY_AFTER_MS,
    };
    net_grpc_call_end(call, &status);
}

/* Memory for a message of the size that its head told. */
static bool reserve(struct net_grpc_call *call)
{
    if (call->size <= NET_GRPC_SMALL_BYTES) {
        call->message = call->small;
        return true;
    }
    uint32_t bytes = NET_GRPC_ROOM_BEFORE + call->size;
    if (!net_layer_hold(&call->conn->layer, bytes))
        return false;
    call->held = bytes;
    call->message = malloc(bytes);
    return call->message != NULL;
}

static void take_head(struct net_grpc_call *call)
{
    call->size = (uint32_t)call->head[1] << 24 | (uint32_t)call->head[2] << 16 |
                 (uint32_t)call->head[3] << 8 | call->head[4];
    call->have = 0;
    if (call->head[0] != 0 && call->has_answered)
        end(call, compressed.code, compressed.reason, compressed.message);
    else if (call->head[0] != 0)
        refuse_encoding(call);
    else if (call->size > call->method->message_max)
        end(call, NET_GRPC_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
            call->method->message_max > TG_FRAME_BYTES_MAX
                ? "the message is above 1 MiB: send it in parts"
                : "the message is above 64 KiB: send it in parts");
    else if (call->messages > 0 && !call->method->takes_many)
        end(call, NET_GRPC_INVALID_ARGUMENT, "TOO_MANY_MESSAGES", "this method takes one message");
    else if (!reserve(call))
        end_for_memory(call);
}

/* A whole message is there. One of a request of Tidegate's rises when the peer is done. */
static void take_message(struct net_grpc_call *call)
{
    call->messages++;
    call->head_bytes = 0;
    if (!call->method->serve)
        return;
    call->method->serve(call, call->message + NET_GRPC_ROOM_BEFORE, call->size);
    free_message(call);
}

void net_grpc_call_data(struct net_grpc_call *call, const uint8_t *data, size_t bytes)
{
    while (bytes > 0 && call->state == NET_GRPC_MESSAGE) {
        if (call->head_bytes < NET_GRPC_HEAD_BYTES) {
            call->head[call->head_bytes++] = *data++;
            bytes--;
            if (call->head_bytes == NET_GRPC_HEAD_BYTES)
                take_head(call);
        } else {
            size_t rest = call->size - call->have;
            size_t piece = bytes < rest ? bytes : rest;
            tg_assert(call->message); /* take_head has seen to it */
            memcpy(call->message + NET_GRPC_ROOM_BEFORE + call->have, data, piece);
            call->have += (uint32_t)piece;
            data += piece;
            bytes -= piece;
        }
        bool is_whole = call->state == NET_GRPC_MESSAGE &&
                        call->head_bytes == NET_GRPC_HEAD_BYTES && call->have == call->size;
        if (is_whole)
            take_message(call);
    }
}

/* --- rising --- */

static void put_ready(struct net_grpc_call *call)
{
    struct net_grpc_conn *conn = call->conn;
    call->state = NET_GRPC_READY;
    call->next = NULL;
    if (conn->ready_last)
        conn->ready_last->next = call;
    else
        conn->ready_first = call;
    conn->ready_last = call;
}

void net_grpc_call_done(struct net_grpc_call *call)
{
    call->peer_is_done = true;
    if (call->state != NET_GRPC_MESSAGE)
        return;
    if (call->head_bytes != 0)
        end(call, NET_GRPC_INVALID_ARGUMENT, "BROKEN_MESSAGE", "the stream ended within a message");
    else if (call->messages == 0 && !call->method->takes_many)
        end(call, NET_GRPC_INVALID_ARGUMENT, "NO_MESSAGE", "the call has no request message");
    else if (!call->method->serve && !call->method->takes_many)
        put_ready(call);
    else if (call->method->takes_many || !call->method->is_streamed)
        end(call, NET_GRPC_OK, NULL, NULL);
    else
        call->state = NET_GRPC_SERVED;
}

static size_t varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

/* Writes what makes a native frame of a message in front of it; returns where the frame begins. */
static uint8_t *wrap(uint8_t *message, uint32_t bytes, uint64_t correlation_id, uint32_t kind)
{
    uint32_t tag = kind << 3 | 2;
    size_t inner =
        1 + varint_bytes(correlation_id) + varint_bytes(tag) + varint_bytes(bytes) + bytes;
    size_t before = varint_bytes(inner) + inner - bytes;
    tg_assert(before <= NET_GRPC_ROOM_BEFORE);
    uint8_t *out = put_varint(message - before, inner);
    *out++ = 1 << 3;
    out = put_varint(out, correlation_id);
    out = put_varint(out, tag);
    out = put_varint(out, bytes);
    tg_assert(out == message);
    return message - before;
}

/* A call that told it gave its token away: nobody is told another one before it rises. */
static bool has_told_token(const struct net_grpc_call *call)
{
    const struct net_grpc_conn *conn = call->conn;
    if (call->token_bytes > 0 && !call->token)
        return true;
    return !conn->is_token_stale && call->token_bytes == conn->token_bytes &&
           (!call->token || memcmp(call->token, conn->token, call->token_bytes) == 0);
}

/* A frame that says whose the frames behind it are; the call's token is the connection's now. */
static void tell_token(struct net_grpc_call *call)
{
    struct net_grpc_conn *conn = call->conn;
    uint8_t frame[NET_GRPC_ROOM_BEFORE + 8 + NET_GRPC_TOKEN_MAX];
    uint8_t *body = frame + NET_GRPC_ROOM_BEFORE;
    uint8_t *out = body;
    if (call->token_bytes > 0) {
        *out++ = 1 << 3 | 2;
        out = put_varint(out, call->token_bytes);
        memcpy(out, call->token, call->token_bytes);
        out += call->token_bytes;
    }
    uint8_t *begin = wrap(body, (uint32_t)(out - body), NET_GRPC_NO_CALL,
                          TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE);
    free(conn->token);
    conn->token = call->token;
    conn->token_bytes = call->token_bytes;
    conn->is_token_stale = false;
    call->token = NULL;
    conn->rising = NET_GRPC_NO_CALL; /* whoever is cancelled while it waits is not in it */
    conn->layer.conn->deadline_ns = 0;
    if (!net_layer_rise(&conn->layer, begin, (size_t)(out - begin)))
        net_conn_finish(conn->layer.loop,
                        conn->layer.conn); /* nobody may go on as who was before */
    net_layer_settle(&conn->layer);        /* it lies on our stack */
}

static void rise(struct net_grpc_call *call)
{
    struct net_grpc_conn *conn = call->conn;
    uint64_t name = net_grpc_call_name(call);
    uint8_t *message = call->message + NET_GRPC_ROOM_BEFORE;
    const uint8_t *frame = wrap(message, call->size, name, call->method->kind);
    call->state = NET_GRPC_RISEN;
    conn->rising = name;
    conn->layer.conn->deadline_ns = call->deadline_ns;
    if (!net_layer_rise(&conn->layer, frame, (size_t)(message + call->size - frame)))
        end_for_memory(call);
}

/* What rose together is settled together; their messages stay where they are until then. */
void net_grpc_calls_rise(struct net_grpc_conn *conn)
{
    struct net_grpc_call *risen = NULL;
    while (conn->ready_first && net_layer_may_rise(&conn->layer)) {
        struct net_grpc_call *call = conn->ready_first;
        if (__builtin_expect(!has_told_token(call), 0)) {
            tell_token(call);
            continue;
        }
        leave_ready(call);
        call->state = NET_GRPC_MESSAGE;
        if (call->deadline_ns != 0 && call->deadline_ns <= conn->layer.loop->now_ns) {
            end(call, NET_GRPC_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED",
                "the deadline came before the request was decided: nothing was done");
            continue;
        }
        rise(call);
        call->next = risen;
        risen = call;
    }
    net_layer_settle(&conn->layer);
    for (; risen; risen = risen->next)
        free_message(risen);
    net_layer_waits(&conn->layer, conn->ready_first != NULL);
    bool is_held_up = conn->ready_first != NULL;
    if (!is_held_up && conn->unconsumed > 0) {
        nghttp2_session_consume_connection(conn->session, conn->unconsumed);
        conn->unconsumed = 0;
    }
}

/* --- answers --- */

static void put_out(struct net_grpc_call *call, struct net_grpc_out *out)
{
    if (call->last_out)
        call->last_out->next = out;
    else
        call->first_out = out;
    call->last_out = out;
    call->outs++;
}

static struct net_grpc_out *new_out(struct net_grpc_call *call)
{
    if (call->own_out_used)
        return call->outs < NET_GRPC_OUTS_MAX ? calloc(1, sizeof(struct net_grpc_out)) : NULL;
    call->own_out_used = true;
    call->own_out = (struct net_grpc_out){.next = NULL};
    return &call->own_out;
}

/* The peer takes too little of what it is sent, or there is no memory to wait for it. */
static void give_up(struct net_grpc_call *call)
{
    while (call->first_out)
        free_first_out(call);
    if (call->state != NET_GRPC_ENDED)
        call->conn->grpc->stats.ended[NET_GRPC_RESOURCE_EXHAUSTED]++;
    if (call->state == NET_GRPC_RISEN)
        cancel_risen(call);
    call->state = NET_GRPC_ENDED;
    call->status = (struct net_grpc_status){.code = NET_GRPC_RESOURCE_EXHAUSTED};
    net_grpc_http2_reset(call, NGHTTP2_ENHANCE_YOUR_CALM);
}

void net_grpc_call_say(struct net_grpc_call *call, const uint8_t *data, size_t bytes,
                       uint8_t *owned, uint32_t held)
{
    struct net_grpc_conn *conn = call->conn;
    struct net_grpc_out *out = call->state == NET_GRPC_ENDED ? NULL : new_out(call);
    if (!out) {
        free(owned);
        if (held > 0)
            net_layer_hold(&conn->layer, -(int64_t)held);
        if (call->state != NET_GRPC_ENDED)
            give_up(call);
        return;
    }
    out->data = data;
    out->size = (uint32_t)bytes;
    out->owned = owned;
    out->held = held;
    if (!call->first_out)
        call->moved_ns = conn->layer.loop->now_ns;
    put_out(call, out);
    if (!owned && !call->is_borrowing) {
        call->is_borrowing = true;
        call->next_borrowed = conn->borrowed;
        conn->borrowed = call;
    }
    if (call->has_answered)
        net_grpc_http2_more(call);
    else
        net_grpc_http2_answer(call);
}

void net_grpc_call_say_copy(struct net_grpc_call *call, const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    bool is_held = copy && net_layer_hold(&call->conn->layer, (int64_t)bytes);
    if (!is_held) {
        free(copy);
        give_up(call);
        return;
    }
    if (bytes > 0)
        memcpy(copy, data, bytes);
    net_grpc_call_say(call, copy, bytes, copy, (uint32_t)bytes);
}

/* Of the five bytes in front of a message: that it is not compressed, and its size, highest first.
 */
static uint8_t head_byte(const struct net_grpc_out *out, uint32_t at)
{
    if (at == 0)
        return 0;
    return (uint8_t)(out->size >> (8 * (NET_GRPC_HEAD_BYTES - 1 - at)));
}

size_t net_grpc_call_read(struct net_grpc_call *call, uint8_t *out, size_t room)
{
    size_t bytes = 0;
    while (call->first_out && bytes < room) {
        struct net_grpc_out *first = call->first_out;
        for (; first->sent < NET_GRPC_HEAD_BYTES && bytes < room; first->sent++)
            out[bytes++] = head_byte(first, first->sent);
        if (first->sent < NET_GRPC_HEAD_BYTES)
            break;
        size_t at = first->sent - NET_GRPC_HEAD_BYTES;
        size_t rest = first->size - at;
        size_t piece = rest < room - bytes ? rest : room - bytes;
        if (piece > 0)
            memcpy(out + bytes, first->data + at, piece);
        bytes += piece;
        first->sent += (uint32_t)piece;
        if (piece < rest)
            break;
        free_first_out(call);
    }
    if (bytes > 0)
        call->moved_ns = call->conn->layer.loop->now_ns;
    return bytes;
}

/* Copies the rest of one that is borrowed; false without memory. */
static bool keep(struct net_grpc_call *call, struct net_grpc_out *out)
{
    if (out->owned || out->size == 0)
        return true;
    uint8_t *copy = malloc(out->size);
    if (!copy || !net_layer_hold(&call->conn->layer, out->size)) {
        free(copy);
        return false;
    }
    memcpy(copy, out->data, out->size);
    out->held = out->size;
    out->owned = copy;
    out->data = copy;
    return true;
}

void net_grpc_calls_keep(struct net_grpc_conn *conn)
{
    while (conn->borrowed) {
        struct net_grpc_call *call = conn->borrowed;
        unborrow(call);
        bool is_kept = true;
        for (struct net_grpc_out *out = call->first_out; out && is_kept; out = out->next)
            is_kept = keep(call, out);
        if (!is_kept)
            give_up(call);
    }
}

/* --- the end --- */

/* A status with nothing before it: HEADERS alone. */
static void end_at_once(struct net_grpc_call *call, const struct net_grpc_status *status)
{
    struct net_grpc_trailer trailer;
    trailer.count = 2;
    trailer.fields[0] = net_grpc_field(":status", "200");
    trailer.fields[1] = net_grpc_field("content-type", "application/grpc");
    net_grpc_trailer_fill(&trailer, status);
    net_grpc_http2_headers(call, trailer.fields, trailer.count);
}

void net_grpc_call_end(struct net_grpc_call *call, const struct net_grpc_status *status)
{
    if (call->state == NET_GRPC_ENDED || call->state == NET_GRPC_FREE)
        return;
    if (call->state == NET_GRPC_READY)
        leave_ready(call);
    bool is_over = status->code != NET_GRPC_OK && call->state == NET_GRPC_RISEN;
    if (is_over)
        cancel_risen(call);
    call->state = NET_GRPC_ENDED;
    call->conn->grpc->stats.ended[status->code]++;
    if (!call->has_answered) {
        end_at_once(call, status);
        return;
    }
    call->moved_ns = call->conn->layer.loop->now_ns; /* a stream may have waited for long */
    call->status = *status;
    if (status->message)
        call->status.message = call->status_message = strdup(status->message);
    net_grpc_http2_more(call);
}

/* --- times --- */

static void check(struct net_grpc_call *call, int64_t now_ns)
{
    const struct net_grpc_options *options = &call->conn->grpc->options;
    bool is_reading = call->state == NET_GRPC_HEADERS || call->state == NET_GRPC_MESSAGE;
    bool is_live = call->state != NET_GRPC_ENDED && call->state != NET_GRPC_HEADERS;
    bool is_endless = call->method && call->method->is_streamed && call->state != NET_GRPC_ENDED;
    if (call->first_out && !is_endless && now_ns - call->moved_ns > options->write_timeout_ns)
        give_up(call);
    else if (is_live && call->deadline_ns != 0 && now_ns >= call->deadline_ns)
        end(call, NET_GRPC_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED",
            "the deadline has come; an order that was sent may stand: ask with the same request "
            "id");
    else if (is_reading && !(call->method && call->method->takes_many) &&
             now_ns - call->began_ns > options->request_timeout_ns) {
        if (call->state == NET_GRPC_MESSAGE)
            end(call, NET_GRPC_CANCELLED, "REQUEST_TOO_SLOW", "the request was not whole in time");
        else
            net_grpc_http2_reset(call, NGHTTP2_CANCEL);
    }
}

void net_grpc_calls_check(struct net_grpc_conn *conn, int64_t now_ns)
{
    uint32_t left = conn->open;
    for (uint32_t i = 0; i < conn->slots && left > 0; i++) {
        if (conn->calls[i]->state == NET_GRPC_FREE)
            continue;
        left--;
        check(conn->calls[i], now_ns);
    }
}

void net_grpc_calls_drain(struct net_grpc_conn *conn)
{
    for (uint32_t i = 0; i < conn->slots; i++) {
        struct net_grpc_call *call = conn->calls[i];
        /* A frame that was put back does not come again once the connection finishes. */
        bool is_under_way =
            call->state == NET_GRPC_RISEN && !call->method->is_streamed && !is_put_back(call);
        if (call->state == NET_GRPC_FREE || call->state == NET_GRPC_HEADERS || is_under_way)
            continue;
        if (call->state == NET_GRPC_SERVED)
            net_grpc_health_drain(call);
        struct net_grpc_status status = {
            .code = NET_GRPC_UNAVAILABLE,
            .reason = "DRAINING",
            .message = "the server is draining: go to another one, or come back later",
            .retry_ms = 1000,
        };
        net_grpc_call_end(call, &status);
    }
}
