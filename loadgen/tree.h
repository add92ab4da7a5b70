/* Reading a report back: the JSON that a run writes (loadgen/report.h), of this version or an older
 * one. What is not there, or null, is told as missing: nothing here fails. Borrowed values live as
 * long as the tree. Pure; any thread. */
#ifndef LG_TREE_H
#define LG_TREE_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

#define LG_TREE_STEP_BYTES 64u /* the longest name in a path, with its NUL */

/* Reads a report from a file. NULL, with TG_ERR_IO or TG_ERR_CORRUPT and its story, when it is
 * none. The caller owns the tree. */
json_t *lg_tree_load(const char *path, struct tg_fault *fault);

/* What stands at a path such as "daemon.commit_us.p99"; NULL when a step is missing, or the last is
 * null. Borrowed. */
const json_t *lg_tree_at(const json_t *root, const char *path);

/* A number there; NAN when there is none. */
double lg_tree_number(const json_t *root, const char *path);

/* A text there; `otherwise` when there is none. Borrowed. */
const char *lg_tree_text(const json_t *root, const char *path, const char *otherwise);

bool lg_tree_is_true(const json_t *root, const char *path);

/* The run, and each part of it, was audited and every promise held: its figures mean something. */
bool lg_tree_is_sound(const json_t *report);

#endif
