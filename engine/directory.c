#include "engine/directory.h"

#include "base/assert.h"
#include "base/mem.h"

/* Directory bits beyond those that name every segment once: room for uneven hashes. */
#define SPARE_BITS 3

enum tg_error eng_directory_create(struct eng_directory *directory, uint32_t segments_max,
                                   struct tg_fault *fault)
{
    tg_assert(segments_max > 0);
    uint32_t depth_max = SPARE_BITS;
    while ((1u << (depth_max - SPARE_BITS)) < segments_max)
        depth_max++;
    *directory = (struct eng_directory){
        .entries = tg_mem_map((1ull << depth_max) * sizeof(uint32_t)),
        .depth_max = depth_max,
        .local_depth = tg_mem_map(segments_max),
        .counts = tg_mem_map(segments_max * sizeof(uint32_t)),
        .segment_count = 1,
        .segments_max = segments_max,
    };
    if (directory->entries && directory->local_depth && directory->counts)
        return TG_ERR_OK;
    eng_directory_destroy(directory);
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a directory of %u segments",
                        segments_max);
}

void eng_directory_destroy(struct eng_directory *directory)
{
    tg_mem_unmap((void *)directory->entries, (1ull << directory->depth_max) * sizeof(uint32_t));
    tg_mem_unmap(directory->local_depth, directory->segments_max);
    tg_mem_unmap(directory->counts, directory->segments_max * sizeof(uint32_t));
    *directory = (struct eng_directory){0};
}

uint32_t eng_directory_fresh(struct eng_directory *directory, uint32_t segment, uint64_t *split_bit)
{
    uint32_t local = directory->local_depth[segment];
    if (directory->segment_count == directory->segments_max || local == directory->depth_max)
        return ENG_SEGMENT_NONE;
    *split_bit = 1ull << local;
    return directory->segment_count++;
}

/* Twice as many entries, the new half a copy of the old: no reader can tell before the depth says
 * so. */
static void double_entries(struct eng_directory *directory, uint32_t depth)
{
    uint32_t count = 1u << depth;
    for (uint32_t i = 0; i < count; i++)
        atomic_store_explicit(&directory->entries[count + i],
                              atomic_load_explicit(&directory->entries[i], memory_order_relaxed),
                              memory_order_relaxed);
    /* pairs with the load in eng_directory_segment */
    atomic_store_explicit(&directory->depth, depth + 1, memory_order_seq_cst);
}

void eng_directory_publish(struct eng_directory *directory, uint32_t segment, uint32_t fresh,
                           uint64_t bits)
{
    uint32_t local = directory->local_depth[segment];
    uint32_t depth = atomic_load_explicit(&directory->depth, memory_order_relaxed);
    tg_assert(local <= depth);
    if (local == depth)
        double_entries(directory, depth++);
    directory->local_depth[segment] = directory->local_depth[fresh] = (uint8_t)(local + 1);
    uint32_t step = 1u << (local + 1);
    uint32_t first = ((uint32_t)bits & (step / 2 - 1)) | step / 2;
    for (uint32_t i = first; i < 1u << depth; i += step) {
        tg_assert(atomic_load_explicit(&directory->entries[i], memory_order_relaxed) == segment);
        /* pairs with the load in eng_directory_segment */
        atomic_store_explicit(&directory->entries[i], fresh, memory_order_seq_cst);
    }
}
