/* The end: what the clients were told, what the engine has in memory, what the database holds and
 * what the consumer saw tell the same story. One thread. */
#include "tests/stress/stress.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 1024,
};

struct books {
    struct entry **told; /* accepted orders, by id */
    uint64_t told_count;
    uint64_t orders; /* found in the database */
    uint64_t teams;
    uint64_t reserved[ITEMS_MAX];
    uint64_t sold[ITEMS_MAX];
    uint32_t held[ITEMS_MAX][USERS]; /* units that stand */
};

/* --- what the clients were told --- */

static int compare_entries(const void *a, const void *b)
{
    uint64_t left = (*(struct entry *const *)a)->order_id;
    uint64_t right = (*(struct entry *const *)b)->order_id;
    return left < right ? -1 : left > right;
}

static void collect(struct books *books)
{
    books->told = stress_alloc((size_t)world.rounds * ROUND_ORDERS * CORES, sizeof(*books->told));
    for (uint32_t c = 0; c < CORES; c++)
        for (uint32_t i = 0; i < world.cores[c].accepted_count; i++)
            books->told[books->told_count++] = &world.cores[c].log[world.cores[c].accepted[i]];
    qsort(books->told, books->told_count, sizeof(struct entry *), compare_entries);
    for (uint64_t i = 1; i < books->told_count; i++)
        promise(books->told[i]->order_id != books->told[i - 1]->order_id,
                "order %lu belongs to two requests", books->told[i]->order_id);
}

/* --- what the database holds --- */

static void check_row(const struct entry *entry, const struct tg_order_row *row)
{
    const struct body *body = &entry->body;
    uint32_t quantity = 0;
    for (uint32_t i = 0; i < body->line_count; i++)
        quantity += body->lines[i].quantity;
    promise(row->order_id == entry->order_id, "order %lu where order %lu was accepted",
            row->order_id, entry->order_id);
    promise(row->user_id == body->user && row->item == body->lines[0].item &&
                row->quantity == quantity &&
                memcmp(row->request_id, body->id, sizeof(row->request_id)) == 0,
            "order %lu is not what was asked for", row->order_id);
}

/* No answer is taken back, and nothing is left behind when its time is over. */
static void check_life(const struct entry *entry, const struct tg_life *life)
{
    uint8_t state = life->state;
    promise(!entry->paid || life->received_minor >= life->amount_minor,
            "the payment of order %lu is lost", entry->order_id);
    promise(!entry->cancelled || state == TG_ORDER_CANCELLED || state == TG_ORDER_REFUND_DUE ||
                state == TG_ORDER_REFUNDED,
            "order %lu was cancelled, and is %s", entry->order_id, tg_order_state_name(state));
    promise(state != TG_ORDER_RESERVED || life->payment_deadline_ms == 0 ||
                life->payment_deadline_ms > round_ms(rounds_in_all()),
            "order %lu has not expired at %ld", entry->order_id, life->payment_deadline_ms);
    promise(state != TG_ORDER_AWAITING_TEAM, "order %lu awaits its team for ever", entry->order_id);
}

static void count_line(struct books *books, const struct tg_order_row *row,
                       const struct tg_life *life, uint32_t item, uint32_t quantity)
{
    if (life->units == TG_UNITS_RESERVED)
        books->reserved[item] += quantity;
    if (life->units == TG_UNITS_SOLD)
        books->sold[item] += quantity;
    if (eng_state_stands(life->state))
        books->held[item][row->user_id] += quantity;
}

static bool count_order(void *context, const struct tg_order_row *row, const struct tg_life *life)
{
    struct books *books = context;
    struct tg_life initial;
    promise(books->orders < books->told_count, "order %lu is stored, and nobody was told",
            row->order_id);
    const struct entry *entry = books->told[books->orders++];
    if (!life) {
        eng_life_initial(item_at(row->item), row, &initial);
        life = &initial;
    }
    check_row(entry, row);
    check_life(entry, life);
    for (uint32_t i = 0; i < row->line_count; i++)
        count_line(books, row, life, row->lines[i].item, row->lines[i].quantity);
    if (row->line_count == 0)
        count_line(books, row, life, row->item, row->quantity);
    return true;
}

static bool count_team(void *context, const struct tg_team *team)
{
    struct books *books = context;
    books->teams++;
    promise(team->state != TG_TEAM_PENDING && team->state != TG_TEAM_OPEN,
            "team %lu has not ended at %ld", team->team_id, team->deadline_ms);
    return true;
}

