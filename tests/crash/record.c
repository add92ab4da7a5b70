/* An LD_PRELOAD library that writes down what a daemon does to its data file: see log.h.
 *
 *   TG_RECORD_DIR      the data directory; its data.mdb is what is recorded, and the data.mdb.new
 *                      that it may be before
 *   TG_RECORD_LOG      the log, which must be there
 *   TG_RECORD_SYNC_US  how long each sync takes at least, so that an answer that does not wait for
 *                      one is seen to come before it
 *
 * It also plays a disk that is full, when the log says so.
 *
 * A write is written down before it is made, a sync before and behind. What is none of these, and
 * what fails, only counts as unseen: the log is then not the whole story, and its reader says so.
 */
#include "tests/crash/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct crash_log *crash_log;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* one entry at a time */
static char data_dir[4096], data_file[4200], new_file[4200];
static useconds_t sync_us;

static void fail(const char *why)
{
    fprintf(stderr, "record: %s: %s\n", why, strerror(errno));
    _exit(126);
}

static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function)
        fail(name);
    return function;
}

/* Returns the end position of the entry. */
static uint64_t note(struct crash_entry entry, const struct iovec *pieces, int count)
{
    pthread_mutex_lock(&turn);
    uint64_t at = atomic_load_explicit(&crash_log->used, memory_order_relaxed);
    uint64_t end = at + sizeof(entry) + crash_log_padded(entry.bytes);
    if (CRASH_LOG_HEAD + end > CRASH_LOG_BYTES)
        fail("the log is full");
    uint8_t *to = (uint8_t *)crash_log + CRASH_LOG_HEAD + at;
    memcpy(to, &entry, sizeof(entry));
    to += sizeof(entry);
    for (int i = 0; i < count; i++) {
        memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
        to += pieces[i].iov_len;
    }
    atomic_store_explicit(&crash_log->used, end, memory_order_release); /* pairs: crash_log_at */
    pthread_mutex_unlock(&turn);
    return end;
}

static void note_unseen(const char *call)
{
    if (atomic_fetch_add(&crash_log->unseen, 1) == 0)
        strncpy(crash_log->unseen_call, call, sizeof(crash_log->unseen_call) - 1);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TG_RECORD_LOG");
    const char *dir = getenv("TG_RECORD_DIR");
    const char *pause = getenv("TG_RECORD_SYNC_US");
    int fd = path && dir ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        fail("no log");
    crash_log = mmap(NULL, CRASH_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (crash_log == MAP_FAILED || crash_log->magic != CRASH_LOG_MAGIC)
        fail("this is no log");
    snprintf(data_dir, sizeof(data_dir), "%s", dir);
    snprintf(data_file, sizeof(data_file), "%s/data.mdb", dir);
    snprintf(new_file, sizeof(new_file), "%s/data.mdb.new", dir);
    sync_us = pause ? (useconds_t)atoi(pause) : 0;
    note((struct crash_entry){.kind = CRASH_START}, NULL, 0);
}

static bool is_file(int fd, const char *path)
{
    struct stat of_fd, of_path;
    int before = errno;
    bool is = fstat(fd, &of_fd) == 0 && stat(path, &of_path) == 0 &&
              of_fd.st_dev == of_path.st_dev && of_fd.st_ino == of_path.st_ino;
    errno = before;
    return is;
}

static bool is_data(int fd)
{
    return is_file(fd, data_file) || is_file(fd, new_file);
}

static uint64_t bytes_of(const struct iovec *pieces, int count)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += pieces[i].iov_len;
    return bytes;
}

/* --- a full disk --- */

/* A write that fails is none: nothing is written down. The first of three goes through, so that a
 * commit may fail when half of its pages are in the file. Meta pages are never refused: they lie
 * where something was before. */
