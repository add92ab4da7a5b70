/* Core threads, a writer and an onlooker on the very structures of the daemon, without sockets: to
 * be run under ThreadSanitizer, which Criterion does not survive.
 *
 *   core k: one shard, one journal, one waker, and a client that sends orders, retries and "duels"
 *           (every core sends an order of its own under one and the same request id)
 *   writer: takes the journals, commits or now and then refuses, publishes, wakes
 *   onlooker: reads every item's stock and every watermark, over and over
 *
 * Promises, each checked: stock adds up at every sample and at the end to exactly the accepted
 * orders; limits hold; a retry gets the first answer; an id is accepted once, whichever shards it
 * was sent to; order ids differ; watermarks only grow; no wake-up is lost.
 *
 * Usage: stress [rounds [seed [data directory]]]; with a directory (which must be empty) the writer
 * commits to LMDB, and the whole database is verified at the end. Exits 1 on a broken promise. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/journal.h"
#include "base/ring.h"
#include "base/rng.h"
#include "base/waker.h"
#include "engine/shard.h"
#include "storage/storage.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CORES = 3,
    ITEMS = 4 * CORES,
    USERS = 500,
    RING = 256,
    WINDOW = 128,       /* unanswered orders of one client */
    ROUND_ORDERS = 4,   /* orders of one client in one round, at most */
    RETRY_ROUNDS = 200, /* how old an order is at most when it is tried again */
    TTL_ROUNDS = 4000,  /* one round is one millisecond of the engine's time */
    STARTS = 1000,
    SLEEP_MS = 2000,
    REFUSE_ONE_IN = 16,
};

#define DUEL_MARK 0xd0e1d0e1d0e1d0e1ull
#define NO_ENTRY  UINT32_MAX

#define promise(holds, ...)                                                                        \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "stress: broken promise (%s:%d): ", __FILE__, __LINE__);               \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "; seed %#lx\n", world.seed);                                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* What a client sent. A retry is an entry of its own that names the first. */
struct entry {
    uint64_t id[2];
    uint64_t user;
    uint64_t order_id; /* of the accepted order, in the entry of the first attempt */
    uint64_t expected; /* a retry that was sent after the answer: the order that must come back */
    uint32_t item;
    uint32_t quantity;
    uint32_t round;
    uint32_t first; /* entry of the first attempt; itself for that */
};

struct address {
    uint32_t core; /* whose client asked */
    uint32_t entry;
};

struct request {
    struct address address;
    struct entry body;
};

struct reply {
    uint32_t entry;
    enum tg_verdict verdict;
    uint64_t order_id;
};

struct core {
    uint32_t number;
    pthread_t thread;
    struct eng_shard *shard;
    struct tg_journal journal;
    struct tg_waker waker;
    struct tg_rng rng;
    struct address *addresses; /* of the journal's records */
    uint64_t completions;
    bool appended;
    uint32_t notify; /* cores to wake */
    /* the client */
    struct entry *log;
    uint32_t log_count;
    uint32_t unanswered;
    uint32_t round;
    uint64_t verdicts[TG_VERDICT_COUNT];
    uint64_t replays;
    int64_t adjusted[ITEMS];     /* durable adjustments of this core's items */
    _Atomic uint32_t round_seen; /* what the others pace themselves by */
    _Atomic bool done;
};

static struct {
    uint64_t seed;
    uint32_t rounds;
    struct eng_engine engine;
    struct core cores[CORES];
    struct tg_ring requests[CORES][CORES]; /* from, to */
    struct tg_ring replies[CORES][CORES];
    struct tg_waker writer_waker;
    _Atomic uint32_t *duels; /* accepted orders of each duel */
    _Atomic bool cores_stop;
    _Atomic bool writer_stop;
    _Atomic bool onlooker_stop;
    struct sto_env *storage; /* NULL: the writer keeps nothing */
    struct tg_sale_def *sale;
    uint64_t samples;
    uint64_t batches;
    uint64_t refused_batches;
} world;

