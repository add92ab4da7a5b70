#include "net/conn.h"

#include "base/assert.h"
#include "base/count.h"
#include "base/log.h"
#include "net/census.h"
#include "net/speech.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a connection that we finished may take to read our last words. */
#define LINGER_NS          (2000 * 1000000ll)
#define LINGER_DRAINING_NS (500 * 1000000ll) /* within the shortest drain time-out */

/* One place of so many is kept from connections that are silent for SILENT_NS from their beginning;
 * so many are looked at for each new connection. */
#define KEPT_FRACTION 16
#define SILENT_LOOKS  64
#define SILENT_NS     (1000 * 1000000ll)

/* Sockets that are shut and closed in one turn, at some microseconds each: when ten thousand end at
 * once, the requests of the others go between. */
#define ENDS_A_TURN 64

/* The most that net_conn_room gives in one piece. */
#define ROOM_BYTES_MAX 4096

_Static_assert(ROOM_BYTES_MAX <= sizeof(((struct net_chunk *)0)->data), "a room fits a chunk");
_Static_assert(TG_ANSWER_FRAME_BYTES_MAX <= ROOM_BYTES_MAX, "an answer fits a room");

net_conn_ref net_conn_name(const struct net_conn *conn)
{
    return ((uint64_t)conn->generation << 32) | (conn->index + 1);
}

struct net_conn *net_conn_find(struct net_loop *loop, net_conn_ref name)
{
    struct net_conn *conn = &loop->conns[(uint32_t)name - 1];
    bool listens = conn->state == NET_CONN_OPEN || conn->state == NET_CONN_FINISHING;
    return listens && conn->generation == name >> 32 ? conn : NULL;
}

bool net_conn_is_open(const struct net_conn *conn)
{
    return conn->state == NET_CONN_OPEN;
}

bool net_conn_takes_output(const struct net_loop *loop, const struct net_conn *conn,
                           uint64_t correlation_id)
{
    const struct net_layer *top = conn->top;
    return conn->output_bytes <= net_loop_output_max(loop) / 2 &&
           (!top || !top->kind->takes_output || top->kind->takes_output(top, correlation_id));
}

int64_t net_conn_deadline_ns(const struct net_conn *conn)
{
    return conn->deadline_ns;
}

uint32_t *net_conn_uses(struct net_conn *conn, enum net_use use)
{
    return &conn->uses[use];
}

uint32_t net_conn_principal(const struct net_conn *conn)
{
    return conn->principal;
}

void net_conn_set_principal(struct net_conn *conn, uint32_t principal)
{
    conn->principal = principal;
}

const struct net_peer *net_conn_peer(const struct net_conn *conn)
{
    return &conn->peer;
}

bool net_conn_is_put_back(const struct net_conn *conn)
{
    return conn->put_back;
}

/* --- opening and closing --- */

size_t net_conn_refusal(uint8_t *frame, int error_code, const char *message)
{
    Tidegate__V1__ErrorResponse error = TIDEGATE__V1__ERROR_RESPONSE__INIT;
    error.code = (Tidegate__V1__ErrorCode)error_code;
    error.message = (char *)message;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ERROR;
    response.error = &error;
    size_t size =
        tg_frame_prefix(frame, (uint32_t)protobuf_c_message_get_packed_size(&response.base));
    return size + protobuf_c_message_pack(&response.base, frame + size);
}

/* Too many connections: one answer, if there is one in what it speaks, without waiting for the
 * socket to take it. */
