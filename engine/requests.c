#include "engine/requests.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

#define WORD_FREE 0ull

/* A look-up loads sequentially consistent, and so is a new id's word stored, because two shards
 * that accept one id at the same moment must not both overlook the other's word: each stores its
 * own before it loads the other's (Dekker). For everything else that is stored release is enough:
 * who sees a word cleared or changed sees what was stored before that, where the id lies now, and
 * that the directory or the home says so. */

#define PLACE_BITS 30
#define PLACE_MASK ((1ull << PLACE_BITS) - 1)

/* The least that segments hold on the average: a table that turns over day after day in the end
 * splits every segment whose share comes near to ENG_SEGMENT_FULL, and the halves have chance on
 * top. */
#define SEGMENT_AVERAGE (ENG_SEGMENT_FULL / 3)

/* The hash bits that choose the segment. A word keeps them, so that a split needs neither slot nor
 * entry. */
static uint64_t directory_bits(uint64_t hash_or_word)
{
    return hash_or_word >> PLACE_BITS;
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

/* The halves of `passed`. */
#define PASSED_COUNT(passed) ((uint32_t)(passed))
#define PASSED_DRAWN(passed) ((passed) >> 32)
#define DRAWN_ONE            (1ull << 32)

static uint32_t next_bucket(uint32_t at)
{
    return (at + 1) % ENG_SEGMENT_BUCKETS;
}

static uint64_t index_word(uint64_t hash, uint32_t place)
{
    return (hash & ~PLACE_MASK) | (place + 1u);
}

/* What the word of an id does not keep of its hash. */
static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash & PLACE_MASK);
}

/* A free word may be taken for one. */
static bool word_may_match(uint64_t word, uint64_t hash)
{
    return ((word ^ hash) >> PLACE_BITS) == 0;
}

static uint32_t word_place(uint64_t word)
{
    return (uint32_t)(word & PLACE_MASK) - 1;
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
    tg_assert(orders_max > 0 && orders_max < PLACE_MASK - ENG_SLOTS_MAX);
    uint32_t segments_max = orders_max / SEGMENT_AVERAGE + 16;
    *requests = (struct eng_requests){
        .orders = tg_mem_map_table(ENG_SLOTS_MAX * sizeof(struct eng_order)),
        .entries = tg_mem_map_table(orders_max * sizeof(struct eng_entry)),
        .buckets = tg_mem_map_table((size_t)segments_max * ENG_SEGMENT_BUCKETS *
                                    sizeof(struct eng_bucket)),
        .orders_max = orders_max,
        .hash_seed = hash_seed,
        .free_slot = ENG_SLOT_NONE,
        .free_entry = ENG_SLOT_NONE,
    };
    enum tg_error error = eng_directory_create(&requests->directory, segments_max, fault);
    if (error == TG_ERR_OK && requests->orders && requests->entries && requests->buckets)
        return TG_ERR_OK;
    eng_requests_destroy(requests);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory to remember %u orders", orders_max);
}

void eng_requests_destroy(struct eng_requests *requests)
{
    tg_mem_unmap(requests->orders, ENG_SLOTS_MAX * sizeof(struct eng_order));
    tg_mem_unmap(requests->entries, requests->orders_max * sizeof(struct eng_entry));
    tg_mem_unmap(requests->buckets, (size_t)requests->directory.segments_max * ENG_SEGMENT_BUCKETS *
                                        sizeof(struct eng_bucket));
    eng_directory_destroy(&requests->directory);
    *requests = (struct eng_requests){0};
}

static bool place_matches(const struct eng_requests *requests, uint32_t place,
                          const struct eng_request_key *key)
{
    if (!eng_place_is_slot(place))
        return atomic_load_explicit(&eng_requests_entry(requests, place)->tag,
                                    memory_order_relaxed) == tag_of(key->hash);
    /* Both pair with the stores in eng_requests_insert: whoever sees the id of the slot's next
     * order sees the word that the last one left. */
    const struct eng_order *order = &requests->orders[place];
    return atomic_load_explicit(&order->request_id[0], memory_order_acquire) == key->words[0] &&
           atomic_load_explicit(&order->request_id[1], memory_order_acquire) == key->words[1];
}

