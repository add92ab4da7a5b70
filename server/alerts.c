#include "server/alerts.h"

#include "base/count.h"

#include <sys/statvfs.h>

/* A lag of so many thresholds is critical. */
#define LAG_CRITICAL 5

void srv_alerts_init(struct srv_alerts *alerts, const struct srv_server *server)
{
    alerts->server = server;
}

static void tell(struct srv_alerts *alerts, enum srv_alert_kind kind, bool is_critical,
                 uint64_t value, uint64_t threshold)
{
    alerts->now[alerts->now_count++] = (struct srv_alert){
        .kind = kind, .is_critical = is_critical, .value = value, .threshold = threshold};
}

/* --- the disk and the writer --- */

static void look_at_disk(struct srv_alerts *alerts)
{
    const struct srv_config *config = &alerts->server->config;
    struct statvfs filesystem;
    if (statvfs(config->data_dir, &filesystem) != 0)
        return;
    alerts->disk_free_bytes = (uint64_t)filesystem.f_bavail * filesystem.f_frsize;
    uint64_t free_mib = alerts->disk_free_bytes >> 20;
    uint64_t threshold = tg_count_read(&config->disk_alert_mib);
    uint64_t refused_below = config->free_mib_min;
    bool is_full = atomic_load_explicit(&alerts->server->writer.storage_full, memory_order_relaxed);
    if (is_full || free_mib < threshold || free_mib < refused_below)
        tell(alerts, SRV_ALERT_DISK_SPACE,
             is_full || free_mib<refused_below, free_mib, threshold> refused_below ? threshold
                                                                                   : refused_below);
}

static void look_at_writer(struct srv_alerts *alerts, const struct srv_recent *recent)
{
    uint64_t lag_ms = (uint64_t)srv_recent_lag_ns(recent) / 1000000;
    uint64_t threshold = tg_count_read(&alerts->server->config.lag_alert_ms);
    if (lag_ms > threshold)
        tell(alerts, SRV_ALERT_WRITER_LAG, lag_ms > LAG_CRITICAL * threshold, lag_ms, threshold);
}

/* --- items --- */

uint64_t srv_alert_threshold(const struct eng_item *item, const struct tg_stock *stock,
                             uint64_t percent)
{
    return item->low_stock_units ? item->low_stock_units : stock->initial_units * percent / 100;
}

static void look_at_item(struct srv_alerts *alerts, const struct eng_item *item)
{
    struct tg_stock stock = eng_item_stock(item);
    uint64_t threshold =
        srv_alert_threshold(item, &stock, tg_count_read(&alerts->server->config.low_stock_percent));
    if (threshold == 0 || stock.available_units > threshold)
        return;
    if (alerts->next.count == SRV_ALERTS_MAX) {
        alerts->next.left_out++;
        return;
    }
    alerts->next.list[alerts->next.count++] = (struct srv_alert){
        .kind = SRV_ALERT_LOW_STOCK,
        .is_critical = stock.available_units == 0,
        .item = item,
        .value = stock.available_units,
        .threshold = threshold,
    };
}

static void end_round(struct srv_alerts *alerts)
{
    alerts->items = alerts->next;
    alerts->next.count = alerts->next.left_out = 0;
    alerts->sale = alerts->item = 0;
}

static void look_at_items(struct srv_alerts *alerts, int64_t now_ms)
{
    const struct eng_catalog *catalog = &alerts->server->engine.catalog;
    uint32_t sales = eng_catalog_sale_count(catalog), left = SRV_ALERT_ITEMS_A_TICK;
    for (; alerts->sale < sales && left > 0; alerts->sale++, alerts->item = 0) {
        const struct eng_sale *sale = &catalog->sales[alerts->sale];
        bool is_open = eng_sale_state(sale) != TG_SALE_CLOSED && now_ms >= sale->starts_at_ms &&
                       now_ms < sale->ends_at_ms;
        left--;
        for (; is_open && alerts->item < sale->item_count; alerts->item++, left--) {
            if (left == 0)
                return;
            look_at_item(alerts, &catalog->items[sale->first_item + alerts->item]);
        }
    }
    if (alerts->sale == sales)
        end_round(alerts);
}

void srv_alerts_tick(struct srv_alerts *alerts, const struct srv_recent *recent, int64_t now_ms)
{
    alerts->now_count = 0;
    look_at_disk(alerts);
    look_at_writer(alerts, recent);
    look_at_items(alerts, now_ms);
}
