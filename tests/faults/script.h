/* The steps of the workload, and the message of each. Pure; messages live in static memory until
 * the next one is made. One thread. */
#ifndef TG_TESTS_FAULTS_SCRIPT_H
#define TG_TESTS_FAULTS_SCRIPT_H

#include "proto/verdict.h"
#include "tidegate/v1/tidegate.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define SCRIPT_PRICE      1000
#define SCRIPT_TEAM_SALE  2
#define SCRIPT_SALES      3
#define SCRIPT_PROBE_USER 900

enum step_kind {
    STEP_CREATE_SALE,
    STEP_CREATE_GROUP,
    STEP_PLACE,
    STEP_BATCH,
    STEP_CART,
    STEP_OPEN_TEAM,
    STEP_JOIN_TEAM,
    STEP_INGEST,
    STEP_PAY,
    STEP_CANCEL,
    STEP_ADVANCE,
    STEP_REFUND,
    STEP_EXTEND,
    STEP_ADJUST,
    STEP_PAUSE,
    STEP_RESUME,
    STEP_CONSUME,
    STEP_ACK,
    STEP_GET_ORDER,
    STEP_GET_ITEM,
    STEP_GET_SALE,
    STEP_LIST_SALES,
    STEP_LIST_ORDERS,
    STEP_GET_TEAM,
    STEP_LIST_TEAMS,
    STEP_LIST_GROUPS,
    STEP_TIME,
    STEP_RECONNECT, /* both connections, anew */
};

struct step {
    enum step_kind kind;
    enum tg_verdict verdict; /* expected; 0: that of success */
    const char *sku;
    uint64_t sale;
    uint64_t user;
    uint32_t quantity;
    uint32_t of;    /* the step whose first order this one is about */
    uint32_t state; /* PAY: amount if not that of the order; ADVANCE, GET_ORDER: an order state */
};

extern const struct step script[];
extern const uint32_t script_count;
/* What item `i` of a sale begins with; false when there is none. */
bool script_item(uint64_t sale, uint32_t i, const char **sku, uint64_t *units);

/* The message of a step. `number` makes its request ids; `order_id` is that of `of`. */
void script_message(const struct step *step, uint32_t number, uint64_t order_id,
                    Tidegate__V1__Request *request);
/* A change that ends an order: CANCEL, REFUND (of all, with its units). Its request id is made from
 * the order's. */
void script_ending(enum step_kind kind, uint64_t order_id, Tidegate__V1__Request *request);

const char *script_name(enum step_kind kind);

#endif
