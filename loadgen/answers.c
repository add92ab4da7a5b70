/* What a worker does with answers: free the slot, count, remember, compare, queue again. */
#include "base/assert.h"
#include "base/count.h"
#include "loadgen/worker.h"
#include "proto/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void lg_worker_fail(struct lg_worker *worker, enum tg_error error, const char *format, ...)
{
    if (!worker->fault.error) {
        va_list args;
        va_start(args, format);
        worker->fault.error = error;
        vsnprintf(worker->fault.text, sizeof(worker->fault.text), format, args);
        va_end(args);
    }
    atomic_store_explicit(&worker->shared->failed, true, memory_order_relaxed);
    atomic_store_explicit(&worker->shared->stop, true, memory_order_relaxed);
}

/* Answers of one receive share their latency when their frames shared a send, as they mostly do:
 * counting them in runs saves the histogram's cache misses. */
void lg_answers_flush(struct lg_worker *worker)
{
    if (!worker->latency_run)
        return;
    tg_histogram_record(worker->latency_measured ? &worker->latency : &worker->latency_aside,
                        worker->latency_last_ns, worker->latency_run);
    if (worker->latency_accepted && worker->latency_measured)
        tg_histogram_record(&worker->latency_accepted_ns, worker->latency_last_ns,
                            worker->latency_run);
    worker->latency_run = 0;
}

static inline void record_latency(struct lg_worker *worker, int64_t intended_ns, bool accepted)
{
    bool measured = worker->phase >= LG_PHASE_MEASURE && intended_ns < worker->drain_ns;
    int64_t took_ns = worker->now_ns - intended_ns;
    uint64_t latency_ns = took_ns > 0 ? (uint64_t)took_ns : 0;
    if (latency_ns != worker->latency_last_ns || accepted != worker->latency_accepted ||
        measured != worker->latency_measured) {
        lg_answers_flush(worker);
        worker->latency_measured = measured;
        worker->latency_last_ns = latency_ns;
        worker->latency_accepted = accepted;
    }
    worker->latency_run++;
}

static void complain(struct lg_worker *worker, const char *what, const struct lg_entry *entry,
                     const struct tg_answer *answer)
{
    if (worker->complaint[0])
        return;
    snprintf(worker->complaint, sizeof(worker->complaint),
             "%s: attempt %" PRIu64 " got %s, order %" PRIu64 "%s (first answer: order %" PRIu64
             ")",
             what, (uint64_t)(entry->tag & LG_ENTRY_NUMBER), tg_verdict_name(answer->verdict),
             answer->order_id, answer->replayed ? ", replayed" : "", entry->expect);
}

static void remember(struct lg_worker *worker, uint64_t number, uint64_t order_id)
{
    if (!worker->shared->count_only && !lg_accepted_add(&worker->accepted, number, order_id))
        lg_worker_fail(worker, TG_ERR_NOMEM, "no memory to remember another accepted answer");
    if (!worker->accept_first_ns)
        worker->accept_first_ns = worker->now_ns;
    worker->accept_last_ns = worker->now_ns;
}

static void wait_again(struct lg_worker *worker, const struct lg_entry *entry,
                       uint32_t retry_after_ms)
{
    tg_assert(worker->waiting_count < worker->waiting_room);
    uint64_t at = (worker->waiting_first + worker->waiting_count++) & (worker->waiting_room - 1);
    worker->waiting[at].entry = *entry;
    worker->waiting[at].entry.tag |= LG_ENTRY_RESENT;
    worker->waiting[at].due_ns =
        worker->now_ns + (int64_t)(retry_after_ms ? retry_after_ms : 1) * 1000000;
}

void lg_retry_push(struct lg_worker *worker, const struct lg_entry *entry)
{
    /* A full ring drops the retry: it is a sample anyway. */
    if (worker->retry_count == worker->retry_room)
        return;
    uint64_t at = (worker->retry_first + worker->retry_count++) & (worker->retry_room - 1);
    worker->retries[at] = *entry;
}

/* One in four retries goes out at once, as an impatient client's; the others wait in a pool until
 * another takes their place, which comes after a random and sometimes long while. */
static void plan_retry(struct lg_worker *worker, uint64_t number, uint64_t order_id)
{
    struct lg_entry entry = {number | LG_ENTRY_RETRY, order_id, 0};
    uint64_t mixed = tg_mix64(number);
    if (mixed >> 62 == 0) {
        lg_retry_push(worker, &entry);
        return;
    }
    struct lg_entry *place = &worker->retry_pool[mixed & (LG_RETRY_POOL - 1)];
    if (place->tag)
        lg_retry_push(worker, place);
    *place = entry;
}

/* An order that was accepted must be answered with the same order again; one that was refused may
 * be refused or, if things have changed, become an order now. */
