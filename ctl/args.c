#include "ctl/ctl.h"

#include "base/text.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CANDIDATES_MAX 64

/* --- numbers --- */

bool ctl_uint_parse(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    if (!text[0])
        return false;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
            return false;
    }
    *number = value;
    return value >= min && value <= max;
}

bool ctl_int_parse(const char *text, int64_t min, int64_t max, int64_t *number)
{
    uint64_t size;
    bool negative = text[0] == '-';
    if (text[0] == '-' || text[0] == '+')
        text++;
    if (!ctl_uint_parse(text, 0, INT64_MAX, &size))
        return false;
    *number = negative ? -(int64_t)size : (int64_t)size;
    return *number >= min && *number <= max;
}

bool ctl_id_argument(const struct ctl *ctl, uint32_t index, const char *what, uint64_t *id)
{
    if (ctl_uint_parse(ctl->arguments[index], 1, UINT64_MAX, id))
        return true;
    ctl_misused(ctl, "%s \"%s\" must be a number from 1 on", what, ctl->arguments[index]);
    return false;
}

bool ctl_uint_option(const struct ctl *ctl, const char *name, uint64_t min, uint64_t max,
                     uint64_t *number)
{
    const char *text = ctl_option_value(ctl, name);
    if (!text || ctl_uint_parse(text, min, max, number))
        return true;
    ctl_misused(ctl, "--%s \"%s\" must be a number, %" PRIu64 " to %" PRIu64, name, text, min, max);
    return false;
}

const char *ctl_required_option(const struct ctl *ctl, const char *name)
{
    const char *text = ctl_option_value(ctl, name);
    if (!text || !text[0])
        ctl_misused(ctl, "--%s is missing", name);
    return text && text[0] ? text : NULL;
}

