/* How many connections an address has. */
#include "net/census.h"

#include "base/hash.h"

#include <criterion/criterion.h>

static struct net_census census;

static uint64_t key_of(uint64_t address)
{
    return tg_hash_words(address, 0, 4711) | 1;
}

Test(census, it_counts_up_and_down)
{
    for (uint32_t i = 1; i <= 5; i++)
        cr_assert_eq(net_census_enter(&census, key_of(1)), i);
    cr_assert_eq(net_census_enter(&census, key_of(2)), 1);
    net_census_leave(&census, key_of(1));
    cr_assert_eq(net_census_enter(&census, key_of(1)), 5);
    for (int i = 0; i < 5; i++)
        net_census_leave(&census, key_of(1));
    cr_assert_eq(net_census_enter(&census, key_of(1)), 1);
}

Test(census, an_address_is_never_taken_for_fewer_and_seldom_for_more)
{
    uint32_t more = 0;
    for (uint64_t address = 0; address < 10000; address++) {
        uint32_t count = net_census_enter(&census, key_of(address));
        cr_assert_geq(count, 1);
        more += count > 1;
    }
    cr_assert_gt(more, 0, "with so many, some share both places");
    cr_assert_lt(more, 10000 / 6);
    for (uint64_t address = 0; address < 10000; address++)
        net_census_leave(&census, key_of(address));
    for (int row = 0; row < 2; row++)
        for (int place = 0; place < NET_CENSUS_PLACES; place++)
            cr_assert_eq(census.rows[row][place], 0);
}
