#include "ctl/salefile.h"

#include "base/life.h"
#include "ctl/ctl.h"
#include "ctl/jsonread.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- the sale --- */

static bool get_name(const struct ctl_node *node, char **name)
{
    static const char expected[] = "1 to 128 bytes of text without control characters";
    *name = ctl_get_string(node, "name", expected);
    if (!*name)
        return false;
    size_t bytes = strlen(*name);
    bool fits = bytes >= 1 && bytes <= TG_SALE_NAME_BYTES_MAX;
    for (size_t i = 0; i < bytes; i++)
        fits = fits && (unsigned char)(*name)[i] >= 0x20 && (*name)[i] != 0x7f;
    return fits || ctl_node_wrong(node, "name", "must be %s", expected);
}

static bool read_window(const struct ctl_node *node, Tidegate__V1__Sale *sale)
{
    if (!ctl_get_time(node, "starts_at", &sale->starts_at_ms) ||
        !ctl_get_time(node, "ends_at", &sale->ends_at_ms))
        return false;
    if (sale->ends_at_ms > sale->starts_at_ms)
        return true;
    char starts[CTL_TIME_BYTES], ends[CTL_TIME_BYTES];
    return ctl_node_wrong(node, "ends_at", "must be after starts_at: %s is not after %s",
                          ctl_time_text(sale->ends_at_ms, ends),
                          ctl_time_text(sale->starts_at_ms, starts));
}

static bool read_deadline(const struct ctl_node *node, Tidegate__V1__GroupBuyRules *rules)
{
    int at_deadline = TG_DEADLINE_FAIL;
    if (ctl_node_has(node, "at_deadline") &&
        !ctl_get_enum(node, "at_deadline", &tidegate__v1__team_deadline__descriptor, &at_deadline))
        return false;
    rules->at_deadline = (Tidegate__V1__TeamDeadline)at_deadline;
    if (at_deadline == TG_DEADLINE_AUTO_COMPLETE)
        return ctl_get_uint32(node, "team_size_min", 1, rules->team_size, &rules->team_size_min);
    return !ctl_node_has(node, "team_size_min") ||
           ctl_node_wrong(node, "team_size_min",
                          "stands only with \"at_deadline\": \"auto_complete\"");
}

static bool read_group_buy(const struct ctl_node *sale_node, Tidegate__V1__GroupBuyRules *rules)
{
    static const char *const keys[] = {"team_size",       "team_lifetime_s", "teams_per_user_max",
                                       "new_buyers_only", "at_deadline",     "team_size_min"};
    struct ctl_node node;
    tidegate__v1__group_buy_rules__init(rules);
    rules->team_lifetime_s = TG_TEAM_LIFETIME_S_DEFAULT;
    if (!ctl_node_object(sale_node, "group_buy", &node) ||
        !ctl_node_only(&node, keys, COUNT(keys)) ||
        !ctl_get_uint32(&node, "team_size", 2, TG_TEAM_SIZE_MAX, &rules->team_size))
        return false;
    if (ctl_node_has(&node, "team_lifetime_s") &&
        !ctl_get_uint32(&node, "team_lifetime_s", TG_TEAM_LIFETIME_S_MIN, TG_TEAM_LIFETIME_S_MAX,
                        &rules->team_lifetime_s))
        return false;
    if (ctl_node_has(&node, "teams_per_user_max") &&
        !ctl_get_uint32(&node, "teams_per_user_max", 0, UINT32_MAX, &rules->teams_per_user_max))
        return false;
    if (ctl_node_has(&node, "new_buyers_only") &&
        !ctl_get_bool(&node, "new_buyers_only", &rules->new_buyers_only))
        return false;
    return read_deadline(&node, rules);
}

