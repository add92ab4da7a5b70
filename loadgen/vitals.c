#include "loadgen/vitals.h"

#include "base/clock.h"
#include "base/thread.h"
#include "loadgen/live.h"
#include "loadgen/target.h"

#include <stdio.h>

#define ANSWER_MS 2000u /* patience with one answer */

/* --- answers --- */

static void read_counters(struct lg_counters *counters, const Tidegate__V1__GetStatsResponse *stats)
{
    counters->started_at_ms = stats->started_at_ms;
    counters->cpu_ns = stats->cpu_ns;
    counters->commits = stats->commits;
    counters->records = stats->commit_records;
    tgc_histogram_read(stats->commit_us, stats->n_commit_us, &counters->commit_us);
    tgc_histogram_read(stats->commit_batch, stats->n_commit_batch, &counters->commit_batch);
}

static void add_between(struct tg_histogram *into, const struct tg_histogram *before,
                        const struct tg_histogram *now, struct tg_histogram *scratch)
{
    tg_histogram_between(scratch, before, now);
    tg_histogram_merge(into, scratch);
}

static void add_progress(struct lg_vitals *v, int64_t at_ns)
{
    const struct lg_counters *before = &v->before, *now = &v->now;
    struct tg_histogram *scratch = v->samples.between;
    v->cpu_ns += now->cpu_ns - before->cpu_ns;
    v->commits += now->commits - before->commits;
    v->records += now->records - before->records;
    add_between(&v->commit_us, &before->commit_us, &now->commit_us, scratch);
    add_between(&v->commit_batch, &before->commit_batch, &now->commit_batch, scratch);
    v->tally.offered = v->commits;
    v->tally.responses = v->records;
    v->tally.latency = v->commit_us;
    lg_samples_add(&v->samples, &v->tally, at_ns);
}

void lg_vitals_take(struct lg_vitals *v, const Tidegate__V1__GetStatsResponse *stats, int64_t at_ns)
{
    read_counters(&v->now, stats);
    if (v->known && v->now.started_at_ms != v->before.started_at_ms) {
        v->restarts++;
        v->before = (struct lg_counters){0};
    }
    if (v->known)
        add_progress(v, at_ns);
    v->before = v->now;
    v->known = true;
    snprintf(v->version, sizeof(v->version), "%s", stats->version);
    v->threads = stats->threads;
    v->uptime_ms = stats->server_time_ms - stats->started_at_ms;
    v->resident_bytes = stats->resident_bytes;
    v->data_file_bytes = stats->data_file_bytes;
}

/* --- asking --- */

/* False when there is no use in asking again. */
static bool ask(struct lg_vitals *v, struct tgc_client *client)
{
    Tidegate__V1__GetStatsRequest body = TIDEGATE__V1__GET_STATS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_STATS;
    request.get_stats = &body;
    if (!tgc_is_connected(client) && tgc_reconnect(client, ANSWER_MS, &fault) != TG_ERR_OK)
        return true;
    enum tg_error error = tgc_call(client, &request, ANSWER_MS, &response, &fault);
    if (error)
        return error != TG_ERR_PROTOCOL || v->known;
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_STATS) {
        lg_vitals_take(v, response->get_stats, tg_clock_mono_ns() - v->start_ns);
        lg_live_post_commits(v->commits, v->records, &v->commit_us);
    }
    tgc_response_free(response);
    return true;
}

/* False when it is time to stop. */
static bool wait_until(struct lg_vitals *v, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / TG_NS_PER_S, .tv_nsec = until_ns % TG_NS_PER_S};
    pthread_mutex_lock(&v->mutex);
    while (!v->stopping && tg_clock_mono_ns() < until_ns)
        pthread_cond_timedwait(&v->changed, &v->mutex, &until);
    bool goes_on = !v->stopping;
    pthread_mutex_unlock(&v->mutex);
    return goes_on;
}

static bool wait_for_next(struct lg_vitals *v)
{
    return wait_until(v, v->start_ns +
                             lg_samples_next_ns(&v->samples, tg_clock_mono_ns() - v->start_ns));
}

static void *vitals_main(void *argument)
{
    struct lg_vitals *v = argument;
    struct tgc_options options = lg_target_options(v->server);
    options.connect_ms = ANSWER_MS;
    struct tgc_client *client = NULL;
    struct tg_fault fault;
    bool goes_on = wait_until(v, v->start_ns);
    while (goes_on) {
        if (!client && tgc_open(&options, &client, &fault) != TG_ERR_OK)
            client = NULL;
        if (client && !ask(v, client))
            break;
        goes_on = wait_for_next(v);
    }
    if (client && v->known)
        ask(v, client);
    tgc_close(client);
    return NULL;
}

void lg_vitals_start(struct lg_vitals *v, const char *server, int64_t start_ns, int64_t load_ns)
{
    pthread_condattr_t attributes;
    v->server = server;
    v->start_ns = start_ns;
    if (!lg_samples_init(&v->samples, load_ns))
        return;
    pthread_mutex_init(&v->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&v->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    v->running = tg_thread_start(&v->thread, vitals_main, v, "vitals", NULL) == TG_ERR_OK;
}

void lg_vitals_stop(struct lg_vitals *v)
{
    if (!v->running)
        return;
    pthread_mutex_lock(&v->mutex);
    v->stopping = true;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->mutex);
    pthread_join(v->thread, NULL);
    v->running = false;
}

void lg_vitals_fini(struct lg_vitals *v)
{
    lg_samples_fini(&v->samples);
}
