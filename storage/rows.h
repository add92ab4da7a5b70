/* The stored records: every layout of the database, drawn where it is defined.
 *
 * All integers are little-endian at fixed offsets. Every row begins with a CRC-32C and a version:
 *
 *   crc  u32   crc32c(the bytes behind it) xor crc32c(the key), so that damage in either, or a row
 *              under another row's key, is found
 *   ver  u8    layout of this row; STO_ROW_VERSION today
 *
 * Encoders write into memory that the caller sized by the matching sto_row_*_bytes; what they are
 * given is the engine's promise and is asserted. Decoders trust nothing: they check size, CRC,
 * version and ranges, read no byte outside the row, and return NULL or a static text that says
 * what is wrong. All functions are pure; any thread.
 *
 * Not here: whether rows agree with each other (recover.c, verify.c).
 */
#ifndef TG_STORAGE_ROWS_H
#define TG_STORAGE_ROWS_H

#include "base/record.h"

#include <stddef.h>
#include <stdint.h>

#define STO_ROW_VERSION 1u

/* sales, key: sale number u32
 *
 *    0      4     5      6       7            8        16            24          32
 *   +------+-----+------+-------+------------+---------+-------------+-----------+
 *   | crc  | ver | kind | state | name bytes | sale id | starts (ms) | ends (ms) |
 *   +------+-----+------+-------+------------+---------+-------------+-----------+
 *    32           36         39      40
 *   +------------+----------+-------+--------------------+
 *   | item count | currency | 0     | name, 1 .. 128     |
 *   +------------+----------+-------+--------------------+
 */
#define STO_SALE_ROW_BYTES     40
#define STO_SALE_ROW_BYTES_MAX (STO_SALE_ROW_BYTES + TG_SALE_NAME_BYTES_MAX)

/* items, key: item number u32. The initial stock stands in the stock row.
 *
 *    0      4     5           6     8       12               16
 *   +------+-----+-----------+-----+-------+----------------+
 *   | crc  | ver | sku bytes | 0 0 | sale  | per user limit |
 *   +------+-----+-----------+-----+-------+----------------+
 *    16              20                 28                 36
 *   +---------------+------------------+------------------+---------------+
 *   | per order max | list price minor | sale price minor | sku, 1 .. 32  |
 *   +---------------+------------------+------------------+---------------+
 */
#define STO_ITEM_ROW_BYTES     36
#define STO_ITEM_ROW_BYTES_MAX (STO_ITEM_ROW_BYTES + TG_SKU_BYTES_MAX)

/* stock, key: item number u32
 *
 *    0      4     5       8         12          16         20     24          32
 *   +------+-----+-------+---------+-----------+----------+------+-----------+
 *   | crc  | ver | 0 0 0 | initial | available | reserved | sold | restocked |
 *   +------+-----+-------+---------+-----------+----------+------+-----------+
 */
#define STO_STOCK_ROW_BYTES 32

/* orders, key: order id u64. The external id is what is left of the row. 56 bytes without one, so
 * that 55 orders fill a page of 4 KiB.
 *
 *    0      4     5       6         8      12         16
 *   +------+-----+-------+---------+------+----------+
 *   | crc  | ver | state | channel | item | quantity |
 *   +------+-----+-------+---------+------+----------+
 *    16           32     40           48              56
 *   +------------+------+------------+---------------+----------------------+
 *   | request id | user | price minor| accepted (ms) | external id, 0 .. 32 |
 *   +------------+------+------------+---------------+----------------------+
 */
#define STO_ORDER_ROW_BYTES     56
#define STO_ORDER_ROW_BYTES_MAX (STO_ORDER_ROW_BYTES + TG_EXTERNAL_BYTES_MAX)

/* adjustments, key: adjustment number u64
 *
 *    0      4     5              6     8      12            20        28
 *   +------+-----+--------------+-----+------+-------------+---------+-----------------+
 *   | crc  | ver | reason bytes | 0 0 | item | delta units | at (ms) | reason, 0 .. 64 |
 *   +------+-----+--------------+-----+------+-------------+---------+-----------------+
 */
