/* Recovery and verify over a damaged database. The rows of the small database of tests/lib/book.h
 * are overwritten, cut, moved and removed through LMDB, so that the file stays one; with the
 * checksum made to fit, or not. sto_recover and sto_verify must come back, and what verify finds
 * nothing wrong with, recovery must take.
 *
 * input: edits, at most EDITS_MAX
 *
 *   edit: | u8: table | u8: row of it | u8: what, 0x80: do not seal | what it needs |
 *         SET     offset u8, size u8 (1 .. 16), bytes     RESIZE  size u16, below 1024
 *         ADD     offset u8, size u8 (1 .. 8), a difference of one byte, as an integer
 *         DELETE                                           COPY    to this key: of the key's size
 */
#include "tests/fuzz/fuzz.h"

#include "base/life.h"
#include "proto/verdict.h"
#include "storage/rowbytes.h"
#include "storage/rows.h"
#include "tests/lib/book.h"

#define EDITS_MAX 64
#define ROW_MAX   4096
#define KEEP_CRC  0x80

enum {
    SET,
    ADD,
    RESIZE,
    DELETE,
    COPY,
    EDIT_COUNT,
};

static struct {
    struct book book; /* for its directory and its tables */
    uint8_t *file;    /* the sound database */
    size_t size;
} sound;

/* --- the sound database, and a copy of it for each input --- */

static void path_of(char path[96], const char *directory, const char *name)
{
    snprintf(path, 96, "%s/%s", directory, name);
}

static void prepare(void)
{
    char path[96];
    if (sound.file)
        return;
    struct book *book = book_make();
    path_of(path, book->dir, "data.mdb");
    book_close(book);
    FILE *file = fopen(path, "rb");
    FUZZ_MUST(file && fseek(file, 0, SEEK_END) == 0);
    sound.size = (size_t)ftell(file);
    sound.file = malloc(sound.size);
    rewind(file);
    FUZZ_MUST(sound.file && fread(sound.file, 1, sound.size, file) == sound.size);
    fclose(file);
    sound.book = *book;
    snprintf(sound.book.dir, sizeof(sound.book.dir), "%s", fuzz_directory());
    book_free(book);
}

static void write_copy(void)
{
    char path[96];
    path_of(path, sound.book.dir, "data.mdb");
    FILE *file = fopen(path, "wb");
    FUZZ_MUST(file && fwrite(sound.file, 1, sound.size, file) == sound.size);
    FUZZ_MUST(fclose(file) == 0);
}

/* --- edits --- */

struct row {
    MDB_dbi table;
    uint8_t key[64];
    size_t key_bytes;
    uint8_t value[ROW_MAX];
    size_t size;
};

/* The row that the input names; false when the table is empty. */
static bool find_row(MDB_txn *txn, struct fuzz_bytes *bytes, struct row *row)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    row->table = sound.book.tables.meta + fuzz_u8(bytes) % STO_TABLES;
    uint8_t number = fuzz_u8(bytes);
    FUZZ_MUST(mdb_cursor_open(txn, row->table, &cursor) == 0);
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; rc == 0 && number > 0; number--)
        if (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) != 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (rc == 0) {
        FUZZ_MUST(key.mv_size <= sizeof(row->key) && value.mv_size <= ROW_MAX);
        row->key_bytes = key.mv_size;
        memcpy(row->key, key.mv_data, key.mv_size);
        row->size = value.mv_size;
        memset(row->value, 0, sizeof(row->value));
        memcpy(row->value, value.mv_data, value.mv_size);
    }
    mdb_cursor_close(cursor);
    return rc == 0;
}

static void edit_add(struct row *row, size_t at, size_t size, uint64_t difference)
{
    uint64_t number = 0;
    memcpy(&number, row->value + at, size);
    number += difference;
    memcpy(row->value + at, &number, size);
}

/* Where the input says, as far as the row reaches; the size is cut to what is left. */
static size_t place(struct fuzz_bytes *bytes, const struct row *row, size_t *size)
{
    size_t at = row->size ? fuzz_u8(bytes) % row->size : 0;
    *size = *size < row->size - at ? *size : row->size - at;
    return at;
}

static void put(MDB_txn *txn, struct row *row)
{
    MDB_val key = {row->key_bytes, row->key}, value = {row->size, row->value};
    FUZZ_MUST(mdb_put(txn, row->table, &key, &value, 0) == 0);
}

