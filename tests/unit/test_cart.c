/* Carts: several items, one order, all or nothing; on one shard and on two. */
#include "engine/change.h"
#include "tests/lib/ledger.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    PRICE = 100,
};

/* Two shards; items 0 and 2 on the first, 1 and 3 on the second; 4 and 5 sell at once. */
struct world {
    struct ledger *ledger;
    struct eng_item *items;
    struct eng_decision decision;
    struct eng_take take;
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
};

static struct world world_make(void)
{
    struct world world = {.ledger = ledger_create(2)};
    struct tg_sale_def *def = ledger_sale(1, 6);
    def->items[0].per_user_limit = 3;
    def->items[4].stock_policy = TG_POLICY_ON_PLACE;
    def->items[5].stock_policy = TG_POLICY_ON_PLACE;
    world.items = ledger_add(world.ledger, def);
    return world;
}

static void world_free(struct world *world)
{
    ledger_check_rest(world->ledger);
    ledger_destroy(world->ledger);
}

/* `quantity` units of each of two items, of user 1. */
static struct eng_cart cart_of(struct world *world, uint32_t first, uint32_t second,
                               uint32_t quantity)
{
    struct tg_order order = ledger_order_of(world->ledger, 1, 0);
    struct eng_cart cart = {.user_id = 1, .asked_count = 2, .line_count = 2, .line_of = {0, 1}};
    memcpy(cart.request_id, order.request_id, TG_REQUEST_ID_BYTES);
    cart.wrong[0] = cart.wrong[1] = TG_ACCEPTED;
    cart.lines[0] = (struct tg_line){world->items[first].item, quantity, PRICE};
    cart.lines[1] = (struct tg_line){world->items[second].item, quantity, PRICE};
    return cart;
}

static enum eng_step place(struct world *world, const struct eng_cart *cart,
                           enum eng_acquired acquired)
{
    uint32_t home = world->ledger->engine.catalog.items[cart->lines[0].item].shard;
    struct eng_unit unit = {.journal = &world->ledger->journals[home]};
    enum eng_step step =
        eng_cart_place(&world->ledger->engine.shards[home], cart, acquired, world->ledger->now_ms,
                       &unit, &world->take, &world->decision, world->refusals);
    if (unit.count > 0)
        tg_journal_append_unit(unit.journal, unit.count);
    return step;
}

static bool hold(struct world *world, uint32_t shard)
{
    return eng_take_hold(&world->ledger->engine.shards[shard], &world->take, world->ledger->now_ms,
                         world->refusals);
}

/* The order of a cart that spreads over both shards, durable. */
static uint64_t spread_order(struct world *world, uint32_t quantity)
{
    struct eng_cart cart = cart_of(world, 0, 1, quantity);
    cr_assert_eq(place(world, &cart, ENG_NOT_ASKED), ENG_ACQUIRE);
    cr_assert(hold(world, 0) && hold(world, 1));
    cr_assert_eq(place(world, &cart, ENG_TAKEN), ENG_RECORDED);
    ledger_run(world->ledger, true);
    ledger_check_rest(world->ledger);
    return world->ledger->orders[world->ledger->order_count - 1].row.order_id;
}

static struct tg_stock stock(const struct world *world, uint32_t item)
{
    return eng_item_stock(&world->items[item]);
}

Test(cart, on_one_shard_is_decided_at_once)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 2, 2);
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_RECORDED);
    ledger_run(world.ledger, true);
    const struct ledger_order *order = &world.ledger->orders[0];
    cr_assert(order->row.line_count == 2 && order->row.quantity == 4);
    cr_assert_eq(order->life.amount_minor, 4 * PRICE);
    cr_assert(stock(&world, 0).reserved_units == 2 && stock(&world, 2).reserved_units == 2);
    world_free(&world);
}

Test(cart, is_refused_as_a_whole_and_names_each_line)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 2, 0, 4);
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_LIMIT_REACHED);
    cr_assert(world.refusals[0] == TG_ACCEPTED && world.refusals[1] == TG_LIMIT_REACHED);
    cart.lines[0].unit_price_minor++;
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert_eq(world.decision.verdict, TG_PRICE_CHANGED);
    cr_assert(world.refusals[0] == TG_PRICE_CHANGED && world.refusals[1] == TG_LIMIT_REACHED);
    world_free(&world);
}

