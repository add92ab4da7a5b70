/* Counts what is broken, and keeps the first of it in words. One thread. */
#ifndef LG_COMPLAIN_H
#define LG_COMPLAIN_H

#include <stddef.h>
#include <stdint.h>

/* `example` ("" so far, or taken) gets the words unless it has some. */
void lg_complain(char *example, size_t bytes, uint64_t *count, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
