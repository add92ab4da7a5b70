#include "loadgen/world.h"

#include "loadgen/ask.h"
#include "loadgen/complain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define complain(findings, what, ...)                                                              \
    lg_complain((findings)->example, sizeof((findings)->example), &(findings)->what, __VA_ARGS__)

void lg_world_begin(struct lg_world *world, struct lg_ledger *ledger,
                    struct lg_world_findings *findings, bool timers_may_lag)
{
    *world =
        (struct lg_world){.ledger = ledger, .findings = findings, .timers_may_lag = timers_may_lag};
    lg_ledger_unsee(ledger);
}

void lg_world_fini(struct lg_world *world)
{
    free(world->items);
    free(world->teams);
    free(world->holdings);
    world->items = NULL;
    world->teams = NULL;
    world->holdings = NULL;
}

/* Makes room for one more in a list; false without memory. */
static bool more_room(struct lg_world *world, void **list, uint64_t count, uint64_t *room,
                      size_t bytes)
{
    if (count < *room)
        return true;
    uint64_t larger = *room ? *room * 2 : 64;
    void *moved = realloc(*list, larger * bytes);
    if (!moved) {
        world->no_memory = true;
        return false;
    }
    *list = moved;
    *room = larger;
    return true;
}

/* --- items --- */

void lg_world_look(struct lg_world_findings *findings, const Tidegate__V1__ItemStatus *status)
{
    int64_t books = (int64_t)status->item->stock_units + status->restocked_units;
    int64_t held = (int64_t)(status->reserved_units + status->sold_units);
    if (books != (int64_t)status->available_units + held)
        complain(findings, books_broken,
                 "item %s: initial %" PRIu64 " + restocked %" PRId64 " is not available %" PRIu64
                 " + reserved %" PRIu64 " + sold %" PRIu64,
                 status->item->sku, status->item->stock_units, status->restocked_units,
                 status->available_units, status->reserved_units, status->sold_units);
    if (held > books)
        complain(findings, oversold, "item %s holds %" PRId64 " of %" PRId64 " units",
                 status->item->sku, held, books);
}

void lg_world_rules(struct lg_world *world, const Tidegate__V1__Sale *sale, int64_t now_ms)
{
    world->now_ms = now_ms;
    world->payment_window_ms = 1000ll * sale->payment_window_s;
    for (size_t i = 0; i < sale->n_channel_shares && i < TG_CHANNEL_SHARES_MAX; i++) {
        world->share_channel[world->share_count] = sale->channel_shares[i]->channel;
        world->share_percent[world->share_count++] = sale->channel_shares[i]->percent;
    }
}

void lg_world_name(struct lg_world *world, const Tidegate__V1__ItemStatus *status)
{
    const Tidegate__V1__SaleItem *from = status->item;
    uint64_t room = world->item_room;
    if (!more_room(world, (void **)&world->items, world->item_count, &room, sizeof(*world->items)))
        return;
    world->item_room = (uint32_t)room;
    struct lg_world_item *item = &world->items[world->item_count++];
    *item = (struct lg_world_item){.per_user_limit = from->per_user_limit,
                                   .price_minor = from->sale_price_minor};
    snprintf(item->sku, sizeof(item->sku), "%s", from->sku);
    for (size_t i = 0; i < from->n_ladder && i < TG_LADDER_STEPS_MAX; i++) {
        item->step_size[item->step_count] = from->ladder[i]->size;
        item->step_price_minor[item->step_count++] = from->ladder[i]->unit_price_minor;
    }
}

static int by_sku(const void *a, const void *b)
{
    return strcmp(((const struct lg_world_item *)a)->sku, ((const struct lg_world_item *)b)->sku);
}

static int sku_of(const void *sku, const void *item)
{
    return strcmp(sku, ((const struct lg_world_item *)item)->sku);
}

static struct lg_world_item *item_named(struct lg_world *world, const char *sku)
{
    if (!world->sorted && world->item_count > 0)
        qsort(world->items, world->item_count, sizeof(*world->items), by_sku);
    world->sorted = true;
    return world->item_count == 0
               ? NULL
               : bsearch(sku, world->items, world->item_count, sizeof(*world->items), sku_of);
}

