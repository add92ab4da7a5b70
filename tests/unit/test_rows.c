/* Row formats: what goes in comes out, and any damage is noticed. */
#include "proto/verdict.h"
#include "storage/rowbytes.h"
#include "storage/rows.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* One row under test: its bytes, its key, and a decoder that forgets the value. It first gives what
 * it let through to the encoder, which asserts what it takes. */
struct sample {
    uint8_t row[STO_LIFE_ROW_BYTES_MAX];
    size_t size;
    uint8_t key[16];
    size_t key_bytes; /* 0: a fixed one */
    const char *(*decode)(const void *row, size_t size, const uint8_t *key);
    const char *name;
};

static uint32_t key_32(const uint8_t *key)
{
    uint32_t value;
    memcpy(&value, key, sizeof(value));
    return value;
}

static uint64_t key_64(const uint8_t *key)
{
    uint64_t value;
    memcpy(&value, key, sizeof(value));
    return value;
}

static const char *decode_sale(const void *row, size_t size, const uint8_t *key)
{
    struct tg_sale_def def;
    uint8_t again[STO_SALE_ROW_BYTES_MAX];
    const char *problem = sto_row_sale_decode(row, size, key_32(key), &def);
    if (!problem)
        sto_row_sale_encode(again, &def);
    return problem;
}

static const char *decode_item(const void *row, size_t size, const uint8_t *key)
{
    struct tg_item_def item;
    uint32_t sale;
    uint8_t again[STO_ITEM_ROW_BYTES_MAX];
    const char *problem = sto_row_item_decode(row, size, key_32(key), &sale, &item);
    if (!problem)
        sto_row_item_encode(again, sale, &item);
    return problem;
}

static const char *decode_stock(const void *row, size_t size, const uint8_t *key)
{
    struct tg_stock stock;
    return sto_row_stock_decode(row, size, key_32(key), &stock);
}

static const char *decode_order(const void *row, size_t size, const uint8_t *key)
{
    struct tg_order_row order;
    uint8_t again[STO_ORDER_ROW_BYTES_MAX];
    const char *problem = sto_row_order_decode(row, size, key_64(key), &order);
    if (!problem) {
        cr_assert_eq(sto_row_order_bytes(&order), size);
        sto_row_order_encode(again, &order);
    }
    return problem;
}

static const char *decode_life(const void *row, size_t size, const uint8_t *key)
{
    struct tg_life life;
    uint8_t again[STO_LIFE_ROW_BYTES_MAX];
    const char *problem = sto_row_life_decode(row, size, key_64(key), &life);
    if (!problem) {
        cr_assert_eq(sto_row_life_bytes(&life), size);
        sto_row_life_encode(again, key_64(key), &life);
    }
    return problem;
}

static const char *decode_event(const void *row, size_t size, const uint8_t *key)
{
    struct tg_event event;
    uint8_t again[STO_EVENT_ROW_BYTES];
    const char *problem = sto_row_event_decode(row, size, key_64(key), &event);
    if (!problem)
        sto_row_event_encode(again, &event);
    return problem;
}

static const char *decode_team(const void *row, size_t size, const uint8_t *key)
{
    struct tg_team team;
    uint8_t again[STO_TEAM_ROW_BYTES_MAX];
    const char *problem = sto_row_team_decode(row, size, key_64(key), &team);
    if (!problem) {
        cr_assert_eq(sto_row_team_bytes(&team), size);
        sto_row_team_encode(again, &team);
    }
    return problem;
}

static const char *decode_ingested(const void *row, size_t size, const uint8_t *key)
{
    uint64_t order_id;
    return sto_row_ingested_decode(row, size, key, &order_id);
}

static const char *decode_group(const void *row, size_t size, const uint8_t *key)
{
    struct tg_group group;
    return sto_row_group_decode(row, size, key, 5, &group);
}

static const char *decode_adjustment(const void *row, size_t size, const uint8_t *key)
{
    struct sto_adjustment adjustment;
    return sto_row_adjustment_decode(row, size, key_64(key), &adjustment);
}

static const char *decode_format(const void *row, size_t size, const uint8_t *key)
{
    (void)key;
    uint32_t version;
    return sto_row_format_decode(row, size, &version);
}

static const char *decode_event_first(const void *row, size_t size, const uint8_t *key)
{
    (void)key;
    uint64_t first;
    return sto_row_event_first_decode(row, size, &first);
}

static struct tg_sale_def sale_def(void)
{
    return (struct tg_sale_def){.sale_id = 0xfedcba9876543210,
                                .sale = 7,
                                .kind = TG_SALE_SECKILL,
                                .state = TG_SALE_PAUSED,
                                .name_bytes = 11,
                                .name = "Double Nine",
                                .currency = "EUR",
                                .starts_at_ms = 1,
                                .ends_at_ms = TG_TIME_MS_MAX,
                                .payment_window_s = 77,
                                .refund_auto_max_minor = TG_AMOUNT_MINOR_MAX,
                                .announced = TG_ANNOUNCED_START,
                                .share_count = 2,
                                .shares = {{65535, 100}, {2, 1}},
                                .item_count = TG_SALE_ITEMS_MAX};
}

