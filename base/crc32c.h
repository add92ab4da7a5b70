/* CRC-32C (Castagnoli, RFC 3720 B.4): the checksum of every stored record. Any thread. */
#ifndef TG_BASE_CRC32C_H
#define TG_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* tg_crc32c("123456789", 9) is 0xe3069283. Uses SSE4.2 where the processor has it. */
uint32_t tg_crc32c(const void *data, size_t size);

/* The portable form, for processors without it and to test against. */
uint32_t tg_crc32c_table(const void *data, size_t size);

#endif
