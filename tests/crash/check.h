/* The look at one crash image, as the daemon would find it after the power is back: it opens,
 * recovers, and verifies; and it holds every fact that was acknowledged before the cut. */
#ifndef TG_TESTS_CRASH_CHECK_H
#define TG_TESTS_CRASH_CHECK_H

#include "tests/crash/facts.h"

#define CHECK_TEXT_BYTES 512

struct check_result {
    uint64_t facts;              /* looked for */
    uint64_t orders;             /* found */
    char text[CHECK_TEXT_BYTES]; /* "": nothing is wrong */
};

/* Looks in a child process, since a bad image may end it. `daemon_log` (may be NULL): where the
 * messages of a whole daemon go that is started on the image as well. */
void check_image(const char *data_dir, const struct facts *facts, uint64_t cut,
                 const char *daemon_log, struct check_result *result);

/* Before the first look, in each process that looks. `messages`: file that takes what libraries say
 * on stderr when an image ends a look. */
void check_init(const char *messages);

#endif
