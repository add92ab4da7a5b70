/* order: its words and its help. */
#include "ctl/commands.h"

#define REPEATS                                                                                    \
    "\n\nIt is asked again until it is answered or --timeout is over; it is done\n"                \
    "once, however often it is sent. If the outcome is not known then, the\n"                      \
    "command to repeat is printed with its --request-id."

#define PRINTS                                                                                     \
    "\n\nPrints the verdict and the order as it is then: its state and its money in\n"             \
    "minor units."

#define INGEST_HELP                                                                                \
    "Takes orders that other channels (official site, app, marketplaces) already\n"                \
    "took, from FILE.json or, with '-', from stdin: one JSON object behind the\n"                  \
    "other (JSON lines), or an array of them. The file may be of any length.\n"                    \
    "\n"                                                                                           \
    "  channel           0 to 65535: the platform's code of the channel\n"                         \
    "  external_id       1 to 32 bytes: the channel's id of the order\n"                           \
    "  sale_id           the sale\n"                                                               \
    "  sku               the item\n"                                                               \
    "  user_id           the buyer\n"                                                              \
    "  quantity          1 to 1000000\n"                                                           \
    "  unit_price_minor  the channel's price of one unit\n"                                        \
    "  ordered_at        when the channel took it: \"2026-11-22T10:00:00Z\", also\n"               \
    "                    with an offset, or Unix milliseconds\n"                                   \
    "  payment           optional, when it is paid already:\n"                                     \
    "    payment_id        1 to 32 bytes\n"                                                        \
    "    amount_minor      what was paid\n"                                                        \
    "    currency          ISO 4217\n"                                                             \
    "    channel           optional, the payment channel\n"                                        \
    "    paid_at           optional, when\n"                                                       \
    "  lane              optional: \"vip\", \"prepaid\" or \"flash\"\n"                            \
    "\n"                                                                                           \
    "Each order is decided for itself, and prints one line: its place in the\n"                    \
    "file, its verdict, its order id. An order is known by (channel, external_id)\n"               \
    "for ever: ingesting a file again is safe and takes nothing twice. A summary\n"                \
    "goes to stderr. Exit code 1 when an order was refused, 2 when the file is\n"                  \
    "wrong; what stands before the fault was sent."

