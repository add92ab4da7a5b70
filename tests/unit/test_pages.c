/* The look at the pages beneath LMDB: a database that the commit step wrote, with one number in the
 * raw file turned. tests/bitrot tries places by the thousand; here are those that need a story. */
#include "storage/pages.h"
#include "storage/storage.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u

/* Places in a meta page, and in a page. */
enum {
    META_MAP_BYTES = 32,
    META_FREE_ROOT = 80,
    META_MAIN_ROOT = 128,
    META_LAST_PAGE = 136,
    META_TXNID = 144,
    PAGE_FLAGS = 10,
    PAGE_LOWER = 12,
    PAGE_UPPER = 14,
    PAGE_ROWS = 16,
};

/* Places in a row. */
enum {
    ROW_VALUE_BYTES = 0,
    ROW_FLAGS = 4,
    ROW_KEY_BYTES = 6,
    ROW_KEY = 8,
};

/* A database of a few commits, closed. */
static struct depot *closed_depot(void)
{
    struct depot *f = depot_make(16 * DEPOT_MIB);
    depot_commit_sale(f, 0, 0, 3, 10000);
    for (uint32_t i = 0; i < 6; i++)
        depot_commit_orders(f, i % 3, 200);
    depot_close(f);
    return f;
}

static int file_of(const struct depot *f)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static uint64_t get(const struct depot *f, uint64_t at, size_t bytes)
{
    uint64_t number = 0;
    int fd = file_of(f);
    cr_assert_eq(pread(fd, &number, bytes, (off_t)at), (ssize_t)bytes);
    close(fd);
    return number;
}

static void put(const struct depot *f, uint64_t at, uint64_t number, size_t bytes)
{
    int fd = file_of(f);
    cr_assert_eq(pwrite(fd, &number, bytes, (off_t)at), (ssize_t)bytes);
    close(fd);
}

/* Where the meta pages begin. */
static uint64_t newest(const struct depot *f)
{
    return get(f, META_TXNID, 8) > get(f, PAGE + META_TXNID, 8) ? 0 : PAGE;
}

static uint64_t older(const struct depot *f)
{
    return PAGE - newest(f);
}

static uint64_t root_of(const struct depot *f, uint64_t at)
{
    return get(f, newest(f) + at, 8) * PAGE;
}

/* It neither opens, nor is verify content; both say `words`. */
static void must_refuse(struct depot *f, const char *words)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    cr_assert_eq(sto_env_open(&f->options, &f->env, &f->fault), TG_ERR_CORRUPT, "%s",
                 f->fault.text);
    f->env = NULL;
    cr_expect_not_null(strstr(f->fault.text, words), "\"%s\" is not in: %s", words, f->fault.text);
    cr_expect_not_null(strstr(f->fault.text, "restore a backup"), "%s", f->fault.text);
    cr_expect_eq(sto_verify(f->dir, NULL, NULL, NULL, &report, &fault), TG_ERR_BROKEN, "%s",
                 fault.text);
    cr_expect_gt(report.page_errors, 0);
    depot_free(f);
}

static void must_open(struct depot *f)
{
    struct depot_found found;
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    cr_expect_eq(sto_verify(f->dir, NULL, NULL, NULL, &report, &fault), TG_ERR_OK, "%s",
                 fault.text);
    depot_open(f);
    cr_assert_eq(depot_recover(f, &found, 10000), TG_ERR_OK, "%s", f->fault.text);
    depot_found_free(&found);
    depot_free(f);
}

Test(pages, counts_what_a_sound_file_holds)
{
    struct depot *f = closed_depot();
    struct sto_pages_report report;
    cr_assert_eq(sto_pages_look(f->dir, STO_PAGES_NEWEST, NULL, &report, &f->fault), TG_ERR_OK,
                 "%s", f->fault.text);
    cr_assert_eq(report.damages, 0);
    cr_assert_eq(report.txnid, get(f, newest(f) + META_TXNID, 8));
    cr_assert_geq(report.rows, 1200 + 1 + 3 + 3 + 11, "orders, sale, items, stock, tables");
    cr_assert_geq(report.leaf_pages, 1200 * 74 / PAGE);
    cr_assert_geq(report.branch_pages, 1);
    cr_assert_eq(report.branch_pages + report.leaf_pages + report.overflow_pages +
                     report.free_pages + 2,
                 get(f, newest(f) + META_LAST_PAGE, 8) + 1, "every page is in one place");
    must_open(f);
}

