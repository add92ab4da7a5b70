/* sale and stock: their words and their help. */
#include "ctl/commands.h"

#define SALE_FILE_HELP                                                                             \
    "Creates the sale that FILE.json describes; '-' reads it from stdin. A sale\n"                 \
    "takes orders from starts_at on and before ends_at. These keys are required:\n"                \
    "\n"                                                                                           \
    "  sale_id           number from 1 on, chosen by you; repeating a create\n"                    \
    "                    with it is safe\n"                                                        \
    "  kind              \"seckill\" or \"group_buy\"\n"                                           \
    "  name              1 to 128 bytes of text\n"                                                 \
    "  currency          ISO 4217, such as \"CNY\"\n"                                              \
    "  starts_at         \"2026-11-22T10:00:00Z\", also with an offset such as\n"                  \
    "                    \"+08:00\"; Unix milliseconds; \"now\"; or \"+30s\" from now\n"           \
    "                    (ms, s, m, h, d). Now is the server's clock.\n"                           \
    "  ends_at           likewise, after starts_at; \"+2h\" is from now as well\n"                 \
    "  items             array of 1 to 16384 objects:\n"                                           \
    "    sku               1 to 32 printable ASCII bytes, unique in the sale\n"                    \
    "    list_price_minor  0 to 10^12 minor units, such as 19900 for 199.00\n"                     \
    "    sale_price_minor  likewise: the price that orders must name\n"                            \
    "    stock_units       0 to 10^9\n"                                                            \
    "    per_user_limit    units that one user may hold; 0 for no limit\n"                         \
    "    per_order_max     units in one order; 0 for no limit\n"                                   \
    "\n"                                                                                           \
    "These are optional:\n"                                                                        \
    "\n"                                                                                           \
    "  payment_window_s  seconds to pay an order, 1 to 2592000; 900 unless set\n"                  \
    "  refund_auto_max_minor\n"                                                                    \
    "                    refunds up to this amount need no approval; 0 unless set\n"               \
    "  channel_shares    array of up to 16 objects, each channel once:\n"                          \
    "    channel           0 to 65535\n"                                                           \
    "    percent           1 to 100: the most of each item's stock that orders of\n"               \
    "                      the channel may stand for\n"                                            \
    "  items:\n"                                                                                   \
    "    stock_policy      when an order takes its units: \"reserve\" (held until\n"               \
    "                      paid, the default), \"on_place\" (sold at once, no\n"                   \
    "                      payment window) or \"on_payment\" (taken when paid)\n"                  \
    "    low_stock_units   an alert when no more are left; unless set, or 0: the\n"                \
    "                      share of the stock that admin.low_stock_percent says\n"                 \
    "\n"                                                                                           \
    "With kind \"group_buy\", group_buy is required and the rest is optional:\n"                   \
    "\n"                                                                                           \
    "  group_buy         object:\n"                                                                \
    "    team_size         seats of a team, 2 to 100; required\n"                                  \
    "    team_lifetime_s   60 to 2592000; 86400 unless set\n"                                      \
    "    teams_per_user_max\n"                                                                     \
    "                      open teams that one user may have opened; 0: no limit\n"                \
    "    new_buyers_only   true: joiners must be new buyers\n"                                     \
    "    at_deadline       \"fail\" (the default), or \"auto_complete\" when\n"                    \
    "    team_size_min     seats are paid: 1 to team_size, with auto_complete\n"                   \
    "  items:\n"                                                                                   \
    "    captain_price_minor\n"                                                                    \
    "                      what the captain pays; 0 for the sale price\n"                          \
    "    ladder            array of up to 8 {size, unit_price_minor}: what a\n"                    \
    "                      unit costs from so many paid seats on; sizes rising,\n"                 \
    "                      prices falling, all below the sale price\n"                             \
    "\n"                                                                                           \
    "No other key is taken. A file that is wrong is refused before anything is\n"                  \
    "sent, with the line or the field and what is expected there."

