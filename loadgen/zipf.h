/* Zipf's law over n items in O(1): rank r (from 0) has weight 1 / (r + 1)^s.
 *
 * Walker's alias method: n columns of equal width, each shared by at most two ranks, so that one
 * random word picks a column and a side. Read-only after init: any thread. */
#ifndef LG_ZIPF_H
#define LG_ZIPF_H

#include <stdbool.h>
#include <stdint.h>

struct lg_zipf_column {
    uint32_t own_below; /* of 2^32: the share of the column that is its own rank's */
    uint32_t alias;     /* the rank that has the rest */
};

struct lg_zipf {
    uint32_t n;
    struct lg_zipf_column *columns; /* owned, n of them */
};

/* n in 1 .. 2^24, s >= 0 (0: uniform). False without memory. */
bool lg_zipf_init(struct lg_zipf *zipf, uint32_t n, double s);
void lg_zipf_fini(struct lg_zipf *zipf);

/* The rank that `random`, a uniform word, falls on. */
static inline uint32_t lg_zipf_rank(const struct lg_zipf *zipf, uint64_t random)
{
    uint32_t column = (uint32_t)(((random >> 32) * zipf->n) >> 32);
    const struct lg_zipf_column *c = &zipf->columns[column];
    return (uint32_t)random < c->own_below ? column : c->alias;
}

#endif
