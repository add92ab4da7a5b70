/* How an item and its stock are shown: by sale show and by stock show. */
#ifndef TG_CTL_ITEM_H
#define TG_CTL_ITEM_H

#include "ctl/text.h"

#define CTL_ITEM_COLUMNS 10
extern const struct ctl_column ctl_item_columns[CTL_ITEM_COLUMNS];

/* A row of a table with these columns. */
void ctl_item_row(struct ctl_table *table, const Tidegate__V1__ItemStatus *status,
                  const char *currency);
json_t *ctl_item_json(const Tidegate__V1__ItemStatus *status);
json_t *ctl_sale_json(const Tidegate__V1__Sale *sale);

#endif
