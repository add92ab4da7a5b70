#include "loadgen/worker.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/thread.h"
#include "loadgen/target.h"
#include "proto/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define CONNECT_NS      (5 * TG_NS_PER_S) /* for all connections to come up at the start */
#define BACKOFF_NS_MIN  (5 * TG_NS_PER_MS)
#define BACKOFF_NS_MAX  (200 * TG_NS_PER_MS)
#define STEADY_NS       TG_NS_PER_S         /* a connection up for so long was not in trouble */
#define TICK_NS         (50 * TG_NS_PER_MS) /* at least so often the loop looks around */
#define WAKE_NS_MIN     (20 * 1000ll)     /* open loop: wake-ups closer than this are merged; ... */
#define WAKE_NS_MAX     (250 * 1000ll)    /* ... at a high rate closer than this: wake_ns */
#define SPIN_NS         (1000 * 1000ll)   /* a single caller looks for its answer, then sleeps */
#define SETTLE_STALL_NS (5 * TG_NS_PER_S) /* without an answer: cut the connections, resend */
#define SETTLE_BUSY_NS  (5 * TG_NS_PER_S) /* of nothing but BUSY: that is the answer */
#define SQ_ENTRIES_MAX  4096u

/* --- what to send ------------------------------------------------------------------------------
 */

static bool waiting_due(const struct lg_worker *w)
{
    return w->waiting_count && !w->busy_is_final &&
           w->waiting[w->waiting_first].due_ns <= w->now_ns;
}

static uint64_t room_for_more(const struct lg_worker *w)
{
    uint64_t open_orders = w->in_flight + w->waiting_count;
    return open_orders < w->capacity ? w->capacity - open_orders : 0;
}

static bool issuing(const struct lg_worker *w)
{
    return w->phase >= LG_PHASE_WARMUP && w->phase <= LG_PHASE_DRAIN;
}

static void pop_waiting(struct lg_worker *w, struct lg_entry *entry)
{
    *entry = w->waiting[w->waiting_first].entry;
    w->waiting_first = (w->waiting_first + 1) & (w->waiting_room - 1);
    w->waiting_count--;
}

static void pop_retry(struct lg_worker *w, struct lg_entry *entry, int64_t intended_ns)
{
    *entry = w->retries[w->retry_first];
    entry->intended_ns = intended_ns;
    w->retry_first = (w->retry_first + 1) & (w->retry_room - 1);
    w->retry_count--;
}

/* The time for which the next frame is meant; false when none is due. */
static bool frame_is_due(const struct lg_worker *w, int64_t *intended_ns)
{
    if (w->frames_due <= w->schedule.frames_taken)
        return false;
    *intended_ns = w->shared->profile->closed
                       ? w->now_ns
                       : lg_schedule_due_ns(&w->schedule, w->schedule.frames_taken);
    return true;
}

static void take_frame(struct lg_worker *w, int64_t intended_ns)
{
    w->schedule.frames_taken++;
    if (!w->shared->profile->closed && intended_ns < w->drain_ns)
        tg_histogram_record(&w->slip, (uint64_t)(w->now_ns - intended_ns), 1);
}

/* Fills a frame: first what was BUSY and may come again, then (when a frame is due) retries, then
 * new attempts. Returns how many orders it has now. */
static uint32_t take_entries(struct lg_worker *w, struct lg_entry *entries)
{
    uint32_t n = 0, batch = w->shared->shape.batch;
    int64_t intended_ns = w->now_ns;
    while (n < batch && waiting_due(w))
        pop_waiting(w, &entries[n++]);
    bool issue = issuing(w);
    if (n == batch || (issue && !frame_is_due(w, &intended_ns)) ||
        (!issue && w->phase != LG_PHASE_SETTLE))
        return n;
    uint64_t room = room_for_more(w) > n ? room_for_more(w) - n : 0;
    uint32_t most = room < batch - n ? n + (uint32_t)room : batch;
    uint32_t before = n;
    while (n < most && w->retry_count)
        pop_retry(w, &entries[n++], intended_ns);
    while (issue && n < most && w->next_number < w->shared->attempts_max) {
        entries[n++] = (struct lg_entry){w->next_number, 0, intended_ns};
        w->next_number += w->shared->threads;
        tg_count(&w->stats.offered, 1);
    }
    if (issue && n > before)
        take_frame(w, intended_ns);
    return n;
}

