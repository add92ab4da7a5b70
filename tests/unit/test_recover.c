/* Recovery of what orders became, over a small database with something of everything in it: sound,
 * all of it is handed on; with one promise broken, it stops there and names it. */
#include "proto/verdict.h"
#include "storage/rows.h"
#include "tests/lib/book.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* What recovery handed on. */
struct restored {
    struct tg_sale_def *sales[2];
    struct tg_stock stocks[BOOK_ITEM_MAX];
    struct tg_group groups[2];
    struct tg_order_row orders[BOOK_ORDERS + 1];
    struct tg_life lives[BOOK_ORDERS + 1];
    bool has_life[BOOK_ORDERS + 1];
    struct tg_team teams[BOOK_TEAMS];
    uint32_t sale_count, group_count, order_count, team_count;
    struct sto_recovery_stats stats;
    struct tg_fault fault;
    struct sto_env *env;
    enum tg_error error;
    int refuse_team; /* the team, from 1, that is one too many */
};

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    struct restored *r = context;
    size_t bytes = sizeof(*def) + def->item_count * sizeof(def->items[0]);
    (void)fault;
    cr_assert_eq(r->group_count + r->order_count + r->team_count, 0, "sales come first");
    r->sales[r->sale_count] = malloc(bytes);
    memcpy(r->sales[r->sale_count++], def, bytes);
    for (uint32_t i = 0; i < def->item_count; i++)
        r->stocks[def->items[i].item] = stocks[i];
    return true;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    struct restored *r = context;
    (void)fault;
    cr_assert_eq(r->order_count + r->team_count, 0, "groups come before orders");
    r->groups[r->group_count++] = *group;
    return true;
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    struct restored *r = context;
    (void)fault;
    cr_assert_eq(r->team_count, 0, "orders come before teams");
    r->orders[r->order_count] = *row;
    r->has_life[r->order_count] = life != NULL;
    if (life)
        r->lives[r->order_count] = *life;
    r->order_count++;
    return true;
}

static bool on_team(void *context, const struct tg_team *team, struct tg_fault *fault)
{
    struct restored *r = context;
    r->teams[r->team_count++] = *team;
    if ((int)r->team_count != r->refuse_team)
        return true;
    tg_fault_set(fault, TG_ERR_FULL, "no room for another team");
    return false;
}

static void recover_way(struct book *book, struct restored *r, bool reads_ahead)
{
    struct sto_recovery recovery = {.context = r,
                                    .reads_ahead = reads_ahead,
                                    .sale = on_sale,
                                    .group = on_group,
                                    .order = on_order,
                                    .team = on_team};
    r->env = book_env(book);
    r->error = sto_recover(r->env, &recovery, &r->stats, &r->fault);
}

static void restored_free(struct restored *r)
{
    sto_env_close(r->env);
    for (uint32_t i = 0; i < r->sale_count; i++)
        free(r->sales[i]);
    free(r);
}

/* With a thread that reads ahead, and then without: all that is told is the same. */
static enum tg_error recover(struct book *book, struct restored *r)
{
    struct restored *ahead = calloc(1, sizeof(*ahead));
    ahead->refuse_team = r->refuse_team;
    book_close(book);
    recover_way(book, ahead, true);
    struct restored seen = *ahead;
    restored_free(ahead);
    recover_way(book, r, false);
    cr_assert_eq(seen.error, r->error, "%s, and ahead: %s", r->fault.text, seen.fault.text);
    cr_assert_str_eq(seen.fault.text, r->fault.text);
    cr_assert_eq(seen.order_count, r->order_count);
    cr_assert_eq(seen.team_count, r->team_count);
    for (uint32_t i = 0; i < r->order_count; i++) {
        cr_assert_eq(seen.orders[i].order_id, r->orders[i].order_id, "order %u", i);
        cr_assert_eq(seen.has_life[i], r->has_life[i], "order %u", i);
        cr_assert_eq(seen.lives[i].last_event, r->lives[i].last_event, "order %u", i);
    }
    return r->error;
}

/* Recovery must stop with this error, and with both words in its text. */
static void must_refuse(struct book *book, enum tg_error error, const char *row, const char *words)
{
    struct restored *r = calloc(1, sizeof(*r));
    cr_expect_eq(recover(book, r), error, "%s", r->fault.text);
    cr_expect_not_null(strstr(r->fault.text, row), "\"%s\" is not in \"%s\"", row, r->fault.text);
    cr_expect_not_null(strstr(r->fault.text, words), "\"%s\" is not in \"%s\"", words,
                       r->fault.text);
    restored_free(r);
    book_free(book);
}

