/* Teams: who may open and join, what becomes of seats and members, and the races. */
#include "tests/lib/ledger.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    PRICE = 100,
    CAPTAIN_PRICE = 80,
    WINDOW_MS = 900000,
    LIFETIME_MS = 3600000,
};

struct world {
    struct ledger *ledger;
    struct eng_item *item;
    uint64_t team; /* of user 1, open */
};

/* A team of three that captain 1 has paid for; `rules` changes the sale before it is made. */
static struct world world_make(void (*rules)(struct tg_sale_def *def))
{
    struct world world = {.ledger = ledger_create(1)};
    struct tg_sale_def *def = ledger_group_buy(1, 2);
    def->items[0].captain_price_minor = CAPTAIN_PRICE;
    if (rules)
        rules(def);
    world.item = ledger_add(world.ledger, def);
    world.team = ledger_opened(world.ledger, world.item, 1);
    cr_assert_eq(ledger_pay(world.ledger, world.team, 1), TG_OK);
    return world;
}

static void world_free(struct world *world)
{
    ledger_check_rest(world->ledger);
    ledger_destroy(world->ledger);
}

static uint64_t join(struct world *world, uint64_t user_id)
{
    return ledger_joined(world->ledger, world->item, world->team, user_id);
}

static uint64_t join_paid(struct world *world, uint64_t user_id)
{
    uint64_t order = join(world, user_id);
    cr_assert_eq(ledger_pay(world->ledger, order, 1), TG_OK);
    return order;
}

/* The verdict of a join, which is not durable yet if it is ACCEPTED. */
static enum tg_verdict join_decision(struct world *world, uint64_t team_id, uint64_t user_id)
{
    struct tg_order order = ledger_order_of(world->ledger, user_id, PRICE);
    struct eng_decision decision;
    ledger_join(world->ledger, world->item, team_id, &order, &decision);
    return decision.verdict;
}

static enum tg_verdict join_verdict(struct world *world, uint64_t team_id, uint64_t user_id)
{
    enum tg_verdict verdict = join_decision(world, team_id, user_id);
    ledger_run(world->ledger, true);
    ledger_check_rest(world->ledger);
    return verdict;
}

static enum tg_verdict open_verdict(struct world *world, struct eng_item *item, int64_t price)
{
    struct tg_order order = ledger_order_of(world->ledger, 1, price);
    struct eng_decision decision;
    ledger_open(world->ledger, item, &order, &decision);
    ledger_run(world->ledger, true);
    ledger_check_rest(world->ledger);
    return decision.verdict;
}

static const struct tg_team *team_of(struct world *world)
{
    return ledger_team(world->ledger, world->team);
}

static enum tg_order_state state(struct world *world, uint64_t order_id)
{
    return ledger_state(world->ledger, order_id);
}

static void auto_complete(struct tg_sale_def *def)
{
    def->team.team_size = 5;
    def->team.at_deadline = TG_DEADLINE_AUTO_COMPLETE;
    def->team.team_size_min = 2;
    def->items[0].captain_price_minor = 0;
    def->items[0].ladder_steps = 2;
    def->items[0].ladder[0] = (struct tg_ladder_step){.size = 2, .unit_price_minor = 90};
    def->items[0].ladder[1] = (struct tg_ladder_step){.size = 3, .unit_price_minor = 70};
}

/* --- opening and joining --- */

Test(team, opens_when_its_captain_has_paid)
{
    struct world world = world_make(NULL);
    uint64_t second = ledger_opened(world.ledger, world.item, 1);
    cr_assert_eq(ledger_team(world.ledger, second)->state, TG_TEAM_PENDING);
    cr_assert_eq(join_verdict(&world, second, 2), TG_TEAM_NOT_OPEN);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_OK);
    cr_assert_eq(ledger_team(world.ledger, second)->state, TG_TEAM_OPEN);
    cr_assert_eq(state(&world, second), TG_ORDER_AWAITING_TEAM);
    cr_assert_eq(world.ledger->events[TG_EVENT_TEAM_OPENED], 2);
    cr_assert_eq(ledger_life(world.ledger, second)->amount_minor, CAPTAIN_PRICE);
    world_free(&world);
}