static size_t batch_frame(struct lg_worker *w, uint8_t *out, uint32_t slot,
                          const struct lg_entry *entries, uint32_t orders)
{
    /* The elements go where they belong if this head is as long as the last one; else they move. */
    uint8_t head[TG_BATCH_HEAD_BYTES_MAX];
    size_t guess = w->head_bytes, elements = 0;
    for (uint32_t i = 0; i < orders; i++) {
        struct lg_attempt attempt;
        uint8_t *at = out + guess + elements;
        lg_plan_attempt(w->shared->plan, entries[i].tag & LG_ENTRY_NUMBER, &attempt);
        at[0] = 0x0a;
        size_t bytes = lg_wire_order(at + 2, w->shared->wire, &attempt);
        at[1] = (uint8_t)bytes;
        elements += 2 + bytes;
    }
    size_t head_bytes = tg_orders_head(head, slot + 1, elements);
    if (head_bytes != guess)
        memmove(out + head_bytes, out + guess, elements);
    memcpy(out, head, head_bytes);
    w->head_bytes = (uint32_t)head_bytes;
    return head_bytes + elements;
}

static void encode(struct lg_worker *w, struct lg_conn *c, uint32_t slot)
{
    const struct lg_shared *shared = w->shared;
    const struct lg_entry *entries = &c->entries[(size_t)slot * shared->shape.batch];
    uint8_t *out = c->out + c->out_bytes;
    if (shared->shape.batch > 1) {
        c->out_bytes += (uint32_t)batch_frame(w, out, slot, entries, c->slot_orders[slot]);
        return;
    }
    struct lg_attempt attempt;
    lg_plan_attempt(shared->plan, entries->tag & LG_ENTRY_NUMBER, &attempt);
    c->out_bytes += (uint32_t)lg_wire_frame(out, slot + 1, shared->wire, &attempt);
}

static uint32_t frame_room(const struct lg_conn_shape *shape)
{
    return shape->batch * LG_ORDER_ROOM + TG_BATCH_HEAD_BYTES_MAX + 32;
}

/* Writes resends, then at most `most` frames; lists the connection for sending. Returns the number
 * of frames written. */
static uint32_t fill(struct lg_worker *w, struct lg_conn *c, uint32_t most)
{
    const struct lg_conn_shape *shape = &w->shared->shape;
    uint32_t frames = 0;
    if (c->state != LG_CONN_UP || c->send_pending)
        return 0;
    while (shape->out_room - c->out_bytes >= frame_room(shape)) {
        if (c->resend_count) {
            uint32_t again = c->resend[c->resend_first++];
            c->resend_count--;
            w->stats.resent += c->slot_orders[again];
            encode(w, c, again);
            continue;
        }
        if (!c->free_count || frames == most)
            break;
        uint32_t slot = c->free_slots[c->free_count - 1];
        uint32_t orders = take_entries(w, &c->entries[(size_t)slot * shape->batch]);
        if (!orders)
            break;
        c->free_count--;
        c->slot_orders[slot] = orders;
        w->in_flight += orders;
        encode(w, c, slot);
        frames++;
    }
    if (c->out_bytes && !c->dirty) {
        c->dirty = true;
        w->dirty[w->dirty_count++] = c->index;
    }
    return frames;
}

static bool is_open_loop(const struct lg_worker *w)
{
    return !w->shared->profile->closed;
}

static bool has_work(const struct lg_worker *w)
{
    if (waiting_due(w))
        return true;
    if (w->phase == LG_PHASE_SETTLE)
        return w->retry_count > 0;
    return issuing(w) && w->frames_due > w->schedule.frames_taken && room_for_more(w) > 0 &&
           (w->retry_count || w->next_number < w->shared->attempts_max);
}

