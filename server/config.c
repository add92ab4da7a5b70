#include "server/config.h"

#include "base/count.h"
#include "base/log.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a value is, and so how it is read, kept and written. */
enum kind {
    KIND_NUMBER, /* uint64_t, low .. high */
    KIND_TEXT,   /* char[size] */
    KIND_FLAG,   /* bool */
    KIND_CHOICE, /* uint64_t, the place of the word in `choices` */
};

struct key {
    const char *section;
    const char *name;
    enum kind kind;
    size_t offset;
    size_t size;
    uint64_t initial;
    uint64_t low;
    uint64_t high;
    const char *const *choices; /* behind the last one NULL */
    const char *takes;          /* of a number its unit; of others what can be said */
    int reload;
    const char *help;
};

static const char *const levels[] = {
    [TG_LOG_INFO] = "info", [TG_LOG_WARN] = "warn", [TG_LOG_ERROR] = "error", NULL};
static const char *const formats[] = {
    [TG_LOG_TEXT] = "text", [TG_LOG_KV] = "kv", [TG_LOG_JSON] = "json", NULL};

static const char *const tls_versions[] = {[SRV_TLS_1_2] = "1.2", [SRV_TLS_1_3] = "1.3", NULL};

#define AT(field)   offsetof(struct srv_config, field)
#define SIZE(field) sizeof(((struct srv_config *)0)->field)

/* The one table of keys: files, --set, --help, the example and the manual page come from it. */
static const struct key keys[] = {
    {"server", "listen", KIND_TEXT, AT(listen), SIZE(listen), 0, 0, 0, NULL, "HOST:PORT", 0,
     "address of the native protocol; port 0 picks a free one"},
    {"server", "insecure", KIND_FLAG, AT(insecure), 0, 0, 0, 0, NULL, "true or false", 0,
     "listen beyond loopback although callers are not authenticated"},
    {"storage", "data_dir", KIND_TEXT, AT(data_dir), SIZE(data_dir), 0, 0, 0, NULL, "a directory",
     0, "directory of the database; created when missing"},
    {"tls", "certificate", KIND_TEXT, AT(tls_certificate), SIZE(tls_certificate), 0, 0, 0, NULL,
     "a PEM file", 0, "certificate, then its chain; with tls.key turns TLS on for all listeners"},
    {"tls", "key", KIND_TEXT, AT(tls_key), SIZE(tls_key), 0, 0, 0, NULL, "a PEM file", 0,
     "private key of the certificate, without a passphrase"},
    {"tls", "client_ca", KIND_TEXT, AT(tls_client_ca), SIZE(tls_client_ca), 0, 0, 0, NULL,
     "a PEM file", 0, "callers must show a certificate that one of these has signed"},
    {"tls", "version_min", KIND_CHOICE, AT(tls_version_min), 0, SRV_TLS_1_2, 0, 0, tls_versions,
     "1.2 or 1.3", 0, "the oldest version of TLS that is spoken"},
    {"grpc", "listen", KIND_TEXT, AT(grpc_listen), SIZE(grpc_listen), 0, 0, 0, NULL,
     "HOST:PORT or nothing", 0, "address of the gRPC listener, HTTP/2; empty: none"},
    {"admin", "listen", KIND_TEXT, AT(admin_listen), SIZE(admin_listen), 0, 0, 0, NULL,
     "HOST:PORT or nothing", 0,
     "address of the admin listener: metrics, health, JSON, the live page; empty: none"},
    {"security", "audit_log", KIND_TEXT, AT(audit_log), SIZE(audit_log), 0, 0, 0, NULL, "a file", 0,
     "where each operator's action is appended, as JSON lines; SIGHUP opens it anew"},
    {"security", "token_file", KIND_TEXT, AT(token_file), SIZE(token_file), 0, 0, 0, NULL, "a file",
     0, "tokens that callers must show, as hashes; SIGHUP reads it again"},
    {"log", "level", KIND_CHOICE, AT(log_level), 0, TG_LOG_INFO, 0, 0, levels,
     "info, warn or error", 1, "the least that is told"},
    {"log", "format", KIND_CHOICE, AT(log_format), 0, TG_LOG_TEXT, 0, 0, formats,
     "text, kv or json", 1, "how a line of the log is written"},
#define SRV_NUMBER_ROW(section_, name_, initial_, low_, high_, unit_, reload_, help_)              \
    {#section_, #name_, KIND_NUMBER, AT(name_), 0,       initial_,                                 \
     low_,      high_,  NULL,        unit_,     reload_, help_},
    SRV_NUMBERS(SRV_NUMBER_ROW)
#undef SRV_NUMBER_ROW
};

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* In the order in which people read them. */
static const struct {
    const char *name;
    const char *help;
} sections[] = {
    {"server", "Listener, threads, connections, lanes."},
    {"grpc", "The same over gRPC: see docs/grpc.md."},
    {"tls", "Encryption of all listeners. SIGHUP reads the files again: see docs/security.md."},
    {"security", "Who may do what: docs/security.md."},
    {"storage", "The database."},
    {"engine", "Sizes of what is kept in memory. What is full refuses orders as BUSY."},
    {"events", "The outbox. What a consumer group has not acked is kept whatever these say."},
    {"admin", "Metrics, health, JSON and the live page, by HTTP (docs/admin.md)."},
    {"log", "Standard error, a line for each thing worth knowing."},
};

