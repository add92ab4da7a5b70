/* The other programs of this build, as a shell would run them: arguments in, status and output
 * out. They die with the test. Functions that cannot do what they say fail the test. One thread.
 */
#ifndef TG_TESTS_RUN_H
#define TG_TESTS_RUN_H

#include <stdbool.h>
#include <sys/types.h>

struct run {
    pid_t pid;  /* 0: it has ended */
    int status; /* exit status, -1 when a signal ended it */
    int out_fd; /* unlinked files: what it writes never blocks it */
    int err_fd;
    char *out; /* after the end: all of its standard output */
    char *err; /* and of its standard error */
};

/* Starts build/<name> with arguments up to a NULL. */
void run_start(struct run *run, const char *name, ...) __attribute__((sentinel));
/* It has not ended so far. */
bool run_goes_on(struct run *run);
/* Waits for its end. */
void run_wait(struct run *run);
void run_free(struct run *run);

#endif
