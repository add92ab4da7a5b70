/* The set of locked ids, against a naive table. */
#include "engine/locks.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <signal.h>

#define SEED 0x6c6f636bull

static struct eng_locks locks_make(uint32_t count_max)
{
    struct eng_locks locks;
    struct tg_fault fault;
    cr_assert_eq(eng_locks_create(&locks, count_max, &fault), TG_ERR_OK);
    return locks;
}

Test(locks, one_is_held_from_taking_to_release)
{
    struct eng_locks locks = locks_make(10);
    cr_assert_not(eng_locks_held(&locks, 5));
    cr_assert(eng_locks_take(&locks, 5));
    cr_assert(eng_locks_held(&locks, 5));
    cr_assert_not(eng_locks_held(&locks, 6));
    eng_locks_release(&locks, 5);
    cr_assert_not(eng_locks_held(&locks, 5));
    cr_assert_not(eng_locks_held(&locks, 0), "0 is no id");
    eng_locks_destroy(&locks);
}

Test(locks, full_is_an_answer_and_not_for_ever)
{
    for (uint32_t max = 1; max <= 40; max++) {
        struct eng_locks locks = locks_make(max);
        uint64_t taken = 0;
        while (eng_locks_take(&locks, taken + 1))
            taken++;
        cr_assert_geq(taken, max);
        cr_assert_leq(taken * 2, locks.mask + 1ull, "never more than half full");
        cr_assert_not(eng_locks_held(&locks, taken + 1));
        eng_locks_release(&locks, 1);
        cr_assert(eng_locks_take(&locks, taken + 1));
        eng_locks_destroy(&locks);
    }
}

Test(locks, taking_one_twice_breaks_a_promise, .signal = SIGABRT)
{
    struct eng_locks locks = locks_make(10);
    cr_assert(eng_locks_take(&locks, 5));
    eng_locks_take(&locks, 5);
}

Test(locks, letting_go_of_what_is_not_held_breaks_a_promise, .signal = SIGABRT)
{
    struct eng_locks locks = locks_make(10);
    eng_locks_release(&locks, 5);
}

enum {
    IDS = 300
};

/* Few slots for many ids, so that clusters form, meet, and go over the table's end. */
static void fuzz(uint32_t count_max, uint64_t seed)
{
    struct eng_locks locks = locks_make(count_max);
    bool held[IDS + 1] = {false};
    uint32_t count = 0;
    struct tg_rng rng;
    tg_rng_init(&rng, seed);
    for (int step = 0; step < 20000; step++) {
        uint64_t id = 1 + tg_rng_below(&rng, IDS);
        cr_assert_eq(eng_locks_held(&locks, id), held[id], "seed %#lx, step %d", seed, step);
        if (held[id]) {
            eng_locks_release(&locks, id);
            count--;
            held[id] = false;
        } else {
            bool fits = count * 2 <= locks.mask;
            cr_assert_eq(eng_locks_take(&locks, id), fits, "seed %#lx, step %d", seed, step);
            count += fits;
            held[id] = fits;
        }
        cr_assert_eq(locks.count, count);
        if (step % 50 != 0)
            continue;
        for (uint64_t other = 1; other <= IDS; other++)
            cr_assert_eq(eng_locks_held(&locks, other), held[other], "seed %#lx, step %d, id %lu",
                         seed, step, other);
    }
    eng_locks_destroy(&locks);
}

Test(locks, agrees_with_a_naive_set_whatever_comes_and_goes)
{
    static const uint32_t sizes[] = {1, 2, 3, 8, 33, 128, 300};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        fuzz(sizes[i], SEED + i);
}