/* The rules of teams stand in the file if and only if there are teams. */
static bool read_kind(const struct ctl_node *node, struct ctl_salefile *file)
{
    int kind;
    if (!ctl_get_enum(node, "kind", &tidegate__v1__sale_kind__descriptor, &kind))
        return false;
    file->sale.kind = (Tidegate__V1__SaleKind)kind;
    if (kind != TG_SALE_GROUP_BUY)
        return !ctl_node_has(node, "group_buy") ||
               ctl_node_wrong(node, "group_buy", "stands only with \"kind\": \"group_buy\"");
    file->sale.group_buy = &file->group_buy;
    return read_group_buy(node, &file->group_buy);
}

static bool read_share(const struct ctl_node *node, const struct ctl_salefile *file,
                       Tidegate__V1__ChannelShare *share)
{
    static const char *const keys[] = {"channel", "percent"};
    tidegate__v1__channel_share__init(share);
    if (!ctl_node_only(node, keys, COUNT(keys)) ||
        !ctl_get_uint32(node, "channel", 0, TG_CHANNEL_MAX, &share->channel) ||
        !ctl_get_uint32(node, "percent", 1, 100, &share->percent))
        return false;
    for (const Tidegate__V1__ChannelShare *other = file->shares; other != share; other++)
        if (other->channel == share->channel)
            return ctl_node_wrong(node, "channel",
                                  "%" PRIu32 " stands already in "
                                  "channel_shares[%td]",
                                  share->channel, other - file->shares);
    return true;
}

static bool read_shares(const struct ctl_node *node, struct ctl_salefile *file)
{
    if (!ctl_node_has(node, "channel_shares"))
        return true;
    const json_t *array = ctl_get_array(node, "channel_shares", 0, TG_CHANNEL_SHARES_MAX);
    if (!array)
        return false;
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct ctl_node share_node;
        if (!ctl_node_element(node, "channel_shares", array, i, &share_node) ||
            !read_share(&share_node, file, &file->shares[i]))
            return false;
        file->share_list[i] = &file->shares[i];
    }
    file->sale.n_channel_shares = json_array_size(array);
    file->sale.channel_shares = file->share_list;
    return true;
}

static bool read_sale(const struct ctl_node *node, struct ctl_salefile *file)
{
    static const char *const keys[] = {
        "sale_id",       "kind",  "name",      "currency",         "starts_at",
        "ends_at",       "items", "group_buy", "payment_window_s", "refund_auto_max_minor",
        "channel_shares"};
    Tidegate__V1__Sale *sale = &file->sale;
    if (!ctl_node_only(node, keys, COUNT(keys)) ||
        !ctl_get_id(node, "sale_id", 1, &sale->sale_id) || !read_kind(node, file) ||
        !get_name(node, &sale->name) || !ctl_get_currency(node, "currency", &sale->currency) ||
        !read_window(node, sale))
        return false;
    sale->payment_window_s = TG_PAYMENT_WINDOW_S_DEFAULT;
    if (ctl_node_has(node, "payment_window_s") &&
        !ctl_get_uint32(node, "payment_window_s", 1, TG_PAYMENT_WINDOW_S_MAX,
                        &sale->payment_window_s))
        return false;
    if (ctl_node_has(node, "refund_auto_max_minor") &&
        !ctl_get_number(node, "refund_auto_max_minor", 0, TG_AMOUNT_MINOR_MAX,
                        &sale->refund_auto_max_minor))
        return false;
    return read_shares(node, file);
}

/* --- items --- */

/* The steps of one item and the list that a message has of them, in one piece of malloc that is
 * freed by its list. */
struct ladder {
    Tidegate__V1__LadderStep *list[TG_LADDER_STEPS_MAX];
    Tidegate__V1__LadderStep steps[TG_LADDER_STEPS_MAX];
};

_Static_assert(offsetof(struct ladder, list) == 0, "free(item->ladder) frees all of it");

