/* How many units of an item each user holds: what per-user limits are counted on. Channels and
 * sales are counted here as well, under numbers that are no item's: enum eng_held.
 *
 * A table of (user, item) -> units in segments that split as they fill (engine/directory.h). Inside
 * a segment: linear probing, and removal shifts the cluster back (Knuth, TAOCP vol. 3, 6.4,
 * algorithm R). Owned by one shard; no other thread looks. Only what is
 * counted has entries. Full is an answer.
 */
#ifndef TG_ENGINE_HOLDINGS_H
#define TG_ENGINE_HOLDINGS_H

#include "base/error.h"
#include "engine/directory.h"

#include <stdbool.h>
#include <stdint.h>

struct eng_holding {
    uint64_t user_id;
    uint32_t item;
    uint32_t units; /* 0: empty */
};

_Static_assert(sizeof(struct eng_holding) == 16, "four to a cache line");

/* Slots in one segment: 40 KiB. All segments of a table are full at about the same time, and half
 * full soon after; with this number the request ids (engine/requests.h) have their turn midway
 * between two turns of this table, so that the memory of both together swings least. */
#define ENG_SEGMENT_HOLDINGS 2560
/* Slots in use with which a segment splits: 80 in 100. A look-up of an absent entry looks at 13
 * slots then, which lie in four cache lines behind each other, and at 2 behind the split. */
#define ENG_HOLDINGS_FULL    (ENG_SEGMENT_HOLDINGS * 4 / 5)

struct eng_holdings {
    struct eng_holding *slots; /* ENG_SEGMENT_HOLDINGS for each segment of the directory */
    struct eng_directory directory;
    uint32_t count;
    uint32_t count_max;
    uint64_t hash_seed;
    uint64_t sweep_slot; /* where the next sweep begins */
};

enum tg_error eng_holdings_create(struct eng_holdings *holdings, uint32_t count_max,
                                  uint64_t hash_seed, struct tg_fault *fault);
void eng_holdings_destroy(struct eng_holdings *holdings);

/* The entry, or the empty one where it would go; good until anything is added, subtracted or swept.
 * Never NULL. */
struct eng_holding *eng_holdings_find(const struct eng_holdings *holdings, uint64_t user_id,
                                      uint32_t item);

/* Units that the user holds; 0 for none. */
uint32_t eng_holdings_units(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item);

/* Brings the entry into the cache ahead of its look-up. */
void eng_holdings_prefetch(const struct eng_holdings *holdings, uint64_t user_id, uint32_t item);

/* Adds units; false, and nothing done, when the table is full. */
bool eng_holdings_add(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                      uint32_t units);

/* The same, with what eng_holdings_find says of them. */
bool eng_holdings_add_at(struct eng_holdings *holdings, struct eng_holding *at, uint64_t user_id,
                         uint32_t item, uint32_t units);

/* Takes back units that were added, or what the sweep has left of them. */
void eng_holdings_subtract(struct eng_holdings *holdings, uint64_t user_id, uint32_t item,
                           uint32_t units);

/* Drops the entries whose item is over, looking at up to `slots` slots from where the last sweep
 * ended. Returns how many it dropped. */
uint32_t eng_holdings_sweep(struct eng_holdings *holdings,
                            bool (*over)(void *context, uint32_t item), void *context,
                            uint32_t slots);

#endif
