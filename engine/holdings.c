#include "engine/holdings.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define SEGMENT_MASK    (ENG_SEGMENT_HOLDINGS - 1)
#define SEGMENT_FULL    (ENG_SEGMENT_HOLDINGS / 3 * 2)
/* As in engine/requests.c: what is split stays split. */
#define SEGMENT_AVERAGE (SEGMENT_FULL / 3)

enum tg_error eng_holdings_create(struct eng_holdings *holdings, uint32_t count_max,
                                  uint64_t hash_seed, struct tg_fault *fault)
{
    tg_assert(count_max > 0);
    uint32_t segments_max = count_max / SEGMENT_AVERAGE + 16;
    *holdings = (struct eng_holdings){
        .slots = tg_mem_map_table((size_t)segments_max * ENG_SEGMENT_HOLDINGS *
                                  sizeof(struct eng_holding)),
        .count_max = count_max,
        .hash_seed = hash_seed,
    };
    enum tg_error error = eng_directory_create(&holdings->directory, segments_max, fault);
    if (error == TG_ERR_OK && holdings->slots)
        return TG_ERR_OK;
    eng_holdings_destroy(holdings);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the holdings of %u users", count_max);
}

void eng_holdings_destroy(struct eng_holdings *holdings)
{
    tg_mem_unmap(holdings->slots, (size_t)holdings->directory.segments_max * ENG_SEGMENT_HOLDINGS *
                                      sizeof(struct eng_holding));
    eng_directory_destroy(&holdings->directory);
    *holdings = (struct eng_holdings){0};
}

/* The low bits of the hash choose the segment, the high ones the place in it. */
static uint64_t hash_of(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    return tg_hash_words(user_id, item, holdings->hash_seed);
}

static uint32_t home(uint64_t hash)
{
    _Static_assert(ENG_SEGMENT_HOLDINGS == 1 << 11, "the eleven high bits");
    return (uint32_t)(hash >> 53);
}

static struct eng_holding *segment_slots(const struct eng_holdings *holdings, uint32_t segment)
{
    return holdings->slots + (size_t)segment * ENG_SEGMENT_HOLDINGS;
}

/* The slot of the entry, or the empty one where it would go. Ends, because a third is empty. */
static uint32_t locate(const struct eng_holding *slots, uint64_t hash, uint64_t user_id,
                       uint32_t item)
{
    uint32_t at = home(hash);
    while (slots[at].units != 0 && (slots[at].user_id != user_id || slots[at].item != item))
        at = (at + 1) & SEGMENT_MASK;
    return at;
}

uint32_t eng_holdings_units(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    uint64_t hash = hash_of(holdings, user_id, item);
    const struct eng_holding *slots =
        segment_slots(holdings, eng_directory_segment(&holdings->directory, hash));
    return slots[locate(slots, hash, user_id, item)].units;
}

void eng_holdings_prefetch(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    uint64_t hash = hash_of(holdings, user_id, item);
    uint32_t segment = eng_directory_segment(&holdings->directory, hash);
    __builtin_prefetch(&segment_slots(holdings, segment)[home(hash)]);
}

/* Empties a slot and shifts back the entries behind it that would no longer be found. */
static void empty_slot(struct eng_holdings *holdings, uint32_t segment, uint32_t hole)
{
    struct eng_holding *slots = segment_slots(holdings, segment);
    for (uint32_t at = (hole + 1) & SEGMENT_MASK; slots[at].units != 0;
         at = (at + 1) & SEGMENT_MASK) {
        uint32_t from_home =
            (at - home(hash_of(holdings, slots[at].user_id, slots[at].item))) & SEGMENT_MASK;
        uint32_t from_hole = (at - hole) & SEGMENT_MASK;
        if (from_home < from_hole)
            continue;
        slots[hole] = slots[at];
        hole = at;
    }
    slots[hole].units = 0;
    holdings->directory.counts[segment]--;
}

/* Moves half of a full segment to a fresh one; false when there is no room for another. */
static bool split(struct eng_holdings *holdings, uint32_t segment, uint64_t hash)
{
    uint64_t split_bit;
    uint32_t fresh = eng_directory_fresh(&holdings->directory, segment, &split_bit);
    if (fresh == ENG_SEGMENT_NONE)
        return false;
    struct eng_holding *from = segment_slots(holdings, segment);
    struct eng_holding *to = segment_slots(holdings, fresh);
    for (uint32_t at = 0; at < ENG_SEGMENT_HOLDINGS;) {
        uint64_t each = hash_of(holdings, from[at].user_id, from[at].item);
        if (from[at].units == 0 || !(each & split_bit)) {
            at++;
            continue;
        }
        to[locate(to, each, from[at].user_id, from[at].item)] = from[at];
        holdings->directory.counts[fresh]++;
        empty_slot(holdings, segment, at); /* another may have moved in: look again */
    }
    eng_directory_publish(&holdings->directory, segment, fresh, hash);
    return true;
}

/* A new entry; false when the table is full. */
static bool insert(struct eng_holdings *holdings, uint64_t hash, struct eng_holding holding)
{
    if (holdings->count == holdings->count_max)
        return false;
    uint32_t segment = eng_directory_segment(&holdings->directory, hash);
    while (holdings->directory.counts[segment] >= SEGMENT_FULL) {
        if (!split(holdings, segment, hash))
            return false;
        segment = eng_directory_segment(&holdings->directory, hash);
    }
    struct eng_holding *slots = segment_slots(holdings, segment);
    slots[locate(slots, hash, holding.user_id, holding.item)] = holding;
    holdings->directory.counts[segment]++;
    holdings->count++;
    return true;
}

bool eng_holdings_add(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                      uint32_t units)
{
    tg_assert(units > 0);
    uint64_t hash = hash_of(holdings, user_id, item);
    struct eng_holding *slots =
        segment_slots(holdings, eng_directory_segment(&holdings->directory, hash));
    struct eng_holding *slot = &slots[locate(slots, hash, user_id, item)];
    if (slot->units == 0)
        return insert(holdings, hash,
                      (struct eng_holding){.user_id = user_id, .item = item, .units = units});
    slot->units += units;
    return true;
}

void eng_holdings_subtract(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                           uint32_t units)
{
    uint64_t hash = hash_of(holdings, user_id, item);
    uint32_t segment = eng_directory_segment(&holdings->directory, hash);
    struct eng_holding *slots = segment_slots(holdings, segment);
    uint32_t at = locate(slots, hash, user_id, item);
    if (slots[at].units > units) {
        slots[at].units -= units;
        return;
    }
    if (slots[at].units == 0)
        return;
    empty_slot(holdings, segment, at);
    holdings->count--;
}

uint32_t eng_holdings_sweep(struct eng_holdings *holdings,
                            bool (*over)(void *context, uint32_t item), void *context,
                            uint32_t slots)
{
    uint32_t dropped = 0;
    uint64_t end = (uint64_t)holdings->directory.segment_count * ENG_SEGMENT_HOLDINGS;
    for (; slots > 0; slots--) {
        if (holdings->sweep_slot >= end)
            holdings->sweep_slot = 0;
        const struct eng_holding *slot = &holdings->slots[holdings->sweep_slot];
        if (slot->units == 0 || !over(context, slot->item)) {
            holdings->sweep_slot++;
            continue;
        }
        /* Another may move in: the next round looks at the same slot. */
        empty_slot(holdings, (uint32_t)(holdings->sweep_slot / ENG_SEGMENT_HOLDINGS),
                   (uint32_t)(holdings->sweep_slot & SEGMENT_MASK));
        holdings->count--;
        dropped++;
    }
    return dropped;
}
