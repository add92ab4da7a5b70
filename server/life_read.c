/* Changes, teams, carts and ingested orders as they come from the wire. Whatever is out of range is
 * refused here, on the core of the connection; what a number is narrowed to is 0, or another value
 * that is out of range as well, when it does not fit. */
#include "server/life.h"

#include "base/text.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

static uint8_t narrow(int value)
{
    return (uint8_t)(value >= 0 && value <= UINT8_MAX ? value : 0);
}

static bool sku_is_valid(const char *sku)
{
    return tg_sku_is_valid(srv_message_text(sku));
}

/* --- payments --- */

/* Fills the payment; TG_FIELD_NONE, or the first field that is wrong. */
static enum tg_field read_payment(struct tg_payment *payment, const Tidegate__V1__Payment *message)
{
    if (message->payment_id.len == 0 || message->payment_id.len > TG_PAYMENT_ID_BYTES_MAX)
        return TG_FIELD_PAYMENT_ID;
    payment->id_bytes = (uint8_t)message->payment_id.len;
    memcpy(payment->id, message->payment_id.data, message->payment_id.len);
    struct tg_bytes currency = srv_message_text(message->currency);
    if (currency.size == TG_CURRENCY_BYTES)
        memcpy(payment->currency, currency.data, TG_CURRENCY_BYTES);
    if (message->channel > TG_CHANNEL_MAX)
        return TG_FIELD_CHANNEL;
    payment->channel = (uint16_t)message->channel;
    payment->amount_minor = message->amount_minor;
    payment->paid_at_ms = message->paid_at_ms;
    return TG_FIELD_NONE;
}

/* --- ChangeOrder --- */

static enum tg_field read_refund_request(struct tg_refund *refund,
                                         const Tidegate__V1__RequestRefund *message)
{
    struct tg_bytes reason = srv_message_text(message->reason);
    if (reason.size > 0 && !tg_text_is_valid(reason.data, reason.size, TG_REFUND_REASON_BYTES_MAX))
        return TG_FIELD_REFUND_REASON;
    refund->amount_minor = message->amount_minor;
    refund->restock = message->restock;
    refund->reason_bytes = (uint8_t)reason.size;
    memcpy(refund->reason, reason.data, reason.size);
    return TG_FIELD_NONE;
}

static enum tg_field read_refund_reference(struct tg_refund *refund, ProtobufCBinaryData reference)
{
    if (reference.len > TG_REFUND_REF_BYTES_MAX)
        return TG_FIELD_REFUND_REFERENCE;
    refund->reference_bytes = (uint8_t)reference.len;
    if (reference.len > 0)
        memcpy(refund->reference, reference.data, reference.len);
    return TG_FIELD_NONE;
}

static enum tg_field read_command(struct eng_command *command,
                                  const Tidegate__V1__ChangeOrderRequest *message)
{
    switch (message->change_case) {
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT:
        command->kind = ENG_RECORD_PAYMENT;
        return read_payment(&command->payment, message->record_payment);
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL:
        command->kind = ENG_CANCEL;
        command->cancelled_by = narrow((int)message->cancel->by);
        return TG_FIELD_NONE;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT:
        command->kind = ENG_EXTEND_PAYMENT;
        command->payment_deadline_ms = message->extend_payment->payment_deadline_ms;
        return TG_FIELD_NONE;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND:
        command->kind = ENG_REQUEST_REFUND;
        return read_refund_request(&command->refund, message->request_refund);
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_APPROVE_REFUND:
        command->kind = ENG_APPROVE_REFUND;
        command->refund_number = message->approve_refund->number;
        return TG_FIELD_NONE;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REJECT_REFUND:
        command->kind = ENG_REJECT_REFUND;
        command->refund_number = message->reject_refund->number;
        return TG_FIELD_NONE;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_REFUND:
        command->kind = ENG_RECORD_REFUND;
        command->refund_number = message->record_refund->number;
        return read_refund_reference(&command->refund, message->record_refund->reference);
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE:
        command->kind = ENG_ADVANCE;
        command->advance_to = narrow((int)message->advance->to);
        return TG_FIELD_NONE;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE__NOT_SET:
    case _TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE__CASE_IS_INT_SIZE:
        break;
    }
    return TG_FIELD_ORDER_CHANGE;
}

