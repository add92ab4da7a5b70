#include "server/writer.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/events.h"
#include "server/server.h"

#include <inttypes.h>
#include <stdlib.h>
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

static void commit(struct srv_writer *writer, const struct sto_batch *batch)
{
    struct tg_fault fault = {0};
    uint64_t commits = sto_commit_stats(writer->server->storage)->commits;
    switch (sto_commit(writer->server->storage, batch, &fault)) {
    case STO_DURABLE:
        /* A batch of fences is durable without touching the disk, and tells nothing about it. */
        if (!writer->storage_full || sto_commit_stats(writer->server->storage)->commits == commits)
            return;
        tg_log_info("storage: room again, orders are accepted");
        writer->storage_full = false;
        return;
    case STO_REFUSED:
        if (!writer->storage_full)
            tg_log_error("storage is full, orders are refused: %s", fault.text);
        writer->storage_full = true;
        return;
    case STO_UNKNOWN:
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

/* The first event behind `offset` is there, and would have been dropped for its age. */
static bool is_held_back(struct srv_writer *writer, uint64_t offset, int64_t before_ms)
{
    struct tg_event event;
    uint32_t filled;
    uint64_t next, first, last;
    struct tg_fault fault;
    uint64_t oldest = sto_commit_stats(writer->server->storage)->event_first;
    if (offset + 1 < oldest)
        offset = oldest - 1;
    if (sto_read_events(writer->reader, offset, UINT64_MAX, 1, 1, &event, &filled, &next, &first,
                        &last, &fault) != TG_ERR_OK) {
        tg_log_error("reading the oldest event: %s", fault.text);
        return false;
    }
    return filled == 1 && event.at_ms < before_ms;
}

static void warn_of_slow_group(struct srv_writer *writer, int64_t now_ns, int64_t before_ms)
{
    struct tg_group slowest;
    if ((writer->warned_ns != 0 && now_ns < writer->warned_ns + WARN_EVERY_NS) ||
        !slowest_group(writer->server->engine.groups, &slowest) ||
        !is_held_back(writer, slowest.offset, before_ms))
        return;
    writer->warned_ns = now_ns;
    tg_log_warn("the consumer group '%.*s' holds the outbox back: %" PRIu64
                " events behind, and older ones than events.keep_s are kept for it. Let it ack, or "
                "delete it",
                slowest.name_bytes, slowest.name,
                sto_commit_stats(writer->server->storage)->sequence - slowest.offset);
}

/* Says what the next commit may drop, and now and then who holds it back. The groups are looked at
 * behind the gathering of every batch, so that no event goes that a group in this batch begins
 * with. */
static void retain(struct srv_writer *writer)
{
    const struct srv_config *config = &writer->server->config;
    int64_t now_ns = tg_clock_mono_ns();
    writer->retention.sequence_max = eng_groups_offset_min(writer->server->engine.groups);
    writer->retention.bytes_max = config->keep_mib * 1024 * 1024;
    bool is_due = now_ns >= writer->retained_ns + RETAIN_EVERY_NS;
    if (is_due)
        writer->retention.before_ms =
            (tg_clock_wall_ns() - (int64_t)config->keep_s * TG_NS_PER_S) / TG_NS_PER_MS;
    sto_retention_set(writer->server->storage, &writer->retention);
    if (!is_due)
        return;
    writer->retained_ns = now_ns;
    warn_of_slow_group(writer, now_ns, writer->retention.before_ms);
}

static void sleep_until_work(struct srv_writer *writer)
{
    tg_waker_doze(&writer->waker);
    if (waiting(writer->server) == 0 &&
        !atomic_load_explicit(&writer->stopping, memory_order_acquire))
        tg_waker_wait(&writer->waker, WRITER_SLEEP_MS);
    tg_waker_rise(&writer->waker);
}

void *srv_writer_run(void *argument)
{
    struct srv_writer *writer = argument;
    struct sto_batch batch;
    struct tg_fault fault;
    if (sto_reader_open(writer->server->storage, &writer->reader, &fault) != TG_ERR_OK) {
        tg_log_error("the writer cannot read: %s", fault.text);
        _exit(EXIT_FAILURE);
    }
    /* Or the kernel stretches the steps of lingering to twice a commit. */
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        /* Read before looking for work, so that nothing appended before the stop is left behind. */
        bool stopping = atomic_load_explicit(&writer->stopping, memory_order_acquire);
        if (waiting(writer->server) > 0) {
            linger(writer);
            gather(writer->server, &batch);
            retain(writer);
            commit(writer, &batch);
            publish(writer, &batch);
        } else if (stopping) {
            sto_reader_close(writer->reader);
            return NULL;
        } else {
            sleep_until_work(writer);
        }
    }
}
