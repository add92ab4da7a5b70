/* The journal: one shard's ring of records on their way to the disk and back.
 *
 * The shard appends at the tail; the writer reads, commits, fills in each record's outcome where it
 * lies and advances the durable watermark; the shard then takes the completions in order and so
 * frees the slots. Three cursors that only grow, each written by one thread:
 *
 *        completed           durable              tail
 *            |  answers due     |   in the writer    |   free
 *   ---------+------------------+--------------------+-----------
 *        (shard)             (writer)             (shard)
 *
 * Always: completed <= durable <= tail <= completed + TG_JOURNAL_RECORDS.
 *
 * Safety: `tail` is stored with release after the record is filled and loaded with acquire by the
 * writer before it reads it; `durable` is stored with release after the outcomes are filled and
 * loaded with acquire by the shard before it reads them. The shard reuses a slot only after it has
 * taken its completion, so no slot has two writers at a time. Single producer, single consumer, as
 * in Lamport, "Proving the Correctness of Multiprocess Programs", 1977, with the answer carried
 * back through the same slots.
 */
#ifndef TG_BASE_JOURNAL_H
#define TG_BASE_JOURNAL_H

#include "base/assert.h"
#include "base/record.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct tg_journal {
    /* written by the shard */
    alignas(128) _Atomic uint64_t tail;
    uint64_t completed;    /* shard only */
    uint64_t durable_seen; /* shard only: the last watermark it loaded */
    /* written by the writer */
    alignas(128) _Atomic uint64_t durable;
    /* Records handed out in batches. The writer's, which is one thread at a time; cores look at it
     * to see whether there are any to take. */
    _Atomic uint64_t taken;
    /* read by both */
    alignas(128) struct tg_record *records; /* TG_JOURNAL_RECORDS of them, caller's memory */
};

/* `records` has room for TG_JOURNAL_RECORDS and outlives the journal. */
void tg_journal_init(struct tg_journal *journal, struct tg_record *records);

/* --- shard thread --- */

/* Records between tail and completed: unanswered. */
static inline uint64_t tg_journal_in_flight(const struct tg_journal *journal)
{
    return atomic_load_explicit(&journal->tail, memory_order_relaxed) - journal->completed;
}

/* The next slot to fill, or NULL when the journal is full. Not yet visible to the writer. It holds
 * what it held a round ago: whoever fills it sets `outcome` and `more` as well. */
static inline struct tg_record *tg_journal_reserve(struct tg_journal *journal)
{
    uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);
    if (tail - journal->completed >= TG_JOURNAL_RECORDS)
        return NULL;
    return &journal->records[tail & (TG_JOURNAL_RECORDS - 1)];
}

/* For a unit of records: the slot `ahead` records behind the next one, or NULL when there is no
 * room for it. */
static inline struct tg_record *tg_journal_reserve_ahead(struct tg_journal *journal, uint32_t ahead)
{
    uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);
    if (tail + ahead - journal->completed >= TG_JOURNAL_RECORDS)
        return NULL;
    return &journal->records[(tail + ahead) & (TG_JOURNAL_RECORDS - 1)];
}

/* Publishes the `count` slots that were filled, as one: the writer sees all or none of them, and
 * the last has no `more`. Returns the sequence number of the first. */
static inline uint64_t tg_journal_append_unit(struct tg_journal *journal, uint32_t count)
{
    uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);
    tg_assert(count > 0 && tail + count - journal->completed <= TG_JOURNAL_RECORDS);
    tg_assert(journal->records[(tail + count - 1) & (TG_JOURNAL_RECORDS - 1)].more == 0);
    /* pairs with the acquire in tg_journal_take */
    atomic_store_explicit(&journal->tail, tail + count, memory_order_release);
    return tail;
}

/* Publishes the slot that tg_journal_reserve gave; returns its sequence number. */
static inline uint64_t tg_journal_append(struct tg_journal *journal)
{
    return tg_journal_append_unit(journal, 1);
}

/* The oldest completed record, or NULL. It stays the shard's until tg_journal_release. */
static inline struct tg_record *tg_journal_completion(struct tg_journal *journal,
                                                      uint64_t *sequence)
{
    if (journal->completed == journal->durable_seen) {
        /* pairs with the release in tg_journal_publish */
        journal->durable_seen = atomic_load_explicit(&journal->durable, memory_order_acquire);
        if (journal->completed == journal->durable_seen)
            return NULL;
    }
    *sequence = journal->completed;
    return &journal->records[journal->completed & (TG_JOURNAL_RECORDS - 1)];
}

/* The completed record `ahead` behind the oldest, or NULL when it was not seen to be complete yet.
 */
static inline const struct tg_record *tg_journal_completion_ahead(const struct tg_journal *journal,
                                                                  uint32_t ahead)
{
    if (journal->durable_seen - journal->completed <= ahead)
        return NULL;
    return &journal->records[(journal->completed + ahead) & (TG_JOURNAL_RECORDS - 1)];
}

/* Frees the slot of the record that tg_journal_completion gave. */
static inline void tg_journal_release(struct tg_journal *journal)
{
    journal->completed++;
}

/* Completions may be waiting. Cheap enough to ask before going to sleep. */
static inline int tg_journal_has_completions(const struct tg_journal *journal)
{
    return atomic_load_explicit(&journal->durable, memory_order_acquire) != journal->completed;
}

/* --- writer thread --- */

/* A run of records that lie side by side. */
struct tg_span {
    struct tg_record *records; /* borrowed from the journal until published */
    uint32_t count;
};

/* Takes new records as at most two spans; returns how many spans (0: none). At most `max`, and
 * then what is left of a unit that the last of them belongs to. */
uint32_t tg_journal_take(struct tg_journal *journal, uint32_t max, struct tg_span spans[2]);

/* Every record taken so far has its outcome: moves the watermark. Returns 1 when it moved. */
int tg_journal_publish(struct tg_journal *journal);

/* Records that are there to take. Any thread may ask; to others than the writer's it is a hint. */
static inline uint64_t tg_journal_waiting(const struct tg_journal *journal)
{
    /* `taken` first: never beyond the tail that is read behind it (pairs with the release in
     * tg_journal_take). */
    uint64_t taken = atomic_load_explicit(&journal->taken, memory_order_acquire);
    return atomic_load_explicit(&journal->tail, memory_order_acquire) - taken;
}

#endif
