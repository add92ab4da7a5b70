/* Core threads, a writer and onlookers on the very structures of the daemon, without sockets: to be
 * run under ThreadSanitizer, which Criterion does not survive. stress.h tells who does what.
 *
 * Promises, each checked: stock adds up at every sample and at the end to exactly the durable
 * orders; limits hold; a retry gets the first answer; an id is accepted once, whichever shards it
 * was sent to; no payment and no cancellation that was answered OK is lost; what is not paid
 * expires and every team ends; carts take all or nothing and leave no unit held; the outbox is
 * dense and keeps what a group has not acked; groups are read as one; watermarks only grow; no
 * wake-up is lost; the database verifies.
 *
 * Usage: stress [rounds [seed [data directory]]]; the directory must be empty, and is kept. Exits 1
 * on a broken promise. */
#include "tests/stress/stress.h"

#include "base/clock.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLEEP_MS = 2000,
    READERS = 2,
};

struct world world;

/* --- what all of them use --- */

struct tg_order stress_order(const struct body *body)
{
    struct tg_order order = {
        .sale_id = item_at(body->lines[0].item)->sale->sale_id,
        .user_id = body->user,
        .unit_price_minor = body->lines[0].unit_price_minor,
        .quantity = body->lines[0].quantity,
    };
    memcpy(order.request_id, body->id, sizeof(order.request_id));
    return order;
}

void *stress_alloc(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    promise(memory, "no memory");
    return memory;
}

void stress_sleep(struct tg_waker *waker, bool (*has_work)(void *context), void *context)
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

/* --- building --- */

/* Some sell out and live on restocking and on what returns, some never do; some have a limit. */
static void fill_item(struct tg_item_def *item, uint32_t number)
{
    static const struct {
        enum tg_stock_policy policy;
        uint32_t stock_units;
        uint32_t per_user_limit;
    } kinds[ITEM_KINDS] = {
        {TG_POLICY_RESERVE, 10000000, 0}, {TG_POLICY_RESERVE, 300, 4},
        {TG_POLICY_RESERVE, 10000000, 3}, {TG_POLICY_ON_PLACE, 300, 0},
        {TG_POLICY_ON_PAYMENT, 300, 4},
    };
    uint32_t kind = number / CORES;
    item->sku_bytes = 1;
    item->sku[0] = (uint8_t)('A' + number);
    item->list_price_minor = item->sale_price_minor = PRICE;
    item->stock_policy = (uint8_t)kinds[kind].policy;
    item->stock_units = kinds[kind].stock_units;
    item->per_user_limit = kinds[kind].per_user_limit;
}

/* The first sale never ends, the anchor group is there before the first event: both durable. */
static void make_durable(struct tg_sale_def *def, struct tg_group *anchor)
{
    struct tg_fault fault = {0};
    struct tg_record records[] = {{.kind = TG_RECORD_SALE, .at_ms = STARTS_MS, .sale = def},
                                  {.kind = TG_RECORD_GROUP, .at_ms = STARTS_MS}};
    records[1].group.group = anchor;
    struct sto_batch batch = {.spans = {{.records = records, .count = 2}}, .span_count = 1};
    promise(sto_commit(world.storage, &batch, &fault) == STO_DURABLE, "%s", fault.text);
}

static void make_sale(void)
{
    bool full;
    struct tg_group anchor;
    struct tg_sale_def *def = tg_sale_def_create(MAIN_ITEMS);
    def->sale_id = 1;
    def->kind = TG_SALE_SECKILL;
    def->name_bytes = 6;
    memcpy(def->name, "stress", 6);
    memcpy(def->currency, "EUR", TG_CURRENCY_BYTES);
    def->ends_at_ms = TG_TIME_MS_MAX;
    def->payment_window_s = WINDOW_S;
    def->refund_auto_max_minor = PRICE; /* larger ones wait for an operator */
    for (uint32_t i = 0; i < MAIN_ITEMS; i++)
        fill_item(&def->items[i], i);
    promise(eng_sale_def_check(def) == TG_FIELD_NONE, "the sale is wrong");
    promise(eng_catalog_prepare(&world.engine.catalog, def, &full) == TG_OK, "no sale");
    stress_operator_anchor(&anchor);
    make_durable(def, &anchor);
    eng_engine_publish_sale(&world.engine, def);
    promise(eng_groups_restore(world.engine.groups, &anchor), "no group");
    free(def);
}

