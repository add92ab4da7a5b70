/* The splitter of net/input.c without a kernel behind it: whatever pieces a stream arrives in, the
 * same frames come out. net_conn_fail and
 * net_conn_turn_foreign are played by this file, so net/conn.c is not linked. */
#include "net/conn.h"

#include "base/crc32c.h"
#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0x696e707574ull

enum {
    FRAMES_MAX = 4096,
    NEVER = -1,
};

/* What the handler saw, and how it ended. */
struct seen {
    uint32_t count;
    uint32_t read; /* of these, bodies that were read */
    uint32_t sizes[FRAMES_MAX];
    uint32_t crcs[FRAMES_MAX];
    int error_code;        /* of net_conn_fail, or NEVER */
    uint32_t finish_after; /* the handler finishes the connection at this frame, 0: never */
    bool yields;           /* the handler yields after every frame, as net_conn_yield does it */
    uint32_t puts_back;    /* frames that it does not take, as net_conn_put_back does it */
};

struct world {
    struct net_loop loop;
    struct net_conn conn;
    struct seen seen;
    struct tg_bytes bodies[FRAMES_MAX];
};

void net_conn_fail(struct net_loop *loop, struct net_conn *conn, uint64_t correlation_id,
                   int error_code, const char *message)
{
    struct world *world = loop->handler.context;
    cr_assert_eq(correlation_id, 0);
    cr_assert_gt(strlen(message), 0);
    cr_assert_eq(world->seen.error_code, NEVER, "one answer, then nothing more");
    world->seen.error_code = error_code;
    conn->state = NET_CONN_FINISHING;
}

/* Nobody speaks anything else here. */
bool net_conn_turn_foreign(struct net_loop *loop, struct net_conn *conn, const uint8_t *data,
                           size_t bytes)
{
    (void)loop;
    (void)conn;
    (void)data;
    (void)bytes;
    return false;
}

/* Bodies are read as late as the contract allows. */
static void on_frame(void *context, struct net_conn *conn, struct tg_bytes body)
{
    struct world *world = context;
    struct seen *seen = &world->seen;
    cr_assert_eq(conn->state, NET_CONN_OPEN, "no frame after the end");
    cr_assert_lt(seen->count, FRAMES_MAX);
    if (seen->puts_back > 0) {
        seen->puts_back--;
        conn->put_back = conn->paused = true;
        return;
    }
    seen->sizes[seen->count] = (uint32_t)body.size;
    world->bodies[seen->count] = body;
    conn->paused = conn->paused || seen->yields;
    if (++seen->count == seen->finish_after)
        conn->state = NET_CONN_FINISHING;
}

static void on_frames_end(void *context)
{
    struct world *world = context;
    struct seen *seen = &world->seen;
    for (; seen->read < seen->count; seen->read++)
        seen->crcs[seen->read] =
            tg_crc32c(world->bodies[seen->read].data, world->bodies[seen->read].size);
}

static struct world *world_make(uint32_t held_bytes_max)
{
    struct world *world = calloc(1, sizeof(*world));
    cr_assert_not_null(world);
    world->loop.options.held_bytes_max = held_bytes_max;
    world->loop.options.in_flight_max = 100;
    world->loop.options.output_bytes_max = 1000;
    world->loop.handler = (struct net_handler){
        .context = world, .on_frame = on_frame, .on_frames_end = on_frames_end};
    world->loop.now_ns = 1000;
    world->loop.turn_end = FRAMES_MAX; /* of whatever turn */
    world->conn.state = NET_CONN_OPEN;
    world->seen.error_code = NEVER;
    return world;
}

static void world_free(struct world *world)
{
    net_input_free(&world->loop, &world->conn);
    cr_assert_eq(world->loop.held_bytes, 0, "every byte of the account is given back");
    free(world);
}

/* --- streams --- */

struct stream {
    uint8_t *bytes;
    size_t size;
    size_t room;
};

static struct stream stream_make(size_t room)
{
    struct stream stream = {.bytes = calloc(1, room), .room = room};
    cr_assert_not_null(stream.bytes);
    return stream;
}

/* A frame of `body_bytes` whose message begins with a correlation id of `id_bytes` bytes and a
 * kind, as far as it is long enough for that. `tag` is that of the kind: a length-delimited field.
 */
