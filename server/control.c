#include "server/control.h"

#include "base/assert.h"
#include "base/text.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

static const char creating_message[] = "another sale is being created: try again";
static const char tables_full_message[] =
    "the tables are full: raise engine.sales_max or engine.items_max and start again";

/* --- unpacking: each fills `control`, or its verdict and field, from a request --- */

static void refuse(struct srv_control *control, enum tg_verdict verdict, enum tg_field field)
{
    control->verdict = verdict;
    control->field = field;
}

static void read_item(struct tg_item_def *def, const Tidegate__V1__SaleItem *item)
{
    struct tg_bytes sku = srv_message_text(item->sku);
    /* Too long a text is read as none, which is out of range as well. */
    def->sku_bytes = (uint8_t)(sku.size > TG_SKU_BYTES_MAX ? 0 : sku.size);
    memcpy(def->sku, sku.data, def->sku_bytes);
    def->list_price_minor = item->list_price_minor;
    def->sale_price_minor = item->sale_price_minor;
    def->stock_units = (uint32_t)(item->stock_units > UINT32_MAX ? UINT32_MAX : item->stock_units);
    def->per_user_limit = item->per_user_limit;
    def->per_order_max = item->per_order_max;
}

static void read_create_sale(struct srv_control *control,
                             const Tidegate__V1__CreateSaleRequest *request)
{
    const Tidegate__V1__Sale *sale = request->sale;
    if (!sale) {
        refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_SALE);
        return;
    }
    if (request->n_items == 0 || request->n_items > TG_SALE_ITEMS_MAX) {
        refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_ITEMS);
        return;
    }
    struct tg_sale_def *def = tg_sale_def_create((uint32_t)request->n_items);
    if (!def) {
        refuse(control, TG_BUSY, TG_FIELD_NONE);
        return;
    }
    control->def = def;
    def->sale_id = sale->sale_id;
    def->kind = (uint8_t)((unsigned)sale->kind <= UINT8_MAX ? sale->kind : 0);
    struct tg_bytes name = srv_message_text(sale->name);
    def->name_bytes = (uint8_t)(name.size > TG_SALE_NAME_BYTES_MAX ? 0 : name.size);
    memcpy(def->name, name.data, def->name_bytes);
    struct tg_bytes currency = srv_message_text(sale->currency);
    if (currency.size == TG_CURRENCY_BYTES)
        memcpy(def->currency, currency.data, TG_CURRENCY_BYTES);
    def->starts_at_ms = sale->starts_at_ms;
    def->ends_at_ms = sale->ends_at_ms;
    for (size_t i = 0; i < request->n_items; i++)
        read_item(&def->items[i], request->items[i]);
    enum tg_field field = eng_sale_def_check(def);
    if (field != TG_FIELD_NONE)
        refuse(control, TG_INVALID_ARGUMENT, field);
}

static void read_sale_state(struct srv_core *core, struct srv_control *control, uint64_t sale_id,
                            enum tg_sale_state wanted)
{
    control->sale = eng_catalog_sale(&core->shard->engine->catalog, sale_id);
    control->wanted = wanted;
    if (!control->sale)
        refuse(control, TG_UNKNOWN_SALE, TG_FIELD_NONE);
}

static void read_adjust(struct srv_core *core, struct srv_control *control,
                        const Tidegate__V1__AdjustStockRequest *request)
{
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    struct tg_bytes sku = srv_message_text(request->sku);
    struct tg_bytes reason = srv_message_text(request->reason);
    struct eng_adjust *adjust = &control->adjust;
    switch (request->change_case) {
    case TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_DELTA_UNITS:
        adjust->delta_units = request->delta_units;
        break;
    case TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_COMPARE_AND_SET:
        adjust->compare = true;
        adjust->expected_units = request->compare_and_set->expected_available_units;
        adjust->new_units = request->compare_and_set->new_available_units;
        break;
    case TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE__NOT_SET:
    case _TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE__CASE_IS_INT_SIZE:
        break; /* a delta of nothing */
    }
    if (!eng_catalog_sale(catalog, request->sale_id)) {
        refuse(control, TG_UNKNOWN_SALE, TG_FIELD_NONE);
    } else if (!(control->item = eng_catalog_item(catalog, request->sale_id, sku.data, sku.size))) {
        refuse(control, TG_UNKNOWN_ITEM, TG_FIELD_NONE);
    } else if (!adjust->compare && adjust->delta_units == 0) {
        refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_CHANGE);
    } else if (!tg_text_is_valid(reason.data, reason.size, TG_REASON_BYTES_MAX)) {
        refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_REASON);
    } else {
        memcpy(control->reason, reason.data, reason.size);
        adjust->reason = control->reason;
        adjust->reason_bytes = (uint8_t)reason.size;
    }
}