/* No channel stands for more than its part. */
static void check_shares(struct lg_world *world, const struct lg_world_item *item,
                         const Tidegate__V1__ItemStatus *status)
{
    int64_t books = (int64_t)status->item->stock_units + status->restocked_units;
    for (uint32_t i = 0; i < world->share_count; i++)
        if ((int64_t)item->channel_units[i] * 100 > books * world->share_percent[i])
            complain(world->findings, over_share,
                     "channel %u stands for %" PRIu64 " of %" PRId64 " units of item %s, %u percent"
                     " are its share",
                     world->share_channel[i], item->channel_units[i], books, item->sku,
                     world->share_percent[i]);
}

void lg_world_item(struct lg_world *world, const Tidegate__V1__ItemStatus *status)
{
    const struct lg_world_item *item = item_named(world, status->item->sku);
    lg_world_look(world->findings, status);
    if (item)
        check_shares(world, item, status);
    if (!item)
        complain(world->findings, books_differ, "item %s was not there before", status->item->sku);
    else if (item->reserved_units != status->reserved_units ||
             item->sold_units != status->sold_units)
        complain(world->findings, books_differ,
                 "item %s says reserved %" PRIu64 " and sold %" PRIu64 ", its orders hold %" PRIu64
                 " and %" PRIu64,
                 status->item->sku, status->reserved_units, status->sold_units,
                 item->reserved_units, item->sold_units);
}

/* --- the units of an order --- */

enum units {
    UNITS_FREE,
    UNITS_RESERVED,
    UNITS_SOLD,
};

/* An order that was once confirmed gives its units back only with a refund that says so. */
static enum units units_of_refunded(const Tidegate__V1__Order *order)
{
    if (order->confirmed_at_ms == 0)
        return UNITS_FREE;
    for (size_t i = 0; i < order->n_refunds; i++)
        if (order->refunds[i]->restock && ((int)order->refunds[i]->status == TG_REFUND_DUE_STATUS ||
                                           (int)order->refunds[i]->status == TG_REFUND_REFUNDED))
            return UNITS_FREE;
    return UNITS_SOLD;
}

/* Of an order of a sale with the stock policy RESERVE, as those of stories are. */
static enum units units_of(const Tidegate__V1__Order *order)
{
    int state = (int)order->state;
    if (state == TG_ORDER_RESERVED)
        return UNITS_RESERVED;
    if (state >= TG_ORDER_AWAITING_TEAM && state <= TG_ORDER_COMPLETED)
        return UNITS_SOLD;
    if (state == TG_ORDER_REFUND_DUE || state == TG_ORDER_REFUNDED)
        return units_of_refunded(order);
    return UNITS_FREE; /* it ended unpaid */
}

/* What stands counts for the limit of the user and the share of the channel. */
static void stand(struct lg_world *world, const Tidegate__V1__Order *order,
                  struct lg_world_item *item, uint32_t quantity)
{
    for (uint32_t i = 0; i < world->share_count; i++)
        if (world->share_channel[i] == order->channel)
            item->channel_units[i] += quantity;
    if (item->per_user_limit != 0 &&
        more_room(world, (void **)&world->holdings, world->holding_count, &world->holding_room,
                  sizeof(*world->holdings)))
        world->holdings[world->holding_count++] = (struct lg_world_holding){
            .user_id = order->user_id, .item = (uint32_t)(item - world->items), .units = quantity};
}

static void hold(struct lg_world *world, const Tidegate__V1__Order *order, const char *sku,
                 uint32_t quantity)
{
    struct lg_world_item *item = item_named(world, sku);
    enum units units = units_of(order);
    if (!item) {
        complain(world->findings, books_differ, "an order names the SKU %s", sku);
        return;
    }
    item->reserved_units += units == UNITS_RESERVED ? quantity : 0;
    item->sold_units += units == UNITS_SOLD ? quantity : 0;
    if ((int)order->state <= TG_ORDER_COMPLETED)
        stand(world, order, item, quantity);
}

static void hold_units(struct lg_world *world, const Tidegate__V1__Order *order)
{
    if (order->n_lines == 0)
        hold(world, order, order->sku, order->quantity);
    for (size_t i = 0; i < order->n_lines; i++)
        hold(world, order, order->lines[i]->sku, order->lines[i]->quantity);
}

