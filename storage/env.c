/* Opening and closing: the directory, its lock, LMDB, the format record. */
#include "storage/env.h"

#include "base/assert.h"
#include "base/mem.h"
#include "proto/verdict.h"
#include "storage/pages.h"
#include "storage/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Slots beside the daemon's readers: recovery, and tools that look on. */
#define READERS_BESIDE 16

/* A database file before it has its name. */
#define NEW_FILE "data.mdb.new"

enum tg_error sto_fault_lmdb(struct tg_fault *fault, int rc, const char *what)
{
    enum tg_error error = TG_ERR_IO;
    if (rc == MDB_MAP_FULL || rc == ENOSPC || rc == EDQUOT)
        error = TG_ERR_FULL;
    else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID)
        error = TG_ERR_CORRUPT;
    else if (rc == ENOMEM)
        error = TG_ERR_NOMEM;
    return tg_fault_set(fault, error, "%s: %s", what, mdb_strerror(rc));
}

bool sto_key_read(const MDB_val *value, void *key, size_t size)
{
    if (value->mv_size != size)
        return false;
    memcpy(key, value->mv_data, size);
    return true;
}

int sto_table_walk(MDB_txn *txn, MDB_dbi table,
                   bool (*visit)(void *context, const MDB_val *key, const MDB_val *value),
                   void *context)
{
    if (table == STO_NO_TABLE)
        return 0;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc)
        return rc;
    MDB_val key, value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (rc == 0 && visit(context, &key, &value))
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int sto_tables_open(MDB_txn *txn, unsigned flags, struct sto_tables *tables)
{
    const struct {
        const char *name;
        unsigned flags;
        unsigned format; /* that it came with */
        MDB_dbi *table;
    } wanted[STO_TABLES] = {
        {"meta", 0, 1, &tables->meta},
        {"sales", MDB_INTEGERKEY, 1, &tables->sales},
        {"items", MDB_INTEGERKEY, 1, &tables->items},
        {"stock", MDB_INTEGERKEY, 1, &tables->stock},
        {"orders", MDB_INTEGERKEY, 1, &tables->orders},
        {"adjustments", MDB_INTEGERKEY, 1, &tables->adjustments},
        {"lives", MDB_INTEGERKEY, 2, &tables->lives},
        {"events", MDB_INTEGERKEY, 2, &tables->events},
        {"teams", MDB_INTEGERKEY, 2, &tables->teams},
        {"ingested", 0, 2, &tables->ingested},
        {"groups", 0, 2, &tables->groups},
        {"stock_log", MDB_INTEGERKEY, 3, &tables->stock_log},
    };
    for (int i = 0; i < STO_TABLES; i++) {
        int rc = mdb_dbi_open(txn, wanted[i].name, wanted[i].flags | flags, wanted[i].table);
        if (rc == MDB_NOTFOUND && wanted[i].format > 1)
            *wanted[i].table = STO_NO_TABLE;
        else if (rc)
            return rc;
    }
    return 0;
}

void sto_item_rules_set(struct sto_item *slot, const struct tg_sale_def *def,
                        const struct tg_item_def *item)
{
    slot->known = true;
    slot->stock_policy = item->stock_policy;
    slot->partition =
        (uint16_t)tg_item_partition(item->item, def->items[0].item, def->kind == TG_SALE_GROUP_BUY);
}

int sto_event_first_read(MDB_txn *txn, MDB_dbi meta, uint64_t *first)
{
    MDB_val key = {sizeof(STO_EVENT_FIRST_KEY) - 1, (void *)(uintptr_t)STO_EVENT_FIRST_KEY};
    MDB_val value;
    *first = 1;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    return sto_row_event_first_decode(value.mv_data, value.mv_size, first) ? MDB_CORRUPTED : 0;
}

