/* A tidegated as a child of a plain program: started without waiting, looked at while it starts or
 * drains, killed, started again on the same directory and port. daemon.h is the same for Criterion
 * tests.
 *
 *   EXEC -> RECOVERING -> RECOVERED -> READY -> DRAINING -> ENDED
 *
 * One thread.
 */
#ifndef TG_TESTS_NODE_H
#define TG_TESTS_NODE_H

#include "tests/lib/proc.h"

#include <stddef.h>
#include <stdint.h>

#define NODE_ARGS_MAX 48

/* How far a life has come. */
enum node_phase {
    NODE_EXEC,       /* its data file is not mapped yet */
    NODE_RECOVERING, /* mapped; its log does not say "recovered": it opens and reads all rows */
    NODE_RECOVERED,  /* the log says so, no ready line: sockets, threads */
    NODE_READY,      /* the ready line is out */
    NODE_DRAINING,   /* the log says so */
    NODE_ENDED,
};
#define NODE_PHASES (NODE_ENDED + 1)
const char *node_phase_name(enum node_phase phase);

struct node {
    struct proc proc;
    char data_dir[200];
    char log_path[200];              /* its stderr, of all its lives */
    const char *args[NODE_ARGS_MAX]; /* borrowed: further arguments */
    int arg_count;
    uint16_t port; /* 0: any; then the one that it got */
    char address[32];
    uint64_t recovered_orders; /* as the last ready line says */
    /* of this life */
    struct proc_line line; /* fd -1: none */
    off_t log_begin;
};

/* A node over `root`/data with the log `root`/log. */
void node_init(struct node *node, const char *root);
/* One more argument for all lives. */
void node_arg(struct node *node, const char *arg);

/* Starts a life and does not wait; false: there is no process for it. */
bool node_spawn(struct node *node);
/* Waits for the ready line: 1 when it is there, 0 when not in `timeout_ms`, -1 when the process
 * closed its output without one. */
int node_ready(struct node *node, int timeout_ms);

/* Looks how far it has come: exact for one that stands still (proc_freeze). */
enum node_phase node_phase(struct node *node);

/* SIGKILL; it is gone on return. */
void node_kill(struct node *node);
/* Sends SIGTERM. */
void node_drain(const struct node *node);
/* Waits for the end of a drain: true when it came, with exit status 0. */
bool node_drained(struct node *node, int timeout_ms);

/* The end of its log, at most 2 KiB; static. */
const char *node_log_tail(const struct node *node);
/* Calls `visit` with every line of the log, of all lives. */
void node_log_lines(const struct node *node, void (*visit)(void *context, const char *line),
                    void *context);

#endif