static struct eng_item *item_at(uint32_t number)
{
    return &world.engine.catalog.items[number];
}

static int64_t now_ms(const struct core *core)
{
    return STARTS + core->round;
}

/* --- sleeping --- */

/* Sleeps until woken. A sleeper whose work has lain there for long while nobody woke it was
 * forgotten. */
static void sleep_for_work(struct tg_waker *waker, bool (*has_work)(void *context), void *context)
{
    tg_waker_doze(waker);
    if (!has_work(context)) {
        int64_t before_ns = tg_clock_mono_ns();
        tg_waker_wait(waker, SLEEP_MS);
        bool slept_out = tg_clock_mono_ns() - before_ns >= SLEEP_MS * TG_NS_PER_MS;
        if (slept_out && has_work(context)) {
            usleep(500000); /* it may have come just now: its maker has time to wake */
            struct pollfd wakeup = {.fd = waker->event_fd, .events = POLLIN};
            promise(poll(&wakeup, 1, 0) == 1, "a wake-up was lost");
        }
    }
    tg_waker_rise(waker);
}

/* --- the shard's side of a core --- */

static void reply_to(struct core *core, const struct address *address, enum tg_verdict verdict,
                     uint64_t order_id, bool replayed)
{
    struct reply *reply = tg_ring_reserve(&world.replies[core->number][address->core]);
    tg_assert(reply); /* whoever calls has looked */
    *reply = (struct reply){.entry = address->entry, .verdict = verdict, .order_id = order_id};
    tg_ring_push(&world.replies[core->number][address->core]);
    core->notify |= 1u << address->core;
    core->replays += replayed;
}

static void append(struct core *core, const struct address *address)
{
    uint64_t sequence = tg_journal_append(&core->journal);
    core->addresses[sequence % TG_JOURNAL_RECORDS] = *address;
    core->appended = true;
}

static struct tg_order order_of(const struct entry *body)
{
    struct tg_order order = {
        .sale_id = 1,
        .user_id = body->user,
        .unit_price_minor = 100,
        .quantity = body->quantity,
    };
    memcpy(order.request_id, body->id, sizeof(order.request_id));
    return order;
}

/* Decides an order of this core's items; answers now or through the journal. */
static void decide(struct core *core, const struct address *address, const struct entry *body)
{
    struct tg_order order = order_of(body);
    struct eng_decision decision;
    struct tg_record *record = tg_journal_reserve(&core->journal);
    eng_shard_place(core->shard, item_at(body->item), &order, now_ms(core), record, &decision);
    if (decision.verdict != TG_ACCEPTED) {
        reply_to(core, address, decision.verdict, 0, false);
    } else if (!decision.replayed) {
        append(core, address);
    } else if (!decision.in_flight) {
        struct tg_answer answer = eng_shard_answer(core->shard, decision.slot, decision.generation);
        reply_to(core, address, answer.verdict, answer.order_id, true);
    } else if (!record) {
        reply_to(core, address, TG_BUSY, 0, false);
    } else {
        record->kind = TG_RECORD_FENCE;
        record->outcome = 0;
        record->fence.slot = decision.slot;
        record->fence.generation = decision.generation;
        append(core, address);
    }
}

static bool take_requests(struct core *core)
{
    bool any = false;
    for (uint32_t from = 0; from < CORES; from++) {
        struct tg_ring *ring = &world.requests[from][core->number];
        struct request *request;
        while (tg_ring_reserve(&world.replies[core->number][from]) &&
               (request = tg_ring_front(ring))) {
            decide(core, &request->address, &request->body);
            tg_ring_pop(ring);
            any = true;
        }
    }
    return any;
}

