/* Random commands to an engine of several shards, and to a naive model that was written from
 * DESIGN.md and the headers alone: plain arrays, searched from end to end, no line shared with the
 * engine. After every step each verdict, each stock, each holding and each answer must agree, and
 * promise 1 must hold.
 *
 * The tables are small, so that they are often full; the request ids few, so that retries and
 * conflicts are frequent; time moves, sales are paused and closed, the storage refuses batches. */
#include "engine/shard.h"

#include "base/rng.h"
#include "engine/life.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARDS = 3,
    SALES = 4,
    SALE_ITEMS = 4,
    ITEMS = SALES * SALE_ITEMS,
    USERS = 6,
    CHANNELS = 3,
    IDS = 300,
    ORDERS_MAX = 24,   /* in each shard */
    HOLDINGS_MAX = 24, /* in each shard */
    TIMERS_MAX = 8,    /* in each shard */
    TTL_MS = 5000,
    STEPS = 20000,
    PLACED_MAX = STEPS,
    QUEUE_MAX = STEPS,
};

/* --- the model --- */

enum life {
    IN_FLIGHT,
    DURABLE,
    UNDONE,
};

struct model_order {
    uint64_t id; /* of the request */
    uint64_t user;
    uint32_t item;
    uint32_t quantity;
    int64_t price;
    uint16_t channel;
    uint8_t external; /* 0: none, else one byte */
    int64_t accepted_at_ms;
    uint64_t order_id;
    enum life life;
    bool remembered; /* a retry would be recognized */
    int waiting;     /* retries behind fences, which keep it remembered */
    bool waits;      /* its payment timer is set */
};

struct model_item {
    uint32_t sale;
    int64_t price;
    uint32_t limit;
    uint32_t order_max;
    int64_t initial;
    int64_t available;
    int64_t reserved;
    int64_t sold;
    int64_t restocked;
    enum tg_stock_policy policy;
    int64_t pending;       /* adjustment in flight, 0: none */
    bool counted[USERS];   /* the user has an entry in the table of holdings */
    bool shared[CHANNELS]; /* the channel has one */
};

struct model_sale {
    int64_t starts_at_ms;
    int64_t ends_at_ms;
    enum tg_sale_state state;
    enum tg_sale_state wanted; /* while a change is in flight */
    bool changing;
    int64_t window_ms;
    uint8_t percent[CHANNELS]; /* 0: no share */
    bool started_fired;
    bool ended_fired;
};

struct model {
    struct model_order orders[PLACED_MAX];
    uint32_t order_count;
    struct model_item items[ITEMS];
    struct model_sale sales[SALES];
};

static uint32_t shard_of(uint32_t item)
{
    return item % SHARDS;
}

static struct model_order *model_find(struct model *model, uint64_t id, uint32_t shard)
{
    for (uint32_t i = 0; i < model->order_count; i++) {
        struct model_order *order = &model->orders[i];
        if (order->remembered && order->id == id && shard_of(order->item) == shard)
            return order;
    }
    return NULL;
}

static bool model_known_elsewhere(struct model *model, uint64_t id, uint32_t shard)
{
    for (uint32_t other = 0; other < SHARDS; other++)
        if (other != shard && model_find(model, id, other))
            return true;
    return false;
}

static uint32_t model_remembered(const struct model *model, uint32_t shard)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->order_count; i++)
        count += model->orders[i].remembered && shard_of(model->orders[i].item) == shard;
    return count;
}

static int64_t model_held(const struct model *model, uint64_t user, uint32_t item)
{
    int64_t units = 0;
    for (uint32_t i = 0; i < model->order_count; i++) {
        const struct model_order *order = &model->orders[i];
        if (order->life != UNDONE && order->user == user && order->item == item)
            units += order->quantity;
    }
    return units;
}

static int64_t model_share_held(const struct model *model, uint16_t channel, uint32_t item)
{
    int64_t units = 0;
    for (uint32_t i = 0; i < model->order_count; i++) {
        const struct model_order *order = &model->orders[i];
        if (order->life != UNDONE && order->channel == channel && order->item == item)
            units += order->quantity;
    }
    return units;
}

static uint8_t model_percent(const struct model *model, const struct model_order *order)
{
    return model->sales[model->items[order->item].sale].percent[order->channel];
}

