#include "loadgen/story.h"

#include "base/clock.h"

#include <string.h>

#define OK             lg_verdict_bit(TG_OK)
#define ACCEPTED       lg_verdict_bit(TG_ACCEPTED)
#define DUE            lg_verdict_bit(TG_REFUND_DUE)
#define NO_UNITS       (lg_verdict_bit(TG_SOLD_OUT) | lg_verdict_bit(TG_INSUFFICIENT_STOCK))
#define FULL           lg_verdict_bit(TG_STORAGE_FULL)
#define LIMITS         (lg_verdict_bit(TG_LIMIT_REACHED) | lg_verdict_bit(TG_CHANNEL_SHARE_REACHED))
#define EXPIRED        lg_verdict_bit(TG_EXPIRED)
#define PLACE_ANSWERS  (ACCEPTED | NO_UNITS | LIMITS | FULL)
/* A payment within the window may still come too late: the machine may stall. */
#define PAY_ANSWERS    (OK | DUE | FULL)
#define CHANGE_ANSWERS (OK | FULL)
#define TEAM_OVER                                                                                  \
    (lg_verdict_bit(TG_TEAM_ENDED) | lg_verdict_bit(TG_TEAM_FULL) |                                \
     lg_verdict_bit(TG_TEAM_FORMED) | lg_verdict_bit(TG_TEAM_NOT_OPEN))

#define EXPIRY_WAIT_NS ((LG_STORY_PAYMENT_WINDOW_S * 1000 + 600) * TG_NS_PER_MS)
#define USER_ID_FIRST  10000000ull

void lg_story_begin(struct lg_story *story, uint64_t seed, uint64_t nonce, uint64_t number,
                    uint64_t users)
{
    memset(story, 0, sizeof(*story));
    story->number = number;
    story->nonce = nonce;
    tg_rng_init(&story->rng, seed * TG_RNG_GOLDEN + number);
    story->path = (uint32_t)tg_rng_below(&story->rng, 100);
    story->user_id = USER_ID_FIRST + tg_rng_below(&story->rng, users);
}

/* --- words that scripts are made of --- */

/* The next ask of this round, with a request id of its own. */
static struct lg_ask *ask(struct lg_story *story, enum lg_ask_kind kind, uint64_t allowed)
{
    struct lg_ask *next = &story->asks[story->ask_count++];
    *next = (struct lg_ask){.kind = (uint8_t)kind, .state = LG_ASK_READY, .allowed = allowed};
    uint64_t words[2] = {
        tg_mix64(story->nonce ^ tg_mix64(story->number + TG_RNG_GOLDEN)),
        tg_mix64(story->number * TG_RNG_GOLDEN + ++story->asked),
    };
    memcpy(next->request_id, words, sizeof(words));
    next->order_id = story->order_id;
    next->user_id = story->user_id;
    next->team_id = story->team_id;
    next->item = story->item;
    next->quantity = story->quantity;
    next->amount_minor = story->amount_minor;
    next->refund_number = story->refund_number;
    next->channel = 1 + (uint32_t)(story->number % 3);
    next->at_ms = story->now_ms;
    next->payment = 1;
    return next;
}

static struct lg_ask *pay(struct lg_story *story, uint64_t allowed)
{
    return ask(story, LG_ASK_PAY, allowed);
}

static enum lg_next wait(struct lg_story *story, int64_t ns)
{
    story->wait_ns = ns;
    return LG_NEXT_WAIT;
}

static bool said(const struct lg_story *story, int verdict)
{
    return story->said[0].verdict == verdict;
}

static enum lg_next refund_change(struct lg_story *story, enum lg_ask_kind kind, uint64_t allowed)
{
    ask(story, kind, allowed);
    return LG_NEXT_ASK;
}

static enum lg_next advance(struct lg_story *story, int to)
{
    ask(story, LG_ASK_ADVANCE, CHANGE_ANSWERS)->advance_to = to;
    return LG_NEXT_ASK;
}

/* --- lifecycle: one order from its placing to its end --- */

enum lifecycle_path {
    PATH_DELIVER,
    PATH_CANCEL,
    PATH_PAY_LATE,
    PATH_PAY_TWICE,
    PATH_PAY_OR_CANCEL,
    PATH_WRONG_AMOUNT,
    PATH_REFUND_WHOLE,
    PATH_REFUND_PART,
    PATH_EXTEND,
    PATH_REFUND_OR_COMPLETE,
    PATH_LEAVE_UNPAID,
};

