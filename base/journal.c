#include "base/journal.h"

#include "base/assert.h"

void tg_journal_init(struct tg_journal *journal, struct tg_record *records)
{
    *journal = (struct tg_journal){.records = records};
}

uint32_t tg_journal_take(struct tg_journal *journal, uint32_t max, struct tg_span spans[2])
{
    /* pairs with the release in tg_journal_append_unit */
    uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
    uint64_t taken = atomic_load_explicit(&journal->taken, memory_order_relaxed);
    uint64_t waiting = tail - taken;
    tg_assert(waiting <= TG_JOURNAL_RECORDS);
    uint64_t count = waiting < max ? waiting : max;
    if (count == 0)
        return 0;
    while (journal->records[(taken + count - 1) & (TG_JOURNAL_RECORDS - 1)].more) {
        /* A unit is appended as one, so its end is there. */
        tg_assert(count < waiting);
        count++;
    }

    uint32_t first = (uint32_t)(taken & (TG_JOURNAL_RECORDS - 1));
    uint32_t run = TG_JOURNAL_RECORDS - first;
    if (run > count)
        run = (uint32_t)count;
    spans[0] = (struct tg_span){.records = &journal->records[first], .count = run};
    spans[1] = (struct tg_span){.records = journal->records, .count = (uint32_t)count - run};
    /* pairs with the acquire in tg_journal_waiting */
    atomic_store_explicit(&journal->taken, taken + count, memory_order_release);
    return spans[1].count ? 2 : 1;
}

int tg_journal_publish(struct tg_journal *journal)
{
    uint64_t taken = atomic_load_explicit(&journal->taken, memory_order_relaxed);
    if (atomic_load_explicit(&journal->durable, memory_order_relaxed) == taken)
        return 0;
    /* pairs with the acquire in tg_journal_completion */
    atomic_store_explicit(&journal->durable, taken, memory_order_release);
    return 1;
}
