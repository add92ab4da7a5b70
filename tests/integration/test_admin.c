/* The admin listener of a real daemon: what it tells, and what it bears. */
#include "base/clock.h"
#include "base/token.h"
#include "tests/lib/certs.h"
#include "tests/lib/http.h"
#include "tests/lib/life.h"
#include "tests/lib/pending.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct scene {
    struct daemon daemon;
    struct tgc_client *client;
};

static void open_scene(struct scene *scene, const char *key)
{
    *scene = (struct scene){0};
    daemon_start(&scene->daemon, "--threads", "2", "--admin-listen", "127.0.0.1:0", "--set",
                 key ? key : "admin.clients_max=256", NULL);
    scene->client = sale_client(&scene->daemon);
}

static void close_scene(struct scene *scene)
{
    if (scene->client)
        tgc_close(scene->client);
    daemon_end(&scene->daemon);
}

/* --- figures --- */

/* One sale as /api/sales/ID tells it, once the books hold `placed` orders, `paid` of them paid. */
static json_t *wait_for_sale(const struct daemon *daemon, uint64_t sale_id, json_int_t placed,
                             json_int_t paid)
{
    char path[64];
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    snprintf(path, sizeof(path), "/api/sales/%" PRIu64, sale_id);
    for (;;) {
        json_t *sale = http_get_json(daemon, path);
        if (http_number(sale, "funnel.reserved") == placed &&
            http_number(sale, "funnel.paid") == paid)
            return sale;
        cr_assert(tg_clock_mono_ns() < deadline_ns, "%" PRId64 " orders, %" PRId64 " paid",
                  (int64_t)http_number(sale, "funnel.reserved"),
                  (int64_t)http_number(sale, "funnel.paid"));
        json_decref(sale);
        usleep(10000);
    }
}

/* Three orders of which two are paid and one of them is refunded, and four refusals. */
static void trade(struct tgc_client *client)
{
    uint64_t ids[3];
    sale_create(client, 7, "A", 5, 0);
    for (uint64_t user = 1; user <= 3; user++) {
        struct tg_order order = sale_order(7, "A", user, user == 3 ? 2 : 1);
        struct tg_answer answer = sale_place(client, &order);
        sale_assert_verdict(answer.verdict, TG_ACCEPTED);
        ids[user - 1] = answer.order_id;
    }
    sale_assert_verdict(life_pay(client, ids[0], "p0", SALE_PRICE).verdict, TG_OK);
    sale_assert_verdict(life_pay(client, ids[2], "p2", 2 * SALE_PRICE).verdict, TG_OK);
    sale_assert_verdict(life_request_refund(client, ids[0], 0, false).verdict, TG_OK);
    for (uint64_t user = 4; user <= 7; user++)
        sale_assert_verdict(sale_buy(client, 7, "A", user, 2), TG_INSUFFICIENT_STOCK);
}

static void expect_trade(const struct daemon *daemon, json_int_t attempts)
{
    json_t *sale = wait_for_sale(daemon, 7, 3, 2);
    cr_assert_eq(http_number(sale, "funnel.attempts"), attempts);
    cr_assert_eq(http_number(sale, "funnel.confirmed"), 2);
    cr_assert_eq(http_number(sale, "gmv_minor"), 3 * SALE_PRICE);
    cr_assert_eq(http_number(sale, "average_order_minor"), 3 * SALE_PRICE / 2);
    cr_assert_eq(http_number(sale, "placed_minor"), 4 * SALE_PRICE);
    cr_assert_eq(http_number(sale, "initial_units"), 5);
    cr_assert_eq(http_number(sale, "available_units"), 1);
    cr_assert_eq(http_number(sale, "reserved_units"), 1);
    cr_assert_eq(http_number(sale, "sold_units"), 3);
    cr_assert_str_eq(json_string_value(json_object_get(sale, "sale_id")), "7");
    cr_assert_str_eq(json_string_value(json_object_get(sale, "state")), "OPEN");
    cr_assert_str_eq(json_string_value(json_object_get(sale, "kind")), "SECKILL");
    json_t *item = json_array_get(json_object_get(sale, "items"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(item, "sku")), "A");
    cr_assert_eq(http_number(item, "sold_units"), 3);
    json_decref(sale);
}

Test(admin, tells_what_became_of_orders_and_again_after_a_crash)
{
    struct scene scene;
    open_scene(&scene, NULL);
    trade(scene.client);
    expect_trade(&scene.daemon, 7);
    tgc_close(scene.client);
    scene.client = NULL;
    daemon_kill(&scene.daemon);
    daemon_restart(&scene.daemon);
    /* Refusals are not kept: of before the start it knows the orders that stand. */
    expect_trade(&scene.daemon, 3);
    close_scene(&scene);
}

