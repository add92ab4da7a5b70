/* tests/lib/book.c with checks that abort: see stub/criterion/criterion.h. */
#include "tests/lib/book.c"
