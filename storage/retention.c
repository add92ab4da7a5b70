/* Retention of the outbox: some of the oldest event rows go with each commit, so that no commit
 * waits for a long clean-up; more than it writes itself, so that the outbox shrinks under any load.
 *
 * The newest sequence is never dropped: the number of the last row is where the next start goes on
 * counting. Orders stay as rows; below `event_first` readers no longer see them as events. */
#include "storage/step.h"

#include "base/planted.h"
#include "storage/rows.h"

/* A commit drops as many events as it writes, and these. */
#define EVENTS_BESIDE 256

void sto_retention_set(struct sto_env *env, const struct sto_retention *retention)
{
    env->retention = *retention;
}

static int table_bytes(struct sto_step *step, uint64_t *bytes)
{
    MDB_stat stat;
    int rc = mdb_stat(step->txn, step->env->tables.events, &stat);
    if (rc == 0)
        *bytes = (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
                 (uint64_t)stat.ms_psize;
    return rc;
}

/* Why the oldest event row is to go, if it may. */
static int find_due(struct sto_step *step, const struct tg_event *event, enum sto_held *due)
{
    const struct sto_retention *retention = &step->env->retention;
    uint64_t bytes = 0;
    int rc = 0;
    *due = STO_HELD_OLD;
    if (event->at_ms < retention->before_ms)
        return 0;
    rc = table_bytes(step, &bytes);
    *due = bytes > retention->bytes_max ? STO_HELD_LARGE : STO_HELD_NONE;
    return rc;
}

/* Whether the oldest event row goes. */
static int may_drop(struct sto_step *step, const struct tg_event *event, bool *drop)
{
    enum sto_held due;
    int rc = find_due(step, event, &due);
    bool is_held =
        event->sequence > step->env->retention.sequence_max && !TG_PLANTED(RETENTION_BEYOND_ACK);
    step->events_held = is_held ? due : STO_HELD_NONE;
    *drop = due != STO_HELD_NONE && !is_held && event->sequence < step->sequence;
    return rc;
}

bool sto_step_may_trim(const struct sto_step *step)
{
    return step->env->retention.sequence_max >= step->event_first;
}

/* Drops the oldest event row, if it may go; one that is damaged is left to whoever reads it while
 * it may not. */
static int drop_oldest(struct sto_step *step, bool *dropped)
{
    MDB_val key, value;
    uint64_t sequence;
    struct tg_event event;
    *dropped = false;
    int rc = mdb_cursor_get(step->events, &key, &value, MDB_FIRST);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (!sto_key_read(&key, &sequence, sizeof(sequence)) ||
        sto_row_event_decode(value.mv_data, value.mv_size, sequence, &event))
        return sto_step_may_trim(step) ? MDB_CORRUPTED : 0;
    rc = may_drop(step, &event, dropped);
    if (rc || !*dropped)
        return rc;
    step->event_first = sequence + 1;
    step->events_dropped++;
    return mdb_cursor_del(step->events, 0);
}

static int event_first_put(struct sto_step *step)
{
    uint8_t row[STO_EVENT_FIRST_ROW_BYTES];
    sto_row_event_first_encode(row, step->event_first);
    MDB_val key = {sizeof(STO_EVENT_FIRST_KEY) - 1, (void *)(uintptr_t)STO_EVENT_FIRST_KEY};
    MDB_val value = {sizeof(row), row};
    return mdb_put(step->txn, step->env->tables.meta, &key, &value, 0);
}

int sto_step_trim(struct sto_step *step)
{
    uint64_t before = step->event_first;
    int rc = sto_step_cursor(step, step->env->tables.events, &step->events);
    bool dropped = true;
    uint64_t most = step->sequence - step->env->stats.sequence + EVENTS_BESIDE;
    for (uint64_t i = 0; rc == 0 && dropped && i < most; i++)
        rc = drop_oldest(step, &dropped);
    if (rc == 0 && step->event_first != before)
        rc = event_first_put(step);
    return rc ? rc : table_bytes(step, &step->events_bytes);
}
