/* The timing wheel, against a sorted list; times that jump, buckets of a million. */
#include "engine/wheel.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SEED  0x776865656cull
#define NOW   1800000000000ll
#define BLOCK (1024ll * ENG_TICK_MS)        /* what the first level tells apart: 16 s */
#define ROUND (1024ll * 1024 * ENG_TICK_MS) /* and the second: 4 h 40 min */
#define REACH (2048ll * ROUND)              /* beyond it timers are put again */

static struct eng_wheel *wheel_make(uint32_t timers_max)
{
    struct eng_wheel *wheel;
    struct tg_fault fault;
    cr_assert_eq(eng_wheel_create(&wheel, timers_max, NOW, &fault), TG_ERR_OK);
    return wheel;
}

/* The first tick not before `ms`, in milliseconds. */
static int64_t tick_up(int64_t ms)
{
    return (ms + ENG_TICK_MS - 1) / ENG_TICK_MS * ENG_TICK_MS;
}

/* All that is due at `now_ms`, however many calls it takes. */
static uint32_t drain(struct eng_wheel *wheel, int64_t now_ms, struct eng_timer *timers,
                      uint32_t max)
{
    uint32_t count = eng_wheel_due(wheel, now_ms, timers, max);
    while (count < max && eng_wheel_next_ms(wheel) <= now_ms)
        count += eng_wheel_due(wheel, now_ms, &timers[count], max - count);
    return count;
}

Test(wheel, an_empty_one_has_nothing_due_ever)
{
    struct eng_wheel *wheel = wheel_make(10);
    struct eng_timer timers[4];
    cr_assert_eq(eng_wheel_next_ms(wheel), INT64_MAX);
    cr_assert_eq(eng_wheel_due(wheel, NOW, timers, 4), 0);
    cr_assert_eq(eng_wheel_due(wheel, NOW + 100 * REACH, timers, 4), 0);
    cr_assert_eq(eng_wheel_next_ms(wheel), INT64_MAX);
    cr_assert_eq(eng_wheel_count(wheel), 0);
    cr_assert_eq(eng_wheel_room(wheel), 10);
    eng_wheel_destroy(wheel);
}

Test(wheel, a_timer_comes_once_at_its_tick_and_not_before)
{
    static const int64_t ahead[] = {1,         ENG_TICK_MS, 17,        1000,      BLOCK - 1,
                                    BLOCK,     2 * BLOCK,   900000,    ROUND - 1, ROUND,
                                    2 * ROUND, 30 * ROUND,  REACH - 1, REACH,     3 * REACH + 5};
    for (size_t i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
        struct eng_wheel *wheel = wheel_make(1);
        struct eng_timer timers[2];
        int64_t due_ms = NOW + ahead[i], tick_ms = tick_up(due_ms);
        cr_assert(eng_wheel_add(wheel, due_ms, 7));
        cr_assert_eq(eng_wheel_count(wheel), 1);
        cr_assert_eq(drain(wheel, tick_ms - 1, timers, 2), 0, "%ld ms ahead", ahead[i]);
        cr_assert_eq(eng_wheel_next_ms(wheel), tick_ms, "%ld ms ahead", ahead[i]);
        cr_assert_eq(eng_wheel_due(wheel, tick_ms, timers, 2), 1, "%ld ms ahead", ahead[i]);
        cr_assert_eq(timers[0].due_ms, due_ms);
        cr_assert_eq(timers[0].id, 7);
        cr_assert_eq(drain(wheel, NOW + 10 * REACH, timers, 2), 0);
        cr_assert_eq(eng_wheel_count(wheel), 0);
        eng_wheel_destroy(wheel);
    }
}

Test(wheel, a_timer_in_the_past_is_due_at_once)
{
    struct eng_wheel *wheel = wheel_make(10);
    struct eng_timer timers[10];
    const int64_t now_ms = NOW + 5; /* inside a tick */
    cr_assert_eq(eng_wheel_due(wheel, now_ms, timers, 10), 0);
    static const int64_t past[] = {0, -1, INT64_MIN, NOW - REACH, NOW + 3, NOW + 5};
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert(eng_wheel_add(wheel, past[i], i));
        cr_assert_leq(eng_wheel_next_ms(wheel), now_ms);
        cr_assert_eq(eng_wheel_due(wheel, now_ms, timers, 10), 1, "at %ld", past[i]);
        cr_assert_eq(timers[0].id, i);
        cr_assert_eq(timers[0].due_ms, past[i]);
    }
    eng_wheel_destroy(wheel);
}

