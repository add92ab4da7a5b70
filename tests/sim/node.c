/* The server without its threads: what server/core.c, server/orders.c, server/life.c and
 * server/cart.c do, one piece at a time. Every decision is asked of the model first. */
#include "tests/sim/sim.h"

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

static void finish(struct world *world, int number, const struct reply *reply)
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

static void finish_with(struct world *world, int number, int verdict)
{
    struct reply reply = {.verdict = verdict};
    finish(world, number, &reply);
}

static void append(struct world *world, int core, uint32_t count, int task, int change)
{
    uint64_t sequence = tg_journal_append_unit(&world->journals[core], count);
    for (uint32_t i = 0; i < count; i++)
        world->pending[core][(sequence + i) % TG_JOURNAL_RECORDS] =
            i + 1 == count ? (struct pending){.task = task, .change = change}
                           : (struct pending){.task = SIM_NOBODY, .change = SIM_NOBODY};
}

static void wait_behind_fence(struct world *world, int core, int number)
{
    struct tg_record *record = tg_journal_reserve(&world->journals[core]);
    promise(record, "a journal is full");
    record->kind = TG_RECORD_FENCE;
    record->outcome = 0;
    record->more = 0;
    world->figures->waits++;
    append(world, core, 1, number, SIM_NOBODY);
}

/* --- answers about orders --- */

/* What the slot says is what the model says of the order at `place`. */
static void answer_from_slot(struct world *world, int number, bool replayed)
{
    struct task *task = &world->tasks[number];
    const struct m_request *request = &world->asks[task->ask].request;
    const struct m_order *order = &world->model.orders[task->answer.order];
    struct tg_answer answer =
        eng_shard_answer(&world->engine.shards[task->home], task->slot, task->generation);
    bool is_there = order->used && order->durable && order->body.id[0] == request->id[0] &&
                    order->body.id[1] == request->id[1];
    struct reply reply = {.verdict = answer.verdict, .replayed = replayed};
    promise(is_there == (answer.verdict == TG_ACCEPTED),
            "an order is answered %s, and the model says that it is %s",
            tg_verdict_name(answer.verdict), is_there ? "durable" : "not durable");
    if (is_there) {
        reply.order_id = answer.order_id;
        promise(answer.order_id == order->id, "order %lu is answered as %lu",
                (unsigned long)order->id, (unsigned long)answer.order_id);
        promise(answer.accepted_at_ms == order->accepted_at_ms,
                "order %lu is answered with another time", (unsigned long)order->id);
    }
    finish(world, number, &reply);
}

/* --- the engine's words for what the model asks --- */

static void engine_order(struct world *world, const struct m_request *request,
                         struct tg_order *order, uint8_t external[4])
{
    const struct eng_item *item = sim_item(world, request->lines[0].item);
    *order = (struct tg_order){
        .sale_id = item->sale->sale_id,
        .user_id = (uint64_t)request->user,
        .unit_price_minor = request->lines[0].price,
        .quantity = (uint32_t)request->lines[0].quantity,
        .channel = (uint16_t)request->channel,
    };
    memcpy(order->request_id, request->id, TG_REQUEST_ID_BYTES);
    if (request->kind != M_INGEST)
        return;
    memcpy(external, &request->external, 4);
    order->external_id = external;
    order->external_bytes = 4;
    eng_ingest_id(order->channel, external, 4, order->request_id);
}

static struct tg_payment engine_payment(const struct m_payment *payment)
{
    struct tg_payment to = {.amount_minor = payment->amount,
                            .paid_at_ms = payment->paid_at_ms,
                            .channel = payment->channel,
                            .id_bytes = 2,
                            .id = {'p', payment->id}};
    memcpy(to.currency, payment->is_foreign ? "USD" : "EUR", TG_CURRENCY_BYTES);
    return to;
}

static struct eng_cart engine_cart(const struct m_request *request)
{
    struct eng_cart cart = {.user_id = (uint64_t)request->user,
                            .channel = (uint16_t)request->channel,
                            .asked_count = (uint8_t)request->line_count,
                            .line_count = (uint8_t)request->line_count};
    memcpy(cart.request_id, request->id, TG_REQUEST_ID_BYTES);
    for (uint8_t i = 0; i < cart.line_count; i++) {
        cart.line_of[i] = i;
        cart.wrong[i] = TG_ACCEPTED;
        cart.lines[i] = (struct tg_line){.item = (uint32_t)request->lines[i].item,
                                         .quantity = (uint32_t)request->lines[i].quantity,
                                         .unit_price_minor = request->lines[i].price};
    }
    return cart;
}

