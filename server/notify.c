#include "server/notify.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/log.h"
#include "base/thread.h"
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* While it starts: how often the thread looks, and how much time it asks for when all is well. */
#define START_LOOK_NS   (5 * TG_NS_PER_S)
#define START_EXTEND_US 60000000ll
#define WORK_STEP_US    10000
/* Looks in one period of the watchdog: one may be missed. */
#define LOOKS_A_PERIOD  3
#define MESSAGE_BYTES   512

/* --- the protocol --- */

/* A path, or an abstract name that is written with an @. */
static bool open_socket(struct srv_notify *notify, const char *name)
{
    size_t bytes = strlen(name);
    notify->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || bytes < 2 ||
        bytes >= sizeof(notify->address.sun_path)) {
        tg_log_warn("NOTIFY_SOCKET is no address of a socket: %.100s", name);
        return false;
    }
    memcpy(notify->address.sun_path, name, bytes);
    if (name[0] == '@')
        notify->address.sun_path[0] = '\0';
    notify->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0)
        tg_log_warn("cannot tell the service manager anything: %s", strerror(errno));
    return notify->fd >= 0;
}

void srv_notify_say(const struct srv_notify *notify, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    if (notify->fd < 0)
        return;
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (bytes <= 0)
        return;
    size_t used = (size_t)bytes < sizeof(message) ? (size_t)bytes : sizeof(message) - 1;
    if (sendto(notify->fd, message, used, MSG_NOSIGNAL, (const struct sockaddr *)&notify->address,
               notify->address_bytes) < 0)
        tg_log_warn("the service manager cannot be told '%.40s': %s", message, strerror(errno));
}

/* Nanoseconds of the manager's patience; 0 when it does not watch this process. */
static int64_t read_watchdog(void)
{
    const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!text || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    char *end;
    errno = 0;
    long long us = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || us <= 0 || us > INT64_MAX / 1000) {
        tg_log_warn("WATCHDOG_USEC is no number: %.40s", text);
        return 0;
    }
    return us * 1000;
}

/* --- the thread --- */

static bool has_moved(struct srv_notify *notify, uint32_t place, const uint64_t *turns)
{
    uint64_t now = tg_count_read(turns), before = notify->turns[place];
    notify->turns[place] = now;
    return !notify->has_looked || now != before;
}

bool srv_notify_all_moved(struct srv_notify *notify)
{
    struct srv_server *server = notify->server;
    uint32_t threads = (uint32_t)server->config.threads;
    bool all = true;
    for (uint32_t i = 0; i < threads; i++)
        if (!has_moved(notify, i, &server->cores[i].stats.turns)) {
            tg_log_error("core %u stands still: the service manager is not told that all is well",
                         i);
            all = false;
        }
    if (!has_moved(notify, threads, &server->writer.turns)) {
        tg_log_error("the writer stands still, as it does when the disk does: the service manager "
                     "is not told that all is well");
        all = false;
    }
    notify->has_looked = true;
    for (uint32_t i = 0; i < threads; i++)
        tg_waker_wake(&server->cores[i].waker);
    tg_waker_wake(&server->writer.waker);
    return all;
}

/* Recovery reads pages of a mapped file, and computes: one of both grows unless it hangs. */
static bool start_goes_on(struct srv_notify *notify)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return false;
    int64_t busy_us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ll +
                      usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    /* In steps, because these looks take some microseconds themselves. */
    int64_t worked = busy_us / WORK_STEP_US + usage.ru_majflt;
    bool goes_on = worked > notify->worked;
    notify->worked = worked;
    return goes_on;
}

/* How long until the next look; a second when there is nothing to look at. */
static int64_t look_after_ns(const struct srv_notify *notify, int phase)
{
    if (phase == SRV_NOTIFY_STARTING)
        return START_LOOK_NS;
    return notify->watch_ns > 0 ? notify->watch_ns / LOOKS_A_PERIOD : TG_NS_PER_S;
}

static void look(struct srv_notify *notify, int phase, int64_t began_ns)
{
    if (phase == SRV_NOTIFY_STARTING) {
        if (start_goes_on(notify))
            srv_notify_say(notify, "EXTEND_TIMEOUT_USEC=%lld\nSTATUS=recovering since %lld s",
                           START_EXTEND_US,
                           (long long)((tg_clock_mono_ns() - began_ns) / TG_NS_PER_S));
    } else if (notify->watch_ns > 0 && srv_notify_all_moved(notify)) {
        srv_notify_say(notify, "WATCHDOG=1");
    }
}

/* Sleeps until `until_ns` (monotonic) or until the phase is another; true when the time is over. */
static bool sleep_until(struct srv_notify *notify, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / TG_NS_PER_S, .tv_nsec = until_ns % TG_NS_PER_S};
    while (sem_clockwait(&notify->phase_is_new, CLOCK_MONOTONIC, &until) != 0)
        if (errno == ETIMEDOUT)
            return true;
    return false;
}

static void *run(void *argument)
{
    struct srv_notify *notify = argument;
    int64_t began_ns = tg_clock_mono_ns();
    for (;;) {
        /* pairs with the release in enter: with RUNNING come the cores */
        int phase = atomic_load_explicit(&notify->phase, memory_order_acquire);
        if (phase == SRV_NOTIFY_ENDED)
            return NULL;
        if (sleep_until(notify, tg_clock_mono_ns() + look_after_ns(notify, phase)))
            look(notify, phase, began_ns);
    }
}

/* --- main's side --- */

static void enter(struct srv_notify *notify, enum srv_notify_phase phase)
{
    if (notify->fd < 0)
        return;
    atomic_store_explicit(&notify->phase, (int)phase, memory_order_release);
    sem_post(&notify->phase_is_new);
}

void srv_notify_start(struct srv_notify *notify, struct srv_server *server)
{
    *notify = (struct srv_notify){.server = server, .fd = -1};
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name || !open_socket(notify, name))
        return;
    notify->watch_ns = read_watchdog();
    atomic_store_explicit(&notify->phase, SRV_NOTIFY_STARTING, memory_order_relaxed);
    sem_init(&notify->phase_is_new, 0, 0);
    struct tg_fault fault;
    if (tg_thread_start(&notify->thread, run, notify, "notify", &fault) == TG_ERR_OK)
        return;
    tg_log_warn("cannot tell the service manager anything: %s", fault.text);
    close(notify->fd);
    notify->fd = -1;
}

void srv_notify_ready(struct srv_notify *notify, const char *status)
{
    srv_notify_say(notify, "READY=1\nSTATUS=%s", status);
    enter(notify, SRV_NOTIFY_RUNNING);
}

void srv_notify_stopping(struct srv_notify *notify)
{
    srv_notify_say(notify, "STOPPING=1\nSTATUS=draining: no new orders, answering what was taken");
    enter(notify, SRV_NOTIFY_STOPPING);
}

void srv_notify_end(struct srv_notify *notify)
{
    if (notify->fd < 0)
        return;
    enter(notify, SRV_NOTIFY_ENDED);
    pthread_join(notify->thread, NULL);
    close(notify->fd);
    notify->fd = -1;
}
