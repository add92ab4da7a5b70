#include "server/board.h"

#include "base/clock.h"
#include "base/count.h"

#include <inttypes.h>
#include <string.h>

/* The stock of several items. */
struct units {
    uint64_t initial;
    int64_t restocked;
    uint64_t available;
    uint64_t reserved;
    uint64_t sold;
};

static const struct eng_catalog *catalog_of(const struct srv_watch *watch)
{
    return &watch->server->engine.catalog;
}

static void add_units(struct units *sum, const struct tg_stock *stock)
{
    sum->initial += stock->initial_units;
    sum->restocked += stock->restocked_units;
    sum->available += stock->available_units;
    sum->reserved += stock->reserved_units;
    sum->sold += stock->sold_units;
}

static void write_units(struct srv_body *body, const struct units *units)
{
    srv_body_add(body,
                 "\"initial_units\":%" PRIu64 ",\"restocked_units\":%" PRId64
                 ",\"available_units\":%" PRIu64 ",\"reserved_units\":%" PRIu64
                 ",\"sold_units\":%" PRIu64,
                 units->initial, units->restocked, units->available, units->reserved, units->sold);
}

/* --- a sale --- */

const char *srv_board_sale_state(const struct eng_sale *sale, int64_t now_ms)
{
    enum tg_sale_state state = eng_sale_state(sale);
    if (state == TG_SALE_CLOSED)
        return "CLOSED";
    if (now_ms >= sale->ends_at_ms)
        return "ENDED";
    if (state == TG_SALE_PAUSED)
        return "PAUSED";
    return now_ms < sale->starts_at_ms ? "SCHEDULED" : "OPEN";
}

static const char *kind_name(const struct eng_sale *sale)
{
    return sale->kind == TG_SALE_GROUP_BUY ? "GROUP_BUY" : "SECKILL";
}

uint64_t srv_board_attempts(const struct srv_watch *watch, const struct eng_sale *sale)
{
    uint64_t attempts = watch->books.sales[sale->sale].placed_earlier;
    for (uint64_t i = 0; i < watch->server->config.threads; i++)
        attempts += tg_count_read(&watch->server->cores[i].attempts[sale->sale]);
    return attempts;
}

/* Funnel, money and teams: of one sale, or of several added up. */
static void write_books(struct srv_body *body, const struct srv_sale_books *books,
                        uint64_t attempts)
{
    /* Attempts are counted at once and orders as they are read: whoever reads both may not see
     * more orders than attempts. */
    if (attempts < books->placed)
        attempts = books->placed;
    srv_body_add(body,
                 "\"funnel\":{\"attempts\":%" PRIu64 ",\"reserved\":%" PRIu64 ",\"paid\":%" PRIu64
                 ",\"confirmed\":%" PRIu64 "},\"placed_minor\":%" PRId64 ",\"gmv_minor\":%" PRId64
                 ",\"average_order_minor\":%" PRId64 ",",
                 attempts, books->placed, books->paid, books->confirmed, books->placed_minor,
                 books->paid_minor, books->paid ? books->paid_minor / (int64_t)books->paid : 0);
    srv_body_add(body,
                 "\"teams\":{\"open\":%" PRIu32 ",\"formed\":%" PRIu32 ",\"failed\":%" PRIu32 "}",
                 books->teams_open, books->teams_formed, books->teams_failed);
}

/* All of it but its items and the closing brace. */
static void open_sale(const struct srv_watch *watch, struct srv_body *body,
                      const struct eng_sale *sale, int64_t now_ms)
{
    struct units units = {0};
    for (uint32_t i = 0; i < sale->item_count; i++) {
        struct tg_stock stock = eng_item_stock(&catalog_of(watch)->items[sale->first_item + i]);
        add_units(&units, &stock);
    }
    srv_body_add(body, "{\"sale_id\":\"%" PRIu64 "\",\"kind\":\"%s\",\"state\":\"%s\",\"name\":",
                 sale->sale_id, kind_name(sale), srv_board_sale_state(sale, now_ms));
    srv_body_add_json(body, sale->name, sale->name_bytes);
    srv_body_add(body,
                 ",\"currency\":\"%s\",\"starts_at_ms\":%" PRId64 ",\"ends_at_ms\":%" PRId64
                 ",\"item_count\":%" PRIu32 ",",
                 sale->currency, sale->starts_at_ms, sale->ends_at_ms, sale->item_count);
    write_units(body, &units);
    srv_body_add(body, ",");
    write_books(body, &watch->books.sales[sale->sale], srv_board_attempts(watch, sale));
}

