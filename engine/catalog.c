#include "engine/catalog.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/text.h"
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

/* At most half full, so that a probe ends soon. */
static uint32_t index_slots(uint32_t rows)
{
    uint32_t slots = 16;
    while (slots < rows * 2)
        slots *= 2;
    return slots;
}

enum tg_error eng_catalog_create(struct eng_catalog *catalog, uint32_t sales_max,
                                 uint32_t items_max, uint32_t shards, uint64_t hash_seed,
                                 struct tg_fault *fault)
{
    tg_assert(sales_max > 0 && items_max > 0 && shards > 0 && shards <= TG_SHARDS_MAX);
    *catalog = (struct eng_catalog){
        .sale_index_mask = index_slots(sales_max) - 1,
        .item_index_mask = index_slots(items_max) - 1,
        .sales_max = sales_max,
        .items_max = items_max,
        .shards = shards,
        .hash_seed = hash_seed,
    };
    catalog->sales = tg_mem_map(sales_max * sizeof(*catalog->sales));
    catalog->items = tg_mem_map(items_max * sizeof(*catalog->items));
    catalog->sale_index =
        tg_mem_map((catalog->sale_index_mask + 1ull) * sizeof(*catalog->sale_index));
    catalog->item_index =
        tg_mem_map((catalog->item_index_mask + 1ull) * sizeof(*catalog->item_index));
    if (catalog->sales && catalog->items && catalog->sale_index && catalog->item_index)
        return TG_ERR_OK;
    eng_catalog_destroy(catalog);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u sales and %u items", sales_max,
                        items_max);
}

void eng_catalog_destroy(struct eng_catalog *catalog)
{
    tg_mem_unmap(catalog->sales, catalog->sales_max * sizeof(*catalog->sales));
    tg_mem_unmap(catalog->items, catalog->items_max * sizeof(*catalog->items));
    tg_mem_unmap((void *)catalog->sale_index,
                 (catalog->sale_index_mask + 1ull) * sizeof(*catalog->sale_index));
    tg_mem_unmap((void *)catalog->item_index,
                 (catalog->item_index_mask + 1ull) * sizeof(*catalog->item_index));
    *catalog = (struct eng_catalog){0};
}

/* --- lookup --- */

static uint32_t sale_slot(const struct eng_catalog *catalog, uint64_t sale_id)
{
    return (uint32_t)tg_hash_words(sale_id, 0, catalog->hash_seed) & catalog->sale_index_mask;
}

static uint32_t item_slot(const struct eng_catalog *catalog, uint64_t sale_id, const void *sku,
                          size_t sku_bytes)
{
    return (uint32_t)tg_hash(sku, sku_bytes, sale_id ^ catalog->hash_seed) &
           catalog->item_index_mask;
}

struct eng_sale *eng_catalog_sale(const struct eng_catalog *catalog, uint64_t sale_id)
{
    for (uint32_t slot = sale_slot(catalog, sale_id);;
         slot = (slot + 1) & catalog->sale_index_mask) {
        /* pairs with the release in index_insert */
        uint32_t number = atomic_load_explicit(&catalog->sale_index[slot], memory_order_acquire);
        if (number == 0)
            return NULL;
        struct eng_sale *sale = &catalog->sales[number - 1];
        if (sale->sale_id == sale_id)
            return sale;
    }
}

uint32_t eng_catalog_item_begin(const struct eng_catalog *catalog, uint64_t sale_id,
                                const void *sku, size_t sku_bytes)
{
    uint32_t slot = item_slot(catalog, sale_id, sku, sku_bytes);
    __builtin_prefetch(&catalog->item_index[slot]);
    return slot;
}

