#include "ctl/text.h"

#include "base/assert.h"
#include "base/limits.h"
#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- time --- */

bool ctl_duration_parse(const char *text, int64_t *duration_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 15)
        return false;
    int64_t number = strtoll(text, NULL, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (number > TG_TIME_MS_MAX / units[i].ms)
            return false;
        *duration_ms = number * units[i].ms;
        return true;
    }
    return false;
}

/* Exactly `count` digits at *at, which moves behind them. */
static bool take_digits(const char **at, int count, int *number)
{
    *number = 0;
    for (int i = 0; i < count; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return false;
        *number = *number * 10 + (**at - '0');
    }
    return true;
}

static bool take(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

/* ".5", ".25", ".125"; none is fine. Finer than a millisecond is refused, not rounded. */
static bool take_fraction(const char **at, int *ms)
{
    *ms = 0;
    if (!take(at, '.'))
        return true;
    int digits = 0;
    for (; **at >= '0' && **at <= '9'; ++*at, digits++)
        *ms = digits < 3 ? *ms * 10 + (**at - '0') : *ms;
    for (int i = digits; i < 3; i++)
        *ms *= 10;
    return digits >= 1 && digits <= 3;
}

/* "Z" or "+08:00": minutes ahead of UTC. A time without a zone would be somebody's guess. */
static bool take_zone(const char **at, int *minutes)
{
    *minutes = 0;
    if (take(at, 'Z'))
        return true;
    int hour, minute;
    bool ahead = **at == '+';
    if (!take(at, '+') && !take(at, '-'))
        return false;
    if (!take_digits(at, 2, &hour) || !take(at, ':') || !take_digits(at, 2, &minute))
        return false;
    *minutes = (ahead ? 1 : -1) * (hour * 60 + minute);
    return hour <= 14 && minute <= 59;
}

static bool take_date(const char **at, struct tm *date)
{
    if (!take_digits(at, 4, &date->tm_year) || !take(at, '-'))
        return false;
    if (!take_digits(at, 2, &date->tm_mon) || !take(at, '-') || !take_digits(at, 2, &date->tm_mday))
        return false;
    date->tm_year -= 1900;
    date->tm_mon -= 1;
    return true;
}

static bool take_clock(const char **at, struct tm *date)
{
    if (!take_digits(at, 2, &date->tm_hour) || !take(at, ':') || !take_digits(at, 2, &date->tm_min))
        return false;
    if (!take(at, ':'))
        return true;
    return take_digits(at, 2, &date->tm_sec);
}

static bool parse_iso(const char *text, int64_t *time_ms)
{
    struct tm date = {0};
    int ms, zone_minutes;
    const char *at = text;
    if (!take_date(&at, &date) || !take(&at, 'T') || !take_clock(&at, &date))
        return false;
    if (!take_fraction(&at, &ms) || !take_zone(&at, &zone_minutes) || *at != '\0')
        return false;
    /* timegm turns 30 February into 2 March; then what comes back is another day. */
    struct tm normal = date;
    int64_t seconds = timegm(&normal);
    if (normal.tm_mday != date.tm_mday || normal.tm_mon != date.tm_mon ||
        normal.tm_hour != date.tm_hour || normal.tm_min != date.tm_min ||
        normal.tm_sec != date.tm_sec)
        return false;
    *time_ms = (seconds - zone_minutes * 60ll) * 1000 + ms;
    return *time_ms >= 0 && *time_ms <= TG_TIME_MS_MAX;
}

bool ctl_time_parse(const char *text, int64_t now_ms, int64_t *time_ms, bool *relative)
{
    int64_t after_ms = 0;
    if (strcmp(text, "now") != 0) {
        if (text[0] != '+')
            return parse_iso(text, time_ms);
        if (!ctl_duration_parse(text + 1, &after_ms))
            return false;
    }
    *relative = true;
    *time_ms = now_ms + after_ms;
    return *time_ms >= 0 && *time_ms <= TG_TIME_MS_MAX;
}

const char *ctl_time_text(int64_t time_ms, char text[CTL_TIME_BYTES])
{
    struct tm date;
    time_t seconds = time_ms / 1000;
    int ms = (int)(time_ms % 1000);
    if (time_ms < 0 || time_ms > TG_TIME_MS_MAX || !gmtime_r(&seconds, &date)) {
        snprintf(text, CTL_TIME_BYTES, "%" PRId64 " ms", time_ms);
        return text;
    }
    size_t used = strftime(text, CTL_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &date);
    if (ms)
        snprintf(text + used, CTL_TIME_BYTES - used, ".%03dZ", ms);
    else
        snprintf(text + used, CTL_TIME_BYTES - used, "Z");
    return text;
}

const char *ctl_when_text(int64_t time_ms, char text[CTL_TIME_BYTES])
{
    return time_ms ? ctl_time_text(time_ms, text) : "-";
}

/* --- names --- */

static int currency_decimals(const char *currency)
{
    static const char none[] = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF "
                               "XPF";
    static const char three[] = "BHD IQD JOD KWD LYD OMR TND";
    if (strlen(currency) != TG_CURRENCY_BYTES)
        return 2;
    if (strstr(none, currency))
        return 0;
    return strstr(three, currency) ? 3 : 2;
}

const char *ctl_money_text(int64_t minor, const char *currency, char text[CTL_MONEY_BYTES])
{
    int decimals = currency_decimals(currency);
    uint64_t unit = decimals == 0 ? 1 : decimals == 2 ? 100 : 1000;
    uint64_t size = minor < 0 ? -(uint64_t)minor : (uint64_t)minor;
    const char *sign = minor < 0 ? "-" : "";
    if (decimals == 0)
        snprintf(text, CTL_MONEY_BYTES, "%s%" PRIu64, sign, size);
    else
        snprintf(text, CTL_MONEY_BYTES, "%s%" PRIu64 ".%0*" PRIu64, sign, size / unit, decimals,
                 size % unit);
    return text;
}

const char *ctl_sale_phase(const Tidegate__V1__Sale *sale, int64_t now_ms,
                           char name[CTL_NAME_BYTES])
{
    if ((int)sale->state != TG_SALE_ACTIVE)
        return ctl_enum_name(&tidegate__v1__sale_state__descriptor, (int)sale->state, name);
    if (now_ms < sale->starts_at_ms)
        return "not started";
    return now_ms < sale->ends_at_ms ? "open" : "ended";
}

const char *ctl_hex_text(const ProtobufCBinaryData *bytes, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < bytes->len && 2 * i + 3 <= size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes->data[i]);
    return text;
}

