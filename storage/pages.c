/* The data file as a whole: its meta pages, its free list, its tables, and that every page belongs
 * to one of them. pages_tree.c walks through one tree. */
#include "storage/pages_walk.h"

#include "base/mem.h"
#include "storage/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pages read at once, where they are asked for one behind the other. */
#define WINDOW_PAGES 16u

/* The file may end before its last page: LMDB does not write pages that a transaction took at the
 * end and gave back. More of them than this no sound file has. */
#define UNWRITTEN_PAGES_MAX (1u << 20)

#define MAP_BYTES_MAX (1ull << 46)

/* LMDB's flags of a tree, of those that it keeps; the free list's carry some of the environment. */
#define INTEGER_KEYS 0x08u
#define NO_SUBDIR    0x4000u

/* Looks at a meta page that is being written meanwhile. */
#define STEADY_LOOKS_MAX 1000

static const struct table {
    const char *name;
    uint16_t key_bytes;
    uint16_t format; /* that it came with */
} tables[] = {
    {"meta", 0, 1},   {"sales", 4, 1},  {"items", 4, 1},       {"stock", 4, 1},
    {"orders", 8, 1}, {"lives", 8, 2},  {"adjustments", 8, 1}, {"events", 8, 2},
    {"teams", 8, 2},  {"groups", 0, 2}, {"ingested", 0, 2},    {"stock_log", 8, 3},
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

_Static_assert(TABLES == STO_TABLES, "every table is looked at");

/* Before the name of a table, where it is told. */
#define TABLE_WORD "table "

/* What the main tree says. */
struct catalogue {
    struct sto_pages_db heads[TABLES];
    bool has[TABLES];
    uint32_t strangers;
    char stranger[64]; /* name of one */
    uint32_t version;  /* of the format; 0: its record is not there, or damaged */
};

/* --- telling --- */

void sto_pages_damage(struct sto_pages_walk *w, const char *format, ...)
{
    char line[384];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (w->stopped)
        return;
    if (w->report->damages++ == 0)
        tg_fault_set(w->fault, TG_ERR_CORRUPT,
                     "%.100s/data.mdb is damaged: %s; restore a backup (tidegatectl verify tells "
                     "all that is damaged)",
                     w->data_dir, line);
    w->stopped = !w->look->damage || !w->look->damage(w->look->context, line);
}

static const char *problem_set(struct sto_pages_walk *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *problem_set(struct sto_pages_walk *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->problem, sizeof(w->problem), format, args);
    va_end(args);
    return w->problem;
}

/* --- reading --- */

static const char *read_at(struct sto_pages_walk *w, uint64_t offset, size_t bytes, void *to)
{
    ssize_t got;
    while ((got = pread(w->fd, to, bytes, (off_t)offset)) < 0 && errno == EINTR)
        ;
    if (got == (ssize_t)bytes)
        return NULL;
    if (got < 0)
        return problem_set(w, "it cannot be read: %s", strerror(errno));
    return problem_set(w, "it is not there: the file was cut off, it has %llu bytes and needs %llu",
                       (unsigned long long)w->file_bytes, (unsigned long long)offset + bytes);
}

const char *sto_pages_read_run(struct sto_pages_walk *w, uint64_t number, size_t bytes, void *to)
{
    if (number >= w->page_count)
        return "it points behind the last page";
    return read_at(w, number * w->page_bytes, bytes, to);
}

/* Tables that grow at their end lie nearly in the order of their rows. */
static uint32_t window_pages(const struct sto_pages_walk *w, uint64_t number)
{
    uint64_t in_file = w->file_bytes / w->page_bytes;
    bool goes_on = number > w->last_read && number - w->last_read <= WINDOW_PAGES / 4;
    if (!goes_on || number >= in_file)
        return 1;
    return in_file - number < WINDOW_PAGES ? (uint32_t)(in_file - number) : WINDOW_PAGES;
}

const char *sto_pages_read(struct sto_pages_walk *w, uint64_t number, const uint8_t **page)
{
    if (number - w->window_first >= w->window_count) {
        uint32_t count = window_pages(w, number);
        const char *problem =
            sto_pages_read_run(w, number, (size_t)count * w->page_bytes, w->window);
        if (problem && count > 1)
            problem = sto_pages_read_run(w, number, w->page_bytes, w->window), count = 1;
        w->window_first = number;
        w->window_count = problem ? 0 : count;
        if (problem)
            return problem;
    }
    w->last_read = number;
    *page = w->window + (number - w->window_first) * w->page_bytes;
    return NULL;
}

const char *sto_pages_read_value(struct sto_pages_walk *w, uint64_t number, size_t skip,
                                 MDB_val *value)
{
    uint64_t begin = number * w->page_bytes + skip;
    if (begin + value->mv_size > w->file_bytes)
        return "the pages of one of its rows are not there: the file was cut off";
    if (value->mv_size > w->value_room) {
        free(w->value);
        w->value_room = value->mv_size;
        w->value = malloc(w->value_room);
        if (!w->value) {
            w->value_room = 0;
            return "there is no memory for one of its rows";
        }
    }
    value->mv_data = w->value;
    return read_at(w, begin, value->mv_size, w->value);
}

/* --- every page once --- */

static bool bit_of(const uint64_t *bits, uint64_t number)
{
    return bits[number / 64] >> number % 64 & 1;
}

const char *sto_pages_take(struct sto_pages_walk *w, uint64_t number, uint64_t count)
{
    if (number < 2 || count == 0 || number >= w->page_count || count > w->page_count - number)
        return problem_set(w, "page %llu is not one of the %llu of the file",
                           (unsigned long long)number, (unsigned long long)w->page_count);
    for (uint64_t i = number; i < number + count; i++) {
        if (bit_of(w->used, i))
            return problem_set(w, "page %llu is in two places", (unsigned long long)i);
        if (bit_of(w->free, i))
            return problem_set(w,
                               "page %llu is in use and in the free list, so it would be "
                               "overwritten",
                               (unsigned long long)i);
        w->used[i / 64] |= 1ull << i % 64;
    }
    return NULL;
}

static uint64_t bits_count(const struct sto_pages_walk *w, const uint64_t *bits)
{
    uint64_t count = 0;
    for (size_t i = 0; i < w->bits_bytes / sizeof(*bits); i++)
        count += (uint64_t)__builtin_popcountll(bits[i]);
    return count;
}

/* Only of a file in which nothing else is wrong: a damaged tree does not say what is in it. */
static void pages_account(struct sto_pages_walk *w)
{
    uint64_t used = bits_count(w, w->used);
    if (w->report->damages || used + w->free_count + 2 == w->page_count)
        return;
    uint64_t number = 2;
    while (number < w->page_count - 1 && (bit_of(w->used, number) || bit_of(w->free, number)))
        number++;
    sto_pages_damage(w,
                     "%llu pages are in use and %llu are free, of %llu: page %llu is neither; the "
                     "free list has lost it",
                     (unsigned long long)used, (unsigned long long)w->free_count,
                     (unsigned long long)w->page_count - 2, (unsigned long long)number);
}

/* --- the free list --- */

static const char *free_ids_problem(struct sto_pages_walk *w, const uint8_t *ids, uint64_t count)
{
    uint64_t before = w->page_count;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number;
        memcpy(&number, ids + i * sizeof(number), sizeof(number));
        if (number < 2 || number >= before)
            return i == 1 || number < 2 || number >= w->page_count
                       ? problem_set(w, "page %llu is not one of the %llu of the file",
                                     (unsigned long long)number, (unsigned long long)w->page_count)
                       : "its page numbers are not in order";
        if (bit_of(w->free, number))
            return problem_set(w, "page %llu is in it twice", (unsigned long long)number);
        if (bit_of(w->used, number))
            return problem_set(w,
                               "page %llu is in use and in the free list, so it would be "
                               "overwritten",
                               (unsigned long long)number);
        w->free[number / 64] |= 1ull << number % 64;
        before = number;
    }
    return NULL;
}

