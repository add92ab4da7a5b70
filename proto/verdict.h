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
    X(STOCK_CHANGED)                                                                               \
    X(NOT_PAID)                                                                                    \
    X(ALREADY_PAID)                                                                                \
    X(ALREADY_CANCELLED)                                                                           \
    X(EXPIRED)                                                                                     \
    X(AWAITING_TEAM)                                                                               \
    X(ALREADY_SHIPPED)                                                                             \
    X(ALREADY_DELIVERED)                                                                           \
    X(ALREADY_COMPLETED)                                                                           \
    X(TEAM_FAILED)                                                                                 \
    X(REFUND_DUE)                                                                                  \
    X(ALREADY_REFUNDED)                                                                            \
    X(NOT_SHIPPED)                                                                                 \
    X(NOT_DELIVERED)                                                                               \
    X(AMOUNT_MISMATCH)                                                                             \
    X(CURRENCY_MISMATCH)                                                                           \
    X(PAYMENT_CONFLICT)                                                                            \
    X(ORDER_FULL)                                                                                  \
    X(REFUND_EXCEEDS_PAID)                                                                         \
    X(UNKNOWN_REFUND)                                                                              \
    X(REFUND_STATUS)                                                                               \
    X(REFUND_PENDING)                                                                              \
    X(CHANNEL_SHARE_REACHED)                                                                       \
    X(TEAM_REQUIRED)                                                                               \
    X(NOT_A_GROUP_BUY)                                                                             \
    X(UNKNOWN_TEAM)                                                                                \
    X(TEAM_NOT_OPEN)                                                                               \
    X(TEAM_FULL)                                                                                   \
    X(TEAM_FORMED)                                                                                 \
    X(TEAM_ENDED)                                                                                  \
    X(ALREADY_IN_TEAM)                                                                             \
    X(NOT_NEW_BUYER)                                                                               \
    X(TEAM_LIMIT_REACHED)                                                                          \
    X(UNKNOWN_GROUP)                                                                               \
    X(GROUP_EXISTS)                                                                                \
    X(EVENTS_DROPPED)

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
    TG_SALE_GROUP_BUY = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY,
};

/* X(short name, name on the wire): the states of an order. */
#define TG_ORDER_STATES(X)                                                                         \
    X(RESERVED)                                                                                    \
    X(PAID)                                                                                        \
    X(AWAITING_TEAM)                                                                               \
    X(CONFIRMED)                                                                                   \
    X(SHIPPED)                                                                                     \
    X(DELIVERED)                                                                                   \
    X(COMPLETED)                                                                                   \
    X(EXPIRED)                                                                                     \
    X(CANCELLED)                                                                                   \
    X(TEAM_FAILED)                                                                                 \
    X(REFUND_DUE)                                                                                  \
    X(REFUNDED)

enum tg_order_state {
#define TG_STATE_ENUM(name) TG_ORDER_##name = TIDEGATE__V1__ORDER_STATE__ORDER_STATE_##name,
    TG_ORDER_STATES(TG_STATE_ENUM)
#undef TG_STATE_ENUM
    TG_ORDER_STATE_COUNT,
};

enum tg_payment_status {
    TG_PAYMENT_APPLIED = TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_APPLIED,
    TG_PAYMENT_LATE = TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_LATE,
    TG_PAYMENT_REFUND_DUE = TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_REFUND_DUE,
    TG_PAYMENT_REFUSED_AMOUNT = TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_REFUSED_AMOUNT,
    TG_PAYMENT_REFUSED_CURRENCY = TIDEGATE__V1__PAYMENT_STATUS__PAYMENT_STATUS_REFUSED_CURRENCY,
};

enum tg_refund_cause {
    TG_REFUND_REQUESTED = TIDEGATE__V1__REFUND_CAUSE__REFUND_CAUSE_REQUESTED,
    TG_REFUND_SECOND_PAYMENT = TIDEGATE__V1__REFUND_CAUSE__REFUND_CAUSE_SECOND_PAYMENT,
    TG_REFUND_LATE_PAYMENT = TIDEGATE__V1__REFUND_CAUSE__REFUND_CAUSE_LATE_PAYMENT,
    TG_REFUND_CANCELLED = TIDEGATE__V1__REFUND_CAUSE__REFUND_CAUSE_CANCELLED,
    TG_REFUND_TEAM_FAILED = TIDEGATE__V1__REFUND_CAUSE__REFUND_CAUSE_TEAM_FAILED,
    TG_REFUND_LADDER = TIDEGATE__V1__REFUND_CAUSE__REFUND_CAUSE_LADDER,
};