Test(pages, a_directory_without_a_file_is_sound)
{
    struct depot *f = closed_depot();
    struct sto_pages_report report;
    cr_assert_eq(sto_pages_look("/nowhere/at/all", STO_PAGES_NEWEST, NULL, &report, &f->fault),
                 TG_ERR_OK);
    depot_free(f);
}

/* It would be taken for a new database, and orders would begin again at 1. */
Test(pages, a_file_without_a_byte_is_no_new_database)
{
    struct depot *f = closed_depot();
    int fd = file_of(f);
    cr_assert_eq(ftruncate(fd, 0), 0);
    close(fd);
    must_refuse(f, "cut off");
}

/* --- the newest commit --- */

/* Either number turned so that the two still follow one another: LMDB would take the older. */
Test(pages, the_newest_commit_cannot_be_hidden_by_a_turned_bit)
{
    struct depot *f = closed_depot();
    uint64_t txnid = get(f, newest(f) + META_TXNID, 8);
    put(f, newest(f) + META_TXNID, txnid - 2, 8);
    must_refuse(f, "the newest commit may be lost");

    f = closed_depot();
    put(f, older(f) + META_TXNID, txnid + 1, 8);
    must_refuse(f, "the newest commit may be lost");

    f = closed_depot();
    put(f, newest(f) + META_TXNID, txnid ^ 1u << 20, 8);
    must_refuse(f, "do not follow one another");
}

/* What LMDB leaves of a meta page that it could not write: trees of the commit that failed, number
 * and last page of the older one. */
static struct depot *depot_of_a_failed_commit(uint64_t *txnid)
{
    struct depot *f = closed_depot();
    uint64_t at = newest(f);
    *txnid = get(f, at + META_TXNID, 8);
    put(f, at + META_TXNID, *txnid - 2, 8);
    return f;
}

static void mark(const struct depot *f, uint64_t txnid)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/" STO_PAGES_UNKNOWN_MARK, f->dir);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fprintf(file, "%lu\n", txnid);
    fclose(file);
}

Test(pages, a_commit_of_unknown_outcome_may_be_dropped)
{
    uint64_t txnid;
    struct depot *f = depot_of_a_failed_commit(&txnid);
    mark(f, txnid - 1);
    must_open(f);
}

/* A mark that an earlier failure left does not excuse a later damage. */
Test(pages, no_other_commit_may_be_dropped)
{
    uint64_t txnid;
    struct depot *f = depot_of_a_failed_commit(&txnid);
    mark(f, txnid - 2);
    must_refuse(f, "put the number");
}

/* --- pages --- */

Test(pages, a_page_that_is_in_use_and_free_is_refused)
{
    struct depot *f = closed_depot();
    /* The last row of the free list; its last page number. */
    uint64_t page = root_of(f, META_FREE_ROOT);
    uint64_t rows = (get(f, page + PAGE_LOWER, 2) - PAGE_ROWS) / 2;
    uint64_t node = page + get(f, page + PAGE_ROWS + 2 * (rows - 1), 2);
    uint64_t count = get(f, node + 16, 8);
    cr_assert_gt(count, 0);
    put(f, node + 16 + 8 * count, root_of(f, META_MAIN_ROOT) / PAGE, 8);
    struct sto_pages_report report;
    enum tg_error error = sto_pages_look(f->dir, STO_PAGES_NEWEST, NULL, &report, &f->fault);
    cr_assert_eq(error, TG_ERR_CORRUPT);
    must_refuse(f, "page ");
}

