#include "proto/verdict.h"
#include "storage/rowbytes.h"
#include "storage/rows.h"
#include "tests/crash/run.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWERS_BEHIND 160 /* of a load that goes on */
#define OLD_ORDERS     60

static void fail(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(CRASH_EXIT_UNABLE);
}

const char *session_path(const struct session *session, const char *name)
{
    static char paths[8][192];
    static uint32_t turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", session->dir, name);
    return path;
}

void session_disk(const struct session *session, struct disk *disk, const char *image,
                  enum disk_bend bend)
{
    disk_init(disk, &session->tape, image, session_path(session, "base"), bend);
}

/* --- recording ---------------------------------------------------------------------------------
 */

static void session_begin(struct session *session, const struct run_options *options,
                          const char *parent, const char *name)
{
    *session = (struct session){.options = options};
    snprintf(session->name, sizeof(session->name), "%s", name);
    if (snprintf(session->dir, sizeof(session->dir), "%s/%s", parent, name) >=
            (int)sizeof(session->dir) ||
        mkdir(session->dir, 0700))
        fail(session->dir);
}

static struct crash_log *log_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, CRASH_LOG_BYTES))
        fail(path);
    struct crash_log *log = mmap(NULL, CRASH_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (log == MAP_FAILED)
        fail("cannot map the log");
    log->magic = CRASH_LOG_MAGIC;
    return log;
}

/* What a load needs, and what is left of it. */
struct recording {
    struct crash_log *log;
    struct host host;
    char data_dir[192], messages[192], log_path[192];
};

static void recording_begin(struct recording *recording, const struct session *session)
{
    snprintf(recording->log_path, sizeof(recording->log_path), "%s/log", session->dir);
    snprintf(recording->data_dir, sizeof(recording->data_dir), "%s/data", session->dir);
    snprintf(recording->messages, sizeof(recording->messages), "%s/daemon", session->dir);
    recording->log = log_create(recording->log_path);
    recording->host = (struct host){.data_dir = recording->data_dir,
                                    .messages = recording->messages,
                                    .log = recording->log_path};
}

static bool recording_end(struct recording *recording, struct session *session)
{
    uint64_t bytes = CRASH_LOG_HEAD + crash_log_at(recording->log);
    munmap(recording->log, CRASH_LOG_BYTES);
    if (truncate(recording->log_path, (off_t)bytes))
        fail(recording->log_path);
    bool settled = facts_settle(&session->facts);
    if (!facts_save(&session->facts, session_path(session, "facts")))
        fail("cannot save the facts");
    disk_tape_open(&session->tape, recording->log_path);
    return settled;
}

bool session_record(struct session *session, const struct run_options *options, const char *parent,
                    const char *name)
{
    struct recording recording;
    session_begin(session, options, parent, name);
    recording_begin(&recording, session);
    session->load = load_run(&recording.host, recording.log, options->seed,
                             (uint32_t)options->answers, &session->facts);
    return recording_end(&recording, session);
}

/* --- behind a power cut ------------------------------------------------------------------------
 */

