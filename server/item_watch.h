/* WatchItem: who wants to see the stock of an item and the state of its sale as they change.
 *
 * Each core looks at the published words of the items that its connections watch, at most as often
 * as each of them asked for, and answers those who have seen something else; nobody who decides an
 * order knows of them. A watch counts for nothing on its connection, as a subscription does: it
 * ends with it, or when its call is cancelled. Owned by the core's thread. */
#ifndef TG_SERVER_ITEM_WATCH_H
#define TG_SERVER_ITEM_WATCH_H

#include "server/core.h"

#define SRV_ITEM_WATCHES_MAX 8192 /* of one core */
#define SRV_CONN_ITEM_WATCHES_MAX                                                                  \
    256 /* of one connection, its long polls and subscriptions too                                 \
         */

struct srv_item_watches; /* of one core */

enum tg_error srv_item_watches_create(struct srv_core *core, struct tg_fault *fault);
void srv_item_watches_destroy(struct srv_core *core);

/* Answers the request, and watches on. False: it is another one. */
bool srv_item_watch_request(struct srv_core *core, struct net_conn *conn,
                            const struct tg_envelope *envelope);

/* The call is not wanted any more. */
void srv_item_watch_cancel(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);

/* Once a turn: answers those whose time has come and who have seen something else. */
void srv_item_watches_turn(struct srv_core *core);

/* How long the core may sleep before the next is looked at, at most `longest_ns`. */
int64_t srv_item_watches_wait_ns(const struct srv_core *core, int64_t longest_ns);

#endif
