/* Taking units of several items: one by one, then random takes against a naive model. */
#include "engine/cart.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0x74616b65ull

enum {
    NOW = 1500,
    STARTS = 1000,
    ENDS = 100000,
    PRICE = 100,
    SHARDS = 2,
    ITEMS = 6,
    STOCK = 10,
    LIMIT = 6,
    SHARED = 7, /* the channel with a share of half */
};

/* Even items belong to shard 0, odd ones to shard 1. All have 10 units; items 0 and 1 a limit of 6
 * for each user and at most 5 in one order. */
struct world {
    struct eng_engine engine;
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
};

static void world_make(struct world *world, uint32_t holdings_max)
{
    struct eng_config config = {
        .shards = SHARDS,
        .sales_max = 1,
        .items_max = ITEMS,
        .orders_max = 8,
        .holdings_max = holdings_max,
        .timers_max = 8,
        .request_ttl_ms = 1000,
        .hash_seed = 3,
    };
    struct tg_fault fault;
    bool full;
    memset(world, 0, sizeof(*world));
    cr_assert_eq(eng_engine_create(&config, &world->engine, &fault), TG_ERR_OK);
    struct tg_sale_def *def = tg_sale_def_create(ITEMS);
    def->sale_id = 1;
    def->kind = TG_SALE_SECKILL;
    def->starts_at_ms = STARTS;
    def->ends_at_ms = ENDS;
    def->share_count = 1;
    def->shares[0] = (struct tg_channel_share){.channel = SHARED, .percent = 50};
    for (uint32_t i = 0; i < ITEMS; i++) {
        def->items[i].sku_bytes = 1;
        def->items[i].sku[0] = (uint8_t)('A' + i);
        def->items[i].sale_price_minor = PRICE;
        def->items[i].stock_units = STOCK;
        def->items[i].per_user_limit = i < 2 ? LIMIT : 0;
        def->items[i].per_order_max = i < 2 ? 5 : 0;
        def->items[i].stock_policy = TG_POLICY_RESERVE;
    }
    cr_assert_eq(eng_catalog_prepare(&world->engine.catalog, def, &full), TG_OK);
    eng_engine_publish_sale(&world->engine, def);
    free(def);
}

static struct eng_item *item_at(struct world *world, uint32_t item)
{
    return &world->engine.catalog.items[item];
}

/* A new order of user 42 for `first` and, unless it is 0, the item behind it. */
static struct eng_take cart(uint32_t item, uint32_t first, uint32_t second)
{
    struct eng_take take = {
        .user_id = 42,
        .line_count = second ? 2 : 1,
        .units_before = TG_UNITS_NONE,
        .units_after = TG_UNITS_RESERVED,
        .stands_after = true,
    };
    take.lines[0] = (struct tg_line){item, first, PRICE};
    take.lines[1] = (struct tg_line){item + 1, second, PRICE};
    return take;
}

static bool take_now(struct world *world, uint32_t shard, const struct eng_take *take)
{
    return eng_take_now(&world->engine.shards[shard], take, NOW, world->refusals);
}

static bool hold(struct world *world, uint32_t shard, const struct eng_take *take)
{
    return eng_take_hold(&world->engine.shards[shard], take, NOW, world->refusals);
}

static void settle(struct world *world, uint32_t shard, struct eng_take *take, bool held,
                   bool durable)
{
    take->held = held;
    take->durable = durable;
    eng_take_settle(&world->engine.shards[shard], take);
}

static void expect_stock(struct world *world, uint32_t item, uint32_t available, uint32_t reserved,
                         uint32_t sold, uint32_t held)
{
    struct tg_stock stock = eng_item_stock(item_at(world, item));
    cr_assert_eq(stock.available_units, available, "item %u: %u available", item,
                 stock.available_units);
    cr_assert_eq(stock.reserved_units, reserved, "item %u: %u reserved", item,
                 stock.reserved_units);
    cr_assert_eq(stock.sold_units, sold, "item %u: %u sold", item, stock.sold_units);
    cr_assert_eq(item_at(world, item)->stock.held_units, held, "item %u: %u held", item,
                 item_at(world, item)->stock.held_units);
}

static uint32_t held_by(struct world *world, uint64_t user_id, uint32_t item)
{
    return eng_holdings_units(&world->engine.shards[item % SHARDS].holdings, user_id, item);
}

/* --- holding --- */