static uint32_t model_entries(const struct model *model, uint32_t shard)
{
    uint32_t count = 0;
    for (uint32_t item = shard; item < ITEMS; item += SHARDS) {
        for (uint32_t user = 0; user < USERS; user++)
            count += model->items[item].counted[user];
        for (uint32_t channel = 0; channel < CHANNELS; channel++)
            count += model->items[item].shared[channel];
    }
    return count;
}

/* Payment timers of a shard: set, and promised to orders in flight. */
static uint32_t model_timers(const struct model *model, uint32_t shard, bool in_flight)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->order_count; i++) {
        const struct model_order *order = &model->orders[i];
        if (shard_of(order->item) != shard)
            continue;
        bool promised =
            order->life == IN_FLIGHT && model->items[order->item].policy != TG_POLICY_ON_PLACE;
        count += in_flight ? promised : order->waits;
    }
    return count;
}

/* Starts and ends of sales that are to come; on the first shard. */
static uint32_t model_sale_timers(const struct model *model, uint32_t shard)
{
    uint32_t count = 0;
    for (uint32_t i = 0; shard == 0 && i < SALES; i++) {
        count += !model->sales[i].started_fired;
        count += !model->sales[i].ended_fired;
    }
    return count;
}

/* The wheel of the first shard has room for the sales besides; who has fired leaves it to orders.
 */
static bool model_timer_fits(const struct model *model, uint32_t shard)
{
    uint32_t room = TIMERS_MAX + (shard == 0 ? 2 * SALES : 0);
    return model_timers(model, shard, false) + model_timers(model, shard, true) +
               model_sale_timers(model, shard) <
           room;
}

static bool model_is_over(const struct model *model, uint32_t item, int64_t now_ms)
{
    const struct model_sale *sale = &model->sales[model->items[item].sale];
    return now_ms >= sale->ends_at_ms || sale->state == TG_SALE_CLOSED;
}

static bool model_counts_are_gone(const struct model *model, uint32_t item, int64_t now_ms)
{
    const struct model_sale *sale = &model->sales[model->items[item].sale];
    return now_ms >= sale->ends_at_ms + ENG_COUNTS_KEPT_MS || sale->state == TG_SALE_CLOSED;
}

static enum tg_verdict model_gate(const struct model *model, const struct model_order *order,
                                  int64_t now_ms)
{
    const struct model_item *item = &model->items[order->item];
    const struct model_sale *sale = &model->sales[item->sale];
    if (model_is_over(model, order->item, now_ms))
        return TG_ENDED;
    if (now_ms < sale->starts_at_ms)
        return TG_NOT_STARTED;
    if (sale->state == TG_SALE_PAUSED)
        return TG_PAUSED;
    if (order->price != item->price)
        return TG_PRICE_CHANGED;
    if (item->order_max && order->quantity > item->order_max)
        return TG_INVALID_ARGUMENT;
    if (item->available == 0)
        return TG_SOLD_OUT;
    return item->available < order->quantity ? TG_INSUFFICIENT_STOCK : TG_ACCEPTED;
}

static bool same_body(const struct model_order *a, const struct model_order *b)
{
    return a->user == b->user && a->item == b->item && a->quantity == b->quantity &&
           a->price == b->price && a->channel == b->channel && a->external == b->external;
}

/* What must come of an order. `*earlier` is the order whose retry it is. */
static enum tg_verdict model_place(struct model *model, const struct model_order *order,
                                   int64_t now_ms, bool journal_full, struct model_order **earlier)
{
    uint32_t shard = shard_of(order->item);
    struct model_item *item = &model->items[order->item];
    *earlier = model_find(model, order->id, shard);
    if (*earlier)
        return same_body(order, *earlier) ? TG_ACCEPTED : TG_REQUEST_ID_CONFLICT;
    bool elsewhere = model_known_elsewhere(model, order->id, shard);
    enum tg_verdict verdict = model_gate(model, order, now_ms);
    if (verdict == TG_ACCEPTED && item->limit &&
        model_held(model, order->user, order->item) + order->quantity > item->limit)
        verdict = TG_LIMIT_REACHED;
    int64_t percent = model_percent(model, order);
    int64_t share = (item->initial + item->restocked) * percent / 100;
    if (verdict == TG_ACCEPTED && percent &&
        model_share_held(model, order->channel, order->item) + order->quantity > share)
        verdict = TG_CHANNEL_SHARE_REACHED;
    if (verdict != TG_ACCEPTED)
        return elsewhere ? TG_REQUEST_ID_CONFLICT : verdict;
    if (journal_full || model_remembered(model, shard) == ORDERS_MAX)
        return TG_BUSY;
    if (item->policy != TG_POLICY_ON_PLACE && !model_timer_fits(model, shard))
        return TG_BUSY;
    if (elsewhere)
        return TG_REQUEST_ID_CONFLICT;
    uint32_t entries = model_entries(model, shard);
    entries += item->limit && !item->counted[order->user];
    entries += percent && !item->shared[order->channel];
    return entries > HOLDINGS_MAX ? TG_BUSY : TG_ACCEPTED;
}

