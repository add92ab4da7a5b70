/* The deterministic simulation: one process that plays clients, network, clock, disk and crashes
 * around the real engine and the real storage, from a seed.
 *
 *   clients.c  what clients send, and what they hear; the network between
 *   node.c     a server without threads: cores, the rings between them, journals, answers
 *   decide.c   its decisions, each beside the model's
 *   disk.c     the writer, crashes, recovery
 *   outbox.c   events, their readers, consumer groups, retention
 *   compare.c  the engine's rows against the model's
 *   world.c    the scheduler: one step after the other, each with random numbers of its own
 *   main.c     seeds, replay, shrinking, planted faults
 *   memory.c   the memory of one life is the memory of the next
 *   model*.c   what must come of it
 *
 * Step number n draws from a generator seeded by (seed, n): a step that is left out changes nothing
 * of what another one draws. That is what lets a failing run be shrunk.
 */
#ifndef TG_TESTS_SIM_SIM_H
#define TG_TESTS_SIM_SIM_H

#include "base/journal.h"
#include "base/rng.h"
#include "engine/cart.h"
#include "engine/life.h"
#include "storage/storage.h"
#include "tests/sim/model.h"

#include <stdio.h>

enum {
    SIM_SHARDS = 3,
    SIM_ASKS = 4096,
    SIM_TASKS = 1024,
    SIM_WIRE = 96,   /* messages on their way between clients and server */
    SIM_RING = 1024, /* messages on their way between two cores */
    SIM_STEPS = 6000,
    SIM_USERS = 10,
    SIM_START_MS = 1000000000,
    SIM_SALES = 3, /* from the beginning; one more may be created */
    SIM_NOBODY = -1,
};

enum ask_kind {
    ASK_ORDER,
    ASK_COMMAND,
    ASK_ADJUST,
    ASK_SALE_STATE,
    ASK_SALE,
    ASK_GROUP,
};

enum group_verb {
    GROUP_CREATE_NOW,
    GROUP_CREATE_BEHIND,
    GROUP_ACK,
    GROUP_DELETE,
};

/* What a client wants, until it hears of it and beyond: it may ask again at any time. */
struct ask {
    enum ask_kind kind;
    uint32_t step;  /* that it was first sent in */
    uint32_t story; /* the step of the request that the first of its orders was placed with */
    struct m_request request;
    struct m_command command;
    int item, sale; /* of an adjustment, of a change of state */
    int wanted;     /* enum tg_sale_state */
    bool compare;
    int64_t expected, delta;
    int group;
    enum group_verb verb;
    uint64_t sequence; /* of an ack, of a group behind it */
    uint64_t order_id; /* heard: ACCEPTED as this */
    uint32_t answers;
};

struct reply {
    int verdict, refund;
    uint64_t order_id;
    bool replayed;
};

struct letter {
    uint64_t mark; /* what it is chosen by */
    bool to_server;
    int ask;
    struct reply reply;
};

/* A request inside the server. */
struct task {
    bool used, is_plain;
    int ask, home;
    int settled; /* shards that have to say so before the answer */
    struct m_answer answer;
    struct reply reply; /* while other shards settle */
    struct eng_take take;
    struct m_take m_take;
    uint64_t waiting, taken;
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    uint32_t slot, generation;
};

enum note_kind {
    NOTE_TASK,
    NOTE_HOLD,
    NOTE_HELD, /* the answer to it */
    NOTE_RELEASE,
    NOTE_SETTLE,
    NOTE_SETTLED,
};

/* core -> core */
struct note {
    enum note_kind kind;
    int task, from, change;
    bool taken;
    enum tg_verdict refusals[M_LINES];
    struct eng_take take;
    struct m_take m_take;
};

struct ring {
    uint32_t head, tail;
    struct note notes[SIM_RING];
};

/* Beside each journal slot. */
struct pending {
    int task;
    int change; /* of the last record of a unit; else SIM_NOBODY */
};

struct figures {
    uint64_t worlds, steps, decisions, commits, refused, unknown, crashes, recovered, orders,
        events;
    uint64_t orders_verdicts[TG_VERDICT_COUNT], commands_verdicts[TG_VERDICT_COUNT];
    uint64_t replays, waits, holds, timers, lost, doubled, verified;
    uint64_t forgotten, dropped, acks, raised; /* ids, events, acks, tables */
};

