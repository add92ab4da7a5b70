#include "engine/requests.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

#define WORD_FREE 0ull

/* Every access to the index that decides something is sequentially consistent, because two shards
 * that accept one id at the same moment must not both overlook the other's word: each stores its
 * own before it loads the other's (Dekker). On x86 only the stores cost more for it. */

#define SLOT_BITS 30
#define SLOT_MASK ((1ull << SLOT_BITS) - 1)

#define SEGMENT_FULL    (ENG_SEGMENT_BUCKETS * ENG_BUCKET_WORDS / 3 * 2)
/* The least that segments hold on the average: a table that turns over day after day in the end
 * splits every segment whose share comes near to SEGMENT_FULL, and the halves have chance on top.
 */
#define SEGMENT_AVERAGE (SEGMENT_FULL / 3)

/* The hash bits that choose the segment. A word keeps them, so that a split needs no slot. */
static uint64_t directory_bits(uint64_t hash_or_word)
{
    return hash_or_word >> SLOT_BITS;
}

/* The place in the segment where an id lies if there is room. */
static uint32_t home(uint64_t hash_or_word)
{
    _Static_assert(ENG_SEGMENT_BUCKETS == 1 << 9, "the nine high bits");
    return (uint32_t)(hash_or_word >> 55);
}

static struct eng_bucket *segment_buckets(const struct eng_requests *requests, uint32_t segment)
{
    return requests->buckets + (size_t)segment * ENG_SEGMENT_BUCKETS;
}

static uint32_t next_bucket(uint32_t at)
{
    return (at + 1) % ENG_SEGMENT_BUCKETS;
}

static uint64_t index_word(uint64_t hash, uint32_t slot)
{
    return (hash & ~SLOT_MASK) | (slot + 1u);
}

static bool word_matches(uint64_t word, uint64_t hash)
{
    return word != WORD_FREE && ((word ^ hash) & ~SLOT_MASK) == 0;
}

static uint32_t word_slot(uint64_t word)
{
    return (uint32_t)(word & SLOT_MASK) - 1;
}

struct eng_request_key eng_request_key(const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                       uint64_t hash_seed)
{
    struct eng_request_key key;
    memcpy(key.words, request_id, TG_REQUEST_ID_BYTES);
    key.hash = tg_hash_words(key.words[0], key.words[1], hash_seed);
    return key;
}

enum tg_error eng_requests_create(struct eng_requests *requests, uint32_t orders_max,
                                  uint64_t hash_seed, struct tg_fault *fault)
{
    tg_assert(orders_max > 0 && orders_max < SLOT_MASK);
    uint32_t segments_max = orders_max / SEGMENT_AVERAGE + 16;
    *requests = (struct eng_requests){
        .orders = tg_mem_map_table(orders_max * sizeof(struct eng_order)),
        .buckets = tg_mem_map_table((size_t)segments_max * ENG_SEGMENT_BUCKETS *
                                    sizeof(struct eng_bucket)),
        .orders_max = orders_max,
        .hash_seed = hash_seed,
        .free_slot = ENG_SLOT_NONE,
    };
    enum tg_error error = eng_directory_create(&requests->directory, segments_max, fault);
    if (error == TG_ERR_OK && requests->orders && requests->buckets)
        return TG_ERR_OK;
    eng_requests_destroy(requests);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory to remember %u orders", orders_max);
}

void eng_requests_destroy(struct eng_requests *requests)
{
    tg_mem_unmap(requests->orders, requests->orders_max * sizeof(struct eng_order));
    tg_mem_unmap(requests->buckets, (size_t)requests->directory.segments_max * ENG_SEGMENT_BUCKETS *
                                        sizeof(struct eng_bucket));
    eng_directory_destroy(&requests->directory);
    *requests = (struct eng_requests){0};
}

static bool order_has_id(const struct eng_order *order, const struct eng_request_key *key)
{
    return atomic_load_explicit(&order->request_id[0], memory_order_relaxed) == key->words[0] &&
           atomic_load_explicit(&order->request_id[1], memory_order_relaxed) == key->words[1];
}