static void add_frame(struct stream *stream, uint32_t body_bytes, uint32_t id_bytes, uint8_t tag,
                      struct tg_rng *rng)
{
    uint8_t *at = stream->bytes + stream->size;
    cr_assert_leq(stream->size + body_bytes + TG_FRAME_PREFIX_BYTES_MAX, stream->room);
    size_t prefix = tg_frame_prefix(at, body_bytes);
    uint8_t *body = at + prefix;
    for (uint32_t i = 0; i < body_bytes; i++)
        body[i] = (uint8_t)tg_rng_next(rng);
    if (body_bytes >= id_bytes + 16) {
        body[0] = 0x08;
        for (uint32_t i = 0; i < id_bytes; i++)
            body[1 + i] = i + 1 < id_bytes ? 0x81 : 0x01;
        body[1 + id_bytes] = tag;
    }
    stream->size += prefix + body_bytes;
}

enum {
    TAG_PLACE_ORDER = 2 << 3 | 2,
    TAG_PLACE_ORDERS = 3 << 3 | 2,
};

/* Hands the stream over in pieces that `next` sizes. Each piece is a copy of its own size, so that
 * the sanitizer sees a read behind its end. */
static void feed(struct world *world, const struct stream *stream,
                 size_t (*next)(void *context, size_t at), void *context)
{
    for (size_t at = 0; at < stream->size;) {
        size_t piece = next(context, at);
        if (piece > stream->size - at)
            piece = stream->size - at;
        uint8_t *copy = malloc(piece);
        memcpy(copy, stream->bytes + at, piece);
        world->loop.turn++;
        net_input_take(&world->loop, &world->conn, copy, piece);
        free(copy);
        at += piece;
    }
}

static size_t fixed_piece(void *context, size_t at)
{
    (void)at;
    return *(size_t *)context;
}

/* One cut, at the place that the context says. */
static size_t one_cut(void *context, size_t at)
{
    size_t cut = *(size_t *)context;
    return at < cut ? cut - at : SIZE_MAX;
}

static size_t random_piece(void *context, size_t at)
{
    (void)at;
    struct tg_rng *rng = context;
    static const size_t most[] = {2, 30, 600, 70000};
    return 1 + tg_rng_below(rng, most[tg_rng_below(rng, 4)]);
}

/* What comes of the stream in one piece: what must come of it in any pieces. */
static struct seen whole(const struct stream *stream)
{
    struct world *world = world_make(4u << 20);
    size_t all = SIZE_MAX;
    feed(world, stream, fixed_piece, &all);
    struct seen seen = world->seen;
    cr_assert_eq(world->loop.stats.frames, seen.count);
    world_free(world);
    return seen;
}

static void expect_same(const struct stream *stream, const struct seen *expected,
                        size_t (*next)(void *context, size_t at), void *context, size_t told)
{
    struct world *world = world_make(4u << 20);
    feed(world, stream, next, context);
    const struct seen *seen = &world->seen;
    cr_assert_eq(seen->error_code, expected->error_code, "seed %#llx, pieces %zu", SEED, told);
    cr_assert_eq(seen->read, seen->count, "every group of frames has its end");
    cr_assert_eq(seen->count, expected->count, "seed %#llx, pieces %zu", SEED, told);
    cr_assert_eq(memcmp(seen->sizes, expected->sizes, seen->count * 4), 0, "pieces %zu", told);
    cr_assert_eq(memcmp(seen->crcs, expected->crcs, seen->count * 4), 0, "pieces %zu", told);
    cr_assert_eq(world->loop.stats.frames, seen->count);
    cr_assert_eq(world->loop.stats.bad_frames, expected->error_code != NEVER);
    world_free(world);
}

/* Small frames around every size at which a prefix or a peek could go wrong. */
static struct stream small_stream(struct tg_rng *rng)
{
    static const uint32_t sizes[] = {0, 1, 2, 63, 0, 0, 127, 128, 129, 20, 21, 22, 5, 300, 16};
    struct stream stream = stream_make(4096);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        add_frame(&stream, sizes[i], 1 + (uint32_t)i % 10, TAG_PLACE_ORDER, rng);
    return stream;
}