static struct eng_command engine_command(const struct m_command *command)
{
    struct eng_command to = {
        .order_id = command->order_id,
        .kind = (uint8_t)command->kind, /* both are in the order of docs/order-life.md */
        .cancelled_by = (uint8_t)command->by,
        .advance_to = (uint8_t)command->to,
        .refund_number = (uint32_t)command->number,
        .payment_deadline_ms = command->deadline_ms,
        .payment = engine_payment(&command->payment),
    };
    memcpy(to.request_id, command->id, TG_REQUEST_ID_BYTES);
    to.refund.amount_minor = command->amount;
    to.refund.restock = command->restock;
    return to;
}

_Static_assert((int)M_PAY == ENG_RECORD_PAYMENT && (int)M_CANCEL == ENG_CANCEL &&
                   (int)M_EXTEND == ENG_EXTEND_PAYMENT && (int)M_REFUND == ENG_REQUEST_REFUND &&
                   (int)M_APPROVE == ENG_APPROVE_REFUND && (int)M_REJECT == ENG_REJECT_REFUND &&
                   (int)M_REPAID == ENG_RECORD_REFUND && (int)M_ADVANCE == ENG_ADVANCE,
               "commands have one order");

/* --- deciding --- */

static const char *const step_names[] = {"final", "wait", "acquire", "recorded"};

/* The engine's step and verdict against the model's. */
static void agree(struct world *world, const char *what, enum m_step step, int verdict,
                  bool replayed, const struct m_answer *expected)
{
    world->figures->decisions++;
    sim_mix(world, (uint64_t)step << 32 | (uint32_t)verdict);
    promise(step == expected->step, "%s: the engine's step is %s (%s), the model's %s (%s)", what,
            step_names[step], tg_verdict_name(verdict), step_names[expected->step],
            tg_verdict_name(expected->verdict));
    if (step != M_FINAL && step != M_RECORDED)
        return;
    promise(verdict == expected->verdict, "%s: the engine says %s, the model %s", what,
            tg_verdict_name(verdict), tg_verdict_name(expected->verdict));
    promise(replayed == expected->replayed, "%s: %s is %sa replay, and the model says otherwise",
            what, tg_verdict_name(verdict), replayed ? "" : "not ");
}

static enum m_step step_of(enum eng_step step)
{
    promise(step != ENG_LOAD_FAILED, "a row that is there cannot be loaded");
    return step == ENG_FINAL     ? M_FINAL
           : step == ENG_WAIT    ? M_WAIT
           : step == ENG_ACQUIRE ? M_ACQUIRE
                                 : M_RECORDED;
}

static const char *request_name(const struct m_request *request)
{
    static const char *const names[] = {"", "PlaceOrder", "cart", "OpenTeam", "JoinTeam", "ingest"};
    return names[request->kind];
}

/* A plain order at the owner of its item. */
static void decide_plain(struct world *world, int core, int number)
{
    struct task *task = &world->tasks[number];
    const struct m_request *request = &world->asks[task->ask].request;
    struct tg_record *record = tg_journal_reserve(&world->journals[core]);
    struct eng_decision decision;
    struct tg_order order;
    promise(record, "a journal is full");
    task->answer = m_place(&world->model, request, world->now_ms);
    engine_order(world, request, &order, NULL);
    eng_shard_place(&world->engine.shards[core], sim_item(world, request->lines[0].item), &order,
                    world->now_ms, record, &decision);
    bool accepted = decision.verdict == TG_ACCEPTED;
    enum m_step step = !accepted            ? M_FINAL
                       : !decision.replayed ? M_RECORDED
                       : decision.in_flight ? M_WAIT
                                            : M_FINAL;
    agree(world, "PlaceOrder", step, (int)decision.verdict, decision.replayed, &task->answer);
    task->slot = decision.slot;
    task->generation = decision.generation;
    task->is_plain = true;
    if (step == M_WAIT)
        wait_behind_fence(world, core, number);
    else if (step == M_RECORDED)
        append(world, core, 1, number, task->answer.change);
    else if (accepted)
        answer_from_slot(world, number, true);
    else
        finish_with(world, number, (int)decision.verdict);
}