static void complete(struct core *core, const struct tg_record *record,
                     const struct address *address)
{
    struct tg_answer answer;
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    promise(durable || record->outcome == TG_OUTCOME_REFUSED, "a completion without an outcome");
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        if (durable)
            eng_shard_order_durable(core->shard, record);
        else
            eng_shard_order_refused(core->shard, record);
        reply_to(core, address, durable ? TG_ACCEPTED : TG_STORAGE_FULL,
                 durable ? record->order_id : 0, false);
        break;
    case TG_RECORD_ADJUST:
        eng_shard_adjust_settle(core->shard, record);
        if (durable)
            core->adjusted[record->item] += record->adjust.delta_units;
        break;
    case TG_RECORD_FENCE:
        answer = eng_shard_answer(core->shard, record->fence.slot, record->fence.generation);
        reply_to(core, address, answer.verdict, answer.order_id, true);
        break;
    case TG_RECORD_SALE:
    case TG_RECORD_SALE_STATE:
        promise(false, "a record that nobody wrote");
    }
}

static bool take_completions(struct core *core)
{
    bool any = false;
    uint64_t sequence;
    struct tg_record *record;
    while ((record = tg_journal_completion(&core->journal, &sequence))) {
        const struct address *address = &core->addresses[sequence % TG_JOURNAL_RECORDS];
        if (!tg_ring_reserve(&world.replies[core->number][address->core]))
            break;
        promise(sequence == core->completions, "completion %lu comes as %lu", sequence,
                core->completions);
        core->completions++;
        complete(core, record, address);
        tg_journal_release(&core->journal);
        any = true;
    }
    return any;
}

static void adjust_some(struct core *core)
{
    uint32_t number = core->number + CORES * (uint32_t)tg_rng_below(&core->rng, ITEMS / CORES);
    struct tg_record *record = tg_journal_reserve(&core->journal);
    struct eng_adjust change = {
        .delta_units = (int64_t)tg_rng_below(&core->rng, 21) - 8, .reason = "r", .reason_bytes = 1};
    struct address nobody = {.core = core->number, .entry = NO_ENTRY};
    bool changes;
    enum tg_field field;
    enum tg_verdict verdict = eng_shard_adjust(core->shard, item_at(number), &change, now_ms(core),
                                               record, &changes, &field);
    promise(verdict != TG_INVALID_ARGUMENT, "an adjustment of %ld is out of range",
            change.delta_units);
    if (changes)
        append(core, &nobody);
}

/* --- the client's side of a core --- */

static void note_accepted(struct core *core, struct entry *entry, uint64_t order_id)
{
    struct entry *first = &core->log[entry->first];
    promise(order_id != 0, "an accepted order without an id");
    promise(first->order_id == 0 || first->order_id == order_id,
            "a retry got order %lu, the first attempt %lu", order_id, first->order_id);
    if (first->order_id == 0 && first->id[1] == DUEL_MARK)
        promise(atomic_fetch_add(&world.duels[first->id[0]], 1) == 0,
                "request id %lu was accepted by two shards", first->id[0]);
    first->order_id = order_id;
}

static bool take_replies(struct core *core)
{
    bool any = false;
    for (uint32_t from = 0; from < CORES; from++) {
        const struct reply *reply;
        for (; (reply = tg_ring_front(&world.replies[from][core->number]));
             tg_ring_pop(&world.replies[from][core->number])) {
            struct entry *entry = &core->log[reply->entry];
            any = true;
            core->unanswered--;
            core->verdicts[reply->verdict]++;
            if (reply->verdict == TG_ACCEPTED)
                note_accepted(core, entry, reply->order_id);
            promise(entry->expected == 0 || reply->verdict == TG_ACCEPTED ||
                        reply->verdict == TG_BUSY,
                    "the retry of order %lu is refused: %s", entry->expected,
                    tg_verdict_name((int)reply->verdict));
        }
    }
    return any;
}

/* Sends an entry of the log to the owner of its item, or hears from the gate. */
static void send(struct core *core, uint32_t number)
{
    const struct entry *entry = &core->log[number];
    struct address address = {.core = core->number, .entry = number};
    uint32_t owner = item_at(entry->item)->shard;
    struct tg_order order = order_of(entry);
    struct eng_decision decision;
    core->unanswered++;
    if (owner != core->number &&
        eng_gate_refuses(&world.engine, item_at(entry->item), &order, now_ms(core), &decision)) {
        reply_to(core, &address, decision.verdict, 0, false);
        return;
    }
    struct request *request = tg_ring_reserve(&world.requests[core->number][owner]);
    if (!request) {
        reply_to(core, &address, TG_BUSY, 0, false);
        return;
    }
    *request = (struct request){.address = address, .body = *entry};
    tg_ring_push(&world.requests[core->number][owner]);
    core->notify |= 1u << owner;
}

