#include "base/crc32c.h"

#include <string.h>

#define CRC32C_REFLECTED 0x82f63b78u

/* Four bits at a time: sixteen words, made by the compiler's constant folding of the recurrence
 * crc(n) = n shifted right four times, each time xored with the polynomial when a one falls out. */
#define STEP(c)   (((c) >> 1) ^ (CRC32C_REFLECTED & (0u - ((c)&1u))))
#define NIBBLE(c) STEP(STEP(STEP(STEP((uint32_t)(c)))))
static const uint32_t nibbles[16] = {
    NIBBLE(0), NIBBLE(1), NIBBLE(2),  NIBBLE(3),  NIBBLE(4),  NIBBLE(5),  NIBBLE(6),  NIBBLE(7),
    NIBBLE(8), NIBBLE(9), NIBBLE(10), NIBBLE(11), NIBBLE(12), NIBBLE(13), NIBBLE(14), NIBBLE(15),
};

uint32_t tg_crc32c_table(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = nibbles[crc & 15] ^ (crc >> 4);
        crc = nibbles[crc & 15] ^ (crc >> 4);
    }
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t crc = ~0u;
    for (; size >= 8; size -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    if (size & 4) {
        uint32_t word;
        memcpy(&word, bytes, 4);
        crc = __builtin_ia32_crc32si((uint32_t)crc, word);
        bytes += 4;
    }
    for (size &= 3; size > 0; size--, bytes++)
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *bytes);
    return ~(uint32_t)crc;
}
#endif

uint32_t tg_crc32c(const void *data, size_t size)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(data, size);
#endif
    return tg_crc32c_table(data, size);
}
