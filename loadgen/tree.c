#include "loadgen/tree.h"

#include <math.h>
#include <string.h>

json_t *lg_tree_load(const char *path, struct tg_fault *fault)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        /* jansson says "unable to open" with no line, and what is wrong with one. */
        tg_fault_set(fault, error.line < 0 ? TG_ERR_IO : TG_ERR_CORRUPT, "%s: %s", path,
                     error.text);
        return NULL;
    }
    if (json_is_object(root) &&
        strncmp(lg_tree_text(root, "tool", ""), "tidegate-load", strlen("tidegate-load")) == 0)
        return root;
    json_decref(root);
    tg_fault_set(fault, TG_ERR_CORRUPT, "%s is no report of tidegate-load", path);
    return NULL;
}

const json_t *lg_tree_at(const json_t *root, const char *path)
{
    char step[LG_TREE_STEP_BYTES];
    while (root && *path) {
        size_t bytes = strcspn(path, ".");
        if (bytes >= sizeof(step))
            return NULL;
        memcpy(step, path, bytes);
        step[bytes] = '\0';
        root = json_object_get(root, step);
        path += bytes + (path[bytes] == '.');
    }
    return json_is_null(root) ? NULL : root;
}

double lg_tree_number(const json_t *root, const char *path)
{
    const json_t *found = lg_tree_at(root, path);
    return json_is_number(found) ? json_number_value(found) : (double)NAN;
}

const char *lg_tree_text(const json_t *root, const char *path, const char *otherwise)
{
    const char *text = json_string_value(lg_tree_at(root, path));
    return text ? text : otherwise;
}

bool lg_tree_is_true(const json_t *root, const char *path)
{
    return json_is_true(lg_tree_at(root, path));
}

static bool is_sound_alone(const json_t *run)
{
    return lg_tree_is_true(run, "audit.ok") && lg_tree_is_true(run, "audit.done") &&
           strcmp(lg_tree_text(run, "status", "failed"), "failed") != 0;
}

bool lg_tree_is_sound(const json_t *report)
{
    const json_t *parts = lg_tree_at(report, "parts"), *part;
    size_t i;
    if (!is_sound_alone(report))
        return false;
    json_array_foreach(parts, i, part)
    {
        if (!is_sound_alone(part))
            return false;
    }
    return true;
}
