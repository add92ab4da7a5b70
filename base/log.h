/* One line on stderr for each thing that an operator should know. Never secrets, never per order;
 * of buyers nothing but ids.
 *
 *   text  2026-11-22T09:00:00.123Z info  recovered 5000000 orders in 1.20 s
 *   kv    ts=2026-11-22T09:00:00.123Z level=info at=server/tidegated.c:227 thread=tidegated
 * msg="..." json
 * {"ts":"2026-11-22T09:00:00.123Z","level":"info","at":"...","thread":"...","msg":"..."}
 *
 * Each place in the code may say TG_LOG_BURST lines in TG_LOG_WINDOW_NS; what is more is left out
 * and counted, and the next line of that place that is written carries the count (`left_out`).
 * What is no printable UTF-8 is written as an escape in kv and json, and as '?' in text, so that a
 * line is one line. Any thread.
 */
#ifndef TG_BASE_LOG_H
#define TG_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum tg_log_level {
    TG_LOG_INFO,
    TG_LOG_WARN,
    TG_LOG_ERROR,
};

enum tg_log_format {
    TG_LOG_TEXT,
    TG_LOG_KV,
    TG_LOG_JSON,
};

#define TG_LOG_BURST      40
#define TG_LOG_WINDOW_NS  10000000000ll
#define TG_LOG_TEXT_BYTES 960 /* of a message; the rest is cut off */

/* A place in the code that logs. Static, zero but for `at`; owned by the log. */
struct tg_log_site {
    const char *at;            /* "server/writer.c:114" */
    _Atomic int64_t began_ns;  /* of the window, monotonic; 0: none yet */
    _Atomic uint32_t lines;    /* in this window, also those left out */
    _Atomic uint64_t left_out; /* since the last line that was written */
};

/* From now on: lines below `level` are not written. Until it is called: info, text. */
void tg_log_configure(enum tg_log_level level, enum tg_log_format format);

/* Whether a line of this site may be written at `now_ns`; then `left_out` is how many were not
 * before it. */
bool tg_log_admit(struct tg_log_site *site, int64_t now_ns, uint64_t *left_out);

/* One write(2) a line, so that lines of several threads do not mix. */
void tg_log(struct tg_log_site *site, enum tg_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define TG_LOG_LINE_TEXT_(line) #line
#define TG_LOG_LINE_TEXT(line)  TG_LOG_LINE_TEXT_(line)
#define TG_LOG_AT(level, ...)                                                                      \
    do {                                                                                           \
        static struct tg_log_site tg_log_site_ = {.at = __FILE__ ":" TG_LOG_LINE_TEXT(__LINE__)};  \
        tg_log(&tg_log_site_, level, __VA_ARGS__);                                                 \
    } while (0)

#define tg_log_info(...)  TG_LOG_AT(TG_LOG_INFO, __VA_ARGS__)
#define tg_log_warn(...)  TG_LOG_AT(TG_LOG_WARN, __VA_ARGS__)
#define tg_log_error(...) TG_LOG_AT(TG_LOG_ERROR, __VA_ARGS__)

#endif
