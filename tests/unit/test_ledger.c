/* The ledger of what was acknowledged, and the account that fills it: each answer that a right
 * server cannot give is found, and none that it can give is blamed. */
#include "loadgen/account.h"

#include <criterion/criterion.h>
#include <string.h>

/* --- the ledger --- */

Test(ledger, keeps_every_entry_as_it_grows)
{
    struct lg_ledger ledger;
    cr_assert(lg_ledger_init(&ledger));
    for (uint64_t id = 1; id <= 50000; id++) {
        struct lg_order_entry *entry = lg_ledger_entry(&ledger, id << 10 | 7);
        entry->deeds = (uint32_t)id;
    }
    cr_assert_eq(ledger.count, 50000);
    for (uint64_t id = 1; id <= 50000; id++) {
        const struct lg_order_entry *entry = lg_ledger_find(&ledger, id << 10 | 7);
        if (!entry || entry->deeds != id)
            cr_assert_fail("entry %llu is lost", (unsigned long long)id);
    }
    cr_assert_null(lg_ledger_find(&ledger, 6));
    cr_assert_null(lg_ledger_find(&ledger, 0));
    cr_assert_eq(lg_ledger_entry(&ledger, 1 << 10 | 7)->deeds, 1);
    cr_assert_eq(ledger.count, 50000);
    lg_ledger_fini(&ledger);
}

Test(ledger, forgets_what_was_read_back_and_nothing_else)
{
    struct lg_ledger ledger;
    cr_assert(lg_ledger_init(&ledger));
    *lg_ledger_entry(&ledger, 5) = (struct lg_order_entry){
        .order_id = 5, .deeds = LG_DEED_PAID, .told_state = 3, .seen = true, .seated = true};
    lg_ledger_unsee(&ledger);
    const struct lg_order_entry *entry = lg_ledger_find(&ledger, 5);
    cr_assert(!entry->seen && !entry->seated);
    cr_assert(entry->deeds == LG_DEED_PAID && entry->told_state == 3);
    lg_ledger_fini(&ledger);
}

/* --- the account --- */

enum {
    ITEMS = 2
};
static const char skus[ITEMS][TG_SKU_BYTES_MAX + 1] = {"A", "B"};
static const int64_t prices[ITEMS] = {100, 200};
static const struct lg_ask_sale sale = {.sale_id = 1,
                                        .item_count = ITEMS,
                                        .skus = skus,
                                        .price_minor = prices,
                                        .captain_price_minor = prices,
                                        .refusals = 1ull << TG_SOLD_OUT};
static struct lg_ledger ledger;
static struct lg_stats stats;
static struct lg_account account;

static void open_account(void)
{
    cr_assert(lg_ledger_init(&ledger));
    account = (struct lg_account){.ledger = &ledger, .sale = &sale, .stats = &stats};
}

static void close_account(void)
{
    lg_ledger_fini(&ledger);
}

TestSuite(account, .init = open_account, .fini = close_account);

static struct lg_ask placing(void)
{
    return (struct lg_ask){.kind = LG_ASK_PLACE,
                           .user_id = 9,
                           .quantity = 2,
                           .allowed = lg_verdict_bit(TG_ACCEPTED) | sale.refusals};
}

static struct lg_ask changing(enum lg_ask_kind kind)
{
    return (struct lg_ask){.kind = (uint8_t)kind,
                           .order_id = 1024,
                           .payment = LG_PAYMENT_FIRST,
                           .allowed = lg_verdict_bit(TG_OK) | lg_verdict_bit(TG_REFUND_DUE)};
}

static enum lg_heard hear(struct lg_ask *ask, int verdict, uint64_t order_id, bool replayed)
{
    ask->said = (struct lg_said){.verdict = verdict, .order_id = order_id, .replayed = replayed};
    return lg_account_hear(&account, ask);
}

static uint32_t deeds_of(uint64_t order_id)
{
    const struct lg_order_entry *entry = lg_ledger_find(&ledger, order_id);
    return entry ? entry->deeds : 0;
}

