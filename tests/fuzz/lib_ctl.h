/* The commands of fuzz_ctl.c, and how the server answers each: for its seeds. `@sale` and `@ingest`
 * stand for files. */
#ifndef TG_TESTS_FUZZ_CTL_H
#define TG_TESTS_FUZZ_CTL_H

#include "tidegate/v1/tidegate.pb-c.h"

static const struct {
    const char *words;
    /* Tidegate__V1__Response__KindCase; 0: nothing is asked before, or behind */
    int kind, before, behind;
} ctl_commands[] = {
    {"time", TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME, 0, 0},
    {"stats", TIDEGATE__V1__RESPONSE__KIND_GET_STATS, 0, 0},
    {"sale create @sale", TIDEGATE__V1__RESPONSE__KIND_CREATE_SALE, 0, 0},
    {"sale list", TIDEGATE__V1__RESPONSE__KIND_LIST_SALES, 0, 0},
    {"sale show 1001", TIDEGATE__V1__RESPONSE__KIND_GET_SALE, 0, 0},
    {"sale pause 1001", TIDEGATE__V1__RESPONSE__KIND_PAUSE_SALE, 0, 0},
    {"sale resume 1001", TIDEGATE__V1__RESPONSE__KIND_RESUME_SALE, 0, 0},
    {"sale close 1001", TIDEGATE__V1__RESPONSE__KIND_CLOSE_SALE, 0, 0},
    {"stock show 1001 A", TIDEGATE__V1__RESPONSE__KIND_GET_ITEM, 0, 0},
    {"stock adjust 1001 A --delta 5 --reason found", TIDEGATE__V1__RESPONSE__KIND_ADJUST_STOCK, 0,
     0},
    {"stock adjust 1001 A --expect 4 --set 9 --reason counted",
     TIDEGATE__V1__RESPONSE__KIND_ADJUST_STOCK, 0, 0},
    {"order place 1001 A --user 7", TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER,
     TIDEGATE__V1__RESPONSE__KIND_GET_ITEM, 0},
    {"order place 1001 A:2 B:3 --user 7", TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER,
     TIDEGATE__V1__RESPONSE__KIND_GET_ITEM, 0},
    {"order show 7168", TIDEGATE__V1__RESPONSE__KIND_GET_ORDER, 0,
     TIDEGATE__V1__RESPONSE__KIND_GET_SALE},
    {"order get 7168", TIDEGATE__V1__RESPONSE__KIND_GET_ORDER, 0, 0},
    {"order list", TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS, 0, 0},
    {"order list --sale 1001 --limit 3", TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS, 0, 0},
    {"order pay 7168 --payment-id p1 --amount 100 --currency EUR",
     TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, TIDEGATE__V1__RESPONSE__KIND_GET_SALE},
    {"order cancel 7168", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order extend 7168 --until +1h", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order refund 7168", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order approve 7168 1", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order reject 7168 1", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order refunded 7168 1", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order advance 7168 shipped", TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER, 0, 0},
    {"order ingest @ingest", TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS, 0, 0},
    {"team open 1002 A --user 7", TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM,
     TIDEGATE__V1__RESPONSE__KIND_GET_ITEM, 0},
    {"team join 7168 --user 8", TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM,
     TIDEGATE__V1__RESPONSE__KIND_GET_TEAM, 0},
    {"team show 7168", TIDEGATE__V1__RESPONSE__KIND_GET_TEAM, 0,
     TIDEGATE__V1__RESPONSE__KIND_GET_SALE},
    {"team list 1002", TIDEGATE__V1__RESPONSE__KIND_LIST_TEAMS, 0, 0},
    {"events tail", TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS, 0, 0},
    {"events tail --group erp --ack", TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS, 0, 0},
    {"events tail --group erp --follow --ack", TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS, 0, 0},
    {"events ack erp 12", TIDEGATE__V1__RESPONSE__KIND_ACK_EVENTS, 0, 0},
    {"events groups", TIDEGATE__V1__RESPONSE__KIND_LIST_GROUPS, 0, 0},
    {"events group-create erp --from-now", TIDEGATE__V1__RESPONSE__KIND_CREATE_GROUP, 0, 0},
    {"events group-delete erp", TIDEGATE__V1__RESPONSE__KIND_DELETE_GROUP, 0, 0},
};

#define CTL_COMMANDS (sizeof(ctl_commands) / sizeof(ctl_commands[0]))

#endif