/* The pages that a transaction freed, and that none has taken again: their count, then their
 * numbers, largest first; behind them room that is not used. */
static void free_row(struct sto_pages_walk *w, struct sto_pages_tree *tree, const MDB_val *key,
                     const MDB_val *value)
{
    uint64_t txnid, count = 0;
    const char *problem = NULL;
    memcpy(&txnid, key->mv_data, sizeof(txnid));
    if (value->mv_size >= sizeof(count))
        memcpy(&count, value->mv_data, sizeof(count));
    if (txnid == 0 || txnid > w->meta.txnid)
        problem = "there was no such transaction yet";
    else if (value->mv_size % sizeof(count) || value->mv_size / sizeof(count) <= count)
        problem = "it does not have as many page numbers as it says";
    else
        problem = free_ids_problem(w, value->mv_data, count);
    w->free_last = txnid;
    w->free_count += count;
    if (!problem)
        return;
    tree->damaged = true;
    sto_pages_damage(w, "the free list, pages freed by transaction %llu: %s",
                     (unsigned long long)txnid, problem);
}

static struct sto_pages_tree free_tree(const struct sto_pages_meta *meta)
{
    return (struct sto_pages_tree){.name = "the free list",
                                   .db = meta->free,
                                   .key_bytes = 8,
                                   .branch_keys_min = 1,
                                   .row = free_row};
}

