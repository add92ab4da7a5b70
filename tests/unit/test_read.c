/* Reads of what is durable: orders with their lives, teams, and the outbox, which is two tables
 * read as one. */
#include "proto/verdict.h"
#include "storage/env.h"
#include "storage/storage.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct depot *depot;
    struct sto_reader *reader;
};

/* A database with a sale of two items, and a reader on it. */
static struct reading reading_make(void)
{
    struct reading r = {.depot = depot_make(16 * DEPOT_MIB)};
    depot_commit_sale(r.depot, 1, 1, 2, 1000);
    cr_assert_eq(sto_reader_open(r.depot->env, &r.reader, &r.depot->fault), TG_ERR_OK);
    return r;
}

static void reading_free(struct reading *r)
{
    sto_reader_close(r->reader);
    depot_free(r->depot);
}

/* Commits an order; `paid`: with a life and two events. Returns its id. */
static uint64_t order_commit(struct depot *d, uint32_t item, bool paid)
{
    struct tg_change *change = depot_change(d, item, d->requests, 1);
    if (paid)
        depot_change_pay(change);
    struct tg_record record = depot_change_record(change);
    depot_commit_all(d, &record, 1);
    free(change);
    return record.order_id;
}

/* --- one order --- */

Test(read, a_reader_sees_each_commit_and_knows_what_is_not_there)
{
    struct reading r = reading_make();
    struct tg_fault *fault = &r.depot->fault;
    struct tg_order_row row;
    struct tg_life life;
    bool has_life = true;
    uint64_t next = (1ull << TG_PARTITION_BITS) | 1;
    cr_assert_eq(sto_read_order(r.reader, next, &row, &life, &has_life, fault), TG_ERR_NOTFOUND);
    cr_assert(!has_life);
    cr_assert_not_null(strstr(fault->text, "1025"), "%s", fault->text);
    cr_assert_eq(depot_commit_orders(r.depot, 1, 1), next);
    cr_assert_eq(sto_read_order(r.reader, next, &row, &life, &has_life, fault), TG_ERR_OK);
    cr_assert_eq(row.order_id, next);
    cr_assert_eq(row.item, 1);
    cr_assert_eq(row.unit_price_minor, DEPOT_PRICE);
    cr_assert_eq(row.channel, 3);
    cr_assert(!has_life);
    uint64_t paid = order_commit(r.depot, 2, true);
    cr_assert_eq(sto_read_order(r.reader, paid, &row, &life, &has_life, fault), TG_ERR_OK);
    cr_assert(has_life);
    cr_assert_eq(life.state, TG_ORDER_CONFIRMED);
    reading_free(&r);
}

/* --- pages of orders --- */

/* What a visitor saw; it wants at most `max` orders, of `item` (0: any). */
struct page {
    uint32_t item;
    uint32_t max;
    uint32_t visits;
    uint32_t count;
    uint64_t ids[200];
    bool lives[200];
};

static bool page_add(void *context, const struct tg_order_row *row, const struct tg_life *life)
{
    struct page *page = context;
    if (page->count == page->max)
        return false;
    page->visits++;
    if (page->item && row->item != page->item)
        return true;
    if (life)
        cr_assert_eq(life->last_event, (row->order_id >> TG_PARTITION_BITS) + 2, "of this order");
    page->lives[page->count] = life != NULL;
    page->ids[page->count++] = row->order_id;
    return true;
}

static struct page page_read(struct reading *r, uint64_t after, uint32_t scan_max, uint32_t item,
                             uint32_t max, uint64_t *last, bool *end)
{
    struct page page = {.item = item, .max = max};
    cr_assert_eq(
        sto_read_orders(r->reader, after, scan_max, page_add, &page, last, end, &r->depot->fault),
        TG_ERR_OK, "%s", r->depot->fault.text);
    return page;
}

