/* A hostile server against a flood of tidegate-load: what a worker reads of the answers to its
 * orders. The world around it is that of tests/unit/test_answers.c, included whole. (Its stories,
 * and all other clients, read answers through client/client.c: the target ctl.)
 *
 * input: | u8: 1: batches of three | what the server says, in pieces of `piece` bytes, u8 |
 *
 * What must hold: it comes back, with words when it cannot go on; every order is answered, waits to
 * be sent again, or is in flight, and every slot is free or in flight.
 */
#include "tests/unit/test_answers.c"

#include "tests/fuzz/fuzz.h"

static void end(void)
{
    free(worker.waiting);
    free(worker.retries);
    free(worker.retry_pool);
    lg_accepted_fini(&worker.accepted);
    lg_conn_fini(&conn, &shared.shape);
    lg_plan_fini(&plan);
    memset(&worker, 0, sizeof(worker));
    memset(&shared, 0, sizeof(shared));
}

static void check(uint64_t orders)
{
    uint32_t in_slots = 0, slots = 0;
    for (uint32_t i = 0; i < FRAMES; i++) {
        in_slots += conn.slot_orders[i];
        slots += conn.slot_orders[i] != 0;
    }
    FUZZ_MUST(slots + conn.free_count == FRAMES);
    FUZZ_MUST(worker.stats.answers + worker.in_flight == orders);
    FUZZ_MUST(worker.stats.busy == worker.waiting_count);
    /* A batch whose answer broke off half way stays in its slot: the run is over. */
    FUZZ_MUST(worker.fault.error != TG_ERR_OK || worker.in_flight == in_slots);
    FUZZ_MUST(worker.fault.error == TG_ERR_OK || worker.fault.text[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    if (size > FUZZ_BYTES_MAX)
        return 0;
    uint32_t batch = fuzz_u8(&bytes) & 1 ? 3 : 1;
    size_t piece = 1 + fuzz_u8(&bytes);
    bool goes_on = true;
    if (batch == 1)
        single();
    else
        batches();
    worker.phase = LG_PHASE_MEASURE;
    for (uint32_t i = 0; i < FRAMES; i++)
        put(batch, 1 + i * batch, 0);
    while (goes_on && bytes.left > 0) {
        size_t count = piece < bytes.left ? piece : bytes.left;
        fuzz_take(&bytes, conn.in + conn.in_bytes, count);
        conn.in_bytes += (uint32_t)count;
        goes_on = lg_answers_read(&worker, &conn);
        FUZZ_MUST(goes_on == (worker.fault.error == TG_ERR_OK) || worker.stats.errors > 0);
    }
    check((uint64_t)FRAMES * batch);
    end();
    return 0;
}
