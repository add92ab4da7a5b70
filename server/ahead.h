/* Clears memory ahead of the tables that grow into it.
 *
 * Every accepted order makes the tables of its shard a little longer, and now and then they reach a
 * page that the kernel has to clear first. A huge page takes a tenth of a millisecond, on a virtual
 * machine whose host has to find the memory as well some milliseconds: a seventh of a core under a
 * flood, and a pause for everybody on it. So a thread of its own touches what comes next.
 *
 *   core: extents at the end of a turn --- one has grown ---> publishes it, wakes the thread
 *   thread: touches as much again as a quarter of what is in use, SRV_AHEAD_BYTES_MAX at most
 *
 * It is a wish: a core that is faster than the thread, or finds no such thread, waits for the
 * kernel itself, as it would without. An idle daemon wakes nobody.
 */
#ifndef TG_SERVER_AHEAD_H
#define TG_SERVER_AHEAD_H

#include "base/waker.h"
#include "engine/shard.h"

#include <pthread.h>
#include <stdatomic.h>

/* How much of one table is touched before it is used: what a core fills in a tenth of a second.
 */
#define SRV_AHEAD_BYTES_MAX ((size_t)8 << 20)

struct srv_ahead;

/* One core's side. */
struct srv_growth {
    struct srv_ahead *ahead; /* NULL: nobody touches anything */
    /* written by the core */
    size_t told[ENG_EXTENTS]; /* bytes in use when it last told */
    _Atomic size_t used[ENG_EXTENTS];
    /* the thread's */
    struct tg_extent extents[ENG_EXTENTS];
    size_t touched[ENG_EXTENTS];
};

struct srv_ahead {
    struct srv_growth *growths; /* one for each shard */
    uint32_t count;
    struct tg_waker waker;
    _Atomic bool stopping;
    pthread_t thread;
};

/* Takes what the tables of all shards have grown to by now as touched. Before the cores start. */
enum tg_error srv_ahead_init(struct srv_ahead *ahead, struct eng_engine *engine,
                             struct tg_fault *fault);

/* The thread: `argument` is the srv_ahead. Returns when stopping. */
void *srv_ahead_run(void *argument);

/* Ends the thread. When the cores have ended. */
void srv_ahead_stop(struct srv_ahead *ahead);

/* Core thread, once a turn: tells how far its tables have grown. Some nanoseconds. */
void srv_ahead_tell(struct srv_growth *growth, const struct eng_shard *shard);

#endif
