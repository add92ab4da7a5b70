/* The hand-written codec against protobuf-c, against a naive scanner, and against its header.
 *
 * Bytes under test lie at the end of a page with nothing readable behind it, so that a read one
 * byte too far is a crash, not luck. Random tests print the seed and the round when they fail. */
#include "proto/codec.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SEED         0x71de6a7eull
#define ROUNDS       100000
#define ARENA_BYTES  (2u << 20)
#define PAGE_BYTES   4096u
#define MESSAGE_MAX  8192
#define WIRE_VARINT  0
#define WIRE_FIXED64 1
#define WIRE_BYTES   2
#define WIRE_FIXED32 5

/* cr_assert reports every pass to the runner, which is too slow for millions of checks. */
#define check(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_with(__LINE__, #condition, __VA_ARGS__);                                          \
        }                                                                                          \
    } while (0)

static unsigned long long round_now; /* of the random test that runs: every test is a process */

static void fail_with(int line, const char *condition, const uint8_t *data, size_t size)
{
    char hex[400] = "";
    for (size_t i = 0; i < size && i < 180; i++) {
        snprintf(hex + 2 * i, 3, "%02x", data[i]);
    }
    cr_assert_fail("line %d: %s (seed %llx, round %llu, %zu bytes: %s)", line, condition, SEED,
                   round_now, size, hex);
    abort();
}

/* --- randomness and memory ----------------------------------------------------------------------
 */

static uint64_t random_state = SEED;

