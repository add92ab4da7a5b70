/* What the daemon says of itself while a run goes on: GetStats at the end of each interval, over a
 * connection and in a thread of its own, so that nothing that happens to it touches the load.
 *
 * A daemon that goes away is asked again until it is back; one that began anew counts from nothing,
 * so what it did since is added, and what the one before did behind its last answer is not known.
 * One that does not know GetStats is left alone: then there is nothing to tell.
 */
#ifndef LG_VITALS_H
#define LG_VITALS_H

#include "client/tidegate.h"
#include "loadgen/samples.h"

#include <pthread.h>

/* The counters of one answer. */
struct lg_counters {
    int64_t started_at_ms;
    uint64_t cpu_ns, commits, records;
    struct tg_histogram commit_us, commit_batch;
};

/* Large: not for a stack. */
struct lg_vitals {
    const char *server; /* borrowed */
    int64_t start_ns;   /* of load, monotonic */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool running, stopping; /* the first is the caller's, the second under the mutex */
    struct lg_counters before, now;
    struct lg_tally tally;
    /* the result: the caller's before lg_vitals_start and behind lg_vitals_stop */
    bool known;        /* there was an answer */
    char version[32];  /* of the daemon, as all up to data_file_bytes at the last answer */
    uint32_t threads;  /* core threads */
    uint32_t restarts; /* seen */
    int64_t uptime_ms;
    uint64_t resident_bytes, data_file_bytes;
    uint64_t cpu_ns, commits, records; /* during the run */
    struct tg_histogram commit_us, commit_batch;
    struct lg_samples
        samples; /* offered: commits; responses: records; latency: of commits, in us */
};

/* Asks from `start_ns` on until lg_vitals_stop. `load_ns` as of lg_samples_init. Without memory, or
 * a thread, nothing is asked. */
void lg_vitals_start(struct lg_vitals *vitals, const char *server, int64_t start_ns,
                     int64_t load_ns);
/* Asks a last time, and waits for the thread. Also without a start. */
void lg_vitals_stop(struct lg_vitals *vitals);
void lg_vitals_fini(struct lg_vitals *vitals);

/* Takes one answer, `at_ns` from the start of load. The first is what the others are compared with.
 * Pure; for the thread, and for tests. */
void lg_vitals_take(struct lg_vitals *vitals, const Tidegate__V1__GetStatsResponse *stats,
                    int64_t at_ns);

#endif
