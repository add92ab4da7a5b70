/* A shard: the one place where the orders of its items are decided.
 *
 * (state, command, now) -> (verdict, record). A shard never reads a clock, opens a file, sends a
 * byte or waits; the same calls in the same order give the same answers, which is what the
 * simulator and a replicated log rely on. All its memory is taken in eng_engine_create.
 *
 * Threads: each shard belongs to one thread. It reads the catalogue and the request tables of the
 * other shards, which are published for that.
 *
 * The life of a decision:
 *
 *   eng_shard_place -- refused ----------------------------> answer now
 *        |
 *        +-- ACCEPTED: stock, limit and request id are taken, `record` is filled
 *                 |
 *                 +-- eng_shard_order_durable ------------> answer ACCEPTED with its id
 *                 +-- eng_shard_order_refused ------------> all is given back, STORAGE_FULL
 *
 * Always: whatever is refused has moved nothing (promise 4); an id is remembered from the moment
 * of its acceptance, so a retry finds it even while the first is in flight (promise 3).
 */
#ifndef TG_ENGINE_SHARD_H
#define TG_ENGINE_SHARD_H

#include "base/order.h"
#include "base/record.h"
#include "engine/catalog.h"
#include "engine/groups.h"
#include "engine/holdings.h"
#include "engine/locks.h"
#include "engine/requests.h"
#include "engine/wheel.h"

struct eng_config {
    uint32_t shards;        /* 1 .. TG_SHARDS_MAX */
    uint32_t sales_max;     /* sales, open and closed */
    uint32_t items_max;     /* items of all sales */
    uint32_t orders_max;    /* accepted orders remembered for retries, per shard */
    uint32_t holdings_max;  /* (user, item) pairs counted for limits, per shard */
    uint32_t timers_max;    /* payment deadlines and teams that wait, per shard */
    int64_t request_ttl_ms; /* how long an accepted request id is remembered */
    int64_t now_ms;         /* where the wheels of timers begin to turn */
    uint64_t hash_seed;     /* secret, so that strangers cannot choose colliding keys */
};

enum eng_load {
    ENG_LOADED,
    ENG_ABSENT,
    ENG_UNREADABLE,
};

/* Where a shard gets durable rows from: those that it changes, and those of orders that come again
 * (memory keeps little more than their ids). Of the shard's thread. What it gives is at least as
 * new as the last completion that the shard has settled. */
struct eng_loader {
    void *context;
    /* The order; `life` is as eng_life_initial makes it when none is stored. */
    enum eng_load (*order)(void *context, uint64_t order_id, struct tg_order_row *row,
                           struct tg_life *life, bool *has_life);
    enum eng_load (*team)(void *context, uint64_t team_id, struct tg_team *team);
    /* The order known by an eng_ingest_id. */
    enum eng_load (*ingested)(void *context, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                              uint64_t *order_id);
};

/* What is counted in eng_holdings under a number that is no item: the two upper bits say what. */
enum eng_held {
    ENG_HELD_UNITS = 0u << 30,   /* (user, item): units that stand, of items with a limit */
    ENG_HELD_CHANNEL = 1u << 30, /* (channel, item): units that stand, in sales with shares */
    ENG_HELD_TEAMS = 2u << 30,   /* (user, sale): open teams that the user opened */
    ENG_HELD_ORDERS = 3u << 30,  /* (user, sale): orders that stand, where only new may join */
};

/* The number of the item or of the sale in such a key. */
#define ENG_HELD_NUMBER ((1u << 30) - 1)

/* Units of several items that are taken together, or were: engine/cart.h. */
struct eng_take {
    uint64_t user_id;
    uint16_t channel;
    uint8_t line_count;
    uint8_t units_before; /* enum tg_units */
    uint8_t units_after;
    bool stands_before;
    bool stands_after;
    bool gated;   /* deciding: window, price and per-order maximum count as well */
    bool held;    /* settling: the lines were held by eng_take_hold */
    bool durable; /* settling: or refused */
    struct tg_line lines[TG_ORDER_LINES_MAX];
};

/* Tables of a shard that grow with its orders. */
#define ENG_EXTENTS 4

