/* The daemon of this build under the injector, as a child that dies with this process. One daemon
 * at a time in a process; one thread. */
#ifndef TG_TESTS_FAULTS_HOST_H
#define TG_TESTS_FAULTS_HOST_H

#include "tests/lib/proc.h"

#define HOST_SIGNALLED (-1) /* "exit status" of a daemon that a signal ended */
#define HOST_HANGS     (-2) /* and of one that did not end in time */

struct host {
    const char *data_dir; /* borrowed */
    const char *messages; /* borrowed: file that takes its stderr, anew with each start */
    const char *plan;     /* borrowed: the plan of this run; NULL: without the injector */
    struct proc proc;
    int status; /* once it has ended: exit status, or one of the above */
    int signal; /* of HOST_SIGNALLED */
    char address[64];
};

enum host_start {
    HOST_READY,
    HOST_ENDED, /* before it was ready; `status` says how */
    HOST_LATE,  /* neither within the bound; it was killed */
};

/* Starts it and waits until it is ready, or has ended. Ends the program (3) when it cannot fork. */
enum host_start host_start(struct host *host);
/* It has not ended by itself; when it has, `status` says how. */
bool host_runs(struct host *host);
/* Waits up to `wait_ms` for its end. */
void host_wait(struct host *host, int wait_ms);
/* SIGTERM, and waits for the end. */
void host_stop(struct host *host);
/* SIGKILL, and it is gone. */
void host_kill(struct host *host);

/* The last line of what it said that tells an error; "" when there is none. In static memory. */
const char *host_complaint(const struct host *host);
/* One of its lines holds `text`. */
bool host_said(const struct host *host, const char *text);
/* It said something that no daemon should say: a failed assertion, a sanitizer's report. */
bool host_said_broken(const struct host *host);

#endif
