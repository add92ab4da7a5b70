/* Reads of what is durable. A reader keeps one read transaction and its cursors, renewed for each
 * call and reset behind it, so that it holds no snapshot (and no old pages) in between; unless it
 * is pinned. */
#include "storage/env.h"

#include "base/assert.h"
#include "proto/verdict.h"
#include "storage/rows.h"

#include <stdlib.h>

struct sto_reader {
    MDB_txn *txn;
    struct sto_tables tables;
    uint32_t pins; /* above 0: the transaction is under way between calls */
    MDB_cursor *orders;
    MDB_cursor *lives;
    MDB_cursor *events;
    MDB_cursor *teams;
    struct tg_order_row row; /* these: what a visitor is lent */
    struct tg_life life;
    struct tg_team team;
};

/* --- the reader --- */

static int cursors_open(struct sto_reader *reader)
{
    const struct {
        MDB_dbi table;
        MDB_cursor **cursor;
    } wanted[] = {{reader->tables.orders, &reader->orders},
                  {reader->tables.lives, &reader->lives},
                  {reader->tables.events, &reader->events},
                  {reader->tables.teams, &reader->teams}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int rc = mdb_cursor_open(reader->txn, wanted[i].table, wanted[i].cursor);
        if (rc)
            return rc;
    }
    return 0;
}

static void cursors_close(struct sto_reader *reader)
{
    MDB_cursor *const cursors[] = {reader->orders, reader->lives, reader->events, reader->teams};
    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        if (cursors[i])
            mdb_cursor_close(cursors[i]);
    }
}

enum tg_error sto_reader_open(struct sto_env *env, struct sto_reader **result,
                              struct tg_fault *fault)
{
    struct sto_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a reader");
    reader->tables = env->tables;
    enum tg_error error;
    int rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &reader->txn);
    if (rc) {
        error = sto_fault_lmdb(fault, rc, "cannot open a reader");
        goto err_after_memory;
    }
    rc = cursors_open(reader);
    if (rc) {
        error = sto_fault_lmdb(fault, rc, "cannot open a reader's cursors");
        goto err_after_begin;
    }
    mdb_txn_reset(reader->txn);
    *result = reader;
    return TG_ERR_OK;

err_after_begin:
    cursors_close(reader);
    mdb_txn_abort(reader->txn);
err_after_memory:
    free(reader);
    return error;
}

void sto_reader_close(struct sto_reader *reader)
{
    tg_assert(reader->pins == 0);
    cursors_close(reader);
    mdb_txn_abort(reader->txn);
    free(reader);
}

enum tg_error sto_reader_pin(struct sto_reader *reader, struct tg_fault *fault)
{
    if (reader->pins == 0) {
        int rc = mdb_txn_renew(reader->txn);
        if (rc)
            return sto_fault_lmdb(fault, rc, "cannot begin a read");
    }
    reader->pins++;
    return TG_ERR_OK;
}

void sto_reader_unpin(struct sto_reader *reader)
{
    tg_assert(reader->pins > 0);
    if (--reader->pins == 0)
        mdb_txn_reset(reader->txn);
}

/* --- rows --- */

static enum tg_error damaged(struct tg_fault *fault, const char *table, const char *what,
                             uint64_t number, const char *problem)
{
    return tg_fault_set(fault, TG_ERR_CORRUPT, "table %s, %s %llu: %s", table, what,
                        (unsigned long long)number, problem);
}

static enum tg_error key_damaged(struct tg_fault *fault, const char *table)
{
    return tg_fault_set(fault, TG_ERR_CORRUPT, "table %s: a key is damaged", table);
}

static enum tg_error order_decode(const MDB_val *value, uint64_t order_id, struct tg_order_row *row,
                                  struct tg_fault *fault)
{
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, row);
    return problem ? damaged(fault, "orders", "order", order_id, problem) : TG_ERR_OK;
}

static enum tg_error life_decode(const MDB_val *value, uint64_t order_id, struct tg_life *life,
                                 struct tg_fault *fault)
{
    const char *problem = sto_row_life_decode(value->mv_data, value->mv_size, order_id, life);
    return problem ? damaged(fault, "lives", "order", order_id, problem) : TG_ERR_OK;
}