void eng_catalog_item_prefetch(const struct eng_catalog *catalog, uint32_t begin)
{
    /* pairs with the release in index_insert */
    uint32_t number = atomic_load_explicit(&catalog->item_index[begin], memory_order_acquire);
    if (number == 0)
        return;
    const struct eng_item *item = &catalog->items[number - 1];
    __builtin_prefetch(item);
    __builtin_prefetch(item->sku + TG_SKU_BYTES_MAX);
    __builtin_prefetch(&item->stock, 1);
}

struct eng_item *eng_catalog_item_end(const struct eng_catalog *catalog, uint32_t begin,
                                      uint64_t sale_id, const void *sku, size_t sku_bytes)
{
    for (uint32_t slot = begin;; slot = (slot + 1) & catalog->item_index_mask) {
        /* pairs with the release in index_insert */
        uint32_t number = atomic_load_explicit(&catalog->item_index[slot], memory_order_acquire);
        if (number == 0)
            return NULL;
        struct eng_item *item = &catalog->items[number - 1];
        if (item->sku_bytes == sku_bytes && item->sale->sale_id == sale_id &&
            memcmp(item->sku, sku, sku_bytes) == 0)
            return item;
    }
}

struct eng_item *eng_catalog_item(const struct eng_catalog *catalog, uint64_t sale_id,
                                  const void *sku, size_t sku_bytes)
{
    uint32_t slot = item_slot(catalog, sale_id, sku, sku_bytes);
    return eng_catalog_item_end(catalog, slot, sale_id, sku, sku_bytes);
}

static void index_insert(_Atomic uint32_t *index, uint32_t mask, uint32_t slot, uint32_t number)
{
    while (atomic_load_explicit(&index[slot], memory_order_relaxed) != 0)
        slot = (slot + 1) & mask;
    /* pairs with the acquires of the look-ups */
    atomic_store_explicit(&index[slot], number + 1, memory_order_release);
}

/* --- the gate and the stock --- */

enum tg_verdict eng_item_gate_window(const struct eng_item *item, int64_t now_ms)
{
    enum tg_sale_state state = eng_sale_state(item->sale);
    if (state == TG_SALE_CLOSED || now_ms >= item->ends_at_ms)
        return TG_ENDED;
    if (now_ms < item->starts_at_ms)
        return TG_NOT_STARTED;
    return state == TG_SALE_PAUSED ? TG_PAUSED : TG_ACCEPTED;
}

/* Too few were available a moment ago. The two numbers are of one version, because a hold moves
 * both: between one load and the other it could let go, and the order would be told that the item
 * is sold out, which at no moment was true. */
static enum tg_verdict shortage(const struct eng_stock *stock, uint32_t quantity)
{
    for (;;) {
        /* As in eng_item_stock. */
        uint32_t before = atomic_load_explicit(&stock->version, memory_order_acquire);
        uint64_t available = atomic_load_explicit(&stock->available_units, memory_order_acquire);
        uint64_t held = atomic_load_explicit(&stock->held_units, memory_order_acquire);
        uint32_t after = atomic_load_explicit(&stock->version, memory_order_relaxed);
        if (before != after || (before & 1) != 0)
            continue;
        if (available >= quantity)
            return TG_ACCEPTED;
        if (available + held >= quantity)
            return TG_BUSY;
        return available == 0 ? TG_SOLD_OUT : TG_INSUFFICIENT_STOCK;
    }
}

enum tg_verdict eng_item_gate_stock(const struct eng_item *item, uint32_t quantity)
{
    uint32_t available = atomic_load_explicit(&item->stock.available_units, memory_order_acquire);
    return available >= quantity ? TG_ACCEPTED : shortage(&item->stock, quantity);
}

enum tg_verdict eng_item_gate(const struct eng_item *item, uint32_t quantity,
                              int64_t unit_price_minor, int64_t now_ms)
{
    enum tg_verdict verdict = eng_item_gate_window(item, now_ms);
    if (verdict != TG_ACCEPTED)
        return verdict;
    if (unit_price_minor != item->sale_price_minor)
        return TG_PRICE_CHANGED;
    if (item->per_order_max != 0 && quantity > item->per_order_max)
        return TG_INVALID_ARGUMENT;
    return eng_item_gate_stock(item, quantity);
}

