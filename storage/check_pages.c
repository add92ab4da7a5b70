/* The offline check of the pages, before anything is read through LMDB. When one is damaged, LMDB
 * is not asked any more: what can still be reached of the rows is held against its checksums alone,
 * and no promise that binds rows together is judged. */
#include "storage/check.h"

#include "storage/pages.h"
#include "storage/rows.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Snapshots that were too old when they were looked at: two commits came between. */
#define SNAPSHOTS_MAX 1000

/* --- rows, one by one --- */

enum kind {
    META,
    SALES,
    ITEMS,
    STOCK,
    ORDERS,
    LIVES,
    ADJUSTMENTS,
    EVENTS,
    TEAMS,
    GROUPS,
    INGESTED,
    STOCK_LOG,
    KINDS,
};

static const struct {
    const char *name;
    size_t counter; /* in the report; 0: none */
} kinds[KINDS] = {
    [META] = {"meta", 0},
    [SALES] = {"sales", offsetof(struct sto_verify_report, sales)},
    [ITEMS] = {"items", offsetof(struct sto_verify_report, items)},
    [STOCK] = {"stock", 0},
    [ORDERS] = {"orders", offsetof(struct sto_verify_report, orders)},
    [LIVES] = {"lives", offsetof(struct sto_verify_report, lives)},
    [ADJUSTMENTS] = {"adjustments", offsetof(struct sto_verify_report, adjustments)},
    [EVENTS] = {"events", offsetof(struct sto_verify_report, events)},
    [TEAMS] = {"teams", offsetof(struct sto_verify_report, teams)},
    [GROUPS] = {"groups", 0},
    [INGESTED] = {"ingested", 0},
    [STOCK_LOG] = {"stock_log", 0},
};

/* `number` is the key of those that have numbers. */
static const char *row_problem(enum kind kind, uint64_t number, const MDB_val *key,
                               const MDB_val *value)
{
    union {
        struct tg_sale_def sale;
        struct tg_item_def item;
        struct tg_stock stock;
        struct tg_order_row order;
        struct tg_life life;
        struct sto_adjustment adjustment;
        struct tg_event event;
        struct tg_team team;
        struct tg_group group;
    } row;
    const void *at = value->mv_data;
    size_t size = value->mv_size;
    uint32_t sale, entries;
    uint64_t order_id;
    switch (kind) {
    case META:
        return sto_meta_row_problem(key, value);
    case SALES:
        return sto_row_sale_decode(at, size, (uint32_t)number, &row.sale);
    case ITEMS:
        return sto_row_item_decode(at, size, (uint32_t)number, &sale, &row.item);
    case STOCK:
        return sto_row_stock_decode(at, size, (uint32_t)number, &row.stock);
    case ORDERS:
        return sto_row_order_decode(at, size, number, &row.order);
    case LIVES:
        return sto_row_life_decode(at, size, number, &row.life);
    case ADJUSTMENTS:
        return sto_row_adjustment_decode(at, size, number, &row.adjustment);
    case EVENTS:
        return sto_row_event_decode(at, size, number, &row.event);
    case TEAMS:
        return sto_row_team_decode(at, size, number, &row.team);
    case GROUPS:
        return sto_row_group_decode(at, size, key->mv_data, key->mv_size, &row.group);
    case INGESTED:
        return key->mv_size != TG_REQUEST_ID_BYTES
                   ? "its key has the wrong size"
                   : sto_row_ingested_decode(at, size, key->mv_data, &order_id);
    case STOCK_LOG:
        return sto_row_log_check(at, size, number, &entries);
    case KINDS:
        break;
    }
    return "it is in no table";
}

static void key_print(char text[32], enum kind kind, uint64_t number, const MDB_val *key)
{
    int bytes = key->mv_size < 31 ? (int)key->mv_size : 31;
    if (kind == META || kind == GROUPS)
        snprintf(text, 32, "%.*s", bytes, (const char *)key->mv_data);
    else if (kind == INGESTED)
        snprintf(text, 32, "of request %016llx...", (unsigned long long)__builtin_bswap64(number));
    else
        snprintf(text, 32, "%llu", (unsigned long long)number);
}

static void on_row(void *context, const char *table, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    enum kind kind = META;
    uint64_t number = 0;
    char text[32];
    while (kind < KINDS && strcmp(table, kinds[kind].name) != 0)
        kind++;
    memcpy(&number, key->mv_data, key->mv_size < sizeof(number) ? key->mv_size : sizeof(number));
    const char *problem = row_problem(kind, number, key, value);
    if (kind < KINDS && kinds[kind].counter)
        ++*(uint64_t *)(void *)((char *)c->report + kinds[kind].counter);
    if (!problem)
        return;
    key_print(text, kind, number, key);
    sto_check_find(c, &c->report->crc_errors, "table %s, row %s: %s", table, text, problem);
}

static bool on_damage(void *context, const char *line)
{
    struct sto_check *c = context;
    sto_check_find(c, &c->report->page_errors, "%s", line);
    return true;
}

/* --- pages --- */

/* A commit takes its meta page from under a snapshot after the next but one: then a newer snapshot
 * is looked at. */
static enum tg_error snapshot_look(struct sto_check *c, const struct sto_pages_look *look)
{
    struct sto_pages_report pages;
    enum tg_error error = TG_ERR_TIMEOUT;
    for (int i = 0; i < SNAPSHOTS_MAX && error == TG_ERR_TIMEOUT; i++) {
        mdb_txn_reset(c->txn);
        int rc = mdb_txn_renew(c->txn);
        if (rc)
            return sto_fault_lmdb(c->fault, rc, "cannot take a snapshot");
        error = sto_pages_look(c->data_dir, mdb_txn_id(c->txn), look, &pages, c->fault);
    }
    return error;
}

/* All that is damaged, and the rows that can be reached. */
static struct sto_pages_look whole(struct sto_check *c)
{
    return (struct sto_pages_look){.context = c, .damage = on_damage, .row = on_row};
}

enum tg_error sto_check_pages(struct sto_check *c)
{
    enum tg_error error = snapshot_look(c, NULL);
    if (error != TG_ERR_CORRUPT)
        return error;
    struct sto_pages_look look = whole(c);
    return snapshot_look(c, &look);
}

enum tg_error sto_check_closed_pages(struct sto_check *c)
{
    struct sto_pages_look look = whole(c);
    struct sto_pages_report pages;
    return sto_pages_look(c->data_dir, STO_PAGES_NEWEST, &look, &pages, c->fault);
}
