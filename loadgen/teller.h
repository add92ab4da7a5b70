/* The teller keeps stories going: it sends their requests over its connections, hands the answers
 * to loadgen/account.h, sends again what was lost with a connection or answered BUSY, and steps
 * each story on when its round is answered or its wait is over.
 *
 * A story occupies one of connections x pipeline slots from its beginning to its end, waits
 * included. Stories begin when a slot is free: at once, or (open loop) at fixed times, and then
 * later when no slot is free. One thread.
 */
#ifndef LG_TELLER_H
#define LG_TELLER_H

#include "base/histogram.h"
#include "loadgen/account.h"
#include "loadgen/options.h"
#include "loadgen/schedule.h"
#include "loadgen/story.h"

#define LG_STORIES_MAX (1u << 18) /* going at a time */

/* What was told. Large: not for a stack. */
struct lg_told {
    uint64_t begun, ended;
    uint64_t paths[LG_STORY_PATHS_MAX]; /* stories begun, by path */
    uint64_t backlog_max, backlog_end;  /* open loop: stories due and not begun */
    struct tg_histogram slip;           /* open loop: how late they began, ns */
    struct tg_histogram latency, latency_accepted, by_request[LG_ASK_KINDS]; /* ns */
    struct tg_histogram latency_aside; /* of requests outside the measured time, ns */
};

struct lg_slot;
struct lg_link;

struct lg_teller {
    const struct lg_options *options; /* borrowed, as all of these */
    const struct lg_story_kind *kind;
    const struct lg_ask_sale *sale;
    struct lg_account *account;
    struct lg_told *told;
    uint64_t nonce;
    int64_t clock_offset_ms; /* the server's clock is so far ahead of ours */
    struct lg_link *links;   /* owned */
    uint32_t link_count;
    struct lg_slot *slots; /* owned */
    uint32_t slot_count;
    uint32_t slots_used;
    uint32_t slot_next;          /* where a free one is looked for first */
    uint32_t open_requests;      /* sent or to be sent, and not finally answered */
    struct lg_schedule schedule; /* of stories; the caller sets it up */
    int64_t final_ns;            /* of the last final answer, or since when one is waited for */
    bool measures;               /* the caller's: what is answered now counts in the latency */
    bool moved;                  /* something happened in this turn */
    struct tg_fault fault;       /* what cannot be mended; TG_ERR_OK for none */
};

/* Connects. Fini in any case. */
enum tg_error lg_teller_init(struct lg_teller *teller, struct tg_fault *fault);
void lg_teller_fini(struct lg_teller *teller);

/* One turn of beginning (unless `stopping`), sending and taking answers; never waits, but for a
 * server that is away. Sets `fault` when there was no final answer for so long that there will be
 * none. */
void lg_teller_turn(struct lg_teller *teller, int64_t now_ns, bool stopping);

/* Requests that went out and have no answer: what they asked for may stand or not. */
uint64_t lg_teller_unanswered(const struct lg_teller *teller);

#endif
