/* The commit step: one batch, one transaction, one fsync.
 *
 *   begin -> rows of every record -> the stock of touched items -> old events dropped
 *                        |                                                    |
 *                        |                room on the disk? <-----------------+
 *                        |                     |      |
 *                        |                     |      +-> commit
 *                        +----- any failure ---+----------+
 *                                    |
 *                shadow, numbers and outcomes as before
 *                                    |
 *              full: again without what grows, then with acks alone
 *
 * commit_rows.c says what each record writes, retention.c what is dropped, room.c what is kept
 * back, grow.c how the file gets longer.
 */
#include "storage/stock_log.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/planted.h"
#include "storage/pages.h"

#include <errno.h>

/* Commits between two looks for readers that died and would keep old pages from being reused. */
#define COMMITS_PER_READER_CHECK 1024

static bool is_full(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT;
}

/* A meta page that could not be written leaves LMDB unsure which one counts, and in panic: then
 * "full" is no clean refusal. */
static bool is_panicked(struct sto_env *env)
{
    MDB_txn *probe;
    if (mdb_txn_begin(env->lmdb, NULL, 0, &probe))
        return true;
    mdb_txn_abort(probe);
    return false;
}

static void outcomes_set(const struct sto_batch *batch, uint8_t outcome)
{
    for (uint32_t s = 0; s < batch->span_count; s++) {
        for (uint32_t i = 0; i < batch->spans[s].count; i++) {
            batch->spans[s].records[i].outcome = outcome;
            batch->spans[s].records[i].order_id = 0;
        }
    }
}

static void refusal_explain(const struct sto_step *step, int rc, struct tg_fault *fault)
{
    const struct sto_options *options = &step->env->options;
    if (rc == MDB_MAP_FULL)
        tg_fault_set(fault, TG_ERR_FULL,
                     "the database map of %llu bytes is full; restart with a larger one",
                     (unsigned long long)options->map_bytes);
    else if (step->no_room)
        tg_fault_set(fault, TG_ERR_FULL,
                     "the filesystem of %s has %llu bytes free, the batch may need %llu, and %llu "
                     "must stay free; make room",
                     options->data_dir, (unsigned long long)step->free_bytes,
                     (unsigned long long)step->needed_bytes,
                     (unsigned long long)options->free_bytes_min);
    else
        sto_fault_lmdb(fault, rc, "the batch does not fit");
}

static void cursors_close(struct sto_step *step)
{
    MDB_cursor *const cursors[] = {step->orders, step->lives, step->events};
    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        if (cursors[i])
            mdb_cursor_close(cursors[i]);
    }
}

/* Undoes the step. */
static void step_undo(struct sto_step *step)
{
    if (step->txn) {
        cursors_close(step);
        mdb_txn_abort(step->txn);
    }
    sto_step_shadow_restore(step->env);
}

static enum sto_result give_up(struct sto_env *env, const struct sto_batch *batch, int rc,
                               struct tg_fault *fault)
{
    outcomes_set(batch, 0);
    env->ready = false;
    sto_pages_mark_set(env->lmdb, env->dir_fd);
    sto_fault_lmdb(fault, rc,
                   "a commit failed and its outcome is unknown; the process must stop and recover");
    return STO_UNKNOWN;
}

static void step_done(struct sto_step *step, int64_t begun_ns)
{
    struct sto_env *env = step->env;
    struct sto_commit_stats *stats = &env->stats;
    sto_stock_log_keep(step);
    sto_step_shadow_keep(env);
    env->adjustment_last = step->adjustment_last;
    stats->sequence = step->sequence;
    stats->event_first = step->event_first;
    stats->events_dropped += step->events_dropped;
    stats->events_bytes = step->events_bytes;
    stats->events_held = step->events_held;
    stats->records += step->records;
    stats->commits++;
    stats->commit_ns_last = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    if (stats->commit_ns_last > stats->commit_ns_max)
        stats->commit_ns_max = stats->commit_ns_last;
    if (stats->commits % COMMITS_PER_READER_CHECK == 0) {
        int dead;
        mdb_reader_check(env->lmdb, &dead);
    }
}

