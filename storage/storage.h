/* Durable memory: LMDB tables, the group commit, recovery and the offline check.
 *
 * Threads: an open `struct sto_env` is shared. sto_commit belongs to the one writer thread.
 * Readers (struct sto_reader) belong to the thread that opened them. Recovery runs before any
 * other thread starts.
 *
 * Always: every committed transaction leaves promise 1 true for every item and holds an order row
 * for every unit that is reserved or sold, and an event for every change of an order. LMDB's
 * default sync stays on: sto_commit returns STO_DURABLE only after fdatasync of the pages and the
 * O_DSYNC write of the meta page.
 *
 * Not here: decisions (engine/), threads and wake-ups (server/writer.c).
 *
 *   table         key                         value (little-endian, CRC-32C first; storage/rows.h)
 *   meta          "format"                    version of the whole database
 *   sales         sale number (u32)           id, kind, state, window, currency, name
 *   items         item number (u32)           sale number, sku, prices, limits
 *   stock         item number (u32)           struct tg_stock, but for items that the log names
 *   stock_log     number (u64, appended)      struct tg_stock of many items (storage/stock_log.h)
 *   orders        order id (u64, appended)    struct tg_order_row: never changed
 *   lives         order id (u64)              struct tg_life: what became of it; none while as
 *                                             accepted
 *   events        sequence (u64, appended)    struct tg_event, but for ORDER_PLACED
 *   teams         team id (u64, appended)     struct tg_team
 *   ingested      request id (16 bytes)       order id: orders known by (channel, external id)
 *   groups        name                        struct tg_group
 *   adjustments   adjustment number (u64)     item, difference, time, reason
 *
 * One sequence counts orders and events, in the order of commits, without a gap. An order id is
 * (its sequence << TG_PARTITION_BITS) | its item's partition (tg_item_partition): it grows with
 * every order of every shard, so orders append, and it names the shard that owns it; and the order
 * row is its own ORDER_PLACED event (docs/outbox.md).
 */
#ifndef TG_STORAGE_STORAGE_H
#define TG_STORAGE_STORAGE_H

#include "base/error.h"
#include "base/journal.h"
#include "base/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 2: lives, events, teams, ingested, groups. 3: stock_log. 4: items with a threshold for low stock.
 * A database of an older format is taken over at open. */
#define STO_FORMAT_VERSION 4u

/* Spans in one batch: two for each shard. */
#define STO_BATCH_SPANS_MAX (2 * TG_SHARDS_MAX)

struct sto_options {
    const char *data_dir;    /* created when missing, mode 0700; at most 200 bytes */
    uint64_t map_bytes;      /* size of the sparse map; a multiple of the page size */
    uint64_t free_bytes_min; /* refuse batches when the filesystem has less than this free */
    uint32_t items_max;      /* items the engine can hold; bounds item numbers */
    uint32_t readers_max;    /* concurrent struct sto_reader */
    uint32_t log_items_min;  /* items of a commit that are logged; 0: STO_LOG_ITEMS_MIN */
    uint32_t request_ttl_s;  /* how long the engine remembers an id, for sto_verify; 0: for ever */
};

/* Fewer touched items than this are written in place, while the stock log is empty. */
#define STO_LOG_ITEMS_MIN 64u
/* Rows of the stock log after which the next commit folds it: 1 MiB. */
#define STO_LOG_ROWS_MAX  512u

struct sto_env;

/* Opens or creates the database, takes the directory lock (TG_ERR_LOCKED when another process has
 * it, naming its pid), and refuses a newer format (TG_ERR_VERSION) with a text that says so. A
 * database that holds anything must go through sto_recover before the first sto_commit. One open
 * of a database in a process, and none across fork: LMDB's rule. */
enum tg_error sto_env_open(const struct sto_options *options, struct sto_env **result,
                           struct tg_fault *fault);