Test(team, forms_when_its_last_seat_is_paid)
{
    struct world world = world_make(NULL);
    uint64_t second = join_paid(&world, 2);
    uint64_t third = join(&world, 3);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_OPEN);
    cr_assert_eq(state(&world, second), TG_ORDER_AWAITING_TEAM);
    cr_assert_eq(ledger_pay(world.ledger, third, 1), TG_OK);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FORMED);
    cr_assert_not(team_of(&world)->auto_completed);
    cr_assert_eq(team_of(&world)->unit_price_minor, PRICE);
    cr_assert_eq(state(&world, world.team), TG_ORDER_CONFIRMED);
    cr_assert_eq(state(&world, second), TG_ORDER_CONFIRMED);
    cr_assert_eq(state(&world, third), TG_ORDER_CONFIRMED);
    cr_assert_eq(world.ledger->events[TG_EVENT_TEAM_FORMED], 1);
    cr_assert_eq(join_verdict(&world, world.team, 4), TG_TEAM_FORMED);
    ledger_wait(world.ledger, LIFETIME_MS + 1000);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FORMED);
    world_free(&world);
}

Test(team, refuses_who_cannot_join)
{
    struct world world = world_make(NULL);
    join(&world, 2);
    cr_assert_eq(join_verdict(&world, world.team, 2), TG_ALREADY_IN_TEAM);
    cr_assert_eq(join_verdict(&world, world.team, 1), TG_ALREADY_IN_TEAM);
    cr_assert_eq(join_verdict(&world, 0, 3), TG_UNKNOWN_TEAM);
    cr_assert_eq(join_verdict(&world, world.team + TG_PARTITIONS, 3), TG_UNKNOWN_TEAM);
    join(&world, 3); /* claimed is enough */
    cr_assert_eq(join_verdict(&world, world.team, 4), TG_TEAM_FULL);
    world_free(&world);
}

Test(team, is_joined_for_its_item_at_the_sale_price)
{
    struct world world = world_make(NULL);
    struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
    struct eng_decision decision;
    ledger_join(world.ledger, world.item + 1, world.team, &order, &decision);
    cr_assert(decision.verdict == TG_INVALID_ARGUMENT && decision.field == TG_FIELD_TEAM_ITEM);
    order.unit_price_minor = CAPTAIN_PRICE;
    ledger_join(world.ledger, world.item, world.team, &order, &decision);
    cr_assert_eq(decision.verdict, TG_PRICE_CHANGED);
    cr_assert_eq(open_verdict(&world, world.item, PRICE), TG_PRICE_CHANGED);
    world_free(&world);
}

Test(team, is_only_for_group_buys)
{
    struct world world = world_make(NULL);
    struct eng_item *other = ledger_add(world.ledger, ledger_sale(2, 1));
    cr_assert_eq(open_verdict(&world, other, PRICE), TG_NOT_A_GROUP_BUY);
    world_free(&world);
}

Test(team, takes_stock_like_every_order)
{
    struct world world = world_make(NULL);
    struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
    struct eng_decision decision;
    order.quantity = 10;
    ledger_join(world.ledger, world.item, world.team, &order, &decision);
    cr_assert_eq(decision.verdict, TG_INSUFFICIENT_STOCK);
    ledger_check_rest(world.ledger);
    order.quantity = 9;
    ledger_join(world.ledger, world.item, world.team, &order, &decision);
    cr_assert_eq(decision.verdict, TG_ACCEPTED);
    ledger_run(world.ledger, true);
    cr_assert_eq(join_verdict(&world, world.team, 3), TG_SOLD_OUT);
    world_free(&world);
}

static void one_team_each(struct tg_sale_def *def)
{
    def->team.teams_per_user_max = 1;
}

Test(team, one_user_opens_no_more_than_the_sale_allows)
{
    struct world world = world_make(one_team_each);
    cr_assert_eq(open_verdict(&world, world.item, CAPTAIN_PRICE), TG_TEAM_LIMIT_REACHED);
    cr_assert_eq(ledger_cancel(world.ledger, world.team), TG_OK);
    cr_assert_eq(open_verdict(&world, world.item, CAPTAIN_PRICE), TG_ACCEPTED);
    world_free(&world);
}

