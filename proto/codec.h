/* The hot pair of the wire, by hand: PlaceOrder(s) and its answer, and the frames around them.
 *
 * Everything else goes through protobuf-c; these two messages are nearly all of the traffic, and a
 * single pass into a struct costs a small part of a general unpack. The result is the same as
 * protobuf-c 1.4.1's for every message (tests/unit/test_codec.c compares them on random bytes):
 * fields in any order, the last of a repeated scalar wins, unknown fields are skipped, groups and
 * known fields of another wire type are malformed (but for a bool, whose wire type protobuf-c does
 * not check). The differences are on purpose:
 *   - a value out of range is reported by field, and seen in all its 64 bits: a quantity of
 *     2^32 + 1 is INVALID, where a general unpack makes it 1;
 *   - a oneof that stands twice in a Request or Response is malformed, neither merged nor replaced;
 *   - the answer's verdict is TG_UNSPECIFIED when this build does not know it;
 *   - what stands in the line_refusals of an answer is not looked at;
 *   - an order with `lines` is not looked at behind the first of them.
 *
 * Pure functions over the caller's memory: any thread, no allocation. Nothing is read beyond the
 * given length, whatever the bytes say. No bytes may be given as {NULL, 0}.
 *
 *   frame:  | varint length (1..5 bytes) | Request or Response, `length` bytes |
 */
#ifndef TG_PROTO_CODEC_H
#define TG_PROTO_CODEC_H

#include "base/order.h"
#include "proto/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_bytes {
    const uint8_t *data; /* borrowed */
    size_t size;
};

enum tg_decode {
    TG_DECODE_OK,
    TG_DECODE_MALFORMED, /* no protobuf message */
    TG_DECODE_INVALID,   /* a message, but a field is out of range */
    TG_DECODE_CART,      /* an order with lines: for protobuf-c, nothing else was checked */
};

/* --- frames --- */

enum tg_frame {
    TG_FRAME_WHOLE,     /* a whole frame lies there */
    TG_FRAME_PARTIAL,   /* more bytes are needed */
    TG_FRAME_TOO_LARGE, /* its length is above the limit of its kind */
    TG_FRAME_MALFORMED, /* the length is no varint of 1..5 bytes within 32 bits, or overlong */
};

/* Looks at the frame that starts at bytes.data, as the server reads requests. WHOLE: `body` is the
 * message, `used` the bytes to skip. PARTIAL: `used` is the size of the whole frame when it is
 * already known, else 0. TOO_LARGE and MALFORMED come as soon as the bytes tell; `used` is 0.
 * `body` is written only with WHOLE; it can be empty.
 * Frames of kinds that carry many things (PlaceOrders, IngestOrders, CreateSale) may have
 * TG_FRAME_BATCH_BYTES_MAX bytes, all others TG_FRAME_BYTES_MAX. The kind is read from the first
 * bytes of the message, so a large frame must begin with correlation_id or kind, as every protobuf
 * encoder writes it; while these bytes are not there yet the frame is PARTIAL. */
enum tg_frame tg_frame_next(struct tg_bytes bytes, struct tg_bytes *body, size_t *used);

/* The same for clients: a response of any kind may have TG_FRAME_BATCH_BYTES_MAX bytes, because
 * pages of orders and items are as large as batches. Never TOO_LARGE by its kind. */
enum tg_frame tg_frame_next_response(struct tg_bytes bytes, struct tg_bytes *body, size_t *used);

/* Writes the length prefix; returns its size, 1..5. */
size_t tg_frame_prefix(uint8_t *out, uint32_t body_bytes);

/* --- the envelope --- */

struct tg_envelope {
    uint64_t correlation_id;
    uint32_t kind;        /* field number in the oneof: a *__KIND_* value; 0 when there is none */
    struct tg_bytes body; /* the message of that kind, borrowed */
    bool unknown;         /* there was a field that this contract does not know */
};

/* Reads a Request. MALFORMED also when two kinds are set, or one twice; `envelope` then holds what
 * stood before the fault (a correlation_id, say). The body itself is not looked into. */
enum tg_decode tg_request_decode(struct tg_bytes message, struct tg_envelope *envelope);
/* Reads a Response, the same way. */
enum tg_decode tg_response_decode(struct tg_bytes message, struct tg_envelope *envelope);

/* --- orders --- */

