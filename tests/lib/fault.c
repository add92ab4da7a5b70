/* A disk that fails on command: an LD_PRELOAD library for tests.
 *
 * While the file named by TG_FAULT_FILE exists, the calls that its text names fail:
 *
 *   "<call> <error>"   call: sync (fdatasync, fsync)
 *                            write (pwrite, pwritev, writev: LMDB's runs of pages)
 *                            look (fstatat)
 *                            meta (pwrite of less than a page: LMDB's meta page)
 *                      error: EIO or ENOSPC, or WAIT: it does not fail, but takes until the rule
 *                             is another
 *
 * The file is looked at on every such call, so a fault begins and ends without a restart. While a
 * call waits, its name stands in a file beside it, with ".held" behind its name.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define WAIT       (-1)

/* What the rule says of `call`: its error, WAIT or 0. Keeps errno. */
static int rule_of(const char *call)
{
    char rule[64] = "";
    const char *path = getenv("TG_FAULT_FILE");
    int before = errno;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd >= 0 ? read(fd, rule, sizeof(rule) - 1) : 0;
    if (fd >= 0)
        close(fd);
    errno = before;
    if (got <= 0)
        return 0;
    size_t name = strlen(call);
    if (strncmp(rule, call, name) != 0 || rule[name] != ' ')
        return 0;
    const char *error = rule + name + 1;
    return strcmp(error, "WAIT") == 0 ? WAIT : strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
}

/* Says that `call` is held, or (NULL) that it goes on. Keeps errno. */
static void tell_held(const char *call)
{
    char path[256];
    int before = errno;
    snprintf(path, sizeof(path), "%s.held", getenv("TG_FAULT_FILE"));
    unlink(path);
    int fd = call ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 && write(fd, call, strlen(call)) < 0)
        abort();
    if (fd >= 0)
        close(fd);
    errno = before;
}

/* The error that `call` must fail with now, or 0. */
static int fault_of(const char *call)
{
    int rule = rule_of(call);
    if (rule != WAIT)
        return rule;
    tell_held(call);
    while ((rule = rule_of(call)) == WAIT)
        usleep(1000);
    tell_held(NULL);
    return rule;
}

static bool fails(const char *call)
{
    int code = fault_of(call);
    if (code != 0)
        errno = code;
    return code != 0;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int fdatasync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = next("fdatasync");
    return fails("sync") ? -1 : real(fd);
}

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = next("fsync");
    return fails("sync") ? -1 : real(fd);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        *(void **)&real = next("pwrite");
    return fails("write") || (bytes < PAGE_BYTES && fails("meta")) ? -1 : real(fd, data, bytes, at);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real)
        *(void **)&real = next("pwritev");
    return fails("write") ? -1 : real(fd, pieces, count, at);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real)
        *(void **)&real = next("writev");
    return fails("write") ? -1 : real(fd, pieces, count);
}

int fstatat(int directory, const char *path, struct stat *found, int flags)
{
    static int (*real)(int, const char *, struct stat *, int);
    if (!real)
        *(void **)&real = next("fstatat");
    return fails("look") ? -1 : real(directory, path, found, flags);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at)
{
    return pwrite(fd, data, bytes, at);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off_t at)
{
    return pwritev(fd, pieces, count, at);
}
