/* What each kind of record leaves behind when its batch is durable, and what a refused batch does
 * not: changes of orders, teams, sales' events, consumer groups, and the trimming of the outbox. */
#include "engine/groups.h"
#include "proto/verdict.h"
#include "storage/env.h"
#include "storage/storage.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* --- looking at what is durable --- */

static struct sto_reader *reader_of(struct depot *d)
{
    struct sto_reader *reader;
    cr_assert_eq(sto_reader_open(d->env, &reader, &d->fault), TG_ERR_OK, "%s", d->fault.text);
    return reader;
}

struct seen {
    struct tg_order_row row;
    struct tg_life life;
    bool has_life;
};

/* Freed by the caller. */
static struct seen *order_see(struct depot *d, uint64_t order_id)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    struct sto_reader *reader = reader_of(d);
    cr_assert_eq(
        sto_read_order(reader, order_id, &seen->row, &seen->life, &seen->has_life, &d->fault),
        TG_ERR_OK, "%s", d->fault.text);
    sto_reader_close(reader);
    return seen;
}

struct events {
    struct tg_event of[256];
    uint32_t count;
    uint64_t first;
    uint64_t last;
};

/* All that is kept, which must be without a gap. */
static void events_see(struct depot *d, struct events *events)
{
    uint64_t next;
    struct sto_reader *reader = reader_of(d);
    sto_read_events(reader, 0, 0, 0, 0, events->of, &events->count, &next, &events->first,
                    &events->last, &d->fault);
    cr_assert_eq(sto_read_events(reader, events->first - 1, UINT64_MAX, 256, 256, events->of,
                                 &events->count, &next, &events->first, &events->last, &d->fault),
                 TG_ERR_OK, "%s", d->fault.text);
    sto_reader_close(reader);
    cr_assert_eq(events->count, events->last - events->first + 1);
    for (uint32_t i = 0; i < events->count; i++)
        cr_assert_eq(events->of[i].sequence, events->first + i);
}

static struct tg_stock stock_of(const struct depot *d, uint32_t item)
{
    return d->env->items[item].stock;
}

#define STOCK_IS(d, item, available, reserved, sold)                                               \
    do {                                                                                           \
        struct tg_stock stock_ = stock_of((d), (item));                                            \
        cr_assert(stock_.available_units == (available) && stock_.reserved_units == (reserved) &&  \
                      stock_.sold_units == (sold),                                                 \
                  "item %u: available %u, reserved %u, sold %u", (unsigned)(item),                 \
                  stock_.available_units, stock_.reserved_units, stock_.sold_units);               \
    } while (0)

static void finding_show(void *context, const char *line)
{
    (void)context;
    cr_log_warn("%s", line);
}

/* Recovery and verify must find nothing wrong. Closes the database. */
static void sound(struct depot *d)
{
    struct sto_verify_report report;
    depot_restart(d);
    depot_close(d);
    cr_assert_eq(sto_verify(d->dir, finding_show, NULL, NULL, &report, &d->fault), TG_ERR_OK, "%s",
                 d->fault.text);
}

/* --- plain orders --- */

Test(commit, a_plain_order_takes_its_units_as_its_item_s_policy_says)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct tg_sale_def *def = depot_sale(1, 1, 3, 100);
    def->items[1].stock_policy = TG_POLICY_ON_PLACE;
    def->items[2].stock_policy = TG_POLICY_ON_PAYMENT;
    struct tg_record records[4] = {{.kind = TG_RECORD_SALE, .sale = def},
                                   depot_order(d, 1, 1, 2),
                                   depot_order(d, 2, 1, 2),
                                   depot_order(d, 3, 1, 2)};
    depot_commit_all(d, records, 4);
    free(def);
    for (int round = 0; round < 2; round++) {
        STOCK_IS(d, 1, 98, 2, 0);
        STOCK_IS(d, 2, 98, 0, 2);
        STOCK_IS(d, 3, 100, 0, 0);
        depot_restart(d);
    }
    struct tg_record again[3] = {depot_order(d, 1, 2, 2), depot_order(d, 2, 2, 2),
                                 depot_order(d, 3, 2, 2)};
    depot_commit_all(d, again, 3);
    STOCK_IS(d, 1, 96, 4, 0);
    STOCK_IS(d, 2, 96, 0, 4);
    STOCK_IS(d, 3, 100, 0, 0);
    sound(d);
    depot_free(d);
}

/* Its shard accepted it while a unit was there; what took that unit may lie before it in the batch.
 */
Test(commit, an_order_that_takes_nothing_needs_no_units_when_it_is_written)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct tg_sale_def *def = depot_sale(1, 1, 1, 2);
    def->items[0].stock_policy = TG_POLICY_ON_PAYMENT;
    struct tg_record sale = {.kind = TG_RECORD_SALE, .sale = def};
    depot_commit_all(d, &sale, 1);
    free(def);
    struct tg_record records[2] = {
        {.kind = TG_RECORD_ADJUST,
         .item = 1,
         .at_ms = DEPOT_AT_MS,
         .adjust = {.delta_units = -2, .reason_bytes = 1, .reason = "x"}},
        depot_order(d, 1, 1, 2)};
    depot_commit_all(d, records, 2);
    STOCK_IS(d, 1, 0, 0, 0);
    sound(d);
    depot_free(d);
}

