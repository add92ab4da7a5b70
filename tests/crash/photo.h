/* What a database holds, as facts: for a load that begins on what a power cut left. All that is
 * found there is durable, so each of its facts is acknowledged from position 0 on. One thread. */
#ifndef TG_TESTS_CRASH_PHOTO_H
#define TG_TESTS_CRASH_PHOTO_H

#include "tests/crash/facts.h"

/* An order, as far as a client must know it to go on with it. */
struct photo_order {
    uint64_t order_id;
    uint64_t team_id;
    int64_t amount_minor;
    int state;    /* Tidegate__V1__OrderState */
    uint32_t sku; /* N of the item S<N> of its first line */
    uint32_t refunds;
};

struct photo {
    struct facts facts;
    struct facts_list orders; /* struct photo_order, by order_id */
    uint64_t sequence_max;
};

/* Of the database in `data_dir`, which recovery opens, so it may be written to. Registers are those
 * that `known` (may be NULL) has facts of. Ends the program when it does not recover. */
void photo_take(struct photo *photo, const char *data_dir, const struct facts *known);
void photo_free(struct photo *photo);

#endif
