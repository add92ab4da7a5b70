/* Reads: from published words (items, sales) or an LMDB snapshot (orders). They never wait for the
 * writer and never touch another core. */
#include "base/clock.h"
#include "base/log.h"
#include "server/control.h"
#include "server/server.h"

#include <string.h>

/* Orders that one ListOrders looks at, so that a filter cannot hold the core up. */
#define SCAN_ORDERS_MAX 16384

static const struct eng_catalog *catalog_of(const struct srv_core *core)
{
    return &core->shard->engine->catalog;
}

/* --- filling messages from the engine's rows; their bytes are borrowed --- */

static void fill_sale(Tidegate__V1__Sale *message, const struct eng_sale *sale)
{
    tidegate__v1__sale__init(message);
    message->sale_id = sale->sale_id;
    message->kind = (Tidegate__V1__SaleKind)sale->kind;
    message->name = (char *)sale->name;
    message->currency = (char *)sale->currency;
    message->starts_at_ms = sale->starts_at_ms;
    message->ends_at_ms = sale->ends_at_ms;
    message->state = (Tidegate__V1__SaleState)eng_sale_state(sale);
    message->item_count = sale->item_count;
}

static void fill_status(Tidegate__V1__ItemStatus *status, Tidegate__V1__SaleItem *message,
                        const struct eng_item *item)
{
    struct tg_stock stock = eng_item_stock(item);
    tidegate__v1__sale_item__init(message);
    message->sku = (char *)item->sku;
    message->list_price_minor = item->list_price_minor;
    message->sale_price_minor = item->sale_price_minor;
    message->stock_units = stock.initial_units;
    message->per_user_limit = item->per_user_limit;
    message->per_order_max = item->per_order_max;
    tidegate__v1__item_status__init(status);
    status->item = message;
    status->available_units = stock.available_units;
    status->reserved_units = stock.reserved_units;
    status->sold_units = stock.sold_units;
    status->restocked_units = stock.restocked_units;
}

static void fill_order(Tidegate__V1__Order *message, const struct tg_order_row *row,
                       const struct eng_item *item)
{
    tidegate__v1__order__init(message);
    message->order_id = row->order_id;
    message->request_id =
        (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = (uint8_t *)row->request_id};
    message->sale_id = item->sale->sale_id;
    message->sku = (char *)item->sku;
    message->user_id = row->user_id;
    message->quantity = row->quantity;
    message->unit_price_minor = row->unit_price_minor;
    message->channel = row->channel;
    message->external_id =
        (ProtobufCBinaryData){.len = row->external_bytes, .data = (uint8_t *)row->external_id};
    message->accepted_at_ms = row->accepted_at_ms;
    message->state = (Tidegate__V1__OrderState)row->state;
}

/* --- each read: request in, response filled --- */

enum outcome {
    READ_ANSWERED,
    READ_MALFORMED, /* the request does not unpack */
    READ_FAILED,    /* the database could not be read; the log says why */
};

struct read {
    struct srv_core *core;
    struct tg_bytes body;
    Tidegate__V1__Response *response;
};

static void *unpack(const struct read *read, const ProtobufCMessageDescriptor *descriptor)
{
    return srv_message_unpack(read->core, descriptor, read->body);
}

static enum outcome read_server_time(const struct read *read)
{
    if (!unpack(read, &tidegate__v1__get_server_time_request__descriptor))
        return READ_MALFORMED;
    Tidegate__V1__GetServerTimeResponse *answer = srv_message_alloc(read->core, sizeof(*answer));
    tidegate__v1__get_server_time_response__init(answer);
    answer->server_time_ms = read->core->now_ms;
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME;
    read->response->get_server_time = answer;
    return READ_ANSWERED;
}

