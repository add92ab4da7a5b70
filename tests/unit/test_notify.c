/* What the service manager is told: the datagrams, and when the watchdog is fed. */
#include "server/notify.h"

#include "base/log.h"
#include "server/server.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CORES 3

/* A server with no threads: the tests count its turns by hand. */
static struct srv_server server;
static struct srv_notify notify;

static void set_up(void)
{
    tg_log_configure(TG_LOG_ERROR, TG_LOG_TEXT);
    server.config.threads = CORES;
    server.cores = aligned_alloc(128, CORES * sizeof(*server.cores));
    cr_assert_not_null(server.cores);
    memset(server.cores, 0, CORES * sizeof(*server.cores));
    struct tg_fault fault;
    for (int i = 0; i < CORES; i++)
        cr_assert_eq(tg_waker_init(&server.cores[i].waker, &fault), TG_ERR_OK);
    cr_assert_eq(tg_waker_init(&server.writer.waker, &fault), TG_ERR_OK);
    notify = (struct srv_notify){.server = &server, .fd = -1};
}

static void all_turn(void)
{
    for (int i = 0; i < CORES; i++)
        server.cores[i].stats.turns++;
    server.writer.turns++;
}

Test(notify, all_is_well_while_every_thread_turns, .init = set_up)
{
    cr_assert(srv_notify_all_moved(&notify), "the first look has nothing to compare");
    for (int i = 0; i < 5; i++) {
        all_turn();
        cr_assert(srv_notify_all_moved(&notify));
    }
}

Test(notify, one_core_that_stands_still_is_enough, .init = set_up)
{
    for (int still = 0; still < CORES; still++) {
        all_turn();
        srv_notify_all_moved(&notify);
        all_turn();
        server.cores[still].stats.turns--;
        cr_assert_not(srv_notify_all_moved(&notify), "core %d", still);
        all_turn();
        cr_assert(srv_notify_all_moved(&notify), "and it is over when it moves again");
    }
}

Test(notify, so_is_a_writer_that_stands_still, .init = set_up)
{
    srv_notify_all_moved(&notify);
    all_turn();
    server.writer.turns--;
    cr_assert_not(srv_notify_all_moved(&notify));
}

Test(notify, an_idle_thread_is_woken_to_make_its_turn, .init = set_up)
{
    for (int i = 0; i < CORES; i++)
        tg_waker_doze(&server.cores[i].waker);
    tg_waker_doze(&server.writer.waker);
    srv_notify_all_moved(&notify);
    uint64_t wakes;
    for (int i = 0; i < CORES; i++)
        cr_assert_eq(read(server.cores[i].waker.event_fd, &wakes, sizeof(wakes)), 8);
    cr_assert_eq(read(server.writer.waker.event_fd, &wakes, sizeof(wakes)), 8);
}

/* --- the datagrams --- */

/* A socket of an abstract name of its own, said to the environment. */
static int manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    char name[64];
    int bytes = snprintf(name, sizeof(name), "@tidegate-test-notify-%d", getpid());
    memcpy(address.sun_path, name, (size_t)bytes);
    address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)bytes);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *received(int fd)
{
    static char text[1024];
    ssize_t bytes = recv(fd, text, sizeof(text) - 1, 0);
    cr_assert_gt(bytes, 0);
    text[bytes] = '\0';
    return text;
}

Test(notify, a_life_is_told_from_ready_to_stopping, .init = set_up)
{
    int fd = manager();
    unsetenv("WATCHDOG_USEC");
    srv_notify_start(&notify, &server);
    srv_notify_ready(&notify, "serving");
    cr_assert_str_eq(received(fd), "READY=1\nSTATUS=serving");
    srv_notify_say(&notify, "RELOADING=1\nMONOTONIC_USEC=%d", 5);
    cr_assert_str_eq(received(fd), "RELOADING=1\nMONOTONIC_USEC=5");
    srv_notify_stopping(&notify);
    cr_assert_not_null(strstr(received(fd), "STOPPING=1\nSTATUS=draining"));
    srv_notify_end(&notify);
    cr_assert_eq(notify.fd, -1);
    close(fd);
}

/* With a watchdog of 30 ms: it comes, because the first look is always good. */
Test(notify, the_watchdog_is_fed_by_the_thread, .init = set_up)
{
    int fd = manager();
    setenv("WATCHDOG_USEC", "30000", 1);
    unsetenv("WATCHDOG_PID");
    srv_notify_start(&notify, &server);
    cr_assert_eq(notify.watch_ns, 30000000);
    srv_notify_ready(&notify, "serving");
    received(fd);
    cr_assert_str_eq(received(fd), "WATCHDOG=1");
    srv_notify_end(&notify);
    close(fd);
}

Test(notify, a_watchdog_of_another_process_is_not_ours, .init = set_up)
{
    int fd = manager();
    setenv("WATCHDOG_USEC", "30000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    srv_notify_start(&notify, &server);
    cr_assert_eq(notify.watch_ns, 0);
    srv_notify_end(&notify);
    close(fd);
}

Test(notify, without_a_manager_nothing_runs, .init = set_up)
{
    static const char *const names[] = {NULL, "", "relative", "@", "/"};
    char long_name[200] = "/";
    memset(long_name + 1, 'x', sizeof(long_name) - 2);
    for (size_t i = 0; i < 6; i++) {
        const char *name = i < 5 ? names[i] : long_name;
        if (name)
            setenv("NOTIFY_SOCKET", name, 1);
        else
            unsetenv("NOTIFY_SOCKET");
        srv_notify_start(&notify, &server);
        cr_assert_eq(notify.fd, -1, "%s", name ? name : "(none)");
        srv_notify_ready(&notify, "serving");
        srv_notify_stopping(&notify);
        srv_notify_end(&notify);
    }
}
