/* A core thread: the turn of server/core.c without a network. */
#include "tests/stress/stress.h"

#include <stdatomic.h>

/* As server/timers.c: some room is for requests. */
enum {
    TIMERS_AT_ONCE = 32,
    TIMERS_A_TURN = 128,
};

/* --- sending --- */

bool stress_push(struct core *core, uint32_t to, const struct request *request)
{
    struct tg_ring *ring = &world.requests[core->number][to];
    struct request *slot = tg_ring_reserve(ring);
    if (!slot)
        return false;
    *slot = *request;
    tg_ring_push(ring);
    core->notify |= 1u << to;
    return true;
}

void stress_push_reply(struct core *core, uint32_t to, const struct reply *reply)
{
    struct tg_ring *ring = &world.replies[core->number][to];
    struct reply *slot = tg_ring_reserve(ring);
    tg_assert(slot);
    *slot = *reply;
    tg_ring_push(ring);
    core->notify |= 1u << to;
}

void stress_append(struct core *core, const struct pending *pending)
{
    uint64_t sequence = tg_journal_append(&core->journal);
    core->pending[sequence % TG_JOURNAL_RECORDS] = *pending;
    core->appended = true;
}

void stress_append_unit(struct core *core, const struct eng_unit *unit, struct task *task)
{
    struct address nobody = {.core = core->number, .entry = NO_ENTRY};
    uint64_t sequence = tg_journal_append_unit(&core->journal, unit->count);
    for (uint32_t i = 0; i < unit->count; i++)
        core->pending[(sequence + i) % TG_JOURNAL_RECORDS] =
            (struct pending){.address = nobody, .task = i + 1 == unit->count ? task : NULL};
    core->appended = true;
}

/* --- plain orders --- */

static void answer(struct core *core, const struct address *address, enum tg_verdict verdict,
                   uint64_t order_id, bool replayed)
{
    struct reply reply = {.entry = address->entry, .verdict = verdict, .order_id = order_id};
    core->replays += replayed;
    stress_push_reply(core, address->core, &reply);
}

/* Decides an order for this core's item; answers now or through the journal. */
static void decide(struct core *core, const struct address *address, const struct body *body)
{
    struct tg_order order = stress_order(body);
    struct eng_decision decision;
    struct pending pending = {.address = *address};
    struct tg_record *record = tg_journal_reserve(&core->journal);
    eng_shard_place(core->shard, item_at(body->lines[0].item), &order, now_ms(core), record,
                    &decision);
    if (decision.verdict != TG_ACCEPTED) {
        answer(core, address, decision.verdict, 0, false);
    } else if (!decision.replayed) {
        stress_append(core, &pending);
    } else if (!decision.in_flight) {
        answer(core, address, TG_ACCEPTED, decision.answer.order_id, true);
    } else if (!record) {
        answer(core, address, TG_BUSY, 0, false);
    } else {
        eng_shard_fence(core->shard, decision.slot, decision.generation, now_ms(core), record);
        stress_append(core, &pending);
    }
}

static void complete_order(struct core *core, const struct tg_record *record,
                           const struct address *address)
{
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    if (durable)
        eng_shard_order_durable(core->shard, record);
    else
        eng_shard_order_refused(core->shard, record);
    answer(core, address, durable ? TG_ACCEPTED : TG_STORAGE_FULL, durable ? record->order_id : 0,
           false);
}

static void complete_fence(struct core *core, const struct tg_record *record,
                           const struct address *address)
{
    struct tg_answer first =
        eng_shard_answer(core->shard, record->fence.slot, record->fence.generation);
    answer(core, address, first.verdict, first.order_id, true);
    eng_shard_fence_settle(core->shard, record);
}

/* --- a turn --- */

static bool take_requests(struct core *core)
{
    bool any = false;
    for (uint32_t from = 0; from < CORES; from++) {
        struct tg_ring *ring = &world.requests[from][core->number];
        struct request *request;
        for (; (request = tg_ring_front(ring)); tg_ring_pop(ring)) {
            any = true;
            if (request->hold)
                stress_cart_take(core, request->hold);
            else if (request->task)
                stress_life_start(core, request->task);
            else
                decide(core, &request->address, &request->body);
        }
    }
    return any;
}

static bool take_replies(struct core *core)
{
    bool any = false;
    for (uint32_t from = 0; from < CORES; from++) {
        struct tg_ring *ring = &world.replies[from][core->number];
        const struct reply *reply;
        for (; (reply = tg_ring_front(ring)); tg_ring_pop(ring)) {
            any = true;
            if (reply->hold)
                stress_cart_answered(core, reply->hold);
            else if (reply->task)
                stress_client_task_answered(core, reply->task);
            else
                stress_client_order_answered(core, reply);
        }
    }
    return any;
}

static void complete(struct core *core, const struct tg_record *record,
                     const struct pending *pending)
{
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        complete_order(core, record, &pending->address);
        break;
    case TG_RECORD_FENCE: /* a task is decided again behind it */
        if (!pending->task)
            complete_fence(core, record, &pending->address);
        break;
    case TG_RECORD_CHANGE:
    case TG_RECORD_TEAM:
    case TG_RECORD_SALE_EVENT:
        stress_life_settle(core, record);
        if (pending->task)
            stress_life_recorded(core, pending->task, record);
        break;
    case TG_RECORD_ADJUST:
    case TG_RECORD_SALE:
    case TG_RECORD_GROUP:
        stress_operator_settle(core, record, pending);
        break;
    case TG_RECORD_SALE_STATE:
        promise(false, "a record that nobody wrote");
    }
}