Test(take, a_shard_holds_its_own_lines_alone)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 4);
    cr_assert_eq(eng_take_shards(&world.engine, &take), 3);
    cr_assert(hold(&world, 0, &take));
    expect_stock(&world, 0, 7, 3, 0, 3);
    expect_stock(&world, 1, 10, 0, 0, 0);
    cr_assert_eq(held_by(&world, 42, 0), 3);
    cr_assert_eq(held_by(&world, 42, 1), 0);
    cr_assert(hold(&world, 1, &take));
    expect_stock(&world, 1, 6, 4, 0, 4);
    eng_engine_destroy(&world.engine);
}

Test(take, what_is_released_was_never_there)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 0);
    take.channel = SHARED;
    cr_assert(hold(&world, 0, &take));
    cr_assert_eq(world.engine.shards[0].holdings.count, 2);
    eng_take_release(&world.engine.shards[0], &take);
    expect_stock(&world, 0, 10, 0, 0, 0);
    cr_assert_eq(world.engine.shards[0].holdings.count, 0);
    cr_assert_eq(item_at(&world, 0)->orders_in_flight, 0);
    eng_engine_destroy(&world.engine);
}

Test(take, what_is_held_and_durable_is_the_orders)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 2);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        cr_assert(hold(&world, shard, &take));
        settle(&world, shard, &take, true, true);
    }
    expect_stock(&world, 0, 7, 3, 0, 0);
    expect_stock(&world, 1, 8, 2, 0, 0);
    cr_assert_eq(held_by(&world, 42, 1), 2);
    cr_assert_eq(item_at(&world, 1)->orders_in_flight, 0);
    eng_engine_destroy(&world.engine);
}

Test(take, what_is_held_and_refused_comes_back)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 0);
    cr_assert(hold(&world, 0, &take));
    settle(&world, 0, &take, true, false);
    expect_stock(&world, 0, 10, 0, 0, 0);
    cr_assert_eq(held_by(&world, 42, 0), 0);
    eng_engine_destroy(&world.engine);
}

Test(take, an_order_that_fails_for_held_units_alone_is_busy)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take held = cart(2, 8, 0), small = cart(2, 3, 0), large = cart(2, 11, 0);
    cr_assert(hold(&world, 0, &held));
    cr_assert_not(take_now(&world, 0, &small));
    cr_assert_eq(world.refusals[0], TG_BUSY);
    cr_assert_not(take_now(&world, 0, &large));
    cr_assert_eq(world.refusals[0], TG_INSUFFICIENT_STOCK);
    settle(&world, 0, &held, true, true);
    cr_assert_not(take_now(&world, 0, &small));
    cr_assert_eq(world.refusals[0], TG_INSUFFICIENT_STOCK, "they will not come back");
    eng_engine_destroy(&world.engine);
}

/* --- all or nothing --- */

Test(take, one_line_that_fails_leaves_all_where_they_were)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 0);
    take.line_count = 3;
    take.lines[1] = (struct tg_line){.item = 2, .quantity = 11};
    take.lines[2] = (struct tg_line){.item = 4, .quantity = 12};
    cr_assert_not(take_now(&world, 0, &take));
    cr_assert_eq(world.refusals[0], TG_ACCEPTED);
    cr_assert_eq(world.refusals[1], TG_INSUFFICIENT_STOCK);
    cr_assert_eq(world.refusals[2], TG_INSUFFICIENT_STOCK, "each that failed is named");
    expect_stock(&world, 0, 10, 0, 0, 0);
    cr_assert_eq(world.engine.shards[0].holdings.count, 0);
    eng_engine_destroy(&world.engine);
}

Test(take, a_table_that_fills_up_midway_leaves_nothing_behind)
{
    struct world world;
    world_make(&world, 1);
    struct eng_take take = cart(0, 3, 0);
    take.channel = SHARED;
    take.line_count = 2;
    take.lines[1] = (struct tg_line){.item = 2, .quantity = 1};
    cr_assert_not(take_now(&world, 0, &take));
    cr_assert_eq(world.refusals[0], TG_BUSY);
    take.channel = 0;
    cr_assert(take_now(&world, 0, &take), "one entry fits");
    eng_engine_destroy(&world.engine);
}

