/* What the engine's files share to record a change: blocks, bodies, timers that are promised. */
#include "engine/change.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct world {
    struct eng_engine engine;
    struct tg_journal journal;
    struct eng_shard *shard;
};

static void world_make(struct world *world)
{
    struct eng_config config = {
        .shards = 2,
        .sales_max = 1,
        .items_max = 4,
        .orders_max = 4,
        .holdings_max = 4,
        .timers_max = 4,
        .request_ttl_ms = 1000,
        .hash_seed = 3,
    };
    struct tg_fault fault;
    memset(world, 0, sizeof(*world));
    cr_assert_eq(eng_engine_create(&config, &world->engine, &fault), TG_ERR_OK);
    tg_journal_init(&world->journal, calloc(TG_JOURNAL_RECORDS, sizeof(struct tg_record)));
    world->shard = &world->engine.shards[1]; /* no sale has timers there */
}

static void world_free(struct world *world)
{
    free(world->journal.records);
    eng_engine_destroy(&world->engine);
}

/* --- blocks --- */

Test(change, a_block_is_given_once_and_comes_clean)
{
    struct world world;
    world_make(&world);
    struct tg_change *one = eng_change_take(world.shard), *two = eng_change_take(world.shard);
    cr_assert_neq(one, two);
    memset(one, 0xa5, sizeof(*one));
    eng_change_free(world.shard, one);
    struct tg_change *again = eng_change_take(world.shard);
    cr_assert_eq(again, one);
    cr_assert_eq(again->slot, ENG_SLOT_NONE);
    cr_assert_not(again->creates);
    cr_assert_eq(again->event_count, 0);
    cr_assert_eq(again->lock_id, 0);
    cr_assert_eq(again->life.state, 0);
    cr_assert_eq(again->life.payment_count, 0);
    cr_assert_eq(again->life.refunded_at_ms, 0);
    world_free(&world);
}

Test(change, room_is_told_before_it_is_needed)
{
    struct world world;
    world_make(&world);
    struct eng_unit unit = {.journal = &world.journal};
    cr_assert(eng_change_room(world.shard, &unit, TG_UNIT_RECORDS_MAX, TG_CHANGES_MAX, 1));
    cr_assert_not(eng_change_room(world.shard, &unit, TG_UNIT_RECORDS_MAX + 1, 1, 1));
    struct tg_change *change = eng_change_take(world.shard);
    struct tg_team *team = eng_change_team_take(world.shard);
    cr_assert_not(eng_change_room(world.shard, &unit, 1, TG_CHANGES_MAX, 1));
    cr_assert_not(eng_change_room(world.shard, &unit, 1, 1, TG_CHANGES_MAX));
    eng_change_free(world.shard, change);
    eng_change_team_free(world.shard, team);
    cr_assert(eng_change_room(world.shard, &unit, 1, TG_CHANGES_MAX, TG_CHANGES_MAX));
    tg_journal_append_unit(&world.journal, TG_JOURNAL_RECORDS - 2);
    cr_assert(eng_change_room(world.shard, &unit, 2, 1, 1));
    cr_assert_not(eng_change_room(world.shard, &unit, 3, 1, 1), "the journal is full");
    unit.count = 1;
    cr_assert_not(eng_change_room(world.shard, &unit, 2, 1, 1), "one slot is filled");
    world_free(&world);
}

Test(change, every_block_of_a_pool_can_be_used_and_comes_back)
{
    struct world world;
    world_make(&world);
    for (int round = 0; round < 2; round++) {
        struct tg_team *teams[100];
        for (uint32_t i = 0; i < 100; i++) {
            teams[i] = eng_change_team_take(world.shard);
            teams[i]->seat_count = 9;
            for (uint32_t other = 0; other < i; other++)
                cr_assert_neq(teams[i], teams[other]);
        }
        for (uint32_t i = 0; i < 100; i++)
            eng_change_team_free(world.shard, teams[i]);
        cr_assert_eq(world.shard->teams_used, 0);
        cr_assert_eq(world.shard->team_high_water, 100, "the second round uses those of the first");
    }
    cr_assert_eq(eng_change_team_take(world.shard)->seat_count, 0);
    world_free(&world);
}

/* --- units --- */

