/* Random walks over two shards: orders, carts, teams and ingested orders, every change of them,
 * timers, retries, the messages between the shards, batches that the storage refuses. Every part
 * moves on its own and in any order; tests/lib/ledger.h holds every invariant against it after each
 * step. */
#include "tests/lib/ledger.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEPS = 30000,
    USERS = 8,
    TEAM_USERS = 60,
    SENT_MAX = 64,
    ASKS_MAX = 8,
    PLAIN_ITEMS = 6, /* of three policies, on both shards */
    TEAM_ITEMS = 2,
};

/* A change that was sent, to be sent again. */
struct sent {
    struct eng_command command;
    struct eng_result result;
    uint32_t version; /* of the order when it was recorded */
    bool used;
};

/* A cart, or a late payment of one, whose units other shards are asked for. */
struct ask {
    bool used;
    bool is_cart;
    struct eng_cart cart;
    struct eng_command command;
    struct eng_take take;
    uint32_t home;
    uint64_t asked; /* shards that answered */
    uint64_t took;
    bool is_busy;
};

struct world {
    struct ledger *ledger;
    struct tg_rng rng;
    struct eng_item *plain;
    struct eng_item *teams[2]; /* of two group-buys */
    struct sent sent[SENT_MAX];
    struct ask asks[ASKS_MAX];
    uint64_t verdicts[TG_VERDICT_COUNT];
    uint64_t waits, replays, acquired, refused, formed, completed;
};

static uint64_t below(struct world *world, uint64_t bound)
{
    return tg_rng_below(&world->rng, bound);
}

static void add_sales(struct world *world)
{
    struct tg_sale_def *plain = ledger_sale(1, PLAIN_ITEMS);
    const int64_t ends_at_ms = LEDGER_START_MS + 1000ll * 24 * 3600 * 1000;
    plain->ends_at_ms = ends_at_ms;
    plain->payment_window_s = 20;
    plain->refund_auto_max_minor = 40;
    plain->share_count = 1;
    plain->shares[0] = (struct tg_channel_share){.channel = 1, .percent = 20};
    for (uint32_t i = 0; i < PLAIN_ITEMS; i++) {
        plain->items[i].stock_policy = (uint8_t)(TG_POLICY_RESERVE + i / 2);
        plain->items[i].per_user_limit = i % 2 ? 8 : 0;
        plain->items[i].stock_units = i % 2 ? 200 : 50;
    }
    world->plain = ledger_add(world->ledger, plain);
    for (uint32_t i = 0; i < 2; i++) {
        struct tg_sale_def *def = ledger_group_buy(2 + i, TEAM_ITEMS);
        def->ends_at_ms = ends_at_ms;
        def->payment_window_s = 20;
        def->team.team_lifetime_s = 60;
        def->team.teams_per_user_max = 2;
        def->team.new_buyers_only = i == 1;
        def->team.team_size = (uint8_t)(3 + i);
        def->team.at_deadline = i ? TG_DEADLINE_AUTO_COMPLETE : TG_DEADLINE_FAIL;
        def->team.team_size_min = i ? 2 : 0;
        for (uint32_t item = 0; item < TEAM_ITEMS; item++) {
            def->items[item].stock_units = 100;
            def->items[item].stock_policy =
                item ? TG_POLICY_ON_PAYMENT : (uint8_t)(TG_POLICY_RESERVE + i);
            def->items[item].captain_price_minor = item ? 0 : 90;
            def->items[item].ladder_steps = 1;
            def->items[item].ladder[0] = (struct tg_ladder_step){.size = 3, .unit_price_minor = 80};
        }
        world->teams[i] = ledger_add(world->ledger, def);
    }
}

/* --- new orders --- */

static struct tg_order random_order(struct world *world, int64_t price)
{
    struct tg_order order = ledger_order_of(world->ledger, 1 + below(world, USERS), price);
    order.quantity = 1 + (uint32_t)below(world, 2);
    order.channel = (uint16_t)below(world, 3);
    return order;
}

static void do_place(struct world *world)
{
    struct eng_item *item = world->plain + below(world, PLAIN_ITEMS);
    struct tg_order order = random_order(world, item->sale_price_minor);
    world->verdicts[ledger_place(world->ledger, item, &order).verdict]++;
}

