/* What a worker makes of each answer. The frames are the codec's; no socket is involved. */
#include "loadgen/worker.h"
#include "proto/codec.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    FRAMES = 8,
    PRICE = 9900,
    NOW = 1000000
};

static struct lg_shared shared;
static struct lg_worker worker;
static struct lg_conn conn;
static struct lg_plan plan;

static void set_up(uint32_t batch)
{
    struct lg_plan_settings settings = {.seed = 1,
                                        .sale_id = 7,
                                        .users = 10,
                                        .greedy_users = 1,
                                        .item_count = 1,
                                        .quantity_min = 1,
                                        .quantity_max = 1};
    cr_assert(lg_plan_init(&plan, &settings, lg_plan_items(1, 100, 1)));
    shared.plan = &plan;
    shared.server = "test";
    shared.shape = (struct lg_conn_shape){
        .frames = FRAMES, .batch = batch, .in_room = 65536, .out_room = 65536};
    worker.shared = &shared;
    worker.now_ns = NOW;
    worker.phase = LG_PHASE_MEASURE;
    worker.drain_ns = INT64_MAX;
    worker.waiting_room = worker.retry_room = 64;
    worker.waiting = calloc(64, sizeof(*worker.waiting));
    worker.retries = calloc(64, sizeof(*worker.retries));
    worker.retry_pool = calloc(LG_RETRY_POOL, sizeof(*worker.retry_pool));
    cr_assert(lg_conn_init(&conn, 0, &shared.shape));
}

static void single(void)
{
    set_up(1);
}

static void batches(void)
{
    set_up(3);
}

/* Takes the next slot for `orders` entries, as worker.c does; returns the correlation id. */
static uint64_t put(uint32_t orders, uint64_t tag, uint64_t expect)
{
    uint32_t slot = conn.free_slots[--conn.free_count];
    for (uint32_t i = 0; i < orders; i++)
        conn.entries[slot * shared.shape.batch + i] = (struct lg_entry){tag + i, expect, NOW / 2};
    conn.slot_orders[slot] = orders;
    worker.in_flight += orders;
    return slot + 1;
}

static struct tg_answer accepted(uint64_t order_id, uint8_t replayed)
{
    return (struct tg_answer){.verdict = TG_ACCEPTED,
                              .order_id = order_id,
                              .replayed = replayed,
                              .unit_price_minor = PRICE,
                              .accepted_at_ms = 1};
}

static bool answer(uint64_t correlation_id, struct tg_answer a)
{
    conn.in_bytes += (uint32_t)tg_answer_frame(conn.in + conn.in_bytes, correlation_id, &a);
    return lg_answers_read(&worker, &conn);
}

static void batch_frame(uint64_t correlation_id, const struct tg_answer *answers, uint32_t count)
{
    uint8_t elements[1024];
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += tg_answers_element(elements + bytes, &answers[i]);
    conn.in_bytes = (uint32_t)tg_answers_head(conn.in, correlation_id, bytes);
    memcpy(conn.in + conn.in_bytes, elements, bytes);
    conn.in_bytes += (uint32_t)bytes;
}

Test(answers, an_accepted_order_is_remembered_and_its_slot_freed, .init = single)
{
    uint64_t id = put(1, 42, 0), run;
    cr_assert(answer(id, accepted(1024, 0)));
    cr_assert_eq(worker.stats.verdicts[TG_ACCEPTED], 1);
    cr_assert_eq(worker.stats.wrong_answers, 0);
    cr_assert_eq(worker.in_flight, 0);
    cr_assert_eq(conn.free_count, FRAMES);
    const struct lg_accept *kept = lg_accepted_run(&worker.accepted, 0, 1, &run);
    cr_assert(kept->number == 42 && kept->order_id == 1024);
    lg_answers_flush(&worker);
    cr_assert_eq(worker.latency.count, 1);
    cr_assert_eq(worker.latency.max, NOW / 2);
    cr_assert_eq(worker.latency_accepted_ns.count, 1);
}

Test(answers, a_refusal_is_an_answer_and_no_accepted_one, .init = single)
{
    cr_assert(answer(put(1, 1, 0), (struct tg_answer){.verdict = TG_SOLD_OUT}));
    cr_assert(answer(put(1, 2, 0), (struct tg_answer){.verdict = TG_STORAGE_FULL}));
    cr_assert_eq(worker.stats.verdicts[TG_SOLD_OUT], 1);
    cr_assert_eq(worker.stats.verdicts[TG_STORAGE_FULL], 1);
    cr_assert_eq(lg_accepted_count(&worker.accepted), 0);
    lg_answers_flush(&worker);
    cr_assert_eq(worker.latency.count, 2);
    cr_assert_eq(worker.latency_accepted_ns.count, 0);
    cr_assert_eq(worker.fault.error, TG_ERR_OK);
}

