/* The table of request ids, looked up by two threads while its shard's thread does all that it does
 * with it: ids come, become durable or are refused, are kept, are forgotten, are drawn back;
 * segments split. Every id that must be there is found, and one that never was there is not. */
#include "engine/requests.h"
#include "base/rng.h"
#include "tests/stress/stress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    TABLES = 6,
    IDS = 40000,       /* of each table */
    REMEMBERED = 6100, /* two segments nearly full, so that many ids lie beyond their homes */
    IN_FLIGHT = 100,
    LOOKERS = 2,
    HASH_SEED = 5,
};

static struct {
    struct eng_requests requests;
    /* Ids from `low` on and below `high` are there, but for the refused ones. The writer says so
     * before it forgets, and after it inserts. */
    _Atomic uint64_t low, high;
    _Atomic bool stop;
    uint64_t looks, in_slots; /* of the lookers, when they have ended */
    uint64_t drawn;           /* words that the sweep drew back */
} table;

static struct eng_request_key key_of(uint64_t number)
{
    uint8_t id[TG_REQUEST_ID_BYTES] = {0};
    memcpy(id, &number, sizeof(number));
    return eng_request_key(id, HASH_SEED);
}

static bool is_refused(uint64_t number)
{
    return number % 8 == 3;
}

static bool is_kept(uint64_t number)
{
    return number % 8 == 5;
}

/* --- the shard --- */

static uint32_t insert(uint64_t number)
{
    struct eng_request_key key = key_of(number);
    uint32_t slot = eng_requests_insert(&table.requests, &key);
    promise(slot != ENG_SLOT_NONE, "no room for id %lu", number);
    table.requests.orders[slot].quantity = 1;
    table.requests.orders[slot].accepted_at_ms = (int64_t)number * 1000;
    return slot;
}

static void settle(uint64_t number, uint32_t slot)
{
    if (is_refused(number)) {
        eng_requests_remove(&table.requests, slot);
        return;
    }
    if (is_kept(number))
        eng_requests_keep(&table.requests, slot);
    eng_requests_durable(&table.requests, slot, number + 1);
}

static void let_go(uint64_t number, uint32_t slot)
{
    if (is_kept(number))
        eng_requests_let_go(&table.requests, slot, table.requests.orders[slot].generation);
}

static void forget(uint64_t before)
{
    atomic_store(&table.low, before);
    eng_requests_sweep(&table.requests, (int64_t)before * 1000, 64);
}

static uint64_t count_drawn(void)
{
    uint64_t buckets = (uint64_t)table.requests.directory.segment_count * ENG_SEGMENT_BUCKETS;
    uint64_t drawn = 0;
    for (uint64_t i = 0; i < buckets; i++)
        drawn += atomic_load(&table.requests.buckets[i].passed) >> 32;
    return drawn;
}

static void fill(void)
{
    static uint32_t slots[2 * IN_FLIGHT];
    for (uint64_t number = 0; number < IDS; number++) {
        uint32_t *slot = &slots[number % (2 * IN_FLIGHT)];
        if (number >= 2 * IN_FLIGHT)
            let_go(number - 2 * IN_FLIGHT, *slot);
        *slot = insert(number);
        atomic_store(&table.high, number + 1);
        if (number >= IN_FLIGHT)
            settle(number - IN_FLIGHT, slots[(number + IN_FLIGHT) % (2 * IN_FLIGHT)]);
        if (number >= REMEMBERED && number % 4 == 0)
            forget(number - REMEMBERED);
    }
}

/* --- those who look --- */

struct looker {
    struct tg_rng rng;
    uint64_t looks, in_slots;
};

/* One of the newest, half of the time: they are about to move. */
static uint64_t draw(struct tg_rng *rng)
{
    uint64_t low = atomic_load(&table.low), high = atomic_load(&table.high);
    uint64_t newest = high - low < 2 * IN_FLIGHT ? low : high - 2 * IN_FLIGHT;
    if (tg_rng_below(rng, 2))
        low = newest;
    return low + tg_rng_below(rng, high - low);
}

static void look(struct looker *looker)
{
    uint64_t number = draw(&looker->rng);
    struct eng_request_key key = key_of(number), stranger = key_of(number + (1ull << 40));
    uint32_t place = eng_requests_find(&table.requests, &key);
    promise(is_refused(number) || place != ENG_SLOT_NONE || number < atomic_load(&table.low),
            "id %lu is not found", number);
    promise(eng_requests_find(&table.requests, &stranger) == ENG_SLOT_NONE,
            "id %lu is taken for one that never came", number);
    looker->looks++;
    looker->in_slots += eng_place_is_slot(place);
}

static void *look_on(void *argument)
{
    struct looker *looker = argument;
    while (!atomic_load(&table.stop))
        if (atomic_load(&table.high) > atomic_load(&table.low))
            look(looker);
    return NULL;
}

/* --- a table --- */

static void play(uint64_t seed)
{
    struct looker lookers[LOOKERS];
    pthread_t threads[LOOKERS];
    struct tg_fault fault;
    promise(eng_requests_create(&table.requests, IDS, HASH_SEED, &fault) == TG_ERR_OK, "%s",
            fault.text);
    atomic_store(&table.low, 0);
    atomic_store(&table.high, 0);
    atomic_store(&table.stop, false);
    for (int i = 0; i < LOOKERS; i++) {
        lookers[i] = (struct looker){.looks = 0};
        tg_rng_init(&lookers[i].rng, seed + (uint64_t)i);
        promise(pthread_create(&threads[i], NULL, look_on, &lookers[i]) == 0, "no thread");
    }
    fill();
    atomic_store(&table.stop, true);
    for (int i = 0; i < LOOKERS; i++) {
        pthread_join(threads[i], NULL);
        table.looks += lookers[i].looks;
        table.in_slots += lookers[i].in_slots;
    }
    table.drawn += count_drawn();
    eng_requests_destroy(&table.requests);
}

void stress_requests_run(uint64_t seed)
{
    for (uint64_t i = 0; i < TABLES; i++)
        play(seed + i * LOOKERS);
    printf("  request ids: %d came, %lu were drawn back; %lu looks, %lu of them met a slot\n",
           TABLES * IDS, table.drawn, table.looks, table.in_slots);
}
