/* What the files of the stress program share: its threads, what travels between them, the world.
 *
 *   core k: shard k, its journal and timers (core.c), changes, carts and teams (life.c), units on
 *           other cores (cart.c), an operator (operator.c) and a client (client.c)
 *   writer: takes the journals, commits to LMDB or now and then refuses, trims the outbox,
 *           publishes, wakes (writer.c)
 *   onlookers: stock, watermarks and groups; a consumer of the outbox; a reader of orders and teams
 *           in snapshots (onlookers.c)
 *
 * Time is counted in rounds of the clients and passed in, so deadlines come whatever the machine
 * does. A core is owned by its thread; what others may touch of it is atomic, a ring, a journal or
 * a waker.
 */
#ifndef TG_TESTS_STRESS_H
#define TG_TESTS_STRESS_H

#include "base/assert.h"
#include "base/journal.h"
#include "base/ring.h"
#include "base/rng.h"
#include "base/waker.h"
#include "engine/cart.h"
#include "storage/storage.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum {
    CORES = 3,
    ITEM_KINDS = 5,
    MAIN_ITEMS = ITEM_KINDS * CORES, /* of the first sale: item i belongs to core i % CORES */
    ITEMS_MAX = 128,                 /* one more for each group-buy */
    SALES_MAX = 64,
    USERS = 500,
    PRICE = 100,
    TEAM_SIZE = 3,
    TEAMS_KNOWN = 16,
    CART_LINES = 4,
    REQUEST_RING = 8, /* requests between two cores: small, so that it is full at times */
    REPLY_RING = 1024,
    WINDOW = 128,        /* unanswered requests of one client */
    ROUND_REQUESTS = 10, /* of one client in one round, at most */
    ROUND_ORDERS = 6,    /* of these, new orders and their retries */
    ROUND_MS = 5,
    REST_ROUNDS = 700, /* at the end: nobody asks for anything, but time goes on */
    STARTS_MS = 1000,
    WINDOW_S = 1, /* to pay */
    EXTEND_MS = 1500,
    SALE_ROUNDS = 250, /* from one group-buy to the next */
    SALE_MS = 2000,
    TTL_MS = 10000,
    GROUPS = 8, /* consumer groups that come and go */
};

_Static_assert(2 * WINDOW * CORES + WINDOW < REPLY_RING, "an answer always has room");
_Static_assert(REST_ROUNDS *ROUND_MS > EXTEND_MS + 1000, "rest outlasts every payment");
_Static_assert(REST_ROUNDS *ROUND_MS > SALE_MS + 1000, "and every team");

#define DUEL_MARK 0xd0e1d0e1d0e1d0e1ull
#define NO_ENTRY  UINT32_MAX

#define promise(holds, ...)                                                                        \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "stress: broken promise (%s:%d): ", __FILE__, __LINE__);               \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "; seed %#lx\n", world.seed);                                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* --- what travels --- */

enum order_kind {
    ORDER_PLAIN,
    ORDER_CART,
    ORDER_OPEN,
    ORDER_JOIN,
};

/* An order as it is asked for. */
struct body {
    uint64_t id[2];
    uint64_t user;
    uint64_t team_id;
    enum order_kind kind;
    uint32_t line_count; /* 1 for all but carts */
    struct tg_line lines[CART_LINES];
};

struct address {
    uint32_t core;  /* whose client asked */
    uint32_t entry; /* of its log; NO_ENTRY: nobody asked */
};

/* What is being held for a task, at home. */
struct holds {
    struct eng_take take;
    uint64_t waiting; /* a bit for each core that has not answered */
    uint64_t taken;   /* a bit for each core that holds its lines */
    bool all_taken;   /* when none is waiting */
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
};

/* A change, or an order that is no plain one: a heap block from client to owner and back. */
struct task {
    struct address address;
    bool is_change;
    bool is_retry;              /* of a change that was answered OK */
    struct body body;           /* of an order */
    struct eng_command command; /* of a change */
    enum tg_verdict verdict;    /* from here on: the answer */
    bool replayed;
    uint64_t order_id;
    uint32_t slot; /* from here on: the owner's */
    uint32_t generation;
    struct holds holds;
};

