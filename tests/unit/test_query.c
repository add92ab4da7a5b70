/* Parameters of an address: what is not understood is told, by name. */
#include "server/query.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *const names[] = {"offset", "limit", NULL};

Test(query, a_number_is_taken_and_what_is_not_there_keeps_its_default)
{
    struct srv_query query = {0};
    struct tg_fault fault;
    uint64_t limit = 10, offset = 7;
    srv_query_add(&query, "limit", "1000");
    cr_assert_eq(srv_query_check(&query, names, &fault), TG_ERR_OK);
    cr_assert_eq(srv_query_number(&query, "limit", 1, 1000, &limit, &fault), TG_ERR_OK);
    cr_assert_eq(srv_query_number(&query, "offset", 0, 5, &offset, &fault), TG_ERR_OK);
    cr_assert_eq(limit, 1000);
    cr_assert_eq(offset, 7);
    cr_assert(srv_query_has(&query, "limit"));
    cr_assert_not(srv_query_has(&query, "offset"));
}

Test(query, what_is_no_number_in_range_is_named)
{
    static const char *const wrong[] = {"",
                                        "0",
                                        "1001",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x10",
                                        "1e2",
                                        "18446744073709551616",
                                        "99999999999999999999999",
                                        "ten"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct srv_query query = {0};
        struct tg_fault fault;
        uint64_t limit = 10;
        srv_query_add(&query, "limit", wrong[i]);
        cr_assert_eq(srv_query_number(&query, "limit", 1, 1000, &limit, &fault), TG_ERR_INVALID,
                     "'%s' was taken", wrong[i]);
        cr_assert_not_null(strstr(fault.text, "limit must be a number from 1 to 1000"));
        cr_assert_eq(limit, 10);
    }
    struct srv_query query = {0};
    struct tg_fault fault;
    uint64_t limit;
    srv_query_add(&query, "limit", NULL);
    cr_assert_eq(srv_query_number(&query, "limit", 1, 1000, &limit, &fault), TG_ERR_INVALID);
}

Test(query, what_nobody_knows_and_what_stands_twice_is_named)
{
    struct srv_query query = {0}, twice = {0}, many = {0};
    struct tg_fault fault;
    srv_query_add(&query, "limti", "1");
    cr_assert_eq(srv_query_check(&query, names, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "limti"), "%s", fault.text);
    srv_query_add(&twice, "limit", "1");
    srv_query_add(&twice, "offset", "1");
    srv_query_add(&twice, "limit", "2");
    cr_assert_eq(srv_query_check(&twice, names, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "limit stands there twice"), "%s", fault.text);
    for (int i = 0; i < 1000; i++)
        srv_query_add(&many, "limit", "1");
    cr_assert_eq(srv_query_check(&many, names, &fault), TG_ERR_INVALID);
}

Test(query, digits_end_at_what_fits)
{
    uint64_t value = 0;
    cr_assert(srv_query_digits("18446744073709551615", 20, UINT64_MAX, &value));
    cr_assert_eq(value, UINT64_MAX);
    cr_assert_not(srv_query_digits("18446744073709551616", 20, UINT64_MAX, &value));
    cr_assert(srv_query_digits("12x", 2, 12, &value));
    cr_assert_eq(value, 12);
    cr_assert_not(srv_query_digits("13", 2, 12, &value));
    cr_assert_not(srv_query_digits("", 0, 12, &value));
}