void srv_life_read_change(struct srv_core *core, struct srv_control *control, const void *message)
{
    const Tidegate__V1__ChangeOrderRequest *request = message;
    struct eng_command *command = &control->change.command;
    command->order_id = request->order_id;
    enum tg_field field = TG_FIELD_REQUEST_ID;
    if (request->request_id.len == TG_REQUEST_ID_BYTES) {
        memcpy(command->request_id, request->request_id.data, TG_REQUEST_ID_BYTES);
        field = request->order_id == 0 ? TG_FIELD_ORDER_ID : read_command(command, request);
    }
    if (field == TG_FIELD_NONE)
        field = eng_command_check(command);
    if (field != TG_FIELD_NONE)
        srv_control_refuse(control, TG_INVALID_ARGUMENT, field);
    control->owner = (uint32_t)(request->order_id % TG_PARTITIONS % core->server->config.threads);
}

/* --- orders --- */

/* Copies the external id to where the order lives as long as its request. */
static void keep_external_id(struct srv_placing *placing, ProtobufCBinaryData external_id)
{
    if (external_id.len > 0)
        memcpy(placing->external_id, external_id.data, external_id.len);
    placing->order.external_id = placing->external_id;
    placing->order.external_bytes = (uint8_t)external_id.len;
}

/* What an order says beside its item and quantity. */
static enum tg_field read_head(struct srv_placing *placing,
                               const Tidegate__V1__PlaceOrderRequest *message)
{
    struct tg_order *order = &placing->order;
    if (message->request_id.len != TG_REQUEST_ID_BYTES)
        return TG_FIELD_REQUEST_ID;
    if (message->sale_id == 0)
        return TG_FIELD_SALE_ID;
    if (message->channel > TG_CHANNEL_MAX)
        return TG_FIELD_CHANNEL;
    if (message->external_id.len > TG_EXTERNAL_BYTES_MAX)
        return TG_FIELD_EXTERNAL_ID;
    if ((unsigned)message->lane > TIDEGATE__V1__LANE__LANE_FLASH)
        return TG_FIELD_LANE;
    memcpy(order->request_id, message->request_id.data, TG_REQUEST_ID_BYTES);
    order->sale_id = message->sale_id;
    order->user_id = message->user_id;
    order->channel = (uint16_t)message->channel;
    order->lane = tg_lane_of((uint64_t)message->lane);
    keep_external_id(placing, message->external_id);
    return TG_FIELD_NONE;
}

/* Finds the item, which names the owner; false with the verdict set when there is none. */
static bool find_item(struct srv_core *core, struct srv_control *control, const char *text)
{
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    struct srv_placing *placing = &control->placing;
    struct tg_bytes sku = srv_message_text(text);
    placing->item = eng_catalog_item(catalog, placing->order.sale_id, sku.data, sku.size);
    if (placing->item) {
        control->owner = placing->item->shard;
        srv_core_count_attempt(core, placing->item->sale);
        return true;
    }
    bool sale_known = eng_catalog_sale(catalog, placing->order.sale_id) != NULL;
    srv_control_refuse(control, sale_known ? TG_UNKNOWN_ITEM : TG_UNKNOWN_SALE, TG_FIELD_NONE);
    return false;
}

/* --- OpenTeam, JoinTeam --- */

static enum tg_field read_team_order(struct srv_placing *placing,
                                     const Tidegate__V1__PlaceOrderRequest *message)
{
    if (!message || message->n_lines > 0)
        return TG_FIELD_TEAM_ORDER;
    enum tg_field field = read_head(placing, message);
    if (field != TG_FIELD_NONE)
        return field;
    if (!sku_is_valid(message->sku))
        return TG_FIELD_SKU;
    if (message->quantity == 0 || message->quantity > TG_QUANTITY_MAX)
        return TG_FIELD_QUANTITY;
    if (message->unit_price_minor < 0 || message->unit_price_minor > TG_PRICE_MINOR_MAX)
        return TG_FIELD_UNIT_PRICE;
    placing->order.quantity = message->quantity;
    placing->order.unit_price_minor = message->unit_price_minor;
    return TG_FIELD_NONE;
}

