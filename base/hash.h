/* Keyed hashing for tables that strangers choose the keys of: XXH3 with a secret seed. */
#ifndef TG_BASE_HASH_H
#define TG_BASE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>

static inline uint64_t tg_hash(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

/* The hash of two words. Not a cheaper mix of products and xors: in those the top bits of the two
 * words cancel out, so that strangers find keys that meet without knowing the seed. */
static inline uint64_t tg_hash_words(uint64_t a, uint64_t b, uint64_t seed)
{
    uint64_t words[2] = {a, b};
    return XXH3_64bits_withSeed(words, sizeof(words), seed);
}

#endif