/* --- the tables --- */

static void main_row(struct sto_pages_walk *w, struct sto_pages_tree *tree, const MDB_val *key,
                     const MDB_val *value)
{
    struct catalogue *catalogue = tree->context;
    struct sto_pages_db head;
    if (value->mv_size != sizeof(head)) {
        tree->damaged = true;
        sto_pages_damage(w, "the head of table %.*s has the wrong size",
                         (int)(key->mv_size < 32 ? key->mv_size : 32), (const char *)key->mv_data);
        return;
    }
    memcpy(&head, value->mv_data, sizeof(head));
    for (size_t i = 0; i < TABLES; i++) {
        if (strlen(tables[i].name) == key->mv_size &&
            memcmp(tables[i].name, key->mv_data, key->mv_size) == 0) {
            catalogue->heads[i] = head;
            catalogue->has[i] = true;
            return;
        }
    }
    catalogue->strangers++;
    size_t used = 0;
    const uint8_t *name = key->mv_data;
    for (size_t i = 0; i < key->mv_size && i < 16; i++)
        used += (size_t)snprintf(catalogue->stranger + used, sizeof(catalogue->stranger) - used,
                                 name[i] > ' ' && name[i] < 127 ? "%c" : "\\x%02x", name[i]);
}

static void table_row(struct sto_pages_walk *w, struct sto_pages_tree *tree, const MDB_val *key,
                      const MDB_val *value)
{
    w->look->row(w->look->context, tree->name + sizeof(TABLE_WORD) - 1, key, value);
}

/* The version of the format decides which tables there must be. */
static void meta_row(struct sto_pages_walk *w, struct sto_pages_tree *tree, const MDB_val *key,
                     const MDB_val *value)
{
    struct catalogue *catalogue = tree->context;
    uint32_t version;
    if (key->mv_size == sizeof(STO_FORMAT_KEY) - 1 &&
        memcmp(key->mv_data, STO_FORMAT_KEY, key->mv_size) == 0 &&
        sto_row_format_decode(value->mv_data, value->mv_size, &version) == NULL)
        catalogue->version = version;
    if (w->look->row)
        table_row(w, tree, key, value);
}

static void table_walk(struct sto_pages_walk *w, struct catalogue *catalogue, size_t i)
{
    char name[32];
    const struct sto_pages_db *head = &catalogue->heads[i];
    unsigned flags = tables[i].key_bytes ? INTEGER_KEYS : 0;
    bool is_meta = i == 0;
    snprintf(name, sizeof(name), TABLE_WORD "%s", tables[i].name);
    if (head->flags != flags || head->pad != 0) {
        sto_pages_damage(w, "the head of %s says flags %#x and %#x, and must say %#x and 0", name,
                         head->flags, head->pad, flags);
        return;
    }
    struct sto_pages_tree tree = {.name = name,
                                  .db = *head,
                                  .key_bytes = tables[i].key_bytes,
                                  .branch_keys_min = 2,
                                  .row_bytes_max = STO_PAGES_ROW_MAX,
                                  .row = is_meta        ? meta_row
                                         : w->look->row ? table_row
                                                        : NULL,
                                  .context = catalogue};
    sto_pages_tree_walk(w, &tree);
}

/* Every table of its format, and no other: a turned bit in a name makes one of each. */
static void catalogue_judge(struct sto_pages_walk *w, const struct catalogue *catalogue)
{
    /* A newer build's: the format record is refused in its own words. */
    if (catalogue->version > STO_FORMAT_VERSION)
        return;
    if (catalogue->strangers)
        sto_pages_damage(w, "table %s: no version of Tidegate has it", catalogue->stranger);
    for (size_t i = 0; i < TABLES; i++) {
        if (!catalogue->has[i] && catalogue->version >= tables[i].format)
            sto_pages_damage(w, "table %s is missing", tables[i].name);
    }
}

