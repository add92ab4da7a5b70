/* Server-sent events (WHATWG HTML, 9.2): a snapshot at once, and one with each tick.
 *
 *   RENDER --- all of it is sent ---> SUSPENDED --- a tick has passed ---> RENDER
 *
 * A client that is slower than the ticks gets the newest snapshot when it has taken the last one,
 * and never a queue of old ones. One that takes nothing for SRV_ADMIN_IDLE_S is closed. */
#include "base/count.h"
#include "server/board.h"
#include "server/exchange.h"

#include <stdlib.h>
#include <string.h>

/* What libmicrohttpd asks for at a time. */
#define BLOCK_BYTES 16384

struct srv_stream {
    struct srv_admin *admin;
    struct MHD_Connection *connection;
    const struct eng_sale *sale;    /* NULL: none was asked for */
    char token[TG_TOKEN_BYTES_MAX]; /* that it was opened with: it may be revoked */
    size_t token_bytes;
    struct srv_body body; /* the event under way */
    size_t sent;
    uint64_t tick; /* that it is of; 0: none was sent yet */
    bool suspended;
    struct srv_stream *next;
};

static void render(struct srv_stream *stream)
{
    struct srv_admin *admin = stream->admin;
    const struct srv_watch *watch = &admin->watch;
    if (admin->sales_tick != watch->ticks) {
        srv_body_clear(&admin->sales);
        srv_board_snapshot_sales(watch, &admin->sales);
        admin->sales_tick = watch->ticks;
    }
    srv_body_clear(&stream->body);
    srv_body_add(&stream->body, "event: snapshot\ndata: ");
    srv_board_snapshot(watch, &stream->body, &admin->sales, stream->sale);
    srv_body_add(&stream->body, "\n\n");
    stream->tick = watch->ticks;
    stream->sent = 0;
}

/* libmicrohttpd wants the next bytes. */
static ssize_t on_room(void *context, uint64_t position, char *room, size_t room_bytes)
{
    struct srv_stream *stream = context;
    struct srv_admin *admin = stream->admin;
    (void)position;
    struct tg_bytes token = {.data = (const uint8_t *)stream->token, .size = stream->token_bytes};
    if (admin->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (stream->sent == stream->body.bytes && stream->tick != admin->watch.ticks) {
        if (!srv_door_allows(admin, token, TG_ROLE_READ))
            return MHD_CONTENT_READER_END_OF_STREAM;
        render(stream);
    }
    if (!srv_body_is_whole(&stream->body) || !srv_body_is_whole(&admin->sales))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->sent == stream->body.bytes) {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    size_t left = stream->body.bytes - stream->sent;
    size_t bytes = left < room_bytes ? left : room_bytes;
    memcpy(room, stream->body.text + stream->sent, bytes);
    stream->sent += bytes;
    return (ssize_t)bytes;
}

static void on_end(void *context)
{
    struct srv_stream *stream = context;
    struct srv_stream **at = &stream->admin->streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    tg_count_set(&stream->admin->stats.streams, stream->admin->stats.streams - 1);
    srv_body_free(&stream->body);
    free(stream);
}

void srv_stream_open(struct srv_exchange *exchange, const struct eng_sale *sale)
{
    struct srv_admin *admin = exchange->admin;
    uint64_t most = admin->server->config.streams_max;
    if (admin->stats.streams >= most) {
        srv_exchange_fail(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS",
                          "there are %llu streams, as many as admin.streams_max allows",
                          (unsigned long long)most);
        exchange->retry = true;
        return;
    }
    struct srv_stream *stream = calloc(1, sizeof(*stream));
    struct MHD_Response *response =
        stream ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_room, stream,
                                                   on_end)
               : NULL;
    if (!response) {
        free(stream);
        srv_exchange_fail(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "NO_MEMORY",
                          "no memory for a stream");
        exchange->retry = true;
        return;
    }
    *stream = (struct srv_stream){
        .admin = admin, .connection = exchange->connection, .sale = sale, .next = admin->streams};
    struct tg_bytes token = srv_door_token(exchange);
    if (token.size <= sizeof(stream->token)) { /* a longer one has not come so far */
        memcpy(stream->token, token.data ? token.data : (const uint8_t *)"", token.size);
        stream->token_bytes = token.size;
    }
    admin->streams = stream;
    tg_count(&admin->stats.streams, 1);
    exchange->type = "text/event-stream; charset=utf-8";
    exchange->response = response;
}

void srv_streams_wake(struct srv_admin *admin)
{
    for (struct srv_stream *stream = admin->streams; stream; stream = stream->next)
        if (stream->suspended) {
            stream->suspended = false;
            MHD_resume_connection(stream->connection);
        }
}