static enum eng_step ask_order(struct world *world, int core, struct task *task,
                               enum eng_acquired acquired, struct eng_unit *unit,
                               struct eng_take *take, struct eng_decision *decision,
                               uint64_t *known)
{
    const struct m_request *request = &world->asks[task->ask].request;
    struct eng_shard *shard = &world->engine.shards[core];
    struct eng_item *item = sim_item(world, request->lines[0].item);
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    struct tg_payment payment = engine_payment(&request->payment);
    struct eng_cart cart;
    struct tg_order order;
    uint8_t external[4];
    engine_order(world, request, &order, external);
    switch (request->kind) {
    case M_OPEN:
        return eng_team_open(shard, item, &order, world->now_ms, unit, decision);
    case M_JOIN:
        return eng_team_join(shard, item, request->team_id, request->new_buyer, &order,
                             world->now_ms, unit, decision);
    case M_INGEST:
        return eng_ingest(shard, item, &order, request->ordered_at_ms,
                          request->is_paid ? &payment : NULL, world->now_ms, unit, decision, known);
    case M_CART:
        cart = engine_cart(request);
        return eng_cart_place(shard, &cart, acquired, world->now_ms, unit, take, decision,
                              refusals);
    case M_PLAIN:
        break;
    }
    promise(false, "a plain order goes another way");
}

static void release_holds(struct world *world, int core, struct task *task);
static void hold_units(struct world *world, int core, int number);

/* Follows a decision; what is final is answered by the caller, who gets true. */
static bool follow(struct world *world, int core, int number, enum m_step step,
                   enum eng_acquired acquired, struct eng_unit *unit, const struct eng_take *take)
{
    struct task *task = &world->tasks[number];
    if (acquired == ENG_TAKEN && step != M_RECORDED)
        release_holds(world, core, task);
    switch (step) {
    case M_FINAL:
        return true;
    case M_WAIT:
        wait_behind_fence(world, core, number);
        return false;
    case M_ACQUIRE:
        task->take = *take;
        hold_units(world, core, number);
        return false;
    case M_RECORDED:
        sim_compare_unit(world, unit, task->answer.change);
        append(world, core, unit->count, number, task->answer.change);
        return false;
    }
    return false;
}

static enum tg_verdict first_refusal(const struct task *task)
{
    for (uint32_t i = 0; i < task->take.line_count; i++)
        if (task->refusals[i] != TG_ACCEPTED)
            return task->refusals[i];
    return TG_BUSY;
}

static void decide_order(struct world *world, int core, int number, enum eng_acquired acquired)
{
    struct task *task = &world->tasks[number];
    const struct m_request *request = &world->asks[task->ask].request;
    struct eng_unit unit = {.journal = &world->journals[core]};
    struct eng_decision decision = {.verdict = TG_UNSPECIFIED};
    struct eng_take take;
    uint64_t known = 0;
    task->answer = request->kind == M_CART
                       ? m_cart(&world->model, request, (enum m_acquired)acquired, world->now_ms,
                                &task->m_take)
                       : m_place(&world->model, request, world->now_ms);
    enum m_step step =
        step_of(ask_order(world, core, task, acquired, &unit, &take, &decision, &known));
    if (step == M_FINAL && decision.verdict == TG_ACCEPTED && decision.in_flight)
        step = M_WAIT;
    agree(world, request_name(request), step, (int)decision.verdict, decision.replayed,
          &task->answer);
    task->slot = decision.slot;
    task->generation = decision.generation;
    if (!follow(world, core, number, step, acquired, &unit, &take))
        return;
    if (decision.verdict == TG_ACCEPTED && decision.slot != ENG_SLOT_NONE)
        answer_from_slot(world, number, true);
    else if (decision.verdict == TG_ACCEPTED)
        finish(world, number,
               &(struct reply){.verdict = TG_ACCEPTED, .order_id = known, .replayed = true});
    else if (acquired == ENG_NOT_TAKEN && decision.verdict == TG_BUSY)
        finish_with(world, number, (int)first_refusal(task));
    else
        finish_with(world, number, (int)decision.verdict);
}

