/* tidegate-load tells stories against a real daemon: each scenario goes its ways and passes its
 * audit, through a crash and a full disk as well; a server that goes away, or stalls, for good is
 * told as a failure; Ctrl-C ends a run in order. */
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define tell(run, daemon, scenario, ...)                                                           \
    run_start((run), "tidegate-load", "--server", (daemon)->address, "--scenario", (scenario),     \
              "--connections", "4", "--pipeline", "512", "--json", "-", "--quiet", __VA_ARGS__,    \
              NULL)

/* --- the report --- */

static json_t *parse(const struct run *run)
{
    json_error_t error;
    json_t *report = json_loads(run->out, 0, &error);
    cr_assert(report, "no JSON (%s): exit %d: %s%s", error.text, run->status, run->out, run->err);
    return report;
}

/* Waits for the run, which must pass. */
static json_t *passed(struct run *run)
{
    run_wait(run);
    cr_assert_eq(run->status, 0, "exit %d: %s%s", run->status, run->out, run->err);
    json_t *report = parse(run), *audit = json_object_get(report, "audit");
    cr_assert(json_is_true(json_object_get(audit, "ok")) &&
              json_is_true(json_object_get(audit, "done")));
    run_free(run);
    return report;
}

/* A number by its path, such as "audit.orders_read"; 0 when the last of it is not there. */
static long long number(const json_t *report, const char *path)
{
    char copy[128], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", path);
    const json_t *value = report;
    for (const char *name; (name = strsep(&rest, ".")) && value;)
        value = json_object_get(value, name);
    return json_integer_value(value);
}

#define expect_some(report, path) cr_assert_gt(number((report), (path)), 0, "%s", (path))

/* What each tale must have done, whatever it tells. */
static void expect_a_whole_tale(const json_t *report)
{
    expect_some(report, "stories.begun");
    cr_assert_eq(number(report, "stories.begun"), number(report, "stories.ended"));
    cr_assert_eq(number(report, "unknown_outcomes"), 0);
    cr_assert_eq(number(report, "errors"), 0);
    cr_assert_eq(number(report, "audit.orders_read"),
                 number(report, "accepted") + number(report, "accepted_on_retry"));
    expect_some(report, "audit.orders_read");
    expect_some(report, "audit.samples");
    expect_some(report, "audit.events_read");
    expect_some(report, "audit.events_repeated");
    expect_some(report, "retries_checked");
    cr_assert_gt(json_real_value(json_object_get(report, "accepted_per_s")), 0);
    const char *path;
    json_t *paths = json_object_get(json_object_get(report, "stories"), "paths"), *count;
    json_object_foreach(paths, path, count)
        cr_assert_gt(json_integer_value(count), 0, "no story went the way %s", path);
}

/* --- each scenario --- */

Test(stories, lifecycle_goes_all_its_ways)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "2", NULL);
    tell(&run, &daemon, "lifecycle", "--rate", "300", "--duration", "1500ms");
    json_t *report = passed(&run);
    expect_a_whole_tale(report);
    static const char *const some[] = {
        "requests.pay.OK",
        "requests.pay.REFUND_DUE",
        "requests.pay.AMOUNT_MISMATCH",
        "requests.cancel.OK",
        "requests.extend_payment.OK",
        "requests.request_refund.OK",
        "requests.reject_refund.OK",
        "requests.record_refund.OK",
        "requests.advance.OK",
        "latency_by_request_us.pay.count",
        "audit.orders_by_state.EXPIRED",
        "audit.orders_by_state.CANCELLED",
        "audit.orders_by_state.COMPLETED",
        "audit.orders_by_state.REFUNDED",
        "audit.money_refunded_minor",
    };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        expect_some(report, some[i]);
    json_decref(report);
    daemon_end(&daemon);
}

Test(stories, groupbuy_forms_and_dissolves_teams)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "2", NULL);
    tell(&run, &daemon, "groupbuy", "--rate", "200", "--duration", "1500ms");
    json_t *report = passed(&run);
    expect_a_whole_tale(report);
    static const char *const some[] = {
        "requests.join_team.TEAM_FULL",     "requests.join_team.TEAM_ENDED",
        "requests.join_team.TEAM_NOT_OPEN", "audit.teams_by_state.OPEN",
        "audit.teams_by_state.FORMED",      "audit.teams_by_state.DISSOLVED",
        "audit.money_refund_due_minor", /* by the ladder */
    };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        expect_some(report, some[i]);
    json_decref(report);
    daemon_end(&daemon);
}

Test(stories, carts_meet_scarce_stock_on_four_shards)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "4", NULL);
    tell(&run, &daemon, "cart", "--rate", "300", "--duration", "1500ms", "--stock", "15", "--users",
         "20", "--limit", "4");
    json_t *report = passed(&run);
    expect_a_whole_tale(report);
    cr_assert_gt(number(report, "requests.place_cart.SOLD_OUT") +
                     number(report, "requests.place_cart.INSUFFICIENT_STOCK"),
                 0);
    expect_some(report, "requests.place_cart.LIMIT_REACHED");
    expect_some(report, "requests.place_cart.ACCEPTED");
    expect_some(report, "requests.record_refund.OK");
    json_decref(report);
    daemon_end(&daemon);
}

