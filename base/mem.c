#include "base/mem.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void *tg_mem_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void *tg_mem_map_table(size_t size)
{
    void *memory = tg_mem_map(size);
    /* Only a wish: without huge pages the table works as well, a little slower. */
    if (memory && size >= TG_MEM_TABLE_STEP)
        madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

bool tg_mem_touch(uint8_t *memory, size_t size)
{
    return madvise(memory, size, MADV_POPULATE_WRITE) == 0;
}

void tg_mem_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}

size_t tg_mem_resident_bytes(void)
{
    unsigned long total_pages, resident_pages;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm)
        return 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's own figures, and there is one if it says so
    int read = fscanf(statm, "%lu %lu", &total_pages, &resident_pages);
    fclose(statm);
    return read == 2 ? resident_pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
