/* The HTTP/2 session of a connection: nghttp2's callbacks, and what goes in and out. What a stream
 * is as a call is net/grpc_call.c's matter. */
#include "net/grpc_conn.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

/* Streams that a peer may reset at once, and in a second: a gateway whose callers all give up at
 * the same time resets thousands; one that goes on like that attacks. */
#define RESETS_BURST      4096
#define RESETS_A_SECOND   512
/* Frames that one header block may have beside its first. */
#define CONTINUATIONS_MAX 8
/* What one send gathers before it goes to a layer below, which may make a record of each. */
#define GATHER_BYTES      16384
/* Frames of ours that wait and say no more than that something was seen. */
#define ACKS_MAX          256

/* Of literals, which need not be copied. */
#define FIXED_FIELD(name_, value_)                                                                 \
    {                                                                                              \
        .name = (uint8_t *)(name_), .value = (uint8_t *)(value_), .namelen = sizeof(name_) - 1,    \
        .valuelen = sizeof(value_) - 1,                                                            \
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                      \
    }

static struct net_grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* --- what came --- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct net_grpc_conn *conn = context;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct net_grpc_call *call = net_grpc_call_open(conn, frame->hd.stream_id);
    if (!call) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    conn->grpc->stats.calls++;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *context)
{
    (void)flags;
    (void)context;
    struct net_grpc_call *call = call_of(session, frame->hd.stream_id);
    if (call && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        net_grpc_call_header(call, name, name_bytes, value, value_bytes);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)context;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct net_grpc_call *call = call_of(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        net_grpc_call_begin(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        net_grpc_call_done(call);
    return 0;
}

/* What a stream has is its call's at once, which counts it; the window of the whole connection
 * stands still while nothing may rise. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t bytes, void *context)
{
    (void)flags;
    struct net_grpc_conn *conn = context;
    struct net_grpc_call *call = call_of(session, stream_id);
    if (call)
        net_grpc_call_data(call, data, bytes);
    nghttp2_session_consume_stream(session, stream_id, bytes);
    conn->unconsumed += bytes;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *context)
{
    (void)context;
    struct net_grpc_call *call = call_of(session, stream_id);
    if (call)
        net_grpc_call_close(call, error_code != NGHTTP2_NO_ERROR);
    return 0;
}

/* --- what goes --- */

/* An answer that ends before its request: the rest of that is not wanted. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)context;
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    struct net_grpc_call *call = ends ? call_of(session, frame->hd.stream_id) : NULL;
    if (call && !call->peer_is_done)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    return 0;
}

static void submit_trailer(struct net_grpc_call *call)
{
    static const nghttp2_nv ok = FIXED_FIELD("grpc-status", "0");
    nghttp2_session *session = call->conn->session;
    if (call->status.code == NET_GRPC_OK) {
        nghttp2_submit_trailer(session, call->stream_id, &ok, 1);
        return;
    }
    struct net_grpc_trailer trailer;
    trailer.count = 0;
    net_grpc_trailer_fill(&trailer, &call->status);
    nghttp2_submit_trailer(session, call->stream_id, trailer.fields, trailer.count);
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *context)
{
    (void)session;
    (void)stream_id;
    (void)context;
    struct net_grpc_call *call = source->ptr;
    size_t bytes = net_grpc_call_read(call, out, room);
    if (!call->first_out && call->state == NET_GRPC_ENDED) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailer(call);
    } else if (bytes == 0) {
        call->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)bytes;
}

void net_grpc_http2_answer(struct net_grpc_call *call)
{
    static const nghttp2_nv fields[] = {FIXED_FIELD(":status", "200"),
                                        FIXED_FIELD("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_answer};
    call->has_answered = true;
    nghttp2_submit_response(call->conn->session, call->stream_id, fields, 2, &provider);
}

void net_grpc_http2_headers(struct net_grpc_call *call, const nghttp2_nv *fields, size_t count)
{
    call->has_answered = true;
    nghttp2_submit_response(call->conn->session, call->stream_id, fields, count, NULL);
}

void net_grpc_http2_more(struct net_grpc_call *call)
{
    if (call->is_deferred)
        nghttp2_session_resume_data(call->conn->session, call->stream_id);
    call->is_deferred = false;
}

void net_grpc_http2_reset(struct net_grpc_call *call, uint32_t error_code)
{
    nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream_id, error_code);
}

void net_grpc_http2_goaway(struct net_grpc_conn *conn, uint32_t error_code, const char *message)
{
    nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(conn->session), error_code,
                          (const uint8_t *)message, strlen(message));
}

/* --- the session --- */

enum tg_error net_grpc_http2_init(struct net_grpc *grpc, struct tg_fault *fault)
{
    if (nghttp2_session_callbacks_new(&grpc->callbacks) != 0 ||
        nghttp2_option_new(&grpc->option) != 0)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for HTTP/2");
    nghttp2_session_callbacks *callbacks = grpc->callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_option_set_no_auto_window_update(grpc->option, 1);
    nghttp2_option_set_no_closed_streams(grpc->option, 1);
    nghttp2_option_set_stream_reset_rate_limit(grpc->option, RESETS_BURST, RESETS_A_SECOND);
    nghttp2_option_set_max_continuations(grpc->option, CONTINUATIONS_MAX);
    nghttp2_option_set_max_outbound_ack(grpc->option, ACKS_MAX);
    return TG_ERR_OK;
}

void net_grpc_http2_fini(struct net_grpc *grpc)
{
    nghttp2_session_callbacks_del(grpc->callbacks);
    nghttp2_option_del(grpc->option);
}

bool net_grpc_http2_begin(struct net_grpc_conn *conn)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, conn->grpc->options.streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, NET_GRPC_STREAM_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, NET_GRPC_HEADERS_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_session_server_new2(&conn->session, conn->grpc->callbacks, conn,
                                    conn->grpc->option) != 0)
        return false;
    return nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof(settings) / sizeof(settings[0])) == 0 &&
           nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0,
                                                 NET_GRPC_WINDOW_BYTES) == 0;
}

