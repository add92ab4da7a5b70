/* tests/lib/ledger.c with checks that abort (stub/criterion/criterion.h), and with its arrays, of
 * hundreds of megabytes that a run hardly touches, mapped instead of cleared: a target makes a
 * ledger for every input. */
#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

#define MAPPED_MAX   16
#define MAP_FROM     (1u << 20)
#define calloc(n, s) ledger_calloc(n, s)
#define free(p)      ledger_free(p)

static struct {
    void *block;
    size_t bytes;
} mapped[MAPPED_MAX];

static void *ledger_calloc(size_t count, size_t size)
{
    if (count * size < MAP_FROM)
        return (calloc)(count, size);
    for (int i = 0; i < MAPPED_MAX; i++)
        if (!mapped[i].block) {
            mapped[i].bytes = count * size;
            return mapped[i].block = tg_mem_map(count * size);
        }
    return NULL;
}

static void ledger_free(void *block)
{
    for (int i = 0; i < MAPPED_MAX && block; i++)
        if (mapped[i].block == block) {
            tg_mem_unmap(block, mapped[i].bytes);
            mapped[i].block = NULL;
            return;
        }
    (free)(block);
}

#include "tests/lib/ledger.c"