Test(stories, batches_of_other_channels_are_taken_once_until_their_share_is_gone)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "2", NULL);
    tell(&run, &daemon, "ingest", "--rate", "100", "--duration", "1500ms", "--stock", "60");
    json_t *report = passed(&run);
    expect_a_whole_tale(report);
    cr_assert_eq(number(report, "requests.ingest.OK"), 2 * number(report, "stories.ended"));
    expect_some(report, "rejected.CHANNEL_SHARE_REACHED");
    cr_assert_gt(number(report, "retries_checked"), number(report, "accepted"),
                 "each order that was taken is asked for again");
    json_decref(report);
    daemon_end(&daemon);
}

/* --- what goes wrong --- */

Test(stories, two_tales_at_once_go_on_through_a_crash)
{
    struct daemon daemon = {0};
    struct run lifecycle, groupbuy;
    daemon_start(&daemon, "--threads", "2", NULL);
    tell(&lifecycle, &daemon, "lifecycle", "--rate", "300", "--duration", "1500ms");
    tell(&groupbuy, &daemon, "groupbuy", "--rate", "150", "--duration", "1500ms");
    usleep(800000);
    daemon_kill(&daemon);
    daemon_restart(&daemon);
    struct run *runs[] = {&lifecycle, &groupbuy};
    for (int i = 0; i < 2; i++) {
        json_t *report = passed(runs[i]);
        expect_some(report, "reconnects");
        expect_a_whole_tale(report);
        json_decref(report);
    }
    daemon_end(&daemon);
}

Test(stories, a_full_disk_refuses_and_breaks_nothing)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, "--threads", "2", "--set", "storage.map_mib=1", NULL);
    tell(&run, &daemon, "lifecycle", "--attempts", "4000");
    json_t *report = passed(&run);
    expect_some(report, "requests.place.ACCEPTED");
    expect_some(report, "requests.place.STORAGE_FULL");
    expect_some(report, "requests.pay.STORAGE_FULL");
    json_decref(report);
    daemon_end(&daemon);
}

/* The run must say that it failed, and why; it has no rates. */
static void expect_failed(struct run *run, const char *words)
{
    run_wait(run);
    cr_assert_eq(run->status, 4, "exit %d: %s%s", run->status, run->out, run->err);
    cr_assert(strstr(run->err, words), "not '%s': %s", words, run->err);
    json_t *report = parse(run);
    cr_assert_str_eq(json_string_value(json_object_get(report, "status")), "failed");
    cr_assert(json_is_false(json_object_get(json_object_get(report, "audit"), "done")));
    cr_assert(json_is_null(json_object_get(report, "accepted_per_s")));
    cr_assert(json_is_null(json_object_get(report, "latency_by_request_us")));
    json_decref(report);
    run_free(run);
}

Test(stories, a_server_that_went_for_good_is_a_failure)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    tell(&run, &daemon, "lifecycle", "--rate", "300", "--duration", "1m", "--reconnect", "300ms");
    usleep(500000);
    daemon_kill(&daemon);
    expect_failed(&run, "Connection refused");
    daemon_end(&daemon);
}

Test(stories, a_server_that_went_before_the_audit_is_a_failure)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    /* The waits of stories go on for 2.6 s, the last requests come behind them. */
    tell(&run, &daemon, "lifecycle", "--attempts", "50", "--reconnect", "300ms");
    usleep(1500000);
    daemon_kill(&daemon);
    expect_failed(&run, daemon.address);
    daemon_end(&daemon);
}

Test(stories, a_server_that_stalls_for_good_is_a_failure)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    tell(&run, &daemon, "lifecycle", "--rate", "300", "--duration", "1m", "--reconnect", "500ms");
    usleep(500000);
    cr_assert_eq(kill(daemon.pid, SIGSTOP), 0);
    expect_failed(&run, "stalled");
    daemon_kill(&daemon);
    daemon_end(&daemon);
}

Test(stories, no_server_at_all_is_a_failure)
{
    struct run run;
    run_start(&run, "tidegate-load", "--server", "127.0.0.1:1", "--scenario", "cart", "--json", "-",
              "--quiet", NULL);
    expect_failed(&run, "127.0.0.1:1");
}

Test(stories, an_interrupt_ends_a_tale_in_order)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    tell(&run, &daemon, "ingest", "--rate", "50", "--duration", "10m");
    usleep(700000);
    kill(run.pid, SIGINT);
    json_t *report = passed(&run);
    cr_assert(json_is_true(json_object_get(report, "interrupted")));
    cr_assert_eq(number(report, "stories.begun"), number(report, "stories.ended"));
    json_decref(report);
    daemon_end(&daemon);
}

Test(stories, the_group_of_a_tale_is_removed_behind_it)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    tell(&run, &daemon, "ingest", "--attempts", "10");
    json_decref(passed(&run));
    struct tgc_client *client = sale_client(&daemon);
    Tidegate__V1__ListGroupsRequest body = TIDEGATE__V1__LIST_GROUPS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS;
    request.list_groups = &body;
    cr_assert_eq(tgc_call(client, &request, DAEMON_WAIT_MS, &response, &fault), TG_ERR_OK);
    cr_assert_eq(response->list_groups->n_groups, 0);
    tgc_response_free(response);
    tgc_close(client);
    daemon_end(&daemon);
}
