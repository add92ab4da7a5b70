/* A disk that loses power: walks through a log (log.h), keeps what is durable and what is pending
 * at the place where it stands, and makes files as they may be found after a cut there.
 *
 * Durable is what a completed sync covers, and an O_DSYNC write that has returned. Of what is
 * pending, any part may have reached the disk: whole writes or single sectors of 512 bytes, in any
 * order; the length of the file lies anywhere between the durable one and that of the last write.
 *
 * One image at a time lies in the file; disk_restore makes it the durable content again.
 */
#ifndef TG_TESTS_CRASH_DISK_H
#define TG_TESTS_CRASH_DISK_H

#include "base/rng.h"
#include "tests/crash/log.h"

#include <stdbool.h>
#include <stddef.h>

#define DISK_SECTOR         512u
#define DISK_PENDING_MAX    4096u
#define DISK_EXHAUSTIVE_MAX 5u /* with so many writes, or sectors of a single one, all subsets */

/* X(name, what is there of what is pending) */
#define DISK_WAYS(X)                                                                               \
    X(EACH, "one of all subsets, counted through")                                                 \
    X(NONE, "nothing")                                                                             \
    X(ALL, "everything")                                                                           \
    X(PREFIX, "the first writes, the next one torn")                                               \
    X(ONE_LOST, "everything but one write")                                                        \
    X(ONE_ONLY, "one write")                                                                       \
    X(SUBSET, "some writes, in any order")                                                         \
    X(TORN, "some sectors of any writes, in any order")                                            \
    X(NAMELESS, "not even the name of the file")                                                   \
    X(OLD_NAME, "some of it, in a file that still has the name under which it was made")

enum disk_way {
#define DISK_WAY_ENUM(name, text) DISK_##name,
    DISK_WAYS(DISK_WAY_ENUM)
#undef DISK_WAY_ENUM
    DISK_WAY_COUNT,
};

const char *disk_way_text(enum disk_way way);

/* X(name, where the power went) */
#define DISK_MOMENTS(X)                                                                            \
    X(REST, "nothing pending")                                                                     \
    X(PAGES, "between page writes")                                                                \
    X(SYNC, "in the sync of the pages")                                                            \
    X(META, "in the meta page's own write")

enum disk_moment {
#define DISK_MOMENT_ENUM(name, text) DISK_##name,
    DISK_MOMENTS(DISK_MOMENT_ENUM)
#undef DISK_MOMENT_ENUM
    DISK_MOMENT_COUNT,
};

const char *disk_moment_text(enum disk_moment moment);

/* Disks that break their word: with each of them some image must be found wanting.
 * X(name, what they do) */
#define DISK_BENDS(X)                                                                              \
    X(STRAIGHT, "keeps its word")                                                                  \
    X(LATE_SYNC, "a sync covers only what the sync before it should have covered")                 \
    X(META_FIRST, "the meta page of a commit overtakes the sync of its pages")                     \
    X(NO_NAME, "the sync of the directory does nothing")

enum disk_bend {
#define DISK_BEND_ENUM(name, text) DISK_##name,
    DISK_BENDS(DISK_BEND_ENUM)
#undef DISK_BEND_ENUM
};

/* An entry of the log. */
struct disk_op {
    const struct crash_entry *entry;
    const uint8_t *bytes; /* of a write */
    uint64_t position;    /* its end */
};

/* The whole log, read only. */
struct disk_tape {
    const struct crash_log *log;
    struct disk_op *ops;
    uint32_t count;
};

struct disk_piece {
    uint64_t offset, bytes;
};

struct disk {
    const struct disk_tape *tape;
    enum disk_bend bend;
    uint32_t at;                              /* ops that have happened */
    bool is_hidden;                           /* the file has not got its name */
    bool is_named;                            /* the file's name is durable */
    bool is_syncing;                          /* a sync is on its way */
    const struct disk_op *sync, *sync_before; /* the last two */
    uint32_t pending[DISK_PENDING_MAX];       /* ops, oldest first */
    uint32_t pending_count;
    uint8_t *base; /* the durable content */
    uint64_t base_bytes, base_room;
    char path[256];     /* of the image */
    char old_path[272]; /* the name of a file that is being made */
    int fd;
    struct disk_piece *pieces; /* what the image has beside the durable content */
    uint32_t piece_count, piece_room;
};

/* Exits when the log is no log, or not the whole story. */
void disk_tape_open(struct disk_tape *tape, const char *path);
void disk_tape_close(struct disk_tape *tape);

/* `path`: where images are made. `base`: the file that the log began with; need not be there. */
void disk_init(struct disk *disk, const struct disk_tape *tape, const char *path, const char *base,
               enum disk_bend bend);
void disk_fini(struct disk *disk);
/* The next entry happens. */
void disk_step(struct disk *disk);
/* All that is pending reaches the disk. */
void disk_settle(struct disk *disk);

enum disk_moment disk_moment(const struct disk *disk);
/* How many images a cut here can have that differ, when that is known: else UINT32_MAX. */
uint32_t disk_variants(const struct disk *disk);

/* Makes the image number `variant` of a cut here, which it alone and `rng` decide. */
enum disk_way disk_make(struct disk *disk, uint32_t variant, struct tg_rng *rng);
/* Takes the image away; notices when others have written to the file. */
void disk_restore(struct disk *disk);

#endif