Test(input, frames_in_one_piece_are_handed_on_in_order)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = small_stream(&rng);
    struct seen seen = whole(&stream);
    cr_assert_eq(seen.count, 15);
    cr_assert_eq(seen.error_code, NEVER);
    cr_assert_eq(seen.sizes[0], 0);
    cr_assert_eq(seen.sizes[13], 300);
    free(stream.bytes);
}

Test(input, every_cut_gives_the_same_frames)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = small_stream(&rng);
    struct seen expected = whole(&stream);
    for (size_t cut = 1; cut < stream.size; cut++)
        expect_same(&stream, &expected, one_cut, &cut, cut);
    free(stream.bytes);
}

Test(input, every_size_of_pieces_gives_the_same_frames)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = small_stream(&rng);
    struct seen expected = whole(&stream);
    for (size_t piece = 1; piece <= stream.size; piece++)
        expect_same(&stream, &expected, fixed_piece, &piece, piece);
    free(stream.bytes);
}

/* Frames of each class of partial buffer and its borders, the largest that are allowed included. */
Test(input, frames_of_every_size_class_come_whole_out_of_random_pieces)
{
    static const uint32_t sizes[] = {
        500, 506, 507, 508, 509, 512, 513, 16383, 16384, 65535, TG_FRAME_BYTES_MAX,
    };
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = stream_make(4u << 20);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        add_frame(&stream, sizes[i], 1 + (uint32_t)i % 10, TAG_PLACE_ORDER, &rng);
    for (uint32_t id_bytes = 1; id_bytes <= 10; id_bytes += 9) {
        add_frame(&stream, TG_FRAME_BYTES_MAX + 1, id_bytes, TAG_PLACE_ORDERS, &rng);
        add_frame(&stream, TG_FRAME_BATCH_BYTES_MAX, id_bytes, TAG_PLACE_ORDERS, &rng);
        add_frame(&stream, 40, id_bytes, TAG_PLACE_ORDER, &rng);
    }
    struct seen expected = whole(&stream);
    cr_assert_eq(expected.count, 11 + 6);
    cr_assert_eq(expected.error_code, NEVER);
    for (uint32_t round = 0; round < 60; round++)
        expect_same(&stream, &expected, random_piece, &rng, round);
    free(stream.bytes);
}

/* --- frames that are refused --- */

/* A good frame, then `bad` as it stands; every cut must hand on the first and refuse the second. */
static void expect_refused(const uint8_t *bad, size_t bad_bytes, int error_code)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = stream_make(256);
    add_frame(&stream, 20, 1, TAG_PLACE_ORDER, &rng);
    memcpy(stream.bytes + stream.size, bad, bad_bytes);
    stream.size += bad_bytes;
    struct seen expected = whole(&stream);
    cr_assert_eq(expected.count, 1);
    cr_assert_eq(expected.error_code, error_code);
    for (size_t cut = 1; cut < stream.size; cut++)
        expect_same(&stream, &expected, one_cut, &cut, cut);
    size_t byte = 1;
    expect_same(&stream, &expected, fixed_piece, &byte, byte);
    free(stream.bytes);
}

Test(input, a_frame_above_its_limit_is_refused_as_soon_as_its_kind_is_known)
{
    uint8_t bad[64] = {0};
    int too_large = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_FRAME_TOO_LARGE;
    size_t prefix = tg_frame_prefix(bad, TG_FRAME_BYTES_MAX + 1);
    memcpy(bad + prefix, (uint8_t[]){0x08, 0x01, TAG_PLACE_ORDER, 0x10}, 4);
    expect_refused(bad, 40, too_large);
    prefix = tg_frame_prefix(bad, TG_FRAME_BATCH_BYTES_MAX + 1);
    memcpy(bad + prefix, (uint8_t[]){0x08, 0x01, TAG_PLACE_ORDERS, 0x10}, 4);
    expect_refused(bad, 40, too_large);
    tg_frame_prefix(bad, UINT32_MAX);
    expect_refused(bad, 40, too_large);
}

