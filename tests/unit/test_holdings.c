/* The table of holdings, against a naive model: a matrix of users and items. */
#include "engine/holdings.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <string.h>

#define SEED      0x686f6c64ull
#define HASH_SEED 99ull

static struct eng_holdings holdings_make(uint32_t count_max)
{
    struct eng_holdings holdings;
    struct tg_fault fault;
    cr_assert_eq(eng_holdings_create(&holdings, count_max, HASH_SEED, &fault), TG_ERR_OK);
    return holdings;
}

Test(holdings, counts_units_of_each_user_and_item)
{
    struct eng_holdings holdings = holdings_make(10);
    cr_assert_eq(eng_holdings_units(&holdings, 1, 1), 0);
    cr_assert(eng_holdings_add(&holdings, 1, 1, 3));
    cr_assert(eng_holdings_add(&holdings, 1, 1, 2));
    cr_assert(eng_holdings_add(&holdings, 1, 2, 7));
    cr_assert(eng_holdings_add(&holdings, 2, 1, 9));
    cr_assert_eq(eng_holdings_units(&holdings, 1, 1), 5);
    cr_assert_eq(eng_holdings_units(&holdings, 1, 2), 7);
    cr_assert_eq(eng_holdings_units(&holdings, 2, 1), 9);
    cr_assert_eq(eng_holdings_units(&holdings, 2, 2), 0);
    cr_assert_eq(holdings.count, 3, "one entry for each pair");
    eng_holdings_destroy(&holdings);
}

Test(holdings, user_0_and_item_0_are_like_any_other)
{
    struct eng_holdings holdings = holdings_make(10);
    cr_assert(eng_holdings_add(&holdings, 0, 0, 4));
    cr_assert_eq(eng_holdings_units(&holdings, 0, 0), 4);
    eng_holdings_subtract(&holdings, 0, 0, 4);
    cr_assert_eq(eng_holdings_units(&holdings, 0, 0), 0);
    cr_assert_eq(holdings.count, 0);
    eng_holdings_destroy(&holdings);
}

Test(holdings, full_is_an_answer_and_those_who_are_there_may_go_on)
{
    for (uint32_t max = 1; max <= 40; max++) {
        struct eng_holdings holdings = holdings_make(max);
        for (uint64_t user = 0; user < max; user++)
            cr_assert(eng_holdings_add(&holdings, user, 1, 1));
        cr_assert_not(eng_holdings_add(&holdings, max, 1, 1));
        cr_assert_eq(eng_holdings_units(&holdings, max, 1), 0);
        cr_assert(eng_holdings_add(&holdings, 0, 1, 1), "no new entry is needed");
        eng_holdings_subtract(&holdings, 0, 1, 2);
        cr_assert(eng_holdings_add(&holdings, max, 1, 1), "full is not for ever");
        eng_holdings_destroy(&holdings);
    }
}

/* The sweep may have dropped the entry of a sale that is over, and a late payment begun another. */
Test(holdings, more_than_is_there_is_all_of_it)
{
    struct eng_holdings holdings = holdings_make(10);
    eng_holdings_subtract(&holdings, 1, 1, 3);
    cr_assert_eq(holdings.count, 0);
    cr_assert(eng_holdings_add(&holdings, 1, 1, 2));
    eng_holdings_subtract(&holdings, 1, 1, 3);
    cr_assert_eq(eng_holdings_units(&holdings, 1, 1), 0);
    cr_assert_eq(holdings.count, 0);
    cr_assert_eq(holdings.directory.counts[0], 0);
    eng_holdings_destroy(&holdings);
}

static bool is_odd(void *context, uint32_t item)
{
    (*(uint32_t *)context)++;
    return item % 2 == 1;
}

Test(holdings, the_sweep_drops_what_is_over_and_comes_around)
{
    struct eng_holdings holdings = holdings_make(40);
    for (uint32_t item = 0; item < 40; item++)
        cr_assert(eng_holdings_add(&holdings, 5, item, item + 1));
    uint32_t asked = 0, dropped = 0;
    for (int step = 0; step < ENG_SEGMENT_HOLDINGS / 4; step++)
        dropped += eng_holdings_sweep(&holdings, is_odd, &asked, 4);
    cr_assert_eq(dropped, 20);
    for (uint32_t item = 0; item < 40; item++)
        cr_assert_eq(eng_holdings_units(&holdings, 5, item), item % 2 ? 0 : item + 1);
    eng_holdings_destroy(&holdings);
}