const struct ctl_command ctl_sale_commands[] = {
    {.group = "sale",
     .name = "create",
     .arguments = "FILE.json",
     .argument_count = 1,
     .summary = "create a sale from a file",
     .description = SALE_FILE_HELP,
     .examples = "tidegatectl sale create docs/examples/seckill.json\n"
                 "tidegatectl sale create docs/examples/group-buy.json\n"
                 "jq '.sale_id = 2' sale.json | tidegatectl sale create -",
     .unknown_hint = "create it again; SALE_EXISTS then means that it was.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_sale_create},
    {.group = "sale",
     .name = "list",
     .arguments = "",
     .summary = "list all sales",
     .description = "Lists every sale in the order of creation, with its state at the server's\n"
                    "time: not started, open, ended, paused or closed. With --json the state is\n"
                    "what was set: active, paused or closed.",
     .examples = "tidegatectl sale list\n"
                 "tidegatectl sale list --json | jq -r 'select(.state==\"paused\").sale_id'",
     .options = CTL_NO_OPTIONS,
     .run = ctl_sale_list},
    {.group = "sale",
     .name = "show",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "show a sale and the stock of its items",
     .description = "Shows the sale, and each of its items in the order of the sale file. For\n"
                    "every item INITIAL + RESTOCK = AVAILABLE + RESERVED + SOLD. Each row is of\n"
                    "one moment; a running sale moves on between rows. The items of a\n"
                    "group-buy have the captain's price and the ladder, as SIZE:PRICE.",
     .examples = "tidegatectl sale show 1\n"
                 "tidegatectl sale show 1 --json | jq '[.items[].available_units] | add'",
     .options = CTL_NO_OPTIONS,
     .run = ctl_sale_show},
    {.group = "sale",
     .name = "pause",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "take no orders for now",
     .description = "Orders are refused as PAUSED until the sale is resumed. Orders that stand\n"
                    "are not touched. Pausing a paused sale changes nothing.",
     .examples = "tidegatectl sale pause 1",
     .unknown_hint = "pause it again, that is safe.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_sale_pause},
    {.group = "sale",
     .name = "resume",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "take orders again after a pause",
     .description = "Orders are taken again while the window of the sale is open.",
     .examples = "tidegatectl sale resume 1",
     .unknown_hint = "resume it again, that is safe.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_sale_resume},
    {.group = "sale",
     .name = "close",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "end a sale for good",
     .description = "Orders are refused as ENDED from now on. A closed sale cannot be resumed.",
     .examples = "tidegatectl sale close 1",
     .unknown_hint = "close it again, that is safe.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_sale_close},
    {.group = "stock",
     .name = "adjust",
     .arguments = "SALE SKU (--delta N | --expect A --set B) --reason TEXT",
     .argument_count = 2,
     .summary = "add or take away units of an item",
     .description = "Changes the units that are available; reserved and sold ones stay. The\n"
                    "reason is kept in the books. Prints what is available afterwards. More\n"
                    "units than are available cannot be taken away (INSUFFICIENT_STOCK).",
     .examples = "tidegatectl stock adjust 1 A01-001-M-BL --delta 500 --reason refill\n"
                 "tidegatectl stock adjust 1 A01-001-M-BL --delta -3 --reason damaged\n"
                 "tidegatectl stock adjust 1 A01-001-M-BL --expect 0 --set 9 --reason count",
     .unknown_hint = "look with 'tidegatectl stock show' before you repeat it.",
     .options =
         {
             {"delta", "N", NULL,
              "Units to add, or to take away when below zero. Not safe to repeat\n"
              "when the answer was lost."},
             {"expect", "A", NULL,
              "Change only when exactly A units are available, else refuse as\n"
              "STOCK_CHANGED. Safe to repeat."},
             {"set", "B", NULL, "With --expect: the units that are to be available."},
             {"reason", "TEXT", NULL, "Why, 1 to 64 bytes. Required."},
             CTL_OPTIONS_END,
         },
     .run = ctl_stock_adjust},
    {.group = "stock",
     .name = "show",
     .arguments = "SALE SKU",
     .argument_count = 2,
     .summary = "show one item and its stock",
     .description = "Shows the item's prices, limits and stock at this moment.",
     .examples = "tidegatectl stock show 1 A01-001-M-BL\n"
                 "tidegatectl stock show 1 A01-001-M-BL --json | jq .available_units",
     .options = CTL_NO_OPTIONS,
     .run = ctl_stock_show},
    {.name = NULL},
};
