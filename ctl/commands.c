/* The table of commands: their words, their help, what does them. */
#include "ctl/ctl.h"

const struct ctl_option ctl_global_options[] = {
    {"server", "HOST:PORT", CTL_SERVER_DEFAULT,
     "The engine to talk to; an IPv6 address stands in brackets: [::1]:7411."},
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

#define SALE_FILE_HELP                                                                             \
    "Creates the sale that FILE.json describes; '-' reads it from stdin. A sale\n"                 \
    "takes orders from starts_at on and before ends_at. Every key is required\n"                   \
    "and no other is taken:\n"                                                                     \
    "\n"                                                                                           \
    "  sale_id           number from 1 on, chosen by you; repeating a create\n"                    \
    "                    with it is safe\n"                                                        \
    "  kind              \"seckill\"\n"                                                            \
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
    "A file that is wrong is refused before anything is sent, with the line or\n"                  \
    "the field and what is expected there."

#define NO_OPTIONS                                                                                 \
    {                                                                                              \
        {                                                                                          \
            NULL, NULL, NULL, NULL                                                                 \
        }                                                                                          \
    }

const struct ctl_command ctl_commands[] = {
    {.group = "sale",
     .name = "create",
     .arguments = "FILE.json",
     .argument_count = 1,
     .summary = "create a sale from a file",
     .description = SALE_FILE_HELP,
     .examples = "tidegatectl sale create docs/examples/seckill.json\n"
                 "jq '.sale_id = 2' sale.json | tidegatectl sale create -",
     .unknown_hint = "create it again; SALE_EXISTS then means that it was.",
     .options = NO_OPTIONS,
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
     .options = NO_OPTIONS,
     .run = ctl_sale_list},
    {.group = "sale",
     .name = "show",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "show a sale and the stock of its items",
     .description = "Shows the sale, and each of its items in the order of the sale file. For\n"
                    "every item INITIAL + RESTOCK = AVAILABLE + RESERVED + SOLD. Each row is of\n"
                    "one moment; a running sale moves on between rows.",
     .examples = "tidegatectl sale show 1\n"
                 "tidegatectl sale show 1 --json | jq '[.items[].available_units] | add'",
     .options = NO_OPTIONS,
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
     .options = NO_OPTIONS,
     .run = ctl_sale_pause},
    {.group = "sale",
     .name = "resume",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "take orders again after a pause",
     .description = "Orders are taken again while the window of the sale is open.",
     .examples = "tidegatectl sale resume 1",
     .unknown_hint = "resume it again, that is safe.",
     .options = NO_OPTIONS,
     .run = ctl_sale_resume},
    {.group = "sale",
     .name = "close",
     .arguments = "SALE",
     .argument_count = 1,
     .summary = "end a sale for good",
     .description = "Orders are refused as ENDED from now on. A closed sale cannot be resumed.",
     .examples = "tidegatectl sale close 1",
     .unknown_hint = "close it again, that is safe.",
     .options = NO_OPTIONS,
     .run = ctl_sale_close},
    {.group = "stock",
     .name = "adjust",
     .arguments = "SALE SKU (--delta N | --expect A --set B) --reason TEXT",
     .argument_count = 2,
     .summary = "add or take away units of an item",
     .description = "Changes the units that are available; reserved and sold ones stay. The\n"
                    "reason is kept in the books. Prints what is available afterwards. More\n"
                    "units than are available cannot be taken away (INSUFFICIENT_STOCK).",
     .examples = "tidegatectl stock adjust 1 A01-001-M-BL --delta 500 --reason 'second delivery'\n"
                 "tidegatectl stock adjust 1 A01-001-M-BL --delta -3 --reason 'damaged'\n"
                 "tidegatectl stock adjust 1 A01-001-M-BL --expect 0 --set 500 --reason refill",
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
             {NULL, NULL, NULL, NULL},
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
     .options = NO_OPTIONS,
     .run = ctl_stock_show},
    {.group = "order",
     .name = "get",
     .arguments = "ORDER",
     .argument_count = 1,
     .summary = "show one order",
     .description = "Shows a durable order. PRICE is that of one unit, in minor units. EXTERNAL\n"
                    "is text when it is printable ASCII, else hex behind 0x.",
     .examples = "tidegatectl order get 1025",
     .options = NO_OPTIONS,
     .run = ctl_order_get},
    {.group = "order",
     .name = "list",
     .arguments = "[--sale SALE] [--after ORDER] [--limit N]",
     .summary = "list orders in the order of their commits",
     .description = "Lists durable orders, page after page until the end or the limit. To\n"
                    "follow a sale, keep the last id and go on after it.",
     .examples = "tidegatectl order list --sale 1 --limit 20\n"
                 "tidegatectl order list --after 1025 --json > orders.jsonl",
     .options =
         {
             {"sale", "SALE", "every sale", "Only the orders of this sale."},
             {"after", "ORDER", "the first", "Begin behind the order with this id."},
             {"limit", "N", "all", "Stop after N orders."},
             {NULL, NULL, NULL, NULL},
         },
     .run = ctl_order_list},
    {.name = "time",
     .arguments = "",
     .summary = "show the server's clock",
     .description = "Shows the server's time, how far it is from this machine's, and how long\n"
                    "the question took there and back.",
     .examples = "tidegatectl time",
     .options = NO_OPTIONS,
     .run = ctl_time},
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
             {NULL, NULL, NULL, NULL},
         },
     .run = ctl_verify},
    {.name = NULL},
};
