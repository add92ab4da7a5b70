/* Output memory: chunks of one size from one pool, taken by connections that have something to say
 * and given back when the kernel has it. One pool for each core thread; no locks. */
#ifndef TG_NET_CHUNK_H
#define TG_NET_CHUNK_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define NET_CHUNK_BYTES 8192

struct net_chunk {
    struct net_chunk *next;
    uint32_t used; /* bytes filled */
    uint32_t sent; /* bytes that the kernel has taken */
    uint8_t data[NET_CHUNK_BYTES - 16];
};

_Static_assert(sizeof(struct net_chunk) == NET_CHUNK_BYTES, "chunks tile their pages");

struct net_chunk_pool {
    struct net_chunk *chunks;
    struct net_chunk *free;
    uint32_t count;
    uint32_t high_water; /* chunks ever used: the resident part */
    uint32_t used;       /* chunks that are taken now */
};

/* A queue of chunks, oldest first. */
struct net_chunk_queue {
    struct net_chunk *head;
    struct net_chunk *tail;
};

/* Reserves address space for `count` chunks; pages become resident when first used. */
enum tg_error net_chunk_pool_init(struct net_chunk_pool *pool, uint32_t count,
                                  struct tg_fault *fault);
void net_chunk_pool_fini(struct net_chunk_pool *pool);

/* An empty chunk, or NULL when all are taken. */
struct net_chunk *net_chunk_take(struct net_chunk_pool *pool);
void net_chunk_give(struct net_chunk_pool *pool, struct net_chunk *chunk);

static inline void net_chunk_queue_push(struct net_chunk_queue *queue, struct net_chunk *chunk)
{
    chunk->next = NULL;
    if (queue->tail)
        queue->tail->next = chunk;
    else
        queue->head = chunk;
    queue->tail = chunk;
}

/* Gives every chunk of the queue back. */
void net_chunk_queue_clear(struct net_chunk_pool *pool, struct net_chunk_queue *queue);

#endif