Test(admin, tells_what_became_of_teams)
{
    struct scene scene;
    open_scene(&scene, NULL);
    Tidegate__V1__CreateSaleRequest *message = sale_message(8, "T", 100);
    Tidegate__V1__GroupBuyRules rules = TIDEGATE__V1__GROUP_BUY_RULES__INIT;
    rules.team_size = 2;
    rules.team_lifetime_s = 3600;
    rules.at_deadline = TIDEGATE__V1__TEAM_DEADLINE__TEAM_DEADLINE_FAIL;
    message->sale->kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY;
    message->sale->group_buy = &rules;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    struct tg_order orders[] = {sale_order(8, "T", 1, 1), sale_order(8, "T", 2, 1),
                                sale_order(8, "T", 3, 1), sale_order(8, "T", 4, 1)};
    struct tg_answer formed = life_open_team(scene.client, &orders[0]);
    struct tg_answer open = life_open_team(scene.client, &orders[1]);
    struct tg_answer never = life_open_team(scene.client, &orders[2]);
    life_pay(scene.client, formed.order_id, "a", SALE_PRICE);
    life_pay(scene.client, open.order_id, "b", SALE_PRICE);
    struct tg_answer joined = life_join_team(scene.client, formed.order_id, false, &orders[3]);
    sale_assert_verdict(joined.verdict, TG_ACCEPTED);
    life_pay(scene.client, joined.order_id, "c", SALE_PRICE);
    life_cancel(scene.client, never.order_id);
    struct tg_order late = sale_order(8, "T", 5, 1);
    sale_assert_verdict(life_join_team(scene.client, formed.order_id, false, &late).verdict,
                        TG_TEAM_FORMED);
    const struct life_line lines[] = {{"T", 1}};
    tgc_response_free(life_place_cart(scene.client, 8, 6, lines, 1));
    for (int start = 0; start < 2; start++) {
        json_t *sale = wait_for_sale(&scene.daemon, 8, 4, 3);
        cr_assert_eq(http_number(sale, "teams.open"), 1);
        cr_assert_eq(http_number(sale, "teams.formed"), 1);
        cr_assert_eq(http_number(sale, "teams.failed"), 0, "nobody knew of that one");
        cr_assert_eq(http_number(sale, "funnel.confirmed"), 2);
        cr_assert_eq(http_number(sale, "funnel.attempts"), start == 0 ? 6 : 4,
                     "a joiner who was late, and a cart, are attempts until the next start");
        json_decref(sale);
        if (start == 0) {
            tgc_close(scene.client);
            scene.client = NULL;
            daemon_kill(&scene.daemon);
            daemon_restart(&scene.daemon);
        }
    }
    close_scene(&scene);
}

Test(admin, lists_sales_items_and_the_top_of_them_by_pages)
{
    struct scene scene;
    open_scene(&scene, NULL);
    sale_create_many(scene.client, 1, 30, 100);
    sale_create(scene.client, UINT64_MAX, "A", 10, 0);
    for (int i = 0; i < 3; i++)
        sale_buy(scene.client, 1, "S17", (uint64_t)i + 1, 2);
    sale_buy(scene.client, 1, "S4", 9, 1);
    json_t *sales = http_get_json(&scene.daemon, "/api/sales?offset=1&limit=1");
    cr_assert_eq(http_number(sales, "total"), 2);
    json_t *sale = json_array_get(json_object_get(sales, "sales"), 0);
    cr_assert_eq(json_array_size(json_object_get(sales, "sales")), 1);
    cr_assert_str_eq(json_string_value(json_object_get(sale, "sale_id")), "18446744073709551615");
    cr_assert_eq(http_number(sale, "items"), 1);
    json_decref(sales);
    json_t *one = http_get_json(&scene.daemon, "/api/sales/1?offset=28");
    json_t *items = json_object_get(one, "items");
    cr_assert_eq(json_array_size(items), 2);
    cr_assert_eq(http_number(one, "item_count"), 30);
    cr_assert_eq(http_number(one, "available_units"), 30 * 100 - 7);
    json_decref(one);
    json_t *top = http_get_json(&scene.daemon, "/api/sales/1/top?limit=2");
    items = json_object_get(top, "items");
    cr_assert_eq(json_array_size(items), 2);
    cr_assert_eq(http_number(json_array_get(items, 0), "reserved_units"), 6);
    cr_assert_eq(http_number(json_array_get(items, 1), "reserved_units"), 1);
    json_decref(top);
    close_scene(&scene);
}

/* An item of 1,000 units with a threshold of its own (0: none), of which so many are bought. */
static void sell_down(struct tgc_client *client, uint64_t sale_id, const char *sku,
                      uint32_t low_stock_units, uint32_t bought)
{
    Tidegate__V1__CreateSaleRequest *message = sale_message(sale_id, sku, 1000);
    message->items[0]->low_stock_units = low_stock_units;
    sale_assert_verdict(sale_create_message(client, message, ""), TG_OK);
    sale_assert_verdict(sale_buy(client, sale_id, sku, 1, bought), TG_ACCEPTED);
}

/* Waits until alerts are told, and looks that these are the ones. */
static void expect_low(const struct daemon *daemon)
{
    size_t count = 0;
    while (count != 2) {
        json_t *alerts = http_get_json(daemon, "/api/alerts"), *alert;
        size_t i;
        count = 0;
        json_array_foreach(json_object_get(alerts, "alerts"), i, alert)
        {
            if (strcmp(json_string_value(json_object_get(alert, "name")), "low_stock") != 0)
                continue;
            const char *sku = json_string_value(json_object_get(alert, "sku"));
            bool is_own = strcmp(sku, "OWN-LOW") == 0;
            cr_assert(is_own || strcmp(sku, "LOW") == 0, "%s is not low", sku);
            cr_assert_str_eq(json_string_value(json_object_get(alert, "severity")), "warning");
            cr_assert_eq(http_number(alert, "value"), is_own ? 500 : 100);
            cr_assert_eq(http_number(alert, "threshold"), is_own ? 500 : 100);
            count++;
        }
        json_decref(alerts);
    }
}

Test(admin, tells_of_items_that_run_low_by_their_own_threshold_also_after_a_crash)
{
    struct scene scene;
    open_scene(&scene, NULL);
    sell_down(scene.client, 1, "LOW", 0, 900);
    sell_down(scene.client, 2, "HIGH", 0, 899);
    sell_down(scene.client, 3, "OWN-LOW", 500, 500);
    sell_down(scene.client, 4, "OWN-HIGH", 5, 990);
    expect_low(&scene.daemon);
    tgc_close(scene.client);
    scene.client = NULL;
    daemon_kill(&scene.daemon);
    daemon_restart(&scene.daemon);
    expect_low(&scene.daemon);
    close_scene(&scene);
}

