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

/* As the shard does it: takes a slot and fills it. */
static uint32_t insert(struct eng_requests *requests, uint64_t number, int64_t accepted_at_ms)
{
    struct eng_request_key key = key_of(number);
    uint32_t slot = eng_requests_insert(requests, &key);
    if (slot == ENG_SLOT_NONE)
        return slot;
    struct eng_order *order = &requests->orders[slot];
    order->item = (uint32_t)number;
    order->accepted_at_ms = accepted_at_ms;
    order->quantity = 1;
    return slot;
}

/* The same, durable at once, under an order id that is made of the number. Returns its place. */
static uint32_t insert_durable(struct eng_requests *requests, uint64_t number,
                               int64_t accepted_at_ms)
{
    uint32_t slot = insert(requests, number, accepted_at_ms);
    if (slot == ENG_SLOT_NONE)
        return slot;
    eng_requests_durable(requests, slot, number + 1);
    return find(requests, number);
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

Test(requests, a_durable_order_moves_to_an_entry_and_frees_its_slot)
{
    struct eng_requests requests = requests_make(100);
    uint32_t slot = insert(&requests, 5, 7999);
    uint32_t generation = requests.orders[slot].generation;
    eng_requests_durable(&requests, slot, 77);
    uint32_t place = find(&requests, 5);
    cr_assert_not(eng_place_is_slot(place));
    cr_assert_eq(eng_requests_entry(&requests, place)->order_id, 77);
    cr_assert_eq(eng_requests_entry(&requests, place)->accepted_at_s, 7);
    cr_assert_eq(requests.orders[slot].quantity, 0);
    cr_assert_neq(requests.orders[slot].generation, generation);
    cr_assert_eq(requests.count, 1);
    cr_assert_eq(insert(&requests, 6, 0), slot, "the next has the slot");
    cr_assert_eq(find(&requests, 5), place);
    eng_requests_destroy(&requests);
}

Test(requests, a_kept_order_stays_in_its_slot_until_the_last_lets_go)
{
    struct eng_requests requests = requests_make(100);
    uint32_t slot = insert(&requests, 5, 0);
    uint32_t generation = requests.orders[slot].generation;
    eng_requests_keep(&requests, slot);
    eng_requests_keep(&requests, slot);
    eng_requests_durable(&requests, slot, 77);
    cr_assert_eq(find(&requests, 5), slot);
    cr_assert_eq(requests.orders[slot].order_id, 77);
    cr_assert_eq(eng_requests_sweep(&requests, 1000000, ENG_SEGMENT_BUCKETS), 0);
    eng_requests_let_go(&requests, slot, generation + 1);
    eng_requests_let_go(&requests, slot, generation);
    cr_assert_eq(find(&requests, 5), slot, "one waits still");
    eng_requests_let_go(&requests, slot, generation);
    cr_assert_not(eng_place_is_slot(find(&requests, 5)));
    cr_assert_eq(requests.count, 1);
    cr_assert_eq(eng_requests_sweep(&requests, 1000000, ENG_SEGMENT_BUCKETS), 1);
    eng_requests_destroy(&requests);
}

Test(requests, who_lets_go_of_an_order_in_flight_leaves_it_in_flight)
{
    struct eng_requests requests = requests_make(100);
    uint32_t slot = insert(&requests, 5, 0);
    eng_requests_keep(&requests, slot);
    eng_requests_let_go(&requests, slot, requests.orders[slot].generation);
    cr_assert_eq(find(&requests, 5), slot);
    eng_requests_remove(&requests, slot);
    cr_assert_eq(find(&requests, 5), ENG_SLOT_NONE);
    eng_requests_destroy(&requests);
}

/* Chance does not make them; a look-up must pass from one to the other all the same. */
Test(requests, ids_of_one_hash_are_matches_of_each_other_as_entries_alone)
{
    struct eng_requests requests = requests_make(100);
    struct eng_request_key keys[3] = {key_of(5), key_of(5), key_of(5)};
    uint32_t slots[3];
    keys[1].words[0]++;
    keys[2].words[1]++;
    for (int i = 0; i < 3; i++)
        slots[i] = eng_requests_insert(&requests, &keys[i]);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(eng_requests_find(&requests, &keys[i]), slots[i], "slots tell them apart");
        cr_assert_eq(eng_requests_match(&requests, &keys[i], 1), ENG_SLOT_NONE);
    }
    cr_assert(eng_requests_restore(&requests, &keys[0], 10, 0));
    cr_assert(eng_requests_restore(&requests, &keys[1], 20, 0));
    for (int i = 0; i < 3; i++) {
        uint64_t order_ids = 0;
        for (uint32_t n = 0; n < 3; n++) {
            uint32_t place = eng_requests_match(&requests, &keys[i], n);
            cr_assert_neq(place, ENG_SLOT_NONE, "match %u of id %d", n, i);
            if (!eng_place_is_slot(place))
                order_ids += eng_requests_entry(&requests, place)->order_id;
        }
        cr_assert_eq(order_ids, 30);
        cr_assert_eq(eng_requests_match(&requests, &keys[i], 3), ENG_SLOT_NONE);
    }
    eng_requests_destroy(&requests);
}

