/* The operator's requests: CreateSale, PauseSale, ResumeSale, CloseSale and AdjustStock, as the
 * steps of server/control.h. */
#ifndef TG_SERVER_SALES_H
#define TG_SERVER_SALES_H

#include "server/control.h"

/* --- at the core of the connection: message in, `control` filled, or its verdict and field --- */

void srv_sales_read_create(struct srv_core *core, struct srv_control *control, const void *message);
void srv_sales_read_pause(struct srv_core *core, struct srv_control *control, const void *message);
void srv_sales_read_resume(struct srv_core *core, struct srv_control *control, const void *message);
void srv_sales_read_close(struct srv_core *core, struct srv_control *control, const void *message);
void srv_sales_read_adjust(struct srv_core *core, struct srv_control *control, const void *message);

/* --- at the owner --- */

/* Decide: true, final; false, it comes with the journal. `state` is of pause, resume and close. */
bool srv_sales_decide_create(struct srv_core *core, struct srv_control *control);
bool srv_sales_decide_state(struct srv_core *core, struct srv_control *control);
bool srv_sales_decide_adjust(struct srv_core *core, struct srv_control *control);
void srv_sales_settle_create(struct srv_core *core, struct srv_control *control,
                             const struct tg_record *record);
void srv_sales_settle_state(struct srv_core *core, struct srv_control *control,
                            const struct tg_record *record);
void srv_sales_settle_adjust(struct srv_core *core, struct srv_control *control,
                             const struct tg_record *record);

/* --- at the core of the connection: `conn` is NULL when it has gone --- */

void srv_sales_answer(struct srv_core *core, struct net_conn *conn,
                      const struct srv_control *control);

#endif