static struct eng_item *team_item(struct world *world)
{
    return world->teams[below(world, 2)] + below(world, TEAM_ITEMS);
}

static void do_open(struct world *world)
{
    struct eng_item *item = team_item(world);
    struct tg_order order = random_order(world, item->captain_price_minor);
    order.user_id = 1 + below(world, TEAM_USERS);
    struct eng_decision decision;
    if (ledger_open(world->ledger, item, &order, &decision) == ENG_RECORDED)
        cr_assert_eq(decision.verdict, TG_ACCEPTED);
    world->verdicts[decision.verdict]++;
}

static void do_join(struct world *world)
{
    struct ledger *ledger = world->ledger;
    struct eng_decision decision;
    if (ledger->team_count == 0)
        return;
    uint32_t newest = ledger->team_count > 6 ? 6 : ledger->team_count;
    const struct tg_team *team = &ledger->teams[ledger->team_count - 1 - below(world, newest)];
    struct eng_item *item = &ledger->engine.catalog.items[team->item];
    struct tg_order order = random_order(world, item->sale_price_minor);
    order.user_id = 1 + below(world, TEAM_USERS);
    enum eng_step step = ledger_join(ledger, item, team->team_id, &order, &decision);
    if (step == ENG_WAIT) {
        world->waits++;
        return;
    }
    world->verdicts[decision.verdict]++;
    if (step == ENG_RECORDED && below(world, 4) == 0) {
        ledger_join(ledger, item, team->team_id, &order, &decision);
        cr_assert(decision.replayed && decision.in_flight);
    }
}

static void do_ingest(struct world *world)
{
    struct eng_item *item = world->plain + below(world, PLAIN_ITEMS);
    uint8_t external = (uint8_t)below(world, 200);
    struct tg_order order = random_order(world, 30 + (int64_t)below(world, 2));
    struct tg_payment payment = {.amount_minor = order.unit_price_minor * order.quantity,
                                 .id_bytes = 1,
                                 .id = {1},
                                 .currency = {'E', 'U', 'R'}};
    struct eng_decision decision;
    order.external_id = &external;
    order.external_bytes = 1;
    eng_ingest_id(order.channel, &external, 1, order.request_id);
    if (ledger_ingest(world->ledger, item, &order, below(world, 2) ? &payment : NULL, &decision) ==
        ENG_WAIT)
        world->waits++;
    else
        world->verdicts[decision.verdict]++;
}

/* --- what several shards are asked for --- */

static struct ask *free_ask(struct world *world)
{
    for (uint32_t i = 0; i < ASKS_MAX; i++)
        if (!world->asks[i].used)
            return &world->asks[i];
    return NULL;
}

static void end_unit(struct eng_unit *unit, enum eng_step step)
{
    cr_assert_eq(step == ENG_RECORDED, unit->count > 0);
    if (unit->count > 0)
        tg_journal_append_unit(unit->journal, unit->count);
}

static enum eng_step decide_ask(struct world *world, struct ask *ask, enum eng_acquired acquired)
{
    struct ledger *ledger = world->ledger;
    struct eng_shard *shard = &ledger->engine.shards[ask->home];
    struct eng_unit unit = {.journal = &ledger->journals[ask->home]};
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    struct eng_decision decision = {.verdict = TG_UNSPECIFIED};
    struct eng_result result = {.verdict = TG_UNSPECIFIED};
    enum eng_step step;
    if (ask->is_cart)
        step = eng_cart_place(shard, &ask->cart, acquired, ledger->now_ms, &unit, &ask->take,
                              &decision, refusals);
    else
        step = eng_life_change(shard, &ask->command, acquired, ledger->now_ms, &unit, &ask->take,
                               &result);
    end_unit(&unit, step);
    if (step == ENG_FINAL || step == ENG_RECORDED)
        world->verdicts[ask->is_cart ? decision.verdict : result.verdict]++;
    return step;
}

static void begin_ask(struct world *world, struct ask *ask)
{
    ask->asked = ask->took = 0;
    ask->is_busy = false;
    ask->used = decide_ask(world, ask, ENG_NOT_ASKED) == ENG_ACQUIRE;
    world->acquired += ask->used;
}

