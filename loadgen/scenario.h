/* A scenario file: the parts of a run, each with options of its own, and thresholds. The format is
 * told in docs/scenarios.md. Read once by the main thread; then read-only. */
#ifndef LG_SCENARIO_H
#define LG_SCENARIO_H

#include "loadgen/options.h"
#include "loadgen/parts.h"

#define LG_PART_NAME_BYTES 20u
#define LG_ABOUT_BYTES     400u

/* Large: not for a stack. */
struct lg_scenario {
    char about[LG_ABOUT_BYTES]; /* "" for none */
    struct lg_options whole;    /* what the command line said, and the thresholds of all parts */
    struct lg_options parts[LG_PARTS_MAX];
    uint32_t part_count;
    char names[LG_PARTS_MAX][LG_PART_NAME_BYTES];
};

/* Reads line->file into `scenario` (caller's memory), and puts what `line` says over it: server,
 * seed, progress, quiet and thresholds. Borrows line's strings. TG_ERR_INVALID; the fault names the
 * file, the line and what it must be. */
enum tg_error lg_scenario_read(struct lg_scenario *scenario, const struct lg_options *line,
                               struct tg_fault *fault);

#endif
