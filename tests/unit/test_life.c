/* The life of one order: every change, its retries, and the races of two changes in both orders.
 * tests/unit/test_life_fuzz.c plays thousands of random ones. */
#include "tests/lib/ledger.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    PRICE = 100,
    WINDOW_MS = 900000,
};

struct world {
    struct ledger *ledger;
    struct eng_item *items; /* RESERVE, ON_PLACE, ON_PAYMENT; the last one has 1 unit */
    uint64_t order;         /* of the first one */
};

static struct world world_make(void)
{
    struct world world = {.ledger = ledger_create(1)};
    struct tg_sale_def *def = ledger_sale(1, 3);
    def->items[1].stock_policy = TG_POLICY_ON_PLACE;
    def->items[2].stock_policy = TG_POLICY_ON_PAYMENT;
    def->items[2].stock_units = 1;
    def->refund_auto_max_minor = 20;
    world.items = ledger_add(world.ledger, def);
    world.order = ledger_buy(world.ledger, &world.items[0], 1);
    return world;
}

static void world_free(struct world *world)
{
    ledger_check_rest(world->ledger);
    ledger_destroy(world->ledger);
}

static uint32_t available(const struct eng_item *item)
{
    return eng_item_stock(item).available_units;
}

static enum tg_verdict advance(struct world *world, uint64_t order, enum tg_order_state to)
{
    struct eng_command command = ledger_command(world->ledger, order, ENG_ADVANCE);
    command.advance_to = (uint8_t)to;
    return ledger_do(world->ledger, &command);
}

static enum tg_verdict refund(struct world *world, int64_t amount, bool restock)
{
    struct eng_command command = ledger_command(world->ledger, world->order, ENG_REQUEST_REFUND);
    command.refund.amount_minor = amount;
    command.refund.restock = restock;
    return ledger_do(world->ledger, &command);
}

static enum tg_verdict numbered(struct world *world, enum eng_change_kind kind, uint32_t number)
{
    struct eng_command command = ledger_command(world->ledger, world->order, kind);
    command.refund_number = number;
    return ledger_do(world->ledger, &command);
}

static enum tg_verdict extend(struct world *world, int64_t deadline_ms)
{
    struct eng_command command = ledger_command(world->ledger, world->order, ENG_EXTEND_PAYMENT);
    command.payment_deadline_ms = deadline_ms;
    return ledger_do(world->ledger, &command);
}

/* --- the way through --- */

Test(life, goes_from_payment_to_completion)
{
    struct world world = world_make();
    cr_assert_eq(ledger_pay(world.ledger, world.order, 1), TG_OK);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_CONFIRMED);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_NOT_SHIPPED);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_DELIVERED), TG_NOT_SHIPPED);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_SHIPPED), TG_OK);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_SHIPPED), TG_ALREADY_SHIPPED);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_NOT_DELIVERED);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_DELIVERED), TG_OK);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_OK);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_ALREADY_COMPLETED);
    const struct tg_life *life = ledger_life(world.ledger, world.order);
    cr_assert_eq(life->version, 4);
    cr_assert_eq(life->payment_deadline_ms, 0);
    cr_assert_eq(life->completed_at_ms, world.ledger->now_ms);
    cr_assert_eq(eng_item_stock(&world.items[0]).sold_units, 1);
    world_free(&world);
}

Test(life, writes_each_step_as_an_event)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    const uint64_t *events = world.ledger->events;
    cr_assert_eq(events[TG_EVENT_ORDER_PAID], 1);
    cr_assert_eq(events[TG_EVENT_ORDER_CONFIRMED], 1);
    ledger_pay(world.ledger, world.order, 2);
    cr_assert_eq(events[TG_EVENT_ORDER_PAID], 1);
    cr_assert_eq(events[TG_EVENT_REFUND_DUE], 1);
    cr_assert_eq(events[TG_EVENT_ORDER_REFUND_DUE], 0);
    cr_assert_eq(ledger_life(world.ledger, world.order)->last_event, world.ledger->sequence);
    world_free(&world);
}

Test(life, times_of_steps_never_go_back)
{
    struct world world = world_make();
    int64_t accepted_at_ms = world.ledger->now_ms;
    world.ledger->now_ms -= 5000;
    ledger_pay(world.ledger, world.order, 1);
    cr_assert_eq(ledger_life(world.ledger, world.order)->confirmed_at_ms, accepted_at_ms);
    world_free(&world);
}