Test(team, an_opening_that_the_storage_refuses_leaves_nothing)
{
    struct world world = world_make(one_team_each);
    struct tg_order order = ledger_order_of(world.ledger, 2, CAPTAIN_PRICE);
    struct eng_decision decision;
    cr_assert_eq(ledger_open(world.ledger, world.item, &order, &decision), ENG_RECORDED);
    ledger_run(world.ledger, false);
    ledger_check_rest(world.ledger);
    cr_assert_eq(
        eng_shard_answer(&world.ledger->engine.shards[0], decision.slot, decision.generation)
            .verdict,
        TG_STORAGE_FULL);
    cr_assert_eq(ledger_open(world.ledger, world.item, &order, &decision), ENG_RECORDED);
    ledger_run(world.ledger, true);
    world_free(&world);
}

static void new_buyers(struct tg_sale_def *def)
{
    def->team.new_buyers_only = true;
}

Test(team, of_new_buyers_takes_no_others)
{
    struct world world = world_make(new_buyers);
    uint64_t other = ledger_opened(world.ledger, world.item, 9);
    ledger_pay(world.ledger, other, 1);
    cr_assert_eq(join_verdict(&world, world.team, 9), TG_NOT_NEW_BUYER); /* has an order here */
    struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
    struct eng_decision decision;
    struct eng_unit unit = {.journal = &world.ledger->journals[0]};
    eng_team_join(&world.ledger->engine.shards[0], world.item, world.team, false, &order,
                  world.ledger->now_ms, &unit, &decision);
    cr_assert_eq(decision.verdict, TG_NOT_NEW_BUYER); /* the platform does not say so */
    cr_assert_eq(join_verdict(&world, world.team, 2), TG_ACCEPTED);
    ledger_cancel(world.ledger, other); /* nothing stands any more */
    cr_assert_eq(join_verdict(&world, world.team, 9), TG_ACCEPTED);
    world_free(&world);
}

Test(team, a_retried_join_gets_the_first_answer)
{
    struct world world = world_make(NULL);
    struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
    struct eng_decision decision;
    cr_assert_eq(ledger_join(world.ledger, world.item, world.team, &order, &decision),
                 ENG_RECORDED);
    cr_assert_eq(ledger_join(world.ledger, world.item, world.team, &order, &decision), ENG_FINAL);
    cr_assert(decision.replayed && decision.in_flight);
    ledger_run(world.ledger, true);
    cr_assert_eq(ledger_join(world.ledger, world.item, world.team, &order, &decision), ENG_FINAL);
    cr_assert(decision.replayed && !decision.in_flight);
    cr_assert_eq(ledger_find(world.ledger, decision.answer.order_id)->row.user_id, 2);
    ledger_open(world.ledger, world.item, &order, &decision); /* the same id opens nothing */
    cr_assert_eq(decision.verdict, TG_REQUEST_ID_CONFLICT);
    world_free(&world);
}

Test(team, a_joiner_has_no_more_time_than_the_team)
{
    struct world world = world_make(NULL);
    ledger_wait(world.ledger, LIFETIME_MS - 60000);
    uint64_t late = join(&world, 2);
    cr_assert_eq(ledger_life(world.ledger, late)->payment_deadline_ms,
                 team_of(&world)->deadline_ms);
    struct eng_command extend = ledger_command(world.ledger, late, ENG_EXTEND_PAYMENT);
    extend.payment_deadline_ms = team_of(&world)->deadline_ms + 1;
    cr_assert_eq(ledger_do(world.ledger, &extend), TG_INVALID_ARGUMENT);
    world_free(&world);
}

static void sell_on_payment(struct tg_sale_def *def)
{
    def->items[0].stock_policy = TG_POLICY_ON_PAYMENT;
    def->items[0].stock_units = 2;
}