Test(account, an_accepted_order_is_noted_with_all_that_it_is)
{
    struct lg_ask ask = placing();
    cr_assert_eq(hear(&ask, TG_ACCEPTED, 1024, false), LG_HEARD_DONE);
    const struct lg_order_entry *entry = lg_ledger_find(&ledger, 1024);
    cr_assert_eq(entry->deeds, LG_DEED_PLACED);
    cr_assert_eq(entry->amount_minor, 200);
    cr_assert_eq(entry->facts, lg_ask_facts(&ask, &sale, 1024));
    cr_assert_eq(stats.offered, 1);
    cr_assert_eq(stats.verdicts[TG_ACCEPTED], 1);
    cr_assert_eq(account.requests[LG_ASK_PLACE][TG_ACCEPTED], 1);
    cr_assert_eq(stats.wrong_answers, 0);
}

Test(account, a_refusal_is_counted_and_nothing_is_noted)
{
    struct lg_ask ask = placing();
    cr_assert_eq(hear(&ask, TG_SOLD_OUT, 0, false), LG_HEARD_DONE);
    cr_assert_eq(ledger.count, 0);
    cr_assert_eq(stats.verdicts[TG_SOLD_OUT], 1);
    cr_assert_eq(stats.wrong_answers, 0);
}

Test(account, an_answer_that_is_not_allowed_is_wrong)
{
    struct lg_ask ask = placing();
    hear(&ask, TG_PAUSED, 0, false);
    cr_assert_eq(stats.wrong_answers, 1);
    cr_assert(strstr(account.complaint, "place") && strstr(account.complaint, "PAUSED"), "%s",
              account.complaint);
}

Test(account, an_answer_of_no_verdict_is_an_error_and_wrong)
{
    struct lg_ask ask = changing(LG_ASK_PAY);
    hear(&ask, TG_UNSPECIFIED, 1024, false);
    cr_assert_eq(stats.errors, 1);
    cr_assert_eq(stats.wrong_answers, 1);
}

Test(account, an_order_accepted_without_an_id_is_wrong)
{
    struct lg_ask ask = placing();
    hear(&ask, TG_ACCEPTED, 0, false);
    cr_assert_eq(stats.wrong_answers, 1);
    cr_assert_eq(ledger.count, 0);
}

Test(account, two_orders_of_one_id_are_wrong)
{
    struct lg_ask one = placing(), other = placing();
    hear(&one, TG_ACCEPTED, 1024, false);
    hear(&other, TG_ACCEPTED, 1024, false);
    cr_assert_eq(stats.wrong_answers, 1);
}

Test(account, a_replay_needs_a_reason)
{
    struct lg_ask ask = placing(), resent = placing();
    hear(&ask, TG_ACCEPTED, 1024, true);
    cr_assert_eq(stats.wrong_answers, 1);
    resent.resent = true;
    hear(&resent, TG_ACCEPTED, 2048, true);
    cr_assert_eq(stats.wrong_answers, 1);
}

Test(account, busy_is_no_answer)
{
    struct lg_ask ask = placing();
    cr_assert_eq(hear(&ask, TG_BUSY, 0, false), LG_HEARD_BUSY);
    cr_assert(stats.busy == 1 && stats.offered == 0 && stats.wrong_answers == 0);
    cr_assert_eq(hear(&ask, TG_ACCEPTED, 1024, false), LG_HEARD_DONE);
    cr_assert_eq(stats.offered, 1);
}