Test(life, cancels_an_unpaid_order_and_returns_its_units)
{
    struct world world = world_make();
    cr_assert_eq(available(&world.items[0]), 9);
    cr_assert_eq(ledger_cancel(world.ledger, world.order), TG_OK);
    cr_assert_eq(available(&world.items[0]), 10);
    const struct tg_life *life = ledger_life(world.ledger, world.order);
    cr_assert_eq(life->cancelled_by, TG_CANCELLED_BY_BUYER);
    cr_assert_eq(life->state, TG_ORDER_CANCELLED);
    cr_assert_eq(ledger_cancel(world.ledger, world.order), TG_ALREADY_CANCELLED);
    world_free(&world);
}

Test(life, a_paid_order_is_not_cancelled)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    cr_assert_eq(ledger_cancel(world.ledger, world.order), TG_ALREADY_PAID);
    world_free(&world);
}

Test(life, an_unknown_order_is_told)
{
    struct world world = world_make();
    cr_assert_eq(ledger_cancel(world.ledger, world.order + TG_PARTITIONS), TG_UNKNOWN_ORDER);
    world_free(&world);
}

Test(life, what_cannot_be_read_is_not_decided)
{
    struct world world = world_make();
    struct eng_command command = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    world.ledger->unreadable = true;
    cr_assert_eq(ledger_change(world.ledger, &command, &result), ENG_LOAD_FAILED);
    ledger_check_rest(world.ledger);
    world.ledger->now_ms += WINDOW_MS;
    cr_assert_eq(ledger_fire(world.ledger), 1); /* the sale's start; the order's timer waits */
    world.ledger->unreadable = false;
    ledger_wait(world.ledger, 1100);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_EXPIRED);
    world_free(&world);
}

/* --- policies --- */

Test(life, an_order_that_sells_at_once_has_no_deadline)
{
    struct world world = world_make();
    uint64_t order = ledger_buy(world.ledger, &world.items[1], 1);
    cr_assert_eq(eng_item_stock(&world.items[1]).sold_units, 1);
    cr_assert_eq(ledger_life(world.ledger, order)->payment_deadline_ms, 0);
    ledger_wait(world.ledger, 10ll * WINDOW_MS);
    cr_assert_eq(ledger_state(world.ledger, order), TG_ORDER_RESERVED);
    cr_assert_eq(ledger_cancel(world.ledger, order), TG_OK);
    cr_assert_eq(available(&world.items[1]), 10);
    world_free(&world);
}

Test(life, a_payment_that_finds_no_unit_goes_back)
{
    struct world world = world_make();
    uint64_t first = ledger_buy(world.ledger, &world.items[2], 1);
    uint64_t second = ledger_buy(world.ledger, &world.items[2], 2);
    cr_assert_eq(available(&world.items[2]), 1);
    cr_assert_eq(ledger_pay(world.ledger, second, 1), TG_OK);
    cr_assert_eq(ledger_pay(world.ledger, first, 1), TG_REFUND_DUE);
    cr_assert_eq(ledger_state(world.ledger, first), TG_ORDER_REFUND_DUE);
    cr_assert_eq(ledger_life(world.ledger, first)->refunds[0].cause, TG_REFUND_LATE_PAYMENT);
    cr_assert_eq(ledger_state(world.ledger, second), TG_ORDER_CONFIRMED);
    cr_assert_eq(available(&world.items[2]), 0);
    world_free(&world);
}

/* --- time --- */

Test(life, an_unpaid_order_expires_at_its_deadline)
{
    struct world world = world_make();
    ledger_wait(world.ledger, WINDOW_MS - 1000);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_RESERVED);
    ledger_wait(world.ledger, 1100);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_EXPIRED);
    cr_assert_eq(available(&world.items[0]), 10);
    cr_assert_eq(ledger_cancel(world.ledger, world.order), TG_EXPIRED);
    world_free(&world);
}

