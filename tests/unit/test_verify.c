/* The offline check, over a small database with something of everything in it: sound, it is
 * content; with one promise broken, it finds that one, names it, and nothing else. */
#include "proto/verdict.h"
#include "storage/rows.h"
#include "tests/lib/book.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found {
    char lines[32 * 1024];
    struct sto_verify_report report;
    enum tg_error error;
};

static void finding_note(void *context, const char *line)
{
    struct found *found = context;
    size_t used = strlen(found->lines);
    snprintf(found->lines + used, sizeof(found->lines) - used, "%s\n", line);
}

static uint64_t findings_of(const struct sto_verify_report *report)
{
    return report->page_errors + report->crc_errors + report->oversold_items +
           report->mismatched_items + report->duplicate_requests + report->limit_breaches +
           report->orphan_orders + report->broken_money + report->broken_teams +
           report->broken_events;
}

static struct found look(struct book *book)
{
    struct found found = {.lines = ""};
    struct tg_fault fault = {0};
    if (book->lmdb)
        book_close(book);
    found.error = sto_verify(book->dir, finding_note, NULL, &found, &found.report, &fault);
    return found;
}

#define COUNTER(field) offsetof(struct sto_verify_report, field)

/* Exactly one promise must be broken, of this kind and in these words. */
static void must_find(struct book *book, size_t counter, const char *words)
{
    struct found found = look(book);
    uint64_t count;
    memcpy(&count, (const char *)&found.report + counter, sizeof(count));
    cr_expect_eq(found.error, TG_ERR_BROKEN);
    cr_expect_eq(count, 1, "%lu of the kind: %s", count, found.lines);
    cr_expect_eq(findings_of(&found.report), 1, "more is broken:\n%s", found.lines);
    cr_expect_not_null(strstr(found.lines, words), "\"%s\" is not in:\n%s", words, found.lines);
    book_free(book);
}

static void must_be_content(struct book *book)
{
    struct found found = look(book);
    cr_expect_eq(found.error, TG_ERR_OK, "%s", found.lines);
    book_free(book);
}

/* --- sound --- */

Test(verify, is_content_with_a_sound_database)
{
    struct book *book = book_make();
    struct found found = look(book);
    cr_assert_eq(found.error, TG_ERR_OK, "%s", found.lines);
    cr_assert_eq(found.report.sales, 2);
    cr_assert_eq(found.report.items, 6);
    cr_assert_eq(found.report.orders, BOOK_ORDERS);
    cr_assert_eq(found.report.lives, 8);
    cr_assert_eq(found.report.teams, BOOK_TEAMS);
    cr_assert_eq(found.report.events, book->sequence - BOOK_ORDERS);
    cr_assert_eq(found.report.units_reserved, 7);
    cr_assert_eq(found.report.units_sold, 6);
    book_free(book);
}

/* What a database of format 1 holds: plain orders, and not even the tables of the rest. */
Test(verify, is_content_with_a_database_that_has_no_lives)
{
    struct book *book = book_make();
    uint32_t sale = 2, items[] = {1029, 1030};
    MDB_dbi newer[] = {book->tables.lives, book->tables.events, book->tables.teams,
                       book->tables.ingested, book->tables.groups};
    for (int i = 0; i < 5; i++)
        cr_assert_eq(mdb_drop(book->txn, newer[i], 1), 0);
    for (int i = BOOK_CART; i < BOOK_ORDERS; i++)
        book_delete(book, book->tables.orders, &book->orders[i].order_id, 8);
    for (int i = 0; i < 2; i++) {
        book_delete(book, book->tables.items, &items[i], 4);
        book_delete(book, book->tables.stock, &items[i], 4);
    }
    book_delete(book, book->tables.sales, &sale, 4);
    uint8_t format[STO_FORMAT_ROW_BYTES];
    sto_row_format_encode(format, 1);
    book_put(book, book->tables.meta, STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1, format,
             sizeof(format));
    book_stock(book, 1, book_taken(2, 0));
    book_stock(book, 4, book_taken(0, 0));
    must_be_content(book);
}

/* --- as the commit step writes it --- */

/* A directory of its own, and what is committed into it. */
struct house {
    struct book *book; /* for its directory alone */
    struct sto_env *env;
    struct tg_fault fault;
};

