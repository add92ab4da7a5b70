/* What the files of storage/ share: the environment behind struct sto_env, its tables, its shadow
 * of the stock. Private to this room.
 *
 * Threads: the shadow and everything under "writer thread" belongs to the writer (before it
 * starts, to recovery). LMDB handles are set at open and then only read.
 *
 * Always, between two calls: the shadow equals the durable stock (storage/stock_log.h).
 */
#ifndef TG_STORAGE_ENV_H
#define TG_STORAGE_ENV_H

#include "storage/storage.h"

#include <lmdb.h>

struct sto_tables {
    MDB_dbi meta;
    MDB_dbi sales;
    MDB_dbi items;
    MDB_dbi stock;
    MDB_dbi orders;
    MDB_dbi adjustments;
    MDB_dbi lives; /* from here on: of format 2 */
    MDB_dbi events;
    MDB_dbi teams;
    MDB_dbi ingested;
    MDB_dbi groups;
    MDB_dbi stock_log; /* of format 3 */
};

#define STO_TABLES 12

/* In the place of a table that a database of an older format does not have: empty. It is the
 * number of LMDB's own free list, so nothing but sto_table_walk may be asked about it. */
#define STO_NO_TABLE 0u

/* One item in the shadow. */
struct sto_item {
    struct tg_stock stock;
    bool known;           /* it has rows */
    uint8_t stock_policy; /* enum tg_stock_policy */
    uint16_t partition;   /* of its order ids */
};

/* The image of an item before the batch under way, to go back to. */
struct sto_touched {
    uint32_t item;
    struct sto_item before;
};

struct sto_env {
    /* set at open */
    MDB_env *lmdb;
    struct sto_tables tables;
    struct sto_options options; /* data_dir is a copy of its own */
    int dir_fd;
    int lock_fd;
    size_t page_bytes;

    /* writer thread */
    bool ready;                  /* the shadow is loaded: recovered, or nothing to recover */
    struct sto_item *items;      /* options.items_max, by item number */
    struct sto_touched *touched; /* options.items_max, the first touched_count are in use */
    uint32_t touched_count;
    uint64_t *touched_bits; /* a bit for each item number: it is in `touched` */
    uint64_t *logged_bits;  /* likewise: the stock log names it */
    uint64_t log_last;      /* number of the log's newest row, also when it is empty */
    uint64_t log_rows;
    uint64_t file_bytes; /* length of the file when it was last looked at; 0: not yet */
    bool used;           /* recovered, or committed to: too late to recover */
    uint64_t adjustment_last;
    struct sto_retention retention;
    struct sto_commit_stats stats; /* event_first is set at open */
};

/* What the commit step must know of an item beside its stock. `def` is of the whole sale, its items
 * sorted by number: the first one's number decides the partition of a group-buy. */
void sto_item_rules_set(struct sto_item *slot, const struct tg_sale_def *def,
                        const struct tg_item_def *item);

/* Opens the tables in `txn`; `flags` is MDB_CREATE or 0: then those of later formats than 1 may be
 * missing, and are STO_NO_TABLE. 0 or LMDB's error. */
int sto_tables_open(MDB_txn *txn, unsigned flags, struct sto_tables *tables);

/* The shortest time to live of request ids that the database has seen; false: none is known. */
bool sto_ttl_read(MDB_txn *txn, MDB_dbi meta, uint32_t *ttl_s);

/* The oldest sequence that readers of the outbox may ask for; 1 in a database that never dropped
 * one. 0, or LMDB's error (MDB_CORRUPTED for a damaged record). */
int sto_event_first_read(MDB_txn *txn, MDB_dbi meta, uint64_t *first);

/* Reads the format record; `present` says whether there is one. TG_ERR_VERSION for a newer one. */
enum tg_error sto_format_check(MDB_txn *txn, MDB_dbi meta, const char *data_dir, bool *present,
                               struct tg_fault *fault);

/* What is wrong with a row of the table meta, or NULL. */
const char *sto_meta_row_problem(const MDB_val *key, const MDB_val *value);

/* Fills `fault` with "<what>: <LMDB's text>" and returns the tg_error that fits `rc`. */
enum tg_error sto_fault_lmdb(struct tg_fault *fault, int rc, const char *what);

/* Calls `visit` with every row of a table (STO_NO_TABLE: none) in key order until it returns false.
 * 0 or LMDB's error. */
int sto_table_walk(MDB_txn *txn, MDB_dbi table,
                   bool (*visit)(void *context, const MDB_val *key, const MDB_val *value),
                   void *context);

/* Pages in the free list. 0 or LMDB's error. */
int sto_free_pages(MDB_txn *txn, uint64_t *pages);

/* Words of a bit set that has one bit for each item number. */
static inline size_t sto_item_words(uint32_t items_max)
{
    return (items_max + 63ull) / 64;
}

/* Reads a key of exactly `size` bytes into `key`; false when it has another size. */
bool sto_key_read(const MDB_val *value, void *key, size_t size);

#endif
