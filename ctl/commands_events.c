/* events: its words and its help. */
#include "ctl/commands.h"

const struct ctl_command ctl_events_commands[] = {
    {.group = "events",
     .name = "tail",
     .arguments = "[OPTIONS]",
     .summary = "read the outbox: everything that happened to orders",
     .description = "Prints events in the order of their sequence, up to the newest one, or with\n"
                    "--follow as they come, until it is interrupted. With --json each event holds\n"
                    "its order as it is now. AMOUNT is in minor units.\n"
                    "\n"
                    "A group is a place in the outbox that the server remembers: without --after\n"
                    "reading begins behind it, and --ack moves it behind what was printed. What\n"
                    "was printed and not yet acked comes again after a crash, with the same\n"
                    "sequence. --follow bears losing the connection for as long as --timeout.",
     .examples = "tidegatectl events tail --types order_confirmed,order_refund_due\n"
                 "tidegatectl events tail --group erp --follow --ack --json | ./erp-feed\n"
                 "tidegatectl events tail --after 1000 --json | jq -r .type | sort | uniq -c",
     .unknown_hint = "events are read, and acks done, as often as you like: start it again.",
     .options =
         {
             {"group", "NAME", NULL, "Read on behalf of this consumer group."},
             {"after", "N", "the group's place, else the first event kept",
              "Begin behind the event with this sequence."},
             {"types", "A,B", "all",
              "Only events of these types, such as order_placed, order_paid,\n"
              "order_confirmed, order_expired, refund_due or team_formed."},
             {"follow", NULL, NULL, "Wait for more at the end."},
             {"ack", NULL, NULL, "Ack what was printed; needs --group."},
             CTL_OPTIONS_END,
         },
     .run = ctl_events_tail},
    {.group = "events",
     .name = "ack",
     .arguments = "GROUP SEQUENCE",
     .argument_count = 2,
     .summary = "tell that a group has done all up to an event",
     .description = "Moves the group's place. It never goes back: a lower sequence changes\n"
                    "nothing. Prints where the group is then.",
     .examples = "tidegatectl events ack erp 1234",
     .unknown_hint = "ack it again, that is safe.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_events_ack},
    {.group = "events",
     .name = "groups",
     .arguments = "",
     .summary = "list the consumer groups and how far each is",
     .description = "LAG is how many events lie behind the group's place. The slowest group\n"
                    "holds the outbox back: what it has not acked is kept.",
     .examples = "tidegatectl events groups\n"
                 "tidegatectl events groups --json | jq -r 'select(.lag > 10000).group'",
     .options = CTL_NO_OPTIONS,
     .run = ctl_events_groups},
    {.group = "events",
     .name = "group-create",
     .arguments = "NAME [--from-now | --after N]",
     .argument_count = 1,
     .summary = "create a consumer group",
     .description = "NAME is 1 to 64 letters, digits, dots, underscores and hyphens. The group\n"
                    "begins with the first event kept unless told otherwise.",
     .examples = "tidegatectl events group-create erp\n"
                 "tidegatectl events group-create crm --from-now",
     .unknown_hint = "create it again; GROUP_EXISTS then means that it was.",
     .options =
         {
             {"from-now", NULL, NULL, "Begin with what happens from now on."},
             {"after", "N", NULL, "Begin behind the event with this sequence."},
             CTL_OPTIONS_END,
         },
     .run = ctl_events_group_create},
    {.group = "events",
     .name = "group-delete",
     .arguments = "NAME",
     .argument_count = 1,
     .summary = "delete a consumer group",
     .description = "Its place is forgotten, and it holds the outbox back no more.",
     .examples = "tidegatectl events group-delete crm",
     .unknown_hint = "delete it again; UNKNOWN_GROUP then means that it was.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_events_group_delete},
    {.name = NULL},
};
