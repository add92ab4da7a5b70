/* Invariants, with `tick` for the tick that is being handed out (all before it are done):
 *
 *   level   a bucket is      the ring holds, of what is not yet due
 *     0     1 tick           this block of 1,024 ticks and the next
 *     1     1,024 ticks      this block of 1,024 x 1,024 ticks and the next, where level 0 ends
 *     2     1,048,576 ticks  the rest; its last bucket also what lies beyond it
 *
 * So a timer's place follows from its tick and from `tick` alone (put). When `tick` enters a block
 * of level 0, that block's bucket of level 1 is empty, and the one behind it is moved down while
 * the block passes; the same one level up. A ring has room for two blocks, so that what is moved
 * ahead of its time does not meet what is there.
 *
 * Buckets are queues: added to at the tail chunk, taken from at the head. Only a tail chunk can be
 * unfilled, and only the one bucket that is being handed out and the two that are being moved can
 * have a head chunk that is partly taken. That bounds the chunks by the timers.
 */
#include "engine/wheel.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdalign.h>
#include <string.h>

#define LEVELS       3
#define LEVEL_BITS   10 /* each level is coarser by this */
#define BLOCK        (1u << LEVEL_BITS)
#define SLOTS        (1u << (LEVEL_BITS + 1))
#define CHUNK_TIMERS 31
#define MOVES_MAX    4096 /* timers moved down by one call */

/* Timers of one bucket that were set one behind the other. Chunk 0 is in no bucket and always full,
 * so that adding to an empty bucket is like adding to one whose tail is full. */
struct chunk {
    alignas(64) uint32_t next; /* of the bucket, or of the free chunks; 0: none */
    uint16_t first;            /* timers taken */
    uint16_t count;            /* timers added, taken ones included */
    alignas(16) struct eng_timer timers[CHUNK_TIMERS];
};

_Static_assert(sizeof(struct chunk) == 512, "eight to a page");

struct bucket {
    uint32_t head; /* 0: empty */
    uint32_t tail;
};

struct ring {
    uint64_t used[SLOTS / 64]; /* a bit for each bucket that is not empty */
    struct bucket buckets[SLOTS];
};

struct eng_wheel {
    uint64_t tick;  /* being handed out; never ahead of now_ms */
    int64_t now_ms; /* the newest that was passed in */
    uint32_t count;
    uint32_t timers_max;
    uint32_t chunk_free; /* the one that was freed last, which the cache still knows */
    uint32_t chunk_high_water;
    uint32_t chunks_max;
    struct ring rings[LEVELS];
    struct chunk chunks[];
};

static size_t wheel_bytes(uint32_t chunks_max)
{
    return sizeof(struct eng_wheel) + (chunks_max + 1ull) * sizeof(struct chunk);
}

enum tg_error eng_wheel_create(struct eng_wheel **wheel, uint32_t timers_max, int64_t now_ms,
                               struct tg_fault *fault)
{
    tg_assert(timers_max > 0 && now_ms >= 0);
    /* Full chunks, an unfilled one in each bucket, and those that are partly taken. */
    uint32_t chunks_max = timers_max / CHUNK_TIMERS + LEVELS * SLOTS + LEVELS;
    struct eng_wheel *fresh = tg_mem_map_table(wheel_bytes(chunks_max));
    if (!fresh)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u timers", timers_max);
    fresh->tick = (uint64_t)now_ms / ENG_TICK_MS;
    fresh->now_ms = now_ms;
    fresh->timers_max = timers_max;
    fresh->chunks_max = chunks_max;
    fresh->chunks[0].count = CHUNK_TIMERS;
    *wheel = fresh;
    return TG_ERR_OK;
}

void eng_wheel_destroy(struct eng_wheel *wheel)
{
    if (wheel)
        tg_mem_unmap(wheel, wheel_bytes(wheel->chunks_max));
}

struct tg_extent eng_wheel_extent(struct eng_wheel *wheel)
{
    return (struct tg_extent){
        .memory = (uint8_t *)wheel,
        .size = wheel_bytes(wheel->chunks_max),
        .used = wheel_bytes(wheel->chunk_high_water),
    };
}

uint32_t eng_wheel_room(const struct eng_wheel *wheel)
{
    return wheel->timers_max - wheel->count;
}

uint32_t eng_wheel_count(const struct eng_wheel *wheel)
{
    return wheel->count;
}

/* --- buckets --- */

static uint32_t slot_of(uint64_t index)
{
    return (uint32_t)index & (SLOTS - 1);
}