static void do_cart(struct world *world)
{
    struct ask *ask = free_ask(world);
    if (!ask)
        return;
    uint32_t first = 2 * (uint32_t)below(world, 3); /* two items of one policy, two shards */
    uint32_t flip = (uint32_t)below(world, 2);
    struct tg_order order = random_order(world, 0);
    *ask = (struct ask){.is_cart = true};
    ask->cart = (struct eng_cart){.user_id = order.user_id, .channel = order.channel};
    memcpy(ask->cart.request_id, order.request_id, TG_REQUEST_ID_BYTES);
    ask->cart.line_count = ask->cart.asked_count = (uint8_t)(1 + below(world, 2));
    for (uint8_t i = 0; i < ask->cart.line_count; i++) {
        const struct eng_item *item = &world->plain[first + (i ^ flip)];
        ask->cart.line_of[i] = i;
        ask->cart.wrong[i] = TG_ACCEPTED;
        ask->cart.lines[i] = (struct tg_line){.item = item->item,
                                              .quantity = 1 + (uint32_t)below(world, 3),
                                              .unit_price_minor = item->sale_price_minor};
    }
    ask->home = world->ledger->engine.catalog.items[ask->cart.lines[0].item].shard;
    begin_ask(world, ask);
}

/* The next shard answers; when all have, the home decides, and lets go of what it need not have. */
static void go_on(struct world *world, struct ask *ask)
{
    struct ledger *ledger = world->ledger;
    uint64_t shards = eng_take_shards(&ledger->engine, &ask->take);
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    if (ask->asked != shards) {
        uint32_t next = (uint32_t)__builtin_ctzll(shards & ~ask->asked);
        ask->asked |= 1ull << next;
        if (eng_take_hold(&ledger->engine.shards[next], &ask->take, ledger->now_ms, refusals))
            ask->took |= 1ull << next;
        else
            for (uint32_t i = 0; i < ask->take.line_count; i++)
                ask->is_busy = ask->is_busy || refusals[i] == TG_BUSY;
        return;
    }
    struct eng_take held = ask->take;
    enum eng_step step = ENG_FINAL;
    bool all = ask->took == shards;
    if (all || !ask->is_cart)
        step = decide_ask(world, ask,
                          all            ? ENG_TAKEN
                          : ask->is_busy ? ENG_TAKE_BUSY
                                         : ENG_NOT_TAKEN);
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++)
        if ((ask->took >> i & 1) && !(all && step == ENG_RECORDED))
            eng_take_release(&ledger->engine.shards[i], &held);
    ask->used = false;
}

static bool do_ask(struct world *world)
{
    uint32_t from = (uint32_t)below(world, ASKS_MAX);
    for (uint32_t i = 0; i < ASKS_MAX; i++) {
        struct ask *ask = &world->asks[(from + i) % ASKS_MAX];
        if (!ask->used)
            continue;
        go_on(world, ask);
        return true;
    }
    return false;
}

/* --- changes --- */

static struct eng_command random_command(struct world *world, uint64_t order_id)
{
    struct ledger *ledger = world->ledger;
    struct eng_command command = ledger_payment(ledger, order_id, (uint8_t)below(world, 4));
    static const uint8_t kinds[] = {ENG_RECORD_PAYMENT, ENG_RECORD_PAYMENT, ENG_RECORD_PAYMENT,
                                    ENG_RECORD_PAYMENT, ENG_CANCEL,         ENG_EXTEND_PAYMENT,
                                    ENG_REQUEST_REFUND, ENG_APPROVE_REFUND, ENG_REJECT_REFUND,
                                    ENG_RECORD_REFUND,  ENG_ADVANCE,        ENG_ADVANCE};
    command.kind = kinds[below(world, sizeof(kinds))];
    if (below(world, 20) == 0)
        command.payment.amount_minor++;
    command.cancelled_by = TG_CANCELLED_BY_BUYER;
    command.advance_to = (uint8_t)(TG_ORDER_SHIPPED + below(world, 3));
    command.refund_number = 1 + (uint32_t)below(world, 3);
    command.payment_deadline_ms = ledger->now_ms + (int64_t)below(world, 60000);
    command.refund.amount_minor = (int64_t)below(world, 3) * 30;
    command.refund.restock = command.refund.amount_minor == 0 && below(world, 2);
    return command;
}

