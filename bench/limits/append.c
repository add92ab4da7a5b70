/* What LMDB can append: rows of an order's size under growing keys, in batches, each batch one
 * transaction with LMDB's default sync.
 *
 * It leaves out what Tidegate does with a record beside this: checks, checksums, the stock row that
 * each commit also writes, the sequence, the way from and to the core thread.
 *
 * usage: append --dir DIR [--batch 1] [--seconds 5] [--json]
 */
#include "base/clock.h"
#include "bench/limits/limits.h"
#include "storage/rows.h"

#include <lmdb.h>
#include <string.h>

#define ROW_BYTES  (STO_ORDER_ROW_BYTES + LIMITS_EXTERNAL_BYTES)
#define BATCH_MOST 1000000
#define MAP_BYTES  (64ull << 30)

static const char usage[] = "usage: append --dir DIR [--batch N] [--seconds S] [--json]";

/* LMDB's own errors are negative and have texts of their own. */
static void check(int rc, const char *what)
{
    if (rc)
        limits_die("%s: %s", what, mdb_strerror(rc));
}

static void fill(MDB_txn *txn, MDB_dbi table, uint64_t *sequence, uint64_t batch)
{
    static uint8_t row[ROW_BYTES];
    MDB_cursor *cursor;
    check(mdb_cursor_open(txn, table, &cursor), "mdb_cursor_open");
    for (uint64_t i = 0; i < batch; i++) {
        uint64_t id = ++*sequence << TG_PARTITION_BITS;
        MDB_val key = {sizeof(id), &id}, value = {ROW_BYTES, NULL};
        check(mdb_cursor_put(cursor, &key, &value, MDB_APPEND | MDB_RESERVE), "mdb_cursor_put");
        memcpy(row, &id, sizeof(id));
        memcpy(value.mv_data, row, ROW_BYTES);
    }
    mdb_cursor_close(cursor);
}

static MDB_env *environment(const char *dir, MDB_dbi *table)
{
    MDB_env *env;
    MDB_txn *txn;
    check(mdb_env_create(&env), "mdb_env_create");
    check(mdb_env_set_mapsize(env, MAP_BYTES), "mdb_env_set_mapsize");
    check(mdb_env_open(env, dir, MDB_NOTLS, 0600), dir);
    check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
    check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, table), "mdb_dbi_open");
    check(mdb_txn_commit(txn), "mdb_txn_commit");
    return env;
}

int main(int argc, char **argv)
{
    const char *dir = "";
    uint64_t batch = 1, seconds = 5, sequence = 0;
    const struct limits_option options[] = {{.name = "dir", .text = &dir},
                                            {.name = "batch", .number = &batch, .most = BATCH_MOST},
                                            {.name = "seconds", .number = &seconds, .most = 3600}};
    limits_options(argc, argv, options, 3, usage);
    if (!*dir)
        limits_die("%s", usage);
    MDB_dbi table;
    MDB_env *env = environment(dir, &table);

    static struct tg_histogram histogram;
    int64_t start_ns = tg_clock_mono_ns(), now_ns = start_ns;
    while (now_ns - start_ns < (int64_t)seconds * TG_NS_PER_S) {
        int64_t begun_ns = now_ns;
        MDB_txn *txn;
        check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
        fill(txn, table, &sequence, batch);
        check(mdb_txn_commit(txn), "mdb_txn_commit");
        now_ns = tg_clock_mono_ns();
        tg_histogram_record(&histogram, (uint64_t)(now_ns - begun_ns), 1);
    }
    double elapsed_s = (double)(now_ns - start_ns) / TG_NS_PER_S;
    mdb_env_close(env);
    const struct limits_figure figures[] = {{"batch", (double)batch},
                                            {"row_bytes", ROW_BYTES},
                                            {"per_s", (double)sequence / elapsed_s},
                                            {"commit_p50_us", limits_us(&histogram, 0.5)},
                                            {"commit_p99_us", limits_us(&histogram, 0.99)},
                                            {"commit_max_us", (double)histogram.max / 1000}};
    limits_tell("lmdb", figures, sizeof(figures) / sizeof(figures[0]));
}
