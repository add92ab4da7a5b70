/* How a soak is told: a row for each minute while it runs, then findings as text, JSON and a small
 * picture. */
#ifndef TG_TESTS_SOAK_REPORT_H
#define TG_TESTS_SOAK_REPORT_H

#include "tests/soak/judge.h"

#include <stdio.h>

/* What was done, for the report. */
struct soak_facts {
    uint64_t seconds, seed;
    uint64_t orders, answers, events_read, retries_checked; /* as the loads' audits say */
    uint64_t probes, visits, left_early, events_consumed, pages_read, busy;
};

void soak_show_head(FILE *out);
void soak_show_row(FILE *out, const struct soak_window *window);
void soak_show_findings(FILE *out, const struct soak_judgement *judgement,
                        const struct soak_facts *facts);
/* Write a file; false with errno. */
bool soak_write_json(const char *path, const struct soak_judgement *judgement,
                     const struct soak_facts *facts);
bool soak_write_svg(const char *path, const struct soak_judgement *judgement);

#endif