Test(requests, a_look_up_of_an_entry_compares_all_64_bits_of_the_hash)
{
    struct eng_requests requests = requests_make(100);
    struct eng_request_key key = key_of(5);
    cr_assert(eng_requests_restore(&requests, &key, 10, 0));
    for (int bit = 0; bit < 64; bit++) {
        struct eng_request_key other = key;
        other.hash ^= 1ull << bit;
        cr_assert_eq(eng_requests_find(&requests, &other), ENG_SLOT_NONE, "bit %d", bit);
    }
    eng_requests_destroy(&requests);
}

Test(requests, slots_run_out_before_orders_do_and_that_is_an_answer)
{
    struct eng_requests requests = requests_make(2 * ENG_SLOTS_MAX);
    for (uint64_t i = 0; i < ENG_SLOTS_MAX; i++)
        cr_assert_neq(insert(&requests, i, 0), ENG_SLOT_NONE, "%lu", i);
    cr_assert_eq(insert(&requests, ENG_SLOTS_MAX, 0), ENG_SLOT_NONE);
    eng_requests_durable(&requests, find(&requests, 9), 10);
    cr_assert_neq(insert(&requests, ENG_SLOTS_MAX, 0), ENG_SLOT_NONE);
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
        for (uint32_t i = 1; i <= max; i++)
            eng_requests_durable(&requests, find(&requests, i), i);
        struct eng_request_key key = key_of(0);
        cr_assert_eq(insert(&requests, 0, 0), ENG_SLOT_NONE, "entries count as well");
        cr_assert_not(eng_requests_restore(&requests, &key, 1, 0));
        for (uint32_t i = 1; i <= max; i++)
            cr_assert_not(eng_place_is_slot(find(&requests, i)));
        eng_requests_destroy(&requests);
    }
}

Test(requests, the_sweep_forgets_what_is_old_durable_and_nothing_else)
{
    struct eng_requests requests = requests_make(16);
    insert_durable(&requests, 1, 98999);
    insert_durable(&requests, 2, 99000);
    insert_durable(&requests, 4, 100000);
    insert(&requests, 3, 1);
    cr_assert_eq(eng_requests_sweep(&requests, 99999, ENG_SEGMENT_BUCKETS), 1);
    cr_assert_eq(find(&requests, 1), ENG_SLOT_NONE);
    cr_assert_neq(find(&requests, 2), ENG_SLOT_NONE, "it may be of the last millisecond of 99 s");
    cr_assert_eq(eng_requests_sweep(&requests, 100000, ENG_SEGMENT_BUCKETS), 1);
    cr_assert_eq(find(&requests, 2), ENG_SLOT_NONE);
    cr_assert_neq(find(&requests, 3), ENG_SLOT_NONE, "in flight is not old");
    cr_assert_neq(find(&requests, 4), ENG_SLOT_NONE, "at the limit is not before it");
    eng_requests_destroy(&requests);
}