/* --- streams --- */

Test(admin, a_stream_begins_at_once_and_follows_the_sale)
{
    struct scene scene;
    struct http_stream stream;
    open_scene(&scene, NULL);
    sale_create(scene.client, 3, "A", 10, 0);
    http_stream_open(&stream, &scene.daemon, "/api/stream?sale=3");
    json_t *snapshot = http_stream_next(&stream);
    cr_assert_eq(http_number(snapshot, "sale.available_units"), 10);
    cr_assert_eq(json_array_size(json_object_get(snapshot, "sales")), 1);
    json_decref(snapshot);
    sale_buy(scene.client, 3, "A", 1, 4);
    sale_buy(scene.client, 3, "A", 2, 7);
    for (json_int_t left = 10, reserved = 0, refused = 0; left != 6 || reserved != 1 || !refused;) {
        snapshot = http_stream_next(&stream);
        cr_assert_not_null(snapshot);
        left = http_number(snapshot, "sale.available_units");
        reserved = http_number(snapshot, "funnel.reserved");
        refused = json_integer_value(
            json_object_get(json_object_get(json_object_get(snapshot, "totals"), "by_verdict"),
                            "INSUFFICIENT_STOCK"));
        json_decref(snapshot);
    }
    http_stream_close(&stream);
    close_scene(&scene);
}

Test(admin, streams_are_bounded_and_a_place_is_free_again)
{
    struct scene scene;
    struct http_stream streams[2];
    open_scene(&scene, "admin.streams_max=2");
    for (int i = 0; i < 2; i++) {
        http_stream_open(&streams[i], &scene.daemon, "/api/stream");
        json_decref(http_stream_next(&streams[i]));
    }
    struct http_answer answer = http_get(&scene.daemon, "/api/stream");
    cr_assert_eq(answer.status, 503);
    cr_assert_str_eq(http_header(&answer, "Retry-After"), "1");
    cr_assert_not_null(strstr(answer.body, "TOO_MANY_STREAMS"));
    http_free(&answer);
    http_stream_close(&streams[0]);
    for (json_t *snapshot = NULL; !snapshot;) {
        http_stream_open(&streams[0], &scene.daemon, "/api/stream");
        snapshot = http_stream_next(&streams[0]);
        if (snapshot)
            json_decref(snapshot);
        else
            http_stream_close(&streams[0]);
    }
    for (int i = 0; i < 2; i++)
        http_stream_close(&streams[i]);
    close_scene(&scene);
}

Test(admin, streams_end_when_the_daemon_does)
{
    struct scene scene;
    struct http_stream stream;
    open_scene(&scene, NULL);
    http_stream_open(&stream, &scene.daemon, "/api/stream");
    json_decref(http_stream_next(&stream));
    daemon_stop(&scene.daemon);
    for (json_t *snapshot; (snapshot = http_stream_next(&stream));)
        json_decref(snapshot);
    http_stream_close(&stream);
    close_scene(&scene);
}

/* --- health --- */

static void expect_not_ready(const struct daemon *daemon, const char *reason)
{
    struct http_answer answer = http_get(daemon, "/readyz");
    cr_assert_eq(answer.status, 503, "%s", answer.body);
    cr_assert_not_null(strstr(answer.body, reason), "%s", answer.body);
    cr_assert_str_eq(http_header(&answer, "Retry-After"), "1");
    http_free(&answer);
    answer = http_get(daemon, "/healthz");
    cr_assert_eq(answer.status, 200);
    http_free(&answer);
}

/* Asks for metrics on `fd` over and over, in a process of its own, until the daemon has closed. */
static pid_t scrape_on(int fd)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static char answer[65536];
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        while (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
               recv(fd, answer, sizeof(answer), 0) > 0)
            continue;
        _exit(EXIT_SUCCESS);
    }
    close(fd);
    return pid;
}

/* With as many threads as leave no memory of their own behind when they end. */
Test(admin, metrics_may_be_asked_for_while_it_stops)
{
    for (int round = 0; round < 5; round++) {
        struct daemon daemon = {0};
        pid_t scrapers[3];
        daemon_start(&daemon, "--threads", "12", "--admin-listen", "127.0.0.1:0", NULL);
        for (int i = 0; i < 3; i++)
            scrapers[i] = scrape_on(http_connect(&daemon));
        struct http_answer answer = http_get(&daemon, "/metrics");
        cr_assert_eq(answer.status, 200);
        http_free(&answer);
        daemon_end(&daemon);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(waitpid(scrapers[i], NULL, 0), scrapers[i]);
    }
}

Test(admin, is_not_ready_while_it_drains)
{
    struct scene scene = {.daemon = {.with_faults = true}};
    struct peer peer;
    daemon_start(&scene.daemon, "--admin-listen", "127.0.0.1:0", NULL);
    scene.client = sale_client(&scene.daemon);
    pending_create_sale(scene.client, sale_message(1, "A", 10));
    peer_open(&peer, &scene.daemon);
    json_decref(http_get_json(&scene.daemon, "/readyz"));
    daemon_disk_hold(&scene.daemon);
    struct tg_order order = sale_order(1, "A", 1, 1);
    pending_order(&peer, 1, &order);
    daemon_disk_wait(&scene.daemon);
    kill(scene.daemon.pid, SIGTERM);
    daemon_log_wait(&scene.daemon, "draining");
    expect_not_ready(&scene.daemon, "DRAINING");
    daemon_disk_release(&scene.daemon);
    sale_assert_verdict(pending_answer(&peer, 1).verdict, TG_ACCEPTED);
    cr_assert_eq(daemon_wait(&scene.daemon), 0);
    peer_close(&peer);
    close_scene(&scene);
}