/* --- changes --- */

Test(commit, a_change_writes_its_events_its_life_and_moves_units)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct events events;
    depot_commit_sale(d, 1, 1, 3, 100);
    struct tg_change *change = depot_change(d, 2, 7, 2);
    struct tg_record record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    const uint64_t order_id = (1ull << TG_PARTITION_BITS) | 2;
    cr_assert_eq(record.order_id, order_id);
    cr_assert_eq(change->row.order_id, order_id);
    cr_assert_eq(change->life.last_event, 1, "a new order's newest event is itself");
    STOCK_IS(d, 2, 98, 2, 0);
    struct seen *seen = order_see(d, order_id);
    cr_assert(!seen->has_life, "a new order at rest has none");
    cr_assert_eq(seen->row.user_id, 7);
    free(seen);

    depot_change_again(change);
    depot_change_pay(change);
    record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    STOCK_IS(d, 2, 98, 0, 2);
    cr_assert_eq(change->life.last_event, 3);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 3);
    seen = order_see(d, order_id);
    cr_assert(seen->has_life);
    cr_assert_eq(seen->life.state, TG_ORDER_CONFIRMED);
    cr_assert_eq(seen->life.last_event, 3);
    cr_assert_eq(seen->life.payment_count, 1);
    free(seen);
    events_see(d, &events);
    cr_assert_eq(events.count, 3);
    cr_assert_eq(events.of[0].type, TG_EVENT_ORDER_PLACED);
    cr_assert_eq(events.of[1].type, TG_EVENT_ORDER_PAID);
    cr_assert_eq(events.of[1].amount_minor, 2 * DEPOT_PRICE);
    cr_assert_eq(events.of[1].at_ms, record.at_ms);
    cr_assert_eq(events.of[2].type, TG_EVENT_ORDER_CONFIRMED);
    cr_assert_eq(events.of[2].order_id, order_id);
    free(change);
    sound(d);
    depot_free(d);
}

Test(commit, units_of_an_order_that_ends_return)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(d, 1, 1, 1, 100);
    struct tg_change *change = depot_change(d, 1, 7, 2);
    struct tg_record record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    depot_change_again(change);
    depot_change_expire(change);
    record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    STOCK_IS(d, 1, 100, 0, 0);
    free(change);
    sound(d);
    depot_free(d);
}

/* A cart of one unit of each of items 1 and 3, and two of item 2. */
static struct tg_change *cart_of(struct depot *d)
{
    struct tg_change *change = depot_change(d, 1, 9, 4);
    change->row.flags = TG_ORDER_CART;
    change->row.unit_price_minor = 0;
    change->row.line_count = 3;
    for (uint32_t i = 0; i < 3; i++)
        change->row.lines[i] = (struct tg_line){1 + i, i == 1 ? 2 : 1, DEPOT_PRICE};
    return change;
}

Test(commit, a_cart_moves_the_units_of_every_line)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct events events;
    depot_commit_sale(d, 1, 1, 3, 100);
    struct tg_change *change = cart_of(d);
    depot_change_pay(change);
    struct tg_record record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    STOCK_IS(d, 1, 99, 0, 1);
    STOCK_IS(d, 2, 98, 0, 2);
    STOCK_IS(d, 3, 99, 0, 1);
    cr_assert_eq(change->life.last_event, 3);
    struct seen *seen = order_see(d, record.order_id);
    cr_assert_eq(seen->row.line_count, 3);
    cr_assert_eq(seen->row.lines[1].quantity, 2);
    free(seen);
    events_see(d, &events);
    cr_assert_eq(events.of[0].amount_minor, 4 * DEPOT_PRICE, "the sum of the lines");
    free(change);
    sound(d);
    depot_free(d);
}

Test(commit, an_ingested_order_is_known_by_its_request_id)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(d, 1, 1, 1, 100);
    struct tg_change *change = depot_change(d, 1, 7, 1);
    change->row.flags = TG_ORDER_INGESTED;
    struct tg_record record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    struct sto_reader *reader = reader_of(d);
    uint64_t order_id;
    uint8_t other[TG_REQUEST_ID_BYTES] = {99};
    cr_assert_eq(sto_read_ingested(reader, change->row.request_id, &order_id, &d->fault), TG_ERR_OK,
                 "%s", d->fault.text);
    cr_assert_eq(order_id, record.order_id);
    cr_assert_eq(sto_read_ingested(reader, other, &order_id, &d->fault), TG_ERR_NOTFOUND);
    sto_reader_close(reader);
    free(change);
    sound(d);
    depot_free(d);
}

Test(commit, a_second_ingested_order_under_one_id_stops_the_process, .signal = SIGABRT)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(d, 1, 1, 1, 100);
    struct tg_change *change = depot_change(d, 1, 7, 1);
    change->row.flags = TG_ORDER_INGESTED;
    struct tg_record records[2] = {depot_change_record(change), depot_change_record(change)};
    depot_unlink(d);
    depot_commit(d, records, 2);
}

