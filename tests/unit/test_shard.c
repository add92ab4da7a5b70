/* The shard's decisions one by one. tests/unit/test_shard_fuzz.c plays them against a model. */
#include "engine/shard.h"

#include "engine/life.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TTL_MS 10000

enum {
    NOW = 1500,
    STARTS = 1000,
    ENDS = 100000,
    PRICE = 100,
    WINDOW_MS = 900000,
    SALE_TIMERS = 2, /* on the first shard: the start and the end of the sale */
};

/* Two shards, one sale of four items: 0 and 2 belong to shard 0, 1 and 3 to shard 1. Item 0 and 1
 * have 10 units, a limit of 3 for each user and at most 2 in one order; 2 and 3 have 5 units and
 * no limits. */
struct world {
    struct eng_engine engine;
    struct tg_record record;
    struct tg_order_row rows[16]; /* what is durable, as the shards load it */
    uint32_t row_count;
    bool unreadable;
};

static enum eng_load load_order(void *context, uint64_t order_id, struct tg_order_row *row,
                                struct tg_life *life, bool *has_life)
{
    const struct world *world = context;
    (void)life;
    *has_life = false;
    for (uint32_t i = 0; i < world->row_count && !world->unreadable; i++)
        if (world->rows[i].order_id == order_id) {
            *row = world->rows[i];
            return ENG_LOADED;
        }
    return ENG_UNREADABLE;
}

static void store(struct world *world, const struct tg_order_row *row)
{
    cr_assert_lt(world->row_count, sizeof(world->rows) / sizeof(world->rows[0]));
    world->rows[world->row_count++] = *row;
}

static struct tg_sale_def *def_make(void)
{
    struct tg_sale_def *def = tg_sale_def_create(4);
    def->sale_id = 1;
    def->kind = TG_SALE_SECKILL;
    def->starts_at_ms = STARTS;
    def->ends_at_ms = ENDS;
    def->payment_window_s = WINDOW_MS / 1000;
    for (uint32_t i = 0; i < 4; i++) {
        def->items[i].sku_bytes = 1;
        def->items[i].sku[0] = (uint8_t)('A' + i);
        def->items[i].sale_price_minor = PRICE;
        def->items[i].stock_units = i < 2 ? 10 : 5;
        def->items[i].per_user_limit = i < 2 ? 3 : 0;
        def->items[i].per_order_max = i < 2 ? 2 : 0;
        def->items[i].stock_policy = TG_POLICY_RESERVE;
    }
    return def;
}

/* `def` is freed. */
static void sale_add(struct eng_engine *engine, struct tg_sale_def *def)
{
    bool full;
    cr_assert_eq(eng_catalog_prepare(&engine->catalog, def, &full), TG_OK);
    eng_engine_publish_sale(engine, def);
    free(def);
}

struct sizes {
    uint32_t orders_max, holdings_max, timers_max;
};

/* `world` is filled in place: shards point into it. Without a sale. */
static void world_make_empty(struct world *world, struct sizes sizes)
{
    struct eng_config config = {
        .shards = 2,
        .sales_max = 4,
        .items_max = 16,
        .orders_max = sizes.orders_max,
        .holdings_max = sizes.holdings_max,
        .timers_max = sizes.timers_max,
        .request_ttl_ms = TTL_MS,
        .hash_seed = 3,
    };
    struct tg_fault fault;
    memset(world, 0, sizeof(*world));
    cr_assert_eq(eng_engine_create(&config, &world->engine, &fault), TG_ERR_OK);
    for (uint32_t i = 0; i < 2; i++)
        world->engine.shards[i].loader = (struct eng_loader){.context = world, .order = load_order};
}

static void world_make_sized(struct world *world, struct sizes sizes)
{
    world_make_empty(world, sizes);
    sale_add(&world->engine, def_make());
}

static const struct sizes roomy = {.orders_max = 64, .holdings_max = 64, .timers_max = 64};

static void world_make(struct world *world)
{
    world_make_sized(world, roomy);
}

/* A world with a sale of other rules. */
static void world_make_with(struct world *world, void (*rules)(struct tg_sale_def *def))
{
    struct tg_sale_def *def = def_make();
    rules(def);
    world_make_empty(world, roomy);
    sale_add(&world->engine, def);
}

static struct eng_item *item_at(struct world *world, uint32_t item)
{
    return &world->engine.catalog.items[item];
}

static struct eng_shard *owner(struct world *world, uint32_t item)
{
    return &world->engine.shards[item_at(world, item)->shard];
}

/* An order in good order: one unit at the right price; its id is made of `id`. */
static struct tg_order order_of(uint8_t id, uint64_t user_id)
{
    struct tg_order order = {
        .sale_id = 1, .user_id = user_id, .unit_price_minor = PRICE, .quantity = 1};
    memset(order.request_id, id, sizeof(order.request_id));
    return order;
}

static struct eng_decision place(struct world *world, uint32_t item, const struct tg_order *order)
{
    struct eng_decision decision;
    memset(&decision, 0xa5, sizeof(decision));
    eng_shard_place(owner(world, item), item_at(world, item), order, NOW, &world->record,
                    &decision);
    return decision;
}

static enum tg_verdict verdict_at(struct world *world, uint32_t item, const struct tg_order *order,
                                  int64_t now_ms)
{
    struct eng_decision decision;
    eng_shard_place(owner(world, item), item_at(world, item), order, now_ms, &world->record,
                    &decision);
    return decision.verdict;
}

static struct tg_order_row row_of(const struct tg_order *order, uint32_t item)
{
    struct tg_order_row row = {
        .order_id = 99,
        .user_id = order->user_id,
        .unit_price_minor = order->unit_price_minor,
        .accepted_at_ms = NOW,
        .item = item,
        .quantity = order->quantity,
        .channel = order->channel,
        .external_bytes = order->external_bytes,
    };
    memcpy(row.request_id, order->request_id, sizeof(row.request_id));
    if (order->external_bytes)
        memcpy(row.external_id, order->external_id, order->external_bytes);
    return row;
}

/* Accepts an order and makes it durable with `order_id`. */
static struct eng_decision accept(struct world *world, uint32_t item, const struct tg_order *order,
                                  uint64_t order_id)
{
    struct eng_decision decision = place(world, item, order);
    cr_assert_eq(decision.verdict, TG_ACCEPTED);
    cr_assert_not(decision.replayed);
    world->record.outcome = TG_OUTCOME_DURABLE;
    world->record.order_id = order_id;
    eng_shard_order_durable(owner(world, item), &world->record);
    struct tg_order_row row = row_of(order, item);
    row.order_id = order_id;
    store(world, &row);
    return decision;
}

/* Everything that a refusal must leave alone. */
struct picture {
    struct tg_stock stocks[4];
    uint32_t orders[2];
    uint32_t holdings[2];
    uint32_t in_flight[4];
    uint32_t timers[2];
    uint32_t timers_promised[2];
};

static struct picture picture_of(struct world *world)
{
    struct picture picture;
    memset(&picture, 0, sizeof(picture));
    for (uint32_t i = 0; i < 4; i++) {
        picture.stocks[i] = eng_item_stock(item_at(world, i));
        picture.in_flight[i] = item_at(world, i)->orders_in_flight;
    }
    for (uint32_t i = 0; i < 2; i++) {
        picture.orders[i] = world->engine.shards[i].requests.count;
        picture.holdings[i] = world->engine.shards[i].holdings.count;
        picture.timers[i] = eng_wheel_count(world->engine.shards[i].wheel);
        picture.timers_promised[i] = world->engine.shards[i].timers_promised;
    }
    return picture;
}

static bool unmoved(struct world *world, const struct picture *before)
{
    struct picture after = picture_of(world);
    return memcmp(&after, before, sizeof(after)) == 0;
}

/* A whole round of sweeping, however many calls it takes. */
static uint32_t sweep(struct world *world, uint32_t item, int64_t now_ms)
{
    uint32_t dropped = 0;
    for (int call = 0; call < 16; call++)
        dropped += eng_shard_sweep(owner(world, item), now_ms);
    return dropped;
}

