#include "tests/lib/book.h"

#include "proto/verdict.h"
#include "storage/rows.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOCK_UNITS 100

/* --- rows --- */

void book_put(struct book *book, MDB_dbi table, const void *key, size_t key_bytes, const void *row,
              size_t row_bytes)
{
    MDB_val key_value = {key_bytes, (void *)(uintptr_t)key};
    MDB_val value = {row_bytes, (void *)(uintptr_t)row};
    cr_assert_eq(mdb_put(book->txn, table, &key_value, &value, 0), 0);
}

void book_delete(struct book *book, MDB_dbi table, const void *key, size_t key_bytes)
{
    MDB_val key_value = {key_bytes, (void *)(uintptr_t)key};
    cr_assert_eq(mdb_del(book->txn, table, &key_value, NULL), 0);
}

void book_damage(struct book *book, MDB_dbi table, const void *key, size_t key_bytes, size_t at)
{
    uint8_t copy[STO_LIFE_ROW_BYTES_MAX];
    MDB_val key_value = {key_bytes, (void *)(uintptr_t)key}, value;
    cr_assert_eq(mdb_get(book->txn, table, &key_value, &value), 0);
    cr_assert(at < value.mv_size && value.mv_size <= sizeof(copy));
    memcpy(copy, value.mv_data, value.mv_size);
    copy[at] ^= 0xff;
    book_put(book, table, key, key_bytes, copy, value.mv_size);
}

void book_stock(struct book *book, uint32_t item, struct tg_stock stock)
{
    uint8_t row[STO_STOCK_ROW_BYTES];
    sto_row_stock_encode(row, item, &stock);
    book_put(book, book->tables.stock, &item, sizeof(item), row, sizeof(row));
}

void book_order_put(struct book *book, const struct tg_order_row *order)
{
    uint8_t row[STO_ORDER_ROW_BYTES_MAX];
    sto_row_order_encode(row, order);
    book_put(book, book->tables.orders, &order->order_id, sizeof(order->order_id), row,
             sto_row_order_bytes(order));
}

void book_life_put(struct book *book, uint64_t order_id, const struct tg_life *life)
{
    uint8_t row[STO_LIFE_ROW_BYTES_MAX];
    sto_row_life_encode(row, order_id, life);
    book_put(book, book->tables.lives, &order_id, sizeof(order_id), row, sto_row_life_bytes(life));
}

void book_event_put(struct book *book, const struct tg_event *event)
{
    uint8_t row[STO_EVENT_ROW_BYTES];
    sto_row_event_encode(row, event);
    book_put(book, book->tables.events, &event->sequence, sizeof(event->sequence), row,
             sizeof(row));
}

void book_team_put(struct book *book, const struct tg_team *team)
{
    uint8_t row[STO_TEAM_ROW_BYTES_MAX];
    sto_row_team_encode(row, team);
    book_put(book, book->tables.teams, &team->team_id, sizeof(team->team_id), row,
             sto_row_team_bytes(team));
}

void book_group_put(struct book *book, const char *name, uint64_t offset)
{
    uint8_t row[STO_GROUP_ROW_BYTES];
    struct tg_group group = {
        .name_bytes = (uint8_t)strlen(name), .offset = offset, .created_at_ms = BOOK_AT_MS};
    memcpy(group.name, name, group.name_bytes);
    sto_row_group_encode(row, &group);
    book_put(book, book->tables.groups, name, group.name_bytes, row, sizeof(row));
}

void book_ingested_put(struct book *book, const struct tg_order_row *order, uint64_t order_id)
{
    uint8_t row[STO_INGESTED_ROW_BYTES];
    sto_row_ingested_encode(row, order->request_id, order_id);
    book_put(book, book->tables.ingested, order->request_id, sizeof(order->request_id), row,
             sizeof(row));
}

void book_event_first_put(struct book *book, uint64_t first)
{
    uint8_t row[STO_EVENT_FIRST_ROW_BYTES];
    sto_row_event_first_encode(row, first);
    book_put(book, book->tables.meta, STO_EVENT_FIRST_KEY, sizeof(STO_EVENT_FIRST_KEY) - 1, row,
             sizeof(row));
}

/* --- the catalogue --- */