Test(input, a_length_that_is_none_is_refused)
{
    int malformed = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME;
    static const uint8_t endless[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t beyond[12] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    static const uint8_t overlong[12] = {0x81, 0x00, 0x00};
    expect_refused(endless, sizeof(endless), malformed);
    expect_refused(beyond, sizeof(beyond), malformed);
    expect_refused(overlong, sizeof(overlong), malformed);
}

Test(input, nothing_is_handed_on_after_the_connection_has_finished)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = small_stream(&rng);
    for (size_t piece = 1; piece <= stream.size; piece++) {
        struct world *world = world_make(1 << 20);
        world->seen.finish_after = 9;
        feed(world, &stream, fixed_piece, &piece);
        cr_assert_eq(world->seen.count, 9, "pieces of %zu", piece);
        world_free(world);
    }
    free(stream.bytes);
}

/* --- memory --- */

/* A frame of `body_bytes` without its last byte, and then that byte. */
static void feed_cut(struct world *world, uint32_t body_bytes, uint8_t tag)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = stream_make(body_bytes + TG_FRAME_PREFIX_BYTES_MAX);
    add_frame(&stream, body_bytes, 1, tag, &rng);
    size_t cut = stream.size - 1;
    feed(world, &stream, one_cut, &cut);
    free(stream.bytes);
}

Test(input, the_memory_for_unfinished_frames_has_a_cap)
{
    struct world *world = world_make(TG_FRAME_BYTES_MAX);
    feed_cut(world, 400, TAG_PLACE_ORDER);
    cr_assert_eq(world->seen.count, 1);
    feed_cut(world, 60000, TAG_PLACE_ORDER);
    cr_assert_eq(world->seen.count, 1);
    cr_assert_eq(world->seen.error_code, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED);
    cr_assert_leq(world->loop.held_bytes, TG_FRAME_BYTES_MAX);
    world_free(world);
}

Test(input, connections_share_the_cap_and_give_back_what_they_took)
{
    struct world *world = world_make(3 * (TG_FRAME_BYTES_MAX + TG_FRAME_PREFIX_BYTES_MAX));
    struct net_conn conns[4] = {{0}};
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = stream_make(70000);
    add_frame(&stream, 60000, 1, TAG_PLACE_ORDER, &rng);
    for (int i = 0; i < 4; i++) {
        conns[i].state = NET_CONN_OPEN;
        net_input_take(&world->loop, &conns[i], stream.bytes, 50000);
        cr_assert_eq(conns[i].state == NET_CONN_OPEN, i < 3, "connection %d", i);
    }
    net_input_free(&world->loop, &conns[0]);
    conns[3].state = NET_CONN_OPEN;
    net_input_take(&world->loop, &conns[3], stream.bytes, 50000);
    cr_assert_eq(conns[3].state, NET_CONN_OPEN, "there is room again");
    world->loop.turn++;
    for (int i = 1; i < 4; i++) {
        net_input_take(&world->loop, &conns[i], stream.bytes + 50000, stream.size - 50000);
        net_input_free(&world->loop, &conns[i]);
    }
    cr_assert_eq(world->seen.count, 3);
    free(stream.bytes);
    world_free(world);
}

Test(input, a_small_buffer_stays_for_the_next_frame_and_a_large_one_does_not)
{
    struct world *world = world_make(8u << 20);
    feed_cut(world, 400, TAG_PLACE_ORDER);
    cr_assert_gt(world->conn.held_capacity, 0);
    feed_cut(world, TG_FRAME_BATCH_BYTES_MAX, TAG_PLACE_ORDERS);
    cr_assert_eq(world->seen.count, 2);
    cr_assert_eq(world->conn.held_capacity, 0);
    cr_assert_eq(world->loop.held_bytes, 0);
    world_free(world);
}

Test(input, the_time_of_an_unfinished_frame_is_that_of_its_first_byte)
{
    struct world *world = world_make(1 << 20);
    static const uint8_t frame[] = {3, 'a', 'b', 'c'};
    net_input_take(&world->loop, &world->conn, frame, 1);
    cr_assert_eq(world->conn.held_since_ns, 1000);
    world->loop.now_ns = 2000;
    net_input_take(&world->loop, &world->conn, frame + 1, 1);
    cr_assert_eq(world->conn.held_since_ns, 1000);
    net_input_take(&world->loop, &world->conn, frame + 2, 2);
    cr_assert_eq(world->conn.held_bytes, 0);
    net_input_take(&world->loop, &world->conn, frame, 2);
    cr_assert_eq(world->conn.held_since_ns, 2000);
    world_free(world);
}

/* --- a connection over its bounds --- */