/* Each is refused for one reason, and moves nothing. */
static void expect_refusal(struct world *world, uint32_t item, const struct tg_order *order,
                           int64_t now_ms, enum tg_verdict verdict)
{
    struct picture before = picture_of(world);
    struct tg_record record_before = world->record;
    struct eng_decision decision;
    eng_shard_place(owner(world, item), item_at(world, item), order, now_ms, &world->record,
                    &decision);
    cr_assert_eq(decision.verdict, verdict, "%s, not %s", tg_verdict_name((int)verdict),
                 tg_verdict_name((int)decision.verdict));
    cr_assert_eq(decision.field == TG_FIELD_PER_ORDER, verdict == TG_INVALID_ARGUMENT);
    cr_assert(unmoved(world, &before), "%s moved something", tg_verdict_name((int)verdict));
    cr_assert_eq(memcmp(&record_before, &world->record, sizeof(record_before)), 0);
}

/* --- accepting --- */

Test(shard, an_accepted_order_takes_its_units_its_limit_and_its_id)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(7, 42);
    order.quantity = 2;
    struct eng_decision decision = place(&world, 0, &order);
    cr_assert_eq(decision.verdict, TG_ACCEPTED);
    cr_assert_eq(decision.field, TG_FIELD_NONE);
    cr_assert_not(decision.replayed);
    cr_assert_not(decision.in_flight);
    struct tg_stock stock = eng_item_stock(item_at(&world, 0));
    cr_assert_eq(stock.available_units, 8);
    cr_assert_eq(stock.reserved_units, 2);
    cr_assert_eq(eng_holdings_units(&owner(&world, 0)->holdings, 42, 0), 2);
    cr_assert_eq(owner(&world, 0)->requests.count, 1);
    cr_assert_eq(item_at(&world, 0)->orders_in_flight, 1);
    eng_engine_destroy(&world.engine);
}

Test(shard, the_record_of_an_accepted_order_says_all_of_it)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(7, 42);
    order.quantity = 2;
    order.channel = 65535;
    order.external_id = (const uint8_t *)"basket\0 1";
    order.external_bytes = 9;
    memset(&world.record, 0xff, sizeof(world.record));
    struct eng_decision decision = place(&world, 1, &order);
    const struct tg_record *record = &world.record;
    cr_assert_eq(record->kind, TG_RECORD_ORDER);
    cr_assert_eq(record->outcome, 0);
    cr_assert_eq(record->order.channel, 65535);
    cr_assert_eq(record->item, 1);
    cr_assert_eq(record->order_id, 0);
    cr_assert_eq(record->at_ms, NOW);
    cr_assert_eq(memcmp(record->order.request_id, order.request_id, 16), 0);
    cr_assert_eq(record->order.user_id, 42);
    cr_assert_eq(record->order.unit_price_minor, PRICE);
    cr_assert_eq(record->order.quantity, 2);
    cr_assert_eq(record->order.slot, decision.slot);
    cr_assert_eq(record->order.external_bytes, 9);
    cr_assert_eq(memcmp(record->order.external_id, "basket\0 1", 9), 0);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_durable_order_is_answered_with_its_id_price_and_time)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(7, 42);
    accept(&world, 0, &order, 1234);
    struct tg_answer answer = place(&world, 0, &order).answer;
    cr_assert_eq(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(answer.order_id, 1234);
    cr_assert_eq(answer.unit_price_minor, PRICE);
    cr_assert_eq(answer.accepted_at_ms, NOW);
    cr_assert_eq(item_at(&world, 0)->orders_in_flight, 0);
    eng_engine_destroy(&world.engine);
}

Test(shard, the_last_unit_can_be_bought_and_no_more)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    order.quantity = 5;
    cr_assert_eq(place(&world, 2, &order).verdict, TG_ACCEPTED);
    struct tg_order next = order_of(2, 2);
    cr_assert_eq(place(&world, 2, &next).verdict, TG_SOLD_OUT);
    eng_engine_destroy(&world.engine);
}

/* --- policies --- */

static void mixed_policies(struct tg_sale_def *def)
{
    def->items[2].stock_policy = TG_POLICY_ON_PLACE;
    def->items[3].stock_policy = TG_POLICY_ON_PAYMENT;
}

Test(shard, an_item_sold_at_once_goes_from_available_to_sold_and_sets_no_timer)
{
    struct world world;
    world_make_with(&world, mixed_policies);
    struct picture before = picture_of(&world);
    struct tg_order order = order_of(1, 1), next = order_of(2, 2);
    order.quantity = 5;
    place(&world, 2, &order);
    struct tg_stock stock = eng_item_stock(item_at(&world, 2));
    cr_assert_eq(stock.available_units, 0);
    cr_assert_eq(stock.reserved_units, 0);
    cr_assert_eq(stock.sold_units, 5);
    eng_shard_order_refused(owner(&world, 2), &world.record);
    cr_assert(unmoved(&world, &before));
    accept(&world, 2, &order, 1);
    cr_assert_eq(eng_wheel_count(owner(&world, 2)->wheel), SALE_TIMERS);
    cr_assert_eq(verdict_at(&world, 2, &next, NOW), TG_SOLD_OUT);
    eng_engine_destroy(&world.engine);
}

Test(shard, an_item_taken_when_paid_moves_nothing_but_some_must_be_there)
{
    struct world world;
    world_make_with(&world, mixed_policies);
    struct tg_stock before = eng_item_stock(item_at(&world, 3));
    struct tg_order first = order_of(1, 1), second = order_of(2, 2), more = order_of(3, 3);
    first.quantity = second.quantity = 5;
    accept(&world, 3, &first, 1);
    accept(&world, 3, &second, 2);
    struct tg_stock after = eng_item_stock(item_at(&world, 3));
    cr_assert_eq(memcmp(&before, &after, sizeof(after)), 0);
    cr_assert_eq(eng_wheel_count(owner(&world, 3)->wheel), 2, "both are to be paid in time");
    more.quantity = 6;
    cr_assert_eq(verdict_at(&world, 3, &more, NOW), TG_INSUFFICIENT_STOCK);
    eng_item_move(item_at(&world, 3), -5, 0, 5, 0);
    cr_assert_eq(verdict_at(&world, 3, &more, NOW), TG_SOLD_OUT);
    eng_engine_destroy(&world.engine);
}

/* --- timers --- */

/* The one timer that is due at this moment. */
static struct eng_timer due_at(struct world *world, uint32_t item, int64_t now_ms)
{
    struct eng_timer timers[8];
    uint32_t count = eng_wheel_due(owner(world, item)->wheel, now_ms, timers, 8);
    cr_assert_eq(count, 1, "%u timers", count);
    return timers[0];
}

Test(shard, a_durable_order_is_to_be_paid_a_window_after_its_acceptance)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    place(&world, 1, &order);
    cr_assert_eq(eng_wheel_count(owner(&world, 1)->wheel), 0, "it may yet be refused");
    world.record.order_id = 77;
    eng_shard_order_durable(owner(&world, 1), &world.record);
    struct eng_timer timer = due_at(&world, 1, NOW + WINDOW_MS + 1000);
    cr_assert_eq(timer.due_ms, NOW + WINDOW_MS);
    cr_assert_eq(timer.id, eng_timer_id(ENG_TIMER_ORDER, 77));
    eng_engine_destroy(&world.engine);
}

Test(shard, without_room_for_its_timer_an_order_is_busy)
{
    struct world world;
    world_make_sized(&world, (struct sizes){64, 64, 2});
    struct tg_order one = order_of(1, 1), two = order_of(2, 2), three = order_of(3, 3);
    struct tg_record first;
    place(&world, 1, &one);
    first = world.record;
    place(&world, 1, &two);
    expect_refusal(&world, 1, &three, NOW, TG_BUSY); /* both may need theirs */
    eng_shard_order_refused(owner(&world, 1), &world.record);
    first.order_id = 5;
    eng_shard_order_durable(owner(&world, 1), &first);
    cr_assert_eq(place(&world, 1, &three).verdict, TG_ACCEPTED);
    eng_shard_order_refused(owner(&world, 1), &world.record);
    accept(&world, 1, &two, 6);
    expect_refusal(&world, 1, &three, NOW, TG_BUSY);
    struct tg_order other = order_of(4, 4);
    cr_assert_eq(place(&world, 2, &other).verdict, TG_ACCEPTED, "another shard, another wheel");
    eng_engine_destroy(&world.engine);
}

