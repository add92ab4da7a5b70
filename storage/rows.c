#include "storage/rows.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "proto/verdict.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "rows are little-endian and are moved with plain copies");

static const char wrong_size[] = "its size is not that of its kind";
static const char wrong_crc[] = "its checksum does not match";
static const char wrong_version[] = "its row version is not known to this build";
static const char wrong_range[] = "a field is out of range";

/* LMDB aligns values to two bytes only, so every access is a copy; they compile to plain moves. */
#define PUT(row, offset, value) memcpy((uint8_t *)(row) + (offset), &(value), sizeof(value))
#define GET(row, offset, value) memcpy(&(value), (const uint8_t *)(row) + (offset), sizeof(value))

/* CRCs are linear, so the xor of two is as strong as the CRC of both parts in a row, and needs no
 * chained form of the function. */
static uint32_t row_crc(const void *row, size_t size, const void *key, size_t key_bytes)
{
    return tg_crc32c((const uint8_t *)row + 4, size - 4) ^ tg_crc32c(key, key_bytes);
}

static void seal(void *row, size_t size, const void *key, size_t key_bytes)
{
    uint32_t crc = row_crc(row, size, key, key_bytes);
    PUT(row, 0, crc);
}

/* The checks that all rows share. */
static const char *check(const void *row, size_t size, size_t size_min, size_t size_max,
                         const void *key, size_t key_bytes)
{
    if (size < size_min || size > size_max)
        return wrong_size;
    uint32_t crc;
    GET(row, 0, crc);
    if (crc != row_crc(row, size, key, key_bytes))
        return wrong_crc;
    if (((const uint8_t *)row)[4] != STO_ROW_VERSION)
        return wrong_version;
    return NULL;
}

static bool price_fits(int64_t price_minor)
{
    return price_minor >= 0 && price_minor <= TG_PRICE_MINOR_MAX;
}

static bool time_fits(int64_t at_ms)
{
    return at_ms >= 0 && at_ms <= TG_TIME_MS_MAX;
}

/* --- sales --- */

static bool sale_fits(const struct tg_sale_def *def)
{
    for (int i = 0; i < TG_CURRENCY_BYTES; i++) {
        if (def->currency[i] < 'A' || def->currency[i] > 'Z')
            return false;
    }
    return def->sale_id != 0 && def->kind == TG_SALE_SECKILL &&
           (def->state == TG_SALE_ACTIVE || def->state == TG_SALE_PAUSED ||
            def->state == TG_SALE_CLOSED) &&
           def->name_bytes >= 1 && def->name_bytes <= TG_SALE_NAME_BYTES_MAX &&
           time_fits(def->starts_at_ms) && time_fits(def->ends_at_ms) &&
           def->starts_at_ms < def->ends_at_ms && def->item_count >= 1 &&
           def->item_count <= TG_SALE_ITEMS_MAX;
}

void sto_row_sale_encode(void *row, const struct tg_sale_def *def)
{
    tg_assert(sale_fits(def));
    uint8_t *bytes = row;
    bytes[4] = STO_ROW_VERSION;
    bytes[5] = def->kind;
    bytes[6] = def->state;
    bytes[7] = def->name_bytes;
    PUT(row, 8, def->sale_id);
    PUT(row, 16, def->starts_at_ms);
    PUT(row, 24, def->ends_at_ms);
    PUT(row, 32, def->item_count);
    PUT(row, 36, def->currency);
    bytes[39] = 0;
    memcpy(bytes + STO_SALE_ROW_BYTES, def->name, def->name_bytes);
    seal(row, sto_row_sale_bytes(def), &def->sale, sizeof(def->sale));
}

const char *sto_row_sale_decode(const void *row, size_t size, uint32_t sale,
                                struct tg_sale_def *def)
{
    const char *problem =
        check(row, size, STO_SALE_ROW_BYTES + 1, STO_SALE_ROW_BYTES_MAX, &sale, sizeof(sale));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    if (size != STO_SALE_ROW_BYTES + (size_t)bytes[7])
        return wrong_size;
    *def = (struct tg_sale_def){
        .sale = sale, .kind = bytes[5], .state = bytes[6], .name_bytes = bytes[7]};
    GET(row, 8, def->sale_id);
    GET(row, 16, def->starts_at_ms);
    GET(row, 24, def->ends_at_ms);
    GET(row, 32, def->item_count);
    GET(row, 36, def->currency);
    memcpy(def->name, bytes + STO_SALE_ROW_BYTES, def->name_bytes);
    return sale_fits(def) ? NULL : wrong_range;
}

