#include "server/query.h"

#include <inttypes.h>
#include <string.h>

void srv_query_add(struct srv_query *query, const char *name, const char *value)
{
    if (query->count < SRV_QUERY_PAIRS_MAX) {
        query->pairs[query->count].name = name;
        query->pairs[query->count].value = value;
    }
    query->count++;
}

static bool is_among(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

enum tg_error srv_query_check(const struct srv_query *query, const char *const *names,
                              struct tg_fault *fault)
{
    if (query->count > SRV_QUERY_PAIRS_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "more than %d parameters", SRV_QUERY_PAIRS_MAX);
    for (uint32_t i = 0; i < query->count; i++) {
        const char *name = query->pairs[i].name;
        if (!is_among(names, name))
            return tg_fault_set(fault, TG_ERR_INVALID, "there is no parameter '%.64s' here", name);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(query->pairs[j].name, name) == 0)
                return tg_fault_set(fault, TG_ERR_INVALID, "%.64s stands there twice", name);
    }
    return TG_ERR_OK;
}

static const char *value_of(const struct srv_query *query, const char *name, bool *found)
{
    *found = false;
    for (uint32_t i = 0; i < query->count && i < SRV_QUERY_PAIRS_MAX; i++)
        if (strcmp(query->pairs[i].name, name) == 0) {
            *found = true;
            return query->pairs[i].value;
        }
    return NULL;
}

bool srv_query_has(const struct srv_query *query, const char *name)
{
    bool found;
    value_of(query, name, &found);
    return found;
}

bool srv_query_digits(const char *text, size_t bytes, uint64_t high, uint64_t *value)
{
    uint64_t number = 0;
    if (bytes == 0 || bytes > 20)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (text[i] < '0' || text[i] > '9' || number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (number > high)
        return false;
    *value = number;
    return true;
}

enum tg_error srv_query_number(const struct srv_query *query, const char *name, uint64_t low,
                               uint64_t high, uint64_t *value, struct tg_fault *fault)
{
    bool found;
    const char *text = value_of(query, name, &found);
    uint64_t number;
    if (!found)
        return TG_ERR_OK;
    if (!text || !srv_query_digits(text, strlen(text), high, &number) || number < low)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%s must be a number from %" PRIu64 " to %" PRIu64 ", not '%.64s'",
                            name, low, high, text ? text : "");
    *value = number;
    return TG_ERR_OK;
}
