/* The audit of stories must find what is broken: each test breaks one thing in a sale that was in
 * order. */
#include "loadgen/ask.h"
#include "loadgen/world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum {
    NOW_MS = 1000000,
    USER = 7,
    ORDERS_MAX = 8,
    PRICE = 1000,
    CAPTAIN_PRICE = 750,
    LADDER_PRICE = 800,
    STOCK = 100
};

/* A sale of two items and some orders, as the server would list them, and the ledger of a run that
 * placed them. Broken by a test before it is judged. */
struct made_order {
    Tidegate__V1__Order order;
    Tidegate__V1__Payment payments[3], *payment_pointers[3];
    Tidegate__V1__Refund refunds[3], *refund_pointers[3];
    Tidegate__V1__OrderLine lines[2], *line_pointers[2];
    char payment_ids[3][16];
    uint8_t request_id[TG_REQUEST_ID_BYTES];
};

static struct made_order orders[ORDERS_MAX];
static uint32_t order_count;
static Tidegate__V1__ItemStatus items[2];
static Tidegate__V1__SaleItem sale_items[2];
static Tidegate__V1__LadderStep ladder[1], *ladder_pointers[1];
static Tidegate__V1__Team team;
static Tidegate__V1__TeamMember members[4], *member_pointers[4];
static bool with_team;
static struct lg_ledger ledger;
static struct lg_world_findings findings;
static struct lg_world world;
static Tidegate__V1__Sale sale;
static Tidegate__V1__ChannelShare share, *share_pointer = &share;
static bool timers_may_lag;

static void open_sale(void)
{
    static char skus[2][2] = {"A", "B"};
    cr_assert(lg_ledger_init(&ledger));
    tidegate__v1__sale__init(&sale);
    tidegate__v1__channel_share__init(&share);
    share.channel = 4;
    share.percent = 5;
    sale.payment_window_s = 1;
    sale.n_channel_shares = 1;
    sale.channel_shares = &share_pointer;
    tidegate__v1__ladder_step__init(&ladder[0]);
    ladder[0].size = 2;
    ladder[0].unit_price_minor = LADDER_PRICE;
    ladder_pointers[0] = &ladder[0];
    for (int i = 0; i < 2; i++) {
        tidegate__v1__sale_item__init(&sale_items[i]);
        sale_items[i].sku = skus[1 - i]; /* not in the order of SKUs */
        sale_items[i].stock_units = STOCK;
        sale_items[i].sale_price_minor = PRICE;
        sale_items[i].n_ladder = 1;
        sale_items[i].ladder = ladder_pointers;
        tidegate__v1__item_status__init(&items[i]);
        items[i].item = &sale_items[i];
        items[i].available_units = STOCK;
    }
}

static void close_sale(void)
{
    lg_world_fini(&world);
    lg_ledger_fini(&ledger);
}

TestSuite(world, .init = open_sale, .fini = close_sale);

/* --- making --- */

static struct lg_order_entry *entry_of(const struct made_order *made)
{
    return lg_ledger_entry(&ledger, made->order.order_id);
}

static void acknowledge(const struct made_order *made, uint32_t deeds)
{
    entry_of(made)->deeds |= deeds;
}

/* What is known of the order is what it is. */
static void tell_as_it_is(struct made_order *made)
{
    const Tidegate__V1__Order *order = &made->order;
    struct lg_order_entry *entry = entry_of(made);
    struct lg_facts facts = {.user_id = order->user_id,
                             .team_id = order->team_id,
                             .channel = order->channel,
                             .request_id = order->ingested ? NULL : made->request_id,
                             .external_id = ""};
    if (order->n_lines == 0)
        facts.lines = lg_facts_line(order->sku, order->quantity, order->unit_price_minor);
    for (size_t i = 0; i < order->n_lines; i++)
        facts.lines += lg_facts_line(order->lines[i]->sku, order->lines[i]->quantity,
                                     order->lines[i]->unit_price_minor);
    entry->facts = lg_facts_print(&facts);
    entry->amount_minor = order->amount_minor;
    entry->told_state = (uint8_t)order->state;
    entry->last_sequence = order->last_sequence;
    entry->told_due_minor = order->refund_due_minor + order->refunded_minor;
    entry->told_refunded_minor = order->refunded_minor;
}

/* RESERVED: two units of A, for 2,000. */
static struct made_order *reserved(void)
{
    struct made_order *made = &orders[order_count++];
    Tidegate__V1__Order *order = &made->order;
    tidegate__v1__order__init(order);
    order->order_id = (uint64_t)order_count << 10;
    memset(made->request_id, (int)order_count, sizeof(made->request_id));
    order->request_id = (ProtobufCBinaryData){TG_REQUEST_ID_BYTES, made->request_id};
    order->user_id = USER + order_count;
    order->sku = sale_items[1].sku;
    order->quantity = 2;
    order->unit_price_minor = PRICE;
    order->amount_minor = 2 * PRICE;
    order->accepted_at_ms = NOW_MS - 1000;
    order->payment_deadline_ms = NOW_MS + 1000;
    order->state = (Tidegate__V1__OrderState)TG_ORDER_RESERVED;
    order->last_sequence = order_count;
    order->payments = made->payment_pointers;
    order->refunds = made->refund_pointers;
    order->lines = made->line_pointers;
    acknowledge(made, LG_DEED_PLACED);
    return made;
}

