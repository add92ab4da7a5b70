/* The layer: how what nghttp2 and the calls do meets the connection's turns. */
#include "net/grpc.h"

#include "base/assert.h"
#include "net/grpc_conn.h"
#include "net/speech.h"

#include <stdlib.h>
#include <string.h>

enum tg_error net_grpc_create(const struct net_grpc_options *options, struct net_grpc **created,
                              struct tg_fault *fault)
{
    tg_assert(options->streams_max > 0 && options->streams_max <= NET_GRPC_STREAMS_MAX);
    struct net_grpc *grpc = calloc(1, sizeof(*grpc));
    if (!grpc)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for gRPC");
    grpc->options = *options;
    enum tg_error error = net_grpc_http2_init(grpc, fault);
    if (error != TG_ERR_OK) {
        net_grpc_destroy(grpc);
        return error;
    }
    *created = grpc;
    return TG_ERR_OK;
}

void net_grpc_destroy(struct net_grpc *grpc)
{
    net_grpc_http2_fini(grpc);
    free(grpc);
}

const struct net_grpc_stats *net_grpc_stats(const struct net_grpc *grpc)
{
    return &grpc->stats;
}

/* --- the life of a connection --- */

static struct net_grpc_conn *conn_of(struct net_layer *layer)
{
    return (struct net_grpc_conn *)layer;
}

static struct net_layer *create(void *context)
{
    struct net_grpc *grpc = context;
    struct net_grpc_conn *conn = calloc(1, sizeof(*conn));
    if (conn)
        conn->calls = calloc(grpc->options.streams_max, sizeof(struct net_grpc_call *));
    if (!conn || !conn->calls) {
        free(conn);
        return NULL;
    }
    conn->grpc = grpc;
    return &conn->layer;
}

static void begin(struct net_layer *layer)
{
    struct net_grpc_conn *conn = conn_of(layer);
    conn->began_ns = layer->loop->now_ns;
    conn->grpc->stats.connections++;
}

static void destroy(struct net_layer *layer)
{
    struct net_grpc_conn *conn = conn_of(layer);
    if (conn->session)
        nghttp2_session_del(conn->session);
    net_grpc_calls_free(conn);
    if (conn->piece)
        net_layer_hold(layer, -(int64_t)conn->piece_size);
    free(conn->piece);
    free(conn->token);
    free(conn);
}

/* --- in --- */

/* It does not speak HTTP/2. */
static bool refuse(struct net_grpc_conn *conn, const uint8_t *data, size_t bytes)
{
    static const char message[] =
        "this port speaks gRPC: HTTP/2 without upgrade, or with TLS where that is configured";
    uint8_t answer[NET_SPEECH_ANSWER_BYTES];
    enum net_speech speech = net_speech_of(data, bytes);
    size_t size = net_speech_answer(speech, NET_SPEECH_ENHANCE_YOUR_CALM, answer, message);
    if (size == 0)
        size =
            net_conn_refusal(answer, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME, message);
    conn->is_foreign = true;
    conn->grpc->stats.refused++;
    net_layer_down(&conn->layer, answer, size);
    return false;
}

/* Looks for the client's preface in front of all that comes; the session wants to see it as well.
 * False: it is none. */
static bool take_preface(struct net_grpc_conn *conn, const uint8_t *data, size_t bytes)
{
    static const uint8_t preface[] = NET_SPEECH_PREFACE;
    size_t rest = NET_SPEECH_PREFACE_BYTES - conn->preface_bytes;
    size_t piece = bytes < rest ? bytes : rest;
    if (memcmp(data, preface + conn->preface_bytes, piece) != 0)
        return conn->preface_bytes > 0 ? refuse(conn, NULL, 0) : refuse(conn, data, bytes);
    if (!conn->session && !net_grpc_http2_begin(conn))
        return false;
    conn->preface_bytes += (uint32_t)piece;
    if (conn->preface_bytes == NET_SPEECH_PREFACE_BYTES)
        conn->layer.conn->has_spoken = true;
    return true;
}

static bool take(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    struct net_grpc_conn *conn = conn_of(layer);
    if (conn->is_foreign || conn->is_broken)
        return false;
    if (conn->preface_bytes < NET_SPEECH_PREFACE_BYTES && !take_preface(conn, data, bytes))
        return false;
    conn->is_pinged = false;
    bool is_whole = net_grpc_http2_receive(conn, data, bytes);
    bool goes_on = is_whole && nghttp2_session_want_read(conn->session);
    net_layer_stir(layer);
    if (!is_whole || (!goes_on && conn->open > 0)) {
        conn->is_broken = true;
        conn->grpc->stats.broken++;
        return false;
    }
    net_grpc_calls_rise(conn);
    return goes_on || conn->is_draining;
}

static void resume(struct net_layer *layer)
{
    struct net_grpc_conn *conn = conn_of(layer);
    if (!conn->session)
        return;
    net_grpc_calls_rise(conn);
    net_layer_stir(layer);
}

/* --- out --- */

/* The frame that comes in pieces is whole. */
static void take_piece(struct net_grpc_conn *conn)
{
    struct tg_bytes message;
    size_t used;
    enum tg_frame frame = tg_frame_next_response(
        (struct tg_bytes){.data = conn->piece, .size = conn->piece_size}, &message, &used);
    tg_assert(frame == TG_FRAME_WHOLE && used == conn->piece_size);
    uint8_t *piece = conn->piece;
    conn->piece = NULL;
    conn->piece_head_bytes = 0;
    net_grpc_answer(conn, message, piece, conn->piece_size);
}

