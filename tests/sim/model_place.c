/* New orders, plain ones, carts and those of other channels: docs/protocol.md. */
#include "tests/sim/model_inner.h"

#include <stddef.h>
#include <string.h>

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

bool m_same_payment(const struct m_payment *a, const struct m_payment *b)
{
    return a->id == b->id && a->amount == b->amount && a->is_foreign == b->is_foreign &&
           a->channel == b->channel && a->paid_at_ms == b->paid_at_ms;
}

static bool has_payment(const struct m_order *order, const struct m_payment *payment)
{
    for (int i = 0; i < order->payment_count; i++)
        if (m_same_payment(&order->payments[i].what, payment))
            return true;
    return false;
}

/* The request id is known: `answer` says what follows. */
static bool is_known(const struct model *m, const struct m_request *request,
                     struct m_answer *answer)
{
    int i = m_find_id(m, request->id);
    if (i == M_NONE)
        return false;
    const struct m_order *order = &m->orders[i];
    *answer = m_final(TG_REQUEST_ID_CONFLICT);
    if (!same_body(&order->body, request))
        return true;
    if (!order->settled)
        *answer = m_step_of(M_WAIT);
    else if (!request->is_paid || has_payment(order, &request->payment))
        *answer = (struct m_answer){
            .step = M_FINAL, .verdict = TG_ACCEPTED, .replayed = true, .order = i};
    answer->order = i;
    answer->made = order->made;
    return true;
}

struct m_take m_take_of(const struct m_request *body, int before, int after, bool begins)
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
int m_order_create(struct draft *d, const struct m_request *body)
{
    struct model *m = d->m;
    const struct m_item *item = &m->items[body->lines[0].item];
    int place = m_free_order(m);
    if (place == m->order_count)
        m->order_count++;
    m_remember_id(m, place, body->id);
    m->locked[place] = false;
    fill_counts(m, place, body);
    memset(&m->orders[place], 0, offsetof(struct m_order, payments));
    m->orders[place].used = true;
    m->orders[place].made = ++m->orders_made;
    m->orders[place].body = *body;
    m->orders[place].team = M_NONE;
    m->orders[place].home = item->shard;
    struct m_order *next = &m->next_orders[place];
    m_copy_order(next, &m->orders[place]);
    next->state = TG_ORDER_RESERVED;
    next->units = m_units_when_placed(item->policy);
    next->accepted_at_ms = d->now_ms;
    next->deadline_ms = item->policy == M_ON_PLACE ? 0 : d->now_ms + m->sales[item->sale].window_ms;
    for (int l = 0; l < body->line_count; l++)
        next->amount += body->lines[l].price * body->lines[l].quantity;
    m_order_event(next, TG_EVENT_ORDER_PLACED);
    d->change.creates = true;
    m_draft_order(d, place);
    return place;
}

/* Takes at the item's price, which has been compared, or may differ. */
int m_take_at_own_price(const struct model *m, struct m_take *take, int64_t now_ms)
{
    int verdicts[M_LINES];
    take->gated = true;
    take->lines[0].price = m->items[take->lines[0].item].price;
    m_check_take(m, take, M_NONE, now_ms, verdicts);
    return m_first_refusal(verdicts, take->line_count);
}

struct m_answer m_accepted(struct draft *d, int place)
{
    struct m_answer answer = {
        .verdict = TG_ACCEPTED, .order = place, .made = d->m->orders[place].made};
    return m_record(d, answer);
}

static struct m_answer place_plain(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    if (m->sales[item->sale].team_size)
        return m_final(TG_TEAM_REQUIRED);
    struct m_take take = m_take_of(request, M_FREE, m_units_when_placed(item->policy), true);
    take.gated = true;
    int verdict = m_check_line(m, &take, &take.lines[0], now_ms);
    if (verdict != TG_ACCEPTED || m->is_full)
        return m_final(verdict == TG_ACCEPTED ? TG_BUSY : verdict);
    struct draft d = m_draft_begin(m, item->shard, now_ms);
    return m_accepted(&d, m_order_create(&d, request));
}

static struct m_answer ingest(struct model *m, const struct m_request *request, int64_t now_ms)
{
    const struct m_item *item = &m->items[request->lines[0].item];
    if (m->sales[item->sale].team_size)
        return m_final(TG_TEAM_REQUIRED);
    if (request->is_paid && request->payment.is_foreign)
        return m_final(TG_CURRENCY_MISMATCH);
    if (request->is_paid &&
        request->payment.amount != request->lines[0].price * request->lines[0].quantity)
        return m_final(TG_AMOUNT_MISMATCH);
    int units = request->is_paid ? M_SOLD : m_units_when_placed(item->policy);
    struct m_take take = m_take_of(request, M_FREE, units, true);
    if (m_take_is_not_counted(m, &take, now_ms))
        return m_final(TG_ENDED);
    int verdict = m_take_at_own_price(m, &take, request->ordered_at_ms);
    if (verdict != TG_ACCEPTED || m->is_full)
        return m_final(verdict == TG_ACCEPTED ? TG_BUSY : verdict);
    struct draft d = m_draft_begin(m, item->shard, now_ms);
    int place = m_order_create(&d, request);
    if (request->is_paid) {
        struct m_order *next = &m->next_orders[place];
        next->units = M_SOLD;
        m_payment_add(next, &request->payment, TG_PAYMENT_APPLIED, TG_OK, 0);
        m_go_to(next, TG_ORDER_PAID, now_ms);
        m_go_to(next, TG_ORDER_CONFIRMED, now_ms);
    }
    return m_accepted(&d, place);
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
        return m_open_team(m, request, now_ms);
    case M_JOIN:
        return m_join_team(m, request, now_ms);
    case M_INGEST:
        return ingest(m, request, now_ms);
    case M_CART:
        break;
    }
    return m_final(TG_UNSPECIFIED);
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
        return m_final(TG_INVALID_ARGUMENT);
    struct m_take own = m_take_of(request, M_FREE, m_units_when_placed(home->policy), true);
    own.gated = true;
    if (acquired == M_NOT_TAKEN || acquired == M_TAKE_BUSY)
        return m_final(TG_BUSY);
    if (acquired == M_NOT_ASKED && m_is_spread(m, &own)) {
        *take = own;
        return m_step_of(M_ACQUIRE);
    }
    if (acquired == M_NOT_ASKED && !m_check_take(m, &own, M_NONE, now_ms, verdicts))
        return m_final(m_first_refusal(verdicts, own.line_count));
    if (m->is_full)
        return m_final(TG_BUSY);
    struct draft d = m_draft_begin(m, home->shard, now_ms);
    d.change.was_held = acquired == M_TAKEN;
    for (int s = 0; d.change.was_held && s < m->shards; s++)
        m_drop_hold(m, &own, s);
    return m_accepted(&d, m_order_create(&d, request));
}
