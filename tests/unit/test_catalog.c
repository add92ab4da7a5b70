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

static enum tg_field check_with(void (*spoil)(struct tg_sale_def *def))
{
    struct tg_sale_def *def = def_make(1, 3);
    spoil(def);
    enum tg_field field = eng_sale_def_check(def);
    free(def);
    return field;
}

#define SPOILS(X)                                                                                  \
    X(sale_id, SALE_ID, def->sale_id = 0)                                                          \
    X(kind_0, KIND, def->kind = 0)                                                                 \
    X(kind_later, KIND, def->kind = 2)                                                             \
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
    X(stock_beyond, STOCK, def->items[2].stock_units = TG_STOCK_UNITS_MAX + 1)

#define SPOIL_FUNCTION(name, field, change)                                                        \
    static void spoil_##name(struct tg_sale_def *def)                                              \
    {                                                                                              \
        change;                                                                                    \
    }
SPOILS(SPOIL_FUNCTION)

static void spoil_nothing(struct tg_sale_def *def)
{
    (void)def;
}

Test(catalog, a_definition_in_good_order_passes)
{
    cr_assert_eq(check_with(spoil_nothing), TG_FIELD_NONE);
}

#define SPOIL_CHECK(name, field, change)                                                           \
    cr_assert_eq(check_with(spoil_##name), TG_FIELD_##field, #name);

Test(catalog, each_fault_of_a_definition_is_told_by_its_field){SPOILS(SPOIL_CHECK)}

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
