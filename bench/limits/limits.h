/* What the programs that measure the machine's limits share: an order's frame and row as Tidegate
 * has them, options, and how a result is told.
 *
 * A limit is an honest upper bound: the same work for kernel and disk, without Tidegate. Each
 * program says at its top what it leaves out. One thread but where a program says otherwise.
 */
#ifndef TG_BENCH_LIMITS_H
#define TG_BENCH_LIMITS_H

#include "base/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the external id that tidegate-load sends (LG_EXTERNAL_BYTES), so of its rows as well. */
#define LIMITS_EXTERNAL_BYTES 10

/* Tells why and ends the program with status 1. */
_Noreturn void limits_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same when `code`, an errno, is not 0. */
void limits_check(int code, const char *what);

/* One option: `--name NUMBER`, or `--name TEXT` when `text` is set. */
struct limits_option {
    const char *name;
    uint64_t *number;
    const char **text;
    uint64_t most; /* of `number`; it is at least 1 */
};

/* Reads `--name value` pairs, and `--json`, which is stored for limits_tell. What it does not know
 * ends the program with status 2 and `usage`. */
void limits_options(int argc, char **argv, const struct limits_option *options, size_t count,
                    const char *usage);

/* One figure of the result. */
struct limits_figure {
    const char *name; /* with its unit, as in JSON */
    double value;
};

/* Prints `limit` and its figures: a line of text, or with --json one object on one line. */
void limits_tell(const char *limit, const struct limits_figure *figures, size_t count);

/* Of nanoseconds, in microseconds. */
double limits_us(const struct tg_histogram *histogram, double fraction);

#endif
