/* The outbox on the wire: consumer groups, long polls and subscriptions (docs/outbox.md).
 *
 * Reads come from LMDB snapshots on the core of the connection (server/event_page.h). Who waits is
 * parked there (server/events.c); the writer publishes the newest sequence, and wakes each core
 * that has somebody waiting. Changes of groups are decided by core 0 and made durable like every
 * other operator's request (server/groups.c): they ride in a struct srv_control.
 *
 * A long poll counts as in flight on its connection, so that it is neither idle nor cut off by a
 * drain; a connection that sends no more has its polls answered at once. A subscription counts for
 * nothing: it ends with its connection, whose time-outs are those of any other.
 *
 * Safety: to park, a core stores `wanted` and then loads the newest sequence; the writer stores the
 * sequence and then loads `wanted`; all four are sequentially consistent, so at least one of the
 * two sees the other (Dekker's argument).
 */
#ifndef TG_SERVER_EVENTS_H
#define TG_SERVER_EVENTS_H

#include "server/core.h"

#define SRV_WAITERS_MAX      4096 /* long polls and subscriptions of one core */
#define SRV_CONN_WAITERS_MAX 256  /* of one connection */

_Static_assert(SRV_CONN_WAITERS_MAX >= TG_GROUPS_MAX, "one connection may read for every group");

struct srv_control;
struct srv_events; /* of one core */

/* What a change of a group asks for; part of struct srv_control. */
struct srv_group_ask {
    uint8_t name_bytes;
    char name[TG_GROUP_NAME_BYTES_MAX];
    uint64_t sequence; /* ack: up to here; create: behind this */
    bool from_now;
    int place; /* of the group, while its record is on its way */
    bool removes;
    uint64_t offset; /* the answer */
};

enum tg_error srv_events_create(struct srv_core *core, struct tg_fault *fault);
void srv_events_destroy(struct srv_core *core);

/* ConsumeEvents, SubscribeEvents, ListGroups: answered or parked. False: none of these. */
bool srv_events_request(struct srv_core *core, struct net_conn *conn,
                        const struct tg_envelope *envelope);

/* --- server/groups.c --- */

/* Answers ListGroups. */
void srv_groups_list(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);

/* CreateGroup, AckEvents, DeleteGroup, as server/control.c's steps: read the unpacked message,
 * decide (true: final) at core 0, settle there, answer at the connection's core. */
void srv_groups_read(struct srv_control *control, const void *message);
bool srv_groups_decide(struct srv_core *core, struct srv_control *control,
                       struct tg_record *record);
void srv_groups_settle(struct srv_core *core, struct srv_control *control,
                       const struct tg_record *record);
void srv_groups_answer(struct srv_core *core, struct net_conn *conn,
                       const struct srv_control *control);

/* --- server/events.c --- */

/* The poll or subscription of that correlation id is not wanted any more, if it waits. */
void srv_events_cancel(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);

/* Once a turn: serves those who wait, as far as the newest sequence and their connections allow. */
void srv_events_turn(struct srv_core *core);

/* There is something to serve that the last turn did not see, or left: the core must not sleep. */
bool srv_events_ready(const struct srv_core *core);

/* Looks at everybody in this turn or the next ones, whether there is news or not. */
void srv_events_look(struct srv_core *core);

/* Somebody waits: the writer must wake this core after a commit. Any thread. */
bool srv_events_wanted(const struct srv_core *core);

/* A group has changed: wakes every core where somebody waits. Core 0. */
void srv_events_group_changed(struct srv_core *core);

#endif
