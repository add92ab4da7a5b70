/* Deciding: the shard that accepts, settles and refuses, and the gate of another core. */
#include "bench/micro/micro.h"
#include "engine/shard.h"

#include <stdlib.h>

enum {
    IN_FLIGHT = 1000
};

struct decide {
    struct eng_engine engine;
    struct eng_item *item;
    struct tg_order *orders;
    struct tg_record record;
    uint32_t next; /* of `orders` */
};

/* `shards` beyond one: the gate and a refusal also look into the other shards' request ids. */
static struct decide *world(uint32_t count, uint32_t shards, uint32_t stock_units)
{
    struct decide *d = micro_alloc(sizeof(*d));
    struct eng_config config = {
        .shards = shards,
        .sales_max = 16,
        .items_max = 16,
        .orders_max = count + 16,
        .holdings_max = count + 16,
        .timers_max = count + 1024,
        .request_ttl_ms = 86400 * 1000ll,
        .now_ms = MICRO_NOW_MS,
        .hash_seed = 1,
    };
    struct tg_fault fault;
    if (eng_engine_create(&config, &d->engine, &fault) != TG_ERR_OK)
        micro_die("%s", fault.text);
    struct tg_sale_def *def = micro_sale(stock_units);
    bool full;
    if (eng_catalog_prepare(&d->engine.catalog, def, &full) != TG_OK)
        micro_die("the sale was not taken");
    eng_engine_publish_sale(&d->engine, def);
    free(def);
    d->item = eng_catalog_item(&d->engine.catalog, MICRO_SALE_ID, MICRO_SKU, sizeof(MICRO_SKU) - 1);
    d->orders = micro_alloc(count * sizeof(*d->orders));
    for (uint32_t i = 0; i < count; i++)
        d->orders[i] = micro_order(i);
    return d;
}

static void *prepare_stocked(uint32_t count, const char *dir)
{
    (void)dir;
    return world(count, 1, count);
}

/* Sold at its placement: no timer. */
static void *prepare_on_place(uint32_t count, const char *dir)
{
    struct decide *d = prepare_stocked(count, dir);
    d->item->stock_policy = TG_POLICY_ON_PLACE;
    return d;
}

static void *prepare_sold_out(uint32_t count, const char *dir)
{
    (void)dir;
    return world(count, 1, 0);
}

static void *prepare_two_shards(uint32_t count, const char *dir)
{
    (void)dir;
    return world(count, 2, 0);
}

static void expect(enum tg_verdict verdict, enum tg_verdict expected)
{
    if (verdict != expected)
        micro_die("%s where %s was expected", tg_verdict_name((int)verdict),
                  tg_verdict_name((int)expected));
}

/* Each is settled as durable, which sets its payment timer. */
static void run_settle(void *state, uint32_t count)
{
    struct decide *d = state;
    for (uint32_t i = 0; i < count; i++) {
        struct eng_decision decision;
        eng_shard_place(d->engine.shards, d->item, &d->orders[i], MICRO_NOW_MS, &d->record,
                        &decision);
        expect(decision.verdict, TG_ACCEPTED);
        d->record.order_id = (uint64_t)(i + 1) << TG_PARTITION_BITS;
        eng_shard_order_durable(d->engine.shards, &d->record);
    }
}

static void run_refuse(void *state, uint32_t count)
{
    struct decide *d = state;
    for (uint32_t i = 0; i < count; i++) {
        struct eng_decision decision;
        eng_shard_place(d->engine.shards, d->item, &d->orders[i], MICRO_NOW_MS, &d->record,
                        &decision);
        expect(decision.verdict, TG_SOLD_OUT);
    }
}

static void run_gate(void *state, uint32_t count)
{
    struct decide *d = state;
    for (uint32_t i = 0; i < count; i++) {
        struct eng_decision decision;
        if (!eng_gate_refuses(&d->engine, d->item, &d->orders[i], MICRO_NOW_MS, &decision))
            micro_die("the gate let an order pass");
    }
}

/* A thousand are in flight, as under load, and are settled in turn. */
static void run_accept(void *state, uint32_t count)
{
    static struct tg_record records[IN_FLIGHT];
    struct decide *d = state;
    for (uint32_t i = 0; i < count; i++) {
        struct eng_decision decision;
        struct tg_record *record = &records[i % IN_FLIGHT];
        if (i >= IN_FLIGHT) {
            record->order_id = (uint64_t)i << TG_PARTITION_BITS;
            eng_shard_order_durable(d->engine.shards, record);
        }
        eng_shard_place(d->engine.shards, d->item, &d->orders[i], MICRO_NOW_MS, record, &decision);
        expect(decision.verdict, TG_ACCEPTED);
    }
}

const struct micro_case micro_accept = {"decide-accept", 1, prepare_on_place, run_accept};
const struct micro_case micro_settle = {"decide-settle", 1, prepare_stocked, run_settle};
const struct micro_case micro_refuse = {"decide-refuse", 1, prepare_sold_out, run_refuse};
const struct micro_case micro_gate = {"gate", 1, prepare_two_shards, run_gate};