/* The version that the format record says; 0: there is none. */
static enum tg_error format_read(MDB_txn *txn, MDB_dbi meta, const char *data_dir,
                                 uint32_t *version, struct tg_fault *fault)
{
    MDB_val key = {sizeof(STO_FORMAT_KEY) - 1, (void *)(uintptr_t)STO_FORMAT_KEY};
    MDB_val value;
    *version = 0;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc == MDB_NOTFOUND)
        return TG_ERR_OK;
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot read the format record");
    const char *problem = sto_row_format_decode(value.mv_data, value.mv_size, version);
    if (problem)
        return tg_fault_set(fault, TG_ERR_CORRUPT, "%s: table meta, row " STO_FORMAT_KEY ": %s",
                            data_dir, problem);
    if (*version == 0)
        return tg_fault_set(fault, TG_ERR_CORRUPT, "%s: the format record says version 0",
                            data_dir);
    if (*version > STO_FORMAT_VERSION)
        return tg_fault_set(fault, TG_ERR_VERSION,
                            "%s was written in format version %u and this build knows version %u; "
                            "upgrade Tidegate to open it",
                            data_dir, *version, STO_FORMAT_VERSION);
    return TG_ERR_OK;
}

enum tg_error sto_format_check(MDB_txn *txn, MDB_dbi meta, const char *data_dir, bool *present,
                               struct tg_fault *fault)
{
    uint32_t version;
    enum tg_error error = format_read(txn, meta, data_dir, &version, fault);
    *present = version != 0;
    return error;
}

/* --- the directory and its lock --- */

static enum tg_error directory_open(struct sto_env *env, struct tg_fault *fault)
{
    const char *data_dir = env->options.data_dir;
    bool created = mkdir(data_dir, 0700) == 0;
    if (!created && errno != EEXIST)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "cannot create the directory %s",
                                  data_dir);
    env->dir_fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (env->dir_fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "cannot open the directory %s",
                                  data_dir);
    if (!created)
        return TG_ERR_OK;
    /* The new directory's name lives in its parent, and must outlast a power cut as its rows do. */
    int parent_fd = openat(env->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = parent_fd >= 0 && fsync(parent_fd) == 0;
    int code = errno;
    if (parent_fd >= 0)
        close(parent_fd);
    if (!synced) {
        close(env->dir_fd);
        return tg_fault_set_errno(fault, TG_ERR_IO, code, "cannot sync the parent of %s", data_dir);
    }
    return TG_ERR_OK;
}

static enum tg_error lock_refused(const struct sto_env *env, struct tg_fault *fault)
{
    char pid[24] = "";
    ssize_t got = pread(env->lock_fd, pid, sizeof(pid) - 1, 0);
    pid[got > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return tg_fault_set(fault, TG_ERR_LOCKED,
                        "the data directory %s is in use by process %s; stop that process, or give "
                        "this one a directory of its own",
                        env->options.data_dir, *pid ? pid : "(unknown)");
}

/* flock rather than fcntl: it dies with the process, and a second open in this one is refused. */
static enum tg_error lock_take(struct sto_env *env, struct tg_fault *fault)
{
    env->lock_fd = openat(env->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (env->lock_fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "cannot open %s/lock",
                                  env->options.data_dir);
    enum tg_error error;
    if (flock(env->lock_fd, LOCK_EX | LOCK_NB)) {
        error = errno == EWOULDBLOCK
                    ? lock_refused(env, fault)
                    : tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "cannot lock %s/lock",
                                         env->options.data_dir);
        goto err_after_open;
    }
    char pid[24];
    int bytes = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    errno = ENOSPC; /* what keeps a write of a few bytes from being whole */
    if (ftruncate(env->lock_fd, 0) || pwrite(env->lock_fd, pid, (size_t)bytes, 0) != bytes) {
        error = tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s/lock",
                                   env->options.data_dir);
        goto err_after_open;
    }
    return TG_ERR_OK;

err_after_open:
    close(env->lock_fd);
    return error;
}

/* --- LMDB --- */

/* Writes the format record of a new database, and of an older one, whose missing tables have just
 * been made; refuses tables that have lost theirs. */