static bool take_completions(struct core *core)
{
    /* What is appended meanwhile is for the next turn: server/core.c. */
    uint64_t left = tg_journal_in_flight(&core->journal), sequence;
    const struct tg_record *record;
    bool any = false;
    for (; left > 0 && (record = tg_journal_completion(&core->journal, &sequence)); left--) {
        struct pending pending = core->pending[sequence % TG_JOURNAL_RECORDS];
        struct task *waiting = record->kind == TG_RECORD_FENCE ? pending.task : NULL;
        promise(record->outcome == TG_OUTCOME_DURABLE || record->outcome == TG_OUTCOME_REFUSED,
                "a completion without an outcome");
        promise(sequence == core->completions, "completion %lu comes as %lu", sequence,
                core->completions);
        core->completions++;
        complete(core, record, &pending);
        tg_journal_release(&core->journal);
        if (waiting)
            stress_life_start(core, waiting);
        any = true;
    }
    return any;
}

static bool has_room(const struct core *core)
{
    return tg_journal_in_flight(&core->journal) < TG_JOURNAL_RECORDS / 2 &&
           core->shard->changes_used < TG_CHANGES_MAX / 2;
}

static void fire(struct core *core, const struct eng_timer *timer)
{
    struct eng_unit unit = {.journal = &core->journal};
    enum eng_step step = eng_timer_fire(core->shard, timer, now_ms(core), &unit);
    promise(step != ENG_LOAD_FAILED && step != ENG_ACQUIRE, "timer %#lx ends with step %u",
            timer->id, step);
    if (step == ENG_RECORDED)
        stress_append_unit(core, &unit, NULL);
    core->fired++;
}

static bool fire_timers(struct core *core)
{
    struct eng_timer timers[TIMERS_AT_ONCE];
    struct tg_fault fault;
    uint32_t fired = 0, due;
    while (fired < TIMERS_A_TURN && has_room(core) &&
           (due = eng_wheel_due(core->shard->wheel, now_ms(core), timers, TIMERS_AT_ONCE)) > 0) {
        promise(sto_reader_pin(core->reader, &fault) == TG_ERR_OK, "%s", fault.text);
        for (uint32_t i = 0; i < due; i++)
            fire(core, &timers[i]);
        sto_reader_unpin(core->reader);
        fired += due;
    }
    return fired > 0;
}

static bool timers_are_due(const struct core *core)
{
    return has_room(core) && eng_wheel_next_ms(core->shard->wheel) <= now_ms(core);
}

/* Nobody runs ahead of the others, so that duels are close and time is about the same for all. At
 * rest time waits for all that is under way. */
bool stress_may_go_on(const struct core *core)
{
    for (uint32_t i = 0; i < CORES; i++)
        if (atomic_load_explicit(&world.cores[i].round_seen, memory_order_relaxed) + 2 <
            core->round)
            return false;
    if (core->round < world.rounds)
        return core->unanswered + ROUND_REQUESTS <= WINDOW;
    return core->round < rounds_in_all() && core->unanswered == 0 &&
           tg_journal_in_flight(&core->journal) == 0;
}

static bool play_round(struct core *core)
{
    if (!stress_may_go_on(core))
        return false;
    if (core->round < world.rounds) {
        stress_client_play(core);
        stress_operator_play(core);
    }
    if (core->round % 16 == 0)
        eng_shard_sweep(core->shard, now_ms(core));
    core->round++;
    /* Relaxed, here and where it is read: pacing must not order what the product leaves unordered.
     */
    atomic_store_explicit(&core->round_seen, core->round, memory_order_relaxed);
    for (uint32_t i = 0; i < CORES; i++) /* they may be waiting for this round */
        core->notify |= 1u << i;
    return true;
}

/* --- the thread --- */

static void wake_others(struct core *core)
{
    if (core->appended)
        tg_waker_wake(&world.writer_waker);
    core->appended = false;
    for (; core->notify != 0; core->notify &= core->notify - 1)
        tg_waker_wake(&world.cores[__builtin_ctz(core->notify)].waker);
}

static bool has_work(void *context)
{
    struct core *core = context;
    if (tg_journal_has_completions(&core->journal) || stress_may_go_on(core) ||
        timers_are_due(core) || atomic_load(&world.cores_stop))
        return true;
    for (uint32_t from = 0; from < CORES; from++)
        if (tg_ring_front(&world.requests[from][core->number]) ||
            tg_ring_front(&world.replies[from][core->number]))
            return true;
    return false;
}

static bool is_done(const struct core *core)
{
    return core->round == rounds_in_all() && core->unanswered == 0 &&
           tg_journal_in_flight(&core->journal) == 0 && !stress_cart_is_busy(core) &&
           !timers_are_due(core);
}

void *stress_core_run(void *argument)
{
    struct core *core = argument;
    while (!atomic_load(&world.cores_stop)) {
        bool busy = take_requests(core);
        busy |= take_replies(core);
        busy |= take_completions(core);
        stress_cart_turn(core);
        busy |= play_round(core);
        busy |= fire_timers(core);
        wake_others(core);
        if (is_done(core))
            atomic_store(&core->done, true);
        /* What waits for room in a ring is not told when there is some. */
        if (!busy && !stress_cart_is_busy(core))
            stress_sleep(&core->waker, has_work, core);
    }
    take_requests(core); /* settlements that were on their way when the last core was done */
    return NULL;
}