static Tidegate__V1__Payment *add_payment(struct made_order *made, uint32_t number, int status)
{
    size_t i = made->order.n_payments++;
    Tidegate__V1__Payment *payment = made->payment_pointers[i] = &made->payments[i];
    tidegate__v1__payment__init(payment);
    int bytes = snprintf(made->payment_ids[i], sizeof(made->payment_ids[i]), "pay-%u", number);
    payment->payment_id = (ProtobufCBinaryData){(size_t)bytes, (uint8_t *)made->payment_ids[i]};
    payment->amount_minor = made->order.amount_minor;
    payment->status = (Tidegate__V1__PaymentStatus)status;
    if (status == TG_PAYMENT_REFUSED_AMOUNT)
        payment->amount_minor--;
    else
        made->order.received_minor += payment->amount_minor;
    return payment;
}

static Tidegate__V1__Refund *add_refund(struct made_order *made, int64_t amount_minor, int status)
{
    size_t i = made->order.n_refunds++;
    Tidegate__V1__Refund *refund = made->refund_pointers[i] = &made->refunds[i];
    tidegate__v1__refund__init(refund);
    refund->number = (uint32_t)i + 1;
    refund->amount_minor = amount_minor;
    refund->cause = (Tidegate__V1__RefundCause)TG_REFUND_REQUESTED;
    refund->status = (Tidegate__V1__RefundStatus)status;
    made->order.refund_due_minor += status == TG_REFUND_DUE_STATUS ? amount_minor : 0;
    made->order.refunded_minor += status == TG_REFUND_REFUNDED ? amount_minor : 0;
    return refund;
}

static void be(struct made_order *made, int state)
{
    made->order.state = (Tidegate__V1__OrderState)state;
}

/* The steps up to this state, each a little later than the one before. */
static void step_to(struct made_order *made, int state)
{
    int64_t *const steps[] = {&made->order.paid_at_ms, &made->order.confirmed_at_ms,
                              &made->order.shipped_at_ms, &made->order.delivered_at_ms,
                              &made->order.completed_at_ms};
    static const int states[] = {TG_ORDER_AWAITING_TEAM, TG_ORDER_CONFIRMED, TG_ORDER_SHIPPED,
                                 TG_ORDER_DELIVERED, TG_ORDER_COMPLETED};
    for (int i = 0; i < 5 && states[i] <= state; i++)
        *steps[i] = made->order.accepted_at_ms + 10 * (i + 1);
    made->order.payment_deadline_ms = 0;
    be(made, state);
}

static struct made_order *confirmed(void)
{
    struct made_order *made = reserved();
    add_payment(made, LG_PAYMENT_FIRST, TG_PAYMENT_APPLIED);
    step_to(made, TG_ORDER_CONFIRMED);
    acknowledge(made, LG_DEED_PAID);
    return made;
}

static struct made_order *expired(void)
{
    struct made_order *made = reserved();
    be(made, TG_ORDER_EXPIRED);
    made->order.accepted_at_ms = NOW_MS - 2000;
    made->order.payment_deadline_ms = made->order.ended_at_ms = NOW_MS - 100;
    return made;
}

static struct made_order *cancelled(void)
{
    struct made_order *made = reserved();
    be(made, TG_ORDER_CANCELLED);
    made->order.ended_at_ms = NOW_MS - 500;
    made->order.cancelled_by = (Tidegate__V1__CancelledBy)TG_CANCELLED_BY_BUYER;
    acknowledge(made, LG_DEED_CANCELLED);
    return made;
}

/* Confirmed, and refunded whole; the units are back. */
static struct made_order *refunded(void)
{
    struct made_order *made = confirmed();
    add_refund(made, made->order.amount_minor, TG_REFUND_REFUNDED)->restock = 1;
    be(made, TG_ORDER_REFUNDED);
    made->order.refunded_at_ms = NOW_MS - 10;
    acknowledge(made, LG_DEED_REFUND_ASKED | LG_DEED_REFUND_APPROVED | LG_DEED_REFUND_RECORDED);
    entry_of(made)->refund_number = 1;
    return made;
}

static struct made_order *cart(void)
{
    struct made_order *made = reserved();
    made->order.sku = (char *)(uintptr_t) "";
    made->order.unit_price_minor = 0;
    made->order.quantity = 3;
    made->order.amount_minor = 3 * PRICE;
    made->order.n_lines = 2;
    for (int i = 0; i < 2; i++) {
        tidegate__v1__order_line__init(&made->lines[i]);
        made->lines[i].sku = sale_items[i].sku;
        made->lines[i].quantity = (uint32_t)i + 1;
        made->lines[i].unit_price_minor = PRICE;
        made->line_pointers[i] = &made->lines[i];
    }
    return made;
}

