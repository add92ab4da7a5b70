/* The stored records: every layout of the database, drawn where it is defined.
 *
 * All integers are little-endian at fixed offsets. Every row begins with a CRC-32C and a version:
 *
 *   crc  u32   crc32c(the bytes behind it) xor crc32c(the key), so that damage in either, or a row
 *              under another row's key, is found
 *   ver  u8    layout of this row: 1, or 2 where a second layout is drawn
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

/* sales, key: sale number u32. Version 1 ends its fixed part at 40: its sales have a payment window
 * of STO_ROW_1_PAYMENT_WINDOW_S, no other rule of version 2, and nothing left to announce.
 *
 *    0      4     5      6       7            8        16            24          32
 *   +------+-----+------+-------+------------+---------+-------------+-----------+
 *   | crc  | ver | kind | state | name bytes | sale id | starts (ms) | ends (ms) |
 *   +------+-----+------+-------+------------+---------+-------------+-----------+
 *    32           36         39      40
 *   +------------+----------+-------+--------------------+
 *   | item count | currency | 0     | version 1: name    |
 *   +------------+----------+-------+--------------------+
 *    40                 44                48                      56
 *   +------------------+-----------------+-----------------------+
 *   | payment window s | team lifetime s | refund auto max minor |
 *   +------------------+-----------------+-----------------------+
 *    56                   60          61         62            63
 *   +--------------------+-----------+----------+-------------+-----------------+
 *   | teams per user max | team size | size min | at deadline | new buyers only |
 *   +--------------------+-----------+----------+-------------+-----------------+
 *    64          65            66
 *   +-----------+-------------+----------------+----------------------------------------+
 *   | announced | share count | name, 1 .. 128 | for each share: channel u16, percent u8 |
 *   +-----------+-------------+----------------+----------------------------------------+
 */
/* Format 1 knew no payments, so nobody could have paid: the longest there is. */
#define STO_ROW_1_PAYMENT_WINDOW_S TG_PAYMENT_WINDOW_S_MAX
#define STO_SALE_ROW_1_BYTES       40
#define STO_SALE_ROW_BYTES         66
#define STO_SALE_SHARE_BYTES       3
#define STO_SALE_ROW_BYTES_MAX                                                                     \
    (STO_SALE_ROW_BYTES + TG_SALE_NAME_BYTES_MAX + STO_SALE_SHARE_BYTES * TG_CHANNEL_SHARES_MAX)

/* items, key: item number u32. The initial stock stands in the stock row. Version 1 has 0 in 6 and
 * 7 and its sku at 36: policy RESERVE, no captain price, no ladder. Version 3, of items with a
 * threshold of their own for low stock, has it as a u32 at 44 and its sku at 48.
 *
 *    0      4     5           6        7              8       12               16
 *   +------+-----+-----------+--------+--------------+-------+----------------+
 *   | crc  | ver | sku bytes | policy | ladder steps | sale  | per user limit |
 *   +------+-----+-----------+--------+--------------+-------+----------------+
 *    16              20                 28                 36
 *   +---------------+------------------+------------------+
 *   | per order max | list price minor | sale price minor |
 *   +---------------+------------------+------------------+
 *    36                    44
 *   +---------------------+--------------+--------------------------------------------+
 *   | captain price minor | sku, 1 .. 32 | for each step: size u32, price minor i64   |
 *   +---------------------+--------------+--------------------------------------------+
 */
#define STO_ITEM_ROW_1_BYTES 36
#define STO_ITEM_ROW_2_BYTES 44
#define STO_ITEM_ROW_BYTES   48
#define STO_ITEM_STEP_BYTES  12
#define STO_ITEM_ROW_BYTES_MAX                                                                     \
    (STO_ITEM_ROW_BYTES + TG_SKU_BYTES_MAX + STO_ITEM_STEP_BYTES * TG_LADDER_STEPS_MAX)

/* stock, key: item number u32
 *
 *    0      4     5       8         12          16         20     24          32
 *   +------+-----+-------+---------+-----------+----------+------+-----------+
 *   | crc  | ver | 0 0 0 | initial | available | reserved | sold | restocked |
 *   +------+-----+-------+---------+-----------+----------+------+-----------+
 */
