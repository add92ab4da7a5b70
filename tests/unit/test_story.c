/* The scripts of loadgen/story.c against a server that answers as the test wants: what a seed
 * fixes, that each path is taken by its share and ends, and what its steps ask for. */
#include "loadgen/story.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum {
    ITEMS = 5,
    USERS = 1000
};

static const char skus[ITEMS][TG_SKU_BYTES_MAX + 1] = {"A", "B", "C", "D", "E"};
static const int64_t prices[ITEMS] = {100, 200, 300, 400, 500};
static const int64_t captain_prices[ITEMS] = {75, 150, 225, 300, 375};
static const struct lg_ask_sale sale = {.sale_id = 1,
                                        .item_count = ITEMS,
                                        .skus = skus,
                                        .price_minor = prices,
                                        .captain_price_minor = captain_prices,
                                        .refusals = 1ull << TG_SOLD_OUT};
static const char *const scenarios[] = {"lifecycle", "groupbuy", "cart", "ingest"};
#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static const struct lg_story_kind *kind_of(size_t scenario)
{
    const struct lg_story_kind *kind = lg_story_kind_of(scenarios[scenario]);
    cr_assert(kind, "%s", scenarios[scenario]);
    return kind;
}

/* What a server says when all goes well. */
static struct lg_said well(const struct lg_ask *ask)
{
    static uint64_t order_id;
    struct lg_said said = {.verdict = TG_OK, .order_id = ask->order_id, .refund_number = 1};
    if (ask->kind < LG_ASK_INGEST)
        said = (struct lg_said){.verdict = TG_ACCEPTED, .order_id = ++order_id};
    if (ask->kind == LG_ASK_PAY && ask->payment == LG_PAYMENT_SECOND)
        said.verdict = TG_REFUND_DUE;
    if (ask->kind == LG_ASK_PAY && ask->payment == LG_PAYMENT_WRONG)
        said.verdict = TG_AMOUNT_MISMATCH;
    return said;
}

/* One of the verdicts that the ask allows. */
static struct lg_said any_allowed(const struct lg_ask *ask, struct tg_rng *rng)
{
    struct lg_said said = well(ask);
    uint64_t allowed = ask->allowed;
    for (uint64_t skip = tg_rng_below(rng, (uint64_t)__builtin_popcountll(allowed)); skip > 0;
         skip--)
        allowed &= allowed - 1;
    said.verdict = __builtin_ctzll(allowed);
    return said;
}

/* Tells a story to its end; returns its steps. With a `rng` answers are drawn, else all goes well.
 * `script` gets the names of what was asked; "+" joins what travels at once, "~" is a wait. */
static uint32_t tell(struct lg_story *story, struct tg_rng *rng, char *script, size_t room)
{
    size_t used = 0;
    script[0] = '\0';
    for (;; story->step++) {
        cr_assert(story->step <= LG_STORY_STEPS_MAX, "%s has no end: %s",
                  story->kind->paths[story->path].name, script);
        story->now_ms = 1000000 + story->step;
        enum lg_next next = lg_story_step(story, &sale);
        if (next == LG_NEXT_END)
            return story->step;
        if (next == LG_NEXT_WAIT) {
            cr_assert_gt(story->wait_ms, LG_STORY_PAYMENT_WINDOW_S * 1000);
            used += (size_t)snprintf(script + used, room - used, "~ ");
            continue;
        }
        cr_assert(story->ask_count >= 1 && story->ask_count <= LG_STORY_ASKS_MAX);
        for (uint32_t a = 0; a < story->ask_count; a++) {
            const struct lg_ask *ask = &story->asks[a];
            cr_assert(ask->allowed != 0 && ask->state == LG_ASK_READY);
            used += (size_t)snprintf(script + used, room - used, "%s%s%s", a ? "+" : "",
                                     lg_ask_name(ask->kind), a + 1 < story->ask_count ? "" : " ");
            story->said[a] = rng ? any_allowed(ask, rng) : well(ask);
        }
    }
}

