/* Row formats: what goes in comes out, and any damage is noticed. */
#include "proto/verdict.h"
#include "storage/rows.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* One row under test: its bytes, its key, and a decoder that forgets the value. */
struct sample {
    uint8_t row[256];
    size_t size;
    uint64_t key;
    const char *(*decode)(const void *row, size_t size, uint64_t key);
};

static const char *decode_sale(const void *row, size_t size, uint64_t key)
{
    struct tg_sale_def def;
    return sto_row_sale_decode(row, size, (uint32_t)key, &def);
}

static const char *decode_item(const void *row, size_t size, uint64_t key)
{
    struct tg_item_def item;
    uint32_t sale;
    return sto_row_item_decode(row, size, (uint32_t)key, &sale, &item);
}

static const char *decode_stock(const void *row, size_t size, uint64_t key)
{
    struct tg_stock stock;
    return sto_row_stock_decode(row, size, (uint32_t)key, &stock);
}

static const char *decode_order(const void *row, size_t size, uint64_t key)
{
    struct tg_order_row order;
    return sto_row_order_decode(row, size, key, &order);
}

static const char *decode_adjustment(const void *row, size_t size, uint64_t key)
{
    struct sto_adjustment adjustment;
    return sto_row_adjustment_decode(row, size, key, &adjustment);
}

static const char *decode_format(const void *row, size_t size, uint64_t key)
{
    (void)key;
    uint32_t version;
    return sto_row_format_decode(row, size, &version);
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
                                .item_count = TG_SALE_ITEMS_MAX};
}

static struct tg_item_def item_def(void)
{
    return (struct tg_item_def){.item = 123456,
                                .sku_bytes = 13,
                                .sku = "A01-001-M-BLU",
                                .list_price_minor = TG_PRICE_MINOR_MAX,
                                .sale_price_minor = 99,
                                .per_user_limit = 2,
                                .per_order_max = UINT32_MAX};
}

static struct tg_record order_record(uint8_t external_bytes)
{
    struct tg_record record = {.kind = TG_RECORD_ORDER,
                               .channel = 65535,
                               .item = 2049,
                               .order_id = (77ull << TG_PARTITION_BITS) | 1,
                               .at_ms = 1763800000000,
                               .order = {.user_id = UINT64_MAX,
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

#define SAMPLES 7

static void samples_make(struct sample samples[SAMPLES])
{
    struct tg_sale_def sale = sale_def();
    struct tg_item_def item = item_def();
    struct tg_stock stock = {10, 4, 5, 6, 5};
    struct tg_record bare = order_record(0), full = order_record(TG_EXTERNAL_BYTES_MAX);
    struct tg_record adjust = adjust_record();
    samples[0] =
        (struct sample){.size = sto_row_sale_bytes(&sale), .key = sale.sale, .decode = decode_sale};
    sto_row_sale_encode(samples[0].row, &sale);
    samples[1] =
        (struct sample){.size = sto_row_item_bytes(&item), .key = item.item, .decode = decode_item};
    sto_row_item_encode(samples[1].row, 7, &item);
    samples[2] = (struct sample){.size = STO_STOCK_ROW_BYTES, .key = 3, .decode = decode_stock};
    sto_row_stock_encode(samples[2].row, 3, &stock);
    samples[3] = (struct sample){
        .size = sto_row_order_bytes(&bare), .key = bare.order_id, .decode = decode_order};
    sto_row_order_encode(samples[3].row, &bare);
    samples[4] = (struct sample){
        .size = sto_row_order_bytes(&full), .key = full.order_id, .decode = decode_order};
    sto_row_order_encode(samples[4].row, &full);
    samples[5] = (struct sample){
        .size = sto_row_adjustment_bytes(&adjust), .key = 12, .decode = decode_adjustment};
    sto_row_adjustment_encode(samples[5].row, 12, &adjust);
    samples[6] = (struct sample){.size = STO_FORMAT_ROW_BYTES, .decode = decode_format};
    sto_row_format_encode(samples[6].row, 1);
}

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
        sto_row_order_encode(row, &in);
        cr_assert_null(sto_row_order_decode(row, sto_row_order_bytes(&in), in.order_id, &out));
        cr_assert_eq(out.order_id, in.order_id);
        cr_assert_arr_eq(out.request_id, in.order.request_id, TG_REQUEST_ID_BYTES);
        cr_assert_eq(out.user_id, in.order.user_id);
        cr_assert_eq(out.unit_price_minor, in.order.unit_price_minor);
        cr_assert_eq(out.accepted_at_ms, in.at_ms);
        cr_assert_eq(out.item, in.item);
        cr_assert_eq(out.quantity, in.order.quantity);
        cr_assert_eq(out.channel, in.channel);
        cr_assert_eq(out.state, TG_ORDER_RESERVED);
        cr_assert_eq(out.external_bytes, bytes);
        cr_assert_arr_eq(out.external_id, in.order.external_id, TG_EXTERNAL_BYTES_MAX);
    }
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

Test(rows, every_flipped_bit_is_noticed)
{
    struct sample samples[SAMPLES];
    samples_make(samples);
    for (int s = 0; s < SAMPLES; s++) {
        struct sample *sample = &samples[s];
        cr_assert_null(sample->decode(sample->row, sample->size, sample->key));
        for (size_t bit = 0; bit < sample->size * 8; bit++) {
            sample->row[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_not_null(sample->decode(sample->row, sample->size, sample->key),
                               "sample %d, bit %zu", s, bit);
            sample->row[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

/* In a block of exactly that size, so that AddressSanitizer sees a read behind it. */
Test(rows, every_other_size_is_noticed_and_nothing_outside_is_read)
{
    struct sample samples[SAMPLES];
    samples_make(samples);
    for (int s = 0; s < SAMPLES; s++) {
        for (size_t size = 0; size < sizeof(samples[s].row); size++) {
            if (size == samples[s].size)
                continue;
            uint8_t *row = malloc(size ? size : 1);
            memcpy(row, samples[s].row, size);
            cr_assert_not_null(samples[s].decode(row, size, samples[s].key), "sample %d, size %zu",
                               s, size);
            free(row);
        }
    }
}

Test(rows, a_row_under_another_key_is_noticed)
{
    struct sample samples[SAMPLES];
    samples_make(samples);
    for (int s = 0; s < SAMPLES - 1; s++) {
        cr_assert_not_null(samples[s].decode(samples[s].row, samples[s].size, samples[s].key + 1));
        /* The same partition, so that only the checksum can tell. */
        cr_assert_not_null(
            samples[s].decode(samples[s].row, samples[s].size, samples[s].key + TG_PARTITIONS));
    }
}

Test(rows, an_order_of_another_partition_is_noticed)
{
    struct tg_record in = order_record(0);
    in.order_id++;
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    struct tg_order_row out;
    sto_row_order_encode(row, &in);
    cr_assert_not_null(sto_row_order_decode(row, sto_row_order_bytes(&in), in.order_id, &out));
}

Test(rows, a_format_with_more_behind_it_still_tells_its_version)
{
    uint8_t row[STO_FORMAT_ROW_BYTES];
    uint32_t version;
    sto_row_format_encode(row, 9000);
    cr_assert_null(sto_row_format_decode(row, sizeof(row), &version));
    cr_assert_eq(version, 9000);
}