static void send_new(struct core *core, uint64_t id_low, uint64_t id_high, uint32_t item)
{
    uint32_t number = core->log_count++;
    core->log[number] = (struct entry){
        .id = {id_low, id_high},
        .user = tg_rng_below(&core->rng, USERS),
        .item = item,
        .quantity = 1 + (uint32_t)tg_rng_below(&core->rng, 2),
        .round = core->round,
        .first = number,
    };
    send(core, number);
}

static void send_retry(struct core *core)
{
    uint32_t back = 1 + (uint32_t)tg_rng_below(&core->rng, 300);
    if (back > core->log_count)
        return;
    struct entry retry = core->log[core->log[core->log_count - back].first];
    if (core->round - retry.round > RETRY_ROUNDS || retry.id[1] == DUEL_MARK)
        return;
    retry.expected = retry.order_id;
    core->log[core->log_count] = retry;
    send(core, core->log_count++);
}

/* Nobody runs ahead of the others, so that duels are close and time is about the same for all. */
static bool may_go_on(const struct core *core)
{
    for (uint32_t i = 0; i < CORES; i++)
        if (atomic_load(&world.cores[i].round_seen) + 2 < core->round)
            return false;
    return core->round < world.rounds && core->unanswered + ROUND_ORDERS <= WINDOW;
}

static void play_round(struct core *core)
{
    uint64_t random = tg_rng_next(&core->rng);
    send_new(core, core->round, DUEL_MARK, core->number + CORES * (uint32_t)(random % 4));
    for (int i = 0; i < 2; i++)
        send_new(core, tg_rng_next(&core->rng), core->number,
                 (uint32_t)tg_rng_below(&core->rng, ITEMS));
    send_retry(core);
    if (core->round % 8 == 0)
        adjust_some(core);
    if (core->round % 16 == 0)
        eng_shard_sweep(core->shard, now_ms(core));
    core->round++;
    atomic_store(&core->round_seen, core->round == world.rounds ? UINT32_MAX - 2 : core->round);
    for (uint32_t i = 0; i < CORES; i++) /* they may be waiting for this round */
        core->notify |= 1u << i;
}

/* --- the threads --- */

static void wake_others(struct core *core)
{
    if (core->appended)
        tg_waker_wake(&world.writer_waker);
    core->appended = false;
    for (; core->notify != 0; core->notify &= core->notify - 1)
        tg_waker_wake(&world.cores[__builtin_ctz(core->notify)].waker);
}

static bool core_has_work(void *context)
{
    struct core *core = context;
    if (tg_journal_has_completions(&core->journal) || may_go_on(core) ||
        atomic_load(&world.cores_stop))
        return true;
    for (uint32_t from = 0; from < CORES; from++)
        if (tg_ring_front(&world.requests[from][core->number]) ||
            tg_ring_front(&world.replies[from][core->number]))
            return true;
    return false;
}

static void *core_run(void *argument)
{
    struct core *core = argument;
    while (!atomic_load(&world.cores_stop)) {
        bool busy = take_requests(core);
        busy |= take_completions(core);
        busy |= take_replies(core);
        if (may_go_on(core)) {
            play_round(core);
            busy = true;
        }
        wake_others(core);
        if (core->round == world.rounds && core->unanswered == 0 &&
            tg_journal_in_flight(&core->journal) == 0)
            atomic_store(&core->done, true);
        if (!busy)
            sleep_for_work(&core->waker, core_has_work, core);
    }
    return NULL;
}

