#include "engine/holdings.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

enum tg_error eng_holdings_create(struct eng_holdings *holdings, uint32_t count_max,
                                  uint64_t hash_seed, struct tg_fault *fault)
{
    tg_assert(count_max > 0);
    uint64_t slots = 16;
    while (slots < count_max + count_max / 2ull)
        slots *= 2;
    *holdings = (struct eng_holdings){
        .slots = tg_mem_map(slots * sizeof(struct eng_holding)),
        .mask = slots - 1,
        .count_max = count_max,
        .hash_seed = hash_seed,
    };
    if (holdings->slots)
        return TG_ERR_OK;
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the holdings of %u users", count_max);
}

void eng_holdings_destroy(struct eng_holdings *holdings)
{
    tg_mem_unmap(holdings->slots, (holdings->mask + 1) * sizeof(struct eng_holding));
    *holdings = (struct eng_holdings){0};
}

static uint64_t home(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    return tg_hash_words(user_id, item, holdings->hash_seed) & holdings->mask;
}

/* The slot of the entry, or the empty one where it would go. Ends, because a third is empty. */
static uint64_t locate(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    uint64_t at = home(holdings, user_id, item);
    for (;; at = (at + 1) & holdings->mask) {
        const struct eng_holding *slot = &holdings->slots[at];
        if (slot->units == 0 || (slot->user_id == user_id && slot->item == item))
            return at;
    }
}

uint32_t eng_holdings_units(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    return holdings->slots[locate(holdings, user_id, item)].units;
}

bool eng_holdings_add(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                      uint32_t units)
{
    tg_assert(units > 0);
    struct eng_holding *slot = &holdings->slots[locate(holdings, user_id, item)];
    if (slot->units == 0) {
        if (holdings->count == holdings->count_max)
            return false;
        holdings->count++;
        slot->user_id = user_id;
        slot->item = item;
    }
    slot->units += units;
    return true;
}

/* Empties a slot and shifts back the entries behind it that would no longer be found. */
static void empty_slot(struct eng_holdings *holdings, uint64_t hole)
{
    uint64_t at = hole;
    for (;;) {
        at = (at + 1) & holdings->mask;
        const struct eng_holding *next = &holdings->slots[at];
        if (next->units == 0)
            break;
        uint64_t from_home = (at - home(holdings, next->user_id, next->item)) & holdings->mask;
        uint64_t from_hole = (at - hole) & holdings->mask;
        if (from_home < from_hole)
            continue;
        holdings->slots[hole] = *next;
        hole = at;
    }
    holdings->slots[hole].units = 0;
    holdings->count--;
}

void eng_holdings_subtract(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                           uint32_t units)
{
    uint64_t at = locate(holdings, user_id, item);
    tg_assert(holdings->slots[at].units >= units);
    holdings->slots[at].units -= units;
    if (holdings->slots[at].units == 0)
        empty_slot(holdings, at);
}

uint32_t eng_holdings_sweep(struct eng_holdings *holdings, bool (*over)(void *context, uint32_t item),
                            void *context, uint32_t slots)
{
    uint32_t dropped = 0;
    for (; slots > 0; slots--) {
        struct eng_holding *slot = &holdings->slots[holdings->sweep_slot];
        if (slot->units != 0 && over(context, slot->item)) {
            empty_slot(holdings, holdings->sweep_slot); /* another may have moved in: look again */
            dropped++;
            continue;
        }
        holdings->sweep_slot = (holdings->sweep_slot + 1) & holdings->mask;
    }
    return dropped;
}