static void turn_away(struct net_loop *loop, int fd, const struct net_endpoint *endpoint,
                      const char *message)
{
    uint8_t words[512];
    size_t size = 0;
    const struct net_layer_kind *only =
        endpoint->layer_count == 1 ? endpoint->layers[0].kind : NULL;
    if (endpoint->layer_count == 0)
        size = net_conn_refusal(words, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED, message);
    else if (only && only->turn_away)
        size = only->turn_away(words, sizeof(words), message);
    if (size > 0 && send(fd, words, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        errno = 0; /* it is turned away, with or without a word */
    close(fd);
    loop->stats.refused++;
}

/* Of the places, so many are not for those who only stand there ... */
static uint32_t places_kept(const struct net_loop *loop)
{
    return loop->options.connections_max / KEPT_FRACTION;
}

/* ... so when these are reached, some of them go. They are looked at in turn, a few for each new
 * connection. */
static void displace_silent(struct net_loop *loop)
{
    for (int i = 0; i < SILENT_LOOKS && loop->free_count < places_kept(loop); i++) {
        struct net_conn *conn = &loop->conns[loop->silent_at];
        loop->silent_at = (loop->silent_at + 1) % loop->conns_used;
        if (conn->state != NET_CONN_OPEN || conn->has_spoken ||
            loop->now_ns - conn->received_ns < SILENT_NS)
            continue;
        loop->stats.displaced++;
        net_conn_abort(loop, conn);
    }
}

/* Counts it with those of its address; false when these are too many, and it is not counted. */
static bool count_in(const struct net_options *options, const struct net_peer *peer,
                     uint64_t *address)
{
    *address = 0;
    if (!options->census)
        return true;
    uint64_t most = tg_count_read(options->per_address_max);
    uint64_t key = net_peer_key(peer, options->census->seed);
    if (key == 0)
        return true;
    uint32_t count = net_census_enter(options->census, key);
    if (most == 0 || count <= most) {
        *address = key;
        return true;
    }
    net_census_leave(options->census, key);
    return false;
}

void net_conn_open(struct net_loop *loop, int fd, const struct net_endpoint *endpoint)
{
    struct net_peer peer;
    uint64_t address;
    net_peer_of(fd, &peer);
    if (!count_in(&loop->options, &peer, &address)) {
        turn_away(loop, fd, endpoint,
                  "too many connections from this address: close some, or raise "
                  "security.connections_per_address");
        return;
    }
    if (loop->free_count == 0)
        net_conn_end_some(loop); /* nobody holds a pointer to one of them at this moment */
    if (loop->free_count == 0 || loop->draining) {
        if (address != 0)
            net_census_leave(loop->options.census, address);
        turn_away(loop, fd, endpoint,
                  loop->draining ? "the server is draining: go to another one, or come back later"
                                 : "too many connections: close some, or raise connections_max");
        return;
    }
    struct net_conn *conn = &loop->conns[loop->free_conns[--loop->free_count]];
    tg_assert(conn->state == NET_CONN_FREE && !conn->receive_armed && !conn->send_in_flight);
    if (loop->conns_used <= conn->index)
        loop->conns_used = conn->index + 1;
    conn->fd = fd;
    conn->state = NET_CONN_OPEN;
    conn->paused = false;
    conn->peer_closed = false;
    conn->peer_ended = false;
    conn->has_spoken = false;
    memset(conn->uses, 0, sizeof(conn->uses));
    conn->principal = 0;
    conn->peer = peer;
    conn->address = address;
    conn->received_ns = loop->now_ns;
    loop->stats.accepted++;
    loop->stats.open++;
    if (endpoint->layer_count > 0 && !net_layers_create(loop, conn, endpoint))
        net_conn_abort(loop, conn);
    net_conn_update(loop, conn);
    if (loop->free_count < places_kept(loop))
        displace_silent(loop);
}

static void free_conn(struct net_loop *loop, struct net_conn *conn)
{
    close(conn->fd);
    if (conn->address != 0)
        net_census_leave(loop->options.census, conn->address);
    net_layers_destroy(conn);
    net_input_free(loop, conn);
    net_chunk_queue_clear(&loop->chunks, &conn->sending);
    net_chunk_queue_clear(&loop->chunks, &conn->waiting);
    net_chunk_queue_clear(&loop->chunks, &conn->wire);
    conn->output_bytes = 0;
    conn->in_flight = 0;
    conn->generation++;
    conn->state = NET_CONN_FREE;
    loop->free_conns[loop->free_count++] = conn->index;
    loop->stats.open--;
    loop->stats.closed++;
}

void net_conn_stir(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->dirty)
        return;
    conn->dirty = true;
    conn->dirty_next = loop->dirty;
    loop->dirty = conn;
}

void net_conn_abort(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->state == NET_CONN_CLOSING || conn->state == NET_CONN_FREE)
        return;
    loop->stats.ended += conn->state == NET_CONN_OPEN;
    conn->state = NET_CONN_CLOSING;
    /* Freed by net_conn_end_some at the end of a turn: callers go on with the pointer. */
    conn->ending = true;
    conn->ending_next = NULL;
    if (loop->ending_last)
        loop->ending_last->ending_next = conn;
    else
        loop->ending = conn;
    loop->ending_last = conn;
}