static enum tg_error team_decode(const MDB_val *value, uint64_t team_id, struct tg_team *team,
                                 struct tg_fault *fault)
{
    const char *problem = sto_row_team_decode(value->mv_data, value->mv_size, team_id, team);
    return problem ? damaged(fault, "teams", "team", team_id, problem) : TG_ERR_OK;
}

static enum tg_error event_decode(const MDB_val *value, uint64_t sequence, struct tg_event *event,
                                  struct tg_fault *fault)
{
    const char *problem = sto_row_event_decode(value->mv_data, value->mv_size, sequence, event);
    return problem ? damaged(fault, "events", "event", sequence, problem) : TG_ERR_OK;
}

/* --- one row --- */

/* TG_ERR_NOTFOUND without words: each kind has its own. */
static enum tg_error row_get(struct sto_reader *reader, MDB_dbi table, const void *key,
                             size_t key_bytes, MDB_val *value, struct tg_fault *fault)
{
    MDB_val key_value = {key_bytes, (void *)key};
    int rc = mdb_get(reader->txn, table, &key_value, value);
    if (rc == MDB_NOTFOUND)
        return TG_ERR_NOTFOUND;
    return rc ? sto_fault_lmdb(fault, rc, "cannot read the database") : TG_ERR_OK;
}

static enum tg_error order_get(struct sto_reader *reader, uint64_t order_id,
                               struct tg_order_row *row, struct tg_life *life, bool *has_life,
                               struct tg_fault *fault)
{
    MDB_val value;
    enum tg_error error =
        row_get(reader, reader->tables.orders, &order_id, sizeof(order_id), &value, fault);
    if (error == TG_ERR_NOTFOUND)
        return tg_fault_set(fault, TG_ERR_NOTFOUND, "there is no order %llu",
                            (unsigned long long)order_id);
    if (!error)
        error = order_decode(&value, order_id, row, fault);
    if (error)
        return error;
    error = row_get(reader, reader->tables.lives, &order_id, sizeof(order_id), &value, fault);
    *has_life = error == TG_ERR_OK;
    if (error == TG_ERR_NOTFOUND)
        return TG_ERR_OK;
    return error ? error : life_decode(&value, order_id, life, fault);
}

enum tg_error sto_read_order(struct sto_reader *reader, uint64_t order_id, struct tg_order_row *row,
                             struct tg_life *life, bool *has_life, struct tg_fault *fault)
{
    *has_life = false;
    enum tg_error error = sto_reader_pin(reader, fault);
    if (error)
        return error;
    error = order_get(reader, order_id, row, life, has_life, fault);
    sto_reader_unpin(reader);
    return error;
}

enum tg_error sto_read_team(struct sto_reader *reader, uint64_t team_id, struct tg_team *team,
                            struct tg_fault *fault)
{
    MDB_val value;
    enum tg_error error = sto_reader_pin(reader, fault);
    if (error)
        return error;
    error = row_get(reader, reader->tables.teams, &team_id, sizeof(team_id), &value, fault);
    if (error == TG_ERR_NOTFOUND)
        tg_fault_set(fault, TG_ERR_NOTFOUND, "there is no team %llu", (unsigned long long)team_id);
    else if (!error)
        error = team_decode(&value, team_id, team, fault);
    sto_reader_unpin(reader);
    return error;
}

static enum tg_error ingested_decode(const MDB_val *value, const uint8_t *request_id,
                                     uint64_t *order_id, struct tg_fault *fault)
{
    const char *problem =
        sto_row_ingested_decode(value->mv_data, value->mv_size, request_id, order_id);
    return problem ? tg_fault_set(fault, TG_ERR_CORRUPT, "table ingested, a row: %s", problem)
                   : TG_ERR_OK;
}

enum tg_error sto_read_ingested(struct sto_reader *reader,
                                const uint8_t request_id[TG_REQUEST_ID_BYTES], uint64_t *order_id,
                                struct tg_fault *fault)
{
    MDB_val value;
    enum tg_error error = sto_reader_pin(reader, fault);
    if (error)
        return error;
    error =
        row_get(reader, reader->tables.ingested, request_id, TG_REQUEST_ID_BYTES, &value, fault);
    if (error == TG_ERR_NOTFOUND)
        tg_fault_set(fault, TG_ERR_NOTFOUND, "no ingested order is known by this id");
    else if (!error)
        error = ingested_decode(&value, request_id, order_id, fault);
    sto_reader_unpin(reader);
    return error;
}