/* The place that a word names when it is of this id, else ENG_SLOT_NONE. */
static uint32_t word_find(const struct eng_requests *requests, const _Atomic uint64_t *at,
                          const struct eng_request_key *key)
{
    /* pairs with the stores in eng_requests_insert, moving_put, change_word and draw_one: whoever
     * sees the word sees its place filled */
    uint64_t word = atomic_load_explicit(at, memory_order_seq_cst);
    while (word != WORD_FREE && word_may_match(word, key->hash)) {
        uint32_t place = word_place(word);
        if (place_matches(requests, place, key))
            return place;
        uint64_t again = atomic_load_explicit(at, memory_order_seq_cst);
        if (again == word)
            break;
        word = again; /* it has moved, or was forgotten */
    }
    return ENG_SLOT_NONE;
}

/* The place of the id when it lies in this bucket, with `*skip` matches passed over before. */
static uint32_t bucket_find(const struct eng_requests *requests, const struct eng_bucket *bucket,
                            const struct eng_request_key *key, uint32_t *skip)
{
    for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++) {
        uint32_t place = word_find(requests, &bucket->words[i], key);
        if (place != ENG_SLOT_NONE && (*skip)-- == 0)
            return place;
    }
    return ENG_SLOT_NONE;
}

/* False: the id does not lie in this bucket. */
static inline bool bucket_may_hold(const struct eng_bucket *bucket, uint64_t hash)
{
#pragma GCC unroll 7
    for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++)
        if (word_may_match(atomic_load_explicit(&bucket->words[i], memory_order_seq_cst), hash))
            return true;
    return false;
}

static uint64_t passed_of(const struct eng_bucket *bucket)
{
    return atomic_load_explicit(&bucket->passed, memory_order_seq_cst);
}

/* One walk from the home of the id to the first bucket that nobody passed. What a bucket says of
 * that is loaded before its words: who comes to it later is in words that are still to be loaded.
 */
static uint32_t walk(const struct eng_requests *requests, const struct eng_bucket *buckets,
                     const struct eng_request_key *key, uint32_t skip)
{
    uint32_t at = home(key->hash);
    for (uint32_t probes = 0; probes < ENG_SEGMENT_BUCKETS; probes++, at = next_bucket(at)) {
        bool is_last = PASSED_COUNT(passed_of(&buckets[at])) == 0;
        uint32_t place = ENG_SLOT_NONE;
        if (bucket_may_hold(&buckets[at], key->hash))
            place = bucket_find(requests, &buckets[at], key, &skip);
        if (place != ENG_SLOT_NONE || is_last)
            return place;
    }
    return ENG_SLOT_NONE;
}

static uint32_t segment_find(const struct eng_requests *requests, uint32_t segment,
                             const struct eng_request_key *key, uint32_t skip)
{
    const struct eng_bucket *buckets = segment_buckets(requests, segment);
    const struct eng_bucket *first = &buckets[home(key->hash)];
    for (;;) {
        /* Pairs with the store in draw_one. When nobody passed the home, nothing can come back. */
        uint64_t before = passed_of(first);
        uint32_t place = walk(requests, buckets, key, skip);
        if (place != ENG_SLOT_NONE || PASSED_COUNT(before) == 0 ||
            PASSED_DRAWN(before) == PASSED_DRAWN(passed_of(first)))
            return place;
    }
}

/* A split clears the old segment after the directory names the fresh one: had the word gone from
 * under a look-up that found nothing, the directory would say so by now. */
