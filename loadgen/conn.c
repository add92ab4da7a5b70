#include "loadgen/conn.h"

#include "base/assert.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Unacknowledged data and unanswered SYNs give up after this: a host that lost its power says
 * nothing. */
#define PEER_SILENCE_MS 5000

#define CIPHER_IN_ROOM (64 * 1024ul)
/* What TLS adds to a record of 16 KiB, with much to spare, and what a handshake may say. */
#define RECORD_BYTES   (16 * 1024)
#define RECORD_MORE    64
#define CIPHER_MORE    (64 * 1024)

static uint32_t cipher_room(const struct lg_conn_shape *shape)
{
    return shape->out_room + (shape->out_room / RECORD_BYTES + 1) * RECORD_MORE + CIPHER_MORE;
}

bool lg_conn_init(struct lg_conn *conn, uint32_t index, const struct lg_conn_shape *shape)
{
    memset(conn, 0, sizeof(*conn));
    conn->fd = -1;
    conn->index = index;
    conn->free_slots = calloc(shape->frames, sizeof(uint32_t));
    conn->resend = calloc(shape->frames, sizeof(uint32_t));
    conn->slot_orders = calloc(shape->frames, sizeof(uint32_t));
    conn->entries = calloc((size_t)shape->frames * shape->batch, sizeof(struct lg_entry));
    conn->in = tg_mem_map(shape->in_room);
    conn->out = tg_mem_map(shape->out_room);
    if (shape->tls) {
        conn->cipher_in = tg_mem_map(CIPHER_IN_ROOM);
        conn->cipher_out = tg_mem_map(cipher_room(shape));
        conn->cipher_room = cipher_room(shape);
        if (!conn->cipher_in || !conn->cipher_out)
            return false;
    }
    if (!conn->free_slots || !conn->resend || !conn->slot_orders || !conn->entries || !conn->in ||
        !conn->out)
        return false;
    /* The stack hands out low slots first: their correlation ids are short. */
    for (uint32_t i = 0; i < shape->frames; i++)
        conn->free_slots[i] = shape->frames - 1 - i;
    conn->free_count = shape->frames;
    return true;
}

void lg_conn_fini(struct lg_conn *conn, const struct lg_conn_shape *shape)
{
    if (conn->fd >= 0)
        close(conn->fd);
    free(conn->free_slots);
    free(conn->resend);
    free(conn->slot_orders);
    free(conn->entries);
    tg_mem_unmap(conn->in, shape->in_room);
    tg_mem_unmap(conn->out, shape->out_room);
    tls_session_close(conn->session);
    if (shape->tls) {
        tg_mem_unmap(conn->cipher_in, CIPHER_IN_ROOM);
        tg_mem_unmap(conn->cipher_out, cipher_room(shape));
    }
    memset(conn, 0, sizeof(*conn));
    conn->fd = -1;
}

struct io_uring_sqe *lg_ring_sqe(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    for (int tries = 0; !sqe && tries < 1000; tries++) {
        io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
    }
    tg_assert(sqe);
    return sqe;
}

static void set_user_data(struct io_uring_sqe *sqe, const struct lg_conn *conn, enum lg_conn_op op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)conn->index << LG_OP_BITS | (uint64_t)op);
}

bool lg_conn_connect(struct lg_conn *conn, struct io_uring *ring, const struct sockaddr *address,
                     socklen_t address_bytes)
{
    tg_assert(conn->state == LG_CONN_DOWN && !lg_conn_pending(conn));
    conn->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (conn->fd < 0)
        return false;
    int one = 1, silence_ms = PEER_SILENCE_MS;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
    struct io_uring_sqe *sqe = lg_ring_sqe(ring);
    io_uring_prep_connect(sqe, conn->fd, address, address_bytes);
    set_user_data(sqe, conn, LG_OP_CONNECT);
    conn->connect_pending = true;
    conn->state = LG_CONN_CONNECTING;
    return true;
}

static bool on_out(void *context, const void *data, size_t bytes)
{
    struct lg_conn *conn = context;
    if (bytes > conn->cipher_room - conn->cipher_bytes)
        return false;
    memcpy(conn->cipher_out + conn->cipher_bytes, data, bytes);
    conn->cipher_bytes += (uint32_t)bytes;
    return true;
}

