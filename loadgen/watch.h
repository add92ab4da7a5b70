/* The reading half of the audit of stories: brings loadgen/feed.c and loadgen/world.c what the
 * server says, over a connection and a consumer group of its own.
 *
 * While stories go on it never waits: lg_watch_turn looks at the books, a page of items at a time,
 * and reads the outbox as a consumer that acks only now and then, and now and then begins again
 * behind its last ack, as if it had crashed. At the end lg_watch_audit reads everything, blocking.
 * One thread.
 */
#ifndef LG_WATCH_H
#define LG_WATCH_H

#include "loadgen/feed.h"
#include "loadgen/world.h"

struct lg_watch {
    /* from lg_watch_open */
    const char *server;
    uint64_t sale_id;
    uint32_t item_count;
    uint32_t patience_ms;     /* with a server that is away */
    struct lg_ledger *ledger; /* borrowed */
    struct tgc_client *client;
    char group[40];
    bool has_group;
    /* one look on its way */
    bool looking, reading; /* GetSale; ConsumeEvents or AckEvents */
    uint64_t looks;
    uint64_t after; /* what is being read */
    int64_t look_at_ns;
    int64_t retry_at_ns;
    bool sale_is_lost;
    struct tg_fault fault; /* what cannot be mended; TG_ERR_OK for none */
    /* what was found */
    struct lg_feed feed;
    struct lg_world_findings world;
};

/* Connects and makes the group, from now on. Close it in any case. */
enum tg_error lg_watch_open(struct lg_watch *watch, const char *server, uint64_t sale_id,
                            uint32_t item_count, int64_t patience_ns, struct lg_ledger *ledger,
                            struct tg_fault *fault);

/* Takes the answers that came, and looks again when it is time. A server that is away is no fault;
 * one that answers what cannot be gone on with is told in watch->fault. */
void lg_watch_turn(struct lg_watch *watch, int64_t now_ns);

/* Reads the outbox and the sale until nothing of the sale happens any more, and judges them.
 * `timers_may_lag`: the disk was full in between. With an error the findings are what was found
 * before, while stories went on. */
enum tg_error lg_watch_audit(struct lg_watch *watch, bool timers_may_lag, struct tg_fault *fault);

/* Removes the group, which would hold the outbox back for ever, unless the server is away. */
void lg_watch_close(struct lg_watch *watch);

#endif
