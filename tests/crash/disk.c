#include "tests/crash/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(CRASH_EXIT_UNABLE);
}

const char *disk_way_text(enum disk_way way)
{
    static const char *const texts[] = {
#define DISK_WAY_TEXT(name, text) text,
        DISK_WAYS(DISK_WAY_TEXT)
#undef DISK_WAY_TEXT
    };
    return texts[way];
}

const char *disk_moment_text(enum disk_moment moment)
{
    static const char *const texts[] = {
#define DISK_MOMENT_TEXT(name, text) text,
        DISK_MOMENTS(DISK_MOMENT_TEXT)
#undef DISK_MOMENT_TEXT
    };
    return texts[moment];
}

/* --- the log --- */

static void tape_count(struct disk_tape *tape, uint64_t used)
{
    const uint8_t *entries = (const uint8_t *)tape->log + CRASH_LOG_HEAD;
    uint32_t room = 0;
    for (uint64_t at = 0; at < used;) {
        if (tape->count == room) {
            room = room ? 2 * room : 4096;
            tape->ops = realloc(tape->ops, room * sizeof(*tape->ops));
            if (!tape->ops)
                fail("no memory for the log");
        }
        struct disk_op *op = &tape->ops[tape->count++];
        op->entry = (const struct crash_entry *)(const void *)(entries + at);
        op->bytes = entries + at + sizeof(*op->entry);
        at += sizeof(*op->entry) + crash_log_padded(op->entry->bytes);
        op->position = at;
    }
}

void disk_tape_open(struct disk_tape *tape, const char *path)
{
    *tape = (struct disk_tape){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(path);
    /* Beyond the end of a trimmed log nothing is looked at. */
    void *map = mmap(NULL, CRASH_LOG_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        fail("cannot map the log");
    tape->log = map;
    if (tape->log->magic != CRASH_LOG_MAGIC || tape->log->unseen) {
        fprintf(stderr, "crash: %s is not the whole story: %u calls of %s\n", path,
                tape->log->unseen, tape->log->unseen_call);
        exit(CRASH_EXIT_UNABLE);
    }
    tape_count(tape, crash_log_at(tape->log));
}

void disk_tape_close(struct disk_tape *tape)
{
    munmap((void *)(uintptr_t)tape->log, CRASH_LOG_BYTES);
    free(tape->ops);
}

/* --- what is durable --- */

static void file_open(struct disk *disk)
{
    disk->fd = open(disk->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (disk->fd < 0)
        fail(disk->path);
}

static void file_put(struct disk *disk, const void *bytes, uint64_t size, uint64_t offset)
{
    if (pwrite(disk->fd, bytes, size, (off_t)offset) != (ssize_t)size)
        fail("cannot write an image");
}

void disk_fini(struct disk *disk)
{
    close(disk->fd);
    free(disk->base);
    free(disk->pieces);
}

static void base_grow(struct disk *disk, uint64_t bytes)
{
    if (bytes > disk->base_room) {
        uint64_t room = 2 * bytes;
        disk->base = realloc(disk->base, room);
        if (!disk->base)
            fail("no memory for the durable content");
        memset(disk->base + disk->base_room, 0, room - disk->base_room);
        disk->base_room = room;
    }
    if (bytes > disk->base_bytes)
        disk->base_bytes = bytes;
}

static void apply(struct disk *disk, uint32_t op)
{
    const struct crash_entry *entry = disk->tape->ops[op].entry;
    base_grow(disk, entry->offset + entry->bytes);
    memcpy(disk->base + entry->offset, disk->tape->ops[op].bytes, entry->bytes);
    file_put(disk, disk->tape->ops[op].bytes, entry->bytes, entry->offset);
}

/* The file that the log began with, if there is one, is durable with its name. */
static void load_base(struct disk *disk, const char *path)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return;
    if (fd < 0 || fstat(fd, &stat))
        fail(path);
    base_grow(disk, (uint64_t)stat.st_size);
    if (read(fd, disk->base, (size_t)stat.st_size) != stat.st_size)
        fail(path);
    close(fd);
    file_put(disk, disk->base, disk->base_bytes, 0);
    disk->is_hidden = false;
    disk->is_named = true;
}

void disk_init(struct disk *disk, const struct disk_tape *tape, const char *path, const char *base,
               enum disk_bend bend)
{
    memset(disk, 0, sizeof(*disk));
    disk->tape = tape;
    disk->bend = bend;
    disk->is_hidden = true; /* a new file gets its name when it is durable */
    snprintf(disk->path, sizeof(disk->path), "%s", path);
    snprintf(disk->old_path, sizeof(disk->old_path), "%s.new", disk->path);
    file_open(disk);
    load_base(disk, base);
}

/* Those of what is pending that `covered` names become durable, in the order of their issue. */
static void become_durable(struct disk *disk, const struct disk_op *by,
                           bool (*covered)(const struct disk_op *op, const struct disk_op *by))
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        uint32_t op = disk->pending[i];
        if (covered(&disk->tape->ops[op], by))
            apply(disk, op);
        else
            disk->pending[kept++] = op;
    }
    disk->pending_count = kept;
}

