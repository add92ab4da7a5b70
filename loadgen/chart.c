#include "loadgen/chart.h"

#include "base/assert.h"

#include <math.h>
#include <string.h>

#define TICKS_MAX 16u

/* The picture in its own units; the page scales it. */
struct frame {
    bool wide;
    double width, height, left, right, top, bottom; /* edges of the plot in the picture */
    double x_min, x_max, y_min, y_max;              /* what the edges stand for */
    bool log_x, log_y;
    double y_ticks[TICKS_MAX], x_ticks[TICKS_MAX];
    uint32_t y_tick_count, x_tick_count;
};

struct lg_line *lg_chart_add(struct lg_chart *chart, const char *name, const double *y,
                             uint32_t style)
{
    tg_assert(chart->line_count < LG_CHART_LINES);
    struct lg_line *line = &chart->lines[chart->line_count++];
    *line = (struct lg_line){.name = name, .y = y, .style = style % LG_CHART_STYLES};
    return line;
}

/* --- scales ------------------------------------------------------------------------------------
 */

static double place(double value, double min, double max, bool is_log)
{
    if (is_log)
        return (log10(value) - log10(min)) / (log10(max) - log10(min));
    return (value - min) / (max - min);
}

static double x_of(const struct frame *f, double value)
{
    return f->left + (f->right - f->left) * place(value, f->x_min, f->x_max, f->log_x);
}

static double y_of(const struct frame *f, double value)
{
    if (f->log_y && value < f->y_min)
        value = f->y_min;
    return f->bottom - (f->bottom - f->top) * place(value, f->y_min, f->y_max, f->log_y);
}

/* The round step (1, 2 or 5 times a power of ten) that cuts `range` into at most `parts`. */
static double round_step(double range, double parts)
{
    double least = range / parts, power = pow(10, floor(log10(least)));
    static const double times[] = {1, 2, 5, 10};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (times[i] * power >= least * 0.9999)
            return times[i] * power;
    return 10 * power;
}

static uint32_t linear_ticks(double max, double step, double ticks[TICKS_MAX])
{
    uint32_t count = 0;
    while (count < TICKS_MAX && (double)count * step <= max * 1.0001) {
        ticks[count] = (double)count * step;
        count++;
    }
    return count;
}

/* Each decade; 2 and 5 of each too when there are few, and 3, 4 and 7 when there is but one. */
static uint32_t log_ticks(double min, double max, double ticks[TICKS_MAX])
{
    static const double between[] = {1, 2, 5, 3, 4, 7};
    double decades = log10(max / min);
    size_t each = decades < 0.8 ? 6 : decades < 2.5 ? 3 : 1;
    int skip = (int)ceil(decades / (TICKS_MAX - 2));
    int first = (int)floor(log10(min)), last = (int)ceil(log10(max));
    uint32_t count = 0;
    for (int decade = first; decade <= last; decade += skip)
        for (size_t i = 0; i < each && count < TICKS_MAX; i++) {
            double tick = between[i] * pow(10, decade);
            if (tick >= min * 0.999 && tick <= max * 1.001)
                ticks[count++] = tick;
        }
    return count;
}

/* --- what the values span --- */

/* The top of the areas at a point, `upto` of the lines looked at. */
static double stacked(const struct lg_chart *chart, uint32_t point, uint32_t upto)
{
    double sum = 0;
    for (uint32_t i = 0; i < upto; i++)
        if (chart->lines[i].is_area && !isnan(chart->lines[i].y[point]))
            sum += chart->lines[i].y[point];
    return sum;
}

static uint32_t points_of(const struct lg_chart *chart, const struct lg_line *line)
{
    return chart->begin_s ? chart->count : line->count;
}

static void widen(double value, bool is_log, double *min, double *max)
{
    if (isnan(value) || isinf(value) || (is_log && value <= 0))
        return;
    *min = isnan(*min) || value < *min ? value : *min;
    *max = isnan(*max) || value > *max ? value : *max;
}