static uint32_t find_on(const struct eng_requests *requests, const struct eng_request_key *key,
                        uint32_t segment)
{
    for (;;) {
        uint32_t place = segment_find(requests, segment, key, 0);
        if (place != ENG_SLOT_NONE)
            return place;
        uint32_t again = eng_directory_segment(&requests->directory, directory_bits(key->hash));
        if (again == segment)
            return ENG_SLOT_NONE;
        segment = again;
    }
}

/* Most ids are new, and most homes were passed by nobody: that is seen without another call. */
uint32_t eng_requests_find(const struct eng_requests *requests, const struct eng_request_key *key)
{
    uint64_t bits = directory_bits(key->hash);
    uint32_t segment = eng_directory_segment(&requests->directory, bits);
    const struct eng_bucket *first = &segment_buckets(requests, segment)[home(key->hash)];
    if (PASSED_COUNT(passed_of(first)) == 0 && !bucket_may_hold(first, key->hash) &&
        eng_directory_segment(&requests->directory, bits) == segment)
        return ENG_SLOT_NONE;
    return find_on(requests, key, segment);
}

uint32_t eng_requests_match(const struct eng_requests *requests, const struct eng_request_key *key,
                            uint32_t number)
{
    uint32_t segment = eng_directory_segment(&requests->directory, directory_bits(key->hash));
    return segment_find(requests, segment, key, number);
}

void eng_requests_prefetch(const struct eng_requests *requests, const struct eng_request_key *key)
{
    uint32_t segment = eng_directory_segment(&requests->directory, directory_bits(key->hash));
    const struct eng_bucket *first = &segment_buckets(requests, segment)[home(key->hash)];
    __builtin_prefetch(first);
    __builtin_prefetch(first + 1); /* where a look-up goes on when the home was passed */
}

/* --- slots and entries --- */

static uint32_t take_slot(struct eng_requests *requests)
{
    uint32_t slot = requests->free_slot;
    if (slot != ENG_SLOT_NONE) {
        requests->free_slot = requests->orders[slot].item;
        if (requests->free_slot != ENG_SLOT_NONE) /* it names the one behind it */
            eng_requests_prefetch_slot(requests, requests->free_slot);
        return slot;
    }
    if (requests->high_water == ENG_SLOTS_MAX)
        return ENG_SLOT_NONE;
    return requests->high_water++;
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

/* Takes an entry, which is there because fewer than orders_max are counted, or the one that it is
 * for is counted as a slot. Returns its place. */
static uint32_t fill_entry(struct eng_requests *requests, uint64_t hash, uint64_t order_id,
                           int64_t accepted_at_ms)
{
    uint32_t number = requests->free_entry;
    if (number == ENG_SLOT_NONE)
        number = requests->entry_high_water++;
    else
        requests->free_entry = (uint32_t)requests->entries[number].order_id;
    tg_assert(number < requests->orders_max);
    struct eng_entry *entry = &requests->entries[number];
    int64_t at_s = accepted_at_ms / 1000;
    entry->order_id = order_id;
    entry->accepted_at_s = at_s < 0 ? 0 : at_s > UINT32_MAX ? UINT32_MAX : (uint32_t)at_s;
    atomic_store_explicit(&entry->tag, tag_of(hash), memory_order_relaxed);
    return ENG_SLOTS_MAX + number;
}

static void give_entry(struct eng_requests *requests, uint32_t place)
{
    uint32_t number = place - ENG_SLOTS_MAX;
    requests->entries[number].order_id = requests->free_entry;
    requests->free_entry = number;
}

/* --- the index --- */

/* The position of `word` in the bucket, or ENG_BUCKET_WORDS. */
static uint32_t position(const struct eng_bucket *bucket, uint64_t word)
{
#pragma GCC unroll 7
    for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++)
        if (atomic_load_explicit(&bucket->words[i], memory_order_relaxed) == word)
            return i;
    return ENG_BUCKET_WORDS;
}

