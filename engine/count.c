#include "engine/count.h"

#include "base/planted.h"

/* The channel's part of the item's units, in percent; 0: it has no share, and no bound. */
static uint32_t share_percent(const struct eng_item *item, uint16_t channel)
{
    const struct eng_sale *sale = item->sale;
    for (uint32_t i = 0; item->has_shares && i < sale->share_count; i++)
        if (sale->shares[i].channel == channel)
            return sale->shares[i].percent;
    return 0;
}

/* Of the units in the item's books, rounded down. */
static uint64_t share_units(const struct eng_item *item, uint32_t percent)
{
    struct tg_stock stock = eng_item_stock(item);
    int64_t books = (int64_t)stock.initial_units + stock.restocked_units;
    return (uint64_t)books * percent / 100;
}

static uint32_t channel_key(const struct eng_item *item)
{
    return ENG_HELD_CHANNEL | item->item;
}

static uint32_t orders_key(const struct eng_item *item)
{
    return ENG_HELD_ORDERS | item->sale->sale;
}

enum tg_verdict eng_count_check(const struct eng_shard *shard, const struct eng_item *item,
                                struct eng_buyer *buyer, uint32_t quantity)
{
    const struct eng_holdings *holdings = &shard->holdings;
    if (item->per_user_limit != 0) {
        buyer->held = eng_holdings_find(holdings, buyer->user_id, item->item);
        uint64_t units = buyer->held->units;
        if (TG_PLANTED(LIMIT_WITHOUT_IN_FLIGHT) && item->orders_in_flight != 0)
            units = 0;
        if (units + quantity > item->per_user_limit)
            return TG_LIMIT_REACHED;
    }
    uint32_t percent = share_percent(item, buyer->channel);
    if (percent != 0) {
        uint64_t units = eng_holdings_units(holdings, buyer->channel, channel_key(item));
        if (units + quantity > share_units(item, percent))
            return TG_CHANNEL_SHARE_REACHED;
    }
    return TG_ACCEPTED;
}

static bool add_to_limit(struct eng_holdings *holdings, const struct eng_item *item,
                         const struct eng_buyer *buyer, uint32_t quantity)
{
    struct eng_holding *held = buyer->held;
    if (!held)
        held = eng_holdings_find(holdings, buyer->user_id, item->item);
    return eng_holdings_add_at(holdings, held, buyer->user_id, item->item, quantity);
}

bool eng_count_add(struct eng_shard *shard, const struct eng_item *item,
                   const struct eng_buyer *buyer, uint32_t quantity)
{
    struct eng_holdings *holdings = &shard->holdings;
    bool limits = item->per_user_limit != 0;
    bool shares = share_percent(item, buyer->channel) != 0;
    if (limits && !add_to_limit(holdings, item, buyer, quantity))
        return false;
    if (shares && !eng_holdings_add(holdings, buyer->channel, channel_key(item), quantity))
        goto err_after_limit;
    if (item->sale->team.new_buyers_only &&
        !eng_holdings_add(holdings, buyer->user_id, orders_key(item), 1))
        goto err_after_share;
    return true;

err_after_share:
    if (shares)
        eng_holdings_subtract(holdings, buyer->channel, channel_key(item), quantity);
err_after_limit:
    if (limits)
        eng_holdings_subtract(holdings, buyer->user_id, item->item, quantity);
    return false;
}

void eng_count_subtract(struct eng_shard *shard, const struct eng_item *item,
                        const struct eng_buyer *buyer, uint32_t quantity)
{
    struct eng_holdings *holdings = &shard->holdings;
    if (item->per_user_limit != 0)
        eng_holdings_subtract(holdings, buyer->user_id, item->item, quantity);
    if (share_percent(item, buyer->channel) != 0)
        eng_holdings_subtract(holdings, buyer->channel, channel_key(item), quantity);
    if (item->sale->team.new_buyers_only)
        eng_holdings_subtract(holdings, buyer->user_id, orders_key(item), 1);
}