Test(commit, plain_orders_and_changes_share_one_sequence)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct events events;
    depot_commit_sale(d, 1, 1, 2, 100);
    struct tg_change *first = depot_change(d, 1, 1, 1), *second = depot_change(d, 2, 2, 1);
    depot_change_pay(first);
    struct tg_record records[4] = {depot_order(d, 1, 3, 1), depot_change_record(first),
                                   depot_order(d, 2, 4, 1), depot_change_record(second)};
    depot_commit_all(d, records, 4);
    cr_assert_eq(records[0].order_id >> TG_PARTITION_BITS, 1);
    cr_assert_eq(records[1].order_id >> TG_PARTITION_BITS, 2);
    cr_assert_eq(records[2].order_id >> TG_PARTITION_BITS, 5, "behind two events");
    cr_assert_eq(records[3].order_id >> TG_PARTITION_BITS, 6);
    events_see(d, &events);
    cr_assert_eq(events.count, 6);
    sound(d);
    depot_open(d);
    struct depot_found *found = malloc(sizeof(*found));
    cr_assert_eq(depot_recover(d, found, 10), TG_ERR_OK, "%s", d->fault.text);
    cr_assert_eq(found->order_count, 4);
    cr_assert_eq(found->life_count, 1);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 6);
    depot_found_free(found);
    free(found);
    free(first);
    free(second);
    depot_free(d);
}

/* --- teams --- */

/* A captain's order and his team, as the engine would record them: ids are the writer's. */
static void team_open(struct depot *d, uint32_t item, struct tg_change **change,
                      struct tg_team *team, struct tg_record records[2])
{
    *change = depot_change(d, item, 1, 1);
    (*change)->row.flags = TG_ORDER_CAPTAIN;
    *team = (struct tg_team){.opener_user_id = 1,
                             .item = item,
                             .state = TG_TEAM_PENDING,
                             .size = 2,
                             .seat_count = 1,
                             .opened_at_ms = DEPOT_AT_MS,
                             .deadline_ms = DEPOT_AT_MS + 86400000,
                             .seats = {{.user_id = 1, .joined_at_ms = DEPOT_AT_MS}}};
    records[0] = depot_change_record(*change);
    records[0].more = 1;
    records[1] = (struct tg_record){.kind = TG_RECORD_TEAM,
                                    .item = item,
                                    .at_ms = DEPOT_AT_MS,
                                    .team = {.team = team, .event = TG_EVENT_TEAM_OPENED}};
}

static struct depot *depot_of_teams(void)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct tg_sale_def *def = depot_sale(1, 1020, 10, 100);
    depot_sale_of_teams(def, 2);
    depot_commit_def(d, def);
    return d;
}

Test(commit, a_new_team_has_the_id_of_its_captain_s_order)
{
    struct depot *d = depot_of_teams();
    struct tg_change *change;
    struct tg_team team, read;
    struct tg_record records[2];
    struct events events;
    depot_restart(d);
    team_open(d, 1027, &change, &team, records);
    depot_commit_all(d, records, 2);
    const uint64_t id = records[0].order_id;
    cr_assert_eq(id, (1ull << TG_PARTITION_BITS) | 1020, "the partition of the sale's first item");
    cr_assert_eq(change->row.team_id, id);
    cr_assert(team.team_id == id && team.captain_order_id == id && team.seats[0].order_id == id);
    struct sto_reader *reader = reader_of(d);
    cr_assert_eq(sto_read_team(reader, id, &read, &d->fault), TG_ERR_OK, "%s", d->fault.text);
    cr_assert_eq(read.seats[0].order_id, id);
    cr_assert_eq(read.state, TG_TEAM_PENDING);
    cr_assert_eq(sto_read_team(reader, id + 1, &read, &d->fault), TG_ERR_NOTFOUND);
    sto_reader_close(reader);
    events_see(d, &events);
    cr_assert_eq(events.count, 2);
    cr_assert_eq(events.of[0].team_id, id);
    cr_assert_eq(events.of[1].type, TG_EVENT_TEAM_OPENED);
    cr_assert(events.of[1].order_id == id && events.of[1].team_id == id);
    free(change);
    sound(d);
    depot_free(d);
}