static void write_sale(const struct srv_watch *watch, struct srv_body *body,
                       const struct eng_sale *sale, int64_t now_ms)
{
    srv_body_comma(body);
    open_sale(watch, body, sale, now_ms);
    srv_body_add(body, ",\"items\":%" PRIu32 "}", sale->item_count);
}

static void write_item(const struct srv_watch *watch, struct srv_body *body,
                       const struct eng_item *item)
{
    struct units units = {0};
    struct tg_stock stock = eng_item_stock(item);
    add_units(&units, &stock);
    srv_body_comma(body);
    srv_body_add(body, "{\"sku\":");
    srv_body_add_json(body, item->sku, item->sku_bytes);
    srv_body_add(body, ",\"price_minor\":%" PRId64 ",", item->sale_price_minor);
    write_units(body, &units);
    srv_body_add(
        body, ",\"low_stock_units\":%" PRIu64 "}",
        srv_alert_threshold(item, &stock, tg_count_read(&watch->server->config.low_stock_percent)));
}

static void write_head(struct srv_body *body, int64_t now_ms)
{
    srv_body_add(body, "{\"server_time_ms\":%" PRId64, now_ms);
}

static int64_t wall_ms(void)
{
    return tg_clock_wall_ns() / TG_NS_PER_MS;
}

void srv_board_sales(const struct srv_watch *watch, struct srv_body *body, uint64_t offset,
                     uint64_t limit)
{
    uint64_t total = eng_catalog_sale_count(catalog_of(watch));
    int64_t now_ms = wall_ms();
    write_head(body, now_ms);
    srv_body_add(body, ",\"total\":%" PRIu64 ",\"sales\":[", total);
    for (uint64_t i = offset; i < total && i - offset < limit; i++)
        write_sale(watch, body, &catalog_of(watch)->sales[i], now_ms);
    srv_body_add(body, "]}\n");
}

void srv_board_sale(const struct srv_watch *watch, struct srv_body *body,
                    const struct eng_sale *sale, uint64_t offset, uint64_t limit)
{
    int64_t now_ms = wall_ms();
    open_sale(watch, body, sale, now_ms);
    srv_body_add(body, ",\"server_time_ms\":%" PRId64 ",\"items\":[", now_ms);
    for (uint64_t i = offset; i < sale->item_count && i - offset < limit; i++)
        write_item(watch, body, &catalog_of(watch)->items[sale->first_item + i]);
    srv_body_add(body, "]}\n");
}

/* --- the items of which most is taken --- */

struct taken {
    const struct eng_item *item;
    uint64_t units;
};

/* Keeps the `limit` largest, most first; of equal ones the first comes first. */
static uint32_t keep_largest(struct taken *list, uint32_t count, uint32_t limit, struct taken one)
{
    if (limit == 0 || (count == limit && list[count - 1].units >= one.units))
        return count;
    count += count < limit;
    uint32_t at = count - 1;
    for (; at > 0 && list[at - 1].units < one.units; at--)
        list[at] = list[at - 1];
    list[at] = one;
    return count;
}

static void write_top(const struct srv_watch *watch, struct srv_body *body,
                      const struct eng_sale *sale, uint32_t limit)
{
    struct taken list[SRV_BOARD_TOP_MAX] = {{0}};
    uint32_t count = 0;
    for (uint32_t i = 0; i < sale->item_count; i++) {
        const struct eng_item *item = &catalog_of(watch)->items[sale->first_item + i];
        struct tg_stock stock = eng_item_stock(item);
        struct taken one = {item, (uint64_t)stock.reserved_units + stock.sold_units};
        count = keep_largest(list, count, limit, one);
    }
    srv_body_add(body, "\"items\":[");
    for (uint32_t i = 0; i < count; i++)
        write_item(watch, body, list[i].item);
    srv_body_add(body, "]");
}