static void send(struct world *world, const struct eng_command *command)
{
    struct ask *ask = free_ask(world);
    if (!ask)
        return;
    *ask = (struct ask){.command = *command,
                        .home = (uint32_t)(command->order_id % TG_PARTITIONS) %
                                world->ledger->engine.config.shards};
    struct eng_unit unit = {.journal = &world->ledger->journals[ask->home]};
    struct eng_result result;
    enum eng_step step =
        eng_life_change(&world->ledger->engine.shards[ask->home], command, ENG_NOT_ASKED,
                        world->ledger->now_ms, &unit, &ask->take, &result);
    end_unit(&unit, step);
    ask->used = step == ENG_ACQUIRE;
    world->acquired += ask->used;
    world->waits += step == ENG_WAIT;
    if (step == ENG_FINAL || step == ENG_RECORDED) {
        world->verdicts[result.verdict]++;
        world->replays += result.replayed;
    }
    if (step == ENG_RECORDED) {
        struct sent *sent = &world->sent[below(world, SENT_MAX)];
        *sent = (struct sent){
            .command = *command,
            .result = result,
            .version = ledger_life(world->ledger, command->order_id)->version,
            .used = true,
        };
    }
}

/* A young order, one time in three of a young team. */
static uint64_t random_target(struct world *world)
{
    const struct ledger *ledger = world->ledger;
    uint32_t orders = ledger->order_count > 40 ? 40 : ledger->order_count;
    uint32_t teams = ledger->team_count > 4 ? 4 : ledger->team_count;
    if (teams > 0 && below(world, 3) == 0) {
        const struct tg_team *team = &ledger->teams[ledger->team_count - 1 - below(world, teams)];
        if (team->seat_count > 0)
            return team->seats[below(world, team->seat_count)].order_id;
    }
    return ledger->orders[ledger->order_count - 1 - below(world, orders)].row.order_id;
}

static void do_change(struct world *world)
{
    if (world->ledger->order_count == 0)
        return;
    struct eng_command command = random_command(world, random_target(world));
    send(world, &command);
}

static bool remembers(const struct tg_life *life, const struct eng_command *command)
{
    for (uint32_t i = 0; i < life->command_count; i++)
        if (memcmp(life->commands[i].request_id, command->request_id, TG_REQUEST_ID_BYTES) == 0)
            return true;
    return false;
}

/* Sends a change again: it waits, or gets the first answer if the first is durable. */
static void do_retry(struct world *world)
{
    struct sent *sent = &world->sent[below(world, SENT_MAX)];
    if (!sent->used)
        return;
    const struct tg_life *life = ledger_life(world->ledger, sent->command.order_id);
    bool durable = remembers(life, &sent->command);
    uint32_t home =
        (uint32_t)(sent->command.order_id % TG_PARTITIONS) % world->ledger->engine.config.shards;
    struct eng_unit unit = {.journal = &world->ledger->journals[home]};
    struct eng_take take;
    struct eng_result result;
    if (!durable)
        return; /* refused, in flight or forgotten: do_change meets those */
    enum eng_step step =
        eng_life_change(&world->ledger->engine.shards[home], &sent->command, ENG_NOT_ASKED,
                        world->ledger->now_ms, &unit, &take, &result);
    if (step == ENG_WAIT) {
        world->waits++;
        return;
    }
    cr_assert_eq(step, ENG_FINAL);
    cr_assert(result.replayed, "seed %#lx", world->ledger->seed);
    cr_assert_eq(result.verdict, sent->result.verdict);
    cr_assert_eq(result.refund_number, sent->result.refund_number);
    world->replays++;
}

/* --- the world goes on --- */

static void do_commit(struct world *world)
{
    bool durable = below(world, 6) != 0;
    world->refused += !durable;
    ledger_commit(world->ledger, (uint32_t)below(world, 2), durable);
    ledger_check(world->ledger);
}

