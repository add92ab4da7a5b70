/* What an order, a team and a consumer group are beyond their acceptance: the values that the
 * engine decides and storage keeps.
 *
 * Plain values; docs/order-life.md, docs/group-buy.md and docs/outbox.md tell what they mean.
 * Enums of the contract (states, causes, event types) are kept in bytes under the numbers of
 * proto/tidegate/v1/tidegate.proto; proto/verdict.h has short names for them.
 *
 * Money, always: received == kept + refund due + refunded, no term negative.
 */
#ifndef TG_BASE_LIFE_H
#define TG_BASE_LIFE_H

#include "base/limits.h"

#include <stdbool.h>
#include <stdint.h>

/* Where an item's units of an order are. */
enum tg_units {
    TG_UNITS_NONE = 0, /* with the item: available to others */
    TG_UNITS_RESERVED = 1,
    TG_UNITS_SOLD = 2,
};

enum tg_stock_policy {
    TG_POLICY_RESERVE = 1,
    TG_POLICY_ON_PLACE = 2,
    TG_POLICY_ON_PAYMENT = 3,
};

/* Where the units of an order are that was accepted and not changed since. */
static inline enum tg_units tg_policy_units(uint8_t stock_policy)
{
    return stock_policy == TG_POLICY_RESERVE    ? TG_UNITS_RESERVED
           : stock_policy == TG_POLICY_ON_PLACE ? TG_UNITS_SOLD
                                                : TG_UNITS_NONE;
}

/* One line of a cart. */
struct tg_line {
    uint32_t item;
    uint32_t quantity; /* 1 .. TG_QUANTITY_MAX */
    int64_t unit_price_minor;
};

enum tg_order_flag {
    TG_ORDER_CAPTAIN = 1,  /* opened the team that has its id */
    TG_ORDER_JOINER = 2,   /* `team_id` is set */
    TG_ORDER_CART = 4,     /* `lines` are set */
    TG_ORDER_INGESTED = 8, /* known by (channel, external id) for ever */
};

/* An order as it was accepted; never changed. */
struct tg_order_row {
    uint64_t order_id;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t user_id;
    int64_t unit_price_minor; /* 0 for a cart */
    int64_t accepted_at_ms;
    uint64_t team_id;  /* 0: in no team; a captain's is its own order_id */
    uint32_t item;     /* of a cart: its first line's, whose shard owns the order */
    uint32_t quantity; /* of a cart: the sum of its lines */
    uint16_t channel;
    uint8_t flags; /* enum tg_order_flag */
    uint8_t external_bytes;
    uint8_t external_id[TG_EXTERNAL_BYTES_MAX];
    uint8_t line_count;                       /* 0: no cart */
    struct tg_line lines[TG_ORDER_LINES_MAX]; /* line_count of them, one for each item */
};

struct tg_payment {
    int64_t amount_minor; /* 0 .. TG_AMOUNT_MINOR_MAX */
    int64_t paid_at_ms;
    int64_t recorded_at_ms;
    uint16_t channel;
    char currency[TG_CURRENCY_BYTES];
    uint8_t status; /* enum tg_payment_status */
    uint8_t id_bytes;
    uint8_t id[TG_PAYMENT_ID_BYTES_MAX];
};

struct tg_refund {
    int64_t amount_minor; /* above 0 */
    int64_t requested_at_ms;
    int64_t decided_at_ms;
    int64_t refunded_at_ms;
    uint8_t cause;  /* enum tg_refund_cause */
    uint8_t status; /* enum tg_refund_status */
    bool restock;
    uint8_t reason_bytes;
    uint8_t reference_bytes;
    char reason[TG_REFUND_REASON_BYTES_MAX];
    uint8_t reference[TG_REFUND_REF_BYTES_MAX];
};

/* A change that an order has seen, to answer its retries. */
struct tg_command_seen {
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t fingerprint; /* of the body, the same on every machine and build */
    uint8_t verdict;
    uint8_t refund_number;
};

/* What became of an order since its acceptance. An order without a stored one is as
 * eng_life_initial says. */