#define STO_STOCK_ROW_BYTES 32

/* stock_log, key: number u64, growing by one. What commits made of the stock of many items
 * (storage/stock_log.h); the initial stock is in the stock row. 1 .. STO_LOG_ENTRIES_MAX entries.
 *
 *    0      4     5       8
 *   +------+-----+-------+----------------------------------------------------------------------+
 *   | crc  | ver | 0 0 0 | for each: item u32, available u32, reserved u32, sold u32,           |
 *   |      |     |       |           restocked i64                                              |
 *   +------+-----+-------+----------------------------------------------------------------------+
 */
#define STO_LOG_ROW_BYTES   8
#define STO_LOG_ENTRY_BYTES 24
#define STO_LOG_ENTRIES_MAX 80 /* two rows fill a page of 4 KiB */

/* orders, key: order id u64. A plain order (no flags) is of version 1: byte 5 is 1, the external id
 * is what is left of the row. 56 bytes without one, so that 55 orders fill a page of 4 KiB.
 *
 *    0      4     5       6         8      12         16
 *   +------+-----+-------+---------+------+----------+
 *   | crc  | ver | flags | channel | item | quantity |
 *   +------+-----+-------+---------+------+----------+
 *    16           32     40           48              56
 *   +------------+------+------------+---------------+---------------------------------+
 *   | request id | user | price minor| accepted (ms) | version 1: external id, 0 .. 32 |
 *   +------------+------+------------+---------------+---------------------------------+
 *
 * Every other order is of version 2. A captain's team id is its own order id.
 *
 *    56               57           58
 *   +----------------+------------+-------------+----------------+---------------------------+
 *   | external bytes | line count | external id | JOINER:        | for each line: item u32,  |
 *   |                |            | 0 .. 32     | team id u64    | quantity u32, price minor |
 *   +----------------+------------+-------------+----------------+---------------------------+
 */
#define STO_ORDER_ROW_BYTES   56
#define STO_ORDER_ROW_2_BYTES 58
#define STO_ORDER_LINE_BYTES  16
#define STO_ORDER_ROW_BYTES_MAX                                                                    \
    (STO_ORDER_ROW_2_BYTES + TG_EXTERNAL_BYTES_MAX + 8 + STO_ORDER_LINE_BYTES * TG_ORDER_LINES_MAX)

/* lives, key: order id u64. Behind the fixed part: command count commands, payment count payments,
 * refund count refunds, each as long as it is.
 *
 *    0      4     5       6       7              8          9         10         11  12
 *   +------+-----+-------+-------+--------------+----------+---------+----------+---+---------+
 *   | crc  | ver | state | units | cancelled by | payments | refunds | commands | 0 | version |
 *   +------+-----+-------+-------+--------------+----------+---------+----------+---+---------+
 *    16           24       32         40           48         56                 64
 *   +------------+--------+----------+------------+----------+------------------+
 *   | last event | amount | received | refund due | refunded | payment deadline |
 *   +------------+--------+----------+------------+----------+------------------+
 *    64         72          80        88          96          104     112           120
 *   +----------+-----------+---------+-----------+-----------+-------+-------------+
 *   | paid at  | confirmed | shipped | delivered | completed | ended | refunded at |
 *   +----------+-----------+---------+-----------+-----------+-------+-------------+
 *
 *   command, 26 bytes: request id (16), fingerprint u64, verdict u8, refund number u8
 *   payment, 31 bytes: amount, paid at, recorded at (8 each), channel u16, currency (3), status u8,
 *                      id bytes u8; then the id
 *   refund,  37 bytes: amount, requested, decided, refunded at (8 each), cause u8, status u8,
 *                      restock u8, reason bytes u8, reference bytes u8; then reason and reference
 */
