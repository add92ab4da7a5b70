/* What became of each sale's orders: how many were placed, paid and confirmed, for how much money,
 * and its teams. Read from what is durable, so it is the same before and after a restart.
 *
 * Owned by the admin thread, which reads LMDB snapshots of its own; nobody waits for it. Orders are
 * read once, each with its life as it is then; from there on the events of the outbox tell what
 * changed:
 *
 *   orders   ----------- walked ------------|  not yet
 *   events   --- followed ---|        not yet
 *
 * Both go on in pieces, each piece under one snapshot, of which the books keep the newest sequence.
 * An order (or team) that was walked under a snapshot counts every event up to that sequence; so an
 * event counts for it if and only if it is newer. The pieces that still matter for this, those
 * whose snapshot is beyond what was followed, are kept in a list; caught up, it is empty.
 *
 * Always: an order counts once for each step that it took, however pieces and changes interleave.
 * Steps never go back: an order that was paid and then refunded stays paid here.
 */
#ifndef TG_SERVER_BOOKS_H
#define TG_SERVER_BOOKS_H

#include "engine/catalog.h"
#include "storage/storage.h"

/* Orders and teams, or events, that one step looks at: about a millisecond. */
#define SRV_BOOKS_STEP 8192u

/* Of one sale, or of several together. */
struct srv_sale_books {
    uint64_t placed; /* orders, accepted and durable */
    uint64_t paid;   /* of these: paid once, whatever came behind it */
    uint64_t confirmed;
    uint64_t placed_earlier; /* of `placed`: before this start of the daemon */
    int64_t placed_minor;    /* what is to be paid for the goods of `placed`; INT64_MAX: or more */
    int64_t paid_minor;      /* the same of `paid`: the gross merchandise value */
    uint32_t teams_open;
    uint32_t teams_formed;
    uint32_t teams_failed; /* and dissolved */
};

/* The rows up to `last_id`, from where the piece before ended, were walked when `sequence` was the
 * newest. */
struct srv_piece {
    uint64_t last_id;
    uint64_t sequence;
};

/* How far one table was walked. */
struct srv_walk {
    uint64_t last_id;
    uint64_t settled_id;      /* rows up to here: every event that is not followed yet counts */
    struct srv_piece *pieces; /* behind those; oldest first, both fields grow */
    uint32_t first;           /* pieces before this one do not matter any more */
    uint32_t count;
    uint32_t room;
};

struct srv_books {
    const struct eng_catalog *catalog; /* borrowed */
    struct sto_reader *reader;         /* borrowed */
    struct srv_sale_books *sales;      /* by sale number; catalog->sales_max of them */
    uint64_t start_sequence;           /* newest when the daemon started */
    uint32_t step;                     /* SRV_BOOKS_STEP; tests make it smaller */
    struct srv_walk orders;
    struct srv_walk teams;
    uint64_t followed;       /* events up to here are counted */
    bool following;          /* `followed` has its beginning */
    uint64_t behind;         /* sequences between what is durable and what is counted */
    struct tg_event *page;   /* TG_EVENTS_PAGE_MAX */
    struct tg_order_row row; /* these: scratch */
    struct tg_life life;
    struct tg_team team;
};

/* TG_ERR_NOMEM. `start_sequence`: of the newest durable order or event. */
enum tg_error srv_books_create(struct srv_books *books, const struct eng_catalog *catalog,
                               struct sto_reader *reader, uint64_t start_sequence,
                               struct tg_fault *fault);
void srv_books_destroy(struct srv_books *books);

/* One step. `*more`: there is more to read at once. What is damaged is TG_ERR_CORRUPT; the step may
 * then be tried again. */
enum tg_error srv_books_step(struct srv_books *books, bool *more, struct tg_fault *fault);

/* Adds the books of another sale in the same currency. */
void srv_books_add(struct srv_sale_books *sum, const struct srv_sale_books *one);

/* --- the rule above, public for its tests --- */

/* Rows up to `last_id` were walked under a snapshot whose newest sequence is `sequence`. False
 * without memory. */
bool srv_walk_note(struct srv_walk *walk, uint64_t last_id, uint64_t sequence);
/* Events up to here were followed: pieces of older snapshots do not matter any more. */
void srv_walk_forget(struct srv_walk *walk, uint64_t followed);
/* The event counts for the row: it was walked, without it. */
bool srv_walk_counts(const struct srv_walk *walk, uint64_t id, uint64_t sequence);

#endif