static struct tg_sale_def team_sale_def(void)
{
    struct tg_sale_def def = sale_def();
    def.kind = TG_SALE_GROUP_BUY;
    def.team = (struct tg_team_rules){.team_size = 5,
                                      .team_size_min = 3,
                                      .at_deadline = TG_DEADLINE_AUTO_COMPLETE,
                                      .new_buyers_only = true,
                                      .team_lifetime_s = 3600,
                                      .teams_per_user_max = 9};
    return def;
}

static struct tg_item_def item_def(void)
{
    return (struct tg_item_def){.item = 123456,
                                .sku_bytes = 13,
                                .sku = "A01-001-M-BLU",
                                .list_price_minor = TG_PRICE_MINOR_MAX,
                                .sale_price_minor = 99,
                                .per_user_limit = 2,
                                .per_order_max = UINT32_MAX,
                                .stock_policy = TG_POLICY_ON_PAYMENT,
                                .captain_price_minor = 50,
                                .low_stock_units = TG_STOCK_UNITS_MAX,
                                .ladder_steps = 2,
                                .ladder = {{2, 90}, {100, 0}}};
}

static struct tg_record order_record(uint8_t external_bytes)
{
    struct tg_record record = {.kind = TG_RECORD_ORDER,
                               .item = 2049,
                               .order_id = (77ull << TG_PARTITION_BITS) | 1,
                               .at_ms = 1763800000000,
                               .order = {.user_id = UINT64_MAX,
                                         .channel = 65535,
                                         .unit_price_minor = 129900,
                                         .quantity = TG_QUANTITY_MAX,
                                         .external_bytes = external_bytes}};
    memset(record.order.request_id, 0xa5, sizeof(record.order.request_id));
    memset(record.order.external_id, 0x5a, external_bytes);
    return record;
}

static struct tg_record adjust_record(void)
{
    return (struct tg_record){
        .kind = TG_RECORD_ADJUST,
        .item = 9,
        .at_ms = 42,
        .adjust = {.delta_units = -TG_STOCK_UNITS_MAX, .reason_bytes = 9, .reason = "recounted"}};
}

#define ORDER_ID ((77ull << TG_PARTITION_BITS) | 1)

/* Every section that an order can have, as `flags` say. */
static void order_fill(struct tg_order_row *order, uint8_t flags, uint8_t external_bytes)
{
    memset(order, 0, sizeof(*order));
    order->order_id = ORDER_ID;
    memset(order->request_id, 0xa5, sizeof(order->request_id));
    order->user_id = UINT64_MAX;
    order->unit_price_minor = 129900;
    order->accepted_at_ms = TG_TIME_MS_MAX;
    order->item = 2049;
    order->quantity = TG_QUANTITY_MAX;
    order->channel = 65535;
    order->flags = flags;
    order->external_bytes = external_bytes;
    memset(order->external_id, 0x5a, external_bytes);
    if (flags & TG_ORDER_CAPTAIN)
        order->team_id = ORDER_ID;
    if (flags & TG_ORDER_JOINER)
        order->team_id = ORDER_ID - TG_PARTITIONS;
    if (!(flags & TG_ORDER_CART))
        return;
    order->unit_price_minor = 0;
    order->quantity = 0;
    order->line_count = TG_ORDER_LINES_MAX;
    for (uint8_t i = 0; i < order->line_count; i++) {
        order->lines[i].item = 2049u + i;
        order->lines[i].quantity = 1u + i;
        order->lines[i].unit_price_minor = 1000 + i;
        order->quantity += order->lines[i].quantity;
    }
}

static void life_parts_fill(struct tg_life *life, uint8_t parts)
{
    life->command_count = life->payment_count = life->refund_count = parts;
    for (uint8_t i = 0; i < parts; i++) {
        struct tg_command_seen *command = &life->commands[i];
        memset(command->request_id, i, sizeof(command->request_id));
        command->fingerprint = UINT64_MAX - i;
        command->verdict = (uint8_t)(TG_VERDICT_COUNT - 1 - i);
        command->refund_number = i;
        struct tg_payment *payment = &life->payments[i];
        payment->amount_minor = TG_AMOUNT_MINOR_MAX - i;
        payment->paid_at_ms = 1000 + i;
        payment->recorded_at_ms = 2000 + i;
        payment->channel = (uint16_t)(65535 - i);
        memcpy(payment->currency, "EUR", 3);
        payment->status = (uint8_t)(1 + i % TG_PAYMENT_REFUSED_CURRENCY);
        payment->id_bytes = (uint8_t)(TG_PAYMENT_ID_BYTES_MAX - i);
        memset(payment->id, 'p', payment->id_bytes);
        struct tg_refund *refund = &life->refunds[i];
        refund->amount_minor = 1 + i;
        refund->requested_at_ms = 3000 + i;
        refund->decided_at_ms = 4000 + i;
        refund->refunded_at_ms = 5000 + i;
        refund->cause = (uint8_t)(1 + i % TG_REFUND_LADDER);
        refund->status = (uint8_t)(1 + i % TG_REFUND_REFUNDED);
        refund->restock = i % 2;
        refund->reason_bytes = (uint8_t)(TG_REFUND_REASON_BYTES_MAX - 4 * i);
        memset(refund->reason, 'r', refund->reason_bytes);
        refund->reference_bytes = (uint8_t)(2 * i);
        memset(refund->reference, 'f', refund->reference_bytes);
    }
}

