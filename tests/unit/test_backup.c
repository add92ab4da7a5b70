/* The hot backup: what it copies, what it refuses, and what is left when it ends in the middle. */
#include "storage/rows.h"
#include "tests/lib/book.h"
#include "tests/lib/depot.h"
#include "tests/lib/tree.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A place for targets, and what the last copy came to. */
struct yard {
    char dir[64];
    char target[80]; /* dir/target: not made */
    struct sto_backup_options options;
    struct sto_backup_report report;
    struct tg_fault fault;
};

static struct yard yard_make(const char *from_dir)
{
    struct yard yard = {.dir = "/tmp/tidegate-test-backup-XXXXXX"};
    cr_assert_not_null(mkdtemp(yard.dir));
    snprintf(yard.target, sizeof(yard.target), "%s/target", yard.dir);
    yard.options.from_dir = from_dir;
    return yard;
}

static enum tg_error back_up(struct yard *yard)
{
    yard->options.to_dir = yard->target;
    return sto_backup(&yard->options, &yard->report, &yard->fault);
}

static bool there_is(const struct yard *yard, const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", yard->target, name);
    return access(path, F_OK) == 0;
}

static void put_file(const struct yard *yard, const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", yard->target, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
}

static uint32_t entries_of(const char *path)
{
    uint32_t count = 0;
    DIR *dir = opendir(path);
    cr_assert_not_null(dir, "%s", path);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static struct book *closed_book(void)
{
    struct book *book = book_make();
    book_close(book);
    return book;
}

/* Four commits of orders: more than the pipe holds, and several pieces. */
#define MANY_ORDERS 60000
static struct depot *depot_of_many(void)
{
    struct depot *depot = depot_make(256 * DEPOT_MIB);
    depot_commit_sale(depot, 1, 1, 4, 1000000);
    for (uint32_t item = 1; item <= 4; item++)
        depot_commit_orders(depot, item, MANY_ORDERS / 4);
    depot_close(depot);
    return depot;
}

/* --- what it makes --- */

Test(backup, a_copy_holds_all_that_the_database_holds)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    cr_assert_eq(back_up(&yard), TG_ERR_OK, "%s", yard.fault.text);
    cr_expect_eq(yard.report.verify.orders, BOOK_ORDERS);
    cr_expect_eq(yard.report.verify.teams, BOOK_TEAMS);
    cr_expect(there_is(&yard, "data.mdb"));
    cr_expect_not(there_is(&yard, "unfinished"));
    struct sto_verify_report copy;
    cr_expect_eq(sto_verify(yard.target, NULL, NULL, NULL, &copy, &yard.fault), TG_ERR_OK);
    cr_expect_eq(copy.orders, BOOK_ORDERS);
    cr_expect_eq(copy.events, book->sequence - BOOK_ORDERS);
    tree_remove(yard.dir);
    book_free(book);
}

Test(backup, a_copy_of_a_copy_is_the_same_file)
{
    struct depot *depot = depot_of_many();
    struct yard there = yard_make(depot->dir), back = yard_make(there.target);
    cr_assert_eq(back_up(&there), TG_ERR_OK, "%s", there.fault.text);
    cr_assert_eq(back_up(&back), TG_ERR_OK, "%s", back.fault.text);
    cr_expect_eq(there.report.verify.orders, MANY_ORDERS);
    cr_expect_eq(back.report.verify.orders, MANY_ORDERS);
    cr_expect_eq(back.report.bytes, there.report.bytes);
    char command[256];
    snprintf(command, sizeof(command), "cmp %s/data.mdb %s/data.mdb", there.target, back.target);
    cr_expect_eq(system(command), 0);
    tree_remove(there.dir);
    tree_remove(back.dir);
    depot_free(depot);
}

static bool note_progress(void *context, uint64_t bytes, uint64_t bytes_total)
{
    uint64_t *seen = context; /* the last two numbers */
    cr_expect_gt(bytes, seen[0], "it grows");
    cr_expect_leq(bytes, bytes_total);
    seen[0] = bytes;
    seen[1] = bytes_total;
    return true;
}

Test(backup, progress_grows_up_to_all_of_it)
{
    uint64_t seen[2] = {0};
    struct depot *depot = depot_of_many();
    struct yard yard = yard_make(depot->dir);
    yard.options.context = seen;
    yard.options.copied = note_progress;
    yard.options.without_verify = true;
    cr_assert_eq(back_up(&yard), TG_ERR_OK, "%s", yard.fault.text);
    cr_expect_eq(seen[0], yard.report.bytes);
    cr_expect_eq(seen[0], seen[1]);
    cr_expect_eq(yard.report.verify.orders, 0, "it was not to be verified");
    tree_remove(yard.dir);
    depot_free(depot);
}