/* The message type of a request kind that an owner decides, or NULL. */
static const ProtobufCMessageDescriptor *descriptor_of(uint32_t kind)
{
    switch (kind) {
    case TIDEGATE__V1__REQUEST__KIND_CREATE_SALE:
        return &tidegate__v1__create_sale_request__descriptor;
    case TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE:
        return &tidegate__v1__pause_sale_request__descriptor;
    case TIDEGATE__V1__REQUEST__KIND_RESUME_SALE:
        return &tidegate__v1__resume_sale_request__descriptor;
    case TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE:
        return &tidegate__v1__close_sale_request__descriptor;
    case TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK:
        return &tidegate__v1__adjust_stock_request__descriptor;
    default: /* a number from the wire */
        return NULL;
    }
}

static void read_request(struct srv_core *core, struct srv_control *control, const void *message)
{
    switch (control->kind) {
    case TIDEGATE__V1__REQUEST__KIND_CREATE_SALE:
        read_create_sale(control, message);
        break;
    case TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE:
        read_sale_state(core, control, ((const Tidegate__V1__PauseSaleRequest *)message)->sale_id,
                        TG_SALE_PAUSED);
        break;
    case TIDEGATE__V1__REQUEST__KIND_RESUME_SALE:
        read_sale_state(core, control, ((const Tidegate__V1__ResumeSaleRequest *)message)->sale_id,
                        TG_SALE_ACTIVE);
        break;
    case TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE:
        read_sale_state(core, control, ((const Tidegate__V1__CloseSaleRequest *)message)->sale_id,
                        TG_SALE_CLOSED);
        break;
    case TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK:
        read_adjust(core, control, message);
        break;
    }
}

/* --- the way through --- */

static uint32_t owner(const struct srv_control *control)
{
    return control->item ? control->item->shard : SRV_CATALOG_CORE;
}

void srv_control_request(struct srv_core *core, struct net_conn *conn,
                         const struct tg_envelope *envelope)
{
    if (srv_reads_request(core, conn, envelope))
        return;
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(envelope->kind);
    if (!descriptor) {
        net_conn_error(core->net, conn, envelope->correlation_id,
                       TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNKNOWN_REQUEST,
                       envelope->unknown ? "this server does not know this kind of request: it is "
                                           "older than the client"
                                         : "the request is empty: set one of its kinds");
        return;
    }
    const void *message = srv_message_unpack(core, descriptor, envelope->body);
    struct srv_control *control = calloc(1, sizeof(*control));
    if (!control) {
        net_conn_fail(core->net, conn, envelope->correlation_id,
                      TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED,
                      "the server has no memory for the request: come later");
        return;
    }
    if (!message) {
        free(control);
        net_conn_fail(core->net, conn, envelope->correlation_id,
                      TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE,
                      "the request does not unpack as the kind that it names");
        return;
    }
    control->kind = envelope->kind;
    control->verdict = TG_OK;
    control->address = (struct srv_address){
        .conn = net_conn_name(conn),
        .correlation_id = envelope->correlation_id,
        .core = (uint16_t)core->core,
    };
    read_request(core, control, message);
    net_conn_begin(conn, 1);

    if (control->verdict == TG_OK && owner(control) != core->core) {
        struct srv_request *request = srv_core_request_slot(core, owner(control));
        if (request) {
            request->control = control;
            request->address = control->address;
            srv_core_push_request(core, owner(control));
            return;
        }
        refuse(control, TG_BUSY, TG_FIELD_NONE);
    }
    if (control->verdict != TG_OK || srv_control_decide(core, control))
        srv_control_deliver(core, control);
}

static bool decide_create(struct srv_core *core, struct srv_control *control,
                          struct tg_record *record)
{
    bool full;
    control->verdict = eng_catalog_prepare(&core->shard->engine->catalog, control->def, &full);
    if (control->verdict == TG_BUSY)
        control->message = full ? tables_full_message : creating_message;
    if (control->verdict != TG_OK)
        return false;
    record->kind = TG_RECORD_SALE;
    record->sale = control->def;
    return true;
}

static bool decide_state(struct srv_control *control, struct tg_record *record)
{
    bool changes;
    control->verdict = eng_sale_state_decide(control->sale, control->wanted, &changes);
    if (!changes)
        return false;
    record->kind = TG_RECORD_SALE_STATE;
    record->sale_state.sale = control->sale->sale;
    record->sale_state.state = (uint8_t)control->wanted;
    return true;
}

