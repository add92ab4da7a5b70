/* Text for HTML and XML: escaped, and figures as people read them. Writes to a stream, whose errors
 * are its owner's to look at. Formatting buffers are the caller's. Any thread. */
#ifndef LG_MARKUP_H
#define LG_MARKUP_H

#include <stdio.h>

#define LG_FIGURE_BYTES 32u

/* Writes text so that it is only text between tags and within quotes, in HTML and in XML 1.0: the
 * five characters that mean something become entities; control characters, which XML has no way to
 * write, and what is no UTF-8 become U+FFFD. NULL is nothing. */
void lg_markup_text(const char *text, FILE *out);

/* printf whose result is escaped like that; cut at 1,023 bytes. */
void lg_markup_print(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What a number counts. */
enum lg_unit {
    LG_UNIT_COUNT, /* "12,345,678" */
    LG_UNIT_RATE,  /* "12,345,678/s" */
    LG_UNIT_US,    /* microseconds: "850 ns", "12.3 us" with a Greek letter, "4.56 ms", "1.20 s" */
    LG_UNIT_SHARE, /* of 1: "12.3%" */
    LG_UNIT_BYTES, /* "1.5 MiB" */
    LG_UNIT_S,     /* seconds: "12.5 s" */
};

/* A number in full, for a table; "-" with a dash's letter for NAN. Returns `out`. */
const char *lg_figure(double value, enum lg_unit unit, char out[LG_FIGURE_BYTES]);

/* The same in few letters, for an axis: "1.2M", "40k". Returns `out`. */
const char *lg_figure_short(double value, enum lg_unit unit, char out[LG_FIGURE_BYTES]);

#endif