/* Ends what the kernel still holds of the socket. The shutdown alone does, but for an operation
 * whose wake-up was lost: of some hundred connections that were reset in the middle of a flood, one
 * kept its receive for ever. */
static void shut(struct net_loop *loop, struct net_conn *conn)
{
    if (!conn->receive_armed && !conn->send_in_flight)
        return;
    shutdown(conn->fd, SHUT_RDWR);
    if (conn->receive_armed && !conn->receive_cancelling)
        net_loop_cancel_receive(loop, conn);
    if (conn->send_in_flight)
        net_loop_cancel_send(loop, conn);
}

void net_conn_end_some(struct net_loop *loop)
{
    for (int i = 0; i < ENDS_A_TURN && loop->ending; i++) {
        struct net_conn *conn = loop->ending;
        loop->ending = conn->ending_next;
        if (!loop->ending)
            loop->ending_last = NULL;
        conn->ending = false;
        shut(loop, conn);
        net_conn_update(loop, conn);
    }
}

void net_conn_finish(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->state != NET_CONN_OPEN)
        return;
    loop->stats.ended++;
    conn->state = NET_CONN_FINISHING;
    if (conn->top)
        net_layers_drain(conn);
    net_conn_update(loop, conn);
}

/* --- the life of a connection: what each state asks for --- */

void net_conn_yield(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->state != NET_CONN_OPEN)
        return;
    conn->paused = true;
    net_input_queue(&loop->lines[NET_LINE_WORK], conn);
}

void net_conn_put_back(struct net_loop *loop, struct net_conn *conn, enum net_line line)
{
    conn->put_back = true;
    conn->paused = true;
    if (loop->resumed == conn && loop->resumed_frames == loop->stats.frames) {
        /* It was the first, and stays the first. */
        loop->is_stopped = true;
        net_input_queue_first(&loop->lines[line], conn);
    } else {
        net_input_queue(&loop->lines[line], conn);
    }
}

bool net_conn_wants_receive(const struct net_loop *loop, const struct net_conn *conn)
{
    if (conn->peer_closed)
        return false;
    bool is_full =
        conn->is_multiplexed ? conn->output_bytes >= net_loop_output_max(loop) : conn->paused;
    return (conn->state == NET_CONN_OPEN && !is_full) || conn->state == NET_CONN_LINGERING ||
           (conn->state == NET_CONN_FINISHING && conn->is_multiplexed && !is_full);
}

/* Something that it has received was not handled yet. */
static bool holds_input(const struct net_conn *conn)
{
    return conn->held_bytes > 0 || conn->layer_waits;
}

static void pause_or_read(struct net_loop *loop, struct net_conn *conn)
{
    const struct net_options *options = &loop->options;
    bool is_over = net_conn_is_over(loop, conn);
    bool low = conn->in_flight <= options->in_flight_max / 2 &&
               conn->output_bytes <= net_loop_output_max(loop) / 2;
    if (is_over)
        conn->paused = true;
    else if (low && conn->paused && holds_input(conn))
        net_input_queue(&loop->ready, conn); /* what is held comes before what the socket has */
    else if (low && !conn->ready)
        conn->paused = false;

    /* Who only waits for a turn is soon read again: it is not worth a cancellation. */
    bool is_full = is_over || !conn->ready || conn->held_bytes >= NET_READ_AHEAD_BYTES;
    bool wants = net_conn_wants_receive(loop, conn);
    if (conn->paused && is_full && !(wants && conn->is_multiplexed) && conn->receive_armed &&
        !conn->receive_cancelling)
        net_loop_cancel_receive(loop, conn);
    else if (wants && !conn->receive_armed)
        net_loop_arm_receive(loop, conn);
}

