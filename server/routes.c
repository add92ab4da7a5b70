/* What is where on the admin listener (docs/admin.md). */
#include "base/clock.h"
#include "base/count.h"
#include "server/assets.h"
#include "server/board.h"
#include "server/exchange.h"
#include "server/exposition.h"
#include "server/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char json[] = "application/json; charset=utf-8";

static bool is_serving(const struct srv_exchange *exchange)
{
    return exchange->admin->watch.is_open;
}

/* False, and failed, when a parameter is none of `names` or stands twice. */
static bool check(struct srv_exchange *exchange, const char *const *names)
{
    struct tg_fault fault;
    if (srv_query_check(&exchange->query, names, &fault) == TG_ERR_OK)
        return true;
    srv_exchange_fail(exchange, MHD_HTTP_BAD_REQUEST, "INVALID_ARGUMENT", "%s", fault.text);
    return false;
}

static bool number(struct srv_exchange *exchange, const char *name, uint64_t low, uint64_t high,
                   uint64_t *value)
{
    struct tg_fault fault;
    if (srv_query_number(&exchange->query, name, low, high, value, &fault) == TG_ERR_OK)
        return true;
    srv_exchange_fail(exchange, MHD_HTTP_BAD_REQUEST, "INVALID_ARGUMENT", "%s", fault.text);
    return false;
}

/* --- health --- */

static const char *const no_names[] = {NULL};

static void answer_health(struct srv_exchange *exchange)
{
    if (!check(exchange, no_names))
        return;
    exchange->type = json;
    srv_body_add(&exchange->body, "{\"alive\":true}\n");
}

static void not_ready(struct srv_exchange *exchange, const char *reason, const char *message)
{
    srv_exchange_fail(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, reason, "%s", message);
    exchange->retry = true;
}

static void not_recovered(struct srv_exchange *exchange)
{
    srv_exchange_fail(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "RECOVERING",
                      "the database is being read: %" PRIu64 " orders so far",
                      tg_count_read(&exchange->admin->server->recovered_orders));
    exchange->retry = true;
}

static void answer_ready(struct srv_exchange *exchange)
{
    const struct srv_server *server = exchange->admin->server;
    if (!check(exchange, no_names))
        return;
    if (!is_serving(exchange)) {
        not_recovered(exchange);
        return;
    }
    if (atomic_load_explicit(&server->draining, memory_order_acquire)) {
        not_ready(exchange, "DRAINING", "the daemon is stopping: it answers what it has accepted");
        return;
    }
    if (atomic_load_explicit(&server->writer.storage_full, memory_order_relaxed)) {
        not_ready(exchange, "STORAGE_FULL", "the disk is full: orders are refused");
        return;
    }
    exchange->type = json;
    srv_body_add(&exchange->body, "{\"ready\":true}\n");
}

static void answer_version(struct srv_exchange *exchange)
{
    const struct srv_server *server = exchange->admin->server;
    if (!check(exchange, no_names))
        return;
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    exchange->type = json;
    srv_body_add(&exchange->body,
                 "{\"version\":\"%s\",\"threads\":%" PRIu64 ",\"started_at_ms\":%" PRId64
                 ",\"server_time_ms\":%" PRId64 "}\n",
                 TG_VERSION, server->config.threads,
                 is_serving(exchange) ? server->started_at_ms : 0, now_ms);
}

/* --- figures --- */

static void answer_metrics(struct srv_exchange *exchange)
{
    if (!check(exchange, no_names))
        return;
    exchange->type = SRV_EXPOSITION_TYPE;
    srv_metrics_write(exchange->admin, &exchange->body);
}

static void answer_sales(struct srv_exchange *exchange)
{
    static const char *const names[] = {"offset", "limit", NULL};
    uint64_t offset = 0, limit = SRV_BOARD_SALES_MAX;
    if (!check(exchange, names) || !number(exchange, "offset", 0, UINT32_MAX, &offset) ||
        !number(exchange, "limit", 1, SRV_BOARD_SALES_MAX, &limit))
        return;
    exchange->type = json;
    srv_board_sales(&exchange->admin->watch, &exchange->body, offset, limit);
}

/* The sale of this id, or NULL, and failed. */
static const struct eng_sale *find_sale(struct srv_exchange *exchange, uint64_t sale_id)
{
    const struct eng_sale *sale =
        eng_catalog_sale(&exchange->admin->server->engine.catalog, sale_id);
    if (!sale)
        srv_exchange_fail(exchange, MHD_HTTP_NOT_FOUND, "UNKNOWN_SALE", "there is no sale %" PRIu64,
                          sale_id);
    return sale;
}

