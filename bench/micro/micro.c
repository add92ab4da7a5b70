/* One case of the micro benchmarks: prepares COUNT iterations, runs RUN of them, ends. To be
 * counted from outside (bench/micro/run.sh); by itself it prints nothing.
 *
 * usage: micro CASE COUNT RUN      micro --list
 */
#include "bench/micro/micro.h"

#include "base/rng.h"
#include "proto/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct micro_case *const cases[] = {
    &micro_accept, &micro_settle, &micro_refuse,          &micro_gate,           &micro_ring,
    &micro_decode, &micro_commit, &micro_encode_accepted, &micro_encode_refused,
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

_Noreturn void micro_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("micro: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

void *micro_alloc(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory)
        micro_die("no memory for %zu bytes", bytes);
    return memory;
}

struct tg_sale_def *micro_sale(uint32_t stock_units)
{
    struct tg_sale_def *def = tg_sale_def_create(1);
    if (!def)
        micro_die("no memory for a sale");
    def->sale_id = MICRO_SALE_ID;
    def->kind = TG_SALE_SECKILL;
    def->state = TG_SALE_ACTIVE;
    def->name_bytes = 5;
    memcpy(def->name, "micro", 5);
    memcpy(def->currency, "CNY", 3);
    def->starts_at_ms = MICRO_NOW_MS - 1000;
    def->ends_at_ms = MICRO_NOW_MS + 3600 * 1000ll;
    def->payment_window_s = 900;
    struct tg_item_def *item = &def->items[0];
    item->sku_bytes = sizeof(MICRO_SKU) - 1;
    memcpy(item->sku, MICRO_SKU, sizeof(MICRO_SKU) - 1);
    item->list_price_minor = MICRO_PRICE_MINOR * 2;
    item->sale_price_minor = MICRO_PRICE_MINOR;
    item->stock_units = stock_units;
    item->per_user_limit = MICRO_LIMIT;
    item->stock_policy = TG_POLICY_RESERVE;
    return def;
}

struct tg_order micro_order(uint32_t number)
{
    struct tg_order order = {
        .sale_id = MICRO_SALE_ID,
        .user_id = 1 + tg_mix64(number) % 1000000007,
        .unit_price_minor = MICRO_PRICE_MINOR,
        .sku = (const uint8_t *)MICRO_SKU,
        .external_id = (const uint8_t *)"LG00000000",
        .quantity = 1,
        .channel = 1,
        .sku_bytes = sizeof(MICRO_SKU) - 1,
        .external_bytes = 10,
    };
    uint64_t id[2] = {tg_mix64(number + 1ull), tg_mix64(number + (1ull << 32))};
    memcpy(order.request_id, id, sizeof(order.request_id));
    return order;
}

static uint32_t number_of(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || value > UINT32_MAX)
        micro_die("%s is no number of iterations", text);
    return (uint32_t)value;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < CASES; i++)
            puts(cases[i]->name);
        return 0;
    }
    if (argc != 5)
        micro_die("usage: micro CASE COUNT RUN DIR, or micro --list");
    uint32_t count = number_of(argv[2]), run = number_of(argv[3]);
    for (size_t i = 0; i < CASES; i++) {
        const struct micro_case *c = cases[i];
        if (strcmp(argv[1], c->name) != 0)
            continue;
        if (run > count || count % c->step || run % c->step)
            micro_die("%s runs multiples of %u, and no more than are prepared", c->name, c->step);
        void *state = c->prepare(count, argv[4]);
        c->run(state, run);
        return 0;
    }
    micro_die("there is no case %s", argv[1]);
}
