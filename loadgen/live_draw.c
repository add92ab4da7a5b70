/* One picture of the live view. */
#include "loadgen/live.h"
#include "loadgen/markup.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_COLUMNS   10u
#define FIGURE_COLUMNS 14u
#define COLUMNS_MAX    400u
#define SPARK_CELLS    60u

/* Sequences, which take no column. */
#define SEQ_BOLD   "\033[1m"
#define SEQ_SOFT   "\033[2m"
#define SEQ_BLUE   "\033[36m"
#define SEQ_YELLOW "\033[33m"
#define SEQ_PLAIN  "\033[0m"
#define SEQ_CLEAR  "\033[K"

/* A picture in the making. */
struct canvas {
    const struct lg_live_look *look;
    char *out;
    size_t used, room;
    uint32_t column, row;
};

static void put_bytes(struct canvas *c, const char *bytes, size_t count)
{
    if (c->used + count > c->room)
        return;
    memcpy(c->out + c->used, bytes, count);
    c->used += count;
}

static void put_style(struct canvas *c, const char *sequence)
{
    if (c->look->colour)
        put_bytes(c, sequence, strlen(sequence));
}

/* Cut at the edge of the terminal. Letters of several bytes take one column, and become one of
 * ASCII where the terminal may not know them. */
static void put(struct canvas *c, const char *text)
{
    uint32_t columns = c->look->columns < COLUMNS_MAX ? c->look->columns : COLUMNS_MAX;
    while (*text && c->column < columns) {
        size_t bytes = 1;
        while (((unsigned char)text[bytes] & 0xc0) == 0x80)
            bytes++;
        if (bytes == 1 || c->look->utf8)
            put_bytes(c, text, bytes);
        else
            put_bytes(c, strncmp(text, "\u00b5", 2) == 0 ? "u" : "-", 1);
        c->column++;
        text += bytes;
    }
}

