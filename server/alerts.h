/* What somebody should look at: items that run low, the disk, the writer.
 *
 * Owned by the admin thread. Items of open sales are looked at in rounds, SRV_ALERT_ITEMS_A_TICK
 * each tick; what is told is what the last whole round found, and the rest as of the last tick.
 */
#ifndef TG_SERVER_ALERTS_H
#define TG_SERVER_ALERTS_H

#include "server/recent.h"

/* Items that are told; there may be more, which are counted. */
#define SRV_ALERTS_MAX         100
#define SRV_ALERT_ITEMS_A_TICK 16384

enum srv_alert_kind {
    SRV_ALERT_DISK_SPACE, /* value and threshold: MiB free */
    SRV_ALERT_WRITER_LAG, /* milliseconds */
    SRV_ALERT_LOW_STOCK,  /* units */
    SRV_ALERT_KINDS,
};

struct srv_alert {
    enum srv_alert_kind kind;
    bool is_critical;
    const struct eng_item *item; /* LOW_STOCK; borrowed */
    uint64_t value;
    uint64_t threshold;
};

/* Items that run low, as far as a round has come. */
struct srv_low_items {
    struct srv_alert list[SRV_ALERTS_MAX];
    uint32_t count;
    uint32_t left_out;
};

struct srv_alerts {
    const struct srv_server *server; /* borrowed */
    struct srv_alert now[SRV_ALERT_KINDS];
    uint32_t now_count;
    struct srv_low_items items; /* the last whole round */
    struct srv_low_items next;
    uint32_t sale; /* where the round is */
    uint32_t item; /* within that sale */
    uint64_t disk_free_bytes;
};

/* `alerts` is zeroed memory. */
void srv_alerts_init(struct srv_alerts *alerts, const struct srv_server *server);
void srv_alerts_tick(struct srv_alerts *alerts, const struct srv_recent *recent, int64_t now_ms);

/* Units at or below which the item is low: its own, or the percentage of its initial units. */
uint64_t srv_alert_threshold(const struct eng_item *item, const struct tg_stock *stock,
                             uint64_t percent);

#endif
