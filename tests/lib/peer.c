#include "tests/lib/peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void peer_open(struct peer *peer, const struct daemon *daemon)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(daemon->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *peer = (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                          .input = malloc(PEER_FRAME_BYTES)};
    cr_assert(peer->input && peer->fd >= 0, "socket: %s", strerror(errno));
    cr_assert_eq(connect(peer->fd, (struct sockaddr *)&at, sizeof(at)), 0, "connect: %s",
                 strerror(errno));
}

void peer_close(struct peer *peer)
{
    close(peer->fd);
    free(peer->input);
    *peer = (struct peer){.fd = -1};
}

void peer_half_close(struct peer *peer)
{
    cr_assert_eq(shutdown(peer->fd, SHUT_WR), 0);
}

/* --- sending --- */

static void wait_for(const struct peer *peer, short what)
{
    struct pollfd event = {.fd = peer->fd, .events = what};
    cr_assert_eq(poll(&event, 1, DAEMON_WAIT_MS), 1, "the connection stands still");
}

void peer_send(struct peer *peer, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    while (size > 0) {
        wait_for(peer, POLLOUT);
        ssize_t sent = send(peer->fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        cr_assert(sent > 0 || errno == EAGAIN, "send: %s", strerror(errno));
        from += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
}

size_t peer_flood(struct peer *peer, const void *bytes, size_t size, size_t most, int quiet_ms)
{
    const uint8_t *from = bytes;
    size_t total = 0;
    struct pollfd event = {.fd = peer->fd, .events = POLLOUT};
    while (total < most && poll(&event, 1, quiet_ms) == 1) {
        size_t offset = total % size;
        ssize_t sent = send(peer->fd, from + offset, size - offset, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            break;
        total += sent > 0 ? (size_t)sent : 0;
    }
    return total;
}

void peer_frame(struct peer *peer, const void *body, size_t size)
{
    uint8_t prefix[TG_FRAME_PREFIX_BYTES_MAX];
    peer_send(peer, prefix, tg_frame_prefix(prefix, (uint32_t)size));
    peer_send(peer, body, size);
}

void peer_request(struct peer *peer, const Tidegate__V1__Request *request)
{
    size_t size = tidegate__v1__request__get_packed_size(request);
    uint8_t *body = malloc(size);
    cr_assert(body || size == 0);
    tidegate__v1__request__pack(request, body);
    peer_frame(peer, body, size);
    free(body);
}

/* --- receiving --- */

/* Reads more; false at the end. */
static bool receive(struct peer *peer)
{
    wait_for(peer, POLLIN);
    ssize_t got = recv(peer->fd, peer->input + peer->used, PEER_FRAME_BYTES - peer->used, 0);
    cr_assert(got >= 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
    peer->used += got > 0 ? (size_t)got : 0;
    return got > 0;
}

Tidegate__V1__Response *peer_response(struct peer *peer)
{
    struct tg_bytes body;
    size_t used;
    enum tg_frame frame;
    while ((frame = tg_frame_next_response((struct tg_bytes){peer->input, peer->used}, &body,
                                           &used)) == TG_FRAME_PARTIAL)
        if (!receive(peer))
            return NULL;
    cr_assert_eq(frame, TG_FRAME_WHOLE, "the server sent no frame");
    Tidegate__V1__Response *response = tidegate__v1__response__unpack(NULL, body.size, body.data);
    cr_assert(response, "the server sent no Response");
    peer->used -= used;
    memmove(peer->input, peer->input + used, peer->used);
    return response;
}

void peer_expect_error(struct peer *peer, Tidegate__V1__ErrorCode code, uint64_t correlation_id)
{
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert(response, "the connection ended without an error answer");
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_ERROR);
    cr_assert_eq(response->error->code, code, "error %d (%s), not %d", response->error->code,
                 response->error->message, code);
    cr_assert_eq(response->correlation_id, correlation_id);
    cr_assert(response->error->message[0] != '\0');
    tidegate__v1__response__free_unpacked(response, NULL);
}

void peer_expect_end(struct peer *peer)
{
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert(!response, "an answer where the end was due");
    cr_assert_eq(peer->used, 0, "half an answer where the end was due");
}

/* --- raw protobuf --- */

uint8_t *peer_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

uint8_t *peer_put_number(uint8_t *at, uint32_t field, uint64_t value)
{
    return peer_put_varint(peer_put_varint(at, (uint64_t)field << 3), value);
}

uint8_t *peer_put_bytes(uint8_t *at, uint32_t field, const void *bytes, size_t size)
{
    at = peer_put_varint(peer_put_varint(at, (uint64_t)field << 3 | 2), size);
    if (size > 0) /* {NULL, 0} is no bytes */
        memcpy(at, bytes, size);
    return at + size;
}
