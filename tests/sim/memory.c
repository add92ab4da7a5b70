/* base/mem.h for a process that lives a thousand times a second: what one life gives back the next
 * one gets, cleared. Fresh mappings would cost more than all that is done with them.
 *
 * Clears only the pages that were ever touched, so a table costs what it is used, as in the server;
 * of the large pools, which few lives use far, the kernel takes back all but the beginning. One
 * thread. Takes the place of base/mem.c in the simulation. */
#include "base/mem.h"

#include "base/assert.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum {
    KEPT_MAX = 512,
    PAGE_BYTES = 4096,
    POOL_PAGES = 40,
    LOOK_PAGES = 4096, /* in one question to the kernel */
};

static struct kept {
    void *memory;
    size_t bytes;
} kept[KEPT_MAX];
static int kept_count;

/* From the first to the last page in a row that the kernel has given memory. */
static void clear(uint8_t *memory, size_t bytes)
{
    union {
        unsigned char of[LOOK_PAGES];
        uint64_t eight[LOOK_PAGES / 8];
    } touched;
    size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    if (pages > LOOK_PAGES) { /* a pool: a busy life touches much, most do not */
        madvise(memory + POOL_PAGES * PAGE_BYTES, bytes - POOL_PAGES * PAGE_BYTES, MADV_DONTNEED);
        pages = POOL_PAGES;
    }
    for (size_t from = 0; from < pages; from += LOOK_PAGES) {
        size_t count = pages - from < LOOK_PAGES ? pages - from : LOOK_PAGES;
        tg_assert(mincore(memory + from * PAGE_BYTES, count * PAGE_BYTES, touched.of) == 0);
        for (size_t i = 0; i < count; i++) {
            if (i % 8 == 0 && i + 8 <= count && touched.eight[i / 8] == 0)
                i += 7;
            else if (touched.of[i] & 1)
                memset(memory + (from + i) * PAGE_BYTES, 0, PAGE_BYTES);
        }
    }
}

void *tg_mem_map(size_t size)
{
    for (int i = kept_count - 1; i >= 0; i--)
        if (kept[i].bytes == size) {
            void *memory = kept[i].memory;
            kept[i] = kept[--kept_count];
            clear(memory, size);
            return memory;
        }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* No huge pages: the tables are small, and two MiB would be cleared for each. */
void *tg_mem_map_table(size_t size)
{
    return tg_mem_map(size);
}

void tg_mem_unmap(void *memory, size_t size)
{
    if (!memory)
        return;
    if (kept_count == KEPT_MAX)
        munmap(memory, size);
    else
        kept[kept_count++] = (struct kept){.memory = memory, .bytes = size};
}

/* Nobody asks here. */
size_t tg_mem_resident_bytes(void)
{
    return 0;
}
