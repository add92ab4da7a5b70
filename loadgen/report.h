/* The report of a run: for people, and as JSON. Main thread. */
#ifndef LG_REPORT_H
#define LG_REPORT_H

#include "loadgen/run.h"

#include <stdio.h>

/* Rates and latencies are shown only when every promise held: a broken run has no throughput. */
void lg_report_text(const struct lg_result *result, enum lg_status status, FILE *out);

/* To a file, or to standard output for "-". */
enum tg_error lg_report_json(const struct lg_result *result, enum lg_status status,
                             const char *path, struct tg_fault *fault);

#endif
