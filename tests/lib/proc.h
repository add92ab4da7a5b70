/* Children of a plain program, one that is no Criterion test: started, stopped for a look, ended.
 * They die with the thread that started them (PR_SET_PDEATHSIG). Nothing here ends the caller:
 * what cannot be done is told. One thread.
 */
#ifndef TG_TESTS_PROC_H
#define TG_TESTS_PROC_H

#include <stdbool.h>
#include <sys/types.h>

struct proc {
    pid_t pid;  /* 0: none, or it was waited for */
    int status; /* of the last one: exit status, -1 when a signal ended it */
};

/* Where a program of this build lies, such as "tidegated"; one of a few static buffers. */
const char *proc_program(const char *name);

/* Starts argv[0] (up to a NULL), standard output to `out_fd` (borrowed; -1: to nowhere), standard
 * error appended to the file `err_path`. False, with errno, when there is no process for it; a
 * program that cannot be run ends with status 127. */
bool proc_start(struct proc *proc, const char *const *argv, int out_fd, const char *err_path);

/* It has not ended so far. */
bool proc_runs(const struct proc *proc);

/* Stops it where it is and waits until every thread of it stands still; false when it had ended. */
bool proc_freeze(const struct proc *proc);

/* Waits for its end and fills in the status; false when that takes longer. */
bool proc_wait(struct proc *proc, int timeout_ms);

/* SIGKILL, and waits. The status is -1 unless it had ended before. */
void proc_kill(struct proc *proc);

#endif
