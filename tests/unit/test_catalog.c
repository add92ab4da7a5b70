/* The catalogue: sales and items, the gate, the stock. */
#include "engine/catalog.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED      0x636174ull
#define HASH_SEED 5ull

static struct eng_catalog catalog_make(uint32_t sales_max, uint32_t items_max, uint32_t shards)
{
    struct eng_catalog catalog;
    struct tg_fault fault;
    cr_assert_eq(eng_catalog_create(&catalog, sales_max, items_max, shards, HASH_SEED, &fault),
                 TG_ERR_OK);
    return catalog;
}

/* A sale in good order: its items are called <id>-0, <id>-1 ... and cost 100, 101 ... */
static struct tg_sale_def *def_make(uint64_t sale_id, uint32_t items)
{
    struct tg_sale_def *def = tg_sale_def_create(items);
    cr_assert_not_null(def);
    def->sale_id = sale_id;
    def->kind = TG_SALE_SECKILL;
    def->name_bytes = 6;
    memcpy(def->name, "a sale", 6);
    memcpy(def->currency, "EUR", 3);
    def->starts_at_ms = 1000;
    def->ends_at_ms = 2000;
    def->payment_window_s = 900;
    for (uint32_t i = 0; i < items; i++) {
        struct tg_item_def *item = &def->items[i];
        char sku[TG_SKU_BYTES_MAX + 1];
        item->sku_bytes = (uint8_t)snprintf(sku, sizeof(sku), "%lu-%u", sale_id, i);
        memcpy(item->sku, sku, item->sku_bytes);
        item->list_price_minor = 200 + i;
        item->sale_price_minor = 100 + i;
        item->stock_units = 10 + i;
        item->per_user_limit = 2;
        item->per_order_max = 3;
        item->stock_policy = TG_POLICY_RESERVE;
    }
    return def;
}

/* A group-buy in good order: teams of 10 that fail, and a ladder of two steps. */
static struct tg_sale_def *group_make(uint64_t sale_id, uint32_t items)
{
    struct tg_sale_def *def = def_make(sale_id, items);
    def->kind = TG_SALE_GROUP_BUY;
    def->team = (struct tg_team_rules){
        .team_size = 10, .at_deadline = TG_DEADLINE_FAIL, .team_lifetime_s = 86400};
    for (uint32_t i = 0; i < items; i++) {
        struct tg_item_def *item = &def->items[i];
        item->captain_price_minor = 50;
        item->ladder_steps = 2;
        item->ladder[0] = (struct tg_ladder_step){.size = 2, .unit_price_minor = 90};
        item->ladder[1] = (struct tg_ladder_step){.size = 10, .unit_price_minor = 80};
    }
    return def;
}

static struct eng_item *item_of(const struct eng_catalog *catalog, uint64_t sale_id,
                                const char *sku)
{
    return eng_catalog_item(catalog, sale_id, sku, strlen(sku));
}

/* Creates a sale of `items` items that is visible on return. */
static struct eng_sale *sale_add(struct eng_catalog *catalog, uint64_t sale_id, uint32_t items)
{
    bool full;
    struct tg_sale_def *def = def_make(sale_id, items);
    cr_assert_eq(eng_catalog_prepare(catalog, def, &full), TG_OK);
    eng_catalog_publish(catalog, def);
    free(def);
    return eng_catalog_sale(catalog, sale_id);
}

/* --- coming to be --- */

Test(catalog, is_empty_at_first)
{
    struct eng_catalog catalog = catalog_make(4, 4, 1);
    cr_assert_eq(eng_catalog_sale_count(&catalog), 0);
    cr_assert_null(eng_catalog_sale(&catalog, 1));
    cr_assert_null(eng_catalog_sale(&catalog, 0));
    cr_assert_null(item_of(&catalog, 1, "x"));
    eng_catalog_destroy(&catalog);
}

Test(catalog, a_sale_is_not_seen_before_it_is_published)
{
    struct eng_catalog catalog = catalog_make(4, 4, 1);
    struct tg_sale_def *def = def_make(7, 2);
    bool full;
    cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
    cr_assert_not(full);
    cr_assert_null(eng_catalog_sale(&catalog, 7));
    cr_assert_null(item_of(&catalog, 7, "7-0"));
    cr_assert_eq(eng_catalog_sale_count(&catalog), 0);
    eng_catalog_publish(&catalog, def);
    cr_assert_not_null(eng_catalog_sale(&catalog, 7));
    cr_assert_not_null(item_of(&catalog, 7, "7-1"));
    cr_assert_eq(eng_catalog_sale_count(&catalog), 1);
    free(def);
    eng_catalog_destroy(&catalog);
}

Test(catalog, a_published_sale_says_what_its_definition_said)
{
    struct eng_catalog catalog = catalog_make(4, 40, 3);
    sale_add(&catalog, 5, 10);
    const struct eng_sale *sale = sale_add(&catalog, 7, 5);
    cr_assert_eq(sale->sale_id, 7);
    cr_assert_eq(sale->sale, 1);
    cr_assert_eq(sale->starts_at_ms, 1000);
    cr_assert_eq(sale->ends_at_ms, 2000);
    cr_assert_eq(sale->first_item, 10);
    cr_assert_eq(sale->item_count, 5);
    cr_assert_eq(sale->kind, TG_SALE_SECKILL);
    cr_assert_eq(sale->name_bytes, 6);
    cr_assert_eq(memcmp(sale->name, "a sale", 6), 0);
    cr_assert_str_eq(sale->currency, "EUR");
    cr_assert_eq(eng_sale_state(sale), TG_SALE_ACTIVE);
    const struct eng_item *item = item_of(&catalog, 7, "7-3");
    cr_assert_eq(item->sale, sale);
    cr_assert_eq(item->item, 13);
    cr_assert_eq(item->shard, 13 % 3);
    cr_assert_str_eq(item->sku, "7-3");
    cr_assert_eq(item->sku_bytes, 3);
    cr_assert_eq(item->sale_price_minor, 103);
    cr_assert_eq(item->list_price_minor, 203);
    cr_assert_eq(item->per_user_limit, 2);
    cr_assert_eq(item->per_order_max, 3);
    cr_assert_eq(item->starts_at_ms, 1000);
    cr_assert_eq(item->ends_at_ms, 2000);
    struct tg_stock stock = eng_item_stock(item);
    cr_assert_eq(stock.initial_units, 13);
    cr_assert_eq(stock.available_units, 13);
    cr_assert_eq(stock.reserved_units, 0);
    cr_assert_eq(stock.sold_units, 0);
    cr_assert_eq(stock.restocked_units, 0);
    eng_catalog_destroy(&catalog);
}

