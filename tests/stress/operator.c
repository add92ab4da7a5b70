/* What operators do meanwhile: stock goes up and down on every core; core 0, which owns the
 * catalogue and the groups, makes group-buys that end soon, and consumer groups that come and go.
 */
#include "tests/stress/stress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADJUST_ROUNDS = 4,
    GROUP_ROUNDS = 2,
    ACK_AHEAD = 400, /* events that one ack passes at most */
    STARTS_IN_MS = 100,
    ANCHOR = GROUPS, /* number of the group that stays */
};

/* What is durable of each group; core 0 only. */
static struct {
    char name[TG_GROUP_NAME_BYTES_MAX];
    size_t name_bytes;
    bool exists;
    bool in_flight;
} groups[GROUPS + 1];

/* --- stock --- */

static void adjust(struct core *core)
{
    uint32_t number = core->number + CORES * (uint32_t)tg_rng_below(&core->rng, MAIN_ITEMS / CORES);
    struct tg_record *record = tg_journal_reserve(&core->journal);
    struct eng_adjust change = {
        .delta_units = (int64_t)tg_rng_below(&core->rng, 21) - 8, .reason = "r", .reason_bytes = 1};
    bool changes;
    enum tg_field field;
    enum tg_verdict verdict = eng_shard_adjust(core->shard, item_at(number), &change, now_ms(core),
                                               record, &changes, &field);
    struct pending pending = {.address = {.core = core->number, .entry = NO_ENTRY}};
    promise(verdict != TG_INVALID_ARGUMENT, "an adjustment of %ld is out of range",
            change.delta_units);
    if (changes)
        stress_append(core, &pending);
}

/* --- sales --- */

static struct tg_sale_def *group_buy(const struct core *core, uint64_t sale_id)
{
    struct tg_sale_def *def = tg_sale_def_create(1);
    def->sale_id = sale_id;
    def->kind = TG_SALE_GROUP_BUY;
    def->name_bytes = 4;
    memcpy(def->name, "team", 4);
    memcpy(def->currency, "EUR", TG_CURRENCY_BYTES);
    def->starts_at_ms = now_ms(core) + STARTS_IN_MS;
    def->ends_at_ms = now_ms(core) + SALE_MS;
    def->payment_window_s = WINDOW_S;
    def->team = (struct tg_team_rules){.team_size = TEAM_SIZE,
                                       .at_deadline = TG_DEADLINE_FAIL,
                                       .new_buyers_only = sale_id % 2,
                                       .team_lifetime_s = TG_TEAM_LIFETIME_S_MIN,
                                       .teams_per_user_max = 2};
    if (sale_id % 2) {
        def->team.at_deadline = TG_DEADLINE_AUTO_COMPLETE;
        def->team.team_size_min = 2;
    }
    def->items[0] = (struct tg_item_def){.sku_bytes = 1,
                                         .sku = {'T'},
                                         .list_price_minor = PRICE,
                                         .sale_price_minor = PRICE,
                                         .stock_units = 400,
                                         .stock_policy = TG_POLICY_RESERVE,
                                         .ladder_steps = 1,
                                         .ladder = {{.size = TEAM_SIZE, .unit_price_minor = 80}}};
    return def;
}

static void create_sale(struct core *core)
{
    struct eng_catalog *catalog = &world.engine.catalog;
    struct tg_record *record = tg_journal_reserve(&core->journal);
    struct tg_sale_def *def = group_buy(core, eng_catalog_sale_count(catalog) + 1u);
    struct pending pending = {.address = {.core = core->number, .entry = NO_ENTRY}};
    bool full;
    promise(eng_sale_def_check(def) == TG_FIELD_NONE, "the group-buy is wrong");
    enum tg_verdict verdict = eng_catalog_prepare(catalog, def, &full);
    promise(!full, "there are too many sales for the stress program");
    if (!record || verdict != TG_OK) {
        free(def);
        return;
    }
    *record = (struct tg_record){.kind = TG_RECORD_SALE, .at_ms = now_ms(core), .sale = def};
    stress_append(core, &pending);
}

static void settle_sale(struct core *core, const struct tg_record *record)
{
    struct tg_sale_def *def = record->sale;
    if (record->outcome != TG_OUTCOME_DURABLE) {
        eng_catalog_abandon(&world.engine.catalog, def);
        create_sale(core);
    } else {
        eng_engine_publish_sale(&world.engine, def);
    }
    free(def);
}

/* --- groups --- */