static void putf(struct canvas *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void putf(struct canvas *c, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put(c, text);
}

/* False when the terminal has no line left. */
static bool next_line(struct canvas *c)
{
    put_style(c, SEQ_PLAIN);
    put_bytes(c, SEQ_CLEAR, strlen(SEQ_CLEAR));
    c->column = 0;
    if (++c->row >= c->look->rows)
        return false;
    put_bytes(c, "\r\n", 2);
    return true;
}

static void put_padded(struct canvas *c, const char *text, uint32_t columns, bool right)
{
    uint32_t letters = 0;
    for (const char *p = text; *p; p++)
        letters += ((unsigned char)*p & 0xc0) != 0x80;
    for (uint32_t i = letters; right && i < columns; i++)
        put(c, " ");
    put(c, text);
    for (uint32_t i = letters; !right && i < columns; i++)
        put(c, " ");
}

static void put_name(struct canvas *c, const char *name)
{
    put_style(c, SEQ_SOFT);
    put_padded(c, name, NAME_COLUMNS, false);
    put_style(c, SEQ_PLAIN);
}

static void put_figure(struct canvas *c, double value, enum lg_unit unit)
{
    char text[LG_FIGURE_BYTES];
    put_style(c, SEQ_BOLD);
    put_padded(c, lg_figure(value, unit, text), FIGURE_COLUMNS, true);
    put_style(c, SEQ_PLAIN);
    put(c, "  ");
}

/* --- sparklines --- */

/* The larger of the two points of a second; the newest may have one so far. */
static double cell_value(const struct lg_live_view *v, const double *values, uint32_t from_end)
{
    uint32_t newest = 2 - v->turns % 2;
    uint32_t begin = from_end ? newest + 2 * (from_end - 1) : 0, end = newest + 2 * from_end;
    double value = NAN;
    /* fmax leaves out what is no number. */
    for (uint32_t back = begin; back < end && back < v->points; back++)
        value = fmax(value, values[v->points - 1 - back]);
    return value;
}

static void put_spark(struct canvas *c, const struct lg_live_view *v, const double *values,
                      enum lg_unit unit)
{
    static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const plain[] = {".", ":", "-", "=", "+", "*", "#", "@"};
    uint32_t room = c->look->columns > c->column + 12 ? c->look->columns - c->column - 12 : 0;
    uint32_t cells = room < SPARK_CELLS ? room : SPARK_CELLS;
    char text[LG_FIGURE_BYTES];
    double top = 0;
    for (uint32_t i = 0; i < cells; i++)
        top = fmax(top, cell_value(v, values, i));
    put_style(c, SEQ_BLUE);
    for (uint32_t i = cells; i-- > 0;) {
        double value = cell_value(v, values, i);
        int level = isnan(value) || top <= 0 ? -1 : (int)fmin(7, floor(8 * value / top));
        put(c, level < 0 ? " " : c->look->utf8 ? blocks[level] : plain[level]);
    }
    put_style(c, SEQ_PLAIN);
    if (cells && top > 0)
        putf(c, " %s", lg_figure_short(top, unit, text));
}

/* --- lines --- */

static void put_time(struct canvas *c, int64_t ns)
{
    int64_t seconds = ns / 1000000000;
    if (seconds >= 3600)
        putf(c, "%d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
             (int)(seconds % 60));
    else
        putf(c, "%d:%02d", (int)(seconds / 60), (int)(seconds % 60));
}

static void line_stage(struct canvas *c, const struct lg_live_view *v)
{
    put_name(c, "stage");
    if (!v->stage) {
        put(c, "over: the last answers, then the audit");
        return;
    }
    put_style(c, SEQ_BOLD);
    put(c, v->stage);
    put_style(c, SEQ_PLAIN);
    if (v->stage_count > 1)
        putf(c, ", %u of %u", v->stage_number, v->stage_count);
    if (v->stage_left_ns >= 0 && v->stage_count > 1) {
        put(c, ", ");
        put_time(c, v->stage_left_ns);
        put(c, " left");
    }
    if (v->left_ns >= 0) {
        put(c, ", ");
        put_time(c, v->left_ns);
        put(c, " to the end of load");
    }
}

static void line_total(struct canvas *c, const char *name, double per_s, uint64_t total)
{
    char text[LG_FIGURE_BYTES];
    put_name(c, name);
    put_figure(c, per_s, LG_UNIT_RATE);
    putf(c, "%s in all", lg_figure((double)total, LG_UNIT_COUNT, text));
}

static void line_refused(struct canvas *c, const struct lg_live_view *v)
{
    char text[LG_FIGURE_BYTES];
    line_total(c, "refused", v->refused_per_s, v->refused);
    for (uint32_t i = 0; i < v->verdict_count; i++)
        putf(c, "  %s %s/s", v->verdicts[i].name,
             lg_figure_short(v->verdicts[i].per_s, LG_UNIT_RATE, text));
}

static void line_commits(struct canvas *c, const struct lg_live_view *v)
{
    char p99[LG_FIGURE_BYTES], each[LG_FIGURE_BYTES];
    put_name(c, "commits");
    if (!v->has_commits) {
        put(c, "the server does not tell");
        return;
    }
    put_figure(c, v->commits_per_s, LG_UNIT_RATE);
    putf(c, "p99 %s, %s records each", lg_figure(v->commit_p99_us, LG_UNIT_US, p99),
         lg_figure(v->records_each, LG_UNIT_COUNT, each));
}

static void line_waiting(struct canvas *c, const struct lg_live_view *v)
{
    char text[LG_FIGURE_BYTES];
    put_name(c, "waiting");
    putf(c, "%s in flight, ", lg_figure((double)v->in_flight, LG_UNIT_COUNT, text));
    if (v->backlog)
        put_style(c, SEQ_YELLOW);
    putf(c, "backlog %s", lg_figure((double)v->backlog, LG_UNIT_COUNT, text));
}

static void line_latency(struct canvas *c, const struct lg_live_view *v)
{
    char p50[LG_FIGURE_BYTES], max[LG_FIGURE_BYTES];
    put_name(c, "");
    putf(c, "p50 %s, slowest %s", lg_figure(v->p50_us, LG_UNIT_US, p50),
         lg_figure(v->max_us, LG_UNIT_US, max));
}

static void draw_line(struct canvas *c, const struct lg_live_view *v, uint32_t line)
{
    switch (line) {
    case 0:
        put_style(c, SEQ_BOLD);
        put(c, "tidegate-load  ");
        put_style(c, SEQ_PLAIN);
        putf(c, "%.200s  ", v->title);
        put_time(c, v->since_ns);
        break;
    case 1:
        line_stage(c, v);
        break;
    case 2:
        put_name(c, "answers");
        put_figure(c, v->answers_per_s, LG_UNIT_RATE);
        put_spark(c, v, v->rates, LG_UNIT_RATE);
        break;
    case 3:
        put_name(c, "p99");
        put_figure(c, v->p99_us, LG_UNIT_US);
        put_spark(c, v, v->p99s_us, LG_UNIT_US);
        break;
    case 4:
        line_latency(c, v);
        break;
    case 5:
        line_total(c, "offered", v->offered_per_s, v->offered);
        break;
    case 6:
        line_total(c, "accepted", v->accepted_per_s, v->accepted);
        break;
    case 7:
        line_refused(c, v);
        break;
    case 8:
        line_commits(c, v);
        break;
    case 9:
        line_waiting(c, v);
        break;
    default:
        put_style(c, SEQ_SOFT);
        put(c, "Ctrl-C ends the load and audits what was done; once more ends all.");
    }
}

size_t lg_live_draw(const struct lg_live_view *view, const struct lg_live_look *look, char *out,
                    size_t room)
{
    struct canvas c = {.look = look, .out = out, .room = room};
    for (uint32_t line = 0; line < LG_LIVE_LINES; line++) {
        draw_line(&c, view, line);
        if (line + 1 == LG_LIVE_LINES) {
            put_style(&c, SEQ_PLAIN);
            put_bytes(&c, SEQ_CLEAR, strlen(SEQ_CLEAR));
        } else if (!next_line(&c)) {
            break;
        }
    }
    return c.used;
}
