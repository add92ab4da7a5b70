#include "loadgen/story.h"

#include <string.h>

#define OK             lg_verdict_bit(TG_OK)
#define ACCEPTED       lg_verdict_bit(TG_ACCEPTED)
#define DUE            lg_verdict_bit(TG_REFUND_DUE)
#define FULL           lg_verdict_bit(TG_STORAGE_FULL)
#define EXPIRED        lg_verdict_bit(TG_EXPIRED)
/* A payment may come too late on every path, for the machine may stall. Whether it was too late is
 * judged from the order (loadgen/world.c), not here. */
#define PAY_ANSWERS    (OK | DUE | FULL)
#define CHANGE_ANSWERS (OK | FULL)
#define TEAM_OVER      (lg_verdict_bit(TG_TEAM_ENDED) | lg_verdict_bit(TG_TEAM_NOT_OPEN))
#define TEAM_TAKEN     (lg_verdict_bit(TG_TEAM_FULL) | lg_verdict_bit(TG_TEAM_FORMED))

#define EXPIRY_WAIT_MS    (LG_STORY_PAYMENT_WINDOW_S * 1000 + 600)
#define EXTEND_MS         60000
#define USER_ID_FIRST     10000000ull
#define CHANNELS          3
/* One in so many requests is asked a second time. */
#define TWICE_ONE_IN      16
#define INGEST_ORDERS_MIN 8

/* --- words that scripts are made of --- */

/* The next ask of this round, with a request id of its own. */
static struct lg_ask *ask(struct lg_story *story, enum lg_ask_kind kind, uint64_t allowed)
{
    struct lg_ask *next = &story->asks[story->ask_count++];
    uint64_t id[2] = {
        tg_mix64(story->nonce ^ tg_mix64(story->number + TG_RNG_GOLDEN)),
        tg_mix64(story->number * TG_RNG_GOLDEN + ++story->asked),
    };
    *next = (struct lg_ask){
        .kind = (uint8_t)kind,
        .twice = tg_rng_below(&story->rng, TWICE_ONE_IN) == 0,
        .state = LG_ASK_READY,
        .allowed = allowed,
        .order_id = story->order_id,
        .user_id = story->user_id,
        .team_id = story->team_id,
        .item = story->item,
        .quantity = story->quantity,
        .amount_minor = story->amount_minor,
        .refund_number = story->refund_number,
        .channel = 1 + (uint32_t)(story->number % CHANNELS),
        .at_ms = story->now_ms,
        .payment = LG_PAYMENT_FIRST,
    };
    memcpy(next->request_id, id, sizeof(id));
    return next;
}

static bool said(const struct lg_story *story, int verdict)
{
    return story->said[0].verdict == verdict;
}

static enum lg_next rest(struct lg_story *story, int64_t ms)
{
    story->wait_ms = ms;
    return LG_NEXT_WAIT;
}

static enum lg_next pay(struct lg_story *story)
{
    ask(story, LG_ASK_PAY, PAY_ANSWERS);
    return LG_NEXT_ASK;
}

static enum lg_next change(struct lg_story *story, enum lg_ask_kind kind)
{
    ask(story, kind, CHANGE_ANSWERS);
    return LG_NEXT_ASK;
}

static enum lg_next advance(struct lg_story *story, int to)
{
    ask(story, LG_ASK_ADVANCE, CHANGE_ANSWERS)->advance_to = to;
    return LG_NEXT_ASK;
}

/* Every path that goes on behind a payment begins with it; for whoever was too late it is over. */
static bool pays_first(struct lg_story *story, enum lg_next *next)
{
    *next = LG_NEXT_END;
    if (story->step == 1)
        *next = pay(story);
    return story->step == 1 || (story->step == 2 && !said(story, TG_OK));
}

/* --- lifecycle: one order from its placing to its end --- */

static enum lg_next place(struct lg_story *story, const struct lg_ask_sale *sale)
{
    story->item = (uint32_t)tg_rng_below(&story->rng, sale->item_count);
    story->quantity = 1 + (uint32_t)tg_rng_below(&story->rng, 2);
    story->amount_minor = sale->price_minor[story->item] * story->quantity;
    ask(story, LG_ASK_PLACE, ACCEPTED | FULL | sale->refusals);
    return LG_NEXT_ASK;
}

