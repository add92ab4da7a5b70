/* Decisions: the engine is asked, then the model, and the two must agree. What server/orders.c,
 * server/life.c, server/sales.c and server/groups.c ask, without their messages. */
#include "tests/sim/node.h"

#include <stdlib.h>
#include <string.h>

/* --- answers about orders --- */

/* What the engine answers is what the model says of the order at `place`. */
struct reply sim_node_order_reply(struct world *world, int number, const struct tg_answer *answer)
{
    struct task *task = &world->tasks[number];
    const struct m_order *order = &world->model.orders[task->answer.order];
    bool is_there = order->used && order->durable && order->made == task->answer.made;
    struct reply reply = {.verdict = answer->verdict, .replayed = answer->replayed};
    promise(is_there == (answer->verdict == TG_ACCEPTED),
            "an order is answered %s, and the model says that it is %s",
            tg_verdict_name(answer->verdict), is_there ? "durable" : "not durable");
    if (is_there) {
        reply.order_id = answer->order_id;
        promise(answer->order_id == order->id, "order %lu is answered as %lu",
                (unsigned long)order->id, (unsigned long)answer->order_id);
        promise(answer->accepted_at_ms == order->accepted_at_ms,
                "order %lu is answered with another time", (unsigned long)order->id);
    }
    return reply;
}

static void answer_replay(struct world *world, int number, const struct tg_answer *answer)
{
    struct reply reply = sim_node_order_reply(world, number, answer);
    sim_node_finish(world, number, &reply);
}

/* --- the engine's words for what the model asks --- */

void sim_node_engine_order(struct world *world, const struct m_request *request,
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
    promise(external, "an ingested order has no place for its external id");
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

const char *const sim_node_step_names[] = {"final", "wait", "acquire", "recorded"};

/* The engine's step and verdict against the model's. */
void sim_node_agree(struct world *world, const char *what, enum m_step step, int verdict,
                    bool replayed, const struct m_answer *expected)
{
    /* Who is told to come again may hear then what else stands against it. */
    bool is_refused = expected->step == M_FINAL && expected->verdict != TG_ACCEPTED;
    bool is_busy = world->model.is_full && step == M_FINAL && verdict == TG_BUSY && is_refused;
    world->model.is_full = false;
    world->figures->decisions++;
    sim_mix(world, (uint64_t)step << 32 | (uint32_t)verdict);
    if (is_busy)
        return;
    promise(step == expected->step, "%s: the engine's step is %s (%s), the model's %s (%s)", what,
            sim_node_step_names[step], tg_verdict_name(verdict),
            sim_node_step_names[expected->step], tg_verdict_name(expected->verdict));
    if (step != M_FINAL && step != M_RECORDED)
        return;
    promise(verdict == expected->verdict, "%s: the engine says %s, the model %s", what,
            tg_verdict_name(verdict), tg_verdict_name(expected->verdict));
    promise(replayed == expected->replayed, "%s: %s is %sa replay, and the model says otherwise",
            what, tg_verdict_name(verdict), replayed ? "" : "not ");
}

enum m_step sim_node_step_of(enum eng_step step)
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
    sim_node_engine_order(world, request, &order, NULL);
    world->model.is_full = sim_node_is_full(world, core);
    eng_shard_place(&world->engine.shards[core], sim_item(world, request->lines[0].item), &order,
                    world->now_ms, record, &decision);
    world->model.is_full = world->model.is_full && decision.verdict == TG_BUSY;
    task->answer = m_place(&world->model, request, world->now_ms);
    bool accepted = decision.verdict == TG_ACCEPTED;
    enum m_step step = !accepted            ? M_FINAL
                       : !decision.replayed ? M_RECORDED
                       : decision.in_flight ? M_WAIT
                                            : M_FINAL;
    sim_node_agree(world, "PlaceOrder", step, (int)decision.verdict, decision.replayed,
                   &task->answer);
    task->slot = decision.slot;
    task->generation = decision.generation;
    task->is_plain = true;
    if (step == M_WAIT)
        sim_node_wait_behind_fence(world, core, number, decision.slot);
    else if (step == M_RECORDED)
        sim_node_append(world, core, 1, number, task->answer.change);
    else if (accepted)
        answer_replay(world, number, &decision.answer);
    else
        sim_node_finish_with(world, number, (int)decision.verdict);
}

