#include "server/item_watch.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/admit.h"
#include "server/control.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

/* All are looked at together, at most so often. */
#define LOOK_EVERY_NS       (10 * TG_NS_PER_MS)
#define INTERVAL_MS_DEFAULT 250
/* What an answer costs, in the units of SRV_WORK_A_TURN; a turn gives so much of them. */
#define ANSWER_WORK         2
#define ANSWERS_A_TURN      256

/* What can be seen of an item. */
struct view {
    struct tg_stock stock;
    enum tg_sale_state state;
};

struct watch {
    net_conn_ref conn;
    uint64_t correlation_id;
    uint32_t principal; /* who asked */
    const struct eng_item *item;
    int64_t interval_ns;
    int64_t due_ns;
    struct view seen; /* by the watcher */
};

struct srv_item_watches {
    struct watch *watches; /* SRV_ITEM_WATCHES_MAX */
    uint32_t count;
    uint32_t cursor;     /* who is looked at first in the next look */
    int64_t next_ns;     /* the next look */
    uint64_t ended_seen; /* connections, as of the last look */
};

enum tg_error srv_item_watches_create(struct srv_core *core, struct tg_fault *fault)
{
    struct srv_item_watches *watches = calloc(1, sizeof(*watches));
    if (watches)
        watches->watches = tg_mem_map(SRV_ITEM_WATCHES_MAX * sizeof(*watches->watches));
    if (!watches || !watches->watches) {
        free(watches);
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the watchers of core %u",
                            core->core);
    }
    watches->next_ns = INT64_MAX;
    core->item_watches = watches;
    return TG_ERR_OK;
}

void srv_item_watches_destroy(struct srv_core *core)
{
    if (!core->item_watches)
        return;
    tg_mem_unmap(core->item_watches->watches,
                 SRV_ITEM_WATCHES_MAX * sizeof(*core->item_watches->watches));
    free(core->item_watches);
    core->item_watches = NULL;
}

/* --- answers --- */

static struct view view_of(const struct eng_item *item)
{
    return (struct view){.stock = eng_item_stock(item), .state = eng_sale_state(item->sale)};
}

static bool differ(const struct view *a, const struct view *b)
{
    return a->stock.available_units != b->stock.available_units ||
           a->stock.reserved_units != b->stock.reserved_units ||
           a->stock.sold_units != b->stock.sold_units ||
           a->stock.restocked_units != b->stock.restocked_units || a->state != b->state;
}

static void respond(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                    Tidegate__V1__WatchItemResponse *answer)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    answer->server_time_ms = core->now_ms;
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_WATCH_ITEM;
    response.watch_item = answer;
    srv_core_respond(core, conn, &response);
}

static void refuse(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                   enum tg_verdict verdict, enum tg_field field)
{
    Tidegate__V1__WatchItemResponse answer = TIDEGATE__V1__WATCH_ITEM_RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)verdict;
    answer.field = (char *)tg_field_name(field);
    answer.message = (char *)tg_field_advice(field);
    answer.retry_after_ms = verdict == TG_BUSY ? TG_RETRY_AFTER_MS : 0;
    respond(core, conn, correlation_id, &answer);
}

static void show(struct srv_core *core, struct net_conn *conn, struct watch *watch)
{
    Tidegate__V1__WatchItemResponse answer = TIDEGATE__V1__WATCH_ITEM_RESPONSE__INIT;
    Tidegate__V1__ItemStatus status;
    Tidegate__V1__SaleItem item;
    watch->seen = view_of(watch->item);
    srv_message_reset(core);
    srv_reads_item_status(core, &status, &item, watch->item);
    answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    answer.status = &status;
    answer.state = (Tidegate__V1__SaleState)watch->seen.state;
    answer.starts_at_ms = watch->item->sale->starts_at_ms;
    answer.ends_at_ms = watch->item->sale->ends_at_ms;
    respond(core, conn, watch->correlation_id, &answer);
    srv_core_spend(core, ANSWER_WORK);
}

/* --- those who watch --- */

static void remove_at(struct srv_core *core, uint32_t at)
{
    struct srv_item_watches *watches = core->item_watches;
    struct net_conn *conn = net_conn_find(core->net, watches->watches[at].conn);
    if (conn)
        --*net_conn_uses(conn, NET_USE_WAITS);
    watches->watches[at] = watches->watches[--watches->count];
}

/* Looks at one; false when it is over and another stands in its place. */
static bool look_at(struct srv_core *core, uint32_t at, uint32_t *answers_left)
{
    struct watch *watch = &core->item_watches->watches[at];
    struct net_conn *conn = net_conn_find(core->net, watch->conn);
    if (!conn || !net_conn_is_open(conn)) {
        remove_at(core, at);
        return false;
    }
    if (!srv_admit_waiter(core, watch->principal, TG_ROLE_READ)) {
        srv_admit_refuse_waiter(core, conn, watch->correlation_id);
        remove_at(core, at);
        return false;
    }
    if (core->now_mono_ns < watch->due_ns)
        return true;
    struct view view = view_of(watch->item);
    if (!differ(&view, &watch->seen)) {
        watch->due_ns = core->now_mono_ns + watch->interval_ns;
        return true;
    }
    if (*answers_left == 0 || net_loop_is_short(core->net) ||
        !net_conn_takes_output(core->net, conn, watch->correlation_id))
        return true; /* at the next look */
    --*answers_left;
    watch->due_ns = core->now_mono_ns + watch->interval_ns;
    show(core, conn, watch);
    return true;
}