static bool refuses(int fd)
{
    static _Atomic uint32_t writes;
    if (atomic_load_explicit(&crash_log->full, memory_order_relaxed) != CRASH_FULL_BEHIND ||
        (fcntl(fd, F_GETFL) & O_DSYNC) || atomic_fetch_add(&writes, 1) % 3 == 0)
        return false;
    atomic_fetch_add_explicit(&crash_log->refused, 1, memory_order_relaxed);
    errno = ENOSPC;
    return true;
}

int fstatvfs(int fd, struct statvfs *filesystem)
{
    static int (*real)(int, struct statvfs *);
    if (!real)
        *(void **)&real = next("fstatvfs");
    int rc = real(fd, filesystem);
    if (rc == 0 &&
        atomic_load_explicit(&crash_log->full, memory_order_relaxed) == CRASH_FULL_AHEAD) {
        atomic_fetch_add_explicit(&crash_log->refused, 1, memory_order_relaxed);
        filesystem->f_bavail = 0;
    }
    return rc;
}

int fstatvfs64(int fd, struct statvfs64 *filesystem)
{
    return fstatvfs(fd, (struct statvfs *)filesystem);
}

/* --- the calls --- */

struct writing {
    struct crash_entry entry;
    uint64_t position;
};

static struct writing write_begin(int fd, const struct iovec *pieces, int count, off_t at)
{
    struct writing writing = {.entry = {.kind = CRASH_WRITE,
                                        .durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0,
                                        .hidden = is_file(fd, new_file),
                                        .offset = (uint64_t)at,
                                        .bytes = bytes_of(pieces, count)}};
    writing.position = note(writing.entry, pieces, count);
    if (writing.entry.durable)
        usleep(sync_us);
    return writing;
}

static ssize_t write_end(const struct writing *writing, const char *call, ssize_t wrote)
{
    if (wrote < 0 || (uint64_t)wrote != writing->entry.bytes)
        note_unseen(call);
    else if (writing->entry.durable)
        note((struct crash_entry){.kind = CRASH_WRITTEN, .of = writing->position}, NULL, 0);
    return wrote;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real)
        *(void **)&real = next("pwritev");
    if (!is_data(fd))
        return real(fd, pieces, count, at);
    if (refuses(fd))
        return -1;
    struct writing writing = write_begin(fd, pieces, count, at);
    return write_end(&writing, "pwritev", real(fd, pieces, count, at));
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        *(void **)&real = next("pwrite");
    if (!is_data(fd))
        return real(fd, data, bytes, at);
    if (refuses(fd))
        return -1;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    struct writing writing = write_begin(fd, &piece, 1, at);
    return write_end(&writing, "pwrite", real(fd, data, bytes, at));
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real)
        *(void **)&real = next("writev");
    if (!is_data(fd))
        return real(fd, pieces, count);
    if (refuses(fd))
        return -1;
    struct writing writing = write_begin(fd, pieces, count, lseek(fd, 0, SEEK_CUR));
    return write_end(&writing, "writev", real(fd, pieces, count));
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = next("write");
    if (!is_data(fd))
        return real(fd, data, bytes);
    if (refuses(fd))
        return -1;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    struct writing writing = write_begin(fd, &piece, 1, lseek(fd, 0, SEEK_CUR));
    return write_end(&writing, "write", real(fd, data, bytes));
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at)
{
    return pwrite(fd, data, bytes, at);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off_t at)
{
    return pwritev(fd, pieces, count, at);
}

static int sync_file(int fd, const char *call, int (*real)(int))
{
    if (is_file(fd, data_dir)) {
        int rc = real(fd);
        if (rc == 0)
            note((struct crash_entry){.kind = CRASH_NAMED}, NULL, 0);
        return rc;
    }
    if (!is_data(fd))
        return real(fd);
    uint64_t position = note((struct crash_entry){.kind = CRASH_SYNC}, NULL, 0);
    usleep(sync_us);
    int rc = real(fd);
    if (rc == 0)
        note((struct crash_entry){.kind = CRASH_SYNCED, .of = position}, NULL, 0);
    else
        note_unseen(call);
    return rc;
}