Test(admin, version_and_readiness_are_told)
{
    struct scene scene;
    open_scene(&scene, NULL);
    json_t *version = http_get_json(&scene.daemon, "/version");
    cr_assert_eq(http_number(version, "threads"), 2);
    cr_assert(http_number(version, "started_at_ms") > 1600000000000);
    json_decref(version);
    json_decref(http_get_json(&scene.daemon, "/readyz"));
    json_decref(http_get_json(&scene.daemon, "/healthz"));
    close_scene(&scene);
}

Test(admin, is_not_ready_while_the_storage_is_full)
{
    struct scene scene;
    open_scene(&scene, "storage.map_mib=2");
    sale_create(scene.client, 1, "A", 1000000, 0);
    enum tg_verdict verdict = TG_ACCEPTED;
    for (uint64_t user = 1; verdict == TG_ACCEPTED; user++)
        verdict = sale_buy(scene.client, 1, "A", user, 1);
    sale_assert_verdict(verdict, TG_STORAGE_FULL);
    expect_not_ready(&scene.daemon, "STORAGE_FULL");
    json_t *alerts = http_get_json(&scene.daemon, "/api/alerts");
    json_decref(alerts);
    close_scene(&scene);
}

/* --- metrics --- */

Test(admin, metrics_count_what_was_answered)
{
    struct scene scene;
    open_scene(&scene, NULL);
    trade(scene.client);
    json_decref(wait_for_sale(&scene.daemon, 7, 3, 2));
    struct http_answer answer = http_get(&scene.daemon, "/metrics");
    cr_assert_eq(answer.status, 200);
    cr_assert_str_eq(http_header(&answer, "Content-Type"),
                     "text/plain; version=0.0.4; charset=utf-8");
    const struct {
        const char *sample;
        double value;
    } expected[] = {
        {"tidegate_orders_total{verdict=\"ACCEPTED\"}", 3},
        {"tidegate_orders_total{verdict=\"INSUFFICIENT_STOCK\"}", 4},
        {"tidegate_orders_total{verdict=\"SOLD_OUT\"}", 0},
        {"tidegate_item_available_units{sale=\"7\",sku=\"A\"}", 1},
        {"tidegate_item_sold_units{sale=\"7\",sku=\"A\"}", 3},
        {"tidegate_sale_attempts_total{sale=\"7\"}", 7},
        {"tidegate_sale_orders_total{sale=\"7\"}", 3},
        {"tidegate_sale_paid_minor_total{sale=\"7\"}", 3 * SALE_PRICE},
        {"tidegate_journal_pending_records{core=\"0\"}", 0},
        {"tidegate_db_rows{table=\"orders\"}", 3},
        {"tidegate_items_left_out", 0},
        {"tidegate_storage_full", 0},
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_float_eq(http_metric(answer.body, expected[i].sample), expected[i].value, 1e-9,
                           "%s", expected[i].sample);
    double commits = http_metric(answer.body, "tidegate_commit_seconds_count");
    cr_assert(commits >= 7, "a sale, three orders, two payments, a refund: %f", commits);
    cr_assert(http_metric(answer.body, "tidegate_commit_seconds_sum") > 0);
    cr_assert_float_eq(http_metric(answer.body, "tidegate_commit_seconds_bucket{le=\"+Inf\"}"),
                       commits, 1e-9);
    cr_assert(http_metric(answer.body, "tidegate_thread_cpu_seconds_total{thread=\"core0\"}") > 0);
    http_free(&answer);
    close_scene(&scene);
}

Test(admin, series_of_items_are_bounded_and_the_rest_is_counted)
{
    struct scene scene;
    open_scene(&scene, "admin.stock_series_max=5");
    sale_create_many(scene.client, 1, 12, 100);
    struct http_answer answer = http_get(&scene.daemon, "/metrics");
    int told = 0;
    for (const char *at = answer.body; (at = strstr(at, "tidegate_item_available_units{")); at++)
        told++;
    cr_assert_eq(told, 5);
    cr_assert_float_eq(http_metric(answer.body, "tidegate_items_left_out"), 7, 1e-9);
    http_free(&answer);
    close_scene(&scene);
}

/* --- bad input --- */

static void expect_status(const struct daemon *daemon, const char *request, int status,
                          const char *reason)
{
    int fd = http_connect(daemon);
    http_send(fd, request);
    struct http_answer answer = http_read(fd);
    cr_assert_eq(answer.status, status, "%d, not %d, for %s", answer.status, status, request);
    if (reason) {
        json_t *json = json_loads(answer.body, 0, NULL);
        json_t *error = json_object_get(json, "error");
        cr_assert_str_eq(json_string_value(json_object_get(error, "reason")), reason);
        cr_assert(json_is_string(json_object_get(error, "message")));
        json_decref(json);
    }
    http_free(&answer);
}

#define REST " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

Test(admin, what_it_cannot_do_is_told_precisely)
{
    static const struct {
        const char *request;
        int status;
        const char *reason;
    } cases[] = {
        {"POST /api/sales" REST, 405, "METHOD_NOT_ALLOWED"},
        {"DELETE /api/sales/1" REST, 405, "METHOD_NOT_ALLOWED"},
        {"OPTIONS /" REST, 405, "METHOD_NOT_ALLOWED"},
        {"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n", 405,
         "METHOD_NOT_ALLOWED"},
        {"GET /nothing" REST, 404, "NOT_FOUND"},
        {"GET /assets/" REST, 404, "NOT_FOUND"},
        {"GET /assets/../assets/page.js/.." REST, 404, "NOT_FOUND"},
        {"GET /../../../../etc/passwd" REST, 404, "NOT_FOUND"},
        {"GET /assets/..%2f..%2f..%2fetc%2fpasswd" REST, 404, "NOT_FOUND"},
        {"GET /%2e%2e/%2e%2e/etc/passwd" REST, 404, "NOT_FOUND"},
        {"GET //etc/passwd" REST, 404, "NOT_FOUND"},
        {"GET /assets/%00" REST, 404, "NOT_FOUND"},
        {"GET /api/sales/" REST, 404, "UNKNOWN_SALE"},
        {"GET /api/sales/99" REST, 404, "UNKNOWN_SALE"},
        {"GET /api/sales/99999999999999999999" REST, 404, "UNKNOWN_SALE"},
        {"GET /api/sales/-1" REST, 404, "NOT_FOUND"},
        {"GET /api/sales/1/top/more" REST, 404, "NOT_FOUND"},
        {"GET /api/stream?sale=99" REST, 404, "UNKNOWN_SALE"},
        {"GET /api/stream?sale=0" REST, 400, "INVALID_ARGUMENT"},
        {"GET /api/stream?sale=x" REST, 400, "INVALID_ARGUMENT"},
        {"GET /api/sales?limit=0" REST, 400, "INVALID_ARGUMENT"},
        {"GET /api/sales?limit=1001" REST, 400, "INVALID_ARGUMENT"},
        {"GET /api/sales?limit" REST, 400, "INVALID_ARGUMENT"},
        {"GET /api/sales?limit=1&limit=2" REST, 400, "INVALID_ARGUMENT"},
        {"GET /api/sales?lim%3Cscript%3E=1" REST, 400, "INVALID_ARGUMENT"},
        {"GET /metrics?x=1" REST, 400, "INVALID_ARGUMENT"},
        {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413,
         "NO_BODY"},
    };
    struct scene scene;
    open_scene(&scene, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_status(&scene.daemon, cases[i].request, cases[i].status, cases[i].reason);
    int fd = http_connect(&scene.daemon);
    http_send(fd, "POST /" REST);
    struct http_answer answer = http_read(fd);
    cr_assert_str_eq(http_header(&answer, "Allow"), "GET, HEAD");
    http_free(&answer);
    answer = http_get(&scene.daemon, "/api/sales?limit=no");
    cr_assert_not_null(strstr(answer.body, "limit must be"), "the parameter is named");
    http_free(&answer);
    close_scene(&scene);
}

/* `before`, `count` letters, `after`. */
static char *long_request(const char *before, size_t count, const char *after)
{
    size_t bytes = strlen(before);
    char *text = malloc(bytes + count + strlen(after) + 1);
    cr_assert_not_null(text);
    memcpy(text, before, bytes);
    memset(text + bytes, 'a', count);
    memcpy(text + bytes + count, after, strlen(after) + 1);
    return text;
}

Test(admin, heads_that_are_huge_or_no_http_are_refused)
{
    static const struct {
        const char *before;
        size_t bytes;
        const char *after;
        int status; /* 0: whatever, or no answer at all */
    } cases[] = {
        {"GET /", 100000, " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414},
        {"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", 100000, "\r\n\r\n", 431},
        {"GET / HTTP/1.1\r\nHost: localhost\r\n", 100000, ": x\r\n\r\n", 431},
        {"", 20, "\r\n\r\n", 0},
        {"GET / HTTP/9.9", 1, "\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nno colon ", 1, "\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nX: ", 1, "\r\n\r\n", 400}, /* no Host */
        {"\x16\x03\x01\x02", 200, "", 0},              /* TLS on a plain port */
    };
    struct scene scene;
    open_scene(&scene, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *request = long_request(cases[i].before, cases[i].bytes, cases[i].after);
        int fd = http_connect(&scene.daemon);
        http_send_bytes(fd, request, strlen(request));
        shutdown(fd, SHUT_WR);
        struct http_answer answer = http_read(fd);
        cr_assert(answer.status == 0 || answer.status >= 400, "case %zu: %d", i, answer.status);
        cr_assert(cases[i].status == 0 || answer.status == cases[i].status, "case %zu: %d", i,
                  answer.status);
        http_free(&answer);
        free(request);
        json_decref(http_get_json(&scene.daemon, "/healthz"));
    }
    close_scene(&scene);
}

Test(admin, clients_beyond_the_bounds_are_turned_away_and_nobody_else_notices)
{
    struct scene scene;
    int fds[24];
    open_scene(&scene, "admin.clients_per_address_max=8");
    sale_create(scene.client, 1, "A", 10, 0);
    for (int i = 0; i < 24; i++) {
        fds[i] = http_connect(&scene.daemon);
        http_send_bytes(fds[i], "GET /healthz HTTP/1.1\r\nX", 24); /* and never more */
    }
    /* Sooner than they would be closed for their silence (SRV_ADMIN_IDLE_S). */
    int64_t deadline_ns = tg_clock_mono_ns() + 10 * TG_NS_PER_S;
    for (int closed = 0; closed < 24 - 8;) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "only %d were turned away", closed);
        closed = 0;
        for (int i = 0; i < 24; i++) {
            struct pollfd event = {.fd = fds[i], .events = POLLIN};
            closed += poll(&event, 1, 1) == 1;
        }
    }
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_ACCEPTED);
    for (int i = 0; i < 24; i++)
        close(fds[i]);
    for (struct http_answer answer = {0}; answer.status != 200;) {
        answer = http_get(&scene.daemon, "/healthz");
        int status = answer.status;
        http_free(&answer);
        answer.status = status;
    }
    close_scene(&scene);
}

