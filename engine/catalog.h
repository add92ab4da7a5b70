/* The catalogue: every sale and item, found by any thread without a lock.
 *
 * Two tables that only grow (a sale is closed, never removed) and two hash indexes over them.
 * The catalogue shard (shard 0) is the one writer of the tables; each item's stock belongs to the
 * shard that owns the item. Everyone else reads what was published:
 *
 *   item
 *   +-- written once, before the item is published -----------------------------+
 *   | sku, prices, limits, window, sale, owning shard                           |
 *   +-- the published stock, a cache line of its own, written by the owner -----+
 *   | version | available | reserved | sold | restocked | initial | held        |
 *   +---------------------------------------------------------------------------+
 *
 * Always, at every version that is even: initial + restocked == available + reserved + sold.
 *
 * A sale becomes visible only once it is durable, so no order can name a sale that a crash undoes.
 * Item numbers of one sale follow each other; an item belongs to shard
 * partition % shards, where the partition is tg_item_partition: item % TG_PARTITIONS, or for every
 * item of a group-buy that of the sale's first.
 *
 * Safety of the indexes: a slot goes from 0 to number + 1 once, with release, after the row is
 * complete; readers load it with acquire. Nothing is ever removed or moved.
 */
#ifndef TG_ENGINE_CATALOG_H
#define TG_ENGINE_CATALOG_H

#include "base/error.h"
#include "base/record.h"
#include "proto/verdict.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An item's stock as published by its owner: a sequence lock over six numbers, of which
 * `available` alone is the gate word that any core may read by itself. */
struct eng_stock {
    _Atomic uint32_t version; /* odd while the owner is writing */
    _Atomic uint32_t available_units;
    _Atomic uint32_t reserved_units;
    _Atomic uint32_t sold_units;
    _Atomic int64_t restocked_units;
    uint32_t initial_units;      /* written once */
    _Atomic uint32_t held_units; /* held for carts that are not decided; engine/cart.h */
};

struct eng_sale {
    /* what every order of the sale looks at, on one cache line */
    alignas(64) uint64_t sale_id;
    int64_t payment_window_ms;
    int64_t starts_at_ms;
    int64_t ends_at_ms;
    uint32_t sale;       /* its own number */
    uint32_t first_item; /* its items are first_item .. first_item + item_count - 1 */
    uint32_t item_count;
    uint8_t kind;                /* enum tg_sale_kind */
    _Atomic uint8_t state;       /* enum tg_sale_state; written by the catalogue shard */
    bool state_change_in_flight; /* catalogue shard only */
    uint8_t announced;           /* catalogue shard only: start and end events that were written */
    struct tg_team_rules team;   /* team_size 0: no group-buy */
    uint8_t share_count;
    int64_t refund_auto_max_minor;
    struct tg_channel_share shares[TG_CHANNEL_SHARES_MAX];
    char currency[TG_CURRENCY_BYTES + 1];
    uint8_t name_bytes;
    char name[TG_SALE_NAME_BYTES_MAX];
};

struct eng_item {
    /* what every order of the item looks at, on one cache line */
    alignas(64) struct eng_sale *sale;
    int64_t sale_price_minor;
    int64_t starts_at_ms; /* the sale's, kept here so that the gate touches one line less */
    int64_t ends_at_ms;
    uint32_t per_user_limit; /* 0: none */
    uint32_t per_order_max;  /* 0: none */
    uint32_t item;           /* its own number */
    uint16_t shard;
    uint16_t partition;   /* low bits of its orders' ids; names the shard */
    uint8_t stock_policy; /* enum tg_stock_policy */
    bool is_team_only;    /* of a group-buy: PlaceOrder is refused */
    bool has_shares;      /* its sale gives channels shares */
    bool is_counted;      /* its orders count for something: engine/count.h */
    uint8_t sku_bytes;
    char sku[TG_SKU_BYTES_MAX + 1];
    int64_t list_price_minor;
    int64_t captain_price_minor; /* what a captain pays; never 0 but for free items */
    uint32_t low_stock_units;    /* 0: as admin.low_stock_percent says */
    uint8_t ladder_steps;
    struct tg_ladder_step ladder[TG_LADDER_STEPS_MAX];
    /* written by the owner: a decision writes these lines and no other of the item */
    alignas(64) struct eng_stock stock;
    uint32_t orders_in_flight; /* owner only: accepted or held, not yet durable or refused */
    bool adjust_in_flight;     /* owner only */
};

