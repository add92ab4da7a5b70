/* The command line of tidegate-load: scenarios, their defaults, and what overrides them.
 *
 * Strings are borrowed from argv. Written once by lg_options_parse; then read-only. */
#ifndef LG_OPTIONS_H
#define LG_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LG_CONNECTIONS_MAX 10000u
#define LG_FRAMES_MAX      65536u
#define LG_THREADS_MAX     64u
#define LG_IN_FLIGHT_MAX   (1ull << 26) /* orders: connections x pipeline x batch */

struct lg_options {
    const char *server;
    const char *scenario;
    uint64_t sale_id; /* 0: a sale of its own */
    uint32_t connections, pipeline, batch, threads;
    double rate_per_s;   /* 0: closed loop */
    int64_t duration_ns; /* INT64_MAX: until the attempts are used up */
    int64_t warmup_ns, reconnect_ns;
    uint64_t seed;
    uint64_t attempts;
    uint64_t stock, users, greedy_users;
    uint32_t skus, limit, quantity_min, quantity_max;
    double zipf_exponent; /* 0: uniform */
    double retry_share, greedy_share;
    const char *json, *audit_log, *audit; /* NULL: not asked for */
    bool quiet, progress;
    double min_accepted_per_s, min_responses_per_s; /* 0: not asked for */
    int64_t max_p50_ns, max_p99_ns, max_p999_ns;    /* 0: not asked for */
};

enum lg_parsed {
    LG_PARSED_RUN,   /* do what the options say */
    LG_PARSED_EXIT,  /* --help or --version was printed */
    LG_PARSED_USAGE, /* the fault says what is wrong */
};

enum lg_parsed lg_options_parse(struct lg_options *options, int argc, char **argv,
                                struct tg_fault *fault);

/* "250us", "10s", "1.5m" in nanoseconds; false when it is no duration. */
bool lg_parse_duration(const char *text, int64_t *ns);
/* "200000", "200k", "1.5M"; false when it is no number within 0 .. max. */
bool lg_parse_count(const char *text, uint64_t max, uint64_t *count);

#endif