void srv_item_watches_turn(struct srv_core *core)
{
    struct srv_item_watches *watches = core->item_watches;
    uint64_t ended = net_loop_stats(core->net)->ended;
    if (watches->count == 0 ||
        (core->now_mono_ns < watches->next_ns && ended == watches->ended_seen))
        return;
    watches->ended_seen = ended;
    uint32_t answers_left = ANSWERS_A_TURN;
    for (uint32_t left = watches->count; left > 0; left--) {
        if (watches->cursor >= watches->count)
            watches->cursor = 0;
        if (look_at(core, watches->cursor, &answers_left))
            watches->cursor++;
    }
    watches->next_ns = watches->count > 0 ? core->now_mono_ns + LOOK_EVERY_NS : INT64_MAX;
}

int64_t srv_item_watches_wait_ns(const struct srv_core *core, int64_t longest_ns)
{
    const struct srv_item_watches *watches = core->item_watches;
    if (watches->count == 0)
        return longest_ns;
    int64_t wait_ns = watches->next_ns - core->now_mono_ns;
    if (wait_ns < 0)
        return 0;
    return wait_ns < longest_ns ? wait_ns : longest_ns;
}

void srv_item_watch_cancel(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    struct srv_item_watches *watches = core->item_watches;
    net_conn_ref name = net_conn_name(conn);
    for (uint32_t at = 0; at < watches->count; at++)
        if (watches->watches[at].conn == name &&
            watches->watches[at].correlation_id == correlation_id) {
            remove_at(core, at);
            return;
        }
}

/* --- requests --- */

static enum tg_field read_watch(const Tidegate__V1__WatchItemRequest *request, struct watch *watch)
{
    uint32_t interval_ms = request->interval_ms == 0 ? INTERVAL_MS_DEFAULT : request->interval_ms;
    watch->interval_ns = interval_ms * TG_NS_PER_MS;
    bool is_known =
        interval_ms >= TG_WATCH_INTERVAL_MS_MIN && interval_ms <= TG_WATCH_INTERVAL_MS_MAX;
    return is_known ? TG_FIELD_NONE : TG_FIELD_WATCH_INTERVAL;
}

static void begin(struct srv_core *core, struct net_conn *conn, struct watch *watch)
{
    struct srv_item_watches *watches = core->item_watches;
    srv_item_watch_cancel(core, conn, watch->correlation_id); /* this one takes its place */
    uint32_t *uses = net_conn_uses(conn, NET_USE_WAITS);
    if (watches->count == SRV_ITEM_WATCHES_MAX || *uses >= SRV_CONN_ITEM_WATCHES_MAX) {
        refuse(core, conn, watch->correlation_id, TG_BUSY, TG_FIELD_NONE);
        return;
    }
    ++*uses;
    watch->due_ns = core->now_mono_ns + watch->interval_ns;
    show(core, conn, watch);
    watches->watches[watches->count++] = *watch;
    if (watches->next_ns == INT64_MAX)
        watches->next_ns = core->now_mono_ns + LOOK_EVERY_NS;
}

bool srv_item_watch_request(struct srv_core *core, struct net_conn *conn,
                            const struct tg_envelope *envelope)
{
    if (envelope->kind != TIDEGATE__V1__REQUEST__KIND_WATCH_ITEM)
        return false;
    const Tidegate__V1__WatchItemRequest *request =
        srv_message_unpack(core, &tidegate__v1__watch_item_request__descriptor, envelope->body);
    if (!request) {
        srv_message_fail(core, conn, envelope->correlation_id);
        return true;
    }
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    struct watch watch = {.conn = net_conn_name(conn),
                          .correlation_id = envelope->correlation_id,
                          .principal = net_conn_principal(conn)};
    struct tg_bytes sku = srv_message_text(request->sku);
    enum tg_field field = read_watch(request, &watch);
    watch.item = eng_catalog_item(catalog, request->sale_id, sku.data, sku.size);
    if (field != TG_FIELD_NONE)
        refuse(core, conn, watch.correlation_id, TG_INVALID_ARGUMENT, field);
    else if (!watch.item)
        refuse(core, conn, watch.correlation_id,
               eng_catalog_sale(catalog, request->sale_id) ? TG_UNKNOWN_ITEM : TG_UNKNOWN_SALE,
               TG_FIELD_NONE);
    else
        begin(core, conn, &watch);
    return true;
}