_Static_assert(offsetof(struct eng_item, sku_bytes) < 64, "the gate looks at one line");
_Static_assert(offsetof(struct eng_sale, share_count) < 64, "and at one of the sale");

struct eng_catalog {
    struct eng_sale *sales;
    struct eng_item *items;
    _Atomic uint32_t *sale_index; /* sale_index_mask + 1 slots of number + 1, 0: empty */
    _Atomic uint32_t *item_index;
    uint32_t sale_index_mask;
    uint32_t item_index_mask;
    uint32_t sales_max;
    uint32_t items_max;
    uint32_t shards;
    uint64_t hash_seed;
    _Atomic uint32_t sale_count; /* published sales; written by the catalogue shard */
    uint32_t item_count;         /* catalogue shard only */
    bool creation_in_flight;     /* catalogue shard only */
};

/* Takes memory for `sales_max` sales and `items_max` items from the kernel. TG_ERR_NOMEM. */
enum tg_error eng_catalog_create(struct eng_catalog *catalog, uint32_t sales_max,
                                 uint32_t items_max, uint32_t shards, uint64_t hash_seed,
                                 struct tg_fault *fault);
void eng_catalog_destroy(struct eng_catalog *catalog);

/* --- any thread --- */

/* The published sale or NULL. */
struct eng_sale *eng_catalog_sale(const struct eng_catalog *catalog, uint64_t sale_id);

/* The published item or NULL; one hash and, nearly always, one probe. */
struct eng_item *eng_catalog_item(const struct eng_catalog *catalog, uint64_t sale_id,
                                  const void *sku, size_t sku_bytes);

/* The same in three steps, for a group of orders at once, so that the cache misses of their
 * look-ups overlap. First, where the look-up begins; it is asked for. */
uint32_t eng_catalog_item_begin(const struct eng_catalog *catalog, uint64_t sale_id,
                                const void *sku, size_t sku_bytes);
/* Then the item that most likely it is: what an order looks at of it is asked for. */
void eng_catalog_item_prefetch(const struct eng_catalog *catalog, uint32_t begin);
/* The item or NULL. */
struct eng_item *eng_catalog_item_end(const struct eng_catalog *catalog, uint32_t begin,
                                      uint64_t sale_id, const void *sku, size_t sku_bytes);

static inline uint32_t eng_catalog_sale_count(const struct eng_catalog *catalog)
{
    return atomic_load_explicit(&catalog->sale_count, memory_order_acquire);
}

static inline enum tg_sale_state eng_sale_state(const struct eng_sale *sale)
{
    return (enum tg_sale_state)atomic_load_explicit(&sale->state, memory_order_acquire);
}

/* No order of the sale is accepted any more, and never will be. */
static inline bool eng_item_is_over(const struct eng_item *item, int64_t now_ms)
{
    return now_ms >= item->ends_at_ms || eng_sale_state(item->sale) == TG_SALE_CLOSED;
}

/* How long limits and shares still count after a sale's end: payments come late, and other channels
 * tell late of orders that they took in time. A day, so that a nightly import finds them. */
#define ENG_COUNTS_KEPT_MS (24ll * 3600 * 1000)

/* What the item's orders count for (engine/count.h) is dropped: who would have to be held against
 * it is refused. */
