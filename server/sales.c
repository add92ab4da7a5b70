#include "server/sales.h"

#include "base/text.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

static const char creating_message[] = "another sale is being created: try again";
static const char tables_full_message[] =
    "the tables are full: raise engine.sales_max or engine.items_max and start again";

/* --- unpacking; what does not fit is read as a value that is out of range as well --- */

static uint8_t narrow(uint32_t value)
{
    return (uint8_t)(value > UINT8_MAX ? UINT8_MAX : value);
}

static bool read_ladder(struct tg_item_def *def, const Tidegate__V1__SaleItem *item)
{
    if (item->n_ladder > TG_LADDER_STEPS_MAX)
        return false;
    def->ladder_steps = (uint8_t)item->n_ladder;
    for (size_t i = 0; i < item->n_ladder; i++)
        def->ladder[i] = (struct tg_ladder_step){
            .size = item->ladder[i]->size, .unit_price_minor = item->ladder[i]->unit_price_minor};
    return true;
}

static enum tg_field read_item(struct tg_item_def *def, const Tidegate__V1__SaleItem *item)
{
    struct tg_bytes sku = srv_message_text(item->sku);
    def->sku_bytes = (uint8_t)(sku.size > TG_SKU_BYTES_MAX ? 0 : sku.size);
    memcpy(def->sku, sku.data, def->sku_bytes);
    def->list_price_minor = item->list_price_minor;
    def->sale_price_minor = item->sale_price_minor;
    def->stock_units = (uint32_t)(item->stock_units > UINT32_MAX ? UINT32_MAX : item->stock_units);
    def->per_user_limit = item->per_user_limit;
    def->per_order_max = item->per_order_max;
    def->low_stock_units = item->low_stock_units;
    def->stock_policy =
        item->stock_policy ? narrow((uint32_t)item->stock_policy) : TG_POLICY_RESERVE;
    def->captain_price_minor = item->captain_price_minor;
    return read_ladder(def, item) ? TG_FIELD_NONE : TG_FIELD_LADDER;
}

static enum tg_field read_shares(struct tg_sale_def *def, const Tidegate__V1__Sale *sale)
{
    if (sale->n_channel_shares > TG_CHANNEL_SHARES_MAX)
        return TG_FIELD_CHANNEL_SHARES;
    def->share_count = (uint8_t)sale->n_channel_shares;
    for (size_t i = 0; i < sale->n_channel_shares; i++) {
        const Tidegate__V1__ChannelShare *share = sale->channel_shares[i];
        if (share->channel > TG_CHANNEL_MAX)
            return TG_FIELD_CHANNEL_SHARES;
        def->shares[i] = (struct tg_channel_share){.channel = (uint16_t)share->channel,
                                                   .percent = narrow(share->percent)};
    }
    return TG_FIELD_NONE;
}

static void read_team_rules(struct tg_team_rules *rules, const Tidegate__V1__GroupBuyRules *message)
{
    if (!message)
        return;
    /* Size 0 would say that there are no rules; 1 is refused. */
    rules->team_size = message->team_size ? narrow(message->team_size) : 1;
    rules->team_lifetime_s =
        message->team_lifetime_s ? message->team_lifetime_s : TG_TEAM_LIFETIME_S_DEFAULT;
    rules->teams_per_user_max = message->teams_per_user_max;
    rules->new_buyers_only = message->new_buyers_only;
    rules->at_deadline =
        message->at_deadline ? narrow((uint32_t)message->at_deadline) : TG_DEADLINE_FAIL;
    rules->team_size_min = narrow(message->team_size_min);
}

