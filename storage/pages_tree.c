/* One tree of pages: from its root to its rows. Branch pages are kept, one for each level, while
 * their children are looked at: the keys that bound a child lie in them. */
#include "storage/pages_walk.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES ((uint32_t)sizeof(struct sto_pages_head))
#define NODE_BYTES ((uint32_t)sizeof(struct sto_pages_node))
#define KEYS_MAX   (STO_PAGES_SIZE_MAX / 2)

/* A page under the eye. */
struct place {
    const uint8_t *page;
    uint64_t number;
    uint32_t level;                         /* of the root 1 */
    const struct sto_pages_key *low, *high; /* NULL: none. Keys lie in low .. below high. */
};

/* --- words --- */

static size_t key_print(char *text, size_t size, const struct sto_pages_tree *tree,
                        const struct sto_pages_key *key)
{
    uint64_t number = 0;
    size_t used = 0;
    if (tree->key_bytes) {
        memcpy(&number, key->at, tree->key_bytes);
        return (size_t)snprintf(text, size, "%llu", (unsigned long long)number);
    }
    text[0] = 0;
    for (size_t i = 0; i < key->bytes && i < 8; i++)
        used += (size_t)snprintf(text + used, size - used, isalnum(key->at[i]) ? "%c" : "%02x",
                                 key->at[i]);
    if (key->bytes > 8)
        used += (size_t)snprintf(text + used, size - used, "...");
    return used;
}

/* "leaf of table orders, rows from 1024, below 4096" */
static const char *describe(const struct sto_pages_tree *tree, const struct place *place,
                            const char *kind, char text[160])
{
    char low[48], high[48];
    size_t used = (size_t)snprintf(text, 160, "%s of %s", kind, tree->name);
    if (place->low) {
        key_print(low, sizeof(low), tree, place->low);
        used += (size_t)snprintf(text + used, 160 - used, ", rows from %s", low);
    }
    if (place->high) {
        key_print(high, sizeof(high), tree, place->high);
        used += (size_t)snprintf(text + used, 160 - used, "%s below %s",
                                 place->low ? "," : ", rows", high);
    }
    if (!place->low && !place->high)
        snprintf(text + used, 160 - used, ", all its rows");
    return text;
}

static const char *kind_of(const uint8_t *page)
{
    struct sto_pages_head head = {0};
    if (page)
        memcpy(&head, page, sizeof(head));
    return head.flags == STO_PAGES_BRANCH ? "branch"
           : head.flags == STO_PAGES_LEAF ? "leaf"
                                          : "page";
}

/* Tells a damage of a page of this tree. Always false. */
static bool damaged(struct sto_pages_walk *w, struct sto_pages_tree *tree,
                    const struct place *place, const char *problem)
{
    char text[160];
    tree->damaged = true;
    sto_pages_damage(w, "page %llu (%s): %s", (unsigned long long)place->number,
                     describe(tree, place, kind_of(place->page), text), problem);
    return false;
}

/* --- nodes --- */

static struct sto_pages_head head_of(const uint8_t *page)
{
    struct sto_pages_head head;
    memcpy(&head, page, sizeof(head));
    return head;
}

static inline uint32_t offset_of(const uint8_t *page, uint32_t i)
{
    uint16_t offset;
    memcpy(&offset, page + HEAD_BYTES + (size_t)2 * i, sizeof(offset));
    return offset;
}

static inline struct sto_pages_node node_at(const uint8_t *page, uint32_t offset)
{
    struct sto_pages_node node;
    memcpy(&node, page + offset, sizeof(node));
    return node;
}

static inline uint32_t value_bytes(const struct sto_pages_node *node)
{
    return node->lo | (uint32_t)node->hi << 16;
}

static inline uint64_t child_of(const struct sto_pages_node *node)
{
    return node->lo | (uint64_t)node->hi << 16 | (uint64_t)node->flags << 32;
}

static inline struct sto_pages_key key_at(const uint8_t *page, uint32_t i)
{
    uint32_t offset = offset_of(page, i);
    return (struct sto_pages_key){page + offset + NODE_BYTES, node_at(page, offset).key_bytes};
}

/* What the node takes of its page. 0: it is no node of such a page. */
static inline uint64_t node_bytes(const struct sto_pages_node *node,
                                  const struct sto_pages_tree *tree, bool is_branch)
{
    uint64_t bytes = NODE_BYTES + node->key_bytes;
    if (!is_branch) {
        if (tree->is_main ? node->flags != STO_PAGES_TABLE : node->flags & ~STO_PAGES_BIG)
            return 0;
        bytes += node->flags & STO_PAGES_BIG ? sizeof(uint64_t) : value_bytes(node);
    }
    return (bytes + 1) & ~1ull;
}

