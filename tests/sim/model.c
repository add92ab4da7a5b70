#include "tests/sim/model.h"

#include <stddef.h>
#include <string.h>

#define EXTEND_MS_MAX (30ll * 24 * 3600 * 1000)

/* A change being put together. */
struct draft {
    struct model *m;
    int64_t now_ms;
    struct m_change change;
    struct m_team *team; /* the next one, when it changes */
    int touched[M_SEATS + 1];
};

/* --- finding --- */

static bool stands(int state)
{
    return state == TG_ORDER_RESERVED || state == TG_ORDER_PAID ||
           state == TG_ORDER_AWAITING_TEAM || state == TG_ORDER_CONFIRMED ||
           state == TG_ORDER_SHIPPED || state == TG_ORDER_DELIVERED || state == TG_ORDER_COMPLETED;
}

int m_find(const struct model *m, uint64_t order_id)
{
    for (int i = 0; i < m->order_count; i++)
        if (m->ids[i] == order_id && order_id != 0)
            return i;
    return M_NONE;
}

int m_find_team(const struct model *m, uint64_t team_id)
{
    for (int i = 0; i < m->team_count; i++)
        if (m->teams[i].durable && m->teams[i].id == team_id)
            return i;
    return M_NONE;
}

static int free_order(const struct model *m)
{
    for (int i = m->order_count - 1; i >= 0 && i >= m->order_count - 64; i--)
        if (!m->orders[i].used)
            return i;
    return m->order_count;
}

static int free_team(const struct model *m)
{
    for (int i = 0; i < m->team_count; i++)
        if (!m->teams[i].used)
            return i;
    return m->team_count;
}

static int free_change(const struct model *m)
{
    int i = 0;
    while (i < M_CHANGES && m->changes[i].used)
        i++;
    return i;
}

bool m_has_room(const struct model *m)
{
    return m->order_count < M_ORDERS - 1 && m->team_count < M_TEAMS - 1 &&
           free_change(m) < M_CHANGES - 8;
}

void m_begin(struct model *m, int shards)
{
    m->shards = shards;
    for (int s = 0; s < m->sale_count; s++)
        for (int i = 0; i < m->sales[s].item_count; i++) {
            int number = m->sales[s].first_item + i;
            struct m_item *item = &m->items[number];
            int counted = m->sales[s].team_size ? m->sales[s].first_item : number;
            item->sale = s;
            item->partition = counted % M_PARTITIONS;
            item->shard = item->partition % shards;
            item->available = item->initial;
        }
}

/* --- who has how much --- */

int64_t m_user_units(const struct model *m, int item, int user)
{
    int64_t units = 0;
    for (int i = 0; i < m->order_count; i++)
        for (int l = 0; l < m->counts[i].line_count; l++)
            if ((m->counts[i].counted >> l & 1) && m->counts[i].user == user &&
                m->counts[i].items[l] == item)
                units += m->counts[i].quantities[l];
    for (int h = 0; h < m->hold_high; h++)
        for (int l = 0; m->holds[h].used && l < m->holds[h].take.line_count; l++) {
            const struct m_take *take = &m->holds[h].take;
            if (take->begins && take->user == user && take->lines[l].item == item &&
                m->items[item].shard == m->holds[h].shard)
                units += take->lines[l].quantity;
        }
    return units;
}

static int64_t channel_units(const struct model *m, int item, int channel)
{
    int64_t units = 0;
    for (int i = 0; i < m->order_count; i++)
        for (int l = 0; l < m->counts[i].line_count; l++)
            if ((m->counts[i].counted >> l & 1) && m->counts[i].channel == channel &&
                m->counts[i].items[l] == item)
                units += m->counts[i].quantities[l];
    for (int h = 0; h < m->hold_high; h++)
        for (int l = 0; m->holds[h].used && l < m->holds[h].take.line_count; l++) {
            const struct m_take *take = &m->holds[h].take;
            if (take->begins && take->channel == channel && take->lines[l].item == item &&
                m->items[item].shard == m->holds[h].shard)
                units += take->lines[l].quantity;
        }
    return units;
}

/* The user has no standing order in the sale. */
static bool is_new_buyer(const struct model *m, int sale, int user)
{
    for (int i = 0; i < m->order_count; i++)
        if (m->counts[i].counted && m->counts[i].user == user &&
            m->items[m->counts[i].items[0]].sale == sale)
            return false;
    return true;
}

static int open_teams(const struct model *m, int sale, int user)
{
    int teams = 0;
    for (int i = 0; i < m->team_count; i++)
        teams += m->team_counted[i] && m->next_teams[i].opener_user == user &&
                 m->items[m->next_teams[i].item].sale == sale;
    return teams;
}

/* --- units --- */

static int64_t *units_at(struct m_item *item, int units)
{
    return units == M_FREE ? &item->available : units == M_RESERVED ? &item->reserved : &item->sold;
}

static void move_units(struct m_item *item, int from, int to, int64_t quantity)
{
    *units_at(item, from) -= quantity;
    *units_at(item, to) += quantity;
}

static int units_when_placed(int policy)
{
    return policy == M_RESERVE ? M_RESERVED : policy == M_ON_PLACE ? M_SOLD : M_FREE;
}

static int check_window(const struct m_sale *sale, int64_t now_ms)
{
    if (now_ms >= sale->ends_at_ms)
        return TG_ENDED;
    if (now_ms < sale->starts_at_ms)
        return TG_NOT_STARTED;
    return sale->is_paused ? TG_PAUSED : TG_ACCEPTED;
}

static int check_stock(const struct m_item *item, int64_t quantity)
{
    if (item->available >= quantity)
        return TG_ACCEPTED;
    if (item->available + item->held >= quantity)
        return TG_BUSY;
    return item->available == 0 ? TG_SOLD_OUT : TG_INSUFFICIENT_STOCK;
}

static int check_counts(const struct model *m, int number, const struct m_take *take,
                        int64_t quantity)
{
    const struct m_item *item = &m->items[number];
    const struct m_sale *sale = &m->sales[item->sale];
    if (item->limit && m_user_units(m, number, take->user) + quantity > item->limit)
        return TG_LIMIT_REACHED;
    if (sale->share_percent && sale->share_channel == take->channel &&
        channel_units(m, number, take->channel) + quantity >
            (item->initial + item->restocked) * sale->share_percent / 100)
        return TG_CHANNEL_SHARE_REACHED;
    return TG_ACCEPTED;
}

static int check_line(const struct model *m, const struct m_take *take, const struct m_line *line,
                      int64_t now_ms)
{
    const struct m_item *item = &m->items[line->item];
    if (take->gated) {
        int verdict = check_window(&m->sales[item->sale], now_ms);
        if (verdict != TG_ACCEPTED)
            return verdict;
        if (line->price != item->price)
            return TG_PRICE_CHANGED;
        if (item->per_order_max && line->quantity > item->per_order_max)
            return TG_INVALID_ARGUMENT;
    }
    int verdict = check_stock(item, line->quantity);
    return verdict == TG_ACCEPTED && take->begins
               ? check_counts(m, line->item, take, line->quantity)
               : verdict;
}

/* Every line of `shard` (M_NONE: of all), or the verdicts of those that failed. */
static bool check_take(const struct model *m, const struct m_take *take, int shard, int64_t now_ms,
                       int verdicts[M_LINES])
{
    bool all = true;
    for (int l = 0; l < take->line_count; l++) {
        bool asked = shard == M_NONE || m->items[take->lines[l].item].shard == shard;
        verdicts[l] = asked ? check_line(m, take, &take->lines[l], now_ms) : TG_ACCEPTED;
        all = all && verdicts[l] == TG_ACCEPTED;
    }
    return all;
}

static int first_refusal(const int verdicts[M_LINES], int count)
{
    for (int l = 0; l < count; l++)
        if (verdicts[l] != TG_ACCEPTED)
            return verdicts[l];
    return TG_ACCEPTED;
}

