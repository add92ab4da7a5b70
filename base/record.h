/* What the engine decides and storage makes durable: one record for each change.
 *
 * A record is written into its shard's journal (base/journal.h) by the shard's thread, read by the
 * writer thread, and completed in place. Stock moves as a difference, never as a value: a batch
 * that is refused can then be dropped without touching what was decided before or after it.
 *
 * Records that belong together (a team and its members) are a unit: all but the last have `more`,
 * they lie one behind the other, and one transaction takes them all.
 *
 *   shard thread writes            writer thread writes
 *   +--------------------------+   +----------------------------+
 *   | kind, item, the change   |   | outcome, order_id          |
 *   +--------------------------+   +----------------------------+
 */
#ifndef TG_BASE_RECORD_H
#define TG_BASE_RECORD_H

#include "base/life.h"
#include "base/limits.h"

#include <stdint.h>

enum tg_record_kind {
    TG_RECORD_ORDER = 1,  /* an accepted order: reserves `quantity` units of `item` */
    TG_RECORD_ADJUST,     /* an operator's stock adjustment */
    TG_RECORD_SALE,       /* a new sale with its items */
    TG_RECORD_SALE_STATE, /* pause, resume, close */
    TG_RECORD_FENCE,      /* changes nothing: completes when all before it is durable */
    TG_RECORD_CHANGE,     /* an order changes, or is created with more than an ORDER says */
    TG_RECORD_TEAM,       /* a team as it is now */
    TG_RECORD_SALE_EVENT, /* a sale's window began or ended */
    TG_RECORD_GROUP,      /* a consumer group as it is now, or gone */
};

enum tg_outcome {
    TG_OUTCOME_DURABLE = 1,
    TG_OUTCOME_REFUSED, /* the storage is full; the change did not happen */
};

struct tg_ladder_step {
    uint32_t size;
    int64_t unit_price_minor;
};

struct tg_channel_share {
    uint16_t channel;
    uint8_t percent; /* 1 .. 100 */
};

/* Rules of a group-buy sale; team_size 0: it is none. */
struct tg_team_rules {
    uint8_t team_size;
    uint8_t team_size_min; /* with AUTO_COMPLETE */
    uint8_t at_deadline;   /* enum tg_team_deadline */
    bool new_buyers_only;
    uint32_t team_lifetime_s;
    uint32_t teams_per_user_max; /* 0: no limit */
};

/* One item of a new sale. */
struct tg_item_def {
    uint32_t item; /* the engine's number of it, never reused; key of its rows */
    uint8_t sku_bytes;
    uint8_t sku[TG_SKU_BYTES_MAX];
    int64_t list_price_minor;
    int64_t sale_price_minor;
    uint32_t stock_units;    /* 0 .. TG_STOCK_UNITS_MAX */
    uint32_t per_user_limit; /* 0: none */
    uint32_t per_order_max;  /* 0: none */
    uint8_t stock_policy;    /* enum tg_stock_policy */
    uint8_t ladder_steps;
    int64_t captain_price_minor; /* 0: the sale price */
    uint32_t low_stock_units;    /* 0: as admin.low_stock_percent says */
    struct tg_ladder_step ladder[TG_LADDER_STEPS_MAX];
};

/* A new sale. One heap block with its items; see tg_sale_def_create in base/record.c. */
struct tg_sale_def {
    uint64_t sale_id;
    uint32_t sale; /* the engine's number of it, in the order of creation */
    uint8_t kind;  /* Tidegate__V1__SaleKind */
    uint8_t state; /* Tidegate__V1__SaleState */
    uint8_t name_bytes;
    char name[TG_SALE_NAME_BYTES_MAX];
    char currency[TG_CURRENCY_BYTES];
    int64_t starts_at_ms;
    int64_t ends_at_ms;
    uint32_t payment_window_s; /* 1 .. TG_PAYMENT_WINDOW_S_MAX */
    int64_t refund_auto_max_minor;
    struct tg_team_rules team;
    uint8_t share_count;
    struct tg_channel_share shares[TG_CHANNEL_SHARES_MAX];
    uint8_t announced; /* enum tg_sale_announced bits: events that were written */
    uint32_t item_count;
    struct tg_item_def items[];
};

enum tg_sale_announced {
    TG_ANNOUNCED_START = 1,
    TG_ANNOUNCED_END = 2
};

/* The number whose remainder names the shard of an item's orders: all items of a group-buy sale
 * share one, so that a team is decided in one place. */
static inline uint32_t tg_item_partition(uint32_t item, uint32_t first_item_of_sale,
                                         bool is_group_buy)
{
    return (is_group_buy ? first_item_of_sale : item) % TG_PARTITIONS;
}

/* A zeroed definition with room for `item_count` items, or NULL without memory. Free with free().
 * For control requests, never for orders. */
struct tg_sale_def *tg_sale_def_create(uint32_t item_count);

struct tg_record {
    uint8_t kind;    /* enum tg_record_kind */
    uint8_t outcome; /* writer: enum tg_outcome, 0 while in flight */
    uint8_t more;    /* 1: the next record belongs to the same unit */
    uint32_t item;
    uint64_t order_id; /* writer: id of a durable order, of ORDER and of a CHANGE that creates */
    int64_t at_ms;     /* when it was decided */
    union {
        struct {
            uint8_t request_id[TG_REQUEST_ID_BYTES];
            uint64_t user_id;
            int64_t unit_price_minor;
            uint32_t quantity;
            uint32_t slot; /* the shard's: its order slot. Not stored. */
            uint16_t channel;
            uint8_t external_bytes;
            uint8_t external_id[TG_EXTERNAL_BYTES_MAX];
        } order;
        struct {
            int64_t delta_units; /* never 0 */
            uint8_t reason_bytes;
            char reason[TG_REASON_BYTES_MAX];
        } adjust;
        struct {
            uint32_t slot; /* the shard's: the order that a retry waits for. Not stored. */
            uint32_t generation;
        } fence;
        struct tg_sale_def *sale; /* borrowed: the shard keeps it until the record completes */
        struct {
            uint32_t sale;
            uint8_t state;
        } sale_state;
        /* These are the shard's, of its pools, until the record completes; the writer fills in the
         * ids and sequences that it gives. */
        struct tg_change *change;
        struct {
            struct tg_team *team;
            uint8_t event; /* enum tg_event_type to write for it, or 0 */
        } team;
        struct {
            uint64_t sale_id;
            uint32_t sale;
            uint8_t announced; /* which of enum tg_sale_announced */
        } sale_event;
        struct {
            struct tg_group *group; /* borrowed likewise */
            bool removed;
        } group;
    };
};

_Static_assert(sizeof(struct tg_record) <= 128, "two cache lines");

/* The durable numbers of one item. Always:
 * initial + restocked == available + reserved + sold, and no term is negative but restocked. */
struct tg_stock {
    uint32_t initial_units;
    uint32_t available_units;
    uint32_t reserved_units;
    uint32_t sold_units;
    int64_t restocked_units;
};

/* Promise 1 for one item. Pure. */
static inline int tg_stock_holds(const struct tg_stock *stock)
{
    return (int64_t)stock->initial_units + stock->restocked_units ==
               (int64_t)stock->available_units + stock->reserved_units + stock->sold_units &&
           stock->available_units <= TG_STOCK_UNITS_MAX &&
           stock->reserved_units <= TG_STOCK_UNITS_MAX && stock->sold_units <= TG_STOCK_UNITS_MAX;
}

#endif