/* Whether the nodes fill the page from `upper` to its end, when they do not lie in the order of
 * their keys: each must begin where another ends. */
static bool nodes_tile(const struct sto_pages_walk *w, const struct sto_pages_tree *tree,
                       const uint8_t *page, bool is_branch, uint32_t count)
{
    uint64_t begins[KEYS_MAX / 64] = {0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t half = offset_of(page, i) / 2;
        if (begins[half / 64] >> half % 64 & 1)
            return false;
        begins[half / 64] |= 1ull << half % 64;
    }
    uint64_t at = head_of(page).upper;
    for (; at < w->page_bytes; count--) {
        if (count == 0 || !(begins[at / 2 / 64] >> at / 2 % 64 & 1))
            return false;
        struct sto_pages_node node = node_at(page, (uint32_t)at);
        at += node_bytes(&node, tree, is_branch);
    }
    return count == 0;
}

/* Whether every node is one, in the page, and none lies over another. */
static const char *nodes_problem(const struct sto_pages_walk *w, const struct sto_pages_tree *tree,
                                 const uint8_t *page, bool is_branch)
{
    struct sto_pages_head head = head_of(page);
    if (head.lower < HEAD_BYTES || head.lower % 2 || head.upper % 2 || head.upper < head.lower ||
        head.upper > w->page_bytes)
        return "its bounds are not those of a page";
    uint32_t count = (head.lower - HEAD_BYTES) / 2;
    uint64_t end = w->page_bytes;
    bool in_order = true;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = offset_of(page, i);
        if (offset < head.upper || offset % 2 || offset + NODE_BYTES > w->page_bytes)
            return "the offset of a row is not in its page";
        struct sto_pages_node node = node_at(page, offset);
        uint64_t bytes = node_bytes(&node, tree, is_branch);
        if (bytes == 0 || offset + bytes > w->page_bytes)
            return "a row reaches beyond its page";
        in_order &= offset + bytes == end;
        end = offset;
    }
    if ((in_order && end == head.upper) || nodes_tile(w, tree, page, is_branch, count))
        return NULL;
    return "its rows do not fill the room that they should";
}

/* --- keys --- */

static inline uint64_t number_of(const struct sto_pages_tree *tree, const struct sto_pages_key *key)
{
    uint64_t number = 0;
    if (tree->key_bytes == sizeof(number))
        memcpy(&number, key->at, sizeof(number));
    else
        memcpy(&number, key->at, sizeof(uint32_t));
    return number;
}

static inline bool is_below(const struct sto_pages_tree *tree, const struct sto_pages_key *a,
                            const struct sto_pages_key *b)
{
    if (tree->key_bytes)
        return number_of(tree, a) < number_of(tree, b);
    int order = memcmp(a->at, b->at, a->bytes < b->bytes ? a->bytes : b->bytes);
    return order ? order < 0 : a->bytes < b->bytes;
}

/* The first key of a branch page stands for nothing. */
static const char *keys_problem(const struct sto_pages_tree *tree, const struct place *place,
                                uint32_t first, uint32_t count)
{
    struct sto_pages_key before = place->low ? *place->low : (struct sto_pages_key){0};
    for (uint32_t i = first; i < count; i++) {
        struct sto_pages_key key = key_at(place->page, i);
        if (tree->key_bytes ? key.bytes != tree->key_bytes : key.bytes == 0)
            return "a key has the wrong size";
        if (before.at && (i == 0 ? is_below(tree, &key, &before) : !is_below(tree, &before, &key)))
            return i == first ? "its first key is below those of its branch"
                              : "its keys are not in order";
        before = key;
    }
    if (count > first && place->high && !is_below(tree, &before, place->high))
        return "its last key is above those of its branch";
    return NULL;
}

/* --- rows --- */

/* Finds the value that a node says is in pages of its own; what is wrong, or NULL. */
static const char *overflow_find(struct sto_pages_walk *w, struct sto_pages_tree *tree,
                                 uint64_t number, MDB_val *value)
{
    struct sto_pages_head head;
    uint32_t pages;
    const char *problem = sto_pages_read_run(w, number, sizeof(head), &head);
    if (problem)
        return problem;
    memcpy(&pages, &head.lower, sizeof(pages));
    if (head.number != number || head.flags != STO_PAGES_OVERFLOW ||
        (uint64_t)pages * w->page_bytes < HEAD_BYTES + value->mv_size)
        return "the pages of one of its rows do not begin as such";
    if (tree->row_bytes_max && value->mv_size > tree->row_bytes_max)
        return "one of its rows is larger than any can be";
    problem = sto_pages_take(w, number, pages);
    if (problem)
        return problem;
    tree->found.overflow_pages += pages;
    return sto_pages_read_value(w, number, HEAD_BYTES, value);
}

