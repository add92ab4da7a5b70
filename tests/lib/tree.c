#include "tests/lib/tree.h"

#include <ftw.h>
#include <stdio.h>

#define FILES_OPEN_MAX 16

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void tree_remove(const char *path)
{
    nftw(path, remove_entry, FILES_OPEN_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
