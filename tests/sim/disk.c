/* The writer and the disk: the real storage on a directory in memory, opened once in a life. A
 * crash closes everything without another commit and starts anew from what the storage has. */
#include "tests/sim/sim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REFUSE_ONE_IN = 40,
    UNKNOWN_ONE_IN = 150,
    HOLD_BACK_ONE_IN = 4, /* the watermark comes later than the commit */
    TEMPLATE_BYTES_MAX = 256 << 10,
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

static void open_storage(struct world *world, struct tg_fault *fault)
{
    struct sto_options options = {.data_dir = world->data_dir,
                                  .map_bytes = world->map_bytes,
                                  .items_max = M_ITEMS,
                                  .readers_max = 4,
                                  .log_items_min = 2,
                                  .request_ttl_s = world->ttl_s};
    promise(sto_env_open(&options, &world->storage, fault) == TG_ERR_OK, "%s", fault->text);
}

static void open_life(struct world *world)
{
    struct tg_fault fault = {0};
    struct eng_config config = {
        .shards = (uint32_t)world->shards,
        .sales_max = SIM_SALES + 1,
        .items_max = M_ITEMS,
        .orders_max = world->table_max,
        .holdings_max = world->table_max,
        .timers_max = world->table_max,
        .request_ttl_ms = 1000ll * world->ttl_s,
        .now_ms = world->now_ms,
        .hash_seed = world->seed,
    };
    promise(eng_engine_create(&config, &world->engine, &fault) == TG_ERR_OK, "%s", fault.text);
    open_storage(world, &fault);
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
    sim_disk_drop_sale(world);
}

void sim_disk_drop_sale(struct world *world)
{
    free(world->sale_to_come);
    world->sale_to_come = NULL;
}

/* The file of an empty database, as the storage made it. Each world begins with a copy, laid over
 * the file of the world before: what lies behind its end is never read, and its pages are there. */
static struct {
    uint8_t bytes[TEMPLATE_BYTES_MAX];
    size_t size;
} template;

static int open_file(const struct world *world)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/data.mdb", world->data_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    promise(fd >= 0, "no file of the database");
    return fd;
}

static void keep_template(const struct world *world)
{
    int fd = open_file(world);
    ssize_t size = pread(fd, template.bytes, sizeof(template.bytes), 0);
    close(fd);
    promise(size > 0 && (size_t)size < sizeof(template.bytes), "an empty database is large");
    template.size = (size_t)size;
}

static void lay_template(const struct world *world)
{
    int fd = open_file(world);
    ssize_t size = pwrite(fd, template.bytes, template.size, 0);
    close(fd);
    promise(size == (ssize_t) template.size, "the file of the database cannot be written");
}

void sim_disk_remove(const struct world *world)
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

void sim_disk_prepare(struct world *world)
{
    struct tg_fault fault = {0};
    sim_disk_remove(world);
    world->map_bytes = 1u << 20;
    world->ttl_s = 24 * 3600;
    open_storage(world, &fault);
    sto_env_close(world->storage);
    keep_template(world);
}

void sim_disk_create(struct world *world)
{
    lay_template(world);
    open_life(world);
    for (int i = 0; i < SIM_SALES; i++)
        create_sale(world, i);
    if (world->has_reader)
        sim_outbox_begin(world);
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
}

/* --- recovery --- */

struct recovering {
    struct world *world;
    int sales, orders, teams;
};

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    struct recovering *recovering = context;
    struct world *world = recovering->world;
    const struct m_sale *sale = &world->model.sales[def->sale];
    recovering->sales++;
    promise((def->state == TG_SALE_PAUSED) == sale->is_paused &&
                (def->state == TG_SALE_CLOSED) == sale->is_closed,
            "sale %u is in state %u", def->sale, def->state);
    return eng_engine_restore_sale(&world->engine, def, stocks, fault) == TG_ERR_OK;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    (void)fault;
    sim_outbox_restore(((struct recovering *)context)->world, group);
    return true;
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
        if (m_counts_are_gone(&world->model, i, world->now_ms))
            continue;
        const struct eng_holdings *holdings = &world->engine.shards[item->shard].holdings;
        for (int user = 1; item->per_user_limit && user <= SIM_USERS; user++)
            promise(eng_holdings_units(holdings, (uint64_t)user, item->item) ==
                        m_user_units(&world->model, i, user),
                    "user %d has another count of item %d after a crash", user, i);
    }
}

/* The order that owns the id: the youngest of those that are there. 0: none that is durable. */
static uint64_t owner_of(const struct eng_requests *requests, const struct eng_request_key *key)
{
    uint64_t owner = 0;
    uint32_t place;
    for (uint32_t i = 0; (place = eng_requests_match(requests, key, i)) != ENG_SLOT_NONE; i++) {
        uint64_t order_id = eng_place_is_slot(place)
                                ? requests->orders[place].order_id
                                : eng_requests_entry(requests, place)->order_id;
        owner = order_id > owner ? order_id : owner;
    }
    return owner;
}

