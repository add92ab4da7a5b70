#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const char exit_codes[] = "0  done\n"
                                 "1  refused by the server (its verdict is printed by name), a "
                                 "promise is\n"
                                 "   broken (verify, backup, restore), or an export broke off\n"
                                 "2  the command line or the file is wrong; nothing more was sent\n"
                                 "3  the server cannot be reached or gave no answer in time, or a "
                                 "file\n"
                                 "   cannot be read or written";

/* Each line of `text` behind `indent` spaces. */
static void print_indented(const char *text, int indent)
{
    while (*text) {
        int line_bytes = (int)strcspn(text, "\n");
        printf("%*s%.*s\n", line_bytes ? indent : 0, "", line_bytes, text);
        text += line_bytes;
        text += *text == '\n';
    }
}

static void print_section(const char *title, const char *text)
{
    printf("\n%s\n", title);
    print_indented(text, 4);
}

static void print_options(const char *title, const struct ctl_option *options)
{
    if (!options->name)
        return;
    printf("\n%s\n", title);
    for (const struct ctl_option *o = options; o->name; o++) {
        printf("    --%s%s%s\n", o->name, o->value ? " " : "", o->value ? o->value : "");
        print_indented(o->help, 8);
        if (o->preset)
            printf("        Default: %s.\n", o->preset);
    }
}

static void print_command_list(const char *group)
{
    const struct ctl_command *c;
    for (uint32_t i = 0; (c = ctl_command_at(i)); i++) {
        char words[64];
        if (group && (!c->group || strcmp(c->group, group) != 0))
            continue;
        snprintf(words, sizeof(words), "%s%s%s", c->group ? c->group : "", c->group ? " " : "",
                 c->name);
        printf("    %-19s  %s\n", words, c->summary);
    }
}

static void print_command(const struct ctl_command *c)
{
    const char *group = c->group ? c->group : "", *space = c->group ? " " : "";
    printf("NAME\n    tidegatectl %s%s%s - %s\n", group, space, c->name, c->summary);
    printf("\nSYNOPSIS\n    tidegatectl [GLOBAL OPTIONS] %s%s%s%s%s\n", group, space, c->name,
           c->arguments[0] ? " " : "", c->arguments);
    print_section("DESCRIPTION", c->description);
    print_options("OPTIONS", c->options);
    print_options("GLOBAL OPTIONS", ctl_global_options);
    print_section("EXIT CODES", exit_codes);
    print_section("EXAMPLES", c->examples);
}

static void print_group(const char *group)
{
    printf("usage: tidegatectl [GLOBAL OPTIONS] %s SUBCOMMAND ...\n\nSUBCOMMANDS\n", group);
    print_command_list(group);
    printf("\nSee 'tidegatectl %s SUBCOMMAND --help'.\n", group);
}

static void print_everything(void)
{
    printf("NAME\n    tidegatectl - operate a Tidegate order engine\n"
           "\nSYNOPSIS\n    tidegatectl [GLOBAL OPTIONS] COMMAND ...\n"
           "    tidegatectl COMMAND --help\n");
    print_section("DESCRIPTION",
                  "Creates sales, watches and corrects their stock, places orders and leads them\n"
                  "through their life, forms teams, reads the outbox, and checks, backs up and\n"
                  "restores the database.\n"
                  "What was asked for goes to stdout, errors to stderr. Times are ISO 8601 in\n"
                  "UTC. Amounts are shown with the decimals that ISO 4217 gives the currency\n"
                  "(two when it is not known) where the sale is; in lists, files, options and\n"
                  "--json they are whole minor units, such as 9900 for CNY 99.00.");
    printf("\nCOMMANDS\n");
    print_command_list(NULL);
    print_options("GLOBAL OPTIONS", ctl_global_options);
    print_section("EXIT CODES", exit_codes);
    print_section("EXAMPLES", "tidegatectl sale create docs/examples/seckill.json\n"
                              "tidegatectl sale show 1\n"
                              "tidegatectl --server 10.0.0.5:7411 order list --sale 1 --json\n"
                              "tidegatectl order pay 1025 --payment-id wx-1 --amount 9900\n"
                              "tidegatectl events tail --group erp --follow --ack --json\n"
                              "tidegatectl top\n"
                              "tidegatectl backup --data-dir /var/lib/tidegate /backup/today\n"
                              "tidegatectl verify --data-dir /var/lib/tidegate");
}

void ctl_help_print(const struct ctl *ctl)
{
    if (ctl->command)
        print_command(ctl->command);
    else if (ctl->group)
        print_group(ctl->group);
    else
        print_everything();
}
