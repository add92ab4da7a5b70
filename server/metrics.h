/* The metrics of the admin listener: every family is in server/metrics.c, by the name that stays
 * (docs/admin.md lists them with units). Admin thread. */
#ifndef TG_SERVER_METRICS_H
#define TG_SERVER_METRICS_H

#include "server/body.h"

struct srv_admin;

/* All of them, in Prometheus' text format. Some 200 us, and as much again for each hundred items
 * that are told. */
void srv_metrics_write(struct srv_admin *admin, struct srv_body *body);

#endif
