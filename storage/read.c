/* Reads of durable orders. A reader keeps one read transaction and one cursor, renewed for each
 * call and reset behind it, so that it holds no snapshot (and no old pages) in between. */
#include "storage/env.h"

#include "base/assert.h"
#include "storage/rows.h"

#include <stdlib.h>

struct sto_reader {
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_dbi orders;
};

enum tg_error sto_reader_open(struct sto_env *env, struct sto_reader **result,
                              struct tg_fault *fault)
{
    struct sto_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a reader");
    reader->orders = env->tables.orders;
    enum tg_error error;
    int rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &reader->txn);
    if (rc) {
        error = sto_fault_lmdb(fault, rc, "cannot open a reader");
        goto err_after_memory;
    }
    rc = mdb_cursor_open(reader->txn, reader->orders, &reader->cursor);
    if (rc) {
        error = sto_fault_lmdb(fault, rc, "cannot open a reader's cursor");
        goto err_after_begin;
    }
    mdb_txn_reset(reader->txn);
    *result = reader;
    return TG_ERR_OK;

err_after_begin:
    mdb_txn_abort(reader->txn);
err_after_memory:
    free(reader);
    return error;
}

void sto_reader_close(struct sto_reader *reader)
{
    mdb_cursor_close(reader->cursor);
    mdb_txn_abort(reader->txn);
    free(reader);
}

static enum tg_error order_decode(const MDB_val *value, uint64_t order_id, struct tg_order_row *row,
                                  struct tg_fault *fault)
{
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, row);
    if (problem)
        return tg_fault_set(fault, TG_ERR_CORRUPT, "table orders, order %llu: %s",
                            (unsigned long long)order_id, problem);
    return TG_ERR_OK;
}

enum tg_error sto_read_order(struct sto_reader *reader, uint64_t order_id, struct tg_order_row *row,
                             struct tg_fault *fault)
{
    int rc = mdb_txn_renew(reader->txn);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot begin a read");
    MDB_val key = {sizeof(order_id), &order_id};
    MDB_val value;
    rc = mdb_get(reader->txn, reader->orders, &key, &value);
    enum tg_error error;
    if (rc == MDB_NOTFOUND)
        error = tg_fault_set(fault, TG_ERR_NOTFOUND, "there is no order %llu",
                             (unsigned long long)order_id);
    else if (rc)
        error = sto_fault_lmdb(fault, rc, "cannot read an order");
    else
        error = order_decode(&value, order_id, row, fault);
    mdb_txn_reset(reader->txn);
    return error;
}

/* One page of orders, as sto_read_orders has been asked for. */
struct page {
    bool (*wanted)(void *context, uint32_t item);
    void *context;
    uint32_t max;
    uint32_t scan_max;
    struct tg_order_row *rows;
    uint32_t filled;
    uint64_t last_order_id;
    bool end;
};

/* Looks at one order more than it takes, so that `end` is true with the last row, not after it. */
static enum tg_error page_fill(struct sto_reader *reader, struct page *page, struct tg_fault *fault)
{
    uint64_t order_id = page->last_order_id + 1;
    MDB_val key = {sizeof(order_id), &order_id};
    MDB_val value;
    int rc = mdb_cursor_get(reader->cursor, &key, &value, MDB_SET_RANGE);
    for (uint32_t scanned = 0; rc == 0; scanned++) {
        if (scanned == page->scan_max || page->filled == page->max)
            return TG_ERR_OK;
        if (!sto_key_read(&key, &order_id, sizeof(order_id)))
            return tg_fault_set(fault, TG_ERR_CORRUPT, "table orders: a key is damaged");
        struct tg_order_row *row = &page->rows[page->filled];
        enum tg_error error = order_decode(&value, order_id, row, fault);
        if (error)
            return error;
        page->last_order_id = order_id;
        if (!page->wanted || page->wanted(page->context, row->item))
            page->filled++;
        rc = mdb_cursor_get(reader->cursor, &key, &value, MDB_NEXT);
    }
    if (rc != MDB_NOTFOUND)
        return sto_fault_lmdb(fault, rc, "cannot read orders");
    page->end = true;
    return TG_ERR_OK;
}

enum tg_error sto_read_orders(struct sto_reader *reader, uint64_t after_order_id,
                              bool (*wanted)(void *context, uint32_t item), void *context,
                              uint32_t max, uint32_t scan_max, struct tg_order_row *rows,
                              uint32_t *filled, uint64_t *last_order_id, bool *end,
                              struct tg_fault *fault)
{
    struct page page = {.wanted = wanted,
                        .context = context,
                        .max = max,
                        .scan_max = scan_max,
                        .rows = rows,
                        .last_order_id = after_order_id,
                        .end = after_order_id == UINT64_MAX};
    enum tg_error error = TG_ERR_OK;
    if (!page.end) {
        int rc = mdb_txn_renew(reader->txn);
        if (!rc)
            rc = mdb_cursor_renew(reader->txn, reader->cursor);
        error =
            rc ? sto_fault_lmdb(fault, rc, "cannot begin a read") : page_fill(reader, &page, fault);
        mdb_txn_reset(reader->txn);
    }
    *filled = page.filled;
    *last_order_id = page.last_order_id;
    *end = page.end;
    return error;
}
