/* Rows of sales, items, stock, orders and adjustments; rows_life.c has what came with format 2. */
#include "storage/rows.h"

#include "base/assert.h"
#include "proto/verdict.h"
#include "storage/rowbytes.h"

/* --- sales --- */

static bool team_rules_fit(const struct tg_team_rules *team)
{
    bool completes = team->at_deadline == TG_DEADLINE_AUTO_COMPLETE;
    return team->team_size >= 2 && team->team_size <= TG_TEAM_SIZE_MAX &&
           (completes || team->at_deadline == TG_DEADLINE_FAIL) &&
           (completes ? team->team_size_min >= 1 && team->team_size_min <= team->team_size
                      : team->team_size_min == 0) &&
           team->team_lifetime_s >= TG_TEAM_LIFETIME_S_MIN &&
           team->team_lifetime_s <= TG_TEAM_LIFETIME_S_MAX;
}

static bool sale_rules_fit(const struct tg_sale_def *def)
{
    if (def->share_count > TG_CHANNEL_SHARES_MAX ||
        def->announced > (TG_ANNOUNCED_START | TG_ANNOUNCED_END))
        return false;
    for (uint8_t i = 0; i < def->share_count; i++) {
        if (def->shares[i].percent < 1 || def->shares[i].percent > 100)
            return false;
    }
    return (def->kind == TG_SALE_GROUP_BUY
                ? team_rules_fit(&def->team)
                : def->kind == TG_SALE_SECKILL && def->team.team_size == 0) &&
           def->payment_window_s >= 1 && def->payment_window_s <= TG_PAYMENT_WINDOW_S_MAX &&
           sto_amount_fits(def->refund_auto_max_minor);
}

static bool sale_fits(const struct tg_sale_def *def)
{
    return def->sale_id != 0 && sto_currency_fits(def->currency) &&
           (def->state == TG_SALE_ACTIVE || def->state == TG_SALE_PAUSED ||
            def->state == TG_SALE_CLOSED) &&
           def->name_bytes >= 1 && def->name_bytes <= TG_SALE_NAME_BYTES_MAX &&
           sto_time_fits(def->starts_at_ms) && sto_time_fits(def->ends_at_ms) &&
           def->starts_at_ms < def->ends_at_ms && def->item_count >= 1 &&
           def->item_count <= TG_SALE_ITEMS_MAX && sale_rules_fit(def);
}

static void sale_rules_put(uint8_t *bytes, const struct tg_sale_def *def)
{
    PUT(bytes, 40, def->payment_window_s);
    PUT(bytes, 44, def->team.team_lifetime_s);
    PUT(bytes, 48, def->refund_auto_max_minor);
    PUT(bytes, 56, def->team.teams_per_user_max);
    bytes[60] = def->team.team_size;
    bytes[61] = def->team.team_size_min;
    bytes[62] = def->team.at_deadline;
    bytes[63] = def->team.new_buyers_only;
    bytes[64] = def->announced;
    bytes[65] = def->share_count;
}

void sto_row_sale_encode(void *row, const struct tg_sale_def *def)
{
    tg_assert(sale_fits(def));
    uint8_t *bytes = row;
    bytes[4] = 2;
    bytes[5] = def->kind;
    bytes[6] = def->state;
    bytes[7] = def->name_bytes;
    PUT(row, 8, def->sale_id);
    PUT(row, 16, def->starts_at_ms);
    PUT(row, 24, def->ends_at_ms);
    PUT(row, 32, def->item_count);
    PUT(row, 36, def->currency);
    bytes[39] = 0;
    sale_rules_put(bytes, def);
    memcpy(bytes + STO_SALE_ROW_BYTES, def->name, def->name_bytes);
    uint8_t *share = bytes + STO_SALE_ROW_BYTES + def->name_bytes;
    for (uint8_t i = 0; i < def->share_count; i++, share += STO_SALE_SHARE_BYTES) {
        PUT(share, 0, def->shares[i].channel);
        PUT(share, 2, def->shares[i].percent);
    }
    sto_row_seal(row, sto_row_sale_bytes(def), &def->sale, sizeof(def->sale));
}