/* The first bucket at or behind `index` that is not empty; UINT64_MAX without any. */
static uint64_t first_used(const struct ring *ring, uint64_t index)
{
    uint32_t from = slot_of(index);
    uint64_t bits = ring->used[from / 64] >> (from % 64);
    if (bits)
        return index + (uint32_t)__builtin_ctzll(bits);
    /* The last round looks at the word of the first again, for the slots before `from`. */
    for (uint32_t word = 1; word <= SLOTS / 64; word++) {
        bits = ring->used[(from / 64 + word) % (SLOTS / 64)];
        if (bits)
            return index + (uint64_t)word * 64 - from % 64 + (uint32_t)__builtin_ctzll(bits);
    }
    return UINT64_MAX;
}

/* Puts a chunk at the end of a bucket. */
static struct chunk *grow(struct eng_wheel *wheel, struct ring *ring, uint32_t slot)
{
    uint32_t number = wheel->chunk_free;
    if (number) {
        wheel->chunk_free = wheel->chunks[number].next;
    } else {
        number = ++wheel->chunk_high_water;
        tg_assert(number <= wheel->chunks_max);
    }
    struct chunk *chunk = &wheel->chunks[number];
    chunk->next = 0;
    chunk->first = chunk->count = 0;

    struct bucket *bucket = &ring->buckets[slot];
    if (bucket->tail) {
        wheel->chunks[bucket->tail].next = number;
    } else {
        bucket->head = number;
        ring->used[slot / 64] |= 1ull << (slot % 64);
    }
    bucket->tail = number;
    return chunk;
}

/* The head chunk of a bucket is taken to its end. */
static void drop_head(struct eng_wheel *wheel, struct ring *ring, uint32_t slot)
{
    struct bucket *bucket = &ring->buckets[slot];
    uint32_t number = bucket->head;
    struct chunk *chunk = &wheel->chunks[number];
    bucket->head = chunk->next;
    if (bucket->head == 0) {
        bucket->tail = 0;
        ring->used[slot / 64] &= ~(1ull << (slot % 64));
    }
    chunk->next = wheel->chunk_free;
    wheel->chunk_free = number;
}

/* --- where a timer lies --- */

/* The first tick that is not before the time. */
static uint64_t tick_of(int64_t due_ms)
{
    return (uint64_t)due_ms / ENG_TICK_MS + (due_ms % ENG_TICK_MS != 0);
}

/* `index` lies in the block of `from`, or in the one behind it. */
static bool in_two_blocks(uint64_t index, uint64_t from)
{
    return (index >> LEVEL_BITS) - (from >> LEVEL_BITS) <= 1;
}

static void put(struct eng_wheel *wheel, uint64_t tick, const struct eng_timer *timer)
{
    uint64_t index = tick, from = wheel->tick;
    uint32_t level = 0;
    while (level < LEVELS - 1 && !in_two_blocks(index, from)) {
        index >>= LEVEL_BITS;
        from >>= LEVEL_BITS;
        level++;
    }
    /* What is beyond the last level lies in its last bucket, and is put again from there. */
    if (index - from >= SLOTS)
        index = from + SLOTS - 1;

    struct ring *ring = &wheel->rings[level];
    struct chunk *chunk = &wheel->chunks[ring->buckets[slot_of(index)].tail];
    if (chunk->count == CHUNK_TIMERS)
        chunk = grow(wheel, ring, slot_of(index));
    chunk->timers[chunk->count++] = *timer;
}

bool eng_wheel_add(struct eng_wheel *wheel, int64_t due_ms, uint64_t id)
{
    if (wheel->count == wheel->timers_max)
        return false;
    wheel->count++;
    uint64_t tick = due_ms <= wheel->now_ms ? wheel->tick : tick_of(due_ms);
    put(wheel, tick, &(struct eng_timer){.due_ms = due_ms, .id = id});
    return true;
}

/* --- turning --- */

/* Moves a bucket down, as far as `moves` allows. Returns whether it is empty now. */
static bool move_bucket(struct eng_wheel *wheel, struct ring *ring, uint32_t slot, uint32_t *moves)
{
    while (ring->buckets[slot].head && *moves > 0) {
        struct chunk *chunk = &wheel->chunks[ring->buckets[slot].head];
        for (; *moves > 0 && chunk->first < chunk->count; --*moves) {
            const struct eng_timer *timer = &chunk->timers[chunk->first++];
            put(wheel, tick_of(timer->due_ms), timer);
        }
        if (chunk->first == chunk->count)
            drop_head(wheel, ring, slot);
    }
    return ring->buckets[slot].head == 0;
}

