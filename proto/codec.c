#include "proto/codec.h"

#include "base/assert.h"

#include <string.h>

/* Eight wire bytes are handled as one little-endian word, seven payload bits in each. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "varints are read as words");

/* What encoders write nearly always: it decides which code falls through. */
#define USUAL(condition) __builtin_expect(!!(condition), 1)

#define CONTINUATION_BITS 0x8080808080808080u

enum wire {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5, /* 3 and 4 are groups: protobuf-c refuses them, so do we */
};

#define TAG(field, wire) ((uint32_t)(field) << 3 | (uint32_t)(wire))

/* Field numbers of tidegate.proto; the generated code knows them only inside its descriptors. */
enum {
    ENVELOPE_CORRELATION_ID = 1,

    ORDER_REQUEST_ID = 1,
    ORDER_SALE_ID = 2,
    ORDER_SKU = 3,
    ORDER_USER_ID = 4,
    ORDER_QUANTITY = 5,
    ORDER_UNIT_PRICE = 6,
    ORDER_CHANNEL = 7,
    ORDER_EXTERNAL_ID = 8,
    ORDER_LINES = 9,
    ORDER_LANE = 10,

    ANSWER_VERDICT = 1,
    ANSWER_ORDER_ID = 2,
    ANSWER_REPLAYED = 3,
    ANSWER_UNIT_PRICE = 4,
    ANSWER_ACCEPTED_AT = 5,
    ANSWER_RETRY_AFTER = 6,
    ANSWER_FIELD = 7,
    ANSWER_MESSAGE = 8,
    ANSWER_LINE_REFUSALS = 9,

    ORDERS_ORDERS = 1,

    ANSWERS_VERDICT = 1,
    ANSWERS_RESULTS = 2,
    ANSWERS_FIELD = 3,
    ANSWERS_MESSAGE = 4,
    ANSWERS_RETRY_AFTER = 5,
};

/* --- worst cases --------------------------------------------------------------------------------
 *
 * A tag below field 16 takes one byte, a varint at most ten, a length below 2^14 at most two. A
 * word store may scribble up to seven bytes behind what it means to write. */
#define VARINT_FIELD_MAX      11
#define UINT32_FIELD_MAX      6
#define UINT8_FIELD_MAX       3
#define SHORT_LENGTH_MAX      2
#define SCRATCH_BYTES         7
#define BYTES_FIELD_MAX(size) (1 + SHORT_LENGTH_MAX + (size))
#define ENVELOPE_HEAD_MAX     (SHORT_LENGTH_MAX + VARINT_FIELD_MAX + 1 + SHORT_LENGTH_MAX)
#define ORDER_BODY_MAX                                                                             \
    (BYTES_FIELD_MAX(TG_REQUEST_ID_BYTES) + VARINT_FIELD_MAX + BYTES_FIELD_MAX(TG_SKU_BYTES_MAX) + \
     VARINT_FIELD_MAX + UINT32_FIELD_MAX + VARINT_FIELD_MAX + UINT32_FIELD_MAX +                   \
     BYTES_FIELD_MAX(TG_EXTERNAL_BYTES_MAX) + UINT8_FIELD_MAX)
#define ANSWER_TEXT_MAX 108 /* field and message together */
#define ANSWER_BODY_MAX                                                                            \
    (UINT32_FIELD_MAX + VARINT_FIELD_MAX + 2 + VARINT_FIELD_MAX + VARINT_FIELD_MAX +               \
     UINT32_FIELD_MAX + BYTES_FIELD_MAX(0) + BYTES_FIELD_MAX(0) + ANSWER_TEXT_MAX)

#define ASSERT_TEXT_FITS(name, text, advice)                                                       \
    _Static_assert(sizeof(text) - 1 + sizeof(text " " advice) - 1 <= ANSWER_TEXT_MAX,              \
                   "ANSWER_TEXT_MAX is below the texts of " #name);
TG_FIELDS(ASSERT_TEXT_FITS)
#undef ASSERT_TEXT_FITS

_Static_assert(ENVELOPE_HEAD_MAX + ORDER_BODY_MAX + SCRATCH_BYTES <= TG_ORDER_FRAME_BYTES_MAX, "");
_Static_assert(ENVELOPE_HEAD_MAX + ANSWER_BODY_MAX + SCRATCH_BYTES <= TG_ANSWER_FRAME_BYTES_MAX,
               "");
_Static_assert(2 * TG_FRAME_PREFIX_BYTES_MAX + VARINT_FIELD_MAX + 1 + 2 <= TG_BATCH_HEAD_BYTES_MAX,
               "prefix, correlation_id, kind, verdict");
_Static_assert(TG_ORDER_FRAME_BYTES_MAX < 1 << 14 && TG_ANSWER_FRAME_BYTES_MAX < 1 << 14,
               "their lengths are at most two bytes: see close_length");
_Static_assert(TG_BATCH_HEAD_BYTES_MAX +
                       TG_BATCH_ORDERS_MAX * (BYTES_FIELD_MAX(0) + ORDER_BODY_MAX) <=
                   TG_FRAME_BATCH_BYTES_MAX,
               "the largest batch of the largest orders is a legal frame");
_Static_assert(TG_BATCH_HEAD_BYTES_MAX +
                       TG_BATCH_ORDERS_MAX * (BYTES_FIELD_MAX(0) + ANSWER_BODY_MAX) <=
                   TG_FRAME_BATCH_BYTES_MAX,
               "and so is its answer");

/* --- reading ------------------------------------------------------------------------------------
 *
 * A reader takes a place and the end, and returns the place behind what it read, or NULL when the
 * bytes are no protobuf. NULL in is NULL out, so that reads chain without a check at each step. */

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* The place where `bytes` start; never NULL, which means malformed. */
static inline const uint8_t *first(struct tg_bytes bytes)
{
    static const uint8_t nothing[1];
    return bytes.data != NULL ? bytes.data : nothing;
}

/* By value, because a pointer into the caller's fields would pin them to the stack. */
struct varint {
    const uint8_t *at;
    uint64_t value;
};

static __attribute__((noinline)) struct varint varint_bytewise(const uint8_t *at,
                                                               const uint8_t *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && at < end; shift += 7) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << shift; /* the tenth byte keeps one bit */
        if (byte < 0x80) {
            return (struct varint){.at = at, .value = value};
        }
    }
    return (struct varint){.at = NULL};
}

