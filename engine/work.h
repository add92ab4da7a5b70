/* A decision about an order and its team, under way. Private to this room.
 *
 * Every decision goes the same way: open what it is about (blocks of the pools, loaded from the
 * durable rows, under the lock), change the blocks by moves that the table of engine/life.c allows,
 * and then either record them all as one unit or drop them all. What was taken on the way (units,
 * counts, a request id) is given back by the drop, so a refusal leaves nothing behind.
 *
 *   eng_work_begin --> open, load --> moves --> eng_work_record   (ENG_RECORDED)
 *                           |           |
 *                           +-----------+-----> eng_work_drop     (any other step)
 *
 * Owned by the shard's thread; lies on the stack of the call.
 */
#ifndef TG_ENGINE_WORK_H
#define TG_ENGINE_WORK_H

#include "engine/change.h"

struct eng_work {
    struct eng_shard *shard;
    struct eng_unit *unit;
    int64_t now_ms;
    struct tg_change *change; /* of the order that the decision is about, or NULL */
    struct tg_team *team;     /* of that order, when the decision changes it; else NULL */
    enum tg_event_type team_event;
    uint32_t member_count; /* other members of the team that change as well */
    struct tg_change *members[TG_TEAM_SIZE_MAX];
    uint64_t lock_id;        /* held by this decision; 0: none */
    bool took;               /* `take` was taken on this shard */
    bool counted_team;       /* in ENG_HELD_TEAMS */
    uint32_t timers;         /* promised */
    struct eng_take take;    /* what the order takes */
    enum tg_verdict verdict; /* why, when a helper says ENG_FINAL */
};

void eng_work_begin(struct eng_work *work, struct eng_shard *shard, struct eng_unit *unit,
                    int64_t now_ms);

/* Each returns ENG_RECORDED when the decision can go on, else the step to end with. */

/* Opens the order: locks it (or its team) and loads it into work->change. `resumed`: an earlier
 * call took the lock already. */
enum eng_step eng_work_open(struct eng_work *work, uint64_t order_id, bool resumed);
/* Takes the lock: ENG_WAIT when another change has it. */
enum eng_step eng_work_lock(struct eng_work *work, uint64_t lock_id);
/* Loads the team into work->team, with room for a change of each of its members. */
enum eng_step eng_work_load_team(struct eng_work *work, uint64_t team_id);
/* Loads another member into `*member`; it is recorded with the rest. */
enum eng_step eng_work_load_member(struct eng_work *work, uint64_t order_id,
                                   struct tg_change **member);
/* Keeps room for a timer that the change will set. */
enum eng_step eng_work_timers(struct eng_work *work, uint32_t timers);

/* The team was only looked at. */
void eng_work_forget_team(struct eng_work *work);

/* Fills work->take with what work->change takes when its units go to `units_after` and it stands;
 * of its row and its state as they are, so before any move. */
void eng_work_take_fill(struct eng_work *work, enum tg_units units_after);
/* Takes what work->take says on this shard; nothing else may have moved. ACCEPTED, or what the
 * first line that failed says. */
enum tg_verdict eng_work_take(struct eng_work *work, int64_t gate_ms,
                              enum tg_verdict refusals[TG_ORDER_LINES_MAX]);
/* Whether a line of work->take counts for something that is not kept any more: an order that would
 * begin to stand now cannot be held against it. */
bool eng_work_counts_are_gone(const struct eng_work *work);
/* The first that is not ACCEPTED. Pure. */
enum tg_verdict eng_refusal_of(const enum tg_verdict *refusals, uint32_t count);
/* All lines of work->take belong to this shard. */
bool eng_work_take_is_own(const struct eng_work *work);

/* A block for a new order, as it is before any change; needs room. */
void eng_work_create(struct eng_work *work, const struct eng_item *item,
                     const struct tg_order_row *row);
/* The last step of a new order: its request id and its timers. */
enum eng_step eng_work_bind(struct eng_work *work, struct eng_decision *decision);

/* Records everything and returns ENG_RECORDED. Cannot fail. */
enum eng_step eng_work_record(struct eng_work *work);
/* Gives everything back; `keep_lock` for a caller that comes again. */
void eng_work_drop(struct eng_work *work, bool keep_lock);

/* The item that names the shard and the rules of an order. */
struct eng_item *eng_row_item(const struct eng_shard *shard, const struct tg_order_row *row);
/* The row of an order for one item, not yet accepted by anybody. */
void eng_row_of_order(struct tg_order_row *row, const struct eng_item *item,
                      const struct tg_order *order, uint8_t flags, uint64_t team_id,
                      int64_t now_ms);
/* The order has a seat in a team. Pure. */
bool eng_row_in_team(const struct tg_order_row *row);

/* ENG_RECORDED: a new order's request id is new as well. ENG_FINAL: it is known, `decision` is the
 * answer. */
