/* Memory that is taken once, at start-up. */
#ifndef TG_BASE_MEM_H
#define TG_BASE_MEM_H

#include <stddef.h>

/* `size` zeroed bytes, page aligned, from the kernel; NULL when refused. Pages cost nothing until
 * they are touched, so a table can be as large as its limit allows. */
void *tg_mem_map(size_t size);

/* The same for a table that is read at random: asks for huge pages, so that a look-up misses the
 * processor's table of pages less often. Its memory becomes resident two MiB at a time. */
void *tg_mem_map_table(size_t size);

/* Releases either; NULL is nothing. */
void tg_mem_unmap(void *memory, size_t size);

/* Resident memory of this process in bytes; 0 when /proc does not tell. */
size_t tg_mem_resident_bytes(void);

#endif
