/* The table of request ids, against a naive model: an array of what should be there. */
#include "engine/requests.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SEED      0x72657175ull
#define HASH_SEED 77ull

static struct eng_requests requests_make(uint32_t orders_max)
{
    struct eng_requests requests;
    struct tg_fault fault;
    cr_assert_eq(eng_requests_create(&requests, orders_max, HASH_SEED, &fault), TG_ERR_OK);
    return requests;
}

static struct eng_request_key key_of(uint64_t number)
{
    uint8_t id[TG_REQUEST_ID_BYTES] = {0};
    memcpy(id + 4, &number, sizeof(number));
    return eng_request_key(id, HASH_SEED);
}

static uint32_t find(const struct eng_requests *requests, uint64_t number)
{
    struct eng_request_key key = key_of(number);
    return eng_requests_find(requests, &key);
}

/* As the shard does it: takes a slot and fills it; durable at once. */
static uint32_t insert(struct eng_requests *requests, uint64_t number, int64_t accepted_at_ms)
{
    struct eng_request_key key = key_of(number);
    uint32_t slot = eng_requests_insert(requests, &key);
    if (slot == ENG_SLOT_NONE)
        return slot;
    struct eng_order *order = &requests->orders[slot];
    order->order_id = number + 1;
    order->item = (uint32_t)number;
    order->accepted_at_ms = accepted_at_ms;
    order->quantity = 1;
    return slot;
}

Test(requests, an_id_is_found_where_it_was_put_and_nowhere_else)
{
    struct eng_requests requests = requests_make(100);
    cr_assert_eq(find(&requests, 5), ENG_SLOT_NONE);
    uint32_t slot = insert(&requests, 5, 0);
    cr_assert_neq(slot, ENG_SLOT_NONE);
    cr_assert_eq(find(&requests, 5), slot);
    cr_assert_eq(find(&requests, 6), ENG_SLOT_NONE);
    cr_assert_eq(requests.count, 1);
    eng_requests_destroy(&requests);
}

Test(requests, ids_that_differ_in_one_bit_are_two)
{
    struct eng_requests requests = requests_make(200);
    uint8_t id[TG_REQUEST_ID_BYTES] = {0};
    struct eng_request_key key = eng_request_key(id, HASH_SEED);
    cr_assert_neq(eng_requests_insert(&requests, &key), ENG_SLOT_NONE);
    for (int bit = 0; bit < 128; bit++) {
        memset(id, 0, sizeof(id));
        id[bit / 8] = (uint8_t)(1 << bit % 8);
        key = eng_request_key(id, HASH_SEED);
        cr_assert_eq(eng_requests_find(&requests, &key), ENG_SLOT_NONE, "bit %d", bit);
        cr_assert_neq(eng_requests_insert(&requests, &key), ENG_SLOT_NONE);
    }
    cr_assert_eq(requests.count, 129);
    eng_requests_destroy(&requests);
}

/* Callers choose their ids; without the seed they must not be able to make hashes meet. In a
 * product-and-xor of two words the top bits of both cancel out, whatever the seed is. */
Test(requests, ids_chosen_without_the_seed_do_not_share_a_hash)
{
    for (uint64_t seed = 0; seed < 64; seed++) {
        uint8_t one[TG_REQUEST_ID_BYTES] = {0}, other[TG_REQUEST_ID_BYTES] = {0};
        other[7] = other[15] = 0x80;
        cr_assert_neq(eng_request_key(one, seed).hash, eng_request_key(other, seed).hash,
                      "seed %lu", seed);
    }
}

Test(requests, a_removed_id_is_forgotten_and_its_slot_used_again)
{
    struct eng_requests requests = requests_make(4);
    uint32_t slot = insert(&requests, 1, 0);
    uint32_t generation = requests.orders[slot].generation;
    eng_requests_remove(&requests, slot);
    cr_assert_eq(find(&requests, 1), ENG_SLOT_NONE);
    cr_assert_eq(requests.count, 0);
    cr_assert_eq(requests.orders[slot].quantity, 0);
    cr_assert_neq(requests.orders[slot].generation, generation);
    cr_assert_eq(insert(&requests, 2, 0), slot);
    cr_assert_eq(find(&requests, 1), ENG_SLOT_NONE);
    cr_assert_eq(find(&requests, 2), slot);
    eng_requests_destroy(&requests);
}

