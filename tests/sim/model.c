/* Places and drafts; what becomes of a change on its way to the disk, and of everything in a crash.
 */
#include "tests/sim/model_inner.h"

#include <stddef.h>
#include <string.h>

/* --- finding --- */

bool m_stands(int state)
{
    return state == TG_ORDER_RESERVED || state == TG_ORDER_PAID ||
           state == TG_ORDER_AWAITING_TEAM || state == TG_ORDER_CONFIRMED ||
           state == TG_ORDER_SHIPPED || state == TG_ORDER_DELIVERED || state == TG_ORDER_COMPLETED;
}

int m_find(const struct model *m, uint64_t order_id)
{
    uint64_t sequence = order_id / M_PARTITIONS;
    if (sequence == 0 || sequence > m->sequence)
        return M_NONE;
    int place = m->order_at[sequence];
    return place != M_NONE && m->orders[place].id == order_id ? place : M_NONE;
}

/* --- request ids --- */

static int16_t *chain_of(struct model *m, const uint64_t id[2])
{
    return &m->first_with[(id[0] * 0x9e3779b97f4a7c15u + id[1]) >> 7 & (M_CHAINS - 1)];
}

int m_find_id(const struct model *m, const uint64_t id[2])
{
    int i = *chain_of((struct model *)m, id) - 1;
    while (i >= 0 && (m->keys[i][0] != id[0] || m->keys[i][1] != id[1]))
        i = m->next_with[i] - 1;
    return i >= 0 ? i : M_NONE;
}

void m_remember_id(struct model *m, int place, const uint64_t id[2])
{
    int16_t *first = chain_of(m, id);
    m->keys[place][0] = id[0];
    m->keys[place][1] = id[1];
    m->next_with[place] = *first;
    *first = (int16_t)(place + 1);
    m->remembered[place] = true;
}

void m_forget_id(struct model *m, int place)
{
    int16_t *link = chain_of(m, m->keys[place]);
    while (*link != 0 && *link != place + 1)
        link = &m->next_with[*link - 1];
    if (*link != 0)
        *link = m->next_with[place];
    m->remembered[place] = false;
}

void m_remember_order(struct model *m, int place, bool remembered)
{
    if (remembered)
        m_remember_id(m, place, m->orders[place].body.id);
    else
        m_forget_id(m, place);
}

int m_find_team(const struct model *m, uint64_t team_id)
{
    for (int i = 0; i < m->team_count; i++)
        if (m->teams[i].durable && m->teams[i].id == team_id)
            return i;
    return M_NONE;
}

int m_free_order(const struct model *m)
{
    for (int i = m->order_count - 1; i >= 0 && i >= m->order_count - 64; i--)
        if (!m->orders[i].used)
            return i;
    return m->order_count;
}

int m_free_team(const struct model *m)
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
           m->sequence < M_SEQUENCES - 4 * M_CHANGES && free_change(m) < M_CHANGES - 8;
}

void m_begin(struct model *m, int shards)
{
    m->shards = shards;
    m->order_count = m->team_count = m->change_high = m->hold_high = 0;
    m->sequence = 0;
    m->event_first = 1;
    m->creation_in_flight = m->creation_durable = m->is_full = false;
    memset(m->groups, 0, sizeof(m->groups));
    memset(m->order_at, 0xff, sizeof(m->order_at)); /* M_NONE */
    memset(m->first_with, 0, sizeof(m->first_with));
    for (int s = 0; s < m->sales_to_come; s++)
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

/* --- a change --- */

/* What is in use of an order. */
void m_copy_order(struct m_order *to, const struct m_order *from)
{
    memcpy(to, from, offsetof(struct m_order, payments));
    memcpy(to->payments, from->payments, (size_t)from->payment_count * sizeof(from->payments[0]));
    memcpy(to->refunds, from->refunds, (size_t)from->refund_count * sizeof(from->refunds[0]));
    memcpy(to->seen, from->seen, (size_t)from->seen_count * sizeof(from->seen[0]));
}

struct draft m_draft_begin(struct model *m, int home, int64_t now_ms)
{
    return (struct draft){
        .m = m, .now_ms = now_ms, .change = {.home = home, .team = M_NONE, .used = true}};
}

struct m_order *m_draft_order(struct draft *d, int place)
{
    struct model *m = d->m;
    for (int i = 0; i < d->change.count; i++)
        if (d->touched[i] == place)
            return &m->next_orders[place];
    const struct m_order *order = &m->orders[place];
    bool is_new = !order->durable;
    if (!is_new)
        m_copy_order(&m->next_orders[place], order);
    d->change.moved[d->change.count] = (struct m_moved){.order = place,
                                                        .before = is_new ? M_FREE : order->units,
                                                        .stood = !is_new && m_stands(order->state)};
    d->touched[d->change.count++] = place;
    return &m->next_orders[place];
}

struct m_team *m_draft_team(struct draft *d, int place)
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
    uint32_t all = (1u << m->counts[place].line_count) - 1;
    m->counts[place].counted = (uint8_t)(counts ? all : 0);
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
    moved->stands = m_stands(next->state);
    bool moves = moved->before != moved->after || moved->stood != moved->stands;
    if (moves)
        change->shards |= shards_of(m, next);
    for (int l = 0; l < next->body.line_count; l++)
        if (moved->before == M_FREE && moved->after != M_FREE && !change->was_held)
            m_move_units(&m->items[next->body.lines[l].item], moved->before, moved->after,
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

struct m_answer m_record(struct draft *d, struct m_answer answer)
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

struct m_answer m_final(int verdict)
{
    return (struct m_answer){.step = M_FINAL, .verdict = verdict, .order = M_NONE};
}

struct m_answer m_step_of(enum m_step step)
{
    return (struct m_answer){.step = step, .order = M_NONE};
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
        m->order_at[m->sequence + 1] = (int16_t)place;
    }
    m->sequence += next->event_count - order->event_count;
    next->settled = order->settled;
    m_copy_order(order, next);
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
    case M_CHANGE_SALE:
        m->creation_durable = true;
        break;
    case M_CHANGE_GROUP:
        m_commit_group(m, change);
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
            m_move_units(item, moved->after, moved->before, quantity);
        if (!takes && change->committed)
            m_move_units(item, moved->before, moved->after, quantity);
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
            m_forget_id(m, place);
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
            m_sale_is_in(m, change->sale, change->state);
    }
    if (change->kind == M_CHANGE_SALE)
        m_sale_settle(m);
    if (change->kind == M_CHANGE_GROUP)
        m_settle_group(m, change);
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
        m_forget_id(m, place);
        m->counts[place].counted = 0;
        return;
    }
    order->settled = true;
    count_all(m, place, m_stands(order->state));
    for (int l = 0; l < order->body.line_count; l++)
        m_move_units(&m->items[order->body.lines[l].item], M_FREE, order->units,
                     order->body.lines[l].quantity);
}

/* A sale's new state is durable with its record, though the shard was never told. */
static void crash_changes(struct model *m)
{
    for (int i = 0; i < m->change_high; i++) {
        const struct m_change *change = &m->changes[i];
        if (change->used && change->committed && change->kind == M_CHANGE_STATE)
            m_sale_is_in(m, change->sale, change->state);
        m->changes[i].used = false;
    }
    m->change_high = 0;
    for (int h = 0; h < m->hold_high; h++)
        m->holds[h].used = false;
    m->hold_high = 0;
    for (int s = 0; s < m->sale_count; s++)
        m->sales[s].state_in_flight = false;
    m_sale_settle(m);
    m_crash_groups(m);
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
        m_money_left(order) < 0)
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
