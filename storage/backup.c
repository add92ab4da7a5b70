/* The hot backup: one snapshot of a database, copied into a new directory beside a running daemon.
 *
 *   target/              empty, or made here; `lock` keeps daemons and other copies out
 *     unfinished/copy      while it is written     <- pipe <- mdb_env_copyfd2, a thread of its own
 *     unfinished/data.mdb  whole and synced, while it is verified
 *     data.mdb             verified: the last rename is what makes it a backup
 *
 * So a kill at any moment leaves a directory without a data.mdb, which nobody takes for a database.
 *
 * Pages are copied as they stand, and not with MDB_CP_COMPACT: a compacting copy walks the trees,
 * and a turned bit would lead it astray or vanish from the copy, where here verify finds it; both
 * meta pages come along, by which the page check knows the newest commit; the size is known ahead;
 * and the file is read from front to back. The price is that free pages are copied too, and that
 * LMDB keeps the writer out while it hands over the two meta pages. These fit the pipe, so that the
 * daemon never waits for the disk of the target. */
#include "storage/storage.h"

#include "base/clock.h"
#include "base/thread.h"
#include "storage/env.h"
#include "storage/pages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define UNFINISHED  "unfinished"
#define COPY_FILE   UNFINISHED "/copy"
#define WHOLE_FILE  UNFINISHED "/data.mdb"
#define BACKUP_FILE "data.mdb"

#define CHUNK_BYTES (1u << 20)
/* One sync of a large file in the end would make the commits of a daemon on the same disk wait. */
#define SYNC_BYTES  (4ull << 20)

struct backup {
    const struct sto_backup_options *options;
    struct sto_backup_report *report;
    struct tg_fault *fault;
    MDB_env *lmdb; /* of the source; NULL before and after it is copied */
    uint64_t source_bytes;
    uint64_t total_bytes;
    int dir_fd;  /* of the target */
    int lock_fd; /* there, held */
    int file_fd; /* the copy */
    int pipe_fds[2];
    int copy_rc; /* of mdb_env_copyfd2; read when the thread has ended */
    bool made_dir;
    bool ours;  /* what lies in unfinished/, and the lock */
    bool named; /* it is called data.mdb */
};

static enum tg_error fail(struct backup *b, const char *what)
{
    enum tg_error error = errno == ENOSPC || errno == EDQUOT ? TG_ERR_FULL : TG_ERR_IO;
    return tg_fault_set_errno(b->fault, error, errno, "cannot %s in %s", what, b->options->to_dir);
}

/* --- the target --- */

/* Empty but for the lock. An unfinished copy is what a kill leaves, so it is told apart. */
static enum tg_error target_is_empty(struct backup *b)
{
    int fd = openat(b->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        enum tg_error error = fail(b, "look around");
        if (fd >= 0)
            close(fd);
        return error;
    }
    bool empty = true, unfinished = false;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, "lock") == 0)
            continue;
        empty = false;
        unfinished |= strcmp(entry->d_name, UNFINISHED) == 0;
    }
    closedir(dir);
    if (empty)
        return TG_ERR_OK;
    if (unfinished)
        return tg_fault_set(b->fault, TG_ERR_INVALID,
                            "%s holds a copy that is under way or was broken off (" UNFINISHED
                            "/); take another directory, or remove it when nobody copies there",
                            b->options->to_dir);
    return tg_fault_set(b->fault, TG_ERR_INVALID, "%s is not empty; take a new directory",
                        b->options->to_dir);
}

