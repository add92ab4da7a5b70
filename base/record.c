#include "base/record.h"

#include <stdlib.h>

struct tg_sale_def *tg_sale_def_create(uint32_t item_count)
{
    struct tg_sale_def *def = calloc(1, sizeof(*def) + item_count * sizeof(struct tg_item_def));
    if (def)
        def->item_count = item_count;
    return def;
}
