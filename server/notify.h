/* Tells the service manager how the daemon does, by the protocol of sd_notify(3): a datagram of
 * NAME=VALUE lines to the socket that the environment names. Without NOTIFY_SOCKET nothing of this
 * runs. libsystemd is not linked: this is all of it that is needed (docs/operations.md).
 *
 *   STARTING --- srv_notify_ready ---> RUNNING --- srv_notify_stopping ---> STOPPING --- end
 *   EXTEND_TIMEOUT_USEC               WATCHDOG=1                           WATCHDOG=1
 *   while it works                    while all threads move               the same
 *
 * A thread of its own looks a few times in each period. It is no blind timer: while the daemon
 * starts, the process must have used the processor or read the disk since the last look; later,
 * every core and the writer must have made a turn. An idle one is woken for that. Whoever does not
 * move is named in the log, and the manager is told nothing, so that it ends and restarts the
 * daemon.
 */
#ifndef TG_SERVER_NOTIFY_H
#define TG_SERVER_NOTIFY_H

#include "base/limits.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct srv_server;

enum srv_notify_phase {
    SRV_NOTIFY_STARTING,
    SRV_NOTIFY_RUNNING,
    SRV_NOTIFY_STOPPING,
    SRV_NOTIFY_ENDED,
};

struct srv_notify {
    struct srv_server *server; /* borrowed */
    int fd;                    /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_bytes;
    int64_t watch_ns;   /* the manager's patience, WATCHDOG_USEC; 0: it does not watch */
    _Atomic int phase;  /* enum srv_notify_phase; main sets it, the thread reads it */
    sem_t phase_is_new; /* main posts behind each change */
    pthread_t thread;
    /* the thread's: what each core, and behind them the writer, had counted at the last look */
    uint64_t turns[TG_SHARDS_MAX + 1];
    bool has_looked;
    int64_t worked; /* while it starts: processor time and pages read, at the last look */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and starts the thread when there is whom to
 * tell. Signals must be blocked already. What cannot be set up is logged, and left out. */
void srv_notify_start(struct srv_notify *notify, struct srv_server *server);

/* Sends lines ("READY=1\nSTATUS=...") at most 512 bytes long; cheap without a manager. Any thread.
 */
void srv_notify_say(const struct srv_notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Recovered and listening, all threads run. Main thread, as the next two. */
void srv_notify_ready(struct srv_notify *notify, const char *status);
/* Draining. */
void srv_notify_stopping(struct srv_notify *notify);
/* The cores are about to end: ends the thread. */
void srv_notify_end(struct srv_notify *notify);

/* One look: every core and the writer made a turn since the last one; true at the first. Wakes
 * them all. The thread's; public for the tests. */
bool srv_notify_all_moved(struct srv_notify *notify);

#endif
