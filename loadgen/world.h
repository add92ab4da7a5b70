/* The audit of stories: holds a whole sale, as it is read back, to what was acknowledged and to the
 * rules of docs/order-life.md and docs/group-buy.md. It knows the wire and the documents; it shares
 * nothing with the engine's own checks.
 *
 * This is the judging half and it is pure: messages in, findings out, no socket, no clock. The
 * reading half is loadgen/watch.c. Tests bring it broken messages.
 *
 *   1. lg_world_begin    the ledger
 *   2. lg_world_rules    the sale; lg_world_name each item, once
 *   3. lg_world_order    each order of the sale, in the order of ids
 *   4. lg_world_team     each team of `teams`, which the orders named
 *   5. lg_world_item     each item again, as it is at the end
 *   6. lg_world_finish   what can be said only then
 *
 * lg_world_look judges an item alone, at any time. One thread.
 */
#ifndef LG_WORLD_H
#define LG_WORLD_H

#include "client/tidegate.h"
#include "loadgen/ledger.h"

/* An order may be so late with its expiry: timers come behind requests, and after a restart. */
#define LG_WORLD_LATE_MS 5000

/* Every count behind the states is of something broken. */
struct lg_world_findings {
    uint64_t orders;
    uint64_t teams;
    uint64_t samples; /* looks at the books while orders were coming */
    int64_t money_in, money_kept, money_due, money_refunded;
    uint64_t states[TG_ORDER_STATE_COUNT];       /* orders by state */
    uint64_t team_states[TG_TEAM_DISSOLVED + 1]; /* teams by state */
    uint64_t lost;           /* acknowledged, and not there or without what was acknowledged */
    uint64_t altered;        /* of those: the order is another than was asked for */
    uint64_t unknown;        /* orders that nobody was told of */
    uint64_t disordered;     /* listed twice, or not in the order of ids */
    uint64_t oversold;       /* items that hold more units than they have */
    uint64_t books_broken;   /* items, at a look or at the end, whose terms do not add up */
    uint64_t books_differ;   /* items whose reserved and sold are not those of the orders */
    uint64_t over_limit;     /* users that hold more of an item than its limit */
    uint64_t over_share;     /* channels that hold more of an item than their share */
    uint64_t money_broken;   /* orders whose payments and refunds do not add up */
    uint64_t order_broken;   /* orders that contradict themselves, or expired early or not at all */
    uint64_t team_broken;    /* overfull, or with members in a state that cannot be */
    uint64_t history_broken; /* orders whose events lead elsewhere */
    char example[200];
};

/* What orders hold of one item, and its prices. */
struct lg_world_item {
    char sku[TG_SKU_BYTES_MAX + 1];
    uint64_t reserved_units;
    uint64_t sold_units;
    uint64_t channel_units[TG_CHANNEL_SHARES_MAX]; /* that stand, by share of the sale */
    uint32_t per_user_limit;
    int64_t price_minor;
    uint32_t step_count;
    uint32_t step_size[TG_LADDER_STEPS_MAX];
    int64_t step_price_minor[TG_LADDER_STEPS_MAX];
};

/* Units of a limited item that stand for a user. */
struct lg_world_holding {
    uint64_t user_id;
    uint32_t item; /* into `items`, sorted */
    uint32_t units;
};

struct lg_world {
    struct lg_ledger *ledger;           /* borrowed */
    struct lg_world_findings *findings; /* borrowed */
    int64_t now_ms;
    int64_t payment_window_ms;
    bool timers_may_lag; /* the disk was full, so nobody is blamed for what did not expire */
    bool sorted;
    bool no_memory; /* the findings do not hold */
    uint64_t order_id_last;
    struct lg_world_item *items; /* owned; sorted by SKU once all are named */
    uint32_t item_count, item_room;
    uint64_t *teams; /* owned: ids, in the order of the listing */
    uint64_t team_count, team_room;
    struct lg_world_holding *holdings; /* owned: of each order, until they are added up */
    uint64_t holding_count, holding_room;
    uint32_t share_count;
    uint32_t share_channel[TG_CHANNEL_SHARES_MAX];
    uint32_t share_percent[TG_CHANNEL_SHARES_MAX];
};

void lg_world_begin(struct lg_world *world, struct lg_ledger *ledger,
                    struct lg_world_findings *findings, bool timers_may_lag);
void lg_world_fini(struct lg_world *world);

/* `now_ms`: the server's clock. */
void lg_world_rules(struct lg_world *world, const Tidegate__V1__Sale *sale, int64_t now_ms);
void lg_world_name(struct lg_world *world, const Tidegate__V1__ItemStatus *status);
void lg_world_order(struct lg_world *world, const Tidegate__V1__Order *order);
/* With a NULL team: it cannot be read. */
void lg_world_team(struct lg_world *world, uint64_t team_id, const Tidegate__V1__Team *team);
void lg_world_item(struct lg_world *world, const Tidegate__V1__ItemStatus *status);
void lg_world_finish(struct lg_world *world);

/* One item's books, at any moment. */
void lg_world_look(struct lg_world_findings *findings, const Tidegate__V1__ItemStatus *status);

/* The sale itself is not there any more. */
void lg_world_sale_lost(struct lg_world_findings *findings);

bool lg_world_ok(const struct lg_world_findings *findings);

#endif
