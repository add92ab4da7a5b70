/* Which pictures a page has, and what they say in words. */
#include "loadgen/chart.h"
#include "loadgen/html_parts.h"
#include "loadgen/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPANS_MAX       64u
#define STORY_BYTES     320u
#define PERCENTILES_MAX 64u
#define STYLE_ACCEPTED  0u
#define STYLE_OFFERED   7u

_Static_assert(1 + LG_SERIES_VERDICTS + 1 <= LG_CHART_LINES, "accepted, refusals, offered");
_Static_assert(1 + LG_SERIES_VERDICTS <= STYLE_OFFERED, "no two look the same");

struct page {
    const json_t *report;
    const struct lg_series *series;
    struct lg_span spans[SPANS_MAX];
    uint32_t span_count;
    FILE *out;
};

/* --- what all have -----------------------------------------------------------------------------
 */

/* The stages of the run; with parts, whose stages overlap, those of the part that has most. */
static const json_t *stages_of(const json_t *report)
{
    const json_t *parts = lg_tree_at(report, "parts"), *part;
    const json_t *stages = json_array_size(parts) ? NULL : lg_tree_at(report, "stages");
    size_t i;
    json_array_foreach(parts, i, part)
    {
        const json_t *of_part = lg_tree_at(part, "stages");
        if (json_array_size(of_part) > json_array_size(stages))
            stages = of_part;
    }
    return json_array_size(stages) > 1 ? stages : NULL;
}

static void take_spans(struct page *page)
{
    const json_t *stages = stages_of(page->report);
    for (size_t i = 0; i < json_array_size(stages) && page->span_count < SPANS_MAX; i++) {
        const json_t *stage = json_array_get(stages, i);
        double begin_s = lg_tree_number(stage, "begin_s"), end_s = lg_tree_number(stage, "end_s");
        if (end_s > begin_s)
            page->spans[page->span_count++] =
                (struct lg_span){.name = lg_tree_text(stage, "name", ""),
                                 .begin_s = begin_s,
                                 .end_s = end_s,
                                 .measured = lg_tree_is_true(stage, "measured")};
    }
}

static struct lg_chart over_time(const struct page *page, const char *id, const char *title,
                                 const char *axis, enum lg_unit unit)
{
    return (struct lg_chart){.id = id,
                             .title = title,
                             .axis = axis,
                             .unit = unit,
                             .begin_s = page->series->begin_s,
                             .end_s = page->series->end_s,
                             .count = page->series->count,
                             .spans = page->spans,
                             .span_count = page->span_count};
}

/* The largest value, and when its interval ends. */
static double peak_of(const struct lg_series *s, const double *values, double *at_s)
{
    double peak = NAN;
    for (uint32_t i = 0; i < s->count; i++)
        if (!isnan(values[i]) && (isnan(peak) || values[i] > peak)) {
            peak = values[i];
            *at_s = s->end_s[i];
        }
    return peak;
}

/* "accepted is at most 812k at 12.5 s" */
static void tell_peak(char story[STORY_BYTES], const struct lg_series *s, const char *what,
                      const double *values, enum lg_unit unit)
{
    char peak[LG_FIGURE_BYTES], at[LG_FIGURE_BYTES];
    double at_s = 0, value = peak_of(s, values, &at_s);
    size_t used = strlen(story);
    if (!isnan(value))
        snprintf(story + used, STORY_BYTES - used, "%s%s: at most %s, at %s.", used ? " " : "",
                 what, lg_figure(value, unit, peak), lg_figure(at_s, LG_UNIT_S, at));
}

/* --- pictures over time ------------------------------------------------------------------------
 */

static void add_verdicts(struct lg_chart *chart, const struct lg_series *s)
{
    for (uint32_t i = 0; i < s->verdict_count; i++)
        lg_chart_add(chart, s->verdicts[i].name, s->verdicts[i].per_s, 1 + i)->is_area = true;
}

static void write_throughput(const struct page *page)
{
    const struct lg_series *s = page->series;
    char story[STORY_BYTES] = "";
    struct lg_chart chart = over_time(page, "throughput", "Throughput over time",
                                      "orders a second: answers stacked by verdict, and what was "
                                      "offered as a line",
                                      LG_UNIT_RATE);
    chart.wide = true;
    if (lg_series_has(s, s->accepted))
        lg_chart_add(&chart, "accepted", s->accepted, STYLE_ACCEPTED)->is_area = true;
    add_verdicts(&chart, s);
    if (lg_series_has(s, s->offered))
        lg_chart_add(&chart, "offered", s->offered, STYLE_OFFERED);
    tell_peak(story, s, "Accepted", s->accepted, LG_UNIT_RATE);
    tell_peak(story, s, "Offered", s->offered, LG_UNIT_RATE);
    for (uint32_t i = 0; i < s->verdict_count && i < 2; i++)
        tell_peak(story, s, s->verdicts[i].name, s->verdicts[i].per_s, LG_UNIT_RATE);
    chart.story = story;
    lg_chart_write(&chart, page->out);
}

