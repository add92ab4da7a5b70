#include "net/layer.h"

#include "base/assert.h"
#include "net/conn.h"

/* --- between layers --- */

bool net_layer_up(struct net_layer *layer, const uint8_t *data, size_t bytes)
{
    if (layer->above)
        return layer->above->kind->take(layer->above, data, bytes);
    net_input_take(layer->loop, layer->conn, data, bytes);
    return layer->conn->state == NET_CONN_OPEN;
}

bool net_layer_down(struct net_layer *layer, const void *data, size_t bytes)
{
    if (layer->below)
        return layer->below->kind->give(layer->below, data, bytes);
    return net_conn_wire(layer->loop, layer->conn, data, bytes);
}

void net_layer_stir(struct net_layer *layer)
{
    if (layer->conn)
        net_conn_stir(layer->loop, layer->conn);
}

bool net_layer_has_room(const struct net_layer *layer)
{
    return !layer->conn || layer->conn->output_bytes < net_loop_output_max(layer->loop);
}

void net_layer_end(struct net_layer *layer)
{
    net_conn_peer_ended(layer->loop, layer->conn);
}

bool net_layer_may_rise(const struct net_layer *layer)
{
    struct net_conn *conn = layer->conn;
    if (conn->state != NET_CONN_OPEN)
        return false;
    conn->paused = conn->paused || net_conn_is_over(layer->loop, conn);
    return !conn->paused;
}

bool net_layer_rise(struct net_layer *layer, const uint8_t *frame, size_t bytes)
{
    tg_assert(layer->conn->is_multiplexed);
    return net_input_rise(layer->loop, layer->conn, frame, bytes);
}

void net_layer_settle(struct net_layer *layer)
{
    net_input_settle(layer->loop);
}

void net_layer_waits(struct net_layer *layer, bool waits)
{
    layer->conn->layer_waits = waits;
}

bool net_layer_hold(struct net_layer *layer, int64_t bytes)
{
    return net_input_hold(layer->loop, bytes);
}

/* --- all of a connection's --- */

static void attach(struct net_loop *loop, struct net_conn *conn, struct net_layer *layer,
                   const struct net_layer_kind *kind)
{
    *layer = (struct net_layer){.kind = kind, .below = conn->top, .loop = loop, .conn = conn};
    if (conn->top)
        conn->top->above = layer;
    else
        conn->bottom = layer;
    conn->top = layer;
    conn->is_multiplexed = kind->is_multiplexed;
}

bool net_layers_create(struct net_loop *loop, struct net_conn *conn,
                       const struct net_endpoint *endpoint)
{
    tg_assert(!conn->top && !conn->bottom && endpoint->layer_count <= NET_LAYERS_MAX);
    for (uint32_t i = 0; i < endpoint->layer_count; i++) {
        const struct net_layer_spec *spec = &endpoint->layers[i];
        struct net_layer *layer = spec->kind->create(spec->context);
        if (!layer)
            return false;
        attach(loop, conn, layer, spec->kind);
    }
    for (struct net_layer *layer = conn->bottom; layer; layer = layer->above)
        if (layer->kind->begin)
            layer->kind->begin(layer);
    return true;
}

void net_layers_destroy(struct net_conn *conn)
{
    while (conn->top) {
        struct net_layer *layer = conn->top;
        conn->top = layer->below;
        layer->kind->destroy(layer);
    }
    conn->bottom = NULL;
    conn->is_multiplexed = false;
    conn->layer_waits = false;
    conn->has_said_goodbye = false;
    conn->deadline_ns = 0;
}

void net_layers_take(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                     size_t bytes)
{
    bool listens = conn->state == NET_CONN_OPEN || conn->state == NET_CONN_FINISHING;
    if (!listens || conn->has_said_goodbye)
        return;
    if (!conn->bottom->kind->take(conn->bottom, data, bytes))
        net_conn_finish(loop, conn);
}

/* From here on only the layers have what was written; they stay where they are until all of them
 * have let it out. */
static bool give_all(struct net_conn *conn, const struct net_chunk_queue *written)
{
    for (const struct net_chunk *chunk = written->head; chunk; chunk = chunk->next) {
        conn->output_bytes -= chunk->used;
        if (!conn->top->kind->give(conn->top, chunk->data, chunk->used))
            return false;
    }
    for (struct net_layer *layer = conn->top; layer; layer = layer->below)
        if (layer->kind->flush && !layer->kind->flush(layer))
            return false;
    return true;
}

void net_layers_flush(struct net_loop *loop, struct net_conn *conn)
{
    if (conn->state == NET_CONN_CLOSING || conn->state == NET_CONN_FREE)
        return;
    struct net_chunk_queue written = conn->waiting;
    conn->waiting = (struct net_chunk_queue){0};
    bool is_whole = give_all(conn, &written);
    net_chunk_queue_clear(&loop->chunks, &written);
    if (!is_whole)
        net_conn_abort(loop, conn);
    else if (conn->state == NET_CONN_FINISHING)
        net_conn_update(loop, conn); /* a layer may have let it go */
}

void net_layers_resume(struct net_conn *conn)
{
    for (struct net_layer *layer = conn->bottom; layer && !conn->paused; layer = layer->above)
        if (layer->kind->resume)
            layer->kind->resume(layer);
}

void net_layers_drain(struct net_conn *conn)
{
    for (struct net_layer *layer = conn->top; layer; layer = layer->below) {
        if (layer->kind->drain)
            layer->kind->drain(layer);
        net_layer_stir(layer);
    }
}

bool net_layers_are_busy(const struct net_conn *conn)
{
    for (const struct net_layer *layer = conn->top; layer; layer = layer->below)
        if (layer->kind->is_busy && layer->kind->is_busy(layer))
            return true;
    return false;
}

void net_layers_finish(struct net_conn *conn)
{
    for (struct net_layer *layer = conn->top; layer; layer = layer->below)
        if (layer->kind->finish)
            layer->kind->finish(layer);
}

bool net_layers_are_in_time(const struct net_loop *loop, const struct net_conn *conn)
{
    for (struct net_layer *layer = conn->top; layer; layer = layer->below)
        if (layer->kind->is_in_time && !layer->kind->is_in_time(layer, loop->now_ns))
            return false;
    return true;
}
