/* One page of the outbox, as messages: events and the orders that they are about, of one snapshot.
 *
 * Everything lies in the core's arena (server/message.c) and is valid until its next use. A page
 * always fits a frame with its answer around it: it ends early rather than grow too large. Owned by
 * the core's thread.
 */
#ifndef TG_SERVER_EVENT_PAGE_H
#define TG_SERVER_EVENT_PAGE_H

#include "server/core.h"

/* Every type of event. */
#define SRV_EVENT_TYPES_ALL UINT64_MAX

struct srv_page_ask {
    uint64_t after; /* events behind this; 0: from the first one kept */
    uint64_t types; /* a bit for each enum tg_event_type */
    uint32_t max;   /* events, 1 .. TG_EVENTS_PAGE_MAX */
    bool without_orders;
};

struct srv_page {
    Tidegate__V1__Event **events;
    uint32_t count;
    bool dropped;            /* what was asked for is older than the first event kept */
    uint64_t next_sequence;  /* how far it looked; never below `after` */
    uint64_t first_sequence; /* the first event kept */
    uint64_t last_sequence;  /* the newest one */
    uint32_t work;           /* what it cost to read, in the units of SRV_WORK_A_TURN */
};

/* Reads a page. It ends early rather than take much longer than a plain order may wait: with orders
 * after 256 events. False when the database could not be read; the log says why. Cost: some hundred
 * nanoseconds for each event that is looked at, a microsecond for each with its order. */
bool srv_page_read(struct srv_core *core, const struct srv_page_ask *ask, struct srv_page *page);

#endif