static void commit_all(struct house *h, struct tg_record *records, uint32_t count)
{
    struct sto_batch batch = {.spans = {{records, count}}, .span_count = 1};
    cr_assert_eq(sto_commit(h->env, &batch, &h->fault), STO_DURABLE, "%s", h->fault.text);
}

static struct tg_change *change_of(uint8_t flags, uint64_t user_id)
{
    struct tg_change *change = calloc(1, sizeof(*change));
    change->creates = true;
    change->units_before = TG_UNITS_NONE;
    change->row = (struct tg_order_row){.user_id = user_id,
                                        .unit_price_minor = BOOK_PRICE,
                                        .accepted_at_ms = BOOK_AT_MS,
                                        .item = 1030,
                                        .quantity = 1,
                                        .flags = flags};
    memcpy(change->row.request_id, &user_id, sizeof(user_id));
    change->life = (struct tg_life){
        .state = TG_ORDER_RESERVED, .units = TG_UNITS_RESERVED, .amount_minor = BOOK_PRICE};
    return change;
}

/* The order is paid, and comes to this state. */
static void change_pay(struct tg_change *change, uint8_t state, uint8_t event)
{
    change->creates = false;
    change->stores_life = true;
    change->units_before = change->life.units;
    change->event_count = 0;
    if (change->life.payment_count == 0) {
        change->life.payments[change->life.payment_count++] =
            (struct tg_payment){.amount_minor = BOOK_PRICE,
                                .currency = {'E', 'U', 'R'},
                                .status = TG_PAYMENT_APPLIED,
                                .id_bytes = 1};
        change->life.received_minor = BOOK_PRICE;
        change->life.paid_at_ms = BOOK_AT_MS;
        change->events[change->event_count++] =
            (struct tg_change_event){.type = TG_EVENT_ORDER_PAID, .amount_minor = BOOK_PRICE};
    }
    change->life.state = state;
    change->life.units = TG_UNITS_SOLD;
    change->events[change->event_count++] = (struct tg_change_event){.type = event};
}

static struct tg_record change_record(struct tg_change *change, uint8_t more)
{
    return (struct tg_record){.kind = TG_RECORD_CHANGE,
                              .more = more,
                              .item = change->row.item,
                              .order_id = change->row.order_id,
                              .at_ms = BOOK_AT_MS,
                              .change = change};
}

static struct tg_record team_record(struct tg_team *team, uint8_t event)
{
    return (struct tg_record){.kind = TG_RECORD_TEAM,
                              .item = team->item,
                              .at_ms = BOOK_AT_MS,
                              .team = {.team = team, .event = event}};
}

static void commit_catalogue(struct house *h)
{
    struct tg_sale_def *def = tg_sale_def_create(2);
    def->sale_id = 9;
    def->sale = 1;
    def->kind = TG_SALE_GROUP_BUY;
    def->state = TG_SALE_ACTIVE;
    def->name_bytes = 4;
    memcpy(def->name, "Team", 4);
    memcpy(def->currency, "EUR", 3);
    def->starts_at_ms = 1;
    def->ends_at_ms = TG_TIME_MS_MAX;
    def->payment_window_s = 900;
    def->team = (struct tg_team_rules){
        .team_size = 2, .at_deadline = TG_DEADLINE_FAIL, .team_lifetime_s = 86400};
    for (uint32_t i = 0; i < 2; i++)
        def->items[i] = (struct tg_item_def){.item = 1029 + i,
                                             .sku_bytes = 1,
                                             .sku = {(uint8_t)('A' + i)},
                                             .list_price_minor = 2 * BOOK_PRICE,
                                             .sale_price_minor = BOOK_PRICE,
                                             .stock_units = 10,
                                             .per_user_limit = 1,
                                             .stock_policy = TG_POLICY_RESERVE};
    struct tg_record records[] = {
        {.kind = TG_RECORD_SALE, .sale = def},
        {.kind = TG_RECORD_SALE_EVENT,
         .at_ms = BOOK_AT_MS,
         .sale_event = {.sale_id = 9, .sale = 1, .announced = TG_ANNOUNCED_START}}};
    commit_all(h, records, 2);
    free(def);
}