/* The bucket of a level that is to be empty before `tick` leaves its block. */
static uint64_t bucket_ahead(const struct eng_wheel *wheel, uint32_t level)
{
    return (wheel->tick >> (level * LEVEL_BITS)) + 1;
}

/* The finer level first: its time comes earlier. */
static void move_down(struct eng_wheel *wheel, uint32_t *moves)
{
    for (uint32_t level = 1; level < LEVELS; level++)
        move_bucket(wheel, &wheel->rings[level], slot_of(bucket_ahead(wheel, level)), moves);
}

/* No timer has a tick before this; UINT64_MAX without any. Buckets of the coarse levels count from
 * as many buckets `ahead` of their time. */
static uint64_t tick_earliest(const struct eng_wheel *wheel, uint32_t ahead)
{
    uint64_t earliest = first_used(&wheel->rings[0], wheel->tick);
    for (uint32_t level = 1; level < LEVELS; level++) {
        uint32_t shift = level * LEVEL_BITS;
        uint64_t index = first_used(&wheel->rings[level], wheel->tick >> shift);
        if (index != UINT64_MAX && (index - ahead) << shift < earliest)
            earliest = (index - ahead) << shift;
    }
    return earliest;
}

/* From the last tick of a block to the first of the next one, past all blocks where nothing lies.
 * False when more is to be moved down before that than `moves` allows. */
static bool enter_block(struct eng_wheel *wheel, uint64_t now_tick, uint32_t *moves)
{
    uint64_t earliest = tick_earliest(wheel, 0);
    uint64_t to = (earliest < now_tick ? earliest : now_tick) | (BLOCK - 1);
    tg_assert(to > wheel->tick);
    wheel->tick = to - BLOCK;
    for (uint32_t level = 1; level < LEVELS; level++) {
        uint64_t next = bucket_ahead(wheel, level);
        /* Those that do not begin yet have time until the end of the call. */
        if ((wheel->tick + 1) >> (level * LEVEL_BITS) != next)
            break;
        if (!move_bucket(wheel, &wheel->rings[level], slot_of(next), moves))
            return false;
    }
    wheel->tick++;
    return true;
}

/* Up to `max` timers, at least one, of the bucket of `tick`, which is not empty. */
static uint32_t hand_out(struct eng_wheel *wheel, struct eng_timer *timers, uint32_t max)
{
    struct ring *ring = &wheel->rings[0];
    uint32_t slot = slot_of(wheel->tick), count = 0;
    while (count < max && ring->buckets[slot].head) {
        struct chunk *chunk = &wheel->chunks[ring->buckets[slot].head];
        uint32_t run = (uint32_t)(chunk->count - chunk->first);
        if (run > max - count)
            run = max - count;
        memcpy(&timers[count], &chunk->timers[chunk->first], run * sizeof(*timers));
        count += run;
        chunk->first = (uint16_t)(chunk->first + run);
        if (chunk->first == chunk->count)
            drop_head(wheel, ring, slot);
    }
    wheel->count -= count;
    return count;
}

uint32_t eng_wheel_due(struct eng_wheel *wheel, int64_t now_ms, struct eng_timer *timers,
                       uint32_t max)
{
    if (now_ms > wheel->now_ms)
        wheel->now_ms = now_ms;
    uint64_t now_tick = (uint64_t)wheel->now_ms / ENG_TICK_MS;
    uint32_t count = 0, moves = MOVES_MAX;
    while (count < max) {
        uint64_t block_end = wheel->tick | (BLOCK - 1);
        uint64_t end = now_tick < block_end ? now_tick : block_end;
        uint64_t next = first_used(&wheel->rings[0], wheel->tick);
        if (next <= end) {
            wheel->tick = next;
            count += hand_out(wheel, &timers[count], max - count);
            continue;
        }
        wheel->tick = end;
        if (end == now_tick || !enter_block(wheel, now_tick, &moves))
            break;
    }
    move_down(wheel, &moves);
    return count;
}

int64_t eng_wheel_next_ms(const struct eng_wheel *wheel)
{
    /* A coarse bucket is moved while the time of the one before it passes. */
    uint64_t earliest = tick_earliest(wheel, 1);
    if (earliest == UINT64_MAX)
        return INT64_MAX;
    const uint64_t tick_max = INT64_MAX / ENG_TICK_MS;
    return (int64_t)(earliest < tick_max ? earliest : tick_max) * ENG_TICK_MS;
}