Test(take, a_full_table_takes_back_the_lines_before_it)
{
    struct world world;
    world_make(&world, 2);
    struct eng_take take = cart(2, 3, 0);
    take.channel = SHARED;
    take.line_count = 2;
    take.lines[1] = (struct tg_line){.item = 0, .quantity = 1}; /* an entry too many */
    cr_assert_not(take_now(&world, 0, &take));
    cr_assert_eq(world.refusals[0], TG_ACCEPTED);
    cr_assert_eq(world.refusals[1], TG_BUSY);
    cr_assert_eq(world.engine.shards[0].holdings.count, 0);
    expect_stock(&world, 2, 10, 0, 0, 0);
    eng_engine_destroy(&world.engine);
}

/* --- the gate --- */

static enum tg_verdict gated(struct world *world, struct eng_take take, int64_t now_ms)
{
    take.gated = true;
    bool taken = eng_take_now(&world->engine.shards[0], &take, now_ms, world->refusals);
    cr_assert_eq(taken, world->refusals[0] == TG_ACCEPTED);
    return world->refusals[0];
}

Test(take, a_gated_line_is_held_against_window_price_and_maximum)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 5, 0), dear = take, large = cart(0, 6, 0);
    dear.lines[0].unit_price_minor++;
    cr_assert_eq(gated(&world, take, STARTS - 1), TG_NOT_STARTED);
    cr_assert_eq(gated(&world, take, ENDS), TG_ENDED);
    cr_assert_eq(gated(&world, dear, NOW), TG_PRICE_CHANGED);
    cr_assert_eq(gated(&world, large, NOW), TG_INVALID_ARGUMENT);
    cr_assert_eq(gated(&world, take, NOW), TG_ACCEPTED);
    expect_stock(&world, 0, 5, 5, 0, 0);
    eng_engine_destroy(&world.engine);
}

Test(take, a_line_that_is_not_gated_is_held_against_stock_and_limit)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 6, 0), more = cart(0, 1, 0), other = cart(0, 5, 0);
    take.lines[0].unit_price_minor = 1;
    cr_assert(eng_take_now(&world.engine.shards[0], &take, ENDS, world.refusals));
    cr_assert_not(take_now(&world, 0, &more));
    cr_assert_eq(world.refusals[0], TG_LIMIT_REACHED);
    other.user_id = 43;
    cr_assert_not(take_now(&world, 0, &other));
    cr_assert_eq(world.refusals[0], TG_INSUFFICIENT_STOCK);
    eng_engine_destroy(&world.engine);
}

Test(take, a_share_counts_for_carts_as_well)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(2, 5, 0), more = cart(2, 1, 0);
    take.channel = more.channel = SHARED;
    cr_assert(take_now(&world, 0, &take));
    cr_assert_not(take_now(&world, 0, &more));
    cr_assert_eq(world.refusals[0], TG_CHANNEL_SHARE_REACHED);
    more.channel = 0;
    cr_assert(take_now(&world, 0, &more));
    eng_engine_destroy(&world.engine);
}

/* --- what a change does, and when: the table of engine/cart.h --- */

Test(take, a_payment_sells_what_was_reserved_when_it_is_durable)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take order = cart(0, 3, 0), paid = order;
    cr_assert(take_now(&world, 0, &order));
    settle(&world, 0, &order, false, true);
    paid.units_before = TG_UNITS_RESERVED;
    paid.units_after = TG_UNITS_SOLD;
    paid.stands_before = true;
    settle(&world, 0, &paid, false, false);
    expect_stock(&world, 0, 7, 3, 0, 0);
    settle(&world, 0, &paid, false, true);
    expect_stock(&world, 0, 7, 0, 3, 0);
    cr_assert_eq(held_by(&world, 42, 0), 3, "it stands as before");
    eng_engine_destroy(&world.engine);
}

Test(take, units_and_limits_come_back_when_the_end_is_durable)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take order = cart(0, 3, 0), ended = order;
    cr_assert(take_now(&world, 0, &order));
    settle(&world, 0, &order, false, true);
    ended.units_before = TG_UNITS_RESERVED;
    ended.units_after = TG_UNITS_NONE;
    ended.stands_before = true;
    ended.stands_after = false;
    settle(&world, 0, &ended, false, false);
    expect_stock(&world, 0, 7, 3, 0, 0);
    cr_assert_eq(held_by(&world, 42, 0), 3);
    settle(&world, 0, &ended, false, true);
    expect_stock(&world, 0, 10, 0, 0, 0);
    cr_assert_eq(held_by(&world, 42, 0), 0);
    eng_engine_destroy(&world.engine);
}