/* A team is opened, joined, and formed by the second payment. */
static void commit_team(struct house *h)
{
    struct tg_change *captain = change_of(TG_ORDER_CAPTAIN, 1);
    struct tg_change *joiner = change_of(TG_ORDER_JOINER, 2);
    struct tg_team team = {.opener_user_id = 1,
                           .item = 1030,
                           .state = TG_TEAM_PENDING,
                           .size = 2,
                           .seat_count = 1,
                           .opened_at_ms = BOOK_AT_MS,
                           .deadline_ms = BOOK_AT_MS + 1,
                           .seats = {{.user_id = 1}, {.user_id = 2}}};
    struct tg_record opened[] = {change_record(captain, 1), team_record(&team, 0)};
    commit_all(h, opened, 2);

    change_pay(captain, TG_ORDER_AWAITING_TEAM, TG_EVENT_ORDER_AWAITING_TEAM);
    team.state = TG_TEAM_OPEN;
    team.seats[0].paid_at_ms = BOOK_AT_MS;
    struct tg_record paid[] = {change_record(captain, 1), team_record(&team, TG_EVENT_TEAM_OPENED)};
    commit_all(h, paid, 2);

    joiner->row.team_id = team.team_id;
    team.seat_count = 2;
    struct tg_record joined[] = {change_record(joiner, 1), team_record(&team, 0)};
    commit_all(h, joined, 2);

    change_pay(captain, TG_ORDER_CONFIRMED, TG_EVENT_ORDER_CONFIRMED);
    change_pay(joiner, TG_ORDER_CONFIRMED, TG_EVENT_ORDER_CONFIRMED);
    team.state = TG_TEAM_STATE_FORMED;
    team.seats[1].paid_at_ms = BOOK_AT_MS;
    struct tg_record formed[] = {change_record(captain, 1), change_record(joiner, 1),
                                 team_record(&team, TG_EVENT_TEAM_FORMED)};
    commit_all(h, formed, 3);
    free(captain);
    free(joiner);
}

static bool ignore_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                        struct tg_fault *fault)
{
    (void)context, (void)def, (void)stocks, (void)fault;
    return true;
}

static bool ignore_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                         struct tg_fault *fault)
{
    (void)context, (void)row, (void)life, (void)fault;
    return true;
}

Test(verify, and_recovery_are_content_with_what_the_commit_step_writes)
{
    struct house h = {.book = book_make_empty()};
    struct found found;
    struct sto_recovery recovery = {.sale = ignore_sale, .order = ignore_order};
    struct sto_recovery_stats stats;
    h.env = book_env(h.book);
    commit_catalogue(&h);
    commit_team(&h);
    /* The next commit drops what is older than the last of them. */
    sto_retention_set(h.env, &(struct sto_retention){.sequence_max = UINT64_MAX,
                                                     .before_ms = BOOK_AT_MS + 1,
                                                     .bytes_max = UINT64_MAX});
    struct tg_record state = {.kind = TG_RECORD_SALE_STATE,
                              .sale_state = {.sale = 1, .state = TG_SALE_PAUSED}};
    commit_all(&h, &state, 1);
    cr_assert_gt(sto_commit_stats(h.env)->event_first, 1);
    uint64_t sequence = sto_commit_stats(h.env)->sequence;
    sto_env_close(h.env);
    h.env = book_env(h.book);
    cr_assert_eq(sto_recover(h.env, &recovery, &stats, &h.fault), TG_ERR_OK, "%s", h.fault.text);
    cr_assert_eq(sto_commit_stats(h.env)->sequence, sequence);
    cr_assert_eq(stats.lives, 2);
    sto_env_close(h.env);
    found = look(h.book);
    cr_assert_eq(found.error, TG_ERR_OK, "%s", found.lines);
    cr_assert_eq(found.report.teams, 1);
    cr_assert_eq(found.report.units_sold, 2);
    book_free(h.book);
}

Test(verify, is_content_when_old_events_are_dropped)
{
    struct book *book = book_make();
    uint64_t first = (book->orders[BOOK_OPENER].order_id >> TG_PARTITION_BITS) + 1;
    for (uint64_t sequence = 1; sequence < first; sequence++) {
        MDB_val key = {sizeof(sequence), &sequence};
        mdb_del(book->txn, book->tables.events, &key, NULL);
    }
    book_event_first_put(book, first);
    must_be_content(book);
}

/* --- damage --- */

Test(verify, finds_a_damaged_row_in_each_table)
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
                                         &book->teams[BOOK_TEAM_PENDING].team_id,
                                         ingested->request_id, "erp"};
        const size_t sizes[CASES] = {8, 8, 8, TG_REQUEST_ID_BYTES, 3};
        book_damage(book, tables[i], keys[i], sizes[i], 20 % STO_INGESTED_ROW_BYTES + 5);
        /* Nobody knows where the units of a damaged life are. */
        if (i == LIFE)
            book_stock(book, 4, book_taken(2, 0));
        must_find(book, COUNTER(crc_errors), words[i]);
    }
}