/* Frames that no answer calls for (open loop, orders that were BUSY, places that those left empty,
 * the last retries) go one by one around all connections that can take one. */
static void distribute(struct lg_worker *w)
{
    uint32_t in_vain = 0;
    while (in_vain < w->conn_count && has_work(w)) {
        struct lg_conn *c = &w->conns[w->next_conn];
        w->next_conn = w->next_conn + 1 == w->conn_count ? 0 : w->next_conn + 1;
        if (fill(w, c, 1))
            in_vain = 0;
        else
            in_vain++;
    }
}

static void send_dirty(struct lg_worker *w)
{
    for (uint32_t i = 0; i < w->dirty_count; i++) {
        struct lg_conn *c = &w->conns[w->dirty[i]];
        c->dirty = false;
        if (c->state == LG_CONN_UP && !c->send_pending)
            lg_conn_send(c, &w->ring);
    }
    w->dirty_count = 0;
}

/* --- connections -------------------------------------------------------------------------------
 */

static void begin_connect(struct lg_worker *w, struct lg_conn *c)
{
    if (!lg_conn_connect(c, &w->ring, (const struct sockaddr *)&w->shared->address,
                         w->shared->address_bytes)) {
        lg_worker_fail(w, TG_ERR_SYSTEM, "no socket for connection %u: %s", c->index,
                       strerror(errno));
        c->retry_at_ns = w->now_ns + BACKOFF_NS_MAX;
    }
}

static void drop(struct lg_worker *w, struct lg_conn *c)
{
    if (c->state == LG_CONN_UP)
        w->up_count--;
    if (!c->down_since_ns || (c->state == LG_CONN_UP && w->now_ns - c->up_at_ns > STEADY_NS)) {
        c->down_since_ns = w->now_ns;
        c->backoff_ns = BACKOFF_NS_MIN;
    }
    lg_conn_drop(c);
}

/* Closes once nothing is pending, and plans the next try. */
static void close_if_idle(struct lg_worker *w, struct lg_conn *c)
{
    if (c->state != LG_CONN_CLOSING || lg_conn_pending(c))
        return;
    lg_conn_close(c, &w->shared->shape);
    c->retry_at_ns = w->now_ns + c->backoff_ns;
    c->backoff_ns = c->backoff_ns * 2 < BACKOFF_NS_MAX ? c->backoff_ns * 2 : BACKOFF_NS_MAX;
    int64_t patience_ns = w->phase == LG_PHASE_CONNECT ? CONNECT_NS : w->shared->reconnect_ns;
    if (w->now_ns - c->down_since_ns > patience_ns)
        lg_worker_fail(w, TG_ERR_CLOSED, "%s cannot be reached since %.1f s", w->shared->server,
                       (double)(w->now_ns - c->down_since_ns) / 1e9);
}

static void come_up(struct lg_worker *w, struct lg_conn *c)
{
    c->state = LG_CONN_UP;
    c->up_at_ns = w->now_ns;
    w->up_count++;
    if (c->connected)
        w->stats.reconnects++;
    c->connected = true;
    c->out_bytes += (uint32_t)lg_target_greeting(c->out + c->out_bytes);
    fill(w, c, is_open_loop(w) ? 0 : UINT32_MAX);
}

static void begin_tls(struct lg_worker *w, struct lg_conn *c)
{
    struct tg_fault fault;
    if (!lg_conn_secure(c, &w->shared->shape, &fault)) {
        lg_worker_fail(w, fault.error, "%s", fault.text);
        drop(w, c);
        return;
    }
    lg_conn_send(c, &w->ring);
    lg_conn_receive(c, &w->ring, &w->shared->shape);
}

static void on_connect(struct lg_worker *w, struct lg_conn *c, int result)
{
    c->connect_pending = false;
    if (c->state == LG_CONN_CONNECTING && result < 0)
        drop(w, c);
    if (c->state != LG_CONN_CONNECTING)
        return;
    if (w->shared->shape.tls) {
        begin_tls(w, c);
        return;
    }
    come_up(w, c);
    lg_conn_receive(c, &w->ring, &w->shared->shape);
}