struct tg_stock eng_item_stock(const struct eng_item *item)
{
    const struct eng_stock *stock = &item->stock;
    for (;;) {
        /* The four loads are acquire, so that the second load of the version cannot move before
         * them; they pair with the release stores in eng_item_move. After Boehm, "Can seqlocks get
         * along with programming language memory models?", MSPC 2012. */
        uint32_t before = atomic_load_explicit(&stock->version, memory_order_acquire);
        struct tg_stock copy = {
            .initial_units = stock->initial_units,
            .available_units = atomic_load_explicit(&stock->available_units, memory_order_acquire),
            .reserved_units = atomic_load_explicit(&stock->reserved_units, memory_order_acquire),
            .sold_units = atomic_load_explicit(&stock->sold_units, memory_order_acquire),
            .restocked_units = atomic_load_explicit(&stock->restocked_units, memory_order_acquire),
        };
        uint32_t after = atomic_load_explicit(&stock->version, memory_order_relaxed);
        if (before == after && (before & 1) == 0)
            return copy;
    }
}

static inline void move(struct eng_item *item, int64_t available, int64_t reserved, int64_t sold,
                        int64_t restocked, int64_t held)
{
    struct eng_stock *stock = &item->stock;
    struct tg_stock next = {
        .initial_units = stock->initial_units,
        .restocked_units =
            atomic_load_explicit(&stock->restocked_units, memory_order_relaxed) + restocked,
    };
    int64_t available_next =
        atomic_load_explicit(&stock->available_units, memory_order_relaxed) + available;
    int64_t reserved_next =
        atomic_load_explicit(&stock->reserved_units, memory_order_relaxed) + reserved;
    int64_t sold_next = atomic_load_explicit(&stock->sold_units, memory_order_relaxed) + sold;
    int64_t held_next = atomic_load_explicit(&stock->held_units, memory_order_relaxed) + held;
    tg_assert(available_next >= 0 && reserved_next >= 0 && sold_next >= 0);
    tg_assert(held_next >= 0 && held_next <= reserved_next + sold_next);
    next.available_units = (uint32_t)available_next;
    next.reserved_units = (uint32_t)reserved_next;
    next.sold_units = (uint32_t)sold_next;
    tg_assert(tg_stock_holds(&next));

    /* Release stores keep the numbers between the two versions; see eng_item_stock. */
    uint32_t version = atomic_load_explicit(&stock->version, memory_order_relaxed);
    atomic_store_explicit(&stock->version, version + 1, memory_order_relaxed);
    atomic_store_explicit(&stock->available_units, next.available_units, memory_order_release);
    atomic_store_explicit(&stock->reserved_units, next.reserved_units, memory_order_release);
    atomic_store_explicit(&stock->sold_units, next.sold_units, memory_order_release);
    atomic_store_explicit(&stock->restocked_units, next.restocked_units, memory_order_release);
    atomic_store_explicit(&stock->held_units, (uint32_t)held_next, memory_order_release);
    atomic_store_explicit(&stock->version, version + 2, memory_order_release);
}

void eng_item_move(struct eng_item *item, int64_t available, int64_t reserved, int64_t sold,
                   int64_t restocked)
{
    move(item, available, reserved, sold, restocked, 0);
}

/* How many units come to be in a place that they were in before, or not, and are in after. */
static int64_t came(uint32_t quantity, bool before, bool after)
{
    return (int64_t)quantity * (after - before);
}

void eng_item_transfer(struct eng_item *item, uint8_t before, uint8_t after, uint32_t quantity,
                       int64_t held)
{
    if (before == after && held == 0)
        return;
    move(item, came(quantity, before == TG_UNITS_NONE, after == TG_UNITS_NONE),
         came(quantity, before == TG_UNITS_RESERVED, after == TG_UNITS_RESERVED),
         came(quantity, before == TG_UNITS_SOLD, after == TG_UNITS_SOLD), 0, held);
}