static void item_put(struct book *book, uint32_t sale, struct tg_item_def item)
{
    uint8_t row[STO_ITEM_ROW_BYTES_MAX];
    item.list_price_minor = 2 * BOOK_PRICE;
    item.sale_price_minor = BOOK_PRICE;
    item.per_user_limit = 2;
    item.sku_bytes = (uint8_t)snprintf((char *)item.sku, TG_SKU_BYTES_MAX, "SKU-%u", item.item);
    sto_row_item_encode(row, sale, &item);
    book_put(book, book->tables.items, &item.item, sizeof(item.item), row,
             sto_row_item_bytes(&item));
}

static void sale_put(struct book *book, uint32_t sale, uint8_t kind, uint32_t item_count)
{
    uint8_t row[STO_SALE_ROW_BYTES_MAX];
    struct tg_sale_def def = {.sale_id = 1000 + sale,
                              .sale = sale,
                              .kind = kind,
                              .state = TG_SALE_ACTIVE,
                              .name_bytes = 4,
                              .name = "Sale",
                              .currency = "EUR",
                              .starts_at_ms = 1,
                              .ends_at_ms = TG_TIME_MS_MAX,
                              .payment_window_s = 900,
                              .item_count = item_count};
    if (kind == TG_SALE_GROUP_BUY)
        def.team = (struct tg_team_rules){
            .team_size = 2, .at_deadline = TG_DEADLINE_FAIL, .team_lifetime_s = 86400};
    sto_row_sale_encode(row, &def);
    book_put(book, book->tables.sales, &sale, sizeof(sale), row, sto_row_sale_bytes(&def));
}

static void catalogue_put(struct book *book)
{
    item_put(book, 1, (struct tg_item_def){.item = 1, .stock_policy = TG_POLICY_RESERVE});
    item_put(book, 1, (struct tg_item_def){.item = 2, .stock_policy = TG_POLICY_ON_PLACE});
    item_put(book, 1, (struct tg_item_def){.item = 3, .stock_policy = TG_POLICY_ON_PAYMENT});
    item_put(book, 1, (struct tg_item_def){.item = 4, .stock_policy = TG_POLICY_RESERVE});
    item_put(book, 2, (struct tg_item_def){.item = 1029, .stock_policy = TG_POLICY_RESERVE});
    item_put(book, 2, (struct tg_item_def){.item = 1030, .stock_policy = TG_POLICY_RESERVE});
    sale_put(book, 1, TG_SALE_SECKILL, 4);
    sale_put(book, 2, TG_SALE_GROUP_BUY, 2);
    book_stock(book, 1, book_taken(3, 1));
    book_stock(book, 2, book_taken(0, 1));
    book_stock(book, 3, book_taken(0, 0));
    book_stock(book, 4, book_taken(2, 1));
    book_stock(book, 1029, book_taken(0, 0));
    book_stock(book, 1030, book_taken(2, 3));
}

struct tg_stock book_taken(uint32_t reserved_units, uint32_t sold_units)
{
    return (struct tg_stock){.initial_units = STOCK_UNITS,
                             .available_units = STOCK_UNITS - reserved_units - sold_units,
                             .reserved_units = reserved_units,
                             .sold_units = sold_units};
}

/* --- orders --- */

struct tg_order_row book_order_of(struct book *book, uint32_t item, uint64_t user_id,
                                  uint32_t quantity)
{
    /* All items of the group-buy have the partition of its first. */
    uint32_t partition = item < 1029 ? item : 1029 % TG_PARTITIONS;
    struct tg_order_row row = {.order_id = ++book->sequence << TG_PARTITION_BITS | partition,
                               .user_id = user_id,
                               .unit_price_minor = BOOK_PRICE,
                               .accepted_at_ms = BOOK_AT_MS,
                               .item = item,
                               .quantity = quantity};
    memcpy(row.request_id, &book->sequence, sizeof(book->sequence));
    return row;
}

void book_event(struct book *book, uint64_t order_id, uint8_t type)
{
    struct tg_event event = {
        .sequence = ++book->sequence, .order_id = order_id, .at_ms = BOOK_AT_MS, .type = type};
    book_event_put(book, &event);
}

static void order_add(struct book *book, enum book_order which, struct tg_order_row row)
{
    book->orders[which] = row;
    book_order_put(book, &row);
}

