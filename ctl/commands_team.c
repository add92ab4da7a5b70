/* team: its words and its help. */
#include "ctl/commands.h"

#define SEAT_OPTIONS                                                                               \
    {"user", "N", NULL, "The buyer. Required."}, {"quantity", "N", "1", "Units of this seat."},    \
        {"lane", "LANE", "flash", "Who goes first under a backlog: vip, prepaid or flash."},       \
        {"channel", "N", "0", "The platform's code of the sales channel, 0 to 65535."},            \
        {"external-id", "TEXT", NULL, "The platform's own id of the order, up to 32 bytes."},      \
        CTL_REQUEST_ID_OPTION

#define REPEATS                                                                                    \
    "\n\nIt is asked again until it is answered or --timeout is over; the seat is\n"               \
    "taken once, however often it is sent. If the outcome is not known then, the\n"                \
    "command to repeat is printed with its --request-id."

const struct ctl_command ctl_team_commands[] = {
    {.group = "team",
     .name = "open",
     .arguments = "SALE SKU --user N [OPTIONS]",
     .argument_count = 2,
     .summary = "open a team and take its captain's seat",
     .description = "Places the captain's order in a group-buy sale; its id is the team's. Others\n"
                    "can join when it is paid ('order pay'), until the team is formed or its\n"
                    "deadline is over." REPEATS,
     .examples = "tidegatectl team open 2 TEA-100G --user 7",
     .options =
         {
             SEAT_OPTIONS,
             {"price", "N", "the captain's price",
              "The price of one unit that the captain saw, in minor units."},
             CTL_OPTIONS_END,
         },
     .run = ctl_team_open},
    {.group = "team",
     .name = "join",
     .arguments = "TEAM --user N [OPTIONS]",
     .argument_count = 1,
     .summary = "take a seat in a team",
     .description = "Places an order for the team's item, with a seat. A seat that is not paid in\n"
                    "time goes back. When the last seat is paid the team is formed and all its\n"
                    "orders are confirmed." REPEATS,
     .examples = "tidegatectl team join 1025 --user 8 --new-buyer",
     .options =
         {
             SEAT_OPTIONS,
             {"price", "N", "the sale price",
              "The price of one unit that the buyer saw, in minor units."},
             {"new-buyer", NULL, NULL,
              "Vouch that the user is a new buyer; sales for new buyers ask for it."},
             CTL_OPTIONS_END,
         },
     .run = ctl_team_join},
    {.group = "team",
     .name = "show",
     .arguments = "TEAM",
     .argument_count = 1,
     .summary = "show a team and who is in it",
     .description = "Shows the team's state, seats and deadline, and each member's order. TEAM is\n"
                    "the id of the order that opened it.",
     .examples = "tidegatectl team show 1025",
     .options = CTL_NO_OPTIONS,
     .run = ctl_team_show},
    {.group = "team",
     .name = "list",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "list the teams of a sale that can be joined",
     .description = "Lists them in the order of their opening.",
     .examples = "tidegatectl team list 2\n"
                 "tidegatectl team list 2 --json | jq 'select(.claimed == 2).team_id'",
     .options = CTL_NO_OPTIONS,
     .run = ctl_team_list},
    {.name = NULL},
};