Test(shard, a_sale_has_timers_for_its_start_and_its_end)
{
    struct world world;
    world_make(&world);
    struct eng_timer start = due_at(&world, 0, STARTS + 100);
    cr_assert_eq(start.id, eng_timer_id(ENG_TIMER_SALE_START, 0));
    cr_assert_eq(start.due_ms, STARTS);
    struct eng_timer end = due_at(&world, 0, ENDS + 100);
    cr_assert_eq(end.id, eng_timer_id(ENG_TIMER_SALE_END, 0));
    cr_assert_eq(end.due_ms, ENDS);
    eng_engine_destroy(&world.engine);
}

static void restore_sale(struct world *world, uint8_t announced)
{
    struct tg_sale_def *def = def_make();
    struct tg_stock stocks[4];
    struct tg_fault fault;
    world_make_empty(world, roomy);
    memset(stocks, 0, sizeof(stocks));
    for (uint32_t i = 0; i < 4; i++)
        def->items[i].item = i;
    def->state = TG_SALE_ACTIVE;
    def->announced = announced;
    cr_assert_eq(eng_engine_restore_sale(&world->engine, def, stocks, &fault), TG_ERR_OK);
    free(def);
}

Test(shard, a_restored_sale_has_timers_for_what_was_not_announced)
{
    struct world world;
    restore_sale(&world, TG_ANNOUNCED_START);
    cr_assert_eq(due_at(&world, 0, ENDS + 100).id, eng_timer_id(ENG_TIMER_SALE_END, 0));
    eng_engine_destroy(&world.engine);
    restore_sale(&world, TG_ANNOUNCED_START | TG_ANNOUNCED_END);
    cr_assert_eq(eng_wheel_count(owner(&world, 0)->wheel), 0);
    eng_engine_destroy(&world.engine);
}

/* Orders never take the room of a sale that comes later. */
Test(shard, a_wheel_full_of_orders_has_room_for_every_sale)
{
    struct world world;
    world_make_sized(&world, (struct sizes){64, 64, 1});
    struct tg_order one = order_of(1, 1), two = order_of(2, 2);
    accept(&world, 2, &one, 1);
    expect_refusal(&world, 2, &two, NOW, TG_BUSY);
    for (uint64_t id = 2; id <= 4; id++) {
        struct tg_sale_def *def = def_make();
        def->sale_id = id;
        sale_add(&world.engine, def);
    }
    cr_assert_eq(eng_wheel_count(owner(&world, 2)->wheel), 1 + 4 * SALE_TIMERS);
    cr_assert_eq(owner(&world, 2)->timers_promised, 0);
    eng_engine_destroy(&world.engine);
}

/* --- shares --- */

static void half_for_channel_7(struct tg_sale_def *def)
{
    def->share_count = 1;
    def->shares[0] = (struct tg_channel_share){.channel = 7, .percent = 50};
}

static struct tg_order channel_order(uint8_t id, uint16_t channel, uint32_t quantity)
{
    struct tg_order order = order_of(id, id);
    order.channel = channel;
    order.quantity = quantity;
    return order;
}

Test(shard, orders_of_a_channel_stand_for_its_share_and_no_more)
{
    struct world world;
    world_make_with(&world, half_for_channel_7);
    struct tg_order first = channel_order(1, 7, 2), second = channel_order(2, 7, 1);
    struct tg_order other = channel_order(3, 8, 2);
    accept(&world, 2, &first, 1);
    expect_refusal(&world, 2, &second, NOW, TG_CHANNEL_SHARE_REACHED); /* 2 of 5, rounded down */
    cr_assert_eq(place(&world, 2, &other).verdict, TG_ACCEPTED, "no share, no bound");
    cr_assert_eq(place(&world, 0, &second).verdict, TG_ACCEPTED, "another item, another count");
    eng_engine_destroy(&world.engine);
}

Test(shard, a_share_is_of_what_the_books_hold_now)
{
    struct world world;
    world_make_with(&world, half_for_channel_7);
    struct tg_order first = channel_order(1, 7, 2), second = channel_order(2, 7, 1);
    accept(&world, 2, &first, 1);
    eng_item_move(item_at(&world, 2), 1, 0, 0, 1);
    cr_assert_eq(place(&world, 2, &second).verdict, TG_ACCEPTED, "3 of 6");
    eng_engine_destroy(&world.engine);
}

Test(shard, a_refusal_by_the_storage_gives_the_share_back)
{
    struct world world;
    world_make_with(&world, half_for_channel_7);
    struct picture before = picture_of(&world);
    struct tg_order order = channel_order(1, 7, 2);
    place(&world, 0, &order);
    cr_assert_eq(owner(&world, 0)->holdings.count, 2, "the user's and the channel's");
    eng_shard_order_refused(owner(&world, 0), &world.record);
    cr_assert(unmoved(&world, &before));
    eng_engine_destroy(&world.engine);
}

Test(shard, the_limit_is_told_before_the_share)
{
    struct world world;
    world_make_with(&world, half_for_channel_7);
    for (uint8_t id = 1; id <= 2; id++) {
        struct tg_order order = channel_order(id, 7, 2);
        accept(&world, 0, &order, id);
    }
    struct tg_order again = channel_order(2, 7, 2), other = channel_order(3, 7, 2);
    memset(again.request_id, 9, sizeof(again.request_id));
    expect_refusal(&world, 0, &again, NOW, TG_LIMIT_REACHED);
    expect_refusal(&world, 0, &other, NOW, TG_CHANNEL_SHARE_REACHED);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_table_full_after_the_limit_leaves_nothing_of_it)
{
    struct tg_sale_def *def = def_make();
    struct world world;
    half_for_channel_7(def);
    world_make_empty(&world, (struct sizes){64, 1, 64});
    sale_add(&world.engine, def);
    struct tg_order order = channel_order(1, 7, 1);
    expect_refusal(&world, 0, &order, NOW, TG_BUSY);
    eng_engine_destroy(&world.engine);
}

/* --- group-buys --- */

static void group_buy(struct tg_sale_def *def)
{
    def->kind = TG_SALE_GROUP_BUY;
    def->team = (struct tg_team_rules){.team_size = 2,
                                       .at_deadline = TG_DEADLINE_FAIL,
                                       .new_buyers_only = true,
                                       .team_lifetime_s = 60};
}

Test(shard, an_order_in_a_group_buy_needs_a_team_whatever_else_is_wrong)
{
    struct world world;
    world_make_with(&world, group_buy);
    struct eng_decision decision;
    struct tg_order order = order_of(1, 1);
    expect_refusal(&world, 3, &order, NOW, TG_TEAM_REQUIRED);
    order.unit_price_minor++;
    expect_refusal(&world, 3, &order, ENDS, TG_TEAM_REQUIRED);
    cr_assert(eng_gate_refuses(&world.engine, item_at(&world, 3), &order, NOW, &decision));
    cr_assert_eq(decision.verdict, TG_TEAM_REQUIRED);
    eng_engine_destroy(&world.engine);
}

/* --- refusing --- */

static void set_state(struct world *world, enum tg_sale_state state)
{
    bool changes;
    struct eng_sale *sale = &world->engine.catalog.sales[0];
    cr_assert_eq(eng_sale_state_decide(sale, state, &changes), TG_OK);
    cr_assert(changes);
    eng_sale_state_settle(sale, state, true);
}

