/* A database in a directory of its own, committed to like the writer does, and recovered from.
 *
 * One thread. What fails ends the test with the fault's text; the directory is gone after
 * depot_free.
 */
#ifndef TG_TESTS_DEPOT_H
#define TG_TESTS_DEPOT_H

#include "storage/storage.h"

#define DEPOT_MIB       (1024ull * 1024)
#define DEPOT_ITEMS_MAX 4096
#define DEPOT_PRICE     1999
#define DEPOT_AT_MS     1763800000000

struct depot {
    char dir[64];
    struct sto_options options;
    struct sto_env *env; /* NULL while it is closed */
    struct tg_fault fault;
    uint64_t requests; /* request ids given out */
};

struct depot *depot_make(uint64_t map_bytes);
void depot_free(struct depot *depot);
void depot_open(struct depot *depot);
void depot_close(struct depot *depot);
void depot_reopen(struct depot *depot);
/* Also for tests that end in an abort: the open environment lives on without its names. */
void depot_unlink(const struct depot *depot);

/* --- records --- */

/* Channel 3, DEPOT_PRICE, DEPOT_AT_MS, the next request id, now and then an external id. */
struct tg_record depot_order(struct depot *depot, uint32_t item, uint64_t user, uint32_t quantity);
/* The same order, as a change that creates it would carry it. */
struct tg_order_row depot_order_row(struct depot *depot, uint32_t item, uint64_t user,
                                    uint32_t quantity);
struct tg_record depot_adjust(uint32_t item, int64_t delta_units);
/* A sale of `count` items from number `first` on, `stock_units` each, two units to a user; policy
 * RESERVE. Freed by the caller. */
struct tg_sale_def *depot_sale(uint32_t sale, uint32_t first, uint32_t count, uint32_t stock_units);
/* Makes it a group-buy for teams of `team_size`. */
void depot_sale_of_teams(struct tg_sale_def *def, uint8_t team_size);

/* A change that creates a RESERVED order of no flags, without a life of its own. Freed by the
 * caller, when its record has completed. */
struct tg_change *depot_change(struct depot *depot, uint32_t item, uint64_t user,
                               uint32_t quantity);
/* Pays what is due: CONFIRMED, units sold, events ORDER_PAID and ORDER_CONFIRMED. */
void depot_change_pay(struct tg_change *change);
/* Ends it unpaid: EXPIRED, units back, event ORDER_EXPIRED. */
void depot_change_expire(struct tg_change *change);
/* Makes the durable change the start of the next one of the same order. */
void depot_change_again(struct tg_change *change);
struct tg_record depot_change_record(struct tg_change *change);

/* --- commits --- */

enum sto_result depot_commit(struct depot *depot, struct tg_record *records, uint32_t count);
/* The same, which must become durable. */
void depot_commit_all(struct depot *depot, struct tg_record *records, uint32_t count);
void depot_commit_def(struct depot *depot, struct tg_sale_def *def);
void depot_commit_sale(struct depot *depot, uint32_t sale, uint32_t first, uint32_t count,
                       uint32_t stock_units);
/* `count` orders for `item`, one unit for each of as many users; returns the last id. */
uint64_t depot_commit_orders(struct depot *depot, uint32_t item, uint32_t count);

/* --- recovery into memory --- */

struct depot_found {
    struct tg_sale_def *sales[8];
    struct tg_stock stocks[DEPOT_ITEMS_MAX];
    struct tg_order_row *orders;
    uint32_t sale_count;
    uint32_t order_count;
    uint32_t orders_max; /* one more stops recovery with TG_ERR_FULL, "raise orders_max" */
    uint32_t life_count;
    uint32_t team_count;
    uint32_t group_count;
    struct sto_recovery_stats stats;
};

enum tg_error depot_recover(struct depot *depot, struct depot_found *found, uint32_t orders_max);
void depot_found_free(struct depot_found *found);
/* Closes, opens and recovers. */
void depot_restart(struct depot *depot);
/* The same, with a verify between: both must find nothing. */
void depot_expect_sound(struct depot *depot);

#endif
