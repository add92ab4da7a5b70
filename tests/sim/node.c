/* The server without its threads: what server/core.c, server/orders.c, server/life.c and
 * server/cart.c do, one piece at a time. */
#include "tests/sim/node.h"

#include <string.h>

/* --- tasks --- */

static int task_begin(struct world *world, int ask)
{
    int number = 0;
    while (number < world->task_high && world->tasks[number].used)
        number++;
    if (number == SIM_TASKS)
        return SIM_NOBODY;
    if (number == world->task_high)
        world->task_high++;
    struct task *task = &world->tasks[number];
    task->used = true;
    task->is_plain = false;
    task->ask = ask;
    task->settled = 0;
    task->waiting = task->taken = 0;
    return number;
}

void sim_node_finish(struct world *world, int number, const struct reply *reply)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    if (ask->kind == ASK_ORDER)
        world->figures->orders_verdicts[reply->verdict]++;
    else
        world->figures->commands_verdicts[reply->verdict]++;
    world->figures->replays += reply->replayed;
    task->used = false;
    sim_clients_answer(world, task->ask, reply);
}

void sim_node_finish_with(struct world *world, int number, int verdict)
{
    struct reply reply = {.verdict = verdict};
    sim_node_finish(world, number, &reply);
}

void sim_node_append(struct world *world, int core, uint32_t count, int task, int change)
{
    uint64_t sequence = tg_journal_append_unit(&world->journals[core], count);
    for (uint32_t i = 0; i < count; i++)
        world->pending[core][(sequence + i) % TG_JOURNAL_RECORDS] =
            i + 1 == count ? (struct pending){.task = task, .change = change}
                           : (struct pending){.task = SIM_NOBODY, .change = SIM_NOBODY};
}

void sim_node_wait_behind_fence(struct world *world, int core, int number, uint32_t slot)
{
    struct tg_record *record = tg_journal_reserve(&world->journals[core]);
    promise(record, "a journal is full");
    eng_shard_fence(&world->engine.shards[core], slot, world->tasks[number].generation,
                    world->now_ms, record);
    world->figures->waits++;
    sim_node_append(world, core, 1, number, SIM_NOBODY);
}

/* --- between cores --- */

static struct note *note_to(struct world *world, int from, int to, enum note_kind kind, int task)
{
    struct ring *ring = &world->rings[from][to];
    promise(ring->tail - ring->head < SIM_RING, "a ring of the simulation is full");
    struct note *note = &ring->notes[ring->tail++ % SIM_RING];
    note->kind = kind;
    note->task = task;
    note->from = from;
    note->change = SIM_NOBODY;
    return note;
}

static bool has_busy(const enum tg_verdict *verdicts, int count)
{
    for (int l = 0; l < count; l++)
        if (verdicts[l] == TG_BUSY)
            return true;
    return false;
}

/* Asks a shard for units: the engine and the model say the same, for each line. */
static bool hold(struct world *world, int core, const struct eng_take *take,
                 const struct m_take *m_take, enum tg_verdict refusals[M_LINES])
{
    enum tg_verdict theirs[TG_ORDER_LINES_MAX];
    int ours[M_LINES];
    bool is_full = sim_node_is_full(world, core);
    bool taken = eng_take_hold(&world->engine.shards[core], take, world->now_ms, theirs);
    world->figures->holds++;
    if (is_full && !taken && has_busy(theirs, m_take->line_count)) {
        memcpy(refusals, theirs, M_LINES * sizeof(*refusals));
        return false;
    }
    bool expected = m_hold(&world->model, m_take, core, world->now_ms, ours);
    for (int l = 0; l < m_take->line_count; l++) {
        promise((int)theirs[l] == ours[l], "line %d of a cart: the engine says %s, the model %s", l,
                tg_verdict_name((int)theirs[l]), tg_verdict_name(ours[l]));
        refusals[l] = theirs[l];
    }
    promise(taken == expected, "a hold is %staken, and the model says otherwise",
            taken ? "" : "not ");
    return taken;
}

static void merge_refusals(struct task *task, const enum tg_verdict refusals[M_LINES])
{
    for (uint32_t l = 0; l < task->take.line_count; l++)
        if (refusals[l] != TG_ACCEPTED)
            task->refusals[l] = refusals[l];
}

static void release_here(struct world *world, int core, const struct eng_take *take,
                         const struct m_take *m_take)
{
    m_release(&world->model, m_take, core);
    eng_take_release(&world->engine.shards[core], take);
}

void sim_node_release_holds(struct world *world, int core, struct task *task)
{
    for (int to = 0; to < world->shards; to++) {
        if (!(task->taken >> to & 1))
            continue;
        if (to == core) {
            release_here(world, core, &task->take, &task->m_take);
            continue;
        }
        struct note *note = note_to(world, core, to, NOTE_RELEASE, SIM_NOBODY);
        note->take = task->take;
        note->m_take = task->m_take;
    }
    task->taken = 0;
}