static inline bool eng_item_counts_are_gone(const struct eng_item *item, int64_t now_ms)
{
    return now_ms >= item->ends_at_ms + ENG_COUNTS_KEPT_MS ||
           eng_sale_state(item->sale) == TG_SALE_CLOSED;
}

/* When an order that was accepted at this time has to be paid, if nothing was changed since; 0 for
 * an item whose orders have no deadline. */
static inline int64_t eng_item_payment_deadline_ms(const struct eng_item *item,
                                                   int64_t accepted_at_ms)
{
    return item->stock_policy == TG_POLICY_ON_PLACE
               ? 0
               : accepted_at_ms + item->sale->payment_window_ms;
}

/* The gate: whether an order could be accepted, from published words alone. ACCEPTED and BUSY mean
 * "ask the owner". Checks, in this order: closed or over, not started, paused, price, per-order
 * maximum (INVALID_ARGUMENT), sold out, too few left. BUSY: too few are left, but units that are
 * held would make up for it; so says the owner as well. Never says no to what the owner would
 * accept at the same moment. Whether the item is for teams only is the caller's to ask. */
enum tg_verdict eng_item_gate(const struct eng_item *item, uint32_t quantity,
                              int64_t unit_price_minor, int64_t now_ms);

/* Parts of the gate, for orders with a price of their own (a captain's, another channel's). The
 * window: ENDED, NOT_STARTED, PAUSED or ACCEPTED. The stock: SOLD_OUT, INSUFFICIENT_STOCK, BUSY or
 * ACCEPTED. */
enum tg_verdict eng_item_gate_window(const struct eng_item *item, int64_t now_ms);
enum tg_verdict eng_item_gate_stock(const struct eng_item *item, uint32_t quantity);

/* A consistent copy of an item's stock. Retries while the owner writes, which takes it tens of
 * nanoseconds. */
struct tg_stock eng_item_stock(const struct eng_item *item);

/* --- the owner of the item --- */

/* Moves stock by differences and publishes it; the result must hold promise 1. */
void eng_item_move(struct eng_item *item, int64_t available, int64_t reserved, int64_t sold,
                   int64_t restocked);

/* Moves `quantity` units from where `before` to where `after` says (enum tg_units), and changes the
 * number of those that are held, as one. */
void eng_item_transfer(struct eng_item *item, uint8_t before, uint8_t after, uint32_t quantity,
                       int64_t held);

/* --- the catalogue shard --- */

/* Checks a sale definition by itself: ranges, text, SKUs that stand twice. TG_FIELD_NONE: fine. */
enum tg_field eng_sale_def_check(const struct tg_sale_def *def);

/* Assigns the numbers of a new sale and fills its rows, unseen. OK; SALE_EXISTS; BUSY when another
 * creation is in flight or a table is full (`*full` tells which). Follow with publish or abandon.
 */
enum tg_verdict eng_catalog_prepare(struct eng_catalog *catalog, struct tg_sale_def *def,
                                    bool *full);
void eng_catalog_publish(struct eng_catalog *catalog, const struct tg_sale_def *def);
void eng_catalog_abandon(struct eng_catalog *catalog, const struct tg_sale_def *def);

/* Puts back a durable sale at start-up, numbers as they were. TG_ERR_FULL names the limit. */
enum tg_error eng_catalog_restore(struct eng_catalog *catalog, const struct tg_sale_def *def,
                                  const struct tg_stock *stocks, struct tg_fault *fault);

/* Decides a change of state; `wanted` is the state to reach. OK with *changes false when it is
 * there already; ENDED for a closed sale; BUSY while another change is in flight. With *changes
 * true a TG_RECORD_SALE_STATE must follow, and then eng_sale_state_settle. */
enum tg_verdict eng_sale_state_decide(struct eng_sale *sale, enum tg_sale_state wanted,
                                      bool *changes);
void eng_sale_state_settle(struct eng_sale *sale, enum tg_sale_state wanted, bool durable);

#endif