/* A team of two that has formed: captain for 750, member for 1,000 and 200 back by the ladder. */
static void formed_team(void)
{
    tidegate__v1__team__init(&team);
    with_team = true;
    team.team_id = (order_count + 1ull) << 10;
    team.sku = sale_items[1].sku;
    team.state = (Tidegate__V1__TeamState)TG_TEAM_STATE_FORMED;
    team.size = team.claimed = team.paid = 2;
    team.unit_price_minor = LADDER_PRICE;
    team.ended_at_ms = NOW_MS - 5;
    team.deadline_ms = NOW_MS + 60000;
    team.members = member_pointers;
    team.n_members = 2;
    for (int i = 0; i < 2; i++) {
        struct made_order *made = reserved();
        made->order.quantity = 1;
        made->order.unit_price_minor = made->order.amount_minor = i ? PRICE : CAPTAIN_PRICE;
        made->order.team_id = team.team_id;
        add_payment(made, LG_PAYMENT_FIRST, TG_PAYMENT_APPLIED);
        step_to(made, TG_ORDER_CONFIRMED);
        if (i == 1)
            add_refund(made, PRICE - LADDER_PRICE, TG_REFUND_DUE_STATUS)->cause =
                (Tidegate__V1__RefundCause)TG_REFUND_LADDER;
        tidegate__v1__team_member__init(&members[i]);
        members[i].order_id = made->order.order_id;
        members[i].user_id = made->order.user_id;
        members[i].paid = 1;
        members[i].captain = i == 0;
        member_pointers[i] = &members[i];
    }
    lg_ledger_entry(&ledger, team.team_id)->told_team_state = TG_TEAM_STATE_FORMED;
}

/* The same team while it is open: the captain has paid, the member has not. */
static void open_team(void)
{
    formed_team();
    struct made_order *captain = &orders[order_count - 2], *member = &orders[order_count - 1];
    team.state = (Tidegate__V1__TeamState)TG_TEAM_OPEN;
    team.paid = 1;
    team.unit_price_minor = team.ended_at_ms = 0;
    members[1].paid = 0;
    step_to(captain, TG_ORDER_AWAITING_TEAM);
    captain->order.confirmed_at_ms = 0;
    be(member, TG_ORDER_RESERVED);
    member->order.n_payments = member->order.n_refunds = 0;
    member->order.received_minor = member->order.refund_due_minor = 0;
    member->order.paid_at_ms = member->order.confirmed_at_ms = 0;
    member->order.payment_deadline_ms = NOW_MS + 1000;
    lg_ledger_entry(&ledger, team.team_id)->told_team_state = TG_TEAM_OPEN;
}

/* --- judging --- */

/* The books hold what the orders hold, by the test's own account of it. */
static void hold(uint32_t item, int64_t reserved_units, int64_t sold_units)
{
    items[item].reserved_units = (uint64_t)((int64_t)items[item].reserved_units + reserved_units);
    items[item].sold_units = (uint64_t)((int64_t)items[item].sold_units + sold_units);
    items[item].available_units =
        (uint64_t)((int64_t)items[item].available_units - reserved_units - sold_units);
}

static void tell_all(void)
{
    for (uint32_t i = 0; i < order_count; i++)
        tell_as_it_is(&orders[i]);
}

/* Judges the sale as it stands. */
static void judge(void)
{
    lg_world_begin(&world, &ledger, &findings, timers_may_lag);
    lg_world_rules(&world, &sale, NOW_MS);
    for (int i = 0; i < 2; i++)
        lg_world_name(&world, &items[i]);
    for (uint32_t i = 0; i < order_count; i++)
        lg_world_order(&world, &orders[i].order);
    for (uint64_t i = 0; with_team && i < world.team_count; i++)
        lg_world_team(&world, world.teams[i], &team);
    for (int i = 0; i < 2; i++)
        lg_world_item(&world, &items[i]);
    lg_world_finish(&world);
    cr_assert_not(world.no_memory);
}

static uint64_t all_findings(void)
{
    const struct lg_world_findings *f = &findings;
    return f->lost + f->unknown + f->disordered + f->oversold + f->books_broken + f->books_differ +
           f->over_limit + f->over_share + f->money_broken + f->order_broken + f->team_broken +
           f->history_broken;
}

#define expect_clean()                                                                             \
    do {                                                                                           \
        judge();                                                                                   \
        cr_assert(lg_world_ok(&findings), "%s", findings.example);                                 \
    } while (0)

/* Exactly this is found, once. */
#define expect_only(what)                                                                          \
    do {                                                                                           \
        judge();                                                                                   \
        cr_assert_not(lg_world_ok(&findings));                                                     \
        cr_assert_eq(findings.what, 1, "%s", findings.example);                                    \
        cr_assert_eq(all_findings(), 1, "%s", findings.example);                                   \
        cr_assert(findings.example[0]);                                                            \
    } while (0)

/* This is found, whatever follows from it besides. */
#define expect_found(what)                                                                         \
    do {                                                                                           \
        judge();                                                                                   \
        cr_assert_not(lg_world_ok(&findings));                                                     \
        cr_assert_gt(findings.what, 0, "%s", findings.example);                                    \
    } while (0)

Test(world, a_sale_in_order_passes)
{
    reserved();
    confirmed();
    expired();
    cancelled();
    refunded();
    cart();
    tell_all();
    hold(1, 2 + 2, 2);
    hold(0, 1, 0);
    expect_clean();
    cr_assert_eq(findings.orders, 6);
    cr_assert_eq(findings.states[TG_ORDER_RESERVED], 2);
    cr_assert_eq(findings.states[TG_ORDER_REFUNDED], 1);
    cr_assert_eq(findings.money_in, 4000);
    cr_assert_eq(findings.money_kept, 2000);
    cr_assert_eq(findings.money_refunded, 2000);
}

