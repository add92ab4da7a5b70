/* The audit of stories: reads back a whole sale, and holds it to what was acknowledged and to
 * every rule of docs/order-life.md and docs/group-buy.md.
 *
 * Independent of the engine's own checks: it knows the wire and the documents, nothing else.
 */
#ifndef LG_WORLD_H
#define LG_WORLD_H

#include "client/tidegate.h"
#include "loadgen/ledger.h"

/* Every count is of something broken, but for the first three. */
struct lg_world_findings {
    uint64_t orders;
    uint64_t teams;
    uint64_t samples;        /* looks at the books while orders were coming */
    uint64_t lost;           /* acknowledged, and not there */
    uint64_t oversold;       /* items that hold more units than they have */
    uint64_t books_broken;   /* items, at a sample or at the end, whose terms do not add up */
    uint64_t books_differ;   /* items whose reserved and sold are not those of the orders */
    uint64_t money_broken;   /* orders whose payments and refunds do not add up */
    uint64_t team_broken;    /* overfull, or with members in a state that cannot be */
    uint64_t history_broken; /* orders whose events lead to another state than theirs */
    int64_t money_in, money_kept, money_due, money_refunded;
    char example[200];
};

/* One look at the books of a sale, while it goes on. A server that is away is no fault. */
void lg_world_sample(struct tgc_client *client, uint64_t sale_id,
                     struct lg_world_findings *findings);

/* Reads everything. The ledger holds what was acknowledged, and the history of each order of the
 * sale as loadgen/feed.c has replayed it. */
enum tg_error lg_world_audit(struct tgc_client *client, uint64_t sale_id, struct lg_ledger *ledger,
                             struct lg_world_findings *findings, struct tg_fault *fault);

bool lg_world_ok(const struct lg_world_findings *findings);

#endif