Test(input, a_connection_over_its_bounds_is_handed_no_more_and_loses_nothing)
{
    static const uint8_t frames[] = {1, 'a', 1, 'b', 1, 'c', 2, 'd'};
    struct world *world = world_make(1 << 20);
    world->conn.output_bytes = 1000;
    net_input_take(&world->loop, &world->conn, frames, 3);
    cr_assert(world->conn.paused);
    net_input_take(&world->loop, &world->conn, frames + 3, sizeof(frames) - 3);
    cr_assert_eq(world->seen.count, 0);
    cr_assert_eq(world->conn.held_bytes, sizeof(frames));

    world->conn.output_bytes = 0;
    world->conn.paused = false;
    net_input_resume(&world->loop, &world->conn);
    cr_assert_eq(world->seen.count, 3, "the whole ones");
    cr_assert_not(world->conn.paused);
    cr_assert_eq(world->conn.held_bytes, 2, "the start of the cut one stays");
    net_input_take(&world->loop, &world->conn, (const uint8_t *)"e", 1);
    cr_assert_eq(world->seen.count, 4);
    cr_assert_eq(world->seen.sizes[3], 2);
    world_free(world);
}

Test(input, a_connection_that_is_over_again_keeps_the_rest)
{
    static const uint8_t frames[] = {1, 'a', 1, 'b'};
    struct world *world = world_make(1 << 20);
    world->conn.in_flight = 100;
    net_input_take(&world->loop, &world->conn, frames, sizeof(frames));
    world->conn.paused = false; /* resumed, and still over: nothing comes of it */
    net_input_resume(&world->loop, &world->conn);
    cr_assert(world->conn.paused);
    cr_assert_eq(world->seen.count, 0);
    cr_assert_eq(world->conn.held_bytes, sizeof(frames));
    world_free(world);
}

/* As the loop does it when the connection's turn comes. */
static void resume(struct world *world)
{
    world->conn.ready = false;
    world->loop.ready = (struct net_conn_queue){0};
    world->conn.paused = false;
    net_input_resume(&world->loop, &world->conn);
    cr_assert_eq(world->seen.read, world->seen.count, "every group of frames has its end");
}

Test(input, a_connection_that_yields_is_handed_one_frame_at_a_time)
{
    static const uint8_t frames[] = {1, 'a', 1, 'b', 1, 'c', 2, 'd'};
    struct world *world = world_make(1 << 20);
    world->seen.yields = true;
    net_input_take(&world->loop, &world->conn, frames, sizeof(frames));
    cr_assert_eq(world->seen.count, 1, "nothing more in this cut");
    net_input_take(&world->loop, &world->conn, (const uint8_t *)"e", 1);
    cr_assert_eq(world->seen.count, 1, "nor with what comes before its turn");
    for (uint32_t count = 2; count <= 4; count++) {
        resume(world);
        cr_assert_eq(world->seen.count, count);
        cr_assert(world->conn.paused);
    }
    cr_assert_eq(world->seen.sizes[3], 2);
    resume(world);
    cr_assert_eq(world->seen.count, 4);
    cr_assert_not(world->conn.paused, "nothing is left to yield for");
    world_free(world);
}

Test(input, a_cut_frame_that_yields_ends_its_turn_as_well)
{
    static const uint8_t frames[] = {2, 'a', 'b', 1, 'c', 1, 'd'};
    struct world *world = world_make(1 << 20);
    world->seen.yields = true;
    net_input_take(&world->loop, &world->conn, frames, 2);
    cr_assert_eq(world->seen.count, 0);
    net_input_take(&world->loop, &world->conn, frames + 2, sizeof(frames) - 2);
    cr_assert_eq(world->seen.count, 1);
    resume(world);
    cr_assert_eq(world->seen.count, 2);
    resume(world);
    cr_assert_eq(world->seen.count, 3);
    cr_assert_eq(world->conn.held_bytes, 0);
    world_free(world);
}

Test(input, what_a_paused_connection_holds_has_a_cap)
{
    struct world *world = world_make(16u << 20);
    static uint8_t bytes[1 << 20];
    world->conn.paused = true;
    for (int i = 0; i < 4; i++)
        net_input_take(&world->loop, &world->conn, bytes, sizeof(bytes));
    cr_assert_eq(world->seen.error_code, NEVER);
    net_input_take(&world->loop, &world->conn, bytes, 1);
    cr_assert_eq(world->seen.error_code, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED);
    world_free(world);
}

