/* Telling stories: a run of one of the scenarios of loadgen/story.h, from its sale to its audit.
 *
 * One thread carries all: the teller (loadgen/teller.h) keeps stories going, the watch
 * (loadgen/watch.h) looks at the books and reads the outbox meanwhile, and reads everything back at
 * the end.
 */
#ifndef LG_TALE_H
#define LG_TALE_H

#include "loadgen/run.h"

/* As lg_run: fills `result`, comes to three meetings at the gate or fails it, returns the exit
 * status. Blocking; any thread. */
enum lg_status lg_tale_run(const struct lg_options *options, struct lg_gate *gate, int64_t load_ns,
                           struct lg_result *result);

#endif
