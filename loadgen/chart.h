/* Pictures of figures as inline SVG, for the page of loadgen/html.h: lines or stacked areas over
 * time with the stages of the run shaded, and latency over percentiles in HdrHistogram's manner.
 *
 * Colours, widths and sizes of letters are the page's (loadgen/html_style.c): classes "l0" to "l7"
 * for lines and "a0" to "a7" for areas, so that one picture serves light and dark. Lines differ by
 * dashes as well as by colours, areas have a label within or beside them, and each picture has its
 * story in words (title and desc) for those who do not see it. Pure but for the stream. */
#ifndef LG_CHART_H
#define LG_CHART_H

#include "loadgen/markup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LG_CHART_LINES  8u
#define LG_CHART_STYLES 8u /* of lines and of areas: styles count from 0 to 7 */

struct lg_line {
    const char *name; /* borrowed, as all below */
    const double *y;  /* NAN: a gap */
    const double *x;  /* of percentiles only: 1 / (1 - p), 1 or more */
    uint32_t count;   /* of percentiles only */
    uint32_t style;   /* 0 .. LG_CHART_STYLES - 1 */
    bool is_area;     /* stacked on the areas before it */
};

/* A time with a name: a stage. */
struct lg_span {
    const char *name;
    double begin_s, end_s;
    bool measured;
};

struct lg_chart {
    const char *id;    /* letters; no other of the page has it */
    const char *title; /* what it shows */
    const char *story; /* the same picture in words */
    const char *axis;  /* what the values are */
    enum lg_unit unit;
    bool log_y;
    bool wide;                     /* takes the width of two */
    double y_max;                  /* the axis goes at least so far; 0: as far as the values */
    const double *begin_s, *end_s; /* of each point; NULL: percentiles */
    uint32_t count;
    const struct lg_span *spans;
    uint32_t span_count;
    struct lg_line lines[LG_CHART_LINES];
    uint32_t line_count;
};

/* Adds a line; no more than LG_CHART_LINES. Returns it. */
struct lg_line *lg_chart_add(struct lg_chart *chart, const char *name, const double *y,
                             uint32_t style);

/* A <figure> with title, legend and picture; a sentence instead when there is nothing to draw. */
void lg_chart_write(const struct lg_chart *chart, FILE *out);

/* One bar of a table, `share` (0 .. 1) long, in the style of an area. */
void lg_chart_bar(double share, uint32_t style, FILE *out);

#endif
