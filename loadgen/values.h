/* Values as people write them: "10s", "200k", "zipf:1.2", "wall 2s 400k". Pure; any thread. */
#ifndef LG_VALUES_H
#define LG_VALUES_H

#include "loadgen/profile.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_DURATION_NS_MAX (30ll * 86400 * 1000000000)
#define LG_RATE_MAX        1e9

/* "250us", "10s", "1.5m" in nanoseconds; false when it is no duration of at most 30 days. */
bool lg_parse_duration(const char *text, int64_t *ns);
/* "200000", "200k", "1.5M"; false when it is no number within 0 .. max. */
bool lg_parse_count(const char *text, uint64_t max, uint64_t *count);
bool lg_parse_count32(const char *text, uint32_t min, uint32_t max, uint32_t *count);
/* 0 to 1. */
bool lg_parse_share(const char *text, double *share);
/* Orders a second, above 0 and at most LG_RATE_MAX, also with a fraction; 0 for "max". */
bool lg_parse_rate(const char *text, double *rate);
/* "uniform" (0), "zipf", "zipf:S". */
bool lg_parse_distribution(const char *text, double *exponent);
/* "3" or "2-7". */
bool lg_parse_quantity(const char *text, uint32_t *min, uint32_t *max);

/* A stage as it is asked for: "NAME DURATION RATE", "NAME DURATION RATE..RATE" (a ramp, either may
 * be 0) or "NAME DURATION max" (a closed loop). */
struct lg_stage_wish {
    char name[LG_STAGE_NAME_BYTES]; /* small letters, digits and dashes */
    int64_t duration_ns;            /* above 0 */
    double rate_from, rate_to;      /* 0 .. LG_RATE_MAX; 0 in a closed loop */
    bool closed;
};

bool lg_parse_stage(const char *text, struct lg_stage_wish *stage);

/* What latency must not exceed: "p99<=4ms". */
struct lg_objective {
    char name[8];    /* p50, p90, p99, p999 or p9999 */
    double fraction; /* 0.5 .. 0.9999; 0: there is none */
    int64_t at_most_ns;
};

bool lg_parse_objective(const char *text, struct lg_objective *objective);

#endif