Test(life, an_extended_payment_expires_later)
{
    struct world world = world_make();
    int64_t deadline_ms = world.ledger->now_ms + WINDOW_MS;
    cr_assert_eq(extend(&world, deadline_ms), TG_INVALID_ARGUMENT);
    cr_assert_eq(extend(&world, deadline_ms + 31ll * 24 * 3600 * 1000), TG_INVALID_ARGUMENT);
    cr_assert_eq(extend(&world, deadline_ms + 5000), TG_OK);
    ledger_wait(world.ledger, WINDOW_MS + 1000);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_RESERVED);
    ledger_wait(world.ledger, 5000);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_EXPIRED);
    cr_assert_eq(extend(&world, deadline_ms + 900000), TG_EXPIRED);
    world_free(&world);
}

Test(life, an_expiry_that_the_storage_refuses_comes_again)
{
    struct world world = world_make();
    world.ledger->now_ms += WINDOW_MS + 100;
    cr_assert_eq(ledger_fire(world.ledger), 2); /* and the sale's start */
    ledger_run(world.ledger, false);
    ledger_check_rest(world.ledger);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_RESERVED);
    ledger_wait(world.ledger, 1100);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_EXPIRED);
    cr_assert_eq(world.ledger->events[TG_EVENT_SALE_STARTED], 1);
    world_free(&world);
}

Test(life, a_sale_announces_its_window_once)
{
    struct world world = world_make();
    for (int i = 0; i < 3; i++)
        ledger_wait(world.ledger, 24ll * 3600 * 1000);
    cr_assert_eq(world.ledger->events[TG_EVENT_SALE_STARTED], 1);
    cr_assert_eq(world.ledger->events[TG_EVENT_SALE_ENDED], 1);
    world_free(&world);
}

/* --- payments --- */

Test(life, a_payment_is_known_by_its_id_and_its_facts)
{
    struct world world = world_make();
    struct eng_command command = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    ledger_do(world.ledger, &command);
    struct eng_command again = ledger_payment(world.ledger, world.order, 1);
    cr_assert_eq(ledger_change(world.ledger, &again, &result), ENG_FINAL);
    cr_assert(result.verdict == TG_OK && result.replayed);
    again.payment.paid_at_ms++;
    cr_assert_eq(ledger_change(world.ledger, &again, &result), ENG_FINAL);
    cr_assert_eq(result.verdict, TG_PAYMENT_CONFLICT);
    world_free(&world);
}

Test(life, a_payment_of_the_wrong_amount_is_recorded_as_refused)
{
    struct world world = world_make();
    struct eng_command wrong = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    wrong.payment.amount_minor--;
    cr_assert_eq(ledger_do(world.ledger, &wrong), TG_AMOUNT_MISMATCH);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_RESERVED);
    cr_assert_eq(ledger_life(world.ledger, world.order)->received_minor, 0);
    cr_assert_eq(ledger_change(world.ledger, &wrong, &result), ENG_FINAL);
    cr_assert(result.verdict == TG_AMOUNT_MISMATCH && result.replayed);
    wrong.request_id[15]++; /* another request, the same payment */
    cr_assert_eq(ledger_change(world.ledger, &wrong, &result), ENG_FINAL);
    cr_assert(result.verdict == TG_AMOUNT_MISMATCH && result.replayed);
    struct eng_command currency = ledger_payment(world.ledger, world.order, 2);
    memcpy(currency.payment.currency, "USD", TG_CURRENCY_BYTES);
    cr_assert_eq(ledger_do(world.ledger, &currency), TG_CURRENCY_MISMATCH);
    cr_assert_eq(world.ledger->events[TG_EVENT_PAYMENT_REFUSED], 2);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 3), TG_OK);
    world_free(&world);
}

Test(life, every_payment_that_goes_back_names_its_refund)
{
    struct world world = world_make();
    struct eng_result result;
    ledger_pay(world.ledger, world.order, 1);
    refund(&world, 10, false); /* number 1 is none of them */
    for (uint8_t number = 2; number <= 4; number++)
        cr_assert_eq(ledger_pay(world.ledger, world.order, number), TG_REFUND_DUE);
    struct eng_command again = ledger_payment(world.ledger, world.order, 3);
    cr_assert_eq(ledger_change(world.ledger, &again, &result), ENG_FINAL);
    cr_assert(result.replayed && result.verdict == TG_REFUND_DUE);
    cr_assert_eq(result.refund_number, 3);
    world_free(&world);
}

