#include "tests/soak/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB            1048576.0
#define THIRDS         3
#define FEWEST_WINDOWS 6 /* that can be judged */

double soak_row_bytes(enum soak_table table)
{
    static const double bytes[SOAK_TABLES] = {
        [SOAK_ORDERS] = 86, [SOAK_LIVES] = 280,   [SOAK_EVENTS] = 59,
        [SOAK_TEAMS] = 240, [SOAK_INGESTED] = 60,
    };
    return bytes[table];
}

double soak_window_s(uint64_t seconds)
{
    return seconds >= SOAK_LONG_S ? 60 : 5;
}

double soak_warm_up_s(uint64_t seconds)
{
    double quarter = (double)seconds / 4;
    return quarter < 20 ? 20 : quarter > 300 ? 300 : quarter;
}

/* --- medians and lines --- */

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Sorts `values`. */
static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return count == 0  ? 0
           : count % 2 ? values[count / 2]
                       : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* One value of a window, by its place in the struct. */
static double value_of(const struct soak_window *window, size_t offset)
{
    double value;
    memcpy(&value, (const char *)window + offset, sizeof(value));
    return value;
}

/* The median of the slopes between any two windows (Theil and Sen), per second. */
static double slope(const struct soak_window *windows, uint32_t count, size_t offset)
{
    size_t pairs = (size_t)count * (count - 1) / 2, at = 0;
    double *slopes = calloc(pairs + 1, sizeof(*slopes));
    for (uint32_t i = 0; slopes && i < count; i++)
        for (uint32_t k = i + 1; k < count; k++)
            slopes[at++] = (value_of(&windows[k], offset) - value_of(&windows[i], offset)) /
                           (windows[k].at_s - windows[i].at_s);
    double result = slopes ? median(slopes, at) : 0;
    free(slopes);
    return result;
}

static double median_of(const struct soak_window *windows, uint32_t count, size_t offset)
{
    double values[SOAK_WINDOWS_MAX] = {0};
    for (uint32_t i = 0; i < count; i++)
        values[i] = value_of(&windows[i], offset);
    return median(values, count);
}

/* --- windows --- */

/* The median of one value of samples, by its place in the struct; `is_double`, or uint64_t. */
static double sample_median(const struct soak_sample *samples, uint32_t count, size_t offset,
                            bool is_double)
{
    double values[128] = {0};
    for (uint32_t i = 0; i < count; i++) {
        const char *at = (const char *)&samples[i] + offset;
        uint64_t number = 0;
        memcpy(is_double ? (void *)&values[i] : (void *)&number, at, sizeof(number));
        values[i] = is_double ? values[i] : (double)number;
    }
    return median(values, count);
}

#define MEDIAN(field, is_double)                                                                   \
    sample_median(samples, count, offsetof(struct soak_sample, field), (is_double))

void soak_window_of(const struct soak_sample *samples, uint32_t count, struct soak_window *window)
{
    const struct soak_sample *first = &samples[0], *last = &samples[count - 1];
    double fds[128];
    *window = (struct soak_window){
        .at_s = (first->at_s + last->at_s) / 2,
        .samples = count,
        .rss_anon = MEDIAN(rss_anon, false),
        .rss = MEDIAN(rss, false),
        .p50_us = MEDIAN(p50_us, true),
        .p99_us = MEDIAN(p99_us, true),
        .machine_us = MEDIAN(machine_us, true),
        .last = *last,
    };
    if (last->at_s > first->at_s)
        window->cpu_percent =
            (double)(last->cpu_ms - first->cpu_ms) / (last->at_s - first->at_s) / 10;
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = samples[i].fds;
        window->max_us = samples[i].max_us > window->max_us ? samples[i].max_us : window->max_us;
    }
    window->fds = median(fds, count);
}

static void cut(struct soak_judgement *j, const struct soak_sample *samples, uint32_t count,
                uint64_t seconds)
{
    double warm_s = soak_warm_up_s(seconds);
    j->window_s = soak_window_s(seconds);
    for (uint32_t begin = 0; begin < count && j->window_count < SOAK_WINDOWS_MAX;) {
        uint32_t end = begin;
        double until_s = j->window_s * (1 + (int)(samples[begin].at_s / j->window_s));
        while (end < count && samples[end].at_s < until_s && end - begin < 128)
            end++;
        /* The rest of a window at the end is none. */
        if (end < count || samples[end - 1].at_s > until_s - j->window_s / 2) {
            soak_window_of(samples + begin, end - begin, &j->windows[j->window_count]);
            j->warm += j->windows[j->window_count++].at_s < warm_s;
        }
        begin = end;
    }
}

/* --- checks --- */

void soak_add(struct soak_judgement *j, const char *name, bool ok, const char *format, ...)
{
    va_list list;
    if (j->check_count == SOAK_CHECKS_MAX)
        return;
    struct soak_check *check = &j->checks[j->check_count++];
    *check = (struct soak_check){.name = name, .ok = ok};
    va_start(list, format);
    vsnprintf(check->text, sizeof(check->text), format, list);
    va_end(list);
}

bool soak_passed(const struct soak_judgement *j)
{
    bool passed = j->check_count > 0;
    for (uint32_t i = 0; i < j->check_count; i++)
        passed = passed && j->checks[i].ok;
    return passed;
}