/* --- the money of an order --- */

static bool is_received(int status)
{
    return status == TG_PAYMENT_APPLIED || status == TG_PAYMENT_LATE ||
           status == TG_PAYMENT_REFUND_DUE;
}

static bool is_applied(int status)
{
    return status == TG_PAYMENT_APPLIED || status == TG_PAYMENT_LATE;
}

struct sums {
    int64_t received, due, refunded, waiting;
    uint32_t applied; /* payments */
};

static struct sums sums_of(const Tidegate__V1__Order *order)
{
    struct sums sums = {0};
    for (size_t i = 0; i < order->n_payments; i++) {
        const Tidegate__V1__Payment *payment = order->payments[i];
        sums.received += is_received((int)payment->status) ? payment->amount_minor : 0;
        sums.applied += is_applied((int)payment->status);
    }
    for (size_t i = 0; i < order->n_refunds; i++) {
        int status = (int)order->refunds[i]->status;
        int64_t amount = order->refunds[i]->amount_minor;
        sums.due += status == TG_REFUND_DUE_STATUS ? amount : 0;
        sums.refunded += status == TG_REFUND_REFUNDED ? amount : 0;
        sums.waiting += status == TG_REFUND_WAITING ? amount : 0;
    }
    return sums;
}

static bool keeps_money(int state)
{
    return state >= TG_ORDER_AWAITING_TEAM && state <= TG_ORDER_COMPLETED;
}

/* What an order that keeps money was paid is what it costs, and it was paid so once. */
static bool is_paid_right(const Tidegate__V1__Order *order, const struct sums *sums)
{
    for (size_t i = 0; i < order->n_payments; i++)
        if (is_applied((int)order->payments[i]->status) &&
            order->payments[i]->amount_minor != order->amount_minor)
            return false;
    return sums->applied <= 1 && (!keeps_money((int)order->state) || sums->applied == 1);
}

static void check_money(struct lg_world *world, const Tidegate__V1__Order *order)
{
    struct lg_world_findings *findings = world->findings;
    struct sums sums = sums_of(order);
    int64_t kept = sums.received - sums.due - sums.refunded;
    bool keeps = keeps_money((int)order->state);
    if (sums.received != order->received_minor || sums.due != order->refund_due_minor ||
        sums.refunded != order->refunded_minor || kept < sums.waiting)
        complain(findings, money_broken,
                 "order %" PRIu64 ": received %" PRId64 ", due %" PRId64 ", refunded %" PRId64
                 " are not the sums of its payments and refunds",
                 order->order_id, order->received_minor, order->refund_due_minor,
                 order->refunded_minor);
    else if (keeps ? kept == 0 && order->amount_minor != 0 : kept != 0)
        complain(findings, money_broken, "order %" PRIu64 " is %s and keeps %" PRId64,
                 order->order_id, tg_order_state_name((int)order->state), kept);
    else if (!is_paid_right(order, &sums))
        complain(findings, money_broken, "order %" PRIu64 " costs %" PRId64 " and was not paid so",
                 order->order_id, order->amount_minor);
    findings->money_in += sums.received;
    findings->money_due += sums.due;
    findings->money_refunded += sums.refunded;
    findings->money_kept += keeps ? kept : 0;
}

/* --- the life of an order --- */

/* The times of its steps never go back, and are those of its state. */
static bool steps_are_right(const Tidegate__V1__Order *order)
{
    const int64_t steps[] = {order->accepted_at_ms, order->paid_at_ms,      order->confirmed_at_ms,
                             order->shipped_at_ms,  order->delivered_at_ms, order->completed_at_ms};
    /* How many of them each state has taken, so many and no more. */
    static const uint8_t taken[TG_ORDER_STATE_COUNT] = {
        [TG_ORDER_RESERVED] = 1, [TG_ORDER_AWAITING_TEAM] = 2, [TG_ORDER_CONFIRMED] = 3,
        [TG_ORDER_SHIPPED] = 4,  [TG_ORDER_DELIVERED] = 5,     [TG_ORDER_COMPLETED] = 6,
    };
    int state = (int)order->state;
    int64_t latest_ms = 0;
    for (uint32_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i] != 0 && steps[i] < latest_ms)
            return false;
        if (taken[state] != 0 && (steps[i] != 0) != (i < taken[state]))
            return false;
        latest_ms = steps[i] != 0 ? steps[i] : latest_ms;
    }
    bool ended = state >= TG_ORDER_EXPIRED && state <= TG_ORDER_TEAM_FAILED;
    return order->accepted_at_ms != 0 && (!ended || order->ended_at_ms != 0) &&
           (state != TG_ORDER_REFUNDED || order->refunded_at_ms != 0);
}

