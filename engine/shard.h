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
#include "engine/holdings.h"
#include "engine/requests.h"

struct eng_config {
    uint32_t shards;        /* 1 .. TG_SHARDS_MAX */
    uint32_t sales_max;     /* sales, open and closed */
    uint32_t items_max;     /* items of all sales */
    uint32_t orders_max;    /* accepted orders remembered for retries, per shard */
    uint32_t holdings_max;  /* (user, item) pairs counted for limits, per shard */
    int64_t request_ttl_ms; /* how long an accepted request id is remembered */
    uint64_t hash_seed;     /* secret, so that strangers cannot choose colliding keys */
};

struct eng_engine;

struct eng_shard {
    struct eng_engine *engine;
    uint32_t shard; /* its own number */
    struct eng_requests requests;
    struct eng_holdings holdings;
};

/* What every shard shares. */
struct eng_engine {
    struct eng_config config;
    struct eng_catalog catalog;
    struct eng_shard *shards; /* config.shards of them */
};

/* Takes all memory. TG_ERR_NOMEM or TG_ERR_INVALID. */
enum tg_error eng_engine_create(const struct eng_config *config, struct eng_engine *engine,
                                struct tg_fault *fault);
void eng_engine_destroy(struct eng_engine *engine);

/* Puts back a durable order at start-up, in the order of ids; its stock came with its sale. Orders
 * older than the time to live are not remembered. TG_ERR_FULL names the limit to raise. */
enum tg_error eng_engine_restore_order(struct eng_engine *engine, const struct tg_order_row *row,
                                       int64_t now_ms, struct tg_fault *fault);

/* What became of an order. */
struct eng_decision {
    enum tg_verdict verdict;
    enum tg_field field; /* with INVALID_ARGUMENT */
    bool replayed;       /* ACCEPTED before: nothing was decided, `record` is untouched */
    bool in_flight;      /* replayed, and the first is not durable yet: answer behind a fence */
    uint32_t slot;       /* with ACCEPTED: the order's slot ... */
    uint32_t generation; /* ... and its generation */
};

/* --- any thread --- */

/* Refuses what can be refused from published words alone, without asking the owner. Returns true
 * with `decision` filled when the answer is final: refused, and no shard knows the request id.
 * False: the owner of the item must decide (or, for a retry, answer). */
bool eng_gate_refuses(const struct eng_engine *engine, const struct eng_item *item,
                      const struct tg_order *order, int64_t now_ms, struct eng_decision *decision);

/* --- shard thread --- */

/* Starts to bring what eng_shard_place will look at into the cache. A table of millions of orders
 * costs a miss or two for each; asked for ahead, the misses of several orders overlap. */
void eng_shard_prefetch(const struct eng_shard *shard, const struct eng_item *item,
                        const struct tg_order *order);

/* Decides one order for an item of this shard. `record` is where an accepted order is written;
 * NULL means that the journal is full, and what would be accepted is BUSY. */
void eng_shard_place(struct eng_shard *shard, struct eng_item *item, const struct tg_order *order,
                     int64_t now_ms, struct tg_record *record, struct eng_decision *decision);

/* The order's record is durable: remembers its id. */
void eng_shard_order_durable(struct eng_shard *shard, const struct tg_record *record);

/* The order's record was refused by the storage: gives everything back. */
void eng_shard_order_refused(struct eng_shard *shard, const struct tg_record *record);

/* The answer to an accepted order, from its slot: ACCEPTED, or STORAGE_FULL when it has been given
 * back since (the generation is another). */
struct tg_answer eng_shard_answer(const struct eng_shard *shard, uint32_t slot,
                                  uint32_t generation);

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
