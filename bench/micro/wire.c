/* What an order passes through: a frame read, a ring crossed, an answer written. */
#include "base/ring.h"
#include "bench/micro/micro.h"
#include "proto/codec.h"

#include <string.h>

/* --- a ring between two cores, both sides played by one thread --- */

/* As large as a forwarded order. */
#define ELEMENT_BYTES 192
#define ELEMENTS      1024
/* As one side fills it while the other looks away. */
#define BURST         16

static void *prepare_ring(uint32_t count, const char *dir)
{
    (void)dir;
    (void)count;
    struct tg_ring *ring = micro_alloc(sizeof(*ring));
    tg_ring_init(ring, micro_alloc((size_t)ELEMENTS * ELEMENT_BYTES), ELEMENT_BYTES, ELEMENTS);
    return ring;
}

static void run_ring(void *state, uint32_t count)
{
    struct tg_ring *ring = state;
    for (uint32_t i = 0; i < count; i += BURST) {
        for (uint32_t k = 0; k < BURST; k++) {
            uint32_t *element = tg_ring_reserve(ring);
            *element = i + k;
            tg_ring_push(ring);
        }
        for (uint32_t k = 0; k < BURST; k++) {
            const uint32_t *element = tg_ring_front(ring);
            if (*element != i + k)
                micro_die("the ring gave %u where %u was put", *element, i + k);
            tg_ring_pop(ring);
        }
    }
}

/* --- a frame with an order --- */

struct decode {
    uint8_t *frames;
    size_t bytes;
};

static void *prepare_decode(uint32_t count, const char *dir)
{
    (void)dir;
    struct decode *d = micro_alloc(sizeof(*d));
    d->frames = micro_alloc((size_t)(count + 1) * TG_ORDER_FRAME_BYTES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct tg_order order = micro_order(i);
        d->bytes += tg_order_frame(d->frames + d->bytes, i + 1, &order);
    }
    return d;
}

static void run_decode(void *state, uint32_t count)
{
    struct decode *d = state;
    struct tg_bytes left = {d->frames, d->bytes};
    for (uint32_t i = 0; i < count; i++) {
        struct tg_bytes body;
        size_t used;
        struct tg_envelope envelope;
        struct tg_order order;
        enum tg_field field;
        if (tg_frame_next(left, &body, &used) != TG_FRAME_WHOLE ||
            tg_request_decode(body, &envelope) != TG_DECODE_OK ||
            tg_order_decode(envelope.body, &order, &field) != TG_DECODE_OK ||
            envelope.correlation_id != i + 1)
            micro_die("frame %u was not understood", i);
        left.data += used;
        left.size -= used;
    }
}

/* --- the answer --- */

static void *prepare_encode(uint32_t count, const char *dir)
{
    (void)dir;
    (void)count;
    return micro_alloc(TG_ANSWER_FRAME_BYTES_MAX);
}

static void run_encode(uint8_t *out, uint32_t count, struct tg_answer answer)
{
    for (uint32_t i = 0; i < count; i++) {
        if (answer.order_id)
            answer.order_id += 1ull << TG_PARTITION_BITS;
        if (tg_answer_frame(out, i + 1, &answer) == 0)
            micro_die("an answer without bytes");
    }
}

static void run_encode_accepted(void *state, uint32_t count)
{
    run_encode(state, count,
               (struct tg_answer){.verdict = TG_ACCEPTED,
                                  .order_id = 1ull << 40,
                                  .unit_price_minor = MICRO_PRICE_MINOR,
                                  .accepted_at_ms = MICRO_NOW_MS});
}

static void run_encode_refused(void *state, uint32_t count)
{
    run_encode(state, count, (struct tg_answer){.verdict = TG_SOLD_OUT});
}

const struct micro_case micro_ring = {"ring", BURST, prepare_ring, run_ring};
const struct micro_case micro_decode = {"decode-order", 1, prepare_decode, run_decode};
const struct micro_case micro_encode_accepted = {"encode-accepted", 1, prepare_encode,
                                                 run_encode_accepted};
const struct micro_case micro_encode_refused = {"encode-refused", 1, prepare_encode,
                                                run_encode_refused};
