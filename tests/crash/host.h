/* The daemon of this build, as a child that dies with this process. Functions that cannot do what
 * they say end the program, but for host_try. One daemon at a time; one thread. */
#ifndef TG_TESTS_CRASH_HOST_H
#define TG_TESTS_CRASH_HOST_H

#include "tests/lib/proc.h"

struct host {
    const char *data_dir; /* borrowed */
    const char *messages; /* borrowed: file that takes its stderr */
    const char *log;      /* borrowed: log to record into; NULL: no recording */
    struct proc proc;
    char address[64];
};

/* Size of the map, for the daemon and for whoever opens its images. */
#define HOST_MAP_MIB 64

/* Starts it and waits until it is ready. */
void host_start(struct host *host);
/* Ends it by SIGTERM, and it must drain; or by SIGKILL. */
void host_stop(struct host *host);
void host_kill(struct host *host);
/* A process that holds a snapshot of its database until it is ended, by SIGKILL: it stays in LMDB's
 * table of readers. */
pid_t host_hold_snapshot(const struct host *host);
void host_end_reader(pid_t reader);
/* Starts and ends it; false, with the reason, when it does not start. */
bool host_try(struct host *host, char *reason, size_t size);

#endif