#define STO_LIFE_ROW_BYTES     120
#define STO_LIFE_COMMAND_BYTES 26
#define STO_LIFE_PAYMENT_BYTES 31
#define STO_LIFE_REFUND_BYTES  37
#define STO_LIFE_ROW_BYTES_MAX                                                                     \
    (STO_LIFE_ROW_BYTES + STO_LIFE_COMMAND_BYTES * TG_ORDER_COMMANDS_MAX +                         \
     (STO_LIFE_PAYMENT_BYTES + TG_PAYMENT_ID_BYTES_MAX) * TG_ORDER_PAYMENTS_MAX +                  \
     (STO_LIFE_REFUND_BYTES + TG_REFUND_REASON_BYTES_MAX + TG_REFUND_REF_BYTES_MAX) *              \
         TG_ORDER_REFUNDS_MAX)

/* events, key: sequence u64. Of SALE_STARTED and SALE_ENDED the subject is the sale's id, of all
 * others the order's. ORDER_PLACED has no row here: it is the order's.
 *
 *    0      4     5      6               7   8         16        24        32             40
 *   +------+-----+------+---------------+---+---------+---------+---------+--------------+
 *   | crc  | ver | type | refund number | 0 | subject | team id | at (ms) | amount minor |
 *   +------+-----+------+---------------+---+---------+---------+---------+--------------+
 */
#define STO_EVENT_ROW_BYTES 40

/* teams, key: team id u64. Behind the fixed part its seats, 32 bytes each.
 *
 *    0      4     5       6      7            8      12               13      16
 *   +------+-----+-------+------+------------+------+----------------+-------+
 *   | crc  | ver | state | size | seat count | item | auto completed | 0 0 0 |
 *   +------+-----+-------+------+------------+------+----------------+-------+
 *    16            24              32            40              48           56           64
 *   +-------------+---------------+-------------+---------------+------------+------------+
 *   | opener user | captain order | opened (ms) | deadline (ms) | ended (ms) | unit price |
 *   +-------------+---------------+-------------+---------------+------------+------------+
 *
 *   seat: order id u64, user u64, joined (ms) i64, paid (ms) i64
 */
#define STO_TEAM_ROW_BYTES     64
#define STO_TEAM_SEAT_BYTES    32
#define STO_TEAM_ROW_BYTES_MAX (STO_TEAM_ROW_BYTES + STO_TEAM_SEAT_BYTES * TG_TEAM_SIZE_MAX)

/* ingested, key: request id, 16 bytes
 *
 *    0      4     5       8          16
 *   +------+-----+-------+----------+
 *   | crc  | ver | 0 0 0 | order id |
 *   +------+-----+-------+----------+
 */
#define STO_INGESTED_ROW_BYTES 16

/* groups, key: the name, 1 to 64 bytes
 *
 *    0      4     5       8        16             24           32
 *   +------+-----+-------+--------+--------------+------------+
 *   | crc  | ver | 0 0 0 | offset | created (ms) | acked (ms) |
 *   +------+-----+-------+--------+--------------+------------+
 */
#define STO_GROUP_ROW_BYTES 32

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

/* meta, key: "event_first": the oldest sequence that readers of the outbox may still ask for. 1 as
 * long as there is no such row.
 *
 *    0      4     5       8       16
 *   +------+-----+-------+-------+
 *   | crc  | ver | 0 0 0 | first |
 *   +------+-----+-------+-------+
 */
#define STO_EVENT_FIRST_KEY       "event_first"
#define STO_EVENT_FIRST_ROW_BYTES 16

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
    return STO_SALE_ROW_BYTES + (size_t)def->name_bytes +
           STO_SALE_SHARE_BYTES * (size_t)def->share_count;
}

/* Up to its sku. */
static inline size_t sto_item_fixed_bytes(const struct tg_item_def *item)
{
    return item->low_stock_units > 0 ? STO_ITEM_ROW_BYTES : STO_ITEM_ROW_2_BYTES;
}

static inline size_t sto_row_item_bytes(const struct tg_item_def *item)
{
    return sto_item_fixed_bytes(item) + (size_t)item->sku_bytes +
           STO_ITEM_STEP_BYTES * (size_t)item->ladder_steps;
}

