/* Promise 6, the full disk: orders are refused as STORAGE_FULL, their stock returns, reads go on,
 * and service resumes with the room. */
#include "tests/lib/crowd.h"
#include "tests/lib/life.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* Buys single units until the storage is full; returns how many orders were accepted. */
static uint64_t buy_until_full(struct tgc_client *client)
{
    static struct tg_order orders[1024];
    static struct tg_answer answers[1024];
    uint64_t accepted = 0;
    bool full = false;
    for (int round = 0; !full; round++) {
        cr_assert(round < 1000, "it is never full");
        for (int i = 0; i < 1024; i++)
            orders[i] = sale_order(1, "A", 1, 1);
        sale_place_batch(client, orders, 1024, answers);
        for (int i = 0; i < 1024; i++) {
            bool stored = answers[i].verdict == TG_ACCEPTED;
            if (!stored)
                sale_assert_verdict(answers[i].verdict, TG_STORAGE_FULL);
            accepted += stored;
            full = full || !stored;
        }
    }
    return accepted;
}

/* Nothing was taken beyond the durable orders, and every read answers. */
static void expect_refusals_undone(struct tgc_client *client, uint64_t accepted)
{
    cr_assert_eq(sale_list(client, 0, NULL, NULL), accepted);
    struct tg_stock stock = sale_stock(client, 1, "A");
    cr_assert_eq(stock.available_units, stock.initial_units - accepted);
    cr_assert_eq(stock.reserved_units, accepted);
}

Test(storage_full, a_full_map_refuses_and_undoes)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "storage.map_mib=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 10000000, 0);
    uint64_t accepted = buy_until_full(client);
    cr_assert(accepted > 0, "nothing was ever accepted");
    expect_refusals_undone(client, accepted);
    cr_assert(daemon_log_has(&daemon, "the database map of 1048576 bytes is full"));
    tgc_close(client);
    daemon_stop(&daemon);
    /* With a larger map all goes on from there. */
    daemon_arg(&daemon, "--set");
    daemon_arg(&daemon, "storage.map_mib=16");
    daemon_restart(&daemon);
    client = sale_client(&daemon);
    expect_refusals_undone(client, accepted);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(storage_full, a_limit_and_an_id_of_a_refused_order_are_free_again)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "storage.map_mib=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 10000000, 0);
    sale_create(client, 2, "L", 100, 1);
    uint64_t accepted = buy_until_full(client);
    /* A batch of this size cannot be stored; its first order could, if it came alone. */
    static struct tg_order orders[TG_BATCH_ORDERS_MAX];
    static struct tg_answer answers[TG_BATCH_ORDERS_MAX];
    orders[0] = sale_order(2, "L", 7, 1);
    for (int i = 1; i < TG_BATCH_ORDERS_MAX; i++)
        orders[i] = sale_order(1, "A", 1, 1);
    sale_place_batch(client, orders, TG_BATCH_ORDERS_MAX, answers);
    for (int i = 0; i < TG_BATCH_ORDERS_MAX; i++)
        sale_assert_verdict(answers[i].verdict, TG_STORAGE_FULL);
    cr_assert_eq(sale_available(client, 2, "L"), 100);
    tgc_close(client);
    daemon_stop(&daemon);
    daemon_arg(&daemon, "--set");
    daemon_arg(&daemon, "storage.map_mib=16");
    daemon_restart(&daemon);
    client = sale_client(&daemon);
    expect_refusals_undone(client, accepted);
    struct tg_answer answer = sale_place(client, &orders[0]);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(answer.replayed, 0);
    tgc_close(client);
    daemon_end(&daemon);
}

/* The kernel unmounts it with the test's own mount namespace, however the test ends. */
static void mount_small(const char *path)
{
    if (geteuid() != 0)
        cr_skip_test("only root may mount a tmpfs");
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", path, "tmpfs", 0, "size=64m") != 0)
        cr_skip_test("cannot mount a tmpfs here: %s", strerror(errno));
}

static void fill(const char *path, off_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(posix_fallocate(fd, 0, bytes), 0);
    close(fd);
}

Test(storage_full, a_disk_that_fills_up_refuses_and_resumes_when_there_is_room)
{
    struct daemon daemon = {0};
    char mount_path[] = "/tmp/tidegate-small-XXXXXX", ballast[64];
    cr_assert(mkdtemp(mount_path));
    mount_small(mount_path);
    snprintf(ballast, sizeof(ballast), "%s/ballast", mount_path);
    snprintf(daemon.data_dir, sizeof(daemon.data_dir), "%s/data", mount_path);
    daemon_start(&daemon, "--set", "storage.free_mib_min=16", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 10000000, 0);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    life_create_group(client, "erp");

    fill(ballast, 50 << 20);
    for (int i = 0; i < 10; i++)
        sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_STORAGE_FULL);
    expect_refusals_undone(client, 1);
    sale_assert_verdict(sale_adjust(client, 1, "A", 5), TG_STORAGE_FULL);
    sale_assert_verdict(sale_adjust(client, 1, "A", -5), TG_STORAGE_FULL);
    sale_assert_verdict(sale_pause(client, 1), TG_OK); /* what is kept of the disk is for changes */
    sale_assert_verdict(sale_resume(client, 1), TG_OK);
    sale_assert_verdict(sale_create_message(client, sale_message(2, "A", 1), ""), TG_STORAGE_FULL);
    sale_assert_verdict(life_ack(client, "erp", 1), TG_OK);
    expect_refusals_undone(client, 1);
    cr_assert(daemon_log_has(&daemon, "must stay free"));
    cr_assert_not(daemon_log_has(&daemon, "room again"), "what is taken all the same is no room");

    cr_assert_eq(unlink(ballast), 0);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    sale_create(client, 2, "A", 1, 0);
    expect_refusals_undone(client, 2);
    cr_assert(daemon_log_has(&daemon, "room again"));
    tgc_close(client);
    daemon_end(&daemon);
    umount(mount_path);
    rmdir(mount_path);
}
