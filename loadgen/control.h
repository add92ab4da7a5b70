/* What a run needs of the server besides orders: its address, a sale, the sale's items.
 *
 * Blocking, over libtidegate; main thread, before the workers start. */
#ifndef LG_CONTROL_H
#define LG_CONTROL_H

#include "base/error.h"
#include "client/tidegate.h"
#include "loadgen/plan.h"

#include <sys/socket.h>

#define LG_CONTROL_MS 10000u /* patience with one request */

/* Resolves "host:port" and takes the first address that accepts a connection. */
enum tg_error lg_control_resolve(const char *server, struct sockaddr_storage *address,
                                 socklen_t *address_bytes, struct tg_fault *fault);

/* Rules of a sale beyond its items. */
struct lg_sale_rules {
    int64_t starts_at_ms;      /* on the server's clock; 0: it is open */
    uint32_t payment_window_s; /* 0: the server's default */
    uint32_t team_size;        /* 0: no group-buy */
    uint32_t team_lifetime_s;
    bool shares; /* channels 1 to 3 get at most 50 percent each */
};

/* Creates a sale with these items and rules, open for a week, and stores its id (made of time and
 * seed, and of more time when that one exists) in settings->sale_id. A group-buy gets a captain
 * price and a ladder. */
enum tg_error lg_control_create_sale_of(const char *server, struct lg_plan_settings *settings,
                                        const struct lg_item *items,
                                        const struct lg_sale_rules *rules, struct tg_fault *fault);

/* What a captain pays for a unit under these rules. Pure. */
int64_t lg_control_captain_price(const struct lg_item *item, const struct lg_sale_rules *rules);

/* The server's clock. */
enum tg_error lg_control_server_time(struct tgc_client *client, int64_t *now_ms,
                                     struct tg_fault *fault);

/* Reads the items of a sale that exists, in the order of its creation; malloc'ed, the caller's. */
enum tg_error lg_control_load_sale(const char *server, uint64_t sale_id, struct lg_item **items,
                                   uint32_t *count, struct tg_fault *fault);

#endif
