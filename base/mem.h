/* Memory that is taken once, at start-up. */
#ifndef TG_BASE_MEM_H
#define TG_BASE_MEM_H

#include <stddef.h>

/* `size` zeroed bytes, page aligned, from the kernel; NULL when refused. Pages cost nothing until
 * they are touched, so a table can be as large as its limit allows. Release with tg_mem_unmap. */
void *tg_mem_map(size_t size);
void tg_mem_unmap(void *memory, size_t size);

/* Resident memory of this process in bytes; 0 when /proc does not tell. */
size_t tg_mem_resident_bytes(void);

#endif