static bool is_spread(const struct model *m, const struct m_take *take)
{
    for (int l = 1; l < take->line_count; l++)
        if (m->items[take->lines[l].item].shard != m->items[take->lines[0].item].shard)
            return true;
    return false;
}

bool m_hold(struct model *m, const struct m_take *take, int shard, int64_t now_ms,
            int verdicts[M_LINES])
{
    if (!check_take(m, take, shard, now_ms, verdicts))
        return false;
    for (int l = 0; l < take->line_count; l++) {
        struct m_item *item = &m->items[take->lines[l].item];
        if (item->shard != shard || take->before == take->after)
            continue;
        move_units(item, take->before, take->after, take->lines[l].quantity);
        item->held += take->lines[l].quantity;
    }
    int h = 0;
    while (h < m->hold_high && m->holds[h].used)
        h++;
    if (h == m->hold_high)
        m->hold_high++;
    m->holds[h] = (struct m_hold){.used = true, .shard = shard, .take = *take};
    return true;
}

static void drop_hold(struct model *m, const struct m_take *take, int shard)
{
    for (int h = 0; h < m->hold_high; h++)
        if (m->holds[h].used && m->holds[h].shard == shard &&
            memcmp(&m->holds[h].take, take, sizeof(*take)) == 0) {
            m->holds[h].used = false;
            return;
        }
}

void m_release(struct model *m, const struct m_take *take, int shard)
{
    drop_hold(m, take, shard);
    for (int l = 0; l < take->line_count; l++) {
        struct m_item *item = &m->items[take->lines[l].item];
        if (item->shard != shard || take->before == take->after)
            continue;
        move_units(item, take->after, take->before, take->lines[l].quantity);
        item->held -= take->lines[l].quantity;
    }
}

/* --- events and states --- */

static void order_event(struct m_order *order, int type)
{
    order->events[type]++;
    order->event_count++;
}

static void team_event(struct m_team *team, int type)
{
    team->events[type]++;
    team->event_count++;
}

/* Times of steps never go back. */
static int64_t step_ms(const struct m_order *order, int64_t now_ms)
{
    const int64_t taken[] = {order->accepted_at_ms, order->paid_at_ms,      order->confirmed_at_ms,
                             order->shipped_at_ms,  order->delivered_at_ms, order->ended_at_ms,
                             order->refunded_at_ms};
    for (int i = 0; i < 7; i++)
        if (taken[i] > now_ms)
            now_ms = taken[i];
    return now_ms;
}

static void go_to(struct m_order *order, int state, int64_t now_ms)
{
    int64_t at_ms = step_ms(order, now_ms);
    order->state = state;
    switch (state) {
    case TG_ORDER_PAID:
        order->paid_at_ms = at_ms;
        order->deadline_ms = 0;
        order_event(order, TG_EVENT_ORDER_PAID);
        break;
    case TG_ORDER_AWAITING_TEAM:
        order_event(order, TG_EVENT_ORDER_AWAITING_TEAM);
        break;
    case TG_ORDER_CONFIRMED:
        order->confirmed_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_CONFIRMED);
        break;
    case TG_ORDER_SHIPPED:
        order->shipped_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_SHIPPED);
        break;
    case TG_ORDER_DELIVERED:
        order->delivered_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_DELIVERED);
        break;
    case TG_ORDER_COMPLETED:
        order->completed_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_COMPLETED);
        break;
    case TG_ORDER_EXPIRED:
        order->ended_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_EXPIRED);
        break;
    case TG_ORDER_CANCELLED:
        order->ended_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_CANCELLED);
        break;
    case TG_ORDER_TEAM_FAILED:
        order->ended_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_TEAM_FAILED);
        break;
    case TG_ORDER_REFUND_DUE:
        order_event(order, TG_EVENT_ORDER_REFUND_DUE);
        break;
    case TG_ORDER_REFUNDED:
        order->refunded_at_ms = at_ms;
        order_event(order, TG_EVENT_ORDER_REFUNDED);
        break;
    }
}

static int state_verdict(int state)
{
    switch (state) {
    case TG_ORDER_RESERVED:
        return TG_NOT_PAID;
    case TG_ORDER_PAID:
    case TG_ORDER_CONFIRMED:
        return TG_ALREADY_PAID;
    case TG_ORDER_AWAITING_TEAM:
        return TG_AWAITING_TEAM;
    case TG_ORDER_SHIPPED:
        return TG_ALREADY_SHIPPED;
    case TG_ORDER_DELIVERED:
        return TG_ALREADY_DELIVERED;
    case TG_ORDER_COMPLETED:
        return TG_ALREADY_COMPLETED;
    case TG_ORDER_EXPIRED:
        return TG_EXPIRED;
    case TG_ORDER_CANCELLED:
        return TG_ALREADY_CANCELLED;
    case TG_ORDER_TEAM_FAILED:
        return TG_TEAM_FAILED;
    case TG_ORDER_REFUND_DUE:
        return TG_REFUND_DUE;
    default:
        return TG_ALREADY_REFUNDED;
    }
}

/* --- money --- */

static int64_t money_left(const struct m_order *order)
{
    int64_t left = order->received - order->due - order->refunded;
    for (int i = 0; i < order->refund_count; i++)
        if (order->refunds[i].status == TG_REFUND_WAITING)
            left -= order->refunds[i].amount;
    return left;
}

/* Returns the refund's number. */
static int refund_add(struct m_order *order, int64_t amount, int cause, int status)
{
    order->refunds[order->refund_count++] =
        (struct m_money_out){.amount = amount, .cause = cause, .status = status};
    return order->refund_count;
}

static void refund_becomes_due(struct m_order *order, int number)
{
    order->refunds[number - 1].status = TG_REFUND_DUE_STATUS;
    order->due += order->refunds[number - 1].amount;
    order_event(order, TG_EVENT_REFUND_DUE);
}

static int refund_owed(struct m_order *order, int64_t amount, int cause)
{
    int number = refund_add(order, amount, cause, TG_REFUND_WAITING);
    refund_becomes_due(order, number);
    return number;
}

static void payment_add(struct m_order *order, const struct m_payment *payment, int status,
                        int verdict, int refund)
{
    order->payments[order->payment_count++] = (struct m_money_in){
        .what = *payment, .status = status, .verdict = verdict, .refund = refund};
    if (status != TG_PAYMENT_REFUSED_AMOUNT && status != TG_PAYMENT_REFUSED_CURRENCY)
        order->received += payment->amount;
}

/* EXPIRED, CANCELLED or TEAM_FAILED: units return, what was paid is due. */
static int order_ends(struct m_order *order, int state, int cause, int64_t now_ms)
{
    go_to(order, state, now_ms);
    order->units = M_FREE;
    int64_t left = money_left(order);
    if (left == 0)
        return 0;
    int number = refund_owed(order, left, cause);
    go_to(order, TG_ORDER_REFUND_DUE, now_ms);
    return number;
}

/* All that was paid is due or has gone back. */
static void end_when_whole(struct m_order *order, int64_t now_ms)
{
    bool may = order->state == TG_ORDER_CONFIRMED || order->state == TG_ORDER_SHIPPED ||
               order->state == TG_ORDER_DELIVERED;
    if (!may || order->due + order->refunded != order->received)
        return;
    for (int i = 0; i < order->refund_count; i++)
        if (order->refunds[i].restock && order->refunds[i].status != TG_REFUND_REJECTED)
            order->units = M_FREE;
    go_to(order, TG_ORDER_REFUND_DUE, now_ms);
}

/* --- a change --- */

/* What is in use of an order. */
static void copy_order(struct m_order *to, const struct m_order *from)
{
    memcpy(to, from, offsetof(struct m_order, payments));
    memcpy(to->payments, from->payments, (size_t)from->payment_count * sizeof(from->payments[0]));
    memcpy(to->refunds, from->refunds, (size_t)from->refund_count * sizeof(from->refunds[0]));
    memcpy(to->seen, from->seen, (size_t)from->seen_count * sizeof(from->seen[0]));
}