Test(answers, busy_waits_for_its_hint_and_keeps_its_first_time, .init = single)
{
    cr_assert(answer(put(1, 9, 0), (struct tg_answer){.verdict = TG_BUSY, .retry_after_ms = 5}));
    cr_assert_eq(worker.stats.busy, 1);
    cr_assert_eq(worker.waiting_count, 1);
    cr_assert_eq(worker.in_flight, 0);
    cr_assert_eq(worker.waiting[0].due_ns, NOW + 5000000);
    cr_assert_eq(worker.waiting[0].entry.tag, 9 | LG_ENTRY_RESENT);
    cr_assert_eq(worker.waiting[0].entry.intended_ns, NOW / 2);
    lg_answers_flush(&worker);
    cr_assert_eq(worker.latency.count, 0);
}

Test(answers, a_retry_must_get_the_first_answer_back, .init = single)
{
    cr_assert(answer(put(1, 1 | LG_ENTRY_RETRY, 1024), accepted(1024, 1)));
    cr_assert_eq(worker.stats.retries_checked, 1);
    cr_assert_eq(worker.stats.retries_wrong, 0);
    cr_assert(answer(put(1, 1 | LG_ENTRY_RETRY, 1024), accepted(2048, 1))); /* another order */
    cr_assert_eq(worker.stats.retries_wrong, 1);
    cr_assert(answer(put(1, 1 | LG_ENTRY_RETRY, 1024), accepted(1024, 0))); /* not replayed */
    cr_assert_eq(worker.stats.retries_wrong, 2);
    cr_assert(answer(put(1, 1 | LG_ENTRY_RETRY, 1024), (struct tg_answer){.verdict = TG_SOLD_OUT}));
    cr_assert_eq(worker.stats.retries_wrong, 3);
    cr_assert_eq(worker.stats.verdicts[TG_ACCEPTED], 0);
    cr_assert_eq(lg_accepted_count(&worker.accepted), 0);
    cr_assert_neq(worker.complaint[0], '\0');
}

Test(answers, a_refused_order_may_become_one_on_retry_but_not_have_been_one, .init = single)
{
    cr_assert(answer(put(1, 1 | LG_ENTRY_RETRY, 0), (struct tg_answer){.verdict = TG_SOLD_OUT}));
    cr_assert(answer(put(1, 2 | LG_ENTRY_RETRY, 0), accepted(1024, 0)));
    cr_assert_eq(worker.stats.retries_wrong, 0);
    cr_assert_eq(worker.stats.accepted_on_retry, 1);
    cr_assert_eq(lg_accepted_count(&worker.accepted), 1);
    cr_assert(answer(put(1, 3 | LG_ENTRY_RETRY, 0), accepted(2048, 1)));
    cr_assert_eq(worker.stats.retries_wrong, 1);
    cr_assert(answer(put(1, 4 | LG_ENTRY_RETRY, 0),
                     (struct tg_answer){.verdict = TG_REQUEST_ID_CONFLICT}));
    cr_assert_eq(worker.stats.retries_wrong, 2);
}

Test(answers, only_what_was_sent_before_can_be_replayed, .init = single)
{
    cr_assert(answer(put(1, 1 | LG_ENTRY_RESENT, 0), accepted(1024, 1)));
    cr_assert(answer(put(1, 2 | LG_ENTRY_RESENT, 0), accepted(2048, 0)));
    cr_assert_eq(worker.stats.wrong_answers, 0);
    cr_assert(answer(put(1, 3, 0), accepted(3072, 1)));
    cr_assert_eq(worker.stats.wrong_answers, 1);
}

Test(answers, another_price_or_no_id_is_a_wrong_answer, .init = single)
{
    struct tg_answer a = accepted(1024, 0);
    a.unit_price_minor++;
    cr_assert(answer(put(1, 1, 0), a));
    cr_assert_eq(worker.stats.wrong_answers, 1);
    cr_assert(answer(put(1, 2, 0), accepted(0, 0)));
    cr_assert_eq(worker.stats.wrong_answers, 2);
}

