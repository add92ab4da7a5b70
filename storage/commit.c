/* The commit step: one batch, one transaction, one fsync.
 *
 *   begin -> rows of every record -> one stock row per touched item -> room on the disk? -> commit
 *                        |                                                  |         |
 *                        +------------------ any failure -------------------+---------+
 *                                                 |
 *                              shadow, numbers and outcomes as before
 *
 * Orders append to their table, so their rows are encoded straight into the page. Stock rows are
 * written once per item and batch, however many of its orders the batch holds.
 */
#include "storage/env.h"

#include "base/assert.h"
#include "base/clock.h"
#include "storage/rows.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

/* Commits between two looks for readers that died and would keep old pages from being reused. */
#define COMMITS_PER_READER_CHECK 1024

/* Pages that a commit writes beside its rows: tree paths of six tables, free list, meta. */
#define PAGES_BESIDE_ROWS 64

/* One batch under way. */
struct step {
    struct sto_env *env;
    MDB_txn *txn;       /* NULL until a record needs the disk */
    MDB_cursor *orders; /* at the end of its table */
    uint64_t order_sequence;
    uint64_t adjustment_last;
    uint64_t row_bytes;    /* written so far, without stock rows */
    uint64_t free_bytes;   /* as the look at the filesystem found it */
    uint64_t needed_bytes; /* what this batch may take of them */
    bool no_room;          /* so it fails */
};

/* --- the shadow --- */

/* The item's slot, its image saved when this is the batch's first touch of it. */
static struct sto_item *touch(struct sto_env *env, uint32_t item)
{
    tg_assert(item < env->options.items_max);
    struct sto_item *slot = &env->items[item];
    uint64_t *word = &env->touched_bits[item / 64];
    uint64_t bit = 1ull << item % 64;
    if (!(*word & bit)) {
        *word |= bit;
        env->touched[env->touched_count++] = (struct sto_touched){item, *slot};
    }
    return slot;
}

static void touched_clear(struct sto_env *env)
{
    for (uint32_t i = 0; i < env->touched_count; i++)
        env->touched_bits[env->touched[i].item / 64] = 0;
    env->touched_count = 0;
}

static void shadow_restore(struct sto_env *env)
{
    for (uint32_t i = 0; i < env->touched_count; i++)
        env->items[env->touched[i].item] = env->touched[i].before;
    touched_clear(env);
}

static void stock_reserve(struct tg_stock *stock, uint32_t quantity)
{
    tg_assert(quantity <= stock->available_units);
    stock->available_units -= quantity;
    stock->reserved_units += quantity;
    tg_assert(tg_stock_holds(stock));
}

static void stock_adjust(struct tg_stock *stock, int64_t delta_units)
{
    int64_t available = (int64_t)stock->available_units + delta_units;
    tg_assert(available >= 0 && available <= TG_STOCK_UNITS_MAX);
    stock->available_units = (uint32_t)available;
    stock->restocked_units += delta_units;
    tg_assert(tg_stock_holds(stock));
}

/* --- rows --- */

/* Room of `size` bytes in the page, or NULL with LMDB's error in `rc`. */
static void *row_reserve(struct step *step, MDB_dbi table, void *key, size_t key_bytes, size_t size,
                         unsigned flags, int *rc)
{
    MDB_val key_value = {key_bytes, key};
    MDB_val value = {size, NULL};
    *rc = mdb_put(step->txn, table, &key_value, &value, flags | MDB_RESERVE);
    step->row_bytes += size;
    return *rc ? NULL : value.mv_data;
}

static int put_order(struct step *step, struct tg_record *record)
{
    struct sto_item *slot = touch(step->env, record->item);
    stock_reserve(&slot->stock, record->order.quantity);
    step->order_sequence++;
    record->order_id = (step->order_sequence << TG_PARTITION_BITS) | (record->item % TG_PARTITIONS);
    MDB_val key = {sizeof(record->order_id), &record->order_id};
    MDB_val value = {sto_row_order_bytes(record), NULL};
    int rc = mdb_cursor_put(step->orders, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc)
        return rc;
    sto_row_order_encode(value.mv_data, record);
    step->row_bytes += value.mv_size;
    return 0;
}

static int put_adjustment(struct step *step, const struct tg_record *record)
{
    struct sto_item *slot = touch(step->env, record->item);
    tg_assert(slot->known);
    stock_adjust(&slot->stock, record->adjust.delta_units);
    step->adjustment_last++;
    int rc;
    void *row = row_reserve(step, step->env->tables.adjustments, &step->adjustment_last,
                            sizeof(step->adjustment_last), sto_row_adjustment_bytes(record),
                            MDB_APPEND, &rc);
    if (row)
        sto_row_adjustment_encode(row, step->adjustment_last, record);
    return rc;
}

static int put_item(struct step *step, uint32_t sale, const struct tg_item_def *item)
{
    struct sto_item *slot = touch(step->env, item->item);
    tg_assert(!slot->known && item->stock_units <= TG_STOCK_UNITS_MAX);
    slot->known = true;
    slot->stock =
        (struct tg_stock){.initial_units = item->stock_units, .available_units = item->stock_units};
    uint32_t key = item->item;
    int rc;
    void *row = row_reserve(step, step->env->tables.items, &key, sizeof(key),
                            sto_row_item_bytes(item), MDB_NOOVERWRITE, &rc);
    if (row)
        sto_row_item_encode(row, sale, item);
    return rc;
}

static int put_sale(struct step *step, const struct tg_sale_def *def)
{
    uint32_t key = def->sale;
    int rc;
    void *row = row_reserve(step, step->env->tables.sales, &key, sizeof(key),
                            sto_row_sale_bytes(def), MDB_NOOVERWRITE, &rc);
    if (row)
        sto_row_sale_encode(row, def);
    for (uint32_t i = 0; rc == 0 && i < def->item_count; i++)
        rc = put_item(step, def->sale, &def->items[i]);
    return rc;
}

