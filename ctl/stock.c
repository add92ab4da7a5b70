#include "ctl/ctl.h"
#include "ctl/item.h"
#include "ctl/text.h"
#include "proto/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The two arguments that name an item. `sku` is borrowed from argv; protobuf-c only reads it. */
static bool item_arguments(const struct ctl *ctl, uint64_t *sale_id, char **sku)
{
    if (!ctl_id_argument(ctl, 0, "the sale id", sale_id))
        return false;
    *sku = (char *)(uintptr_t)ctl->arguments[1];
    if (tg_sku_is_valid((struct tg_bytes){(const uint8_t *)*sku, strlen(*sku)}))
        return true;
    ctl_misused(ctl, "the SKU \"%.64s\" must be 1 to 32 printable ASCII bytes, no spaces", *sku);
    return false;
}

static void print_item(const struct ctl *ctl, const Tidegate__V1__GetItemResponse *item)
{
    static const Tidegate__V1__Sale no_sale = TIDEGATE__V1__SALE__INIT;
    static const Tidegate__V1__ItemStatus no_status = TIDEGATE__V1__ITEM_STATUS__INIT;
    const Tidegate__V1__Sale *sale = item->sale ? item->sale : &no_sale;
    const Tidegate__V1__ItemStatus *status = item->status ? item->status : &no_status;
    if (ctl->json) {
        json_t *json = ctl_item_json(status);
        json_object_set_new(json, "sale_id", ctl_json_id(sale->sale_id));
        json_object_set_new(json, "currency", ctl_json_text(sale->currency));
        json_object_set_new(json, "server_time_ms", json_integer(item->server_time_ms));
        ctl_json_print(json);
        return;
    }
    struct ctl_table table;
    ctl_item_table_init(&table, sale);
    ctl_item_row(&table, status, sale->currency);
    ctl_table_end(&table);
}

enum ctl_exit ctl_stock_show(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetItemRequest body = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    if (!item_arguments(ctl, &body.sale_id, &body.sku))
        return CTL_USAGE;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    print_item(ctl, response->get_item);
    tgc_response_free(response);
    return CTL_DONE;
}

/* Reads --delta, or --expect and --set, into the request. */
static enum ctl_exit read_change(const struct ctl *ctl, Tidegate__V1__AdjustStockRequest *body,
                                 Tidegate__V1__StockCompareAndSet *compare)
{
    const char *delta = ctl_option_value(ctl, "delta");
    const char *expect = ctl_option_value(ctl, "expect"), *set = ctl_option_value(ctl, "set");
    if (delta ? expect || set : !expect || !set)
        return ctl_misused(ctl, "give either --delta, or --expect and --set");
    if (!delta) {
        if (!ctl_uint_option(ctl, "expect", 0, TG_STOCK_UNITS_MAX,
                             &compare->expected_available_units) ||
            !ctl_uint_option(ctl, "set", 0, TG_STOCK_UNITS_MAX, &compare->new_available_units))
            return CTL_USAGE;
        body->change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_COMPARE_AND_SET;
        body->compare_and_set = compare;
        return CTL_DONE;
    }
    if (!ctl_int_parse(delta, -TG_STOCK_UNITS_MAX, TG_STOCK_UNITS_MAX, &body->delta_units) ||
        body->delta_units == 0)
        return ctl_misused(ctl, "--delta \"%s\" must be a number other than 0, -%d to %d", delta,
                           TG_STOCK_UNITS_MAX, TG_STOCK_UNITS_MAX);
    body->change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_DELTA_UNITS;
    return CTL_DONE;
}

enum ctl_exit ctl_stock_adjust(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__AdjustStockRequest body = TIDEGATE__V1__ADJUST_STOCK_REQUEST__INIT;
    Tidegate__V1__StockCompareAndSet compare = TIDEGATE__V1__STOCK_COMPARE_AND_SET__INIT;
    if (!item_arguments(ctl, &body.sale_id, &body.sku))
        return CTL_USAGE;
    enum ctl_exit code = read_change(ctl, &body, &compare);
    if (code)
        return code;
    const char *reason = ctl_option_value(ctl, "reason");
    if (!reason || !reason[0] || strlen(reason) > TG_REASON_BYTES_MAX)
        return ctl_misused(ctl, "--reason must be given, 1 to %d bytes", TG_REASON_BYTES_MAX);
    body.reason = (char *)(uintptr_t)reason; /* protobuf-c only reads it */
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK;
    request.adjust_stock = &body;
    code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    uint64_t available = response->adjust_stock->available_units;
    tgc_response_free(response);
    if (ctl->json)
        ctl_json_print(json_pack("{s:o, s:o, s:I}", "sale_id", ctl_json_id(body.sale_id), "sku",
                                 ctl_json_text(body.sku), "available_units",
                                 (json_int_t)available));
    else
        printf("%s of sale %" PRIu64 " has %" PRIu64 " units available\n", body.sku, body.sale_id,
               available);
    return CTL_DONE;
}