/* --- the page --- */

Test(admin, the_page_comes_with_its_policy_and_is_kept_by_its_tag)
{
    struct scene scene;
    open_scene(&scene, NULL);
    struct http_answer answer = http_get(&scene.daemon, "/");
    cr_assert_eq(answer.status, 200);
    cr_assert_not_null(
        strstr(http_header(&answer, "Content-Security-Policy"), "frame-ancestors 'none'"));
    cr_assert_null(strstr(http_header(&answer, "Content-Security-Policy"), "unsafe"));
    cr_assert_str_eq(http_header(&answer, "X-Content-Type-Options"), "nosniff");
    cr_assert_str_eq(http_header(&answer, "Content-Type"), "text/html; charset=utf-8");
    char request[512];
    snprintf(request, sizeof(request),
             "GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: %s\r\nConnection: close\r\n\r\n",
             http_header(&answer, "ETag"));
    http_free(&answer);
    int fd = http_connect(&scene.daemon);
    http_send(fd, request);
    answer = http_read(fd);
    cr_assert_eq(answer.status, 304);
    cr_assert_eq(answer.body_bytes, 0);
    http_free(&answer);
    answer = http_get(&scene.daemon, "/api/sales");
    cr_assert_str_eq(http_header(&answer, "Cache-Control"), "no-store");
    http_free(&answer);
    close_scene(&scene);
}

