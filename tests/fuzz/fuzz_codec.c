/* The codec of the hot messages against protobuf-c and the naive scanner of
 * tests/unit/test_codec.c, which is included whole for its comparisons: accept or refuse, and every
 * value, must agree.
 *
 * input: | what is compared, u8 | the bytes |
 */
#include "tests/unit/test_codec.c"

#include "tests/fuzz/fuzz.h"

enum {
    AS_REQUEST_FRAMES,
    AS_RESPONSE_FRAMES,
    AS_ORDER,
    AS_ANSWER,
    AS_REQUEST,
    AS_RESPONSE,
    AS_ORDERS,
    AS_ANSWERS,
    AS_COUNT,
};

static unsigned counts[4];

/* The body of each kind that the codec reads itself. */
static void compare_body(const struct tg_envelope *envelope, bool request)
{
    uint8_t copy[FUZZ_BYTES_MAX]; /* the comparisons use the arena that the body may lie in */
    size_t size = envelope->body.size;
    if (envelope->kind != TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER &&
        envelope->kind != TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS)
        return;
    if (size > 0)
        memcpy(copy, envelope->body.data, size);
    if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS)
        compare_batch(copy, size, request, counts);
    else if (request)
        compare_order(copy, size, counts);
    else
        compare_answer(copy, size, counts);
}

static void compare_message(const uint8_t *data, size_t size, bool request)
{
    struct tg_envelope envelope;
    compare_envelope(
        data, size,
        request ? &tidegate__v1__request__descriptor : &tidegate__v1__response__descriptor, counts);
    struct tg_bytes message = {data, size};
    if ((request ? tg_request_decode(message, &envelope)
                 : tg_response_decode(message, &envelope)) == TG_DECODE_OK)
        compare_body(&envelope, request);
}

typedef enum tg_frame (*look_at_frame)(struct tg_bytes, struct tg_bytes *, size_t *);

/* Whole frames are a canonical prefix and that many bytes; and what is said of the first bytes
 * of a stream is never taken back when more of them come. */
static void compare_growth(const uint8_t *data, size_t size, look_at_frame next)
{
    enum tg_frame said = TG_FRAME_PARTIAL;
    size_t known = 0;
    for (size_t cut = 0; cut <= size && cut <= 40; cut++) {
        struct tg_bytes body;
        size_t used = 99;
        enum tg_frame frame = next(at_edge(data, cut), &body, &used);
        check(said == TG_FRAME_PARTIAL || frame == said, data, size);
        check(known == 0 || frame > TG_FRAME_PARTIAL || used == known, data, size);
        said = frame;
        known = frame > TG_FRAME_PARTIAL ? known : used;
    }
}

static void compare_frames(const uint8_t *data, size_t size, bool request)
{
    look_at_frame next = request ? tg_frame_next : tg_frame_next_response;
    while (size > 0) {
        struct tg_bytes body;
        size_t used;
        uint8_t prefix[TG_FRAME_PREFIX_BYTES_MAX];
        compare_growth(data, size, next);
        if (next((struct tg_bytes){data, size}, &body, &used) != TG_FRAME_WHOLE)
            return;
        size_t head = tg_frame_prefix(prefix, (uint32_t)body.size);
        check(used <= size && used == head + body.size, data, size);
        check(body.data == data + head && memcmp(prefix, data, head) == 0, data, size);
        compare_message(body.data, body.size, request);
        data += used;
        size -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > FUZZ_BYTES_MAX)
        return 0;
    unsigned as = data[0] % AS_COUNT;
    data++;
    size--;
    switch (as) {
    case AS_ORDER:
        compare_order(data, size, counts);
        break;
    case AS_ANSWER:
        compare_answer(data, size, counts);
        break;
    case AS_REQUEST:
    case AS_RESPONSE:
        compare_message(data, size, as == AS_REQUEST);
        break;
    case AS_ORDERS:
    case AS_ANSWERS:
        compare_batch(data, size, as == AS_ORDERS, counts);
        break;
    default:
        compare_frames(data, size, as == AS_REQUEST_FRAMES);
        break;
    }
    return 0;
}