Test(read, orders_come_in_pages)
{
    struct reading r = reading_make();
    uint64_t last;
    bool end;
    struct page page = page_read(&r, 0, 200, 0, 200, &last, &end);
    cr_assert(page.count == 0 && last == 0 && end, "none yet");
    for (int i = 0; i < 50; i++) {
        depot_commit_orders(r.depot, 1, 1);
        depot_commit_orders(r.depot, 2, 1);
    }
    page = page_read(&r, 0, 200, 0, 60, &last, &end);
    cr_assert(page.count == 60 && !end && last == page.ids[59], "a page of 60");
    page = page_read(&r, last, 200, 0, 40, &last, &end);
    cr_assert(page.count == 40 && end, "the rest fits exactly, and is the end");
    cr_assert_eq(last >> TG_PARTITION_BITS, 100);
    page = page_read(&r, 0, 31, 2, 200, &last, &end);
    cr_assert(page.count == 15 && page.visits == 31 && !end, "%u of %u", page.count, page.visits);
    cr_assert_eq(last >> TG_PARTITION_BITS, 31, "the last looked at, wanted or not");
    page = page_read(&r, 0, 0, 0, 200, &last, &end);
    cr_assert(page.count == 0 && last == 0 && !end, "nothing may be looked at");
    page = page_read(&r, UINT64_MAX, 9, 0, 9, &last, &end);
    cr_assert(page.count == 0 && end && last == UINT64_MAX);
    reading_free(&r);
}

Test(read, each_order_of_a_page_comes_with_its_own_life)
{
    struct reading r = reading_make();
    uint64_t last, ids[60];
    bool end;
    for (int i = 0; i < 60; i++)
        ids[i] = order_commit(r.depot, 1 + (uint32_t)i % 2, i % 3 == 0);
    struct page page = page_read(&r, ids[6], 200, 0, 200, &last, &end);
    cr_assert_eq(page.count, 53);
    cr_assert(end);
    for (int i = 0; i < 53; i++) {
        cr_assert_eq(page.ids[i], ids[i + 7]);
        cr_assert_eq(page.lives[i], (i + 7) % 3 == 0, "order %d", i + 7);
    }
    reading_free(&r);
}

/* --- teams --- */

static bool team_add(void *context, const struct tg_team *team)
{
    struct page *page = context;
    if (page->count == page->max)
        return false;
    cr_assert_eq(team->seats[0].order_id, team->team_id);
    page->ids[page->count++] = team->team_id;
    return true;
}

static void team_commit(struct depot *d, uint32_t item)
{
    struct tg_change *change = depot_change(d, item, d->requests, 1);
    change->row.flags = TG_ORDER_CAPTAIN;
    struct tg_team team = {.item = item,
                           .state = TG_TEAM_PENDING,
                           .size = 2,
                           .seat_count = 1,
                           .deadline_ms = DEPOT_AT_MS};
    struct tg_record records[2] = {
        depot_change_record(change),
        {.kind = TG_RECORD_TEAM, .team = {.team = &team, .event = TG_EVENT_TEAM_OPENED}}};
    records[0].more = 1;
    depot_commit_all(d, records, 2);
    free(change);
}

Test(read, teams_come_in_pages)
{
    struct reading r = reading_make();
    struct tg_sale_def *def = depot_sale(2, 5, 2, 100);
    uint64_t last;
    bool end;
    depot_sale_of_teams(def, 2);
    depot_commit_def(r.depot, def);
    for (int i = 0; i < 10; i++)
        team_commit(r.depot, 6);
    struct page page = {.max = 6};
    cr_assert_eq(sto_read_teams(r.reader, 0, 100, team_add, &page, &last, &end, &r.depot->fault),
                 TG_ERR_OK);
    cr_assert(page.count == 6 && last == page.ids[5] && !end);
    page.count = 0;
    cr_assert_eq(sto_read_teams(r.reader, last, 3, team_add, &page, &last, &end, &r.depot->fault),
                 TG_ERR_OK);
    cr_assert(page.count == 3 && last == page.ids[2] && !end);
    cr_assert_eq(sto_read_teams(r.reader, last, 3, team_add, &page, &last, &end, &r.depot->fault),
                 TG_ERR_OK);
    cr_assert(page.count == 4 && last == page.ids[3] && end, "%u", page.count);
    reading_free(&r);
}

/* --- the outbox --- */

struct outbox {
    struct tg_event events[200];
    uint32_t filled;
    uint64_t next;
    uint64_t first;
    uint64_t last;
};

static void outbox_read(struct reading *r, struct outbox *outbox, uint64_t after, uint64_t types,
                        uint32_t max, uint32_t scan_max)
{
    cr_assert_eq(sto_read_events(r->reader, after, types, max, scan_max, outbox->events,
                                 &outbox->filled, &outbox->next, &outbox->first, &outbox->last,
                                 &r->depot->fault),
                 TG_ERR_OK, "%s", r->depot->fault.text);
}