Test(commit, a_seat_that_is_taken_gets_the_id_of_its_order)
{
    struct depot *d = depot_of_teams();
    struct tg_change *captain, *joiner;
    struct tg_team team, read;
    struct tg_record records[3];
    struct events events;
    team_open(d, 1021, &captain, &team, records);
    depot_commit_all(d, records, 2);
    const uint64_t team_id = team.team_id;

    /* In one unit: the captain has paid, and somebody joins. */
    depot_change_again(captain);
    depot_change_pay(captain);
    captain->life.state = TG_ORDER_AWAITING_TEAM;
    captain->life.confirmed_at_ms = 0;
    captain->events[1].type = TG_EVENT_ORDER_AWAITING_TEAM;
    joiner = depot_change(d, 1021, 2, 1);
    joiner->row.flags = TG_ORDER_JOINER;
    joiner->row.team_id = team_id;
    team.state = TG_TEAM_OPEN;
    team.seats[0].paid_at_ms = DEPOT_AT_MS + 1000;
    team.seat_count = 2;
    team.seats[1] = (struct tg_seat){.user_id = 2, .joined_at_ms = DEPOT_AT_MS + 2000};
    records[0] = depot_change_record(captain);
    records[1] = depot_change_record(joiner);
    records[2] =
        (struct tg_record){.kind = TG_RECORD_TEAM, .at_ms = DEPOT_AT_MS, .team = {.team = &team}};
    records[0].more = records[1].more = 1;
    depot_commit_all(d, records, 3);

    cr_assert_eq(records[0].order_id, 0, "no order was created");
    cr_assert_eq(team.team_id, team_id);
    cr_assert_eq(team.seats[0].order_id, team_id);
    cr_assert_eq(team.seats[1].order_id, records[1].order_id);
    struct sto_reader *reader = reader_of(d);
    cr_assert_eq(sto_read_team(reader, team_id, &read, &d->fault), TG_ERR_OK, "%s", d->fault.text);
    cr_assert_eq(read.seat_count, 2);
    cr_assert_eq(read.state, TG_TEAM_OPEN);
    sto_reader_close(reader);
    struct seen *seen = order_see(d, records[1].order_id);
    cr_assert_eq(seen->row.team_id, team_id);
    free(seen);
    events_see(d, &events);
    cr_assert_eq(events.count, 5, "a team record without an event writes none");
    free(captain);
    free(joiner);
    sound(d);
    depot_free(d);
}

Test(commit, half_a_unit_stops_the_process, .signal = SIGABRT)
{
    struct depot *d = depot_of_teams();
    struct tg_change *change;
    struct tg_team team;
    struct tg_record records[2];
    team_open(d, 1021, &change, &team, records);
    depot_unlink(d);
    depot_commit(d, records, 1);
}

Test(commit, a_unit_may_go_on_in_the_next_span)
{
    struct depot *d = depot_of_teams();
    struct tg_change *change;
    struct tg_team team;
    struct tg_record records[2];
    team_open(d, 1021, &change, &team, records);
    struct sto_batch batch = {.spans = {{&records[0], 1}, {&records[1], 1}}, .span_count = 2};
    cr_assert_eq(sto_commit(d->env, &batch, &d->fault), STO_DURABLE, "%s", d->fault.text);
    cr_assert_eq(team.team_id, records[0].order_id);
    free(change);
    sound(d);
    depot_free(d);
}

/* --- sales and groups --- */

Test(commit, a_sale_s_events_are_written_once_and_remembered)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct events events;
    depot_commit_sale(d, 1, 1, 1, 100);
    struct tg_record records[] = {
        {.kind = TG_RECORD_SALE_EVENT,
         .at_ms = 5,
         .sale_event = {.sale_id = 1001, .sale = 1, .announced = TG_ANNOUNCED_START}},
        {.kind = TG_RECORD_SALE_STATE, .sale_state = {.sale = 1, .state = TG_SALE_PAUSED}},
        {.kind = TG_RECORD_SALE_EVENT,
         .at_ms = 6,
         .sale_event = {.sale_id = 1001, .sale = 1, .announced = TG_ANNOUNCED_END}}};
    depot_commit_all(d, records, 2);
    depot_reopen(d);
    struct depot_found *found = malloc(sizeof(*found));
    cr_assert_eq(depot_recover(d, found, 10), TG_ERR_OK, "%s", d->fault.text);
    cr_assert_eq(found->sales[0]->announced, TG_ANNOUNCED_START);
    cr_assert_eq(found->sales[0]->state, TG_SALE_PAUSED);
    depot_found_free(found);
    depot_commit_all(d, &records[2], 1);
    events_see(d, &events);
    cr_assert_eq(events.count, 2);
    cr_assert_eq(events.of[0].type, TG_EVENT_SALE_STARTED);
    cr_assert_eq(events.of[0].sale_id, 1001);
    cr_assert_eq(events.of[0].order_id, 0);
    cr_assert_eq(events.of[1].type, TG_EVENT_SALE_ENDED);
    cr_assert_eq(events.of[1].at_ms, 6);
    depot_reopen(d);
    cr_assert_eq(depot_recover(d, found, 10), TG_ERR_OK, "%s", d->fault.text);
    cr_assert_eq(found->sales[0]->announced, TG_ANNOUNCED_START | TG_ANNOUNCED_END);
    depot_found_free(found);
    free(found);
    sound(d);
    depot_free(d);
}

static struct tg_record group_record(struct tg_group *group, bool removed)
{
    return (struct tg_record){.kind = TG_RECORD_GROUP,
                              .group = {.group = group, .removed = removed}};
}

static uint32_t groups_in(struct depot *d)
{
    struct depot_found *found = malloc(sizeof(*found));
    depot_reopen(d);
    cr_assert_eq(depot_recover(d, found, 10), TG_ERR_OK, "%s", d->fault.text);
    uint32_t count = found->group_count;
    depot_found_free(found);
    free(found);
    return count;
}

