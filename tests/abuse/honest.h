/* Fifty honest clients, each on a connection of its own, that send at a fixed rate whatever the
 * server does (open loop): latency counts from when a request was due, so a server that stalls
 * cannot hide it. Of ten requests eight place an order, one pays the client's last one, one reads
 * it.
 *
 * BUSY is obeyed once: the request goes again after its hint, under the same request id; its
 * latency goes on counting. Anything else than ACCEPTED or OK, a second BUSY, no answer in
 * HONEST_PATIENCE_MS and an end of the connection is a failure.
 *
 * One thread; it waits with its own clock and never blocks on the server.
 */
#ifndef TG_ABUSE_HONEST_H
#define TG_ABUSE_HONEST_H

#include "base/histogram.h"

#include <stdbool.h>
#include <stdint.h>

#define HONEST_CLIENTS     50
#define HONEST_RATE        20 /* requests a second of each */
#define HONEST_PATIENCE_MS 5000

/* What came of the requests that were due in one stretch of time. */
struct honest_phase {
    struct tg_histogram latency; /* ns */
    int64_t begun_ns;
    /* The worst of each tenth of a second from the beginning on. */
    uint64_t *worst_ns;
    uint32_t worst_count;
};

struct honest_tally {
    uint64_t sent;
    uint64_t answered;
    uint64_t accepted; /* orders */
    uint64_t unknown;  /* orders that were never answered: they may stand */
    uint64_t busy;     /* answers; each was asked again */
    uint64_t failures;
    uint64_t closed; /* connections that the server ended */
    char first_failure[160];
};

struct honest;

/* Connects; ends the program with status 3 when it cannot. */
struct honest *honest_open(uint16_t port, uint64_t seed);
void honest_close(struct honest *honest);

/* Goes on for `duration_ns`; what is due meanwhile counts for `phase`, whenever its answer comes.
 * `look` (may be NULL) is called every 20 ms. The phase must live until honest_close. */
void honest_run(struct honest *honest, struct honest_phase *phase, int64_t duration_ns,
                void (*look)(void *context), void *context);
/* Sends no more and waits for the answers that are still due. */
void honest_finish(struct honest *honest);

const struct honest_tally *honest_tally(const struct honest *honest);

#define HONEST_WINDOW_NS (100 * 1000000ll)

#endif
