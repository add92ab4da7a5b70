#include "server/writer.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/log.h"
#include "server/events.h"
#include "server/server.h"

#include <inttypes.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* How long the writer sleeps at most; it is woken, this is for a clock that nobody would miss. */
#define WRITER_SLEEP_MS 1000

/* Lingering ends this long after the last commit, and is for batches in which the two syncs cost
 * more than the records. */
#define LINGER_NS          (250 * 1000ll)
#define LINGER_STEP_NS     (20 * 1000ll)
#define LINGER_RECORDS_MAX 1024

/* Records beyond which the thread does it: then there is enough to overlap. */
#define HERE_RECORDS_MAX   4
/* After a commit that took longer, cores make none themselves for a while: whoever comes meanwhile
 * would wait for such a disk too. */
#define HERE_COMMIT_NS_MAX (2 * TG_NS_PER_MS)
#define HERE_PAUSE_NS      (10 * TG_NS_PER_S)

/* How often it looks what the outbox may drop, and how often it says that a group holds it back. */
#define RETAIN_EVERY_NS TG_NS_PER_S
#define WARN_EVERY_NS   (60 * TG_NS_PER_S)

/* Records that lie in the journals and are not taken yet. */
static uint64_t waiting(const struct srv_server *server)
{
    uint64_t records = 0;
    for (uint64_t i = 0; i < server->config.threads; i++)
        records += tg_journal_waiting(&server->cores[i].journal);
    return records;
}

static void linger(const struct srv_writer *writer)
{
    static const struct timespec step = {.tv_nsec = LINGER_STEP_NS};
    if (writer->expected > LINGER_RECORDS_MAX)
        return;
    while (waiting(writer->server) < writer->expected &&
           tg_clock_mono_ns() < writer->committed_ns + LINGER_NS)
        nanosleep(&step, NULL);
}

/* Takes what lies in the journals, each shard an equal part of the batch when there is too much. */
static void gather(struct srv_server *server, struct sto_batch *batch)
{
    uint32_t share = TG_COMMIT_RECORDS_MAX / (uint32_t)server->config.threads;
    batch->span_count = 0;
    for (uint64_t i = 0; i < server->config.threads; i++)
        batch->span_count +=
            tg_journal_take(&server->cores[i].journal, share, &batch->spans[batch->span_count]);
}

/* What readers of events may know: before the watermarks move, so that whoever has an answer finds
 * its event. */
static void publish_sequence(struct srv_server *server)
{
    const struct sto_commit_stats *stats = sto_commit_stats(server->storage);
    atomic_store_explicit(&server->event_first, stats->event_first, memory_order_release);
    /* pairs with the loads in server/events.c; sequentially consistent because `wanted` is looked
     * at after it: see server/events.h */
    atomic_store_explicit(&server->sequence, stats->sequence, memory_order_seq_cst);
}

void srv_writer_publish_start(struct srv_server *server)
{
    publish_sequence(server);
    server->start_sequence = sto_commit_stats(server->storage)->sequence;
}

/* The batch is done: moves the watermarks, wakes whoever waits for them. */
static void publish(struct srv_writer *writer, const struct sto_batch *batch)
{
    struct srv_server *server = writer->server;
    writer->expected = waiting(server);
    for (uint32_t i = 0; i < batch->span_count; i++)
        writer->expected += batch->spans[i].count;
    uint64_t before = atomic_load_explicit(&server->sequence, memory_order_relaxed);
    publish_sequence(server);
    bool has_events = sto_commit_stats(server->storage)->sequence != before;
    for (uint64_t i = 0; i < server->config.threads; i++)
        if (tg_journal_publish(&server->cores[i].journal) ||
            (has_events && srv_events_wanted(&server->cores[i])))
            tg_waker_wake(&server->cores[i].waker);
    writer->committed_ns = tg_clock_mono_ns();
}

static void count_commit(struct srv_commit_stats *stats, const struct sto_batch *batch,
                         uint64_t commit_ns)
{
    uint64_t records = 0;
    for (uint32_t i = 0; i < batch->span_count; i++)
        records += batch->spans[i].count;
    tg_count(&stats->commits, 1);
    tg_count(&stats->records, records);
    tg_count(&stats->commit_us_sum, commit_ns / 1000);
    tg_histogram_record(&stats->commit_us, commit_ns / 1000, 1);
    tg_histogram_record(&stats->batch, records, 1);
}

static void commit(struct srv_writer *writer, const struct sto_batch *batch)
{
    struct tg_fault fault = {0};
    const struct sto_commit_stats *storage = sto_commit_stats(writer->server->storage);
    uint64_t commits = storage->commits;
    switch (sto_commit(writer->server->storage, batch, &fault)) {
    case STO_DURABLE:
        /* A batch of fences is durable without touching the disk, and tells nothing about it. */
        if (storage->commits == commits)
            return;
        count_commit(&writer->stats, batch, storage->commit_ns_last);
        if (!writer->storage_full)
            return;
        tg_log_info("storage: room again, orders are accepted");
        writer->storage_full = false;
        return;
    case STO_REFUSED:
        tg_count(&writer->stats.refused, 1);
        if (!writer->storage_full)
            tg_log_error("storage is full, orders are refused: %s", fault.text);
        writer->storage_full = true;
        return;
    case STO_UNKNOWN:
        if (fault.error == TG_ERR_NOMEM) {
            tg_log_error("out of memory for a commit: %s. No answer of it leaves; stopping. Give "
                         "the process more memory and start again: recovery tells what is durable.",
                         fault.text);
            _exit(SRV_EXIT_MEMORY);
        }
        tg_log_error("the outcome of a commit is unknown: %s. No answer leaves; stopping. Check "
                     "the disk and start again: recovery tells what is durable.",
                     fault.text);
        _exit(SRV_EXIT_STORAGE_UNKNOWN);
    }
}