Test(requests, times_that_seconds_cannot_say_are_the_first_and_the_last)
{
    struct eng_requests requests = requests_make(16);
    insert_durable(&requests, 1, -5000);
    insert_durable(&requests, 2, TG_TIME_MS_MAX);
    cr_assert_eq(eng_requests_entry(&requests, find(&requests, 1))->accepted_at_s, 0);
    cr_assert_eq(eng_requests_entry(&requests, find(&requests, 2))->accepted_at_s, UINT32_MAX);
    eng_requests_destroy(&requests);
}

Test(requests, the_sweep_takes_small_steps_and_comes_around)
{
    enum {
        STEPS = 8
    };
    struct eng_requests requests = requests_make(64);
    for (uint64_t i = 0; i < 64; i++)
        insert_durable(&requests, i, (int64_t)i * 1000);
    uint32_t forgotten = 0, steps_that_forgot = 0;
    for (int step = 0; step < STEPS; step++) {
        uint32_t now = eng_requests_sweep(&requests, 32000, ENG_SEGMENT_BUCKETS / STEPS);
        steps_that_forgot += now > 0;
        forgotten += now;
    }
    cr_assert_eq(forgotten, 32);
    cr_assert_gt(steps_that_forgot, STEPS / 2, "each looks at its part");
    cr_assert_eq(requests.count, 32);
    forgotten = 0;
    for (int step = 0; step < STEPS; step++)
        forgotten += eng_requests_sweep(&requests, 64000, ENG_SEGMENT_BUCKETS / STEPS);
    cr_assert_eq(forgotten, 32, "the second round begins where the first ended");
    cr_assert_eq(eng_requests_sweep(&requests, 64000, ENG_SEGMENT_BUCKETS), 0);
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

/* What should be there of each id: nothing, an order in flight, or a durable one of that time. */
enum life {
    ABSENT,
    IN_FLIGHT,
    KEPT, /* durable, and one waits */
    DURABLE,
};

struct model {
    enum life lives[IDS];
    uint32_t seconds[IDS];
    uint32_t slots[IDS]; /* of those in flight, and kept */
    uint32_t count;
};

static void compare_id(const struct eng_requests *requests, const struct model *model, uint64_t id,
                       uint64_t seed, int step)
{
    uint32_t place = find(requests, id);
    struct eng_request_key key = key_of(id);
    cr_assert_eq(eng_requests_match(requests, &key, 1), ENG_SLOT_NONE, "it stands once");
    switch (model->lives[id]) {
    case ABSENT:
        cr_assert_eq(place, ENG_SLOT_NONE, "seed %#lx, step %d, id %lu", seed, step, id);
        return;
    case IN_FLIGHT:
    case KEPT:
        cr_assert_eq(place, model->slots[id], "seed %#lx, step %d, id %lu", seed, step, id);
        cr_assert_eq(requests->orders[place].order_id, model->lives[id] == KEPT ? id + 1 : 0);
        return;
    case DURABLE:
        cr_assert(place != ENG_SLOT_NONE && !eng_place_is_slot(place), "seed %#lx, step %d, id %lu",
                  seed, step, id);
        cr_assert_eq(eng_requests_entry(requests, place)->order_id, id + 1);
        cr_assert_eq(eng_requests_entry(requests, place)->accepted_at_s, model->seconds[id]);
    }
}

static void compare(const struct eng_requests *requests, const struct model *model, uint64_t seed,
                    int step)
{
    cr_assert_eq(requests->count, model->count, "seed %#lx, step %d", seed, step);
    for (uint64_t id = 0; id < IDS; id++)
        compare_id(requests, model, id, seed, step);
}

static void come(struct eng_requests *requests, struct model *model, uint64_t id, int step,
                 bool restored)
{
    struct eng_request_key key = key_of(id);
    bool full = model->count == requests->orders_max, came;
    model->seconds[id] = (uint32_t)step;
    if (restored) {
        came = eng_requests_restore(requests, &key, id + 1, step * 1000ll);
    } else {
        model->slots[id] = insert(requests, id, step * 1000ll);
        came = model->slots[id] != ENG_SLOT_NONE;
    }
    cr_assert_eq(came, !full, "step %d", step);
    if (!came)
        return;
    model->lives[id] = restored ? DURABLE : IN_FLIGHT;
    model->count++;
}

static void settle(struct eng_requests *requests, struct model *model, uint64_t id, uint64_t how)
{
    uint32_t slot = model->slots[id];
    if (how == 0) {
        eng_requests_remove(requests, slot);
        model->lives[id] = ABSENT;
        model->count--;
        return;
    }
    if (how == 1)
        eng_requests_keep(requests, slot);
    eng_requests_durable(requests, slot, id + 1);
    model->lives[id] = how == 1 ? KEPT : DURABLE;
}

static void forget(struct eng_requests *requests, struct model *model, int before)
{
    uint32_t expected = 0;
    for (uint64_t id = 0; id < IDS; id++)
        if (model->lives[id] == DURABLE && (int)model->seconds[id] < before) {
            model->lives[id] = ABSENT;
            expected++;
        }
    model->count -= expected;
    cr_assert_eq(eng_requests_sweep(requests, before * 1000ll, UINT32_MAX), expected, "before %d",
                 before);
}

static void fuzz(uint32_t orders_max, uint64_t seed)
{
    struct eng_requests requests = requests_make(orders_max);
    struct model *model = calloc(1, sizeof(*model));
    struct tg_rng rng;
    tg_rng_init(&rng, seed);
    for (int step = 0; step < 200000; step++) {
        uint64_t id = tg_rng_below(&rng, IDS);
        switch (model->lives[id]) {
        case ABSENT:
            come(&requests, model, id, step, tg_rng_below(&rng, 8) == 0);
            break;
        case IN_FLIGHT:
            settle(&requests, model, id, tg_rng_below(&rng, 8));
            break;
        case KEPT:
            eng_requests_let_go(&requests, model->slots[id],
                                requests.orders[model->slots[id]].generation);
            model->lives[id] = DURABLE;
            break;
        case DURABLE:
            break;
        }
        if (tg_rng_below(&rng, 4000) == 0)
            forget(&requests, model, step - (int)tg_rng_below(&rng, 8000));
        if (step % 2000 == 0)
            compare(&requests, model, seed, step);
    }
    compare(&requests, model, seed, -1);
    free(model);
    eng_requests_destroy(&requests);
}

/* More ids than room, in tables of one segment nearly full (probes meet and wrap around) and of a
 * few that split. */
Test(requests, agrees_with_a_naive_table_whatever_comes_and_goes)
{
    static const uint32_t sizes[] = {1, 48, 2000, 3000, ENG_SEGMENT_FULL, 3200, 5000, 7000};
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
                if ((uint32_t)atomic_load(&buckets[at].passed) == 0)
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
        COUNT = 120000
    };
    struct eng_requests requests = requests_make(COUNT);
    uint32_t *slots = calloc(COUNT, sizeof(*slots));
    for (uint64_t i = 0; i < COUNT; i++) {
        slots[i] = i % 2 ? insert(&requests, i, 0) : insert_durable(&requests, i, 0);
        cr_assert_neq(slots[i], ENG_SLOT_NONE, "id %lu", i);
        if (i % 7 == 0 && i % 2)
            eng_requests_remove(&requests, slots[i]);
    }
    cr_assert_gt(requests.directory.segment_count, 30);
    for (uint64_t i = 0; i < COUNT; i++)
        cr_assert_eq(find(&requests, i), i % 7 == 0 && i % 2 ? ENG_SLOT_NONE : slots[i], "id %lu",
                     i);
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
        MAX = ENG_SEGMENT_FULL /* as full as a segment gets */
    };
    struct eng_requests requests = requests_make(MAX);
    for (uint64_t i = 0; i < MAX; i++)
        insert_durable(&requests, i, (int64_t)i * 1000);
    double fresh = miss_length(&requests);
    for (uint64_t i = MAX; i < 50 * MAX; i++) {
        if (i % 16 == MAX % 16)
            eng_requests_sweep(&requests, (int64_t)(i + 16 - MAX) * 1000, ENG_SEGMENT_BUCKETS);
        insert_durable(&requests, i, (int64_t)i * 1000);
    }
    cr_assert_eq(requests.directory.segment_count, 1, "split, it would be half empty");
    double worn = miss_length(&requests);
    cr_assert_lt(worn, 2.2, "%.2f buckets when fresh, %.2f after 50 rounds", fresh, worn);
    eng_requests_destroy(&requests);
}