static uint64_t random_word(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_below(uint32_t limit)
{
    return (uint32_t)(random_word() % limit);
}

/* Numbers near the places where encodings and limits change. */
static uint64_t random_number(void)
{
    switch (random_below(6)) {
    case 0:
        return random_below(4);
    case 1:
        return (1ull << random_below(64)) + random_below(3) - 1;
    case 2:
        return (1ull << 32) + random_below(3);
    case 3:
        return 0ull - random_below(3);
    case 4:
        return random_word() >> random_below(64);
    default:
        return random_below(1000);
    }
}

static uint8_t *arena_end(void)
{
    static uint8_t *arena;
    if (arena == NULL) {
        arena = mmap(NULL, ARENA_BYTES + PAGE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert(arena != MAP_FAILED);
        cr_assert_eq(mprotect(arena + ARENA_BYTES, PAGE_BYTES, PROT_NONE), 0);
    }
    return arena + ARENA_BYTES;
}

/* A copy behind which nothing can be read. */
static struct tg_bytes at_edge(const uint8_t *data, size_t size)
{
    uint8_t *copy = arena_end() - size;
    memmove(copy, data, size);
    return (struct tg_bytes){.data = copy, .size = size};
}

/* --- a naive scanner: what stands in a message, by protobuf-c's rules --------------------------
 */

struct scanned_field {
    uint64_t number;
    unsigned wire;
    uint64_t value;       /* of a varint */
    bool any_bit;         /* a payload bit in any byte of the value */
    struct tg_bytes data; /* of bytes */
    struct tg_bytes all;  /* tag and value */
};

struct scan {
    size_t count;
    struct scanned_field fields[MESSAGE_MAX];
};

static size_t scan_varint(const uint8_t *data, size_t size, size_t bytes_max, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < size && i < bytes_max; i++) {
        *value += (uint64_t)(data[i] % 128) << 7 * i;
        if (data[i] < 128) {
            return i + 1;
        }
    }
    return 0;
}

static size_t scan_value(const uint8_t *data, size_t size, struct scanned_field *field)
{
    uint64_t length;
    size_t used = 0;
    switch (field->wire) {
    case WIRE_VARINT:
        used = scan_varint(data, size, 10, &field->value);
        break;
    case WIRE_FIXED64:
        used = size < 8 ? 0 : 8;
        break;
    case WIRE_FIXED32:
        used = size < 4 ? 0 : 4;
        break;
    case WIRE_BYTES:
        used = scan_varint(data, size, 5, &length);
        if (used == 0 || length > INT32_MAX || length > size - used) {
            return 0;
        }
        field->data = (struct tg_bytes){data + used, length};
        used += length;
        break;
    default:
        break;
    }
    for (size_t i = 0; i < used; i++) {
        field->any_bit |= data[i] % 128 != 0;
    }
    return used;
}

static bool scan(struct tg_bytes message, struct scan *out)
{
    const uint8_t *data = message.data;
    size_t left = message.size;
    out->count = 0;
    while (left > 0) {
        struct scanned_field field = {.number = 0};
        uint64_t tag;
        size_t tag_bytes = data[0] < 8 ? 0 : scan_varint(data, left, 5, &tag);
        if (tag_bytes == 0) {
            return false;
        }
        field.number = tag >> 3;
        field.wire = tag & 7;
        size_t value_bytes = scan_value(data + tag_bytes, left - tag_bytes, &field);
        if (value_bytes == 0) {
            return false;
        }
        field.all = (struct tg_bytes){data, tag_bytes + value_bytes};
        out->fields[out->count++] = field;
        data += field.all.size;
        left -= field.all.size;
    }
    return true;
}

/* The last field of that number; zero and empty when there is none. */
static struct scanned_field last_of(const struct scan *scanned, uint64_t number)
{
    struct scanned_field last = {.number = 0};
    for (size_t i = 0; i < scanned->count; i++) {
        last = scanned->fields[i].number == number ? scanned->fields[i] : last;
    }
    return last;
}

/* --- random messages ---------------------------------------------------------------------------
 */

/* With padding the varint is longer than it need be. */
static size_t write_varint(uint8_t *out, uint64_t value, unsigned padding)
{
    size_t size = 0;
    for (; value >= 128; value >>= 7) {
        out[size++] = (uint8_t)(value | 128);
    }
    out[size++] = (uint8_t)value;
    for (; padding > 0; padding--) {
        out[size - 1] |= 128;
        out[size++] = 0;
    }
    return size;
}

static unsigned random_padding(unsigned most)
{
    return random_below(16) == 0 ? random_below(most + 1) : 0;
}

static size_t write_random_value(uint8_t *out, unsigned wire)
{
    if (wire == WIRE_VARINT) {
        uint64_t value = random_number();
        size_t size = write_varint(out, value, 0);
        return write_varint(out, value, size < 10 ? random_padding(10 - (unsigned)size) : 0);
    }
    size_t size = wire == WIRE_FIXED64 ? 8 : 4;
    size_t head = 0;
    if (wire == WIRE_BYTES) {
        size = random_below(3) == 0 ? random_below(200) : random_below(3) ? 16 : random_below(40);
        head = write_varint(out, size, random_padding(6));
    }
    bool printable = random_below(8) != 0;
    for (size_t i = 0; i < size; i++) {
        out[head + i] = (uint8_t)(printable ? 0x21 + random_below(0x5e) : random_below(256));
    }
    return head + size;
}

/* `wires[n]` is the wire type of field n; fields that it does not know are unknown to all. */
static size_t write_random_field(uint8_t *out, const uint8_t *wires, uint32_t wires_count)
{
    static const uint8_t any_wire[] = {WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32};
    uint64_t number = 1 + random_below(wires_count - 1);
    unsigned wire = wires[number];
    if (random_below(8) == 0) {
        number = random_below(4) != 0 ? wires_count + random_below(20) : random_word() >> 35;
        wire = any_wire[random_below(4)];
    } else if (random_below(64) == 0) {
        wire = random_below(8);
    }
    size_t tag_bytes = write_varint(out, number << 3 | wire, random_padding(2));
    return tag_bytes + write_random_value(out + tag_bytes, wire);
}

static size_t write_random_message(uint8_t *out, const uint8_t *wires, uint32_t wires_count)
{
    size_t size = 0;
    for (uint32_t left = random_below(14); left > 0; left--) {
        size += write_random_field(out + size, wires, wires_count);
    }
    return size;
}

/* Damages one place, or cuts the end off; returns the new size. */
static size_t mutate(uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t at = random_below((uint32_t)size);
    switch (random_below(5)) {
    case 0:
        return at;
    case 1:
        data[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 2:
        data[at] = (uint8_t)random_word();
        return size;
    case 3:
        memmove(data + at, data + at + 1, size - at - 1);
        return size - 1;
    default:
        memmove(data + at + 1, data + at, size - at);
        data[at] = (uint8_t)random_word();
        return size + 1;
    }
}

static size_t mutate_some(uint8_t *data, size_t size)
{
    for (uint32_t left = random_below(4); left > 0; left--) {
        size = mutate(data, size);
    }
    return size;
}

static size_t random_fields_text(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(0x21 + random_below(0x5e));
    }
    return size;
}

/* In range, with limits met exactly now and then. `texts` holds what the order borrows. */
static struct tg_order random_order(uint8_t texts[64])
{
    struct tg_order order = {.sale_id = random_number(), .user_id = random_number()};
    bool most = random_below(8) == 0;
    order.sale_id += order.sale_id == 0;
    order.quantity = most ? TG_QUANTITY_MAX : 1 + random_below(TG_QUANTITY_MAX);
    order.unit_price_minor =
        most ? TG_PRICE_MINOR_MAX : (int64_t)(random_number() % (TG_PRICE_MINOR_MAX + 1));
    order.channel = most ? TG_CHANNEL_MAX : (uint16_t)random_below(3);
    for (size_t i = 0; i < TG_REQUEST_ID_BYTES; i++) {
        order.request_id[i] = (uint8_t)random_word();
    }
    order.sku_bytes = most ? TG_SKU_BYTES_MAX : (uint8_t)(1 + random_below(TG_SKU_BYTES_MAX));
    order.external_bytes = (uint8_t)random_below(TG_EXTERNAL_BYTES_MAX + 1);
    order.lane = (uint8_t)random_below(TG_LANES);
    random_fields_text(texts, 64);
    order.sku = texts;
    order.external_id = texts + 32;
    return order;
}

static struct tg_answer random_answer(void)
{
    return (struct tg_answer){
        .order_id = random_number(),
        .unit_price_minor = (int64_t)random_number(),
        .accepted_at_ms = (int64_t)random_number(),
        .retry_after_ms = (uint32_t)random_number(),
        .verdict = (uint8_t)random_below(TG_VERDICT_COUNT),
        .field = (uint8_t)(1 + random_below(TG_FIELD_LADDER)),
        .replayed = (uint8_t)random_below(2),
    };
}

/* --- the same by protobuf-c ---------------------------------------------------------------------
 */

struct pb_order {
    Tidegate__V1__PlaceOrderRequest message;
    char sku[TG_SKU_BYTES_MAX + 1];
};

static void pb_from_order(struct pb_order *out, const struct tg_order *order)
{
    tidegate__v1__place_order_request__init(&out->message);
    memset(out->sku, 0, sizeof out->sku);
    memcpy(out->sku, order->sku, order->sku_bytes);
    out->message.request_id.data = (uint8_t *)(uintptr_t)order->request_id;
    out->message.request_id.len = TG_REQUEST_ID_BYTES;
    out->message.sale_id = order->sale_id;
    out->message.sku = out->sku;
    out->message.user_id = order->user_id;
    out->message.quantity = order->quantity;
    out->message.unit_price_minor = order->unit_price_minor;
    out->message.channel = order->channel;
    out->message.external_id.data = (uint8_t *)(uintptr_t)order->external_id;
    out->message.external_id.len = order->external_bytes;
    out->message.lane = (Tidegate__V1__Lane)order->lane;
}

static void pb_from_answer(Tidegate__V1__PlaceOrderResponse *out, const struct tg_answer *answer)
{
    tidegate__v1__place_order_response__init(out);
    out->verdict = (Tidegate__V1__Verdict)answer->verdict;
    out->order_id = answer->order_id;
    out->replayed = answer->replayed;
    out->unit_price_minor = answer->unit_price_minor;
    out->accepted_at_ms = answer->accepted_at_ms;
    out->retry_after_ms = answer->retry_after_ms;
    if (answer->verdict == TG_INVALID_ARGUMENT) {
        out->field = (char *)(uintptr_t)tg_field_name(answer->field);
        out->message = (char *)(uintptr_t)tg_field_advice(answer->field);
    }
}

/* Packs `message` behind its length prefix, as parseDelimitedFrom reads it. */
static size_t pb_frame(const ProtobufCMessage *message, uint8_t *out)
{
    size_t head = write_varint(out, protobuf_c_message_get_packed_size(message), 0);
    return head + protobuf_c_message_pack(message, out + head);
}

static bool same_order(const struct tg_order *a, const struct tg_order *b)
{
    return memcmp(a->request_id, b->request_id, TG_REQUEST_ID_BYTES) == 0 &&
           a->sale_id == b->sale_id && a->user_id == b->user_id &&
           a->unit_price_minor == b->unit_price_minor && a->quantity == b->quantity &&
           a->channel == b->channel && a->lane == b->lane && a->sku_bytes == b->sku_bytes &&
           a->external_bytes == b->external_bytes && memcmp(a->sku, b->sku, a->sku_bytes) == 0 &&
           (a->external_bytes == 0 ||
            memcmp(a->external_id, b->external_id, a->external_bytes) == 0);
}

static bool same_answer(const struct tg_answer *a, const struct tg_answer *b)
{
    return a->order_id == b->order_id && a->unit_price_minor == b->unit_price_minor &&
           a->accepted_at_ms == b->accepted_at_ms && a->retry_after_ms == b->retry_after_ms &&
           a->verdict == b->verdict && a->replayed == b->replayed;
}

/* --- orders ------------------------------------------------------------------------------------
 */

static const uint8_t order_wires[] = {0,           WIRE_BYTES,  WIRE_VARINT, WIRE_BYTES,
                                      WIRE_VARINT, WIRE_VARINT, WIRE_VARINT, WIRE_VARINT,
                                      WIRE_BYTES,  WIRE_BYTES,  WIRE_VARINT};
#define ORDER_LINES 9

static bool naive_sku(struct tg_bytes sku)
{
    bool good = sku.size >= 1 && sku.size <= 32;
    for (size_t i = 0; i < sku.size; i++) {
        good = good && sku.data[i] >= 0x21 && sku.data[i] <= 0x7e;
    }
    return good;
}

static enum tg_field naive_first_wrong(const struct scan *scanned)
{
    if (last_of(scanned, 1).data.size != 16) {
        return TG_FIELD_REQUEST_ID;
    }
    if (last_of(scanned, 2).value == 0) {
        return TG_FIELD_SALE_ID;
    }
    if (!naive_sku(last_of(scanned, 3).data)) {
        return TG_FIELD_SKU;
    }
    if (last_of(scanned, 5).value - 1 >= 1000000) {
        return TG_FIELD_QUANTITY;
    }
    if ((int64_t)last_of(scanned, 6).value < 0 || last_of(scanned, 6).value > 1000000000000) {
        return TG_FIELD_UNIT_PRICE;
    }
    if (last_of(scanned, 7).value > 65535) {
        return TG_FIELD_CHANNEL;
    }
    if (last_of(scanned, 8).data.size > 32) {
        return TG_FIELD_EXTERNAL_ID;
    }
    return last_of(scanned, 10).value > 3 ? TG_FIELD_LANE : TG_FIELD_NONE;
}

/* What stands before the first of the `lines`; the whole message when there is none. */
static struct tg_bytes before_lines(struct tg_bytes message)
{
    static struct scan scanned;
    scan(message, &scanned); /* also when it broke off: what it saw counts */
    for (size_t i = 0; i < scanned.count; i++) {
        const struct scanned_field *field = &scanned.fields[i];
        if (field->number == ORDER_LINES && field->wire == WIRE_BYTES) {
            message.size = (size_t)(field->all.data - message.data);
        }
        if (field->all.data >= message.data + message.size) {
            break;
        }
    }
    return message;
}

static bool pb_refuses(const ProtobufCMessageDescriptor *descriptor, struct tg_bytes message)
{
    ProtobufCMessage *pb = protobuf_c_message_unpack(descriptor, NULL, message.size, message.data);
    protobuf_c_message_free_unpacked(pb, NULL);
    return pb == NULL;
}

/* Decodes by hand, by protobuf-c and by the naive scanner, and compares. Counts the results. */
static void compare_order(const uint8_t *data, size_t size, unsigned counts[4])
{
    static struct scan scanned;
    struct tg_bytes message = at_edge(data, size);
    struct tg_bytes before = before_lines(message);
    struct tg_order order;
    enum tg_field field = TG_FIELD_LIMIT;
    enum tg_decode decoded = tg_order_decode(message, &order, &field);
    counts[decoded]++;
    if (before.size < message.size) {
        bool refused = pb_refuses(&tidegate__v1__place_order_request__descriptor, before);
        check(decoded == (refused ? TG_DECODE_MALFORMED : TG_DECODE_CART), data, size);
        check(field == TG_FIELD_LIMIT, data, size);
        return;
    }

    Tidegate__V1__PlaceOrderRequest *pb =
        tidegate__v1__place_order_request__unpack(NULL, message.size, message.data);
    check((pb == NULL) == (decoded == TG_DECODE_MALFORMED), data, size);
    if (pb == NULL) {
        return;
    }
    check(scan(message, &scanned), data, size);
    check(field == naive_first_wrong(&scanned), data, size);
    check((field == TG_FIELD_NONE) == (decoded == TG_DECODE_OK), data, size);

    check(order.sale_id == pb->sale_id && order.user_id == pb->user_id, data, size);
    check((uint32_t)last_of(&scanned, 5).value == pb->quantity, data, size);
    if (decoded == TG_DECODE_OK) {
        struct tg_order want = {
            .sale_id = pb->sale_id,
            .user_id = pb->user_id,
            .unit_price_minor = pb->unit_price_minor,
            .sku = (const uint8_t *)pb->sku,
            .external_id = pb->external_id.data,
            .quantity = pb->quantity,
            .channel = (uint16_t)pb->channel,
            .sku_bytes = (uint8_t)strlen(pb->sku),
            .external_bytes = (uint8_t)pb->external_id.len,
            .lane = pb->lane == TIDEGATE__V1__LANE__LANE_FLASH ? TG_LANE_FLASH : (uint8_t)pb->lane,
        };
        memcpy(want.request_id, pb->request_id.data, TG_REQUEST_ID_BYTES);
        check(same_order(&order, &want), data, size);
    }
    tidegate__v1__place_order_request__free_unpacked(pb, NULL);
}

Test(codec, order_frames_are_those_of_protobuf_c_and_read_back_the_same)
{
    for (round_now = 0; round_now < ROUNDS; round_now++) {
        uint8_t texts[64];
        uint8_t want[MESSAGE_MAX];
        uint8_t out[TG_ORDER_FRAME_BYTES_MAX];
        struct tg_order order = random_order(texts);
        struct pb_order pb;
        pb_from_order(&pb, &order);
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        request.correlation_id = random_number();
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
        request.place_order = &pb.message;

        size_t size = tg_order_frame(out, request.correlation_id, &order);
        check(size == pb_frame(&request.base, want), out, size);
        check(memcmp(out, want, size) == 0, out, size);

        struct tg_bytes body;
        size_t used;
        struct tg_envelope envelope;
        struct tg_order back;
        enum tg_field field;
        check(tg_frame_next(at_edge(out, size), &body, &used) == TG_FRAME_WHOLE, out, size);
        check(used == size, out, size);
        check(tg_request_decode(body, &envelope) == TG_DECODE_OK, out, size);
        check(envelope.correlation_id == request.correlation_id, out, size);
        check(envelope.kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, out, size);
        check(!envelope.unknown, out, size);
        check(tg_order_decode(envelope.body, &back, &field) == TG_DECODE_OK, out, size);
        check(field == TG_FIELD_NONE && same_order(&order, &back), out, size);
    }
}

Test(codec, an_order_reads_the_same_with_its_fields_in_any_order)
{
    static struct scan fields;
    for (round_now = 0; round_now < ROUNDS; round_now++) {
        uint8_t texts[64];
        uint8_t packed[MESSAGE_MAX];
        uint8_t shuffled[MESSAGE_MAX];
        struct tg_order order = random_order(texts);
        struct pb_order pb;
        pb_from_order(&pb, &order);
        size_t size = tidegate__v1__place_order_request__pack(&pb.message, packed);
        check(scan((struct tg_bytes){packed, size}, &fields), packed, size);

        size_t at = 0;
        for (size_t left = fields.count; left > 0; left--) {
            size_t pick = random_below((uint32_t)left);
            memcpy(shuffled + at, fields.fields[pick].all.data, fields.fields[pick].all.size);
            at += fields.fields[pick].all.size;
            fields.fields[pick] = fields.fields[left - 1];
        }
        struct tg_order back;
        enum tg_field field;
        enum tg_decode decoded = tg_order_decode(at_edge(shuffled, size), &back, &field);
        check(decoded == TG_DECODE_OK && same_order(&order, &back), shuffled, size);
    }
}

Test(codec, orders_of_random_and_damaged_bytes_read_as_protobuf_c_reads_them)
{
    unsigned counts[4] = {0};
    for (round_now = 0; round_now < 2 * ROUNDS; round_now++) {
        uint8_t data[MESSAGE_MAX];
        uint8_t texts[64];
        struct pb_order pb;
        struct tg_order order = random_order(texts);
        pb_from_order(&pb, &order);
        size_t size = tidegate__v1__place_order_request__pack(&pb.message, data);
        if (round_now % 2 == 0) {
            size = random_below(2) * size;
            size += write_random_message(data + size, order_wires, sizeof order_wires);
        }
        size = mutate_some(data, size);
        compare_order(data, size, counts);
    }
    cr_assert_gt(counts[TG_DECODE_OK], ROUNDS / 10, "the generator makes too few good orders");
    cr_assert_gt(counts[TG_DECODE_INVALID], ROUNDS / 10);
    cr_assert_gt(counts[TG_DECODE_MALFORMED], ROUNDS / 10);
    cr_assert_gt(counts[TG_DECODE_CART], ROUNDS / 10);
}

Test(codec, every_prefix_of_an_order_reads_as_protobuf_c_reads_it)
{
    unsigned counts[4] = {0};
    for (round_now = 0; round_now < 500; round_now++) {
        uint8_t texts[64];
        uint8_t data[MESSAGE_MAX];
        struct pb_order pb;
        struct tg_order order = random_order(texts);
        pb_from_order(&pb, &order);
        size_t size = tidegate__v1__place_order_request__pack(&pb.message, data);
        for (size_t cut = 0; cut <= size; cut++) {
            compare_order(data, cut, counts);
        }
    }
    cr_assert_geq(counts[TG_DECODE_OK], 500);
}

/* --- what INVALID names -------------------------------------------------------------------------
 */

/* A good order, to be spoiled by fields written behind it: the last one wins. */
struct spoiled {
    uint8_t data[512];
    size_t size;
};

static struct spoiled good_order(void)
{
    uint8_t texts[64];
    struct tg_order order = random_order(texts);
    struct pb_order pb;
    pb_from_order(&pb, &order);
    struct spoiled out;
    out.size = tidegate__v1__place_order_request__pack(&pb.message, out.data);
    return out;
}

static void spoil_number(struct spoiled *order, uint64_t field, uint64_t value)
{
    order->size += write_varint(order->data + order->size, field << 3 | WIRE_VARINT, 0);
    order->size += write_varint(order->data + order->size, value, 0);
}

static void spoil_bytes(struct spoiled *order, uint64_t field, const void *bytes, size_t size)
{
    order->size += write_varint(order->data + order->size, field << 3 | WIRE_BYTES, 0);
    order->size += write_varint(order->data + order->size, size, 0);
    memcpy(order->data + order->size, bytes, size);
    order->size += size;
}

static enum tg_field wrong_field(const struct spoiled *order)
{
    struct tg_order out;
    enum tg_field field = TG_FIELD_LIMIT;
    enum tg_decode decoded = tg_order_decode(at_edge(order->data, order->size), &out, &field);
    cr_assert_eq(decoded, field == TG_FIELD_NONE ? TG_DECODE_OK : TG_DECODE_INVALID);
    return field;
}

static enum tg_field wrong_number(uint64_t field, uint64_t value)
{
    struct spoiled order = good_order();
    spoil_number(&order, field, value);
    return wrong_field(&order);
}

static enum tg_field wrong_bytes(uint64_t field, const void *bytes, size_t size)
{
    struct spoiled order = good_order();
    spoil_bytes(&order, field, bytes, size);
    return wrong_field(&order);
}

Test(codec, numbers_out_of_range_are_named_also_beyond_32_bits)
{
    cr_assert_eq(wrong_number(2, 0), TG_FIELD_SALE_ID);
    cr_assert_eq(wrong_number(2, UINT64_MAX), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(4, 0), TG_FIELD_NONE);

    cr_assert_eq(wrong_number(5, 0), TG_FIELD_QUANTITY);
    cr_assert_eq(wrong_number(5, 1), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(5, 1000000), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(5, 1000001), TG_FIELD_QUANTITY);
    cr_assert_eq(wrong_number(5, (1ull << 32) + 1), TG_FIELD_QUANTITY);
    cr_assert_eq(wrong_number(5, UINT64_MAX), TG_FIELD_QUANTITY);

    cr_assert_eq(wrong_number(6, 0), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(6, TG_PRICE_MINOR_MAX), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(6, TG_PRICE_MINOR_MAX + 1), TG_FIELD_UNIT_PRICE);
    cr_assert_eq(wrong_number(6, (uint64_t)-1), TG_FIELD_UNIT_PRICE);
    cr_assert_eq(wrong_number(6, (uint64_t)INT64_MIN), TG_FIELD_UNIT_PRICE);

    cr_assert_eq(wrong_number(7, 65535), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(7, 65536), TG_FIELD_CHANNEL);
    cr_assert_eq(wrong_number(7, 1ull << 32), TG_FIELD_CHANNEL);

    cr_assert_eq(wrong_number(10, 3), TG_FIELD_NONE);
    cr_assert_eq(wrong_number(10, 4), TG_FIELD_LANE);
    cr_assert_eq(wrong_number(10, 1ull << 32), TG_FIELD_LANE);
}

Test(codec, an_order_that_names_no_lane_is_in_the_flash_lane)
{
    static const enum tg_lane lanes[] = {TG_LANE_FLASH, TG_LANE_VIP, TG_LANE_PREPAID,
                                         TG_LANE_FLASH};
    for (uint64_t number = 0; number < 4; number++) {
        struct spoiled order = good_order();
        spoil_number(&order, 10, number);
        struct tg_order out;
        enum tg_field field;
        cr_assert_eq(tg_order_decode(at_edge(order.data, order.size), &out, &field), TG_DECODE_OK);
        cr_assert_eq(out.lane, lanes[number]);
    }
}

Test(codec, an_order_with_lines_is_a_cart_whatever_else_is_wrong)
{
    struct spoiled order = {.size = 0};
    struct tg_order out;
    enum tg_field field = TG_FIELD_LIMIT;
    spoil_number(&order, 5, 0);
    spoil_bytes(&order, 9, "", 0);
    spoil_number(&order, 7, 70000);
    cr_assert_eq(tg_order_decode(at_edge(order.data, order.size), &out, &field), TG_DECODE_CART);
    cr_assert_eq(field, TG_FIELD_LIMIT);
}

Test(codec, a_sku_is_one_to_32_bytes_of_printable_ascii_without_spaces)
{
    for (size_t size = 0; size <= 40; size++) {
        uint8_t sku[40];
        memset(sku, 'A', sizeof sku);
        bool good = size >= 1 && size <= 32;
        cr_assert_eq(wrong_bytes(3, sku, size), good ? TG_FIELD_NONE : TG_FIELD_SKU, "%zu", size);
        cr_assert_eq(tg_sku_is_valid(at_edge(sku, size)), good, "%zu", size);
    }
    for (size_t size = 1; size <= 32; size++) {
        for (size_t at = 0; at < size; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t sku[32];
                memset(sku, byte % 2 ? 0x21 : 0x7e, sizeof sku);
                sku[at] = (uint8_t)byte;
                bool good = byte >= 0x21 && byte <= 0x7e;
                check(tg_sku_is_valid(at_edge(sku, size)) == good, sku, size);
                check(wrong_bytes(3, sku, size) == (good ? TG_FIELD_NONE : TG_FIELD_SKU), sku,
                      size);
            }
        }
    }
}