/* It was let go because nobody had paid. */
static bool expired_unpaid(const Tidegate__V1__Order *order)
{
    return order->ended_at_ms != 0 && order->paid_at_ms == 0 && (int)order->cancelled_by == 0;
}

/* A payment of the right amount is applied while the order waits for it. */
static bool turned_away_in_time(const Tidegate__V1__Order *order)
{
    return order->n_payments > 0 && order->ended_at_ms == 0 && order->received_minor > 0 &&
           sums_of(order).applied == 0;
}

/* When an order without a team expired, though it may have been paid since: such an order ends in
 * no other way but by being cancelled. 0: it did not. */
static int64_t expired_at_ms(const Tidegate__V1__Order *order)
{
    return order->team_id == 0 && (int)order->cancelled_by == 0 ? order->ended_at_ms : 0;
}

/* A payment is late when the order had expired, and only then. */
static bool lateness_is_right(const Tidegate__V1__Order *order)
{
    bool expired = expired_at_ms(order) != 0;
    for (size_t i = 0; order->team_id == 0 && i < order->n_payments; i++)
        if (is_applied((int)order->payments[i]->status) &&
            ((int)order->payments[i]->status == TG_PAYMENT_LATE) != expired)
            return false;
    return true;
}

static const char *contradiction(const struct lg_world *world, const Tidegate__V1__Order *order)
{
    int state = (int)order->state;
    if (state <= 0 || state >= TG_ORDER_STATE_COUNT || state == TG_ORDER_PAID)
        return "is in no state to rest in";
    if (!steps_are_right(order))
        return "has steps that go back, or are not those of its state";
    if (expired_unpaid(order) && order->ended_at_ms < order->payment_deadline_ms)
        return "expired before its deadline";
    if (expired_at_ms(order) != 0 &&
        expired_at_ms(order) < order->accepted_at_ms + world->payment_window_ms)
        return "expired before its payment window was over";
    if (!lateness_is_right(order))
        return "has a payment that is late without reason, or not late though it was";
    if (state == TG_ORDER_RESERVED && order->payment_deadline_ms == 0)
        return "may be paid for ever";
    if (state == TG_ORDER_RESERVED && !world->timers_may_lag &&
        order->payment_deadline_ms < world->now_ms - LG_WORLD_LATE_MS)
        return "did not expire at its deadline";
    if (turned_away_in_time(order))
        return "was paid in time, and the money is to go back";
    if (order->team_id == 0 && (int)order->cancelled_by != 0 && order->paid_at_ms != 0)
        return "was paid and cancelled";
    if (state == TG_ORDER_COMPLETED && sums_of(order).waiting != 0)
        return "was completed while a refund waited";
    return NULL;
}

/* --- what was acknowledged --- */

static const Tidegate__V1__Payment *payment_named(const Tidegate__V1__Order *order,
                                                  enum lg_payment number)
{
    char id[16];
    int bytes = snprintf(id, sizeof(id), "pay-%d", (int)number);
    for (size_t i = 0; i < order->n_payments; i++) {
        const Tidegate__V1__Payment *payment = order->payments[i];
        if (payment->payment_id.len == (size_t)bytes &&
            memcmp(payment->payment_id.data, id, (size_t)bytes) == 0)
            return payment;
    }
    return NULL;
}

static bool payment_is(const Tidegate__V1__Order *order, enum lg_payment number, int status,
                       int or_status)
{
    const Tidegate__V1__Payment *payment = payment_named(order, number);
    return payment && ((int)payment->status == status || (int)payment->status == or_status);
}

