#include "engine/requests.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

#define WORD_FREE 0ull

/* Every access to the index that decides something is sequentially consistent, because two shards
 * that accept one id at the same moment must not both overlook the other's word: each stores its
 * own before it loads the other's (Dekker). On x86 only the stores cost more for it. */

static uint64_t index_word(uint64_t hash, uint32_t slot)
{
    return (hash & 0xffffffff00000000ull) | (slot + 1u);
}

static bool word_matches(uint64_t word, uint64_t hash)
{
    return word != WORD_FREE && (word >> 32) == (hash >> 32);
}

static uint32_t word_slot(uint64_t word)
{
    return (uint32_t)word - 1;
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
    tg_assert(orders_max > 0 && orders_max <= UINT32_MAX / 4);
    uint32_t buckets = 2;
    while (buckets * (uint64_t)ENG_BUCKET_WORDS * 2 < orders_max * 3ull)
        buckets *= 2;
    *requests = (struct eng_requests){
        .orders = tg_mem_map(orders_max * sizeof(struct eng_order)),
        .buckets = tg_mem_map(buckets * sizeof(struct eng_bucket)),
        .bucket_mask = buckets - 1,
        .orders_max = orders_max,
        .hash_seed = hash_seed,
        .free_slot = ENG_SLOT_NONE,
    };
    if (requests->orders && requests->buckets)
        return TG_ERR_OK;
    eng_requests_destroy(requests);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory to remember %u orders", orders_max);
}

void eng_requests_destroy(struct eng_requests *requests)
{
    tg_mem_unmap(requests->orders, requests->orders_max * sizeof(struct eng_order));
    tg_mem_unmap(requests->buckets, (requests->bucket_mask + 1ull) * sizeof(struct eng_bucket));
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
        /* pairs with the store in index_insert: whoever sees the word sees its slot filled */
        uint64_t word = atomic_load_explicit(&bucket->words[i], memory_order_seq_cst);
        if (word_matches(word, key->hash) && order_has_id(&requests->orders[word_slot(word)], key))
            return word_slot(word);
    }
    return ENG_SLOT_NONE;
}

uint32_t eng_requests_find(const struct eng_requests *requests, const struct eng_request_key *key)
{
    uint64_t at = key->hash & requests->bucket_mask;
    for (uint64_t probes = 0; probes <= requests->bucket_mask; probes++) {
        const struct eng_bucket *bucket = &requests->buckets[at];
        uint32_t slot = bucket_find(requests, bucket, key);
        if (slot != ENG_SLOT_NONE)
            return slot;
        if (atomic_load_explicit(&bucket->passed, memory_order_seq_cst) == 0)
            return ENG_SLOT_NONE;
        at = (at + 1) & requests->bucket_mask;
    }
    return ENG_SLOT_NONE;
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

/* A third of all words is free, so both walks end. */
static void index_insert(struct eng_requests *requests, uint64_t hash, uint32_t slot)
{
    uint64_t at = hash & requests->bucket_mask;
    uint32_t i;
    while ((i = position(&requests->buckets[at], WORD_FREE)) == ENG_BUCKET_WORDS) {
        count_passed(&requests->buckets[at], 1);
        at = (at + 1) & requests->bucket_mask;
    }
    atomic_store_explicit(&requests->buckets[at].words[i], index_word(hash, slot),
                          memory_order_seq_cst);
}

static void index_remove(struct eng_requests *requests, uint64_t hash, uint32_t slot)
{
    uint64_t at = hash & requests->bucket_mask;
    uint32_t i;
    while ((i = position(&requests->buckets[at], index_word(hash, slot))) == ENG_BUCKET_WORDS) {
        count_passed(&requests->buckets[at], -1);
        at = (at + 1) & requests->bucket_mask;
    }
    atomic_store_explicit(&requests->buckets[at].words[i], WORD_FREE, memory_order_seq_cst);
}

uint32_t eng_requests_insert(struct eng_requests *requests, const struct eng_request_key *key)
{
    uint32_t slot = take_slot(requests);
    if (slot == ENG_SLOT_NONE)
        return ENG_SLOT_NONE;
    struct eng_order *order = &requests->orders[slot];
    atomic_store_explicit(&order->request_id[0], key->words[0], memory_order_relaxed);
    atomic_store_explicit(&order->request_id[1], key->words[1], memory_order_relaxed);
    index_insert(requests, key->hash, slot);
    requests->count++;
    return slot;
}

void eng_requests_remove(struct eng_requests *requests, uint32_t slot)
{
    struct eng_order *order = &requests->orders[slot];
    uint64_t hash = tg_hash_words(atomic_load_explicit(&order->request_id[0], memory_order_relaxed),
                                  atomic_load_explicit(&order->request_id[1], memory_order_relaxed),
                                  requests->hash_seed);
    index_remove(requests, hash, slot);

    order->quantity = 0;
    order->order_id = 0;
    order->generation++;
    order->item = requests->free_slot;
    requests->free_slot = slot;
    requests->count--;
}

uint32_t eng_requests_sweep(struct eng_requests *requests, int64_t before_ms, uint32_t slots)
{
    uint32_t forgotten = 0;
    if (slots > requests->high_water)
        slots = requests->high_water;
    for (; slots > 0; slots--) {
        if (requests->sweep_slot >= requests->high_water)
            requests->sweep_slot = 0;
        const struct eng_order *order = &requests->orders[requests->sweep_slot];
        if (order->quantity != 0 && order->order_id != 0 && order->accepted_at_ms < before_ms) {
            eng_requests_remove(requests, requests->sweep_slot);
            forgotten++;
        }
        requests->sweep_slot++;
    }
    return forgotten;
}
