/* What the files of the offline check share (verify.c, check_pages.c, check_orders.c,
 * check_events.c, check_teams.c): one look at a whole database, on one snapshot. Private to this
 * room.
 *
 * It shares no state with the daemon and no code with recovery but the row formats: two looks at
 * the same promises. Visitors go on after a finding; they stop only when they cannot look.
 *
 * What it holds: some 100 bytes for each item, 16 bytes for each life, and two open-addressing
 * tables with 24 bytes for each order, sized by the number of orders before the first is read:
 *
 *   requests   hash of a request id -> order id; the ids themselves are compared in the database
 *   holdings   (item, user) -> units, for items with a per-user limit; grows when carts have many
 *              lines
 */
#ifndef TG_STORAGE_CHECK_H
#define TG_STORAGE_CHECK_H

#include "storage/env.h"

/* The walls of engine.items_max and engine.sales_max (server/config.h): a number beyond them is
 * damage, whatever its checksum says, and must not size an array. */
#define STO_CHECK_ITEMS_MAX 100000000u
#define STO_CHECK_SALES_MAX 10000000u

struct sto_check_item {
    struct tg_stock stock;
    uint64_t reserved_units; /* of its orders, and so the next */
    uint64_t sold_units;
    int64_t restocked_units; /* of its adjustments */
    uint32_t sale;
    uint32_t per_user_limit;
    uint8_t stock_policy;
    bool known;
    bool has_stock;
};

struct sto_check_sale {
    uint32_t items; /* that name it */
    uint32_t first_item;
    uint32_t last_item;
    bool known; /* its row was met */
    bool is_group_buy;
};

struct sto_check_request {
    uint64_t hash;
    uint64_t order_id; /* 0: empty */
};

struct sto_check_holding {
    uint64_t user_id;
    uint32_t item;
    uint32_t units; /* 0: empty; stays at the largest value rather than wrap */
};

/* Of each life, in the order of ids: what the outbox must say of it. */
struct sto_check_mark {
    uint64_t order_id;
    uint64_t last_event; /* 0: it was met; STO_CHECK_UNKNOWN: the life is damaged */
};

#define STO_CHECK_UNKNOWN UINT64_MAX

/* A table that is read in step with another, by keys of 64 bits. */
struct sto_check_feed {
    const char *table;
    MDB_cursor *cursor;
    uint64_t key; /* of the row that it stands on; UINT64_MAX behind the last */
    MDB_val value;
};

struct sto_check {
    int64_t request_ttl_ms; /* an id owns no second order within this time */
    const char *data_dir;
    void (*finding)(void *context, const char *line);
    void (*progress)(void *context, uint64_t orders);
    void *context;
    struct sto_verify_report *report;
    struct tg_fault *fault;
    enum tg_error error; /* set by a visitor that cannot go on */
    uint32_t findings;
    MDB_env *lmdb;
    MDB_txn *txn;
    bool has_snapshot; /* `txn` has begun */
    struct sto_tables tables;
    uint64_t seed; /* strangers choose request ids and users */

    struct sto_check_item *items; /* by item number */
    uint64_t items_size;          /* one above the largest number */
    struct sto_check_sale *sales; /* by sale number */
    uint64_t sales_size;

    uint64_t orders_max; /* as the table's head counts them, and so lives_max */
    uint64_t lives_max;
    uint64_t request_slots;
    uint64_t holding_slots;
    uint64_t holding_count;
    struct sto_check_request *requests;
    struct sto_check_holding *holdings;
    struct sto_check_mark *marks;
    uint64_t mark_count;
    struct sto_check_feed lives;
    struct sto_check_feed events;
    uint64_t event_first; /* the oldest sequence kept; 0: its record is damaged */
    uint64_t event_next;  /* the sequence that comes next, of an order or an event */
    uint64_t sequence_last;
};

/* --- findings (verify.c) --- */

/* Counts a broken promise, and writes a line for each of the first hundred. */
void sto_check_find(struct sto_check *c, uint64_t *counter, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sto_check_find_damage(struct sto_check *c, const char *table, unsigned long long key,
                           const char *problem);
void sto_check_find_key(struct sto_check *c, const char *table);

/* --- reading (verify.c) --- */

/* Walks a table; the error is also that of a visitor that stopped it. */
enum tg_error sto_check_walk(struct sto_check *c, MDB_dbi table,
                             bool (*visit)(void *, const MDB_val *, const MDB_val *));
/* Opens a feed on its first row; the next row. False, with c->error, when it cannot read. A feed
 * that was opened, or is all zero, can be closed. */
bool sto_check_feed_open(struct sto_check *c, struct sto_check_feed *feed, const char *name,
                         MDB_dbi table);
bool sto_check_feed_next(struct sto_check *c, struct sto_check_feed *feed);
void sto_check_feed_close(struct sto_check_feed *feed);
/* The row of a key; the row of a 64-bit key. False when there is none. */
bool sto_check_find_row(struct sto_check *c, MDB_dbi table, const void *key, size_t key_bytes,
                        MDB_val *value);
bool sto_check_get(struct sto_check *c, MDB_dbi table, uint64_t key, MDB_val *value);
/* The order of an id; false when there is none that is undamaged. */
bool sto_check_order(struct sto_check *c, uint64_t order_id, struct tg_order_row *row);
/* NULL when there is no such (undamaged) item. */
struct sto_check_item *sto_check_item(struct sto_check *c, uint32_t number);

/* --- passes --- */

/* The pages of the snapshot; it may take a newer one. TG_ERR_CORRUPT: what is damaged is found, and
 * every row that can be reached was held against its checksum; LMDB must not be asked any more. */
enum tg_error sto_check_pages(struct sto_check *c);
/* The same of a file that LMDB does not open. */
enum tg_error sto_check_closed_pages(struct sto_check *c);

/* Orders, with lives and events in step. */
enum tg_error sto_check_orders(struct sto_check *c);
/* Behind the orders. */
enum tg_error sto_check_teams(struct sto_check *c);
enum tg_error sto_check_ingested(struct sto_check *c);
enum tg_error sto_check_groups(struct sto_check *c);

/* --- what the pass of orders asks of the others --- */

/* The events before `sequence`. False, with c->error, when it cannot read. */
bool sto_check_events_until(struct sto_check *c, uint64_t sequence);
/* Holds a sequence, of an order or an event, against the one before it. */
void sto_check_sequence(struct sto_check *c, uint64_t sequence);
/* Behind the last event: what was not met. */
void sto_check_events_end(struct sto_check *c);
/* Holds an order in a team, in this state, against its team. */
void sto_check_member(struct sto_check *c, const struct tg_order_row *row, uint8_t state);
/* That an ingested order is known by its request id. */
void sto_check_is_ingested(struct sto_check *c, const struct tg_order_row *row);

#endif
