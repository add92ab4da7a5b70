/* The outbox as its consumer judges it: a history that is in order passes, and each test breaks one
 * thing of it. */
#include "loadgen/feed.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    BEHIND = 100,
    EVENTS_MAX = 64
};

static struct lg_ledger ledger;
static struct lg_feed feed;
/* The outbox: events from BEHIND + 1 on. */
static Tidegate__V1__Event events[EVENTS_MAX];
static uint64_t event_count;

static void open_feed(void)
{
    cr_assert(lg_ledger_init(&ledger));
    lg_feed_begin(&feed, &ledger, BEHIND);
}

static void close_feed(void)
{
    lg_ledger_fini(&ledger);
}

TestSuite(feed, .init = open_feed, .fini = close_feed);

static uint64_t next_sequence(void)
{
    return BEHIND + event_count + 1;
}

static Tidegate__V1__Event *add(int type, uint64_t order_id)
{
    Tidegate__V1__Event *event = &events[event_count];
    tidegate__v1__event__init(event);
    event->sequence = next_sequence();
    event->type = (Tidegate__V1__EventType)type;
    event->order_id = order_id;
    event_count++;
    return event;
}

/* Places an order; returns its id. */
static uint64_t placed(void)
{
    uint64_t order_id = next_sequence() << TG_PARTITION_BITS | 3;
    add(TG_EVENT_ORDER_PLACED, order_id);
    return order_id;
}

static void add_money(int type, uint64_t order_id, int64_t amount_minor)
{
    add(type, order_id)->amount_minor = amount_minor;
}

static void add_team(int type, uint64_t team_id)
{
    add(type, team_id)->team_id = team_id;
}

/* A page of `count` events behind `behind`, asked for with `after`. */
static bool read_from(uint64_t after, uint64_t behind, uint64_t count)
{
    Tidegate__V1__Event *pointers[EVENTS_MAX];
    Tidegate__V1__ConsumeEventsResponse page = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    for (uint64_t i = 0; i < count; i++)
        pointers[i] = &events[behind - BEHIND + i];
    page.verdict = (Tidegate__V1__Verdict)TG_OK;
    page.events = pointers;
    page.n_events = count;
    page.next_sequence = count ? pointers[count - 1]->sequence : behind;
    page.last_sequence = BEHIND + event_count;
    page.offset = feed.offset;
    return lg_feed_page(&feed, after, &page);
}

static void read_all(void)
{
    uint64_t behind = feed.sequence;
    cr_assert(read_from(behind, behind, BEHIND + event_count - behind));
}

static void ack(void)
{
    Tidegate__V1__AckEventsResponse answer = TIDEGATE__V1__ACK_EVENTS_RESPONSE__INIT;
    lg_feed_asks_ack(&feed);
    answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    answer.offset = feed.sequence;
    lg_feed_acked(&feed, &answer);
}

#define expect_clean() cr_assert(lg_feed_ok(&feed.findings), "%s", feed.findings.example)
#define expect_only(what, count)                                                                   \
    do {                                                                                           \
        cr_assert_eq(feed.findings.what, (count), "%s", feed.findings.example);                    \
        cr_assert_not(lg_feed_ok(&feed.findings));                                                 \
        cr_assert_eq(feed.findings.missing + feed.findings.altered + feed.findings.impossible +    \
                         feed.findings.regressions,                                                \
                     (uint64_t)(count), "%s", feed.findings.example);                              \
        cr_assert(feed.findings.example[0]);                                                       \
    } while (0)

