/* Memory that is taken once, at start-up. */
#ifndef TG_BASE_MEM_H
#define TG_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A huge page: the steps in which a table becomes resident. */
#define TG_MEM_TABLE_STEP ((size_t)2 << 20)

/* `size` zeroed bytes, page aligned, from the kernel; NULL when refused. Pages cost nothing until
 * they are touched, so a table can be as large as its limit allows. */
void *tg_mem_map(size_t size);

/* The same for a table that is read at random: asks for huge pages, so that a look-up misses the
 * processor's table of pages less often. Its memory becomes resident two MiB at a time. */
void *tg_mem_map_table(size_t size);

/* A table that grows from the beginning of its memory. */
struct tg_extent {
    uint8_t *memory; /* borrowed, from tg_mem_map_table */
    size_t size;     /* reserved */
    size_t used;     /* from the beginning on, what may have been written */
};

/* Makes pages of a table resident before anybody writes to them, so that who does need not wait for
 * the kernel to clear them. They stay as they are, whoever writes to them meanwhile. False when the
 * kernel did not. */
bool tg_mem_touch(uint8_t *memory, size_t size);

/* Releases either; NULL is nothing. */
void tg_mem_unmap(void *memory, size_t size);

/* Resident memory of this process in bytes; 0 when /proc does not tell. */
size_t tg_mem_resident_bytes(void);

#endif