/* What version 2 has behind the fixed part of version 1. False when the row is shorter. */
static bool sale_rules_get(const uint8_t *bytes, size_t size, struct tg_sale_def *def)
{
    if (size < STO_SALE_ROW_BYTES || bytes[65] > TG_CHANNEL_SHARES_MAX)
        return false;
    GET(bytes, 40, def->payment_window_s);
    GET(bytes, 44, def->team.team_lifetime_s);
    GET(bytes, 48, def->refund_auto_max_minor);
    GET(bytes, 56, def->team.teams_per_user_max);
    def->team.team_size = bytes[60];
    def->team.team_size_min = bytes[61];
    def->team.at_deadline = bytes[62];
    def->team.new_buyers_only = bytes[63];
    def->announced = bytes[64];
    def->share_count = bytes[65];
    return true;
}

static bool sale_shares_get(struct sto_row_part *part, struct tg_sale_def *def)
{
    for (uint8_t i = 0; i < def->share_count; i++) {
        struct tg_channel_share *share = &def->shares[i];
        if (!sto_row_take(part, &share->channel, sizeof(share->channel)) ||
            !sto_row_take(part, &share->percent, sizeof(share->percent)))
            return false;
    }
    return true;
}

const char *sto_row_sale_decode(const void *row, size_t size, uint32_t sale,
                                struct tg_sale_def *def)
{
    const char *problem = sto_row_check(row, size, STO_SALE_ROW_1_BYTES + 1, STO_SALE_ROW_BYTES_MAX,
                                        2, &sale, sizeof(sale));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    *def = (struct tg_sale_def){.sale = sale,
                                .kind = bytes[5],
                                .state = bytes[6],
                                .name_bytes = bytes[7],
                                .payment_window_s = STO_ROW_1_PAYMENT_WINDOW_S,
                                .announced = TG_ANNOUNCED_START | TG_ANNOUNCED_END};
    size_t fixed = bytes[4] == 1 ? STO_SALE_ROW_1_BYTES : STO_SALE_ROW_BYTES;
    if (bytes[4] == 2 && !sale_rules_get(bytes, size, def))
        return STO_WRONG_SIZE;
    GET(row, 8, def->sale_id);
    GET(row, 16, def->starts_at_ms);
    GET(row, 24, def->ends_at_ms);
    GET(row, 32, def->item_count);
    GET(row, 36, def->currency);
    struct sto_row_part part = {bytes + fixed, size - fixed};
    if (def->name_bytes > TG_SALE_NAME_BYTES_MAX ||
        !sto_row_take(&part, def->name, def->name_bytes) || !sale_shares_get(&part, def) ||
        part.left != 0)
        return STO_WRONG_SIZE;
    return sale_fits(def) && (bytes[4] == 1 || bytes[63] <= 1) ? NULL : STO_WRONG_RANGE;
}

/* --- items --- */

static bool ladder_fits(const struct tg_item_def *item)
{
    if (item->ladder_steps > TG_LADDER_STEPS_MAX)
        return false;
    uint32_t size = 1;
    int64_t price_minor = item->sale_price_minor;
    for (uint8_t i = 0; i < item->ladder_steps; i++) {
        const struct tg_ladder_step *step = &item->ladder[i];
        if (step->size <= size || step->size > TG_TEAM_SIZE_MAX || step->unit_price_minor < 0 ||
            step->unit_price_minor >= price_minor)
            return false;
        size = step->size;
        price_minor = step->unit_price_minor;
    }
    return true;
}

static bool item_fits(const struct tg_item_def *item)
{
    return item->sku_bytes >= 1 && item->sku_bytes <= TG_SKU_BYTES_MAX &&
           item->stock_policy >= TG_POLICY_RESERVE && item->stock_policy <= TG_POLICY_ON_PAYMENT &&
           sto_price_fits(item->list_price_minor) && sto_price_fits(item->sale_price_minor) &&
           sto_price_fits(item->captain_price_minor) &&
           item->low_stock_units <= TG_STOCK_UNITS_MAX && ladder_fits(item);
}

void sto_row_item_encode(void *row, uint32_t sale, const struct tg_item_def *item)
{
    tg_assert(item_fits(item));
    uint8_t *bytes = row;
    size_t fixed = sto_item_fixed_bytes(item);
    bytes[4] = fixed == STO_ITEM_ROW_BYTES ? 3 : 2;
    bytes[5] = item->sku_bytes;
    bytes[6] = item->stock_policy;
    bytes[7] = item->ladder_steps;
    PUT(row, 8, sale);
    PUT(row, 12, item->per_user_limit);
    PUT(row, 16, item->per_order_max);
    PUT(row, 20, item->list_price_minor);
    PUT(row, 28, item->sale_price_minor);
    PUT(row, 36, item->captain_price_minor);
    if (bytes[4] == 3)
        PUT(row, 44, item->low_stock_units);
    memcpy(bytes + fixed, item->sku, item->sku_bytes);
    uint8_t *step = bytes + fixed + item->sku_bytes;
    for (uint8_t i = 0; i < item->ladder_steps; i++, step += STO_ITEM_STEP_BYTES) {
        PUT(step, 0, item->ladder[i].size);
        PUT(step, 4, item->ladder[i].unit_price_minor);
    }
    sto_row_seal(row, sto_row_item_bytes(item), &item->item, sizeof(item->item));
}

