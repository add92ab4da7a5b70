/* Text for people: what is UTF-8 without control characters, at its borders. */
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static bool valid(const char *text)
{
    return tg_text_is_valid(text, strlen(text), 128);
}

Test(text, characters_of_every_length_are_text)
{
    cr_assert(valid("a"));
    cr_assert(valid("Singles' Day ~"));
    cr_assert(valid("\xc2\xa0"));         /* U+00A0, the first after the control characters */
    cr_assert(valid("\xdf\xbf"));         /* U+07FF */
    cr_assert(valid("\xe0\xa0\x80"));     /* U+0800 */
    cr_assert(valid("\xed\x9f\xbf"));     /* U+D7FF */
    cr_assert(valid("\xee\x80\x80"));     /* U+E000 */
    cr_assert(valid("\xf0\x90\x80\x80")); /* U+10000 */
    cr_assert(valid("\xf4\x8f\xbf\xbf")); /* U+10FFFF */
    cr_assert(valid("\xe7\xa7\x92\xe6\x9d\x80"));
}

Test(text, control_characters_are_not)
{
    cr_assert_not(valid("a\nb"));
    cr_assert_not(valid("\x1f"));
    cr_assert_not(valid("\x7f"));
    cr_assert_not(valid("\xc2\x9f")); /* U+009F */
    cr_assert_not(tg_text_is_valid("a\0b", 3, 128));
}

Test(text, bytes_that_are_no_utf8_are_not)
{
    static const char *const wrong[] = {
        "\xff",
        "\x80",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xc3",
        "\xe7\xa7",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80",
        "\xc3(",
        "\xe7(\x92",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_not(valid(wrong[i]), "text %zu", i);
}

Test(text, empty_and_too_long_are_not)
{
    cr_assert_not(tg_text_is_valid("", 0, 4));
    cr_assert(tg_text_is_valid("abcd", 4, 4));
    cr_assert_not(tg_text_is_valid("abcde", 5, 4));
}

Test(text, a_word_that_was_nearly_right_is_found)
{
    static const char *const words[] = {"connections", NULL, "rate", "stage", "stock"};
    cr_assert_str_eq(tg_text_nearest("conections", words, 5), "connections");
    cr_assert_str_eq(tg_text_nearest("stok", words, 5), "stock");
    cr_assert_str_eq(tg_text_nearest("stages", words, 5), "stage");
    cr_assert_null(tg_text_nearest("zzz", words, 5), "as many slips as letters is another word");
    cr_assert_null(tg_text_nearest("interest", words, 5));
    cr_assert_null(tg_text_nearest("a-word-that-is-longer-than-any-of-them", words, 5));
}
