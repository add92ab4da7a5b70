/* What is ordered: attempt number -> user, item, quantity, request id, external id.
 *
 * Nothing about an attempt is remembered but its number; everything else is derived from (seed,
 * nonce, number) whenever it is needed, by the sender, by a resend hours later, and by the audit.
 * The seed fixes users, items and quantities, so that a run can be repeated; the nonce is drawn
 * anew for each run and goes into the request ids only, so that two runs never share one.
 *
 * Request ids can be undone: lg_plan_number_of gives the attempt of an id that this run made, and
 * refuses all others.
 *
 * Read-only after lg_plan_init: any thread.
 */
#ifndef LG_PLAN_H
#define LG_PLAN_H

#include "base/limits.h"
#include "loadgen/zipf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LG_ATTEMPTS_MAX   (1ull << 40)
#define LG_USERS_MAX      1000000000ull
#define LG_USER_ID_FIRST  10000000ull /* user ids look like a grown platform's */
#define LG_EXTERNAL_BYTES 10          /* "LG" and the attempt number in 8 digits of base 32 */
#define LG_CHANNEL        1
#define LG_SHARE_ONE      (1ull << 32) /* a share of 1.0 in fixed point */

/* What derives attempts. Stands as is in the audit log, so its layout is a file format. */
struct lg_plan_settings {
    uint64_t seed;
    uint64_t nonce;
    uint64_t sale_id;
    uint64_t users;        /* 1 .. LG_USERS_MAX */
    uint64_t greedy_users; /* 1 .. users: the first of them */
    uint64_t greedy_share; /* of LG_SHARE_ONE: attempts made by greedy users */
    uint64_t retry_share;  /* of LG_SHARE_ONE: answered attempts that are sent again */
    uint32_t item_count;   /* 1 .. TG_SALE_ITEMS_MAX */
    uint32_t quantity_min; /* 1 .. quantity_max */
    uint32_t quantity_max; /* .. TG_QUANTITY_MAX */
    uint32_t own_sale;     /* 1: nobody else orders in this sale */
    double zipf_exponent;  /* 0: items are drawn uniformly */
    char scenario[16];     /* NUL-terminated */
};

_Static_assert(sizeof(struct lg_plan_settings) == 96, "a file format");

/* One item of the sale, as ordered and as audited. */
struct lg_item {
    uint8_t sku[TG_SKU_BYTES_MAX];
    uint8_t sku_bytes;
    uint32_t per_user_limit; /* 0: none */
    int64_t price_minor;
    uint64_t stock_units; /* when the sale was made */
};

struct lg_plan {
    struct lg_plan_settings settings;
    struct lg_item *items; /* owned, settings.item_count of them */
    struct lg_zipf zipf;
    uint64_t draw_key; /* of the seed */
    uint64_t item_key;
    uint64_t retry_key;
    uint64_t request_key; /* of seed and nonce */
    uint64_t check_key;
};

struct lg_attempt {
    uint64_t number;
    uint64_t user_id;
    uint32_t item;
    uint32_t quantity;
    uint64_t request_id[2]; /* the 16 bytes, little-endian */
};

/* Takes over `items` (malloc'ed). False without memory; `items` is freed then, too. */
bool lg_plan_init(struct lg_plan *plan, const struct lg_plan_settings *settings,
                  struct lg_item *items);
void lg_plan_fini(struct lg_plan *plan);

/* The items of a sale of our own, malloc'ed; NULL without memory. */
struct lg_item *lg_plan_items(uint32_t count, uint64_t stock_units, uint32_t per_user_limit);

/* `number` < LG_ATTEMPTS_MAX. About 5 ns for one item. */
static inline void lg_plan_attempt(const struct lg_plan *plan, uint64_t number,
                                   struct lg_attempt *attempt);

/* The attempt that has this request id, when it is one of this run's. */
bool lg_plan_number_of(const struct lg_plan *plan, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                       uint64_t *number);

/* This attempt is sent a second time after its answer. */
static inline bool lg_plan_retries(const struct lg_plan *plan, uint64_t number);

/* Writes the external id of an attempt. */
static inline void lg_plan_external_id(uint64_t number, uint8_t out[LG_EXTERNAL_BYTES]);

/* --- inline: the sender derives millions a second --- */

#include "base/rng.h"

#include <string.h>

static inline void lg_plan_attempt(const struct lg_plan *plan, uint64_t number,
                                   struct lg_attempt *attempt)
{
    const struct lg_plan_settings *s = &plan->settings;
    uint64_t draw = tg_mix64(number * TG_RNG_GOLDEN + plan->draw_key);
    /* The low word says whether a greedy user comes, the high word which user. */
    uint64_t users = (uint32_t)draw < s->greedy_share ? s->greedy_users : s->users;
    attempt->number = number;
    attempt->user_id = LG_USER_ID_FIRST + (((draw >> 32) * users) >> 32);
    attempt->item = 0;
    attempt->quantity = s->quantity_min;
    if (s->item_count > 1 || s->quantity_max > s->quantity_min) {
        uint64_t pick = tg_mix64(number * TG_RNG_GOLDEN + plan->item_key);
        attempt->item = lg_zipf_rank(&plan->zipf, pick);
        uint64_t range = s->quantity_max - s->quantity_min + 1;
        attempt->quantity += (uint32_t)((((draw ^ pick) & UINT32_MAX) * range) >> 32);
    }
    attempt->request_id[0] = tg_mix64(number ^ plan->request_key);
    attempt->request_id[1] = tg_mix64(attempt->request_id[0] ^ plan->check_key);
}

static inline bool lg_plan_retries(const struct lg_plan *plan, uint64_t number)
{
    if (!plan->settings.retry_share)
        return false;
    return (uint32_t)tg_mix64(number ^ plan->retry_key) < plan->settings.retry_share;
}

/* Eight groups of five bits, each spread into its own byte, then all turned into digits at once:
 * 0-9 and, 39 further on in ASCII, a-v. */
static inline void lg_plan_external_id(uint64_t number, uint8_t out[LG_EXTERNAL_BYTES])
{
    uint64_t x = number & (LG_ATTEMPTS_MAX - 1);
    x = (x & 0xfffffull) | (x >> 20) << 32;
    x = (x & 0x000003ff000003ffull) | (x & 0x000ffc00000ffc00ull) << 6;
    x = (x & 0x001f001f001f001full) | (x & 0x03e003e003e003e0ull) << 3;
    uint64_t letters = ((x + 0x7676767676767676ull) >> 7) & 0x0101010101010101ull;
    x += 0x3030303030303030ull + letters * 39;
    x = __builtin_bswap64(x);
    out[0] = 'L';
    out[1] = 'G';
    memcpy(out + 2, &x, 8);
}

#endif