static enum eng_step ask_order(struct world *world, int core, struct task *task,
                               enum eng_acquired acquired, struct eng_unit *unit,
                               struct eng_take *take, struct eng_decision *decision)
{
    const struct m_request *request = &world->asks[task->ask].request;
    struct eng_shard *shard = &world->engine.shards[core];
    struct eng_item *item = sim_item(world, request->lines[0].item);
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    struct tg_payment payment = engine_payment(&request->payment);
    struct eng_cart cart;
    struct tg_order order;
    uint8_t external[4];
    sim_node_engine_order(world, request, &order, external);
    switch (request->kind) {
    case M_OPEN:
        return eng_team_open(shard, item, &order, world->now_ms, unit, decision);
    case M_JOIN:
        return eng_team_join(shard, item, request->team_id, request->new_buyer, &order,
                             world->now_ms, unit, decision);
    case M_INGEST:
        return eng_ingest(shard, item, &order, request->ordered_at_ms,
                          request->is_paid ? &payment : NULL, world->now_ms, unit, decision);
    case M_CART:
        cart = engine_cart(request);
        return eng_cart_place(shard, &cart, acquired, world->now_ms, unit, take, decision,
                              refusals);
    case M_PLAIN:
        break;
    }
    promise(false, "a plain order goes another way");
}

