#include "base/text.h"

#include <string.h>

/* The bytes of the character that starts at `at`, or 0 when it is none, overlong, a surrogate,
 * above U+10FFFF or a control character. */
static size_t character_bytes(const uint8_t *at, size_t rest)
{
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
    size_t bytes = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || bytes > rest)
        return 0;
    uint32_t code = at[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    static const uint32_t smallest[] = {[2] = 0xa0, [3] = 0x800, [4] = 0x10000};
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code >= smallest[bytes] && code <= 0x10ffff && !surrogate ? bytes : 0;
}

bool tg_text_is_valid(const void *text, size_t bytes, size_t bytes_max)
{
    const uint8_t *at = text;
    if (bytes == 0 || bytes > bytes_max)
        return false;
    while (bytes > 0) {
        size_t step = character_bytes(at, bytes);
        if (step == 0)
            return false;
        at += step;
        bytes -= step;
    }
    return true;
}

/* Levenshtein's distance, for words of at most TG_TEXT_NEAREST_BYTES_MAX bytes. */
static uint32_t distance(const char *a, const char *b)
{
    uint32_t row[TG_TEXT_NEAREST_BYTES_MAX + 1];
    size_t b_bytes = strlen(b);
    for (uint32_t j = 0; j <= b_bytes; j++)
        row[j] = j;
    for (uint32_t i = 1; a[i - 1]; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b_bytes; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_bytes];
}

const char *tg_text_nearest(const char *word, const char *const *candidates, uint32_t count)
{
    const char *nearest = NULL;
    uint32_t distance_min = 4;
    if (strlen(word) > TG_TEXT_NEAREST_BYTES_MAX)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (!candidates[i] || strlen(candidates[i]) > TG_TEXT_NEAREST_BYTES_MAX)
            continue;
        uint32_t d = distance(word, candidates[i]);
        if (d < distance_min && d < strlen(word)) {
            distance_min = d;
            nearest = candidates[i];
        }
    }
    return nearest;
}
