/* Requests beyond the plain order: each kind's way through the cores.
 *
 *   core of the connection: unpack, read -- refused ---------------------------> answer
 *        | at the owner (shard 0 for sales and groups, the shard of the order or item else)
 *        v
 *   decide ---- refused, or nothing to change ---------------------------------> answer
 *        | records in the journal
 *        v
 *   settle when durable or refused by the storage -----------------------------> answer
 *
 * One heap block, struct srv_control, carries a request through; the table of ways in
 * server/control.c names the functions of each kind. Orders that are one line of one item do not
 * come here: server/orders.c. Reads neither: they are answered at once from published words or an
 * LMDB snapshot (server/reads.c), and so are consumers (server/events.h).
 */
#ifndef TG_SERVER_CONTROL_H
#define TG_SERVER_CONTROL_H

#include "engine/cart.h"
#include "server/core.h"
#include "server/events.h"

/* The shard that owns the table of sales. */
#define SRV_CATALOG_CORE 0

struct srv_way; /* server/control.c */
struct srv_holds;
struct srv_ingest;
struct srv_audit_line;

/* CreateSale, PauseSale, ResumeSale, CloseSale, AdjustStock. */
struct srv_sale_ask {
    struct tg_sale_def *def;   /* CreateSale; owned */
    struct eng_sale *sale;     /* pause, resume, close */
    enum tg_sale_state wanted; /* the same */
    struct eng_item *item;     /* AdjustStock */
    struct eng_adjust adjust;
    char reason[TG_REASON_BYTES_MAX];
};

/* ChangeOrder. */
struct srv_change_ask {
    struct eng_command command;
    struct eng_result result;
};

/* A cart, and what came of its merged lines. */
struct srv_cart {
    struct eng_cart cart;
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
};

/* OpenTeam, JoinTeam, one order of IngestOrders, a cart. */
struct srv_placing {
    struct tg_order order; /* its external id is the one below; no sku */
    uint8_t external_id[TG_EXTERNAL_BYTES_MAX];
    struct eng_item *item; /* of a cart: its first line's */
    uint64_t team_id;      /* JoinTeam */
    bool new_buyer;        /* JoinTeam */
    bool is_paid;          /* IngestOrders: with `payment` */
    int64_t ordered_at_ms;
    struct tg_payment payment;
    struct srv_ingest *ingest; /* the frame that it came with; of the connection's core */
    uint32_t position;         /* in that */
    struct srv_cart *cart;     /* owned */
    /* what came of it */
    uint32_t slot; /* of the shard, kept while it is on its way to the disk */
    uint32_t generation;
    struct tg_answer answer; /* with ACCEPTED */
};

/* A request that waits at its owner: server/waits.h. */
struct srv_wait {
    uint64_t key;             /* of its request id; 0: no retry could follow it */
    struct srv_control *next; /* of the same bucket */
    struct srv_control_list followers;
    uint32_t slot; /* the order in flight that it is a retry of, or ENG_SLOT_NONE */
    uint32_t generation;
};

struct srv_control {
    struct srv_address address;
    const struct srv_way *way;
    struct srv_control *next; /* of those that wait for room in a ring */
    uint32_t kind;            /* TIDEGATE__V1__REQUEST__KIND_* */
    uint32_t owner;           /* the core that decides */
    /* what is asked, by kind */
    union {
        struct srv_sale_ask sale;
        struct srv_group_ask group; /* CreateGroup, AckEvents, DeleteGroup */
        struct srv_change_ask change;
        struct srv_placing placing;
    };
    struct srv_holds *holds; /* server/cart.c, while other cores do something for it; owned */
    struct srv_wait wait;
    /* what came of it */
    enum tg_verdict verdict;
    enum tg_field field;
    const char *message;          /* static; instead of the field's advice, or NULL */
    struct srv_audit_line *audit; /* of an operator's action, or NULL; owned */
    bool has_waited;              /* in its lane: never twice */
    bool is_late;                 /* its deadline came before it was decided: an ErrorResponse */
    bool unreadable;              /* the database could not be read: an ErrorResponse */
};