/* Squeezes the continuation bits out of eight wire bytes. */
static inline uint64_t squeeze(uint64_t word)
{
    word = (word & 0x007f007f007f007f) | (word & 0x7f007f007f007f00) >> 1;
    word = (word & 0x00003fff00003fff) | (word & 0x3fff00003fff0000) >> 2;
    return (word & 0x000000000fffffff) | (word & 0x0fffffff00000000) >> 4;
}

static inline const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    if (at < end && *at < 0x80) {
        *value = *at;
        return at + 1;
    }
    if (USUAL(end - at >= 8)) {
        uint64_t word = load64(at);
        uint64_t stops = ~word & CONTINUATION_BITS;
        if (USUAL(stops != 0)) {
            *value = squeeze(word & (stops ^ (stops - 1)));
            return at + (__builtin_ctzll(stops) >> 3) + 1;
        }
    }
    struct varint slow = varint_bytewise(at, end);
    *value = slow.value;
    return slow.at;
}

/* A length takes at most five bytes, and what it counts must lie before the end. */
static inline const uint8_t *read_bytes(const uint8_t *at, const uint8_t *end,
                                        struct tg_bytes *bytes)
{
    uint64_t size;
    const uint8_t *data;
    if (USUAL(at < end && *at < 0x80)) {
        size = *at;
        data = at + 1;
    } else {
        struct varint slow = varint_bytewise(at, end);
        if (slow.at == NULL || slow.at - at > 5) {
            return NULL;
        }
        size = slow.value;
        data = slow.at;
    }
    if (size > (uint64_t)(end - data)) {
        return NULL;
    }
    *bytes = (struct tg_bytes){.data = data, .size = size};
    return data + size;
}

/* protobuf-c takes a tag of up to five bytes, refuses a single byte that names field 0, and keeps
 * 32 bits of field number: all of that fits a 64-bit tag. */
static inline const uint8_t *read_tag(const uint8_t *at, const uint8_t *end, uint64_t *tag)
{
    if (at == end || (*at & 0xf8) == 0) {
        return NULL;
    }
    if (*at < 0x80) {
        *tag = *at;
        return at + 1;
    }
    struct varint slow = varint_bytewise(at, end);
    *tag = slow.value;
    return slow.at != NULL && slow.at - at <= 5 ? slow.at : NULL;
}

/* Steps over the value behind `tag`. */
static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end, uint64_t tag)
{
    struct tg_bytes bytes;
    switch (tag & 7) {
    case WIRE_VARINT:
        return varint_bytewise(at, end).at;
    case WIRE_FIXED64:
        return end - at >= 8 ? at + 8 : NULL;
    case WIRE_BYTES:
        return read_bytes(at, end, &bytes);
    case WIRE_FIXED32:
        return end - at >= 4 ? at + 4 : NULL;
    default: /* groups and the two unused wire types */
        return NULL;
    }
}

/* As skip_value, for a value whose tag was read: a known field of another wire type is malformed.
 */
static const uint8_t *skip_unknown(const uint8_t *at, const uint8_t *end, uint64_t tag,
                                   uint64_t fields_known)
{
    return (tag >> 3) < 64 && (fields_known >> (tag >> 3) & 1) ? NULL : skip_value(at, end, tag);
}

/* The predictable path: takes the field if it stands here, else leaves the place as it is. */
static inline const uint8_t *take_varint(const uint8_t *at, const uint8_t *end, uint32_t field,
                                         uint64_t *value)
{
    if (USUAL(at != NULL && at != end && *at == TAG(field, WIRE_VARINT))) {
        return read_varint(at + 1, end, value);
    }
    return at;
}

static inline const uint8_t *take_bytes(const uint8_t *at, const uint8_t *end, uint32_t field,
                                        struct tg_bytes *bytes)
{
    if (USUAL(at != NULL && at != end && *at == TAG(field, WIRE_BYTES))) {
        return read_bytes(at + 1, end, bytes);
    }
    return at;
}

/* Only the one form of `true` that encoders write; any other is left to the general path. */
static inline const uint8_t *take_true(const uint8_t *at, const uint8_t *end, uint32_t field,
                                       uint64_t *value)
{
    if (at == NULL || end - at < 2 || at[0] != TAG(field, WIRE_VARINT) || at[1] != 1) {
        return at;
    }
    *value = 1;
    return at + 2;
}

/* --- writing ------------------------------------------------------------------------------------
 *
 * A writer takes a place and returns the place behind what it wrote. */