Test(team, a_payment_that_finds_no_unit_gives_the_seat_back)
{
    struct world world = world_make(sell_on_payment);
    uint64_t second = join(&world, 2);
    uint64_t third = join(&world, 3);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_OK);
    cr_assert_eq(ledger_pay(world.ledger, third, 1), TG_REFUND_DUE);
    cr_assert_eq(state(&world, third), TG_ORDER_REFUND_DUE);
    cr_assert_eq(team_of(&world)->seat_count, 2);
    world_free(&world);
}

/* What was taken before the last step failed is given back. */
Test(team, without_room_for_timers_nothing_is_taken)
{
    struct world world = world_make(one_team_each);
    struct eng_shard *shard = &world.ledger->engine.shards[0];
    struct tg_order order = ledger_order_of(world.ledger, 2, CAPTAIN_PRICE);
    struct eng_decision decision;
    uint32_t room = eng_wheel_room(shard->wheel) - shard->timers_promised;
    for (uint32_t left = 0; left < 2; left++) {
        shard->timers_promised += room - left;
        ledger_open(world.ledger, world.item, &order, &decision);
        cr_assert_eq(decision.verdict, TG_BUSY);
        if (left == 0)
            cr_assert_eq(join_decision(&world, world.team, 3), TG_BUSY);
        shard->timers_promised -= room - left;
        ledger_check_rest(world.ledger);
    }
    world_free(&world);
}

/* --- leaving --- */

Test(team, who_leaves_gets_the_money_back_and_the_seat_is_free)
{
    struct world world = world_make(NULL);
    uint64_t second = join_paid(&world, 2);
    cr_assert_eq(ledger_cancel(world.ledger, second), TG_OK);
    const struct tg_life *life = ledger_life(world.ledger, second);
    cr_assert_eq(life->state, TG_ORDER_REFUND_DUE);
    cr_assert_eq(life->cancelled_by, TG_CANCELLED_BY_BUYER);
    cr_assert_eq(life->refunds[0].cause, TG_REFUND_CANCELLED);
    cr_assert_eq(team_of(&world)->seat_count, 1);
    cr_assert_eq(join_verdict(&world, world.team, 2), TG_ACCEPTED);
    world_free(&world);
}

Test(team, a_captain_who_leaves_hands_over_to_who_paid_first)
{
    struct world world = world_make(auto_complete);
    uint64_t second = join(&world, 2);
    uint64_t third = join(&world, 3);
    uint64_t fourth = join(&world, 4);
    cr_assert_eq(ledger_pay(world.ledger, third, 1), TG_OK);
    world.ledger->now_ms++;
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_OK);
    cr_assert_eq(ledger_pay(world.ledger, fourth, 1), TG_OK);
    cr_assert_eq(ledger_cancel(world.ledger, world.team), TG_OK);
    cr_assert_eq(team_of(&world)->captain_order_id, third);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_OPEN);
    cr_assert_eq(world.ledger->events[TG_EVENT_TEAM_CAPTAIN_CHANGED], 1);
    world_free(&world);
}

Test(team, is_dissolved_when_nobody_who_paid_is_left)
{
    struct world world = world_make(NULL);
    uint64_t second = join(&world, 2);
    uint64_t third = join(&world, 3);
    cr_assert_eq(ledger_cancel(world.ledger, world.team), TG_OK);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_DISSOLVED);
    cr_assert_eq(state(&world, second), TG_ORDER_CANCELLED);
    cr_assert_eq(ledger_life(world.ledger, third)->cancelled_by, TG_CANCELLED_BY_TEAM);
    cr_assert_eq(eng_item_stock(world.item).available_units, 10);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_REFUND_DUE);
    cr_assert_eq(join_verdict(&world, world.team, 4), TG_TEAM_ENDED);
    world_free(&world);
}

Test(team, a_captain_who_does_not_pay_in_time_dissolves_it)
{
    struct world world = world_make(NULL);
    uint64_t pending = ledger_opened(world.ledger, world.item, 5);
    ledger_wait(world.ledger, WINDOW_MS + 100);
    cr_assert_eq(ledger_team(world.ledger, pending)->state, TG_TEAM_DISSOLVED);
    cr_assert_eq(state(&world, pending), TG_ORDER_EXPIRED);
    cr_assert_eq(ledger_pay(world.ledger, pending, 1), TG_REFUND_DUE); /* no team to go back to */
    cr_assert_eq(state(&world, pending), TG_ORDER_REFUND_DUE);
    world_free(&world);
}

