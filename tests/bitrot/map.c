#include "tests/bitrot/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_HEAD  16
#define NODE_HEAD  8
#define NO_ROOT    UINT64_MAX
#define OWNERS_MAX 200000u

/* Offsets in a meta page. */
enum {
    META_MAGIC = 16,
    META_VERSION = 20,
    META_ADDRESS = 24,
    META_MAP_BYTES = 32,
    META_FREE = 40,
    META_MAIN = 88,
    META_LAST_PAGE = 136,
    META_TXNID = 144,
    META_END = 152,
};

enum tree {
    TREE_FREE,
    TREE_MAIN,
    TREE_TABLE,
};

const char *map_class_name(enum map_class class)
{
    static const char *const names[MAP_CLASSES] = {
        [MAP_UNUSED] = "unused pages",
        [MAP_META] = "meta page",
        [MAP_META_IDLE] = "meta pages: what is not used",
        [MAP_META_OLDER] = "older meta page: which it is",
        [MAP_PAD] = "between the rows of a page",
        [MAP_HEAD] = "heads and offsets in pages",
        [MAP_BOUND] = "keys of branch pages",
        [MAP_TREES] = "names and heads of tables",
        [MAP_FREE_LIST] = "free list",
        [MAP_FREE_IDLE] = "free list: room, and of when pages are",
        [MAP_KEY] = "keys of rows",
        [MAP_VALUE] = "rows",
        [MAP_LARGE] = "rows in pages of their own",
        [MAP_LARGE_REST] = "the rest of such pages",
    };
    return names[class];
}

bool map_class_lives(enum map_class class)
{
    switch (class) {
    case MAP_META:
    case MAP_META_OLDER:
    case MAP_HEAD:
    case MAP_TREES:
    case MAP_FREE_LIST:
    case MAP_KEY:
    case MAP_VALUE:
    case MAP_LARGE:
        return true;
    case MAP_UNUSED:
    case MAP_META_IDLE:
    case MAP_PAD:
    case MAP_BOUND:
    case MAP_FREE_IDLE:
    case MAP_LARGE_REST:
    case MAP_CLASSES:
        break;
    }
    return false;
}

static void fail(const char *what)
{
    fprintf(stderr, "bitrot: the sound file is not what it should be: %s\n", what);
    exit(3);
}

static uint64_t number_at(const struct map *map, uint64_t at, size_t bytes)
{
    uint64_t number = 0;
    if (at + bytes > map->bytes)
        fail("it ends too early");
    memcpy(&number, map->file + at, bytes);
    return number;
}

static uint32_t owner_new(struct map *map, const char *table, uint64_t row, bool has_row)
{
    if (map->owner_count == OWNERS_MAX)
        fail("too many rows");
    struct map_owner *owner = &map->owner_list[map->owner_count];
    snprintf(owner->table, sizeof(owner->table), "%s", table);
    owner->row = row;
    owner->has_row = has_row;
    return map->owner_count++;
}

static void set(struct map *map, uint64_t at, uint64_t bytes, enum map_class class, uint32_t owner)
{
    if (at + bytes > map->bytes)
        fail("something reaches beyond its end");
    memset(map->classes + at, class, bytes);
    for (uint64_t i = at; i < at + bytes; i++)
        map->owners[i] = owner;
}

/* --- trees --- */

static void tree_map(struct map *map, enum tree kind, const char *table, uint64_t root);

static void page_is_live(struct map *map, uint64_t page)
{
    map->live_pages[map->live_count++] = (uint32_t)page;
}

/* A value in pages of its own; returns nothing of them but their map. */
static void large_map(struct map *map, enum tree kind, uint64_t page, uint64_t size, uint32_t owner)
{
    uint64_t at = page * map->page_bytes, pages = number_at(map, at + 12, 4);
    enum map_class class = kind == TREE_FREE ? MAP_FREE_IDLE : MAP_LARGE;
    for (uint64_t i = 0; i < pages; i++)
        page_is_live(map, page + i);
    set(map, at, pages * map->page_bytes, MAP_LARGE_REST, owner);
    set(map, at, 8, MAP_HEAD, owner);
    set(map, at + 8, 2, MAP_PAD, owner);
    set(map, at + 10, 6, MAP_HEAD, owner);
    set(map, at + PAGE_HEAD, size, class, owner);
    if (kind == TREE_FREE)
        set(map, at + PAGE_HEAD, 8 * (1 + number_at(map, at + PAGE_HEAD, 8)), MAP_FREE_LIST, owner);
}

static void table_found(struct map *map, uint64_t name, uint64_t name_bytes, uint64_t head)
{
    char table[16];
    snprintf(table, sizeof(table), "%.*s", (int)name_bytes, (const char *)map->file + name);
    uint64_t root = number_at(map, head + 40, 8);
    if (root != NO_ROOT)
        tree_map(map, TREE_TABLE, table, root);
}

