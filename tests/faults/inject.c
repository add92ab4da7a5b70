/* The injector, preloaded into a daemon (LD_PRELOAD): the calls of libc and of the allocator. See
 * plan.h for what it does. It is built on its own and links nothing of the product.
 *
 * It stands in front of whatever the daemon is linked to: jemalloc in a release build, the
 * sanitizer's allocator in others. Calls that libc makes inside itself (the stack of a new thread,
 * the buffer of a stdio stream) do not pass here unless libc makes them through its public names,
 * as it does with malloc.
 */
#include "tests/faults/inject.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVENT_FDS_MAX 1024

static struct plan *_Atomic plan; /* NULL before main, and without one */
static _Atomic bool is_event[EVENT_FDS_MAX];

/* --- the plan --- */

/* Maps the plan, by system calls of its own, which nobody counts. */
static void attach(void)
{
    const char *path = getenv(PLAN_ENV);
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        long at = syscall(SYS_mmap, NULL, PLAN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        struct plan *found = at < 0 && at > -4096 ? NULL : (struct plan *)at;
        if (found && found->magic == PLAN_MAGIC)
            atomic_store_explicit(&plan, found, memory_order_release);
        syscall(SYS_close, fd);
    }
}

static struct plan *plan_of(void)
{
    return atomic_load_explicit(&plan, memory_order_acquire);
}

bool inject_wanted(enum plan_class class)
{
    const struct plan *now = plan_of();
    return now && now->class == (uint32_t) class;
}

