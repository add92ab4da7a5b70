/* Units of items of several cores, held together: the messages of engine/cart.h between cores.
 *
 *   home                                  another core
 *   srv_cart_hold: ask each other core -> srv_cart_take: eng_take_hold
 *        srv_cart_answered           <--- the same block, with its verdicts, on the reply ring
 *        | when all have answered: srv_life_held
 *        +-- not to be: release -------> srv_cart_take: eng_take_release
 *   durable or refused: settle --------> srv_cart_take: eng_take_settle
 *   answer to the request           <--- the same block
 *
 * The answer waits for the settlements, so that who has it finds the units where it says.
 *
 * A hold that cannot be sent because the ring is full is BUSY. A release or settlement is never
 * lost: it waits in a list of the core until the ring has room, and what the core sends to the same
 * place meanwhile stays behind it, so a settlement comes before the next hold of the same order.
 * All of this is in memory; a crash lets go of every hold, and recovery counts what is durable.
 */
#ifndef TG_SERVER_CART_H
#define TG_SERVER_CART_H

#include "server/control.h"

enum srv_hold_kind {
    SRV_HOLD_ASK,
    SRV_HOLD_RELEASE,
    SRV_HOLD_SETTLE,
};

/* core -> core. A heap block; whoever got it last frees it. */
struct srv_hold {
    struct srv_hold *next; /* in the list of those that wait for room in the ring */
    struct srv_control *control;
    enum srv_hold_kind kind;
    uint32_t home;  /* the core that asked */
    uint32_t shard; /* the core that was asked */
    bool taken;
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    struct eng_take take;
};

/* What is being held for a request, at home. */
struct srv_holds {
    struct eng_take take;                         /* as the engine asked for it */
    uint64_t waiting;                             /* a bit for each shard that has not answered */
    uint64_t taken;                               /* a bit for each shard that holds its lines */
    bool all_taken;                               /* when none is waiting */
    enum tg_verdict refusals[TG_ORDER_LINES_MAX]; /* ACCEPTED, or why not */
};

/* At home: asks for `take`. It is done, one way or the other, when control->holds says that nobody
 * is waiting; that can be at once, else srv_life_held is called. */
void srv_cart_hold(struct srv_core *core, struct srv_control *control, const struct eng_take *take);

/* At home: gives back what is held for it. */
void srv_cart_release(struct srv_core *core, struct srv_control *control);

/* At home: nothing is held for it any more, or the order's record has taken it over. */
void srv_cart_forget(struct srv_control *control);

/* At home: tells the other cores that own lines what became of them. The request that waits for it,
 * if any, has holds until they all have settled. */
void srv_cart_settle(struct srv_core *core, const struct eng_take *take,
                     struct srv_control *control);

/* A message arrived from another core; false when its answer has no way back now. */
bool srv_cart_take(struct srv_core *core, struct srv_hold *hold);

/* At home: an answer arrived. */
void srv_cart_answered(struct srv_core *core, struct srv_hold *hold);

/* Once a turn: sends what waited for room in a ring. */
void srv_cart_turn(struct srv_core *core);
/* Some still waits. */
bool srv_cart_is_busy(const struct srv_core *core);

#endif
