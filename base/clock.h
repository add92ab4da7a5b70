/* The two clocks. Read by loops and tools, handed to the engine as values; the engine has none. */
#ifndef TG_BASE_CLOCK_H
#define TG_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define TG_NS_PER_MS 1000000ll
#define TG_NS_PER_S  1000000000ll

/* Nanoseconds since some moment; never goes back. For intervals and timeouts. */
static inline int64_t tg_clock_mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * TG_NS_PER_S + now.tv_nsec;
}

/* Unix time in nanoseconds; an operator or NTP may set it. For windows and timestamps. */
static inline int64_t tg_clock_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * TG_NS_PER_S + now.tv_nsec;
}

#endif
