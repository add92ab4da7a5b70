#include "base/thread.h"

enum tg_error tg_thread_start(pthread_t *thread, void *(*run)(void *), void *argument,
                              const char *name, struct tg_fault *fault)
{
    int code = pthread_create(thread, NULL, run, argument);
    if (code)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, code,
                                  "cannot start the thread '%s', for want of memory or by a limit "
                                  "of processes",
                                  name);
    pthread_setname_np(*thread, name);
    return TG_ERR_OK;
}
