/* A core's client: orders of every kind, retries, "duels" (every client sends an order of its own
 * under one and the same request id), and changes of what was accepted. It checks each answer
 * against what it was told before. */
#include "tests/stress/stress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_ROUNDS = 200, /* how old an order is at most when it is tried again */
    RETRY_BACK = 300,   /* and how many came after it */
    CHANGES = 3,        /* in one round */
    CHANGES_BACK = 40,  /* most are of one of the newest orders */
    CHANGES_FAR = 3000, /* the others of one that may have expired */
    CHANGES_MAX = 14,   /* of one order, so that it remembers them all */
};

_Static_assert(CHANGES_MAX < TG_ORDER_COMMANDS_MAX, "every change can be retried");
_Static_assert(1 + 2 + 1 + 1 + 1 <= ROUND_ORDERS, "play_round sends no more orders");
_Static_assert(ROUND_ORDERS + CHANGES <= ROUND_REQUESTS, "and no more requests");

static uint32_t below(struct core *core, uint32_t bound)
{
    return (uint32_t)tg_rng_below(&core->rng, bound);
}

/* --- sending orders --- */

static void refuse(struct core *core, uint32_t number, enum tg_verdict verdict)
{
    struct reply reply = {.entry = number, .verdict = verdict};
    stress_client_order_answered(core, &reply);
}

static void send_plain(struct core *core, uint32_t number, const struct eng_item *item)
{
    const struct body *body = &core->log[number].body;
    struct request request = {.address = {.core = core->number, .entry = number}, .body = *body};
    struct tg_order order = stress_order(body);
    struct eng_decision decision;
    if (item->shard != core->number &&
        eng_gate_refuses(&world.engine, item, &order, now_ms(core), &decision))
        refuse(core, number, decision.verdict);
    else if (!stress_push(core, item->shard, &request))
        refuse(core, number, TG_BUSY);
}

static bool push_task(struct core *core, uint32_t to, struct task *task)
{
    struct request request = {.task = task};
    if (stress_push(core, to, &request))
        return true;
    free(task);
    return false;
}

/* Sends an entry of the log to the owner of its item, or hears from the gate. */
static void send_entry(struct core *core, uint32_t number)
{
    const struct body *body = &core->log[number].body;
    const struct eng_item *item = item_at(body->lines[0].item);
    core->unanswered++;
    if (body->kind == ORDER_PLAIN) {
        send_plain(core, number, item);
        return;
    }
    struct task *task = stress_alloc(1, sizeof(*task));
    task->address = (struct address){.core = core->number, .entry = number};
    task->body = *body;
    if (!push_task(core, item->shard, task))
        refuse(core, number, TG_BUSY);
}

static void send_new(struct core *core, const struct body *body)
{
    uint32_t number = core->log_count++;
    core->log[number] = (struct entry){.body = *body, .round = core->round, .first = number};
    send_entry(core, number);
}

static struct body new_body(struct core *core, enum order_kind kind, uint32_t item,
                            uint32_t quantity)
{
    return (struct body){
        .id = {tg_rng_next(&core->rng), core->number},
        .user = tg_rng_below(&core->rng, USERS),
        .kind = kind,
        .line_count = 1,
        .lines = {{.item = item, .quantity = quantity, .unit_price_minor = PRICE}},
    };
}

static void send_order(struct core *core)
{
    struct body body = new_body(core, ORDER_PLAIN, below(core, MAIN_ITEMS), 1 + below(core, 2));
    send_new(core, &body);
}

static void send_duel(struct core *core)
{
    uint32_t item = core->number + CORES * below(core, ITEM_KINDS);
    struct body body = new_body(core, ORDER_PLAIN, item, 1);
    body.id[0] = core->round;
    body.id[1] = DUEL_MARK;
    send_new(core, &body);
}

static void send_retry(struct core *core)
{
    uint32_t back = 1 + below(core, RETRY_BACK);
    if (back > core->log_count)
        return;
    struct entry retry = core->log[core->log[core->log_count - back].first];
    if (core->round - retry.round > RETRY_ROUNDS || retry.body.id[1] == DUEL_MARK)
        return;
    retry.expected = retry.order_id;
    core->log[core->log_count] = retry;
    send_entry(core, core->log_count++);
}