/* Makes room for the continuation bits: the reverse of squeeze, for values below 2^56. */
static inline uint64_t spread(uint64_t value)
{
    value = (value & 0x000000000fffffff) | (value & 0x00fffffff0000000) << 4;
    value = (value & 0x00003fff00003fff) | (value & 0x0fffc0000fffc000) << 2;
    return (value & 0x007f007f007f007f) | (value & 0x3f803f803f803f80) << 1;
}

/* Writes nothing behind the varint. */
static uint8_t *put_varint_exact(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static inline uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    if (value < 0x80) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value >> 56 != 0) {
        return put_varint_exact(at, value);
    }
    unsigned bits = 64 - (unsigned)__builtin_clzll(value);
    unsigned size = (bits * 9 + 64) / 64; /* bits / 7, rounded up, without a division */
    uint64_t word = spread(value) | (CONTINUATION_BITS & ((1ull << 8 * (size - 1)) - 1));
    memcpy(at, &word, sizeof word);
    return at + size;
}

/* proto3: a field that is zero does not travel. */
static inline uint8_t *put_varint_field(uint8_t *at, uint32_t field, uint64_t value)
{
    if (value == 0) {
        return at;
    }
    *at = (uint8_t)TAG(field, WIRE_VARINT);
    return put_varint(at + 1, value);
}

/* At most 32 bytes, without the call that memcpy is for a size it cannot see. */
static inline void copy_short(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size >= 16) {
        memcpy(to, from, 16);
        memcpy(to + size - 16, from + size - 16, 16);
    } else if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else {
        for (size_t i = 0; i < size; i++) {
            to[i] = from[i];
        }
    }
}

static inline uint8_t *put_short_bytes(uint8_t *at, uint32_t field, const uint8_t *data,
                                       size_t size)
{
    if (size == 0) {
        return at;
    }
    at[0] = (uint8_t)TAG(field, WIRE_BYTES);
    at[1] = (uint8_t)size;
    copy_short(at + 2, data, size);
    return at + 2 + size;
}

static uint8_t *put_text(uint8_t *at, uint32_t field, const char *text)
{
    size_t size = strlen(text);
    if (size == 0) {
        return at;
    }
    *at = (uint8_t)TAG(field, WIRE_BYTES);
    at = put_varint_exact(at + 1, size);
    memcpy(at, text, size);
    return at + size;
}

/* Fills in the length of what lies behind `at`, for which one byte was left free. Nearly all
 * orders and answers are shorter than 128 bytes; the others move up by one. */
static inline uint8_t *close_length(uint8_t *at, uint8_t *end)
{
    size_t size = (size_t)(end - at) - 1;
    if (size < 0x80) {
        *at = (uint8_t)size;
        return end;
    }
    memmove(at + 2, at + 1, size);
    at[0] = (uint8_t)(size | 0x80);
    at[1] = (uint8_t)(size >> 7);
    return end + 1;
}

/* --- frames -------------------------------------------------------------------------------------
 */

/* Reads the length prefix; 0: more bytes are needed, -1: no length that this contract allows. */
static int read_prefix(struct tg_bytes bytes, uint32_t *body_bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < TG_FRAME_PREFIX_BYTES_MAX; i++) {
        if (i == bytes.size) {
            return 0;
        }
        value |= (uint64_t)(bytes.data[i] & 0x7f) << 7 * i;
        if (bytes.data[i] < 0x80) {
            bool overlong = i > 0 && bytes.data[i] == 0;
            *body_bytes = (uint32_t)value;
            return overlong || value > UINT32_MAX ? -1 : (int)i + 1;
        }
    }
    return -1;
}

/* Whether what has come may still become `want`, or is it. */
static bool begins_like(const uint8_t *at, const uint8_t *end, const uint8_t *want,
                        size_t want_bytes)
{
    size_t have_bytes = (size_t)(end - at);
    return memcmp(at, want, have_bytes < want_bytes ? have_bytes : want_bytes) == 0;
}

/* The tag of a kind whose number is 16 or above, as it stands on the wire. */
#define TWO_BYTE_TAG(kind) (uint8_t)(TAG(kind, WIRE_BYTES) | 0x80), TAG(kind, WIRE_BYTES) >> 7

/* Whether the first bytes of a large body already show that its kind may not be large. */
static bool large_kind_is_wrong(const uint8_t *at, const uint8_t *end)
{
    static const uint8_t place_orders[] = {
        TAG(TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS, WIRE_BYTES)};
    static const uint8_t create_sale[] = {TWO_BYTE_TAG(TIDEGATE__V1__REQUEST__KIND_CREATE_SALE)};
    static const uint8_t ingest_orders[] = {
        TWO_BYTE_TAG(TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS)};

    if (at < end && *at == TAG(ENVELOPE_CORRELATION_ID, WIRE_VARINT)) {
        struct varint correlation = varint_bytewise(at + 1, end);
        if (correlation.at == NULL) {
            return end - at > 10; /* all ten bytes are there and none of them is the last */
        }
        at = correlation.at;
    }
    return !begins_like(at, end, place_orders, sizeof place_orders) &&
           !begins_like(at, end, create_sale, sizeof create_sale) &&
           !begins_like(at, end, ingest_orders, sizeof ingest_orders);
}

/* The frame at bytes.data, when its length may be at most TG_FRAME_BATCH_BYTES_MAX, and above
 * `any_kind_bytes_max` only for the kinds that carry many things. */
