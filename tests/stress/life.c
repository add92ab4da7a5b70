/* Changes, carts and teams at their owner: the steps of server/life.c. */
#include "tests/stress/stress.h"

#include <string.h>

/* --- what the shard loads from --- */

static enum eng_load loaded(enum tg_error error, const struct tg_fault *fault)
{
    if (error == TG_ERR_NOTFOUND)
        return ENG_ABSENT;
    promise(error == TG_ERR_OK, "%s", fault->text);
    return ENG_LOADED;
}

static enum eng_load load_order(void *context, uint64_t order_id, struct tg_order_row *row,
                                struct tg_life *life, bool *has_life)
{
    struct core *core = context;
    struct tg_fault fault;
    enum eng_load load =
        loaded(sto_read_order(core->reader, order_id, row, life, has_life, &fault), &fault);
    if (load == ENG_LOADED && !*has_life)
        eng_life_initial(item_at(row->item), row, life);
    return load;
}

static enum eng_load load_team(void *context, uint64_t team_id, struct tg_team *team)
{
    struct core *core = context;
    struct tg_fault fault;
    return loaded(sto_read_team(core->reader, team_id, team, &fault), &fault);
}

static enum eng_load load_ingested(void *context, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                   uint64_t *order_id)
{
    struct core *core = context;
    struct tg_fault fault;
    return loaded(sto_read_ingested(core->reader, request_id, order_id, &fault), &fault);
}

struct eng_loader stress_loader(struct core *core)
{
    return (struct eng_loader){
        .context = core, .order = load_order, .team = load_team, .ingested = load_ingested};
}

/* --- deciding --- */

static enum eng_step ask_change(struct core *core, struct task *task, enum eng_acquired acquired,
                                struct eng_unit *unit, struct eng_take *take)
{
    struct eng_result result = {0};
    enum eng_step step =
        eng_life_change(core->shard, &task->command, acquired, now_ms(core), unit, take, &result);
    task->verdict = result.verdict;
    task->replayed = result.replayed;
    return step;
}

static enum eng_step ask_cart(struct core *core, const struct body *body,
                              enum eng_acquired acquired, struct eng_unit *unit,
                              struct eng_take *take, struct eng_decision *decision)
{
    struct eng_cart cart = {.user_id = body->user,
                            .asked_count = (uint8_t)body->line_count,
                            .line_count = (uint8_t)body->line_count};
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    memcpy(cart.request_id, body->id, sizeof(cart.request_id));
    for (uint8_t i = 0; i < cart.line_count; i++) {
        cart.lines[i] = body->lines[i];
        cart.line_of[i] = i;
        cart.wrong[i] = TG_ACCEPTED;
    }
    return eng_cart_place(core->shard, &cart, acquired, now_ms(core), unit, take, decision,
                          refusals);
}

static enum eng_step ask_placing(struct core *core, const struct body *body,
                                 enum eng_acquired acquired, struct eng_unit *unit,
                                 struct eng_take *take, struct eng_decision *decision)
{
    struct tg_order order = stress_order(body);
    struct eng_item *item = item_at(body->lines[0].item);
    switch (body->kind) {
    case ORDER_PLAIN:
        break;
    case ORDER_CART:
        return ask_cart(core, body, acquired, unit, take, decision);
    case ORDER_OPEN:
        return eng_team_open(core->shard, item, &order, now_ms(core), unit, decision);
    case ORDER_JOIN:
        return eng_team_join(core->shard, item, body->team_id, true, &order, now_ms(core), unit,
                             decision);
    }
    promise(false, "a plain order as a task");
    return ENG_FINAL;
}

/* The slot was kept since the decision. */
static void answer_from_slot(struct core *core, struct task *task)
{
    struct tg_answer answer = eng_shard_answer(core->shard, task->slot, task->generation);
    eng_requests_let_go(&core->shard->requests, task->slot, task->generation);
    task->verdict = (enum tg_verdict)answer.verdict;
    task->order_id = answer.order_id;
}