Test(change, records_of_a_unit_lie_side_by_side_and_all_but_the_last_have_more)
{
    struct world world;
    world_make(&world);
    struct eng_unit unit = {.journal = &world.journal};
    struct tg_change *created = eng_change_take(world.shard);
    struct tg_change *changed = eng_change_take(world.shard);
    struct tg_team *team = eng_change_team_take(world.shard);
    created->creates = true;
    created->row.item = 3;
    changed->row.item = 1;
    changed->row.order_id = 77;
    team->item = 3;
    memset(world.journal.records, 0xff, 3 * sizeof(struct tg_record));
    eng_unit_change(&unit, created, 5);
    cr_assert_eq(world.journal.records[0].more, 0);
    eng_unit_change(&unit, changed, 5);
    eng_unit_team(&unit, team, TG_EVENT_TEAM_OPENED, 5);
    const struct tg_record *records = world.journal.records;
    cr_assert_eq(unit.count, 3);
    cr_assert_eq(tg_journal_in_flight(&world.journal), 0, "the caller appends");
    cr_assert(records[0].more && records[1].more && !records[2].more);
    cr_assert_eq(records[0].kind, TG_RECORD_CHANGE);
    cr_assert_eq(records[0].order_id, 0, "the writer gives it");
    cr_assert_eq(records[0].item, 3);
    cr_assert_eq(records[0].change, created);
    cr_assert_eq(records[1].order_id, 77);
    cr_assert_eq(records[2].kind, TG_RECORD_TEAM);
    cr_assert_eq(records[2].team.team, team);
    cr_assert_eq(records[2].team.event, TG_EVENT_TEAM_OPENED);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(records[i].outcome, 0);
        cr_assert_eq(records[i].at_ms, 5);
    }
    world_free(&world);
}

/* --- bodies --- */

static struct tg_order_row row_make(void)
{
    struct tg_order_row row = {
        .user_id = 42,
        .unit_price_minor = 100,
        .item = 2,
        .quantity = 3,
        .channel = 7,
        .external_bytes = 3,
    };
    memcpy(row.external_id, "abc", 3);
    return row;
}

static bool same(const struct world *world, const struct tg_order_row *a,
                 const struct tg_order_row *b)
{
    struct eng_body first = eng_body_of_row(&world->engine, a);
    struct eng_body second = eng_body_of_row(&world->engine, b);
    return memcmp(&first, &second, sizeof(first)) == 0;
}

Test(change, a_plain_order_has_one_body_on_the_wire_and_in_its_row)
{
    struct world world;
    world_make(&world);
    struct tg_order_row row = row_make();
    struct eng_item item = {.item = 2};
    struct tg_order order = {.user_id = 42,
                             .unit_price_minor = 100,
                             .quantity = 3,
                             .channel = 7,
                             .external_id = (const uint8_t *)"abc",
                             .external_bytes = 3};
    struct eng_body wire = eng_body_of(world.shard, &item, &order);
    struct eng_body stored = eng_body_of_row(&world.engine, &row);
    cr_assert_eq(memcmp(&wire, &stored, sizeof(wire)), 0);
    order.external_bytes = row.external_bytes = 0;
    wire = eng_body_of(world.shard, &item, &order);
    stored = eng_body_of_row(&world.engine, &row);
    cr_assert_eq(memcmp(&wire, &stored, sizeof(wire)), 0);
    world_free(&world);
}