static void write_latency(const struct page *page)
{
    const struct lg_series *s = page->series;
    char story[STORY_BYTES] = "";
    struct lg_chart chart =
        over_time(page, "latency", "Latency over time",
                  "of the answers of each interval, on a logarithmic axis", LG_UNIT_US);
    chart.log_y = true;
    lg_chart_add(&chart, "slowest", s->max_us, 1);
    lg_chart_add(&chart, "p99", s->p99_us, 2);
    lg_chart_add(&chart, "p50", s->p50_us, 0);
    tell_peak(story, s, "p50", s->p50_us, LG_UNIT_US);
    tell_peak(story, s, "p99", s->p99_us, LG_UNIT_US);
    tell_peak(story, s, "Slowest answer", s->max_us, LG_UNIT_US);
    chart.story = story;
    lg_chart_write(&chart, page->out);
}

/* Of all answers of each interval, by verdict. `shares` has room for all of them. */
static void write_shares(const struct page *page, double *shares)
{
    const struct lg_series *s = page->series;
    char story[STORY_BYTES] = "";
    struct lg_chart chart = over_time(page, "verdicts", "Verdicts over time",
                                      "share of the answers of each interval", LG_UNIT_SHARE);
    chart.y_max = 1;
    for (uint32_t v = 0; v <= s->verdict_count; v++) {
        const double *per_s = v ? s->verdicts[v - 1].per_s : s->accepted;
        double *share = shares + (size_t)v * s->count;
        for (uint32_t i = 0; i < s->count; i++) {
            double all = isnan(s->accepted[i]) ? 0 : s->accepted[i];
            for (uint32_t w = 0; w < s->verdict_count; w++)
                all += isnan(s->verdicts[w].per_s[i]) ? 0 : s->verdicts[w].per_s[i];
            share[i] = all > 0 ? per_s[i] / all : (double)NAN;
        }
        const char *name = v ? s->verdicts[v - 1].name : "accepted";
        lg_chart_add(&chart, name, share, v)->is_area = true;
        if (v < 3)
            tell_peak(story, s, name, share, LG_UNIT_SHARE);
    }
    chart.story = story;
    lg_chart_write(&chart, page->out);
}

static void write_one(const struct page *page, const char *id, const char *title, const char *axis,
                      const char *name, const double *values, enum lg_unit unit, uint32_t style)
{
    char story[STORY_BYTES] = "";
    struct lg_chart chart = over_time(page, id, title, axis, unit);
    if (!lg_series_has(page->series, values))
        return;
    lg_chart_add(&chart, name, values, style);
    tell_peak(story, page->series, name, values, unit);
    chart.story = story;
    lg_chart_write(&chart, page->out);
}

static void write_queue(const struct page *page)
{
    const struct lg_series *s = page->series;
    char story[STORY_BYTES] = "";
    double at_s;
    struct lg_chart chart =
        over_time(page, "queue", "Waiting orders over time",
                  "in flight: sent and not answered; backlog: due and not sent", LG_UNIT_COUNT);
    if (!lg_series_has(s, s->in_flight) && !lg_series_has(s, s->backlog))
        return;
    lg_chart_add(&chart, "in flight", s->in_flight, 0);
    tell_peak(story, s, "In flight", s->in_flight, LG_UNIT_COUNT);
    if (peak_of(s, s->backlog, &at_s) > 0) {
        lg_chart_add(&chart, "backlog", s->backlog, 1);
        tell_peak(story, s, "Backlog", s->backlog, LG_UNIT_COUNT);
    }
    chart.story = story;
    lg_chart_write(&chart, page->out);
}

/* --- percentiles -------------------------------------------------------------------------------
 */

struct curve {
    double x[PERCENTILES_MAX], y[PERCENTILES_MAX];
    uint32_t count;
};

