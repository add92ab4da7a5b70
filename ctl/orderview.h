/* How an order is shown: as a row of a list, as a whole, in a sentence after a change, in JSON. */
#ifndef TG_CTL_ORDERVIEW_H
#define TG_CTL_ORDERVIEW_H

#include "ctl/text.h"

#define CTL_ORDER_COLUMNS 12
extern const struct ctl_column ctl_order_columns[CTL_ORDER_COLUMNS];

/* A row of a table with these columns. Money is in minor units: an order has no currency. */
void ctl_order_row(struct ctl_table *table, const Tidegate__V1__Order *order);
/* Everything about it, over many lines. */
void ctl_order_print(const Tidegate__V1__Order *order, const char *currency);
/* "order 1025 is confirmed: amount 9900, ..." in minor units. */
void ctl_order_print_brief(const Tidegate__V1__Order *order);
json_t *ctl_order_json(const Tidegate__V1__Order *order);

#endif
