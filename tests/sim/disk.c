/* The writer and the disk: the real storage on a directory in memory, opened once in a life. A
 * crash closes everything without another commit and starts anew from what the storage has. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REFUSE_ONE_IN = 40,
    UNKNOWN_ONE_IN = 150,
    HOLD_BACK_ONE_IN = 4, /* the watermark comes later than the commit */
    TABLE_MAX = 8192,
    TTL_S = 24 * 3600,
};

/* --- what the engine loads --- */

static enum eng_load loaded(enum tg_error error, const struct tg_fault *fault)
{
    if (error == TG_ERR_NOTFOUND)
        return ENG_ABSENT;
    promise(error == TG_ERR_OK, "%s", fault->text);
    return ENG_LOADED;
}

static enum eng_load load_order(void *context, uint64_t order_id, struct tg_order_row *row,
                                struct tg_life *life, bool *has_life)
{
    struct world *world = context;
    struct tg_fault fault = {0};
    enum eng_load load =
        loaded(sto_read_order(world->reader, order_id, row, life, has_life, &fault), &fault);
    if (load == ENG_LOADED && !*has_life)
        eng_life_initial(sim_item(world, (int)row->item), row, life);
    return load;
}

static enum eng_load load_team(void *context, uint64_t team_id, struct tg_team *team)
{
    struct world *world = context;
    struct tg_fault fault = {0};
    return loaded(sto_read_team(world->reader, team_id, team, &fault), &fault);
}

static enum eng_load load_ingested(void *context, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                   uint64_t *order_id)
{
    struct world *world = context;
    struct tg_fault fault = {0};
    return loaded(sto_read_ingested(world->reader, request_id, order_id, &fault), &fault);
}

/* --- a life --- */

static void open_life(struct world *world)
{
    struct tg_fault fault = {0};
    struct eng_config config = {
        .shards = (uint32_t)world->shards,
        .sales_max = SIM_SALES,
        .items_max = M_ITEMS,
        .orders_max = TABLE_MAX,
        .holdings_max = TABLE_MAX,
        .timers_max = TABLE_MAX,
        .request_ttl_ms = 1000ll * TTL_S,
        .now_ms = world->now_ms,
        .hash_seed = world->seed,
    };
    struct sto_options options = {.data_dir = world->data_dir,
                                  .map_bytes = world->map_bytes,
                                  .items_max = M_ITEMS,
                                  .readers_max = 4,
                                  .request_ttl_s = TTL_S};
    promise(eng_engine_create(&config, &world->engine, &fault) == TG_ERR_OK, "%s", fault.text);
    promise(sto_env_open(&options, &world->storage, &fault) == TG_ERR_OK, "%s", fault.text);
    promise(sto_reader_open(world->storage, &world->reader, &fault) == TG_ERR_OK, "%s", fault.text);
    for (int i = 0; i < world->shards; i++) {
        tg_journal_init(&world->journals[i], world->records[i]);
        world->taken[i] = 0;
        world->engine.shards[i].loader = (struct eng_loader){
            .context = world, .order = load_order, .team = load_team, .ingested = load_ingested};
    }
    world->unpublished = false;
}

static void close_life(struct world *world)
{
    sto_reader_close(world->reader);
    sto_env_close(world->storage);
    eng_engine_destroy(&world->engine);
}

static void remove_files(const struct world *world)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", world->data_dir, names[i]);
        unlink(path);
    }
    rmdir(world->data_dir);
}

static void create_sale(struct world *world, int number)
{
    struct tg_fault fault = {0};
    bool full;
    struct tg_sale_def *def = sim_clients_sale(world, number);
    promise(eng_sale_def_check(def) == TG_FIELD_NONE, "sale %d: %s", number,
            tg_field_name(eng_sale_def_check(def)));
    promise(eng_catalog_prepare(&world->engine.catalog, def, &full) == TG_OK, "no sale %d", number);
    struct tg_record record = {.kind = TG_RECORD_SALE, .at_ms = world->now_ms, .sale = def};
    struct sto_batch batch = {.spans = {{.records = &record, .count = 1}}, .span_count = 1};
    promise(sto_commit(world->storage, &batch, &fault) == STO_DURABLE, "%s", fault.text);
    eng_engine_publish_sale(&world->engine, def);
    free(def);
}