struct eng_engine;

struct eng_shard {
    struct eng_engine *engine;
    uint32_t shard; /* its own number */
    struct eng_requests requests;
    struct eng_holdings holdings;
    struct eng_locks locks; /* orders and teams with a change in flight */
    struct eng_wheel *wheel;
    uint32_t timers_promised;  /* room kept: by orders in flight, and on shard 0 by sales to come */
    struct eng_loader loader;  /* set by the owner before the first decision */
    struct tg_change *changes; /* TG_CHANGES_MAX of them */
    uint32_t change_free;      /* number + 1 of the first free one */
    uint32_t change_high_water;
    uint32_t changes_used;
    struct tg_team *teams; /* TG_CHANGES_MAX teams on their way, likewise */
    uint32_t team_free;
    uint32_t team_high_water;
    uint32_t teams_used;
};

/* What every shard shares. */
struct eng_engine {
    struct eng_config config;
    struct eng_catalog catalog;
    struct eng_groups *groups;
    struct eng_shard *shards; /* config.shards of them */
};

/* Takes all memory. TG_ERR_NOMEM or TG_ERR_INVALID. */
enum tg_error eng_engine_create(const struct eng_config *config, struct eng_engine *engine,
                                struct tg_fault *fault);
void eng_engine_destroy(struct eng_engine *engine);

/* eng_catalog_publish and eng_catalog_restore with the timers of the sale's start and end, but for
 * those that were announced. Of the catalogue shard, whose wheel has room for those of all sales.
 */
void eng_engine_publish_sale(struct eng_engine *engine, const struct tg_sale_def *def);
enum tg_error eng_engine_restore_sale(struct eng_engine *engine, const struct tg_sale_def *def,
                                      const struct tg_stock *stocks, struct tg_fault *fault);

/* Puts back a durable order at start-up, in the order of ids; its stock came with its sale. `life`
 * is NULL for an order that was not changed. Remembers its request id (unless it is older than the
 * time to live; of two orders with one id the younger counts: eng_requests_restore), counts it when
 * it stands and its counts are not gone, and sets its payment timer. Loads nothing. TG_ERR_FULL
 * names the limit to raise. */
enum tg_error eng_engine_restore_order(struct eng_engine *engine, const struct tg_order_row *row,
                                       const struct tg_life *life, int64_t now_ms,
                                       struct tg_fault *fault);

/* Its three parts, which write nothing in common: each may be called for all orders by a thread of
 * its own, in any order of the three. What is counted; when the order is due; how its request id is
 * known. */
enum tg_error eng_engine_restore_counts(struct eng_engine *engine, const struct tg_order_row *row,
                                        const struct tg_life *life, int64_t now_ms,
                                        struct tg_fault *fault);
enum tg_error eng_engine_restore_timer(struct eng_engine *engine, const struct tg_order_row *row,
                                       const struct tg_life *life, struct tg_fault *fault);
enum tg_error eng_engine_restore_request(struct eng_engine *engine, const struct tg_order_row *row,
                                         int64_t now_ms, struct tg_fault *fault);

/* Each starts to bring into the cache what its part will look at, some orders ahead of it, on the
 * thread that calls that part. The row's sale was restored. */
void eng_engine_restore_request_prefetch(const struct eng_engine *engine,
                                         const struct tg_order_row *row);
void eng_engine_restore_counts_prefetch(const struct eng_engine *engine,
                                        const struct tg_order_row *row);

/* What became of an order. */
struct eng_decision {
    enum tg_verdict verdict;
    enum tg_field field; /* with INVALID_ARGUMENT */
    bool replayed;       /* ACCEPTED before: nothing was decided, `record` is untouched */
    bool in_flight;      /* replayed, and the first is not durable yet: answer behind a fence */
    /* ACCEPTED, new or in flight: the order's slot, for whoever keeps it until it is durable. Else
     * `slot` may say anything. */
    uint32_t slot;
    uint32_t generation;
    struct tg_answer answer; /* replayed and not in flight: what it was answered; else anything */
};