/* Nothing of the step needs to be stored. */
static bool is_empty(const struct sto_step *step)
{
    return step->row_bytes == 0 && step->scattered_pages == 0 && step->events_dropped == 0;
}

/* Everything up to the commit itself. */
static int step_fill(struct sto_step *step, const struct sto_batch *batch)
{
    int rc = 0;
    for (uint32_t s = 0; rc == 0 && s < batch->span_count; s++)
        rc = sto_step_put(step, &batch->spans[s]);
    if (rc)
        return rc;
    tg_assert(!step->in_unit);
    /* What does not fit drops old events all the same, even when nothing else is stored: that makes
     * room. */
    if (!step->txn && step->need < STO_NEED_GROWTH && sto_step_may_trim(step))
        rc = sto_step_begin(step);
    if (rc || !step->txn)
        return rc;
    rc = sto_step_put_stock(step);
    if (rc == 0)
        rc = sto_step_trim(step);
    return rc ? rc : sto_step_room(step);
}

/* 0 or LMDB's error; the transaction is over. */
static int step_commit(struct sto_step *step)
{
    int rc = 0;
    cursors_close(step);
    sto_step_grow_file(step);
    if (TG_PLANTED(ANSWER_BEFORE_DURABLE) && step->env->stats.commits % 8 == 7)
        mdb_txn_abort(step->txn);
    else
        rc = mdb_txn_commit(step->txn);
    step->txn = NULL;
    return rc;
}

/* One try at the batch, without what needs more than `need`. 0 or LMDB's error; then nothing of it
 * happened, unless LMDB is in panic. */
static int try_batch(struct sto_env *env, const struct sto_batch *batch, enum sto_need need,
                     struct tg_fault *fault)
{
    int64_t begun_ns = tg_clock_mono_ns();
    struct sto_step step = {.env = env,
                            .need = need,
                            .sequence = env->stats.sequence,
                            .adjustment_last = env->adjustment_last,
                            .event_first = env->stats.event_first};
    int rc = step_fill(&step, batch);
    bool stores = step.txn && !is_empty(&step);
    if (rc == 0 && stores)
        rc = step_commit(&step);
    if (rc == 0 && stores)
        step_done(&step, begun_ns);
    else
        step_undo(&step);
    if (rc && need == STO_NEED_GROWTH)
        refusal_explain(&step, rc, fault);
    return rc;
}

/* The batch does not fit as a whole: what needs less may have what is kept for it. */
static int take_less(struct sto_env *env, const struct sto_batch *batch, struct tg_fault *fault)
{
    int rc = try_batch(env, batch, STO_NEED_CHANGE, fault);
    if (!is_full(rc) || is_panicked(env))
        return rc;
    rc = try_batch(env, batch, STO_NEED_LITTLE, fault);
    if (!is_full(rc) || is_panicked(env))
        return rc;
    outcomes_set(batch, TG_OUTCOME_REFUSED);
    return 0;
}

enum sto_result sto_commit(struct sto_env *env, const struct sto_batch *batch,
                           struct tg_fault *fault)
{
    tg_assert(env->ready && env->touched_count == 0);
    tg_assert(batch->span_count <= STO_BATCH_SPANS_MAX);
    env->used = true;
    int rc = try_batch(env, batch, STO_NEED_GROWTH, fault);
    if (rc == 0)
        return STO_DURABLE;
    if (!is_full(rc) || is_panicked(env))
        return give_up(env, batch, rc, fault);
    env->stats.refused_batches++;
    rc = take_less(env, batch, fault);
    return rc ? give_up(env, batch, rc, fault) : STO_REFUSED;
}

const struct sto_commit_stats *sto_commit_stats(const struct sto_env *env)
{
    return &env->stats;
}
