/* A bump allocator over one block, with a hard cap: what protobuf-c unpacks into.
 *
 * One thread. Everything is given back at once by tg_arena_reset. Each allocation is preceded by
 * its size, so that the length of a protobuf string as it was sent can be told from its bytes: a
 * NUL inside a string would otherwise cut it silently.
 */
#ifndef TG_BASE_ARENA_H
#define TG_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct tg_arena {
    uint8_t *block; /* caller's */
    size_t size;
    size_t used;
};

static inline void tg_arena_init(struct tg_arena *arena, void *block, size_t size)
{
    *arena = (struct tg_arena){.block = block, .size = size};
}

static inline void tg_arena_reset(struct tg_arena *arena)
{
    arena->used = 0;
}

/* 16-byte aligned, not zeroed; NULL when the cap is reached. */
static inline void *tg_arena_alloc(struct tg_arena *arena, size_t bytes)
{
    size_t at = (arena->used + 15) / 16 * 16;
    if (bytes > arena->size || arena->size - bytes < at + 16)
        return NULL;
    *(size_t *)(void *)(arena->block + at) = bytes;
    arena->used = at + 16 + bytes;
    return arena->block + at + 16;
}

/* The size that tg_arena_alloc was asked for. */
static inline size_t tg_arena_allocated(const void *allocation)
{
    return *(const size_t *)(const void *)((const uint8_t *)allocation - 16);
}

#endif