Test(admin, head_is_get_without_the_body)
{
    struct scene scene;
    open_scene(&scene, NULL);
    int fd = http_connect(&scene.daemon);
    http_send(fd, "HEAD /version" REST);
    struct http_answer answer = http_read(fd);
    cr_assert_eq(answer.status, 200);
    cr_assert_eq(answer.body_bytes, 0);
    cr_assert(atoi(http_header(&answer, "Content-Length")) > 50);
    http_free(&answer);
    close_scene(&scene);
}

Test(admin, a_port_in_use_is_told_at_start)
{
    struct scene scene;
    char listen[32];
    open_scene(&scene, NULL);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", scene.daemon.admin_port);
    struct daemon second = {0};
    daemon_arg(&second, "--admin-listen");
    daemon_arg(&second, listen);
    cr_assert_eq(daemon_start_refused(&second), 1);
    cr_assert(daemon_log_has(&second, listen), "%s", daemon_log_tail(&second));
    daemon_end(&second);
    struct daemon third = {0};
    daemon_arg(&third, "--admin-listen");
    daemon_arg(&third, "0.0.0.0:0");
    cr_assert_eq(daemon_start_refused(&third), 1);
    cr_assert(daemon_log_has(&third, "not a loopback address"), "%s", daemon_log_tail(&third));
    daemon_end(&third);
    close_scene(&scene);
}

/* --- names --- */

static int ask_by_name(const struct daemon *daemon, const char *host)
{
    struct http_answer answer = http_get_by_name(daemon, host, "/healthz");
    int status = answer.status;
    cr_assert_eq(status == 421, strstr(answer.body, "FOREIGN_HOST") != NULL, "%s", answer.body);
    http_free(&answer);
    return status;
}

Test(admin, answers_to_its_own_names_alone_where_nothing_else_keeps_strangers_out)
{
    static const char *const own[] = {"localhost", "LocalHost:9411", "127.0.0.1", "127.0.0.1:80",
                                      "[::1]",     "[::1]:9411",     "192.0.2.7"};
    static const char *const foreign[] = {"shop.example",
                                          "shop.example:9411",
                                          "localhost.evil.example",
                                          "127.0.0.1.nip.io",
                                          "::1",
                                          "[shop.example]",
                                          "[127.0.0.1]",
                                          "2130706433"};
    struct scene scene;
    open_scene(&scene, NULL);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        cr_assert_eq(ask_by_name(&scene.daemon, own[i]), 200, "%s", own[i]);
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        cr_assert_eq(ask_by_name(&scene.daemon, foreign[i]), 421, "%s", foreign[i]);
    int fd = http_connect(&scene.daemon);
    http_send(fd, "GET /healthz HTTP/1.0\r\n\r\n"); /* of before there were names */
    struct http_answer answer = http_read(fd);
    cr_assert_eq(answer.status, 200);
    http_free(&answer);
    close_scene(&scene);
}

/* --- tokens --- */

struct gate {
    struct daemon daemon;
    char file[64];
    char audit[80];
    char tokens[2][TG_TOKEN_BYTES_MAX + 1]; /* with read, with all but read */
};

static void write_tokens(struct gate *gate, uint32_t count)
{
    static const char *const ids[] = {"reader", "other"};
    FILE *file = fopen(gate->file, "we");
    cr_assert_not_null(file);
    for (uint32_t i = 0; i < count; i++) {
        struct tg_token_entry entry = {.roles = i == 0 ? TG_ROLE_READ
                                                       : TG_ROLES_ALL & ~(uint32_t)TG_ROLE_READ};
        char line[TG_TOKEN_LINE_BYTES];
        snprintf(entry.id, sizeof(entry.id), "%s", ids[i]);
        snprintf(entry.tenant, sizeof(entry.tenant), "t");
        tg_token_hash(gate->tokens[i], strlen(gate->tokens[i]), entry.hash);
        tg_token_line(&entry, line);
        fputs(line, file);
    }
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(gate->file, 0600), 0);
}

