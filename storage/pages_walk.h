/* The file format of LMDB 0.9.24 on 64-bit little-endian machines, and one walk through it: what
 * pages.c and pages_tree.c share. Private to them.
 *
 *   page    0                8     10      12      14      16
 *          +----------------+-----+-------+-------+-------+--------------------+------+---------+
 *          | number         | pad | flags | lower | upper | offsets of nodes   | free | nodes   |
 *          +----------------+-----+-------+-------+-------+--------------------+------+---------+
 *                                                         16 .. lower                  upper .. end
 *          of the first page of an overflow run lower and upper are one number, of its pages
 *
 *   node    0    2    4       6          8
 *          +----+----+-------+----------+-----+-------------------------------------------------+
 *          | lo | hi | flags | key size | key | value, or the number of its overflow page       |
 *          +----+----+-------+----------+-----+-------------------------------------------------+
 *          of a leaf lo and hi are the size of the value; of a branch lo, hi and flags are the
 *          number of the child; nodes begin at even offsets and fill upper .. end without a hole
 */
#ifndef TG_STORAGE_PAGES_WALK_H
#define TG_STORAGE_PAGES_WALK_H

#include "storage/pages.h"

#define STO_PAGES_META_MAGIC   0xBEEFC0DEu
#define STO_PAGES_META_VERSION 1u
#define STO_PAGES_NO_ROOT      UINT64_MAX
#define STO_PAGES_SIZE_MIN     512u
#define STO_PAGES_SIZE_MAX     32768u
#define STO_PAGES_DEPTH_MAX    32u /* CURSOR_STACK of LMDB */

enum sto_pages_flag {
    STO_PAGES_BRANCH = 0x01,
    STO_PAGES_LEAF = 0x02,
    STO_PAGES_OVERFLOW = 0x04,
    STO_PAGES_META = 0x08,
};

enum sto_pages_node_flag {
    STO_PAGES_BIG = 0x01,   /* the value is in overflow pages */
    STO_PAGES_TABLE = 0x02, /* the value is the head of a table's tree */
};

struct sto_pages_head {
    uint64_t number;
    uint16_t pad;
    uint16_t flags;
    uint16_t lower;
    uint16_t upper;
};

struct sto_pages_node {
    uint16_t lo, hi;
    uint16_t flags;
    uint16_t key_bytes;
};

struct sto_pages_db {
    uint32_t pad; /* of the free list: the page size */
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root;
};

struct sto_pages_meta {
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_bytes;
    struct sto_pages_db free;
    struct sto_pages_db main;
    uint64_t last_page;
    uint64_t txnid;
};

_Static_assert(sizeof(struct sto_pages_head) == 16, "as LMDB writes it");
_Static_assert(sizeof(struct sto_pages_node) == 8, "as LMDB writes it");
_Static_assert(sizeof(struct sto_pages_db) == 48, "as LMDB writes it");
_Static_assert(sizeof(struct sto_pages_meta) == 136, "as LMDB writes it");

/* A key in a page that stays where it is while this is used; NULL: no bound. */
struct sto_pages_key {
    const uint8_t *at;
    uint16_t bytes;
};

struct sto_pages_walk;

struct sto_pages_tree {
    const char *name; /* of its table */
    struct sto_pages_db db;
    uint16_t key_bytes; /* of each key; 0: of any size, compared as bytes */
    uint16_t branch_keys_min;
    bool is_main;           /* its rows are heads of other trees */
    uint32_t row_bytes_max; /* 0: as large as the file holds */
    /* Every row, in the order of its page; NULL: nobody asks. */
    void (*row)(struct sto_pages_walk *w, struct sto_pages_tree *tree, const MDB_val *key,
                const MDB_val *value);
    void *context;
    struct sto_pages_db found; /* what the walk counted */
    bool damaged;              /* so what was counted means nothing */
};

struct sto_pages_walk {
    const struct sto_pages_look *look;
    struct sto_pages_report *report;
    struct tg_fault *fault;
    struct tg_fault unheard; /* of a caller that did not ask */
    const char *data_dir;
    bool stopped; /* the looker has enough */

    int fd;
    uint32_t page_bytes;
    uint64_t file_bytes;
    struct sto_pages_meta meta; /* that is looked at */
    uint64_t page_count;        /* of the file, as this meta page says; a number is below it */

    uint64_t *used; /* bits: pages in trees */
    uint64_t *free; /* bits: pages in the free list */
    size_t bits_bytes;

    uint8_t *levels; /* a branch page for each level of the tree under way, STO_PAGES_DEPTH_MAX */
    uint8_t *window; /* pages read ahead */
    uint64_t window_first;
    uint32_t window_count;
    uint64_t last_read;
    uint8_t *value; /* of a row in overflow pages */
    size_t value_room;
    char problem[160]; /* what the last call found wrong, when it takes a number to say */

    uint64_t free_last;  /* newest transaction of the free list; 0: it is empty */
    uint64_t free_count; /* page numbers in it */
};

/* Tells a damage. */
void sto_pages_damage(struct sto_pages_walk *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* These say what is wrong, or NULL. Their words are good until the next of them.
 *
 * A page of the file, borrowed until the next read; the first `bytes` of one; a value that begins
 * `skip` bytes into one, of value->mv_size bytes, borrowed until the next value. */
const char *sto_pages_read(struct sto_pages_walk *w, uint64_t number, const uint8_t **page);
const char *sto_pages_read_run(struct sto_pages_walk *w, uint64_t number, size_t bytes, void *to);
const char *sto_pages_read_value(struct sto_pages_walk *w, uint64_t number, size_t skip,
                                 MDB_val *value);
/* Takes pages as parts of a tree: they must be in the file, in no tree yet, and not free. */
const char *sto_pages_take(struct sto_pages_walk *w, uint64_t number, uint64_t count);

/* Walks through a tree and holds it against its head. */
void sto_pages_tree_walk(struct sto_pages_walk *w, struct sto_pages_tree *tree);

/* The last key of a tree of 64-bit keys, by its last pages alone; 0 when it is empty. What is
 * wrong, or NULL. Takes no page. */
const char *sto_pages_tree_last(struct sto_pages_walk *w, const struct sto_pages_tree *tree,
                                uint64_t *key);

#endif