/* An event of an order; the order's life will name it. */
static void order_event(struct book *book, enum book_order which, uint8_t type)
{
    book_event(book, book->orders[which].order_id, type);
    book->lives[which].last_event = book->sequence;
}

static void life_add(struct book *book, enum book_order which, uint8_t state, enum tg_units units)
{
    struct tg_life *life = &book->lives[which];
    life->state = state;
    life->units = (uint8_t)units;
    life->version = 1;
    life->amount_minor = BOOK_PRICE * book->orders[which].quantity;
    book_life_put(book, book->orders[which].order_id, life);
}

static void pay(struct tg_life *life, int64_t amount_minor, uint8_t status)
{
    struct tg_payment *payment = &life->payments[life->payment_count++];
    *payment = (struct tg_payment){.amount_minor = amount_minor,
                                   .paid_at_ms = BOOK_AT_MS,
                                   .recorded_at_ms = BOOK_AT_MS,
                                   .currency = {'E', 'U', 'R'},
                                   .status = status,
                                   .id_bytes = 1,
                                   .id = {life->payment_count}};
    if (status != TG_PAYMENT_REFUSED_AMOUNT && status != TG_PAYMENT_REFUSED_CURRENCY)
        life->received_minor += amount_minor;
    life->paid_at_ms = BOOK_AT_MS + 1;
}

static void refund(struct tg_life *life, int64_t amount_minor, uint8_t cause, uint8_t status)
{
    struct tg_refund *refund = &life->refunds[life->refund_count++];
    *refund = (struct tg_refund){.amount_minor = amount_minor,
                                 .requested_at_ms = BOOK_AT_MS,
                                 .cause = cause,
                                 .status = status};
    if (status == TG_REFUND_DUE_STATUS)
        life->refund_due_minor += amount_minor;
    if (status == TG_REFUND_REFUNDED)
        life->refunded_minor += amount_minor;
}

static void orders_as_accepted_put(struct book *book)
{
    order_add(book, BOOK_PLAIN, book_order_of(book, 1, 1, 2));
    order_add(book, BOOK_ON_PLACE, book_order_of(book, 2, 2, 1));
    order_add(book, BOOK_UNTAKEN, book_order_of(book, 3, 3, 1));
    struct tg_order_row cart = book_order_of(book, 1, 4, 3);
    cart.flags = TG_ORDER_CART;
    cart.unit_price_minor = 0;
    cart.line_count = 2;
    cart.lines[0] = (struct tg_line){1, 1, BOOK_PRICE};
    cart.lines[1] = (struct tg_line){4, 2, BOOK_PRICE};
    order_add(book, BOOK_CART, cart);
}

static void changed_orders_put(struct book *book)
{
    struct tg_life *money = &book->lives[BOOK_MONEY], *ingested = &book->lives[BOOK_INGESTED];
    order_add(book, BOOK_MONEY, book_order_of(book, 1, 5, 1));
    pay(money, 5, TG_PAYMENT_REFUSED_AMOUNT);
    pay(money, BOOK_PRICE, TG_PAYMENT_APPLIED);
    pay(money, 700, TG_PAYMENT_REFUND_DUE);
    refund(money, 700, TG_REFUND_SECOND_PAYMENT, TG_REFUND_DUE_STATUS);
    refund(money, 300, TG_REFUND_REQUESTED, TG_REFUND_WAITING);
    refund(money, 200, TG_REFUND_REQUESTED, TG_REFUND_REFUNDED);
    refund(money, 900, TG_REFUND_REQUESTED, TG_REFUND_REJECTED);
    money->confirmed_at_ms = money->paid_at_ms;
    order_event(book, BOOK_MONEY, TG_EVENT_PAYMENT_REFUSED);
    order_event(book, BOOK_MONEY, TG_EVENT_ORDER_PAID);
    order_event(book, BOOK_MONEY, TG_EVENT_ORDER_CONFIRMED);
    order_event(book, BOOK_MONEY, TG_EVENT_REFUND_DUE);
    life_add(book, BOOK_MONEY, TG_ORDER_CONFIRMED, TG_UNITS_SOLD);

    order_add(book, BOOK_EXPIRED, book_order_of(book, 1, 1, 2));
    order_event(book, BOOK_EXPIRED, TG_EVENT_ORDER_EXPIRED);
    life_add(book, BOOK_EXPIRED, TG_ORDER_EXPIRED, TG_UNITS_NONE);

    struct tg_order_row row = book_order_of(book, 4, 6, 1);
    row.flags = TG_ORDER_INGESTED;
    row.external_bytes = 3;
    memcpy(row.external_id, "E-1", 3);
    order_add(book, BOOK_INGESTED, row);
    book_ingested_put(book, &row, row.order_id);
    pay(ingested, BOOK_PRICE, TG_PAYMENT_APPLIED);
    order_event(book, BOOK_INGESTED, TG_EVENT_ORDER_CONFIRMED);
    life_add(book, BOOK_INGESTED, TG_ORDER_CONFIRMED, TG_UNITS_SOLD);
}