static void span_of(const struct lg_chart *chart, double *min, double *max)
{
    *min = *max = NAN;
    for (uint32_t i = 0; i < chart->line_count; i++) {
        const struct lg_line *line = &chart->lines[i];
        for (uint32_t p = 0; p < points_of(chart, line); p++)
            widen(line->is_area ? stacked(chart, p, i + 1) : line->y[p], chart->log_y, min, max);
    }
}

static void scale_y(struct frame *f, const struct lg_chart *chart, double min, double max)
{
    f->log_y = chart->log_y;
    if (chart->log_y) {
        /* A little room around, so that no line lies on the edge; never less than a third of a
         * decade. */
        min /= 1.15, max *= 1.15;
        if (max / min < 2) {
            min /= 1.5;
            max *= 1.5;
        }
        f->y_min = min;
        f->y_max = max;
        f->y_tick_count = log_ticks(min, max, f->y_ticks);
        return;
    }
    max = fmax(max, chart->y_max);
    double step = round_step(max > 0 ? max : 1, 5);
    f->y_min = 0;
    f->y_max = chart->y_max > 0 && chart->y_max >= max ? max : step * ceil(max * 1.02 / step);
    if (f->y_max <= 0)
        f->y_max = step;
    f->y_tick_count = linear_ticks(f->y_max, step, f->y_ticks);
}

/* Nines: 0%, 50%, 90%, 99%, ... as far as the lines go. */
static void scale_percentiles(struct frame *f, const struct lg_chart *chart)
{
    double max = 10;
    for (uint32_t i = 0; i < chart->line_count; i++)
        for (uint32_t p = 0; p < chart->lines[i].count; p++)
            max = fmax(max, chart->lines[i].x[p]);
    f->log_x = true;
    f->x_min = 1;
    f->x_max = max * 1.3;
    f->x_ticks[f->x_tick_count++] = 1;
    f->x_ticks[f->x_tick_count++] = 2;
    for (int nines = 1; pow(10, nines) <= f->x_max && f->x_tick_count < TICKS_MAX; nines++)
        f->x_ticks[f->x_tick_count++] = pow(10, nines);
}

static void scale_x(struct frame *f, const struct lg_chart *chart)
{
    if (!chart->begin_s) {
        scale_percentiles(f, chart);
        return;
    }
    f->x_min = 0;
    f->x_max = fmax(chart->end_s[chart->count - 1], 1e-3);
    f->x_tick_count = linear_ticks(f->x_max, round_step(f->x_max, f->wide ? 9 : 5), f->x_ticks);
}

/* False when there is nothing to draw. */
static bool make_frame(struct frame *f, const struct lg_chart *chart, bool wide)
{
    double min, max;
    *f = (struct frame){.wide = wide, .width = wide ? 900 : 440, .height = wide ? 320 : 264};
    f->left = wide ? 62 : 52;
    f->right = f->width - 12;
    f->top = chart->span_count ? 30 : 12;
    f->bottom = f->height - 40;
    span_of(chart, &min, &max);
    if (isnan(min) || (chart->begin_s && chart->count == 0))
        return false;
    scale_y(f, chart, min, max);
    scale_x(f, chart);
    return true;
}

/* --- drawing -----------------------------------------------------------------------------------
 */

static void write_span(const struct frame *f, const struct lg_span *span, uint32_t number,
                       FILE *out)
{
    double begin = x_of(f, fmin(fmax(span->begin_s, f->x_min), f->x_max));
    double end = x_of(f, fmin(fmax(span->end_s, f->x_min), f->x_max));
    char from[LG_FIGURE_BYTES], to[LG_FIGURE_BYTES];
    if (end - begin < 0.5)
        return;
    const char *look = !span->measured ? "span unmeasured" : number % 2 ? "span odd" : "span";
    fprintf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>",
            look, begin, f->top, end - begin, f->bottom - f->top);
    lg_markup_text(span->name, out);
    lg_markup_print(out, ", %s to %s%s", lg_figure(span->begin_s, LG_UNIT_S, from),
                    lg_figure(span->end_s, LG_UNIT_S, to), span->measured ? "" : ", not measured");
    fputs("</title></rect>", out);
    if (number)
        fprintf(out, "<line class=\"edge\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                begin, begin, f->top - 12, f->bottom);
    /* A name that would run into the next one is left to the tooltip and the table of stages; on a
     * phone, where letters are larger, more of them are. */
    double wanted = (double)strlen(span->name) * 6.2 + 8;
    if (end - begin < wanted)
        return;
    fprintf(out, "<text class=\"stage%s\" x=\"%.1f\" y=\"%.1f\">",
            end - begin < wanted * 1.8 ? " tight" : "", (begin + end) / 2, f->top - 8);
    lg_markup_text(span->name, out);
    fputs("</text>", out);
}