void srv_board_top(const struct srv_watch *watch, struct srv_body *body,
                   const struct eng_sale *sale, uint64_t limit)
{
    write_head(body, wall_ms());
    srv_body_add(body, ",\"sale_id\":\"%" PRIu64 "\",", sale->sale_id);
    write_top(watch, body, sale, (uint32_t)limit);
    srv_body_add(body, "}\n");
}

/* --- alerts --- */

static void write_alert(struct srv_body *body, const struct srv_alert *alert)
{
    static const char *const names[] = {[SRV_ALERT_DISK_SPACE] = "disk_space",
                                        [SRV_ALERT_WRITER_LAG] = "writer_lag",
                                        [SRV_ALERT_LOW_STOCK] = "low_stock"};
    srv_body_comma(body);
    srv_body_add(body, "{\"name\":\"%s\",\"severity\":\"%s\",\"message\":", names[alert->kind],
                 alert->is_critical ? "critical" : "warning");
    switch (alert->kind) {
    case SRV_ALERT_DISK_SPACE:
        srv_body_add(body, "\"%" PRIu64 " MiB are free where the database is\"",
                     alert->value >> 20);
        break;
    case SRV_ALERT_WRITER_LAG:
        srv_body_add(body, "\"orders wait %" PRIu64 " ms and more for their commit\"",
                     alert->value);
        break;
    case SRV_ALERT_LOW_STOCK:
        srv_body_add(body, "\"%" PRIu64 " units are left\",\"sale_id\":\"%" PRIu64 "\",\"sku\":",
                     alert->value, alert->item->sale->sale_id);
        srv_body_add_json(body, alert->item->sku, alert->item->sku_bytes);
        break;
    case SRV_ALERT_KINDS:
        break;
    }
    srv_body_add(body, ",\"value\":%" PRIu64 ",\"threshold\":%" PRIu64 "}", alert->value,
                 alert->threshold);
}

static void write_alerts(const struct srv_watch *watch, struct srv_body *body)
{
    const struct srv_alerts *alerts = &watch->alerts;
    srv_body_add(body, "\"alerts\":[");
    for (uint32_t i = 0; i < alerts->now_count; i++)
        write_alert(body, &alerts->now[i]);
    for (uint32_t i = 0; i < alerts->items.count; i++)
        write_alert(body, &alerts->items.list[i]);
    srv_body_add(body, "],\"alerts_left_out\":%" PRIu32, alerts->items.left_out);
}

void srv_board_alerts(const struct srv_watch *watch, struct srv_body *body)
{
    write_head(body, wall_ms());
    srv_body_add(body, ",");
    write_alerts(watch, body);
    srv_body_add(body, "}\n");
}

/* --- the snapshot --- */

/* 0: it can sell now, 1: later or again, 2: it is over. */
static int rank_of(const struct eng_sale *sale, int64_t now_ms)
{
    const char *state = srv_board_sale_state(sale, now_ms);
    if (strcmp(state, "OPEN") == 0)
        return 0;
    return strcmp(state, "PAUSED") == 0 || strcmp(state, "SCHEDULED") == 0 ? 1 : 2;
}

void srv_board_snapshot_sales(const struct srv_watch *watch, struct srv_body *body)
{
    const struct eng_sale *sales = catalog_of(watch)->sales;
    uint32_t total = eng_catalog_sale_count(catalog_of(watch)), written = 0;
    srv_body_add(body, "[");
    for (int rank = 0; rank <= 2; rank++)
        for (uint32_t i = total; i > 0 && written < SRV_SNAPSHOT_SALES; i--)
            if (rank_of(&sales[i - 1], watch->now_ms) == rank) {
                write_sale(watch, body, &sales[i - 1], watch->now_ms);
                written++;
            }
    srv_body_add(body, "]");
}