static void model_move(struct model_item *item, int64_t units)
{
    if (item->policy == TG_POLICY_ON_PAYMENT)
        return;
    item->available -= units;
    if (item->policy == TG_POLICY_RESERVE)
        item->reserved += units;
    else
        item->sold += units;
}

static struct model_order *model_accept(struct model *model, const struct model_order *order,
                                        int64_t now_ms)
{
    struct model_order *accepted = &model->orders[model->order_count++];
    struct model_item *item = &model->items[order->item];
    *accepted = *order;
    accepted->life = IN_FLIGHT;
    accepted->remembered = true;
    accepted->accepted_at_ms = now_ms;
    model_move(item, order->quantity);
    if (item->limit)
        item->counted[order->user] = true;
    if (model_percent(model, order))
        item->shared[order->channel] = true;
    return accepted;
}

static void model_undo(struct model *model, struct model_order *order)
{
    struct model_item *item = &model->items[order->item];
    order->life = UNDONE;
    order->remembered = false;
    model_move(item, -(int64_t)order->quantity);
    item->counted[order->user] = item->limit && model_held(model, order->user, order->item) > 0;
    item->shared[order->channel] =
        model_percent(model, order) && model_share_held(model, order->channel, order->item) > 0;
}

static bool model_in_flight(const struct model *model, uint32_t item)
{
    for (uint32_t i = 0; i < model->order_count; i++)
        if (model->orders[i].item == item && model->orders[i].life == IN_FLIGHT)
            return true;
    return false;
}

static void model_sweep(struct model *model, uint32_t shard, int64_t now_ms)
{
    for (uint32_t i = 0; i < model->order_count; i++) {
        struct model_order *order = &model->orders[i];
        if (shard_of(order->item) == shard && order->life == DURABLE && order->waiting == 0 &&
            order->accepted_at_ms / 1000 * 1000 + 999 < now_ms - TTL_MS)
            order->remembered = false; /* memory keeps seconds */
    }
    for (uint32_t item = shard; item < ITEMS; item += SHARDS)
        if (model_counts_are_gone(model, item, now_ms) && !model_in_flight(model, item)) {
            memset(model->items[item].counted, 0, sizeof(model->items[item].counted));
            memset(model->items[item].shared, 0, sizeof(model->items[item].shared));
        }
}

/* --- the world: engine, journals, model --- */

struct entry {
    struct tg_record record;
    struct model_order *order; /* whose record, or whose retry, it is */
    enum tg_sale_state wanted;
};

struct world {
    struct eng_engine engine;
    struct model *model;
    struct entry *queues[SHARDS];
    uint32_t heads[SHARDS];
    uint32_t tails[SHARDS];
    struct tg_rng rng;
    uint64_t seed;
    int step;
    int64_t now_ms;
    uint64_t order_id_last;
    uint64_t verdicts[TG_VERDICT_COUNT];
    uint64_t replays[2]; /* of durable orders, of orders in flight */
    uint64_t fired;      /* payment timers */
};

#define AT              AT_SAYING("")
#define AT_SAYING(more) "seed %#lx, step %d" more, world->seed, world->step

static uint64_t below(struct world *world, uint64_t bound)
{
    return tg_rng_below(&world->rng, bound);
}

