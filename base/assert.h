/* tg_assert checks what the program promises itself, in every build: a broken promise stops the
 * process before it can reach the disk or a buyer. Never for input, never for kernel results. */
#ifndef TG_BASE_ASSERT_H
#define TG_BASE_ASSERT_H

/* Prints the broken promise and aborts. */
_Noreturn void tg_assert_fail(const char *expression, const char *file, int line);

#define tg_assert(expression)                                                                      \
    (__builtin_expect(!!(expression), 1) ? (void)0                                                 \
                                         : tg_assert_fail(#expression, __FILE__, __LINE__))

#endif