static void on_send(struct lg_worker *w, struct lg_conn *c, int result)
{
    c->send_pending = false;
    if (c->state != LG_CONN_UP && c->state != LG_CONN_CONNECTING)
        return;
    if (result <= 0) {
        drop(w, c);
        return;
    }
    uint32_t *sent = c->session ? &c->cipher_sent : &c->out_sent;
    uint32_t *bytes = c->session ? &c->cipher_bytes : &c->out_bytes;
    *sent += (uint32_t)result;
    if (*sent < *bytes) {
        lg_conn_send(c, &w->ring);
        return;
    }
    *bytes = *sent = 0;
    fill(w, c, is_open_loop(w) ? 0 : UINT32_MAX);
}

/* The session is not what it must be to go on. A server that we do not believe, or that does not
 * believe us, will not change its mind. */
static void lose_tls(struct lg_worker *w, struct lg_conn *c)
{
    if (tls_session_state(c->session) == TLS_FAILED)
        lg_worker_fail(w, TG_ERR_PROTOCOL, "no TLS with %s: %s", w->shared->server,
                       tls_session_why(c->session));
    drop(w, c);
}

/* Ciphertext came: shakes hands, or reads answers. False when the connection was dropped. */
static bool take_cipher(struct lg_worker *w, struct lg_conn *c, uint32_t bytes)
{
    uint32_t clear = lg_conn_decrypt(c, &w->shared->shape, bytes);
    while (clear > 0) {
        if (c->state == LG_CONN_CONNECTING)
            come_up(w, c);
        if (!lg_answers_read(w, c)) {
            drop(w, c);
            return false;
        }
        clear = lg_conn_decrypt(c, &w->shared->shape, 0);
    }
    enum tls_state state = tls_session_state(c->session);
    if (state == TLS_ENDED || state == TLS_FAILED) {
        lose_tls(w, c);
        return false;
    }
    if (state == TLS_OPEN && c->state == LG_CONN_CONNECTING)
        come_up(w, c);
    if (lg_conn_must_speak(c))
        lg_conn_send(c, &w->ring);
    return true;
}

static bool take_clear(struct lg_worker *w, struct lg_conn *c, uint32_t bytes)
{
    c->in_bytes += bytes;
    if (lg_answers_read(w, c))
        return true;
    drop(w, c);
    return false;
}

static void on_receive(struct lg_worker *w, struct lg_conn *c, int result)
{
    c->receive_pending = false;
    if (c->state != LG_CONN_UP && c->state != LG_CONN_CONNECTING)
        return;
    if (result <= 0) {
        drop(w, c);
        return;
    }
    w->now_ns = tg_clock_mono_ns();
    c->down_since_ns = 0;
    bool goes_on =
        c->session ? take_cipher(w, c, (uint32_t)result) : take_clear(w, c, (uint32_t)result);
    if (!goes_on)
        return;
    lg_conn_receive(c, &w->ring, &w->shared->shape);
    if (!is_open_loop(w))
        fill(w, c, UINT32_MAX);
}

static void on_completion(struct lg_worker *w, const struct io_uring_cqe *cqe)
{
    struct lg_conn *c = &w->conns[cqe->user_data >> LG_OP_BITS];
    switch ((enum lg_conn_op)(cqe->user_data & ((1u << LG_OP_BITS) - 1))) {
    case LG_OP_CONNECT:
        on_connect(w, c, cqe->res);
        break;
    case LG_OP_SEND:
        on_send(w, c, cqe->res);
        break;
    case LG_OP_RECEIVE:
        on_receive(w, c, cqe->res);
        break;
    }
    close_if_idle(w, c);
}

/* --- phases and time ---------------------------------------------------------------------------
 */

static void snapshot(struct lg_worker *w, struct lg_stats *copy)
{
    lg_answers_flush(w);
    *copy = w->stats;
    copy->at_ns = w->now_ns;
}