Test(verify, goes_on_behind_a_damaged_beginning_of_the_outbox)
{
    struct book *book = book_make();
    book_event_first_put(book, 1);
    book_damage(book, book->tables.meta, STO_EVENT_FIRST_KEY, sizeof(STO_EVENT_FIRST_KEY) - 1, 9);
    must_find(book, COUNTER(crc_errors), "table meta, row event_first");
}

Test(verify, finds_an_id_with_the_partition_of_another_item)
{
    struct book *book = book_make();
    struct tg_order_row row = book->orders[BOOK_PENDING];
    uint32_t item = 2000 % TG_PARTITIONS;
    book_stock(book, 1030, book_taken(1, 3));
    book_delete(book, book->tables.teams, &row.order_id, 8);
    book_delete(book, book->tables.orders, &row.order_id, 8);
    row.order_id = row.order_id / TG_PARTITIONS * TG_PARTITIONS + item;
    row.team_id = row.order_id;
    struct tg_team team = book->teams[BOOK_TEAM_PENDING];
    team.team_id = team.captain_order_id = team.seats[0].order_id = row.order_id;
    book_order_put(book, &row);
    book_team_put(book, &team);
    book_stock(book, 1030, book_taken(2, 3));
    must_find(book, COUNTER(crc_errors), "belongs to 5");
}

/* --- money --- */

/* The life of BOOK_MONEY, changed. */
static void money_is_found(struct book *book, const char *words)
{
    book_life_put(book, book->orders[BOOK_MONEY].order_id, &book->lives[BOOK_MONEY]);
    must_find(book, COUNTER(broken_money), words);
}

Test(verify, finds_money_that_no_payment_brought)
{
    struct book *book = book_make();
    book->lives[BOOK_MONEY].received_minor += 5;
    money_is_found(book, "says received 1705, its rows add up to 1700");
}

Test(verify, finds_refunds_that_do_not_add_up)
{
    struct book *book = book_make();
    book->lives[BOOK_MONEY].refund_due_minor--;
    money_is_found(book, "says refund due 699, its rows add up to 700");
    book = book_make();
    book->lives[BOOK_MONEY].refunded_minor++;
    money_is_found(book, "says refunded 201, its rows add up to 200");
}

Test(verify, finds_more_refunds_than_money)
{
    struct book *book = book_make();
    book->lives[BOOK_MONEY].refunds[1].amount_minor = 801;
    money_is_found(book, "waiting 801, due 700 and done 200 are more than 1700 received");
}

Test(verify, finds_sums_beyond_the_numbers_that_hold_them)
{
    struct book *book = book_make();
    struct tg_life *life = &book->lives[BOOK_MONEY];
    life->payment_count = TG_ORDER_PAYMENTS_MAX;
    for (int i = 2; i < TG_ORDER_PAYMENTS_MAX; i++)
        life->payments[i] = life->payments[1];
    for (int i = 0; i < TG_ORDER_PAYMENTS_MAX; i++)
        life->payments[i].amount_minor = TG_AMOUNT_MINOR_MAX;
    money_is_found(book, "says received 1700");
}

Test(verify, finds_a_refunded_order_that_is_owed_money)
{
    struct book *book = book_make();
    struct tg_life life = book->lives[BOOK_FAILED];
    life.state = TG_ORDER_REFUNDED;
    book_life_put(book, book->orders[BOOK_FAILED].order_id, &life);
    must_find(book, COUNTER(broken_money), "it is REFUNDED, and 1000 are due");
}

/* --- units --- */