static bool item_ladder_get(struct sto_row_part *part, struct tg_item_def *item)
{
    if (item->ladder_steps > TG_LADDER_STEPS_MAX)
        return false;
    for (uint8_t i = 0; i < item->ladder_steps; i++) {
        struct tg_ladder_step *step = &item->ladder[i];
        if (!sto_row_take(part, &step->size, sizeof(step->size)) ||
            !sto_row_take(part, &step->unit_price_minor, sizeof(step->unit_price_minor)))
            return false;
    }
    return true;
}

const char *sto_row_item_decode(const void *row, size_t size, uint32_t number, uint32_t *sale,
                                struct tg_item_def *item)
{
    const char *problem = sto_row_check(row, size, STO_ITEM_ROW_1_BYTES + 1, STO_ITEM_ROW_BYTES_MAX,
                                        3, &number, sizeof(number));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    *item = (struct tg_item_def){
        .item = number, .sku_bytes = bytes[5], .stock_policy = TG_POLICY_RESERVE};
    static const size_t fixed_of[] = {0, STO_ITEM_ROW_1_BYTES, STO_ITEM_ROW_2_BYTES,
                                      STO_ITEM_ROW_BYTES};
    size_t fixed = fixed_of[bytes[4]];
    if (size < fixed)
        return STO_WRONG_SIZE;
    if (bytes[4] >= 2) {
        item->stock_policy = bytes[6];
        item->ladder_steps = bytes[7];
        GET(row, 36, item->captain_price_minor);
    }
    if (bytes[4] == 3)
        GET(row, 44, item->low_stock_units);
    GET(row, 8, *sale);
    GET(row, 12, item->per_user_limit);
    GET(row, 16, item->per_order_max);
    GET(row, 20, item->list_price_minor);
    GET(row, 28, item->sale_price_minor);
    struct sto_row_part part = {bytes + fixed, size - fixed};
    if (item->sku_bytes > TG_SKU_BYTES_MAX || !sto_row_take(&part, item->sku, item->sku_bytes) ||
        !item_ladder_get(&part, item) || part.left != 0)
        return STO_WRONG_SIZE;
    bool says_more = bytes[4] < 3 || item->low_stock_units > 0; /* or it would be of version 2 */
    return item_fits(item) && says_more ? NULL : STO_WRONG_RANGE;
}

/* --- stock --- */

void sto_row_stock_encode(void *row, uint32_t item, const struct tg_stock *stock)
{
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = bytes[6] = bytes[7] = 0;
    PUT(row, 8, stock->initial_units);
    PUT(row, 12, stock->available_units);
    PUT(row, 16, stock->reserved_units);
    PUT(row, 20, stock->sold_units);
    PUT(row, 24, stock->restocked_units);
    sto_row_seal(row, STO_STOCK_ROW_BYTES, &item, sizeof(item));
}

const char *sto_row_stock_decode(const void *row, size_t size, uint32_t item,
                                 struct tg_stock *stock)
{
    const char *problem =
        sto_row_check(row, size, STO_STOCK_ROW_BYTES, STO_STOCK_ROW_BYTES, 1, &item, sizeof(item));
    if (problem)
        return problem;
    GET(row, 8, stock->initial_units);
    GET(row, 12, stock->available_units);
    GET(row, 16, stock->reserved_units);
    GET(row, 20, stock->sold_units);
    GET(row, 24, stock->restocked_units);
    return NULL;
}

/* --- the stock log --- */

static size_t log_entry_at(uint32_t entry)
{
    return STO_LOG_ROW_BYTES + (size_t)entry * STO_LOG_ENTRY_BYTES;
}

void sto_row_log_put(void *row, uint32_t entry, uint32_t item, const struct tg_stock *stock)
{
    size_t at = log_entry_at(entry);
    PUT(row, at, item);
    PUT(row, at + 4, stock->available_units);
    PUT(row, at + 8, stock->reserved_units);
    PUT(row, at + 12, stock->sold_units);
    PUT(row, at + 16, stock->restocked_units);
}