static enum lg_next tell_deliver(struct lg_story *story, const struct lg_ask_sale *sale)
{
    static const int steps[] = {TG_ORDER_SHIPPED, TG_ORDER_DELIVERED, TG_ORDER_COMPLETED};
    enum lg_next next;
    (void)sale;
    if (pays_first(story, &next))
        return next;
    return story->step <= 4 && said(story, TG_OK) ? advance(story, steps[story->step - 2])
                                                  : LG_NEXT_END;
}

static enum lg_next tell_cancel(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    if (story->step > 1)
        return LG_NEXT_END;
    ask(story, LG_ASK_CANCEL, CHANGE_ANSWERS | EXPIRED);
    return LG_NEXT_ASK;
}

static enum lg_next tell_pay_late(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    if (story->step == 1)
        return rest(story, EXPIRY_WAIT_MS);
    return story->step == 2 ? pay(story) : LG_NEXT_END;
}

static enum lg_next tell_pay_twice(struct lg_story *story, const struct lg_ask_sale *sale)
{
    enum lg_next next;
    (void)sale;
    if (pays_first(story, &next))
        return next;
    if (story->step == 2) {
        ask(story, LG_ASK_PAY, DUE | FULL)->payment = LG_PAYMENT_SECOND;
        return LG_NEXT_ASK;
    }
    if (story->step == 3 && said(story, TG_REFUND_DUE)) {
        story->refund_number = story->said[0].refund_number;
        return change(story, LG_ASK_RECORD_REFUND);
    }
    return LG_NEXT_END;
}

/* Both at once, over two connections: exactly one of them wins. */
static enum lg_next tell_pay_or_cancel(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    if (story->step > 1)
        return LG_NEXT_END;
    ask(story, LG_ASK_PAY, PAY_ANSWERS);
    ask(story, LG_ASK_CANCEL, CHANGE_ANSWERS | EXPIRED | lg_verdict_bit(TG_ALREADY_PAID) | DUE);
    return LG_NEXT_ASK;
}

static enum lg_next tell_wrong_amount(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    if (story->step == 1) {
        struct lg_ask *wrong = ask(story, LG_ASK_PAY, lg_verdict_bit(TG_AMOUNT_MISMATCH) | FULL);
        wrong->amount_minor--;
        wrong->payment = LG_PAYMENT_WRONG;
        return LG_NEXT_ASK;
    }
    return story->step == 2 && said(story, TG_AMOUNT_MISMATCH) ? pay(story) : LG_NEXT_END;
}

/* Asks for a refund; then approves it and records that it was paid, or rejects it. */
static enum lg_next tell_refund(struct lg_story *story, int64_t amount_minor, bool whole,
                                bool approve)
{
    enum lg_next next;
    if (pays_first(story, &next))
        return next;
    if (!said(story, TG_OK))
        return LG_NEXT_END;
    if (story->step == 2) {
        struct lg_ask *request = ask(story, LG_ASK_REQUEST_REFUND, CHANGE_ANSWERS);
        request->amount_minor = amount_minor;
        request->restock = whole;
        return LG_NEXT_ASK;
    }
    if (story->step == 3) {
        story->refund_number = story->said[0].refund_number;
        return change(story, approve ? LG_ASK_APPROVE_REFUND : LG_ASK_REJECT_REFUND);
    }
    return story->step == 4 && approve ? change(story, LG_ASK_RECORD_REFUND) : LG_NEXT_END;
}

static enum lg_next tell_refund_whole(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    return tell_refund(story, 0, true, true);
}

static enum lg_next tell_refund_part(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    return tell_refund(story, story->amount_minor / 2, false, true);
}

static enum lg_next tell_refund_rejected(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    return tell_refund(story, story->amount_minor / 2, false, false);
}

static enum lg_next tell_extend(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    if (story->step == 1) {
        ask(story, LG_ASK_EXTEND, CHANGE_ANSWERS | EXPIRED)->at_ms += EXTEND_MS;
        return LG_NEXT_ASK;
    }
    if (story->step == 2)
        return said(story, TG_OK) ? rest(story, EXPIRY_WAIT_MS) : LG_NEXT_END;
    return story->step == 3 ? pay(story) : LG_NEXT_END;
}