static void change_passed(struct eng_bucket *bucket, uint64_t difference)
{
    uint64_t passed = atomic_load_explicit(&bucket->passed, memory_order_relaxed);
    atomic_store_explicit(&bucket->passed, passed + difference, memory_order_release);
}

/* Where a word goes, which is counted. Some of a segment's words are free, so this walk and the
 * next ones end. */
static _Atomic uint64_t *room_for(struct eng_requests *requests, uint32_t segment, uint64_t word)
{
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint32_t at = home(word);
    uint32_t i;
    for (; (i = position(&buckets[at], WORD_FREE)) == ENG_BUCKET_WORDS; at = next_bucket(at))
        change_passed(&buckets[at], 1);
    requests->directory.counts[segment]++;
    return &buckets[at].words[i];
}

static void clear_word(struct eng_requests *requests, uint32_t segment, uint64_t word)
{
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint32_t at = home(word);
    uint32_t i;
    for (; (i = position(&buckets[at], word)) == ENG_BUCKET_WORDS; at = next_bucket(at))
        change_passed(&buckets[at], -1ull);
    atomic_store_explicit(&buckets[at].words[i], WORD_FREE, memory_order_release);
    requests->directory.counts[segment]--;
}

/* The order has moved. */
static void change_word(struct eng_requests *requests, uint64_t hash, uint32_t from, uint32_t to)
{
    uint32_t segment = eng_directory_segment(&requests->directory, directory_bits(hash));
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint64_t word = index_word(hash, from);
    uint32_t at = home(word);
    uint32_t i;
    while ((i = position(&buckets[at], word)) == ENG_BUCKET_WORDS)
        at = next_bucket(at);
    atomic_store_explicit(&buckets[at].words[i], index_word(hash, to), memory_order_release);
}

/* What goes from a full segment to a fresh one. */
struct moving {
    uint32_t count;
    uint16_t positions[ENG_SEGMENT_FULL + 1]; /* bucket * ENG_BUCKET_WORDS + position in it */
    uint64_t words[ENG_SEGMENT_FULL + 1];
};

/* Half of the words move, by chance: so each is written down and only some are counted, which the
 * processor need not guess. A free word has no bits. */
static void moving_find(struct moving *moving, const struct eng_bucket *buckets, uint64_t split_bit)
{
    uint32_t count = 0, position = 0;
    for (uint32_t at = 0; at < ENG_SEGMENT_BUCKETS; at++)
        for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++) {
            uint64_t word = atomic_load_explicit(&buckets[at].words[i], memory_order_relaxed);
            moving->words[count] = word;
            moving->positions[count] = (uint16_t)position++;
            count += (directory_bits(word) & split_bit) != 0;
        }
    moving->count = count;
}

/* Puts them into the fresh segment, which is empty, so that a count says what is free. */
static void moving_put(const struct moving *moving, struct eng_bucket *buckets)
{
    uint8_t used[ENG_SEGMENT_BUCKETS] = {0};
    for (uint32_t n = 0; n < moving->count; n++) {
        uint32_t at = home(moving->words[n]);
        for (; used[at] == ENG_BUCKET_WORDS; at = next_bucket(at))
            change_passed(&buckets[at], 1);
        atomic_store_explicit(&buckets[at].words[used[at]++], moving->words[n],
                              memory_order_release);
    }
}

static void moving_clear(const struct moving *moving, struct eng_bucket *buckets)
{
    for (uint32_t n = 0; n < moving->count; n++) {
        uint32_t at = moving->positions[n] / ENG_BUCKET_WORDS;
        uint32_t i = moving->positions[n] % ENG_BUCKET_WORDS;
        for (uint32_t by = home(moving->words[n]); by != at; by = next_bucket(by))
            change_passed(&buckets[by], -1ull);
        atomic_store_explicit(&buckets[at].words[i], WORD_FREE, memory_order_release);
    }
}