static void write_percentile_label(double x, FILE *out)
{
    /* 1 / (1 - p): 10 is 90%, 100 is 99%, and each further ten a nine more. */
    int nines = (int)lround(log10(x));
    fprintf(out, "%.*f%%", nines > 2 ? nines - 2 : 0, 100 * (1 - 1 / x));
}

static void write_grid(const struct frame *f, const struct lg_chart *chart, FILE *out)
{
    char text[LG_FIGURE_BYTES];
    for (uint32_t i = 0; i < f->y_tick_count; i++) {
        double y = y_of(f, f->y_ticks[i]);
        fprintf(out,
                "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"y\" x=\"%.1f\" y=\"%.1f\">",
                f->left, f->right, y, y, f->left - 6, y + 4);
        lg_markup_text(f->y_ticks[i] > 0 ? lg_figure_short(f->y_ticks[i], chart->unit, text) : "0",
                       out);
        fputs("</text>", out);
    }
    for (uint32_t i = 0; i < f->x_tick_count; i++) {
        double x = x_of(f, f->x_ticks[i]);
        fprintf(out,
                "<line class=\"tick\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"x%s\" x=\"%.1f\" y=\"%.1f\">",
                x, x, f->bottom, f->bottom + 4, f->log_x && i == 1 ? " tight" : "", x,
                f->bottom + 17);
        if (chart->begin_s)
            fprintf(out, "%g", f->x_ticks[i]);
        else
            write_percentile_label(f->x_ticks[i], out);
        fputs("</text>", out);
    }
    fprintf(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", f->left,
            f->right, f->bottom, f->bottom);
    fprintf(out, "<text class=\"x name\" x=\"%.1f\" y=\"%.1f\">%s</text>", (f->left + f->right) / 2,
            f->height - 6,
            chart->begin_s ? "seconds from the start of load" : "percentile of answers");
}

/* Steps, as a sample tells of its whole interval. */
static void write_steps(const struct frame *f, const struct lg_chart *chart,
                        const struct lg_line *line, FILE *out)
{
    bool pen_down = false;
    for (uint32_t i = 0; i < chart->count; i++) {
        if (isnan(line->y[i]) || (chart->log_y && line->y[i] <= 0)) {
            pen_down = false;
            continue;
        }
        if (pen_down)
            fprintf(out, "V%.1f", y_of(f, line->y[i]));
        else
            fprintf(out, "M%.1f %.1f", x_of(f, chart->begin_s[i]), y_of(f, line->y[i]));
        fprintf(out, "H%.1f", x_of(f, chart->end_s[i]));
        pen_down = true;
    }
}