/* --- teams --- */

static void team_event(struct book *book, enum book_team which, uint8_t type)
{
    struct tg_event event = {.sequence = ++book->sequence,
                             .order_id = book->teams[which].captain_order_id,
                             .team_id = book->teams[which].team_id,
                             .at_ms = BOOK_AT_MS,
                             .type = type};
    book_event_put(book, &event);
}

static void seat_add(struct book *book, enum book_team which, enum book_order order, bool paid)
{
    struct tg_team *team = &book->teams[which];
    team->seats[team->seat_count++] = (struct tg_seat){.order_id = book->orders[order].order_id,
                                                       .user_id = book->orders[order].user_id,
                                                       .joined_at_ms = BOOK_AT_MS,
                                                       .paid_at_ms = paid ? BOOK_AT_MS + 1 : 0};
}

/* A captain's order and the team that it opens. */
static void team_add(struct book *book, enum book_team which, enum book_order captain, bool paid)
{
    struct tg_order_row row = book_order_of(book, 1030, 10 + captain, 1);
    row.flags = TG_ORDER_CAPTAIN;
    row.team_id = row.order_id;
    order_add(book, captain, row);
    book->teams[which] = (struct tg_team){.team_id = row.order_id,
                                          .opener_user_id = row.user_id,
                                          .captain_order_id = row.order_id,
                                          .item = 1030,
                                          .state = TG_TEAM_PENDING,
                                          .size = 2,
                                          .opened_at_ms = BOOK_AT_MS,
                                          .deadline_ms = BOOK_AT_MS + 86400000};
    seat_add(book, which, captain, paid);
}

static void joiner_add(struct book *book, enum book_team which, enum book_order joiner, bool paid)
{
    struct tg_order_row row = book_order_of(book, 1030, 10 + joiner, 1);
    row.flags = TG_ORDER_JOINER;
    row.team_id = book->teams[which].team_id;
    order_add(book, joiner, row);
    seat_add(book, which, joiner, paid);
}

static void open_team_put(struct book *book)
{
    team_add(book, BOOK_TEAM_OPEN, BOOK_OPENER, true);
    pay(&book->lives[BOOK_OPENER], BOOK_PRICE, TG_PAYMENT_APPLIED);
    order_event(book, BOOK_OPENER, TG_EVENT_ORDER_AWAITING_TEAM);
    team_event(book, BOOK_TEAM_OPEN, TG_EVENT_TEAM_OPENED);
    life_add(book, BOOK_OPENER, TG_ORDER_AWAITING_TEAM, TG_UNITS_SOLD);
    joiner_add(book, BOOK_TEAM_OPEN, BOOK_JOINER, false);
    book->teams[BOOK_TEAM_OPEN].state = TG_TEAM_OPEN;
    book_team_put(book, &book->teams[BOOK_TEAM_OPEN]);
}

static void formed_team_put(struct book *book)
{
    team_add(book, BOOK_TEAM_FORMED, BOOK_FORMED, true);
    joiner_add(book, BOOK_TEAM_FORMED, BOOK_MEMBER, true);
    for (enum book_order order = BOOK_FORMED; order <= BOOK_MEMBER; order++) {
        pay(&book->lives[order], BOOK_PRICE, TG_PAYMENT_APPLIED);
        order_event(book, order, TG_EVENT_ORDER_CONFIRMED);
        life_add(book, order, TG_ORDER_CONFIRMED, TG_UNITS_SOLD);
    }
    team_event(book, BOOK_TEAM_FORMED, TG_EVENT_TEAM_FORMED);
    book->teams[BOOK_TEAM_FORMED].state = TG_TEAM_STATE_FORMED;
    book_team_put(book, &book->teams[BOOK_TEAM_FORMED]);
}