/* How many of a hundred orders go which way. */
static const uint8_t lifecycle_shares[] = {
    [PATH_DELIVER] = 20,           [PATH_CANCEL] = 10,        [PATH_PAY_LATE] = 10,
    [PATH_PAY_TWICE] = 10,         [PATH_PAY_OR_CANCEL] = 12, [PATH_WRONG_AMOUNT] = 6,
    [PATH_REFUND_WHOLE] = 10,      [PATH_REFUND_PART] = 8,    [PATH_EXTEND] = 4,
    [PATH_REFUND_OR_COMPLETE] = 5, [PATH_LEAVE_UNPAID] = 5,
};

static enum lifecycle_path lifecycle_path(const struct lg_story *story)
{
    uint32_t rest = story->path;
    uint32_t path = PATH_DELIVER;
    while (path < PATH_LEAVE_UNPAID && rest >= lifecycle_shares[path])
        rest -= lifecycle_shares[path++];
    return (enum lifecycle_path)path;
}

static enum lg_next place(struct lg_story *story, const struct lg_ask_sale *sale)
{
    story->item = (uint32_t)tg_rng_below(&story->rng, sale->item_count);
    story->quantity = 1 + (uint32_t)tg_rng_below(&story->rng, 2);
    story->amount_minor = sale->price_minor[story->item] * story->quantity;
    ask(story, LG_ASK_PLACE, PLACE_ANSWERS);
    return LG_NEXT_ASK;
}

/* Every path that goes on behind a payment begins with it; whoever was too late is done. */
static bool pays_first(struct lg_story *story, enum lg_next *next)
{
    *next = LG_NEXT_END;
    if (story->step == 1) {
        pay(story, PAY_ANSWERS);
        *next = LG_NEXT_ASK;
        return true;
    }
    return story->step == 2 && !said(story, TG_OK);
}

static enum lg_next tell_deliver(struct lg_story *story)
{
    static const int steps[] = {TG_ORDER_SHIPPED, TG_ORDER_DELIVERED, TG_ORDER_COMPLETED};
    enum lg_next next;
    if (pays_first(story, &next))
        return next;
    return story->step <= 4 ? advance(story, steps[story->step - 2]) : LG_NEXT_END;
}

static enum lg_next tell_cancel(struct lg_story *story)
{
    if (story->step > 1)
        return LG_NEXT_END;
    ask(story, LG_ASK_CANCEL, CHANGE_ANSWERS | EXPIRED);
    return LG_NEXT_ASK;
}

static enum lg_next tell_pay_late(struct lg_story *story)
{
    if (story->step == 1)
        return wait(story, EXPIRY_WAIT_NS);
    if (story->step == 2) {
        pay(story, PAY_ANSWERS);
        return LG_NEXT_ASK;
    }
    return LG_NEXT_END;
}

static enum lg_next tell_pay_twice(struct lg_story *story)
{
    enum lg_next next;
    if (pays_first(story, &next))
        return next;
    if (story->step == 2) {
        pay(story, DUE | FULL)->payment = 2;
        return LG_NEXT_ASK;
    }
    if (story->step == 3 && said(story, TG_REFUND_DUE)) {
        story->refund_number = story->said[0].refund_number;
        return refund_change(story, LG_ASK_RECORD_REFUND, CHANGE_ANSWERS);
    }
    return LG_NEXT_END;
}

/* Both at once, over two connections: exactly one of them wins. */
static enum lg_next tell_pay_or_cancel(struct lg_story *story)
{
    if (story->step > 1)
        return LG_NEXT_END;
    pay(story, PAY_ANSWERS);
    ask(story, LG_ASK_CANCEL, CHANGE_ANSWERS | EXPIRED | lg_verdict_bit(TG_ALREADY_PAID) | DUE);
    return LG_NEXT_ASK;
}

static enum lg_next tell_wrong_amount(struct lg_story *story)
{
    if (story->step == 1) {
        struct lg_ask *wrong = pay(story, lg_verdict_bit(TG_AMOUNT_MISMATCH) | DUE | FULL);
        wrong->amount_minor--;
        wrong->payment = 9;
        return LG_NEXT_ASK;
    }
    if (story->step == 2 && said(story, TG_AMOUNT_MISMATCH)) {
        pay(story, PAY_ANSWERS);
        return LG_NEXT_ASK;
    }
    return LG_NEXT_END;
}