bool ctl_enum_option(const struct ctl *ctl, const char *name, const ProtobufCEnumDescriptor *names,
                     int *value)
{
    char choices[CTL_CHOICES_BYTES];
    const char *text = ctl_option_value(ctl, name);
    if (!text || ctl_enum_parse(names, text, value))
        return true;
    ctl_misused(ctl, "--%s \"%s\" must be %s", name, text, ctl_enum_choices(names, choices));
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool ctl_request_id_parse(const char *text, uint8_t id[TG_REQUEST_ID_BYTES])
{
    if (strlen(text) != (size_t)2 * TG_REQUEST_ID_BYTES)
        return false;
    for (size_t i = 0; i < TG_REQUEST_ID_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool ctl_request_id_option(const struct ctl *ctl, uint8_t id[TG_REQUEST_ID_BYTES],
                           char text[CTL_REQUEST_TEXT_BYTES])
{
    const char *given = ctl_option_value(ctl, "request-id");
    if (given && !ctl_request_id_parse(given, id)) {
        ctl_misused(ctl, "--request-id \"%s\" must be %d hex digits", given,
                    2 * TG_REQUEST_ID_BYTES);
        return false;
    }
    if (!given && getrandom(id, TG_REQUEST_ID_BYTES, 0) != TG_REQUEST_ID_BYTES) {
        ctl_complain(CTL_UNREACHABLE, "the system gives no random bytes; use --request-id");
        return false;
    }
    ctl_hex_text(&(ProtobufCBinaryData){TG_REQUEST_ID_BYTES, id}, text, CTL_REQUEST_TEXT_BYTES);
    return true;
}

/* --- words that were nearly right --- */

static enum ctl_exit unknown_word(const struct ctl *ctl, const char *what, const char *word,
                                  const char *const *candidates, uint32_t count)
{
    const char *nearest = tg_text_nearest(word, candidates, count);
    if (nearest)
        return ctl_misused(ctl, "unknown %s \"%s\"; did you mean \"%s\"?", what, word, nearest);
    return ctl_misused(ctl, "unknown %s \"%s\"", what, word);
}

/* --- words --- */

/* The first word after which a command may follow, or the second of two. */
static enum ctl_exit take_command_word(struct ctl *ctl, const char *word)
{
    const char *candidates[CANDIDATES_MAX];
    uint32_t count = 0;
    const struct ctl_command *command;
    for (uint32_t i = 0; (command = ctl_command_at(i)); i++) {
        bool fits_group = ctl->group ? command->group && strcmp(command->group, ctl->group) == 0
                                     : command->group == NULL;
        if (fits_group && strcmp(command->name, word) == 0) {
            ctl->command = command;
            return CTL_DONE;
        }
        if (!ctl->group && command->group && strcmp(command->group, word) == 0) {
            ctl->group = command->group;
            return CTL_DONE;
        }
        if (count < CANDIDATES_MAX)
            candidates[count++] =
                fits_group || ctl->group ? (fits_group ? command->name : NULL) : command->group;
    }
    if (!ctl->group && strcmp(word, "help") == 0) {
        ctl->wants_help = true;
        return CTL_DONE;
    }
    return unknown_word(ctl, ctl->group ? "subcommand" : "command", word, candidates, count);
}

static enum ctl_exit take_word(struct ctl *ctl, const char *word)
{
    if (!ctl->command)
        return take_command_word(ctl, word);
    if (ctl->argument_count == ctl->command->argument_count + ctl->command->argument_more)
        return ctl_misused(ctl, "\"%s\" is one argument too many", word);
    ctl->arguments[ctl->argument_count++] = word;
    return CTL_DONE;
}

/* --- options --- */

static const struct ctl_option *find_option(const struct ctl_option *options, const char *name,
                                            size_t name_bytes)
{
    for (; options->name; options++)
        if (strlen(options->name) == name_bytes && memcmp(options->name, name, name_bytes) == 0)
            return options;
    return NULL;
}

static enum ctl_exit unknown_option(const struct ctl *ctl, const char *word)
{
    const char *candidates[CANDIDATES_MAX];
    uint32_t count = 0;
    for (const struct ctl_option *o = ctl_global_options; o->name; o++)
        candidates[count++] = o->name;
    for (const struct ctl_option *o = ctl->command ? ctl->command->options : NULL; o && o->name;
         o++)
        candidates[count++] = o->name;
    return unknown_word(ctl, "option", word, candidates, count);
}

/* "ca", "cert", "key" or "name", behind "tls-". */
static void set_tls(struct ctl *ctl, const char *what, const char *value)
{
    ctl->has_tls = true;
    if (strcmp(what, "ca") == 0)
        ctl->tls.ca = value;
    else if (strcmp(what, "cert") == 0)
        ctl->tls.certificate = value;
    else if (strcmp(what, "key") == 0)
        ctl->tls.key = value;
    else
        ctl->tls.name = value;
}

static enum ctl_exit set_global(struct ctl *ctl, const char *name, const char *value)
{
    int64_t timeout_ms;
    if (strcmp(name, "help") == 0) {
        ctl->wants_help = true;
    } else if (strcmp(name, "version") == 0) {
        ctl->wants_version = true;
    } else if (strcmp(name, "json") == 0) {
        ctl->json = true;
    } else if (strcmp(name, "server") == 0) {
        ctl->server = value;
    } else if (strcmp(name, "token-file") == 0) {
        ctl->token_file = value;
    } else if (strcmp(name, "tls") == 0) {
        ctl->has_tls = true;
    } else if (strncmp(name, "tls-", 4) == 0) {
        set_tls(ctl, name + 4, value);
    } else {
        if (!ctl_duration_parse(value, &timeout_ms) || timeout_ms < 1 || timeout_ms > INT32_MAX)
            return ctl_misused(ctl, "--timeout \"%s\" must be a time such as 500ms, 5s or 1m",
                               value);
        ctl->timeout_ms = (uint32_t)timeout_ms;
    }
    return CTL_DONE;
}

static enum ctl_exit set_option(struct ctl *ctl, const struct ctl_option *option, const char *value)
{
    const char **place = &ctl->values[option - ctl->command->options];
    if (*place)
        return ctl_misused(ctl, "--%s stands twice", option->name);
    *place = value;
    return CTL_DONE;
}

/* "--name", "--name value" or "--name=value" at argv[*at]; *at moves to the last word used. */
static enum ctl_exit take_option(struct ctl *ctl, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t name_bytes = equals ? (size_t)(equals - name) : strlen(name);
    const char *value = equals ? equals + 1 : NULL;
    const struct ctl_option *option = find_option(ctl_global_options, name, name_bytes);
    bool global = option != NULL;
    if (!option && ctl->command)
        option = find_option(ctl->command->options, name, name_bytes);
    if (!option)
        return unknown_option(ctl, name);
    if (!option->value && value)
        return ctl_misused(ctl, "--%s takes no value", option->name);
    if (option->value && !value) {
        if (*at + 1 == argc)
            return ctl_misused(ctl, "--%s needs a value: %s", option->name, option->value);
        value = argv[++*at];
    }
    return global ? set_global(ctl, option->name, value)
                  : set_option(ctl, option, value ? value : "");
}

enum ctl_exit ctl_args_read(struct ctl *ctl, int argc, char **argv)
{
    bool only_words = false;
    *ctl = (struct ctl){.server = CTL_SERVER_DEFAULT, .timeout_ms = CTL_TIMEOUT_MS_DEFAULT};
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        enum ctl_exit code = CTL_DONE;
        if (only_words || word[0] != '-' || word[1] == '\0')
            code = take_word(ctl, word);
        else if (strcmp(word, "--") == 0)
            only_words = true;
        else if (strcmp(word, "-h") == 0)
            ctl->wants_help = true;
        else if (word[1] == '-')
            code = take_option(ctl, argc, argv, &at);
        else
            code = ctl_misused(ctl, "unknown option \"%s\"; options begin with two dashes", word);
        if (code)
            return code;
    }
    if (ctl->wants_help || ctl->wants_version)
        return CTL_DONE;
    if (!ctl->command)
        return ctl_misused(ctl, ctl->group ? "a subcommand is missing" : "a command is missing");
    if (ctl->argument_count < ctl->command->argument_count)
        return ctl_misused(ctl, "an argument is missing: %s", ctl->command->arguments);
    return CTL_DONE;
}

const char *ctl_option_value(const struct ctl *ctl, const char *name)
{
    const struct ctl_option *option = find_option(ctl->command->options, name, strlen(name));
    return option ? ctl->values[option - ctl->command->options] : NULL;
}
