/* Reads of one thing, or of a short list: from published words (items, sales) or an LMDB snapshot
 * (orders, teams). They never wait for the writer and never touch another core. Each says what it
 * costs. Pages of orders and of teams are server/pages.c. */
#include "base/log.h"
#include "server/control.h"
#include "server/server.h"
#include "server/show.h"
#include "server/stats.h"

/* Items, or sales, that are shown in a microsecond, packing included. */
#define SHOWN_A_UNIT 2
/* Seats of a team likewise. */
#define SEATS_A_UNIT 8
/* What it costs to read one row of the database. */
#define ROW_WORK     2
/* What GetStats costs. */
#define STATS_WORK   20

static const struct eng_catalog *catalog_of(const struct srv_core *core)
{
    return &core->shard->engine->catalog;
}

/* --- filling messages from the engine's rows; their bytes are borrowed --- */

static void fill_rules(Tidegate__V1__GroupBuyRules *message, const struct tg_team_rules *rules)
{
    tidegate__v1__group_buy_rules__init(message);
    message->team_size = rules->team_size;
    message->team_lifetime_s = rules->team_lifetime_s;
    message->teams_per_user_max = rules->teams_per_user_max;
    message->new_buyers_only = rules->new_buyers_only;
    message->at_deadline = (Tidegate__V1__TeamDeadline)rules->at_deadline;
    message->team_size_min = rules->team_size_min;
}

static void fill_shares(struct srv_core *core, Tidegate__V1__Sale *message,
                        const struct eng_sale *sale)
{
    Tidegate__V1__ChannelShare *shares =
        srv_message_alloc(core, sale->share_count * sizeof(*shares));
    message->channel_shares =
        srv_message_alloc(core, sale->share_count * sizeof(*message->channel_shares));
    message->n_channel_shares = sale->share_count;
    for (uint32_t i = 0; i < sale->share_count; i++) {
        tidegate__v1__channel_share__init(&shares[i]);
        shares[i].channel = sale->shares[i].channel;
        shares[i].percent = sale->shares[i].percent;
        message->channel_shares[i] = &shares[i];
    }
}

static void fill_sale(struct srv_core *core, Tidegate__V1__Sale *message,
                      const struct eng_sale *sale)
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
    message->payment_window_s = (uint32_t)(sale->payment_window_ms / 1000);
    message->refund_auto_max_minor = sale->refund_auto_max_minor;
    if (sale->team.team_size > 0) {
        message->group_buy = srv_message_alloc(core, sizeof(*message->group_buy));
        fill_rules(message->group_buy, &sale->team);
    }
    if (sale->share_count > 0)
        fill_shares(core, message, sale);
}

static void fill_ladder(struct srv_core *core, Tidegate__V1__SaleItem *message,
                        const struct eng_item *item)
{
    Tidegate__V1__LadderStep *steps = srv_message_alloc(core, item->ladder_steps * sizeof(*steps));
    message->ladder = srv_message_alloc(core, item->ladder_steps * sizeof(*message->ladder));
    message->n_ladder = item->ladder_steps;
    for (uint32_t i = 0; i < item->ladder_steps; i++) {
        tidegate__v1__ladder_step__init(&steps[i]);
        steps[i].size = item->ladder[i].size;
        steps[i].unit_price_minor = item->ladder[i].unit_price_minor;
        message->ladder[i] = &steps[i];
    }
}

static void fill_item(struct srv_core *core, Tidegate__V1__SaleItem *message,
                      const struct eng_item *item, uint32_t initial_units)
{
    tidegate__v1__sale_item__init(message);
    message->sku = (char *)item->sku;
    message->list_price_minor = item->list_price_minor;
    message->sale_price_minor = item->sale_price_minor;
    message->stock_units = initial_units;
    message->per_user_limit = item->per_user_limit;
    message->per_order_max = item->per_order_max;
    message->low_stock_units = item->low_stock_units;
    message->stock_policy = (Tidegate__V1__StockPolicy)item->stock_policy;
    if (item->is_team_only)
        message->captain_price_minor = item->captain_price_minor;
    if (item->ladder_steps > 0)
        fill_ladder(core, message, item);
}