Test(requests, holds_exactly_its_maximum_and_full_is_an_answer)
{
    for (uint32_t max = 1; max <= 40; max++) {
        struct eng_requests requests = requests_make(max);
        for (uint32_t i = 0; i < max; i++)
            cr_assert_neq(insert(&requests, i, 0), ENG_SLOT_NONE, "%u of %u", i, max);
        cr_assert_eq(insert(&requests, max, 0), ENG_SLOT_NONE);
        cr_assert_eq(find(&requests, max), ENG_SLOT_NONE);
        for (uint32_t i = 0; i < max; i++)
            cr_assert_neq(find(&requests, i), ENG_SLOT_NONE);
        eng_requests_remove(&requests, find(&requests, 0));
        cr_assert_neq(insert(&requests, max, 0), ENG_SLOT_NONE, "full is not for ever");
        eng_requests_destroy(&requests);
    }
}

Test(requests, the_sweep_forgets_what_is_old_durable_and_nothing_else)
{
    struct eng_requests requests = requests_make(16);
    insert(&requests, 1, 99);
    insert(&requests, 2, 100);
    uint32_t in_flight = insert(&requests, 3, 1);
    requests.orders[in_flight].order_id = 0;
    cr_assert_eq(eng_requests_sweep(&requests, 100, 1000), 1);
    cr_assert_eq(find(&requests, 1), ENG_SLOT_NONE);
    cr_assert_neq(find(&requests, 2), ENG_SLOT_NONE, "at the limit is not before it");
    cr_assert_neq(find(&requests, 3), ENG_SLOT_NONE, "in flight is not old");
    eng_requests_destroy(&requests);
}

Test(requests, the_sweep_takes_small_steps_and_comes_around)
{
    struct eng_requests requests = requests_make(64);
    for (uint64_t i = 0; i < 64; i++)
        insert(&requests, i, (int64_t)i);
    uint32_t forgotten = 0;
    for (int step = 0; step < 8; step++) {
        uint32_t now = eng_requests_sweep(&requests, 32, 8);
        cr_assert_leq(now, 8);
        forgotten += now;
    }
    cr_assert_eq(forgotten, 32);
    cr_assert_eq(requests.count, 32);
    forgotten = 0;
    for (int step = 0; step < 8; step++)
        forgotten += eng_requests_sweep(&requests, 64, 8);
    cr_assert_eq(forgotten, 32, "the second round begins where the first ended");
    cr_assert_eq(eng_requests_sweep(&requests, 64, 8), 0);
    eng_requests_destroy(&requests);
}

Test(requests, sweeping_an_unused_table_is_nothing)
{
    struct eng_requests requests = requests_make(8);
    cr_assert_eq(eng_requests_sweep(&requests, INT64_MAX, 1000), 0);
    eng_requests_destroy(&requests);
}

/* --- against the model --- */

#define IDS 8192

/* slot of each id that is there, or ENG_SLOT_NONE */
struct model {
    uint32_t slots[IDS];
    uint32_t count;
};

static void compare(const struct eng_requests *requests, const struct model *model, int step)
{
    cr_assert_eq(requests->count, model->count, "seed %#llx, step %d", SEED, step);
    for (uint64_t id = 0; id < IDS; id++)
        cr_assert_eq(find(requests, id), model->slots[id], "seed %#llx, step %d, id %lu", SEED,
                     step, id);
}