Test(shard, each_refusal_has_its_verdict_and_moves_nothing)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    expect_refusal(&world, 0, &order, STARTS - 1, TG_NOT_STARTED);
    expect_refusal(&world, 0, &order, ENDS, TG_ENDED);
    order.unit_price_minor++;
    expect_refusal(&world, 0, &order, NOW, TG_PRICE_CHANGED);
    order.unit_price_minor--;
    order.quantity = 3;
    expect_refusal(&world, 0, &order, NOW, TG_INVALID_ARGUMENT);
    order.quantity = 6;
    expect_refusal(&world, 2, &order, NOW, TG_INSUFFICIENT_STOCK);
    set_state(&world, TG_SALE_PAUSED);
    expect_refusal(&world, 0, &order, NOW, TG_PAUSED);
    set_state(&world, TG_SALE_CLOSED);
    expect_refusal(&world, 0, &order, NOW, TG_ENDED);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_sold_out_item_is_refused_and_moves_nothing)
{
    struct world world;
    world_make(&world);
    struct tg_order all = order_of(1, 1), next = order_of(2, 2);
    all.quantity = 5;
    accept(&world, 2, &all, 1);
    expect_refusal(&world, 2, &next, NOW, TG_SOLD_OUT);
    next.quantity = 2;
    expect_refusal(&world, 2, &next, NOW, TG_SOLD_OUT);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_limit_counts_what_the_user_has_and_asks_for)
{
    struct world world;
    world_make(&world);
    struct tg_order first = order_of(1, 42), second = order_of(2, 42), third = order_of(3, 42);
    first.quantity = 2;
    place(&world, 0, &first); /* in flight counts as well */
    second.quantity = 2;
    expect_refusal(&world, 0, &second, NOW, TG_LIMIT_REACHED);
    second.quantity = 1;
    cr_assert_eq(place(&world, 0, &second).verdict, TG_ACCEPTED, "three are allowed");
    expect_refusal(&world, 0, &third, NOW, TG_LIMIT_REACHED);
    cr_assert_eq(place(&world, 1, &third).verdict, TG_ACCEPTED, "another item, another count");
    struct tg_order other = order_of(4, 43);
    cr_assert_eq(place(&world, 0, &other).verdict, TG_ACCEPTED, "another user, another count");
    eng_engine_destroy(&world.engine);
}

Test(shard, sold_out_is_told_before_the_limit_and_the_limit_before_the_tables)
{
    struct world world;
    world_make_sized(&world, (struct sizes){2, 64, 64});
    struct tg_order first = order_of(1, 42), second = order_of(2, 42), third = order_of(3, 42);
    first.quantity = second.quantity = third.quantity = 2;
    accept(&world, 0, &first, 1);
    second.quantity = 1;
    accept(&world, 0, &second, 2);
    expect_refusal(&world, 0, &third, NOW, TG_LIMIT_REACHED); /* the table is full, too */
    eng_item_move(item_at(&world, 0), -7, 7, 0, 0);
    expect_refusal(&world, 0, &third, NOW, TG_SOLD_OUT);
    eng_engine_destroy(&world.engine);
}

/* --- full --- */

Test(shard, a_full_journal_is_busy_for_what_would_be_accepted_alone)
{
    struct world world;
    world_make(&world);
    struct eng_decision decision;
    struct tg_order known = order_of(1, 1), order = order_of(2, 2);
    accept(&world, 0, &known, 9);
    struct picture before = picture_of(&world);
    eng_shard_place(owner(&world, 0), item_at(&world, 0), &order, NOW, NULL, &decision);
    cr_assert_eq(decision.verdict, TG_BUSY);
    eng_shard_place(owner(&world, 0), item_at(&world, 0), &order, ENDS, NULL, &decision);
    cr_assert_eq(decision.verdict, TG_ENDED, "a refusal needs no journal");
    eng_shard_place(owner(&world, 0), item_at(&world, 0), &known, NOW, NULL, &decision);
    cr_assert_eq(decision.verdict, TG_ACCEPTED, "nor does a retry");
    cr_assert(decision.replayed);
    cr_assert(unmoved(&world, &before));
    eng_engine_destroy(&world.engine);
}

Test(shard, a_full_table_of_requests_is_busy_until_one_is_forgotten)
{
    struct world world;
    world_make_sized(&world, (struct sizes){2, 64, 64});
    struct tg_order one = order_of(1, 1), two = order_of(2, 2), three = order_of(3, 3);
    accept(&world, 0, &one, 1);
    accept(&world, 0, &two, 2);
    expect_refusal(&world, 0, &three, NOW, TG_BUSY);
    cr_assert_eq(place(&world, 1, &three).verdict, TG_ACCEPTED, "the other shard has room");
    cr_assert_eq(sweep(&world, 0, NOW + TTL_MS + 1000), 2);
    struct tg_order four = order_of(4, 4);
    cr_assert_eq(place(&world, 0, &four).verdict, TG_ACCEPTED);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_full_table_of_holdings_is_busy_for_new_pairs_of_limited_items_alone)
{
    struct world world;
    world_make_sized(&world, (struct sizes){64, 1, 64});
    struct tg_order one = order_of(1, 1), two = order_of(2, 2), more = order_of(3, 1);
    accept(&world, 0, &one, 1);
    expect_refusal(&world, 0, &two, NOW, TG_BUSY);
    cr_assert_eq(place(&world, 0, &more).verdict, TG_ACCEPTED, "this pair is counted already");
    cr_assert_eq(place(&world, 2, &two).verdict, TG_ACCEPTED, "no limit, nothing to count");
    eng_engine_destroy(&world.engine);
}

/* --- the storage refuses --- */

Test(shard, a_refusal_by_the_storage_gives_everything_back)
{
    struct world world;
    world_make(&world);
    struct picture before = picture_of(&world);
    struct tg_order order = order_of(1, 1);
    order.quantity = 2;
    struct eng_decision decision = place(&world, 0, &order);
    world.record.outcome = TG_OUTCOME_REFUSED;
    eng_shard_order_refused(owner(&world, 0), &world.record);
    cr_assert(unmoved(&world, &before));
    cr_assert_eq(eng_holdings_units(&owner(&world, 0)->holdings, 1, 0), 0);
    struct tg_answer answer =
        eng_shard_answer(owner(&world, 0), decision.slot, decision.generation);
    cr_assert_eq(answer.verdict, TG_STORAGE_FULL);
    cr_assert_eq(answer.order_id, 0);
    cr_assert_eq(place(&world, 0, &order).verdict, TG_ACCEPTED, "the id is free again");
    eng_engine_destroy(&world.engine);
}

Test(shard, an_answer_is_for_the_order_that_asked_not_for_the_next_in_its_slot)
{
    struct world world;
    world_make(&world);
    struct tg_order first = order_of(1, 1), second = order_of(2, 2);
    struct eng_decision refused = place(&world, 0, &first);
    eng_shard_order_refused(owner(&world, 0), &world.record);
    struct eng_decision durable = place(&world, 0, &second);
    cr_assert_eq(durable.slot, refused.slot, "or this test tests nothing");
    eng_requests_keep(&owner(&world, 0)->requests, durable.slot);
    world.record.order_id = 77;
    eng_shard_order_durable(owner(&world, 0), &world.record);
    cr_assert_neq(durable.generation, refused.generation);
    cr_assert_eq(eng_shard_answer(owner(&world, 0), refused.slot, refused.generation).verdict,
                 TG_STORAGE_FULL);
    cr_assert_eq(eng_shard_answer(owner(&world, 0), durable.slot, durable.generation).order_id, 77);
    eng_engine_destroy(&world.engine);
}

/* --- retries --- */

Test(shard, a_retry_gets_the_first_answer_and_moves_nothing)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    order.external_id = (const uint8_t *)"e";
    order.external_bytes = 1;
    accept(&world, 0, &order, 55);
    struct picture before = picture_of(&world);
    struct eng_decision retry = place(&world, 0, &order);
    cr_assert_eq(retry.verdict, TG_ACCEPTED);
    cr_assert(retry.replayed);
    cr_assert_not(retry.in_flight);
    cr_assert_eq(retry.answer.verdict, TG_ACCEPTED);
    cr_assert_eq(retry.answer.order_id, 55);
    cr_assert_eq(retry.answer.unit_price_minor, PRICE);
    cr_assert_eq(retry.answer.accepted_at_ms, NOW);
    cr_assert(retry.answer.replayed);
    cr_assert(unmoved(&world, &before));
    eng_engine_destroy(&world.engine);
}

