/* The writer thread: drains the shards' journals, commits once, publishes, wakes the cores.
 *
 *   GATHER --- records there ---> COMMIT --- durable, refused ---> PUBLISH ---> GATHER
 *      |                            |
 *      +-- nothing: sleep           +-- unknown: the process stops, no answer leaves (promise 6)
 *
 * While one batch syncs the next gathers in the journals, so the batch size sets itself: one order
 * on a quiet day, TG_COMMIT_RECORDS_MAX under load.
 *
 * Callers that wait for an answer before they send again fall into step with the commits, in two
 * groups that take turns: each commit carries half of them. So after a small commit the writer
 * lingers a little, until as many records are there as were on their way when the commit ended.
 * A lone caller is never kept waiting: one record was on its way, and one is there.
 *
 * A caller that is alone on its core, with nothing else on its way anywhere, is not worth waking
 * another thread for, and to be woken by: its core does the step itself, as long as the disk is
 * quick. Who does it holds `step`; the thread finds it held rarely, and sleeps until the core,
 * which lets go of it, wakes it.
 *
 *   core: step taken, few records there -> one step, step let go -> records there? wakes the thread
 *
 * It also says what the outbox may drop (docs/outbox.md): what is old, or beyond its size, and
 * acked by every consumer group.
 */
#ifndef TG_SERVER_WRITER_H
#define TG_SERVER_WRITER_H

#include "base/waker.h"
#include "server/stats.h"
#include "storage/storage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The exit status when a commit's outcome is unknown: EX_IOERR of sysexits.h. */
#define SRV_EXIT_STORAGE_UNKNOWN 74
/* And when there is no memory for what must not fail: EX_OSERR. */
#define SRV_EXIT_MEMORY          71

struct srv_server;

struct srv_writer {
    struct srv_server *server;
    struct tg_waker waker; /* cores wake it */
    _Atomic bool stopping; /* main sets it when no core produces any more */
    _Atomic bool step;     /* somebody gathers, commits and publishes: what follows is his */
    int64_t here_again_ns; /* no steps on cores before this, monotonic */
    uint64_t expected;    /* records on their way when the last commit ended: answered or waiting */
    int64_t committed_ns; /* when that was, monotonic */
    _Atomic bool storage_full; /* said so in the log, and not yet that it is over; any may read */
    struct sto_retention retention; /* what it said last */
    int64_t retained_ns;            /* when it last looked at the clock for it, monotonic */
    int64_t warned_ns;              /* when it last warned of a group that holds events back */
    struct srv_commit_stats stats;  /* any thread may read */
    uint64_t turns;                 /* of its loop; any thread may read (server/notify.h) */
    pthread_t thread;
};

/* Publishes the newest sequence and the first event kept, as recovery found them. Once, before the
 * threads start. */
void srv_writer_publish_start(struct srv_server *server);

/* Core thread: does one step here and now, when the thread has nothing to do, no more than a few
 * records are there, and the last commits were quick. False: nothing was done, the thread is to be
 * woken. True: what the core had in
 * its journal is durable, or refused. Takes as long as the disk does. */
bool srv_writer_step_here(struct srv_writer *writer);

/* The thread: `argument` is the writer. Returns when stopping and the journals are empty. */
void *srv_writer_run(void *argument);

#endif
