#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "ctl/text.h"
#include "storage/storage.h"

#include <inttypes.h>
#include <stdio.h>

static void print_finding(void *context, const char *line)
{
    ctl_progress_clear(context);
    fprintf(stderr, "broken: %s\n", line);
}

static void print_progress(void *context, uint64_t orders)
{
    if (ctl_progress_is_due(context))
        ctl_progress_tell(context, "%" PRIu64 " orders read", orders);
}

/* One promise and how often it is broken. */
struct promise {
    const char *key;
    const char *words;
    uint64_t broken;
};

#define PROMISES 10

static void promises_of(const struct sto_verify_report *report, struct promise promises[PROMISES])
{
    const struct promise all[PROMISES] = {
        {"page_errors", "every page of the file is sound", report->page_errors},
        {"crc_errors", "every row is as it was written", report->crc_errors},
        {"oversold_items", "no item is oversold", report->oversold_items},
        {"mismatched_items", "the stock of every item is that of its orders",
         report->mismatched_items},
        {"broken_money", "the money of every order adds up", report->broken_money},
        {"duplicate_requests", "no request id owns two orders", report->duplicate_requests},
        {"limit_breaches", "no user is above a per-user limit", report->limit_breaches},
        {"orphan_orders", "nothing names an order or item that is not there",
         report->orphan_orders},
        {"broken_teams", "every team and its members agree", report->broken_teams},
        {"broken_events", "the outbox is dense and tells every change", report->broken_events},
    };
    for (int i = 0; i < PROMISES; i++)
        promises[i] = all[i];
}

static void print_report_json(const struct sto_verify_report *report,
                              const struct promise promises[PROMISES], bool ok)
{
    json_t *json = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ok", ok ? 1 : 0, "sales",
        (json_int_t)report->sales, "items", (json_int_t)report->items, "orders",
        (json_int_t)report->orders, "lives", (json_int_t)report->lives, "teams",
        (json_int_t)report->teams, "events", (json_int_t)report->events, "adjustments",
        (json_int_t)report->adjustments, "units_reserved", (json_int_t)report->units_reserved,
        "units_sold", (json_int_t)report->units_sold, "elapsed_ns", (json_int_t)report->elapsed_ns);
    for (int i = 0; i < PROMISES; i++)
        json_object_set_new(json, promises[i].key, json_integer((json_int_t)promises[i].broken));
    ctl_json_print(json);
}

static void print_report(const struct sto_verify_report *report,
                         const struct promise promises[PROMISES])
{
    static const struct ctl_column columns[] = {
        {"PROMISE", false}, {"BROKEN", true}, {"RESULT", false}};
    struct ctl_table table;
    ctl_table_init(&table, columns, 3);
    for (int i = 0; i < PROMISES; i++) {
        ctl_table_cell(&table, "%s", promises[i].words);
        ctl_table_cell(&table, "%" PRIu64, promises[i].broken);
        ctl_table_cell(&table, "%s", promises[i].broken ? "BROKEN" : "OK");
    }
    ctl_table_end(&table);
    printf("\nread %" PRIu64 " sales, %" PRIu64 " items, %" PRIu64 " orders (%" PRIu64
           " of them changed), %" PRIu64 " teams, %" PRIu64 " events, %" PRIu64
           " adjustments in %.2f s; %" PRIu64 " units reserved, %" PRIu64 " sold\n",
           report->sales, report->items, report->orders, report->lives, report->teams,
           report->events, report->adjustments, (double)report->elapsed_ns / 1e9,
           report->units_reserved, report->units_sold);
}

enum ctl_exit ctl_verify(struct ctl *ctl)
{
    struct sto_verify_report report = {0};
    struct tg_fault fault = {0};
    struct ctl_progress progress;
    struct promise promises[PROMISES];
    const char *data_dir = ctl_option_value(ctl, "data-dir");
    if (!data_dir)
        return ctl_misused(ctl, "--data-dir is missing");
    ctl_progress_init(&progress, false);
    enum tg_error error =
        sto_verify(data_dir, print_finding, print_progress, &progress, &report, &fault);
    ctl_progress_clear(&progress);
    if (error && error != TG_ERR_BROKEN)
        return ctl_complain(CTL_UNREACHABLE, "%s", fault.text);
    promises_of(&report, promises);
    if (ctl->json)
        print_report_json(&report, promises, error == TG_ERR_OK);
    else
        print_report(&report, promises);
    if (error)
        return ctl_complain(CTL_REFUSED, "%s", fault.text[0] ? fault.text : "a promise is broken");
    return CTL_DONE;
}