/* Moves half of a full segment to a fresh one; false when there is no room for another. */
static bool split(struct eng_requests *requests, uint32_t segment, uint64_t hash)
{
    uint64_t split_bit;
    uint32_t fresh = eng_directory_fresh(&requests->directory, segment, &split_bit);
    if (fresh == ENG_SEGMENT_NONE)
        return false;
    struct moving moving;
    moving_find(&moving, segment_buckets(requests, segment), split_bit);
    moving_put(&moving, segment_buckets(requests, fresh));
    requests->directory.counts[fresh] = moving.count;
    eng_directory_publish(&requests->directory, segment, fresh, directory_bits(hash));
    moving_clear(&moving, segment_buckets(requests, segment));
    requests->directory.counts[segment] -= moving.count;
    return true;
}

/* The segment where a new word of this hash goes, or ENG_SEGMENT_NONE when there is no room. */
static uint32_t segment_with_room(struct eng_requests *requests, uint64_t hash)
{
    uint32_t segment;
    do {
        segment = eng_directory_segment(&requests->directory, directory_bits(hash));
        if (requests->directory.counts[segment] < ENG_SEGMENT_FULL)
            return segment;
    } while (split(requests, segment, hash));
    return ENG_SEGMENT_NONE;
}

/* --- the shard's --- */

uint32_t eng_requests_insert(struct eng_requests *requests, const struct eng_request_key *key)
{
    uint32_t slot = requests->count < requests->orders_max ? take_slot(requests) : ENG_SLOT_NONE;
    if (slot == ENG_SLOT_NONE)
        return ENG_SLOT_NONE;
    /* Both pair with the loads in place_matches: a look-up that comes here by the word of the order
     * that had the slot before sees that word changed or cleared once it sees this id. */
    struct eng_order *order = &requests->orders[slot];
    atomic_store_explicit(&order->request_id[0], key->words[0], memory_order_release);
    atomic_store_explicit(&order->request_id[1], key->words[1], memory_order_release);
    uint32_t segment = segment_with_room(requests, key->hash);
    if (segment == ENG_SEGMENT_NONE) {
        give_slot(requests, slot);
        return ENG_SLOT_NONE;
    }
    uint64_t word = index_word(key->hash, slot);
    atomic_store_explicit(room_for(requests, segment, word), word, memory_order_seq_cst);
    requests->count++;
    return slot;
}

static uint64_t hash_of(const struct eng_requests *requests, uint32_t slot)
{
    const struct eng_order *order = &requests->orders[slot];
    return tg_hash_words(atomic_load_explicit(&order->request_id[0], memory_order_relaxed),
                         atomic_load_explicit(&order->request_id[1], memory_order_relaxed),
                         requests->hash_seed);
}

void eng_requests_remove(struct eng_requests *requests, uint32_t slot)
{
    uint64_t hash = hash_of(requests, slot);
    clear_word(requests, eng_directory_segment(&requests->directory, directory_bits(hash)),
               index_word(hash, slot));
    give_slot(requests, slot);
    requests->count--;
}

static void move(struct eng_requests *requests, uint32_t slot)
{
    const struct eng_order *order = &requests->orders[slot];
    uint64_t hash = hash_of(requests, slot);
    uint32_t place = fill_entry(requests, hash, order->order_id, order->accepted_at_ms);
    change_word(requests, hash, slot, place);
    give_slot(requests, slot);
}

void eng_requests_durable(struct eng_requests *requests, uint32_t slot, uint64_t order_id)
{
    struct eng_order *order = &requests->orders[slot];
    tg_assert(order->order_id == 0 && order->quantity != 0 && order_id != 0);
    order->order_id = order_id;
    if (order->waiting == 0)
        move(requests, slot);
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
    if (--order->waiting == 0 && order->order_id != 0)
        move(requests, slot);
}