Test(life, a_late_payment_is_honoured_while_there_are_units)
{
    struct world world = world_make();
    ledger_wait(world.ledger, WINDOW_MS + 100);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 1), TG_OK);
    const struct tg_life *life = ledger_life(world.ledger, world.order);
    cr_assert_eq(life->state, TG_ORDER_CONFIRMED);
    cr_assert_eq(life->payments[0].status, TG_PAYMENT_LATE);
    cr_assert_eq(available(&world.items[0]), 9);
    world_free(&world);
}

Test(life, a_late_payment_without_units_goes_back)
{
    struct world world = world_make();
    ledger_wait(world.ledger, WINDOW_MS + 100);
    struct tg_order rest = ledger_order_of(world.ledger, 2, PRICE);
    rest.quantity = 10;
    ledger_place(world.ledger, &world.items[0], &rest);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 1), TG_REFUND_DUE);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_REFUND_DUE);
    cr_assert_eq(numbered(&world, ENG_RECORD_REFUND, 1), TG_OK);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_REFUNDED);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 2), TG_REFUND_DUE);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_REFUND_DUE);
    cr_assert_eq(ledger_life(world.ledger, world.order)->refunds[1].cause,
                 TG_REFUND_SECOND_PAYMENT);
    world_free(&world);
}

Test(life, a_payment_of_a_cancelled_order_goes_back)
{
    struct world world = world_make();
    ledger_cancel(world.ledger, world.order);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 1), TG_REFUND_DUE);
    const struct tg_life *life = ledger_life(world.ledger, world.order);
    cr_assert_eq(life->state, TG_ORDER_REFUND_DUE);
    cr_assert_eq(life->refunds[0].cause, TG_REFUND_LATE_PAYMENT);
    world_free(&world);
}

Test(life, an_order_holds_sixteen_payments)
{
    struct world world = world_make();
    for (uint8_t number = 1; number <= TG_ORDER_PAYMENTS_MAX; number++)
        cr_assert_eq(ledger_pay(world.ledger, world.order, number),
                     number == 1 ? TG_OK : TG_REFUND_DUE);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 17), TG_ORDER_FULL);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 16), TG_REFUND_DUE);
    world_free(&world);
}

/* 16 of them would not fit int64. */
Test(life, the_payments_of_an_order_have_a_bound)
{
    struct world world = world_make();
    struct tg_sale_def *def = ledger_sale(2, 1);
    def->items[0].list_price_minor = TG_PRICE_MINOR_MAX;
    def->items[0].sale_price_minor = TG_PRICE_MINOR_MAX;
    def->items[0].stock_units = TG_QUANTITY_MAX;
    struct eng_item *item = ledger_add(world.ledger, def);
    struct tg_order order = ledger_order_of(world.ledger, 1, TG_PRICE_MINOR_MAX);
    order.quantity = TG_QUANTITY_MAX;
    cr_assert_eq(ledger_place(world.ledger, item, &order).verdict, TG_ACCEPTED);
    ledger_run(world.ledger, true);
    uint64_t id = world.ledger->orders[1].row.order_id;
    cr_assert_eq(ledger_pay(world.ledger, id, 1), TG_OK);
    cr_assert_eq(ledger_pay(world.ledger, id, 2), TG_ORDER_FULL);
    world_free(&world);
}

/* --- refunds --- */

Test(life, a_refund_is_asked_for_approved_and_recorded)
{
    struct world world = world_make();
    cr_assert_eq(refund(&world, 0, false), TG_NOT_PAID);
    ledger_pay(world.ledger, world.order, 1);
    cr_assert_eq(refund(&world, 101, false), TG_REFUND_EXCEEDS_PAID);
    cr_assert_eq(refund(&world, 60, false), TG_OK);
    cr_assert_eq(refund(&world, 41, false), TG_REFUND_EXCEEDS_PAID);
    cr_assert_eq(numbered(&world, ENG_APPROVE_REFUND, 2), TG_UNKNOWN_REFUND);
    cr_assert_eq(numbered(&world, ENG_RECORD_REFUND, 1), TG_REFUND_STATUS);
    cr_assert_eq(numbered(&world, ENG_APPROVE_REFUND, 1), TG_OK);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_CONFIRMED);
    cr_assert_eq(numbered(&world, ENG_APPROVE_REFUND, 1), TG_REFUND_STATUS);
    cr_assert_eq(refund(&world, 0, false), TG_OK); /* the 40 that are left */
    cr_assert_eq(ledger_life(world.ledger, world.order)->refunds[1].amount_minor, 40);
    cr_assert_eq(numbered(&world, ENG_APPROVE_REFUND, 2), TG_OK);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_REFUND_DUE);
    cr_assert_eq(numbered(&world, ENG_RECORD_REFUND, 2), TG_OK);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_REFUND_DUE);
    cr_assert_eq(numbered(&world, ENG_RECORD_REFUND, 1), TG_OK);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_REFUNDED);
    cr_assert_eq(eng_item_stock(&world.items[0]).sold_units, 1); /* nobody said restock */
    world_free(&world);
}

