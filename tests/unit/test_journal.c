/* The journal, both parties polled by hand in one thread. */
#include "base/journal.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

struct fixture {
    struct tg_journal journal;
    struct tg_record *records;
};

static struct fixture fixture_make(void)
{
    struct fixture f = {.records = calloc(TG_JOURNAL_RECORDS, sizeof(struct tg_record))};
    cr_assert_not_null(f.records);
    tg_journal_init(&f.journal, f.records);
    return f;
}

/* Appends a record that carries `number`; false when the journal is full. */
static bool append(struct fixture *f, uint64_t number)
{
    struct tg_record *record = tg_journal_reserve(&f->journal);
    if (!record)
        return false;
    *record = (struct tg_record){.kind = TG_RECORD_ORDER, .order.user_id = number};
    cr_assert_eq(tg_journal_append(&f->journal), number);
    return true;
}

/* The writer's turn: takes up to `max`, answers each with its number, publishes. */
static uint32_t write_batch(struct fixture *f, uint32_t max)
{
    struct tg_span spans[2];
    uint32_t count = 0, used = tg_journal_take(&f->journal, max, spans);
    for (uint32_t s = 0; s < used; s++) {
        for (uint32_t i = 0; i < spans[s].count; i++) {
            spans[s].records[i].outcome = TG_OUTCOME_DURABLE;
            spans[s].records[i].order_id = spans[s].records[i].order.user_id + 1000;
        }
        count += spans[s].count;
    }
    cr_assert_eq(tg_journal_publish(&f->journal), count > 0);
    return count;
}

/* The shard's turn: takes all completions, which must go on from `next`; returns what comes next.
 */
static uint64_t complete(struct fixture *f, uint64_t next)
{
    uint64_t sequence;
    struct tg_record *record;
    while ((record = tg_journal_completion(&f->journal, &sequence))) {
        cr_assert_eq(sequence, next);
        cr_assert_eq(record->order.user_id, next);
        cr_assert_eq(record->order_id, next + 1000);
        cr_assert_eq(record->outcome, TG_OUTCOME_DURABLE);
        tg_journal_release(&f->journal);
        next++;
    }
    return next;
}

Test(journal, an_empty_one_has_nothing_to_give)
{
    struct fixture f = fixture_make();
    struct tg_span spans[2];
    uint64_t sequence;
    cr_assert_eq(tg_journal_take(&f.journal, 100, spans), 0);
    cr_assert_eq(tg_journal_publish(&f.journal), 0);
    cr_assert_null(tg_journal_completion(&f.journal, &sequence));
    cr_assert_not(tg_journal_has_completions(&f.journal));
    cr_assert_eq(tg_journal_waiting(&f.journal), 0);
    cr_assert_eq(tg_journal_in_flight(&f.journal), 0);
    free(f.records);
}

Test(journal, a_reserved_slot_is_not_seen_before_it_is_appended)
{
    struct fixture f = fixture_make();
    struct tg_span spans[2];
    cr_assert_not_null(tg_journal_reserve(&f.journal));
    cr_assert_eq(tg_journal_take(&f.journal, 100, spans), 0);
    cr_assert(append(&f, 0));
    cr_assert(tg_journal_waiting(&f.journal) > 0);
    cr_assert_eq(tg_journal_take(&f.journal, 100, spans), 1);
    cr_assert_eq(spans[0].count, 1);
    free(f.records);
}

Test(journal, nothing_completes_before_it_is_published)
{
    struct fixture f = fixture_make();
    struct tg_span spans[2];
    uint64_t sequence;
    cr_assert(append(&f, 0));
    cr_assert_eq(tg_journal_take(&f.journal, 100, spans), 1);
    cr_assert_null(tg_journal_completion(&f.journal, &sequence));
    cr_assert_eq(tg_journal_publish(&f.journal), 1);
    cr_assert(tg_journal_has_completions(&f.journal));
    cr_assert_not_null(tg_journal_completion(&f.journal, &sequence));
    cr_assert_eq(tg_journal_in_flight(&f.journal), 1);
    tg_journal_release(&f.journal);
    cr_assert_eq(tg_journal_in_flight(&f.journal), 0);
    free(f.records);
}

Test(journal, a_completion_ahead_is_there_only_when_it_was_seen)
{
    struct fixture f = fixture_make();
    uint64_t sequence;
    for (uint64_t i = 0; i < 3; i++)
        cr_assert(append(&f, i));
    write_batch(&f, 2);
    cr_assert_null(tg_journal_completion_ahead(&f.journal, 1), "nobody has looked yet");
    cr_assert_not_null(tg_journal_completion(&f.journal, &sequence));
    cr_assert_eq(tg_journal_completion_ahead(&f.journal, 1)->order.user_id, 1);
    cr_assert_null(tg_journal_completion_ahead(&f.journal, 2), "the writer has not taken it");
    tg_journal_release(&f.journal);
    cr_assert_null(tg_journal_completion_ahead(&f.journal, 1));
    free(f.records);
}

