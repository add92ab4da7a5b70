/* Orders in their thousands, which recovery reads and hands on in blocks, with a thread that reads
 * ahead or without: nobody who takes them can tell where a block ends. */
#include "storage/rows.h"
#include "tests/lib/book.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than all blocks between reader and caller hold; some stretches fill them with other things
 * than plain rows. */
enum {
    ORDERS = 36000,
    LIVES_FROM = 1000,
    LIVES_TO = 1700,
    CARTS_FROM = 2000,
    CARTS_TO = 2700,
    AHEAD_MAX = 16,
    NOBODY = ORDERS + 1,
};

struct crowd {
    struct book *book;
    uint64_t ids[ORDERS];
};

/* One taker: what it saw, and where it refuses. */
struct taker {
    uint32_t told; /* orders that it was told of ahead */
    uint32_t taken;
    uint32_t refuses; /* the order, from 0; NOBODY: it takes all */
    const char *words;
};

struct run {
    const struct crowd *crowd;
    struct taker reader, caller;
    uint32_t before; /* orders of the book itself, which come first */
    struct tg_fault fault;
    enum tg_error error;
};

/* --- the crowd --- */

static bool is_within(uint32_t i, uint32_t from, uint32_t to)
{
    return i >= from && i < to;
}

/* All of a stretch, and of the carts some. */
static bool has_life(uint32_t i)
{
    return is_within(i, LIVES_FROM, LIVES_TO) || (is_within(i, CARTS_FROM, CARTS_TO) && i % 8 == 0);
}

/* Of item 3, whose units are taken at the payment: the stock stays as it is. */
static struct tg_order_row crowd_row(struct book *book, uint32_t i)
{
    struct tg_order_row row = book_order_of(book, 3, 1000 + i, 1 + i % 5);
    if (!is_within(i, CARTS_FROM, CARTS_TO))
        return row;
    row.flags = TG_ORDER_CART;
    row.unit_price_minor = 0;
    row.line_count = (uint8_t)(1 + i % TG_ORDER_LINES_MAX);
    row.quantity = row.line_count;
    for (uint8_t line = 0; line < row.line_count; line++)
        row.lines[line] = (struct tg_line){3, 1, BOOK_PRICE + line};
    return row;
}

static struct crowd *crowd_make(void)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    crowd->book = book_make();
    for (uint32_t i = 0; i < ORDERS; i++) {
        struct tg_order_row row = crowd_row(crowd->book, i);
        crowd->ids[i] = row.order_id;
        book_order_put(crowd->book, &row);
        if (has_life(i))
            book_life_put(crowd->book, row.order_id, &crowd->book->lives[BOOK_EXPIRED]);
    }
    return crowd;
}

static void crowd_free(struct crowd *crowd)
{
    book_free(crowd->book);
    free(crowd);
}

/* --- takers --- */

static void must_be(const struct run *run, uint32_t at, const struct tg_order_row *row)
{
    if (at < BOOK_ORDERS)
        cr_assert_eq(row->order_id, run->crowd->book->orders[at].order_id, "order %u", at);
    else
        cr_assert_eq(row->order_id, run->crowd->ids[at - BOOK_ORDERS], "order %u", at);
}

static void tell(const struct run *run, struct taker *taker, const struct tg_order_row *row)
{
    must_be(run, taker->told, row);
    taker->told++;
    cr_assert_leq(taker->told - taker->taken, AHEAD_MAX);
}

static bool take(const struct run *run, struct taker *taker, const struct tg_order_row *row,
                 const struct tg_life *life, struct tg_fault *fault)
{
    uint32_t at = taker->taken++, i = at - BOOK_ORDERS;
    cr_assert_leq(taker->taken, taker->told, "order %u was not told of", at);
    must_be(run, at, row);
    if (at >= BOOK_ORDERS) {
        cr_assert_eq(row->user_id, 1000 + i);
        cr_assert_eq(life != NULL, has_life(i), "order %u", at);
        cr_assert(!life || life->ended_at_ms == run->crowd->book->lives[BOOK_EXPIRED].ended_at_ms);
        if (is_within(i, CARTS_FROM, CARTS_TO)) {
            cr_assert_eq(row->line_count, 1 + i % TG_ORDER_LINES_MAX, "order %u", at);
            cr_assert_eq(row->lines[row->line_count - 1].unit_price_minor,
                         BOOK_PRICE + row->line_count - 1);
        }
    }
    if (at != taker->refuses)
        return true;
    tg_fault_set(fault, TG_ERR_FULL, "%s", taker->words);
    return false;
}

static bool reader_take(void *context, const struct tg_order_row *row, const struct tg_life *life,
                        struct tg_fault *fault)
{
    struct run *run = context;
    return take(run, &run->reader, row, life, fault);
}

static void reader_ahead(void *context, const struct tg_order_row *row)
{
    struct run *run = context;
    tell(run, &run->reader, row);
}

static bool caller_take(void *context, const struct tg_order_row *row, const struct tg_life *life,
                        struct tg_fault *fault)
{
    struct run *run = context;
    return take(run, &run->caller, row, life, fault);
}

static void caller_ahead(void *context, const struct tg_order_row *row)
{
    struct run *run = context;
    tell(run, &run->caller, row);
}

/* --- running --- */

static void recover_way(struct run *run, bool reads_ahead)
{
    struct sto_recovery recovery = {.context = run,
                                    .reads_ahead = reads_ahead,
                                    .reader = {.take = reader_take, .ahead = reader_ahead},
                                    .order = caller_take,
                                    .order_ahead = caller_ahead};
    struct sto_recovery_stats stats;
    struct sto_env *env = book_env(run->crowd->book);
    run->error = sto_recover(env, &recovery, &stats, &run->fault);
    sto_env_close(env);
}