static void begin_measure(struct lg_worker *w)
{
    snapshot(w, &w->at_start);
    tg_histogram_reset(&w->slip);
    w->phase = LG_PHASE_MEASURE;
}

static void begin_drain(struct lg_worker *w)
{
    snapshot(w, &w->at_end);
    w->phase = LG_PHASE_DRAIN;
}

static void begin_settle(struct lg_worker *w)
{
    if (w->phase == LG_PHASE_WARMUP)
        begin_measure(w);
    if (w->phase == LG_PHASE_MEASURE)
        begin_drain(w);
    /* Only what fell due before the end counts as left behind. */
    if (is_open_loop(w) && w->next_number < w->shared->attempts_max) {
        int64_t until_ns = w->now_ns < w->end_ns ? w->now_ns : w->end_ns;
        w->backlog_end = lg_schedule_backlog(&w->schedule, until_ns) * w->shared->shape.batch;
    }
    for (uint32_t i = 0; i < LG_RETRY_POOL; i++)
        if (w->retry_pool[i].tag)
            lg_retry_push(w, &w->retry_pool[i]);
    w->phase = LG_PHASE_SETTLE;
    w->answer_ns = w->final_ns = w->now_ns;
}

/* An order that was never sent but to be answered BUSY was taken by nobody: BUSY is its answer. One
 * that also was on a connection that broke may stand, and stays open. */
static void take_busy_as_final(struct lg_worker *w)
{
    uint64_t left = 0;
    for (uint64_t i = 0; i < w->waiting_count; i++) {
        const struct lg_entry *entry =
            &w->waiting[(w->waiting_first + i) & (w->waiting_room - 1)].entry;
        if (entry->tag & LG_ENTRY_RETRY)
            continue;
        if (entry->tag & LG_ENTRY_DOUBT)
            left++;
        else
            tg_count(&w->stats.verdicts[TG_BUSY], 1);
    }
    w->waiting_count = 0;
    w->open_orders = left;
    if (left)
        lg_worker_fail(w, TG_ERR_TIMEOUT, "%s answered %llu orders with nothing but BUSY",
                       w->shared->server, (unsigned long long)left);
}

/* Nothing came for a while: either the server is gone, or it keeps orders without answering. New
 * connections make it choose. */
static void watch_settle(struct lg_worker *w)
{
    int64_t silent_ns = w->now_ns - w->answer_ns;
    if (w->waiting_count && w->now_ns - w->final_ns > SETTLE_BUSY_NS && silent_ns < TG_NS_PER_S)
        w->busy_is_final = true;
    if (w->busy_is_final && !w->in_flight)
        take_busy_as_final(w);
    if (silent_ns > SETTLE_STALL_NS && !w->settle_dropped) {
        w->settle_dropped = true;
        for (uint32_t i = 0; i < w->conn_count; i++)
            if (w->conns[i].state == LG_CONN_UP)
                drop(w, &w->conns[i]);
    }
    if (silent_ns > w->shared->reconnect_ns + SETTLE_STALL_NS)
        lg_worker_fail(w, TG_ERR_TIMEOUT, "%s left %llu orders without an answer for %.1f s",
                       w->shared->server, (unsigned long long)lg_worker_open_orders(w),
                       (double)silent_ns / 1e9);
}

static void advance_phase(struct lg_worker *w)
{
    bool stop = atomic_load_explicit(&w->shared->stop, memory_order_relaxed);
    switch (w->phase) {
    case LG_PHASE_CONNECT:
        if (w->up_count == w->conn_count || stop)
            w->phase = LG_PHASE_DONE;
        break;
    case LG_PHASE_WARMUP:
        if (w->now_ns >= w->measure_ns)
            begin_measure(w);
        /* fallthrough */
    case LG_PHASE_MEASURE:
        if (w->phase == LG_PHASE_MEASURE && w->now_ns >= w->drain_ns)
            begin_drain(w);
        /* fallthrough */
    case LG_PHASE_DRAIN:
        if (stop || w->now_ns >= w->end_ns ||
            (w->next_number >= w->shared->attempts_max && !w->in_flight && !w->waiting_count))
            begin_settle(w);
        break;
    case LG_PHASE_SETTLE:
        if (w->fault.error ||
            (!w->in_flight && !w->waiting_count && (!w->retry_count || !w->up_count)))
            w->phase = LG_PHASE_DONE;
        else
            watch_settle(w);
        break;
    case LG_PHASE_DONE:
        break;
    }
}

