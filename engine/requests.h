/* The orders that a shard remembers, found by request id: what makes a retry safe.
 *
 * An order in flight lies in a slot with all that a retry is compared with. Once it is durable it
 * is remembered by an entry of 16 bytes: what else a retry needs to know lies in the row under the
 * order's id. Slots are a small pool that stays in the cache; entries are a dense array. Over both
 * lies an index in segments that split as they fill (engine/directory.h). A segment is an array of
 * buckets, one to a cache line:
 *
 *   bucket:  | word | word | word | word | word | word | word | passed |
 *   word:    | 34 high bits of the id's hash | place + 1, 30 bits |            0: free
 *              9: bucket in the segment, the low ones: directory
 *   place:   0 .. ENG_SLOTS_MAX - 1: a slot        from ENG_SLOTS_MAX on: an entry
 *   entry:   | order id, 64 bits | accepted, seconds, 32 | tag: the 30 low bits of the hash |
 *
 *   eng_requests_insert --> slot --- eng_requests_remove (refused) --------------------> forgotten
 *                            | eng_requests_durable, unless it is kept; else the last
 *                            | eng_requests_let_go
 *                            +------> entry --- eng_requests_sweep ---------------------> forgotten
 *
 * A slot tells ids apart exactly; an entry by the whole keyed 64-bit hash, in word and tag
 * together. So a match with an entry is all but surely the id, and for other threads it is the id:
 * a gate that takes one id in 2^64 for another sends the request to its owner, and another shard
 * refuses it as a conflict. The shard itself loads the row, compares the id, and looks for the next
 * match when it is another (engine/change.c).
 *
 * An id lies in the bucket of its hash, or, when that is full, in the next that has room; each
 * bucket counts the ids that passed it by (after F14 of facebook/folly). A look-up ends at the
 * first bucket that nobody passed, and a removal frees its word at once. The sweep draws words back
 * into buckets that they passed and that have room again; so nothing wears out, however often the
 * table turns over.
 *
 * The shard's thread is the one writer; any thread may look up, without a lock, which is how the
 * gate knows that a request for a sold-out item is a retry of an accepted order, and how a shard
 * knows that another one has accepted the same id. Why a look-up is right beside the writer:
 *
 * - A word is stored after its slot or entry is filled and after the counts of the buckets that it
 *   passed. Inside a segment it moves towards its home alone: it is stored there, its home counts
 *   one more that was drawn, and only then it is cleared where it was. So a look-up that finds
 *   nothing beyond the home makes sure that the home has counted none meanwhile.
 * - When a segment splits, the fresh half is filled and published before anything is cleared in the
 *   old one, and a look-up that finds nothing makes sure that the directory still names the segment
 *   in which it looked.
 * - When an order moves from its slot to an entry, its word changes in place, in one store. Whoever
 *   loads the word before finds the slot, whoever loads it after finds the entry.
 * - The slot may then be taken by another id while a look-up holds the old word: it finds that id
 *   in the slot, and so loads the word again. The id in a slot is stored with release and loaded
 *   with acquire: who sees the new one sees the changed word as well, and looks at that. An
 *   unchanged word means a hash whose high bits meet by chance. (Or the id was forgotten and put
 *   into the same slot anew: then it was not there for a moment, and "not found" is the answer of
 *   that moment.)
 * - An entry is freed only when its id is forgotten: a look-up that finds another tag in it may
 *   answer that the id is not there. One that finds an id in a freed slot, or by chance its tag in
 *   an entry that another has taken meanwhile, answers "found", as if it had come a moment before.
 *
 * Full is an answer: eng_requests_insert returns ENG_SLOT_NONE, and the order is refused as BUSY.
 */
#ifndef TG_ENGINE_REQUESTS_H
#define TG_ENGINE_REQUESTS_H

#include "base/error.h"
#include "base/limits.h"
#include "engine/directory.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* No slot, and no place. */
#define ENG_SLOT_NONE UINT32_MAX

/* Slots of durable orders that are kept for somebody who has left the journal. */
#define ENG_KEPT_MAX  8192
/* Every order in flight has a record in the journal, and so has whoever keeps a slot behind a fence
 * that has not completed. With more than this, insertions are refused. */
#define ENG_SLOTS_MAX (TG_JOURNAL_RECORDS + ENG_KEPT_MAX)

/* An order in flight, or one that is kept; one cache line. The request id is atomic because other
 * shards read it; all else is the shard's. */
struct eng_order {
    alignas(64) _Atomic uint64_t request_id[2];
    uint64_t order_id;    /* 0 while in flight */
    uint64_t fingerprint; /* of what the body says beside item and quantity: eng_body */
    int64_t unit_price_minor;
    int64_t accepted_at_ms;
    uint32_t item;
    uint32_t quantity;   /* 0: the slot is free, and `item` is the next free slot */
    uint32_t generation; /* grows each time the slot is freed */
    uint32_t waiting;    /* for its outcome: eng_requests_keep */
};

_Static_assert(sizeof(struct eng_order) == 64, "one cache line for each order in flight");

/* A durable order. The tag is atomic because other shards read it; the rest is the shard's. */
struct eng_entry {
    uint64_t order_id;      /* while the entry is free: the next free one */
    uint32_t accepted_at_s; /* Unix seconds, rounded down: good until the year 2106 */
    _Atomic uint32_t tag;
};

_Static_assert(sizeof(struct eng_entry) == 16, "what a durable order costs beside its word");