/* Closes it and releases the lock. No reader, no batch may be under way. */
void sto_env_close(struct sto_env *env);

/* --- the commit step (writer thread) --- */

struct sto_batch {
    struct tg_span spans[STO_BATCH_SPANS_MAX]; /* borrowed from the journals */
    uint32_t span_count;
};

enum sto_result {
    STO_DURABLE, /* every record is on the disk and has outcome and order_id filled in */
    STO_REFUSED, /* the storage is full: what would fill it did not happen, as the outcomes say */
    STO_UNKNOWN, /* nobody knows: no answer may leave, the process must stop (promise 6) */
};

/* Events that retention would drop are kept, because they lie beyond its `sequence_max`. */
enum sto_held {
    STO_HELD_NONE,
    STO_HELD_OLD,   /* written before `before_ms` */
    STO_HELD_LARGE, /* the table is above `bytes_max` */
};

struct sto_commit_stats {
    uint64_t commits;
    uint64_t refused_batches;
    uint64_t records;
    uint64_t commit_ns_last; /* of the whole step, begin to durable */
    uint64_t commit_ns_max;
    uint64_t sequence;    /* of the newest durable order or event */
    uint64_t event_first; /* the oldest sequence that readers may still ask for */
    uint64_t events_dropped;
    uint64_t events_bytes;     /* of the events' table; 0 before the first commit of this start */
    enum sto_held events_held; /* why the last commit would have dropped more */
};

/* One batch in; durable, refused or unknown out. Order ids are assigned in span order. `fault` says
 * what happened for REFUSED and UNKNOWN. A batch of fences only touches no disk.
 *
 * The engine promises, and this asserts: a sale's record comes before any record of its items (in
 * this batch or an earlier one), its item numbers are below items_max and new, no change leaves
 * an item's books wrong or a field outside base/limits.h, and units of records are whole.
 * What the writer gives, it writes into the records: order_id, change->row.order_id,
 * change->row.team_id of a captain, change->life.last_event, the offset of a group that begins now,
 * and in a team the ids that were 0 (of the order that a record before it, of the same unit,
 * created). What is in the blocks of a refused change or team is then stale: such a record is made
 * anew, not committed again.
 * REFUSED: orders, sales and adjustments of the batch did not happen, nor (when even the room that
 * is kept for these is gone: storage/room.c) changes of what is there, nor group records. Each
 * record has its outcome, all of a unit the same. Old events are dropped all the same. The numbers
 * of orders that were not made are given again, and the next batch may well fit. After
 * UNKNOWN outcomes are 0 and another call aborts. Cost, in batches of 4,000: 120 ns a record, 150
 * ns for each item that the batch touches, and the sync. No allocation of its own. */
enum sto_result sto_commit(struct sto_env *env, const struct sto_batch *batch,
                           struct tg_fault *fault);

/* Figures of the commit step; writer thread. */
const struct sto_commit_stats *sto_commit_stats(const struct sto_env *env);

/* What the next commits may drop of the outbox, a little each: events up to `sequence_max` that
 * were written before `before_ms`, and the oldest of them while the table is above `bytes_max`.
 * Never the newest sequence, and no order: those below the oldest event kept are only hidden from
 * sto_read_events. Writer thread. */
struct sto_retention {
    uint64_t sequence_max; /* 0: nothing */
    int64_t before_ms;
    uint64_t bytes_max;
};
void sto_retention_set(struct sto_env *env, const struct sto_retention *retention);

/* --- recovery (before the threads start) --- */

/* Takes every order in the order of ids with its life (NULL: as it was accepted), both borrowed for
 * the call. Of the row's lines only line_count are set. */
struct sto_order_taker {
    /* False: refused. */
    bool (*take)(void *context, const struct tg_order_row *row, const struct tg_life *life,
                 struct tg_fault *fault);
    /* An order that will be taken a few orders later, unless one before it is refused: time to
     * bring what it will need into the cache. May be NULL. */
    void (*ahead)(void *context, const struct tg_order_row *row);
};