Test(team, a_seat_that_is_not_paid_in_time_is_free_again)
{
    struct world world = world_make(NULL);
    uint64_t second = join(&world, 2);
    ledger_wait(world.ledger, WINDOW_MS + 100);
    cr_assert_eq(state(&world, second), TG_ORDER_EXPIRED);
    cr_assert_eq(team_of(&world)->seat_count, 1);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_OK); /* and can be had again */
    cr_assert_eq(state(&world, second), TG_ORDER_AWAITING_TEAM);
    cr_assert_eq(team_of(&world)->seat_count, 2);
    world_free(&world);
}

Test(team, a_late_payment_finds_its_seat_taken)
{
    struct world world = world_make(NULL);
    uint64_t second = join(&world, 2);
    ledger_wait(world.ledger, WINDOW_MS + 100);
    join(&world, 3);
    join(&world, 4);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_REFUND_DUE);
    cr_assert_eq(state(&world, second), TG_ORDER_REFUND_DUE);
    cr_assert_eq(team_of(&world)->seat_count, 3);
    world_free(&world);
}

Test(team, a_late_payment_can_form_it)
{
    struct world world = world_make(NULL);
    uint64_t second = join(&world, 2);
    join_paid(&world, 3);
    ledger_wait(world.ledger, WINDOW_MS + 100);
    cr_assert_eq(state(&world, second), TG_ORDER_EXPIRED);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_OK);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FORMED);
    world_free(&world);
}

/* Back in the team under another order, the first one has no seat. */
Test(team, a_late_payment_gives_nobody_two_seats)
{
    struct world world = world_make(NULL);
    uint64_t first = join(&world, 2);
    ledger_wait(world.ledger, WINDOW_MS + 100);
    join(&world, 2);
    cr_assert_eq(ledger_pay(world.ledger, first, 1), TG_REFUND_DUE);
    world_free(&world);
}

/* The pools are nearly empty: the order itself would have room, its team has not. */
Test(team, without_room_for_its_members_nobody_leaves_or_pays)
{
    struct world world = world_make(NULL);
    uint64_t second = join(&world, 2);
    struct eng_shard *shard = &world.ledger->engine.shards[0];
    struct eng_command leave = ledger_command(world.ledger, world.team, ENG_CANCEL);
    struct eng_command pay = ledger_payment(world.ledger, second, 1);
    struct eng_result result;
    leave.cancelled_by = TG_CANCELLED_BY_BUYER;
    shard->changes_used += TG_CHANGES_MAX - 1;
    cr_assert_eq(ledger_change(world.ledger, &leave, &result), ENG_FINAL);
    cr_assert_eq(result.verdict, TG_BUSY);
    cr_assert_eq(ledger_change(world.ledger, &pay, &result), ENG_FINAL);
    cr_assert_eq(result.verdict, TG_BUSY);
    cr_assert_eq(join_decision(&world, world.team, 3), TG_BUSY);
    world.ledger->now_ms += WINDOW_MS + 100;
    cr_assert_eq(ledger_fire(world.ledger), 1); /* the sale's start */
    shard->changes_used -= TG_CHANGES_MAX - 1;
    ledger_run(world.ledger, true);
    ledger_check_rest(world.ledger);
    ledger_wait(world.ledger, 1000);
    cr_assert_eq(state(&world, second), TG_ORDER_EXPIRED); /* its timer came again */
    world_free(&world);
}

/* --- the deadline --- */

Test(team, fails_at_its_deadline)
{
    struct world world = world_make(NULL);
    uint64_t second = join_paid(&world, 2);
    ledger_wait(world.ledger, LIFETIME_MS - 60000);
    uint64_t third = join(&world, 3);
    ledger_wait(world.ledger, 60100);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FAILED);
    cr_assert_eq(state(&world, second), TG_ORDER_REFUND_DUE);
    cr_assert_eq(ledger_life(world.ledger, second)->refunds[0].cause, TG_REFUND_TEAM_FAILED);
    cr_assert_neq(ledger_life(world.ledger, second)->ended_at_ms, 0);
    cr_assert(state(&world, third) == TG_ORDER_CANCELLED ||
              state(&world, third) == TG_ORDER_EXPIRED);
    cr_assert_eq(eng_item_stock(world.item).available_units, 10);
    cr_assert_eq(world.ledger->events[TG_EVENT_ORDER_TEAM_FAILED], 2);
    world_free(&world);
}