/* Memory for a frame whose size is known. */
static bool begin_piece(struct net_grpc_conn *conn, size_t size)
{
    if (!net_layer_hold(&conn->layer, (int64_t)size))
        return false;
    conn->piece = malloc(size);
    conn->piece_size = (uint32_t)size;
    conn->piece_have = conn->piece_head_bytes;
    if (!conn->piece) {
        net_layer_hold(&conn->layer, -(int64_t)size);
        return false;
    }
    memcpy(conn->piece, conn->piece_head, conn->piece_head_bytes);
    return true;
}

/* Goes on with a frame that lies over the end of what is given. Returns how many bytes it took, 0
 * without memory. */
static size_t give_piece(struct net_grpc_conn *conn, const uint8_t *data, size_t bytes)
{
    if (!conn->piece) {
        struct tg_bytes head = {.data = conn->piece_head, .size = conn->piece_head_bytes}, message;
        size_t size;
        if (tg_frame_next_response(head, &message, &size) == TG_FRAME_PARTIAL && size == 0) {
            conn->piece_head[conn->piece_head_bytes++] = *data;
            return 1;
        }
        if (!begin_piece(conn, size))
            return 0;
    }
    size_t rest = conn->piece_size - conn->piece_have;
    size_t piece = bytes < rest ? bytes : rest;
    memcpy(conn->piece + conn->piece_have, data, piece);
    conn->piece_have += (uint32_t)piece;
    if (conn->piece_have == conn->piece_size)
        take_piece(conn);
    return piece;
}

static bool give(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    struct net_grpc_conn *conn = conn_of(layer);
    if (!conn->session || conn->is_broken)
        return true; /* nobody is there to hear it */
    while (bytes > 0) {
        struct tg_bytes message;
        size_t used = 0;
        bool in_pieces = conn->piece || conn->piece_head_bytes > 0 ||
                         tg_frame_next_response((struct tg_bytes){.data = data, .size = bytes},
                                                &message, &used) != TG_FRAME_WHOLE;
        if (in_pieces && (used = give_piece(conn, data, bytes)) == 0)
            return false;
        if (!in_pieces)
            net_grpc_answer(conn, message, NULL, 0);
        data += used;
        bytes -= used;
    }
    return true;
}

/* nghttp2 has said its last word to a peer that broke the rules: nothing of it counts any more. */
static void end_broken(struct net_grpc_conn *conn)
{
    conn->is_broken = true;
    conn->grpc->stats.broken++;
    net_conn_finish(conn->layer.loop, conn->layer.conn);
}

static bool flush(struct net_layer *layer)
{
    struct net_grpc_conn *conn = conn_of(layer);
    if (!conn->session)
        return true;
    bool is_whole = net_grpc_http2_send(conn);
    net_grpc_calls_keep(conn);
    bool is_over =
        !nghttp2_session_want_read(conn->session) && !nghttp2_session_want_write(conn->session);
    if (is_over && !conn->is_broken && !conn->is_draining)
        end_broken(conn);
    return is_whole;
}

static bool takes_output(const struct net_layer *layer, uint64_t correlation_id)
{
    const struct net_grpc_conn *conn = (const struct net_grpc_conn *)layer;
    const struct net_grpc_call *call = net_grpc_call_find(conn, correlation_id);
    return !call || !call->first_out;
}

/* --- the end --- */

static void drain(struct net_layer *layer)
{
    struct net_grpc_conn *conn = conn_of(layer);
    if (!conn->session || conn->is_draining || conn->is_broken)
        return;
    conn->is_draining = true;
    conn->drain_ns = layer->loop->now_ns;
    net_grpc_http2_goaway(conn, NGHTTP2_NO_ERROR, "the server is draining, or was idle for long");
    net_grpc_calls_drain(conn);
}

/* With calls, or with words that are not out yet: GOAWAY is the last of them. */
static bool is_busy(const struct net_layer *layer)
{
    const struct net_grpc_conn *conn = (const struct net_grpc_conn *)layer;
    if (!conn->session || conn->is_foreign)
        return false;
    return (conn->open > 0 && !conn->is_broken) || nghttp2_session_want_write(conn->session);
}

static bool is_in_time(struct net_layer *layer, int64_t now_ns)
{
    struct net_grpc_conn *conn = conn_of(layer);
    const struct net_grpc_options *options = &conn->grpc->options;
    if (conn->is_foreign || conn->is_broken)
        return true; /* it is on its way out */
    if (conn->preface_bytes < NET_SPEECH_PREFACE_BYTES)
        return now_ns - conn->began_ns <= options->request_timeout_ns;
    if (conn->is_draining && now_ns - conn->drain_ns > options->write_timeout_ns)
        return false;
    net_grpc_calls_check(conn, now_ns);
    int64_t silent_ns = now_ns - layer->conn->received_ns;
    if (conn->open > 0 && !conn->is_pinged && silent_ns > options->idle_timeout_ns / 2) {
        conn->is_pinged = true;
        nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
    }
    if (nghttp2_session_want_write(conn->session))
        net_layer_stir(layer);
    return true;
}

static size_t turn_away(uint8_t *out, size_t room, const char *message)
{
    uint8_t answer[NET_SPEECH_ANSWER_BYTES];
    size_t bytes =
        net_speech_answer(NET_SPEECH_HTTP2, NET_SPEECH_ENHANCE_YOUR_CALM, answer, message);
    if (bytes > room)
        return 0;
    memcpy(out, answer, bytes);
    return bytes;
}

const struct net_layer_kind net_grpc_kind = {
    .name = "grpc",
    .create = create,
    .begin = begin,
    .take = take,
    .give = give,
    .flush = flush,
    .resume = resume,
    .drain = drain,
    .is_busy = is_busy,
    .is_in_time = is_in_time,
    .takes_output = takes_output,
    .turn_away = turn_away,
    .destroy = destroy,
    .is_multiplexed = true,
};