/* What recovery hands to the engine, in this order: every sale (items inside, with their stock),
 * every consumer group, every order as struct sto_order_taker says, every team that is PENDING or
 * OPEN. A callback that returns false stops recovery with the error and the words that it set in
 * `fault`; what a NULL would take is read and checked all the same. Callbacks are called by the
 * thread that calls sto_recover, but for `reader`. */
struct sto_recovery {
    void *context;
    /* A thread of sto_recover's own reads and checks the orders while the caller's hands them on,
     * with some 4 MiB between them. What the callbacks see, in which order, and what is told of a
     * damage or of a refusal is the same as without. */
    bool reads_ahead;
    /* `def` and `stocks` (def->item_count of them) are borrowed for the call. */
    bool (*sale)(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                 struct tg_fault *fault);
    bool (*group)(void *context, const struct tg_group *group, struct tg_fault *fault);
    /* With reads_ahead it is the thread that reads which calls this, so it must touch nothing that
     * `order` touches; it takes each order before `order` does, and is up to some ten
     * thousands ahead. */
    struct sto_order_taker reader;
    bool (*order)(void *context, const struct tg_order_row *row, const struct tg_life *life,
                  struct tg_fault *fault);
    void (*order_ahead)(void *context, const struct tg_order_row *row); /* as of a taker */
    bool (*team)(void *context, const struct tg_team *team, struct tg_fault *fault);
};

struct sto_recovery_stats {
    uint64_t sales;
    uint64_t items;
    uint64_t orders;
    uint64_t lives;
    uint64_t teams; /* of any state */
    uint64_t events;
    uint64_t groups;
    uint64_t elapsed_ns;
};

/* Reads the whole database, checks every CRC, promise 1 for every item, and for every item that
 * its reserved and sold units are exactly those of its orders, its restocked units those of its
 * adjustments, that the money of each order adds up, that no sequence is missing, that each seat of
 * a team that is not over is an order of it, and that sales, items and stock rows belong together.
 * The newest sequence is the larger of the last order's and the last event's. Items of a sale come
 * sorted by number, with stock_units as they were at its creation. Once, before the first
 * sto_commit. Cost: some 65 ns an order beside the callbacks. The first thing that does not hold
 * stops it: TG_ERR_CORRUPT or TG_ERR_BROKEN with the table, the key and both numbers in `fault`; or
 * TG_ERR_NOMEM or TG_ERR_SYSTEM when there was no memory or no thread to read with. */
enum tg_error sto_recover(struct sto_env *env, const struct sto_recovery *recovery,
                          struct sto_recovery_stats *stats, struct tg_fault *fault);

/* --- reads (any thread, one reader each; never wait for the writer) --- */

struct sto_reader;

enum tg_error sto_reader_open(struct sto_env *env, struct sto_reader **result,
                              struct tg_fault *fault);
void sto_reader_close(struct sto_reader *reader);

/* Holds one snapshot for all reads of `reader` until it is unpinned, so that they agree with each
 * other and each saves taking one of its own: a page of events with its orders, a storm of
 * deadlines. Pins nest: the innermost ones use the snapshot of the outermost. Old pages cannot be
 * reused meanwhile, so unpin before anything that waits. */
enum tg_error sto_reader_pin(struct sto_reader *reader, struct tg_fault *fault);
void sto_reader_unpin(struct sto_reader *reader);

/* The durable order, TG_ERR_NOTFOUND, or TG_ERR_CORRUPT. `life` is filled when `*has_life`. */
enum tg_error sto_read_order(struct sto_reader *reader, uint64_t order_id, struct tg_order_row *row,
                             struct tg_life *life, bool *has_life, struct tg_fault *fault);