static void sale_add(struct world *world, uint32_t number)
{
    struct model_sale *sale = &world->model->sales[number];
    sale->state = TG_SALE_ACTIVE;
    sale->starts_at_ms = (int64_t)number * 1000;
    /* Sales 0 and 1 go on for ever; the others end on the way. */
    sale->ends_at_ms = number < 2 ? TG_TIME_MS_MAX : 30000 * (int64_t)number;
    sale->window_ms = 1000 * (1 + (int64_t)below(world, 5));
    if (number % 2) {
        sale->percent[0] = (uint8_t)(1 + below(world, 60));
        sale->percent[2] = (uint8_t)(1 + below(world, 100));
    }
    struct tg_sale_def *def = tg_sale_def_create(SALE_ITEMS);
    def->sale_id = number + 1;
    def->kind = TG_SALE_SECKILL;
    def->starts_at_ms = sale->starts_at_ms;
    def->ends_at_ms = sale->ends_at_ms;
    def->payment_window_s = (uint32_t)(sale->window_ms / 1000);
    for (uint16_t channel = 0; channel < CHANNELS; channel++)
        if (sale->percent[channel])
            def->shares[def->share_count++] =
                (struct tg_channel_share){.channel = channel, .percent = sale->percent[channel]};
    for (uint32_t i = 0; i < SALE_ITEMS; i++) {
        struct model_item *item = &world->model->items[number * SALE_ITEMS + i];
        *item = (struct model_item){
            .sale = number,
            .price = 100 + i,
            .limit = below(world, 3) ? 2 + (uint32_t)below(world, 20) : 0,
            .order_max = below(world, 2) ? 3 : 0,
            .initial = (int64_t)below(world, 60),
            /* Item numbers and shards go by fours and threes: every shard meets every policy. */
            .policy = (enum tg_stock_policy)(TG_POLICY_RESERVE + (number + i) % 3),
        };
        item->available = item->initial;
        def->items[i].sku_bytes = 1;
        def->items[i].sku[0] = (uint8_t)('A' + i);
        def->items[i].sale_price_minor = item->price;
        def->items[i].stock_units = (uint32_t)item->initial;
        def->items[i].per_user_limit = item->limit;
        def->items[i].per_order_max = item->order_max;
        def->items[i].stock_policy = (uint8_t)item->policy;
    }
    bool full;
    cr_assert_eq(eng_catalog_prepare(&world->engine.catalog, def, &full), TG_OK);
    eng_engine_publish_sale(&world->engine, def);
    free(def);
}

static struct tg_order wire_order(const struct model_order *order);

/* The model's orders are the database. */
static enum eng_load load_order(void *context, uint64_t order_id, struct tg_order_row *row,
                                struct tg_life *life, bool *has_life)
{
    const struct model *model = ((struct world *)context)->model;
    uint32_t i = 0;
    (void)life;
    *has_life = false;
    while (i < model->order_count && model->orders[i].order_id != order_id)
        i++;
    if (i == model->order_count)
        return ENG_UNREADABLE;
    const struct model_order *order = &model->orders[i];
    struct tg_order wire = wire_order(order);
    *row = (struct tg_order_row){
        .order_id = order_id,
        .user_id = order->user,
        .unit_price_minor = order->price,
        .accepted_at_ms = order->accepted_at_ms,
        .item = order->item,
        .quantity = order->quantity,
        .channel = order->channel,
        .external_bytes = wire.external_bytes,
    };
    memcpy(row->request_id, wire.request_id, sizeof(row->request_id));
    if (wire.external_bytes)
        memcpy(row->external_id, wire.external_id, wire.external_bytes);
    return ENG_LOADED;
}

static void world_make(struct world *world, uint64_t seed)
{
    struct eng_config config = {
        .shards = SHARDS,
        .sales_max = SALES,
        .items_max = ITEMS,
        .orders_max = ORDERS_MAX,
        .holdings_max = HOLDINGS_MAX,
        .timers_max = TIMERS_MAX,
        .request_ttl_ms = TTL_MS,
        .hash_seed = seed,
    };
    struct tg_fault fault;
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    tg_rng_init(&world->rng, seed);
    cr_assert_eq(eng_engine_create(&config, &world->engine, &fault), TG_ERR_OK);
    world->model = calloc(1, sizeof(*world->model));
    for (uint32_t i = 0; i < SHARDS; i++) {
        world->engine.shards[i].loader = (struct eng_loader){.context = world, .order = load_order};
        world->queues[i] = calloc(QUEUE_MAX, sizeof(struct entry));
    }
    for (uint32_t i = 0; i < SALES; i++)
        sale_add(world, i);
}

static void world_free(struct world *world)
{
    for (uint32_t i = 0; i < SHARDS; i++)
        free(world->queues[i]);
    free(world->model);
    eng_engine_destroy(&world->engine);
}