static bool read_seat(struct srv_core *core, struct srv_control *control,
                      const Tidegate__V1__PlaceOrderRequest *message)
{
    enum tg_field field = read_team_order(&control->placing, message);
    if (field == TG_FIELD_NONE)
        return find_item(core, control, message->sku);
    srv_control_refuse(control, TG_INVALID_ARGUMENT, field);
    return false;
}

void srv_life_read_open(struct srv_core *core, struct srv_control *control, const void *message)
{
    read_seat(core, control, ((const Tidegate__V1__OpenTeamRequest *)message)->order);
}

void srv_life_read_join(struct srv_core *core, struct srv_control *control, const void *message)
{
    const Tidegate__V1__JoinTeamRequest *request = message;
    control->placing.team_id = request->team_id;
    control->placing.new_buyer = request->new_buyer;
    if (read_seat(core, control, request->order) && request->team_id == 0)
        srv_control_refuse(control, TG_UNKNOWN_TEAM, TG_FIELD_NONE);
}

/* --- carts --- */

static enum tg_field read_cart_lines(const Tidegate__V1__PlaceOrderRequest *message)
{
    if (message->n_lines > TG_ORDER_LINES_MAX || srv_message_text(message->sku).size > 0 ||
        message->quantity != 0 || message->unit_price_minor != 0)
        return TG_FIELD_LINES;
    for (size_t i = 0; i < message->n_lines; i++) {
        const Tidegate__V1__OrderLine *line = message->lines[i];
        if (!sku_is_valid(line->sku))
            return TG_FIELD_LINE_SKU;
        if (line->quantity == 0 || line->quantity > TG_QUANTITY_MAX)
            return TG_FIELD_LINE_QUANTITY;
        if (line->unit_price_minor < 0 || line->unit_price_minor > TG_PRICE_MINOR_MAX)
            return TG_FIELD_LINE_PRICE;
    }
    return TG_FIELD_NONE;
}

/* The merged line of an item, a new one when it is the first; its number. */
static uint8_t merged_line(struct eng_cart *cart, const struct eng_item *item, int64_t price)
{
    uint8_t line = 0;
    while (line < cart->line_count && cart->lines[line].item != item->item)
        line++;
    if (line == cart->line_count)
        cart->lines[cart->line_count++] =
            (struct tg_line){.item = item->item, .unit_price_minor = price};
    return line;
}

/* Adds the asked line to those of its item. */
static void merge_line(struct eng_cart *cart, const struct eng_item *item, uint8_t asked,
                       const Tidegate__V1__OrderLine *message)
{
    uint8_t line = merged_line(cart, item, message->unit_price_minor);
    cart->line_of[asked] = line;
    /* Of one item that stands twice under two prices one at least is wrong. */
    if (message->unit_price_minor != cart->lines[line].unit_price_minor)
        cart->wrong[asked] = TG_PRICE_CHANGED;
    cart->lines[line].quantity += message->quantity;
}

/* Finds the items and merges the lines of each. The cart is sent on when it has one that is known:
 * a shard must say whether the request id is. */
static void merge_lines(struct srv_core *core, struct srv_placing *placing,
                        const Tidegate__V1__PlaceOrderRequest *message)
{
    struct eng_cart *cart = &placing->cart->cart;
    const struct eng_catalog *catalog = &core->shard->engine->catalog;
    cart->asked_count = (uint8_t)message->n_lines;
    for (uint8_t i = 0; i < cart->asked_count; i++) {
        struct tg_bytes sku = srv_message_text(message->lines[i]->sku);
        struct eng_item *item = eng_catalog_item(catalog, message->sale_id, sku.data, sku.size);
        cart->wrong[i] = item ? TG_ACCEPTED : TG_UNKNOWN_ITEM;
        if (!item)
            continue;
        placing->item = placing->item ? placing->item : item;
        merge_line(cart, item, i, message->lines[i]);
    }
}

/* A cart without lines, of which none was refused; false without memory. */
static bool create_cart(struct srv_placing *placing)
{
    const struct tg_order *order = &placing->order;
    struct srv_cart *kept = placing->cart = calloc(1, sizeof(*kept));
    if (!kept)
        return false;
    struct eng_cart *cart = &kept->cart;
    for (uint32_t i = 0; i < TG_ORDER_LINES_MAX; i++)
        cart->wrong[i] = kept->refusals[i] = TG_ACCEPTED;
    memcpy(cart->request_id, order->request_id, TG_REQUEST_ID_BYTES);
    cart->user_id = order->user_id;
    cart->external_id = order->external_id;
    cart->external_bytes = order->external_bytes;
    cart->channel = order->channel;
    return true;
}