/* Some items of one stock policy, each once, whoever owns them. */
static void send_cart(struct core *core)
{
    uint32_t first = below(core, MAIN_ITEMS);
    struct body body = new_body(core, ORDER_CART, first, 1);
    uint32_t wanted = 2 + below(core, CART_LINES - 1);
    for (uint32_t i = 1; i < MAIN_ITEMS && body.line_count < wanted; i++) {
        uint32_t item = (first + i) % MAIN_ITEMS;
        if (item_at(item)->stock_policy != item_at(first)->stock_policy || below(core, 2))
            continue;
        body.lines[body.line_count++] =
            (struct tg_line){.item = item, .quantity = 1, .unit_price_minor = PRICE};
    }
    send_new(core, &body);
}

/* The sales behind the first are group-buys of one item each. */
static void send_open(struct core *core)
{
    uint32_t sales = eng_catalog_sale_count(&world.engine.catalog);
    if (sales < 2)
        return;
    const struct eng_sale *sale = &world.engine.catalog.sales[sales - 1];
    promise(eng_catalog_sale(&world.engine.catalog, sale->sale_id) == sale,
            "a published sale is not found");
    struct body body = new_body(core, ORDER_OPEN, sale->first_item, 1);
    send_new(core, &body);
}

static void send_join(struct core *core)
{
    uint64_t team_id = atomic_load(&world.teams_known[below(core, TEAMS_KNOWN)]);
    if (team_id == 0)
        return;
    /* Of a sale with one item the partition is the item. */
    struct body body = new_body(core, ORDER_JOIN, team_id % TG_PARTITIONS, 1);
    body.team_id = team_id;
    send_new(core, &body);
}

/* --- sending changes --- */

static void send_command(struct core *core, uint32_t number, const struct eng_command *command,
                         bool is_retry)
{
    struct task *task = stress_alloc(1, sizeof(*task));
    task->address = (struct address){.core = core->number, .entry = number};
    task->is_change = true;
    task->is_retry = is_retry;
    task->command = *command;
    promise(eng_command_check(command) == TG_FIELD_NONE, "a change that the wire would refuse");
    if (push_task(core, command->order_id % TG_PARTITIONS % CORES, task))
        core->unanswered++;
}

static struct eng_command new_command(struct core *core, const struct entry *entry,
                                      enum eng_change_kind kind)
{
    struct eng_command command = {.order_id = entry->order_id, .kind = (uint8_t)kind};
    uint64_t id[2] = {tg_rng_next(&core->rng), core->number};
    memcpy(command.request_id, id, sizeof(command.request_id));
    return command;
}

/* Payment `number` of what the order costs, and `beside` more or less. */
static struct eng_command new_payment(struct core *core, const struct entry *entry, uint8_t number,
                                      int64_t beside)
{
    struct eng_command command = new_command(core, entry, ENG_RECORD_PAYMENT);
    for (uint32_t i = 0; i < entry->body.line_count; i++)
        command.payment.amount_minor += PRICE * entry->body.lines[i].quantity;
    command.payment.amount_minor += beside;
    command.payment.paid_at_ms = STARTS_MS;
    command.payment.id_bytes = 1;
    command.payment.id[0] = number;
    memcpy(command.payment.currency, "EUR", TG_CURRENCY_BYTES);
    return command;
}

/* Payments first; the rest as a shop has it. */
static struct eng_command random_command(struct core *core, const struct entry *entry)
{
    static const uint8_t kinds[] = {
        ENG_CANCEL,         ENG_CANCEL,        ENG_EXTEND_PAYMENT, ENG_REQUEST_REFUND,
        ENG_APPROVE_REFUND, ENG_REJECT_REFUND, ENG_RECORD_REFUND,  ENG_ADVANCE,
    };
    static const uint8_t steps[] = {TG_ORDER_SHIPPED, TG_ORDER_DELIVERED, TG_ORDER_COMPLETED};
    uint32_t random = below(core, 16);
    if (random < 7)
        return new_payment(core, entry, 1 + random % 2, 0);
    if (random == 7)
        return new_payment(core, entry, 9, 1);
    struct eng_command command = new_command(core, entry, (enum eng_change_kind)kinds[random - 8]);
    command.cancelled_by = TG_CANCELLED_BY_BUYER;
    command.payment_deadline_ms = now_ms(core) + EXTEND_MS;
    command.refund.restock = below(core, 2);
    command.refund_number = 1 + below(core, 2);
    command.advance_to = steps[below(core, 3)];
    return command;
}