void sim_disk_create(struct world *world)
{
    remove_files(world);
    open_life(world);
    for (int i = 0; i < SIM_SALES; i++)
        create_sale(world, i);
}

static void print_finding(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "  %s\n", line);
}

void sim_disk_destroy(struct world *world, bool verify)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    close_life(world);
    if (verify) {
        promise(sto_verify(world->data_dir, print_finding, NULL, NULL, &report, &fault) ==
                    TG_ERR_OK,
                "verify: %s", fault.text);
        world->figures->verified++;
    }
    remove_files(world);
}

/* --- recovery --- */

struct recovering {
    struct world *world;
    int orders, teams;
};

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    struct world *world = ((struct recovering *)context)->world;
    const struct m_sale *sale = &world->model.sales[def->sale];
    promise((def->state == TG_SALE_PAUSED) == sale->is_paused, "sale %u is %spaused", def->sale,
            sale->is_paused ? "not " : "");
    return eng_engine_restore_sale(&world->engine, def, stocks, fault) == TG_ERR_OK;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    (void)context;
    (void)group;
    (void)fault;
    promise(false, "a consumer group that nobody made");
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    struct recovering *recovering = context;
    struct world *world = recovering->world;
    struct tg_life initial;
    int place = m_find(&world->model, row->order_id);
    promise(place != M_NONE, "order %lu is recovered, which was never durable",
            (unsigned long)row->order_id);
    if (!life)
        eng_life_initial(sim_item(world, (int)row->item), row, &initial);
    sim_compare_order(world, place, row, life ? life : &initial, &world->model.orders[place]);
    recovering->orders++;
    world->figures->recovered++;
    return eng_engine_restore_order(&world->engine, row, life, world->now_ms, fault) == TG_ERR_OK;
}

static bool on_team(void *context, const struct tg_team *team, struct tg_fault *fault)
{
    struct recovering *recovering = context;
    recovering->teams++;
    return eng_engine_restore_team(&recovering->world->engine, team, fault) == TG_ERR_OK;
}

static void check_teams(struct world *world, int restored)
{
    int open = 0;
    for (int i = 0; i < world->model.team_count; i++) {
        const struct m_team *expected = &world->model.teams[i];
        struct tg_team team;
        if (!expected->durable || !expected->used)
            continue;
        promise(load_team(world, expected->id, &team) == ENG_LOADED, "team %lu is lost",
                (unsigned long)expected->id);
        sim_compare_team(world, &team, expected);
        open += expected->state == TG_TEAM_PENDING || expected->state == TG_TEAM_OPEN;
    }
    promise(open == restored, "%d teams go on after a crash, not %d", restored, open);
}

/* A day after a sale's end nobody is held against what was counted, and it is not put back. */
static void check_limits(struct world *world)
{
    for (int i = 0; i < world->model.item_count; i++) {
        const struct eng_item *item = sim_item(world, i);
        if (world->now_ms >= item->ends_at_ms + ENG_COUNTS_KEPT_MS)
            continue;
        const struct eng_holdings *holdings = &world->engine.shards[item->shard].holdings;
        for (int user = 1; item->per_user_limit && user <= SIM_USERS; user++)
            promise(eng_holdings_units(holdings, (uint64_t)user, item->item) ==
                        m_user_units(&world->model, i, user),
                    "user %d has another count of item %d after a crash", user, i);
    }
}