Test(verify, finds_stock_that_is_not_that_of_its_orders)
{
    static const struct {
        uint32_t item;
        uint32_t reserved, sold;
        const char *words;
    } cases[] = {{1, 2, 2, "reserved 2 and sold 2, its orders add up to reserved 3 and sold 1"},
                 {1, 3, 2, "reserved 3 and sold 2, its orders add up to reserved 3 and sold 1"},
                 {2, 1, 0, "reserved 1 and sold 0, its orders add up to reserved 0 and sold 1"},
                 {3, 1, 0, "reserved 1 and sold 0, its orders add up to reserved 0 and sold 0"},
                 {4, 0, 1, "reserved 0 and sold 1, its orders add up to reserved 2 and sold 1"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct book *book = book_make();
        book_stock(book, cases[i].item, book_taken(cases[i].reserved, cases[i].sold));
        must_find(book, COUNTER(mismatched_items), cases[i].words);
    }
}

Test(verify, finds_units_where_their_order_does_not_keep_them)
{
    struct book *book = book_make();
    struct tg_life life = book->lives[BOOK_EXPIRED];
    life.units = TG_UNITS_RESERVED;
    book_life_put(book, book->orders[BOOK_EXPIRED].order_id, &life);
    book_stock(book, 1, book_taken(5, 1));
    must_find(book, COUNTER(mismatched_items),
              "it is EXPIRED, and its units of item 1 are reserved");
}

Test(verify, finds_the_line_of_a_cart_without_an_item)
{
    struct book *book = book_make();
    struct tg_order_row row = book->orders[BOOK_CART];
    row.lines[1].item = 77;
    book_order_put(book, &row);
    book_stock(book, 4, book_taken(0, 1));
    must_find(book, COUNTER(orphan_orders), "its item 77 does not exist");
}

/* --- numbers --- */

/* Sound checksums; but what is sized by such numbers would be as large as memory. */
Test(verify, finds_numbers_that_no_configuration_allows)
{
    struct tg_item_def item = {.item = 4000000000u,
                               .list_price_minor = BOOK_PRICE,
                               .sale_price_minor = BOOK_PRICE,
                               .stock_policy = TG_POLICY_RESERVE,
                               .sku_bytes = 3,
                               .sku = "A01"};
    for (int of_sale = 0; of_sale < 2; of_sale++) {
        struct book *book = book_make();
        uint8_t row[256];
        item.item = of_sale ? 5 : 4000000000u;
        sto_row_item_encode(row, of_sale ? 4000000000u : 1, &item);
        book_put(book, book->tables.items, &item.item, 4, row, sto_row_item_bytes(&item));
        must_find(book, COUNTER(crc_errors), "number is above any that can be configured");
    }
}

Test(verify, finds_a_gap_between_the_items_of_a_sale)
{
    struct book *book = book_make();
    struct tg_item_def item = {.item = 1031,
                               .list_price_minor = BOOK_PRICE,
                               .sale_price_minor = BOOK_PRICE,
                               .stock_policy = TG_POLICY_RESERVE,
                               .sku_bytes = 3,
                               .sku = "A01"};
    uint32_t old = 2, number = 6;
    uint8_t row[256];
    item.item = number;
    sto_row_item_encode(row, 1, &item);
    /* Item 2 with its order and its stock becomes item 6. */
    struct tg_order_row order = book->orders[BOOK_ON_PLACE];
    book_delete(book, book->tables.orders, &order.order_id, 8);
    order.order_id = order.order_id - old + number;
    order.item = number;
    book_order_put(book, &order);
    book_delete(book, book->tables.items, &old, 4);
    book_delete(book, book->tables.stock, &old, 4);
    book_put(book, book->tables.items, &number, 4, row, sto_row_item_bytes(&item));
    book_stock(book, number, book_taken(1, 0));
    must_find(book, COUNTER(mismatched_items), "have the numbers 1 to 6, with gaps");
}

/* --- request ids and limits --- */

Test(verify, finds_an_ingested_order_twice_however_late)
{
    struct book *book = book_make();
    struct tg_order_row row = book_order_of(book, 4, 50, 1);
    const struct tg_order_row *first = &book->orders[BOOK_INGESTED];
    memcpy(row.request_id, first->request_id, sizeof(row.request_id));
    row.accepted_at_ms += 1000ll * 365 * 24 * 3600;
    book_order_put(book, &row);
    book_stock(book, 4, book_taken(3, 1));
    must_be_content(book);

    book = book_make();
    row.flags = TG_ORDER_INGESTED;
    book->sequence++;
    book_order_put(book, &row);
    book_stock(book, 4, book_taken(3, 1));
    must_find(book, COUNTER(duplicate_requests), "also owns order");
}

Test(verify, finds_an_ingested_order_that_is_not_known)
{
    struct book *book = book_make();
    book_delete(book, book->tables.ingested, book->orders[BOOK_INGESTED].request_id,
                TG_REQUEST_ID_BYTES);
    must_find(book, COUNTER(duplicate_requests), "could be taken again");
}

Test(verify, finds_an_ingested_id_without_its_order)
{
    struct book *book = book_make();
    struct tg_order_row row = book_order_of(book, 4, 50, 1);
    book->sequence--;
    book_ingested_put(book, &row, row.order_id);
    must_find(book, COUNTER(orphan_orders), "table ingested: its order");
    book = book_make();
    book_ingested_put(book, &row, book->orders[BOOK_INGESTED].order_id);
    must_find(book, COUNTER(orphan_orders), "is another request's");
}

Test(verify, finds_a_user_over_a_limit_by_the_lines_of_carts)
{
    struct book *book = book_make();
    struct tg_order_row row = book_order_of(book, 4, 4, 1);
    book_order_put(book, &row);
    book_stock(book, 4, book_taken(3, 1));
    must_find(book, COUNTER(limit_breaches), "user 4 holds 3 units of item 4, whose limit is 2");
}

Test(verify, counts_no_order_that_does_not_stand)
{
    static const uint8_t fallen[] = {TG_ORDER_EXPIRED, TG_ORDER_CANCELLED, TG_ORDER_REFUND_DUE,
                                     TG_ORDER_REFUNDED};
    for (size_t i = 0; i < sizeof(fallen); i++) {
        struct book *book = book_make();
        struct tg_life life = book->lives[BOOK_EXPIRED];
        life.state = fallen[i];
        book_life_put(book, book->orders[BOOK_EXPIRED].order_id, &life);
        must_be_content(book);
    }
    struct book *book = book_make();
    struct tg_life life = book->lives[BOOK_EXPIRED];
    life.state = TG_ORDER_DELIVERED;
    life.units = TG_UNITS_SOLD;
    book_life_put(book, book->orders[BOOK_EXPIRED].order_id, &life);
    book_stock(book, 1, book_taken(3, 3));
    must_find(book, COUNTER(limit_breaches), "user 1 holds 4 units of item 1");
}

/* More lines than orders: what users hold outgrows the table that was made for the orders. */
Test(verify, holds_the_lines_of_many_carts)
{
    struct book *book = book_make();
    for (uint64_t user = 100; user < 148; user++) {
        struct tg_order_row cart = book_order_of(book, 1, user, 3);
        cart.flags = TG_ORDER_CART;
        cart.unit_price_minor = 0;
        cart.line_count = 3;
        cart.lines[0] = (struct tg_line){1, 1, BOOK_PRICE};
        cart.lines[1] = (struct tg_line){4, 1, BOOK_PRICE};
        cart.lines[2] = (struct tg_line){3, 1, BOOK_PRICE};
        book_order_put(book, &cart);
    }
    struct tg_order_row third = book_order_of(book, 4, 100, 2);
    book_order_put(book, &third);
    book_stock(book, 1, book_taken(51, 1));
    book_stock(book, 4, book_taken(52, 1));
    must_find(book, COUNTER(limit_breaches), "user 100 holds 3 units of item 4");
}

/* --- lives --- */

Test(verify, finds_a_life_without_an_order)
{
    for (int at_end = 0; at_end < 2; at_end++) {
        struct book *book = book_make();
        uint64_t order_id = at_end ? UINT64_MAX - 1 : book->orders[BOOK_CART].order_id + 1;
        book_life_put(book, order_id, &book->lives[BOOK_EXPIRED]);
        must_find(book, COUNTER(orphan_orders), "there is no such order");
    }
}

Test(verify, finds_steps_that_go_back)
{
    struct book *book = book_make();
    struct tg_life life = book->lives[BOOK_MONEY];
    life.confirmed_at_ms = life.paid_at_ms - 1;
    book_life_put(book, book->orders[BOOK_MONEY].order_id, &life);
    must_find(book, COUNTER(broken_events), "follows one at");
}

/* --- teams --- */

Test(verify, finds_a_team_that_is_overfull)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FORMED];
    struct tg_order_row row = book_order_of(book, 1030, 60, 1);
    row.flags = TG_ORDER_JOINER;
    row.team_id = team.team_id;
    struct tg_life life = book->lives[BOOK_MEMBER];
    book_event(book, row.order_id, TG_EVENT_ORDER_CONFIRMED);
    life.last_event = book->sequence;
    book_order_put(book, &row);
    book_life_put(book, row.order_id, &life);
    book_stock(book, 1030, book_taken(2, 4));
    team.seats[team.seat_count++] = (struct tg_seat){row.order_id, 60, BOOK_AT_MS, BOOK_AT_MS};
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "3 seats are taken, and it has 2");
}