Test(team, a_failure_that_the_storage_refuses_comes_again)
{
    struct world world = world_make(NULL);
    world.ledger->now_ms += LIFETIME_MS + 100;
    ledger_fire(world.ledger);
    ledger_run(world.ledger, false);
    ledger_check_rest(world.ledger);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_OPEN);
    ledger_wait(world.ledger, 1100);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FAILED);
    world_free(&world);
}

Test(team, completes_itself_when_enough_have_paid)
{
    struct world world = world_make(auto_complete);
    uint64_t second = join_paid(&world, 2);
    ledger_wait(world.ledger, LIFETIME_MS - 60000);
    uint64_t third = join(&world, 3);
    ledger_wait(world.ledger, 60100);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FORMED);
    cr_assert(team_of(&world)->auto_completed);
    cr_assert_eq(team_of(&world)->seat_count, 2);
    cr_assert_eq(state(&world, second), TG_ORDER_CONFIRMED);
    cr_assert_neq(state(&world, third), TG_ORDER_RESERVED);
    cr_assert_eq(eng_item_stock(world.item).sold_units, 2);
    world_free(&world);
}

Test(team, fails_when_too_few_have_paid_to_complete)
{
    struct world world = world_make(auto_complete);
    join(&world, 2);
    ledger_wait(world.ledger, WINDOW_MS + 100);
    ledger_wait(world.ledger, LIFETIME_MS);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FAILED);
    world_free(&world);
}

Test(team, settles_the_ladder_price_when_it_forms)
{
    struct world world = world_make(auto_complete);
    uint64_t orders[4];
    for (uint64_t i = 0; i < 4; i++)
        orders[i] = join_paid(&world, 2 + i);
    cr_assert_eq(team_of(&world)->state, TG_TEAM_STATE_FORMED);
    cr_assert_eq(team_of(&world)->unit_price_minor, 70);
    for (uint64_t i = 0; i < 4; i++) {
        const struct tg_life *life = ledger_life(world.ledger, orders[i]);
        cr_assert(life->state == TG_ORDER_CONFIRMED && life->refund_due_minor == 30);
        cr_assert_eq(life->refunds[0].cause, TG_REFUND_LADDER);
    }
    struct eng_command paid_back = ledger_command(world.ledger, orders[0], ENG_RECORD_REFUND);
    paid_back.refund_number = 1;
    cr_assert_eq(ledger_do(world.ledger, &paid_back), TG_OK);
    cr_assert_eq(state(&world, orders[0]), TG_ORDER_CONFIRMED);
    world_free(&world);
}

static void cheap_captain(struct tg_sale_def *def)
{
    auto_complete(def);
    def->items[0].captain_price_minor = CAPTAIN_PRICE;
}

Test(team, a_captain_gets_back_what_is_above_the_settled_price)
{
    struct world world = world_make(cheap_captain);
    join_paid(&world, 2);
    ledger_wait(world.ledger, LIFETIME_MS + 100);
    cr_assert_eq(team_of(&world)->unit_price_minor, 90);
    cr_assert_eq(ledger_life(world.ledger, world.team)->refund_due_minor, 0);
    world_free(&world);
}

/* --- races --- */

