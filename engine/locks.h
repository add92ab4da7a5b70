/* The orders and teams of a shard that have a change in flight: a set of ids.
 *
 * Open addressing with linear probing; a removal shifts the cluster back. Bounded by the changes
 * that can be in flight, so it is never more than half full. Owned by one shard.
 */
#ifndef TG_ENGINE_LOCKS_H
#define TG_ENGINE_LOCKS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct eng_locks {
    uint64_t *slots; /* 0: empty */
    uint32_t mask;
    uint32_t count;
};

/* Room for `count_max` ids at least. TG_ERR_NOMEM. */
enum tg_error eng_locks_create(struct eng_locks *locks, uint32_t count_max, struct tg_fault *fault);
void eng_locks_destroy(struct eng_locks *locks);

bool eng_locks_held(const struct eng_locks *locks, uint64_t id);
/* `id` is not 0 and not held. False when full. */
bool eng_locks_take(struct eng_locks *locks, uint64_t id);
/* `id` is held. */
void eng_locks_release(struct eng_locks *locks, uint64_t id);

#endif
