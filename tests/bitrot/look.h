/* What the shipped checks say of an image, in a process of its own that may die of it: bounded in
 * time and memory. One look at a time in a process; the memory of the result is shared with the
 * child. */
#ifndef TG_TESTS_BITROT_LOOK_H
#define TG_TESTS_BITROT_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#define LOOK_TEXT_BYTES 8192

struct look_result {
    bool ended; /* the child came to its end; else `how` says how not */
    char how[64];
    bool starts;     /* sto_env_open and sto_recover */
    bool is_content; /* sto_verify */
    uint64_t digest; /* of every row that a start would read */
    uint64_t orders;
    char start[512];              /* why it does not start */
    char verify[LOOK_TEXT_BYTES]; /* what verify found */
};

/* Memory for results; ends the program when there is none. */
struct look_result *look_init(void);
/* Looks at data.mdb in `dir` by the library functions. */
void look_at(const char *dir, struct look_result *result);
/* The same by the programs of this build: `starts` and `is_content` and their words alone. */
void look_at_programs(const char *dir, struct look_result *result);

#endif
