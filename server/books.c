#include "server/books.h"

#include "base/mem.h"
#include "proto/verdict.h"

#include <stdlib.h>

#define FOLLOWED_TYPES                                                                             \
    (1ull << TG_EVENT_ORDER_PAID | 1ull << TG_EVENT_ORDER_CONFIRMED |                              \
     1ull << TG_EVENT_TEAM_OPENED | 1ull << TG_EVENT_TEAM_FORMED | 1ull << TG_EVENT_TEAM_FAILED |  \
     1ull << TG_EVENT_TEAM_DISSOLVED)

enum tg_error srv_books_create(struct srv_books *books, const struct eng_catalog *catalog,
                               struct sto_reader *reader, uint64_t start_sequence,
                               struct tg_fault *fault)
{
    *books = (struct srv_books){.catalog = catalog,
                                .reader = reader,
                                .start_sequence = start_sequence,
                                .step = SRV_BOOKS_STEP};
    books->sales = tg_mem_map(catalog->sales_max * sizeof(*books->sales));
    books->page = malloc(TG_EVENTS_PAGE_MAX * sizeof(*books->page));
    if (books->sales && books->page)
        return TG_ERR_OK;
    srv_books_destroy(books);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the figures of sales");
}

void srv_books_destroy(struct srv_books *books)
{
    if (books->catalog)
        tg_mem_unmap(books->sales, books->catalog->sales_max * sizeof(*books->sales));
    free(books->page);
    free(books->orders.pieces);
    free(books->teams.pieces);
    *books = (struct srv_books){0};
}

/* --- which events a row has seen --- */

bool srv_walk_note(struct srv_walk *walk, uint64_t last_id, uint64_t sequence)
{
    walk->last_id = last_id;
    if (walk->count > walk->first && walk->pieces[walk->count - 1].sequence == sequence) {
        walk->pieces[walk->count - 1].last_id = last_id;
        return true;
    }
    if (walk->count == walk->room) {
        uint32_t room = walk->room ? 2 * walk->room : 64;
        struct srv_piece *pieces = realloc(walk->pieces, room * sizeof(*pieces));
        if (!pieces)
            return false;
        walk->pieces = pieces;
        walk->room = room;
    }
    walk->pieces[walk->count++] = (struct srv_piece){.last_id = last_id, .sequence = sequence};
    return true;
}

void srv_walk_forget(struct srv_walk *walk, uint64_t followed)
{
    for (; walk->first < walk->count && walk->pieces[walk->first].sequence <= followed;
         walk->first++)
        walk->settled_id = walk->pieces[walk->first].last_id;
    if (walk->first == walk->count)
        walk->first = walk->count = 0;
}

