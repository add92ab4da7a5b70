#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *const level_names[] = {
    [TG_LOG_INFO] = "info ",
    [TG_LOG_WARN] = "warn ",
    [TG_LOG_ERROR] = "error",
};

void tg_log(enum tg_log_level level, const char *format, ...)
{
    char line[1024];
    int64_t now_ns = tg_clock_wall_ns();
    time_t now_s = now_ns / TG_NS_PER_S;
    struct tm utc;
    gmtime_r(&now_s, &utc);
    size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof(line) - used, ".%03dZ %s ",
                             (int)(now_ns % TG_NS_PER_S / TG_NS_PER_MS), level_names[level]);
    va_list args;
    va_start(args, format);
    int text = vsnprintf(line + used, sizeof(line) - used, format, args);
    va_end(args);
    if (text > 0)
        used += (size_t)text;
    if (used > sizeof(line) - 1)
        used = sizeof(line) - 1;
    line[used++] = '\n';
    /* When stderr is gone there is nobody left to tell. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
