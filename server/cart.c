#include "server/cart.h"

#include "base/assert.h"
#include "base/log.h"
#include "server/life.h"
#include "server/server.h"

#include <stdlib.h>
#include <unistd.h>

/* Memory for what must not be lost. Without it the process stops, as in a crash: what is durable is
 * found at the next start, and units that were held are free. */
static void *must_alloc(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory) {
        tg_log_error("out of memory for a message between cores; stopping. Give the process more "
                     "memory and start again: recovery tells what is durable.");
        _exit(SRV_EXIT_MEMORY);
    }
    return memory;
}

/* --- sending --- */

static bool push(struct srv_core *core, struct srv_hold *hold)
{
    struct srv_request *request = srv_core_request_slot(core, hold->shard);
    if (!request)
        return false;
    request->control = NULL;
    request->hold = hold;
    srv_core_push_request(core, hold->shard);
    return true;
}

/* Sends what must arrive: at once, or behind what waits already. */
static void send(struct srv_core *core, struct srv_hold *hold)
{
    struct srv_hold_list *list = &core->unsent[hold->shard];
    if (!list->first && push(core, hold))
        return;
    hold->next = NULL;
    if (list->first)
        list->last->next = hold;
    else
        list->first = hold;
    list->last = hold;
}

static struct srv_hold *message(const struct srv_core *core, struct srv_control *control,
                                enum srv_hold_kind kind, uint32_t shard,
                                const struct eng_take *take)
{
    struct srv_hold *hold = must_alloc(sizeof(*hold));
    hold->control = control;
    hold->kind = kind;
    hold->home = core->core;
    hold->shard = shard;
    hold->take = *take;
    return hold;
}

static uint64_t other_shards(const struct srv_core *core, const struct eng_take *take)
{
    return eng_take_shards(core->shard->engine, take) & ~(1ull << core->core);
}

/* --- at home: holding --- */

/* The lines of a shard that could not be asked may be had a little later. */
static void refuse_lines(const struct srv_core *core, struct srv_holds *holds, uint32_t shard)
{
    const struct eng_item *items = core->shard->engine->catalog.items;
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (items[holds->take.lines[i].item].shard == shard)
            holds->refusals[i] = TG_BUSY;
}

/* Each shard answers for its own lines. */
static void merge_refusals(struct srv_holds *holds,
                           const enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (refusals[i] != TG_ACCEPTED)
            holds->refusals[i] = refusals[i];
}

static void hold_here(struct srv_core *core, struct srv_holds *holds)
{
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    if (eng_take_hold(core->shard, &holds->take, core->now_ms, refusals))
        holds->taken |= 1ull << core->core;
    else
        merge_refusals(holds, refusals);
}

/* Asks one other core; false when the ring has no room, or what comes before has not been sent. */
static bool ask(struct srv_core *core, struct srv_control *control, uint32_t shard)
{
    if (core->unsent[shard].first || !srv_core_request_slot(core, shard))
        return false;
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the slot that push wants has just been seen
    return push(core, message(core, control, SRV_HOLD_ASK, shard, &control->holds->take));
}

/* When nobody is waiting: all is held, or nothing is. */
static void conclude(struct srv_core *core, struct srv_control *control)
{
    struct srv_holds *holds = control->holds;
    if (holds->waiting != 0)
        return;
    core->holding--;
    holds->all_taken = true;
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        holds->all_taken = holds->all_taken && holds->refusals[i] == TG_ACCEPTED;
    if (!holds->all_taken)
        srv_cart_release(core, control);
}

/* Asks every shard, also when one has refused: the answer names each line that cannot be had. */
static void begin(struct srv_core *core, struct srv_control *control)
{
    struct srv_holds *holds = control->holds;
    core->holding++;
    for (uint32_t i = 0; i < TG_ORDER_LINES_MAX; i++)
        holds->refusals[i] = TG_ACCEPTED;
    if (eng_take_shards(core->shard->engine, &holds->take) & 1ull << core->core)
        hold_here(core, holds);
    for (uint64_t rest = other_shards(core, &holds->take); rest != 0; rest &= rest - 1) {
        uint32_t shard = (uint32_t)__builtin_ctzll(rest);
        if (ask(core, control, shard))
            holds->waiting |= 1ull << shard;
        else
            refuse_lines(core, holds, shard);
    }
    conclude(core, control);
}

