#include "ctl/topview.h"

#include "base/clock.h"
#include "ctl/text.h"
#include "proto/verdict.h"

#include <inttypes.h>
#include <string.h>

#define MIB (1024.0 * 1024.0)

/* --- a look --- */

void ctl_look_read(const Tidegate__V1__GetStatsResponse *stats, int64_t at_ns,
                   struct ctl_look *look)
{
    *look = (struct ctl_look){.at_ns = at_ns,
                              .server_time_ms = stats->server_time_ms,
                              .started_at_ms = stats->started_at_ms,
                              .threads = stats->threads,
                              .cpu_ns = stats->cpu_ns,
                              .resident_bytes = stats->resident_bytes,
                              .data_file_bytes = stats->data_file_bytes,
                              .connections_open = stats->connections_open,
                              .connections_accepted = stats->connections_accepted,
                              .frames = stats->frames,
                              .bad_frames = stats->bad_frames,
                              .replayed = stats->replayed,
                              .sequence = stats->sequence,
                              .commits = stats->commits,
                              .records = stats->commit_records,
                              .commits_refused = stats->commits_refused};
    snprintf(look->version, sizeof(look->version), "%s", stats->version);
    ctl_text_tame(look->version, false);
    for (size_t i = 0; i < stats->n_answers; i++) {
        int verdict = (int)stats->answers[i]->verdict;
        bool known = verdict > 0 && verdict < TG_VERDICT_COUNT;
        look->answers[known ? verdict : 0] += stats->answers[i]->count;
    }
    tgc_histogram_read(stats->commit_us, stats->n_commit_us, &look->commit_us);
    tgc_histogram_read(stats->commit_batch, stats->n_commit_batch, &look->batch);
}

/* --- between two --- */

/* Counters only grow, but what another side says is not believed. */
static double rate(const struct ctl_top *top, uint64_t earlier, uint64_t later)
{
    return top->seconds > 0 && later > earlier ? (double)(later - earlier) / top->seconds : 0;
}

static void tell_verdicts(struct ctl_top *top, const struct ctl_look *earlier,
                          const struct ctl_look *later)
{
    for (int v = 0; v < TG_VERDICT_COUNT; v++) {
        top->verdicts_per_s[v] = rate(top, earlier->answers[v], later->answers[v]);
        top->orders_per_s += top->verdicts_per_s[v];
    }
    top->accepted_per_s = top->verdicts_per_s[TG_ACCEPTED];
    top->refused_per_s = top->orders_per_s - top->accepted_per_s;
    top->replayed_per_s = rate(top, earlier->replayed, later->replayed);
}

/* A bucket tells its values at most 1% too high, and so is the time that they sum up to. */
static double busy_us(const struct tg_histogram *commit_us)
{
    double sum_us = 0;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        if (commit_us->buckets[i])
            sum_us += (double)commit_us->buckets[i] * (double)tg_histogram_bucket_max(i);
    return sum_us;
}

static void tell_commits(struct ctl_top *top, const struct ctl_look *earlier,
                         const struct ctl_look *later, struct tg_histogram *room)
{
    top->commits = later->commits > earlier->commits ? later->commits - earlier->commits : 0;
    top->commits_per_s = rate(top, earlier->commits, later->commits);
    top->records_per_s = rate(top, earlier->records, later->records);
    top->commits_refused_per_s = rate(top, earlier->commits_refused, later->commits_refused);
    tg_histogram_between(room, &earlier->commit_us, &later->commit_us);
    double share = busy_us(room) / 1e6 / top->seconds;
    top->writer_share = share < 1 ? share : 1;
    top->commit_us_p50 = tg_histogram_percentile(room, 0.5);
    top->commit_us_p99 = tg_histogram_percentile(room, 0.99);
    top->commit_us_max = room->max;
    tg_histogram_between(room, &earlier->batch, &later->batch);
    top->batch_p50 = tg_histogram_percentile(room, 0.5);
    top->batch_p99 = tg_histogram_percentile(room, 0.99);
    top->batch_max = room->max;
}

void ctl_top_between(const struct ctl_look *earlier, const struct ctl_look *later,
                     struct tg_histogram *room, struct ctl_top *top)
{
    const char *server = top->server;
    *top = (struct ctl_top){.server = server};
    if (earlier->started_at_ms != later->started_at_ms || later->at_ns <= earlier->at_ns)
        return;
    top->seconds = (double)(later->at_ns - earlier->at_ns) / (double)TG_NS_PER_S;
    tell_verdicts(top, earlier, later);
    tell_commits(top, earlier, later, room);
    top->frames_per_s = rate(top, earlier->frames, later->frames);
    top->data_bytes_per_s = rate(top, earlier->data_file_bytes, later->data_file_bytes);
    top->cores = rate(top, earlier->cpu_ns, later->cpu_ns) / (double)TG_NS_PER_S;
}