#define TYPE(name) (1ull << TG_EVENT_##name)

Test(read, an_empty_outbox_ends_where_it_begins)
{
    struct reading r = reading_make();
    struct outbox o;
    outbox_read(&r, &o, 0, UINT64_MAX, 10, 10);
    cr_assert(o.filled == 0 && o.next == 0 && o.first == 1 && o.last == 0);
    reading_free(&r);
}

Test(read, orders_and_events_come_as_one_sequence)
{
    struct reading r = reading_make();
    struct outbox o;
    /* 1, 2 plain; 3 with 4, 5; 6 plain; 7 with 8, 9. */
    depot_commit_orders(r.depot, 1, 2);
    uint64_t third = order_commit(r.depot, 2, true);
    depot_commit_orders(r.depot, 1, 1);
    order_commit(r.depot, 2, true);
    outbox_read(&r, &o, 0, UINT64_MAX, 200, 200);
    cr_assert(o.filled == 9 && o.next == 9 && o.first == 1 && o.last == 9);
    const uint8_t types[] = {
        TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PLACED,    TG_EVENT_ORDER_PLACED,
        TG_EVENT_ORDER_PAID,   TG_EVENT_ORDER_CONFIRMED, TG_EVENT_ORDER_PLACED,
        TG_EVENT_ORDER_PLACED, TG_EVENT_ORDER_PAID,      TG_EVENT_ORDER_CONFIRMED};
    for (uint32_t i = 0; i < 9; i++) {
        cr_assert_eq(o.events[i].sequence, i + 1);
        cr_assert_eq(o.events[i].type, types[i]);
    }
    cr_assert_eq(o.events[2].order_id, third);
    cr_assert_eq(o.events[2].amount_minor, DEPOT_PRICE);
    cr_assert_eq(o.events[2].at_ms, DEPOT_AT_MS, "its acceptance");
    cr_assert_eq(o.events[4].order_id, third);
    /* From every place, in every page size. */
    for (uint64_t after = 0; after < 9; after++) {
        for (uint32_t max = 1; max < 9; max++) {
            outbox_read(&r, &o, after, UINT64_MAX, max, 200);
            uint32_t left = (uint32_t)(9 - after);
            cr_assert_eq(o.filled, max < left ? max : left);
            cr_assert_eq(o.next, after + o.filled);
            for (uint32_t i = 0; i < o.filled; i++)
                cr_assert_eq(o.events[i].sequence, after + i + 1);
        }
    }
    outbox_read(&r, &o, 9, UINT64_MAX, 9, 9);
    cr_assert(o.filled == 0 && o.next == 9);
    outbox_read(&r, &o, UINT64_MAX, UINT64_MAX, 9, 9);
    cr_assert(o.filled == 0 && o.next == UINT64_MAX);
    reading_free(&r);
}

Test(read, events_of_other_types_are_looked_at_and_left_out)
{
    struct reading r = reading_make();
    struct outbox o;
    depot_commit_orders(r.depot, 1, 2);
    order_commit(r.depot, 2, true);
    depot_commit_orders(r.depot, 1, 1);
    order_commit(r.depot, 2, true);
    outbox_read(&r, &o, 0, TYPE(ORDER_PAID), 200, 200);
    cr_assert(o.filled == 2 && o.events[0].sequence == 4 && o.events[1].sequence == 8);
    cr_assert_eq(o.next, 9, "filtered events included");
    outbox_read(&r, &o, 0, TYPE(ORDER_PLACED) | TYPE(ORDER_CONFIRMED), 3, 200);
    cr_assert(o.filled == 3 && o.next == 3);
    outbox_read(&r, &o, 0, TYPE(ORDER_CONFIRMED), 200, 4);
    cr_assert(o.filled == 0 && o.next == 4, "no more than it may look at");
    outbox_read(&r, &o, 0, 0, 200, 200);
    cr_assert(o.filled == 0 && o.next == 9);
    reading_free(&r);
}

