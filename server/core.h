/* A core thread: one network loop and one shard, and the rings to the other cores.
 *
 * A turn of the loop:
 *
 *   wait for the kernel -> frames: decode, decide or forward     (orders.c, control.c, reads.c)
 *                          requests beyond plain orders as far as the turn's work goes; the others
 *                          are put back and come again
 *                       -> requests from other cores: decide
 *                       -> replies from other cores: send
 *                       -> completions of the journal: settle, answer
 *                       -> requests whose turn has come: decide    (srv_core_defer)
 *                       -> orders that wait in lanes: decide      (lanes.h)
 *                       -> timers that are due: decide            (timers.c)
 *                       -> consumers that wait: send              (events.h)
 *                       -> the next piece of a page: read         (pages.h)
 *                       -> wake whoever has work from us, queue the sends
 *
 * Each ordered pair of cores has two rings, one for requests and one for replies. A full request
 * ring is BUSY; a full reply ring leaves completions of plain orders in the journal until there is
 * room. What must be sent and is no plain order's (the answers of control requests, what becomes of
 * held units) waits in lists of the core. So replies can always be taken, and the rings cannot
 * deadlock.
 */
#ifndef TG_SERVER_CORE_H
#define TG_SERVER_CORE_H

#include "base/arena.h"
#include "base/count.h"
#include "base/journal.h"
#include "base/ring.h"
#include "base/waker.h"
#include "engine/life.h"
#include "engine/shard.h"
#include "net/grpc.h"
#include "net/loop.h"
#include "net/tls.h"
#include "server/ahead.h"
#include "storage/storage.h"

#include <pthread.h>

/* Batches (PlaceOrders) of one core that are not answered yet. */
#define SRV_BATCHES_MAX      1024
/* Of these, and of SRV_INGESTS_MAX, what one connection may have. */
#define SRV_CONN_BATCHES_MAX 256
/* What requests beyond plain orders may cost in one turn, in units of about a microsecond: each
 * says what it costs by what it looked at (srv_core_spend). The one that passes this mark is the
 * last. */
#define SRV_WORK_A_TURN      300
/* Of this, what one connection has before others that wait have their turn. */
#define SRV_WORK_OF_CONN     50
/* What any of them costs at least. */
#define SRV_WORK_OF_REQUEST  2
/* Orders of IngestOrders that were read and wait for their decision: beyond that, frames wait. */
#define SRV_INGESTED_MAX     16384
/* Deferred requests of each list that are decided in one turn. */
#define SRV_DEFERRED_A_TURN  64
/* Requests of one core that wait behind fences, or behind one that they are a retry of. Each commit
 * that lets one of them go on decides the others again, so this bounds what a crowd about one order
 * or team costs everybody else. */
#define SRV_FENCED_MAX       4096
/* Of these, what one connection may have. */
#define SRV_CONN_FENCED_MAX  1024
/* Buckets of the table of requests that wait: server/waits.h. */
#define SRV_WAIT_BUCKETS     1024
/* What one control request may unpack to, and one answer may pack to. */
#define SRV_ARENA_BYTES      ((size_t)16 * 1024 * 1024)
#define SRV_SCRATCH_BYTES    (TG_FRAME_BATCH_BYTES_MAX + (size_t)64)

_Static_assert(SRV_FENCED_MAX < ENG_KEPT_MAX, "slots for those that are out from behind a fence");

/* Where an answer goes. */
struct srv_address {
    net_conn_ref conn;
    uint64_t correlation_id;
    uint32_t batch;      /* 0: a single order or a control request; else the batch's number + 1 */
    uint16_t position;   /* of the order in its batch */
    uint16_t core;       /* that owns the connection */
    int64_t deadline_ns; /* what is not decided by then is not done, monotonic; 0: none */
};

/* A batch that waits for its last answer. Owned by the core of its connection. */
struct srv_batch {
    net_conn_ref conn;
    uint64_t correlation_id;
    uint32_t count;
    uint32_t unanswered;
    uint32_t next_free;
    struct tg_answer answers[TG_BATCH_ORDERS_MAX];
};

struct srv_control; /* server/control.h */
struct srv_hold;    /* server/cart.h */

/* core -> core: an order, a control request or held units of an item that the other core owns. */
struct srv_request {
    struct srv_address address;
    struct srv_control *control; /* a control request, or NULL */
    struct srv_hold *hold;       /* about held units, or NULL; an order when both are */
    uint32_t item;
    struct tg_order order; /* `external_id` is set again by the receiver, `sku` is not needed */
    uint8_t external_id[TG_EXTERNAL_BYTES_MAX];
};