const char *ctl_bytes_text(const ProtobufCBinaryData *bytes, char *text, size_t size)
{
    bool printable = bytes->len < size;
    for (size_t i = 0; i < bytes->len; i++)
        printable = printable && bytes->data[i] >= 0x20 && bytes->data[i] <= 0x7e;
    if (!printable) {
        snprintf(text, size, "0x");
        ctl_hex_text(bytes, text + 2, size - 2);
        return text;
    }
    if (bytes->len)
        memcpy(text, bytes->data, bytes->len);
    text[bytes->len] = '\0';
    return text;
}

void ctl_text_tame(char *text, bool has_lines)
{
    for (char *c = text; *c; c++) {
        unsigned char byte = (unsigned char)*c, after = (unsigned char)c[1];
        if ((byte < 0x20 && !(byte == '\n' && has_lines)) || byte == 0x7f)
            *c = '?';
        else if (byte == 0xc2 && after >= 0x80 && after < 0xa0)
            c[0] = c[1] = '?'; /* U+0080 to U+009f: controls as well */
    }
}

/* --- tables --- */

void ctl_table_init(struct ctl_table *table, const struct ctl_column *columns, uint32_t count)
{
    *table = (struct ctl_table){.columns = columns, .column_count = count};
    for (uint32_t i = 0; i < count; i++)
        table->widths[i] = ctl_text_width(columns[i].title);
}