void sto_row_log_seal(void *row, uint64_t number, uint32_t entries)
{
    uint8_t *bytes = row;
    tg_assert(entries >= 1 && entries <= STO_LOG_ENTRIES_MAX);
    bytes[4] = 1;
    bytes[5] = bytes[6] = bytes[7] = 0;
    sto_row_seal(row, sto_row_log_bytes(entries), &number, sizeof(number));
}

const char *sto_row_log_check(const void *row, size_t size, uint64_t number, uint32_t *entries)
{
    const char *problem =
        sto_row_check(row, size, sto_row_log_bytes(1), sto_row_log_bytes(STO_LOG_ENTRIES_MAX), 1,
                      &number, sizeof(number));
    if (problem)
        return problem;
    if ((size - STO_LOG_ROW_BYTES) % STO_LOG_ENTRY_BYTES != 0)
        return STO_WRONG_SIZE;
    *entries = (uint32_t)((size - STO_LOG_ROW_BYTES) / STO_LOG_ENTRY_BYTES);
    return NULL;
}

void sto_row_log_get(const void *row, uint32_t entry, uint32_t *item, struct tg_stock *stock)
{
    size_t at = log_entry_at(entry);
    *stock = (struct tg_stock){0};
    GET(row, at, *item);
    GET(row, at + 4, stock->available_units);
    GET(row, at + 8, stock->reserved_units);
    GET(row, at + 12, stock->sold_units);
    GET(row, at + 16, stock->restocked_units);
}

/* --- orders --- */

/* Byte 5 of a plain order. It was the order's state while rows said so; it never had another. */
#define PLAIN_MARK 1

static const char wrong_partition[] = "its id names another partition than its item";

static bool quantity_fits(uint32_t quantity)
{
    return quantity >= 1 && quantity <= TG_QUANTITY_MAX;
}

static bool plain_fits(uint32_t quantity, int64_t unit_price_minor, int64_t accepted_at_ms)
{
    return quantity_fits(quantity) && sto_price_fits(unit_price_minor) &&
           sto_time_fits(accepted_at_ms);
}

void sto_row_plain_encode(void *row, const struct tg_record *record)
{
    tg_assert(plain_fits(record->order.quantity, record->order.unit_price_minor, record->at_ms));
    tg_assert(record->order.external_bytes <= TG_EXTERNAL_BYTES_MAX);
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = PLAIN_MARK;
    PUT(row, 6, record->order.channel);
    PUT(row, 8, record->item);
    PUT(row, 12, record->order.quantity);
    PUT(row, 16, record->order.request_id);
    PUT(row, 32, record->order.user_id);
    PUT(row, 40, record->order.unit_price_minor);
    PUT(row, 48, record->at_ms);
    memcpy(bytes + STO_ORDER_ROW_BYTES, record->order.external_id, record->order.external_bytes);
    sto_row_seal(row, sto_row_plain_bytes(record), &record->order_id, sizeof(record->order_id));
}

/* A cart says in its head what its lines add up to. */
static bool cart_fits(const struct tg_order_row *order)
{
    uint32_t quantity = 0;
    int64_t amount_minor = 0;
    if (order->line_count < 1 || order->line_count > TG_ORDER_LINES_MAX ||
        order->unit_price_minor != 0 || order->item != order->lines[0].item)
        return false;
    for (uint8_t i = 0; i < order->line_count; i++) {
        const struct tg_line *line = &order->lines[i];
        if (!quantity_fits(line->quantity) || !sto_price_fits(line->unit_price_minor))
            return false;
        quantity += line->quantity;
        amount_minor += line->quantity * line->unit_price_minor;
        if (amount_minor > TG_AMOUNT_MINOR_MAX)
            return false;
    }
    return quantity == order->quantity;
}

static bool order_fits(const struct tg_order_row *order)
{
    const uint8_t known = TG_ORDER_CAPTAIN | TG_ORDER_JOINER | TG_ORDER_CART | TG_ORDER_INGESTED;
    const uint8_t in_team = order->flags & (TG_ORDER_CAPTAIN | TG_ORDER_JOINER);
    if (order->flags & ~known || in_team == (TG_ORDER_CAPTAIN | TG_ORDER_JOINER) ||
        order->external_bytes > TG_EXTERNAL_BYTES_MAX || !sto_time_fits(order->accepted_at_ms) ||
        (in_team == 0) != (order->team_id == 0))
        return false;
    return order->flags & TG_ORDER_CART
               ? cart_fits(order)
               : order->line_count == 0 &&
                     plain_fits(order->quantity, order->unit_price_minor, order->accepted_at_ms);
}