/* --- cursors over u64 keys --- */

#define NO_KEY UINT64_MAX /* behind the last row; no id and no sequence is as large */

/* Where a cursor stands. */
struct at {
    MDB_cursor *cursor;
    const char *table;
    uint64_t key; /* NO_KEY: behind the last */
    MDB_val value;
};

static enum tg_error at_move(struct at *at, MDB_val *key, MDB_cursor_op op, struct tg_fault *fault)
{
    int rc = mdb_cursor_get(at->cursor, key, &at->value, op);
    at->key = NO_KEY;
    if (rc)
        return rc == MDB_NOTFOUND ? TG_ERR_OK
                                  : sto_fault_lmdb(fault, rc, "cannot read the database");
    return sto_key_read(key, &at->key, sizeof(at->key)) ? TG_ERR_OK : key_damaged(fault, at->table);
}

/* On the first row whose key is `key` or above. */
static enum tg_error at_seek(struct at *at, MDB_txn *txn, uint64_t key, struct tg_fault *fault)
{
    int rc = mdb_cursor_renew(txn, at->cursor);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot begin a read");
    MDB_val value = {sizeof(key), &key};
    return at_move(at, &value, MDB_SET_RANGE, fault);
}

static enum tg_error at_last(struct at *at, MDB_txn *txn, struct tg_fault *fault)
{
    int rc = mdb_cursor_renew(txn, at->cursor);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot begin a read");
    MDB_val value;
    return at_move(at, &value, MDB_LAST, fault);
}

static enum tg_error at_next(struct at *at, struct tg_fault *fault)
{
    MDB_val value;
    return at_move(at, &value, MDB_NEXT, fault);
}

/* --- pages of orders and of teams --- */

/* The life of the order that `lives` has come up to, or NULL in `*life`. */
static enum tg_error life_join(struct sto_reader *reader, struct at *lives, uint64_t order_id,
                               const struct tg_life **life, struct tg_fault *fault)
{
    *life = NULL;
    while (lives->key < order_id) {
        enum tg_error error = at_next(lives, fault);
        if (error)
            return error;
    }
    if (lives->key != order_id)
        return TG_ERR_OK;
    *life = &reader->life;
    return life_decode(&lives->value, order_id, &reader->life, fault);
}

/* Looks one order further than it takes, so that `end` is true with the last row, not after it. */
static enum tg_error orders_visit(struct sto_reader *reader, uint32_t scan_max,
                                  bool (*visit)(void *context, const struct tg_order_row *row,
                                                const struct tg_life *life),
                                  void *context, uint64_t *last_order_id, bool *end,
                                  struct tg_fault *fault)
{
    struct at orders = {.cursor = reader->orders, .table = "orders"};
    struct at lives = {.cursor = reader->lives, .table = "lives"};
    enum tg_error error = at_seek(&orders, reader->txn, *last_order_id + 1, fault);
    if (!error)
        error = at_seek(&lives, reader->txn, *last_order_id + 1, fault);
    for (uint32_t scanned = 0; !error && orders.key != NO_KEY; scanned++) {
        const struct tg_life *life;
        if (scanned == scan_max)
            return TG_ERR_OK;
        error = order_decode(&orders.value, orders.key, &reader->row, fault);
        if (!error)
            error = life_join(reader, &lives, orders.key, &life, fault);
        if (error || !visit(context, &reader->row, life))
            return error;
        *last_order_id = orders.key;
        error = at_next(&orders, fault);
    }
    *end = !error;
    return error;
}

