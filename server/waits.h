/* Requests that wait at their owner, and the retries of them that come meanwhile.
 *
 * A change, a seat or a cart waits behind a fence while another change has its lock, and while
 * other cores hold units for it. Its request id is known to nobody yet: a retry that was decided
 * meanwhile could be refused for what the first gets a moment later (a unit that returns, a limit
 * that counts the first one's own hold). So a retry follows: it is decided right behind the first,
 * and what was accepted by then is its answer (promise 3).
 *
 *   decide --- wait --> srv_waits_begin ... decided again --- final, or recorded --> srv_waits_end
 *     |                       ^                                                          |
 *     +-- a retry: srv_waits_follow                       its followers are decided <----+
 *
 * Requests are told apart by a keyed hash of their request ids: two that meet by chance are decided
 * one behind the other, which harms none of them. Owned by the core's thread.
 */
#ifndef TG_SERVER_WAITS_H
#define TG_SERVER_WAITS_H

#include "server/control.h"
#include "server/server.h"

enum srv_follow {
    SRV_FOLLOW_NONE, /* nobody waits under its request id, or it is that one itself: decide it */
    SRV_FOLLOWS,     /* it goes on with srv_waits_end of the first */
    SRV_FOLLOW_FULL, /* too many wait: BUSY */
};

/* Requests that wait: behind fences, for their decision behind one that is over, and retries. */
static inline uint32_t srv_waits_count(const struct srv_core *core)
{
    return core->fenced + core->fences_over_count + core->following;
}

/* Memory for the counts of srv_waits_of_conn; resident as they are used. */
static inline size_t srv_waits_bytes(const struct srv_config *config)
{
    return config->threads * config->connections_max * sizeof(uint16_t);
}

/* Of those that wait, the ones that came with the control's connection, of whatever core. When a
 * connection goes, the next in its place bears its count until they have been decided. */
static inline uint16_t *srv_waits_of_conn(const struct srv_core *core,
                                          const struct srv_control *control)
{
    return &core->conn_waits[control->address.core * core->server->config.connections_max +
                             net_conn_place(control->address.conn)];
}

/* One more has room, and its connection has not its part of the places. */
static inline bool srv_waits_has_room(const struct srv_core *core,
                                      const struct srv_control *control)
{
    return srv_waits_count(core) < SRV_FENCED_MAX &&
           *srv_waits_of_conn(core, control) < SRV_CONN_FENCED_MAX;
}

/* The request is about to be decided. */
enum srv_follow srv_waits_follow(struct srv_core *core, struct srv_control *control);

/* The request has to wait; it may do so already. */
void srv_waits_begin(struct srv_core *core, struct srv_control *control);

/* The request waits no more, if it did: its followers are decided, in the order of their coming. It
 * has its verdict, or its records lie in the journal. */
void srv_waits_end(struct srv_core *core, struct srv_control *control);

#endif