void srv_reads_item_status(struct srv_core *core, Tidegate__V1__ItemStatus *status,
                           Tidegate__V1__SaleItem *message, const struct eng_item *item)
{
    struct tg_stock stock = eng_item_stock(item);
    fill_item(core, message, item, stock.initial_units);
    tidegate__v1__item_status__init(status);
    status->item = message;
    status->available_units = stock.available_units;
    status->reserved_units = stock.reserved_units;
    status->sold_units = stock.sold_units;
    status->restocked_units = stock.restocked_units;
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

static enum outcome read_stats(const struct read *read)
{
    if (!unpack(read, &tidegate__v1__get_stats_request__descriptor))
        return READ_MALFORMED;
    Tidegate__V1__GetStatsResponse *answer = srv_message_alloc(read->core, sizeof(*answer));
    srv_stats_fill(read->core, answer);
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_STATS;
    read->response->get_stats = answer;
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
    fill_sale(read->core, &out->sale,
              item->sale); /* `sale` may be younger than the item: see the catalogue */
    srv_reads_item_status(read->core, &out->status, &out->item, item);
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
    if (net_loop_is_short(read->core->net)) {
        answer->verdict = (Tidegate__V1__Verdict)TG_BUSY;
        return READ_ANSWERED;
    }
    answer->verdict = (Tidegate__V1__Verdict)TG_OK;
    uint32_t rest = request->offset < answer->total ? answer->total - request->offset : 0;
    uint32_t count = rest < limit ? rest : limit;
    srv_core_spend(read->core, count / SHOWN_A_UNIT);
    Tidegate__V1__Sale *sales = srv_message_alloc(read->core, count * sizeof(*sales));
    answer->sales = srv_message_alloc(read->core, count * sizeof(*answer->sales));
    for (uint32_t i = 0; i < count; i++) {
        fill_sale(read->core, &sales[i], &catalog_of(read->core)->sales[request->offset + i]);
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
    srv_core_spend(read->core, count / SHOWN_A_UNIT);
    Tidegate__V1__ItemStatus *statuses = srv_message_alloc(read->core, count * sizeof(*statuses));
    Tidegate__V1__SaleItem *items = srv_message_alloc(read->core, count * sizeof(*items));
    answer->items = srv_message_alloc(read->core, count * sizeof(*answer->items));
    for (uint32_t i = 0; i < count; i++) {
        srv_reads_item_status(read->core, &statuses[i], &items[i],
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
    } else if (net_loop_is_short(read->core->net)) {
        answer->verdict = (Tidegate__V1__Verdict)TG_BUSY;
    } else {
        answer->verdict = (Tidegate__V1__Verdict)TG_OK;
        answer->sale = srv_message_alloc(read->core, sizeof(*answer->sale));
        fill_sale(read->core, answer->sale, sale);
        fill_items(read, answer, sale, request->item_offset, limit);
    }
    return READ_ANSWERED;
}

/* What a read of the database came to. */
static enum outcome outcome_of(enum tg_error error)
{
    return error == TG_ERR_OK || error == TG_ERR_NOTFOUND ? READ_ANSWERED : READ_FAILED;
}

static enum outcome read_order(const struct read *read)
{
    const Tidegate__V1__GetOrderRequest *request =
        unpack(read, &tidegate__v1__get_order_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    struct {
        Tidegate__V1__GetOrderResponse answer;
        Tidegate__V1__Order order;
    } *out = srv_message_alloc(read->core, sizeof(*out));
    tidegate__v1__get_order_response__init(&out->answer);
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_ORDER;
    read->response->get_order = &out->answer;
    enum tg_error error = srv_show_stored_order(read->core, &out->order, request->order_id);
    out->answer.verdict = (Tidegate__V1__Verdict)(error == TG_ERR_OK ? TG_OK : TG_UNKNOWN_ORDER);
    out->answer.order = error == TG_ERR_OK ? &out->order : NULL;
    srv_core_spend(read->core, ROW_WORK);
    return outcome_of(error);
}

static enum outcome read_team(const struct read *read)
{
    const Tidegate__V1__GetTeamRequest *request =
        unpack(read, &tidegate__v1__get_team_request__descriptor);
    if (!request)
        return READ_MALFORMED;
    struct {
        Tidegate__V1__GetTeamResponse answer;
        Tidegate__V1__Team team;
    } *out = srv_message_alloc(read->core, sizeof(*out));
    tidegate__v1__get_team_response__init(&out->answer);
    read->response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_TEAM;
    read->response->get_team = &out->answer;
    struct tg_team team;
    struct tg_fault fault;
    enum tg_error error = sto_read_team(read->core->reader, request->team_id, &team, &fault);
    if (error != TG_ERR_OK && error != TG_ERR_NOTFOUND)
        tg_log_error("GetTeam: %s", fault.text);
    out->answer.verdict = (Tidegate__V1__Verdict)(error == TG_ERR_OK ? TG_OK : TG_UNKNOWN_TEAM);
    if (error == TG_ERR_OK && srv_show_team(read->core, &out->team, &team, true))
        out->answer.team = &out->team;
    srv_core_spend(read->core, ROW_WORK + out->team.claimed / SEATS_A_UNIT);
    return outcome_of(error);
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
    case TIDEGATE__V1__REQUEST__KIND_GET_TEAM:
        outcome = read_team(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_GET_ITEM:
        outcome = read_item(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME:
        outcome = read_server_time(&read);
        break;
    case TIDEGATE__V1__REQUEST__KIND_GET_STATS:
        outcome = read_stats(&read);
        srv_core_spend(core, STATS_WORK);
        net_conn_yield(core->net, conn); /* it reads files of /proc */
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
        srv_message_fail(core, conn, envelope->correlation_id);
        break;
    case READ_FAILED:
        srv_message_fail_read(core, conn, envelope->correlation_id);
        break;
    }
    return true;
}