Test(catalog, a_published_sale_has_the_rules_of_its_definition)
{
    struct eng_catalog catalog = catalog_make(4, 40, 3);
    struct tg_sale_def *def = group_make(7, 2);
    bool full;
    def->payment_window_s = 60;
    def->refund_auto_max_minor = 5000;
    def->team.new_buyers_only = true;
    def->team.teams_per_user_max = 3;
    def->share_count = 2;
    def->shares[1] = (struct tg_channel_share){.channel = 9, .percent = 40};
    def->announced = TG_ANNOUNCED_START;
    def->items[0].stock_policy = TG_POLICY_ON_PAYMENT;
    def->items[1].captain_price_minor = 0;
    cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
    eng_catalog_publish(&catalog, def);
    const struct eng_sale *sale = eng_catalog_sale(&catalog, 7);
    cr_assert_eq(sale->kind, TG_SALE_GROUP_BUY);
    cr_assert_eq(sale->payment_window_ms, 60000);
    cr_assert_eq(sale->refund_auto_max_minor, 5000);
    cr_assert_eq(memcmp(&sale->team, &def->team, sizeof(def->team)), 0);
    cr_assert_eq(sale->share_count, 2);
    cr_assert_eq(sale->shares[1].channel, 9);
    cr_assert_eq(sale->shares[1].percent, 40);
    cr_assert_eq(sale->announced, TG_ANNOUNCED_START);
    const struct eng_item *item = item_of(&catalog, 7, "7-0");
    cr_assert_eq(item->stock_policy, TG_POLICY_ON_PAYMENT);
    cr_assert(item->is_team_only);
    cr_assert(item->has_shares);
    cr_assert(item->is_counted);
    cr_assert_eq(item->captain_price_minor, 50);
    cr_assert_eq(item->ladder_steps, 2);
    cr_assert_eq(item->ladder[1].size, 10);
    cr_assert_eq(item->ladder[1].unit_price_minor, 80);
    cr_assert_eq(item_of(&catalog, 7, "7-1")->captain_price_minor, 101, "as everyone");
    free(def);
    eng_catalog_destroy(&catalog);
}

Test(catalog, an_item_is_counted_for_its_limit_a_share_or_new_buyers_and_else_not)
{
    struct eng_catalog catalog = catalog_make(4, 40, 1);
    struct tg_sale_def *plain = def_make(1, 2), *shares = def_make(2, 1),
                       *buyers = group_make(3, 1);
    struct tg_sale_def *defs[] = {plain, shares, buyers};
    bool full;
    plain->items[1].per_user_limit = shares->items[0].per_user_limit = 0;
    buyers->items[0].per_user_limit = 0;
    shares->share_count = 1;
    buyers->team.new_buyers_only = true;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(eng_catalog_prepare(&catalog, defs[i], &full), TG_OK);
        eng_catalog_publish(&catalog, defs[i]);
        free(defs[i]);
    }
    cr_assert(catalog.items[0].is_counted, "a limit");
    cr_assert_not(catalog.items[1].is_counted);
    cr_assert_not(catalog.items[1].has_shares);
    cr_assert(catalog.items[2].is_counted, "a share");
    cr_assert(catalog.items[3].is_counted, "new buyers");
    eng_catalog_destroy(&catalog);
}

Test(catalog, the_items_of_a_group_buy_belong_to_one_shard)
{
    struct eng_catalog catalog = catalog_make(2, 40, 3);
    struct tg_sale_def *def = group_make(7, 5);
    bool full;
    sale_add(&catalog, 5, 4);
    cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
    eng_catalog_publish(&catalog, def);
    for (uint32_t i = 4; i < 9; i++) {
        cr_assert_eq(catalog.items[i].partition, 4);
        cr_assert_eq(catalog.items[i].shard, 4 % 3);
    }
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(catalog.items[i].partition, i);
    free(def);
    eng_catalog_destroy(&catalog);
}

Test(catalog, a_payment_is_due_a_window_after_the_order_but_for_what_is_sold_at_once)
{
    struct eng_catalog catalog = catalog_make(1, 3, 1);
    struct tg_sale_def *def = def_make(1, 3);
    bool full;
    for (uint32_t i = 0; i < 3; i++)
        def->items[i].stock_policy = (uint8_t)(TG_POLICY_RESERVE + i);
    cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
    eng_catalog_publish(&catalog, def);
    cr_assert_eq(eng_item_payment_deadline_ms(&catalog.items[0], 1500), 1500 + 900000);
    cr_assert_eq(eng_item_payment_deadline_ms(&catalog.items[1], 1500), 0, "ON_PLACE");
    cr_assert_eq(eng_item_payment_deadline_ms(&catalog.items[2], 1500), 1500 + 900000);
    free(def);
    eng_catalog_destroy(&catalog);
}