bool eng_requests_restore(struct eng_requests *requests, const struct eng_request_key *key,
                          uint64_t order_id, int64_t accepted_at_ms)
{
    if (requests->count == requests->orders_max)
        return false;
    uint32_t segment = segment_with_room(requests, key->hash);
    if (segment == ENG_SEGMENT_NONE)
        return false;
    uint32_t place = fill_entry(requests, key->hash, order_id, accepted_at_ms);
    uint64_t word = index_word(key->hash, place);
    atomic_store_explicit(room_for(requests, segment, word), word, memory_order_release);
    requests->count++;
    return true;
}

/* --- forgetting --- */

/* The last millisecond of the second in which it was accepted counts. */
static bool is_old(const struct eng_entry *entry, int64_t before_ms)
{
    return entry->accepted_at_s * 1000ll + 999 < before_ms;
}

static uint32_t sweep_bucket(struct eng_requests *requests, uint64_t at, int64_t before_ms)
{
    const struct eng_bucket *bucket = &requests->buckets[at];
    uint32_t forgotten = 0;
    for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++) {
        uint64_t word = atomic_load_explicit(&bucket->words[i], memory_order_relaxed);
        uint32_t place = word_place(word);
        if (word == WORD_FREE || eng_place_is_slot(place) ||
            !is_old(eng_requests_entry(requests, place), before_ms))
            continue;
        clear_word(requests, (uint32_t)(at / ENG_SEGMENT_BUCKETS), word);
        give_entry(requests, place);
        requests->count--;
        forgotten++;
    }
    return forgotten;
}

/* Draws a word that passed bucket `to` back into its free position `free`. It is there twice for a
 * moment. A look-up that was at `to` before and comes to `at` after would miss it, so its home says
 * that something has moved before it is cleared. */
static void draw_one(struct eng_bucket *buckets, uint32_t to, uint32_t free)
{
    uint32_t at = to;
    for (;;) {
        at = next_bucket(at);
        for (uint32_t i = 0; i < ENG_BUCKET_WORDS; i++) {
            uint64_t word = atomic_load_explicit(&buckets[at].words[i], memory_order_relaxed);
            uint32_t from_home = (at - home(word)) % ENG_SEGMENT_BUCKETS;
            if (word == WORD_FREE || from_home < (at - to) % ENG_SEGMENT_BUCKETS)
                continue;
            atomic_store_explicit(&buckets[to].words[free], word, memory_order_release);
            change_passed(&buckets[home(word)], DRAWN_ONE);
            atomic_store_explicit(&buckets[at].words[i], WORD_FREE, memory_order_release);
            for (; to != at; to = next_bucket(to))
                change_passed(&buckets[to], -1ull);
            return;
        }
    }
}

/* Fills what became free in a bucket with words that passed it. True: there are some new ones. */
static bool draw_back(struct eng_requests *requests, uint32_t segment, uint32_t at)
{
    struct eng_bucket *buckets = segment_buckets(requests, segment);
    uint32_t free;
    bool any = false;
    while (PASSED_COUNT(atomic_load_explicit(&buckets[at].passed, memory_order_relaxed)) != 0 &&
           (free = position(&buckets[at], WORD_FREE)) != ENG_BUCKET_WORDS) {
        draw_one(buckets, at, free);
        any = true;
    }
    return any;
}

uint32_t eng_requests_sweep(struct eng_requests *requests, int64_t before_ms, uint32_t buckets)
{
    uint32_t forgotten = 0;
    uint64_t end = (uint64_t)requests->directory.segment_count * ENG_SEGMENT_BUCKETS;
    if (buckets > end)
        buckets = (uint32_t)end;
    for (; buckets > 0; buckets--) {
        if (requests->sweep_bucket >= end)
            requests->sweep_bucket = 0;
        uint64_t at = requests->sweep_bucket++;
        do
            forgotten += sweep_bucket(requests, at, before_ms);
        while (draw_back(requests, (uint32_t)(at / ENG_SEGMENT_BUCKETS),
                         (uint32_t)(at % ENG_SEGMENT_BUCKETS)));
    }
    return forgotten;
}
