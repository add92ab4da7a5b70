/* A crowd of buyers on a few connections, each order under an id of its own, that remembers what
 * it asked and what it was told: for daemons that stop or die in the middle of it.
 *
 * An order is asked once and then, when its answer was lost with the connection or was BUSY, again
 * with the same id, until it has one. Whatever happens to the daemon, at the end each order that
 * was answered ACCEPTED must stand exactly once, and no other than the asked ones may.
 *
 * One thread. Functions that cannot do what they say fail the test.
 */
#ifndef TG_TESTS_CROWD_H
#define TG_TESTS_CROWD_H

#include "tests/lib/sale.h"

#define CROWD_CLIENTS    4
#define CROWD_ORDERS_MAX 400000

struct crowd_order {
    struct crowd *crowd;
    uint64_t user_id;
    uint64_t order_id; /* 0: no ACCEPTED answer yet */
    uint32_t quantity;
    uint8_t verdict; /* the answer; 0: none but BUSY */
    uint8_t asked;   /* on its way: no answer and no loss so far */
    uint8_t listed;  /* how often it was found among the durable ones */
};

struct crowd {
    struct tgc_client *clients[CROWD_CLIENTS];
    struct crowd_order *orders; /* CROWD_ORDERS_MAX */
    const char *sku;
    uint64_t sale_id;
    uint64_t seed;
    uint32_t asked;    /* orders [0, asked) were asked at least once */
    uint32_t lost;     /* orders before this one need not be asked again */
    uint32_t answered; /* but BUSY */
    uint32_t busy;
    uint32_t accepted;
    bool ended; /* a connection was lost */
};

/* `seed` tells one crowd's request ids from another's. */
void crowd_open(struct crowd *crowd, const struct daemon *daemon, uint64_t sale_id, const char *sku,
                uint64_t seed);
void crowd_close(struct crowd *crowd);

/* Orders that wait for an answer. */
uint32_t crowd_in_flight(const struct crowd *crowd);
/* Asks `count` new orders over all connections; does not wait for answers. */
void crowd_ask(struct crowd *crowd, uint32_t count);
/* Asks again what was asked and has no answer. */
void crowd_ask_lost(struct crowd *crowd);
/* Takes the answers that are there; false when a connection is lost. */
bool crowd_take(struct crowd *crowd);
/* Takes answers, and asks again what was lost or BUSY, until each order has its answer. */
void crowd_finish(struct crowd *crowd);
/* Takes answers until every connection ended; nothing is lost that had arrived. */
void crowd_take_to_the_end(struct crowd *crowd);

/* Drops the old connections and opens new ones; what was in flight is lost. */
void crowd_reconnect(struct crowd *crowd, const struct daemon *daemon);

/* Reads every durable order of the sale and the item's numbers: each must be one that was asked,
 * as it was asked, and stand once; each ACCEPTED one must be there under the id that the answer
 * gave; the reserved units must be those of the list. Returns how many there are. */
uint64_t crowd_audit(struct crowd *crowd);

#endif