Test(commit, groups_come_and_go)
{
    struct depot *d = depot_make(16 * DEPOT_MIB);
    struct tg_group erp = {.name_bytes = 3, .name = "erp", .created_at_ms = 1};
    struct tg_group crm = {.name_bytes = 3, .name = "crm", .created_at_ms = 1};
    struct tg_record records[2] = {group_record(&erp, false), group_record(&crm, false)};
    depot_commit_all(d, records, 2);
    cr_assert_eq(groups_in(d), 2);
    erp.acked_at_ms = 2;
    depot_commit_all(d, records, 1);
    cr_assert_eq(groups_in(d), 2, "an ack changes the group that is there");
    records[0] = group_record(&erp, true);
    depot_commit_all(d, records, 1);
    cr_assert_eq(groups_in(d), 1);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 0, "groups are no events");
    sound(d);
    depot_free(d);
}

/* --- refused --- */

/* A batch with a record of every kind that numbers are given to. */
struct mixed {
    struct tg_change *created;
    struct tg_change *captain;
    struct tg_team team;
    struct tg_record records[5];
};

static void mixed_make(struct depot *d, struct mixed *mixed)
{
    mixed->created = depot_change(d, 1, 50, 2);
    mixed->created->row.flags = TG_ORDER_INGESTED;
    depot_change_pay(mixed->created);
    mixed->records[0] = depot_order(d, 1, 51, 1);
    mixed->records[1] = depot_change_record(mixed->created);
    team_open(d, 2001, &mixed->captain, &mixed->team, &mixed->records[2]);
    mixed->records[4] = (struct tg_record){
        .kind = TG_RECORD_SALE_EVENT,
        .at_ms = 5,
        .sale_event = {.sale_id = 1001, .sale = 1, .announced = TG_ANNOUNCED_START}};
}

static void mixed_free(struct mixed *mixed)
{
    free(mixed->created);
    free(mixed->captain);
}

static struct depot *depot_of_both(uint64_t map_bytes)
{
    struct depot *d = depot_make(map_bytes);
    struct tg_sale_def *def = depot_sale(2, 2000, 2, 100);
    depot_sale_of_teams(def, 2);
    depot_commit_sale(d, 1, 1, 1, 100000);
    depot_commit_def(d, def);
    depot_commit_orders(d, 1, 10);
    return d;
}

Test(commit, a_refused_batch_gives_its_numbers_again)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    struct mixed refused, durable;
    struct events events;
    d->env->options.free_bytes_min = UINT64_MAX / 2;
    mixed_make(d, &refused);
    cr_assert_eq(depot_commit(d, refused.records, 5), STO_REFUSED);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(refused.records[i].outcome, TG_OUTCOME_REFUSED);
        cr_assert_eq(refused.records[i].order_id, 0);
    }
    STOCK_IS(d, 1, 99990, 10, 0);
    STOCK_IS(d, 2001, 100, 0, 0);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 10);
    d->env->options.free_bytes_min = 0;
    d->requests = 10;
    mixed_make(d, &durable);
    depot_commit_all(d, durable.records, 5);
    cr_assert_eq(durable.records[0].order_id >> TG_PARTITION_BITS, 11);
    cr_assert_eq(durable.records[1].order_id >> TG_PARTITION_BITS, 12);
    cr_assert_eq(durable.captain->row.order_id >> TG_PARTITION_BITS, 15);
    cr_assert_eq(durable.team.team_id, durable.captain->row.order_id);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 17);
    STOCK_IS(d, 1, 99987, 11, 2);
    events_see(d, &events);
    cr_assert_eq(events.count, 17);
    mixed_free(&refused);
    mixed_free(&durable);
    sound(d);
    depot_free(d);
}

Test(commit, a_full_map_refuses_changes_and_goes_on)
{
    enum {
        COUNT = 1500
    };
    struct depot *d = depot_of_both(96 * 4096);
    struct tg_change *changes[COUNT];
    struct tg_record *records = calloc(COUNT, sizeof(*records));
    for (uint32_t i = 0; i < COUNT; i++) {
        changes[i] = depot_change(d, 1, i, 1);
        depot_change_pay(changes[i]);
        records[i] = depot_change_record(changes[i]);
    }
    cr_assert_eq(depot_commit(d, records, COUNT), STO_REFUSED);
    cr_assert_not_null(strstr(d->fault.text, "map"), "%s", d->fault.text);
    STOCK_IS(d, 1, 99990, 10, 0);
    depot_commit_all(d, records, 3);
    cr_assert_eq(records[0].order_id >> TG_PARTITION_BITS, 11);
    cr_assert_eq(changes[2]->life.last_event, 19);
    STOCK_IS(d, 1, 99987, 10, 3);
    for (uint32_t i = 0; i < COUNT; i++)
        free(changes[i]);
    free(records);
    depot_free(d);
}

Test(commit, rows_that_lie_apart_count_for_the_room_they_may_need)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    struct tg_change *change = depot_change(d, 1, 5, 1);
    struct tg_record records[2] = {depot_change_record(change), depot_order(d, 1, 6, 1)};
    depot_change_pay(change);
    unsigned long long needed[2];
    for (int i = 0; i < 2; i++) {
        d->env->options.free_bytes_min = UINT64_MAX / 2;
        cr_assert_eq(depot_commit(d, &records[i], 1), STO_REFUSED);
        const char *at = strstr(d->fault.text, "may need ");
        cr_assert_not_null(at, "%s", d->fault.text);
        needed[i] = strtoull(at + strlen("may need "), NULL, 10);
    }
    cr_assert_gt(needed[0], needed[1] + d->env->page_bytes, "a life has a page to itself");
    free(change);
    depot_free(d);
}

