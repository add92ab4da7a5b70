/* What the fuzz targets share: each is one function over bytes, LLVMFuzzerTestOneInput, that aborts
 * when a promise is broken. One thread. libFuzzer calls it (make fuzz), or replay.c does (make
 * fuzz-replay, make check): docs/fuzzing.md.
 *
 * A target must do the same for the same bytes, whatever it was given before: what it keeps between
 * two inputs must look the same to each.
 */
#ifndef TG_TESTS_FUZZ_H
#define TG_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What libFuzzer looks for; always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longer inputs are not looked at; run.sh tells libFuzzer so. */
#define FUZZ_BYTES_MAX 4096

/* Names the broken check and aborts: libFuzzer then keeps the input. */
_Noreturn void fuzz_fail(const char *file, int line, const char *check, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define FUZZ_MUST(condition)                                                                       \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition, "%s", ""))

/* --- the input, taken front to back; behind its end everything is 0 --- */

struct fuzz_bytes {
    const uint8_t *at; /* borrowed */
    size_t left;
};

static inline void fuzz_take(struct fuzz_bytes *bytes, void *to, size_t size)
{
    size_t there = size < bytes->left ? size : bytes->left;
    memset(to, 0, size);
    if (there > 0)
        memcpy(to, bytes->at, there);
    bytes->at += there;
    bytes->left -= there;
}

static inline uint8_t fuzz_u8(struct fuzz_bytes *bytes)
{
    uint8_t value;
    fuzz_take(bytes, &value, sizeof(value));
    return value;
}

static inline uint16_t fuzz_u16(struct fuzz_bytes *bytes)
{
    uint16_t value;
    fuzz_take(bytes, &value, sizeof(value));
    return value;
}

/* 0 .. bound - 1, of as few bytes as the bound needs. */
static inline uint64_t fuzz_below(struct fuzz_bytes *bytes, uint64_t bound)
{
    return bound <= 256 ? fuzz_u8(bytes) % bound : fuzz_u16(bytes) % bound;
}

/* A new directory, in FUZZ_DIRECTORY if that is set, else in memory where there is one. Its path
 * stays valid; it is gone at the end of the process, but not of one that aborts: so the scripts set
 * FUZZ_DIRECTORY, and remove that. */
const char *fuzz_directory(void);

#endif