/* --- new sales --- */

static int compare_skus(const void *a, const void *b)
{
    const struct tg_item_def *left = *(const struct tg_item_def *const *)a;
    const struct tg_item_def *right = *(const struct tg_item_def *const *)b;
    if (left->sku_bytes != right->sku_bytes)
        return left->sku_bytes < right->sku_bytes ? -1 : 1;
    return memcmp(left->sku, right->sku, left->sku_bytes);
}

static bool sku_stands_twice(const struct tg_sale_def *def)
{
    /* On the stack: without memory there would be no right answer. */
    const struct tg_item_def *sorted[TG_SALE_ITEMS_MAX];
    for (uint32_t i = 0; i < def->item_count; i++)
        sorted[i] = &def->items[i];
    qsort(sorted, def->item_count, sizeof(*sorted), compare_skus);
    bool twice = false;
    for (uint32_t i = 1; i < def->item_count && !twice; i++)
        twice = compare_skus(&sorted[i - 1], &sorted[i]) == 0;
    return twice;
}

static bool price_ok(int64_t minor)
{
    return minor >= 0 && minor <= TG_PRICE_MINOR_MAX;
}

/* Sizes rise within the team, prices fall from below the sale price. */
static bool ladder_ok(const struct tg_item_def *item, uint32_t team_size)
{
    if (item->ladder_steps > TG_LADDER_STEPS_MAX)
        return false;
    uint32_t size_below = 1;
    int64_t price_above = item->sale_price_minor;
    for (uint32_t i = 0; i < item->ladder_steps; i++) {
        const struct tg_ladder_step *step = &item->ladder[i];
        if (step->size <= size_below || step->size > team_size)
            return false;
        if (step->unit_price_minor < 0 || step->unit_price_minor >= price_above)
            return false;
        size_below = step->size;
        price_above = step->unit_price_minor;
    }
    return true;
}

static bool captain_price_ok(const struct tg_item_def *item, uint32_t team_size)
{
    int64_t most = team_size != 0 ? item->sale_price_minor : 0;
    return item->captain_price_minor >= 0 && item->captain_price_minor <= most;
}

static enum tg_field item_def_check(const struct tg_item_def *item, uint32_t team_size)
{
    if (!tg_sku_is_valid((struct tg_bytes){.data = item->sku, .size = item->sku_bytes}))
        return TG_FIELD_ITEM_SKU;
    if (!price_ok(item->list_price_minor))
        return TG_FIELD_LIST_PRICE;
    if (!price_ok(item->sale_price_minor))
        return TG_FIELD_SALE_PRICE;
    if (item->stock_units > TG_STOCK_UNITS_MAX)
        return TG_FIELD_STOCK;
    if (item->stock_policy < TG_POLICY_RESERVE || item->stock_policy > TG_POLICY_ON_PAYMENT)
        return TG_FIELD_STOCK_POLICY;
    if (item->low_stock_units > TG_STOCK_UNITS_MAX)
        return TG_FIELD_LOW_STOCK;
    if (!captain_price_ok(item, team_size))
        return TG_FIELD_CAPTAIN_PRICE;
    return ladder_ok(item, team_size) ? TG_FIELD_NONE : TG_FIELD_LADDER;
}

static bool is_group_buy(const struct tg_sale_def *def)
{
    return def->kind == TG_SALE_GROUP_BUY;
}

static bool team_rules_are_set(const struct tg_team_rules *team)
{
    return team->team_size != 0 || team->team_size_min != 0 || team->at_deadline != 0 ||
           team->new_buyers_only || team->team_lifetime_s != 0 || team->teams_per_user_max != 0;
}

