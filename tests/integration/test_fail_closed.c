/* Promise 6, the disk that lies: when the outcome of a commit is unknown no accepted answer leaves
 * and the process stops; when the disk says that it is full, that is a refusal. */
#include "tests/lib/crowd.h"
#include "tests/lib/peer.h"

#include <criterion/criterion.h>

#define EXIT_STORAGE_UNKNOWN 74

static void start(struct daemon *daemon)
{
    *daemon = (struct daemon){.with_faults = true};
    daemon_start(daemon, "--threads", "2", NULL);
    struct tgc_client *client = sale_client(daemon);
    sale_create(client, 1, "A", 1000000, 0);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    tgc_close(client);
}

/* From the fault on no order is ACCEPTED, and the daemon exits as one that does not know; after a
 * start on a good disk every order stands once. */
static void expect_stop(const char *rule)
{
    struct daemon daemon;
    struct crowd crowd;
    start(&daemon);
    crowd_open(&crowd, &daemon, 1, "A", 5);
    daemon_fault(&daemon, rule);
    crowd_ask(&crowd, 1000);
    crowd_take_to_the_end(&crowd);
    cr_assert_eq(crowd.answered, 0, "%u answers left, %u of them ACCEPTED", crowd.answered,
                 crowd.accepted);
    cr_assert_eq(daemon_wait(&daemon), EXIT_STORAGE_UNKNOWN, "%s", daemon_log_tail(&daemon));
    cr_assert(daemon_log_has(&daemon, "the outcome of a commit is unknown"));

    daemon_fault(&daemon, NULL);
    daemon_restart(&daemon);
    crowd_reconnect(&crowd, &daemon);
    crowd_ask_lost(&crowd);
    crowd_finish(&crowd);
    cr_assert_eq(crowd.accepted, 1000);
    struct tgc_client *client = sale_client(&daemon);
    cr_assert_eq(sale_list(client, 1, NULL, NULL), 1001);
    sale_stock(client, 1, "A");
    tgc_close(client);
    crowd_close(&crowd);
    daemon_end(&daemon);
}

Test(fail_closed, a_sync_that_fails_stops_the_process_without_an_answer)
{
    expect_stop("sync EIO");
}

Test(fail_closed, a_write_that_fails_does_too)
{
    expect_stop("write EIO");
}

Test(fail_closed, so_does_a_meta_page_that_fails)
{
    expect_stop("meta EIO");
}

Test(fail_closed, a_full_disk_under_the_meta_page_leaves_it_unknown)
{
    expect_stop("meta ENOSPC");
}

/* The disk is full, and says so in the middle of a commit: refused, undone, and over with it. */
static void expect_refusal(const char *rule)
{
    struct daemon daemon;
    start(&daemon);
    struct tgc_client *client = sale_client(&daemon);
    daemon_fault(&daemon, rule);
    for (int i = 0; i < 20; i++)
        sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_STORAGE_FULL);
    cr_assert_eq(sale_available(client, 1, "A"), 999999);
    cr_assert_eq(sale_list(client, 1, NULL, NULL), 1);
    daemon_fault(&daemon, NULL);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    cr_assert_eq(sale_available(client, 1, "A"), 999998);
    tgc_close(client);
    daemon_kill(&daemon);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 2);
    daemon_end(&daemon);
}

Test(fail_closed, a_full_disk_is_a_refusal_and_service_resumes)
{
    expect_refusal("write ENOSPC");
}

Test(fail_closed, a_full_disk_at_the_sync_is_one_too)
{
    expect_refusal("sync ENOSPC");
}

/* A database that nobody can look at is there all the same: it must not be taken for a missing one,
 * and be made anew. */
Test(fail_closed, a_database_that_cannot_be_looked_at_is_not_replaced)
{
    struct daemon daemon;
    start(&daemon);
    daemon_stop(&daemon);
    daemon_fault(&daemon, "look EIO");
    cr_assert_eq(daemon_start_refused(&daemon), 1);
    cr_assert(daemon_log_has(&daemon, "Input/output error"), "%s", daemon_log_tail(&daemon));
    daemon_fault(&daemon, NULL);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 1);
    daemon_end(&daemon);
}

Test(fail_closed, a_disk_that_fails_at_the_start_refuses_the_start)
{
    struct daemon daemon;
    start(&daemon);
    daemon_stop(&daemon);
    daemon_fault(&daemon, "sync EIO");
    cr_assert_eq(daemon_start_refused(&daemon), 1);
    daemon_fault(&daemon, NULL);
    daemon_restart(&daemon);
    cr_assert_eq(daemon.recovered_orders, 1);
    daemon_end(&daemon);
}
