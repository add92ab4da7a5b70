/* Several tidegate-load at once against one server, for plain programs: started with their
 * scenario's arguments, watched, told to finish, and held to their audits.
 *
 * One thread.
 */
#ifndef TG_TESTS_CREW_H
#define TG_TESTS_CREW_H

#include "tests/lib/proc.h"

#include <stddef.h>
#include <stdint.h>

#define CREW_MAX      8
#define CREW_ARGS_MAX 40

struct crew_load {
    const char *scenario; /* borrowed */
    struct proc proc;
    char report[240]; /* what it writes on standard output: JSON */
    char errors[240]; /* and on standard error */
};

struct crew {
    const char *root;   /* borrowed: directory for reports */
    const char *server; /* borrowed: HOST:PORT */
    struct crew_load loads[CREW_MAX];
    int count;
};

/* What the reports of all loads say, added up. */
struct crew_sums {
    uint64_t accepted, answers, resent, reconnects, retries_checked;
    uint64_t orders_read, teams_read, events_read;
};

void crew_init(struct crew *crew, const char *root, const char *server);

/* Starts one more, with arguments beside --server, --scenario, --json and --quiet, up to a NULL.
 * False: there is no process for it. */
bool crew_start(struct crew *crew, const char *scenario, ...) __attribute__((sentinel));

/* The scenario of one that has ended, or NULL while all go on. */
const char *crew_ended(const struct crew *crew);

/* Sends a signal to all that run: SIGSTOP and SIGCONT for a pause, SIGINT to finish what was begun
 * and audit. */
void crew_signal(const struct crew *crew, int signal_number);

/* Waits `timeout_ms` at most for each; every one must end with status 0 and a clean audit. Adds to
 * `sums`, frees the places. False with the first reason. */
bool crew_finish(struct crew *crew, int timeout_ms, struct crew_sums *sums, char *reason,
                 size_t reason_size);

/* SIGKILL for whatever still runs. */
void crew_kill(struct crew *crew);

#endif