static struct sto_reader *make_reader(void)
{
    struct sto_reader *reader;
    struct tg_fault fault;
    promise(sto_reader_open(world.storage, &reader, &fault) == TG_ERR_OK, "%s", fault.text);
    return reader;
}

static void make_core(uint32_t number)
{
    struct core *core = &world.cores[number];
    struct tg_fault fault;
    core->number = number;
    core->shard = &world.engine.shards[number];
    core->timers_promised = core->shard->timers_promised;
    core->reader = make_reader();
    core->shard->loader = stress_loader(core);
    core->pending = stress_alloc(TG_JOURNAL_RECORDS, sizeof(*core->pending));
    core->log = stress_alloc((size_t)world.rounds * ROUND_ORDERS, sizeof(*core->log));
    core->accepted = stress_alloc((size_t)world.rounds * ROUND_ORDERS, sizeof(*core->accepted));
    tg_journal_init(&core->journal, stress_alloc(TG_JOURNAL_RECORDS, sizeof(struct tg_record)));
    tg_rng_init(&core->rng, world.seed + number);
    promise(tg_waker_init(&core->waker, &fault) == TG_ERR_OK, "%s", fault.text);
    for (uint32_t to = 0; to < CORES; to++) {
        tg_ring_init(&world.requests[number][to],
                     stress_alloc(REQUEST_RING, sizeof(struct request)), sizeof(struct request),
                     REQUEST_RING);
        tg_ring_init(&world.replies[number][to], stress_alloc(REPLY_RING, sizeof(struct reply)),
                     sizeof(struct reply), REPLY_RING);
    }
}

static void make_world(const char *data_dir)
{
    struct eng_config config = {
        .shards = CORES,
        .sales_max = SALES_MAX,
        .items_max = ITEMS_MAX,
        .orders_max = 5000,
        .holdings_max = 50000,
        .timers_max = 2000,
        .request_ttl_ms = TTL_MS,
        .now_ms = STARTS_MS,
        .hash_seed = world.seed,
    };
    struct sto_options options = {.data_dir = data_dir,
                                  .map_bytes = 1ull << 32,
                                  .items_max = ITEMS_MAX,
                                  .readers_max = CORES + READERS + 1,
                                  .request_ttl_s = TTL_MS / 1000};
    struct tg_fault fault;
    promise(eng_engine_create(&config, &world.engine, &fault) == TG_ERR_OK, "%s", fault.text);
    promise(sto_env_open(&options, &world.storage, &fault) == TG_ERR_OK, "%s", fault.text);
    promise(tg_waker_init(&world.writer_waker, &fault) == TG_ERR_OK, "%s", fault.text);
    world.duels = stress_alloc(world.rounds, sizeof(*world.duels));
    for (uint32_t i = 0; i < CORES; i++)
        make_core(i);
    make_sale();
}

/* --- running --- */

static pthread_t start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    promise(pthread_create(&thread, NULL, run, argument) == 0, "no thread");
    return thread;
}

static void run_cores(void)
{
    for (uint32_t i = 0; i < CORES; i++)
        world.cores[i].thread = start(stress_core_run, &world.cores[i]);
    for (uint32_t i = 0; i < CORES; i++)
        while (!atomic_load(&world.cores[i].done))
            usleep(1000);
    atomic_store(&world.cores_stop, true);
    for (uint32_t i = 0; i < CORES; i++)
        tg_waker_wake(&world.cores[i].waker);
    for (uint32_t i = 0; i < CORES; i++)
        pthread_join(world.cores[i].thread, NULL);
}