static void answer_sale(struct srv_exchange *exchange, const struct eng_sale *sale)
{
    static const char *const names[] = {"offset", "limit", NULL};
    uint64_t offset = 0, limit = TG_ITEMS_PAGE_DEFAULT;
    if (!check(exchange, names) || !number(exchange, "offset", 0, UINT32_MAX, &offset) ||
        !number(exchange, "limit", 1, SRV_BOARD_ITEMS_MAX, &limit))
        return;
    exchange->type = json;
    srv_board_sale(&exchange->admin->watch, &exchange->body, sale, offset, limit);
}

static void answer_top(struct srv_exchange *exchange, const struct eng_sale *sale)
{
    static const char *const names[] = {"limit", NULL};
    uint64_t limit = 10;
    if (!check(exchange, names) || !number(exchange, "limit", 1, SRV_BOARD_TOP_MAX, &limit))
        return;
    exchange->type = json;
    srv_board_top(&exchange->admin->watch, &exchange->body, sale, limit);
}

static void answer_alerts(struct srv_exchange *exchange)
{
    if (!check(exchange, no_names))
        return;
    exchange->type = json;
    srv_board_alerts(&exchange->admin->watch, &exchange->body);
}

static void answer_stream(struct srv_exchange *exchange)
{
    static const char *const names[] = {"sale", NULL};
    uint64_t sale_id = 0;
    const struct eng_sale *sale = NULL;
    if (!check(exchange, names) || !number(exchange, "sale", 1, UINT64_MAX, &sale_id))
        return;
    if (sale_id == 0 || (sale = find_sale(exchange, sale_id)))
        srv_stream_open(exchange, sale);
}

/* --- which is where --- */

static const struct {
    const char *path;
    bool needs_serving; /* 503 while the database is being read */
    bool is_open;       /* to callers without a token */
    void (*answer)(struct srv_exchange *exchange);
} routes[] = {
    {"/healthz", false, true, answer_health},    {"/readyz", false, true, answer_ready},
    {"/version", false, false, answer_version},  {"/metrics", true, false, answer_metrics},
    {"/api/sales", true, false, answer_sales},   {"/api/alerts", true, false, answer_alerts},
    {"/api/stream", true, false, answer_stream},
};

static void fail_unknown(struct srv_exchange *exchange)
{
    srv_exchange_fail(exchange, MHD_HTTP_NOT_FOUND, "NOT_FOUND",
                      "there is nothing here: see docs/admin.md for what is where");
}

/* /api/sales/ID and /api/sales/ID/top; `rest` begins behind /api/sales/. */
static void answer_below_sales(struct srv_exchange *exchange, const char *rest)
{
    size_t digits = strspn(rest, "0123456789");
    bool is_top = strcmp(rest + digits, "/top") == 0;
    uint64_t sale_id;
    if (rest[digits] != '\0' && !is_top) {
        fail_unknown(exchange);
        return;
    }
    if (!srv_query_digits(rest, digits, UINT64_MAX, &sale_id)) {
        srv_exchange_fail(exchange, MHD_HTTP_NOT_FOUND, "UNKNOWN_SALE",
                          "'%.32s' is no number of a sale", rest);
        return;
    }
    const struct eng_sale *sale = find_sale(exchange, sale_id);
    if (sale && is_top)
        answer_top(exchange, sale);
    else if (sale)
        answer_sale(exchange, sale);
}

static bool answer_asset(struct srv_exchange *exchange)
{
    const struct srv_asset *asset = srv_asset_find(exchange->path);
    if (!asset)
        return false;
    exchange->type = asset->type;
    exchange->etag = asset->etag;
    exchange->is_page = true;
    const char *known = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (known && strcmp(known, asset->etag) == 0) {
        exchange->status = MHD_HTTP_NOT_MODIFIED;
        exchange->fixed = "";
        return true;
    }
    exchange->fixed = asset->data;
    exchange->fixed_bytes = asset->size;
    return true;
}

/* The database is not read yet, or the caller may not read: failed. */
static bool may_read(struct srv_exchange *exchange, bool needs_serving)
{
    if (!is_serving(exchange) && (needs_serving || srv_door_asks_tokens(exchange->admin))) {
        not_recovered(exchange);
        return false;
    }
    return srv_door_lets_in(exchange);
}

void srv_routes_answer(struct srv_exchange *exchange)
{
    static const char below[] = "/api/sales/";
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(exchange->path, routes[i].path) != 0)
            continue;
        if (routes[i].is_open || may_read(exchange, routes[i].needs_serving))
            routes[i].answer(exchange);
        return;
    }
    if (strncmp(exchange->path, below, sizeof(below) - 1) == 0) {
        if (may_read(exchange, true))
            answer_below_sales(exchange, exchange->path + sizeof(below) - 1);
        return;
    }
    if (!answer_asset(exchange))
        fail_unknown(exchange);
}
