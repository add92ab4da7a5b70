/* The JSON of the admin listener (docs/admin.md): sales, items, alerts, and the snapshot that the
 * live page shows. Numbers are JSON integers, money in minor units; 64-bit ids are strings, since
 * JavaScript's numbers end at 2^53. Admin thread.
 */
#ifndef TG_SERVER_BOARD_H
#define TG_SERVER_BOARD_H

#include "server/body.h"
#include "server/watch.h"

#define SRV_BOARD_SALES_MAX 1000
#define SRV_BOARD_ITEMS_MAX 1000
#define SRV_BOARD_TOP_MAX   100
/* Of one snapshot. */
#define SRV_SNAPSHOT_SALES  50
#define SRV_SNAPSHOT_ITEMS  20

/* {"server_time_ms", "total", "sales": [...]}: `limit` of them from `offset`, in the order of
 * creation. */
void srv_board_sales(const struct srv_watch *watch, struct srv_body *body, uint64_t offset,
                     uint64_t limit);

/* One sale with a page of its items. */
void srv_board_sale(const struct srv_watch *watch, struct srv_body *body,
                    const struct eng_sale *sale, uint64_t offset, uint64_t limit);

/* Its items of which most units are taken, most first; at most SRV_BOARD_TOP_MAX. */
void srv_board_top(const struct srv_watch *watch, struct srv_body *body,
                   const struct eng_sale *sale, uint64_t limit);

void srv_board_alerts(const struct srv_watch *watch, struct srv_body *body);

/* The list of sales in a snapshot, the same for all streams of one tick: those that can sell first,
 * newest first. */
void srv_board_snapshot_sales(const struct srv_watch *watch, struct srv_body *body);

/* All of a snapshot; `sales` is the text of srv_board_snapshot_sales, `sale` may be NULL. */
void srv_board_snapshot(const struct srv_watch *watch, struct srv_body *body,
                        const struct srv_body *sales, const struct eng_sale *sale);

/* "SCHEDULED", "OPEN", "PAUSED", "ENDED" or "CLOSED". Static. */
const char *srv_board_sale_state(const struct eng_sale *sale, int64_t now_ms);

/* How often orders of this sale were asked for: since the start, and those that stand from before
 * it. Any thread. */
uint64_t srv_board_attempts(const struct srv_watch *watch, const struct eng_sale *sale);

#endif
