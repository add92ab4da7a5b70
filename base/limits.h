/* Every named maximum of Tidegate, in one place.
 *
 * A limit is here when a caller can meet it, or when two of them must agree. Limits that an
 * operator sets are in server/config.h, with their defaults; these are the walls around them.
 */
#ifndef TG_BASE_LIMITS_H
#define TG_BASE_LIMITS_H

#include <stdint.h>

/* --- the contract (docs/protocol.md) --- */
#define TG_REQUEST_ID_BYTES    16
#define TG_SKU_BYTES_MAX       32
#define TG_EXTERNAL_BYTES_MAX  32
#define TG_REASON_BYTES_MAX    64
#define TG_SALE_NAME_BYTES_MAX 128
#define TG_CURRENCY_BYTES      3
#define TG_QUANTITY_MAX        1000000    /* units in one order */
#define TG_STOCK_UNITS_MAX     1000000000 /* units of one item, so that three of them fit 32 bits */
#define TG_PRICE_MINOR_MAX     1000000000000 /* 10^12: price x quantity stays inside int64 */
#define TG_CHANNEL_MAX         65535
#define TG_TIME_MS_MAX         253402300799999 /* the last millisecond of the year 9999 */

#define TG_BATCH_ORDERS_MAX    4096  /* orders in one PlaceOrders */
#define TG_SALE_ITEMS_MAX      16384 /* items in one CreateSale */
#define TG_ORDERS_PAGE_MAX     4096
#define TG_ORDERS_PAGE_DEFAULT 1000
#define TG_ITEMS_PAGE_MAX      1000
#define TG_ITEMS_PAGE_DEFAULT  100
#define TG_SALES_PAGE_MAX      1000
#define TG_SALES_PAGE_DEFAULT  100
#define TG_TEAMS_PAGE_MAX      1000
#define TG_TEAMS_PAGE_DEFAULT  100
#define TG_EVENTS_PAGE_MAX     1024
#define TG_EVENTS_PAGE_DEFAULT 256

/* --- orders: docs/order-life.md --- */
#define TG_ORDER_LINES_MAX          32
#define TG_ORDER_PAYMENTS_MAX       16
#define TG_ORDER_REFUNDS_MAX        16
#define TG_ORDER_COMMANDS_MAX       16 /* changes whose request ids an order remembers */
#define TG_PAYMENT_ID_BYTES_MAX     32
#define TG_REFUND_REASON_BYTES_MAX  64
#define TG_REFUND_REF_BYTES_MAX     32
#define TG_AMOUNT_MINOR_MAX         1000000000000000000 /* 10^18: one order, all its payments */
#define TG_PAYMENT_WINDOW_S_DEFAULT 900
#define TG_PAYMENT_WINDOW_S_MAX     2592000
#define TG_CHANNEL_SHARES_MAX       16   /* of one sale */
#define TG_INGEST_ORDERS_MAX        1024 /* in one IngestOrders */
#define TG_INGEST_AHEAD_MS_MAX      300000

/* --- teams: docs/group-buy.md --- */
#define TG_TEAM_SIZE_MAX           100
#define TG_TEAM_LIFETIME_S_MIN     60
#define TG_TEAM_LIFETIME_S_DEFAULT 86400
#define TG_TEAM_LIFETIME_S_MAX     2592000
#define TG_LADDER_STEPS_MAX        8

/* --- the outbox: docs/outbox.md --- */
#define TG_GROUP_NAME_BYTES_MAX  64
#define TG_GROUPS_MAX            256
#define TG_EVENTS_WAIT_MS_MAX    60000
#define TG_WATCH_INTERVAL_MS_MIN 20
#define TG_WATCH_INTERVAL_MS_MAX 60000
#define TG_UNACKED_MAX           65536
#define TG_UNACKED_DEFAULT       1024

/* --- frames, without their length prefix --- */
#define TG_FRAME_BYTES_MAX        (64 * 1024)
#define TG_FRAME_BATCH_BYTES_MAX  (1 << 20) /* PlaceOrders, IngestOrders, CreateSale */
#define TG_FRAME_PREFIX_BYTES_MAX 5         /* a varint of 32 bits */

/* --- threads and rings --- */
#define TG_SHARDS_MAX         64
#define TG_PARTITIONS         1024 /* the low bits of an order id: item modulo this */
#define TG_PARTITION_BITS     10
#define TG_JOURNAL_RECORDS    65536 /* per shard, in flight between decision and commit */
#define TG_COMMIT_RECORDS_MAX 16384 /* in one LMDB transaction, and what is left of a unit */
#define TG_UNIT_RECORDS_MAX   128   /* records that are committed together or not at all */
#define TG_CHANGES_MAX        8192  /* per shard, changes of orders in flight */
#define TG_CORE_RING_MESSAGES 8192  /* per ordered pair of core threads */

_Static_assert((1 << TG_PARTITION_BITS) == TG_PARTITIONS, "order ids carry a whole partition");
_Static_assert(TG_SHARDS_MAX <= TG_PARTITIONS, "every shard needs a partition");
_Static_assert(TG_TEAM_SIZE_MAX + 1 <= TG_UNIT_RECORDS_MAX, "a team and its members are one unit");
_Static_assert(TG_UNIT_RECORDS_MAX < TG_CHANGES_MAX, "a unit must fit the empty pool");
_Static_assert(TG_BATCH_ORDERS_MAX < TG_JOURNAL_RECORDS, "a batch must fit an empty journal");
_Static_assert((TG_JOURNAL_RECORDS & (TG_JOURNAL_RECORDS - 1)) == 0, "masked, not divided");
_Static_assert((TG_CORE_RING_MESSAGES & (TG_CORE_RING_MESSAGES - 1)) == 0, "masked, not divided");
_Static_assert(TG_QUANTITY_MAX <= TG_STOCK_UNITS_MAX, "an order can ask for all there is");
_Static_assert(TG_PRICE_MINOR_MAX <= INT64_MAX / TG_QUANTITY_MAX, "an amount fits int64");

/* --- advice to callers --- */
#define TG_RETRY_AFTER_MS 5 /* with BUSY: a few commits later there is room again */

#endif