#define STO_ADJUSTMENT_ROW_BYTES     28
#define STO_ADJUSTMENT_ROW_BYTES_MAX (STO_ADJUSTMENT_ROW_BYTES + TG_REASON_BYTES_MAX)

/* meta, key: "format". These eight bytes stay as they are in every later version, so that any
 * build can tell which version it found; a later version may add bytes behind them.
 *
 *    0      4         8
 *   +------+---------+
 *   | crc  | version |
 *   +------+---------+
 */
#define STO_FORMAT_KEY       "format"
/* meta: the shortest time, in seconds, for which request ids were ever remembered; a row like the
 * format's. An id that was forgotten may own another order, and sto_verify must not call it one. */
#define STO_TTL_KEY          "request_ttl_s"
#define STO_FORMAT_ROW_BYTES 8

_Static_assert(STO_ORDER_ROW_BYTES == 4 + 1 + 1 + 2 + 4 + 4 + TG_REQUEST_ID_BYTES + 8 + 8 + 8,
               "no hole in the order row");

/* An adjustment as it is stored. */
struct sto_adjustment {
    int64_t delta_units; /* never 0 */
    int64_t at_ms;
    uint32_t item;
    uint8_t reason_bytes;
    char reason[TG_REASON_BYTES_MAX];
};

/* --- sizes of the rows to come --- */

static inline size_t sto_row_sale_bytes(const struct tg_sale_def *def)
{
    return STO_SALE_ROW_BYTES + (size_t)def->name_bytes;
}

static inline size_t sto_row_item_bytes(const struct tg_item_def *item)
{
    return STO_ITEM_ROW_BYTES + (size_t)item->sku_bytes;
}

/* `record` is a TG_RECORD_ORDER. */
static inline size_t sto_row_order_bytes(const struct tg_record *record)
{
    return STO_ORDER_ROW_BYTES + (size_t)record->order.external_bytes;
}

/* `record` is a TG_RECORD_ADJUST. */
static inline size_t sto_row_adjustment_bytes(const struct tg_record *record)
{
    return STO_ADJUSTMENT_ROW_BYTES + (size_t)record->adjust.reason_bytes;
}

/* --- encoders --- */

/* The sale without its items; key def->sale. */
void sto_row_sale_encode(void *row, const struct tg_sale_def *def);
/* One item of sale number `sale`; key item->item. */
void sto_row_item_encode(void *row, uint32_t sale, const struct tg_item_def *item);
void sto_row_stock_encode(void *row, uint32_t item, const struct tg_stock *stock);
/* A new, RESERVED order; key record->order_id. The hot one: a few tens of nanoseconds. */
void sto_row_order_encode(void *row, const struct tg_record *record);
void sto_row_adjustment_encode(void *row, uint64_t number, const struct tg_record *record);
void sto_row_format_encode(void *row, uint32_t version);

/* --- decoders: NULL, or what is wrong --- */

/* Fills everything of `def` but its items; def->item_count says how many there must be. */
const char *sto_row_sale_decode(const void *row, size_t size, uint32_t sale,
                                struct tg_sale_def *def);
/* Fills `item` but for stock_units, which are 0. */
const char *sto_row_item_decode(const void *row, size_t size, uint32_t number, uint32_t *sale,
                                struct tg_item_def *item);
/* Does not judge promise 1: a row can be undamaged and wrong. */
const char *sto_row_stock_decode(const void *row, size_t size, uint32_t item,
                                 struct tg_stock *stock);
/* Also checks that the id carries the item's partition. */
const char *sto_row_order_decode(const void *row, size_t size, uint64_t order_id,
                                 struct tg_order_row *order);
const char *sto_row_adjustment_decode(const void *row, size_t size, uint64_t number,
                                      struct sto_adjustment *adjustment);
const char *sto_row_format_decode(const void *row, size_t size, uint32_t *version);

#endif
