/* One way to start a thread: with a name that `top -H` and `perf` show, and with an error that
 * tells what was wanting. */
#ifndef TG_BASE_THREAD_H
#define TG_BASE_THREAD_H

#include "base/error.h"

#include <pthread.h>

/* Starts `run(argument)` under `name` (at most 15 bytes). The text of an error names memory and the
 * limit of processes: EAGAIN, which is all that pthread_create tells, may be either. Any thread. */
enum tg_error tg_thread_start(pthread_t *thread, void *(*run)(void *), void *argument,
                              const char *name, struct tg_fault *fault);

#endif
