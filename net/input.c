/* Bytes to frames. Whole frames are handed on where they lie in the receive buffer; what is cut by
 * the buffer's end, and what comes while the connection is paused, is copied into `held`. */
#include "net/conn.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

/* Most cut frames are single orders: the first step holds one. The next two hold a whole frame of
 * their kind, prefix included. The last holds what the kernel had already received when a
 * connection was paused. */
static const uint32_t held_steps[] = {
    512,
    TG_FRAME_PREFIX_BYTES_MAX + TG_FRAME_BYTES_MAX,
    TG_FRAME_PREFIX_BYTES_MAX + TG_FRAME_BATCH_BYTES_MAX,
    4 * 1024 * 1024,
};

#define HELD_BYTES_MAX ((size_t)4 * 1024 * 1024)

/* Bytes after which tg_frame_next always knows the size and the kind: prefix, correlation id with
 * its tag, and a tag of five bytes. */
#define PEEK_BYTES 21

/* False when the handler put the frame back. */
static bool deliver(struct net_loop *loop, struct net_conn *conn, struct tg_bytes body)
{
    loop->handler.on_frame(loop->handler.context, conn, body);
    if (__builtin_expect(conn->put_back, 0)) {
        conn->put_back = false;
        return false;
    }
    conn->has_spoken = true;
    loop->stats.frames++;
    return true;
}

void net_input_settle(struct net_loop *loop)
{
    loop->handler.on_frames_end(loop->handler.context);
}

static void refuse_frame(struct net_loop *loop, struct net_conn *conn, enum tg_frame frame)
{
    loop->stats.bad_frames++;
    net_input_settle(loop); /* the frames before it are answered first */
    if (frame == TG_FRAME_TOO_LARGE)
        net_conn_fail(loop, conn, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_FRAME_TOO_LARGE,
                      "the frame is above 65536 bytes, or above 1048576 for PlaceOrders, "
                      "IngestOrders and CreateSale: send it in parts");
    else
        net_conn_fail(loop, conn, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME,
                      "a frame must begin with its length as a varint of one to five bytes, "
                      "without leading zero groups");
}

/* What a buffer counts for in the memory that all connections share. Those of the first step do
 * not: however much others hold, a single order that comes in two pieces is never turned away. */
static uint32_t shared_bytes(uint32_t capacity)
{
    return capacity > held_steps[0] ? capacity : 0;
}

/* What may be used in all by a buffer of that step: who sends the largest frames leaves a quarter
 * to the others. */
static uint32_t shared_max(const struct net_loop *loop, uint32_t step)
{
    uint32_t most = loop->options.held_bytes_max;
    return step > 1 ? most - most / 4 : most;
}

/* Room for `bytes` from the start of what is held; false when memory is used up. */
static bool reserve(struct net_loop *loop, struct net_conn *conn, size_t bytes)
{
    if (conn->held_start + bytes <= conn->held_capacity)
        return true;
    if (conn->held_start > 0)
        memmove(conn->held, conn->held + conn->held_start, conn->held_bytes);
    conn->held_start = 0;
    if (bytes <= conn->held_capacity)
        return true;
    if (bytes > HELD_BYTES_MAX)
        return false;
    uint32_t step = 0;
    while (held_steps[step] < bytes)
        step++;
    uint32_t more = shared_bytes(held_steps[step]) - shared_bytes(conn->held_capacity);
    uint32_t most = shared_max(loop, step);
    if (more > 0 && (loop->held_bytes > most || more > most - loop->held_bytes))
        return false;
    uint8_t *grown = realloc(conn->held, held_steps[step]);
    if (!grown)
        return false;
    conn->held = grown;
    conn->held_capacity = held_steps[step];
    loop->held_bytes += more;
    return true;
}

void net_input_free(struct net_loop *loop, struct net_conn *conn)
{
    free(conn->held);
    loop->held_bytes -= shared_bytes(conn->held_capacity);
    conn->held = NULL;
    conn->held_capacity = 0;
    conn->held_start = 0;
    conn->held_bytes = 0;
}

bool net_input_hold(struct net_loop *loop, int64_t bytes)
{
    uint32_t most = shared_max(loop, 2);
    if (bytes > 0 && (loop->held_bytes > most || bytes > most - loop->held_bytes))
        return false;
    tg_assert(bytes >= 0 || loop->held_bytes >= (uint64_t)-bytes);
    loop->held_bytes = (uint32_t)(loop->held_bytes + bytes);
    return true;
}

/* False when memory is used up; nothing was done then. */
static bool keep(struct net_loop *loop, struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    if (!reserve(loop, conn, conn->held_bytes + bytes))
        return false;
    if (conn->held_bytes == 0)
        conn->held_since_ns = loop->now_ns;
    memcpy(conn->held + conn->held_start + conn->held_bytes, data, bytes);
    conn->held_bytes += (uint32_t)bytes;
    return true;
}

/* The same of a stream of frames, which cannot go on without it. */
static bool hold(struct net_loop *loop, struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    if (keep(loop, conn, data, bytes))
        return true;
    net_input_settle(loop);
    net_conn_fail(loop, conn, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED,
                  "the memory for unfinished frames is used up: send smaller frames, read the "
                  "answers, or come later");
    return false;
}

/* Nothing is held any more. The buffer stays for the next cut frame while memory is plentiful. */
static void release(struct net_loop *loop, struct net_conn *conn)
{
    conn->held_start = 0;
    conn->held_bytes = 0;
    if (conn->held_capacity > held_steps[1] || loop->held_bytes > loop->options.held_bytes_max / 2)
        net_input_free(loop, conn);
}