static void must_recover(struct book *book)
{
    struct restored *r = calloc(1, sizeof(*r));
    cr_expect_eq(recover(book, r), TG_ERR_OK, "%s", r->fault.text);
    restored_free(r);
    book_free(book);
}

/* --- sound --- */

Test(recover, hands_on_every_order_with_what_became_of_it)
{
    struct book *book = book_make();
    struct restored *r = calloc(1, sizeof(*r));
    cr_assert_eq(recover(book, r), TG_ERR_OK, "%s", r->fault.text);
    cr_assert_eq(r->order_count, BOOK_ORDERS);
    for (int i = 0; i < BOOK_ORDERS; i++) {
        const struct tg_order_row *was = &book->orders[i], *is = &r->orders[i];
        cr_assert_eq(is->order_id, was->order_id, "order %d", i);
        cr_assert_eq(is->team_id, was->team_id, "order %d", i);
        cr_assert_eq(is->flags, was->flags);
        cr_assert_eq(is->quantity, was->quantity);
        cr_assert_eq(is->line_count, was->line_count);
        cr_assert_arr_eq(is->lines, was->lines, was->line_count * sizeof(was->lines[0]));
        cr_assert_eq(r->has_life[i], book->lives[i].state != 0, "order %d", i);
        cr_assert_eq(r->lives[i].state, book->lives[i].state);
        cr_assert_eq(r->lives[i].units, book->lives[i].units);
        cr_assert_eq(r->lives[i].last_event, book->lives[i].last_event);
        cr_assert_eq(r->lives[i].received_minor, book->lives[i].received_minor);
        cr_assert_eq(r->lives[i].refund_count, book->lives[i].refund_count);
    }
    restored_free(r);
    book_free(book);
}

Test(recover, hands_on_groups_and_the_teams_that_are_not_over)
{
    struct book *book = book_make();
    struct restored *r = calloc(1, sizeof(*r));
    cr_assert_eq(recover(book, r), TG_ERR_OK, "%s", r->fault.text);
    cr_assert_eq(r->group_count, 1);
    cr_assert_arr_eq(r->groups[0].name, "erp", 3);
    cr_assert_eq(r->groups[0].offset, book->sequence);
    cr_assert_eq(r->team_count, 2);
    cr_assert_eq(r->teams[0].team_id, book->teams[BOOK_TEAM_OPEN].team_id);
    cr_assert_eq(r->teams[0].seat_count, 2);
    cr_assert_eq(r->teams[0].seats[1].order_id, book->orders[BOOK_JOINER].order_id);
    cr_assert_eq(r->teams[1].team_id, book->teams[BOOK_TEAM_PENDING].team_id);
    restored_free(r);
    book_free(book);
}

Test(recover, counts_what_it_read)
{
    struct book *book = book_make();
    struct restored *r = calloc(1, sizeof(*r));
    cr_assert_eq(recover(book, r), TG_ERR_OK, "%s", r->fault.text);
    cr_assert_eq(r->stats.sales, 2);
    cr_assert_eq(r->stats.items, BOOK_ITEMS);
    cr_assert_eq(r->stats.orders, BOOK_ORDERS);
    cr_assert_eq(r->stats.lives, 8);
    cr_assert_eq(r->stats.teams, BOOK_TEAMS);
    cr_assert_eq(r->stats.events, book->sequence - BOOK_ORDERS);
    cr_assert_eq(r->stats.groups, 1);
    restored_free(r);
    book_free(book);
}

/* What the next commit builds on. */
Test(recover, fills_the_shadow_that_the_commit_step_needs)
{
    struct book *book = book_make();
    struct restored *r = calloc(1, sizeof(*r));
    book_event_first_put(book, 1);
    cr_assert_eq(recover(book, r), TG_ERR_OK, "%s", r->fault.text);
    const struct sto_item *items = r->env->items;
    cr_assert_eq(items[4].stock_policy, TG_POLICY_RESERVE);
    cr_assert_eq(items[2].stock_policy, TG_POLICY_ON_PLACE);
    cr_assert_eq(items[3].stock_policy, TG_POLICY_ON_PAYMENT);
    cr_assert_eq(items[4].partition, 4);
    cr_assert_eq(items[1030].partition, 5, "all of a group-buy have that of its first item");
    cr_assert_eq(items[1030].stock.sold_units, 3);
    cr_assert_eq(items[1030].stock.reserved_units, 2);
    cr_assert(!items[5].known);
    cr_assert_eq(sto_commit_stats(r->env)->sequence, book->sequence);
    cr_assert_eq(sto_commit_stats(r->env)->event_first, 1);
    restored_free(r);
    book_free(book);
}

