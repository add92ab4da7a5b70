#include "client/tidegate.h"

#include "base/assert.h"
#include "client/internal.h"
#include "proto/codec.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_WHOLE_BYTES_MAX (TG_FRAME_BATCH_BYTES_MAX + TG_FRAME_PREFIX_BYTES_MAX)
#define SEND_BYTES_MAX        ((size_t)2 * FRAME_WHOLE_BYTES_MAX)
#define READ_BYTES            ((size_t)16 * 1024)
#define NO_SLOT               UINT32_MAX

/* A correlation id is (generation << INDEX_BITS) | index. A slot's generation grows each time it is
 * given out, so an answer that comes twice, or for a connection before this one, finds nothing. */
#define INDEX_BITS 16

_Static_assert(TGC_WINDOW_MAX <= 1 << INDEX_BITS, "every slot has an index");
_Static_assert(TG_FRAME_BYTES_MAX <= TG_FRAME_BATCH_BYTES_MAX, "the batch is the largest frame");

/* One request in flight, or a free place for one. */
struct slot {
    uint64_t generation;          /* from 1 on, so that no id is 0 */
    tgc_on_response *on_response; /* NULL: nobody waits for it any more */
    void *context;                /* borrowed */
    uint32_t kind;                /* of the request; 0: the slot is free */
    uint32_t next_free;           /* index, or NO_SLOT */
};

/* Bytes start..end of data. */
struct buffer {
    uint8_t *data;
    size_t capacity;
    size_t start;
    size_t end;
};

struct tgc_client {
    char server[TGC_ADDRESS_BYTES]; /* as faults name it */
    char host[256];
    char port[8];
    uint32_t connect_ms;
    char token[TG_TOKEN_BYTES_MAX + 1]; /* "": none */
    uint32_t retry_after_ms;            /* of the last error that came with it */
    char tls_name[256];
    struct tgc_wire wire;            /* without a descriptor: lost */
    int send_code;                   /* errno of a failed send, 0 while sending works */
    bool handing_out;                /* a callback runs */
    struct buffer in;                /* at most FRAME_WHOLE_BYTES_MAX */
    struct buffer out;               /* at most SEND_BYTES_MAX */
    Tidegate__V1__Response *current; /* handed out; NULL once tgc_call's callback took it */
    uint32_t window;
    uint32_t in_flight;
    uint32_t first_free;
    struct slot slots[]; /* `window` of them */
};

/* --- buffers --- */