void net_input_queue(struct net_conn_queue *queue, struct net_conn *conn)
{
    if (conn->ready)
        return;
    conn->ready = true;
    conn->ready_next = NULL;
    if (queue->last)
        queue->last->ready_next = conn;
    else
        queue->first = conn;
    queue->last = conn;
}

void net_input_queue_first(struct net_conn_queue *queue, struct net_conn *conn)
{
    if (conn->ready)
        return;
    conn->ready = true;
    conn->ready_next = queue->first;
    if (!queue->first)
        queue->last = conn;
    queue->first = conn;
}

/* It has had its share of this turn. */
static void wait_for_turn(struct net_loop *loop, struct net_conn *conn)
{
    conn->paused = true;
    net_input_queue(&loop->ready, conn);
}

/* Counts what was received; returns how much of it is still in the connection's share of this turn.
 */
static size_t share_of(const struct net_loop *loop, struct net_conn *conn, size_t bytes)
{
    if (conn->turn != loop->turn) {
        conn->turn = loop->turn;
        conn->turn_bytes = 0;
    }
    uint32_t had = conn->turn_bytes;
    conn->turn_bytes += (uint32_t)bytes;
    if (net_loop_turn_is_over(loop)) {
        /* What has come of a large frame counts: to handle it would take long. */
        had = had > conn->held_bytes ? had : conn->held_bytes;
        return had < NET_SHARE_BYTES_SMALL ? NET_SHARE_BYTES_SMALL - had : 0;
    }
    return had < NET_SHARE_BYTES ? bytes : 0;
}

/* Goes on with the cut frame; returns how many of the new bytes belong to it. */
static size_t complete(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                       size_t bytes)
{
    size_t taken = 0;
    while (conn->state == NET_CONN_OPEN) {
        struct tg_bytes so_far = {.data = conn->held + conn->held_start, .size = conn->held_bytes};
        struct tg_bytes body;
        size_t used;
        enum tg_frame frame = tg_frame_next(so_far, &body, &used);
        if (frame == TG_FRAME_WHOLE) {
            /* A size that is not known after one byte is above what PEEK_BYTES takes. */
            tg_assert(used == conn->held_bytes);
            bool is_taken = deliver(loop, conn, body);
            net_input_settle(loop);
            if (is_taken)
                release(loop, conn);
            return taken;
        }
        if (frame != TG_FRAME_PARTIAL) {
            refuse_frame(loop, conn, frame);
            return bytes;
        }
        if (taken == bytes)
            return bytes;
        size_t wanted = used > conn->held_bytes ? used - conn->held_bytes : PEEK_BYTES;
        if (wanted > bytes - taken)
            wanted = bytes - taken;
        if (!hold(loop, conn, data + taken, wanted))
            return bytes;
        taken += wanted;
    }
    return bytes;
}

/* Hands on the whole frames that begin in the first `share` of the bytes; returns how many bytes
 * they are. Pauses the connection, and stops, when it is over its bounds. */
static size_t cut(struct net_loop *loop, struct net_conn *conn, const uint8_t *data, size_t bytes,
                  size_t share)
{
    size_t taken = 0;
    while (taken < bytes && conn->state == NET_CONN_OPEN) {
        if (taken >= share) {
            wait_for_turn(loop, conn);
            break;
        }
        conn->paused = conn->paused || net_conn_is_over(loop, conn);
        if (conn->paused)
            break;
        struct tg_bytes body;
        size_t used;
        enum tg_frame frame = tg_frame_next(
            (struct tg_bytes){.data = data + taken, .size = bytes - taken}, &body, &used);
        if (frame == TG_FRAME_PARTIAL)
            break;
        if (frame != TG_FRAME_WHOLE) {
            refuse_frame(loop, conn, frame);
            return bytes;
        }
        if (!deliver(loop, conn, body))
            break;
        taken += used;
    }
    return taken;
}

bool net_input_rise(struct net_loop *loop, struct net_conn *conn, const uint8_t *frame,
                    size_t bytes)
{
    size_t share = share_of(loop, conn, bytes);
    if (share == 0 && !conn->paused)
        wait_for_turn(loop, conn);
    size_t taken = conn->paused ? 0 : cut(loop, conn, frame, bytes, share);
    return taken == bytes || conn->state != NET_CONN_OPEN || keep(loop, conn, frame, bytes);
}

void net_input_take(struct net_loop *loop, struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    if (__builtin_expect(!conn->has_spoken, 0) && net_conn_turn_foreign(loop, conn, data, bytes))
        return;
    size_t share = share_of(loop, conn, bytes);
    if (share == 0 && !conn->paused)
        wait_for_turn(loop, conn);
    if (conn->held_bytes > 0 && !conn->paused) {
        size_t taken = complete(loop, conn, data, bytes);
        data += taken;
        bytes -= taken;
    }
    if (conn->held_bytes == 0 && !conn->paused) {
        size_t taken = cut(loop, conn, data, bytes, share);
        data += taken;
        bytes -= taken;
    }
    net_input_settle(loop);
    if (bytes > 0 && conn->state == NET_CONN_OPEN)
        hold(loop, conn, data, bytes);
}

void net_input_resume(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->held_bytes == 0)
        return; /* it waited for its turn behind its last frame */
    size_t taken =
        cut(loop, conn, conn->held + conn->held_start, conn->held_bytes, NET_SHARE_BYTES);
    net_input_settle(loop);
    if (taken == conn->held_bytes) {
        release(loop, conn);
        return;
    }
    if (taken == 0)
        return;
    conn->held_start += (uint32_t)taken;
    conn->held_bytes -= (uint32_t)taken;
    conn->held_since_ns = loop->now_ns;
}