static enum tg_error format_settle(struct sto_env *env, MDB_txn *txn, struct tg_fault *fault)
{
    uint32_t version;
    enum tg_error error =
        format_read(txn, env->tables.meta, env->options.data_dir, &version, fault);
    if (error || version == STO_FORMAT_VERSION)
        return error;
    MDB_stat orders, sales;
    int rc = mdb_stat(txn, env->tables.orders, &orders);
    if (!rc)
        rc = mdb_stat(txn, env->tables.sales, &sales);
    if (!rc && version == 0 && (orders.ms_entries || sales.ms_entries))
        return tg_fault_set(fault, TG_ERR_CORRUPT, "%s holds rows but no format record",
                            env->options.data_dir);
    uint8_t row[STO_FORMAT_ROW_BYTES];
    sto_row_format_encode(row, STO_FORMAT_VERSION);
    MDB_val key = {sizeof(STO_FORMAT_KEY) - 1, (void *)(uintptr_t)STO_FORMAT_KEY};
    MDB_val value = {sizeof(row), row};
    if (!rc)
        rc = mdb_put(txn, env->tables.meta, &key, &value, 0);
    return rc ? sto_fault_lmdb(fault, rc, "cannot write the format record") : TG_ERR_OK;
}

bool sto_ttl_read(MDB_txn *txn, MDB_dbi meta, uint32_t *ttl_s)
{
    MDB_val key = {sizeof(STO_TTL_KEY) - 1, (void *)(uintptr_t)STO_TTL_KEY};
    MDB_val value;
    return mdb_get(txn, meta, &key, &value) == 0 &&
           sto_row_format_decode(value.mv_data, value.mv_size, ttl_s) == NULL;
}

static bool is_key(const MDB_val *key, const char *name)
{
    return key->mv_size == strlen(name) && memcmp(key->mv_data, name, key->mv_size) == 0;
}

const char *sto_meta_row_problem(const MDB_val *key, const MDB_val *value)
{
    uint32_t number;
    uint64_t first;
    if (is_key(key, STO_FORMAT_KEY) || is_key(key, STO_TTL_KEY)) {
        const char *problem = sto_row_format_decode(value->mv_data, value->mv_size, &number);
        return !problem && number == 0 ? "it says 0" : problem;
    }
    if (is_key(key, STO_EVENT_FIRST_KEY))
        return sto_row_event_first_decode(value->mv_data, value->mv_size, &first);
    return "no version of Tidegate has such a row";
}

struct meta_look {
    const char *data_dir;
    struct tg_fault *fault;
    enum tg_error error;
};

static bool meta_row_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct meta_look *check = context;
    const char *problem = sto_meta_row_problem(key, value);
    if (problem)
        check->error = tg_fault_set(check->fault, TG_ERR_CORRUPT, "%s: table meta, row %.*s: %s",
                                    check->data_dir, key->mv_size < 32 ? (int)key->mv_size : 32,
                                    (const char *)key->mv_data, problem);
    return problem == NULL;
}

/* Keeps the shortest time to live that this database has seen. */
static enum tg_error ttl_settle(struct sto_env *env, MDB_txn *txn, struct tg_fault *fault)
{
    uint32_t known, wanted = env->options.request_ttl_s;
    if (wanted == 0 || (sto_ttl_read(txn, env->tables.meta, &known) && known <= wanted))
        return TG_ERR_OK;
    uint8_t row[STO_FORMAT_ROW_BYTES];
    sto_row_format_encode(row, wanted);
    MDB_val key = {sizeof(STO_TTL_KEY) - 1, (void *)(uintptr_t)STO_TTL_KEY};
    MDB_val value = {sizeof(row), row};
    int rc = mdb_put(txn, env->tables.meta, &key, &value, 0);
    return rc ? sto_fault_lmdb(fault, rc, "cannot write the time to live") : TG_ERR_OK;
}

/* Looked at before anything is written, so that a newer database, or a damaged one, is left as it
 * is. */
static enum tg_error meta_check(struct sto_env *env, MDB_txn *txn, struct tg_fault *fault)
{
    MDB_dbi meta;
    bool present;
    int rc = mdb_dbi_open(txn, "meta", 0, &meta);
    if (rc == MDB_NOTFOUND)
        return TG_ERR_OK;
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot open the table meta");
    enum tg_error error = sto_format_check(txn, meta, env->options.data_dir, &present, fault);
    if (error)
        return error;
    struct meta_look check = {.data_dir = env->options.data_dir, .fault = fault};
    rc = sto_table_walk(txn, meta, meta_row_visit, &check);
    return rc ? sto_fault_lmdb(fault, rc, "cannot read the table meta") : check.error;
}