void srv_life_read_cart(struct srv_core *core, struct srv_control *control, const void *message)
{
    const Tidegate__V1__PlaceOrderRequest *request = message;
    struct srv_placing *placing = &control->placing;
    enum tg_field field = read_head(placing, request);
    if (field == TG_FIELD_NONE)
        field = read_cart_lines(request);
    if (field != TG_FIELD_NONE) {
        srv_control_refuse(control, TG_INVALID_ARGUMENT, field);
        return;
    }
    if (!create_cart(placing)) {
        srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
        return;
    }
    merge_lines(core, placing, request);
    if (placing->item) {
        control->owner = placing->item->shard;
        srv_core_count_attempt(core, placing->item->sale);
    } else if (eng_catalog_sale(&core->shard->engine->catalog, request->sale_id))
        srv_control_refuse(control, TG_UNKNOWN_ITEM, TG_FIELD_NONE);
    else
        srv_control_refuse(control, TG_UNKNOWN_SALE, TG_FIELD_NONE);
}

/* --- IngestOrders --- */

static enum tg_field read_ingest(struct srv_core *core, struct srv_placing *placing,
                                 const Tidegate__V1__IngestOrder *message)
{
    struct tg_order *order = &placing->order;
    if (message->channel > TG_CHANNEL_MAX)
        return TG_FIELD_CHANNEL;
    if (message->external_id.len == 0 || message->external_id.len > TG_EXTERNAL_BYTES_MAX)
        return TG_FIELD_INGEST_EXTERNAL_ID;
    if (message->sale_id == 0)
        return TG_FIELD_SALE_ID;
    if (!sku_is_valid(message->sku))
        return TG_FIELD_SKU;
    if (message->quantity == 0 || message->quantity > TG_QUANTITY_MAX)
        return TG_FIELD_QUANTITY;
    if (message->unit_price_minor < 0 || message->unit_price_minor > TG_PRICE_MINOR_MAX)
        return TG_FIELD_UNIT_PRICE;
    if (message->ordered_at_ms < 0 ||
        message->ordered_at_ms > core->now_ms + TG_INGEST_AHEAD_MS_MAX)
        return TG_FIELD_ORDERED_AT;
    if ((unsigned)message->lane > TIDEGATE__V1__LANE__LANE_FLASH)
        return TG_FIELD_LANE;
    order->channel = (uint16_t)message->channel;
    order->lane = tg_lane_of((uint64_t)message->lane);
    keep_external_id(placing, message->external_id);
    order->sale_id = message->sale_id;
    order->user_id = message->user_id;
    order->quantity = message->quantity;
    order->unit_price_minor = message->unit_price_minor;
    placing->ordered_at_ms = message->ordered_at_ms;
    eng_ingest_id(order->channel, order->external_id, order->external_bytes, order->request_id);
    return TG_FIELD_NONE;
}

/* A payment that comes with its order is held to the same ranges as one that comes later. */
static enum tg_field read_ingest_payment(struct srv_placing *placing,
                                         const Tidegate__V1__Payment *message)
{
    if (!message)
        return TG_FIELD_NONE;
    placing->is_paid = true;
    enum tg_field field = read_payment(&placing->payment, message);
    if (field != TG_FIELD_NONE)
        return field;
    struct eng_command command = {
        .order_id = 1, .kind = ENG_RECORD_PAYMENT, .payment = placing->payment};
    return eng_command_check(&command);
}

void srv_life_read_ingest(struct srv_core *core, struct srv_control *control,
                          const Tidegate__V1__IngestOrder *message)
{
    enum tg_field field = read_ingest(core, &control->placing, message);
    if (field == TG_FIELD_NONE)
        field = read_ingest_payment(&control->placing, message->payment);
    if (field == TG_FIELD_NONE)
        find_item(core, control, message->sku);
    else
        srv_control_refuse(control, TG_INVALID_ARGUMENT, field);
}