void net_conn_resume(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->state == NET_CONN_OPEN) {
        conn->paused = false;
        net_input_resume(loop, conn);
        if (conn->top && !conn->paused)
            net_layers_resume(conn);
        if ((conn->peer_closed || conn->peer_ended) && !conn->paused)
            net_conn_finish(loop, conn);
    }
    net_conn_update(loop, conn);
}

/* Its layers let it go; each says its goodbye first, once. */
static bool layers_let_go(struct net_loop *loop, struct net_conn *conn)
{
    if (!conn->peer_closed && net_layers_are_busy(conn)) {
        if (net_conn_wants_receive(loop, conn) && !conn->receive_armed)
            net_loop_arm_receive(loop, conn);
        return false;
    }
    if (!conn->has_said_goodbye && !conn->peer_closed) {
        conn->has_said_goodbye = true;
        net_layers_finish(conn);
    }
    return conn->output_bytes == 0 && conn->state == NET_CONN_FINISHING;
}

static void finish_when_answered(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->in_flight > 0 || conn->output_bytes > 0)
        return;
    if (conn->top && !layers_let_go(loop, conn))
        return;
    if (conn->peer_closed) {
        net_conn_abort(loop, conn);
        return;
    }
    shutdown(conn->fd, SHUT_WR);
    conn->state = NET_CONN_LINGERING;
    conn->progress_ns = loop->now_ns;
    if (!conn->receive_armed)
        net_loop_arm_receive(loop, conn);
}

void net_conn_update(struct net_loop *loop, struct net_conn *conn)
{
    switch ((enum net_conn_state)conn->state) {
    case NET_CONN_FREE:
        break;
    case NET_CONN_OPEN:
        pause_or_read(loop, conn);
        break;
    case NET_CONN_FINISHING:
        finish_when_answered(loop, conn);
        break;
    case NET_CONN_LINGERING:
        if (conn->peer_closed)
            net_conn_abort(loop, conn);
        else if (!conn->receive_armed)
            net_loop_arm_receive(loop, conn);
        break;
    case NET_CONN_CLOSING:
        if (!conn->receive_armed && !conn->receive_waits && !conn->send_in_flight && !conn->dirty &&
            !conn->ready && !conn->ending)
            free_conn(loop, conn);
        break;
    }
}

void net_conn_check_times(struct net_loop *loop, struct net_conn *conn)
{
    const struct net_options *options = &loop->options;
    int64_t now = loop->now_ns;
    bool late = false;
    bool is_idle = conn->in_flight == 0 && conn->output_bytes == 0 &&
                   now - conn->received_ns > options->idle_timeout_ns;
    if (is_idle && conn->is_multiplexed && conn->state == NET_CONN_OPEN) {
        loop->stats.timeouts++;
        net_conn_finish(loop, conn); /* it is told so, and opens another one */
        return;
    }
    switch ((enum net_conn_state)conn->state) {
    case NET_CONN_FREE:
    case NET_CONN_CLOSING:
        return;
    case NET_CONN_OPEN:
        late = is_idle || (conn->held_bytes > 0 && !conn->paused &&
                           now - conn->held_since_ns > options->frame_timeout_ns);
        break;
    case NET_CONN_FINISHING:
        break;
    case NET_CONN_LINGERING:
        late = now - conn->progress_ns > (loop->draining ? LINGER_DRAINING_NS : LINGER_NS);
        break;
    }
    late = late || (conn->output_bytes > 0 && now - conn->progress_ns > options->write_timeout_ns);
    late = late || (conn->top && !net_layers_are_in_time(loop, conn));
    if (!late)
        return;
    loop->stats.timeouts++;
    net_conn_abort(loop, conn);
}

/* --- input --- */