/* `before` is the step below, or NULL. */
static bool read_step(const struct ctl_node *node, const struct ctl_salefile *file,
                      const Tidegate__V1__SaleItem *item, const Tidegate__V1__LadderStep *before,
                      Tidegate__V1__LadderStep *step)
{
    static const char *const keys[] = {"size", "unit_price_minor"};
    tidegate__v1__ladder_step__init(step);
    if (!ctl_node_only(node, keys, COUNT(keys)) ||
        !ctl_get_uint32(node, "size", 2, file->group_buy.team_size, &step->size) ||
        !ctl_get_number(node, "unit_price_minor", 0, TG_PRICE_MINOR_MAX, &step->unit_price_minor))
        return false;
    if (before && step->size <= before->size)
        return ctl_node_wrong(node, "size", "must be above that of the step before, %" PRIu32,
                              before->size);
    int64_t above = before ? before->unit_price_minor : item->sale_price_minor;
    return step->unit_price_minor < above ||
           ctl_node_wrong(node, "unit_price_minor", "must be below %s, %" PRId64,
                          before ? "that of the step before" : "sale_price_minor", above);
}

static bool read_ladder(const struct ctl_node *node, const struct ctl_salefile *file,
                        Tidegate__V1__SaleItem *item)
{
    const json_t *array = ctl_get_array(node, "ladder", 0, TG_LADDER_STEPS_MAX);
    if (!array)
        return false;
    struct ladder *ladder = calloc(1, sizeof(*ladder));
    if (!ladder)
        ctl_out_of_memory();
    item->ladder = ladder->list;
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct ctl_node step_node;
        if (!ctl_node_element(node, "ladder", array, i, &step_node) ||
            !read_step(&step_node, file, item, i ? &ladder->steps[i - 1] : NULL, &ladder->steps[i]))
            return false;
        ladder->list[i] = &ladder->steps[i];
    }
    item->n_ladder = json_array_size(array);
    return true;
}

/* What only an item of a group-buy can have. */
static bool read_team_prices(const struct ctl_node *node, const struct ctl_salefile *file,
                             Tidegate__V1__SaleItem *item)
{
    static const char *const keys[] = {"captain_price_minor", "ladder"};
    for (size_t i = 0; i < COUNT(keys) && !file->sale.group_buy; i++)
        if (ctl_node_has(node, keys[i]))
            return ctl_node_wrong(node, keys[i], "stands only with \"kind\": \"group_buy\"");
    if (ctl_node_has(node, "captain_price_minor") &&
        !ctl_get_number(node, "captain_price_minor", 0, item->sale_price_minor,
                        &item->captain_price_minor))
        return false;
    return !ctl_node_has(node, "ladder") || read_ladder(node, file, item);
}

static bool read_item(const struct ctl_node *node, const struct ctl_salefile *file,
                      Tidegate__V1__SaleItem *item)
{
    static const char *const keys[] = {"sku",
                                       "list_price_minor",
                                       "sale_price_minor",
                                       "stock_units",
                                       "per_user_limit",
                                       "per_order_max",
                                       "stock_policy",
                                       "captain_price_minor",
                                       "ladder",
                                       "low_stock_units"};
    int64_t stock_units;
    int policy = TG_POLICY_RESERVE;
    if (!ctl_node_only(node, keys, COUNT(keys)) || !ctl_get_sku(node, "sku", &item->sku) ||
        !ctl_get_number(node, "list_price_minor", 0, TG_PRICE_MINOR_MAX, &item->list_price_minor) ||
        !ctl_get_number(node, "sale_price_minor", 0, TG_PRICE_MINOR_MAX, &item->sale_price_minor) ||
        !ctl_get_number(node, "stock_units", 0, TG_STOCK_UNITS_MAX, &stock_units) ||
        !ctl_get_uint32(node, "per_user_limit", 0, UINT32_MAX, &item->per_user_limit) ||
        !ctl_get_uint32(node, "per_order_max", 0, UINT32_MAX, &item->per_order_max))
        return false;
    item->stock_units = (uint64_t)stock_units;
    if (ctl_node_has(node, "low_stock_units") &&
        !ctl_get_uint32(node, "low_stock_units", 0, TG_STOCK_UNITS_MAX, &item->low_stock_units))
        return false;
    if (ctl_node_has(node, "stock_policy") &&
        !ctl_get_enum(node, "stock_policy", &tidegate__v1__stock_policy__descriptor, &policy))
        return false;
    item->stock_policy = (Tidegate__V1__StockPolicy)policy;
    return read_team_prices(node, file, item);
}