/* A database that holds nothing needs no recovery. */
static int ready_settle(struct sto_env *env, MDB_txn *txn)
{
    const struct sto_tables *tables = &env->tables;
    const MDB_dbi looked_at[] = {tables->sales, tables->items, tables->orders, tables->groups};
    env->ready = true;
    for (size_t i = 0; i < sizeof(looked_at) / sizeof(looked_at[0]); i++) {
        MDB_stat stat;
        int rc = mdb_stat(txn, looked_at[i], &stat);
        if (rc)
            return rc;
        env->ready &= stat.ms_entries == 0;
    }
    return 0;
}

static enum tg_error tables_settle(struct sto_env *env, struct tg_fault *fault)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->lmdb, NULL, 0, &txn);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot begin the first transaction");
    enum tg_error error = meta_check(env, txn, fault);
    if (error)
        goto err_after_begin;
    rc = sto_tables_open(txn, MDB_CREATE, &env->tables);
    if (rc) {
        error = sto_fault_lmdb(fault, rc, "cannot open the tables");
        goto err_after_begin;
    }
    error = format_settle(env, txn, fault);
    if (!error)
        error = ttl_settle(env, txn, fault);
    if (error)
        goto err_after_begin;
    rc = sto_event_first_read(txn, env->tables.meta, &env->stats.event_first);
    if (!rc)
        rc = ready_settle(env, txn);
    if (rc) {
        error = sto_fault_lmdb(fault, rc, "cannot read the table meta");
        goto err_after_begin;
    }
    rc = mdb_txn_commit(txn);
    if (!rc)
        return TG_ERR_OK;
    sto_pages_mark_set(env->lmdb, env->dir_fd);
    return sto_fault_lmdb(fault, rc, "cannot commit the first transaction");

err_after_begin:
    mdb_txn_abort(txn);
    return error;
}

/* LMDB begins a file with two pages that it does not sync, and refuses for good what a power cut
 * leaves of them. So a new file is made under another name, and gets its own when it is durable. */
static enum tg_error file_make(const struct sto_env *env, struct tg_fault *fault)
{
    struct stat file;
    bool there = fstatat(env->dir_fd, "data.mdb", &file, 0) == 0;
    /* Only a file that is surely missing may be replaced. */
    if (!there && errno != ENOENT)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot look at %s/data.mdb",
                                  env->options.data_dir);
    /* One without a byte was cut off: it got its name when it was whole. */
    if (there)
        return TG_ERR_OK;
    char path[256];
    snprintf(path, sizeof(path), "%.200s/" NEW_FILE, env->options.data_dir);
    unlinkat(env->dir_fd, NEW_FILE, 0);
    MDB_env *lmdb;
    int rc = mdb_env_create(&lmdb);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot create the LMDB environment");
    rc = mdb_env_set_mapsize(lmdb, env->options.map_bytes);
    if (!rc)
        rc = mdb_env_open(lmdb, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    if (!rc)
        rc = mdb_env_sync(lmdb, 1);
    mdb_env_close(lmdb);
    if (!rc && renameat(env->dir_fd, NEW_FILE, env->dir_fd, "data.mdb"))
        rc = errno;
    return rc ? sto_fault_lmdb(fault, rc, "cannot make the database file") : TG_ERR_OK;
}

/* Readahead stays on (no MDB_NORDAHEAD): what reads cold pages here is recovery and verify, which
 * run through the file once; the hot pages of the commit step are in memory anyway. */