enum eng_step eng_row_known(const struct eng_shard *shard, const struct tg_order_row *row,
                            struct eng_decision *decision);
/* Ends a new order with a refusal. */
enum eng_step eng_refuse(struct eng_decision *decision, enum tg_verdict verdict);
/* The same with INVALID_ARGUMENT and its field. */
enum eng_step eng_refuse_field(struct eng_decision *decision, enum tg_field field);

/* The opener's teams that are PENDING or OPEN, in sales that bound them. */
bool eng_count_team(struct eng_shard *shard, const struct tg_team *team);
void eng_uncount_team(struct eng_shard *shard, const struct tg_team *team);

/* The change sets its payment timer when it is durable. Pure. */
bool eng_change_sets_timer(const struct tg_change *change);
/* It came from a timer, which is to be set again when the storage refuses (of a team:
 * `ended_by_timer`). Pure. */
bool eng_change_from_timer(const struct tg_change *change);

/* --- moves: engine/life.c --- */

enum eng_move {
    ENG_MOVE_PAY,
    ENG_MOVE_SEAT,
    ENG_MOVE_CONFIRM,
    ENG_MOVE_SHIP,
    ENG_MOVE_DELIVER,
    ENG_MOVE_COMPLETE,
    ENG_MOVE_EXPIRE,
    ENG_MOVE_CANCEL,
    ENG_MOVE_FAIL_TEAM,
    ENG_MOVE_OWE,   /* nothing that was paid is kept */
    ENG_MOVE_REPAY, /* all of it has gone back */
    ENG_MOVES,
};

/* Whether the diagram has this move from this state. Pure. */
bool eng_move_allowed(uint8_t state, enum eng_move move);

/* Makes the move, which must be allowed: the state, the time of the step, the event. */
void eng_move_make(struct tg_change *change, enum eng_move move, int64_t now_ms);

void eng_change_event(struct tg_change *change, enum tg_event_type type, int64_t amount_minor,
                      uint8_t refund_number);

/* Ends an order that waits for payment or its team: EXPIRE, CANCEL or FAIL_TEAM. Its units return;
 * what was paid is due for refund, whose number (or 0) is returned. */
uint8_t eng_order_end(struct tg_change *change, enum eng_move move, enum tg_refund_cause cause,
                      int64_t now_ms);

/* --- money: engine/money.c; no thread, nothing but the life --- */

/* What was paid and is not promised back: neither due, refunded nor asked for. */
int64_t eng_money_left(const struct tg_life *life);

/* The payment of this id, or NULL. */
const struct tg_payment *eng_payment_find(const struct tg_life *life,
                                          const struct tg_payment *payment);
bool eng_payment_same(const struct tg_payment *a, const struct tg_payment *b);
/* What the payment was answered with, and the refund that it led to (0: none). */
enum tg_verdict eng_payment_verdict(const struct tg_life *life, const struct tg_payment *payment,
                                    uint8_t *refund_number);
/* Adds a payment; counts it as received unless it is refused. */
void eng_payment_add(struct tg_life *life, const struct tg_payment *payment,
                     enum tg_payment_status status, int64_t now_ms);

/* Whether `more` refunds still fit. */
bool eng_refund_room(const struct tg_life *life, uint32_t more);
/* Adds a refund that is DUE at once, with its event. Returns its number. */
uint8_t eng_refund_owe(struct tg_change *change, int64_t amount_minor, enum tg_refund_cause cause,
                       int64_t now_ms);

/* RequestRefund, ApproveRefund, RejectRefund and RecordRefund: change the order or say why not. */
enum tg_verdict eng_refund_request(struct tg_change *change, const struct tg_refund *wanted,
                                   int64_t auto_max_minor, int64_t now_ms,
                                   struct eng_result *result);
enum tg_verdict eng_refund_approve(struct tg_change *change, uint32_t number, int64_t now_ms);
enum tg_verdict eng_refund_reject(struct tg_change *change, uint32_t number, int64_t now_ms);
enum tg_verdict eng_refund_record(struct tg_change *change, uint32_t number,
                                  const struct tg_refund *recorded, int64_t now_ms);

/* --- payments: engine/payment.c --- */

enum eng_step eng_payment_decide(struct eng_work *work, const struct tg_payment *payment,
                                 enum eng_acquired acquired, struct eng_take *take,
                                 struct eng_result *result);

/* --- teams: engine/team.c; each works on work->change and its team --- */

/* The order (ended, or to be ended by the caller) leaves its team. */
enum eng_step eng_team_leave(struct eng_work *work);
/* Whether an expired order could have a seat again; loads the team, and keeps it if so. */
enum eng_step eng_team_readmit(struct eng_work *work, bool *admitted);
/* The order, in state PAID, has paid its seat: AWAITING_TEAM, or all are CONFIRMED. */
enum eng_step eng_team_seat_paid(struct eng_work *work);
/* The team's deadline has come. */
enum eng_step eng_team_deadline(struct eng_work *work);

#endif