/* The durable team, TG_ERR_NOTFOUND, or TG_ERR_CORRUPT. */
enum tg_error sto_read_team(struct sto_reader *reader, uint64_t team_id, struct tg_team *team,
                            struct tg_fault *fault);

/* The order that is known by an ingested order's request id, or TG_ERR_NOTFOUND. */
enum tg_error sto_read_ingested(struct sto_reader *reader,
                                const uint8_t request_id[TG_REQUEST_ID_BYTES], uint64_t *order_id,
                                struct tg_fault *fault);

/* Teams behind `after_team_id`, in the order of ids: calls `visit` with each that `scan_max` allows
 * to look at until it returns false (that one is not counted as looked at). Stores the last id
 * looked at, and whether that was the end. */
enum tg_error sto_read_teams(struct sto_reader *reader, uint64_t after_team_id, uint32_t scan_max,
                             bool (*visit)(void *context, const struct tg_team *team),
                             void *context, uint64_t *last_team_id, bool *end,
                             struct tg_fault *fault);

/* Events behind `after_sequence`, in sequence, ORDER_PLACED among them: fills up to `max` whose
 * type's bit is set in `types`, looks at no more than `scan_max`. `*next_sequence` is how far it
 * looked, `*first` the oldest sequence kept and `*last` the newest, all of one snapshot. When
 * `after_sequence` + 1 is below `*first` nothing is filled, `*next_sequence` is `after_sequence`.
 * An ORDER_PLACED carries what is to be paid for the goods as its amount. A sequence that is
 * missing is TG_ERR_CORRUPT. */
enum tg_error sto_read_events(struct sto_reader *reader, uint64_t after_sequence, uint64_t types,
                              uint32_t max, uint32_t scan_max, struct tg_event *events,
                              uint32_t *filled, uint64_t *next_sequence, uint64_t *first,
                              uint64_t *last, struct tg_fault *fault);

/* Orders behind `after_order_id`, in the order of ids: calls `visit` with each that `scan_max`
 * allows to look at, and with its life (NULL: as accepted), until it returns false (that one is not
 * counted as looked at). Stores the last id looked at, and whether that was the end. What `visit`
 * gets is borrowed for the call. */
enum tg_error sto_read_orders(struct sto_reader *reader, uint64_t after_order_id, uint32_t scan_max,
                              bool (*visit)(void *context, const struct tg_order_row *row,
                                            const struct tg_life *life),
                              void *context, uint64_t *last_order_id, bool *end,
                              struct tg_fault *fault);

/* What there is, as of the newest commit. */
struct sto_figures {
    uint64_t map_bytes;  /* the largest that the file may become */
    uint64_t file_bytes; /* what was ever used of it */
    uint64_t free_bytes; /* of these, in pages that can be used again */
    uint32_t readers;    /* places taken, now or once: LMDB gives none back */
    uint32_t readers_max;
    uint64_t orders; /* rows of tables, from here on */
    uint64_t lives;
    uint64_t events;
    uint64_t teams;
};

/* Cost: a walk of the free list, some 50 ns for each commit whose pages are not used again yet. */
enum tg_error sto_read_figures(struct sto_reader *reader, struct sto_figures *figures,
                               struct tg_fault *fault);

/* --- the offline check (tidegatectl verify) --- */

struct sto_verify_report {
    uint64_t sales;
    uint64_t items;
    uint64_t orders;
    uint64_t adjustments;
    uint64_t units_reserved;
    uint64_t units_sold;
    uint64_t page_errors;        /* pages that are damaged, and what is wrong between pages; then
                                    rows were only held against their checksums */
    uint64_t crc_errors;         /* rows that are damaged */
    uint64_t oversold_items;     /* items whose stock breaks promise 1 */
    uint64_t mismatched_items;   /* stock rows that differ from the sum of their orders or
                                    adjustments; sales, items and stock rows without each other */
    uint64_t duplicate_requests; /* ids that own two orders accepted within their time to live */
    uint64_t limit_breaches;     /* users over an item's per-user limit */
    uint64_t orphan_orders;      /* orders of an item that does not exist; lives, seats, ingested
                                    ids and events of an order that does not */
    uint64_t lives;
    uint64_t teams;
    uint64_t events;
    uint64_t broken_money;  /* orders whose sums do not add up */
    uint64_t broken_teams;  /* teams that are overfull, or whose members are in another state */
    uint64_t broken_events; /* sequences that stand twice or are missing, behind the first kept;
                               orders whose newest event is not the one that they name, or whose
                               steps go back in time; groups beyond the newest sequence */
    uint64_t elapsed_ns;
};