struct world {
    uint64_t seed, hash;
    uint32_t step;
    struct tg_rng rng;
    int shards;
    int64_t now_ms;
    bool traces;
    char data_dir[64];
    uint64_t map_bytes;
    uint32_t crash_one_in; /* steps */
    bool has_reader;       /* a group reads everything */
    bool closes;           /* sales may be closed */
    uint32_t table_max;    /* orders, holdings and timers of a shard */
    uint32_t ttl_s;        /* of request ids */
    int64_t keep_ms;       /* events */
    uint64_t keep_bytes;
    uint64_t newest; /* the sequence that the writer has published */
    struct eng_engine engine;
    struct sto_env *storage;
    struct sto_reader *reader;
    struct tg_journal journals[SIM_SHARDS];
    struct tg_record *records[SIM_SHARDS];
    struct pending *pending[SIM_SHARDS];
    struct tg_sale_def *sale_to_come; /* its record is on its way */
    uint64_t taken[SIM_SHARDS];       /* records that the writer has seen */
    bool unpublished;
    struct ring rings[SIM_SHARDS][SIM_SHARDS];
    struct task tasks[SIM_TASKS];
    int task_high;
    struct letter wire[SIM_WIRE];
    int wire_count;
    struct ask asks[SIM_ASKS];
    int ask_count;
    uint64_t events_read;
    uint32_t seen_events[M_ORDERS][TG_EVENT_TYPE_COUNT];
    uint8_t seen_states[M_ORDERS];
    uint32_t seen_team_events[M_TEAMS][TG_EVENT_TYPE_COUNT];
    struct model model;
    struct figures *figures;
    /* of each step: what it drew, and the step that first sent the request that it is about */
    uint16_t kinds[SIM_STEPS + 2];
    uint16_t about[SIM_STEPS + 2];
    uint16_t story[SIM_STEPS + 2]; /* likewise, of the order or team that it is about */
};

/* A promise is broken: tells where and ends the process; main.c has the story. */
_Noreturn void sim_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define promise(holds, ...)                                                                        \
    do {                                                                                           \
        if (!(holds))                                                                              \
            sim_fail(__FILE__, __LINE__, __VA_ARGS__);                                             \
    } while (0)

/* One line of the story, when it is told. */
void sim_trace(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline uint32_t sim_below(struct world *world, uint32_t bound)
{
    return (uint32_t)tg_rng_below(&world->rng, bound);
}

static inline bool sim_one_in(struct world *world, uint32_t chances)
{
    return sim_below(world, chances) == 0;
}

/* Into the hash that two runs of one seed share. */
static inline void sim_mix(struct world *world, uint64_t value)
{
    world->hash = tg_mix64(world->hash ^ value) + world->step;
}

static inline struct eng_item *sim_item(struct world *world, int number)
{
    return &world->engine.catalog.items[number];
}

/* --- world.c --- */

/* Plays one world. `steps` (a bit for each) leaves some out; NULL plays all. It ends behind
 * `last_step`, or goes on to its calm end when there is no such step. */
void sim_world_play(struct world *world, uint64_t seed, const uint8_t *steps, uint32_t last_step);

/* --- clients.c --- */

void sim_clients_rules(struct world *world); /* the sales of this world, in the model */
struct tg_sale_def *sim_clients_sale(struct world *world, int number);
void sim_clients_ask(struct world *world);
void sim_clients_ask_again(struct world *world);
bool sim_clients_deliver(struct world *world);
void sim_clients_toggle_group(struct world *world);
void sim_clients_ack(struct world *world);
void sim_clients_answer(struct world *world, int number, const struct reply *reply);

/* --- node.c --- */

void sim_node_receive(struct world *world, int number);
bool sim_node_notes(struct world *world);
bool sim_node_complete(struct world *world, int core, uint32_t most);
void sim_node_timers(struct world *world, int core, bool all);
void sim_node_forget(struct world *world);
bool sim_node_is_idle(const struct world *world);

/* --- disk.c --- */

/* The directory, and what every world begins with; before the first one. */
void sim_disk_prepare(struct world *world);
void sim_disk_create(struct world *world);
void sim_disk_destroy(struct world *world, bool verify);
void sim_disk_remove(const struct world *world); /* its files */
bool sim_disk_write(struct world *world, bool calm);
void sim_disk_crash(struct world *world);
void sim_disk_drop_sale(struct world *world); /* the record of a new sale is gone */
/* After a sweep or a start: which request ids are still known. */
void sim_disk_forgotten(struct world *world);
struct eng_loader sim_disk_loader(struct world *world);

/* --- outbox.c --- */

enum tg_verdict sim_outbox_decide(struct world *world, const struct ask *ask,
                                  struct tg_record *record, struct m_answer *answer);
void sim_outbox_settle(struct world *world, const struct tg_record *record);
uint64_t sim_outbox_offset(const struct world *world, int number);
void sim_outbox_restore(struct world *world, const struct tg_group *group);
/* After a commit: nothing was dropped that somebody has not acked. */
void sim_outbox_check_retained(struct world *world);
void sim_outbox_restored(struct world *world); /* all of them */
/* The group that reads everything, made before the world begins. */
void sim_outbox_begin(struct world *world);
void sim_outbox_read(struct world *world);
/* Somebody asks for events from anywhere. */
void sim_outbox_peek(struct world *world);
/* Everything that may be dropped is. */
void sim_outbox_check_dropped(struct world *world);

/* --- compare.c --- */

/* The unit that was just decided says what the model says. */
void sim_compare_unit(struct world *world, const struct eng_unit *unit, int number);
void sim_compare_order(const struct world *world, int place, const struct tg_order_row *row,
                       const struct tg_life *life, const struct m_order *order);
void sim_compare_team(const struct world *world, const struct tg_team *team,
                      const struct m_team *expected);
void sim_compare_stock(struct world *world);

#endif