Test(shard, a_retry_whose_row_cannot_be_read_is_busy_and_moves_nothing)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    accept(&world, 0, &order, 55);
    world.unreadable = true;
    expect_refusal(&world, 0, &order, NOW, TG_BUSY);
    world.unreadable = false;
    cr_assert(place(&world, 0, &order).replayed);
    eng_engine_destroy(&world.engine);
}

/* A retry that waits behind a fence is answered from the slot, and decided from it until then. */
Test(shard, an_order_that_a_retry_waits_for_stays_until_the_last_lets_go)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    struct eng_shard *shard = owner(&world, 0);
    struct tg_record fences[2];
    place(&world, 0, &order);
    struct tg_record first = world.record;
    for (int i = 0; i < 2; i++) {
        struct eng_decision retry = place(&world, 0, &order);
        eng_shard_fence(shard, retry.slot, retry.generation, NOW, &fences[i]);
    }
    first.order_id = 55;
    eng_shard_order_durable(shard, &first);
    sweep(&world, 0, NOW + 2 * TTL_MS);
    world.unreadable = true; /* nothing is loaded while the slot knows */
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(place(&world, 0, &order).answer.order_id, 55);
        cr_assert_eq(
            eng_shard_answer(shard, fences[i].fence.slot, fences[i].fence.generation).order_id, 55);
        eng_shard_fence_settle(shard, &fences[i]);
    }
    cr_assert_eq(verdict_at(&world, 0, &order, NOW), TG_BUSY, "it is an entry now");
    cr_assert_eq(shard->requests.orders[first.order.slot].quantity, 0, "the slot is free");
    cr_assert_eq(shard->requests.count, 1);
    cr_assert_eq(sweep(&world, 0, NOW + 2 * TTL_MS), 1);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_retry_of_an_order_in_flight_waits_for_it)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    struct eng_decision first = place(&world, 0, &order);
    struct tg_record record = world.record;
    struct eng_decision retry = place(&world, 0, &order);
    cr_assert_eq(retry.verdict, TG_ACCEPTED);
    cr_assert(retry.replayed);
    cr_assert(retry.in_flight);
    cr_assert_eq(retry.slot, first.slot);
    cr_assert_eq(retry.generation, first.generation);
    cr_assert_eq(memcmp(&record, &world.record, sizeof(record)), 0, "the record is untouched");
    eng_engine_destroy(&world.engine);
}

/* Sold out, over, paused, repriced by now: the first answer stands all the same. */
Test(shard, a_retry_is_answered_however_the_sale_stands_by_now)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    order.quantity = 5;
    accept(&world, 2, &order, 1);
    cr_assert_eq(verdict_at(&world, 2, &order, NOW), TG_ACCEPTED, "sold out");
    cr_assert_eq(verdict_at(&world, 2, &order, ENDS + 1), TG_ACCEPTED, "ended");
    set_state(&world, TG_SALE_PAUSED);
    cr_assert_eq(verdict_at(&world, 2, &order, NOW), TG_ACCEPTED, "paused");
    set_state(&world, TG_SALE_CLOSED);
    cr_assert_eq(verdict_at(&world, 2, &order, NOW), TG_ACCEPTED, "closed");
    eng_engine_destroy(&world.engine);
}

Test(shard, a_refused_order_may_be_tried_again_under_its_id)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    cr_assert_eq(verdict_at(&world, 0, &order, STARTS - 1), TG_NOT_STARTED);
    cr_assert_eq(verdict_at(&world, 0, &order, STARTS), TG_ACCEPTED);
    eng_engine_destroy(&world.engine);
}

Test(shard, one_id_with_another_body_is_a_conflict_whichever_field_differs)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    order.external_id = (const uint8_t *)"basket";
    order.external_bytes = 6;
    accept(&world, 0, &order, 1);

    struct tg_order other = order;
    other.user_id = 2;
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    other = order;
    other.quantity = 2;
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    other = order;
    other.unit_price_minor++;
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    other = order;
    other.channel = 1;
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    other = order;
    other.external_id = (const uint8_t *)"Basket";
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    other = order;
    other.external_bytes = 5;
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    other = order;
    other.external_bytes = 0;
    expect_refusal(&world, 0, &other, NOW, TG_REQUEST_ID_CONFLICT);
    expect_refusal(&world, 2, &order, NOW, TG_REQUEST_ID_CONFLICT); /* same shard */
    expect_refusal(&world, 1, &order, NOW, TG_REQUEST_ID_CONFLICT); /* another shard */
    cr_assert_eq(place(&world, 0, &order).verdict, TG_ACCEPTED, "the true retry is none");
    eng_engine_destroy(&world.engine);
}

Test(shard, a_conflict_is_told_before_any_other_refusal)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    accept(&world, 0, &order, 1);
    expect_refusal(&world, 2, &order, ENDS, TG_REQUEST_ID_CONFLICT);
    expect_refusal(&world, 1, &order, ENDS, TG_REQUEST_ID_CONFLICT);
    eng_engine_destroy(&world.engine);
}

/* Two shards claim one id at the same moment: each has its word in its table before it looks at
 * the other's. Whoever looks then steps back, so that never both accept. */
Test(shard, an_id_that_another_shard_claims_at_this_moment_is_a_conflict)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    struct eng_request_key key = eng_request_key(order.request_id, 3);
    struct eng_requests *other = &world.engine.shards[1].requests;
    uint32_t claimed = eng_requests_insert(other, &key);
    expect_refusal(&world, 0, &order, NOW, TG_REQUEST_ID_CONFLICT);
    cr_assert_eq(eng_requests_find(&world.engine.shards[0].requests, &key), ENG_SLOT_NONE);
    cr_assert_eq(eng_requests_find(other, &key), claimed, "the other's claim is its own");
    eng_requests_remove(other, claimed);
    cr_assert_eq(place(&world, 0, &order).verdict, TG_ACCEPTED, "the id is not burnt");
    eng_engine_destroy(&world.engine);
}

/* --- the gate --- */

Test(shard, the_gate_refuses_strangers_and_lets_retries_pass)
{
    struct world world;
    world_make(&world);
    struct eng_decision decision;
    struct tg_order all = order_of(1, 1), stranger = order_of(2, 2);
    all.quantity = 5;
    const struct eng_item *item = item_at(&world, 2);
    cr_assert_not(eng_gate_refuses(&world.engine, item, &all, NOW, &decision));
    place(&world, 2, &all);
    cr_assert(eng_gate_refuses(&world.engine, item, &stranger, NOW, &decision));
    cr_assert_eq(decision.verdict, TG_SOLD_OUT);
    cr_assert_not(eng_gate_refuses(&world.engine, item, &all, NOW, &decision),
                  "a retry, though it is in flight");
    cr_assert_not(eng_gate_refuses(&world.engine, item, &all, ENDS, &decision));
    stranger = all;
    stranger.user_id = 9;
    cr_assert_not(eng_gate_refuses(&world.engine, item, &stranger, NOW, &decision),
                  "the owner tells the conflict");
    cr_assert_not(eng_gate_refuses(&world.engine, item_at(&world, 1), &all, ENDS, &decision),
                  "whichever shard knows the id");
    eng_engine_destroy(&world.engine);
}

Test(shard, the_gate_asks_the_owner_about_units_that_are_held)
{
    struct world world;
    world_make(&world);
    struct eng_decision decision;
    struct tg_order order = order_of(1, 1);
    eng_item_transfer(item_at(&world, 2), TG_UNITS_NONE, TG_UNITS_RESERVED, 5, 5);
    cr_assert_not(eng_gate_refuses(&world.engine, item_at(&world, 2), &order, NOW, &decision));
    expect_refusal(&world, 2, &order, NOW, TG_BUSY);
    eng_item_transfer(item_at(&world, 2), TG_UNITS_RESERVED, TG_UNITS_RESERVED, 5, -5);
    cr_assert(eng_gate_refuses(&world.engine, item_at(&world, 2), &order, NOW, &decision));
    expect_refusal(&world, 2, &order, NOW, TG_SOLD_OUT);
    eng_engine_destroy(&world.engine);
}

