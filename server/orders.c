/* The way of an order through a core: read, stage, decide or forward, answer. Under a backlog an
 * order waits in its lane before it is decided (server/lanes.h). Carts go another way
 * (server/life.h).
 *
 * Orders are staged in small groups, and a group takes each step together: read, find the item,
 * decide. Each step asks for the memory that the next one will need, so that the cache misses of a
 * group overlap. A group ends when it is full, when the received bytes end, and before any other
 * request. */
#include "server/core.h"

#include "base/assert.h"
#include "server/control.h"
#include "server/lanes.h"
#include "server/life.h"
#include "server/server.h"

#include <string.h>

static struct tg_answer refusal(enum tg_verdict verdict, enum tg_field field)
{
    return (struct tg_answer){
        .verdict = (uint8_t)verdict,
        .field = (uint8_t)field,
        .retry_after_ms = verdict == TG_BUSY ? TG_RETRY_AFTER_MS : 0,
    };
}

/* --- deciding --- */

/* What a retry of a durable order costs beside a plain order, whose row is read for it. */
#define REPLAY_FRAMES 4

bool srv_orders_decide(struct srv_core *core, struct eng_item *item, const struct tg_order *order,
                       const struct srv_address *address, struct tg_answer *answer)
{
    struct eng_decision decision;
    struct tg_record *record = tg_journal_reserve(&core->journal);
    eng_shard_place(core->shard, item, order, core->now_ms, record, &decision);
    if (decision.verdict != TG_ACCEPTED) {
        *answer = refusal(decision.verdict, decision.field);
        return true;
    }
    if (decision.replayed) {
        if (!decision.in_flight) {
            *answer = decision.answer;
            net_loop_spend(core->net, REPLAY_FRAMES);
            return true;
        }
        if (!record) {
            *answer = refusal(TG_BUSY, TG_FIELD_NONE);
            return true;
        }
        eng_shard_fence(core->shard, decision.slot, decision.generation, core->now_ms, record);
    }
    srv_core_append(core, address, NULL);
    return false;
}

/* Puts the order into its lane. True: it could not, or need not, `answer` is final: a refusal does
 * nothing to the backlog. */
static bool wait(struct srv_core *core, const struct eng_item *item, const struct tg_order *order,
                 const struct srv_address *address, struct tg_answer *answer)
{
    struct eng_decision decision;
    if (eng_gate_refuses(core->shard->engine, item, order, core->now_ms, &decision)) {
        *answer = refusal(decision.verdict, decision.field);
        return true;
    }
    if (srv_lanes_put(core, item, order, address))
        return false;
    *answer = refusal(TG_BUSY, TG_FIELD_NONE);
    return true;
}

/* At the owner. True: `answer` is final. False: it comes with the journal, perhaps from a lane. */
static bool decide_or_wait(struct srv_core *core, struct eng_item *item,
                           const struct tg_order *order, const struct srv_address *address,
                           struct tg_answer *answer)
{
    if (__builtin_expect(srv_lanes_needed(core), 0))
        return wait(core, item, order, address, answer);
    return srv_orders_decide(core, item, order, address, answer);
}

/* Hands the order to the core that owns the item. True: it could not, `answer` is final. */
static bool forward(struct srv_core *core, const struct eng_item *item,
                    const struct tg_order *order, const struct srv_address *address,
                    struct tg_answer *answer)
{
    struct eng_decision decision;
    if (eng_gate_refuses(core->shard->engine, item, order, core->now_ms, &decision)) {
        *answer = refusal(decision.verdict, decision.field);
        return true;
    }
    struct srv_request *request = srv_core_request_slot(core, item->shard);
    if (!request) {
        *answer = refusal(TG_BUSY, TG_FIELD_NONE);
        return true;
    }
    request->address = *address;
    request->control = NULL;
    request->hold = NULL;
    request->item = item->item;
    request->order = *order;
    if (order->external_bytes)
        memcpy(request->external_id, order->external_id, order->external_bytes);
    srv_core_push_request(core, item->shard);
    return false;
}