static void fuzz(uint32_t orders_max, uint64_t seed)
{
    struct eng_requests requests = requests_make(orders_max);
    struct model model = {.count = 0};
    struct tg_rng rng;
    tg_rng_init(&rng, seed);
    memset(model.slots, 0xff, sizeof(model.slots));
    for (int step = 0; step < 200000; step++) {
        uint64_t id = tg_rng_below(&rng, IDS);
        if (model.slots[id] != ENG_SLOT_NONE) {
            eng_requests_remove(&requests, model.slots[id]);
            model.slots[id] = ENG_SLOT_NONE;
            model.count--;
        } else {
            model.slots[id] = insert(&requests, id, step);
            bool full = model.count == orders_max;
            cr_assert_eq(model.slots[id] == ENG_SLOT_NONE, full, "seed %#lx, step %d", seed, step);
            model.count += !full;
        }
        if (step % 2000 == 0)
            compare(&requests, &model, step);
    }
    compare(&requests, &model, -1);
    eng_requests_destroy(&requests);
}

/* More ids than room, in tables of one segment nearly full (probes meet and wrap around) and of a
 * few that split. */
Test(requests, agrees_with_a_naive_table_whatever_comes_and_goes)
{
    static const uint32_t sizes[] = {1, 48, 2000, 2380, 3000, 5000, 7000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        fuzz(sizes[i], SEED + i);
}

/* Buckets that a look-up of an absent id looks at, on average over every starting point. */
static double miss_length(const struct eng_requests *requests)
{
    uint64_t starts = 0, sum = 0;
    for (uint32_t segment = 0; segment < requests->directory.segment_count; segment++) {
        const struct eng_bucket *buckets = &requests->buckets[segment * ENG_SEGMENT_BUCKETS];
        for (uint32_t start = 0; start < ENG_SEGMENT_BUCKETS; start++, starts++)
            for (uint32_t at = start, n = 1; n <= ENG_SEGMENT_BUCKETS; n++) {
                sum++;
                if (atomic_load(&buckets[at].passed) == 0)
                    break;
                at = (at + 1) % ENG_SEGMENT_BUCKETS;
            }
    }
    return (double)sum / (double)starts;
}

/* The index grows by splitting: every id must be found in the half where it went, and one that was
 * removed must not. */
Test(requests, every_id_is_found_however_often_the_index_has_split)
{
    enum {
        COUNT = 100000
    };
    struct eng_requests requests = requests_make(COUNT);
    uint32_t *slots = calloc(COUNT, sizeof(*slots));
    for (uint64_t i = 0; i < COUNT; i++) {
        slots[i] = insert(&requests, i, 0);
        cr_assert_neq(slots[i], ENG_SLOT_NONE, "id %lu", i);
        if (i % 7 == 0)
            eng_requests_remove(&requests, slots[i]);
    }
    cr_assert_gt(requests.directory.segment_count, 30);
    for (uint64_t i = 0; i < COUNT; i++)
        cr_assert_eq(find(&requests, i), i % 7 == 0 ? ENG_SLOT_NONE : slots[i], "id %lu", i);
    for (uint64_t i = COUNT; i < 2 * COUNT; i++)
        cr_assert_eq(find(&requests, i), ENG_SLOT_NONE, "id %lu", i);
    free(slots);
    eng_requests_destroy(&requests);
}

/* A full table that forgets its oldest with every new one, day after day, must not wear out: every
 * new order looks its id up and does not find it. */
Test(requests, probes_stay_short_however_often_the_table_turned_over)
{
    enum {
        MAX = ENG_SEGMENT_BUCKETS * ENG_BUCKET_WORDS / 3 * 2 /* as full as a segment gets */
    };
    struct eng_requests requests = requests_make(MAX);
    for (uint64_t i = 0; i < MAX; i++)
        insert(&requests, i, (int64_t)i);
    double fresh = miss_length(&requests);
    for (uint64_t i = MAX; i < 50 * MAX; i++) {
        eng_requests_remove(&requests, find(&requests, i - MAX));
        insert(&requests, i, (int64_t)i);
    }
    cr_assert_eq(requests.directory.segment_count, 1, "split, it would be half empty");
    double worn = miss_length(&requests);
    cr_assert_lt(worn, 4, "%.2f buckets when fresh, %.2f after 50 rounds", fresh, worn);
    eng_requests_destroy(&requests);
}
