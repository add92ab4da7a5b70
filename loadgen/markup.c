#include "loadgen/markup.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* --- escaping ----------------------------------------------------------------------------------
 */

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* The bytes of the character at `text`, as its first byte tells; 1 when it tells nothing. */
static size_t bytes_of(const char *text)
{
    unsigned char first = (unsigned char)*text;
    size_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    return wanted <= strnlen(text, wanted) ? wanted : 1;
}

void lg_markup_text(const char *text, FILE *out)
{
    for (const char *c = text; c && *c;) {
        size_t bytes = bytes_of(c);
        if (entity(*c))
            fputs(entity(*c), out);
        else if (*c == '\n' || *c == '\t' || tg_text_is_valid(c, bytes, bytes))
            fwrite(c, 1, bytes, out);
        else {
            /* What only looked like a longer character may have others behind its first byte. */
            fputs("\xef\xbf\xbd", out);
            bytes = 1;
        }
        c += bytes;
    }
}

void lg_markup_print(FILE *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    lg_markup_text(text, out);
}

/* --- figures -----------------------------------------------------------------------------------
 */

static const char *put(char out[LG_FIGURE_BYTES], double value, int digits, const char *unit)
{
    snprintf(out, LG_FIGURE_BYTES, "%.*f%s", digits, value, unit);
    return out;
}

/* Digits behind the point that leave three figures in all. */
static int digits_of(double value)
{
    double size = fabs(value);
    return size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : 2;
}

static const char *grouped(double value, const char *unit, char out[LG_FIGURE_BYTES])
{
    char digits[24], *p = out;
    int length = snprintf(digits, sizeof(digits), "%" PRId64, (int64_t)llround(value));
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0 && digits[i - 1] != '-')
            *p++ = ',';
        *p++ = digits[i];
    }
    snprintf(p, (size_t)(out + LG_FIGURE_BYTES - p), "%s", unit);
    return out;
}

static const char *duration(double us, char out[LG_FIGURE_BYTES])
{
    static const struct {
        double below, unit;
        const char *name;
    } units[] = {{0.9995, 1e-3, " ns"}, {999.5, 1, " \u00b5s"}, {999500, 1e3, " ms"}};
    if (us == 0)
        return put(out, 0, 0, " s");
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (us < units[i].below)
            return put(out, us / units[i].unit, digits_of(us / units[i].unit), units[i].name);
    return put(out, us / 1e6, digits_of(us / 1e6), " s");
}

static const char *bytes(double value, char out[LG_FIGURE_BYTES])
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    size_t unit = 0;
    while (value >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    return put(out, value, unit ? digits_of(value) : 0, units[unit]);
}

/* Beyond this a number is written with an exponent: nothing that counts gets there. */
#define FIGURE_MAX 1e15

const char *lg_figure(double value, enum lg_unit unit, char out[LG_FIGURE_BYTES])
{
    if (isnan(value)) {
        snprintf(out, LG_FIGURE_BYTES, "\u2013");
        return out;
    }
    if (fabs(value) > FIGURE_MAX) {
        snprintf(out, LG_FIGURE_BYTES, "%.3g", value);
        return out;
    }
    switch (unit) {
    case LG_UNIT_COUNT:
        return fabs(value) < 100 && value != floor(value) ? put(out, value, digits_of(value), "")
                                                          : grouped(value, "", out);
    case LG_UNIT_RATE:
        return grouped(value, "/s", out);
    case LG_UNIT_US:
        return duration(value, out);
    case LG_UNIT_SHARE:
        return put(out, value * 100, digits_of(value * 100), "%");
    case LG_UNIT_BYTES:
        return bytes(value, out);
    case LG_UNIT_S:
        return value > 0 && value < 0.1
                   ? duration(value * 1e6, out)
                   : put(out, value, value == floor(value) ? 0 : digits_of(value), " s");
    }
    return out;
}

const char *lg_figure_short(double value, enum lg_unit unit, char out[LG_FIGURE_BYTES])
{
    static const struct {
        double at_least;
        const char *name;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    bool counts = unit == LG_UNIT_COUNT || unit == LG_UNIT_RATE;
    if (isnan(value) || fabs(value) > FIGURE_MAX)
        return lg_figure(value, unit, out);
    for (size_t i = 0; counts && i < sizeof(units) / sizeof(units[0]); i++)
        if (fabs(value) >= units[i].at_least * 0.9995) {
            snprintf(out, LG_FIGURE_BYTES, "%.3g%s", value / units[i].at_least, units[i].name);
            return out;
        }
    if (counts || unit == LG_UNIT_SHARE || unit == LG_UNIT_S) {
        snprintf(out, LG_FIGURE_BYTES, "%.3g%s", unit == LG_UNIT_SHARE ? value * 100 : value,
                 unit == LG_UNIT_SHARE ? "%"
                 : unit == LG_UNIT_S   ? " s"
                                       : "");
        return out;
    }
    if (unit == LG_UNIT_US && value > 0) {
        /* An axis has round numbers: "2 ms", not "2.00 ms". */
        double scale = value < 0.9995 ? 1e-3 : value < 999.5 ? 1 : value < 999500 ? 1e3 : 1e6;
        snprintf(out, LG_FIGURE_BYTES, "%.3g %s", value / scale,
                 scale < 1     ? "ns"
                 : scale < 2   ? "\u00b5s"
                 : scale < 2e3 ? "ms"
                               : "s");
        return out;
    }
    return lg_figure(value, unit, out);
}