Test(recover, goes_on_from_the_newest_order_when_no_event_is_newer)
{
    struct book *book = book_make();
    struct tg_order_row row = book_order_of(book, 3, 70, 1);
    struct restored *r = calloc(1, sizeof(*r));
    book_order_put(book, &row);
    cr_assert_eq(recover(book, r), TG_ERR_OK, "%s", r->fault.text);
    cr_assert_eq(sto_commit_stats(r->env)->sequence, row.order_id >> TG_PARTITION_BITS);
    restored_free(r);
    book_free(book);
}

Test(recover, a_team_too_many_stops_it_in_the_words_of_who_counts)
{
    struct book *book = book_make();
    struct restored *r = calloc(1, sizeof(*r));
    r->refuse_team = 2;
    cr_assert_eq(recover(book, r), TG_ERR_FULL);
    cr_assert_str_eq(r->fault.text, "no room for another team");
    restored_free(r);
    book_free(book);
}

/* --- damage --- */

Test(recover, a_damaged_row_of_each_table_stops_it)
{
    enum {
        LIFE,
        EVENT,
        TEAM,
        INGESTED,
        GROUP,
        CASES
    };
    const char *const words[CASES] = {"table lives, row", "table events, row", "table teams, row",
                                      "table ingested, row", "table groups, row erp"};
    for (int i = 0; i < CASES; i++) {
        struct book *book = book_make();
        const MDB_dbi tables[CASES] = {book->tables.lives, book->tables.events, book->tables.teams,
                                       book->tables.ingested, book->tables.groups};
        const struct tg_order_row *ingested = &book->orders[BOOK_INGESTED];
        const void *const keys[CASES] = {&ingested->order_id, &book->sequence,
                                         &book->teams[BOOK_TEAM_FAILED].team_id,
                                         ingested->request_id, "erp"};
        const size_t sizes[CASES] = {8, 8, 8, TG_REQUEST_ID_BYTES, 3};
        book_damage(book, tables[i], keys[i], sizes[i], 9);
        must_refuse(book, TG_ERR_CORRUPT, words[i], "checksum");
    }
}

Test(recover, a_life_without_an_order_stops_it)
{
    for (int at_end = 0; at_end < 2; at_end++) {
        struct book *book = book_make();
        uint64_t order_id = at_end ? UINT64_MAX - 1 : book->orders[BOOK_CART].order_id + 1;
        book_life_put(book, order_id, &book->lives[BOOK_EXPIRED]);
        must_refuse(book, TG_ERR_BROKEN, "table lives, row", "there is no such order");
    }
}

Test(recover, money_that_does_not_add_up_stops_it)
{
    for (int i = 0; i < 4; i++) {
        struct book *book = book_make();
        struct tg_life *life = &book->lives[BOOK_MONEY];
        life->received_minor += i == 0;
        life->refund_due_minor -= i == 1;
        life->refunded_minor += i == 2;
        /* Sums that agree with their rows, and more goes back than came. */
        if (i == 3) {
            life->refunds[0].amount_minor += BOOK_PRICE;
            life->refund_due_minor += BOOK_PRICE;
        }
        book_life_put(book, book->orders[BOOK_MONEY].order_id, life);
        must_refuse(book, TG_ERR_BROKEN, "table lives, row", "add up to");
    }
}

Test(recover, units_that_are_not_those_of_the_orders_stop_it)
{
    struct book *book = book_make();
    book_stock(book, 1, book_taken(2, 2));
    must_refuse(book, TG_ERR_BROKEN, "table stock, row 1:",
                "reserved 2 and sold 2, its orders add up to reserved 3 and sold 1");
    book = book_make();
    book_stock(book, 4, book_taken(0, 1));
    must_refuse(book, TG_ERR_BROKEN, "table stock, row 4:", "add up to reserved 2 and sold 1");
    book = book_make();
    book_stock(book, 1, book_taken(3, 2));
    must_refuse(book, TG_ERR_BROKEN, "table stock, row 1:", "add up to reserved 3 and sold 1");
    book = book_make();
    book->lives[BOOK_EXPIRED].units = TG_UNITS_RESERVED;
    book_life_put(book, book->orders[BOOK_EXPIRED].order_id, &book->lives[BOOK_EXPIRED]);
    must_refuse(book, TG_ERR_BROKEN, "table stock, row 1:", "add up to reserved 5 and sold 1");
}

Test(recover, the_line_of_a_cart_without_an_item_stops_it)
{
    struct book *book = book_make();
    struct tg_order_row row = book->orders[BOOK_CART];
    row.lines[1].item = 77;
    book_order_put(book, &row);
    must_refuse(book, TG_ERR_BROKEN, "table orders, row", "item 77 does not exist");
}

