/* How many connections each address has, over all loops of a program.
 *
 * Two rows of counters, in each of which an address has a place by another hash; it has as many
 * connections as the lower of its two says, or fewer: when both places are shared with others, it
 * is taken to have theirs as well. With ten thousand addresses that happens to one in six, by the
 * few connections that the others have, and nobody can choose whom to meet, for the hashes are
 * keyed. So it needs no lock, no memory for each address, and never forgets one.
 *
 * Counters are relaxed: each stands for itself. Two connections that come in the same instant on
 * two loops may both see the count of both, and one too many is refused; never one too many let in.
 * Any thread.
 */
#ifndef TG_NET_CENSUS_H
#define TG_NET_CENSUS_H

#include <stdatomic.h>
#include <stdint.h>

#define NET_CENSUS_PLACES 16384

/* All zero but for the seed: empty. */
struct net_census {
    uint64_t seed; /* of net_peer_key */
    _Atomic uint32_t rows[2][NET_CENSUS_PLACES];
};

static inline _Atomic uint32_t *net_census_place(struct net_census *census, int row, uint64_t key)
{
    return &census->rows[row][(row == 0 ? key >> 1 : key >> 33) % NET_CENSUS_PLACES];
}

/* One more connection of this net_peer_key; how many it has now. */
static inline uint32_t net_census_enter(struct net_census *census, uint64_t key)
{
    uint32_t a =
        atomic_fetch_add_explicit(net_census_place(census, 0, key), 1, memory_order_relaxed);
    uint32_t b =
        atomic_fetch_add_explicit(net_census_place(census, 1, key), 1, memory_order_relaxed);
    return (a < b ? a : b) + 1;
}

/* And one fewer. */
static inline void net_census_leave(struct net_census *census, uint64_t key)
{
    atomic_fetch_sub_explicit(net_census_place(census, 0, key), 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(net_census_place(census, 1, key), 1, memory_order_relaxed);
}

#endif
