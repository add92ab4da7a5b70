/* The gRPC layer between a peer and a handler that the input plays: which calls come, in what
 * pieces their bytes arrive and which of these are turned, what is put off, put back and answered
 * when, which streams are reset, how much the peer's windows let out, how time goes by. The peer is
 * an nghttp2 session of its own, so the bytes are mostly HTTP/2; the connection and its loop are
 * filled in by hand, and nothing is asked of the kernel.
 *
 * input: steps, of one byte and what they take
 *
 *   step % 8: 0 a call begins     4 the peer hears what the server says
 *             1 a stream is reset 5 the handler answers the oldest frame
 *             2 bytes arrive      6 the connection may go on
 *             3 a byte is turned  7 time goes by, or a drain begins
 *
 * What must hold: a frame that rises is one whole Request of a kind that the contract has, under a
 * name that no other call under way has; what the server says is HTTP/2 as long as no byte was
 * turned; and in the end all memory is given back. */
#include "net/conn.h"
#include "net/grpc.h"

#include "tests/fuzz/fuzz.h"

#include <nghttp2/nghttp2.h>

enum {
    WIRE_MAX = 1 << 18,
    FRAMES_MAX = 256,
    CHUNKS = 512,
    BODY_MAX = 2048,
};

static struct net_loop loop;
static struct net_conn *conn;
static nghttp2_session *peer;
static struct fuzz_bytes script;
static uint8_t wire[WIRE_MAX]; /* from the peer, not arrived */
static size_t wire_begin, wire_end;
static uint8_t body[BODY_MAX];
static uint64_t frames[FRAMES_MAX]; /* correlation ids of those not answered */
static uint32_t kinds[FRAMES_MAX];
static uint32_t frame_first, frame_count;
static uint32_t puts_back;
static bool is_turned; /* a byte: what comes of it is anybody's guess */
static int32_t newest_stream;

/* --- the handler --- */

static void on_frame(void *context, struct net_conn *of, struct tg_bytes message)
{
    struct tg_envelope envelope;
    (void)context;
    FUZZ_MUST(of == conn && tg_request_decode(message, &envelope) == TG_DECODE_OK);
    FUZZ_MUST(envelope.kind != 0 && envelope.correlation_id != 0);
    if (puts_back > 0) {
        puts_back--;
        net_conn_put_back(&loop, conn, NET_LINE_WORK);
        return;
    }
    for (uint32_t i = 0; i < frame_count; i++)
        FUZZ_MUST(frames[(frame_first + i) % FRAMES_MAX] != envelope.correlation_id ||
                  envelope.kind == TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE);
    if (frame_count == FRAMES_MAX)
        return;
    uint32_t at = (frame_first + frame_count++) % FRAMES_MAX;
    frames[at] = envelope.correlation_id;
    kinds[at] = envelope.kind;
    net_conn_begin(conn, 1);
}

static void on_frames_end(void *context)
{
    (void)context;
}

static void on_cancel(void *context, struct net_conn *of, uint64_t correlation_id)
{
    (void)context;
    FUZZ_MUST(of == conn && correlation_id > 1);
}

/* A Response of that kind with some bytes in it, or an error. */
static void answer(void)
{
    if (frame_count == 0)
        return;
    uint64_t name = frames[frame_first];
    uint32_t kind = kinds[frame_first];
    frame_first = (frame_first + 1) % FRAMES_MAX;
    frame_count--;
    uint8_t how = fuzz_u8(&script);
    if (how < 32) {
        net_conn_error(&loop, conn, name, how % 12, "the input says so");
    } else {
        static uint8_t out[70000];
        size_t size = how < 40 ? 60000 : how % 40;
        uint8_t message[32] = {1 << 3};
        size_t at = 1;
        for (uint64_t rest = name;; rest >>= 7) {
            message[at++] = (uint8_t)(rest | (rest >= 0x80 ? 0x80 : 0));
            if (rest < 0x80)
                break;
        }
        uint64_t words[2] = {kind << 3 | 2, size};
        for (int i = 0; i < 2; i++)
            for (uint64_t rest = words[i];; rest >>= 7) {
                message[at++] = (uint8_t)(rest | (rest >= 0x80 ? 0x80 : 0));
                if (rest < 0x80)
                    break;
            }
        size_t prefix = tg_frame_prefix(out, (uint32_t)(at + size));
        memcpy(out + prefix, message, at);
        memset(out + prefix + at, 0, size);
        if (size >= 2) {
            out[prefix + at] = 1 << 3;
            out[prefix + at + 1] = how % 16;
        }
        net_conn_write(&loop, conn, out, prefix + at + size);
    }
    net_conn_end(&loop, conn, 1);
}