static void do_step(struct world *world)
{
    uint64_t choice = below(world, 100);
    if (choice < 6)
        do_place(world);
    else if (choice < 12)
        do_cart(world);
    else if (choice < 14)
        do_open(world);
    else if (choice < 20)
        do_join(world);
    else if (choice < 23)
        do_ingest(world);
    else if (choice < 50)
        do_change(world);
    else if (choice < 55)
        do_retry(world);
    else if (choice < 70)
        do_ask(world);
    else if (choice < 80)
        do_commit(world);
    else if (choice < 90)
        ledger_settle(world->ledger, (uint32_t)below(world, 2));
    else if (choice < 94)
        ledger_deliver(world->ledger);
    else if (choice < 97)
        world->ledger->now_ms += (int64_t)below(world, 5000);
    else
        ledger_fire(world->ledger);
}

static void come_to_rest(struct world *world)
{
    while (do_ask(world))
        ;
    ledger_run(world->ledger, true);
    ledger_check_rest(world->ledger);
}

/* Long after: every order that waited for its payment has expired, every team has ended. */
static void check_timers(struct world *world)
{
    struct ledger *ledger = world->ledger;
    for (int i = 0; i < 40; i++)
        ledger_wait(ledger, 10000);
    for (uint32_t i = 0; i < ledger->order_count; i++) {
        const struct ledger_order *order = &ledger->orders[i];
        if (order->life.state == TG_ORDER_RESERVED)
            cr_assert_eq(order->life.payment_deadline_ms, 0, "seed %#lx", ledger->seed);
    }
    for (uint32_t i = 0; i < ledger->team_count; i++) {
        cr_assert_gt(ledger->teams[i].state, TG_TEAM_OPEN, "seed %#lx", ledger->seed);
        world->formed += ledger->teams[i].state == TG_TEAM_STATE_FORMED;
        world->completed += ledger->teams[i].auto_completed;
    }
}

/* The walk must have met what it is about. */
static void check_coverage(const struct world *world)
{
    static const enum tg_verdict met[] = {
        TG_ACCEPTED,        TG_OK,
        TG_SOLD_OUT,        TG_INSUFFICIENT_STOCK,
        TG_LIMIT_REACHED,   TG_BUSY,
        TG_REFUND_DUE,      TG_NOT_PAID,
        TG_ALREADY_PAID,    TG_EXPIRED,
        TG_AWAITING_TEAM,   TG_AMOUNT_MISMATCH,
        TG_TEAM_FULL,       TG_TEAM_ENDED,
        TG_ALREADY_IN_TEAM, TG_REFUND_EXCEEDS_PAID,
        TG_UNKNOWN_REFUND,  TG_REFUND_STATUS,
        TG_ALREADY_SHIPPED, TG_CHANNEL_SHARE_REACHED,
    };
    for (size_t i = 0; i < sizeof(met) / sizeof(met[0]); i++)
        cr_expect_geq(world->verdicts[met[i]], 1, "seed %#lx: %s never came", world->ledger->seed,
                      tg_verdict_name((int)met[i]));
    cr_expect(world->waits > 20 && world->replays > 20 && world->refused > 20);
    cr_expect_gt(world->acquired, 20);
    cr_expect_gt(world->formed, world->completed + 2);
    cr_expect_gt(world->completed, 2);
    cr_expect_gt(world->ledger->events[TG_EVENT_TEAM_CAPTAIN_CHANGED], 0);
}

static void walk(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    world->ledger = ledger_create(2);
    world->ledger->seed = seed;
    tg_rng_init(&world->rng, seed);
    add_sales(world);
    for (uint32_t step = 0; step < STEPS; step++) {
        do_step(world);
        if (step % 500 == 499)
            come_to_rest(world);
    }
    come_to_rest(world);
    check_timers(world);
    check_coverage(world);
    ledger_destroy(world->ledger);
    free(world);
}

Test(life_fuzz, holds_every_invariant_on_the_first_walk)
{
    walk(0x6c69666531);
}

Test(life_fuzz, holds_every_invariant_on_the_second_walk)
{
    walk(0x6c69666532);
}

Test(life_fuzz, holds_every_invariant_on_the_third_walk)
{
    walk(0x6c69666533);
}
