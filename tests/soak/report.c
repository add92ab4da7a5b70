#include "tests/soak/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#define MIB 1048576.0

/* --- text --- */

void soak_show_head(FILE *out)
{
    fprintf(out, "%7s %9s %8s %9s %9s %5s %4s %6s %8s %8s %9s %8s %10s %10s\n", "s", "RssAnon",
            "VmRSS", "file", "free", "fds", "thr", "CPU %", "p50 ms", "p99 ms", "max ms", "machine",
            "orders", "events");
}

void soak_show_row(FILE *out, const struct soak_window *w)
{
    fprintf(out,
            "%7.0f %9.1f %8.1f %9.1f %9.1f %5.0f %4u %6.1f %8.2f %8.2f %9.2f %8.2f %10" PRIu64
            " %10" PRIu64 "\n",
            w->last.at_s, w->rss_anon / MIB, w->rss / MIB, (double)w->last.file_allocated / MIB,
            (double)w->last.pages.spare / MIB, w->fds, w->last.threads, w->cpu_percent,
            w->p50_us / 1e3, w->p99_us / 1e3, w->max_us / 1e3, w->machine_us / 1e3,
            w->last.pages.rows[SOAK_ORDERS], w->last.pages.rows[SOAK_EVENTS]);
}

void soak_show_findings(FILE *out, const struct soak_judgement *j, const struct soak_facts *facts)
{
    double requests_per_s = (double)facts->answers / (double)facts->seconds;
    for (uint32_t i = 0; i < j->check_count; i++)
        fprintf(out, "%-6s  %-20s %s\n", j->checks[i].ok ? "ok" : "BROKEN", j->checks[i].name,
                j->checks[i].text);
    if (requests_per_s > 0 && j->memory_bound_per_h > 0)
        fprintf(out,
                "This run would have seen a leak of %.0f bytes a request or more; a run of %d s or "
                "more sees %.1f.\n",
                j->memory_bound_per_h / 3600 / requests_per_s, SOAK_SPAN_S + 300,
                SOAK_MEMORY_PER_H / 3600.0 / requests_per_s);
}

/* --- JSON --- */

static json_t *json_window(const struct soak_window *w)
{
    json_t *tables = json_object();
    for (int i = 0; i < SOAK_TABLES; i++)
        json_object_set_new(tables, soak_table_name((enum soak_table)i),
                            json_pack("{s:I, s:I}", "rows", (json_int_t)w->last.pages.rows[i],
                                      "bytes", (json_int_t)w->last.pages.bytes[i]));
    return json_pack(
        "{s:f, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:I, s:I, s:o}", "at_s",
        w->last.at_s, "samples", (int)w->samples, "rss_anon_bytes", w->rss_anon, "rss_bytes",
        w->rss, "fds", w->fds, "cpu_percent", w->cpu_percent, "p50_us", w->p50_us, "p99_us",
        w->p99_us, "max_us", w->max_us, "machine_us", w->machine_us, "threads",
        (int)w->last.threads, "file_allocated_bytes", (json_int_t)w->last.file_allocated,
        "pages_file_bytes", (json_int_t)w->last.pages.file, "pages_used_bytes",
        (json_int_t)w->last.pages.used, "pages_free_bytes", (json_int_t)w->last.pages.spare,
        "tables", tables);
}

static json_t *json_facts(const struct soak_facts *facts)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "orders",
        (json_int_t)facts->orders, "answers", (json_int_t)facts->answers, "events_read_by_loads",
        (json_int_t)facts->events_read, "retries_checked", (json_int_t)facts->retries_checked,
        "probes", (json_int_t)facts->probes, "visits", (json_int_t)facts->visits,
        "visits_left_early", (json_int_t)facts->left_early, "events_consumed",
        (json_int_t)facts->events_consumed, "order_pages_read", (json_int_t)facts->pages_read,
        "busy_answers", (json_int_t)facts->busy, "seconds", (json_int_t)facts->seconds);
}