bool srv_control_decide(struct srv_core *core, struct srv_control *control)
{
    struct tg_record *record = tg_journal_reserve(&core->journal);
    if (!record) {
        refuse(control, TG_BUSY, TG_FIELD_NONE);
        return true;
    }
    record->outcome = 0;
    record->at_ms = core->now_ms;
    bool changes;
    if (control->def)
        changes = decide_create(core, control, record);
    else if (control->sale)
        changes = decide_state(control, record);
    else
        control->verdict = eng_shard_adjust(core->shard, control->item, &control->adjust,
                                            core->now_ms, record, &changes, &control->field);
    if (changes)
        srv_core_append(core, &control->address, control);
    return !changes;
}

void srv_control_settle(struct srv_core *core, struct srv_control *control,
                        const struct tg_record *record)
{
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    struct eng_catalog *catalog = &core->shard->engine->catalog;
    if (control->def && durable)
        eng_catalog_publish(catalog, control->def);
    else if (control->def)
        eng_catalog_abandon(catalog, control->def);
    else if (control->sale)
        eng_sale_state_settle(control->sale, control->wanted, durable);
    else
        eng_shard_adjust_settle(core->shard, record);
    if (!durable)
        control->verdict = TG_STORAGE_FULL;
}

/* --- answering --- */

/* The fields that all answers of operators have; each message has its own struct for them. */
#define FILL_VERDICT(answer)                                                                       \
    do {                                                                                           \
        (answer).verdict = (Tidegate__V1__Verdict)control->verdict;                                \
        (answer).retry_after_ms = control->verdict == TG_BUSY ? TG_RETRY_AFTER_MS : 0;             \
    } while (0)
#define FILL_FIELD(answer)                                                                         \
    do {                                                                                           \
        (answer).field = (char *)tg_field_name(control->field);                                    \
        (answer).message =                                                                         \
            (char *)(control->message ? control->message : tg_field_advice(control->field));       \
    } while (0)
#define FILL_STATE(answer)                                                                         \
    do {                                                                                           \
        if (control->sale)                                                                         \
            (answer).state = (Tidegate__V1__SaleState)eng_sale_state(control->sale);               \
    } while (0)

static void respond(struct srv_core *core, struct net_conn *conn, const struct srv_control *control)
{
    Tidegate__V1__CreateSaleResponse create = TIDEGATE__V1__CREATE_SALE_RESPONSE__INIT;
    Tidegate__V1__PauseSaleResponse pause = TIDEGATE__V1__PAUSE_SALE_RESPONSE__INIT;
    Tidegate__V1__ResumeSaleResponse resume = TIDEGATE__V1__RESUME_SALE_RESPONSE__INIT;
    Tidegate__V1__CloseSaleResponse close = TIDEGATE__V1__CLOSE_SALE_RESPONSE__INIT;
    Tidegate__V1__AdjustStockResponse adjust = TIDEGATE__V1__ADJUST_STOCK_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = control->address.correlation_id;
    switch (control->kind) {
    case TIDEGATE__V1__REQUEST__KIND_CREATE_SALE:
        FILL_VERDICT(create);
        FILL_FIELD(create);
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CREATE_SALE;
        response.create_sale = &create;
        break;
    case TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE:
        FILL_VERDICT(pause);
        FILL_STATE(pause);
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_PAUSE_SALE;
        response.pause_sale = &pause;
        break;
    case TIDEGATE__V1__REQUEST__KIND_RESUME_SALE:
        FILL_VERDICT(resume);
        FILL_STATE(resume);
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_RESUME_SALE;
        response.resume_sale = &resume;
        break;
    case TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE:
        FILL_VERDICT(close);
        FILL_STATE(close);
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CLOSE_SALE;
        response.close_sale = &close;
        break;
    case TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK:
        FILL_VERDICT(adjust);
        FILL_FIELD(adjust);
        if (control->item)
            adjust.available_units = eng_item_stock(control->item).available_units;
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ADJUST_STOCK;
        response.adjust_stock = &adjust;
        break;
    }
    srv_core_respond(core, conn, &response);
}

void srv_control_deliver(struct srv_core *core, struct srv_control *control)
{
    tg_assert(control->address.core == core->core);
    struct net_conn *conn = net_conn_find(core->net, control->address.conn);
    if (conn) {
        respond(core, conn, control);
        net_conn_end(core->net, conn, 1);
    }
    free(control->def);
    free(control);
}
