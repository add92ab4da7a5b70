/* The machine that a run ran on, for its report. What cannot be found out is "" or 0. Blocking; any
 * thread. */
#ifndef LG_MACHINE_H
#define LG_MACHINE_H

#include "base/error.h"
#include "base/histogram.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_PROBE_WRITES 500u
#define LG_PROBE_NS_MAX 2000000000ll /* of all writes */

struct lg_machine {
    char cpu[128];
    uint32_t cores; /* online */
    uint64_t memory_bytes;
    char kernel[160];
    char clock[32];
    char governor[32]; /* "" where the kernel has none */
    char libc[64];
    /* of the directory that was probed */
    bool probed;
    char filesystem[32];
    struct tg_histogram fdatasync_ns; /* a 4 KiB write and its fdatasync */
};

void lg_machine_read(struct lg_machine *machine);

/* Writes 4 KiB and calls fdatasync, LG_PROBE_WRITES times or for LG_PROBE_NS_MAX, over a file that
 * is made in `directory` and removed again. TG_ERR_IO when that cannot be done. */
enum tg_error lg_machine_probe(struct lg_machine *machine, const char *directory,
                               struct tg_fault *fault);

#endif
