/* Faults that the engine had once: one test for each, which failed before its repair. */
#include "tests/lib/ledger.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    WINDOW_MS = 900000,
    LIFETIME_MS = 3600000,
};

/* The captain's unit is sold at once and has no deadline of its own: only the team's ends it. */
static struct eng_item *sold_on_place(struct ledger *ledger)
{
    struct tg_sale_def *def = ledger_group_buy(1, 1);
    def->items[0].stock_policy = TG_POLICY_ON_PLACE;
    return ledger_add(ledger, def);
}

/* docs/group-buy.md: FAILED is what becomes of a team that was OPEN. */
Test(engine_regressions, a_team_that_never_opened_is_dissolved_at_its_deadline)
{
    struct ledger *ledger = ledger_create(1);
    struct eng_item *item = sold_on_place(ledger);
    uint64_t team = ledger_opened(ledger, item, 1);
    ledger_wait(ledger, LIFETIME_MS + 100);
    cr_assert_eq(ledger_team(ledger, team)->state, TG_TEAM_DISSOLVED);
    cr_assert_eq(ledger_state(ledger, team), TG_ORDER_CANCELLED);
    cr_assert_eq(ledger->events[TG_EVENT_TEAM_DISSOLVED], 1);
    cr_assert_eq(ledger->events[TG_EVENT_TEAM_FAILED], 0);
    cr_assert_eq(eng_item_stock(item).available_units, 10);
    ledger_check_rest(ledger);
    ledger_destroy(ledger);
}

/* The end of such a team is refused by a full disk: it comes again. */
Test(engine_regressions, a_dissolution_that_the_storage_refuses_comes_again)
{
    struct ledger *ledger = ledger_create(1);
    uint64_t team = ledger_opened(ledger, sold_on_place(ledger), 1);
    ledger->now_ms += LIFETIME_MS + 100;
    ledger_fire(ledger);
    ledger_run(ledger, false);
    ledger_check_rest(ledger);
    cr_assert_eq(ledger_team(ledger, team)->state, TG_TEAM_PENDING);
    ledger_wait(ledger, 1100);
    cr_assert_eq(ledger_team(ledger, team)->state, TG_TEAM_DISSOLVED);
    ledger_check_rest(ledger);
    ledger_destroy(ledger);
}

/* Each extension sets a timer; the one before it was set again for the new deadline as well, so an
 * order that was extended often kept them all, and the wheel filled up. */
Test(engine_regressions, an_extended_order_keeps_one_timer)
{
    struct ledger *ledger = ledger_create(1);
    struct eng_item *item = ledger_add(ledger, ledger_sale(1, 1));
    uint64_t order = ledger_buy(ledger, item, 1);
    int64_t deadline_ms = ledger->now_ms + WINDOW_MS;
    uint32_t timers = eng_wheel_count(ledger->engine.shards[0].wheel);
    for (int i = 1; i <= 10; i++) {
        struct eng_command command = ledger_command(ledger, order, ENG_EXTEND_PAYMENT);
        command.payment_deadline_ms = deadline_ms + (i < 10 ? i : 60000);
        cr_assert_eq(ledger_do(ledger, &command), TG_OK);
    }
    ledger_wait(ledger, WINDOW_MS + 1000); /* the sale's start is announced as well */
    cr_assert_eq(ledger_state(ledger, order), TG_ORDER_RESERVED);
    cr_assert_leq(eng_wheel_count(ledger->engine.shards[0].wheel), timers);
    ledger_wait(ledger, 60000);
    cr_assert_eq(ledger_state(ledger, order), TG_ORDER_EXPIRED);
    ledger_check_rest(ledger);
    ledger_destroy(ledger);
}

/* The sweep had dropped what is counted for a closed sale, and others had taken the room; the next
 * start counted it again and found the table full. */
Test(engine_regressions, the_teams_of_a_closed_sale_take_no_room_at_a_start)
{
    struct ledger *ledger = ledger_create(1);
    struct tg_sale_def *def = ledger_group_buy(1, 1);
    def->team.teams_per_user_max = 1;
    struct eng_item *item = ledger_add(ledger, def);
    uint64_t team = ledger_opened(ledger, item, 1);
    struct eng_holdings *holdings = &ledger->engine.shards[0].holdings;
    bool changes;
    struct tg_fault fault;
    cr_assert_eq(eng_sale_state_decide(item->sale, TG_SALE_CLOSED, &changes), TG_OK);
    eng_sale_state_settle(item->sale, TG_SALE_CLOSED, true);
    for (int i = 0; i < 100 && holdings->count > 0; i++)
        eng_shard_sweep(&ledger->engine.shards[0], ledger->now_ms);
    cr_assert_eq(holdings->count, 0);
    cr_assert_eq(eng_engine_restore_team(&ledger->engine, ledger_team(ledger, team), &fault),
                 TG_ERR_OK);
    cr_assert_eq(holdings->count, 0);
    ledger_destroy(ledger);
}

/* --- limits after the end of a sale --- */

static struct eng_item *one_each(struct ledger *ledger)
{
    struct tg_sale_def *def = ledger_sale(1, 1);
    def->items[0].per_user_limit = 1;
    def->payment_window_s = 60;
    return ledger_add(ledger, def);
}

/* A whole round, so long after the end of the sale. */
static void sweep_after_end(struct ledger *ledger, const struct eng_item *item, int64_t after_ms)
{
    ledger->now_ms = item->ends_at_ms + after_ms;
    for (int call = 0; call < 16; call++)
        eng_shard_sweep(&ledger->engine.shards[0], ledger->now_ms);
}