void srv_cart_hold(struct srv_core *core, struct srv_control *control, const struct eng_take *take)
{
    tg_assert(!control->holds);
    control->holds = must_alloc(sizeof(*control->holds));
    control->holds->take = *take;
    begin(core, control);
}

static void take_hold_answer(struct srv_core *core, struct srv_control *control,
                             const struct srv_hold *hold)
{
    struct srv_holds *holds = control->holds;
    if (hold->taken)
        holds->taken |= 1ull << hold->shard;
    else
        merge_refusals(holds, hold->refusals);
    conclude(core, control);
    if (holds->waiting == 0)
        srv_life_held(core, control);
}

static void take_settle_answer(struct srv_core *core, struct srv_control *control)
{
    if (control->holds->waiting != 0)
        return;
    core->holding--;
    srv_cart_forget(control);
    srv_control_finish(core, control);
}

void srv_cart_answered(struct srv_core *core, struct srv_hold *hold)
{
    struct srv_control *control = hold->control;
    uint64_t bit = 1ull << hold->shard;
    tg_assert(control->holds->waiting & bit);
    control->holds->waiting &= ~bit;
    if (hold->kind == SRV_HOLD_ASK)
        take_hold_answer(core, control, hold);
    else
        take_settle_answer(core, control);
    free(hold);
}

/* --- at home: what became of it --- */

void srv_cart_release(struct srv_core *core, struct srv_control *control)
{
    struct srv_holds *holds = control->holds;
    uint64_t own = 1ull << core->core;
    if (holds->taken & own)
        eng_take_release(core->shard, &holds->take);
    for (uint64_t rest = holds->taken & ~own; rest != 0; rest &= rest - 1)
        send(core,
             message(core, NULL, SRV_HOLD_RELEASE, (uint32_t)__builtin_ctzll(rest), &holds->take));
    holds->taken = 0;
}

void srv_cart_forget(struct srv_control *control)
{
    free(control->holds);
    control->holds = NULL;
}

void srv_cart_settle(struct srv_core *core, const struct eng_take *take,
                     struct srv_control *control)
{
    uint64_t others = other_shards(core, take);
    if (control) {
        control->holds = must_alloc(sizeof(*control->holds));
        control->holds->waiting = others;
        core->holding++;
    }
    for (; others != 0; others &= others - 1)
        send(core,
             message(core, control, SRV_HOLD_SETTLE, (uint32_t)__builtin_ctzll(others), take));
}

/* --- at the other cores --- */

/* Does what the message says; true when home waits for it. */
static bool carry_out(struct srv_core *core, struct srv_hold *hold)
{
    switch (hold->kind) {
    case SRV_HOLD_ASK:
        hold->taken = eng_take_hold(core->shard, &hold->take, core->now_ms, hold->refusals);
        break;
    case SRV_HOLD_RELEASE:
        eng_take_release(core->shard, &hold->take);
        break;
    case SRV_HOLD_SETTLE:
        eng_take_settle(core->shard, &hold->take);
        break;
    }
    return hold->control != NULL;
}

bool srv_cart_take(struct srv_core *core, struct srv_hold *hold)
{
    struct srv_reply *reply = srv_core_reply_slot(core, hold->home);
    if (!reply)
        return false;
    if (!carry_out(core, hold)) {
        free(hold);
        return true;
    }
    *reply = (struct srv_reply){.hold = hold};
    srv_core_push_reply(core, hold->home);
    return true;
}

/* --- each turn --- */

void srv_cart_turn(struct srv_core *core)
{
    for (uint32_t to = 0; to < core->server->config.threads; to++) {
        struct srv_hold_list *list = &core->unsent[to];
        while (list->first) {
            struct srv_hold *next = list->first->next;
            if (!push(core, list->first))
                break;
            list->first = next;
        }
    }
}

bool srv_cart_is_busy(const struct srv_core *core)
{
    for (uint32_t to = 0; to < core->server->config.threads; to++)
        if (core->unsent[to].first)
            return true;
    return false;
}