static enum eng_step ask_order(struct core *core, struct task *task, enum eng_acquired acquired,
                               struct eng_unit *unit, struct eng_take *take)
{
    struct eng_decision decision = {0};
    enum eng_step step = ask_placing(core, &task->body, acquired, unit, take, &decision);
    if (step != ENG_FINAL && step != ENG_RECORDED)
        return step;
    task->verdict = decision.verdict;
    if (step == ENG_RECORDED) {
        task->slot = decision.slot;
        task->generation = decision.generation;
        eng_requests_keep(&core->shard->requests, task->slot);
    }
    if (!decision.replayed)
        return step;
    if (decision.in_flight)
        return ENG_WAIT;
    task->order_id = decision.answer.order_id;
    task->replayed = true;
    return step;
}

static void finish(struct core *core, struct task *task)
{
    struct reply reply = {.task = task};
    stress_push_reply(core, task->address.core, &reply);
}

/* It is decided again when all that is in flight now has completed. */
static void wait_behind_fence(struct core *core, struct task *task)
{
    struct tg_record *record = tg_journal_reserve(&core->journal);
    if (!record) {
        task->verdict = TG_BUSY;
        finish(core, task);
        return;
    }
    eng_shard_fence(core->shard, ENG_SLOT_NONE, 0, now_ms(core), record);
    struct pending pending = {.address = task->address, .task = task};
    stress_append(core, &pending);
}

static enum tg_verdict first_refusal(const struct holds *holds)
{
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (holds->refusals[i] != TG_ACCEPTED)
            return holds->refusals[i];
    return TG_ACCEPTED;
}

static void decide(struct core *core, struct task *task, enum eng_acquired acquired)
{
    struct eng_unit unit = {.journal = &core->journal};
    struct eng_take take;
    enum eng_step step = task->is_change ? ask_change(core, task, acquired, &unit, &take)
                                         : ask_order(core, task, acquired, &unit, &take);
    if (acquired == ENG_TAKEN && step != ENG_RECORDED)
        stress_cart_release(core, task);
    switch (step) {
    case ENG_FINAL:
        /* Not the retry of a cart that is known by now, so the holds say why. */
        if (acquired == ENG_NOT_TAKEN && !task->is_change && task->verdict == TG_BUSY)
            task->verdict = first_refusal(&task->holds);
        finish(core, task);
        break;
    case ENG_WAIT:
        core->waited++;
        wait_behind_fence(core, task);
        break;
    case ENG_ACQUIRE:
        core->held++;
        core->late += task->is_change;
        stress_cart_hold(core, task, &take);
        if (task->holds.waiting == 0)
            stress_life_held(core, task);
        break;
    case ENG_RECORDED:
        stress_append_unit(core, &unit, task);
        break;
    case ENG_LOAD_FAILED:
        promise(false, "a row that is there cannot be loaded");
    }
}

void stress_life_start(struct core *core, struct task *task)
{
    decide(core, task, ENG_NOT_ASKED);
}

/* --- units on other cores --- */

static bool all_busy(const struct holds *holds)
{
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (holds->refusals[i] != TG_ACCEPTED && holds->refusals[i] != TG_BUSY)
            return false;
    return true;
}

void stress_life_held(struct core *core, struct task *task)
{
    const struct holds *holds = &task->holds;
    if (holds->all_taken)
        decide(core, task, ENG_TAKEN);
    else
        decide(core, task, task->is_change && all_busy(holds) ? ENG_TAKE_BUSY : ENG_NOT_TAKEN);
}

/* --- settling --- */

void stress_life_settle(struct core *core, const struct tg_record *record)
{
    struct eng_take spread = {.line_count = 0};
    eng_life_settle(core->shard, record, &spread);
    if (spread.line_count > 0)
        stress_cart_settle(core, &spread);
}

void stress_life_recorded(struct core *core, struct task *task, const struct tg_record *record)
{
    if (!task->is_change)
        answer_from_slot(core, task);
    else if (record->outcome != TG_OUTCOME_DURABLE)
        task->verdict = TG_STORAGE_FULL;
    finish(core, task);
}