/* Both ways; each must come to this end. The orders are counted from the crowd's first. */
static void must_end(const struct crowd *crowd, uint32_t reader_refuses, uint32_t caller_refuses,
                     enum tg_error error, uint32_t caller_took, const char *words)
{
    for (int reads_ahead = 0; reads_ahead < 2; reads_ahead++) {
        struct run run = {
            .crowd = crowd,
            .reader = {.refuses = BOOK_ORDERS + reader_refuses, .words = "the reader's"},
            .caller = {.refuses = BOOK_ORDERS + caller_refuses, .words = "the caller's"},
        };
        recover_way(&run, reads_ahead);
        cr_assert_eq(run.error, error, "ahead %d: %s", reads_ahead, run.fault.text);
        cr_assert_eq(run.caller.taken, BOOK_ORDERS + caller_took, "ahead %d: %u of %u", reads_ahead,
                     run.caller.taken, BOOK_ORDERS + caller_took);
        cr_assert_geq(run.reader.taken, run.caller.taken - (caller_refuses < reader_refuses));
        cr_assert_not_null(strstr(run.fault.text, words), "\"%s\" is not in \"%s\"", words,
                           run.fault.text);
    }
}

/* The last order of a block, the first of the next; where lives and lines fill blocks early; the
 * last that fits on the belt, and the very last. */
static const uint32_t places[] = {0,    1,    240,  241,   242,   255,   256,   1001,      1031,
                                  1700, 2001, 2222, 16384, 32751, 32752, 32768, ORDERS - 1};

#define PLACES (sizeof(places) / sizeof(places[0]))

/* --- promises --- */

Test(recover_orders, every_order_is_taken_once_in_the_order_of_ids)
{
    struct crowd *crowd = crowd_make();
    book_close(crowd->book);
    must_end(crowd, NOBODY, NOBODY, TG_ERR_OK, ORDERS, "");
    crowd_free(crowd);
}

Test(recover_orders, all_before_a_damaged_row_is_taken_and_nothing_behind_it)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct crowd *crowd = crowd_make();
        char row[64];
        uint64_t id = crowd->ids[places[i]];
        book_damage(crowd->book, crowd->book->tables.orders, &id, sizeof(id), 20);
        book_close(crowd->book);
        snprintf(row, sizeof(row), "table orders, row %llu: ", (unsigned long long)id);
        must_end(crowd, NOBODY, NOBODY, TG_ERR_CORRUPT, places[i], row);
        crowd_free(crowd);
    }
}

Test(recover_orders, what_is_refused_ends_it_there_in_the_words_of_who_refused)
{
    struct crowd *crowd = crowd_make();
    book_close(crowd->book);
    for (size_t i = 0; i < PLACES; i++) {
        uint32_t at = places[i];
        must_end(crowd, NOBODY, at, TG_ERR_FULL, at + 1, "the caller's");
        must_end(crowd, at, NOBODY, TG_ERR_FULL, at, "the reader's");
    }
    crowd_free(crowd);
}

Test(recover_orders, the_first_in_the_order_of_ids_is_told)
{
    struct crowd *crowd = crowd_make();
    char row[64];
    const uint32_t at = 500;
    uint64_t id = crowd->ids[at];
    book_damage(crowd->book, crowd->book->tables.orders, &id, sizeof(id), 20);
    book_close(crowd->book);
    snprintf(row, sizeof(row), "table orders, row %llu: ", (unsigned long long)id);
    /* The damage is in the same block as these, and so the reader knows of it before them. */
    must_end(crowd, NOBODY, at - 1, TG_ERR_FULL, at, "the caller's");
    must_end(crowd, at - 1, NOBODY, TG_ERR_FULL, at - 1, "the reader's");
    must_end(crowd, at - 1, at - 2, TG_ERR_FULL, at - 1, "the caller's");
    must_end(crowd, at - 2, at - 1, TG_ERR_FULL, at - 2, "the reader's");
    must_end(crowd, at + 1, at + 1, TG_ERR_CORRUPT, at, row);
    crowd_free(crowd);
}

Test(recover_orders, a_life_behind_the_last_order_is_told_when_all_are_taken)
{
    struct crowd *crowd = crowd_make();
    uint64_t id = crowd->ids[ORDERS - 1] + 1;
    book_life_put(crowd->book, id, &crowd->book->lives[BOOK_EXPIRED]);
    book_close(crowd->book);
    must_end(crowd, NOBODY, NOBODY, TG_ERR_BROKEN, ORDERS, "there is no such order");
    must_end(crowd, NOBODY, ORDERS - 1, TG_ERR_FULL, ORDERS, "the caller's");
    crowd_free(crowd);
}

/* A block ends where its room for lines does: every row must have been whole when it was checked.
 */
Test(recover_orders, a_damaged_line_of_a_cart_is_told)
{
    struct crowd *crowd = crowd_make();
    uint32_t at = CARTS_FROM + TG_ORDER_LINES_MAX - 1 - CARTS_FROM % TG_ORDER_LINES_MAX;
    uint64_t id = crowd->ids[at];
    struct tg_order_row row = crowd_row(crowd->book, at);
    cr_assert_eq(row.line_count, TG_ORDER_LINES_MAX);
    row.order_id = id;
    row.lines[TG_ORDER_LINES_MAX - 1].item = 99;
    book_order_put(crowd->book, &row);
    book_close(crowd->book);
    must_end(crowd, NOBODY, NOBODY, TG_ERR_BROKEN, at, "its item 99 does not exist");
    crowd_free(crowd);
}
