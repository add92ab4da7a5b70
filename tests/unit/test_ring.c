/* The ring, both ends polled by hand in one thread; tests/stress/stress.c runs it across threads.
 */
#include "base/ring.h"

#include "base/rng.h"

#include <criterion/criterion.h>

#define SEED 0x72696e67ull

/* An element of an odd size, so that slots of the wrong stride would overlap. */
struct element {
    uint64_t number;
    uint8_t tail[5];
} __attribute__((packed));

static bool push(struct tg_ring *ring, uint64_t number)
{
    struct element *slot = tg_ring_reserve(ring);
    if (!slot)
        return false;
    slot->number = number;
    for (size_t i = 0; i < sizeof(slot->tail); i++)
        slot->tail[i] = (uint8_t)(number + i);
    tg_ring_push(ring);
    return true;
}

/* Pops the oldest and checks that it is `number`, whole; false when the ring is empty. */
static bool pop(struct tg_ring *ring, uint64_t number)
{
    const struct element *front = tg_ring_front(ring);
    if (!front)
        return false;
    cr_assert_eq(front->number, number);
    for (size_t i = 0; i < sizeof(front->tail); i++)
        cr_assert_eq(front->tail[i], (uint8_t)(number + i));
    tg_ring_pop(ring);
    return true;
}

Test(ring, an_empty_one_has_no_front)
{
    struct element memory[4];
    struct tg_ring ring;
    tg_ring_init(&ring, memory, sizeof(memory[0]), 4);
    cr_assert_null(tg_ring_front(&ring));
}

Test(ring, a_reserved_element_is_not_seen_before_it_is_pushed)
{
    struct element memory[4];
    struct tg_ring ring;
    tg_ring_init(&ring, memory, sizeof(memory[0]), 4);
    void *slot = tg_ring_reserve(&ring);
    cr_assert_not_null(slot);
    cr_assert_null(tg_ring_front(&ring));
    cr_assert_eq(tg_ring_reserve(&ring), slot, "reserving twice is reserving once");
}

Test(ring, a_front_stays_until_it_is_popped)
{
    struct element memory[2];
    struct tg_ring ring;
    tg_ring_init(&ring, memory, sizeof(memory[0]), 2);
    cr_assert(push(&ring, 1));
    void *front = tg_ring_front(&ring);
    cr_assert_not_null(front);
    cr_assert(push(&ring, 2));
    cr_assert_eq(tg_ring_front(&ring), front);
    cr_assert_not(push(&ring, 3), "the slot of an unpopped front is not free");
}

Test(ring, holds_exactly_its_capacity)
{
    for (uint64_t capacity = 1; capacity <= 8; capacity *= 2) {
        struct element memory[8];
        struct tg_ring ring;
        tg_ring_init(&ring, memory, sizeof(memory[0]), capacity);
        for (uint64_t lap = 0; lap < 3; lap++) {
            for (uint64_t i = 0; i < capacity; i++)
                cr_assert(push(&ring, lap * capacity + i));
            cr_assert_not(push(&ring, 99), "capacity %lu", capacity);
            for (uint64_t i = 0; i < capacity; i++)
                cr_assert(pop(&ring, lap * capacity + i));
            cr_assert_not(pop(&ring, 99), "capacity %lu", capacity);
        }
    }
}

Test(ring, keeps_order_and_count_whatever_the_interleaving)
{
    struct element memory[8];
    struct tg_ring ring;
    struct tg_rng rng;
    tg_ring_init(&ring, memory, sizeof(memory[0]), 8);
    tg_rng_init(&rng, SEED);
    uint64_t pushed = 0, popped = 0;
    for (int step = 0; step < 100000; step++) {
        if (tg_rng_below(&rng, 2)) {
            bool done = push(&ring, pushed);
            cr_assert_eq(done, pushed - popped < 8, "seed %#llx, step %d", SEED, step);
            pushed += done;
        } else {
            bool done = pop(&ring, popped);
            cr_assert_eq(done, pushed > popped, "seed %#llx, step %d", SEED, step);
            popped += done;
        }
    }
    cr_assert_gt(popped, 10000);
}