Test(codec, ids_of_the_wrong_size_are_named)
{
    uint8_t bytes[64] = {0};
    for (size_t size = 0; size <= sizeof bytes; size++) {
        cr_assert_eq(wrong_bytes(1, bytes, size), size == 16 ? TG_FIELD_NONE : TG_FIELD_REQUEST_ID,
                     "%zu", size);
        cr_assert_eq(wrong_bytes(8, bytes, size), size <= 32 ? TG_FIELD_NONE : TG_FIELD_EXTERNAL_ID,
                     "%zu", size);
    }
    struct tg_order order;
    enum tg_field field;
    cr_assert_eq(tg_order_decode((struct tg_bytes){NULL, 0}, &order, &field), TG_DECODE_INVALID);
    cr_assert_eq(field, TG_FIELD_REQUEST_ID);
}

Test(codec, the_first_wrong_field_is_named_and_the_rest_is_kept)
{
    struct spoiled order = good_order();
    uint8_t bytes[33] = {0};
    spoil_bytes(&order, 8, bytes, 33);
    cr_assert_eq(wrong_field(&order), TG_FIELD_EXTERNAL_ID);
    spoil_number(&order, 7, 70000);
    cr_assert_eq(wrong_field(&order), TG_FIELD_CHANNEL);
    spoil_number(&order, 6, UINT64_MAX);
    cr_assert_eq(wrong_field(&order), TG_FIELD_UNIT_PRICE);
    spoil_number(&order, 5, 0);
    cr_assert_eq(wrong_field(&order), TG_FIELD_QUANTITY);
    spoil_bytes(&order, 3, bytes, 33);
    cr_assert_eq(wrong_field(&order), TG_FIELD_SKU);
    spoil_number(&order, 2, 0);
    cr_assert_eq(wrong_field(&order), TG_FIELD_SALE_ID);
    spoil_number(&order, 4, 77);
    spoil_bytes(&order, 1, bytes, 15);
    cr_assert_eq(wrong_field(&order), TG_FIELD_REQUEST_ID);

    struct tg_order out;
    enum tg_field field;
    tg_order_decode(at_edge(order.data, order.size), &out, &field);
    cr_assert_eq(out.user_id, 77);
    cr_assert_eq(out.sku_bytes, 0);
    cr_assert_eq(out.external_bytes, 0);
    cr_assert_eq(out.channel, 0);
    cr_assert_eq(out.unit_price_minor, 0);
}