/* Reads a PlaceOrderRequest. INVALID stores the first field, by field number, that is wrong:
 * REQUEST_ID, SALE_ID, SKU, QUANTITY, UNIT_PRICE, CHANNEL, EXTERNAL_ID or LANE; `order` then holds
 * what was in range, a number or size that was not is 0. OK stores TG_FIELD_NONE. CART comes as
 * soon as there are `lines`; it and MALFORMED leave both alone. `order` borrows from `message`. */
enum tg_decode tg_order_decode(struct tg_bytes message, struct tg_order *order,
                               enum tg_field *field);

/* Takes the next PlaceOrderRequest off the body of a PlaceOrdersRequest. Returns false at the end;
 * `*malformed` is then true when the bytes broke off, else false. */
bool tg_orders_next(struct tg_bytes *body, struct tg_bytes *order, bool *malformed);

/* The enum tg_lane of a Lane of the contract, which must be one of them. */
static inline uint8_t tg_lane_of(uint64_t wire)
{
    return wire < TIDEGATE__V1__LANE__LANE_FLASH ? (uint8_t)wire : TG_LANE_FLASH;
}

/* Whether these are 1 to TG_SKU_BYTES_MAX bytes, each of 0x21..0x7e: printable ASCII, no spaces. */
bool tg_sku_is_valid(struct tg_bytes sku);

/* The room that tg_order_frame and tg_orders_element need at `out`. Frames and elements are a
 * little shorter; the bytes of the room behind what they return are scratch. */
#define TG_ORDER_FRAME_BYTES_MAX 192

/* Writes a whole frame: Request{correlation_id, place_order}. Returns its size. Numbers are not
 * checked (a server answers for them); the two sizes must be within TG_SKU_BYTES_MAX and
 * TG_EXTERNAL_BYTES_MAX, which is asserted: callers that take them from others check first. */
size_t tg_order_frame(uint8_t *out, uint64_t correlation_id, const struct tg_order *order);

/* Writes one `orders` element of a PlaceOrdersRequest (tag, length, order). Returns its size, at
 * most TG_ORDER_FRAME_BYTES_MAX. */
size_t tg_orders_element(uint8_t *out, const struct tg_order *order);

/* Writes what stands before the elements of a PlaceOrders frame whose elements take
 * `elements_bytes`: prefix, correlation_id, kind. Returns its size, at most
 * TG_BATCH_HEAD_BYTES_MAX; writes nothing behind it, the elements may lie there already. Asserts
 * that the frame is within TG_FRAME_BATCH_BYTES_MAX, as TG_BATCH_ORDERS_MAX elements always are. */
#define TG_BATCH_HEAD_BYTES_MAX 32
size_t tg_orders_head(uint8_t *out, uint64_t correlation_id, size_t elements_bytes);

/* --- answers --- */

/* The room that tg_answer_frame and tg_answers_element need at `out`, with scratch as above. */
#define TG_ANSWER_FRAME_BYTES_MAX 192

/* Writes a whole frame: Response{correlation_id, place_order}. Returns its size. Fields that are 0
 * do not travel; INVALID_ARGUMENT brings the name of `field` and the advice on it. */
size_t tg_answer_frame(uint8_t *out, uint64_t correlation_id, const struct tg_answer *answer);

/* Writes one `results` element of a PlaceOrdersResponse. Returns its size, at most
 * TG_ANSWER_FRAME_BYTES_MAX. */
size_t tg_answers_element(uint8_t *out, const struct tg_answer *answer);

/* Writes what stands before the elements of an answered batch, verdict OK; otherwise as
 * tg_orders_head. */
size_t tg_answers_head(uint8_t *out, uint64_t correlation_id, size_t elements_bytes);

/* Reads a PlaceOrderResponse. `field` is not read back (the verdict is enough for programs), it is
 * TG_FIELD_NONE. MALFORMED leaves `answer` alone. */
enum tg_decode tg_answer_decode(struct tg_bytes message, struct tg_answer *answer);

/* Takes the next PlaceOrderResponse off the body of a PlaceOrdersResponse, as tg_orders_next. The
 * batch's own verdict is stepped over: see tg_answers_decode. */
bool tg_answers_next(struct tg_bytes *body, struct tg_bytes *answer, bool *malformed);

/* Reads what a PlaceOrdersResponse says of the batch itself: `verdict` and `retry_after_ms`, all
 * else 0. Walks over the elements; a refused batch (BUSY, INVALID_ARGUMENT) has none, so clients
 * call it when tg_answers_next gave nothing. MALFORMED leaves `answer` alone. */
enum tg_decode tg_answers_decode(struct tg_bytes body, struct tg_answer *answer);

#endif