/* With so many commands, payments and refunds. */
static void life_fill(struct tg_life *life, uint8_t parts)
{
    memset(life, 0, sizeof(*life));
    life->state = TG_ORDER_REFUNDED;
    life->units = TG_UNITS_SOLD;
    life->cancelled_by = TG_CANCELLED_BY_TEAM;
    life->version = UINT32_MAX;
    life->last_event = 1234567;
    life->amount_minor = 101;
    life->received_minor = TG_AMOUNT_MINOR_MAX;
    life->refund_due_minor = 102;
    life->refunded_minor = 103;
    life->payment_deadline_ms = TG_TIME_MS_MAX;
    life->paid_at_ms = 104;
    life->confirmed_at_ms = 105;
    life->shipped_at_ms = 106;
    life->delivered_at_ms = 107;
    life->completed_at_ms = 108;
    life->ended_at_ms = 109;
    life->refunded_at_ms = 110;
    life_parts_fill(life, parts);
}

static void team_fill(struct tg_team *team, uint8_t seats)
{
    memset(team, 0, sizeof(*team));
    team->team_id = ORDER_ID;
    team->opener_user_id = 3;
    team->captain_order_id = ORDER_ID + TG_PARTITIONS;
    team->item = 2049;
    team->state = TG_TEAM_DISSOLVED;
    team->size = TG_TEAM_SIZE_MAX;
    team->seat_count = seats;
    team->auto_completed = true;
    team->opened_at_ms = 4;
    team->deadline_ms = 5;
    team->ended_at_ms = 6;
    team->unit_price_minor = TG_PRICE_MINOR_MAX;
    for (uint8_t i = 0; i < seats; i++) {
        team->seats[i].order_id = ORDER_ID + i;
        team->seats[i].user_id = UINT64_MAX - i;
        team->seats[i].joined_at_ms = 100 + i;
        team->seats[i].paid_at_ms = 200 + i;
    }
}

static const struct tg_event order_event = {.sequence = 99,
                                            .order_id = ORDER_ID,
                                            .team_id = 55,
                                            .at_ms = 7,
                                            .amount_minor = TG_AMOUNT_MINOR_MAX,
                                            .type = TG_EVENT_REFUND_DUE,
                                            .refund_number = TG_ORDER_REFUNDS_MAX};

static const struct tg_event sale_event = {
    .sequence = 99, .sale_id = 1001, .at_ms = 7, .type = TG_EVENT_SALE_ENDED};

static const struct tg_group group_value = {.name_bytes = 5,
                                            .name = "erp-1",
                                            .offset = UINT64_MAX,
                                            .created_at_ms = 8,
                                            .acked_at_ms = TG_TIME_MS_MAX};

static const uint8_t request_id[TG_REQUEST_ID_BYTES] = "sixteen bytes id";

/* --- one sample of every row --- */

struct samples {
    struct sample of[24];
    int count;
};

static uint8_t *sample_add(struct samples *samples, const char *name, const void *key,
                           size_t key_bytes, size_t size,
                           const char *(*decode)(const void *, size_t, const uint8_t *))
{
    struct sample *sample = &samples->of[samples->count++];
    cr_assert_leq(samples->count, 24);
    *sample = (struct sample){.size = size, .key_bytes = key_bytes, .decode = decode, .name = name};
    if (key_bytes)
        memcpy(sample->key, key, key_bytes);
    return sample->row;
}

static void sample_order(struct samples *samples, uint8_t flags, uint8_t external_bytes)
{
    struct tg_order_row order;
    order_fill(&order, flags, external_bytes);
    sto_row_order_encode(
        sample_add(samples, "order", &order.order_id, 8, sto_row_order_bytes(&order), decode_order),
        &order);
}

static void sample_life(struct samples *samples, uint8_t parts)
{
    struct tg_life life;
    uint64_t order_id = ORDER_ID;
    life_fill(&life, parts);
    sto_row_life_encode(
        sample_add(samples, "life", &order_id, 8, sto_row_life_bytes(&life), decode_life), order_id,
        &life);
}

static void sample_team(struct samples *samples, uint8_t seats)
{
    struct tg_team team;
    team_fill(&team, seats);
    sto_row_team_encode(
        sample_add(samples, "team", &team.team_id, 8, sto_row_team_bytes(&team), decode_team),
        &team);
}

