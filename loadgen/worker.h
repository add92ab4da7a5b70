/* A generator thread: an io_uring, its connections, and every order that they have in flight.
 *
 *   CONNECT --> WARMUP --> MEASURE --> DRAIN --> SETTLE --> DONE
 *
 * WARMUP and DRAIN order as MEASURE does, but are not in the figures; which stages of the profile
 * they are, loadgen/profile.h says.
 * SETTLE begins no new order and waits until each one that was begun has its answer, reconnecting
 * and resending as long as it takes (at most `reconnect_ns` without any answer). When for a while
 * every answer was BUSY, then BUSY is what those orders were answered.
 *
 * Latency: a monotonic clock is read once for each receive, not for each answer. It counts from
 * the time an order was written for sending (closed loop) or from the time at which it was due
 * (open loop), up to the receive that brought its final answer; BUSY answers, resends and
 * reconnects in between are part of it.
 *
 * What is not marked otherwise belongs to the worker's thread until it has ended.
 */
#ifndef LG_WORKER_H
#define LG_WORKER_H

#include "base/error.h"
#include "base/histogram.h"
#include "loadgen/accepted.h"
#include "loadgen/conn.h"
#include "loadgen/plan.h"
#include "loadgen/schedule.h"
#include "loadgen/wire.h"
#include "proto/verdict.h"

#include <pthread.h>
#include <stdatomic.h>

#define LG_RETRY_POOL 4096u /* answered orders that wait a random while to be sent again */

/* What all workers of a run share; written before they start unless marked. What `plan` and `wire`
 * point to is made before `go`. */
struct lg_shared {
    const struct lg_plan *plan;
    const struct lg_wire *wire;
    const char *server; /* for messages */
    struct sockaddr_storage address;
    socklen_t address_bytes;
    struct lg_conn_shape shape;
    uint32_t threads;
    const struct lg_profile *profile;
    uint64_t attempts_max; /* of all threads */
    int64_t reconnect_ns;
    bool count_only;             /* accepted answers are counted, not remembered */
    pthread_barrier_t ready, go; /* all workers and the main thread */
    int64_t start_ns;            /* main thread, between ready and go */
    _Atomic bool stop;           /* anybody: begin no new orders */
    _Atomic bool failed;         /* a worker: the run cannot succeed */
};

/* Counted with tg_count where others look on: offered, answers, verdicts. */
struct lg_stats {
    uint64_t offered;                    /* orders begun, each once */
    uint64_t answers;                    /* answers of any kind, retries and BUSY too */
    uint64_t verdicts[TG_VERDICT_COUNT]; /* final answers to orders, without those to retries */
    uint64_t busy;                       /* BUSY answers */
    uint64_t resent;                     /* orders sent again because their connection went */
    uint64_t reconnects;
    uint64_t retries_checked;
    uint64_t retries_wrong;     /* not answered as the first time */
    uint64_t accepted_on_retry; /* refused at first, then accepted: new orders */
    uint64_t wrong_answers; /* accepted at another price, or replayed though never sent before */
    uint64_t errors;        /* answers that no correct server gives to these orders */
    int64_t at_ns;          /* when the copy was made */
};

/* A few numbers for the progress line, stored relaxed once in a while. */
struct lg_published {
    _Atomic uint64_t offered, answers, accepted, refused, in_flight, backlog, reconnects;
};

enum lg_phase {
    LG_PHASE_CONNECT,
    LG_PHASE_WARMUP,
    LG_PHASE_MEASURE,
    LG_PHASE_DRAIN,
    LG_PHASE_SETTLE,
    LG_PHASE_DONE,
};

struct lg_waiting { /* an order that was answered BUSY */
    struct lg_entry entry;
    int64_t due_ns;
};

struct lg_worker {
    struct lg_shared *shared;
    uint32_t index; /* of shared->threads */
    uint32_t conn_count;
    struct lg_conn *conns; /* owned */
    struct io_uring ring;
    pthread_t thread;

    enum lg_phase phase;
    int64_t now_ns;
    int64_t measure_ns, drain_ns, end_ns; /* when MEASURE, DRAIN and SETTLE begin at the latest */
    int64_t answer_ns;                    /* of the last answer or, in SETTLE, its begin */
    int64_t final_ns;                     /* of the last answer but BUSY, or the same */
    bool settle_dropped;  /* SETTLE cut all connections once, to have orders resent */
    bool busy_is_final;   /* SETTLE: what is only answered BUSY is not sent again */
    uint64_t next_number; /* the next attempt of this thread; steps by shared->threads */
    uint64_t in_flight;   /* orders in slots */
    uint64_t open_orders; /* given up on, although they may stand */
    uint64_t capacity;    /* orders that may be begun and not finally answered */
    uint32_t up_count, next_conn;
    uint32_t head_bytes; /* of the last batch frame */
    uint32_t dirty_count;
    uint32_t *dirty; /* owned: connections with output to send */
    struct lg_schedule schedule;
    uint64_t frames_due; /* at now_ns */

    struct lg_waiting *waiting; /* owned: a ring of waiting_room, by due time */
    uint64_t waiting_first, waiting_count, waiting_room;
    struct lg_entry *retries; /* owned: a ring of retry_room */
    uint64_t retry_first, retry_count, retry_room;
    struct lg_entry *retry_pool; /* owned, LG_RETRY_POOL; tag 0: free */

    struct lg_stats stats, at_start, at_end; /* whole run; begin and end of MEASURE */
    int64_t first_ns, accept_first_ns, accept_last_ns;
    uint64_t latency_last_ns, latency_run; /* a run of equal latencies, not yet in the histogram */
    bool latency_accepted, latency_measured;
    struct tg_histogram latency;       /* readable by others */
    struct tg_histogram latency_aside; /* of what is not measured; readable by others */
    struct tg_histogram latency_accepted_ns;
    struct tg_histogram slip;          /* open loop: sent minus due */
    uint64_t backlog_max, backlog_end; /* orders that were due and not sent */
    int64_t cpu_ns;
    struct lg_accepted accepted;   /* readable by others */
    struct lg_published published; /* readable by others */
    char complaint[256];           /* the first wrong answer, in words */
    struct tg_fault fault;         /* why the run cannot succeed */
};

/* Starts worker `index` with `conn_count` connections on zeroed memory. The caller meets it at
 * `ready` (all connections are up, or shared->failed), sets start_ns, and meets it at `go`. */
enum tg_error lg_worker_start(struct lg_worker *worker, struct lg_shared *shared, uint32_t index,
                              uint32_t conn_count, struct tg_fault *fault);
/* Waits for its end. Its results stay until lg_worker_fini. */
void lg_worker_join(struct lg_worker *worker);
void lg_worker_fini(struct lg_worker *worker);

/* Orders begun and not answered: unknown outcomes, once the worker has ended. */
static inline uint64_t lg_worker_open_orders(const struct lg_worker *worker)
{
    return worker->in_flight + worker->waiting_count + worker->open_orders;
}

/* --- shared between worker.c and answers.c --- */

/* Handles every whole frame in conn->in. False: the run cannot go on (fault is set). */
bool lg_answers_read(struct lg_worker *worker, struct lg_conn *conn);
/* Brings the pending run of equal latencies into the histograms. */
void lg_answers_flush(struct lg_worker *worker);
void lg_retry_push(struct lg_worker *worker, const struct lg_entry *entry);
/* Sets the fault if it is the first, and stops the run. */
void lg_worker_fail(struct lg_worker *worker, enum tg_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
