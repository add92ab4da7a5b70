#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const enum tg_error all[] = {
#define ERROR_ROW(name, text) TG_ERR_##name,
    TG_ERRORS(ERROR_ROW)
#undef ERROR_ROW
};

Test(error, success_is_0_and_every_error_has_a_text_of_its_own)
{
    size_t count = sizeof(all) / sizeof(all[0]);
    cr_assert_eq(TG_ERR_OK, 0);
    for (size_t i = 0; i < count; i++) {
        cr_assert_gt(strlen(tg_error_text(all[i])), 0);
        for (size_t j = 0; j < i; j++)
            cr_assert_str_neq(tg_error_text(all[i]), tg_error_text(all[j]));
    }
}

Test(error, a_number_that_is_no_error_still_has_a_text)
{
    cr_assert_str_eq(tg_error_text((enum tg_error)9999), "unknown error");
}

Test(error, a_fault_tells_its_story_and_returns_its_error)
{
    struct tg_fault fault;
    cr_assert_eq(tg_fault_set(&fault, TG_ERR_FULL, "%d of %s", 7, "them"), TG_ERR_FULL);
    cr_assert_eq(fault.error, TG_ERR_FULL);
    cr_assert_str_eq(fault.text, "7 of them");
}

Test(error, nobody_needs_to_listen)
{
    cr_assert_eq(tg_fault_set(NULL, TG_ERR_IO, "x"), TG_ERR_IO);
    cr_assert_eq(tg_fault_set_errno(NULL, TG_ERR_IO, EIO, "x"), TG_ERR_IO);
}

Test(error, an_errno_stands_behind_the_text)
{
    struct tg_fault fault;
    char expected[256];
    snprintf(expected, sizeof(expected), "open /x: %s", strerror(ENOENT));
    cr_assert_eq(tg_fault_set_errno(&fault, TG_ERR_SYSTEM, ENOENT, "open %s", "/x"), TG_ERR_SYSTEM);
    cr_assert_str_eq(fault.text, expected);
}

Test(error, a_long_text_is_cut_and_ends)
{
    struct tg_fault fault;
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    tg_fault_set(&fault, TG_ERR_IO, "%s", text);
    cr_assert_eq(strlen(fault.text), sizeof(fault.text) - 1);
    /* Every length around the end: with and without room for the errno's text. */
    for (size_t size = sizeof(fault.text) - 40; size < sizeof(fault.text) + 4; size++) {
        tg_fault_set_errno(&fault, TG_ERR_IO, ENOENT, "%.*s", (int)size, text);
        cr_assert_lt(strlen(fault.text), sizeof(fault.text));
    }
}