/* Points of an older report, which has no "percentiles". */
static void take_named(struct curve *curve, const json_t *latency)
{
    static const struct {
        const char *name;
        double x;
    } points[] = {{"p50", 2}, {"p90", 10}, {"p99", 100}, {"p999", 1e3}, {"p9999", 1e4}};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        double value = lg_tree_number(latency, points[i].name);
        if (isnan(value))
            continue;
        curve->x[curve->count] = points[i].x;
        curve->y[curve->count++] = value;
    }
}

/* A percentile that fewer than one answer is above says nothing: the line ends at 1/count. */
static bool take_curve(struct curve *curve, const json_t *latency)
{
    const json_t *list = lg_tree_at(latency, "percentiles"), *point;
    double answers = lg_tree_number(latency, "count");
    size_t i;
    curve->count = 0;
    if (!(answers > 0))
        return false;
    json_array_foreach(list, i, point)
    {
        double percentile = json_number_value(json_array_get(point, 0));
        double value = json_number_value(json_array_get(point, 1));
        double x = 100 / (100 - percentile);
        if (!(percentile >= 0 && percentile < 100) || x > answers || value <= 0 ||
            curve->count == PERCENTILES_MAX)
            continue;
        curve->x[curve->count] = x;
        curve->y[curve->count++] = value;
    }
    if (curve->count == 0)
        take_named(curve, latency);
    return curve->count > 0;
}

static void add_curve(struct lg_chart *chart, struct curve *curve, const char *name,
                      const json_t *latency)
{
    if (chart->line_count == LG_CHART_LINES || !take_curve(curve, latency))
        return;
    struct lg_line *line = lg_chart_add(chart, name, curve->y, chart->line_count);
    line->x = curve->x;
    line->count = curve->count;
}

static void write_percentiles(const struct page *page)
{
    static struct curve curves[LG_CHART_LINES]; /* 8 KiB: not for a stack */
    const json_t *parts = lg_tree_at(page->report, "parts"), *part;
    char story[STORY_BYTES] = "", p50[LG_FIGURE_BYTES], p99[LG_FIGURE_BYTES], max[LG_FIGURE_BYTES];
    size_t i;
    struct lg_chart chart = {.id = "percentiles",
                             .title = "Latency by percentile",
                             .axis = "both axes logarithmic: each step to the right is ten times "
                                     "rarer",
                             .unit = LG_UNIT_US,
                             .log_y = true,
                             .story = story};
    add_curve(&chart, &curves[0], "all answers", lg_tree_at(page->report, "latency_us"));
    if (lg_tree_number(page->report, "latency_accepted_us.count") <
        lg_tree_number(page->report, "latency_us.count"))
        add_curve(&chart, &curves[1], "accepted", lg_tree_at(page->report, "latency_accepted_us"));
    json_array_foreach(parts, i, part)
    {
        if (i + 2 < LG_CHART_LINES)
            add_curve(&chart, &curves[i + 2], lg_tree_text(part, "part", "a part"),
                      lg_tree_at(part, "latency_us"));
    }
    snprintf(story, sizeof(story),
             "Of %.0f answers half took at most %s, 99%% at most %s, the slowest %s.",
             lg_tree_number(page->report, "latency_us.count"),
             lg_figure(lg_tree_number(page->report, "latency_us.p50"), LG_UNIT_US, p50),
             lg_figure(lg_tree_number(page->report, "latency_us.p99"), LG_UNIT_US, p99),
             lg_figure(lg_tree_number(page->report, "latency_us.max"), LG_UNIT_US, max));
    lg_chart_write(&chart, page->out);
}

/* --- all ---------------------------------------------------------------------------------------
 */

void lg_html_charts(const json_t *report, const struct lg_series *series, FILE *out)
{
    struct page page = {.report = report, .series = series, .out = out};
    double *shares =
        calloc((size_t)(series->verdict_count + 1) * (series->count + 1), sizeof(double));
    take_spans(&page);
    fputs("<section class=\"charts\" aria-label=\"Charts\">\n", out);
    write_throughput(&page);
    write_percentiles(&page);
    write_latency(&page);
    if (shares && series->count && series->verdict_count)
        write_shares(&page, shares);
    write_one(&page, "commits", "Commit latency over time",
              "p99 of the commits of each interval, in the daemon", "commit p99",
              series->commit_us_p99, LG_UNIT_US, 2);
    write_one(&page, "batch", "Commit batch size over time",
              "records in a commit, the mean of each interval", "records in a commit",
              series->batch, LG_UNIT_COUNT, 0);
    write_queue(&page);
    fputs("</section>\n", out);
    free(shares);
}