Test(wheel, a_clock_that_goes_back_changes_nothing)
{
    struct eng_wheel *wheel = wheel_make(10);
    struct eng_timer timers[10];
    cr_assert_eq(eng_wheel_due(wheel, NOW + 1000, timers, 10), 0);
    cr_assert(eng_wheel_add(wheel, NOW + 500, 1));
    cr_assert(eng_wheel_add(wheel, NOW + 2000, 2));
    cr_assert_eq(eng_wheel_due(wheel, NOW, timers, 10), 1, "it was past when it was set");
    cr_assert_eq(timers[0].id, 1);
    cr_assert_eq(eng_wheel_due(wheel, NOW + 2000, timers, 10), 1);
    eng_wheel_destroy(wheel);
}

Test(wheel, full_is_an_answer_and_not_for_ever)
{
    for (uint32_t max = 1; max <= 100; max++) {
        struct eng_wheel *wheel = wheel_make(max);
        struct eng_timer timers[100];
        for (uint32_t i = 0; i < max; i++) {
            cr_assert_eq(eng_wheel_room(wheel), max - i);
            cr_assert(eng_wheel_add(wheel, NOW + i * 100, i));
        }
        cr_assert_not(eng_wheel_add(wheel, NOW, max));
        cr_assert_eq(eng_wheel_count(wheel), max);
        cr_assert_eq(eng_wheel_due(wheel, NOW, timers, 100), 1);
        cr_assert(eng_wheel_add(wheel, NOW, max));
        cr_assert_eq(drain(wheel, NOW + BLOCK, timers, 100), max);
        eng_wheel_destroy(wheel);
    }
}

/* Every bucket of every level with one timer more than fills a chunk: the most chunks there can be.
 * Twice, so that freed ones serve as well. */
Test(wheel, holds_what_it_promises_whatever_the_times)
{
    enum {
        EACH = 32,
        MAX = 5000 * EACH
    };
    struct eng_wheel *wheel = wheel_make(MAX);
    struct eng_timer *timers = calloc(MAX, sizeof(*timers));
    cr_assert_not_null(timers);
    int64_t now_ms = NOW;
    for (int round = 0; round < 2; round++) {
        uint32_t count = 0;
        for (uint32_t n = 0; n < EACH; n++)
            for (int64_t i = 1; i <= 1000; i++) {
                /* Two blocks of level 0, a round of level 1 and the next, and far away. */
                cr_assert(eng_wheel_add(wheel, now_ms + i * ENG_TICK_MS, count++));
                cr_assert(eng_wheel_add(wheel, now_ms + (i + 1000) * ENG_TICK_MS, count++));
                cr_assert(eng_wheel_add(wheel, now_ms + (i + 2) * BLOCK, count++));
                cr_assert(eng_wheel_add(wheel, now_ms + ROUND + i * BLOCK, count++));
                cr_assert(eng_wheel_add(wheel, now_ms + (i + 2) * ROUND, count++));
            }
        cr_assert_eq(eng_wheel_room(wheel), 0);
        now_ms += REACH;
        cr_assert_eq(drain(wheel, now_ms, timers, MAX), MAX);
    }
    free(timers);
    eng_wheel_destroy(wheel);
}

/* --- a great many at once --- */

enum {
    MANY = 1000000
};

/* Who has come, by id; nobody twice. */
static void mark(uint8_t *seen, const struct eng_timer *timers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(seen[timers[i].id]++, 0, "timer %lu", timers[i].id);
}

Test(wheel, a_million_of_one_tick_come_in_pieces_while_others_are_set)
{
    struct eng_wheel *wheel = wheel_make(2 * MANY);
    uint8_t *seen = calloc(2 * MANY, 1);
    struct eng_timer timers[1000];
    cr_assert_not_null(seen);
    const int64_t due_ms = NOW + 900000;
    for (uint32_t i = 0; i < MANY; i++)
        cr_assert(eng_wheel_add(wheel, due_ms, i));
    uint32_t set = MANY, come = 0, calls = 0;
    while (come < MANY + MANY / 2) {
        uint32_t count = eng_wheel_due(wheel, due_ms, timers, 1000);
        mark(seen, timers, count);
        come += count;
        cr_assert(++calls < 3 * MANY / 1000, "it must come to an end");
        /* For the same tick, as past; and for one behind it, which does not come. */
        for (uint32_t i = 0; i < 500 && set < MANY + MANY / 2; i++, set++)
            cr_assert(eng_wheel_add(wheel, due_ms - i % 2, set));
        cr_assert(eng_wheel_add(wheel, due_ms + ENG_TICK_MS, 2 * MANY - calls));
    }
    cr_assert_eq(eng_wheel_due(wheel, due_ms, timers, 1000), 0);
    cr_assert_eq(eng_wheel_count(wheel), calls);
    for (uint32_t i = 0; i < MANY + MANY / 2; i++)
        cr_assert_eq(seen[i], 1, "timer %u", i);
    free(seen);
    eng_wheel_destroy(wheel);
}

