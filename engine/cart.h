/* Taking units of several items, all or nothing: carts, and payments that come late.
 *
 * When all items belong to one shard, taking is part of the decision. When they do not, the shard
 * of the first line asks each of the others to hold theirs, and decides when all have answered:
 *
 *   home                         other shards
 *   ENG_ACQUIRE  --- hold ------> eng_take_hold: all of its lines, or none
 *                <-- verdicts ---
 *   all held: decide, record     any failed: --- release ---> eng_take_release
 *   durable: eng_life_settle --- settle -----> eng_take_settle
 *
 * A hold moves units as the order will (to reserved, or sold) and counts them as `held_units`: an
 * order that fails for want of just these is BUSY, not SOLD_OUT, because they may come back
 * (promise 4). Holds live in memory only; a crash lets go of them.
 *
 * Owned by the shard's thread.
 */
#ifndef TG_ENGINE_CART_H
#define TG_ENGINE_CART_H

#include "engine/life.h"

/* A cart as it was asked for, its lines merged by item. */
struct eng_cart {
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t user_id;
    const uint8_t *external_id; /* borrowed */
    uint8_t external_bytes;
    uint16_t channel;
    uint8_t asked_count;                       /* lines of the request */
    uint8_t line_of[TG_ORDER_LINES_MAX];       /* merged line of each */
    enum tg_verdict wrong[TG_ORDER_LINES_MAX]; /* known before: UNKNOWN_ITEM; else ACCEPTED */
    uint8_t line_count;                        /* merged lines, at least 1 */
    struct tg_line lines[TG_ORDER_LINES_MAX];
};

/* Decides a cart at home (the shard of lines[0]). `refusals[i]` is the verdict of merged line i,
 * filled with ENG_FINAL and a refusal. ENG_ACQUIRE: `take` says what to hold, on this shard as
 * well; call again with what came of it. Not taken: when the id has become known meanwhile (a retry
 * can meet the hold of the first copy), `decision` is its answer; else it says BUSY, and the caller
 * answers from what the holds said. */
enum eng_step eng_cart_place(struct eng_shard *shard, const struct eng_cart *cart,
                             enum eng_acquired acquired, int64_t now_ms, struct eng_unit *unit,
                             struct eng_take *take, struct eng_decision *decision,
                             enum tg_verdict refusals[TG_ORDER_LINES_MAX]);

/* --- taking and settling ---
 *
 * What a change does to units and counts, and when. `units` are take->units_before to units_after,
 * counts are those of engine/count.h, for each line of the take in the shard of its item:
 *
 *                                          at the decision   durable      refused
 *   units taken: NONE to RESERVED or SOLD  moved             -            moved back
 *   units paid: RESERVED to SOLD           -                 moved        -
 *   units back: RESERVED or SOLD to NONE   -                 moved        -
 *   begins to stand                        counted           -            taken back
 *   stands no more                         -                 taken back   -
 *   held (eng_take_hold, units taken)      counted           let go       let go
 *
 * A change that takes nothing and does not begin to stand needs eng_take_settle alone. One that
 * does goes through eng_take_now, or eng_take_hold, at its decision. An order that begins to stand
 * and takes nothing (ON_PAYMENT) needs its units to be available all the same. */

/* Takes this shard's lines of `take` and returns true; or none, with the verdict of each of them
 * that failed in `refusals` (all others, of other shards too, ACCEPTED). With `gated` a line is
 * held against the sale's window and state, its price and the per-order maximum; then always
 * against stock, limit and share. BUSY: there would be enough if units that are held came back, or
 * a table is full. */
bool eng_take_now(struct eng_shard *shard, const struct eng_take *take, int64_t now_ms,
                  enum tg_verdict refusals[TG_ORDER_LINES_MAX]);

/* The same, and what it takes is held: it may be let go before anything is recorded. */
bool eng_take_hold(struct eng_shard *shard, const struct eng_take *take, int64_t now_ms,
                   enum tg_verdict refusals[TG_ORDER_LINES_MAX]);

/* Gives back what eng_take_hold took: the order was not recorded. */
void eng_take_release(struct eng_shard *shard, const struct eng_take *take);

/* The change that `take` belongs to is durable, or was refused: moves this shard's lines on. With
 * `held` they were taken by eng_take_hold, else what was to be taken was by eng_take_now. */
void eng_take_settle(struct eng_shard *shard, const struct eng_take *take);

/* The shards that own lines of `take`, a bit for each. */
uint64_t eng_take_shards(const struct eng_engine *engine, const struct eng_take *take);

#endif