enum tg_refund_status {
    TG_REFUND_WAITING = TIDEGATE__V1__REFUND_STATUS__REFUND_STATUS_WAITING,
    TG_REFUND_DUE_STATUS = TIDEGATE__V1__REFUND_STATUS__REFUND_STATUS_DUE,
    TG_REFUND_REJECTED = TIDEGATE__V1__REFUND_STATUS__REFUND_STATUS_REJECTED,
    TG_REFUND_REFUNDED = TIDEGATE__V1__REFUND_STATUS__REFUND_STATUS_REFUNDED,
};

enum tg_cancelled_by {
    TG_CANCELLED_BY_BUYER = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_BUYER,
    TG_CANCELLED_BY_MERCHANT = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_MERCHANT,
    TG_CANCELLED_BY_TEAM = TIDEGATE__V1__CANCELLED_BY__CANCELLED_BY_TEAM,
};

enum tg_team_state {
    TG_TEAM_PENDING = TIDEGATE__V1__TEAM_STATE__TEAM_STATE_PENDING,
    TG_TEAM_OPEN = TIDEGATE__V1__TEAM_STATE__TEAM_STATE_OPEN,
    TG_TEAM_STATE_FORMED = TIDEGATE__V1__TEAM_STATE__TEAM_STATE_FORMED,
    TG_TEAM_STATE_FAILED = TIDEGATE__V1__TEAM_STATE__TEAM_STATE_FAILED,
    TG_TEAM_DISSOLVED = TIDEGATE__V1__TEAM_STATE__TEAM_STATE_DISSOLVED,
};

enum tg_team_deadline {
    TG_DEADLINE_FAIL = TIDEGATE__V1__TEAM_DEADLINE__TEAM_DEADLINE_FAIL,
    TG_DEADLINE_AUTO_COMPLETE = TIDEGATE__V1__TEAM_DEADLINE__TEAM_DEADLINE_AUTO_COMPLETE,
};

#define TG_EVENT_TYPES(X)                                                                          \
    X(ORDER_PLACED)                                                                                \
    X(ORDER_PAID)                                                                                  \
    X(ORDER_AWAITING_TEAM)                                                                         \
    X(ORDER_CONFIRMED)                                                                             \
    X(ORDER_SHIPPED)                                                                               \
    X(ORDER_DELIVERED)                                                                             \
    X(ORDER_COMPLETED)                                                                             \
    X(ORDER_EXPIRED)                                                                               \
    X(ORDER_CANCELLED)                                                                             \
    X(ORDER_TEAM_FAILED)                                                                           \
    X(ORDER_REFUND_DUE)                                                                            \
    X(ORDER_REFUNDED)                                                                              \
    X(PAYMENT_REFUSED)                                                                             \
    X(PAYMENT_EXTENDED)                                                                            \
    X(REFUND_REQUESTED)                                                                            \
    X(REFUND_DUE)                                                                                  \
    X(REFUND_REJECTED)                                                                             \
    X(REFUND_RECORDED)                                                                             \
    X(TEAM_OPENED)                                                                                 \
    X(TEAM_FORMED)                                                                                 \
    X(TEAM_FAILED)                                                                                 \
    X(TEAM_DISSOLVED)                                                                              \
    X(TEAM_CAPTAIN_CHANGED)                                                                        \
    X(SALE_STARTED)                                                                                \
    X(SALE_ENDED)