/* --- retention --- */

/* Commits orders that are paid at once: of three sequences each the later two are event rows,
 * written at `at_ms`. */
static void events_commit(struct depot *d, uint32_t count, int64_t at_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        struct tg_change *change = depot_change(d, 1, 1000 + d->requests, 1);
        depot_change_pay(change);
        struct tg_record record = depot_change_record(change);
        record.at_ms = at_ms;
        depot_commit_all(d, &record, 1);
        free(change);
    }
}

static void fence_commit(struct depot *d)
{
    struct tg_record record = depot_adjust(1, 1);
    depot_commit_all(d, &record, 1);
}

Test(commit, old_events_are_dropped_up_to_what_every_group_has)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    const struct sto_commit_stats *stats = sto_commit_stats(d->env);
    struct events events;
    cr_assert_eq(stats->event_first, 1);
    events_commit(d, 4, 1000); /* 11 is placed, 12 and 13 are events, and so on to 22 */
    events_commit(d, 1, 2000); /* 23, 24, 25 */
    sto_retention_set(d->env, &(struct sto_retention){
                                  .sequence_max = 17, .before_ms = 2000, .bytes_max = UINT64_MAX});
    fence_commit(d);
    cr_assert_eq(stats->event_first, 17, "16 is the newest event row up to 17");
    cr_assert_eq(stats->events_dropped, 4);
    events_see(d, &events);
    cr_assert_eq(events.first, 17);
    cr_assert_eq(events.of[0].type, TG_EVENT_ORDER_PLACED);
    fence_commit(d);
    cr_assert_eq(stats->events_dropped, 4, "18 and on are kept for the slowest group");
    sto_retention_set(d->env, &(struct sto_retention){
                                  .sequence_max = 100, .before_ms = 2000, .bytes_max = UINT64_MAX});
    fence_commit(d);
    cr_assert_eq(stats->event_first, 23);
    cr_assert_eq(stats->events_dropped, 8);
    depot_restart(d);
    stats = sto_commit_stats(d->env);
    cr_assert_eq(stats->event_first, 23, "it is durable");
    events_see(d, &events);
    cr_assert_eq(events.count, 3);
    struct seen *seen = order_see(d, (11ull << TG_PARTITION_BITS) | 1);
    cr_assert_eq(seen->life.state, TG_ORDER_CONFIRMED, "orders are never dropped");
    free(seen);
    sound(d);
    depot_free(d);
}

Test(commit, the_newest_sequence_is_never_dropped)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    events_commit(d, 3, 1000);
    sto_retention_set(d->env, &(struct sto_retention){.sequence_max = UINT64_MAX,
                                                      .before_ms = DEPOT_AT_MS,
                                                      .bytes_max = UINT64_MAX});
    fence_commit(d);
    cr_assert_eq(sto_commit_stats(d->env)->event_first, 19);
    depot_restart(d);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 19);
    cr_assert_eq(depot_commit_orders(d, 1, 1) >> TG_PARTITION_BITS, 20, "no number twice");
    sound(d);
    depot_free(d);
}

Test(commit, events_beyond_the_size_are_dropped_a_little_with_each_commit)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    const struct sto_commit_stats *stats = sto_commit_stats(d->env);
    const uint64_t page = d->env->page_bytes;
    events_commit(d, 500, DEPOT_AT_MS);
    sto_retention_set(d->env,
                      &(struct sto_retention){.sequence_max = UINT64_MAX, .bytes_max = 6 * page});
    fence_commit(d);
    cr_assert_eq(stats->events_dropped, 256, "no commit waits for more");
    uint64_t before;
    do {
        before = stats->events_dropped;
        fence_commit(d);
        cr_assert_leq(stats->events_dropped, before + 256);
    } while (stats->events_dropped > before);
    cr_assert_lt(before, 900, "what fits is kept: %llu dropped", (unsigned long long)before);
    cr_assert_gt(before, 400, "%llu dropped", (unsigned long long)before);
    sound(d);
    depot_free(d);
}

Test(commit, a_batch_that_does_not_fit_drops_old_events_all_the_same)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    const struct sto_commit_stats *stats = sto_commit_stats(d->env);
    struct events events;
    events_commit(d, 3, 1000);
    sto_retention_set(d->env, &(struct sto_retention){.sequence_max = UINT64_MAX,
                                                      .before_ms = DEPOT_AT_MS,
                                                      .bytes_max = UINT64_MAX});
    d->env->options.free_bytes_min = UINT64_MAX / 2;
    struct tg_record record = depot_adjust(1, 1);
    cr_assert_eq(depot_commit(d, &record, 1), STO_REFUSED);
    cr_assert_eq(record.outcome, TG_OUTCOME_REFUSED);
    cr_assert_eq(stats->event_first, 19, "the newest is kept");
    cr_assert_eq(stats->events_dropped, 5);
    uint64_t commits = stats->commits;
    cr_assert_eq(depot_commit(d, &record, 1), STO_REFUSED);
    cr_assert_eq(stats->commits, commits, "nothing is left to drop");
    STOCK_IS(d, 1, 99987, 10, 3);
    depot_restart(d);
    events_see(d, &events);
    cr_assert_eq(events.count, 1);
    sound(d);
    depot_free(d);
}

