/* Every row decoder of storage/rows.h: what it accepts, its encoder writes again, byte for byte.
 * Rows of an older layout are written in the newest one, and that must then stay as it is.
 *
 * input: | kind of row, u8; 0x80: the checksum stays as it is | key, by kind | row |
 */
#include "tests/fuzz/fuzz.h"

#include "base/assert.h"
#include "storage/rowbytes.h"
#include "storage/rows.h"

#define KEEP_CRC 0x80

struct key {
    uint8_t bytes[64];
    size_t size;
};

static uint32_t key_32(const struct key *key)
{
    uint32_t value;
    memcpy(&value, key->bytes, sizeof(value));
    return value;
}

static uint64_t key_64(const struct key *key)
{
    uint64_t value;
    memcpy(&value, key->bytes, sizeof(value));
    return value;
}

/* Each: the size of the row written again, or 0 when it was refused. */

static size_t again_sale(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    static struct tg_sale_def def; /* has items behind it that no row fills */
    if (sto_row_sale_decode(row, size, key_32(key), &def))
        return 0;
    sto_row_sale_encode(out, &def);
    return sto_row_sale_bytes(&def);
}

static size_t again_item(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_item_def item;
    uint32_t sale;
    if (sto_row_item_decode(row, size, key_32(key), &sale, &item))
        return 0;
    sto_row_item_encode(out, sale, &item);
    return sto_row_item_bytes(&item);
}

static size_t again_stock(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_stock stock;
    if (sto_row_stock_decode(row, size, key_32(key), &stock))
        return 0;
    sto_row_stock_encode(out, key_32(key), &stock);
    return STO_STOCK_ROW_BYTES;
}

static size_t again_order(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_order_row order;
    if (sto_row_order_decode(row, size, key_64(key), &order))
        return 0;
    sto_row_order_encode(out, &order);
    return sto_row_order_bytes(&order);
}

static size_t again_life(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_life life;
    if (sto_row_life_decode(row, size, key_64(key), &life))
        return 0;
    sto_row_life_encode(out, key_64(key), &life);
    return sto_row_life_bytes(&life);
}

static size_t again_event(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_event event;
    if (sto_row_event_decode(row, size, key_64(key), &event))
        return 0;
    sto_row_event_encode(out, &event);
    return STO_EVENT_ROW_BYTES;
}

static size_t again_team(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_team team;
    if (sto_row_team_decode(row, size, key_64(key), &team))
        return 0;
    sto_row_team_encode(out, &team);
    return sto_row_team_bytes(&team);
}

static size_t again_ingested(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    uint64_t order_id;
    if (sto_row_ingested_decode(row, size, key->bytes, &order_id))
        return 0;
    sto_row_ingested_encode(out, key->bytes, order_id);
    return STO_INGESTED_ROW_BYTES;
}

static size_t again_group(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct tg_group group;
    if (sto_row_group_decode(row, size, key->bytes, key->size, &group))
        return 0;
    sto_row_group_encode(out, &group);
    return STO_GROUP_ROW_BYTES;
}

static size_t again_adjustment(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    struct sto_adjustment adjustment;
    if (sto_row_adjustment_decode(row, size, key_64(key), &adjustment))
        return 0;
    struct tg_record record = {
        .kind = TG_RECORD_ADJUST,
        .item = adjustment.item,
        .at_ms = adjustment.at_ms,
        .adjust = {.delta_units = adjustment.delta_units, .reason_bytes = adjustment.reason_bytes}};
    memcpy(record.adjust.reason, adjustment.reason, adjustment.reason_bytes);
    sto_row_adjustment_encode(out, key_64(key), &record);
    return sto_row_adjustment_bytes(&record);
}

static size_t again_format(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    uint32_t version;
    (void)key;
    if (sto_row_format_decode(row, size, &version) || size != STO_FORMAT_ROW_BYTES)
        return 0; /* a later version may have more behind it, and is then not ours to write */
    sto_row_format_encode(out, version);
    return STO_FORMAT_ROW_BYTES;
}

