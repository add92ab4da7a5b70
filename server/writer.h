/* The writer thread: drains the shards' journals, commits once, publishes, wakes the cores.
 *
 *   GATHER --- records there ---> COMMIT --- durable, refused ---> PUBLISH ---> GATHER
 *      |                            |
 *      +-- nothing: sleep           +-- unknown: the process stops, no answer leaves (promise 6)
 *
 * While one batch syncs the next gathers in the journals, so the batch size sets itself: one order
 * on a quiet day, TG_COMMIT_RECORDS_MAX under load.
 */
#ifndef TG_SERVER_WRITER_H
#define TG_SERVER_WRITER_H

#include "base/waker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* The exit status when a commit's outcome is unknown: EX_IOERR of sysexits.h. */
#define SRV_EXIT_STORAGE_UNKNOWN 74

struct srv_server;

struct srv_writer {
    struct srv_server *server;
    struct tg_waker waker; /* cores wake it */
    _Atomic bool stopping; /* main sets it when no core produces any more */
    bool storage_full;     /* said so in the log, and not yet that it is over */
    pthread_t thread;
};

/* The thread: `argument` is the writer. Returns when stopping and the journals are empty. */
void *srv_writer_run(void *argument);

#endif
