#include "loadgen/complain.h"

#include <stdarg.h>
#include <stdio.h>

void lg_complain(char *example, size_t bytes, uint64_t *count, const char *format, ...)
{
    (*count)++;
    if (example[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(example, bytes, format, arguments);
    va_end(arguments);
}
