/* Stories: what buyers, merchants and other systems do with orders, one step after the other.
 *
 * A story is a little script (place, pay, ask for a refund, ...). Which of its scenario's paths it
 * takes, who orders what, and which requests are asked twice comes from (seed, number) alone; its
 * steps look at the answers of the last round (`said`), and fill one or two asks for the next (two
 * travel at once, over different connections, to race each other), or wait, or end.
 * loadgen/teller.h carries the asks; a story knows no socket and no clock. One thread.
 */
#ifndef LG_STORY_H
#define LG_STORY_H

#include "base/rng.h"
#include "loadgen/ask.h"

#define LG_STORY_ASKS_MAX   2
#define LG_STORY_STEPS_MAX  16 /* no story takes more */
#define LG_STORY_PATHS_MAX  16
#define LG_TEAM_MEMBERS_MAX 8

/* Rules of the sale that stories are played in. */
#define LG_STORY_PAYMENT_WINDOW_S 2
#define LG_STORY_TEAM_SIZE        3
#define LG_STORY_TEAM_LIFETIME_S  60

enum lg_next {
    LG_NEXT_ASK,
    LG_NEXT_WAIT,
    LG_NEXT_END,
};

struct lg_story;

typedef enum lg_next lg_tell(struct lg_story *story, const struct lg_ask_sale *sale);

/* One way that a story can go after its first step. */
struct lg_path {
    const char *name;
    uint32_t share; /* of a hundred stories */
    lg_tell *tell;  /* the steps from 1 on, once what step 0 asked for stands */
};

/* One scenario. */
struct lg_story_kind {
    const char *scenario;
    lg_tell *begin; /* step 0 */
    const struct lg_path *paths;
    uint32_t path_count;
    bool group_buy;
    bool shares; /* the sale gives channels shares */
};

struct lg_member {
    uint64_t order_id; /* 0: has no seat */
    uint64_t user_id;
};

struct lg_story {
    const struct lg_story_kind *kind;
    uint64_t number;
    uint64_t nonce; /* of the run: request ids and external ids of two runs differ */
    uint32_t path;  /* into kind->paths */
    uint32_t step;
    uint32_t asked;
    struct tg_rng rng;
    uint32_t ask_count; /* of this round */
    struct lg_ask asks[LG_STORY_ASKS_MAX];
    struct lg_said said[LG_STORY_ASKS_MAX]; /* answers of the last round */
    int64_t wait_ms;                        /* with LG_NEXT_WAIT: how long */
    int64_t now_ms;                         /* the server's clock; whoever steps sets it */
    int64_t begun_ms;                       /* now_ms of step 0 */
    uint64_t order_id;
    uint64_t user_id;
    uint32_t item;
    uint32_t quantity;
    int64_t amount_minor; /* what the order costs */
    uint32_t refund_number;
    uint64_t team_id;
    uint64_t ingest_draw;
    struct lg_member members[LG_TEAM_MEMBERS_MAX];
    struct lg_known known[LG_ASK_INGEST_MAX];
};

/* NULL when the scenario is not told in stories. */
const struct lg_story_kind *lg_story_kind_of(const char *scenario);

/* A story from its beginning. */
void lg_story_begin(struct lg_story *story, const struct lg_story_kind *kind, uint64_t seed,
                    uint64_t nonce, uint64_t number, uint64_t users);

/* Fills the asks of the next round. Call it first with step 0, and then, with `step` one higher,
 * when the last round is answered (`said`) or its wait is over. */
enum lg_next lg_story_step(struct lg_story *story, const struct lg_ask_sale *sale);

#endif