#define ENG_BUCKET_WORDS 7

struct eng_bucket {
    alignas(64) _Atomic uint64_t words[ENG_BUCKET_WORDS];
    /* low half: words in later buckets that passed here; high half: words of this home that were
     * drawn back towards it, ever */
    _Atomic uint64_t passed;
};

_Static_assert(sizeof(struct eng_bucket) == 64, "a look-up that misses costs one cache line");

/* Buckets in one segment: 32 KiB. */
#define ENG_SEGMENT_BUCKETS 512
/* Words in use with which a segment splits: 80 in 100. A look-up of an absent id looks at 2.0
 * buckets then, and at 1.0 behind the split; at 85 in 100 it would be 3.0. */
#define ENG_SEGMENT_FULL    (ENG_SEGMENT_BUCKETS * ENG_BUCKET_WORDS * 4 / 5)

struct eng_requests {
    /* written once */
    struct eng_order *orders;   /* the slots: ENG_SLOTS_MAX */
    struct eng_entry *entries;  /* orders_max */
    struct eng_bucket *buckets; /* ENG_SEGMENT_BUCKETS for each segment of the directory */
    uint32_t orders_max;
    uint64_t hash_seed;
    struct eng_directory directory; /* of the segments; written when one splits */
    /* shard only, on a line that look-ups of other threads do not touch */
    alignas(64) uint32_t count; /* slots and entries in use: at most orders_max */
    uint32_t high_water;        /* slots ever used */
    uint32_t free_slot;         /* head of the list of freed slots, or ENG_SLOT_NONE */
    uint32_t entry_high_water;  /* entries ever used */
    uint32_t free_entry;        /* head of the list of freed entries, or ENG_SLOT_NONE */
    uint64_t sweep_bucket;      /* where the next sweep begins */
};

/* A request id and its hash, computed once for a request. */
struct eng_request_key {
    uint64_t words[2];
    uint64_t hash;
};

struct eng_request_key eng_request_key(const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                       uint64_t hash_seed);

/* `hash_seed` is the same for every shard of one engine. */
enum tg_error eng_requests_create(struct eng_requests *requests, uint32_t orders_max,
                                  uint64_t hash_seed, struct tg_fault *fault);
void eng_requests_destroy(struct eng_requests *requests);

/* Any thread: the place of the first match of this id, or ENG_SLOT_NONE. An id that is being
 * inserted or forgotten at this moment may or may not be found, as if the look-up came just after
 * or just before. */
uint32_t eng_requests_find(const struct eng_requests *requests, const struct eng_request_key *key);

/* Brings the bucket of a key, and the next one, into the cache ahead of its look-up. */
void eng_requests_prefetch(const struct eng_requests *requests, const struct eng_request_key *key);
/* The same for a slot, ahead of eng_requests_durable. */
static inline void eng_requests_prefetch_slot(const struct eng_requests *requests, uint32_t slot)
{
    __builtin_prefetch(&requests->orders[slot], 1);
}

/* --- shard thread --- */

/* The place of match number `number`, from 0 on, or ENG_SLOT_NONE when there are not so many: an
 * entry of another id may have the same hash, and after a recovery two orders may own one id. */
uint32_t eng_requests_match(const struct eng_requests *requests, const struct eng_request_key *key,
                            uint32_t number);

/* The place is a slot, whose number it is; else an entry. */
static inline bool eng_place_is_slot(uint32_t place)
{
    return place < ENG_SLOTS_MAX;
}

/* The entry at a place that is no slot. */
static inline const struct eng_entry *eng_requests_entry(const struct eng_requests *requests,
                                                         uint32_t place)
{
    return &requests->entries[place - ENG_SLOTS_MAX];
}

/* Takes a free slot for an id that is not there; the caller fills the rest of it. ENG_SLOT_NONE
 * when all orders_max, or all slots, are in use. The id can be found by other threads on return.
 * Now and then a segment splits, which takes some tens of microseconds. */
uint32_t eng_requests_insert(struct eng_requests *requests, const struct eng_request_key *key);

/* Forgets the id in `slot`, whose order was refused, and frees the slot. */
void eng_requests_remove(struct eng_requests *requests, uint32_t slot);

/* The order in `slot` is durable: it moves to an entry and the slot is freed, at once or when
 * the last who keeps it lets go. */
void eng_requests_durable(struct eng_requests *requests, uint32_t slot, uint64_t order_id);

/* Somebody waits for what becomes of the order in flight in `slot`: it stays there, and is not
 * forgotten, until he lets go of it. */
void eng_requests_keep(struct eng_requests *requests, uint32_t slot);
/* Nothing to let go of when the order was refused meanwhile: the generation is another then. */
void eng_requests_let_go(struct eng_requests *requests, uint32_t slot, uint32_t generation);

/* Puts a durable order back at start-up; false when it is full. Nothing is looked up, for memory
 * cannot tell an id that is there from another of the same hash: with two orders of one id, which a
 * shorter time to live made possible once, there are two entries. The younger order is the one
 * that counts. */
bool eng_requests_restore(struct eng_requests *requests, const struct eng_request_key *key,
                          uint64_t order_id, int64_t accepted_at_ms);

/* Forgets entries of orders that were accepted before `before_ms`, up to a second late, looking at
 * up to `buckets` buckets from where the last sweep ended. Returns how many it forgot. */
uint32_t eng_requests_sweep(struct eng_requests *requests, int64_t before_ms, uint32_t buckets);

#endif
