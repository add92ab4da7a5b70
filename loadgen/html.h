/* The report of a run as one HTML page that stands alone: no network, no other file, readable
 * without its script, on a phone, in light and dark, and by ear. docs/reports.md shows how to read
 * it. It is made of the JSON report alone (loadgen/tree.h), so that a page made by the run and one
 * made of its JSON file later are the same.
 *
 * A run whose audit failed gets its findings in words, and no throughput, latency or picture. */
#ifndef LG_HTML_H
#define LG_HTML_H

#include "base/error.h"

#include <jansson.h>
#include <stdio.h>

/* Writes the page to a stream, whose errors are its owner's to look at. TG_ERR_NOMEM. */
enum tg_error lg_html_render(const json_t *report, FILE *out, struct tg_fault *fault);

/* To a file, or to standard output for "-". TG_ERR_IO, TG_ERR_NOMEM. */
enum tg_error lg_html_write(const json_t *report, const char *path, struct tg_fault *fault);

#endif