/* All shards have answered: the order is decided. */
static void held(struct world *world, int core, int number)
{
    struct task *task = &world->tasks[number];
    bool all_taken = true, all_busy = true;
    for (uint32_t l = 0; l < task->take.line_count; l++) {
        all_taken = all_taken && task->refusals[l] == TG_ACCEPTED;
        all_busy = all_busy && (task->refusals[l] == TG_ACCEPTED || task->refusals[l] == TG_BUSY);
    }
    if (!all_taken)
        sim_node_release_holds(world, core, task);
    bool is_change = world->asks[task->ask].kind == ASK_COMMAND;
    sim_node_decide(world, core, number,
                    all_taken               ? ENG_TAKEN
                    : is_change && all_busy ? ENG_TAKE_BUSY
                                            : ENG_NOT_TAKEN);
}

void sim_node_hold_units(struct world *world, int core, int number)
{
    struct task *task = &world->tasks[number];
    enum tg_verdict refusals[M_LINES];
    uint64_t shards = eng_take_shards(&world->engine, &task->take);
    task->taken = 0;
    task->waiting = shards & ~(1ull << core);
    for (int l = 0; l < TG_ORDER_LINES_MAX; l++)
        task->refusals[l] = TG_ACCEPTED;
    if (shards >> core & 1) {
        if (hold(world, core, &task->take, &task->m_take, refusals))
            task->taken |= 1ull << core;
        else
            merge_refusals(task, refusals);
    }
    for (int to = 0; to < world->shards; to++)
        if (task->waiting >> to & 1) {
            struct note *note = note_to(world, core, to, NOTE_HOLD, number);
            note->take = task->take;
            note->m_take = task->m_take;
        }
    if (task->waiting == 0)
        held(world, core, number);
}

static void take_held(struct world *world, int core, const struct note *note)
{
    struct task *task = &world->tasks[note->task];
    task->waiting &= ~(1ull << note->from);
    if (note->taken)
        task->taken |= 1ull << note->from;
    else
        merge_refusals(task, note->refusals);
    if (task->waiting == 0)
        held(world, core, note->task);
}

static void take_note(struct world *world, int core, const struct note *note)
{
    struct note *back;
    switch (note->kind) {
    case NOTE_TASK:
        sim_node_decide(world, core, note->task, ENG_NOT_ASKED);
        break;
    case NOTE_HOLD:
        back = note_to(world, core, note->from, NOTE_HELD, note->task);
        back->taken = hold(world, core, &note->take, &note->m_take, back->refusals);
        break;
    case NOTE_HELD:
        take_held(world, core, note);
        break;
    case NOTE_RELEASE:
        release_here(world, core, &note->take, &note->m_take);
        break;
    case NOTE_SETTLE:
        eng_take_settle(&world->engine.shards[core], &note->take);
        m_settle(&world->model, note->change, core);
        note_to(world, core, note->from, NOTE_SETTLED, note->task);
        break;
    case NOTE_SETTLED:
        if (note->task != SIM_NOBODY && --world->tasks[note->task].settled == 0)
            sim_node_finish(world, note->task, &world->tasks[note->task].reply);
        break;
    }
}

bool sim_node_notes(struct world *world)
{
    int pairs = world->shards * world->shards;
    int first = (int)sim_below(world, (uint32_t)pairs);
    for (int i = 0; i < pairs; i++) {
        int from = (first + i) % pairs / world->shards, to = (first + i) % pairs % world->shards;
        struct ring *ring = &world->rings[from][to];
        uint32_t left = 1 + sim_below(world, 4);
        if (ring->head == ring->tail)
            continue;
        for (; left > 0 && ring->head != ring->tail; left--) {
            struct note note = ring->notes[ring->head++ % SIM_RING];
            take_note(world, to, &note);
        }
        return true;
    }
    return false;
}

/* --- requests come in --- */

/* The gate of a core that does not own the item; true: it refused. */
static bool gate(struct world *world, int number)
{
    struct task *task = &world->tasks[number];
    const struct m_request *request = &world->asks[task->ask].request;
    struct eng_decision decision;
    struct tg_order order;
    sim_node_engine_order(world, request, &order, NULL);
    if (!eng_gate_refuses(&world->engine, sim_item(world, request->lines[0].item), &order,
                          world->now_ms, &decision))
        return false;
    task->answer = m_place(&world->model, request, world->now_ms);
    sim_node_agree(world, "PlaceOrder at the gate", M_FINAL, (int)decision.verdict, false,
                   &task->answer);
    sim_node_finish_with(world, number, (int)decision.verdict);
    return true;
}