static struct draft draft_begin(struct model *m, int home, int64_t now_ms)
{
    return (struct draft){
        .m = m, .now_ms = now_ms, .change = {.home = home, .team = M_NONE, .used = true}};
}

static struct m_order *draft_order(struct draft *d, int place)
{
    struct model *m = d->m;
    for (int i = 0; i < d->change.count; i++)
        if (d->touched[i] == place)
            return &m->next_orders[place];
    const struct m_order *order = &m->orders[place];
    bool is_new = !order->durable;
    if (!is_new)
        copy_order(&m->next_orders[place], order);
    d->change.moved[d->change.count] = (struct m_moved){.order = place,
                                                        .before = is_new ? M_FREE : order->units,
                                                        .stood = !is_new && stands(order->state)};
    d->touched[d->change.count++] = place;
    return &m->next_orders[place];
}

static struct m_team *draft_team(struct draft *d, int place)
{
    if (d->change.team == M_NONE) {
        d->change.team = place;
        d->m->next_teams[place] = d->m->teams[place];
        d->team = &d->m->next_teams[place];
    }
    return d->team;
}

/* All lines of the order count, or none. */
static void count_all(struct model *m, int place, bool counts)
{
    m->counts[place].counted =
        counts ? (uint8_t)((1u << m->counts[place].line_count) - 1) : (uint8_t)0;
}

static uint8_t lines_of_shard(const struct model *m, const struct m_order *order, int shard)
{
    uint8_t lines = 0;
    for (int l = 0; l < order->body.line_count; l++)
        if (m->items[order->body.lines[l].item].shard == shard)
            lines |= (uint8_t)(1 << l);
    return lines;
}

static uint64_t shards_of(const struct model *m, const struct m_order *order)
{
    uint64_t shards = 0;
    for (int l = 0; l < order->body.line_count; l++)
        shards |= 1ull << m->items[order->body.lines[l].item].shard;
    return shards;
}

/* What happens at the decision: units are taken, who begins to stand counts. */
static void record_moved(struct model *m, struct m_change *change, struct m_moved *moved)
{
    struct m_order *next = &m->next_orders[moved->order];
    moved->after = next->units;
    moved->stands = stands(next->state);
    bool moves = moved->before != moved->after || moved->stood != moved->stands;
    if (moves)
        change->shards |= shards_of(m, next);
    for (int l = 0; l < next->body.line_count; l++)
        if (moved->before == M_FREE && moved->after != M_FREE && !change->was_held)
            move_units(&m->items[next->body.lines[l].item], moved->before, moved->after,
                       next->body.lines[l].quantity);
    if (!moved->stood && moved->stands)
        count_all(m, moved->order, true);
}

/* A change of an order in a team has the whole team to itself. What is opened has no lock: whoever
 * guesses its id before its shard knows that it is durable may change it. */
static void lock(struct model *m, struct m_change *change)
{
    int team = change->team;
    for (int i = 0; i < change->count; i++) {
        struct m_moved *moved = &change->moved[i];
        if (!m->orders[moved->order].durable)
            continue;
        moved->locked = m->orders[moved->order].team == M_NONE;
        m->locked[moved->order] = moved->locked;
        if (!moved->locked)
            team = m->orders[moved->order].team;
    }
    change->locked_team = team != M_NONE && (team != change->team || m->teams[team].durable);
    if (change->locked_team) {
        m->team_locked[team] = true;
        change->locks = team;
    }
}

static struct m_answer record(struct draft *d, struct m_answer answer)
{
    struct model *m = d->m;
    struct m_change *change = &d->change;
    change->shards |= 1ull << change->home;
    for (int i = 0; i < change->count; i++)
        record_moved(m, change, &change->moved[i]);
    lock(m, change);
    answer.step = M_RECORDED;
    answer.change = free_change(m);
    m->changes[answer.change] = *change;
    if (answer.change >= m->change_high)
        m->change_high = answer.change + 1;
    return answer;
}

static struct m_answer final(int verdict)
{
    return (struct m_answer){.step = M_FINAL, .verdict = verdict, .order = M_NONE};
}

static struct m_answer step_of(enum m_step step)
{
    return (struct m_answer){.step = step, .order = M_NONE};
}

/* --- teams --- */

static int paid_seats(const struct m_team *team)
{
    int paid = 0;
    for (int i = 0; i < team->seat_count; i++)
        paid += team->seats[i].paid_at_ms != 0;
    return paid;
}

static bool has_user(const struct m_team *team, int user)
{
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].user == user)
            return true;
    return false;
}

static void drop_seat(struct m_team *team, int seat)
{
    for (int i = seat; i + 1 < team->seat_count; i++)
        team->seats[i] = team->seats[i + 1];
    team->seat_count--;
}

static void team_ends(struct draft *d, int state, int event)
{
    d->team->state = state;
    d->team->ended_at_ms = d->now_ms;
    team_event(d->team, event);
}

static void drop_unpaid(struct draft *d)
{
    for (int i = d->team->seat_count - 1; i >= 0; i--) {
        if (d->team->seats[i].paid_at_ms != 0)
            continue;
        struct m_order *member = draft_order(d, d->team->seats[i].order);
        member->cancelled_by = TG_CANCELLED_BY_TEAM;
        order_ends(member, TG_ORDER_CANCELLED, TG_REFUND_CANCELLED, d->now_ms);
        drop_seat(d->team, i);
    }
}

static void team_forms(struct draft *d)
{
    const struct m_item *item = &d->m->items[d->team->item];
    int paid = paid_seats(d->team);
    int64_t price = item->price;
    for (int i = 0; i < item->ladder_steps; i++)
        if (item->ladder_size[i] <= paid)
            price = item->ladder_price[i];
    d->team->price = price;
    team_ends(d, TG_TEAM_STATE_FORMED, TG_EVENT_TEAM_FORMED);
    drop_unpaid(d);
    for (int i = 0; i < d->team->seat_count; i++) {
        struct m_order *member = draft_order(d, d->team->seats[i].order);
        const struct m_line *line = &member->body.lines[0];
        go_to(member, TG_ORDER_CONFIRMED, d->now_ms);
        if (line->price > price)
            refund_owed(member, (line->price - price) * line->quantity, TG_REFUND_LADDER);
    }
}

static void team_breaks_up(struct draft *d, int state, int event)
{
    team_ends(d, state, event);
    drop_unpaid(d);
    for (int i = 0; i < d->team->seat_count; i++)
        order_ends(draft_order(d, d->team->seats[i].order), TG_ORDER_TEAM_FAILED,
                   TG_REFUND_TEAM_FAILED, d->now_ms);
}

/* The order has ended and leaves; who paid first becomes captain. */
static void team_is_left(struct draft *d, int place)
{
    struct m_team *team = draft_team(d, d->m->orders[place].team);
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].order == place)
            drop_seat(team, i--);
    const struct m_seat *first = NULL;
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].paid_at_ms != 0 &&
            (!first || team->seats[i].paid_at_ms < first->paid_at_ms))
            first = &team->seats[i];
    if (!first) {
        team_breaks_up(d, TG_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    } else if (team->captain == place) {
        team->captain = first->order;
        team_event(team, TG_EVENT_TEAM_CAPTAIN_CHANGED);
    }
}

static void seat_is_paid(struct draft *d, int place)
{
    struct m_team *team = draft_team(d, d->m->orders[place].team);
    for (int i = 0; i < team->seat_count; i++)
        if (team->seats[i].order == place)
            team->seats[i].paid_at_ms = d->now_ms;
    go_to(draft_order(d, place), TG_ORDER_AWAITING_TEAM, d->now_ms);
    if (paid_seats(team) == team->size) {
        team_forms(d);
    } else if (team->state == TG_TEAM_PENDING) {
        team->state = TG_TEAM_OPEN;
        team_event(team, TG_EVENT_TEAM_OPENED);
    }
}

/* --- new orders --- */