enum tg_error sto_read_orders(struct sto_reader *reader, uint64_t after_order_id, uint32_t scan_max,
                              bool (*visit)(void *context, const struct tg_order_row *row,
                                            const struct tg_life *life),
                              void *context, uint64_t *last_order_id, bool *end,
                              struct tg_fault *fault)
{
    *last_order_id = after_order_id;
    *end = after_order_id == UINT64_MAX;
    if (*end)
        return TG_ERR_OK;
    enum tg_error error = sto_reader_pin(reader, fault);
    if (error)
        return error;
    error = orders_visit(reader, scan_max, visit, context, last_order_id, end, fault);
    sto_reader_unpin(reader);
    return error;
}

static enum tg_error teams_visit(struct sto_reader *reader, uint32_t scan_max,
                                 bool (*visit)(void *context, const struct tg_team *team),
                                 void *context, uint64_t *last_team_id, bool *end,
                                 struct tg_fault *fault)
{
    struct at teams = {.cursor = reader->teams, .table = "teams"};
    enum tg_error error = at_seek(&teams, reader->txn, *last_team_id + 1, fault);
    for (uint32_t scanned = 0; !error && teams.key != NO_KEY; scanned++) {
        if (scanned == scan_max)
            return TG_ERR_OK;
        error = team_decode(&teams.value, teams.key, &reader->team, fault);
        if (error || !visit(context, &reader->team))
            return error;
        *last_team_id = teams.key;
        error = at_next(&teams, fault);
    }
    *end = !error;
    return error;
}

enum tg_error sto_read_teams(struct sto_reader *reader, uint64_t after_team_id, uint32_t scan_max,
                             bool (*visit)(void *context, const struct tg_team *team),
                             void *context, uint64_t *last_team_id, bool *end,
                             struct tg_fault *fault)
{
    *last_team_id = after_team_id;
    *end = after_team_id == UINT64_MAX;
    if (*end)
        return TG_ERR_OK;
    enum tg_error error = sto_reader_pin(reader, fault);
    if (error)
        return error;
    error = teams_visit(reader, scan_max, visit, context, last_team_id, end, fault);
    sto_reader_unpin(reader);
    return error;
}

/* --- the outbox --- */

/* A page of events, as it was asked for and as far as it is. */
struct page {
    uint64_t types;
    uint32_t max;
    uint32_t scan_max;
    struct tg_event *events;
    uint32_t filled;
    uint64_t next_sequence;
    struct at orders;
    struct at rows;
};

/* The oldest sequence that is kept, and the newest there is. */
static enum tg_error bounds_read(struct sto_reader *reader, struct page *page, uint64_t *first,
                                 uint64_t *last, struct tg_fault *fault)
{
    int rc = sto_event_first_read(reader->txn, reader->tables.meta, first);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot read where the outbox begins");
    enum tg_error error = at_last(&page->orders, reader->txn, fault);
    if (!error)
        error = at_last(&page->rows, reader->txn, fault);
    if (error)
        return error;
    *last = page->orders.key == NO_KEY ? 0 : page->orders.key >> TG_PARTITION_BITS;
    if (page->rows.key != NO_KEY && page->rows.key > *last)
        *last = page->rows.key;
    return TG_ERR_OK;
}

static int64_t goods_amount(const struct tg_order_row *row)
{
    int64_t amount_minor = row->quantity * row->unit_price_minor;
    for (uint8_t i = 0; i < row->line_count; i++)
        amount_minor += row->lines[i].quantity * row->lines[i].unit_price_minor;
    return amount_minor;
}

/* The order's row as the event of its acceptance. */
static enum tg_error placed_fill(struct sto_reader *reader, const struct at *orders,
                                 struct tg_event *event, struct tg_fault *fault)
{
    enum tg_error error = order_decode(&orders->value, orders->key, &reader->row, fault);
    if (error)
        return error;
    *event = (struct tg_event){.sequence = orders->key >> TG_PARTITION_BITS,
                               .order_id = orders->key,
                               .team_id = reader->row.team_id,
                               .at_ms = reader->row.accepted_at_ms,
                               .amount_minor = goods_amount(&reader->row),
                               .type = TG_EVENT_ORDER_PLACED};
    return TG_ERR_OK;
}

static bool is_wanted(const struct page *page, uint8_t type)
{
    return page->types >> type & 1;
}

