#include "server/recent.h"

#include "base/clock.h"
#include "base/count.h"

#include <string.h>

#define POINTS (SRV_RATE_TICKS + 1)

static void copy_histogram(struct tg_histogram *into, const struct tg_histogram *from)
{
    tg_histogram_reset(into);
    tg_histogram_merge(into, from);
}

void srv_recent_init(struct srv_recent *recent, const struct srv_server *server)
{
    recent->server = server;
    recent->window.began_ns = tg_clock_mono_ns();
}

static struct srv_percentiles percentiles_of(struct srv_recent *recent,
                                             const struct tg_histogram *earlier,
                                             const struct tg_histogram *later)
{
    tg_histogram_between(&recent->scratch, earlier, later);
    return (struct srv_percentiles){
        .p50 = tg_histogram_percentile(&recent->scratch, 0.5),
        .p99 = tg_histogram_percentile(&recent->scratch, 0.99),
        .max = recent->scratch.max,
    };
}

static void look_at_commits(struct srv_recent *recent, int64_t now_ns)
{
    const struct srv_commit_stats *stats = &recent->server->writer.stats;
    recent->window.commits =
        percentiles_of(recent, &recent->window.commit_us[1], &stats->commit_us);
    recent->window.batches = percentiles_of(recent, &recent->window.batch[1], &stats->batch);
    if (now_ns < recent->window.began_ns + SRV_WINDOW_NS)
        return;
    recent->window.began_ns = now_ns;
    recent->window.commit_us[1] = recent->window.commit_us[0];
    recent->window.batch[1] = recent->window.batch[0];
    copy_histogram(&recent->window.commit_us[0], &stats->commit_us);
    copy_histogram(&recent->window.batch[0], &stats->batch);
}

/* A mark is set at the tail of a journal and stays until the watermark has passed it. */
static void look_at_journals(struct srv_recent *recent, int64_t now_ns)
{
    const struct srv_server *server = recent->server;
    for (uint64_t i = 0; i < server->config.threads; i++) {
        const struct tg_journal *journal = &server->cores[i].journal;
        /* Acquire: what is durable was appended before, so the tail that is read next is not
         * older. */
        uint64_t durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);
        bool passed = durable >= recent->marks[i].tail;
        if (passed) {
            recent->marks[i].tail = tail;
            recent->marks[i].at_ns = now_ns;
        }
        recent->marks[i].lag_ns = passed ? 0 : now_ns - recent->marks[i].at_ns;
    }
}

static void count_verdicts(struct srv_recent *recent, int64_t now_ns)
{
    const struct srv_server *server = recent->server;
    struct srv_point *point = &recent->points[recent->ticks % POINTS];
    *point = (struct srv_point){.at_ns = now_ns};
    for (uint64_t i = 0; i < server->config.threads; i++)
        for (uint32_t verdict = 0; verdict < TG_VERDICT_COUNT; verdict++)
            point->verdicts[verdict] += tg_count_read(&server->cores[i].stats.verdicts[verdict]);
}

void srv_recent_tick(struct srv_recent *recent, int64_t now_ns)
{
    count_verdicts(recent, now_ns);
    look_at_commits(recent, now_ns);
    look_at_journals(recent, now_ns);
    recent->ticks++;
}

uint64_t srv_recent_total(const struct srv_recent *recent, uint32_t verdict)
{
    return recent->ticks > 0 ? recent->points[(recent->ticks - 1) % POINTS].verdicts[verdict] : 0;
}

uint64_t srv_recent_rate(const struct srv_recent *recent, uint32_t verdict)
{
    if (recent->ticks < 2)
        return 0;
    uint64_t back = recent->ticks - 1 < SRV_RATE_TICKS ? recent->ticks - 1 : SRV_RATE_TICKS;
    const struct srv_point *now = &recent->points[(recent->ticks - 1) % POINTS];
    const struct srv_point *then = &recent->points[(recent->ticks - 1 - back) % POINTS];
    int64_t ns = now->at_ns - then->at_ns;
    double grown = (double)(now->verdicts[verdict] - then->verdicts[verdict]);
    return ns > 0 ? (uint64_t)(grown * 1e9 / (double)ns + 0.5) : 0;
}

int64_t srv_recent_lag_ns(const struct srv_recent *recent)
{
    int64_t lag_ns = 0;
    for (uint64_t i = 0; i < recent->server->config.threads; i++)
        if (recent->marks[i].lag_ns > lag_ns)
            lag_ns = recent->marks[i].lag_ns;
    return lag_ns;
}
