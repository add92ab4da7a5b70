#include "ctl/progress.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define TTY_NS  (200 * TG_NS_PER_MS)
#define LINE_NS TG_NS_PER_S

void ctl_progress_init(struct ctl_progress *progress, bool wanted)
{
    *progress = (struct ctl_progress){
        .on_tty = isatty(STDERR_FILENO) == 1, .wanted = wanted, .begun_ns = tg_clock_mono_ns()};
}

bool ctl_progress_is_due(const struct ctl_progress *progress)
{
    if (!progress->on_tty && !progress->wanted)
        return false;
    int64_t pause_ns = progress->on_tty ? TTY_NS : LINE_NS;
    return progress->last_ns == 0 || tg_clock_mono_ns() - progress->last_ns >= pause_ns;
}

double ctl_progress_seconds(const struct ctl_progress *progress)
{
    return (double)(tg_clock_mono_ns() - progress->begun_ns) / (double)TG_NS_PER_S;
}

void ctl_progress_tell(struct ctl_progress *progress, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    progress->last_ns = tg_clock_mono_ns();
    if (progress->on_tty)
        fputs("\r\033[K", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    if (!progress->on_tty)
        fputc('\n', stderr);
    progress->on_line = progress->on_tty;
}

void ctl_progress_clear(struct ctl_progress *progress)
{
    if (progress->on_line)
        fputs("\r\033[K", stderr);
    progress->on_line = false;
}
