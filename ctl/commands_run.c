/* What keeps a daemon well: top, backup, restore, export; their words and their help. */
#include "ctl/commands.h"

#define PROGRESS_OPTION                                                                            \
    {                                                                                              \
        "progress", NULL, NULL,                                                                    \
            "Tell on stderr how far it is, a line a second; on a terminal that is\n"               \
            "done without asking."                                                                 \
    }

const struct ctl_command ctl_run_commands[] = {
    {.name = "top",
     .arguments = "[--once] [--interval DURATION]",
     .summary = "watch what the server does, live",
     .description = "Shows answers to orders per second by verdict, commits with their latency\n"
                    "and size, how busy the writer is, processor time, memory and the data file,\n"
                    "over and over, until Ctrl-C. A restart of the server that takes less than\n"
                    "--timeout is borne. COMMIT and BATCH are those of the last interval.",
     .examples = "tidegatectl top\n"
                 "tidegatectl top --once --interval 10s --json | jq .accepted_per_s",
     .options =
         {
             {"once", NULL, NULL,
              "Print it once, after one interval; needed when stdout is no\n"
              "terminal, and with --json."},
             {"interval", "DURATION", "1s", "Between two looks, 100ms to 1h."},
             CTL_OPTIONS_END,
         },
     .run = ctl_top},
    {.name = "backup",
     .arguments = "--data-dir DIR TARGET [--no-verify]",
     .argument_count = 1,
     .summary = "copy a database while its daemon is selling",
     .description = "Copies the newest commit of the database in DIR into TARGET, a directory\n"
                    "that is new or empty, syncs it to the disk, and checks every promise over\n"
                    "the copy, as verify does. A daemon may run; its answers do not wait for it.\n"
                    "Run it on the daemon's machine, as the daemon's user. Needs no server.\n"
                    "\n"
                    "Everything that was answered ACCEPTED before it began is in the copy. What\n"
                    "is broken off leaves no data.mdb in TARGET. While it copies, pages that\n"
                    "commits free are not used again, and the daemon's file grows: see\n"
                    "--growth-max.",
     .examples = "tidegatectl backup --data-dir /var/lib/tidegate /backup/2026-11-22T10\n"
                 "tidegatectl backup --data-dir /var/lib/tidegate /mnt/b --json | jq .orders",
     .options =
         {
             {"data-dir", "DIR", NULL, "The data directory of a tidegated. Required."},
             {"no-verify", NULL, NULL,
              "Do not check the copy: it takes no time and no memory then (verify\n"
              "takes 48 bytes for each order), and may be done later, elsewhere."},
             {"growth-max", "MIB", "4096",
              "Give up when the daemon's file has grown by more than this while it\n"
              "was copied; 0: never."},
             PROGRESS_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_backup},
    {.name = "restore",
     .arguments = "BACKUP DIR",
     .argument_count = 2,
     .summary = "make a data directory from a backup",
     .description = "Copies the database in BACKUP into DIR, a directory that is new or empty,\n"
                    "syncs it to the disk, and checks every promise over the copy. Nothing is\n"
                    "in DIR for a daemon to start on before all of that is done. BACKUP stays as\n"
                    "it is. Needs no server; start one with tidegated --data-dir DIR.",
     .examples = "tidegatectl restore /backup/2026-11-22T10 /var/lib/tidegate-new\n"
                 "tidegatectl restore /backup/2026-11-22T10 /srv/tidegate --json",
     .options = {PROGRESS_OPTION, CTL_OPTIONS_END},
     .run = ctl_restore},
    {.group = "export",
     .name = "orders",
     .arguments = "[--format csv|jsonl] [--sale SALE] [--out FILE] [OPTIONS]",
     .summary = "write all orders as CSV or JSON lines",
     .description = "Writes every order that was durable when it began, in the order of ids, as\n"
                    "it was when its page was read. jsonl has the objects of 'order list\n"
                    "--json'. csv (RFC 4180) has a column for each key of theirs, always in this\n"
                    "order; lines, payments and refunds are JSON in one cell, ids are numbers.\n"
                    "\n"
                    "It takes little memory, however many orders there are. If it breaks off,\n"
                    "the exit code is 1 and stderr tells how to go on. With --out the file has\n"
                    "its name only when it is whole; until then it ends in .partial.",
     .examples = "tidegatectl export orders --sale 1 --out sale-1.csv\n"
                 "tidegatectl export orders --format jsonl | jq -r .state | sort | uniq -c",
     .options =
         {
             {"format", "FORMAT", "csv, or jsonl with --json", "csv or jsonl."},
             {"sale", "SALE", "all sales", "Only orders of this sale."},
             {"out", "FILE", "stdout", "A file, which must not exist."},
             {"after", "ORDER", "0", "Begin behind the order with this id."},
             PROGRESS_OPTION,
             CTL_OPTIONS_END,
         },
     .run = ctl_export_orders},
    {.name = NULL},
};