static void row_map(struct map *map, enum tree kind, const char *table, uint64_t node)
{
    uint64_t size = number_at(map, node, 4), flags = number_at(map, node + 4, 2);
    uint64_t key_bytes = number_at(map, node + 6, 2), key = node + NODE_HEAD;
    uint64_t value = key + key_bytes;
    bool is_number = key_bytes == 4 || key_bytes == 8;
    bool is_named = strcmp(table, "groups") == 0 || strcmp(table, "meta") == 0 || kind == TREE_MAIN;
    uint64_t row = is_number && !is_named ? number_at(map, key, key_bytes) : 0;
    uint32_t owner = owner_new(map, table, row, kind == TREE_TABLE && is_number && !is_named);
    static const struct {
        enum map_class head, key, value;
    } classes[] = {[TREE_FREE] = {MAP_FREE_LIST, MAP_FREE_IDLE, MAP_FREE_IDLE},
                   [TREE_MAIN] = {MAP_TREES, MAP_TREES, MAP_TREES},
                   [TREE_TABLE] = {MAP_HEAD, MAP_KEY, MAP_VALUE}};
    set(map, node, NODE_HEAD, classes[kind].head, owner);
    set(map, key, key_bytes, classes[kind].key, owner);
    if (flags & 1) {
        set(map, value, 8, classes[kind].head, owner);
        /* How long its value says it is, the free list does not go by. */
        if (kind == TREE_FREE)
            set(map, node, 4, MAP_FREE_IDLE, owner);
        large_map(map, kind, number_at(map, value, 8), size, owner);
        return;
    }
    set(map, value, size, classes[kind].value, owner);
    if (kind == TREE_FREE)
        set(map, value, 8 * (1 + number_at(map, value, 8)), MAP_FREE_LIST, owner);
    if (kind == TREE_MAIN)
        table_found(map, key, key_bytes, value);
}

static void tree_map(struct map *map, enum tree kind, const char *table, uint64_t root)
{
    uint64_t at = root * map->page_bytes;
    uint64_t flags = number_at(map, at + 10, 2), lower = number_at(map, at + 12, 2);
    enum map_class class = kind == TREE_FREE   ? MAP_FREE_LIST
                           : kind == TREE_MAIN ? MAP_TREES
                                               : MAP_HEAD;
    uint32_t owner = owner_new(map, table, 0, false);
    page_is_live(map, root);
    set(map, at, map->page_bytes, MAP_PAD, owner);
    set(map, at, 8, class, owner);
    set(map, at + 10, lower - 10, class, owner);
    for (uint64_t i = PAGE_HEAD; i < lower; i += 2) {
        uint64_t node = at + number_at(map, at + i, 2);
        if (flags & 2) {
            row_map(map, kind, table, node);
            continue;
        }
        if (!(flags & 1))
            fail("a page is neither a branch nor a leaf");
        set(map, node, NODE_HEAD, class, owner);
        set(map, node + NODE_HEAD, number_at(map, node + 6, 2), MAP_BOUND, owner);
        tree_map(map, kind, table, number_at(map, node, 6));
    }
}

/* --- the whole --- */

static void meta_map(struct map *map, uint64_t page, bool is_newest)
{
    uint64_t at = page * map->page_bytes;
    uint32_t owner = owner_new(map, "", 0, false);
    enum map_class trees = is_newest ? MAP_META : MAP_META_IDLE;
    enum map_class which = is_newest ? MAP_META : MAP_META_OLDER;
    page_is_live(map, page);
    set(map, at, map->page_bytes, MAP_META_IDLE, owner);
    set(map, at, 8, which, owner);
    set(map, at + 10, 2, which, owner);
    set(map, at + META_MAGIC, 8, which, owner);
    set(map, at + META_FREE, META_TXNID - META_FREE, trees, owner);
    set(map, at + META_FREE, 6, which, owner); /* page size and flags */
    set(map, at + META_TXNID, 8, which, owner);
}

static void index_make(struct map *map)
{
    for (uint64_t i = 0; i < map->bytes; i++)
        map->counts[map->classes[i]]++;
    for (int class = 0; class < MAP_CLASSES; class ++) {
        map->of_class[class] = malloc((map->counts[class] + 1) * sizeof(uint32_t));
        if (!map->of_class[class])
            fail("no memory");
        map->counts[class] = 0;
    }
    for (uint64_t i = 0; i < map->bytes; i++) {
        uint8_t class = map->classes[i];
        map->of_class[class][map->counts[class]++] = (uint32_t)i;
    }
}

void map_make(struct map *map, const uint8_t *file, uint64_t bytes)
{
    *map = (struct map){.file = file, .bytes = bytes};
    map->page_bytes = (uint32_t)number_at(map, META_FREE, 4);
    map->classes = calloc(bytes, 1);
    map->owners = calloc(bytes, sizeof(*map->owners));
    map->owner_list = calloc(OWNERS_MAX, sizeof(*map->owner_list));
    map->live_pages = calloc(bytes / map->page_bytes + 2, sizeof(*map->live_pages));
    if (!map->classes || !map->owners || !map->owner_list || !map->live_pages)
        fail("no memory");
    owner_new(map, "", 0, false);
    uint64_t txnid[2];
    for (uint64_t i = 0; i < 2; i++)
        txnid[i] = number_at(map, i * map->page_bytes + META_TXNID, 8);
    bool newest = txnid[0] < txnid[1];
    meta_map(map, newest, true);
    meta_map(map, !newest, false);
    uint64_t meta = (uint64_t)newest * map->page_bytes;
    uint64_t free_root = number_at(map, meta + META_FREE + 40, 8);
    if (free_root != NO_ROOT)
        tree_map(map, TREE_FREE, "", free_root);
    tree_map(map, TREE_MAIN, "", number_at(map, meta + META_MAIN + 40, 8));
    index_make(map);
}

void map_free(struct map *map)
{
    for (int class = 0; class < MAP_CLASSES; class ++)
        free(map->of_class[class]);
    free(map->live_pages);
    free(map->owner_list);
    free(map->owners);
    free(map->classes);
}