static int owner_of(struct world *world, const struct ask *ask)
{
    switch (ask->kind) {
    case ASK_ORDER:
        return sim_item(world, ask->request.lines[0].item)->shard;
    case ASK_COMMAND:
        return (int)(ask->command.order_id % TG_PARTITIONS % (uint64_t)world->shards);
    case ASK_ADJUST:
        return sim_item(world, ask->item)->shard;
    case ASK_SALE_STATE:
    case ASK_SALE:
    case ASK_GROUP:
        return 0;
    }
    return 0;
}

void sim_node_receive(struct world *world, int number)
{
    const struct ask *ask = &world->asks[number];
    int core = (int)sim_below(world, (uint32_t)world->shards);
    int owner = owner_of(world, ask);
    if (!m_has_room(&world->model))
        return;
    int task = task_begin(world, number);
    if (task == SIM_NOBODY)
        return;
    bool is_plain = ask->kind == ASK_ORDER && ask->request.kind == M_PLAIN;
    if (core == owner)
        sim_node_decide(world, core, task, ENG_NOT_ASKED);
    else if (!is_plain || !gate(world, task))
        note_to(world, core, owner, NOTE_TASK, task);
}

/* --- completions --- */

/* A plain order is answered from its record, as by server/core.c; others keep their slots, as by
 * server/life.c. */
static struct reply reply_to_order(struct world *world, int number, const struct tg_record *record)
{
    const struct task *task = &world->tasks[number];
    struct eng_shard *shard = &world->engine.shards[task->home];
    struct tg_answer answer = {.verdict = TG_STORAGE_FULL};
    if (!task->is_plain) {
        answer = eng_shard_answer(shard, task->slot, task->generation);
        eng_requests_let_go(&shard->requests, task->slot, task->generation);
    } else if (record->outcome == TG_OUTCOME_DURABLE) {
        answer = (struct tg_answer){
            .verdict = TG_ACCEPTED, .order_id = record->order_id, .accepted_at_ms = record->at_ms};
    }
    return sim_node_order_reply(world, number, &answer);
}

/* The answer, as it is when the record completes; it may have to wait for other shards. */
static struct reply reply_to(struct world *world, int number, const struct tg_record *record)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    if (ask->kind == ASK_ORDER)
        return reply_to_order(world, number, record);
    struct reply reply = {.verdict = durable ? task->answer.verdict : TG_STORAGE_FULL};
    if (ask->kind == ASK_GROUP)
        reply.order_id = sim_outbox_offset(world, ask->group);
    if (durable && ask->kind == ASK_COMMAND) {
        reply.refund = task->answer.refund;
        reply.order_id = ask->command.order_id;
    }
    return reply;
}

/* What lies on other shards is settled there, and the answer waits for it. */
static int settle_elsewhere(struct world *world, int core, const struct eng_take *spread,
                            const struct pending *pending)
{
    uint64_t shards = eng_take_shards(&world->engine, spread) & ~(1ull << core);
    for (int to = 0; to < world->shards; to++)
        if (shards >> to & 1) {
            struct note *note = note_to(world, core, to, NOTE_SETTLE, pending->task);
            note->take = *spread;
            note->change = pending->change;
        }
    return __builtin_popcountll(shards);
}

static void settle_engine(struct world *world, int core, const struct tg_record *record,
                          struct eng_take *spread)
{
    struct eng_shard *shard = &world->engine.shards[core];
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        if (durable)
            eng_shard_order_durable(shard, record);
        else
            eng_shard_order_refused(shard, record);
        break;
    case TG_RECORD_CHANGE:
    case TG_RECORD_TEAM:
    case TG_RECORD_SALE_EVENT:
        eng_life_settle(shard, record, spread);
        break;
    case TG_RECORD_ADJUST:
        eng_shard_adjust_settle(shard, record);
        break;
    case TG_RECORD_SALE_STATE:
        eng_sale_state_settle(&world->engine.catalog.sales[record->sale_state.sale],
                              (enum tg_sale_state)record->sale_state.state, durable);
        break;
    case TG_RECORD_SALE:
        if (durable)
            eng_engine_publish_sale(&world->engine, record->sale);
        else
            eng_catalog_abandon(&world->engine.catalog, record->sale);
        sim_disk_drop_sale(world);
        break;
    case TG_RECORD_GROUP:
        sim_outbox_settle(world, record);
        break;
    case TG_RECORD_FENCE:
        break;
    }
}