static void run_world(void)
{
    struct sto_reader *readers[READERS] = {make_reader(), make_reader()};
    pthread_t writer = start(stress_writer_run, NULL);
    pthread_t onlookers[] = {start(stress_onlooker_run, NULL),
                             start(stress_consumer_run, readers[0]),
                             start(stress_reader_run, readers[1])};
    run_cores();
    atomic_store(&world.writer_stop, true);
    tg_waker_wake(&world.writer_waker);
    pthread_join(writer, NULL);
    atomic_store(&world.onlookers_stop, true);
    for (size_t i = 0; i < sizeof(onlookers) / sizeof(onlookers[0]); i++)
        pthread_join(onlookers[i], NULL);
    for (uint32_t i = 0; i < CORES; i++)
        sto_reader_close(world.cores[i].reader);
    for (int i = 0; i < READERS; i++)
        sto_reader_close(readers[i]);
}

/* --- judging --- */

static void print_finding(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "  %s\n", line);
}

static void check_storage(const char *data_dir, uint64_t orders)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    uint64_t dropped = sto_commit_stats(world.storage)->events_dropped;
    sto_env_close(world.storage);
    promise(sto_verify(data_dir, print_finding, NULL, NULL, &report, &fault) == TG_ERR_OK, "%s",
            fault.text);
    promise(report.orders == orders, "%lu orders are stored, %lu were accepted", report.orders,
            orders);
    printf("  verified: %lu orders, %lu changed, %lu teams, %lu events (%lu dropped)\n",
           report.orders, report.lives, report.teams, report.events, dropped);
}

static void print_verdicts(const char *what, size_t offset)
{
    printf("  %s:", what);
    for (int v = 1; v < TG_VERDICT_COUNT; v++) {
        uint64_t count = 0;
        for (uint32_t c = 0; c < CORES; c++)
            count += ((const uint64_t *)(const void *)((const char *)&world.cores[c] + offset))[v];
        if (count)
            printf(" %s %lu", tg_verdict_name(v), count);
    }
    printf("\n");
}

static void print_events(void)
{
    printf("  events:");
    for (int type = 1; type < TG_EVENT_TYPE_COUNT; type++)
        if (world.events[type])
            printf(" %s %lu", tg_event_type_name(type), world.events[type]);
    printf("\n");
}

static void print_figures(uint64_t orders)
{
    struct core all = {0};
    uint64_t duels = 0;
    for (uint32_t c = 0; c < CORES; c++) {
        all.replays += world.cores[c].replays;
        all.fired += world.cores[c].fired;
        all.waited += world.cores[c].waited;
        all.held += world.cores[c].held;
        all.late += world.cores[c].late;
        all.denied += world.cores[c].denied;
        all.queued += world.cores[c].queued;
    }
    for (uint32_t i = 0; i < world.rounds; i++)
        duels += atomic_load(&world.duels[i]);
    print_verdicts("orders", offsetof(struct core, order_verdicts));
    print_verdicts("changes", offsetof(struct core, change_verdicts));
    print_events();
    printf("  %lu orders, %lu replayed, %lu of %u duels won, %lu timers fired\n", orders,
           all.replays, duels, world.rounds, all.fired);
    printf("  %lu waited behind a fence; %lu asked other cores for units (%lu for a payment), %lu "
           "in vain; %lu messages waited for room\n",
           all.waited, all.held, all.late, all.denied, all.queued);
    printf("  %lu batches (%lu refused), %lu groups made, %lu acks, %lu samples, %lu snapshots\n",
           world.batches, world.refused_batches, world.groups_made, world.acks, world.samples,
           world.snapshots);
}

static void remove_dir(const char *data_dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", data_dir, names[i]);
        unlink(path);
    }
    rmdir(data_dir);
}

int main(int argc, char **argv)
{
    char own_dir[] = "/tmp/tidegate-stress-XXXXXX";
    world.rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 3000;
    world.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x7374726573ull;
    const char *data_dir = argc > 3 ? argv[3] : mkdtemp(own_dir);
    promise(data_dir, "no data directory");
    promise(world.rounds / SALE_ROUNDS + 2 < SALES_MAX, "%u rounds are too many", world.rounds);
    printf("stress: %d cores, %u rounds, seed %#lx, data in %s\n", CORES, world.rounds, world.seed,
           data_dir);
    stress_requests_run(world.seed);
    make_world(data_dir);
    run_world();
    uint64_t orders = stress_books_check();
    print_figures(orders);
    check_storage(data_dir, orders);
    if (argc <= 3)
        remove_dir(data_dir);
    return 0;
}