/* Asks for a refund; then approves it and records that it was paid, or rejects it. */
static enum lg_next tell_refund(struct lg_story *story, int64_t amount_minor, bool restock,
                                bool approve)
{
    enum lg_next next;
    if (pays_first(story, &next))
        return next;
    if (story->step == 2) {
        struct lg_ask *request = ask(story, LG_ASK_REQUEST_REFUND, CHANGE_ANSWERS);
        request->amount_minor = amount_minor;
        request->restock = restock;
        return LG_NEXT_ASK;
    }
    if (!said(story, TG_OK))
        return LG_NEXT_END;
    if (story->step == 3) {
        story->refund_number = story->said[0].refund_number;
        return refund_change(story, approve ? LG_ASK_APPROVE_REFUND : LG_ASK_REJECT_REFUND,
                             CHANGE_ANSWERS);
    }
    if (story->step == 4 && approve)
        return refund_change(story, LG_ASK_RECORD_REFUND, CHANGE_ANSWERS);
    return LG_NEXT_END;
}

static enum lg_next tell_extend(struct lg_story *story)
{
    if (story->step == 1) {
        ask(story, LG_ASK_EXTEND, CHANGE_ANSWERS | EXPIRED)->at_ms += 60000;
        return LG_NEXT_ASK;
    }
    if (story->step == 2)
        return said(story, TG_OK) ? wait(story, EXPIRY_WAIT_NS) : LG_NEXT_END;
    if (story->step == 3) {
        pay(story, CHANGE_ANSWERS); /* it must be in time */
        return LG_NEXT_ASK;
    }
    return LG_NEXT_END;
}

static enum lg_next tell_refund_or_complete(struct lg_story *story)
{
    if (story->step < 4)
        return tell_deliver(story);
    if (story->step > 4 || !said(story, TG_OK))
        return LG_NEXT_END;
    ask(story, LG_ASK_REQUEST_REFUND, CHANGE_ANSWERS | lg_verdict_bit(TG_ALREADY_COMPLETED))
        ->amount_minor = 0;
    ask(story, LG_ASK_ADVANCE, CHANGE_ANSWERS | lg_verdict_bit(TG_REFUND_PENDING))->advance_to =
        TG_ORDER_COMPLETED;
    return LG_NEXT_ASK;
}

static enum lg_next tell_path(struct lg_story *story)
{
    switch (lifecycle_path(story)) {
    case PATH_DELIVER:
        return tell_deliver(story);
    case PATH_CANCEL:
        return tell_cancel(story);
    case PATH_PAY_LATE:
        return tell_pay_late(story);
    case PATH_PAY_TWICE:
        return tell_pay_twice(story);
    case PATH_PAY_OR_CANCEL:
        return tell_pay_or_cancel(story);
    case PATH_WRONG_AMOUNT:
        return tell_wrong_amount(story);
    case PATH_REFUND_WHOLE:
        return tell_refund(story, 0, true, true);
    case PATH_REFUND_PART:
        return tell_refund(story, story->amount_minor / 2, false, story->number % 2 == 0);
    case PATH_EXTEND:
        return tell_extend(story);
    case PATH_REFUND_OR_COMPLETE:
        return tell_refund_or_complete(story);
    case PATH_LEAVE_UNPAID:
        return LG_NEXT_END;
    }
    return LG_NEXT_END;
}

static enum lg_next lifecycle_step(struct lg_story *story, const struct lg_ask_sale *sale)
{
    if (story->step == 0)
        return place(story, sale);
    if (story->step == 1) {
        if (!said(story, TG_ACCEPTED))
            return LG_NEXT_END;
        story->order_id = story->said[0].order_id;
    }
    return tell_path(story);
}

/* --- cart: all or nothing --- */

static enum lg_next cart_place(struct lg_story *story, const struct lg_ask_sale *sale)
{
    struct lg_ask *cart = ask(story, LG_ASK_CART, PLACE_ANSWERS);
    cart->line_count = (uint8_t)(2 + tg_rng_below(&story->rng, LG_ASK_LINES_MAX - 1));
    for (uint32_t i = 0; i < cart->line_count; i++) {
        struct lg_ask_line *line = &cart->lines[i];
        bool again = i > 0 && tg_rng_below(&story->rng, 5) == 0;
        line->item =
            again ? cart->lines[0].item : (uint32_t)tg_rng_below(&story->rng, sale->item_count);
        line->quantity = 1 + (uint32_t)tg_rng_below(&story->rng, 3);
        story->amount_minor += sale->price_minor[line->item] * line->quantity;
    }
    cart->amount_minor = story->amount_minor;
    return LG_NEXT_ASK;
}