static const char *command_name(const struct m_command *command)
{
    static const char *const names[] = {"",        "pay",    "cancel", "extend", "refund",
                                        "approve", "reject", "repaid", "advance"};
    return names[command->kind];
}

static void decide_command(struct world *world, int core, int number, enum eng_acquired acquired)
{
    struct task *task = &world->tasks[number];
    const struct m_command *asked = &world->asks[task->ask].command;
    struct eng_command command = engine_command(asked);
    struct eng_unit unit = {.journal = &world->journals[core]};
    struct eng_take take;
    struct eng_result result;
    task->answer =
        m_change(&world->model, asked, (enum m_acquired)acquired, world->now_ms, &task->m_take);
    enum m_step step = step_of(eng_life_change(&world->engine.shards[core], &command, acquired,
                                               world->now_ms, &unit, &take, &result));
    agree(world, command_name(asked), step, (int)result.verdict, result.replayed, &task->answer);
    if (step == M_FINAL || step == M_RECORDED)
        promise(result.refund_number == task->answer.refund || result.verdict >= TG_VERDICT_COUNT,
                "%s: the engine names refund %u, the model %d", command_name(asked),
                result.refund_number, task->answer.refund);
    if (follow(world, core, number, step, acquired, &unit, &take))
        finish(world, number,
               &(struct reply){.verdict = (int)result.verdict,
                               .refund = result.refund_number,
                               .order_id = asked->order_id,
                               .replayed = result.replayed});
}

/* --- operators --- */

static void decide_adjust(struct world *world, int core, int number)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    struct eng_item *item = sim_item(world, ask->item);
    struct tg_stock stock = eng_item_stock(item);
    int64_t expected = ask->compare ? ask->expected : stock.available_units;
    struct eng_adjust adjust = {.compare = ask->compare,
                                .delta_units = ask->delta,
                                .expected_units = (uint64_t)expected,
                                .new_units = (uint64_t)(expected + ask->delta),
                                .reason = "sim",
                                .reason_bytes = 3};
    bool changes;
    enum tg_field field;
    task->answer = m_adjust(&world->model, ask->item, ask->compare, ask->expected, ask->delta);
    enum tg_verdict verdict =
        eng_shard_adjust(&world->engine.shards[core], item, &adjust, world->now_ms,
                         tg_journal_reserve(&world->journals[core]), &changes, &field);
    agree(world, "AdjustStock", changes ? M_RECORDED : M_FINAL, (int)verdict, false, &task->answer);
    if (changes)
        append(world, core, 1, number, task->answer.change);
    else
        finish_with(world, number, (int)verdict);
}

static void decide_pause(struct world *world, int number)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    struct eng_sale *sale = &world->engine.catalog.sales[ask->sale];
    enum tg_sale_state wanted = ask->pause ? TG_SALE_PAUSED : TG_SALE_ACTIVE;
    bool changes;
    task->answer = m_pause(&world->model, ask->sale, ask->pause);
    enum tg_verdict verdict = eng_sale_state_decide(sale, wanted, &changes);
    agree(world, ask->pause ? "PauseSale" : "ResumeSale", changes ? M_RECORDED : M_FINAL,
          (int)verdict, false, &task->answer);
    if (!changes) {
        finish_with(world, number, (int)verdict);
        return;
    }
    struct tg_record *record = tg_journal_reserve(&world->journals[0]);
    promise(record, "a journal is full");
    *record = (struct tg_record){.kind = TG_RECORD_SALE_STATE, .at_ms = world->now_ms};
    record->sale_state.sale = sale->sale;
    record->sale_state.state = (uint8_t)wanted;
    append(world, 0, 1, number, task->answer.change);
}

static void decide(struct world *world, int core, int number, enum eng_acquired acquired)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    task->home = core;
    switch (ask->kind) {
    case ASK_ORDER:
        if (ask->request.kind == M_PLAIN)
            decide_plain(world, core, number);
        else
            decide_order(world, core, number, acquired);
        break;
    case ASK_COMMAND:
        decide_command(world, core, number, acquired);
        break;
    case ASK_ADJUST:
        decide_adjust(world, core, number);
        break;
    case ASK_PAUSE:
        decide_pause(world, number);
        break;
    }
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