Test(feed, whole_lives_pass_and_are_told_to_the_ledger)
{
    uint64_t delivered = placed(), refunded = placed(), late = placed();
    add(TG_EVENT_ORDER_PAID, delivered);
    add(TG_EVENT_ORDER_CONFIRMED, delivered);
    add(TG_EVENT_ORDER_EXPIRED, late);
    add(TG_EVENT_ORDER_SHIPPED, delivered);
    add(TG_EVENT_PAYMENT_REFUSED, refunded);
    add(TG_EVENT_ORDER_PAID, refunded);
    add(TG_EVENT_ORDER_CONFIRMED, refunded);
    add_money(TG_EVENT_REFUND_REQUESTED, refunded, 70);
    add_money(TG_EVENT_REFUND_DUE, refunded, 70);
    add(TG_EVENT_ORDER_REFUND_DUE, refunded);
    add_money(TG_EVENT_REFUND_RECORDED, refunded, 70);
    add(TG_EVENT_ORDER_REFUNDED, refunded);
    add(TG_EVENT_ORDER_PAID, late);
    add(TG_EVENT_ORDER_CONFIRMED, late);
    add(TG_EVENT_SALE_STARTED, 0)->sale_id = 1;
    read_all();
    expect_clean();
    cr_assert_eq(feed.findings.events, event_count);
    cr_assert_eq(lg_ledger_find(&ledger, delivered)->told_state, TG_ORDER_SHIPPED);
    cr_assert_eq(lg_ledger_find(&ledger, late)->told_state, TG_ORDER_CONFIRMED);
    const struct lg_order_entry *entry = lg_ledger_find(&ledger, refunded);
    cr_assert_eq(entry->told_state, TG_ORDER_REFUNDED);
    cr_assert_eq(entry->told_due_minor, 70);
    cr_assert_eq(entry->told_refunded_minor, 70);
    cr_assert_eq(entry->last_sequence, BEHIND + 15);
}

Test(feed, a_team_from_its_opening_to_its_forming_passes)
{
    uint64_t captain = placed();
    add(TG_EVENT_ORDER_PAID, captain);
    add(TG_EVENT_ORDER_AWAITING_TEAM, captain);
    add_team(TG_EVENT_TEAM_OPENED, captain);
    uint64_t member = placed();
    add(TG_EVENT_ORDER_PAID, member);
    add(TG_EVENT_ORDER_AWAITING_TEAM, member);
    add(TG_EVENT_ORDER_CONFIRMED, member);
    add(TG_EVENT_ORDER_CONFIRMED, captain);
    add_team(TG_EVENT_TEAM_CAPTAIN_CHANGED, captain);
    add_team(TG_EVENT_TEAM_FORMED, captain);
    read_all();
    expect_clean();
    cr_assert_eq(lg_ledger_find(&ledger, captain)->told_team_state, TG_TEAM_STATE_FORMED);
    cr_assert_eq(lg_ledger_find(&ledger, captain)->last_sequence, BEHIND + 9,
                 "a team's event is not its captain's order's");
}

Test(feed, only_events_of_acknowledged_orders_count_as_own)
{
    uint64_t own = placed(), foreign = placed();
    lg_ledger_entry(&ledger, own)->deeds = LG_DEED_PLACED;
    add(TG_EVENT_ORDER_CANCELLED, own);
    add(TG_EVENT_ORDER_CANCELLED, foreign);
    read_all();
    cr_assert_eq(feed.own_events, 2);
}

/* --- density --- */

Test(feed, a_gap_at_the_beginning_of_a_page_is_found)
{
    placed();
    placed();
    read_from(BEHIND, BEHIND + 1, 1);
    expect_only(missing, 1);
}

Test(feed, a_gap_within_a_page_is_found)
{
    placed();
    placed();
    placed();
    events[1].sequence++; /* and the third twice: out of order */
    events[2].sequence++;
    events[1].order_id = events[1].sequence << TG_PARTITION_BITS;
    events[2].order_id = events[2].sequence << TG_PARTITION_BITS;
    read_all();
    expect_only(missing, 1);
}

Test(feed, events_that_are_passed_over_without_a_word_are_found)
{
    placed();
    Tidegate__V1__ConsumeEventsResponse page = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    page.verdict = (Tidegate__V1__Verdict)TG_OK;
    page.offset = BEHIND;
    page.next_sequence = page.last_sequence = BEHIND + 1;
    cr_assert(lg_feed_page(&feed, BEHIND, &page));
    expect_only(missing, 1);
    cr_assert_eq(feed.sequence, BEHIND + 1, "it goes on behind them");
}

Test(feed, events_dropped_before_they_were_acked_are_found)
{
    Tidegate__V1__ConsumeEventsResponse page = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    page.verdict = (Tidegate__V1__Verdict)TG_EVENTS_DROPPED;
    page.first_sequence = BEHIND + 10;
    cr_assert_not(lg_feed_page(&feed, BEHIND, &page));
    expect_only(missing, 1);
}

/* --- again --- */

Test(feed, what_comes_again_the_same_is_no_fault)
{
    placed();
    placed();
    read_all();
    ack();
    placed();
    read_all();
    cr_assert(read_from(0, BEHIND + 2, 1)); /* behind the last ack */
    expect_clean();
    cr_assert_eq(feed.findings.repeated, 1);
    cr_assert_eq(feed.findings.events, 3);
}

