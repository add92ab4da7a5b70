#include "ctl/salefile.h"

#include "ctl/ctl.h"
#include "ctl/text.h"
#include "proto/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where in the file we are, for complaints. */
struct place {
    const char *file;
    char path[32];        /* "" or "items[3]." */
    const json_t *object; /* borrowed */
    int64_t now_ms;
    bool *relative_times;
    struct tg_fault *fault;
};

static bool wrong(const struct place *place, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool wrong(const struct place *place, const char *key, const char *format, ...)
{
    char words[256];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    tg_fault_set(place->fault, TG_ERR_INVALID, "%s: %s%.64s %s", place->file, place->path, key,
                 words);
    return false;
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

/* The value of a required key; `expected` says what it must be. NULL after a complaint. */
static const json_t *get(const struct place *place, const char *key, const char *expected)
{
    const json_t *value = json_object_get(place->object, key);
    if (!value)
        wrong(place, key, "is missing: it must be %s", expected);
    return value;
}

static bool only_known_keys(const struct place *place, const char *const *keys, uint32_t count)
{
    const char *key;
    json_t *value;
    /* jansson's loop takes no const object, and changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)place->object, key, value)
    {
        bool known = false;
        for (uint32_t i = 0; i < count; i++)
            known = known || strcmp(key, keys[i]) == 0;
        if (known)
            continue;
        const char *nearest = ctl_nearest(key, keys, count);
        if (nearest)
            return wrong(place, key, "is no key of a sale file; did you mean \"%s\"?", nearest);
        return wrong(place, key, "is no key of a sale file");
    }
    return true;
}

static bool get_number(const struct place *place, const char *key, int64_t min, int64_t max,
                       int64_t *number)
{
    char expected[96];
    snprintf(expected, sizeof(expected), "a whole number, %" PRId64 " to %" PRId64, min, max);
    const json_t *value = get(place, key, expected);
    if (!value)
        return false;
    if (!json_is_integer(value))
        return wrong(place, key, "must be %s, not %s", expected, type_name(value));
    *number = json_integer_value(value);
    if (*number < min || *number > max)
        return wrong(place, key, "must be %s, not %" PRId64, expected, *number);
    return true;
}

static bool get_uint32(const struct place *place, const char *key, uint32_t *number)
{
    int64_t wide;
    if (!get_number(place, key, 0, UINT32_MAX, &wide))
        return false;
    *number = (uint32_t)wide;
    return true;
}

/* A number, or its digits as a string: the form in which --json prints ids. */
static bool get_id(const struct place *place, const char *key, uint64_t *id)
{
    static const char expected[] = "a whole number from 1 on";
    const json_t *value = get(place, key, expected);
    if (!value)
        return false;
    if (json_is_string(value) && ctl_uint_parse(json_string_value(value), 1, UINT64_MAX, id))
        return true;
    if (json_is_integer(value) && json_integer_value(value) >= 1) {
        *id = (uint64_t)json_integer_value(value);
        return true;
    }
    return wrong(place, key, "must be %s", expected);
}

static char *get_string(const struct place *place, const char *key, const char *expected)
{
    const json_t *value = get(place, key, expected);
    if (!value)
        return NULL;
    if (!json_is_string(value)) {
        wrong(place, key, "must be %s, not %s", expected, type_name(value));
        return NULL;
    }
    /* protobuf-c packs from char *, and does not write to it. */
    return (char *)(uintptr_t)json_string_value(value);
}

static bool get_time(const struct place *place, const char *key, int64_t *time_ms)
{
    static const char expected[] = "a time such as \"2026-11-22T10:00:00Z\" or \"now\" or "
                                   "\"+30s\", or Unix milliseconds";
    const json_t *value = get(place, key, expected);
    if (!value)
        return false;
    if (json_is_integer(value))
        return get_number(place, key, 0, TG_TIME_MS_MAX, time_ms);
    if (!json_is_string(value))
        return wrong(place, key, "must be %s, not %s", expected, type_name(value));
    const char *text = json_string_value(value);
    if (!ctl_time_parse(text, place->now_ms, time_ms, place->relative_times))
        return wrong(place, key, "must be %s, not \"%.40s\"", expected, text);
    return true;
}

static bool get_name(const struct place *place, char **name)
{
    static const char expected[] = "1 to 128 bytes of text without control characters";
    *name = get_string(place, "name", expected);
    if (!*name)
        return false;
    size_t bytes = strlen(*name);
    bool fits = bytes >= 1 && bytes <= TG_SALE_NAME_BYTES_MAX;
    for (size_t i = 0; i < bytes; i++)
        fits = fits && (unsigned char)(*name)[i] >= 0x20 && (*name)[i] != 0x7f;
    return fits || wrong(place, "name", "must be %s", expected);
}

static bool get_currency(const struct place *place, char **currency)
{
    static const char expected[] = "three capital letters (ISO 4217), such as \"CNY\"";
    *currency = get_string(place, "currency", expected);
    if (!*currency)
        return false;
    size_t capitals = strspn(*currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (capitals == TG_CURRENCY_BYTES && (*currency)[capitals] == '\0')
        return true;
    return wrong(place, "currency", "must be %s, not \"%.40s\"", expected, *currency);
}

static bool get_kind(const struct place *place, Tidegate__V1__SaleKind *kind)
{
    const char *text = get_string(place, "kind", "\"seckill\"");
    if (!text)
        return false;
    if (strcmp(text, "seckill") != 0)
        return wrong(place, "kind", "must be \"seckill\", not \"%.40s\"", text);
    *kind = (Tidegate__V1__SaleKind)TG_SALE_SECKILL;
    return true;
}

static bool read_sale(const struct place *place, Tidegate__V1__Sale *sale)
{
    static const char *const keys[] = {"sale_id",   "kind",    "name", "currency",
                                       "starts_at", "ends_at", "items"};
    if (!only_known_keys(place, keys, sizeof(keys) / sizeof(keys[0])))
        return false;
    if (!get_id(place, "sale_id", &sale->sale_id) || !get_kind(place, &sale->kind) ||
        !get_name(place, &sale->name) || !get_currency(place, &sale->currency) ||
        !get_time(place, "starts_at", &sale->starts_at_ms) ||
        !get_time(place, "ends_at", &sale->ends_at_ms))
        return false;
    if (sale->ends_at_ms <= sale->starts_at_ms) {
        char starts[CTL_TIME_BYTES], ends[CTL_TIME_BYTES];
        return wrong(place, "ends_at", "must be after starts_at: %s is not after %s",
                     ctl_time_text(sale->ends_at_ms, ends),
                     ctl_time_text(sale->starts_at_ms, starts));
    }
    return true;
}

static bool read_item(const struct place *place, Tidegate__V1__SaleItem *item)
{
    static const char *const keys[] = {"sku",         "list_price_minor", "sale_price_minor",
                                       "stock_units", "per_user_limit",   "per_order_max"};
    static const char sku_expected[] = "1 to 32 printable ASCII bytes, no spaces";
    int64_t stock_units;
    if (!only_known_keys(place, keys, sizeof(keys) / sizeof(keys[0])))
        return false;
    item->sku = get_string(place, "sku", sku_expected);
    if (!item->sku)
        return false;
    if (!tg_sku_is_valid((struct tg_bytes){(const uint8_t *)item->sku, strlen(item->sku)}))
        return wrong(place, "sku", "must be %s", sku_expected);
    if (!get_number(place, "list_price_minor", 0, TG_PRICE_MINOR_MAX, &item->list_price_minor) ||
        !get_number(place, "sale_price_minor", 0, TG_PRICE_MINOR_MAX, &item->sale_price_minor) ||
        !get_number(place, "stock_units", 0, TG_STOCK_UNITS_MAX, &stock_units) ||
        !get_uint32(place, "per_user_limit", &item->per_user_limit) ||
        !get_uint32(place, "per_order_max", &item->per_order_max))
        return false;
    item->stock_units = (uint64_t)stock_units;
    return true;
}

static int compare_skus(const void *a, const void *b)
{
    const Tidegate__V1__SaleItem *left = *(Tidegate__V1__SaleItem *const *)a;
    const Tidegate__V1__SaleItem *right = *(Tidegate__V1__SaleItem *const *)b;
    int order = strcmp(left->sku, right->sku);
    return order ? order : (left > right) - (left < right);
}

/* Sorted by SKU, twins lie side by side, the one that stands first in the file first. */
static bool skus_are_unique(const struct place *place, const struct ctl_salefile *file)
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
        unique = wrong(place, key, "\"%s\" stands already in items[%td]", sorted[i]->sku,
                       sorted[i - 1] - file->items);
    }
    free(sorted);
    return unique;
}

static bool read_items(const struct place *place, struct ctl_salefile *file)
{
    static const char expected[] = "an array of 1 to 16384 items";
    const json_t *array = get(place, "items", expected);
    if (!array)
        return false;
    size_t count = json_array_size(array);
    if (!json_is_array(array))
        return wrong(place, "items", "must be %s, not %s", expected, type_name(array));
    if (count == 0 || count > TG_SALE_ITEMS_MAX)
        return wrong(place, "items", "must be %s, not of %zu", expected, count);
    file->items = calloc(count, sizeof(file->items[0]));
    file->item_list = calloc(count, sizeof(file->item_list[0]));
    if (!file->items || !file->item_list)
        ctl_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        struct place item_place = *place;
        item_place.object = json_array_get(array, i);
        snprintf(item_place.path, sizeof(item_place.path), "items[%zu]", i);
        if (!json_is_object(item_place.object))
            return wrong(&item_place, "", "must be an object, not %s",
                         type_name(item_place.object));
        snprintf(item_place.path, sizeof(item_place.path), "items[%zu].", i);
        tidegate__v1__sale_item__init(&file->items[i]);
        file->item_list[i] = &file->items[i];
        if (!read_item(&item_place, &file->items[i]))
            return false;
    }
    file->request.n_items = count;
    file->request.items = file->item_list;
    return skus_are_unique(place, file);
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
    struct place place = {
        .file = name,
        .object = file->root,
        .now_ms = now_ms,
        .relative_times = &file->relative_times,
        .fault = fault ? fault : &own_fault,
    };
    if (!json_is_object(file->root)) {
        ctl_salefile_free(file);
        return tg_fault_set(fault, TG_ERR_INVALID, "%s: must hold one JSON object {...}", name);
    }
    if (!read_sale(&place, &file->sale) || !read_items(&place, file)) {
        ctl_salefile_free(file);
        return TG_ERR_INVALID;
    }
    file->request.sale = &file->sale;
    return TG_ERR_OK;
}

void ctl_salefile_free(struct ctl_salefile *file)
{
    free(file->items);
    free(file->item_list);
    json_decref(file->root);
    *file = (struct ctl_salefile){0};
}
