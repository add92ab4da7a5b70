/* What was acknowledged, order by order, and what the outbox told of each: what the audit of
 * stories holds the server to.
 *
 * A hash table from order id to entry. Written by loadgen/account.c (what was acknowledged),
 * loadgen/feed.c (what events tell) and loadgen/world.c (what was read back). One thread.
 */
#ifndef LG_LEDGER_H
#define LG_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

/* Each was answered so, and must be found in the order. */
enum lg_deed {
    LG_DEED_PLACED = 1,
    LG_DEED_INGESTED = 2,
    LG_DEED_PAID = 4,        /* the first payment: OK */
    LG_DEED_PAID_DUE = 8,    /* the first payment: REFUND_DUE */
    LG_DEED_SECOND_DUE = 16, /* the second payment: REFUND_DUE */
    LG_DEED_MISMATCH = 32,   /* the wrong one: AMOUNT_MISMATCH */
    LG_DEED_EXTENDED = 64,   /* to `deadline_ms` */
    LG_DEED_CANCELLED = 128,
    LG_DEED_SHIPPED = 256,
    LG_DEED_DELIVERED = 512,
    LG_DEED_COMPLETED = 1024,
    LG_DEED_REFUND_ASKED = 2048, /* these four of refund `refund_number` */
    LG_DEED_REFUND_APPROVED = 4096,
    LG_DEED_REFUND_REJECTED = 8192,
    LG_DEED_REFUND_RECORDED = 16384,
};

struct lg_order_entry {
    uint64_t order_id; /* 0: empty */
    /* what was acknowledged */
    uint32_t deeds; /* enum lg_deed */
    uint32_t refund_number;
    uint64_t facts; /* with PLACED or INGESTED: lg_facts_print */
    int64_t amount_minor;
    int64_t deadline_ms;
    /* what its events tell */
    uint64_t last_sequence; /* of the newest of them */
    int64_t told_due_minor; /* all that ever became due for refund */
    int64_t told_refunded_minor;
    uint8_t told_state;      /* where they lead: enum tg_order_state, 0 before the first */
    uint8_t told_team_state; /* of the team that this order opened: enum tg_team_state */
    /* what was read back; lg_ledger_unsee forgets it */
    uint8_t state;
    bool seen;
    bool seated; /* its team names it as a member */
    uint32_t quantity;
    uint64_t team_id;
    int64_t unit_price_minor;
    int64_t ladder_minor; /* its refunds of cause LADDER */
};

struct lg_ledger {
    struct lg_order_entry *slots; /* mask + 1 */
    uint64_t mask;
    uint64_t count;
};

/* False without memory. */
bool lg_ledger_init(struct lg_ledger *ledger);
/* A ledger of zeroes is fine. */
void lg_ledger_fini(struct lg_ledger *ledger);

/* The entry of an order (not 0), made when it is missing; NULL without memory. Valid until the next
 * call. */
struct lg_order_entry *lg_ledger_entry(struct lg_ledger *ledger, uint64_t order_id);
/* The entry, or NULL. */
struct lg_order_entry *lg_ledger_find(const struct lg_ledger *ledger, uint64_t order_id);
/* Nothing was read back yet: for an audit that begins anew. */
void lg_ledger_unsee(struct lg_ledger *ledger);

#endif
