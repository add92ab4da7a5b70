/* Stories: what buyers, merchants and other systems do with orders, one step after the other.
 *
 * A story is a little script (place, pay, ask for a refund, ...) whose every choice comes from
 * (seed, number). Its step looks at the answers of the last round (`said`), and fills one or two
 * asks for the next (two travel at once, over different connections, to race each other), or waits,
 * or ends. loadgen/tale.c carries the asks; a story knows no socket.
 */
#ifndef LG_STORY_H
#define LG_STORY_H

#include "base/rng.h"
#include "loadgen/ask.h"

#define LG_STORY_ASKS_MAX   2
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

struct lg_member {
    uint64_t order_id;
    uint64_t user_id;
    bool paid;
    bool gone;
};

struct lg_story {
    uint64_t number;
    uint64_t nonce; /* of the run: request ids and external ids of two runs differ */
    uint32_t step;
    uint32_t path; /* 0 .. 99, drawn once */
    uint32_t asked;
    struct tg_rng rng;
    uint32_t ask_count; /* of this round */
    struct lg_ask asks[LG_STORY_ASKS_MAX];
    struct lg_said said[LG_STORY_ASKS_MAX]; /* answers of the last round */
    int64_t wait_ns;                        /* with LG_NEXT_WAIT: how long */
    int64_t now_ms;                         /* the server's clock, about */
    uint64_t order_id;
    uint64_t user_id;
    uint32_t item;
    uint32_t quantity;
    int64_t amount_minor;
    uint32_t refund_number;
    uint64_t team_id;
    uint32_t member_count;
    struct lg_member members[LG_TEAM_MEMBERS_MAX];
};

/* One kind of story. */
struct lg_story_kind {
    const char *scenario;
    enum lg_next (*step)(struct lg_story *story, const struct lg_ask_sale *sale);
    bool group_buy;
    bool shares; /* the sale gives channels shares */
};

/* NULL when the scenario is not told in stories. */
const struct lg_story_kind *lg_story_kind_of(const char *scenario);

/* A story from its beginning. */
void lg_story_begin(struct lg_story *story, uint64_t seed, uint64_t nonce, uint64_t number,
                    uint64_t users);

#endif