/* The event behind `next_sequence`, from the table that has it. */
static enum tg_error event_take(struct sto_reader *reader, struct page *page,
                                struct tg_fault *fault)
{
    uint64_t sequence = page->next_sequence + 1;
    struct tg_event *event = &page->events[page->filled];
    enum tg_error error = TG_ERR_OK;
    struct at *at = &page->rows;
    bool wanted;
    if (at->key == sequence) {
        error = event_decode(&at->value, sequence, event, fault);
        wanted = !error && is_wanted(page, event->type);
    } else {
        at = &page->orders;
        if (at->key >> TG_PARTITION_BITS != sequence)
            return damaged(fault, "events", "event", sequence, "it is missing");
        wanted = is_wanted(page, TG_EVENT_ORDER_PLACED);
        if (wanted)
            error = placed_fill(reader, at, event, fault);
    }
    if (error)
        return error;
    page->filled += wanted;
    page->next_sequence = sequence;
    return at_next(at, fault);
}

static enum tg_error page_fill(struct sto_reader *reader, struct page *page, uint64_t last,
                               struct tg_fault *fault)
{
    uint64_t sequence = page->next_sequence + 1;
    enum tg_error error = at_seek(&page->orders, reader->txn, sequence << TG_PARTITION_BITS, fault);
    if (!error)
        error = at_seek(&page->rows, reader->txn, sequence, fault);
    for (uint32_t scanned = 0; !error && page->next_sequence < last && page->filled < page->max &&
                               scanned < page->scan_max;
         scanned++)
        error = event_take(reader, page, fault);
    return error;
}

enum tg_error sto_read_events(struct sto_reader *reader, uint64_t after_sequence, uint64_t types,
                              uint32_t max, uint32_t scan_max, struct tg_event *events,
                              uint32_t *filled, uint64_t *next_sequence, uint64_t *first,
                              uint64_t *last, struct tg_fault *fault)
{
    struct page page = {.types = types,
                        .max = max,
                        .scan_max = scan_max,
                        .events = events,
                        .next_sequence = after_sequence,
                        .orders = {.cursor = reader->orders, .table = "orders"},
                        .rows = {.cursor = reader->events, .table = "events"}};
    enum tg_error error = sto_reader_pin(reader, fault);
    if (!error) {
        error = bounds_read(reader, &page, first, last, fault);
        if (!error && after_sequence < *last && after_sequence + 1 >= *first)
            error = page_fill(reader, &page, *last, fault);
        sto_reader_unpin(reader);
    }
    *filled = page.filled;
    *next_sequence = page.next_sequence;
    return error;
}

/* --- figures --- */

static int figures_fill(const struct sto_reader *reader, struct sto_figures *figures)
{
    MDB_env *lmdb = mdb_txn_env(reader->txn);
    MDB_envinfo info;
    MDB_stat stat;
    uint64_t free_pages;
    int rc = mdb_env_info(lmdb, &info);
    if (rc == 0)
        rc = mdb_env_stat(lmdb, &stat);
    if (rc == 0)
        rc = sto_free_pages(reader->txn, &free_pages);
    if (rc)
        return rc;
    figures->map_bytes = info.me_mapsize;
    figures->file_bytes = (info.me_last_pgno + 1) * stat.ms_psize;
    figures->free_bytes = free_pages * stat.ms_psize;
    figures->readers = info.me_numreaders;
    figures->readers_max = info.me_maxreaders;
    const struct {
        MDB_dbi table;
        uint64_t *rows;
    } wanted[] = {{reader->tables.orders, &figures->orders},
                  {reader->tables.lives, &figures->lives},
                  {reader->tables.events, &figures->events},
                  {reader->tables.teams, &figures->teams}};
    for (size_t i = 0; rc == 0 && i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        rc = mdb_stat(reader->txn, wanted[i].table, &stat);
        *wanted[i].rows = stat.ms_entries;
    }
    return rc;
}

enum tg_error sto_read_figures(struct sto_reader *reader, struct sto_figures *figures,
                               struct tg_fault *fault)
{
    enum tg_error error = sto_reader_pin(reader, fault);
    if (error)
        return error;
    int rc = figures_fill(reader, figures);
    sto_reader_unpin(reader);
    return rc ? sto_fault_lmdb(fault, rc, "cannot read the figures of the database") : TG_ERR_OK;
}
