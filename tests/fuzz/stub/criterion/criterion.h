/* Criterion's words without its runner: what tests/lib and tests/unit say with them holds in a fuzz
 * target too, where a check that fails must abort and a check that passes must cost nothing. A test
 * becomes a function that nobody calls. Found before the real header by -isystem (Makefile). */
#ifndef TG_TESTS_FUZZ_CRITERION_H
#define TG_TESTS_FUZZ_CRITERION_H

#pragma GCC system_header

#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <string.h>

#define Test(suite, name, ...) static __attribute__((unused)) void suite##_##name(void)

#define TestSuite(suite, ...)

#define cr_assert_fail(...) fuzz_fail(__FILE__, __LINE__, "failed", "" __VA_ARGS__)
#define FUZZ_CHECK(condition, ...)                                                                 \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition, "" __VA_ARGS__))

#define cr_assert(condition, ...)         FUZZ_CHECK(condition, __VA_ARGS__)
#define cr_assert_not(condition, ...)     FUZZ_CHECK(!(condition), __VA_ARGS__)
#define cr_assert_eq(a, b, ...)           FUZZ_CHECK((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)          FUZZ_CHECK((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)           FUZZ_CHECK((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)          FUZZ_CHECK((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)           FUZZ_CHECK((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)          FUZZ_CHECK((a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...)            FUZZ_CHECK((a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...)        FUZZ_CHECK((a) != NULL, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) FUZZ_CHECK(memcmp(a, b, size) == 0, __VA_ARGS__)

#define cr_expect(condition, ...) FUZZ_CHECK(condition, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)   FUZZ_CHECK((a) > (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...)  FUZZ_CHECK((a) >= (b), __VA_ARGS__)

#endif
