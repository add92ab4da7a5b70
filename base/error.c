#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *tg_error_text(enum tg_error error)
{
    switch (error) {
#define TG_ERROR_TEXT(name, text)                                                                  \
    case TG_ERR_##name:                                                                            \
        return text;
        TG_ERRORS(TG_ERROR_TEXT)
#undef TG_ERROR_TEXT
    }
    return "unknown error";
}

#undef tg_fault_set
#undef tg_fault_set_errno

enum tg_error tg_fault_set(struct tg_fault *fault, enum tg_error error, const char *format, ...)
{
    if (!fault)
        return error;
    fault->error = error;
    va_list args;
    va_start(args, format);
    vsnprintf(fault->text, sizeof(fault->text), format, args);
    va_end(args);
    return error;
}

enum tg_error tg_fault_set_errno(struct tg_fault *fault, enum tg_error error, int code,
                                 const char *format, ...)
{
    if (!fault)
        return error;
    fault->error = error;
    va_list args;
    va_start(args, format);
    int used = vsnprintf(fault->text, sizeof(fault->text), format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof(fault->text))
        snprintf(fault->text + used, sizeof(fault->text) - (size_t)used, ": %s", strerror(code));
    return error;
}
