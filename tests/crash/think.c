/* What the clients of the load ask for next: at random, but so that much of it is granted. */
#include "base/clock.h"
#include "tests/crash/load_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Wishes sent so near to a power cut are asked for again behind it. */
#define NEAR_CUT 160

static int64_t now_ms(void)
{
    return tg_clock_wall_ns() / TG_NS_PER_MS;
}

static void draw_lines(struct load *load, struct wish *wish, uint32_t count)
{
    uint32_t first = load_draw(load, wish->sale->items);
    wish->line_count = count;
    for (uint32_t i = 0; i < count; i++) {
        wish->skus[i] = (first + i) % wish->sale->items;
        wish->quantities[i] = 1 + load_draw(load, 3);
    }
    wish->user_id = 1 + load_draw(load, 600);
}

static void wish_place(struct load *load, struct wish *wish)
{
    static const uint8_t choice[] = {SALE_HOT,     SALE_HOT,        SALE_HOT,
                                     SALE_RESERVE, SALE_ON_PAYMENT, SALE_ON_PLACE};
    uint32_t at = choice[load_draw(load, sizeof(choice))];
    if (load->sale_count > SALES && load_draw(load, 5) == 0)
        at = SALES + load_draw(load, load->sale_count - SALES);
    wish->sale = &load->sales[at].plan;
    draw_lines(load, wish, 1);
}

static void wish_cart(struct load *load, struct wish *wish)
{
    wish->sale = &load->sales[SALE_RESERVE + load_draw(load, 3)].plan;
    draw_lines(load, wish, 2 + load_draw(load, WISH_LINES_MAX - 1));
}

static void wish_open(struct load *load, struct wish *wish)
{
    wish->sale = &load->sales[SALE_TEAMS].plan;
    draw_lines(load, wish, 1);
}

/* One of the newest teams; without one, a team is opened. */
static void wish_join(struct load *load, struct wish *wish)
{
    wish_open(load, wish);
    uint64_t newest = load->team_count < 6 ? load->team_count : 6;
    if (newest == 0) {
        wish->kind = WISH_OPEN;
        return;
    }
    uint64_t team = load->team_count - 1 - load_draw(load, newest);
    wish->team_id = load->teams[team % POOL];
    wish->skus[0] = load->team_skus[team % POOL];
}

static void wish_ingest(struct load *load, struct wish *wish)
{
    wish->sale = &load->sales[SALE_CHANNELS].plan;
    draw_lines(load, wish, 1 + load_draw(load, WISH_LINES_MAX));
    wish->ingest_count = 1 + load_draw(load, WISH_INGEST_MAX);
}

/* What moves an order in this state on, more often than not. */
static enum wish_change draw_change(struct load *load, const struct known *order)
{
    static const uint8_t shares[WISH_CHANGES] = {
        [WISH_PAY] = 8,     [WISH_CANCEL] = 12, [WISH_EXTEND] = 8,  [WISH_REFUND] = 14,
        [WISH_APPROVE] = 8, [WISH_REJECT] = 4,  [WISH_RECORD] = 12, [WISH_ADVANCE] = 34,
    };
    if (order->state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED && load_draw(load, 10) < 7)
        return WISH_PAY;
    uint32_t at = load_draw(load, 100);
    for (uint32_t change = 0;; change++) {
        if (at < shares[change])
            return (enum wish_change)change;
        at -= shares[change];
    }
}

static int next_state(int state)
{
    if (state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED)
        return TIDEGATE__V1__ORDER_STATE__ORDER_STATE_DELIVERED;
    if (state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_DELIVERED)
        return TIDEGATE__V1__ORDER_STATE__ORDER_STATE_COMPLETED;
    return TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED;
}

static void wish_change(struct load *load, struct wish *wish)
{
    uint64_t known = load->pool_count < POOL ? load->pool_count : POOL;
    if (known == 0) {
        wish->kind = WISH_PLACE;
        wish_place(load, wish);
        return;
    }
    /* The newest half of the time, so that those meet. */
    uint64_t back =
        load_draw(load, 2) ? load_draw(load, known < 12 ? known : 12) : load_draw(load, known);
    const struct known *order = &load->pool[(load->pool_count - 1 - back) % POOL];
    wish->order_id = order->order_id;
    wish->change = draw_change(load, order);
    wish->refund_number = 1 + load_draw(load, order->refunds ? order->refunds : 1);
    wish->advance_to = next_state(order->state);
    if (wish->change == WISH_PAY)
        wish->amount_minor = order->amount_minor - (load_draw(load, 12) == 0);
    else
        wish->amount_minor = load_draw(load, 2) ? 0 : 100 + load_draw(load, 500);
}

void load_target_begin(struct target *target, const char *kind, uint64_t sale_id, const char *name)
{
    *target = (struct target){.key = facts_key(kind, sale_id, name), .value = FACTS_ABSENT};
    snprintf(target->name, sizeof(target->name), "%s %" PRIu64 "%s%s", kind, sale_id,
             *name ? " " : "", name);
}

struct sale *load_new_sale(struct load *load, const struct wish_sale *plan)
{
    struct sale *sale = &load->sales[load->sale_count++];
    sale->plan = *plan;
    load_target_begin(&sale->state, "state", plan->sale_id, "");
    load_target_begin(&sale->stock, "stock", plan->sale_id, wish_sku(0));
    return sale;
}

static void wish_create_sale(struct load *load, struct actor *actor)
{
    struct wish_sale plan = {.sale_id = FIRST_EXTRA_ID + load->sale_count,
                             .items = 1 + load_draw(load, 8),
                             .stock_units = 50,
                             .policy = 1 + (int)load_draw(load, 3)};
    struct sale *sale = load_new_sale(load, &plan);
    actor->wish.sale = &sale->plan;
    actor->wish.operation = WISH_CREATE_SALE;
    actor->target = &sale->state;
}