Test(codec, a_sku_that_is_too_long_is_never_encoded, .signal = SIGABRT)
{
    uint8_t out[TG_ORDER_FRAME_BYTES_MAX];
    uint8_t sku[TG_SKU_BYTES_MAX + 1] = "x";
    struct tg_order order = {.sku = sku, .sku_bytes = sizeof sku};
    tg_order_frame(out, 1, &order);
}

/* --- answers -----------------------------------------------------------------------------------
 */

static const uint8_t answer_wires[] = {0,           WIRE_VARINT, WIRE_VARINT, WIRE_VARINT,
                                       WIRE_VARINT, WIRE_VARINT, WIRE_VARINT, WIRE_BYTES,
                                       WIRE_BYTES,  WIRE_BYTES};
#define ANSWER_LINE_REFUSALS 9

/* Copies an answer without its line_refusals, which are stepped over unread. */
static size_t without_refusals(uint8_t *out, struct tg_bytes message)
{
    static struct scan scanned;
    if (!scan(message, &scanned)) {
        memcpy(out, message.data, message.size);
        return message.size;
    }
    size_t size = 0;
    for (size_t i = 0; i < scanned.count; i++) {
        const struct scanned_field *field = &scanned.fields[i];
        if (field->number != ANSWER_LINE_REFUSALS || field->wire != WIRE_BYTES) {
            memcpy(out + size, field->all.data, field->all.size);
            size += field->all.size;
        }
    }
    return size;
}