static enum outcome read_item(const struct read *read)
{
    const Tidegate__V1__GetItemRequest *request =
        unpack(read, &tidegate__v1__get_item_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    struct {
        Tidegate__V1__GetItemResponse answer;
        Tidegate__V1__Sale sale;
        Tidegate__V1__ItemStatus status;
        Tidegate__V1__SaleItem item;
    } *out = srv_message_alloc(read->core, sizeof(*out));
    tidegate__v1__get_item_response__init(&out->answer);
    out->answer.server_time_ms = read->core->now_ms;
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_ITEM;
    read->response->get_item = &out->answer;

    const struct eng_sale *sale = eng_catalog_sale(catalog_of(read->core), request->sale_id);
    struct tg_bytes sku = srv_message_text(request->sku);
    const struct eng_item *item =
        eng_catalog_item(catalog_of(read->core), request->sale_id, sku.data, sku.size);
    out->answer.verdict = (Tidegate__V1__Verdict)(!sale ? TG_UNKNOWN_SALE : TG_UNKNOWN_ITEM);
    if (!item)
        return READ_ANSWERED;
    fill_sale(&out->sale, item->sale); /* `sale` may be younger than the item: see the catalogue */
    fill_status(&out->status, &out->item, item);
    out->answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    out->answer.sale = &out->sale;
    out->answer.status = &out->status;
    return READ_ANSWERED;
}

/* A page's size: `asked`, or the default for 0; 0 when it is above the largest. */
static uint32_t page_size(uint32_t asked, uint32_t initial, uint32_t largest)
{
    if (asked > largest)
        return 0;
    return asked == 0 ? initial : asked;
}

static enum outcome read_sales(const struct read *read)
{
    const Tidegate__V1__ListSalesRequest *request =
        unpack(read, &tidegate__v1__list_sales_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    Tidegate__V1__ListSalesResponse *answer = srv_message_alloc(read->core, sizeof(*answer));
    tidegate__v1__list_sales_response__init(answer);
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_LIST_SALES;
    read->response->list_sales = answer;
    answer->total = eng_catalog_sale_count(catalog_of(read->core));
    uint32_t limit = page_size(request->limit, TG_SALES_PAGE_DEFAULT, TG_SALES_PAGE_MAX);
    if (limit == 0) {
        answer->verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
        answer->field = (char *)tg_field_name(TG_FIELD_LIMIT);
        answer->message = (char *)tg_field_advice(TG_FIELD_LIMIT);
        return READ_ANSWERED;
    }
    answer->verdict = (Tidegate__V1__Verdict)TG_OK;
    uint32_t rest = request->offset < answer->total ? answer->total - request->offset : 0;
    uint32_t count = rest < limit ? rest : limit;
    Tidegate__V1__Sale *sales = srv_message_alloc(read->core, count * sizeof(*sales));
    answer->sales = srv_message_alloc(read->core, count * sizeof(*answer->sales));
    for (uint32_t i = 0; i < count; i++) {
        fill_sale(&sales[i], &catalog_of(read->core)->sales[request->offset + i]);
        answer->sales[i] = &sales[i];
    }
    answer->n_sales = count;
    return READ_ANSWERED;
}

static void fill_items(const struct read *read, Tidegate__V1__GetSaleResponse *answer,
                       const struct eng_sale *sale, uint32_t offset, uint32_t limit)
{
    uint32_t rest = offset < sale->item_count ? sale->item_count - offset : 0;
    uint32_t count = rest < limit ? rest : limit;
    Tidegate__V1__ItemStatus *statuses = srv_message_alloc(read->core, count * sizeof(*statuses));
    Tidegate__V1__SaleItem *items = srv_message_alloc(read->core, count * sizeof(*items));
    answer->items = srv_message_alloc(read->core, count * sizeof(*answer->items));
    for (uint32_t i = 0; i < count; i++) {
        fill_status(&statuses[i], &items[i],
                    &catalog_of(read->core)->items[sale->first_item + offset + i]);
        answer->items[i] = &statuses[i];
    }
    answer->n_items = count;
}

static enum outcome read_sale(const struct read *read)
{
    const Tidegate__V1__GetSaleRequest *request =
        unpack(read, &tidegate__v1__get_sale_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    Tidegate__V1__GetSaleResponse *answer = srv_message_alloc(read->core, sizeof(*answer));
    tidegate__v1__get_sale_response__init(answer);
    answer->server_time_ms = read->core->now_ms;
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_SALE;
    read->response->get_sale = answer;
    const struct eng_sale *sale = eng_catalog_sale(catalog_of(read->core), request->sale_id);
    uint32_t limit = page_size(request->item_limit, TG_ITEMS_PAGE_DEFAULT, TG_ITEMS_PAGE_MAX);
    if (!sale) {
        answer->verdict = (Tidegate__V1__Verdict)TG_UNKNOWN_SALE;
    } else if (limit == 0) {
        answer->verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
        answer->field = (char *)"item_limit";
        answer->message = (char *)tg_field_advice(TG_FIELD_LIMIT);
    } else {
        answer->verdict = (Tidegate__V1__Verdict)TG_OK;
        answer->sale = srv_message_alloc(read->core, sizeof(*answer->sale));
        fill_sale(answer->sale, sale);
        fill_items(read, answer, sale, request->item_offset, limit);
    }
    return READ_ANSWERED;
}

/* The item of a stored order. It is always there: recovery refuses a database where it is not. */
static const struct eng_item *item_of(const struct srv_core *core, const struct tg_order_row *row)
{
    return &catalog_of(core)->items[row->item];
}

static enum outcome read_order(const struct read *read)
{
    const Tidegate__V1__GetOrderRequest *request =
        unpack(read, &tidegate__v1__get_order_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    Tidegate__V1__GetOrderResponse *answer = srv_message_alloc(read->core, sizeof(*answer));
    tidegate__v1__get_order_response__init(answer);
    struct tg_fault fault;
    struct tg_order_row *row = read->core->rows;
    enum tg_error error = sto_read_order(read->core->reader, request->order_id, row, &fault);
    if (error != TG_ERR_OK && error != TG_ERR_NOTFOUND) {
        tg_log_error("GetOrder: %s", fault.text);
        return READ_FAILED;
    }
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_ORDER;
    read->response->get_order = answer;
    answer->verdict = (Tidegate__V1__Verdict)TG_UNKNOWN_ORDER;
    if (error == TG_ERR_OK) {
        answer->verdict = (Tidegate__V1__Verdict)TG_OK;
        answer->order = srv_message_alloc(read->core, sizeof(*answer->order));
        fill_order(answer->order, row, item_of(read->core, row));
    }
    return READ_ANSWERED;
}

struct item_range {
    uint32_t first;
    uint32_t count;
};

static bool in_range(void *context, uint32_t item)
{
    const struct item_range *range = context;
    return item - range->first < range->count;
}

static void fill_orders(const struct read *read, Tidegate__V1__ListOrdersResponse *answer,
                        uint32_t count)
{
    Tidegate__V1__Order *orders = srv_message_alloc(read->core, count * sizeof(*orders));
    answer->orders = srv_message_alloc(read->core, count * sizeof(*answer->orders));
    for (uint32_t i = 0; i < count; i++) {
        const struct tg_order_row *row = &read->core->rows[i];
        fill_order(&orders[i], row, item_of(read->core, row));
        answer->orders[i] = &orders[i];
    }
    answer->n_orders = count;
}

static enum outcome read_orders(const struct read *read)
{
    const Tidegate__V1__ListOrdersRequest *request =
        unpack(read, &tidegate__v1__list_orders_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    struct srv_core *core = read->core;
    Tidegate__V1__ListOrdersResponse *answer = srv_message_alloc(core, sizeof(*answer));
    tidegate__v1__list_orders_response__init(answer);
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS;
    read->response->list_orders = answer;

    uint32_t limit = page_size(request->limit, TG_ORDERS_PAGE_DEFAULT, TG_ORDERS_PAGE_MAX);
    struct item_range range = {.first = 0, .count = UINT32_MAX};
    const struct eng_sale *sale = eng_catalog_sale(catalog_of(core), request->sale_id);
    if (limit == 0) {
        answer->verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
        answer->field = (char *)tg_field_name(TG_FIELD_LIMIT);
        answer->message = (char *)tg_field_advice(TG_FIELD_LIMIT);
        return READ_ANSWERED;
    }
    if (request->sale_id != 0 && !sale) {
        answer->verdict = (Tidegate__V1__Verdict)TG_UNKNOWN_SALE;
        return READ_ANSWERED;
    }
    if (sale)
        range = (struct item_range){.first = sale->first_item, .count = sale->item_count};
    uint32_t filled;
    uint64_t last;
    bool end;
    struct tg_fault fault;
    if (sto_read_orders(core->reader, request->after_order_id, in_range, &range, limit,
                        SCAN_ORDERS_MAX, core->rows, &filled, &last, &end, &fault) != TG_ERR_OK) {
        tg_log_error("ListOrders: %s", fault.text);
        return READ_FAILED;
    }
    answer->verdict = (Tidegate__V1__Verdict)TG_OK;
    answer->next_after_order_id = last;
    answer->end = end;
    fill_orders(read, answer, filled);
    return READ_ANSWERED;
}

bool srv_reads_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = envelope->correlation_id;
    struct read read = {.core = core, .body = envelope->body, .response = &response};
    enum outcome outcome;
    switch (envelope->kind) {
    case TIDEGATE__V1__REQUEST__KIND_GET_ORDER:
        outcome = read_order(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS:
        outcome = read_orders(&read);
        net_conn_yield(core->net, conn); /* a scan may take most of a millisecond */
        break;
    case TIDEGATE__V1__REQUEST__KIND_GET_ITEM:
        outcome = read_item(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME:
        outcome = read_server_time(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_LIST_SALES:
        outcome = read_sales(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_GET_SALE:
        outcome = read_sale(&read);
        break;
    default: /* a number from the wire, or a request that an owner decides */
        return false;
    }
    switch (outcome) {
    case READ_ANSWERED:
        srv_core_respond(core, conn, &response);
        break;
    case READ_MALFORMED:
        net_conn_fail(core->net, conn, envelope->correlation_id,
                      TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE,
                      "the request does not unpack as the kind that it names");
        break;
    case READ_FAILED:
        net_conn_error(core->net, conn, envelope->correlation_id,
                       TIDEGATE__V1__ERROR_CODE__ERROR_CODE_INTERNAL,
                       "the database could not be read: the server's log says why");
        break;
    }
    return true;
}
