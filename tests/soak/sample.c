#include "tests/soak/sample.h"

#include "base/clock.h"

#include <dirent.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASES     32
#define META_PAGES    2
#define FREE_DBI      0u /* LMDB's own two */
#define MAIN_DBI      1u
#define TASKS         5
#define TASK_SLEEP_US 1000

const char *soak_table_name(enum soak_table table)
{
    static const char *const names[SOAK_TABLES] = {
        [SOAK_ORDERS] = "orders", [SOAK_LIVES] = "lives",       [SOAK_EVENTS] = "events",
        [SOAK_TEAMS] = "teams",   [SOAK_INGESTED] = "ingested",
    };
    return names[table];
}

/* --- the database --- */

struct soak_book {
    MDB_env *env;
};

struct soak_book *soak_book_open(const char *data_dir)
{
    struct soak_book *book = calloc(1, sizeof(*book));
    if (!book)
        return NULL;
    if (mdb_env_create(&book->env) || mdb_env_set_maxdbs(book->env, DATABASES) ||
        mdb_env_open(book->env, data_dir, MDB_RDONLY | MDB_NOTLS, 0600)) {
        soak_book_close(book);
        return NULL;
    }
    return book;
}

void soak_book_close(struct soak_book *book)
{
    if (book && book->env)
        mdb_env_close(book->env);
    free(book);
}

static uint64_t bytes_of(const MDB_stat *stat)
{
    return (stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages) *
           (uint64_t)stat->ms_psize;
}

static int add_table(MDB_txn *txn, MDB_dbi dbi, struct soak_pages *pages, MDB_stat *stat)
{
    int rc = mdb_stat(txn, dbi, stat);
    pages->used += rc ? 0 : bytes_of(stat);
    return rc;
}

/* One of the tables that the main database names. */
static int add_named(MDB_txn *txn, const char *name, struct soak_pages *pages)
{
    MDB_dbi dbi;
    MDB_stat stat;
    int rc = mdb_dbi_open(txn, name, 0, &dbi);
    if (!rc)
        rc = add_table(txn, dbi, pages, &stat);
    for (int i = 0; !rc && i < SOAK_TABLES; i++) {
        if (strcmp(name, soak_table_name((enum soak_table)i)) == 0) {
            pages->rows[i] = stat.ms_entries;
            pages->bytes[i] = bytes_of(&stat);
        }
    }
    return rc;
}

/* Calls `visit` with every row of a database. */
static int walk(MDB_txn *txn, MDB_dbi dbi,
                int (*visit)(MDB_txn *txn, const MDB_val *key, const MDB_val *value,
                             struct soak_pages *pages),
                struct soak_pages *pages)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0 &&
           (rc = visit(txn, &key, &value, pages)) == 0)
        ;
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int visit_name(MDB_txn *txn, const MDB_val *key, const MDB_val *value,
                      struct soak_pages *pages)
{
    char name[64];
    (void)value;
    snprintf(name, sizeof(name), "%.*s", (int)key->mv_size, (const char *)key->mv_data);
    return add_named(txn, name, pages);
}

/* A row of the list of free pages: how many they are, then their numbers. */
static int visit_free(MDB_txn *txn, const MDB_val *key, const MDB_val *value,
                      struct soak_pages *pages)
{
    size_t count;
    (void)txn;
    (void)key;
    memcpy(&count, value->mv_data, sizeof(count));
    pages->spare += count;
    return 0;
}

bool soak_book_pages(struct soak_book *book, struct soak_pages *pages)
{
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_stat stat = {0};
    *pages = (struct soak_pages){0};
    if (mdb_txn_begin(book->env, NULL, MDB_RDONLY, &txn))
        return false;
    bool read =
        mdb_env_info(book->env, &info) == 0 && add_table(txn, MAIN_DBI, pages, &stat) == 0 &&
        walk(txn, MAIN_DBI, visit_name, pages) == 0 &&
        add_table(txn, FREE_DBI, pages, &stat) == 0 && walk(txn, FREE_DBI, visit_free, pages) == 0;
    mdb_txn_abort(txn);
    pages->used += META_PAGES * (uint64_t)stat.ms_psize;
    pages->spare *= stat.ms_psize;
    pages->file = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
    return read;
}

/* --- the process --- */

static bool read_status(pid_t pid, struct soak_sample *sample)
{
    char path[64], line[256];
    uint64_t kib;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1)
            sample->rss = kib * 1024;
        else if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
            sample->rss_anon = kib * 1024;
        else if (sscanf(line, "Threads: %" SCNu64, &kib) == 1)
            sample->threads = (uint32_t)kib;
    }
    if (file)
        fclose(file);
    return file && sample->rss_anon > 0;
}

static bool read_cpu(pid_t pid, struct soak_sample *sample)
{
    char path[64], text[1024];
    unsigned long long user, kernel;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    bool read = file && fgets(text, sizeof(text), file);
    if (file)
        fclose(file);
    /* The name is in parentheses and may hold anything; eleven fields lie between it and these. */
    const char *behind = read ? strrchr(text, ')') : NULL;
    if (!behind || sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                          &user, &kernel) != 2)
        return false;
    sample->cpu_ms = (user + kernel) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return true;
}

static bool count_fds(pid_t pid, struct soak_sample *sample)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    sample->fds = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        sample->fds += entry->d_name[0] != '.';
    closedir(dir);
    return true;
}

double soak_machine_us(int fd)
{
    static const char page[4096];
    double worst_us = 0;
    for (int i = 0; i < TASKS; i++) {
        int64_t begun_ns = tg_clock_mono_ns();
        usleep(TASK_SLEEP_US);
        if (pwrite(fd, page, sizeof(page), i * (off_t)sizeof(page)) != sizeof(page) ||
            fdatasync(fd))
            return 0;
        double took_us = (double)(tg_clock_mono_ns() - begun_ns) / 1e3 - TASK_SLEEP_US;
        worst_us = took_us > worst_us ? took_us : worst_us;
    }
    return worst_us;
}

bool soak_sample_process(pid_t pid, const char *data_dir, struct soak_sample *sample)
{
    char path[256];
    struct stat file;
    snprintf(path, sizeof(path), "%.230s/data.mdb", data_dir);
    if (stat(path, &file) != 0 || !read_status(pid, sample) || !read_cpu(pid, sample) ||
        !count_fds(pid, sample))
        return false;
    sample->file_allocated = (uint64_t)file.st_blocks * 512;
    return true;
}
