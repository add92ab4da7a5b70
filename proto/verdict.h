/* Short names for the enums of the contract, and the one table of request fields.
 *
 * The values are those of proto/tidegate/v1/tidegate.proto, by way of the generated header: the
 * contract stays the one place where a verdict is defined. */
#ifndef TG_PROTO_VERDICT_H
#define TG_PROTO_VERDICT_H

#include "tidegate/v1/tidegate.pb-c.h"

#define TG_VERDICTS(X)                                                                             \
    X(ACCEPTED)                                                                                    \
    X(SOLD_OUT)                                                                                    \
    X(INSUFFICIENT_STOCK)                                                                          \
    X(LIMIT_REACHED)                                                                               \
    X(NOT_STARTED)                                                                                 \
    X(ENDED)                                                                                       \
    X(PAUSED)                                                                                      \
    X(UNKNOWN_SALE)                                                                                \
    X(UNKNOWN_ITEM)                                                                                \
    X(PRICE_CHANGED)                                                                               \
    X(INVALID_ARGUMENT)                                                                            \
    X(REQUEST_ID_CONFLICT)                                                                         \
    X(BUSY)                                                                                        \
    X(STORAGE_FULL)                                                                                \
    X(OK)                                                                                          \
    X(UNKNOWN_ORDER)                                                                               \
    X(SALE_EXISTS)                                                                                 \
    X(STOCK_CHANGED)

enum tg_verdict {
    TG_UNSPECIFIED = TIDEGATE__V1__VERDICT__VERDICT_UNSPECIFIED,
#define TG_VERDICT_ENUM(name) TG_##name = TIDEGATE__V1__VERDICT__VERDICT_##name,
    TG_VERDICTS(TG_VERDICT_ENUM)
#undef TG_VERDICT_ENUM
    TG_VERDICT_COUNT, /* behind the last; new verdicts are added at the end */
};

enum tg_sale_state {
    TG_SALE_ACTIVE = TIDEGATE__V1__SALE_STATE__SALE_STATE_ACTIVE,
    TG_SALE_PAUSED = TIDEGATE__V1__SALE_STATE__SALE_STATE_PAUSED,
    TG_SALE_CLOSED = TIDEGATE__V1__SALE_STATE__SALE_STATE_CLOSED,
};

enum tg_sale_kind {
    TG_SALE_SECKILL = TIDEGATE__V1__SALE_KIND__SALE_KIND_SECKILL,
};

enum tg_order_state {
    TG_ORDER_RESERVED = TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED,
};

/* Fields that INVALID_ARGUMENT can name, and what each must be. */
#define TG_FIELDS(X)                                                                               \
    X(REQUEST_ID, "request_id", "must be exactly 16 bytes, chosen anew for each order")            \
    X(SALE_ID, "sale_id", "must not be 0")                                                         \
    X(SKU, "sku", "must be 1 to 32 printable ASCII bytes, no spaces")                              \
    X(QUANTITY, "quantity", "must be 1 to 1000000")                                                \
    X(PER_ORDER, "quantity", "is above the item's per_order_max")                                  \
    X(UNIT_PRICE, "unit_price_minor", "must be 0 to 10^12")                                        \
    X(CHANNEL, "channel", "must be 0 to 65535")                                                    \
    X(EXTERNAL_ID, "external_id", "must be at most 32 bytes")                                      \
    X(ORDERS, "orders", "must be 1 to 4096 orders")                                                \
    X(ORDER, "orders", "must each be a PlaceOrderRequest")                                         \
    X(LIMIT, "limit", "is above the largest page")                                                 \
    X(SALE, "sale", "must be set")                                                                 \
    X(KIND, "sale.kind", "must be SALE_KIND_SECKILL")                                              \
    X(NAME, "sale.name", "must be 1 to 128 bytes of UTF-8 without control characters")             \
    X(CURRENCY, "sale.currency", "must be three capital letters (ISO 4217)")                       \
    X(STARTS_AT, "sale.starts_at_ms", "must be 0 to 253402300799999")                              \
    X(ENDS_AT, "sale.ends_at_ms", "must be after starts_at_ms and at most 253402300799999")        \
    X(ITEMS, "items", "must be 1 to 16384 items")                                                  \
    X(ITEM_SKU, "items.sku", "must be 1 to 32 printable ASCII bytes, no spaces")                   \
    X(ITEM_SKU_TWICE, "items.sku", "stands twice in the sale")                                     \
    X(LIST_PRICE, "items.list_price_minor", "must be 0 to 10^12")                                  \
    X(SALE_PRICE, "items.sale_price_minor", "must be 0 to 10^12")                                  \
    X(STOCK, "items.stock_units", "must be 0 to 10^9")                                             \
    X(CHANGE, "change", "must be a delta_units other than 0, or a compare_and_set")                \
    X(STOCK_RANGE, "change", "would leave more than 10^9 units in the item's books")               \
    X(REASON, "reason", "must be 1 to 64 bytes of UTF-8 without control characters")

enum tg_field {
    TG_FIELD_NONE,
#define TG_FIELD_ENUM(name, field, advice) TG_FIELD_##name,
    TG_FIELDS(TG_FIELD_ENUM)
#undef TG_FIELD_ENUM
};

/* "SOLD_OUT" for TG_SOLD_OUT; "UNSPECIFIED" for what this build does not know. Static. */
const char *tg_verdict_name(int verdict);
/* The field's name on the wire, "" for none. Static. */
const char *tg_field_name(enum tg_field field);
/* What the field must be: the message of INVALID_ARGUMENT. Static. */
const char *tg_field_advice(enum tg_field field);

#endif
