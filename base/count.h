/* Counters that one thread writes and any may read: relaxed words, as cheap as plain ones. */
#ifndef TG_BASE_COUNT_H
#define TG_BASE_COUNT_H

#include <stdint.h>

/* Writer. */
static inline void tg_count(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* Writer: a copy of a figure that is kept elsewhere. */
static inline void tg_count_set(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/* Any thread: some recent value. */
static inline uint64_t tg_count_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
