/* The verdicts of a run as JUnit XML, for CI servers: a test suite for the run and one for each of
 * its parts; in each a test case for the audit and one for each threshold. A missed threshold and a
 * broken promise are failures, a run that could not be done or audited is an error. When the audit
 * did not pass, thresholds are skipped: there is nothing to hold against them. */
#ifndef LG_JUNIT_H
#define LG_JUNIT_H

#include "base/error.h"

#include <jansson.h>
#include <stdio.h>

/* To a stream, whose errors are its owner's to look at. */
void lg_junit_render(const json_t *report, FILE *out);

/* To a file, or to standard output for "-". TG_ERR_IO. */
enum tg_error lg_junit_write(const json_t *report, const char *path, struct tg_fault *fault);

#endif
