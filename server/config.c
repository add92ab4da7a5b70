#include "server/config.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct number {
    const char *section;
    const char *name;
    size_t offset;
    uint64_t initial;
    uint64_t low;
    uint64_t high;
    const char *help;
};

static const struct number numbers[] = {
#define SRV_NUMBER_ROW(section_, name_, initial_, low_, high_, help_)                              \
    {#section_, #name_, offsetof(struct srv_config, name_), initial_, low_, high_, help_},
    SRV_NUMBERS(SRV_NUMBER_ROW)
#undef SRV_NUMBER_ROW
};

#define NUMBER_COUNT (sizeof(numbers) / sizeof(numbers[0]))

static uint64_t *field(struct srv_config *config, const struct number *number)
{
    return (uint64_t *)(void *)((char *)config + number->offset);
}

void srv_config_init(struct srv_config *config)
{
    *config = (struct srv_config){.listen = "127.0.0.1:7411"};
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        *field(config, &numbers[i]) = numbers[i].initial;
}

static enum tg_error set_text(char *into, size_t size, const char *name, const char *value,
                              struct tg_fault *fault)
{
    if (strlen(value) >= size)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s is longer than %zu bytes", name, size - 1);
    snprintf(into, size, "%s", value);
    return TG_ERR_OK;
}

static enum tg_error set_flag(bool *into, const char *name, const char *value,
                              struct tg_fault *fault)
{
    *into = strcmp(value, "true") == 0;
    if (!*into && strcmp(value, "false") != 0)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s must be true or false, not '%s'", name,
                            value);
    return TG_ERR_OK;
}

static enum tg_error set_number(struct srv_config *config, const struct number *number,
                                const char *value, struct tg_fault *fault)
{
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || parsed < number->low ||
        parsed > number->high)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%s.%s must be a number from %" PRIu64 " to %" PRIu64 ", not '%s'",
                            number->section, number->name, number->low, number->high, value);
    *field(config, number) = parsed;
    return TG_ERR_OK;
}

enum tg_error srv_config_set(struct srv_config *config, const char *section, const char *name,
                             const char *value, struct tg_fault *fault)
{
    if (strcmp(section, "server") == 0 && strcmp(name, "listen") == 0)
        return set_text(config->listen, sizeof(config->listen), "server.listen", value, fault);
    if (strcmp(section, "server") == 0 && strcmp(name, "insecure") == 0)
        return set_flag(&config->insecure, "server.insecure", value, fault);
    if (strcmp(section, "storage") == 0 && strcmp(name, "data_dir") == 0)
        return set_text(config->data_dir, sizeof(config->data_dir), "storage.data_dir", value,
                        fault);
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        if (strcmp(section, numbers[i].section) == 0 && strcmp(name, numbers[i].name) == 0)
            return set_number(config, &numbers[i], value, fault);
    return tg_fault_set(fault, TG_ERR_INVALID,
                        "there is no key %s.%s: tidegated --help lists the keys", section, name);
}

struct loading {
    struct srv_config *config;
    FILE *file;
    int line;       /* the last one read */
    int fault_line; /* 0: no fault so far */
    struct tg_fault fault;
};

/* The parser gives no line number to on_key, takes an indented line for more of the value above,
 * and cuts a long one in pieces. So the lines pass through here. */
static char *read_line(char *line, int size, void *context)
{
    struct loading *loading = context;
    if (!fgets(line, size, loading->file))
        return NULL;
    loading->line++;
    const char *fault = NULL;
    if (!strchr(line, '\n') && !feof(loading->file))
        fault = "is too long";
    if ((line[0] == ' ' || line[0] == '\t') && !strchr(";#\r\n", line[strspn(line, " \t")]))
        fault = "begins with a space: keys and sections start at the beginning of their line";
    if (!fault)
        return line;
    if (loading->fault_line == 0) {
        loading->fault_line = loading->line;
        tg_fault_set(&loading->fault, TG_ERR_INVALID, "%s", fault);
    }
    return NULL;
}

static int on_key(void *context, const char *section, const char *name, const char *value)
{
    struct loading *loading = context;
    if (loading->fault_line != 0) /* the parser goes on; the first fault is the one to tell */
        return 0;
    if (srv_config_set(loading->config, section, name, value, &loading->fault) == TG_ERR_OK)
        return 1;
    loading->fault_line = loading->line;
    return 0;
}

enum tg_error srv_config_load(struct srv_config *config, const char *path, struct tg_fault *fault)
{
    struct loading loading = {.config = config, .file = fopen(path, "re")};
    if (!loading.file)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot read %s", path);
    int line = ini_parse_stream(read_line, &loading, on_key, &loading);
    bool broken = ferror(loading.file);
    fclose(loading.file);
    if (broken)
        return tg_fault_set(fault, TG_ERR_INVALID, "cannot read %s: is it a file?", path);
    /* The parser's own complaint may come before the first key's. */
    if (line > 0 && (loading.fault_line == 0 || line < loading.fault_line))
        return tg_fault_set(fault, TG_ERR_INVALID, "%.200s, line %d: not a 'key = value' line",
                            path, line);
    if (loading.fault_line != 0)
        return tg_fault_set(fault, TG_ERR_INVALID, "%.200s, line %d: %.250s", path,
                            loading.fault_line, loading.fault.text);
    return TG_ERR_OK;
}

enum tg_error srv_config_check(const struct srv_config *config, struct tg_fault *fault)
{
    if (config->data_dir[0] == '\0')
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "no data directory: say --data-dir DIR, or storage.data_dir in the "
                            "configuration");
    if (config->orders_max / config->threads < 16 || config->holdings_max / config->threads < 16)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "engine.orders_max and engine.holdings_max must be at least 16 for "
                            "each of the %" PRIu64 " threads",
                            config->threads);
    if (config->timers_max / config->threads < 1024)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "engine.timers_max must be at least 1024 for each of the %" PRIu64
                            " threads",
                            config->threads);
    return TG_ERR_OK;
}

void srv_config_describe(void)
{
    printf("  [server]\n  %-20s HOST:PORT, default 127.0.0.1:7411\n  %-20s true or false, default "
           "false: listen beyond loopback\n  [storage]\n  %-20s directory of the database\n\n",
           "listen", "insecure", "data_dir");
    printf("  %-28s %12s  %s\n", "key", "default", "meaning (range)");
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        char key[64];
        snprintf(key, sizeof(key), "%s.%s", numbers[i].section, numbers[i].name);
        printf("  %-28s %12" PRIu64 "  %s (%" PRIu64 " to %" PRIu64 ")\n", key, numbers[i].initial,
               numbers[i].help, numbers[i].low, numbers[i].high);
    }
}