static void samples_of_format_1(struct samples *samples)
{
    struct tg_sale_def sale = sale_def(), team_sale = team_sale_def();
    struct tg_item_def item = item_def(), plain = item_def();
    struct tg_stock stock = {10, 4, 5, 6, 5};
    struct tg_record bare = order_record(0), full = order_record(TG_EXTERNAL_BYTES_MAX);
    struct tg_record adjust = adjust_record();
    const uint64_t number = 12;
    sto_row_sale_encode(
        sample_add(samples, "sale", &sale.sale, 4, sto_row_sale_bytes(&sale), decode_sale), &sale);
    sto_row_sale_encode(sample_add(samples, "group-buy", &team_sale.sale, 4,
                                   sto_row_sale_bytes(&team_sale), decode_sale),
                        &team_sale);
    sto_row_item_encode(
        sample_add(samples, "item", &item.item, 4, sto_row_item_bytes(&item), decode_item), 7,
        &item);
    plain.low_stock_units = 0;
    sto_row_item_encode(
        sample_add(samples, "plain item", &plain.item, 4, sto_row_item_bytes(&plain), decode_item),
        7, &plain);
    sto_row_stock_encode(
        sample_add(samples, "stock", &item.item, 4, STO_STOCK_ROW_BYTES, decode_stock), item.item,
        &stock);
    sto_row_plain_encode(sample_add(samples, "bare order", &bare.order_id, 8,
                                    sto_row_plain_bytes(&bare), decode_order),
                         &bare);
    sto_row_plain_encode(sample_add(samples, "full order", &full.order_id, 8,
                                    sto_row_plain_bytes(&full), decode_order),
                         &full);
    sto_row_adjustment_encode(sample_add(samples, "adjustment", &number, 8,
                                         sto_row_adjustment_bytes(&adjust), decode_adjustment),
                              number, &adjust);
    sto_row_format_encode(
        sample_add(samples, "format", NULL, 0, STO_FORMAT_ROW_BYTES, decode_format), 1);
}

static struct samples *samples_make(void)
{
    struct samples *samples = calloc(1, sizeof(*samples));
    samples_of_format_1(samples);
    sample_order(samples, TG_ORDER_CAPTAIN, 0);
    sample_order(samples, TG_ORDER_JOINER | TG_ORDER_INGESTED, 32);
    sample_order(samples, TG_ORDER_CART, 7);
    sample_order(samples, TG_ORDER_CART | TG_ORDER_INGESTED, 32);
    sample_life(samples, 0);
    sample_life(samples, 3);
    sample_life(samples, 16);
    sample_team(samples, 0);
    sample_team(samples, 3);
    sto_row_event_encode(
        sample_add(samples, "event", &order_event.sequence, 8, STO_EVENT_ROW_BYTES, decode_event),
        &order_event);
    sto_row_event_encode(sample_add(samples, "sale event", &sale_event.sequence, 8,
                                    STO_EVENT_ROW_BYTES, decode_event),
                         &sale_event);
    sto_row_ingested_encode(
        sample_add(samples, "ingested", request_id, 16, STO_INGESTED_ROW_BYTES, decode_ingested),
        request_id, ORDER_ID);
    sto_row_group_encode(
        sample_add(samples, "group", group_value.name, 5, STO_GROUP_ROW_BYTES, decode_group),
        &group_value);
    sto_row_event_first_encode(
        sample_add(samples, "event first", NULL, 0, STO_EVENT_FIRST_ROW_BYTES, decode_event_first),
        UINT64_MAX);
    return samples;
}

/* --- what goes in comes out --- */

Test(rows, a_sale_comes_back_as_it_was)
{
    struct tg_sale_def in = sale_def(), out;
    uint8_t row[STO_SALE_ROW_BYTES_MAX];
    sto_row_sale_encode(row, &in);
    cr_assert_null(sto_row_sale_decode(row, sto_row_sale_bytes(&in), in.sale, &out));
    cr_assert_eq(out.sale_id, in.sale_id);
    cr_assert_eq(out.sale, in.sale);
    cr_assert_eq(out.kind, in.kind);
    cr_assert_eq(out.state, in.state);
    cr_assert_eq(out.name_bytes, in.name_bytes);
    cr_assert_arr_eq(out.name, in.name, sizeof(in.name));
    cr_assert_arr_eq(out.currency, "EUR", 3);
    cr_assert_eq(out.starts_at_ms, in.starts_at_ms);
    cr_assert_eq(out.ends_at_ms, in.ends_at_ms);
    cr_assert_eq(out.item_count, in.item_count);
    cr_assert_eq(out.payment_window_s, 77);
    cr_assert_eq(out.refund_auto_max_minor, TG_AMOUNT_MINOR_MAX);
    cr_assert_eq(out.announced, TG_ANNOUNCED_START);
    cr_assert_eq(out.share_count, 2);
    cr_assert(out.shares[0].channel == 65535 && out.shares[0].percent == 100);
    cr_assert(out.shares[1].channel == 2 && out.shares[1].percent == 1);
    cr_assert_eq(out.team.team_size, 0);
}