static bool is_before(const struct disk_op *op, const struct disk_op *by)
{
    return op->position < by->position;
}

/* The write itself, and what is pending below it: the pages of a file go to the disk whole. */
static bool is_under(const struct disk_op *op, const struct disk_op *by)
{
    return op->position <= by->position &&
           op->entry->offset < by->entry->offset + by->entry->bytes &&
           by->entry->offset < op->entry->offset + op->entry->bytes;
}

static bool is_any(const struct disk_op *op, const struct disk_op *by)
{
    (void)op;
    (void)by;
    return true;
}

/* The pending write that ended at this position of the log. */
static const struct disk_op *pending_of(const struct disk *disk, uint64_t position)
{
    for (uint32_t i = 0; i < disk->pending_count; i++)
        if (disk->tape->ops[disk->pending[i]].position == position)
            return &disk->tape->ops[disk->pending[i]];
    fprintf(stderr, "crash: a write returned that had not begun\n");
    exit(CRASH_EXIT_UNABLE);
}

static void begin_write(struct disk *disk)
{
    if (disk->pending_count == DISK_PENDING_MAX) {
        fprintf(stderr, "crash: more than %u writes before a sync\n", DISK_PENDING_MAX);
        exit(CRASH_EXIT_UNABLE);
    }
    disk->pending[disk->pending_count++] = disk->at;
    disk->is_hidden = disk->tape->ops[disk->at].entry->hidden;
}

void disk_step(struct disk *disk)
{
    const struct disk_op *op = &disk->tape->ops[disk->at];
    switch ((enum crash_kind)op->entry->kind) {
    case CRASH_START:
        break;
    case CRASH_WRITE:
        begin_write(disk);
        break;
    case CRASH_WRITTEN:
        become_durable(disk, pending_of(disk, op->entry->of), is_under);
        break;
    case CRASH_SYNC:
        disk->is_syncing = true;
        disk->sync_before = disk->sync;
        disk->sync = op;
        break;
    case CRASH_SYNCED:
        disk->is_syncing = false;
        if (disk->bend != DISK_LATE_SYNC)
            become_durable(disk, disk->sync, is_before);
        else if (disk->sync_before)
            become_durable(disk, disk->sync_before, is_before);
        break;
    case CRASH_RENAMED:
        disk->is_hidden = false;
        break;
    case CRASH_NAMED:
        disk->is_named = !disk->is_hidden && disk->bend != DISK_NO_NAME;
        break;
    }
    disk->at++;
}

void disk_settle(struct disk *disk)
{
    become_durable(disk, NULL, is_any);
}

/* --- cuts --- */

static const struct crash_entry *pending_at(const struct disk *disk, uint32_t i)
{
    return disk->tape->ops[disk->pending[i]].entry;
}

static bool is_meta_under_way(const struct disk *disk)
{
    return disk->pending_count && pending_at(disk, disk->pending_count - 1)->durable;
}

enum disk_moment disk_moment(const struct disk *disk)
{
    if (disk->pending_count == 0)
        return DISK_REST;
    if (disk->is_syncing)
        return DISK_SYNC;
    return is_meta_under_way(disk) ? DISK_META : DISK_PAGES;
}

static uint32_t sectors_of(const struct crash_entry *entry)
{
    return (uint32_t)((entry->offset + entry->bytes - 1) / DISK_SECTOR -
                      entry->offset / DISK_SECTOR + 1);
}

/* Parts whose subsets are counted through: the sectors of a single write, or whole writes; 0 when
 * there are too many of them. */
static uint32_t parts_of(const struct disk *disk)
{
    if (disk->pending_count == 1 && sectors_of(pending_at(disk, 0)) <= DISK_EXHAUSTIVE_MAX)
        return sectors_of(pending_at(disk, 0));
    return disk->pending_count <= DISK_EXHAUSTIVE_MAX ? disk->pending_count : 0;
}