/* --- for people --- */

static void print_head(FILE *out, const struct ctl_top *top, const struct ctl_look *look)
{
    char time[CTL_TIME_BYTES];
    int64_t up_s = (look->server_time_ms - look->started_at_ms) / 1000;
    fprintf(out, "tidegated %s on %s, up %" PRId64 " s, %s\n", look->version, top->server, up_s,
            ctl_time_text(look->server_time_ms, time));
    if (top->seconds > 0)
        fprintf(out, "rates over the last %.1f s\n\n", top->seconds);
    else
        fprintf(out, "no rates yet\n\n");
}

static void print_verdicts(FILE *out, const struct ctl_top *top, const struct ctl_look *look)
{
    fprintf(out, "\n%-24s %12s %16s\n", "ANSWER TO ORDERS", "PER SECOND", "SINCE START");
    for (int v = 0; v < TG_VERDICT_COUNT; v++)
        if (look->answers[v])
            fprintf(out, "%-24s %12.0f %16" PRIu64 "\n", v ? tg_verdict_name(v) : "(newer)",
                    top->verdicts_per_s[v], look->answers[v]);
}

void ctl_top_print(FILE *out, const struct ctl_top *top, const struct ctl_look *look)
{
    print_head(out, top, look);
    fprintf(out, "orders       %.0f/s: %.0f accepted (%.0f of them retries), %.0f refused\n",
            top->orders_per_s, top->accepted_per_s, top->replayed_per_s, top->refused_per_s);
    fprintf(out, "commits      %.0f/s with %.0f records/s; %.0f/s refused for want of room\n",
            top->commits_per_s, top->records_per_s, top->commits_refused_per_s);
    fprintf(out, "commit us    p50 %" PRIu64 "  p99 %" PRIu64 "  max %" PRIu64 "\n",
            top->commit_us_p50, top->commit_us_p99, top->commit_us_max);
    fprintf(out, "batch        p50 %" PRIu64 "  p99 %" PRIu64 "  max %" PRIu64 " records\n",
            top->batch_p50, top->batch_p99, top->batch_max);
    fprintf(out, "writer       %.0f%% of the time in a commit\n", 100 * top->writer_share);
    fprintf(out, "processor    %.2f cores; %" PRIu64 " core threads\n", top->cores, look->threads);
    fprintf(out, "memory       %.1f MiB resident\n", (double)look->resident_bytes / MIB);
    fprintf(out, "data file    %.1f MiB, %+.2f MiB/s; sequence %" PRIu64 "\n",
            (double)look->data_file_bytes / MIB, top->data_bytes_per_s / MIB, look->sequence);
    fprintf(out, "connections  %" PRIu64 " open; %.0f frames/s, %" PRIu64 " bad in all\n",
            look->connections_open, top->frames_per_s, look->bad_frames);
    print_verdicts(out, top, look);
}

/* --- for programs --- */

static json_t *shape_json(uint64_t p50, uint64_t p99, uint64_t max)
{
    return json_pack("{s:I, s:I, s:I}", "p50", (json_int_t)p50, "p99", (json_int_t)p99, "max",
                     (json_int_t)max);
}

json_t *ctl_top_json(const struct ctl_top *top, const struct ctl_look *look)
{
    json_t *per_s = json_object();
    for (int v = 1; v < TG_VERDICT_COUNT; v++)
        if (look->answers[v])
            json_object_set_new(per_s, tg_verdict_name(v), json_real(top->verdicts_per_s[v]));
    return json_pack(
        "{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o, s:f, s:f, s:f, s:o, s:o, s:f, s:f, s:I, s:I, "
        "s:f, s:I, s:f, s:I}",
        "server_time_ms", (json_int_t)look->server_time_ms, "started_at_ms",
        (json_int_t)look->started_at_ms, "seconds", top->seconds, "orders_per_s", top->orders_per_s,
        "accepted_per_s", top->accepted_per_s, "refused_per_s", top->refused_per_s,
        "replayed_per_s", top->replayed_per_s, "verdicts_per_s", per_s, "commits_per_s",
        top->commits_per_s, "records_per_s", top->records_per_s, "commits_refused_per_s",
        top->commits_refused_per_s, "commit_us",
        shape_json(top->commit_us_p50, top->commit_us_p99, top->commit_us_max), "commit_batch",
        shape_json(top->batch_p50, top->batch_p99, top->batch_max), "writer_share",
        top->writer_share, "cpu_cores", top->cores, "resident_bytes",
        (json_int_t)look->resident_bytes, "data_file_bytes", (json_int_t)look->data_file_bytes,
        "data_file_bytes_per_s", top->data_bytes_per_s, "connections_open",
        (json_int_t)look->connections_open, "frames_per_s", top->frames_per_s, "sequence",
        (json_int_t)look->sequence);
}
