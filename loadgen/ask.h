/* One request of a story, and what it was answered.
 *
 * An ask is plain facts, so that the very same request can be built again after a lost connection,
 * a BUSY or on purpose, to see that it gets its first answer. Building goes through protobuf-c;
 * this is the slow and thorough half of the load generator, not the fast one (loadgen/wire.h).
 *
 *   READY --> IN_FLIGHT --> ANSWERED
 *     ^  connection lost, |  BUSY, asked a second time
 *     +-------------------+
 *
 * One thread.
 */
#ifndef LG_ASK_H
#define LG_ASK_H

#include "client/tidegate.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_ASK_LINES_MAX  8
#define LG_ASK_INGEST_MAX 32

/* X(name, name in reports) */
#define LG_ASKS(X)                                                                                 \
    X(PLACE, "place")                                                                              \
    X(CART, "place_cart")                                                                          \
    X(OPEN_TEAM, "open_team")                                                                      \
    X(JOIN_TEAM, "join_team")                                                                      \
    X(INGEST, "ingest")                                                                            \
    X(PAY, "pay")                                                                                  \
    X(CANCEL, "cancel")                                                                            \
    X(EXTEND, "extend_payment")                                                                    \
    X(REQUEST_REFUND, "request_refund")                                                            \
    X(APPROVE_REFUND, "approve_refund")                                                            \
    X(REJECT_REFUND, "reject_refund")                                                              \
    X(RECORD_REFUND, "record_refund")                                                              \
    X(ADVANCE, "advance")

enum lg_ask_kind {
#define LG_ASK_ENUM(name, text) LG_ASK_##name,
    LG_ASKS(LG_ASK_ENUM)
#undef LG_ASK_ENUM
    LG_ASK_KINDS,
};

enum lg_ask_state {
    LG_ASK_READY,
    LG_ASK_IN_FLIGHT,
    LG_ASK_ANSWERED,
};

/* Which payment of its order a payment is: the number in its payment id. */
enum lg_payment {
    LG_PAYMENT_FIRST = 1,
    LG_PAYMENT_SECOND = 2,
    LG_PAYMENT_WRONG = 9, /* of another amount */
};

/* The part of an answer that counts. */
struct lg_said {
    int verdict; /* enum tg_verdict; UNSPECIFIED for what no server of this version says */
    bool replayed;
    uint64_t order_id;
    uint32_t refund_number;
};

struct lg_ask_line {
    uint32_t item;
    uint32_t quantity;
};

/* What earlier answers said of one order of a batch. */
struct lg_known {
    uint64_t order_id; /* 0: none stands yet */
    bool counted;      /* its first answer is in the counts */
};

struct lg_ask {
    /* what is asked */
    uint8_t kind;
    bool twice; /* once it succeeded it is asked again, to see that answer again */
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t order_id;
    uint64_t user_id;
    uint64_t team_id;
    uint32_t item;
    uint32_t quantity;
    int64_t amount_minor; /* of a payment, of a refund */
    int64_t at_ms;        /* ordered, paid, the new deadline */
    uint32_t payment;     /* enum lg_payment */
    uint32_t refund_number;
    uint32_t channel;
    int advance_to;
    bool restock;
    uint8_t line_count;
    struct lg_ask_line lines[LG_ASK_LINES_MAX];
    uint64_t ingest_draw; /* INGEST: what its orders are drawn from */
    uint64_t ingest_name; /* and what their external ids are made of */
    uint32_t ingest_count;
    struct lg_known *known; /* INGEST: of each order; borrowed from the story */
    uint64_t allowed;       /* verdicts that a right server may give, a bit for each */
    /* its way */
    uint8_t state; /* enum lg_ask_state */
    bool resent;   /* its connection was lost once: a replay is as good */
    bool is_again; /* it is asked the second time */
    uint32_t conn;
    int64_t not_before_ns; /* READY: after a BUSY */
    int64_t begun_ns;
    /* the answer */
    struct lg_said said;
    struct lg_said first;                       /* before it was asked the second time */
    struct lg_said ingested[LG_ASK_INGEST_MAX]; /* INGEST, with OK and BUSY */
};

_Static_assert(TG_VERDICT_COUNT <= 64, "a set of verdicts is a word");

/* What a request needs to know of the sale. Borrowed tables, one entry for each item. */
struct lg_ask_sale {
    uint64_t sale_id;
    uint32_t item_count;
    const char (*skus)[TG_SKU_BYTES_MAX + 1];
    const int64_t *price_minor;
    const int64_t *captain_price_minor;
    uint64_t refusals; /* verdicts that a new order may meet here, a bit for each */
};

static inline uint64_t lg_verdict_bit(int verdict)
{
    return verdict >= 0 && verdict < TG_VERDICT_COUNT ? 1ull << verdict : 0;
}

/* "pay" for LG_ASK_PAY. Static. */
const char *lg_ask_name(int kind);

/* Builds the request and sends it; `on_response` gets `context`. Errors as tgc_send. */
enum tg_error lg_ask_send(const struct lg_ask *ask, const struct lg_ask_sale *sale,
                          struct tgc_client *client, tgc_on_response *on_response, void *context,
                          struct tg_fault *fault);

/* Takes what counts from the answer. A batch of which one order was answered BUSY is BUSY as a
 * whole, though others of it stand: it is safe to ask again, and then all are answered. Pure. */
void lg_ask_take(struct lg_ask *ask, const Tidegate__V1__Response *response);

/* --- what an order is asked to be --- */

/* The i-th order of an INGEST. Every eighth is the one before it again. Pure. */
struct lg_ingest_order {
    char external_id[TG_EXTERNAL_BYTES_MAX + 1];
    uint32_t own; /* the place in the batch where this very order stands first */
    uint32_t channel;
    uint32_t item;
    uint32_t quantity;
    uint64_t user_id;
    bool paid;
};
void lg_ask_ingest_order(const struct lg_ask *ask, uint32_t i, uint32_t item_count,
                         struct lg_ingest_order *order);

/* A fingerprint of everything that an order was asked to be, which must be what it is. `lines` is
 * the sum of lg_facts_line over its lines: lines of one SKU count together. */
struct lg_facts {
    uint64_t user_id;
    uint64_t team_id; /* of a captain's order: its own id */
    uint32_t channel;
    const uint8_t *request_id; /* NULL: of an ingested order, whose request id is the server's */
    const void *external_id;
    size_t external_bytes;
    uint64_t lines;
};
uint64_t lg_facts_line(const char *sku, uint32_t quantity, int64_t unit_price_minor);
uint64_t lg_facts_print(const struct lg_facts *facts);

/* The fingerprint of the order that was placed with this ask, which got `order_id`. */
uint64_t lg_ask_facts(const struct lg_ask *ask, const struct lg_ask_sale *sale, uint64_t order_id);
uint64_t lg_ask_ingest_facts(const struct lg_ask *ask, uint32_t i, const struct lg_ask_sale *sale);

/* What the order costs. */
int64_t lg_ask_amount(const struct lg_ask *ask, const struct lg_ask_sale *sale);

#endif
