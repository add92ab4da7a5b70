/* Who uses the server in a soak beside tidegate-load: a probe that measures latency, a consumer of
 * the outbox that acks, and visitors who come, look and go, some in the middle of a request.
 *
 * Each is a thread of its own with its own connections; what they share with the caller is under
 * a lock. The first thing that is not as it must be ends that thread and is told.
 */
#ifndef TG_TESTS_SOAK_PEOPLE_H
#define TG_TESTS_SOAK_PEOPLE_H

#include "base/histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Orders of the probe in a second, at fixed times. */
#define PEOPLE_PROBES_PER_S 200

struct probe;

struct people {
    const char *server; /* borrowed */
    uint64_t seed;
    struct probe *probe;
    _Atomic bool leave;
    _Atomic uint64_t events, acks, visits, left_early, pages_read, busy;
    pthread_t threads[3];
    uint32_t thread_count;
    pthread_mutex_t lock;        /* of what follows */
    struct tg_histogram latency; /* ns, of the probe's orders since people_take */
    char fault[256];             /* "": none so far */
};

/* Makes their sale and consumer group, places a burst of orders, and starts them; false with
 * `fault` set. */
bool people_start(struct people *people, const char *server, uint64_t seed);
/* Hands out the latencies since the last call, and starts anew. */
void people_take(struct people *people, struct tg_histogram *latency);
/* A copy of what went wrong; false when nothing did. */
bool people_fault(struct people *people, char *text, size_t size);
/* They finish what they have begun and are gone on return. */
void people_stop(struct people *people);

#endif