static void open_gate(struct gate *gate)
{
    char option[128], audit[128];
    *gate = (struct gate){.file = "/tmp/tidegate-tokens-XXXXXX"};
    int fd = mkstemp(gate->file);
    cr_assert(fd >= 0);
    close(fd);
    cr_assert(tg_token_make("reader", gate->tokens[0]) && tg_token_make("other", gate->tokens[1]));
    write_tokens(gate, 2);
    snprintf(option, sizeof(option), "security.token_file=%s", gate->file);
    snprintf(gate->audit, sizeof(gate->audit), "%s.audit", gate->file);
    snprintf(audit, sizeof(audit), "security.audit_log=%s", gate->audit);
    daemon_start(&gate->daemon, "--admin-listen", "127.0.0.1:0", "--set", option, "--set", audit,
                 NULL);
}

static void close_gate(struct gate *gate)
{
    daemon_end(&gate->daemon);
    unlink(gate->file);
    unlink(gate->audit);
}

/* GET with this Authorization (NULL: none); the status, and of a refusal the reason must be this.
 */
static int get_as(const struct daemon *daemon, const char *path, const char *authorization,
                  const char *reason)
{
    char request[1024];
    int fd = http_connect(daemon);
    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s%sConnection: close\r\n\r\n", path,
             authorization ? "Authorization: " : "", authorization ? authorization : "",
             authorization ? "\r\n" : "");
    http_send(fd, request);
    struct http_answer answer = http_read(fd);
    int status = answer.status;
    cr_assert(!reason || strstr(answer.body, reason), "%s: %s", path, answer.body);
    cr_assert(status != 401 || strcmp(http_header(&answer, "WWW-Authenticate"), "Bearer") == 0);
    http_free(&answer);
    return status;
}

Test(admin, asks_for_a_token_with_the_role_read)
{
    static const char *const guarded[] = {"/version",        "/metrics",    "/api/sales",
                                          "/api/sales/1",    "/api/alerts", "/api/stream",
                                          "/api/sales/1/top"};
    static const char *const open_to_all[] = {"/healthz", "/readyz", "/", "/assets/page.js"};
    struct gate gate;
    char reader[160], other[160], almost[160];
    open_gate(&gate);
    snprintf(reader, sizeof(reader), "Bearer %s", gate.tokens[0]);
    snprintf(other, sizeof(other), "bearer %s", gate.tokens[1]);
    snprintf(almost, sizeof(almost), "Bearer %s", gate.tokens[0]);
    almost[strlen(almost) - 1] ^= 1;
    const char *const wrong[] = {
        NULL, "", "Bearer", "Bearer ", gate.tokens[0], "Basic cmVhZGVyOng="};
    for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
        for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++)
            cr_assert_eq(get_as(&gate.daemon, guarded[i], wrong[j], "UNAUTHENTICATED"), 401,
                         "%s as %s", guarded[i], wrong[j]);
        cr_assert_eq(get_as(&gate.daemon, guarded[i], other, "PERMISSION_DENIED"), 403);
    }
    cr_assert_eq(get_as(&gate.daemon, guarded[0], almost, "UNAUTHENTICATED"), 401);
    for (size_t i = 0; i < sizeof(open_to_all) / sizeof(open_to_all[0]); i++)
        cr_assert_eq(get_as(&gate.daemon, open_to_all[i], NULL, NULL), 200, "%s", open_to_all[i]);
    cr_assert_eq(ask_by_name(&gate.daemon, "shop.example"), 200, "tokens keep strangers out");
    cr_assert_eq(get_as(&gate.daemon, "/metrics", reader, "tidegate_admin_unauthorized_total 50"),
                 200);
    cr_assert_eq(get_as(&gate.daemon, "/api/sales", reader, NULL), 200);
    close_gate(&gate);
}

/* Sends a request with this token and does not wait for its answer. */
static int send_with(const struct daemon *daemon, const char *token)
{
    char request[256];
    int fd = http_connect(daemon);
    snprintf(request, sizeof(request),
             "GET /api/sales HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
             "Connection: close\r\n\r\n",
             token);
    http_send(fd, request);
    return fd;
}

static void expect_refused(int fd)
{
    struct http_answer answer = http_read(fd);
    cr_assert_eq(answer.status, 401, "%d", answer.status);
    http_free(&answer);
}

Test(admin, each_refused_token_of_an_address_waits_longer_and_nobody_else_waits)
{
    struct gate gate;
    char other[TG_TOKEN_BYTES_MAX + 1], reader[160];
    int fds[4];
    open_gate(&gate);
    cr_assert(tg_token_make("gone", other));
    snprintf(reader, sizeof(reader), "Bearer %s", gate.tokens[0]);
    int64_t sent_ns = tg_clock_mono_ns();
    for (int i = 0; i < 4; i++)
        fds[i] = send_with(&gate.daemon, other);
    cr_assert_eq(get_as(&gate.daemon, "/api/sales", reader, NULL), 200);
    close(send_with(&gate.daemon, other)); /* who does not stay for it */
    for (int i = 0; i < 4; i++)
        expect_refused(fds[i]);
    cr_assert_geq(tg_clock_mono_ns() - sent_ns, 800 * TG_NS_PER_MS, "the fourth waits for 0.8 s");
    cr_assert_eq(get_as(&gate.daemon, "/api/sales", reader, NULL), 200);
    close_gate(&gate);
}

/* Lines of the audit log that have both. */
static int count_lines(const char *path, const char *one, const char *other)
{
    char line[4096];
    int count = 0;
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, one) && strstr(line, other);
    fclose(file);
    return count;
}

Test(admin, refused_tokens_are_audited_and_the_end_does_not_wait_for_their_answers)
{
    struct gate gate;
    char other[TG_TOKEN_BYTES_MAX + 1];
    int fds[10];
    open_gate(&gate);
    cr_assert(tg_token_make("gone", other));
    for (int i = 0; i < 10; i++)
        fds[i] = send_with(&gate.daemon, other);
    expect_refused(fds[0]); /* the others are there as well, and wait for up to 3.2 s */
    daemon_stop(&gate.daemon);
    for (int i = 1; i < 10; i++)
        expect_refused(fds[i]);
    cr_assert_eq(count_lines(gate.audit, "\"peer\":\"127.0.0.1:", "\"target\":\"token gone\""), 10);
    cr_assert_eq(count_lines(gate.audit, "", strrchr(other, '_')), 0, "no secret is in it");
    close_gate(&gate);
}