Test(cart, with_an_unknown_item_tells_of_the_other_lines_too)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 2, 11);
    cart.asked_count = 3;
    cart.line_of[2] = 1;
    cart.wrong[1] = TG_UNKNOWN_ITEM;
    cart.wrong[2] = TG_ACCEPTED;
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_INSUFFICIENT_STOCK); /* of the first line */
    cr_assert_eq(world.refusals[1], TG_INSUFFICIENT_STOCK);
    cart.lines[0].quantity = 1;
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert_eq(world.decision.verdict, TG_UNKNOWN_ITEM);
    world_free(&world);
}

Test(cart, is_of_one_policy_and_no_group_buy)
{
    struct world world = world_make();
    struct eng_item *team = ledger_add(world.ledger, ledger_group_buy(2, 2));
    struct eng_cart cart = cart_of(&world, 0, 4, 1);
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_INVALID_ARGUMENT);
    cr_assert_eq(world.decision.field, TG_FIELD_LINES_POLICY);
    cart.lines[0].item = team[0].item;
    cart.lines[1].item = team[1].item;
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert_eq(world.decision.field, TG_FIELD_LINES_POLICY);
    world_free(&world);
}

Test(cart, has_an_amount_that_can_be_paid)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 2, TG_QUANTITY_MAX);
    cart.lines[0].unit_price_minor = cart.lines[1].unit_price_minor = TG_PRICE_MINOR_MAX;
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_FINAL);
    cr_assert_eq(world.decision.field, TG_FIELD_LINE_PRICE);
    cart.lines[0].quantity++;
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert_eq(world.decision.field, TG_FIELD_LINE_QUANTITY);
    world_free(&world);
}

Test(cart, over_two_shards_is_one_order)
{
    struct world world = world_make();
    uint64_t order = spread_order(&world, 2);
    cr_assert(stock(&world, 0).reserved_units == 2 && stock(&world, 1).reserved_units == 2);
    cr_assert_eq(ledger_pay(world.ledger, order, 1), TG_OK);
    cr_assert(stock(&world, 0).sold_units == 2 && stock(&world, 1).sold_units == 2);
    world_free(&world);
}

Test(cart, cancelled_gives_back_on_both_shards)
{
    struct world world = world_make();
    uint64_t order = spread_order(&world, 3);
    cr_assert_eq(ledger_cancel(world.ledger, order), TG_OK);
    cr_assert(stock(&world, 0).available_units == 10 && stock(&world, 1).available_units == 10);
    spread_order(&world, 3); /* the limit is free again */
    world_free(&world);
}

Test(cart, that_one_shard_cannot_hold_moves_nothing)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 1, 3);
    cart.lines[1].quantity = 11;
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_ACQUIRE);
    cr_assert(hold(&world, 0));
    cr_assert_not(hold(&world, 1));
    cr_assert_eq(world.refusals[1], TG_INSUFFICIENT_STOCK);
    eng_take_release(&world.ledger->engine.shards[0], &world.take);
    world_free(&world);
}

Test(cart, refused_by_the_storage_gives_back_on_both_shards)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 1, 2);
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_ACQUIRE);
    cr_assert(hold(&world, 0) && hold(&world, 1));
    cr_assert_eq(place(&world, &cart, ENG_TAKEN), ENG_RECORDED);
    ledger_run(world.ledger, false);
    ledger_check_rest(world.ledger);
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_ACQUIRE); /* as if never sent */
    world_free(&world);
}

Test(cart, a_retry_gets_the_first_answer)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 2, 1);
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert_eq(place(&world, &cart, ENG_NOT_ASKED), ENG_FINAL);
    cr_assert(world.decision.replayed && world.decision.in_flight);
    cart.lines[1].quantity++;
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert_eq(world.decision.verdict, TG_REQUEST_ID_CONFLICT);
    ledger_run(world.ledger, true);
    world_free(&world);
}

/* Two copies of one cart asked the shards at the same time: one order, and the other lets go. */
Test(cart, sent_twice_at_once_is_one_order)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 0, 1, 1);
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert(hold(&world, 0) && hold(&world, 1));
    cr_assert(hold(&world, 0) && hold(&world, 1));
    cr_assert_eq(place(&world, &cart, ENG_TAKEN), ENG_RECORDED);
    struct eng_take take = {.line_count = 0};
    eng_take_of_change(&take, world.ledger->journals[0].records[0].change);
    cr_assert_eq(place(&world, &cart, ENG_TAKEN), ENG_FINAL);
    cr_assert(world.decision.replayed);
    for (uint32_t i = 0; i < 2; i++)
        eng_take_release(&world.ledger->engine.shards[i], &take);
    ledger_run(world.ledger, true);
    cr_assert_eq(world.ledger->order_count, 1);
    world_free(&world);
}