static bool same_body(const struct m_request *a, const struct m_request *b)
{
    bool same = a->kind == b->kind && a->user == b->user && a->channel == b->channel &&
                a->external == b->external && a->line_count == b->line_count &&
                (a->kind != M_JOIN || a->team_id == b->team_id);
    for (int l = 0; same && l < a->line_count; l++)
        same = a->lines[l].item == b->lines[l].item &&
               a->lines[l].quantity == b->lines[l].quantity &&
               a->lines[l].price == b->lines[l].price;
    return same;
}

static bool same_payment(const struct m_payment *a, const struct m_payment *b)
{
    return a->id == b->id && a->amount == b->amount && a->is_foreign == b->is_foreign &&
           a->channel == b->channel && a->paid_at_ms == b->paid_at_ms;
}

static bool has_payment(const struct m_order *order, const struct m_payment *payment)
{
    for (int i = 0; i < order->payment_count; i++)
        if (same_payment(&order->payments[i].what, payment))
            return true;
    return false;
}

/* The request id is known: `answer` says what follows. */
static bool is_known(const struct model *m, const struct m_request *request,
                     struct m_answer *answer)
{
    int i = 0;
    while (i < m->order_count &&
           (m->keys[i][0] != request->id[0] || m->keys[i][1] != request->id[1]))
        i++;
    if (i == m->order_count)
        return false;
    const struct m_order *order = &m->orders[i];
    *answer = final(TG_REQUEST_ID_CONFLICT);
    if (!same_body(&order->body, request))
        return true;
    if (!order->settled)
        *answer = step_of(M_WAIT);
    else if (!request->is_paid || has_payment(order, &request->payment))
        *answer = (struct m_answer){
            .step = M_FINAL, .verdict = TG_ACCEPTED, .replayed = true, .order = i};
    answer->order = i;
    return true;
}

static struct m_take take_of(const struct m_request *body, int before, int after, bool begins)
{
    struct m_take take;
    memset(&take, 0, sizeof(take));
    take.user = body->user;
    take.channel = body->channel;
    take.line_count = body->line_count;
    take.before = before;
    take.after = after;
    take.begins = begins;
    for (int l = 0; l < body->line_count; l++) {
        take.lines[l].item = body->lines[l].item;
        take.lines[l].quantity = body->lines[l].quantity;
        take.lines[l].price = body->lines[l].price;
    }
    return take;
}

static void fill_counts(struct model *m, int place, const struct m_request *body)
{
    m->counts[place].user = (uint16_t)body->user;
    m->counts[place].channel = (uint16_t)body->channel;
    m->counts[place].counted = 0;
    m->counts[place].line_count = (uint8_t)body->line_count;
    for (int l = 0; l < body->line_count; l++) {
        m->counts[place].items[l] = (uint8_t)body->lines[l].item;
        m->counts[place].quantities[l] = (uint32_t)body->lines[l].quantity;
    }
}

/* The order as it is when it is accepted, RESERVED. */
static int order_create(struct draft *d, const struct m_request *body)
{
    struct model *m = d->m;
    const struct m_item *item = &m->items[body->lines[0].item];
    int place = free_order(m);
    if (place == m->order_count)
        m->order_count++;
    m->keys[place][0] = body->id[0];
    m->keys[place][1] = body->id[1];
    m->ids[place] = 0;
    m->locked[place] = false;
    fill_counts(m, place, body);
    memset(&m->orders[place], 0, offsetof(struct m_order, payments));
    m->orders[place].used = true;
    m->orders[place].body = *body;
    m->orders[place].team = M_NONE;
    m->orders[place].home = item->shard;
    struct m_order *next = &m->next_orders[place];
    copy_order(next, &m->orders[place]);
    next->state = TG_ORDER_RESERVED;
    next->units = units_when_placed(item->policy);
    next->accepted_at_ms = d->now_ms;
    next->deadline_ms = item->policy == M_ON_PLACE ? 0 : d->now_ms + m->sales[item->sale].window_ms;
    for (int l = 0; l < body->line_count; l++)
        next->amount += body->lines[l].price * body->lines[l].quantity;
    order_event(next, TG_EVENT_ORDER_PLACED);
    d->change.creates = true;
    draft_order(d, place);
    return place;
}

/* Takes at the item's price, which has been compared, or may differ. */
static int take_at_own_price(const struct model *m, struct m_take *take, int64_t now_ms)
{
    int verdicts[M_LINES];
    take->gated = true;
    take->lines[0].price = m->items[take->lines[0].item].price;
    check_take(m, take, M_NONE, now_ms, verdicts);
    return first_refusal(verdicts, take->line_count);
}

static struct m_answer accepted(struct draft *d, int place)
{
    struct m_answer answer = {.verdict = TG_ACCEPTED, .order = place};
    return record(d, answer);
}

static struct m_answer place_plain(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    if (m->sales[item->sale].team_size)
        return final(TG_TEAM_REQUIRED);
    struct m_take take = take_of(request, M_FREE, units_when_placed(item->policy), true);
    take.gated = true;
    int verdict = check_line(m, &take, &take.lines[0], now_ms);
    if (verdict != TG_ACCEPTED)
        return final(verdict);
    struct draft d = draft_begin(m, item->shard, now_ms);
    return accepted(&d, order_create(&d, request));
}

static void bound_deadline(struct m_order *order, const struct m_team *team)
{
    if (order->deadline_ms > team->deadline_ms)
        order->deadline_ms = team->deadline_ms;
}

static struct m_answer open_team(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    const struct m_sale *sale = &m->sales[item->sale];
    if (!sale->team_size)
        return final(TG_NOT_A_GROUP_BUY);
    int verdict = check_window(sale, now_ms);
    if (verdict != TG_ACCEPTED)
        return final(verdict);
    if (request->lines[0].price != item->captain_price)
        return final(TG_PRICE_CHANGED);
    if (sale->teams_per_user && open_teams(m, item->sale, request->user) >= sale->teams_per_user)
        return final(TG_TEAM_LIMIT_REACHED);
    struct m_take take = take_of(request, M_FREE, units_when_placed(item->policy), true);
    verdict = take_at_own_price(m, &take, now_ms);
    if (verdict != TG_ACCEPTED)
        return final(verdict);
    struct draft d = draft_begin(m, item->shard, now_ms);
    int place = order_create(&d, request);
    int number = free_team(m);
    if (number == m->team_count)
        m->team_count++;
    m->teams[number] = (struct m_team){.used = true};
    m->team_locked[number] = false;
    m->team_counted[number] = true;
    struct m_team *team = draft_team(&d, number);
    team->opener_user = request->user;
    team->captain = place;
    team->item = request->lines[0].item;
    team->state = TG_TEAM_PENDING;
    team->size = sale->team_size;
    team->opened_at_ms = now_ms;
    team->deadline_ms = now_ms + sale->team_lifetime_ms;
    if (team->deadline_ms > sale->ends_at_ms)
        team->deadline_ms = sale->ends_at_ms;
    team->seats[team->seat_count++] =
        (struct m_seat){.order = place, .user = request->user, .joined_at_ms = now_ms};
    m->orders[place].team = m->next_orders[place].team = number;
    bound_deadline(&m->next_orders[place], team);
    return accepted(&d, place);
}

static int check_join(const struct model *m, const struct m_request *request,
                      const struct m_team *team, int64_t now_ms)
{
    const struct m_sale *sale = &m->sales[m->items[team->item].sale];
    if (team->item != request->lines[0].item)
        return TG_INVALID_ARGUMENT;
    if (team->state == TG_TEAM_PENDING)
        return TG_TEAM_NOT_OPEN;
    if (team->state == TG_TEAM_STATE_FORMED)
        return TG_TEAM_FORMED;
    if (team->state != TG_TEAM_OPEN || now_ms >= team->deadline_ms)
        return TG_TEAM_ENDED;
    if (has_user(team, request->user))
        return TG_ALREADY_IN_TEAM;
    if (team->seat_count >= team->size)
        return TG_TEAM_FULL;
    if (sale->new_buyers_only &&
        (!request->new_buyer || !is_new_buyer(m, m->items[team->item].sale, request->user)))
        return TG_NOT_NEW_BUYER;
    return TG_ACCEPTED;
}

