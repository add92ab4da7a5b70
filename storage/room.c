/* Room for a step, looked for ahead of the commit, and what is kept back of it.
 *
 * A short write would show as EIO, whose outcome nobody knows: so a step that the filesystem may
 * not hold is not begun. And what makes room must not wait for room: the last of the filesystem and
 * of the map is kept for changes, and the last half of that for consumers' acks and for dropping
 * the events that they let go.
 *
 *   need                       kept of the filesystem       kept of the map
 *   growth: orders, sales      storage.free_mib_min         RESERVE_PAGES
 *   a change                   half of it                   half of it
 *   little: an ack             nothing                      nothing
 *
 * Pages of the file that nobody uses any more count as room: LMDB takes them first. */
#include "storage/step.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

/* Pages that a commit writes beside its rows: tree paths of twelve tables, dropped events, free
 * list, meta. */
#define PAGES_BESIDE_ROWS 96

/* Pages of the map that growth leaves: an ack takes some fifteen, twice before the first of them
 * can be used again. A small map keeps an eighth of itself. */
#define RESERVE_PAGES 256

static const MDB_dbi free_list = 0; /* LMDB's number of it */

/* Halves of what is kept back. */
static uint64_t halves_kept(const struct sto_step *step)
{
    switch (step->need) {
    case STO_NEED_GROWTH:
        return 2;
    case STO_NEED_CHANGE:
        return 1;
    case STO_NEED_LITTLE:
        return 0;
    }
    return 2;
}

/* Pages of all tables in this transaction. */
static int tables_pages(MDB_txn *txn, const struct sto_tables *tables, uint64_t *pages)
{
    const MDB_dbi all[STO_TABLES] = {tables->meta,     tables->sales,       tables->items,
                                     tables->stock,    tables->orders,      tables->lives,
                                     tables->events,   tables->teams,       tables->groups,
                                     tables->ingested, tables->adjustments, tables->stock_log};
    *pages = 0;
    for (size_t i = 0; i < STO_TABLES; i++) {
        MDB_stat stat;
        int rc = mdb_stat(txn, all[i], &stat);
        if (rc)
            return rc;
        *pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    return 0;
}

/* Pages in the free list: each row begins with their number. */
int sto_free_pages(MDB_txn *txn, uint64_t *pages)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    *pages = 0;
    int rc = mdb_cursor_open(txn, free_list, &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t count;
        memcpy(&count, value.mv_data, sizeof(count));
        *pages += count;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* How many pages the step adds to the tables, and how many lie free in the file as it was before.
 * The pages that it copies are free again behind it. */
static int weigh(const struct sto_step *step, uint64_t *added, uint64_t *reusable)
{
    const struct sto_env *env = step->env;
    MDB_txn *before;
    uint64_t pages, pages_before;
    int rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &before);
    if (rc)
        return rc;
    rc = tables_pages(before, &env->tables, &pages_before);
    if (rc == 0)
        rc = sto_free_pages(before, reusable);
    if (rc == 0)
        rc = tables_pages(step->txn, &env->tables, &pages);
    mdb_txn_abort(before);
    if (rc == 0)
        *added = pages > pages_before ? pages - pages_before : 0;
    return rc;
}

/* Bytes that the step may write. Generous: rows half as large again, and a page for every row that
 * is not at the end of its table and every row of the stock log. */
static uint64_t bytes_at_most(const struct sto_step *step)
{
    return step->row_bytes + step->row_bytes / 2 +
           (step->stock_rows + step->log_rows + step->scattered_pages + PAGES_BESIDE_ROWS) *
               (uint64_t)step->env->page_bytes;
}

int sto_step_room(struct sto_step *step)
{
    const struct sto_env *env = step->env;
    const uint64_t page = env->page_bytes;
    const uint64_t map_pages = env->options.map_bytes / page;
    struct statvfs filesystem;
    MDB_envinfo info;
    if (fstatvfs(env->dir_fd, &filesystem))
        return errno;
    int rc = mdb_env_info(env->lmdb, &info);
    if (rc)
        return rc;
    uint64_t reserve = map_pages / 8 < RESERVE_PAGES ? map_pages / 8 : RESERVE_PAGES;
    uint64_t kept_pages = reserve / 2 * halves_kept(step);
    uint64_t kept_bytes = env->options.free_bytes_min / 2 * halves_kept(step);
    uint64_t unused_pages = map_pages - 1 - info.me_last_pgno;
    step->free_bytes = (uint64_t)filesystem.f_bavail * filesystem.f_frsize;
    step->needed_bytes = bytes_at_most(step);
    step->pages_end = (info.me_last_pgno + 1) * page;
    bool fits_disk = step->free_bytes >= kept_bytes + step->needed_bytes;
    if (fits_disk && unused_pages >= kept_pages + step->needed_bytes / page + 1)
        return 0;

    uint64_t added, reusable;
    rc = weigh(step, &added, &reusable);
    if (rc)
        return rc;
    if (!fits_disk && (step->free_bytes < step->needed_bytes || reusable < kept_pages + added)) {
        step->no_room = true;
        return ENOSPC;
    }
    return unused_pages + reusable < kept_pages + added ? MDB_MAP_FULL : 0;
}
