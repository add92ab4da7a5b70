/* Orders of other channels: known for ever, at their own price and in their own time. */
#include "tests/lib/ledger.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    CHANNEL = 7,
    THEIR_PRICE = 33,
};

struct world {
    struct ledger *ledger;
    struct eng_item *item;
    struct eng_decision decision;
};

static struct world world_make(void)
{
    struct world world = {.ledger = ledger_create(1)};
    world.item = ledger_add(world.ledger, ledger_sale(1, 1));
    return world;
}

static void world_free(struct world *world)
{
    ledger_check_rest(world->ledger);
    ledger_destroy(world->ledger);
}

static struct tg_order order_of(const uint8_t *external)
{
    struct tg_order order = {
        .user_id = 1,
        .unit_price_minor = THEIR_PRICE,
        .quantity = 2,
        .channel = CHANNEL,
        .external_id = external,
        .external_bytes = 3,
    };
    eng_ingest_id(CHANNEL, external, 3, order.request_id);
    return order;
}

static struct tg_payment payment_of(void)
{
    return (struct tg_payment){.amount_minor = 2 * THEIR_PRICE,
                               .paid_at_ms = 5,
                               .currency = {'E', 'U', 'R'},
                               .id_bytes = 1,
                               .id = {9}};
}

static enum eng_step ingest(struct world *world, const struct tg_order *order,
                            const struct tg_payment *payment)
{
    return ledger_ingest(world->ledger, world->item, order, payment, &world->decision);
}

static const uint8_t one[] = "one";

Test(ingest, an_unpaid_order_waits_for_its_payment)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    cr_assert_eq(ingest(&world, &order, NULL), ENG_RECORDED);
    ledger_run(world.ledger, true);
    const struct ledger_order *stored = &world.ledger->orders[0];
    cr_assert_not(stored->has_life);
    cr_assert_eq(stored->life.amount_minor, 2 * THEIR_PRICE);
    uint64_t id = stored->row.order_id;
    ledger_wait(world.ledger, 1000000);
    cr_assert_eq(ledger_state(world.ledger, id), TG_ORDER_EXPIRED);
    world_free(&world);
}

Test(ingest, a_paid_order_is_confirmed_at_once)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    struct tg_payment payment = payment_of();
    cr_assert_eq(ingest(&world, &order, &payment), ENG_RECORDED);
    ledger_run(world.ledger, true);
    const struct ledger_order *stored = &world.ledger->orders[0];
    cr_assert_eq(stored->life.state, TG_ORDER_CONFIRMED);
    cr_assert_eq(stored->life.version, 0);
    cr_assert_eq(eng_item_stock(world.item).sold_units, 2);
    cr_assert_eq(world.ledger->events[TG_EVENT_ORDER_PAID], 1);
    world_free(&world);
}

Test(ingest, a_payment_that_does_not_fit_takes_nothing)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    struct tg_payment payment = payment_of();
    payment.amount_minor++;
    cr_assert_eq(ingest(&world, &order, &payment), ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_AMOUNT_MISMATCH);
    payment = payment_of();
    memcpy(payment.currency, "USD", TG_CURRENCY_BYTES);
    ingest(&world, &order, &payment);
    cr_assert_eq(world.decision.verdict, TG_CURRENCY_MISMATCH);
    world_free(&world);
}

Test(ingest, repeated_is_the_same_order)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    ingest(&world, &order, NULL);
    cr_assert_eq(ingest(&world, &order, NULL), ENG_FINAL);
    cr_assert(world.decision.replayed && world.decision.in_flight);
    ledger_run(world.ledger, true);
    cr_assert_eq(ingest(&world, &order, NULL), ENG_FINAL);
    cr_assert(world.decision.replayed && !world.decision.in_flight);
    order.quantity = 1;
    ingest(&world, &order, NULL);
    cr_assert_eq(world.decision.verdict, TG_REQUEST_ID_CONFLICT);
    world_free(&world);
}

/* A payment must not be answered "known" when nobody recorded it. */
Test(ingest, repeated_with_a_payment_must_have_that_payment)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    struct tg_payment payment = payment_of();
    ingest(&world, &order, NULL);
    cr_assert_eq(ingest(&world, &order, &payment), ENG_WAIT);
    ledger_run(world.ledger, true);
    cr_assert_eq(ingest(&world, &order, &payment), ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_REQUEST_ID_CONFLICT);
    struct eng_command command =
        ledger_payment(world.ledger, world.ledger->orders[0].row.order_id, 9);
    command.payment.paid_at_ms = payment.paid_at_ms;
    cr_assert_eq(ledger_do(world.ledger, &command), TG_OK);
    cr_assert_eq(ingest(&world, &order, &payment), ENG_FINAL);
    cr_assert(world.decision.replayed && world.decision.verdict == TG_ACCEPTED);
    world_free(&world);
}

Test(ingest, the_database_remembers_what_memory_forgot)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    struct eng_shard *shard = &world.ledger->engine.shards[0];
    ingest(&world, &order, NULL);
    ledger_run(world.ledger, true);
    struct eng_request_key key =
        eng_request_key(order.request_id, world.ledger->engine.config.hash_seed);
    int64_t forgotten_ms = world.ledger->now_ms + world.ledger->engine.config.request_ttl_ms + 2000;
    while (shard->requests.count > 0)
        eng_shard_sweep(shard, forgotten_ms);
    cr_assert_eq(eng_requests_find(&shard->requests, &key), ENG_SLOT_NONE);
    cr_assert_eq(ingest(&world, &order, NULL), ENG_FINAL);
    cr_assert(world.decision.replayed && !world.decision.in_flight);
    cr_assert_eq(world.decision.answer.order_id, world.ledger->orders[0].row.order_id);
    cr_assert_eq(world.decision.answer.unit_price_minor, THEIR_PRICE);
    order.user_id++;
    ingest(&world, &order, NULL);
    cr_assert_eq(world.decision.verdict, TG_REQUEST_ID_CONFLICT);
    cr_assert_not(world.decision.replayed);
    world_free(&world);
}

