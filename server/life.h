/* Orders beyond the plain one, on their way through the cores: ChangeOrder, OpenTeam, JoinTeam,
 * IngestOrders and carts. The steps are those of server/control.h; the rules are the engine's
 * (engine/life.h, engine/cart.h).
 *
 *   decide -- ENG_FINAL, ENG_LOAD_FAILED ------------> answer
 *      |  ^
 *      |  +-- ENG_WAIT: behind a fence, then again (also a retry whose first is in flight)
 *      |  +-- ENG_ACQUIRE: units are held on other cores (server/cart.h), then again
 *      |
 *      +-- ENG_RECORDED: a unit of records; its last one brings the answer
 *
 * Requests are checked where they are read, before they travel: server/life_read.c.
 */
#ifndef TG_SERVER_LIFE_H
#define TG_SERVER_LIFE_H

#include "server/control.h"

/* IngestOrders of one core that are not answered yet. */
#define SRV_INGESTS_MAX 1024

/* --- server/life_read.c: message in, `control` filled, or its verdict and field --- */

void srv_life_read_change(struct srv_core *core, struct srv_control *control, const void *message);
void srv_life_read_open(struct srv_core *core, struct srv_control *control, const void *message);
void srv_life_read_join(struct srv_core *core, struct srv_control *control, const void *message);
void srv_life_read_cart(struct srv_core *core, struct srv_control *control, const void *message);
void srv_life_read_ingest(struct srv_core *core, struct srv_control *control,
                          const Tidegate__V1__IngestOrder *message);

/* --- server/life.c: the steps behind it --- */

/* An IngestOrders came in: each of its orders goes its own way. */
void srv_life_ingest(struct srv_core *core, struct net_conn *conn,
                     const struct tg_envelope *envelope);

/* At the owner. True: final. False: it comes with the journal, or when units are held. */
bool srv_life_decide(struct srv_core *core, struct srv_control *control);
/* The same, out of its lane. */
void srv_life_go_on(struct srv_core *core, struct srv_control *control);

/* At the owner: every core that was asked to hold units for it has answered. */
void srv_life_held(struct srv_core *core, struct srv_control *control);

/* At the owner: the last record of its unit completed and is settled with the engine. */
void srv_life_settle(struct srv_core *core, struct srv_control *control,
                     const struct tg_record *record);

/* At the owner: settles one record of a unit with the engine, and tells the other cores. `control`
 * is who waits for it, or NULL. */
void srv_life_settle_record(struct srv_core *core, const struct tg_record *record,
                            struct srv_control *control);

/* At the core of the connection. `conn` is NULL when it has gone. */
void srv_life_answer_change(struct srv_core *core, struct net_conn *conn,
                            const struct srv_control *control);
void srv_life_answer_open(struct srv_core *core, struct net_conn *conn,
                          const struct srv_control *control);
void srv_life_answer_join(struct srv_core *core, struct net_conn *conn,
                          const struct srv_control *control);
void srv_life_answer_ingest(struct srv_core *core, struct net_conn *conn,
                            const struct srv_control *control);
void srv_life_answer_cart(struct srv_core *core, struct net_conn *conn,
                          const struct srv_control *control);

#endif
