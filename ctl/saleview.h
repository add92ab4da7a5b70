/* How a sale and its rules are shown. */
#ifndef TG_CTL_SALEVIEW_H
#define TG_CTL_SALEVIEW_H

#include "ctl/text.h"

/* Everything but its items, over many lines. */
void ctl_sale_print(const Tidegate__V1__Sale *sale, int64_t now_ms);
json_t *ctl_sale_json(const Tidegate__V1__Sale *sale);

#endif
