#include "tests/sim/sim.h"

#define SAME(field, theirs, ours)                                                                  \
    promise((theirs) == (ours), "%s of order %d (user %d) is %ld where the model says %ld", field, \
            place, order->body.user, (long)(theirs), (long)(ours))

static void compare_money(int place, const struct tg_life *life, const struct m_order *order)
{
    SAME("received", life->received_minor, order->received);
    SAME("refund due", life->refund_due_minor, order->due);
    SAME("refunded", life->refunded_minor, order->refunded);
    SAME("payment count", life->payment_count, order->payment_count);
    SAME("refund count", life->refund_count, order->refund_count);
    for (int i = 0; i < order->payment_count; i++) {
        SAME("payment amount", life->payments[i].amount_minor, order->payments[i].what.amount);
        SAME("payment status", life->payments[i].status, order->payments[i].status);
    }
    for (int i = 0; i < order->refund_count; i++) {
        SAME("refund amount", life->refunds[i].amount_minor, order->refunds[i].amount);
        SAME("refund cause", life->refunds[i].cause, order->refunds[i].cause);
        SAME("refund status", life->refunds[i].status, order->refunds[i].status);
        SAME("refund restock", life->refunds[i].restock, order->refunds[i].restock);
    }
}

static void compare_times(int place, const struct tg_life *life, const struct m_order *order)
{
    SAME("payment deadline", life->payment_deadline_ms, order->deadline_ms);
    SAME("time of payment", life->paid_at_ms, order->paid_at_ms);
    SAME("time of confirmation", life->confirmed_at_ms, order->confirmed_at_ms);
    SAME("time of shipping", life->shipped_at_ms, order->shipped_at_ms);
    SAME("time of delivery", life->delivered_at_ms, order->delivered_at_ms);
    SAME("time of completion", life->completed_at_ms, order->completed_at_ms);
    SAME("time of the end", life->ended_at_ms, order->ended_at_ms);
    SAME("time of the refund", life->refunded_at_ms, order->refunded_at_ms);
}

static void compare_row(int place, const struct tg_order_row *row, const struct m_order *order)
{
    SAME("user", row->user_id, (uint64_t)order->body.user);
    SAME("channel", row->channel, order->body.channel);
    SAME("item", row->item, (uint32_t)order->body.lines[0].item);
    SAME("time of acceptance", row->accepted_at_ms, order->accepted_at_ms);
    SAME("line count", row->line_count, order->body.kind == M_CART ? order->body.line_count : 0);
    if (order->body.kind != M_CART)
        SAME("quantity", row->quantity, order->body.lines[0].quantity);
    for (int l = 0; l < row->line_count; l++) {
        SAME("item of a line", row->lines[l].item, (uint32_t)order->body.lines[l].item);
        SAME("quantity of a line", row->lines[l].quantity, order->body.lines[l].quantity);
    }
}

void sim_compare_order(const struct world *world, int place, const struct tg_order_row *row,
                       const struct tg_life *life, const struct m_order *order)
{
    (void)world;
    compare_row(place, row, order);
    SAME("state", life->state, order->state);
    SAME("place of the units", life->units, order->units);
    SAME("canceller", life->cancelled_by, order->cancelled_by);
    SAME("amount", life->amount_minor, order->amount);
    SAME("count of remembered changes", life->command_count, order->seen_count);
    compare_money(place, life, order);
    compare_times(place, life, order);
}

#define TEAM_SAME(field, theirs, ours)                                                             \
    promise((theirs) == (ours), "%s of team %lu is %ld where the model says %ld", field,           \
            (unsigned long)expected->id, (long)(theirs), (long)(ours))

void sim_compare_team(const struct world *world, const struct tg_team *team,
                      const struct m_team *expected)
{
    TEAM_SAME("item", team->item, (uint32_t)expected->item);
    TEAM_SAME("state", team->state, expected->state);
    TEAM_SAME("size", team->size, expected->size);
    TEAM_SAME("count of seats", team->seat_count, expected->seat_count);
    TEAM_SAME("deadline", team->deadline_ms, expected->deadline_ms);
    TEAM_SAME("time of the end", team->ended_at_ms, expected->ended_at_ms);
    TEAM_SAME("price", team->unit_price_minor, expected->price);
    TEAM_SAME("auto_completed", team->auto_completed, expected->auto_completed);
    TEAM_SAME("captain", team->captain_order_id, world->model.orders[expected->captain].id);
    for (int i = 0; i < expected->seat_count; i++) {
        const struct m_seat *seat = &expected->seats[i];
        TEAM_SAME("order of a seat", team->seats[i].order_id, world->model.orders[seat->order].id);
        TEAM_SAME("user of a seat", team->seats[i].user_id, (uint64_t)seat->user);
        TEAM_SAME("payment of a seat", team->seats[i].paid_at_ms, seat->paid_at_ms);
        TEAM_SAME("joining of a seat", team->seats[i].joined_at_ms, seat->joined_at_ms);
    }
}

/* The place of the order that a record changes. */
static int place_of(const struct world *world, const struct m_change *change,
                    const struct tg_record *record)
{
    for (int i = 0; i < change->count; i++) {
        int place = change->moved[i].order;
        uint64_t id = record->change->creates ? 0 : record->change->row.order_id;
        if (world->model.orders[place].id == id)
            return place;
    }
    return M_NONE;
}

void sim_compare_unit(struct world *world, const struct eng_unit *unit, int number)
{
    const struct m_change *change = &world->model.changes[number];
    int orders = 0;
    for (uint32_t i = 0; i < unit->count; i++) {
        const struct tg_record *record = tg_journal_reserve_ahead(unit->journal, i);
        if (record->kind == TG_RECORD_CHANGE) {
            int place = place_of(world, change, record);
            promise(place != M_NONE, "order %lu changes, and not in the model",
                    (unsigned long)record->change->row.order_id);
            sim_compare_order(world, place, &record->change->row, &record->change->life,
                              &world->model.next_orders[place]);
            orders++;
        } else if (record->kind == TG_RECORD_TEAM) {
            promise(change->team != M_NONE, "team %lu changes, and not in the model",
                    (unsigned long)record->team.team->team_id);
            sim_compare_team(world, record->team.team, &world->model.next_teams[change->team]);
        }
    }
    promise(orders == change->count, "%d orders change where the model changes %d", orders,
            change->count);
}

void sim_compare_stock(struct world *world)
{
    for (int i = 0; i < world->model.item_count; i++) {
        const struct m_item *item = &world->model.items[i];
        const struct eng_item *theirs = sim_item(world, i);
        struct tg_stock stock = eng_item_stock(theirs);
        int64_t held = atomic_load_explicit(&theirs->stock.held_units, memory_order_relaxed);
        promise(stock.available_units == item->available &&
                    stock.reserved_units == item->reserved && stock.sold_units == item->sold &&
                    stock.restocked_units == item->restocked && held == item->held,
                "item %d has %u available, %u reserved, %u sold, %ld held where the model has "
                "%ld, %ld, %ld, %ld",
                i, stock.available_units, stock.reserved_units, stock.sold_units, (long)held,
                (long)item->available, (long)item->reserved, (long)item->sold, (long)item->held);
    }
}