static void tables_walk(struct sto_pages_walk *w)
{
    struct catalogue catalogue = {0};
    struct sto_pages_tree tree = {.name = "the list of tables",
                                  .db = w->meta.main,
                                  .branch_keys_min = 2,
                                  .is_main = true,
                                  .row = main_row,
                                  .context = &catalogue};
    sto_pages_tree_walk(w, &tree);
    for (size_t i = 0; i < TABLES && !w->stopped; i++) {
        if (catalogue.has[i])
            table_walk(w, &catalogue, i);
    }
    if (!tree.damaged)
        catalogue_judge(w, &catalogue);
}

/* --- the mark of a commit whose outcome nobody knows --- */

void sto_pages_mark_set(MDB_env *lmdb, int dir_fd)
{
    MDB_envinfo info;
    char text[24];
    int fd = openat(dir_fd, STO_PAGES_UNKNOWN_MARK, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || mdb_env_info(lmdb, &info))
        return;
    int bytes = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)info.me_last_txnid);
    if (write(fd, text, (size_t)bytes) == bytes)
        fsync(fd);
    close(fd);
}

/* The commit behind which one failed with an unknown outcome; STO_PAGES_NEWEST: none is known. */
static uint64_t mark_read(const char *data_dir)
{
    char path[4096], text[24] = "";
    uint64_t txnid = STO_PAGES_NEWEST;
    int bytes = snprintf(path, sizeof(path), "%s/" STO_PAGES_UNKNOWN_MARK, data_dir);
    int fd = bytes > 0 && (size_t)bytes < sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return txnid;
    if (read(fd, text, sizeof(text) - 1) > 0 && text[0] >= '0' && text[0] <= '9')
        txnid = strtoull(text, NULL, 10);
    close(fd);
    return txnid;
}

/* --- the meta pages --- */

struct meta_page {
    struct sto_pages_head head;
    struct sto_pages_meta meta;
};

#define META_BYTES sizeof(struct meta_page)

/* A writer may be at it: two looks that agree are one that it left. */
static const char *meta_read(struct sto_pages_walk *w, uint64_t offset, struct meta_page *page)
{
    struct meta_page again;
    for (int i = 0; i < STEADY_LOOKS_MAX; i++) {
        const char *problem = read_at(w, offset, META_BYTES, page);
        if (!problem)
            problem = read_at(w, offset, META_BYTES, &again);
        if (problem || memcmp(page, &again, META_BYTES) == 0)
            return problem;
    }
    return "it does not stay the same from one look to the next";
}

static const char *meta_problem(const struct meta_page *page, uint64_t number)
{
    uint32_t page_bytes = page->meta.free.pad;
    if (page->head.flags != STO_PAGES_META || page->meta.magic != STO_PAGES_META_MAGIC)
        return "it is no meta page of LMDB";
    if (page->head.number != number)
        return "it says that it is another page";
    if (page->meta.version != STO_PAGES_META_VERSION)
        return "its version is not that of LMDB 0.9";
    if (page_bytes < STO_PAGES_SIZE_MIN || page_bytes > STO_PAGES_SIZE_MAX ||
        page_bytes & (page_bytes - 1))
        return "its page size cannot be";
    if ((page->meta.free.flags & ~NO_SUBDIR) != INTEGER_KEYS || page->meta.main.flags != 0 ||
        page->meta.main.pad != 0)
        return "the flags of its trees are not ours";
    return NULL;
}

/* Both meta pages as they stand; sets the page size. */
static bool metas_read(struct sto_pages_walk *w, struct meta_page pages[2])
{
    uint64_t offset = 0;
    for (uint64_t i = 0; i < 2; i++) {
        const char *problem = meta_read(w, offset, &pages[i]);
        if (!problem)
            problem = meta_problem(&pages[i], i);
        if (!problem && i == 1 &&
            (pages[1].meta.free.pad != pages[0].meta.free.pad ||
             pages[1].meta.free.flags != pages[0].meta.free.flags))
            problem = "its page size and flags are not those of the other";
        if (problem) {
            sto_pages_damage(w, "page %llu (meta page): %s; the newest commit may be lost with it",
                             (unsigned long long)i, problem);
            return false;
        }
        offset = w->page_bytes = pages[i].meta.free.pad;
    }
    return true;
}

/* The newest transaction that freed pages under this meta page: LMDB frees some in every one but
 * the first, and writes them down under its number, in other pages than the number of the meta
 * page itself. */