static struct m_answer join_team(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    const struct m_sale *sale = &m->sales[item->sale];
    if (!sale->team_size)
        return final(TG_NOT_A_GROUP_BUY);
    int verdict = check_window(sale, now_ms);
    if (verdict != TG_ACCEPTED)
        return final(verdict);
    if (request->lines[0].price != item->price)
        return final(TG_PRICE_CHANGED);
    int number = m_find_team(m, request->team_id);
    if (number == M_NONE)
        return final(TG_UNKNOWN_TEAM);
    if (m->team_locked[number])
        return step_of(M_WAIT);
    verdict = check_join(m, request, &m->teams[number], now_ms);
    struct m_take take = take_of(request, M_FREE, units_when_placed(item->policy), true);
    if (verdict == TG_ACCEPTED)
        verdict = take_at_own_price(m, &take, now_ms);
    if (verdict != TG_ACCEPTED)
        return final(verdict);
    struct draft d = draft_begin(m, item->shard, now_ms);
    int place = order_create(&d, request);
    struct m_team *team = draft_team(&d, number);
    team->seats[team->seat_count++] =
        (struct m_seat){.order = place, .user = request->user, .joined_at_ms = now_ms};
    m->orders[place].team = m->next_orders[place].team = number;
    bound_deadline(&m->next_orders[place], team);
    return accepted(&d, place);
}

static struct m_answer ingest(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    if (m->sales[item->sale].team_size)
        return final(TG_TEAM_REQUIRED);
    if (request->is_paid && request->payment.is_foreign)
        return final(TG_CURRENCY_MISMATCH);
    if (request->is_paid &&
        request->payment.amount != request->lines[0].price * request->lines[0].quantity)
        return final(TG_AMOUNT_MISMATCH);
    int units = request->is_paid ? M_SOLD : units_when_placed(item->policy);
    struct m_take take = take_of(request, M_FREE, units, true);
    int verdict = take_at_own_price(m, &take, request->ordered_at_ms);
    if (verdict != TG_ACCEPTED)
        return final(verdict);
    struct draft d = draft_begin(m, item->shard, now_ms);
    int place = order_create(&d, request);
    if (request->is_paid) {
        struct m_order *next = &m->next_orders[place];
        next->units = M_SOLD;
        payment_add(next, &request->payment, TG_PAYMENT_APPLIED, TG_OK, 0);
        go_to(next, TG_ORDER_PAID, now_ms);
        go_to(next, TG_ORDER_CONFIRMED, now_ms);
    }
    return accepted(&d, place);
}

struct m_answer m_place(struct model *m, const struct m_request *request, int64_t now_ms)
{
    struct m_answer answer;
    if (is_known(m, request, &answer))
        return answer;
    switch (request->kind) {
    case M_PLAIN:
        return place_plain(m, request, now_ms);
    case M_OPEN:
        return open_team(m, request, now_ms);
    case M_JOIN:
        return join_team(m, request, now_ms);
    case M_INGEST:
        return ingest(m, request, now_ms);
    case M_CART:
        break;
    }
    return final(TG_UNSPECIFIED);
}

static bool policies_differ(const struct model *m, const struct m_request *request)
{
    const struct m_item *first = &m->items[request->lines[0].item];
    for (int l = 0; l < request->line_count; l++) {
        const struct m_item *item = &m->items[request->lines[l].item];
        if (item->policy != first->policy || m->sales[item->sale].team_size)
            return true;
    }
    return false;
}

struct m_answer m_cart(struct model *m, const struct m_request *request, enum m_acquired acquired,
                       int64_t now_ms, struct m_take *take)
{
    struct m_answer answer;
    int verdicts[M_LINES];
    const struct m_item *home = &m->items[request->lines[0].item];
    if (is_known(m, request, &answer))
        return answer;
    if (policies_differ(m, request))
        return final(TG_INVALID_ARGUMENT);
    struct m_take own = take_of(request, M_FREE, units_when_placed(home->policy), true);
    own.gated = true;
    if (acquired == M_NOT_TAKEN || acquired == M_TAKE_BUSY)
        return final(TG_BUSY);
    if (acquired == M_NOT_ASKED && is_spread(m, &own)) {
        *take = own;
        return step_of(M_ACQUIRE);
    }
    if (acquired == M_NOT_ASKED && !check_take(m, &own, M_NONE, now_ms, verdicts))
        return final(first_refusal(verdicts, own.line_count));
    struct draft d = draft_begin(m, home->shard, now_ms);
    d.change.was_held = acquired == M_TAKEN;
    for (int s = 0; d.change.was_held && s < m->shards; s++)
        drop_hold(m, &own, s);
    return accepted(&d, order_create(&d, request));
}

/* --- payments --- */

/* The order has no use for the money. */
static struct m_answer pay_surplus(struct m_order *order, const struct m_payment *payment,
                                   int64_t now_ms)
{
    int cause = order->received > 0 ? TG_REFUND_SECOND_PAYMENT : TG_REFUND_LATE_PAYMENT;
    if (order->refund_count == M_REFUNDS)
        return final(TG_ORDER_FULL);
    struct m_answer answer = {.step = M_RECORDED, .verdict = TG_REFUND_DUE};
    if (payment->amount == 0) {
        payment_add(order, payment, TG_PAYMENT_REFUND_DUE, TG_REFUND_DUE, 0);
        order_event(order, TG_EVENT_PAYMENT_REFUSED);
        return answer;
    }
    answer.refund = refund_owed(order, payment->amount, cause);
    payment_add(order, payment, TG_PAYMENT_REFUND_DUE, TG_REFUND_DUE, answer.refund);
    if (!stands(order->state) && order->state != TG_ORDER_REFUND_DUE)
        go_to(order, TG_ORDER_REFUND_DUE, now_ms);
    return answer;
}

static struct m_answer pay_refused(struct m_order *order, const struct m_payment *payment,
                                   int status, int verdict)
{
    payment_add(order, payment, status, verdict, 0);
    order_event(order, TG_EVENT_PAYMENT_REFUSED);
    return (struct m_answer){.step = M_RECORDED, .verdict = verdict};
}

static struct m_answer pay_kept(struct draft *d, int place, const struct m_payment *payment,
                                int status)
{
    struct m_order *order = draft_order(d, place);
    payment_add(order, payment, status, TG_OK, 0);
    order->units = M_SOLD;
    go_to(order, TG_ORDER_PAID, d->now_ms);
    if (order->team != M_NONE)
        seat_is_paid(d, place);
    else
        go_to(order, TG_ORDER_CONFIRMED, d->now_ms);
    return (struct m_answer){.step = M_RECORDED, .verdict = TG_OK};
}

/* There are no units for an order that was to take them when it is paid. */
static struct m_answer pay_unserved(struct draft *d, int place, const struct m_payment *payment)
{
    struct m_order *order = draft_order(d, place);
    order->cancelled_by = TG_CANCELLED_BY_MERCHANT;
    order->received += payment->amount;
    struct m_answer answer = {.step = M_RECORDED, .verdict = TG_REFUND_DUE};
    answer.refund = order_ends(order, TG_ORDER_CANCELLED, TG_REFUND_LATE_PAYMENT, d->now_ms);
    order->received -= payment->amount;
    payment_add(order, payment, TG_PAYMENT_REFUND_DUE, TG_REFUND_DUE, answer.refund);
    if (order->team != M_NONE)
        team_is_left(d, place);
    return answer;
}

/* OK, SOLD_OUT (for whatever reason), BUSY, or UNSPECIFIED: other shards are to be asked. */
static int take_when_paid(const struct model *m, const struct m_take *take,
                          enum m_acquired acquired, int64_t now_ms)
{
    int verdicts[M_LINES];
    if (acquired == M_TAKEN)
        return TG_OK;
    if (acquired != M_NOT_ASKED)
        return acquired == M_TAKE_BUSY ? TG_BUSY : TG_SOLD_OUT;
    if (is_spread(m, take))
        return TG_UNSPECIFIED;
    if (check_take(m, take, M_NONE, now_ms, verdicts))
        return TG_OK;
    return first_refusal(verdicts, take->line_count) == TG_BUSY ? TG_BUSY : TG_SOLD_OUT;
}

