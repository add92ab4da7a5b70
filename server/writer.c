#include "server/writer.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/server.h"

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

/* The batch is done: moves the watermarks, wakes whoever waits for them. */
static void publish(struct srv_writer *writer, const struct sto_batch *batch)
{
    struct srv_server *server = writer->server;
    writer->expected = waiting(server);
    for (uint32_t i = 0; i < batch->span_count; i++)
        writer->expected += batch->spans[i].count;
    for (uint64_t i = 0; i < server->config.threads; i++)
        if (tg_journal_publish(&server->cores[i].journal))
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
    /* Or the kernel stretches the steps of lingering to twice a commit. */
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        /* Read before looking for work, so that nothing appended before the stop is left behind. */
        bool stopping = atomic_load_explicit(&writer->stopping, memory_order_acquire);
        if (waiting(writer->server) > 0) {
            linger(writer);
            gather(writer->server, &batch);
            commit(writer, &batch);
            publish(writer, &batch);
        } else if (stopping) {
            return NULL;
        } else {
            sleep_until_work(writer);
        }
    }
}