struct tg_life {
    uint8_t state; /* enum tg_order_state */
    uint8_t units; /* enum tg_units, of every line */
    uint8_t cancelled_by;
    uint8_t payment_count;
    uint8_t refund_count; /* the refund of number n is refunds[n - 1] */
    uint8_t command_count;
    uint32_t version;    /* changes so far */
    uint64_t last_event; /* sequence of its newest event; set by the writer */
    int64_t amount_minor;
    int64_t received_minor;
    int64_t refund_due_minor;
    int64_t refunded_minor;
    int64_t payment_deadline_ms; /* 0: none */
    int64_t paid_at_ms;          /* these: 0 when the step was not taken */
    int64_t confirmed_at_ms;
    int64_t shipped_at_ms;
    int64_t delivered_at_ms;
    int64_t completed_at_ms;
    int64_t ended_at_ms; /* EXPIRED, CANCELLED, TEAM_FAILED */
    int64_t refunded_at_ms;
    struct tg_command_seen commands[TG_ORDER_COMMANDS_MAX]; /* oldest first */
    struct tg_payment payments[TG_ORDER_PAYMENTS_MAX];
    struct tg_refund refunds[TG_ORDER_REFUNDS_MAX];
};

/* Promise of docs/order-life.md, invariant 2. Pure. */
static inline bool tg_life_money_holds(const struct tg_life *life)
{
    return life->received_minor >= 0 && life->refund_due_minor >= 0 && life->refunded_minor >= 0 &&
           life->refund_due_minor + life->refunded_minor <= life->received_minor;
}

struct tg_seat {
    uint64_t order_id; /* in a record, 0: the order that the record before it creates */
    uint64_t user_id;
    int64_t joined_at_ms;
    int64_t paid_at_ms; /* 0: claimed, not paid */
};

/* A team. Seats are in the order of joining; who leaves is taken out. */
struct tg_team {
    uint64_t team_id; /* in a record, 0: the order that the record before it creates */
    uint64_t opener_user_id;
    uint64_t captain_order_id; /* in a record, 0: likewise */
    uint32_t item;
    uint8_t state; /* enum tg_team_state */
    uint8_t size;
    uint8_t seat_count; /* claimed */
    bool auto_completed;
    bool ended_by_timer; /* the shard's: to be set again when the storage refuses the end */
    int64_t opened_at_ms;
    int64_t deadline_ms;
    int64_t ended_at_ms;
    int64_t unit_price_minor; /* FORMED: the settled price */
    struct tg_seat seats[TG_TEAM_SIZE_MAX];
};

/* An event that a change writes. */
struct tg_change_event {
    uint8_t type; /* enum tg_event_type */
    uint8_t refund_number;
    int64_t amount_minor;
};

#define TG_CHANGE_EVENTS_MAX 6

/* One change of one order, as the writer is given it; from a pool of the shard. */
struct tg_change {
    bool creates;         /* `row` is new: the writer gives it an id and stores it */
    bool stores_life;     /* `life` is to be stored (a new order at rest needs none) */
    bool unlocks;         /* the shard's: it holds the lock of `lock_id` */
    uint8_t units_before; /* enum tg_units; life.units is after */
    uint8_t event_count;  /* beside ORDER_PLACED, which the row itself is */
    bool stands_before;   /* the shard's: counted for limits and shares */
    bool stands_after;    /* the same */
    uint32_t slot;        /* the shard's: request slot of a created order, or UINT32_MAX */
    uint32_t next_free;   /* the shard's */
    uint64_t lock_id;     /* the shard's */
    struct tg_change_event events[TG_CHANGE_EVENTS_MAX];
    struct tg_order_row row; /* the order, as it was accepted */
    struct tg_life life;     /* as it is after the change */
};

/* A durable event, as readers get it. */
struct tg_event {
    uint64_t sequence;
    uint64_t order_id; /* or, of a sale's events, 0 */
    uint64_t team_id;
    uint64_t sale_id; /* of a sale's events */
    int64_t at_ms;
    int64_t amount_minor;
    uint8_t type; /* enum tg_event_type */
    uint8_t refund_number;
};

/* A consumer group. */
struct tg_group {
    uint8_t name_bytes; /* 0: no group */
    char name[TG_GROUP_NAME_BYTES_MAX];
    uint64_t offset; /* events up to here are done */
    bool from_now;   /* on its way: the writer sets the offset to the newest sequence by then */
    int64_t created_at_ms;
    int64_t acked_at_ms;
};

#endif