/* It would never be used again; and what the number was turned into is somewhere twice. */
Test(pages, a_page_that_is_nowhere_is_refused)
{
    struct depot *f = closed_depot();
    uint64_t page = root_of(f, META_FREE_ROOT);
    uint64_t node = page + get(f, page + PAGE_ROWS, 2);
    uint64_t rows = (get(f, page + PAGE_LOWER, 2) - PAGE_ROWS) / 2;
    for (uint64_t i = 1; i < rows && get(f, node + 16, 8) == 0; i++)
        node = page + get(f, page + PAGE_ROWS + 2 * i, 2);
    put(f, node + 16, get(f, node + 16, 8) - 1, 8);
    must_refuse(f, "is neither");

    f = closed_depot();
    put(f, newest(f) + META_LAST_PAGE, get(f, newest(f) + META_LAST_PAGE, 8) + 1, 8);
    must_refuse(f, "is neither");
}

/* The newest trees of before: LMDB would read an older state out of free pages. */
Test(pages, an_older_root_is_refused)
{
    struct depot *f = closed_depot();
    put(f, newest(f) + META_MAIN_ROOT, get(f, older(f) + META_MAIN_ROOT, 8), 8);
    must_refuse(f, "in use and in the free list, so it would be overwritten");
}

Test(pages, a_leaf_that_says_branch_is_refused)
{
    struct depot *f = closed_depot();
    put(f, root_of(f, META_MAIN_ROOT) + PAGE_FLAGS, 1, 2);
    must_refuse(f, "the list of tables");
}

/* --- leaves of orders, of which nearly all of a large file consists --- */

/* Where row `i` of a page begins. */
static uint64_t row_of(const struct depot *f, uint64_t page, uint64_t i)
{
    return page + get(f, page + PAGE_ROWS + 2 * i, 2);
}

/* Where the child `i` of a branch begins. */
static uint64_t child_of(const struct depot *f, uint64_t branch, uint64_t i)
{
    return get(f, row_of(f, branch, i), 6) * PAGE;
}

static uint64_t orders_root(const struct depot *f)
{
    const uint64_t orders = 0x73726564726full; /* the name */
    const unsigned root = 40;                  /* in the head of a table */
    uint64_t list = root_of(f, META_MAIN_ROOT), row;
    for (uint64_t i = 0;; i++) {
        row = row_of(f, list, i);
        if (get(f, row + ROW_KEY_BYTES, 2) == 6 && get(f, row + ROW_KEY, 6) == orders)
            return get(f, row + ROW_KEY + 6 + root, 8) * PAGE;
    }
}

/* A leaf between two others, of a fresh database. */
static struct depot *leaf_make(uint64_t *leaf)
{
    struct depot *f = closed_depot();
    *leaf = child_of(f, orders_root(f), 1);
    return f;
}

Test(pages, two_rows_of_one_key_are_refused)
{
    uint64_t leaf;
    struct depot *f = leaf_make(&leaf);
    put(f, row_of(f, leaf, 5) + ROW_KEY, get(f, row_of(f, leaf, 4) + ROW_KEY, 8), 8);
    must_refuse(f, "its keys are not in order");
}

Test(pages, a_row_in_the_place_of_another_is_refused)
{
    uint64_t leaf;
    struct depot *f = leaf_make(&leaf);
    uint64_t offset = get(f, leaf + PAGE_ROWS + 2 * 4, 2);
    put(f, leaf + PAGE_ROWS + 2 * 4, get(f, leaf + PAGE_ROWS + 2 * 5, 2), 2);
    put(f, leaf + PAGE_ROWS + 2 * 5, offset, 2);
    must_refuse(f, "its keys are not in order");
}

Test(pages, a_row_of_another_leaf_s_range_is_refused)
{
    uint64_t leaf;
    struct depot *f = leaf_make(&leaf);
    uint64_t low = get(f, row_of(f, leaf, 0) + ROW_KEY, 8);
    put(f, row_of(f, leaf, 0) + ROW_KEY, low - 1, 8);
    must_refuse(f, "its first key is below those of its branch");
    f = leaf_make(&leaf);
    uint64_t last = (get(f, leaf + PAGE_LOWER, 2) - PAGE_ROWS) / 2 - 1;
    uint64_t next = child_of(f, orders_root(f), 2);
    put(f, row_of(f, leaf, last) + ROW_KEY, get(f, row_of(f, next, 0) + ROW_KEY, 8), 8);
    must_refuse(f, "its last key is above those of its branch");
}