static struct entry *queue_tail(struct world *world, uint32_t shard)
{
    return &world->queues[shard][world->tails[shard]];
}

/* --- agreement --- */

static void check_items(struct world *world)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct model_item *item = &world->model->items[i];
        struct tg_stock stock = eng_item_stock(&world->engine.catalog.items[i]);
        cr_assert(tg_stock_holds(&stock), AT);
        cr_assert_eq(stock.initial_units, item->initial, AT);
        cr_assert_eq(stock.available_units, item->available, AT);
        cr_assert_eq(stock.reserved_units, item->reserved, AT);
        cr_assert_eq(stock.sold_units, item->sold, AT);
        cr_assert_eq(stock.restocked_units, item->restocked, AT);
        cr_assert_geq(item->available, 0, AT);
    }
}

static void check_tables(struct world *world)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct eng_shard *shard = &world->engine.shards[i];
        cr_assert_eq(shard->requests.count, model_remembered(world->model, i), AT);
        cr_assert_eq(shard->holdings.count, model_entries(world->model, i), AT);
        cr_assert_eq(eng_wheel_count(shard->wheel),
                     model_timers(world->model, i, false) + model_sale_timers(world->model, i), AT);
        cr_assert_eq(shard->timers_promised, model_timers(world->model, i, true), AT);
    }
    for (uint32_t item = 0; item < ITEMS; item++) {
        const struct eng_holdings *holdings = &world->engine.shards[shard_of(item)].holdings;
        for (uint64_t user = 0; user < USERS; user++)
            if (world->model->items[item].counted[user])
                cr_assert_eq(eng_holdings_units(holdings, user, item),
                             model_held(world->model, user, item), AT);
        for (uint16_t channel = 0; channel < CHANNELS; channel++)
            if (world->model->items[item].shared[channel])
                cr_assert_eq(eng_holdings_units(holdings, channel, ENG_HELD_CHANNEL | item),
                             model_share_held(world->model, channel, item), AT);
    }
}

/* --- commands --- */

static void check_answer(struct world *world, const struct tg_answer *answer,
                         const struct model_order *order)
{
    cr_assert_eq(answer->verdict, TG_ACCEPTED, AT);
    cr_assert_eq(answer->order_id, order->order_id, AT);
    cr_assert_eq(answer->unit_price_minor, order->price, AT);
    cr_assert_eq(answer->accepted_at_ms, order->accepted_at_ms, AT);
}

/* A new body, or that of an earlier order with at most one field changed. */
static struct model_order draw_order(struct world *world)
{
    struct model *model = world->model;
    struct model_order order = {
        .id = below(world, IDS),
        .user = below(world, USERS),
        .item = (uint32_t)below(world, ITEMS),
        .quantity = 1 + (uint32_t)below(world, below(world, 8) ? 3 : 40),
        .channel = (uint16_t)below(world, CHANNELS),
        .external = (uint8_t)below(world, 2),
    };
    order.price = model->items[order.item].price + (below(world, 20) == 0);
    if (model->order_count == 0 || below(world, 2))
        return order;
    uint32_t recent = model->order_count < 60 ? model->order_count : 60;
    struct model_order retry = model->orders[model->order_count - 1 - below(world, recent)];
    switch (below(world, 14)) {
    case 0:
        retry.user = order.user;
        break;
    case 1:
        retry.item = order.item;
        break;
    case 2:
        retry.quantity = order.quantity;
        break;
    case 3:
        retry.price = order.price;
        break;
    case 4:
        retry.channel = order.channel;
        break;
    case 5:
        retry.external = order.external;
        break;
    }
    return retry;
}

static struct tg_order wire_order(const struct model_order *order)
{
    static const uint8_t external[] = "ab";
    struct tg_order wire = {
        .sale_id = 1 + order->item / SALE_ITEMS,
        .user_id = order->user,
        .unit_price_minor = order->price,
        .quantity = order->quantity,
        .channel = order->channel,
        .external_id = order->external ? external + order->external - 1 : NULL,
        .external_bytes = order->external != 0,
    };
    memcpy(wire.request_id, &order->id, sizeof(order->id));
    return wire;
}