static void copy_file(const char *from, const char *to)
{
    char buffer[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t got = 0;
    if (in < 0 || out < 0)
        fail(to);
    while ((got = read(in, buffer, sizeof(buffer))) > 0)
        if (write(out, buffer, (size_t)got) != got)
            fail(to);
    if (got < 0)
        fail(from);
    close(in);
    close(out);
}

/* Some image of the past as the file `base` of the session; returns the position of its cut. */
static uint64_t leave_base(const struct session *session, const struct session *past,
                           struct tg_rng *rng)
{
    struct disk disk;
    struct stat stat;
    const char *base = session_path(session, "base");
    uint32_t count = past->tape.count;
    do {
        uint32_t cut = count / 4 + (uint32_t)tg_rng_below(rng, count - count / 4);
        session_disk(past, &disk, base, DISK_STRAIGHT);
        while (disk.at <= cut)
            disk_step(&disk);
        look_make(past, &disk, cut, 32 + (uint32_t)tg_rng_below(rng, 1000));
        disk_fini(&disk);
    } while (lstat(base, &stat) || stat.st_size == 0);
    return past->tape.ops[disk.at - 1].position;
}

/* The data directory of the session, with what it begins on; and a photograph of that. */
static void take_up(const struct session *session, const struct facts *known, struct photo *photo)
{
    if (mkdir(session_path(session, "data"), 0700) || mkdir(session_path(session, "photo"), 0700))
        fail(session->dir);
    copy_file(session_path(session, "base"), session_path(session, "data/data.mdb"));
    copy_file(session_path(session, "base"), session_path(session, "photo/data.mdb"));
    photo_take(photo, session_path(session, "photo"), known);
}

static bool record_on(struct session *session, const struct load *past, uint64_t past_cut,
                      const struct facts *known, uint64_t seed)
{
    struct recording recording;
    struct photo photo;
    take_up(session, known, &photo);
    recording_begin(&recording, session);
    session->load = load_go_on(&recording.host, recording.log, seed, ANSWERS_BEHIND, past, past_cut,
                               &photo, &session->facts);
    photo_free(&photo);
    return recording_end(&recording, session);
}

bool session_record_behind(struct session *session, const struct session *past, const char *parent,
                           uint32_t number)
{
    char name[32];
    struct tg_rng rng;
    snprintf(name, sizeof(name), "behind-%u", number);
    session_begin(session, past->options, parent, name);
    tg_rng_init(&rng, tg_mix64(past->options->seed + number));
    uint64_t cut = leave_base(session, past, &rng);
    return record_on(session, past->load, cut, &past->facts, tg_rng_next(&rng));
}

/* --- a database of format 1 --------------------------------------------------------------------
 */

static bool old_put(MDB_txn *txn, const char *table, const void *key, size_t key_bytes, void *row,
                    size_t size)
{
    MDB_dbi dbi;
    unsigned flags = strcmp(table, "meta") == 0 ? 0 : MDB_INTEGERKEY;
    MDB_val key_value = {key_bytes, (void *)(uintptr_t)key}, value = {size, row};
    if (mdb_dbi_open(txn, table, MDB_CREATE | flags, &dbi))
        return false;
    if (!row)
        return true;
    sto_row_seal(row, size, key, key_bytes);
    return mdb_put(txn, dbi, &key_value, &value, 0) == 0;
}

/* Accepted just now or long ago: the first are paid, the others expire at the start. */
static bool old_order_put(MDB_txn *txn, uint64_t number)
{
    uint64_t order_id = number << TG_PARTITION_BITS;
    int64_t accepted_at_ms = number % 2 ? 9 : tg_clock_wall_ns() / TG_NS_PER_MS;
    uint8_t order[59] = {0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, (uint8_t)number};
    order[32] = (uint8_t)number; /* user */
    order[40] = 100;             /* price */
    memcpy(order + 48, &accepted_at_ms, sizeof(accepted_at_ms));
    memcpy(order + 56, "ext", 3);
    return old_put(txn, "orders", &order_id, sizeof(order_id), order, sizeof(order));
}

/* Sale 1001 with one item: 100 units, and an order for each that is reserved. The layout of the
 * rows is told in tests/unit/test_storage.c. */
static bool old_rows_put(MDB_txn *txn)
{
    const uint32_t first = 0;
    uint8_t format[8] = {0, 0, 0, 0, 1};
    uint8_t sale[44] = {0, 0, 0, 0, 1, TG_SALE_SECKILL, TG_SALE_ACTIVE, 4, 0xe9, 3};
    uint8_t item[39] = {0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 2};
    uint8_t stock[32] = {0, 0, 0, 0,         1, 0, 0, 0, 100, 0, 0, 0, 100 - OLD_ORDERS,
                         0, 0, 0, OLD_ORDERS};
    sale[16] = 1; /* starts */
    sale[24] = 2; /* ends */
    sale[32] = 1; /* items */
    memcpy(sale + 36, "CNY", 3);
    memcpy(sale + 40, "Sale", 4);
    memcpy(item + 36, "S00", 3);
    bool put =
        old_put(txn, "meta", STO_FORMAT_KEY, sizeof(STO_FORMAT_KEY) - 1, format, sizeof(format)) &&
        old_put(txn, "sales", &first, sizeof(first), sale, sizeof(sale)) &&
        old_put(txn, "items", &first, sizeof(first), item, sizeof(item)) &&
        old_put(txn, "stock", &first, sizeof(first), stock, sizeof(stock)) &&
        old_put(txn, "adjustments", NULL, 0, NULL, 0);
    for (uint64_t number = 1; put && number <= OLD_ORDERS; number++)
        put = old_order_put(txn, number);
    return put;
}

static void make_old_base(const struct session *session)
{
    MDB_env *lmdb;
    MDB_txn *txn;
    if (mdb_env_create(&lmdb) || mdb_env_set_maxdbs(lmdb, 6) ||
        mdb_env_set_mapsize(lmdb, (size_t)HOST_MAP_MIB << 20) ||
        mdb_env_open(lmdb, session_path(session, "base"), MDB_NOSUBDIR | MDB_NOLOCK, 0600) ||
        mdb_txn_begin(lmdb, NULL, 0, &txn) || !old_rows_put(txn) || mdb_txn_commit(txn))
        fail("cannot make a database of format 1");
    mdb_env_close(lmdb);
}

bool session_record_upgrade(struct session *session, const struct run_options *options,
                            const char *parent)
{
    session_begin(session, options, parent, "upgrade");
    make_old_base(session);
    return record_on(session, NULL, 0, NULL, options->seed);
}

/* --- the rest ----------------------------------------------------------------------------------
 */

void session_open(struct session *session, const struct run_options *options, const char *dir)
{
    const char *name = strrchr(dir, '/');
    *session = (struct session){.options = options};
    snprintf(session->name, sizeof(session->name), "%s", name ? name + 1 : dir);
    if (snprintf(session->dir, sizeof(session->dir), "%s", dir) >= (int)sizeof(session->dir))
        fail(dir);
    disk_tape_open(&session->tape, session_path(session, "log"));
    if (!facts_load(&session->facts, session_path(session, "facts")))
        fail("cannot read the facts");
}

void session_close(struct session *session)
{
    disk_tape_close(&session->tape);
    facts_free(&session->facts);
    load_free(session->load);
}