void net_conn_received(struct net_loop *loop, struct net_conn *conn, int result, bool more)
{
    if (!more) {
        conn->receive_armed = false;
        conn->receive_cancelling = false;
    }
    if (result > 0)
        conn->received_ns = loop->now_ns;
    if (result == 0)
        conn->peer_closed = true;
    bool broken = result < 0 && result != -ENOBUFS && result != -ECANCELED && result != -EINTR;
    if (broken)
        net_conn_abort(loop, conn);
    else if (result == 0 && !(conn->paused && holds_input(conn)))
        net_conn_finish(loop, conn); /* else what is held is answered first */
    net_conn_update(loop, conn);
}

void net_conn_peer_ended(struct net_loop *loop, struct net_conn *conn)
{
    conn->peer_ended = true;
    if (!(conn->paused && holds_input(conn)))
        net_conn_finish(loop, conn);
}

void net_conn_begin(struct net_conn *conn, uint32_t count)
{
    conn->in_flight += count;
}

void net_conn_end(struct net_loop *loop, struct net_conn *conn, uint32_t count)
{
    tg_assert(conn->in_flight >= count);
    conn->in_flight -= count;
    if (conn->paused || conn->state == NET_CONN_FINISHING)
        net_conn_update(loop, conn);
}

/* --- output --- */

static struct net_chunk *chunk_with_room(struct net_loop *loop, struct net_conn *conn,
                                         struct net_chunk_queue *queue, uint32_t bytes)
{
    struct net_chunk *chunk = queue->tail;
    if (chunk && sizeof(chunk->data) - chunk->used >= bytes)
        return chunk;
    chunk = net_chunk_take(&loop->chunks);
    if (!chunk) {
        loop->stats.overflows++;
        net_conn_abort(loop, conn);
        return NULL;
    }
    net_chunk_queue_push(queue, chunk);
    return chunk;
}

static void fill(struct net_loop *loop, struct net_conn *conn, struct net_chunk *chunk,
                 uint32_t bytes)
{
    tg_assert(bytes <= sizeof(chunk->data) - chunk->used);
    if (conn->output_bytes == 0)
        conn->progress_ns = loop->now_ns;
    chunk->used += bytes;
    conn->output_bytes += bytes;
    net_conn_stir(loop, conn);
}

uint8_t *net_conn_room(struct net_loop *loop, struct net_conn *conn, uint32_t bytes)
{
    tg_assert(bytes <= ROOM_BYTES_MAX);
    if (conn->state != NET_CONN_OPEN && conn->state != NET_CONN_FINISHING)
        return NULL;
    struct net_chunk *chunk = chunk_with_room(loop, conn, &conn->waiting, bytes);
    return chunk ? chunk->data + chunk->used : NULL;
}

void net_conn_filled(struct net_loop *loop, struct net_conn *conn, uint32_t bytes)
{
    fill(loop, conn, conn->waiting.tail, bytes);
}

bool net_conn_wire(struct net_loop *loop, struct net_conn *conn, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        if (conn->state == NET_CONN_CLOSING)
            return false;
        struct net_chunk *chunk = chunk_with_room(loop, conn, &conn->wire, 1);
        if (!chunk)
            return false;
        size_t room = sizeof(chunk->data) - chunk->used;
        uint32_t piece = (uint32_t)(bytes < room ? bytes : room);
        memcpy(chunk->data + chunk->used, from, piece);
        fill(loop, conn, chunk, piece);
        from += piece;
        bytes -= piece;
    }
    return true;
}

void net_conn_write(struct net_loop *loop, struct net_conn *conn, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        uint32_t piece = bytes < ROOM_BYTES_MAX ? (uint32_t)bytes : ROOM_BYTES_MAX;
        uint8_t *room = net_conn_room(loop, conn, piece);
        if (!room)
            return;
        memcpy(room, from, piece);
        net_conn_filled(loop, conn, piece);
        from += piece;
        bytes -= piece;
    }
}

