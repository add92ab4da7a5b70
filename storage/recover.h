/* One recovery under way: what recover.c and recover_orders.c share. Private to them.
 *
 * Threads: one at a time. While orders are read ahead (struct sto_recovery) it belongs to the
 * thread that reads, and the caller of sto_recover waits for it before it touches any of this
 * again.
 */
#ifndef TG_STORAGE_RECOVER_H
#define TG_STORAGE_RECOVER_H

#include "storage/env.h"

struct sto_recovering_item {
    uint32_t sale;
    struct tg_item_def def;
};

/* What the other tables say about an item, to hold against its stock row. */
struct sto_recovering_sums {
    uint64_t reserved_units; /* of its orders, and so the next */
    uint64_t sold_units;
    int64_t restocked_units; /* of its adjustments */
    bool has_stock;
};

struct sto_recovering {
    struct sto_env *env;
    const struct sto_recovery *to;
    struct sto_recovery_stats *stats;
    struct tg_fault *fault;
    enum tg_error error; /* set by the visitor that stopped a walk */
    MDB_txn *txn;
    struct sto_recovering_item *items; /* sorted by sale, then item */
    uint32_t item_count;
    uint32_t items_given;
    struct sto_recovering_sums *sums; /* by item number */
    uint64_t sequence_last;           /* of the newest order or event */
    uint64_t sequences;               /* orders and events from the first that the outbox has */
};

/* For visitors of rows: sets r->error and the fault, and is false, which stops the walk. */
#define STO_RECOVER_STOP(r, code, ...)                                                             \
    ((r)->error = tg_fault_set((r)->fault, (code), __VA_ARGS__), false)

static inline bool sto_recover_stop_damaged(struct sto_recovering *r, const char *table,
                                            unsigned long long key, const char *problem)
{
    return STO_RECOVER_STOP(r, TG_ERR_CORRUPT, "table %s, row %llu: %s", table, key, problem);
}

static inline bool sto_recover_stop_key(struct sto_recovering *r, const char *table)
{
    return STO_RECOVER_STOP(r, TG_ERR_CORRUPT, "table %s: a key has the wrong size", table);
}

/* Reads, checks, sums up and hands on the orders with their lives, and that no life is behind the
 * last order. The first thing that does not hold, in the order of ids, ends it; what lies before it
 * was handed on. */
enum tg_error sto_recover_orders(struct sto_recovering *r);

#endif
