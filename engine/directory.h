/* Extendible hashing: the growing half of the engine's hash tables.
 *
 * A table is a set of segments of one fixed size; the directory maps the low bits of a hash to a
 * segment. A segment that is full is split in two by one more bit, and when no entry of the
 * directory tells the halves apart, the directory doubles. So a table is as large as what it holds:
 * ten thousand orders lie in the processor's cache, and no insertion waits for more than one
 * segment to be moved. (Fagin, Nievergelt, Pippenger and Strong, "Extendible hashing: a fast access
 * method for dynamic files", 1979.)
 *
 *   hash bits ..| 2 1 0 |           entries               segments
 *                 depth 2:   00 ----------------------> [ local depth 1 ]
 *                            01 ----------------------> [ local depth 2 ]
 *                            10 --- to the first ------^
 *                            11 ----------------------> [ local depth 2 ]
 *
 * One thread writes; others may read eng_directory_segment at any time. What the segments hold, and
 * how readers stay right while one is split, is the table's business; the order of a split makes it
 * possible: fill the fresh segment, publish it here, then clear what moved from the old one. A
 * reader that misses looks whether the directory still says the same, and else looks again.
 */
#ifndef TG_ENGINE_DIRECTORY_H
#define TG_ENGINE_DIRECTORY_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ENG_SEGMENT_NONE UINT32_MAX

struct eng_directory {
    _Atomic uint32_t *entries; /* segment numbers; 1 << depth_max reserved, 1 << depth in use */
    _Atomic uint32_t depth;
    uint32_t depth_max;
    uint8_t *local_depth; /* of each segment */
    uint32_t *counts;     /* of each segment: what the table has in it; the table's to keep */
    uint32_t segment_count;
    uint32_t segments_max;
};

/* Reserves room for `segments_max` segments; there is one at first, number 0. */
enum tg_error eng_directory_create(struct eng_directory *directory, uint32_t segments_max,
                                   struct tg_fault *fault);
void eng_directory_destroy(struct eng_directory *directory);

/* Any thread: the segment for these hash bits. */
static inline uint32_t eng_directory_segment(const struct eng_directory *directory, uint64_t bits)
{
    /* Both pair with the stores in eng_directory_publish. Sequentially consistent for the sake of
     * eng_requests_find; on x86 a plain load. */
    uint32_t depth = atomic_load_explicit(&directory->depth, memory_order_seq_cst);
    return atomic_load_explicit(&directory->entries[bits & ((1ull << depth) - 1)],
                                memory_order_seq_cst);
}

/* The segment that will take half of `segment`, or ENG_SEGMENT_NONE when there is no room. Entries
 * whose hash has the bit `*split_bit` (a mask) belong to it. */
uint32_t eng_directory_fresh(struct eng_directory *directory, uint32_t segment,
                             uint64_t *split_bit);

/* The fresh segment is filled: `bits` is the hash of any entry of the old one. */
void eng_directory_publish(struct eng_directory *directory, uint32_t segment, uint32_t fresh,
                           uint64_t bits);

#endif
