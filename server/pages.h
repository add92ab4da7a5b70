/* ListOrders and ListTeams: pages that are read in pieces, a piece a turn, so that a page of
 * thousands of orders does not keep the orders that come meanwhile waiting. One page of a core is
 * under way at a time; requests for others are put back (net_conn_put_back) until it is sent.
 *
 *   request --> begin --> piece --> piece ... --> answer
 *                 |         one each turn (srv_pages_turn); the rows of a piece are packed at once,
 *                 +-------> so nothing of them but their bytes is kept
 *
 * Each piece reads its own snapshot: a page shows every order as it was durable at some moment
 * between request and answer. Owned by the core's thread.
 */
#ifndef TG_SERVER_PAGES_H
#define TG_SERVER_PAGES_H

#include "server/core.h"

struct srv_pages; /* of one core */

enum tg_error srv_pages_create(struct srv_core *core, struct tg_fault *fault);
void srv_pages_destroy(struct srv_core *core);

/* A request of this kind must wait: it is for a page and another one is under way, or that one is
 * of the same connection, so that whoever reads and reads again has the answers in that order. */
bool srv_pages_must_wait(const struct srv_core *core, const struct net_conn *conn, uint32_t kind);

/* Answers the request, or begins to; srv_pages_must_wait has said no. False: it is no page. */
bool srv_pages_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope);

/* Once a turn: reads the next piece, and answers behind the last one. */
void srv_pages_turn(struct srv_core *core);
/* A page is under way: the core must not sleep. */
bool srv_pages_busy(const struct srv_core *core);

#endif