/* An order of user 1 that has expired; another of the same user was paid since. */
static uint64_t expired_beside_paid(struct ledger *ledger, struct eng_item *item)
{
    uint64_t first = ledger_buy(ledger, item, 1);
    ledger_wait(ledger, 61000);
    cr_assert_eq(ledger_pay(ledger, ledger_buy(ledger, item, 1), 1), TG_OK);
    cr_assert_eq(ledger_state(ledger, first), TG_ORDER_EXPIRED);
    return first;
}

/* What was counted was forgotten when the sale ended, and a late payment then beat the limit. */
Test(engine_regressions, a_late_payment_meets_the_limit_after_the_sale)
{
    struct ledger *ledger = ledger_create(1);
    struct eng_item *item = one_each(ledger);
    uint64_t order = expired_beside_paid(ledger, item);
    sweep_after_end(ledger, item, 1);
    cr_assert_eq(ledger_pay(ledger, order, 2), TG_REFUND_DUE);
    ledger_destroy(ledger);
}

/* When nobody knows any more what the user holds, the money goes back. */
Test(engine_regressions, a_late_payment_goes_back_when_the_limit_is_forgotten)
{
    struct ledger *ledger = ledger_create(1);
    struct eng_item *item = one_each(ledger);
    uint64_t order = expired_beside_paid(ledger, item);
    sweep_after_end(ledger, item, ENG_COUNTS_KEPT_MS);
    cr_assert_eq(ledger->engine.shards[0].holdings.count, 0);
    struct eng_command command = ledger_payment(ledger, order, 2);
    struct eng_result result;
    cr_assert_eq(ledger_change(ledger, &command, &result), ENG_RECORDED);
    cr_assert_eq(result.verdict, TG_REFUND_DUE);
    ledger_destroy(ledger);
}

/* An order that channel 5 took in the window of the sale, told of now. */
static enum tg_verdict ingest_in_window(struct ledger *ledger, struct eng_item *item,
                                        uint8_t number)
{
    struct tg_order order = ledger_order_of(ledger, 1, 100);
    struct eng_unit unit = {.journal = &ledger->journals[0]};
    struct eng_decision decision;
    order.channel = 5;
    order.external_id = &number;
    order.external_bytes = 1;
    eng_ingest_id(order.channel, order.external_id, order.external_bytes, order.request_id);
    if (eng_ingest(&ledger->engine.shards[0], item, &order, LEDGER_START_MS, NULL, ledger->now_ms,
                   &unit, &decision) == ENG_RECORDED)
        tg_journal_append_unit(unit.journal, unit.count);
    ledger_commit(ledger, 0, true);
    ledger_settle(ledger, 0);
    return decision.verdict;
}

Test(engine_regressions, an_ingested_order_meets_the_limit_after_the_sale)
{
    struct ledger *ledger = ledger_create(1);
    struct eng_item *item = one_each(ledger);
    cr_assert_eq(ingest_in_window(ledger, item, 1), TG_ACCEPTED);
    sweep_after_end(ledger, item, 1);
    cr_assert_eq(ingest_in_window(ledger, item, 2), TG_LIMIT_REACHED);
    cr_assert_eq(ingest_in_window(ledger, item, 1), TG_ACCEPTED, "a repeat");
    sweep_after_end(ledger, item, ENG_COUNTS_KEPT_MS);
    cr_assert_eq(ingest_in_window(ledger, item, 2), TG_ENDED);
    ledger_destroy(ledger);
}

/* --- carts over two shards --- */

/* A retry that meets the hold of the first copy is refused by that shard (the user's limit). When
 * the first is accepted meanwhile, its answer is what the retry gets: so the caller asks again,
 * also with ENG_NOT_TAKEN, before it answers from the holds. */
Test(engine_regressions, a_cart_that_was_refused_a_hold_may_have_been_accepted_meanwhile)
{
    struct ledger *ledger = ledger_create(2);
    struct tg_sale_def *def = ledger_sale(1, 2);
    def->items[0].per_user_limit = def->items[1].per_user_limit = 1;
    struct eng_item *item = ledger_add(ledger, def);
    struct eng_shard *home = &ledger->engine.shards[0];
    struct eng_shard *other = &ledger->engine.shards[1];
    struct eng_cart cart = {.request_id = {1}, .user_id = 9, .asked_count = 2, .line_count = 2};
    for (uint8_t i = 0; i < TG_ORDER_LINES_MAX; i++)
        cart.wrong[i] = TG_ACCEPTED;
    for (uint8_t i = 0; i < 2; i++) {
        cart.line_of[i] = i;
        cart.lines[i] = (struct tg_line){item[i].item, 1, 100};
    }
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    struct eng_decision decision;
    struct eng_take take, unused;
    struct eng_unit unit = {.journal = &ledger->journals[0]};
    int64_t now_ms = ledger->now_ms;
    cr_assert_eq(
        eng_cart_place(home, &cart, ENG_NOT_ASKED, now_ms, &unit, &take, &decision, refusals),
        ENG_ACQUIRE);
    cr_assert(eng_take_hold(home, &take, now_ms, refusals));
    cr_assert_not(eng_take_hold(home, &take, now_ms, refusals), "the retry's");
    cr_assert_eq(refusals[0], TG_LIMIT_REACHED);
    cr_assert(eng_take_hold(other, &take, now_ms, refusals));
    cr_assert_eq(
        eng_cart_place(home, &cart, ENG_TAKEN, now_ms, &unit, &unused, &decision, refusals),
        ENG_RECORDED);
    tg_journal_append_unit(unit.journal, unit.count);
    unit.count = 0;
    cr_assert_eq(
        eng_cart_place(home, &cart, ENG_NOT_TAKEN, now_ms, &unit, &unused, &decision, refusals),
        ENG_FINAL);
    cr_assert(decision.replayed && decision.in_flight);
    ledger_run(ledger, true);
    ledger_check_rest(ledger);
    ledger_destroy(ledger);
}