/* The lock of a data directory: no daemon starts here meanwhile, and no second copy. */
static enum tg_error target_lock(struct backup *b)
{
    b->lock_fd = openat(b->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (b->lock_fd < 0)
        return fail(b, "create the file lock");
    if (flock(b->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return TG_ERR_OK;
    int code = errno;
    close(b->lock_fd);
    b->lock_fd = -1;
    errno = code;
    return code != EWOULDBLOCK
               ? fail(b, "lock the file lock")
               : tg_fault_set(b->fault, TG_ERR_LOCKED,
                              "the directory %s is in use by another process", b->options->to_dir);
}

/* Looked at before the lock, so that nothing is left in a directory of somebody else's, and behind
 * it, because a daemon may have come in between. */
static enum tg_error target_make(struct backup *b)
{
    const char *dir = b->options->to_dir;
    b->made_dir = mkdir(dir, 0700) == 0;
    if (!b->made_dir && errno != EEXIST)
        return tg_fault_set_errno(b->fault, TG_ERR_SYSTEM, errno, "cannot create the directory %s",
                                  dir);
    b->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->dir_fd < 0 && errno == ENOTDIR)
        return tg_fault_set(b->fault, TG_ERR_INVALID, "%s is not a directory", dir);
    if (b->dir_fd < 0)
        return tg_fault_set_errno(b->fault, TG_ERR_SYSTEM, errno, "cannot open the directory %s",
                                  dir);
    enum tg_error error = target_is_empty(b);
    if (!error)
        error = target_lock(b);
    if (!error)
        error = target_is_empty(b);
    if (!error && mkdirat(b->dir_fd, UNFINISHED, 0700))
        error = fail(b, "create " UNFINISHED "/");
    b->ours = !error;
    return error;
}

/* Only what was made here. */
static void target_remove(struct backup *b)
{
    if (b->named)
        unlinkat(b->dir_fd, BACKUP_FILE, 0);
    if (b->ours) {
        unlinkat(b->dir_fd, COPY_FILE, 0);
        unlinkat(b->dir_fd, WHOLE_FILE, 0);
        unlinkat(b->dir_fd, UNFINISHED "/lock.mdb", 0);
        unlinkat(b->dir_fd, UNFINISHED, AT_REMOVEDIR);
        unlinkat(b->dir_fd, "lock", 0);
    }
    /* It stays when somebody else came in. */
    if (b->made_dir)
        rmdir(b->options->to_dir);
}

/* --- the source --- */

static enum tg_error source_exists(struct backup *b)
{
    char path[4096];
    struct stat file;
    const char *dir = b->options->from_dir;
    int bytes = snprintf(path, sizeof(path), "%s/" BACKUP_FILE, dir);
    if (bytes < 0 || (size_t)bytes >= sizeof(path) || strlen(b->options->to_dir) > 4000)
        return tg_fault_set(b->fault, TG_ERR_INVALID, "the path of a directory is too long");
    if (stat(path, &file) == 0)
        return TG_ERR_OK;
    if (errno != ENOENT && errno != ENOTDIR)
        return tg_fault_set_errno(b->fault, TG_ERR_SYSTEM, errno, "cannot look at %s", path);
    return tg_fault_set(b->fault, TG_ERR_NOTFOUND,
                        "there is no database in %s (it has no data.mdb)", dir);
}

static uint64_t source_size(const struct backup *b)
{
    mdb_filehandle_t fd;
    struct stat file;
    bool known = mdb_env_get_fd(b->lmdb, &fd) == 0 && fstat(fd, &file) == 0;
    return known ? (uint64_t)file.st_size : b->source_bytes;
}

static enum tg_error source_open(struct backup *b)
{
    char what[320];
    MDB_envinfo info;
    MDB_stat stat;
    snprintf(what, sizeof(what), "cannot open the database in %.256s", b->options->from_dir);
    enum tg_error error = sto_pages_can_open(b->options->from_dir, b->fault);
    if (error)
        return error;
    int rc = mdb_env_create(&b->lmdb);
    if (!rc)
        rc = mdb_env_open(b->lmdb, b->options->from_dir, MDB_RDONLY | MDB_NOTLS, 0600);
    if (!rc)
        rc = mdb_env_info(b->lmdb, &info);
    if (!rc)
        rc = mdb_env_stat(b->lmdb, &stat);
    if (rc)
        return sto_fault_lmdb(b->fault, rc, what);
    b->source_bytes = source_size(b);
    b->total_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    return TG_ERR_OK;
}

static void source_close(struct backup *b)
{
    if (b->lmdb)
        mdb_env_close(b->lmdb);
    b->lmdb = NULL;
}

/* --- the copy --- */

static enum tg_error room_check(struct backup *b)
{
    struct statvfs fs;
    if (fstatvfs(b->dir_fd, &fs))
        return fail(b, "look at the free space");
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes >= b->total_bytes)
        return TG_ERR_OK;
    return tg_fault_set(b->fault, TG_ERR_FULL,
                        "the filesystem of %s has %llu MiB free, and the copy takes %llu MiB",
                        b->options->to_dir, (unsigned long long)free_bytes >> 20,
                        (unsigned long long)b->total_bytes >> 20);
}

/* LMDB writes into the pipe; the snapshot is taken and given back in here. A pipe that nobody reads
 * any more ends it: the signal stays blocked, the error comes back. */
static void *copy_main(void *argument)
{
    struct backup *b = argument;
    b->copy_rc = mdb_env_copyfd2(b->lmdb, b->pipe_fds[1], 0);
    close(b->pipe_fds[1]);
    return NULL;
}

static enum tg_error copy_start(struct backup *b, pthread_t *thread)
{
    sigset_t all, before;
    if (pipe2(b->pipe_fds, O_CLOEXEC))
        return tg_fault_set_errno(b->fault, TG_ERR_SYSTEM, errno, "cannot make a pipe");
    fcntl(b->pipe_fds[0], F_SETPIPE_SZ, (int)CHUNK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    enum tg_error error = tg_thread_start(thread, copy_main, b, "copy", b->fault);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        close(b->pipe_fds[0]);
        close(b->pipe_fds[1]);
    }
    return error;
}

static enum tg_error chunk_write(struct backup *b, const char *chunk, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(b->file_fd, chunk, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(b, "write the copy");
        chunk += written;
        bytes -= (size_t)written;
    }
    return TG_ERR_OK;
}

/* Between two chunks: is it still wanted, and does it still harm nobody? */
static enum tg_error copy_may_go_on(struct backup *b)
{
    const struct sto_backup_options *o = b->options;
    uint64_t size = source_size(b);
    b->report->growth_bytes = size > b->source_bytes ? size - b->source_bytes : 0;
    if (o->growth_bytes_max && b->report->growth_bytes > o->growth_bytes_max)
        return tg_fault_set(b->fault, TG_ERR_FULL,
                            "given up: the database in %s grew by more than %llu MiB while it was "
                            "copied; copy to a faster disk or in a quieter hour, or allow more",
                            o->from_dir, (unsigned long long)o->growth_bytes_max >> 20);
    /* A commit in between may have made the snapshot larger than what was announced. */
    if (b->report->bytes > b->total_bytes)
        b->total_bytes = b->report->bytes;
    if (o->copied && !o->copied(o->context, b->report->bytes, b->total_bytes))
        return tg_fault_set(b->fault, TG_ERR_SYSTEM, "interrupted");
    return TG_ERR_OK;
}

static enum tg_error copy_drain(struct backup *b, char *chunk)
{
    uint64_t synced_bytes = 0;
    enum tg_error error = TG_ERR_OK;
    while (!error) {
        ssize_t got = read(b->pipe_fds[0], chunk, CHUNK_BYTES);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tg_fault_set_errno(b->fault, TG_ERR_SYSTEM, errno, "cannot read a pipe");
        error = chunk_write(b, chunk, (size_t)got);
        b->report->bytes += (size_t)got;
        if (!error && b->report->bytes - synced_bytes >= SYNC_BYTES) {
            synced_bytes = b->report->bytes;
            if (fdatasync(b->file_fd))
                error = fail(b, "sync the copy");
        }
        if (!error)
            error = copy_may_go_on(b);
    }
    return error;
}

static enum tg_error copy_through_pipe(struct backup *b)
{
    pthread_t thread;
    char *chunk = malloc(CHUNK_BYTES);
    if (!chunk)
        return tg_fault_set(b->fault, TG_ERR_NOMEM, "no memory to copy with");
    enum tg_error error = copy_start(b, &thread);
    if (!error) {
        error = copy_drain(b, chunk);
        close(b->pipe_fds[0]);
        pthread_join(thread, NULL);
        if (!error && b->copy_rc)
            error = sto_fault_lmdb(b->fault, b->copy_rc, "cannot copy the database");
    }
    free(chunk);
    return error;
}

/* Once it is synced the kernel may forget it, so that verify reads what the disk has. */
static enum tg_error copy_make(struct backup *b)
{
    b->file_fd = openat(b->dir_fd, COPY_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (b->file_fd < 0)
        return fail(b, "create the copy");
    enum tg_error error = copy_through_pipe(b);
    if (!error && fsync(b->file_fd))
        error = fail(b, "sync the copy");
    if (!error)
        posix_fadvise(b->file_fd, 0, 0, POSIX_FADV_DONTNEED);
    if (close(b->file_fd) && !error)
        error = fail(b, "close the copy");
    if (!error && renameat(b->dir_fd, COPY_FILE, b->dir_fd, WHOLE_FILE))
        error = fail(b, "rename the copy");
    return error;
}

/* --- the end --- */

static enum tg_error verify_copy(struct backup *b)
{
    char path[4096];
    const struct sto_backup_options *o = b->options;
    struct tg_fault fault = {0};
    snprintf(path, sizeof(path), "%s/" UNFINISHED, o->to_dir);
    enum tg_error error =
        sto_verify(path, o->finding, o->verified, o->context, &b->report->verify, &fault);
    if (!error && o->copied && !o->copied(o->context, b->report->bytes, b->total_bytes))
        return tg_fault_set(b->fault, TG_ERR_SYSTEM, "interrupted");
    if (!error)
        return TG_ERR_OK;
    bool looked = error == TG_ERR_BROKEN || error == TG_ERR_CORRUPT;
    return tg_fault_set(b->fault, error, "the copy of the database in %s %s, and was removed%s%s",
                        o->from_dir, looked ? "is not sound" : "could not be verified",
                        fault.text[0] ? ": " : "", fault.text);
}

static enum tg_error parent_sync(struct backup *b)
{
    int fd = openat(b->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    enum tg_error error = synced ? TG_ERR_OK : fail(b, "sync the directory above");
    if (fd >= 0)
        close(fd);
    return error;
}

/* The rename is the moment in which the copy becomes a backup. */
static enum tg_error name_copy(struct backup *b)
{
    if (unlinkat(b->dir_fd, UNFINISHED "/lock.mdb", 0) && errno != ENOENT)
        return fail(b, "remove " UNFINISHED "/lock.mdb");
    if (fsync(b->dir_fd))
        return fail(b, "sync the directory");
    int rc = renameat2(b->dir_fd, WHOLE_FILE, b->dir_fd, BACKUP_FILE, RENAME_NOREPLACE);
    /* Some network filesystems cannot; the lock keeps others out there. */
    if (rc && (errno == EINVAL || errno == ENOSYS))
        rc = renameat(b->dir_fd, WHOLE_FILE, b->dir_fd, BACKUP_FILE);
    if (rc)
        return fail(b, "give the copy its name");
    b->named = true;
    if (unlinkat(b->dir_fd, UNFINISHED, AT_REMOVEDIR))
        return fail(b, "remove " UNFINISHED "/");
    if (fsync(b->dir_fd))
        return fail(b, "sync the directory");
    return parent_sync(b);
}

static enum tg_error backup_run(struct backup *b)
{
    int64_t begun_ns = tg_clock_mono_ns();
    enum tg_error error = source_exists(b);
    if (!error)
        error = target_make(b);
    if (!error)
        error = source_open(b);
    if (!error)
        error = room_check(b);
    if (!error)
        error = copy_make(b);
    source_close(b);
    b->report->copy_ns = (uint64_t)(tg_clock_mono_ns() - begun_ns);
    if (!error && !b->options->without_verify)
        error = verify_copy(b);
    if (!error)
        error = name_copy(b);
    if (error)
        target_remove(b);
    return error;
}

enum tg_error sto_backup(const struct sto_backup_options *options, struct sto_backup_report *report,
                         struct tg_fault *fault)
{
    struct backup b = {
        .options = options, .report = report, .fault = fault, .dir_fd = -1, .lock_fd = -1};
    *report = (struct sto_backup_report){0};
    enum tg_error error = backup_run(&b);
    if (b.lock_fd >= 0)
        close(b.lock_fd);
    if (b.dir_fd >= 0)
        close(b.dir_fd);
    return error;
}
