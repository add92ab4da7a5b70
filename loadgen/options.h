/* What a run is to do: one table of options, which the command line (lg_options_parse) and the
 * parts of a scenario file (loadgen/scenario.h) share, scenarios with their defaults, and what goes
 * together.
 *
 * Strings are borrowed from whoever set them. Written by one thread; then read-only. */
#ifndef LG_OPTIONS_H
#define LG_OPTIONS_H

#include "base/error.h"
#include "loadgen/profile.h"
#include "loadgen/values.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_CONNECTIONS_MAX 10000u
#define LG_FRAMES_MAX      65536u
#define LG_THREADS_MAX     64u
#define LG_IN_FLIGHT_MAX   (1ull << 26)  /* orders: connections x pipeline x batch */
#define LG_PREFILL_MAX     1000000000ull /* units of one item */
#define LG_NO_LIMIT        UINT64_MAX

/* What a run must reach. */
struct lg_thresholds {
    double min_accepted_per_s, min_responses_per_s;            /* 0: not asked for */
    int64_t max_p50_ns, max_p99_ns, max_p999_ns, max_p9999_ns; /* 0: not asked for */
    int64_t max_slip_p99_ns;                                   /* 0: not asked for */
    uint64_t max_backlog;                                      /* LG_NO_LIMIT: not asked for */
    uint64_t max_errors;                                       /* LG_NO_LIMIT: not asked for */
};

struct lg_options {
    const char *server;
    const char *scenario;
    const char *file; /* a scenario file instead of a scenario; NULL: none */
    const char *part; /* of a scenario file; NULL: a run by itself */
    bool tls;         /* or any of the next four: loadgen/target.h */
    const char *tls_ca, *tls_cert, *tls_key, *tls_name; /* NULL: not given */
    const char *token_file;                             /* NULL: the environment says */
    uint64_t sale_id;                                   /* 0: a sale of its own */
    uint32_t connections, pipeline, batch, threads;
    double rate_per_s;   /* 0: closed loop */
    int64_t duration_ns; /* INT64_MAX: until the attempts are used up */
    int64_t warmup_ns, reconnect_ns;
    struct lg_stage_wish stages[LG_STAGES_MAX]; /* instead of the rate, duration and warm-up */
    uint32_t stage_count;
    struct lg_profile profile; /* what all these come to */
    int64_t opens_ns;          /* its sale opens so long after the start of load; 0: at once */
    uint64_t prefill;          /* orders placed before */
    uint64_t seed;
    bool seed_given;
    uint64_t attempts;
    uint64_t stock, users, greedy_users;
    uint32_t skus, limit, quantity_min, quantity_max;
    double zipf_exponent; /* 0: uniform */
    double retry_share, greedy_share;
    const char *json, *audit_log, *audit, *probe; /* NULL: not asked for */
    const char *html, *junit, *hgrm;              /* likewise */
    bool quiet, progress, live;
    struct lg_objective saturate; /* fraction 0: no search */
    struct lg_thresholds thresholds;
    bool is_prefill; /* loadgen/prefill.c only: orders that are counted, and do not expire soon */
};

/* Where an option may stand. A bit each. */
enum lg_place {
    LG_PLACE_PART = 1,      /* a part of a scenario file; and the command line without a file */
    LG_PLACE_THRESHOLD = 2, /* the thresholds of a scenario file; and any command line */
    LG_PLACE_ANY_LINE = 4,  /* any command line, also beside a scenario file */
    LG_PLACE_LINE = 8,      /* the command line without a file */
};

enum lg_parsed {
    LG_PARSED_RUN,   /* do what the options say */
    LG_PARSED_EXIT,  /* --help or --version was printed */
    LG_PARSED_USAGE, /* the fault says what is wrong */
};

/* Reads a command line. */
enum lg_parsed lg_options_parse(struct lg_options *options, int argc, char **argv,
                                struct tg_fault *fault);

/* --- for whoever sets options one by one: init, set the scenario first, set others, finish --- */

/* The defaults, those of the scenario seckill among them. */
void lg_options_init(struct lg_options *options);

/* Sets one by its name, without dashes in front; '_' stands for '-'. `places`: where it is set
 * (enum lg_place, or-ed). TG_ERR_NOTFOUND when there is none of this name in these places: the
 * fault names the nearest. TG_ERR_INVALID when the value is not what it must be: the fault says
 * what that is. */
enum tg_error lg_options_set(struct lg_options *options, const char *name, const char *value,
                             uint32_t places, struct tg_fault *fault);

/* Checks what does not go together, and makes the profile. TG_ERR_INVALID. */
enum tg_error lg_options_finish(struct lg_options *options, struct tg_fault *fault);

#endif