static void wish_state(struct load *load, struct actor *actor, struct sale *sale)
{
    actor->target = &sale->state;
    if (sale->state.value == TG_SALE_PAUSED)
        actor->wish.operation = WISH_RESUME;
    else if (sale->plan.sale_id >= FIRST_EXTRA_ID && load_draw(load, 6) == 0)
        actor->wish.operation = WISH_CLOSE;
    else
        actor->wish.operation = WISH_PAUSE;
}

static void wish_stock(struct load *load, struct actor *actor, struct sale *sale)
{
    actor->target = &sale->stock;
    actor->wish.operation = WISH_ADJUST;
    actor->wish.delta_units =
        load_draw(load, 3) ? 1 + load_draw(load, 20) : -1 - (int64_t)load_draw(load, 5);
}

/* False when what it would change is being changed. */
static bool wish_operate(struct load *load, struct actor *actor)
{
    if (load->sale_count < SALES + EXTRA_SALES && load_draw(load, 25) == 0) {
        wish_create_sale(load, actor);
        return true;
    }
    struct sale *sale = &load->sales[load_draw(load, load->sale_count)];
    actor->wish.sale = &sale->plan;
    if (sale->state.value == FACTS_ABSENT)
        return false;
    if (load_draw(load, 2))
        wish_stock(load, actor, sale);
    else
        wish_state(load, actor, sale);
    return !actor->target->is_busy;
}

static bool wish_group(struct load *load, struct actor *actor)
{
    uint32_t at = load_draw(load, sizeof(load->groups) / sizeof(load->groups[0]));
    struct group *group = &load->groups[at];
    bool is_passing = at == 0; /* comes and goes */
    actor->target = &group->offset;
    actor->wish.group = group->name;
    if (group->offset.value == FACTS_ABSENT)
        actor->wish.operation = WISH_CREATE_GROUP;
    else
        actor->wish.operation =
            is_passing && load_draw(load, 8) == 0 ? WISH_DELETE_GROUP : WISH_ACK;
    actor->wish.sequence =
        load->sequence_max - (load->sequence_max ? load_draw(load, 40) % load->sequence_max : 0);
    return !group->offset.is_busy;
}

/* A consumer asks for what is behind its offset, or somebody for one order. */
static void wish_read(struct load *load, struct wish *wish)
{
    uint64_t known = load->pool_count < POOL ? load->pool_count : POOL;
    wish->group = load->groups[1 + load_draw(load, 3)].name;
    if (known && load_draw(load, 2))
        wish->order_id = load->pool[load_draw(load, known)].order_id;
}

static enum wish_kind draw_kind(struct load *load, const struct phase *phase)
{
    uint32_t at = load_draw(load, 100);
    for (uint32_t kind = 0;; kind++) {
        if (at < phase->shares[kind])
            return (enum wish_kind)kind;
        at -= phase->shares[kind];
    }
}

/* Fills a new wish; false when this kind has none at the moment. */
static bool think(struct actor *actor, enum wish_kind kind)
{
    struct load *load = actor->load;
    struct wish *wish = &actor->wish;
    *wish = (struct wish){.kind = kind, .number = ++load->wishes, .at_ms = now_ms()};
    actor->target = NULL;
    switch (kind) {
    case WISH_PLACE:
        wish_place(load, wish);
        return true;
    case WISH_CART:
        wish_cart(load, wish);
        return true;
    case WISH_OPEN:
        wish_open(load, wish);
        return true;
    case WISH_JOIN:
        wish_join(load, wish);
        return true;
    case WISH_INGEST:
        wish_ingest(load, wish);
        return true;
    case WISH_CHANGE:
        wish_change(load, wish);
        return true;
    case WISH_OPERATE:
        return wish_operate(load, actor);
    case WISH_GROUP:
        return wish_group(load, actor);
    case WISH_READ:
        wish_read(load, wish);
        return true;
    case WISH_KINDS:
        break;
    }
    abort();
}

static bool is_safe_to_repeat(enum wish_kind kind)
{
    return kind != WISH_OPERATE && kind != WISH_GROUP && kind != WISH_READ;
}

/* One of those that were under way, or just done, when the power went. */
static bool again_from_past(struct actor *actor)
{
    struct load *load = actor->load;
    const struct facts_list *list = &load->past->history;
    uint64_t near = list->count;
    while (near && FACTS_AT(sent, *list, near - 1)->position > load->past_cut)
        near--;
    uint64_t first = near > NEAR_CUT ? near - NEAR_CUT : 0;
    if (near == first)
        return false;
    actor->wish = FACTS_AT(sent, *list, first + load_draw(load, near - first))->wish;
    actor->target = NULL;
    return true;
}

bool load_think(struct actor *actor, const struct phase *phase)
{
    struct load *load = actor->load;
    enum wish_kind kind = draw_kind(load, phase);
    if (load->past && load_draw(load, 3) == 0 && again_from_past(actor))
        return true;
    if (is_safe_to_repeat(kind) && load->last[kind].number && load_draw(load, 16) == 0) {
        actor->wish = load->last[kind];
        actor->target = NULL;
        return true;
    }
    if (!think(actor, kind))
        return false;
    load->last[actor->wish.kind] = actor->wish;
    if (is_safe_to_repeat(actor->wish.kind)) {
        struct sent sent = {.wish = actor->wish, .position = crash_log_at(load->log)};
        facts_add(&load->history, &sent, sizeof(sent));
    }
    return true;
}