static void row_give(struct sto_pages_walk *w, struct sto_pages_tree *tree,
                     const struct place *place, uint32_t offset)
{
    struct sto_pages_node node = node_at(place->page, offset);
    const uint8_t *at = place->page + offset + NODE_BYTES;
    MDB_val key = {node.key_bytes, (void *)(uintptr_t)at};
    MDB_val value = {value_bytes(&node), (void *)(uintptr_t)(at + node.key_bytes)};
    if (node.flags & STO_PAGES_BIG) {
        uint64_t number;
        memcpy(&number, value.mv_data, sizeof(number));
        const char *problem = overflow_find(w, tree, number, &value);
        if (problem) {
            damaged(w, tree, place, problem);
            return;
        }
    }
    if (tree->row)
        tree->row(w, tree, &key, &value);
}

static void rows_give(struct sto_pages_walk *w, struct sto_pages_tree *tree,
                      const struct place *place, uint32_t count)
{
    for (uint32_t i = 0; i < count && !w->stopped; i++) {
        uint32_t offset = offset_of(place->page, i);
        if (tree->row || node_at(place->page, offset).flags & STO_PAGES_BIG)
            row_give(w, tree, place, offset);
    }
}

/* --- pages --- */

/* Whether a leaf of 64-bit keys is what nearly every one of a large file is: its nodes lie in the
 * order of their keys, without a hole, each with its value inside the page. It is sound then: this
 * is what nodes_problem and keys_problem ask, at a quarter of their cost. False: ask these. */
static bool leaf_is_plain(const struct sto_pages_walk *w, const struct place *place)
{
    struct sto_pages_head head = head_of(place->page);
    if (head.lower <= HEAD_BYTES || head.lower % 2 || head.upper % 2 || head.upper < head.lower ||
        head.upper > w->page_bytes)
        return false;
    uint32_t count = (head.lower - HEAD_BYTES) / 2;
    uint32_t end = w->page_bytes;
    uint64_t before = 0, key;
    if (place->low)
        memcpy(&before, place->low->at, sizeof(before));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = offset_of(place->page, i);
        if (offset < head.upper || offset % 2 || offset + NODE_BYTES + sizeof(key) > end)
            return false;
        struct sto_pages_node node = node_at(place->page, offset);
        uint64_t bytes = NODE_BYTES + sizeof(key) + (uint64_t)value_bytes(&node);
        memcpy(&key, place->page + offset + NODE_BYTES, sizeof(key));
        bool follows = key > before || (i == 0 && (!place->low || key == before));
        if (node.flags != 0 || node.key_bytes != sizeof(key) || !follows ||
            offset + ((bytes + 1) & ~1ull) != end)
            return false;
        before = key;
        end = offset;
    }
    if (!place->high)
        return end == head.upper;
    memcpy(&key, place->high->at, sizeof(key));
    return end == head.upper && before < key;
}

static bool leaf_walk(struct sto_pages_walk *w, struct sto_pages_tree *tree,
                      const struct place *place)
{
    bool is_plain = tree->key_bytes == sizeof(uint64_t) && leaf_is_plain(w, place);
    const char *problem = is_plain ? NULL : nodes_problem(w, tree, place->page, false);
    if (problem)
        return damaged(w, tree, place, problem);
    uint32_t count = (head_of(place->page).lower - HEAD_BYTES) / 2;
    if (count == 0)
        return damaged(w, tree, place, "it is empty");
    problem = is_plain ? NULL : keys_problem(tree, place, 0, count);
    if (problem)
        damaged(w, tree, place, problem);
    if (tree->found.depth == 0)
        tree->found.depth = (uint16_t)place->level;
    else if (tree->found.depth != place->level)
        damaged(w, tree, place, "it is not as deep as the others");
    tree->found.leaf_pages++;
    tree->found.entries += count;
    if (tree->row || !is_plain)
        rows_give(w, tree, place, count);
    return true;
}

static void page_walk(struct sto_pages_walk *w, struct sto_pages_tree *tree, struct place place);

