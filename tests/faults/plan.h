/* What a run fails, and what it came to: one page that the driver maps, and the injector that is
 * preloaded into the daemon.
 *
 * The injector counts the calls of every class, and fails the N-th of one class with one error:
 * that one alone, or all from it on until the driver lifts the fault. A class is what a caller
 * handles in one way, not one function; SHORT stands for a call that does a part of what it was
 * asked for.
 *
 * Atomics are relaxed but for `lifted` and `hits`, by which driver and daemon tell each other
 * something; counts are read when the daemon is gone.
 */
#ifndef TG_TESTS_FAULTS_PLAN_H
#define TG_TESTS_FAULTS_PLAN_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#define PLAN_MAGIC      0x73746c7561662d74ull
#define PLAN_ENV        "TG_FAULTS_PLAN"
#define PLAN_BYTES      4096
#define PLAN_SHORT      (-1) /* in place of an errno */
#define PLAN_ERRORS_MAX 8

/* IORING_NOP_INJECT_RESULT: a no-op completes with what stands in its length. */
#define PLAN_NOP_INJECT_RESULT 1

/* X(class, name, calls, errors) */
#define PLAN_CLASSES(X)                                                                            \
    X(ALLOC, "alloc", "malloc, calloc, realloc, posix_memalign, aligned_alloc", ENOMEM)            \
    X(MAP, "map", "mmap, mremap", ENOMEM)                                                          \
    X(SIZE, "size", "ftruncate, posix_fallocate, fallocate", ENOSPC, EIO, EINTR)                   \
    X(OPEN, "open", "open, openat, fopen", EMFILE, ENFILE, EINTR, EIO, ENOSPC)                     \
    X(NAME, "name", "mkdir, rename, renameat, unlink, unlinkat", EIO, ENOSPC)                      \
    X(LOOK, "look", "stat, fstat, fstatat, lseek", EIO, ENOMEM)                                    \
    X(LOCK, "lock", "flock, fcntl(F_SETLK)", EINTR, ENOLCK)                                        \
    X(READ, "read", "read and pread of files", EIO, EINTR)                                         \
    X(WRITE, "write", "write, pwrite, writev, pwritev of files", ENOSPC, EIO, EINTR, PLAN_SHORT)   \
    X(SYNC, "sync", "fdatasync, fsync, msync", EIO, ENOSPC, EINTR)                                 \
    X(STATVFS, "statvfs", "fstatvfs, statvfs, fstatfs", EIO, EINTR)                                \
    X(EVENT, "event", "eventfd, signalfd", EMFILE, ENFILE, ENOMEM)                                 \
    X(WAKE, "wake", "write and read of an eventfd or signalfd, poll", EINTR)                       \
    X(LOG, "log", "write to stderr", ENOSPC, EPIPE, EINTR, PLAN_SHORT)                             \
    X(THREAD, "thread", "pthread_create", EAGAIN)                                                  \
    X(SOCKET, "socket", "socket, setsockopt, getsockname", EMFILE, ENOBUFS, ENOMEM)                \
    X(BIND, "bind", "bind, listen", EADDRINUSE, EACCES, ENOBUFS)                                   \
    X(RING, "ring", "io_uring_queue_init_params, io_uring_register_buf_ring", ENOMEM, EMFILE,      \
      EPERM)                                                                                       \
    X(SUBMIT, "submit", "io_uring_submit and its kin", EAGAIN, EBUSY, EINTR, ENOMEM, PLAN_SHORT)   \
    X(ACCEPT, "accept", "accept on the ring", EMFILE, ENFILE, ECONNABORTED, ENOMEM, EINTR)         \
    X(RECEIVE, "receive", "recv on the ring", ECONNRESET, ENOBUFS, ENOMEM, EINTR, PLAN_SHORT)      \
    X(SEND, "send", "sendmsg on the ring", EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR, EAGAIN,      \
      PLAN_SHORT)                                                                                  \
    X(EVENT_READ, "event-read", "read of an eventfd on the ring", EINTR, ENOMEM)

enum plan_class {
#define PLAN_ENUM(name, text, calls, ...) PLAN_##name,
    PLAN_CLASSES(PLAN_ENUM)
#undef PLAN_ENUM
    PLAN_CLASS_COUNT,
    PLAN_NONE = PLAN_CLASS_COUNT,
};

struct plan {
    /* the driver's, before the daemon starts */
    uint64_t magic;
    uint32_t class;  /* enum plan_class; NONE: counts alone */
    int32_t error;   /* an errno, or PLAN_SHORT */
    uint64_t number; /* 1 is the first */
    uint32_t onward; /* all from `number` on */
    /* the driver's, while it runs: release, pairs with the injector's acquire */
    _Atomic uint32_t lifted;
    /* the injector's */
    _Atomic uint64_t hits; /* calls that failed; release: `call` is there */
    char call[96];         /* the first of them: function, module and offset of its caller */
    _Atomic uint64_t calls[PLAN_CLASS_COUNT];
};

_Static_assert(sizeof(struct plan) <= PLAN_BYTES, "a plan fits its page");

#endif