static enum lg_next tell_refund_or_complete(struct lg_story *story, const struct lg_ask_sale *sale)
{
    if (story->step < 4)
        return tell_deliver(story, sale);
    if (story->step > 4 || !said(story, TG_OK))
        return LG_NEXT_END;
    ask(story, LG_ASK_REQUEST_REFUND, CHANGE_ANSWERS | lg_verdict_bit(TG_ALREADY_COMPLETED))
        ->amount_minor = 0;
    ask(story, LG_ASK_ADVANCE, CHANGE_ANSWERS | lg_verdict_bit(TG_REFUND_PENDING))->advance_to =
        TG_ORDER_COMPLETED;
    return LG_NEXT_ASK;
}

static enum lg_next tell_nothing(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)story;
    (void)sale;
    return LG_NEXT_END;
}

static const struct lg_path lifecycle_paths[] = {
    {"deliver", 20, tell_deliver},
    {"cancel", 10, tell_cancel},
    {"pay_late", 10, tell_pay_late},
    {"pay_twice", 10, tell_pay_twice},
    {"pay_or_cancel", 12, tell_pay_or_cancel},
    {"wrong_amount", 6, tell_wrong_amount},
    {"refund_whole", 10, tell_refund_whole},
    {"refund_part", 4, tell_refund_part},
    {"refund_rejected", 4, tell_refund_rejected},
    {"extend", 4, tell_extend},
    {"refund_or_complete", 5, tell_refund_or_complete},
    {"leave_unpaid", 5, tell_nothing},
};

/* --- cart: all or nothing --- */

static enum lg_next place_cart(struct lg_story *story, const struct lg_ask_sale *sale)
{
    struct lg_ask *cart = ask(story, LG_ASK_CART, ACCEPTED | FULL | sale->refusals);
    cart->line_count = (uint8_t)(2 + tg_rng_below(&story->rng, LG_ASK_LINES_MAX - 1));
    for (uint32_t i = 0; i < cart->line_count; i++) {
        struct lg_ask_line *line = &cart->lines[i];
        bool same_again = i > 0 && tg_rng_below(&story->rng, 5) == 0;
        line->item = same_again ? cart->lines[0].item
                                : (uint32_t)tg_rng_below(&story->rng, sale->item_count);
        line->quantity = 1 + (uint32_t)tg_rng_below(&story->rng, 3);
    }
    story->amount_minor = lg_ask_amount(cart, sale);
    return LG_NEXT_ASK;
}

static const struct lg_path cart_paths[] = {
    {"refund_whole", 40, tell_refund_whole},   {"cancel", 20, tell_cancel},
    {"pay_or_cancel", 10, tell_pay_or_cancel}, {"pay_late", 10, tell_pay_late},
    {"leave_unpaid", 20, tell_nothing},
};

/* --- ingest: batches of other channels, and the same batch again --- */

static enum lg_next ingest(struct lg_story *story)
{
    struct lg_ask *batch = ask(story, LG_ASK_INGEST, OK);
    batch->at_ms = story->begun_ms; /* the second time says the same */
    batch->ingest_draw = story->ingest_draw;
    batch->ingest_name = tg_mix64(story->nonce) + story->number;
    batch->ingest_count =
        INGEST_ORDERS_MIN +
        (uint32_t)(story->ingest_draw % (LG_ASK_INGEST_MAX - INGEST_ORDERS_MIN + 1));
    batch->known = story->known;
    return LG_NEXT_ASK;
}

static enum lg_next ingest_first(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    story->ingest_draw = tg_rng_next(&story->rng);
    return ingest(story);
}

static enum lg_next tell_ingest(struct lg_story *story, const struct lg_ask_sale *sale)
{
    (void)sale;
    return story->step == 1 ? ingest(story) : LG_NEXT_END;
}

static const struct lg_path ingest_paths[] = {{"send_twice", 100, tell_ingest}};

/* --- group-buy: one team from its opening to its end --- */