Test(verify, finds_a_team_of_another_item_than_its_opener)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_DISSOLVED];
    team.item = team.item == 1029 ? 1030 : 1029;
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "the order that opened it of");
}

Test(verify, finds_a_captain_without_a_seat)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FORMED];
    team.captain_order_id = book->orders[BOOK_PLAIN].order_id;
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "its captain's order");
}

Test(verify, finds_a_user_with_two_seats)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_OPEN];
    struct tg_order_row row = book->orders[BOOK_JOINER];
    row.user_id = team.seats[1].user_id = team.seats[0].user_id;
    book_order_put(book, &row);
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "has two seats");
}

Test(verify, finds_a_seat_without_its_order)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FAILED];
    team.seats[team.seat_count++] =
        (struct tg_seat){book->orders[BOOK_GONE].order_id + TG_PARTITIONS, 61, BOOK_AT_MS, 0};
    book_team_put(book, &team);
    must_find(book, COUNTER(orphan_orders), "the order");
}

Test(verify, finds_a_seat_with_the_order_of_another_team)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_FAILED];
    team.seats[team.seat_count++] = book->teams[BOOK_TEAM_FORMED].seats[0];
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "of a seat is of team");
}

Test(verify, finds_members_in_another_state_than_their_team)
{
    static const struct {
        enum book_team team;
        uint8_t state;
        const char *words;
    } cases[] = {
        {BOOK_TEAM_OPEN, TG_TEAM_STATE_FAILED, "RESERVED with a seat that is not paid in team"},
        {BOOK_TEAM_FAILED, TG_TEAM_STATE_FORMED, NULL},
        {BOOK_TEAM_FAILED, TG_TEAM_OPEN, "REFUND_DUE with a paid seat in team"},
        {BOOK_TEAM_PENDING, TG_TEAM_STATE_FORMED, "RESERVED with a seat that is not paid"},
        {BOOK_TEAM_PENDING, TG_TEAM_DISSOLVED, "which is DISSOLVED"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct book *book = book_make();
        struct tg_team team = book->teams[cases[i].team];
        team.state = cases[i].state;
        /* The opener waits for its team in either. */
        if (cases[i].team == BOOK_TEAM_OPEN) {
            struct tg_life life = book->lives[BOOK_OPENER];
            life.state = TG_ORDER_REFUND_DUE;
            book_life_put(book, book->orders[BOOK_OPENER].order_id, &life);
        }
        book_team_put(book, &team);
        if (cases[i].words)
            must_find(book, COUNTER(broken_teams), cases[i].words);
        else
            must_be_content(book);
    }
}

Test(verify, finds_a_member_of_a_failed_team_that_got_its_goods)
{
    struct book *book = book_make();
    struct tg_life life = book->lives[BOOK_FAILED];
    life.state = TG_ORDER_SHIPPED;
    life.units = TG_UNITS_SOLD;
    book_life_put(book, book->orders[BOOK_FAILED].order_id, &life);
    book_stock(book, 1030, book_taken(2, 4));
    must_find(book, COUNTER(broken_teams), "it is SHIPPED with a paid seat");
}

Test(verify, finds_a_paid_seat_that_does_not_await_its_team)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_OPEN];
    team.seats[1].paid_at_ms = BOOK_AT_MS;
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "it is RESERVED with a paid seat in team");
}