bool srv_walk_counts(const struct srv_walk *walk, uint64_t id, uint64_t sequence)
{
    if (id > walk->last_id)
        return false; /* it will be walked with the event */
    if (id <= walk->settled_id)
        return true;
    uint32_t low = walk->first, high = walk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (walk->pieces[middle].last_id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low == walk->count || sequence > walk->pieces[low].sequence;
}

/* --- counting --- */

/* The books of the item's sale; NULL for an item that is not published, which no durable order has.
 */
static struct srv_sale_books *books_of(const struct srv_books *books, uint32_t item)
{
    const struct eng_catalog *catalog = books->catalog;
    /* First, so that what it counts as published is there to read. */
    uint32_t sales = eng_catalog_sale_count(catalog);
    const struct eng_sale *sale = item < catalog->items_max ? catalog->items[item].sale : NULL;
    return sale && sale->sale < sales ? &books->sales[sale->sale] : NULL;
}

/* One order's amount fits, ten of the largest do not: a sum stays at the end of its range. */
static void add_minor(int64_t *sum, int64_t amount_minor)
{
    if (__builtin_add_overflow(*sum, amount_minor, sum))
        *sum = INT64_MAX;
}

static int64_t goods_minor(const struct tg_order_row *row)
{
    int64_t amount_minor = row->quantity * row->unit_price_minor;
    for (uint8_t i = 0; i < row->line_count; i++)
        add_minor(&amount_minor, row->lines[i].quantity * row->lines[i].unit_price_minor);
    return amount_minor;
}

void srv_books_add(struct srv_sale_books *sum, const struct srv_sale_books *one)
{
    sum->placed += one->placed;
    sum->paid += one->paid;
    sum->confirmed += one->confirmed;
    sum->placed_earlier += one->placed_earlier;
    add_minor(&sum->placed_minor, one->placed_minor);
    add_minor(&sum->paid_minor, one->paid_minor);
    sum->teams_open += one->teams_open;
    sum->teams_formed += one->teams_formed;
    sum->teams_failed += one->teams_failed;
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life)
{
    struct srv_books *books = context;
    struct srv_sale_books *sale = books_of(books, row->item);
    if (!sale)
        return true;
    sale->placed++;
    add_minor(&sale->placed_minor, goods_minor(row));
    sale->placed_earlier += row->order_id >> TG_PARTITION_BITS <= books->start_sequence;
    if (life && life->paid_at_ms != 0) {
        sale->paid++;
        add_minor(&sale->paid_minor, life->amount_minor);
    }
    sale->confirmed += life && life->confirmed_at_ms != 0;
    return true;
}

/* Whether a team that is dissolved was ever open: until its captain has paid, nobody but the
 * captain knows of it, and then it does not count. A team has the number of its first captain's
 * order. */
static enum tg_error team_was_open(struct srv_books *books, uint64_t team_id, bool *was_open,
                                   struct tg_fault *fault)
{
    bool has_life;
    enum tg_error error =
        sto_read_order(books->reader, team_id, &books->row, &books->life, &has_life, fault);
    *was_open = !error && has_life && books->life.paid_at_ms != 0;
    return error;
}

static bool on_team(void *context, const struct tg_team *team)
{
    struct srv_books *books = context;
    struct srv_sale_books *sale = books_of(books, team->item);
    struct tg_fault fault;
    bool was_open = true;
    if (!sale)
        return true;
    switch ((enum tg_team_state)team->state) {
    case TG_TEAM_PENDING: /* its captain has not paid: nobody can join it yet */
        break;
    case TG_TEAM_OPEN:
        sale->teams_open++;
        break;
    case TG_TEAM_STATE_FORMED:
        sale->teams_formed++;
        break;
    case TG_TEAM_DISSOLVED:
        if (team_was_open(books, team->team_id, &was_open, &fault) != TG_ERR_OK)
            return false;
        sale->teams_failed += was_open;
        break;
    case TG_TEAM_STATE_FAILED:
        sale->teams_failed++;
        break;
    }
    return true;
}

static enum tg_error count_order_event(struct srv_books *books, const struct tg_event *event,
                                       struct tg_fault *fault)
{
    bool has_life;
    enum tg_error error =
        sto_read_order(books->reader, event->order_id, &books->row, &books->life, &has_life, fault);
    struct srv_sale_books *sale = error ? NULL : books_of(books, books->row.item);
    if (!sale)
        return error;
    if (event->type == TG_EVENT_ORDER_PAID) {
        sale->paid++;
        add_minor(&sale->paid_minor, event->amount_minor);
    } else {
        sale->confirmed++;
    }
    return TG_ERR_OK;
}

static enum tg_error count_team_event(struct srv_books *books, const struct tg_event *event,
                                      struct tg_fault *fault)
{
    bool was_open = true;
    enum tg_error error = sto_read_team(books->reader, event->team_id, &books->team, fault);
    if (!error && event->type == TG_EVENT_TEAM_DISSOLVED)
        error = team_was_open(books, event->team_id, &was_open, fault);
    struct srv_sale_books *sale = error ? NULL : books_of(books, books->team.item);
    if (!sale || !was_open)
        return error;
    if (event->type == TG_EVENT_TEAM_OPENED) {
        sale->teams_open++;
        return TG_ERR_OK;
    }
    sale->teams_open--;
    if (event->type == TG_EVENT_TEAM_FORMED)
        sale->teams_formed++;
    else
        sale->teams_failed++;
    return TG_ERR_OK;
}

static enum tg_error count_event(struct srv_books *books, const struct tg_event *event,
                                 struct tg_fault *fault)
{
    if (event->type == TG_EVENT_ORDER_PAID || event->type == TG_EVENT_ORDER_CONFIRMED)
        return srv_walk_counts(&books->orders, event->order_id, event->sequence)
                   ? count_order_event(books, event, fault)
                   : TG_ERR_OK;
    return srv_walk_counts(&books->teams, event->team_id, event->sequence)
               ? count_team_event(books, event, fault)
               : TG_ERR_OK;
}

/* --- steps --- */

/* The bounds of the outbox in the pinned snapshot. */
static enum tg_error read_bounds(struct srv_books *books, uint64_t *first, uint64_t *last,
                                 struct tg_fault *fault)
{
    uint32_t filled;
    uint64_t next;
    return sto_read_events(books->reader, UINT64_MAX - 1, 0, 0, 0, books->page, &filled, &next,
                           first, last, fault);
}

static enum tg_error walk_orders(struct srv_books *books, uint64_t last, bool *more,
                                 struct tg_fault *fault)
{
    bool end;
    uint64_t last_id;
    enum tg_error error = sto_read_orders(books->reader, books->orders.last_id, books->step,
                                          on_order, books, &last_id, &end, fault);
    if (!srv_walk_note(&books->orders, last_id, last) && !error)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the figures of sales");
    *more = *more || !end;
    return error;
}

static enum tg_error walk_teams(struct srv_books *books, uint64_t last, bool *more,
                                struct tg_fault *fault)
{
    bool end;
    uint64_t last_id;
    enum tg_error error = sto_read_teams(books->reader, books->teams.last_id, (books->step + 7) / 8,
                                         on_team, books, &last_id, &end, fault);
    if (!srv_walk_note(&books->teams, last_id, last) && !error)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the figures of sales");
    *more = *more || !end;
    return error;
}

/* Up to the newest of the pinned snapshot, or a step's worth. Events that were dropped before they
 * were followed are of long ago, and were walked with their orders unless the walk is behind by the
 * whole outbox: then they are missing. */
static enum tg_error follow(struct srv_books *books, uint64_t first, uint64_t last, bool *more,
                            struct tg_fault *fault)
{
    if (books->followed + 1 < first)
        books->followed = first - 1;
    uint32_t filled, looked = 0;
    enum tg_error error = TG_ERR_OK;
    while (!error && books->followed < last && looked < books->step) {
        uint64_t next, newest;
        error = sto_read_events(books->reader, books->followed, FOLLOWED_TYPES, TG_EVENTS_PAGE_MAX,
                                books->step, books->page, &filled, &next, &first, &newest, fault);
        looked += (uint32_t)(next - books->followed);
        for (uint32_t i = 0; !error && i < filled; i++) {
            error = count_event(books, &books->page[i], fault);
            if (!error) /* a step that is tried again counts nothing twice */
                books->followed = books->page[i].sequence;
        }
        if (!error)
            books->followed = next;
    }
    *more = *more || books->followed < last;
    return error;
}

enum tg_error srv_books_step(struct srv_books *books, bool *more, struct tg_fault *fault)
{
    uint64_t first, last;
    *more = false;
    enum tg_error error = sto_reader_pin(books->reader, fault);
    if (error)
        return error;
    error = read_bounds(books, &first, &last, fault);
    if (!error && !books->following) {
        books->followed = last;
        books->following = true;
    }
    if (!error)
        error = walk_orders(books, last, more, fault);
    if (!error)
        error = walk_teams(books, last, more, fault);
    if (!error)
        error = follow(books, first, last, more, fault);
    sto_reader_unpin(books->reader);
    srv_walk_forget(&books->orders, books->followed);
    srv_walk_forget(&books->teams, books->followed);
    uint64_t walked = books->orders.last_id >> TG_PARTITION_BITS;
    if (!error)
        books->behind = *more ? last - (walked < books->followed ? walked : books->followed) : 0;
    return error;
}