static void begin(struct lg_story *story, const struct lg_story_kind *kind, uint64_t seed,
                  uint64_t nonce, uint64_t number)
{
    lg_story_begin(story, kind, seed, nonce, number, USERS);
}

Test(story, only_the_scenarios_that_tell_stories_have_a_kind)
{
    for (size_t i = 0; i < SCENARIOS; i++)
        cr_assert_str_eq(kind_of(i)->scenario, scenarios[i]);
    cr_assert_null(lg_story_kind_of("seckill"));
    cr_assert_null(lg_story_kind_of(""));
}

Test(story, shares_are_of_a_hundred_and_each_path_is_taken_by_its_share)
{
    enum {
        STORIES = 20000
    };
    for (size_t s = 0; s < SCENARIOS; s++) {
        const struct lg_story_kind *kind = kind_of(s);
        uint32_t taken[LG_STORY_PATHS_MAX] = {0}, shares = 0;
        cr_assert(kind->path_count <= LG_STORY_PATHS_MAX);
        for (uint64_t number = 0; number < STORIES; number++) {
            struct lg_story story;
            begin(&story, kind, 1, 2, number);
            taken[story.path]++;
        }
        for (uint32_t i = 0; i < kind->path_count; i++) {
            double share = 100.0 * taken[i] / STORIES;
            cr_assert_float_eq(share, kind->paths[i].share, 1.5, "%s %s: %.1f", kind->scenario,
                               kind->paths[i].name, share);
            shares += kind->paths[i].share;
        }
        cr_assert_eq(shares, 100, "%s", kind->scenario);
    }
}

/* The whole script of each path, when all goes well. */
static const struct {
    const char *scenario, *path, *script;
} scripts[] = {
    {"lifecycle", "deliver", "place pay advance advance advance "},
    {"lifecycle", "cancel", "place cancel "},
    {"lifecycle", "pay_late", "place ~ pay "},
    {"lifecycle", "pay_twice", "place pay pay record_refund "},
    {"lifecycle", "pay_or_cancel", "place pay+cancel "},
    {"lifecycle", "wrong_amount", "place pay pay "},
    {"lifecycle", "refund_whole", "place pay request_refund approve_refund record_refund "},
    {"lifecycle", "refund_part", "place pay request_refund approve_refund record_refund "},
    {"lifecycle", "refund_rejected", "place pay request_refund reject_refund "},
    {"lifecycle", "extend", "place extend_payment ~ pay "},
    {"lifecycle", "refund_or_complete", "place pay advance advance request_refund+advance "},
    {"lifecycle", "leave_unpaid", "place "},
    {"cart", "refund_whole", "place_cart pay request_refund approve_refund record_refund "},
    {"cart", "cancel", "place_cart cancel "},
    {"cart", "pay_or_cancel", "place_cart pay+cancel "},
    {"cart", "pay_late", "place_cart ~ pay "},
    {"cart", "leave_unpaid", "place_cart "},
    {"ingest", "send_twice", "ingest ingest "},
    {"groupbuy", "fills", "open_team pay join_team pay join_team+join_team pay pay "},
    {"groupbuy", "member_leaves",
     "open_team pay join_team pay cancel join_team+join_team pay pay "},
    {"groupbuy", "captain_leaves", "open_team pay join_team+join_team pay cancel+pay "},
    {"groupbuy", "seat_expires", "open_team pay join_team ~ join_team+join_team pay pay pay "},
    {"groupbuy", "captain_unpaid", "open_team join_team ~ join_team "},
    {"groupbuy", "sole_captain_leaves", "open_team pay join_team cancel pay "},
    {"groupbuy", "never_fills", "open_team pay join_team pay "},
};

static const char *script_of(const char *scenario, const char *path)
{
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
        if (strcmp(scripts[i].scenario, scenario) == 0 && strcmp(scripts[i].path, path) == 0)
            return scripts[i].script;
    cr_assert_fail("%s %s is not in this test", scenario, path);
    return NULL;
}

