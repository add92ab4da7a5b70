/* Lanes: which order goes first when a shard has a backlog (docs/order-life.md).
 *
 * While fewer than server.lane_backlog records of the shard are in flight, orders are decided as
 * they come. Beyond that they wait here, each lane first in, first out, and go on by weight as
 * completions make room: deficit round robin (Shreedhar and Varghese, SIGCOMM 1995) with one order
 * as the unit. A lane that is full answers BUSY. Owned by the core's thread.
 *
 * An order that waits counts as in flight on its connection, as one in the journal does; whoever
 * waits for it gets its answer the same way.
 *
 * Always: who waits in a lane goes on after at most as many orders of the other lanes as their
 * weights say, for each order of its own lane that goes on (no lane starves); within a lane nobody
 * overtakes.
 */
#ifndef TG_SERVER_LANES_H
#define TG_SERVER_LANES_H

#include "server/core.h"

#define SRV_LANE_ORDERS 16384 /* that may wait in one lane */

_Static_assert((SRV_LANE_ORDERS & (SRV_LANE_ORDERS - 1)) == 0, "masked, not divided");

/* An order that waits, or a request that would place one. */
struct srv_lane_order {
    struct srv_control *control; /* a cart, a seat, an ingested order; NULL: the rest holds */
    struct srv_address address;
    uint32_t item;
    struct tg_order order; /* `external_id` is set again when it goes on, `sku` is not needed */
    uint8_t external_id[TG_EXTERNAL_BYTES_MAX];
};

struct srv_lane {
    struct srv_lane_order *orders; /* a ring of SRV_LANE_ORDERS */
    uint32_t head;                 /* grows; the ring's index is its low bits */
    uint32_t count;
    uint32_t weight; /* orders that go on in one round */
};

/* Of one core. */
struct srv_lanes {
    uint64_t open_below; /* records in flight: `backlog`, or 0 while anybody waits */
    uint64_t backlog;
    uint32_t waiting; /* in all lanes */
    uint32_t turn;    /* whose turn it is */
    uint32_t credit;  /* what is left of its weight */
    struct srv_lane lanes[TG_LANES];
};

enum tg_error srv_lanes_create(struct srv_core *core, struct tg_fault *fault);
void srv_lanes_destroy(struct srv_core *core);

/* Records on their way to the disk: requests that wait behind fences make no backlog. */
static inline uint64_t srv_lanes_backlog(const struct srv_core *core)
{
    return tg_journal_in_flight(&core->journal) - core->fenced;
}

/* The order must wait: there is a backlog, or others of any lane wait already. */
static inline bool srv_lanes_needed(const struct srv_core *core)
{
    return srv_lanes_backlog(core) >= core->lanes->open_below;
}

/* Puts a copy of the order into its lane; false when the lane is full. */
bool srv_lanes_put(struct srv_core *core, const struct eng_item *item, const struct tg_order *order,
                   const struct srv_address *address);

/* The same for a request that places an order and is decided by srv_life_decide. */
bool srv_lanes_put_control(struct srv_core *core, enum tg_lane number, struct srv_control *control);

/* Decides what may go on now; once a turn, behind the completions. */
void srv_lanes_turn(struct srv_core *core);

/* Orders that wait. */
static inline uint32_t srv_lanes_waiting(const struct srv_core *core)
{
    return core->lanes->waiting;
}

/* Somebody waits who could go on: the last turn ended before its work. The core must not sleep. */
static inline bool srv_lanes_ready(const struct srv_core *core)
{
    return core->lanes->waiting > 0 && srv_lanes_backlog(core) < core->lanes->backlog;
}

#endif