enum tg_event_type {
#define TG_EVENT_ENUM(name) TG_EVENT_##name = TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_##name,
    TG_EVENT_TYPES(TG_EVENT_ENUM)
#undef TG_EVENT_ENUM
    TG_EVENT_TYPE_COUNT, /* at most 64, so that a set of them fits a word */
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
    X(KIND, "sale.kind", "must be SALE_KIND_SECKILL or SALE_KIND_GROUP_BUY")                       \
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
    X(REASON, "reason", "must be 1 to 64 bytes of UTF-8 without control characters")               \
    X(LINES, "lines",                                                                              \
      "must be 1 to 32 lines, and sku, quantity and unit_price_minor not set beside them")         \
    X(LINES_BATCHED, "orders.lines", "must be sent one cart to a frame, as PlaceOrder")            \
    X(LINES_POLICY, "lines",                                                                       \
      "must be of items with one stock policy, none of them in a group-buy")                       \
    X(LINE_SKU, "lines.sku", "must be 1 to 32 printable ASCII bytes, no spaces")                   \
    X(LINE_QUANTITY, "lines.quantity", "must be 1 to 1000000")                                     \
    X(LINE_PRICE, "lines.unit_price_minor", "must be 0 to 10^12")                                  \
    X(LANE, "lane", "must be LANE_VIP, LANE_PREPAID or LANE_FLASH")                                \
    X(ORDER_ID, "order_id", "must not be 0")                                                       \
    X(ORDER_CHANGE, "change", "must be one of the changes of ChangeOrderRequest")                  \
    X(PAYMENT_ID, "payment_id", "must be 1 to 32 bytes")                                           \
    X(PAYMENT_AMOUNT, "amount_minor", "must be 0 to 10^18")                                        \
    X(PAYMENT_CURRENCY, "currency", "must be three capital letters (ISO 4217)")                    \
    X(PAID_AT, "paid_at_ms", "must be 0 to 253402300799999")                                       \
    X(CANCELLED_BY, "by", "must be CANCELLED_BY_BUYER or CANCELLED_BY_MERCHANT")                   \
    X(PAYMENT_DEADLINE, "payment_deadline_ms",                                                     \
      "must be later than now, within 30 days and the team's time")                                \
    X(REFUND_AMOUNT, "amount_minor", "must be 0 (all that is left) to 10^18")                      \
    X(REFUND_REASON, "reason", "must be at most 64 bytes of UTF-8 without control characters")     \
    X(REFUND_RESTOCK, "restock", "needs a refund of all that is left")                             \
    X(REFUND_REFERENCE, "reference", "must be at most 32 bytes")                                   \
    X(ADVANCE_TO, "to",                                                                            \
      "must be ORDER_STATE_SHIPPED, ORDER_STATE_DELIVERED or ORDER_STATE_COMPLETED")               \
    X(INGEST_ORDERS, "orders", "must be 1 to 1024 orders")                                         \
    X(INGEST_EXTERNAL_ID, "external_id", "must be 1 to 32 bytes")                                  \
    X(ORDERED_AT, "ordered_at_ms", "must be 0 to 5 minutes ahead of the server")                   \
    X(TEAM_ORDER, "order", "must be set, for one item")                                            \
    X(TEAM_ITEM, "order.sku", "must be the team's item")                                           \
    X(EVENT_GROUP, "group", "must be 1 to 64 letters, digits, dots, underscores and hyphens")      \
    X(EVENT_MAX, "max", "must be at most 1024")                                                    \
    X(EVENT_WAIT, "wait_ms", "must be at most 60000")                                              \
    X(WATCH_INTERVAL, "interval_ms", "must be 0 or 20 to 60000")                                   \
    X(EVENT_TYPES, "types", "must each be an EventType of this server")                            \
    X(EVENT_UNACKED, "max_unacked", "must be at most 65536")                                       \
    X(EVENT_SEQUENCE, "sequence", "must not be beyond the newest event")                           \
    X(PAYMENT_WINDOW, "sale.payment_window_s", "must be at most 2592000")                          \
    X(REFUND_AUTO_MAX, "sale.refund_auto_max_minor", "must be 0 to 10^18")                         \
    X(GROUP_BUY, "sale.group_buy", "must be set if and only if the kind is SALE_KIND_GROUP_BUY")   \
    X(TEAM_SIZE, "sale.group_buy.team_size", "must be 2 to 100")                                   \
    X(TEAM_LIFETIME, "sale.group_buy.team_lifetime_s", "must be 60 to 2592000")                    \
    X(AT_DEADLINE, "sale.group_buy.at_deadline", "must be FAIL or AUTO_COMPLETE")                  \
    X(TEAM_SIZE_MIN, "sale.group_buy.team_size_min",                                               \
      "must be 1 to team_size with AUTO_COMPLETE, else 0")                                         \
    X(CHANNEL_SHARES, "sale.channel_shares",                                                       \
      "must be at most 16, each channel once, 1 to 100 percent")                                   \
    X(STOCK_POLICY, "items.stock_policy", "must be a StockPolicy")                                 \
    X(LOW_STOCK, "items.low_stock_units", "must be 0 to 10^9")                                     \
    X(CAPTAIN_PRICE, "items.captain_price_minor",                                                  \
      "must be 0 to the sale price, and 0 without a group-buy")                                    \
    X(LADDER, "items.ladder",                                                                      \
      "must be at most 8 steps: sizes rising within the team, prices falling")

enum tg_field {
    TG_FIELD_NONE,
#define TG_FIELD_ENUM(name, field, advice) TG_FIELD_##name,
    TG_FIELDS(TG_FIELD_ENUM)
#undef TG_FIELD_ENUM
};

/* "RESERVED" for TG_ORDER_RESERVED, "ORDER_PLACED" for its event; "UNSPECIFIED" for what this build
 * does not know. Static. */
const char *tg_order_state_name(int state);
const char *tg_event_type_name(int type);
/* "SOLD_OUT" for TG_SOLD_OUT; "UNSPECIFIED" for what this build does not know. Static. */
const char *tg_verdict_name(int verdict);
/* The field's name on the wire, "" for none. Static. */
const char *tg_field_name(enum tg_field field);
/* What the field must be: the message of INVALID_ARGUMENT. Static. */
const char *tg_field_advice(enum tg_field field);

#endif