Test(rows, the_rules_of_a_group_buy_come_back_as_they_were)
{
    struct tg_sale_def in = team_sale_def(), out;
    uint8_t row[STO_SALE_ROW_BYTES_MAX];
    sto_row_sale_encode(row, &in);
    cr_assert_null(sto_row_sale_decode(row, sto_row_sale_bytes(&in), in.sale, &out));
    cr_assert_eq(out.kind, TG_SALE_GROUP_BUY);
    cr_assert_eq(out.team.team_size, 5);
    cr_assert_eq(out.team.team_size_min, 3);
    cr_assert_eq(out.team.at_deadline, TG_DEADLINE_AUTO_COMPLETE);
    cr_assert(out.team.new_buyers_only);
    cr_assert_eq(out.team.team_lifetime_s, 3600);
    cr_assert_eq(out.team.teams_per_user_max, 9);
}

Test(rows, an_item_comes_back_as_it_was)
{
    struct tg_item_def in = item_def(), out;
    uint8_t row[STO_ITEM_ROW_BYTES_MAX];
    uint32_t sale;
    sto_row_item_encode(row, 7, &in);
    cr_assert_null(sto_row_item_decode(row, sto_row_item_bytes(&in), in.item, &sale, &out));
    cr_assert_eq(sale, 7);
    cr_assert_eq(out.item, in.item);
    cr_assert_eq(out.sku_bytes, in.sku_bytes);
    cr_assert_arr_eq(out.sku, in.sku, sizeof(in.sku));
    cr_assert_eq(out.list_price_minor, in.list_price_minor);
    cr_assert_eq(out.sale_price_minor, in.sale_price_minor);
    cr_assert_eq(out.per_user_limit, in.per_user_limit);
    cr_assert_eq(out.per_order_max, in.per_order_max);
    cr_assert_eq(out.stock_policy, TG_POLICY_ON_PAYMENT);
    cr_assert_eq(out.captain_price_minor, 50);
    cr_assert_eq(out.low_stock_units, TG_STOCK_UNITS_MAX);
    cr_assert_eq(out.ladder_steps, 2);
    cr_assert(out.ladder[0].size == 2 && out.ladder[0].unit_price_minor == 90);
    cr_assert(out.ladder[1].size == 100 && out.ladder[1].unit_price_minor == 0);
}

Test(rows, an_item_without_a_threshold_is_of_version_2)
{
    struct tg_item_def in = item_def(), out;
    uint8_t row[STO_ITEM_ROW_BYTES_MAX];
    uint32_t sale;
    in.low_stock_units = 0;
    sto_row_item_encode(row, 7, &in);
    cr_assert_eq(row[4], 2);
    cr_assert_null(sto_row_item_decode(row, sto_row_item_bytes(&in), in.item, &sale, &out));
    cr_assert_eq(out.low_stock_units, 0);
    cr_assert_eq(out.captain_price_minor, 50);
    cr_assert_arr_eq(out.sku, in.sku, sizeof(in.sku));
}

Test(rows, a_stock_comes_back_as_it_was)
{
    struct tg_stock in = {1, 2, 3, 4, -5}, out;
    uint8_t row[STO_STOCK_ROW_BYTES];
    sto_row_stock_encode(row, 3, &in);
    cr_assert_null(sto_row_stock_decode(row, sizeof(row), 3, &out));
    cr_assert_eq(out.initial_units, 1);
    cr_assert_eq(out.available_units, 2);
    cr_assert_eq(out.reserved_units, 3);
    cr_assert_eq(out.sold_units, 4);
    cr_assert_eq(out.restocked_units, -5);
}

Test(rows, an_order_comes_back_as_it_was)
{
    for (uint8_t bytes = 0; bytes <= TG_EXTERNAL_BYTES_MAX; bytes++) {
        struct tg_record in = order_record(bytes);
        struct tg_order_row out;
        uint8_t row[STO_ORDER_ROW_BYTES_MAX];
        sto_row_plain_encode(row, &in);
        cr_assert_null(sto_row_order_decode(row, sto_row_plain_bytes(&in), in.order_id, &out));
        cr_assert_eq(out.order_id, in.order_id);
        cr_assert_arr_eq(out.request_id, in.order.request_id, TG_REQUEST_ID_BYTES);
        cr_assert_eq(out.user_id, in.order.user_id);
        cr_assert_eq(out.unit_price_minor, in.order.unit_price_minor);
        cr_assert_eq(out.accepted_at_ms, in.at_ms);
        cr_assert_eq(out.item, in.item);
        cr_assert_eq(out.quantity, in.order.quantity);
        cr_assert_eq(out.channel, in.order.channel);
        cr_assert_eq(out.external_bytes, bytes);
        cr_assert_arr_eq(out.external_id, in.order.external_id, TG_EXTERNAL_BYTES_MAX);
    }
}

Test(rows, every_section_of_an_order_comes_back_as_it_was)
{
    const uint8_t flags[] = {0,
                             TG_ORDER_CAPTAIN,
                             TG_ORDER_JOINER,
                             TG_ORDER_CART,
                             TG_ORDER_INGESTED,
                             TG_ORDER_CART | TG_ORDER_INGESTED,
                             TG_ORDER_JOINER | TG_ORDER_INGESTED};
    for (size_t i = 0; i < sizeof(flags); i++) {
        for (uint8_t bytes = 0; bytes <= TG_EXTERNAL_BYTES_MAX; bytes++) {
            struct tg_order_row in, out;
            uint8_t row[STO_ORDER_ROW_BYTES_MAX];
            order_fill(&in, flags[i], bytes);
            memset(&out, 0, sizeof(out));
            sto_row_order_encode(row, &in);
            cr_assert_null(sto_row_order_decode(row, sto_row_order_bytes(&in), in.order_id, &out));
            cr_assert_arr_eq(&in, &out, sizeof(in), "flags %u, %u bytes", flags[i], bytes);
        }
    }
}