/* --- against the model --- */

#define USERS 64
#define ITEMS 64

struct model {
    uint32_t units[USERS][ITEMS];
    uint32_t count;
};

static void compare(const struct eng_holdings *holdings, const struct model *model, uint64_t seed,
                    int step)
{
    cr_assert_eq(holdings->count, model->count, "seed %#lx, step %d", seed, step);
    for (uint64_t user = 0; user < USERS; user++)
        for (uint32_t item = 0; item < ITEMS; item++)
            cr_assert_eq(eng_holdings_units(holdings, user, item), model->units[user][item],
                         "seed %#lx, step %d, user %lu, item %u", seed, step, user, item);
}

static void model_sweep(struct model *model)
{
    for (uint64_t user = 0; user < USERS; user++)
        for (uint32_t item = 1; item < ITEMS; item += 2) {
            model->count -= model->units[user][item] != 0;
            model->units[user][item] = 0;
        }
}

static void fuzz(uint32_t count_max, uint64_t seed)
{
    struct eng_holdings holdings = holdings_make(count_max);
    struct model model = {.count = 0};
    struct tg_rng rng;
    tg_rng_init(&rng, seed);
    for (int step = 0; step < 200000; step++) {
        uint64_t user = tg_rng_below(&rng, USERS);
        uint32_t item = (uint32_t)tg_rng_below(&rng, ITEMS), asked = 0;
        uint32_t *held = &model.units[user][item];
        uint32_t units = 1 + (uint32_t)tg_rng_below(&rng, 4);
        if (tg_rng_below(&rng, 20000) == 0) {
            /* Twice the slots: dropping one can pull another over the table's edge. */
            eng_holdings_sweep(&holdings, is_odd, &asked,
                               2 * holdings.directory.segment_count * ENG_SEGMENT_HOLDINGS);
            model_sweep(&model);
        } else if (*held && tg_rng_below(&rng, 2)) {
            units = units < *held ? units : *held;
            eng_holdings_subtract(&holdings, user, item, units);
            *held -= units;
            model.count -= *held == 0;
        } else {
            bool fits = *held != 0 || model.count < count_max;
            cr_assert_eq(eng_holdings_add(&holdings, user, item, units), fits, "seed %#lx, step %d",
                         seed, step);
            model.count += fits && *held == 0;
            *held += fits ? units : 0;
        }
        if (step % 2000 == 0)
            compare(&holdings, &model, seed, step);
    }
    compare(&holdings, &model, seed, -1);
    eng_holdings_destroy(&holdings);
}

Test(holdings, agrees_with_a_naive_table_whatever_comes_and_goes)
{
    static const uint32_t sizes[] = {1, 60, 1000, 1360, 2000, 3000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        fuzz(sizes[i], SEED + i);
}

/* The table grows by splitting: every entry must be found in the half where it went. */
Test(holdings, every_entry_is_found_however_often_the_table_has_split)
{
    enum {
        COUNT = 50000
    };
    struct eng_holdings holdings;
    struct tg_fault fault;
    cr_assert_eq(eng_holdings_create(&holdings, COUNT, 5, &fault), TG_ERR_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert(eng_holdings_add(&holdings, i, i % 3, 1 + i % 5), "entry %u", i);
    cr_assert_not(eng_holdings_add(&holdings, COUNT, 0, 1), "full is an answer");
    cr_assert_gt(holdings.directory.segment_count, 30);
    for (uint32_t i = 0; i < COUNT; i += 2)
        eng_holdings_subtract(&holdings, i, i % 3, 1 + i % 5);
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_eq(eng_holdings_units(&holdings, i, i % 3), i % 2 ? 1 + i % 5 : 0, "entry %u", i);
    cr_assert_eq(holdings.count, COUNT / 2);
    eng_holdings_destroy(&holdings);
}