Test(pages, a_row_of_another_size_is_refused)
{
    uint64_t leaf;
    struct depot *f = leaf_make(&leaf);
    uint64_t at = row_of(f, leaf, 5) + ROW_VALUE_BYTES;
    put(f, at, get(f, at, 2) - 2, 2);
    must_refuse(f, "its rows do not fill the room that they should");
    f = leaf_make(&leaf);
    at = row_of(f, leaf, 5) + ROW_VALUE_BYTES;
    put(f, at + 2, 1, 2);
    must_refuse(f, "a row reaches beyond its page");
    f = leaf_make(&leaf);
    put(f, row_of(f, leaf, 5) + ROW_KEY_BYTES, 6, 2);
    must_refuse(f, "its rows do not fill the room that they should");
}

Test(pages, room_that_no_row_fills_is_refused)
{
    uint64_t leaf;
    struct depot *f = leaf_make(&leaf);
    put(f, leaf + PAGE_UPPER, get(f, leaf + PAGE_UPPER, 2) - 2, 2);
    must_refuse(f, "its rows do not fill the room that they should");
}

Test(pages, an_order_that_says_it_lies_elsewhere_is_refused)
{
    uint64_t leaf;
    struct depot *f = leaf_make(&leaf);
    put(f, row_of(f, leaf, 5) + ROW_FLAGS, 1, 2);
    must_refuse(f, "leaf of table orders");
    f = leaf_make(&leaf);
    put(f, row_of(f, leaf, 5) + ROW_FLAGS, 2, 2);
    must_refuse(f, "a row reaches beyond its page");
}

/* A row that its page no longer counts is a row that is silently not there. */
Test(pages, a_row_that_its_page_does_not_count_is_missed)
{
    struct depot *f = closed_depot();
    uint64_t page = root_of(f, META_MAIN_ROOT);
    put(f, page + PAGE_LOWER, get(f, page + PAGE_LOWER, 2) - 2, 2);
    must_refuse(f, "its rows do not fill the room that they should");
}

Test(pages, a_number_of_pages_beyond_all_reason_takes_no_memory)
{
    struct depot *f = closed_depot();
    put(f, newest(f) + META_LAST_PAGE, 1ull << 46, 8);
    must_refuse(f, "its last page is");
    f = closed_depot();
    put(f, newest(f) + META_MAP_BYTES, 1ull << 60, 8);
    must_refuse(f, "its map size");
}

/* LMDB takes pages at the end in one transaction, gives them back, and never writes them. */
Test(pages, free_pages_at_the_end_may_be_missing)
{
    struct depot *f = closed_depot();
    MDB_env *lmdb;
    MDB_txn *txn;
    MDB_dbi table;
    static char large[64 * PAGE], name[] = "last";
    cr_assert_eq(mdb_env_create(&lmdb), 0);
    cr_assert_eq(mdb_env_set_mapsize(lmdb, 16 * DEPOT_MIB), 0);
    cr_assert_eq(mdb_env_set_maxdbs(lmdb, 11), 0);
    cr_assert_eq(mdb_env_open(lmdb, f->dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(lmdb, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", 0, &table), 0);
    MDB_val key = {sizeof(name) - 1, name}, value = {sizeof(large), large};
    cr_assert_eq(mdb_put(txn, table, &key, &value, 0), 0);
    cr_assert_eq(mdb_del(txn, table, &key, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(lmdb);
    uint64_t needs = (get(f, newest(f) + META_LAST_PAGE, 8) + 1) * PAGE;
    struct stat file;
    int fd = file_of(f);
    cr_assert_eq(fstat(fd, &file), 0);
    close(fd);
    cr_assert_lt((uint64_t)file.st_size, needs, "the end was written, this shows nothing");
    must_open(f);
}
