/* The stock log: what a commit writes in the place of stock rows that lie far apart.
 *
 * Stock rows are sorted by item number, so a commit whose orders are of a thousand items rewrites
 * nearly every page of their table. Such a commit appends what it made of the stock to the table
 * stock_log instead, some eighty items to a row, two rows to a page. While the log holds anything,
 * every commit goes to it; when it has grown to STO_LOG_ROWS_MAX rows, the next commit folds it:
 * writes the rows of all items that it names, and empties it.
 *
 *   few items, log empty ----> rows in place
 *   many items --------------> log <---- any, log not empty
 *   log full ----------------> rows in place of all that the log names, log emptied
 *
 * Always, at every durable point: an item's stock is what the last entry of the log says of it, or
 * its stock row when there is none; and the keys of the log follow each other without a gap.
 *
 * Private to storage/. Writer thread; the look at the log is recovery's and verify's.
 */
#ifndef TG_STORAGE_STOCK_LOG_H
#define TG_STORAGE_STOCK_LOG_H

#include "storage/rows.h"
#include "storage/step.h"

/* Writes the stock of all touched items, one way or the other. 0 or LMDB's error. */
int sto_step_put_stock(struct sto_step *step);

/* The step is durable: what it wrote to the log, or folded, is so now. Before the shadow is kept.
 */
void sto_stock_log_keep(struct sto_step *step);

/* Who looks at the log, in the order in which it was written. */
struct sto_stock_log_look {
    void *context;
    /* One entry of row `number`; false stops. `initial_units` is 0: the stock row has it. */
    bool (*entry)(void *context, uint64_t number, uint32_t item, const struct tg_stock *stock);
    /* Row `number` cannot be read, and why; its entries are left out. False stops. */
    bool (*damage)(void *context, uint64_t number, const char *problem);
    uint64_t last;  /* the number of the last row; 0: the log is empty */
    uint64_t count; /* of its rows */
};

/* Looks at all of it, gaps between its numbers included. 0 or LMDB's error. */
int sto_stock_log_look(MDB_txn *txn, MDB_dbi table, struct sto_stock_log_look *look);

#endif