static void publish(struct lg_worker *w)
{
    struct lg_published *p = &w->published;
    uint64_t accepted = w->stats.verdicts[TG_ACCEPTED], refused = 0;
    for (int i = 0; i < TG_VERDICT_COUNT; i++)
        refused += i == TG_ACCEPTED ? 0 : w->stats.verdicts[i];
    lg_answers_flush(w);
    atomic_store_explicit(&p->offered, w->stats.offered, memory_order_relaxed);
    atomic_store_explicit(&p->answers, w->stats.answers, memory_order_relaxed);
    atomic_store_explicit(&p->accepted, accepted, memory_order_relaxed);
    atomic_store_explicit(&p->refused, refused, memory_order_relaxed);
    atomic_store_explicit(&p->in_flight, w->in_flight, memory_order_relaxed);
    atomic_store_explicit(&p->reconnects, w->stats.reconnects, memory_order_relaxed);
    uint64_t backlog = is_open_loop(w) && issuing(w) && w->frames_due > w->schedule.frames_taken
                           ? (w->frames_due - w->schedule.frames_taken) * w->shared->shape.batch
                           : 0;
    if (backlog > w->backlog_max)
        w->backlog_max = backlog;
    atomic_store_explicit(&p->backlog, backlog, memory_order_relaxed);
}

static void reconnect_due(struct lg_worker *w)
{
    if (w->up_count == w->conn_count)
        return;
    for (uint32_t i = 0; i < w->conn_count; i++) {
        struct lg_conn *c = &w->conns[i];
        close_if_idle(w, c);
        if (c->state == LG_CONN_DOWN && c->retry_at_ns <= w->now_ns)
            begin_connect(w, c);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long an open loop sleeps at least: the longer the more is due, up to a quarter of a
 * millisecond at 100,000 frames a second and above. To wake for every order there is, at such a
 * rate, takes the processor that the server under test needs, and shows its want in each latency.
 * What is sent late by this is in the latency as well, and told as slip. */
static int64_t wake_ns(const struct lg_worker *w, int64_t due_ns)
{
    int64_t gap_ns = lg_schedule_due_ns(&w->schedule, w->schedule.frames_taken + 1) - due_ns;
    int64_t wake = WAKE_NS_MAX * 10000 / (gap_ns > 0 ? gap_ns : 1);
    return wake < WAKE_NS_MIN ? WAKE_NS_MIN : wake > WAKE_NS_MAX ? WAKE_NS_MAX : wake;
}

/* When the loop must wake although nothing completes. Work that is due but blocked waits for a
 * completion, not for a time. */
static int64_t next_time_ns(const struct lg_worker *w)
{
    int64_t next_ns = w->now_ns + TICK_NS;
    if (w->phase == LG_PHASE_WARMUP)
        next_ns = earlier(next_ns, w->measure_ns);
    if (w->phase == LG_PHASE_MEASURE)
        next_ns = earlier(next_ns, w->drain_ns);
    if (issuing(w))
        next_ns = earlier(next_ns, w->end_ns);
    if (w->waiting_count && !waiting_due(w) && !w->busy_is_final)
        next_ns = earlier(next_ns, w->waiting[w->waiting_first].due_ns);
    if (is_open_loop(w) && issuing(w) && w->frames_due <= w->schedule.frames_taken &&
        w->next_number < w->shared->attempts_max) {
        int64_t due_ns = lg_schedule_due_ns(&w->schedule, w->schedule.frames_taken);
        int64_t soon_ns = w->now_ns + wake_ns(w, due_ns);
        next_ns = earlier(next_ns, due_ns > soon_ns ? due_ns : soon_ns);
    }
    if (w->up_count < w->conn_count)
        next_ns = earlier(next_ns, w->now_ns + BACKOFF_NS_MIN);
    return next_ns;
}

/* A single caller with one request on its way is asked how long that takes: to sleep and to be
 * woken would be added to each answer. So it looks, for as long as an answer usually takes. */
static void spin(struct lg_worker *w, int64_t wait_ns)
{
    int64_t until_ns = w->now_ns + (wait_ns < SPIN_NS ? wait_ns : SPIN_NS);
    io_uring_submit(&w->ring);
    while (io_uring_cq_ready(&w->ring) == 0 &&
           !(IO_URING_READ_ONCE(*w->ring.sq.kflags) & IORING_SQ_TASKRUN) &&
           tg_clock_mono_ns() < until_ns)
        __builtin_ia32_pause();
}

static void wait_for_completions(struct lg_worker *w)
{
    int64_t wait_ns = next_time_ns(w) - w->now_ns;
    if (wait_ns < 0)
        wait_ns = 0;
    if (w->conn_count == 1 && w->shared->shape.frames == 1)
        spin(w, wait_ns);
    struct __kernel_timespec time = {.tv_sec = wait_ns / TG_NS_PER_S,
                                     .tv_nsec = wait_ns % TG_NS_PER_S};
    struct io_uring_cqe *cqe;
    /* Soon it wakes anyway: whatever completes until then is taken together. */
    bool is_merged = is_open_loop(w) && issuing(w) && wait_ns <= WAKE_NS_MAX;
    int result = io_uring_submit_and_wait_timeout(&w->ring, &cqe, is_merged ? SQ_ENTRIES_MAX : 1,
                                                  &time, NULL);
    if (result < 0 && result != -ETIME && result != -EINTR && result != -EBUSY && result != -EAGAIN)
        lg_worker_fail(w, TG_ERR_SYSTEM, "io_uring does not work: %s", strerror(-result));
}

static void reap(struct lg_worker *w)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&w->ring, head, cqe)
    {
        on_completion(w, cqe);
        count++;
    }
    io_uring_cq_advance(&w->ring, count);
}

