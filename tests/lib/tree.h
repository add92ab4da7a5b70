/* A directory that a test made, and all that is in it. Speaks no Criterion: for plain programs and
 * fuzz targets, too. */
#ifndef TG_TESTS_TREE_H
#define TG_TESTS_TREE_H

/* Removes it, and stays on its filesystem. What is not there is no error. */
void tree_remove(const char *path);

#endif
