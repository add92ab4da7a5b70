#include "server/lanes.h"

#include "base/assert.h"
#include "base/mem.h"
#include "server/life.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

/* Orders that one turn lets go on: refusals make no backlog, and would go on without end. */
#define ORDERS_A_TURN 4096

/* How far ahead of its decision an order's memory is asked for. */
#define PREFETCH_AHEAD 8

#define LANE_BYTES (SRV_LANE_ORDERS * sizeof(struct srv_lane_order))

/* A round goes from the highest lane to the lowest. */
static const enum tg_lane round_order[TG_LANES] = {TG_LANE_VIP, TG_LANE_PREPAID, TG_LANE_FLASH};

enum tg_error srv_lanes_create(struct srv_core *core, struct tg_fault *fault)
{
    const struct srv_config *config = &core->server->config;
    struct srv_lanes *lanes = calloc(1, sizeof(*lanes));
    if (!lanes)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the lanes of core %u", core->core);
    core->lanes = lanes;
    lanes->backlog = config->lane_backlog;
    lanes->open_below = lanes->backlog;
    lanes->lanes[TG_LANE_VIP].weight = (uint32_t)config->lane_vip_weight;
    lanes->lanes[TG_LANE_PREPAID].weight = (uint32_t)config->lane_prepaid_weight;
    lanes->lanes[TG_LANE_FLASH].weight = (uint32_t)config->lane_flash_weight;
    lanes->credit = lanes->lanes[round_order[0]].weight;
    for (int i = 0; i < TG_LANES; i++) {
        lanes->lanes[i].orders = tg_mem_map(LANE_BYTES);
        if (!lanes->lanes[i].orders) {
            srv_lanes_destroy(core);
            return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the lanes of core %u",
                                core->core);
        }
    }
    return TG_ERR_OK;
}

void srv_lanes_destroy(struct srv_core *core)
{
    if (!core->lanes)
        return;
    for (int i = 0; i < TG_LANES; i++)
        tg_mem_unmap(core->lanes->lanes[i].orders, LANE_BYTES);
    free(core->lanes);
    core->lanes = NULL;
}

static struct srv_lane_order *order_at(const struct srv_lane *lane, uint32_t place)
{
    return &lane->orders[(lane->head + place) & (SRV_LANE_ORDERS - 1)];
}

/* The next place of a lane, or NULL when it is full. */
static struct srv_lane_order *push(struct srv_lanes *lanes, uint32_t number)
{
    tg_assert(number < TG_LANES);
    struct srv_lane *lane = &lanes->lanes[number];
    if (lane->count == SRV_LANE_ORDERS)
        return NULL;
    lanes->waiting++;
    lanes->open_below = 0;
    return order_at(lane, lane->count++);
}

bool srv_lanes_put_control(struct srv_core *core, enum tg_lane number, struct srv_control *control)
{
    struct srv_lane_order *waiting = push(core->lanes, number);
    if (waiting)
        waiting->control = control;
    return waiting != NULL;
}

bool srv_lanes_put(struct srv_core *core, const struct eng_item *item, const struct tg_order *order,
                   const struct srv_address *address)
{
    struct srv_lane_order *waiting = push(core->lanes, order->lane);
    if (!waiting)
        return false;
    waiting->control = NULL;
    waiting->address = *address;
    waiting->item = item->item;
    waiting->order = *order;
    if (order->external_bytes)
        memcpy(waiting->external_id, order->external_id, order->external_bytes);
    return true;
}

/* --- who goes on --- */

/* The lane whose turn it is; somebody waits in it. With one order as the unit a lane's deficit is
 * what is left of its weight, and is lost when the lane runs empty. */
static struct srv_lane *next_lane(struct srv_lanes *lanes)
{
    tg_assert(lanes->waiting > 0);
    for (;;) {
        struct srv_lane *lane = &lanes->lanes[round_order[lanes->turn]];
        if (lane->count > 0 && lanes->credit > 0)
            return lane;
        lanes->turn = (lanes->turn + 1) % TG_LANES;
        lanes->credit = lanes->lanes[round_order[lanes->turn]].weight;
    }
}

static void pop(struct srv_lanes *lanes, struct srv_lane *lane)
{
    lane->head++;
    lane->count--;
    lanes->credit--;
    if (--lanes->waiting == 0)
        lanes->open_below = lanes->backlog;
}

static void prefetch(const struct srv_core *core, const struct srv_lane *lane)
{
    if (lane->count <= PREFETCH_AHEAD)
        return;
    const struct srv_lane_order *ahead = order_at(lane, PREFETCH_AHEAD);
    if (ahead->control)
        return;
    eng_shard_prefetch(core->shard, &core->shard->engine->catalog.items[ahead->item],
                       &ahead->order);
}

/* Decides the order at the head; false when its answer would have no way back now. */
static bool go_on(struct srv_core *core, struct srv_lane *lane)
{
    struct srv_lane_order *waiting = order_at(lane, 0);
    if (waiting->control) {
        srv_life_go_on(core, waiting->control);
        return true;
    }
    uint32_t to = waiting->address.core;
    struct srv_reply *reply = NULL;
    if (to != core->core && !(reply = srv_core_reply_slot(core, to)))
        return false;
    waiting->order.external_id = waiting->external_id;
    struct eng_item *item = &core->shard->engine->catalog.items[waiting->item];
    struct tg_answer answer = {.verdict = TG_UNSPECIFIED};
    if (!srv_core_is_late(core, waiting->address.deadline_ns) &&
        !srv_orders_decide(core, item, &waiting->order, &waiting->address, &answer))
        return true;
    if (reply) {
        *reply = (struct srv_reply){.address = waiting->address, .answer = answer};
        srv_core_push_reply(core, to);
    } else {
        srv_orders_deliver(core, &waiting->address, &answer);
    }
    return true;
}

void srv_lanes_turn(struct srv_core *core)
{
    struct srv_lanes *lanes = core->lanes;
    for (int i = 0; i < ORDERS_A_TURN && srv_lanes_ready(core); i++) {
        struct srv_lane *lane = next_lane(lanes);
        prefetch(core, lane);
        if (!go_on(core, lane))
            return;
        pop(lanes, lane);
    }
}