/* All in one bucket of each coarse level: none may be late, and no call may move them all. */
Test(wheel, a_coarse_bucket_of_a_million_is_moved_ahead_of_its_time)
{
    static const int64_t ahead[] = {40 * BLOCK, 5 * ROUND};
    struct eng_timer timers[64];
    for (size_t i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
        struct eng_wheel *wheel = wheel_make(MANY);
        /* At the beginning of the bucket, so that nothing but looking ahead can help. */
        const int64_t due_ms = (NOW + ahead[i]) / (i ? ROUND : BLOCK) * (i ? ROUND : BLOCK);
        for (uint32_t n = 0; n < MANY; n++)
            cr_assert(eng_wheel_add(wheel, due_ms, n));
        int64_t now_ms = NOW;
        for (; now_ms < due_ms; now_ms += ENG_TICK_MS) {
            cr_assert_eq(eng_wheel_due(wheel, now_ms, timers, 64), 0);
            int64_t next_ms = eng_wheel_next_ms(wheel);
            cr_assert_leq(next_ms, due_ms);
            /* Sleeps as long as it is told. */
            if (next_ms > now_ms + ENG_TICK_MS)
                now_ms = next_ms - ENG_TICK_MS;
        }
        cr_assert_eq(now_ms, due_ms);
        cr_assert_eq(eng_wheel_due(wheel, due_ms, timers, 64), 64, "%ld ms ahead", ahead[i]);
        eng_wheel_destroy(wheel);
    }
}

Test(wheel, what_is_due_does_not_wait_for_what_is_moved_ahead)
{
    struct eng_wheel *wheel = wheel_make(MANY + 1);
    struct eng_timer timers[64];
    const int64_t round_ms = (NOW / ROUND + 5) * ROUND, due_ms = round_ms + BLOCK + 100;
    for (uint32_t i = 0; i < MANY; i++)
        cr_assert(eng_wheel_add(wheel, round_ms + ROUND, i));
    cr_assert(eng_wheel_add(wheel, due_ms, MANY));
    cr_assert_eq(drain(wheel, round_ms - 1, timers, 64), 0);
    cr_assert_eq(eng_wheel_due(wheel, round_ms, timers, 64), 0);
    cr_assert_leq(eng_wheel_next_ms(wheel), round_ms, "the million is being moved");
    cr_assert_eq(eng_wheel_due(wheel, tick_up(due_ms), timers, 64), 1);
    cr_assert_eq(timers[0].id, MANY);
    cr_assert_leq(eng_wheel_next_ms(wheel), tick_up(due_ms), "and still is");
    eng_wheel_destroy(wheel);
}

/* The clock jumps far ahead. A call that comes back with nothing shows that its work is bounded:
 * there were more to be moved before the next could be handed out. */
Test(wheel, a_jump_over_everything_hands_out_everything_in_order)
{
    struct eng_wheel *wheel = wheel_make(MANY);
    uint8_t *seen = calloc(MANY, 1);
    struct eng_timer timers[500];
    struct tg_rng rng;
    cr_assert_not_null(seen);
    tg_rng_init(&rng, SEED);
    for (uint32_t i = 0; i < MANY; i++) {
        int64_t anywhere_ms = (int64_t)tg_rng_below(&rng, 1ull << (10 + i % 26));
        int64_t one_round_ms = 9 * ROUND + (int64_t)tg_rng_below(&rng, ROUND);
        cr_assert(eng_wheel_add(wheel, NOW + 1 + (i % 10 ? one_round_ms : anywhere_ms), i));
    }
    const int64_t now_ms = NOW + 2 * REACH;
    int64_t newest_ms = 0;
    uint32_t come = 0, calls = 0, empty_handed = 0;
    while (eng_wheel_count(wheel) > 0) {
        cr_assert_leq(eng_wheel_next_ms(wheel), now_ms, "there is work left");
        uint32_t count = eng_wheel_due(wheel, now_ms, timers, 500);
        mark(seen, timers, count);
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_geq(tick_up(timers[i].due_ms), newest_ms);
            newest_ms = tick_up(timers[i].due_ms);
        }
        come += count;
        empty_handed += count == 0;
        /* Each has handed out all it may, or moved some thousands. */
        cr_assert(++calls < MANY / 500 + MANY / 1000, "it must come to an end");
    }
    cr_assert_eq(come, MANY);
    cr_assert_gt(empty_handed, 0, "a bucket of the last level took several calls to move");
    free(seen);
    eng_wheel_destroy(wheel);
}