static void compare_answer(const uint8_t *data, size_t size, unsigned counts[4])
{
    struct tg_bytes message = at_edge(data, size);
    struct tg_answer answer = {.field = 1};
    enum tg_decode decoded = tg_answer_decode(message, &answer);
    counts[decoded]++;
    uint8_t read[MESSAGE_MAX];
    size_t read_bytes = without_refusals(read, message);
    Tidegate__V1__PlaceOrderResponse *pb =
        tidegate__v1__place_order_response__unpack(NULL, read_bytes, read);
    check(decoded == (pb == NULL ? TG_DECODE_MALFORMED : TG_DECODE_OK), data, size);
    if (pb == NULL) {
        return;
    }
    bool known = (uint32_t)pb->verdict < TG_VERDICT_COUNT;
    struct tg_answer want = {
        .order_id = pb->order_id,
        .unit_price_minor = pb->unit_price_minor,
        .accepted_at_ms = pb->accepted_at_ms,
        .retry_after_ms = pb->retry_after_ms,
        .verdict = known ? (uint8_t)pb->verdict : 0,
        .replayed = pb->replayed != 0,
    };
    check(same_answer(&answer, &want) && answer.field == TG_FIELD_NONE, data, size);
    tidegate__v1__place_order_response__free_unpacked(pb, NULL);
}

Test(codec, answer_frames_are_those_of_protobuf_c_and_read_back_the_same)
{
    for (round_now = 0; round_now < ROUNDS; round_now++) {
        uint8_t want[MESSAGE_MAX];
        uint8_t out[TG_ANSWER_FRAME_BYTES_MAX];
        struct tg_answer answer = random_answer();
        Tidegate__V1__PlaceOrderResponse pb;
        pb_from_answer(&pb, &answer);
        Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
        response.correlation_id = random_number();
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER;
        response.place_order = &pb;

        size_t size = tg_answer_frame(out, response.correlation_id, &answer);
        check(size == pb_frame(&response.base, want), out, size);
        check(memcmp(out, want, size) == 0, out, size);

        struct tg_bytes body;
        size_t used;
        struct tg_envelope envelope;
        struct tg_answer back;
        struct tg_bytes bytes = at_edge(out, size);
        check(tg_frame_next_response(bytes, &body, &used) == TG_FRAME_WHOLE, out, size);
        check(tg_response_decode(body, &envelope) == TG_DECODE_OK, out, size);
        check(envelope.correlation_id == response.correlation_id, out, size);
        check(tg_answer_decode(envelope.body, &back) == TG_DECODE_OK, out, size);
        check(same_answer(&answer, &back), out, size);
    }
}

Test(codec, answers_of_random_and_damaged_bytes_read_as_protobuf_c_reads_them)
{
    unsigned counts[4] = {0};
    for (round_now = 0; round_now < 2 * ROUNDS; round_now++) {
        uint8_t data[MESSAGE_MAX];
        struct tg_answer answer = random_answer();
        Tidegate__V1__PlaceOrderResponse pb;
        pb_from_answer(&pb, &answer);
        size_t size = tidegate__v1__place_order_response__pack(&pb, data);
        if (round_now % 2 == 0) {
            size = write_random_message(data, answer_wires, sizeof answer_wires);
        }
        size = mutate_some(data, size);
        compare_answer(data, size, counts);
    }
    cr_assert_gt(counts[TG_DECODE_OK], ROUNDS / 10);
    cr_assert_gt(counts[TG_DECODE_MALFORMED], ROUNDS / 10);
}

Test(codec, a_verdict_beyond_this_build_never_looks_like_one_it_knows)
{
    const uint64_t unknown[] = {TG_VERDICT_COUNT, 255, 256 + TG_ACCEPTED, UINT64_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        uint8_t data[16] = {1 << 3};
        struct tg_answer answer;
        size_t size = 1 + write_varint(data + 1, unknown[i], 0);
        cr_assert_eq(tg_answer_decode(at_edge(data, size), &answer), TG_DECODE_OK);
        cr_assert_eq(answer.verdict, TG_UNSPECIFIED);
    }
}

/* --- envelopes ---------------------------------------------------------------------------------
 */

/* Kinds stand at 2 to 45, with gaps, and 15 is one only in a Response: random fields skip them. */
#define ENVELOPE_FIELDS 46

static const uint8_t envelope_wires[ENVELOPE_FIELDS] = {[1] = WIRE_VARINT,
                                                        [2 ... ENVELOPE_FIELDS - 1] = WIRE_BYTES};

static size_t write_random_envelope(uint8_t *out)
{
    size_t size = 0;
    for (uint32_t left = random_below(4); left > 0; left--) {
        if (random_below(2) == 0) {
            size += write_random_field(out + size, envelope_wires, sizeof envelope_wires);
            continue;
        }
        uint8_t body[MESSAGE_MAX];
        size_t body_bytes = write_random_message(body, order_wires, sizeof order_wires);
        uint64_t kind = 1 + random_below(ENVELOPE_FIELDS);
        size += write_varint(out + size, kind << 3 | WIRE_BYTES, 0);
        size += write_varint(out + size, body_bytes, 0);
        memcpy(out + size, body, body_bytes);
        size += body_bytes;
    }
    return size;
}

static const ProtobufCMessageDescriptor *kind_of(const ProtobufCMessageDescriptor *envelope,
                                                 uint64_t number)
{
    const ProtobufCFieldDescriptor *field =
        number > UINT32_MAX ? NULL
                            : protobuf_c_message_descriptor_get_field(envelope, (unsigned)number);
    return field == NULL ? NULL : (const ProtobufCMessageDescriptor *)field->descriptor;
}

/* What protobuf-c says of an envelope, its body aside. */
struct naive_envelope {
    bool malformed;
    bool unknown;
    uint64_t correlation_id;
    struct scanned_field kind;
};

