/* tests/lib/tree.c, for the targets. */
#include "tests/lib/tree.c"
