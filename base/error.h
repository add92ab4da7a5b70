/* Errors of Tidegate's own making, and the text that goes with one.
 *
 * Functions that can fail at start-up or in tools return `enum tg_error` and fill a
 * `struct tg_fault`, whose text tells the reader what happened and what to do. The hot path has no
 * errors: a refusal there is a verdict (proto/verdict.h).
 */
#ifndef TG_BASE_ERROR_H
#define TG_BASE_ERROR_H

#define TG_ERRORS(X)                                                                               \
    X(OK, "success")                                                                               \
    X(INVALID, "invalid argument or configuration")                                                \
    X(NOMEM, "out of memory")                                                                      \
    X(SYSTEM, "a system call failed")                                                              \
    X(IO, "input or output failed")                                                                \
    X(FULL, "no space left")                                                                       \
    X(LOCKED, "in use by another process")                                                         \
    X(VERSION, "written by a newer version")                                                       \
    X(CORRUPT, "damaged data")                                                                     \
    X(BROKEN, "a promise does not hold")                                                           \
    X(UNSUPPORTED, "not supported by this machine")                                                \
    X(NOTFOUND, "not found")                                                                       \
    X(TIMEOUT, "timed out")                                                                        \
    X(CLOSED, "connection closed by the peer")                                                     \
    X(PROTOCOL, "the peer broke the protocol")                                                     \
    X(DENIED, "not authenticated, or not permitted")                                               \
    X(LIMITED, "more than is allowed in this time")

enum tg_error {
#define TG_ERROR_ENUM(name, text) TG_ERR_##name,
    TG_ERRORS(TG_ERROR_ENUM)
#undef TG_ERROR_ENUM
};

/* The text of an error, static. Any thread. */
const char *tg_error_text(enum tg_error error);

/* An error with its story. Caller's memory. */
struct tg_fault {
    enum tg_error error;
    char text[512];
};

/* Fills `fault` (which may be NULL) and returns `error`, so that a caller can `return` it. */
enum tg_error tg_fault_set(struct tg_fault *fault, enum tg_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": <strerror(code)>" behind the text. */
enum tg_error tg_fault_set_errno(struct tg_fault *fault, enum tg_error error, int code,
                                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* An analyzer looks into one file at a time: here it is told which error comes back. */
#if defined(__clang_analyzer__) || defined(TG_ANALYZER)
#define tg_fault_set(fault, error, ...) ((void)(tg_fault_set)(fault, error, __VA_ARGS__), (error))
#define tg_fault_set_errno(fault, error, ...)                                                      \
    ((void)(tg_fault_set_errno)(fault, error, __VA_ARGS__), (error))
#endif

#endif