static struct naive_envelope naive_decode(struct tg_bytes message,
                                          const ProtobufCMessageDescriptor *descriptor)
{
    static struct scan scanned;
    struct naive_envelope out = {.malformed = !scan(message, &scanned)};
    for (size_t i = 0; i < scanned.count && !out.malformed; i++) {
        struct scanned_field field = scanned.fields[i];
        if (field.number == 1) {
            out.malformed = field.wire != WIRE_VARINT;
            out.correlation_id = field.value;
        } else if (kind_of(descriptor, field.number) != NULL) {
            out.malformed = field.wire != WIRE_BYTES || out.kind.number != 0;
            out.kind = field;
        } else {
            out.unknown = true;
        }
    }
    return out;
}

static void compare_envelope(const uint8_t *data, size_t size,
                             const ProtobufCMessageDescriptor *descriptor, unsigned counts[4])
{
    struct tg_bytes message = at_edge(data, size);
    struct tg_envelope envelope;
    bool request = descriptor == &tidegate__v1__request__descriptor;
    enum tg_decode decoded =
        request ? tg_request_decode(message, &envelope) : tg_response_decode(message, &envelope);
    counts[decoded]++;
    struct naive_envelope want = naive_decode(message, descriptor);
    check(decoded == (want.malformed ? TG_DECODE_MALFORMED : TG_DECODE_OK), data, size);
    if (want.malformed) {
        return;
    }
    check(envelope.correlation_id == want.correlation_id, data, size);
    check(envelope.kind == want.kind.number && envelope.unknown == want.unknown, data, size);
    check(envelope.body.size == want.kind.data.size, data, size);
    check(envelope.kind == 0 || envelope.body.data == want.kind.data.data, data, size);

    /* protobuf-c refuses this envelope only when it refuses the body. */
    ProtobufCMessage *whole =
        protobuf_c_message_unpack(descriptor, NULL, message.size, message.data);
    ProtobufCMessage *body = NULL;
    if (envelope.kind != 0) {
        body = protobuf_c_message_unpack(kind_of(descriptor, envelope.kind), NULL,
                                         envelope.body.size, envelope.body.data);
    }
    check((whole != NULL) == (envelope.kind == 0 || body != NULL), data, size);
    if (whole != NULL && request) {
        Tidegate__V1__Request *pb = (Tidegate__V1__Request *)(void *)whole;
        check(envelope.correlation_id == pb->correlation_id, data, size);
        check(envelope.kind == (uint32_t)pb->kind_case, data, size);
        check(envelope.unknown == (whole->n_unknown_fields > 0), data, size);
    }
    protobuf_c_message_free_unpacked(whole, NULL);
    protobuf_c_message_free_unpacked(body, NULL);
}

Test(codec, envelopes_of_random_and_damaged_bytes_read_as_protobuf_c_reads_them)
{
    const ProtobufCMessageDescriptor *descriptors[] = {&tidegate__v1__request__descriptor,
                                                       &tidegate__v1__response__descriptor};
    unsigned counts[4] = {0};
    for (round_now = 0; round_now < 2 * ROUNDS; round_now++) {
        uint8_t data[MESSAGE_MAX];
        size_t size = mutate_some(data, write_random_envelope(data));
        compare_envelope(data, size, descriptors[round_now % 2], counts);
    }
    cr_assert_gt(counts[TG_DECODE_OK], ROUNDS / 10);
    cr_assert_gt(counts[TG_DECODE_MALFORMED], ROUNDS / 10);
}

Test(codec, no_bytes_at_all_are_an_empty_message)
{
    const struct tg_bytes nothing = {NULL, 0};
    struct tg_bytes body = nothing;
    struct tg_bytes element;
    struct tg_envelope envelope = {.kind = 9, .unknown = true};
    struct tg_answer answer = {.verdict = TG_ACCEPTED};
    bool malformed = true;
    cr_assert_eq(tg_request_decode(nothing, &envelope), TG_DECODE_OK);
    cr_assert_eq(envelope.kind, 0);
    cr_assert_not(envelope.unknown);
    cr_assert_eq(tg_response_decode(nothing, &envelope), TG_DECODE_OK);
    cr_assert_eq(tg_answer_decode(nothing, &answer), TG_DECODE_OK);
    cr_assert_eq(answer.verdict, TG_UNSPECIFIED);
    cr_assert_eq(tg_answers_decode(nothing, &answer), TG_DECODE_OK);
    cr_assert_not(tg_orders_next(&body, &element, &malformed));
    cr_assert_not(malformed);
}

Test(codec, every_kind_is_known_to_its_envelope)
{
    for (uint8_t number = 1; number < 64; number++) {
        uint8_t data[4];
        size_t size = write_varint(data, (uint64_t)number << 3 | WIRE_BYTES, 0);
        data[size++] = 0;
        unsigned counts[4] = {0};
        compare_envelope(data, size, &tidegate__v1__request__descriptor, counts);
        compare_envelope(data, size, &tidegate__v1__response__descriptor, counts);
        cr_assert_eq(counts[TG_DECODE_OK], number == 1 ? 0 : 2);
    }
}

/* --- batches -----------------------------------------------------------------------------------
 */

static void compare_batch(const uint8_t *data, size_t size, bool orders, unsigned counts[4])
{
    struct tg_bytes rest = at_edge(data, size);
    struct tg_bytes whole = rest;
    struct tg_bytes element;
    bool malformed = true;
    bool element_malformed = false;
    size_t count = 0;
    struct tg_order order;
    struct tg_answer answer;
    enum tg_field field;
    while (orders ? tg_orders_next(&rest, &element, &malformed)
                  : tg_answers_next(&rest, &element, &malformed)) {
        enum tg_decode decoded =
            orders ? tg_order_decode(element, &order, &field) : tg_answer_decode(element, &answer);
        bool refused = pb_refuses(orders ? &tidegate__v1__place_order_request__descriptor
                                         : &tidegate__v1__place_order_response__descriptor,
                                  element);
        check(refused || decoded != TG_DECODE_MALFORMED, data, size);
        element_malformed |= refused;
        count++;
    }
    check(rest.size == 0, data, size);
    counts[malformed ? TG_DECODE_MALFORMED : TG_DECODE_OK]++;

    const ProtobufCMessageDescriptor *descriptor =
        orders ? &tidegate__v1__place_orders_request__descriptor
               : &tidegate__v1__place_orders_response__descriptor;
    ProtobufCMessage *pb = protobuf_c_message_unpack(descriptor, NULL, whole.size, whole.data);
    check((pb == NULL) == (malformed || element_malformed), data, size);
    if (pb != NULL) {
        check(count == (orders ? ((Tidegate__V1__PlaceOrdersRequest *)(void *)pb)->n_orders
                               : ((Tidegate__V1__PlaceOrdersResponse *)(void *)pb)->n_results),
              data, size);
    }
    if (!orders) {
        enum tg_decode decoded = tg_answers_decode(whole, &answer);
        check(decoded == (malformed ? TG_DECODE_MALFORMED : TG_DECODE_OK), data, size);
    }
    if (!orders && pb != NULL) {
        Tidegate__V1__PlaceOrdersResponse *batch = (Tidegate__V1__PlaceOrdersResponse *)(void *)pb;
        bool known = (uint32_t)batch->verdict < TG_VERDICT_COUNT;
        struct tg_answer want = {.verdict = known ? (uint8_t)batch->verdict : 0,
                                 .retry_after_ms = batch->retry_after_ms};
        check(same_answer(&answer, &want), data, size);
    }
    protobuf_c_message_free_unpacked(pb, NULL);
}