#define SECTION_COUNT (sizeof(sections) / sizeof(sections[0]))

#define KEY_BYTES 64 /* room for "section.name" */

static void *field(struct srv_config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

static const void *field_of(const struct srv_config *config, const struct key *key)
{
    return (const char *)config + key->offset;
}

static uint64_t number_of(const struct srv_config *config, const struct key *key)
{
    return tg_count_read(field_of(config, key));
}

void srv_config_init(struct srv_config *config)
{
    *config = (struct srv_config){.listen = "127.0.0.1:7411"};
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (keys[i].kind == KIND_NUMBER || keys[i].kind == KIND_CHOICE)
            *(uint64_t *)field(config, &keys[i]) = keys[i].initial;
}

/* --- one value --- */

static enum tg_error set_text(char *into, const struct key *key, const char *value,
                              struct tg_fault *fault)
{
    if (strlen(value) >= key->size)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s.%s is longer than %zu bytes", key->section,
                            key->name, key->size - 1);
    snprintf(into, key->size, "%s", value);
    return TG_ERR_OK;
}

static enum tg_error set_flag(bool *into, const struct key *key, const char *value,
                              struct tg_fault *fault)
{
    bool flag = strcmp(value, "true") == 0;
    if (!flag && strcmp(value, "false") != 0)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s.%s must be true or false, not '%s'",
                            key->section, key->name, value);
    *into = flag;
    return TG_ERR_OK;
}

static enum tg_error set_choice(uint64_t *into, const struct key *key, const char *value,
                                struct tg_fault *fault)
{
    for (uint64_t i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], value) == 0) {
            *into = i;
            return TG_ERR_OK;
        }
    return tg_fault_set(fault, TG_ERR_INVALID, "%s.%s must be %s, not '%s'", key->section,
                        key->name, key->takes, value);
}

static enum tg_error set_number(uint64_t *into, const struct key *key, const char *value,
                                struct tg_fault *fault)
{
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || parsed < key->low ||
        parsed > key->high)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%s.%s must be a number from %" PRIu64 " to %" PRIu64 "%s%s, not '%s'",
                            key->section, key->name, key->low, key->high, key->takes[0] ? " " : "",
                            key->takes, value);
    *into = parsed;
    return TG_ERR_OK;
}

/* The key that was probably meant, into `name`: one of that name in another section, one of a
 * like name in this section, one that is like it as a whole. */
static bool nearest_key(const char *section, const char *word, char name[KEY_BYTES])
{
    char full[KEY_COUNT][KEY_BYTES];
    char whole[KEY_BYTES];
    const char *wholes[KEY_COUNT], *within[KEY_COUNT];
    snprintf(whole, sizeof(whole), "%.30s.%.30s", section, word);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        snprintf(full[i], sizeof(full[i]), "%s.%s", keys[i].section, keys[i].name);
        wholes[i] = full[i];
        within[i] = strcmp(keys[i].section, section) == 0 ? keys[i].name : NULL;
    }
    const char *near = tg_text_nearest(word, within, KEY_COUNT);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].name, word) == 0 || (near && within[i] == near)) {
            snprintf(name, KEY_BYTES, "%s", full[i]);
            return true;
        }
    near = tg_text_nearest(whole, wholes, KEY_COUNT);
    if (near)
        snprintf(name, KEY_BYTES, "%s", near);
    return near != NULL;
}

enum tg_error srv_config_set(struct srv_config *config, const char *section, const char *name,
                             const char *value, struct tg_fault *fault)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *key = &keys[i];
        if (strcmp(section, key->section) != 0 || strcmp(name, key->name) != 0)
            continue;
        switch (key->kind) {
        case KIND_NUMBER:
            return set_number(field(config, key), key, value, fault);
        case KIND_TEXT:
            return set_text(field(config, key), key, value, fault);
        case KIND_FLAG:
            return set_flag(field(config, key), key, value, fault);
        case KIND_CHOICE:
            return set_choice(field(config, key), key, value, fault);
        }
    }
    char near[KEY_BYTES];
    bool found = nearest_key(section, name, near);
    return tg_fault_set(
        fault, TG_ERR_INVALID, "there is no key %.64s.%.64s. %s%s%stidegated --help lists the keys",
        section, name, found ? "Did you mean " : "", found ? near : "", found ? "? " : "");
}

/* --- a file --- */

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

static enum tg_error check_tls(const struct srv_config *config, struct tg_fault *fault)
{
    bool certificate = config->tls_certificate[0] != '\0', key = config->tls_key[0] != '\0';
    if (certificate != key)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%s is set and %s is not: TLS needs both, or neither",
                            certificate ? "tls.certificate" : "tls.key",
                            certificate ? "tls.key" : "tls.certificate");
    if (config->tls_client_ca[0] != '\0' && !certificate)
        return tg_fault_set(
            fault, TG_ERR_INVALID,
            "tls.client_ca is set without tls.certificate and tls.key: certificates "
            "of callers are asked for over TLS alone");
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
    return check_tls(config, fault);
}

