#include "storage/stock_log.h"

#include "base/assert.h"

#include <string.h>

/* --- writing --- */

/* New items need rows of their own, which say what was there at first. */
static bool is_logged(const struct sto_step *step)
{
    const struct sto_env *env = step->env;
    if (step->makes_items)
        return false;
    if (env->log_rows == 0)
        return env->touched_count >=
               (env->options.log_items_min ? env->options.log_items_min : STO_LOG_ITEMS_MIN);
    /* Folding takes pages all over the stock table: not from what is kept for changes. */
    return env->log_rows < STO_LOG_ROWS_MAX || step->need < STO_NEED_GROWTH;
}

/* One row with the next `entries` of what was touched. */
static int put_log_row(struct sto_step *step, MDB_cursor *cursor, uint32_t first, uint32_t entries)
{
    const struct sto_env *env = step->env;
    uint64_t number = env->log_last + step->log_rows + 1;
    MDB_val key = {sizeof(number), &number};
    MDB_val value = {sto_row_log_bytes(entries), NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE | MDB_APPEND);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < entries; i++) {
        uint32_t item = env->touched[first + i].item;
        sto_row_log_put(value.mv_data, i, item, &env->items[item].stock);
    }
    sto_row_log_seal(value.mv_data, number, entries);
    step->log_rows++;
    return 0;
}

static int put_in_log(struct sto_step *step)
{
    const struct sto_env *env = step->env;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(step->txn, env->tables.stock_log, &cursor);
    if (rc)
        return rc;
    for (uint32_t first = 0; rc == 0 && first < env->touched_count; first += STO_LOG_ENTRIES_MAX) {
        uint32_t left = env->touched_count - first;
        rc = put_log_row(step, cursor, first,
                         left < STO_LOG_ENTRIES_MAX ? left : STO_LOG_ENTRIES_MAX);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int put_stock_row(struct sto_step *step, MDB_cursor *cursor, uint32_t item)
{
    MDB_val key = {sizeof(item), &item};
    MDB_val value = {STO_STOCK_ROW_BYTES, NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE);
    if (rc == 0)
        sto_row_stock_encode(value.mv_data, item, &step->env->items[item].stock);
    step->stock_rows++;
    return rc;
}

/* In the order of item numbers, which the bits give for nothing: a cursor that stays on its page
 * costs a little over half of one that searches the tree again for each item. */
static int put_in_place(struct sto_step *step)
{
    const struct sto_env *env = step->env;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(step->txn, env->tables.stock, &cursor);
    if (rc)
        return rc;
    /* What the log names besides lies anywhere. */
    uint64_t left = env->log_rows > 0 ? UINT64_MAX : env->touched_count;
    size_t words = sto_item_words(env->options.items_max);
    for (uint32_t word = 0; rc == 0 && left > 0 && word < words; word++) {
        uint64_t bits = env->touched_bits[word] | env->logged_bits[word];
        for (; rc == 0 && bits; bits &= bits - 1, left--)
            rc = put_stock_row(step, cursor, word * 64 + (uint32_t)__builtin_ctzll(bits));
    }
    mdb_cursor_close(cursor);
    return rc;
}

int sto_step_put_stock(struct sto_step *step)
{
    if (step->env->touched_count == 0)
        return 0;
    if (is_logged(step))
        return put_in_log(step);
    int rc = put_in_place(step);
    if (rc || step->env->log_rows == 0)
        return rc;
    step->folds = true;
    return mdb_drop(step->txn, step->env->tables.stock_log, 0);
}

void sto_stock_log_keep(struct sto_step *step)
{
    struct sto_env *env = step->env;
    if (step->folds) {
        memset(env->logged_bits, 0, sto_item_words(env->options.items_max) * sizeof(uint64_t));
        env->log_rows = 0;
    }
    if (step->log_rows == 0)
        return;
    tg_assert(!step->folds);
    for (uint32_t i = 0; i < env->touched_count; i++)
        env->logged_bits[env->touched[i].item / 64] |= 1ull << env->touched[i].item % 64;
    env->log_rows += step->log_rows;
    env->log_last += step->log_rows;
}

/* --- looking --- */

static bool look_gap(struct sto_stock_log_look *look, uint64_t number)
{
    return look->last == 0 || number == look->last + 1 ||
           look->damage(look->context, number, "the row before it is missing");
}

static bool look_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_stock_log_look *look = context;
    uint64_t number;
    uint32_t entries;
    if (!sto_key_read(key, &number, sizeof(number)))
        return look->damage(look->context, look->last, "the key behind it has the wrong size");
    bool goes_on = look_gap(look, number);
    look->last = number;
    look->count++;
    const char *problem = sto_row_log_check(value->mv_data, value->mv_size, number, &entries);
    if (problem)
        return look->damage(look->context, number, problem) && goes_on;
    for (uint32_t i = 0; goes_on && i < entries; i++) {
        uint32_t item;
        struct tg_stock stock;
        sto_row_log_get(value->mv_data, i, &item, &stock);
        goes_on = look->entry(look->context, number, item, &stock);
    }
    return goes_on;
}

int sto_stock_log_look(MDB_txn *txn, MDB_dbi table, struct sto_stock_log_look *look)
{
    look->last = 0;
    look->count = 0;
    return sto_table_walk(txn, table, look_visit, look);
}
