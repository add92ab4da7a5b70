/* How an item and its stock are shown: by sale show and by stock show. */
#ifndef TG_CTL_ITEM_H
#define TG_CTL_ITEM_H

#include "ctl/text.h"

/* A table for the items of this sale: those of a group-buy have columns of their own. */
void ctl_item_table_init(struct ctl_table *table, const Tidegate__V1__Sale *sale);
/* A row of such a table. */
void ctl_item_row(struct ctl_table *table, const Tidegate__V1__ItemStatus *status,
                  const char *currency);
json_t *ctl_item_json(const Tidegate__V1__ItemStatus *status);

#endif