static void read_all(struct books *books)
{
    struct sto_reader *reader;
    struct tg_fault fault;
    uint64_t last = 0;
    bool end = false;
    promise(sto_reader_open(world.storage, &reader, &fault) == TG_ERR_OK, "%s", fault.text);
    while (!end)
        promise(sto_read_orders(reader, last, PAGE, count_order, books, &last, &end, &fault) ==
                    TG_ERR_OK,
                "%s", fault.text);
    end = false;
    for (last = 0; !end;)
        promise(sto_read_teams(reader, last, PAGE, count_team, books, &last, &end, &fault) ==
                    TG_ERR_OK,
                "%s", fault.text);
    sto_reader_close(reader);
    promise(books->orders == books->told_count, "%lu orders are stored, %lu were accepted",
            books->orders, books->told_count);
}

/* --- what the engine has in memory --- */

static void check_limit(const struct books *books, const struct eng_item *item)
{
    const struct eng_shard *shard = &world.engine.shards[item->shard];
    for (uint32_t user = 0; item->per_user_limit && user < USERS; user++) {
        uint32_t held = books->held[item->item][user];
        uint32_t counted = eng_holdings_units(&shard->holdings, user, item->item);
        promise(held <= item->per_user_limit, "user %u has %u of item %u", user, held, item->item);
        promise(held == counted, "user %u has %u of item %u, counted are %u", user, held,
                item->item, counted);
    }
}

static void check_item(const struct books *books, uint32_t number)
{
    const struct eng_item *item = item_at(number);
    struct tg_stock stock = eng_item_stock(item);
    int64_t restocked = 0;
    for (uint32_t c = 0; c < CORES; c++)
        restocked += world.cores[c].adjusted[number];
    promise(tg_stock_holds(&stock), "item %u does not add up at the end", number);
    promise(stock.reserved_units == books->reserved[number], "item %u: %u reserved, orders say %lu",
            number, stock.reserved_units, books->reserved[number]);
    promise(stock.sold_units == books->sold[number], "item %u: %u sold, orders say %lu", number,
            stock.sold_units, books->sold[number]);
    promise(stock.restocked_units == restocked, "item %u: %ld restocked, not %ld", number,
            stock.restocked_units, restocked);
    promise(item->orders_in_flight == 0 && item->stock.held_units == 0 && !item->adjust_in_flight,
            "item %u: %u orders in flight, %u units held", number, item->orders_in_flight,
            item->stock.held_units);
    check_limit(books, item);
}

static void check_shard(const struct core *core)
{
    const struct eng_shard *shard = core->shard;
    uint32_t promised = core->timers_promised;
    if (core->number == 0) /* each sale has taken its two */
        promised -= 2 * eng_catalog_sale_count(&world.engine.catalog);
    promise(shard->locks.count == 0, "core %u: %u locks are held", core->number,
            shard->locks.count);
    promise(shard->changes_used == 0 && shard->teams_used == 0,
            "core %u: %u changes and %u teams are lost", core->number, shard->changes_used,
            shard->teams_used);
    promise(shard->timers_promised == promised, "core %u: room for %u timers is kept, not %u",
            core->number, shard->timers_promised, promised);
}

/* --- what the consumer saw --- */

static void check_events(const struct books *books)
{
    const uint64_t *events = world.events;
    uint64_t sales = eng_catalog_sale_count(&world.engine.catalog);
    promise(world.consumed == world.sequence, "event %lu was read, %lu is the last", world.consumed,
            world.sequence);
    promise(events[TG_EVENT_ORDER_PLACED] == books->orders, "%lu orders were told, %lu are there",
            events[TG_EVENT_ORDER_PLACED], books->orders);
    promise(events[TG_EVENT_SALE_STARTED] == sales && events[TG_EVENT_SALE_ENDED] == sales - 1,
            "of %lu sales %lu began and %lu ended", sales, events[TG_EVENT_SALE_STARTED],
            events[TG_EVENT_SALE_ENDED]);
    uint64_t ended = events[TG_EVENT_TEAM_FORMED] + events[TG_EVENT_TEAM_FAILED] +
                     events[TG_EVENT_TEAM_DISSOLVED];
    promise(ended == books->teams, "of %lu teams %lu ended", books->teams, ended);
}

uint64_t stress_books_check(void)
{
    struct books *books = stress_alloc(1, sizeof(*books));
    collect(books);
    read_all(books);
    for (uint32_t i = 0; i < world.engine.catalog.item_count; i++)
        check_item(books, i);
    for (uint32_t i = 0; i < CORES; i++)
        check_shard(&world.cores[i]);
    check_events(books);
    uint64_t orders = books->orders;
    free(books->told);
    free(books);
    return orders;
}