static enum tg_error lmdb_open(struct sto_env *env, struct tg_fault *fault)
{
    const char *data_dir = env->options.data_dir;
    enum tg_error error = file_make(env, fault);
    if (error)
        return error;
    /* LMDB believes what stands in its pages; from here on it may. */
    struct sto_pages_report pages;
    error = sto_pages_look(data_dir, STO_PAGES_NEWEST, NULL, &pages, fault);
    if (error)
        return error;
    int rc = mdb_env_create(&env->lmdb);
    if (rc)
        return sto_fault_lmdb(fault, rc, "cannot create the LMDB environment");
    rc = mdb_env_set_mapsize(env->lmdb, env->options.map_bytes);
    if (!rc)
        rc = mdb_env_set_maxdbs(env->lmdb, STO_TABLES);
    if (!rc)
        rc = mdb_env_set_maxreaders(env->lmdb, env->options.readers_max + READERS_BESIDE);
    if (!rc)
        rc = mdb_env_open(env->lmdb, data_dir, MDB_NOTLS, 0600);
    if (rc) {
        char what[256];
        snprintf(what, sizeof(what), "cannot open the database in %.200s", data_dir);
        error = sto_fault_lmdb(fault, rc, what);
        goto err_after_create;
    }
    int dead;
    mdb_reader_check(env->lmdb, &dead);
    error = tables_settle(env, fault);
    if (error)
        goto err_after_create;
    if (fsync(env->dir_fd)) {
        error = tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot sync %s", data_dir);
        goto err_after_create;
    }
    return TG_ERR_OK;

err_after_create:
    mdb_env_close(env->lmdb);
    return error;
}

/* --- the whole --- */

static enum tg_error options_check(const struct sto_options *options, struct tg_fault *fault)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (options->map_bytes == 0 || options->map_bytes % page)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the map size of %llu bytes is not a multiple of the page size of %llu",
                            (unsigned long long)options->map_bytes, (unsigned long long)page);
    if (options->items_max == 0 || options->readers_max == 0)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the largest numbers of items and of readers must not be 0");
    if (strlen(options->data_dir) > 200)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the path of the data directory is longer than 200 bytes");
    return TG_ERR_OK;
}

static enum tg_error memory_take(struct sto_env *env, struct tg_fault *fault)
{
    uint32_t items_max = env->options.items_max;
    env->items = tg_mem_map(items_max * sizeof(*env->items));
    env->touched = tg_mem_map(items_max * sizeof(*env->touched));
    env->touched_bits = tg_mem_map(sto_item_words(items_max) * sizeof(uint64_t));
    env->logged_bits = tg_mem_map(sto_item_words(items_max) * sizeof(uint64_t));
    if (env->items && env->touched && env->touched_bits && env->logged_bits)
        return TG_ERR_OK;
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the stock of %u items", items_max);
}

static void memory_release(struct sto_env *env)
{
    tg_mem_unmap(env->items, env->options.items_max * sizeof(*env->items));
    tg_mem_unmap(env->touched, env->options.items_max * sizeof(*env->touched));
    tg_mem_unmap(env->touched_bits, sto_item_words(env->options.items_max) * sizeof(uint64_t));
    tg_mem_unmap(env->logged_bits, sto_item_words(env->options.items_max) * sizeof(uint64_t));
    free((char *)env->options.data_dir);
    free(env);
}

enum tg_error sto_env_open(const struct sto_options *options, struct sto_env **result,
                           struct tg_fault *fault)
{
    enum tg_error error = options_check(options, fault);
    if (error)
        return error;
    struct sto_env *env = calloc(1, sizeof(*env));
    if (!env)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the storage environment");
    env->options = *options;
    env->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    env->options.data_dir = strdup(options->data_dir);
    if (!env->options.data_dir) {
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the storage environment");
        goto err_after_memory;
    }
    error = memory_take(env, fault);
    if (error)
        goto err_after_memory;
    error = directory_open(env, fault);
    if (error)
        goto err_after_memory;
    error = lock_take(env, fault);
    if (error)
        goto err_after_directory;
    error = lmdb_open(env, fault);
    if (error)
        goto err_after_lock;
    *result = env;
    return TG_ERR_OK;

err_after_lock:
    close(env->lock_fd);
err_after_directory:
    close(env->dir_fd);
err_after_memory:
    memory_release(env);
    return error;
}

void sto_env_close(struct sto_env *env)
{
    mdb_env_close(env->lmdb);
    close(env->lock_fd);
    close(env->dir_fd);
    memory_release(env);
}