static void complete(struct world *world, int core, const struct tg_record *record,
                     const struct pending *pending)
{
    struct eng_take spread;
    int elsewhere = 0;
    spread.line_count = 0;
    promise(record->outcome != 0, "a record is published without an outcome");
    settle_engine(world, core, record, &spread);
    if (spread.line_count > 0)
        elsewhere = settle_elsewhere(world, core, &spread, pending);
    if (pending->change != SIM_NOBODY)
        m_settle(&world->model, pending->change, core);
    if (pending->task == SIM_NOBODY)
        return;
    struct task *task = &world->tasks[pending->task];
    task->settled = elsewhere;
    task->reply = reply_to(world, pending->task, record);
    if (elsewhere == 0)
        sim_node_finish(world, pending->task, &task->reply);
}

bool sim_node_complete(struct world *world, int core, uint32_t most)
{
    struct tg_journal *journal = &world->journals[core];
    const struct tg_record *record;
    uint64_t sequence;
    bool any = false, in_unit = false;
    /* The model settles a unit at its last record, so none is left half done. */
    while ((most > 0 || in_unit) && (record = tg_journal_completion(journal, &sequence))) {
        struct pending pending = world->pending[core][sequence % TG_JOURNAL_RECORDS];
        bool is_fence = record->kind == TG_RECORD_FENCE;
        in_unit = record->more;
        most -= most > 0;
        if (!is_fence)
            complete(world, core, record, &pending);
        bool is_plain = is_fence && world->tasks[pending.task].is_plain;
        if (is_plain) {
            struct tg_answer answer = eng_shard_answer(
                &world->engine.shards[core], record->fence.slot, record->fence.generation);
            answer.replayed = 1;
            struct reply reply = sim_node_order_reply(world, pending.task, &answer);
            sim_node_finish(world, pending.task, &reply);
        }
        if (is_fence)
            eng_shard_fence_settle(&world->engine.shards[core], record);
        tg_journal_release(journal);
        if (is_fence && !is_plain)
            sim_node_decide(world, core, pending.task, ENG_NOT_ASKED);
        any = true;
    }
    return any;
}

/* --- timers --- */

static struct m_answer ask_model(struct world *world, const struct eng_timer *timer)
{
    uint64_t number = timer->id & ((1ull << 62) - 1);
    switch ((enum eng_timer_kind)(timer->id >> 62)) {
    case ENG_TIMER_ORDER:
        return m_expire(&world->model, number, world->now_ms);
    case ENG_TIMER_TEAM:
        return m_team_deadline(&world->model, number, world->now_ms);
    case ENG_TIMER_SALE_START:
        return m_sale_event(&world->model, (int)number, false, world->now_ms);
    case ENG_TIMER_SALE_END:
        return m_sale_event(&world->model, (int)number, true, world->now_ms);
    }
    return (struct m_answer){.step = M_FINAL};
}

static void fire(struct world *world, int core, const struct eng_timer *timer)
{
    struct eng_unit unit = {.journal = &world->journals[core]};
    promise(timer->due_ms <= world->now_ms, "a timer fires ahead of its time");
    enum m_step step =
        sim_node_step_of(eng_timer_fire(&world->engine.shards[core], timer, world->now_ms, &unit));
    struct m_answer expected = ask_model(world, timer);
    world->figures->timers++;
    sim_node_agree(world, "timer", step, TG_OK, false,
                   &(struct m_answer){.step = expected.step, .verdict = TG_OK});
    if (step == M_FINAL)
        return;
    sim_trace(world, "core %d: a timer of %#lx: %s", core, (unsigned long)timer->id,
              sim_node_step_names[step]);
    if (step != M_RECORDED)
        return;
    if (timer->id >> 62 <= ENG_TIMER_TEAM)
        sim_compare_unit(world, &unit, expected.change);
    sim_node_append(world, core, unit.count, SIM_NOBODY, expected.change);
}

void sim_node_timers(struct world *world, int core, bool all)
{
    struct eng_wheel *wheel = world->engine.shards[core].wheel;
    struct eng_timer timers[16];
    uint32_t due;
    do {
        due = eng_wheel_due(wheel, world->now_ms, timers, 16);
        for (uint32_t i = 0; i < due; i++)
            fire(world, core, &timers[i]);
    } while (all && (due > 0 || eng_wheel_next_ms(wheel) <= world->now_ms));
}

/* --- a crash, and rest --- */

void sim_node_forget(struct world *world)
{
    for (int i = 0; i < world->task_high; i++)
        world->tasks[i].used = false;
    world->task_high = 0;
    for (int from = 0; from < world->shards; from++)
        for (int to = 0; to < world->shards; to++)
            world->rings[from][to].head = world->rings[from][to].tail = 0;
}

bool sim_node_is_idle(const struct world *world)
{
    for (int i = 0; i < world->shards; i++)
        if (tg_journal_in_flight(&world->journals[i]) > 0)
            return false;
    for (int i = 0; i < world->task_high; i++)
        if (world->tasks[i].used)
            return false;
    return true;
}