void net_conn_error(struct net_loop *loop, struct net_conn *conn, uint64_t correlation_id,
                    int error_code, const char *message)
{
    uint8_t *room = net_conn_room(loop, conn, ROOM_BYTES_MAX);
    if (!room)
        return;
    Tidegate__V1__ErrorResponse error = TIDEGATE__V1__ERROR_RESPONSE__INIT;
    error.code = (Tidegate__V1__ErrorCode)error_code;
    error.message = (char *)message;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ERROR;
    response.error = &error;
    size_t size = protobuf_c_message_get_packed_size(&response.base);
    tg_assert(size <= ROOM_BYTES_MAX - TG_FRAME_PREFIX_BYTES_MAX);
    size_t used = tg_frame_prefix(room, (uint32_t)size);
    used += protobuf_c_message_pack(&response.base, room + used);
    net_conn_filled(loop, conn, (uint32_t)used);
}

void net_conn_fail(struct net_loop *loop, struct net_conn *conn, uint64_t correlation_id,
                   int error_code, const char *message)
{
    net_conn_error(loop, conn, correlation_id, error_code, message);
    if (!conn->is_multiplexed || correlation_id == 0)
        net_conn_finish(loop, conn);
}

bool net_conn_turn_foreign(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                           size_t bytes)
{
    uint8_t answer[NET_SPEECH_ANSWER_BYTES];
    enum net_speech speech = net_speech_of(data, bytes);
    bool is_foreign = speech != NET_SPEECH_OTHER && speech != NET_SPEECH_UNKNOWN;
    if (!is_foreign || conn->held_bytes > 0 || conn->state != NET_CONN_OPEN)
        return false;
    size_t size = net_speech_answer(speech, NET_SPEECH_ENHANCE_YOUR_CALM, answer,
                                    "this port speaks Tidegate's native protocol: gRPC and HTTP "
                                    "have listeners of their own");
    if (speech == NET_SPEECH_TLS)
        tg_log_warn("a caller begins TLS on a port that speaks plain: it is refused; "
                    "tls.certificate and tls.key turn TLS on");
    loop->stats.bad_frames++;
    net_conn_write(loop, conn, answer, size);
    net_conn_finish(loop, conn);
    return true;
}

void net_conn_flush(struct net_loop *loop, struct net_conn *conn)
{
    struct net_chunk_queue *ready = &conn->waiting;
    if (__builtin_expect(conn->top != NULL, 0)) {
        net_layers_flush(loop, conn);
        ready = &conn->wire;
    }
    if (conn->send_in_flight || conn->state == NET_CONN_CLOSING || conn->output_bytes == 0)
        return;
    if (!conn->sending.head) {
        conn->sending = *ready;
        *ready = (struct net_chunk_queue){0};
    }
    uint32_t pieces = 0;
    for (struct net_chunk *chunk = conn->sending.head; chunk && pieces < NET_SEND_CHUNKS;
         chunk = chunk->next)
        conn->pieces[pieces++] = (struct iovec){.iov_base = chunk->data + chunk->sent,
                                                .iov_len = chunk->used - chunk->sent};
    net_loop_send(loop, conn, pieces);
}

/* Gives back the chunks that are out. */
static void advance(struct net_loop *loop, struct net_conn *conn, uint32_t bytes)
{
    conn->output_bytes -= bytes;
    while (bytes > 0) {
        struct net_chunk *chunk = conn->sending.head;
        tg_assert(chunk);
        uint32_t rest = chunk->used - chunk->sent;
        uint32_t step = bytes < rest ? bytes : rest;
        chunk->sent += step;
        bytes -= step;
        if (chunk->sent < chunk->used)
            return;
        conn->sending.head = chunk->next;
        if (!chunk->next)
            conn->sending.tail = NULL;
        net_chunk_give(&loop->chunks, chunk);
    }
}

void net_conn_sent(struct net_loop *loop, struct net_conn *conn, int result)
{
    conn->send_in_flight = false;
    if (result > 0) {
        advance(loop, conn, (uint32_t)result);
        conn->progress_ns = loop->now_ns;
    } else if (result != -EINTR && result != -EAGAIN) {
        net_conn_abort(loop, conn);
    }
    if ((conn->output_bytes > 0 || conn->top) && conn->state != NET_CONN_CLOSING)
        net_conn_stir(loop, conn);
    if (conn->paused || conn->state != NET_CONN_OPEN)
        net_conn_update(loop, conn);
}