static int compare_skus(const void *a, const void *b)
{
    const Tidegate__V1__SaleItem *left = *(Tidegate__V1__SaleItem *const *)a;
    const Tidegate__V1__SaleItem *right = *(Tidegate__V1__SaleItem *const *)b;
    int order = strcmp(left->sku, right->sku);
    return order ? order : (left > right) - (left < right);
}

/* Sorted by SKU, twins lie side by side, the one that stands first in the file first. */
static bool skus_are_unique(const struct ctl_node *node, const struct ctl_salefile *file)
{
    size_t count = file->request.n_items;
    Tidegate__V1__SaleItem **sorted = malloc(count * sizeof(*sorted));
    if (!sorted)
        ctl_out_of_memory();
    memcpy(sorted, file->item_list, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_skus);
    bool unique = true;
    for (size_t i = 1; i < count && unique; i++) {
        if (strcmp(sorted[i - 1]->sku, sorted[i]->sku) != 0)
            continue;
        char key[48];
        snprintf(key, sizeof(key), "items[%td].sku", sorted[i] - file->items);
        unique = ctl_node_wrong(node, key, "\"%s\" stands already in items[%td]", sorted[i]->sku,
                                sorted[i - 1] - file->items);
    }
    free(sorted);
    return unique;
}

static bool read_items(const struct ctl_node *node, struct ctl_salefile *file)
{
    const json_t *array = ctl_get_array(node, "items", 1, TG_SALE_ITEMS_MAX);
    if (!array)
        return false;
    size_t count = json_array_size(array);
    file->items = calloc(count, sizeof(file->items[0]));
    file->item_list = calloc(count, sizeof(file->item_list[0]));
    if (!file->items || !file->item_list)
        ctl_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        struct ctl_node item_node;
        if (!ctl_node_element(node, "items", array, i, &item_node))
            return false;
        tidegate__v1__sale_item__init(&file->items[i]);
        file->item_list[i] = &file->items[i];
        file->request.n_items = i + 1; /* what ctl_salefile_free looks through */
        if (!read_item(&item_node, file, &file->items[i]))
            return false;
    }
    file->request.items = file->item_list;
    return skus_are_unique(node, file);
}

enum tg_error ctl_salefile_parse(struct ctl_salefile *file, const char *name, const char *text,
                                 size_t text_bytes, int64_t now_ms, struct tg_fault *fault)
{
    struct tg_fault own_fault;
    json_error_t error;
    *file = (struct ctl_salefile){
        .request = TIDEGATE__V1__CREATE_SALE_REQUEST__INIT,
        .sale = TIDEGATE__V1__SALE__INIT,
    };
    file->root = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!file->root)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s: line %d, column %d: %s", name, error.line,
                            error.column, error.text);
    struct ctl_node node = {
        .file = name,
        .kind = "a sale file",
        .object = file->root,
        .now_ms = now_ms,
        .relative_times = &file->relative_times,
        .fault = fault ? fault : &own_fault,
    };
    if (!json_is_object(file->root)) {
        ctl_salefile_free(file);
        return tg_fault_set(fault, TG_ERR_INVALID, "%s: must hold one JSON object {...}", name);
    }
    if (!read_sale(&node, file) || !read_items(&node, file)) {
        ctl_salefile_free(file);
        return TG_ERR_INVALID;
    }
    file->request.sale = &file->sale;
    return TG_ERR_OK;
}

void ctl_salefile_free(struct ctl_salefile *file)
{
    for (size_t i = 0; i < file->request.n_items; i++)
        free(file->items[i].ladder);
    free(file->items);
    free(file->item_list);
    json_decref(file->root);
    *file = (struct ctl_salefile){0};
}
