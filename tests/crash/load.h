/* The load: many clients in one, on one connection to a recorded daemon, that order, pay, cancel,
 * build teams, ingest, run sales, read and ack events, at random by a seed, with one request each
 * in flight, one workload after the other; and all that was acknowledged to them.
 *
 * Each of them ends the program when an answer is missing or makes no sense. One thread. */
#ifndef TG_TESTS_CRASH_LOAD_H
#define TG_TESTS_CRASH_LOAD_H

#include "tests/crash/facts.h"
#include "tests/crash/host.h"
#include "tests/crash/log.h"
#include "tests/crash/photo.h"

struct load;

/* Starts `host` on an empty directory, plays all workloads on it with `answers` answers in each,
 * kills and starts it once in between, and stops it. */
struct load *load_run(struct host *host, struct crash_log *log, uint64_t seed, uint32_t answers,
                      struct facts *facts);

/* Starts `host` on what a power cut at `past_cut` of the log of `past` left, of which `photo` was
 * taken, and goes on with one workload; many requests are those that were under way at the cut,
 * sent again. `past` NULL: nobody asked for anything before. */
struct load *load_go_on(struct host *host, struct crash_log *log, uint64_t seed, uint32_t answers,
                        const struct load *past, uint64_t past_cut, const struct photo *photo,
                        struct facts *facts);

/* Not before the loads that it is the past of. NULL is fine. */
void load_free(struct load *load);

#endif
