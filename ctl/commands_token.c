/* The file of tokens that a daemon asks for: their words and their help. */
#include "ctl/commands.h"

#define FILE_OPTION                                                                                \
    {                                                                                              \
        "file", "FILE", NULL, "The file that security.token_file of the daemon names. Required."   \
    }

const struct ctl_command ctl_token_commands[] = {
    {.group = "token",
     .name = "create",
     .arguments = "--tenant NAME --role ROLE[,ROLE]... [--id ID] [--file FILE]",
     .summary = "make a token, print it once, and keep its hash",
     .description = "Prints a new token on stdout. It is shown this once: only its hash is\n"
                    "kept, as a line that is appended to FILE, which is made when it is missing.\n"
                    "Without --file the line goes to stderr, for you to append where the daemon\n"
                    "is. The daemon lets it in when it reads the file again: send it SIGHUP\n"
                    "(systemctl reload tidegated). Needs no server.\n"
                    "\n"
                    "submit places orders and changes them, consume reads the outbox, operate\n"
                    "runs sales and decides refunds, read looks on; see docs/security.md.",
     .examples = "tidegatectl token create --tenant shop-a --role submit,read \\\n"
                 "    --file /etc/tidegate/tokens > shop-a.token",
     .options =
         {
             {"tenant", "NAME", NULL,
              "Whose it is: for limits and the audit log. 1 to 32 of a-z, 0-9, '-',\n"
              "'_' and '.'. Required."},
             {"role", "ROLE[,ROLE]...", NULL, "submit, consume, operate, read. Required."},
             {"id", "ID", "eight random characters",
              "What it is called in logs and in this file; it is a part of the token.\n"
              "1 to 16 of a-z and 0-9."},
             {"file", "FILE", NULL, "The file that security.token_file of the daemon names."},
             CTL_OPTIONS_END,
         },
     .run = ctl_token_create},
    {.group = "token",
     .name = "list",
     .arguments = "--file FILE",
     .summary = "show the tokens of a file",
     .description = "Shows the id, tenant and roles of each token in FILE, and tells on which\n"
                    "line the file is wrong. Needs no server.",
     .examples = "tidegatectl token list --file /etc/tidegate/tokens",
     .options = {FILE_OPTION, CTL_OPTIONS_END},
     .run = ctl_token_list},
    {.group = "token",
     .name = "revoke",
     .arguments = "ID --file FILE",
     .argument_count = 1,
     .summary = "take a token out of a file",
     .description = "Removes the line of the token with this id; all other lines stay as they\n"
                    "are. The daemon refuses it from when it reads the file again, also on\n"
                    "connections that are open: send it SIGHUP. Needs no server.",
     .examples = "tidegatectl token revoke k7f3q9x2 --file /etc/tidegate/tokens &&\n"
                 "    systemctl reload tidegated",
     .options = {FILE_OPTION, CTL_OPTIONS_END},
     .run = ctl_token_revoke},
    {.name = NULL},
};
