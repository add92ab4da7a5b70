#include "server/ahead.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Growth that is worth telling. */
#define TOLD_BYTES (TG_MEM_TABLE_STEP / 4)
/* The thread is woken; this is for a clock that nobody would miss. */
#define SLEEP_MS   10000
#define NICE       10

enum tg_error srv_ahead_init(struct srv_ahead *ahead, struct eng_engine *engine,
                             struct tg_fault *fault)
{
    ahead->count = engine->config.shards;
    ahead->growths = calloc(ahead->count, sizeof(*ahead->growths));
    if (!ahead->growths)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the growth of tables");
    for (uint32_t i = 0; i < ahead->count; i++) {
        struct srv_growth *growth = &ahead->growths[i];
        growth->ahead = ahead;
        eng_shard_extents(&engine->shards[i], growth->extents);
        for (int table = 0; table < ENG_EXTENTS; table++) {
            growth->told[table] = growth->touched[table] = growth->extents[table].used;
            atomic_store_explicit(&growth->used[table], growth->extents[table].used,
                                  memory_order_relaxed);
        }
    }
    return tg_waker_init(&ahead->waker, fault);
}

void srv_ahead_tell(struct srv_growth *growth, const struct eng_shard *shard)
{
    struct tg_extent extents[ENG_EXTENTS];
    bool is_news = false;
    eng_shard_extents(shard, extents);
    for (int table = 0; table < ENG_EXTENTS; table++) {
        if (extents[table].used - growth->told[table] < TOLD_BYTES)
            continue;
        growth->told[table] = extents[table].used;
        /* A number, and nothing behind it: the memory itself is the kernel's to order. */
        atomic_store_explicit(&growth->used[table], extents[table].used, memory_order_relaxed);
        is_news = true;
    }
    if (is_news)
        tg_waker_wake(&growth->ahead->waker);
}

/* Where a table of that much in use should be touched to. */
static size_t wanted(const struct tg_extent *extent, size_t used)
{
    size_t more = used / 4;
    if (more < TG_MEM_TABLE_STEP)
        more = TG_MEM_TABLE_STEP;
    if (more > SRV_AHEAD_BYTES_MAX)
        more = SRV_AHEAD_BYTES_MAX;
    return more < extent->size - used ? used + more : extent->size;
}

/* Touches one step of a table. True: there is more to do. */
static bool touch(struct srv_growth *growth, int table)
{
    const struct tg_extent *extent = &growth->extents[table];
    size_t used = atomic_load_explicit(&growth->used[table], memory_order_relaxed);
    if (used == extent->used)
        return false; /* as at the start: an idle daemon stays small */
    size_t at = growth->touched[table];
    if (at < used)
        at = used;
    /* A step ends where a huge page ends. Memory that is no multiple of pages is touched by the
     * kernel as far as its last page goes. */
    at -= at % TG_MEM_TABLE_STEP;
    size_t end = wanted(extent, used);
    if (growth->touched[table] >= end)
        return false;
    size_t size = end - at < TG_MEM_TABLE_STEP ? end - at : TG_MEM_TABLE_STEP;
    growth->touched[table] = at + TG_MEM_TABLE_STEP;
    return tg_mem_touch(extent->memory + at, size) && growth->touched[table] < end;
}

/* A step of each table in turn, until all are as far as they should be. */
static void touch_all(struct srv_ahead *ahead)
{
    bool more;
    do {
        more = false;
        for (uint32_t i = 0; i < ahead->count; i++)
            for (int table = 0; table < ENG_EXTENTS; table++)
                more = touch(&ahead->growths[i], table) || more;
    } while (more && !atomic_load_explicit(&ahead->stopping, memory_order_acquire));
}

void *srv_ahead_run(void *argument)
{
    struct srv_ahead *ahead = argument;
    /* Whoever has orders to look at goes first; not to the end of this, for it holds a lock of the
     * kernel's for the length of a step. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    for (;;) {
        tg_waker_doze(&ahead->waker);
        touch_all(ahead);
        if (atomic_load_explicit(&ahead->stopping, memory_order_acquire))
            return NULL;
        tg_waker_wait(&ahead->waker, SLEEP_MS);
        tg_waker_rise(&ahead->waker);
    }
}

void srv_ahead_stop(struct srv_ahead *ahead)
{
    atomic_store_explicit(&ahead->stopping, true, memory_order_release);
    tg_waker_wake(&ahead->waker);
    pthread_join(ahead->thread, NULL);
    tg_waker_fini(&ahead->waker);
    free(ahead->growths);
}
