#include "server/control.h"

#include "base/assert.h"
#include "server/admit.h"
#include "server/item_watch.h"
#include "server/life.h"
#include "server/pages.h"
#include "server/sales.h"
#include "server/server.h"

#include <stdlib.h>

/* What a change costs on the core of its connection, where it is mostly decided as well. */
#define CONTROL_WORK 6

/* --- the ways --- */

static void read_group(struct srv_core *core, struct srv_control *control, const void *message)
{
    (void)core;
    srv_groups_read(control, message);
}

static bool decide_group(struct srv_core *core, struct srv_control *control)
{
    struct tg_record *record = tg_journal_reserve(&core->journal);
    if (!record) {
        srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
        return true;
    }
    record->outcome = 0;
    record->more = 0;
    record->at_ms = core->now_ms;
    if (srv_groups_decide(core, control, record))
        return true;
    srv_core_append(core, &control->address, control);
    return false;
}

static void answer_group(struct srv_core *core, struct net_conn *conn,
                         const struct srv_control *control)
{
    if (conn)
        srv_groups_answer(core, conn, control);
}

/* The functions of a kind: `read` and `answer` run on the core of the connection, `decide` and
 * `settle` at the owner. */
struct srv_way {
    uint32_t kind;
    const ProtobufCMessageDescriptor *descriptor;
    void (*read)(struct srv_core *core, struct srv_control *control, const void *message);
    bool (*decide)(struct srv_core *core, struct srv_control *control); /* true: final */
    void (*settle)(struct srv_core *core, struct srv_control *control,
                   const struct tg_record *record);
    /* `conn` is NULL when it has gone. */
    void (*answer)(struct srv_core *core, struct net_conn *conn, const struct srv_control *control);
};

#define WAY(KIND, name, read_, decide_, settle_, answer_)                                          \
    {                                                                                              \
        .kind = TIDEGATE__V1__REQUEST__KIND_##KIND,                                                \
        .descriptor = &tidegate__v1__##name##_request__descriptor, .read = (read_),                \
        .decide = (decide_), .settle = (settle_), .answer = (answer_)                              \
    }
#define LIFE_WAY(KIND, name, step)                                                                 \
    WAY(KIND, name, srv_life_read_##step, srv_life_decide, srv_life_settle, srv_life_answer_##step)
#define SALES_WAY(KIND, name, step, what)                                                          \
    WAY(KIND, name, srv_sales_read_##step, srv_sales_decide_##what, srv_sales_settle_##what,       \
        srv_sales_answer)
#define GROUP_WAY(KIND, name)                                                                      \
    WAY(KIND, name, read_group, decide_group, srv_groups_settle, answer_group)

/* The most frequent first: it is searched from the beginning. */
static const struct srv_way ways[] = {
    LIFE_WAY(CHANGE_ORDER, change_order, change),
    LIFE_WAY(JOIN_TEAM, join_team, join),
    LIFE_WAY(OPEN_TEAM, open_team, open),
    /* Each order of the frame goes this way by itself: srv_life_ingest reads them. */
    WAY(INGEST_ORDERS, ingest_orders, NULL, srv_life_decide, srv_life_settle,
        srv_life_answer_ingest),
    LIFE_WAY(PLACE_ORDER, place_order, cart), /* with lines: others go through server/orders.c */
    GROUP_WAY(ACK_EVENTS, ack_events),
    GROUP_WAY(CREATE_GROUP, create_group),
    GROUP_WAY(DELETE_GROUP, delete_group),
    SALES_WAY(ADJUST_STOCK, adjust_stock, adjust, adjust),
    SALES_WAY(CREATE_SALE, create_sale, create, create),
    SALES_WAY(PAUSE_SALE, pause_sale, pause, state),
    SALES_WAY(RESUME_SALE, resume_sale, resume, state),
    SALES_WAY(CLOSE_SALE, close_sale, close, state),
};

static const struct srv_way *way_of(uint32_t kind)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (ways[i].kind == kind)
            return &ways[i];
    return NULL;
}

/* --- in --- */

static void fail_unknown(struct srv_core *core, struct net_conn *conn,
                         const struct tg_envelope *envelope)
{
    net_conn_error(core->net, conn, envelope->correlation_id,
                   TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNKNOWN_REQUEST,
                   envelope->unknown
                       ? "this server does not know this kind of request: it is older than the "
                         "client"
                       : "the request is empty: set one of its kinds");
}

struct srv_control *srv_control_create(struct srv_core *core, struct net_conn *conn, uint32_t kind,
                                       uint64_t correlation_id)
{
    struct srv_control *control = calloc(1, sizeof(*control));
    if (!control)
        return NULL;
    control->kind = kind;
    control->way = way_of(kind);
    control->owner = SRV_CATALOG_CORE;
    control->verdict = TG_OK;
    control->address = (struct srv_address){
        .conn = net_conn_name(conn),
        .correlation_id = correlation_id,
        .core = (uint16_t)core->core,
        .deadline_ns = net_conn_deadline_ns(conn),
    };
    return control;
}