Test(codec, batches_of_random_and_damaged_bytes_split_as_protobuf_c_splits_them)
{
    static const uint8_t orders_wires[] = {0, WIRE_BYTES};
    static const uint8_t answers_wires[] = {0,          WIRE_VARINT, WIRE_BYTES,
                                            WIRE_BYTES, WIRE_BYTES,  WIRE_VARINT};
    unsigned counts[4] = {0};
    for (round_now = 0; round_now < 2 * ROUNDS; round_now++) {
        uint8_t data[MESSAGE_MAX];
        size_t size = 0;
        bool orders = round_now % 2 == 0;
        for (uint32_t left = random_below(6); left > 0; left--) {
            uint8_t texts[64];
            struct tg_order order = random_order(texts);
            struct tg_answer answer = random_answer();
            size += orders ? tg_orders_element(data + size, &order)
                           : tg_answers_element(data + size, &answer);
            if (random_below(8) == 0) {
                size += orders
                            ? write_random_field(data + size, orders_wires, sizeof orders_wires)
                            : write_random_field(data + size, answers_wires, sizeof answers_wires);
            }
        }
        compare_batch(data, mutate_some(data, size), orders, counts);
    }
    cr_assert_gt(counts[TG_DECODE_OK], ROUNDS / 10);
    cr_assert_gt(counts[TG_DECODE_MALFORMED], ROUNDS / 10);
}

/* Lays a head directly before elements that are there already. */
static struct tg_bytes whole_batch(uint8_t *room, size_t elements_bytes, uint64_t correlation_id,
                                   size_t (*put_head)(uint8_t *, uint64_t, size_t))
{
    uint8_t probe[TG_BATCH_HEAD_BYTES_MAX];
    size_t head_bytes = put_head(probe, correlation_id, elements_bytes);
    cr_assert_leq(head_bytes, TG_BATCH_HEAD_BYTES_MAX);
    uint8_t *start = room + TG_BATCH_HEAD_BYTES_MAX - head_bytes;
    put_head(start, correlation_id, elements_bytes);
    return (struct tg_bytes){start, head_bytes + elements_bytes};
}

Test(codec, whole_batches_are_those_of_protobuf_c)
{
    static uint8_t room[TG_FRAME_BATCH_BYTES_MAX];
    static uint8_t want[TG_FRAME_BATCH_BYTES_MAX];
    static struct pb_order pb_orders[TG_BATCH_ORDERS_MAX];
    static Tidegate__V1__PlaceOrderRequest *pb_list[TG_BATCH_ORDERS_MAX];
    static struct tg_order orders[TG_BATCH_ORDERS_MAX];
    static uint8_t texts[TG_BATCH_ORDERS_MAX][64];
    for (round_now = 0; round_now < 300; round_now++) {
        size_t count = round_now % 100 == 0 ? TG_BATCH_ORDERS_MAX : random_below(300);
        size_t elements_bytes = 0;
        for (size_t i = 0; i < count; i++) {
            orders[i] = random_order(texts[i]);
            pb_from_order(&pb_orders[i], &orders[i]);
            pb_list[i] = &pb_orders[i].message;
            elements_bytes +=
                tg_orders_element(room + TG_BATCH_HEAD_BYTES_MAX + elements_bytes, &orders[i]);
        }
        Tidegate__V1__PlaceOrdersRequest batch = TIDEGATE__V1__PLACE_ORDERS_REQUEST__INIT;
        batch.n_orders = count;
        batch.orders = pb_list;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        request.correlation_id = random_number();
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
        request.place_orders = &batch;

        struct tg_bytes frame =
            whole_batch(room, elements_bytes, request.correlation_id, tg_orders_head);
        size_t size = pb_frame(&request.base, want);
        check(frame.size == size && memcmp(frame.data, want, size) == 0, want, size);
        struct tg_bytes body;
        size_t used;
        check(tg_frame_next(frame, &body, &used) == TG_FRAME_WHOLE && used == size, want, size);
    }
}

Test(codec, whole_answered_batches_are_those_of_protobuf_c)
{
    static uint8_t room[TG_FRAME_BATCH_BYTES_MAX];
    static uint8_t want[TG_FRAME_BATCH_BYTES_MAX];
    static Tidegate__V1__PlaceOrderResponse pbs[TG_BATCH_ORDERS_MAX];
    static Tidegate__V1__PlaceOrderResponse *pb_list[TG_BATCH_ORDERS_MAX];
    for (round_now = 0; round_now < 300; round_now++) {
        size_t count = round_now % 100 == 0 ? TG_BATCH_ORDERS_MAX : random_below(300);
        size_t elements_bytes = 0;
        for (size_t i = 0; i < count; i++) {
            struct tg_answer answer = random_answer();
            pb_from_answer(&pbs[i], &answer);
            pb_list[i] = &pbs[i];
            elements_bytes +=
                tg_answers_element(room + TG_BATCH_HEAD_BYTES_MAX + elements_bytes, &answer);
        }
        Tidegate__V1__PlaceOrdersResponse batch = TIDEGATE__V1__PLACE_ORDERS_RESPONSE__INIT;
        batch.verdict = TIDEGATE__V1__VERDICT__VERDICT_OK;
        batch.n_results = count;
        batch.results = pb_list;
        Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
        response.correlation_id = random_number();
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS;
        response.place_orders = &batch;

        struct tg_bytes frame =
            whole_batch(room, elements_bytes, response.correlation_id, tg_answers_head);
        size_t size = pb_frame(&response.base, want);
        check(frame.size == size && memcmp(frame.data, want, size) == 0, want, size);
    }
}

/* --- room --------------------------------------------------------------------------------------
 */

Test(codec, nothing_is_written_beyond_the_promised_room)
{
    uint8_t texts[64];
    random_fields_text(texts, 64);
    struct tg_order order = {.sale_id = UINT64_MAX,
                             .user_id = UINT64_MAX,
                             .unit_price_minor = -1,
                             .sku = texts,
                             .external_id = texts,
                             .quantity = UINT32_MAX,
                             .channel = UINT16_MAX,
                             .sku_bytes = TG_SKU_BYTES_MAX,
                             .external_bytes = TG_EXTERNAL_BYTES_MAX};
    uint8_t *out = arena_end() - TG_ORDER_FRAME_BYTES_MAX;
    cr_assert_leq(tg_order_frame(out, UINT64_MAX, &order), TG_ORDER_FRAME_BYTES_MAX);
    cr_assert_leq(tg_orders_element(out, &order), TG_ORDER_FRAME_BYTES_MAX);

    out = arena_end() - TG_ANSWER_FRAME_BYTES_MAX;
    for (int field = TG_FIELD_NONE; field <= TG_FIELD_LADDER; field++) {
        struct tg_answer answer = {.order_id = UINT64_MAX,
                                   .unit_price_minor = -1,
                                   .accepted_at_ms = -1,
                                   .retry_after_ms = UINT32_MAX,
                                   .verdict = TG_INVALID_ARGUMENT,
                                   .field = (uint8_t)field,
                                   .replayed = 1};
        cr_assert_leq(tg_answer_frame(out, UINT64_MAX, &answer), TG_ANSWER_FRAME_BYTES_MAX);
        cr_assert_leq(tg_answers_element(out, &answer), TG_ANSWER_FRAME_BYTES_MAX);
    }
}

/* --- frames ------------------------------------------------------------------------------------
 */

struct seen {
    enum tg_frame frame;
    size_t used;
    struct tg_bytes body;
};

static struct seen look(const uint8_t *data, size_t size)
{
    struct seen seen = {.used = 99};
    seen.frame = tg_frame_next(at_edge(data, size), &seen.body, &seen.used);
    return seen;
}

/* Writes a prefix for `body_bytes` and the first bytes of a body. */
static size_t write_start(uint8_t *out, uint64_t body_bytes, const char *body, size_t size)
{
    size_t head = write_varint(out, body_bytes, 0);
    memcpy(out + head, body, size);
    return head + size;
}