/* core -> core: the answer on its way back. */
struct srv_reply {
    struct srv_address address;
    struct srv_control *control; /* as above */
    struct srv_hold *hold;
    struct tg_answer answer;
};

/* Beside each journal slot: who waits for it.
 *
 *   kind of the record     control   what its completion means
 *   ORDER                  NULL      the answer to `address`
 *   FENCE                  NULL      the answer to `address`: a retry of a plain order
 *   FENCE                  set       `control` is decided again (server/life.c)
 *   last one of a unit     set       the answer of `control`
 *   any other of a unit    NULL      nobody waits, nor for what a timer began
 *   all others             set       the answer of `control`
 */
struct srv_pending {
    struct srv_address address;
    struct srv_control *control;
};

/* Control requests, or messages about held units, in the order of their coming. */
struct srv_control_list {
    struct srv_control *first;
    struct srv_control *last;
};
struct srv_hold_list {
    struct srv_hold *first;
    struct srv_hold *last;
};

/* Orders that are looked at together before they are decided, so that their cache misses overlap.
 */
#define SRV_STAGED_MAX 16

/* An order that waits for its group. What it points to lies in the frame. */
struct srv_staged {
    struct srv_address address;
    struct eng_item *item; /* once it is found */
    uint32_t item_begin;   /* where the look-up of it begins: eng_catalog_item_begin */
    struct tg_order order;
};

/* Figures of one core; its thread counts (base/count.h), any may read. */
struct srv_core_stats {
    uint64_t verdicts[TG_VERDICT_COUNT];
    uint64_t replayed;
    /* requests that were refused: without a token in force, without the role, over the limits */
    uint64_t unauthenticated, denied, limited;
    /* copies of its net_stats, at most a turn old */
    uint64_t connections_accepted, connections_closed, frames, bad_frames;
    uint64_t connections_refused, connections_timed_out, connections_overflowed;
    uint64_t bytes_received, bytes_sent;
    uint64_t turns;             /* of its loop: what server/notify.h watches */
    uint64_t lane_orders;       /* that wait, as of the last turn */
    struct net_grpc_stats grpc; /* a copy likewise; 0 without gRPC */
};

struct srv_principals; /* server/identity.h */
struct srv_server;

struct srv_core {
    struct srv_server *server;
    struct eng_shard *shard;
    struct net_loop *net;
    struct sto_reader *reader;
    struct srv_growth *growth; /* server/ahead.h; borrowed */
    uint32_t core;             /* its own number, and its shard's */
    int listen_fd;
    struct net_tls native_tls; /* of its connections, when the server has TLS */
    int grpc_fd;               /* -1: no gRPC listener */
    struct net_grpc *grpc;
    struct net_tls grpc_tls; /* of its connections */
    int64_t now_ms;          /* wall clock, never goes back */
    int64_t now_mono_ns;
    int64_t sweep_ns;
    bool appended;   /* the writer has work since the last wake */
    uint64_t notify; /* bit per core: pushed to since the last wake */
    struct srv_staged staged[SRV_STAGED_MAX];
    uint32_t staged_count;
    struct srv_pending *pending; /* TG_JOURNAL_RECORDS of them */
    struct srv_batch *batches;
    uint32_t batch_free; /* number + 1 of the first free one */
    uint32_t batch_high_water;
    const struct srv_principals *principals; /* in force; NULL: no tokens are asked for */
    _Atomic(const struct srv_principals *) principals_seen; /* the same, for main */
    struct srv_admission *admission;       /* server/admit.c; NULL without tokens */
    struct srv_events *events;             /* server/events.c */
    struct srv_lanes *lanes;               /* server/lanes.c */
    struct srv_item_watches *item_watches; /* server/item_watch.c */
    struct srv_pages *pages;               /* server/pages.c */
    int32_t work_left;                     /* of this turn: SRV_WORK_A_TURN */
    net_conn_ref served; /* whose requests are looked at just now; 0: nobody's yet */
    int32_t served_from; /* what was left of the work when that began */
    /* to be decided, a few in each turn: behind their fences; and orders of IngestOrders */
    struct srv_control_list fences_over;
    struct srv_control_list ingested;
    uint32_t fences_over_count;
    uint32_t ingested_count;
    uint16_t *conn_waits; /* of those that wait, each connection's: server/waits.h */
    struct srv_control_list unanswered[TG_SHARDS_MAX]; /* final, on their way to each core */
    struct srv_hold_list unsent[TG_SHARDS_MAX];        /* must reach each core */
    uint32_t holding;   /* requests for which other cores hold units, or were asked to */
    uint32_t ingests;   /* IngestOrders that are not answered */
    uint32_t fenced;    /* requests that wait behind a fence of their own in the journal */
    uint32_t following; /* retries that wait for a request that waits */
    struct srv_control *waiting[SRV_WAIT_BUCKETS]; /* requests that wait, by request id */
    struct tg_arena arena;
    uint8_t *scratch;
    struct srv_core_stats stats;
    uint64_t *attempts; /* orders asked for here, by sale number; any may read (base/count.h) */
    pthread_t thread;
    _Atomic bool drained;
    struct tg_journal journal;
    struct tg_waker waker;
};