Test(journal, a_full_one_refuses_until_a_completion_is_released)
{
    struct fixture f = fixture_make();
    for (uint64_t i = 0; i < TG_JOURNAL_RECORDS; i++)
        cr_assert(append(&f, i));
    cr_assert_eq(tg_journal_in_flight(&f.journal), TG_JOURNAL_RECORDS);
    cr_assert_not(append(&f, TG_JOURNAL_RECORDS));
    cr_assert_eq(write_batch(&f, 1), 1);
    cr_assert_not(append(&f, TG_JOURNAL_RECORDS), "durable is not yet released");
    cr_assert_eq(complete(&f, 0), 1);
    cr_assert(append(&f, TG_JOURNAL_RECORDS));
    cr_assert_not(append(&f, TG_JOURNAL_RECORDS + 1));
    free(f.records);
}

Test(journal, a_batch_over_the_end_comes_as_two_spans)
{
    struct fixture f = fixture_make();
    const uint64_t before_end = TG_JOURNAL_RECORDS - 3;
    for (uint64_t i = 0; i < before_end; i++)
        cr_assert(append(&f, i));
    cr_assert_eq(write_batch(&f, UINT32_MAX), before_end);
    cr_assert_eq(complete(&f, 0), before_end);
    for (uint64_t i = before_end; i < before_end + 10; i++)
        cr_assert(append(&f, i));
    struct tg_span spans[2];
    cr_assert_eq(tg_journal_take(&f.journal, 9, spans), 2);
    cr_assert_eq(spans[0].records, f.records + before_end);
    cr_assert_eq(spans[0].count, 3);
    cr_assert_eq(spans[1].records, f.records);
    cr_assert_eq(spans[1].count, 6);
    cr_assert_eq(tg_journal_take(&f.journal, 9, spans), 1);
    cr_assert_eq(spans[0].records, f.records + 6);
    cr_assert_eq(spans[0].count, 1);
    cr_assert_eq(tg_journal_waiting(&f.journal), 0);
    free(f.records);
}

/* Three rounds of the ring in uneven steps, against plain counters. */
Test(journal, completions_keep_the_order_over_many_wraps)
{
    struct fixture f = fixture_make();
    uint64_t appended = 0, durable = 0, completed = 0, seed = 20261122;
    while (completed < 3ull * TG_JOURNAL_RECORDS) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t step = (seed >> 33) % 5000;
        switch ((seed >> 60) % 3) {
        case 0:
            for (uint64_t i = 0; i < step && append(&f, appended); i++)
                appended++;
            break;
        case 1:
            durable += write_batch(&f, (uint32_t)step);
            break;
        case 2:
            completed = complete(&f, completed);
            cr_assert_eq(completed, durable);
            break;
        }
        cr_assert_eq(tg_journal_in_flight(&f.journal), appended - completed);
        cr_assert(completed <= durable && durable <= appended);
        cr_assert(appended <= completed + TG_JOURNAL_RECORDS);
    }
    free(f.records);
}

/* --- units of records --- */

#define SEED 0x756e6974ull

/* Fills `count` records that carry `number` and what follows; false when they do not fit. */
static bool fill_unit(struct fixture *f, uint64_t number, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct tg_record *record = tg_journal_reserve_ahead(&f->journal, i);
        if (!record)
            return false;
        *record = (struct tg_record){
            .kind = TG_RECORD_CHANGE,
            .more = i + 1 < count,
            .order.user_id = number + i,
        };
    }
    return true;
}

static bool append_unit(struct fixture *f, uint64_t number, uint32_t count)
{
    if (!fill_unit(f, number, count))
        return false;
    cr_assert_eq(tg_journal_append_unit(&f->journal, count), number);
    return true;
}

Test(journal, a_unit_is_not_seen_before_it_is_whole)
{
    struct fixture f = fixture_make();
    struct tg_span spans[2];
    cr_assert(append(&f, 0));
    cr_assert_eq(tg_journal_reserve_ahead(&f.journal, 0), tg_journal_reserve(&f.journal));
    cr_assert(fill_unit(&f, 1, 3));
    cr_assert_eq(tg_journal_waiting(&f.journal), 1);
    cr_assert_eq(tg_journal_take(&f.journal, 100, spans), 1);
    cr_assert_eq(spans[0].count, 1);
    cr_assert_eq(tg_journal_append_unit(&f.journal, 3), 1);
    cr_assert_eq(tg_journal_in_flight(&f.journal), 4);
    cr_assert_eq(tg_journal_take(&f.journal, 100, spans), 1);
    cr_assert_eq(spans[0].count, 3);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(spans[0].records[i].order.user_id, i + 1);
    free(f.records);
}