static void edit(MDB_txn *txn, struct fuzz_bytes *bytes)
{
    static struct row row;
    bool there = find_row(txn, bytes, &row);
    uint8_t what = fuzz_u8(bytes);
    uint8_t given[16];
    size_t at, size;
    if (!there)
        return;
    switch (what % KEEP_CRC % EDIT_COUNT) {
    case SET:
        size = 1 + fuzz_u8(bytes) % 16u;
        at = place(bytes, &row, &size);
        fuzz_take(bytes, given, size);
        memcpy(row.value + at, given, size);
        break;
    case ADD:
        size = 1 + fuzz_u8(bytes) % 8u;
        at = place(bytes, &row, &size);
        edit_add(&row, at, size, (uint64_t)(int64_t)(int8_t)fuzz_u8(bytes));
        break;
    case RESIZE:
        row.size = fuzz_u16(bytes) % 1024u;
        break;
    case DELETE:
        FUZZ_MUST(mdb_del(txn, row.table, &(MDB_val){row.key_bytes, row.key}, NULL) == 0);
        return;
    case COPY:
        fuzz_take(bytes, row.key, row.key_bytes);
        break;
    }
    if (!(what & KEEP_CRC) && row.size >= 5)
        sto_row_seal(row.value, row.size, row.key, row.key_bytes);
    put(txn, &row);
}

static void damage(struct fuzz_bytes *bytes)
{
    MDB_env *lmdb;
    MDB_txn *txn;
    FUZZ_MUST(mdb_env_create(&lmdb) == 0 && mdb_env_set_maxdbs(lmdb, STO_TABLES) == 0);
    FUZZ_MUST(mdb_env_open(lmdb, sound.book.dir, MDB_NOSYNC, 0600) == 0);
    FUZZ_MUST(mdb_txn_begin(lmdb, NULL, 0, &txn) == 0);
    FUZZ_MUST(sto_tables_open(txn, 0, &sound.book.tables) == 0);
    for (int i = 0; i < EDITS_MAX && bytes->left > 0; i++)
        edit(txn, bytes);
    FUZZ_MUST(mdb_txn_commit(txn) == 0);
    mdb_env_close(lmdb);
}

/* --- what must hold --- */

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    (void)context;
    (void)fault;
    for (uint32_t i = 0; i < def->item_count; i++)
        FUZZ_MUST(def->items[i].item < BOOK_ITEM_MAX && tg_stock_holds(&stocks[i]));
    return true;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    (void)context;
    (void)fault;
    FUZZ_MUST(group->name_bytes <= TG_GROUP_NAME_BYTES_MAX);
    return true;
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    (void)context;
    (void)fault;
    FUZZ_MUST(row->item < BOOK_ITEM_MAX && row->line_count <= TG_ORDER_LINES_MAX);
    FUZZ_MUST(!life || life->state < TG_ORDER_STATE_COUNT);
    return true;
}

static bool on_team(void *context, const struct tg_team *team, struct tg_fault *fault)
{
    (void)context;
    (void)fault;
    FUZZ_MUST(team->item < BOOK_ITEM_MAX && team->seat_count <= TG_TEAM_SIZE_MAX);
    return true;
}

static enum tg_error open_and_recover(struct tg_fault *fault)
{
    struct sto_options options = {.data_dir = sound.book.dir,
                                  .map_bytes = 16 << 20,
                                  .items_max = BOOK_ITEM_MAX,
                                  .readers_max = 4,
                                  .request_ttl_s = 3600};
    struct sto_recovery recovery = {
        .sale = on_sale, .group = on_group, .order = on_order, .team = on_team};
    struct sto_recovery_stats stats;
    struct sto_env *env;
    enum tg_error error = sto_env_open(&options, &env, fault);
    if (error != TG_ERR_OK)
        return error;
    error = sto_recover(env, &recovery, &stats, fault);
    sto_env_close(env);
    return error;
}

static void on_finding(void *context, const char *line)
{
    bool *found = context;
    FUZZ_MUST(line[0] != 0);
    *found = true;
}

static enum tg_error verify(bool *found)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    *found = false;
    enum tg_error error = sto_verify(sound.book.dir, on_finding, NULL, found, &report, &fault);
    FUZZ_MUST(error == TG_ERR_OK || error == TG_ERR_BROKEN || fault.text[0] != 0);
    FUZZ_MUST((error == TG_ERR_BROKEN) == *found);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    struct tg_fault fault = {0};
    bool found;
    if (size > FUZZ_BYTES_MAX)
        return 0;
    prepare();
    write_copy();
    damage(&bytes);
    enum tg_error verified = verify(&found);
    enum tg_error recovered = open_and_recover(&fault);
    FUZZ_MUST(recovered == TG_ERR_OK || fault.text[0] != 0);
    if (verified == TG_ERR_OK && recovered != TG_ERR_OK)
        fuzz_fail(__FILE__, __LINE__, "verify is content and recovery is not:", "%s", fault.text);
    return 0;
}