static inline enum tg_frame frame_next(struct tg_bytes bytes, uint32_t any_kind_bytes_max,
                                       struct tg_bytes *body, size_t *used)
{
    *used = 0;
    uint32_t body_bytes = 0;
    int prefix = 1;
    if (bytes.size > 0 && bytes.data[0] < 0x80) {
        body_bytes = bytes.data[0];
    } else {
        prefix = read_prefix(bytes, &body_bytes);
    }
    if (prefix <= 0) {
        return prefix == 0 ? TG_FRAME_PARTIAL : TG_FRAME_MALFORMED;
    }
    if (body_bytes > TG_FRAME_BATCH_BYTES_MAX) {
        return TG_FRAME_TOO_LARGE;
    }
    const uint8_t *data = bytes.data + prefix;
    size_t have_bytes = bytes.size - (size_t)prefix;
    if (body_bytes > any_kind_bytes_max && large_kind_is_wrong(data, data + have_bytes)) {
        return TG_FRAME_TOO_LARGE;
    }
    *used = (size_t)prefix + body_bytes;
    if (have_bytes < body_bytes) {
        return TG_FRAME_PARTIAL;
    }
    *body = (struct tg_bytes){.data = data, .size = body_bytes};
    return TG_FRAME_WHOLE;
}

enum tg_frame tg_frame_next(struct tg_bytes bytes, struct tg_bytes *body, size_t *used)
{
    return frame_next(bytes, TG_FRAME_BYTES_MAX, body, used);
}

enum tg_frame tg_frame_next_response(struct tg_bytes bytes, struct tg_bytes *body, size_t *used)
{
    return frame_next(bytes, TG_FRAME_BATCH_BYTES_MAX, body, used);
}

size_t tg_frame_prefix(uint8_t *out, uint32_t body_bytes)
{
    return (size_t)(put_varint_exact(out, body_bytes) - out);
}

/* --- the envelope -------------------------------------------------------------------------------
 */

#define KIND_BIT(kind) (1ull << (kind))

/* Every kind has the same place in both messages; a Response can also be an error. */
#define KINDS_OF_REQUEST                                                                           \
    (KIND_BIT(TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER) |                                           \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS) |                                          \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_GET_ORDER) |                                             \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS) |                                           \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_GET_ITEM) |                                              \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME) |                                       \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_GET_STATS) |                                             \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE) |                                          \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_WATCH_ITEM) |                                            \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_CREATE_SALE) |                                           \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_LIST_SALES) |                                            \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_GET_SALE) |                                              \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE) |                                            \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_RESUME_SALE) |                                           \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE) |                                            \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK) |                                          \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER) |                                          \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS) |                                         \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM) |                                             \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM) |                                             \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_GET_TEAM) |                                              \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS) |                                            \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS) |                                        \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS) |                                      \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS) |                                            \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP) |                                          \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS) |                                           \
     KIND_BIT(TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP))
#define KINDS_OF_RESPONSE (KINDS_OF_REQUEST | KIND_BIT(TIDEGATE__V1__RESPONSE__KIND_ERROR))

/* One field of an envelope, whatever it is. */
static const uint8_t *envelope_field(const uint8_t *at, const uint8_t *end, uint64_t kinds,
                                     struct tg_envelope *envelope)
{
    uint64_t tag;
    at = read_tag(at, end, &tag);
    if (at == NULL) {
        return NULL;
    }
    if (tag == TAG(ENVELOPE_CORRELATION_ID, WIRE_VARINT)) {
        return read_varint(at, end, &envelope->correlation_id);
    }
    uint64_t field = tag >> 3;
    if (field < 64 && (kinds & KIND_BIT(field)) != 0 && (tag & 7) == WIRE_BYTES) {
        bool twice = envelope->kind != 0;
        envelope->kind = (uint32_t)field;
        return twice ? NULL : read_bytes(at, end, &envelope->body);
    }
    envelope->unknown = true;
    return skip_unknown(at, end, tag, kinds | KIND_BIT(ENVELOPE_CORRELATION_ID));
}

static inline enum tg_decode envelope_decode(struct tg_bytes message, uint64_t kinds,
                                             struct tg_envelope *envelope)
{
    const uint8_t *at = first(message);
    const uint8_t *end = at + message.size;
    *envelope = (struct tg_envelope){.kind = 0};

    /* Nearly every message is a correlation_id and one order or its answer. */
    at = take_varint(at, end, ENVELOPE_CORRELATION_ID, &envelope->correlation_id);
    if (at != NULL && at < end && *at == TAG(TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, WIRE_BYTES)) {
        envelope->kind = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        at = read_bytes(at + 1, end, &envelope->body);
    }
    while (at != NULL && at < end) {
        at = envelope_field(at, end, kinds, envelope);
    }
    return at == NULL ? TG_DECODE_MALFORMED : TG_DECODE_OK;
}

enum tg_decode tg_request_decode(struct tg_bytes message, struct tg_envelope *envelope)
{
    return envelope_decode(message, KINDS_OF_REQUEST, envelope);
}

enum tg_decode tg_response_decode(struct tg_bytes message, struct tg_envelope *envelope)
{
    return envelope_decode(message, KINDS_OF_RESPONSE, envelope);
}

/* Takes the next element of the repeated message `field` off `body`. `fields_known` has a bit for
 * each field of the body's message, `tags_skipped` one for each tag of theirs that is stepped over.
 */