/* --- items --- */

static bool item_fits(const struct tg_item_def *item)
{
    return item->sku_bytes >= 1 && item->sku_bytes <= TG_SKU_BYTES_MAX &&
           price_fits(item->list_price_minor) && price_fits(item->sale_price_minor);
}

void sto_row_item_encode(void *row, uint32_t sale, const struct tg_item_def *item)
{
    tg_assert(item_fits(item));
    uint8_t *bytes = row;
    bytes[4] = STO_ROW_VERSION;
    bytes[5] = item->sku_bytes;
    bytes[6] = bytes[7] = 0;
    PUT(row, 8, sale);
    PUT(row, 12, item->per_user_limit);
    PUT(row, 16, item->per_order_max);
    PUT(row, 20, item->list_price_minor);
    PUT(row, 28, item->sale_price_minor);
    memcpy(bytes + STO_ITEM_ROW_BYTES, item->sku, item->sku_bytes);
    seal(row, sto_row_item_bytes(item), &item->item, sizeof(item->item));
}

const char *sto_row_item_decode(const void *row, size_t size, uint32_t number, uint32_t *sale,
                                struct tg_item_def *item)
{
    const char *problem =
        check(row, size, STO_ITEM_ROW_BYTES + 1, STO_ITEM_ROW_BYTES_MAX, &number, sizeof(number));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    if (size != STO_ITEM_ROW_BYTES + (size_t)bytes[5])
        return wrong_size;
    *item = (struct tg_item_def){.item = number, .sku_bytes = bytes[5]};
    GET(row, 8, *sale);
    GET(row, 12, item->per_user_limit);
    GET(row, 16, item->per_order_max);
    GET(row, 20, item->list_price_minor);
    GET(row, 28, item->sale_price_minor);
    memcpy(item->sku, bytes + STO_ITEM_ROW_BYTES, item->sku_bytes);
    return item_fits(item) ? NULL : wrong_range;
}

/* --- stock --- */

void sto_row_stock_encode(void *row, uint32_t item, const struct tg_stock *stock)
{
    uint8_t *bytes = row;
    bytes[4] = STO_ROW_VERSION;
    bytes[5] = bytes[6] = bytes[7] = 0;
    PUT(row, 8, stock->initial_units);
    PUT(row, 12, stock->available_units);
    PUT(row, 16, stock->reserved_units);
    PUT(row, 20, stock->sold_units);
    PUT(row, 24, stock->restocked_units);
    seal(row, STO_STOCK_ROW_BYTES, &item, sizeof(item));
}

const char *sto_row_stock_decode(const void *row, size_t size, uint32_t item,
                                 struct tg_stock *stock)
{
    const char *problem =
        check(row, size, STO_STOCK_ROW_BYTES, STO_STOCK_ROW_BYTES, &item, sizeof(item));
    if (problem)
        return problem;
    GET(row, 8, stock->initial_units);
    GET(row, 12, stock->available_units);
    GET(row, 16, stock->reserved_units);
    GET(row, 20, stock->sold_units);
    GET(row, 24, stock->restocked_units);
    return NULL;
}

/* --- orders --- */

static bool order_fits(uint32_t quantity, int64_t unit_price_minor, int64_t accepted_at_ms)
{
    return quantity >= 1 && quantity <= TG_QUANTITY_MAX && price_fits(unit_price_minor) &&
           time_fits(accepted_at_ms);
}

void sto_row_order_encode(void *row, const struct tg_record *record)
{
    tg_assert(order_fits(record->order.quantity, record->order.unit_price_minor, record->at_ms));
    tg_assert(record->order.external_bytes <= TG_EXTERNAL_BYTES_MAX);
    uint8_t *bytes = row;
    bytes[4] = STO_ROW_VERSION;
    bytes[5] = TG_ORDER_RESERVED;
    PUT(row, 6, record->channel);
    PUT(row, 8, record->item);
    PUT(row, 12, record->order.quantity);
    PUT(row, 16, record->order.request_id);
    PUT(row, 32, record->order.user_id);
    PUT(row, 40, record->order.unit_price_minor);
    PUT(row, 48, record->at_ms);
    memcpy(bytes + STO_ORDER_ROW_BYTES, record->order.external_id, record->order.external_bytes);
    seal(row, sto_row_order_bytes(record), &record->order_id, sizeof(record->order_id));
}

