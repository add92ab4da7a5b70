/* The life of an order after its acceptance, and of its team: every transition, in one table.
 *
 *   (loaded order, team; command; now) -> (verdict, a unit of records)
 *
 * The states and rules are those of docs/order-life.md and docs/group-buy.md. What an order or a
 * team is comes from the loader: the durable rows, nothing kept in memory. A change in flight locks
 * its order, or the whole team of its order; whoever comes next is told to wait (ENG_WAIT: the
 * caller puts a fence behind the change and asks again), so that no decision builds on another that
 * is not durable yet.
 *
 *   eng_life_change, eng_team_open, eng_team_join, eng_ingest, eng_cart_place, eng_timer_fire
 *        |
 *        +-- ENG_FINAL ----------------------------------> answer now
 *        +-- ENG_WAIT -----------------------------------> fence, then the same call again
 *        +-- ENG_ACQUIRE (a cart's items on other shards) > hold them (engine/cart.h), again
 *        +-- ENG_RECORDED: `unit->count` journal slots are filled: append them as one unit
 *                 |
 *                 +-- eng_life_settle for each record, durable or refused
 *
 * Stock: units that are taken are taken at the decision and given back when the storage refuses;
 * units that return do so when the change is durable. So the sum over all shards is right at every
 * moment, in whatever order the journals reach the disk.
 *
 * Owned by the shard's thread.
 */
#ifndef TG_ENGINE_LIFE_H
#define TG_ENGINE_LIFE_H

#include "base/journal.h"
#include "base/life.h"
#include "base/order.h"
#include "engine/shard.h"

/* The records of one decision, in slots of the journal behind its tail. */
struct eng_unit {
    struct tg_journal *journal;
    uint32_t count; /* slots filled by this decision; 0 at the call */
};

enum eng_step {
    ENG_FINAL,
    ENG_WAIT,
    ENG_ACQUIRE,
    ENG_RECORDED,
    ENG_LOAD_FAILED, /* the loader could not read; nothing was decided */
};

/* What became of the units that an earlier ENG_ACQUIRE asked for. */
enum eng_acquired {
    ENG_NOT_ASKED,
    ENG_TAKEN,
    ENG_NOT_TAKEN,
    ENG_TAKE_BUSY, /* not taken, but what is missing is only held: BUSY */
};

enum eng_change_kind {
    ENG_RECORD_PAYMENT = 1,
    ENG_CANCEL,
    ENG_EXTEND_PAYMENT,
    ENG_REQUEST_REFUND,
    ENG_APPROVE_REFUND,
    ENG_REJECT_REFUND,
    ENG_RECORD_REFUND,
    ENG_ADVANCE,
};

/* A ChangeOrder. Ranges are checked by whoever reads it from the wire (eng_command_check). */
struct eng_command {
    uint64_t order_id;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint8_t kind;         /* enum eng_change_kind */
    uint8_t cancelled_by; /* ENG_CANCEL */
    uint8_t advance_to;   /* ENG_ADVANCE: enum tg_order_state */
    uint32_t refund_number;
    int64_t payment_deadline_ms;
    struct tg_payment payment; /* ENG_RECORD_PAYMENT: id, amount, currency, channel, paid_at */
    struct tg_refund refund;   /* ENG_REQUEST_REFUND: amount, reason, restock; RECORD: reference */
};

struct eng_result {
    enum tg_verdict verdict;
    enum tg_field field; /* with INVALID_ARGUMENT */
    bool replayed;
    uint8_t refund_number;
};

/* TG_FIELD_NONE, or the first field that is out of range. Pure. */
enum tg_field eng_command_check(const struct eng_command *command);

/* Decides a change. With ENG_ACQUIRE the order stays locked, and `take` says what to hold for it;
 * call again with what came of it; any step but ENG_RECORDED lets go of the lock, and leaves it to
 * the caller to let go of what was held. ENG_RECORDED: `result` is the answer once durable. */
enum eng_step eng_life_change(struct eng_shard *shard, const struct eng_command *command,
                              enum eng_acquired acquired, int64_t now_ms, struct eng_unit *unit,
                              struct eng_take *take, struct eng_result *result);

/* OpenTeam: places the captain's order. `decision` as from eng_shard_place (replayed, in flight,
 * the order's slot or its answer). Never ENG_WAIT. */
enum eng_step eng_team_open(struct eng_shard *shard, struct eng_item *item,
                            const struct tg_order *order, int64_t now_ms, struct eng_unit *unit,
                            struct eng_decision *decision);

enum eng_step eng_team_join(struct eng_shard *shard, struct eng_item *item, uint64_t team_id,
                            bool new_buyer, const struct tg_order *order, int64_t now_ms,
                            struct eng_unit *unit, struct eng_decision *decision);

/* One order of IngestOrders; `order->request_id` is eng_ingest_id of it, `payment` NULL when it is
 * not paid. ENG_WAIT: the same order is in flight, and whether it has the same payment is seen once
 * it is durable. */
enum eng_step eng_ingest(struct eng_shard *shard, struct eng_item *item,
                         const struct tg_order *order, int64_t ordered_at_ms,
                         const struct tg_payment *payment, int64_t now_ms, struct eng_unit *unit,
                         struct eng_decision *decision);

/* The request id of an order that is known by (channel, external id): the 128-bit XXH3 of both, the
 * same for ever. Pure. */
void eng_ingest_id(uint16_t channel, const uint8_t *external_id, size_t external_bytes,
                   uint8_t request_id[TG_REQUEST_ID_BYTES]);

/* --- timers --- */

/* What a timer's id names. */
enum eng_timer_kind {
    ENG_TIMER_ORDER, /* its payment deadline */
    ENG_TIMER_TEAM,
    ENG_TIMER_SALE_START, /* number of the sale; shard 0 */
    ENG_TIMER_SALE_END,
};

static inline uint64_t eng_timer_id(enum eng_timer_kind kind, uint64_t number)
{
    return (uint64_t)kind << 62 | number;
}

/* A timer is due. ENG_RECORDED: append the unit, nobody waits for an answer. ENG_FINAL: it meant
 * nothing any more, or it was set again for later; ENG_WAIT: its order is locked, there is no room:
 * it was set again for a moment later. */
enum eng_step eng_timer_fire(struct eng_shard *shard, const struct eng_timer *timer, int64_t now_ms,
                             struct eng_unit *unit);

/* --- completion --- */

/* Settles one record of a unit (CHANGE, TEAM or SALE_EVENT), durable or refused, in order: moves
 * units and limits of this shard's items, lets go of locks, sets timers, gives blocks back. With
 * `spread` filled (spread->line_count above 0) the same has to be told to the other shards that own
 * lines of the cart: eng_take_settle there. */
void eng_life_settle(struct eng_shard *shard, const struct tg_record *record,
                     struct eng_take *spread);

/* --- restoring and showing --- */

/* An order as it is before any change. Pure. */
void eng_life_initial(const struct eng_item *item, const struct tg_order_row *row,
                      struct tg_life *life);

/* Whether an order in this state counts for limits and shares. Pure. */
bool eng_state_stands(uint8_t state);

/* The verdict that names a state. Pure. */
enum tg_verdict eng_state_verdict(uint8_t state);

/* Puts back, at start, the timer of a PENDING or OPEN team and its opener's count. */
enum tg_error eng_engine_restore_team(struct eng_engine *engine, const struct tg_team *team,
                                      struct tg_fault *fault);

#endif