static void write_by_verdict(const struct srv_watch *watch, struct srv_body *body,
                             uint64_t (*value)(const struct srv_recent *, uint32_t))
{
    srv_body_add(body, "\"by_verdict\":{");
    for (uint32_t verdict = 0; verdict < TG_VERDICT_COUNT; verdict++)
        if (srv_recent_total(&watch->recent, verdict) > 0) {
            srv_body_comma(body);
            srv_body_add(body, "\"%s\":%" PRIu64, tg_verdict_name((int)verdict),
                         value(&watch->recent, verdict));
        }
    srv_body_add(body, "}");
}

static void write_rates(const struct srv_watch *watch, struct srv_body *body)
{
    uint64_t accepted = srv_recent_rate(&watch->recent, TG_ACCEPTED), refused = 0;
    for (uint32_t verdict = 0; verdict < TG_VERDICT_COUNT; verdict++)
        refused += verdict == TG_ACCEPTED ? 0 : srv_recent_rate(&watch->recent, verdict);
    srv_body_add(body, "\"rates\":{\"accepted_per_s\":%" PRIu64 ",\"refused_per_s\":%" PRIu64 ",",
                 accepted, refused);
    write_by_verdict(watch, body, srv_recent_rate);
    srv_body_add(body, "},\"totals\":{");
    write_by_verdict(watch, body, srv_recent_total);
    srv_body_add(body, "}");
}

/* Empty when there was no commit lately. */
static void write_latency(const struct srv_watch *watch, struct srv_body *body)
{
    const struct srv_percentiles *commits = &watch->recent.window.commits;
    const struct srv_percentiles *batches = &watch->recent.window.batches;
    if (batches->max == 0) {
        srv_body_add(body, "\"latency\":{}");
        return;
    }
    srv_body_add(body,
                 "\"latency\":{\"commit_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64
                 ",\"max\":%" PRIu64 "},\"batch\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 "}}",
                 commits->p50, commits->p99, commits->max, batches->p50, batches->p99);
}

/* Of one sale; without one, of all sales in the currency of the first. */
static void write_money(const struct srv_watch *watch, struct srv_body *body,
                        const struct eng_sale *sale)
{
    const struct eng_sale *sales = catalog_of(watch)->sales;
    uint32_t total = eng_catalog_sale_count(catalog_of(watch));
    const char *currency = sale ? sale->currency : total > 0 ? sales[0].currency : "";
    struct srv_sale_books sum = {0};
    uint64_t attempts = 0;
    for (uint32_t i = 0; i < total; i++) {
        if (sale ? &sales[i] != sale : strcmp(sales[i].currency, currency) != 0)
            continue;
        srv_books_add(&sum, &watch->books.sales[i]);
        attempts += srv_board_attempts(watch, &sales[i]);
    }
    write_books(body, &sum, attempts);
    srv_body_add(body, ",\"currency\":\"%s\"", currency);
}

void srv_board_snapshot(const struct srv_watch *watch, struct srv_body *body,
                        const struct srv_body *sales, const struct eng_sale *sale)
{
    int64_t now_ms = wall_ms();
    write_head(body, now_ms);
    srv_body_add(body, ",\"version\":\"%s\",", TG_VERSION);
    if (sale) {
        srv_body_add(body, "\"sale\":");
        open_sale(watch, body, sale, now_ms);
        srv_body_add(body, ",");
        write_top(watch, body, sale, SRV_SNAPSHOT_ITEMS);
        srv_body_add(body, "},");
    }
    srv_body_add(body, "\"sales\":");
    srv_body_add_bytes(body, sales->text, sales->bytes);
    srv_body_add(body, ",");
    write_rates(watch, body);
    srv_body_add(body, ",");
    write_latency(watch, body);
    srv_body_add(body, ",");
    write_money(watch, body, sale);
    srv_body_add(body, ",\"books_behind\":%" PRIu64 ",", watch->books.behind);
    write_alerts(watch, body);
    srv_body_add(body, "}");
}
