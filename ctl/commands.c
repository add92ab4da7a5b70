/* All tables of commands, the global options, and the commands that stand alone. */
#include "ctl/commands.h"

const struct ctl_option ctl_global_options[] = {
    {"server", "HOST:PORT", CTL_SERVER_DEFAULT,
     "The engine to talk to; an IPv6 address stands in brackets: [::1]:7411."},
    {"token-file", "FILE", "that in TIDEGATE_TOKEN, if any",
     "Show the token in the first line of FILE. There is no option for the\n"
     "token itself: others on the machine could read it in the list of\n"
     "processes."},
    {"tls", NULL, NULL, "Speak TLS with the server. Its certificate must hold."},
    {"tls-ca", "FILE", NULL,
     "Speak TLS, and believe the authorities of this PEM file in the place of\n"
     "those of the system."},
    {"tls-cert", "FILE", NULL,
     "Speak TLS, and show this PEM certificate when the server asks for one."},
    {"tls-key", "FILE", NULL, "The private key of --tls-cert."},
    {"tls-name", "NAME", NULL,
     "Speak TLS with a server whose certificate names this host and not the\n"
     "one of --server."},
    {"timeout", "DURATION", "5s",
     "How long to wait for the connection, and then for each answer:\n"
     "digits and ms, s, m, h or d. BUSY is asked again within it."},
    {"json", NULL, NULL,
     "Print one JSON object a line. Ids are strings in it, amounts whole\n"
     "minor units, times Unix milliseconds."},
    {"help", NULL, NULL, "Print this help: of everything, or of the command it stands with."},
    {"version", NULL, NULL, "Print the version."},
    {NULL, NULL, NULL, NULL},
};

const struct ctl_command *ctl_command_at(uint32_t number)
{
    static const struct ctl_command *const tables[] = {
        ctl_sale_commands, ctl_order_commands, ctl_team_commands, ctl_events_commands,
        ctl_run_commands,  ctl_token_commands, ctl_other_commands};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct ctl_command *command = tables[i]; command->name; command++)
            if (number-- == 0)
                return command;
    return NULL;
}

const struct ctl_command ctl_other_commands[] = {
    {.name = "time",
     .arguments = "",
     .summary = "show the server's clock",
     .description = "Shows the server's time, how far it is from this machine's, and how long\n"
                    "the question took there and back.",
     .examples = "tidegatectl time",
     .options = CTL_NO_OPTIONS,
     .run = ctl_time},
    {.name = "stats",
     .arguments = "",
     .summary = "show what the server has done since it started",
     .description = "Shows answers to orders by verdict, commits with their latency and size,\n"
                    "connections, processor time and memory.",
     .examples = "tidegatectl stats\n"
                 "tidegatectl stats --json | jq .commit_us.p99",
     .options = CTL_NO_OPTIONS,
     .run = ctl_stats},
    {.name = "verify",
     .arguments = "--data-dir DIR",
     .summary = "check every promise over a whole database",
     .description = "Reads the database in DIR, on a snapshot and without changing it, and\n"
                    "checks every promise over all of it. A daemon may be running on it. Each\n"
                    "promise is printed with how often it is broken; the first hundred findings\n"
                    "go to stderr. Needs no server.",
     .examples = "tidegatectl verify --data-dir /var/lib/tidegate\n"
                 "tidegatectl verify --data-dir /backup/tidegate --json | jq .ok",
     .options =
         {
             {"data-dir", "DIR", NULL, "The data directory of a tidegated. Required."},
             CTL_OPTIONS_END,
         },
     .run = ctl_verify},
    {.name = NULL},
};
