/* How row formats are put into bytes and taken out again: what storage/rows.c and
 * storage/rows_life.c share. Private to them.
 */
#ifndef TG_STORAGE_ROWBYTES_H
#define TG_STORAGE_ROWBYTES_H

#include "base/crc32c.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "rows are little-endian and are moved with plain copies");

/* What decoders say; see sto_row_check. */
#define STO_WRONG_SIZE    "its size is not that of its kind"
#define STO_WRONG_CRC     "its checksum does not match"
#define STO_WRONG_VERSION "its row version is not known to this build"
#define STO_WRONG_RANGE   "a field is out of range"

/* LMDB aligns values to two bytes only, so every access is a copy; they compile to plain moves. */
#define PUT(row, offset, value) memcpy((uint8_t *)(row) + (offset), &(value), sizeof(value))
#define GET(row, offset, value) memcpy(&(value), (const uint8_t *)(row) + (offset), sizeof(value))

/* CRCs are linear, so the xor of two is as strong as the CRC of both parts in a row, and needs no
 * chained form of the function. */
static inline uint32_t sto_row_crc(const void *row, size_t size, const void *key, size_t key_bytes)
{
    return tg_crc32c((const uint8_t *)row + 4, size - 4) ^ tg_crc32c(key, key_bytes);
}

static inline void sto_row_seal(void *row, size_t size, const void *key, size_t key_bytes)
{
    uint32_t crc = sto_row_crc(row, size, key, key_bytes);
    PUT(row, 0, crc);
}

/* The checks that all rows share. `version_max` is the newest layout of the kind. */
static inline const char *sto_row_check(const void *row, size_t size, size_t size_min,
                                        size_t size_max, uint8_t version_max, const void *key,
                                        size_t key_bytes)
{
    if (size < size_min || size > size_max)
        return STO_WRONG_SIZE;
    uint32_t crc;
    GET(row, 0, crc);
    if (crc != sto_row_crc(row, size, key, key_bytes))
        return STO_WRONG_CRC;
    uint8_t version = ((const uint8_t *)row)[4];
    if (version < 1 || version > version_max)
        return STO_WRONG_VERSION;
    return NULL;
}

/* The variable part of a row, taken front to back. */
struct sto_row_part {
    const uint8_t *at;
    size_t left;
};

/* Copies the next `bytes`; false when there are not so many. */
static inline bool sto_row_take(struct sto_row_part *part, void *to, size_t bytes)
{
    if (bytes > part->left)
        return false;
    memcpy(to, part->at, bytes);
    part->at += bytes;
    part->left -= bytes;
    return true;
}

static inline bool sto_price_fits(int64_t price_minor)
{
    return price_minor >= 0 && price_minor <= TG_PRICE_MINOR_MAX;
}

static inline bool sto_amount_fits(int64_t amount_minor)
{
    return amount_minor >= 0 && amount_minor <= TG_AMOUNT_MINOR_MAX;
}

static inline bool sto_time_fits(int64_t at_ms)
{
    return at_ms >= 0 && at_ms <= TG_TIME_MS_MAX;
}

static inline bool sto_currency_fits(const char currency[TG_CURRENCY_BYTES])
{
    for (int i = 0; i < TG_CURRENCY_BYTES; i++) {
        if (currency[i] < 'A' || currency[i] > 'Z')
            return false;
    }
    return true;
}

#endif
