/* One commit under way: what commit.c, commit_rows.c and retention.c share. Private to them.
 *
 * Writer thread. A step lives as long as one call of sto_commit.
 */
#ifndef TG_STORAGE_STEP_H
#define TG_STORAGE_STEP_H

#include "storage/env.h"

struct sto_step {
    struct sto_env *env;
    MDB_txn *txn;       /* NULL until a record needs the disk */
    MDB_cursor *orders; /* at the end of its table */
    MDB_cursor *lives;  /* these: NULL until a record needs them */
    MDB_cursor *events;
    uint64_t sequence; /* of the newest order or event */
    uint64_t adjustment_last;
    uint64_t created_order_id; /* by the unit under way, 0: none */
    bool in_unit;              /* the last record said that more of its unit follow */
    uint64_t event_first;
    uint64_t events_dropped;
    uint64_t row_bytes;       /* written so far, without stock rows */
    uint64_t scattered_pages; /* that rows not at the end of their table may need to themselves */
    uint64_t free_bytes;      /* as the look at the filesystem found it */
    uint64_t needed_bytes;    /* what this batch may take of them */
    bool no_room;             /* so it fails */
};

/* Writes what every record of the span asks for, in order, and fills in ids and outcomes; begins
 * the transaction when the first one needs it. 0 or LMDB's error. */
int sto_step_put(struct sto_step *step, const struct tg_span *span);

/* Writes the stock rows of all touched items. */
int sto_step_put_stock(struct sto_step *step);

/* The step is over: the shadow stays, or goes back to what it was before. */
void sto_step_shadow_keep(struct sto_env *env);
void sto_step_shadow_restore(struct sto_env *env);

/* Drops what retention lets go of the outbox, oldest first, a little. */
int sto_step_trim(struct sto_step *step);

/* Opens a cursor of the step when it is not open yet. */
static inline int sto_step_cursor(struct sto_step *step, MDB_dbi table, MDB_cursor **cursor)
{
    return *cursor ? 0 : mdb_cursor_open(step->txn, table, cursor);
}

#endif
