/* A small database with something of everything in it, written row by row: what recovery and verify
 * are shown, sound or with one row damaged. One thread; the directory is gone after book_free.
 *
 * Two sales: 1 with items 1 (RESERVE), 2 (ON_PLACE), 3 (ON_PAYMENT) and 4 (RESERVE), 100 units
 * each, two units to a user; 2, a group-buy for teams of two, with items 1029 and 1030.
 */
#ifndef TG_TESTS_BOOK_H
#define TG_TESTS_BOOK_H

#include "storage/env.h"
#include "storage/storage.h"

/* Its orders. */
enum book_order {
    BOOK_PLAIN,    /* 2 of item 1 by user 1, as accepted: reserved */
    BOOK_ON_PLACE, /* 1 of item 2, as accepted: sold */
    BOOK_UNTAKEN,  /* 1 of item 3, as accepted: nothing taken */
    BOOK_CART,     /* 1 of item 1 and 2 of item 4, as accepted */
    BOOK_MONEY,    /* 1 of item 1, CONFIRMED; payments and refunds of every status */
    BOOK_EXPIRED,  /* 2 of item 1 by user 1, who has his two: it does not stand */
    BOOK_INGESTED, /* 1 of item 4, CONFIRMED */
    BOOK_OPENER,   /* captain of BOOK_TEAM_OPEN, AWAITING_TEAM */
    BOOK_JOINER,   /* a seat there, not paid */
    BOOK_FORMED,   /* captain of BOOK_TEAM_FORMED, CONFIRMED */
    BOOK_MEMBER,   /* the other, CONFIRMED */
    BOOK_FAILED,   /* captain of BOOK_TEAM_FAILED, REFUND_DUE */
    BOOK_PENDING,  /* captain of BOOK_TEAM_PENDING, as accepted */
    BOOK_GONE,     /* captain of BOOK_TEAM_DISSOLVED, EXPIRED */
    BOOK_ORDERS,
};

enum book_team {
    BOOK_TEAM_OPEN,
    BOOK_TEAM_FORMED,
    BOOK_TEAM_FAILED,
    BOOK_TEAM_PENDING,
    BOOK_TEAM_DISSOLVED,
    BOOK_TEAMS,
};

#define BOOK_PRICE    1000
#define BOOK_AT_MS    1763800000000
#define BOOK_ITEMS    6
#define BOOK_ITEM_MAX 1031

struct book {
    char dir[64];
    MDB_env *lmdb; /* open between book_make and book_close */
    MDB_txn *txn;
    struct sto_tables tables;
    uint64_t sequence; /* of the newest order or event */
    /* What was written, to change and write again. */
    struct tg_order_row orders[BOOK_ORDERS];
    struct tg_life lives[BOOK_ORDERS];
    struct tg_team teams[BOOK_TEAMS];
};

/* Writes the database; it is open to be changed. */
struct book *book_make(void);
/* Only a directory; the database is for the caller to fill, with book_env. */
struct book *book_make_empty(void);
/* Opens the database as a daemon would; it must not be open to be changed. */
struct sto_env *book_env(const struct book *book);
/* What was changed is in the file; once, before it is looked at. */
void book_close(struct book *book);
void book_free(struct book *book);

/* --- one row each, over what stands there --- */

void book_put(struct book *book, MDB_dbi table, const void *key, size_t key_bytes, const void *row,
              size_t row_bytes);
void book_delete(struct book *book, MDB_dbi table, const void *key, size_t key_bytes);
/* Inverts a byte of a row. */
void book_damage(struct book *book, MDB_dbi table, const void *key, size_t key_bytes, size_t at);

void book_stock(struct book *book, uint32_t item, struct tg_stock stock);
void book_order_put(struct book *book, const struct tg_order_row *row);
void book_life_put(struct book *book, uint64_t order_id, const struct tg_life *life);
void book_event_put(struct book *book, const struct tg_event *event);
void book_team_put(struct book *book, const struct tg_team *team);
void book_group_put(struct book *book, const char *name, uint64_t offset);
void book_ingested_put(struct book *book, const struct tg_order_row *row, uint64_t order_id);
void book_event_first_put(struct book *book, uint64_t first);

/* --- more of it --- */

/* A plain order of the next sequence; the caller sees to the stock. */
struct tg_order_row book_order_of(struct book *book, uint32_t item, uint64_t user_id,
                                  uint32_t quantity);
/* The next event, of this order. */
void book_event(struct book *book, uint64_t order_id, uint8_t type);
/* The item's stock with so many units taken, of 100. */
struct tg_stock book_taken(uint32_t reserved_units, uint32_t sold_units);

#endif
