/* Text that people will read: valid UTF-8 (RFC 3629) without control characters. Any thread. */
#ifndef TG_BASE_TEXT_H
#define TG_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True for at least one and at most `bytes_max` bytes of such text. */
bool tg_text_is_valid(const void *text, size_t bytes, size_t bytes_max);

#define TG_TEXT_NEAREST_BYTES_MAX 32 /* longer words have no neighbours */

/* The candidate that `word` was probably meant to be: at most three slips away (Levenshtein 1966)
 * and fewer than it has letters; NULL when none is. Candidates may be NULL. */
const char *tg_text_nearest(const char *word, const char *const *candidates, uint32_t count);

#endif
