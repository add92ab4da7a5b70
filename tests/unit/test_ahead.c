/* Memory that is touched ahead of the tables that grow into it. */
#include "server/ahead.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP TG_MEM_TABLE_STEP

static struct eng_engine engine;
static struct srv_ahead ahead;

static void setup(void)
{
    struct eng_config config = {
        .shards = 2,
        .sales_max = 16,
        .items_max = 1024,
        .orders_max = 1 << 22,
        .holdings_max = 1 << 22,
        .timers_max = 1 << 22,
        .request_ttl_ms = 1000,
    };
    struct tg_fault fault;
    cr_assert_eq(eng_engine_create(&config, &engine, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(srv_ahead_init(&ahead, &engine, &fault), TG_ERR_OK, "%s", fault.text);
}

static void teardown(void)
{
    tg_waker_fini(&ahead.waker);
    free(ahead.growths);
    eng_engine_destroy(&engine);
}

TestSuite(ahead, .init = setup, .fini = teardown);

/* Whether the page at that place is resident. */
static bool is_resident(const void *table, size_t at)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char resident;
    uint8_t *address = (uint8_t *)table + at - at % page;
    cr_assert_eq(mincore(address, page, &resident), 0);
    return resident & 1;
}

/* The entries of a shard are in use as far as that; with the thread's work done behind it. */
static const void *use_entries(uint32_t shard, size_t bytes)
{
    struct eng_requests *requests = &engine.shards[shard].requests;
    requests->entry_high_water = (uint32_t)(bytes / sizeof(struct eng_entry));
    srv_ahead_tell(&ahead.growths[shard], &engine.shards[shard]);
    /* Told to stop, it does what there is to do all the same, a step of each table. */
    atomic_store(&ahead.stopping, true);
    srv_ahead_run(&ahead);
    return requests->entries;
}

Test(ahead, touches_nothing_of_a_table_that_has_not_grown)
{
    const void *entries = use_entries(0, 0);
    cr_assert_not(is_resident(entries, 0));
    cr_assert_not(is_resident(engine.shards[1].requests.entries, 0));
}

Test(ahead, touches_what_the_table_grows_into_next)
{
    const void *entries = use_entries(0, STEP + STEP / 2);
    /* The core has written to the memory before; in this test nobody has. */
    cr_assert(is_resident(entries, 2 * STEP - 1), "the huge page in use is not there as a whole");
    cr_assert_not(is_resident(entries, 8 * STEP), "more than the next step was touched");
    use_entries(0, STEP + STEP / 2);
    cr_assert(is_resident(entries, 2 * STEP), "the next huge page is not there");
}

Test(ahead, touches_the_tables_of_the_shard_that_told)
{
    use_entries(1, STEP);
    cr_assert(is_resident(engine.shards[1].requests.entries, STEP));
    cr_assert_not(is_resident(engine.shards[0].requests.entries, STEP));
}

Test(ahead, stays_within_the_table)
{
    size_t size = engine.shards[0].requests.orders_max * sizeof(struct eng_entry);
    const void *entries = use_entries(0, size - STEP / 2);
    cr_assert(is_resident(entries, size - 1));
}
