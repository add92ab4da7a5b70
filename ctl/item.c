#include "ctl/item.h"

#include <inttypes.h>
#include <stdio.h>

const struct ctl_column ctl_item_columns[CTL_ITEM_COLUMNS] = {
    {"SKU", false},     {"LIST", true},      {"PRICE", true},    {"INITIAL", true},
    {"RESTOCK", true},  {"AVAILABLE", true}, {"RESERVED", true}, {"SOLD", true},
    {"PER-USER", true}, {"PER-ORDER", true},
};

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

void ctl_item_row(struct ctl_table *table, const Tidegate__V1__ItemStatus *status,
                  const char *currency)
{
    char money[CTL_MONEY_BYTES];
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
}

json_t *ctl_item_json(const Tidegate__V1__ItemStatus *status)
{
    const Tidegate__V1__SaleItem *item = item_of(status);
    return json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sku", ctl_json_text(item->sku),
        "list_price_minor", (json_int_t)item->list_price_minor, "sale_price_minor",
        (json_int_t)item->sale_price_minor, "stock_units", (json_int_t)item->stock_units,
        "restocked_units", (json_int_t)status->restocked_units, "available_units",
        (json_int_t)status->available_units, "reserved_units", (json_int_t)status->reserved_units,
        "sold_units", (json_int_t)status->sold_units, "per_user_limit",
        (json_int_t)item->per_user_limit, "per_order_max", (json_int_t)item->per_order_max);
}

json_t *ctl_sale_json(const Tidegate__V1__Sale *sale)
{
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:I, s:I, s:I}", "sale_id",
                     ctl_json_id(sale->sale_id), "kind", ctl_sale_kind_name((int)sale->kind),
                     "state", ctl_sale_state_name((int)sale->state), "name",
                     ctl_json_text(sale->name), "currency", ctl_json_text(sale->currency),
                     "starts_at_ms", (json_int_t)sale->starts_at_ms, "ends_at_ms",
                     (json_int_t)sale->ends_at_ms, "item_count", (json_int_t)sale->item_count);
}
