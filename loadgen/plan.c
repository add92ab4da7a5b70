#include "loadgen/plan.h"

#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

bool lg_plan_init(struct lg_plan *plan, const struct lg_plan_settings *settings,
                  struct lg_item *items)
{
    tg_assert(settings->users > 0 && settings->users <= LG_USERS_MAX);
    tg_assert(settings->greedy_users > 0 && settings->greedy_users <= settings->users);
    tg_assert(settings->quantity_min > 0 && settings->quantity_min <= settings->quantity_max);
    tg_assert(settings->item_count > 0 && settings->item_count <= TG_SALE_ITEMS_MAX);
    memset(plan, 0, sizeof(*plan));
    plan->settings = *settings;
    plan->items = items;
    uint64_t state = settings->seed;
    plan->draw_key = tg_splitmix64(&state);
    plan->item_key = tg_splitmix64(&state);
    plan->retry_key = tg_splitmix64(&state);
    state ^= tg_mix64(settings->nonce + TG_RNG_GOLDEN);
    plan->request_key = tg_splitmix64(&state);
    plan->check_key = tg_splitmix64(&state);
    if (lg_zipf_init(&plan->zipf, settings->item_count, settings->zipf_exponent))
        return true;
    free(items);
    plan->items = NULL;
    return false;
}

void lg_plan_fini(struct lg_plan *plan)
{
    lg_zipf_fini(&plan->zipf);
    free(plan->items);
    plan->items = NULL;
}

struct lg_item *lg_plan_items(uint32_t count, uint64_t stock_units, uint32_t per_user_limit)
{
    static const char *const sizes[] = {"XS", "S", "M", "L", "XL"};
    static const char *const colours[] = {"BL", "WH", "RD", "GN"};
    struct lg_item *items = calloc(count, sizeof(*items));
    for (uint32_t i = 0; items && i < count; i++) {
        char sku[TG_SKU_BYTES_MAX + 1];
        int bytes = snprintf(sku, sizeof(sku), "A%02u-%05u-%s-%s", i % 100, i, sizes[i % 5],
                             colours[i % 4]);
        memcpy(items[i].sku, sku, (size_t)bytes);
        items[i].sku_bytes = (uint8_t)bytes;
        items[i].per_user_limit = per_user_limit;
        items[i].price_minor = 9900 + (int64_t)(i % 1000) * 100;
        items[i].stock_units = stock_units;
    }
    return items;
}

bool lg_plan_number_of(const struct lg_plan *plan, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                       uint64_t *number)
{
    uint64_t id[2];
    memcpy(id, request_id, sizeof(id));
    if (tg_mix64(id[0] ^ plan->check_key) != id[1])
        return false;
    *number = tg_unmix64(id[0]) ^ plan->request_key;
    return *number < LG_ATTEMPTS_MAX;
}