static enum tg_field team_rules_check(const struct tg_sale_def *def)
{
    const struct tg_team_rules *team = &def->team;
    if (team_rules_are_set(team) != is_group_buy(def))
        return TG_FIELD_GROUP_BUY;
    if (!is_group_buy(def))
        return TG_FIELD_NONE;
    if (team->team_size < 2 || team->team_size > TG_TEAM_SIZE_MAX)
        return TG_FIELD_TEAM_SIZE;
    if (team->team_lifetime_s < TG_TEAM_LIFETIME_S_MIN ||
        team->team_lifetime_s > TG_TEAM_LIFETIME_S_MAX)
        return TG_FIELD_TEAM_LIFETIME;
    bool completes = team->at_deadline == TG_DEADLINE_AUTO_COMPLETE;
    if (!completes && team->at_deadline != TG_DEADLINE_FAIL)
        return TG_FIELD_AT_DEADLINE;
    bool min_ok = completes ? team->team_size_min >= 1 && team->team_size_min <= team->team_size
                            : team->team_size_min == 0;
    return min_ok ? TG_FIELD_NONE : TG_FIELD_TEAM_SIZE_MIN;
}

static bool shares_ok(const struct tg_sale_def *def)
{
    if (def->share_count > TG_CHANNEL_SHARES_MAX)
        return false;
    for (uint32_t i = 0; i < def->share_count; i++) {
        if (def->shares[i].percent < 1 || def->shares[i].percent > 100)
            return false;
        for (uint32_t other = 0; other < i; other++)
            if (def->shares[i].channel == def->shares[other].channel)
                return false;
    }
    return true;
}

static bool currency_ok(const char currency[TG_CURRENCY_BYTES])
{
    for (int i = 0; i < TG_CURRENCY_BYTES; i++)
        if (currency[i] < 'A' || currency[i] > 'Z')
            return false;
    return true;
}

/* The fields of the sale itself, in the order of the contract. */
static enum tg_field sale_def_check(const struct tg_sale_def *def)
{
    if (def->sale_id == 0)
        return TG_FIELD_SALE_ID;
    if (def->kind != TG_SALE_SECKILL && !is_group_buy(def))
        return TG_FIELD_KIND;
    if (!tg_text_is_valid(def->name, def->name_bytes, TG_SALE_NAME_BYTES_MAX))
        return TG_FIELD_NAME;
    if (!currency_ok(def->currency))
        return TG_FIELD_CURRENCY;
    if (def->starts_at_ms < 0 || def->starts_at_ms > TG_TIME_MS_MAX)
        return TG_FIELD_STARTS_AT;
    if (def->ends_at_ms <= def->starts_at_ms || def->ends_at_ms > TG_TIME_MS_MAX)
        return TG_FIELD_ENDS_AT;
    if (def->payment_window_s == 0 || def->payment_window_s > TG_PAYMENT_WINDOW_S_MAX)
        return TG_FIELD_PAYMENT_WINDOW;
    if (def->refund_auto_max_minor < 0 || def->refund_auto_max_minor > TG_AMOUNT_MINOR_MAX)
        return TG_FIELD_REFUND_AUTO_MAX;
    enum tg_field field = team_rules_check(def);
    if (field != TG_FIELD_NONE)
        return field;
    return shares_ok(def) ? TG_FIELD_NONE : TG_FIELD_CHANNEL_SHARES;
}

enum tg_field eng_sale_def_check(const struct tg_sale_def *def)
{
    enum tg_field field = sale_def_check(def);
    if (field != TG_FIELD_NONE)
        return field;
    if (def->item_count == 0 || def->item_count > TG_SALE_ITEMS_MAX)
        return TG_FIELD_ITEMS;
    for (uint32_t i = 0; i < def->item_count; i++) {
        field = item_def_check(&def->items[i], def->team.team_size);
        if (field != TG_FIELD_NONE)
            return field;
    }
    return sku_stands_twice(def) ? TG_FIELD_ITEM_SKU_TWICE : TG_FIELD_NONE;
}