static void send_change(struct core *core)
{
    uint32_t reach = below(core, 8) ? CHANGES_BACK : CHANGES_FAR;
    uint32_t back = 1 + below(core, reach);
    if (back > core->accepted_count)
        return;
    uint32_t number = core->accepted[core->accepted_count - back];
    struct entry *entry = &core->log[number];
    if (entry->changes == CHANGES_MAX)
        return;
    struct eng_command command = random_command(core, entry);
    entry->changes++;
    send_command(core, number, &command, false);
}

static void send_change_again(struct core *core)
{
    if (core->done_change_count < DONE_CHANGES)
        return;
    const struct done_change *done = &core->done_changes[below(core, DONE_CHANGES)];
    send_command(core, done->entry, &done->command, true);
}

void stress_client_play(struct core *core)
{
    send_duel(core);
    send_order(core);
    send_order(core);
    send_retry(core);
    if (below(core, 2))
        send_cart(core);
    if (below(core, 2))
        send_join(core);
    else if (below(core, 2))
        send_open(core);
    for (int i = 1; i < CHANGES; i++)
        send_change(core);
    if (below(core, 4))
        send_change(core);
    else
        send_change_again(core);
}

/* --- answers --- */

/* Seats are paid at once, or teams would never form. */
static void note_new(struct core *core, uint32_t number)
{
    struct entry *first = &core->log[number];
    core->accepted[core->accepted_count++] = number;
    if (first->body.id[1] == DUEL_MARK)
        promise(atomic_fetch_add(&world.duels[first->body.id[0]], 1) == 0,
                "request id %lu was accepted by two shards", first->body.id[0]);
    if (first->body.kind != ORDER_OPEN && first->body.kind != ORDER_JOIN)
        return;
    struct eng_command command = new_payment(core, first, 1, 0);
    first->changes++;
    if (core->unanswered < WINDOW)
        send_command(core, number, &command, false);
}

static void note_accepted(struct core *core, const struct entry *entry, uint64_t order_id)
{
    struct entry *first = &core->log[entry->first];
    promise(order_id != 0, "an accepted order without an id");
    promise(first->order_id == 0 || first->order_id == order_id,
            "a retry got order %lu, the first attempt %lu", order_id, first->order_id);
    if (first->order_id != 0)
        return;
    first->order_id = order_id;
    note_new(core, entry->first);
}

void stress_client_order_answered(struct core *core, const struct reply *reply)
{
    const struct entry *entry = &core->log[reply->entry];
    core->unanswered--;
    core->order_verdicts[reply->verdict]++;
    promise(entry->expected == 0 || reply->verdict == TG_ACCEPTED || reply->verdict == TG_BUSY,
            "the retry of order %lu is refused: %s", entry->expected,
            tg_verdict_name((int)reply->verdict));
    if (reply->verdict == TG_ACCEPTED)
        note_accepted(core, entry, reply->order_id);
}

static void note_change(struct core *core, const struct task *task)
{
    struct entry *entry = &core->log[task->address.entry];
    const struct eng_command *command = &task->command;
    if (task->verdict != TG_OK)
        return;
    entry->paid |= command->kind == ENG_RECORD_PAYMENT;
    entry->cancelled |= command->kind == ENG_CANCEL;
    core->done_changes[core->done_change_count++ % DONE_CHANGES] =
        (struct done_change){.command = *command, .entry = task->address.entry};
    if (entry->body.kind == ORDER_OPEN && command->kind == ENG_RECORD_PAYMENT)
        atomic_store(&world.teams_known[below(core, TEAMS_KNOWN)], entry->order_id);
}

static void change_answered(struct core *core, const struct task *task)
{
    core->unanswered--;
    core->change_verdicts[task->verdict]++;
    promise(task->verdict != TG_UNKNOWN_ORDER, "order %lu is unknown", task->command.order_id);
    promise(!task->is_retry || (task->verdict == TG_OK && task->replayed) ||
                task->verdict == TG_BUSY,
            "a change of order %lu was OK, and its retry is %s", task->command.order_id,
            tg_verdict_name((int)task->verdict));
    core->replays += task->replayed;
    note_change(core, task);
}

void stress_client_task_answered(struct core *core, struct task *task)
{
    struct reply reply = {
        .entry = task->address.entry, .verdict = task->verdict, .order_id = task->order_id};
    if (task->is_change) {
        change_answered(core, task);
    } else {
        core->replays += task->replayed;
        stress_client_order_answered(core, &reply);
    }
    free(task);
}