/* Asks a shard for units: the engine and the model say the same, for each line. */
static bool hold(struct world *world, int core, const struct eng_take *take,
                 const struct m_take *m_take, enum tg_verdict refusals[M_LINES])
{
    enum tg_verdict theirs[TG_ORDER_LINES_MAX];
    int ours[M_LINES];
    bool expected = m_hold(&world->model, m_take, core, world->now_ms, ours);
    bool taken = eng_take_hold(&world->engine.shards[core], take, world->now_ms, theirs);
    world->figures->holds++;
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

static void release_holds(struct world *world, int core, struct task *task)
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
        release_holds(world, core, task);
    bool is_change = world->asks[task->ask].kind == ASK_COMMAND;
    decide(world, core, number,
           all_taken               ? ENG_TAKEN
           : is_change && all_busy ? ENG_TAKE_BUSY
                                   : ENG_NOT_TAKEN);
}

static void hold_units(struct world *world, int core, int number)
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

static void complete_task(struct world *world, int number, bool durable);

static void take_note(struct world *world, int core, const struct note *note)
{
    struct note *back;
    switch (note->kind) {
    case NOTE_TASK:
        decide(world, core, note->task, ENG_NOT_ASKED);
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
        back = note_to(world, core, note->from, NOTE_SETTLED, note->task);
        back->taken = note->take.durable;
        break;
    case NOTE_SETTLED:
        if (note->task != SIM_NOBODY && --world->tasks[note->task].settled == 0)
            complete_task(world, note->task, note->taken);
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
    engine_order(world, request, &order, NULL);
    if (!eng_gate_refuses(&world->engine, sim_item(world, request->lines[0].item), &order,
                          world->now_ms, &decision))
        return false;
    task->answer = m_place(&world->model, request, world->now_ms);
    agree(world, "PlaceOrder at the gate", M_FINAL, (int)decision.verdict, false, &task->answer);
    finish_with(world, number, (int)decision.verdict);
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
    case ASK_PAUSE:
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
        decide(world, core, task, ENG_NOT_ASKED);
    else if (!is_plain || !gate(world, task))
        note_to(world, core, owner, NOTE_TASK, task);
}

/* --- completions --- */

static void complete_task(struct world *world, int number, bool durable)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    if (ask->kind == ASK_ORDER) {
        answer_from_slot(world, number, false);
        return;
    }
    struct reply reply = {.verdict = durable ? task->answer.verdict : TG_STORAGE_FULL};
    if (durable && ask->kind == ASK_COMMAND) {
        reply.refund = task->answer.refund;
        reply.order_id = ask->command.order_id;
    }
    finish(world, number, &reply);
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
    case TG_RECORD_GROUP:
    case TG_RECORD_FENCE:
        break;
    }
}

static void complete(struct world *world, int core, const struct tg_record *record,
                     const struct pending *pending)
{
    struct eng_take spread;
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
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
    world->tasks[pending->task].settled = elsewhere;
    if (elsewhere == 0)
        complete_task(world, pending->task, durable);
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
        tg_journal_release(journal);
        if (is_fence && world->tasks[pending.task].is_plain)
            answer_from_slot(world, pending.task, true);
        else if (is_fence)
            decide(world, core, pending.task, ENG_NOT_ASKED);
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
    struct m_answer expected = ask_model(world, timer);
    enum m_step step =
        step_of(eng_timer_fire(&world->engine.shards[core], timer, world->now_ms, &unit));
    world->figures->timers++;
    agree(world, "timer", step, TG_OK, false,
          &(struct m_answer){.step = expected.step, .verdict = TG_OK});
    if (step == M_FINAL)
        return;
    sim_trace(world, "core %d: a timer of %#lx: %s", core, (unsigned long)timer->id,
              step_names[step]);
    if (step != M_RECORDED)
        return;
    if (timer->id >> 62 <= ENG_TIMER_TEAM)
        sim_compare_unit(world, &unit, expected.change);
    append(world, core, unit.count, SIM_NOBODY, expected.change);
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