Test(ingest, the_window_is_held_against_the_time_of_the_order)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    struct eng_unit unit = {.journal = &world.ledger->journals[0]};
    struct eng_shard *shard = &world.ledger->engine.shards[0];
    int64_t ends_at_ms = world.item->ends_at_ms;
    cr_assert_eq(
        eng_ingest(shard, world.item, &order, ends_at_ms, NULL, ends_at_ms, &unit, &world.decision),
        ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_ENDED);
    cr_assert_eq(eng_ingest(shard, world.item, &order, ends_at_ms - 1, NULL, ends_at_ms + 1000,
                            &unit, &world.decision),
                 ENG_RECORDED);
    tg_journal_append_unit(unit.journal, unit.count);
    ledger_run(world.ledger, true);
    world_free(&world);
}

Test(ingest, a_group_buy_takes_none)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    world.item = ledger_add(world.ledger, ledger_group_buy(2, 1));
    cr_assert_eq(ingest(&world, &order, NULL), ENG_FINAL);
    cr_assert_eq(world.decision.verdict, TG_TEAM_REQUIRED);
    world_free(&world);
}

Test(ingest, refused_by_the_storage_leaves_nothing)
{
    struct world world = world_make();
    struct tg_order order = order_of(one);
    struct tg_payment payment = payment_of();
    ingest(&world, &order, &payment);
    ledger_run(world.ledger, false);
    ledger_check_rest(world.ledger);
    cr_assert_eq(ingest(&world, &order, &payment), ENG_RECORDED);
    ledger_run(world.ledger, true);
    world_free(&world);
}

/* --- one order, two shards --- */

/* What another shard does while this one, with an order that it has looked up and not found, is not
 * given the processor: it takes the same order for an item of its own and forgets it again. */
struct sleeper {
    struct eng_loader loader; /* the ledger's */
    struct ledger *ledger;
    struct eng_item *item;
    const struct tg_order *order;
    bool has_slept;
};

static void take_and_forget(const struct sleeper *sleeper)
{
    struct ledger *ledger = sleeper->ledger;
    struct eng_shard *other = &ledger->engine.shards[1];
    struct eng_decision decision;
    cr_assert_eq(ledger_ingest(ledger, sleeper->item, sleeper->order, NULL, &decision),
                 ENG_RECORDED);
    ledger_commit(ledger, 1, true);
    ledger_settle(ledger, 1);
    int64_t forgotten_ms = ledger->now_ms + ledger->engine.config.request_ttl_ms + 2000;
    while (other->requests.count > 0)
        eng_shard_sweep(other, forgotten_ms);
}

static enum eng_load load_and_sleep(void *context, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                    uint64_t *order_id)
{
    struct sleeper *sleeper = context;
    enum eng_load load = sleeper->loader.ingested(sleeper->loader.context, request_id, order_id);
    if (!sleeper->has_slept) {
        sleeper->has_slept = true;
        take_and_forget(sleeper);
    }
    return load;
}

/* The second of them ended the process: it is the writer's to assert that ids are new. */
Test(ingest, forgotten_by_another_shard_between_look_up_and_bind_is_known)
{
    struct ledger *ledger = ledger_create(2);
    struct eng_item *items = ledger_add(ledger, ledger_sale(1, 2));
    struct tg_order order = order_of(one);
    struct eng_shard *shard = &ledger->engine.shards[0];
    struct eng_unit unit = {.journal = &ledger->journals[0]};
    struct sleeper sleeper = {
        .loader = shard->loader, .ledger = ledger, .item = &items[1], .order = &order};
    struct eng_decision decision;
    shard->loader = (struct eng_loader){.context = &sleeper, .ingested = load_and_sleep};
    cr_assert_eq(eng_ingest(shard, &items[0], &order, ledger->now_ms, NULL, ledger->now_ms, &unit,
                            &decision),
                 ENG_FINAL);
    cr_assert(sleeper.has_slept);
    cr_assert_eq(decision.verdict, TG_REQUEST_ID_CONFLICT);
    cr_assert_eq(ledger->order_count, 1);
    cr_assert_eq(eng_item_stock(&items[0]).available_units, 10);
    cr_assert_eq(shard->requests.count, 0);
    ledger_destroy(ledger);
}

/* Stored by one build and looked up by the next. */
Test(ingest, ids_are_the_same_in_every_build_and_differ_by_channel)
{
    static const uint8_t expected[TG_REQUEST_ID_BYTES] = {
        0x24, 0xf4, 0x62, 0x45, 0xf7, 0xe5, 0x9c, 0x26,
        0xe0, 0x33, 0x30, 0x55, 0x66, 0x7c, 0xbf, 0x9f,
    };
    uint8_t id[TG_REQUEST_ID_BYTES];
    uint8_t other[TG_REQUEST_ID_BYTES];
    eng_ingest_id(CHANNEL, one, 3, id);
    cr_assert_arr_eq(id, expected, TG_REQUEST_ID_BYTES);
    eng_ingest_id(CHANNEL + 256, one, 3, other);
    cr_assert_arr_neq(id, other, TG_REQUEST_ID_BYTES);
}
