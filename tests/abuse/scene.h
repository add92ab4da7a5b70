/* One daemon with what abusers and honest clients need in it: a sale for the honest ones, one that
 * is sold out, thousands of orders and events to page through, teams that can be joined, an order
 * that everybody changes. Everything lies below a directory of its own, which goes with it.
 *
 * Functions that cannot do what they say end the program with status 3. One thread.
 */
#ifndef TG_ABUSE_SCENE_H
#define TG_ABUSE_SCENE_H

#include "tests/lib/node.h"

#include <stdbool.h>
#include <stdint.h>

#define SCENE_SALE      1 /* of the honest clients: SCENE_SKU, stock without end */
#define SCENE_SOLD_OUT  2
#define SCENE_SHELF     3 /* what is there to be read and changed; SCENE_ITEMS items */
#define SCENE_GROUP_BUY 4
#define SCENE_SKU       "A"
#define SCENE_PRICE     9900
#define SCENE_CURRENCY  "CNY"

#define SCENE_ITEMS         1000
#define SCENE_TEAMS         200
#define SCENE_SHELF_ORDERS  12288 /* three full pages */
#define SCENE_SHELF_USER    1000000
/* What the daemon may hold, so that the bound can be seen; base/limits.h and server/config.h have
 * the others. */
#define SCENE_CONNECTIONS   20000
#define SCENE_HELD_MIB      128
#define SCENE_OUTPUT_MIB    128
#define SCENE_FRAME_TIMEOUT 2
#define SCENE_WRITE_TIMEOUT 2

struct scene {
    struct node node;
    char root[96];
    uint64_t seed;
    uint64_t hot_order_id;
    int64_t hot_deadline_ms;
    int64_t filled_at_ms;      /* wall clock */
    uint64_t anon_bytes_start; /* before the first abuser */
    uint32_t connections;      /* that it takes, on all cores */
};

/* Starts a daemon under a new directory and fills it. */
void scene_open(struct scene *scene, uint64_t seed);

/* Drains it, verifies its database and removes the directory. False, with the reason printed, when
 * it did not drain, a promise is broken, or the honest sale has other orders than the `accepted`
 * ones and at most `unknown` that were never answered. The directory is kept then. */
bool scene_close(struct scene *scene, uint64_t accepted, uint64_t unknown);

/* Memory of the daemon that no file backs, and the processor time that it has used. 0 when it is
 * gone. */
uint64_t scene_anon_bytes(const struct scene *scene);
double scene_cpu_seconds(const struct scene *scene);

/* What that memory may come to: docs/operations.md, Sizing, with the numbers of this scene.
 * `orders` were accepted since the start. */
uint64_t scene_anon_bytes_max(const struct scene *scene, uint64_t orders);

/* Prints and ends the program with status 3: it could not be run here. */
void scene_fail(const char *what) __attribute__((noreturn));

#endif