static bool is_admitted_again(const struct model *m, const struct m_order *order)
{
    if (order->team == M_NONE)
        return true;
    const struct m_team *team = &m->teams[order->team];
    int sale = m->items[team->item].sale;
    return team->state == TG_TEAM_OPEN && team->seat_count < team->size &&
           !has_user(team, order->body.user) &&
           (!m->sales[sale].new_buyers_only || is_new_buyer(m, sale, order->body.user));
}

static struct m_answer pay_with_units(struct draft *d, int place, const struct m_payment *payment,
                                      enum m_acquired acquired, struct m_take *take)
{
    struct m_order *order = draft_order(d, place);
    bool is_late = order->state == TG_ORDER_EXPIRED;
    struct m_take own = take_of(&order->body, M_FREE, M_SOLD, is_late);
    int verdict = TG_OK;
    if (is_late && !is_admitted_again(d->m, order))
        verdict = TG_SOLD_OUT;
    else if (order->units == M_FREE)
        verdict = take_when_paid(d->m, &own, acquired, d->now_ms);
    if (verdict == TG_UNSPECIFIED) {
        *take = own;
        return step_of(M_ACQUIRE);
    }
    if (verdict == TG_BUSY)
        return final(TG_BUSY);
    if (verdict == TG_SOLD_OUT)
        return is_late ? pay_surplus(order, payment, d->now_ms) : pay_unserved(d, place, payment);
    d->change.was_held = acquired == M_TAKEN;
    for (int s = 0; d->change.was_held && s < d->m->shards; s++)
        drop_hold(d->m, &own, s);
    if (is_late && order->team != M_NONE) {
        struct m_team *team = draft_team(d, order->team);
        team->seats[team->seat_count++] =
            (struct m_seat){.order = place, .user = order->body.user, .joined_at_ms = d->now_ms};
    }
    return pay_kept(d, place, payment, is_late ? TG_PAYMENT_LATE : TG_PAYMENT_APPLIED);
}

static struct m_answer pay(struct draft *d, int place, const struct m_payment *payment,
                           enum m_acquired acquired, struct m_take *take)
{
    struct m_order *order = draft_order(d, place);
    for (int i = 0; i < order->payment_count; i++) {
        const struct m_money_in *known = &order->payments[i];
        if (known->what.id != payment->id)
            continue;
        struct m_answer answer = final(TG_PAYMENT_CONFLICT);
        if (same_payment(&known->what, payment)) {
            answer.verdict = known->verdict;
            answer.refund = known->refund;
            answer.replayed = true;
        }
        return answer;
    }
    if (order->payment_count == M_PAYMENTS)
        return final(TG_ORDER_FULL);
    if (payment->is_foreign)
        return pay_refused(order, payment, TG_PAYMENT_REFUSED_CURRENCY, TG_CURRENCY_MISMATCH);
    if (payment->amount != order->amount)
        return pay_refused(order, payment, TG_PAYMENT_REFUSED_AMOUNT, TG_AMOUNT_MISMATCH);
    if (order->state == TG_ORDER_RESERVED || order->state == TG_ORDER_EXPIRED)
        return pay_with_units(d, place, payment, acquired, take);
    return pay_surplus(order, payment, d->now_ms);
}

/* --- the other changes --- */

static struct m_answer done(void)
{
    return (struct m_answer){.step = M_RECORDED, .verdict = TG_OK};
}

static struct m_answer cancel(struct draft *d, int place, const struct m_command *command)
{
    struct m_order *order = draft_order(d, place);
    if (order->state != TG_ORDER_RESERVED && order->state != TG_ORDER_AWAITING_TEAM)
        return final(state_verdict(order->state));
    struct m_answer answer = done();
    order->cancelled_by = command->by;
    answer.refund = order_ends(order, TG_ORDER_CANCELLED, TG_REFUND_CANCELLED, d->now_ms);
    if (order->team != M_NONE)
        team_is_left(d, place);
    return answer;
}

static struct m_answer extend(struct draft *d, int place, int64_t wanted_ms)
{
    struct m_order *order = draft_order(d, place);
    int64_t latest_ms = d->now_ms + EXTEND_MS_MAX;
    if (order->state != TG_ORDER_RESERVED)
        return final(state_verdict(order->state));
    if (order->team != M_NONE && d->m->teams[order->team].deadline_ms < latest_ms)
        latest_ms = d->m->teams[order->team].deadline_ms;
    if (order->deadline_ms == 0 || wanted_ms <= order->deadline_ms || wanted_ms <= d->now_ms ||
        wanted_ms > latest_ms)
        return final(TG_INVALID_ARGUMENT);
    order->deadline_ms = wanted_ms;
    order_event(order, TG_EVENT_PAYMENT_EXTENDED);
    return done();
}

static struct m_answer request_refund(struct draft *d, int place, const struct m_command *command)
{
    struct m_order *order = draft_order(d, place);
    int64_t left = money_left(order);
    int64_t amount = command->amount ? command->amount : left;
    if (order->state != TG_ORDER_CONFIRMED && order->state != TG_ORDER_SHIPPED &&
        order->state != TG_ORDER_DELIVERED)
        return final(state_verdict(order->state));
    if (left == 0 || amount > left)
        return final(TG_REFUND_EXCEEDS_PAID);
    if (command->restock && amount != left)
        return final(TG_INVALID_ARGUMENT);
    if (order->refund_count >= M_REFUNDS - 1)
        return final(TG_ORDER_FULL);
    struct m_answer answer = done();
    answer.refund = refund_add(order, amount, TG_REFUND_REQUESTED, TG_REFUND_WAITING);
    order->refunds[answer.refund - 1].restock = command->restock;
    order_event(order, TG_EVENT_REFUND_REQUESTED);
    if (amount <= d->m->sales[d->m->items[order->body.lines[0].item].sale].refund_auto_max) {
        refund_becomes_due(order, answer.refund);
        end_when_whole(order, d->now_ms);
    }
    return answer;
}

static struct m_answer decide_refund(struct draft *d, int place, const struct m_command *command)
{
    struct m_order *order = draft_order(d, place);
    bool is_repaid = command->kind == M_REPAID;
    if (command->number < 1 || command->number > order->refund_count)
        return final(TG_UNKNOWN_REFUND);
    struct m_money_out *refund = &order->refunds[command->number - 1];
    if (refund->status != (is_repaid ? TG_REFUND_DUE_STATUS : TG_REFUND_WAITING))
        return final(TG_REFUND_STATUS);
    if (command->kind == M_APPROVE) {
        refund_becomes_due(order, command->number);
        end_when_whole(order, d->now_ms);
    } else if (command->kind == M_REJECT) {
        refund->status = TG_REFUND_REJECTED;
        order_event(order, TG_EVENT_REFUND_REJECTED);
    } else {
        refund->status = TG_REFUND_REFUNDED;
        order->due -= refund->amount;
        order->refunded += refund->amount;
        order_event(order, TG_EVENT_REFUND_RECORDED);
        if (order->state == TG_ORDER_REFUND_DUE && order->due == 0)
            go_to(order, TG_ORDER_REFUNDED, d->now_ms);
    }
    struct m_answer answer = done();
    answer.refund = command->number;
    return answer;
}

