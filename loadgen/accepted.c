#include "loadgen/accepted.h"

#include <stdlib.h>
#include <string.h>

bool lg_accepted_add(struct lg_accepted *list, uint64_t number, uint64_t order_id)
{
    uint64_t at = atomic_load_explicit(&list->count, memory_order_relaxed);
    uint64_t chunk = at / LG_ACCEPTED_CHUNK;
    if (at % LG_ACCEPTED_CHUNK == 0) {
        if (chunk >= LG_ACCEPTED_CHUNKS_MAX)
            return false;
        list->chunks[chunk] = malloc(LG_ACCEPTED_CHUNK * sizeof(struct lg_accept));
        if (!list->chunks[chunk])
            return false;
    }
    list->chunks[chunk][at % LG_ACCEPTED_CHUNK] = (struct lg_accept){number, order_id};
    /* pairs with the acquire in lg_accepted_count */
    atomic_store_explicit(&list->count, at + 1, memory_order_release);
    return true;
}

const struct lg_accept *lg_accepted_run(const struct lg_accepted *list, uint64_t first,
                                        uint64_t end, uint64_t *count)
{
    uint64_t left = end - first;
    uint64_t in_chunk = LG_ACCEPTED_CHUNK - first % LG_ACCEPTED_CHUNK;
    *count = left < in_chunk ? left : in_chunk;
    if (!*count)
        return NULL;
    return &list->chunks[first / LG_ACCEPTED_CHUNK][first % LG_ACCEPTED_CHUNK];
}

void lg_accepted_fini(struct lg_accepted *list)
{
    for (uint32_t i = 0; i < LG_ACCEPTED_CHUNKS_MAX && list->chunks[i]; i++) {
        free(list->chunks[i]);
        list->chunks[i] = NULL;
    }
    atomic_store_explicit(&list->count, 0, memory_order_relaxed);
}

struct lg_accept *lg_accepted_flatten(struct lg_accepted *const *lists, uint32_t list_count,
                                      uint64_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < list_count; i++)
        *count += lg_accepted_count(lists[i]);
    struct lg_accept *all = *count ? malloc(*count * sizeof(*all)) : NULL;
    if (!all)
        return NULL;
    uint64_t filled = 0;
    for (uint32_t i = 0; i < list_count; i++) {
        uint64_t end = lg_accepted_count(lists[i]), run;
        for (uint64_t at = 0; at < end; at += run) {
            const struct lg_accept *from = lg_accepted_run(lists[i], at, end, &run);
            memcpy(all + filled, from, run * sizeof(*all));
            filled += run;
            /* Free as we go: at twenty million answers, two copies are worth avoiding. */
            free(lists[i]->chunks[at / LG_ACCEPTED_CHUNK]);
            lists[i]->chunks[at / LG_ACCEPTED_CHUNK] = NULL;
        }
        atomic_store_explicit(&lists[i]->count, 0, memory_order_relaxed);
    }
    return all;
}

#define DIGIT_BITS 11
#define DIGITS     (1u << DIGIT_BITS)

static void radix_pass(const struct lg_accept *from, struct lg_accept *to, uint64_t count,
                       uint32_t shift, uint64_t *places)
{
    memset(places, 0, DIGITS * sizeof(*places));
    for (uint64_t i = 0; i < count; i++)
        places[(from[i].order_id >> shift) & (DIGITS - 1)]++;
    uint64_t sum = 0;
    for (uint32_t d = 0; d < DIGITS; d++) {
        uint64_t here = places[d];
        places[d] = sum;
        sum += here;
    }
    for (uint64_t i = 0; i < count; i++)
        to[places[(from[i].order_id >> shift) & (DIGITS - 1)]++] = from[i];
}

/* A stable radix sort from the lowest digit; digits that all ids share are skipped. Comparison
 * sorts take seconds on what this does in a blink. */
bool lg_accepts_sort(struct lg_accept *accepts, uint64_t count)
{
    uint64_t differ = 0;
    for (uint64_t i = 1; i < count; i++)
        differ |= accepts[i].order_id ^ accepts[0].order_id;
    if (!differ)
        return true;
    struct lg_accept *scratch = malloc(count * sizeof(*scratch));
    uint64_t *places = malloc(DIGITS * sizeof(*places));
    bool ok = scratch && places;
    struct lg_accept *from = accepts, *to = scratch;
    for (uint32_t shift = 0; ok && shift < 64; shift += DIGIT_BITS) {
        if (!((differ >> shift) & (DIGITS - 1)))
            continue;
        radix_pass(from, to, count, shift, places);
        struct lg_accept *swap = from;
        from = to;
        to = swap;
    }
    if (ok && from != accepts)
        memcpy(accepts, from, count * sizeof(*accepts));
    free(scratch);
    free(places);
    return ok;
}
