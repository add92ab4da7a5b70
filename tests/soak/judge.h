/* What the samples of a soak say: windows of medians, a robust line through them, and a verdict for
 * each thing that must be flat or explained. Pure: numbers in, findings out.
 */
#ifndef TG_TESTS_SOAK_JUDGE_H
#define TG_TESTS_SOAK_JUDGE_H

#include "tests/soak/sample.h"

#define SOAK_WINDOWS_MAX 1500
#define SOAK_CHECKS_MAX  16

/* RssAnon may grow by so much in an hour; in a shorter time than SOAK_SPAN_S by what that would be
 * in SOAK_SPAN_S. So a short run sees only large leaks. */
#define SOAK_MEMORY_PER_H (8u << 20)
#define SOAK_SPAN_S       1500

/* Pages that the tables take for their rows, and what the rows account for. */
#define SOAK_FILE_PERCENT        15
#define SOAK_FILE_SLACK          (1u << 20)
/* Free pages may grow by so much between the thirds, beside SOAK_FILE_PERCENT of what they are. */
#define SOAK_SPARE_SLACK         (4u << 20)
#define SOAK_LATENCY_TIMES       2.0 /* of a run of SOAK_LONG_S or more */
#define SOAK_LATENCY_TIMES_SHORT 4.0
#define SOAK_LONG_S              600
#define SOAK_MACHINE_TIMES_MAX   3.0    /* that a slower machine excuses beside */
#define SOAK_LATENCY_SLACK_US    1000.0 /* a difference below this is none */
#define SOAK_FDS_SLACK           8

struct soak_window {
    double at_s; /* its middle */
    uint32_t samples;
    double rss_anon, rss, fds, cpu_percent; /* medians; bytes */
    double p50_us, p99_us, max_us;          /* medians of seconds, and the largest of all */
    double machine_us;                      /* of soak_machine_us */
    struct soak_sample last;
};

struct soak_check {
    const char *name;
    bool ok;
    char text[240];
};

struct soak_judgement {
    struct soak_window windows[SOAK_WINDOWS_MAX];
    uint32_t window_count;
    uint32_t warm;           /* the first window that is judged */
    double window_s, span_s; /* of one; of those judged, first middle to last */
    double memory_per_h;     /* bytes */
    double memory_bound_per_h;
    struct soak_check checks[SOAK_CHECKS_MAX];
    uint32_t check_count;
};

/* Bytes of the file for each row, of the mix of a soak: docs/kills-and-soak.md has them beside
 * those of docs/operations.md. */
double soak_row_bytes(enum soak_table table);

/* Length of a window for a run of so many seconds, and what is left out at its beginning. */
double soak_window_s(uint64_t seconds);
double soak_warm_up_s(uint64_t seconds);

/* The window of `samples` (at least one). */
void soak_window_of(const struct soak_sample *samples, uint32_t count, struct soak_window *window);

/* Cuts the samples into windows and judges memory, descriptors, threads, file and latency. */
void soak_judge(struct soak_judgement *judgement, const struct soak_sample *samples, uint32_t count,
                uint64_t seconds);
/* Adds a finding of the caller's. */
__attribute__((format(printf, 4, 5))) void
soak_add(struct soak_judgement *judgement, const char *name, bool ok, const char *format, ...);
bool soak_passed(const struct soak_judgement *judgement);

#endif