/* `record` is a TG_RECORD_ORDER. */
static inline size_t sto_row_plain_bytes(const struct tg_record *record)
{
    return STO_ORDER_ROW_BYTES + (size_t)record->order.external_bytes;
}

static inline size_t sto_row_order_bytes(const struct tg_order_row *order)
{
    if (order->flags == 0)
        return STO_ORDER_ROW_BYTES + (size_t)order->external_bytes;
    return STO_ORDER_ROW_2_BYTES + (size_t)order->external_bytes +
           (order->flags & TG_ORDER_JOINER ? sizeof(order->team_id) : 0) +
           STO_ORDER_LINE_BYTES * (size_t)order->line_count;
}

size_t sto_row_life_bytes(const struct tg_life *life);

static inline size_t sto_row_team_bytes(const struct tg_team *team)
{
    return STO_TEAM_ROW_BYTES + STO_TEAM_SEAT_BYTES * (size_t)team->seat_count;
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

static inline size_t sto_row_log_bytes(uint32_t entries)
{
    return STO_LOG_ROW_BYTES + (size_t)entries * STO_LOG_ENTRY_BYTES;
}

/* A row of the stock log is filled entry by entry, then sealed. */
void sto_row_log_put(void *row, uint32_t entry, uint32_t item, const struct tg_stock *stock);
void sto_row_log_seal(void *row, uint64_t number, uint32_t entries);
/* A new plain order, of a TG_RECORD_ORDER; key record->order_id. The hot one: a few tens of
 * nanoseconds. */
void sto_row_plain_encode(void *row, const struct tg_record *record);
/* Any order; key order->order_id. */
void sto_row_order_encode(void *row, const struct tg_order_row *order);
void sto_row_life_encode(void *row, uint64_t order_id, const struct tg_life *life);
/* Key event->sequence; never an ORDER_PLACED. */
void sto_row_event_encode(void *row, const struct tg_event *event);
/* Key team->team_id. */
void sto_row_team_encode(void *row, const struct tg_team *team);
void sto_row_ingested_encode(void *row, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                             uint64_t order_id);
/* Key: the name. */
void sto_row_group_encode(void *row, const struct tg_group *group);
void sto_row_adjustment_encode(void *row, uint64_t number, const struct tg_record *record);
void sto_row_format_encode(void *row, uint32_t version);
void sto_row_event_first_encode(void *row, uint64_t first);

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

/* The number of its entries, and each of them; `initial_units` of an entry is 0. */
const char *sto_row_log_check(const void *row, size_t size, uint64_t number, uint32_t *entries);
void sto_row_log_get(const void *row, uint32_t entry, uint32_t *item, struct tg_stock *stock);
/* Fills `order` but for unused lines. Also checks that the id of a plain order or a cart carries
 * its item's partition; of others it may be that of the sale's first item (tg_item_partition),
 * which a row does not know. */
const char *sto_row_order_decode(const void *row, size_t size, uint64_t order_id,
                                 struct tg_order_row *order);
/* Fills `life` but for unused commands, payments and refunds. Does not judge its sums; each amount
 * is 0 to TG_AMOUNT_MINOR_MAX, so that of 16 payments may not fit int64. */
const char *sto_row_life_decode(const void *row, size_t size, uint64_t order_id,
                                struct tg_life *life);
const char *sto_row_event_decode(const void *row, size_t size, uint64_t sequence,
                                 struct tg_event *event);
/* Fills `team` but for unused seats. Does not judge whether it is overfull. */
const char *sto_row_team_decode(const void *row, size_t size, uint64_t team_id,
                                struct tg_team *team);
const char *sto_row_ingested_decode(const void *row, size_t size,
                                    const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                    uint64_t *order_id);
/* `name` is the key. */
const char *sto_row_group_decode(const void *row, size_t size, const void *name, size_t name_bytes,
                                 struct tg_group *group);
const char *sto_row_adjustment_decode(const void *row, size_t size, uint64_t number,
                                      struct sto_adjustment *adjustment);
const char *sto_row_format_decode(const void *row, size_t size, uint32_t *version);
const char *sto_row_event_first_decode(const void *row, size_t size, uint64_t *first);

#endif