static void check_gate(struct world *world, const struct model_order *order,
                       const struct tg_order *wire)
{
    struct eng_decision decision;
    enum tg_verdict verdict = model_gate(world->model, order, world->now_ms);
    bool refuses =
        verdict != TG_ACCEPTED && !model_known_elsewhere(world->model, order->id, SHARDS);
    const struct eng_item *item = &world->engine.catalog.items[order->item];
    cr_assert_eq(eng_gate_refuses(&world->engine, item, wire, world->now_ms, &decision), refuses,
                 AT);
    if (refuses)
        cr_assert_eq(decision.verdict, verdict, AT);
}

/* A retry: answered at once, or behind a fence in the journal. */
static void follow_replay(struct world *world, const struct eng_decision *decision,
                          struct model_order *earlier, bool journal_full)
{
    uint32_t shard = shard_of(earlier->item);
    cr_assert(decision->replayed, AT);
    cr_assert_eq(decision->in_flight, earlier->life == IN_FLIGHT, AT);
    world->replays[decision->in_flight]++;
    if (!decision->in_flight) {
        check_answer(world, &decision->answer, earlier);
    } else if (!journal_full) {
        struct entry *entry = queue_tail(world, shard);
        eng_shard_fence(&world->engine.shards[shard], decision->slot, decision->generation,
                        world->now_ms, &entry->record);
        entry->order = earlier;
        earlier->waiting++;
        world->tails[shard]++;
    }
}

static void do_place(struct world *world)
{
    struct model_order order = draw_order(world);
    struct tg_order wire = wire_order(&order);
    uint32_t shard = shard_of(order.item);
    bool journal_full = below(world, 30) == 0;
    struct entry *entry = queue_tail(world, shard);
    struct eng_decision decision;
    struct model_order *earlier;
    enum tg_verdict expected =
        model_place(world->model, &order, world->now_ms, journal_full, &earlier);
    check_gate(world, &order, &wire);
    eng_shard_place(&world->engine.shards[shard], &world->engine.catalog.items[order.item], &wire,
                    world->now_ms, journal_full ? NULL : &entry->record, &decision);
    cr_assert_eq(decision.verdict, expected, AT_SAYING(": %s, not %s"),
                 tg_verdict_name((int)expected), tg_verdict_name((int)decision.verdict));
    world->verdicts[decision.verdict]++;
    if (expected != TG_ACCEPTED) {
        cr_assert_not(decision.replayed, AT);
    } else if (earlier) {
        follow_replay(world, &decision, earlier, journal_full);
    } else {
        cr_assert_not(decision.replayed, AT);
        entry->order = model_accept(world->model, &order, world->now_ms);
        world->tails[shard]++;
    }
}

static void do_adjust(struct world *world)
{
    uint32_t number = (uint32_t)below(world, ITEMS), shard = shard_of(number);
    struct model_item *item = &world->model->items[number];
    struct entry *entry = queue_tail(world, shard);
    struct eng_adjust change = {.compare = below(world, 2), .reason = "why", .reason_bytes = 3};
    int64_t delta;
    bool mismatch = false;
    if (change.compare) {
        mismatch = below(world, 4) == 0;
        change.expected_units = (uint64_t)item->available + mismatch;
        change.new_units = below(world, 60);
        delta = (int64_t)change.new_units - item->available;
    } else {
        delta = change.delta_units = (int64_t)below(world, 60) - 25;
    }
    enum tg_verdict expected = item->pending              ? TG_BUSY
                               : mismatch                 ? TG_STOCK_CHANGED
                               : delta < -item->available ? TG_INSUFFICIENT_STOCK
                                                          : TG_OK;
    bool changes;
    enum tg_field field;
    cr_assert_eq(eng_shard_adjust(&world->engine.shards[shard],
                                  &world->engine.catalog.items[number], &change, world->now_ms,
                                  &entry->record, &changes, &field),
                 expected, AT);
    cr_assert_eq(changes, expected == TG_OK && delta != 0, AT);
    world->verdicts[expected]++;
    if (!changes)
        return;
    item->pending = delta;
    item->available += delta < 0 ? delta : 0;
    item->restocked += delta < 0 ? delta : 0;
    world->tails[shard]++;
}