Test(catalog, items_belong_to_shards_by_their_partition)
{
    struct eng_catalog catalog = catalog_make(1, 2 * TG_PARTITIONS, 3);
    sale_add(&catalog, 1, TG_PARTITIONS + 5);
    for (uint32_t i = 0; i < TG_PARTITIONS + 5; i++)
        cr_assert_eq(catalog.items[i].shard, i % TG_PARTITIONS % 3);
    cr_assert_eq(catalog.items[TG_PARTITIONS].shard, 0, "not 1,024 modulo 3");
    eng_catalog_destroy(&catalog);
}

Test(catalog, an_abandoned_sale_leaves_nothing_behind)
{
    struct eng_catalog catalog = catalog_make(1, 3, 1);
    struct tg_sale_def *def = def_make(7, 3);
    bool full;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
        eng_catalog_abandon(&catalog, def);
        cr_assert_null(eng_catalog_sale(&catalog, 7));
        cr_assert_null(item_of(&catalog, 7, "7-0"));
    }
    struct tg_sale_def *other = def_make(8, 2);
    cr_assert_eq(eng_catalog_prepare(&catalog, other, &full), TG_OK, "the rows are free again");
    eng_catalog_publish(&catalog, other);
    cr_assert_null(item_of(&catalog, 7, "7-0"));
    cr_assert_eq(item_of(&catalog, 8, "8-0")->item, 0);
    free(def);
    free(other);
    eng_catalog_destroy(&catalog);
}

Test(catalog, refuses_a_second_sale_of_one_id_and_a_second_creation_at_a_time)
{
    struct eng_catalog catalog = catalog_make(4, 40, 1);
    struct tg_sale_def *one = def_make(1, 1), *two = def_make(2, 1);
    bool full;
    cr_assert_eq(eng_catalog_prepare(&catalog, one, &full), TG_OK);
    cr_assert_eq(eng_catalog_prepare(&catalog, two, &full), TG_BUSY);
    cr_assert_not(full, "another creation is in flight, nothing is full");
    eng_catalog_publish(&catalog, one);
    cr_assert_eq(eng_catalog_prepare(&catalog, one, &full), TG_SALE_EXISTS);
    cr_assert_eq(eng_catalog_prepare(&catalog, two, &full), TG_OK);
    cr_assert_eq(eng_catalog_prepare(&catalog, one, &full), TG_SALE_EXISTS,
                 "known already, whatever is in flight");
    free(one);
    free(two);
    eng_catalog_destroy(&catalog);
}

Test(catalog, full_tables_are_an_answer)
{
    struct eng_catalog catalog = catalog_make(2, 5, 1);
    struct tg_sale_def *six = def_make(9, 6), *one = def_make(8, 1);
    bool full;
    cr_assert_eq(eng_catalog_prepare(&catalog, six, &full), TG_BUSY);
    cr_assert(full);
    sale_add(&catalog, 1, 2);
    sale_add(&catalog, 2, 3);
    cr_assert_eq(eng_catalog_prepare(&catalog, one, &full), TG_BUSY);
    cr_assert(full, "no sale is left");
    cr_assert_null(eng_catalog_sale(&catalog, 8), "a look-up in a full table ends");
    cr_assert_null(item_of(&catalog, 8, "8-0"));
    cr_assert_not_null(item_of(&catalog, 2, "2-2"));
    free(six);
    free(one);
    eng_catalog_destroy(&catalog);
}

Test(catalog, finds_each_of_many_and_only_those)
{
    struct eng_catalog catalog = catalog_make(100, 700, 4);
    for (uint64_t id = 1; id <= 100; id++)
        sale_add(&catalog, id, 7);
    for (uint64_t id = 1; id <= 100; id++) {
        cr_assert_eq(eng_catalog_sale(&catalog, id)->sale_id, id);
        for (uint32_t i = 0; i < 8; i++) {
            char sku[16];
            snprintf(sku, sizeof(sku), "%lu-%u", id, i);
            const struct eng_item *item = item_of(&catalog, id, sku);
            cr_assert_eq(item != NULL, i < 7);
            cr_assert(!item || item->item == (id - 1) * 7 + i);
            cr_assert_null(item_of(&catalog, id % 100 + 1, sku), "an item of another sale");
        }
    }
    cr_assert_null(eng_catalog_sale(&catalog, 101));
    eng_catalog_destroy(&catalog);
}

Test(catalog, a_sku_is_known_by_all_of_its_bytes)
{
    struct eng_catalog catalog = catalog_make(1, 3, 1);
    struct tg_sale_def *def = def_make(1, 3);
    bool full;
    for (uint32_t i = 0; i < 3; i++) {
        memset(def->items[i].sku, 'A', TG_SKU_BYTES_MAX);
        def->items[i].sku_bytes = (uint8_t)(TG_SKU_BYTES_MAX - i);
    }
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE);
    cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
    eng_catalog_publish(&catalog, def);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(eng_catalog_item(&catalog, 1, def->items[0].sku, TG_SKU_BYTES_MAX - i)->item,
                     i);
    cr_assert_null(eng_catalog_item(&catalog, 1, def->items[0].sku, TG_SKU_BYTES_MAX - 3));
    cr_assert_null(eng_catalog_item(&catalog, 1, def->items[0].sku, 0));
    free(def);
    eng_catalog_destroy(&catalog);
}

/* --- recovery --- */