Test(feed, what_comes_again_with_other_facts_is_found)
{
    placed();
    placed();
    read_all();
    events[1].at_ms++;
    read_from(0, BEHIND, 2);
    expect_only(altered, 1);
}

Test(feed, a_group_that_skips_what_was_not_acked_is_found)
{
    placed();
    placed();
    placed();
    read_all();
    read_from(0, BEHIND + 1, 2);
    expect_only(missing, 1);
}

Test(feed, an_ack_without_an_answer_may_have_been_done_or_not)
{
    placed();
    placed();
    read_all();
    lg_feed_asks_ack(&feed); /* the connection went */
    placed();
    cr_assert(read_from(0, BEHIND, 3));
    expect_clean();
    cr_assert(read_from(0, BEHIND + 2, 1));
    expect_clean();
}

Test(feed, what_was_acked_for_sure_does_not_come_again)
{
    placed();
    placed();
    read_all();
    ack();
    read_from(0, BEHIND + 1, 1);
    expect_only(missing, 1);
}

/* --- going back --- */

Test(feed, an_offset_that_goes_back_is_found_in_a_page)
{
    placed();
    read_all();
    ack();
    Tidegate__V1__ConsumeEventsResponse page = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    page.verdict = (Tidegate__V1__Verdict)TG_OK;
    page.offset = BEHIND;
    page.next_sequence = page.last_sequence = BEHIND + 1;
    lg_feed_page(&feed, feed.sequence, &page);
    expect_only(regressions, 1);
}

Test(feed, an_offset_that_goes_back_is_found_in_an_ack)
{
    placed();
    read_all();
    ack();
    Tidegate__V1__AckEventsResponse answer = TIDEGATE__V1__ACK_EVENTS_RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    answer.offset = BEHIND;
    lg_feed_acked(&feed, &answer);
    expect_only(regressions, 1);
}

Test(feed, an_ack_that_was_refused_moves_nothing)
{
    placed();
    read_all();
    Tidegate__V1__AckEventsResponse answer = TIDEGATE__V1__ACK_EVENTS_RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)TG_STORAGE_FULL;
    lg_feed_asks_ack(&feed);
    lg_feed_acked(&feed, &answer);
    expect_clean();
    cr_assert_eq(feed.offset, BEHIND);
}

Test(feed, a_newest_event_that_goes_back_is_found)
{
    placed();
    placed();
    read_all();
    event_count--;
    read_from(feed.sequence, feed.sequence, 0);
    expect_only(regressions, 1);
}

Test(feed, a_group_that_is_gone_is_found)
{
    Tidegate__V1__ConsumeEventsResponse page = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    page.verdict = (Tidegate__V1__Verdict)TG_UNKNOWN_GROUP;
    cr_assert_not(lg_feed_page(&feed, BEHIND, &page));
    expect_only(regressions, 1);
}

Test(feed, another_verdict_is_no_finding_and_no_page)
{
    Tidegate__V1__ConsumeEventsResponse page = TIDEGATE__V1__CONSUME_EVENTS_RESPONSE__INIT;
    page.verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
    cr_assert_not(lg_feed_page(&feed, BEHIND, &page));
    expect_clean();
}

/* --- what cannot happen --- */

