/* The live line: once a second on stderr, from what the workers publish. One thread. */
#ifndef LG_PROGRESS_H
#define LG_PROGRESS_H

#include "loadgen/worker.h"

struct lg_progress {
    const char *name; /* of the part, in front of each line; borrowed, NULL: none */
    int64_t start_ns, last_ns;
    uint64_t offered, answers, accepted, refused; /* at last_ns */
    struct tg_histogram before, now, between;
};

void lg_progress_init(struct lg_progress *progress, int64_t start_ns, const char *name);
/* Prints a line when a second has passed since the last one. */
void lg_progress_tick(struct lg_progress *progress, const struct lg_worker *workers,
                      uint32_t count);

#endif