Test(catalog, a_restored_sale_is_as_it_was)
{
    struct eng_catalog catalog = catalog_make(2, 4, 2);
    struct tg_sale_def *def = def_make(3, 2);
    struct tg_fault fault;
    struct tg_stock stocks[2] = {
        {.initial_units = 10,
         .available_units = 4,
         .reserved_units = 3,
         .sold_units = 2,
         .restocked_units = -1},
        {.initial_units = 11, .available_units = 12, .restocked_units = 1},
    };
    def->state = TG_SALE_PAUSED;
    def->items[0].item = 0;
    def->items[1].item = 1;
    cr_assert_eq(eng_catalog_restore(&catalog, def, stocks, &fault), TG_ERR_OK);
    cr_assert_eq(eng_sale_state(eng_catalog_sale(&catalog, 3)), TG_SALE_PAUSED);
    for (int i = 0; i < 2; i++) {
        struct tg_stock stock = eng_item_stock(&catalog.items[i]);
        cr_assert_eq(stock.initial_units, stocks[i].initial_units);
        cr_assert_eq(stock.available_units, stocks[i].available_units);
        cr_assert_eq(stock.reserved_units, stocks[i].reserved_units);
        cr_assert_eq(stock.sold_units, stocks[i].sold_units);
        cr_assert_eq(stock.restocked_units, stocks[i].restocked_units);
    }
    sale_add(&catalog, 4, 2);
    cr_assert_eq(item_of(&catalog, 4, "4-0")->item, 2, "new numbers go on behind the old");
    free(def);
    eng_catalog_destroy(&catalog);
}

Test(catalog, recovery_names_the_limit_to_raise_and_the_gap_it_found)
{
    struct eng_catalog catalog = catalog_make(1, 2, 1);
    struct tg_stock stocks[3] = {{0}};
    struct tg_fault fault;
    struct tg_sale_def *large = def_make(1, 3), *gap = def_make(1, 1), *next = def_make(2, 1);
    cr_assert_eq(eng_catalog_restore(&catalog, large, stocks, &fault), TG_ERR_FULL);
    cr_assert_not_null(strstr(fault.text, "engine.items_max"));
    gap->items[0].item = 1;
    cr_assert_eq(eng_catalog_restore(&catalog, gap, stocks, &fault), TG_ERR_BROKEN);
    gap->items[0].item = 0;
    cr_assert_eq(eng_catalog_restore(&catalog, gap, stocks, &fault), TG_ERR_OK);
    next->sale = 1;
    next->items[0].item = 1;
    cr_assert_eq(eng_catalog_restore(&catalog, next, stocks, &fault), TG_ERR_FULL);
    cr_assert_not_null(strstr(fault.text, "engine.sales_max"));
    free(large);
    free(gap);
    free(next);
    eng_catalog_destroy(&catalog);
}

/* --- the gate --- */

Test(catalog, the_gate_gives_the_first_reason_in_its_order)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    struct eng_sale *sale = sale_add(&catalog, 1, 1);
    struct eng_item *item = item_of(&catalog, 1, "1-0");
    /* Everything is wrong at first; each line mends what the line above complained of. */
    eng_item_move(item, -10, 10, 0, 0);
    bool changes;
    cr_assert_eq(eng_sale_state_decide(sale, TG_SALE_PAUSED, &changes), TG_OK);
    eng_sale_state_settle(sale, TG_SALE_PAUSED, true);
    cr_assert_eq(eng_item_gate(item, 4, 99, 2000), TG_ENDED);
    cr_assert_eq(eng_item_gate(item, 4, 99, 999), TG_NOT_STARTED);
    cr_assert_eq(eng_item_gate(item, 4, 99, 1999), TG_PAUSED);
    cr_assert_eq(eng_sale_state_decide(sale, TG_SALE_ACTIVE, &changes), TG_OK);
    eng_sale_state_settle(sale, TG_SALE_ACTIVE, true);
    cr_assert_eq(eng_item_gate(item, 4, 99, 1000), TG_PRICE_CHANGED);
    cr_assert_eq(eng_item_gate(item, 4, 101, 1000), TG_PRICE_CHANGED, "dearer is changed, too");
    cr_assert_eq(eng_item_gate(item, 4, 100, 1000), TG_INVALID_ARGUMENT);
    cr_assert_eq(eng_item_gate(item, 3, 100, 1000), TG_SOLD_OUT);
    eng_item_move(item, 2, -2, 0, 0);
    cr_assert_eq(eng_item_gate(item, 3, 100, 1000), TG_INSUFFICIENT_STOCK);
    cr_assert_eq(eng_item_gate(item, 2, 100, 1000), TG_ACCEPTED);
    eng_catalog_destroy(&catalog);
}

/* Units that are held may come back, so nobody may be told that they are gone. */
Test(catalog, what_units_that_are_held_would_make_up_for_is_busy)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    sale_add(&catalog, 1, 1);
    struct eng_item *item = &catalog.items[0];
    eng_item_transfer(item, TG_UNITS_NONE, TG_UNITS_RESERVED, 6, 0);
    eng_item_transfer(item, TG_UNITS_NONE, TG_UNITS_RESERVED, 2, 2);
    cr_assert_eq(eng_item_gate(item, 2, 100, 1000), TG_ACCEPTED);
    cr_assert_eq(eng_item_gate(item, 3, 100, 1000), TG_BUSY);
    cr_assert_eq(eng_item_gate_stock(item, 4), TG_BUSY);
    cr_assert_eq(eng_item_gate_stock(item, 5), TG_INSUFFICIENT_STOCK, "nor would they be enough");
    eng_item_transfer(item, TG_UNITS_NONE, TG_UNITS_SOLD, 2, 0);
    cr_assert_eq(eng_item_gate_stock(item, 2), TG_BUSY);
    cr_assert_eq(eng_item_gate_stock(item, 3), TG_SOLD_OUT);
    eng_item_transfer(item, TG_UNITS_RESERVED, TG_UNITS_RESERVED, 2, -2);
    cr_assert_eq(eng_item_gate_stock(item, 1), TG_SOLD_OUT, "held no more, but taken");
    eng_catalog_destroy(&catalog);
}

