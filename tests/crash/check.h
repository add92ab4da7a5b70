/* The look at crash images, as the daemon would find each after the power is back: it opens,
 * recovers, and verifies; its outbox can be read; and it holds every fact that was acknowledged
 * before the cut.
 *
 * One process looks at one image after the other, for the worker that makes them; an image that
 * ends it is a finding, and the next one has a new process. One thread. */
#ifndef TG_TESTS_CRASH_CHECK_H
#define TG_TESTS_CRASH_CHECK_H

#include "tests/crash/facts.h"

#define CHECK_TEXT_BYTES 512

struct check_result {
    uint64_t facts;              /* looked for */
    uint64_t orders;             /* found */
    char text[CHECK_TEXT_BYTES]; /* "": nothing is wrong */
};

/* Before the first look. Images lie in `data_dir`, one after the other; `messages` takes what
 * libraries say on stderr when an image ends a look, `daemon_log` what daemons say that are started
 * on one. All are borrowed until check_end. */
void check_begin(const char *data_dir, const struct facts *facts, const char *messages,
                 const char *daemon_log);
/* Looks at the image that lies there, of a cut at this position of the log; `with_daemon`: starts a
 * whole daemon on it as well. */
void check_image(uint64_t cut, bool with_daemon, struct check_result *result);
void check_end(void);

#endif
