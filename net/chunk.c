#include "net/chunk.h"

#include "base/mem.h"

#include <stddef.h>

enum tg_error net_chunk_pool_init(struct net_chunk_pool *pool, uint32_t count,
                                  struct tg_fault *fault)
{
    *pool = (struct net_chunk_pool){
        .chunks = tg_mem_map(count * sizeof(struct net_chunk)),
        .count = count,
    };
    if (!pool->chunks)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u output chunks", count);
    return TG_ERR_OK;
}

void net_chunk_pool_fini(struct net_chunk_pool *pool)
{
    tg_mem_unmap(pool->chunks, pool->count * sizeof(struct net_chunk));
}

struct net_chunk *net_chunk_take(struct net_chunk_pool *pool)
{
    struct net_chunk *chunk = pool->free;
    if (chunk)
        pool->free = chunk->next;
    else if (pool->high_water < pool->count)
        chunk = &pool->chunks[pool->high_water++];
    else
        return NULL;
    pool->used++;
    chunk->next = NULL;
    chunk->used = 0;
    chunk->sent = 0;
    return chunk;
}

void net_chunk_give(struct net_chunk_pool *pool, struct net_chunk *chunk)
{
    chunk->next = pool->free;
    pool->free = chunk;
    pool->used--;
}

void net_chunk_queue_clear(struct net_chunk_pool *pool, struct net_chunk_queue *queue)
{
    while (queue->head) {
        struct net_chunk *chunk = queue->head;
        queue->head = chunk->next;
        net_chunk_give(pool, chunk);
    }
    queue->tail = NULL;
}