Test(shard, the_gate_names_the_field_of_too_many_in_one_order)
{
    struct world world;
    world_make(&world);
    struct eng_decision decision;
    struct tg_order order = order_of(1, 1);
    order.quantity = 3;
    cr_assert(eng_gate_refuses(&world.engine, item_at(&world, 0), &order, NOW, &decision));
    cr_assert_eq(decision.verdict, TG_INVALID_ARGUMENT);
    cr_assert_eq(decision.field, TG_FIELD_PER_ORDER);
    eng_engine_destroy(&world.engine);
}

/* --- adjustments --- */

static enum tg_verdict adjust(struct world *world, uint32_t item, const struct eng_adjust *change,
                              bool *changes, enum tg_field *field)
{
    return eng_shard_adjust(owner(world, item), item_at(world, item), change, NOW, &world->record,
                            changes, field);
}

static enum tg_verdict adjust_by(struct world *world, uint32_t item, int64_t delta, bool *changes)
{
    enum tg_field field;
    struct eng_adjust change = {.delta_units = delta, .reason = "why", .reason_bytes = 3};
    return adjust(world, item, &change, changes, &field);
}

static void settle(struct world *world, uint32_t item, enum tg_outcome outcome)
{
    world->record.outcome = (uint8_t)outcome;
    eng_shard_adjust_settle(owner(world, item), &world->record);
}

Test(shard, more_stock_comes_when_it_is_durable)
{
    struct world world;
    world_make(&world);
    bool changes;
    cr_assert_eq(adjust_by(&world, 2, 4, &changes), TG_OK);
    cr_assert(changes);
    cr_assert_eq(world.record.kind, TG_RECORD_ADJUST);
    cr_assert_eq(world.record.item, 2);
    cr_assert_eq(world.record.at_ms, NOW);
    cr_assert_eq(world.record.adjust.delta_units, 4);
    cr_assert_eq(world.record.adjust.reason_bytes, 3);
    cr_assert_eq(memcmp(world.record.adjust.reason, "why", 3), 0);
    cr_assert_eq(eng_item_stock(item_at(&world, 2)).available_units, 5);
    settle(&world, 2, TG_OUTCOME_DURABLE);
    cr_assert_eq(eng_item_stock(item_at(&world, 2)).available_units, 9);
    cr_assert_eq(eng_item_stock(item_at(&world, 2)).restocked_units, 4);
    eng_engine_destroy(&world.engine);
}

Test(shard, less_stock_is_gone_at_once_and_comes_back_when_refused)
{
    struct world world;
    world_make(&world);
    bool changes;
    struct picture before = picture_of(&world);
    cr_assert_eq(adjust_by(&world, 2, -5, &changes), TG_OK);
    struct tg_order order = order_of(1, 1);
    cr_assert_eq(place(&world, 2, &order).verdict, TG_SOLD_OUT);
    settle(&world, 2, TG_OUTCOME_REFUSED);
    cr_assert(unmoved(&world, &before));
    cr_assert_eq(adjust_by(&world, 2, -5, &changes), TG_OK);
    settle(&world, 2, TG_OUTCOME_DURABLE);
    cr_assert_eq(eng_item_stock(item_at(&world, 2)).restocked_units, -5);
    eng_engine_destroy(&world.engine);
}

Test(shard, more_stock_that_is_refused_never_was)
{
    struct world world;
    world_make(&world);
    bool changes;
    struct picture before = picture_of(&world);
    cr_assert_eq(adjust_by(&world, 2, 5, &changes), TG_OK);
    settle(&world, 2, TG_OUTCOME_REFUSED);
    cr_assert(unmoved(&world, &before));
    eng_engine_destroy(&world.engine);
}

Test(shard, only_what_is_available_can_be_taken_away)
{
    struct world world;
    world_make(&world);
    bool changes = true;
    struct tg_order order = order_of(1, 1);
    order.quantity = 2;
    accept(&world, 2, &order, 1);
    struct picture before = picture_of(&world);
    cr_assert_eq(adjust_by(&world, 2, -4, &changes), TG_INSUFFICIENT_STOCK);
    cr_assert_not(changes);
    cr_assert_eq(adjust_by(&world, 2, INT64_MIN, &changes), TG_INSUFFICIENT_STOCK);
    cr_assert(unmoved(&world, &before));
    cr_assert_eq(adjust_by(&world, 2, -3, &changes), TG_OK);
    eng_engine_destroy(&world.engine);
}

Test(shard, the_books_of_an_item_have_a_limit)
{
    struct world world;
    world_make(&world);
    bool changes = true;
    enum tg_field field;
    struct eng_adjust change = {
        .delta_units = TG_STOCK_UNITS_MAX - 5 + 1, .reason = "why", .reason_bytes = 3};
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_INVALID_ARGUMENT);
    cr_assert_eq(field, TG_FIELD_STOCK_RANGE);
    cr_assert_not(changes);
    change.delta_units = INT64_MAX;
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_INVALID_ARGUMENT);
    change.delta_units = TG_STOCK_UNITS_MAX - 5;
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_OK);
    settle(&world, 2, TG_OUTCOME_DURABLE);
    cr_assert_eq(eng_item_stock(item_at(&world, 2)).available_units, TG_STOCK_UNITS_MAX);
    eng_engine_destroy(&world.engine);
}

Test(shard, compare_and_set_needs_the_expected_stock)
{
    struct world world;
    world_make(&world);
    bool changes = true;
    enum tg_field field;
    struct eng_adjust change = {
        .compare = true, .expected_units = 4, .new_units = 20, .reason = "why", .reason_bytes = 3};
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_STOCK_CHANGED);
    cr_assert_not(changes);
    change.expected_units = 5 + (1ull << 32);
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_STOCK_CHANGED);
    change.expected_units = 5;
    change.new_units = 5;
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_OK);
    cr_assert_not(changes, "it stands there already");
    change.new_units = UINT64_MAX;
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_INVALID_ARGUMENT);
    cr_assert_eq(field, TG_FIELD_STOCK_RANGE);
    change.new_units = 0;
    cr_assert_eq(adjust(&world, 2, &change, &changes, &field), TG_OK);
    cr_assert(changes);
    cr_assert_eq(world.record.adjust.delta_units, -5);
    eng_engine_destroy(&world.engine);
}

Test(shard, one_adjustment_of_an_item_goes_at_a_time)
{
    struct world world;
    world_make(&world);
    bool changes;
    enum tg_field field;
    cr_assert_eq(adjust_by(&world, 2, 1, &changes), TG_OK);
    struct tg_record first = world.record;
    cr_assert_eq(adjust_by(&world, 2, 1, &changes), TG_BUSY);
    cr_assert_not(changes);
    cr_assert_eq(memcmp(&first, &world.record, sizeof(first)), 0);
    cr_assert_eq(adjust_by(&world, 0, 1, &changes), TG_OK, "another item may");
    world.record = first;
    settle(&world, 2, TG_OUTCOME_DURABLE);
    cr_assert_eq(adjust_by(&world, 2, 1, &changes), TG_OK);
    struct eng_adjust change = {.delta_units = 1, .reason = "why", .reason_bytes = 3};
    cr_assert_eq(eng_shard_adjust(owner(&world, 3), item_at(&world, 3), &change, NOW, NULL,
                                  &changes, &field),
                 TG_BUSY, "the journal is full");
    eng_engine_destroy(&world.engine);
}

/* --- forgetting --- */

Test(shard, an_id_is_remembered_for_its_time_and_then_forgotten)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    accept(&world, 2, &order, 1);
    sweep(&world, 2, NOW + TTL_MS);
    cr_assert(place(&world, 2, &order).replayed, "the last moment");
    cr_assert_eq(sweep(&world, 2, NOW + TTL_MS + 1000), 1);
    struct eng_decision decision = place(&world, 2, &order);
    cr_assert_eq(decision.verdict, TG_ACCEPTED);
    cr_assert_not(decision.replayed);
    eng_engine_destroy(&world.engine);
}

