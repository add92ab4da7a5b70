/* Figures of sales: each order counts once for each step that it took, however the reading of
 * orders and of events and the changes interleave. Held against a naive model. */
#include "server/books.h"

#include "base/rng.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>

#define SEED        0x626f6f6bull
#define ITEMS       4
#define ORDERS_MAX  400
#define STOCK_UNITS 100000

/* --- which events a row has seen --- */

Test(books, an_event_counts_for_rows_that_were_walked_without_it)
{
    struct srv_walk walk = {0};
    cr_assert_not(srv_walk_counts(&walk, 1, 5), "not walked yet");
    cr_assert(srv_walk_note(&walk, 10, 100));
    cr_assert(srv_walk_note(&walk, 20, 130));
    cr_assert(srv_walk_note(&walk, 30, 130));
    cr_assert_not(srv_walk_counts(&walk, 10, 100), "it was there when the row was walked");
    cr_assert(srv_walk_counts(&walk, 10, 101));
    cr_assert_not(srv_walk_counts(&walk, 11, 101));
    cr_assert_not(srv_walk_counts(&walk, 30, 130));
    cr_assert(srv_walk_counts(&walk, 30, 131));
    cr_assert_not(srv_walk_counts(&walk, 31, 131), "not walked yet");
    srv_walk_forget(&walk, 110);
    cr_assert(srv_walk_counts(&walk, 10, 111));
    cr_assert_not(srv_walk_counts(&walk, 11, 111));
    srv_walk_forget(&walk, 130);
    cr_assert_eq(walk.count, 0);
    cr_assert(srv_walk_counts(&walk, 30, 131));
    free(walk.pieces);
}

/* --- money --- */

Test(books, money_beyond_the_range_of_a_number_stays_at_its_end)
{
    struct srv_sale_books sum = {0};
    const struct srv_sale_books one = {.placed = 1,
                                       .placed_minor = TG_AMOUNT_MINOR_MAX,
                                       .paid = 1,
                                       .paid_minor = TG_AMOUNT_MINOR_MAX};
    for (int i = 0; i < 9; i++)
        srv_books_add(&sum, &one);
    cr_assert_eq(sum.placed_minor, 9 * TG_AMOUNT_MINOR_MAX);
    for (int i = 0; i < 9; i++)
        srv_books_add(&sum, &one);
    cr_assert_eq(sum.placed, 18);
    cr_assert_eq(sum.placed_minor, INT64_MAX);
    cr_assert_eq(sum.paid_minor, INT64_MAX);
}

/* --- against a model --- */

struct world {
    struct depot *depot;
    struct eng_catalog catalog;
    struct sto_reader *reader;
    struct srv_books books;
    struct tg_change *orders[ORDERS_MAX];
    bool paid[ORDERS_MAX];
    uint32_t count;
    uint32_t paid_count;
};

static void world_make(struct world *w, uint64_t start_sequence)
{
    struct tg_stock stocks[ITEMS] = {0};
    *w = (struct world){.depot = depot_make(64 * DEPOT_MIB)};
    struct tg_fault *fault = &w->depot->fault;
    struct tg_sale_def *def = depot_sale(0, 0, ITEMS, STOCK_UNITS);
    depot_commit_sale(w->depot, 0, 0, ITEMS, STOCK_UNITS);
    cr_assert_eq(eng_catalog_create(&w->catalog, 4, ITEMS, 1, SEED, fault), TG_ERR_OK);
    cr_assert_eq(eng_catalog_restore(&w->catalog, def, stocks, fault), TG_ERR_OK, "%s",
                 fault->text);
    cr_assert_eq(sto_reader_open(w->depot->env, &w->reader, fault), TG_ERR_OK);
    cr_assert_eq(srv_books_create(&w->books, &w->catalog, w->reader, start_sequence, fault),
                 TG_ERR_OK);
    free(def);
}

static void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        free(w->orders[i]);
    srv_books_destroy(&w->books);
    sto_reader_close(w->reader);
    eng_catalog_destroy(&w->catalog);
    depot_free(w->depot);
}

static void commit_change(struct world *w, struct tg_change *change)
{
    struct tg_record record = depot_change_record(change);
    depot_commit_all(w->depot, &record, 1);
}

/* A new order, or one that is there is paid (paid and confirmed at once). */
static void act(struct world *w, struct tg_rng *rng)
{
    uint32_t which = (uint32_t)tg_rng_below(rng, w->count + 1);
    if (which < w->count && !w->paid[which]) {
        depot_change_again(w->orders[which]);
        depot_change_pay(w->orders[which]);
        commit_change(w, w->orders[which]);
        w->paid[which] = true;
        w->paid_count++;
        return;
    }
    if (w->count == ORDERS_MAX)
        return;
    struct tg_change *change =
        depot_change(w->depot, (uint32_t)tg_rng_below(rng, ITEMS), w->count + 1, 1);
    bool paid = tg_rng_below(rng, 4) == 0;
    if (paid)
        depot_change_pay(change);
    commit_change(w, change);
    w->paid[w->count] = paid;
    w->paid_count += paid;
    w->orders[w->count++] = change;
}

static bool step(struct world *w)
{
    struct tg_fault fault = {0};
    bool more;
    cr_assert_eq(srv_books_step(&w->books, &more, &fault), TG_ERR_OK, "%s", fault.text);
    return more;
}

static void look(struct world *w, uint64_t seed)
{
    const struct srv_sale_books *sale = &w->books.sales[0];
    while (step(w))
        ;
    cr_assert_eq(sale->placed, w->count, "seed %" PRIu64, seed);
    cr_assert_eq(sale->paid, w->paid_count, "seed %" PRIu64 ": %" PRIu64 " paid, not %u", seed,
                 sale->paid, w->paid_count);
    cr_assert_eq(sale->confirmed, w->paid_count, "seed %" PRIu64, seed);
    cr_assert_eq(sale->placed_minor, (int64_t)w->count * DEPOT_PRICE);
    cr_assert_eq(sale->paid_minor, (int64_t)w->paid_count * DEPOT_PRICE);
    cr_assert_eq(w->books.behind, 0);
    cr_assert_eq(w->books.orders.count, 0, "caught up, no piece is kept");
}

Test(books, hold_what_a_naive_count_holds_however_it_interleaves)
{
    for (uint64_t seed = SEED; seed < SEED + 12; seed++) {
        struct tg_rng rng;
        struct world w;
        tg_rng_init(&rng, seed);
        world_make(&w, 0);
        uint64_t before = tg_rng_below(&rng, 40);
        for (uint64_t i = 0; i < before; i++)
            act(&w, &rng);
        w.books.step = 1 + (uint32_t)tg_rng_below(&rng, 5);
        for (int i = 0; i < 250; i++) {
            act(&w, &rng);
            if (tg_rng_below(&rng, 3) == 0)
                step(&w);
        }
        look(&w, seed);
        for (int i = 0; i < 50; i++)
            act(&w, &rng);
        look(&w, seed);
        world_free(&w);
    }
}

Test(books, orders_from_before_the_start_are_known_as_such)
{
    struct tg_rng rng;
    struct world w;
    tg_rng_init(&rng, SEED);
    world_make(&w, 0);
    for (int i = 0; i < 30; i++)
        act(&w, &rng);
    uint32_t earlier = w.count;
    w.books.start_sequence = sto_commit_stats(w.depot->env)->sequence;
    for (int i = 0; i < 30; i++)
        act(&w, &rng);
    look(&w, SEED);
    cr_assert_eq(w.books.sales[0].placed_earlier, earlier);
    cr_assert(earlier < w.count);
    world_free(&w);
}