Test(backup, nobody_else_may_read_a_copy)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    struct stat file_stat;
    char path[160];
    umask(0);
    cr_assert_eq(back_up(&yard), TG_ERR_OK, "%s", yard.fault.text);
    cr_assert_eq(stat(yard.target, &file_stat), 0);
    cr_expect_eq(file_stat.st_mode & 0777, 0700);
    snprintf(path, sizeof(path), "%s/data.mdb", yard.target);
    cr_assert_eq(stat(path, &file_stat), 0);
    cr_expect_eq(file_stat.st_mode & 0777, 0600);
    tree_remove(yard.dir);
    book_free(book);
}

/* --- where it refuses to --- */

Test(backup, an_empty_directory_is_taken)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    cr_assert_eq(mkdir(yard.target, 0700), 0);
    cr_expect_eq(back_up(&yard), TG_ERR_OK, "%s", yard.fault.text);
    cr_expect(there_is(&yard, "data.mdb"));
    tree_remove(yard.dir);
    book_free(book);
}

Test(backup, a_directory_that_holds_anything_is_left_as_it_is)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    cr_assert_eq(mkdir(yard.target, 0700), 0);
    put_file(&yard, "precious");
    cr_expect_eq(back_up(&yard), TG_ERR_INVALID);
    cr_expect_not_null(strstr(yard.fault.text, "not empty"), "%s", yard.fault.text);
    cr_expect_eq(entries_of(yard.target), 1, "not even a lock is left");
    cr_expect(there_is(&yard, "precious"));
    tree_remove(yard.dir);
    book_free(book);
}

Test(backup, a_database_is_never_written_over)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    cr_assert_eq(back_up(&yard), TG_ERR_OK, "%s", yard.fault.text);
    cr_expect_eq(back_up(&yard), TG_ERR_INVALID);
    cr_expect(there_is(&yard, "data.mdb"));
    snprintf(yard.target, sizeof(yard.target), "%s", book->dir);
    cr_expect_eq(back_up(&yard), TG_ERR_INVALID, "its own directory");
    tree_remove(yard.dir);
    book_free(book);
}

/* As a daemon that has just been started there, and has no database yet. */
Test(backup, a_directory_that_a_daemon_has_locked_is_refused)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    char path[160];
    cr_assert_eq(mkdir(yard.target, 0700), 0);
    snprintf(path, sizeof(path), "%s/lock", yard.target);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    cr_expect_eq(back_up(&yard), TG_ERR_LOCKED);
    cr_expect_eq(entries_of(yard.target), 1);
    cr_expect(there_is(&yard, "lock"), "it is not ours to remove");
    close(fd);
    tree_remove(yard.dir);
    book_free(book);
}

Test(backup, without_a_database_nothing_is_made)
{
    struct yard yard = yard_make("/tmp/tidegate-test-no-such-directory");
    cr_expect_eq(back_up(&yard), TG_ERR_NOTFOUND);
    cr_expect_eq(entries_of(yard.dir), 0);
    tree_remove(yard.dir);
}

/* --- what is not sound is no backup --- */

static void count_finding(void *context, const char *line)
{
    (void)line;
    ++*(uint32_t *)context;
}

Test(backup, a_copy_that_is_not_sound_is_removed_and_its_findings_told)
{
    struct book *book = book_make();
    book_stock(book, 1, book_taken(1, 0));
    book_close(book);
    struct yard yard = yard_make(book->dir);
    uint32_t findings = 0;
    yard.options.context = &findings;
    yard.options.finding = count_finding;
    cr_expect_eq(back_up(&yard), TG_ERR_BROKEN);
    cr_expect_gt(findings, 0);
    cr_expect_eq(entries_of(yard.dir), 0, "nothing is left");
    yard.options.without_verify = true;
    cr_expect_eq(back_up(&yard), TG_ERR_OK, "unless it is asked for: %s", yard.fault.text);
    tree_remove(yard.dir);
    book_free(book);
}

/* --- what ends it in the middle --- */

static bool stop_now(void *context, uint64_t bytes, uint64_t bytes_total)
{
    (void)context;
    cr_expect_lt(bytes, bytes_total, "there is more to copy");
    return false;
}

Test(backup, an_interrupted_copy_leaves_nothing)
{
    struct depot *depot = depot_of_many();
    struct yard yard = yard_make(depot->dir);
    yard.options.copied = stop_now;
    cr_expect_eq(back_up(&yard), TG_ERR_SYSTEM);
    cr_expect_str_eq(yard.fault.text, "interrupted");
    cr_expect_eq(entries_of(yard.dir), 0);
    cr_assert_eq(mkdir(yard.target, 0700), 0);
    cr_expect_eq(back_up(&yard), TG_ERR_SYSTEM);
    cr_expect_eq(entries_of(yard.target), 0, "a directory that was there stays, empty");
    yard.options.copied = NULL;
    cr_expect_eq(back_up(&yard), TG_ERR_OK, "and can be used: %s", yard.fault.text);
    tree_remove(yard.dir);
    depot_free(depot);
}