/* The answer of a request that was refused before, or while, it was decided. */
static inline void srv_control_refuse(struct srv_control *control, enum tg_verdict verdict,
                                      enum tg_field field)
{
    control->verdict = verdict;
    control->field = field;
}

/* A request of any kind but plain orders came in. */
void srv_control_request(struct srv_core *core, struct net_conn *conn,
                         const struct tg_envelope *envelope);

/* A zeroed block for a request of a kind of the table, verdict OK; NULL without memory. It goes
 * on with srv_control_start, once it is read. */
struct srv_control *srv_control_create(struct srv_core *core, struct net_conn *conn, uint32_t kind,
                                       uint64_t correlation_id);

/* Answers it if it is refused, decides it here, or sends it to its owner. */
void srv_control_start(struct srv_core *core, struct srv_control *control);

/* At the owner: decides, and answers when that is final. For requests that came from another core,
 * and for those that had to wait. */
void srv_control_decide(struct srv_core *core, struct srv_control *control);

/* At the owner: its record (the last one of its unit) completed. */
void srv_control_settle(struct srv_core *core, struct srv_control *control,
                        const struct tg_record *record);

/* At the owner: it is final. Answers here, or lets it travel to the core of its connection. */
void srv_control_finish(struct srv_core *core, struct srv_control *control);

/* At the core of the connection: answers and frees it. */
void srv_control_deliver(struct srv_core *core, struct srv_control *control);

/* Once a turn: sends the answers that waited for room in a ring. */
void srv_control_turn(struct srv_core *core);
/* Some still wait. */
bool srv_control_is_busy(const struct srv_core *core);

static inline void srv_control_list_put(struct srv_control_list *list, struct srv_control *control)
{
    control->next = NULL;
    if (list->first)
        list->last->next = control;
    else
        list->first = control;
    list->last = control;
}

/* Takes the first, which must be there. */
static inline struct srv_control *srv_control_list_take(struct srv_control_list *list)
{
    struct srv_control *control = list->first;
    list->first = control->next;
    return control;
}

/* server/reads.c: answers GetOrder, GetItem, GetServerTime, ListSales, GetSale,
 * GetTeam, ListTeams. False when the request is none of these. */
bool srv_reads_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope);
/* Fills both in with what is published of an item, in memory of the arena. */
void srv_reads_item_status(struct srv_core *core, Tidegate__V1__ItemStatus *status,
                           Tidegate__V1__SaleItem *message, const struct eng_item *item);

/* --- server/message.c: protobuf-c over the core's arena --- */

/* Unpacks into the core's arena, which is reset; NULL when the bytes are no such message or too
 * many. Valid until the next unpack. */
void *srv_message_unpack(struct srv_core *core, const ProtobufCMessageDescriptor *descriptor,
                         struct tg_bytes body);

/* Gives the arena back, for an answer that is not made beside its request. */
void srv_message_reset(struct srv_core *core);

/* The answers to a request that does not unpack, to one for which there is no memory, and to one
 * that needs what cannot be read. The first two close the connection. */
void srv_message_fail(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);
void srv_message_fail_memory(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);
void srv_message_fail_read(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);
/* The answer to one whose caller has stopped waiting before it was decided. */
void srv_message_fail_late(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);

/* Memory from the same arena, zeroed; NULL when it is used up. */
void *srv_message_alloc(struct srv_core *core, size_t bytes);

/* The bytes of an unpacked string as they were sent, NULs included. */
struct tg_bytes srv_message_text(const char *text);

/* The same for a field of bytes. */
static inline struct tg_bytes srv_message_bytes(ProtobufCBinaryData field)
{
    return (struct tg_bytes){.data = field.data, .size = field.len};
}

#endif