/* Takes the memory of a core; its thread later builds its network loop. */
enum tg_error srv_core_init(struct srv_core *core, struct srv_server *server, uint32_t number,
                            struct tg_fault *fault);

/* The thread: `argument` is the core. Returns when drained. */
void *srv_core_run(void *argument);

/* --- server/orders.c --- */

void srv_orders_place(struct srv_core *core, struct net_conn *conn,
                      const struct tg_envelope *envelope);
void srv_orders_place_batch(struct srv_core *core, struct net_conn *conn,
                            const struct tg_envelope *envelope);
/* Decides what waits for its group; called before the frames go and before any other request. */
void srv_orders_decide_staged(struct srv_core *core);
/* Decides an order of this shard. True: `answer` is final. False: it comes with the journal. */
bool srv_orders_decide(struct srv_core *core, struct eng_item *item, const struct tg_order *order,
                       const struct srv_address *address, struct tg_answer *answer);
/* A forwarded order arrived; false when it cannot be taken now (the reply ring is full). */
bool srv_orders_forwarded(struct srv_core *core, struct srv_request *request);
/* An answer reached the core of its connection. */
void srv_orders_deliver(struct srv_core *core, const struct srv_address *address,
                        const struct tg_answer *answer);

/* --- server/message.c --- */

/* Packs a response and queues it. */
void srv_core_respond(struct srv_core *core, struct net_conn *conn,
                      const Tidegate__V1__Response *response);

/* --- server/timers.c --- */

/* Once a turn: decides timers that are due, as many as there is room for. True: more are due, and
 * there is room. */
bool srv_timers_turn(struct srv_core *core);
/* How long the core may sleep before the next is due, at most `longest_ns`. */
int64_t srv_timers_wait_ns(const struct srv_core *core, int64_t longest_ns);

/* --- server/core.c, for the other files of server/ --- */

/* An answer to an order left this core, or would have if its connection still stood. */
static inline void srv_core_count(struct srv_core *core, enum tg_verdict verdict, bool replayed)
{
    tg_count(&core->stats.verdicts[verdict], 1);
    tg_count(&core->stats.replayed, replayed);
}

/* Somebody asked for an order of this sale. */
static inline void srv_core_count_attempt(struct srv_core *core, const struct eng_sale *sale)
{
    tg_count(&core->attempts[sale->sale], 1);
}

/* A request beyond plain orders did as much work. */
static inline void srv_core_spend(struct srv_core *core, uint32_t work)
{
    core->work_left -= (int32_t)work;
}

/* The caller has stopped waiting: what is not decided is not done. An order is then answered with
 * TG_UNSPECIFIED as its verdict, which srv_orders_deliver makes an ErrorResponse of. */
static inline bool srv_core_is_late(const struct srv_core *core, int64_t deadline_ns)
{
    return __builtin_expect(deadline_ns != 0, 0) && core->now_mono_ns >= deadline_ns;
}

/* The turn has work left for another one. */
static inline bool srv_core_has_work_left(const struct srv_core *core)
{
    return core->work_left > 0;
}

/* Publishes the reserved record with who waits for it. */
void srv_core_append(struct srv_core *core, const struct srv_address *address,
                     struct srv_control *control);
/* Publishes the records of a decision; `control` (or nobody, NULL) waits for the last one. */
void srv_core_append_unit(struct srv_core *core, const struct eng_unit *unit,
                          struct srv_control *control);
/* The ring slot towards another core, or NULL when full; then srv_core_push_*. */
struct srv_request *srv_core_request_slot(struct srv_core *core, uint32_t to);
void srv_core_push_request(struct srv_core *core, uint32_t to);
struct srv_reply *srv_core_reply_slot(struct srv_core *core, uint32_t to);
void srv_core_push_reply(struct srv_core *core, uint32_t to);

#endif
