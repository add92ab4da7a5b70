/* The load: many clients in one, on one connection to a recorded daemon, that order, pay, cancel,
 * build teams, ingest, run sales and ack events, at random by a seed, with one request each in
 * flight, one workload after the other; and all that was acknowledged to them. */
#ifndef TG_TESTS_CRASH_LOAD_H
#define TG_TESTS_CRASH_LOAD_H

#include "tests/crash/facts.h"
#include "tests/crash/host.h"
#include "tests/crash/log.h"

/* Starts `host`, plays all workloads on it with `answers` answers in each, kills and starts it once
 * in between, and stops it. Ends the program when an answer is missing or makes no sense. */
void load_run(struct host *host, const struct crash_log *log, uint64_t seed, uint32_t answers,
              struct facts *facts);

#endif
