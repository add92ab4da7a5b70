/* A caller that is alone on its core, whose commits the core makes itself. That it does is for
 * tests/unit/test_writer.c; here it must make no difference. */
#include "tests/lib/sale.h"

#include <criterion/criterion.h>

/* More than it takes to count as a lone one. */
#define ALONE_AFTER 100

static void buy(struct tgc_client *client, uint64_t first_user, uint64_t orders)
{
    for (uint64_t user = first_user; user < first_user + orders; user++)
        sale_assert_verdict(sale_buy(client, 1, "A", user, 1), TG_ACCEPTED);
}

Test(lone, what_a_lone_caller_was_told_outlives_a_crash)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 100000, 0);
    buy(client, 1, 4 * ALONE_AFTER);
    daemon_kill(&daemon);
    tgc_close(client);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 4 * ALONE_AFTER);
    daemon_end(&daemon);
}

Test(lone, a_second_caller_is_served_beside_a_lone_one)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--threads", "2", NULL);
    struct tgc_client *first = sale_client(&daemon);
    sale_create(first, 1, "A", 100000, 0);
    buy(first, 1, ALONE_AFTER);
    struct tgc_client *second = sale_client(&daemon);
    for (uint64_t user = 1000; user < 1000 + ALONE_AFTER; user++) {
        buy(first, user, 1);
        buy(second, 1000 + user, 1);
    }
    buy(second, 10000, ALONE_AFTER);
    cr_assert_eq(sale_available(first, 1, "A"), 100000 - 4 * ALONE_AFTER);
    tgc_close(first);
    tgc_close(second);
    daemon_stop(&daemon);
    daemon_end(&daemon);
}
