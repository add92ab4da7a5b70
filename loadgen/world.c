#include "loadgen/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_MS      30000u
#define ORDERS_A_PAGE 500

/* What the orders of the sale hold of one item. */
struct held {
    char sku[TG_SKU_BYTES_MAX + 1];
    uint64_t reserved;
    uint64_t sold;
};

struct world {
    struct tgc_client *client;
    uint64_t sale_id;
    struct lg_ledger *ledger;
    struct lg_world_findings *findings;
    struct held *held; /* as many as the sale has items */
    uint32_t item_count;
    uint64_t *teams; /* ids, each once */
    uint64_t team_count, team_room;
    bool no_memory;
};

__attribute__((format(printf, 3, 4))) static void complain(struct lg_world_findings *findings,
                                                           uint64_t *count, const char *format, ...)
{
    if ((*count)++ != 0 || findings->example[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(findings->example, sizeof(findings->example), format, arguments);
    va_end(arguments);
}

/* --- books --- */

static void check_books(const Tidegate__V1__ItemStatus *status, struct lg_world_findings *findings)
{
    int64_t books = (int64_t)status->item->stock_units + status->restocked_units;
    int64_t held = (int64_t)(status->reserved_units + status->sold_units);
    if (books != (int64_t)status->available_units + held)
        complain(findings, &findings->books_broken,
                 "item %s: initial %" PRIu64 " + restocked %" PRId64 " is not available %" PRIu64
                 " + reserved %" PRIu64 " + sold %" PRIu64,
                 status->item->sku, status->item->stock_units, status->restocked_units,
                 status->available_units, status->reserved_units, status->sold_units);
    if (held > books)
        complain(findings, &findings->oversold, "item %s holds %" PRId64 " of %" PRId64 " units",
                 status->item->sku, held, books);
}

static enum tg_error get_sale(struct tgc_client *client, uint64_t sale_id, uint32_t offset,
                              Tidegate__V1__Response **response, struct tg_fault *fault)
{
    Tidegate__V1__GetSaleRequest body = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    body.sale_id = sale_id;
    body.item_offset = offset;
    body.item_limit = TG_ITEMS_PAGE_MAX;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &body;
    enum tg_error error = tgc_call_until_answered(client, &request, WORLD_MS, response, fault);
    if (error || (int)(*response)->get_sale->verdict == TG_OK)
        return error;
    error = tg_fault_set(fault, TG_ERR_NOTFOUND, "GetSale was answered %s",
                         tg_verdict_name((int)(*response)->get_sale->verdict));
    tgc_response_free(*response);
    return error;
}

void lg_world_sample(struct tgc_client *client, uint64_t sale_id,
                     struct lg_world_findings *findings)
{
    struct tg_fault unheard;
    Tidegate__V1__Response *response;
    if (!tgc_is_connected(client) && tgc_reconnect(client, 200, &unheard) != TG_ERR_OK)
        return;
    Tidegate__V1__GetSaleRequest body = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    body.sale_id = sale_id;
    body.item_limit = TG_ITEMS_PAGE_MAX;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &body;
    if (tgc_call(client, &request, 1000, &response, &unheard) != TG_ERR_OK)
        return;
    findings->samples++;
    for (size_t i = 0; i < response->get_sale->n_items; i++)
        check_books(response->get_sale->items[i], findings);
    tgc_response_free(response);
}

/* --- one order --- */

/* Where the units of an order are: 0 with the item, 1 reserved, 2 sold. */
static int units_of(const Tidegate__V1__Order *order)
{
    switch ((int)order->state) {
    case TG_ORDER_RESERVED:
        return 1;
    case TG_ORDER_AWAITING_TEAM:
    case TG_ORDER_CONFIRMED:
    case TG_ORDER_SHIPPED:
    case TG_ORDER_DELIVERED:
    case TG_ORDER_COMPLETED:
        return 2;
    case TG_ORDER_REFUND_DUE:
    case TG_ORDER_REFUNDED:
        if (order->ended_at_ms != 0 || order->confirmed_at_ms == 0)
            return 0;
        for (size_t i = 0; i < order->n_refunds; i++)
            if (order->refunds[i]->restock &&
                ((int)order->refunds[i]->status == TG_REFUND_DUE_STATUS ||
                 (int)order->refunds[i]->status == TG_REFUND_REFUNDED))
                return 0;
        return 2;
    default: /* it ended unpaid */
        return 0;
    }
}

static void hold(struct world *world, const char *sku, uint32_t quantity, int units)
{
    for (uint32_t i = 0; i < world->item_count; i++) {
        struct held *held = &world->held[i];
        if (strcmp(held->sku, sku) != 0)
            continue;
        held->reserved += units == 1 ? quantity : 0;
        held->sold += units == 2 ? quantity : 0;
        return;
    }
    complain(world->findings, &world->findings->books_differ, "an order names the SKU %s", sku);
}

static void hold_units(struct world *world, const Tidegate__V1__Order *order)
{
    int units = units_of(order);
    if (order->n_lines == 0)
        hold(world, order->sku, order->quantity, units);
    for (size_t i = 0; i < order->n_lines; i++)
        hold(world, order->lines[i]->sku, order->lines[i]->quantity, units);
}

static const Tidegate__V1__Payment *payment_named(const Tidegate__V1__Order *order, uint32_t number)
{
    char id[16];
    int bytes = snprintf(id, sizeof(id), "pay-%u", number);
    for (size_t i = 0; i < order->n_payments; i++) {
        const Tidegate__V1__Payment *payment = order->payments[i];
        if (payment->payment_id.len == (size_t)bytes &&
            memcmp(payment->payment_id.data, id, (size_t)bytes) == 0)
            return payment;
    }
    return NULL;
}

static bool is_received(int status)
{
    return status == TG_PAYMENT_APPLIED || status == TG_PAYMENT_LATE ||
           status == TG_PAYMENT_REFUND_DUE;
}

static void check_money(struct world *world, const Tidegate__V1__Order *order)
{
    struct lg_world_findings *findings = world->findings;
    int64_t received = 0, due = 0, refunded = 0, waiting = 0;
    for (size_t i = 0; i < order->n_payments; i++)
        received +=
            is_received((int)order->payments[i]->status) ? order->payments[i]->amount_minor : 0;
    for (size_t i = 0; i < order->n_refunds; i++) {
        int status = (int)order->refunds[i]->status;
        int64_t amount = order->refunds[i]->amount_minor;
        due += status == TG_REFUND_DUE_STATUS ? amount : 0;
        refunded += status == TG_REFUND_REFUNDED ? amount : 0;
        waiting += status == TG_REFUND_WAITING ? amount : 0;
    }
    if (received != order->received_minor || due != order->refund_due_minor ||
        refunded != order->refunded_minor || waiting + due + refunded > received)
        complain(findings, &findings->money_broken,
                 "order %" PRIu64 ": received %" PRId64 ", due %" PRId64 ", refunded %" PRId64
                 " are not the sums of its payments and refunds",
                 order->order_id, order->received_minor, order->refund_due_minor,
                 order->refunded_minor);
    int64_t kept = received - due - refunded;
    bool keeps =
        order->state >= (int)TG_ORDER_AWAITING_TEAM && order->state <= (int)TG_ORDER_COMPLETED;
    if (!keeps && kept != 0)
        complain(findings, &findings->money_broken, "order %" PRIu64 " is %s and keeps %" PRId64,
                 order->order_id, tg_order_state_name((int)order->state), kept);
    findings->money_in += received;
    findings->money_due += due;
    findings->money_refunded += refunded;
    findings->money_kept += keeps ? kept : 0;
}

static bool has_status(const Tidegate__V1__Payment *payment, int status, int or_status)
{
    return payment && ((int)payment->status == status || (int)payment->status == or_status);
}

/* Everything that was acknowledged is in the order. */
static bool deeds_stand(const struct lg_entry_of_order *entry, const Tidegate__V1__Order *order)
{
    uint32_t deeds = entry->deeds;
    if (deeds & LG_DEED_PAID &&
        !has_status(payment_named(order, 1), TG_PAYMENT_APPLIED, TG_PAYMENT_LATE))
        return false;
    if (deeds & LG_DEED_FIRST_DUE &&
        !has_status(payment_named(order, 1), TG_PAYMENT_REFUND_DUE, TG_PAYMENT_REFUND_DUE))
        return false;
    if (deeds & LG_DEED_SECOND_DUE &&
        !has_status(payment_named(order, 2), TG_PAYMENT_REFUND_DUE, TG_PAYMENT_REFUND_DUE))
        return false;
    if (deeds & LG_DEED_MISMATCH &&
        !has_status(payment_named(order, 9), TG_PAYMENT_REFUSED_AMOUNT, TG_PAYMENT_REFUSED_AMOUNT))
        return false;
    if (deeds & LG_DEED_CANCELLED && (int)order->cancelled_by != TG_CANCELLED_BY_BUYER)
        return false;
    if (deeds & LG_DEED_REFUND &&
        (entry->refund_number == 0 || entry->refund_number > order->n_refunds ||
         (int)order->refunds[entry->refund_number - 1]->status != TG_REFUND_REFUNDED))
        return false;
    return !(deeds & LG_DEED_SHIPPED && order->shipped_at_ms == 0) &&
           !(deeds & LG_DEED_DELIVERED && order->delivered_at_ms == 0) &&
           !(deeds & LG_DEED_COMPLETED && order->completed_at_ms == 0) &&
           !(deeds & LG_DEED_PLACED && entry->user_id != order->user_id) &&
           !(deeds & LG_DEED_PLACED && entry->amount_minor != (uint64_t)order->amount_minor);
}

static void remember_team(struct world *world, uint64_t team_id)
{
    if (world->team_count == world->team_room) {
        uint64_t room = world->team_room ? world->team_room * 2 : 1024;
        uint64_t *teams = realloc(world->teams, room * sizeof(*teams));
        if (!teams) {
            world->no_memory = true;
            return;
        }
        world->teams = teams;
        world->team_room = room;
    }
    world->teams[world->team_count++] = team_id;
}

static void check_order(struct world *world, const Tidegate__V1__Order *order)
{
    struct lg_world_findings *findings = world->findings;
    struct lg_entry_of_order *entry = lg_ledger_entry(world->ledger, order->order_id);
    if (!entry) {
        world->no_memory = true;
        return;
    }
    findings->orders++;
    entry->seen = true;
    entry->state = (uint8_t)order->state;
    entry->team_id = order->team_id;
    if (order->team_id == order->order_id)
        remember_team(world, order->team_id);
    hold_units(world, order);
    check_money(world, order);
    if (!deeds_stand(entry, order))
        complain(findings, &findings->lost,
                 "order %" PRIu64 " is %s and does not show what was acknowledged (deeds %x)",
                 order->order_id, tg_order_state_name((int)order->state), entry->deeds);
    if (entry->history_state != entry->state)
        complain(findings, &findings->history_broken,
                 "order %" PRIu64 " is %s, its events lead to %s", order->order_id,
                 tg_order_state_name(entry->state), tg_order_state_name(entry->history_state));
}

/* --- teams --- */

/* What a member's order may be, by the state of its team. */
static bool member_fits(int team_state, bool paid, int order_state)
{
    switch (team_state) {
    case TG_TEAM_PENDING:
        return order_state == TG_ORDER_RESERVED;
    case TG_TEAM_OPEN:
        return order_state == (paid ? TG_ORDER_AWAITING_TEAM : TG_ORDER_RESERVED);
    case TG_TEAM_STATE_FORMED:
        return paid && (order_state == TG_ORDER_REFUND_DUE || order_state == TG_ORDER_REFUNDED ||
                        (order_state >= TG_ORDER_CONFIRMED && order_state <= TG_ORDER_COMPLETED));
    default: /* it is over: nobody is in it */
        return order_state > TG_ORDER_COMPLETED;
    }
}

static void check_team(struct world *world, const Tidegate__V1__Team *team)
{
    struct lg_world_findings *findings = world->findings;
    uint32_t paid = 0;
    findings->teams++;
    for (size_t i = 0; i < team->n_members; i++) {
        const Tidegate__V1__TeamMember *member = team->members[i];
        const struct lg_entry_of_order *entry = lg_ledger_find(world->ledger, member->order_id);
        paid += member->paid ? 1 : 0;
        if (!entry || !entry->seen || entry->team_id != team->team_id ||
            !member_fits((int)team->state, member->paid, entry->state))
            complain(findings, &findings->team_broken,
                     "team %" PRIu64 " is in state %d, its member's order %" PRIu64 " is %s",
                     team->team_id, (int)team->state, member->order_id,
                     entry ? tg_order_state_name(entry->state) : "missing");
    }
    bool full = paid == team->size;
    if (team->n_members > team->size || team->claimed > team->size || paid != team->paid ||
        ((int)team->state == TG_TEAM_STATE_FORMED && !full && !team->auto_completed) ||
        ((int)team->state == TG_TEAM_OPEN && full))
        complain(findings, &findings->team_broken,
                 "team %" PRIu64 " of %u seats is in state %d with %zu members, %u of them paid",
                 team->team_id, team->size, (int)team->state, team->n_members, paid);
}

static enum tg_error read_team(struct world *world, uint64_t team_id, struct tg_fault *fault)
{
    Tidegate__V1__GetTeamRequest body = TIDEGATE__V1__GET_TEAM_REQUEST__INIT;
    body.team_id = team_id;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_TEAM;
    request.get_team = &body;
    Tidegate__V1__Response *response;
    enum tg_error error =
        tgc_call_until_answered(world->client, &request, WORLD_MS, &response, fault);
    if (error)
        return error;
    if ((int)response->get_team->verdict == TG_OK)
        check_team(world, response->get_team->team);
    else
        complain(world->findings, &world->findings->team_broken,
                 "team %" PRIu64 " cannot be read: %s", team_id,
                 tg_verdict_name((int)response->get_team->verdict));
    tgc_response_free(response);
    return TG_ERR_OK;
}

/* --- the passes --- */

static enum tg_error read_orders(struct world *world, struct tg_fault *fault)
{
    uint64_t after = 0;
    for (bool end = false; !end;) {
        Tidegate__V1__ListOrdersRequest body = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
        body.after_order_id = after;
        body.sale_id = world->sale_id;
        body.limit = ORDERS_A_PAGE;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
        request.list_orders = &body;
        Tidegate__V1__Response *response;
        enum tg_error error =
            tgc_call_until_answered(world->client, &request, WORLD_MS, &response, fault);
        if (error)
            return error;
        const Tidegate__V1__ListOrdersResponse *page = response->list_orders;
        for (size_t i = 0; i < page->n_orders; i++)
            check_order(world, page->orders[i]);
        after = page->next_after_order_id;
        end = page->end || (int)page->verdict != TG_OK;
        tgc_response_free(response);
    }
    return TG_ERR_OK;
}

/* The books at the end against what the orders hold. */
static void check_item(struct world *world, const Tidegate__V1__ItemStatus *status, uint32_t item)
{
    struct held *held = &world->held[item];
    check_books(status, world->findings);
    if (held->reserved != status->reserved_units || held->sold != status->sold_units)
        complain(world->findings, &world->findings->books_differ,
                 "item %s says reserved %" PRIu64 " and sold %" PRIu64 ", its orders hold %" PRIu64
                 " and %" PRIu64,
                 status->item->sku, status->reserved_units, status->sold_units, held->reserved,
                 held->sold);
}

/* Twice over all items: first their names, then (orders read in between) their books. */
static enum tg_error each_item(struct world *world, bool names, struct tg_fault *fault)
{
    for (uint32_t i = 0; i == 0 || i < world->item_count;) {
        Tidegate__V1__Response *response;
        enum tg_error error = get_sale(world->client, world->sale_id, i, &response, fault);
        if (error)
            return error;
        const Tidegate__V1__GetSaleResponse *page = response->get_sale;
        if (names && i == 0) {
            world->item_count = page->sale->item_count;
            world->held = calloc(world->item_count, sizeof(*world->held));
            world->no_memory = world->held == NULL;
        }
        size_t count = page->n_items;
        for (size_t n = 0; !world->no_memory && n < count && i < world->item_count; n++, i++) {
            if (names)
                snprintf(world->held[i].sku, sizeof(world->held[i].sku), "%s",
                         page->items[n]->item->sku);
            else
                check_item(world, page->items[n], i);
        }
        tgc_response_free(response);
        if (world->no_memory || count == 0)
            break;
    }
    return TG_ERR_OK;
}

static void check_missing(struct world *world)
{
    for (uint64_t i = 0; i <= world->ledger->mask; i++) {
        const struct lg_entry_of_order *entry = &world->ledger->slots[i];
        if (entry->order_id != 0 && entry->deeds != 0 && !entry->seen)
            complain(world->findings, &world->findings->lost,
                     "order %" PRIu64 " was acknowledged and is not there", entry->order_id);
    }
}

enum tg_error lg_world_audit(struct tgc_client *client, uint64_t sale_id, struct lg_ledger *ledger,
                             struct lg_world_findings *findings, struct tg_fault *fault)
{
    struct world world = {
        .client = client, .sale_id = sale_id, .ledger = ledger, .findings = findings};
    enum tg_error error = each_item(&world, true, fault);
    if (!error && !world.no_memory)
        error = read_orders(&world, fault);
    for (uint64_t i = 0; !error && i < world.team_count; i++)
        error = read_team(&world, world.teams[i], fault);
    if (!error && !world.no_memory)
        error = each_item(&world, false, fault);
    if (!error && !world.no_memory)
        check_missing(&world);
    if (!error && world.no_memory)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit");
    free(world.held);
    free(world.teams);
    return error;
}

bool lg_world_ok(const struct lg_world_findings *f)
{
    return f->lost + f->oversold + f->books_broken + f->books_differ + f->money_broken +
                   f->team_broken + f->history_broken ==
               0 &&
           f->money_in == f->money_kept + f->money_due + f->money_refunded;
}
