/* Bytes to frames. Whole frames are handed on where they lie in the receive buffer; only the one
 * that is cut by the buffer's end is copied together in the connection's `partial`. */
#include "net/conn.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

/* Most cut frames are single orders: the first step holds one. The others hold a whole frame of
 * their kind, prefix included. */
static const uint32_t partial_steps[] = {
    512,
    TG_FRAME_PREFIX_BYTES_MAX + TG_FRAME_BYTES_MAX,
    TG_FRAME_PREFIX_BYTES_MAX + TG_FRAME_BATCH_BYTES_MAX,
};

/* Bytes after which tg_frame_next always knows the size and the kind: prefix, correlation id with
 * its tag, and a tag of five bytes. */
#define PEEK_BYTES 21

static void deliver(struct net_loop *loop, struct net_conn *conn, struct tg_bytes body)
{
    loop->stats.frames++;
    loop->handler.on_frame(loop->handler.context, conn, body);
}

static void settle(struct net_loop *loop)
{
    loop->handler.on_frames_end(loop->handler.context);
}

static void refuse_frame(struct net_loop *loop, struct net_conn *conn, enum tg_frame frame)
{
    loop->stats.bad_frames++;
    settle(loop); /* the frames before it are answered first */
    if (frame == TG_FRAME_TOO_LARGE)
        net_conn_fail(loop, conn, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_FRAME_TOO_LARGE,
                      "the frame is above 65536 bytes, or above 1048576 for PlaceOrders and "
                      "CreateSale: send it in parts");
    else
        net_conn_fail(loop, conn, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME,
                      "a frame must begin with its length as a varint of one to five bytes, "
                      "without leading zero groups");
}

/* Room for `bytes` in the partial frame; false when memory is used up. */
static bool partial_reserve(struct net_loop *loop, struct net_conn *conn, size_t bytes)
{
    if (bytes <= conn->partial_capacity)
        return true;
    uint32_t step = 0;
    while (partial_steps[step] < bytes)
        step++;
    uint32_t more = partial_steps[step] - conn->partial_capacity;
    if (more > loop->options.partial_bytes_max - loop->partial_bytes)
        return false;
    uint8_t *grown = realloc(conn->partial, partial_steps[step]);
    if (!grown)
        return false;
    conn->partial = grown;
    conn->partial_capacity = partial_steps[step];
    loop->partial_bytes += more;
    return true;
}

void net_input_free(struct net_loop *loop, struct net_conn *conn)
{
    free(conn->partial);
    loop->partial_bytes -= conn->partial_capacity;
    conn->partial = NULL;
    conn->partial_capacity = 0;
    conn->partial_bytes = 0;
}

static bool partial_append(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                           size_t bytes)
{
    if (!partial_reserve(loop, conn, conn->partial_bytes + bytes)) {
        net_conn_fail(loop, conn, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED,
                      "the memory for unfinished frames is used up: send smaller frames, or later");
        return false;
    }
    if (conn->partial_bytes == 0)
        conn->partial_since_ns = loop->now_ns;
    memcpy(conn->partial + conn->partial_bytes, data, bytes);
    conn->partial_bytes += (uint32_t)bytes;
    return true;
}

/* The frame is done with. Its buffer stays for the next one while memory is plentiful. */
static void partial_done(struct net_loop *loop, struct net_conn *conn)
{
    conn->partial_bytes = 0;
    if (conn->partial_capacity > partial_steps[1] ||
        loop->partial_bytes > loop->options.partial_bytes_max / 2)
        net_input_free(loop, conn);
}

/* Goes on with the cut frame; returns how many of the new bytes belong to it. */
static size_t complete_partial(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                               size_t bytes)
{
    size_t taken = 0;
    while (conn->state == NET_CONN_OPEN) {
        struct tg_bytes so_far = {.data = conn->partial, .size = conn->partial_bytes};
        struct tg_bytes body;
        size_t used;
        enum tg_frame frame = tg_frame_next(so_far, &body, &used);
        if (frame == TG_FRAME_WHOLE) {
            /* While the size was unknown, more may have been taken than the frame needs. */
            taken -= conn->partial_bytes - used;
            deliver(loop, conn, body);
            settle(loop);
            partial_done(loop, conn);
            return taken;
        }
        if (frame != TG_FRAME_PARTIAL) {
            refuse_frame(loop, conn, frame);
            return bytes;
        }
        if (taken == bytes)
            return bytes;
        size_t wanted = used > conn->partial_bytes ? used - conn->partial_bytes : PEEK_BYTES;
        if (wanted > bytes - taken)
            wanted = bytes - taken;
        if (!partial_append(loop, conn, data + taken, wanted))
            return bytes;
        taken += wanted;
    }
    return bytes;
}

void net_input_take(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                    size_t bytes)
{
    if (conn->partial_bytes > 0) {
        size_t taken = complete_partial(loop, conn, data, bytes);
        data += taken;
        bytes -= taken;
    }
    while (bytes > 0 && conn->state == NET_CONN_OPEN) {
        struct tg_bytes body;
        size_t used;
        enum tg_frame frame =
            tg_frame_next((struct tg_bytes){.data = data, .size = bytes}, &body, &used);
        if (frame == TG_FRAME_PARTIAL) {
            partial_append(loop, conn, data, bytes);
            break;
        }
        if (frame != TG_FRAME_WHOLE) {
            refuse_frame(loop, conn, frame);
            break;
        }
        deliver(loop, conn, body);
        data += used;
        bytes -= used;
    }
    settle(loop);
}
