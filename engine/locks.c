#include "engine/locks.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"

/* Order ids are the writer's, not a stranger's choice: a mixer without a key will do. */
static uint32_t home_of(const struct eng_locks *locks, uint64_t id)
{
    return (uint32_t)tg_mix64(id) & locks->mask;
}

enum tg_error eng_locks_create(struct eng_locks *locks, uint32_t count_max, struct tg_fault *fault)
{
    tg_assert(count_max > 0 && count_max <= 1u << 30);
    uint32_t slots = 2;
    while (slots < count_max * 2)
        slots *= 2;
    *locks = (struct eng_locks){
        .slots = tg_mem_map(slots * sizeof(*locks->slots)),
        .mask = slots - 1,
    };
    if (locks->slots)
        return TG_ERR_OK;
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u locks", count_max);
}

void eng_locks_destroy(struct eng_locks *locks)
{
    tg_mem_unmap(locks->slots, (locks->mask + 1ull) * sizeof(*locks->slots));
    *locks = (struct eng_locks){0};
}

/* The slot of the id, or the empty one where it would go. */
static uint32_t slot_of(const struct eng_locks *locks, uint64_t id)
{
    uint32_t slot = home_of(locks, id);
    while (locks->slots[slot] != 0 && locks->slots[slot] != id)
        slot = (slot + 1) & locks->mask;
    return slot;
}

bool eng_locks_held(const struct eng_locks *locks, uint64_t id)
{
    return id != 0 && locks->slots[slot_of(locks, id)] == id;
}

bool eng_locks_take(struct eng_locks *locks, uint64_t id)
{
    tg_assert(id != 0);
    if (locks->count > locks->mask / 2)
        return false;
    uint32_t slot = slot_of(locks, id);
    tg_assert(locks->slots[slot] == 0);
    locks->slots[slot] = id;
    locks->count++;
    return true;
}

void eng_locks_release(struct eng_locks *locks, uint64_t id)
{
    uint32_t hole = slot_of(locks, id);
    tg_assert(id != 0 && locks->slots[hole] == id);
    /* Whoever was pushed past the hole moves into it, and leaves the next hole. Knuth, TAOCP vol.
     * 3, 6.4, algorithm R. */
    for (uint32_t slot = (hole + 1) & locks->mask; locks->slots[slot] != 0;
         slot = (slot + 1) & locks->mask) {
        uint32_t home = home_of(locks, locks->slots[slot]);
        if (((slot - home) & locks->mask) < ((slot - hole) & locks->mask))
            continue;
        locks->slots[hole] = locks->slots[slot];
        hole = slot;
    }
    locks->slots[hole] = 0;
    locks->count--;
}