Test(take, a_refund_can_keep_the_units_and_lets_the_limit_go)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take order = cart(0, 3, 0), refunded = order;
    order.units_after = TG_UNITS_SOLD;
    cr_assert(take_now(&world, 0, &order));
    settle(&world, 0, &order, false, true);
    refunded.units_before = refunded.units_after = TG_UNITS_SOLD;
    refunded.stands_before = true;
    refunded.stands_after = false;
    settle(&world, 0, &refunded, false, true);
    expect_stock(&world, 0, 7, 0, 3, 0);
    cr_assert_eq(held_by(&world, 42, 0), 0);
    eng_engine_destroy(&world.engine);
}

Test(take, an_order_that_takes_nothing_needs_its_units_to_be_there)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take order = cart(0, 3, 0), paid = order, all = cart(0, 8, 0);
    order.units_after = TG_UNITS_NONE; /* ON_PAYMENT */
    cr_assert(hold(&world, 0, &order));
    expect_stock(&world, 0, 10, 0, 0, 0);
    cr_assert_eq(held_by(&world, 42, 0), 3, "it stands");
    settle(&world, 0, &order, true, true);
    paid.units_after = TG_UNITS_SOLD;
    paid.stands_before = true;
    cr_assert(take_now(&world, 0, &paid));
    settle(&world, 0, &paid, false, true);
    expect_stock(&world, 0, 7, 0, 3, 0);
    cr_assert_eq(held_by(&world, 42, 0), 3, "once");
    all.user_id = 43;
    all.units_after = TG_UNITS_NONE;
    cr_assert_not(take_now(&world, 0, &all));
    cr_assert_eq(world.refusals[0], TG_INSUFFICIENT_STOCK);
    eng_engine_destroy(&world.engine);
}

Test(take, an_expired_order_that_is_paid_takes_units_and_limit_again)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take late = cart(0, 4, 0), other = cart(0, 4, 0);
    late.units_after = TG_UNITS_SOLD;
    cr_assert(take_now(&world, 0, &late));
    expect_stock(&world, 0, 6, 0, 4, 0);
    cr_assert_not(take_now(&world, 0, &other));
    cr_assert_eq(world.refusals[0], TG_LIMIT_REACHED);
    settle(&world, 0, &late, false, false);
    expect_stock(&world, 0, 10, 0, 0, 0);
    cr_assert(take_now(&world, 0, &other));
    eng_engine_destroy(&world.engine);
}

/* A whole round, a day after the end of the sale. */
static void sweep(struct world *world)
{
    for (int call = 0; call < 16; call++)
        eng_shard_sweep(&world->engine.shards[0], ENDS + ENG_COUNTS_KEPT_MS);
}

Test(take, counts_of_an_order_in_flight_outlast_the_sale)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 0);
    cr_assert(hold(&world, 0, &take));
    cr_assert_eq(item_at(&world, 0)->orders_in_flight, 1);
    sweep(&world);
    cr_assert_eq(held_by(&world, 42, 0), 3);
    settle(&world, 0, &take, true, true);
    sweep(&world);
    cr_assert_eq(held_by(&world, 42, 0), 0);
    eng_engine_destroy(&world.engine);
}

Test(take, a_settlement_that_nothing_was_taken_for_stops_the_process, .signal = SIGABRT)
{
    struct world world;
    world_make(&world, 8);
    struct eng_take take = cart(0, 3, 0);
    settle(&world, 0, &take, false, true);
}

/* --- against a model --- */

enum {
    FUZZ_STEPS = 40000,
    FUZZ_TAKES = 64,
    FUZZ_USERS = 4,
};

enum stage {
    EMPTY,
    HELD,
    TAKEN,
    SETTLED,
};

struct fuzz_take {
    struct eng_take take;
    enum stage stage;
};

struct model_item {
    int64_t units[3]; /* by enum tg_units */
    int64_t held;
    int64_t counted[FUZZ_USERS];
    int64_t shared;
};

struct model {
    struct model_item items[ITEMS];
};

static bool model_takes(const struct eng_take *take)
{
    return take->units_before == TG_UNITS_NONE && take->units_after != TG_UNITS_NONE;
}

