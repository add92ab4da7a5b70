/* Text that people will read: valid UTF-8 (RFC 3629) without control characters. Any thread. */
#ifndef TG_BASE_TEXT_H
#define TG_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* True for at least one and at most `bytes_max` bytes of such text. */
bool tg_text_is_valid(const void *text, size_t bytes, size_t bytes_max);

#endif
