/* tidegate-load compare: two versions by the reports of runs that were made in turn. What is done
 * with the figures is in loadgen/pairs.h; here are the reports, what makes them comparable, and how
 * the answer is told. Main thread. */
#ifndef LG_COMPARE_H
#define LG_COMPARE_H

#include "base/error.h"
#include "loadgen/pairs.h"

#include <jansson.h>
#include <stdio.h>

#define LG_COMPARE_MARGIN 0.05 /* without --margin */

/* Why two runs cannot be compared: the first setting that differs, in words. False when none does.
 * Settings are all that was asked for: scenario, loop, shape, stages, of each part too; not the
 * seed, the server, nor the machine. */
bool lg_compare_differ(const json_t *a, const json_t *b, char *words, size_t bytes);

/* The command: argv[0] is "compare". Returns the exit status: 0 same, better or unclear; 2 wrong
 * words, or runs that cannot be compared; 3 worse beyond noise in one figure at least; 4 a report
 * cannot be read, or the answer not be written. */
int lg_compare_main(int argc, char **argv);

#endif