Test(rows, a_plain_order_has_one_layout_however_it_comes)
{
    struct tg_record record = order_record(9);
    struct tg_order_row order;
    uint8_t one[STO_ORDER_ROW_BYTES_MAX], other[STO_ORDER_ROW_BYTES_MAX];
    sto_row_plain_encode(one, &record);
    cr_assert_null(
        sto_row_order_decode(one, sto_row_plain_bytes(&record), record.order_id, &order));
    cr_assert_eq(sto_row_order_bytes(&order), sto_row_plain_bytes(&record));
    sto_row_order_encode(other, &order);
    cr_assert_arr_eq(one, other, sto_row_order_bytes(&order));
}

Test(rows, a_life_comes_back_as_it_was)
{
    for (uint8_t parts = 0; parts <= 16; parts++) {
        struct tg_life in, out;
        uint8_t row[STO_LIFE_ROW_BYTES_MAX];
        life_fill(&in, parts);
        memset(&out, 0, sizeof(out));
        sto_row_life_encode(row, ORDER_ID, &in);
        cr_assert_null(sto_row_life_decode(row, sto_row_life_bytes(&in), ORDER_ID, &out));
        cr_assert_arr_eq(&in, &out, sizeof(in), "%u parts", parts);
    }
}

Test(rows, a_team_comes_back_as_it_was)
{
    for (uint8_t seats = 0; seats <= TG_TEAM_SIZE_MAX; seats++) {
        struct tg_team in, out;
        uint8_t row[STO_TEAM_ROW_BYTES_MAX];
        team_fill(&in, seats);
        memset(&out, 0, sizeof(out));
        sto_row_team_encode(row, &in);
        cr_assert_null(sto_row_team_decode(row, sto_row_team_bytes(&in), in.team_id, &out));
        cr_assert_arr_eq(&in, &out, sizeof(in), "%u seats", seats);
    }
}

Test(rows, an_event_comes_back_as_it_was)
{
    uint8_t row[STO_EVENT_ROW_BYTES];
    struct tg_event out;
    sto_row_event_encode(row, &order_event);
    cr_assert_null(sto_row_event_decode(row, sizeof(row), 99, &out));
    cr_assert_eq(out.sequence, 99);
    cr_assert_eq(out.order_id, ORDER_ID);
    cr_assert_eq(out.team_id, 55);
    cr_assert_eq(out.sale_id, 0);
    cr_assert_eq(out.at_ms, 7);
    cr_assert_eq(out.amount_minor, TG_AMOUNT_MINOR_MAX);
    cr_assert_eq(out.type, TG_EVENT_REFUND_DUE);
    cr_assert_eq(out.refund_number, TG_ORDER_REFUNDS_MAX);
    sto_row_event_encode(row, &sale_event);
    cr_assert_null(sto_row_event_decode(row, sizeof(row), 99, &out));
    cr_assert_eq(out.sale_id, 1001);
    cr_assert_eq(out.order_id, 0);
    cr_assert_eq(out.type, TG_EVENT_SALE_ENDED);
}

Test(rows, ingested_ids_groups_and_the_first_event_come_back_as_they_were)
{
    uint8_t row[STO_GROUP_ROW_BYTES];
    uint64_t value;
    struct tg_group group;
    sto_row_ingested_encode(row, request_id, ORDER_ID);
    cr_assert_null(sto_row_ingested_decode(row, STO_INGESTED_ROW_BYTES, request_id, &value));
    cr_assert_eq(value, ORDER_ID);
    sto_row_event_first_encode(row, 7);
    cr_assert_null(sto_row_event_first_decode(row, STO_EVENT_FIRST_ROW_BYTES, &value));
    cr_assert_eq(value, 7);
    sto_row_group_encode(row, &group_value);
    cr_assert_null(sto_row_group_decode(row, STO_GROUP_ROW_BYTES, "erp-1", 5, &group));
    cr_assert_eq(group.name_bytes, 5);
    cr_assert_arr_eq(group.name, group_value.name, sizeof(group.name));
    cr_assert_eq(group.offset, UINT64_MAX);
    cr_assert_eq(group.created_at_ms, 8);
    cr_assert_eq(group.acked_at_ms, TG_TIME_MS_MAX);
}

Test(rows, an_adjustment_comes_back_as_it_was)
{
    struct tg_record in = adjust_record();
    struct sto_adjustment out;
    uint8_t row[STO_ADJUSTMENT_ROW_BYTES_MAX];
    sto_row_adjustment_encode(row, 12, &in);
    cr_assert_null(sto_row_adjustment_decode(row, sto_row_adjustment_bytes(&in), 12, &out));
    cr_assert_eq(out.item, in.item);
    cr_assert_eq(out.delta_units, in.adjust.delta_units);
    cr_assert_eq(out.at_ms, in.at_ms);
    cr_assert_eq(out.reason_bytes, in.adjust.reason_bytes);
    cr_assert_arr_eq(out.reason, in.adjust.reason, TG_REASON_BYTES_MAX);
}

