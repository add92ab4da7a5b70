/* Who has how much: per-user limits, channel shares, and who is a new buyer.
 *
 * An order counts from its decision on and for as long as it stands (docs/order-life.md), in the
 * shard of the item: its units for the user and the item, when the item has a limit; its units for
 * the channel and the item, when the sale gives the channel a share; itself for the user and the
 * sale (ENG_HELD_ORDERS), when only new buyers may join its teams. Every way of ordering goes
 * through here: eng_shard_place, the takes of engine/cart.h and recovery. Only items that say
 * `is_counted` need the call. (ENG_HELD_TEAMS is counted by who opens and ends teams.)
 *
 * Counts are dropped by the sweep, and not put back at a start, when nobody is held against them
 * any more: those of a user or channel and an item when eng_item_counts_are_gone (late payments and
 * ingested orders that would need them are refused from then on), those of a sale when it is over.
 * Taking back what was dropped is nothing.
 *
 * Private to this room. Owned by the item's shard.
 */
#ifndef TG_ENGINE_COUNT_H
#define TG_ENGINE_COUNT_H

#include "engine/shard.h"

/* Whose units. */
struct eng_buyer {
    uint64_t user_id;
    uint16_t channel;
    /* NULL, or where the user's units of the item are counted: left by eng_count_check for an
     * eng_count_add of the same item before anything else is counted. */
    struct eng_holding *held;
};

/* ACCEPTED, LIMIT_REACHED or CHANNEL_SHARE_REACHED for `quantity` units more. */
enum tg_verdict eng_count_check(const struct eng_shard *shard, const struct eng_item *item,
                                struct eng_buyer *buyer, uint32_t quantity);

/* Counts an order; false, and nothing counted, when the table is full. */
bool eng_count_add(struct eng_shard *shard, const struct eng_item *item,
                   const struct eng_buyer *buyer, uint32_t quantity);

/* The order does not stand any more. */
void eng_count_subtract(struct eng_shard *shard, const struct eng_item *item,
                        const struct eng_buyer *buyer, uint32_t quantity);

#endif