Test(commit, it_is_told_why_a_group_holds_the_outbox_back)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    const struct sto_commit_stats *stats = sto_commit_stats(d->env);
    events_commit(d, 200, 1000);
    cr_assert_geq(stats->events_bytes, 5 * d->env->page_bytes);
    struct sto_retention retention = {
        .sequence_max = 10, .before_ms = 1000, .bytes_max = stats->events_bytes};
    sto_retention_set(d->env, &retention);
    fence_commit(d);
    cr_assert_eq(stats->events_held, STO_HELD_NONE, "neither old nor too many");
    retention.bytes_max--;
    sto_retention_set(d->env, &retention);
    fence_commit(d);
    cr_assert_eq(stats->events_held, STO_HELD_LARGE);
    retention.before_ms = 1001;
    sto_retention_set(d->env, &retention);
    fence_commit(d);
    cr_assert_eq(stats->events_held, STO_HELD_OLD);
    cr_assert_eq(stats->events_dropped, 0);
    retention.sequence_max = UINT64_MAX;
    sto_retention_set(d->env, &retention);
    fence_commit(d);
    cr_assert_eq(stats->events_held, STO_HELD_NONE, "the next one may go");
    cr_assert_gt(stats->events_dropped, 0);
    depot_free(d);
}

/* Without any group nothing is held back: between the decision about the first one, which is to
 * begin with what comes next, and its record, commits wrote events and dropped them again. */
Test(commit, a_group_from_now_on_does_not_begin_behind_dropped_events)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    const struct sto_commit_stats *stats = sto_commit_stats(d->env);
    struct eng_groups *groups = calloc(1, sizeof(*groups));
    struct tg_group group;
    int place;
    cr_assert_eq(eng_groups_create(groups, "erp", 3, stats->sequence, 1, &place), TG_OK);
    groups->groups[place].next.from_now = true;
    sto_retention_set(d->env, &(struct sto_retention){.sequence_max = UINT64_MAX,
                                                      .before_ms = DEPOT_AT_MS,
                                                      .bytes_max = UINT64_MAX});
    events_commit(d, 3, 1000);
    struct tg_record record = group_record(&groups->groups[place].next, false);
    sto_retention_set(d->env, &(struct sto_retention){.sequence_max = eng_groups_offset_min(groups),
                                                      .before_ms = DEPOT_AT_MS,
                                                      .bytes_max = UINT64_MAX});
    depot_commit_all(d, &record, 1);
    eng_groups_settle(groups, place, false, true);
    cr_assert(eng_groups_get(groups, place, &group));
    cr_assert_gt(stats->event_first, 11, "events were dropped");
    cr_assert_geq(group.offset + 1, stats->event_first);
    cr_assert_eq(group.offset, stats->sequence);
    cr_assert_eq(eng_groups_offset_min(groups), group.offset);
    cr_assert_eq(eng_groups_ack(groups, "erp", 3, 100, 100, 2, &place), TG_OK);
    record = group_record(&groups->groups[place].next, false);
    depot_commit_all(d, &record, 1);
    cr_assert_eq(groups->groups[place].next.offset, 100, "an ack says where to itself");
    free(groups);
    depot_free(d);
}

/* --- the last of the room --- */

/* Bytes that this filesystem has free now. */
static uint64_t filesystem_free(const struct depot *d)
{
    struct statvfs filesystem;
    cr_assert_eq(statvfs(d->dir, &filesystem), 0);
    return (uint64_t)filesystem.f_bavail * filesystem.f_frsize;
}

/* A durable, unpaid order as the start of its next change. */
static struct tg_change *durable_change(struct depot *d, uint64_t user)
{
    struct tg_change *change = depot_change(d, 1, user, 1);
    struct tg_record record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    depot_change_again(change);
    return change;
}

/* A batch on a full disk: orders are refused, what becomes of other orders and what consumers ack
 * is taken, and each says so. */
Test(commit, what_grows_is_refused_and_the_rest_of_its_batch_is_taken)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    struct tg_group erp = {.name_bytes = 3, .name = "erp", .created_at_ms = 1, .offset = 5};
    struct tg_change *paid = durable_change(d, 500), *expired = durable_change(d, 501);
    uint64_t sequence = sto_commit_stats(d->env)->sequence;
    depot_change_pay(paid);
    depot_change_expire(expired);
    struct tg_record records[] = {depot_order(d, 1, 1, 1),      depot_change_record(paid),
                                  group_record(&erp, false),    depot_adjust(1, 5),
                                  depot_change_record(expired), depot_order(d, 1, 2, 1)};
    records[1].order_id = paid->row.order_id; /* as the engine makes the record of a change */
    /* Others use the filesystem as well: far from either edge. */
    d->env->options.free_bytes_min = filesystem_free(d) / 4 * 5;
    cr_assert_eq(depot_commit(d, records, 6), STO_REFUSED);
    static const uint8_t durable[] = {0, 1, 1, 0, 1, 0};
    for (int i = 0; i < 6; i++)
        cr_assert_eq(records[i].outcome, durable[i] ? TG_OUTCOME_DURABLE : TG_OUTCOME_REFUSED, "%d",
                     i);
    cr_assert_eq(records[0].order_id, 0);
    cr_assert_eq(records[1].order_id, paid->row.order_id);
    cr_assert_eq(sto_commit_stats(d->env)->sequence, sequence + 3, "three events, no order");
    STOCK_IS(d, 1, 99989, 10, 1);
    struct tg_record again = group_record(&erp, true);
    cr_assert_eq(depot_commit(d, &again, 1), STO_REFUSED, "the disk is still full");
    cr_assert_eq(again.outcome, TG_OUTCOME_DURABLE, "the group was there");
    sound(d);
    free(paid);
    free(expired);
    depot_free(d);
}