static bool writer_has_work(void *context)
{
    (void)context;
    for (uint32_t i = 0; i < CORES; i++)
        if (tg_journal_waiting(&world.cores[i].journal) > 0)
            return true;
    return atomic_load(&world.writer_stop);
}

/* The writer without a disk: fills in what storage/commit.c would. */
static void commit_to_nothing(const struct sto_batch *batch, bool refuse, uint64_t *sequence)
{
    for (uint32_t s = 0; s < batch->span_count; s++)
        for (uint32_t i = 0; i < batch->spans[s].count; i++) {
            struct tg_record *record = &batch->spans[s].records[i];
            record->outcome = refuse ? TG_OUTCOME_REFUSED : TG_OUTCOME_DURABLE;
            if (!refuse && record->kind == TG_RECORD_ORDER)
                record->order_id =
                    (++*sequence << TG_PARTITION_BITS) | (record->item % TG_PARTITIONS);
        }
}

static void commit(const struct sto_batch *batch, struct tg_rng *rng, uint64_t *sequence)
{
    struct tg_fault fault = {0};
    bool refuse = tg_rng_below(rng, REFUSE_ONE_IN) == 0;
    world.batches++;
    world.refused_batches += refuse;
    if (refuse || !world.storage)
        commit_to_nothing(batch, refuse, sequence);
    else
        promise(sto_commit(world.storage, batch, &fault) == STO_DURABLE, "%s", fault.text);
}

static void commit_sale(void)
{
    struct tg_fault fault = {0};
    struct tg_record record = {.kind = TG_RECORD_SALE, .sale = world.sale};
    struct sto_batch batch = {.spans = {{.records = &record, .count = 1}}, .span_count = 1};
    promise(sto_commit(world.storage, &batch, &fault) == STO_DURABLE, "%s", fault.text);
}

static void *writer_run(void *argument)
{
    (void)argument;
    struct tg_rng rng;
    struct sto_batch batch;
    uint64_t sequence = 0;
    tg_rng_init(&rng, world.seed ^ 0x777269746572ull);
    if (world.storage)
        commit_sale();
    for (;;) {
        bool stopping = atomic_load(&world.writer_stop);
        batch.span_count = 0;
        for (uint32_t i = 0; i < CORES; i++)
            batch.span_count +=
                tg_journal_take(&world.cores[i].journal, 1 + (uint32_t)tg_rng_below(&rng, 4096),
                                &batch.spans[batch.span_count]);
        if (batch.span_count > 0) {
            commit(&batch, &rng, &sequence);
            for (uint32_t i = 0; i < CORES; i++)
                if (tg_journal_publish(&world.cores[i].journal))
                    tg_waker_wake(&world.cores[i].waker);
        } else if (stopping) {
            return NULL;
        } else {
            sleep_for_work(&world.writer_waker, writer_has_work, NULL);
        }
    }
}

static void *onlooker_run(void *argument)
{
    (void)argument;
    uint64_t durable_last[CORES] = {0};
    while (!atomic_load(&world.onlooker_stop)) {
        for (uint32_t i = 0; i < ITEMS; i++) {
            struct tg_stock stock = eng_item_stock(item_at(i));
            promise(tg_stock_holds(&stock), "item %u: %u + %ld is not %u + %u + %u", i,
                    stock.initial_units, stock.restocked_units, stock.available_units,
                    stock.reserved_units, stock.sold_units);
        }
        for (uint32_t i = 0; i < CORES; i++) {
            struct tg_journal *journal = &world.cores[i].journal;
            uint64_t durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
            uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
            promise(durable >= durable_last[i], "the watermark of core %u went back", i);
            promise(durable <= tail, "core %u: durable %lu is beyond the tail %lu", i, durable,
                    tail);
            durable_last[i] = durable;
        }
        world.samples++;
    }
    return NULL;
}

/* --- building and judging --- */

