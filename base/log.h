/* One line on stderr for each thing that an operator should know. Never secrets, never per order.
 *
 *   2026-11-22T09:00:00.123Z info  recovered 5000000 orders in 1.20 s
 */
#ifndef TG_BASE_LOG_H
#define TG_BASE_LOG_H

enum tg_log_level {
    TG_LOG_INFO,
    TG_LOG_WARN,
    TG_LOG_ERROR,
};

/* One write(2) a line, so that lines of several threads do not mix. Cut at 1,024 bytes. */
void tg_log(enum tg_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define tg_log_info(...)  tg_log(TG_LOG_INFO, __VA_ARGS__)
#define tg_log_warn(...)  tg_log(TG_LOG_WARN, __VA_ARGS__)
#define tg_log_error(...) tg_log(TG_LOG_ERROR, __VA_ARGS__)

#endif