bool lg_conn_secure(struct lg_conn *conn, const struct lg_conn_shape *shape, struct tg_fault *fault)
{
    tg_assert(conn->state == LG_CONN_CONNECTING && !conn->session);
    struct tls_session_options options = {.protocol = TLS_PROTOCOL_NATIVE,
                                          .name = shape->tls_name,
                                          .out = on_out,
                                          .out_context = conn};
    if (tls_session_open(shape->tls, &options, &conn->session, fault) != TG_ERR_OK)
        return false;
    tls_session_read(conn->session, NULL, 0); /* its hello */
    return true;
}

uint32_t lg_conn_decrypt(struct lg_conn *conn, const struct lg_conn_shape *shape, uint32_t bytes)
{
    if (bytes > 0)
        tls_session_feed(conn->session, conn->cipher_in, bytes);
    uint32_t before = conn->in_bytes;
    size_t got;
    do {
        got = tls_session_read(conn->session, conn->in + conn->in_bytes,
                               shape->in_room - conn->in_bytes);
        conn->in_bytes += (uint32_t)got;
    } while (got > 0);
    return conn->in_bytes - before;
}

/* What came was taken to the last byte, so the socket is most likely empty: wait for data first
 * and save the kernel a look. */
void lg_conn_receive(struct lg_conn *conn, struct io_uring *ring, const struct lg_conn_shape *shape)
{
    tg_assert((conn->state == LG_CONN_UP || conn->session) && !conn->receive_pending);
    struct io_uring_sqe *sqe = lg_ring_sqe(ring);
    if (conn->session)
        io_uring_prep_recv(sqe, conn->fd, conn->cipher_in, CIPHER_IN_ROOM, 0);
    else
        io_uring_prep_recv(sqe, conn->fd, conn->in + conn->in_bytes,
                           shape->in_room - conn->in_bytes, 0);
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    set_user_data(sqe, conn, LG_OP_RECEIVE);
    conn->receive_pending = true;
}

void lg_conn_send(struct lg_conn *conn, struct io_uring *ring)
{
    tg_assert((conn->state == LG_CONN_UP || conn->session) && !conn->send_pending);
    const uint8_t *from = conn->out + conn->out_sent;
    uint32_t bytes = conn->out_bytes - conn->out_sent;
    if (conn->session) {
        if (bytes > 0)
            tls_session_write(conn->session, from, bytes); /* its failure is seen by the receive */
        conn->out_bytes = 0;
        from = conn->cipher_out + conn->cipher_sent;
        bytes = conn->cipher_bytes - conn->cipher_sent;
    }
    struct io_uring_sqe *sqe = lg_ring_sqe(ring);
    io_uring_prep_send(sqe, conn->fd, from, bytes, MSG_NOSIGNAL);
    set_user_data(sqe, conn, LG_OP_SEND);
    conn->send_pending = true;
}

void lg_conn_drop(struct lg_conn *conn)
{
    tg_assert(conn->state == LG_CONN_UP || conn->state == LG_CONN_CONNECTING);
    shutdown(conn->fd, SHUT_RDWR);
    conn->state = LG_CONN_CLOSING;
}

void lg_conn_close(struct lg_conn *conn, const struct lg_conn_shape *shape)
{
    tg_assert(conn->state == LG_CONN_CLOSING && !lg_conn_pending(conn));
    close(conn->fd);
    conn->fd = -1;
    conn->state = LG_CONN_DOWN;
    conn->in_bytes = conn->out_bytes = conn->out_sent = 0;
    tls_session_close(conn->session);
    conn->session = NULL;
    conn->cipher_bytes = conn->cipher_sent = 0;
    conn->resend_first = conn->resend_count = 0;
    for (uint32_t slot = 0; slot < shape->frames; slot++) {
        for (uint32_t i = 0; i < conn->slot_orders[slot]; i++)
            conn->entries[slot * shape->batch + i].tag |= LG_ENTRY_RESENT | LG_ENTRY_DOUBT;
        if (conn->slot_orders[slot])
            conn->resend[conn->resend_count++] = slot;
    }
    tg_assert(conn->resend_count + conn->free_count == shape->frames);
}
