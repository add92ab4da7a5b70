/* The outbox as a consumer sees it: a group that reads, acks, and looks whether anything is
 * missing.
 *
 * Checks, event by event: sequences follow each other without a gap; after a restart of the server
 * or a lost ack the same events come again, with the same facts; the group's offset never goes
 * back. And replays each order's history: every event must lead from one state of the diagram to
 * the next. Blocking, over a client of its own; one thread.
 */
#ifndef LG_FEED_H
#define LG_FEED_H

#include "client/tidegate.h"
#include "loadgen/ledger.h"

struct lg_feed_findings {
    uint64_t events;      /* seen, each once */
    uint64_t repeated;    /* seen again: at least once is promised, so no fault */
    uint64_t missing;     /* sequences that were passed over */
    uint64_t impossible;  /* events that the state of their order does not allow */
    uint64_t regressions; /* offsets that went back */
    char example[200];
};

struct lg_feed {
    struct tgc_client *client;
    struct lg_ledger *ledger; /* borrowed: history goes into its entries */
    char group[40];
    uint64_t sale_id;
    uint64_t sequence; /* handled up to here */
    uint64_t offset;   /* acked up to here, as the server said */
    uint64_t behind;   /* where the group began */
    struct lg_feed_findings findings;
};

/* Connects and makes the group, from now on. */
enum tg_error lg_feed_open(struct lg_feed *feed, const char *server, struct lg_ledger *ledger,
                           uint64_t sale_id, struct tg_fault *fault);
void lg_feed_close(struct lg_feed *feed);

/* Reads and acks what is there, a page; `*end` when nothing more was. A server that is away is no
 * error: the next call connects anew. */
enum tg_error lg_feed_step(struct lg_feed *feed, bool *end, struct tg_fault *fault);

bool lg_feed_ok(const struct lg_feed_findings *findings);

/* Removes the group, which would hold the outbox back for ever. */
void lg_feed_remove(struct lg_feed *feed);

#endif