static void tell_call(struct plan *now, const char *name, const void *from)
{
    Dl_info info = {0};
    const char *module = "?";
    unsigned long offset = 0;
    if (dladdr(from, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        module = slash ? slash + 1 : info.dli_fname;
        offset = (unsigned long)from - (unsigned long)info.dli_fbase;
    }
    snprintf(now->call, sizeof(now->call), "%s called from %s+0x%lx", name, module, offset);
}

/* Who is interrupted tries again, and has a right to get somewhere: of interruptions that go on,
 * one half of the calls is spared, in no rhythm that calls could have by themselves. */
static bool is_spared(const struct plan *now, uint64_t number)
{
    return now->error == EINTR && number != now->number &&
           (number * 0x9e3779b97f4a7c15ull >> 63) != 0;
}

int inject(enum plan_class class, const char *name, const void *from)
{
    struct plan *now = plan_of();
    if (!now)
        return 0;
    uint64_t number = atomic_fetch_add_explicit(&now->calls[class], 1, memory_order_relaxed) + 1;
    if (now->class != (uint32_t) class || number < now->number ||
        (number > now->number && !now->onward) || is_spared(now, number) ||
        atomic_load_explicit(&now->lifted, memory_order_acquire))
        return 0;
    if (number == now->number)
        tell_call(now, name, from);
    atomic_fetch_add_explicit(&now->hits, 1, memory_order_release);
    return now->error;
}

void *inject_next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

size_t inject_part(size_t whole)
{
    static _Atomic size_t turn;
    size_t part = 1 + atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % 7;
    return part < whole ? part : whole - (whole > 1);
}

/* The usual end of a call that fails: sets errno, returns -1. */
static int failed(int error)
{
    errno = error;
    return -1;
}

#define FAIL_OR_GO_ON(class)                                                                       \
    int error = INJECT(class);                                                                     \
    if (error)                                                                                     \
    return failed(error)

/* Runs right before main: what the loader and the constructors of libraries do is not counted. */
int __libc_start_main(int (*main)(int, char **, char **), int count, char **words,
                      void (*begin)(void), void (*end)(void), void (*unload)(void), void *stack);
int __libc_start_main(int (*main)(int, char **, char **), int count, char **words,
                      void (*begin)(void), void (*end)(void), void (*unload)(void), void *stack)
{
    INJECT_REAL(int, int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                void (*)(void), void *);
    attach();
    return real(main, count, words, begin, end, unload, stack);
}

/* --- memory --- */

/* The address sanitizer must be the first that a daemon's allocations meet: it is left alone. */
#ifndef INJECT_WITHOUT_ALLOC

/* dlsym may allocate before the allocator is known: such a call gets memory from here, which is
 * never given back. */
static char early[4096];
static _Atomic size_t early_used;
static _Thread_local bool resolving;

static void *early_alloc(size_t bytes)
{
    size_t at = atomic_fetch_add(&early_used, (bytes + 15) / 16 * 16);
    return at + bytes <= sizeof(early) ? early + at : NULL;
}

static bool is_early(const void *memory)
{
    return (const char *)memory >= early && (const char *)memory < early + sizeof(early);
}

static void *alloc_next(_Atomic(void *) *at, const char *name)
{
    void *found = atomic_load_explicit(at, memory_order_relaxed);
    if (found)
        return found;
    resolving = true;
    found = inject_next(name);
    resolving = false;
    atomic_store_explicit(at, found, memory_order_relaxed);
    return found;
}

#define ALLOC_REAL(result, ...)                                                                    \
    static _Atomic(void *) real_at;                                                                \
    result (*real)(__VA_ARGS__);                                                                   \
    *(void **)&real = alloc_next(&real_at, __func__)

void *malloc(size_t bytes)
{
    if (resolving)
        return early_alloc(bytes);
    ALLOC_REAL(void *, size_t);
    if (INJECT(PLAN_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    if (resolving)
        return early_alloc(count * bytes);
    ALLOC_REAL(void *, size_t, size_t);
    if (INJECT(PLAN_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    ALLOC_REAL(void *, void *, size_t);
    if (INJECT(PLAN_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(memory, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    ALLOC_REAL(int, void **, size_t, size_t);
    return INJECT(PLAN_ALLOC) ? ENOMEM : real(memory, alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    ALLOC_REAL(void *, size_t, size_t);
    if (INJECT(PLAN_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(alignment, bytes);
}

void free(void *memory)
{
    if (is_early(memory))
        return;
    ALLOC_REAL(void, void *);
    real(memory);
}

#endif

/* jemalloc crashes when it cannot map what it needs for the first allocation of a thread. That is
 * not ours to mend; what it is refused later shows as an allocation that fails. */
static bool is_allocator(const void *from)
{
    Dl_info info = {0};
    return dladdr(from, &info) && info.dli_fname && strstr(info.dli_fname, "libjemalloc");
}

void *mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
    INJECT_REAL(void *, void *, size_t, int, int, int, off_t);
    int error = is_allocator(__builtin_return_address(0)) ? 0 : INJECT(PLAN_MAP);
    if (error) {
        errno = error;
        return MAP_FAILED;
    }
    return real(at, bytes, access, flags, fd, offset);
}

void *mremap(void *at, size_t bytes, size_t more, int flags, ...)
{
    INJECT_REAL(void *, void *, size_t, size_t, int, void *);
    va_list list;
    va_start(list, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(list, void *) : NULL;
    va_end(list);
    int error = INJECT(PLAN_MAP);
    if (error) {
        errno = error;
        return MAP_FAILED;
    }
    return real(at, bytes, more, flags, to);
}

/* --- files: their size, opening, names, looking, locks --- */

int ftruncate(int fd, off_t bytes)
{
    INJECT_REAL(int, int, off_t);
    FAIL_OR_GO_ON(PLAN_SIZE);
    return real(fd, bytes);
}

int fallocate(int fd, int mode, off_t at, off_t bytes)
{
    INJECT_REAL(int, int, int, off_t, off_t);
    FAIL_OR_GO_ON(PLAN_SIZE);
    return real(fd, mode, at, bytes);
}

int posix_fallocate(int fd, off_t at, off_t bytes)
{
    INJECT_REAL(int, int, off_t, off_t);
    int error = INJECT(PLAN_SIZE);
    return error ? error : real(fd, at, bytes);
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    INJECT_REAL(int, const char *, int, mode_t);
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    FAIL_OR_GO_ON(PLAN_OPEN);
    return real(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
    INJECT_REAL(int, int, const char *, int, mode_t);
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    FAIL_OR_GO_ON(PLAN_OPEN);
    return real(directory, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    INJECT_REAL(FILE *, const char *, const char *);
    int error = INJECT(PLAN_OPEN);
    if (error) {
        errno = error;
        return NULL;
    }
    return real(path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    INJECT_REAL(int, const char *, mode_t);
    FAIL_OR_GO_ON(PLAN_NAME);
    return real(path, mode);
}

int rename(const char *from, const char *to)
{
    INJECT_REAL(int, const char *, const char *);
    FAIL_OR_GO_ON(PLAN_NAME);
    return real(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    INJECT_REAL(int, int, const char *, int, const char *);
    FAIL_OR_GO_ON(PLAN_NAME);
    return real(from_fd, from, to_fd, to);
}

int unlink(const char *path)
{
    INJECT_REAL(int, const char *);
    FAIL_OR_GO_ON(PLAN_NAME);
    return real(path);
}

int unlinkat(int directory, const char *path, int flags)
{
    INJECT_REAL(int, int, const char *, int);
    FAIL_OR_GO_ON(PLAN_NAME);
    return real(directory, path, flags);
}

int fstat(int fd, struct stat *found)
{
    INJECT_REAL(int, int, struct stat *);
    FAIL_OR_GO_ON(PLAN_LOOK);
    return real(fd, found);
}

int stat(const char *path, struct stat *found)
{
    INJECT_REAL(int, const char *, struct stat *);
    FAIL_OR_GO_ON(PLAN_LOOK);
    return real(path, found);
}

int fstatat(int directory, const char *path, struct stat *found, int flags)
{
    INJECT_REAL(int, int, const char *, struct stat *, int);
    FAIL_OR_GO_ON(PLAN_LOOK);
    return real(directory, path, found, flags);
}

/* What LMDB was built to call. */
int __fxstat(int version, int fd, struct stat *found);
int __fxstat(int version, int fd, struct stat *found)
{
    INJECT_REAL(int, int, int, struct stat *);
    FAIL_OR_GO_ON(PLAN_LOOK);
    return real(version, fd, found);
}

off_t lseek(int fd, off_t to, int whence)
{
    INJECT_REAL(off_t, int, off_t, int);
    FAIL_OR_GO_ON(PLAN_LOOK);
    return real(fd, to, whence);
}

int flock(int fd, int operation)
{
    INJECT_REAL(int, int, int);
    FAIL_OR_GO_ON(PLAN_LOCK);
    return real(fd, operation);
}

int fcntl(int fd, int command, ...)
{
    INJECT_REAL(int, int, int, void *);
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (command == F_SETLK || command == F_SETLKW) {
        FAIL_OR_GO_ON(PLAN_LOCK);
    }
    return real(fd, command, argument);
}

int fstatvfs(int fd, struct statvfs *found)
{
    INJECT_REAL(int, int, struct statvfs *);
    FAIL_OR_GO_ON(PLAN_STATVFS);
    return real(fd, found);
}

int statvfs(const char *path, struct statvfs *found)
{
    INJECT_REAL(int, const char *, struct statvfs *);
    FAIL_OR_GO_ON(PLAN_STATVFS);
    return real(path, found);
}

int fstatfs(int fd, struct statfs *found)
{
    INJECT_REAL(int, int, struct statfs *);
    FAIL_OR_GO_ON(PLAN_STATVFS);
    return real(fd, found);
}

/* --- files: reading, writing, syncing --- */

static bool is_event_fd(int fd)
{
    return fd >= 0 && fd < EVENT_FDS_MAX &&
           atomic_load_explicit(&is_event[fd], memory_order_relaxed);
}

ssize_t read(int fd, void *into, size_t bytes)
{
    INJECT_REAL(ssize_t, int, void *, size_t);
    FAIL_OR_GO_ON(is_event_fd(fd) ? PLAN_WAKE : PLAN_READ);
    return real(fd, into, bytes);
}

ssize_t pread(int fd, void *into, size_t bytes, off_t at)
{
    INJECT_REAL(ssize_t, int, void *, size_t, off_t);
    FAIL_OR_GO_ON(PLAN_READ);
    return real(fd, into, bytes, at);
}

/* stdout is left alone: the driver waits for the ready line. */
ssize_t write(int fd, const void *from, size_t bytes)
{
    INJECT_REAL(ssize_t, int, const void *, size_t);
    if (fd == STDOUT_FILENO)
        return real(fd, from, bytes);
    enum plan_class class = fd == STDERR_FILENO ? PLAN_LOG
                            : is_event_fd(fd)   ? PLAN_WAKE
                                                : PLAN_WRITE;
    int error = INJECT(class);
    if (error == PLAN_SHORT)
        return real(fd, from, inject_part(bytes));
    return error ? failed(error) : real(fd, from, bytes);
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t at)
{
    INJECT_REAL(ssize_t, int, const void *, size_t, off_t);
    int error = INJECT(PLAN_WRITE);
    if (error == PLAN_SHORT)
        return real(fd, from, inject_part(bytes), at);
    return error ? failed(error) : real(fd, from, bytes, at);
}

/* A part of several pieces ends within the first. */
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    INJECT_REAL(ssize_t, int, const struct iovec *, int);
    int error = INJECT(PLAN_WRITE);
    struct iovec part = {.iov_base = pieces[0].iov_base, .iov_len = inject_part(pieces[0].iov_len)};
    if (error == PLAN_SHORT)
        return real(fd, &part, 1);
    return error ? failed(error) : real(fd, pieces, count);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at)
{
    INJECT_REAL(ssize_t, int, const struct iovec *, int, off_t);
    int error = INJECT(PLAN_WRITE);
    struct iovec part = {.iov_base = pieces[0].iov_base, .iov_len = inject_part(pieces[0].iov_len)};
    if (error == PLAN_SHORT)
        return real(fd, &part, 1, at);
    return error ? failed(error) : real(fd, pieces, count, at);
}

int fdatasync(int fd)
{
    INJECT_REAL(int, int);
    FAIL_OR_GO_ON(PLAN_SYNC);
    return real(fd);
}

int fsync(int fd)
{
    INJECT_REAL(int, int);
    FAIL_OR_GO_ON(PLAN_SYNC);
    return real(fd);
}

int msync(void *at, size_t bytes, int flags)
{
    INJECT_REAL(int, void *, size_t, int);
    FAIL_OR_GO_ON(PLAN_SYNC);
    return real(at, bytes, flags);
}

/* --- threads, events, sockets --- */

static void mark_event_fd(int fd)
{
    if (fd >= 0 && fd < EVENT_FDS_MAX)
        atomic_store_explicit(&is_event[fd], true, memory_order_relaxed);
}

int eventfd(unsigned count, int flags)
{
    INJECT_REAL(int, unsigned, int);
    FAIL_OR_GO_ON(PLAN_EVENT);
    int made = real(count, flags);
    mark_event_fd(made);
    return made;
}

int signalfd(int fd, const sigset_t *signals, int flags)
{
    INJECT_REAL(int, int, const sigset_t *, int);
    FAIL_OR_GO_ON(PLAN_EVENT);
    int made = real(fd, signals, flags);
    mark_event_fd(made);
    return made;
}

int poll(struct pollfd *events, nfds_t count, int timeout_ms)
{
    INJECT_REAL(int, struct pollfd *, nfds_t, int);
    FAIL_OR_GO_ON(PLAN_WAKE);
    return real(events, count, timeout_ms);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    INJECT_REAL(int, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int error = INJECT(PLAN_THREAD);
    return error ? error : real(thread, attributes, run, argument);
}

int socket(int family, int type, int protocol)
{
    INJECT_REAL(int, int, int, int);
    FAIL_OR_GO_ON(PLAN_SOCKET);
    return real(family, type, protocol);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    INJECT_REAL(int, int, int, int, const void *, socklen_t);
    FAIL_OR_GO_ON(PLAN_SOCKET);
    return real(fd, level, name, value, size);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    INJECT_REAL(int, int, struct sockaddr *, socklen_t *);
    FAIL_OR_GO_ON(PLAN_SOCKET);
    return real(fd, address, size);
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
    INJECT_REAL(int, int, const struct sockaddr *, socklen_t);
    FAIL_OR_GO_ON(PLAN_BIND);
    return real(fd, address, size);
}

int listen(int fd, int backlog)
{
    INJECT_REAL(int, int, int);
    FAIL_OR_GO_ON(PLAN_BIND);
    return real(fd, backlog);
}
