/* A look at the pages of the data file, beneath LMDB: what LMDB 0.9.24 believes without a question,
 * and would crash on, loop on, or silently skip rows for, when a bit of it has turned.
 * docs/bit-rot.md tells why each rule holds. Private to this room.
 *
 * It reads with pread, never through the map: a page that the disk cannot give any more is told as
 * damage, and does not end the process. Threads: any; it keeps nothing. The daemon looks before it
 * opens LMDB, under its lock; verify looks at the snapshot that it holds.
 *
 *   meta pages 0 and 1 -> the newest
 *                           |-> free list:  transaction -> numbers of the pages that it freed
 *                           '-> main tree:  name -> root of a table's tree
 *
 * When it finds nothing, then every page from 2 to the last is in exactly one tree, once, or in the
 * free list, once; every tree holds as many pages and rows as its head says, at one depth, with its
 * keys in order; and the meta page is that of the newest commit that was ever made durable. Rows
 * are not its matter: they have checksums. */
#ifndef TG_STORAGE_PAGES_H
#define TG_STORAGE_PAGES_H

#include "storage/env.h"

/* No row of any table is larger; a larger one is damage. */
#define STO_PAGES_ROW_MAX 65536u

/* Instead of a snapshot: the newest commit. */
#define STO_PAGES_NEWEST UINT64_MAX

struct sto_pages_look {
    void *context;
    /* One damage, with the page, its kind, its table and its rows as far as they are known. False:
     * enough, the look ends. NULL: it ends at the first. */
    bool (*damage)(void *context, const char *line);
    /* Every row that can be reached, of sound and of damaged pages; borrowed for the call. May be
     * NULL. */
    void (*row)(void *context, const char *table, const MDB_val *key, const MDB_val *value);
};

struct sto_pages_report {
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t free_pages;
    uint64_t rows;
    uint64_t damages;
    uint64_t txnid; /* of the commit that was looked at */
};

/* Looks at the commit `txnid` of data.mdb in `data_dir`. TG_ERR_OK: sound. TG_ERR_CORRUPT: damaged;
 * `fault` has the first damage and what to do. TG_ERR_TIMEOUT: it is not the newest commit nor the
 * one before it any more. Else why it could not look. A file that LMDB has not yet written to is
 * sound, and so is none. Cost: 5 ns a row and 1 us a page, and a bit of memory for each page
 * of the file; bounded by the size of the file, whatever is in it. */
enum tg_error sto_pages_look(const char *data_dir, uint64_t txnid,
                             const struct sto_pages_look *look, struct sto_pages_report *report,
                             struct tg_fault *fault);

/* Only what LMDB needs to open the file without harm: both meta pages are meta pages, of one page
 * size. For verify, which opens before it has a snapshot. */
enum tg_error sto_pages_can_open(const char *data_dir, struct tg_fault *fault);

/* --- the mark of a commit whose outcome nobody knows --- */

/* A meta page that LMDB could not write it puts back in part: its trees are those of the commit
 * that failed, its number that of an older one. Bit rot can look the same, and then a commit was
 * lost. So a process that must stop for a commit leaves the number of the one before it in this
 * file of the directory, and the next start takes that one. Best effort: without the file the next
 * start refuses, and says what to do. Writer thread. */
#define STO_PAGES_UNKNOWN_MARK "outcome-unknown"

void sto_pages_mark_set(MDB_env *lmdb, int dir_fd);

#endif