/* The engine and the model know the same request ids: an id is forgotten when its time is past, and
 * never before; one that was ingested is known for ever. */
void sim_disk_forgotten(struct world *world)
{
    struct model *m = &world->model;
    for (int i = 0; i < m->order_count; i++) {
        const struct m_order *order = &m->orders[i];
        if (!order->used || !order->durable || !order->settled || order->body.kind == M_INGEST)
            continue;
        const struct eng_requests *requests = &world->engine.shards[order->home].requests;
        struct eng_request_key key = eng_request_key((const uint8_t *)order->body.id, world->seed);
        bool is_known = owner_of(requests, &key) == order->id;
        if (is_known == m->remembered[i])
            continue;
        promise(is_known || world->now_ms - order->accepted_at_ms > 1000ll * world->ttl_s,
                "the request id of order %lu is forgotten before its time",
                (unsigned long)order->id);
        m_remember_order(m, i, is_known);
        world->figures->forgotten += !is_known;
    }
}

static enum tg_error hand_out(struct world *world, struct recovering *recovering,
                              struct tg_fault *fault)
{
    struct sto_recovery recovery = {.context = recovering,
                                    .sale = on_sale,
                                    .group = on_group,
                                    .order = on_order,
                                    .team = on_team};
    struct sto_recovery_stats stats;
    *recovering = (struct recovering){.world = world};
    return sto_recover(world->storage, &recovery, &stats, fault);
}

static void recover(struct world *world)
{
    struct recovering recovering;
    struct tg_fault fault = {0};
    int durable = 0;
    enum tg_error error = hand_out(world, &recovering, &fault);
    /* As the operator is told: raise the limit. More is remembered than before when the clock went
     * back. */
    while (error == TG_ERR_FULL) {
        close_life(world);
        world->table_max *= 2;
        world->figures->raised++;
        open_life(world);
        error = hand_out(world, &recovering, &fault);
    }
    promise(error == TG_ERR_OK, "recovery: %s", fault.text);
    for (int i = 0; i < world->model.order_count; i++)
        durable += world->model.orders[i].used && world->model.orders[i].durable;
    promise(recovering.sales == world->model.sale_count, "%d sales are recovered, not %d",
            recovering.sales, world->model.sale_count);
    promise(recovering.orders == durable, "%d orders were durable, %d are recovered", durable,
            recovering.orders);
    promise(sto_commit_stats(world->storage)->sequence == world->model.sequence,
            "the sequence is %lu after a crash, and was %lu",
            (unsigned long)sto_commit_stats(world->storage)->sequence,
            (unsigned long)world->model.sequence);
    check_teams(world, recovering.teams);
    check_limits(world);
    sim_outbox_restored(world);
    sim_disk_forgotten(world);
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
    world->newest = world->model.sequence;
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

/* A batch that does not fit as a whole may be taken in part: each record says what became of it. */
static void tell_model(struct world *world, const struct part *parts, int count)
{
    for (int p = 0; p < count; p++)
        for (uint64_t at = parts[p].from; at < parts[p].from + parts[p].count; at++) {
            uint64_t slot = at % TG_JOURNAL_RECORDS;
            int change = world->pending[parts[p].core][slot].change;
            if (change == SIM_NOBODY)
                continue;
            const struct tg_record *record = &world->records[parts[p].core][slot];
            if (record->outcome != TG_OUTCOME_DURABLE) {
                m_refuse(&world->model, change);
                continue;
            }
            m_commit(&world->model, change);
            check_ids(world, change, record);
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
    uint64_t dropped = sto_commit_stats(world->storage)->events_dropped;
    struct sto_retention retention = {
        .sequence_max = eng_groups_offset_min(world->engine.groups),
        .before_ms = world->now_ms - world->keep_ms,
        .bytes_max = world->keep_bytes,
    };
    sto_retention_set(world->storage, &retention);
    enum sto_result result = sto_commit(world->storage, batch, &fault);
    promise(result != STO_UNKNOWN, "%s", fault.text);
    world->figures->commits++;
    world->figures->dropped += sto_commit_stats(world->storage)->events_dropped - dropped;
    return result == STO_DURABLE;
}

static void commit_and_tell(struct world *world, const struct sto_batch *batch,
                            const struct part *parts, int count)
{
    bool durable = commit(world, batch);
    tell_model(world, parts, count);
    world->figures->refused += !durable;
    sim_trace(world, "commit: %s", durable ? "durable" : "refused, the map is full");
    sim_mix(world, world->model.sequence);
    promise(sto_commit_stats(world->storage)->sequence == world->model.sequence,
            "the newest sequence is %lu where the model has %lu",
            (unsigned long)sto_commit_stats(world->storage)->sequence,
            (unsigned long)world->model.sequence);
    sim_outbox_check_retained(world);
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
        tell_model(world, parts, count);
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
