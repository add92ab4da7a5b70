/* A real tidegated under a test's control: started on a free port over a directory of its own,
 * stopped, killed, started again on the same directory and port.
 *
 * Every Criterion test runs in a process of its own and starts what it needs. A daemon dies with
 * the process that started it (PR_SET_PDEATHSIG), however that one ends. When a test fails while
 * its daemon stands, the end of the daemon's log is printed and the directory is kept.
 *
 * Functions that cannot do what they say fail the test. One thread.
 */
#ifndef TG_TESTS_DAEMON_H
#define TG_TESTS_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DAEMON_ARGS_MAX 40
/* For what must happen: never waited for unless a promise is broken. */
#define DAEMON_WAIT_MS  60000

struct daemon {
    /* may be set before daemon_start */
    char data_dir[192]; /* "": `root`/data */
    bool with_faults;   /* runs under tests/lib/fault.c */
    /* the rest is the harness's */
    pid_t pid; /* 0: not running */
    uint16_t port;
    uint16_t admin_port; /* 0: it was not started with --admin-listen */
    uint16_t grpc_port;  /* 0: it was not started with --grpc-listen */
    uint64_t recovered_orders;
    char address[32];     /* "127.0.0.1:port" */
    char root[96];        /* everything of this daemon lies below */
    char log_path[160];   /* its stderr, of all its lives */
    char fault_path[160]; /* the control file of fault.c */
    char *args[DAEMON_ARGS_MAX];
    int arg_count;
};

/* Starts it with further arguments, behind them NULL; returns when it is ready. */
void daemon_start(struct daemon *daemon, ...) __attribute__((sentinel));

/* Starts it again with the same arguments, directory and port. It must not be running. */
void daemon_restart(struct daemon *daemon);

/* Starts it where it must refuse to: returns its exit status, its words are in the log. */
int daemon_start_refused(struct daemon *daemon);

/* Adds an argument for the next start. */
void daemon_arg(struct daemon *daemon, const char *arg);

/* SIGTERM, and it must exit 0. */
void daemon_stop(struct daemon *daemon);
/* SIGKILL, and it is gone. */
void daemon_kill(struct daemon *daemon);
/* Waits for it to end by itself; returns its exit status, -1 when a signal ended it. */
int daemon_wait(struct daemon *daemon);
/* It has not ended so far. */
bool daemon_runs(const struct daemon *daemon);

/* Stops it if it runs, as daemon_stop, and removes its directory. The last call of a test. */
void daemon_end(struct daemon *daemon);

/* --- looking on --- */

/* The log holds `text`. */
bool daemon_log_has(const struct daemon *daemon, const char *text);
/* Waits until it does. */
void daemon_log_wait(const struct daemon *daemon, const char *text);
/* The last 2 KiB of the log; static. */
const char *daemon_log_tail(const struct daemon *daemon);
/* Resident memory. */
size_t daemon_resident_bytes(const struct daemon *daemon);

/* --- faults (with_faults) --- */

/* From now on system calls fail as `rule` says; NULL: no more. See fault.c for rules. */
void daemon_fault(const struct daemon *daemon, const char *rule);

/* The disk stands still in the middle of the next commit, and of those behind it, each held until
 * the test lets it go: from the first of these calls to the last. */
void daemon_disk_hold(const struct daemon *daemon);
/* Returns when a commit is held. There must be records for one. */
void daemon_disk_wait(const struct daemon *daemon);
/* Lets the commit that is held end; returns when the next one is held. */
void daemon_disk_step(const struct daemon *daemon);
void daemon_disk_release(const struct daemon *daemon);

/* Where a program of this build lies, such as "tidegated"; static. */
const char *daemon_program(const char *name);

#endif