bool net_grpc_http2_receive(struct net_grpc_conn *conn, const uint8_t *data, size_t bytes)
{
    ssize_t taken = nghttp2_session_mem_recv(conn->session, data, bytes);
    return taken == (ssize_t)bytes;
}

/* Without a layer below each piece is copied to where it is sent from; else once more between. */
static bool send_gathered(struct net_grpc_conn *conn)
{
    uint8_t gathered[GATHER_BYTES];
    size_t have = 0;
    const uint8_t *data;
    ssize_t bytes = 0;
    while (net_layer_has_room(&conn->layer) &&
           (bytes = nghttp2_session_mem_send(conn->session, &data)) > 0) {
        if (have + (size_t)bytes > sizeof(gathered)) {
            if (have > 0 && !net_layer_down(&conn->layer, gathered, have))
                return false;
            have = 0;
        }
        if ((size_t)bytes > sizeof(gathered)) {
            if (!net_layer_down(&conn->layer, data, (size_t)bytes))
                return false;
            continue;
        }
        memcpy(gathered + have, data, (size_t)bytes);
        have += (size_t)bytes;
    }
    return bytes >= 0 && (have == 0 || net_layer_down(&conn->layer, gathered, have));
}

bool net_grpc_http2_send(struct net_grpc_conn *conn)
{
    if (conn->layer.below)
        return send_gathered(conn);
    const uint8_t *data;
    ssize_t bytes = 0;
    while (net_layer_has_room(&conn->layer) &&
           (bytes = nghttp2_session_mem_send(conn->session, &data)) > 0)
        if (!net_layer_down(&conn->layer, data, (size_t)bytes))
            return false;
    return bytes >= 0;
}