Test(story, each_path_asks_for_what_its_script_says)
{
    for (size_t s = 0; s < SCENARIOS; s++) {
        const struct lg_story_kind *kind = kind_of(s);
        uint32_t seen = 0;
        for (uint64_t number = 0; number < 2000; number++) {
            struct lg_story story;
            char script[512];
            begin(&story, kind, 1, 2, number);
            const char *path = kind->paths[story.path].name;
            seen |= 1u << story.path;
            tell(&story, NULL, script, sizeof(script));
            cr_assert_str_eq(script, script_of(kind->scenario, path), "%s %s: %s", kind->scenario,
                             path, script);
        }
        cr_assert_eq(seen, (1u << kind->path_count) - 1, "%s", kind->scenario);
    }
}

Test(story, each_path_ends_whatever_a_server_may_answer)
{
    struct tg_rng rng;
    tg_rng_init(&rng, 20261122);
    for (size_t s = 0; s < SCENARIOS; s++) {
        for (uint64_t number = 0; number < 20000; number++) {
            struct lg_story story;
            char script[512];
            begin(&story, kind_of(s), 3, 4, number);
            tell(&story, &rng, script, sizeof(script));
        }
    }
}

Test(story, an_order_that_was_refused_ends_its_story)
{
    for (size_t s = 0; s < SCENARIOS; s++) {
        struct lg_story story;
        begin(&story, kind_of(s), 1, 2, 3);
        cr_assert_eq(lg_story_step(&story, &sale), LG_NEXT_ASK);
        story.said[0] = (struct lg_said){.verdict = TG_SOLD_OUT};
        story.step++;
        cr_assert_eq(lg_story_step(&story, &sale), LG_NEXT_END, "%s", scenarios[s]);
    }
}

/* Everything that is asked, but for what names the run. */
static uint64_t same_but_ids(struct lg_ask ask)
{
    uint64_t sum = 0;
    memset(ask.request_id, 0, sizeof(ask.request_id));
    const uint64_t words[] = {ask.kind,         ask.twice,      ask.user_id,
                              ask.item,         ask.quantity,   (uint64_t)ask.amount_minor,
                              ask.channel,      ask.line_count, ask.ingest_draw,
                              ask.ingest_count, ask.payment};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        sum = tg_mix64(sum + words[i] + TG_RNG_GOLDEN);
    for (uint32_t i = 0; i < ask.line_count; i++)
        sum = tg_mix64(sum + ((uint64_t)ask.lines[i].item << 32 | ask.lines[i].quantity));
    return sum;
}

Test(story, a_seed_fixes_everything_but_the_ids_of_a_run)
{
    for (size_t s = 0; s < SCENARIOS; s++) {
        uint32_t differ = 0;
        for (uint64_t number = 0; number < 200; number++) {
            struct lg_story one, other, third;
            begin(&one, kind_of(s), 7, 100, number);
            begin(&other, kind_of(s), 7, 200, number);
            begin(&third, kind_of(s), 8, 100, number);
            lg_story_step(&one, &sale);
            lg_story_step(&other, &sale);
            lg_story_step(&third, &sale);
            cr_assert_eq(one.path, other.path);
            cr_assert_eq(same_but_ids(one.asks[0]), same_but_ids(other.asks[0]));
            cr_assert_neq(memcmp(one.asks[0].request_id, other.asks[0].request_id, 16), 0);
            differ += same_but_ids(one.asks[0]) != same_but_ids(third.asks[0]);
        }
        cr_assert_gt(differ, 190, "%s: another seed asks for other things", scenarios[s]);
    }
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, TG_REQUEST_ID_BYTES);
}