/* Opens the database of `data_dir` read-only on a snapshot (a daemon may be running on it, in
 * another process; its file grows while the snapshot is held) and checks every promise over all of
 * it. Takes 48 bytes of memory for each order, as much again for each user and item that only
 * the lines of carts add, and 16 for each life. Goes on after a finding; `finding` (may be NULL)
 * gets a line for each of the first hundred, `progress` (may be NULL) the orders read so far.
 * Damaged pages end the check of promises: then every row that can be reached is held against its
 * checksum, and no more. Bounded in time and memory by the size of the file, whatever is in it.
 * Returns TG_ERR_OK when nothing is broken, TG_ERR_BROKEN when something is, else why it could not
 * look (TG_ERR_NOTFOUND: no database). */
enum tg_error sto_verify(const char *data_dir, void (*finding)(void *context, const char *line),
                         void (*progress)(void *context, uint64_t orders), void *context,
                         struct sto_verify_report *report, struct tg_fault *fault);

/* --- the hot backup, and its way back (tidegatectl backup, restore) --- */

/* Texts are borrowed for the call. */
struct sto_backup_options {
    const char *from_dir; /* a data directory or a backup; a daemon may be running on it */
    const char *to_dir;   /* made when missing, mode 0700; else empty; at most 4,000 bytes */
    bool without_verify;
    uint64_t growth_bytes_max; /* give up when the source's file grew by more meanwhile; 0: never */
    void *context;             /* of all three below, each of which may be NULL */
    /* After each piece, and again when the copy is verified: how much is copied, of how much.
     * False: it is interrupted. */
    bool (*copied)(void *context, uint64_t bytes, uint64_t bytes_total);
    void (*finding)(void *context, const char *line); /* these two as of sto_verify */
    void (*verified)(void *context, uint64_t orders);
};

struct sto_backup_report {
    uint64_t bytes;        /* copied */
    uint64_t growth_bytes; /* of the source's file, while it was copied */
    uint64_t copy_ns;      /* the sync included */
    struct sto_verify_report verify;
};

/* Copies the newest commit of a database into a directory of its own, from another process than the
 * daemon's, syncs it, verifies the copy as sto_verify does (with its memory), and only then calls
 * it data.mdb: what an end in the middle leaves holds no database (`unfinished/`), and after an
 * error nothing is left that was made here. Holds a snapshot of the source while it copies, not
 * while it verifies: pages that commits free meanwhile are not used again, so the source's file
 * grows by some 4 KiB for each page that a commit touches. Keeps the daemon's lock of `to_dir`.
 *
 * TG_ERR_INVALID (`to_dir` is not empty), TG_ERR_LOCKED (it is in use), TG_ERR_NOTFOUND (no
 * database), TG_ERR_FULL (no room there, or the source grew too much), TG_ERR_BROKEN or
 * TG_ERR_CORRUPT (the copy is not sound: neither is the source, or one of the disks lies),
 * TG_ERR_SYSTEM with the text "interrupted", or why it could not. Blocks signals in a thread of
 * its own; the callbacks are called by the thread that calls. */
enum tg_error sto_backup(const struct sto_backup_options *options, struct sto_backup_report *report,
                         struct tg_fault *fault);

#endif
