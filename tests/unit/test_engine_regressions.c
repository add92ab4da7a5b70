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
