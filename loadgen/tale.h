/* Telling stories: a run of one of the scenarios of loadgen/story.h, from its sale to its audit.
 *
 * One thread carries all: it keeps connections x pipeline stories going over libtidegate, sends
 * again what was lost with a connection or answered BUSY, asks one in sixteen things a second time
 * to see its first answer, looks at the books and reads the outbox while it goes on, and reads
 * everything back at the end.
 */
#ifndef LG_TALE_H
#define LG_TALE_H

#include "loadgen/run.h"

enum lg_status lg_tale_run(const struct lg_options *options, struct lg_result *result);
#endif
