/* How far a long command is, on stderr: one line drawn over and over on a terminal, a line a second
 * elsewhere when --progress asks for it, else nothing. One thread. */
#ifndef TG_CTL_PROGRESS_H
#define TG_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct ctl_progress {
    bool on_tty;
    bool wanted;
    bool on_line; /* a line stands on the terminal */
    int64_t begun_ns;
    int64_t last_ns; /* 0: nothing was told so far */
};

/* The clock of it starts. */
void ctl_progress_init(struct ctl_progress *progress, bool wanted);
/* It is time to tell again; cheap, so that it may be asked for every row. */
bool ctl_progress_is_due(const struct ctl_progress *progress);
/* Since the start. */
double ctl_progress_seconds(const struct ctl_progress *progress);
void ctl_progress_tell(struct ctl_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Takes the line away, before anything else is written to stderr, and at the end. */
void ctl_progress_clear(struct ctl_progress *progress);

#endif
