/* An order as it travels: what the wire decodes into, what a caller encodes from.
 *
 * The bytes that it points to are borrowed: on the server they lie in the frame and live until
 * the frame is handled. Values are checked against base/limits.h by the decoder, so whoever holds
 * one may rely on the ranges given here.
 */
#ifndef TG_BASE_ORDER_H
#define TG_BASE_ORDER_H

#include "base/limits.h"

#include <stdint.h>

/* Who goes first under a backlog: docs/order-life.md. 0 is the lane of an order that names none. */
enum tg_lane {
    TG_LANE_FLASH,
    TG_LANE_VIP,
    TG_LANE_PREPAID,
    TG_LANES,
};

struct tg_order {
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t sale_id; /* not 0 */
    uint64_t user_id;
    int64_t unit_price_minor;   /* 0 .. TG_PRICE_MINOR_MAX: what the buyer saw */
    const uint8_t *sku;         /* borrowed, printable ASCII */
    const uint8_t *external_id; /* borrowed, any bytes */
    uint32_t quantity;          /* 1 .. TG_QUANTITY_MAX */
    uint16_t channel;
    uint8_t sku_bytes;      /* 1 .. TG_SKU_BYTES_MAX */
    uint8_t external_bytes; /* 0 .. TG_EXTERNAL_BYTES_MAX */
    uint8_t lane;           /* enum tg_lane */
};

/* The answer to one order. */
struct tg_answer {
    uint64_t order_id;        /* with ACCEPTED, else 0 */
    int64_t unit_price_minor; /* with ACCEPTED */
    int64_t accepted_at_ms;   /* with ACCEPTED */
    uint32_t retry_after_ms;  /* with BUSY */
    uint8_t verdict;          /* enum tg_verdict */
    uint8_t field;            /* enum tg_field, with INVALID_ARGUMENT */
    uint8_t replayed;         /* 1: the answer to an earlier request with this id */
};

#endif
