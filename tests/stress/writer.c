/* The writer thread: the steps of server/writer.c, with batches of every size, some of them
 * refused, and an outbox that is trimmed as far as the groups allow. */
#include "tests/stress/stress.h"

#include <stdatomic.h>

enum {
    BATCH_RECORDS = 4096, /* of one journal, at most */
    REFUSE_ONE_IN = 16,   /* batches, while clients play */
    KEEP_MS = 500,        /* events are dropped beyond these, */
    KEEP_BYTES = 1 << 18, /* when every group has acked them */
};

static bool has_work(void *context)
{
    (void)context;
    for (uint32_t i = 0; i < CORES; i++)
        if (tg_journal_waiting(&world.cores[i].journal) > 0)
            return true;
    return atomic_load(&world.writer_stop);
}

static void gather(struct sto_batch *batch, struct tg_rng *rng)
{
    batch->span_count = 0;
    for (uint32_t i = 0; i < CORES; i++)
        batch->span_count +=
            tg_journal_take(&world.cores[i].journal, 1 + (uint32_t)tg_rng_below(rng, BATCH_RECORDS),
                            &batch->spans[batch->span_count]);
}

/* Behind the gathering, as groups.h asks. */
static void retain(uint32_t round)
{
    struct sto_retention retention = {
        .sequence_max = eng_groups_offset_min(world.engine.groups),
        .before_ms = round_ms(round) - KEEP_MS,
        .bytes_max = KEEP_BYTES,
    };
    sto_retention_set(world.storage, &retention);
}

/* What storage/commit.c leaves of a batch that it refuses. */
static void refuse(const struct sto_batch *batch)
{
    for (uint32_t s = 0; s < batch->span_count; s++)
        for (uint32_t i = 0; i < batch->spans[s].count; i++) {
            batch->spans[s].records[i].outcome = TG_OUTCOME_REFUSED;
            batch->spans[s].records[i].order_id = 0;
        }
    world.refused_batches++;
}

static void commit(const struct sto_batch *batch, struct tg_rng *rng)
{
    struct tg_fault fault = {0};
    uint32_t round = atomic_load(&world.cores[0].round_seen);
    world.batches++;
    retain(round);
    if (round < world.rounds && tg_rng_below(rng, REFUSE_ONE_IN) == 0)
        refuse(batch);
    else
        promise(sto_commit(world.storage, batch, &fault) == STO_DURABLE, "%s", fault.text);
}

static void publish(void)
{
    atomic_store(&world.sequence, sto_commit_stats(world.storage)->sequence);
    for (uint32_t i = 0; i < CORES; i++)
        if (tg_journal_publish(&world.cores[i].journal))
            tg_waker_wake(&world.cores[i].waker);
}

void *stress_writer_run(void *argument)
{
    struct tg_rng rng;
    struct sto_batch batch;
    (void)argument;
    tg_rng_init(&rng, world.seed ^ 0x777269746572ull);
    for (;;) {
        bool stopping = atomic_load(&world.writer_stop);
        gather(&batch, &rng);
        if (batch.span_count > 0) {
            commit(&batch, &rng);
            publish();
        } else if (stopping) {
            return NULL;
        } else {
            stress_sleep(&world.writer_waker, has_work, NULL);
        }
    }
}