static bool payments_stand(uint32_t deeds, const Tidegate__V1__Order *order)
{
    if (deeds & LG_DEED_PAID &&
        !payment_is(order, LG_PAYMENT_FIRST, TG_PAYMENT_APPLIED, TG_PAYMENT_LATE))
        return false;
    if (deeds & LG_DEED_PAID_DUE &&
        !payment_is(order, LG_PAYMENT_FIRST, TG_PAYMENT_REFUND_DUE, TG_PAYMENT_REFUND_DUE))
        return false;
    if (deeds & LG_DEED_SECOND_DUE &&
        !payment_is(order, LG_PAYMENT_SECOND, TG_PAYMENT_REFUND_DUE, TG_PAYMENT_REFUND_DUE))
        return false;
    return !(deeds & LG_DEED_MISMATCH) ||
           payment_is(order, LG_PAYMENT_WRONG, TG_PAYMENT_REFUSED_AMOUNT,
                      TG_PAYMENT_REFUSED_AMOUNT);
}

/* The refund is where the last thing that was said of it left it, or further on. */
static bool refund_stands(const struct lg_order_entry *entry, const Tidegate__V1__Order *order)
{
    const uint32_t all = LG_DEED_REFUND_ASKED | LG_DEED_REFUND_APPROVED | LG_DEED_REFUND_REJECTED |
                         LG_DEED_REFUND_RECORDED;
    if (!(entry->deeds & all))
        return true;
    if (entry->refund_number == 0 || entry->refund_number > order->n_refunds)
        return false;
    int status = (int)order->refunds[entry->refund_number - 1]->status;
    if (entry->deeds & LG_DEED_REFUND_RECORDED)
        return status == TG_REFUND_REFUNDED;
    if (entry->deeds & LG_DEED_REFUND_REJECTED)
        return status == TG_REFUND_REJECTED;
    if (entry->deeds & LG_DEED_REFUND_APPROVED)
        return status == TG_REFUND_DUE_STATUS || status == TG_REFUND_REFUNDED;
    return true;
}

static bool steps_stand(const struct lg_order_entry *entry, const Tidegate__V1__Order *order)
{
    uint32_t deeds = entry->deeds;
    if (deeds & LG_DEED_EXTENDED &&
        ((order->payment_deadline_ms != 0 && order->payment_deadline_ms < entry->deadline_ms) ||
         (expired_at_ms(order) != 0 && expired_at_ms(order) < entry->deadline_ms)))
        return false;
    return !(deeds & LG_DEED_CANCELLED && (int)order->cancelled_by != TG_CANCELLED_BY_BUYER) &&
           !(deeds & LG_DEED_SHIPPED && order->shipped_at_ms == 0) &&
           !(deeds & LG_DEED_DELIVERED && order->delivered_at_ms == 0) &&
           !(deeds & LG_DEED_COMPLETED && order->completed_at_ms == 0);
}

static uint64_t facts_of(const Tidegate__V1__Order *order)
{
    struct lg_facts facts = {
        .user_id = order->user_id,
        .team_id = order->team_id,
        .channel = order->channel,
        .request_id = order->ingested || order->request_id.len != TG_REQUEST_ID_BYTES
                          ? NULL
                          : order->request_id.data,
        .external_id = order->external_id.len ? order->external_id.data : (const uint8_t *)"",
        .external_bytes = order->external_id.len,
    };
    if (order->n_lines == 0)
        facts.lines = lg_facts_line(order->sku, order->quantity, order->unit_price_minor);
    for (size_t i = 0; i < order->n_lines; i++)
        facts.lines += lg_facts_line(order->lines[i]->sku, order->lines[i]->quantity,
                                     order->lines[i]->unit_price_minor);
    return lg_facts_print(&facts);
}

