/* What the files of client/ share: connecting, and time that is left. */
#ifndef TG_CLIENT_INTERNAL_H
#define TG_CLIENT_INTERNAL_H

#include "base/clock.h"
#include "base/error.h"

#include <limits.h>
#include <stdint.h>

/* "[v6 of 255 bytes]:port" and its end. */
#define TGC_ADDRESS_BYTES 272

/* Connects to one of the addresses of `host` before `deadline_ns` (monotonic); each address gets
 * its share of the time. `name` is what faults call the server. The socket is non-blocking, with
 * TCP_NODELAY, and gives up on a silent peer after about `silence_ms`. Resolving blocks for as
 * long as the resolver does. TG_ERR_SYSTEM or TG_ERR_TIMEOUT. */
enum tg_error tgc_connect(const char *host, const char *port, const char *name, int64_t deadline_ns,
                          uint32_t silence_ms, int *fd, struct tg_fault *fault);

static inline int64_t tgc_deadline_ns(uint32_t timeout_ms)
{
    return tg_clock_mono_ns() + (int64_t)timeout_ms * TG_NS_PER_MS;
}

/* Milliseconds until `deadline_ns`, rounded up so that a wait does not spin; 0 when it is over. */
static inline uint32_t tgc_left_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - tg_clock_mono_ns();
    if (left_ns <= 0)
        return 0;
    int64_t left_ms = (left_ns + TG_NS_PER_MS - 1) / TG_NS_PER_MS;
    return left_ms > INT_MAX ? (uint32_t)INT_MAX : (uint32_t)left_ms;
}

#endif