/* --- what the outbox may drop --- */

/* The group that is furthest behind; false when there is none. */
static bool slowest_group(const struct eng_groups *groups, struct tg_group *slowest)
{
    bool found = false;
    for (int place = 0; place < TG_GROUPS_MAX; place++) {
        struct tg_group group;
        if (!eng_groups_get(groups, place, &group) || (found && group.offset >= slowest->offset))
            continue;
        *slowest = group;
        found = true;
    }
    return found;
}

static void warn_of_slow_group(struct srv_writer *writer, int64_t now_ns)
{
    static const char *const kept[] = {[STO_HELD_OLD] = "older ones than events.keep_s",
                                       [STO_HELD_LARGE] = "more than events.keep_mib"};
    const struct sto_commit_stats *stats = sto_commit_stats(writer->server->storage);
    struct tg_group slowest;
    if ((writer->warned_ns != 0 && now_ns < writer->warned_ns + WARN_EVERY_NS) ||
        stats->events_held == STO_HELD_NONE ||
        !slowest_group(writer->server->engine.groups, &slowest))
        return;
    writer->warned_ns = now_ns;
    tg_log_warn("the consumer group '%.*s' holds the outbox back: %" PRIu64
                " events behind, and %s are kept for it. Let it ack, or delete it",
                slowest.name_bytes, slowest.name, stats->sequence - slowest.offset,
                kept[stats->events_held]);
}

/* Says what the next commit may drop, and now and then who holds it back. The groups are looked at
 * behind the gathering of every batch, so that no event goes that a group in this batch begins
 * with. */
static void retain(struct srv_writer *writer)
{
    const struct srv_config *config = &writer->server->config;
    int64_t now_ns = tg_clock_mono_ns();
    writer->retention.sequence_max = eng_groups_offset_min(writer->server->engine.groups);
    writer->retention.bytes_max = tg_count_read(&config->keep_mib) * 1024 * 1024;
    bool is_due = now_ns >= writer->retained_ns + RETAIN_EVERY_NS;
    if (is_due)
        writer->retention.before_ms =
            (tg_clock_wall_ns() - (int64_t)tg_count_read(&config->keep_s) * TG_NS_PER_S) /
            TG_NS_PER_MS;
    sto_retention_set(writer->server->storage, &writer->retention);
    if (!is_due)
        return;
    writer->retained_ns = now_ns;
    warn_of_slow_group(writer, now_ns);
}

/* Gathers, commits, publishes; `step` is held. */
static void step(struct srv_writer *writer)
{
    struct sto_batch batch;
    gather(writer->server, &batch);
    retain(writer);
    commit(writer, &batch);
    publish(writer, &batch);
}

/* Acquire and release: whoever holds the step sees all that the last one has written. Sequentially
 * consistent for has_work. */
static bool take_step(struct srv_writer *writer)
{
    bool is_held = false;
    return atomic_compare_exchange_strong_explicit(&writer->step, &is_held, true,
                                                   memory_order_seq_cst, memory_order_relaxed);
}

static void let_step_go(struct srv_writer *writer)
{
    atomic_store_explicit(&writer->step, false, memory_order_seq_cst);
}

/* The disk has been quick of late; `step` is held. */
static bool disk_is_quick(struct srv_writer *writer)
{
    uint64_t last_ns = sto_commit_stats(writer->server->storage)->commit_ns_last;
    if (last_ns <= HERE_COMMIT_NS_MAX)
        return tg_clock_mono_ns() >= writer->here_again_ns;
    writer->here_again_ns = tg_clock_mono_ns() + HERE_PAUSE_NS;
    return false;
}

bool srv_writer_step_here(struct srv_writer *writer)
{
    if (waiting(writer->server) > HERE_RECORDS_MAX || !take_step(writer))
        return false;
    bool is_done = disk_is_quick(writer);
    if (is_done)
        step(writer);
    let_step_go(writer);
    /* Of other cores, whose wake-ups the thread may have slept through while the step was held. */
    if (waiting(writer->server) > 0)
        tg_waker_wake(&writer->waker);
    return is_done;
}

/* Records that are there and nobody takes. When the step is held, its holder looks for more behind
 * letting go, and wakes the thread: `asleep` was set before this load of `step`, and is looked at
 * after that store. */
static bool has_work(const struct srv_writer *writer)
{
    return waiting(writer->server) > 0 &&
           !atomic_load_explicit(&writer->step, memory_order_seq_cst);
}

static void sleep_until_work(struct srv_writer *writer)
{
    tg_waker_doze(&writer->waker);
    if (!has_work(writer) && !atomic_load_explicit(&writer->stopping, memory_order_acquire))
        tg_waker_wait(&writer->waker, WRITER_SLEEP_MS);
    tg_waker_rise(&writer->waker);
}

void *srv_writer_run(void *argument)
{
    struct srv_writer *writer = argument;
    sem_post(&writer->server->threads_ready);
    /* Or the kernel stretches the steps of lingering to twice a commit. */
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        /* Read before looking for work, so that nothing appended before the stop is left behind. */
        bool stopping = atomic_load_explicit(&writer->stopping, memory_order_acquire);
        tg_count(&writer->turns, 1);
        if (has_work(writer) && take_step(writer)) {
            linger(writer);
            step(writer);
            let_step_go(writer);
        } else if (stopping) {
            return NULL;
        } else {
            sleep_until_work(writer);
        }
    }
}
