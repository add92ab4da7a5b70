/* Requests beyond orders: the operator's (one owner decides each, durable before the answer) and
 * the reads (answered at once from published words or an LMDB snapshot).
 *
 * The life of an operator's request:
 *
 *   core of the connection: unpack, check ---- refused ------------------------> answer
 *        | at the owner (shard 0 for sales, the item's shard for stock)
 *        v
 *   decide ---- refused, or nothing to change ---------------------------------> answer
 *        | record in the journal
 *        v
 *   settle when durable or refused by the storage -----------------------------> answer
 *
 * One heap block carries it through; it is rare, so that costs nothing that counts.
 */
#ifndef TG_SERVER_CONTROL_H
#define TG_SERVER_CONTROL_H

#include "server/core.h"

/* The shard that owns the table of sales. */
#define SRV_CATALOG_CORE 0

struct srv_control {
    struct srv_address address;
    uint32_t kind; /* TIDEGATE__V1__REQUEST__KIND_* */
    /* what is asked */
    struct tg_sale_def *def;   /* CreateSale; owned */
    struct eng_sale *sale;     /* pause, resume, close */
    enum tg_sale_state wanted; /* the same */
    struct eng_item *item;     /* AdjustStock */
    struct eng_adjust adjust;
    char reason[TG_REASON_BYTES_MAX];
    /* what came of it */
    enum tg_verdict verdict;
    enum tg_field field;
    const char *message; /* static; instead of the field's advice, or NULL */
};

/* A request of any kind but orders came in. */
void srv_control_request(struct srv_core *core, struct net_conn *conn,
                         const struct tg_envelope *envelope);

/* At the owner: decides. True: final. False: it comes with the journal. */
bool srv_control_decide(struct srv_core *core, struct srv_control *control);

/* At the owner: its record completed. */
void srv_control_settle(struct srv_core *core, struct srv_control *control,
                        const struct tg_record *record);

/* At the core of the connection: answers and frees it. */
void srv_control_deliver(struct srv_core *core, struct srv_control *control);

/* server/reads.c: answers GetOrder, ListOrders, GetItem, GetServerTime, ListSales, GetSale. False
 * when the request is none of these. */
bool srv_reads_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope);

/* --- server/message.c: protobuf-c over the core's arena --- */

/* Unpacks into the core's arena, which is reset; NULL when the bytes are no such message or too
 * many. Valid until the next unpack. */
void *srv_message_unpack(struct srv_core *core, const ProtobufCMessageDescriptor *descriptor,
                         struct tg_bytes body);

/* Memory from the same arena, zeroed; NULL when it is used up. */
void *srv_message_alloc(struct srv_core *core, size_t bytes);

/* The bytes of an unpacked string as they were sent, NULs included. */
struct tg_bytes srv_message_text(const char *text);

#endif