const struct ctl_command ctl_order_commands[] = {
    {.group = "order",
     .name = "place",
     .arguments = "SALE LINE... --user N [OPTIONS]",
     .argument_count = 2,
     .argument_more = TG_ORDER_LINES_MAX - 1,
     .summary = "place an order for one item or for a cart",
     .description = "Places one order. A LINE is SKU, SKU:QUANTITY or SKU:QUANTITY:PRICE, with\n"
                    "PRICE in minor units for one unit; the quantity is 1 and the price the\n"
                    "sale's unless given. (An SKU that ends in a colon and digits needs all\n"
                    "three.) With more than one LINE, up to 32, the order is a cart: all or\n"
                    "nothing. Of a refused cart each line that failed is told on stderr." REPEATS,
     .examples = "tidegatectl order place 1 A01-001-M-BL --user 7\n"
                 "tidegatectl order place 1 A01-001-M-BL:2:9900 --user 7 --lane vip\n"
                 "tidegatectl order place 2 TEA:2 CUP:2 POT --user 7 --channel 3",
     .options =
         {
             {"user", "N", NULL, "The buyer. Required."},
             {"lane", "LANE", "flash", "Who goes first under a backlog: vip, prepaid or flash."},
             {"channel", "N", "0", "The platform's code of the sales channel, 0 to 65535."},
             {"external-id", "TEXT", NULL, "The platform's own id of the order, up to 32 bytes."},
             CTL_REQUEST_ID_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_order_place},
    {.group = "order",
     .name = "show",
     .arguments = "ORDER",
     .argument_count = 1,
     .summary = "show all about one order",
     .description = "Shows a durable order: its state, its lines, its money, when each step was\n"
                    "taken, and each payment and refund. Ids of others are text when they are\n"
                    "printable ASCII, else hex behind 0x.",
     .examples = "tidegatectl order show 1025\n"
                 "tidegatectl order show 1025 --json | jq '.payments[].status'",
     .options = CTL_NO_OPTIONS,
     .run = ctl_order_show},
    {.group = "order",
     .name = "get",
     .arguments = "ORDER",
     .argument_count = 1,
     .summary = "the older name of order show",
     .description = "The same as 'tidegatectl order show'.",
     .examples = "tidegatectl order get 1025",
     .options = CTL_NO_OPTIONS,
     .run = ctl_order_show},
    {.group = "order",
     .name = "list",
     .arguments = "[--sale SALE] [--after ORDER] [--limit N]",
     .summary = "list orders in the order of their commits",
     .description = "Lists durable orders, page after page until the end or the limit. To\n"
                    "follow a sale, keep the last id and go on after it. STATE is that of now;\n"
                    "AMOUNT is what is to be paid, in minor units.",
     .examples = "tidegatectl order list --sale 1 --limit 20\n"
                 "tidegatectl order list --after 1025 --json > orders.jsonl",
     .options =
         {
             {"sale", "SALE", "every sale", "Only the orders of this sale."},
             {"after", "ORDER", "the first", "Begin behind the order with this id."},
             {"limit", "N", "all", "Stop after N orders."},
             CTL_OPTIONS_END,
         },
     .run = ctl_order_list},
    {.group = "order",
     .name = "pay",
     .arguments = "ORDER --payment-id ID --amount N [OPTIONS]",
     .argument_count = 1,
     .summary = "record a payment",
     .description = "Records what a payment gateway reports. A payment of the right amount\n"
                    "confirms the order, or seats it in its team. A wrong amount or currency is\n"
                    "recorded as refused. A second payment, or one that came too late to be\n"
                    "honoured, is recorded and due for refund: REFUND_DUE. The same payment id\n"
                    "with the same facts is the same payment." PRINTS REPEATS,
     .examples = "tidegatectl order pay 1025 --payment-id wx-20261122-1 --amount 9900\n"
                 "tidegatectl order pay 1025 --payment-id ali-7 --amount 9900 --currency CNY \\\n"
                 "    --channel 2 --paid-at 2026-11-22T10:00:05+08:00",
     .options =
         {
             {"payment-id", "ID", NULL,
              "The gateway's id of the payment, 1 to 32 bytes. Required."},
             {"amount", "N", NULL, "What was paid, in minor units. Required."},
             {"currency", "CODE", "the sale's", "ISO 4217."},
             {"channel", "N", "0", "The platform's code of the payment channel, 0 to 65535."},
             {"paid-at", "TIME", "not told",
              "When it was paid: 2026-11-22T10:00:00Z, also with an offset; now; or\n"
              "+30s from now. Part of the facts: leave it out, or repeat it as it was."},
             CTL_REQUEST_ID_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_order_pay},
    {.group = "order",
     .name = "cancel",
     .arguments = "ORDER [--by buyer|merchant]",
     .argument_count = 1,
     .summary = "cancel an order that is not confirmed",
     .description = "Cancels an order that waits for its payment or for its team. Its units\n"
                    "return to stock; what was paid is due for refund. In a team this is\n"
                    "leaving it." PRINTS REPEATS,
     .examples = "tidegatectl order cancel 1025 --by buyer",
     .options =
         {
             {"by", "WHO", "merchant", "Who wants it: buyer or merchant."},
             CTL_REQUEST_ID_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_order_cancel},
    {.group = "order",
     .name = "extend",
     .arguments = "ORDER --until TIME",
     .argument_count = 1,
     .summary = "give an order more time to be paid",
     .description = "Sets a later payment deadline: at most 30 days ahead, and not behind the\n"
                    "deadline of the order's team." PRINTS REPEATS,
     .examples = "tidegatectl order extend 1025 --until +30m",
     .options =
         {
             {"until", "TIME", NULL,
              "2026-11-22T10:00:00Z, also with an offset; or +30m from now on the\n"
              "server's clock. Required."},
             CTL_REQUEST_ID_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_order_extend},
    {.group = "order",
     .name = "refund",
     .arguments = "ORDER [--amount N] [--reason TEXT] [--restock]",
     .argument_count = 1,
     .summary = "ask for money to go back",
     .description = "Makes a refund of an order that is confirmed, shipped or delivered. It waits\n"
                    "for 'order approve' or 'order reject', unless it is within the sale's\n"
                    "refund_auto_max_minor: then it is due at once. Prints the number that the\n"
                    "refund has within its order." PRINTS REPEATS,
     .examples = "tidegatectl order refund 1025 --amount 500 --reason 'came late'\n"
                 "tidegatectl order refund 1025 --restock",
     .options =
         {
             {"amount", "N", "all that is left", "In minor units."},
             {"reason", "TEXT", NULL, "Kept with the refund, up to 64 bytes."},
             {"restock", NULL, NULL,
              "Give the units back to stock when the refund is due; only with all\n"
              "that is left."},
             CTL_REQUEST_ID_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_order_refund},
    {.group = "order",
     .name = "approve",
     .arguments = "ORDER REFUND",
     .argument_count = 2,
     .summary = "approve a refund that waits",
     .description = "The refund is then due: to be paid back by your payment system, and to be\n"
                    "recorded with 'order refunded'. REFUND is its number." PRINTS REPEATS,
     .examples = "tidegatectl order approve 1025 1",
     .options = {CTL_REQUEST_ID_OPTION, CTL_OPTIONS_END},
     .run = ctl_order_approve},
    {.group = "order",
     .name = "reject",
     .arguments = "ORDER REFUND",
     .argument_count = 2,
     .summary = "reject a refund that waits",
     .description = "The money is kept, and can be asked for again. REFUND is the number of the\n"
                    "refund." PRINTS REPEATS,
     .examples = "tidegatectl order reject 1025 1",
     .options = {CTL_REQUEST_ID_OPTION, CTL_OPTIONS_END},
     .run = ctl_order_reject},
    {.group = "order",
     .name = "refunded",
     .arguments = "ORDER REFUND [--reference TEXT]",
     .argument_count = 2,
     .summary = "record that a refund has been paid back",
     .description = "For a refund that is due, when your payment system has sent the money. When\n"
                    "nothing that was paid is kept and the last due refund is recorded, the\n"
                    "order is refunded. REFUND is the number of the refund." PRINTS REPEATS,
     .examples = "tidegatectl order refunded 1025 1 --reference wx-refund-99",
     .options =
         {
             {"reference", "TEXT", NULL, "The gateway's id of the refund, up to 32 bytes."},
             CTL_REQUEST_ID_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_order_refunded},
    {.group = "order",
     .name = "advance",
     .arguments = "ORDER shipped|delivered|completed",
     .argument_count = 2,
     .summary = "record that an order was shipped, delivered or completed",
     .description = "A confirmed order goes on one step at a time. It is not completed while a\n"
                    "refund is waiting or due (REFUND_PENDING)." PRINTS REPEATS,
     .examples = "tidegatectl order advance 1025 shipped",
     .options = {CTL_REQUEST_ID_OPTION, CTL_OPTIONS_END},
     .run = ctl_order_advance},
    {.group = "order",
     .name = "ingest",
     .arguments = "FILE.json",
     .argument_count = 1,
     .summary = "take orders that other channels took",
     .description = INGEST_HELP,
     .examples = "tidegatectl order ingest orders.jsonl\n"
                 "zcat orders.jsonl.gz | tidegatectl order ingest - --json > results.jsonl",
     .unknown_hint = "ingest the file again; nothing is taken twice.",
     .options = CTL_NO_OPTIONS,
     .run = ctl_order_ingest},
    {.name = NULL},
};