Test(team_race, the_last_payment_and_the_deadline)
{
    for (int payment_first = 0; payment_first < 2; payment_first++) {
        struct world world = world_make(NULL);
        ledger_wait(world.ledger, LIFETIME_MS - 60000);
        join_paid(&world, 2);
        uint64_t third = join(&world, 3);
        struct eng_command pay = ledger_payment(world.ledger, third, 1);
        struct eng_result result;
        world.ledger->now_ms = team_of(&world)->deadline_ms + 100;
        if (payment_first) {
            cr_assert_eq(ledger_change(world.ledger, &pay, &result), ENG_RECORDED);
            cr_assert_eq(ledger_fire(world.ledger), 0);
        } else {
            cr_assert_eq(ledger_fire(world.ledger), 1); /* one of its two timers; then a lock */
            cr_assert_eq(ledger_change(world.ledger, &pay, &result), ENG_WAIT);
        }
        ledger_run(world.ledger, true);
        ledger_check_rest(world.ledger);
        ledger_wait(world.ledger, 1000);
        if (!payment_first)
            cr_assert_eq(ledger_do(world.ledger, &pay), TG_REFUND_DUE);
        cr_assert_eq(team_of(&world)->state,
                     payment_first ? TG_TEAM_STATE_FORMED : TG_TEAM_STATE_FAILED);
        world_free(&world);
    }
}

Test(team_race, a_join_at_the_deadline)
{
    for (int join_first = 0; join_first < 2; join_first++) {
        struct world world = world_make(NULL);
        struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
        struct eng_decision decision;
        int64_t deadline_ms = team_of(&world)->deadline_ms;
        world.ledger->now_ms = join_first ? deadline_ms - 1 : deadline_ms + 100;
        if (!join_first)
            ledger_fire(world.ledger);
        enum eng_step step = ledger_join(world.ledger, world.item, world.team, &order, &decision);
        cr_assert_eq(step, join_first ? ENG_RECORDED : ENG_WAIT);
        world.ledger->now_ms = deadline_ms + 200;
        ledger_fire(world.ledger); /* locked either way */
        ledger_run(world.ledger, true);
        ledger_check_rest(world.ledger);
        ledger_wait(world.ledger, 1000);
        cr_assert_eq(join_verdict(&world, world.team, 3), TG_TEAM_ENDED);
        world_free(&world);
    }
}

Test(team_race, the_captain_leaves_while_somebody_joins)
{
    for (int join_first = 0; join_first < 2; join_first++) {
        struct world world = world_make(NULL);
        struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
        struct eng_command leave = ledger_command(world.ledger, world.team, ENG_CANCEL);
        struct eng_decision decision;
        struct eng_result result;
        leave.cancelled_by = TG_CANCELLED_BY_BUYER;
        if (join_first) {
            cr_assert_eq(ledger_join(world.ledger, world.item, world.team, &order, &decision),
                         ENG_RECORDED);
            cr_assert_eq(ledger_change(world.ledger, &leave, &result), ENG_WAIT);
        } else {
            cr_assert_eq(ledger_change(world.ledger, &leave, &result), ENG_RECORDED);
            cr_assert_eq(ledger_join(world.ledger, world.item, world.team, &order, &decision),
                         ENG_WAIT);
        }
        ledger_run(world.ledger, true);
        ledger_check_rest(world.ledger);
        if (join_first) {
            cr_assert_eq(ledger_do(world.ledger, &leave), TG_OK);
        } else {
            cr_assert_eq(join_verdict(&world, world.team, 2), TG_TEAM_ENDED);
        }
        cr_assert_eq(team_of(&world)->state, TG_TEAM_DISSOLVED);
        cr_assert_eq(eng_item_stock(world.item).available_units, 10);
        world_free(&world);
    }
}

/* --- start --- */

Test(team, its_timer_and_its_openers_count_are_put_back)
{
    struct world world = world_make(one_team_each);
    struct tg_fault fault;
    struct eng_shard *shard = &world.ledger->engine.shards[0];
    uint32_t timers = eng_wheel_count(shard->wheel);
    uint32_t held = eng_holdings_units(&shard->holdings, 1, ENG_HELD_TEAMS | 0);
    cr_assert_eq(eng_engine_restore_team(&world.ledger->engine, team_of(&world), &fault),
                 TG_ERR_OK);
    cr_assert_eq(eng_wheel_count(shard->wheel), timers + 1);
    cr_assert_eq(eng_holdings_units(&shard->holdings, 1, ENG_HELD_TEAMS | 0), held + 1);
    ledger_destroy(world.ledger);
}