Test(verify, finds_an_order_that_stands_without_a_seat)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_OPEN];
    team.seat_count = 1;
    book_team_put(book, &team);
    must_find(book, COUNTER(broken_teams), "it is RESERVED without a seat");
}

Test(verify, finds_a_team_that_no_order_opened)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_DISSOLVED];
    team.team_id += TG_PARTITIONS;
    book_team_put(book, &team);
    must_find(book, COUNTER(orphan_orders), "the order that opened it does not exist");
}

Test(verify, is_content_with_a_team_that_failed_before_anybody_paid)
{
    struct book *book = book_make();
    struct tg_team team = book->teams[BOOK_TEAM_DISSOLVED];
    team.state = TG_TEAM_STATE_FAILED;
    book_team_put(book, &team);
    must_be_content(book);
}

Test(verify, finds_an_order_without_its_team)
{
    struct book *book = book_make();
    book_delete(book, book->tables.teams, &book->teams[BOOK_TEAM_PENDING].team_id, 8);
    must_find(book, COUNTER(orphan_orders), "its team");
}

/* --- the outbox --- */

Test(verify, finds_sequences_that_are_missing)
{
    struct book *book = book_make();
    book_event(book, book->orders[BOOK_MONEY].order_id, TG_EVENT_ORDER_SHIPPED);
    struct tg_life life = book->lives[BOOK_MONEY];
    uint64_t sequence = book->sequence;
    life.last_event = book->sequence = sequence + 3;
    book_delete(book, book->tables.events, &sequence, 8);
    book_event(book, book->orders[BOOK_MONEY].order_id, TG_EVENT_ORDER_SHIPPED);
    life.last_event = book->sequence;
    book_life_put(book, book->orders[BOOK_MONEY].order_id, &life);
    char words[64];
    snprintf(words, sizeof(words), "sequences %llu to %llu are missing",
             (unsigned long long)sequence, (unsigned long long)sequence + 3);
    must_find(book, COUNTER(broken_events), words);
}

