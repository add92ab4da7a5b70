/* The audit: does the server's store agree with every answer that it gave?
 *
 * This is the judging half and it is pure: lists in, findings out, no socket, no clock. The reading
 * half (loadgen/auditor.c) brings it the server's orders and items. Tests bring it broken ones.
 *
 *   1. lg_audit_init       the plan, and what is known about the run
 *   2. lg_audit_accepts    the accepted answers, which the audit takes over and sorts
 *   3. lg_audit_walk_*     for each part of the listing, every durable order in the order of ids;
 *                          parts may interleave, each with its own walk
 *   4. lg_audit_item       every item's books
 *   5. lg_audit_finish     what can be said only at the end; then `findings` holds
 *
 * One thread.
 */
#ifndef LG_AUDIT_H
#define LG_AUDIT_H

#include "loadgen/accepted.h"
#include "loadgen/plan.h"

#define LG_AUDIT_EXAMPLES_MAX  20
#define LG_AUDIT_EXAMPLE_BYTES 200
#define LG_AUDIT_EXTRAS_MAX    1000000u /* orders without an answer that are looked into */

/* Every count is of something broken, but for the first four. */
struct lg_findings {
    uint64_t accepts;      /* accepted answers */
    uint64_t orders;       /* durable orders read back */
    uint64_t foreign;      /* orders of others, in a shared sale */
    uint64_t unlogged;     /* orders of attempts whose answer did not reach the audit log */
    uint64_t lost;         /* accepted answers without their order, or with one that differs */
    uint64_t altered;      /* of those: the order is there, with another content */
    uint64_t duplicated;   /* orders or answers beyond the first for one request id or order id */
    uint64_t unknown;      /* orders that nobody was told of */
    uint64_t oversold;     /* units promised beyond initial + restocked */
    uint64_t books_broken; /* items with initial + restocked != available + reserved + sold */
    uint64_t books_differ; /* items whose reserved + sold do not match the orders */
    uint64_t over_limit_users; /* (user, item) pairs that hold more than the limit */
    uint64_t disordered;       /* listed orders that were not in the order of their ids */
    bool finished;             /* lg_audit_finish ran */
    uint32_t example_count;
    char examples[LG_AUDIT_EXAMPLES_MAX][LG_AUDIT_EXAMPLE_BYTES]; /* the first of them, in words */
};

/* A durable order as the server lists it. Bytes are borrowed for the call. */
struct lg_listed {
    uint64_t order_id;
    uint64_t sale_id;
    uint64_t user_id;
    int64_t unit_price_minor;
    const uint8_t *request_id;
    const uint8_t *sku;
    const uint8_t *external_id;
    uint32_t quantity;
    uint32_t channel;
    uint32_t state;
    uint32_t request_id_bytes;
    uint32_t sku_bytes;
    uint32_t external_bytes;
};

struct lg_books {
    uint64_t initial_units;
    uint64_t available_units;
    uint64_t reserved_units;
    uint64_t sold_units;
    int64_t restocked_units;
};

struct lg_extra {
    uint64_t order_id;
    uint64_t number; /* the attempt, or UINT64_MAX when the request id is not of this run */
};

struct lg_holding;

struct lg_audit {
    const struct lg_plan *plan; /* borrowed */
    bool complete;              /* the accepted answers are all that there were */
    bool own_sale;
    struct lg_accept *accepts; /* owned, sorted by order id, no id twice */
    uint64_t accept_count;
    uint64_t *accepted_units; /* owned, for each item: promised by answers */
    uint64_t *listed_units;   /* owned, for each item: held by durable orders */
    uint32_t *by_sku;         /* owned: items sorted by SKU */
    struct lg_extra *extras;  /* owned */
    uint64_t extra_count, extra_room;
    struct lg_holding *holdings; /* owned: open addressing, (user, item) -> units */
    uint64_t holding_count, holding_room;
    uint64_t items_oversold;
    bool no_memory; /* findings cannot be trusted */
    struct lg_findings findings;
};

/* False without memory. `complete`: every accepted answer is in the list (a run that ended well);
 * false for the log of a run that was killed, whose last answers may be missing. */
bool lg_audit_init(struct lg_audit *audit, const struct lg_plan *plan, bool complete);
void lg_audit_fini(struct lg_audit *audit);

/* Takes over `accepts` (malloc'ed). False without memory. */
bool lg_audit_accepts(struct lg_audit *audit, struct lg_accept *accepts, uint64_t count);

/* In place of answers and walks, when orders are too many to be remembered and read back: so many
 * answers were ACCEPTED, each for one unit of the only item. Its books must agree. */
void lg_audit_count(struct lg_audit *audit, uint64_t accepted);

/* One pass over a part of the listing: the orders behind accepts[first - 1] up to and including
 * accepts[end - 1]. The part with end == accept_count goes on to the end of the listing, the part
 * with first == 0 begins at the start of it. */
struct lg_walk {
    uint64_t next, end;     /* into accepts */
    uint64_t order_id_last; /* of the last order seen */
};

void lg_audit_walk_begin(const struct lg_audit *audit, struct lg_walk *walk, uint64_t first,
                         uint64_t end);
void lg_audit_walk_order(struct lg_audit *audit, struct lg_walk *walk,
                         const struct lg_listed *order);
/* The part is read: what it did not show is lost. */
void lg_audit_walk_end(struct lg_audit *audit, struct lg_walk *walk);

/* Once for each item, after all walks. */
void lg_audit_item(struct lg_audit *audit, uint32_t item, const struct lg_books *books);

void lg_audit_finish(struct lg_audit *audit);

/* Finished, and nothing is broken. */
bool lg_findings_ok(const struct lg_findings *findings);

#endif