/* The slot of the id when it lies in this bucket. */
static uint32_t bucket_find(const struct eng_requests *requests, const struct eng_bucket *bucket,
                            const struct eng_request_key *key)
{
    for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++) {
        /* pairs with the store in put_word: whoever sees the word sees its slot filled */
        uint64_t word = atomic_load_explicit(&bucket->words[i], memory_order_seq_cst);
        if (word_matches(word, key->hash) && order_has_id(&requests->orders[word_slot(word)], key))
            return word_slot(word);
    }
    return ENG_SLOT_NONE;
}

static uint32_t segment_find(const struct eng_requests *requests, uint32_t segment,
                             const struct eng_request_key *key)
{
    const struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint32_t at = home(key->hash);
    for (uint32_t probes = 0; probes < ENG_SEGMENT_BUCKETS; probes++, at = next_bucket(at)) {
        uint32_t slot = bucket_find(requests, &buckets[at], key);
        if (slot != ENG_SLOT_NONE)
            return slot;
        if (atomic_load_explicit(&buckets[at].passed, memory_order_seq_cst) == 0)
            return ENG_SLOT_NONE;
    }
    return ENG_SLOT_NONE;
}

uint32_t eng_requests_find(const struct eng_requests *requests, const struct eng_request_key *key)
{
    uint64_t bits = directory_bits(key->hash);
    uint32_t segment = eng_directory_segment(&requests->directory, bits);
    for (;;) {
        uint32_t slot = segment_find(requests, segment, key);
        if (slot != ENG_SLOT_NONE)
            return slot;
        /* A split clears the old segment after the directory names the fresh one: had the word gone
         * from under this look-up, the directory would say so by now. */
        uint32_t again = eng_directory_segment(&requests->directory, bits);
        if (again == segment)
            return ENG_SLOT_NONE;
        segment = again;
    }
}

void eng_requests_prefetch(const struct eng_requests *requests, const struct eng_request_key *key)
{
    uint32_t segment = eng_directory_segment(&requests->directory, directory_bits(key->hash));
    __builtin_prefetch(&segment_buckets(requests, segment)[home(key->hash)]);
}

static uint32_t take_slot(struct eng_requests *requests)
{
    uint32_t slot = requests->free_slot;
    if (slot != ENG_SLOT_NONE) {
        requests->free_slot = requests->orders[slot].item;
        return slot;
    }
    if (requests->high_water == requests->orders_max)
        return ENG_SLOT_NONE;
    return requests->high_water++;
}

/* The position of `word` in the bucket, or ENG_BUCKET_WORDS. */
static uint32_t position(const struct eng_bucket *bucket, uint64_t word)
{
    uint32_t i = 0;
    while (i < ENG_BUCKET_WORDS &&
           atomic_load_explicit(&bucket->words[i], memory_order_relaxed) != word)
        i++;
    return i;
}

static void count_passed(struct eng_bucket *bucket, int64_t difference)
{
    uint64_t passed = atomic_load_explicit(&bucket->passed, memory_order_relaxed);
    atomic_store_explicit(&bucket->passed, passed + (uint64_t)difference, memory_order_seq_cst);
}

static void give_slot(struct eng_requests *requests, uint32_t slot)
{
    struct eng_order *order = &requests->orders[slot];
    order->quantity = 0;
    order->order_id = 0;
    order->generation++;
    order->waiting = 0;
    order->item = requests->free_slot;
    requests->free_slot = slot;
}

/* A third of a segment's words is free, so this walk and the next one end. */
static void put_word(struct eng_requests *requests, uint32_t segment, uint64_t word)
{
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint32_t at = home(word);
    uint32_t i;
    for (; (i = position(&buckets[at], WORD_FREE)) == ENG_BUCKET_WORDS; at = next_bucket(at))
        count_passed(&buckets[at], 1);
    atomic_store_explicit(&buckets[at].words[i], word, memory_order_seq_cst);
    requests->directory.counts[segment]++;
}

static void clear_word(struct eng_requests *requests, uint32_t segment, uint64_t word)
{
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint32_t at = home(word);
    uint32_t i;
    for (; (i = position(&buckets[at], word)) == ENG_BUCKET_WORDS; at = next_bucket(at))
        count_passed(&buckets[at], -1);
    atomic_store_explicit(&buckets[at].words[i], WORD_FREE, memory_order_seq_cst);
    requests->directory.counts[segment]--;
}

