/* A lock-free single-producer single-consumer ring of fixed-size elements.
 *
 * One thread pushes, one other thread pops; neither ever waits. Each side keeps a copy of the
 * other's cursor and looks at the real one only when the copy says full (or empty), so that in a
 * steady stream the cursors' cache lines seldom move (after Lee, Bu and Chandranmenon, "A
 * lock-free, cache-efficient multi-core synchronization mechanism", 2009).
 *
 * Always: head <= tail <= head + capacity. Full is an answer.
 *
 * Safety: `tail` is stored with release after the element is written and loaded with acquire before
 * it is read; `head` is stored with release after the element is read and loaded with acquire
 * before its slot is written again.
 */
#ifndef TG_BASE_RING_H
#define TG_BASE_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct tg_ring {
    /* written by the producer */
    alignas(128) _Atomic uint64_t tail;
    uint64_t head_seen;
    /* written by the consumer */
    alignas(128) _Atomic uint64_t head;
    uint64_t tail_seen;
    /* read by both */
    alignas(128) uint8_t *elements;
    size_t element_bytes;
    uint64_t capacity; /* a power of two */
};

/* `memory` holds capacity * element_bytes bytes and outlives the ring. */
static inline void tg_ring_init(struct tg_ring *ring, void *memory, size_t element_bytes,
                                uint64_t capacity)
{
    *ring =
        (struct tg_ring){.elements = memory, .element_bytes = element_bytes, .capacity = capacity};
}

/* Producer: the next slot to fill, or NULL when the ring is full. */
static inline void *tg_ring_reserve(struct tg_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen == ring->capacity) {
        /* pairs with the release in tg_ring_pop */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen == ring->capacity)
            return NULL;
    }
    return ring->elements + (tail & (ring->capacity - 1)) * ring->element_bytes;
}

/* Producer: publishes the slot that tg_ring_reserve gave. */
static inline void tg_ring_push(struct tg_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    /* pairs with the acquire in tg_ring_front */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

/* Consumer: the oldest element, or NULL when the ring is empty. It stays until tg_ring_pop. */
static inline void *tg_ring_front(struct tg_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen) {
        /* pairs with the release in tg_ring_push */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen)
            return NULL;
    }
    return ring->elements + (head & (ring->capacity - 1)) * ring->element_bytes;
}

/* Consumer: gives the slot of the oldest element back. */
static inline void tg_ring_pop(struct tg_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* pairs with the acquire in tg_ring_reserve */
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

#endif