/* The thread's loop: look at the time, send what is due, wait, handle what came. */
static void run_phases(struct lg_worker *w, enum lg_phase from)
{
    w->phase = from;
    w->now_ns = tg_clock_mono_ns();
    for (;;) {
        advance_phase(w);
        if (w->phase == LG_PHASE_DONE)
            break;
        if (issuing(w))
            w->frames_due = lg_schedule_frames_due(&w->schedule, w->now_ns);
        reconnect_due(w);
        distribute(w);
        publish(w);
        send_dirty(w);
        wait_for_completions(w);
        w->now_ns = tg_clock_mono_ns();
        reap(w);
    }
}

/* --- life --------------------------------------------------------------------------------------
 */

static uint64_t power_of_two(uint64_t at_least)
{
    uint64_t n = 64;
    while (n < at_least)
        n *= 2;
    return n;
}

static bool open_ring(struct lg_worker *w)
{
    uint32_t entries = (uint32_t)power_of_two(2ull * w->conn_count);
    if (entries > SQ_ENTRIES_MAX)
        entries = SQ_ENTRIES_MAX;
    uint64_t completions = power_of_two(4ull * w->conn_count);
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP,
        .cq_entries = (uint32_t)(completions < 4ull * entries ? 4ull * entries : completions),
    };
    int result = io_uring_queue_init_params(entries, &w->ring, &params);
    if (result < 0) {
        lg_worker_fail(w, TG_ERR_UNSUPPORTED,
                       "io_uring is not available: %s. In a container, allow it in the seccomp "
                       "profile; on a host, see the sysctl kernel.io_uring_disabled.",
                       strerror(-result));
        return false;
    }
    io_uring_register_ring_fd(&w->ring);
    return true;
}