Test(shard, an_order_in_flight_is_never_forgotten)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    place(&world, 0, &order);
    cr_assert_eq(sweep(&world, 0, ENDS + ENG_COUNTS_KEPT_MS + 10 * TTL_MS), 0);
    world.record.order_id = 5;
    eng_shard_order_durable(owner(&world, 0), &world.record);
    cr_assert_eq(sweep(&world, 0, ENDS + ENG_COUNTS_KEPT_MS + 10 * TTL_MS), 2, "id and holding");
    eng_engine_destroy(&world.engine);
}

Test(shard, limits_outlive_the_ids_and_the_sale_by_a_day)
{
    struct world world;
    world_make(&world);
    struct tg_order first = order_of(1, 1), second = order_of(2, 1);
    first.quantity = second.quantity = 2;
    accept(&world, 0, &first, 1);
    cr_assert_eq(sweep(&world, 0, NOW + TTL_MS + 1000), 1);
    cr_assert_eq(verdict_at(&world, 0, &second, NOW + TTL_MS + 1000), TG_LIMIT_REACHED);
    cr_assert_eq(sweep(&world, 0, ENDS + ENG_COUNTS_KEPT_MS - 1), 0);
    cr_assert_eq(sweep(&world, 0, ENDS + ENG_COUNTS_KEPT_MS), 1);
    cr_assert_eq(owner(&world, 0)->holdings.count, 0);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_paused_sale_keeps_its_limits_and_a_closed_one_drops_them)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    accept(&world, 0, &order, 1);
    set_state(&world, TG_SALE_PAUSED);
    cr_assert_eq(sweep(&world, 0, NOW), 0);
    set_state(&world, TG_SALE_CLOSED);
    cr_assert_eq(sweep(&world, 0, NOW), 1);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_channels_share_outlasts_the_sale_by_a_day_and_its_orders_in_flight)
{
    struct world world;
    world_make_with(&world, half_for_channel_7);
    struct tg_order order = channel_order(1, 7, 1);
    place(&world, 2, &order);
    cr_assert_eq(sweep(&world, 2, ENDS + ENG_COUNTS_KEPT_MS), 0, "in flight");
    eng_shard_order_durable(owner(&world, 2), &world.record);
    cr_assert_eq(sweep(&world, 2, ENDS + ENG_COUNTS_KEPT_MS - 1), 0,
                 "a retry comes too late, a payment not yet");
    cr_assert_eq(sweep(&world, 2, ENDS + ENG_COUNTS_KEPT_MS), 1);
    eng_engine_destroy(&world.engine);
}

Test(shard, what_is_counted_for_a_sale_lasts_as_long_as_the_sale)
{
    struct world world;
    world_make_with(&world, group_buy);
    struct eng_holdings *holdings = &owner(&world, 0)->holdings;
    eng_holdings_add(holdings, 1, ENG_HELD_TEAMS | 0, 1);
    eng_holdings_add(holdings, 1, ENG_HELD_ORDERS | 0, 1);
    cr_assert_eq(sweep(&world, 0, ENDS - 1), 0);
    cr_assert_eq(sweep(&world, 0, ENDS), 2);
    eng_engine_destroy(&world.engine);
}

/* --- recovery --- */

/* The order of id 7 and user 42 on item 0, as the storage hands it out. */
Test(shard, a_restored_order_answers_its_retry_as_before_and_counts_for_the_limit)
{
    struct world world;
    world_make(&world);
    struct tg_fault fault;
    struct tg_order order = order_of(7, 42);
    order.quantity = 2;
    order.channel = 3;
    order.external_id = (const uint8_t *)"e";
    order.external_bytes = 1;
    struct tg_order_row row = row_of(&order, 0);
    store(&world, &row);
    eng_engine_restore_request_prefetch(&world.engine, &row);
    eng_engine_restore_counts_prefetch(&world.engine, &row);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &row, NULL, NOW, &fault), TG_ERR_OK);
    struct eng_decision retry = place(&world, 0, &order);
    cr_assert(retry.replayed);
    cr_assert_not(retry.in_flight);
    struct tg_answer answer = retry.answer;
    cr_assert_eq(answer.order_id, 99);
    cr_assert_eq(answer.unit_price_minor, PRICE);
    cr_assert_eq(answer.accepted_at_ms, NOW);
    struct tg_order second = order_of(8, 42);
    second.quantity = 2;
    expect_refusal(&world, 0, &second, NOW, TG_LIMIT_REACHED);
    order.channel = 4;
    expect_refusal(&world, 0, &order, NOW, TG_REQUEST_ID_CONFLICT);
    eng_engine_destroy(&world.engine);
}

Test(shard, an_old_order_is_restored_for_its_limit_alone)
{
    struct world world;
    world_make(&world);
    struct tg_fault fault;
    struct tg_order order = order_of(7, 42);
    struct tg_order_row row = row_of(&order, 0);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &row, NULL, NOW + TTL_MS + 1, &fault),
                 TG_ERR_OK);
    cr_assert_eq(owner(&world, 0)->requests.count, 0);
    cr_assert_eq(eng_holdings_units(&owner(&world, 0)->holdings, 42, 0), 1);
    struct tg_order_row late = row_of(&order, 1);
    cr_assert_eq(
        eng_engine_restore_order(&world.engine, &late, NULL, ENDS + ENG_COUNTS_KEPT_MS, &fault),
        TG_ERR_OK);
    cr_assert_eq(owner(&world, 1)->holdings.count, 0, "nobody is held against them any more");
    eng_engine_destroy(&world.engine);
}

/* --- recovery: lives, carts, teams --- */

static enum tg_error restore(struct world *world, const struct tg_order_row *row,
                             const struct tg_life *life)
{
    struct tg_fault fault;
    return eng_engine_restore_order(&world->engine, row, life, NOW, &fault);
}

Test(shard, an_order_that_was_never_changed_is_restored_with_its_timer)
{
    struct world world;
    world_make_with(&world, mixed_policies);
    struct tg_order order = order_of(1, 1), other = order_of(2, 2);
    struct tg_order_row row = row_of(&order, 1), sold = row_of(&other, 2);
    cr_assert_eq(restore(&world, &row, NULL), TG_ERR_OK);
    struct eng_timer timer = due_at(&world, 1, NOW + WINDOW_MS + 100);
    cr_assert_eq(timer.due_ms, NOW + WINDOW_MS);
    cr_assert_eq(timer.id, eng_timer_id(ENG_TIMER_ORDER, 99));
    cr_assert_eq(restore(&world, &sold, NULL), TG_ERR_OK);
    cr_assert_eq(eng_wheel_count(owner(&world, 2)->wheel), SALE_TIMERS, "ON_PLACE has none");
    eng_engine_destroy(&world.engine);
}

Test(shard, an_order_that_waits_is_restored_with_the_deadline_that_it_has_now)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    struct tg_order_row row = row_of(&order, 1);
    struct tg_life life = {.state = TG_ORDER_RESERVED, .payment_deadline_ms = NOW + 5000};
    cr_assert_eq(restore(&world, &row, &life), TG_ERR_OK);
    cr_assert_eq(due_at(&world, 1, NOW + 5100).due_ms, NOW + 5000);
    life.payment_deadline_ms = 0;
    cr_assert_eq(restore(&world, &row, &life), TG_ERR_OK);
    life = (struct tg_life){.state = TG_ORDER_CONFIRMED, .payment_deadline_ms = NOW + 5000};
    cr_assert_eq(restore(&world, &row, &life), TG_ERR_OK);
    cr_assert_eq(eng_wheel_count(owner(&world, 1)->wheel), 0, "paid, or for ever");
    eng_engine_destroy(&world.engine);
}