static size_t buffer_size(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* Makes room for `more` bytes behind the end; false without memory. `more` must fit `max`. */
static bool buffer_room(struct buffer *buffer, size_t more, size_t max)
{
    size_t size = buffer_size(buffer);
    tg_assert(size + more <= max);
    if (buffer->capacity - buffer->end >= more)
        return true;
    if (size > 0)
        memmove(buffer->data, buffer->data + buffer->start, size);
    buffer->start = 0;
    buffer->end = size;
    if (buffer->capacity - size >= more)
        return true;
    size_t capacity = buffer->capacity ? buffer->capacity : READ_BYTES;
    while (capacity < size + more)
        capacity *= 2;
    if (capacity > max)
        capacity = max;
    uint8_t *data = realloc(buffer->data, capacity);
    if (!data)
        return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

static void buffer_skip(struct buffer *buffer, size_t bytes)
{
    buffer->start += bytes;
    tg_assert(buffer->start <= buffer->end);
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
}

/* --- the window --- */

static void window_reset(struct tgc_client *client)
{
    for (uint32_t i = 0; i < client->window; i++) {
        client->slots[i].kind = 0;
        client->slots[i].next_free = i + 1 < client->window ? i + 1 : NO_SLOT;
    }
    client->first_free = 0;
    client->in_flight = 0;
}

/* Takes the first free slot, of which there is one; returns its correlation id. */
static uint64_t window_take(struct tgc_client *client, uint32_t kind, tgc_on_response *on_response,
                            void *context)
{
    uint32_t index = client->first_free;
    tg_assert(index < client->window && client->slots[index].kind == 0 && kind != 0);
    struct slot *slot = &client->slots[index];
    client->first_free = slot->next_free;
    client->in_flight++;
    slot->generation++;
    slot->kind = kind;
    slot->on_response = on_response;
    slot->context = context;
    return slot->generation << INDEX_BITS | index;
}

/* The slot that waits for the answer of this id, or NULL. */
static struct slot *window_find(struct tgc_client *client, uint64_t correlation_id)
{
    uint32_t index = (uint32_t)(correlation_id & ((1u << INDEX_BITS) - 1));
    if (index >= client->window)
        return NULL;
    struct slot *slot = &client->slots[index];
    if (slot->kind == 0 || slot->generation != correlation_id >> INDEX_BITS)
        return NULL;
    return slot;
}

static void window_release(struct tgc_client *client, struct slot *slot)
{
    tg_assert(slot->kind != 0 && client->in_flight > 0);
    slot->kind = 0;
    slot->next_free = client->first_free;
    client->first_free = (uint32_t)(slot - client->slots);
    client->in_flight--;
}

/* --- lifecycle --- */

/* The connection is over, and with it everything in flight. */
static void lose(struct tgc_client *client)
{
    tgc_wire_close(&client->wire);
    client->send_code = 0;
    client->in.start = client->in.end = 0;
    client->out.start = client->out.end = 0;
    window_reset(client);
}

/* NULL is none. */
static enum tg_error keep_token(struct tgc_client *client, const char *token,
                                struct tg_fault *fault)
{
    if (token && strlen(token) > TG_TOKEN_BYTES_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "a token has at most %d characters",
                            TG_TOKEN_BYTES_MAX);
    snprintf(client->token, sizeof(client->token), "%s", token ? token : "");
    return TG_ERR_OK;
}

static enum tg_error prepare_tls(struct tgc_client *client, const struct tgc_tls *tls,
                                 struct tg_fault *fault)
{
    const char *name = tls->name && tls->name[0] != '\0' ? tls->name : client->host;
    int size = snprintf(client->tls_name, sizeof(client->tls_name), "%s", name);
    if (size >= (int)sizeof(client->tls_name))
        return tg_fault_set(fault, TG_ERR_INVALID, "the name '%.40s...' is longer than 255 bytes",
                            name);
    return tgc_wire_secure(&client->wire, tls, fault);
}

enum tg_error tgc_open(const struct tgc_options *options, struct tgc_client **client,
                       struct tg_fault *fault)
{
    *client = NULL;
    uint32_t window = options->window ? options->window : TGC_WINDOW_DEFAULT;
    if (window > TGC_WINDOW_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "a window of %" PRIu32 " is above %d", window,
                            TGC_WINDOW_MAX);
    struct tgc_client *new = calloc(1, sizeof(*new) + window * sizeof(new->slots[0]));
    if (!new)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a client");
    tgc_wire_init(&new->wire);
    new->window = window;
    new->connect_ms = options->connect_ms ? options->connect_ms : TGC_CONNECT_MS_DEFAULT;
    window_reset(new);
    enum tg_error error = keep_token(new, options->token, fault);
    if (!error)
        error = tgc_parse_address(options->server, new->host, new->port, fault);
    if (!error) {
        snprintf(new->server, sizeof(new->server), strchr(new->host, ':') ? "[%s]:%s" : "%s:%s",
                 new->host, new->port);
        if (options->tls)
            error = prepare_tls(new, options->tls, fault);
    }
    if (!error)
        error = tgc_reconnect(new, 0, fault);
    if (error) {
        tgc_close(new);
        return error;
    }
    *client = new;
    return TG_ERR_OK;
}

void tgc_close(struct tgc_client *client)
{
    if (!client)
        return;
    tg_assert(!client->handing_out);
    lose(client);
    tgc_wire_fini(&client->wire);
    free(client->in.data);
    free(client->out.data);
    explicit_bzero(client->token, sizeof(client->token));
    free(client);
}

static enum tg_error refuse_in_callback(struct tg_fault *fault)
{
    return tg_fault_set(fault, TG_ERR_INVALID, "a callback may only call tgc_send on its client");
}

static enum tg_error show_token(struct tgc_client *client, uint32_t timeout_ms,
                                struct tg_fault *fault)
{
    Tidegate__V1__AuthenticateRequest body = TIDEGATE__V1__AUTHENTICATE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    body.token = client->token;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE;
    request.authenticate = &body;
    enum tg_error error = tgc_call(client, &request, timeout_ms, &response, fault);
    tgc_response_free(response);
    return error;
}

enum tg_error tgc_reconnect(struct tgc_client *client, uint32_t timeout_ms, struct tg_fault *fault)
{
    if (client->handing_out)
        return refuse_in_callback(fault);
    lose(client);
    bool shorter = timeout_ms > 0 && timeout_ms < client->connect_ms;
    int64_t deadline_ns = tgc_deadline_ns(shorter ? timeout_ms : client->connect_ms);
    enum tg_error error = tgc_connect(client->host, client->port, client->server, deadline_ns,
                                      client->connect_ms, &client->wire.fd, fault);
    if (!error && client->wire.tls)
        error = tgc_wire_shake_hands(&client->wire, client->tls_name, client->server, deadline_ns,
                                     fault);
    if (!error && client->token[0] != '\0')
        error = show_token(client, tgc_left_ms(deadline_ns), fault);
    if (error)
        lose(client);
    return error;
}

enum tg_error tgc_authenticate(struct tgc_client *client, const char *token, uint32_t timeout_ms,
                               struct tg_fault *fault)
{
    if (client->handing_out)
        return refuse_in_callback(fault);
    enum tg_error error = keep_token(client, token, fault);
    return error ? error : show_token(client, timeout_ms, fault);
}

bool tgc_is_connected(const struct tgc_client *client)
{
    return client->wire.fd >= 0;
}

uint32_t tgc_in_flight(const struct tgc_client *client)
{
    return client->in_flight;
}

void tgc_response_free(Tidegate__V1__Response *response)
{
    if (response)
        tidegate__v1__response__free_unpacked(response, NULL);
}

/* --- sending --- */

static size_t body_bytes_max(const Tidegate__V1__Request *request)
{
    bool carries_many = request->kind_case == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS ||
                        request->kind_case == TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS ||
                        request->kind_case == TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    return carries_many ? TG_FRAME_BATCH_BYTES_MAX : TG_FRAME_BYTES_MAX;
}

static void note_send_failure(struct tgc_client *client)
{
    client->send_code = errno;
    buffer_skip(&client->out, buffer_size(&client->out));
}

/* Sends what the socket takes. A failure is only noted: answers that arrived before it are still
 * to be read, and the reason with them. */
static void flush(struct tgc_client *client)
{
    struct buffer *out = &client->out;
    while (buffer_size(out) > 0 && client->send_code == 0) {
        ssize_t sent = tgc_wire_send(&client->wire, out->data + out->start, buffer_size(out));
        if (sent >= 0) {
            buffer_skip(out, (size_t)sent);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            note_send_failure(client);
        }
    }
    if (client->send_code == 0 && tgc_wire_push(&client->wire) != 0 && errno != EAGAIN)
        note_send_failure(client);
}

/* tgc_send without the sending; stores the correlation id. */
static enum tg_error queue_request(struct tgc_client *client, Tidegate__V1__Request *request,
                                   tgc_on_response *on_response, void *context, uint64_t *id,
                                   struct tg_fault *fault)
{
    if (client->wire.fd < 0)
        return tg_fault_set(fault, TG_ERR_CLOSED, "the connection to %s is lost: reconnect",
                            client->server);
    if (request->kind_case == TIDEGATE__V1__REQUEST__KIND__NOT_SET)
        return tg_fault_set(fault, TG_ERR_INVALID, "the request names no kind");
    if (client->first_free == NO_SLOT)
        return tg_fault_set(fault, TG_ERR_FULL,
                            "all %" PRIu32 " places in the window to %s are taken", client->window,
                            client->server);
    /* The id decides the size, so the size is taken with the longest one. */
    request->correlation_id = UINT64_MAX;
    size_t body_bytes = tidegate__v1__request__get_packed_size(request);
    if (body_bytes > body_bytes_max(request))
        return tg_fault_set(
            fault, TG_ERR_INVALID,
            "a request of %zu bytes is above the %zu that a frame of its kind holds", body_bytes,
            body_bytes_max(request));
    size_t more = body_bytes + TG_FRAME_PREFIX_BYTES_MAX;
    if (buffer_size(&client->out) + more > SEND_BYTES_MAX)
        return tg_fault_set(fault, TG_ERR_FULL, "%zu bytes wait to be sent to %s",
                            buffer_size(&client->out), client->server);
    if (!buffer_room(&client->out, more, SEND_BYTES_MAX))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a request of %zu bytes", more);

    *id = window_take(client, request->kind_case, on_response, context);
    request->correlation_id = *id;
    struct buffer *out = &client->out;
    body_bytes = tidegate__v1__request__get_packed_size(request);
    out->end += tg_frame_prefix(out->data + out->end, (uint32_t)body_bytes);
    out->end += tidegate__v1__request__pack(request, out->data + out->end);
    return TG_ERR_OK;
}

enum tg_error tgc_send(struct tgc_client *client, Tidegate__V1__Request *request,
                       tgc_on_response *on_response, void *context, struct tg_fault *fault)
{
    uint64_t id;
    enum tg_error error = queue_request(client, request, on_response, context, &id, fault);
    if (!error)
        flush(client);
    return error;
}

enum tg_error tgc_subscribe(struct tgc_client *client,
                            const Tidegate__V1__SubscribeEventsRequest *subscribe,
                            tgc_on_response *on_response, void *context, struct tg_fault *fault)
{
    Tidegate__V1__SubscribeEventsRequest body = *subscribe;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS;
    request.subscribe_events = &body;
    return tgc_send(client, &request, on_response, context, fault);
}

/* --- receiving --- */

/* What an ErrorResponse means to the caller. */
static enum tg_error error_response(struct tgc_client *client,
                                    const Tidegate__V1__ErrorResponse *response,
                                    struct tg_fault *fault)
{
    enum tg_error error = TG_ERR_PROTOCOL;
    if (response->code == TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED)
        error = TG_ERR_CLOSED;
    else if (response->code == TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNAUTHENTICATED ||
             response->code == TIDEGATE__V1__ERROR_CODE__ERROR_CODE_PERMISSION_DENIED)
        error = TG_ERR_DENIED;
    else if (response->code == TIDEGATE__V1__ERROR_CODE__ERROR_CODE_RATE_LIMITED)
        error = TG_ERR_LIMITED;
    client->retry_after_ms = response->retry_after_ms;
    const char *words = response->message[0] ? response->message : "no reason given";
    return tg_fault_set(fault, error, "%s refuses the request: %.300s", client->server, words);
}

uint32_t tgc_retry_after_ms(const struct tgc_client *client)
{
    return client->retry_after_ms;
}

/* A subscription is answered again and again while it is well; any other answer is the last. */
static bool more_follow(const Tidegate__V1__Response *response)
{
    return response->kind_case == TIDEGATE__V1__RESPONSE__KIND_SUBSCRIBE_EVENTS &&
           (int)response->subscribe_events->verdict == TG_OK;
}

/* Gives the answer to who waits for it. */
static enum tg_error hand_out(struct tgc_client *client, Tidegate__V1__Response *response,
                              uint32_t *handed, struct tg_fault *fault)
{
    bool is_error = response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ERROR;
    struct slot *slot = window_find(client, response->correlation_id);
    if (!slot && is_error)
        return error_response(client, response->error, fault);
    if (!slot)
        return tg_fault_set(fault, TG_ERR_PROTOCOL,
                            "%s answers a request that does not wait, correlation id %" PRIu64,
                            client->server, response->correlation_id);
    /* An answer has the field number of its request: the contract numbers the two oneofs alike. */
    if (!is_error && (uint32_t)response->kind_case != slot->kind)
        return tg_fault_set(fault, TG_ERR_PROTOCOL,
                            "%s answers a request of kind %" PRIu32 " with an answer of kind %d",
                            client->server, slot->kind, (int)response->kind_case);
    tgc_on_response *on_response = slot->on_response;
    void *context = slot->context;
    /* Released first: the callback may send the next one. */
    if (!more_follow(response))
        window_release(client, slot);
    if (!on_response)
        return TG_ERR_OK;
    client->handing_out = true;
    on_response(context, response);
    client->handing_out = false;
    ++*handed;
    return TG_ERR_OK;
}

static enum tg_error hand_out_frame(struct tgc_client *client, struct tg_bytes body,
                                    uint32_t *handed, struct tg_fault *fault)
{
    client->current = tidegate__v1__response__unpack(NULL, body.size, body.data);
    if (!client->current)
        return tg_fault_set(fault, TG_ERR_PROTOCOL, "%s sent %zu bytes that are no answer",
                            client->server, body.size);
    enum tg_error error = hand_out(client, client->current, handed, fault);
    tgc_response_free(client->current);
    client->current = NULL;
    return error;
}

/* Hands out every whole frame that was received; `missing` are the bytes that the next one still
 * lacks, 0 when that is not known. */
static enum tg_error hand_out_frames(struct tgc_client *client, uint32_t *handed, size_t *missing,
                                     struct tg_fault *fault)
{
    struct buffer *in = &client->in;
    for (;;) {
        struct tg_bytes bytes = {in->data + in->start, buffer_size(in)}, body = {0};
        size_t used = 0;
        switch (bytes.size ? tg_frame_next_response(bytes, &body, &used) : TG_FRAME_PARTIAL) {
        case TG_FRAME_WHOLE:
            break;
        case TG_FRAME_PARTIAL:
            *missing = used ? used - bytes.size : 0;
            return TG_ERR_OK;
        case TG_FRAME_TOO_LARGE:
            return tg_fault_set(fault, TG_ERR_PROTOCOL, "%s sent a frame above %d bytes",
                                client->server, TG_FRAME_BATCH_BYTES_MAX);
        case TG_FRAME_MALFORMED:
            return tg_fault_set(fault, TG_ERR_PROTOCOL,
                                "%s sent a frame whose length is no varint of 5 bytes: is it a "
                                "tidegated?",
                                client->server);
        }
        enum tg_error error = hand_out_frame(client, body, handed, fault);
        if (error)
            return error;
        buffer_skip(in, used);
    }
}

static enum tg_error closed_fault(const struct tgc_client *client, struct tg_fault *fault)
{
    return tg_fault_set(
        fault, TG_ERR_CLOSED, "%s closed the connection%s, %" PRIu32 " of the requests unanswered",
        client->server, buffer_size(&client->in) ? " in the middle of an answer" : "",
        client->in_flight);
}

/* A server that asks for a certificate refuses one only now: in TLS 1.3 the client is done with the
 * handshake before the server has looked. */
static enum tg_error tls_fault(const struct tgc_client *client, struct tg_fault *fault)
{
    return tg_fault_set(fault, TG_ERR_PROTOCOL,
                        "the TLS connection to %s broke: %s; %" PRIu32
                        " of the requests are unanswered",
                        client->server, tgc_wire_why(&client->wire), client->in_flight);
}

/* Receives once, without waiting, at least `missing` bytes if they are there. */
static enum tg_error receive(struct tgc_client *client, size_t missing, struct tg_fault *fault)
{
    struct buffer *in = &client->in;
    size_t more = missing > READ_BYTES ? missing : READ_BYTES;
    size_t room_max = FRAME_WHOLE_BYTES_MAX - buffer_size(in);
    if (!buffer_room(in, more < room_max ? more : room_max, FRAME_WHOLE_BYTES_MAX))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for an answer of %s", client->server);
    for (;;) {
        ssize_t got = tgc_wire_receive(&client->wire, in->data + in->end, in->capacity - in->end);
        if (got > 0) {
            in->end += (size_t)got;
            return TG_ERR_OK;
        }
        if (got == 0)
            return closed_fault(client, fault);
        if (errno == EAGAIN && client->send_code == 0)
            return TG_ERR_OK;
        if (errno == EINTR)
            continue;
        if (errno == EPROTO && tgc_wire_why(&client->wire)[0] != '\0')
            return tls_fault(client, fault);
        int code = errno == EAGAIN ? client->send_code : errno;
        return tg_fault_set_errno(fault, TG_ERR_CLOSED, code,
                                  "the connection to %s broke, %" PRIu32
                                  " of the requests unanswered",
                                  client->server, client->in_flight);
    }
}

/* One turn of sending, receiving and handing out, without waiting. */
static enum tg_error turn(struct tgc_client *client, size_t *missing, uint32_t *handed,
                          struct tg_fault *fault)
{
    flush(client);
    enum tg_error error = receive(client, *missing, fault);
    if (!error)
        error = hand_out_frames(client, handed, missing, fault);
    /* What callbacks queued goes out before we wait for its answers. */
    if (!error)
        flush(client);
    return error;
}

static bool wait_for_socket(const struct tgc_client *client, uint32_t left_ms)
{
    bool sends = buffer_size(&client->out) > 0 || tgc_wire_waits(&client->wire);
    struct pollfd wait = {.fd = client->wire.fd, .events = (short)(POLLIN | (sends ? POLLOUT : 0))};
    /* An interrupted wait is a turn that finds nothing: the caller looks at the time again. */
    return poll(&wait, 1, (int)left_ms) != 0;
}

enum tg_error tgc_poll(struct tgc_client *client, uint32_t timeout_ms, struct tg_fault *fault)
{
    if (client->handing_out)
        return refuse_in_callback(fault);
    if (client->wire.fd < 0)
        return tg_fault_set(fault, TG_ERR_CLOSED, "the connection to %s is lost: reconnect",
                            client->server);
    int64_t deadline_ns = tgc_deadline_ns(timeout_ms);
    size_t missing = 0;
    for (;;) {
        uint32_t handed = 0;
        enum tg_error error = turn(client, &missing, &handed, fault);
        if (error) {
            lose(client);
            return error;
        }
        if (handed)
            return TG_ERR_OK;
        if (tgc_wire_has_more(&client->wire))
            continue;
        uint32_t left_ms = tgc_left_ms(deadline_ns);
        if (left_ms == 0 || !wait_for_socket(client, left_ms))
            return tg_fault_set(fault, TG_ERR_TIMEOUT, "no answer from %s within %" PRIu32 " ms",
                                client->server, timeout_ms);
    }
}

/* --- one at a time --- */

struct call {
    struct tgc_client *client;
    Tidegate__V1__Response *response; /* NULL until it came */
};

/* Keeps the response that hand_out_frame would free. */
static void take_response(void *context, const Tidegate__V1__Response *response)
{
    struct call *call = context;
    tg_assert(call->client->current == response);
    call->response = call->client->current;
    call->client->current = NULL;
}

/* Queues the request, polling until the window has room. */
static enum tg_error queue_patiently(struct call *call, Tidegate__V1__Request *request,
                                     int64_t deadline_ns, uint64_t *id, struct tg_fault *fault)
{
    struct tgc_client *client = call->client;
    for (;;) {
        uint32_t left_ms = tgc_left_ms(deadline_ns);
        enum tg_error error = queue_request(client, request, take_response, call, id, fault);
        if (error != TG_ERR_FULL || left_ms == 0)
            return error;
        error = tgc_poll(client, left_ms, fault);
        if (error && error != TG_ERR_TIMEOUT)
            return error;
    }
}

/* Polls until the answer is there; TG_ERR_TIMEOUT at the deadline. */
static enum tg_error await(struct call *call, int64_t deadline_ns, struct tg_fault *fault)
{
    for (;;) {
        uint32_t left_ms = tgc_left_ms(deadline_ns);
        enum tg_error error = tgc_poll(call->client, left_ms, fault);
        if (call->response)
            return TG_ERR_OK;
        if (error && error != TG_ERR_TIMEOUT)
            return error;
        if (left_ms == 0)
            return TG_ERR_TIMEOUT;
    }
}

enum tg_error tgc_call(struct tgc_client *client, Tidegate__V1__Request *request,
                       uint32_t timeout_ms, Tidegate__V1__Response **response,
                       struct tg_fault *fault)
{
    *response = NULL;
    if (client->handing_out)
        return refuse_in_callback(fault);
    if (request->kind_case == TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "a subscription has more than one answer: use tgc_subscribe");
    struct call call = {.client = client};
    int64_t deadline_ns = tgc_deadline_ns(timeout_ms);
    uint64_t id;
    enum tg_error error = queue_patiently(&call, request, deadline_ns, &id, fault);
    if (error)
        return error;
    error = await(&call, deadline_ns, fault);
    if (error == TG_ERR_TIMEOUT) {
        /* Its place in the window stays taken until the answer comes and is dropped. */
        struct slot *slot = window_find(client, id);
        tg_assert(slot);
        slot->on_response = NULL;
        return tg_fault_set(fault, TG_ERR_TIMEOUT, "no answer from %s within %" PRIu32 " ms",
                            client->server, timeout_ms);
    }
    if (error)
        return error;
    if (call.response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ERROR) {
        error = error_response(client, call.response->error, fault);
        tgc_response_free(call.response);
        return error;
    }
    *response = call.response;
    return TG_ERR_OK;
}
