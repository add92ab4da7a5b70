#include "base/text.h"

#include <stdint.h>

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