/* Follows a decision; what is final is answered by the caller, who gets true. */
static bool follow(struct world *world, int core, int number, enum m_step step,
                   enum eng_acquired acquired, struct eng_unit *unit, const struct eng_take *take,
                   uint32_t awaited)
{
    struct task *task = &world->tasks[number];
    if (acquired == ENG_TAKEN && step != M_RECORDED)
        sim_node_release_holds(world, core, task);
    switch (step) {
    case M_FINAL:
        return true;
    case M_WAIT:
        sim_node_wait_behind_fence(world, core, number, awaited);
        return false;
    case M_ACQUIRE:
        task->take = *take;
        sim_node_hold_units(world, core, number);
        return false;
    case M_RECORDED:
        sim_compare_unit(world, unit, task->answer.change);
        sim_node_append(world, core, unit->count, number, task->answer.change);
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
    world->model.is_full = sim_node_is_full(world, core);
    enum m_step step =
        sim_node_step_of(ask_order(world, core, task, acquired, &unit, &take, &decision));
    uint32_t awaited = ENG_SLOT_NONE;
    if (decision.replayed && decision.in_flight) {
        step = M_WAIT;
        awaited = decision.slot;
    }
    world->model.is_full = world->model.is_full && step == M_FINAL && decision.verdict == TG_BUSY;
    task->answer = request->kind == M_CART
                       ? m_cart(&world->model, request, (enum m_acquired)acquired, world->now_ms,
                                &task->m_take)
                       : m_place(&world->model, request, world->now_ms);
    sim_node_agree(world, request_name(request), step, (int)decision.verdict, decision.replayed,
                   &task->answer);
    task->slot = decision.slot;
    task->generation = decision.generation;
    if (step == M_RECORDED)
        eng_requests_keep(&world->engine.shards[core].requests, decision.slot);
    if (!follow(world, core, number, step, acquired, &unit, &take, awaited))
        return;
    if (decision.verdict == TG_ACCEPTED)
        answer_replay(world, number, &decision.answer);
    else if (acquired == ENG_NOT_TAKEN && decision.verdict == TG_BUSY)
        sim_node_finish_with(world, number, (int)first_refusal(task));
    else
        sim_node_finish_with(world, number, (int)decision.verdict);
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
    world->model.is_full = sim_node_is_full(world, core);
    enum m_step step = sim_node_step_of(eng_life_change(
        &world->engine.shards[core], &command, acquired, world->now_ms, &unit, &take, &result));
    world->model.is_full = world->model.is_full && step == M_FINAL && result.verdict == TG_BUSY;
    task->answer =
        m_change(&world->model, asked, (enum m_acquired)acquired, world->now_ms, &task->m_take);
    sim_node_agree(world, command_name(asked), step, (int)result.verdict, result.replayed,
                   &task->answer);
    if (step == M_FINAL || step == M_RECORDED)
        promise(result.refund_number == task->answer.refund || result.verdict >= TG_VERDICT_COUNT,
                "%s: the engine names refund %u, the model %d", command_name(asked),
                result.refund_number, task->answer.refund);
    if (follow(world, core, number, step, acquired, &unit, &take, ENG_SLOT_NONE))
        sim_node_finish(world, number,
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
    sim_node_agree(world, "AdjustStock", changes ? M_RECORDED : M_FINAL, (int)verdict, false,
                   &task->answer);
    if (changes)
        sim_node_append(world, core, 1, number, task->answer.change);
    else
        sim_node_finish_with(world, number, (int)verdict);
}

static const char *state_name(int wanted)
{
    return wanted == TG_SALE_PAUSED   ? "PauseSale"
           : wanted == TG_SALE_CLOSED ? "CloseSale"
                                      : "ResumeSale";
}

static void decide_state(struct world *world, int number)
{
    struct task *task = &world->tasks[number];
    const struct ask *ask = &world->asks[task->ask];
    struct eng_sale *sale = &world->engine.catalog.sales[ask->sale];
    bool changes;
    task->answer = m_sale_state(&world->model, ask->sale, ask->wanted);
    enum tg_verdict verdict =
        eng_sale_state_decide(sale, (enum tg_sale_state)ask->wanted, &changes);
    sim_node_agree(world, state_name(ask->wanted), changes ? M_RECORDED : M_FINAL, (int)verdict,
                   false, &task->answer);
    if (!changes) {
        sim_node_finish_with(world, number, (int)verdict);
        return;
    }
    struct tg_record *record = tg_journal_reserve(&world->journals[0]);
    promise(record, "a journal is full");
    *record = (struct tg_record){.kind = TG_RECORD_SALE_STATE, .at_ms = world->now_ms};
    record->sale_state.sale = sale->sale;
    record->sale_state.state = (uint8_t)ask->wanted;
    sim_node_append(world, 0, 1, number, task->answer.change);
}

static void decide_sale(struct world *world, int number)
{
    struct task *task = &world->tasks[number];
    struct tg_sale_def *def = sim_clients_sale(world, SIM_SALES);
    bool full;
    task->answer = m_sale_create(&world->model);
    enum tg_verdict verdict = eng_catalog_prepare(&world->engine.catalog, def, &full);
    bool changes = verdict == TG_OK;
    sim_node_agree(world, "CreateSale", changes ? M_RECORDED : M_FINAL, (int)verdict, false,
                   &task->answer);
    if (!changes) {
        free(def);
        sim_node_finish_with(world, number, (int)verdict);
        return;
    }
    struct tg_record *record = tg_journal_reserve(&world->journals[0]);
    promise(record && !world->sale_to_come, "two sales are being created");
    *record = (struct tg_record){.kind = TG_RECORD_SALE, .at_ms = world->now_ms, .sale = def};
    world->sale_to_come = def;
    sim_node_append(world, 0, 1, number, task->answer.change);
}

static void decide_group(struct world *world, int number)
{
    struct task *task = &world->tasks[number];
    struct tg_record *record = tg_journal_reserve(&world->journals[0]);
    promise(record, "a journal is full");
    enum tg_verdict verdict =
        sim_outbox_decide(world, &world->asks[task->ask], record, &task->answer);
    bool changes = task->answer.step == M_RECORDED;
    if (changes)
        sim_node_append(world, 0, 1, number, task->answer.change);
    else
        sim_node_finish_with(world, number, (int)verdict);
}

/* --- every request --- */

/* An order and its team have one each, and a count is of a user, a channel and a sale. */
enum {
    TIMERS_OF_A_DECISION = 2,
    COUNTS_OF_A_DECISION = 3,
};

bool sim_node_is_full(const struct world *world, int core)
{
    const struct eng_shard *shard = &world->engine.shards[core];
    return shard->requests.count == shard->requests.orders_max ||
           shard->holdings.count + COUNTS_OF_A_DECISION > shard->holdings.count_max ||
           eng_wheel_room(shard->wheel) < shard->timers_promised + TIMERS_OF_A_DECISION;
}

void sim_node_decide(struct world *world, int core, int number, enum eng_acquired acquired)
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
    case ASK_SALE_STATE:
        decide_state(world, number);
        break;
    case ASK_SALE:
        decide_sale(world, number);
        break;
    case ASK_GROUP:
        decide_group(world, number);
        break;
    }
}