/* --- races --- */

Test(cart_race, the_last_unit_goes_to_whoever_holds_it)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 2, 3, 10);
    struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert(hold(&world, 1));
    /* the order meets a hold: not sold out, perhaps */
    cr_assert_eq(ledger_place(world.ledger, &world.items[3], &order).verdict, TG_BUSY);
    cr_assert(hold(&world, 0));
    place(&world, &cart, ENG_TAKEN);
    ledger_run(world.ledger, true);
    cr_assert_eq(ledger_place(world.ledger, &world.items[3], &order).verdict, TG_SOLD_OUT);
    world_free(&world);
}

Test(cart_race, an_order_that_was_first_leaves_too_few)
{
    struct world world = world_make();
    struct eng_cart cart = cart_of(&world, 2, 3, 10);
    struct tg_order order = ledger_order_of(world.ledger, 2, PRICE);
    place(&world, &cart, ENG_NOT_ASKED);
    cr_assert(hold(&world, 0));
    cr_assert_eq(ledger_place(world.ledger, &world.items[3], &order).verdict, TG_ACCEPTED);
    cr_assert_not(hold(&world, 1));
    eng_take_release(&world.ledger->engine.shards[0], &world.take);
    ledger_run(world.ledger, true);
    cr_assert_eq(stock(&world, 2).available_units, 10);
    world_free(&world);
}

/* --- late payments --- */

static enum eng_step pay(struct world *world, const struct eng_command *command,
                         enum eng_acquired acquired, struct eng_result *result)
{
    struct eng_unit unit = {.journal = &world->ledger->journals[0]};
    enum eng_step step = eng_life_change(&world->ledger->engine.shards[0], command, acquired,
                                         world->ledger->now_ms, &unit, &world->take, result);
    if (unit.count > 0)
        tg_journal_append_unit(unit.journal, unit.count);
    return step;
}

Test(cart, paid_late_takes_its_units_on_both_shards_again)
{
    struct world world = world_make();
    uint64_t order = spread_order(&world, 2);
    struct eng_result result;
    ledger_wait(world.ledger, 1000000);
    cr_assert_eq(ledger_state(world.ledger, order), TG_ORDER_EXPIRED);
    struct eng_command command = ledger_payment(world.ledger, order, 1);
    cr_assert_eq(pay(&world, &command, ENG_NOT_ASKED, &result), ENG_ACQUIRE);
    struct eng_take take = world.take;
    cr_assert_eq(pay(&world, &command, ENG_NOT_ASKED, &result), ENG_WAIT); /* it is locked */
    world.take = take;
    cr_assert(hold(&world, 0) && hold(&world, 1));
    cr_assert_eq(pay(&world, &command, ENG_TAKEN, &result), ENG_RECORDED);
    cr_assert_eq(result.verdict, TG_OK);
    ledger_run(world.ledger, true);
    cr_assert_eq(ledger_state(world.ledger, order), TG_ORDER_CONFIRMED);
    cr_assert(stock(&world, 0).sold_units == 2 && stock(&world, 1).sold_units == 2);
    world_free(&world);
}

Test(cart, paid_late_without_units_goes_back)
{
    struct world world = world_make();
    uint64_t order = spread_order(&world, 2);
    struct eng_result result;
    ledger_wait(world.ledger, 1000000);
    struct eng_command command = ledger_payment(world.ledger, order, 1);
    cr_assert_eq(pay(&world, &command, ENG_NOT_ASKED, &result), ENG_ACQUIRE);
    cr_assert_eq(pay(&world, &command, ENG_TAKE_BUSY, &result), ENG_FINAL);
    cr_assert_eq(result.verdict, TG_BUSY);
    ledger_check_rest(world.ledger); /* unlocked */
    cr_assert_eq(pay(&world, &command, ENG_NOT_ASKED, &result), ENG_ACQUIRE);
    cr_assert_eq(pay(&world, &command, ENG_NOT_TAKEN, &result), ENG_RECORDED);
    cr_assert_eq(result.verdict, TG_REFUND_DUE);
    ledger_run(world.ledger, true);
    cr_assert_eq(ledger_state(world.ledger, order), TG_ORDER_REFUND_DUE);
    world_free(&world);
}