Test(account, what_was_acknowledged_is_noted_by_kind)
{
    static const struct {
        enum lg_ask_kind kind;
        uint32_t payment;
        int verdict, advance_to;
        uint32_t deed;
    } cases[] = {
        {LG_ASK_PAY, LG_PAYMENT_FIRST, TG_OK, 0, LG_DEED_PAID},
        {LG_ASK_PAY, LG_PAYMENT_FIRST, TG_REFUND_DUE, 0, LG_DEED_PAID_DUE},
        {LG_ASK_PAY, LG_PAYMENT_SECOND, TG_REFUND_DUE, 0, LG_DEED_SECOND_DUE},
        {LG_ASK_PAY, LG_PAYMENT_WRONG, TG_AMOUNT_MISMATCH, 0, LG_DEED_MISMATCH},
        {LG_ASK_PAY, LG_PAYMENT_FIRST, TG_STORAGE_FULL, 0, 0},
        {LG_ASK_CANCEL, 0, TG_OK, 0, LG_DEED_CANCELLED},
        {LG_ASK_CANCEL, 0, TG_ALREADY_PAID, 0, 0},
        {LG_ASK_EXTEND, 0, TG_OK, 0, LG_DEED_EXTENDED},
        {LG_ASK_REQUEST_REFUND, 0, TG_OK, 0, LG_DEED_REFUND_ASKED},
        {LG_ASK_APPROVE_REFUND, 0, TG_OK, 0, LG_DEED_REFUND_APPROVED},
        {LG_ASK_REJECT_REFUND, 0, TG_OK, 0, LG_DEED_REFUND_REJECTED},
        {LG_ASK_RECORD_REFUND, 0, TG_OK, 0, LG_DEED_REFUND_RECORDED},
        {LG_ASK_ADVANCE, 0, TG_OK, TG_ORDER_SHIPPED, LG_DEED_SHIPPED},
        {LG_ASK_ADVANCE, 0, TG_OK, TG_ORDER_DELIVERED, LG_DEED_DELIVERED},
        {LG_ASK_ADVANCE, 0, TG_OK, TG_ORDER_COMPLETED, LG_DEED_COMPLETED},
        {LG_ASK_ADVANCE, 0, TG_REFUND_PENDING, TG_ORDER_COMPLETED, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lg_ask ask = changing(cases[i].kind);
        ask.order_id = (i + 1) << 10;
        ask.payment = cases[i].payment;
        ask.advance_to = cases[i].advance_to;
        ask.at_ms = 77;
        ask.allowed = UINT64_MAX;
        hear(&ask, cases[i].verdict, ask.order_id, false);
        cr_assert_eq(deeds_of(ask.order_id), cases[i].deed, "case %zu", i);
    }
    cr_assert_eq(lg_ledger_find(&ledger, 8 << 10)->deadline_ms, 77);
    cr_assert_eq(stats.wrong_answers, 0);
    cr_assert(account.storage_was_full);
}

Test(account, a_refund_is_noted_under_its_number)
{
    struct lg_ask ask = changing(LG_ASK_REQUEST_REFUND);
    ask.said = (struct lg_said){.verdict = TG_OK, .order_id = 1024, .refund_number = 3};
    lg_account_hear(&account, &ask);
    cr_assert_eq(lg_ledger_find(&ledger, 1024)->refund_number, 3);
}

/* Asks twice, with `second` as the answer to the second time. */
static void ask_twice(enum lg_ask_kind kind, struct lg_said first, struct lg_said second)
{
    struct lg_ask ask = kind == LG_ASK_PLACE ? placing() : changing(kind);
    ask.twice = true;
    ask.said = first;
    cr_assert_eq(lg_account_hear(&account, &ask), LG_HEARD_TWICE);
    ask.said = second;
    cr_assert_eq(lg_account_hear(&account, &ask), LG_HEARD_DONE);
    cr_assert_eq(ask.said.verdict, first.verdict, "the story goes on with the first answer");
    cr_assert_eq(stats.retries_checked, 1);
}

Test(account, the_first_answer_again_is_right)
{
    ask_twice(LG_ASK_PLACE, (struct lg_said){TG_ACCEPTED, false, 1024, 0},
              (struct lg_said){TG_ACCEPTED, true, 1024, 0});
    cr_assert(stats.retries_wrong == 0 && stats.wrong_answers == 0 && stats.offered == 1);
}

Test(account, a_second_order_for_one_request_is_wrong)
{
    ask_twice(LG_ASK_PLACE, (struct lg_said){TG_ACCEPTED, false, 1024, 0},
              (struct lg_said){TG_ACCEPTED, true, 2048, 0});
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, another_verdict_the_second_time_is_wrong)
{
    ask_twice(LG_ASK_PAY, (struct lg_said){TG_OK, false, 1024, 0},
              (struct lg_said){TG_ALREADY_PAID, true, 1024, 0});
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, another_refund_the_second_time_is_wrong)
{
    ask_twice(LG_ASK_REQUEST_REFUND, (struct lg_said){TG_OK, false, 1024, 1},
              (struct lg_said){TG_OK, true, 1024, 2});
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, done_again_instead_of_replayed_is_wrong)
{
    ask_twice(LG_ASK_CANCEL, (struct lg_said){TG_OK, false, 1024, 0},
              (struct lg_said){TG_OK, false, 1024, 0});
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, what_was_refused_is_not_asked_twice)
{
    struct lg_ask ask = placing();
    ask.twice = true;
    cr_assert_eq(hear(&ask, TG_SOLD_OUT, 0, false), LG_HEARD_DONE);
}

Test(account, an_answer_takes_what_counts_from_the_wire)
{
    struct lg_ask ask = changing(LG_ASK_PAY);
    Tidegate__V1__ChangeOrderResponse change = TIDEGATE__V1__CHANGE_ORDER_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER;
    response.change_order = &change;
    change.verdict = (Tidegate__V1__Verdict)TG_REFUND_DUE;
    change.refund_number = 2;
    change.replayed = 1;
    lg_ask_take(&ask, &response);
    cr_assert(ask.said.verdict == TG_REFUND_DUE && ask.said.refund_number == 2 &&
              ask.said.replayed);
    static const int unknown[] = {-1, TG_VERDICT_COUNT, 1 << 30};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        change.verdict = (Tidegate__V1__Verdict)unknown[i];
        lg_ask_take(&ask, &response);
        cr_assert_eq(ask.said.verdict, TG_UNSPECIFIED);
    }
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ERROR;
    lg_ask_take(&ask, &response);
    cr_assert_eq(ask.said.verdict, TG_UNSPECIFIED);
}

