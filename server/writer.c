#include "server/writer.h"

#include "base/log.h"
#include "server/server.h"

#include <unistd.h>

/* How long the writer sleeps at most; it is woken, this is for a clock that nobody would miss. */
#define WRITER_SLEEP_MS 1000

static bool has_work(const struct srv_server *server)
{
    for (uint64_t i = 0; i < server->config.threads; i++)
        if (tg_journal_has_work(&server->cores[i].journal))
            return true;
    return false;
}

/* Takes what lies in the journals, each shard an equal part of the batch when there is too much. */
static uint32_t gather(struct srv_server *server, struct sto_batch *batch)
{
    uint32_t share = TG_COMMIT_RECORDS_MAX / (uint32_t)server->config.threads;
    batch->span_count = 0;
    for (uint64_t i = 0; i < server->config.threads; i++)
        batch->span_count += tg_journal_take(&server->cores[i].journal, share,
                                             &batch->spans[batch->span_count]);
    return batch->span_count;
}

static void publish(struct srv_server *server)
{
    for (uint64_t i = 0; i < server->config.threads; i++)
        if (tg_journal_publish(&server->cores[i].journal))
            tg_waker_wake(&server->cores[i].waker);
}

static void commit(struct srv_writer *writer, const struct sto_batch *batch)
{
    struct tg_fault fault = {0};
    switch (sto_commit(writer->server->storage, batch, &fault)) {
    case STO_DURABLE:
        if (writer->storage_full)
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
    if (!has_work(writer->server) &&
        !atomic_load_explicit(&writer->stopping, memory_order_acquire))
        tg_waker_wait(&writer->waker, WRITER_SLEEP_MS);
    tg_waker_rise(&writer->waker);
}

void *srv_writer_run(void *argument)
{
    struct srv_writer *writer = argument;
    struct sto_batch batch;
    for (;;) {
        /* Read before looking for work, so that nothing appended before the stop is left behind. */
        bool stopping = atomic_load_explicit(&writer->stopping, memory_order_acquire);
        if (gather(writer->server, &batch) > 0) {
            commit(writer, &batch);
            publish(writer->server);
        } else if (stopping) {
            return NULL;
        } else {
            sleep_until_work(writer);
        }
    }
}