static enum tg_verdict model_line(const struct model *model, const struct eng_take *take,
                                  const struct tg_line *line)
{
    const struct model_item *item = &model->items[line->item];
    int64_t available = item->units[TG_UNITS_NONE];
    bool begins = !take->stands_before && take->stands_after;
    if (begins || model_takes(take)) {
        if (available < line->quantity && available + item->held >= line->quantity)
            return TG_BUSY;
        if (available < line->quantity)
            return available == 0 ? TG_SOLD_OUT : TG_INSUFFICIENT_STOCK;
    }
    if (begins && line->item < 2 && item->counted[take->user_id] + line->quantity > LIMIT)
        return TG_LIMIT_REACHED;
    if (begins && take->channel == SHARED && item->shared + line->quantity > STOCK / 2)
        return TG_CHANNEL_SHARE_REACHED;
    return TG_ACCEPTED;
}

static void model_move(struct model_item *item, uint8_t before, uint8_t after, int64_t quantity)
{
    item->units[before] -= quantity;
    item->units[after] += quantity;
}

static void model_count(struct model_item *item, const struct eng_take *take, int64_t quantity)
{
    item->counted[take->user_id] += quantity;
    item->shared += take->channel == SHARED ? quantity : 0;
}

static void model_decide(struct model *model, const struct eng_take *take, bool holds)
{
    for (uint32_t i = 0; i < take->line_count; i++) {
        struct model_item *item = &model->items[take->lines[i].item];
        int64_t quantity = take->lines[i].quantity;
        if (model_takes(take)) {
            model_move(item, TG_UNITS_NONE, take->units_after, quantity);
            item->held += holds ? quantity : 0;
        }
        if (!take->stands_before && take->stands_after)
            model_count(item, take, quantity);
    }
}

static void model_settle(struct model *model, const struct eng_take *take, bool held, bool durable)
{
    bool begins = !take->stands_before && take->stands_after;
    bool ends = take->stands_before && !take->stands_after;
    for (uint32_t i = 0; i < take->line_count; i++) {
        struct model_item *item = &model->items[take->lines[i].item];
        int64_t quantity = take->lines[i].quantity;
        if (model_takes(take) && held)
            item->held -= quantity;
        if (model_takes(take) && !durable)
            model_move(item, take->units_after, TG_UNITS_NONE, quantity);
        if (!model_takes(take) && durable)
            model_move(item, take->units_before, take->units_after, quantity);
        if ((begins && !durable) || (ends && durable))
            model_count(item, take, -quantity);
    }
}

static void compare(struct world *world, const struct model *model, uint64_t seed, int step)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct model_item *item = &model->items[i];
        const struct eng_stock *stock = &item_at(world, i)->stock;
        cr_assert_eq(stock->available_units, item->units[TG_UNITS_NONE], "seed %#lx, step %d", seed,
                     step);
        cr_assert_eq(stock->reserved_units, item->units[TG_UNITS_RESERVED], "seed %#lx, step %d",
                     seed, step);
        cr_assert_eq(stock->sold_units, item->units[TG_UNITS_SOLD], "seed %#lx, step %d", seed,
                     step);
        cr_assert_eq(stock->held_units, item->held, "seed %#lx, step %d", seed, step);
        for (uint64_t user = 0; i < 2 && user < FUZZ_USERS; user++)
            cr_assert_eq(held_by(world, user, i), item->counted[user], "seed %#lx, step %d", seed,
                         step);
        cr_assert_eq(eng_holdings_units(&world->engine.shards[i % SHARDS].holdings, SHARED,
                                        ENG_HELD_CHANNEL | i),
                     item->shared, "seed %#lx, step %d", seed, step);
    }
}

/* A new order of one to three lines, each of another item. */
static struct eng_take draw_order(struct tg_rng *rng)
{
    struct eng_take take = {
        .user_id = tg_rng_below(rng, FUZZ_USERS),
        .channel = tg_rng_below(rng, 3) ? 0 : SHARED,
        .line_count = (uint8_t)(1 + tg_rng_below(rng, 3)),
        .units_after = (uint8_t)tg_rng_below(rng, 3),
        .stands_after = true,
    };
    uint32_t item = (uint32_t)tg_rng_below(rng, ITEMS);
    for (uint32_t i = 0; i < take.line_count; i++, item = (item + 1) % ITEMS)
        take.lines[i] = (struct tg_line){.item = item,
                                         .quantity = 1 + (uint32_t)tg_rng_below(rng, 4),
                                         .unit_price_minor = PRICE};
    return take;
}