static void check_deeds(struct lg_world *world, const struct lg_order_entry *entry,
                        const Tidegate__V1__Order *order)
{
    struct lg_world_findings *findings = world->findings;
    bool placed = entry->deeds & (LG_DEED_PLACED | LG_DEED_INGESTED);
    if (!placed) {
        complain(findings, unknown, "order %" PRIu64 " is there, and nobody was told of it",
                 order->order_id);
        return;
    }
    if (entry->facts != facts_of(order) || entry->amount_minor != order->amount_minor) {
        findings->lost++;
        complain(findings, altered,
                 "order %" PRIu64 " of user %" PRIu64 " is not what was asked for", order->order_id,
                 order->user_id);
    } else if (!payments_stand(entry->deeds, order) || !refund_stands(entry, order) ||
               !steps_stand(entry, order)) {
        complain(findings, lost,
                 "order %" PRIu64 " is %s and does not show what was acknowledged (deeds %x)",
                 order->order_id, tg_order_state_name((int)order->state), entry->deeds);
    }
}

static void check_history(struct lg_world *world, const struct lg_order_entry *entry,
                          const Tidegate__V1__Order *order)
{
    struct lg_world_findings *findings = world->findings;
    if (entry->told_state != order->state)
        complain(findings, history_broken, "order %" PRIu64 " is %s, its events lead to %s",
                 order->order_id, tg_order_state_name((int)order->state),
                 tg_order_state_name(entry->told_state));
    else if (entry->last_sequence != order->last_sequence)
        complain(findings, history_broken,
                 "order %" PRIu64 " says that event %" PRIu64 " is its newest, it is %" PRIu64,
                 order->order_id, order->last_sequence, entry->last_sequence);
    else if (entry->told_due_minor != order->refund_due_minor + order->refunded_minor ||
             entry->told_refunded_minor != order->refunded_minor)
        complain(findings, history_broken,
                 "order %" PRIu64 ": its events tell of %" PRId64 " due for refund and %" PRId64
                 " refunded, it says %" PRId64 " and %" PRId64,
                 order->order_id, entry->told_due_minor, entry->told_refunded_minor,
                 order->refund_due_minor + order->refunded_minor, order->refunded_minor);
}

static int64_t ladder_minor(const Tidegate__V1__Order *order)
{
    int64_t sum = 0;
    for (size_t i = 0; i < order->n_refunds; i++)
        if ((int)order->refunds[i]->cause == TG_REFUND_LADDER)
            sum += order->refunds[i]->amount_minor;
    return sum;
}

static void remember_team(struct lg_world *world, uint64_t team_id)
{
    if (more_room(world, (void **)&world->teams, world->team_count, &world->team_room,
                  sizeof(*world->teams)))
        world->teams[world->team_count++] = team_id;
}

/* Keeps what the checks of teams need. */
static void see(struct lg_world *world, struct lg_order_entry *entry,
                const Tidegate__V1__Order *order)
{
    if (entry->seen || order->order_id <= world->order_id_last)
        complain(world->findings, disordered, "order %" PRIu64 " is listed behind %" PRIu64,
                 order->order_id, world->order_id_last);
    world->order_id_last = order->order_id;
    entry->seen = true;
    entry->state = (uint8_t)order->state;
    entry->team_id = order->team_id;
    entry->quantity = order->quantity;
    entry->unit_price_minor = order->unit_price_minor;
    entry->ladder_minor = ladder_minor(order);
    if (order->team_id == order->order_id)
        remember_team(world, order->team_id);
}

void lg_world_order(struct lg_world *world, const Tidegate__V1__Order *order)
{
    struct lg_world_findings *findings = world->findings;
    struct lg_order_entry *entry =
        order->order_id ? lg_ledger_entry(world->ledger, order->order_id) : NULL;
    findings->orders++;
    if (!entry) {
        if (order->order_id == 0)
            complain(findings, disordered, "an order without an id is listed");
        else
            world->no_memory = true;
        return;
    }
    see(world, entry, order);
    const char *words = contradiction(world, order);
    if (words)
        complain(findings, order_broken, "order %" PRIu64 ", %s, %s", order->order_id,
                 tg_order_state_name((int)order->state), words);
    if ((int)order->state > 0 && (int)order->state < TG_ORDER_STATE_COUNT)
        findings->states[order->state]++;
    hold_units(world, order);
    check_money(world, order);
    check_deeds(world, entry, order);
    check_history(world, entry, order);
}

/* --- teams --- */