Test(world, an_audit_can_be_done_again)
{
    formed_team();
    tell_all();
    hold(1, 0, 2);
    expect_clean();
    lg_world_fini(&world);
    findings = (struct lg_world_findings){0};
    expect_clean();
}

Test(world, formed_and_open_teams_pass)
{
    formed_team();
    tell_all();
    hold(1, 0, 2);
    expect_clean();
    cr_assert_eq(findings.team_states[TG_TEAM_STATE_FORMED], 1);
    lg_world_fini(&world);
    findings = (struct lg_world_findings){0};
    order_count = 0;
    memset(orders, 0, sizeof(orders));
    open_team();
    tell_all();
    hold(1, 1, -1);
    expect_clean();
}

/* --- lost, altered, unknown --- */

Test(world, an_acknowledged_order_that_is_not_there_is_found)
{
    reserved();
    tell_all();
    order_count = 0;
    expect_only(lost);
}

Test(world, an_order_that_nobody_was_told_of_is_found)
{
    entry_of(reserved())->deeds = 0;
    tell_all();
    hold(1, 2, 0);
    expect_only(unknown);
}

Test(world, an_order_listed_twice_is_found)
{
    reserved();
    orders[1] = orders[0];
    order_count = 2;
    tell_all();
    hold(1, 4, 0);
    expect_only(disordered);
}

Test(world, orders_out_of_order_are_found)
{
    reserved();
    reserved();
    tell_all();
    struct made_order first = orders[0];
    orders[0] = orders[1];
    orders[1] = first;
    for (int i = 0; i < 2; i++)
        orders[i].order.request_id.data = orders[i].request_id;
    hold(1, 4, 0);
    expect_only(disordered);
}

static void alter_user(Tidegate__V1__Order *order)
{
    order->user_id++;
}

static void alter_channel(Tidegate__V1__Order *order)
{
    order->channel++;
}

static void alter_price(Tidegate__V1__Order *order)
{
    order->unit_price_minor--;
}

static void alter_amount(Tidegate__V1__Order *order)
{
    order->amount_minor--;
}

static void alter_request_id(Tidegate__V1__Order *order)
{
    order->request_id.data[5]++;
}

static void alter_external_id(Tidegate__V1__Order *order)
{
    order->external_id = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "x"};
}

Test(world, an_altered_order_is_found)
{
    static void (*const alterations[])(Tidegate__V1__Order *) = {
        alter_user, alter_channel, alter_price, alter_amount, alter_request_id, alter_external_id};
    for (size_t i = 0; i < sizeof(alterations) / sizeof(alterations[0]); i++) {
        order_count = 0;
        struct made_order *made = reserved();
        tell_all();
        alterations[i](&made->order);
        if (i == 0)
            hold(1, 2, 0);
        findings = (struct lg_world_findings){0};
        lg_world_fini(&world);
        expect_only(lost);
        cr_assert_eq(findings.altered, 1, "alteration %zu", i);
    }
}

Test(world, an_altered_line_of_a_cart_is_found)
{
    struct made_order *made = cart();
    tell_all();
    made->lines[1].quantity--;
    hold(1, 1, 0);
    hold(0, 1, 0);
    expect_only(lost);
    cr_assert_eq(findings.altered, 1);
}

Test(world, an_order_for_more_units_than_were_asked_is_found_in_both)
{
    struct made_order *made = reserved();
    tell_all();
    made->order.quantity++;
    hold(1, 2, 0);
    expect_found(altered);
    cr_assert_eq(findings.books_differ, 1);
}

/* --- what was acknowledged --- */

/* An order, and a deed that it does not show. */
static void expect_deed_lost(struct made_order *made, uint32_t deed, int64_t reserved_units,
                             int64_t sold_units)
{
    tell_all();
    hold(1, reserved_units, sold_units);
    acknowledge(made, deed);
    expect_only(lost);
    cr_assert_eq(findings.altered, 0);
}

Test(world, a_payment_that_is_lost_is_found)
{
    expect_deed_lost(reserved(), LG_DEED_PAID, 2, 0);
}

Test(world, a_payment_that_is_another_one_is_found)
{
    struct made_order *made = confirmed();
    made->payment_ids[0][4] = '7';
    expect_deed_lost(made, LG_DEED_PAID, 0, 2);
}

Test(world, a_late_payment_that_was_to_go_back_and_did_not_is_found)
{
    expect_deed_lost(confirmed(), LG_DEED_PAID_DUE, 0, 2);
}

Test(world, a_second_payment_that_is_lost_is_found)
{
    expect_deed_lost(confirmed(), LG_DEED_SECOND_DUE, 0, 2);
}

Test(world, a_refused_payment_that_is_not_on_record_is_found)
{
    expect_deed_lost(reserved(), LG_DEED_MISMATCH, 2, 0);
}

Test(world, a_cancel_that_is_lost_is_found)
{
    expect_deed_lost(reserved(), LG_DEED_CANCELLED, 2, 0);
}

Test(world, a_step_that_is_lost_is_found)
{
    expect_deed_lost(confirmed(), LG_DEED_SHIPPED, 0, 2);
}

Test(world, later_steps_that_are_lost_are_found)
{
    struct made_order *made = confirmed();
    step_to(made, TG_ORDER_SHIPPED);
    expect_deed_lost(made, LG_DEED_DELIVERED, 0, 2);
}