enum hold_kind {
    HOLD_ASK,
    HOLD_RELEASE,
    HOLD_SETTLE,
};

/* core -> core about units; a heap block, freed by whoever got it last. */
struct hold {
    struct hold *next; /* in the list of those that wait for room in the ring */
    struct task *task;
    enum hold_kind kind;
    uint32_t home;
    uint32_t shard;
    bool taken;
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    struct eng_take take;
};

/* core -> core: a plain order, or one of the two blocks. */
struct request {
    struct address address;
    struct body body;
    struct task *task;
    struct hold *hold;
};

struct reply {
    uint32_t entry;
    enum tg_verdict verdict;
    uint64_t order_id;
    struct task *task;
    struct hold *hold;
};

/* --- a core --- */

/* What a client sent. A retry is an entry of its own that names the first. */
struct entry {
    struct body body;
    uint64_t order_id; /* of the accepted order, in the entry of the first attempt */
    uint64_t expected; /* a retry that was sent after the answer: the order that must come back */
    uint32_t round;
    uint32_t first;   /* entry of the first attempt; itself for that */
    uint32_t changes; /* sent */
    bool paid;        /* these two were answered OK */
    bool cancelled;
};

/* Beside each journal slot: who waits for it. */
struct pending {
    struct address address;
    struct task *task; /* NULL: a plain order, or nobody */
    uint32_t group;    /* of a GROUP record: number of the group */
    int place;         /* and its place in the engine's table */
};

/* A change that was answered OK. */
struct done_change {
    struct eng_command command;
    uint32_t entry;
};

#define DONE_CHANGES 16

struct core {
    uint32_t number;
    pthread_t thread;
    struct eng_shard *shard;
    struct sto_reader *reader;
    struct tg_journal journal;
    struct tg_waker waker;
    struct tg_rng rng;
    struct pending *pending; /* of the journal's records */
    uint64_t completions;
    bool appended;
    uint32_t notify; /* cores to wake */
    struct {
        struct hold *first;
        struct hold *last;
    } unsent[CORES];          /* must reach each core */
    uint32_t timers_promised; /* of its shard, while nothing is under way */
    uint64_t fired;           /* these: what its shard met */
    uint64_t waited;          /* behind a fence */
    uint64_t held;            /* asked other cores for units, */
    uint64_t late;            /* for a payment, */
    uint64_t denied;          /* and did not get them all */
    uint64_t queued;          /* had no room in a ring for what must arrive */
    /* the client */
    struct entry *log;
    uint32_t *accepted; /* entries that became orders, oldest first */
    uint32_t log_count;
    uint32_t accepted_count;
    uint32_t unanswered;
    uint32_t round;
    struct done_change done_changes[DONE_CHANGES];
    uint32_t done_change_count;
    uint64_t order_verdicts[TG_VERDICT_COUNT];
    uint64_t change_verdicts[TG_VERDICT_COUNT];
    uint64_t replays;
    /* the operator */
    int64_t adjusted[ITEMS_MAX]; /* durable adjustments of this core's items */
    /* for all */
    _Atomic uint32_t round_seen; /* what the others pace themselves by */
    _Atomic bool done;
};

/* --- the world --- */

struct world {
    uint64_t seed;
    uint32_t rounds;
    struct eng_engine engine;
    struct sto_env *storage;
    struct core cores[CORES];
    struct tg_ring requests[CORES][CORES]; /* from, to */
    struct tg_ring replies[CORES][CORES];
    struct tg_waker writer_waker;
    _Atomic uint32_t *duels;                   /* accepted orders of each duel */
    _Atomic uint64_t teams_known[TEAMS_KNOWN]; /* open ones that anybody may join */
    _Atomic uint64_t sequence;                 /* published by the writer */
    _Atomic uint64_t consumed;                 /* how far the consumer is */
    _Atomic bool cores_stop;
    _Atomic bool writer_stop;
    _Atomic bool onlookers_stop;
    /* figures, each of one thread, read at the end */
    uint64_t batches;
    uint64_t refused_batches;
    uint64_t samples;
    uint64_t snapshots;
    uint64_t events[TG_EVENT_TYPE_COUNT];
    uint64_t groups_made;
    uint64_t acks;
};