static struct m_answer advance(struct draft *d, int place, int to)
{
    struct m_order *order = draft_order(d, place);
    int from = to == TG_ORDER_SHIPPED     ? TG_ORDER_CONFIRMED
               : to == TG_ORDER_DELIVERED ? TG_ORDER_SHIPPED
                                          : TG_ORDER_DELIVERED;
    if (order->state != from) {
        if (order->state == TG_ORDER_CONFIRMED)
            return final(TG_NOT_SHIPPED);
        if (order->state == TG_ORDER_SHIPPED && to == TG_ORDER_COMPLETED)
            return final(TG_NOT_DELIVERED);
        return final(state_verdict(order->state));
    }
    for (int i = 0; to == TG_ORDER_COMPLETED && i < order->refund_count; i++)
        if (order->refunds[i].status == TG_REFUND_WAITING ||
            order->refunds[i].status == TG_REFUND_DUE_STATUS)
            return final(TG_REFUND_PENDING);
    go_to(order, to, d->now_ms);
    return done();
}

static struct m_answer decide(struct draft *d, int place, const struct m_command *command,
                              enum m_acquired acquired, struct m_take *take)
{
    switch (command->kind) {
    case M_PAY:
        return pay(d, place, &command->payment, acquired, take);
    case M_CANCEL:
        return cancel(d, place, command);
    case M_EXTEND:
        return extend(d, place, command->deadline_ms);
    case M_REFUND:
        return request_refund(d, place, command);
    case M_APPROVE:
    case M_REJECT:
    case M_REPAID:
        return decide_refund(d, place, command);
    case M_ADVANCE:
        return advance(d, place, command->to);
    }
    return final(TG_UNSPECIFIED);
}

static bool same_command(const struct m_command *a, const struct m_command *b)
{
    return a->kind == b->kind && a->by == b->by && a->to == b->to && a->number == b->number &&
           a->deadline_ms == b->deadline_ms && a->amount == b->amount && a->restock == b->restock &&
           same_payment(&a->payment, &b->payment);
}

/* The order has seen the command's request id. */
static bool is_seen(const struct m_order *order, const struct m_command *command,
                    struct m_answer *answer)
{
    for (int i = 0; i < order->seen_count; i++) {
        const struct m_seen *seen = &order->seen[i];
        if (seen->what.id[0] != command->id[0] || seen->what.id[1] != command->id[1])
            continue;
        *answer = final(TG_REQUEST_ID_CONFLICT);
        if (same_command(&seen->what, command)) {
            answer->verdict = seen->verdict;
            answer->refund = seen->refund;
            answer->replayed = true;
        }
        return true;
    }
    return false;
}

static void remember(struct m_order *order, const struct m_command *command,
                     const struct m_answer *answer)
{
    if (order->seen_count == M_COMMANDS)
        memmove(order->seen, order->seen + 1, (size_t)--order->seen_count * sizeof(order->seen[0]));
    order->seen[order->seen_count++] =
        (struct m_seen){.what = *command, .verdict = answer->verdict, .refund = answer->refund};
}

static bool is_locked(const struct model *m, int place)
{
    int team = m->orders[place].team;
    return team == M_NONE ? m->locked[place] : m->team_locked[team];
}

struct m_answer m_change(struct model *m, const struct m_command *command, enum m_acquired acquired,
                         int64_t now_ms, struct m_take *take)
{
    struct m_answer answer;
    int place = m_find(m, command->order_id);
    if (place == M_NONE)
        return final(TG_UNKNOWN_ORDER);
    if (acquired == M_NOT_ASKED && is_locked(m, place))
        return step_of(M_WAIT);
    if (is_seen(&m->orders[place], command, &answer))
        return answer;
    struct draft d = draft_begin(m, m->orders[place].home, now_ms);
    draft_order(&d, place);
    answer = decide(&d, place, command, acquired, take);
    answer.order = place;
    m->locked[place] = answer.step == M_ACQUIRE;
    if (answer.step != M_RECORDED)
        return answer;
    remember(&m->next_orders[place], command, &answer);
    return record(&d, answer);
}

/* --- timers and operators --- */

struct m_answer m_expire(struct model *m, uint64_t order_id, int64_t now_ms)
{
    int place = m_find(m, order_id);
    if (place == M_NONE)
        return final(TG_UNKNOWN_ORDER);
    if (is_locked(m, place))
        return step_of(M_WAIT);
    const struct m_order *order = &m->orders[place];
    if (order->state != TG_ORDER_RESERVED || order->deadline_ms == 0 || order->deadline_ms > now_ms)
        return final(TG_OK);
    struct draft d = draft_begin(m, order->home, now_ms);
    order_ends(draft_order(&d, place), TG_ORDER_EXPIRED, TG_REFUND_LATE_PAYMENT, now_ms);
    if (order->team != M_NONE)
        team_is_left(&d, place);
    return record(&d, (struct m_answer){.verdict = TG_OK, .order = place});
}

