#include "ctl/jsonread.h"

#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/text.h"
#include "proto/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool ctl_node_wrong(const struct ctl_node *node, const char *key, const char *format, ...)
{
    char words[256];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    tg_fault_set(node->fault, TG_ERR_INVALID, "%s: %s%.64s %s", node->file, node->path, key, words);
    return false;
}

const char *ctl_json_type_name(const json_t *value)
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

/* --- objects --- */

bool ctl_node_only(const struct ctl_node *node, const char *const *keys, uint32_t count)
{
    const char *key;
    json_t *value;
    /* jansson's loop takes no const object, and changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)node->object, key, value)
    {
        bool known = false;
        for (uint32_t i = 0; i < count; i++)
            known = known || strcmp(key, keys[i]) == 0;
        if (known)
            continue;
        const char *nearest = tg_text_nearest(key, keys, count);
        if (nearest)
            return ctl_node_wrong(node, key, "is no key of %s; did you mean \"%s\"?", node->kind,
                                  nearest);
        return ctl_node_wrong(node, key, "is no key of %s", node->kind);
    }
    return true;
}

bool ctl_node_has(const struct ctl_node *node, const char *key)
{
    return json_object_get(node->object, key) != NULL;
}

/* `path` must be an object; the keys in it are then told with its path in front. */
static bool enter(struct ctl_node *inner, const json_t *object)
{
    inner->object = object;
    if (!json_is_object(object))
        return ctl_node_wrong(inner, "", "must be an object, not %s", ctl_json_type_name(object));
    size_t used = strlen(inner->path);
    snprintf(inner->path + used, sizeof(inner->path) - used, ".");
    return true;
}

bool ctl_node_element(const struct ctl_node *node, const char *key, const json_t *array,
                      size_t index, struct ctl_node *element)
{
    *element = *node;
    snprintf(element->path, sizeof(element->path), "%.24s%.16s[%zu]", node->path, key, index);
    return enter(element, json_array_get(array, index));
}

bool ctl_node_object(const struct ctl_node *node, const char *key, struct ctl_node *object)
{
    const json_t *value = ctl_get(node, key, "an object");
    *object = *node;
    if (!value)
        return false;
    snprintf(object->path, sizeof(object->path), "%.24s%.16s", node->path, key);
    return enter(object, value);
}

/* --- values --- */

const json_t *ctl_get(const struct ctl_node *node, const char *key, const char *expected)
{
    const json_t *value = json_object_get(node->object, key);
    if (!value)
        ctl_node_wrong(node, key, "is missing: it must be %s", expected);
    return value;
}

const json_t *ctl_get_array(const struct ctl_node *node, const char *key, size_t min, size_t max)
{
    char expected[64];
    snprintf(expected, sizeof(expected), "an array of %zu to %zu elements", min, max);
    const json_t *array = ctl_get(node, key, expected);
    if (!array)
        return NULL;
    size_t count = json_array_size(array);
    if (!json_is_array(array))
        ctl_node_wrong(node, key, "must be %s, not %s", expected, ctl_json_type_name(array));
    else if (count < min || count > max)
        ctl_node_wrong(node, key, "must be %s, not of %zu", expected, count);
    else
        return array;
    return NULL;
}

bool ctl_get_number(const struct ctl_node *node, const char *key, int64_t min, int64_t max,
                    int64_t *number)
{
    char expected[96];
    snprintf(expected, sizeof(expected), "a whole number, %" PRId64 " to %" PRId64, min, max);
    const json_t *value = ctl_get(node, key, expected);
    if (!value)
        return false;
    if (!json_is_integer(value))
        return ctl_node_wrong(node, key, "must be %s, not %s", expected, ctl_json_type_name(value));
    *number = json_integer_value(value);
    if (*number < min || *number > max)
        return ctl_node_wrong(node, key, "must be %s, not %" PRId64, expected, *number);
    return true;
}

bool ctl_get_uint32(const struct ctl_node *node, const char *key, uint32_t min, uint32_t max,
                    uint32_t *number)
{
    int64_t wide = 0;
    if (!ctl_get_number(node, key, min, max, &wide))
        return false;
    *number = (uint32_t)wide;
    return true;
}

bool ctl_get_id(const struct ctl_node *node, const char *key, uint64_t min, uint64_t *id)
{
    char expected[48];
    snprintf(expected, sizeof(expected), "a whole number from %" PRIu64 " on", min);
    const json_t *value = ctl_get(node, key, expected);
    if (!value)
        return false;
    if (json_is_string(value) && ctl_uint_parse(json_string_value(value), min, UINT64_MAX, id))
        return true;
    if (json_is_integer(value) && json_integer_value(value) >= (json_int_t)min) {
        *id = (uint64_t)json_integer_value(value);
        return true;
    }
    return ctl_node_wrong(node, key, "must be %s", expected);
}

bool ctl_get_bool(const struct ctl_node *node, const char *key, protobuf_c_boolean *value)
{
    const json_t *json = ctl_get(node, key, "true or false");
    if (!json)
        return false;
    if (!json_is_boolean(json))
        return ctl_node_wrong(node, key, "must be true or false, not %s", ctl_json_type_name(json));
    *value = json_is_true(json);
    return true;
}

char *ctl_get_string(const struct ctl_node *node, const char *key, const char *expected)
{
    const json_t *value = ctl_get(node, key, expected);
    if (!value)
        return NULL;
    if (!json_is_string(value)) {
        ctl_node_wrong(node, key, "must be %s, not %s", expected, ctl_json_type_name(value));
        return NULL;
    }
    /* protobuf-c packs from char *, and does not write to it. */
    return (char *)(uintptr_t)json_string_value(value);
}

bool ctl_get_bytes(const struct ctl_node *node, const char *key, size_t min, size_t max,
                   ProtobufCBinaryData *bytes)
{
    char expected[48];
    snprintf(expected, sizeof(expected), "a string of %zu to %zu bytes", min, max);
    char *text = ctl_get_string(node, key, expected);
    if (!text)
        return false;
    *bytes = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    return (bytes->len >= min && bytes->len <= max) ||
           ctl_node_wrong(node, key, "must be %s, not of %zu", expected, bytes->len);
}

bool ctl_get_time(const struct ctl_node *node, const char *key, int64_t *time_ms)
{
    const char *expected = node->relative_times
                               ? "a time such as \"2026-11-22T10:00:00Z\" or \"now\" or "
                                 "\"+30s\", or Unix milliseconds"
                               : "a time such as \"2026-11-22T10:00:00Z\", or Unix milliseconds";
    const json_t *value = ctl_get(node, key, expected);
    if (!value)
        return false;
    if (json_is_integer(value))
        return ctl_get_number(node, key, 0, TG_TIME_MS_MAX, time_ms);
    if (!json_is_string(value))
        return ctl_node_wrong(node, key, "must be %s, not %s", expected, ctl_json_type_name(value));
    bool relative = false;
    const char *text = json_string_value(value);
    if (!ctl_time_parse(text, node->now_ms, time_ms, &relative) ||
        (relative && !node->relative_times))
        return ctl_node_wrong(node, key, "must be %s, not \"%.40s\"", expected, text);
    if (relative)
        *node->relative_times = true;
    return true;
}

bool ctl_get_enum(const struct ctl_node *node, const char *key,
                  const ProtobufCEnumDescriptor *names, int *value)
{
    char expected[CTL_CHOICES_BYTES];
    const char *text = ctl_get_string(node, key, ctl_enum_choices(names, expected));
    if (!text)
        return false;
    return ctl_enum_parse(names, text, value) ||
           ctl_node_wrong(node, key, "must be %s, not \"%.40s\"", expected, text);
}

bool ctl_get_sku(const struct ctl_node *node, const char *key, char **sku)
{
    static const char expected[] = "1 to 32 printable ASCII bytes, no spaces";
    *sku = ctl_get_string(node, key, expected);
    if (!*sku)
        return false;
    return tg_sku_is_valid((struct tg_bytes){(const uint8_t *)*sku, strlen(*sku)}) ||
           ctl_node_wrong(node, key, "must be %s", expected);
}

bool ctl_get_currency(const struct ctl_node *node, const char *key, char **currency)
{
    static const char expected[] = "three capital letters (ISO 4217), such as \"CNY\"";
    *currency = ctl_get_string(node, key, expected);
    if (!*currency)
        return false;
    size_t capitals = strspn(*currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return (capitals == TG_CURRENCY_BYTES && (*currency)[capitals] == '\0') ||
           ctl_node_wrong(node, key, "must be %s, not \"%.40s\"", expected, *currency);
}