Test(admin, a_stream_ends_when_its_token_is_revoked)
{
    struct gate gate;
    struct http_stream stream = {0};
    char request[256];
    open_gate(&gate);
    stream.fd = http_connect(&gate.daemon);
    snprintf(request, sizeof(request),
             "GET /api/stream HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n", gate.tokens[0]);
    http_send(stream.fd, request);
    json_decref(http_stream_next(&stream));
    write_tokens(&gate, 0);
    cr_assert_eq(kill(gate.daemon.pid, SIGHUP), 0);
    for (json_t *snapshot; (snapshot = http_stream_next(&stream));)
        json_decref(snapshot);
    http_stream_close(&stream);
    snprintf(request, sizeof(request), "Bearer %s", gate.tokens[0]);
    cr_assert_eq(get_as(&gate.daemon, "/api/sales", request, "UNAUTHENTICATED"), 401);
    close_gate(&gate);
}

/* --- TLS --- */

struct https {
    struct daemon daemon;
    char dir[64];
};

static void open_https(struct https *https, bool asks_clients)
{
    char options[3][160];
    *https = (struct https){.dir = "/tmp/tidegate-https-XXXXXX"};
    cr_assert_not_null(mkdtemp(https->dir));
    certs_make_usual(https->dir);
    snprintf(options[0], sizeof(options[0]), "tls.certificate=%s/server.pem", https->dir);
    snprintf(options[1], sizeof(options[1]), "tls.key=%s/server.key", https->dir);
    snprintf(options[2], sizeof(options[2]), "tls.client_ca=%s%s", asks_clients ? https->dir : "",
             asks_clients ? "/ca.pem" : "");
    daemon_start(&https->daemon, "--admin-listen", "127.0.0.1:0", "--set", options[0], "--set",
                 options[1], "--set", options[2], NULL);
}

static void close_https(struct https *https)
{
    char command[128];
    daemon_end(&https->daemon);
    snprintf(command, sizeof(command), "rm -rf '%s'", https->dir);
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): a directory of our own making
}

/* GET /healthz by openssl's client, with these words more; what it and the server said, static. */
static const char *ask_https(const struct https *https, const char *more)
{
    static char said[65536];
    char command[1024];
    snprintf(
        command, sizeof(command),
        "printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | "
        "timeout 20 openssl s_client -connect 127.0.0.1:%u -CAfile %s/ca.pem "
        "-verify_return_error -ign_eof %s 2>&1",
        https->daemon.admin_port, https->dir, more);
    FILE *pipe = popen(command, "r"); // NOLINT(cert-env33-c): likewise
    cr_assert_not_null(pipe);
    said[fread(said, 1, sizeof(said) - 1, pipe)] = '\0';
    pclose(pipe);
    return said;
}

Test(admin, speaks_tls_when_all_listeners_do)
{
    struct https https;
    open_https(&https, false);
    const char *said = ask_https(&https, "");
    cr_assert_not_null(strstr(said, "TLSv1.3"), "%s", said);
    cr_assert_not_null(strstr(said, "{\"alive\":true}"), "%s", said);
    said = ask_https(&https, "-tls1_1");
    cr_assert_null(strstr(said, "alive"), "%s", said);
    int fd = http_connect(&https.daemon); /* HTTP on the port of TLS */
    http_send(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct http_answer answer = {0};
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        cr_assert_neq(byte, '{');
    close(fd);
    http_free(&answer);
    cr_assert_not_null(strstr(ask_https(&https, ""), "alive"), "others do not notice");
    close_https(&https);
}

Test(admin, takes_a_new_certificate_over_without_a_restart)
{
    struct https https;
    open_https(&https, false);
    cr_assert_not_null(strstr(ask_https(&https, ""), "alive"));
    certs_make(https.dir, "server",
               &(struct certs_wish){.signer = "ca", .names = "DNS:renewed.test,IP:127.0.0.1"});
    cr_assert_eq(kill(https.daemon.pid, SIGHUP), 0);
    while (!strstr(ask_https(&https, "-verify_hostname renewed.test"), "alive"))
        usleep(20000);
    FILE *file = fopen(certs_path(https.dir, "server", "pem"), "we");
    cr_assert_not_null(file);
    fputs("no certificate", file);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(kill(https.daemon.pid, SIGHUP), 0);
    daemon_log_wait(&https.daemon, "the certificate stays as it was");
    cr_assert_not_null(strstr(ask_https(&https, "-verify_hostname renewed.test"), "alive"));
    close_https(&https);
}

Test(admin, asks_clients_for_a_certificate_when_it_is_told_to)
{
    struct https https;
    char more[256];
    open_https(&https, true);
    const char *said = ask_https(&https, "");
    cr_assert_null(strstr(said, "alive"), "%s", said);
    cr_assert_not_null(strstr(said, "CLIENT_CERTIFICATE"), "%s", said);
    snprintf(more, sizeof(more), "-cert %s/client.pem -key %s/client.key", https.dir, https.dir);
    cr_assert_not_null(strstr(ask_https(&https, more), "alive"));
    snprintf(more, sizeof(more), "-cert %s/stranger.pem -key %s/stranger.key", https.dir,
             https.dir);
    cr_assert_null(strstr(ask_https(&https, more), "alive"));
    close_https(&https);
}
