#include "base/arena.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <string.h>

#define SEED 0x6172656eull

Test(arena, gives_aligned_memory_that_does_not_overlap)
{
    alignas(16) static uint8_t block[4096];
    uint8_t *given[64];
    size_t sizes[64];
    struct tg_arena arena;
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    tg_arena_init(&arena, block, sizeof(block));
    for (size_t i = 0; i < 64; i++) {
        sizes[i] = tg_rng_below(&rng, 40);
        given[i] = tg_arena_alloc(&arena, sizes[i]);
        cr_assert_not_null(given[i]);
        cr_assert_eq((uintptr_t)given[i] % 16, 0);
        memset(given[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < 64; i++) {
        cr_assert_eq(tg_arena_allocated(given[i]), sizes[i], "seed %#llx, %zu", SEED, i);
        for (size_t at = 0; at < sizes[i]; at++)
            cr_assert_eq(given[i][at], i, "seed %#llx, %zu", SEED, i);
    }
}

Test(arena, refuses_what_is_above_its_cap_and_goes_on)
{
    alignas(16) uint8_t block[64];
    struct tg_arena arena;
    tg_arena_init(&arena, block, sizeof(block));
    cr_assert_null(tg_arena_alloc(&arena, 49));
    cr_assert_null(tg_arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(tg_arena_alloc(&arena, SIZE_MAX - 15));
    cr_assert_not_null(tg_arena_alloc(&arena, 48), "the whole block, but for the size word");
    cr_assert_null(tg_arena_alloc(&arena, 0));
}

Test(arena, never_writes_behind_its_block)
{
    for (size_t size = 0; size <= 200; size++) {
        alignas(16) uint8_t block[256];
        memset(block, 0xa5, sizeof(block));
        struct tg_arena arena;
        tg_arena_init(&arena, block, size);
        uint8_t *piece;
        for (size_t bytes = 1; (piece = tg_arena_alloc(&arena, bytes)); bytes += 6) {
            cr_assert_leq(piece + bytes, block + size);
            memset(piece, 0, bytes);
        }
        for (size_t at = size; at < sizeof(block); at++)
            cr_assert_eq(block[at], 0xa5, "block of %zu bytes", size);
    }
}

Test(arena, gives_everything_back_at_once)
{
    alignas(16) uint8_t block[256];
    struct tg_arena arena;
    tg_arena_init(&arena, block, sizeof(block));
    void *first = tg_arena_alloc(&arena, 200);
    cr_assert_not_null(first);
    cr_assert_null(tg_arena_alloc(&arena, 200));
    tg_arena_reset(&arena);
    cr_assert_eq(tg_arena_alloc(&arena, 200), first);
}