static void recover(struct world *world)
{
    struct recovering recovering = {.world = world};
    struct sto_recovery recovery = {.context = &recovering,
                                    .sale = on_sale,
                                    .group = on_group,
                                    .order = on_order,
                                    .team = on_team};
    struct sto_recovery_stats stats;
    struct tg_fault fault = {0};
    int durable = 0;
    promise(sto_recover(world->storage, &recovery, &stats, &fault) == TG_ERR_OK, "recovery: %s",
            fault.text);
    for (int i = 0; i < world->model.order_count; i++)
        durable += world->model.orders[i].used && world->model.orders[i].durable;
    promise(recovering.orders == durable, "%d orders were durable, %d are recovered", durable,
            recovering.orders);
    promise(sto_commit_stats(world->storage)->sequence == world->model.sequence,
            "the sequence is %lu after a crash, and was %lu",
            (unsigned long)sto_commit_stats(world->storage)->sequence,
            (unsigned long)world->model.sequence);
    check_teams(world, recovering.teams);
    check_limits(world);
    sim_compare_stock(world);
}

void sim_disk_crash(struct world *world)
{
    world->figures->crashes++;
    sim_trace(world, "CRASH");
    close_life(world);
    sim_node_forget(world);
    m_crash(&world->model);
    const char *broken = m_broken(&world->model);
    promise(!broken, "%s", broken);
    /* The machine's clock may have been set while it was down. */
    if (sim_one_in(world, 4))
        world->now_ms -= sim_below(world, 3000);
    else
        world->now_ms += sim_below(world, sim_one_in(world, 4) ? 90000 : 500);
    if (world->map_bytes < 64u << 20)
        world->map_bytes *= 4;
    open_life(world);
    recover(world);
}

/* --- the writer --- */

static void publish(struct world *world)
{
    for (int i = 0; i < world->shards; i++)
        tg_journal_publish(&world->journals[i]);
    world->unpublished = false;
}

struct part {
    int core;
    uint64_t from;
    uint32_t count;
};

static int gather(struct world *world, bool calm, struct sto_batch *batch,
                  struct part parts[SIM_SHARDS])
{
    int count = 0;
    batch->span_count = 0;
    for (int i = 0; i < world->shards; i++) {
        uint32_t most = calm ? TG_COMMIT_RECORDS_MAX : 1 + sim_below(world, 60);
        if (!calm && sim_one_in(world, 4))
            continue;
        struct tg_span *spans = &batch->spans[batch->span_count];
        uint32_t got = tg_journal_take(&world->journals[i], most, spans);
        struct part part = {.core = i, .from = world->taken[i]};
        for (uint32_t s = 0; s < got; s++)
            part.count += spans[s].count;
        batch->span_count += got;
        world->taken[i] += part.count;
        if (part.count > 0)
            parts[count++] = part;
    }
    return count;
}

/* The orders that the batch made have the ids that the model gave them. */
static void check_ids(const struct world *world, int number, const struct tg_record *record)
{
    const struct m_change *change = &world->model.changes[number];
    if (!change->creates)
        return;
    uint64_t expected = world->model.orders[change->moved[0].order].id;
    if (record->kind == TG_RECORD_ORDER || record->kind == TG_RECORD_CHANGE)
        promise(record->order_id == expected, "an order is number %lu where %lu comes next",
                (unsigned long)record->order_id, (unsigned long)expected);
}

static void tell_model(struct world *world, const struct part *parts, int count, bool durable)
{
    for (int p = 0; p < count; p++)
        for (uint64_t at = parts[p].from; at < parts[p].from + parts[p].count; at++) {
            uint64_t slot = at % TG_JOURNAL_RECORDS;
            int change = world->pending[parts[p].core][slot].change;
            if (change == SIM_NOBODY)
                continue;
            if (!durable) {
                m_refuse(&world->model, change);
                continue;
            }
            m_commit(&world->model, change);
            check_ids(world, change, &world->records[parts[p].core][slot]);
        }
}

