/* Threads that own nothing and read what the others publish or make durable. */
#include "tests/stress/stress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_US = 200, /* between two looks: the machine may have two cores */
    PAGE_EVENTS = 256,
    PAGE_ORDERS = 64,
    PAGE_TEAMS = 16,
};

/* --- the onlooker: published words --- */

/* Every sale that is published is whole, and so are its items. */
static void look_at_catalog(void)
{
    const struct eng_catalog *catalog = &world.engine.catalog;
    uint32_t sales = eng_catalog_sale_count(catalog);
    for (uint32_t i = 0; i < sales; i++) {
        const struct eng_sale *sale = &catalog->sales[i];
        const struct eng_item *item = item_at(sale->first_item);
        promise(eng_catalog_sale(catalog, i + 1u) == sale, "sale %u is not found", i + 1);
        promise(eng_catalog_item(catalog, sale->sale_id, item->sku, item->sku_bytes) == item,
                "an item of sale %u is not found", i + 1);
    }
}

static void look_at_stock(void)
{
    const struct eng_catalog *catalog = &world.engine.catalog;
    uint32_t sales = eng_catalog_sale_count(catalog);
    uint32_t items = catalog->sales[sales - 1].first_item + catalog->sales[sales - 1].item_count;
    for (uint32_t i = 0; i < items; i++) {
        struct tg_stock stock = eng_item_stock(item_at(i));
        promise(tg_stock_holds(&stock), "item %u: %u + %ld is not %u + %u + %u", i,
                stock.initial_units, stock.restocked_units, stock.available_units,
                stock.reserved_units, stock.sold_units);
    }
}

static void look_at_watermarks(uint64_t durable_last[CORES])
{
    for (uint32_t i = 0; i < CORES; i++) {
        struct tg_journal *journal = &world.cores[i].journal;
        uint64_t durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
        promise(durable >= durable_last[i], "the watermark of core %u went back", i);
        promise(durable <= tail, "core %u: durable %lu is beyond the tail %lu", i, durable, tail);
        durable_last[i] = durable;
    }
}

static bool same_group(const struct tg_group *a, const struct tg_group *b)
{
    return a->name_bytes == b->name_bytes && memcmp(a->name, b->name, a->name_bytes) == 0;
}

/* A group is read as one and not after its end, its offset only grows, and it is found under its
 * name. */
static void look_at_group(int place, struct tg_group *last)
{
    struct tg_group group, after;
    char name[TG_GROUP_NAME_BYTES_MAX + 1] = {0};
    if (!eng_groups_get(world.engine.groups, place, &group)) {
        last->name_bytes = 0;
        return;
    }
    memcpy(name, group.name, group.name_bytes);
    const char *made = strchr(name, '-');
    promise(made && strtoll(made + 1, NULL, 10) == group.created_at_ms, "group %s was made at %ld",
            name, group.created_at_ms);
    promise(same_group(&group, last) || group.created_at_ms > last->created_at_ms,
            "group %s is there again", name);
    promise(!same_group(&group, last) || group.offset >= last->offset,
            "group %s went back from %lu to %lu", name, last->offset, group.offset);
    int found = eng_groups_find(world.engine.groups, name, group.name_bytes);
    uint64_t offset_min = eng_groups_offset_min(world.engine.groups);
    bool stands = eng_groups_get(world.engine.groups, place, &after) && same_group(&group, &after);
    promise(!stands || found == place, "group %s stands at %d and is found at %d", name, place,
            found);
    promise(!stands || offset_min <= after.offset, "group %s is at %lu, and the slowest at %lu",
            name, after.offset, offset_min);
    *last = group;
}

void *stress_onlooker_run(void *argument)
{
    uint64_t durable_last[CORES] = {0};
    struct tg_group last[GROUPS + 1] = {0}; /* name_bytes 0: it is gone */
    (void)argument;
    while (!atomic_load(&world.onlookers_stop)) {
        look_at_catalog();
        look_at_stock();
        look_at_watermarks(durable_last);
        for (int place = 0; place <= GROUPS; place++)
            look_at_group(place, &last[place]);
        world.samples++;
        usleep(PAUSE_US);
    }
    return NULL;
}

/* --- the consumer: the whole outbox, once --- */

struct page {
    struct tg_event events[PAGE_EVENTS];
    uint32_t filled;
    uint64_t next, first, last;
};

static void read_page(struct sto_reader *reader, uint64_t after, struct page *page)
{
    struct tg_fault fault;
    promise(sto_read_events(reader, after, UINT64_MAX, PAGE_EVENTS, PAGE_EVENTS, page->events,
                            &page->filled, &page->next, &page->first, &page->last,
                            &fault) == TG_ERR_OK,
            "%s", fault.text);
    promise(after + 1 >= page->first, "event %lu is dropped, and a group has not acked it",
            after + 1);
    promise(page->last >= atomic_load(&world.consumed), "the outbox has lost its end");
    for (uint32_t i = 0; i < page->filled; i++) {
        const struct tg_event *event = &page->events[i];
        promise(event->sequence == after + 1 + i, "event %lu where %lu comes next", event->sequence,
                after + 1 + i);
        promise(event->type > 0 && event->type < TG_EVENT_TYPE_COUNT, "event %lu of type %u",
                event->sequence, event->type);
        world.events[event->type]++;
    }
}