static void make_sale(void)
{
    bool full;
    world.sale = tg_sale_def_create(ITEMS);
    world.sale->sale_id = 1;
    world.sale->kind = TG_SALE_SECKILL;
    world.sale->name_bytes = 6;
    memcpy(world.sale->name, "stress", 6);
    memcpy(world.sale->currency, "EUR", 3);
    world.sale->starts_at_ms = 0;
    world.sale->ends_at_ms = TG_TIME_MS_MAX;
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct tg_item_def *item = &world.sale->items[i];
        item->sku_bytes = 1;
        item->sku[0] = (uint8_t)('A' + i);
        item->list_price_minor = item->sale_price_minor = 100;
        /* Some sell out and live on restocking, some never do; some have a limit. */
        item->stock_units = i / CORES % 2 ? 300 : 10000000;
        item->per_user_limit = i % 2 ? 40 : 0;
    }
    promise(eng_sale_def_check(world.sale) == TG_FIELD_NONE, "the sale is wrong");
    promise(eng_catalog_prepare(&world.engine.catalog, world.sale, &full) == TG_OK, "no sale");
    eng_catalog_publish(&world.engine.catalog, world.sale);
}

static void make_core(uint32_t number)
{
    struct core *core = &world.cores[number];
    struct tg_fault fault;
    core->number = number;
    core->shard = &world.engine.shards[number];
    core->addresses = calloc(TG_JOURNAL_RECORDS, sizeof(*core->addresses));
    core->log = calloc((size_t)world.rounds * ROUND_ORDERS, sizeof(*core->log));
    tg_journal_init(&core->journal, calloc(TG_JOURNAL_RECORDS, sizeof(struct tg_record)));
    tg_rng_init(&core->rng, world.seed + number);
    promise(tg_waker_init(&core->waker, &fault) == TG_ERR_OK, "%s", fault.text);
    for (uint32_t to = 0; to < CORES; to++) {
        /* A reply waits for its ring: those of one client's window always have room at home. */
        tg_ring_init(&world.requests[number][to], calloc(RING, sizeof(struct request)),
                     sizeof(struct request), RING);
        tg_ring_init(&world.replies[number][to], calloc(RING, sizeof(struct reply)),
                     sizeof(struct reply), RING);
    }
    _Static_assert(WINDOW < RING, "a client's own answers always have room");
}

static void make_world(const char *data_dir)
{
    struct eng_config config = {
        .shards = CORES,
        .sales_max = 1,
        .items_max = ITEMS,
        .orders_max = 5000,
        .holdings_max = 50000,
        .request_ttl_ms = TTL_ROUNDS,
        .hash_seed = world.seed,
    };
    struct tg_fault fault;
    promise(eng_engine_create(&config, &world.engine, &fault) == TG_ERR_OK, "%s", fault.text);
    make_sale();
    world.duels = calloc(world.rounds, sizeof(*world.duels));
    promise(tg_waker_init(&world.writer_waker, &fault) == TG_ERR_OK, "%s", fault.text);
    for (uint32_t i = 0; i < CORES; i++)
        make_core(i);
    struct sto_options options = {
        .data_dir = data_dir, .map_bytes = 1ull << 32, .items_max = ITEMS, .readers_max = 4};
    if (data_dir)
        promise(sto_env_open(&options, &world.storage, &fault) == TG_ERR_OK, "%s", fault.text);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void check_ids(uint64_t *ids, uint64_t count)
{
    qsort(ids, count, sizeof(*ids), compare_ids);
    for (uint64_t i = 1; i < count; i++)
        promise(ids[i] != ids[i - 1], "order %lu belongs to two requests", ids[i]);
}

/* Adds up what the clients were told, and compares it with the engine. Returns the orders. */
static uint64_t check_books(void)
{
    static uint32_t held[ITEMS][USERS];
    uint64_t reserved[ITEMS] = {0}, orders = 0;
    int64_t restocked[ITEMS] = {0};
    uint64_t *ids = calloc((size_t)world.rounds * ROUND_ORDERS * CORES, sizeof(*ids));
    for (uint32_t c = 0; c < CORES; c++) {
        const struct core *core = &world.cores[c];
        for (uint32_t i = 0; i < core->log_count; i++) {
            const struct entry *entry = &core->log[i];
            if (entry->first != i || entry->order_id == 0)
                continue;
            ids[orders++] = entry->order_id;
            reserved[entry->item] += entry->quantity;
            held[entry->item][entry->user] += entry->quantity;
        }
        for (uint32_t i = 0; i < ITEMS; i++)
            restocked[i] += core->adjusted[i];
    }
    check_ids(ids, orders);
    free(ids);
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct tg_stock stock = eng_item_stock(item_at(i));
        uint32_t limit = item_at(i)->per_user_limit;
        promise(tg_stock_holds(&stock), "item %u does not add up at the end", i);
        promise(stock.reserved_units == reserved[i], "item %u: %u reserved, but %lu accepted", i,
                stock.reserved_units, reserved[i]);
        promise(stock.restocked_units == restocked[i], "item %u: %ld restocked, not %ld", i,
                stock.restocked_units, restocked[i]);
        promise(item_at(i)->orders_in_flight == 0, "item %u has orders in flight", i);
        for (uint32_t user = 0; limit && user < USERS; user++)
            promise(held[i][user] <= limit, "user %u has %u of item %u", user, held[i][user], i);
    }
    return orders;
}