Test(change, a_body_is_all_that_the_caller_said_and_nothing_else)
{
    struct world world;
    world_make(&world);
    struct tg_order_row row = row_make(), other = row;
    other.order_id = 5;
    other.accepted_at_ms = 6;
    memset(other.request_id, 7, sizeof(other.request_id));
    cr_assert(same(&world, &row, &other));
#define DIFFERS(change)                                                                            \
    do {                                                                                           \
        other = row;                                                                               \
        change;                                                                                    \
        cr_assert_not(same(&world, &row, &other), #change);                                        \
    } while (0)
    DIFFERS(other.user_id++);
    DIFFERS(other.unit_price_minor++);
    DIFFERS(other.item++);
    DIFFERS(other.quantity++);
    DIFFERS(other.channel++);
    DIFFERS(other.external_bytes--);
    DIFFERS(other.external_id[1]++);
    DIFFERS(other.flags = TG_ORDER_CAPTAIN);
    DIFFERS(other.flags = TG_ORDER_JOINER);
    DIFFERS(other.flags = TG_ORDER_INGESTED);
    row.flags = TG_ORDER_JOINER;
    row.team_id = 9;
    DIFFERS(other.team_id++);
    row.flags = TG_ORDER_CART;
    row.line_count = 2;
    row.lines[0] = (struct tg_line){1, 2, 3};
    row.lines[1] = (struct tg_line){4, 5, 6};
    DIFFERS(other.line_count--);
    DIFFERS(other.lines[1].item++);
    DIFFERS(other.lines[1].quantity++);
    DIFFERS(other.lines[0].unit_price_minor++);
    world_free(&world);
}

/* The writer gives the captain's team its number, so a retry before and after must compare alike.
 */
Test(change, a_captains_body_is_the_same_before_and_after_the_team_has_its_number)
{
    struct world world;
    world_make(&world);
    struct tg_order_row row = row_make(), stored;
    row.flags = TG_ORDER_CAPTAIN;
    stored = row;
    stored.order_id = stored.team_id = 1234;
    cr_assert(same(&world, &row, &stored));
    world_free(&world);
}

/* --- request ids --- */

/* The database with one order, which is `context`, or one that cannot be read. */
static enum eng_load load_one(void *context, uint64_t order_id, struct tg_order_row *row,
                              struct tg_life *life, bool *has_life)
{
    const struct tg_order_row *one = context;
    (void)life;
    *has_life = false;
    if (!one || one->order_id != order_id)
        return ENG_UNREADABLE;
    *row = *one;
    return ENG_LOADED;
}

Test(change, an_id_is_bound_known_settled_and_given_back)
{
    struct world world;
    world_make(&world);
    uint8_t id[TG_REQUEST_ID_BYTES] = {1};
    struct eng_request_key key = eng_request_key(id, 3);
    struct tg_order_row row = row_make();
    struct eng_body body = eng_body_of_row(&world.engine, &row), other = body;
    struct eng_decision decision;
    other.quantity++;
    cr_assert_eq(eng_request_known(world.shard, &key, &body, &decision), ENG_ABSENT);
    uint32_t slot = eng_request_bind(world.shard, &key, &body, 5, &decision);
    cr_assert_eq(decision.verdict, TG_ACCEPTED);
    cr_assert_eq(decision.slot, slot);
    cr_assert_eq(eng_request_known(world.shard, &key, &body, &decision), ENG_LOADED);
    cr_assert(decision.replayed && decision.in_flight);
    cr_assert_eq(eng_request_known(world.shard, &key, &other, &decision), ENG_LOADED);
    cr_assert_eq(decision.verdict, TG_REQUEST_ID_CONFLICT);
    cr_assert_eq(eng_request_known(&world.engine.shards[0], &key, &body, &decision), ENG_LOADED);
    cr_assert_eq(decision.verdict, TG_REQUEST_ID_CONFLICT, "another shard's");
    cr_assert_eq(eng_request_bind(&world.engine.shards[0], &key, &body, 5, &decision),
                 ENG_SLOT_NONE);
    cr_assert_eq(decision.verdict, TG_REQUEST_ID_CONFLICT);
    cr_assert_eq(world.engine.shards[0].requests.count, 0);
    row.order_id = 99;
    memcpy(row.request_id, id, sizeof(id));
    world.shard->loader = (struct eng_loader){.context = &row, .order = load_one};
    eng_request_settle(world.shard, slot, 99);
    cr_assert_eq(eng_request_known(world.shard, &key, &body, &decision), ENG_LOADED);
    cr_assert_not(decision.in_flight);
    cr_assert_eq(decision.answer.order_id, 99);
    cr_assert_eq(decision.answer.unit_price_minor, 100, "the price that this order has");
    cr_assert_eq(eng_request_known(world.shard, &key, &other, &decision), ENG_LOADED);
    cr_assert_eq(decision.verdict, TG_REQUEST_ID_CONFLICT);
    world_free(&world);
}

/* The order may be there, and may not be: to decide it again could sell it twice. */
Test(change, an_id_whose_row_cannot_be_read_is_busy)
{
    struct world world;
    world_make(&world);
    struct tg_order_row row = row_make();
    struct eng_request_key key = eng_request_key(row.request_id, 3);
    struct eng_body body = eng_body_of_row(&world.engine, &row);
    struct eng_decision decision;
    world.shard->loader = (struct eng_loader){.context = NULL, .order = load_one};
    cr_assert(eng_requests_restore(&world.shard->requests, &key, 99, 5));
    cr_assert_eq(eng_request_known(world.shard, &key, &body, &decision), ENG_UNREADABLE);
    cr_assert_eq(decision.verdict, TG_BUSY);
    cr_assert_not(decision.replayed);
    world_free(&world);
}

/* Chance does not make two such ids; the shard must be right all the same. */
Test(change, of_two_ids_with_one_hash_each_is_its_own)
{
    struct world world;
    world_make(&world);
    struct tg_order_row row = row_make();
    struct eng_request_key key = eng_request_key(row.request_id, 3), other = key;
    struct eng_body body = eng_body_of_row(&world.engine, &row);
    struct eng_decision decision;
    other.words[1]++;
    row.order_id = 99;
    world.shard->loader = (struct eng_loader){.context = &row, .order = load_one};
    cr_assert(eng_requests_restore(&world.shard->requests, &key, 99, 5));
    cr_assert_eq(eng_request_known(world.shard, &other, &body, &decision), ENG_ABSENT);
    uint32_t slot = eng_request_bind(world.shard, &other, &body, 5, &decision);
    cr_assert_eq(decision.verdict, TG_ACCEPTED);
    cr_assert_eq(eng_request_known(world.shard, &other, &body, &decision), ENG_LOADED);
    cr_assert(decision.replayed && decision.in_flight);
    cr_assert_eq(decision.slot, slot);
    world_free(&world);
}

Test(change, a_refused_order_leaves_its_id_free)
{
    struct world world;
    world_make(&world);
    uint8_t id[TG_REQUEST_ID_BYTES] = {1};
    struct eng_request_key key = eng_request_key(id, 3);
    struct eng_body body = {.item = 1, .quantity = 1};
    struct eng_decision decision;
    eng_request_settle(world.shard, eng_request_bind(world.shard, &key, &body, 5, &decision), 0);
    cr_assert_eq(eng_request_known(world.shard, &key, &body, &decision), ENG_ABSENT);
    world_free(&world);
}

/* --- timers --- */

Test(change, timers_that_are_promised_have_their_room)
{
    struct world world;
    world_make(&world);
    cr_assert(eng_timers_promise(world.shard, 0));
    cr_assert(eng_timers_promise(world.shard, 3));
    cr_assert_not(eng_timers_promise(world.shard, 2));
    cr_assert(eng_timers_promise(world.shard, 1));
    eng_timer_set(world.shard, 1000, 7);
    cr_assert_not(eng_timers_promise(world.shard, 1), "set or promised, the room is taken");
    eng_timers_return(world.shard, 2);
    cr_assert(eng_timers_promise(world.shard, 2));
    cr_assert_eq(eng_wheel_count(world.shard->wheel), 1);
    world_free(&world);
}

Test(change, a_timer_that_nobody_promised_stops_the_process, .signal = SIGABRT)
{
    struct world world;
    world_make(&world);
    eng_timer_set(world.shard, 1000, 7);
}

/* --- copies and takes --- */

Test(change, a_copy_has_all_that_counts)
{
    static struct tg_life life, life_copy;
    static struct tg_team team, team_copy;
    struct tg_order_row row = row_make(), row_copy;
    life.state = TG_ORDER_CONFIRMED;
    life.payment_count = life.refund_count = life.command_count = 2;
    life.payments[1].amount_minor = 5;
    life.refunds[1].amount_minor = 6;
    life.commands[1].fingerprint = 7;
    eng_life_copy(&life_copy, &life);
    cr_assert_eq(memcmp(&life, &life_copy, sizeof(life)), 0);
    row.line_count = 2;
    row.lines[1].item = 9;
    memset(&row_copy, 0, sizeof(row_copy));
    eng_row_copy(&row_copy, &row);
    cr_assert_eq(row_copy.lines[1].item, 9);
    cr_assert_eq(memcmp(&row, &row_copy, offsetof(struct tg_order_row, lines)), 0);
    team.seat_count = 3;
    team.seats[2].user_id = 4;
    eng_team_copy(&team_copy, &team);
    cr_assert_eq(memcmp(&team, &team_copy, sizeof(team)), 0);
}

Test(change, a_take_has_the_lines_of_a_cart_or_the_one_of_an_order)
{
    static struct tg_change change;
    struct eng_take take;
    memset(&take, 0xa5, sizeof(take));
    change.row = row_make();
    change.units_before = TG_UNITS_RESERVED;
    change.life.units = TG_UNITS_SOLD;
    change.stands_before = change.stands_after = true;
    eng_take_of_change(&take, &change);
    cr_assert_eq(take.user_id, 42);
    cr_assert_eq(take.channel, 7);
    cr_assert_eq(take.units_before, TG_UNITS_RESERVED);
    cr_assert_eq(take.units_after, TG_UNITS_SOLD);
    cr_assert(take.stands_before && take.stands_after);
    cr_assert_not(take.gated || take.held || take.durable);
    cr_assert_eq(take.line_count, 1);
    cr_assert_eq(take.lines[0].item, 2);
    cr_assert_eq(take.lines[0].quantity, 3);
    cr_assert_eq(take.lines[0].unit_price_minor, 100);
    change.row.line_count = 2;
    change.row.lines[0] = (struct tg_line){1, 2, 3};
    change.row.lines[1] = (struct tg_line){4, 5, 6};
    eng_take_of_change(&take, &change);
    cr_assert_eq(take.line_count, 2);
    cr_assert_eq(take.lines[0].item, 1);
    cr_assert_eq(take.lines[1].unit_price_minor, 6);
}