static const char *free_last_of(struct sto_pages_walk *w, const struct sto_pages_meta *meta,
                                uint64_t *txnid)
{
    struct sto_pages_tree tree = free_tree(meta);
    w->page_count = UINT64_MAX / w->page_bytes;
    return sto_pages_tree_last(w, &tree, txnid);
}

/* The other meta page is that of the commit before, or somebody turned a bit in a number, and it is
 * the newest. A live daemon's may be newer than the snapshot. */
static void other_judge(struct sto_pages_walk *w, const struct meta_page pages[2], bool chosen)
{
    const struct sto_pages_meta *other = &pages[!chosen].meta;
    uint64_t txnid = pages[chosen].meta.txnid, freed;
    if (txnid == 0 || other->txnid > txnid)
        return;
    const char *problem = free_last_of(w, other, &freed);
    if (problem)
        sto_pages_damage(
            w, "page %u (meta page of transaction %llu): its free list cannot be found: %s",
            !chosen, (unsigned long long)other->txnid, problem);
    else if (freed > other->txnid && !(freed == txnid + 1 && mark_read(w->data_dir) == txnid))
        sto_pages_damage(w,
                         "page %u (meta page): it says transaction %llu and has the trees of %llu, "
                         "so the newest commit may be lost. If the daemon's last words were that a "
                         "commit's outcome is unknown, put the number %llu into the "
                         "file " STO_PAGES_UNKNOWN_MARK " beside it and start again",
                         !chosen, (unsigned long long)other->txnid, (unsigned long long)freed,
                         (unsigned long long)txnid);
}

/* Whether the numbers can be those of two commits, one behind the other. */
static bool metas_follow(const struct meta_page pages[2])
{
    uint64_t a = pages[0].meta.txnid, b = pages[1].meta.txnid;
    if (a == 0 && b == 0)
        return true;
    return a % 2 == 0 && b % 2 == 1 && (a + 1 == b || b + 1 == a);
}

/* Judges both meta pages and takes the one of `txnid`. */
static bool metas_choose(struct sto_pages_walk *w, uint64_t txnid)
{
    struct meta_page pages[2];
    if (!metas_read(w, pages))
        return false;
    if (!metas_follow(pages)) {
        sto_pages_damage(w,
                         "pages 0 and 1 (meta pages) say transactions %llu and %llu, which do not "
                         "follow one another: one is damaged, and the newest commit may be lost",
                         (unsigned long long)pages[0].meta.txnid,
                         (unsigned long long)pages[1].meta.txnid);
        return false;
    }
    bool chosen = txnid == STO_PAGES_NEWEST ? pages[0].meta.txnid < pages[1].meta.txnid : txnid & 1;
    w->meta = pages[chosen].meta;
    w->report->txnid = w->meta.txnid;
    if (txnid != STO_PAGES_NEWEST && w->meta.txnid != txnid)
        return tg_fault_set(w->fault, TG_ERR_TIMEOUT, "commit %llu is not there any more",
                            (unsigned long long)txnid),
               false;
    other_judge(w, pages, chosen);
    return !w->stopped;
}

/* What the meta page says of the size of it all; false: nothing can be made of it. */
static bool size_judge(struct sto_pages_walk *w)
{
    const struct sto_pages_meta *meta = &w->meta;
    uint64_t in_file = w->file_bytes / w->page_bytes;
    w->page_count = meta->last_page + 1;
    if (meta->last_page < 1 || meta->last_page >= in_file + UNWRITTEN_PAGES_MAX) {
        sto_pages_damage(
            w,
            "page %llu (meta page): its last page is %llu, and the file has %llu; it was "
            "cut off, or the number is damaged",
            (unsigned long long)meta->txnid % 2, (unsigned long long)meta->last_page,
            (unsigned long long)in_file);
        return false;
    }
    if (meta->map_bytes > MAP_BYTES_MAX || meta->map_bytes < w->page_count * w->page_bytes)
        sto_pages_damage(w, "page %llu (meta page): its map size of %llu bytes cannot be",
                         (unsigned long long)meta->txnid % 2, (unsigned long long)meta->map_bytes);
    return !w->stopped;
}

/* --- the whole --- */

static void trees_walk(struct sto_pages_walk *w)
{
    struct sto_pages_tree tree = free_tree(&w->meta);
    sto_pages_tree_walk(w, &tree);
    w->report->free_pages = w->free_count;
    if (!tree.damaged && w->free_last != w->meta.txnid && w->meta.txnid > 1)
        sto_pages_damage(
            w,
            "page %llu (meta page): it says transaction %llu, and its free list ends with "
            "%llu; the newest commit may be lost",
            (unsigned long long)w->meta.txnid % 2, (unsigned long long)w->meta.txnid,
            (unsigned long long)w->free_last);
    if (!w->stopped)
        tables_walk(w);
    if (!w->stopped)
        pages_account(w);
}