uint32_t disk_variants(const struct disk *disk)
{
    if (disk->pending_count == 0)
        return disk->is_named ? 1 : 3;
    bool is_complete =
        disk->pending_count == 1 && parts_of(disk) == sectors_of(pending_at(disk, 0));
    return is_complete && disk->is_named ? 1u << parts_of(disk) : UINT32_MAX;
}

/* --- images --- */

static void keep_piece(struct disk *disk, uint64_t offset, uint64_t bytes)
{
    if (disk->piece_count == disk->piece_room) {
        disk->piece_room = disk->piece_room ? 2 * disk->piece_room : 256;
        disk->pieces = realloc(disk->pieces, disk->piece_room * sizeof(*disk->pieces));
        if (!disk->pieces)
            fail("no memory for an image");
    }
    disk->pieces[disk->piece_count++] = (struct disk_piece){offset, bytes};
}

/* The part of a pending write that lies in its sectors `from` to `to` reaches the disk. */
static void put_sectors(struct disk *disk, uint32_t i, uint32_t from, uint32_t to)
{
    const struct disk_op *op = &disk->tape->ops[disk->pending[i]];
    uint64_t first = op->entry->offset / DISK_SECTOR;
    uint64_t begin = from ? (first + from) * DISK_SECTOR : op->entry->offset;
    uint64_t end = (first + to) * DISK_SECTOR;
    uint64_t last = op->entry->offset + op->entry->bytes;
    end = end < last ? end : last;
    if (begin >= end)
        return;
    file_put(disk, op->bytes + (begin - op->entry->offset), end - begin, begin);
    keep_piece(disk, begin, end - begin);
}

static void put_write(struct disk *disk, uint32_t i)
{
    put_sectors(disk, i, 0, sectors_of(pending_at(disk, i)));
}

static void put_some_sectors(struct disk *disk, uint32_t i, struct tg_rng *rng)
{
    for (uint32_t s = 0; s < sectors_of(pending_at(disk, i)); s++)
        if (tg_rng_below(rng, 2))
            put_sectors(disk, i, s, s + 1);
}

/* All subsets of the parts, by the bits of `mask`. */
static void put_each(struct disk *disk, uint32_t mask)
{
    uint32_t parts = parts_of(disk);
    for (uint32_t i = 0; i < parts; i++) {
        if ((mask & (1u << i)) == 0)
            continue;
        if (disk->pending_count == 1 && parts > 1)
            put_sectors(disk, 0, i, i + 1);
        else
            put_write(disk, i);
    }
}

/* Some writes, or some sectors, in an order of their own. */
static void put_shuffled(struct disk *disk, bool is_torn, struct tg_rng *rng)
{
    static uint32_t order[DISK_PENDING_MAX];
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        uint32_t j = (uint32_t)tg_rng_below(rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        if (is_torn)
            put_some_sectors(disk, order[i], rng);
        else if (tg_rng_below(rng, 2))
            put_write(disk, order[i]);
    }
}

static void put_prefix(struct disk *disk, uint32_t whole, struct tg_rng *rng)
{
    for (uint32_t i = 0; i < whole; i++)
        put_write(disk, i);
    if (whole < disk->pending_count)
        put_some_sectors(disk, whole, rng);
}

/* The length of the file is written apart from its content. */
static void draw_length(struct disk *disk, struct tg_rng *rng)
{
    uint64_t longest = disk->base_bytes;
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        const struct crash_entry *entry = pending_at(disk, i);
        uint64_t end = entry->offset + entry->bytes;
        longest = end > longest ? end : longest;
    }
    uint64_t steps = (longest - disk->base_bytes) / DISK_SECTOR;
    if (steps == 0 || tg_rng_below(rng, 4))
        return;
    uint64_t length = disk->base_bytes + tg_rng_below(rng, steps + 1) * DISK_SECTOR;
    if (ftruncate(disk->fd, (off_t)length))
        fail("cannot set the length of an image");
}

static enum disk_way draw_way(struct tg_rng *rng)
{
    static const uint8_t shares[DISK_WAY_COUNT] = {
        [DISK_NONE] = 1,     [DISK_ALL] = 1,    [DISK_PREFIX] = 3, [DISK_ONE_LOST] = 2,
        [DISK_ONE_ONLY] = 2, [DISK_SUBSET] = 5, [DISK_TORN] = 6,
    };
    uint64_t draw = tg_rng_below(rng, 20);
    enum disk_way way = DISK_NONE;
    while (draw >= shares[way])
        draw -= shares[way++];
    return way;
}