bool soak_write_json(const char *path, const struct soak_judgement *j,
                     const struct soak_facts *facts)
{
    json_t *windows = json_array(), *checks = json_array();
    for (uint32_t i = 0; i < j->window_count; i++)
        json_array_append_new(windows, json_window(&j->windows[i]));
    for (uint32_t i = 0; i < j->check_count; i++)
        json_array_append_new(checks, json_pack("{s:s, s:b, s:s}", "name", j->checks[i].name, "ok",
                                                (int)j->checks[i].ok, "text", j->checks[i].text));
    json_t *root = json_pack("{s:s, s:b, s:I, s:I, s:f, s:i, s:f, s:f, s:f, s:o, s:o, s:o}", "tool",
                             "tidegate soak " TG_VERSION, "passed", (int)soak_passed(j), "seconds",
                             (json_int_t)facts->seconds, "seed", (json_int_t)facts->seed,
                             "window_s", j->window_s, "warm_up_windows", (int)j->warm,
                             "judged_span_s", j->span_s, "memory_bytes_per_h", j->memory_per_h,
                             "memory_bound_bytes_per_h", j->memory_bound_per_h, "did",
                             json_facts(facts), "checks", checks, "windows", windows);
    bool written = root && json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    json_decref(root);
    return written;
}

/* --- the picture --- */

#define WIDTH  900
#define HEIGHT 200 /* of each panel */
#define LEFT   70
#define RIGHT  20
#define TOP    30

struct line {
    const char *name, *unit, *colour;
    double (*value)(const struct soak_window *window);
};

static double rss_anon_mib(const struct soak_window *w)
{
    return w->rss_anon / MIB;
}

static double file_mib(const struct soak_window *w)
{
    return (double)w->last.file_allocated / MIB;
}

static double p99_ms(const struct soak_window *w)
{
    return w->p99_us / 1e3;
}

static void draw_panel(FILE *out, const struct soak_judgement *j, const struct line *line, int y)
{
    double most = 0, end_s = j->windows[j->window_count - 1].at_s + j->window_s / 2;
    double wide = WIDTH - LEFT - RIGHT, high = HEIGHT - 2 * TOP;
    for (uint32_t i = 0; i < j->window_count; i++)
        most = fmax(most, line->value(&j->windows[i]));
    most = most > 0 ? most * 1.1 : 1;
    double warm_s = j->warm * j->window_s;
    fprintf(out,
            "<rect x='%d' y='%d' width='%.0f' height='%.0f' fill='#eee'/>\n"
            "<rect x='%d' y='%d' width='%.0f' height='%.0f' fill='none' stroke='#999'/>\n"
            "<text x='%d' y='%d'>%s, %s</text>\n"
            "<text x='%d' y='%d' text-anchor='end'>%.1f</text>\n"
            "<text x='%d' y='%.0f' text-anchor='end'>0</text>\n"
            "<text x='%d' y='%.0f' text-anchor='end'>%.0f s</text>\n",
            LEFT, y + TOP, wide * warm_s / end_s, high, LEFT, y + TOP, wide, high, LEFT,
            y + TOP - 8, line->name, line->unit, LEFT - 6, y + TOP + 10, most, LEFT - 6,
            y + TOP + high, WIDTH - RIGHT, y + TOP + high + 16, end_s);
    fprintf(out, "<polyline fill='none' stroke='%s' stroke-width='1.5' points='", line->colour);
    for (uint32_t i = 0; i < j->window_count; i++)
        fprintf(out, "%.1f,%.1f ", LEFT + wide * j->windows[i].at_s / end_s,
                y + TOP + high * (1 - line->value(&j->windows[i]) / most));
    fputs("'/>\n", out);
}

bool soak_write_svg(const char *path, const struct soak_judgement *j)
{
    static const struct line lines[] = {
        {"resident anonymous memory", "MiB", "#06c", rss_anon_mib},
        {"database file", "MiB", "#080", file_mib},
        {"p99 of an order, median of seconds", "ms", "#c30", p99_ms},
    };
    const int count = sizeof(lines) / sizeof(lines[0]);
    FILE *out = fopen(path, "we");
    if (!out)
        return false;
    fprintf(out,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' "
            "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
            WIDTH, count * HEIGHT);
    for (int i = 0; i < count && j->window_count > 0; i++)
        draw_panel(out, j, &lines[i], i * HEIGHT);
    fputs("</svg>\n", out);
    return fclose(out) == 0;
}
