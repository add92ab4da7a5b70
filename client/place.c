#include "client/tidegate.h"

#include "base/hash.h"
#include "client/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BACK_OFF_MS_FIRST 10
#define BACK_OFF_MS_MAX   1000

/* An order on its way, over as many attempts as its time allows. */
struct placing {
    struct tgc_client *client;
    Tidegate__V1__Request *request;
    int64_t deadline_ns;
    uint32_t failures; /* attempts that got no answer, in a row */
    bool unknown;      /* an attempt went out and has no answer */
};

/* The first loss is most often a connection that went stale: try at once. After that the whole
 * fleet may be knocking, so the pauses grow and are spread at random. */
static uint32_t back_off_ms(const struct placing *placing)
{
    if (placing->failures <= 1)
        return 0;
    uint32_t doublings = placing->failures - 2 < 7 ? placing->failures - 2 : 7;
    uint32_t pause_ms = BACK_OFF_MS_FIRST << doublings;
    if (pause_ms > BACK_OFF_MS_MAX)
        pause_ms = BACK_OFF_MS_MAX;
    uint64_t random = tg_hash_words((uint64_t)tg_clock_mono_ns(), (uintptr_t)placing, 0);
    return pause_ms / 2 + (uint32_t)(random % (pause_ms / 2 + 1));
}

static void sleep_ms(uint32_t pause_ms)
{
    struct timespec left = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * TG_NS_PER_MS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

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

/* One attempt with all the time that is left. */
static enum tg_error attempt(struct placing *placing, struct tg_answer *answer,
                             struct tg_fault *fault)
{
    struct tgc_client *client = placing->client;
    if (!tgc_is_connected(client)) {
        uint32_t left_ms = tgc_left_ms(placing->deadline_ns);
        enum tg_error error = tgc_reconnect(client, left_ms ? left_ms : 1, fault);
        if (error)
            return error;
    }
    Tidegate__V1__Response *response;
    enum tg_error error =
        tgc_call(client, placing->request, tgc_left_ms(placing->deadline_ns), &response, fault);
    if (error) {
        /* A full window and a bad request are found before anything is sent. */
        if (error != TG_ERR_FULL && error != TG_ERR_INVALID && error != TG_ERR_NOMEM)
            placing->unknown = true;
        return error;
    }
    error = read_answer(response->place_order, answer, fault);
    tgc_response_free(response);
    return error;
}

/* Worth another attempt: BUSY, and whatever a new connection may cure. */
static bool may_retry(enum tg_error error)
{
    return error == TG_ERR_OK || error == TG_ERR_CLOSED || error == TG_ERR_SYSTEM ||
           error == TG_ERR_TIMEOUT;
}

/* Time is over; `fault` tells of the last attempt. What the caller may believe depends on whether
 * any attempt is unanswered: then even a BUSY for a later one says nothing about the order. */
static enum tg_error out_of_time(const struct placing *placing, enum tg_error last,
                                 const struct tg_order *order, uint32_t timeout_ms,
                                 struct tg_fault *fault)
{
    if (!placing->unknown) {
        /* Connecting took all the time: nothing went out, which is another thing than no answer. */
        enum tg_error error = last == TG_ERR_TIMEOUT ? TG_ERR_SYSTEM : last;
        if (error)
            fault->error = error;
        return error;
    }
    char id[2 * TG_REQUEST_ID_BYTES + 1], reason[200] = "BUSY";
    for (size_t i = 0; i < TG_REQUEST_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", order->request_id[i]);
    if (last)
        snprintf(reason, sizeof(reason), "%.199s", fault->text);
    return tg_fault_set(fault, TG_ERR_TIMEOUT,
                        "request %s has no answer after %" PRIu32
                        " ms and its order may stand; ask again with the same request id. Last: %s",
                        id, timeout_ms, reason);
}

static enum tg_error place(struct placing *placing, const struct tg_order *order,
                           uint32_t timeout_ms, struct tg_answer *answer, struct tg_fault *fault)
{
    for (;;) {
        enum tg_error error = attempt(placing, answer, fault);
        if (!may_retry(error) || (!error && answer->verdict != TG_BUSY))
            return error;
        placing->failures = error ? placing->failures + 1 : 0;
        uint32_t pause_ms = error ? back_off_ms(placing) : answer->retry_after_ms;
        /* A hint of 0 would be a busy loop against a server that is just that. */
        if (!error && pause_ms == 0)
            pause_ms = 1;
        uint32_t left_ms = tgc_left_ms(placing->deadline_ns);
        if (left_ms == 0 || pause_ms >= left_ms)
            return out_of_time(placing, error, order, timeout_ms, fault);
        sleep_ms(pause_ms);
    }
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
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &body;

    struct placing placing = {
        .client = client,
        .request = &request,
        .deadline_ns = tgc_deadline_ns(timeout_ms),
    };
    struct tg_fault own_fault = {0};
    return place(&placing, order, timeout_ms, answer, fault ? fault : &own_fault);
}