static void judge_memory(struct soak_judgement *j, const struct soak_window *windows,
                         uint32_t count)
{
    double stretch = j->span_s < SOAK_SPAN_S ? SOAK_SPAN_S / j->span_s : 1;
    j->memory_per_h = 3600 * slope(windows, count, offsetof(struct soak_window, rss_anon));
    j->memory_bound_per_h = SOAK_MEMORY_PER_H * stretch;
    soak_add(j, "memory flat", j->memory_per_h <= j->memory_bound_per_h,
             "RssAnon %.1f -> %.1f MiB, %+.1f MiB an hour; the bound for %.0f s is %.0f",
             windows[0].rss_anon / MIB, windows[count - 1].rss_anon / MIB, j->memory_per_h / MIB,
             j->span_s, j->memory_bound_per_h / MIB);
}

static void judge_counts(struct soak_judgement *j, const struct soak_window *windows,
                         uint32_t count)
{
    uint32_t third = count / THIRDS;
    size_t offset = offsetof(struct soak_window, fds);
    double before = median_of(windows, third, offset);
    double after = median_of(windows + count - third, third, offset);
    soak_add(j, "descriptors flat", after <= before + SOAK_FDS_SLACK,
             "median %.0f in the first third, %.0f in the last", before, after);
    uint32_t threads = windows[0].last.threads, others = 0;
    for (uint32_t i = 0; i < count; i++)
        others += windows[i].last.threads != threads;
    soak_add(j, "threads flat", others == 0, "%u, and another number in %u windows", threads,
             others);
}

/* What the tables grew by against what their rows account for. */
static void judge_tables(struct soak_judgement *j, const struct soak_pages *from,
                         const struct soak_pages *to)
{
    double expected = 0, grown = 0;
    char parts[160] = "";
    for (int i = 0; i < SOAK_TABLES; i++) {
        double rows = (double)to->rows[i] - (double)from->rows[i];
        double bytes = (double)to->bytes[i] - (double)from->bytes[i];
        size_t used = strlen(parts);
        expected += rows * soak_row_bytes((enum soak_table)i);
        grown += bytes;
        if (rows > 0)
            snprintf(parts + used, sizeof(parts) - used, ", %s %.0f x %.0f",
                     soak_table_name((enum soak_table)i), rows, bytes / rows);
    }
    double off = grown > expected ? grown - expected : expected - grown;
    soak_add(j, "tables explained", off <= expected * SOAK_FILE_PERCENT / 100 + SOAK_FILE_SLACK,
             "they grew by %.1f MiB, their rows account for %.1f%s", grown / MIB, expected / MIB,
             parts);
}

/* Every page of the file is in use or to be used again, and these do not become ever more. */
static void judge_file(struct soak_judgement *j, const struct soak_window *windows, uint32_t count)
{
    const struct soak_pages *from = &windows[0].last.pages, *to = &windows[count - 1].last.pages;
    double lost = (double)to->file - (double)to->used - (double)to->spare;
    judge_tables(j, from, to);
    soak_add(j, "pages accounted for", lost < SOAK_FILE_SLACK && lost > -(double)SOAK_FILE_SLACK,
             "of %.1f MiB are %.1f used and %.1f free; %.2f are neither", (double)to->file / MIB,
             (double)to->used / MIB, (double)to->spare / MIB, lost / MIB);
    uint32_t third = count / THIRDS;
    double before = 0, after = 0;
    for (uint32_t i = 0; i < third; i++) {
        before += (double)windows[i].last.pages.spare / third;
        after += (double)windows[count - 1 - i].last.pages.spare / third;
    }
    soak_add(j, "free pages flat",
             after <= before * (100 + SOAK_FILE_PERCENT) / 100 + SOAK_SPARE_SLACK,
             "%.1f MiB in the first third, %.1f in the last", before / MIB, after / MIB);
}

/* When the machine itself, measured beside the daemon, has become slower, so may the answers. */
static void judge_latency(struct soak_judgement *j, const struct soak_window *windows,
                          uint32_t count, uint64_t seconds)
{
    uint32_t third = count / THIRDS;
    size_t p99 = offsetof(struct soak_window, p99_us);
    size_t machine = offsetof(struct soak_window, machine_us);
    const struct soak_window *last = windows + count - third;
    double before = median_of(windows, third, p99), after = median_of(last, third, p99);
    double from = median_of(windows, third, machine), to = median_of(last, third, machine);
    double times = seconds < SOAK_LONG_S ? SOAK_LATENCY_TIMES_SHORT : SOAK_LATENCY_TIMES;
    times *= from > 0 && to > from ? fmin(to / from, SOAK_MACHINE_TIMES_MAX) : 1;
    soak_add(j, "latency flat", after <= before * times || after - before < SOAK_LATENCY_SLACK_US,
             "median p99 of a second %.2f ms in the first third, %.2f in the last; a small task by "
             "itself %.2f and %.2f; allowed are %.1f times",
             before / 1e3, after / 1e3, from / 1e3, to / 1e3, times);
}

void soak_judge(struct soak_judgement *j, const struct soak_sample *samples, uint32_t count,
                uint64_t seconds)
{
    *j = (struct soak_judgement){0};
    cut(j, samples, count, seconds);
    uint32_t judged = j->window_count - j->warm;
    if (judged < FEWEST_WINDOWS) {
        soak_add(j, "long enough", false, "%u windows after the warm-up, %d are the fewest", judged,
                 FEWEST_WINDOWS);
        return;
    }
    const struct soak_window *windows = &j->windows[j->warm];
    j->span_s = windows[judged - 1].at_s - windows[0].at_s;
    judge_memory(j, windows, judged);
    judge_counts(j, windows, judged);
    judge_file(j, windows, judged);
    judge_latency(j, windows, judged, seconds);
}
