/* One request of the load, as plain values, so that it can be sent again exactly as it was; the
 * sales that it is about; and its message. Pure but for wish_send; one thread. */
#ifndef TG_TESTS_CRASH_WISH_H
#define TG_TESTS_CRASH_WISH_H

#include "client/tidegate.h"
#include "tests/crash/facts.h"

#define WISH_LINES_MAX  5
#define WISH_INGEST_MAX 16

enum wish_kind {
    WISH_PLACE,
    WISH_CART,
    WISH_OPEN,
    WISH_JOIN,
    WISH_INGEST,
    WISH_CHANGE,
    WISH_OPERATE, /* a sale or its stock */
    WISH_GROUP,
    WISH_READ, /* an order, or without one the events behind a group's offset */
    WISH_KINDS,
};

enum wish_change {
    WISH_PAY,
    WISH_CANCEL,
    WISH_EXTEND,
    WISH_REFUND,
    WISH_APPROVE,
    WISH_REJECT,
    WISH_RECORD,
    WISH_ADVANCE,
    WISH_CHANGES,
};

enum wish_operation {
    WISH_CREATE_SALE,
    WISH_PAUSE,
    WISH_RESUME,
    WISH_CLOSE,
    WISH_ADJUST,
    WISH_CREATE_GROUP,
    WISH_ACK,
    WISH_DELETE_GROUP,
};

/* A sale with items S0, S1 and so on. */
struct wish_sale {
    uint64_t sale_id;
    uint32_t items;
    uint32_t stock_units;
    uint32_t per_user_limit;
    int policy; /* Tidegate__V1__StockPolicy */
    bool is_group_buy;
    bool has_shares;
};

struct wish {
    enum wish_kind kind;
    uint64_t number; /* of all wishes: makes request ids, payment ids and external ids */
    const struct wish_sale *sale;
    uint32_t line_count;
    uint32_t skus[WISH_LINES_MAX];
    uint32_t quantities[WISH_LINES_MAX];
    uint64_t user_id;
    uint64_t team_id;
    uint32_t ingest_count;
    enum wish_change change; /* these of CHANGE */
    uint64_t order_id;
    int64_t amount_minor;
    uint32_t refund_number;
    int advance_to;                /* Tidegate__V1__OrderState */
    enum wish_operation operation; /* these of OPERATE and GROUP */
    const char *group;             /* borrowed */
    int64_t delta_units;
    uint64_t sequence;
    int64_t at_ms; /* the client's clock */
};

/* What a unit costs, what a captain pays for it. */
int64_t wish_price(uint32_t sku);
int64_t wish_captain_price(uint32_t sku);
/* "S<sku>" in static memory, valid until the next few calls. */
char *wish_sku(uint32_t sku);

/* What the order of a wish to place (line i of INGEST being an order of its own) must be found to
 * be, but for accepted_at_ms and, of a captain, team_id. */
struct facts_asked wish_asked(const struct wish *wish, uint32_t i);
/* What it costs; of INGEST, of order i. */
int64_t wish_amount(const struct wish *wish, uint32_t i);

/* Sends it; ends the program when it cannot. */
void wish_send(struct tgc_client *client, const struct wish *wish, tgc_on_response *on_response,
               void *context);

#endif
