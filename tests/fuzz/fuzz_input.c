/* The splitter of net/input.c, fed by arbitrary chunks: whatever pieces a stream comes in, and
 * however often the connection is over its bounds meanwhile, the same frames come out as of the
 * stream in one piece. The world around it is that of tests/unit/test_input.c, included whole.
 *
 * input: | u8: bytes of the script | script: sizes of pieces, pauses | the stream, as parts |
 *
 *   part: | u8: 0x00..0xbf: so many bytes + 1 as they stand follow
 *         |     0xc0..: a good frame of a size near a border, of a kind that may be large or not |
 */
#include "tests/unit/test_input.c"

#include "tests/fuzz/fuzz.h"

#define LITERALS_MAX 0xc0

enum {
    STREAM_BYTES_MAX = 3 << 20, /* what a paused connection holds has a cap above that */
    LARGE_FRAMES_MAX = 2,
};

static void add_part(struct stream *stream, struct fuzz_bytes *bytes, uint32_t *large)
{
    static const uint32_t sizes[] = {0,
                                     1,
                                     127,
                                     128,
                                     505,
                                     506,
                                     507,
                                     508,
                                     509,
                                     16383,
                                     16384,
                                     TG_FRAME_BYTES_MAX,
                                     TG_FRAME_BYTES_MAX + 1,
                                     TG_FRAME_BATCH_BYTES_MAX};
    const uint32_t sizes_count = sizeof(sizes) / sizeof(sizes[0]);
    uint8_t part = fuzz_u8(bytes);
    if (part < LITERALS_MAX) {
        size_t count = part + 1u < bytes->left ? part + 1u : bytes->left;
        fuzz_take(bytes, stream->bytes + stream->size, count);
        stream->size += count;
        return;
    }
    uint32_t index = part % sizes_count;
    if (sizes[index] >= TG_FRAME_BYTES_MAX && ++*large > LARGE_FRAMES_MAX)
        return;
    struct tg_rng rng;
    tg_rng_init(&rng, part);
    add_frame(stream, sizes[index], 1 + part % 10u,
              part & 1 || sizes[index] > TG_FRAME_BYTES_MAX ? TAG_PLACE_ORDERS : TAG_PLACE_ORDER,
              &rng);
}

static size_t scripted_piece(void *context, size_t at)
{
    struct fuzz_bytes *script = context;
    (void)at;
    if (script->left == 0)
        return 70000;
    uint8_t byte = fuzz_u8(script);
    return 1 + (byte < 0xe0 ? byte % 32u : byte % 32u * 700);
}

/* Like expect_same, with pauses: after every piece the script may put the connection over a
 * bound, take it back under, or give it its turn. */
static void expect_same_with_pauses(const struct stream *stream, const struct seen *expected,
                                    struct fuzz_bytes script)
{
    struct world *world = world_make(8u << 20);
    world->seen.yields = fuzz_u8(&script) & 1;
    for (size_t at = 0; at < stream->size;) {
        size_t piece = scripted_piece(&script, at);
        struct stream rest = {.bytes = stream->bytes + at, .size = stream->size - at};
        size_t all = rest.size = piece < rest.size ? piece : rest.size;
        feed(world, &rest, fixed_piece, &all);
        at += rest.size;
        uint8_t what = fuzz_u8(&script);
        world->conn.output_bytes = what & 1 ? 1000 : 0;
        if (what & 2 && world->conn.state == NET_CONN_OPEN)
            resume(world);
    }
    world->conn.output_bytes = 0;
    while (world->conn.state == NET_CONN_OPEN && world->conn.paused)
        resume(world);
    const struct seen *seen = &world->seen;
    FUZZ_MUST(seen->read == seen->count && seen->count == expected->count);
    FUZZ_MUST(seen->error_code == expected->error_code);
    FUZZ_MUST(memcmp(seen->sizes, expected->sizes, seen->count * 4) == 0);
    FUZZ_MUST(memcmp(seen->crcs, expected->crcs, seen->count * 4) == 0);
    world_free(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    if (size > FUZZ_BYTES_MAX)
        return 0;
    uint8_t script_bytes = fuzz_u8(&bytes);
    struct fuzz_bytes script = {bytes.at, script_bytes < bytes.left ? script_bytes : bytes.left};
    bytes.at += script.left;
    bytes.left -= script.left;
    static uint8_t room[STREAM_BYTES_MAX];
    struct stream stream = {.bytes = room, .room = sizeof(room)};
    uint32_t large = 0;
    while (bytes.left > 0)
        add_part(&stream, &bytes, &large);
    struct seen expected = whole(&stream);
    struct fuzz_bytes again = script;
    expect_same(&stream, &expected, scripted_piece, &again, 0);
    expect_same_with_pauses(&stream, &expected, script);
    return 0;
}