static enum tg_field read_sale(struct tg_sale_def *def, const Tidegate__V1__Sale *sale)
{
    def->sale_id = sale->sale_id;
    def->kind = narrow((uint32_t)sale->kind);
    struct tg_bytes name = srv_message_text(sale->name);
    def->name_bytes = (uint8_t)(name.size > TG_SALE_NAME_BYTES_MAX ? 0 : name.size);
    memcpy(def->name, name.data, def->name_bytes);
    struct tg_bytes currency = srv_message_text(sale->currency);
    if (currency.size == TG_CURRENCY_BYTES)
        memcpy(def->currency, currency.data, TG_CURRENCY_BYTES);
    def->starts_at_ms = sale->starts_at_ms;
    def->ends_at_ms = sale->ends_at_ms;
    def->payment_window_s =
        sale->payment_window_s ? sale->payment_window_s : TG_PAYMENT_WINDOW_S_DEFAULT;
    def->refund_auto_max_minor = sale->refund_auto_max_minor;
    read_team_rules(&def->team, sale->group_buy);
    return read_shares(def, sale);
}

static enum tg_field read_def(struct tg_sale_def *def,
                              const Tidegate__V1__CreateSaleRequest *request)
{
    enum tg_field field = read_sale(def, request->sale);
    for (size_t i = 0; i < request->n_items && field == TG_FIELD_NONE; i++)
        field = read_item(&def->items[i], request->items[i]);
    return field == TG_FIELD_NONE ? eng_sale_def_check(def) : field;
}

void srv_sales_read_create(struct srv_core *core, struct srv_control *control, const void *message)
{
    (void)core;
    const Tidegate__V1__CreateSaleRequest *request = message;
    enum tg_field field = !request->sale ? TG_FIELD_SALE
                          : request->n_items == 0 || request->n_items > TG_SALE_ITEMS_MAX
                              ? TG_FIELD_ITEMS
                              : TG_FIELD_NONE;
    if (field == TG_FIELD_NONE) {
        control->sale.def = tg_sale_def_create((uint32_t)request->n_items);
        if (!control->sale.def) {
            srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
            return;
        }
        field = read_def(control->sale.def, request);
    }
    if (field != TG_FIELD_NONE)
        srv_control_refuse(control, TG_INVALID_ARGUMENT, field);
}

static void read_state(struct srv_core *core, struct srv_control *control, uint64_t sale_id,
                       enum tg_sale_state wanted)
{
    control->sale.sale = eng_catalog_sale(&core->shard->engine->catalog, sale_id);
    control->sale.wanted = wanted;
    if (!control->sale.sale)
        srv_control_refuse(control, TG_UNKNOWN_SALE, TG_FIELD_NONE);
}

void srv_sales_read_pause(struct srv_core *core, struct srv_control *control, const void *message)
{
    read_state(core, control, ((const Tidegate__V1__PauseSaleRequest *)message)->sale_id,
               TG_SALE_PAUSED);
}

void srv_sales_read_resume(struct srv_core *core, struct srv_control *control, const void *message)
{
    read_state(core, control, ((const Tidegate__V1__ResumeSaleRequest *)message)->sale_id,
               TG_SALE_ACTIVE);
}

void srv_sales_read_close(struct srv_core *core, struct srv_control *control, const void *message)
{
    read_state(core, control, ((const Tidegate__V1__CloseSaleRequest *)message)->sale_id,
               TG_SALE_CLOSED);
}

static void read_adjustment(struct eng_adjust *adjust,
                            const Tidegate__V1__AdjustStockRequest *request)
{
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
}

void srv_sales_read_adjust(struct srv_core *core, struct srv_control *control, const void *message)
{
    const Tidegate__V1__AdjustStockRequest *request = message;
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    struct srv_sale_ask *ask = &control->sale;
    struct tg_bytes sku = srv_message_text(request->sku);
    struct tg_bytes reason = srv_message_text(request->reason);
    read_adjustment(&ask->adjust, request);
    if (!eng_catalog_sale(catalog, request->sale_id)) {
        srv_control_refuse(control, TG_UNKNOWN_SALE, TG_FIELD_NONE);
    } else if (!(ask->item = eng_catalog_item(catalog, request->sale_id, sku.data, sku.size))) {
        srv_control_refuse(control, TG_UNKNOWN_ITEM, TG_FIELD_NONE);
    } else if (!ask->adjust.compare && ask->adjust.delta_units == 0) {
        srv_control_refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_CHANGE);
    } else if (!tg_text_is_valid(reason.data, reason.size, TG_REASON_BYTES_MAX)) {
        srv_control_refuse(control, TG_INVALID_ARGUMENT, TG_FIELD_REASON);
    } else {
        memcpy(ask->reason, reason.data, reason.size);
        ask->adjust.reason = ask->reason;
        ask->adjust.reason_bytes = (uint8_t)reason.size;
        control->owner = ask->item->shard;
    }
}

