/* Reading what an operator wrote in JSON: each key is fetched with what it must be, and whatever is
 * wrong is told by file, path and key. What is not expected is an error as well, so that a slip of
 * the pen is not a rule that was never set. Pure. */
#ifndef TG_CTL_JSONREAD_H
#define TG_CTL_JSONREAD_H

#include "base/error.h"
#include "ctl/names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* An object in the file, for fetching and for complaints. Copied for the objects within it. */
struct ctl_node {
    const char *file;
    const char *kind;     /* "a sale file" */
    char path[64];        /* "" or "items[3]." */
    const json_t *object; /* borrowed */
    int64_t now_ms;       /* what "now" is */
    bool *relative_times; /* set when a time is counted from now; NULL: such times are refused */
    struct tg_fault *fault;
};

/* "FILE: items[3].KEY ..." into the fault; false. */
bool ctl_node_wrong(const struct ctl_node *node, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "a string", "null": for complaints. Static. */
const char *ctl_json_type_name(const json_t *value);

/* False after a complaint about the first key that is none of these. */
bool ctl_node_only(const struct ctl_node *node, const char *const *keys, uint32_t count);
bool ctl_node_has(const struct ctl_node *node, const char *key);

/* Element `index` of the array `key`, and the object at `key`, as nodes of their own; false after
 * a complaint when they are no objects. */
bool ctl_node_element(const struct ctl_node *node, const char *key, const json_t *array,
                      size_t index, struct ctl_node *element);
bool ctl_node_object(const struct ctl_node *node, const char *key, struct ctl_node *object);

/* The value of a required key; `expected` says what it must be. Each is false (or NULL) after a
 * complaint. */
const json_t *ctl_get(const struct ctl_node *node, const char *key, const char *expected);
const json_t *ctl_get_array(const struct ctl_node *node, const char *key, size_t min, size_t max);
bool ctl_get_number(const struct ctl_node *node, const char *key, int64_t min, int64_t max,
                    int64_t *number);
bool ctl_get_uint32(const struct ctl_node *node, const char *key, uint32_t min, uint32_t max,
                    uint32_t *number);
/* A number from `min` on, or its digits as a string: the form in which --json prints ids. */
bool ctl_get_id(const struct ctl_node *node, const char *key, uint64_t min, uint64_t *id);
bool ctl_get_bool(const struct ctl_node *node, const char *key, protobuf_c_boolean *value);
/* Borrowed from the object. */
char *ctl_get_string(const struct ctl_node *node, const char *key, const char *expected);
/* `min` to `max` bytes of UTF-8; borrowed. */
bool ctl_get_bytes(const struct ctl_node *node, const char *key, size_t min, size_t max,
                   ProtobufCBinaryData *bytes);
bool ctl_get_time(const struct ctl_node *node, const char *key, int64_t *time_ms);
bool ctl_get_enum(const struct ctl_node *node, const char *key,
                  const ProtobufCEnumDescriptor *names, int *value);
bool ctl_get_sku(const struct ctl_node *node, const char *key, char **sku);
bool ctl_get_currency(const struct ctl_node *node, const char *key, char **currency);

#endif