/* Only an order in a group-buy may lie in its sale's partition instead of its item's. */
static bool partition_fits(const struct tg_order_row *order)
{
    return order->flags & ~TG_ORDER_CART ||
           order->order_id % TG_PARTITIONS == order->item % TG_PARTITIONS;
}

/* The sections of version 2, behind the fixed part that both share. */
static void order_sections_put(uint8_t *bytes, const struct tg_order_row *order)
{
    bytes[56] = order->external_bytes;
    bytes[57] = order->line_count;
    uint8_t *at = bytes + STO_ORDER_ROW_2_BYTES;
    memcpy(at, order->external_id, order->external_bytes);
    at += order->external_bytes;
    if (order->flags & TG_ORDER_JOINER) {
        PUT(at, 0, order->team_id);
        at += sizeof(order->team_id);
    }
    for (uint8_t i = 0; i < order->line_count; i++, at += STO_ORDER_LINE_BYTES) {
        PUT(at, 0, order->lines[i].item);
        PUT(at, 4, order->lines[i].quantity);
        PUT(at, 8, order->lines[i].unit_price_minor);
    }
}

void sto_row_order_encode(void *row, const struct tg_order_row *order)
{
    tg_assert(order_fits(order) && partition_fits(order));
    uint8_t *bytes = row;
    bytes[4] = order->flags ? 2 : 1;
    bytes[5] = order->flags ? order->flags : PLAIN_MARK;
    PUT(row, 6, order->channel);
    PUT(row, 8, order->item);
    PUT(row, 12, order->quantity);
    PUT(row, 16, order->request_id);
    PUT(row, 32, order->user_id);
    PUT(row, 40, order->unit_price_minor);
    PUT(row, 48, order->accepted_at_ms);
    if (order->flags)
        order_sections_put(bytes, order);
    else
        memcpy(bytes + STO_ORDER_ROW_BYTES, order->external_id, order->external_bytes);
    sto_row_seal(row, sto_row_order_bytes(order), &order->order_id, sizeof(order->order_id));
}

static bool order_lines_get(struct sto_row_part *part, struct tg_order_row *order)
{
    for (uint8_t i = 0; i < order->line_count; i++) {
        struct tg_line *line = &order->lines[i];
        if (!sto_row_take(part, &line->item, sizeof(line->item)) ||
            !sto_row_take(part, &line->quantity, sizeof(line->quantity)) ||
            !sto_row_take(part, &line->unit_price_minor, sizeof(line->unit_price_minor)))
            return false;
    }
    return true;
}

/* Everything behind the fixed part; false when it does not end with the row. */
static bool order_sections_get(const uint8_t *bytes, size_t size, struct tg_order_row *order)
{
    struct sto_row_part part = {bytes + STO_ORDER_ROW_BYTES, size - STO_ORDER_ROW_BYTES};
    order->flags = 0;
    order->team_id = 0;
    order->line_count = 0;
    order->external_bytes = (uint8_t)part.left;
    if (bytes[4] == 2) {
        order->flags = bytes[5];
        if (!sto_row_take(&part, &order->external_bytes, 1) ||
            !sto_row_take(&part, &order->line_count, 1))
            return false;
    }
    memset(order->external_id, 0, sizeof(order->external_id));
    if (order->external_bytes > TG_EXTERNAL_BYTES_MAX || order->line_count > TG_ORDER_LINES_MAX ||
        !sto_row_take(&part, order->external_id, order->external_bytes))
        return false;
    if (order->flags & TG_ORDER_CAPTAIN)
        order->team_id = order->order_id;
    if (order->flags & TG_ORDER_JOINER &&
        !sto_row_take(&part, &order->team_id, sizeof(order->team_id)))
        return false;
    return order_lines_get(&part, order) && part.left == 0;
}

