#include "ctl/item.h"

#include <inttypes.h>
#include <stdio.h>

#define COLUMNS           11
#define COLUMNS_GROUP_BUY 13
#define LADDER_BYTES      512

void ctl_item_table_init(struct ctl_table *table, const Tidegate__V1__Sale *sale)
{
    static const struct ctl_column columns[COLUMNS_GROUP_BUY] = {
        {"SKU", false},     {"LIST", true},      {"PRICE", true},    {"INITIAL", true},
        {"RESTOCK", true},  {"AVAILABLE", true}, {"RESERVED", true}, {"SOLD", true},
        {"PER-USER", true}, {"PER-ORDER", true}, {"POLICY", false},  {"CAPTAIN", true},
        {"LADDER", false},
    };
    bool group_buy = (int)sale->kind == TG_SALE_GROUP_BUY;
    ctl_table_init(table, columns, group_buy ? COLUMNS_GROUP_BUY : COLUMNS);
}

/* A limit of 0 is none. */
static void limit_cell(struct ctl_table *table, uint32_t limit)
{
    if (limit)
        ctl_table_cell(table, "%" PRIu32, limit);
    else
        ctl_table_cell(table, "-");
}

/* A server that leaves a message out has its defaults: protobuf's rule for an unset message. */
static const Tidegate__V1__SaleItem *item_of(const Tidegate__V1__ItemStatus *status)
{
    static const Tidegate__V1__SaleItem none = TIDEGATE__V1__SALE_ITEM__INIT;
    return status->item ? status->item : &none;
}

/* "3:8900 5:7900", with money: from how many paid seats on a unit costs what. */
static const char *ladder_text(const Tidegate__V1__SaleItem *item, const char *currency,
                               char text[LADDER_BYTES])
{
    size_t used = 0;
    snprintf(text, LADDER_BYTES, "-");
    for (size_t i = 0; i < item->n_ladder && used < LADDER_BYTES; i++) {
        char money[CTL_MONEY_BYTES];
        used +=
            (size_t)snprintf(text + used, LADDER_BYTES - used, "%s%" PRIu32 ":%s", used ? " " : "",
                             item->ladder[i]->size,
                             ctl_money_text(item->ladder[i]->unit_price_minor, currency, money));
    }
    return text;
}

static const char *policy_name(const Tidegate__V1__SaleItem *item, char name[CTL_NAME_BYTES])
{
    return ctl_enum_name(&tidegate__v1__stock_policy__descriptor, (int)item->stock_policy, name);
}

static void team_cells(struct ctl_table *table, const Tidegate__V1__SaleItem *item,
                       const char *currency)
{
    char money[CTL_MONEY_BYTES], ladder[LADDER_BYTES];
    int64_t captain =
        item->captain_price_minor ? item->captain_price_minor : item->sale_price_minor;
    ctl_table_cell(table, "%s", ctl_money_text(captain, currency, money));
    ctl_table_cell(table, "%s", ladder_text(item, currency, ladder));
}

void ctl_item_row(struct ctl_table *table, const Tidegate__V1__ItemStatus *status,
                  const char *currency)
{
    char money[CTL_MONEY_BYTES], policy[CTL_NAME_BYTES];
    const Tidegate__V1__SaleItem *item = item_of(status);
    ctl_table_cell(table, "%s", item->sku);
    ctl_table_cell(table, "%s", ctl_money_text(item->list_price_minor, currency, money));
    ctl_table_cell(table, "%s", ctl_money_text(item->sale_price_minor, currency, money));
    ctl_table_cell(table, "%" PRIu64, item->stock_units);
    ctl_table_cell(table, "%+" PRId64, status->restocked_units);
    ctl_table_cell(table, "%" PRIu64, status->available_units);
    ctl_table_cell(table, "%" PRIu64, status->reserved_units);
    ctl_table_cell(table, "%" PRIu64, status->sold_units);
    limit_cell(table, item->per_user_limit);
    limit_cell(table, item->per_order_max);
    ctl_table_cell(table, "%s", policy_name(item, policy));
    if (table->column_count == COLUMNS_GROUP_BUY)
        team_cells(table, item, currency);
}

static json_t *ladder_json(const Tidegate__V1__SaleItem *item)
{
    json_t *ladder = json_array();
    for (size_t i = 0; i < item->n_ladder; i++)
        json_array_append_new(
            ladder, json_pack("{s:I, s:I}", "size", (json_int_t)item->ladder[i]->size,
                              "unit_price_minor", (json_int_t)item->ladder[i]->unit_price_minor));
    return ladder;
}

json_t *ctl_item_json(const Tidegate__V1__ItemStatus *status)
{
    char policy[CTL_NAME_BYTES];
    const Tidegate__V1__SaleItem *item = item_of(status);
    return json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:o}", "sku",
        ctl_json_text(item->sku), "list_price_minor", (json_int_t)item->list_price_minor,
        "sale_price_minor", (json_int_t)item->sale_price_minor, "stock_units",
        (json_int_t)item->stock_units, "restocked_units", (json_int_t)status->restocked_units,
        "available_units", (json_int_t)status->available_units, "reserved_units",
        (json_int_t)status->reserved_units, "sold_units", (json_int_t)status->sold_units,
        "per_user_limit", (json_int_t)item->per_user_limit, "per_order_max",
        (json_int_t)item->per_order_max, "stock_policy", policy_name(item, policy),
        "captain_price_minor", (json_int_t)item->captain_price_minor, "low_stock_units",
        (json_int_t)item->low_stock_units, "ladder", ladder_json(item));
}