/* --- fairness --- */

enum {
    PIECE_BYTES = 8192, /* of the pieces below: a frame each */
    PIECES_OF_A_SHARE = NET_SHARE_BYTES / PIECE_BYTES,
};

static struct stream one_frame(uint32_t whole_bytes)
{
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream stream = stream_make(whole_bytes + TG_FRAME_PREFIX_BYTES_MAX);
    add_frame(&stream, whole_bytes - 2, 1, TAG_PLACE_ORDER, &rng);
    cr_assert_eq(stream.size, whole_bytes);
    return stream;
}

Test(input, a_connection_that_had_its_share_of_a_turn_waits_for_the_next)
{
    struct world *world = world_make(1 << 20);
    struct net_conn other = {.state = NET_CONN_OPEN};
    struct stream piece = one_frame(PIECE_BYTES);
    world->loop.turn = 1;
    for (uint32_t i = 0; i < PIECES_OF_A_SHARE; i++)
        net_input_take(&world->loop, &world->conn, piece.bytes, piece.size);
    cr_assert_eq(world->seen.count, PIECES_OF_A_SHARE);
    cr_assert_not(world->conn.paused);
    net_input_take(&world->loop, &world->conn, piece.bytes, piece.size);
    cr_assert_eq(world->seen.count, PIECES_OF_A_SHARE, "no more in this turn");
    cr_assert(world->conn.paused);
    cr_assert_eq(world->loop.ready.first, &world->conn, "it waits for its turn");
    net_input_take(&world->loop, &other, piece.bytes, piece.size);
    cr_assert_eq(world->seen.count, PIECES_OF_A_SHARE + 1, "others have theirs");
    world->loop.turn = 2;
    resume(world);
    cr_assert_eq(world->seen.count, PIECES_OF_A_SHARE + 2);
    cr_assert_not(world->conn.paused);
    net_input_take(&world->loop, &world->conn, piece.bytes, piece.size);
    cr_assert_eq(world->seen.count, PIECES_OF_A_SHARE + 3);
    free(piece.bytes);
    world_free(world);
}

Test(input, what_is_held_is_handed_on_a_share_at_a_time)
{
    struct world *world = world_make(4u << 20);
    struct stream piece = one_frame(PIECE_BYTES);
    const uint32_t pieces = 3 * PIECES_OF_A_SHARE - 1;
    world->conn.paused = true;
    for (uint32_t i = 0; i < pieces; i++)
        net_input_take(&world->loop, &world->conn, piece.bytes, piece.size);
    cr_assert_eq(world->seen.count, 0);
    for (uint32_t share = 1; share <= 2; share++) {
        resume(world);
        cr_assert_eq(world->seen.count, share * PIECES_OF_A_SHARE);
        cr_assert(world->conn.paused && world->loop.ready.first == &world->conn);
    }
    resume(world);
    cr_assert_eq(world->seen.count, pieces);
    cr_assert_not(world->conn.paused);
    free(piece.bytes);
    world_free(world);
}

Test(input, a_frame_that_is_put_back_comes_again_and_what_follows_waits_for_it)
{
    static const uint8_t frames[] = {1, 'a', 2, 'b', 'c', 1, 'd'};
    for (size_t cut = 1; cut <= sizeof(frames); cut++) {
        struct world *world = world_make(1 << 20);
        world->seen.puts_back = 2;
        net_input_take(&world->loop, &world->conn, frames, cut);
        if (cut < sizeof(frames))
            net_input_take(&world->loop, &world->conn, frames + cut, sizeof(frames) - cut);
        cr_assert_eq(world->seen.count, 0, "cut at %zu", cut);
        cr_assert_eq(world->loop.stats.frames, 0, "nothing has been handled");
        cr_assert_eq(world->conn.held_bytes, sizeof(frames));
        resume(world);
        cr_assert_eq(world->seen.count, 0, "it was put back twice");
        resume(world);
        cr_assert_eq(world->seen.count, 3, "cut at %zu", cut);
        cr_assert_eq(world->seen.sizes[1], 2);
        world_free(world);
    }
}