static size_t again_event_first(const struct key *key, const void *row, size_t size, uint8_t *out)
{
    uint64_t first;
    (void)key;
    if (sto_row_event_first_decode(row, size, &first))
        return 0;
    sto_row_event_first_encode(out, first);
    return STO_EVENT_FIRST_ROW_BYTES;
}

#define KEY_NAME SIZE_MAX /* of 1 to 64 bytes, its size before it */

static const struct kind {
    size_t (*again)(const struct key *key, const void *row, size_t size, uint8_t *out);
    size_t key_bytes;
    const char *fixed_key;
    uint8_t version;   /* that its encoder writes; 0: rows carry none, or any */
    uint8_t unused[3]; /* bytes that the layout draws as 0 and that decoders do not look at */
} kinds[] = {
    {again_sale, 4, NULL, 2, {39}},
    {again_item, 4, NULL, 2, {0}},
    {again_stock, 4, NULL, 1, {5, 6, 7}},
    {again_order, 8, NULL, 0, {0}},
    {again_life, 8, NULL, 1, {11}},
    {again_event, 8, NULL, 1, {7}},
    {again_team, 8, NULL, 1, {13, 14, 15}},
    {again_ingested, 16, NULL, 1, {5, 6, 7}},
    {again_group, KEY_NAME, NULL, 1, {5, 6, 7}},
    {again_adjustment, 8, NULL, 1, {6, 7}},
    {again_format, 0, STO_FORMAT_KEY, 0, {0}},
    {again_event_first, 0, STO_EVENT_FIRST_KEY, 1, {5, 6, 7}},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static struct key key_of(const struct kind *kind, struct fuzz_bytes *bytes)
{
    struct key key = {.size = kind->key_bytes};
    if (kind->fixed_key)
        key.size = strlen(kind->fixed_key);
    else if (kind->key_bytes == KEY_NAME)
        key.size = 1 + fuzz_below(bytes, sizeof(key.bytes));
    if (kind->fixed_key)
        memcpy(key.bytes, kind->fixed_key, key.size);
    else
        fuzz_take(bytes, key.bytes, key.size);
    return key;
}

static void seal(uint8_t *row, size_t size, const struct key *key)
{
    if (size >= 5)
        sto_row_seal(row, size, key->bytes, key->size);
}

static void compare(const struct kind *kind, const struct key *key, const uint8_t *row, size_t size)
{
    static uint8_t first[FUZZ_BYTES_MAX], second[FUZZ_BYTES_MAX];
    size_t first_bytes = kind->again(key, row, size, first);
    if (first_bytes == 0)
        return;
    if (kind->version == 0 || row[4] == kind->version)
        FUZZ_MUST(first_bytes == size && memcmp(first, row, size) == 0);
    /* A copy of its own size, so that a sanitizer sees a read behind it. */
    uint8_t *copy = malloc(first_bytes);
    FUZZ_MUST(copy != NULL);
    memcpy(copy, first, first_bytes);
    FUZZ_MUST(kind->again(key, copy, first_bytes, second) == first_bytes);
    FUZZ_MUST(memcmp(first, second, first_bytes) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    if (size == 0 || size > FUZZ_BYTES_MAX)
        return 0;
    uint8_t head = fuzz_u8(&bytes);
    const struct kind *kind = &kinds[(head % KEEP_CRC) % KIND_COUNT];
    struct key key = key_of(kind, &bytes);
    size_t row_bytes = bytes.left;
    uint8_t *row = malloc(row_bytes ? row_bytes : 1);
    FUZZ_MUST(row != NULL);
    fuzz_take(&bytes, row, row_bytes);
    for (size_t i = 0; i < sizeof(kind->unused); i++)
        if (kind->unused[i] != 0 && kind->unused[i] < row_bytes)
            row[kind->unused[i]] = 0;
    if (!(head & KEEP_CRC))
        seal(row, row_bytes, &key);
    compare(kind, &key, row, row_bytes);
    free(row);
    return 0;
}
