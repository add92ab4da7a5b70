/* The scheduler: which of the parts goes on next. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <string.h>

enum {
    TIME_ONE_IN_JUMPS = 30,
    ENGINE_FROM = 290, /* of the kinds of steps: clients only, below */
    TABLE_MAX = 2048,  /* more than a world fills */
    PAGE_BYTES = 4096,
    SMALL_MAP_BYTES_MAX = 16 << 20,
    CRASH_OFTEN = 400, /* steps */
    CRASH_RARELY = 4000,
    DAY_MS = 24 * 3600 * 1000,
};

void sim_trace(const struct world *world, const char *format, ...)
{
    if (!world->traces)
        return;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "  %5u  %8.3f s  ", world->step, (double)(world->now_ms - SIM_START_MS) / 1000);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* --- steps --- */

static void pass_time(struct world *world)
{
    int64_t ms = 1 + sim_below(world, 40);
    if (sim_one_in(world, 3))
        ms = sim_below(world, 8000);
    if (sim_one_in(world, TIME_ONE_IN_JUMPS))
        ms = 10000 + sim_below(world, 70000);
    world->now_ms += ms;
    if (ms > 1000)
        sim_trace(world, "time goes on by %ld ms", (long)ms);
}

static int any_core(struct world *world)
{
    return (int)sim_below(world, (uint32_t)world->shards);
}

static bool complete_some(struct world *world)
{
    int first = any_core(world);
    for (int i = 0; i < world->shards; i++)
        if (sim_node_complete(world, (first + i) % world->shards, 1 + sim_below(world, 12)))
            return true;
    return false;
}

static void sweep(struct world *world, int core)
{
    if (eng_shard_sweep(&world->engine.shards[core], world->now_ms) > 0)
        sim_disk_forgotten(world);
}

static void read_outbox(struct world *world)
{
    if (!world->has_reader)
        return;
    sim_outbox_read(world);
    if (sim_one_in(world, 2))
        sim_clients_ack(world);
}

static void step(struct world *world)
{
    uint32_t kind = sim_below(world, 1000);
    bool moved = true;
    if (kind < 230)
        sim_clients_ask(world);
    else if (kind < ENGINE_FROM)
        sim_clients_ask_again(world);
    else if (kind < 700)
        moved = sim_clients_deliver(world);
    else if (kind < 800)
        moved = sim_node_notes(world);
    else if (kind < 890)
        moved = complete_some(world);
    else if (kind < 940)
        moved = sim_disk_write(world, false);
    else if (kind < 970)
        sim_node_timers(world, any_core(world), sim_one_in(world, 2));
    else if (kind < 990)
        pass_time(world);
    else if (kind < 996)
        sweep(world, any_core(world));
    else if (kind < 998)
        sim_outbox_peek(world);
    else
        read_outbox(world);
    if (!moved)
        sim_clients_deliver(world);
    if (sim_one_in(world, world->crash_one_in))
        sim_disk_crash(world);
    if (kind >= ENGINE_FROM)
        sim_compare_stock(world);
    sim_mix(world, kind);
    world->kinds[world->step] = (uint16_t)kind;
}

/* --- the end of a world: calm comes --- */

static void come_to_rest(struct world *world)
{
    for (int round = 0; round < 10000; round++) {
        bool any = sim_disk_write(world, true);
        for (int i = 0; i < world->shards; i++)
            any = sim_node_complete(world, i, UINT32_MAX) || any;
        any = sim_node_notes(world) || any;
        if (!any && sim_node_is_idle(world))
            return;
    }
    promise(false, "the server does not come to rest: somebody waits for ever");
}

static void wait_and_rest(struct world *world, int64_t ms)
{
    world->now_ms += ms;
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < world->shards; i++)
            sim_node_timers(world, i, true);
        come_to_rest(world);
        world->now_ms += 1500;
    }
    sim_compare_stock(world);
}

/* Nothing waits for a time that is past, and nothing is left locked, held or promised. */
static void check_rest(struct world *world)
{
    const struct model *m = &world->model;
    for (int i = 0; i < m->order_count; i++)
        promise(!m->orders[i].used || m->orders[i].state != TG_ORDER_RESERVED ||
                    m->orders[i].deadline_ms == 0,
                "order %lu was not paid, and has not expired", (unsigned long)m->orders[i].id);
    for (int i = 0; i < m->team_count; i++)
        promise(!m->teams[i].used ||
                    (m->teams[i].state != TG_TEAM_OPEN && m->teams[i].state != TG_TEAM_PENDING),
                "team %lu has not ended", (unsigned long)m->teams[i].id);
    for (int i = 0; i < m->sale_count; i++)
        promise(m->sales[i].started && m->sales[i].ended, "sale %d was not announced", i);
    for (int i = 0; i < world->shards; i++) {
        const struct eng_shard *shard = &world->engine.shards[i];
        uint32_t promised = i == 0 ? 2 * (uint32_t)(m->sales_to_come - m->sale_count) : 0;
        promise(shard->locks.count == 0 && shard->changes_used == 0 && shard->teams_used == 0 &&
                    shard->timers_promised == promised,
                "shard %d at rest has %u locks, %u changes, %u teams, %u promised timers", i,
                shard->locks.count, shard->changes_used, shard->teams_used, shard->timers_promised);
    }
}