Test(feed, each_step_that_is_not_in_the_diagram_is_found)
{
    /* The events that lead to a state, and what may come next, by docs/order-life.md. */
    static const int all[] = {
        TG_EVENT_ORDER_PLACED,      TG_EVENT_ORDER_PAID,       TG_EVENT_ORDER_AWAITING_TEAM,
        TG_EVENT_ORDER_CONFIRMED,   TG_EVENT_ORDER_SHIPPED,    TG_EVENT_ORDER_DELIVERED,
        TG_EVENT_ORDER_COMPLETED,   TG_EVENT_ORDER_EXPIRED,    TG_EVENT_ORDER_CANCELLED,
        TG_EVENT_ORDER_TEAM_FAILED, TG_EVENT_ORDER_REFUND_DUE, TG_EVENT_ORDER_REFUNDED};
#define MAY(event) (1ull << TG_EVENT_ORDER_##event)
    static const struct {
        int path[8];
        uint64_t may;
    } cases[] = {
        {{TG_EVENT_ORDER_PLACED}, MAY(PAID) | MAY(EXPIRED) | MAY(CANCELLED)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID}, MAY(AWAITING_TEAM) | MAY(CONFIRMED)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID, TG_EVENT_ORDER_AWAITING_TEAM},
         MAY(CONFIRMED) | MAY(CANCELLED) | MAY(TEAM_FAILED)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID, TG_EVENT_ORDER_CONFIRMED},
         MAY(SHIPPED) | MAY(REFUND_DUE)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID, TG_EVENT_ORDER_CONFIRMED,
          TG_EVENT_ORDER_SHIPPED},
         MAY(DELIVERED) | MAY(REFUND_DUE)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID, TG_EVENT_ORDER_CONFIRMED,
          TG_EVENT_ORDER_SHIPPED, TG_EVENT_ORDER_DELIVERED},
         MAY(COMPLETED) | MAY(REFUND_DUE)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID, TG_EVENT_ORDER_CONFIRMED,
          TG_EVENT_ORDER_SHIPPED, TG_EVENT_ORDER_DELIVERED, TG_EVENT_ORDER_COMPLETED},
         0},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_EXPIRED}, MAY(PAID) | MAY(REFUND_DUE)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_CANCELLED}, MAY(REFUND_DUE)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID, TG_EVENT_ORDER_AWAITING_TEAM,
          TG_EVENT_ORDER_TEAM_FAILED},
         MAY(REFUND_DUE)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_CANCELLED, TG_EVENT_ORDER_REFUND_DUE},
         MAY(REFUNDED)},
        {{TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_CANCELLED, TG_EVENT_ORDER_REFUND_DUE,
          TG_EVENT_ORDER_REFUNDED},
         MAY(REFUND_DUE)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t next = 1; next < sizeof(all) / sizeof(all[0]); next++) {
            lg_ledger_fini(&ledger);
            event_count = 0;
            open_feed();
            uint64_t order_id = placed();
            for (size_t step = 1; step < 8 && cases[i].path[step]; step++)
                add(cases[i].path[step], order_id);
            read_all();
            expect_clean();
            add(all[next], order_id);
            read_all();
            cr_assert_eq(feed.findings.impossible, !(cases[i].may >> all[next] & 1), "case %zu, %s",
                         i, tg_event_type_name(all[next]));
        }
    }
}

Test(feed, an_order_that_was_not_placed_has_no_events)
{
    uint64_t order_id = next_sequence() << TG_PARTITION_BITS;
    add(TG_EVENT_PAYMENT_REFUSED, order_id);
    read_all();
    expect_only(impossible, 1);
}

Test(feed, an_order_of_before_the_group_is_not_judged)
{
    add(TG_EVENT_ORDER_DELIVERED, 5 << TG_PARTITION_BITS);
    add_team(TG_EVENT_TEAM_FORMED, 5 << TG_PARTITION_BITS);
    read_all();
    expect_clean();
}

Test(feed, a_placing_that_does_not_stand_where_the_id_says_is_found)
{
    add(TG_EVENT_ORDER_PLACED, (next_sequence() + 5) << TG_PARTITION_BITS);
    read_all();
    expect_only(impossible, 1);
}

Test(feed, an_event_of_no_type_or_of_nothing_is_found)
{
    placed();
    events[0].type = (Tidegate__V1__EventType)TG_EVENT_TYPE_COUNT;
    read_all();
    expect_only(impossible, 1);
    add(TG_EVENT_ORDER_PAID, 0);
    read_all();
    expect_only(impossible, 2);
    add(TG_EVENT_TEAM_OPENED, 1 << TG_PARTITION_BITS);
    read_all();
    expect_only(impossible, 3);
}

Test(feed, a_team_that_ended_stays_as_it_is)
{
    static const int ends[] = {TG_EVENT_TEAM_FORMED, TG_EVENT_TEAM_FAILED, TG_EVENT_TEAM_DISSOLVED};
    uint64_t wrong = 0;
    for (int end = 0; end < 3; end++) {
        for (int then = 0; then < 3; then++) {
            uint64_t team_id = placed();
            add_team(TG_EVENT_TEAM_OPENED, team_id);
            add_team(ends[end], team_id);
            add_team(ends[then], team_id);
            read_all();
            wrong++;
            expect_only(impossible, wrong);
        }
    }
}

Test(feed, a_team_that_was_not_open_does_not_form)
{
    uint64_t team_id = placed();
    add_team(TG_EVENT_TEAM_FORMED, team_id);
    read_all();
    expect_only(impossible, 1);
}