enum reading {
    READ_ORDER,
    READ_REFUSED, /* `answer` is final */
    READ_CART,
};

static enum reading read_order(struct tg_bytes message, struct tg_order *order,
                               struct tg_answer *answer)
{
    enum tg_field field = TG_FIELD_NONE;
    switch (tg_order_decode(message, order, &field)) {
    case TG_DECODE_OK:
        return READ_ORDER;
    case TG_DECODE_MALFORMED:
        *answer = refusal(TG_INVALID_ARGUMENT, TG_FIELD_ORDER);
        return READ_REFUSED;
    case TG_DECODE_INVALID:
        *answer = refusal(TG_INVALID_ARGUMENT, field);
        return READ_REFUSED;
    case TG_DECODE_CART:
        break;
    }
    return READ_CART;
}

bool srv_orders_forwarded(struct srv_core *core, struct srv_request *request)
{
    struct srv_reply *reply = srv_core_reply_slot(core, request->address.core);
    if (!reply)
        return false;
    request->order.external_id = request->external_id;
    struct eng_item *item = &core->shard->engine->catalog.items[request->item];
    struct tg_answer answer = {.verdict = TG_UNSPECIFIED};
    if (srv_core_is_late(core, request->address.deadline_ns) ||
        decide_or_wait(core, item, &request->order, &request->address, &answer)) {
        *reply = (struct srv_reply){.address = request->address, .answer = answer};
        srv_core_push_reply(core, request->address.core);
    }
    return true;
}

/* --- answering --- */

static void answer_single(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                          const struct tg_answer *answer)
{
    if (__builtin_expect(answer->verdict == TG_UNSPECIFIED, 0)) {
        srv_message_fail_late(core, conn, correlation_id);
        return;
    }
    srv_core_count(core, answer->verdict, answer->replayed);
    uint8_t *room = net_conn_room(core->net, conn, TG_ANSWER_FRAME_BYTES_MAX);
    if (room)
        net_conn_filled(core->net, conn, (uint32_t)tg_answer_frame(room, correlation_id, answer));
}

static void batch_free(struct srv_core *core, struct srv_batch *batch)
{
    batch->next_free = core->batch_free;
    core->batch_free = (uint32_t)(batch - core->batches) + 1;
}

static struct srv_batch *batch_take(struct srv_core *core)
{
    if (core->batch_free != 0) {
        struct srv_batch *batch = &core->batches[core->batch_free - 1];
        core->batch_free = batch->next_free;
        return batch;
    }
    if (core->batch_high_water == SRV_BATCHES_MAX)
        return NULL;
    return &core->batches[core->batch_high_water++];
}

/* Every order of the batch has its answer: sends them as one frame. */
static void batch_answer(struct srv_core *core, struct srv_batch *batch, struct net_conn *conn)
{
    size_t size = 0;
    bool is_late = false;
    for (uint32_t i = 0; i < batch->count; i++) {
        is_late = is_late || batch->answers[i].verdict == TG_UNSPECIFIED;
        srv_core_count(core, batch->answers[i].verdict, batch->answers[i].replayed);
        size += tg_answers_element(core->scratch + size, &batch->answers[i]);
    }
    _Static_assert(TG_BATCH_ORDERS_MAX * (size_t)TG_ANSWER_FRAME_BYTES_MAX <= SRV_SCRATCH_BYTES,
                   "the answers of the largest batch fit");
    if (conn && is_late) {
        /* Some may have been decided: whoever wants to know asks again, as after any time-out. */
        srv_message_fail_late(core, conn, batch->correlation_id);
    } else if (conn) {
        uint8_t head[TG_BATCH_HEAD_BYTES_MAX];
        size_t head_size = tg_answers_head(head, batch->correlation_id, size);
        net_conn_write(core->net, conn, head, head_size);
        net_conn_write(core->net, conn, core->scratch, size);
    }
    if (conn)
        --*net_conn_uses(conn, NET_USE_BATCHES);
    batch_free(core, batch);
}