static bool elements_next(struct tg_bytes *body, uint32_t field, uint64_t fields_known,
                          uint64_t tags_skipped, struct tg_bytes *element, bool *malformed)
{
    const uint8_t *at = first(*body);
    const uint8_t *end = at + body->size;
    bool found = false;
    while (at != NULL && at < end && !found) {
        uint64_t tag;
        at = read_tag(at, end, &tag);
        if (at == NULL) {
            break;
        }
        if (tag == TAG(field, WIRE_BYTES)) {
            found = true;
            at = read_bytes(at, end, element);
        } else if (tag < 64 && (tags_skipped >> tag & 1) != 0) {
            at = skip_value(at, end, tag);
        } else {
            at = skip_unknown(at, end, tag, fields_known);
        }
    }
    *malformed = at == NULL;
    const uint8_t *rest = at == NULL ? end : at;
    *body = (struct tg_bytes){.data = rest, .size = (size_t)(end - rest)};
    return found && at != NULL;
}

/* --- orders -------------------------------------------------------------------------------------
 */

/* The fields of an order as they stand on the wire, before any check. */
struct order_fields {
    struct tg_bytes request_id;
    struct tg_bytes sku;
    struct tg_bytes external_id;
    uint64_t sale_id;
    uint64_t user_id;
    uint64_t quantity;
    uint64_t unit_price_minor;
    uint64_t channel;
    uint64_t lane;
};

#define FIELDS_OF_ORDER 0x7feull /* 1 to 10 */

/* A lane that is set has the same number here and on the wire. */
_Static_assert(TG_LANE_FLASH == (int)TIDEGATE__V1__LANE__LANE_UNSPECIFIED &&
                   TG_LANE_VIP == (int)TIDEGATE__V1__LANE__LANE_VIP &&
                   TG_LANE_PREPAID == (int)TIDEGATE__V1__LANE__LANE_PREPAID,
               "see put_order and tg_lane_of");

/* All eight bytes lie in 0x21..0x7e. Sums cannot carry into the next byte unless a high bit is
 * set, and then the answer is no already. */
static inline bool is_graphic_word(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t too_high = word | (word + ones);            /* 0x7f and above reach the high bit */
    uint64_t high_enough = word + ones * (0x80 - 0x21u); /* 0x21 and above reach it */
    return ((too_high | ~high_enough) & CONTINUATION_BITS) == 0;
}

