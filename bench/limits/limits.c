#include "bench/limits/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool as_json;

_Noreturn void limits_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void limits_check(int code, const char *what)
{
    if (code)
        limits_die("%s: %s", what, strerror(code));
}

static bool option_set(const struct limits_option *option, const char *value)
{
    if (option->text) {
        *option->text = value;
        return true;
    }
    char *end;
    *option->number = strtoull(value, &end, 10);
    return *value && *end == '\0' && *option->number >= 1 && *option->number <= option->most;
}

void limits_options(int argc, char **argv, const struct limits_option *options, size_t count,
                    const char *usage)
{
    for (int i = 1; i < argc; i++) {
        const struct limits_option *option = NULL;
        if (strcmp(argv[i], "--json") == 0) {
            as_json = true;
            continue;
        }
        for (size_t k = 0; k < count; k++)
            if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, options[k].name) == 0)
                option = &options[k];
        if (!option || i + 1 == argc || !option_set(option, argv[i + 1])) {
            fprintf(stderr, "%s\n", usage);
            exit(2);
        }
        i++;
    }
}

void limits_tell(const char *limit, const struct limits_figure *figures, size_t count)
{
    printf(as_json ? "{\"limit\": \"%s\"" : "%s", limit);
    for (size_t i = 0; i < count; i++)
        printf(as_json ? ", \"%s\": %.9g" : "  %s %.9g", figures[i].name, figures[i].value);
    puts(as_json ? "}" : "");
}

double limits_us(const struct tg_histogram *histogram, double fraction)
{
    return (double)tg_histogram_percentile(histogram, fraction) / 1000;
}