struct late {
    bool all_copied;
    uint32_t calls;
};

/* Goes on until it is asked the second time about all of it. */
static bool stop_late(void *context, uint64_t bytes, uint64_t bytes_total)
{
    struct late *late = context;
    bool asked = late->all_copied;
    late->all_copied = bytes == bytes_total;
    late->calls++;
    return !asked;
}

Test(backup, it_can_be_interrupted_while_it_verifies)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    struct late late = {.calls = 0};
    yard.options.context = &late;
    yard.options.copied = stop_late;
    cr_expect_eq(back_up(&yard), TG_ERR_SYSTEM, "after %u calls", late.calls);
    cr_expect_eq(entries_of(yard.dir), 0);
    tree_remove(yard.dir);
    book_free(book);
}

Test(backup, a_target_that_takes_no_more_ends_it)
{
    struct depot *depot = depot_of_many();
    struct yard yard = yard_make(depot->dir);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = 1 << 20;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    enum tg_error error = back_up(&yard);
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_expect_eq(error, TG_ERR_IO);
    cr_expect_not_null(strstr(yard.fault.text, "cannot write the copy"), "%s", yard.fault.text);
    cr_expect_eq(entries_of(yard.dir), 0);
    tree_remove(yard.dir);
    depot_free(depot);
}

/* The source's file grows as it does under commits, behind what is copied. */
static bool grow_source(void *context, uint64_t bytes, uint64_t bytes_total)
{
    struct stat file;
    (void)bytes;
    (void)bytes_total;
    return stat(context, &file) == 0 && truncate(context, file.st_size + (1 << 20)) == 0;
}

Test(backup, a_source_that_grows_too_much_meanwhile_is_given_up)
{
    struct depot *depot = depot_of_many();
    struct yard yard = yard_make(depot->dir);
    char path[160];
    snprintf(path, sizeof(path), "%s/data.mdb", depot->dir);
    yard.options.context = path;
    yard.options.copied = grow_source;
    yard.options.growth_bytes_max = 1 << 20;
    cr_expect_eq(back_up(&yard), TG_ERR_FULL);
    cr_expect_not_null(strstr(yard.fault.text, "grew by more than 1 MiB"), "%s", yard.fault.text);
    cr_expect_eq(entries_of(yard.dir), 0);
    yard.options.growth_bytes_max = 0;
    cr_expect_eq(back_up(&yard), TG_ERR_OK, "%s", yard.fault.text);
    cr_expect_gt(yard.report.growth_bytes, 1 << 20);
    tree_remove(yard.dir);
    depot_free(depot);
}

/* --- kills --- */

static bool die_copying(void *context, uint64_t bytes, uint64_t bytes_total)
{
    (void)context;
    (void)bytes;
    (void)bytes_total;
    raise(SIGKILL);
    return true;
}

static void die_verifying(void *context, const char *line)
{
    (void)context;
    (void)line;
    raise(SIGKILL);
}

/* In a process of its own, which must be killed in it. */
static void back_up_and_die(struct yard *yard)
{
    int status;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        back_up(yard);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void expect_no_backup(struct yard *yard, const char *left)
{
    struct sto_verify_report report;
    cr_expect(there_is(yard, left), "the kill came when %s was there", left);
    cr_expect_not(there_is(yard, "data.mdb"));
    cr_expect_eq(sto_verify(yard->target, NULL, NULL, NULL, &report, &yard->fault),
                 TG_ERR_NOTFOUND);
    yard->options.copied = NULL;
    yard->options.finding = NULL;
    struct yard on = yard_make(yard->target);
    cr_expect_eq(back_up(&on), TG_ERR_NOTFOUND, "it cannot be restored");
    tree_remove(on.dir);
    cr_expect_eq(back_up(yard), TG_ERR_INVALID, "nor written over");
    cr_expect_not_null(strstr(yard->fault.text, "broken off"), "%s", yard->fault.text);
}

Test(backup, a_kill_while_it_copies_leaves_no_backup)
{
    struct book *book = closed_book();
    struct yard yard = yard_make(book->dir);
    yard.options.copied = die_copying;
    back_up_and_die(&yard);
    expect_no_backup(&yard, "unfinished/copy");
    tree_remove(yard.dir);
    book_free(book);
}

Test(backup, a_kill_while_it_verifies_leaves_no_backup)
{
    struct book *book = book_make();
    book_stock(book, 1, book_taken(1, 0));
    book_close(book);
    struct yard yard = yard_make(book->dir);
    yard.options.finding = die_verifying;
    back_up_and_die(&yard);
    expect_no_backup(&yard, "unfinished/data.mdb");
    tree_remove(yard.dir);
    book_free(book);
}
