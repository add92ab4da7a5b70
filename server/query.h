/* The parameters of a request's address, /api/sales?limit=10: read strictly, so that a slip is told
 * instead of ignored. Pure; borrows the texts. */
#ifndef TG_SERVER_QUERY_H
#define TG_SERVER_QUERY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SRV_QUERY_PAIRS_MAX 8

struct srv_query {
    struct {
        const char *name;
        const char *value; /* NULL: it stands there without '=' */
    } pairs[SRV_QUERY_PAIRS_MAX];
    uint32_t count; /* above SRV_QUERY_PAIRS_MAX: there were more, which were not kept */
};

void srv_query_add(struct srv_query *query, const char *name, const char *value);

/* Each must be one of `names` (up to a NULL) and stand there once. TG_ERR_INVALID names the one
 * that is not, as all faults here do. */
enum tg_error srv_query_check(const struct srv_query *query, const char *const *names,
                              struct tg_fault *fault);

/* A decimal number from `low` to `high`; `*value` stays as it is when it is not there. */
enum tg_error srv_query_number(const struct srv_query *query, const char *name, uint64_t low,
                               uint64_t high, uint64_t *value, struct tg_fault *fault);

/* Whether it is there. */
bool srv_query_has(const struct srv_query *query, const char *name);

/* Digits alone, the whole of `text`, at most `high`. */
bool srv_query_digits(const char *text, size_t bytes, uint64_t high, uint64_t *value);

#endif
