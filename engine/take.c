#include "engine/cart.h"

#include "base/assert.h"
#include "base/planted.h"
#include "engine/count.h"

/* --- what a take does: the table of engine/cart.h --- */

static bool takes_units(const struct eng_take *take)
{
    return take->units_before == TG_UNITS_NONE && take->units_after != TG_UNITS_NONE;
}

static bool begins_to_stand(const struct eng_take *take)
{
    return !take->stands_before && take->stands_after;
}

static bool ends_to_stand(const struct eng_take *take)
{
    return take->stands_before && !take->stands_after;
}

/* Something happened at the decision that a refusal must undo. */
static bool has_taken(const struct eng_take *take)
{
    return takes_units(take) || begins_to_stand(take);
}

static struct eng_buyer buyer_of(const struct eng_take *take)
{
    return (struct eng_buyer){.user_id = take->user_id, .channel = take->channel};
}

/* The item of a line when it belongs to this shard, else NULL. */
static struct eng_item *own_item(const struct eng_shard *shard, const struct tg_line *line)
{
    const struct eng_catalog *catalog = &shard->engine->catalog;
    tg_assert(line->item < catalog->items_max);
    struct eng_item *item = &catalog->items[line->item];
    return item->shard == shard->shard ? item : NULL;
}

/* --- deciding --- */

static enum tg_verdict check_line(const struct eng_shard *shard, const struct eng_item *item,
                                  const struct eng_take *take, const struct tg_line *line,
                                  int64_t now_ms)
{
    enum tg_verdict verdict = TG_ACCEPTED;
    if (take->gated)
        verdict = eng_item_gate(item, line->quantity, line->unit_price_minor, now_ms);
    else if (has_taken(take))
        verdict = eng_item_gate_stock(item, line->quantity);
    if (verdict != TG_ACCEPTED || !begins_to_stand(take) || !item->is_counted)
        return verdict;
    struct eng_buyer buyer = buyer_of(take);
    return eng_count_check(shard, item, &buyer, line->quantity);
}

static bool check(const struct eng_shard *shard, const struct eng_take *take, int64_t now_ms,
                  enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    bool all = true;
    for (uint32_t i = 0; i < take->line_count; i++) {
        const struct eng_item *item = own_item(shard, &take->lines[i]);
        refusals[i] = item ? check_line(shard, item, take, &take->lines[i], now_ms) : TG_ACCEPTED;
        all = all && refusals[i] == TG_ACCEPTED;
    }
    return all;
}

/* Takes the order's counts of the first `count` lines back. */
static void uncount(struct eng_shard *shard, const struct eng_take *take, uint32_t count)
{
    const struct eng_buyer buyer = buyer_of(take);
    for (uint32_t i = 0; i < count; i++) {
        struct eng_item *item = own_item(shard, &take->lines[i]);
        if (item && item->is_counted)
            eng_count_subtract(shard, item, &buyer, take->lines[i].quantity);
    }
}

/* Counts every line, or none when the table is full. */
static bool count(struct eng_shard *shard, const struct eng_take *take,
                  enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    const struct eng_buyer buyer = buyer_of(take);
    for (uint32_t i = 0; i < take->line_count; i++) {
        struct eng_item *item = own_item(shard, &take->lines[i]);
        if (!item || !item->is_counted ||
            eng_count_add(shard, item, &buyer, take->lines[i].quantity))
            continue;
        uncount(shard, take, i);
        refusals[i] = TG_BUSY;
        return false;
    }
    return true;
}

static bool decide(struct eng_shard *shard, const struct eng_take *take, bool holds, int64_t now_ms,
                   enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    tg_assert(take->line_count > 0 && take->line_count <= TG_ORDER_LINES_MAX);
    if (!check(shard, take, now_ms, refusals))
        return false;
    if (begins_to_stand(take) && !count(shard, take, refusals))
        return false;
    for (uint32_t i = 0; has_taken(take) && i < take->line_count; i++) {
        uint32_t quantity = take->lines[i].quantity;
        struct eng_item *item = own_item(shard, &take->lines[i]);
        if (!item)
            continue;
        item->orders_in_flight++;
        if (takes_units(take))
            eng_item_transfer(item, take->units_before, take->units_after, quantity,
                              holds ? quantity : 0);
    }
    return true;
}

bool eng_take_now(struct eng_shard *shard, const struct eng_take *take, int64_t now_ms,
                  enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    return decide(shard, take, false, now_ms, refusals);
}

bool eng_take_hold(struct eng_shard *shard, const struct eng_take *take, int64_t now_ms,
                   enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    return decide(shard, take, true, now_ms, refusals);
}

/* --- settling --- */

static void settle_line(struct eng_item *item, const struct eng_take *take, uint32_t quantity,
                        bool held, bool durable)
{
    int64_t let_go = held ? -(int64_t)quantity : 0;
    if (takes_units(take) && durable)
        eng_item_transfer(item, take->units_after, take->units_after, quantity, let_go);
    else if (takes_units(take))
        eng_item_transfer(item, take->units_after, take->units_before, quantity, let_go);
    else if (durable)
        eng_item_transfer(item, take->units_before, take->units_after, quantity, 0);
    if (has_taken(take)) {
        tg_assert(item->orders_in_flight > 0);
        item->orders_in_flight--;
    }
}

static void settle(struct eng_shard *shard, const struct eng_take *take, bool held, bool durable)
{
    for (uint32_t i = 0; i < take->line_count; i++) {
        struct eng_item *item = own_item(shard, &take->lines[i]);
        if (item)
            settle_line(item, take, take->lines[i].quantity, held, durable);
    }
    if (durable ? ends_to_stand(take) : begins_to_stand(take))
        uncount(shard, take, take->line_count);
}

void eng_take_release(struct eng_shard *shard, const struct eng_take *take)
{
    if (TG_PLANTED(CART_LINE_FORGOTTEN) && own_item(shard, &take->lines[take->line_count - 1]))
        return;
    settle(shard, take, true, false);
}

void eng_take_settle(struct eng_shard *shard, const struct eng_take *take)
{
    settle(shard, take, take->held, take->durable);
}

uint64_t eng_take_shards(const struct eng_engine *engine, const struct eng_take *take)
{
    uint64_t shards = 0;
    for (uint32_t i = 0; i < take->line_count; i++)
        shards |= 1ull << engine->catalog.items[take->lines[i].item].shard;
    return shards;
}