/* --- rows of format 1 --- */

/* Puts a row of `head` bytes and what is behind them together, and seals it. */
static size_t row_of_format_1(uint8_t *row, const uint8_t *head, size_t head_bytes,
                              const char *rest, const uint32_t *key)
{
    size_t size = head_bytes + strlen(rest);
    memcpy(row, head, head_bytes);
    memcpy(row + head_bytes, rest, strlen(rest));
    sto_row_seal(row, size, key, sizeof(*key));
    return size;
}

Test(rows, a_sale_of_format_1_has_the_rules_that_it_had)
{
    const uint8_t head[40] = {0,
                              0,
                              0,
                              0,
                              1,
                              TG_SALE_SECKILL,
                              TG_SALE_ACTIVE,
                              4,
                              9,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0, /* sale id */
                              1,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              2,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0, /* window */
                              3,
                              0,
                              0,
                              0,
                              'E',
                              'U',
                              'R',
                              0};
    const uint32_t key = 7;
    uint8_t row[64];
    struct tg_sale_def out;
    size_t size = row_of_format_1(row, head, sizeof(head), "Sale", &key);
    cr_assert_null(sto_row_sale_decode(row, size, key, &out));
    cr_assert_eq(out.sale_id, 9);
    cr_assert_eq(out.item_count, 3);
    cr_assert_arr_eq(out.name, "Sale", 4);
    cr_assert_eq(out.payment_window_s, TG_PAYMENT_WINDOW_S_MAX);
    cr_assert_eq(out.refund_auto_max_minor, 0);
    cr_assert_eq(out.announced, TG_ANNOUNCED_START | TG_ANNOUNCED_END);
    cr_assert_eq(out.share_count, 0);
    cr_assert_eq(out.team.team_size, 0);
}

Test(rows, an_item_of_format_1_reserves)
{
    const uint8_t head[36] = {0, 0, 0, 0, 1, 3, 0,  0, /* crc, version, sku bytes */
                              7, 0, 0, 0, 2, 0, 0,  0, 5, 0, 0, 0, 30, 0,
                              0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0,  0};
    const uint32_t key = 11;
    uint8_t row[64];
    uint32_t sale;
    struct tg_item_def out;
    size_t size = row_of_format_1(row, head, sizeof(head), "SKU", &key);
    cr_assert_null(sto_row_item_decode(row, size, key, &sale, &out));
    cr_assert_eq(sale, 7);
    cr_assert_eq(out.per_user_limit, 2);
    cr_assert_eq(out.per_order_max, 5);
    cr_assert_eq(out.list_price_minor, 30);
    cr_assert_eq(out.sale_price_minor, 20);
    cr_assert_eq(out.stock_policy, TG_POLICY_RESERVE);
    cr_assert_eq(out.captain_price_minor, 0);
    cr_assert_eq(out.ladder_steps, 0);
    cr_assert_arr_eq(out.sku, "SKU", 3);
}

Test(rows, a_plain_order_is_laid_out_as_in_format_1)
{
    struct tg_record in = order_record(3);
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    sto_row_plain_encode(row, &in);
    cr_assert_eq(sto_row_plain_bytes(&in), 59);
    cr_assert(row[4] == 1 && row[5] == TG_ORDER_RESERVED);
    cr_assert_arr_eq(row + 6, &in.order.channel, 2);
    cr_assert_arr_eq(row + 8, &in.item, 4);
    cr_assert_arr_eq(row + 12, &in.order.quantity, 4);
    cr_assert_arr_eq(row + 16, in.order.request_id, 16);
    cr_assert_arr_eq(row + 32, &in.order.user_id, 8);
    cr_assert_arr_eq(row + 40, &in.order.unit_price_minor, 8);
    cr_assert_arr_eq(row + 48, &in.at_ms, 8);
    cr_assert_arr_eq(row + 56, in.order.external_id, 3);
}

/* --- damage --- */