/* --- telling --- */

/* The value as a file has it, in `text` or constant. */
static const char *value_text(const struct srv_config *config, const struct key *key, char *text,
                              size_t size)
{
    switch (key->kind) {
    case KIND_NUMBER:
        snprintf(text, size, "%" PRIu64, number_of(config, key));
        return text;
    case KIND_TEXT:
        return field_of(config, key);
    case KIND_FLAG:
        return *(const bool *)field_of(config, key) ? "true" : "false";
    case KIND_CHOICE:
        return key->choices[number_of(config, key)];
    }
    return "";
}

/* "1 to 86400 seconds", "HOST:PORT". */
static const char *range_text(const struct key *key, char *text, size_t size)
{
    if (key->kind != KIND_NUMBER)
        return key->takes;
    snprintf(text, size, "%" PRIu64 " to %" PRIu64 "%s%s", key->low, key->high,
             key->takes[0] ? " " : "", key->takes);
    return text;
}

uint32_t srv_config_reload(struct srv_config *running, const struct srv_config *fresh,
                           srv_config_changed *changed, void *context)
{
    uint32_t differences = 0;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *key = &keys[i];
        char name[KEY_BYTES], was[24], is[24];
        const char *before = value_text(running, key, was, sizeof(was));
        const char *after = value_text(fresh, key, is, sizeof(is));
        if (strcmp(before, after) == 0)
            continue;
        differences++;
        snprintf(name, sizeof(name), "%s.%s", key->section, key->name);
        changed(context, name, before, after, key->reload);
        if (key->reload)
            tg_count_set(field(running, key), number_of(fresh, key));
    }
    return differences;
}

void srv_config_describe(void)
{
    struct srv_config initial;
    srv_config_init(&initial);
    printf("  %-28s %14s  %s\n", "key", "default", "meaning (range; * also by SIGHUP)");
    for (size_t section = 0; section < SECTION_COUNT; section++)
        for (size_t i = 0; i < KEY_COUNT; i++) {
            char name[KEY_BYTES], value[24], range[80];
            if (strcmp(keys[i].section, sections[section].name) != 0)
                continue;
            snprintf(name, sizeof(name), "%s.%s", keys[i].section, keys[i].name);
            printf("  %-28s %14s  %s (%s%s)\n", name,
                   value_text(&initial, &keys[i], value, sizeof(value)), keys[i].help,
                   range_text(&keys[i], range, sizeof(range)), keys[i].reload ? "; *" : "");
        }
}

/* Each key of a section by `write`. */
static void write_sections(const struct srv_config *config, FILE *file,
                           void (*write)(const struct srv_config *, const struct key *, FILE *))
{
    for (size_t section = 0; section < SECTION_COUNT; section++) {
        fprintf(file, "\n# %s\n[%s]\n", sections[section].help, sections[section].name);
        for (size_t i = 0; i < KEY_COUNT; i++)
            if (strcmp(keys[i].section, sections[section].name) == 0)
                write(config, &keys[i], file);
    }
}

static void write_example_key(const struct srv_config *config, const struct key *key, FILE *file)
{
    char value[24], range[80];
    bool needed = key->offset == AT(data_dir); /* the one key that must be said */
    const char *preset = value_text(config, key, value, sizeof(value));
    fprintf(file, "\n# %c%s.\n# Takes %s. Default: %s.%s\n%s%s =%s%s\n",
            toupper((unsigned char)key->help[0]), key->help + 1,
            range_text(key, range, sizeof(range)),
            needed              ? "none, it must be said"
            : preset[0] == '\0' ? "none"
                                : preset,
            key->reload ? " A reload (SIGHUP) takes it over." : "", needed ? "" : "#", key->name,
            needed || preset[0] ? " " : "", needed ? "/var/lib/tidegate" : preset);
}

void srv_config_write_example(FILE *file)
{
    struct srv_config initial;
    srv_config_init(&initial);
    fputs("# Configuration of tidegated: tidegate.conf(5).\n"
          "#\n"
          "# Every key stands here with its range and its default; take away the # in front of one "
          "to\n"
          "# set it. What the command line says wins. To try a file: tidegated --config FILE\n"
          "# --check-config. Keys that a reload does not take over need a restart.\n",
          file);
    write_sections(&initial, file, write_example_key);
}

static void write_key(const struct srv_config *config, const struct key *key, FILE *file)
{
    char value[24], standard[24];
    struct srv_config initial;
    srv_config_init(&initial);
    const char *text = value_text(config, key, value, sizeof(value));
    const char *preset = value_text(&initial, key, standard, sizeof(standard));
    fprintf(file, "%s =%s%s", key->name, text[0] ? " " : "", text);
    if (strcmp(text, preset) != 0 && preset[0] != '\0')
        fprintf(file, " ; default %s", preset);
    fputc('\n', file);
}

void srv_config_write(const struct srv_config *config, FILE *file)
{
    write_sections(config, file, write_key);
}
