/* What the server has acknowledged, order by order: what the audit of stories holds it to.
 *
 * A hash table from order id to deeds. One thread.
 */
#ifndef LG_LEDGER_H
#define LG_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

enum lg_deed {
    LG_DEED_PLACED = 1,     /* this run was told that the order stands */
    LG_DEED_PAID = 2,       /* payment 1 was answered OK */
    LG_DEED_SECOND_DUE = 4, /* payment 2 was answered REFUND_DUE */
    LG_DEED_FIRST_DUE = 8,  /* payment 1 was answered REFUND_DUE */
    LG_DEED_CANCELLED = 16,
    LG_DEED_SHIPPED = 32,
    LG_DEED_DELIVERED = 64,
    LG_DEED_COMPLETED = 128,
    LG_DEED_MISMATCH = 256, /* payment 9 was refused for its amount */
    LG_DEED_REFUND = 512,   /* refund `refund_number` was recorded as paid back */
    LG_DEED_INGESTED = 1024,
};

struct lg_entry_of_order {
    uint64_t order_id; /* 0: empty */
    uint64_t user_id;
    uint64_t amount_minor;
    uint32_t deeds; /* enum lg_deed */
    uint32_t refund_number;
    /* the audit's */
    bool seen;
    uint8_t state;         /* as listed */
    uint8_t history_state; /* as the events tell */
    uint64_t last_sequence;
    uint64_t team_id;
};

struct lg_ledger {
    struct lg_entry_of_order *slots;
    uint64_t mask;
    uint64_t count;
};

/* False without memory, here and below. */
bool lg_ledger_init(struct lg_ledger *ledger);
void lg_ledger_fini(struct lg_ledger *ledger);

/* The entry of an order, made when it is missing; NULL without memory. Valid until the next call.
 */
struct lg_entry_of_order *lg_ledger_entry(struct lg_ledger *ledger, uint64_t order_id);
/* Nothing was listed yet: for an audit that begins anew. */
void lg_ledger_unsee(struct lg_ledger *ledger);
/* The entry, or NULL. */
struct lg_entry_of_order *lg_ledger_find(const struct lg_ledger *ledger, uint64_t order_id);

#endif