Test(catalog, the_window_can_be_asked_without_a_price)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    struct eng_sale *sale = sale_add(&catalog, 1, 1);
    const struct eng_item *item = &catalog.items[0];
    cr_assert_eq(eng_item_gate_window(item, 999), TG_NOT_STARTED);
    cr_assert_eq(eng_item_gate_window(item, 1000), TG_ACCEPTED);
    cr_assert_not(eng_item_is_over(item, 1999));
    cr_assert_eq(eng_item_gate_window(item, 2000), TG_ENDED);
    cr_assert(eng_item_is_over(item, 2000));
    bool changes;
    cr_assert_eq(eng_sale_state_decide(sale, TG_SALE_PAUSED, &changes), TG_OK);
    eng_sale_state_settle(sale, TG_SALE_PAUSED, true);
    cr_assert_eq(eng_item_gate_window(item, 1500), TG_PAUSED);
    cr_assert_not(eng_item_is_over(item, 1500), "it goes on later");
    cr_assert_eq(eng_sale_state_decide(sale, TG_SALE_CLOSED, &changes), TG_OK);
    eng_sale_state_settle(sale, TG_SALE_CLOSED, true);
    cr_assert(eng_item_is_over(item, 0));
    eng_catalog_destroy(&catalog);
}

Test(catalog, a_closed_sale_has_ended_at_any_time)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    struct eng_sale *sale = sale_add(&catalog, 1, 1);
    struct eng_item *item = item_of(&catalog, 1, "1-0");
    bool changes;
    cr_assert_eq(eng_sale_state_decide(sale, TG_SALE_CLOSED, &changes), TG_OK);
    cr_assert_eq(eng_item_gate(item, 1, 100, 1500), TG_ACCEPTED, "not before it is durable");
    eng_sale_state_settle(sale, TG_SALE_CLOSED, true);
    cr_assert_eq(eng_item_gate(item, 1, 100, 1500), TG_ENDED);
    cr_assert_eq(eng_item_gate(item, 1, 100, 0), TG_ENDED, "it will not start any more");
    eng_catalog_destroy(&catalog);
}

Test(catalog, no_maximum_per_order_is_no_maximum)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    struct tg_sale_def *def = def_make(1, 1);
    bool full;
    def->items[0].per_order_max = 0;
    def->items[0].stock_units = TG_STOCK_UNITS_MAX;
    cr_assert_eq(eng_catalog_prepare(&catalog, def, &full), TG_OK);
    eng_catalog_publish(&catalog, def);
    cr_assert_eq(eng_item_gate(&catalog.items[0], TG_QUANTITY_MAX, 100, 1000), TG_ACCEPTED);
    free(def);
    eng_catalog_destroy(&catalog);
}

/* --- stock --- */

Test(catalog, moved_stock_is_published_as_a_whole)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    sale_add(&catalog, 1, 1);
    struct eng_item *item = &catalog.items[0];
    eng_item_move(item, -4, 4, 0, 0);
    eng_item_move(item, 0, -1, 1, 0);
    eng_item_move(item, 5, 0, 0, 5);
    eng_item_move(item, -2, 0, 0, -2);
    struct tg_stock stock = eng_item_stock(item);
    cr_assert(tg_stock_holds(&stock));
    cr_assert_eq(stock.available_units, 9);
    cr_assert_eq(stock.reserved_units, 3);
    cr_assert_eq(stock.sold_units, 1);
    cr_assert_eq(stock.restocked_units, 3);
    cr_assert_eq(stock.initial_units, 10);
    eng_catalog_destroy(&catalog);
}

Test(catalog, units_go_from_any_place_to_any_other)
{
    static const struct {
        uint8_t before, after;
        int available, reserved, sold;
    } table[] = {
        {TG_UNITS_NONE, TG_UNITS_NONE, 0, 0, 0},
        {TG_UNITS_NONE, TG_UNITS_RESERVED, -3, 3, 0},
        {TG_UNITS_NONE, TG_UNITS_SOLD, -3, 0, 3},
        {TG_UNITS_RESERVED, TG_UNITS_NONE, 3, -3, 0},
        {TG_UNITS_RESERVED, TG_UNITS_RESERVED, 0, 0, 0},
        {TG_UNITS_RESERVED, TG_UNITS_SOLD, 0, -3, 3},
        {TG_UNITS_SOLD, TG_UNITS_NONE, 3, 0, -3},
        {TG_UNITS_SOLD, TG_UNITS_RESERVED, 0, 3, -3},
        {TG_UNITS_SOLD, TG_UNITS_SOLD, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct eng_catalog catalog = catalog_make(1, 1, 1);
        sale_add(&catalog, 1, 1);
        struct eng_item *item = &catalog.items[0];
        eng_item_move(item, -6, 3, 3, 0);
        eng_item_transfer(item, table[i].before, table[i].after, 3, 0);
        struct tg_stock stock = eng_item_stock(item);
        cr_assert_eq(stock.available_units, 4 + table[i].available, "row %zu", i);
        cr_assert_eq(stock.reserved_units, 3 + table[i].reserved, "row %zu", i);
        cr_assert_eq(stock.sold_units, 3 + table[i].sold, "row %zu", i);
        eng_catalog_destroy(&catalog);
    }
}

static void move(int64_t available, int64_t reserved, int64_t sold, int64_t restocked)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    sale_add(&catalog, 1, 1);
    eng_item_move(&catalog.items[0], available, reserved, sold, restocked);
}

Test(catalog, more_than_there_is_stops_the_process, .signal = SIGABRT)
{
    move(-11, 11, 0, 0);
}