static bool branch_walk(struct sto_pages_walk *w, struct sto_pages_tree *tree, struct place place)
{
    const char *problem = nodes_problem(w, tree, place.page, true);
    if (problem)
        return damaged(w, tree, &place, problem);
    uint32_t count = (head_of(place.page).lower - HEAD_BYTES) / 2;
    if (count < tree->branch_keys_min)
        return damaged(w, tree, &place, "it has too few children");
    problem = keys_problem(tree, &place, 1, count);
    if (problem)
        return damaged(w, tree, &place, problem);
    if (place.level == STO_PAGES_DEPTH_MAX)
        return damaged(w, tree, &place, "the tree is deeper than any");
    tree->found.branch_pages++;
    uint8_t *kept = w->levels + (size_t)place.level * w->page_bytes;
    memcpy(kept, place.page, w->page_bytes);
    for (uint32_t i = 0; i < count && !w->stopped; i++) {
        struct sto_pages_node node = node_at(kept, offset_of(kept, i));
        struct sto_pages_key low = key_at(kept, i);
        struct sto_pages_key high = i + 1 < count ? key_at(kept, i + 1) : low;
        page_walk(w, tree,
                  (struct place){.number = child_of(&node),
                                 .level = place.level + 1,
                                 .low = i > 0 ? &low : place.low,
                                 .high = i + 1 < count ? &high : place.high});
    }
    return true;
}

static void page_walk(struct sto_pages_walk *w, struct sto_pages_tree *tree, struct place place)
{
    const char *problem = sto_pages_take(w, place.number, 1);
    if (!problem)
        problem = sto_pages_read(w, place.number, &place.page);
    if (problem) {
        damaged(w, tree, &place, problem);
        return;
    }
    struct sto_pages_head head = head_of(place.page);
    if (head.number != place.number)
        damaged(w, tree, &place, "it says that it is another page");
    else if (head.flags == STO_PAGES_LEAF)
        leaf_walk(w, tree, &place);
    else if (head.flags == STO_PAGES_BRANCH)
        branch_walk(w, tree, place);
    else
        damaged(w, tree, &place, "it is neither a branch nor a leaf");
}

/* --- trees --- */

static void count_judge(struct sto_pages_walk *w, const struct sto_pages_tree *tree,
                        const char *what, uint64_t said, uint64_t found)
{
    if (said != found)
        sto_pages_damage(w, "the head of %s says %s %llu, and it is %llu", tree->name, what,
                         (unsigned long long)said, (unsigned long long)found);
}

void sto_pages_tree_walk(struct sto_pages_walk *w, struct sto_pages_tree *tree)
{
    const struct sto_pages_db *db = &tree->db, *found = &tree->found;
    if (db->root != STO_PAGES_NO_ROOT)
        page_walk(w, tree, (struct place){.number = db->root, .level = 1});
    w->report->branch_pages += found->branch_pages;
    w->report->leaf_pages += found->leaf_pages;
    w->report->overflow_pages += found->overflow_pages;
    w->report->rows += found->entries;
    if (tree->damaged || w->stopped)
        return;
    count_judge(w, tree, "depth", db->depth, found->depth);
    count_judge(w, tree, "rows", db->entries, found->entries);
    count_judge(w, tree, "branch pages", db->branch_pages, found->branch_pages);
    count_judge(w, tree, "leaf pages", db->leaf_pages, found->leaf_pages);
    count_judge(w, tree, "overflow pages", db->overflow_pages, found->overflow_pages);
}

const char *sto_pages_tree_last(struct sto_pages_walk *w, const struct sto_pages_tree *tree,
                                uint64_t *key)
{
    uint64_t number = tree->db.root;
    const uint8_t *page;
    *key = 0;
    if (number == STO_PAGES_NO_ROOT)
        return NULL;
    for (uint32_t level = 1; level <= STO_PAGES_DEPTH_MAX; level++) {
        const char *problem = sto_pages_read(w, number, &page);
        if (problem)
            return problem;
        struct sto_pages_head head = head_of(page);
        bool is_branch = head.flags == STO_PAGES_BRANCH;
        if (head.number != number || (!is_branch && head.flags != STO_PAGES_LEAF) ||
            nodes_problem(w, tree, page, is_branch) || head.lower == HEAD_BYTES)
            return "its pages are no tree";
        uint32_t last = (head.lower - HEAD_BYTES) / 2 - 1;
        struct sto_pages_node node = node_at(page, offset_of(page, last));
        if (!is_branch) {
            struct sto_pages_key found = key_at(page, last);
            if (found.bytes != sizeof(*key))
                return "its last key has the wrong size";
            *key = number_of(tree, &found);
            return NULL;
        }
        number = child_of(&node);
    }
    return "it is deeper than any";
}
