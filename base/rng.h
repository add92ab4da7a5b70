/* Random numbers that a seed repeats, and the mixer behind them. Never for secrets.
 *
 * The mixer is Stafford's variant 13 of the MurmurHash3 finalizer (as in splitmix64): a bijection
 * of 64-bit words, so that distinct inputs stay distinct, and one that can be undone. The generator
 * is xoshiro256** 1.0 (Blackman and Vigna, 2018, public domain), seeded by splitmix64. Any thread;
 * a generator belongs to whoever holds it.
 */
#ifndef TG_BASE_RNG_H
#define TG_BASE_RNG_H

#include <stdint.h>

#define TG_RNG_GOLDEN 0x9e3779b97f4a7c15ull

static inline uint64_t tg_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* The x for which tg_mix64(x) == y. The factors are the inverses modulo 2^64 of those above. */
static inline uint64_t tg_unmix64(uint64_t y)
{
    y = (y ^ (y >> 31) ^ (y >> 62)) * 0x319642b2d24d8ec3ull;
    y = (y ^ (y >> 27) ^ (y >> 54)) * 0x96de1b173f119089ull;
    return y ^ (y >> 30) ^ (y >> 60);
}

/* splitmix64: the next word of a stream whose whole state is one word. */
static inline uint64_t tg_splitmix64(uint64_t *state)
{
    *state += TG_RNG_GOLDEN;
    return tg_mix64(*state);
}

struct tg_rng {
    uint64_t s[4]; /* not all 0 */
};

static inline void tg_rng_init(struct tg_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = tg_splitmix64(&seed);
}

static inline uint64_t tg_rng_rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t tg_rng_next(struct tg_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = tg_rng_rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = tg_rng_rotl(s[3], 45);
    return result;
}

/* 0 .. bound - 1, for a bound above 0. Its bias is below bound / 2^64: nothing that a test sees. */
static inline uint64_t tg_rng_below(struct tg_rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)tg_rng_next(rng) * bound) >> 64);
}

/* 0 <= x < 1, 53 bits of it. */
static inline double tg_rng_unit(struct tg_rng *rng)
{
    return (double)(tg_rng_next(rng) >> 11) * 0x1.0p-53;
}

#endif