Test(catalog, giving_back_what_nobody_holds_stops_the_process, .signal = SIGABRT)
{
    move(1, -1, 0, 0);
}

Test(catalog, selling_back_what_nobody_bought_stops_the_process, .signal = SIGABRT)
{
    move(1, 0, -1, 0);
}

Test(catalog, letting_go_of_what_nobody_held_stops_the_process, .signal = SIGABRT)
{
    struct eng_catalog catalog = catalog_make(1, 1, 1);
    sale_add(&catalog, 1, 1);
    eng_item_transfer(&catalog.items[0], TG_UNITS_NONE, TG_UNITS_RESERVED, 2, 1);
    eng_item_transfer(&catalog.items[0], TG_UNITS_RESERVED, TG_UNITS_RESERVED, 2, -2);
}

Test(catalog, a_unit_that_vanishes_stops_the_process, .signal = SIGABRT)
{
    move(-1, 0, 0, 0);
}

Test(catalog, a_unit_from_nowhere_stops_the_process, .signal = SIGABRT)
{
    move(0, 1, 0, 0);
}

Test(catalog, books_beyond_their_limit_stop_the_process, .signal = SIGABRT)
{
    move(TG_STOCK_UNITS_MAX, 0, 0, TG_STOCK_UNITS_MAX);
}

/* --- the state of a sale --- */