/* Changes of state go by the first shard's journal. Closing is for good: two sales never are. */
static void do_state(struct world *world)
{
    uint32_t number = (uint32_t)below(world, SALES);
    struct model_sale *sale = &world->model->sales[number];
    struct eng_sale *real = &world->engine.catalog.sales[number];
    enum tg_sale_state wanted = number >= 2 && below(world, 20) == 0 ? TG_SALE_CLOSED
                                : below(world, 3) == 0               ? TG_SALE_PAUSED
                                                                     : TG_SALE_ACTIVE;
    enum tg_verdict expected = sale->changing                  ? TG_BUSY
                               : sale->state == wanted         ? TG_OK
                               : sale->state == TG_SALE_CLOSED ? TG_ENDED
                                                               : TG_OK;
    bool changes;
    cr_assert_eq(eng_sale_state_decide(real, wanted, &changes), expected, AT);
    cr_assert_eq(changes, expected == TG_OK && sale->state != wanted, AT);
    if (!changes)
        return;
    sale->changing = true;
    struct entry *entry = queue_tail(world, 0);
    entry->record.kind = TG_RECORD_SALE_STATE;
    entry->record.sale_state.sale = number;
    entry->wanted = wanted;
    world->tails[0]++;
}

static void complete_order(struct world *world, struct eng_shard *shard, struct entry *entry,
                           bool durable)
{
    if (durable) {
        entry->record.order_id = ++world->order_id_last;
        entry->order->order_id = entry->record.order_id;
        entry->order->life = DURABLE;
        entry->order->waits = world->model->items[entry->order->item].policy != TG_POLICY_ON_PLACE;
        eng_shard_order_durable(shard, &entry->record);
    } else {
        model_undo(world->model, entry->order);
        eng_shard_order_refused(shard, &entry->record);
    }
}

static void complete_adjust(struct world *world, struct eng_shard *shard, struct entry *entry,
                            bool durable)
{
    struct model_item *item = &world->model->items[entry->record.item];
    int64_t came =
        item->pending > 0 ? (durable ? item->pending : 0) : (durable ? 0 : -item->pending);
    item->available += came;
    item->restocked += came;
    item->pending = 0;
    eng_shard_adjust_settle(shard, &entry->record);
}

static void complete_state(struct world *world, const struct entry *entry, bool durable)
{
    uint32_t number = entry->record.sale_state.sale;
    struct model_sale *sale = &world->model->sales[number];
    sale->changing = false;
    if (durable)
        sale->state = entry->wanted;
    eng_sale_state_settle(&world->engine.catalog.sales[number], entry->wanted, durable);
}

static void complete_fence(struct world *world, struct eng_shard *shard, const struct entry *entry)
{
    struct tg_answer answer =
        eng_shard_answer(shard, entry->record.fence.slot, entry->record.fence.generation);
    if (entry->order->life == UNDONE)
        cr_assert_eq(answer.verdict, TG_STORAGE_FULL, AT);
    else
        check_answer(world, &answer, entry->order);
    eng_shard_fence_settle(shard, &entry->record);
    entry->order->waiting--;
}

/* The writer's turn: some of one journal, in order; one batch in eight is refused. */
static void do_complete(struct world *world, uint32_t number, uint32_t most)
{
    struct eng_shard *shard = &world->engine.shards[number];
    bool durable = below(world, 8) != 0;
    for (; most > 0 && world->heads[number] < world->tails[number]; most--) {
        struct entry *entry = &world->queues[number][world->heads[number]++];
        entry->record.outcome = durable ? TG_OUTCOME_DURABLE : TG_OUTCOME_REFUSED;
        switch ((enum tg_record_kind)entry->record.kind) {
        case TG_RECORD_ORDER:
            complete_order(world, shard, entry, durable);
            break;
        case TG_RECORD_ADJUST:
            complete_adjust(world, shard, entry, durable);
            break;
        case TG_RECORD_SALE_STATE:
            complete_state(world, entry, durable);
            break;
        case TG_RECORD_FENCE:
            complete_fence(world, shard, entry);
            break;
        case TG_RECORD_SALE:
        case TG_RECORD_CHANGE:
        case TG_RECORD_TEAM:
        case TG_RECORD_SALE_EVENT:
        case TG_RECORD_GROUP:
            cr_assert_fail("nobody makes sales here");
        }
    }
}

static void fire_order(struct world *world, const struct eng_timer *timer)
{
    struct model_order *order = NULL;
    for (uint32_t i = 0; i < world->model->order_count && !order; i++)
        if (world->model->orders[i].order_id == timer->id)
            order = &world->model->orders[i];
    cr_assert(order && order->waits, AT_SAYING(": a timer of nobody"));
    int64_t window_ms = world->model->sales[world->model->items[order->item].sale].window_ms;
    cr_assert_eq(timer->due_ms, order->accepted_at_ms + window_ms, AT);
    order->waits = false;
    world->fired++;
}