static void anchor_name(void)
{
    groups[ANCHOR].name_bytes =
        (size_t)snprintf(groups[ANCHOR].name, sizeof(groups[ANCHOR].name), "anchor-%d", STARTS_MS);
    groups[ANCHOR].exists = true;
}

void stress_operator_anchor(struct tg_group *group)
{
    anchor_name();
    *group = (struct tg_group){.name_bytes = (uint8_t)groups[ANCHOR].name_bytes,
                               .created_at_ms = STARTS_MS};
    memcpy(group->name, groups[ANCHOR].name, groups[ANCHOR].name_bytes);
}

/* The name says when it was made, so that whoever reads it can tell a mixture of two. */
static enum tg_verdict decide_create(struct core *core, uint32_t number, int *place)
{
    size_t bytes = (size_t)snprintf(groups[number].name, sizeof(groups[number].name), "g%u-%ld",
                                    number, now_ms(core));
    groups[number].name_bytes = bytes;
    return eng_groups_create(world.engine.groups, groups[number].name, bytes,
                             atomic_load(&world.sequence), now_ms(core), place);
}

static enum tg_verdict decide_ack(struct core *core, uint32_t number, int *place)
{
    uint64_t newest = atomic_load(&world.sequence), sequence = atomic_load(&world.consumed);
    struct tg_group group;
    if (number != ANCHOR) {
        int known =
            eng_groups_find(world.engine.groups, groups[number].name, groups[number].name_bytes);
        promise(known >= 0 && eng_groups_get(world.engine.groups, known, &group),
                "group %.*s is not found", (int)groups[number].name_bytes, groups[number].name);
        sequence = group.offset + tg_rng_below(&core->rng, ACK_AHEAD);
    }
    return eng_groups_ack(world.engine.groups, groups[number].name, groups[number].name_bytes,
                          sequence < newest ? sequence : newest, newest, now_ms(core), place);
}

static void append_group(struct core *core, uint32_t number, int place, bool removed)
{
    struct tg_record *record = tg_journal_reserve(&core->journal);
    struct pending pending = {
        .address = {.core = core->number, .entry = NO_ENTRY}, .group = number, .place = place};
    tg_assert(record);
    *record = (struct tg_record){.kind = TG_RECORD_GROUP, .at_ms = now_ms(core)};
    record->group.group = &world.engine.groups->groups[place].next;
    record->group.removed = removed;
    groups[number].in_flight = true;
    stress_append(core, &pending);
}

static void change_group(struct core *core, uint32_t number)
{
    enum tg_verdict verdict;
    bool removes = false;
    int place;
    if (groups[number].in_flight)
        return;
    if (!groups[number].exists) {
        verdict = decide_create(core, number, &place);
    } else if (number != ANCHOR && tg_rng_below(&core->rng, 4) == 0) {
        removes = true;
        verdict = eng_groups_delete(world.engine.groups, groups[number].name,
                                    groups[number].name_bytes, &place);
    } else {
        verdict = decide_ack(core, number, &place);
    }
    promise(verdict == TG_OK, "group %u: %s", number, tg_verdict_name((int)verdict));
    if (place >= 0)
        append_group(core, number, place, removes);
}

static void settle_group(const struct tg_record *record, const struct pending *pending)
{
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    bool removed = record->group.removed;
    uint32_t number = pending->group;
    eng_groups_settle(world.engine.groups, pending->place, removed, durable);
    groups[number].in_flight = false;
    if (!durable)
        return;
    world.groups_made += !groups[number].exists;
    world.acks += groups[number].exists && !removed;
    groups[number].exists = !removed;
}

/* --- all of it --- */

void stress_operator_play(struct core *core)
{
    if (core->round % ADJUST_ROUNDS == 0)
        adjust(core);
    if (core->number != 0)
        return;
    if (core->round % SALE_ROUNDS == 0)
        create_sale(core);
    if (core->round % GROUP_ROUNDS == 0)
        change_group(core, (uint32_t)tg_rng_below(&core->rng, GROUPS));
    else
        change_group(core, ANCHOR);
}

void stress_operator_settle(struct core *core, const struct tg_record *record,
                            const struct pending *pending)
{
    if (record->kind == TG_RECORD_GROUP) {
        settle_group(record, pending);
    } else if (record->kind == TG_RECORD_SALE) {
        settle_sale(core, record);
    } else {
        eng_shard_adjust_settle(core->shard, record);
        if (record->outcome == TG_OUTCOME_DURABLE)
            core->adjusted[record->item] += record->adjust.delta_units;
    }
}
