/* What the two halves of the injector share: inject.c stands before libc and the allocator,
 * inject_ring.c before liburing. */
#ifndef TG_TESTS_FAULTS_INJECT_H
#define TG_TESTS_FAULTS_INJECT_H

#include "tests/faults/plan.h"

#include <stdbool.h>
#include <stddef.h>

/* Counts a call of `class` by the function `name`, whose caller is at `from`. 0: it goes its way;
 * else the error that it must fail with, or PLAN_SHORT. Any thread; allocates nothing. */
int inject(enum plan_class class, const char *name, const void *from);

/* This run may fail calls of `class`. */
bool inject_wanted(enum plan_class class);

/* The function that `name` would be without the injector. */
void *inject_next(const char *name);

/* Parts that short calls do take turns: 1 to 7 bytes, for a call that was asked for more. */
size_t inject_part(size_t whole);

/* inject() for the function in which this stands. */
#define INJECT(class) inject(class, __func__, __builtin_return_address(0))

/* A pointer `real` to the function in which this stands, as it is behind the injector. */
#define INJECT_REAL(result, ...)                                                                   \
    static _Atomic(void *) real_at;                                                                \
    void *real_found = atomic_load_explicit(&real_at, memory_order_relaxed);                       \
    if (!real_found) {                                                                             \
        real_found = inject_next(__func__);                                                        \
        atomic_store_explicit(&real_at, real_found, memory_order_relaxed);                         \
    }                                                                                              \
    result (*real)(__VA_ARGS__);                                                                   \
    *(void **)&real = real_found

#endif
