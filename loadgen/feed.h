/* The outbox as a consumer sees it: is anything missing, and is it the history of the orders?
 *
 * This is the judging half and it is pure: answers to ConsumeEvents and AckEvents in, findings out,
 * no socket, no clock. The reading half is loadgen/watch.c.
 *
 * Checks, event by event: sequences follow each other without a gap; what comes a second time (the
 * reader now and then goes back to its last ack, as after a crash) comes with the same facts; the
 * group's offset and the newest event never go back; an order's first event stands where its id
 * says. And replays what the events tell: each must lead from one state of the diagram (of orders,
 * of teams) to the next. One thread.
 */
#ifndef LG_FEED_H
#define LG_FEED_H

#include "client/tidegate.h"
#include "loadgen/ledger.h"

/* Events whose facts are kept, to compare them when they come again: more than the reader ever
 * reads beyond its ack. */
#define LG_FEED_RECENT 16384

/* Every count is of something broken, but for the first two. */
struct lg_feed_findings {
    uint64_t events;      /* seen, each once */
    uint64_t repeated;    /* seen again: at least once is promised, so no fault */
    uint64_t missing;     /* sequences that were passed over */
    uint64_t altered;     /* events that came again with other facts */
    uint64_t impossible;  /* events that what was before does not allow */
    uint64_t regressions; /* offsets, or the newest event, that went back */
    char example[200];
};

struct lg_feed {
    struct lg_ledger *ledger;        /* borrowed: what events tell goes into its entries */
    uint64_t behind;                 /* the group began behind this event */
    uint64_t sequence;               /* handled up to here */
    uint64_t offset;                 /* acked up to here, as the server said */
    uint64_t asked_offset;           /* the highest ack that was ever asked for */
    uint64_t newest;                 /* the newest event, as the server said */
    uint64_t own_events;             /* of orders of which something was acknowledged */
    uint64_t prints[LG_FEED_RECENT]; /* of events, by sequence */
    struct lg_feed_findings findings;
    bool no_memory; /* the ledger is not complete */
};

/* The group was made, and begins behind `offset`. */
void lg_feed_begin(struct lg_feed *feed, struct lg_ledger *ledger, uint64_t offset);

/* The answer to a ConsumeEvents (without orders, of all types) for what is behind `after`; 0: what
 * is behind the group's offset. False when the group cannot be read any more. */
bool lg_feed_page(struct lg_feed *feed, uint64_t after,
                  const Tidegate__V1__ConsumeEventsResponse *page);

/* An ack of everything up to feed->sequence goes out. */
void lg_feed_asks_ack(struct lg_feed *feed);
void lg_feed_acked(struct lg_feed *feed, const Tidegate__V1__AckEventsResponse *answer);

bool lg_feed_ok(const struct lg_feed_findings *findings);

#endif
