/* Orders and teams as the contract's messages: one place for GetOrder, ListOrders, the answer of
 * ChangeOrder and the events.
 *
 * Everything that a message points to is copied into the core's arena (server/message.c), so rows
 * may go at once; it is valid until the next unpack. Owned by the core's thread.
 */
#ifndef TG_SERVER_SHOW_H
#define TG_SERVER_SHOW_H

#include "server/core.h"

/* What the messages of one page may pack to, so that the answer around them fits a frame. */
#define SRV_PAGE_BYTES_MAX (TG_FRAME_BATCH_BYTES_MAX - 1024)

/* Fills `message`, which the caller owns. `life` is NULL for an order that was not changed. False
 * when the arena is used up: `message` is then of no use. */
bool srv_show_order(struct srv_core *core, Tidegate__V1__Order *message,
                    const struct tg_order_row *row, const struct tg_life *life);

/* The same for a team; its members only when asked for. */
bool srv_show_team(struct srv_core *core, Tidegate__V1__Team *message, const struct tg_team *team,
                   bool with_members);

/* Reads the order from the core's snapshot and fills `message`. TG_ERR_NOTFOUND, TG_ERR_CORRUPT
 * (logged), or TG_ERR_NOMEM for the arena. */
enum tg_error srv_show_stored_order(struct srv_core *core, Tidegate__V1__Order *message,
                                    uint64_t order_id);

#endif
