#include "server/stats.h"

#include "base/clock.h"
#include "server/control.h"
#include "server/server.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* More buckets than this would not fit the answer: then neighbours are told as one. A histogram of
 * four decades at 1 % has 1,700. */
#define BUCKETS_TOLD_MAX 2048

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm)
        return 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's own figures, and there is one if it says so
    if (fscanf(statm, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(statm);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t data_file_bytes(const struct srv_server *server)
{
    char path[4096];
    struct stat file;
    int length = snprintf(path, sizeof(path), "%s/data.mdb", server->config.data_dir);
    if (length < 0 || (size_t)length >= sizeof(path) || stat(path, &file) != 0)
        return 0;
    return (uint64_t)file.st_blocks * 512;
}

static uint64_t cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * TG_NS_PER_S + (uint64_t)used.tv_nsec;
}

/* The buckets that hold something, lowest first. */
static size_t fill_buckets(struct srv_core *core, const struct tg_histogram *histogram,
                           Tidegate__V1__HistogramBucket ***told)
{
    Tidegate__V1__HistogramBucket *buckets =
        srv_message_alloc(core, BUCKETS_TOLD_MAX * sizeof(*buckets));
    *told = srv_message_alloc(core, BUCKETS_TOLD_MAX * sizeof(**told));
    size_t count = 0;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++) {
        uint64_t values = tg_count_read(&histogram->buckets[i]);
        if (values == 0)
            continue;
        bool is_new = count < BUCKETS_TOLD_MAX;
        count += is_new;
        Tidegate__V1__HistogramBucket *bucket = &buckets[count - 1];
        if (is_new)
            tidegate__v1__histogram_bucket__init(bucket);
        bucket->upper = tg_histogram_bucket_max(i);
        bucket->count += values;
        (*told)[count - 1] = bucket;
    }
    return count;
}

static void fill_commits(struct srv_core *core, Tidegate__V1__GetStatsResponse *answer)
{
    const struct srv_commit_stats *stats = &core->server->writer.stats;
    answer->commits = tg_count_read(&stats->commits);
    answer->commit_records = tg_count_read(&stats->records);
    answer->commits_refused = tg_count_read(&stats->refused);
    answer->n_commit_us = fill_buckets(core, &stats->commit_us, &answer->commit_us);
    answer->n_commit_batch = fill_buckets(core, &stats->batch, &answer->commit_batch);
}

static void fill_answers(struct srv_core *core, Tidegate__V1__GetStatsResponse *answer)
{
    const struct srv_server *server = core->server;
    Tidegate__V1__VerdictCount *counts =
        srv_message_alloc(core, TG_VERDICT_COUNT * sizeof(*counts));
    answer->answers = srv_message_alloc(core, TG_VERDICT_COUNT * sizeof(*answer->answers));
    for (uint32_t verdict = 0; verdict < TG_VERDICT_COUNT; verdict++) {
        uint64_t count = 0;
        for (uint64_t i = 0; i < server->config.threads; i++)
            count += tg_count_read(&server->cores[i].stats.verdicts[verdict]);
        if (count == 0)
            continue;
        Tidegate__V1__VerdictCount *told = &counts[answer->n_answers];
        tidegate__v1__verdict_count__init(told);
        told->verdict = (Tidegate__V1__Verdict)verdict;
        told->count = count;
        answer->answers[answer->n_answers++] = told;
    }
}

static void fill_connections(struct srv_core *core, Tidegate__V1__GetStatsResponse *answer)
{
    const struct srv_server *server = core->server;
    for (uint64_t i = 0; i < server->config.threads; i++) {
        const struct srv_core_stats *stats = &server->cores[i].stats;
        uint64_t closed = tg_count_read(&stats->connections_closed);
        uint64_t accepted = tg_count_read(&stats->connections_accepted);
        answer->connections_accepted += accepted;
        /* The two are not read at one moment. */
        answer->connections_open += accepted > closed ? accepted - closed : 0;
        answer->replayed += tg_count_read(&stats->replayed);
        answer->frames += tg_count_read(&stats->frames);
        answer->bad_frames += tg_count_read(&stats->bad_frames);
    }
}

void srv_stats_fill(struct srv_core *core, Tidegate__V1__GetStatsResponse *answer)
{
    const struct srv_server *server = core->server;
    tidegate__v1__get_stats_response__init(answer);
    answer->version = (char *)TG_VERSION;
    answer->server_time_ms = core->now_ms;
    answer->started_at_ms = server->started_at_ms;
    answer->threads = (uint32_t)server->config.threads;
    answer->cpu_ns = cpu_ns();
    answer->resident_bytes = resident_bytes();
    answer->data_file_bytes = data_file_bytes(server);
    answer->sequence = atomic_load_explicit(&server->sequence, memory_order_acquire);
    fill_connections(core, answer);
    fill_answers(core, answer);
    fill_commits(core, answer);
}