const char *sto_row_order_decode(const void *row, size_t size, uint64_t order_id,
                                 struct tg_order_row *order)
{
    const char *problem = sto_row_check(row, size, STO_ORDER_ROW_BYTES, STO_ORDER_ROW_BYTES_MAX, 2,
                                        &order_id, sizeof(order_id));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    if (bytes[4] == 1 && size > STO_ORDER_ROW_BYTES + TG_EXTERNAL_BYTES_MAX)
        return STO_WRONG_SIZE;
    order->order_id = order_id;
    GET(row, 6, order->channel);
    GET(row, 8, order->item);
    GET(row, 12, order->quantity);
    GET(row, 16, order->request_id);
    GET(row, 32, order->user_id);
    GET(row, 40, order->unit_price_minor);
    GET(row, 48, order->accepted_at_ms);
    if (!order_sections_get(bytes, size, order))
        return STO_WRONG_SIZE;
    if (!order_fits(order) || (bytes[4] == 1 ? bytes[5] != PLAIN_MARK : order->flags == 0))
        return STO_WRONG_RANGE;
    return partition_fits(order) ? NULL : wrong_partition;
}

/* --- adjustments --- */

static bool adjustment_fits(int64_t delta_units, int64_t at_ms)
{
    return delta_units != 0 && delta_units >= -TG_STOCK_UNITS_MAX &&
           delta_units <= TG_STOCK_UNITS_MAX && sto_time_fits(at_ms);
}

void sto_row_adjustment_encode(void *row, uint64_t number, const struct tg_record *record)
{
    tg_assert(adjustment_fits(record->adjust.delta_units, record->at_ms));
    tg_assert(record->adjust.reason_bytes <= TG_REASON_BYTES_MAX);
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = record->adjust.reason_bytes;
    bytes[6] = bytes[7] = 0;
    PUT(row, 8, record->item);
    PUT(row, 12, record->adjust.delta_units);
    PUT(row, 20, record->at_ms);
    memcpy(bytes + STO_ADJUSTMENT_ROW_BYTES, record->adjust.reason, record->adjust.reason_bytes);
    sto_row_seal(row, sto_row_adjustment_bytes(record), &number, sizeof(number));
}

const char *sto_row_adjustment_decode(const void *row, size_t size, uint64_t number,
                                      struct sto_adjustment *adjustment)
{
    const char *problem = sto_row_check(row, size, STO_ADJUSTMENT_ROW_BYTES,
                                        STO_ADJUSTMENT_ROW_BYTES_MAX, 1, &number, sizeof(number));
    if (problem)
        return problem;
    const uint8_t *bytes = row;
    if (size != STO_ADJUSTMENT_ROW_BYTES + (size_t)bytes[5])
        return STO_WRONG_SIZE;
    *adjustment = (struct sto_adjustment){.reason_bytes = bytes[5]};
    GET(row, 8, adjustment->item);
    GET(row, 12, adjustment->delta_units);
    GET(row, 20, adjustment->at_ms);
    memcpy(adjustment->reason, bytes + STO_ADJUSTMENT_ROW_BYTES, adjustment->reason_bytes);
    return adjustment_fits(adjustment->delta_units, adjustment->at_ms) ? NULL : STO_WRONG_RANGE;
}

/* --- meta --- */

void sto_row_format_encode(void *row, uint32_t version)
{
    PUT(row, 4, version);
    sto_row_seal(row, STO_FORMAT_ROW_BYTES, STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1);
}

const char *sto_row_format_decode(const void *row, size_t size, uint32_t *version)
{
    if (size < STO_FORMAT_ROW_BYTES)
        return STO_WRONG_SIZE;
    uint32_t crc;
    GET(row, 0, crc);
    if (crc != sto_row_crc(row, size, STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1))
        return STO_WRONG_CRC;
    GET(row, 4, *version);
    return NULL;
}

void sto_row_event_first_encode(void *row, uint64_t first)
{
    tg_assert(first >= 1);
    uint8_t *bytes = row;
    bytes[4] = 1;
    bytes[5] = bytes[6] = bytes[7] = 0;
    PUT(row, 8, first);
    sto_row_seal(row, STO_EVENT_FIRST_ROW_BYTES, STO_EVENT_FIRST_KEY,
                 sizeof(STO_EVENT_FIRST_KEY) - 1);
}

const char *sto_row_event_first_decode(const void *row, size_t size, uint64_t *first)
{
    const char *problem =
        sto_row_check(row, size, STO_EVENT_FIRST_ROW_BYTES, STO_EVENT_FIRST_ROW_BYTES, 1,
                      STO_EVENT_FIRST_KEY, sizeof(STO_EVENT_FIRST_KEY) - 1);
    if (problem)
        return problem;
    GET(row, 8, *first);
    return *first >= 1 ? NULL : STO_WRONG_RANGE;
}