/* --- who has taken the memory --- */

Test(input, an_order_in_two_pieces_is_held_however_little_memory_is_left)
{
    struct world *world = world_make(8u << 20);
    struct stream order = one_frame(130);
    struct stream large = one_frame(10000);
    world->loop.held_bytes = world->loop.options.held_bytes_max;
    for (size_t cut = 1; cut < order.size; cut++) {
        net_input_take(&world->loop, &world->conn, order.bytes, cut);
        net_input_take(&world->loop, &world->conn, order.bytes + cut, order.size - cut);
    }
    cr_assert_eq(world->seen.count, order.size - 1);
    cr_assert_eq(world->seen.error_code, NEVER);
    net_input_take(&world->loop, &world->conn, large.bytes, large.size - 1);
    cr_assert_eq(world->seen.error_code, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED);
    world->loop.held_bytes -= world->loop.options.held_bytes_max;
    free(order.bytes);
    free(large.bytes);
    world_free(world);
}

Test(input, the_largest_frames_leave_memory_to_the_others)
{
    enum {
        CONNS = 16
    };
    struct world *world = world_make(8u << 20);
    static struct net_conn conns[CONNS + 1];
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    struct stream large = stream_make(2u << 20);
    struct stream usual = one_frame(16000);
    add_frame(&large, TG_FRAME_BATCH_BYTES_MAX, 1, TAG_PLACE_ORDERS, &rng);
    uint32_t held = 0;
    for (int i = 0; i < CONNS; i++) {
        conns[i].state = NET_CONN_OPEN;
        world->seen.error_code = NEVER;
        net_input_take(&world->loop, &conns[i], large.bytes, 100000);
        held += conns[i].state == NET_CONN_OPEN;
    }
    cr_assert_eq(held, 5, "of six MiB in eight, each takes one and its prefix");
    conns[CONNS].state = NET_CONN_OPEN;
    world->seen.error_code = NEVER;
    net_input_take(&world->loop, &conns[CONNS], usual.bytes, usual.size - 1);
    cr_assert_eq(world->seen.error_code, NEVER, "there is room for the usual ones");
    for (int i = 0; i <= CONNS; i++)
        net_input_free(&world->loop, &conns[i]);
    free(large.bytes);
    free(usual.bytes);
    world_free(world);
}

Test(input, a_turn_that_has_done_its_work_still_has_a_little_of_everybody)
{
    struct world *world = world_make(1 << 20);
    struct net_conn other = {.state = NET_CONN_OPEN};
    struct stream frames = stream_make(9 * 512);
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    for (int i = 0; i < 8; i++)
        add_frame(&frames, 510, 1, TAG_PLACE_ORDER, &rng);
    world->loop.turn_end = world->loop.stats.frames;
    world->loop.turn = 1;
    net_input_take(&world->loop, &world->conn, frames.bytes, frames.size);
    cr_assert_eq(world->seen.count, NET_SHARE_BYTES_SMALL / 512);
    cr_assert(world->conn.paused && world->loop.ready.first == &world->conn);
    net_input_take(&world->loop, &other, frames.bytes, 512);
    cr_assert_eq(world->seen.count, NET_SHARE_BYTES_SMALL / 512 + 1, "nobody waits for nothing");
    world->loop.turn_end = FRAMES_MAX;
    world->loop.turn = 2;
    resume(world);
    cr_assert_eq(world->seen.count, 8 + 1);
    free(frames.bytes);
    world_free(world);
}

Test(input, a_large_frame_that_becomes_whole_waits_for_a_turn_that_has_work_left)
{
    struct world *world = world_make(8u << 20);
    struct stream large = one_frame(16000);
    world->loop.turn = 1;
    net_input_take(&world->loop, &world->conn, large.bytes, 8192);
    world->loop.turn = 2;
    world->loop.turn_end = world->loop.stats.frames;
    net_input_take(&world->loop, &world->conn, large.bytes + 8192, large.size - 8192);
    cr_assert_eq(world->seen.count, 0);
    cr_assert_eq(world->loop.ready.first, &world->conn);
    world->loop.turn_end = FRAMES_MAX;
    resume(world);
    cr_assert_eq(world->seen.count, 1);
    cr_assert_not(world->conn.paused);
    free(large.bytes);
    world_free(world);
}