Test(story, no_request_id_comes_twice_in_a_run)
{
    enum {
        STORIES = 3000
    };
    static uint8_t ids[STORIES * LG_STORY_STEPS_MAX * 2][TG_REQUEST_ID_BYTES];
    size_t count = 0;
    for (uint64_t number = 0; number < STORIES; number++) {
        struct lg_story story;
        begin(&story, kind_of(number % SCENARIOS), 1, 2, number);
        while (lg_story_step(&story, &sale) != LG_NEXT_END) {
            for (uint32_t a = 0; a < story.ask_count; a++) {
                memcpy(ids[count++], story.asks[a].request_id, TG_REQUEST_ID_BYTES);
                story.said[a] = well(&story.asks[a]);
            }
            story.step++;
        }
    }
    qsort(ids, count, sizeof(ids[0]), by_bytes);
    for (size_t i = 1; i < count; i++)
        cr_assert_neq(memcmp(ids[i - 1], ids[i], TG_REQUEST_ID_BYTES), 0);
}

Test(story, a_batch_is_sent_twice_with_the_same_orders)
{
    struct lg_story story;
    begin(&story, kind_of(3), 1, 2, 3);
    story.now_ms = 5000;
    lg_story_step(&story, &sale);
    struct lg_ask first = story.asks[0];
    story.said[0] = (struct lg_said){.verdict = TG_OK};
    story.step++;
    story.now_ms = 6000;
    cr_assert_eq(lg_story_step(&story, &sale), LG_NEXT_ASK);
    const struct lg_ask *second = &story.asks[0];
    cr_assert_eq(second->at_ms, first.at_ms);
    cr_assert_eq(second->ingest_name, first.ingest_name);
    cr_assert_eq(second->ingest_draw, first.ingest_draw);
    cr_assert_eq(second->ingest_count, first.ingest_count);
    cr_assert_eq(second->known, story.known);
}

Test(story, orders_that_stand_twice_in_a_batch_are_the_same)
{
    struct lg_ask ask = {.kind = LG_ASK_INGEST,
                         .ingest_draw = 99,
                         .ingest_name = 0xabc,
                         .ingest_count = LG_ASK_INGEST_MAX};
    uint32_t twice = 0;
    for (uint32_t i = 0; i < ask.ingest_count; i++) {
        struct lg_ingest_order order, own;
        lg_ask_ingest_order(&ask, i, ITEMS, &order);
        lg_ask_ingest_order(&ask, order.own, ITEMS, &own);
        twice += order.own != i;
        cr_assert(order.item < ITEMS && order.quantity >= 1 && order.channel >= 1);
        cr_assert_str_eq(order.external_id, own.external_id);
        cr_assert_eq(lg_ask_ingest_facts(&ask, i, &sale),
                     lg_ask_ingest_facts(&ask, order.own, &sale));
        if (i > 0 && order.own == i) {
            lg_ask_ingest_order(&ask, i - 1, ITEMS, &own);
            cr_assert_neq(strcmp(order.external_id, own.external_id), 0);
        }
    }
    cr_assert_eq(twice, LG_ASK_INGEST_MAX / 8);
}

Test(story, facts_tell_orders_apart_and_add_up_lines_of_one_sku)
{
    struct lg_ask ask = {
        .kind = LG_ASK_CART, .user_id = 5, .line_count = 3, .lines = {{0, 1}, {1, 2}, {0, 3}}};
    struct lg_ask merged = ask;
    merged.line_count = 2;
    merged.lines[0].quantity = 4;
    uint64_t facts = lg_ask_facts(&ask, &sale, 1);
    cr_assert_eq(facts, lg_ask_facts(&merged, &sale, 1));
    cr_assert_eq(lg_ask_amount(&ask, &sale), 4 * 100 + 2 * 200);
    merged.lines[1].quantity++;
    cr_assert_neq(facts, lg_ask_facts(&merged, &sale, 1));
    struct lg_ask other = ask;
    other.user_id++;
    cr_assert_neq(facts, lg_ask_facts(&other, &sale, 1));
    other = ask;
    other.channel++;
    cr_assert_neq(facts, lg_ask_facts(&other, &sale, 1));
    other = ask;
    other.request_id[3]++;
    cr_assert_neq(facts, lg_ask_facts(&other, &sale, 1));
    other = ask;
    other.kind = LG_ASK_OPEN_TEAM;
    other.quantity = 1;
    cr_assert_neq(lg_ask_facts(&other, &sale, 1), lg_ask_facts(&other, &sale, 2));
}