static struct seen look_at_start(uint64_t body_bytes, const char *body, size_t size)
{
    uint8_t data[64];
    return look(data, write_start(data, body_bytes, body, size));
}

Test(codec, a_frame_cut_anywhere_is_partial_and_tells_its_size_once_known)
{
    const size_t sizes[] = {0, 1, 127, 128, 300, 16383, 16384, TG_FRAME_BYTES_MAX};
    static uint8_t data[TG_FRAME_BYTES_MAX + 64];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(data, 0x55, sizeof data);
        uint8_t prefix[TG_FRAME_PREFIX_BYTES_MAX];
        size_t head = write_varint(data, sizes[i], 0);
        cr_assert_eq(tg_frame_prefix(prefix, (uint32_t)sizes[i]), head);
        cr_assert_arr_eq(prefix, data, head);
        size_t whole = head + sizes[i];
        for (size_t cut = 0; cut < whole + 3; cut++) {
            struct seen seen = look(data, cut);
            check(seen.frame == (cut < whole ? TG_FRAME_PARTIAL : TG_FRAME_WHOLE), data, cut);
            check(seen.used == (cut < head ? 0 : whole), data, cut);
            check(cut < whole || seen.body.size == sizes[i], data, cut);
            check(cut < whole || seen.body.data == arena_end() - cut + head, data, cut);
        }
    }
}

Test(codec, a_length_that_is_no_short_varint_is_malformed)
{
    static const struct {
        const char *data;
        size_t size;
        enum tg_frame frame;
    } cases[] = {
        {"\x80\x00", 2, TG_FRAME_MALFORMED},
        {"\x85\x00", 2, TG_FRAME_MALFORMED},
        {"\xff\x80\x80\x00", 4, TG_FRAME_MALFORMED},
        {"\xff\xff\xff\xff\x00", 5, TG_FRAME_MALFORMED},
        {"\xff\xff\xff\xff\x10", 5, TG_FRAME_MALFORMED},
        {"\x80\x80\x80\x80\x80", 5, TG_FRAME_MALFORMED},
        {"\xff\xff\xff\xff\xff\x01", 6, TG_FRAME_MALFORMED},
        {"\xff\xff\xff\xff\x0f", 5, TG_FRAME_TOO_LARGE},
        {"\xff\xff\xff\xff\x01", 5, TG_FRAME_TOO_LARGE},
        {"\x80\x80\x80\x80", 4, TG_FRAME_PARTIAL},
        {"\x80", 1, TG_FRAME_PARTIAL},
        {"", 0, TG_FRAME_PARTIAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen seen = look((const uint8_t *)cases[i].data, cases[i].size);
        cr_assert_eq(seen.frame, cases[i].frame, "case %zu", i);
        cr_assert_eq(seen.used, 0, "case %zu", i);
    }
    size_t used;
    struct tg_bytes body;
    cr_assert_eq(tg_frame_next((struct tg_bytes){NULL, 0}, &body, &used), TG_FRAME_PARTIAL);
}

Test(codec, only_kinds_that_carry_many_things_may_be_large)
{
    const size_t large = TG_FRAME_BYTES_MAX + 1;
    /* Nothing of the kind is there yet: the size is known, the kind is awaited. */
    cr_assert_eq(look_at_start(large, "", 0).frame, TG_FRAME_PARTIAL);
    cr_assert_eq(look_at_start(large, "", 0).used, large + 3);
    cr_assert_eq(look_at_start(large, "\x08", 1).frame, TG_FRAME_PARTIAL);
    cr_assert_eq(look_at_start(large, "\x08\x85", 2).frame, TG_FRAME_PARTIAL);
    cr_assert_eq(look_at_start(large, "\x08\x85\x01", 3).frame, TG_FRAME_PARTIAL);
    const char *nine = "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    cr_assert_eq(look_at_start(large, nine, 10).frame, TG_FRAME_PARTIAL);
    cr_assert_eq(look_at_start(large, "\x82", 1).frame, TG_FRAME_PARTIAL);
    cr_assert_eq(look_at_start(large, "\x08\x05\x82", 3).frame, TG_FRAME_PARTIAL);
    cr_assert_eq(look_at_start(large, "\x08\x05\xfa", 3).frame, TG_FRAME_PARTIAL);

    const char *many[] = {"\x1a",
                          "\x08\x05\x1a",
                          "\x82\x01",
                          "\x08\x85\x01\x82\x01",
                          "\xfa\x01",
                          "\x08\x05\xfa\x01",
                          "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a"};
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        struct seen seen = look_at_start(TG_FRAME_BATCH_BYTES_MAX, many[i], strlen(many[i]));
        cr_assert_eq(seen.frame, TG_FRAME_PARTIAL, "case %zu", i);
        cr_assert_eq(seen.used, TG_FRAME_BATCH_BYTES_MAX + 3, "case %zu", i);
    }

    const char *others[] = {"\x12",
                            "\x08\x05\x12",
                            "\x22",
                            "\x8a\x01",
                            "\x82\x02",
                            "\x82\x81",
                            "\xfa\x02",
                            "\xf2\x01",
                            "\x08\x05\x08",
                            "\x7a",
                            "\x18",
                            "\x9a",
                            "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct seen seen = look_at_start(large, others[i], strlen(others[i]));
        cr_assert_eq(seen.frame, TG_FRAME_TOO_LARGE, "case %zu", i);
        seen = look_at_start(TG_FRAME_BYTES_MAX, others[i], strlen(others[i]));
        cr_assert_eq(seen.frame, TG_FRAME_PARTIAL, "case %zu", i);
    }
    cr_assert_eq(look_at_start(TG_FRAME_BATCH_BYTES_MAX + 1, "", 0).frame, TG_FRAME_TOO_LARGE);
    cr_assert_eq(look_at_start(TG_FRAME_BATCH_BYTES_MAX + 1, "\x1a", 1).frame, TG_FRAME_TOO_LARGE);
}

Test(codec, a_large_batch_becomes_whole_and_a_large_order_does_not)
{
    static uint8_t data[TG_FRAME_BATCH_BYTES_MAX + 8];
    size_t head = write_start(data, TG_FRAME_BATCH_BYTES_MAX, "\x08\x01\x1a", 3) - 3;
    struct seen seen = look(data, head + TG_FRAME_BATCH_BYTES_MAX);
    cr_assert_eq(seen.frame, TG_FRAME_WHOLE);
    cr_assert_eq(seen.body.size, TG_FRAME_BATCH_BYTES_MAX);
    data[head + 2] = 0x12;
    cr_assert_eq(look(data, head + TG_FRAME_BATCH_BYTES_MAX).frame, TG_FRAME_TOO_LARGE);
}

Test(codec, a_response_of_any_kind_may_be_large)
{
    static uint8_t data[TG_FRAME_BATCH_BYTES_MAX + 8];
    struct tg_bytes body;
    size_t used;
    size_t head = write_start(data, TG_FRAME_BATCH_BYTES_MAX, "\x08\x01\x2a", 3) - 3;
    struct tg_bytes bytes = at_edge(data, head + TG_FRAME_BATCH_BYTES_MAX);
    cr_assert_eq(tg_frame_next_response(bytes, &body, &used), TG_FRAME_WHOLE);
    cr_assert_eq(used, bytes.size);
    bytes.size--;
    cr_assert_eq(tg_frame_next_response(bytes, &body, &used), TG_FRAME_PARTIAL);
    cr_assert_eq(used, bytes.size + 1);

    size_t size = write_start(data, TG_FRAME_BATCH_BYTES_MAX + 1, "", 0);
    cr_assert_eq(tg_frame_next_response(at_edge(data, size), &body, &used), TG_FRAME_TOO_LARGE);
    cr_assert_eq(used, 0);
}