Test(catalog, a_sale_moves_along_its_diagram_and_nowhere_else)
{
    static const struct {
        enum tg_sale_state from, wanted;
        enum tg_verdict verdict;
        bool changes;
    } table[] = {
        {TG_SALE_ACTIVE, TG_SALE_ACTIVE, TG_OK, false},
        {TG_SALE_ACTIVE, TG_SALE_PAUSED, TG_OK, true},
        {TG_SALE_ACTIVE, TG_SALE_CLOSED, TG_OK, true},
        {TG_SALE_PAUSED, TG_SALE_ACTIVE, TG_OK, true},
        {TG_SALE_PAUSED, TG_SALE_PAUSED, TG_OK, false},
        {TG_SALE_PAUSED, TG_SALE_CLOSED, TG_OK, true},
        {TG_SALE_CLOSED, TG_SALE_ACTIVE, TG_ENDED, false},
        {TG_SALE_CLOSED, TG_SALE_PAUSED, TG_ENDED, false},
        {TG_SALE_CLOSED, TG_SALE_CLOSED, TG_OK, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct eng_sale sale = {.state = (uint8_t)table[i].from};
        bool changes = !table[i].changes;
        cr_assert_eq(eng_sale_state_decide(&sale, table[i].wanted, &changes), table[i].verdict,
                     "row %zu", i);
        cr_assert_eq(changes, table[i].changes, "row %zu", i);
        cr_assert_eq(sale.state_change_in_flight, table[i].changes, "row %zu", i);
        cr_assert_eq(eng_sale_state(&sale), table[i].from, "decided is not yet durable");
    }
}

Test(catalog, a_change_of_state_counts_when_it_is_durable_and_one_goes_at_a_time)
{
    struct eng_sale sale = {.state = TG_SALE_ACTIVE};
    bool changes;
    cr_assert_eq(eng_sale_state_decide(&sale, TG_SALE_PAUSED, &changes), TG_OK);
    cr_assert_eq(eng_sale_state_decide(&sale, TG_SALE_CLOSED, &changes), TG_BUSY);
    cr_assert_not(changes);
    cr_assert_eq(eng_sale_state_decide(&sale, TG_SALE_ACTIVE, &changes), TG_BUSY,
                 "it may be paused in a moment");
    eng_sale_state_settle(&sale, TG_SALE_PAUSED, false);
    cr_assert_eq(eng_sale_state(&sale), TG_SALE_ACTIVE, "refused by the storage");
    cr_assert_eq(eng_sale_state_decide(&sale, TG_SALE_PAUSED, &changes), TG_OK);
    eng_sale_state_settle(&sale, TG_SALE_PAUSED, true);
    cr_assert_eq(eng_sale_state(&sale), TG_SALE_PAUSED);
}

/* --- definitions --- */

static enum tg_field check_with(struct tg_sale_def *(*make)(uint64_t sale_id, uint32_t items),
                                void (*spoil)(struct tg_sale_def *def))
{
    struct tg_sale_def *def = make(1, 3);
    spoil(def);
    enum tg_field field = eng_sale_def_check(def);
    free(def);
    return field;
}

#define SPOILS(X)                                                                                  \
    X(sale_id, SALE_ID, def->sale_id = 0)                                                          \
    X(kind_0, KIND, def->kind = 0)                                                                 \
    X(kind_later, KIND, def->kind = 3)                                                             \
    X(name_none, NAME, def->name_bytes = 0)                                                        \
    X(name_control, NAME, def->name[2] = '\n')                                                     \
    X(name_nul, NAME, def->name[5] = '\0')                                                         \
    X(name_delete, NAME, def->name[0] = 0x7f)                                                      \
    X(name_beyond, NAME, (memset(def->name, 'n', 128), def->name_bytes = 129))                     \
    X(currency_lower, CURRENCY, def->currency[2] = 'r')                                            \
    X(currency_none, CURRENCY, memset(def->currency, 0, 3))                                        \
    X(starts_before, STARTS_AT, def->starts_at_ms = -1)                                            \
    X(starts_beyond, STARTS_AT, def->starts_at_ms = TG_TIME_MS_MAX + 1)                            \
    X(ends_at_start, ENDS_AT, def->ends_at_ms = def->starts_at_ms)                                 \
    X(ends_before, ENDS_AT, def->ends_at_ms = INT64_MIN)                                           \
    X(ends_beyond, ENDS_AT, def->ends_at_ms = TG_TIME_MS_MAX + 1)                                  \
    X(items_none, ITEMS, def->item_count = 0)                                                      \
    X(items_beyond, ITEMS, def->item_count = TG_SALE_ITEMS_MAX + 1)                                \
    X(sku_none, ITEM_SKU, def->items[2].sku_bytes = 0)                                             \
    X(sku_beyond, ITEM_SKU, def->items[2].sku_bytes = 33)                                          \
    X(sku_space, ITEM_SKU, def->items[1].sku[1] = ' ')                                             \
    X(sku_high, ITEM_SKU, def->items[1].sku[1] = 0x80)                                             \
    X(sku_twice, ITEM_SKU_TWICE, def->items[2].sku[2] = '0')                                       \
    X(list_negative, LIST_PRICE, def->items[1].list_price_minor = -1)                              \
    X(list_beyond, LIST_PRICE, def->items[1].list_price_minor = TG_PRICE_MINOR_MAX + 1)            \
    X(sale_negative, SALE_PRICE, def->items[0].sale_price_minor = -1)                              \
    X(sale_beyond, SALE_PRICE, def->items[0].sale_price_minor = TG_PRICE_MINOR_MAX + 1)            \
    X(stock_beyond, STOCK, def->items[2].stock_units = TG_STOCK_UNITS_MAX + 1)                     \
    X(window_none, PAYMENT_WINDOW, def->payment_window_s = 0)                                      \
    X(window_beyond, PAYMENT_WINDOW, def->payment_window_s = TG_PAYMENT_WINDOW_S_MAX + 1)          \
    X(refund_negative, REFUND_AUTO_MAX, def->refund_auto_max_minor = -1)                           \
    X(refund_beyond, REFUND_AUTO_MAX, def->refund_auto_max_minor = TG_AMOUNT_MINOR_MAX + 1)        \
    X(team_without_kind, GROUP_BUY, def->team.team_lifetime_s = 60)                                \
    X(kind_without_team, GROUP_BUY, def->kind = TG_SALE_GROUP_BUY)                                 \
    X(shares_beyond, CHANNEL_SHARES, def->share_count = TG_CHANNEL_SHARES_MAX + 1)                 \
    X(share_of_none, CHANNEL_SHARES, def->share_count = 1)                                         \
    X(share_of_more, CHANNEL_SHARES, (def->share_count = 1, def->shares[0].percent = 101))         \
    X(share_twice, CHANNEL_SHARES,                                                                 \
      (def->share_count = 2, def->shares[0].percent = def->shares[1].percent = 1))                 \
    X(policy_none, STOCK_POLICY, def->items[1].stock_policy = 0)                                   \
    X(policy_beyond, STOCK_POLICY, def->items[1].stock_policy = 4)                                 \
    X(low_beyond, LOW_STOCK, def->items[1].low_stock_units = TG_STOCK_UNITS_MAX + 1)               \
    X(captain_of_none, CAPTAIN_PRICE, def->items[1].captain_price_minor = 1)                       \
    X(ladder_of_none, LADDER, (def->items[0].ladder_steps = 1, def->items[0].ladder[0].size = 2))

/* The same, of a group-buy. */
#define GROUP_SPOILS(X)                                                                            \
    X(team_of_one, TEAM_SIZE, def->team.team_size = 1)                                             \
    X(team_of_none, TEAM_SIZE, def->team.team_size = 0)                                            \
    X(team_beyond, TEAM_SIZE, def->team.team_size = TG_TEAM_SIZE_MAX + 1)                          \
    X(lifetime_short, TEAM_LIFETIME, def->team.team_lifetime_s = TG_TEAM_LIFETIME_S_MIN - 1)       \
    X(lifetime_beyond, TEAM_LIFETIME, def->team.team_lifetime_s = TG_TEAM_LIFETIME_S_MAX + 1)      \
    X(deadline_none, AT_DEADLINE, def->team.at_deadline = 0)                                       \
    X(deadline_beyond, AT_DEADLINE, def->team.at_deadline = 3)                                     \
    X(min_of_fail, TEAM_SIZE_MIN, def->team.team_size_min = 1)                                     \
    X(min_none, TEAM_SIZE_MIN, def->team.at_deadline = TG_DEADLINE_AUTO_COMPLETE)                  \
    X(min_beyond, TEAM_SIZE_MIN,                                                                   \
      (def->team.at_deadline = TG_DEADLINE_AUTO_COMPLETE, def->team.team_size_min = 11))           \
    X(captain_negative, CAPTAIN_PRICE, def->items[1].captain_price_minor = -1)                     \
    X(captain_dearer, CAPTAIN_PRICE, def->items[1].captain_price_minor = 102)                      \
    X(ladder_beyond, LADDER, def->items[0].ladder_steps = TG_LADDER_STEPS_MAX + 1)                 \
    X(ladder_of_one, LADDER, def->items[0].ladder[0].size = 1)                                     \
    X(ladder_large, LADDER, def->items[0].ladder[1].size = 11)                                     \
    X(ladder_flat, LADDER, def->items[0].ladder[1].size = 2)                                       \
    X(ladder_dear, LADDER, def->items[0].ladder[0].unit_price_minor = 100)                         \
    X(ladder_rising, LADDER, def->items[0].ladder[1].unit_price_minor = 90)                        \
    X(ladder_negative, LADDER, def->items[0].ladder[1].unit_price_minor = -1)

#define SPOIL_FUNCTION(name, field, change)                                                        \
    static void spoil_##name(struct tg_sale_def *def)                                              \
    {                                                                                              \
        change;                                                                                    \
    }
SPOILS(SPOIL_FUNCTION)
GROUP_SPOILS(SPOIL_FUNCTION)

static void spoil_nothing(struct tg_sale_def *def)
{
    (void)def;
}

Test(catalog, a_definition_in_good_order_passes)
{
    cr_assert_eq(check_with(def_make, spoil_nothing), TG_FIELD_NONE);
    cr_assert_eq(check_with(group_make, spoil_nothing), TG_FIELD_NONE);
}

#define SPOIL_CHECK(name, field, change)                                                           \
    cr_assert_eq(check_with(def_make, spoil_##name), TG_FIELD_##field, #name);
#define GROUP_SPOIL_CHECK(name, field, change)                                                     \
    cr_assert_eq(check_with(group_make, spoil_##name), TG_FIELD_##field, #name);

Test(catalog, each_fault_of_a_definition_is_told_by_its_field){SPOILS(SPOIL_CHECK)}

Test(catalog, each_fault_of_a_group_buy_is_told_by_its_field){GROUP_SPOILS(GROUP_SPOIL_CHECK)}

/* Faults are told in the order of the contract: each line mends what the line above was told. */
Test(catalog, the_first_fault_of_the_rules_is_told)
{
    struct tg_sale_def *def = group_make(1, 1);
    def->payment_window_s = 0;
    def->refund_auto_max_minor = -1;
    def->team.team_size = 1;
    def->share_count = TG_CHANNEL_SHARES_MAX + 1;
    def->items[0].stock_policy = 0;
    def->items[0].captain_price_minor = -1;
    def->items[0].ladder[0].size = 0;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_PAYMENT_WINDOW);
    def->payment_window_s = 1;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_REFUND_AUTO_MAX);
    def->refund_auto_max_minor = 0;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_TEAM_SIZE);
    def->team.team_size = 10;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_CHANNEL_SHARES);
    def->share_count = 0;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_STOCK_POLICY);
    def->items[0].stock_policy = TG_POLICY_ON_PLACE;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_CAPTAIN_PRICE);
    def->items[0].captain_price_minor = 0;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_LADDER);
    def->items[0].ladder[0].size = 2;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE);
    free(def);
}

