/* A peer that says exactly the bytes it is told to, on a blocking socket with a deadline for
 * everything. For what no well-behaved client would do; see sale.h for the others.
 */
#ifndef TG_TESTS_PEER_H
#define TG_TESTS_PEER_H

#include "proto/codec.h"
#include "tests/lib/daemon.h"

#define PEER_FRAME_BYTES (TG_FRAME_BATCH_BYTES_MAX + TG_FRAME_PREFIX_BYTES_MAX)

struct peer {
    int fd;
    size_t used; /* of `input` */
    uint8_t *input;
};

void peer_open(struct peer *peer, const struct daemon *daemon);
void peer_close(struct peer *peer);
/* No more bytes from here; answers can still come. */
void peer_half_close(struct peer *peer);

/* Sends all of it. */
void peer_send(struct peer *peer, const void *bytes, size_t size);
/* Sends what the socket takes until it takes nothing for `quiet_ms`, over and over from `bytes`;
 * returns how much. Stops at `most`, and when the connection breaks. */
size_t peer_flood(struct peer *peer, const void *bytes, size_t size, size_t most, int quiet_ms);
/* Sends a request as a frame. */
void peer_request(struct peer *peer, const Tidegate__V1__Request *request);
/* Sends `body` behind its length. */
void peer_frame(struct peer *peer, const void *body, size_t size);

/* The next response, or NULL when the connection ended (closed or reset). Free it with
 * tidegate__v1__response__free_unpacked. */
Tidegate__V1__Response *peer_response(struct peer *peer);
/* The next response must be an error with this code and correlation id; its text must not be
 * empty. */
void peer_expect_error(struct peer *peer, Tidegate__V1__ErrorCode code, uint64_t correlation_id);
/* The connection must end, with nothing more on it. */
void peer_expect_end(struct peer *peer);

/* Raw protobuf: a varint, a tag with its varint, a tag with bytes. Return the end. */
uint8_t *peer_put_varint(uint8_t *at, uint64_t value);
uint8_t *peer_put_number(uint8_t *at, uint32_t field, uint64_t value);
uint8_t *peer_put_bytes(uint8_t *at, uint32_t field, const void *bytes, size_t size);

#endif