Test(read, what_was_dropped_is_not_read_and_says_so)
{
    struct reading r = reading_make();
    struct outbox o;
    for (int i = 0; i < 4; i++)
        order_commit(r.depot, 1, true); /* 1 with 2, 3 to 10 with 11, 12 */
    sto_retention_set(r.depot->env, &(struct sto_retention){.sequence_max = 6,
                                                            .before_ms = TG_TIME_MS_MAX,
                                                            .bytes_max = UINT64_MAX});
    struct tg_record record = depot_adjust(1, 1);
    depot_commit_all(r.depot, &record, 1);
    outbox_read(&r, &o, 5, UINT64_MAX, 200, 200);
    cr_assert(o.filled == 0 && o.next == 5 && o.first == 7 && o.last == 12);
    outbox_read(&r, &o, 6, UINT64_MAX, 200, 200);
    cr_assert(o.filled == 6 && o.events[0].sequence == 7 && o.next == 12);
    reading_free(&r);
}

/* Takes a row away behind storage's back. */
static void row_remove(struct depot *d, MDB_dbi table, uint64_t number)
{
    MDB_txn *txn;
    MDB_val key = {sizeof(number), &number};
    cr_assert_eq(mdb_txn_begin(d->env->lmdb, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_del(txn, table, &key, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

Test(read, a_sequence_that_is_missing_is_not_passed_over)
{
    for (int of_order = 0; of_order < 2; of_order++) {
        struct reading r = reading_make();
        struct outbox o;
        order_commit(r.depot, 1, true);
        uint64_t id = order_commit(r.depot, 1, true);
        row_remove(r.depot, of_order ? r.depot->env->tables.orders : r.depot->env->tables.events,
                   of_order ? id : 5);
        cr_assert_eq(sto_read_events(r.reader, 0, UINT64_MAX, 200, 200, o.events, &o.filled,
                                     &o.next, &o.first, &o.last, &r.depot->fault),
                     TG_ERR_CORRUPT);
        cr_assert_not_null(strstr(r.depot->fault.text, of_order ? "event 4" : "event 5"), "%s",
                           r.depot->fault.text);
        cr_assert_eq(o.next, of_order ? 3 : 4, "up to there they stand");
        reading_free(&r);
    }
}

/* --- snapshots --- */

Test(read, a_pinned_reader_stays_on_its_snapshot)
{
    struct reading r = reading_make();
    struct outbox o;
    struct tg_order_row row;
    struct tg_life life;
    bool has_life;
    struct tg_fault *fault = &r.depot->fault;
    uint64_t id = depot_commit_orders(r.depot, 1, 1);
    cr_assert_eq(sto_reader_pin(r.reader, fault), TG_ERR_OK);
    uint64_t later = depot_commit_orders(r.depot, 1, 1);
    cr_assert_eq(sto_reader_pin(r.reader, fault), TG_ERR_OK);
    outbox_read(&r, &o, 0, UINT64_MAX, 200, 200);
    sto_reader_unpin(r.reader);
    cr_assert_eq(o.last, 1);
    cr_assert_eq(sto_read_order(r.reader, id, &row, &life, &has_life, fault), TG_ERR_OK);
    cr_assert_eq(sto_read_order(r.reader, later, &row, &life, &has_life, fault), TG_ERR_NOTFOUND);
    sto_reader_unpin(r.reader);
    cr_assert_eq(sto_read_order(r.reader, later, &row, &life, &has_life, fault), TG_ERR_OK);
    outbox_read(&r, &o, 0, UINT64_MAX, 200, 200);
    cr_assert_eq(o.last, 2);
    reading_free(&r);
}

static bool order_read_inside(void *context, const struct tg_order_row *row,
                              const struct tg_life *life)
{
    struct reading *r = context;
    struct tg_order_row again;
    struct tg_life unused;
    bool has_life;
    (void)life;
    cr_assert_eq(
        sto_read_order(r->reader, row->order_id, &again, &unused, &has_life, &r->depot->fault),
        TG_ERR_OK);
    cr_assert_eq(again.order_id, row->order_id);
    return true;
}

Test(read, a_visitor_may_read_on_the_same_snapshot)
{
    struct reading r = reading_make();
    uint64_t last;
    bool end;
    depot_commit_orders(r.depot, 1, 20);
    cr_assert_eq(
        sto_read_orders(r.reader, 0, 100, order_read_inside, &r, &last, &end, &r.depot->fault),
        TG_ERR_OK);
    cr_assert(end);
    reading_free(&r);
}
