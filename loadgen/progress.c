#include "loadgen/progress.h"

#include "base/clock.h"

#include <stdio.h>

void lg_progress_init(struct lg_progress *progress, int64_t start_ns, const char *name)
{
    *progress = (struct lg_progress){.name = name, .start_ns = start_ns, .last_ns = start_ns};
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void lg_progress_tick(struct lg_progress *p, const struct lg_worker *workers, uint32_t count)
{
    int64_t now_ns = tg_clock_mono_ns();
    if (now_ns - p->last_ns < TG_NS_PER_S)
        return;
    uint64_t offered = 0, answers = 0, accepted = 0, refused = 0, in_flight = 0, backlog = 0;
    uint64_t reconnects = 0;
    tg_histogram_reset(&p->now);
    for (uint32_t i = 0; i < count; i++) {
        const struct lg_published *w = &workers[i].published;
        offered += load(&w->offered);
        answers += load(&w->answers);
        accepted += load(&w->accepted);
        refused += load(&w->refused);
        in_flight += load(&w->in_flight);
        backlog += load(&w->backlog);
        reconnects += load(&w->reconnects);
        tg_histogram_merge(&p->now, &workers[i].latency);
        tg_histogram_merge(&p->now, &workers[i].latency_aside);
    }
    tg_histogram_between(&p->between, &p->before, &p->now);
    double seconds = (double)(now_ns - p->last_ns) / 1e9;
    /* Parts write at the same time: a line is one piece. */
    flockfile(stderr);
    if (p->name)
        fprintf(stderr, "%-12s ", p->name);
    fprintf(stderr,
            "%6.1f s  %10.0f answers/s  %10.0f accepted/s  %10.0f refused/s  p99 %8.3f ms  "
            "in flight %llu",
            (double)(now_ns - p->start_ns) / 1e9, (double)(answers - p->answers) / seconds,
            (double)(accepted - p->accepted) / seconds, (double)(refused - p->refused) / seconds,
            (double)tg_histogram_percentile(&p->between, 0.99) / 1e6,
            (unsigned long long)in_flight);
    if (backlog)
        fprintf(stderr, "  backlog %llu", (unsigned long long)backlog);
    if (reconnects)
        fprintf(stderr, "  reconnects %llu", (unsigned long long)reconnects);
    fputc('\n', stderr);
    funlockfile(stderr);
    p->before = p->now;
    p->last_ns = now_ns;
    p->offered = offered;
    p->answers = answers;
    p->accepted = accepted;
    p->refused = refused;
}
