/* The audit log: who did what to sales, stock, groups and refunds, whose token was refused, and
 * when the daemon started, stopped and read its configuration again. docs/security.md has the
 * fields.
 *
 *   core k --ring--+
 *   main ----ring--+--> thread "audit": one write and one fdatasync for what lies there
 *   admin ---ring--+
 *
 * A line is made where the action was asked for, put into the ring of its core when the answer is
 * known, and written by a thread of its own: no core waits for the disk, and no answer for its
 * line. What a crash takes is what lay in the rings, some milliseconds' worth. A full ring, or a
 * disk that takes nothing, loses lines; the log says so at once, and the next line of that ring
 * that is written says how many (`lost`). Operators are never refused for it: to pause a sale on a
 * machine whose disk is full must work.
 *
 * The file is only appended to, one whole line at a time. Tokens never come here, their ids do.
 */
#ifndef TG_SERVER_AUDIT_H
#define TG_SERVER_AUDIT_H

#include "base/error.h"
#include "base/log.h"
#include "base/ring.h"
#include "base/token.h"
#include "base/waker.h"
#include "net/peer.h"
#include "proto/codec.h"

#include <pthread.h>

#define SRV_AUDIT_RING_LINES   1024
#define SRV_AUDIT_TARGET_BYTES 160
/* A line with every byte of its target escaped. */
#define SRV_AUDIT_TEXT_BYTES   2048

struct net_conn;
struct srv_control;
struct srv_core;
struct srv_server;

struct srv_audit_line {
    int64_t at_ms; /* when it was asked for */
    char tenant[TG_TENANT_BYTES_MAX + 1];
    char token[TG_TOKEN_ID_BYTES_MAX + 1]; /* its id; "": none */
    struct net_peer peer;
    const char *action;  /* static: "CloseSale" */
    const char *verdict; /* static: "OK" */
    char target[SRV_AUDIT_TARGET_BYTES];
    uint64_t left_out; /* lines like this one before it, for there were too many of them */
    uint64_t lost;     /* lines of this ring before it, for want of room */
};

/* What one thread writes. */
struct srv_audit_source {
    struct tg_ring ring;
    struct tg_log_site refusals; /* bounds how many of them are written */
    uint64_t lost;               /* since the last line */
};

struct srv_audit {
    struct srv_audit_source *sources; /* of each core, and behind them main's and admin's */
    uint32_t source_count;
    int fd;
    _Atomic int next_fd; /* -1: none; main opens it, the thread takes it over */
    bool is_torn;        /* the file ends within a line */
    uint64_t lost;       /* by the disk, since the last line */
    struct tg_waker waker;
    _Atomic bool stopping;
    pthread_t thread;
};

/* The line as JSON, with its newline. Returns its size. */
size_t srv_audit_text(const struct srv_audit_line *line, char text[SRV_AUDIT_TEXT_BYTES]);

/* --- main --- */

/* Opens the file and starts the thread, when security.audit_log names one; server->audit is NULL
 * else. */
enum tg_error srv_audit_start(struct srv_server *server, struct tg_fault *fault);
/* Opens the file anew, by its name: for whoever rotates it. Without an error the next line goes
 * there; with one, where they went before. */
enum tg_error srv_audit_reopen(struct srv_server *server, struct tg_fault *fault);
/* Writes what is left, when no core runs any more. */
void srv_audit_stop(struct srv_server *server);
/* What main itself did. `target` is text for people. */
void srv_audit_main(struct srv_server *server, const char *action, const char *target,
                    const char *verdict);

/* --- a core --- */

/* An operator's action was asked for: `message` is its unpacked request. A line to be finished by
 * srv_audit_end, on the heap; NULL for all other kinds, and without an audit log. */
struct srv_audit_line *srv_audit_begin(struct srv_core *core, const struct net_conn *conn,
                                       uint32_t kind, const void *message);
/* Its verdict is known: writes and frees the line, which may be NULL. */
void srv_audit_end(struct srv_core *core, struct srv_audit_line *line, const char *verdict);

/* A token was refused; `id` is its public part, "" when it has none. */
void srv_audit_refused_token(struct srv_core *core, const struct net_conn *conn, const char *id);
/* A request of this kind was refused for lack of a role; written when it is an operator's. */
void srv_audit_refused_role(struct srv_core *core, const struct net_conn *conn, uint32_t kind);

/* --- the admin thread --- */

/* A token was refused there. */
void srv_audit_admin_refused(struct srv_server *server, const struct net_peer *peer,
                             const char *id);

#endif