static int put_sale_state(struct step *step, const struct tg_record *record)
{
    uint32_t sale = record->sale_state.sale;
    MDB_val key = {sizeof(sale), &sale};
    MDB_val value;
    int rc = mdb_get(step->txn, step->env->tables.sales, &key, &value);
    if (rc)
        return rc;
    struct tg_sale_def def;
    if (sto_row_sale_decode(value.mv_data, value.mv_size, sale, &def))
        return MDB_CORRUPTED;
    def.state = record->sale_state.state;
    void *row = row_reserve(step, step->env->tables.sales, &sale, sizeof(sale),
                            sto_row_sale_bytes(&def), 0, &rc);
    if (row)
        sto_row_sale_encode(row, &def);
    return rc;
}

static int put_stock_row(struct step *step, MDB_cursor *cursor, uint32_t item)
{
    MDB_val key = {sizeof(item), &item};
    MDB_val value = {STO_STOCK_ROW_BYTES, NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE);
    if (rc == 0)
        sto_row_stock_encode(value.mv_data, item, &step->env->items[item].stock);
    return rc;
}

/* In the order of item numbers, which the bits give for nothing: a cursor that stays on its page
 * costs a little over half of one that searches the tree again for each item. */
static int put_stock(struct step *step)
{
    struct sto_env *env = step->env;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(step->txn, env->tables.stock, &cursor);
    if (rc)
        return rc;
    uint32_t left = env->touched_count;
    for (uint32_t word = 0; rc == 0 && left > 0; word++) {
        for (uint64_t bits = env->touched_bits[word]; rc == 0 && bits; bits &= bits - 1, left--)
            rc = put_stock_row(step, cursor, word * 64 + (uint32_t)__builtin_ctzll(bits));
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* --- the step --- */

static int begin(struct step *step)
{
    int rc = mdb_txn_begin(step->env->lmdb, NULL, 0, &step->txn);
    if (rc) {
        step->txn = NULL;
        return rc;
    }
    return mdb_cursor_open(step->txn, step->env->tables.orders, &step->orders);
}

/* Outcomes are filled in ahead of the commit, while the record is in the cache: nobody looks at
 * them before the batch is published, and a failure takes them back. */
static int put_record(struct step *step, struct tg_record *record)
{
    record->outcome = TG_OUTCOME_DURABLE;
    if (record->kind == TG_RECORD_FENCE)
        return 0;
    if (!step->txn) {
        int rc = begin(step);
        if (rc)
            return rc;
    }
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        return put_order(step, record);
    case TG_RECORD_ADJUST:
        return put_adjustment(step, record);
    case TG_RECORD_SALE:
        return put_sale(step, record->sale);
    case TG_RECORD_SALE_STATE:
        return put_sale_state(step, record);
    case TG_RECORD_FENCE:
        return 0;
    }
    tg_assert(!"a record of an unknown kind");
    return 0;
}

static int put_records(struct step *step, const struct sto_batch *batch)
{
    for (uint32_t s = 0; s < batch->span_count; s++) {
        const struct tg_span *span = &batch->spans[s];
        for (uint32_t i = 0; i < span->count; i++) {
            int rc = put_record(step, &span->records[i]);
            if (rc)
                return rc;
        }
    }
    return 0;
}

/* A short write would show as EIO, whose outcome nobody knows: so look for room ahead. The
 * estimate is generous: rows half as large again, and a page for every stock row. */
static int room_check(struct step *step)
{
    struct sto_env *env = step->env;
    struct statvfs filesystem;
    if (fstatvfs(env->dir_fd, &filesystem))
        return errno;
    step->free_bytes = (uint64_t)filesystem.f_bavail * filesystem.f_frsize;
    step->needed_bytes = step->row_bytes + step->row_bytes / 2 +
                         (env->touched_count + PAGES_BESIDE_ROWS) * (uint64_t)env->page_bytes;
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

static void refusal_explain(const struct step *step, int rc, struct tg_fault *fault)
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

/* Undoes the batch and says what it came to. */
static enum sto_result step_fail(struct step *step, const struct sto_batch *batch, int rc,
                                 struct tg_fault *fault)
{
    struct sto_env *env = step->env;
    if (step->txn) {
        if (step->orders)
            mdb_cursor_close(step->orders);
        mdb_txn_abort(step->txn);
    }
    shadow_restore(env);
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

static void step_done(struct step *step, const struct sto_batch *batch, int64_t begun_ns)
{
    struct sto_env *env = step->env;
    struct sto_commit_stats *stats = &env->stats;
    touched_clear(env);
    env->adjustment_last = step->adjustment_last;
    stats->order_sequence = step->order_sequence;
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

enum sto_result sto_commit(struct sto_env *env, const struct sto_batch *batch,
                           struct tg_fault *fault)
{
    tg_assert(env->ready && env->touched_count == 0);
    tg_assert(batch->span_count <= STO_BATCH_SPANS_MAX);
    int64_t begun_ns = tg_clock_mono_ns();
    struct step step = {.env = env,
                        .order_sequence = env->stats.order_sequence,
                        .adjustment_last = env->adjustment_last};
    env->used = true;
    int rc = put_records(&step, batch);
    if (rc == 0 && !step.txn)
        return STO_DURABLE;
    if (rc == 0)
        rc = put_stock(&step);
    if (rc == 0)
        rc = room_check(&step);
    if (rc)
        return step_fail(&step, batch, rc, fault);
    mdb_cursor_close(step.orders);
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
