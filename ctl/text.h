/* Texts for people and for programs: times, money, names, tables, JSON. Pure but for printing. */
#ifndef TG_CTL_TEXT_H
#define TG_CTL_TEXT_H

#include "ctl/names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- time --- */

#define CTL_TIME_BYTES  32
#define CTL_MONEY_BYTES 40

/* "500ms", "30s", "5m", "2h", "1d": digits and a unit, up to the year 9999 in all. */
bool ctl_duration_parse(const char *text, int64_t *duration_ms);
/* ISO 8601 with a zone ("2026-11-22T10:00:00Z", "2026-11-22T18:00+08:00", fractions to the
 * millisecond), "now", or "+DURATION" after now. `relative` is set when now was used. */
bool ctl_time_parse(const char *text, int64_t now_ms, int64_t *time_ms, bool *relative);
/* "2026-11-22T10:00:00Z", with milliseconds when they are not 0. */
const char *ctl_time_text(int64_t time_ms, char text[CTL_TIME_BYTES]);
/* The same for what may not have happened: "-" for 0. */
const char *ctl_when_text(int64_t time_ms, char text[CTL_TIME_BYTES]);

/* --- names --- */

/* "99.00" for 9900 of CNY: as many decimals as ISO 4217 gives the currency, two when it is not
 * known. For display only. */
const char *ctl_money_text(int64_t minor, const char *currency, char text[CTL_MONEY_BYTES]);
/* What a buyer would meet now: "not started", "open", "ended", "paused", "closed". */
const char *ctl_sale_phase(const Tidegate__V1__Sale *sale, int64_t now_ms,
                           char name[CTL_NAME_BYTES]);

/* The bytes as text when all are printable ASCII, else "0x" and hex. Cut to `size`. */
const char *ctl_bytes_text(const ProtobufCBinaryData *bytes, char *text, size_t size);
/* Hex digits without a prefix. */
const char *ctl_hex_text(const ProtobufCBinaryData *bytes, char *text, size_t size);

/* Makes control characters '?', but for the ends of lines when `has_lines`: what a server says must
 * not steer the terminal of who reads it. */
void ctl_text_tame(char *text, bool has_lines);

/* --- tables --- */

#define CTL_COLUMNS_MAX 14

struct ctl_column {
    const char *title;
    bool right; /* numbers */
};

/* Rows gathered for one flush; widths only grow, so that the pages of a long list stay aligned. */
struct ctl_table {
    const struct ctl_column *columns; /* borrowed */
    uint32_t column_count;
    uint32_t widths[CTL_COLUMNS_MAX];
    char **cells;
    size_t cell_count;
    size_t cell_capacity;
    bool headed; /* the titles were printed */
};

void ctl_table_init(struct ctl_table *table, const struct ctl_column *columns, uint32_t count);
/* The next cell, left to right, row by row. Control characters become '?'. */
void ctl_table_cell(struct ctl_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A table without titles, of names and what they are; and a row of it. */
void ctl_facts_init(struct ctl_table *table);
void ctl_fact(struct ctl_table *table, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints the titles (once) and the rows gathered, and forgets the rows. */
void ctl_table_flush(struct ctl_table *table);
/* Flushes and frees. */
void ctl_table_end(struct ctl_table *table);
/* Columns that `text` takes on a terminal: UTF-8, East Asian wide characters take two. */
uint32_t ctl_text_width(const char *text);

/* --- JSON --- */

/* An id as a string. */
json_t *ctl_json_id(uint64_t id);
/* Text of the server; what is no UTF-8 is made '?'. */
json_t *ctl_json_text(const char *text);
/* One line on stdout; takes the reference. */
void ctl_json_print(json_t *json);

#endif