Test(life, small_refunds_are_due_at_once)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    cr_assert_eq(refund(&world, 20, false), TG_OK);
    cr_assert_eq(ledger_life(world.ledger, world.order)->refund_due_minor, 20);
    cr_assert_eq(refund(&world, 21, false), TG_OK);
    cr_assert_eq(ledger_life(world.ledger, world.order)->refund_due_minor, 20);
    world_free(&world);
}

Test(life, a_rejected_refund_can_be_asked_for_again)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    refund(&world, 0, false);
    cr_assert_eq(numbered(&world, ENG_REJECT_REFUND, 1), TG_OK);
    cr_assert_eq(numbered(&world, ENG_APPROVE_REFUND, 1), TG_REFUND_STATUS);
    cr_assert_eq(refund(&world, 0, false), TG_OK);
    world_free(&world);
}

Test(life, a_whole_refund_gives_units_back_when_it_says_so)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    cr_assert_eq(refund(&world, 50, true), TG_INVALID_ARGUMENT);
    cr_assert_eq(refund(&world, 0, true), TG_OK);
    cr_assert_eq(available(&world.items[0]), 9);
    cr_assert_eq(numbered(&world, ENG_APPROVE_REFUND, 1), TG_OK);
    cr_assert_eq(available(&world.items[0]), 10);
    world_free(&world);
}

Test(life, is_not_completed_while_a_refund_is_pending)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    refund(&world, 50, false);
    advance(&world, world.order, TG_ORDER_SHIPPED);
    advance(&world, world.order, TG_ORDER_DELIVERED);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_REFUND_PENDING);
    numbered(&world, ENG_APPROVE_REFUND, 1);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_REFUND_PENDING);
    numbered(&world, ENG_RECORD_REFUND, 1);
    cr_assert_eq(advance(&world, world.order, TG_ORDER_COMPLETED), TG_OK);
    cr_assert_eq(refund(&world, 0, false), TG_ALREADY_COMPLETED);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 2), TG_REFUND_DUE);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_COMPLETED);
    world_free(&world);
}

Test(life, requests_leave_room_for_a_payment_that_goes_back)
{
    struct world world = world_make();
    ledger_pay(world.ledger, world.order, 1);
    for (int i = 0; i < TG_ORDER_REFUNDS_MAX - 1; i++)
        cr_assert_eq(refund(&world, 1, false), TG_OK);
    cr_assert_eq(refund(&world, 1, false), TG_ORDER_FULL);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 2), TG_REFUND_DUE);
    cr_assert_eq(ledger_pay(world.ledger, world.order, 3), TG_ORDER_FULL);
    world_free(&world);
}

/* --- retries --- */

Test(life, a_retry_waits_for_the_first_and_gets_its_answer)
{
    struct world world = world_make();
    struct eng_command command = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    cr_assert_eq(ledger_change(world.ledger, &command, &result), ENG_RECORDED);
    cr_assert_eq(ledger_change(world.ledger, &command, &result), ENG_WAIT);
    ledger_commit(world.ledger, 0, true); /* durable, and not settled */
    cr_assert_eq(ledger_change(world.ledger, &command, &result), ENG_WAIT);
    ledger_settle(world.ledger, 0);
    cr_assert_eq(ledger_change(world.ledger, &command, &result), ENG_FINAL);
    cr_assert(result.verdict == TG_OK && result.replayed);
    world_free(&world);
}

Test(life, a_retry_of_what_was_refused_is_decided_anew)
{
    struct world world = world_make();
    struct eng_command command = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    ledger_change(world.ledger, &command, &result);
    ledger_run(world.ledger, false);
    ledger_check_rest(world.ledger);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_RESERVED);
    cr_assert_eq(ledger_change(world.ledger, &command, &result), ENG_RECORDED);
    cr_assert_not(result.replayed);
    ledger_run(world.ledger, true);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_CONFIRMED);
    world_free(&world);
}