static void ended_teams_put(struct book *book)
{
    struct tg_life *failed = &book->lives[BOOK_FAILED];
    team_add(book, BOOK_TEAM_FAILED, BOOK_FAILED, true);
    pay(failed, BOOK_PRICE, TG_PAYMENT_APPLIED);
    refund(failed, BOOK_PRICE, TG_REFUND_TEAM_FAILED, TG_REFUND_DUE_STATUS);
    order_event(book, BOOK_FAILED, TG_EVENT_ORDER_REFUND_DUE);
    team_event(book, BOOK_TEAM_FAILED, TG_EVENT_TEAM_FAILED);
    life_add(book, BOOK_FAILED, TG_ORDER_REFUND_DUE, TG_UNITS_NONE);
    book->teams[BOOK_TEAM_FAILED].state = TG_TEAM_STATE_FAILED;
    book_team_put(book, &book->teams[BOOK_TEAM_FAILED]);

    team_add(book, BOOK_TEAM_PENDING, BOOK_PENDING, false);
    book_team_put(book, &book->teams[BOOK_TEAM_PENDING]);

    team_add(book, BOOK_TEAM_DISSOLVED, BOOK_GONE, false);
    order_event(book, BOOK_GONE, TG_EVENT_ORDER_EXPIRED);
    team_event(book, BOOK_TEAM_DISSOLVED, TG_EVENT_TEAM_DISSOLVED);
    life_add(book, BOOK_GONE, TG_ORDER_EXPIRED, TG_UNITS_NONE);
    book->teams[BOOK_TEAM_DISSOLVED].state = TG_TEAM_DISSOLVED;
    book->teams[BOOK_TEAM_DISSOLVED].seat_count = 0;
    book_team_put(book, &book->teams[BOOK_TEAM_DISSOLVED]);
}

/* --- the whole --- */

struct sto_env *book_env(const struct book *book)
{
    struct sto_options options = {.data_dir = book->dir,
                                  .map_bytes = 16 << 20,
                                  .items_max = BOOK_ITEM_MAX,
                                  .readers_max = 4,
                                  .request_ttl_s = 3600};
    struct sto_env *env;
    struct tg_fault fault;
    cr_assert_eq(sto_env_open(&options, &env, &fault), TG_ERR_OK, "%s", fault.text);
    return env;
}

struct book *book_make_empty(void)
{
    struct book *book = calloc(1, sizeof(*book));
    cr_assert_not_null(book);
    snprintf(book->dir, sizeof(book->dir), "/tmp/tidegate-test-book-XXXXXX");
    cr_assert_not_null(mkdtemp(book->dir));
    return book;
}

struct book *book_make(void)
{
    struct book *book = book_make_empty();
    sto_env_close(book_env(book)); /* storage makes the tables and the format record */
    cr_assert_eq(mdb_env_create(&book->lmdb), 0);
    cr_assert_eq(mdb_env_set_maxdbs(book->lmdb, STO_TABLES), 0);
    cr_assert_eq(mdb_env_open(book->lmdb, book->dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(book->lmdb, NULL, 0, &book->txn), 0);
    cr_assert_eq(sto_tables_open(book->txn, 0, &book->tables), 0);
    catalogue_put(book);
    orders_as_accepted_put(book);
    changed_orders_put(book);
    open_team_put(book);
    formed_team_put(book);
    ended_teams_put(book);
    struct tg_event started = {.sequence = ++book->sequence,
                               .sale_id = 1001,
                               .at_ms = BOOK_AT_MS,
                               .type = TG_EVENT_SALE_STARTED};
    book_event_put(book, &started);
    book_group_put(book, "erp", book->sequence);
    return book;
}

void book_close(struct book *book)
{
    cr_assert_eq(mdb_txn_commit(book->txn), 0);
    mdb_env_close(book->lmdb);
    book->lmdb = NULL;
}

void book_free(struct book *book)
{
    char path[128];
    const char *names[] = {"data.mdb", "lock.mdb", "lock"};
    if (book->lmdb) {
        mdb_txn_abort(book->txn);
        mdb_env_close(book->lmdb);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", book->dir, names[i]);
        unlink(path);
    }
    rmdir(book->dir);
    free(book);
}