/* --- the peer --- */

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *context)
{
    size_t size = (size_t)(uintptr_t)source->ptr;
    (void)session;
    (void)stream_id;
    (void)context;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    size = size < room ? size : room;
    memcpy(out, body, size);
    return (ssize_t)size;
}

static void begin_call(void)
{
    static const char *const paths[] = {"/tidegate.v1.TidegateService/PlaceOrder",
                                        "/tidegate.v1.TidegateService/WatchItem",
                                        "/tidegate.v1.TidegateService/ConsumeEvents",
                                        "/grpc.health.v1.Health/Watch",
                                        "/grpc.health.v1.Health/Check",
                                        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                        "/no.such/Method",
                                        ""};
    static const char *const timeouts[] = {"", "1n", "10m", "5S", "x"};
    static const char *const tokens[] = {"", "Bearer a", "Bearer bb", "Basic"};
    uint8_t path = fuzz_u8(&script), fields_of = fuzz_u8(&script), size = fuzz_u8(&script);
#define FIELD(name_, text)                                                                         \
    {                                                                                              \
        .name = (uint8_t *)(name_), .namelen = strlen(name_), .value = (uint8_t *)(text),          \
        .valuelen = strlen(text)                                                                   \
    }
    const nghttp2_nv fields[] = {
        FIELD(":method", fields_of & 128 ? "GET" : "POST"),
        FIELD(":scheme", "http"),
        FIELD(":path", paths[path % 8]),
        FIELD(":authority", "x"),
        FIELD("content-type", fields_of & 64 ? "a/b" : "application/grpc"),
        FIELD("grpc-timeout", timeouts[fields_of % 5]),
        FIELD("authorization", tokens[path / 8 % 4]),
    };
    size_t bytes = (size_t)size * 8;
    memset(body, 0, sizeof(body));
    fuzz_take(&script, body, bytes < 64 ? bytes : 64);
    if (!(fields_of & 32) && bytes >= 5) {
        body[0] = 0;
        body[1] = body[2] = 0;
        body[3] = (uint8_t)((bytes - 5) >> 8);
        body[4] = (uint8_t)(bytes - 5);
    }
    nghttp2_data_provider provider = {.source.ptr = (void *)(uintptr_t)bytes,
                                      .read_callback = read_body};
    nghttp2_nv kept[7];
    size_t at = 0;
    for (size_t i = 0; i < 7; i++)
        if (i < 5 || fields[i].valuelen > 0)
            kept[at++] = fields[i];
    int32_t stream = nghttp2_submit_request(peer, NULL, kept, at, &provider, NULL);
    newest_stream = stream > 0 ? stream : newest_stream;
}

static void say(void)
{
    const uint8_t *data;
    ssize_t bytes;
    while (wire_end + 20000 < WIRE_MAX && (bytes = nghttp2_session_mem_send(peer, &data)) > 0) {
        memcpy(wire + wire_end, data, (size_t)bytes);
        wire_end += (size_t)bytes;
    }
}

static void arrive(size_t most)
{
    say();
    size_t there = wire_end - wire_begin;
    size_t size = there < most ? there : most;
    if (size > 0)
        net_layers_take(&loop, conn, wire + wire_begin, size);
    wire_begin += size;
    if (wire_begin == wire_end)
        wire_begin = wire_end = 0;
}

static void hear(void)
{
    net_layers_flush(&loop, conn);
    conn->dirty = false;
    loop.dirty = NULL;
    while (conn->wire.head) {
        struct net_chunk *chunk = conn->wire.head;
        if (!is_turned)
            FUZZ_MUST(nghttp2_session_mem_recv(peer, chunk->data, chunk->used) ==
                      (ssize_t)chunk->used);
        conn->output_bytes -= chunk->used;
        conn->wire.head = chunk->next;
        if (!chunk->next)
            conn->wire.tail = NULL;
        net_chunk_give(&loop.chunks, chunk);
    }
}

static void go_on(void)
{
    memset(loop.lines, 0, sizeof(loop.lines));
    loop.ready = (struct net_conn_queue){0};
    conn->ready = false;
    loop.turn++;
    loop.turn_end = loop.stats.frames + 1000;
    if (conn->state == NET_CONN_OPEN)
        net_conn_resume(&loop, conn);
}