static void begin_run(struct lg_worker *w)
{
    const struct lg_shared *shared = w->shared;
    lg_profile_measured_ns(shared->profile, &w->measure_ns, &w->drain_ns);
    w->measure_ns += shared->start_ns;
    w->drain_ns += shared->start_ns;
    w->end_ns = shared->start_ns + lg_profile_duration_ns(shared->profile);
    lg_schedule_init(&w->schedule, shared->profile, shared->shape.batch, w->index, shared->threads,
                     shared->start_ns);
    w->now_ns = tg_clock_mono_ns();
    w->first_ns = w->answer_ns = w->final_ns = w->now_ns;
    w->frames_due = lg_schedule_frames_due(&w->schedule, w->now_ns);
    w->phase = LG_PHASE_WARMUP;
    for (uint32_t i = 0; !is_open_loop(w) && i < w->conn_count; i++)
        fill(w, &w->conns[i], UINT32_MAX);
}

static int64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * TG_NS_PER_S + now.tv_nsec;
}

static void *worker_main(void *argument)
{
    struct lg_worker *w = argument;
    /* The default slack of 50 us would be added to every time that an open loop waits for. */
    prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
    bool ring = open_ring(w);
    if (ring)
        run_phases(w, LG_PHASE_CONNECT);
    pthread_barrier_wait(&w->shared->ready);
    pthread_barrier_wait(&w->shared->go);
    /* pairs with nothing: the barrier orders it */
    if (ring && !atomic_load_explicit(&w->shared->failed, memory_order_relaxed)) {
        int64_t cpu_ns = thread_cpu_ns();
        begin_run(w);
        run_phases(w, LG_PHASE_WARMUP);
        w->cpu_ns = thread_cpu_ns() - cpu_ns;
        lg_answers_flush(w);
        publish(w);
    }
    if (ring)
        io_uring_queue_exit(&w->ring);
    return NULL;
}

static bool allocate(struct lg_worker *w)
{
    const struct lg_conn_shape *shape = &w->shared->shape;
    w->capacity = (uint64_t)w->conn_count * shape->frames * shape->batch;
    w->waiting_room = power_of_two(w->capacity);
    w->retry_room = power_of_two(w->capacity + LG_RETRY_POOL);
    w->conns = calloc(w->conn_count, sizeof(*w->conns));
    w->dirty = calloc(w->conn_count, sizeof(*w->dirty));
    w->waiting = calloc(w->waiting_room, sizeof(*w->waiting));
    w->retries = calloc(w->retry_room, sizeof(*w->retries));
    w->retry_pool = calloc(LG_RETRY_POOL, sizeof(*w->retry_pool));
    if (!w->conns || !w->dirty || !w->waiting || !w->retries || !w->retry_pool)
        return false;
    for (uint32_t i = 0; i < w->conn_count; i++)
        w->conns[i].fd = -1;
    for (uint32_t i = 0; i < w->conn_count; i++)
        if (!lg_conn_init(&w->conns[i], i, shape))
            return false;
    return true;
}

enum tg_error lg_worker_start(struct lg_worker *worker, struct lg_shared *shared, uint32_t index,
                              uint32_t conn_count, struct tg_fault *fault)
{
    worker->shared = shared;
    worker->index = index;
    worker->conn_count = conn_count;
    worker->next_number = index;
    if (!allocate(worker))
        return tg_fault_set(fault, TG_ERR_NOMEM,
                            "no memory for %u connections with %u frames "
                            "of %u orders",
                            conn_count, shared->shape.frames, shared->shape.batch);
    return tg_thread_start(&worker->thread, worker_main, worker, "generator", fault);
}

void lg_worker_join(struct lg_worker *worker)
{
    pthread_join(worker->thread, NULL);
}

void lg_worker_fini(struct lg_worker *worker)
{
    for (uint32_t i = 0; worker->conns && i < worker->conn_count; i++)
        lg_conn_fini(&worker->conns[i], &worker->shared->shape);
    free(worker->conns);
    free(worker->dirty);
    free(worker->waiting);
    free(worker->retries);
    free(worker->retry_pool);
    lg_accepted_fini(&worker->accepted);
}
