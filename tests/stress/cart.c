/* Units of items of several cores, held together: the messages of server/cart.c. */
#include "tests/stress/stress.h"

#include <stdlib.h>
#include <string.h>

/* --- sending --- */

static bool push(struct core *core, struct hold *hold)
{
    struct request request = {.hold = hold};
    return stress_push(core, hold->shard, &request);
}

/* Sends what must arrive: at once, or behind what waits already. */
static void send(struct core *core, struct hold *hold)
{
    if (!core->unsent[hold->shard].first && push(core, hold))
        return;
    core->queued++;
    hold->next = NULL;
    if (core->unsent[hold->shard].first)
        core->unsent[hold->shard].last->next = hold;
    else
        core->unsent[hold->shard].first = hold;
    core->unsent[hold->shard].last = hold;
}

static struct hold *message(const struct core *core, struct task *task, enum hold_kind kind,
                            uint32_t shard, const struct eng_take *take)
{
    struct hold *hold = stress_alloc(1, sizeof(*hold));
    hold->task = task;
    hold->kind = kind;
    hold->home = core->number;
    hold->shard = shard;
    hold->take = *take;
    return hold;
}

static uint64_t other_shards(const struct core *core, const struct eng_take *take)
{
    return eng_take_shards(&world.engine, take) & ~(1ull << core->number);
}

/* --- at home --- */

static void merge_refusals(struct holds *holds, const enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (refusals[i] != TG_ACCEPTED)
            holds->refusals[i] = refusals[i];
}

static void hold_here(struct core *core, struct holds *holds)
{
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    if (eng_take_hold(core->shard, &holds->take, now_ms(core), refusals))
        holds->taken |= 1ull << core->number;
    else
        merge_refusals(holds, refusals);
}

/* Asks one other core, unless the ring is full or something must go before. */
static void ask(struct core *core, struct task *task, uint32_t shard)
{
    struct holds *holds = &task->holds;
    struct hold *hold = message(core, task, HOLD_ASK, shard, &holds->take);
    if (!core->unsent[shard].first && push(core, hold)) {
        holds->waiting |= 1ull << shard;
        return;
    }
    free(hold);
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (item_at(holds->take.lines[i].item)->shard == shard)
            holds->refusals[i] = TG_BUSY;
}

/* When nobody is waiting: all is held, or nothing is. */
static void conclude(struct core *core, struct task *task)
{
    struct holds *holds = &task->holds;
    if (holds->waiting != 0)
        return;
    holds->all_taken = true;
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        holds->all_taken = holds->all_taken && holds->refusals[i] == TG_ACCEPTED;
    core->denied += !holds->all_taken;
    if (!holds->all_taken)
        stress_cart_release(core, task);
}

void stress_cart_hold(struct core *core, struct task *task, const struct eng_take *take)
{
    struct holds *holds = &task->holds;
    *holds = (struct holds){.take = *take};
    for (uint32_t i = 0; i < TG_ORDER_LINES_MAX; i++)
        holds->refusals[i] = TG_ACCEPTED;
    if (eng_take_shards(&world.engine, take) & 1ull << core->number)
        hold_here(core, holds);
    for (uint64_t rest = other_shards(core, take); rest != 0; rest &= rest - 1)
        ask(core, task, (uint32_t)__builtin_ctzll(rest));
    conclude(core, task);
}

void stress_cart_answered(struct core *core, struct hold *hold)
{
    struct task *task = hold->task;
    uint64_t bit = 1ull << hold->shard;
    promise(task->holds.waiting & bit, "core %u answers twice", hold->shard);
    task->holds.waiting &= ~bit;
    if (hold->taken)
        task->holds.taken |= bit;
    else
        merge_refusals(&task->holds, hold->refusals);
    free(hold);
    conclude(core, task);
    if (task->holds.waiting == 0)
        stress_life_held(core, task);
}

void stress_cart_release(struct core *core, struct task *task)
{
    struct holds *holds = &task->holds;
    uint64_t own = 1ull << core->number;
    if (holds->taken & own)
        eng_take_release(core->shard, &holds->take);
    for (uint64_t rest = holds->taken & ~own; rest != 0; rest &= rest - 1)
        send(core,
             message(core, NULL, HOLD_RELEASE, (uint32_t)__builtin_ctzll(rest), &holds->take));
    holds->taken = 0;
}

void stress_cart_settle(struct core *core, const struct eng_take *take)
{
    for (uint64_t rest = other_shards(core, take); rest != 0; rest &= rest - 1)
        send(core, message(core, NULL, HOLD_SETTLE, (uint32_t)__builtin_ctzll(rest), take));
}

/* --- at the other cores --- */

void stress_cart_take(struct core *core, struct hold *hold)
{
    struct reply reply = {.hold = hold};
    switch (hold->kind) {
    case HOLD_ASK:
        hold->taken = eng_take_hold(core->shard, &hold->take, now_ms(core), hold->refusals);
        stress_push_reply(core, hold->home, &reply);
        return;
    case HOLD_RELEASE:
        eng_take_release(core->shard, &hold->take);
        break;
    case HOLD_SETTLE:
        eng_take_settle(core->shard, &hold->take);
        break;
    }
    free(hold);
}

/* --- each turn --- */

void stress_cart_turn(struct core *core)
{
    for (uint32_t to = 0; to < CORES; to++) {
        struct hold *hold;
        while ((hold = core->unsent[to].first)) {
            struct hold *next = hold->next; /* read before another core can free it */
            if (!push(core, hold))
                break;
            core->unsent[to].first = next;
        }
    }
}

bool stress_cart_is_busy(const struct core *core)
{
    for (uint32_t to = 0; to < CORES; to++)
        if (core->unsent[to].first)
            return true;
    return false;
}