/* What a member's order may be, by the state of its team. */
static bool member_fits(int team_state, bool paid, int order_state)
{
    bool refunded = order_state == TG_ORDER_REFUND_DUE || order_state == TG_ORDER_REFUNDED;
    if (team_state == TG_TEAM_PENDING)
        return !paid && order_state == TG_ORDER_RESERVED;
    if (team_state == TG_TEAM_OPEN)
        return order_state == (paid ? TG_ORDER_AWAITING_TEAM : TG_ORDER_RESERVED);
    if (team_state == TG_TEAM_STATE_FORMED)
        return paid && (refunded ||
                        (order_state >= TG_ORDER_CONFIRMED && order_state <= TG_ORDER_COMPLETED));
    return refunded || order_state == TG_ORDER_TEAM_FAILED;
}

static bool settles_ladder(const Tidegate__V1__Team *team, const struct lg_order_entry *entry)
{
    int64_t less = entry->unit_price_minor - team->unit_price_minor;
    bool is_formed = (int)team->state == TG_TEAM_STATE_FORMED;
    return entry->ladder_minor == (is_formed && less > 0 ? less * entry->quantity : 0);
}

static void check_member(struct lg_world *world, const Tidegate__V1__Team *team,
                         const Tidegate__V1__TeamMember *member)
{
    struct lg_order_entry *entry = lg_ledger_find(world->ledger, member->order_id);
    const char *words = NULL;
    if (!entry || !entry->seen || entry->team_id != team->team_id)
        words = "is not of this team";
    else if (entry->seated)
        words = "has two seats";
    else if (!member_fits((int)team->state, member->paid, entry->state))
        words = "cannot be in this state";
    else if (!settles_ladder(team, entry))
        words = "did not get back what the ladder gives";
    if (entry)
        entry->seated = true;
    if (words)
        complain(world->findings, team_broken,
                 "team %" PRIu64 " is in state %d, the order %" PRIu64 " (%s) of its member %s",
                 team->team_id, (int)team->state, member->order_id,
                 entry ? tg_order_state_name(entry->state) : "missing", words);
}

/* What a unit costs when so many seats are paid. */
static int64_t ladder_price(const struct lg_world_item *item, uint32_t paid)
{
    int64_t price = item->price_minor;
    for (uint32_t i = 0; i < item->step_count && item->step_size[i] <= paid; i++)
        price = item->step_price_minor[i];
    return price;
}

struct seats {
    uint32_t paid;
    uint32_t captains;
    bool user_twice;
};

static struct seats seats_of(const Tidegate__V1__Team *team)
{
    struct seats seats = {0};
    for (size_t i = 0; i < team->n_members; i++) {
        seats.paid += team->members[i]->paid ? 1 : 0;
        seats.captains += team->members[i]->captain ? 1 : 0;
        for (size_t j = 0; j < i; j++)
            seats.user_twice =
                seats.user_twice || team->members[j]->user_id == team->members[i]->user_id;
    }
    return seats;
}

static const char *team_contradiction(struct lg_world *world, const Tidegate__V1__Team *team)
{
    struct seats seats = seats_of(team);
    int state = (int)team->state;
    bool going = state == TG_TEAM_PENDING || state == TG_TEAM_OPEN;
    const struct lg_world_item *item = item_named(world, team->sku);
    if (state <= 0 || state > TG_TEAM_DISSOLVED || !item)
        return "is in no state, or of no item";
    if (team->n_members > team->size || team->claimed > team->size)
        return "is overfull";
    if (team->claimed != team->n_members || team->paid != seats.paid)
        return "miscounts its seats";
    if (seats.user_twice)
        return "seats one user twice";
    if ((going || state == TG_TEAM_STATE_FORMED) && seats.captains > 1)
        return "has more than one captain";
    if (going && seats.captains != 1)
        return "has no captain";
    if (state == TG_TEAM_OPEN && (seats.paid == 0 || seats.paid == team->size))
        return "is open, though nobody or everybody has paid";
    if (state == TG_TEAM_STATE_FORMED && seats.paid < team->size && !team->auto_completed)
        return "formed without enough seats paid";
    if (state == TG_TEAM_STATE_FORMED && team->unit_price_minor != ladder_price(item, seats.paid))
        return "formed at a price that is not its ladder's";
    if (going ? team->ended_at_ms != 0 : team->ended_at_ms == 0)
        return "ended at a time that does not fit";
    if (going && !world->timers_may_lag && team->deadline_ms < world->now_ms - LG_WORLD_LATE_MS)
        return "did not end at its deadline";
    return NULL;
}