/* --- one input --- */

static void begin(const struct net_endpoint *endpoint)
{
    struct tg_fault fault;
    loop = (struct net_loop){
        .options = {.connections_max = 1,
                    .in_flight_max = 8,
                    .output_bytes_max = 65536,
                    .held_bytes_max = 1 << 20,
                    .idle_timeout_ns = 1000000000,
                    .frame_timeout_ns = 1000000000,
                    .write_timeout_ns = 1000000000},
        .handler = {.on_frame = on_frame, .on_frames_end = on_frames_end, .on_cancel = on_cancel},
        .now_ns = 1,
        .turn_end = 1000};
    FUZZ_MUST(net_chunk_pool_init(&loop.chunks, CHUNKS, &fault) == TG_ERR_OK);
    FUZZ_MUST((conn = calloc(1, sizeof(*conn))) != NULL);
    loop.conns = conn;
    conn->fd = -1;
    conn->state = NET_CONN_OPEN;
    conn->receive_armed = conn->receive_cancelling = true; /* the kernel is not asked */
    FUZZ_MUST(net_layers_create(&loop, conn, endpoint));
    nghttp2_session_callbacks *callbacks;
    FUZZ_MUST(nghttp2_session_callbacks_new(&callbacks) == 0);
    FUZZ_MUST(nghttp2_session_client_new(&peer, callbacks, NULL) == 0);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)fuzz_u8(&script) * 64}};
    nghttp2_submit_settings(peer, NGHTTP2_FLAG_NONE, settings, 1);
    wire_begin = wire_end = 0;
    frame_first = frame_count = puts_back = 0;
    is_turned = false;
    newest_stream = 0;
}

static void step(uint8_t kind)
{
    uint8_t how;
    switch (kind % 8) {
    case 0:
        begin_call();
        break;
    case 1:
        if (newest_stream > 0)
            nghttp2_submit_rst_stream(peer, NGHTTP2_FLAG_NONE,
                                      newest_stream - 2 * (kind / 8 % 4) > 0
                                          ? newest_stream - 2 * (kind / 8 % 4)
                                          : newest_stream,
                                      NGHTTP2_CANCEL);
        break;
    case 2:
        how = fuzz_u8(&script);
        puts_back = how % 16 == 15;
        arrive(how < 128 ? how : 8192);
        break;
    case 3:
        say();
        how = fuzz_u8(&script);
        if (wire_end > wire_begin) {
            wire[wire_begin + how % (wire_end - wire_begin)] ^= (uint8_t)(fuzz_u8(&script) | 1);
            is_turned = true;
        }
        break;
    case 4:
        hear();
        break;
    case 5:
        answer();
        break;
    case 6:
        go_on();
        break;
    case 7:
        how = fuzz_u8(&script);
        loop.now_ns += (int64_t)how * 10000000;
        if (how == 255)
            net_conn_finish(&loop, conn);
        else if (conn->state == NET_CONN_OPEN || conn->state == NET_CONN_FINISHING)
            net_layers_are_in_time(&loop, conn);
        break;
    }
}

static void end(void)
{
    net_layers_destroy(conn);
    net_input_free(&loop, conn);
    net_chunk_queue_clear(&loop.chunks, &conn->wire);
    net_chunk_queue_clear(&loop.chunks, &conn->waiting);
    FUZZ_MUST(loop.held_bytes == 0 && loop.chunks.used == 0);
    net_chunk_pool_fini(&loop.chunks);
    nghttp2_session_del(peer);
    free(conn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct net_grpc_options options = {.streams_max = 16,
                                                    .request_timeout_ns = 1000000000,
                                                    .write_timeout_ns = 1000000000,
                                                    .idle_timeout_ns = 1000000000};
    struct net_grpc *grpc;
    struct tg_fault fault;
    if (size > FUZZ_BYTES_MAX)
        return 0;
    script = (struct fuzz_bytes){data, size};
    FUZZ_MUST(net_grpc_create(&options, &grpc, &fault) == TG_ERR_OK);
    struct net_endpoint endpoint = {.layer_count = 1,
                                    .layers = {{.kind = &net_grpc_kind, .context = grpc}}};
    begin(&endpoint);
    while (script.left > 0)
        step(fuzz_u8(&script));
    end();
    net_grpc_destroy(grpc);
    return 0;
}