/* --- against the model --- */

struct entry {
    int64_t tick_ms; /* of a timer that was past when it was set: the newest that had come */
    int64_t due_ms;
    uint64_t id;
};

/* What is set, sorted by tick; [0, taken) has come. */
struct model {
    struct entry *entries;
    uint32_t taken;
    uint32_t count;
    bool sorted;
    int64_t now_ms;
    int64_t newest_ms;   /* tick of the newest timer that has come */
    int64_t earliest_ms; /* tick of the earliest timer that is set */
    uint64_t ids;
};

static int compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->tick_ms != right->tick_ms)
        return left->tick_ms < right->tick_ms ? -1 : 1;
    return left->id < right->id ? -1 : 1;
}

static void model_sort(struct model *model)
{
    if (model->sorted)
        return;
    model->count -= model->taken;
    memmove(model->entries, &model->entries[model->taken], model->count * sizeof(struct entry));
    model->taken = 0;
    qsort(model->entries, model->count, sizeof(struct entry), compare);
    model->sorted = true;
}

static void model_add(struct model *model, int64_t due_ms)
{
    bool past = due_ms <= model->now_ms;
    int64_t tick_ms = past ? model->newest_ms : tick_up(due_ms);
    model->entries[model->count++] =
        (struct entry){.tick_ms = tick_ms, .due_ms = due_ms, .id = model->ids++};
    model->sorted = false;
    if (tick_ms < model->earliest_ms)
        model->earliest_ms = tick_ms;
}

/* The timer must be one of the earliest tick; it is gone then. */
static void model_take(struct model *model, const struct eng_timer *timer, uint64_t seed, int step)
{
    cr_assert_lt(model->taken, model->count, "seed %#lx, step %d", seed, step);
    struct entry *first = &model->entries[model->taken], *found = first;
    while (found < &model->entries[model->count] && found->id != timer->id &&
           found->tick_ms == first->tick_ms)
        found++;
    cr_assert(found < &model->entries[model->count] && found->id == timer->id,
              "timer %lu came twice, or before another: seed %#lx, step %d", timer->id, seed, step);
    cr_assert_eq(found->tick_ms, first->tick_ms, "seed %#lx, step %d", seed, step);
    cr_assert_eq(found->due_ms, timer->due_ms, "seed %#lx, step %d", seed, step);
    cr_assert_leq(timer->due_ms, model->now_ms, "early: seed %#lx, step %d", seed, step);
    model->newest_ms = found->tick_ms;
    struct entry entry = *found;
    *found = *first;
    *first = entry;
    model->taken++;
}

/* From none to far beyond the reach, short times as often as long ones. */
static int64_t some_ms(struct tg_rng *rng)
{
    return (int64_t)tg_rng_below(rng, 1ull << tg_rng_below(rng, 38));
}

static void step_add(struct eng_wheel *wheel, struct model *model, struct tg_rng *rng,
                     uint32_t timers_max, uint32_t burst)
{
    int64_t base_ms = model->now_ms + some_ms(rng) - (tg_rng_below(rng, 8) == 0 ? some_ms(rng) : 0);
    uint32_t count = tg_rng_below(rng, 50) == 0 ? burst : 1 + (uint32_t)tg_rng_below(rng, 40);
    uint64_t spread = 1ull << tg_rng_below(rng, 20);
    for (uint32_t i = 0; i < count; i++) {
        bool fits = model->count - model->taken < timers_max;
        int64_t due_ms = base_ms + (int64_t)tg_rng_below(rng, spread);
        cr_assert_eq(eng_wheel_add(wheel, due_ms, model->ids), fits);
        if (!fits)
            return;
        model_add(model, due_ms);
    }
}

