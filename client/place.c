#include "client/tidegate.h"

#include <string.h>

/* INVALID_ARGUMENT carries the field as words; two entries may share a name, not their advice. */
static uint8_t field_of(const Tidegate__V1__PlaceOrderResponse *response)
{
    uint8_t by_name = TG_FIELD_NONE;
    for (uint8_t f = TG_FIELD_NONE + 1; tg_field_name(f)[0]; f++) {
        if (strcmp(tg_field_name(f), response->field) != 0)
            continue;
        if (strcmp(tg_field_advice(f), response->message) == 0)
            return f;
        if (by_name == TG_FIELD_NONE)
            by_name = f;
    }
    return by_name;
}

static enum tg_error read_answer(const Tidegate__V1__PlaceOrderResponse *response,
                                 struct tg_answer *answer, struct tg_fault *fault)
{
    int verdict = response->verdict;
    if (verdict <= TG_UNSPECIFIED || verdict > UINT8_MAX)
        return tg_fault_set(fault, TG_ERR_PROTOCOL, "an order was answered with the verdict %d",
                            verdict);
    *answer = (struct tg_answer){
        .order_id = response->order_id,
        .unit_price_minor = response->unit_price_minor,
        .accepted_at_ms = response->accepted_at_ms,
        .retry_after_ms = response->retry_after_ms,
        .verdict = (uint8_t)verdict,
        .field = verdict == TG_INVALID_ARGUMENT ? field_of(response) : TG_FIELD_NONE,
        .replayed = response->replayed ? 1 : 0,
    };
    return TG_ERR_OK;
}

enum tg_error tgc_place_order(struct tgc_client *client, const struct tg_order *order,
                              uint32_t timeout_ms, struct tg_answer *answer, struct tg_fault *fault)
{
    if (order->sku_bytes > TG_SKU_BYTES_MAX || order->external_bytes > TG_EXTERNAL_BYTES_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "%s",
                            tg_field_advice(order->sku_bytes > TG_SKU_BYTES_MAX
                                                ? TG_FIELD_SKU
                                                : TG_FIELD_EXTERNAL_ID));
    char sku[TG_SKU_BYTES_MAX + 1] = {0};
    uint8_t request_id[TG_REQUEST_ID_BYTES], external_id[TG_EXTERNAL_BYTES_MAX] = {0};
    memcpy(request_id, order->request_id, sizeof(request_id));
    if (order->sku_bytes)
        memcpy(sku, order->sku, order->sku_bytes);
    if (order->external_bytes)
        memcpy(external_id, order->external_id, order->external_bytes);

    Tidegate__V1__PlaceOrderRequest body = TIDEGATE__V1__PLACE_ORDER_REQUEST__INIT;
    body.request_id = (ProtobufCBinaryData){sizeof(request_id), request_id};
    body.sale_id = order->sale_id;
    body.sku = sku;
    body.user_id = order->user_id;
    body.quantity = order->quantity;
    body.unit_price_minor = order->unit_price_minor;
    body.channel = order->channel;
    body.external_id = (ProtobufCBinaryData){order->external_bytes, external_id};
    body.lane = (Tidegate__V1__Lane)order->lane;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &body;

    Tidegate__V1__Response *response;
    enum tg_error error = tgc_call_until_answered(client, &request, timeout_ms, &response, fault);
    if (error)
        return error;
    error = read_answer(response->place_order, answer, fault);
    tgc_response_free(response);
    return error;
}
