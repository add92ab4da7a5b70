/* Children of a plain program, one that is no Criterion test: started, stopped for a look, ended.
 * They die with the thread that started them (PR_SET_PDEATHSIG). Nothing here ends the caller:
 * what cannot be done is told. One thread.
 */
#ifndef TG_TESTS_PROC_H
#define TG_TESTS_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct proc {
    pid_t pid;  /* 0: none, or it was waited for */
    int status; /* of the last one: exit status, -1 when a signal ended it */
    int signal; /* of the last one: that signal, or 0 */
};

/* Where a program of this build lies, such as "tidegated"; one of a few static buffers. */
const char *proc_program(const char *name);

/* Starts argv[0] (up to a NULL), standard output to `out_fd` (borrowed; -1: to nowhere), standard
 * error appended to the file `err_path`. False, with errno, when there is no process for it; a
 * program that cannot be run ends with status 127. */
bool proc_start(struct proc *proc, const char *const *argv, int out_fd, const char *err_path);

/* The same with `preload` (NULL: nothing) before all its libraries, and with the pairs of name and
 * value of `environment` (up to a NULL) in its environment. */
bool proc_start_preloaded(struct proc *proc, const char *const *argv, const char *preload,
                          const char *const *environment, int out_fd, const char *err_path);

/* The line by which a daemon says that it is ready, as it comes. */
struct proc_line {
    int fd; /* the end of its standard output */
    char text[256];
    size_t used;
};
/* Waits for a whole line: 1 when it is there, 0 when not in `timeout_ms`, -1 when the output was
 * closed, or is too long, without one. */
int proc_line_read(struct proc_line *line, int timeout_ms);

/* It has not ended so far. */
bool proc_runs(const struct proc *proc);

/* Stops it where it is and waits until every thread of it stands still; false when it had ended. */
bool proc_freeze(const struct proc *proc);

/* Waits for its end and fills in the status; false when that takes longer. */
bool proc_wait(struct proc *proc, int timeout_ms);

/* SIGKILL, and waits. The status is -1 unless it had ended before. */
void proc_kill(struct proc *proc);

#endif