static enum lg_next open_team(struct lg_story *story, const struct lg_ask_sale *sale)
{
    story->item = (uint32_t)tg_rng_below(&story->rng, sale->item_count);
    story->quantity = 1;
    for (uint32_t i = 0; i < LG_TEAM_MEMBERS_MAX; i++)
        story->members[i].user_id = story->user_id + (i << 24);
    ask(story, LG_ASK_OPEN_TEAM, ACCEPTED | FULL | sale->refusals);
    return LG_NEXT_ASK;
}

static void member_asks(struct lg_story *story, uint32_t member, struct lg_ask *as)
{
    as->user_id = story->members[member].user_id;
    as->order_id = story->members[member].order_id;
}

static void member_pays(struct lg_story *story, const struct lg_ask_sale *sale, uint32_t member)
{
    struct lg_ask *payment = ask(story, LG_ASK_PAY, PAY_ANSWERS);
    member_asks(story, member, payment);
    payment->amount_minor =
        member == 0 ? sale->captain_price_minor[story->item] : sale->price_minor[story->item];
}

static void member_joins(struct lg_story *story, uint32_t member, uint64_t allowed)
{
    member_asks(story, member, ask(story, LG_ASK_JOIN_TEAM, allowed));
}

static void member_leaves(struct lg_story *story, uint32_t member)
{
    uint64_t too_late =
        EXPIRED | DUE | lg_verdict_bit(TG_ALREADY_CANCELLED) | lg_verdict_bit(TG_ALREADY_PAID);
    member_asks(story, member, ask(story, LG_ASK_CANCEL, CHANGE_ANSWERS | too_late));
}

/* A script is a row of moves: who does what, one after the other. */
enum team_move {
    MOVE_END,
    MOVE_JOIN,
    MOVE_JOIN_BOTH,   /* this member and the next, at once */
    MOVE_JOIN_CLOSED, /* the team is not open: nobody may get in */
    MOVE_PAY,
    MOVE_LEAVE,
    MOVE_PAY_AND_LEAVE, /* this member pays while the captain leaves */
    MOVE_WAIT_EXPIRY,
};

struct team_step {
    uint8_t move;
    uint8_t member;
};

enum team_path {
    TEAM_FILLS, /* all pay; two race for the last seat */
    TEAM_MEMBER_LEAVES,
    TEAM_CAPTAIN_LEAVES,
    TEAM_SEAT_EXPIRES,
    TEAM_CAPTAIN_UNPAID,
    TEAM_SOLE_CAPTAIN_LEAVES,
    TEAM_NEVER_FILLS,
};

static const struct team_step team_scripts[][9] = {
    [TEAM_FILLS] = {{MOVE_PAY, 0},
                    {MOVE_JOIN, 1},
                    {MOVE_PAY, 1},
                    {MOVE_JOIN_BOTH, 2},
                    {MOVE_PAY, 2},
                    {MOVE_PAY, 3}},
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
    [TEAM_CAPTAIN_UNPAID] = {{MOVE_JOIN_CLOSED, 1}, {MOVE_WAIT_EXPIRY, 0}, {MOVE_JOIN_CLOSED, 1}},
    [TEAM_SOLE_CAPTAIN_LEAVES] = {{MOVE_PAY, 0}, {MOVE_JOIN, 1}, {MOVE_LEAVE, 0}, {MOVE_PAY, 1}},
    [TEAM_NEVER_FILLS] = {{MOVE_PAY, 0}, {MOVE_JOIN, 1}, {MOVE_PAY, 1}},
};

static void take_seat(struct lg_story *story, uint32_t member, const struct lg_said *answer)
{
    if (answer->verdict == TG_ACCEPTED)
        story->members[member].order_id = answer->order_id;
}

static void take_team_answers(struct lg_story *story, const struct team_step *last)
{
    if (last->move == MOVE_JOIN || last->move == MOVE_JOIN_BOTH)
        take_seat(story, last->member, &story->said[0]);
    if (last->move == MOVE_JOIN_BOTH)
        take_seat(story, last->member + 1u, &story->said[1]);
}