/* --- batches --- */

enum {
    BATCH = 8 /* the last is the one before it again */
};
static struct lg_known known[LG_ASK_INGEST_MAX];

static struct lg_ask batch(void)
{
    return (struct lg_ask){.kind = LG_ASK_INGEST,
                           .ingest_draw = 5,
                           .ingest_name = 6,
                           .ingest_count = BATCH,
                           .known = known,
                           .allowed = lg_verdict_bit(TG_OK)};
}

/* Answers all orders ACCEPTED, under ids from 1 << 10 on. */
static void accept_all(struct lg_ask *ask, bool replayed)
{
    ask->said = (struct lg_said){.verdict = TG_OK};
    for (uint32_t i = 0; i < BATCH; i++)
        ask->ingested[i] = (struct lg_said){
            .verdict = TG_ACCEPTED, .order_id = (i + 1ull) << 10, .replayed = replayed};
    ask->ingested[BATCH - 1] = ask->ingested[BATCH - 2];
    ask->ingested[BATCH - 1].replayed = true;
}

static void hear_batch_twice(void (*spoil)(struct lg_ask *second))
{
    struct lg_ask first = batch(), second = batch();
    accept_all(&first, false);
    lg_account_hear(&account, &first);
    accept_all(&second, true);
    if (spoil)
        spoil(&second);
    lg_account_hear(&account, &second);
}

Test(account, a_batch_notes_each_order_once)
{
    hear_batch_twice(NULL);
    cr_assert_eq(ledger.count, BATCH - 1);
    cr_assert_eq(stats.offered, BATCH - 1);
    cr_assert_eq(stats.verdicts[TG_ACCEPTED], BATCH - 1);
    cr_assert_eq(stats.retries_checked, BATCH);
    cr_assert_eq(stats.retries_wrong + stats.wrong_answers, 0, "%s", account.complaint);
    struct lg_ask ask = batch();
    struct lg_ingest_order order;
    for (uint32_t i = 0; i < BATCH - 1; i++) {
        const struct lg_order_entry *entry = lg_ledger_find(&ledger, (i + 1ull) << 10);
        lg_ask_ingest_order(&ask, i, ITEMS, &order);
        cr_assert_eq(entry->facts, lg_ask_ingest_facts(&ask, i, &sale));
        cr_assert_eq(entry->deeds, LG_DEED_INGESTED | (order.paid ? (uint32_t)LG_DEED_PAID : 0));
    }
}

static void other_id(struct lg_ask *second)
{
    second->ingested[2].order_id = 99 << 10;
}

static void not_replayed(struct lg_ask *second)
{
    second->ingested[2].replayed = false;
}

static void refused(struct lg_ask *second)
{
    second->ingested[2] = (struct lg_said){.verdict = TG_SOLD_OUT};
}