static void step_due(struct eng_wheel *wheel, struct model *model, struct tg_rng *rng,
                     uint64_t seed, int step)
{
    struct eng_timer timers[3000];
    model_sort(model);
    uint64_t dice = tg_rng_below(rng, 8);
    int64_t next_ms = eng_wheel_next_ms(wheel);
    if (dice == 0)
        model->now_ms += some_ms(rng);
    else if (dice < 3 && next_ms > model->now_ms && next_ms != INT64_MAX)
        model->now_ms = next_ms;
    else if (dice < 7)
        model->now_ms += (int64_t)tg_rng_below(rng, 100);
    uint32_t max = (uint32_t)tg_rng_below(rng, tg_rng_below(rng, 2) ? 20 : 3000);
    uint32_t count = eng_wheel_due(wheel, model->now_ms, timers, max);
    cr_assert_leq(count, max);
    for (uint32_t i = 0; i < count; i++)
        model_take(model, &timers[i], seed, step);
    bool more = model->taken < model->count;
    model->earliest_ms = more ? model->entries[model->taken].tick_ms : INT64_MAX;
    if (count < max && model->earliest_ms <= model->now_ms)
        cr_assert_leq(eng_wheel_next_ms(wheel), model->now_ms, "seed %#lx, step %d", seed, step);
}

static void fuzz(uint32_t timers_max, uint32_t burst, uint64_t seed)
{
    struct eng_wheel *wheel = wheel_make(timers_max);
    /* Twice, because what has come leaves its room with the next sorting only. */
    struct entry *entries = calloc(2 * timers_max, sizeof(*entries));
    struct model model = {
        .entries = entries, .now_ms = NOW, .earliest_ms = INT64_MAX, .sorted = true};
    struct tg_rng rng;
    cr_assert_not_null(entries);
    tg_rng_init(&rng, seed);
    for (int step = 0; step < 6000; step++) {
        if (tg_rng_below(&rng, 3) == 0)
            step_add(wheel, &model, &rng, timers_max, burst);
        else
            step_due(wheel, &model, &rng, seed, step);
        cr_assert_eq(eng_wheel_count(wheel), model.count - model.taken);
        cr_assert_eq(eng_wheel_room(wheel), timers_max - (model.count - model.taken));
        int64_t next_ms = eng_wheel_next_ms(wheel);
        cr_assert_leq(next_ms, model.earliest_ms > model.now_ms ? model.earliest_ms : model.now_ms,
                      "seed %#lx, step %d", seed, step);
        cr_assert_eq(next_ms == INT64_MAX, eng_wheel_count(wheel) == 0);
    }
    free(entries);
    eng_wheel_destroy(wheel);
}

Test(wheel, agrees_with_a_sorted_list_whatever_the_clock_does)
{
    for (uint64_t i = 0; i < 20; i++)
        fuzz(1 + 300 * (uint32_t)i, 200, SEED + i);
}

Test(wheel, agrees_with_a_sorted_list_when_a_call_cannot_move_all)
{
    for (uint64_t i = 0; i < 2; i++)
        fuzz(20000, 9000, SEED + 100 + i);
}

/* --- sleeping --- */

/* A core that sleeps until eng_wheel_next_ms, always. */
Test(wheel, who_sleeps_as_long_as_told_is_never_late_and_wakes_seldom)
{
    enum {
        COUNT = 3000
    };
    struct eng_wheel *wheel = wheel_make(COUNT);
    struct eng_timer timers[COUNT];
    struct tg_rng rng;
    tg_rng_init(&rng, SEED + 1000);
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert(eng_wheel_add(wheel, NOW + 1 + some_ms(&rng), i));
    uint32_t come = 0, calls = 0;
    int64_t now_ms = NOW;
    while (eng_wheel_count(wheel) > 0) {
        now_ms = eng_wheel_next_ms(wheel) > now_ms ? eng_wheel_next_ms(wheel) : now_ms;
        uint32_t count = eng_wheel_due(wheel, now_ms, timers, COUNT);
        for (uint32_t i = 0; i < count; i++)
            cr_assert_eq(tick_up(timers[i].due_ms), now_ms, "timer %lu", timers[i].id);
        come += count;
        cr_assert(++calls < 5 * COUNT, "it wakes for nothing");
    }
    cr_assert_eq(come, COUNT);
    eng_wheel_destroy(wheel);
}