static enum tg_error walk_in_memory(struct sto_pages_walk *w)
{
    w->bits_bytes = (w->page_count / 64 + 1) * sizeof(uint64_t);
    size_t levels_bytes = (size_t)STO_PAGES_DEPTH_MAX * w->page_bytes;
    w->used = tg_mem_map(w->bits_bytes);
    w->free = tg_mem_map(w->bits_bytes);
    w->levels = tg_mem_map(levels_bytes);
    enum tg_error error = TG_ERR_OK;
    if (w->used && w->free && w->levels)
        trees_walk(w);
    else
        error = tg_fault_set(w->fault, TG_ERR_NOMEM, "no memory to look at %llu pages",
                             (unsigned long long)w->page_count);
    free(w->value);
    tg_mem_unmap(w->levels, levels_bytes);
    tg_mem_unmap(w->free, w->bits_bytes);
    tg_mem_unmap(w->used, w->bits_bytes);
    return error;
}

/* Opens the file; `*missing`: there is none. */
static enum tg_error file_open(struct sto_pages_walk *w, bool *missing)
{
    char path[4096];
    struct stat file;
    *missing = false;
    int bytes = snprintf(path, sizeof(path), "%s/data.mdb", w->data_dir);
    if (bytes < 0 || (size_t)bytes >= sizeof(path))
        return tg_fault_set(w->fault, TG_ERR_INVALID, "the path of the data directory is too long");
    w->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (w->fd < 0 && errno == ENOENT) {
        *missing = true;
        return TG_ERR_OK;
    }
    if (w->fd < 0)
        return tg_fault_set_errno(w->fault, TG_ERR_SYSTEM, errno, "cannot open %s", path);
    if (fstat(w->fd, &file))
        return tg_fault_set_errno(w->fault, TG_ERR_SYSTEM, errno, "cannot look at %s", path);
    w->file_bytes = (uint64_t)file.st_size;
    return TG_ERR_OK;
}

/* `only_metas`: whether LMDB can open the file, no more. */
static enum tg_error look_at(struct sto_pages_walk *w, uint64_t txnid, bool only_metas)
{
    bool missing;
    if (!w->fault)
        w->fault = &w->unheard;
    enum tg_error error = file_open(w, &missing);
    if (error || missing)
        goto done;
    size_t window_bytes = (size_t)WINDOW_PAGES * STO_PAGES_SIZE_MAX;
    w->window = tg_mem_map(window_bytes);
    if (!w->window) {
        error = tg_fault_set(w->fault, TG_ERR_NOMEM, "no memory to look at pages");
        goto done;
    }
    struct meta_page pages[2];
    w->fault->error = TG_ERR_OK;
    if (only_metas)
        metas_read(w, pages);
    else if (metas_choose(w, txnid) && size_judge(w))
        error = walk_in_memory(w);
    else if (w->fault->error == TG_ERR_TIMEOUT)
        error = TG_ERR_TIMEOUT;
    if (!error && w->report->damages)
        error = TG_ERR_CORRUPT;
    tg_mem_unmap(w->window, window_bytes);
done:
    if (w->fd >= 0)
        close(w->fd);
    return error;
}

enum tg_error sto_pages_look(const char *data_dir, uint64_t txnid,
                             const struct sto_pages_look *look, struct sto_pages_report *report,
                             struct tg_fault *fault)
{
    static const struct sto_pages_look until_the_first = {0};
    struct sto_pages_walk w = {.look = look ? look : &until_the_first,
                               .report = report,
                               .fault = fault,
                               .data_dir = data_dir,
                               .fd = -1};
    *report = (struct sto_pages_report){0};
    return look_at(&w, txnid, false);
}

enum tg_error sto_pages_can_open(const char *data_dir, struct tg_fault *fault)
{
    static const struct sto_pages_look until_the_first = {0};
    struct sto_pages_report report = {0};
    struct sto_pages_walk w = {.look = &until_the_first,
                               .report = &report,
                               .fault = fault,
                               .data_dir = data_dir,
                               .fd = -1};
    return look_at(&w, STO_PAGES_NEWEST, true);
}