static void refuse(const struct sto_batch *batch)
{
    for (uint32_t s = 0; s < batch->span_count; s++)
        for (uint32_t i = 0; i < batch->spans[s].count; i++) {
            batch->spans[s].records[i].outcome = TG_OUTCOME_REFUSED;
            batch->spans[s].records[i].order_id = 0;
        }
}

/* Returns whether the batch is durable. */
static bool commit(struct world *world, const struct sto_batch *batch)
{
    struct tg_fault fault = {0};
    enum sto_result result = sto_commit(world->storage, batch, &fault);
    promise(result != STO_UNKNOWN, "%s", fault.text);
    world->figures->commits++;
    return result == STO_DURABLE;
}

static void commit_and_tell(struct world *world, const struct sto_batch *batch,
                            const struct part *parts, int count)
{
    bool durable = commit(world, batch);
    tell_model(world, parts, count, durable);
    world->figures->refused += !durable;
    sim_trace(world, "commit: %s", durable ? "durable" : "refused, the map is full");
    sim_mix(world, world->model.sequence);
    promise(sto_commit_stats(world->storage)->sequence == world->model.sequence,
            "the newest sequence is %lu where the model has %lu",
            (unsigned long)sto_commit_stats(world->storage)->sequence,
            (unsigned long)world->model.sequence);
}

bool sim_disk_write(struct world *world, bool calm)
{
    struct sto_batch batch;
    struct part parts[SIM_SHARDS];
    if (world->unpublished) {
        publish(world);
        return true;
    }
    int count = gather(world, calm, &batch, parts);
    if (count == 0)
        return false;
    if (!calm && sim_one_in(world, REFUSE_ONE_IN)) {
        sim_trace(world, "commit: refused, the disk is full");
        world->figures->refused++;
        refuse(&batch);
        tell_model(world, parts, count, false);
    } else if (!calm && sim_one_in(world, UNKNOWN_ONE_IN)) {
        bool happened = sim_one_in(world, 2);
        world->figures->unknown++;
        sim_trace(world, "commit: unknown, %s", happened ? "and it is there" : "it is not there");
        if (happened)
            commit_and_tell(world, &batch, parts, count);
        sim_disk_crash(world);
        return true;
    } else {
        commit_and_tell(world, &batch, parts, count);
    }
    world->unpublished = true;
    if (calm || !sim_one_in(world, HOLD_BACK_ONE_IN))
        publish(world);
    return true;
}

/* --- the outbox --- */

/* The state that an event of an order brings it to; 0: none. `from` is where it may come from. */
static int state_after(int type, uint64_t *from)
{
#define FROM(state) (1ull << TG_ORDER_##state)
    switch (type) {
    case TG_EVENT_ORDER_PLACED:
        *from = 1;
        return TG_ORDER_RESERVED;
    case TG_EVENT_ORDER_PAID:
        *from = FROM(RESERVED) | FROM(EXPIRED);
        return TG_ORDER_PAID;
    case TG_EVENT_ORDER_AWAITING_TEAM:
        *from = FROM(PAID);
        return TG_ORDER_AWAITING_TEAM;
    case TG_EVENT_ORDER_CONFIRMED:
        *from = FROM(PAID) | FROM(AWAITING_TEAM);
        return TG_ORDER_CONFIRMED;
    case TG_EVENT_ORDER_SHIPPED:
        *from = FROM(CONFIRMED);
        return TG_ORDER_SHIPPED;
    case TG_EVENT_ORDER_DELIVERED:
        *from = FROM(SHIPPED);
        return TG_ORDER_DELIVERED;
    case TG_EVENT_ORDER_COMPLETED:
        *from = FROM(DELIVERED);
        return TG_ORDER_COMPLETED;
    case TG_EVENT_ORDER_EXPIRED:
        *from = FROM(RESERVED);
        return TG_ORDER_EXPIRED;
    case TG_EVENT_ORDER_CANCELLED:
        *from = FROM(RESERVED) | FROM(AWAITING_TEAM);
        return TG_ORDER_CANCELLED;
    case TG_EVENT_ORDER_TEAM_FAILED:
        *from = FROM(AWAITING_TEAM);
        return TG_ORDER_TEAM_FAILED;
    case TG_EVENT_ORDER_REFUND_DUE:
        *from = FROM(CONFIRMED) | FROM(SHIPPED) | FROM(DELIVERED) | FROM(EXPIRED) |
                FROM(CANCELLED) | FROM(TEAM_FAILED) | FROM(REFUNDED);
        return TG_ORDER_REFUND_DUE;
    case TG_EVENT_ORDER_REFUNDED:
        *from = FROM(REFUND_DUE);
        return TG_ORDER_REFUNDED;
    default:
        return 0;
    }
#undef FROM
}