Test(life, one_id_with_two_bodies_is_a_conflict)
{
    struct world world = world_make();
    struct eng_command pay = ledger_payment(world.ledger, world.order, 1);
    struct eng_command cancel = ledger_command(world.ledger, world.order, ENG_CANCEL);
    struct eng_result result;
    ledger_do(world.ledger, &pay);
    memcpy(cancel.request_id, pay.request_id, TG_REQUEST_ID_BYTES);
    cr_assert_eq(ledger_change(world.ledger, &cancel, &result), ENG_FINAL);
    cr_assert_eq(result.verdict, TG_REQUEST_ID_CONFLICT);
    world_free(&world);
}

Test(life, remembers_the_last_sixteen_changes)
{
    struct world world = world_make();
    struct eng_command first = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    ledger_do(world.ledger, &first);
    for (int i = 0; i < TG_ORDER_COMMANDS_MAX - 1; i++) {
        cr_assert_eq(refund(&world, 1, false), TG_OK);
        cr_assert_eq(ledger_change(world.ledger, &first, &result), ENG_FINAL);
        cr_assert(result.replayed && result.verdict == TG_OK);
    }
    struct eng_command reject = ledger_command(world.ledger, world.order, ENG_RECORD_REFUND);
    reject.refund_number = 1;
    cr_assert_eq(ledger_do(world.ledger, &reject), TG_OK); /* the seventeenth */
    cr_assert_eq(ledger_life(world.ledger, world.order)->command_count, TG_ORDER_COMMANDS_MAX);
    first.payment.paid_at_ms++; /* its request id is forgotten, its payment is not */
    ledger_change(world.ledger, &first, &result);
    cr_assert_eq(result.verdict, TG_PAYMENT_CONFLICT);
    cr_assert_eq(ledger_change(world.ledger, &reject, &result), ENG_FINAL);
    cr_assert(result.replayed && result.refund_number == 1);
    world_free(&world);
}

/* Stored by one build and read by the next. */
Test(life, fingerprints_are_the_same_in_every_build)
{
    struct world world = world_make();
    struct eng_command cancel = ledger_command(world.ledger, world.order, ENG_CANCEL);
    cancel.cancelled_by = TG_CANCELLED_BY_MERCHANT;
    ledger_do(world.ledger, &cancel);
    cr_assert_eq(ledger_life(world.ledger, world.order)->commands[0].fingerprint,
                 0x4656e2422d12515d);
    world_free(&world);
}

/* --- races: both orders of two changes, the second while the first is in flight --- */

/* Sends `first` and, in its flight, `second`, which must wait; then both are decided. */
static void race(struct world *world, const struct eng_command *first,
                 const struct eng_command *second, enum tg_verdict verdicts[2])
{
    struct eng_result result;
    cr_assert_eq(ledger_change(world->ledger, first, &result), ENG_RECORDED);
    verdicts[0] = result.verdict;
    cr_assert_eq(ledger_change(world->ledger, second, &result), ENG_WAIT);
    ledger_run(world->ledger, true);
    ledger_check_rest(world->ledger);
    verdicts[1] = ledger_do(world->ledger, second);
}

Test(life_race, cancel_then_pay)
{
    struct world world = world_make();
    struct eng_command cancel = ledger_command(world.ledger, world.order, ENG_CANCEL);
    struct eng_command pay = ledger_payment(world.ledger, world.order, 1);
    enum tg_verdict verdicts[2];
    race(&world, &cancel, &pay, verdicts);
    cr_assert(verdicts[0] == TG_OK && verdicts[1] == TG_REFUND_DUE);
    cr_assert_eq(available(&world.items[0]), 10);
    world_free(&world);
}

Test(life_race, pay_then_cancel)
{
    struct world world = world_make();
    struct eng_command cancel = ledger_command(world.ledger, world.order, ENG_CANCEL);
    struct eng_command pay = ledger_payment(world.ledger, world.order, 1);
    enum tg_verdict verdicts[2];
    race(&world, &pay, &cancel, verdicts);
    cr_assert(verdicts[0] == TG_OK && verdicts[1] == TG_ALREADY_PAID);
    world_free(&world);
}

