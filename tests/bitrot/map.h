/* What each byte of a sound data file is, worked out anew: it shares no line with storage/pages.c,
 * so that a mistake there is not repeated here. One thread. Whoever cannot be told what a byte is
 * ends the program. */
#ifndef TG_TESTS_BITROT_MAP_H
#define TG_TESTS_BITROT_MAP_H

#include <stdbool.h>
#include <stdint.h>

/* What lives must be missed when it is damaged; what does not may change nothing. */
enum map_class {
    MAP_UNUSED,     /* a page that no tree has: free, or behind the last */
    MAP_META,       /* the newest meta page: what LMDB goes by */
    MAP_META_IDLE,  /* its map size and address, its unused rest, all of the older one's trees */
    MAP_META_OLDER, /* of the older one: what says which is newer */
    MAP_PAD,        /* between rows, and two bytes of each page head */
    MAP_HEAD,       /* page heads, offsets and row heads of tables */
    MAP_BOUND,      /* the keys of branch pages: another may bound as well */
    MAP_TREES,      /* names and heads of tables */
    MAP_FREE_LIST,  /* its pages: heads and the numbers in use */
    MAP_FREE_IDLE,  /* room in its rows that no number is in; the transactions that freed them: all
                       are over at a start, only the newest is held against the meta page */
    MAP_KEY,        /* of rows */
    MAP_VALUE,
    MAP_LARGE,      /* values in pages of their own, and heads of those */
    MAP_LARGE_REST, /* the rest of their last page */
    MAP_CLASSES,
};

const char *map_class_name(enum map_class class);
/* A change there must be refused. Else it may be refused, or must change nothing. */
bool map_class_lives(enum map_class class);

/* Where a byte belongs, to see whether what is told of it names it. */
struct map_owner {
    char table[16]; /* "": none */
    uint64_t row;   /* its number; of the rows of integer keys alone */
    bool has_row;
};

struct map {
    const uint8_t *file; /* borrowed */
    uint64_t bytes;
    uint32_t page_bytes;
    uint8_t *classes; /* enum map_class of each byte */
    uint32_t *owners; /* of each byte: number in owner_list */
    struct map_owner *owner_list;
    uint32_t owner_count;
    uint32_t *of_class[MAP_CLASSES]; /* positions of the bytes of each */
    uint32_t counts[MAP_CLASSES];
    uint32_t *live_pages; /* numbers */
    uint32_t live_count;
};

void map_make(struct map *map, const uint8_t *file, uint64_t bytes);
void map_free(struct map *map);

#endif