/* What a unit creates, and all that comes with it, is refused together. */
Test(commit, a_unit_that_grows_is_refused_as_one)
{
    struct depot *d = depot_of_both(16 * DEPOT_MIB);
    struct mixed mixed;
    mixed_make(d, &mixed);
    d->env->options.free_bytes_min = filesystem_free(d) / 4 * 5;
    cr_assert_eq(depot_commit(d, mixed.records, 5), STO_REFUSED);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(mixed.records[i].outcome, TG_OUTCOME_REFUSED, "%d", i);
    cr_assert_eq(mixed.records[4].outcome, TG_OUTCOME_DURABLE, "that the sale has begun");
    cr_assert_eq(sto_commit_stats(d->env)->sequence, 11);
    mixed_free(&mixed);
    sound(d);
    depot_free(d);
}

/* Commits orders of one unit until a batch of `size` is refused. */
static void orders_until_full(struct depot *d, uint32_t size)
{
    struct tg_record records[64];
    do {
        for (uint32_t i = 0; i < size; i++)
            records[i] = depot_order(d, 1, d->requests, 1);
    } while (depot_commit(d, records, size) == STO_DURABLE);
}

/* Durable orders as the start of their next changes; with `paid` each has two events by then. */
static void durable_changes(struct depot *d, bool paid, uint32_t count, struct tg_change **changes)
{
    struct tg_record *records = calloc(count, sizeof(*records));
    for (uint32_t i = 0; i < count; i++) {
        changes[i] = depot_change(d, 1, d->requests, 1);
        if (paid)
            depot_change_pay(changes[i]);
        records[i] = depot_change_record(changes[i]);
    }
    depot_commit_all(d, records, count);
    for (uint32_t i = 0; i < count; i++)
        depot_change_again(changes[i]);
    free(records);
}

/* A full map: acks are taken for ever, changes for a while, and what is acked makes room again. */
Test(commit, a_full_map_leaves_room_for_those_who_make_room)
{
    enum {
        UNPAID = 1000,
        PAID = 4000,
        ACKS = 300
    };
    struct depot *d = depot_of_both(4 * DEPOT_MIB);
    struct tg_change *changes[UNPAID + PAID];
    struct tg_group erp = {.name_bytes = 3, .name = "erp", .created_at_ms = 1};
    uint32_t taken = 0;
    durable_changes(d, false, UNPAID, changes);
    durable_changes(d, true, PAID, changes + UNPAID);
    orders_until_full(d, 64);
    orders_until_full(d, 1);
    /* Orders are refused beside changes that are taken, until their room is used up as well. */
    for (;; taken++) {
        cr_assert_lt(taken, UNPAID, "changes are never refused");
        depot_change_pay(changes[taken]);
        struct tg_record records[2] = {depot_change_record(changes[taken]),
                                       depot_order(d, 1, taken, 1)};
        cr_assert_eq(depot_commit(d, records, 2), STO_REFUSED);
        cr_assert_eq(records[1].outcome, TG_OUTCOME_REFUSED);
        if (records[0].outcome != TG_OUTCOME_DURABLE)
            break;
    }
    cr_assert_gt(taken, 50);
    for (uint32_t i = 1; i <= ACKS; i++) {
        erp.offset = i;
        struct tg_record records[2] = {depot_order(d, 1, i, 1), group_record(&erp, false)};
        cr_assert_eq(depot_commit(d, records, 2), STO_REFUSED);
        cr_assert_eq(records[0].outcome, TG_OUTCOME_REFUSED);
        cr_assert_eq(records[1].outcome, TG_OUTCOME_DURABLE, "ack %u", i);
    }
    /* All is acked: orders that are refused meanwhile drop what is old, and then fit. */
    sto_retention_set(d->env, &(struct sto_retention){.sequence_max = UINT64_MAX,
                                                      .before_ms = INT64_MAX,
                                                      .bytes_max = UINT64_MAX});
    struct tg_record order = depot_order(d, 1, 1, 1);
    uint32_t refused = 0;
    while (depot_commit(d, &order, 1) != STO_DURABLE)
        cr_assert_lt(refused++, PAID, "%s", d->fault.text);
    cr_assert_gt(refused, 0);
    sound(d);
    for (uint32_t i = 0; i < UNPAID + PAID; i++)
        free(changes[i]);
    depot_free(d);
}
