#include "base/log.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A message of which every byte becomes an escape of six, and what stands around it. */
#define LINE_BYTES (6 * TG_LOG_TEXT_BYTES + 512)

static const char *const level_names[] = {
    [TG_LOG_INFO] = "info",
    [TG_LOG_WARN] = "warn",
    [TG_LOG_ERROR] = "error",
};

/* Main sets them, all threads read: single words that nothing else depends on. */
static _Atomic int level_min = TG_LOG_INFO;
static _Atomic int line_format = TG_LOG_TEXT;

void tg_log_configure(enum tg_log_level level, enum tg_log_format format)
{
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
    atomic_store_explicit(&line_format, (int)format, memory_order_relaxed);
}

/* Of two threads that find the window over, one begins the next. A line that the other counts
 * before the count is back at 0 may be left out for it; it is counted as left out then. */
bool tg_log_admit(struct tg_log_site *site, int64_t now_ns, uint64_t *left_out)
{
    int64_t began_ns = atomic_load_explicit(&site->began_ns, memory_order_relaxed);
    if ((began_ns == 0 || now_ns - began_ns >= TG_LOG_WINDOW_NS) &&
        atomic_compare_exchange_strong_explicit(&site->began_ns, &began_ns, now_ns,
                                                memory_order_relaxed, memory_order_relaxed))
        atomic_store_explicit(&site->lines, 0, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&site->lines, 1, memory_order_relaxed) >= TG_LOG_BURST) {
        atomic_fetch_add_explicit(&site->left_out, 1, memory_order_relaxed);
        return false;
    }
    *left_out = atomic_exchange_explicit(&site->left_out, 0, memory_order_relaxed);
    return true;
}

/* --- writing a line --- */

struct line {
    char text[LINE_BYTES];
    size_t used;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->used;
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(line->text + line->used, room, format, args);
    va_end(args);
    if (bytes > 0)
        line->used += (size_t)bytes < room ? (size_t)bytes : room - 1;
}

/* How many bytes at `text` are one printable character; 0 for none. */
static size_t printable(const char *text)
{
    size_t bytes_max = strnlen(text, 4);
    for (size_t bytes = 1; bytes <= bytes_max; bytes++)
        if (tg_text_is_valid(text, bytes, 4))
            return bytes;
    return 0;
}

static void add_quoted(struct line *line, const char *text)
{
    add(line, "\"");
    while (*text) {
        size_t bytes = printable(text);
        if (*text == '"' || *text == '\\')
            add(line, "\\%c", *text);
        else if (bytes > 0)
            add(line, "%.*s", (int)bytes, text);
        else if (*text == '\n')
            add(line, "\\n");
        else if ((unsigned char)*text < 0x80)
            add(line, "\\u%04x", (unsigned char)*text);
        else /* a byte that is no character */
            add(line, "\\ufffd");
        text += bytes > 0 ? bytes : 1;
    }
    add(line, "\"");
}

static void add_plain(struct line *line, const char *text)
{
    while (*text) {
        size_t bytes = printable(text);
        add(line, "%.*s", bytes > 0 ? (int)bytes : 1, bytes > 0 ? text : "?");
        text += bytes > 0 ? bytes : 1;
    }
}

struct event {
    char when[32];
    char thread[16];
    const char *at;
    const char *level;
    const char *text;
    uint64_t left_out;
};

static void add_text_line(struct line *line, const struct event *event)
{
    add(line, "%s %-5s ", event->when, event->level);
    add_plain(line, event->text);
    if (event->left_out > 0)
        add(line, " (%" PRIu64 " like it left out before)", event->left_out);
}

static void add_kv_line(struct line *line, const struct event *event)
{
    add(line, "ts=%s level=%s at=%s thread=", event->when, event->level, event->at);
    add_quoted(line, event->thread);
    add(line, " msg=");
    add_quoted(line, event->text);
    if (event->left_out > 0)
        add(line, " left_out=%" PRIu64, event->left_out);
}

static void add_json_line(struct line *line, const struct event *event)
{
    add(line, "{\"ts\":\"%s\",\"level\":\"%s\",\"at\":", event->when, event->level);
    add_quoted(line, event->at);
    add(line, ",\"thread\":");
    add_quoted(line, event->thread);
    add(line, ",\"msg\":");
    add_quoted(line, event->text);
    if (event->left_out > 0)
        add(line, ",\"left_out\":%" PRIu64, event->left_out);
    add(line, "}");
}

static void write_event(const struct event *event)
{
    struct line line = {.used = 0};
    switch ((enum tg_log_format)atomic_load_explicit(&line_format, memory_order_relaxed)) {
    case TG_LOG_TEXT:
        add_text_line(&line, event);
        break;
    case TG_LOG_KV:
        add_kv_line(&line, event);
        break;
    case TG_LOG_JSON:
        add_json_line(&line, event);
        break;
    }
    add(&line, "\n");
    /* When stderr is gone there is nobody left to tell. */
    if (write(STDERR_FILENO, line.text, line.used) < 0)
        return;
}

void tg_log(struct tg_log_site *site, enum tg_log_level level, const char *format, ...)
{
    struct event event = {.at = site->at, .level = level_names[level]};
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed) ||
        !tg_log_admit(site, tg_clock_mono_ns(), &event.left_out))
        return;
    int64_t now_ns = tg_clock_wall_ns();
    time_t now_s = now_ns / TG_NS_PER_S;
    struct tm utc;
    gmtime_r(&now_s, &utc);
    size_t used = strftime(event.when, sizeof(event.when), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(event.when + used, sizeof(event.when) - used, ".%03dZ",
             (int)(now_ns % TG_NS_PER_S / TG_NS_PER_MS));
    if (pthread_getname_np(pthread_self(), event.thread, sizeof(event.thread)) != 0)
        event.thread[0] = '\0';
    char text[TG_LOG_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    event.text = text;
    write_event(&event);
}