static void write_points(const struct frame *f, const struct lg_line *line, FILE *out)
{
    bool pen_down = false;
    for (uint32_t i = 0; i < line->count; i++) {
        if (isnan(line->y[i]) || line->y[i] <= 0) {
            pen_down = false;
            continue;
        }
        fprintf(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', x_of(f, line->x[i]), y_of(f, line->y[i]));
        pen_down = true;
    }
}

/* The area of line `number`: its upper edge forth, its lower edge back. */
static void write_area(const struct frame *f, const struct lg_chart *chart, uint32_t number,
                       FILE *out)
{
    fprintf(out, "M%.1f %.1f", x_of(f, chart->begin_s[0]), f->bottom);
    for (uint32_t i = 0; i < chart->count; i++)
        fprintf(out, "V%.1fH%.1f", y_of(f, stacked(chart, i, number + 1)),
                x_of(f, chart->end_s[i]));
    for (uint32_t i = chart->count; i-- > 0;)
        fprintf(out, "V%.1fH%.1f", y_of(f, stacked(chart, i, number)), x_of(f, chart->begin_s[i]));
    fputc('Z', out);
}

static void write_line(const struct frame *f, const struct lg_chart *chart, uint32_t number,
                       FILE *out)
{
    const struct lg_line *line = &chart->lines[number];
    fprintf(out, "<path class=\"%c%u\" d=\"", line->is_area ? 'a' : 'l', line->style);
    if (line->is_area)
        write_area(f, chart, number, out);
    else if (chart->begin_s)
        write_steps(f, chart, line, out);
    else
        write_points(f, line, out);
    fputs("\"><title>", out);
    lg_markup_text(line->name, out);
    fputs("</title></path>", out);
}

/* The room for words of half this width around a point of an area: from the lowest piece of its
 * upper edge to the highest piece of its lower edge. */
static double room_at(const struct frame *f, const struct lg_chart *chart, uint32_t number,
                      double x, double half, double *y)
{
    double top = f->top, bottom = f->bottom;
    for (uint32_t i = 0; i < chart->count; i++) {
        if (x_of(f, chart->end_s[i]) < x - half || x_of(f, chart->begin_s[i]) > x + half)
            continue;
        top = fmax(top, y_of(f, stacked(chart, i, number + 1)));
        bottom = fmin(bottom, y_of(f, stacked(chart, i, number)));
    }
    *y = (top + bottom) / 2;
    return bottom - top;
}

/* The name of an area where it is thickest, if it has room for letters anywhere. */
static void write_area_name(const struct frame *f, const struct lg_chart *chart, uint32_t number,
                            FILE *out)
{
    const struct lg_line *line = &chart->lines[number];
    double half = (double)strlen(line->name) * (f->wide ? 3.9 : 4.8) + 4;
    double best = 15, best_x = NAN, best_y = NAN, y;
    uint32_t places = f->right - f->left > 2 * half ? (uint32_t)(f->right - f->left - 2 * half) : 0;
    for (uint32_t i = 0; i < places; i += 4) {
        double x = f->left + half + i;
        /* Of equal places the one nearest to the middle. */
        double room =
            room_at(f, chart, number, x, half, &y) - fabs(x - (f->left + f->right) / 2) / 50;
        if (room > best) {
            best = room;
            best_x = x;
            best_y = y;
        }
    }
    if (isnan(best_x))
        return;
    fprintf(out, "<text class=\"area\" x=\"%.1f\" y=\"%.1f\">", best_x, best_y + 4);
    lg_markup_text(line->name, out);
    fputs("</text>", out);
}

/* What the page's script needs to tell the figures under a finger: the data of the picture. */
static void write_values(const double *values, uint32_t count, FILE *out)
{
    for (uint32_t i = 0; i < count; i++)
        if (isnan(values[i]))
            fputs(i ? ",null" : "null", out);
        else
            fprintf(out, "%s%.4g", i ? "," : "", values[i]);
}

static void write_data(const struct frame *f, const struct lg_chart *chart, FILE *out)
{
    static const char *const units[] = {
        [LG_UNIT_COUNT] = "n", [LG_UNIT_RATE] = "r",  [LG_UNIT_US] = "u",
        [LG_UNIT_SHARE] = "p", [LG_UNIT_BYTES] = "b", [LG_UNIT_S] = "s"};
    if (!chart->begin_s)
        return;
    fprintf(out, " data-unit=\"%s\" data-max=\"%.6g\" data-t=\"", units[chart->unit], f->x_max);
    for (uint32_t i = 0; i < chart->count; i++)
        fprintf(out, "%s%.4g", i ? "," : "", chart->end_s[i]);
    fputc('"', out);
}

static void write_legend(const struct lg_chart *chart, FILE *out)
{
    fputs("<ul class=\"legend\">", out);
    for (uint32_t i = 0; i < chart->line_count; i++) {
        const struct lg_line *line = &chart->lines[i];
        fputs("<li", out);
        if (chart->begin_s) {
            fputs(" data-v=\"", out);
            write_values(line->y, chart->count, out);
            fputc('"', out);
        }
        fputs("><svg class=\"key\" viewBox=\"0 0 22 12\" aria-hidden=\"true\">", out);
        if (line->is_area)
            fprintf(out, "<rect class=\"a%u\" x=\"3\" y=\"0\" width=\"16\" height=\"12\"/>",
                    line->style);
        else
            fprintf(out, "<path class=\"l%u\" d=\"M0 6H22\"/>", line->style);
        fputs("</svg><span>", out);
        lg_markup_text(line->name, out);
        fputs("</span> <b></b></li>", out);
    }
    fputs("</ul>", out);
}

/* `number` makes names of their own for the two pictures of a wide chart. */
static void write_picture(const struct frame *f, const struct lg_chart *chart, const char *look,
                          unsigned number, FILE *out)
{
    fprintf(
        out,
        "<svg class=\"plot%s\" viewBox=\"0 0 %.0f %.0f\" data-box=\"%.1f,%.1f,%.1f\" role=\"img\" "
        "aria-labelledby=\"%s-t%u %s-d%u\"><title id=\"%s-t%u\">",
        look, f->width, f->height, f->left, f->right, f->width, chart->id, number, chart->id,
        number, chart->id, number);
    lg_markup_text(chart->title, out);
    fprintf(out, "</title><desc id=\"%s-d%u\">", chart->id, number);
    lg_markup_text(chart->story, out);
    fputs("</desc>", out);
    for (uint32_t i = 0; i < chart->span_count; i++)
        write_span(f, &chart->spans[i], i, out);
    write_grid(f, chart, out);
    for (uint32_t i = 0; i < chart->line_count; i++)
        write_line(f, chart, i, out);
    for (uint32_t i = 0; i < chart->line_count; i++)
        if (chart->lines[i].is_area)
            write_area_name(f, chart, i, out);
    fprintf(out,
            "<line class=\"cursor\" y1=\"%.1f\" y2=\"%.1f\" x1=\"0\" x2=\"0\" "
            "visibility=\"hidden\"/></svg>",
            f->top, f->bottom);
}

void lg_chart_write(const struct lg_chart *chart, FILE *out)
{
    struct frame frame, narrow;
    bool drawn = make_frame(&frame, chart, chart->wide) && make_frame(&narrow, chart, false);
    fprintf(out, "<figure class=\"card chart%s\"", chart->wide ? " wide" : "");
    if (drawn)
        write_data(&frame, chart, out);
    fputs("><figcaption><h3>", out);
    lg_markup_text(chart->title, out);
    fputs("</h3><p>", out);
    lg_markup_text(chart->axis, out);
    fputs("</p></figcaption>", out);
    if (drawn) {
        write_legend(chart, out);
        write_picture(&frame, chart, chart->wide ? " broad" : "", 0, out);
        /* On a phone the wide picture would be too flat to read: there it is another one. */
        if (chart->wide)
            write_picture(&narrow, chart, " slim", 1, out);
        fputs("<p class=\"story\">", out);
        lg_markup_text(chart->story, out);
        fputs("</p>", out);
    } else {
        fputs("<p class=\"none\">There is nothing to draw: the report has no such samples.</p>",
              out);
    }
    fputs("</figure>\n", out);
}

void lg_chart_bar(double share, uint32_t style, FILE *out)
{
    fprintf(
        out,
        "<svg class=\"bar\" viewBox=\"0 0 100 12\" preserveAspectRatio=\"none\" "
        "aria-hidden=\"true\"><rect class=\"a%u\" x=\"0\" y=\"1\" width=\"%.2f\" height=\"10\"/>"
        "</svg>",
        style % LG_CHART_STYLES, 100 * fmin(fmax(share, 0), 1));
}