/* What comes next for an order that is settled: it is paid, ends, or is paid after its end. */
static void draw_change(struct tg_rng *rng, struct eng_take *take)
{
    take->units_before = take->units_after;
    take->stands_before = take->stands_after;
    if (!take->stands_before) {
        take->units_after = TG_UNITS_SOLD;
        take->stands_after = true;
    } else if (tg_rng_below(rng, 2) && take->units_before != TG_UNITS_SOLD) {
        take->units_after = TG_UNITS_SOLD;
    } else {
        take->units_after = TG_UNITS_NONE;
        take->stands_after = false;
    }
}

/* Every shard of the take decides; all must, or those that did let go. True: it is taken. */
static bool fuzz_decide(struct world *world, struct model *model, const struct eng_take *take,
                        bool holds, uint64_t seed, int step)
{
    bool expected = true, taken[SHARDS] = {false}, all = true;
    for (uint32_t i = 0; i < take->line_count; i++)
        expected = expected && model_line(model, take, &take->lines[i]) == TG_ACCEPTED;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        taken[shard] = holds ? hold(world, shard, take) : take_now(world, shard, take);
        for (uint32_t i = 0; i < take->line_count; i++) {
            enum tg_verdict verdict = take->lines[i].item % SHARDS == shard
                                          ? model_line(model, take, &take->lines[i])
                                          : TG_ACCEPTED;
            cr_assert_eq(world->refusals[i], verdict, "seed %#lx, step %d: %s, not %s", seed, step,
                         tg_verdict_name((int)world->refusals[i]), tg_verdict_name((int)verdict));
        }
        all = all && taken[shard];
    }
    cr_assert_eq(all, expected, "seed %#lx, step %d", seed, step);
    for (uint32_t shard = 0; shard < SHARDS && !all; shard++) {
        struct eng_take undone = *take;
        if (taken[shard] && holds)
            eng_take_release(&world->engine.shards[shard], take);
        else if (taken[shard])
            settle(world, shard, &undone, false, false);
    }
    if (all)
        model_decide(model, take, holds);
    return all;
}

static void fuzz_settle(struct world *world, struct model *model, struct fuzz_take *slot,
                        bool durable)
{
    bool held = slot->stage == HELD;
    struct eng_take *take = &slot->take;
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        settle(world, shard, take, held, durable);
    model_settle(model, take, held, durable);
    bool was_new = !take->stands_before && take->units_before == TG_UNITS_NONE;
    if (!durable) {
        take->units_after = take->units_before;
        take->stands_after = take->stands_before;
    }
    slot->stage = !durable && was_new ? EMPTY : SETTLED;
}

static void fuzz(uint64_t seed)
{
    static struct fuzz_take slots[FUZZ_TAKES];
    struct model model = {0};
    struct world world;
    struct tg_rng rng;
    uint64_t taken = 0, refused = 0;
    world_make(&world, 64);
    tg_rng_init(&rng, seed);
    memset(slots, 0, sizeof(slots));
    for (uint32_t i = 0; i < ITEMS; i++)
        model.items[i].units[TG_UNITS_NONE] = STOCK;
    for (int step = 0; step < FUZZ_STEPS; step++) {
        struct fuzz_take *slot = &slots[tg_rng_below(&rng, FUZZ_TAKES)];
        bool holds = tg_rng_below(&rng, 2), durable = tg_rng_below(&rng, 5) != 0;
        if (slot->stage == HELD || slot->stage == TAKEN) {
            fuzz_settle(&world, &model, slot, durable);
        } else {
            struct eng_take before = slot->take;
            if (slot->stage == EMPTY)
                slot->take = draw_order(&rng);
            else
                draw_change(&rng, &slot->take);
            bool done = fuzz_decide(&world, &model, &slot->take, holds, seed, step);
            taken += done;
            refused += !done;
            if (done)
                slot->stage = holds ? HELD : TAKEN;
            else
                slot->take = before;
        }
        compare(&world, &model, seed, step);
    }
    cr_expect_gt(taken, 1000);
    cr_expect_gt(refused, 1000);
    eng_engine_destroy(&world.engine);
}

Test(take, agrees_with_a_naive_model_whatever_comes)
{
    for (uint64_t i = 0; i < 3; i++)
        fuzz(SEED + i);
}