struct m_answer m_team_deadline(struct model *m, uint64_t team_id, int64_t now_ms)
{
    int number = m_find_team(m, team_id);
    if (number == M_NONE)
        return final(TG_UNKNOWN_TEAM);
    if (m->team_locked[number])
        return step_of(M_WAIT);
    const struct m_team *team = &m->teams[number];
    const struct m_sale *sale = &m->sales[m->items[team->item].sale];
    if ((team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN) ||
        team->deadline_ms > now_ms)
        return final(TG_OK);
    struct draft d = draft_begin(m, m->items[team->item].shard, now_ms);
    draft_team(&d, number);
    if (team->state == TG_TEAM_PENDING) {
        team_breaks_up(&d, TG_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    } else if (sale->auto_complete && paid_seats(team) >= sale->team_size_min) {
        d.team->auto_completed = true;
        team_forms(&d);
    } else {
        team_breaks_up(&d, TG_TEAM_STATE_FAILED, TG_EVENT_TEAM_FAILED);
    }
    return record(&d, (struct m_answer){.verdict = TG_OK, .order = M_NONE});
}

static struct m_answer record_other(struct model *m, enum m_change_kind kind, int home, int number,
                                    int64_t what)
{
    struct draft d = draft_begin(m, home, 0);
    d.change.kind = kind;
    d.change.item = d.change.sale = number;
    d.change.delta = what;
    d.change.state = (int)what;
    return record(&d, (struct m_answer){.verdict = TG_OK, .order = M_NONE});
}

struct m_answer m_sale_event(struct model *m, int sale, bool is_end, int64_t now_ms)
{
    const struct m_sale *which = &m->sales[sale];
    if (is_end ? which->ended || now_ms < which->ends_at_ms
               : which->started || now_ms < which->starts_at_ms)
        return final(TG_OK);
    return record_other(m, M_CHANGE_SALE_EVENT, 0, sale, is_end);
}

struct m_answer m_adjust(struct model *m, int number, bool compare, int64_t expected, int64_t delta)
{
    struct m_item *item = &m->items[number];
    if (item->adjust_in_flight)
        return final(TG_BUSY);
    if (compare && expected != item->available)
        return final(TG_STOCK_CHANGED);
    if (delta == 0)
        return final(TG_OK);
    if (item->available + delta < 0)
        return final(TG_INSUFFICIENT_STOCK);
    item->adjust_in_flight = true;
    if (delta < 0) {
        item->available += delta;
        item->restocked += delta;
    }
    return record_other(m, M_CHANGE_ADJUST, item->shard, number, delta);
}

struct m_answer m_pause(struct model *m, int sale, bool pause)
{
    struct m_sale *which = &m->sales[sale];
    if (which->state_in_flight)
        return final(TG_BUSY);
    if (which->is_paused == pause)
        return final(TG_OK);
    which->state_in_flight = true;
    return record_other(m, M_CHANGE_STATE, 0, sale, pause);
}

/* --- the way to the disk and back --- */

static void commit_order(struct model *m, int place)
{
    struct m_order *order = &m->orders[place];
    struct m_order *next = &m->next_orders[place];
    if (!order->durable) {
        const struct m_item *item = &m->items[next->body.lines[0].item];
        next->id = (m->sequence + 1) * M_PARTITIONS + (uint64_t)item->partition;
        next->durable = true;
        m->ids[place] = next->id;
    }
    m->sequence += next->event_count - order->event_count;
    next->settled = order->settled;
    copy_order(order, next);
}

static void commit_team(struct model *m, const struct m_change *change)
{
    struct m_team *team = &m->teams[change->team];
    struct m_team *next = &m->next_teams[change->team];
    if (!team->durable)
        next->id = m->orders[next->captain].id;
    next->durable = true;
    m->sequence += next->event_count - team->event_count;
    *team = *next;
}

void m_commit(struct model *m, int number)
{
    struct m_change *change = &m->changes[number];
    change->committed = true;
    switch (change->kind) {
    case M_CHANGE_ORDERS:
        for (int i = 0; i < change->count; i++)
            commit_order(m, change->moved[i].order);
        if (change->team != M_NONE)
            commit_team(m, change);
        break;
    case M_CHANGE_ADJUST:
        m->items[change->item].durable_restocked += change->delta;
        break;
    case M_CHANGE_SALE_EVENT:
        m->sequence++;
        *(change->state ? &m->sales[change->sale].ended : &m->sales[change->sale].started) = true;
        break;
    case M_CHANGE_STATE:
        break;
    }
}

/* Nothing moves before its shard is told. */
void m_refuse(struct model *m, int number)
{
    m->changes[number].committed = false;
}

static void settle_moved(struct model *m, const struct m_change *change,
                         const struct m_moved *moved, int shard)
{
    const struct m_order *order = &m->orders[moved->order];
    bool takes = moved->before == M_FREE && moved->after != M_FREE;
    for (int l = 0; l < order->body.line_count; l++) {
        struct m_item *item = &m->items[order->body.lines[l].item];
        int64_t quantity = order->body.lines[l].quantity;
        if (item->shard != shard)
            continue;
        if (takes && change->was_held)
            item->held -= quantity;
        if (takes && !change->committed)
            move_units(item, moved->after, moved->before, quantity);
        if (!takes && change->committed)
            move_units(item, moved->before, moved->after, quantity);
    }
    bool ended = change->committed && moved->stood && !moved->stands;
    bool never_began = !change->committed && !moved->stood && moved->stands;
    if (ended || never_began)
        m->counts[moved->order].counted &= (uint8_t)~lines_of_shard(m, order, shard);
}

static void settle_home(struct model *m, struct m_change *change)
{
    for (int i = 0; i < change->count; i++) {
        int place = change->moved[i].order;
        if (change->moved[i].locked)
            m->locked[place] = false;
        m->orders[place].settled = m->orders[place].durable;
        if (!m->orders[place].durable)
            m->keys[place][0] = m->keys[place][1] = 0;
    }
    if (change->locked_team)
        m->team_locked[change->locks] = false;
    if (change->team != M_NONE) {
        const struct m_team *team = &m->teams[change->team];
        if (!team->durable || (team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN))
            m->team_counted[change->team] = false;
        if (!team->durable)
            m->teams[change->team].used = false;
    }
    if (change->kind == M_CHANGE_ADJUST) {
        struct m_item *item = &m->items[change->item];
        int64_t moved = change->committed == (change->delta > 0) ? change->delta : 0;
        item->adjust_in_flight = false;
        item->available += change->delta > 0 ? moved : -moved;
        item->restocked += change->delta > 0 ? moved : -moved;
    }
    if (change->kind == M_CHANGE_STATE) {
        m->sales[change->sale].state_in_flight = false;
        if (change->committed)
            m->sales[change->sale].is_paused = change->state;
    }
}

void m_settle(struct model *m, int number, int shard)
{
    struct m_change *change = &m->changes[number];
    change->shards &= ~(1ull << shard);
    for (int i = 0; i < change->count; i++)
        settle_moved(m, change, &change->moved[i], shard);
    if (shard == change->home)
        settle_home(m, change);
    if (change->shards != 0)
        return;
    change->used = false;
    for (int i = 0; i < change->count; i++)
        if (!m->orders[change->moved[i].order].durable)
            m->orders[change->moved[i].order].used = false;
}

static void crash_order(struct model *m, int place)
{
    struct m_order *order = &m->orders[place];
    m->locked[place] = false;
    if (!order->durable) {
        order->used = false;
        m->keys[place][0] = m->keys[place][1] = 0;
        m->counts[place].counted = 0;
        return;
    }
    order->settled = true;
    count_all(m, place, stands(order->state));
    for (int l = 0; l < order->body.line_count; l++)
        move_units(&m->items[order->body.lines[l].item], M_FREE, order->units,
                   order->body.lines[l].quantity);
}

/* A sale's new state is durable with its record, though the shard was never told. */
static void crash_changes(struct model *m)
{
    for (int i = 0; i < m->change_high; i++) {
        const struct m_change *change = &m->changes[i];
        if (change->used && change->committed && change->kind == M_CHANGE_STATE)
            m->sales[change->sale].is_paused = change->state;
        m->changes[i].used = false;
    }
    m->change_high = 0;
    for (int h = 0; h < m->hold_high; h++)
        m->holds[h].used = false;
    m->hold_high = 0;
    for (int s = 0; s < m->sale_count; s++)
        m->sales[s].state_in_flight = false;
}

void m_crash(struct model *m)
{
    crash_changes(m);
    for (int i = 0; i < m->item_count; i++) {
        struct m_item *item = &m->items[i];
        item->restocked = item->durable_restocked;
        item->available = item->initial + item->restocked;
        item->reserved = item->sold = item->held = 0;
        item->adjust_in_flight = false;
    }
    for (int i = 0; i < m->order_count; i++)
        if (m->orders[i].used)
            crash_order(m, i);
    for (int i = 0; i < m->team_count; i++) {
        struct m_team *team = &m->teams[i];
        team->used = team->durable;
        m->next_teams[i] = *team;
        m->team_locked[i] = false;
        m->team_counted[i] =
            team->durable && (team->state == TG_TEAM_PENDING || team->state == TG_TEAM_OPEN);
    }
}

/* --- the promises, over the model itself --- */

static const char *broken_order(const struct m_order *order)
{
    int64_t received = 0, due = 0, refunded = 0;
    for (int i = 0; i < order->payment_count; i++)
        if (order->payments[i].status != TG_PAYMENT_REFUSED_AMOUNT &&
            order->payments[i].status != TG_PAYMENT_REFUSED_CURRENCY)
            received += order->payments[i].what.amount;
    for (int i = 0; i < order->refund_count; i++) {
        due += order->refunds[i].status == TG_REFUND_DUE_STATUS ? order->refunds[i].amount : 0;
        refunded += order->refunds[i].status == TG_REFUND_REFUNDED ? order->refunds[i].amount : 0;
    }
    if (received != order->received || due != order->due || refunded != order->refunded ||
        money_left(order) < 0)
        return "an order's money does not add up";
    return NULL;
}

static const char *broken_team(const struct model *m, const struct m_team *team)
{
    if (team->seat_count > team->size)
        return "a team is overfull";
    for (int i = 0; i < team->seat_count; i++) {
        const struct m_order *member = &m->orders[team->seats[i].order];
        bool confirmed = member->confirmed_at_ms != 0;
        if (team->state == TG_TEAM_STATE_FORMED && !confirmed)
            return "a formed team has a member that is not confirmed";
        if (team->state != TG_TEAM_STATE_FORMED && confirmed)
            return "a member of a team that has not formed is confirmed";
    }
    return NULL;
}

const char *m_broken(const struct model *m)
{
    const char *what = NULL;
    for (int i = 0; i < m->item_count && !what; i++) {
        const struct m_item *item = &m->items[i];
        if (item->initial + item->restocked != item->available + item->reserved + item->sold ||
            item->available < 0 || item->reserved < 0 || item->sold < 0 || item->held < 0)
            what = "an item's units do not add up";
    }
    for (int i = 0; i < m->order_count && !what; i++)
        if (m->orders[i].durable && m->orders[i].used)
            what = broken_order(&m->orders[i]);
    for (int i = 0; i < m->team_count && !what; i++)
        if (m->teams[i].durable && m->teams[i].used)
            what = broken_team(m, &m->teams[i]);
    return what;
}