Test(world, the_last_step_that_is_lost_is_found)
{
    struct made_order *made = confirmed();
    step_to(made, TG_ORDER_DELIVERED);
    expect_deed_lost(made, LG_DEED_COMPLETED, 0, 2);
}

Test(world, an_extended_deadline_that_is_lost_is_found)
{
    struct made_order *made = reserved();
    entry_of(made)->deadline_ms = made->order.payment_deadline_ms + 1;
    expect_deed_lost(made, LG_DEED_EXTENDED, 2, 0);
}

Test(world, an_order_that_expired_before_its_extended_deadline_is_found)
{
    struct made_order *made = confirmed();
    made->payments[0].status = (Tidegate__V1__PaymentStatus)TG_PAYMENT_LATE;
    made->order.ended_at_ms = made->order.accepted_at_ms + 1000;
    entry_of(made)->deadline_ms = made->order.ended_at_ms + 1;
    expect_deed_lost(made, LG_DEED_EXTENDED, 0, 2);
}

Test(world, an_extended_deadline_that_stands_passes)
{
    struct made_order *made = reserved();
    entry_of(made)->deadline_ms = made->order.payment_deadline_ms;
    acknowledge(made, LG_DEED_EXTENDED);
    tell_all();
    hold(1, 2, 0);
    expect_clean();
}

Test(world, a_refund_that_is_lost_is_found)
{
    struct made_order *made = confirmed();
    entry_of(made)->refund_number = 1;
    expect_deed_lost(made, LG_DEED_REFUND_ASKED, 0, 2);
}