/* Calls `each` for every word of the segment that has the bit. */
static void each_moving_word(struct eng_requests *requests, uint32_t segment, uint64_t split_bit,
                             void (*each)(struct eng_requests *, uint32_t, uint64_t), uint32_t to)
{
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    for (uint32_t at = 0; at < ENG_SEGMENT_BUCKETS; at++)
        for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++) {
            uint64_t word = atomic_load_explicit(&buckets[at].words[i], memory_order_relaxed);
            if (word != WORD_FREE && (directory_bits(word) & split_bit))
                each(requests, to, word);
        }
}

/* Moves half of a full segment to a fresh one; false when there is no room for another. */
static bool split(struct eng_requests *requests, uint32_t segment, uint64_t hash)
{
    uint64_t split_bit;
    uint32_t fresh = eng_directory_fresh(&requests->directory, segment, &split_bit);
    if (fresh == ENG_SEGMENT_NONE)
        return false;
    each_moving_word(requests, segment, split_bit, put_word, fresh);
    eng_directory_publish(&requests->directory, segment, fresh, directory_bits(hash));
    each_moving_word(requests, segment, split_bit, clear_word, segment);
    return true;
}

static bool index_insert(struct eng_requests *requests, uint64_t hash, uint32_t slot)
{
    uint32_t segment;
    do {
        segment = eng_directory_segment(&requests->directory, directory_bits(hash));
        if (requests->directory.counts[segment] < SEGMENT_FULL) {
            put_word(requests, segment, index_word(hash, slot));
            return true;
        }
    } while (split(requests, segment, hash));
    return false;
}

uint32_t eng_requests_insert(struct eng_requests *requests, const struct eng_request_key *key)
{
    uint32_t slot = take_slot(requests);
    if (slot == ENG_SLOT_NONE)
        return ENG_SLOT_NONE;
    struct eng_order *order = &requests->orders[slot];
    atomic_store_explicit(&order->request_id[0], key->words[0], memory_order_relaxed);
    atomic_store_explicit(&order->request_id[1], key->words[1], memory_order_relaxed);
    if (!index_insert(requests, key->hash, slot)) {
        give_slot(requests, slot);
        return ENG_SLOT_NONE;
    }
    requests->count++;
    return slot;
}

void eng_requests_remove(struct eng_requests *requests, uint32_t slot)
{
    const struct eng_order *order = &requests->orders[slot];
    uint64_t hash = tg_hash_words(atomic_load_explicit(&order->request_id[0], memory_order_relaxed),
                                  atomic_load_explicit(&order->request_id[1], memory_order_relaxed),
                                  requests->hash_seed);
    clear_word(requests, eng_directory_segment(&requests->directory, directory_bits(hash)),
               index_word(hash, slot));
    give_slot(requests, slot);
    requests->count--;
}

void eng_requests_keep(struct eng_requests *requests, uint32_t slot)
{
    tg_assert(requests->orders[slot].quantity != 0);
    requests->orders[slot].waiting++;
}

void eng_requests_let_go(struct eng_requests *requests, uint32_t slot, uint32_t generation)
{
    struct eng_order *order = &requests->orders[slot];
    if (order->generation != generation)
        return;
    tg_assert(order->waiting > 0);
    order->waiting--;
}

static bool may_forget(const struct eng_order *order, int64_t before_ms)
{
    return order->quantity != 0 && order->order_id != 0 && order->waiting == 0 &&
           order->accepted_at_ms < before_ms;
}

uint32_t eng_requests_sweep(struct eng_requests *requests, int64_t before_ms, uint32_t slots)
{
    uint32_t forgotten = 0;
    if (slots > requests->high_water)
        slots = requests->high_water;
    for (; slots > 0; slots--) {
        if (requests->sweep_slot >= requests->high_water)
            requests->sweep_slot = 0;
        if (may_forget(&requests->orders[requests->sweep_slot], before_ms)) {
            eng_requests_remove(requests, requests->sweep_slot);
            forgotten++;
        }
        requests->sweep_slot++;
    }
    return forgotten;
}