static void check_storage(const char *data_dir, uint64_t orders)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    sto_env_close(world.storage);
    promise(sto_verify(data_dir, NULL, NULL, NULL, &report, &fault) == TG_ERR_OK, "%s", fault.text);
    promise(report.orders == orders, "%lu orders are stored, %lu were accepted", report.orders,
            orders);
}

static void print_figures(uint64_t orders)
{
    uint64_t verdicts[TG_VERDICT_COUNT] = {0}, replays = 0, duels = 0;
    for (uint32_t c = 0; c < CORES; c++) {
        replays += world.cores[c].replays;
        for (int v = 0; v < TG_VERDICT_COUNT; v++)
            verdicts[v] += world.cores[c].verdicts[v];
    }
    for (uint32_t i = 0; i < world.rounds; i++)
        duels += atomic_load(&world.duels[i]);
    for (int v = 1; v < TG_VERDICT_COUNT; v++)
        if (verdicts[v])
            printf("  %-20s %lu\n", tg_verdict_name(v), verdicts[v]);
    printf("  %lu orders, %lu replayed, %lu of %u duels won, %lu batches (%lu refused), "
           "%lu samples\n",
           orders, replays, duels, world.rounds, world.batches, world.refused_batches,
           world.samples);
}

static void wait_until_done(void)
{
    for (uint32_t i = 0; i < CORES; i++)
        while (!atomic_load(&world.cores[i].done))
            usleep(1000);
}

int main(int argc, char **argv)
{
    world.rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000;
    world.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x7374726573ull;
    const char *data_dir = argc > 3 ? argv[3] : NULL;
    printf("stress: %d cores, %u rounds, seed %#lx, %s\n", CORES, world.rounds, world.seed,
           data_dir ? data_dir : "no disk");
    make_world(data_dir);

    pthread_t writer, onlooker;
    pthread_create(&writer, NULL, writer_run, NULL);
    pthread_create(&onlooker, NULL, onlooker_run, NULL);
    for (uint32_t i = 0; i < CORES; i++)
        pthread_create(&world.cores[i].thread, NULL, core_run, &world.cores[i]);
    wait_until_done();
    atomic_store(&world.cores_stop, true);
    for (uint32_t i = 0; i < CORES; i++)
        tg_waker_wake(&world.cores[i].waker);
    for (uint32_t i = 0; i < CORES; i++)
        pthread_join(world.cores[i].thread, NULL);
    atomic_store(&world.writer_stop, true);
    tg_waker_wake(&world.writer_waker);
    pthread_join(writer, NULL);
    atomic_store(&world.onlooker_stop, true);
    pthread_join(onlooker, NULL);

    uint64_t orders = check_books();
    if (data_dir)
        check_storage(data_dir, orders);
    print_figures(orders);
    return 0;
}
