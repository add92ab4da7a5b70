/* Sales, units and who has how much: docs/architecture.md, docs/protocol.md (Orders, Operators). */
#include "tests/sim/model_inner.h"

#include <stddef.h>
#include <string.h>

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
bool m_is_new_buyer(const struct model *m, int sale, int user)
{
    for (int i = 0; i < m->order_count; i++)
        if (m->counts[i].counted && m->counts[i].user == user &&
            m->items[m->counts[i].items[0]].sale == sale)
            return false;
    return true;
}

int m_open_teams(const struct model *m, int sale, int user)
{
    int teams = 0;
    for (int i = 0; i < m->team_count; i++)
        teams += m->team_counted[i] && m->next_teams[i].opener_user == user &&
                 m->items[m->next_teams[i].item].sale == sale;
    return teams;
}

bool m_counts_are_gone(const struct model *m, int item, int64_t now_ms)
{
    const struct m_sale *sale = &m->sales[m->items[item].sale];
    bool is_counted = m->items[item].limit || sale->share_percent || sale->new_buyers_only;
    return is_counted && (sale->is_closed || now_ms >= sale->ends_at_ms + M_COUNTS_KEPT_MS);
}

bool m_take_is_not_counted(const struct model *m, const struct m_take *take, int64_t now_ms)
{
    for (int l = 0; l < take->line_count; l++)
        if (m_counts_are_gone(m, take->lines[l].item, now_ms))
            return true;
    return false;
}

/* --- units --- */

static int64_t *units_at(struct m_item *item, int units)
{
    return units == M_FREE ? &item->available : units == M_RESERVED ? &item->reserved : &item->sold;
}

void m_move_units(struct m_item *item, int from, int to, int64_t quantity)
{
    *units_at(item, from) -= quantity;
    *units_at(item, to) += quantity;
}

int m_units_when_placed(int policy)
{
    return policy == M_RESERVE ? M_RESERVED : policy == M_ON_PLACE ? M_SOLD : M_FREE;
}

int m_check_window(const struct m_sale *sale, int64_t now_ms)
{
    if (sale->is_closed || now_ms >= sale->ends_at_ms)
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

int m_check_line(const struct model *m, const struct m_take *take, const struct m_line *line,
                 int64_t now_ms)
{
    const struct m_item *item = &m->items[line->item];
    if (take->gated) {
        int verdict = m_check_window(&m->sales[item->sale], now_ms);
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
bool m_check_take(const struct model *m, const struct m_take *take, int shard, int64_t now_ms,
                  int verdicts[M_LINES])
{
    bool all = true;
    for (int l = 0; l < take->line_count; l++) {
        bool asked = shard == M_NONE || m->items[take->lines[l].item].shard == shard;
        verdicts[l] = asked ? m_check_line(m, take, &take->lines[l], now_ms) : TG_ACCEPTED;
        all = all && verdicts[l] == TG_ACCEPTED;
    }
    return all;
}

int m_first_refusal(const int verdicts[M_LINES], int count)
{
    for (int l = 0; l < count; l++)
        if (verdicts[l] != TG_ACCEPTED)
            return verdicts[l];
    return TG_ACCEPTED;
}

bool m_is_spread(const struct model *m, const struct m_take *take)
{
    for (int l = 1; l < take->line_count; l++)
        if (m->items[take->lines[l].item].shard != m->items[take->lines[0].item].shard)
            return true;
    return false;
}

bool m_hold(struct model *m, const struct m_take *take, int shard, int64_t now_ms,
            int verdicts[M_LINES])
{
    if (!m_check_take(m, take, shard, now_ms, verdicts))
        return false;
    for (int l = 0; l < take->line_count; l++) {
        struct m_item *item = &m->items[take->lines[l].item];
        if (item->shard != shard || take->before == take->after)
            continue;
        m_move_units(item, take->before, take->after, take->lines[l].quantity);
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

void m_drop_hold(struct model *m, const struct m_take *take, int shard)
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
    m_drop_hold(m, take, shard);
    for (int l = 0; l < take->line_count; l++) {
        struct m_item *item = &m->items[take->lines[l].item];
        if (item->shard != shard || take->before == take->after)
            continue;
        m_move_units(item, take->after, take->before, take->lines[l].quantity);
        item->held -= take->lines[l].quantity;
    }
}

/* --- operators and the window --- */

static struct m_answer record_other(struct model *m, enum m_change_kind kind, int home, int number,
                                    int64_t what)
{
    struct draft d = m_draft_begin(m, home, 0);
    d.change.kind = kind;
    d.change.item = d.change.sale = number;
    d.change.delta = what;
    d.change.state = (int)what;
    return m_record(&d, (struct m_answer){.verdict = TG_OK, .order = M_NONE});
}

struct m_answer m_sale_event(struct model *m, int sale, bool is_end, int64_t now_ms)
{
    const struct m_sale *which = &m->sales[sale];
    if (is_end ? which->ended || now_ms < which->ends_at_ms
               : which->started || now_ms < which->starts_at_ms)
        return m_final(TG_OK);
    return record_other(m, M_CHANGE_SALE_EVENT, 0, sale, is_end);
}

struct m_answer m_adjust(struct model *m, int number, bool compare, int64_t expected, int64_t delta)
{
    struct m_item *item = &m->items[number];
    if (item->adjust_in_flight)
        return m_final(TG_BUSY);
    if (compare && expected != item->available)
        return m_final(TG_STOCK_CHANGED);
    if (delta == 0)
        return m_final(TG_OK);
    if (item->available + delta < 0)
        return m_final(TG_INSUFFICIENT_STOCK);
    item->adjust_in_flight = true;
    if (delta < 0) {
        item->available += delta;
        item->restocked += delta;
    }
    return record_other(m, M_CHANGE_ADJUST, item->shard, number, delta);
}

static int state_of(const struct m_sale *sale)
{
    return sale->is_closed ? TG_SALE_CLOSED : sale->is_paused ? TG_SALE_PAUSED : TG_SALE_ACTIVE;
}

void m_sale_is_in(struct model *m, int sale, int state)
{
    m->sales[sale].is_closed = state == TG_SALE_CLOSED;
    m->sales[sale].is_paused = state == TG_SALE_PAUSED;
}

struct m_answer m_sale_state(struct model *m, int sale, int wanted)
{
    struct m_sale *which = &m->sales[sale];
    if (which->state_in_flight)
        return m_final(TG_BUSY);
    if (state_of(which) == wanted)
        return m_final(TG_OK);
    if (which->is_closed)
        return m_final(TG_ENDED);
    which->state_in_flight = true;
    return record_other(m, M_CHANGE_STATE, 0, sale, wanted);
}

struct m_answer m_sale_create(struct model *m)
{
    if (m->sale_count == m->sales_to_come)
        return m_final(TG_SALE_EXISTS);
    if (m->creation_in_flight)
        return m_final(TG_BUSY);
    m->creation_in_flight = true;
    return record_other(m, M_CHANGE_SALE, 0, m->sale_count, 0);
}

/* No order can be placed before the creation is durable; nothing is left of one that is not. */
void m_sale_settle(struct model *m)
{
    if (m->creation_durable && m->sale_count < m->sales_to_come)
        m->item_count += m->sales[m->sale_count++].item_count;
    m->creation_in_flight = false;
}
