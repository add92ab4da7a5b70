/* The commit step: one batch, one transaction, one fsync.
 *
 *   begin -> rows of every record -> one stock row per touched item -> old events dropped
 *                        |                                                    |
 *                        |                room on the disk? <-----------------+
 *                        |                     |      |
 *                        |                     |      +-> commit
 *                        +----- any failure ---+----------+
 *                                    |
 *                shadow, numbers and outcomes as before
 *
 * commit_rows.c says what each record writes, retention.c what is dropped.
 */
#include "storage/step.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/planted.h"

#include <errno.h>
#include <sys/statvfs.h>

/* Commits between two looks for readers that died and would keep old pages from being reused. */
#define COMMITS_PER_READER_CHECK 1024

/* Pages that a commit writes beside its rows: tree paths of eleven tables, dropped events, free
 * list, meta. */
#define PAGES_BESIDE_ROWS 96

/* A short write would show as EIO, whose outcome nobody knows: so look for room ahead. The
 * estimate is generous: rows half as large again, and a page for every stock row and every row that
 * is not at the end of its table. */
static int room_check(struct sto_step *step)
{
    struct sto_env *env = step->env;
    struct statvfs filesystem;
    if (fstatvfs(env->dir_fd, &filesystem))
        return errno;
    step->free_bytes = (uint64_t)filesystem.f_bavail * filesystem.f_frsize;
    step->needed_bytes = step->row_bytes + step->row_bytes / 2 +
                         (env->touched_count + step->scattered_pages + PAGES_BESIDE_ROWS) *
                             (uint64_t)env->page_bytes;
    step->no_room = step->free_bytes < env->options.free_bytes_min + step->needed_bytes;
    return step->no_room ? ENOSPC : 0;
}

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

/* Undoes the batch and says what it came to. */
static enum sto_result step_fail(struct sto_step *step, const struct sto_batch *batch, int rc,
                                 struct tg_fault *fault)
{
    struct sto_env *env = step->env;
    if (step->txn) {
        cursors_close(step);
        mdb_txn_abort(step->txn);
    }
    sto_step_shadow_restore(env);
    if (is_full(rc) && !is_panicked(env)) {
        outcomes_set(batch, TG_OUTCOME_REFUSED);
        env->stats.refused_batches++;
        refusal_explain(step, rc, fault);
        return STO_REFUSED;
    }
    outcomes_set(batch, 0);
    env->ready = false;
    sto_fault_lmdb(fault, rc,
                   "a commit failed and its outcome is unknown; the process must stop and recover");
    return STO_UNKNOWN;
}

static void step_done(struct sto_step *step, const struct sto_batch *batch, int64_t begun_ns)
{
    struct sto_env *env = step->env;
    struct sto_commit_stats *stats = &env->stats;
    sto_step_shadow_keep(env);
    env->adjustment_last = step->adjustment_last;
    stats->sequence = step->sequence;
    stats->event_first = step->event_first;
    stats->events_dropped += step->events_dropped;
    for (uint32_t s = 0; s < batch->span_count; s++)
        stats->records += batch->spans[s].count;
    stats->commits++;
    stats->commit_ns_last = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    if (stats->commit_ns_last > stats->commit_ns_max)
        stats->commit_ns_max = stats->commit_ns_last;
    if (stats->commits % COMMITS_PER_READER_CHECK == 0) {
        int dead;
        mdb_reader_check(env->lmdb, &dead);
    }
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
    if (!step->txn)
        return 0;
    rc = sto_step_put_stock(step);
    if (rc == 0)
        rc = sto_step_trim(step);
    return rc ? rc : room_check(step);
}

enum sto_result sto_commit(struct sto_env *env, const struct sto_batch *batch,
                           struct tg_fault *fault)
{
    tg_assert(env->ready && env->touched_count == 0);
    tg_assert(batch->span_count <= STO_BATCH_SPANS_MAX);
    int64_t begun_ns = tg_clock_mono_ns();
    struct sto_step step = {.env = env,
                            .sequence = env->stats.sequence,
                            .adjustment_last = env->adjustment_last,
                            .event_first = env->stats.event_first};
    env->used = true;
    int rc = step_fill(&step, batch);
    if (rc)
        return step_fail(&step, batch, rc, fault);
    if (!step.txn)
        return STO_DURABLE;
    cursors_close(&step);
    if (TG_PLANTED(ANSWER_BEFORE_DURABLE) && env->stats.commits % 32 == 31)
        mdb_txn_abort(step.txn);
    else
        rc = mdb_txn_commit(step.txn);
    step.txn = NULL;
    if (rc)
        return step_fail(&step, batch, rc, fault);
    step_done(&step, batch, begun_ns);
    return STO_DURABLE;
}

const struct sto_commit_stats *sto_commit_stats(const struct sto_env *env)
{
    return &env->stats;
}