static enum lg_next cart_step(struct lg_story *story, const struct lg_ask_sale *sale)
{
    if (story->step == 0)
        return cart_place(story, sale);
    if (story->step == 1) {
        if (!said(story, TG_ACCEPTED))
            return LG_NEXT_END;
        story->order_id = story->said[0].order_id;
    }
    if (story->path < 40)
        return tell_refund(story, 0, true, true);
    if (story->path < 60)
        return tell_cancel(story);
    if (story->path < 70)
        return tell_pay_or_cancel(story);
    return story->path < 80 ? tell_pay_late(story) : LG_NEXT_END;
}

/* --- ingest: batches of other channels, and the same batch again --- */

static enum lg_next ingest_step(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    if (story->step > 1)
        return LG_NEXT_END;
    if (story->step == 0)
        story->amount_minor = story->now_ms; /* the second time says the same */
    struct lg_ask *batch = ask(story, LG_ASK_INGEST, OK);
    batch->at_ms = story->amount_minor;
    batch->ingest_number = story->nonce ^ story->number;
    batch->ingest_count = 8 + (uint32_t)(story->path % (LG_ASK_INGEST_MAX - 7));
    return LG_NEXT_ASK;
}

/* --- group-buy: one team from its opening to its end --- */

/* What happens to the team. */
enum team_path {
    TEAM_FILLS,         /* all pay, the last two race for one seat */
    TEAM_MEMBER_LEAVES, /* and another takes the seat */
    TEAM_CAPTAIN_LEAVES,
    TEAM_SEAT_EXPIRES,
    TEAM_CAPTAIN_UNPAID,
    TEAM_SOLE_CAPTAIN_LEAVES,
    TEAM_NEVER_FILLS,
};

static enum team_path team_path(const struct lg_story *story)
{
    static const uint8_t ends[] = {45, 60, 70, 80, 85, 90, 100};
    uint32_t path = TEAM_FILLS;
    while (story->path >= ends[path])
        path++;
    return (enum team_path)path;
}

static void member_asks(struct lg_story *story, uint32_t member, struct lg_ask *as)
{
    as->user_id = story->members[member].user_id;
    as->order_id = story->members[member].order_id;
}

static enum lg_next open_team(struct lg_story *story, const struct lg_ask_sale *sale)
{
    story->item = (uint32_t)tg_rng_below(&story->rng, sale->item_count);
    story->quantity = 1;
    for (uint32_t i = 0; i < LG_TEAM_MEMBERS_MAX; i++)
        story->members[i].user_id = story->user_id + (i << 24);
    ask(story, LG_ASK_OPEN_TEAM, PLACE_ANSWERS)->amount_minor =
        sale->captain_price_minor[story->item];
    return LG_NEXT_ASK;
}

static void member_pays(struct lg_story *story, const struct lg_ask_sale *sale, uint32_t member)
{
    struct lg_ask *payment = pay(story, PAY_ANSWERS);
    member_asks(story, member, payment);
    payment->amount_minor =
        member == 0 ? sale->captain_price_minor[story->item] : sale->price_minor[story->item];
}

static void member_joins(struct lg_story *story, const struct lg_ask_sale *sale, uint32_t member)
{
    struct lg_ask *join = ask(story, LG_ASK_JOIN_TEAM, PLACE_ANSWERS | TEAM_OVER);
    member_asks(story, member, join);
    join->amount_minor = sale->price_minor[story->item];
}

static void member_leaves(struct lg_story *story, uint32_t member)
{
    struct lg_ask *leave =
        ask(story, LG_ASK_CANCEL,
            CHANGE_ANSWERS | EXPIRED | DUE | lg_verdict_bit(TG_ALREADY_CANCELLED) |
                lg_verdict_bit(TG_ALREADY_PAID));
    member_asks(story, member, leave);
}

/* A script is a row of moves: who does what, one after the other; two in one row race. */
enum team_move {
    MOVE_END,
    MOVE_JOIN,
    MOVE_JOIN_BOTH, /* this member and the next, at once */
    MOVE_PAY,
    MOVE_LEAVE,
    MOVE_PAY_AND_LEAVE, /* this member pays while the captain leaves */
    MOVE_WAIT_EXPIRY,
};

struct team_step {
    uint8_t move;
    uint8_t member;
};

