/* Orders and answers on the wire, millions a second.
 *
 * An order of a run is mostly the same bytes each time: what depends on the item alone is written
 * once, at start (struct lg_wire_item), and copied with fixed-size moves; only ids are written
 * anew. The bytes are what proto/codec.h writes for the same order (tests/unit/test_attempts.c
 * compares).
 *
 *   Request   | len | 08 corr | 12 len | order |
 *   order     | 0a 10 request id | 10 sale 1a len sku 20 | user | 28 | quantity | 30 price 38
 * channel 42 0a | external id |
 *
 * The reader of answers takes the usual layout in one pass and leaves everything else to the codec.
 * Read-only after init: any thread.
 */
#ifndef LG_WIRE_H
#define LG_WIRE_H

#include "base/order.h"
#include "loadgen/plan.h"
#include "proto/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* request id 18, sale 11, sku 34, user 6, quantity 4, price 7, channel 2, external id 12 */
#define LG_ORDER_BYTES_MAX 96
/* Bytes that an order's or frame's writer may touch, a little beyond what it fills. */
#define LG_ORDER_ROOM      128
#define LG_FRAME_ROOM      144

_Static_assert(LG_ORDER_BYTES_MAX + 8 < 128, "every inner length fits one byte");

struct lg_wire_item {
    uint8_t head[48]; /* sale id, sku, and the tag of the user id */
    uint8_t tail[14]; /* price, channel, and the tag of the external id */
    uint8_t head_bytes;
    uint8_t tail_bytes;
};

struct lg_wire {
    struct lg_wire_item *items; /* owned */
};

/* False without memory. */
bool lg_wire_init(struct lg_wire *wire, const struct lg_plan *plan);
void lg_wire_fini(struct lg_wire *wire);

/* Fills `order` with what the attempt says; for everyone who is not in a hurry. Its sku is borrowed
 * from the plan, its external id lies in `external_id`. */
void lg_wire_order_of(const struct lg_plan *plan, const struct lg_attempt *attempt,
                      uint8_t external_id[LG_EXTERNAL_BYTES], struct tg_order *order);

static inline uint8_t *lg_wire_varint(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

/* Writes the attempt as a PlaceOrderRequest; `out` has LG_ORDER_ROOM bytes. Returns its size, at
 * most LG_ORDER_BYTES_MAX. */
static inline size_t lg_wire_order(uint8_t *out, const struct lg_wire *wire,
                                   const struct lg_attempt *attempt)
{
    const struct lg_wire_item *item = &wire->items[attempt->item];
    uint8_t *p = out;
    *p++ = 0x0a;
    *p++ = TG_REQUEST_ID_BYTES;
    memcpy(p, attempt->request_id, TG_REQUEST_ID_BYTES);
    p += TG_REQUEST_ID_BYTES;
    memcpy(p, item->head, sizeof(item->head));
    p = lg_wire_varint(p + item->head_bytes, attempt->user_id);
    *p++ = 0x28;
    p = lg_wire_varint(p, attempt->quantity);
    memcpy(p, item->tail, sizeof(item->tail));
    p += item->tail_bytes;
    lg_plan_external_id(attempt->number, p);
    return (size_t)(p + LG_EXTERNAL_BYTES - out);
}

/* Writes a whole frame, Request{correlation_id, place_order}; `out` has LG_FRAME_ROOM bytes and
 * correlation_id is below 2^28. Returns its size. */
static inline size_t lg_wire_frame(uint8_t *out, uint32_t correlation_id,
                                   const struct lg_wire *wire, const struct lg_attempt *attempt)
{
    out[1] = 0x08;
    uint8_t *p = lg_wire_varint(out + 2, correlation_id);
    p[0] = 0x12;
    size_t bytes = lg_wire_order(p + 2, wire, attempt);
    p[1] = (uint8_t)bytes;
    p += 2 + bytes;
    out[0] = (uint8_t)(p - out - 1);
    return (size_t)(p - out);
}

/* Reads a varint before `end`; NULL when it does not end there or is longer than ten bytes. */
static inline const uint8_t *lg_wire_varint_read(const uint8_t *p, const uint8_t *end,
                                                 uint64_t *value)
{
    uint64_t result = 0;
    for (uint32_t shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return p;
        }
    }
    return NULL;
}

/* Reads a PlaceOrderResponse of the usual layout (fields in order, each at most once, no text).
 * False: not of that layout; ask the codec. */
static inline bool lg_wire_answer(const uint8_t *p, const uint8_t *end, struct tg_answer *answer)
{
    uint64_t value;
    memset(answer, 0, sizeof(*answer));
    if (end - p < 2 || p[0] != 0x08 || p[1] >= TG_VERDICT_COUNT)
        return false;
    answer->verdict = p[1];
    p += 2;
    if (p == end)
        return true;
    if (*p == 0x10) {
        if (!(p = lg_wire_varint_read(p + 1, end, &answer->order_id)))
            return false;
    }
    if (end - p >= 2 && p[0] == 0x18 && p[1] <= 1) {
        answer->replayed = p[1];
        p += 2;
    }
    if (p < end && *p == 0x20) {
        if (!(p = lg_wire_varint_read(p + 1, end, &value)))
            return false;
        answer->unit_price_minor = (int64_t)value;
    }
    if (p < end && *p == 0x28) {
        if (!(p = lg_wire_varint_read(p + 1, end, &value)))
            return false;
        answer->accepted_at_ms = (int64_t)value;
    }
    if (p < end && *p == 0x30) {
        if (!(p = lg_wire_varint_read(p + 1, end, &value)) || value > UINT32_MAX)
            return false;
        answer->retry_after_ms = (uint32_t)value;
    }
    return p == end;
}

/* Reads a whole short frame, Response{correlation_id, place_order}, of the usual layout at `p`.
 * Returns the bytes that it takes; 0: partial, or not of that layout; ask the codec. */
static inline size_t lg_wire_answer_frame(const uint8_t *p, size_t bytes, uint64_t *correlation_id,
                                          struct tg_answer *answer)
{
    if (bytes < 6 || p[0] >= 0x80 || bytes < 1u + p[0] || p[1] != 0x08)
        return 0;
    const uint8_t *end = p + 1 + p[0];
    const uint8_t *q = lg_wire_varint_read(p + 2, end, correlation_id);
    if (!q || end - q < 2 || q[0] != 0x12 || q[1] >= 0x80 || q + 2 + q[1] != end)
        return 0;
    return lg_wire_answer(q + 2, end, answer) ? 1u + p[0] : 0;
}

#endif