Test(account, an_ingested_order_under_another_id_is_wrong)
{
    hear_batch_twice(other_id);
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, an_ingested_order_taken_anew_is_wrong)
{
    hear_batch_twice(not_replayed);
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, an_ingested_order_refused_later_is_wrong)
{
    hear_batch_twice(refused);
    cr_assert_eq(stats.retries_wrong, 1);
}

Test(account, twins_of_a_batch_that_become_two_orders_are_wrong)
{
    struct lg_ask ask = batch();
    accept_all(&ask, false);
    ask.ingested[BATCH - 1].order_id = 99 << 10;
    lg_account_hear(&account, &ask);
    cr_assert_eq(stats.wrong_answers, 1);
}

Test(account, twins_of_a_batch_that_are_both_new_are_wrong)
{
    struct lg_ask ask = batch();
    accept_all(&ask, false);
    ask.ingested[BATCH - 1].replayed = false;
    lg_account_hear(&account, &ask);
    cr_assert_eq(stats.wrong_answers, 1);
}

Test(account, an_order_of_a_batch_may_be_refused_and_accepted_later)
{
    struct lg_ask first = batch(), second = batch();
    accept_all(&first, false);
    first.ingested[2] = (struct lg_said){.verdict = TG_SOLD_OUT};
    lg_account_hear(&account, &first);
    accept_all(&second, true);
    second.ingested[2].replayed = false;
    lg_account_hear(&account, &second);
    cr_assert_eq(stats.retries_wrong + stats.wrong_answers, 0, "%s", account.complaint);
    cr_assert_eq(stats.accepted_on_retry, 1);
    cr_assert_eq(stats.offered, BATCH - 1);
    cr_assert_eq(deeds_of(3 << 10) & LG_DEED_INGESTED, LG_DEED_INGESTED);
}

Test(account, a_batch_that_is_partly_busy_comes_again_and_is_counted_once)
{
    struct lg_ask ask = batch();
    accept_all(&ask, false);
    ask.ingested[2] = (struct lg_said){.verdict = TG_BUSY};
    ask.said.verdict = TG_BUSY; /* as lg_ask_take says */
    cr_assert_eq(lg_account_hear(&account, &ask), LG_HEARD_BUSY);
    accept_all(&ask, true);
    ask.ingested[2].replayed = false;
    cr_assert_eq(lg_account_hear(&account, &ask), LG_HEARD_DONE);
    cr_assert_eq(stats.offered, BATCH - 1);
    cr_assert_eq(stats.verdicts[TG_ACCEPTED], BATCH - 1);
    cr_assert_eq(stats.retries_wrong + stats.wrong_answers, 0, "%s", account.complaint);
    cr_assert_eq(ledger.count, BATCH - 1);
}

Test(account, a_batch_that_is_busy_as_a_whole_blames_nobody)
{
    struct lg_ask ask = batch();
    Tidegate__V1__IngestOrdersResponse ingest = TIDEGATE__V1__INGEST_ORDERS_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS;
    response.ingest_orders = &ingest;
    ingest.verdict = (Tidegate__V1__Verdict)TG_BUSY;
    lg_ask_take(&ask, &response);
    cr_assert_eq(lg_account_hear(&account, &ask), LG_HEARD_BUSY);
    cr_assert(stats.offered == 0 && stats.wrong_answers == 0, "%s", account.complaint);
}

Test(account, a_batch_with_too_few_results_is_wrong)
{
    struct lg_ask ask = batch();
    Tidegate__V1__IngestOrdersResponse ingest = TIDEGATE__V1__INGEST_ORDERS_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS;
    response.ingest_orders = &ingest;
    ingest.verdict = (Tidegate__V1__Verdict)TG_OK;
    lg_ask_take(&ask, &response);
    lg_account_hear(&account, &ask);
    cr_assert_eq(stats.wrong_answers, 1);
}

Test(account, an_ingested_order_answered_what_cannot_be_is_wrong)
{
    struct lg_ask ask = batch();
    accept_all(&ask, false);
    ask.ingested[2] = (struct lg_said){.verdict = TG_REQUEST_ID_CONFLICT};
    lg_account_hear(&account, &ask);
    cr_assert_eq(stats.wrong_answers, 1);
}
