/* The parts of a run, at the same time: each in a thread with a sale and an audit of its own, all
 * starting load at one moment (loadgen/gate.h). Main thread. */
#ifndef LG_PARTS_H
#define LG_PARTS_H

#include "loadgen/run.h"

#define LG_PARTS_MAX 16u

/* Runs `count` parts, 1 to LG_PARTS_MAX. One part alone is the result; of more, the result is the
 * whole with its parts in it. The thresholds of `whole` are for all together. Both are borrowed by
 * the result. NULL without memory. */
struct lg_result *lg_parts_run(const struct lg_options *parts, uint32_t count,
                               const struct lg_options *whole);

#endif