extern struct world world;

static inline struct eng_item *item_at(uint32_t number)
{
    return &world.engine.catalog.items[number];
}

static inline int64_t round_ms(uint32_t round)
{
    return STARTS_MS + (int64_t)round * ROUND_MS;
}

static inline int64_t now_ms(const struct core *core)
{
    return round_ms(core->round);
}

static inline uint32_t rounds_in_all(void)
{
    return world.rounds + REST_ROUNDS;
}

/* The order of a body that has one line. */
struct tg_order stress_order(const struct body *body);

/* calloc that does not fail. */
void *stress_alloc(size_t count, size_t bytes);

/* Sleeps until woken. A sleeper whose work has lain there for long while nobody woke it was
 * forgotten. */
void stress_sleep(struct tg_waker *waker, bool (*has_work)(void *context), void *context);

/* --- core.c --- */

void *stress_core_run(void *argument);
/* Publishes the record that was reserved, or a unit, with who waits for the last of it. */
void stress_append(struct core *core, const struct pending *pending);
void stress_append_unit(struct core *core, const struct eng_unit *unit, struct task *task);
/* Pushes a request; false when the ring is full. */
bool stress_push(struct core *core, uint32_t to, const struct request *request);
/* Pushes an answer, which always has room. */
void stress_push_reply(struct core *core, uint32_t to, const struct reply *reply);
/* Clients may play another round. */
bool stress_may_go_on(const struct core *core);

/* --- life.c --- */

/* Decides a task at its owner; whatever it takes, its client gets it back answered. */
void stress_life_start(struct core *core, struct task *task);
/* Every core that was asked for units has answered. */
void stress_life_held(struct core *core, struct task *task);
/* The last record of the task's unit has completed and is settled. */
void stress_life_recorded(struct core *core, struct task *task, const struct tg_record *record);
/* Settles a record with the engine. */
void stress_life_settle(struct core *core, const struct tg_record *record);
/* The shard's way to durable rows: the core's reader. */
struct eng_loader stress_loader(struct core *core);

/* --- cart.c --- */

/* Asks for `take`; answered when task->holds says that nobody is waiting: at once, or by
 * stress_life_held. */
void stress_cart_hold(struct core *core, struct task *task, const struct eng_take *take);
void stress_cart_release(struct core *core, struct task *task);
void stress_cart_settle(struct core *core, const struct eng_take *take);
/* A message arrived: at the core that was asked, and back at home. */
void stress_cart_take(struct core *core, struct hold *hold);
void stress_cart_answered(struct core *core, struct hold *hold);
/* Sends what waited for room. */
void stress_cart_turn(struct core *core);
bool stress_cart_is_busy(const struct core *core);

/* --- client.c --- */

void stress_client_play(struct core *core);
void stress_client_order_answered(struct core *core, const struct reply *reply);
void stress_client_task_answered(struct core *core, struct task *task);

/* --- operator.c --- */

/* Adjusts stock; on core 0 makes group-buys and groups, acks and removes groups. */
void stress_operator_play(struct core *core);
void stress_operator_settle(struct core *core, const struct tg_record *record,
                            const struct pending *pending);
/* The group whose acks follow the consumer; it is there from the beginning. */
void stress_operator_anchor(struct tg_group *group);

/* --- writer.c, onlookers.c --- */

void *stress_writer_run(void *argument);
void *stress_onlooker_run(void *argument);
void *stress_consumer_run(void *argument);
void *stress_reader_run(void *argument);

/* --- requests.c --- */

/* A table of request ids by itself: looked up while its shard works on it. */
void stress_requests_run(uint64_t seed);

/* --- books.c --- */

/* When all threads have ended: what the clients were told, what the engine has, what the database
 * holds and what the consumer saw are the same. Returns the orders. */
uint64_t stress_books_check(void);

#endif
