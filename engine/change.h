/* What the files of the engine share to record a change: its blocks, its request id, its journal
 * slots. Private to this room.
 *
 * A change, and a team on its way, lie in blocks of the shard's pools from the decision until the
 * record completes; a full pool is BUSY. Owned by the shard's thread.
 */
#ifndef TG_ENGINE_CHANGE_H
#define TG_ENGINE_CHANGE_H

#include "engine/cart.h"
#include "engine/life.h"

/* Room for one more unit of `records` records, `changes` changes and `teams` teams. */
bool eng_change_room(const struct eng_shard *shard, const struct eng_unit *unit, uint32_t records,
                     uint32_t changes, uint32_t teams);

/* A block with everything but row, life.commands, life.payments and life.refunds zeroed (their
 * counts are 0), and `slot` ENG_SLOT_NONE. Of a team, the seats are not zeroed. Never NULL after
 * eng_change_room said so. */
struct tg_change *eng_change_take(struct eng_shard *shard);
void eng_change_free(struct eng_shard *shard, struct tg_change *change);
struct tg_team *eng_change_team_take(struct eng_shard *shard);
void eng_change_team_free(struct eng_shard *shard, struct tg_team *team);

/* Copies what counts of a life or a row: never the unused ends of their arrays. */
void eng_life_copy(struct tg_life *to, const struct tg_life *from);
void eng_row_copy(struct tg_order_row *to, const struct tg_order_row *from);
void eng_team_copy(struct tg_team *to, const struct tg_team *from);

/* Puts the next record into the unit; sets `more` of the one before. */
void eng_unit_change(struct eng_unit *unit, struct tg_change *change, int64_t now_ms);
void eng_unit_team(struct eng_unit *unit, struct tg_team *team, enum tg_event_type event,
                   int64_t now_ms);

/* --- timers --- */

/* Keeps room for `count` timers until each is set or returned: at the decision of what will set
 * them when it is durable. False: the wheel is full, the answer is BUSY. */
bool eng_timers_promise(struct eng_shard *shard, uint32_t count);
void eng_timers_return(struct eng_shard *shard, uint32_t count);

/* Sets a timer for which room was promised. */
void eng_timer_set(struct eng_shard *shard, int64_t due_ms, uint64_t id);

/* --- request ids --- */

/* What a request id is bound to. */
struct eng_body {
    uint64_t fingerprint; /* of everything else, the user among it */
    int64_t unit_price_minor;
    uint32_t item;
    uint32_t quantity;
};

/* The body of an order that is placed plainly. */
struct eng_body eng_body_of(const struct eng_shard *shard, const struct eng_item *item,
                            const struct tg_order *order);

/* The body of any order, from the row that it is stored as: the same before it is durable and when
 * it is restored. So it says nothing that only the writer knows: what counts is user, item,
 * quantity, price, channel and external id, which flags are set, a joiner's team, a cart's lines.
 * For a plain order it is what eng_body_of says. */
struct eng_body eng_body_of_row(const struct eng_engine *engine, const struct tg_order_row *row);

/* Any thread: a shard other than this one knows the id, or a durable order of the same 64-bit keyed
 * hash, which never happens by chance in practice. One table look-up for each. */
bool eng_request_elsewhere(const struct eng_engine *engine, uint32_t shard,
                           const struct eng_request_key *key);

/* Whether this or another shard knows the id. ENG_LOADED: `decision` says replayed, or conflict.
 * ENG_ABSENT: it is new. ENG_UNREADABLE: it is known, or seems so, and the row that would tell
 * cannot be loaded: `decision` says BUSY. Whoever refuses an order asks this first: a retry gets
 * its first answer, whatever has become of the sale, and a conflict is told before any other
 * refusal. Loads the row of an order that is durable. */
enum eng_load eng_request_known(const struct eng_shard *shard, const struct eng_request_key *key,
                                const struct eng_body *body, struct eng_decision *decision);

/* What a retry with this body hears of the durable order of its id. Pure. */
void eng_decide_by_row(const struct eng_engine *engine, const struct tg_order_row *row,
                       const struct eng_body *body, struct eng_decision *decision);

/* Binds the id, which this shard does not know, and takes a slot, with Dekker's look at the other
 * shards. `decision` says ACCEPTED with the slot. ENG_SLOT_NONE: it says BUSY or
 * REQUEST_ID_CONFLICT, nothing is left behind. */
uint32_t eng_request_bind(struct eng_shard *shard, const struct eng_request_key *key,
                          const struct eng_body *body, int64_t now_ms,
                          struct eng_decision *decision);

/* The order is durable under `order_id`, and its slot is freed unless it is kept; or (0) it was
 * refused, and its slot is freed. */
void eng_request_settle(struct eng_shard *shard, uint32_t slot, uint64_t order_id);

/* --- taking --- */

/* The fields of a take for one order that moves as `change` says: what eng_take_settle needs, but
 * for `held` and `durable`. */
void eng_take_of_change(struct eng_take *take, const struct tg_change *change);

#endif