static void check_team_history(struct lg_world *world, const Tidegate__V1__Team *team)
{
    const struct lg_order_entry *entry = lg_ledger_find(world->ledger, team->team_id);
    int told = entry ? entry->told_team_state : 0;
    if (told != ((int)team->state == TG_TEAM_PENDING ? 0 : (int)team->state))
        complain(world->findings, history_broken,
                 "team %" PRIu64 " is in state %d, its events lead to %d", team->team_id,
                 (int)team->state, told);
}

void lg_world_team(struct lg_world *world, uint64_t team_id, const Tidegate__V1__Team *team)
{
    struct lg_world_findings *findings = world->findings;
    findings->teams++;
    if (!team || team->team_id != team_id) {
        complain(findings, team_broken, "team %" PRIu64 " cannot be read", team_id);
        return;
    }
    if ((int)team->state > 0 && (int)team->state <= TG_TEAM_DISSOLVED)
        findings->team_states[team->state]++;
    const char *words = team_contradiction(world, team);
    if (words)
        complain(findings, team_broken,
                 "team %" PRIu64 " of %u seats, in state %d with %zu members, %s", team_id,
                 team->size, (int)team->state, team->n_members, words);
    for (size_t i = 0; i < team->n_members; i++)
        check_member(world, team, team->members[i]);
    check_team_history(world, team);
}

/* --- the end --- */

/* An order of a team that stands has a seat in it. */
static bool lacks_seat(const struct lg_order_entry *entry)
{
    return entry->seen && entry->team_id != 0 && !entry->seated &&
           (entry->state == TG_ORDER_RESERVED || keeps_money(entry->state));
}

static int by_user_and_item(const void *a, const void *b)
{
    const struct lg_world_holding *one = a, *other = b;
    if (one->user_id != other->user_id)
        return one->user_id < other->user_id ? -1 : 1;
    return one->item < other->item ? -1 : one->item > other->item;
}

/* Only a sale with limits has holdings. */
static void check_limits(struct lg_world *world)
{
    struct lg_world_holding *holdings = world->holdings;
    if (world->holding_count > 0)
        qsort(holdings, world->holding_count, sizeof(*holdings), by_user_and_item);
    for (uint64_t i = 0, next; i < world->holding_count; i = next) {
        uint64_t units = 0;
        for (next = i;
             next < world->holding_count && by_user_and_item(&holdings[i], &holdings[next]) == 0;
             next++)
            units += holdings[next].units;
        const struct lg_world_item *item = &world->items[holdings[i].item];
        if (units > item->per_user_limit)
            complain(world->findings, over_limit,
                     "user %" PRIu64 " holds %" PRIu64 " units of item %s, %u are the limit",
                     holdings[i].user_id, units, item->sku, item->per_user_limit);
    }
}

void lg_world_finish(struct lg_world *world)
{
    struct lg_world_findings *findings = world->findings;
    check_limits(world);
    for (uint64_t i = 0; i <= world->ledger->mask; i++) {
        const struct lg_order_entry *entry = &world->ledger->slots[i];
        if (entry->order_id == 0)
            continue;
        if (entry->deeds != 0 && !entry->seen)
            complain(findings, lost, "order %" PRIu64 " was acknowledged and is not there",
                     entry->order_id);
        if (lacks_seat(entry))
            complain(findings, team_broken, "order %" PRIu64 ", %s, has no seat in team %" PRIu64,
                     entry->order_id, tg_order_state_name(entry->state), entry->team_id);
    }
}

void lg_world_sale_lost(struct lg_world_findings *findings)
{
    complain(findings, lost, "%s", "the sale is not there any more");
}

bool lg_world_ok(const struct lg_world_findings *f)
{
    return f->lost + f->unknown + f->disordered + f->oversold + f->books_broken + f->books_differ +
                   f->over_limit + f->over_share + f->money_broken + f->order_broken +
                   f->team_broken + f->history_broken ==
               0 &&
           f->money_in == f->money_kept + f->money_due + f->money_refunded;
}