/* Nothing is left in the tables of what nobody asks about any more: what was full has room again.
 */
static void check_tables(struct world *world)
{
    for (int i = 0; i < world->shards; i++) {
        const struct eng_shard *shard = &world->engine.shards[i];
        for (int round = 0; round < 40; round++)
            sweep(world, i);
        promise(shard->requests.count == 0 && shard->holdings.count == 0 &&
                    eng_wheel_count(shard->wheel) == 0,
                "shard %d after 35 days has %u request ids, %u counts, %u timers", i,
                shard->requests.count, shard->holdings.count, eng_wheel_count(shard->wheel));
    }
}

static void deliver_all(struct world *world)
{
    while (sim_clients_deliver(world))
        continue;
    come_to_rest(world);
}

/* The reader acks all, and what is committed then drops the rest: a little with each commit. */
static void check_outbox(struct world *world)
{
    for (int i = 0; i < 4 && world->has_reader; i++) {
        sim_outbox_read(world);
        sim_clients_ack(world);
        deliver_all(world);
    }
    uint64_t commits = world->figures->commits;
    for (int i = 0; i < 24 && world->keep_bytes == 0; i++) {
        sim_clients_toggle_group(world);
        deliver_all(world);
    }
    if (world->figures->commits > commits + 10)
        sim_outbox_check_dropped(world);
}

static void end_world(struct world *world)
{
    tg_rng_init(&world->rng, tg_mix64(world->seed ^ tg_mix64(world->step)));
    sim_trace(world, "calm: everything is delivered, time goes on until nothing waits");
    /* A start has nothing left over: what a life leaves behind shows without one. */
    bool crashes = world->map_bytes < SMALL_MAP_BYTES_MAX || world->seed % 2;
    if (world->map_bytes < SMALL_MAP_BYTES_MAX)
        world->map_bytes = SMALL_MAP_BYTES_MAX;
    if (crashes)
        sim_disk_crash(world);
    deliver_all(world);
    wait_and_rest(world, 30000);
    wait_and_rest(world, 35ll * DAY_MS);
    check_outbox(world);
    check_rest(world);
    check_tables(world);
    if (world->has_reader)
        sim_outbox_read(world);
    sim_disk_crash(world);
    const char *broken = m_broken(&world->model);
    promise(!broken, "%s", broken);
}

/* --- a world --- */

/* Most worlds have room and time; in some a table is small, ids are forgotten, events dropped. */
static void choose_limits(struct world *world)
{
    world->table_max = sim_one_in(world, 6) ? 16 + sim_below(world, 100) : TABLE_MAX;
    world->ttl_s = sim_one_in(world, 4) ? 10 + sim_below(world, 60) : 24 * 3600;
    world->keep_bytes = sim_one_in(world, 2) ? 0 : UINT64_MAX;
    world->keep_ms = sim_one_in(world, 2) ? sim_below(world, 20000) : 35ll * DAY_MS;
    world->closes = sim_one_in(world, 3);
    world->has_reader = !sim_one_in(world, 6);
}

static void begin(struct world *world, uint64_t seed)
{
    struct model *m = &world->model;
    for (int i = 0; i < m->change_high; i++)
        m->changes[i].used = false;
    for (int i = 0; i < m->order_count; i++)
        m->orders[i].used = false;
    memset(world->seen_events, 0, (size_t)m->order_count * sizeof(world->seen_events[0]));
    memset(world->seen_states, 0, (size_t)m->order_count);
    memset(world->seen_team_events, 0, (size_t)m->team_count * sizeof(world->seen_team_events[0]));
    world->seed = seed;
    world->hash = seed;
    memset(world->about, 0, sizeof(world->about));
    memset(world->story, 0, sizeof(world->story));
    world->sale_to_come = NULL; /* a child that died may have left it */
    world->step = 0;
    world->now_ms = SIM_START_MS;
    world->ask_count = world->wire_count = 0;
    world->events_read = world->newest = 0;
    sim_node_forget(world);
    tg_rng_init(&world->rng, seed);
    world->shards = 1 + (int)sim_below(world, SIM_SHARDS);
    world->map_bytes = sim_one_in(world, 8) ? (36 + sim_below(world, 16)) * PAGE_BYTES : 64u << 20;
    choose_limits(world);
    world->crash_one_in = sim_one_in(world, 8) ? CRASH_OFTEN : CRASH_RARELY;
    sim_clients_rules(world);
    m_begin(m, world->shards);
}

void sim_world_play(struct world *world, uint64_t seed, const uint8_t *steps, uint32_t last_step)
{
    begin(world, seed);
    sim_disk_create(world);
    for (world->step = 1; world->step <= SIM_STEPS && world->step <= last_step; world->step++) {
        if (steps && !(steps[world->step / 8] >> world->step % 8 & 1))
            continue;
        tg_rng_init(&world->rng, tg_mix64(seed ^ tg_mix64(world->step)));
        world->figures->steps++;
        step(world);
    }
    if (last_step <= SIM_STEPS) {
        sim_disk_destroy(world, false);
        return;
    }
    end_world(world);
    for (int i = 0; i < world->model.order_count; i++)
        world->figures->orders += world->model.orders[i].used;
    sim_disk_destroy(world, seed % 16 == 0);
    world->figures->worlds++;
}
