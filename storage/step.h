/* One commit under way: what commit.c, commit_rows.c and retention.c share. Private to them.
 *
 * Writer thread. A step lives as long as one call of sto_commit.
 */
#ifndef TG_STORAGE_STEP_H
#define TG_STORAGE_STEP_H

#include "storage/env.h"

/* How much of the last room a record may have: storage/room.c. */
enum sto_need {
    STO_NEED_LITTLE, /* what consumers ack; and events are dropped */
    STO_NEED_CHANGE, /* what becomes of orders, teams and sales that are there */
    STO_NEED_GROWTH, /* new orders, sales, adjustments */
};

struct sto_step {
    struct sto_env *env;
    enum sto_need need; /* units that need more are left out, as REFUSED */
    MDB_txn *txn;       /* NULL until a record needs the disk */
    MDB_cursor *orders; /* at the end of its table */
    MDB_cursor *lives;  /* these: NULL until a record needs them */
    MDB_cursor *events;
    uint64_t sequence; /* of the newest order or event */
    uint64_t adjustment_last;
    uint64_t created_order_id; /* by the unit under way, 0: none */
    bool in_unit;              /* the last record said that more of its unit follow */
    bool leaves_out;           /* the unit under way needs more than is given */
    uint64_t event_first;
    uint64_t events_dropped;
    enum sto_held events_held;
    uint64_t events_bytes;    /* of their table, behind this step */
    uint64_t records;         /* taken */
    uint64_t row_bytes;       /* written so far, without stock */
    uint64_t stock_rows;      /* written in place */
    uint64_t log_rows;        /* appended to the stock log */
    bool makes_items;         /* a sale was created */
    bool folds;               /* the stock log is emptied */
    uint64_t scattered_pages; /* that rows not at the end of their table may need to themselves */
    uint64_t free_bytes;      /* as the look at the filesystem found it */
    uint64_t needed_bytes;    /* what this batch may take of them */
    uint64_t pages_end;       /* bytes of the file, up to the last page that was ever used */
    bool no_room;             /* so it fails */
};

/* What a unit needs that begins with this record. Pure. */
enum sto_need sto_record_need(const struct tg_record *record);

/* Begins the transaction. 0 or LMDB's error. */
int sto_step_begin(struct sto_step *step);

/* Looks whether there is room for the step, with all its rows written, and keeps back what its need
 * says. 0; ENOSPC with `no_room`, or MDB_MAP_FULL; or another error. */
int sto_step_room(struct sto_step *step);

/* Has the file end ahead of its pages: storage/grow.c. Ahead of the commit, behind sto_step_room.
 */
void sto_step_grow_file(const struct sto_step *step);

/* Writes what every record of the span asks for, in order, and fills in ids and outcomes; begins
 * the transaction when the first one needs it. 0 or LMDB's error. */
int sto_step_put(struct sto_step *step, const struct tg_span *span);

/* The step is over: the shadow stays, or goes back to what it was before. */
void sto_step_shadow_keep(struct sto_env *env);
void sto_step_shadow_restore(struct sto_env *env);

/* Drops what retention lets go of the outbox, oldest first, a little. */
int sto_step_trim(struct sto_step *step);
/* Retention may let go of something. */
bool sto_step_may_trim(const struct sto_step *step);

/* Opens a cursor of the step when it is not open yet. */
static inline int sto_step_cursor(struct sto_step *step, MDB_dbi table, MDB_cursor **cursor)
{
    return *cursor ? 0 : mdb_cursor_open(step->txn, table, cursor);
}

#endif
