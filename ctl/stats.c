#include "ctl/ctl.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>

/* Of one histogram, as told and as printed. */
struct shape {
    uint64_t p50, p90, p99, max;
};

static struct shape shape_of(Tidegate__V1__HistogramBucket *const *buckets, size_t count)
{
    static struct tg_histogram histogram; /* 36 KiB: not for a stack */
    tgc_histogram_read(buckets, count, &histogram);
    return (struct shape){.p50 = tg_histogram_percentile(&histogram, 0.5),
                          .p90 = tg_histogram_percentile(&histogram, 0.9),
                          .p99 = tg_histogram_percentile(&histogram, 0.99),
                          .max = histogram.max};
}

static json_t *shape_json(const struct shape *shape)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "p50", (json_int_t)shape->p50, "p90",
                     (json_int_t)shape->p90, "p99", (json_int_t)shape->p99, "max",
                     (json_int_t)shape->max);
}

static void print_json(const Tidegate__V1__GetStatsResponse *stats, const struct shape *commit_us,
                       const struct shape *batch)
{
    json_t *answers = json_object();
    for (size_t i = 0; i < stats->n_answers; i++)
        json_object_set_new(answers, tg_verdict_name((int)stats->answers[i]->verdict),
                            json_integer((json_int_t)stats->answers[i]->count));
    ctl_json_print(json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, "
        "s:o, s:o}",
        "version", ctl_json_text(stats->version), "server_time_ms",
        (json_int_t)stats->server_time_ms, "started_at_ms", (json_int_t)stats->started_at_ms,
        "threads", (json_int_t)stats->threads, "cpu_ns", (json_int_t)stats->cpu_ns,
        "resident_bytes", (json_int_t)stats->resident_bytes, "data_file_bytes",
        (json_int_t)stats->data_file_bytes, "connections_open", (json_int_t)stats->connections_open,
        "connections_accepted", (json_int_t)stats->connections_accepted, "frames",
        (json_int_t)stats->frames, "bad_frames", (json_int_t)stats->bad_frames, "answers", answers,
        "replayed", (json_int_t)stats->replayed, "sequence", (json_int_t)stats->sequence, "commits",
        (json_int_t)stats->commits, "commit_records", (json_int_t)stats->commit_records,
        "commits_refused", (json_int_t)stats->commits_refused, "commit_us", shape_json(commit_us),
        "commit_batch", shape_json(batch)));
}

static void print_text(const Tidegate__V1__GetStatsResponse *stats, const struct shape *commit_us,
                       const struct shape *batch)
{
    double up_s = ((double)stats->server_time_ms - (double)stats->started_at_ms) / 1000;
    ctl_text_tame(stats->version, false);
    printf("tidegated %s, up %.0f s, %u core threads, %.1f s of processor time, %" PRIu64
           " MiB resident, data file %" PRIu64 " MiB\n",
           stats->version, up_s, stats->threads, (double)stats->cpu_ns / 1e9,
           stats->resident_bytes >> 20, stats->data_file_bytes >> 20);
    printf("connections  %" PRIu64 " open, %" PRIu64 " accepted in all; %" PRIu64
           " frames, %" PRIu64 " bad\n",
           stats->connections_open, stats->connections_accepted, stats->frames, stats->bad_frames);
    printf("commits      %" PRIu64 " with %" PRIu64 " records, %" PRIu64
           " refused for want of room; sequence %" PRIu64 "\n",
           stats->commits, stats->commit_records, stats->commits_refused, stats->sequence);
    printf("commit us    p50 %" PRIu64 "  p90 %" PRIu64 "  p99 %" PRIu64 "  max %" PRIu64 "\n",
           commit_us->p50, commit_us->p90, commit_us->p99, commit_us->max);
    printf("commit size  p50 %" PRIu64 "  p90 %" PRIu64 "  p99 %" PRIu64 "  max %" PRIu64
           " records\n",
           batch->p50, batch->p90, batch->p99, batch->max);
    for (size_t i = 0; i < stats->n_answers; i++)
        printf("%s%-24s %" PRIu64 "\n", i ? "             " : "answers      ",
               tg_verdict_name((int)stats->answers[i]->verdict), stats->answers[i]->count);
}

enum ctl_exit ctl_stats_ask(struct ctl *ctl, Tidegate__V1__Response **response)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetStatsRequest body = TIDEGATE__V1__GET_STATS_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_STATS;
    request.get_stats = &body;
    return ctl_call(ctl, &request, response);
}

enum ctl_exit ctl_stats(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    enum ctl_exit code = ctl_stats_ask(ctl, &response);
    if (code)
        return code;
    const Tidegate__V1__GetStatsResponse *stats = response->get_stats;
    struct shape commit_us = shape_of(stats->commit_us, stats->n_commit_us);
    struct shape batch = shape_of(stats->commit_batch, stats->n_commit_batch);
    if (ctl->json)
        print_json(stats, &commit_us, &batch);
    else
        print_text(stats, &commit_us, &batch);
    tgc_response_free(response);
    return CTL_DONE;
}