Test(life_race, two_payments_at_once)
{
    struct world world = world_make();
    struct eng_command one = ledger_payment(world.ledger, world.order, 1);
    struct eng_command two = ledger_payment(world.ledger, world.order, 2);
    enum tg_verdict verdicts[2];
    race(&world, &one, &two, verdicts);
    cr_assert(verdicts[0] == TG_OK && verdicts[1] == TG_REFUND_DUE);
    cr_assert_eq(ledger_life(world.ledger, world.order)->refund_due_minor, PRICE);
    world_free(&world);
}

Test(life_race, a_payment_in_flight_when_the_deadline_comes)
{
    struct world world = world_make();
    struct eng_command pay = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    world.ledger->now_ms += WINDOW_MS + 100;
    cr_assert_eq(ledger_change(world.ledger, &pay, &result), ENG_RECORDED);
    cr_assert_eq(ledger_fire(world.ledger), 1); /* the sale's start alone: the order is locked */
    ledger_run(world.ledger, true);
    ledger_wait(world.ledger, 1000);
    cr_assert_eq(ledger_state(world.ledger, world.order), TG_ORDER_CONFIRMED);
    cr_assert_eq(world.ledger->events[TG_EVENT_ORDER_EXPIRED], 0);
    world_free(&world);
}

Test(life_race, the_deadline_in_flight_when_a_payment_comes)
{
    struct world world = world_make();
    struct eng_command pay = ledger_payment(world.ledger, world.order, 1);
    struct eng_result result;
    world.ledger->now_ms += WINDOW_MS + 100;
    cr_assert_eq(ledger_fire(world.ledger), 2);
    cr_assert_eq(ledger_change(world.ledger, &pay, &result), ENG_WAIT);
    ledger_run(world.ledger, true);
    cr_assert_eq(ledger_do(world.ledger, &pay), TG_OK);
    cr_assert_eq(ledger_life(world.ledger, world.order)->payments[0].status, TG_PAYMENT_LATE);
    world_free(&world);
}

Test(life_race, refund_then_completion_and_completion_then_refund)
{
    for (int refund_first = 0; refund_first < 2; refund_first++) {
        struct world world = world_make();
        struct eng_command ask = ledger_command(world.ledger, world.order, ENG_REQUEST_REFUND);
        struct eng_command complete = ledger_command(world.ledger, world.order, ENG_ADVANCE);
        enum tg_verdict verdicts[2];
        complete.advance_to = TG_ORDER_COMPLETED;
        ledger_pay(world.ledger, world.order, 1);
        advance(&world, world.order, TG_ORDER_SHIPPED);
        advance(&world, world.order, TG_ORDER_DELIVERED);
        race(&world, refund_first ? &ask : &complete, refund_first ? &complete : &ask, verdicts);
        cr_assert_eq(verdicts[0], TG_OK);
        cr_assert_eq(verdicts[1], refund_first ? TG_REFUND_PENDING : TG_ALREADY_COMPLETED);
        world_free(&world);
    }
}

/* --- what a command may say --- */

Test(life, fields_out_of_range_are_named)
{
    struct eng_command command = {.order_id = 1, .kind = ENG_CANCEL};
    cr_assert_eq(eng_command_check(&command), TG_FIELD_CANCELLED_BY);
    command.cancelled_by = TG_CANCELLED_BY_TEAM;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_CANCELLED_BY);
    command.cancelled_by = TG_CANCELLED_BY_MERCHANT;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_NONE);
    command.kind = ENG_ADVANCE;
    command.advance_to = TG_ORDER_CONFIRMED;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_ADVANCE_TO);
    command.kind = ENG_RECORD_PAYMENT;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_PAYMENT_ID);
    command.payment.id_bytes = 1;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_PAYMENT_CURRENCY);
    memcpy(command.payment.currency, "EUR", TG_CURRENCY_BYTES);
    cr_assert_eq(eng_command_check(&command), TG_FIELD_NONE);
    command.payment.amount_minor = TG_AMOUNT_MINOR_MAX + 1;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_PAYMENT_AMOUNT);
    command.kind = 0;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_ORDER_CHANGE);
    command.order_id = 0;
    cr_assert_eq(eng_command_check(&command), TG_FIELD_ORDER_ID);
}