Test(recover, an_id_with_the_partition_of_another_item_stops_it)
{
    struct book *book = book_make();
    struct tg_order_row row = book->orders[BOOK_GONE];
    book_delete(book, book->tables.orders, &row.order_id, sizeof(row.order_id));
    row.order_id++;
    row.team_id = row.order_id;
    book_order_put(book, &row);
    must_refuse(book, TG_ERR_BROKEN, "names partition 6", "item 1030 belongs to 5");
}

/* The engine numbers the items of a sale by their place in it. */
Test(recover, a_gap_between_the_items_of_the_last_sale_stops_it)
{
    struct book *book = book_make();
    struct tg_item_def item = {.item = 1030,
                               .list_price_minor = BOOK_PRICE,
                               .sale_price_minor = BOOK_PRICE,
                               .stock_policy = TG_POLICY_RESERVE,
                               .sku_bytes = 3,
                               .sku = "A01"};
    uint32_t old = 1029, number = 1028;
    uint8_t row[256];
    item.item = number;
    sto_row_item_encode(row, 2, &item);
    book_delete(book, book->tables.items, &old, 4);
    book_delete(book, book->tables.stock, &old, 4);
    book_put(book, book->tables.items, &number, 4, row, sto_row_item_bytes(&item));
    book_stock(book, number, book_taken(0, 0));
    must_refuse(book, TG_ERR_BROKEN, "table sales, row 2:", "the numbers 1028 to 1030, with gaps");
}

/* --- teams --- */

Test(recover, a_team_that_is_overfull_stops_it)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FAILED];
    team.seats[1] = team.seats[2] = team.seats[0];
    team.seat_count = 3;
    book_team_put(book, &team);
    must_refuse(book, TG_ERR_BROKEN, "table teams, row", "3 of its 2 seats are taken");
}

Test(recover, a_seat_that_is_no_order_of_its_team_stops_it)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_OPEN];
    team.seats[1] = book->teams[BOOK_TEAM_FORMED].seats[1];
    book_team_put(book, &team);
    must_refuse(book, TG_ERR_BROKEN, "table teams, row", "is no order of it");
    book = book_make();
    team.seats[1].order_id = book->orders[BOOK_JOINER].order_id + TG_PARTITIONS;
    book_team_put(book, &team);
    must_refuse(book, TG_ERR_BROKEN, "table teams, row", "is no order of it");
    book = book_make();
    team = book->teams[BOOK_TEAM_OPEN];
    team.seats[1].user_id++;
    book_team_put(book, &team);
    must_refuse(book, TG_ERR_BROKEN, "table teams, row", "is no order of it");
}

Test(recover, a_seat_of_another_partition_stops_it_also_when_the_team_is_over)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FAILED];
    team.seats[0].order_id++;
    book_team_put(book, &team);
    must_refuse(book, TG_ERR_BROKEN, "table teams, row", "names another partition");
}

Test(recover, a_team_of_no_item_stops_it)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FAILED];
    team.item = 77;
    book_team_put(book, &team);
    must_refuse(book, TG_ERR_BROKEN, "table teams, row", "item 77 does not exist");
}

/* --- the outbox --- */

Test(recover, what_is_beyond_the_newest_sequence_stops_it)
{
    struct book *book = book_make();
    book_group_put(book, "crm", book->sequence + 1);
    must_refuse(book, TG_ERR_BROKEN, "table groups, row crm", "its offset is");
    book = book_make();
    book->lives[BOOK_MONEY].last_event = book->sequence + 1;
    book_life_put(book, book->orders[BOOK_MONEY].order_id, &book->lives[BOOK_MONEY]);
    must_refuse(book, TG_ERR_BROKEN, "table lives, row", "its last event is");
    book = book_make();
    book_event_first_put(book, book->sequence + 2);
    must_refuse(book, TG_ERR_BROKEN, "table meta", "the outbox begins at");
}

Test(recover, an_event_that_is_missing_stops_it)
{
    struct book *book = book_make();
    uint64_t sequence = book->lives[BOOK_MONEY].last_event;
    book_delete(book, book->tables.events, &sequence, sizeof(sequence));
    must_refuse(book, TG_ERR_BROKEN, "tables orders and events", "have the sequences 1 to");
}

Test(recover, an_outbox_that_was_read_and_dropped_is_sound)
{
    struct book *book = book_make();
    cr_assert_eq(mdb_drop(book->txn, book->tables.events, 0), 0);
    book_event_first_put(book, book->sequence);
    /* The newest event of all stays, or its sequence would be given again. */
    struct tg_event event = {.sequence = book->sequence,
                             .sale_id = 1001,
                             .at_ms = BOOK_AT_MS,
                             .type = TG_EVENT_SALE_STARTED};
    book_event_put(book, &event);
    must_recover(book);
}