Test(shard, an_order_that_stands_no_more_is_restored_for_its_retry_alone)
{
    static const uint8_t states[] = {TG_ORDER_EXPIRED, TG_ORDER_CANCELLED, TG_ORDER_TEAM_FAILED,
                                     TG_ORDER_REFUND_DUE, TG_ORDER_REFUNDED};
    struct world world;
    world_make(&world);
    for (uint8_t i = 0; i < sizeof(states); i++) {
        struct tg_order order = order_of(1 + i, 42);
        struct tg_order_row row = row_of(&order, 0);
        struct tg_life life = {.state = states[i]};
        row.order_id += i;
        store(&world, &row);
        cr_assert_eq(restore(&world, &row, &life), TG_ERR_OK);
        cr_assert(place(&world, 0, &order).replayed);
    }
    cr_assert_eq(owner(&world, 0)->holdings.count, 0);
    struct tg_order order = order_of(9, 42);
    struct tg_order_row row = row_of(&order, 0);
    struct tg_life life = {.state = TG_ORDER_COMPLETED};
    cr_assert_eq(restore(&world, &row, &life), TG_ERR_OK);
    cr_assert_eq(eng_holdings_units(&owner(&world, 0)->holdings, 42, 0), 1, "it stands");
    eng_engine_destroy(&world.engine);
}

Test(shard, a_restored_cart_counts_each_line_where_its_item_is)
{
    struct world world;
    world_make_with(&world, half_for_channel_7);
    struct tg_order order = channel_order(1, 7, 3);
    order.unit_price_minor = 0;
    struct tg_order_row row = row_of(&order, 0);
    row.flags = TG_ORDER_CART;
    row.line_count = 2;
    row.lines[0] = (struct tg_line){.item = 0, .quantity = 2, .unit_price_minor = PRICE};
    row.lines[1] = (struct tg_line){.item = 1, .quantity = 1, .unit_price_minor = PRICE};
    cr_assert_eq(restore(&world, &row, NULL), TG_ERR_OK);
    const struct eng_holdings *first = &owner(&world, 0)->holdings;
    const struct eng_holdings *second = &owner(&world, 1)->holdings;
    cr_assert_eq(eng_holdings_units(first, 1, 0), 2);
    cr_assert_eq(eng_holdings_units(first, 7, ENG_HELD_CHANNEL | 0), 2);
    cr_assert_eq(eng_holdings_units(second, 1, 1), 1);
    cr_assert_eq(eng_holdings_units(second, 7, ENG_HELD_CHANNEL | 1), 1);
    cr_assert_eq(owner(&world, 0)->requests.count, 1);
    cr_assert_eq(owner(&world, 1)->requests.count, 0, "the shard of the first line owns it");
    cr_assert_eq(eng_wheel_count(owner(&world, 1)->wheel), 0);
    eng_engine_destroy(&world.engine);
}

Test(shard, a_restored_member_of_a_team_is_no_new_buyer)
{
    struct world world;
    world_make_with(&world, group_buy);
    struct tg_order order = order_of(1, 42);
    struct tg_order_row row = row_of(&order, 3);
    row.flags = TG_ORDER_JOINER;
    row.team_id = 5;
    struct tg_life life = {.state = TG_ORDER_AWAITING_TEAM};
    cr_assert_eq(restore(&world, &row, &life), TG_ERR_OK);
    const struct eng_holdings *holdings = &owner(&world, 3)->holdings;
    cr_assert_eq(eng_holdings_units(holdings, 42, ENG_HELD_ORDERS | 0), 1);
    eng_engine_destroy(&world.engine);
}

Test(shard, recovery_names_the_timers_to_raise)
{
    struct world world;
    world_make_sized(&world, (struct sizes){64, 64, 1});
    struct tg_fault fault;
    struct tg_order one = order_of(1, 1), two = order_of(2, 2);
    struct tg_order_row first = row_of(&one, 1), second = row_of(&two, 1);
    cr_assert_eq(restore(&world, &first, NULL), TG_ERR_OK);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &second, NULL, NOW, &fault), TG_ERR_FULL);
    cr_assert_not_null(strstr(fault.text, "engine.timers_max"));
    eng_engine_destroy(&world.engine);
}

Test(shard, of_two_restored_orders_with_one_id_the_younger_counts)
{
    struct world world;
    world_make(&world);
    struct tg_fault fault;
    struct tg_order order = order_of(7, 42);
    struct tg_order_row older = row_of(&order, 2), younger = row_of(&order, 2);
    younger.order_id = older.order_id + 1024;
    younger.accepted_at_ms = NOW + 5;
    store(&world, &older);
    store(&world, &younger);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &older, NULL, NOW, &fault), TG_ERR_OK);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &younger, NULL, NOW, &fault), TG_ERR_OK);
    struct eng_decision retry = place(&world, 2, &order);
    cr_assert(retry.replayed);
    cr_assert_eq(retry.answer.order_id, younger.order_id);
    cr_assert_eq(retry.answer.accepted_at_ms, NOW + 5);
    cr_assert_eq(sweep(&world, 2, NOW + TTL_MS + 1005), 2);
    cr_assert_not(place(&world, 2, &order).replayed, "nothing of the older one is left");
    eng_engine_destroy(&world.engine);
}

/* More than a fixed number of slots in each sweep would get through in the same time. */
#define CROWDED 180000

Test(shard, a_full_table_that_is_past_its_time_is_soon_empty)
{
    struct world world;
    world_make_sized(&world, (struct sizes){CROWDED, 64, CROWDED + 1});
    struct eng_shard *shard = owner(&world, 2);
    struct tg_fault fault;
    struct tg_order order = order_of(0, 1);
    for (uint64_t i = 0; i < CROWDED; i++) {
        struct tg_order_row row = row_of(&order, 2);
        memcpy(row.request_id, &i, sizeof(i));
        cr_assert_eq(eng_engine_restore_order(&world.engine, &row, NULL, NOW, &fault), TG_ERR_OK);
    }
    order = order_of(255, 1);
    cr_assert_eq(verdict_at(&world, 2, &order, NOW + TTL_MS + 1000), TG_BUSY, "it is full");
    eng_shard_sweep(shard, NOW + TTL_MS + 1000);
    cr_assert_eq(verdict_at(&world, 2, &order, NOW + TTL_MS + 1000), TG_ACCEPTED);
    int sweeps = 1;
    for (; shard->requests.count > CROWDED / 2; sweeps++)
        eng_shard_sweep(shard, NOW + TTL_MS + 1000);
    cr_assert_leq(sweeps, 128, "half a round while it is crowded");
    for (; shard->requests.count > 1; sweeps++)
        eng_shard_sweep(shard, NOW + TTL_MS + 1000);
    cr_assert_leq(sweeps, 300, "%d sweeps", sweeps);
    eng_engine_destroy(&world.engine);
}

Test(shard, recovery_names_the_limit_to_raise)
{
    struct world world;
    world_make_sized(&world, (struct sizes){1, 1, 64});
    struct tg_fault fault;
    struct tg_order one = order_of(1, 1), two = order_of(2, 2);
    struct tg_order_row row = row_of(&one, 0), other = row_of(&two, 0), third = row_of(&two, 2);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &row, NULL, NOW, &fault), TG_ERR_OK);
    cr_assert_eq(eng_engine_restore_order(&world.engine, &other, NULL, NOW, &fault), TG_ERR_FULL);
    cr_assert_not_null(strstr(fault.text, "engine.holdings_max"));
    cr_assert_eq(eng_engine_restore_order(&world.engine, &third, NULL, NOW, &fault), TG_ERR_FULL);
    cr_assert_not_null(strstr(fault.text, "engine.orders_max"));
    eng_engine_destroy(&world.engine);
}

/* --- broken promises --- */

Test(shard, an_order_of_another_shards_item_stops_the_process, .signal = SIGABRT)
{
    struct world world;
    world_make(&world);
    struct eng_decision decision;
    struct tg_order order = order_of(1, 1);
    eng_shard_place(owner(&world, 1), item_at(&world, 0), &order, NOW, &world.record, &decision);
}

Test(shard, a_completion_that_comes_twice_stops_the_process, .signal = SIGABRT)
{
    struct world world;
    world_make(&world);
    struct tg_order order = order_of(1, 1);
    accept(&world, 0, &order, 1);
    eng_shard_order_durable(owner(&world, 0), &world.record);
}
