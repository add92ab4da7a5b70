#include "engine/holdings.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

/* As in engine/requests.c: what is split stays split. */
#define SEGMENT_AVERAGE (ENG_HOLDINGS_FULL / 3)

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
    return (uint32_t)((hash >> 32) * ENG_SEGMENT_HOLDINGS >> 32);
}

static uint32_t next_slot(uint32_t at)
{
    return at + 1 < ENG_SEGMENT_HOLDINGS ? at + 1 : 0;
}

/* Steps from one slot forward to another. */
static uint32_t steps(uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + ENG_SEGMENT_HOLDINGS - from;
}

static struct eng_holding *segment_slots(const struct eng_holdings *holdings, uint32_t segment)
{
    return holdings->slots + (size_t)segment * ENG_SEGMENT_HOLDINGS;
}

/* The slot of the entry, or the empty one where it would go. Ends, because some are empty. */
static uint32_t locate(const struct eng_holding *slots, uint64_t hash, uint64_t user_id,
                       uint32_t item)
{
    uint32_t at = home(hash);
    while (slots[at].units != 0 && (slots[at].user_id != user_id || slots[at].item != item))
        at = next_slot(at);
    return at;
}

struct eng_holding *eng_holdings_find(const struct eng_holdings *holdings, uint64_t user_id,
                                      uint32_t item)
{
    uint64_t hash = hash_of(holdings, user_id, item);
    struct eng_holding *slots =
        segment_slots(holdings, eng_directory_segment(&holdings->directory, hash));
    return &slots[locate(slots, hash, user_id, item)];
}

uint32_t eng_holdings_units(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item)
{
    return eng_holdings_find(holdings, user_id, item)->units;
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
    for (uint32_t at = next_slot(hole); slots[at].units != 0; at = next_slot(at)) {
        uint32_t at_home = home(hash_of(holdings, slots[at].user_id, slots[at].item));
        if (steps(at_home, at) < steps(hole, at))
            continue;
        slots[hole] = slots[at];
        hole = at;
    }
    slots[hole].units = 0;
    holdings->directory.counts[segment]--;
}

/* The empty slot where an entry goes that is not there. */
static uint32_t first_empty(const struct eng_holding *slots, uint64_t hash)
{
    uint32_t at = home(hash);
    while (slots[at].units != 0)
        at = next_slot(at);
    return at;
}

/* Deals the entries of a segment out to two, each to where it belongs. An entry that stays can only
 * move back, into the room that those before it left; so the walk begins behind an empty slot, and
 * nothing is dealt twice. */
static void deal(struct eng_holdings *holdings, uint32_t segment, uint32_t fresh,
                 uint64_t split_bit)
{
    struct eng_holding *from = segment_slots(holdings, segment);
    struct eng_holding *to = segment_slots(holdings, fresh);
    uint32_t moved = 0, at = 0;
    while (from[at].units != 0)
        at++;
    for (uint32_t left = ENG_SEGMENT_HOLDINGS; left > 0; left--) {
        at = next_slot(at);
        struct eng_holding each = from[at];
        if (each.units == 0)
            continue;
        uint64_t hash = hash_of(holdings, each.user_id, each.item);
        bool moves = hash & split_bit;
        struct eng_holding *slots = moves ? to : from;
        from[at].units = 0;
        slots[first_empty(slots, hash)] = each;
        moved += moves;
    }
    holdings->directory.counts[fresh] = moved;
    holdings->directory.counts[segment] -= moved;
}

/* Moves half of a full segment to a fresh one; false when there is no room for another. */
static bool split(struct eng_holdings *holdings, uint32_t segment, uint64_t hash)
{
    uint64_t split_bit;
    uint32_t fresh = eng_directory_fresh(&holdings->directory, segment, &split_bit);
    if (fresh == ENG_SEGMENT_NONE)
        return false;
    deal(holdings, segment, fresh, split_bit);
    eng_directory_publish(&holdings->directory, segment, fresh, hash);
    return true;
}

static uint32_t segment_of(const struct eng_holdings *holdings, const struct eng_holding *at)
{
    return (uint32_t)((uint64_t)(at - holdings->slots) / ENG_SEGMENT_HOLDINGS);
}

/* The slot for a new entry, which would be `at` if its segment were not full; NULL when there is no
 * room for a split. */
static struct eng_holding *split_until_room(struct eng_holdings *holdings, struct eng_holding *at,
                                            uint64_t user_id, uint32_t item)
{
    uint64_t hash = hash_of(holdings, user_id, item);
    uint32_t segment;
    while (holdings->directory.counts[segment = segment_of(holdings, at)] >= ENG_HOLDINGS_FULL) {
        if (!split(holdings, segment, hash))
            return NULL;
        at = eng_holdings_find(holdings, user_id, item);
    }
    return at;
}

bool eng_holdings_add_at(struct eng_holdings *holdings, struct eng_holding *at, uint64_t user_id,
                         uint32_t item, uint32_t units)
{
    tg_assert(units > 0);
    if (at->units == 0) {
        if (holdings->count == holdings->count_max)
            return false;
        if (holdings->directory.counts[segment_of(holdings, at)] >= ENG_HOLDINGS_FULL)
            at = split_until_room(holdings, at, user_id, item);
        if (!at)
            return false;
        at->user_id = user_id;
        at->item = item;
        holdings->directory.counts[segment_of(holdings, at)]++;
        holdings->count++;
    }
    at->units += units;
    return true;
}

bool eng_holdings_add(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                      uint32_t units)
{
    return eng_holdings_add_at(holdings, eng_holdings_find(holdings, user_id, item), user_id, item,
                               units);
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
                   (uint32_t)(holdings->sweep_slot % ENG_SEGMENT_HOLDINGS));
        holdings->count--;
        dropped++;
    }
    return dropped;
}
