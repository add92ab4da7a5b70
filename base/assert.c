#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void tg_assert_fail(const char *expression, const char *file, int line)
{
    fprintf(stderr, "tidegate: broken promise: %s (%s:%d)\n", expression, file, line);
    abort();
}
