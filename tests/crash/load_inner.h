/* What load.c (the world, the answers, the run) and think.c (what is asked for next) share. */
#ifndef TG_TESTS_CRASH_LOAD_INNER_H
#define TG_TESTS_CRASH_LOAD_INNER_H

#include "base/rng.h"
#include "tests/crash/load.h"
#include "tests/crash/wish.h"

#define ACTORS         64
#define POOL           256 /* orders that changes go for */
#define EXTRA_SALES    24  /* that operators create meanwhile */
#define FIRST_EXTRA_ID 100
#define SALES_MAX      64

enum {
    SALE_HOT,
    SALE_RESERVE,
    SALE_ON_PAYMENT,
    SALE_ON_PLACE,
    SALE_CHANNELS,
    SALE_TEAMS,
    SALES
};

/* A value that one actor at a time changes: a register of facts.h. */
struct target {
    uint64_t key;
    uint64_t changes;
    uint64_t value; /* as acknowledged */
    char name[32];
    bool is_busy;
};

struct sale {
    struct wish_sale plan;
    struct target state;
    struct target stock; /* units adjusted of its first item */
};

struct group {
    const char *name;
    struct target offset;
};

/* An order as it was last seen. */
struct known {
    uint64_t order_id;
    int64_t amount_minor;
    int state; /* Tidegate__V1__OrderState */
    uint32_t refunds;
};

struct load;

/* One client with at most one request in flight. */
struct actor {
    struct load *load;
    bool is_busy;
    struct wish wish;
    struct target *target; /* of OPERATE and GROUP */
    uint64_t sent;         /* position */
};

/* What was sent, and may be sent again: also by the load that goes on behind a power cut. */
struct sent {
    struct wish wish;
    uint64_t position;
};

/* A workload. */
struct phase {
    const char *name;
    uint32_t shares[WISH_KINDS]; /* in 100 */
    bool is_full;                /* the disk is full now and then */
    bool has_reader;             /* somebody holds a snapshot of it all, and is killed */
};

struct load {
    struct crash_log *log;
    const struct load *past; /* what went on before the power cut; NULL: nothing */
    uint64_t past_cut;       /* where in its log the power went */
    struct facts *facts;
    struct tgc_client *client;
    struct tg_rng rng;
    struct actor actors[ACTORS];
    struct wish last[WISH_KINDS]; /* the last that was sent, to be sent again */
    struct sale sales[SALES_MAX];
    uint32_t sale_count;
    struct group groups[4];
    struct known pool[POOL];
    uint64_t pool_count; /* ever put in */
    uint64_t teams[POOL];
    uint32_t team_skus[POOL];
    uint64_t team_count;       /* ever opened */
    struct facts_list history; /* struct sent, in its order */
    uint64_t wishes;
    uint64_t answers;
    uint64_t refusals;     /* of a full disk */
    uint64_t replays;      /* orders that stood already */
    uint64_t sequence_max; /* the newest that was seen */
    uint64_t seen[WISH_KINDS], done[WISH_KINDS];
};

uint32_t load_draw(struct load *load, uint64_t bound);
_Noreturn void load_fail(const char *what);

/* A sale that will be created. */
struct sale *load_new_sale(struct load *load, const struct wish_sale *plan);
void load_target_begin(struct target *target, const char *kind, uint64_t sale_id, const char *name);

/* Fills the actor's wish with a new one of this phase, or one that was sent before; false when
 * there is none at the moment. */
bool load_think(struct actor *actor, const struct phase *phase);

#endif