const char *sto_row_order_decode(const void *row, size_t size, uint64_t order_id,
                                 struct tg_order_row *order)
{
    const char *problem =
        check(row, size, STO_ORDER_ROW_BYTES, STO_ORDER_ROW_BYTES_MAX, &order_id, sizeof(order_id));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    order->order_id = order_id;
    order->state = bytes[5];
    GET(row, 6, order->channel);
    GET(row, 8, order->item);
    GET(row, 12, order->quantity);
    GET(row, 16, order->request_id);
    GET(row, 32, order->user_id);
    GET(row, 40, order->unit_price_minor);
    GET(row, 48, order->accepted_at_ms);
    order->external_bytes = (uint8_t)(size - STO_ORDER_ROW_BYTES);
    memset(order->external_id, 0, sizeof(order->external_id));
    memcpy(order->external_id, bytes + STO_ORDER_ROW_BYTES, order->external_bytes);
    if (order->state != TG_ORDER_RESERVED ||
        !order_fits(order->quantity, order->unit_price_minor, order->accepted_at_ms))
        return wrong_range;
    if (order_id % TG_PARTITIONS != order->item % TG_PARTITIONS)
        return "its id names another partition than its item";
    return NULL;
}

/* --- adjustments --- */

static bool adjustment_fits(int64_t delta_units, int64_t at_ms)
{
    return delta_units != 0 && delta_units >= -TG_STOCK_UNITS_MAX &&
           delta_units <= TG_STOCK_UNITS_MAX && time_fits(at_ms);
}

void sto_row_adjustment_encode(void *row, uint64_t number, const struct tg_record *record)
{
    tg_assert(adjustment_fits(record->adjust.delta_units, record->at_ms));
    tg_assert(record->adjust.reason_bytes <= TG_REASON_BYTES_MAX);
    uint8_t *bytes = row;
    bytes[4] = STO_ROW_VERSION;
    bytes[5] = record->adjust.reason_bytes;
    bytes[6] = bytes[7] = 0;
    PUT(row, 8, record->item);
    PUT(row, 12, record->adjust.delta_units);
    PUT(row, 20, record->at_ms);
    memcpy(bytes + STO_ADJUSTMENT_ROW_BYTES, record->adjust.reason, record->adjust.reason_bytes);
    seal(row, sto_row_adjustment_bytes(record), &number, sizeof(number));
}

const char *sto_row_adjustment_decode(const void *row, size_t size, uint64_t number,
                                      struct sto_adjustment *adjustment)
{
    const char *problem = check(row, size, STO_ADJUSTMENT_ROW_BYTES, STO_ADJUSTMENT_ROW_BYTES_MAX,
                                &number, sizeof(number));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    if (size != STO_ADJUSTMENT_ROW_BYTES + (size_t)bytes[5])
        return wrong_size;
    *adjustment = (struct sto_adjustment){.reason_bytes = bytes[5]};
    GET(row, 8, adjustment->item);
    GET(row, 12, adjustment->delta_units);
    GET(row, 20, adjustment->at_ms);
    memcpy(adjustment->reason, bytes + STO_ADJUSTMENT_ROW_BYTES, adjustment->reason_bytes);
    return adjustment_fits(adjustment->delta_units, adjustment->at_ms) ? NULL : wrong_range;
}

/* --- format --- */

void sto_row_format_encode(void *row, uint32_t version)
{
    PUT(row, 4, version);
    seal(row, STO_FORMAT_ROW_BYTES, STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1);
}

const char *sto_row_format_decode(const void *row, size_t size, uint32_t *version)
{
    if (size < STO_FORMAT_ROW_BYTES)
        return wrong_size;
    uint32_t crc;
    GET(row, 0, crc);
    if (crc != row_crc(row, size, STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1))
        return wrong_crc;
    GET(row, 4, *version);
    return NULL;
}