/* Fills the asks of a move; false when those who should make it are not in the team. */
static bool team_move(struct lg_story *story, const struct lg_ask_sale *sale,
                      const struct team_step *step)
{
    uint64_t join_answers = ACCEPTED | FULL | sale->refusals | TEAM_OVER | TEAM_TAKEN;
    bool seated = story->members[step->member].order_id != 0;
    switch ((enum team_move)step->move) {
    case MOVE_JOIN:
        member_joins(story, step->member, join_answers);
        return true;
    case MOVE_JOIN_BOTH:
        member_joins(story, step->member, join_answers);
        member_joins(story, step->member + 1u, join_answers);
        return true;
    case MOVE_JOIN_CLOSED:
        member_joins(story, step->member, TEAM_OVER);
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

static enum lg_next tell_team(struct lg_story *story, const struct lg_ask_sale *sale)
{
    const struct team_step *script = team_scripts[story->path];
    uint32_t place = story->step - 1;
    if (story->step == 1) {
        story->team_id = story->order_id;
        story->members[0].order_id = story->order_id;
    } else {
        take_team_answers(story, &script[place - 1]);
    }
    /* Moves of members who did not get in are passed over. */
    for (; script[place].move != MOVE_END; place++, story->step++) {
        if (script[place].move == MOVE_WAIT_EXPIRY)
            return rest(story, EXPIRY_WAIT_MS);
        if (team_move(story, sale, &script[place]))
            return LG_NEXT_ASK;
    }
    return LG_NEXT_END;
}

static const struct lg_path team_paths[] = {
    [TEAM_FILLS] = {"fills", 45, tell_team},
    [TEAM_MEMBER_LEAVES] = {"member_leaves", 15, tell_team},
    [TEAM_CAPTAIN_LEAVES] = {"captain_leaves", 10, tell_team},
    [TEAM_SEAT_EXPIRES] = {"seat_expires", 10, tell_team},
    [TEAM_CAPTAIN_UNPAID] = {"captain_unpaid", 5, tell_team},
    [TEAM_SOLE_CAPTAIN_LEAVES] = {"sole_captain_leaves", 5, tell_team},
    [TEAM_NEVER_FILLS] = {"never_fills", 10, tell_team},
};

/* --- the table, and the telling --- */

#define PATHS(table) .paths = (table), .path_count = sizeof(table) / sizeof((table)[0])

const struct lg_story_kind *lg_story_kind_of(const char *scenario)
{
    static const struct lg_story_kind kinds[] = {
        {.scenario = "lifecycle", .begin = place, PATHS(lifecycle_paths)},
        {.scenario = "groupbuy", .begin = open_team, PATHS(team_paths), .group_buy = true},
        {.scenario = "cart", .begin = place_cart, PATHS(cart_paths)},
        {.scenario = "ingest", .begin = ingest_first, PATHS(ingest_paths), .shares = true},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].scenario, scenario) == 0)
            return &kinds[i];
    return NULL;
}

static uint32_t draw_path(const struct lg_story_kind *kind, struct tg_rng *rng)
{
    uint64_t left = tg_rng_below(rng, 100);
    uint32_t path = 0;
    while (path + 1 < kind->path_count && left >= kind->paths[path].share)
        left -= kind->paths[path++].share;
    return path;
}

void lg_story_begin(struct lg_story *story, const struct lg_story_kind *kind, uint64_t seed,
                    uint64_t nonce, uint64_t number, uint64_t users)
{
    memset(story, 0, sizeof(*story));
    story->kind = kind;
    story->number = number;
    story->nonce = nonce;
    tg_rng_init(&story->rng, seed * TG_RNG_GOLDEN + number);
    story->path = draw_path(kind, &story->rng);
    story->user_id = USER_ID_FIRST + tg_rng_below(&story->rng, users);
}

enum lg_next lg_story_step(struct lg_story *story, const struct lg_ask_sale *sale)
{
    story->ask_count = 0;
    if (story->step == 0) {
        story->begun_ms = story->now_ms;
        return story->kind->begin(story, sale);
    }
    if (story->step == 1) {
        if (!said(story, TG_ACCEPTED) && !said(story, TG_OK)) /* OK: of a batch */
            return LG_NEXT_END;
        story->order_id = story->said[0].order_id;
    }
    return story->kind->paths[story->path].tell(story, sale);
}