static void read_order_event(struct world *world, const struct tg_event *event)
{
    int place = m_find(&world->model, event->order_id);
    uint64_t from;
    promise(place != M_NONE, "event %lu tells of order %lu, which is nowhere",
            (unsigned long)event->sequence, (unsigned long)event->order_id);
    world->seen_events[place][event->type]++;
    int state = state_after(event->type, &from);
    if (state == 0)
        return;
    promise(from >> world->seen_states[place] & 1, "order %lu goes from %s to %s",
            (unsigned long)event->order_id, tg_order_state_name(world->seen_states[place]),
            tg_order_state_name(state));
    world->seen_states[place] = (uint8_t)state;
}

static void read_event(struct world *world, const struct tg_event *event)
{
    world->events_read++;
    world->figures->events++;
    promise(event->sequence == world->events_read, "event %lu comes as number %lu",
            (unsigned long)event->sequence, (unsigned long)world->events_read);
    if (event->type >= TG_EVENT_TEAM_OPENED && event->type <= TG_EVENT_TEAM_CAPTAIN_CHANGED) {
        int team = m_find_team(&world->model, event->team_id);
        promise(team != M_NONE, "an event of team %lu, which is nowhere",
                (unsigned long)event->team_id);
        world->seen_team_events[team][event->type]++;
    } else if (event->order_id != 0) {
        read_order_event(world, event);
    }
}

/* Everything that became of an order is told, once. */
static void check_told(struct world *world)
{
    for (int i = 0; i < world->model.order_count; i++) {
        const struct m_order *order = &world->model.orders[i];
        if (!order->used || !order->durable)
            continue;
        promise(order->state == world->seen_states[i],
                "the events of order %lu end in %s, it is %s", (unsigned long)order->id,
                tg_order_state_name(world->seen_states[i]), tg_order_state_name(order->state));
        for (int type = 1; type < TG_EVENT_TYPE_COUNT; type++)
            promise(order->events[type] == world->seen_events[i][type],
                    "order %lu has %u events %s, not %u", (unsigned long)order->id,
                    world->seen_events[i][type], tg_event_type_name(type), order->events[type]);
    }
    for (int i = 0; i < world->model.team_count; i++)
        for (int type = 1; type < TG_EVENT_TYPE_COUNT; type++)
            promise(!world->model.teams[i].used || !world->model.teams[i].durable ||
                        world->model.teams[i].events[type] == world->seen_team_events[i][type],
                    "team %lu has %u events %s", (unsigned long)world->model.teams[i].id,
                    world->seen_team_events[i][type], tg_event_type_name(type));
}

void sim_disk_read_events(struct world *world)
{
    struct tg_event events[128];
    struct tg_fault fault = {0};
    uint32_t filled;
    do {
        uint64_t next, first, last;
        promise(sto_read_events(world->reader, world->events_read, UINT64_MAX, 128, 128, events,
                                &filled, &next, &first, &last, &fault) == TG_ERR_OK,
                "%s", fault.text);
        promise(last == world->model.sequence, "the outbox ends at %lu, not at %lu",
                (unsigned long)last, (unsigned long)world->model.sequence);
        for (uint32_t i = 0; i < filled; i++)
            read_event(world, &events[i]);
    } while (filled > 0);
    check_told(world);
}
