/* The cases of the micro benchmarks: what a case prepares, and the loop that is counted.
 *
 * Everything that a loop needs is made by `prepare`, which does the same however much is run then:
 * so the instructions of a run of N + M iterations, less those of a run of N, are those of M
 * iterations of the loop and of nothing else. One thread; a case that cannot be prepared ends the
 * program.
 */
#ifndef TG_BENCH_MICRO_H
#define TG_BENCH_MICRO_H

#include "base/order.h"
#include "base/record.h"

#include <stddef.h>
#include <stdint.h>

/* Records that one commit carries. */
#define MICRO_BATCH 1000

struct micro_case {
    const char *name;
    uint32_t step; /* `run` takes multiples of it */
    /* Ready for `count` iterations. Returns the case's own state. `dir` is empty, and removed by
     * whoever made it. */
    void *(*prepare)(uint32_t count, const char *dir);
    void (*run)(void *state, uint32_t count);
};

extern const struct micro_case micro_accept;
extern const struct micro_case micro_settle;
extern const struct micro_case micro_refuse;
extern const struct micro_case micro_gate;
extern const struct micro_case micro_ring;
extern const struct micro_case micro_decode;
extern const struct micro_case micro_encode_accepted;
extern const struct micro_case micro_encode_refused;
extern const struct micro_case micro_commit;

/* Tells why and ends the program. */
_Noreturn void micro_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed memory that lives to the end. */
void *micro_alloc(size_t bytes);

/* What tidegate-load orders: one item, a seckill, a limit for each user that nobody reaches, and
 * the `number`th order for it, of a user and with a request id of its own, from a fixed seed. */
#define MICRO_SALE_ID     (1ull << 44)
#define MICRO_SKU         "A01-001-M-BL"
#define MICRO_PRICE_MINOR 9900ll
#define MICRO_LIMIT       1000
#define MICRO_NOW_MS      1763800000000ll
struct tg_sale_def *micro_sale(uint32_t stock_units);
struct tg_order micro_order(uint32_t number);

#endif