void srv_orders_deliver(struct srv_core *core, const struct srv_address *address,
                        const struct tg_answer *answer)
{
    tg_assert(address->core == core->core);
    struct net_conn *conn = net_conn_find(core->net, address->conn);
    if (address->batch == 0) {
        if (!conn) {
            srv_core_count(core, answer->verdict, answer->replayed); /* the order stands */
            return;
        }
        answer_single(core, conn, address->correlation_id, answer);
        net_conn_end(core->net, conn, 1);
        return;
    }
    struct srv_batch *batch = &core->batches[address->batch - 1];
    tg_assert(batch->unanswered > 0);
    batch->answers[address->position] = *answer;
    if (--batch->unanswered > 0)
        return;
    uint32_t orders = batch->count;
    batch_answer(core, batch, conn);
    if (conn)
        net_conn_end(core->net, conn, orders);
}

/* --- requests: read, stage, find, decide in groups --- */

/* An answer that is known at once. */
static void answer_now(struct srv_core *core, const struct srv_address *address,
                       const struct tg_answer *answer)
{
    if (address->batch != 0) {
        struct srv_batch *batch = &core->batches[address->batch - 1];
        batch->answers[address->position] = *answer;
        batch->unanswered--; /* whoever filled the batch looks whether that was the last */
        return;
    }
    struct net_conn *conn = net_conn_find(core->net, address->conn);
    if (conn)
        answer_single(core, conn, address->correlation_id, answer);
}

static void decide_one(struct srv_core *core, const struct srv_staged *staged)
{
    struct tg_answer answer;
    const struct srv_address *address = &staged->address;
    bool mine = staged->item->shard == core->core;
    srv_core_count_attempt(core, staged->item->sale);
    if (mine ? decide_or_wait(core, staged->item, &staged->order, address, &answer)
             : forward(core, staged->item, &staged->order, address, &answer)) {
        answer_now(core, address, &answer);
        return;
    }
    struct net_conn *conn = net_conn_find(core->net, address->conn);
    if (address->batch == 0 && conn)
        net_conn_begin(conn, 1);
}

/* Finds the item of a staged order; NULL, and answered, when there is none. */
static void find_item(struct srv_core *core, struct srv_staged *staged)
{
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    const struct tg_order *order = &staged->order;
    staged->item = eng_catalog_item_end(catalog, staged->item_begin, order->sale_id, order->sku,
                                        order->sku_bytes);
    if (!staged->item) {
        bool sale_known = eng_catalog_sale(catalog, order->sale_id) != NULL;
        struct tg_answer answer =
            refusal(sale_known ? TG_UNKNOWN_ITEM : TG_UNKNOWN_SALE, TG_FIELD_NONE);
        answer_now(core, &staged->address, &answer);
        return;
    }
    if (staged->item->shard == core->core)
        eng_shard_prefetch(core->shard, staged->item, order);
}

void srv_orders_decide_staged(struct srv_core *core)
{
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    struct srv_staged *staged = core->staged;
    uint32_t count = core->staged_count;
    for (uint32_t i = 0; i < count; i++)
        eng_catalog_item_prefetch(catalog, staged[i].item_begin);
    for (uint32_t i = 0; i < count; i++)
        find_item(core, &staged[i]);
    for (uint32_t i = 0; i < count; i++)
        if (staged[i].item)
            decide_one(core, &staged[i]);
    core->staged_count = 0;
}

/* The place where the next order is staged; whoever takes it writes the address there. */
static struct srv_staged *next_staged(struct srv_core *core)
{
    return &core->staged[core->staged_count];
}

/* False when the order is a cart: nothing was done. */
static bool place(struct srv_core *core, struct tg_bytes message, struct srv_staged *staged)
{
    struct tg_answer answer;
    const struct tg_order *order = &staged->order;
    switch (read_order(message, &staged->order, &answer)) {
    case READ_ORDER:
        break;
    case READ_REFUSED:
        answer_now(core, &staged->address, &answer);
        return true;
    case READ_CART:
        return false;
    }
    staged->item_begin = eng_catalog_item_begin(&core->shard->engine->catalog, order->sale_id,
                                                order->sku, order->sku_bytes);
    if (++core->staged_count == SRV_STAGED_MAX)
        srv_orders_decide_staged(core);
    return true;
}

