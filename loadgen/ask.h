/* One request of a story, and what it was answered.
 *
 * An ask is plain facts, so that the very same request can be built again after a lost connection,
 * a BUSY or on purpose, to see that it gets its first answer. Building goes through protobuf-c;
 * this is the slow and thorough half of the load generator, not the fast one (loadgen/wire.h).
 *
 *   IDLE --> READY --> IN_FLIGHT --> ANSWERED
 *              ^  connection lost, |  BUSY, asked again to see a replay
 *              +-------------------+
 */
#ifndef LG_ASK_H
#define LG_ASK_H

#include "client/tidegate.h"

#include <stdbool.h>
#include <stdint.h>

#define LG_ASK_LINES_MAX  8
#define LG_ASK_INGEST_MAX 32

enum lg_ask_kind {
    LG_ASK_PLACE = 1,
    LG_ASK_CART,
    LG_ASK_OPEN_TEAM,
    LG_ASK_JOIN_TEAM,
    LG_ASK_INGEST,
    LG_ASK_PAY,
    LG_ASK_CANCEL,
    LG_ASK_EXTEND,
    LG_ASK_REQUEST_REFUND,
    LG_ASK_APPROVE_REFUND,
    LG_ASK_REJECT_REFUND,
    LG_ASK_RECORD_REFUND,
    LG_ASK_ADVANCE,
    LG_ASK_KINDS,
};

enum lg_ask_state {
    LG_ASK_IDLE,
    LG_ASK_READY,
    LG_ASK_IN_FLIGHT,
    LG_ASK_ANSWERED,
};

/* The part of an answer that stories look at. */
struct lg_said {
    int verdict;
    bool replayed;
    uint64_t order_id;
    uint32_t refund_number;
};

struct lg_ask_line {
    uint32_t item;
    uint32_t quantity;
};

struct lg_ask {
    /* what is asked */
    uint8_t kind;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t order_id;
    uint64_t user_id;
    uint64_t team_id;
    uint32_t item;
    uint32_t quantity;
    int64_t amount_minor; /* a payment, a refund */
    int64_t at_ms;        /* ordered, paid, the new deadline */
    uint32_t payment;     /* number of the payment within the order */
    uint32_t refund_number;
    uint32_t channel;
    int advance_to;
    bool restock;
    uint8_t line_count;
    struct lg_ask_line lines[LG_ASK_LINES_MAX];
    uint64_t ingest_number; /* INGEST: names its external ids */
    uint32_t ingest_count;
    uint64_t allowed; /* verdicts that a right server may give, a bit for each */
    /* its way */
    uint8_t state;
    bool resent;      /* its connection was lost once: a replay is as good */
    bool asked_again; /* on purpose */
    uint32_t conn;
    int64_t not_before_ns; /* READY: after a BUSY */
    int64_t begun_ns;
    /* the answer */
    struct lg_said said;
    struct lg_said ingested[LG_ASK_INGEST_MAX];
};

_Static_assert(TG_VERDICT_COUNT <= 64, "a set of verdicts is a word");

/* What a request needs to know of the sale. */
struct lg_ask_sale {
    uint64_t sale_id;
    uint32_t item_count;
    const char (*skus)[TG_SKU_BYTES_MAX + 1];
    const int64_t *price_minor;
    const int64_t *captain_price_minor;
};

/* Builds the request and sends it. `on_response` gets `context`. */
enum tg_error lg_ask_send(const struct lg_ask *ask, const struct lg_ask_sale *sale,
                          struct tgc_client *client, tgc_on_response *on_response, void *context,
                          struct tg_fault *fault);

/* Takes what counts from the answer. */
void lg_ask_take(struct lg_ask *ask, const Tidegate__V1__Response *response);

/* The orders of an INGEST: the external id of the i-th, of which some stand twice in the batch. */
struct lg_ingest_order {
    char external_id[TG_EXTERNAL_BYTES_MAX + 1];
    uint32_t channel;
    uint32_t item;
    uint32_t quantity;
    uint64_t user_id;
    bool paid;
    bool twice; /* the one before it again */
};
void lg_ask_ingest_order(const struct lg_ask *ask, uint32_t i, uint32_t item_count,
                         struct lg_ingest_order *order);

static inline uint64_t lg_verdict_bit(int verdict)
{
    return verdict >= 0 && verdict < TG_VERDICT_COUNT ? 1ull << verdict : 0;
}

#endif