static void check_retry(struct lg_worker *worker, const struct lg_entry *entry,
                        const struct tg_answer *answer)
{
    struct lg_stats *stats = &worker->stats;
    stats->retries_checked++;
    bool accepted = answer->verdict == TG_ACCEPTED;
    bool resent = entry->tag & LG_ENTRY_RESENT;
    bool right;
    if (entry->expect)
        right = accepted && answer->order_id == entry->expect && answer->replayed;
    else if (accepted)
        right = !answer->replayed || resent;
    else
        right = answer->verdict != TG_REQUEST_ID_CONFLICT && !answer->replayed;
    if (!right) {
        stats->retries_wrong++;
        complain(worker, "a retry was not answered like the first time", entry, answer);
    }
    if (accepted && !entry->expect) {
        stats->accepted_on_retry++;
        remember(worker, entry->tag & LG_ENTRY_NUMBER, answer->order_id);
    }
}

/* Refusals that an order in order can meet. */
static bool is_refusal(uint8_t verdict)
{
    static const bool refusals[TG_VERDICT_COUNT] = {
        [TG_SOLD_OUT] = true,      [TG_INSUFFICIENT_STOCK] = true,
        [TG_LIMIT_REACHED] = true, [TG_NOT_STARTED] = true,
        [TG_ENDED] = true,         [TG_PAUSED] = true,
        [TG_STORAGE_FULL] = true,
    };
    return verdict < TG_VERDICT_COUNT && refusals[verdict];
}

static void check_accept(struct lg_worker *worker, const struct lg_entry *entry,
                         const struct tg_answer *answer)
{
    const struct lg_plan *plan = worker->shared->plan;
    uint64_t number = entry->tag & LG_ENTRY_NUMBER;
    uint32_t item = 0;
    if (plan->settings.item_count > 1) {
        struct lg_attempt attempt;
        lg_plan_attempt(plan, number, &attempt);
        item = attempt.item;
    }
    bool replayed = answer->replayed && !(entry->tag & LG_ENTRY_RESENT);
    if (replayed || answer->order_id == 0 ||
        answer->unit_price_minor != plan->items[item].price_minor) {
        worker->stats.wrong_answers++;
        complain(worker,
                 replayed ? "an order that was never sent before was answered as replayed"
                          : "an order was accepted without an id or at another price",
                 entry, answer);
    }
    remember(worker, number, answer->order_id);
}

static void count_first(struct lg_worker *worker, const struct lg_entry *entry,
                        const struct tg_answer *answer)
{
    uint64_t number = entry->tag & LG_ENTRY_NUMBER;
    uint8_t verdict = answer->verdict < TG_VERDICT_COUNT ? answer->verdict : TG_UNSPECIFIED;
    bool accepted = verdict == TG_ACCEPTED;
    tg_count(&worker->stats.verdicts[verdict], 1);
    record_latency(worker, entry->intended_ns, accepted);
    if (accepted) {
        check_accept(worker, entry, answer);
    } else if (__builtin_expect(!is_refusal(verdict), 0)) {
        worker->stats.errors++;
        lg_worker_fail(worker, TG_ERR_PROTOCOL,
                       "the server answered %s to attempt %" PRIu64
                       ", whose order was in order: stopping",
                       tg_verdict_name(answer->verdict), number);
        return;
    }
    if (lg_plan_retries(worker->shared->plan, number))
        plan_retry(worker, number, accepted ? answer->order_id : 0);
}

static inline void one_answer(struct lg_worker *worker, const struct lg_entry *entry,
                              const struct tg_answer *answer)
{
    tg_count(&worker->stats.answers, 1);
    worker->in_flight--;
    if (answer->verdict == TG_BUSY) {
        worker->stats.busy++;
        wait_again(worker, entry, answer->retry_after_ms);
        return;
    }
    worker->final_ns = worker->now_ns;
    if (entry->tag & LG_ENTRY_RETRY)
        check_retry(worker, entry, answer);
    else
        count_first(worker, entry, answer);
}

/* The slot that an answer names, when a frame is in flight there. */
static inline bool slot_of(const struct lg_worker *worker, const struct lg_conn *conn,
                           uint64_t correlation_id, uint32_t *slot)
{
    if (correlation_id == 0 || correlation_id > worker->shared->shape.frames)
        return false;
    *slot = (uint32_t)correlation_id - 1;
    return conn->slot_orders[*slot] != 0;
}

static inline void free_slot(struct lg_conn *conn, uint32_t slot)
{
    conn->slot_orders[slot] = 0;
    conn->free_slots[conn->free_count++] = slot;
}

static bool protocol_fault(struct lg_worker *worker, const char *what)
{
    lg_worker_fail(worker, TG_ERR_PROTOCOL, "%s sent %s", worker->shared->server, what);
    return false;
}

static bool single_answer(struct lg_worker *worker, struct lg_conn *conn, uint64_t correlation_id,
                          const struct tg_answer *answer)
{
    uint32_t slot;
    if (!slot_of(worker, conn, correlation_id, &slot) || worker->shared->shape.batch != 1)
        return protocol_fault(worker, "an answer to nothing that is in flight");
    one_answer(worker, &conn->entries[slot], answer);
    free_slot(conn, slot);
    return true;
}