void srv_orders_place(struct srv_core *core, struct net_conn *conn,
                      const struct tg_envelope *envelope)
{
    struct srv_staged *staged = next_staged(core);
    staged->address = (struct srv_address){
        .conn = net_conn_name(conn),
        .correlation_id = envelope->correlation_id,
        .core = (uint16_t)core->core,
        .deadline_ns = net_conn_deadline_ns(conn),
    };
    if (place(core, envelope->body, staged))
        return;
    if (!srv_core_has_work_left(core)) {
        net_conn_put_back(core->net, conn, NET_LINE_WORK);
        return;
    }
    srv_core_spend(core, TG_ORDER_LINES_MAX / 2);
    srv_orders_decide_staged(core); /* what was sent before the cart goes before it */
    srv_control_request(core, conn, envelope);
}

/* Counts the orders of a batch without reading them; false when the batch is no such message. */
static bool count_orders(struct tg_bytes body, uint32_t *orders)
{
    struct tg_bytes order;
    bool malformed = false;
    *orders = 0;
    while (tg_orders_next(&body, &order, &malformed))
        (*orders)++;
    return !malformed;
}

static void refuse_batch(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                         enum tg_verdict verdict, enum tg_field field)
{
    Tidegate__V1__PlaceOrdersResponse refused = TIDEGATE__V1__PLACE_ORDERS_RESPONSE__INIT;
    refused.verdict = (Tidegate__V1__Verdict)verdict;
    refused.field = (char *)tg_field_name(field);
    refused.message = (char *)tg_field_advice(field);
    refused.retry_after_ms = verdict == TG_BUSY ? TG_RETRY_AFTER_MS : 0;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS;
    response.place_orders = &refused;
    srv_core_respond(core, conn, &response);
}

void srv_orders_place_batch(struct srv_core *core, struct net_conn *conn,
                            const struct tg_envelope *envelope)
{
    uint32_t orders;
    if (!count_orders(envelope->body, &orders)) {
        net_conn_fail(core->net, conn, envelope->correlation_id,
                      TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE,
                      "the batch is no PlaceOrdersRequest");
        return;
    }
    if (orders == 0 || orders > TG_BATCH_ORDERS_MAX) {
        refuse_batch(core, conn, envelope->correlation_id, TG_INVALID_ARGUMENT, TG_FIELD_ORDERS);
        return;
    }
    uint32_t *uses = net_conn_uses(conn, NET_USE_BATCHES);
    struct srv_batch *batch = *uses < SRV_CONN_BATCHES_MAX ? batch_take(core) : NULL;
    if (!batch) {
        refuse_batch(core, conn, envelope->correlation_id, TG_BUSY, TG_FIELD_NONE);
        return;
    }
    ++*uses;
    net_loop_spend(core->net, orders);
    batch->conn = net_conn_name(conn);
    batch->correlation_id = envelope->correlation_id;
    batch->count = orders;
    batch->unanswered = orders;

    struct srv_address address = {
        .conn = batch->conn,
        .correlation_id = batch->correlation_id,
        .batch = (uint32_t)(batch - core->batches) + 1,
        .core = (uint16_t)core->core,
        .deadline_ns = net_conn_deadline_ns(conn),
    };
    struct tg_bytes body = envelope->body, order;
    bool malformed = false;
    struct tg_answer batched = refusal(TG_INVALID_ARGUMENT, TG_FIELD_LINES_BATCHED);
    for (; tg_orders_next(&body, &order, &malformed); address.position++) {
        struct srv_staged *staged = next_staged(core);
        staged->address = address;
        if (!place(core, order, staged))
            answer_now(core, &address, &batched);
    }
    srv_orders_decide_staged(core);
    if (batch->unanswered == 0)
        batch_answer(core, batch, conn);
    else
        net_conn_begin(conn, orders);
}