Test(journal, a_unit_that_does_not_fit_leaves_no_trace)
{
    struct fixture f = fixture_make();
    for (uint64_t i = 0; i < TG_JOURNAL_RECORDS - 2; i++)
        cr_assert(append(&f, i));
    cr_assert_not_null(tg_journal_reserve_ahead(&f.journal, 1));
    cr_assert_null(tg_journal_reserve_ahead(&f.journal, 2));
    cr_assert_not(append_unit(&f, TG_JOURNAL_RECORDS - 2, 3));
    cr_assert_eq(tg_journal_in_flight(&f.journal), TG_JOURNAL_RECORDS - 2);
    cr_assert_eq(write_batch(&f, UINT32_MAX), TG_JOURNAL_RECORDS - 2);
    cr_assert_eq(complete(&f, 0), TG_JOURNAL_RECORDS - 2);
    cr_assert(append_unit(&f, TG_JOURNAL_RECORDS - 2, 3));
    cr_assert_eq(write_batch(&f, UINT32_MAX), 3);
    cr_assert_eq(complete(&f, TG_JOURNAL_RECORDS - 2), TG_JOURNAL_RECORDS + 1);
    free(f.records);
}

/* A record, a unit of four, a record: each `max` takes up to the end of what it has begun. */
Test(journal, a_batch_ends_where_a_unit_ends)
{
    static const uint32_t taken[] = {0, 1, 5, 5, 5, 5, 6, 6};
    for (uint32_t max = 0; max < sizeof(taken) / sizeof(taken[0]); max++) {
        struct fixture f = fixture_make();
        cr_assert(append(&f, 0));
        cr_assert(append_unit(&f, 1, 4));
        cr_assert(append(&f, 5));
        cr_assert_eq(write_batch(&f, max), taken[max], "max %u", max);
        cr_assert_eq(complete(&f, 0), taken[max]);
        cr_assert_eq(write_batch(&f, UINT32_MAX), 6 - taken[max]);
        cr_assert_eq(complete(&f, taken[max]), 6);
        free(f.records);
    }
}

Test(journal, a_unit_over_the_end_comes_as_two_spans_of_one_batch)
{
    struct fixture f = fixture_make();
    const uint64_t before_end = TG_JOURNAL_RECORDS - 2;
    struct tg_span spans[2];
    for (uint64_t i = 0; i < before_end; i++)
        cr_assert(append(&f, i));
    cr_assert_eq(write_batch(&f, UINT32_MAX), before_end);
    cr_assert_eq(complete(&f, 0), before_end);
    cr_assert(append_unit(&f, before_end, 5));
    cr_assert_eq(tg_journal_take(&f.journal, 1, spans), 2);
    cr_assert_eq(spans[0].records, f.records + before_end);
    cr_assert_eq(spans[0].count, 2);
    cr_assert_eq(spans[1].records, f.records);
    cr_assert_eq(spans[1].count, 3);
    cr_assert_eq(tg_journal_waiting(&f.journal), 0);
    free(f.records);
}

Test(journal, a_unit_without_its_end_breaks_a_promise, .signal = SIGABRT)
{
    struct fixture f = fixture_make();
    cr_assert(fill_unit(&f, 0, 3));
    tg_journal_append_unit(&f.journal, 2);
}

Test(journal, an_empty_unit_breaks_a_promise, .signal = SIGABRT)
{
    struct fixture f = fixture_make();
    cr_assert(append(&f, 0));
    tg_journal_append_unit(&f.journal, 0);
}

/* The writer's turn: every batch begins and ends with a unit. */
static uint32_t write_units(struct fixture *f, uint32_t max, uint64_t seed)
{
    struct tg_span spans[2];
    uint32_t count = 0, used = tg_journal_take(&f->journal, max, spans);
    const struct tg_record *last = NULL;
    for (uint32_t s = 0; s < used; s++)
        for (uint32_t i = 0; i < spans[s].count; i++, count++) {
            struct tg_record *record = &spans[s].records[i];
            /* What lies behind `max` is the rest of a unit. */
            cr_assert(count < max || (last && last->more), "seed %#lx", seed);
            record->outcome = TG_OUTCOME_DURABLE;
            record->order_id = record->order.user_id + 1000;
            last = record;
        }
    cr_assert(!last || !last->more, "seed %#lx", seed);
    cr_assert_eq(tg_journal_publish(&f->journal), count > 0);
    return count;
}

Test(journal, units_stay_whole_over_many_wraps)
{
    struct fixture f = fixture_make();
    uint64_t appended = 0, durable = 0, completed = 0;
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    while (completed < 5ull * TG_JOURNAL_RECORDS) {
        uint64_t step = tg_rng_below(&rng, 500);
        switch (tg_rng_below(&rng, 3)) {
        case 0:
            for (uint64_t i = 0; i < step; i++) {
                uint32_t count = 1 + (uint32_t)tg_rng_below(&rng, TG_UNIT_RECORDS_MAX);
                bool fits = appended + count - completed <= TG_JOURNAL_RECORDS;
                cr_assert_eq(append_unit(&f, appended, count), fits);
                appended += fits ? count : 0;
            }
            break;
        case 1:
            durable += write_units(&f, (uint32_t)tg_rng_below(&rng, 30000), SEED);
            break;
        case 2:
            completed = complete(&f, completed);
            cr_assert_eq(completed, durable);
            break;
        }
        cr_assert_eq(tg_journal_in_flight(&f.journal), appended - completed);
    }
    free(f.records);
}