Test(rows, every_flipped_bit_is_noticed)
{
    struct samples *samples = samples_make();
    for (int s = 0; s < samples->count; s++) {
        struct sample *sample = &samples->of[s];
        const char *problem = sample->decode(sample->row, sample->size, sample->key);
        cr_assert_null(problem, "%s: %s", sample->name, problem);
        for (size_t bit = 0; bit < sample->size * 8; bit++) {
            sample->row[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_not_null(sample->decode(sample->row, sample->size, sample->key),
                               "%s, bit %zu", sample->name, bit);
            sample->row[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    free(samples);
}

/* In a block of exactly that size, so that AddressSanitizer sees a read behind it. */
static const char *decode_boxed(const struct sample *sample, const uint8_t *row, size_t size)
{
    uint8_t *box = malloc(size ? size : 1);
    memcpy(box, row, size);
    const char *problem = sample->decode(box, size, sample->key);
    free(box);
    return problem;
}

Test(rows, every_other_size_is_noticed_and_nothing_outside_is_read)
{
    struct samples *samples = samples_make();
    for (int s = 0; s < samples->count; s++) {
        const struct sample *sample = &samples->of[s];
        for (size_t size = 0; size < sizeof(sample->row); size++) {
            if (size != sample->size)
                cr_assert_not_null(decode_boxed(sample, sample->row, size), "%s, size %zu",
                                   sample->name, size);
        }
    }
    free(samples);
}

/* A checksum keeps out accidents, not lies: bytes and sizes that no encoder wrote, sealed. What is
 * let through is what an encoder takes. */
Test(rows, sealed_nonsense_is_refused_or_makes_sense)
{
    struct samples *samples = samples_make();
    uint64_t seed = 5;
    uint32_t taken = 0;
    for (int round = 0; round < 200000; round++) {
        struct sample *sample = &samples->of[round % samples->count];
        if (sample->key_bytes == 0)
            continue;
        uint8_t row[sizeof(sample->row)];
        memcpy(row, sample->row, sizeof(row));
        size_t size = sample->size;
        for (int i = 0; i < 2; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            size_t at = 4 + (seed >> 33) % (size - 4);
            /* Counts and sizes are in the head. */
            if (seed >> 62)
                at = 4 + at % 12;
            row[at] = (uint8_t)(seed >> 20);
        }
        if (seed >> 60 == 0)
            size -= (seed >> 40) % (size - 4);
        sto_row_seal(row, size, sample->key, sample->key_bytes);
        taken += decode_boxed(sample, row, size) == NULL;
    }
    cr_assert(taken > 1000 && taken < 150000, "%u", taken);
    free(samples);
}

Test(rows, counts_beyond_their_arrays_are_refused)
{
    const struct {
        const char *name;
        size_t at;
        uint8_t value;
    } cases[] = {{"sale", 7, 129},  {"sale", 65, 17}, {"item", 5, 33},  {"item", 7, 9},
                 {"life", 8, 17},   {"life", 9, 17},  {"life", 10, 17}, {"team", 7, 101},
                 {"order", 56, 33}, {"order", 57, 33}};
    struct samples *samples = samples_make();
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (int s = 0; s < samples->count; s++) {
            struct sample *sample = &samples->of[s];
            if (strcmp(sample->name, cases[c].name) != 0)
                continue;
            uint8_t before = sample->row[cases[c].at];
            sample->row[cases[c].at] = cases[c].value;
            sto_row_seal(sample->row, sample->size, sample->key, sample->key_bytes);
            cr_assert_not_null(decode_boxed(sample, sample->row, sample->size), "%s, byte %zu",
                               sample->name, cases[c].at);
            sample->row[cases[c].at] = before;
        }
    }
    free(samples);
}

Test(rows, a_row_under_another_key_is_noticed)
{
    struct samples *samples = samples_make();
    for (int s = 0; s < samples->count; s++) {
        struct sample *sample = &samples->of[s];
        if (sample->key_bytes == 0)
            continue;
        sample->key[0]++;
        cr_assert_not_null(sample->decode(sample->row, sample->size, sample->key), "%s",
                           sample->name);
        sample->key[0]--;
        /* The same partition, so that only the checksum can tell. */
        sample->key[1] = (uint8_t)(sample->key[1] + TG_PARTITIONS / 256);
        cr_assert_not_null(sample->decode(sample->row, sample->size, sample->key), "%s",
                           sample->name);
    }
    free(samples);
}

Test(rows, an_order_of_another_partition_is_noticed)
{
    struct tg_record in = order_record(0);
    in.order_id++;
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    struct tg_order_row out;
    sto_row_plain_encode(row, &in);
    cr_assert_not_null(sto_row_order_decode(row, sto_row_plain_bytes(&in), in.order_id, &out));
}

Test(rows, a_group_buy_s_order_may_lie_in_its_sale_s_partition)
{
    struct tg_order_row in, out;
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    order_fill(&in, TG_ORDER_CAPTAIN, 0);
    in.item++;
    sto_row_order_encode(row, &in);
    cr_assert_null(sto_row_order_decode(row, sto_row_order_bytes(&in), in.order_id, &out));
}

Test(rows, a_cart_that_does_not_add_up_is_refused)
{
    struct tg_order_row in, out;
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    order_fill(&in, TG_ORDER_CART, 0);
    sto_row_order_encode(row, &in);
    size_t size = sto_row_order_bytes(&in);
    row[12]++;
    sto_row_seal(row, size, &in.order_id, sizeof(in.order_id));
    cr_assert_not_null(sto_row_order_decode(row, size, in.order_id, &out));
}

/* --- meta --- */

Test(rows, a_format_with_more_behind_it_still_tells_its_version)
{
    uint8_t row[STO_FORMAT_ROW_BYTES];
    uint32_t version;
    sto_row_format_encode(row, 9000);
    cr_assert_null(sto_row_format_decode(row, sizeof(row), &version));
    cr_assert_eq(version, 9000);
}
