/* What `top` shows: the difference between two looks at the server's counters. Pure but for the
 * file that it prints to. */
#ifndef TG_CTL_TOPVIEW_H
#define TG_CTL_TOPVIEW_H

#include "client/tidegate.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One look. Large: not for a stack. */
struct ctl_look {
    int64_t at_ns; /* when the answer was there, monotonic */
    char version[32];
    int64_t server_time_ms, started_at_ms;
    uint64_t threads, cpu_ns, resident_bytes, data_file_bytes;
    uint64_t connections_open, connections_accepted, frames, bad_frames;
    uint64_t answers[TG_VERDICT_COUNT]; /* to orders; what this build does not know under 0 */
    uint64_t replayed, sequence, commits, records, commits_refused;
    struct tg_histogram commit_us, batch;
};

struct ctl_top {
    const char *server; /* borrowed */
    double seconds; /* between the two looks; 0: the server was started anew, no rate is known */
    double orders_per_s, accepted_per_s, refused_per_s, replayed_per_s; /* answers to orders */
    double verdicts_per_s[TG_VERDICT_COUNT];
    double frames_per_s, commits_per_s, records_per_s, commits_refused_per_s, data_bytes_per_s;
    double cores;        /* of processor time */
    double writer_share; /* of the time in which a commit was under way, 0 to 1 */
    uint64_t commits;    /* between the two looks; the next six are 0 without any */
    uint64_t commit_us_p50, commit_us_p99, commit_us_max;
    uint64_t batch_p50, batch_p99, batch_max;
};

void ctl_look_read(const Tidegate__V1__GetStatsResponse *stats, int64_t at_ns,
                   struct ctl_look *look);
/* `room` is for histograms. */
void ctl_top_between(const struct ctl_look *earlier, const struct ctl_look *later,
                     struct tg_histogram *room, struct ctl_top *top);
void ctl_top_print(FILE *out, const struct ctl_top *top, const struct ctl_look *look);
/* NULL without memory. */
json_t *ctl_top_json(const struct ctl_top *top, const struct ctl_look *look);

#endif