static enum disk_way choose(const struct disk *disk, uint32_t variant, struct tg_rng *rng)
{
    uint64_t name = disk->is_named ? 0 : tg_rng_below(rng, 8);
    if (name == 1 || (disk->is_hidden && name < 3))
        return DISK_NAMELESS;
    if (name == 2 || disk->is_hidden)
        return DISK_OLD_NAME;
    uint32_t parts = parts_of(disk);
    if (parts && variant < 1u << parts)
        return DISK_EACH;
    return disk->pending_count ? draw_way(rng) : DISK_NONE;
}

static void put(struct disk *disk, enum disk_way way, uint32_t variant, struct tg_rng *rng)
{
    uint32_t one = disk->pending_count ? (uint32_t)tg_rng_below(rng, disk->pending_count) : 0;
    switch (way) {
    case DISK_EACH:
        put_each(disk, variant);
        break;
    case DISK_NONE:
        break;
    case DISK_ALL:
        put_prefix(disk, disk->pending_count, rng);
        break;
    case DISK_PREFIX:
        put_prefix(disk, one, rng);
        break;
    case DISK_ONE_LOST:
        for (uint32_t i = 0; i < disk->pending_count; i++)
            if (i != one)
                put_write(disk, i);
        break;
    case DISK_ONE_ONLY:
        put_write(disk, one);
        break;
    case DISK_SUBSET:
    case DISK_TORN:
        put_shuffled(disk, way == DISK_TORN, rng);
        break;
    case DISK_NAMELESS:
        unlink(disk->path);
        break;
    case DISK_OLD_NAME:
        put_shuffled(disk, true, rng);
        draw_length(disk, rng);
        if (rename(disk->path, disk->old_path))
            fail("cannot rename an image");
        break;
    case DISK_WAY_COUNT:
        abort();
    }
}

/* The next meta page, which has not even been written yet. */
static void put_next_meta(struct disk *disk)
{
    uint32_t at = disk->at;
    while (at < disk->tape->count && !disk->tape->ops[at].entry->durable)
        at++;
    if (at == disk->tape->count)
        return;
    const struct crash_entry *entry = disk->tape->ops[at].entry;
    file_put(disk, disk->tape->ops[at].bytes, entry->bytes, entry->offset);
    keep_piece(disk, entry->offset, entry->bytes);
}

enum disk_way disk_make(struct disk *disk, uint32_t variant, struct tg_rng *rng)
{
    enum disk_way way = choose(disk, variant, rng);
    bool has_name = way != DISK_NAMELESS && way != DISK_OLD_NAME;
    disk->piece_count = 0;
    put(disk, way, variant, rng);
    if (way != DISK_EACH && has_name)
        draw_length(disk, rng);
    if (disk->bend == DISK_META_FIRST && has_name && disk->pending_count > 0)
        put_next_meta(disk);
    /* What this does not say any more when the image has been looked at, somebody else wrote. */
    if (futimens(disk->fd, (struct timespec[2]){{0, 0}, {0, 0}}))
        fail("cannot mark an image");
    return way;
}

static bool is_untouched(const struct disk *disk)
{
    struct stat by_fd, by_path;
    return fstat(disk->fd, &by_fd) == 0 && stat(disk->path, &by_path) == 0 &&
           by_fd.st_ino == by_path.st_ino && by_fd.st_mtim.tv_sec == 0 &&
           by_fd.st_mtim.tv_nsec == 0;
}

void disk_restore(struct disk *disk)
{
    if (!is_untouched(disk)) {
        unlink(disk->old_path);
        close(disk->fd);
        file_open(disk);
        file_put(disk, disk->base, disk->base_bytes, 0);
        return;
    }
    for (uint32_t i = 0; i < disk->piece_count; i++) {
        const struct disk_piece *piece = &disk->pieces[i];
        uint64_t end = piece->offset + piece->bytes;
        end = end < disk->base_bytes ? end : disk->base_bytes;
        if (piece->offset < end)
            file_put(disk, disk->base + piece->offset, end - piece->offset, piece->offset);
    }
    if (ftruncate(disk->fd, (off_t)disk->base_bytes))
        fail("cannot set the length of an image");
}
