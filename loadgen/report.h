/* The report of a run: for people, and as JSON. Main thread. */
#ifndef LG_REPORT_H
#define LG_REPORT_H

#include "loadgen/run.h"

#include <jansson.h>
#include <stdio.h>

/* Rates and latencies are shown only when every promise held: a broken run has no throughput. Parts
 * come first, the whole behind them. */
void lg_report_text(const struct lg_result *result, FILE *out);

/* The report, version 2. The caller owns it; NULL without memory. */
json_t *lg_report_tree(const struct lg_result *result);

/* The same to a file, or to standard output for "-". */
enum tg_error lg_report_json(const struct lg_result *result, const char *path,
                             struct tg_fault *fault);

#endif
