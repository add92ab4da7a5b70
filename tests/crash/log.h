/* The log of what a daemon did to its data file: written by the preloaded recorder (record.c), read
 * by who drives the daemon, and taken apart by disk.c.
 *
 * One file, mapped by all of them. `used` grows as entries become complete, so whoever reads it
 * gets a position: all that the daemon had done when it was read lies before it. An answer that a
 * client holds when it reads position P is therefore one whose syncs must lie before P.
 *
 *   +--------------------+------------------+----------------+------------------+---
 *   | struct crash_log   | struct entry     | bytes, padded  | struct entry     | ...
 *   | (one page)         |                  | to 8           |                  |
 *   +--------------------+------------------+----------------+------------------+---
 *                        ^ position 0                        ^ a position
 */
#ifndef TG_TESTS_CRASH_LOG_H
#define TG_TESTS_CRASH_LOG_H

#include <stdatomic.h>
#include <stdint.h>

#define CRASH_LOG_MAGIC 0x676f6c2d65646974ull
#define CRASH_LOG_BYTES (2ull << 30) /* sparse */
#define CRASH_LOG_HEAD  4096

enum crash_kind {
    CRASH_START = 1, /* a daemon began */
    CRASH_WRITE,     /* is about to write `bytes` at `offset`; they follow */
    CRASH_WRITTEN,   /* the write at position `of`, of an O_DSYNC descriptor, has returned */
    CRASH_SYNC,      /* is about to sync the file */
    CRASH_SYNCED,    /* the sync at position `of` has returned */
    CRASH_RENAMED,   /* the file, made under another name, now has its own */
    CRASH_NAMED,     /* the directory was synced: the file's name is durable */
};

/* What the recorder tells the daemon of the room on its disk. */
enum crash_full {
    CRASH_ROOM,
    CRASH_FULL_AHEAD,  /* fstatvfs: nothing is free */
    CRASH_FULL_BEHIND, /* most writes of pages fail with ENOSPC, in the middle of a commit too */
};

struct crash_entry {
    uint32_t kind;    /* enum crash_kind */
    uint16_t durable; /* of WRITE: its descriptor is O_DSYNC */
    uint16_t hidden;  /* of WRITE: the file has another name as yet */
    uint64_t offset;
    uint64_t bytes;
    uint64_t of; /* of WRITTEN and SYNCED: the end position of their entry */
};

struct crash_log {
    uint64_t magic;
    _Atomic uint64_t used;    /* release: entries before it are complete; pairs with crash_log_at */
    _Atomic uint32_t unseen;  /* calls that the recorder cannot tell in entries, or that failed */
    char unseen_call[32];     /* the first of them */
    _Atomic uint32_t full;    /* enum crash_full; written by who drives the daemon. relaxed */
    _Atomic uint32_t refused; /* writes that failed for it. relaxed */
};

/* Exit status of the tool and of each of its processes. */
enum crash_exit {
    CRASH_EXIT_BROKEN = 1, /* a promise is */
    CRASH_EXIT_USAGE = 2,
    CRASH_EXIT_UNABLE = 3, /* it could not be run here, or its load makes no sense */
};

static inline uint64_t crash_log_at(const struct crash_log *log)
{
    return atomic_load_explicit(&log->used, memory_order_acquire);
}

static inline uint64_t crash_log_padded(uint64_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

#endif
