#include "loadgen/values.h"

#include "base/limits.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZIPF_EXPONENT     0.99
#define ZIPF_EXPONENT_MAX 10.0
#define WORD_BYTES        48

/* A finite number, not negative, and what stands behind it. */
static bool parse_number(const char *text, double *value, const char **rest)
{
    char *end;
    /* strtod would take spaces, signs, hexadecimal and "inf", too. */
    if ((text[0] < '0' || text[0] > '9') || text[0] == '\0' || text[1] == 'x' || text[1] == 'X')
        return false;
    errno = 0;
    *value = strtod(text, &end);
    *rest = end;
    return errno == 0 && isfinite(*value);
}

bool lg_parse_duration(const char *text, int64_t *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    double value;
    const char *rest;
    if (!parse_number(text, &value, &rest))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(rest, units[i].unit) != 0)
            continue;
        if (value * units[i].ns > (double)LG_DURATION_NS_MAX)
            return false;
        *ns = (int64_t)(value * units[i].ns);
        return true;
    }
    return strcmp(text, "0") == 0 ? (*ns = 0, true) : false;
}

bool lg_parse_count(const char *text, uint64_t max, uint64_t *count)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long whole = strtoull(text, &end, 10);
    if (*end == '\0') {
        *count = whole;
        return errno == 0 && whole <= max;
    }
    double value, scale;
    const char *rest;
    if (!parse_number(text, &value, &rest) || rest[0] == '\0' || rest[1] != '\0')
        return false;
    switch (rest[0]) {
    case 'k':
        scale = 1e3;
        break;
    case 'M':
        scale = 1e6;
        break;
    case 'G':
        scale = 1e9;
        break;
    default:
        return false;
    }
    if (value * scale > (double)max || value * scale >= 0x1p63)
        return false;
    *count = (uint64_t)llround(value * scale);
    return true;
}

bool lg_parse_count32(const char *text, uint32_t min, uint32_t max, uint32_t *count)
{
    uint64_t value;
    if (!lg_parse_count(text, max, &value) || value < min)
        return false;
    *count = (uint32_t)value;
    return true;
}

bool lg_parse_share(const char *text, double *share)
{
    const char *rest;
    return parse_number(text, share, &rest) && *rest == '\0' && *share <= 1;
}

/* A rate that may be 0. */
static bool parse_rate_number(const char *text, double *rate)
{
    uint64_t value;
    const char *rest;
    if (parse_number(text, rate, &rest) && *rest == '\0')
        return *rate <= LG_RATE_MAX;
    if (!lg_parse_count(text, (uint64_t)LG_RATE_MAX, &value))
        return false;
    *rate = (double)value;
    return true;
}

bool lg_parse_rate(const char *text, double *rate)
{
    if (strcmp(text, "max") == 0) {
        *rate = 0;
        return true;
    }
    return parse_rate_number(text, rate) && *rate > 0;
}

bool lg_parse_distribution(const char *text, double *exponent)
{
    const char *rest;
    if (strcmp(text, "uniform") == 0)
        *exponent = 0;
    else if (strcmp(text, "zipf") == 0)
        *exponent = ZIPF_EXPONENT;
    else
        return strncmp(text, "zipf:", 5) == 0 && parse_number(text + 5, exponent, &rest) &&
               *rest == '\0' && *exponent <= ZIPF_EXPONENT_MAX;
    return true;
}

/* Copies `text` up to `end`; false when it has no room. */
static bool cut(const char *text, const char *end, char *word, size_t room)
{
    size_t bytes = (size_t)(end - text);
    if (bytes >= room)
        return false;
    memcpy(word, text, bytes);
    word[bytes] = '\0';
    return true;
}

bool lg_parse_quantity(const char *text, uint32_t *min, uint32_t *max)
{
    char low[24];
    const char *dash = strchr(text, '-');
    if (!dash) {
        if (!lg_parse_count32(text, 1, TG_QUANTITY_MAX, min))
            return false;
        *max = *min;
        return true;
    }
    return cut(text, dash, low, sizeof(low)) && lg_parse_count32(low, 1, TG_QUANTITY_MAX, min) &&
           lg_parse_count32(dash + 1, *min, TG_QUANTITY_MAX, max);
}

/* --- stages ------------------------------------------------------------------------------------
 */

/* The next word of `*text`, which moves behind it; false when there is none, or one too long. */
static bool next_word(const char **text, char *word, size_t room)
{
    const char *begin = *text + strspn(*text, " \t");
    *text = begin + strcspn(begin, " \t");
    return *text > begin && cut(begin, *text, word, room);
}

static bool parse_stage_rate(const char *text, struct lg_stage_wish *stage)
{
    char from[WORD_BYTES];
    const char *dots = strstr(text, "..");
    stage->closed = strcmp(text, "max") == 0;
    stage->rate_from = stage->rate_to = 0;
    if (stage->closed)
        return true;
    if (dots)
        return cut(text, dots, from, sizeof(from)) && parse_rate_number(from, &stage->rate_from) &&
               parse_rate_number(dots + 2, &stage->rate_to);
    if (!parse_rate_number(text, &stage->rate_from))
        return false;
    stage->rate_to = stage->rate_from;
    return true;
}

bool lg_parse_stage(const char *text, struct lg_stage_wish *stage)
{
    char duration[WORD_BYTES], rate[WORD_BYTES], more[WORD_BYTES];
    memset(stage->name, 0, sizeof(stage->name));
    if (!next_word(&text, stage->name, sizeof(stage->name)) ||
        !next_word(&text, duration, sizeof(duration)) || !next_word(&text, rate, sizeof(rate)) ||
        next_word(&text, more, sizeof(more)) || text[strspn(text, " \t")] != '\0')
        return false;
    if (stage->name[strspn(stage->name, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return false;
    return lg_parse_duration(duration, &stage->duration_ns) && stage->duration_ns > 0 &&
           parse_stage_rate(rate, stage);
}

/* --- objectives --------------------------------------------------------------------------------
 */

bool lg_parse_objective(const char *text, struct lg_objective *objective)
{
    static const struct {
        const char *word, *name;
        double fraction;
    } points[] = {{"p50", "p50", 0.5},        {"p90", "p90", 0.9},      {"p99", "p99", 0.99},
                  {"p999", "p999", 0.999},    {"p99.9", "p999", 0.999}, {"p9999", "p9999", 0.9999},
                  {"p99.99", "p9999", 0.9999}};
    char word[WORD_BYTES];
    const char *end = text + strcspn(text, " <"), *sign = end + strspn(end, " ");
    if (!cut(text, end, word, sizeof(word)) || strncmp(sign, "<=", 2) != 0)
        return false;
    const char *limit = sign + 2 + strspn(sign + 2, " ");
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (strcmp(word, points[i].word) != 0)
            continue;
        snprintf(objective->name, sizeof(objective->name), "%s", points[i].name);
        objective->fraction = points[i].fraction;
        return lg_parse_duration(limit, &objective->at_most_ns) && objective->at_most_ns > 0;
    }
    return false;
}