void srv_control_request(struct srv_core *core, struct net_conn *conn,
                         const struct tg_envelope *envelope)
{
    if (srv_reads_request(core, conn, envelope) || srv_pages_request(core, conn, envelope) ||
        srv_events_request(core, conn, envelope) || srv_item_watch_request(core, conn, envelope) ||
        srv_admit_request(core, conn, envelope))
        return;
    const struct srv_way *way = way_of(envelope->kind);
    if (!way) {
        fail_unknown(core, conn, envelope);
        return;
    }
    if (!way->read) {
        srv_life_ingest(core, conn, envelope);
        return;
    }
    const void *message = srv_message_unpack(core, way->descriptor, envelope->body);
    if (!message) {
        srv_message_fail(core, conn, envelope->correlation_id);
        return;
    }
    if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER &&
        !srv_admit_change(core, conn, envelope->correlation_id, message))
        return;
    struct srv_control *control =
        srv_control_create(core, conn, envelope->kind, envelope->correlation_id);
    if (!control) {
        srv_message_fail_memory(core, conn, envelope->correlation_id);
        return;
    }
    control->audit = srv_audit_begin(core, conn, envelope->kind, message);
    way->read(core, control, message);
    srv_core_spend(core, CONTROL_WORK);
    net_conn_begin(conn, 1);
    srv_control_start(core, control);
}

/* Lets the request travel; false when the ring is full. */
static bool forward(struct srv_core *core, struct srv_control *control)
{
    struct srv_request *request = srv_core_request_slot(core, control->owner);
    if (!request)
        return false;
    request->control = control;
    request->hold = NULL;
    srv_core_push_request(core, control->owner);
    return true;
}

void srv_control_start(struct srv_core *core, struct srv_control *control)
{
    if (control->verdict == TG_OK && control->owner == core->core) {
        srv_control_decide(core, control);
        return;
    }
    if (control->verdict == TG_OK) {
        if (forward(core, control))
            return;
        srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
    }
    srv_control_deliver(core, control);
}

/* --- at the owner --- */

void srv_control_decide(struct srv_core *core, struct srv_control *control)
{
    /* Those that may have begun to wait are looked at where they are decided: server/life.c. */
    bool is_life = control->way->decide == srv_life_decide;
    control->is_late = !is_life && srv_core_is_late(core, control->address.deadline_ns);
    if (control->is_late || control->way->decide(core, control))
        srv_control_finish(core, control);
}

void srv_control_settle(struct srv_core *core, struct srv_control *control,
                        const struct tg_record *record)
{
    control->way->settle(core, control, record);
    if (!control->holds) /* else when the other cores have settled as well */
        srv_control_finish(core, control);
}

/* Lets the answer travel; false when the ring is full. */
static bool reply(struct srv_core *core, struct srv_control *control)
{
    struct srv_reply *slot = srv_core_reply_slot(core, control->address.core);
    if (!slot)
        return false;
    *slot = (struct srv_reply){.control = control};
    srv_core_push_reply(core, control->address.core);
    return true;
}

void srv_control_finish(struct srv_core *core, struct srv_control *control)
{
    if (control->address.core == core->core) {
        srv_control_deliver(core, control);
        return;
    }
    struct srv_control_list *list = &core->unanswered[control->address.core];
    if (list->first || !reply(core, control))
        srv_control_list_put(list, control);
}

void srv_control_turn(struct srv_core *core)
{
    for (uint32_t to = 0; to < core->server->config.threads; to++) {
        struct srv_control_list *list = &core->unanswered[to];
        while (list->first && reply(core, list->first))
            srv_control_list_take(list);
    }
}

bool srv_control_is_busy(const struct srv_core *core)
{
    for (uint32_t to = 0; to < core->server->config.threads; to++)
        if (core->unanswered[to].first)
            return true;
    return false;
}

/* --- out --- */

static void control_free(struct srv_control *control)
{
    tg_assert(!control->holds && control->wait.key == 0);
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_CREATE_SALE)
        free(control->sale.def);
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER)
        free(control->placing.cart);
    free(control);
}

void srv_control_deliver(struct srv_core *core, struct srv_control *control)
{
    tg_assert(control->address.core == core->core);
    struct net_conn *conn = net_conn_find(core->net, control->address.conn);
    srv_audit_end(core, control->audit,
                  control->unreadable ? "INTERNAL" : tg_verdict_name((int)control->verdict));
    bool is_part = control->kind == TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    if (control->is_late && !is_part && conn)
        srv_message_fail_late(core, conn, control->address.correlation_id);
    else if (!control->is_late || is_part)
        control->way->answer(core, conn, control);
    if (conn)
        net_conn_end(core->net, conn, 1);
    control_free(control);
}