Test(verify, finds_an_outbox_that_does_not_begin_where_it_says)
{
    struct book *book = book_make();
    uint64_t placed = book->orders[BOOK_MONEY].order_id >> TG_PARTITION_BITS;
    book_event_first_put(book, placed + 2);
    must_find(book, COUNTER(broken_events), "the first event kept is");
    book = book_make();
    book_event_first_put(book, book->sequence + 2);
    struct found found = look(book);
    cr_assert_not_null(strstr(found.lines, "the outbox begins at"), "%s", found.lines);
    book_free(book);
}

Test(verify, finds_a_sequence_that_stands_twice)
{
    struct book *book = book_make();
    struct tg_event event = {.sequence = book->orders[BOOK_PENDING].order_id >> TG_PARTITION_BITS,
                             .sale_id = 1001,
                             .at_ms = BOOK_AT_MS,
                             .type = TG_EVENT_SALE_ENDED};
    book_event_put(book, &event);
    char words[64];
    snprintf(words, sizeof(words), "sequence %llu stands twice",
             (unsigned long long)event.sequence);
    must_find(book, COUNTER(broken_events), words);
}

Test(verify, finds_an_event_that_its_order_does_not_know)
{
    struct book *book = book_make();
    book_event(book, book->orders[BOOK_MONEY].order_id, TG_EVENT_ORDER_SHIPPED);
    must_find(book, COUNTER(broken_events), "it is behind the newest event that the life");
    book = book_make();
    book_event(book, book->orders[BOOK_PLAIN].order_id, TG_EVENT_ORDER_PAID);
    must_find(book, COUNTER(broken_events), "has no life");
}

Test(verify, finds_an_order_whose_newest_event_is_not_there)
{
    struct book *book = book_make();
    struct tg_life life = book->lives[BOOK_MONEY];
    life.last_event = book->lives[BOOK_INGESTED].last_event;
    book_life_put(book, book->orders[BOOK_MONEY].order_id, &life);
    must_find(book, COUNTER(broken_events), "is not there, or is not of this order");
    book = book_make();
    life.last_event = 1;
    book_life_put(book, book->orders[BOOK_INGESTED].order_id, &life);
    struct found found = look(book);
    cr_assert_not_null(strstr(found.lines, "is older than the order"), "%s", found.lines);
    book_free(book);
}

Test(verify, finds_events_of_what_is_not_there)
{
    struct book *book = book_make();
    book_event(book, UINT64_MAX - 1, TG_EVENT_ORDER_PAID);
    must_find(book, COUNTER(orphan_orders), "its order 18446744073709551614 does not exist");
    book = book_make();
    struct tg_event event = {.sequence = ++book->sequence,
                             .order_id = book->orders[BOOK_PLAIN].order_id,
                             .team_id = book->orders[BOOK_PLAIN].order_id,
                             .at_ms = BOOK_AT_MS,
                             .type = TG_EVENT_TEAM_FORMED};
    book_event_put(book, &event);
    must_find(book, COUNTER(orphan_orders), "does not exist");
}

Test(verify, finds_a_group_beyond_the_newest_event)
{
    struct book *book = book_make();
    book_group_put(book, "crm.eu", book->sequence + 1);
    must_find(book, COUNTER(broken_events), "table groups, row crm.eu: its offset is");
}