static void add_cell(struct ctl_table *table, const char *format, va_list args)
{
    char *text;
    if (vasprintf(&text, format, args) < 0)
        ctl_out_of_memory();
    ctl_text_tame(text, false);
    if (table->cell_count == table->cell_capacity) {
        table->cell_capacity = table->cell_capacity ? 2 * table->cell_capacity : 256;
        table->cells = realloc(table->cells, table->cell_capacity * sizeof(table->cells[0]));
        if (!table->cells)
            ctl_out_of_memory();
    }
    uint32_t *width = &table->widths[table->cell_count % table->column_count];
    if (ctl_text_width(text) > *width)
        *width = ctl_text_width(text);
    table->cells[table->cell_count++] = text;
}

void ctl_table_cell(struct ctl_table *table, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_cell(table, format, args);
    va_end(args);
}

void ctl_facts_init(struct ctl_table *table)
{
    static const struct ctl_column columns[] = {{"", false}, {"", false}};
    ctl_table_init(table, columns, 2);
    table->headed = true;
}

void ctl_fact(struct ctl_table *table, const char *name, const char *format, ...)
{
    va_list args;
    ctl_table_cell(table, "%s", name);
    va_start(args, format);
    add_cell(table, format, args);
    va_end(args);
}

static void print_cell(const struct ctl_table *table, uint32_t column, const char *text)
{
    int pad = (int)(table->widths[column] - ctl_text_width(text));
    bool last = column + 1 == table->column_count;
    if (table->columns[column].right)
        printf("%*s%s", pad, "", text);
    else
        printf("%s%*s", text, last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

void ctl_table_flush(struct ctl_table *table)
{
    tg_assert(table->column_count > 0);
    for (uint32_t i = 0; i < table->column_count && !table->headed; i++)
        print_cell(table, i, table->columns[i].title);
    table->headed = true;
    for (size_t i = 0; i < table->cell_count; i++) {
        print_cell(table, (uint32_t)(i % table->column_count), table->cells[i]);
        free(table->cells[i]);
    }
    table->cell_count = 0;
}

void ctl_table_end(struct ctl_table *table)
{
    ctl_table_flush(table);
    free(table->cells);
    table->cells = NULL;
}

/* Wide and fullwidth blocks of Unicode (UAX 11), as far as names of sales need them. wcwidth would
 * ask the locale, and in a container that is "C". */
static bool is_wide(uint32_t c)
{
    static const uint32_t blocks[][2] = {{0x1100, 0x115f},   {0x2e80, 0xa4cf},   {0xac00, 0xd7a3},
                                         {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
                                         {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff},
                                         {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
        if (c >= blocks[i][0] && c <= blocks[i][1])
            return true;
    return false;
}

uint32_t ctl_text_width(const char *text)
{
    uint32_t width = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        uint32_t c = *at++;
        /* The lead byte keeps the bits below its run of ones; a lone tail byte counts as one. */
        if (c >= 0xc0)
            c &= c >= 0xf0 ? 0x07 : c >= 0xe0 ? 0x0f : 0x1f;
        while ((*at & 0xc0) == 0x80)
            c = (c << 6 | (*at++ & 0x3f)) & 0x1fffff;
        width += is_wide(c) ? 2 : 1;
    }
    return width;
}

/* --- JSON --- */

json_t *ctl_json_id(uint64_t id)
{
    return json_sprintf("%" PRIu64, id);
}

json_t *ctl_json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char *ascii = strdup(text);
    if (!ascii)
        ctl_out_of_memory();
    for (char *c = ascii; *c; c++)
        if ((unsigned char)*c > 0x7e)
            *c = '?';
    json = json_string(ascii);
    free(ascii);
    return json;
}

void ctl_json_print(json_t *json)
{
    if (!json)
        ctl_out_of_memory();
    json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(json);
}