int fdatasync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = next("fdatasync");
    return sync_file(fd, "fdatasync", real);
}

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = next("fsync");
    return sync_file(fd, "fsync", real);
}

int renameat(int old_dir, const char *old_path, int new_dir, const char *new_path)
{
    static int (*real)(int, const char *, int, const char *);
    if (!real)
        *(void **)&real = next("renameat");
    int fd = openat(old_dir, old_path, O_PATH | O_CLOEXEC);
    bool gets_its_name = fd >= 0 && is_file(fd, new_file);
    int rc = real(old_dir, old_path, new_dir, new_path);
    if (rc == 0 && gets_its_name)
        note((struct crash_entry){.kind = CRASH_RENAMED}, NULL, 0);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* --- ways to change the file that nobody goes, as LMDB is configured here --- */

/* Of the file's own name: what it was made under may go. */
static void watch_name(int dir, const char *path, const char *call)
{
    int before = errno;
    int fd = openat(dir, path, O_PATH | O_CLOEXEC);
    if (fd >= 0 && is_file(fd, data_file))
        note_unseen(call);
    if (fd >= 0)
        close(fd);
    errno = before;
}

int rename(const char *old_path, const char *new_path)
{
    watch_name(AT_FDCWD, old_path, "rename");
    watch_name(AT_FDCWD, new_path, "rename");
    return renameat(AT_FDCWD, old_path, AT_FDCWD, new_path);
}

int unlinkat(int dir, const char *path, int flags)
{
    static int (*real)(int, const char *, int);
    if (!real)
        *(void **)&real = next("unlinkat");
    watch_name(dir, path, "unlinkat");
    return real(dir, path, flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int truncate(const char *path, off_t bytes)
{
    static int (*real)(const char *, off_t);
    if (!real)
        *(void **)&real = next("truncate");
    watch_name(AT_FDCWD, path, "truncate");
    return real(path, bytes);
}

int posix_fallocate(int fd, off_t at, off_t bytes)
{
    static int (*real)(int, off_t, off_t);
    if (!real)
        *(void **)&real = next("posix_fallocate");
    if (is_data(fd))
        note_unseen("posix_fallocate");
    return real(fd, at, bytes);
}

ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t at, int flags)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t, int);
    if (!real)
        *(void **)&real = next("pwritev2");
    if (is_data(fd))
        note_unseen("pwritev2");
    return real(fd, pieces, count, at, flags);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes,
                        unsigned flags)
{
    static ssize_t (*real)(int, off64_t *, int, off64_t *, size_t, unsigned);
    if (!real)
        *(void **)&real = next("copy_file_range");
    if (is_data(to))
        note_unseen("copy_file_range");
    return real(from, from_at, to, to_at, bytes, flags);
}

int ftruncate(int fd, off_t bytes)
{
    static int (*real)(int, off_t);
    if (!real)
        *(void **)&real = next("ftruncate");
    if (is_data(fd))
        note_unseen("ftruncate");
    return real(fd, bytes);
}

int ftruncate64(int fd, off_t bytes)
{
    return ftruncate(fd, bytes);
}

int fallocate(int fd, int mode, off_t at, off_t bytes)
{
    static int (*real)(int, int, off_t, off_t);
    if (!real)
        *(void **)&real = next("fallocate");
    if (is_data(fd))
        note_unseen("fallocate");
    return real(fd, mode, at, bytes);
}

int fallocate64(int fd, int mode, off_t at, off_t bytes)
{
    return fallocate(fd, mode, at, bytes);
}

/* By its number: the allocator maps memory before a symbol can be looked up. */
void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t at)
{
    if (fd >= 0 && crash_log && (protection & PROT_WRITE) && (flags & MAP_SHARED) && is_data(fd))
        note_unseen("mmap");
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, at);
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t at)
{
    return mmap(address, bytes, protection, flags, fd, at);
}