static const struct team_step team_scripts[][9] = {
    [TEAM_FILLS] =
        {{MOVE_PAY, 0}, {MOVE_JOIN, 1}, {MOVE_PAY, 1}, {MOVE_JOIN_BOTH, 2}, {MOVE_PAY, 2}},
    [TEAM_MEMBER_LEAVES] = {{MOVE_PAY, 0},
                            {MOVE_JOIN, 1},
                            {MOVE_PAY, 1},
                            {MOVE_LEAVE, 1},
                            {MOVE_JOIN_BOTH, 2},
                            {MOVE_PAY, 2},
                            {MOVE_PAY, 3}},
    [TEAM_CAPTAIN_LEAVES] = {{MOVE_PAY, 0},
                             {MOVE_JOIN_BOTH, 1},
                             {MOVE_PAY, 1},
                             {MOVE_PAY_AND_LEAVE, 2}},
    [TEAM_SEAT_EXPIRES] = {{MOVE_PAY, 0},
                           {MOVE_JOIN, 1},
                           {MOVE_WAIT_EXPIRY, 0},
                           {MOVE_JOIN_BOTH, 2},
                           {MOVE_PAY, 2},
                           {MOVE_PAY, 3},
                           {MOVE_PAY, 1}},
    [TEAM_CAPTAIN_UNPAID] = {{MOVE_WAIT_EXPIRY, 0}, {MOVE_JOIN, 1}},
    [TEAM_SOLE_CAPTAIN_LEAVES] = {{MOVE_PAY, 0}, {MOVE_JOIN, 1}, {MOVE_LEAVE, 0}, {MOVE_PAY, 1}},
    [TEAM_NEVER_FILLS] = {{MOVE_PAY, 0}, {MOVE_JOIN, 1}, {MOVE_PAY, 1}},
};

static void seat_taken(struct lg_story *story, uint32_t member, const struct lg_said *answer)
{
    if (answer->verdict == TG_ACCEPTED)
        story->members[member].order_id = answer->order_id;
}

static void take_team_answers(struct lg_story *story, const struct team_step *last)
{
    if (last->move == MOVE_JOIN || last->move == MOVE_JOIN_BOTH)
        seat_taken(story, last->member, &story->said[0]);
    if (last->move == MOVE_JOIN_BOTH)
        seat_taken(story, last->member + 1u, &story->said[1]);
}

/* Fills the asks of a move; false when those who should make it are not in the team. */
static bool team_move(struct lg_story *story, const struct lg_ask_sale *sale,
                      const struct team_step *step)
{
    bool seated = story->members[step->member].order_id != 0;
    switch ((enum team_move)step->move) {
    case MOVE_JOIN:
        member_joins(story, sale, step->member);
        return true;
    case MOVE_JOIN_BOTH:
        member_joins(story, sale, step->member);
        member_joins(story, sale, step->member + 1u);
        return true;
    case MOVE_PAY:
        if (seated)
            member_pays(story, sale, step->member);
        return seated;
    case MOVE_LEAVE:
        if (seated)
            member_leaves(story, step->member);
        return seated;
    case MOVE_PAY_AND_LEAVE:
        member_leaves(story, 0);
        if (seated)
            member_pays(story, sale, step->member);
        return true;
    case MOVE_WAIT_EXPIRY:
    case MOVE_END:
        return false;
    }
    return false;
}

static enum lg_next groupbuy_step(struct lg_story *story, const struct lg_ask_sale *sale)
{
    if (story->step == 0)
        return open_team(story, sale);
    if (story->step == 1) {
        if (!said(story, TG_ACCEPTED))
            return LG_NEXT_END;
        story->team_id = story->said[0].order_id;
        story->members[0].order_id = story->team_id;
    }
    const struct team_step *script = team_scripts[team_path(story)];
    uint32_t place_in_script = story->step - 1;
    if (place_in_script > 0)
        take_team_answers(story, &script[place_in_script - 1]);
    /* Moves of members who did not get in are passed over. */
    while (script[place_in_script].move != MOVE_END) {
        const struct team_step *step = &script[place_in_script];
        if (step->move == MOVE_WAIT_EXPIRY)
            return wait(story, EXPIRY_WAIT_NS);
        if (team_move(story, sale, step))
            return LG_NEXT_ASK;
        story->step++;
        place_in_script++;
    }
    return LG_NEXT_END;
}

/* --- the table --- */

const struct lg_story_kind *lg_story_kind_of(const char *scenario)
{
    static const struct lg_story_kind kinds[] = {
        {.scenario = "lifecycle", .step = lifecycle_step},
        {.scenario = "groupbuy", .step = groupbuy_step, .group_buy = true},
        {.scenario = "cart", .step = cart_step},
        {.scenario = "ingest", .step = ingest_step, .shares = true},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].scenario, scenario) == 0)
            return &kinds[i];
    return NULL;
}
