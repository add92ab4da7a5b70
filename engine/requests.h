/* The orders that a shard remembers, found by request id: what makes a retry safe.
 *
 * One dense array of order slots and, over it, an index in segments that split as they fill
 * (engine/directory.h). The shard's thread is the one writer; any thread may look up, which is how
 * the gate knows that a request for a sold-out item is a retry of an accepted order, and how a
 * shard knows that another one has accepted the same id. A segment is an array of buckets, one to a
 * cache line:
 *
 *   bucket:  | word | word | word | word | word | word | word | passed |
 *   word:    | 34 high bits of the id's hash | slot number + 1, 30 bits |     0: free
 *              9: bucket in the segment, the low ones: directory
 *
 * An id lies in the bucket of its hash, or, when that is full, in the next that has room; each
 * bucket counts the ids that passed it by (after F14 of facebook/folly). A look-up ends at the
 * first bucket that nobody passed, and a removal frees its word at once: nothing wears out, however
 * often the table turns over. Inside a segment words never move: look-ups may run beside insertions
 * and removals. A word is stored after its slot is filled and after the counts of the buckets that
 * it passed. When a segment splits, the fresh half is filled and published before anything is
 * cleared in the old one, and a look-up that finds nothing makes sure that the directory still
 * names the segment in which it looked.
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

#define ENG_SLOT_NONE UINT32_MAX

/* One remembered order; one cache line. The request id is atomic because other shards read it. */
struct eng_order {
    alignas(64) _Atomic uint64_t request_id[2];
    uint64_t order_id;    /* 0 while in flight */
    uint64_t fingerprint; /* of what the body says beside item and quantity: eng_body */
    int64_t unit_price_minor;
    int64_t accepted_at_ms;
    uint32_t item;
    uint32_t quantity;   /* 0: the slot is free, and `item` is the next free slot */
    uint32_t generation; /* grows each time the slot is freed */
    uint32_t waiting;    /* retries behind fences, for its outcome */
};

_Static_assert(sizeof(struct eng_order) == 64, "one cache line for each remembered order");

#define ENG_BUCKET_WORDS 7

struct eng_bucket {
    alignas(64) _Atomic uint64_t words[ENG_BUCKET_WORDS];
    _Atomic uint64_t passed; /* ids in later buckets that would lie here if there were room */
};

_Static_assert(sizeof(struct eng_bucket) == 64, "a look-up that misses costs one cache line");

/* Buckets in one segment: 32 KiB. It splits when two thirds of its words are in use. */
#define ENG_SEGMENT_BUCKETS 512

struct eng_requests {
    /* written once */
    struct eng_order *orders;
    struct eng_bucket *buckets; /* ENG_SEGMENT_BUCKETS for each segment of the directory */
    uint32_t orders_max;
    uint64_t hash_seed;
    struct eng_directory directory; /* of the segments; written when one splits */
    /* shard only, on a line that look-ups of other threads do not touch */
    alignas(64) uint32_t count; /* slots in use */
    uint32_t high_water;        /* slots ever used */
    uint32_t free_slot;         /* head of the list of freed slots, or ENG_SLOT_NONE */
    uint32_t sweep_slot;        /* where the next sweep begins */
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

/* Any thread: the slot that holds this id, or ENG_SLOT_NONE. An id that is being inserted at this
 * moment may or may not be found, as if the lookup came just after or just before. */
uint32_t eng_requests_find(const struct eng_requests *requests, const struct eng_request_key *key);

/* Brings the bucket of a key into the cache ahead of its look-up. */
void eng_requests_prefetch(const struct eng_requests *requests, const struct eng_request_key *key);

/* --- shard thread --- */

/* Takes a free slot for an id that is not there; the caller fills the rest of it. ENG_SLOT_NONE
 * when all orders_max are in use. The id can be found by other threads on return. Now and then a
 * segment splits, which takes some tens of microseconds. */
uint32_t eng_requests_insert(struct eng_requests *requests, const struct eng_request_key *key);

/* Forgets the id in `slot` and frees the slot. */
void eng_requests_remove(struct eng_requests *requests, uint32_t slot);

/* A retry waits for what becomes of the order in `slot`, which stays until the retry lets go of it.
 */
void eng_requests_keep(struct eng_requests *requests, uint32_t slot);
/* Nothing to let go of when the order was refused meanwhile: the generation is another then. */
void eng_requests_let_go(struct eng_requests *requests, uint32_t slot, uint32_t generation);

/* Forgets durable orders that were accepted before `before_ms` and that no retry waits for, looking
 * at up to `slots` slots from where the last sweep ended. Returns how many it forgot. */
uint32_t eng_requests_sweep(struct eng_requests *requests, int64_t before_ms, uint32_t slots);

#endif