/* Sets all but the fields that say nothing with such a verdict. */
static inline void eng_decide(struct eng_decision *decision, enum tg_verdict verdict,
                              enum tg_field field)
{
    decision->verdict = verdict;
    decision->field = field;
    decision->replayed = false;
    decision->in_flight = false;
}

/* --- any thread --- */

/* Refuses a PlaceOrder that can be refused from published words alone, without asking the owner.
 * Returns true with `decision` filled when the answer is final: refused, and no shard knows the
 * request id. False: the owner of the item must decide (or, for a retry, answer). */
bool eng_gate_refuses(const struct eng_engine *engine, const struct eng_item *item,
                      const struct tg_order *order, int64_t now_ms, struct eng_decision *decision);

/* --- shard thread --- */

/* How far the tables that grow with every order have grown, in always the same places. */
void eng_shard_extents(const struct eng_shard *shard, struct tg_extent extents[ENG_EXTENTS]);

/* Starts to bring what eng_shard_place will look at into the cache. A table of millions of orders
 * costs a miss or two for each; asked for ahead, the misses of several orders overlap. */
void eng_shard_prefetch(const struct eng_shard *shard, const struct eng_item *item,
                        const struct tg_order *order);

/* Decides one order for an item of this shard; TEAM_REQUIRED for items of a group-buy. `record` is
 * where an accepted order is written; NULL means that the journal is full, and what would be
 * accepted is BUSY. So it is without room for the order's timer, and so is a retry of a durable
 * order whose row cannot be loaded. */
void eng_shard_place(struct eng_shard *shard, struct eng_item *item, const struct tg_order *order,
                     int64_t now_ms, struct tg_record *record, struct eng_decision *decision);

/* The same for settling an order whose record has completed, some completions ahead. */
void eng_shard_settle_prefetch(const struct eng_shard *shard, const struct tg_record *record);

/* The order's record is durable: remembers its id, sets its payment timer. */
void eng_shard_order_durable(struct eng_shard *shard, const struct tg_record *record);

/* The order's record was refused by the storage: gives everything back. */
void eng_shard_order_refused(struct eng_shard *shard, const struct tg_record *record);

/* The answer to an accepted order of any kind, from a slot that was kept (eng_requests_keep) since
 * the order was in flight: ACCEPTED with the price as the order has it, or STORAGE_FULL when it has
 * been given back since (the generation is another). */
struct tg_answer eng_shard_answer(const struct eng_shard *shard, uint32_t slot,
                                  uint32_t generation);

/* Fills the record of a fence. With a `slot` a retry waits behind it for the outcome of the order
 * in that slot, which is remembered until eng_shard_fence_settle, however old it is by then;
 * ENG_SLOT_NONE: who waits is no retry. */
void eng_shard_fence(struct eng_shard *shard, uint32_t slot, uint32_t generation, int64_t now_ms,
                     struct tg_record *record);
/* The fence completed, and the retry has looked at the slot, or does so before anything else. */
void eng_shard_fence_settle(struct eng_shard *shard, const struct tg_record *record);

/* An operator's change of stock: by `delta_units`, or, with `compare`, from `expected_units` to
 * `new_units`. */
struct eng_adjust {
    bool compare;
    int64_t delta_units;
    uint64_t expected_units;
    uint64_t new_units;
    const char *reason; /* borrowed */
    uint8_t reason_bytes;
};

/* Decides an adjustment. OK with *changes true: `record` is filled; less stock is gone at once,
 * more comes when it is durable. OK without: it changes nothing. STOCK_CHANGED, INSUFFICIENT_STOCK,
 * INVALID_ARGUMENT (`*field`), BUSY while another adjustment of the item is in flight or `record`
 * is NULL. */
enum tg_verdict eng_shard_adjust(struct eng_shard *shard, struct eng_item *item,
                                 const struct eng_adjust *adjust, int64_t now_ms,
                                 struct tg_record *record, bool *changes, enum tg_field *field);
void eng_shard_adjust_settle(struct eng_shard *shard, const struct tg_record *record);

/* Forgets request ids past their time and limits of sales that are over, a little at each call.
 * Returns how many entries it dropped. */
uint32_t eng_shard_sweep(struct eng_shard *shard, int64_t now_ms);

#endif