Test(answers, a_verdict_that_no_such_order_can_have_fails_the_run, .init = single)
{
    static const uint8_t verdicts[] = {TG_INVALID_ARGUMENT, TG_UNKNOWN_SALE,        TG_UNKNOWN_ITEM,
                                       TG_PRICE_CHANGED,    TG_REQUEST_ID_CONFLICT, TG_OK};
    for (size_t i = 0; i < sizeof(verdicts); i++) {
        worker.fault.error = TG_ERR_OK;
        shared.failed = shared.stop = false;
        answer(put(1, i, 0), (struct tg_answer){.verdict = verdicts[i], .field = TG_FIELD_SKU});
        cr_assert_eq(worker.stats.errors, i + 1);
        cr_assert_eq(worker.fault.error, TG_ERR_PROTOCOL);
        cr_assert(shared.failed && shared.stop);
    }
}

Test(answers, an_answer_to_nothing_fails_the_run, .init = single)
{
    static const uint64_t ids[] = {0, 1, FRAMES, FRAMES + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        conn.in_bytes = 0;
        worker.fault.error = TG_ERR_OK;
        cr_assert_not(answer(ids[i], accepted(1024, 0)), "id %llu", (unsigned long long)ids[i]);
        cr_assert_eq(worker.fault.error, TG_ERR_PROTOCOL);
    }
    cr_assert_eq(lg_accepted_count(&worker.accepted), 0);
}

Test(answers, frames_may_come_in_any_pieces, .init = single)
{
    uint8_t stream[512];
    size_t bytes = 0;
    for (uint64_t i = 0; i < 4; i++) {
        struct tg_answer a = accepted((i + 1) << 10, 0);
        bytes += tg_answer_frame(stream + bytes, put(1, i, 0), &a);
    }
    for (size_t i = 0; i < bytes; i++) {
        conn.in[conn.in_bytes++] = stream[i];
        cr_assert(lg_answers_read(&worker, &conn));
    }
    cr_assert_eq(conn.in_bytes, 0);
    cr_assert_eq(worker.stats.verdicts[TG_ACCEPTED], 4);
    cr_assert_eq(worker.stats.wrong_answers, 0);
}

Test(answers, a_batch_is_answered_in_its_order, .init = batches)
{
    struct tg_answer answers[] = {accepted(1024, 0),
                                  {.verdict = TG_LIMIT_REACHED},
                                  {.verdict = TG_BUSY, .retry_after_ms = 1}};
    uint64_t run;
    batch_frame(put(3, 50, 0), answers, 3);
    cr_assert(lg_answers_read(&worker, &conn));
    cr_assert_eq(lg_accepted_run(&worker.accepted, 0, 1, &run)->number, 50);
    cr_assert_eq(worker.stats.verdicts[TG_LIMIT_REACHED], 1);
    cr_assert_eq(worker.waiting[0].entry.tag & LG_ENTRY_NUMBER, 52);
    cr_assert_eq(worker.in_flight, 0);
    cr_assert_eq(conn.free_count, FRAMES);
}

Test(answers, a_batch_that_is_busy_as_a_whole_waits_as_a_whole, .init = batches)
{
    uint8_t body[] = {0x08, TG_BUSY, 0x28, 9};
    uint64_t id = put(3, 50, 0);
    uint8_t frame[] = {8,       0x08,    (uint8_t)id, 0x1a,   sizeof(body),
                       body[0], body[1], body[2],     body[3]};
    memcpy(conn.in, frame, sizeof(frame));
    conn.in_bytes = sizeof(frame);
    cr_assert(lg_answers_read(&worker, &conn), "%s", worker.fault.text);
    cr_assert_eq(worker.waiting_count, 3);
    cr_assert_eq(worker.waiting[2].due_ns, NOW + 9000000);
    cr_assert_eq(conn.free_count, FRAMES);
}

Test(answers, a_batch_with_too_few_or_too_many_results_fails_the_run, .init = batches)
{
    struct tg_answer answers[4] = {accepted(1, 0), accepted(2, 0), accepted(3, 0), accepted(4, 0)};
    for (uint32_t count = 2; count <= 4; count += 2) {
        worker.fault.error = TG_ERR_OK;
        batch_frame(put(3, 50, 0), answers, count);
        cr_assert_not(lg_answers_read(&worker, &conn));
        cr_assert_eq(worker.fault.error, TG_ERR_PROTOCOL);
    }
}