Test(world, a_refund_in_another_status_than_was_said_is_found)
{
    static const struct {
        uint32_t deed;
        int status;
        bool fine;
    } cases[] = {
        {LG_DEED_REFUND_ASKED, TG_REFUND_WAITING, true},
        {LG_DEED_REFUND_APPROVED, TG_REFUND_WAITING, false},
        {LG_DEED_REFUND_APPROVED, TG_REFUND_REJECTED, false},
        {LG_DEED_REFUND_APPROVED, TG_REFUND_DUE_STATUS, true},
        {LG_DEED_REFUND_REJECTED, TG_REFUND_WAITING, false},
        {LG_DEED_REFUND_REJECTED, TG_REFUND_REJECTED, true},
        {LG_DEED_REFUND_RECORDED, TG_REFUND_DUE_STATUS, false},
        {LG_DEED_REFUND_RECORDED, TG_REFUND_REFUNDED, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        order_count = 0;
        memset(orders, 0, sizeof(orders));
        findings = (struct lg_world_findings){0};
        lg_world_fini(&world);
        lg_ledger_fini(&ledger);
        cr_assert(lg_ledger_init(&ledger));
        struct made_order *made = confirmed();
        add_refund(made, 100, cases[i].status);
        entry_of(made)->refund_number = 1;
        acknowledge(made, cases[i].deed);
        tell_all();
        if (i == 0)
            hold(1, 0, 2);
        judge();
        cr_assert_eq(findings.lost, !cases[i].fine, "case %zu", i);
        cr_assert_eq(all_findings(), !cases[i].fine, "case %zu: %s", i, findings.example);
    }
}

Test(world, a_sale_that_is_gone_is_found)
{
    lg_world_sale_lost(&findings);
    cr_assert_not(lg_world_ok(&findings));
    cr_assert_eq(findings.lost, 1);
}

/* --- books --- */

Test(world, books_that_do_not_add_up_are_found)
{
    items[0].available_units--;
    expect_found(books_broken);
    cr_assert(strstr(findings.example, "item B"), "%s", findings.example);
}

Test(world, books_are_judged_at_any_moment)
{
    items[0].restocked_units = 5;
    items[0].available_units += 5;
    lg_world_look(&findings, &items[0]);
    cr_assert(lg_world_ok(&findings));
    items[0].reserved_units++;
    lg_world_look(&findings, &items[0]);
    cr_assert_eq(findings.books_broken, 1);
}

Test(world, an_oversold_item_is_found)
{
    items[0].sold_units = STOCK + 1;
    items[0].available_units = 0;
    lg_world_look(&findings, &items[0]);
    cr_assert_eq(findings.oversold, 1);
}

Test(world, units_that_no_order_holds_are_found)
{
    hold(0, 1, 0);
    expect_only(books_differ);
}

Test(world, units_of_an_order_that_the_books_do_not_hold_are_found)
{
    confirmed();
    tell_all();
    expect_only(books_differ);
}

Test(world, sold_units_that_are_only_reserved_are_found)
{
    confirmed();
    tell_all();
    hold(1, 2, 0);
    expect_only(books_differ);
}

Test(world, units_of_an_expired_order_that_did_not_return_are_found)
{
    expired();
    tell_all();
    hold(1, 2, 0);
    expect_only(books_differ);
}

Test(world, units_of_a_refund_that_restocks_return)
{
    struct made_order *made = refunded();
    made->refunds[0].restock = 0;
    tell_all();
    expect_only(books_differ); /* nobody restocked them, so they are sold */
    hold(1, 0, 2);
    findings = (struct lg_world_findings){0};
    lg_world_fini(&world);
    expect_clean();
}

/* Once it expired, was paid late and confirmed, its end of before counts no more. */
Test(world, units_of_a_late_order_refunded_without_restock_stay_sold)
{
    struct made_order *made = refunded();
    made->refunds[0].restock = 0;
    made->payments[0].status = (Tidegate__V1__PaymentStatus)TG_PAYMENT_LATE;
    made->order.ended_at_ms = made->order.accepted_at_ms + 1000;
    tell_all();
    hold(1, 0, 2);
    expect_clean();
}

Test(world, an_order_of_a_sku_that_is_not_sold_is_found)
{
    struct made_order *made = reserved();
    made->order.sku = (char *)(uintptr_t) "C";
    tell_all();
    expect_only(books_differ);
}

/* --- limits and shares --- */

Test(world, a_user_above_the_limit_is_found)
{
    for (int i = 0; i < 3; i++)
        reserved()->order.user_id = USER;
    expired()->order.user_id = USER; /* it does not stand */
    tell_all();
    hold(1, 6, 0);
    sale_items[1].per_user_limit = 6;
    expect_clean();
    lg_world_fini(&world);
    sale_items[1].per_user_limit = 5;
    expect_only(over_limit);
    cr_assert(strstr(findings.example, "holds 6 units of item A"), "%s", findings.example);
}

Test(world, limits_are_each_users_and_each_items_own)
{
    cart()->order.user_id = USER;
    cart()->order.user_id = USER + 1;
    tell_all();
    hold(1, 4, 0);
    hold(0, 2, 0);
    sale_items[0].per_user_limit = 1;
    sale_items[1].per_user_limit = 2;
    expect_clean();
}

Test(world, a_channel_above_its_share_is_found)
{
    for (int i = 0; i < 3; i++)
        reserved()->order.channel = 4;
    cancelled()->order.channel = 4; /* it does not stand */
    reserved()->order.channel = 5;  /* it has no share */
    tell_all();
    hold(1, 8, 0);
    expect_only(over_share);
    share.percent = 6;
    findings = (struct lg_world_findings){0};
    lg_world_fini(&world);
    expect_clean();
}

/* --- money --- */

static void expect_money_broken(void)
{
    tell_all();
    hold(1, 0, 2);
    expect_only(money_broken);
}

Test(world, money_received_that_no_payment_shows_is_found)
{
    struct made_order *made = confirmed();
    made->order.received_minor++;
    expect_money_broken();
}

Test(world, a_payment_of_another_amount_is_found)
{
    struct made_order *made = confirmed();
    made->payments[0].amount_minor--;
    made->order.received_minor--;
    expect_money_broken();
}

Test(world, money_due_that_no_refund_shows_is_found)
{
    struct made_order *made = confirmed();
    made->order.refund_due_minor = 1;
    expect_money_broken();
}

Test(world, money_refunded_that_no_refund_shows_is_found)
{
    struct made_order *made = confirmed();
    add_refund(made, 5, TG_REFUND_REFUNDED);
    made->order.refunded_minor = 4;
    expect_money_broken();
}

Test(world, more_promised_back_than_received_is_found)
{
    struct made_order *made = confirmed();
    add_refund(made, 1500, TG_REFUND_DUE_STATUS);
    add_refund(made, 501, TG_REFUND_WAITING);
    expect_money_broken();
}

Test(world, as_much_promised_back_as_received_passes)
{
    struct made_order *made = confirmed();
    add_refund(made, 1500, TG_REFUND_DUE_STATUS);
    add_refund(made, 500, TG_REFUND_WAITING);
    add_refund(made, 500, TG_REFUND_REJECTED);
    tell_all();
    hold(1, 0, 2);
    expect_clean();
}

Test(world, an_order_that_is_over_and_keeps_money_is_found)
{
    struct made_order *made = refunded();
    made->refunds[0].amount_minor--;
    made->order.refunded_minor--;
    tell_all();
    expect_only(money_broken);
}

Test(world, an_order_that_goes_on_and_keeps_nothing_is_found)
{
    struct made_order *made = confirmed();
    add_refund(made, made->order.amount_minor, TG_REFUND_DUE_STATUS);
    expect_money_broken();
}

Test(world, a_payment_that_counts_twice_is_found)
{
    struct made_order *made = confirmed();
    add_payment(made, LG_PAYMENT_SECOND, TG_PAYMENT_APPLIED);
    expect_money_broken();
}

Test(world, an_order_that_is_over_and_was_paid_twice_is_found)
{
    struct made_order *made = refunded();
    add_payment(made, LG_PAYMENT_SECOND, TG_PAYMENT_APPLIED);
    add_refund(made, made->order.amount_minor, TG_REFUND_REFUNDED);
    tell_all();
    expect_only(money_broken);
}

Test(world, a_confirmed_order_whose_payment_goes_back_is_found)
{
    struct made_order *made = confirmed();
    made->payments[0].status = (Tidegate__V1__PaymentStatus)TG_PAYMENT_REFUND_DUE;
    entry_of(made)->deeds = LG_DEED_PLACED;
    tell_all();
    hold(1, 0, 2);
    expect_found(money_broken);
}

Test(world, a_refused_payment_does_not_count)
{
    struct made_order *made = confirmed();
    add_payment(made, LG_PAYMENT_WRONG, TG_PAYMENT_REFUSED_AMOUNT);
    acknowledge(made, LG_DEED_MISMATCH);
    tell_all();
    hold(1, 0, 2);
    expect_clean();
}

/* --- orders that contradict themselves --- */

static void expect_order_broken(int64_t reserved_units, int64_t sold_units)
{
    tell_all();
    hold(1, reserved_units, sold_units);
    expect_only(order_broken);
}

Test(world, an_order_that_rests_where_none_may_is_found)
{
    be(confirmed(), TG_ORDER_PAID);
    tell_all();
    expect_found(order_broken);
}

Test(world, an_order_of_no_state_is_found)
{
    be(reserved(), TG_ORDER_STATE_COUNT);
    tell_all();
    expect_found(order_broken);
}

Test(world, steps_that_go_back_are_found)
{
    struct made_order *made = confirmed();
    made->order.confirmed_at_ms = made->order.paid_at_ms - 1;
    expect_order_broken(0, 2);
}

Test(world, a_state_without_its_step_is_found)
{
    struct made_order *made = confirmed();
    step_to(made, TG_ORDER_SHIPPED);
    made->order.confirmed_at_ms = 0;
    expect_order_broken(0, 2);
}

Test(world, a_step_beyond_the_state_is_found)
{
    struct made_order *made = confirmed();
    made->order.shipped_at_ms = NOW_MS;
    expect_order_broken(0, 2);
}

Test(world, an_order_that_expired_early_is_found)
{
    struct made_order *made = expired();
    made->order.payment_deadline_ms = made->order.ended_at_ms + 1;
    expect_order_broken(0, 0);
}

Test(world, an_order_that_expired_early_and_was_paid_since_is_found)
{
    struct made_order *made = confirmed();
    made->payments[0].status = (Tidegate__V1__PaymentStatus)TG_PAYMENT_LATE;
    made->order.ended_at_ms = made->order.accepted_at_ms + 999;
    expect_order_broken(0, 2);
}

Test(world, a_payment_that_is_late_without_reason_is_found)
{
    confirmed()->payments[0].status = (Tidegate__V1__PaymentStatus)TG_PAYMENT_LATE;
    expect_order_broken(0, 2);
}

Test(world, a_late_payment_that_does_not_say_so_is_found)
{
    struct made_order *made = confirmed();
    made->order.ended_at_ms = made->order.accepted_at_ms + 1000;
    expect_order_broken(0, 2);
}

Test(world, an_order_that_did_not_expire_is_found)
{
    struct made_order *made = reserved();
    made->order.payment_deadline_ms = NOW_MS - LG_WORLD_LATE_MS - 1;
    expect_order_broken(2, 0);
}

Test(world, an_order_a_little_late_to_expire_passes_and_any_while_the_disk_is_full)
{
    struct made_order *made = reserved();
    made->order.payment_deadline_ms = NOW_MS - LG_WORLD_LATE_MS;
    tell_all();
    hold(1, 2, 0);
    expect_clean();
    made->order.payment_deadline_ms = 1;
    timers_may_lag = true;
    lg_world_fini(&world);
    expect_clean();
}

Test(world, an_order_without_a_deadline_is_found)
{
    reserved()->order.payment_deadline_ms = 0;
    expect_order_broken(2, 0);
}

Test(world, a_payment_turned_away_in_time_is_found)
{
    struct made_order *made = reserved();
    add_payment(made, LG_PAYMENT_FIRST, TG_PAYMENT_REFUND_DUE);
    add_refund(made, made->order.amount_minor, TG_REFUND_DUE_STATUS);
    expect_order_broken(2, 0);
}

Test(world, a_payment_turned_away_after_the_end_passes)
{
    struct made_order *made = cancelled();
    add_payment(made, LG_PAYMENT_FIRST, TG_PAYMENT_REFUND_DUE);
    add_refund(made, made->order.amount_minor, TG_REFUND_DUE_STATUS);
    be(made, TG_ORDER_REFUND_DUE);
    acknowledge(made, LG_DEED_PAID_DUE);
    tell_all();
    expect_clean();
}

Test(world, an_order_both_paid_and_cancelled_is_found)
{
    struct made_order *made = refunded();
    made->order.cancelled_by = (Tidegate__V1__CancelledBy)TG_CANCELLED_BY_BUYER;
    made->order.ended_at_ms = NOW_MS;
    expect_order_broken(0, 0);
}

Test(world, an_order_completed_while_a_refund_waits_is_found)
{
    struct made_order *made = confirmed();
    step_to(made, TG_ORDER_COMPLETED);
    add_refund(made, 100, TG_REFUND_WAITING);
    expect_order_broken(0, 2);
}

/* --- history --- */

Test(world, a_history_that_leads_elsewhere_is_found)
{
    struct made_order *made = confirmed();
    tell_all();
    entry_of(made)->told_state = TG_ORDER_SHIPPED;
    hold(1, 0, 2);
    expect_only(history_broken);
}

Test(world, an_order_without_a_history_is_found)
{
    struct made_order *made = reserved();
    tell_all();
    entry_of(made)->told_state = 0;
    hold(1, 2, 0);
    expect_only(history_broken);
}

Test(world, a_newest_event_that_the_order_does_not_know_is_found)
{
    struct made_order *made = reserved();
    tell_all();
    entry_of(made)->last_sequence++;
    hold(1, 2, 0);
    expect_only(history_broken);
}

Test(world, money_that_events_do_not_tell_of_is_found)
{
    struct made_order *made = refunded();
    tell_all();
    entry_of(made)->told_due_minor--;
    expect_only(history_broken);
    findings = (struct lg_world_findings){0};
    lg_world_fini(&world);
    tell_all();
    entry_of(made)->told_refunded_minor = 0;
    expect_only(history_broken);
}

Test(world, a_team_whose_events_lead_elsewhere_is_found)
{
    formed_team();
    tell_all();
    hold(1, 0, 2);
    lg_ledger_find(&ledger, team.team_id)->told_team_state = TG_TEAM_STATE_FAILED;
    expect_only(history_broken);
}

/* --- teams --- */

static void expect_team_broken(void)
{
    tell_all();
    hold(1, 0, 2);
    expect_only(team_broken);
}

Test(world, an_overfull_team_is_found)
{
    formed_team();
    team.size = 1;
    expect_team_broken();
}

Test(world, a_team_that_miscounts_its_seats_is_found)
{
    formed_team();
    team.paid = 1;
    expect_team_broken();
}

Test(world, claimed_seats_that_nobody_has_are_found)
{
    formed_team();
    team.size = team.claimed = 3;
    expect_team_broken();
}

Test(world, a_team_that_formed_with_too_few_paid_is_found)
{
    formed_team();
    team.size = 3;
    expect_team_broken();
}

Test(world, a_team_that_completed_at_its_deadline_may_be_smaller)
{
    formed_team();
    team.size = 3;
    team.auto_completed = 1;
    tell_all();
    hold(1, 0, 2);
    expect_clean();
}

Test(world, an_open_team_whose_seats_are_all_paid_is_found)
{
    formed_team();
    team.state = (Tidegate__V1__TeamState)TG_TEAM_OPEN;
    tell_all();
    hold(1, 0, 2);
    expect_found(team_broken);
}

Test(world, a_failed_team_with_a_confirmed_member_is_found)
{
    formed_team();
    team.state = (Tidegate__V1__TeamState)TG_TEAM_STATE_FAILED;
    lg_ledger_find(&ledger, team.team_id)->told_team_state = TG_TEAM_STATE_FAILED;
    tell_all();
    hold(1, 0, 2);
    expect_found(team_broken);
    cr_assert_eq(findings.team_broken, 2, "each of the two");
}

Test(world, a_formed_team_with_a_member_who_still_waits_is_found)
{
    formed_team();
    step_to(&orders[0], TG_ORDER_AWAITING_TEAM);
    orders[0].order.confirmed_at_ms = 0;
    expect_team_broken();
}

Test(world, an_order_whose_team_does_not_know_it_is_found)
{
    formed_team();
    struct made_order *stray = confirmed();
    stray->order.team_id = team.team_id;
    tell_all();
    hold(1, 0, 2 + 2);
    expect_only(team_broken);
    cr_assert(strstr(findings.example, "no seat"), "%s", findings.example);
}

Test(world, a_seat_of_another_teams_order_is_found)
{
    formed_team();
    orders[1].order.team_id = 99 << 10;
    expect_team_broken();
}

Test(world, a_seat_without_an_order_is_found)
{
    formed_team();
    members[1].order_id = 99 << 10;
    tell_all();
    hold(1, 0, 2);
    expect_found(team_broken);
    cr_assert_eq(findings.team_broken, 2, "the seat without an order, the order without a seat");
}

Test(world, a_user_with_two_seats_is_found)
{
    formed_team();
    members[1].user_id = members[0].user_id;
    expect_team_broken();
}

Test(world, a_team_with_two_captains_is_found)
{
    formed_team();
    members[1].captain = 1;
    expect_team_broken();
}

Test(world, an_open_team_without_a_captain_is_found)
{
    open_team();
    members[0].captain = 0;
    tell_all();
    hold(1, 1, 1);
    expect_only(team_broken);
}

Test(world, a_team_price_that_is_not_the_ladders_is_found)
{
    formed_team();
    team.unit_price_minor = PRICE;
    orders[1].order.n_refunds = 0;
    orders[1].order.refund_due_minor = 0;
    expect_team_broken();
}

Test(world, a_ladder_that_was_not_given_back_is_found)
{
    formed_team();
    orders[1].order.n_refunds = 0;
    orders[1].order.refund_due_minor = 0;
    expect_team_broken();
}

Test(world, a_ladder_given_back_to_who_did_not_pay_more_is_found)
{
    formed_team();
    add_refund(&orders[0], 10, TG_REFUND_DUE_STATUS)->cause =
        (Tidegate__V1__RefundCause)TG_REFUND_LADDER;
    expect_team_broken();
}

Test(world, a_team_that_did_not_end_at_its_deadline_is_found)
{
    open_team();
    team.deadline_ms = NOW_MS - LG_WORLD_LATE_MS - 1;
    tell_all();
    hold(1, 1, 1);
    expect_only(team_broken);
}

Test(world, a_team_that_cannot_be_read_is_found)
{
    formed_team();
    tell_all();
    hold(1, 0, 2);
    lg_world_begin(&world, &ledger, &findings, false);
    lg_world_team(&world, team.team_id, NULL);
    cr_assert_eq(findings.team_broken, 1);
}