static void fill_sale(struct eng_catalog *catalog, const struct tg_sale_def *def,
                      uint32_t first_item)
{
    struct eng_sale *sale = &catalog->sales[def->sale];
    sale->sale_id = def->sale_id;
    sale->sale = def->sale;
    sale->starts_at_ms = def->starts_at_ms;
    sale->ends_at_ms = def->ends_at_ms;
    sale->first_item = first_item;
    sale->item_count = def->item_count;
    sale->kind = def->kind;
    sale->name_bytes = def->name_bytes;
    memcpy(sale->name, def->name, def->name_bytes);
    memcpy(sale->currency, def->currency, TG_CURRENCY_BYTES);
    sale->currency[TG_CURRENCY_BYTES] = '\0';
    sale->payment_window_ms = (int64_t)def->payment_window_s * 1000;
    sale->refund_auto_max_minor = def->refund_auto_max_minor;
    sale->team = def->team;
    sale->share_count = def->share_count;
    memcpy(sale->shares, def->shares, sizeof(sale->shares));
    sale->announced = def->announced;
    sale->state_change_in_flight = false;
    atomic_store_explicit(&sale->state, def->state, memory_order_relaxed);
}

static void fill_item(struct eng_catalog *catalog, const struct tg_item_def *def,
                      struct eng_sale *sale, const struct tg_stock *stock)
{
    struct eng_item *item = &catalog->items[def->item];
    bool group_buy = sale->kind == TG_SALE_GROUP_BUY;
    uint32_t partition = tg_item_partition(def->item, sale->first_item, group_buy);
    *item = (struct eng_item){
        .sale = sale,
        .sale_price_minor = def->sale_price_minor,
        .list_price_minor = def->list_price_minor,
        .captain_price_minor =
            def->captain_price_minor ? def->captain_price_minor : def->sale_price_minor,
        .starts_at_ms = sale->starts_at_ms,
        .ends_at_ms = sale->ends_at_ms,
        .per_user_limit = def->per_user_limit,
        .per_order_max = def->per_order_max,
        .low_stock_units = def->low_stock_units,
        .item = def->item,
        .shard = (uint16_t)(partition % catalog->shards),
        .partition = (uint16_t)partition,
        .stock_policy = def->stock_policy,
        .is_team_only = group_buy,
        .has_shares = sale->share_count != 0,
        .is_counted =
            def->per_user_limit != 0 || sale->share_count != 0 || sale->team.new_buyers_only,
        .ladder_steps = def->ladder_steps,
        .sku_bytes = def->sku_bytes,
        .stock = {.available_units = stock->available_units,
                  .reserved_units = stock->reserved_units,
                  .sold_units = stock->sold_units,
                  .restocked_units = stock->restocked_units,
                  .initial_units = stock->initial_units},
    };
    memcpy(item->sku, def->sku, def->sku_bytes);
    memcpy(item->ladder, def->ladder, sizeof(item->ladder));
}

enum tg_verdict eng_catalog_prepare(struct eng_catalog *catalog, struct tg_sale_def *def,
                                    bool *full)
{
    *full = false;
    if (eng_catalog_sale(catalog, def->sale_id))
        return TG_SALE_EXISTS;
    if (catalog->creation_in_flight)
        return TG_BUSY;
    uint32_t sale_count = eng_catalog_sale_count(catalog);
    *full = sale_count == catalog->sales_max ||
            def->item_count > catalog->items_max - catalog->item_count;
    if (*full)
        return TG_BUSY;

    def->sale = sale_count;
    def->state = TG_SALE_ACTIVE;
    fill_sale(catalog, def, catalog->item_count);
    for (uint32_t i = 0; i < def->item_count; i++) {
        struct tg_item_def *item = &def->items[i];
        struct tg_stock stock = {.initial_units = item->stock_units,
                                 .available_units = item->stock_units};
        item->item = catalog->item_count + i;
        fill_item(catalog, item, &catalog->sales[def->sale], &stock);
    }
    catalog->creation_in_flight = true;
    return TG_OK;
}

