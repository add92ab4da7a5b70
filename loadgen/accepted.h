/* The accepted answers of one thread: (attempt, order id), 16 bytes each, as they came.
 *
 * The owner appends; another thread may read entries below the count at the same time, which is how
 * the audit log is written without the sender waiting for a disk: chunks never move, and the count
 * is stored with release after the entry, loaded with acquire before it is read.
 */
#ifndef LG_ACCEPTED_H
#define LG_ACCEPTED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LG_ACCEPTED_CHUNK      65536u
#define LG_ACCEPTED_CHUNKS_MAX 16384u /* 10^9 answers for each thread */

/* One accepted answer. Also the record of the audit log. */
struct lg_accept {
    uint64_t number;   /* the attempt */
    uint64_t order_id; /* what it became */
};

_Static_assert(sizeof(struct lg_accept) == 16, "a file format");

struct lg_accepted {
    struct lg_accept *chunks[LG_ACCEPTED_CHUNKS_MAX]; /* owned, LG_ACCEPTED_CHUNK each */
    _Atomic uint64_t count;
};

/* Appends. Owner. False without memory or beyond the maximum: the run must stop, because what is
 * not remembered cannot be audited. */
bool lg_accepted_add(struct lg_accepted *list, uint64_t number, uint64_t order_id);

/* How many there are. Any thread. */
static inline uint64_t lg_accepted_count(const struct lg_accepted *list)
{
    /* pairs with the release in lg_accepted_add */
    return atomic_load_explicit(&list->count, memory_order_acquire);
}

/* The entries from `first` on that lie side by side, at most up to `end` (<= the count). Any
 * thread. */
const struct lg_accept *lg_accepted_run(const struct lg_accepted *list, uint64_t first,
                                        uint64_t end, uint64_t *count);

/* Moves the entries of `lists` into one new array and empties them; NULL without memory (or when
 * there is none). The appending threads have ended. */
struct lg_accept *lg_accepted_flatten(struct lg_accepted *const *lists, uint32_t list_count,
                                      uint64_t *count);
void lg_accepted_fini(struct lg_accepted *list);

/* Sorts by order id, then attempt where the order was so before. O(n), with n entries of scratch;
 * false without memory. */
bool lg_accepts_sort(struct lg_accept *accepts, uint64_t count);

#endif