static inline bool is_sku(const uint8_t *data, size_t size)
{
    if (size == 0 || size > TG_SKU_BYTES_MAX) {
        return false;
    }
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        if (!is_graphic_word(load64(data + i))) {
            return false;
        }
    }
    if (size >= 8) { /* the rest lies in the last eight bytes */
        return is_graphic_word(load64(data + size - 8));
    }
    for (; i < size; i++) {
        if (data[i] < 0x21 || data[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

bool tg_sku_is_valid(struct tg_bytes sku)
{
    return is_sku(sku.data, sku.size);
}

static inline __attribute__((always_inline)) enum tg_field
order_first_wrong(const struct order_fields *fields)
{
    if (fields->request_id.size != TG_REQUEST_ID_BYTES) {
        return TG_FIELD_REQUEST_ID;
    }
    if (fields->sale_id == 0) {
        return TG_FIELD_SALE_ID;
    }
    if (!is_sku(fields->sku.data, fields->sku.size)) {
        return TG_FIELD_SKU;
    }
    if (fields->quantity == 0 || fields->quantity > TG_QUANTITY_MAX) {
        return TG_FIELD_QUANTITY;
    }
    if (fields->unit_price_minor > TG_PRICE_MINOR_MAX) { /* below zero is above 2^63 here */
        return TG_FIELD_UNIT_PRICE;
    }
    if (fields->channel > TG_CHANNEL_MAX) {
        return TG_FIELD_CHANNEL;
    }
    if (fields->external_id.size > TG_EXTERNAL_BYTES_MAX) {
        return TG_FIELD_EXTERNAL_ID;
    }
    return fields->lane > TIDEGATE__V1__LANE__LANE_FLASH ? TG_FIELD_LANE : TG_FIELD_NONE;
}

/* Moves what is in range into `order`; what is not stays zero. */
static inline __attribute__((always_inline)) enum tg_decode
order_check(const struct order_fields *fields, struct tg_order *order, enum tg_field *field)
{
    bool sku_fits = fields->sku.size <= TG_SKU_BYTES_MAX;
    bool external_fits = fields->external_id.size <= TG_EXTERNAL_BYTES_MAX;
    bool price_fits = fields->unit_price_minor <= TG_PRICE_MINOR_MAX;

    if (fields->request_id.size == TG_REQUEST_ID_BYTES) {
        memcpy(order->request_id, fields->request_id.data, TG_REQUEST_ID_BYTES);
    } else {
        memset(order->request_id, 0, TG_REQUEST_ID_BYTES);
    }
    order->sale_id = fields->sale_id;
    order->user_id = fields->user_id;
    order->unit_price_minor = price_fits ? (int64_t)fields->unit_price_minor : 0;
    order->sku = fields->sku.data;
    order->external_id = fields->external_id.data;
    order->quantity = fields->quantity <= TG_QUANTITY_MAX ? (uint32_t)fields->quantity : 0;
    order->channel = fields->channel <= TG_CHANNEL_MAX ? (uint16_t)fields->channel : 0;
    order->sku_bytes = sku_fits ? (uint8_t)fields->sku.size : 0;
    order->external_bytes = external_fits ? (uint8_t)fields->external_id.size : 0;
    order->lane = tg_lane_of(fields->lane);

    *field = order_first_wrong(fields);
    return *field == TG_FIELD_NONE ? TG_DECODE_OK : TG_DECODE_INVALID;
}

/* The value of one field of an order, whatever it is. */
static const uint8_t *order_field(const uint8_t *at, const uint8_t *end, uint64_t tag,
                                  struct order_fields *fields)
{
    switch (tag) {
    case TAG(ORDER_REQUEST_ID, WIRE_BYTES):
        return read_bytes(at, end, &fields->request_id);
    case TAG(ORDER_SALE_ID, WIRE_VARINT):
        return read_varint(at, end, &fields->sale_id);
    case TAG(ORDER_SKU, WIRE_BYTES):
        return read_bytes(at, end, &fields->sku);
    case TAG(ORDER_USER_ID, WIRE_VARINT):
        return read_varint(at, end, &fields->user_id);
    case TAG(ORDER_QUANTITY, WIRE_VARINT):
        return read_varint(at, end, &fields->quantity);
    case TAG(ORDER_UNIT_PRICE, WIRE_VARINT):
        return read_varint(at, end, &fields->unit_price_minor);
    case TAG(ORDER_CHANNEL, WIRE_VARINT):
        return read_varint(at, end, &fields->channel);
    case TAG(ORDER_EXTERNAL_ID, WIRE_BYTES):
        return read_bytes(at, end, &fields->external_id);
    case TAG(ORDER_LANE, WIRE_VARINT):
        return read_varint(at, end, &fields->lane);
    default:
        return skip_unknown(at, end, tag, FIELDS_OF_ORDER);
    }
}

/* An order in any field order. Apart from the fast path, whose fields thereby stay in registers;
 * it starts anew, which costs little and keeps the last of repeated fields the winner. */
static __attribute__((noinline)) enum tg_decode
order_decode_any(struct tg_bytes message, struct tg_order *order, enum tg_field *field)
{
    struct order_fields fields = {.sale_id = 0};
    const uint8_t *at = first(message);
    const uint8_t *end = at + message.size;
    while (at != NULL && at < end) {
        uint64_t tag;
        at = read_tag(at, end, &tag);
        if (at == NULL) {
            break;
        }
        if (tag == TAG(ORDER_LINES, WIRE_BYTES)) {
            return skip_value(at, end, tag) == NULL ? TG_DECODE_MALFORMED : TG_DECODE_CART;
        }
        at = order_field(at, end, tag, &fields);
    }
    return at == NULL ? TG_DECODE_MALFORMED : order_check(&fields, order, field);
}

enum tg_decode tg_order_decode(struct tg_bytes message, struct tg_order *order,
                               enum tg_field *field)
{
    struct order_fields fields = {.sale_id = 0};
    const uint8_t *at = first(message);
    const uint8_t *end = at + message.size;
    at = take_bytes(at, end, ORDER_REQUEST_ID, &fields.request_id);
    at = take_varint(at, end, ORDER_SALE_ID, &fields.sale_id);
    at = take_bytes(at, end, ORDER_SKU, &fields.sku);
    at = take_varint(at, end, ORDER_USER_ID, &fields.user_id);
    at = take_varint(at, end, ORDER_QUANTITY, &fields.quantity);
    at = take_varint(at, end, ORDER_UNIT_PRICE, &fields.unit_price_minor);
    at = take_varint(at, end, ORDER_CHANNEL, &fields.channel);
    at = take_bytes(at, end, ORDER_EXTERNAL_ID, &fields.external_id);
    at = take_varint(at, end, ORDER_LANE, &fields.lane);
    if (!USUAL(at == end)) {
        return at == NULL ? TG_DECODE_MALFORMED : order_decode_any(message, order, field);
    }
    return order_check(&fields, order, field);
}

bool tg_orders_next(struct tg_bytes *body, struct tg_bytes *order, bool *malformed)
{
    return elements_next(body, ORDERS_ORDERS, 1ull << ORDERS_ORDERS, 0, order, malformed);
}

static inline uint8_t *put_order(uint8_t *at, const struct tg_order *order)
{
    tg_assert(order->sku_bytes <= TG_SKU_BYTES_MAX);
    tg_assert(order->external_bytes <= TG_EXTERNAL_BYTES_MAX);

    at = put_short_bytes(at, ORDER_REQUEST_ID, order->request_id, TG_REQUEST_ID_BYTES);
    at = put_varint_field(at, ORDER_SALE_ID, order->sale_id);
    at = put_short_bytes(at, ORDER_SKU, order->sku, order->sku_bytes);
    at = put_varint_field(at, ORDER_USER_ID, order->user_id);
    at = put_varint_field(at, ORDER_QUANTITY, order->quantity);
    at = put_varint_field(at, ORDER_UNIT_PRICE, (uint64_t)order->unit_price_minor);
    at = put_varint_field(at, ORDER_CHANNEL, order->channel);
    at = put_short_bytes(at, ORDER_EXTERNAL_ID, order->external_id, order->external_bytes);
    return put_varint_field(at, ORDER_LANE, order->lane);
}

size_t tg_order_frame(uint8_t *out, uint64_t correlation_id, const struct tg_order *order)
{
    uint8_t *kind = put_varint_field(out + 1, ENVELOPE_CORRELATION_ID, correlation_id);
    *kind++ = TAG(TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, WIRE_BYTES);
    uint8_t *end = close_length(kind, put_order(kind + 1, order));
    return (size_t)(close_length(out, end) - out);
}

size_t tg_orders_element(uint8_t *out, const struct tg_order *order)
{
    out[0] = TAG(ORDERS_ORDERS, WIRE_BYTES);
    return (size_t)(close_length(out + 1, put_order(out + 2, order)) - out);
}

static size_t varint_bytes(uint64_t value)
{
    uint8_t out[10];
    return (size_t)(put_varint_exact(out, value) - out);
}

/* Prefix, correlation_id, kind and its length, for a kind whose message takes `body_bytes`. The
 * elements may lie behind it already, so nothing is written past its end. */
static uint8_t *put_head(uint8_t *at, uint64_t correlation_id, uint32_t kind, size_t body_bytes)
{
    size_t id_bytes = correlation_id == 0 ? 0 : 1 + varint_bytes(correlation_id);
    size_t frame_bytes = id_bytes + 1 + varint_bytes(body_bytes) + body_bytes;
    tg_assert(frame_bytes <= TG_FRAME_BATCH_BYTES_MAX);

    at = put_varint_exact(at, frame_bytes);
    if (correlation_id != 0) {
        *at++ = TAG(ENVELOPE_CORRELATION_ID, WIRE_VARINT);
        at = put_varint_exact(at, correlation_id);
    }
    *at++ = (uint8_t)TAG(kind, WIRE_BYTES);
    return put_varint_exact(at, body_bytes);
}

size_t tg_orders_head(uint8_t *out, uint64_t correlation_id, size_t elements_bytes)
{
    uint8_t *end =
        put_head(out, correlation_id, TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS, elements_bytes);
    return (size_t)(end - out);
}

/* --- answers ------------------------------------------------------------------------------------
 */

/* The fields of an answer as they stand on the wire. */
struct answer_fields {
    uint64_t verdict;
    uint64_t order_id;
    uint64_t replayed;
    uint64_t unit_price_minor;
    uint64_t accepted_at_ms;
    uint64_t retry_after_ms;
};

#define FIELDS_OF_ANSWER 0x3feull /* 1 to 9 */

static inline uint8_t *put_answer(uint8_t *at, const struct tg_answer *answer)
{
    at = put_varint_field(at, ANSWER_VERDICT, answer->verdict);
    at = put_varint_field(at, ANSWER_ORDER_ID, answer->order_id);
    at = put_varint_field(at, ANSWER_REPLAYED, answer->replayed != 0);
    at = put_varint_field(at, ANSWER_UNIT_PRICE, (uint64_t)answer->unit_price_minor);
    at = put_varint_field(at, ANSWER_ACCEPTED_AT, (uint64_t)answer->accepted_at_ms);
    at = put_varint_field(at, ANSWER_RETRY_AFTER, answer->retry_after_ms);
    if (!USUAL(answer->verdict != TG_INVALID_ARGUMENT)) {
        at = put_text(at, ANSWER_FIELD, tg_field_name(answer->field));
        at = put_text(at, ANSWER_MESSAGE, tg_field_advice(answer->field));
    }
    return at;
}

size_t tg_answer_frame(uint8_t *out, uint64_t correlation_id, const struct tg_answer *answer)
{
    uint8_t *kind = put_varint_field(out + 1, ENVELOPE_CORRELATION_ID, correlation_id);
    *kind++ = TAG(TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER, WIRE_BYTES);
    uint8_t *end = close_length(kind, put_answer(kind + 1, answer));
    return (size_t)(close_length(out, end) - out);
}

size_t tg_answers_element(uint8_t *out, const struct tg_answer *answer)
{
    out[0] = TAG(ANSWERS_RESULTS, WIRE_BYTES);
    return (size_t)(close_length(out + 1, put_answer(out + 2, answer)) - out);
}

size_t tg_answers_head(uint8_t *out, uint64_t correlation_id, size_t elements_bytes)
{
    uint8_t *end = put_head(out, correlation_id, TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS,
                            2 + elements_bytes);
    *end++ = TAG(ANSWERS_VERDICT, WIRE_VARINT);
    *end++ = TG_OK;
    return (size_t)(end - out);
}

/* protobuf-c takes a bool of any wire type, true when any byte of it has a payload bit. */
static const uint8_t *read_bool(const uint8_t *at, const uint8_t *end, uint64_t tag,
                                uint64_t *value)
{
    const uint8_t *behind = skip_value(at, end, tag);
    *value = 0;
    for (; behind != NULL && at < behind; at++) {
        *value |= (*at & 0x7f) != 0;
    }
    return behind;
}

/* One field of an answer, whatever it is. */
static const uint8_t *answer_field(const uint8_t *at, const uint8_t *end,
                                   struct answer_fields *fields)
{
    uint64_t tag;
    at = read_tag(at, end, &tag);
    if (at == NULL) {
        return NULL;
    }
    switch (tag) {
    case TAG(ANSWER_VERDICT, WIRE_VARINT):
        return read_varint(at, end, &fields->verdict);
    case TAG(ANSWER_ORDER_ID, WIRE_VARINT):
        return read_varint(at, end, &fields->order_id);
    case TAG(ANSWER_UNIT_PRICE, WIRE_VARINT):
        return read_varint(at, end, &fields->unit_price_minor);
    case TAG(ANSWER_ACCEPTED_AT, WIRE_VARINT):
        return read_varint(at, end, &fields->accepted_at_ms);
    case TAG(ANSWER_RETRY_AFTER, WIRE_VARINT):
        return read_varint(at, end, &fields->retry_after_ms);
    case TAG(ANSWER_FIELD, WIRE_BYTES):
    case TAG(ANSWER_MESSAGE, WIRE_BYTES):
    case TAG(ANSWER_LINE_REFUSALS, WIRE_BYTES):
        return skip_value(at, end, tag);
    default:
        return tag >> 3 == ANSWER_REPLAYED ? read_bool(at, end, tag, &fields->replayed)
                                           : skip_unknown(at, end, tag, FIELDS_OF_ANSWER);
    }
}

static inline __attribute__((always_inline)) void
answer_from_fields(const struct answer_fields *fields, struct tg_answer *answer)
{
    /* An enum is 32 bits on the wire; what this build does not know must not look like ACCEPTED. */
    uint32_t verdict = (uint32_t)fields->verdict;
    *answer = (struct tg_answer){
        .order_id = fields->order_id,
        .unit_price_minor = (int64_t)fields->unit_price_minor,
        .accepted_at_ms = (int64_t)fields->accepted_at_ms,
        .retry_after_ms = (uint32_t)fields->retry_after_ms,
        .verdict = verdict < TG_VERDICT_COUNT ? (uint8_t)verdict : (uint8_t)TG_UNSPECIFIED,
        .replayed = (uint8_t)fields->replayed,
    };
}

/* An answer in any field order; apart from the fast path, as order_decode_any. */
static __attribute__((noinline)) enum tg_decode answer_decode_any(struct tg_bytes message,
                                                                  struct tg_answer *answer)
{
    struct answer_fields fields = {.verdict = 0};
    const uint8_t *at = first(message);
    const uint8_t *end = at + message.size;
    while (at != NULL && at < end) {
        at = answer_field(at, end, &fields);
    }
    if (at == NULL) {
        return TG_DECODE_MALFORMED;
    }
    answer_from_fields(&fields, answer);
    return TG_DECODE_OK;
}

enum tg_decode tg_answer_decode(struct tg_bytes message, struct tg_answer *answer)
{
    struct answer_fields fields = {.verdict = 0};
    const uint8_t *at = first(message);
    const uint8_t *end = at + message.size;
    at = take_varint(at, end, ANSWER_VERDICT, &fields.verdict);
    at = take_varint(at, end, ANSWER_ORDER_ID, &fields.order_id);
    at = take_true(at, end, ANSWER_REPLAYED, &fields.replayed);
    at = take_varint(at, end, ANSWER_UNIT_PRICE, &fields.unit_price_minor);
    at = take_varint(at, end, ANSWER_ACCEPTED_AT, &fields.accepted_at_ms);
    at = take_varint(at, end, ANSWER_RETRY_AFTER, &fields.retry_after_ms);
    if (at != end) {
        return at == NULL ? TG_DECODE_MALFORMED : answer_decode_any(message, answer);
    }
    answer_from_fields(&fields, answer);
    return TG_DECODE_OK;
}

/* All fields of a PlaceOrdersResponse, and the tags of those that are no elements. */
#define FIELDS_OF_ANSWERS 0x3eull /* 1 to 5 */
#define TAGS_OF_ANSWERS                                                                            \
    (1ull << TAG(ANSWERS_VERDICT, WIRE_VARINT) | 1ull << TAG(ANSWERS_FIELD, WIRE_BYTES) |          \
     1ull << TAG(ANSWERS_MESSAGE, WIRE_BYTES) | 1ull << TAG(ANSWERS_RETRY_AFTER, WIRE_VARINT))

bool tg_answers_next(struct tg_bytes *body, struct tg_bytes *answer, bool *malformed)
{
    return elements_next(body, ANSWERS_RESULTS, FIELDS_OF_ANSWERS, TAGS_OF_ANSWERS, answer,
                         malformed);
}

/* One field of a PlaceOrdersResponse; its elements are stepped over. */
static const uint8_t *answers_field(const uint8_t *at, const uint8_t *end,
                                    struct answer_fields *fields)
{
    uint64_t tag;
    at = read_tag(at, end, &tag);
    if (at == NULL) {
        return NULL;
    }
    switch (tag) {
    case TAG(ANSWERS_VERDICT, WIRE_VARINT):
        return read_varint(at, end, &fields->verdict);
    case TAG(ANSWERS_RETRY_AFTER, WIRE_VARINT):
        return read_varint(at, end, &fields->retry_after_ms);
    case TAG(ANSWERS_RESULTS, WIRE_BYTES):
    case TAG(ANSWERS_FIELD, WIRE_BYTES):
    case TAG(ANSWERS_MESSAGE, WIRE_BYTES):
        return skip_value(at, end, tag);
    default:
        return skip_unknown(at, end, tag, FIELDS_OF_ANSWERS);
    }
}

enum tg_decode tg_answers_decode(struct tg_bytes body, struct tg_answer *answer)
{
    struct answer_fields fields = {.verdict = 0};
    const uint8_t *at = first(body);
    const uint8_t *end = at + body.size;
    while (at != NULL && at < end) {
        at = answers_field(at, end, &fields);
    }
    if (at == NULL) {
        return TG_DECODE_MALFORMED;
    }
    answer_from_fields(&fields, answer);
    return TG_DECODE_OK;
}