Test(catalog, the_ends_of_every_rule_pass)
{
    struct tg_sale_def *def = group_make(1, 1);
    def->payment_window_s = TG_PAYMENT_WINDOW_S_MAX;
    def->refund_auto_max_minor = TG_AMOUNT_MINOR_MAX;
    def->team = (struct tg_team_rules){.team_size = TG_TEAM_SIZE_MAX,
                                       .team_size_min = TG_TEAM_SIZE_MAX,
                                       .at_deadline = TG_DEADLINE_AUTO_COMPLETE,
                                       .team_lifetime_s = TG_TEAM_LIFETIME_S_MAX,
                                       .teams_per_user_max = UINT32_MAX};
    def->share_count = TG_CHANNEL_SHARES_MAX;
    for (uint16_t i = 0; i < TG_CHANNEL_SHARES_MAX; i++)
        def->shares[i] = (struct tg_channel_share){.channel = i, .percent = 100};
    def->items[0].captain_price_minor = def->items[0].sale_price_minor;
    def->items[0].ladder_steps = TG_LADDER_STEPS_MAX;
    for (uint32_t i = 0; i < TG_LADDER_STEPS_MAX; i++)
        def->items[0].ladder[i] = (struct tg_ladder_step){.size = i == 7 ? TG_TEAM_SIZE_MAX : 2 + i,
                                                          .unit_price_minor = 7 - i};
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE);
    def->team.team_lifetime_s = TG_TEAM_LIFETIME_S_MIN;
    def->team.team_size_min = 1;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE);
    free(def);
}

Test(catalog, the_ends_of_every_range_pass)
{
    struct tg_sale_def *def = def_make(UINT64_MAX, 3);
    def->name_bytes = TG_SALE_NAME_BYTES_MAX;
    memset(def->name, 'n', TG_SALE_NAME_BYTES_MAX);
    memcpy(def->name, "\xc3\xbc ", 3); /* text is more than ASCII */
    def->starts_at_ms = 0;
    def->ends_at_ms = TG_TIME_MS_MAX;
    def->items[0].sku_bytes = 1;
    def->items[1].sku_bytes = TG_SKU_BYTES_MAX;
    memset(def->items[1].sku, '~', TG_SKU_BYTES_MAX);
    def->items[1].list_price_minor = def->items[1].sale_price_minor = TG_PRICE_MINOR_MAX;
    def->items[0].list_price_minor = def->items[0].sale_price_minor = 0;
    def->items[0].stock_units = 0;
    def->items[1].stock_units = TG_STOCK_UNITS_MAX;
    def->items[2].per_user_limit = def->items[2].per_order_max = UINT32_MAX;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE);
    def->starts_at_ms = TG_TIME_MS_MAX;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_ENDS_AT);
    free(def);
}

/* The twin may stand anywhere; the largest sale is checked like the smallest. */
Test(catalog, finds_two_equal_skus_wherever_they_stand)
{
    struct tg_sale_def *def = def_make(1, TG_SALE_ITEMS_MAX);
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE);
    for (int round = 0; round < 20; round++) {
        uint32_t from = (uint32_t)tg_rng_below(&rng, TG_SALE_ITEMS_MAX);
        uint32_t to =
            (uint32_t)((from + 1 + tg_rng_below(&rng, TG_SALE_ITEMS_MAX - 1)) % TG_SALE_ITEMS_MAX);
        struct tg_item_def saved = def->items[to];
        def->items[to] = def->items[from];
        cr_assert_eq(eng_sale_def_check(def), TG_FIELD_ITEM_SKU_TWICE, "seed %#llx, item %u at %u",
                     SEED, from, to);
        def->items[to] = saved;
    }
    free(def);
}