/* A batch that was answered as a whole: only BUSY is an answer to a batch in order. */
static bool whole_batch(struct lg_worker *worker, const struct lg_entry *entries, uint32_t orders,
                        struct tg_bytes body)
{
    struct tg_answer answer;
    if (tg_answers_decode(body, &answer) != TG_DECODE_OK)
        return protocol_fault(worker, "a batch answer that cannot be read");
    if (answer.verdict != TG_BUSY)
        return protocol_fault(worker, "a batch answer without a result for each order");
    for (uint32_t i = 0; i < orders; i++)
        one_answer(worker, &entries[i], &answer);
    return true;
}

static bool batch_answer(struct lg_worker *worker, struct lg_conn *conn, uint64_t correlation_id,
                         struct tg_bytes body)
{
    uint32_t slot, at = 0, batch = worker->shared->shape.batch;
    if (!slot_of(worker, conn, correlation_id, &slot) || batch == 1)
        return protocol_fault(worker, "an answer to nothing that is in flight");
    const struct lg_entry *entries = &conn->entries[(size_t)slot * batch];
    uint32_t orders = conn->slot_orders[slot];
    struct tg_bytes whole = body, message;
    bool malformed = false;
    while (tg_answers_next(&body, &message, &malformed)) {
        struct tg_answer answer;
        if (at == orders)
            return protocol_fault(worker, "more results than the batch had orders");
        if (!lg_wire_answer(message.data, message.data + message.size, &answer) &&
            tg_answer_decode(message, &answer) != TG_DECODE_OK)
            return protocol_fault(worker, "an answer that cannot be read");
        one_answer(worker, &entries[at++], &answer);
    }
    if (malformed || (at > 0 && at < orders))
        return protocol_fault(worker, "a batch answer that is cut short");
    if (at == 0 && !whole_batch(worker, entries, orders, whole))
        return false;
    free_slot(conn, slot);
    return true;
}

static bool error_response(struct lg_worker *worker, struct tg_bytes body)
{
    Tidegate__V1__ErrorResponse *error =
        tidegate__v1__error_response__unpack(NULL, body.size, body.data);
    /* It drains, or has no place: it closes the connection behind this, and what follows is a
     * connection that broke. */
    if (error && error->code == TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED &&
        worker->phase != LG_PHASE_CONNECT) {
        tidegate__v1__error_response__free_unpacked(error, NULL);
        return true;
    }
    worker->stats.errors++;
    lg_worker_fail(worker, TG_ERR_PROTOCOL, "%s answered with an error: %s", worker->shared->server,
                   error ? error->message : "(unreadable)");
    if (error)
        tidegate__v1__error_response__free_unpacked(error, NULL);
    return false;
}

/* Everything that lg_wire_answer_frame does not take: batches, errors, unusual layouts. */
static bool any_response(struct lg_worker *worker, struct lg_conn *conn, struct tg_bytes message)
{
    struct tg_envelope envelope;
    struct tg_answer answer;
    if (tg_response_decode(message, &envelope) != TG_DECODE_OK)
        return protocol_fault(worker, "a frame that holds no response");
    switch (envelope.kind) {
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER:
        if (tg_answer_decode(envelope.body, &answer) != TG_DECODE_OK)
            return protocol_fault(worker, "an answer that cannot be read");
        return single_answer(worker, conn, envelope.correlation_id, &answer);
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS:
        return batch_answer(worker, conn, envelope.correlation_id, envelope.body);
    case TIDEGATE__V1__RESPONSE__KIND_ERROR:
        return error_response(worker, envelope.body);
    case TIDEGATE__V1__RESPONSE__KIND_AUTHENTICATE: /* the token is in force */
        return true;
    default:
        return protocol_fault(worker, "a response to something that was not asked");
    }
}

bool lg_answers_read(struct lg_worker *worker, struct lg_conn *conn)
{
    uint32_t at = 0;
    worker->answer_ns = worker->now_ns;
    while (at < conn->in_bytes) {
        struct tg_bytes rest = {conn->in + at, conn->in_bytes - at}, message;
        struct tg_answer answer;
        uint64_t correlation_id;
        size_t used = lg_wire_answer_frame(rest.data, rest.size, &correlation_id, &answer);
        if (used) {
            if (!single_answer(worker, conn, correlation_id, &answer))
                return false;
        } else {
            enum tg_frame frame = tg_frame_next_response(rest, &message, &used);
            if (frame == TG_FRAME_PARTIAL)
                break;
            if (frame != TG_FRAME_WHOLE)
                return protocol_fault(worker, "a frame of no allowed length");
            if (!any_response(worker, conn, message))
                return false;
        }
        at += (uint32_t)used;
    }
    conn->in_bytes -= at;
    if (conn->in_bytes == worker->shared->shape.in_room)
        return protocol_fault(worker, "a larger answer than its orders can have");
    if (at && conn->in_bytes)
        memmove(conn->in, conn->in + at, conn->in_bytes);
    return true;
}