/* What is due is handed out; whether it comes soon enough is for the wheel's own test. */
static void do_timers(struct world *world, uint32_t number)
{
    struct eng_timer timers[TIMERS_MAX + 2 * SALES];
    uint32_t count = eng_wheel_due(world->engine.shards[number].wheel, world->now_ms, timers,
                                   sizeof(timers) / sizeof(timers[0]));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t which = timers[i].id & ((1ull << 62) - 1);
        cr_assert_leq(timers[i].due_ms, world->now_ms, AT);
        switch ((enum eng_timer_kind)(timers[i].id >> 62)) {
        case ENG_TIMER_ORDER:
            fire_order(world, &timers[i]);
            break;
        case ENG_TIMER_SALE_START:
            cr_assert_not(world->model->sales[which].started_fired, AT);
            world->model->sales[which].started_fired = true;
            break;
        case ENG_TIMER_SALE_END:
            cr_assert_not(world->model->sales[which].ended_fired, AT);
            world->model->sales[which].ended_fired = true;
            break;
        case ENG_TIMER_TEAM:
            cr_assert_fail("nobody makes teams here");
        }
    }
}

/* A commit takes less than the time to live: time stands still until the journals are empty. */
static void do_time(struct world *world)
{
    for (uint32_t i = 0; i < SHARDS; i++)
        do_complete(world, i, UINT32_MAX);
    world->now_ms += (int64_t)below(world, 1500);
    for (uint32_t i = 0; i < SHARDS; i++)
        do_timers(world, i);
}

static void do_sweep(struct world *world)
{
    uint32_t number = (uint32_t)below(world, SHARDS);
    model_sweep(world->model, number, world->now_ms);
    for (int call = 0; call < 8; call++) /* a whole round of the larger table */
        eng_shard_sweep(&world->engine.shards[number], world->now_ms);
}

static void do_step(struct world *world)
{
    uint64_t choice = below(world, 100);
    if (choice < 77)
        do_place(world);
    else if (choice < 82)
        do_adjust(world);
    else if (choice < 84)
        do_state(world);
    else if (choice < 93)
        do_complete(world, (uint32_t)below(world, SHARDS), 1 + (uint32_t)below(world, 8));
    else if (choice < 95)
        do_time(world);
    else
        do_sweep(world);
}

/* The walk must have met every answer, or it shows less than it seems to. */
static void check_coverage(const struct world *world)
{
    static const enum tg_verdict met[] = {
        TG_ACCEPTED,
        TG_SOLD_OUT,
        TG_INSUFFICIENT_STOCK,
        TG_LIMIT_REACHED,
        TG_ENDED,
        TG_PAUSED,
        TG_PRICE_CHANGED,
        TG_INVALID_ARGUMENT,
        TG_REQUEST_ID_CONFLICT,
        TG_BUSY,
        TG_STOCK_CHANGED,
        TG_CHANNEL_SHARE_REACHED,
        TG_OK,
    };
    for (size_t i = 0; i < sizeof(met) / sizeof(met[0]); i++)
        cr_expect_geq(world->verdicts[met[i]], 10, "seed %#lx: %s came %lu times", world->seed,
                      tg_verdict_name((int)met[i]), world->verdicts[met[i]]);
    cr_expect_geq(world->replays[0], 100, "seed %#lx", world->seed);
    cr_expect_geq(world->replays[1], 100, "seed %#lx", world->seed);
    cr_expect_geq(world->fired, 100, "seed %#lx: %lu timers", world->seed, world->fired);
}

static void walk(uint64_t seed)
{
    struct world *world = malloc(sizeof(*world));
    world_make(world, seed);
    for (world->step = 0; world->step < STEPS; world->step++) {
        do_step(world);
        check_items(world);
        if (world->step % 16 == 0)
            check_tables(world);
    }
    check_tables(world);
    check_coverage(world);
    world_free(world);
    free(world);
}

Test(shard_fuzz, agrees_with_the_model_on_the_first_walk)
{
    walk(0x7469646531);
}

Test(shard_fuzz, agrees_with_the_model_on_the_second_walk)
{
    walk(0x7469646532);
}

Test(shard_fuzz, agrees_with_the_model_on_the_third_walk)
{
    walk(0x7469646533);
}
