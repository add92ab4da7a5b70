/* The pieces of the page of loadgen/html.h, for its own files. */
#ifndef LG_HTML_PARTS_H
#define LG_HTML_PARTS_H

#include "loadgen/markup.h"
#include "loadgen/series.h"

#include <jansson.h>

/* Style sheet and script, each within its element. */
extern const char lg_html_style[];
extern const char lg_html_script[];

/* All pictures of a sound run (loadgen/html_charts.c). */
void lg_html_charts(const json_t *report, const struct lg_series *series, FILE *out);

/* Tables (loadgen/html_tables.c). */
void lg_html_bars(const json_t *report, FILE *out);  /* ratios to limits and peers */
void lg_html_parts(const json_t *report, FILE *out); /* of a scenario file */
void lg_html_requests(const json_t *report, FILE *out);
void lg_html_saturation(const json_t *report, FILE *out);
void lg_html_facts(const json_t *report, FILE *out); /* audit, settings, daemon, machine */
void lg_html_samples(const struct lg_series *series, FILE *out);

#endif