/* Another group's events are kept as well, as long as it is there. */
static void look_behind_group(struct sto_reader *reader, int place)
{
    struct tg_group before, after;
    struct page page;
    struct tg_fault fault;
    if (!eng_groups_get(world.engine.groups, place, &before))
        return;
    promise(sto_read_events(reader, before.offset, UINT64_MAX, 1, 1, page.events, &page.filled,
                            &page.next, &page.first, &page.last, &fault) == TG_ERR_OK,
            "%s", fault.text);
    if (eng_groups_get(world.engine.groups, place, &after) && same_group(&before, &after) &&
        before.offset == after.offset)
        promise(page.first <= before.offset + 1, "group %.*s is at %lu, and %lu is the first kept",
                before.name_bytes, before.name, before.offset, page.first);
}

void *stress_consumer_run(void *argument)
{
    struct sto_reader *reader = argument;
    struct page page;
    uint64_t at = 0;
    for (int place = 0;; place = (place + 1) % (GROUPS + 1)) {
        bool stopping = atomic_load(&world.onlookers_stop);
        read_page(reader, at, &page);
        at = page.next;
        atomic_store(&world.consumed, at);
        look_behind_group(reader, place);
        if (at < page.last)
            continue;
        if (stopping)
            return NULL;
        usleep(PAUSE_US);
    }
}

/* --- the reader: orders and teams that agree, in one snapshot --- */

struct snapshot {
    struct sto_reader *reader;
    uint64_t last_event;
    uint64_t last_order_id;
    uint32_t seat_count;
    struct {
        uint64_t order_id;
        uint64_t team_id;
        uint8_t state;
    } seats[PAGE_ORDERS]; /* orders of teams that this page has */
};

static bool look_at_order(void *context, const struct tg_order_row *row, const struct tg_life *life)
{
    struct snapshot *snapshot = context;
    promise(row->order_id > snapshot->last_order_id, "order %lu behind order %lu", row->order_id,
            snapshot->last_order_id);
    snapshot->last_order_id = row->order_id;
    uint8_t state = TG_ORDER_RESERVED;
    if (life) {
        state = life->state;
        promise(tg_life_money_holds(life), "the money of order %lu does not add up", row->order_id);
        promise(life->last_event <= snapshot->last_event,
                "order %lu has event %lu, the last is %lu", row->order_id, life->last_event,
                snapshot->last_event);
        promise((state != TG_ORDER_EXPIRED && state != TG_ORDER_CANCELLED) ||
                    life->units == TG_UNITS_NONE,
                "order %lu is over and holds units", row->order_id);
    }
    if (row->team_id != 0) {
        snapshot->seats[snapshot->seat_count].order_id = row->order_id;
        snapshot->seats[snapshot->seat_count].team_id = row->team_id;
        snapshot->seats[snapshot->seat_count++].state = state;
    }
    return true;
}

/* A member is where its team is: docs/group-buy.md, invariant 2. */
static void look_at_seat(struct snapshot *snapshot, uint32_t number)
{
    struct tg_team team;
    struct tg_fault fault;
    uint64_t order_id = snapshot->seats[number].order_id;
    uint8_t state = snapshot->seats[number].state;
    promise(sto_read_team(snapshot->reader, snapshot->seats[number].team_id, &team, &fault) ==
                TG_ERR_OK,
            "order %lu has no team: %s", order_id, fault.text);
    if (state == TG_ORDER_CONFIRMED)
        promise(team.state == TG_TEAM_STATE_FORMED, "order %lu is confirmed, its team is %u",
                order_id, team.state);
    if (state != TG_ORDER_AWAITING_TEAM)
        return;
    promise(team.state == TG_TEAM_OPEN, "order %lu awaits a team that is %u", order_id, team.state);
    uint32_t i = 0;
    while (i < team.seat_count && team.seats[i].order_id != order_id)
        i++;
    promise(i < team.seat_count && team.seats[i].paid_at_ms != 0, "order %lu has no paid seat",
            order_id);
}

static bool look_at_team(void *context, const struct tg_team *team)
{
    uint64_t *last = context;
    promise(team->team_id > *last && team->seat_count <= team->size && team->size == TEAM_SIZE,
            "team %lu has %u seats", team->team_id, team->seat_count);
    *last = team->team_id;
    return true;
}

/* A page of each, and the next time the pages behind them. */
static void look(struct snapshot *snapshot, uint64_t *order_id, uint64_t *team_id)
{
    struct page page;
    struct tg_fault fault;
    bool orders_end, teams_end;
    uint64_t last_team_id = *team_id;
    promise(sto_reader_pin(snapshot->reader, &fault) == TG_ERR_OK, "%s", fault.text);
    promise(sto_read_events(snapshot->reader, 0, 0, 1, 1, page.events, &page.filled, &page.next,
                            &page.first, &page.last, &fault) == TG_ERR_OK,
            "%s", fault.text);
    snapshot->last_event = page.last;
    snapshot->last_order_id = *order_id;
    snapshot->seat_count = 0;
    promise(sto_read_orders(snapshot->reader, *order_id, PAGE_ORDERS, look_at_order, snapshot,
                            order_id, &orders_end, &fault) == TG_ERR_OK,
            "%s", fault.text);
    for (uint32_t i = 0; i < snapshot->seat_count; i++)
        look_at_seat(snapshot, i);
    promise(sto_read_teams(snapshot->reader, *team_id, PAGE_TEAMS, look_at_team, &last_team_id,
                           team_id, &teams_end, &fault) == TG_ERR_OK,
            "%s", fault.text);
    sto_reader_unpin(snapshot->reader);
    if (orders_end)
        *order_id = 0;
    if (teams_end)
        *team_id = 0;
}

void *stress_reader_run(void *argument)
{
    struct snapshot snapshot = {.reader = argument};
    uint64_t order_id = 0, team_id = 0;
    while (!atomic_load(&world.onlookers_stop)) {
        look(&snapshot, &order_id, &team_id);
        world.snapshots++;
        usleep(PAUSE_US);
    }
    return NULL;
}