void eng_catalog_publish(struct eng_catalog *catalog, const struct tg_sale_def *def)
{
    tg_assert(def->sale == eng_catalog_sale_count(catalog));
    tg_assert(def->items[0].item == catalog->item_count);
    catalog->item_count += def->item_count;
    for (uint32_t i = 0; i < def->item_count; i++) {
        const struct tg_item_def *item = &def->items[i];
        index_insert(catalog->item_index, catalog->item_index_mask,
                     item_slot(catalog, def->sale_id, item->sku, item->sku_bytes), item->item);
    }
    index_insert(catalog->sale_index, catalog->sale_index_mask, sale_slot(catalog, def->sale_id),
                 def->sale);
    /* pairs with the acquire in eng_catalog_sale_count */
    atomic_store_explicit(&catalog->sale_count, def->sale + 1, memory_order_release);
    catalog->creation_in_flight = false;
}

void eng_catalog_abandon(struct eng_catalog *catalog, const struct tg_sale_def *def)
{
    tg_assert(catalog->creation_in_flight && def->sale == eng_catalog_sale_count(catalog));
    catalog->creation_in_flight = TG_PLANTED(CREATION_NEVER_ENDS);
}

enum tg_error eng_catalog_restore(struct eng_catalog *catalog, const struct tg_sale_def *def,
                                  const struct tg_stock *stocks, struct tg_fault *fault)
{
    if (def->sale >= catalog->sales_max)
        return tg_fault_set(fault, TG_ERR_FULL,
                            "the database holds more than %u sales: raise engine.sales_max",
                            catalog->sales_max);
    if (def->item_count > catalog->items_max - catalog->item_count)
        return tg_fault_set(fault, TG_ERR_FULL,
                            "the database holds more than %u items: raise engine.items_max",
                            catalog->items_max);
    if (def->sale != eng_catalog_sale_count(catalog) || def->item_count == 0 ||
        def->items[0].item != catalog->item_count)
        return tg_fault_set(fault, TG_ERR_BROKEN,
                            "sale %llu has number %u and first item %u where %u and %u come next",
                            (unsigned long long)def->sale_id, def->sale,
                            def->item_count ? def->items[0].item : 0,
                            eng_catalog_sale_count(catalog), catalog->item_count);
    fill_sale(catalog, def, catalog->item_count);
    for (uint32_t i = 0; i < def->item_count; i++)
        fill_item(catalog, &def->items[i], &catalog->sales[def->sale], &stocks[i]);
    eng_catalog_publish(catalog, def);
    return TG_ERR_OK;
}

/* --- the state of a sale ---
 *
 *            pause              close
 *   ACTIVE ----------> PAUSED ---------+
 *     |  ^--------------'              v
 *     |       resume                 CLOSED  (for good)
 *     +------------- close ------------^
 */
enum tg_verdict eng_sale_state_decide(struct eng_sale *sale, enum tg_sale_state wanted,
                                      bool *changes)
{
    *changes = false;
    enum tg_sale_state state = eng_sale_state(sale);
    if (sale->state_change_in_flight)
        return TG_BUSY;
    if (state == wanted)
        return TG_OK;
    if (state == TG_SALE_CLOSED)
        return TG_ENDED;
    *changes = true;
    sale->state_change_in_flight = true;
    return TG_OK;
}

void eng_sale_state_settle(struct eng_sale *sale, enum tg_sale_state wanted, bool durable)
{
    tg_assert(sale->state_change_in_flight);
    sale->state_change_in_flight = false;
    if (durable || TG_PLANTED(CLOSED_WITHOUT_DISK)) /* pairs with the acquire in eng_sale_state */
        atomic_store_explicit(&sale->state, (uint8_t)wanted, memory_order_release);
}
