/* The tables of commands, one for each group of words. Each ends with a row without a name. */
#ifndef TG_CTL_COMMANDS_H
#define TG_CTL_COMMANDS_H

#include "ctl/ctl.h"

extern const struct ctl_command ctl_sale_commands[];   /* sale and stock */
extern const struct ctl_command ctl_order_commands[];  /* order */
extern const struct ctl_command ctl_team_commands[];   /* team */
extern const struct ctl_command ctl_events_commands[]; /* events */
extern const struct ctl_command ctl_run_commands[];    /* top, backup, restore, export */
extern const struct ctl_command ctl_token_commands[];  /* token */
extern const struct ctl_command ctl_other_commands[];  /* time, stats and verify */

#define CTL_NO_OPTIONS                                                                             \
    {                                                                                              \
        {                                                                                          \
            NULL, NULL, NULL, NULL                                                                 \
        }                                                                                          \
    }
#define CTL_OPTIONS_END                                                                            \
    {                                                                                              \
        NULL, NULL, NULL, NULL                                                                     \
    }

/* Of every command that is safe to repeat by its request id. */
#define CTL_REQUEST_ID_OPTION                                                                      \
    {                                                                                              \
        "request-id", "HEX", "chosen at random",                                                   \
            "32 hex digits: to repeat a command whose outcome is not known. The\n"                 \
            "same id with the same words is done once, however often it is sent."                  \
    }

#endif
