#include "base/crc32c.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <string.h>

#define SEED 0x637263ull

/* RFC 3720, B.4, and the check value of the CRC catalogue. */
Test(crc32c, gives_the_known_vectors)
{
    uint8_t bytes[32];
    cr_assert_eq(tg_crc32c("123456789", 9), 0xe3069283u);
    cr_assert_eq(tg_crc32c(NULL, 0), 0);
    memset(bytes, 0, sizeof(bytes));
    cr_assert_eq(tg_crc32c(bytes, sizeof(bytes)), 0x8a9136aau);
    memset(bytes, 0xff, sizeof(bytes));
    cr_assert_eq(tg_crc32c(bytes, sizeof(bytes)), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    cr_assert_eq(tg_crc32c(bytes, sizeof(bytes)), 0x46dd794eu);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    cr_assert_eq(tg_crc32c(bytes, sizeof(bytes)), 0x113fdb5cu);
}

Test(crc32c, the_portable_form_gives_the_known_vectors)
{
    uint8_t zeros[32] = {0};
    cr_assert_eq(tg_crc32c_table("123456789", 9), 0xe3069283u);
    cr_assert_eq(tg_crc32c_table(NULL, 0), 0);
    cr_assert_eq(tg_crc32c_table(zeros, sizeof(zeros)), 0x8a9136aau);
}

Test(crc32c, both_forms_agree_at_every_size_and_alignment)
{
    uint8_t bytes[128];
    struct tg_rng rng;
    tg_rng_init(&rng, SEED);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)tg_rng_next(&rng);
    for (size_t start = 0; start < 16; start++)
        for (size_t size = 0; size <= sizeof(bytes) - start; size++)
            cr_assert_eq(tg_crc32c(bytes + start, size), tg_crc32c_table(bytes + start, size),
                         "seed %#llx, %zu bytes from %zu", SEED, size, start);
}

Test(crc32c, sees_every_flipped_bit)
{
    uint8_t bytes[100] = "a stored record";
    uint32_t whole = tg_crc32c(bytes, sizeof(bytes));
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(tg_crc32c(bytes, sizeof(bytes)), whole, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