/* --- deciding and settling --- */

/* The record of a decision that may need one, or NULL with the request refused. */
static struct tg_record *reserve(struct srv_core *core, struct srv_control *control)
{
    struct tg_record *record = tg_journal_reserve(&core->journal);
    if (!record) {
        srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
        return NULL;
    }
    record->outcome = 0;
    record->more = 0;
    record->at_ms = core->now_ms;
    return record;
}

/* True: there is nothing to record, and the request is final. */
static bool conclude(struct srv_core *core, struct srv_control *control, bool changes)
{
    if (changes)
        srv_core_append(core, &control->address, control);
    return !changes;
}

static bool settle(struct srv_control *control, const struct tg_record *record)
{
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    if (!durable)
        control->verdict = TG_STORAGE_FULL;
    return durable;
}

bool srv_sales_decide_create(struct srv_core *core, struct srv_control *control)
{
    bool full;
    struct tg_record *record = reserve(core, control);
    if (!record)
        return true;
    control->verdict = eng_catalog_prepare(&core->shard->engine->catalog, control->sale.def, &full);
    if (control->verdict == TG_BUSY)
        control->message = full ? tables_full_message : creating_message;
    record->kind = TG_RECORD_SALE;
    record->sale = control->sale.def;
    return conclude(core, control, control->verdict == TG_OK);
}

void srv_sales_settle_create(struct srv_core *core, struct srv_control *control,
                             const struct tg_record *record)
{
    if (settle(control, record))
        eng_engine_publish_sale(core->shard->engine, control->sale.def);
    else
        eng_catalog_abandon(&core->shard->engine->catalog, control->sale.def);
}

bool srv_sales_decide_state(struct srv_core *core, struct srv_control *control)
{
    bool changes;
    struct eng_sale *sale = control->sale.sale;
    struct tg_record *record = reserve(core, control);
    if (!record)
        return true;
    control->verdict = eng_sale_state_decide(sale, control->sale.wanted, &changes);
    record->kind = TG_RECORD_SALE_STATE;
    record->sale_state.sale = sale->sale;
    record->sale_state.state = (uint8_t)control->sale.wanted;
    return conclude(core, control, changes);
}

void srv_sales_settle_state(struct srv_core *core, struct srv_control *control,
                            const struct tg_record *record)
{
    (void)core;
    eng_sale_state_settle(control->sale.sale, control->sale.wanted, settle(control, record));
}

bool srv_sales_decide_adjust(struct srv_core *core, struct srv_control *control)
{
    bool changes;
    struct tg_record *record = reserve(core, control);
    if (!record)
        return true;
    control->verdict = eng_shard_adjust(core->shard, control->sale.item, &control->sale.adjust,
                                        core->now_ms, record, &changes, &control->field);
    return conclude(core, control, changes);
}

void srv_sales_settle_adjust(struct srv_core *core, struct srv_control *control,
                             const struct tg_record *record)
{
    settle(control, record);
    eng_shard_adjust_settle(core->shard, record);
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
        if (control->sale.sale)                                                                    \
            (answer).state = (Tidegate__V1__SaleState)eng_sale_state(control->sale.sale);          \
    } while (0)

void srv_sales_answer(struct srv_core *core, struct net_conn *conn,
                      const struct srv_control *control)
{
    if (!conn)
        return;
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
        if (control->sale.item)
            adjust.available_units = eng_item_stock(control->sale.item).available_units;
        response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ADJUST_STOCK;
        response.adjust_stock = &adjust;
        break;
    }
    srv_core_respond(core, conn, &response);
}
